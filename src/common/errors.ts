/**
 * Every error a caller can meet, classed by what the caller does next; `code` names the cause and never changes.
 *
 * Invariants: each rejection of a public call is a `DbError`; every code in `ERROR_CODES` is documented there and thrown
 * somewhere; errors are branded with a registered symbol, so `instanceof` and `isDbError` also work when two copies of the
 * package are loaded in one process.
 */
import { createHash } from 'node:crypto';
import { types } from 'node:util';
import { fromBase64Url, toBase64Url, toHex } from './bytes.ts';
import { describeThrown } from './callbacks.ts';
import type { KeyRange } from './key-range.ts';

const BRAND = Symbol.for('shaledb.error');

export type ErrorKind =
  | 'invalid'
  | 'conflict'
  | 'fenced'
  | 'closed'
  | 'unavailable'
  | 'corruption'
  | 'incompatible'
  | 'aborted'
  | 'internal';

/** Whether a write that failed can have taken effect: `not-applied` never, `unknown` read back before trying again. */
export type WriteOutcome = 'not-applied' | 'unknown';

/** All codes with the one sentence that documents each. Corruption codes are those of `FindingCode`. */
export const ERROR_CODES = {
  BAD_ARGUMENT: 'An argument has the wrong type or lies outside its range.',
  BAD_OPTION: 'One or more options are unknown, of the wrong type or out of range; all of them are listed.',
  KEY_TOO_LARGE: 'A key is longer than 65,535 bytes.',
  VALUE_TOO_LARGE: 'A value is longer than the limit.',
  BATCH_TOO_LARGE: 'A batch can never be admitted under the memory budget.',
  STORE_MISSING: 'The bucket or directory does not exist.',
  NOT_A_DATABASE: 'Nothing at this place is a database, and creating one was not allowed.',
  ALREADY_EXISTS: 'A database exists at this place although `errorIfExists` was set.',
  STORE_DENIED: 'The store refuses access: wrong or insufficient credentials or permissions.',
  PARENT_OUT_OF_REACH:
    'A clone reads tables of another database, which is not found below the root that the location leaves open.',
  STORE_UNSUITABLE:
    'The store cannot keep a promise that the protocol needs, such as conditional writes or hard links.',
  WRITER_FENCED: 'Another writer has taken over this database.',
  CLOSED: 'The handle was closed.',
  FAILED: 'The handle stopped working after an earlier failure, which is kept as the cause.',
  STORE_TIMEOUT: 'The store did not answer in time.',
  STORE_THROTTLED: 'The store asks to slow down.',
  STORE_DOWN: 'The store cannot be reached or answers with server errors.',
  STORE_AUTH: 'The credentials have expired.',
  STORE_FULL: 'The disk or the quota is full.',
  WRITE_OUTCOME_UNKNOWN: 'The store never said whether the write was applied.',
  OVERLOADED: 'A write was not admitted in time; it was not applied.',
  DEADLINE: 'The call did not finish before its deadline.',
  LIVE_WRITER: 'A process seems to write to the database; a repair beside it could lose what is only in its memory.',
  PLAN_CHANGED: 'What a repair would do is no longer what was reviewed.',
  RECOVERING: 'The log of the database is being recovered, and the call did not wait long enough for its end.',
  VIEW_EXPIRED: 'The view reads objects that were collected meanwhile.',
  FORMAT_TOO_NEW: 'The data has a form that only a newer program knows.',
  PROFILE_UNSUITABLE: 'The database has something that the form in which it would be written cannot hold.',
  SEGMENTS_UNSUPPORTED: 'The database is segmented; it can be read, not written.',
  MERGE_OPERATOR_MISSING: 'A merge operand was met and no merge operator is configured.',
  CODEC_MISSING: 'The data is compressed with a codec whose package is not installed.',
  ABORTED: 'The call was aborted by its signal.',
  INVARIANT: 'An internal rule was broken: a bug to report.',
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

export type FindingCode =
  | 'BAD_CHECKSUM'
  | 'BAD_SEAL'
  | 'BAD_MAGIC'
  | 'TRUNCATED'
  | 'MISSING_OBJECT'
  | 'MALFORMED'
  | 'DECOMPRESS_FAILED'
  | 'IDENTITY_MISMATCH'
  | 'CHAIN_BREAK'
  | 'OUT_OF_ORDER'
  | 'SEQ_RANGE'
  | 'COUNT_MISMATCH'
  | 'MANIFEST_INCONSISTENT'
  | 'ROLLED_BACK'
  | 'LOST_DATA'
  // With severity `unknown`: no damage, and no proof that there is none.
  | 'FORMAT_TOO_NEW'
  | 'CODEC_MISSING'
  | 'OUT_OF_REACH'
  // Of a clone.
  | 'PARENT_MISSING';

/**
 * `error`: damage that can take rows away. `unknown`: cannot tell, because something is in a form or at a place that this
 * program cannot read, or is not where it is looked for; never damage, and nothing is repaired because of it. `warning`: damage that takes no row away. `note`:
 * no damage.
 */
export type Severity = 'error' | 'unknown' | 'warning' | 'note';

/** Worst first: what is listed first, and what decides a verdict. */
export const SEVERITY_RANK: Readonly<Record<Severity, number>> = { error: 0, unknown: 1, warning: 2, note: 3 };

/** What to run next, and what that would cost. */
export interface Hint {
  summary: string;
  commands: string[];
  docs: string;
  lossIfRepaired: 'none' | 'possible' | 'certain' | 'unknown';
}

export type ObjectRole = 'manifest' | 'wal' | 'table' | 'compactions' | 'boundary' | 'sidecar';

/** The object a finding is about. */
export interface FindingObject {
  role: ObjectRole;
  path: string;
  id: string;
  sealed: boolean;
  size?: number;
  expectedSize?: number;
  etag?: string;
  versionId?: string;
}

/** Where in the object the damage lies; offsets and lengths in bytes from the start of the stored object. */
export interface FindingPlace {
  unit: 'block' | 'rows' | 'index' | 'filter' | 'stats' | 'info' | 'footer' | 'seal' | 'header' | 'object';
  index?: number;
  offset: number;
  length: number;
}

/** One piece of damage: the same vocabulary in errors, reports, events and the ledger. */
export interface Finding {
  /** Hash of (code, path, offset): the same damage always has the same id. */
  id: string;
  code: FindingCode;
  severity: Severity;
  object: FindingObject;
  at: FindingPlace;
  affects: {
    keys?: KeyRange;
    seqs?: { min: bigint; max: bigint };
    rows?: number;
    batches?: number;
  };
  expected?: string;
  found?: string;
  origin: 'in-flight' | 'cache' | 'at-rest' | 'before-upload' | 'replaced' | 'unknown';
  remedy: 'heals' | 'heals-probably' | 'rebuilds' | 'salvages' | 'none' | 'untried';
  reads: { attempts: number; identical: boolean; pastCaches: boolean };
  during: 'open' | 'get' | 'scan' | 'flush' | 'compaction' | 'scrub' | 'check' | 'repair';
  hint: Hint;
}

/** Plain form of an error for worker messages and `--json`; bigints are decimal strings, bytes base64url. */
export interface ErrorJson {
  schemaVersion: 1;
  kind: ErrorKind;
  code: string;
  name: string;
  message: string;
  retryable: boolean;
  outcome?: WriteOutcome;
  details: Record<string, unknown>;
  hint?: Hint;
  findings?: unknown[];
  total?: number;
  extra?: Record<string, unknown>;
  cause?: ErrorJson | { name: string; message: string };
}

export interface ErrorFields {
  outcome?: WriteOutcome;
  retryable?: boolean;
  details?: Record<string, unknown>;
  hint?: Hint;
  cause?: unknown;
}

/** Base of all errors of this package. */
export abstract class DbError extends Error {
  abstract readonly kind: ErrorKind;
  readonly code: string;
  readonly retryable: boolean;
  declare readonly outcome?: WriteOutcome;
  readonly details: Readonly<Record<string, unknown>>;
  declare readonly hint?: Hint;

  constructor(code: string, message: string, fields: ErrorFields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = code;
    this.retryable = fields.retryable ?? false;
    if (fields.outcome !== undefined) this.outcome = fields.outcome;
    this.details = Object.freeze({ ...fields.details });
    if (fields.hint !== undefined) this.hint = fields.hint;
    Object.defineProperty(this, 'name', { value: errorName(this), configurable: true, writable: true });
  }

  toJSON(): ErrorJson {
    return errorToJson(this);
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    const brands = brandsOf(value);
    if (brands === undefined) return false;
    // biome-ignore lint/complexity/noThisInStatic: the subclass that is asked about
    return brands.includes((this as unknown as { brand: string }).brand);
  }

  static readonly brand: string = 'DbError';
}

function brandsOf(value: unknown): readonly string[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  try {
    const brands = (value as Record<symbol, unknown>)[BRAND];
    return Array.isArray(brands) ? brands : undefined;
  } catch {
    // A proxy that cannot be read is no error of ours.
    return undefined;
  }
}

function errorName(error: DbError): string {
  return (error.constructor as unknown as { brand: string }).brand;
}

function brand(cls: { prototype: object }, ...names: string[]): void {
  Object.defineProperty(cls.prototype, BRAND, { value: Object.freeze([...names, 'DbError']) });
  Object.defineProperty(cls, 'brand', { value: names[0] });
}

/** Fix the code or the configuration; the handle stays good. */
export class InvalidArgumentError extends DbError {
  readonly kind = 'invalid';
}
/** Redo the whole unit of work. */
export class ConflictError extends DbError {
  readonly kind = 'conflict';
}
/** Stop: another owner exists. `owner` says who, where the store tells it. */
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

export interface CorruptionFields extends ErrorFields {
  /** All pieces of damage when `findings` was capped. */
  total?: number;
  possiblyStale?: { seq: bigint; value?: Uint8Array };
  resumeAfter?: Uint8Array;
}

/** Most findings an error carries; `total` counts all. */
export const MAX_FINDINGS_PER_ERROR = 1000;

/** Stored data is damaged; other data of the database stays readable. `code` is that of the first finding. */
export class CorruptionError extends DbError {
  readonly kind = 'corruption';
  readonly findings: readonly Finding[];
  readonly total: number;
  declare readonly possiblyStale?: { seq: bigint; value?: Uint8Array };
  declare readonly resumeAfter?: Uint8Array;

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
  replayAfter: bigint;
  end: bigint;
  damagedIds: bigint[];
  missingIds: bigint[];
  lostSeqs: { min: bigint; max: bigint }[];
  recoverableRows: number;
  lostRows?: number;
}

/** The write-ahead log is damaged; open has changed nothing. */
export class WalCorruptionError extends CorruptionError {
  readonly wal: WalDamageSummary;
  constructor(message: string, findings: readonly Finding[], wal: WalDamageSummary, fields: CorruptionFields = {}) {
    super(message, findings, fields);
    this.wal = wal;
  }
}

/** What going on from an older manifest would mean. */
export interface FallbackSummary {
  manifestId: bigint;
  strategy: 'heal' | 'previous' | 'roll-forward' | 'rebuild';
  walFrom: bigint;
  walTo: bigint;
  walComplete: boolean;
  orphanTables: number;
}

/** The newest manifest is damaged, or none is left of a database that exists. */
export class ManifestCorruptionError extends CorruptionError {
  declare readonly newestGoodId?: bigint;
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
  readonly expected: bigint;
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

Object.defineProperty(DbError.prototype, BRAND, { value: Object.freeze(['DbError']) });
brand(InvalidArgumentError, 'InvalidArgumentError');
brand(ConflictError, 'ConflictError');
brand(FencedError, 'FencedError');
brand(ClosedError, 'ClosedError');
brand(UnavailableError, 'UnavailableError');
brand(IncompatibleError, 'IncompatibleError');
brand(AbortError, 'AbortError');
brand(InternalError, 'InternalError');
brand(CorruptionError, 'CorruptionError');
brand(WalCorruptionError, 'WalCorruptionError', 'CorruptionError');
brand(ManifestCorruptionError, 'ManifestCorruptionError', 'CorruptionError');
brand(RollbackError, 'RollbackError', 'CorruptionError');

/** True for every error of this package, also of another copy of it. */
export function isDbError(value: unknown): value is DbError {
  return brandsOf(value) !== undefined;
}

/** True for damage to stored data. */
export function isCorruption(value: unknown): value is CorruptionError {
  return brandsOf(value)?.includes('CorruptionError') ?? false;
}

/** True if the same call may succeed later with nobody repairing anything. */
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

// ---- findings

/** In the package and in the repository. */
const DOCS = 'docs/troubleshooting.md';

/** The hint of a finding for which no better one is known. */
export function defaultHint(object: FindingObject): Hint {
  return {
    summary: `Keep a copy of ${object.path || 'the object'} before changing anything; other data stays readable.`,
    commands: [],
    docs: DOCS,
    lossIfRepaired: 'unknown',
  };
}

export interface FindingInput {
  code: FindingCode;
  at: FindingPlace;
  object?: FindingObject;
  severity?: Finding['severity'];
  affects?: Finding['affects'];
  expected?: string;
  found?: string;
  origin?: Finding['origin'];
  remedy?: Finding['remedy'];
  reads?: Finding['reads'];
  during?: Finding['during'];
  hint?: Hint;
}

const NO_OBJECT: FindingObject = { role: 'table', path: '', id: '', sealed: false };

/** Completes a finding and gives it its id. */
export function makeFinding(input: FindingInput): Finding {
  const object = input.object ?? NO_OBJECT;
  const id = createHash('sha256')
    .update(`${input.code}\n${object.path}\n${input.at.unit}\n${input.at.offset}`)
    .digest('hex')
    .slice(0, 16);
  return {
    id: `f-${id}`,
    code: input.code,
    severity: input.severity ?? 'error',
    object,
    at: input.at,
    affects: input.affects ?? {},
    ...(input.expected !== undefined && { expected: input.expected }),
    ...(input.found !== undefined && { found: input.found }),
    origin: input.origin ?? 'unknown',
    remedy: input.remedy ?? 'untried',
    reads: input.reads ?? { attempts: 1, identical: true, pastCaches: true },
    during: input.during ?? 'open',
    hint: input.hint ?? defaultHint(object),
  };
}

/**
 * The error a codec throws: it knows what is wrong and where in the bytes it was given, not which object they are from.
 * The caller that read the object adds the rest with `locate`.
 */
export function damage(
  code: FindingCode,
  at: FindingPlace,
  message: string,
  more: { expected?: string; found?: string } = {},
): CorruptionError {
  return new CorruptionError(message, [makeFinding({ code, at, ...more })]);
}

const OUT_OF_REACH: ReadonlySet<string> = new Set(['STORE_DENIED', 'PARENT_OUT_OF_REACH']);

/** Whether an error says no more than that this program cannot read something: nothing is known to be damaged. */
export function isCannotTell(error: unknown): error is DbError {
  if (!isDbError(error)) return false;
  return error.kind === 'incompatible' || error.kind === 'unavailable' || OUT_OF_REACH.has(error.code);
}

/** The finding for an object that this program cannot read (`isCannotTell`): the reason is in `found`. */
export function unknownFinding(
  error: DbError,
  location: Pick<Location, 'object' | 'during'> & { at?: FindingPlace; summary?: string },
): Finding {
  const { object, during, at = { unit: 'object', offset: 0, length: 0 } } = location;
  const code = error.code === 'FORMAT_TOO_NEW' || error.code === 'CODEC_MISSING' ? error.code : 'OUT_OF_REACH';
  return makeFinding({
    code,
    severity: 'unknown',
    object,
    at,
    found: error.message,
    during,
    hint: { summary: location.summary ?? CANNOT_TELL[code], commands: [], docs: DOCS, lossIfRepaired: 'unknown' },
  });
}

const CANNOT_TELL = {
  FORMAT_TOO_NEW:
    'A newer program wrote this. Use a newer version; nothing is known to be damaged, and nothing is repaired.',
  CODEC_MISSING: 'Install the package of the codec and look again; nothing is known to be damaged.',
  OUT_OF_REACH: 'Give access to it and look again; nothing is known to be damaged, and nothing is repaired.',
} as const;

export interface Location {
  object: FindingObject;
  during: Finding['during'];
  /** Added to the offsets: where the decoded bytes begin in the object. */
  offset?: number;
  /** Which block of the object the bytes are, from 0. */
  index?: number;
  affects?: Finding['affects'];
  reads?: Finding['reads'];
}

/** The findings of a codec's error with object and absolute offsets filled in. */
export function locateFindings(error: CorruptionError, location: Location): Finding[] {
  return error.findings.map((f) => {
    const at = {
      ...f.at,
      offset: f.at.offset + (location.offset ?? 0),
      ...(location.index !== undefined && { index: location.index }),
    };
    const { id: _id, hint: _hint, ...rest } = f;
    return makeFinding({
      ...rest,
      object: location.object,
      at,
      during: location.during,
      affects: { ...f.affects, ...location.affects },
      reads: location.reads ?? f.reads,
    });
  });
}

/** A codec's error with object and absolute offsets filled in. */
export function locate(error: CorruptionError, location: Location): CorruptionError {
  const message = `${location.object.path}: ${error.message}`;
  return new CorruptionError(message, locateFindings(error, location), {
    details: { ...error.details, path: location.object.path },
  });
}

// ---- plain form

const CLASS_OF_NAME: Record<string, new (...args: never[]) => DbError> = {
  InvalidArgumentError,
  ConflictError,
  FencedError,
  ClosedError,
  UnavailableError,
  IncompatibleError,
  AbortError,
  InternalError,
  CorruptionError,
  WalCorruptionError,
  ManifestCorruptionError,
  RollbackError,
};

const EXTRA_FIELDS = ['wal', 'newestGoodId', 'fallback', 'expected', 'found', 'possiblyStale', 'resumeAfter'] as const;
const MAX_CAUSES = 5;

/** Plain data for JSON: bigints become `{ $bigint }`, bytes `{ $bytes }` or, redacted, `{ $redacted: length }`. */
export function toPlain(value: unknown, redactKeys = false): unknown {
  if (typeof value === 'bigint') return { $bigint: value.toString() };
  if (value instanceof Uint8Array) return redactKeys ? { $redacted: value.length } : { $bytes: toBase64Url(value) };
  if (Array.isArray(value)) return value.map((x) => toPlain(x, redactKeys));
  if (isDbError(value)) return jsonOf(value, redactKeys, MAX_CAUSES);
  if (value instanceof Error) return { name: value.name, message: value.message };
  if (typeof value === 'function' || typeof value === 'symbol') return String(value);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, v]) => v !== undefined)
        .map(([k, v]) => [k, toPlain(v, redactKeys)]),
    );
  }
  return value;
}

