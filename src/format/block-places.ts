/**
 * Where the data blocks of a table are, by whatever is left of it: the index, else the lengths in the seal, else the blocks' own
 * checksums. Each place has a room, which ends where the next block begins; what the block leaves of it is padding
 * (`table-layout.ts`).
 *
 * The unit to which SlateDB 0.18 aligns blocks is stored nowhere. What follows from the rules of its writer, and no more, is used:
 * 1. one table has one unit B, and blocks begin at multiples of B;
 * 2. a block of several rows fits into one unit, checksum included, so its room is exactly B;
 * 3. padding is shorter than B;
 * 4. only uncompressed blocks of version 2 are padded, and such a block begins with exactly one zero byte: the first row shares no
 *    prefix, and keys are not empty.
 *
 * Invariant: places ascend, and the first begins at 0; between them there is nothing but the padding that they name.
 */
import { compareBytes } from '../common/bytes.ts';
import type { Block } from './block.ts';
import { BlockCursor } from './block-cursor.ts';
import { type UnitPlace, walkUnits } from './frame-search.ts';
import type { TableIndex } from './index-block.ts';
import type { TableInfo } from './table-info.ts';
import { blockEnd, roomEnd } from './table-layout.ts';

/** The block size of SlateDB is at most 64 KiB. */
const MAX_UNIT_BYTES = 65_536;

export interface BlockPlace extends UnitPlace {
  /** Where the room of the block ends; zeros up to there if it is sound. */
  roomEnd: number;
  /** A stretch in which the blocks could not be separated. */
  isUnknown?: true;
}

/** By the index, whose layout was checked. */
export function placesOfIndex(info: TableInfo, index: TableIndex): BlockPlace[] {
  return Array.from({ length: index.blockCount }, (_, i) => ({
    start: index.offset(i),
    end: blockEnd(info, index, i),
    roomEnd: roomEnd(info, index, i),
  }));
}

/** What a seal records about the blocks: stored bytes with checksum, without padding, and rows of each. */
export interface BlockLengths {
  blockStoredBytes: ArrayLike<number>;
  blockRows: ArrayLike<number>;
}

/**
 * By stored lengths, of a table whose data end at `end`; undefined where they do not fill it. A seal does not say where blocks
 * begin: without padding one follows the other, else every unit is tried with which the last block's room ends at `end`. If
 * several fit, they must agree on all places: nothing says which one is right.
 */
export function placesOfLengths({ blockStoredBytes, blockRows }: BlockLengths, end: number): BlockPlace[] | undefined {
  const lengths = Array.from(blockStoredBytes);
  const stored = lengths.reduce((sum, length) => sum + length, 0);
  if (stored === end) return stacked(lengths, 1);
  if (stored > end) return undefined;
  const least = lengths.reduce((most, length, i) => (blockRows[i] > 1 ? Math.max(most, length) : most), 1);
  let found: BlockPlace[] | undefined;
  for (let unit = least; unit <= Math.min(end, MAX_UNIT_BYTES); unit++) {
    if (end % unit !== 0 || lengths.reduce((sum, length) => sum + roundUp(length, unit), 0) !== end) continue;
    const places = stacked(lengths, unit);
    if (found?.some((place, i) => place.start !== places[i].start)) return undefined;
    found ??= places;
  }
  return found;
}

/** Blocks one after the other, each in as many units as it needs. */
function stacked(lengths: readonly number[], unit: number): BlockPlace[] {
  let start = 0;
  return lengths.map((length) => {
    const place = { start, end: start + length, roomEnd: start + roundUp(length, unit) };
    start = place.roomEnd;
    return place;
  });
}

function roundUp(n: number, unit: number): number {
  return Math.ceil(n / unit) * unit;
}

/**
 * The unit of a table with these blocks, whose rooms are known; undefined where none is padded, or where no unit explains what is
 * there. A block of several rows shows it (rule 2). Where each block has one row, it is the smallest unit that gives the same
 * rooms: with it a writer cuts these rows as they are cut, because rows that did not fit into one block of B bytes do not fit into
 * a smaller one either.
 */
