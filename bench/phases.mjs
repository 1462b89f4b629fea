/**
 * What is measured, in the order of the table, and which ratios the project promises.
 *
 * `kind`: `rate` is per second, more is better; `ms` and `MB` are costs, less is better. Ratios are always turned so that more
 * than 1 means that ShaleDB is ahead. `against`: ShaleDB has no such call, so its figure is that of another phase.
 */

export const PHASES = [
  { id: 'putAwaited', group: 'Write, not durable', label: 'put, awaited one by one', kind: 'rate', unit: 'puts' },
  { id: 'putInFlight', group: 'Write, not durable', label: 'put, 256 in flight', kind: 'rate', unit: 'puts' },
  { id: 'batch100', group: 'Write, not durable', label: 'batches of 100', kind: 'rate', unit: 'rows' },
  { id: 'batch1000', group: 'Write, not durable', label: 'batches of 1,000', kind: 'rate', unit: 'rows' },
  { id: 'memoryRandom', group: 'Read from memory', label: 'get, random', kind: 'rate', unit: 'gets' },
  { id: 'memoryHot', group: 'Read from memory', label: 'get, 1,000 hot keys', kind: 'rate', unit: 'gets' },
  { id: 'memoryAbsent', group: 'Read from memory', label: 'get, absent key', kind: 'rate', unit: 'gets' },
  { id: 'memoryScan', group: 'Read from memory', label: 'scan of all, row by row', kind: 'rate', unit: 'rows' },
  { id: 'tableRandom', group: 'Read from cached tables', label: 'get, random', kind: 'rate', unit: 'gets' },
  { id: 'tableHot', group: 'Read from cached tables', label: 'get, 1,000 hot keys', kind: 'rate', unit: 'gets' },
  { id: 'tableAbsent', group: 'Read from cached tables', label: 'get, absent key', kind: 'rate', unit: 'gets' },
  { id: 'tableMany', group: 'Read from cached tables', label: 'getMany(256), random', kind: 'rate', unit: 'gets' },
  {
    id: 'tableSync',
    group: 'Read from cached tables',
    label: "the peer's synchronous get, random",
    kind: 'rate',
    unit: 'gets',
    against: 'tableRandom',
  },
  { id: 'tableScan', group: 'Read from cached tables', label: 'scan of all, row by row', kind: 'rate', unit: 'rows' },
  { id: 'tableRanges', group: 'Read from cached tables', label: 'ranges of 100 rows', kind: 'rate', unit: 'rows' },
  { id: 'tableBatches', group: 'Read from cached tables', label: 'scan of all, by 1,000', kind: 'rate', unit: 'rows' },
  { id: 'openTable', group: 'Open, fresh process', label: 'all rows in tables', kind: 'ms' },
  { id: 'openTableFirstGet', group: 'Open, fresh process', label: '… and the first get', kind: 'ms' },
  { id: 'openWal', group: 'Open, fresh process', label: 'all rows only in the WAL', kind: 'ms' },
  { id: 'openWalFirstGet', group: 'Open, fresh process', label: '… and the first get', kind: 'ms' },
  { id: 'peakRss', group: 'Memory', label: 'peak RSS, with the keys above', kind: 'MB' },
];

/**
 * `hasWal`: rows can be in a log only. `limits`: most operations per pass of a phase; where a peer does 4,000 to 60,000 per
 * second, fewer keep the run short and the rate stays the same.
 */
export const PEERS = {
  shaledb: { title: 'ShaleDB', package: 'shaledb', script: 'peer-shaledb.mjs', hasWal: true },
  slatedb: {
    title: 'SlateDB',
    package: '@slatedb/uniffi',
    script: 'peer-slatedb.mjs',
    hasWal: true,
    limits: { putAwaited: 15_000, putInFlight: 20_000, batch100: 40_000, get: 12_000, ranges: 200 },
  },
  'classic-level': {
    title: 'classic-level',
    package: 'classic-level',
    script: 'peer-classic-level.mjs',
    hasWal: true,
    limits: { putAwaited: 40_000, get: 30_000 },
  },
  lmdb: { title: 'lmdb', package: 'lmdb', script: 'peer-lmdb.mjs', hasWal: false, limits: { putAwaited: 20_000 } },
};

/** What `limits` limits. */
export const LIMIT_NAMES = {
  putAwaited: 'awaited puts',
  putInFlight: 'puts in flight',
  batch100: 'rows in batches of 100',
  get: 'gets',
  ranges: 'ranges',
};

/** Least ratio of medians. Against SlateDB's binding they put ShaleDB ahead of native SlateDB too. */
export const FLOORS = [
  { peer: 'slatedb', phase: 'putAwaited', atLeast: 40 },
  { peer: 'slatedb', phase: 'batch1000', atLeast: 12 },
  { peer: 'slatedb', phase: 'memoryRandom', atLeast: 8 },
  { peer: 'slatedb', phase: 'memoryHot', atLeast: 8 },
  { peer: 'slatedb', phase: 'memoryAbsent', atLeast: 10 },
  { peer: 'slatedb', phase: 'memoryScan', atLeast: 20 },
  { peer: 'slatedb', phase: 'tableRandom', atLeast: 10 },
  { peer: 'slatedb', phase: 'tableHot', atLeast: 20 },
  { peer: 'slatedb', phase: 'tableAbsent', atLeast: 10 },
  { peer: 'slatedb', phase: 'tableScan', atLeast: 30 },
  { peer: 'classic-level', phase: 'putAwaited', atLeast: 10 },
  { peer: 'classic-level', phase: 'batch1000', atLeast: 1.4 },
  { peer: 'classic-level', phase: 'tableRandom', atLeast: 5 },
  { peer: 'classic-level', phase: 'tableHot', atLeast: 10 },
  { peer: 'classic-level', phase: 'tableAbsent', atLeast: 10 },
  { peer: 'classic-level', phase: 'tableScan', atLeast: 3 },
];

/** Highest ratios of the durable part: time of ShaleDB's put over that of the other. */
export const DURABLE_LIMITS = { localOverLevelDb: 5, storeRoundTrips: 1.3 };

/** Bounds of the ingest part. */
export const INGEST = {
  rows: 1_000_000,
  memoryBytes: 256 * 1024 * 1024,
  rssLimitBytes: 1.25 * 256 * 1024 * 1024 + 80e6,
  loopDelayLimitMs: 20,
  loopDelayLimitFactor: 2,
};

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * How many times ShaleDB is ahead in a phase: median over median, and its slowest round over the other's fastest. `samples`
 * are the measurements of all rounds, `samples[peer][phase]`. Undefined where one of the two has no such phase.
 */
export function compare(samples, phase, peer) {
  const ours = samples.shaledb?.[phase.against ?? phase.id];
  const theirs = samples[peer]?.[phase.id];
  if (!ours?.length || !theirs?.length) return undefined;
  if (phase.kind === 'rate') {
    return { ratio: median(ours) / median(theirs), worst: Math.min(...ours) / Math.max(...theirs) };
  }
  return { ratio: median(theirs) / median(ours), worst: Math.min(...theirs) / Math.max(...ours) };
}