/** What `toPlain` was given, errors excepted. */
export function fromPlain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromPlain);
  if (typeof value !== 'object' || value === null) return value;
  const o = value as Record<string, unknown>;
  if (typeof o['$bigint'] === 'string') return BigInt(o['$bigint']);
  if (typeof o['$bytes'] === 'string') return fromBase64Url(o['$bytes']);
  return Object.fromEntries(Object.entries(o).map(([k, v]) => [k, fromPlain(v)]));
}

/** Turns an error into plain data that survives `postMessage` and JSON; the chain of causes is cut at five. */
export function errorToJson(error: DbError, options: { redactKeys?: boolean } = {}): ErrorJson {
  if (!isDbError(error)) throw notPlain('errorToJson needs an error of this package; look with isDbError first.');
  if (typeof options !== 'object' || options === null) throw notPlain('errorToJson: the options must be an object.');
  return converted('errorToJson', () => jsonOf(error, options.redactKeys === true, 0));
}

function jsonOf(error: DbError, redact: boolean, depth: number): ErrorJson {
  const json: ErrorJson = {
    schemaVersion: 1,
    kind: error.kind,
    code: error.code,
    name: error.name,
    message: error.message,
    retryable: error.retryable,
    details: toPlain(error.details, redact) as Record<string, unknown>,
  };
  if (error.outcome !== undefined) json.outcome = error.outcome;
  if (error.hint !== undefined) json.hint = error.hint;
  if (isCorruption(error)) {
    json.findings = toPlain(error.findings, redact) as unknown[];
    json.total = error.total;
    const extra: Record<string, unknown> = {};
    for (const f of EXTRA_FIELDS) {
      const v = (error as unknown as Record<string, unknown>)[f];
      if (v !== undefined) extra[f] = toPlain(v, redact);
    }
    if (Object.keys(extra).length > 0) json.extra = extra;
  }
  const { cause } = error;
  if (cause !== undefined && depth < MAX_CAUSES)
    json.cause = isDbError(cause) ? jsonOf(cause, redact, depth + 1) : foreignCause(cause);
  return json;
}

