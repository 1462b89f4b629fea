/**
 * What is left of a damaged WAL object: per block whether it is good, healed, salvaged or lost, and every row that can be had.
 *
 * The strict reader (wal-object) reads first; this one only takes over where it found damage, and reads blocks through the
 * same decoder. The places of the blocks come from the seal, else from the index, else from a walk along the checksums, so
 * damage after the blocks hides none of them.
 *
 * Invariants:
 * 1. Nothing here is trusted beyond its `trust`.
 * 2. Work is bounded by the size of the object.
 * 3. Nothing throws for what the bytes are.
 * 4. Only what is stored under another's name belongs elsewhere.
 */
import { assertThat } from '../common/assert.ts';
import { equalBytes } from '../common/bytes.ts';
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import { type Block, decodeBlock } from '../format/block.ts';
import { BlockCursor } from '../format/block-cursor.ts';
import { type BlockForm, blockProof, healBlock } from '../format/block-healing.ts';
import { type BlockCodec, loadCodec } from '../format/codecs.ts';
import { CRC_BYTES, decodeUnit } from '../format/framing.ts';
import { decodeIndex, type TableIndex } from '../format/index-block.ts';
import { endOf, findInfo, footerIn, infoIn, infoOfStored, type ObjectEnd, storedInfoIn } from '../format/object-end.ts';
import { salvageBlock, suspectRows } from '../format/salvage.ts';
import { decodeSeal, SEAL_MAGIC, SEAL_TAIL_BYTES, type Seal } from '../format/seal.ts';
import { numberObjectId } from '../format/seal-records.ts';
import { healBytes } from '../format/section-healing.ts';
import { CODECS, type FormatVersion, type TableInfo } from '../format/table-info.ts';
import { blockEnd, checkIndexLayout, dataEnd, sectionsEnd } from '../format/table-layout.ts';
import { findUnitEnd } from '../format/unit-walk.ts';
import { MAX_BLOCK_BYTES } from '../lsm/table/table-reader.ts';
import { repairedObject, sealedWalId, type WalObject, type WalReadResult } from '../lsm/wal/wal-object.ts';

/**
 * `good`: its checksum holds. `healed`: repaired, and proven by the seal. `probable`: repaired so that its checksum holds, without other proof.
 * `salvaged`: not repaired, but rows of it are proven one by one. `lost`: none is.
 */
export type WalBlockState = 'good' | 'healed' | 'probable' | 'salvaged' | 'lost';

export type RowTrust = 'good' | 'verified' | 'probable' | 'suspect';

export interface WalRow {
  /** Position in its block; undefined where rows before it could not be counted. */
  ordinal: number | undefined;
  key: Uint8Array;
  /** Empty for a tombstone. */
  value: Uint8Array;
  seq: number;
  flags: number;
  /** Milliseconds, or NO_TS. */
  createTs: number;
  expireTs: number;
  trust: RowTrust;
}

export interface WalBlock {
  /** In the object; the last block of a walk that broke off may be several. */
  offset: number;
  length: number;
  state: WalBlockState;
  /** The block as it was written: good, healed and probable ones. */
  block: Block | undefined;
  /** What is left of the others, in the order of the object. */
  rows: readonly WalRow[];
  /** Rows that the seal counts. */
  rowCount: number | undefined;
  /** Sequence number of its first row, if the seal or the index has it. */
  firstSeq: number | undefined;
}

export interface SalvagedWal {
  id: number;
  sizeBytes: number;
  /** `foreign`: another object is stored under this name. `fence`: it never had rows. `unreadable`: not even blocks were found. */
  kind: 'rows' | 'fence' | 'foreign' | 'unreadable';
  seal: Seal | undefined;
  blocks: readonly WalBlock[];
  /** Whether `blocks` are all that the object had. */
  isComplete: boolean;
  /** The object itself if all of it is proven: as good as one that was never damaged. */
  object: WalObject | undefined;
  /** Foreign ones: the id that the seal names, and the object if all of it is proven. */
  home: { id: number; object: WalObject | undefined } | undefined;
}

