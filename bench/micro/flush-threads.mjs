// Memtables become tables on a thread, and on the writer's own: how long a flush takes, how long the event loop stands still in it, and how fast
// rows are put while tables are built.
// Run: npm run build && node bench/micro/flush-threads.mjs [--mib 64] [--rounds 7] [--value 100] [--codec none] [--old DIST] [--dir PATH]
//
// flush   a memtable of that many MiB, by db.flush: time; the longest time between two turns of an event loop that does nothing else, and the
//         most CPU time, which other programs do not lengthen; CPU time of the main thread (Linux) and of the process
// puts    eight memtables of that size, row by row and not awaited to be durable, and then flush: ns per row, in time and in CPU time; longest wait between 16 puts
//
// The variants by turns in one process, nothing is merged; `off`: tables are built on the main thread, `old`: another build. The first two rounds
// are not counted. Printed: medians, the least, and of the pairs of one round the median ratio to the first variant.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values: args } = parseArgs({
  options: {
    mib: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '7' },
    value: { type: 'string', default: '100' },
    codec: { type: 'string', default: 'none' },
    old: { type: 'string' },
    dir: { type: 'string', default: os.tmpdir() },
    only: { type: 'string' },
  },
});
const BYTES = Number(args.mib) * 2 ** 20;
const ROUNDS = Number(args.rounds);
const VALUE_BYTES = Number(args.value);
const WARM_UP = 2;
const ROW_BYTES = 16 + VALUE_BYTES + 16;
const ROWS = Math.floor(BYTES / ROW_BYTES);
const BATCH = 1000;
/** Prime to the number of rows: they come in a scattered order without a list of them. */
const STRIDE = 618_034_049;

const load = (dist) => import(pathToFileURL(path.resolve(dist, 'index.js')).href);
const dist = process.env.SHALEDB_DIST ?? new URL('../../dist', import.meta.url).pathname;
const current = await load(dist);
const before = args.old === undefined ? current : await load(args.old);
const VARIANTS = {
  ...(args.old !== undefined && { old: { open: before.open, WriteBatch: before.WriteBatch, threads: 'auto' } }),
  off: { open: current.open, WriteBatch: current.WriteBatch, threads: 'off' },
  threads: { open: current.open, WriteBatch: current.WriteBatch, threads: 'auto' },
};

const root = fs.mkdtempSync(path.join(args.dir, 'shaledb-flush-'));
process.on('exit', () => fs.rmSync(root, { recursive: true, force: true }));

const quiet = { debug() {}, info() {}, warn: console.error, error: console.error };
let places = 0;
function openNew({ open, threads }, options) {
  const place = pathToFileURL(path.join(root, String(places++))).href;
  const compactor = { threads, scheduler: () => ({ proposals: [] }) };
  const fixed = { gc: false, logger: quiet, compactor, compressionCodec: args.codec, l0MaxSsts: 1000 };
  return open(place, { ...fixed, memoryBytes: 512 << 20, ...options });
}

const keyOf = (i) => Buffer.from(`key${String((i * STRIDE) % 1e13).padStart(13, '0')}`);
const value = Buffer.alloc(VALUE_BYTES);
for (let i = 0; i < VALUE_BYTES; i++) value[i] = i % 2 === 0 ? 120 : (i * 37) & 255;

const SLEEP = new Int32Array(new SharedArrayBuffer(4));

/** CPU time of the main thread, ms (Linux): the system counts it when the thread sleeps. */
function mainThreadMs() {
  Atomics.wait(SLEEP, 0, 0, 0.01);
  try {
    return Number(fs.readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
  } catch {
    return Number.NaN;
  }
}

/** The longest time, and the most CPU time of the main thread, between two turns of the event loop, which has one every ms if it can. */
function turns() {
  let longestMs = 0;
  let mostCpuMs = 0;
  let last = performance.now();
  let lastCpu = mainThreadMs();
  const timer = setInterval(() => {
    const now = performance.now();
    const cpu = mainThreadMs();
    longestMs = Math.max(longestMs, now - last);
    mostCpuMs = Math.max(mostCpuMs, cpu - lastCpu);
    last = now;
    lastCpu = cpu;
  }, 1);
  return () => {
    clearInterval(timer);
    return { longestMs, mostCpuMs };
  };
}

async function flush(variant) {
  const db = await openNew(variant, { l0SstSizeBytes: 2 * BYTES, maxUnflushedBytes: 400 << 20 });
  for (let start = 0; start < ROWS; start += BATCH) {
    const batch = new variant.WriteBatch();
    for (let i = start; i < Math.min(ROWS, start + BATCH); i++) batch.put(keyOf(i), value);
    await db.write(batch, { awaitDurable: false });
  }
  await db.flush();
  globalThis.gc?.();
  const end = turns();
  const cpu = process.cpuUsage();
  const main = mainThreadMs();
  const start = performance.now();
  await db.flush({ type: 'memtable' });
  const flushMs = performance.now() - start;
  const mainMs = mainThreadMs() - main;
  const { user, system } = process.cpuUsage(cpu);
  const { longestMs, mostCpuMs } = end();
  await db.close();
  return {
    'flush ms': flushMs,
    'longest turn ms': longestMs,
    'its CPU ms': mostCpuMs,
    'main thread ms': mainMs,
    'process ms': (user + system) / 1000,
  };
}

async function puts(variant) {
  const db = await openNew(variant, { l0SstSizeBytes: BYTES });
  const rows = 8 * ROWS;
  globalThis.gc?.();
  const start = performance.now();
  const cpu = process.cpuUsage();
  const main = mainThreadMs();
  let longest = 0;
  let last = start;
  for (let i = 0; i < rows; i++) {
    await db.put(keyOf(i), value, { awaitDurable: false });
    if (i % 16 === 0) {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
    }
  }
  const putNs = ((performance.now() - start) * 1e6) / rows;
  await db.flush({ type: 'memtable' });
  const allNs = ((performance.now() - start) * 1e6) / rows;
  const mainNs = ((mainThreadMs() - main) * 1e6) / rows;
  const { user, system } = process.cpuUsage(cpu);
  await db.close();
  return {
    'put ns': putNs,
    'put and flush ns': allNs,
    'main thread ns': mainNs,
    'process ns': ((user + system) * 1000) / rows,
    'longest wait ms': longest,
  };
}

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

for (const [name, measure] of Object.entries({ flush, puts })) {
  if (args.only !== undefined && args.only !== name) continue;
  const found = Object.fromEntries(Object.keys(VARIANTS).map((variant) => [variant, []]));
  for (let round = 0; round < ROUNDS + WARM_UP; round++) {
    const order = Object.keys(VARIANTS);
    if (round % 2 === 1) order.reverse();
    for (const variant of order) {
      const figures = await measure(VARIANTS[variant]);
      fs.rmSync(path.join(root, String(places - 1)), { recursive: true, force: true });
      if (round >= WARM_UP) found[variant].push(figures);
    }
  }
  const [first] = Object.keys(VARIANTS);
  console.log(`${name}: ${args.mib} MiB, ${ROWS} rows, values of ${VALUE_BYTES} bytes, ${args.codec}`);
  for (const [variant, all] of Object.entries(found)) {
    const columns = Object.keys(all[0]).map((figure) => {
      const ratio = median(all.map((figures, i) => figures[figure] / found[first][i][figure]));
      const values = all.map((figures) => figures[figure]);
      return `${figure} ${median(values).toFixed(1)} least ${Math.min(...values).toFixed(1)} (${ratio.toFixed(2)})`;
    });
    console.log(`  ${variant.padEnd(8)} ${columns.join('   ')}`);
  }
}
