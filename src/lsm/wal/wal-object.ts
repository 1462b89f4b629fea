/**
 * Reading one WAL object whole: verified before anything of it is trusted.
 *
 * ```
 * | block 0 | ... | index | seal | info | footer |       a table without filter and stats (format/table-layout.ts), in which
 * rows                in the order of their sequence numbers, keys in no order; one batch: rows of one sequence number
 * separators          of the index: the sequence number of each block's first row, 8 bytes BE
 * info                first_entry: the first sequence number, 8 bytes BE; no last_entry; sst_type 1
 * fence               the same without blocks; or zero bytes, by SlateDB from 0.14 on
 * ```
 *
 * Object 2 of a database of SlateDB 0.12.1, whole: three rows of three batches.
 *
 * ```example slatedb-0.12.1/tiny db/wal/00000000000000000002.sst 0
 * 00 04 05                                         shared=0 unshared=4 value_len=5
 * 70 65 61 72                                      key="pear"
 * 67 72 65 65 6e                                   value="green"
 * 00 00 00 00 00 00 00 01                          seq=1
 * 04                                               flags=0x04
 * 00 00 01 a1 f8 60 3b 50                          create_ts=1795168418640
 * 00 05 03                                         shared=0 unshared=5 value_len=3
 * 61 70 70 6c 65                                   key="apple"
 * 72 65 64                                         value="red"
 * 00 00 00 00 00 00 00 02                          seq=2
 * 06                                               flags=0x06
 * 00 00 01 a1 fd 86 97 50                          expire_ts=1795254818640
 * 00 00 01 a1 f8 60 3b 50                          create_ts=1795168418640
 * 04 01 00                                         shared=4 unshared=1 value_len=0
 * 79                                               key="apply"
 * 00 00 00 00 00 00 00 03                          seq=3
 * 05                                               flags=0x05
 * 00 00 01 a1 f8 60 3b 51                          create_ts=1795168418641
 * 00 00 00 01                                      offset=0 offsets=1
 * 15 7d 2d 1f                                      crc=0x157d2d1f of block 0
 * 0c 00 00 00                                      root table at +12
 * 00 00                                            padding
 * 06 00 08 00 04 00                                vtable: 6 bytes, SsTableIndex of 8, fields at 4
 * 06 00 00 00                                      SsTableIndex: vtable 6 bytes before
 * 04 00 00 00                                      block_meta at +4
 * 01 00 00 00 0c 00 00 00                          block_meta: 1 entries
 * 08 00 08 00 00 00 04 00                          vtable: 8 bytes, BlockMeta of 8, fields at - 4
 * 08 00 00 00                                      BlockMeta block_meta: vtable 8 bytes before
 * 04 00 00 00                                      first_key at +4
 * 08 00 00 00 00 00 00 00 00 00 00 01              length 8 first_key=0000000000000001
 * e2 80 86 d4                                      crc=0xe28086d4 of the index
 * 1c 00 00 00                                      root table at +28
 * 00 00 00 00 00 00                                padding
 * 12 00 28 00 08 00 0c 00 14 00 1c 00 00 00 00 00  vtable: 18 bytes, SsTableInfo of 40
 * 07 00                                            fields at 8 12 20 28 - - 7
 * 12 00 00 00                                      SsTableInfo: vtable 18 bytes before
 * 00 00 00                                         padding
 * 01                                               sst_type=1
 * 20 00 00 00                                      first_entry at +32
 * 5e 00 00 00 00 00 00 00                          index_offset=94
 * 3c 00 00 00 00 00 00 00                          index_len=60
 * 5e 00 00 00 00 00 00 00                          filter_offset=94
 * 00 00 00 00                                      padding
 * 08 00 00 00 00 00 00 00 00 00 00 01              length 8 first_entry=0000000000000001
 * 4e cd 30 23                                      crc=0x4ecd3023 of the info block
 * 00 00 00 00 00 00 00 9a                          info_offset=154
 * 00 02                                            format_version=2
 * ```
 *
 * 1. The object is checked unit by unit (footer, info, seal, index, each block), and everything that is wrong with it is listed,
 *    not just the first thing.
 * 2. Fences are objects without rows: a complete empty table, or zero bytes.
 * 3. 1 to 10 bytes are always damage: no writer makes them.
 */
