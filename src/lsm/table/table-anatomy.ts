/**
 * What the bytes of a table hold, however damaged they are: which of its parts are good, where its blocks are, what is wrong.
 *
 * Reading for a database stops at the first thing that is wrong; the tools go on. What one part says another one can replace:
 * the manifest's copy of the info block for the table's own, the seal's list of blocks for the index, and where both are gone
 * the blocks are found by their own checksums.
 *
 * Invariants: never throws for what the bytes are, except `CODEC_MISSING`; every finding has absolute offsets; a part that is
 * returned was verified. An index of a newer form says which bytes are blocks in a way that is not known here: then nothing is said
 * about blocks at all (`tooNew`).
 */
import { inspectTable, makeHint, repairTable } from '../../common/advice.ts';
import { finish } from '../../common/async.ts';
import { damage, locateFindings, unknownFinding } from '../../common/damage.ts';
import { type CorruptionError, IncompatibleError, isCorruption } from '../../common/errors.ts';
import {
  type Finding,
  type FindingObject,
  type FindingPlace,
  makeFinding,
  WHOLE_OBJECT,
} from '../../common/finding.ts';
import { type Ulid, ulidFromBytes } from '../../common/ulid.ts';
import { type Block, decodeBlock, MAX_BLOCK_BYTES } from '../../format/block.ts';
import { type BlockPlace, placesOfIndex, placesOfLengths, walkBlocks } from '../../format/block-places.ts';
import { type BlockCodec, loadCodec, NO_CODEC } from '../../format/codecs.ts';
import type { BloomFilter } from '../../format/filter.ts';
import { type UnitPlace, walkUnits } from '../../format/frame-search.ts';
import { decodeUnit } from '../../format/framing.ts';
import type { TableIndex } from '../../format/index-block.ts';
import { type EndBytes, endOf, findInfo, footerIn, infoIn, sealPlaceOf } from '../../format/object-end.ts';
import { decodeSeal, type Seal } from '../../format/seal.ts';
import type { TableStats } from '../../format/stats-block.ts';
import { CODECS, type FormatVersion, isSameTable, type TableInfo } from '../../format/table-info.ts';
import { dataEnd, FOOTER_BYTES, MIN_TABLE_BYTES, sectionsEnd } from '../../format/table-layout.ts';
import { decodeSections } from './table-tail.ts';

/** What is known of a table without its bytes. */
export interface KnownTable {
  id?: Ulid;
  path: string;
  /** The manifest's copy. */
  info?: TableInfo;
  formatVersion?: FormatVersion;
}

/** Everything after the data blocks. */
export interface TableAnatomy {
  size: number;
  known: KnownTable;
  object: FindingObject;
  during: Finding['during'];
  /** The info block of the object itself, if it is good. */
  ownInfo: TableInfo | undefined;
  infoOffset: number | undefined;
  /** What to read by: the object's own, else the manifest's copy. */
  info: TableInfo | undefined;
  formatVersion: FormatVersion;
  /** Whether these are the bytes of another object. */
  isForeign: boolean;
  seal: Seal | undefined;
  sealPlace: UnitPlace | undefined;
  codec: BlockCodec;
  index: TableIndex | undefined;
  /** Why nothing can be said about the blocks: the index is sound, and of a newer form. */
  tooNew: IncompatibleError | undefined;
  filter: BloomFilter | undefined;
  stats: TableStats | undefined;
  findings: Finding[];
}

/** A table in a sentence; bytes that were given by themselves have no name. */
export function tableWords(id: string): string {
  return id === '' ? 'the table' : `table ${id}`;
}

/** Command and costs of repairing a table. */
export function tableRepairHint(id: string, summary: string, lossIfRepaired: Finding['hint']['lossIfRepaired']) {
  // Bytes that were given by themselves belong to no database.
  return makeHint(summary, lossIfRepaired, id === '' ? [] : [inspectTable(id), repairTable(id)]);
}

const REBUILDABLE: readonly FindingPlace['unit'][] = ['index', 'filter', 'stats', 'info', 'footer', 'seal'];

/** A tail of which nothing has been read yet; `size` of the object in bytes. */
export function unreadTable(known: KnownTable, size: number, during: Finding['during']): TableAnatomy {
  return {
    size,
    known,
    object: { role: 'table', path: known.path, id: known.id ?? '', sealed: false, size },
    during,
    ownInfo: undefined,
    infoOffset: undefined,
    info: known.info,
    formatVersion: known.formatVersion ?? 2,
    isForeign: false,
    seal: undefined,
    sealPlace: undefined,
    codec: NO_CODEC,
    index: undefined,
    tooNew: undefined,
    filter: undefined,
    stats: undefined,
    findings: [],
  };
}

