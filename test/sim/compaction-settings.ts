/** Fourteen ways to merge tables, under which the same operations must read equal. */
import type { CollectorOptions } from '../../src/gc/settings.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import type { Script, Step } from './script.ts';
import { NO_UPKEEP, type UpkeepScript } from './upkeep-settings.ts';

const EVERY_FLUSH = { minCompactionSources: 2 };
const SHORT: CollectorOptions = { minAgeMs: 1000, allowUnsafeMinAge: true, intervalMs: 10_000, recentManifests: 1 };
const MIB = 1024 * 1024;

interface Setting {
  options?: OpenOptions;
  compactor: UpkeepScript['compactor'];
  gc?: UpkeepScript['gc'];
  /** Of the operations of a script, where those that it draws would not show the setting. */
  steps?: (steps: readonly Step[]) => Step[];
}

const SETTINGS: Record<string, Setting> = {
  'nothing is merged': { compactor: false },
  'nothing is merged, and garbage is collected': { compactor: false, gc: SHORT },
  'merges after every second flush': { compactor: EVERY_FLUSH },
  'the same with a collector': { compactor: EVERY_FLUSH, gc: SHORT },
  'many runs': {
    compactor: {
      ...EVERY_FLUSH,
      includeSizeThreshold: 1,
      sortedRunConsolidationThreshold: 0,
      maxSpaceAmplification: 1000,
    },
  },
  'few runs': {
    compactor: { ...EVERY_FLUSH, sortedRunConsolidationThreshold: 1, maxSpaceAmplification: 0.1 },
    gc: SHORT,
  },
  'tiny tables and blocks': {
    compactor: { ...EVERY_FLUSH, maxSstBytes: 65_536 },
    options: { sstBlockSizeBytes: 1024 },
  },
  'one slow job at a time, with one request': {
    compactor: { ...EVERY_FLUSH, maxConcurrentCompactions: 1, bytesPerSecond: 4096, maxRequestsInFlight: 1 },
  },
  'outputs read back whole': { compactor: { ...EVERY_FLUSH, verifyOutputs: 'all' }, gc: SHORT },
  'no filters': { compactor: EVERY_FLUSH, options: { minFilterKeys: 1_000_000 } },
  'compressed by lz4': { compactor: EVERY_FLUSH, options: { compressionCodec: 'lz4' }, gc: SHORT },
  'compressed by zstd, the least memory': {
    compactor: EVERY_FLUSH,
    options: { compressionCodec: 'zstd', memoryBytes: 8 * MIB, compatibility: 'slatedb-0.12' },
  },
  'tables moved where nothing has to be written': {
    compactor: { ...EVERY_FLUSH, trivialMoves: true },
    options: { l0SstSizeBytes: 4096, sstBlockSizeBytes: 1024 },
    gc: SHORT,
    steps: withMovableTables,
  },
  'jobs divided by key': {
    compactor: { ...EVERY_FLUSH, maxSubcompactions: 3, maxSstBytes: 65_536 },
    options: { l0SstSizeBytes: MIB, memoryBytes: 256 * MIB },
    gc: SHORT,
    steps: withLargeTables,
  },
};

export const SETTING_NAMES: readonly string[] = Object.keys(SETTINGS);

/** The operations of a script under a setting, with nothing else going wrong; all is read after each step, at the snapshots as well. */
export function underSetting(script: Script, name: string): Script {
  const { options, compactor, gc = false, steps: changed = (all) => [...all] } = SETTINGS[name];
  const steps = changed(script.steps.filter(({ type }) => !DISTURBING.includes(type)));
  return {
    ...script,
    options: { ...script.options, minWalPutIntervalMs: 0, ...options },
    upkeep: { ...NO_UPKEEP, compactor, gc, l0MaxSsts: 1000 },
    store: { latencyMs: [1, 20], lateMs: 1000, keepsMetadata: true, isKnown: true },
    rates: {},
    steps: steps.flatMap((step) => [step, READ_ALL, { type: 'readSnapshot' }]),
  };
}

const DISTURBING: readonly Step['type'][] = ['crash', 'storm', 'freeze', 'jump', 'rival'];
const READ_ALL: Step = { type: 'scan', from: '', to: '\u{ff}', reverse: false, limit: 1000 };

const TABLE_BYTES = 1200;

/** Each write is followed by two tables of plain values, with keys of their own, which can be moved. */
function withMovableTables(steps: readonly Step[]): Step[] {
  let tables = 0;
  const table = (key: string): Step[] => {
    const value = `${++tables}`.padEnd(TABLE_BYTES, '#');
    return [
      { type: 'write', ops: [{ kind: 'put', key, value }], durable: false, wait: false, asBatch: false },
      { type: 'flush', memtable: true, wait: true },
    ];
  };
  return steps.flatMap((step, i) =>
    step.type === 'write' ? [step, ...table(`m${i % 10}`), ...table(`n${i % 10}`)] : [step],
  );
}

const LARGE_KEYS = 'abcdefgh';
const LARGE_BYTES = 20_000;

/** Every third write is followed by a table large enough for two of its kind to be divided. */
function withLargeTables(steps: readonly Step[]): Step[] {
  let tables = 0;
  const table = (): Step[] => {
    const value = `${++tables}`.padEnd(LARGE_BYTES, '#');
    const ops = [...LARGE_KEYS].map((name) => ({ kind: 'put' as const, key: `k${name}`, value }));
    return [
      { type: 'write', ops, durable: false, wait: false, asBatch: true },
      { type: 'flush', memtable: true, wait: true },
    ];
  };
  let writes = 0;
  return steps.flatMap((step) => (step.type === 'write' && writes++ % 3 === 0 ? [step, ...table()] : [step]));
}
