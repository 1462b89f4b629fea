/**
 * Options of single calls, read once and checked: an unknown name is a fault, because a misspelt option would silently do nothing.
 *
 * They are read before the bytes of the same call: a getter may do what it likes to them.
 */
import {
  abortSignal,
  bool,
  type Check,
  type ChecksOf,
  checkedOptions,
  isSignal,
  oneOf,
  optionFaults,
  readOptions,
  that,
  wholeBigint,
} from '../common/option-checks.ts';
import type { CorruptionPolicy } from './corruption-watch.ts';

/** When a row expires; one of the two. */
export interface TtlOptions {
  /** Time to live in ms from the write; whole, at least 1. Infinity: never expires, also where the database has a default. */
  ttlMs?: number;
  /** Absolute expiry, ms since the epoch. */
  expireAtMs?: number;
}

/** What must be there for a write to take effect; else it is a `ConflictError` (`CONDITION_FAILED`). One of the two. */
export interface WriteConditions {
  /** Only if the key has no row, or one that has expired. Default false. */
  ifAbsent?: boolean;
  /** Only if the key has the row with this sequence number, as `getWithMeta` and scans show it. Default: whatever is there. */
  ifSeq?: bigint;
}

/** Options of `merge` and `write`. */
export interface WriteOptions extends TtlOptions {
  /** Wait until the write is durable. Default: the database's `awaitDurable`. */
  awaitDurable?: boolean;
  /** Aborting before the write is admitted rejects it unapplied; afterwards only the waiting ends. */
  signal?: AbortSignal;
}

/** Options of `put`. */
export interface PutRowOptions extends WriteOptions, WriteConditions {}

/** Options of `put` in a batch. */
export interface BatchPutOptions extends TtlOptions, WriteConditions {}

/** Options of `touch`: one of `ttlMs` and `expireAtMs` is needed. */
export interface TouchOptions extends WriteOptions {}

/** Of deletions: they have no time to live. */
export interface NoTtlOptions {
  /** Refused (`BAD_OPTION`). */
  ttlMs?: never;
  /** Refused (`BAD_OPTION`). */
  expireAtMs?: never;
}

/** Options of `delete` in a batch. */
export interface BatchDeleteOptions extends NoTtlOptions, Pick<WriteConditions, 'ifSeq'> {}

/** Options of `delete`. */
export interface DeleteOptions extends BatchDeleteOptions, Pick<WriteOptions, 'awaitDurable' | 'signal'> {}

/** Options of every read. */
export interface ReadOptions {
  /** `remote`: only what is durable. Default `memory`: everything written. */
  durabilityFilter?: 'memory' | 'remote';
  /** Where damage may hide a newer version of what was found: answer, flagged, or reject. Default: the database's. */
  corruptionPolicy?: CorruptionPolicy;
  /** Aborting ends the wait with `AbortError`; requests that other reads share go on. */
  signal?: AbortSignal;
}

/** Options of `flush`. */
export interface FlushOptions {
  /** `wal` (default): durable in the log; `memtable`: in tables that the manifest names. */
  type?: 'wal' | 'memtable';
  /** Aborting ends the wait: what was written may still become durable. */
  signal?: AbortSignal;
}

/** Options of `compact`. */
export interface CompactOptions {
  /** Aborting ends the jobs that were begun for it; what was committed stays. */
  signal?: AbortSignal;
}

/** Options of `close`. */
export interface CloseOptions {
  /** Aborting ends the wait: the closing goes on, within `closeTimeoutMs`. */
  signal?: AbortSignal;
}

/** Options of a reader's `refresh`. */
export interface RefreshOptions {
  /** Aborting ends the wait: the view may still be renewed, for others who wait for it. */
  signal?: AbortSignal;
}

/** Options as they were read, each once; the caller's object is not looked at again. */
export type Own<T> = { readonly [K in keyof Required<T>]: T[K] | undefined };

/** A time to live, ms; `Infinity`: never expires. */
export const TTL_CHECK = that('a whole number of at least 1, or Infinity', isTtl);

const TTL_CHECKS: ChecksOf<TtlOptions> = {
  ttlMs: TTL_CHECK,
  expireAtMs: that('a whole number of milliseconds', Number.isSafeInteger),
};

const WRITE_CHECKS: ChecksOf<WriteOptions> = { ...TTL_CHECKS, awaitDurable: bool, signal: abortSignal };

const CONDITION_CHECKS: ChecksOf<WriteConditions> = { ifAbsent: bool, ifSeq: wholeBigint };

const PUT_CHECKS: ChecksOf<PutRowOptions> = { ...WRITE_CHECKS, ...CONDITION_CHECKS };

const BATCH_PUT_CHECKS: ChecksOf<BatchPutOptions> = { ...TTL_CHECKS, ...CONDITION_CHECKS };

