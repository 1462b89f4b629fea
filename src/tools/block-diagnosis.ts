/** What may have happened to a block that cannot be read, in words: the first step of finding out who damages objects. */
import type { Healed } from '../format/block-healing.ts';
import { crc32 } from '../format/checksum.ts';
import { loadCodec } from '../format/codecs.ts';
import type { UnitPlace } from '../format/frame-search.ts';
import { CRC_BYTES, readCrc } from '../format/framing.ts';
import { CODECS } from '../format/table-info.ts';
import { readBlock, type TableAnatomy } from '../lsm/table/table-anatomy.ts';

/** Shorter runs of zeros are common in good data. */
const ZEROS_WORTH_NAMING = 64;
/** How far a block may have been moved to be found. */
const FARTHEST_SHIFT = 64;
const MIB = 1024 * 1024;

/** Says what was repaired, if anything was. */
export function healedText(healed: Healed): string {
  const changes = healed.changes.slice(0, 8).map((c) => `byte ${c.offset}: ${hexByte(c.was)} was ${hexByte(c.is)}`);
  return `can be repaired (${healed.trust}): ${changes.join(', ')}`;
}

function hexByte(value: number): string {
  return `0x${value.toString(16).padStart(2, '0')}`;
}

/**
 * Diagnosis of a block whose checksum does not hold or that cannot be decoded, by what is likely first. `bytes` is the whole
 * object, or as much of it as there is.
 */
export async function diagnoseBlock(bytes: Uint8Array, tail: TableAnatomy, place: UnitPlace): Promise<string> {
  const stored = bytes.subarray(place.start, Math.min(place.end, bytes.length));
  if (place.end > bytes.length) return describeCut(bytes.length, stored.length, place);
  const isWhole = stored.length > CRC_BYTES && holdsCrc(bytes, place);
  if (isWhole) return (await describeWrongCodec(stored, tail)) ?? 'its checksum holds, but it is not a block of rows';
  const zeros = longestZeros(stored);
  if (zeros.length === stored.length) return 'all zeros';
  const shift = findShift(bytes, place);
  if (shift !== undefined) return `its bytes are ${Math.abs(shift)} bytes too far ${shift > 0 ? 'back' : 'forward'}`;
  if (zeros.length >= ZEROS_WORTH_NAMING) {
    return `a run of ${zeros.length} zeros from offset ${place.start + zeros.start} of the object`;
  }
  return 'damage too wide to be repaired';
}

function describeCut(size: number, left: number, place: UnitPlace): string {
  const of = `${left} of ${place.end - place.start} bytes are left`;
  const part = [5 * MIB, 8 * MIB].find((p) => size > 0 && size % p === 0);
  return part === undefined
    ? `cut: ${of}`
    : `cut: ${of}; the object ends at a multiple of ${part / MIB} MiB, where a part of an upload may be missing`;
}

function holdsCrc(bytes: Uint8Array, { start, end }: UnitPlace): boolean {
  return crc32(bytes, start, end - CRC_BYTES) === readCrc(bytes, end - CRC_BYTES);
}

async function describeWrongCodec(stored: Uint8Array, tail: TableAnatomy): Promise<string | undefined> {
  for (const name of CODECS) {
    if (name === tail.codec.name) continue;
    const codec = await loadCodec(name).catch(() => undefined);
    if (codec === undefined || readBlock(stored, codec, tail.formatVersion) instanceof Error) continue;
    return `wrong codec: it is ${name}, the table says ${tail.codec.name}`;
  }
  return undefined;
}

function longestZeros(bytes: Uint8Array): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (let i = 0; i <= bytes.length; i++) {
    if (bytes[i] === 0) continue;
    if (i - start > best.length) best = { start, length: i - start };
    start = i + 1;
  }
  return best;
}

/** Bytes by which the whole block was moved; positive: towards the end. */
function findShift(bytes: Uint8Array, { start, end }: UnitPlace): number | undefined {
  for (let by = 1; by <= FARTHEST_SHIFT; by++) {
    for (const shift of [by, -by]) {
      if (start + shift < 0 || end + shift > bytes.length) continue;
      if (holdsCrc(bytes, { start: start + shift, end: end + shift })) return shift;
    }
  }
  return undefined;
}
