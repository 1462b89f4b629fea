/**
 * Options: what may be set, what is used where nothing is set, and the check that reports every fault of an options object
 * at once. All values are plain JSON-able data, apart from the components (cache, clock, listeners, logger, merge operator, random).
 */
import { type Clock, SYSTEM_CLOCK } from '../common/clock.ts';
import { InvalidArgumentError } from '../common/errors.ts';
import { type EventListener, safeListener } from '../common/events.ts';
import { type Logger, STDERR_LOGGER } from '../common/logger.ts';
import { type Random, SYSTEM_RANDOM } from '../common/random.ts';
import { CODECS, type Codec } from '../format/table-info.ts';
import { BlockCache } from '../lsm/block-cache.ts';
import type { MergeOperator } from '../lsm/merge-operator.ts';
import type { MaxLoss } from '../lsm/repair-report.ts';
import type { CorruptionListener, CorruptionPolicy } from './corruption-watch.ts';

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
  /** Time to live of writes that name none, ms. Default: for ever. */
  defaultTtlMs?: number;
  /** Hide expired rows from reads. Default true; false shows them until they are rewritten, as SlateDB does. */
  hideExpired?: boolean;
  /** How often a database that writes looks for manifests of others, ms; 10 to 60,000, default 1,000. An idle one polls nothing. */
  manifestPollIntervalMs?: number;
  /** Which SlateDB versions must be able to open what is written. Default auto. */
  compatibility?: Compatibility;
  /** Undo damage of the log that its seals prove to be undoable, in memory, and go on; each is an event. Default false: any damage refuses the open. */
  healOnOpen?: boolean;
  /** Repair a damaged log by itself (`walRepair`, mode recover): `open` resolves before, reads and writes wait for the end, `db.ready()` has the report. Default false. */
  walAutoRecovery?: boolean;
  /** Most that `walAutoRecovery` may lose; beyond it `ready()` rejects with `WalCorruptionError` and nothing is changed. Default: no limit. */
  maxLoss?: MaxLoss;
  /** Look after the opening whether every table is there (`refs`: three LISTs) and says of itself what the manifest says (`tails`: one GET for each as well); findings are events. Default: off, the opening then costs no request more. */
  verifyOnOpen?: 'off' | 'refs' | 'tails';
  /** Refuse to open a database whose greatest sequence number is lower (`RollbackError`): one that the caller has seen. Default: any is taken. */
  expectAtLeast?: bigint;
  /** How long `close` may take, ms; default 10,000. */
  closeTimeoutMs?: number;
  /** Close on SIGTERM and SIGINT. Default false. */
  handleSignals?: boolean;
  /** Combines merge operands; needed by `merge` and by reads that meet operands. Default: none. */
  mergeOperator?: MergeOperator;
  /** Shared by several databases of a process. Default: one of its own. */
  cache?: BlockCache;
  /** Where messages go: anything with `debug`, `info`, `warn` and `error`. Default: warnings and errors on stderr. */
  logger?: Logger;
  /** Called with each event: the progress of a long replay, damage that takes away no row. Default: none. */
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
    | 'clock'
    | 'random'
  > {
  /** With damage in the log, serve what lies before it. Default false. */
  allowPrefix?: boolean;
}

type Components = 'mergeOperator' | 'cache' | 'defaultTtlMs' | 'owner' | 'onCorruption' | 'expectAtLeast' | 'maxLoss';

/** All options with a value each. */
export type ResolvedOptions = Required<Omit<OpenOptions, Components>> &
  Pick<OpenOptions, 'mergeOperator' | 'defaultTtlMs' | 'onCorruption' | 'expectAtLeast' | 'maxLoss'> & {
    cache: BlockCache;
    ownsCache: boolean;
    owner: string;
    allowPrefix: boolean;
  };

type Check = (value: unknown) => string | undefined;

const bool: Check = (v) => (typeof v === 'boolean' ? undefined : 'must be true or false');

function whole(min: number, max: number): Check {
  return (v) =>
    typeof v === 'number' && Number.isInteger(v) && v >= min && v <= max
      ? undefined
      : `must be a whole number from ${min} to ${max}`;
}

function oneOf(values: readonly string[]): Check {
  return (v) => (typeof v === 'string' && values.includes(v) ? undefined : `must be one of ${values.join(', ')}`);
}

function methods(...names: string[]): Check {
  return (v) =>
    typeof v === 'object' && v !== null && names.every((n) => typeof (v as Record<string, unknown>)[n] === 'function')
      ? undefined
      : `must be an object with ${names.map((n) => `${n}()`).join(', ')}`;
}

const callable: Check = (v) => (typeof v === 'function' ? undefined : 'must be a function');

/** An object whose members, of these names, are whole numbers of at least 0. */
function limits(...names: string[]): Check {
  const isLimit = ([name, n]: [string, unknown]) =>
    names.includes(name) && Number.isSafeInteger(n) && (n as number) >= 0;
  return (v) =>
    typeof v === 'object' && v !== null && Object.entries(v).every(isLimit)
      ? undefined
      : `must be an object with ${names.join(' or ')}, whole numbers of at least 0`;
}

const MAX_MS = 0x7fffffff;
const MAX_BYTES = 2 ** 40;

