/**
 * Options that a writer and a reader share: what may be set, what is used where nothing is set, and what every opening makes of them.
 * Those of one role alone are in open-options.ts and reader-options.ts, each with the check that reports every fault of an options
 * object at once.
 *
 * 1. What users give in one object becomes two: settings, which are plain data and can be cloned to another thread, and parts, which
 *    do something and cannot (cache, clock, listeners, logger, merge operator, random, signal).
 * 2. Nothing but these three files sees an options object: a function takes the settings and parts that it needs, each by its name.
 * 3. Each value of the caller's object is read once.
 */

import { EMPTY_BYTES } from '../common/bytes.ts';
import { type Clock, SYSTEM_CLOCK } from '../common/clock.ts';
import { type EventListener, safeListener } from '../common/events.ts';
import { type Logger, STDERR_LOGGER, safeLogger } from '../common/logger.ts';
import {
  loadModule,
  type ModuleRef,
  type ModuleSource,
  methodsOrModule,
  objectOrModule,
} from '../common/module-ref.ts';
import {
  abortSignal,
  bool,
  type ChecksOf,
  CLOCK_CHECK,
  callable,
  LOGGER_CHECK,
  MAX_MS,
  oneOf,
  RANDOM_CHECK,
  that,
  whole,
} from '../common/option-checks.ts';
import { type Random, SYSTEM_RANDOM } from '../common/random.ts';
import type { EncodingNames } from '../format/sidecar.ts';
import { DEFAULT_TIMEOUT_MS } from '../lsm/manifest/database-stores.ts';
import { type MergeOperator, OPERATOR_CHECK } from '../lsm/rows/merge-operator.ts';
import { BlockCache } from '../lsm/table/block-cache.ts';
import type { CorruptionListener, CorruptionPolicy } from './corruption-watch.ts';
import {
  type AnyEncoding,
  ENCODING_CHECKS,
  type EncodingCheck,
  type EncodingOptions,
  usedEncoding,
} from './encoding.ts';
import { RowCodec } from './row-codec.ts';

const MIB = 1024 * 1024;
const DEFAULT_MEMORY_BYTES = 512 * MIB;
const DEFAULT_WARN_FREE_BYTES = 1024 * MIB;
/** The most that an option in bytes may say. */
export const MAX_OPTION_BYTES = 2 ** 40;

/** Options of `open` and of `openReader`. Each is optional. */
export interface SharedOptions {
  /** Memory budget in bytes for memtables and their index, WAL buffers, uploads in flight, replay and caches. At least 8 MiB, default 512 MiB. */
  memoryBytes?: number;
  /** Deadline of every call, ms, except the admission of a write (`writeTimeoutMs` of `open`). Default 60,000. */
  timeoutMs?: number;
  /**
   * Hide expired rows from reads. Default true. False shows them as long as they are stored, that is, until a compaction or a memtable flush
   * by a writer that hides them.
   */
  hideExpired?: boolean;
  /**
   * Undo damage to the log and to the newest manifest in memory where the seals prove how, and continue; each repair is an event. Default
   * false: any damage makes the opening fail.
   */
  healOnOpen?: boolean;
  /**
   * Combines merge operands; needed by `merge` and by reads that find operands. With `{ module, export }` the main thread and the compaction
   * threads each load it. Default: none.
   */
  mergeOperator?: MergeOperator | ModuleSource;
  /** A block cache, which several databases of a process may share. Default: one of its own. */
  cache?: BlockCache;
  /** Where messages go: `console`, a logger of pino, or anything with `debug`, `info`, `warn` and `error` that take (message, details); for those that take the details first, `objectFirstLogger`. Default: warnings and errors on stderr. */
  logger?: Logger;
  /**
   * Called with each event: the progress of a long replay, damage that affects no rows, a clock far ahead. If it throws or rejects, the error
   * is logged. Default: none.
   */
  onEvent?: EventListener;
  /** What a read does where damage may hide a newer version of its answer: `available` returns the answer, flagged; `strict` rejects. Default `available`. */
  corruptionPolicy?: CorruptionPolicy;
  /** Called for every read whose result damage affects; return 'error' to make the read reject. It cannot suppress an error. Default: none. */
  onCorruption?: CorruptionListener;
  /** In a directory: warn when the file system has less free space, bytes; 0: never. Default 1 GiB. Asked at most once a minute, while something is written or metrics are read. */
  warnFreeBytes?: number;
  /** Measure how long the event loop stands still, and warn when it was longer, ms; 0 to 3,600,000. Default 0: not measured. Costs a timer of 20 ms while the handle is open. */
  warnLoopDelayMs?: number;
  /** Time, for tests. Default: the system's. */
  clock?: Clock;
  /** Randomness, for tests. Default: the system's. */
  random?: Random;
  /** Aborts the opening with an `AbortError` at once; `open` may already have claimed the database. Ignored once the opening has resolved. Default: none. */
  signal?: AbortSignal;
}

/** Options that do something. */
export type PartName =
  | 'cache'
  | 'clock'
  | 'logger'
  | 'mergeOperator'
  | 'onCorruption'
  | 'onEvent'
  | 'random'
  | 'signal';

