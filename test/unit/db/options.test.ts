/** What becomes of the options of `open` and `openReader`: settings that are plain data, parts that do something, or all faults. */
import { describe, expect, it } from 'vitest';
import { InvalidArgumentError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { completeParts, SHARED_CHECKS } from '../../../src/db/options.ts';
import { READER_OPTION_NAMES, resolveReaderOptions } from '../../../src/db/reader-options.ts';
import { BlockCache } from '../../../src/lsm/table/block-cache.ts';
import { OPEN_OPTION_NAMES, resolveOpenOptions } from '../../../src/upkeep-roles.ts';
import { thrown } from '../../support/database.ts';

const MIB = 1 << 20;
const LOGGER = { debug() {}, info() {}, warn() {}, error() {} };

/** Of `open`: everything set, to something that is not the default. */
const ALL = {
  createIfMissing: false,
  errorIfExists: true,
  awaitDurable: false,
  flushIntervalMs: 7,
  minWalPutIntervalMs: 8,
  memoryBytes: 64 * MIB,
  l0SstSizeBytes: MIB,
  maxWalFlushesBeforeL0Flush: 9,
  maxUnflushedBytes: 16 * MIB,
  writeTimeoutMs: 10,
  timeoutMs: 11,
  l0MaxSsts: 12,
  sstBlockSizeBytes: 2048,
  compressionCodec: 'lz4',
  minFilterKeys: 13,
  filterBitsPerKey: 14,
  walEnabled: false,
  defaultTtlMs: Number.POSITIVE_INFINITY,
  hideExpired: false,
  manifestPollIntervalMs: 15,
  compatibility: 'slatedb-0.12',
  healOnOpen: true,
  walAutoRecovery: true,
  maxLoss: { rows: 3 },
  verifyOnOpen: 'tails',
  expectAtLeast: 16n,
  closeTimeoutMs: 17,
  handleSignals: true,
  corruptionPolicy: 'strict',
  warnFreeBytes: 5 * MIB,
  warnLoopDelayMs: 500,
  owner: 'me:1',
  encodingCheck: 'ignore',
};

const PARTS = {
  keyEncoding: 'tuple',
  valueEncoding: { name: 'own', encode: () => new Uint8Array(1), decode: () => 1 },
  mergeOperator: { merge: (_: Uint8Array, __: Uint8Array | undefined, operand: Uint8Array) => operand },
  cache: new BlockCache({ capacityBytes: MIB }),
  logger: LOGGER,
  onEvent: () => undefined,
  onCorruption: () => undefined,
  clock: new ManualClock(),
  random: new SeededRandom(1),
  signal: new AbortController().signal,
};

const faultsOf = (call: () => unknown): unknown => {
  const error = thrown(call);
  expect(error).toBeInstanceOf(InvalidArgumentError);
  expect(error.code).toBe('BAD_OPTION');
  const faults = error.details['faults'] as string[];
  for (const fault of faults) expect(error.message).toContain(fault);
  return faults;
};

/** Besides the options there is where the merge operator is from; the encodings are one part, and their names one setting. */
const withModuleOf = (names: readonly string[]) =>
  [...names.filter((name) => !/^(key|value)Encoding$/.test(name)), 'operatorModule', 'codec', 'encodings'].sort();

describe('options of open', () => {
  const { settings, parts } = resolveOpenOptions({ ...ALL, ...PARTS }, 'host:2');

  it('become what they say', () => {
    expect(settings).toEqual({ ...ALL, expectedEpoch: undefined, encodings: { key: 'tuple', value: 'own' } });
    expect(parts.codec).toBeDefined();
    const { cache, clock, mergeOperator, onCorruption, random, signal } = PARTS;
    expect(parts).toMatchObject({ cache, clock, mergeOperator, onCorruption, random, signal });
  });

  it('are each a setting, a part or a role beside the writer', () => {
    const { upkeep } = resolveOpenOptions({}, 'host:2');
    const names = [settings, parts, upkeep].flatMap((each) => Object.keys(each));
    expect(names.sort()).toEqual(withModuleOf(OPEN_OPTION_NAMES));
  });

  it('are settings as far as they can be cloned to another thread', () => {
    expect(structuredClone(settings)).toStrictEqual(settings);
    const unset = resolveOpenOptions(undefined, 'host:2').settings;
    expect(structuredClone(unset)).toStrictEqual(unset);
  });

  it('are copied: a caller that changes its own later changes nothing', () => {
    const maxLoss = { rows: 3 };
    const { settings: mine } = resolveOpenOptions({ maxLoss }, 'host:2');
    maxLoss.rows = 4;
    expect(mine.maxLoss).toEqual({ rows: 3 });
  });

  it('have defaults, of which those of memory follow from the budget', () => {
    const { settings: defaults, parts: own } = resolveOpenOptions({ memoryBytes: 64 * MIB }, 'host:2');
    expect(defaults).toMatchObject({
      l0SstSizeBytes: 8 * MIB,
      maxUnflushedBytes: 32 * MIB,
      owner: 'host:2',
      awaitDurable: true,
      defaultTtlMs: undefined,
      maxLoss: undefined,
    });
    // An eighth for tables on their way, one for compaction, a sixteenth for objects of the log, a half for rows.
    expect(own.cache.capacityBytes).toBe(12 * MIB);
    const alone = resolveOpenOptions({ memoryBytes: 64 * MIB, compactor: false }, 'host:2');
    expect(alone.parts.cache.capacityBytes).toBe(20 * MIB);
    expect([defaults.l0MaxSsts, alone.settings.l0MaxSsts]).toEqual([8, 1000]);
    expect(resolveOpenOptions({ l0MaxSsts: 30 }, 'host:2').settings.l0MaxSsts).toBe(30);
    expect(own.cache).not.toBe(resolveOpenOptions({}, 'host:2').parts.cache);
    expect(own.signal).toBeUndefined();
  });

  it('take an epoch as either kind of number', () => {
    expect(resolveOpenOptions({ expectedEpoch: 5n }, 'o').settings.expectedEpoch).toBe(5);
    expect(resolveOpenOptions({ expectedEpoch: 5 }, 'o').settings.expectedEpoch).toBe(5);
  });

  it.each<[string, object, string]>([
    ['an unknown name', { flushInterval: 5 }, 'flushInterval is unknown (did you mean flushIntervalMs?)'],
    ['a wrong type', { awaitDurable: 1 }, 'awaitDurable must be true or false, not 1'],
    ['a value out of range', { filterBitsPerKey: 65 }, 'filterBitsPerKey must be a whole number from 1 to 64, not 65'],
    ['no member of a list', { verifyOnOpen: 'on' }, 'verifyOnOpen must be one of off, refs, tails, not "on"'],
    [
      'a part that lacks methods',
      { clock: {} },
      'clock must be an object with nowMs(), monotonicMs(), setTimer(), yieldToLoop()',
    ],
    [
      'a memtable as large as the limit of all',
      { l0SstSizeBytes: 8 * MIB, maxUnflushedBytes: 8 * MIB },
      'maxUnflushedBytes (8388608) must exceed l0SstSizeBytes (8388608)',
    ],
    [
      'a limit beyond the budget',
      { memoryBytes: 8 * MIB, maxUnflushedBytes: 9 * MIB },
      'maxUnflushedBytes (9437184) must not exceed memoryBytes (8388608)',
    ],
    [
      'an expectation that contradicts itself',
      { expectedEpoch: 1, errorIfExists: true },
      'expectedEpoch names a database that exists, errorIfExists forbids one',
    ],
  ])('with a fault are refused: %s', (_, options, fault) => {
    expect(faultsOf(() => resolveOpenOptions(options, 'o'))).toEqual([expect.stringContaining(fault)]);
  });

  it('with several faults are refused with all of them, those between two options last', () => {
    const faults = faultsOf(() =>
      resolveOpenOptions({ timeoutMs: 0, zzz: 1, expectedEpoch: 1, errorIfExists: true }, 'o'),
    );
    expect(faults).toEqual([
      expect.stringMatching(/^timeoutMs must be/),
      'zzz is unknown',
      expect.stringMatching(/^expectedEpoch names/),
    ]);
  });
});

describe('options of openReader', () => {
  const given = {
    memoryBytes: 64 * MIB,
    timeoutMs: 5,
    hideExpired: false,
    warnFreeBytes: 0,
    warnLoopDelayMs: 10,
    corruptionPolicy: 'strict',
    healOnOpen: true,
    encodingCheck: 'ignore',
    allowPrefix: true,
  };
  const { settings, parts } = resolveReaderOptions({ ...given, ...PARTS });

  it('become what they say', () => {
    expect(settings).toEqual({ ...given, encodings: { key: 'tuple', value: 'own' } });
    expect(parts.cache).toBe(PARTS.cache);
  });

  it('take the merge operator by its module', () => {
    const module = 'file:///place/operator.js';
    const { parts: own } = resolveReaderOptions({ mergeOperator: { module, export: 'sum' } });
    expect([own.mergeOperator, own.operatorModule]).toEqual([undefined, { module, export: 'sum' }]);
    expect([parts.mergeOperator, parts.operatorModule]).toEqual([PARTS.mergeOperator, undefined]);
  });

  it('are each a setting or a part', () => {
    expect([...Object.keys(settings), ...Object.keys(parts)].sort()).toEqual(withModuleOf(READER_OPTION_NAMES));
  });

  it('are settings as far as they can be cloned to another thread', () => {
    expect(structuredClone(settings)).toStrictEqual(settings);
  });

  it('leave half of the budget to the rows of the log', () => {
    expect(resolveReaderOptions({ memoryBytes: 64 * MIB }).parts.cache.capacityBytes).toBe(20 * MIB);
  });

  it('are refused with all faults: those of a writer are unknown', () => {
    expect(faultsOf(() => resolveReaderOptions({ flushIntervalMs: 5, allowPrefix: 'yes' }))).toEqual([
      expect.stringContaining('flushIntervalMs is unknown'),
      'allowPrefix must be true or false, not "yes"',
    ]);
  });
});

describe('options of both roles', () => {
  const names = Object.keys(SHARED_CHECKS);

  it('are known to both and have the same defaults', () => {
    expect(OPEN_OPTION_NAMES).toEqual(expect.arrayContaining(names));
    expect(READER_OPTION_NAMES).toEqual(expect.arrayContaining(names));
    const writer = resolveOpenOptions({}, 'host:2').settings;
    const shared = Object.entries(resolveReaderOptions({}).settings).filter(([name]) => names.includes(name));
    expect(shared.length).toBeGreaterThan(0);
    expect(writer).toMatchObject(Object.fromEntries(shared));
  });

  it('leave the cache what rows and uploads do not take of the budget, and at least a thirty-second', () => {
    const capacity = (unflushedBytes: number) => completeParts({}, 64 * MIB, unflushedBytes).cache.capacityBytes;
    expect([capacity(0), capacity(32 * MIB), capacity(64 * MIB)]).toEqual([52 * MIB, 20 * MIB, 2 * MIB]);
  });
});