/** Anything can have been thrown. */
function foreignCause(cause: unknown): { name: string; message: string } {
  if (types.isNativeError(cause)) return { name: `${cause.name}`, message: `${cause.message}` };
  return { name: 'Error', message: describeThrown(cause) };
}

/** The error again: a native one of its own class, whose stack begins here. Throws `BAD_ARGUMENT` for what `errorToJson` never gave. */
export function errorFromJson(json: ErrorJson): DbError {
  return converted('errorFromJson', () => errorOf(json, 0));
}

function errorOf(json: ErrorJson, depth: number): DbError {
  const { name, message, kind, code, retryable, cause } = json;
  for (const text of [name, message, kind, code])
    if (typeof text !== 'string') throw notPlain('errorFromJson needs what errorToJson has given.');
  const cls = Object.hasOwn(CLASS_OF_NAME, name) ? CLASS_OF_NAME[name] : InternalError;
  const error = Object.setPrototypeOf(new Error(message), cls.prototype as object) as DbError;
  const define = (key: string, value: unknown, enumerable = true) =>
    Object.defineProperty(error, key, { value, configurable: true, writable: true, enumerable });
  define('name', name, false);
  define('kind', kind);
  define('code', code);
  define('retryable', retryable === true);
  define('details', Object.freeze(fromPlain(json.details ?? {}) as object));
  if (json.outcome !== undefined) define('outcome', json.outcome);
  if (json.hint !== undefined) define('hint', json.hint);
  if (json.findings !== undefined) {
    define('findings', fromPlain(json.findings));
    define('total', json.total);
  }
  for (const field of EXTRA_FIELDS) {
    const value = json.extra?.[field];
    if (value !== undefined) define(field, fromPlain(value));
  }
  if (cause !== undefined && depth < MAX_CAUSES) define('cause', causeOf(cause, depth), false);
  Error.captureStackTrace(error, errorFromJson);
  return error;
}

function causeOf(cause: NonNullable<ErrorJson['cause']>, depth: number): Error {
  if ('schemaVersion' in cause) return errorOf(cause, depth + 1);
  const error = new Error(String(cause.message));
  return Object.defineProperty(error, 'name', { value: String(cause.name), configurable: true, writable: true });
}

function converted<T>(call: string, convert: () => T): T {
  try {
    return convert();
  } catch (cause) {
    if (isDbError(cause)) throw cause;
    throw notPlain(`${call}: the argument cannot be converted; see the cause.`, cause);
  }
}

function notPlain(message: string, cause?: unknown): InvalidArgumentError {
  return new InvalidArgumentError('BAD_ARGUMENT', message, { cause });
}

/** Short text of a checksum for `expected` and `found`. */
export function crcText(crc: number): string {
  const b = new Uint8Array(4);
  new DataView(b.buffer).setUint32(0, crc >>> 0);
  return `crc32:${toHex(b)}`;
}