/** Collects what is wrong, each with its object, its place and what can be done. */
class Dissection {
  readonly tail: TableAnatomy;
  readonly #bytes: Uint8Array;
  readonly #base: number;

  constructor(bytes: Uint8Array, base: number, known: KnownTable, during: Finding['during']) {
    this.#bytes = bytes;
    this.#base = base;
    this.tail = unreadTable(known, base + bytes.length, during);
  }

  section(offset: number, length: number): Uint8Array {
    const start = offset - this.#base;
    if (start < 0 || length < 0) {
      throw damage('MALFORMED', { unit: 'info', offset: 0, length: 0 }, 'a section is outside of the object');
    }
    if (start + length > this.#bytes.length) {
      const at = WHOLE_OBJECT;
      throw damage('TRUNCATED', at, 'the object ends before this section does');
    }
    return this.#bytes.subarray(start, start + length);
  }

  /**
   * What `decode` gives, or nothing and a finding. An unknown form is damage where something else says what it was; what the form
   * of an index was nothing else says, and its checksum was verified.
   */
  attempt<T>(offset: number, unit: FindingPlace['unit'], decode: () => T): T | undefined {
    try {
      return decode();
    } catch (error) {
      const isNewIndex = unit === 'index' && error instanceof IncompatibleError && error.code === 'FORMAT_TOO_NEW';
      if (error instanceof IncompatibleError && (isNewIndex || this.tail.known.info === undefined)) {
        const { tail } = this;
        if (isNewIndex) tail.tooNew = error;
        const at = { unit, offset, length: isNewIndex ? (tail.info?.indexLength ?? 0) : 0 };
        tail.findings.push(unknownFinding(error, { object: tail.object, during: tail.during, at }));
        return undefined;
      }
      const wrong =
        error instanceof IncompatibleError && error.code === 'FORMAT_TOO_NEW'
          ? damage('MALFORMED', { unit, offset: 0, length: 0 }, error.message)
          : error;
      if (!isCorruption(wrong)) throw wrong;
      this.add(wrong, offset);
      return undefined;
    }
  }

  add(error: CorruptionError, offset: number): void {
    const { object, during, findings } = this.tail;
    for (const found of locateFindings(error, { object, during, offset })) {
      const canRebuild = REBUILDABLE.includes(found.at.unit) && found.code !== 'IDENTITY_MISMATCH';
      const severity = canRebuild && found.at.unit !== 'index' ? ('warning' as const) : found.severity;
      findings.push({
        ...found,
        severity,
        remedy: canRebuild ? 'rebuilds' : found.remedy,
        hint: canRebuild
          ? tableRepairHint(
              object.id,
              `The ${found.at.unit} of ${tableWords(object.id)} is made again from its rows.`,
              'none',
            )
          : tableRepairHint(object.id, `${found.code} in ${tableWords(object.id)}: ${error.message}`, 'possible'),
      });
    }
  }

