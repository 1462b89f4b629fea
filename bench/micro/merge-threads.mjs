// What a job of a compaction takes on a thread, and in slices: 8 overlapping tables of level 0 become one run.
// Run: npm run build:modules && node bench/micro/merge-threads.mjs [--rows 50000] [--rounds 5] [--value 100] [--store memory|local] [--codec none] [--ranges 2]
//
// With --ranges: the same job on that many threads, in one range and in that many ranges of keys. On a machine that has other work the wall times
// say little; then the CPU time of the busiest thread (Linux, mean, in steps of 10 ms) is what a job takes at least with a core for each.
//
// The job as a compactor runs it, by turns in one process that does nothing else: reading, merging, writing, reading back. The first rounds are not
// counted, they start the thread and compile. In the meantime the delay of the event loop is measured, with a timer of 1 ms; CPU time is that of the
// process, threads included.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';

const { values: args } = parseArgs({
  options: {
    rows: { type: 'string', default: '50000' },
    rounds: { type: 'string', default: '5' },
    value: { type: 'string', default: '100' },
    store: { type: 'string', default: 'local' },
    codec: { type: 'string', default: 'none' },
    ranges: { type: 'string', default: '1' },
  },
});
const ROWS = Number(args.rows);
const ROUNDS = Number(args.rounds);
const VALUE_BYTES = Number(args.value);
const RANGES = Number(args.ranges);
const INPUTS = 8;
const KEY_BYTES = 16;
const WARM_UP = 3;

const dist = new URL(process.env.SHALEDB_DIST ?? '../../.cache/modules/', import.meta.url);
const load = (name) => import(new URL(`${name}.js`, dist).href);
const { SYSTEM_CLOCK: clock } = await load('common/clock');
const { SYSTEM_RANDOM: random } = await load('common/random');
const { SILENT_LOGGER: logger } = await load('common/logger');
const { makeUlid } = await load('common/ulid');
const { runDividedJob } = await load('compaction/divided-job');
const { SlicedMerges } = await load('compaction/merge-host');
const { ThreadedMerges } = await load('compaction/threaded-merges');
const { startThread } = await load('compaction/thread');
const { ThreadPool } = await load('compaction/thread-pool');
const { ByteRate } = await load('compaction/throttle');
const { loadCodec } = await load('format/codecs');
const { tablePath } = await load('format/object-names');
const { TableBuilder } = await load('format/table-builder');
const { Author } = await load('lsm/manifest/author');
const { databaseStores } = await load('lsm/manifest/database-stores');
const { emptyManifest } = await load('lsm/manifest/manifest-edits');
const { LocalStore } = await load('store/local-store');
const { MemoryStore } = await load('store/memory-store');