/** An option that would do nothing is refused. */
const notForDeletions: Check = (value, name, faults) => {
  faults.push(`${name} is no option of a deletion, which has no time to live`);
  return value;
};

const NO_TTL_CHECKS: ChecksOf<NoTtlOptions> = { ttlMs: notForDeletions, expireAtMs: notForDeletions };

const BATCH_DELETE_CHECKS: ChecksOf<BatchDeleteOptions> = { ...NO_TTL_CHECKS, ifSeq: wholeBigint };

const DELETE_CHECKS: ChecksOf<DeleteOptions> = { ...BATCH_DELETE_CHECKS, awaitDurable: bool, signal: abortSignal };

export const READ_CHECKS: ChecksOf<ReadOptions> = {
  durabilityFilter: oneOf(['memory', 'remote']),
  corruptionPolicy: oneOf(['available', 'strict']),
  signal: abortSignal,
};

const FLUSH_CHECKS: ChecksOf<FlushOptions> = { type: oneOf(['wal', 'memtable']), signal: abortSignal };

const WAIT_CHECKS: ChecksOf<CloseOptions> = { signal: abortSignal };

export function deleteOptions(o: DeleteOptions): Own<PutRowOptions> {
  const ready = atOnce(o, DELETE_CHECKS, plainDelete);
  if (ready !== undefined) return ready;
  const { awaitDurable, signal, ifSeq } = checkedOptions<DeleteOptions>('delete', o, DELETE_CHECKS);
  return { awaitDurable, ttlMs: undefined, expireAtMs: undefined, signal, ifAbsent: undefined, ifSeq };
}

/** For deletions in a batch: the sequence number of the row that is deleted. */
export function batchDeleteOptions(o: BatchDeleteOptions): bigint | undefined {
  return checkedOptions<BatchDeleteOptions>('delete', o, BATCH_DELETE_CHECKS).ifSeq;
}

export function putOptions(o: PutRowOptions): Own<PutRowOptions> {
  const ready = atOnce(o, PUT_CHECKS, plainPut);
  if (ready !== undefined) return ready;
  const { awaitDurable, ttlMs, expireAtMs, signal, ifAbsent, ifSeq } = withTtl<PutRowOptions>('put', o, PUT_CHECKS);
  return { awaitDurable, ttlMs, expireAtMs, signal, ifAbsent, ifSeq };
}

export function batchPutOptions(o: BatchPutOptions): Own<BatchPutOptions> {
  const { ttlMs, expireAtMs, ifAbsent, ifSeq } =
    atOnce<TtlOptions, Own<BatchPutOptions>>(o, TTL_CHECKS, plainTtl) ??
    withTtl<BatchPutOptions>('put', o, BATCH_PUT_CHECKS);
  return { ttlMs, expireAtMs, ifAbsent, ifSeq };
}

export function touchOptions(o: TouchOptions): Own<TouchOptions> {
  const { awaitDurable, ttlMs, expireAtMs, signal } = withTtl<TouchOptions>('touch', o, WRITE_CHECKS, true);
  return { awaitDurable, ttlMs, expireAtMs, signal };
}

/** Options of a write; `call` for messages. */
export function writeOptions(call: string, o: WriteOptions): Own<WriteOptions> {
  const ready = atOnce(o, WRITE_CHECKS, plainWrite);
  if (ready !== undefined) return ready;
  const { awaitDurable, ttlMs, expireAtMs, signal } = withTtl<WriteOptions>(call, o, WRITE_CHECKS);
  return { awaitDurable, ttlMs, expireAtMs, signal };
}

export function ttlOptions(call: string, o: TtlOptions): Own<TtlOptions> {
  const ready = atOnce(o, TTL_CHECKS, plainTtl);
  if (ready !== undefined) return ready;
  const { ttlMs, expireAtMs } = withTtl<TtlOptions>(call, o, TTL_CHECKS);
  return { ttlMs, expireAtMs };
}

export function readOptionsOf(call: string, o: ReadOptions): Own<ReadOptions> {
  const ready = atOnce(o, READ_CHECKS, plainRead);
  if (ready !== undefined) return ready;
  const { durabilityFilter, corruptionPolicy, signal } = checkedOptions<ReadOptions>(call, o, READ_CHECKS);
  return { durabilityFilter, corruptionPolicy, signal };
}

export function flushOptions(o: FlushOptions): FlushOptions {
  return checkedOptions<FlushOptions>('flush', o, FLUSH_CHECKS);
}

/** Options of calls that have none but a signal. */
export function waitOptions(
  call: string,
  o: CloseOptions | CompactOptions | RefreshOptions | undefined,
): { signal?: AbortSignal } {
  return checkedOptions<CloseOptions>(call, o, WAIT_CHECKS);
}

