/**
 * The frame around every unit of a table but the info block, which is not compressed: payload, then CRC-32 of what is stored.
 *
 * ```
 * stored unit   compressed payload | u32 BE CRC-32/IEEE of the bytes before it
 * length        every length and every distance of offsets in index and info includes the 4 bytes
 * ```
 *
 * The checksum covers the stored bytes, so it is verified before anything is decompressed: a decompressor only ever sees
 * bytes that a writer wrote.
 *
 * The filter of a table of SlateDB 0.12.1, without compression:
 *
 * ```example slatedb-0.12.1/tiny db/compacted/01M7W60ETH9EVAJJ6RDPRXZ6HN.sst 94
 * 00 06 95 7d 30 18           payload=0006957d3018
 * 24 1f 10 33                 crc=0x241f1033
 * ```
 *
 * SlateDB can transform a unit between compression and checksum (its block transformer, for encryption). Nothing in a file says so,
 * and this program has no transformers: such a unit has a checksum that holds and does not decompress or decode, which is damage.
 */
import type { Steps } from '../common/async.ts';
import { crcText, damage } from '../common/damage.ts';
import { CorruptionError, isCorruption } from '../common/errors.ts';
import type { FindingPlace } from '../common/finding.ts';
import { crc32 } from './checksum.ts';
import type { BlockCodec } from './codecs.ts';

/** Every stored length includes them. */
export const CRC_BYTES = 4;

/** Compresses a payload and appends its checksum. */
export function frameUnit(payload: Uint8Array, codec: BlockCodec): Uint8Array {
  const body = codec.compress(payload);
  const stored = new Uint8Array(body.length + CRC_BYTES);
  stored.set(body, 0);
  writeCrc(stored, body.length, crc32(body));
  return stored;
}

/** Writes a checksum, u32 BE. */
export function writeCrc(target: Uint8Array, at: number, crc: number): void {
  target[at] = crc >>> 24;
  target[at + 1] = crc >>> 16;
  target[at + 2] = crc >>> 8;
  target[at + 3] = crc;
}

/** Reads a checksum, u32 BE, unsigned. */
export function readCrc(source: Uint8Array, at: number): number {
  return ((source[at] << 24) | (source[at + 1] << 16) | (source[at + 2] << 8) | source[at + 3]) >>> 0;
}

/**
 * The bytes before the checksum, verified. They share memory with `stored`.
 * @throws CorruptionError TRUNCATED or BAD_CHECKSUM
 */
export function verifyCrc(stored: Uint8Array, unit: FindingPlace['unit']): Uint8Array {
  const bodyBytes = stored.length - CRC_BYTES;
  if (bodyBytes < 0) {
    throw damage('TRUNCATED', place(stored, unit), `The ${unit} is shorter than its checksum.`, {
      expected: `at least ${CRC_BYTES} bytes`,
      found: `${stored.length} bytes`,
    });
  }
  // A plain view also when a Buffer came in: hot loops then meet one kind of object only.
  const body = new Uint8Array(stored.buffer, stored.byteOffset, bodyBytes);
  const expected = readCrc(stored, bodyBytes);
  const found = crc32(body);
  if (found !== expected) {
    throw damage('BAD_CHECKSUM', place(stored, unit), `The checksum of the ${unit} does not hold.`, {
      expected: crcText(expected),
      found: crcText(found),
    });
  }
  return body;
}

/**
 * Verifies the checksum of a stored unit and decompresses it; without compression the result shares memory with `stored`.
 * @param limitBytes most bytes the payload may have when it is compressed
 * @throws CorruptionError TRUNCATED, BAD_CHECKSUM or DECOMPRESS_FAILED
 */
export function unframeUnit(
  stored: Uint8Array,
  codec: BlockCodec,
  unit: FindingPlace['unit'],
  limitBytes: number,
): Uint8Array {
  const body = verifyCrc(stored, unit);
  if (codec.name === 'none') return body;
  try {
    return codec.decompress(body, limitBytes);
  } catch (error) {
    if (!isCorruption(error)) throw error;
    throw damage('DECOMPRESS_FAILED', place(stored, unit), `The ${unit} does not decompress: ${error.message}`);
  }
}

/**
 * Verifies, decompresses and decodes a stored unit. Damage is placed in bytes of the stored unit: what `decode` finds in a
 * payload that was compressed has no place there but the whole unit.
 * @throws CorruptionError what `unframeUnit` and `decode` throw
 */
export function decodeUnit<T>(
  stored: Uint8Array,
  codec: BlockCodec,
  unit: FindingPlace['unit'],
  limitBytes: number,
  decode: (payload: Uint8Array) => T,
): T {
  const payload = unframeUnit(stored, codec, unit, limitBytes);
  try {
    return decode(payload);
  } catch (error) {
    throw placed(error, stored, codec);
  }
}

/** `decodeUnit` in steps. */
export function* decodeUnitSteps<T>(
  stored: Uint8Array,
  codec: BlockCodec,
  unit: FindingPlace['unit'],
  limitBytes: number,
  decode: (payload: Uint8Array) => Steps<T>,
): Steps<T> {
  const payload = unframeUnit(stored, codec, unit, limitBytes);
  yield;
  try {
    return yield* decode(payload);
  } catch (error) {
    throw placed(error, stored, codec);
  }
}

/** Damage found in what was decompressed is somewhere in the unit. */
function placed(error: unknown, stored: Uint8Array, codec: BlockCodec): unknown {
  if (codec.name === 'none' || !isCorruption(error)) return error;
  const findings = error.findings.map((f) => ({ ...f, at: { ...f.at, offset: 0, length: stored.length } }));
  return new CorruptionError(error.message, findings);
}

/** The unit as a whole: where in it the damage is, a checksum does not say. */
function place(stored: Uint8Array, unit: FindingPlace['unit']): FindingPlace {
  return { unit, offset: 0, length: stored.length };
}