  /** Footer and info block, each found again through the other. */
  readInfo(): void {
    const { tail } = this;
    const { size, known } = tail;
    if (known.info !== undefined && size < sectionsEnd(known.info) + MIN_TABLE_BYTES) this.#cut(known.info);
    if (size < MIN_TABLE_BYTES) {
      if (known.info === undefined) this.attempt(0, 'object', () => footerIn(endOf(this.#bytes, size)));
      return;
    }
    const wrongFooter: Finding[] = [];
    const before = tail.findings;
    tail.findings = wrongFooter;
    const end: EndBytes = { bytes: this.#bytes, base: this.#base, size };
    const stated = this.attempt(0, 'footer', () => footerIn(end));
    const own = stated === undefined ? undefined : this.attempt(0, 'info', () => infoIn(end, stated.infoOffset));
    tail.findings = before;
    if (own !== undefined && stated !== undefined) {
      this.#takeInfo(own, stated.infoOffset);
      if (known.formatVersion === undefined) tail.formatVersion = stated.formatVersion;
      else if (known.formatVersion !== stated.formatVersion)
        this.#footerDiffers(known.formatVersion, stated.formatVersion);
      return;
    }
    const found = findInfo(end, known.info === undefined ? 0 : sectionsEnd(known.info));
    if (found !== undefined) {
      const { info, infoOffset } = found;
      this.#takeInfo(info, infoOffset);
      const at = { unit: 'footer' as const, offset: 0, length: FOOTER_BYTES };
      const more = { expected: `${infoOffset}` };
      this.add(damage('MALFORMED', at, 'the footer does not lead to the info block', more), size - FOOTER_BYTES);
      return;
    }
    tail.findings.push(...wrongFooter);
    if (known.info !== undefined && stated !== undefined && stated.infoOffset >= sectionsEnd(known.info)) {
      tail.infoOffset = stated.infoOffset;
    }
  }

  #takeInfo(info: TableInfo, offset: number): void {
    this.tail.ownInfo = info;
    this.tail.infoOffset = offset;
    this.tail.info = info;
  }

  #cut(named: TableInfo): void {
    const at = { unit: 'object' as const, offset: this.tail.size, length: 0 };
    const more = {
      expected: `more than ${sectionsEnd(named) + MIN_TABLE_BYTES} bytes`,
      found: `${this.tail.size} bytes`,
    };
    this.add(damage('TRUNCATED', at, 'the table is cut short', more), 0);
  }

  #footerDiffers(expected: number, found: number): void {
    const at = { unit: 'footer' as const, offset: 8, length: 2 };
    const more = { expected: `version ${expected}`, found: `version ${found}` };
    this.add(damage('MALFORMED', at, 'the footer states another format version', more), this.tail.size - FOOTER_BYTES);
  }

  /** The seal, and with it whether the object is the one that was named. */
  readSeal(): void {
    const { tail } = this;
    const { info, infoOffset } = tail;
    if (info === undefined || infoOffset === undefined) return;
    const place = sealPlaceOf(info, infoOffset);
    if (place !== undefined) {
      tail.sealPlace = place;
      const stored = this.attempt(place.start, 'seal', () => this.section(place.start, place.end - place.start));
      tail.seal = stored && this.attempt(place.start, 'seal', () => decodeSeal(stored, 0, stored.length, ['table']));
      if (tail.seal !== undefined) tail.object = { ...tail.object, sealed: true };
    }
    this.#compareIdentity(place ?? { start: infoOffset, end: infoOffset });
  }

  #compareIdentity(place: UnitPlace): void {
    const { tail } = this;
    const { known, ownInfo, seal, infoOffset } = tail;
    const sealedAs = seal === undefined ? undefined : ulidFromBytes(seal.identity.objectId);
    const length = place.end - place.start;
    if (known.id !== undefined && sealedAs !== undefined && sealedAs !== known.id) {
      tail.isForeign = true;
      const at = { unit: 'seal' as const, offset: 0, length };
      const more = { expected: known.id, found: sealedAs };
      this.add(damage('IDENTITY_MISMATCH', at, 'this is another table', more), place.start);
      return;
    }
    if (known.info === undefined || ownInfo === undefined || infoOffset === undefined) return;
    const at = { unit: 'info' as const, offset: 0, length: tail.size - FOOTER_BYTES - infoOffset };
    if (!isSameTable(ownInfo, known.info)) {
      // Its own seal says that it is the right object: then the manifest's copy is what changed.
      const isRight = sealedAs !== undefined;
      tail.isForeign = !isRight;
      const code = isRight ? 'MANIFEST_INCONSISTENT' : 'IDENTITY_MISMATCH';
      const what = isRight
        ? "the manifest's copy of the info block differs"
        : 'this is not the table the manifest names';
      this.add(damage(code, at, what), infoOffset);
    } else if (ownInfo.filterLength > 0 && ownInfo.filterForm !== known.info.filterForm) {
      const more = { expected: `filter form ${ownInfo.filterForm}`, found: `filter form ${known.info.filterForm}` };
      const wrong = damage('MANIFEST_INCONSISTENT', at, "the manifest mistakes the form of the table's filter", more);
      this.add(wrong, infoOffset);
      const last = tail.findings[tail.findings.length - 1];
      const summary = `SlateDB of any version misses keys of ${tableWords(tail.object.id)} by point reads. If 0.12.1 stays in use, repair it with --filter-form legacy, or it does it again.`;
      // It takes rows away from every reader but this program.
      tail.findings[tail.findings.length - 1] = {
        ...last,
        severity: 'error',
        hint: tableRepairHint(tail.object.id, summary, 'none'),
      };
    }
  }

  async readSections(): Promise<void> {
    const { tail } = this;
    const { info, seal } = tail;
    if (info === undefined) return;
    if (seal !== undefined && tail.ownInfo !== undefined) this.#compareWithIdentity(seal, tail.ownInfo);
    tail.codec = await loadCodec(info.codec);
    const attempt = this.attempt.bind(this);
    const sections = decodeSections(info, {
      codec: tail.codec,
      maxBytes: MAX_BLOCK_BYTES,
      bytesAt: (offset, length) => this.section(offset, length),
      *attempt(unit, offset, decode) {
        return attempt(offset, unit, () => finish(decode()));
      },
    });
    Object.assign(tail, finish(sections));
  }

