/**
 * Options: what may be set, what is used where nothing is set, and the check that reports every fault of an options object
 * at once. All values are plain JSON-able data, apart from the components (cache, clock, listeners, logger, merge operator, random, signal).
 */
import { type Clock, SYSTEM_CLOCK } from '../common/clock.ts';
import { type EventListener, safeListener } from '../common/events.ts';
import { type Logger, STDERR_LOGGER, safeLogger } from '../common/logger.ts';
import {
  abortSignal,
  bool,
  type ChecksOf,
  CLOCK_CHECK,
  callable,
  filledText,
  LOGGER_CHECK,
  MAX_MS,
  methods,
  oneOf,
  optionFaults,
  RANDOM_CHECK,
  readOptions,
  that,
  whole,
  wholeBigint,
  writerEpoch,
} from '../common/option-checks.ts';
import { type Random, SYSTEM_RANDOM } from '../common/random.ts';
import { CODECS, type Codec } from '../format/table-info.ts';
import type { MergeOperator } from '../lsm/rows/merge-operator.ts';
import { BlockCache } from '../lsm/table/block-cache.ts';
import { MAX_LOSS_CHECK, type MaxLoss } from '../recovery/repair-report.ts';
import type { CorruptionListener, CorruptionPolicy } from './corruption-watch.ts';
import { TTL_CHECK } from './write-options.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

export type Compatibility = 'auto' | 'slatedb-0.12' | 'slatedb-0.17';