export function unitOf(blocks: readonly (BlockPlace & { rowCount: number | undefined })[]): number | undefined {
  let rooms = 0;
  let mostPadding = 0;
  let unit = Number.POSITIVE_INFINITY;
  for (const { start, end, roomEnd: stop, rowCount } of blocks) {
    rooms = greatestDivisor(rooms, stop - start);
    mostPadding = Math.max(mostPadding, stop - end);
    if (rowCount !== undefined && rowCount > 1) unit = Math.min(unit, stop - start);
  }
  if (mostPadding === 0) return undefined;
  if (unit < Number.POSITIVE_INFINITY) return unit <= MAX_UNIT_BYTES ? unit : undefined;
  for (unit = mostPadding + 1; unit <= Math.min(rooms, MAX_UNIT_BYTES); unit++) if (rooms % unit === 0) return unit;
  return undefined;
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

export interface BlockWalk {
  /** The block that the bytes of a place are, if they are one. */
  decode(place: UnitPlace): Block | undefined;
  /** Whether these blocks may be padded (rule 4). */
  mayBePadded: boolean;
  /** The last key of the table, if it is known. */
  lastKey: Uint8Array | undefined;
  /** How many blocks the table has, if that is known. */
  blockCount: number | undefined;
}

type FoundBlock = UnitPlace & { block: Block };

/**
 * By checksums alone. What is not a good block becomes an unknown place; so do zeros of which nothing proves that they are padding,
 * because a block that was overwritten with zeros looks the same.
 * @param bytes from the start of the object
 * @param end where the data end; undefined if it is not known: then the places end with the last block that was found
 */
export function walkBlocks(bytes: Uint8Array, end: number | undefined, walk: BlockWalk): BlockPlace[] {
  const limit = Math.min(end ?? bytes.length, bytes.length);
  const isCut = end === undefined || end > bytes.length;
  const fits = (place: UnitPlace) => walk.decode(place) !== undefined;
  const { before, after } = walkUnits(bytes, 0, limit, fits, isCut, walk.mayBePadded);
  const found = [...before, ...after].map((place): FoundBlock => ({ ...place, block: walk.decode(place) as Block }));
  const stop = end ?? found.at(-1)?.end ?? 0;
  const paddedEnd = paddingCheck(bytes, found, end, walk);
  const places: BlockPlace[] = [];
  const first = found[0]?.start ?? stop;
  if (first > 0) places.push({ start: 0, end: first, roomEnd: first, isUnknown: true });
  for (const [i, place] of found.entries()) {
    const next = found[i + 1]?.start ?? stop;
    const room = paddedEnd(i) ?? place.end;
    places.push({ start: place.start, end: place.end, roomEnd: room });
    if (room < next) places.push({ start: room, end: next, roomEnd: next, isUnknown: true });
  }
  return places;
}

/**
 * Zeros after a block are padding, or a block that was overwritten with zeros: what decides is whether one unit explains all of
 * them, whether the last block ends with the last key of the table, and whether there are as many blocks as there should be.
 * Gives a function that says where the padding after block `i` ends; undefined: nothing proves that there is any.
 */
function paddingCheck(bytes: Uint8Array, found: readonly FoundBlock[], end: number | undefined, walk: BlockWalk) {
  const last = found.length - 1;
  const rooms = found.map(({ start, end: own, block }, i) => {
    const next = found[i + 1]?.start ?? end ?? own;
    const isZero = firstNonZero(bytes, own, Math.min(next, bytes.length)) === undefined;
    return { start, end: own, roomEnd: next, rowCount: block.rowCount, isZero };
  });
  const isCut = end === undefined || end > bytes.length;
  const unit = walk.mayBePadded ? unitOf(rooms.filter(({ isZero }, i) => isZero && (i < last || !isCut))) : undefined;
  /** Without regard to how many blocks there should be. */
  const paddedEnd = (i: number): number | undefined => {
    const { end: own, roomEnd: next, isZero, start } = rooms[i];
    const stop = unit === undefined ? own : roundUp(own, unit);
    if (stop > next || start % (unit ?? 1) !== 0) return undefined;
    // What is left is a room of its own, damaged or overwritten with zeros.
    if (!isZero) return firstNonZero(bytes, own, Math.min(stop, bytes.length)) === undefined ? stop : undefined;
    if (stop < next || i < last) return stop;
    return stop === own || isLastKey(found[i].block, walk.lastKey) ? stop : undefined;
  };
  const hasStretch =
    isCut || (rooms[0]?.start ?? end ?? 0) > 0 || rooms.some(({ roomEnd: next }, i) => paddedEnd(i) !== next);
  const isComplete = walk.blockCount === undefined || walk.blockCount === found.length;
  return (i: number): number | undefined => (isComplete || hasStretch ? paddedEnd(i) : undefined);
}

function isLastKey(block: Block, lastKey: Uint8Array | undefined): boolean {
  if (lastKey === undefined) return false;
  const rows = new BlockCursor();
  rows.attach(block);
  rows.last();
  return compareBytes(rows.key.subarray(0, rows.keyLength), lastKey) === 0;
}

/** Offset of the first byte of `[from, to)` that is not zero. */
export function firstNonZero(bytes: Uint8Array, from: number, to: number): number | undefined {
  for (let p = from; p < to; p++) if (bytes[p] !== 0) return p;
  return undefined;
}
