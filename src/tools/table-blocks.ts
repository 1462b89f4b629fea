/**
 * The blocks of one table, each checked for itself: good, repaired, or bad with what it may have held.
 *
 * A repaired block is never taken for a good one: it carries how far it may be trusted. Bounds and proofs come from the parts of
 * the tail that were verified, and never from the seal of another table.
 */
import { assertThat, present } from '../common/assert.ts';
import { compareBytes, describeBytes, EMPTY_BYTES, toHex } from '../common/bytes.ts';
import { damage, locateFindings, unknownFinding } from '../common/damage.ts';
import { CorruptionError, IncompatibleError } from '../common/errors.ts';
import { type Finding, makeFinding } from '../common/finding.ts';
import type { KeyRange } from '../common/key-range.ts';
import { type Block, MAX_BLOCK_BYTES } from '../format/block.ts';
import { type BlockBounds, blockFits, type Healed, healBlock } from '../format/block-healing.ts';
import { type BlockPlace, firstNonZero } from '../format/block-places.ts';
import { type BlockProof, blockProof, hasChecks } from '../format/block-proof.ts';
import { lengthBeforeZeros, type UnitPlace } from '../format/frame-search.ts';
import { CRC_BYTES } from '../format/framing.ts';
import { wrongLength } from '../format/table-layout.ts';
import { readBlock, type TableAnatomy, tableRepairHint, tableWords } from '../lsm/table/table-anatomy.ts';
import { countChecks, edgeKeys } from './row-audit.ts';

export interface ExaminedBlock {
  index: number;
  /** Where its own checksum says that it ends, if the index is wrong about that. */
  place: BlockPlace;
  /** As stored, or as repaired. */
  block: Block | undefined;
  /** The stored bytes, repaired if they could be; shorter than the place in an object that was cut. */
  stored: Uint8Array;
  /** `good` as stored, `verified` and `probable` as repaired, `verified` also where only the index is wrong about its end; else `bad`. */
  trust: 'good' | 'verified' | 'probable' | 'bad';
  healed: Healed | undefined;
  error: Error | undefined;
  proof: BlockProof | undefined;
  bounds: BlockBounds;
}

/** The rows of a block that is not `bad`. */
export function readableBlock({ block, trust }: ExaminedBlock): Block {
  assertThat(trust !== 'bad', 'rows are taken from blocks that can be read');
  return present(block, 'a block that is not bad has rows');
}

/** What the seal proves about block `i`; nothing if its list of blocks does not fit the place. */
function proofOf(tail: TableAnatomy, i: number, place: UnitPlace): BlockProof | undefined {
  const record = tail.isForeign ? undefined : tail.seal?.rows;
  const proof = record === undefined || tail.formatVersion !== 2 ? undefined : blockProof(record, i);
  return proof?.storedBytes === place.end - place.start ? proof : undefined;
}

function boundsOf(tail: TableAnatomy, i: number): BlockBounds {
  const { index, info, seal, isForeign, stats } = tail;
  const hasEntry = index !== undefined && i < index.blockCount;
  const separator = i === 0 ? info?.firstEntry : hasEntry ? index.firstKey(i) : undefined;
  const isLast = index !== undefined && i + 1 === index.blockCount;
  const nextSeparator = isLast ? info?.lastEntry : hasEntry ? index.firstKey(i + 1) : undefined;
  const lineage = isForeign ? undefined : seal?.lineage;
  const counts = stats?.blocks?.[i];
  const rowCount = seal?.rows?.blockRows[i] ?? (counts && counts[0] + counts[1] + counts[2]);
  return {
    order: 'keys',
    ...(separator !== undefined && { separator }),
    ...(nextSeparator !== undefined && { nextSeparator }),
    ...(lineage !== undefined && { minSeq: lineage.minSeq, maxSeq: lineage.maxSeq }),
    ...(rowCount !== undefined && rowCount > 0 && { rowCount }),
  };
}

/**
 * Checks one block.
 * @param room the bytes of its room, padding included; fewer in an object that was cut
 */
