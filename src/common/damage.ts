/**
 * Errors about stored data, in two steps: a codec throws what is wrong in the bytes that it was given, and the code that read the object adds
 * which one it is and where the bytes are in it. Also findings for what cannot be read, of which nothing is known.
 */
import { makeHint } from './advice.ts';
import { toHex } from './bytes.ts';
import { CorruptionError, type DbError, isCorruption, isDbError } from './errors.ts';
import {
  type Finding,
  type FindingCode,
  type FindingObject,
  type FindingPlace,
  makeFinding,
  WHOLE_OBJECT,
} from './finding.ts';

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

/** What `decode` gives; its damage with offsets from where the bytes begin, at `offset`, to the start of the object. */
export function atOffset<T>(offset: number, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    throw isCorruption(error) ? movedBy(error, offset) : error;
  }
}

/** The damage with offsets that are larger by `bytes`. */
export function movedBy(error: CorruptionError, bytes: number): CorruptionError {
  if (bytes === 0) return error;
  const findings = error.findings.map((f) => ({ ...f, at: { ...f.at, offset: f.at.offset + bytes } }));
  return new CorruptionError(error.message, findings);
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
  location: Pick<FindingLocation, 'object' | 'during'> & { at?: FindingPlace; summary?: string },
): Finding {
  const { object, during, at = WHOLE_OBJECT } = location;
  const code = error.code === 'FORMAT_TOO_NEW' || error.code === 'CODEC_MISSING' ? error.code : 'OUT_OF_REACH';
  return makeFinding({
    code,
    severity: 'unknown',
    object,
    at,
    found: error.message,
    during,
    hint: makeHint(location.summary ?? error.hint?.summary ?? CANNOT_TELL[code], 'unknown'),
  });
}

const CANNOT_TELL = {
  FORMAT_TOO_NEW:
    'A newer program wrote this. Use a newer version; nothing is known to be damaged, and nothing is repaired.',
  CODEC_MISSING: 'Install the package of the codec and look again; nothing is known to be damaged.',
  OUT_OF_REACH: 'Give access to it and look again; nothing is known to be damaged, and nothing is repaired.',
} as const;

export interface FindingLocation {
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
export function locateFindings(error: CorruptionError, location: FindingLocation): Finding[] {
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
export function locate(error: CorruptionError, location: FindingLocation): CorruptionError {
  const message = `${location.object.path}: ${error.message}`;
  return new CorruptionError(message, locateFindings(error, location), {
    details: { ...error.details, path: location.object.path },
  });
}

/** Short text of a checksum for `expected` and `found`. */
export function crcText(crc: number): string {
  const b = new Uint8Array(4);
  new DataView(b.buffer).setUint32(0, crc >>> 0);
  return `crc32:${toHex(b)}`;
}
