/**
 * The index of a table made again from its blocks, in memory, where the stored one cannot be used.
 *
 * Where blocks begin is known from the seal, else found by their checksums. Separators are the first keys of good blocks; what
 * is not good, or was cut off, becomes a block of its own between the keys of its neighbours, and is found damaged when read.
 */
import { compareBytes, EMPTY_BYTES } from '../common/bytes.ts';
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import { type Block, decodeBlock } from '../format/block.ts';
import { BlockCursor } from '../format/block-cursor.ts';
import type { BlockCodec } from '../format/codecs.ts';
import { type UnitPlace, walkUnits } from '../format/frame-search.ts';
import { unframeUnit } from '../format/framing.ts';
import { TableIndex } from '../format/index-block.ts';
import type { TableRef } from '../format/manifest-types.ts';
import type { RowsRecord } from '../format/seal-records.ts';
import type { TableInfo } from '../format/table-info.ts';
import { dataEnd } from '../format/table-layout.ts';

export interface RebuildOptions {
  ref: TableRef;
  codec: BlockCodec;
  /** Of the table's seal, if that could be read. */
  rows: RowsRecord | undefined;
  maxBytes: number;
}

export interface RebuiltIndex {
  index: TableIndex;
  /** Blocks that could not be read; they are in the index. */
  badBlocks: number;
  /** Whether the blocks begin where they do in the stored index; else some were found to be one. */
  isCertain: boolean;
}

/** @param data the object's bytes from 0 to the end of the data blocks; fewer if it was cut */
export function rebuildIndex(data: Uint8Array, options: RebuildOptions): RebuiltIndex {
  const { ref, codec, maxBytes } = options;
  const end = dataEnd(ref.info);
  const blockAt = ({ start, end }: UnitPlace): Block | undefined => {
    try {
      const payload = unframeUnit(data.subarray(start, end), codec, 'block', maxBytes);
      const block = decodeBlock(payload, ref.formatVersion);
      return isWithin(block, ref.info) ? block : undefined;
    } catch (error) {
      // Newer than this program: it is told when the block is read.
      if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
      return undefined;
    }
  };
  const sealed = sealedPlaces(options.rows, end);
  const places = sealed ?? walkedPlaces(data, end, (place) => blockAt(place) !== undefined);
  const separators: Uint8Array[] = [];
  const rows = new BlockCursor();
  let lastKey = ref.info.firstEntry ?? EMPTY_BYTES;
  let badBlocks = 0;
  for (const place of places) {
    const block = blockAt(place);
    if (block === undefined) {
      separators.push(lastKey);
      badBlocks++;
      continue;
    }
    rows.attach(block);
    rows.first();
    separators.push(rows.key.slice(0, rows.keyLength));
    rows.last();
    lastKey = rows.key.slice(0, rows.keyLength);
  }
  const isCertain = sealed !== undefined || badBlocks === 0;
  return { index: indexOf(places, separators), badBlocks, isCertain };
}

/** Whether the keys are such as the manifest says the table has. */
function isWithin(block: Block, { firstEntry, lastEntry }: TableInfo): boolean {
  const rows = new BlockCursor();
  rows.attach(block);
  rows.first();
  if (firstEntry !== undefined && compareBytes(rows.key.subarray(0, rows.keyLength), firstEntry) < 0) return false;
  rows.last();
  return lastEntry === undefined || compareBytes(rows.key.subarray(0, rows.keyLength), lastEntry) <= 0;
}

/** Places that the seal knows; undefined where there is no such record, or it does not fill the data. */
function sealedPlaces(rows: RowsRecord | undefined, end: number): UnitPlace[] | undefined {
  if (rows === undefined) return undefined;
  const places: UnitPlace[] = [];
  let start = 0;
  for (let i = 0; i < rows.blockStoredBytes.length; i++) {
    places.push({ start, end: start + rows.blockStoredBytes[i] });
    start += rows.blockStoredBytes[i];
  }
  return start === end ? places : undefined;
}

function walkedPlaces(data: Uint8Array, end: number, fits: (place: UnitPlace) => boolean): UnitPlace[] {
  const isCut = data.length < end;
  const { before, unknown, after } = walkUnits(data, 0, Math.min(data.length, end), fits, isCut);
  const places = unknown === undefined ? [...before, ...after] : [...before, unknown, ...after];
  // What was cut off belongs to the last place that is not good.
  if (isCut) places.push({ start: unknown === undefined ? data.length : (places.pop() as UnitPlace).start, end });
  return places;
}

function indexOf(places: readonly UnitPlace[], separators: readonly Uint8Array[]): TableIndex {
  const keyStarts = new Uint32Array(places.length + 1);
  for (const [i, key] of separators.entries()) keyStarts[i + 1] = keyStarts[i] + key.length;
  const keys = new Uint8Array(keyStarts[places.length]);
  for (const [i, key] of separators.entries()) keys.set(key, keyStarts[i]);
  const offsets = Float64Array.from(places, (place) => place.start);
  return new TableIndex(offsets, keys, keyStarts);
}
