/**
 * Sidecars: small objects of ours below `shale/`, which SlateDB neither reads nor collects.
 *
 * ```
 * shaledb/<kind> <version> <crc32, 8 hex digits> <bytes of JSON>\n     ASCII, one space between
 * JSON, UTF-8                                                          64-bit numbers as decimal strings, bytes as base64url
 * ```
 *
 * The checksum of version 1 covers the JSON, that of every later version its number (ASCII digits) and then the JSON: so a changed
 * number is not taken for a newer program's object, nor a newer one's for version 1.
 *
 * `shale/identity` of version 1:
 *
 * ```example
 * "shaledb/identity 1 962cd049 120\n"                kind=identity version=1 crc=0x962cd049 json_bytes=120
 * "{\"databaseId\":\"AAECAwQFBgcICQoLDA0ODw\","       database_id=000102030405060708090a0b0c0d0e0f
 * "\"createdAtMs\":\"1795168418640\","                created_at_ms=1795168418640
 * "\"creator\":\"shaledb 0.1.0\","                    creator="shaledb 0.1.0"
 * "\"separateWalStore\":false}"                      separate_wal_store=false
 * ```
 *
 * Where encodings of keys and values are known it ends with `,"encodings":{"key":"utf8","value":"json"}}`: their names.
 */
import { assertThat } from '../common/assert.ts';
import { fromBase64Url, STRICT_UTF8, toBase64Url, UTF8_ENCODER } from '../common/bytes.ts';
import { crcText, damage } from '../common/damage.ts';
import { IncompatibleError } from '../common/errors.ts';
import { healByChecksum } from './block-healing.ts';
import { crc32 } from './checksum.ts';
import { CRC_BYTES, writeCrc } from './framing.ts';

const NEWLINE = 0x0a;
/** More than any first line has. */
const MAX_LINE_BYTES = 256;
const LINE = /^shaledb\/([a-z-]+) ([0-9]{1,9}) ([0-9a-f]{8}) ([0-9]{1,15})$/;

/** The bytes of a sidecar. `value` must be plain JSON data. */
export function encodeSidecar(kind: string, version: number, value: unknown): Uint8Array {
  const json = UTF8_ENCODER.encode(JSON.stringify(value));
  const line = UTF8_ENCODER.encode(firstLine(kind, version, checksumOf(String(version), json), json.length));
  const out = new Uint8Array(line.length + json.length);
  out.set(line);
  out.set(json, line.length);
  return out;
}

function checksumOf(version: string, json: Uint8Array): number {
  return version === '1' ? crc32(json) : crc32(Buffer.concat([UTF8_ENCODER.encode(version), json]));
}

/**
 * Verifies and parses a sidecar. Throws damage `BAD_MAGIC`, `TRUNCATED`, `BAD_CHECKSUM` or `MALFORMED`; `FORMAT_TOO_NEW` for a
 * version above `maxVersion`. The shape of the value is up to the caller.
 */
export function decodeSidecar(bytes: Uint8Array, kind: string, maxVersion = 1): { version: number; value: unknown } {
  const lineEnd = bytes.subarray(0, MAX_LINE_BYTES).indexOf(NEWLINE);
  const line = LINE.exec(lineEnd < 0 ? '' : String.fromCharCode(...bytes.subarray(0, lineEnd)));
  const at = { unit: 'object', offset: 0, length: bytes.length } as const;
  if (line === null || line[1] !== kind) throw damage('BAD_MAGIC', at, `The object is not a sidecar of kind ${kind}`);
  const [, , version, crcHex, length] = line;
  const json = bytes.subarray(lineEnd + 1);
  if (json.length !== Number(length)) {
    const more = { expected: `${length} bytes`, found: `${json.length} bytes` };
    throw damage('TRUNCATED', at, `The sidecar ${kind} does not have the length it states`, more);
  }
  const stored = Number.parseInt(crcHex, 16);
  const computed = checksumOf(version, json);
  if (stored !== computed) {
    const more = { expected: crcText(stored), found: crcText(computed) };
    throw damage('BAD_CHECKSUM', at, `The sidecar ${kind} does not match its checksum`, more);
  }
  if (Number(version) > maxVersion) {
    throw new IncompatibleError('FORMAT_TOO_NEW', `The sidecar ${kind} has version ${version}`, {
      details: { version },
    });
  }
  try {
    return { version: Number(version), value: JSON.parse(STRICT_UTF8.decode(json)) };
  } catch (cause) {
    throw damage('MALFORMED', at, `The sidecar ${kind} is not JSON: ${String(cause)}`);
  }
}

/**
 * A sidecar of version 1 with one bit flipped back; undefined if nothing is wrong, if no single bit or more than one explains it, or
 * if `isAsWritten` refuses the result. Damage of more bits passes for one bit with odds of 8 per byte / 2^32, and must then still
 * leave what `isAsWritten` accepts, which should be a strict form.
 */