const directory = mkdtempSync(join(tmpdir(), 'shaledb-merge-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
const store = args.store === 'memory' ? new MemoryStore({ clock }) : new LocalStore(directory);
const codec = await loadCodec(args.codec);
const FILTER = { form: 'composite', bitsPerKey: 10, minKeys: 0 };

/** Each with keys from the whole range. */
async function makeTable(input) {
  const builder = new TableBuilder({
    tableType: 'compacted',
    blockBytes: 4096,
    codec,
    filter: FILTER,
    rowsPerCheck: 4,
    capacityBytes: ROWS * (KEY_BYTES + VALUE_BYTES + 24),
  });
  const value = new Uint8Array(VALUE_BYTES).fill(0x78);
  for (let i = 0; i < ROWS; i++) {
    const number = i * INPUTS + input;
    const key = new Uint8Array(Buffer.from(`key${String(number).padStart(KEY_BYTES - 3, '0')}`));
    crypto.getRandomValues(value.subarray(0, VALUE_BYTES >> 1));
    builder.add(key, 0, key.length, value, 0, VALUE_BYTES, number + 1, 4, 1.8e12, 0);
  }
  const { bytes, info } = builder.finish();
  const id = makeUlid(1.7e12 + input, random);
  await store.put(tablePath(id), bytes, { condition: 'if-absent', putId: id });
  return { id, info, formatVersion: 2 };
}

const tables = [];
for (let input = 0; input < INPUTS; input++) tables.push(await makeTable(input));
const author = new Author({ clock, random, owner: 'bench', databaseId: new Uint8Array(16), role: 'compactor' });
const stores = databaseStores(
  { location: { store, path: '' }, isRootAssumed: false },
  { clock, random, timeoutMs: 60_000 },
);
const slices = new SlicedMerges(clock, () => false);
const pool = new ThreadPool({ clock, logger, startThread, most: RANGES });
const threads = new ThreadedMerges({ threads: pool, slices });

function planOf(jobId) {
  return {
    jobId,
    manifestId: 1,
    segment: undefined,
    sources: tables.map((table) => ({
      level: 'l0',
      runId: undefined,
      views: [{ view: { viewId: table.id, table, visibleRange: undefined }, owner: undefined }],
    })),
    destination: 1,
    barrier: Number.MAX_SAFE_INTEGER,
    tickMs: undefined,
    isBottom: true,
    keptWhole: [],
    keptTombstones: [],
    output: { blockBytes: 4096, codec: codec.name, filter: FILTER, maxSstBytes: RANGES === 1 ? 1 << 28 : 1 << 24 },
  };
}

const TASKS = '/proc/self/task';
const TICK_MS = 10;

/** CPU time of each thread so far, ms. */
function threadTimes() {
  const ids = existsSync(TASKS) ? readdirSync(TASKS) : [];
  return new Map(
    ids.map((id) => {
      const fields = readFileSync(`${TASKS}/${id}/stat`, 'latin1').split(') ')[1].split(' ');
      return [id, (Number(fields[11]) + Number(fields[12])) * TICK_MS];
    }),
  );
}

async function run(merges, maxSubcompactions) {
  const manifest = { ...emptyManifest(2, false), compactorEpoch: 1 };
  const options = {
    stores,
    manifests: { current: { id: 1, manifest, seal: undefined } },
    author,
    logger,
    rate: new ByteRate(clock, undefined),
    merges,
    slices,
    mergeOperator: undefined,
    compactionFilter: undefined,
    operatorModule: undefined,
    filterModule: undefined,
    shareBytes: RANGES * (48 << 20),
    maxSubcompactions,
    verifyOutputs: 'sample',
    onFinding: () => undefined,
  };
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const times = threadTimes();
  const cpu = process.cpuUsage();
  const start = performance.now();
  const { outputs, counts } = await runDividedJob(
    planOf(makeUlid(Date.now(), random)),
    options,
    new AbortController().signal,
  );
  const ms = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  const busiestMs = Math.max(0, ...[...threadTimes()].map(([id, at]) => at - (times.get(id) ?? 0)));
  delay.disable();
  if (counts.rowsOut !== ROWS * INPUTS) throw new Error('rows are lost');
  await store.delete(outputs.map(({ table }) => tablePath(table.id)));
  return {
    ms,
    cpuMs: (user + system) / 1000,
    busiestMs,
    p99: delay.percentile(99) / 1e6 - 1,
    longest: delay.max / 1e6 - 1,
  };
}

const places =
  RANGES === 1
    ? { slices: [slices, 1], threads: [threads, 1] }
    : { 'one range': [threads, 1], [`${RANGES} ranges`]: [threads, RANGES] };
const measured = Object.fromEntries(Object.keys(places).map((name) => [name, []]));
for (let round = 0; round < WARM_UP + ROUNDS; round++) {
  for (const [name, [merges, ranges]] of Object.entries(places)) {
    const one = await run(merges, ranges);
    if (round >= WARM_UP) measured[name].push(one);
  }
}
if (threads.threadCount !== RANGES) throw new Error('threads could not be started');
await pool.close();

const median = (all) => all.toSorted((a, b) => a - b)[all.length >> 1];
const of = (name, what) => median(measured[name].map((one) => one[what]));
const mean = (name, what) => measured[name].reduce((sum, one) => sum + one[what], 0) / measured[name].length;
const rawBytes = ROWS * INPUTS * (KEY_BYTES + VALUE_BYTES);
console.log(
  `${INPUTS} x ${ROWS} rows, values of ${VALUE_BYTES} bytes, codec ${codec.name}, store ${args.store}, ${ROUNDS} rounds`,
);
for (const name of Object.keys(places)) {
  const ms = of(name, 'ms');
  const parts = [
    `${ms.toFixed(0)} ms`,
    `${(rawBytes / ms / 1000).toFixed(0)} MB/s`,
    `CPU ${of(name, 'cpuMs').toFixed(0)} ms, busiest thread ${mean(name, 'busiestMs').toFixed(0)} ms`,
    `delay of the loop p99 ${of(name, 'p99').toFixed(1)} ms, longest ${of(name, 'longest').toFixed(1)} ms`,
  ];
  console.log(`${name.padEnd(9)} ${parts.join('   ')}`);
}
const [before, after] = Object.keys(places);
const throughput = of(before, 'ms') / of(after, 'ms');
const cpu = of(after, 'cpuMs') / of(before, 'cpuMs');
console.log(`${after} to ${before}: throughput ${throughput.toFixed(2)}, CPU ${cpu.toFixed(2)}`);
