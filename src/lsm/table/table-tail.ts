/**
 * Everything of a table behind its data blocks, decoded at once: filter, index, stats, seal, info block and footer.
 *
 * Invariants: damage to one part never takes another with it, it is collected in `damages`; only an object that is not the
 * one the manifest names is refused whole. Offsets come from the manifest's copy of the info block.
 */
import { CorruptionError, damage, IncompatibleError, isCorruption } from '../../common/errors.ts';
import { ulidFromBytes } from '../../common/ulid.ts';
import { type BlockCodec, NO_CODEC } from '../../format/codecs.ts';
import { type BloomFilter, decodeFilter } from '../../format/filter.ts';
import { decodeUnit, unframeUnit } from '../../format/framing.ts';
import { decodeIndex, type TableIndex } from '../../format/index-block.ts';
import { decodeInfo } from '../../format/info-block.ts';
import type { TableRef } from '../../format/manifest-types.ts';
import { decodeSeal, type Seal } from '../../format/seal.ts';
import { decodeStats, type TableStats } from '../../format/stats-block.ts';
import { isSameTable, type TableInfo } from '../../format/table-info.ts';
import {
  checkIndexLayout,
  checkLayout,
  decodeFooter,
  FOOTER_BYTES,
  type Footer,
  sealRange,
} from '../../format/table-layout.ts';

export interface TableTail {
  /** From the object itself where that is intact, else the manifest's copy. */
  info: TableInfo;
  /** Undefined: damaged or cut off. */
  index: TableIndex | undefined;
  filter: BloomFilter | undefined;
  stats: TableStats | undefined;
  seal: Seal | undefined;
  /** With offsets in the object. */
  damages: CorruptionError[];
}

export interface TailOptions {
  ref: TableRef;
  codec: BlockCodec;
  /** Most bytes a section may unpack to. */
  maxBytes: number;
}

/**
 * Decodes `tail`, which begins at `base` in the object and reaches to its end, at `size`; empty if the object ends before.
 * @throws CorruptionError IDENTITY_MISMATCH if this is another table
 */
export function decodeTail(tail: Uint8Array, base: number, objectSize: number, options: TailOptions): TableTail {
  const { codec, maxBytes } = options;
  const named = options.ref.info;
  const damages: CorruptionError[] = [];
  // What came counts, also where the answer was cut short on its way.
  const size = tail.length === 0 ? Math.min(base, objectSize) : base + tail.length;
  const needed = Math.max(named.indexOffset + named.indexLength, named.statsOffset + named.statsLength);
  const attempt = <T>(offset: number, decode: () => T): T | undefined => {
    try {
      return decode();
    } catch (error) {
      if (!isCorruption(error)) throw error;
      damages.push(moved(error, offset));
      return undefined;
    }
  };
  const isCut = size < needed + FOOTER_BYTES;
  if (isCut) {
    refuseOther(tail, size, options);
    damages.push(truncated(size, needed + FOOTER_BYTES));
  }
  const { info, seal } = isCut ? { info: named, seal: undefined } : identify(tail, base, size, options, attempt);
  /** Nothing is tried where a section is not there at all: that the object was cut says everything. */
  const section = <T>(
    offset: number,
    length: number,
    unit: 'filter' | 'index' | 'stats',
    decode: (b: Uint8Array) => T,
  ) =>
    length === 0 || offset + length > size
      ? undefined
      : attempt(offset, () =>
          decodeUnit(tail.subarray(offset - base, offset - base + length), codec, unit, maxBytes, decode),
        );
  const index = section(named.indexOffset, named.indexLength, 'index', decodeIndex);
  const fits = index !== undefined && attempt(0, () => checkIndexLayout(named, index) ?? true) === true;
  return {
    info,
    index: fits ? index : undefined,
    filter: section(named.filterOffset, named.filterLength, 'filter', (b) => decodeFilter(b, info.filterForm)),
    stats: section(named.statsOffset, named.statsLength, 'stats', decodeStats),
    seal,
    damages,
  };
}