/** Options of `open`. Each is optional. */
export interface OpenOptions {
  /** Create the database where there is none. Default true. */
  createIfMissing?: boolean;
  /** Reject if a database exists. Default false. */
  errorIfExists?: boolean;
  /** Whether writes wait until they are durable unless they say otherwise. Default true. False: a crash loses what the last `flushIntervalMs` brought. */
  awaitDurable?: boolean;
  /** How long a row that nobody awaits may stay in memory only, ms; 1 to 3,600,000, default 100. More: fewer requests, more lost in a crash. */
  flushIntervalMs?: number;
  /** Least time between the starts of two WAL PUTs, ms; 0 to 60,000, default 0. More: fewer requests for many small durable writes, each waits longer. */
  minWalPutIntervalMs?: number;
  /** One budget for memtables with their index, WAL buffers, uploads in flight, replay and caches, bytes; at least 8 MiB, default 512 MiB. */
  memoryBytes?: number;
  /** Size at which a memtable becomes an L0 table, bytes; at least 4 KiB, default the least of 64 MiB and an eighth of the budget. More: fewer, larger tables and a longer replay. */
  l0SstSizeBytes?: number;
  /** Log objects that are in no table yet at which the memtable becomes an L0 table, however small it is; 1 to 1,000,000, default 4,096. They are what an opening and the first look of a reader read, one GET each; objects that were replayed count, fences too. More: fewer, larger tables and a longer replay. While flushing pauses (`l0MaxSsts`) the log grows beyond it. */
  maxWalFlushesBeforeL0Flush?: number;
  /** Unflushed bytes at which writers have to wait; above `l0SstSizeBytes`, default half of the budget. */
  maxUnflushedBytes?: number;
  /** How long a write waits to be admitted, ms; default 60,000. Then `OVERLOADED`, not applied. */
  writeTimeoutMs?: number;
  /** Deadline of any other call, ms; default 60,000. */
  timeoutMs?: number;
  /** L0 tables before flushing pauses; default 1,000 while there is no compactor. More: flushing goes on, reads get slower. */
  l0MaxSsts?: number;
  /** Target size of a block, bytes; 1,024 to 65,536, default 4,096. More: better compression and fewer requests in scans, more bytes per cold get. */
  sstBlockSizeBytes?: number;
  /** Codec of new tables and WAL objects: none, snappy, zlib, lz4 or zstd. Default none. */
  compressionCodec?: Codec;
  /** Rows from which a table gets a filter; default 1,000. */
  minFilterKeys?: number;
  /** Bits per key of new filters; 1 to 64, default 10 (0.9 % false positives). */
  filterBitsPerKey?: number;
  /** Write a write-ahead log. Default true. False: durable means in a table. */
  walEnabled?: boolean;
  /** Time to live of writes that name none, ms, by the clock of this machine. Default: for ever, as with `Infinity`. */
  defaultTtlMs?: number;
  /** Hide expired rows from reads. Default true; false shows them until a compaction drops them, as SlateDB does. */
  hideExpired?: boolean;
  /** How often a database that writes looks for manifests of others, ms; 10 to 60,000, default 1,000. An idle one polls nothing. */
  manifestPollIntervalMs?: number;
  /** Which SlateDB versions must be able to open what is written. Default auto. */
  compatibility?: Compatibility;
  /** Undo damage of the log and of the newest manifest that their seals prove to be undoable, in memory, and go on; each is an event. Default false: any damage refuses the open. */
  healOnOpen?: boolean;
  /** Repair a damaged log by itself (`walRepair`, mode recover): `open` resolves before, reads and writes wait for the end, `db.ready()` has the report. Each damage, each repair and each loss is a line in the log. Default false. */
  walAutoRecovery?: boolean;
  /** Most that `walAutoRecovery` may lose, compared with the most that can be lost: where nothing bounds a loss it exceeds every limit. Beyond it `ready()` rejects with `WalCorruptionError` and nothing is changed. Default: no limit, `walAutoRecovery` itself is the consent. */
  maxLoss?: MaxLoss;
  /** Look after the opening whether every table is there (`refs`: three LISTs) and says of itself what the manifest says (`tails`: one GET for each as well); findings are events. Default: off, the opening then costs no request more. */
  verifyOnOpen?: 'off' | 'refs' | 'tails';
  /** Refuse to open a database whose greatest sequence number is lower (`RollbackError`): one that the caller has seen. Default: any is taken. */
  expectAtLeast?: bigint;
  /** Take over from exactly this writer epoch, which the caller has seen, and from no other: any other one that is stored is a `FencedError` before anything is written, and a running writer is not disturbed. The database then has the epoch after it; of two openings with one expectation one wins. A whole number from 1; `manifestInspect` shows the stored one. Default: whatever is there is taken over. */
  expectedEpoch?: number | bigint;
  /** How long `close` may take, ms; default 10,000. */
  closeTimeoutMs?: number;
  /** Close on SIGTERM and SIGINT; the process ends by the signal when all databases that asked for it have closed, at a second signal at once. Default false. */
  handleSignals?: boolean;
  /** Combines merge operands; needed by `merge` and by reads that meet operands. Default: none. */
  mergeOperator?: MergeOperator;
  /** Shared by several databases of a process. Default: one of its own. */
  cache?: BlockCache;
  /** Where messages go: anything with `debug`, `info`, `warn` and `error`. Default: warnings and errors on stderr. */
  logger?: Logger;
  /** Called with each event: the progress of a long replay, damage that takes away no row, a clock that was far ahead. What it throws or rejects with goes into the log. Default: none. */
  onEvent?: EventListener;
  /** Where damage may hide a newer version of what a read found: `available` answers, flagged, `strict` rejects. Default available. */
  corruptionPolicy?: CorruptionPolicy;
  /** Called with every read that damage has changed; returns 'error' to have it reject. It cannot hide an error. Default: none. */
  onCorruption?: CorruptionListener;
  /** Time, for tests. Default: the system's. */
  clock?: Clock;
  /** Randomness, for tests. Default: the system's. */
  random?: Random;
  /** Who this process is in fences and errors; default `host:pid`. */
  owner?: string;
  /** Ends the opening with `AbortError` at once; may have claimed the database already. Means nothing once `open` has resolved. Default: none. */
  signal?: AbortSignal;
}

/** Options of `openReader`. */
export interface ReaderOptions
  extends Pick<
    OpenOptions,
    | 'memoryBytes'
    | 'timeoutMs'
    | 'hideExpired'
    | 'mergeOperator'
    | 'cache'
    | 'logger'
    | 'onEvent'
    | 'corruptionPolicy'
    | 'onCorruption'
    | 'healOnOpen'
    | 'clock'
    | 'random'
    | 'signal'
  > {
  /** With damage in the log, serve what lies before it. Default false. */
  allowPrefix?: boolean;
}

type Components =
  | 'signal'
  | 'mergeOperator'
  | 'cache'
  | 'defaultTtlMs'
  | 'owner'
  | 'onCorruption'
  | 'expectAtLeast'
  | 'expectedEpoch'
  | 'maxLoss';

