/**
 * Every error a caller can meet, classed by what the caller does next; `code` names the cause and never changes.
 *
 * Invariants: each rejection of a public call is a `DbError`; every code in `ERROR_CODES` is documented there and thrown
 * somewhere; errors are branded with a registered symbol, so `instanceof` and `isDbError` also work when two copies of the
 * package are loaded in one process.
 */
import type { Hint } from './advice.ts';
import { brand, brandsOf, type ErrorKind, type WriteOutcome } from './error-kind.ts';
import type { Finding } from './finding.ts';
import { type ErrorJson, plainError } from './plain.ts';
import type { SeqRange } from './seq-range.ts';

/** All codes with the one sentence that documents each. Corruption codes are those of `FindingCode`. */
export const ERROR_CODES = {
  BAD_ARGUMENT: 'An argument has the wrong type or is outside its range.',
  BAD_OPTION: 'One or more options are unknown, of the wrong type or out of range; all of them are listed.',
  KEY_TOO_LARGE: 'A key is longer than 65,535 bytes.',
  VALUE_TOO_LARGE: 'A value is longer than the limit.',
  BATCH_TOO_LARGE: 'A batch can never be admitted under the memory budget.',
  STORE_MISSING: 'The bucket or directory does not exist.',
  NOT_A_DATABASE: 'Nothing at this place is a database, and creating one was not allowed.',
  ALREADY_EXISTS: 'A database exists at this place although `errorIfExists` was set.',
  STORE_DENIED: 'The store refuses access: wrong or insufficient credentials or permissions.',
  NOT_ENCODABLE: 'An encoding cannot store a key or a value that it was given.',
  COMPACTION_INVALID: 'A compaction that was proposed or submitted breaks a rule of its sources or of its destination.',
  PARENT_OUT_OF_REACH:
    'A clone reads tables of another database, which is not found below the root that the location leaves open.',
  STORE_UNSUITABLE:
    'The store cannot keep a promise that the protocol needs, such as conditional writes or hard links.',
  WRITER_FENCED: 'Another writer has taken over this database.',
  COMPACTOR_FENCED: 'Another compactor has taken over this database.',
  CLOSED: 'The handle was closed.',
  FAILED: 'The handle stopped working after an earlier failure, which is kept as the cause.',
  STORE_TIMEOUT: 'The store did not answer in time.',
  STORE_THROTTLED: 'The store asks to slow down.',
  STORE_DOWN: 'The store cannot be reached or answers with server errors.',
  STORE_AUTH: 'The credentials have expired.',
  STORE_FULL: 'The disk or the quota is full.',
  WRITE_OUTCOME_UNKNOWN: 'The store never said whether the write was applied.',
  CONDITION_FAILED: 'The row of a key is not as a conditional write asked for; nothing was written.',
  OVERLOADED: 'A write was not admitted in time; it was not applied.',
  DEADLINE: 'The call did not finish before its deadline.',
  LIVE_WRITER: 'A process seems to write to the database; a repair beside it could lose what is only in its memory.',
  PLAN_CHANGED: 'What a repair would do is no longer what was reviewed.',
  RECOVERING: 'The log of the database is being recovered, and the call did not wait long enough for its end.',
  COMPACTION_FAILED:
    'A compaction that was asked for did not come to its end; the cause says why. The database is as it was.',
  VIEW_EXPIRED: 'The view reads objects that were collected since.',
  NOT_DECODABLE:
    'A stored key or value is intact, but the encoding of this opening cannot read it: another one, or another program, wrote it.',
  ENCODING_MISMATCH: 'The database was created with other encodings of keys or values than this opening has.',
  FORMAT_TOO_NEW: 'The data has a form that only a newer program knows.',
  PROFILE_UNSUITABLE: 'The database has something that the form in which it would be written cannot hold.',
  SEGMENTS_UNSUPPORTED: 'The database is segmented; it can be read, not written.',
  MERGE_OPERATOR_MISSING: 'A merge operand was met and no merge operator is configured.',
  CODEC_MISSING: 'The data is compressed with a codec whose package is not installed.',
  PACKAGE_MISSING: 'A call needs an optional package that is not installed.',
  ABORTED: 'The call was aborted by its signal.',
  INVARIANT: 'An internal rule was broken: a bug to report.',
} as const;

