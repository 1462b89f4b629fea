/**
 * `npm run day`: a day of a database in miniature. Writes, deletions and rows that expire, uniform and skewed, with compactor and collector
 * on and ages shortened; what they keep of space, of the cost of a read, of memory and of the event loop is sampled all the time, and in the end
 * every row is compared with a model.
 *
 * The model is in the same process: the number of the last write of each key, its kind and its expiry, 13 bytes for each key.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { distUrl } from './dist-url.mjs';

const USAGE = `npm run day -- [options]
  --writes N       row writes (10000000)
  --keys N         keys (1000000)
  --memory BYTES   memoryBytes of the database (268435456)
  --space N        maxSpaceAmplification of the compactor (0.5: the tables of level 0 are almost half as large as all rows)
  --location URL   an empty place (a new directory in --dir)
  --dir PATH       where the directory is made (the system's temporary folder)
  --minutes N      the whole run ends after so many, unfinished (40)
  --no-wait        do not wait until the collector may delete what the last compaction has replaced (17 minutes)
  --json FILE      the figures
  --assert         exit with 1 if a limit is missed
`;

const MIB = 1024 * 1024;
const DELETE_SHARE = 0.05;
const EXPIRE_SHARE = 0.05;
const TTL_MS = 20_000;
const SAMPLE_MS = 250;
/** Between a manifest and the next one is more time than this. */
const SPACE_SAMPLE_MS = 50;
const MINUTE_MS = 60_000;
/** A commit keeps its predecessor for readers elsewhere so long, and a collector waits another minute before it takes that away. */
const CHECKPOINT_MS = 900_000 + 75_000;
const L0_MAX = 8;