export function examineBlock(room: Uint8Array, index: number, place: BlockPlace, tail: TableAnatomy): ExaminedBlock {
  const stored = room.subarray(0, place.end - place.start);
  const base = { index, place, stored, healed: undefined, proof: undefined, bounds: {} };
  if (place.isUnknown) {
    const at = { unit: 'block' as const, offset: 0, length: place.end - place.start };
    const error = damage('BAD_CHECKSUM', at, 'no block can be found in this stretch');
    return { ...base, block: undefined, trust: 'bad', error };
  }
  const { codec, formatVersion } = tail;
  const proof = proofOf(tail, index, place);
  const bounds = boundsOf(tail, index);
  const length = place.end - place.start;
  if (stored.length < length) {
    const at = { unit: 'block' as const, offset: 0, length };
    const more = { expected: `${length} bytes`, found: `${stored.length} bytes` };
    const error = damage('TRUNCATED', at, 'the object ends inside this block', more);
    return { ...base, proof, bounds, block: undefined, trust: 'bad', error };
  }
  const read = readBlock(stored, codec, formatVersion);
  if (!(read instanceof Error)) {
    const displaced = displacedError(read, proof, bounds, length);
    const isGood = displaced === undefined;
    return {
      ...base,
      proof,
      bounds,
      block: isGood ? read : undefined,
      trust: isGood ? 'good' : 'bad',
      error: displaced,
    };
  }
  const whole = wholeInRoom(room, index, place, tail);
  if (whole !== undefined) return whole;
  const healed = healBlock(stored, {
    codec,
    formatVersion,
    maxBytes: MAX_BLOCK_BYTES,
    ...(proof !== undefined && { proof }),
    bounds,
  });
  const repaired = healed === undefined ? undefined : readBlock(healed.stored, codec, formatVersion);
  if (healed === undefined || repaired === undefined || repaired instanceof Error) {
    return { ...base, proof, bounds, block: undefined, trust: 'bad', error: read };
  }
  const trust = healed.trust === 'proven' ? 'verified' : 'probable';
  return { ...base, proof, bounds, block: repaired, stored: healed.stored, trust, healed, error: read };
}

/**
 * A block that is sound, but ends elsewhere in its room than the index says. Then nothing but zeros follows it: what else is there
 * may belong to it, and is not explained away.
 */
function wholeInRoom(
  room: Uint8Array,
  index: number,
  place: BlockPlace,
  tail: TableAnatomy,
): ExaminedBlock | undefined {
  const { start, end, roomEnd } = place;
  const length = room.length < roomEnd - start ? undefined : lengthBeforeZeros(room);
  if (length === undefined || length === end - start || tail.info === undefined) return undefined;
  const own = { start, end: start + length, roomEnd };
  const examined = examineBlock(room, index, own, tail);
  if (examined.trust !== 'good') return undefined;
  return { ...examined, trust: 'verified', error: wrongLength(tail.info, index, end - start, length) };
}

/**
 * A note where the padding after a block holds anything but zeros: no checksum covers it and nothing reads it, so no row is
 * concerned; undefined where there is nothing to say. Bytes that are not there are not checked.
 * @param room as for `examineBlock`
 */
export function paddingNote(
  room: Uint8Array,
  { index, place }: ExaminedBlock,
  tail: TableAnatomy,
): Finding | undefined {
  const padding = room.subarray(place.end - place.start);
  const first = place.isUnknown ? undefined : firstNonZero(padding, 0, padding.length);
  if (first === undefined) return undefined;
  let end = padding.length;
  while (padding[end - 1] === 0) end--;
  const { object, during } = tail;
  const what = `Padding after block ${index} of ${tableWords(object.id)} holds other bytes than zeros. No row is concerned: padding is never read.`;
  return makeFinding({
    code: 'MALFORMED',
    severity: 'note',
    object,
    at: { unit: 'block', index, offset: place.end + first, length: end - first },
    expected: 'zeros',
    found: `${toHex(padding.subarray(first, Math.min(end, first + MOST_SHOWN_BYTES)))}`,
    origin: 'at-rest',
    during,
    hint: tableRepairHint(object.id, what, 'none'),
  });
}

const MOST_SHOWN_BYTES = 8;