export function healSidecar(
  stored: Uint8Array,
  kind: string,
  isAsWritten: (bytes: Uint8Array) => boolean,
): Uint8Array | undefined {
  const jsonAt = jsonStart(stored.length, kind);
  if (jsonAt === undefined) return undefined;
  const json = stored.subarray(jsonAt);
  const crc = crc32(json);
  const intact = withLine(kind, crc, json);
  // A bit of the first line: the rest of it says that nothing else was changed.
  const bits = differingBits(intact, stored);
  if (bits === 0) return undefined;
  if (bits === 1) return isAsWritten(intact) ? intact : undefined;
  // A bit of the JSON: the first line must be whole, and its checksum shows which bit.
  const line = LINE.exec(String.fromCharCode(...stored.subarray(0, jsonAt - 1)));
  if (line === null || line[1] !== kind || line[2] !== '1' || Number(line[4]) !== json.length) return undefined;
  const statedCrc = Number.parseInt(line[3], 16);
  const frame = new Uint8Array(json.length + CRC_BYTES);
  frame.set(json);
  writeCrc(frame, json.length, statedCrc);
  const healed = healByChecksum(frame, json.length, (work) =>
    isAsWritten(withLine(kind, statedCrc, work.subarray(0, json.length))),
  );
  if (healed?.kind !== 'bit' || healed.changes[0].offset >= json.length) return undefined;
  return withLine(kind, statedCrc, healed.stored.subarray(0, json.length));
}

function withLine(kind: string, crc: number, json: Uint8Array): Uint8Array {
  return Buffer.concat([UTF8_ENCODER.encode(firstLine(kind, 1, crc, json.length)), json]);
}

function firstLine(kind: string, version: number, crc: number, jsonBytes: number): string {
  return `shaledb/${kind} ${version} ${crc.toString(16).padStart(8, '0')} ${jsonBytes}\n`;
}

/** Where the JSON of a sidecar of version 1 begins that has so many bytes in all. */
function jsonStart(bytes: number, kind: string): number | undefined {
  for (let at = firstLine(kind, 1, 0, 0).length; at < Math.min(bytes, MAX_LINE_BYTES); at++) {
    if (firstLine(kind, 1, 0, bytes - at).length === at) return at;
  }
  return undefined;
}

function differingBits(a: Uint8Array, b: Uint8Array): number {
  let bits = 0;
  for (let i = 0; i < a.length; i++) for (let x = a[i] ^ b[i]; x !== 0; x &= x - 1) bits++;
  return bits;
}

/** `shale/identity`: written once, next to the first manifest; its presence alone says that a database exists here. */
export interface DatabaseIdentity {
  /** 16 random bytes; every seal repeats them. */
  databaseId: Uint8Array;
  createdAtMs: number;
  /** Program and version that wrote it. */
  creator: string;
  /** Whether the write-ahead log is in a store of its own; a version 2 manifest does not record it. */
  separateWalStore: boolean;
  /** Names of the encodings of keys and values, as the creation or the first opening that had any noted them; undefined in older databases. */
  encodings?: EncodingNames | undefined;
}

/** Names of encodings; `bytes` where there is none. */
export interface EncodingNames {
  readonly key: string;
  readonly value: string;
}

const IDENTITY_KIND = 'identity';
const IDENTITY_VERSION = 1;
const DATABASE_ID_BYTES = 16;

/** What `decodeIdentity` reads back, else nothing: a database whose identity cannot be read opens only after a repair. */
export function encodeIdentity(identity: DatabaseIdentity): Uint8Array {
  assertThat(
    Number.isSafeInteger(identity.createdAtMs) && identity.databaseId.length === DATABASE_ID_BYTES,
    'the identity of a database has an id of 16 bytes and a time in whole ms',
  );
  return encodeSidecar(IDENTITY_KIND, IDENTITY_VERSION, {
    databaseId: toBase64Url(identity.databaseId),
    createdAtMs: String(identity.createdAtMs),
    creator: identity.creator,
    separateWalStore: identity.separateWalStore,
    // What reads identities without it passes it over.
    ...(identity.encodings !== undefined && {
      encodings: { key: identity.encodings.key, value: identity.encodings.value },
    }),
  });
}

/** Throws like `decodeSidecar`; unknown members are ignored. */
export function decodeIdentity(bytes: Uint8Array): DatabaseIdentity {
  const { value } = decodeSidecar(bytes, IDENTITY_KIND, IDENTITY_VERSION);
  const { databaseId, createdAtMs, creator, separateWalStore, encodings } = (value ?? {}) as Record<string, unknown>;
  const id = typeof databaseId === 'string' ? fromBase64Url(databaseId) : undefined;
  const created =
    typeof createdAtMs === 'string' && /^-?[0-9]{1,16}$/.test(createdAtMs) ? Number(createdAtMs) : Number.NaN;
  if (
    id?.length !== DATABASE_ID_BYTES ||
    !Number.isSafeInteger(created) ||
    typeof creator !== 'string' ||
    typeof separateWalStore !== 'boolean' ||
    !(encodings === undefined || areEncodings(encodings))
  ) {
    const at = { unit: 'object', offset: 0, length: bytes.length } as const;
    throw damage('MALFORMED', at, 'The identity of the database is incomplete');
  }
  return {
    databaseId: id,
    createdAtMs: created,
    creator,
    separateWalStore,
    ...(encodings !== undefined && { encodings }),
  };
}

const MAX_ENCODING_NAME = 100;

function areEncodings(value: unknown): value is EncodingNames {
  if (typeof value !== 'object' || value === null) return false;
  const { key, value: of } = value as Record<string, unknown>;
  return [key, of].every((name) => typeof name === 'string' && name.length > 0 && name.length <= MAX_ENCODING_NAME);
}
