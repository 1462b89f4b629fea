/** Twelve ways to merge tables, under which the same operations must read equal. */
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
  'one slow job at a time': { compactor: { ...EVERY_FLUSH, maxConcurrentCompactions: 1, bytesPerSecond: 4096 } },
  'outputs read back whole': { compactor: { ...EVERY_FLUSH, verifyOutputs: 'all' }, gc: SHORT },
  'no filters': { compactor: EVERY_FLUSH, options: { minFilterKeys: 1_000_000 } },
  'compressed by lz4': { compactor: EVERY_FLUSH, options: { compressionCodec: 'lz4' }, gc: SHORT },
  'compressed by zstd, the least memory': {
    compactor: EVERY_FLUSH,
    options: { compressionCodec: 'zstd', memoryBytes: 8 * MIB, compatibility: 'slatedb-0.12' },
  },
};

export const SETTING_NAMES: readonly string[] = Object.keys(SETTINGS);

/** The operations of a script under a setting, with nothing else going wrong; all is read after each step, at the snapshots as well. */
export function underSetting(script: Script, name: string): Script {
  const { options, compactor, gc = false } = SETTINGS[name];
  const steps = script.steps.filter(({ type }) => !DISTURBING.includes(type));
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