/** All options with a value each. */
export type ResolvedOptions = Required<Omit<OpenOptions, Components>> &
  Pick<OpenOptions, 'signal' | 'mergeOperator' | 'defaultTtlMs' | 'onCorruption' | 'expectAtLeast' | 'maxLoss'> & {
    cache: BlockCache;
    ownsCache: boolean;
    owner: string;
    allowPrefix: boolean;
    expectedEpoch: number | undefined;
  };

const MAX_BYTES = 2 ** 40;

const CHECKS: ChecksOf<OpenOptions> = {
  createIfMissing: bool,
  errorIfExists: bool,
  awaitDurable: bool,
  flushIntervalMs: whole(1, 3_600_000),
  minWalPutIntervalMs: whole(0, 60_000),
  memoryBytes: whole(8 * MIB, MAX_BYTES),
  l0SstSizeBytes: whole(4 * KIB, 2 ** 31),
  maxWalFlushesBeforeL0Flush: whole(1, 1_000_000),
  maxUnflushedBytes: whole(8 * KIB, MAX_BYTES),
  writeTimeoutMs: whole(1, MAX_MS),
  timeoutMs: whole(1, MAX_MS),
  l0MaxSsts: whole(1, 1_000_000),
  sstBlockSizeBytes: whole(1024, 65_536),
  compressionCodec: oneOf(CODECS),
  minFilterKeys: whole(0, MAX_MS),
  filterBitsPerKey: whole(1, 64),
  walEnabled: bool,
  defaultTtlMs: TTL_CHECK,
  hideExpired: bool,
  manifestPollIntervalMs: whole(10, 60_000),
  compatibility: oneOf(['auto', 'slatedb-0.12', 'slatedb-0.17']),
  healOnOpen: bool,
  walAutoRecovery: bool,
  maxLoss: MAX_LOSS_CHECK,
  verifyOnOpen: oneOf(['off', 'refs', 'tails']),
  expectAtLeast: wholeBigint,
  expectedEpoch: writerEpoch,
  closeTimeoutMs: whole(1, MAX_MS),
  handleSignals: bool,
  mergeOperator: methods('merge'),
  cache: that('a BlockCache', (v) => v instanceof BlockCache),
  logger: LOGGER_CHECK,
  onEvent: callable,
  corruptionPolicy: oneOf(['available', 'strict']),
  onCorruption: callable,
  clock: CLOCK_CHECK,
  random: RANDOM_CHECK,
  owner: filledText,
  signal: abortSignal,
};

/** Names of the options that are known, for the test that compares them with the documented ones. */
export const OPTION_NAMES = { open: () => Object.keys(CHECKS), openReader: () => Object.keys(READER_CHECKS) };

const READER_CHECKS: ChecksOf<ReaderOptions> = {
  memoryBytes: CHECKS.memoryBytes,
  timeoutMs: CHECKS.timeoutMs,
  hideExpired: CHECKS.hideExpired,
  mergeOperator: CHECKS.mergeOperator,
  cache: CHECKS.cache,
  logger: CHECKS.logger,
  onEvent: CHECKS.onEvent,
  corruptionPolicy: CHECKS.corruptionPolicy,
  onCorruption: CHECKS.onCorruption,
  clock: CHECKS.clock,
  random: CHECKS.random,
  healOnOpen: CHECKS.healOnOpen,
  signal: CHECKS.signal,
  allowPrefix: bool,
};

/** Checks and completes the options of `open`; rejects with all faults at once. */
export function resolveOptions(options: unknown, owner: string): ResolvedOptions {
  const { given, faults } = readOptions('open', options, CHECKS);
  return complete(given as OpenOptions, owner, false, 'open', faults);
}

/** Checks and completes the options of `openReader`. */
export function resolveReaderOptions(options: unknown): ResolvedOptions {
  const { given, faults } = readOptions('openReader', options, READER_CHECKS);
  const o = given as ReaderOptions;
  return complete(o, 'reader', o.allowPrefix ?? false, 'openReader', faults);
}