/** A code of an error that is not about damaged data; those are of `FindingCode`. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** How far a call came that deletes the rows of a range one batch after the other. */
export interface RangeProgress {
  /** Rows that were deleted, durable or not: after a crash call it again with the same range, not from `lastKey` on. */
  deleted: number;
  /** Key of the last of them; undefined: none. */
  lastKey: Uint8Array | undefined;
}

/** What an error may have beside its code and message. */
export interface ErrorFields {
  /** Whether a write took effect. Default: absent. */
  outcome?: WriteOutcome;
  /** Whether the same call may succeed later without any repair. Default false. */
  retryable?: boolean;
  /** The values that the message names. Default: none. */
  details?: Record<string, unknown>;
  /** What to do next. Default: absent. */
  hint?: Hint;
  /** Of `deleteRange` and `clear`: see `DbError`. Default: absent. */
  progress?: RangeProgress;
  /** The error that led to this one. Default: absent. */
  cause?: unknown;
}

/** Base of all errors of this package. */
export abstract class DbError extends Error {
  /** The class in one word, such as `fenced` for `FencedError`. */
  abstract readonly kind: ErrorKind;
  /** The cause, stable across versions: a key of `ERROR_CODES`, of damage a `FindingCode`. */
  readonly code: string;
  /** Whether the same call may succeed later without any repair. */
  readonly retryable: boolean;
  /**
   * Of writes, `flush` and `close`: `not-applied` never takes effect, `unknown` may have taken effect or still may.
   * Absent for other calls.
   */
  declare readonly outcome?: WriteOutcome;
  /** The values that the message names; frozen. */
  readonly details: Readonly<Record<string, unknown>>;
  /** Of damage: what to do next. */
  declare readonly hint?: Hint;
  /** Of `deleteRange` and `clear`: what they had done by then. They can be called again to delete the rest. */
  declare readonly progress?: RangeProgress;

  constructor(code: string, message: string, fields: ErrorFields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = code;
    this.retryable = fields.retryable ?? false;
    if (fields.outcome !== undefined) this.outcome = fields.outcome;
    this.details = Object.freeze({ ...fields.details });
    if (fields.hint !== undefined) this.hint = fields.hint;
    if (fields.progress !== undefined) this.progress = Object.freeze({ ...fields.progress });
    Object.defineProperty(this, 'name', { value: errorName(this), configurable: true, writable: true });
  }

  /** Plain data as `errorToJson` gives it, keys and values included, for `JSON.stringify`. */
  toJSON(): ErrorJson {
    return converted('errorToJson', () => plainError(this, false, 0));
  }

  /** Lets `instanceof` accept errors of another copy of this package. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    const brands = brandsOf(value);
    if (brands === undefined) return false;
    // biome-ignore lint/complexity/noThisInStatic: the subclass that is asked about
    return brands.includes((this as unknown as { brand: string }).brand);
  }

  /** @internal */
  static readonly brand: string = 'DbError';
}

function errorName(error: DbError): string {
  return (error.constructor as unknown as { brand: string }).brand;
}

/** Fix the code or the configuration; the handle stays good. */
export class InvalidArgumentError extends DbError {
  readonly kind = 'invalid';
}
/** Redo the whole unit of work. */
export class ConflictError extends DbError {
  readonly kind = 'conflict';
  /** Of a conditional write: the key whose row is not as it was to be; of a batch the first of those. */
  get key(): Uint8Array | undefined {
    return this.details['key'] as Uint8Array | undefined;
  }
  /** Of a conditional write: `absent`, or the sequence number that the row was to have. */
  get expected(): 'absent' | bigint | undefined {
    return this.details['expected'] as 'absent' | bigint | undefined;
  }
  /** Of a conditional write: the sequence number that the row has; undefined if there is no row. */
  get actual(): bigint | undefined {
    return this.details['actual'] as bigint | undefined;
  }
}
/** Stop: another owner exists. `owner` names it, if the store shows it. */
export class FencedError extends DbError {
  readonly kind = 'fenced';
  /** `host:pid` of the process that took over, if it left its name. */
  get owner(): string | undefined {
    return this.details['owner'] as string | undefined;
  }
}
/** Reopen; the first failure is the cause. */
export class ClosedError extends DbError {
  readonly kind = 'closed';
}
/** Back off and try again; on `outcome: 'unknown'` read back first. */
export class UnavailableError extends DbError {
  readonly kind = 'unavailable';
  constructor(code: string, message: string, fields: ErrorFields = {}) {
    super(code, message, { retryable: true, ...fields });
  }
}
/** Change the software or its configuration; never repair. */
export class IncompatibleError extends DbError {
  readonly kind = 'incompatible';
}
/** The call was aborted by its signal. */
export class AbortError extends DbError {
  readonly kind = 'aborted';
  constructor(message = 'The operation was aborted.', fields: ErrorFields = {}) {
    super('ABORTED', message, fields);
  }
}
/** A bug in this package. */
export class InternalError extends DbError {
  readonly kind = 'internal';
  constructor(message: string, fields: ErrorFields = {}) {
    super('INVARIANT', message, fields);
  }
}