  #compareWithIdentity(seal: Seal, info: TableInfo): void {
    const { tail } = this;
    const { formatVersion, codec } = seal.identity;
    if (tail.known.formatVersion === undefined && (formatVersion === 1 || formatVersion === 2)) {
      if (formatVersion !== tail.formatVersion) this.#footerDiffers(formatVersion, tail.formatVersion);
      tail.formatVersion = formatVersion;
    }
    if (codec === info.codec) return;
    const at = { unit: 'info' as const, offset: 0, length: 0 };
    const wrong = damage('MALFORMED', at, `the info block says codec ${info.codec}, the seal ${codec}`);
    this.add(wrong, tail.infoOffset ?? 0);
  }
}

/**
 * Reads everything after the data blocks. `bytes` are those from `base` to the end of the object, at least from the first
 * section on. Rejects with `CODEC_MISSING` only.
 */
export async function dissectTail(
  bytes: Uint8Array,
  base: number,
  known: KnownTable,
  during: Finding['during'],
): Promise<TableAnatomy> {
  const work = new Dissection(bytes, base, known, during);
  work.readInfo();
  work.readSeal();
  await work.readSections();
  return work.tail;
}

export interface BlockPlaces {
  places: BlockPlace[];
  from: 'index' | 'seal' | 'walk';
}

/** Where the blocks are stored, if the tail alone says it. */
export function placesOfTail(tail: TableAnatomy): BlockPlaces | undefined {
  const { index, info, seal } = tail;
  if (info === undefined) return undefined;
  if (index !== undefined) return { places: placesOfIndex(info, index), from: 'index' };
  const record = tail.isForeign ? undefined : seal?.rows;
  const places = record === undefined ? undefined : placesOfLengths(record, dataEnd(info));
  return places === undefined ? undefined : { places, from: 'seal' };
}

/**
 * The same, by the blocks' own checksums where the tail says nothing; without places where the index is of a newer form. `bytes` is
 * the whole object.
 */
export async function findBlocks(bytes: Uint8Array, tail: TableAnatomy): Promise<BlockPlaces> {
  if (tail.tooNew !== undefined) return { places: [], from: 'index' };
  const known = placesOfTail(tail);
  if (known !== undefined) return known;
  if (tail.info === undefined) tail.codec = await guessCodec(bytes, tail.formatVersion);
  const { codec, formatVersion, info, isForeign } = tail;
  const places = walkBlocks(bytes, info === undefined ? undefined : dataEnd(info), {
    decode: ({ start, end }) => {
      const read = readBlock(bytes.subarray(start, end), codec, formatVersion);
      return read instanceof Error ? undefined : read;
    },
    mayBePadded: codec.name === 'none' && formatVersion === 2,
    lastKey: info?.lastEntry,
    blockCount: (isForeign ? undefined : tail.seal?.rows?.blockRows.length) ?? tail.stats?.blocks?.length,
  });
  return { places, from: 'walk' };
}

function isBlock(stored: Uint8Array, codec: BlockCodec, formatVersion: FormatVersion): boolean {
  return readBlock(stored, codec, formatVersion) instanceof Error === false;
}

/** The block, or what is wrong with it; offsets from the start of the block. */
export function readBlock(
  stored: Uint8Array,
  codec: BlockCodec,
  formatVersion: FormatVersion,
): Block | CorruptionError | IncompatibleError {
  try {
    return decodeUnit(stored, codec, 'block', MAX_BLOCK_BYTES, (payload) => decodeBlock(payload, formatVersion));
  } catch (error) {
    if (isCorruption(error) || error instanceof IncompatibleError) return error;
    throw error;
  }
}

/** The codec with which the first block can be read; without one it stays uncompressed. */
async function guessCodec(bytes: Uint8Array, formatVersion: FormatVersion): Promise<BlockCodec> {
  for (const name of CODECS) {
    const codec = await loadCodec(name).catch(() => undefined);
    if (codec === undefined) continue;
    const fits = ({ start, end }: UnitPlace) => isBlock(bytes.subarray(start, end), codec, formatVersion);
    if (walkUnits(bytes, 0, bytes.length, fits, true).before.length > 0) return codec;
  }
  return NO_CODEC;
}

/** The finding for a table that is not there. */
export function missingTable(known: KnownTable, during: Finding['during']): Finding {
  const { id, path, info } = known;
  return makeFinding({
    code: 'MISSING_OBJECT',
    object: { role: 'table', path, id: id ?? '', sealed: false },
    at: WHOLE_OBJECT,
    affects: info?.firstEntry === undefined ? {} : { keys: { gte: info.firstEntry, lte: info.lastEntry } },
    during,
    hint: tableRepairHint(id ?? '', `Table ${id} is gone although a manifest names it.`, 'possible'),
  });
}