/** What is left of an object in which `strict` found damage. */
export async function salvageWalObject(id: number, bytes: Uint8Array, strict: WalReadResult): Promise<SalvagedWal> {
  const found = findSeal(bytes, strict);
  const seal = found?.seal;
  const result: SalvagedWal = {
    id,
    sizeBytes: bytes.length,
    kind: 'unreadable',
    seal,
    blocks: [],
    isComplete: false,
    object: undefined,
    home: undefined,
  };
  const isForeign =
    seal !== undefined && (seal.kind === 'table' || !equalBytes(seal.identity.objectId, numberObjectId(id)));
  const layout = await findBlocks(bytes, strict, seal);
  if (layout === undefined && seal?.kind !== 'fence') return { ...result, kind: isForeign ? 'foreign' : 'unreadable' };
  const places = layout?.places ?? [];
  const blocks = layout === undefined ? [] : places.map((place, i) => readBlock(bytes, place, layout, seal, i));
  const kind = isForeign ? 'foreign' : places.length === 0 ? 'fence' : 'rows';
  const read: SalvagedWal = { ...result, kind, blocks, isComplete: layout?.isComplete ?? true };
  if (!isForeign) return withObject(read, bytes, found);
  const home = sealedWalId(seal);
  return home === undefined
    ? read
    : { ...read, home: { id: home, object: withObject({ ...read, id: home }, bytes, found).object } };
}

/** An object under a wrong name, as if it were stored under its own; undefined if it is not of the log. */
export function underOwnId(salvaged: SalvagedWal): SalvagedWal | undefined {
  const { home, seal, blocks } = salvaged;
  assertThat(
    home === undefined || salvaged.kind === 'foreign',
    'only what is stored under another name belongs elsewhere (wal-salvage 4)',
  );
  if (home === undefined || seal === undefined) return undefined;
  const kind = blocks.length === 0 && seal.kind === 'fence' ? 'fence' : 'rows';
  return { ...salvaged, id: home.id, kind, object: home.object, home: undefined };
}

interface FoundSeal {
  seal: Seal;
  bytes: Uint8Array;
}

/** Adds the object itself if its seal proves that every row is there. */
function withObject(read: SalvagedWal, bytes: Uint8Array, found: FoundSeal | undefined): SalvagedWal {
  const isProven = read.isComplete && read.blocks.every((b) => b.state === 'good' || b.state === 'healed');
  if (!isProven || found === undefined) return read;
  try {
    const blocks = read.blocks.map((b) => b.block as Block);
    return { ...read, object: repairedObject(read.id, bytes, found.seal, found.bytes, blocks) };
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return read;
  }
}

// ---- the sections after the blocks

/** Copies of seals that values may contain after the real one; no more are tried. */
const MAX_MAGICS = 4;

/** The seal, where the end of the object says it is, or wherever its last bytes are found. */
function findSeal(bytes: Uint8Array, strict: WalReadResult): FoundSeal | undefined {
  const { tail } = strict;
  if (tail?.seal !== undefined && tail.sealBytes !== undefined) return { seal: tail.seal, bytes: tail.sealBytes };
  if (tail !== undefined) return sealAt(bytes, sectionsEnd(tail.info), tail.infoOffset);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let from = bytes.length;
  for (let i = 0; i < MAX_MAGICS; i++) {
    const at = buffer.lastIndexOf(SEAL_MAGIC, from);
    if (at < SEAL_TAIL_BYTES - SEAL_MAGIC.length) return undefined;
    const end = at + SEAL_MAGIC.length;
    const found = sealAt(bytes, end - view.getUint32(end - SEAL_TAIL_BYTES), end);
    if (found !== undefined) return found;
    from = at - 1;
  }
  return undefined;
}

function sealAt(bytes: Uint8Array, start: number, end: number): FoundSeal | undefined {
  if (start < 0 || end - start < SEAL_TAIL_BYTES || end > bytes.length) return undefined;
  const stored = bytes.subarray(start, end);
  return attempt(() => ({ seal: decodeSeal(stored, 0, stored.length), bytes: stored })) ?? healedSeal(stored);
}

function healedSeal(stored: Uint8Array): FoundSeal | undefined {
  const healed = healBytes(stored, 'seal');
  if (healed === undefined) return undefined;
  return attempt(() => ({ seal: decodeSeal(healed.stored, 0, stored.length), bytes: healed.stored }));
}

interface Tail extends Pick<ObjectEnd, 'info' | 'infoOffset' | 'formatVersion'> {}