function withTtl<T extends TtlOptions & WriteConditions>(
  call: string,
  o: T | undefined,
  checks: ChecksOf<T>,
  isNeeded = false,
): T {
  const { given, faults } = readOptions(call, o, checks as Readonly<Record<string, Check>>);
  if (given['ttlMs'] !== undefined && given['expireAtMs'] !== undefined)
    faults.push('ttlMs and expireAtMs exclude each other: give one');
  if (given['ifAbsent'] === true && given['ifSeq'] !== undefined)
    faults.push('ifAbsent and ifSeq exclude each other: give one');
  const isMissing = given['ttlMs'] === undefined && given['expireAtMs'] === undefined && faults.length === 0;
  if (isNeeded && isMissing)
    faults.push('ttlMs or expireAtMs is missing: when the row expires (ttlMs: Infinity for never)');
  if (faults.length > 0) throw optionFaults(call, faults, checks as Readonly<Record<string, Check>>);
  return given as T;
}

function isTtl(ttlMs: unknown): boolean {
  return ttlMs === Number.POSITIVE_INFINITY || (Number.isSafeInteger(ttlMs) && (ttlMs as number) >= 1);
}

/**
 * The options of a plain object that has no fault, for calls that take less time than the check that names all faults (200 ns
 * against 20); undefined where that one has to look.
 */
export function atOnce<T extends object, R>(o: T, checks: ChecksOf<T>, read: (o: T) => R | undefined): R | undefined {
  try {
    if (typeof o !== 'object' || Object.getPrototypeOf(o) !== Object.prototype) return undefined;
    for (const name in o) if (!Object.hasOwn(checks, name)) return undefined;
    return read(o);
  } catch {
    // A getter threw: the other check reports it.
    return undefined;
  }
}

function plainWrite({ awaitDurable, ttlMs, expireAtMs, signal }: WriteOptions): Own<WriteOptions> | undefined {
  if (awaitDurable !== undefined && typeof awaitDurable !== 'boolean') return undefined;
  if (!areTimes(ttlMs, expireAtMs) || (signal !== undefined && !isSignal(signal))) return undefined;
  return { awaitDurable, ttlMs, expireAtMs, signal };
}

function plainPut(o: PutRowOptions): Own<PutRowOptions> | undefined {
  const { awaitDurable, ttlMs, expireAtMs, signal, ifAbsent, ifSeq } = o;
  if (awaitDurable !== undefined && typeof awaitDurable !== 'boolean') return undefined;
  if (!areTimes(ttlMs, expireAtMs) || (signal !== undefined && !isSignal(signal))) return undefined;
  if (ifAbsent !== undefined && typeof ifAbsent !== 'boolean') return undefined;
  if (!isSeq(ifSeq) || (ifAbsent === true && ifSeq !== undefined)) return undefined;
  return { awaitDurable, ttlMs, expireAtMs, signal, ifAbsent, ifSeq };
}

function plainDelete({
  awaitDurable,
  ttlMs,
  expireAtMs,
  signal,
  ifSeq,
}: DeleteOptions): Own<PutRowOptions> | undefined {
  if (ttlMs !== undefined || expireAtMs !== undefined || !isSeq(ifSeq)) return undefined;
  if (awaitDurable !== undefined && typeof awaitDurable !== 'boolean') return undefined;
  if (signal !== undefined && !isSignal(signal)) return undefined;
  return { awaitDurable, ttlMs, expireAtMs, signal, ifAbsent: undefined, ifSeq };
}

function plainTtl({ ttlMs, expireAtMs }: TtlOptions): Own<BatchPutOptions> | undefined {
  return areTimes(ttlMs, expireAtMs) ? { ttlMs, expireAtMs, ifAbsent: undefined, ifSeq: undefined } : undefined;
}

function isSeq(ifSeq: unknown): boolean {
  return ifSeq === undefined || (typeof ifSeq === 'bigint' && ifSeq >= 0n);
}

function areTimes(ttlMs: number | undefined, expireAtMs: number | undefined): boolean {
  if (ttlMs === undefined) return expireAtMs === undefined || Number.isSafeInteger(expireAtMs);
  return expireAtMs === undefined && isTtl(ttlMs);
}

export function plainRead({ durabilityFilter, corruptionPolicy, signal }: ReadOptions): Own<ReadOptions> | undefined {
  if (durabilityFilter !== undefined && durabilityFilter !== 'memory' && durabilityFilter !== 'remote')
    return undefined;
  if (corruptionPolicy !== undefined && corruptionPolicy !== 'available' && corruptionPolicy !== 'strict')
    return undefined;
  if (signal !== undefined && !isSignal(signal)) return undefined;
  return { durabilityFilter, corruptionPolicy, signal };
}