/**
 * For an object that is shorter than the table should be: a whole table of another name is not a part of this one.
 * @param end any bytes up to the end of the object, at `size`
 * @throws CorruptionError IDENTITY_MISMATCH
 */
export function refuseOther(end: Uint8Array, size: number, options: TailOptions): void {
  let own: OwnInfo;
  try {
    own = ownInfo(end, size - end.length, size, options.maxBytes);
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return;
  }
  if (!isSameTable(own.info, options.ref.info)) throw otherInfo(own);
}

interface OwnInfo {
  info: TableInfo;
  infoOffset: number;
}

/** What the end of a table says of it. `tail` begins at `base` of an object of `size` bytes. Throws what a reader would. */
export function ownInfo(tail: Uint8Array, base: number, size: number, maxBytes: number): OwnInfo {
  const footer = footerOfKnownVersion(tail, size);
  const start = footer.infoOffset - base;
  if (start < 0) {
    const place = { unit: 'footer', offset: size - FOOTER_BYTES, length: 8 } as const;
    throw damage('MALFORMED', place, 'the info block lies among the data');
  }
  const stored = tail.subarray(start, tail.length - FOOTER_BYTES);
  const info = at(footer.infoOffset, () => decodeInfo(unframeUnit(stored, NO_CODEC, 'info', maxBytes)));
  checkLayout(info, footer.infoOffset, size);
  return { info, infoOffset: footer.infoOffset };
}

function otherInfo(own: OwnInfo): CorruptionError {
  const place = { unit: 'info', offset: own.infoOffset, length: 0 } as const;
  return damage('IDENTITY_MISMATCH', place, 'this is not the table the manifest names');
}

/** Compares the object's own info block and seal with what the manifest names. */
function identify(
  tail: Uint8Array,
  base: number,
  size: number,
  { ref, maxBytes }: TailOptions,
  attempt: <T>(offset: number, decode: () => T) => T | undefined,
): { info: TableInfo; seal: Seal | undefined } {
  const own = attempt(0, () => ownInfo(tail, base, size, maxBytes));
  if (own === undefined) return { info: ref.info, seal: undefined };
  if (!isSameTable(own.info, ref.info)) throw otherInfo(own);
  const range = sealRange(own.info, own.infoOffset);
  if (range.start === range.end) return { info: own.info, seal: undefined };
  const seal = attempt(base, () => decodeSeal(tail, range.start - base, range.end - base, ['table']));
  const objectId = seal?.identity.objectId;
  if (objectId !== undefined && ulidFromBytes(objectId) !== ref.id) {
    const place = { unit: 'seal', offset: range.start, length: range.end - range.start } as const;
    const more = { expected: ref.id, found: ulidFromBytes(objectId) };
    throw damage('IDENTITY_MISMATCH', place, 'this is another table', more);
  }
  return { info: own.info, seal };
}

function truncated(size: number, needed: number): CorruptionError {
  return damage('TRUNCATED', { unit: 'object', offset: size, length: 0 }, 'the table is cut short', {
    expected: `at least ${needed} bytes`,
    found: `${size} bytes`,
  });
}

/** Gives the findings of a nested unit their absolute offsets. */
function moved(error: CorruptionError, offset: number): CorruptionError {
  if (offset === 0) return error;
  const findings = error.findings.map((f) => ({ ...f, at: { ...f.at, offset: f.at.offset + offset } }));
  return new CorruptionError(error.message, findings);
}

function at<T>(offset: number, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    throw isCorruption(error) ? moved(error, offset) : error;
  }
}

/** The manifest says which version a table has, so an unknown one in the footer is damage. */
function footerOfKnownVersion(tail: Uint8Array, size: number): Footer {
  try {
    return decodeFooter(tail.subarray(Math.max(0, tail.length - FOOTER_BYTES)), size);
  } catch (error) {
    if (!(error instanceof IncompatibleError)) throw error;
    throw damage('MALFORMED', { unit: 'footer', offset: size - 2, length: 2 }, error.message);
  }
}
