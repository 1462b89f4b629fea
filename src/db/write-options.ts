/** Options of single calls, checked: an unknown name is a fault, because a misspelt option would silently do nothing. */
import { InvalidArgumentError } from '../common/errors.ts';
import type { CorruptionPolicy } from './corruption-watch.ts';

export interface TtlOptions {
  /** Time to live in ms from the write; whole, at least 1. Infinity: for ever, also where the database has a default. */
  ttlMs?: number;
  /** Absolute expiry, ms since the epoch. */
  expireAtMs?: number;
}

export interface WriteOptions extends TtlOptions {
  /** Wait until the write is durable. Default: the database's `awaitDurable`. */
  awaitDurable?: boolean;
  /** Aborting before the write is admitted rejects it unapplied; afterwards only the waiting ends. */
  signal?: AbortSignal;
}

export interface ReadOptions {
  /** `remote`: only what is durable. Default `memory`: everything written. */
  durabilityFilter?: 'memory' | 'remote';
  /** Where damage may hide a newer version of what was found: answer, flagged, or reject. Default: the database's. */
  corruptionPolicy?: CorruptionPolicy;
  signal?: AbortSignal;
}

export interface FlushOptions {
  /** `wal` (default): durable in the log; `memtable`: in tables that the manifest names. */
  type?: 'wal' | 'memtable';
}

const WRITE_NAMES = new Set(['awaitDurable', 'ttlMs', 'expireAtMs', 'signal']);
const READ_NAMES = new Set(['durabilityFilter', 'corruptionPolicy', 'signal']);

export function checkWriteOptions(o: WriteOptions): void {
  checkNames(o, WRITE_NAMES);
  if (o.awaitDurable !== undefined && typeof o.awaitDurable !== 'boolean')
    throw bad('awaitDurable must be true or false');
  if (o.ttlMs !== undefined || o.expireAtMs !== undefined) checkTtlValues(o);
  if (o.signal !== undefined) checkSignal(o.signal);
}

export function checkReadOptions(o: ReadOptions): void {
  checkNames(o, READ_NAMES);
  checkReadValues(o);
}

/** The read options among others that are checked elsewhere. */
export function checkReadValues(o: ReadOptions): void {
  if (o.durabilityFilter !== undefined && o.durabilityFilter !== 'memory' && o.durabilityFilter !== 'remote') {
    throw bad(`durabilityFilter must be 'memory' or 'remote'`);
  }
  const { corruptionPolicy } = o;
  if (corruptionPolicy !== undefined && corruptionPolicy !== 'available' && corruptionPolicy !== 'strict') {
    throw bad(`corruptionPolicy must be 'available' or 'strict'`);
  }
  if (o.signal !== undefined) checkSignal(o.signal);
}

export function checkFlushOptions(o: FlushOptions): void {
  checkNames(o, new Set(['type']));
  if (o.type !== undefined && o.type !== 'wal' && o.type !== 'memtable') throw bad(`type must be 'wal' or 'memtable'`);
}

export function checkTtl(o: TtlOptions): void {
  checkNames(o, new Set(['ttlMs', 'expireAtMs']));
  checkTtlValues(o);
}

function checkTtlValues(o: TtlOptions): void {
  if (o.ttlMs !== undefined && o.expireAtMs !== undefined) throw bad('give ttlMs or expireAtMs, not both');
  if (o.ttlMs !== undefined && o.ttlMs !== Infinity && !(Number.isSafeInteger(o.ttlMs) && o.ttlMs >= 1)) {
    throw bad(`ttlMs must be a whole number of at least 1, or Infinity, not ${String(o.ttlMs)}`);
  }
  if (o.expireAtMs !== undefined && !Number.isSafeInteger(o.expireAtMs)) {
    throw bad(`expireAtMs must be a whole number of milliseconds, not ${String(o.expireAtMs)}`);
  }
}

export function checkNames(options: object, known: ReadonlySet<string>): void {
  if (typeof options !== 'object' || options === null) throw bad('the options must be an object');
  for (const name in options) {
    if (!known.has(name)) throw bad(`unknown option ${name}; known are ${[...known].join(', ')}`);
  }
}

function checkSignal(signal: unknown): void {
  if (!(signal instanceof AbortSignal)) throw bad('signal must be an AbortSignal');
}

function bad(message: string): InvalidArgumentError {
  return new InvalidArgumentError('BAD_OPTION', `${message}.`);
}
