// A process of the built package that writes batch after batch until it is killed, and says what it does, one line each:
//
//   opening       the database is being opened
//   ready N       it is open and batch N is the last one in it
//   submit N      batch N is handed over now
//   durable N     batch N and all before it are durable
//   closed        after `stop` came on standard input
//
// The order comes as one JSON line: { "directory" | "s3": ..., "path", "options", "seed", "life" }. It ends by itself when its
// input ends.
//
// A line is on its way before what follows it happens, whatever kills the process then. `process.stdout` does not promise
// that: when nobody reads for a while it keeps lines in memory.
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { LocalStore, open, WriteBatch } from '../../dist/index.js';
import { S3Store } from '../../dist/s3.js';
import { chance, changesOf, LAST } from './crash-history.mjs';

const MAX_IN_FLIGHT = 8;
let isStopping = false;

const say = (line) => writeSync(1, `${line}\n`);

function batchOf(changes) {
  const batch = new WriteBatch();
  for (const [key, value] of changes) {
    if (value === undefined) batch.delete(key);
    else batch.put(key, value);
  }
  return batch;
}

async function run({ directory, s3, path, options, seed, life }) {
  const store = directory === undefined ? new S3Store(s3) : new LocalStore(directory);
  say('opening');
  const db = await open({ store, path }, options);
  const last = await db.get(LAST);
  let n = last === undefined ? 0 : Number(new TextDecoder().decode(last));
  say(`ready ${n}`);
  const inFlight = new Set();
  const follow = (promise, upTo) => {
    const done = promise.then(() => {
      say(`durable ${upTo}`);
      inFlight.delete(done);
    });
    inFlight.add(done);
  };
  while (!isStopping) {
    n++;
    say(`submit ${n}`);
    const batch = batchOf(changesOf(seed, life, n));
    const kind = chance(seed, life, -n, 60);
    // A quarter of the batches is not waited for; the next durable one says that they are.
    if (kind < 15) await db.write(batch, { awaitDurable: false });
    else follow(db.write(batch), n);
    if (kind >= 58) follow(db.flush({ type: kind === 58 ? 'memtable' : 'wal' }), n);
    if (inFlight.size >= 1 + (kind % MAX_IN_FLIGHT)) await Promise.race(inFlight);
  }
  await Promise.all(inFlight);
  await db.close();
  if (s3 !== undefined) await store.close();
  say('closed');
  process.exit(0);
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (line === 'stop') {
      isStopping = true;
      return;
    }
    run(JSON.parse(line)).catch((error) => {
      console.error(error);
      process.exit(1);
    });
  })
  .on('close', () => process.exit(0));
