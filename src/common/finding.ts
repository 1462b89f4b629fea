/**
 * Findings: the one vocabulary for damage, in errors, reports, events and the ledger.
 *
 * 1. The id of a finding follows from what is damaged: the same damage has the same id whenever and however it is found.
 * 2. Every finding has a hint.
 */
import { createHash } from 'node:crypto';
import { type Hint, makeHint } from './advice.ts';
import type { KeyRange } from './key-range.ts';
import type { SeqRange } from './seq-range.ts';

/** What is wrong; `docs/errors.md` says of each what it means and what to do. */
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

/** The most severe first: the order of listing, and what decides a verdict. */
export const SEVERITY_RANK: Readonly<Record<Severity, number>> = { error: 0, unknown: 1, warning: 2, note: 3 };

/** What an object of a database is; `sidecar`: a small object of this program below `shale/`. */
export type ObjectRole = 'manifest' | 'wal' | 'table' | 'compactions' | 'boundary' | 'sidecar';

/** The object a finding is about. */
export interface FindingObject {
  /** What it is for. */
  role: ObjectRole;
  /**
   * Path below the root of the database; a folder, with a slash at its end, where the finding is about all of it.
   * Empty: bytes without a path.
   */
  path: string;
  /** Its number, ULID or file name; empty where there is none. */
  id: string;
  /** Whether it has a seal, as far as that was seen. */
  sealed: boolean;
  /** Size in bytes, if it is known. */
  size?: number;
  /** Size in bytes that it should have, if something records it. */
  expectedSize?: number;
  /** ETag of what was read, if it is known. */
  etag?: string;
  /** Version of the object in a store that keeps several, if it is known. */
  versionId?: string;
}

/** Where in the object the damage is; offsets and lengths in bytes from the start of the stored object. */
export interface FindingPlace {
  /** The part of the object; `object`: all of it. */
  unit: 'block' | 'rows' | 'index' | 'filter' | 'stats' | 'info' | 'footer' | 'seal' | 'header' | 'object';
  /** Which of several such parts, from 0; absent if there is one, or if it is not known. */
  index?: number;
  /** Where the damaged part begins. */
  offset: number;
  /** Bytes of the damaged part; 0 for an object that is missing or another one. */
  length: number;
}

/** The place of damage that is about an object as a whole: that it is gone, or not the one it should be. */
export const WHOLE_OBJECT = { unit: 'object', offset: 0, length: 0 } as const;

/** One piece of damage: the same vocabulary in errors, reports, events and the ledger. */
export interface Finding {
  /** Hash of (code, path, offset): the same damage always has the same id. */
  id: string;
  /** What is wrong; `docs/errors.md` explains each code. */
  code: FindingCode;
  /** Whether rows may be lost because of it. */
  severity: Severity;
  /** The object that is damaged, missing, or another one than it should be. */
  object: FindingObject;
  /** The damaged part of the object. */
  at: FindingPlace;
  /** What may be lost or wrong because of it, as far as it is known. */
  affects: {
    /** Keys of which rows may be in the damaged part. */
    keys?: KeyRange;
    /** Sequence numbers of rows that may be in it. */
    seqs?: SeqRange;
    /** Rows in it, where their number is recorded. */
    rows?: number;
    /** Batches in it, where their number is recorded. */
    batches?: number;
  };
  /** What should be there: a checksum, a size, an id, or a sentence. */
  expected?: string;
  /** What is there instead, or why it cannot be read. */
  found?: string;
  /**
   * Where the damage came about. `in-flight`: on the way, not in the store. `cache`: in a cache only. `at-rest`: in the
   * store. `before-upload`: in the writer or its memory. `replaced`: another object is stored in its place.
   */
  origin: 'in-flight' | 'cache' | 'at-rest' | 'before-upload' | 'replaced' | 'unknown';
  /**
   * What can be done with this object alone. `heals`: all checksums hold again. `heals-probably`: one checksum holds
   * again, which is the only proof. `rebuilds`: made again from intact parts. `salvages`: some rows are saved.
   * `untried`: not known yet.
   */
  remedy: 'heals' | 'heals-probably' | 'rebuilds' | 'salvages' | 'none' | 'untried';
  /** How often it was read before it was called damage. */
  reads: {
    /** Times that the object, or this part of it, was read. */
    attempts: number;
    /** Whether all reads gave the same bytes. */
    identical: boolean;
    /** Whether they asked the store and no cache. */
    pastCaches: boolean;
  };
  /** The work that found it. */
  during: 'open' | 'get' | 'scan' | 'flush' | 'compaction' | 'scrub' | 'check' | 'repair';
  /** What to do about it. */
  hint: Hint;
}

/** The hint of a finding for which no better one is known. */
export function defaultHint(object: FindingObject): Hint {
  return makeHint(
    `Keep a copy of ${object.path || 'the object'} before changing anything; other data stays readable.`,
    'unknown',
  );
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
    // Of its own: findings are handed to users, and several are made from one constant.
    at: { ...input.at },
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
