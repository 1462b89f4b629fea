// A process of our own to be killed: opens a database with the built package, writes the batches it is given, and then goes on
// writing crash batches until SIGKILL ends it. The order comes as one JSON line on standard input:
//
//   {"directory" | "s3": ..., "path": "db", "options": {...}, "batches": [[...]], "crashName": "x"}
//
// It answers with the line "ready" when all batches are durable, most of them in tables, the last ones in the log, and then with
// the name of each crash batch that was acknowledged. It ends by itself when its input ends.
import { createInterface } from 'node:readline';
import { LocalStore, open, WriteBatch } from '../../dist/index.js';
import { S3Store } from '../../dist/s3.js';

const CRASH_BATCH_ROWS = 20;
const IN_FLIGHT = 8;
const BATCHES_PER_TABLE = 4;

function batchOf(changes) {
  const batch = new WriteBatch();
  for (const change of changes) {
    if (change.put !== undefined) batch.put(change.put, change.value);
    else batch.delete(change.delete);
  }
  return batch;
}

function crashBatch(name) {
  return Array.from({ length: CRASH_BATCH_ROWS }, (_, i) => ({
    put: `crash-${name}/${String(i).padStart(2, '0')}`,
    value: `${name} row ${i}`,
  }));
}

async function writeUntilKilled(db, crashName) {
  for (let n = 0; ; ) {
    const names = Array.from({ length: IN_FLIGHT }, () => `${crashName}-${String(n++).padStart(6, '0')}`);
    await Promise.all(
      names.map(async (name) => {
        await db.write(batchOf(crashBatch(name)));
        process.stdout.write(`${name}\n`);
      }),
    );
  }
}

async function run({ directory, s3, path, options, batches, crashName }) {
  const store = directory === undefined ? new S3Store(s3) : new LocalStore(directory);
  const db = await open({ store, path }, options);
  for (let i = 0; i < batches.length; i += BATCHES_PER_TABLE) {
    // What the last group brings stays in the log.
    if (i > 0) await db.flush({ type: 'memtable' });
    const group = batches.slice(i, i + BATCHES_PER_TABLE);
    await Promise.all(group.map((changes) => db.write(batchOf(changes), { awaitDurable: false })));
  }
  await db.flush();
  process.stdout.write('ready\n');
  await writeUntilKilled(db, crashName);
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    run(JSON.parse(line)).catch((error) => {
      console.error(error);
      process.exit(1);
    });
  })
  .on('close', () => process.exit(0));
