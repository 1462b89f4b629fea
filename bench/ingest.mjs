/**
 * Ingest of a million rows of 100 bytes into a local directory under a memory budget of 256 MiB: does the process keep to its
 * budget, and does its event loop stay responsive?
 *
 * Resident memory is sampled every 50 ms. The delay of the event loop is that of `perf_hooks.monitorEventLoopDelay`, and is set
 * against a bare loop of 2 ms slices with a turn of the event loop between them, in the same process: what this machine does to any
 * program that works in slices.
 * Afterwards the database is opened again and every row is read.
 *
 * Options: --dir PATH, --rows N, --quick (200,000 rows), --assert, --emit-result (a last line `RESULT {json}`).
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { distUrl } from './dist-url.mjs';
import { INGEST } from './phases.mjs';
import { shortNumber, table, verdictTable } from './report.mjs';

const { open, WriteBatch } = await import(distUrl('index.js'));

const BATCH_ROWS = 1000;
const SAMPLE_MS = 50;
const BARE_LOOP_MS = 3000;
const SLICE_MS = 2;
/** No divisor of the row count: rows come in a scattered order without a list of them. */
const STRIDE = 618_034_049;

const { values: options } = parseArgs({
  options: {
    dir: { type: 'string', default: os.tmpdir() },
    rows: { type: 'string' },
    quick: { type: 'boolean', default: false },
    assert: { type: 'boolean', default: false },
    'emit-result': { type: 'boolean', default: false },
  },
});
const ROWS = Number(options.rows ?? (options.quick ? 200_000 : INGEST.rows));
const NS_PER_MS = 1e6;

const idOf = (i) => (i * STRIDE) % ROWS; // stays below 2^53
const keyOf = (id) => `key${String(id).padStart(13, '0')}`;

function makeValue(id) {
  const value = Buffer.alloc(100, 0x78);
  let state = (id + 1) >>> 0;
  for (let at = 4; at < 52; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    value.writeUInt32LE(state, at);
  }
  value.writeUInt32LE(id, 0);
  return value;
}

/** Runs `work` and gives the delay of the event loop while it runs. */
async function withLoopDelay(work) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  await new Promise((resolve) => setImmediate(resolve));
  delay.enable();
  const result = await work();
  // A last turn, so that a stall at the very end is counted too.
  await new Promise((resolve) => setTimeout(resolve, 2));
  delay.disable();
  return { result, p99Ms: delay.percentile(99) / NS_PER_MS, maxMs: delay.max / NS_PER_MS };
}

async function bareLoop() {
  const end = performance.now() + BARE_LOOP_MS;
  while (performance.now() < end) {
    const sliceEnd = performance.now() + SLICE_MS;
    while (performance.now() < sliceEnd);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Highest resident memory seen, by samples; `stop` gives it. */
function sampleRss() {
  let highest = 0;
  let samples = 0;
  const sample = () => {
    samples++;
    highest = Math.max(highest, process.memoryUsage.rss());
  };
  sample();
  const timer = setInterval(sample, SAMPLE_MS);
  return () => {
    clearInterval(timer);
    sample();
    return { highest, samples };
  };
}

async function ingest(location) {
  const stopSampling = sampleRss();
  const db = await open(location, { memoryBytes: INGEST.memoryBytes });
  const start = performance.now();
  for (let first = 0; first < ROWS; first += BATCH_ROWS) {
    const batch = new WriteBatch();
    const end = Math.min(ROWS, first + BATCH_ROWS);
    for (let i = first; i < end; i++) {
      const id = idOf(i);
      batch.put(keyOf(id), makeValue(id));
    }
    await db.write(batch, { awaitDurable: false });
  }
  const acceptedMs = performance.now() - start;
  await db.flush({ type: 'memtable' });
  const inTablesMs = performance.now() - start;
  await db.close();
  const { highest, samples } = stopSampling();
  return { acceptedMs, inTablesMs, rssBytes: highest, samples };
}

async function verify(location) {
  const db = await open(location);
  let id = 0;
  for await (const { key, value } of db.scan()) {
    const text = Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
    if (text !== keyOf(id) || !makeValue(id).equals(value))
      throw new Error(`ingest: row ${id} is wrong after reopening`);
    id++;
  }
  await db.close();
  if (id !== ROWS) throw new Error(`ingest: ${id} rows for ${ROWS} after reopening`);
}

const directory = fs.mkdtempSync(path.join(options.dir, 'shaledb-ingest-'));
process.once('exit', () => fs.rmSync(directory, { recursive: true, force: true }));
const location = pathToFileURL(path.join(directory, 'db')).href;

const bare = await withLoopDelay(bareLoop);
const measured = await withLoopDelay(() => ingest(location));
const { acceptedMs, inTablesMs, rssBytes, samples } = measured.result;
await verify(location);

const delayLimitMs = Math.max(INGEST.loopDelayLimitMs, INGEST.loopDelayLimitFactor * bare.p99Ms);
const mb = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;
const ms = (value) => `${value.toFixed(1)} ms`;
const verdicts = [
  {
    what: 'ingest: resident memory',
    limit: `at most ${mb(INGEST.rssLimitBytes)} (1.25 x budget + 80 MB)`,
    measured: mb(rssBytes),
    ok: rssBytes <= INGEST.rssLimitBytes,
  },
  {
    what: 'ingest: event loop delay, p99',
    limit: `at most ${ms(delayLimitMs)} (the greater of 20 ms and twice the bare loop)`,
    measured: ms(measured.p99Ms),
    ok: measured.p99Ms <= delayLimitMs,
  },
];
console.log(`## Ingest of ${ROWS.toLocaleString('en')} rows of 100 B, batches of 1,000, budget 256 MiB\n`);
console.log(
  table(
    ['', 'ingest', 'bare loop of 2 ms slices'],
    [
      ['accepted, rows/s', shortNumber((ROWS / acceptedMs) * 1000), '–'],
      ['in tables, rows/s', shortNumber((ROWS / inTablesMs) * 1000), '–'],
      [`resident memory, highest of ${samples} samples`, mb(rssBytes), '–'],
      ['event loop delay, p99', ms(measured.p99Ms), ms(bare.p99Ms)],
      ['event loop delay, longest', ms(measured.maxMs), ms(bare.maxMs)],
    ],
  ),
);
const result = {
  verdicts,
  rows: ROWS,
  acceptedMs,
  inTablesMs,
  rssBytes,
  loopDelay: { p99Ms: measured.p99Ms, maxMs: measured.maxMs, bareP99Ms: bare.p99Ms, bareMaxMs: bare.maxMs },
};
if (options['emit-result']) console.log(`RESULT ${JSON.stringify(result)}`);
else console.log(`\n${verdictTable(verdicts)}`);
if (options.assert && verdicts.some(({ ok }) => !ok)) process.exitCode = 1;