import { assertThat } from '../../common/assert.ts';
import { equalBytes } from '../../common/bytes.ts';
import { atOffset, damage, locateFindings } from '../../common/damage.ts';
import { CorruptionError, IncompatibleError, isCorruption } from '../../common/errors.ts';
import { type Finding, type FindingObject, makeFinding, WHOLE_OBJECT } from '../../common/finding.ts';
import { type Block, decodeBlock } from '../../format/block.ts';
import { BlockCursor } from '../../format/block-cursor.ts';
import { type BlockCodec, loadCodec } from '../../format/codecs.ts';
import { decodeUnit, unframeUnit } from '../../format/framing.ts';
import { decodeIndex, type TableIndex } from '../../format/index-block.ts';
import { endOf, footerIn, infoOfPayload, sealPlaceOf, verifiedInfoIn } from '../../format/object-end.ts';
import { idText, walPath } from '../../format/object-names.ts';
import { decodeSeal, objectDigest, type Seal, sealDigest } from '../../format/seal.ts';
import { numberObjectId } from '../../format/seal-records.ts';
import type { FormatVersion, TableInfo } from '../../format/table-info.ts';
import { blockEnd, checkIndexLayout, FOOTER_BYTES, type Footer } from '../../format/table-layout.ts';
import { MAX_BLOCK_BYTES } from '../table/table-reader.ts';

export interface WalDigest {
  kind: 'seal' | 'object';
  /** First 16 bytes of the SHA-256. */
  bytes: Uint8Array;
}

/** A WAL object that was found sound. */
export interface WalObject {
  id: number;
  /** `empty`: zero bytes; a fence, or all that is left of an object. */
  kind: 'rows' | 'fence' | 'empty';
  sizeBytes: number;
  seal: Seal | undefined;
  blocks: readonly Block[];
  rowCount: number;
  /** 0 without rows. */
  minSeq: number;
  maxSeq: number;
  /** Digest that the next object names as its predecessor; reads the whole object where there is no seal. */
  digest(): WalDigest;
}

export interface WalReadResult {
  id: number;
  /** Present if no finding is an error. */
  object: WalObject | undefined;
  findings: Finding[];
  /** Set if nothing is damaged but this program cannot read it. */
  incompatible: IncompatibleError | undefined;
  /** Rows that can be had in spite of damage, for the summary. */
  readableRows: number;
  seal: Seal | undefined;
  seqs: { min: number; max: number } | undefined;
  /** The sections after the blocks, as far as they were found good. */
  tail: WalTail | undefined;
  index: TableIndex | undefined;
}

export function walFindingObject(id: number, more: Partial<FindingObject> = {}): FindingObject {
  return { role: 'wal', path: walPath(id), id: idText(id), sealed: false, ...more };
}

/** What the end of an object says. */
export interface WalTail {
  info: TableInfo;
  infoOffset: number;
  formatVersion: FormatVersion;
  seal: Seal | undefined;
  sealBytes: Uint8Array | undefined;
}

/** Verifies all of an object's bytes. Resolves for damaged objects too; rejects never for what the bytes are. */
export async function readWalObject(id: number, bytes: Uint8Array): Promise<WalReadResult> {
  const result: WalReadResult = {
    id,
    object: undefined,
    findings: [],
    incompatible: undefined,
    readableRows: 0,
    seal: undefined,
    seqs: undefined,
    tail: undefined,
    index: undefined,
  };
  if (bytes.length === 0) {
    result.object = {
      ...emptyObject(id, 0),
      kind: 'empty',
      digest: () => ({ kind: 'object', bytes: objectDigest(bytes) }),
    };
    return result;
  }
  try {
    const tail = parseTail(id, bytes, result);
    result.tail = tail;
    const codec = await loadCodec(tail.info.codec);
    readBlocks(bytes, tail, codec, result);
  } catch (error) {
    if (error instanceof IncompatibleError) result.incompatible = error;
    else if (isCorruption(error)) addFindings(result, error, bytes.length);
    else throw error;
  }
  if (result.findings.some((f) => f.severity === 'error') || result.incompatible !== undefined)
    result.object = undefined;
  const saysWhy = result.findings.length > 0 || result.incompatible !== undefined;
  assertThat(
    result.object !== undefined || saysWhy,
    'an object that is not sound comes with what is wrong (wal-object 1)',
  );
  return result;
}

function emptyObject(id: number, sizeBytes: number): Omit<WalObject, 'kind' | 'digest'> {
  return { id, sizeBytes, seal: undefined, blocks: [], rowCount: 0, minSeq: 0, maxSeq: 0 };
}

function addFindings(result: WalReadResult, error: CorruptionError, size: number, offset = 0): void {
  const object = walFindingObject(result.id, { size, sealed: result.seal !== undefined });
  result.findings.push(...locateFindings(error, { object, during: 'open', offset }));
}