/** Settings of a writer and of a reader: plain data. */
export interface SharedSettings extends Readonly<Required<Omit<SharedOptions, PartName>>> {
  readonly encodings: EncodingNames;
  readonly encodingCheck: EncodingCheck;
}

/** What a writer or a reader works with. */
export interface Parts {
  readonly cache: BlockCache;
  readonly clock: Clock;
  /** Undefined: keys and values are bytes. */
  readonly codec: RowCodec<unknown, unknown> | undefined;
  readonly logger: Logger;
  /** Undefined also where it is in a module that was not loaded yet. */
  readonly mergeOperator: MergeOperator | undefined;
  /** Where it is from, if it is from a module. */
  readonly operatorModule: ModuleRef | undefined;
  readonly onCorruption: CorruptionListener | undefined;
  /** Does not throw. */
  readonly onEvent: EventListener;
  readonly random: Random;
  /** Of the opening only. */
  readonly signal: AbortSignal | undefined;
}

export interface ResolvedOptions<Settings> {
  readonly settings: Settings;
  readonly parts: Parts;
}

export const SHARED_CHECKS: ChecksOf<SharedOptions & EncodingOptions> = {
  ...ENCODING_CHECKS,
  memoryBytes: whole(8 * MIB, MAX_OPTION_BYTES),
  timeoutMs: whole(1, MAX_MS),
  hideExpired: bool,
  healOnOpen: bool,
  mergeOperator: methodsOrModule(OPERATOR_CHECK),
  cache: that('a BlockCache', (v) => v instanceof BlockCache),
  logger: LOGGER_CHECK,
  onEvent: callable,
  corruptionPolicy: oneOf(['available', 'strict']),
  onCorruption: callable,
  warnFreeBytes: whole(0, Number.MAX_SAFE_INTEGER),
  warnLoopDelayMs: whole(0, 3_600_000),
  clock: CLOCK_CHECK,
  random: RANDOM_CHECK,
  signal: abortSignal,
};

/** Of the budget: tables on their way to the store an eighth, compaction an eighth, objects of the log two times a thirty-second. */
export const TABLE_UPLOADS_PART = 1 / 8;
export const COMPACTION_PART = 1 / 8;
export const WAL_OBJECT_PART = 1 / 32;
const LEAST_CACHE_PART = 1 / 32;

/** The settings with their defaults. */
export function completeShared(o: SharedOptions & EncodingOptions): SharedSettings {
  const name = (encoding: AnyEncoding | undefined) => usedEncoding(encoding)?.name ?? 'bytes';
  return {
    encodings: { key: name(o.keyEncoding), value: name(o.valueEncoding) },
    encodingCheck: o.encodingCheck ?? 'refuse',
    memoryBytes: o.memoryBytes ?? DEFAULT_MEMORY_BYTES,
    timeoutMs: o.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    hideExpired: o.hideExpired ?? true,
    healOnOpen: o.healOnOpen ?? false,
    corruptionPolicy: o.corruptionPolicy ?? 'available',
    warnFreeBytes: o.warnFreeBytes ?? DEFAULT_WARN_FREE_BYTES,
    warnLoopDelayMs: o.warnLoopDelayMs ?? 0,
  };
}

/**
 * The parts with their defaults.
 * @param memoryBytes the whole budget
 * @param unflushedBytes what rows that are in no table may take of it
 * @param compactionPart what a compactor may take, in parts of it
 */
export function completeParts(
  o: SharedOptions & EncodingOptions,
  memoryBytes: number,
  unflushedBytes: number,
  compactionPart = 0,
): Parts {
  const logger = safeLogger(o.logger ?? STDERR_LOGGER);
  const keys = usedEncoding(o.keyEncoding);
  const values = usedEncoding(o.valueEncoding);
  const { object: mergeOperator, module: operatorModule } = objectOrModule(o.mergeOperator, 'merge');
  return {
    cache: o.cache ?? new BlockCache({ capacityBytes: cacheBytes(memoryBytes, unflushedBytes, compactionPart) }),
    clock: o.clock ?? SYSTEM_CLOCK,
    logger,
    codec: keys === undefined && values === undefined ? undefined : new RowCodec({ keys, values, prefix: EMPTY_BYTES }),
    mergeOperator,
    operatorModule,
    onCorruption: o.onCorruption,
    onEvent: safeListener(o.onEvent, logger),
    random: o.random ?? SYSTEM_RANDOM,
    signal: o.signal,
  };
}

/** With the operator of its module. Rejects with `BAD_OPTION` if it cannot be loaded or is none. */
export async function withLoadedOperator<T extends Pick<Parts, 'mergeOperator' | 'operatorModule'>>(
  call: string,
  parts: T,
): Promise<T> {
  const { operatorModule } = parts;
  if (operatorModule === undefined) return parts;
  const operator = await loadModule<MergeOperator>(operatorModule, `${call}: mergeOperator`, OPERATOR_CHECK);
  return { ...parts, mergeOperator: operator };
}

/** What those who write leave of the budget. */
function cacheBytes(memoryBytes: number, unflushedBytes: number, compactionPart: number): number {
  const left = memoryBytes * (1 - TABLE_UPLOADS_PART - compactionPart - 2 * WAL_OBJECT_PART) - unflushedBytes;
  return Math.floor(Math.max(left, memoryBytes * LEAST_CACHE_PART));
}