const { values: args } = parseArgs({
  options: {
    writes: { type: 'string', default: '10000000' },
    keys: { type: 'string', default: '1000000' },
    memory: { type: 'string', default: String(256 * MIB) },
    space: { type: 'string', default: '0.5' },
    location: { type: 'string' },
    dir: { type: 'string', default: os.tmpdir() },
    minutes: { type: 'string', default: '40' },
    'no-wait': { type: 'boolean', default: false },
    json: { type: 'string' },
    assert: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (args.help) {
  process.stdout.write(USAGE);
  process.exit(0);
}
const writes = Number(args.writes);
const keyCount = Number(args.keys);
const memoryBytes = Number(args.memory);
const deadline = performance.now() + Number(args.minutes) * MINUTE_MS;

const { open } = await import(distUrl('index.js'));
const { stats } = await import(distUrl('admin.js'));

// ---- rows

/** xorshift32: the same run for the same seed. */
let state = 0x9e3779b9;
function random() {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) / 2 ** 32;
}

const encoder = new TextEncoder();
const keyOf = (id) => encoder.encode(`key${String(id).padStart(13, '0')}`);
/** Half of the keys have values of 16 bytes, half of 100. */
const sizeOf = (id) => ((id & 1) === 0 ? 16 : 100);

function contentOf(id, write) {
  const value = new Uint8Array(sizeOf(id));
  const view = new DataView(value.buffer);
  view.setUint32(0, id);
  view.setUint32(4, write);
  for (let i = 8; i < value.length; i++) value[i] = (id * 31 + write * 17 + i) & 0xff;
  return value;
}

/** Every second write is of few keys: a fifth of them gets four fifths of these. */
function pickKey(n) {
  const u = random();
  if (n % 2 === 0) return Math.floor(u * keyCount);
  return random() < 0.8 ? Math.floor((u * keyCount) / 5) : Math.floor(u * keyCount);
}

const ABSENT = 0;
const VALUE = 1;
const EXPIRES = 2;
const model = {
  kind: new Uint8Array(keyCount),
  write: new Uint32Array(keyCount),
  expireTs: new Float64Array(keyCount),
};

/** Keys and values of the rows that are there; those that expire leave by `expiring`, in the order of their times. */
let countedBytes = 0;
const isCounted = new Uint8Array(keyCount);
const expiring = { ids: [], times: [], first: 0 };

function set(id, kind, write, expireTs) {
  if (isCounted[id] === 1) countedBytes -= 16 + sizeOf(id);
  isCounted[id] = kind === ABSENT ? 0 : 1;
  if (kind !== ABSENT) countedBytes += 16 + sizeOf(id);
  model.kind[id] = kind;
  model.write[id] = write;
  model.expireTs[id] = expireTs;
  if (kind !== EXPIRES) return;
  expiring.ids.push(id);
  expiring.times.push(expireTs);
}

function modelBytes() {
  const nowMs = Date.now();
  const { ids, times } = expiring;
  for (; expiring.first < ids.length && times[expiring.first] <= nowMs; expiring.first++) {
    const id = ids[expiring.first];
    if (model.kind[id] !== EXPIRES || model.expireTs[id] !== times[expiring.first] || isCounted[id] === 0) continue;
    isCounted[id] = 0;
    countedBytes -= 16 + sizeOf(id);
  }
  return countedBytes;
}

// ---- samples

const IDLE_LOOP = `
  const { monitorEventLoopDelay } = require('node:perf_hooks');
  const { parentPort } = require('node:worker_threads');
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  parentPort.on('message', () => parentPort.postMessage({ p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 }));
`;

function sampler(db, seen) {
  let nextMinute = performance.now() + MINUTE_MS;
  return setInterval(() => {
    const { trees, liveBytes, compactor } = db.upkeep();
    const sources = trees.reduce((sum, { l0Tables, runs }) => sum + l0Tables + runs, 0);
    seen.rss = Math.max(seen.rss, process.memoryUsage.rss());
    seen.liveBytes = liveBytes;
    seen.mostSources = Math.max(seen.mostSources, sources);
    if (compactor.lastError !== undefined) seen.lastError = compactor.lastError.message;
    if (performance.now() < nextMinute) return;
    nextMinute += MINUTE_MS;
    seen.minutes.push({ sources, liveBytes, writes: seen.writes });
    process.stderr.write(
      `${JSON.stringify({ writes: seen.writes, sources, liveMiB: mib(liveBytes), rssMiB: mib(seen.rss) })}\n`,
    );
  }, SAMPLE_MS);
}

/** Live bytes of the model's; before there are rows to speak of, what a block and a filter take is most of it. */
function sampleSpace(db, seen) {
  const ofModel = modelBytes();
  if (ofModel > 16 * MIB) seen.mostAmplification = Math.max(seen.mostAmplification, db.upkeep().liveBytes / ofModel);
}

/** CPU time that this thread has had, ms: what the machine takes away does not count. Undefined where the system does not say. */
function threadCpuMs() {
  try {
    return Number(fs.readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')[0]) / 1e6;
  } catch {
    return undefined;
  }
}

/** The longest turns of the loop, by CPU time: a timer sees what came between its calls. */
function watchTurns() {
  const turns = { longestMs: 0, over10Ms: 0, count: 0 };
  let before = threadCpuMs();
  const timer = setInterval(() => {
    const now = threadCpuMs();
    if (now === undefined) return;
    const turnMs = now - before;
    before = now;
    turns.count++;
    turns.longestMs = Math.max(turns.longestMs, turnMs);
    if (turnMs > 10) turns.over10Ms++;
  }, 1);
  return { turns, stop: () => clearInterval(timer) };
}

const mib = (bytes) => Math.round((bytes / MIB) * 10) / 10;

async function write(db, seen) {
  for (let n = 1; n <= writes; n++) {
    const id = pickKey(n);
    const u = random();
    let pending;
    if (u < DELETE_SHARE) {
      set(id, ABSENT, n, 0);
      pending = db.delete(keyOf(id), { awaitDurable: false });
    } else if (u < DELETE_SHARE + EXPIRE_SHARE) {
      set(id, EXPIRES, n, Date.now() + TTL_MS);
      pending = db.put(keyOf(id), contentOf(id, n), { awaitDurable: false, expireAtMs: model.expireTs[id] });
    } else {
      set(id, VALUE, n, 0);
      pending = db.put(keyOf(id), contentOf(id, n), { awaitDurable: false });
    }
    // A little of it at a time: it must not count as a delay of the loop.
    if ((n & 0xff) === 0) modelBytes();
    await pending;
    seen.writes = n;
    if ((n & 0xffff) === 0 && performance.now() > deadline)
      throw new Error(`the time (--minutes) was over after ${n} writes`);
  }
}

/** Every row, against the model. */
async function compare(db) {
  const startMs = Date.now();
  let rows = 0;
  let id = 0;
  const mayExpire = (i) => model.kind[i] === EXPIRES && model.expireTs[i] <= Date.now() + 60_000;
  const isThere = (i) => model.kind[i] === VALUE || (model.kind[i] === EXPIRES && model.expireTs[i] > startMs);
  const scan = db.scan();
  for (;;) {
    const batch = await scan.nextBatch(1000);
    for (const { key, value } of batch) {
      const found = Number(new TextDecoder().decode(key).slice(3));
      for (; id < found; id++) if (isThere(id) && !mayExpire(id)) throw new Error(`row ${id} is missing`);
      if (!isThere(found)) throw new Error(`row ${found} should not be there`);
      if (Buffer.compare(value, contentOf(found, model.write[found])) !== 0)
        throw new Error(`row ${found} has another value`);
      id = found + 1;
      rows++;
    }
    if (batch.length < 1000) break;
  }
  for (; id < keyCount; id++) if (isThere(id) && !mayExpire(id)) throw new Error(`row ${id} is missing`);
  return rows;
}

/** All objects of the database, whatever they are for. */
async function bytesStored() {
  const { directories } = await stats(location);
  return directories.reduce((sum, { stored, foreign }) => sum + stored.bytes + foreign.bytes, 0);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// ---- the day

const directory = args.location === undefined ? fs.mkdtempSync(path.join(args.dir, 'shaledb-day-')) : undefined;
const location = args.location ?? String(pathToFileURL(directory));
const seen = {
  writes: 0,
  rss: 0,
  liveBytes: 0,
  mostSources: 0,
  mostAmplification: 0,
  commits: 0,
  minutes: [],
  lastError: undefined,
};
const db = await open(location, {
  memoryBytes,
  compactor: { maxSpaceAmplification: Number(args.space) },
  gc: { minAgeMs: 5000, allowUnsafeMinAge: true, intervalMs: 10_000 },
  logger: { debug() {}, info() {}, warn: console.error, error: console.error },
  onEvent({ type, event }) {
    if (type !== 'compactor' || event.type !== 'committed') return;
    seen.commits++;
    sampleSpace(db, seen);
  },
});
const idle = new Worker(IDLE_LOOP, { eval: true });
const timer = sampler(db, seen);
const spaceTimer = setInterval(() => sampleSpace(db, seen), SPACE_SAMPLE_MS);
const watch = watchTurns();
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
const beginMs = performance.now();
await write(db, seen);
await db.flush({ type: 'memtable' });
const writeSeconds = (performance.now() - beginMs) / 1000;
delay.disable();
watch.stop();
clearInterval(spaceTimer);
const idleDelay = await new Promise((resolve) => {
  idle.once('message', resolve);
  idle.postMessage('');
});
await idle.terminate();
const during = db.requestCounts().byRole;
const flushed = during.table.bytesOut;
const compacted = during.compactor?.bytesOut ?? 0;
const before = { liveBytes: db.upkeep().liveBytes, modelBytes: modelBytes() };
await db.compact();
// What was written last must have expired, or its space cannot be given back.
await sleep(TTL_MS);
await db.put('zzz', 'a later row moves the time by which rows expire');
await db.compact();
await db.delete('zzz');
const after = { liveBytes: db.upkeep().liveBytes, modelBytes: modelBytes() };
const rows = await compare(db);
let stored;
if (!args['no-wait']) {
  // The newest three manifests keep their tables.
  await sleep(CHECKPOINT_MS);
  for (let i = 0; i < 3; i++) {
    await db.put('zzz', `${i}`);
    await db.flush({ type: 'memtable' });
    await sleep(12_000);
  }
  await sleep(30_000);
  stored = { bytes: await bytesStored(), liveBytes: db.upkeep().liveBytes };
}
clearInterval(timer);
const { compactor, collector } = db.upkeep();
await db.close();
if (directory !== undefined) fs.rmSync(directory, { recursive: true });

// ---- the report

const ratio = (a, b) => Math.round((a / b) * 1000) / 1000;
const checks = [
  ['live bytes after a full compaction, of the model', ratio(after.liveBytes, after.modelBytes), 1.5],
  ['most live bytes at a manifest before it, of the model', ratio(seen.mostAmplification, 1), 2.2],
  ['write amplification', ratio(flushed + compacted, flushed), 6],
  [
    'most sources of a read at the end of a minute',
    Math.max(0, ...seen.minutes.map(({ sources }) => sources)),
    L0_MAX + 8,
  ],
  ['event-loop delay, p99 in ms', ratio(delay.percentile(99), 1e6), 10],
  ['event-loop delay, longest in ms', ratio(delay.max, 1e6), 25],
  ['largest RSS, MiB', mib(seen.rss), mib(1.25 * memoryBytes + 80e6)],
  ...(stored === undefined
    ? []
    : [['bytes in the store, of the live ones', ratio(stored.bytes, stored.liveBytes), 1.1]]),
];
const report = {
  writes,
  keys: keyCount,
  rows,
  writeSeconds: Math.round(writeSeconds),
  writesPerSecond: Math.round(writes / writeSeconds),
  before,
  after,
  stored,
  jobs: seen.commits,
  flushedMiB: mib(flushed),
  compactedMiB: mib(compacted),
  readByCompactionMiB: mib(during.compactor?.bytesIn ?? 0),
  idleLoop: { p99: ratio(idleDelay.p99, 1), max: ratio(idleDelay.max, 1) },
  /** By CPU time of the thread. */
  loopTurns: { ...watch.turns, longestMs: ratio(watch.turns.longestMs, 1) },
  compactor: compactor.spent,
  collector: { spent: collector.spent, deleted: collector.deleted, rounds: collector.rounds },
  lastError: seen.lastError,
  checks: checks.map(([what, found, limit]) => ({ what, found, limit, holds: found <= limit })),
};
if (args.json !== undefined)
  fs.writeFileSync(args.json, `${JSON.stringify(report, (_, v) => (typeof v === 'bigint' ? String(v) : v), 1)}\n`);
process.stdout.write(
  `${JSON.stringify({ ...report, checks: undefined }, (_, v) => (typeof v === 'bigint' ? String(v) : v), 1)}\n\n`,
);
for (const { what, found, limit, holds } of report.checks) {
  process.stdout.write(`${holds ? 'ok    ' : 'MISSED'} ${what}: ${found} (limit ${limit})\n`);
}
process.stdout.write(
  `Contents equal the model: ${rows} rows. The loop without work beside it: p99 ${report.idleLoop.p99} ms, longest ${report.idleLoop.max} ms.\n` +
    `Turns of the loop by CPU time: longest ${report.loopTurns.longestMs} ms, ${report.loopTurns.over10Ms} of ${report.loopTurns.count} above 10 ms.\n`,
);
if (args.assert && report.checks.some(({ holds }) => !holds)) process.exitCode = 1;