function parseTail(id: number, bytes: Uint8Array, result: WalReadResult): WalTail {
  if (bytes.length <= FOOTER_BYTES) {
    throw damage(
      'TRUNCATED',
      { unit: 'object', offset: 0, length: bytes.length },
      `only ${bytes.length} bytes are left of the object`,
    );
  }
  const footer = readFooter(bytes);
  const info = verifiedInfoIn(endOf(bytes), footer.infoOffset);
  try {
    return parseSections(id, bytes, footer, info, result);
  } catch (error) {
    // A checksum that holds says that the version was meant: what it has in other places is not damaged.
    const { wrongVersion } = footer;
    throw isCorruption(error) && wrongVersion instanceof IncompatibleError && result.seal === undefined
      ? wrongVersion
      : error;
  }
}

interface ReadFooter extends Footer {
  /** Why the stored version is none that is known; reported when the seal, which names it too, was read. */
  wrongVersion: unknown;
}

function readFooter(bytes: Uint8Array): ReadFooter {
  const stored = bytes.slice(bytes.length - FOOTER_BYTES);
  try {
    return { ...footerIn(endOf(stored, bytes.length)), wrongVersion: undefined };
  } catch (wrongVersion) {
    stored.set([0, 2], FOOTER_BYTES - 2);
    // Rejects again if it is not the version that is wrong.
    return { ...footerIn(endOf(stored, bytes.length)), wrongVersion };
  }
}

function parseSections(
  id: number,
  bytes: Uint8Array,
  footer: ReadFooter,
  infoBytes: Uint8Array,
  result: WalReadResult,
): WalTail {
  const info = infoOfPayload(infoBytes, footer.infoOffset, bytes.length);
  const range = sealPlaceOf(info, footer.infoOffset);
  let seal: Seal | undefined;
  if (range !== undefined) {
    try {
      seal = decodeSeal(bytes, range.start, range.end);
      result.seal = seal;
      checkIdentity(id, seal, range);
    } catch (error) {
      if (!isCorruption(error) || error.code === 'IDENTITY_MISMATCH') throw error;
      const object = walFindingObject(id, { size: bytes.length });
      result.findings.push(
        ...locateFindings(error, { object, during: 'open' }).map((f) => ({ ...f, severity: 'error' as const })),
      );
    }
  }
  if (seal !== undefined) checkVersion(bytes, seal);
  if (footer.wrongVersion !== undefined) throw footer.wrongVersion;
  const sealBytes = seal === undefined ? undefined : bytes.subarray(range?.start, range?.end);
  return { info, infoOffset: footer.infoOffset, formatVersion: footer.formatVersion, seal, sealBytes };
}

/** The seal proves what the version in the footer was: another one is damage, not a newer form. */
function checkVersion(bytes: Uint8Array, seal: Seal): void {
  const offset = bytes.length - 2;
  const found = bytes[offset] * 256 + bytes[offset + 1];
  const expected = seal.identity.formatVersion;
  if (found === expected) return;
  throw damage('MALFORMED', { unit: 'footer', offset, length: 2 }, 'the footer states another version than the seal', {
    expected: `version ${expected}`,
    found: `version ${found}`,
  });
}

/** The id of the WAL object that a seal was written for; undefined for other objects. */
export function sealedWalId({ kind, identity: { objectId } }: Seal): number | undefined {
  if (kind !== 'wal' && kind !== 'fence') return undefined;
  const id = Number(new DataView(objectId.buffer, objectId.byteOffset, 16).getBigUint64(8));
  return Number.isSafeInteger(id) && equalBytes(objectId, numberObjectId(id)) ? id : undefined;
}

function checkIdentity(id: number, seal: Seal, range: { start: number; end: number }): void {
  const { objectId } = seal.identity;
  if (equalBytes(objectId, numberObjectId(id)) && (seal.kind === 'wal' || seal.kind === 'fence')) return;
  const found = new DataView(objectId.buffer, objectId.byteOffset, 16).getBigUint64(8);
  const at = { unit: 'seal' as const, offset: range.start, length: range.end - range.start };
  throw damage('IDENTITY_MISMATCH', at, 'another object is stored under this name', {
    expected: `WAL object ${id}`,
    found: `${seal.kind} object ${found}`,
  });
}