/** Info and format version, repaired or found again if they are damaged. */
function findTail(bytes: Uint8Array, strict: WalReadResult, seal: Seal | undefined): Tail | undefined {
  if (strict.tail !== undefined) return strict.tail;
  const end = endOf(bytes);
  const footer = attempt(() => footerIn(end));
  const formatVersion = seal?.identity.formatVersion || footer?.formatVersion || 2;
  if (footer !== undefined) {
    const { infoOffset } = footer;
    const repaired = () => {
      const healed = healBytes(storedInfoIn(end, infoOffset), 'info');
      return healed && attempt(() => infoOfStored(healed.stored, infoOffset, bytes.length));
    };
    const info = attempt(() => infoIn(end, infoOffset)) ?? repaired();
    if (info !== undefined) return { info, infoOffset, formatVersion };
  }
  const found = findInfo(end);
  return found && { ...found, formatVersion };
}

function findIndex(bytes: Uint8Array, strict: WalReadResult, tail: Tail, codec: BlockCodec): TableIndex | undefined {
  if (strict.index !== undefined) return strict.index;
  const { info } = tail;
  const stored = bytes.subarray(info.indexOffset, info.indexOffset + info.indexLength);
  const accept = (unit: Uint8Array) =>
    attempt(() => {
      const index = decodeUnit(unit, codec, 'index', MAX_BLOCK_BYTES, decodeIndex);
      checkIndexLayout(info, index);
      return index;
    });
  const good = accept(stored);
  if (good !== undefined) return good;
  const healed = healBytes(stored, 'index', { codec, maxBytes: MAX_BLOCK_BYTES });
  return healed === undefined ? undefined : accept(healed.stored);
}

// ---- where the blocks are

interface BlockPlace {
  offset: number;
  end: number;
  firstSeq: number | undefined;
}

interface Layout {
  places: BlockPlace[];
  isComplete: boolean;
  codec: BlockCodec;
  formatVersion: FormatVersion;
}

async function findBlocks(
  bytes: Uint8Array,
  strict: WalReadResult,
  seal: Seal | undefined,
): Promise<Layout | undefined> {
  const record = seal?.rows;
  if (seal !== undefined && record !== undefined) {
    const places: BlockPlace[] = [];
    let offset = 0;
    for (let i = 0; i < record.blockStoredBytes.length; i++) {
      const end = offset + record.blockStoredBytes[i];
      if (end > bytes.length) return undefined;
      places.push({ offset, end, firstSeq: undefined });
      offset = end;
    }
    const codec = await usableCodec(seal.identity.codec);
    const formatVersion = seal.identity.formatVersion === 1 ? 1 : 2;
    return codec === undefined ? undefined : { places, isComplete: true, codec, formatVersion };
  }
  if (seal?.kind === 'fence') return undefined;
  const tail = findTail(bytes, strict, seal);
  const codec = tail === undefined ? undefined : await usableCodec(tail.info.codec);
  if (tail === undefined || codec === undefined) return walkBlocks(bytes, bytes.length, undefined, 2);
  const index = findIndex(bytes, strict, tail, codec);
  if (index === undefined) return walkBlocks(bytes, dataEnd(tail.info), codec, tail.formatVersion);
  const places = Array.from({ length: index.blockCount }, (_, i) => ({
    offset: index.offset(i),
    end: blockEnd(tail.info, index, i),
    firstSeq: seqOfSeparator(index.firstKey(i)),
  }));
  return { places, isComplete: true, codec, formatVersion: tail.formatVersion };
}

async function usableCodec(name: TableInfo['codec']): Promise<BlockCodec | undefined> {
  try {
    return await loadCodec(name);
  } catch (error) {
    if (error instanceof IncompatibleError) return undefined;
    throw error;
  }
}

function seqOfSeparator(key: Uint8Array): number | undefined {
  if (key.length !== 8) return undefined;
  const seq = Number(new DataView(key.buffer, key.byteOffset, 8).getBigUint64(0));
  return Number.isSafeInteger(seq) ? seq : undefined;
}

/** Blocks from the front, as far as checksum follows checksum; what follows is one stretch of which nothing is known. */
async function walkBlocks(
  bytes: Uint8Array,
  end: number,
  known: BlockCodec | undefined,
  formatVersion: FormatVersion,
): Promise<Layout | undefined> {
  let codec = known;
  const places: BlockPlace[] = [];
  let offset = 0;
  while (offset < end) {
    const unitEnd = findUnitEnd(bytes, offset, Math.min(end, offset + MAX_BLOCK_BYTES));
    if (unitEnd === undefined) break;
    const stored = bytes.subarray(offset, unitEnd);
    codec ??= await codecOf(stored, formatVersion);
    if (codec === undefined || !isBlock(stored, codec, formatVersion)) break;
    places.push({ offset, end: unitEnd, firstSeq: undefined });
    offset = unitEnd;
  }
  // Without info it is unknown whether the walk ended at the index or at a damaged block.
  const isComplete = known !== undefined && offset === end;
  if (!isComplete) places.push({ offset, end, firstSeq: undefined });
  if (codec === undefined) return undefined;
  return { places, isComplete, codec, formatVersion };
}

