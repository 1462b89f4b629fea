/**
 * Durable puts, one after the other: how long until the database says that a row is safe.
 *
 * On a local directory beside LevelDB's `sync: true` and the bare system calls that creating an object safely takes (write a
 * temporary file, fsync, link, fsync of the directory); where `SHALEDB_TEST_S3_ENDPOINT` is set (keys in `AWS_ACCESS_KEY_ID`
 * and `AWS_SECRET_ACCESS_KEY`), on that S3 server too, beside a bare PUT of as many bytes through the same client. Contenders
 * take turns, in small blocks on the disk and put by put on the server, so that drift hits all alike.
 *
 * Options: --dir PATH, --quick, --assert, --emit-result (a last line `RESULT {json}`).
 */
import fs from 'node:fs';
import fsp from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { CreateBucketCommand, DeleteBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { ClassicLevel } from 'classic-level';
import { isMemoryFileSystem } from './children.mjs';
import { distUrl } from './dist-url.mjs';
import { DURABLE_LIMITS, median } from './phases.mjs';
import { table, verdictTable } from './report.mjs';
import { Workload } from './workload.mjs';

const { open } = await import(distUrl('index.js'));

const WARM_UP_PUTS = 20;
const { values: options } = parseArgs({
  options: {
    dir: { type: 'string', default: os.tmpdir() },
    quick: { type: 'boolean', default: false },
    assert: { type: 'boolean', default: false },
    'emit-result': { type: 'boolean', default: false },
  },
});
const ROUNDS = options.quick ? 3 : 5;
const PUTS_PER_ROUND = options.quick ? 40 : 100;
const TOTAL_PUTS = WARM_UP_PUTS + ROUNDS * PUTS_PER_ROUND;
const workload = new Workload(5000);

const ms = (value) => `${value.toFixed(2)} ms`;
const times = (value) => `${value.toFixed(2)}x`;

/** Calls `put(i)` for the next `count` numbers and keeps the milliseconds of each. */
class Contender {
  durations = [];
  #next = 0;

  constructor(title, put) {
    this.title = title;
    this.put = put;
  }

  get puts() {
    return this.#next;
  }

  async run(count, keep = true) {
    for (let n = 0; n < count; n++) {
      const i = this.#next++;
      const start = performance.now();
      await this.put(i);
      if (keep) this.durations.push(performance.now() - start);
    }
  }

  get medianMs() {
    return median(this.durations);
  }

  get p99Ms() {
    return [...this.durations].sort((a, b) => a - b)[Math.floor(this.durations.length * 0.99)];
  }
}

async function takeTurns(contenders, putsPerTurn) {
  for (const contender of contenders) await contender.run(WARM_UP_PUTS, false);
  for (let done = 0; done < ROUNDS * PUTS_PER_ROUND; done += putsPerTurn) {
    for (const contender of contenders) await contender.run(putsPerTurn);
  }
}

function printContenders(title, contenders, reference) {
  console.log(`## ${title}\n`);
  const rows = contenders.map((contender) => [
    contender.title,
    ms(contender.medianMs),
    ms(contender.p99Ms),
    contender === reference ? '1' : times(contender.medianMs / reference.medianMs),
  ]);
  console.log(
    `${table([`one put at a time, ${contenders[0].durations.length} each`, 'median', 'p99', 'ratio'], rows)}\n`,
  );
}

const rowOf = (i) => [workload.keys[workload.writeOrder[i]], workload.values[workload.writeOrder[i]]];

/** Every acknowledged row must be there after the database was opened again. */
async function verifyRows(title, get) {
  for (let i = 0; i < TOTAL_PUTS; i++) {
    const [key, expected] = rowOf(i);
    const found = await get(key);
    if (found === undefined || !expected.equals(found))
      throw new Error(`${title}: row ${i} is not there after reopening`);
  }
}

/** Size of the objects that lone durable puts make, and how many requests each takes, over `count` puts. */
async function probeRequests(db, contender, count) {
  const before = db.requestCounts();
  await contender.run(count, false);
  const after = db.requestCounts();
  const puts = after.put - before.put;
  return {
    putsPerWrite: puts / count,
    objectBytes: Math.round((after.bytesOut - before.bytesOut) / Math.max(1, puts)),
  };
}

// --- local directory

/** Creates `name` with these bytes so that it is whole or absent, and durable: what any object store on files must do. */
async function createBare(directory, directoryHandle, name, bytes) {
  const temporary = path.join(directory, `${name}#1`);
  const file = await fsp.open(temporary, 'wx');
  await file.write(bytes, 0, bytes.length);
  await file.sync();
  await file.close();
  await fsp.link(temporary, path.join(directory, name));
  await directoryHandle.sync();
  await fsp.unlink(temporary);
}

async function measureLocal(directory) {
  const location = pathToFileURL(path.join(directory, 'shaledb')).href;
  const db = await open(location);
  const level = new ClassicLevel(path.join(directory, 'level'), { keyEncoding: 'buffer', valueEncoding: 'buffer' });
  await level.open();
  const bareDirectory = path.join(directory, 'bare');
  fs.mkdirSync(bareDirectory);
  const bareHandle = await fsp.open(bareDirectory, 'r');

  // The probe's puts get keys after those that are measured.
  const probe = new Contender('probe', (i) =>
    db.put(workload.keys[workload.writeOrder[TOTAL_PUTS + i]], workload.values[i]),
  );
  const { putsPerWrite, objectBytes } = await probeRequests(db, probe, WARM_UP_PUTS);
  const bareBytes = Buffer.alloc(objectBytes, 0x78);
  const shale = new Contender('ShaleDB', (i) => db.put(...rowOf(i)));
  const levelDb = new Contender('classic-level, sync: true', (i) => level.put(...rowOf(i), { sync: true }));
  const bare = new Contender(`bare file of ${objectBytes} B: write, fsync, link, fsync of the directory`, (i) =>
    createBare(bareDirectory, bareHandle, `${i}.sst`, bareBytes),
  );
  await takeTurns([shale, levelDb, bare], 20);

  await db.close();
  await level.close();
  await bareHandle.close();
  const reopened = await open(location);
  await verifyRows('ShaleDB', (key) => reopened.get(key));
  await reopened.close();
  await level.open();
  await verifyRows('classic-level', (key) => level.get(key));
  await level.close();

  printContenders('Durable puts, local directory', [shale, levelDb, bare], levelDb);
  console.log(
    `ShaleDB against the bare file: ${times(shale.medianMs / bare.medianMs)}; ${putsPerWrite} PUT per durable put.`,
  );
  if (isMemoryFileSystem(directory))
    console.log('**This directory is in memory: fsync costs nothing here. Use --dir.**');
  console.log();
  const ratio = shale.medianMs / levelDb.medianMs;
  const verdict = {
    what: "durable put, local directory: time over LevelDB's `sync: true`",
    limit: `at most ${DURABLE_LIMITS.localOverLevelDb}x`,
    measured: times(ratio),
    ok: ratio <= DURABLE_LIMITS.localOverLevelDb,
  };
  return {
    verdict,
    shaleMs: shale.medianMs,
    levelDbMs: levelDb.medianMs,
    bareMs: bare.medianMs,
    putsPerWrite,
    objectBytes,
  };
}

// --- S3

const PUT_ID_PREFIX = '01JBENCH';

async function measureS3(endpoint) {
  const region = process.env.AWS_REGION ?? 'us-east-1';
  const bucket = `shaledb-bench-${process.pid}-${Date.now().toString(36)}`;
  const client = new S3Client({ endpoint, region, forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  const { S3Store } = await import(distUrl('s3.js'));
  const store = new S3Store({ bucket, endpoint, region, forcePathStyle: true });
  try {
    return await measureOnStore(store, client, bucket);
  } finally {
    const paths = [];
    for await (const object of store.list('')) paths.push(object.path);
    await store.delete(paths);
    await client.send(new DeleteBucketCommand({ Bucket: bucket }));
    client.destroy();
  }
}

async function measureOnStore(store, client, bucket) {
  const location = { store, path: 'db' };
  const db = await open(location);
  const probe = new Contender('probe', (i) =>
    db.put(workload.keys[workload.writeOrder[TOTAL_PUTS + i]], workload.values[i]),
  );
  const { putsPerWrite, objectBytes } = await probeRequests(db, probe, WARM_UP_PUTS);
  const bytes = Buffer.alloc(objectBytes, 0x78);
  const shale = new Contender('ShaleDB', (i) => db.put(...rowOf(i)));
  const bare = new Contender(`bare PUT of ${objectBytes} B, If-None-Match, same client`, async (i) => {
    const putId = PUT_ID_PREFIX + String(i).padStart(26 - PUT_ID_PREFIX.length, '0');
    const { outcome } = await store.put(`bare/${i}`, bytes, { condition: 'if-absent', putId });
    if (outcome !== 'applied') throw new Error(`bare PUT: ${outcome}`);
  });
  const plain = new Contender(`PUT of ${objectBytes} B, an S3Client with default settings`, (i) =>
    client.send(new PutObjectCommand({ Bucket: bucket, Key: `plain/${i}`, Body: bytes })),
  );
  await takeTurns([shale, bare, plain], 1);

  await db.close();
  const reopened = await open(location);
  await verifyRows('ShaleDB', (key) => reopened.get(key));
  await reopened.close();

  printContenders(`Durable puts, S3 server`, [shale, bare, plain], bare);
  console.log(`${putsPerWrite} PUT per durable put.\n`);
  const ratio = shale.medianMs / bare.medianMs;
  const verdict = {
    what: 'durable put, S3 server: time over a bare PUT (store round trips)',
    limit: `at most ${DURABLE_LIMITS.storeRoundTrips}x`,
    measured: times(ratio),
    ok: ratio <= DURABLE_LIMITS.storeRoundTrips,
  };
  return {
    verdict,
    shaleMs: shale.medianMs,
    bareMs: bare.medianMs,
    plainMs: plain.medianMs,
    putsPerWrite,
    objectBytes,
  };
}

// --- both

const directory = fs.mkdtempSync(path.join(options.dir, 'shaledb-durable-'));
process.once('exit', () => fs.rmSync(directory, { recursive: true, force: true }));
const result = { verdicts: [] };
result.local = await measureLocal(directory);
result.verdicts.push(result.local.verdict);
const endpoint = process.env.SHALEDB_TEST_S3_ENDPOINT;
if (endpoint) {
  result.s3 = await measureS3(endpoint);
  result.verdicts.push(result.s3.verdict);
} else {
  console.log('Durable puts on an S3 server: not measured, SHALEDB_TEST_S3_ENDPOINT is not set.');
}
if (options['emit-result']) console.log(`RESULT ${JSON.stringify(result)}`);
else console.log(verdictTable(result.verdicts));
if (options.assert && result.verdicts.some(({ ok }) => !ok)) process.exitCode = 1;