/** Reads every block; a bad one is a finding and the others go on. */
function readBlocks(bytes: Uint8Array, tail: WalTail, codec: BlockCodec, result: WalReadResult): void {
  const { info, seal } = tail;
  const index: TableIndex = atOffset(info.indexOffset, () =>
    decodeUnit(
      bytes.subarray(info.indexOffset, info.indexOffset + info.indexLength),
      codec,
      'index',
      MAX_BLOCK_BYTES,
      decodeIndex,
    ),
  );
  checkIndexLayout(info, index);
  result.index = index;
  checkUnreadSections(bytes, info, codec);
  const blocks: Block[] = [];
  const order = new SeqOrder();
  let rows = 0;
  for (let i = 0; i < index.blockCount; i++) {
    const offset = index.offset(i);
    try {
      const stored = bytes.subarray(offset, blockEnd(info, index, i));
      const block = decodeUnit(stored, codec, 'block', MAX_BLOCK_BYTES, (b) => decodeBlock(b, tail.formatVersion));
      order.add(block);
      rows += block.rowCount;
      blocks.push(block);
    } catch (error) {
      if (!isCorruption(error)) throw error;
      const findings = error.findings.map((f) => ({ ...f, at: { ...f.at, index: i } }));
      addFindings(result, new CorruptionError(error.message, findings), bytes.length, offset);
    }
  }
  result.readableRows = rows;
  if (rows > 0) result.seqs = { min: order.min, max: order.max };
  if (result.findings.some((f) => f.severity === 'error')) return;
  assertThat(blocks.length === index.blockCount, 'a sound object is whole: no block of it was left out (wal-object 1)');
  compareWithSeal(seal, rows, order);
  result.object = soundObject(result.id, bytes, { seal, sealBytes: tail.sealBytes, blocks, order });
}

interface SoundParts extends Pick<WalTail, 'seal' | 'sealBytes'> {
  blocks: readonly Block[];
  order: SeqOrder;
}

function soundObject(id: number, bytes: Uint8Array, { seal, sealBytes, blocks, order }: SoundParts): WalObject {
  const rowCount = blocks.reduce((n, b) => n + b.rowCount, 0);
  assertThat(order.min <= order.max, 'the first number of an object is not above its last');
  return {
    id,
    kind: rowCount > 0 ? 'rows' : 'fence',
    sizeBytes: bytes.length,
    seal,
    blocks,
    rowCount,
    minSeq: order.min,
    maxSeq: order.max,
    digest: () =>
      sealBytes === undefined
        ? { kind: 'object', bytes: objectDigest(bytes) }
        : { kind: 'seal', bytes: sealDigest(sealBytes) },
  };
}

/**
 * The object whose blocks were repaired, if they are all that its seal records. What is damaged besides, sections that only
 * record positions, needs no repair for that.
 * @throws CorruptionError COUNT_MISMATCH or SEQ_RANGE
 */
export function repairedObject(
  id: number,
  bytes: Uint8Array,
  seal: Seal,
  sealBytes: Uint8Array,
  blocks: readonly Block[],
): WalObject {
  assertThat(sealedWalId(seal) === id, 'an object is put together again by the seal that names it');
  const order = new SeqOrder();
  for (const block of blocks) order.add(block);
  const object = soundObject(id, bytes, { seal, sealBytes, blocks, order });
  compareWithSeal(seal, object.rowCount, order);
  return object;
}

/** Filter and stats, which fences have although nothing reads them: their checksums must hold like all others. */
function checkUnreadSections(bytes: Uint8Array, info: TableInfo, codec: BlockCodec): void {
  const { filterOffset, filterLength, statsOffset, statsLength } = info;
  const check = (unit: 'filter' | 'stats', offset: number, length: number) => {
    if (length === 0) return;
    atOffset(offset, () => unframeUnit(bytes.subarray(offset, offset + length), codec, unit, MAX_BLOCK_BYTES));
  };
  check('filter', filterOffset, filterLength);
  check('stats', statsOffset, statsLength);
}

function compareWithSeal(seal: Seal | undefined, rows: number, order: SeqOrder): void {
  const record = seal?.wal;
  if (seal === undefined || record === undefined) return;
  const where = { unit: 'rows' as const, offset: 0, length: 0 };
  if (record.rows !== rows) {
    throw damage('COUNT_MISMATCH', where, 'the object does not hold the rows its seal counts', {
      expected: `${record.rows} rows`,
      found: `${rows} rows`,
    });
  }
  if (rows > 0 && (record.firstSeq !== order.min || record.lastSeq !== order.max)) {
    throw damage('SEQ_RANGE', where, 'the sequence numbers are not those of the seal', {
      expected: `${record.firstSeq}..${record.lastSeq}`,
      found: `${order.min}..${order.max}`,
    });
  }
}

/** Lowest and highest sequence number over the blocks of one object. */
class SeqOrder {
  min = 0;
  max = 0;
  readonly #rows = new BlockCursor();

  add(block: Block): void {
    const rows = this.#rows;
    rows.attach(block);
    for (let ok = rows.first(); ok; ok = rows.next()) {
      if (this.max === 0 || rows.seq < this.min) this.min = rows.seq;
      if (rows.seq > this.max) this.max = rows.seq;
    }
  }
}

/** The finding for an id at which nothing is. */
export function missingWalFinding(id: number): Finding {
  return makeFinding({
    code: 'MISSING_OBJECT',
    object: walFindingObject(id),
    at: WHOLE_OBJECT,
    remedy: 'none',
  });
}
