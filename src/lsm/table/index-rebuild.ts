/**
 * The index of a table made again from its blocks, in memory, where the stored one cannot be used.
 *
 * Where blocks are is known from the seal, else found by their checksums, padding between them included. Separators are the first keys of good blocks; what
 * is not good, or was cut off, becomes a block of its own between the keys of its neighbours, and is found damaged when read.
 *
 * Invariants:
 * 1. Each block has a separator, in the order of the blocks.
 */
import { assertThat } from '../../common/assert.ts';
import { compareBytes, EMPTY_BYTES } from '../../common/bytes.ts';
import { IncompatibleError, isCorruption } from '../../common/errors.ts';
import { type Block, decodeBlock } from '../../format/block.ts';
import { BlockCursor } from '../../format/block-cursor.ts';
import { type BlockPlace, placesOfLengths, walkBlocks } from '../../format/block-places.ts';
import type { BlockCodec } from '../../format/codecs.ts';
import type { UnitPlace } from '../../format/frame-search.ts';
import { unframeUnit } from '../../format/framing.ts';
import { TableIndex } from '../../format/index-block.ts';
import type { TableRef } from '../../format/manifest-types.ts';
import type { RowsRecord } from '../../format/seal-records.ts';
import type { TableInfo } from '../../format/table-info.ts';
import { dataEnd } from '../../format/table-layout.ts';

export interface RebuildOptions {
  ref: TableRef;
  codec: BlockCodec;
  /** Of the table's seal, if that could be read. */
  rows: RowsRecord | undefined;
  /** How many blocks the stats count, if they could be read. */
  blockCount: number | undefined;
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
      // Newer than this program: it is reported when the block is read.
      if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
      return undefined;
    }
  };
  const sealed = options.rows === undefined ? undefined : placesOfLengths(options.rows, end);
  const places =
    sealed ??
    walkBlocks(data, end, {
      decode: blockAt,
      mayBePadded: codec.name === 'none' && ref.formatVersion === 2,
      lastKey: ref.info.lastEntry,
      blockCount: options.rows?.blockRows.length ?? options.blockCount,
    });
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
  assertThat(separators.length === places.length, 'each block has a separator (index-rebuild 1)');
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

function indexOf(places: readonly BlockPlace[], separators: readonly Uint8Array[]): TableIndex {
  const keyStarts = new Uint32Array(places.length + 1);
  for (const [i, key] of separators.entries()) keyStarts[i + 1] = keyStarts[i] + key.length;
  const keys = new Uint8Array(keyStarts[places.length]);
  for (const [i, key] of separators.entries()) keys.set(key, keyStarts[i]);
  const offsets = Float64Array.from(places, (place) => place.start);
  const isPadded = places.some(({ end, roomEnd }) => roomEnd > end);
  const lengths = ({ start, end, roomEnd }: BlockPlace) => (roomEnd > end ? end - start : 0);
  return new TableIndex(offsets, keys, keyStarts, isPadded ? Uint32Array.from(places, lengths) : undefined);
}