async function codecOf(stored: Uint8Array, formatVersion: FormatVersion): Promise<BlockCodec | undefined> {
  for (const name of CODECS) {
    const codec = await usableCodec(name);
    if (codec !== undefined && isBlock(stored, codec, formatVersion)) return codec;
  }
  return undefined;
}

function isBlock(stored: Uint8Array, codec: BlockCodec, formatVersion: FormatVersion): boolean {
  return decodeStored(stored, codec, formatVersion) !== undefined;
}

function decodeStored(stored: Uint8Array, codec: BlockCodec, formatVersion: FormatVersion): Block | undefined {
  return attempt(() => decodeUnit(stored, codec, 'block', MAX_BLOCK_BYTES, (b) => decodeBlock(b, formatVersion)));
}

// ---- one block

function readBlock(
  bytes: Uint8Array,
  place: BlockPlace,
  layout: Layout,
  seal: Seal | undefined,
  index: number,
): WalBlock {
  const { codec, formatVersion } = layout;
  const form: BlockForm = { codec, formatVersion, maxBytes: MAX_BLOCK_BYTES };
  const stored = bytes.subarray(place.offset, place.end);
  const proof = seal?.rows === undefined ? undefined : blockProof(seal.rows, index);
  const about = {
    offset: place.offset,
    length: stored.length,
    rowCount: proof?.rowCount,
    firstSeq: proof?.firstSeqs?.[0] ?? place.firstSeq,
  };
  const good = decodeStored(stored, codec, formatVersion);
  if (good !== undefined) return { ...about, state: 'good', block: good, rows: [] };
  const bounds = { order: 'seqs' as const, ...(place.firstSeq !== undefined && { minSeq: place.firstSeq }) };
  const how = proof === undefined ? { ...form, bounds } : { ...form, bounds, proof };
  const healed = healBlock(stored, how);
  const block = healed === undefined ? undefined : decodeStored(healed.stored, codec, formatVersion);
  if (healed !== undefined && block !== undefined) {
    return { ...about, state: healed.trust === 'proven' ? 'healed' : 'probable', block, rows: [] };
  }
  const payload = stored.subarray(0, Math.max(0, stored.length - CRC_BYTES));
  const verified = proof === undefined ? [] : salvageBlock(payload, { ...form, proof });
  const rows = [...verified, ...suspectRows(payload, how)].sort(byOrdinal);
  return { ...about, state: verified.length > 0 ? 'salvaged' : 'lost', block: undefined, rows };
}

/** Rows whose place is unknown stay after those whose place is known. */
function byOrdinal(a: WalRow, b: WalRow): number {
  return (a.ordinal ?? Number.POSITIVE_INFINITY) - (b.ordinal ?? Number.POSITIVE_INFINITY) || 0;
}

/** The rows of a block with how far each may be trusted. Keys and values are views where the block is whole. */
export function* rowsOfBlock({ state, block, rows }: Pick<WalBlock, 'state' | 'block' | 'rows'>): Generator<WalRow> {
  if (block === undefined) {
    yield* rows;
    return;
  }
  const cursor = new BlockCursor();
  cursor.attach(block);
  const trust: RowTrust = state === 'good' ? 'good' : state === 'healed' ? 'verified' : 'probable';
  let ordinal = 0;
  for (let more = cursor.first(); more; more = cursor.next()) {
    yield {
      ordinal: ordinal++,
      key: cursor.key.slice(0, cursor.keyLength),
      value: block.bytes.subarray(cursor.valueStart, cursor.valueStart + cursor.valueLength),
      seq: cursor.seq,
      flags: cursor.flags,
      createTs: cursor.createTs,
      expireTs: cursor.expireTs,
      trust,
    };
  }
}

/** What `read` gives, or undefined for bytes that are not what they should be. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isCorruption(error) || error instanceof IncompatibleError) return undefined;
    throw error;
  }
}
