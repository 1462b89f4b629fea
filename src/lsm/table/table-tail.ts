/**
 * Everything of a table after its data blocks, decoded at once: filter, index, stats, seal, info block and footer.
 *
 * Invariants:
 * 1. Damage to one part never takes another with it; a part that is missing has its damage in `damages`.
 * 2. Only an object that is not the one the manifest names is refused whole.
 * 3. Offsets come from the manifest's copy of the info block.
 */
import { assertThat } from '../../common/assert.ts';
import { inOneStep, type Steps } from '../../common/async.ts';
import { damage, movedBy } from '../../common/damage.ts';
import { type CorruptionError, isCorruption } from '../../common/errors.ts';
import { ulidFromBytes } from '../../common/ulid.ts';
import type { BlockCodec } from '../../format/codecs.ts';
import { type BloomFilter, decodeFilter } from '../../format/filter.ts';
import { decodeUnitSteps } from '../../format/framing.ts';
import { decodeIndexSteps, type TableIndex } from '../../format/index-block.ts';
import type { TableRef } from '../../format/manifest-types.ts';
import { endOf, type ObjectEnd, objectEndIn, sealPlaceOf } from '../../format/object-end.ts';
import { decodeSealSteps, type Seal } from '../../format/seal.ts';
import { decodeStatsSteps, type TableStats } from '../../format/stats-block.ts';
import { isSameTable, type TableInfo } from '../../format/table-info.ts';
import { checkIndexLayout, FOOTER_BYTES } from '../../format/table-layout.ts';

export interface TableTail extends TableSections {
  /** From the object itself where that is intact, else the manifest's copy. */
  info: TableInfo;
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

type Attempt = <T>(offset: number, decode: () => Steps<T>) => Steps<T | undefined>;

/**
 * Decodes `tail`, which begins at `base` in the object and reaches to its end, at `size`; empty if the object ends before.
 * @throws CorruptionError IDENTITY_MISMATCH if this is another table
 */
export function* decodeTail(
  tail: Uint8Array,
  base: number,
  objectSize: number,
  options: TailOptions,
): Steps<TableTail> {
  const { codec, maxBytes } = options;
  const named = options.ref.info;
  const damages: CorruptionError[] = [];
  // What came counts, also where the answer was cut short on its way.
  const size = tail.length === 0 ? Math.min(base, objectSize) : base + tail.length;
  const needed = Math.max(named.indexOffset + named.indexLength, named.statsOffset + named.statsLength);
  const attempt: Attempt = function* (offset, decode) {
    try {
      return yield* decode();
    } catch (error) {
      if (!isCorruption(error)) throw error;
      damages.push(movedBy(error, offset));
      return undefined;
    }
  };
  const isCut = size < needed + FOOTER_BYTES;
  if (isCut) {
    refuseOther(tail, size, options);
    damages.push(truncated(size, needed + FOOTER_BYTES));
  }
  const { info, seal } = isCut ? { info: named, seal: undefined } : yield* identify(tail, base, size, options, attempt);
  const sections = yield* decodeSections(
    { ...named, filterForm: info.filterForm },
    {
      codec,
      maxBytes,
      // Where a section is not there at all, that the object was cut says everything.
      bytesAt: (offset, length) =>
        offset + length > size ? undefined : tail.subarray(offset - base, offset - base + length),
      attempt: (_, offset, decode) => attempt(offset, decode),
    },
  );
  const saysWhy = damages.length > 0 || named.indexLength === 0;
  assertThat(sections.index !== undefined || saysWhy, 'a part that is missing comes with its damage (table-tail 1)');
  return {
    info,
    ...sections,
    seal,
    damages,
  };
}

/** Index, filter and stats of a table. */
export interface TableSections {
  /** Undefined: damaged, or absent. */
  index: TableIndex | undefined;
  filter: BloomFilter | undefined;
  stats: TableStats | undefined;
}

/** How sections are read and their damage is taken. */
interface SectionReader {
  codec: BlockCodec;
  /** Most bytes a section may unpack to. */
  maxBytes: number;
  /** The stored bytes at an offset of the object; undefined: they are not there, and that is known already. */
  bytesAt(offset: number, length: number): Uint8Array | undefined;
  /** What `decode` gives; undefined, and the damage kept, where it throws damage with offsets that count from `offset`. */
  attempt<T>(unit: 'index' | 'filter' | 'stats', offset: number, decode: () => Steps<T>): Steps<T | undefined>;
}

/** The sections that an info block describes, each by itself: one that cannot be used takes no other with it. */
export function* decodeSections(info: TableInfo, reader: SectionReader): Steps<TableSections> {
  function* section<T>(
    unit: 'index' | 'filter' | 'stats',
    offset: number,
    length: number,
    decode: (payload: Uint8Array) => Steps<T>,
  ): Steps<T | undefined> {
    if (length === 0) return undefined;
    return yield* reader.attempt(unit, offset, function* () {
      const stored = reader.bytesAt(offset, length);
      return stored && (yield* decodeUnitSteps(stored, reader.codec, unit, reader.maxBytes, decode));
    });
  }
  const index = yield* section('index', info.indexOffset, info.indexLength, decodeIndexSteps);
  const fits =
    index !== undefined &&
    (yield* reader.attempt('index', 0, () => inOneStep(() => checkIndexLayout(info, index) ?? true)));
  return {
    index: fits === true ? index : undefined,
    filter: yield* section('filter', info.filterOffset, info.filterLength, (payload) =>
      inOneStep(() => decodeFilter(payload, info.filterForm)),
    ),
    stats: yield* section('stats', info.statsOffset, info.statsLength, decodeStatsSteps),
  };
}

/**
 * For an object that is shorter than the table should be: a whole table of another name is not a part of this one.
 * @param end any bytes up to the end of the object, at `size`
 * @throws CorruptionError IDENTITY_MISMATCH
 */
export function refuseOther(end: Uint8Array, size: number, options: TailOptions): void {
  let own: ObjectEnd;
  try {
    own = objectEndIn(endOf(end, size));
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return;
  }
  if (!isSameTable(own.info, options.ref.info)) throw otherInfo(own);
}

function otherInfo(own: ObjectEnd): CorruptionError {
  const place = { unit: 'info', offset: own.infoOffset, length: 0 } as const;
  return damage('IDENTITY_MISMATCH', place, 'this is not the table the manifest names');
}

/** Compares the object's own info block and seal with what the manifest names. */
function* identify(
  tail: Uint8Array,
  base: number,
  size: number,
  { ref }: TailOptions,
  attempt: Attempt,
): Steps<{ info: TableInfo; seal: Seal | undefined }> {
  // The manifest says which version a table has.
  const own = yield* attempt(0, () => inOneStep(() => objectEndIn({ bytes: tail, base, size })));
  if (own === undefined) return { info: ref.info, seal: undefined };
  if (!isSameTable(own.info, ref.info)) throw otherInfo(own);
  const range = sealPlaceOf(own.info, own.infoOffset);
  if (range === undefined) return { info: own.info, seal: undefined };
  const seal = yield* attempt(base, () => decodeSealSteps(tail, range.start - base, range.end - base, ['table']));
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