/** What an error about damage may have besides. */
export interface CorruptionFields extends ErrorFields {
  /** All pieces of damage when `findings` was capped. */
  total?: number;
  /** See `CorruptionError`. */
  possiblyStale?: StaleVersion;
  /** See `CorruptionError`. */
  resumeAfter?: Uint8Array;
}

/** A version of a key that is intact, while a newer one may be in the damage. */
export interface StaleVersion {
  /** The sequence number of its write. */
  seq: bigint;
  /** Absent: the version is a deletion, or has expired. */
  value?: Uint8Array;
}

/** Most findings an error carries; `total` counts all. */
export const MAX_FINDINGS_PER_ERROR = 1000;

/** Stored data is damaged; other data of the database stays readable. `code` is that of the first finding. */
export class CorruptionError extends DbError {
  readonly kind = 'corruption';
  /** The damage, at most 1,000 pieces; frozen. */
  readonly findings: readonly Finding[];
  /** All pieces of damage, also those that `findings` leaves out. */
  readonly total: number;
  /**
   * Of a get: the newest version that is outside of the damage. Absent if there is none, or none that can be given
   * without merging around the damage.
   */
  declare readonly possiblyStale?: StaleVersion;
  /** Of a scan: the last key of the damaged stretch in its direction; the next call goes on after it. */
  declare readonly resumeAfter?: Uint8Array;
  /** Of `getMany`: for each key, in the order of the call, its value, undefined or the error that it met. */
  declare readonly results?: readonly (Uint8Array | undefined | CorruptionError)[];

  constructor(message: string, findings: readonly Finding[], fields: CorruptionFields = {}) {
    super(findings[0]?.code ?? 'MALFORMED', message, {
      ...(findings[0] !== undefined && { hint: findings[0].hint }),
      ...fields,
    });
    this.findings = Object.freeze(findings.slice(0, MAX_FINDINGS_PER_ERROR));
    this.total = fields.total ?? findings.length;
    if (fields.possiblyStale !== undefined) this.possiblyStale = fields.possiblyStale;
    if (fields.resumeAfter !== undefined) this.resumeAfter = fields.resumeAfter;
  }
}

/** What is wrong with the write-ahead log, summed up over all findings. */
export interface WalDamageSummary {
  /** The replay point: what follows this object is replayed. */
  replayAfter: bigint;
  /** Id of the last object that exists or must exist. */
  end: bigint;
  /** Ids of objects that are there and damaged, ascending. */
  damagedIds: bigint[];
  /** Ids of objects that are gone; of more than 10,000 the first 1,000. */
  missingIds: bigint[];
  /**
   * Sequence numbers in which a repair with default options would lose rows. Empty where so many objects are gone that
   * none was read.
   */
  lostSeqs: SeqRange[];
  /** Rows that a repair with default options would keep. */
  recoverableRows: number;
  /** Rows that it would lose; absent where the number is not known exactly. */
  lostRows?: number;
}

/** The write-ahead log is damaged; open has changed nothing. */
export class WalCorruptionError extends CorruptionError {
  /** All findings summed up, those that `findings` leaves out included. */
  readonly wal: WalDamageSummary;
  constructor(message: string, findings: readonly Finding[], wal: WalDamageSummary, fields: CorruptionFields = {}) {
    super(message, findings, fields);
    this.wal = wal;
  }
}