/** The error of a block whose checksum holds, but which does not belong in this place. */
function displacedError(block: Block, proof: BlockProof | undefined, bounds: BlockBounds, length: number) {
  const at = { unit: 'block' as const, offset: 0, length };
  if (proof !== undefined && hasChecks(proof)) {
    if (countChecks(block, proof).bad === 0) return undefined;
    return damage('BAD_CHECKSUM', at, 'the row checks of the seal do not hold although the checksum does');
  }
  // Counts of the stats are no bound: they may be what is wrong.
  const { rowCount: _, ...ranges } = bounds;
  if (blockFits(block, ranges)) return undefined;
  const { first, last } = edgeKeys(block);
  return damage('OUT_OF_ORDER', at, 'its rows do not belong in this place', {
    expected: `keys from ${describeBytes(bounds.separator ?? EMPTY_BYTES)} on, in order`,
    found: `${describeBytes(first)} to ${describeBytes(last)}`,
  });
}

/** The same kind of block, with what neighbouring blocks say about its keys where the index does not. */
export function keysOf(blocks: readonly ExaminedBlock[], i: number, tail: TableAnatomy): KeyRange {
  const { separator, nextSeparator } = blocks[i].bounds;
  let gte = separator ?? tail.info?.firstEntry ?? EMPTY_BYTES;
  let lte = nextSeparator ?? tail.info?.lastEntry;
  if (separator === undefined) {
    for (let k = i - 1; k >= 0; k--) {
      const { block } = blocks[k];
      if (block === undefined) continue;
      gte = greaterKey(gte, edgeKeys(block).last);
      break;
    }
  }
  if (nextSeparator === undefined) {
    for (let k = i + 1; k < blocks.length; k++) {
      const { block } = blocks[k];
      if (block === undefined) continue;
      const { first } = edgeKeys(block);
      lte = lte === undefined || compareBytes(first, lte) < 0 ? first : lte;
      break;
    }
  }
  return { gte, lte };
}

function greaterKey(a: Uint8Array, b: Uint8Array): Uint8Array {
  return compareBytes(a, b) < 0 ? b : a;
}

/** The finding for a block that is not good. */
export function blockFinding(b: ExaminedBlock, keys: KeyRange, tail: TableAnatomy): Finding {
  const { object, during } = tail;
  if (b.error instanceof IncompatibleError && b.trust === 'bad') {
    const at = { unit: 'block' as const, index: b.index, offset: b.place.start, length: b.place.end - b.place.start };
    return { ...unknownFinding(b.error, { object, during, at }), affects: { keys } };
  }
  const error =
    b.error instanceof CorruptionError
      ? b.error
      : damage('MALFORMED', { unit: 'block', offset: 0, length: 0 }, b.error?.message ?? 'the block cannot be read');
  const rows = b.proof?.rowCount ?? b.bounds.rowCount;
  const canSalvage = b.proof !== undefined && b.proof.rowsPerCheck > 0 && tail.codec.name === 'none';
  const remedy =
    b.trust === 'verified'
      ? 'heals'
      : b.trust === 'probable'
        ? 'heals-probably'
        : canSalvage && b.stored.length > CRC_BYTES
          ? 'salvages'
          : 'none';
  const loss = remedy === 'heals' ? 'none' : remedy === 'heals-probably' ? 'none' : 'possible';
  // The index is wrong about where it ends, not the block.
  const isOfIndex = error.findings[0]?.at.unit === 'index';
  const [found] = locateFindings(error, {
    object,
    during,
    offset: isOfIndex ? 0 : b.place.start,
    index: b.index,
    affects: { keys, ...(rows !== undefined && { rows }) },
    reads: { attempts: 2, identical: true, pastCaches: true },
  });
  const what = `Block ${b.index} of ${tableWords(object.id)}: ${error.message}`;
  return {
    ...found,
    ...(!isOfIndex && {
      at: { unit: 'block', index: b.index, offset: b.place.start, length: b.place.end - b.place.start },
    }),
    origin: 'at-rest',
    remedy,
    hint: tableRepairHint(object.id, what, loss),
  };
}
