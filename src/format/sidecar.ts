/**
 * Sidecars: small objects of ours below `shale/`, which SlateDB neither reads nor collects. One line
 * `shaledb/<kind> <version> <crc32 of the rest, hex> <length of the rest>`, then JSON; 64-bit numbers in the JSON are decimal
 * strings, bytes base64url.
 *
 * The checksum of version 1 covers the JSON, that of every later version its number and then the JSON: so a changed number is
 * not taken for a newer program's object, nor a newer one's for version 1.
 */
import { fromBase64Url, toBase64Url } from '../common/bytes.ts';
import { crcText, damage, IncompatibleError } from '../common/errors.ts';
import { crc32 } from './checksum.ts';

const NEWLINE = 0x0a;
/** More than any first line has. */
const MAX_LINE_BYTES = 256;
const LINE = /^shaledb\/([a-z-]+) ([0-9]{1,9}) ([0-9a-f]{8}) ([0-9]{1,15})$/;
const ENCODER = new TextEncoder();
const STRICT_UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The bytes of a sidecar. `value` must be plain JSON data. */
export function encodeSidecar(kind: string, version: number, value: unknown): Uint8Array {
  const json = ENCODER.encode(JSON.stringify(value));
  const crc = checksumOf(String(version), json).toString(16).padStart(8, '0');
  const line = ENCODER.encode(`shaledb/${kind} ${version} ${crc} ${json.length}\n`);
  const out = new Uint8Array(line.length + json.length);
  out.set(line);
  out.set(json, line.length);
  return out;
}

function checksumOf(version: string, json: Uint8Array): number {
  return version === '1' ? crc32(json) : crc32(Buffer.concat([ENCODER.encode(version), json]));
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

/** `shale/identity`: written once, next to the first manifest; its presence alone says that a database exists here. */
export interface DatabaseIdentity {
  /** 16 random bytes; every seal repeats them. */
  databaseId: Uint8Array;
  createdAtMs: number;
  /** Program and version that wrote it. */
  creator: string;
  /** Whether the write-ahead log lies in a store of its own; a version 2 manifest does not say it. */
  separateWalStore: boolean;
}

const IDENTITY_KIND = 'identity';
const IDENTITY_VERSION = 1;
const DATABASE_ID_BYTES = 16;

export function encodeIdentity(identity: DatabaseIdentity): Uint8Array {
  return encodeSidecar(IDENTITY_KIND, IDENTITY_VERSION, {
    databaseId: toBase64Url(identity.databaseId),
    createdAtMs: String(identity.createdAtMs),
    creator: identity.creator,
    separateWalStore: identity.separateWalStore,
  });
}

/** Throws like `decodeSidecar`; unknown members are ignored. */
export function decodeIdentity(bytes: Uint8Array): DatabaseIdentity {
  const { value } = decodeSidecar(bytes, IDENTITY_KIND, IDENTITY_VERSION);
  const { databaseId, createdAtMs, creator, separateWalStore } = (value ?? {}) as Record<string, unknown>;
  const id = typeof databaseId === 'string' ? fromBase64Url(databaseId) : undefined;
  const created =
    typeof createdAtMs === 'string' && /^-?[0-9]{1,16}$/.test(createdAtMs) ? Number(createdAtMs) : Number.NaN;
  if (
    id?.length !== DATABASE_ID_BYTES ||
    !Number.isSafeInteger(created) ||
    typeof creator !== 'string' ||
    typeof separateWalStore !== 'boolean'
  ) {
    const at = { unit: 'object', offset: 0, length: bytes.length } as const;
    throw damage('MALFORMED', at, 'The identity of the database is incomplete');
  }
  return { databaseId: id, createdAtMs: created, creator, separateWalStore };
}