/** What going on from an older manifest would mean. */
export interface FallbackSummary {
  /** Id of the older manifest. */
  manifestId: bigint;
  /** What a repair would do: as the option `strategy` of `manifestRepair`. */
  strategy: 'heal' | 'previous' | 'roll-forward' | 'rebuild';
  /** First object of the log that would be replayed. */
  walFrom: bigint;
  /** Last object of the log that is there. */
  walTo: bigint;
  /** Whether each object of the log from `walFrom` to the end that the manifest knows is there. */
  walComplete: boolean;
  /** Tables of newer manifests that would be named again. */
  orphanTables: number;
}

/** The newest manifest is damaged, or none is left of a database that exists. */
export class ManifestCorruptionError extends CorruptionError {
  /** Id of the newest manifest that is intact; absent if none is. */
  declare readonly newestGoodId?: bigint;
  /** What going on from that manifest would mean. */
  declare readonly fallback?: FallbackSummary;
  constructor(
    message: string,
    findings: readonly Finding[],
    fields: CorruptionFields & { newestGoodId?: bigint; fallback?: FallbackSummary } = {},
  ) {
    super(message, findings, fields);
    if (fields.newestGoodId !== undefined) this.newestGoodId = fields.newestGoodId;
    if (fields.fallback !== undefined) this.fallback = fields.fallback;
  }
}

/** The database is older than a witness says it was. */
export class RollbackError extends CorruptionError {
  /**
   * What there must be, as the message says: a manifest id, an id of the log, or with `expectAtLeast` a sequence
   * number.
   */
  readonly expected: bigint;
  /** The greatest of these that there is. */
  readonly found: bigint;
  constructor(
    message: string,
    findings: readonly Finding[],
    expected: bigint,
    found: bigint,
    fields: CorruptionFields = {},
  ) {
    super(message, findings, fields);
    this.expected = expected;
    this.found = found;
  }
}

brand(DbError, 'DbError');
brand(InvalidArgumentError, 'InvalidArgumentError', 'DbError');
brand(ConflictError, 'ConflictError', 'DbError');
brand(FencedError, 'FencedError', 'DbError');
brand(ClosedError, 'ClosedError', 'DbError');
brand(UnavailableError, 'UnavailableError', 'DbError');
brand(IncompatibleError, 'IncompatibleError', 'DbError');
brand(AbortError, 'AbortError', 'DbError');
brand(InternalError, 'InternalError', 'DbError');
brand(CorruptionError, 'CorruptionError', 'DbError');
brand(WalCorruptionError, 'WalCorruptionError', 'CorruptionError', 'DbError');
brand(ManifestCorruptionError, 'ManifestCorruptionError', 'CorruptionError', 'DbError');
brand(RollbackError, 'RollbackError', 'CorruptionError', 'DbError');

/** True for every error of this package, also of another copy of it. */
export function isDbError(value: unknown): value is DbError {
  return brandsOf(value) !== undefined;
}

/** True for damage to stored data. */
export function isCorruption(value: unknown): value is CorruptionError {
  return brandsOf(value)?.includes('CorruptionError') ?? false;
}

/** True if the same call may succeed later without any repair. */
export function isRetryable(value: unknown): boolean {
  return isDbError(value) && value.retryable;
}

/** An array of the caller whose memory cannot be read: `what` it is. */
export function memoryGone(what: string): InvalidArgumentError {
  return new InvalidArgumentError(
    'BAD_ARGUMENT',
    `The memory of the ${what} is gone: it was transferred to another thread, or its buffer (WebAssembly's, say) grew or shrank after the view was made. Make a new view, or pass a copy.`,
  );
}

/** What `convert` gives; whatever it throws becomes an error about the argument of `call`. */
export function converted<T>(call: string, convert: () => T): T {
  try {
    return convert();
  } catch (cause) {
    if (isDbError(cause)) throw cause;
    throw notPlain(`${call}: the argument cannot be converted; see the cause.`, cause);
  }
}

export function notPlain(message: string, cause?: unknown): InvalidArgumentError {
  return new InvalidArgumentError('BAD_ARGUMENT', message, { cause });
}