/** Of the budget: tables on their way to the store an eighth, objects of the log two times a thirty-second. */
export const TABLE_UPLOADS_PART = 1 / 8;
export const WAL_OBJECT_PART = 1 / 32;
const LEAST_CACHE_PART = 1 / 32;

/** What those who write leave of the budget. */
function cacheBytes(memoryBytes: number, maxUnflushedBytes: number): number {
  const left = memoryBytes * (1 - TABLE_UPLOADS_PART - 2 * WAL_OBJECT_PART) - maxUnflushedBytes;
  return Math.floor(Math.max(left, memoryBytes * LEAST_CACHE_PART));
}

/** Adds the faults of options that do not fit each other; throws if there are any faults. */
function complete(
  o: OpenOptions,
  owner: string,
  allowPrefix: boolean,
  call: string,
  faults: string[],
): ResolvedOptions {
  const memoryBytes = o.memoryBytes ?? 512 * MIB;
  const l0SstSizeBytes = o.l0SstSizeBytes ?? Math.min(64 * MIB, Math.floor(memoryBytes / 8));
  const maxUnflushedBytes = o.maxUnflushedBytes ?? Math.floor(memoryBytes / 2);
  if (maxUnflushedBytes <= l0SstSizeBytes) {
    faults.push(`maxUnflushedBytes (${maxUnflushedBytes}) must exceed l0SstSizeBytes (${l0SstSizeBytes})`);
  }
  if (maxUnflushedBytes > memoryBytes)
    faults.push(`maxUnflushedBytes (${maxUnflushedBytes}) must not exceed memoryBytes (${memoryBytes})`);
  if (o.expectedEpoch !== undefined && o.errorIfExists === true)
    faults.push('expectedEpoch names a database that exists, errorIfExists forbids one');
  if (faults.length > 0) throw optionFaults(call, faults);
  const logger = safeLogger(o.logger ?? STDERR_LOGGER);
  return {
    createIfMissing: o.createIfMissing ?? true,
    errorIfExists: o.errorIfExists ?? false,
    awaitDurable: o.awaitDurable ?? true,
    flushIntervalMs: o.flushIntervalMs ?? 100,
    minWalPutIntervalMs: o.minWalPutIntervalMs ?? 0,
    memoryBytes,
    l0SstSizeBytes,
    maxWalFlushesBeforeL0Flush: o.maxWalFlushesBeforeL0Flush ?? 4096,
    maxUnflushedBytes,
    writeTimeoutMs: o.writeTimeoutMs ?? 60_000,
    timeoutMs: o.timeoutMs ?? 60_000,
    l0MaxSsts: o.l0MaxSsts ?? 1000,
    sstBlockSizeBytes: o.sstBlockSizeBytes ?? 4096,
    compressionCodec: o.compressionCodec ?? 'none',
    minFilterKeys: o.minFilterKeys ?? 1000,
    filterBitsPerKey: o.filterBitsPerKey ?? 10,
    walEnabled: o.walEnabled ?? true,
    hideExpired: o.hideExpired ?? true,
    manifestPollIntervalMs: o.manifestPollIntervalMs ?? 1000,
    compatibility: o.compatibility ?? 'auto',
    healOnOpen: o.healOnOpen ?? false,
    walAutoRecovery: o.walAutoRecovery ?? false,
    maxLoss: o.maxLoss,
    verifyOnOpen: o.verifyOnOpen ?? 'off',
    expectAtLeast: o.expectAtLeast,
    expectedEpoch: o.expectedEpoch === undefined ? undefined : Number(o.expectedEpoch),
    closeTimeoutMs: o.closeTimeoutMs ?? 10_000,
    handleSignals: o.handleSignals ?? false,
    mergeOperator: o.mergeOperator,
    defaultTtlMs: o.defaultTtlMs,
    cache: o.cache ?? new BlockCache({ capacityBytes: cacheBytes(memoryBytes, maxUnflushedBytes) }),
    ownsCache: o.cache === undefined,
    logger,
    onEvent: safeListener(o.onEvent, logger),
    corruptionPolicy: o.corruptionPolicy ?? 'available',
    onCorruption: o.onCorruption,
    clock: o.clock ?? SYSTEM_CLOCK,
    random: o.random ?? SYSTEM_RANDOM,
    owner: o.owner ?? owner,
    signal: o.signal,
    allowPrefix,
  };
}