const CHECKS: Record<string, Check> = {
  createIfMissing: bool,
  errorIfExists: bool,
  awaitDurable: bool,
  flushIntervalMs: whole(1, 3_600_000),
  minWalPutIntervalMs: whole(0, 60_000),
  memoryBytes: whole(8 * MIB, MAX_BYTES),
  l0SstSizeBytes: whole(4 * KIB, 2 ** 31),
  maxUnflushedBytes: whole(8 * KIB, MAX_BYTES),
  writeTimeoutMs: whole(1, MAX_MS),
  timeoutMs: whole(1, MAX_MS),
  l0MaxSsts: whole(1, 1_000_000),
  sstBlockSizeBytes: whole(1024, 65_536),
  compressionCodec: oneOf(CODECS),
  minFilterKeys: whole(0, MAX_MS),
  filterBitsPerKey: whole(1, 64),
  walEnabled: bool,
  defaultTtlMs: whole(1, Number.MAX_SAFE_INTEGER),
  hideExpired: bool,
  manifestPollIntervalMs: whole(10, 60_000),
  compatibility: oneOf(['auto', 'slatedb-0.12', 'slatedb-0.17']),
  healOnOpen: bool,
  walAutoRecovery: bool,
  maxLoss: limits('rows', 'walObjects'),
  verifyOnOpen: oneOf(['off', 'refs', 'tails']),
  expectAtLeast: (v) => (typeof v === 'bigint' && v >= 0n ? undefined : 'must be a bigint of at least 0n'),
  closeTimeoutMs: whole(1, MAX_MS),
  handleSignals: bool,
  mergeOperator: methods('merge'),
  cache: (v) => (v instanceof BlockCache ? undefined : 'must be a BlockCache'),
  logger: methods('debug', 'info', 'warn', 'error'),
  onEvent: callable,
  corruptionPolicy: oneOf(['available', 'strict']),
  onCorruption: callable,
  clock: methods('nowMs', 'monotonicMs', 'setTimer', 'yieldToLoop'),
  random: methods('nextUint32', 'fill'),
  owner: (v) => (typeof v === 'string' && v.length > 0 ? undefined : 'must be a string that is not empty'),
};

const READER_OPTIONS = [
  'memoryBytes',
  'timeoutMs',
  'hideExpired',
  'mergeOperator',
  'cache',
  'logger',
  'onEvent',
  'corruptionPolicy',
  'onCorruption',
  'clock',
  'random',
];
const READER_CHECKS: Record<string, Check> = {
  ...Object.fromEntries(READER_OPTIONS.map((k) => [k, CHECKS[k]])),
  allowPrefix: bool,
};

/** Checks and completes the options of `open`; rejects with all faults at once. */
export function resolveOptions(options: unknown, owner: string): ResolvedOptions {
  const { given, faults } = checked(options, CHECKS, 'open');
  return complete(given as OpenOptions, owner, false, 'open', faults);
}

/** Checks and completes the options of `openReader`. */
export function resolveReaderOptions(options: unknown): ResolvedOptions {
  const { given, faults } = checked(options, READER_CHECKS, 'openReader');
  const o = given as ReaderOptions;
  return complete(o, 'reader', o.allowPrefix ?? false, 'openReader', faults);
}

interface Checked {
  /** The options without fault. */
  given: object;
  faults: string[];
}

function checked(options: unknown, checks: Record<string, Check>, call: string): Checked {
  if (options === undefined) return { given: {}, faults: [] };
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new InvalidArgumentError('BAD_OPTION', `${call}: the options must be an object, not ${describe(options)}.`);
  }
  const faults: string[] = [];
  const given: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
    const fault = check === undefined ? `is unknown${suggestion(name, checks)}` : check(value);
    if (fault === undefined) given[name] = value;
    else faults.push(check === undefined ? `${name} ${fault}` : `${name} ${fault}, not ${describe(value)}`);
  }
  return { given, faults };
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
  if (faults.length > 0) throw optionFaults(call, faults);
  const logger = o.logger ?? STDERR_LOGGER;
  return {
    createIfMissing: o.createIfMissing ?? true,
    errorIfExists: o.errorIfExists ?? false,
    awaitDurable: o.awaitDurable ?? true,
    flushIntervalMs: o.flushIntervalMs ?? 100,
    minWalPutIntervalMs: o.minWalPutIntervalMs ?? 0,
    memoryBytes,
    l0SstSizeBytes,
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
    allowPrefix,
  };
}

function optionFaults(call: string, faults: string[]): InvalidArgumentError {
  return new InvalidArgumentError('BAD_OPTION', `${call}: ${faults.join('; ')}.`, { details: { faults } });
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 60));
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (value === null || value === undefined) return String(value);
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

/** The known name that an unknown one most resembles. */
function suggestion(name: string, checks: Record<string, Check>): string {
  const wanted = name.toLowerCase().replaceAll('_', '');
  const close = Object.keys(checks).find((k) => {
    const known = k.toLowerCase();
    return known === wanted || known.startsWith(wanted) || wanted.startsWith(known) || editDistance(known, wanted) <= 2;
  });
  return close === undefined ? '' : ` (did you mean ${close}?)`;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}
