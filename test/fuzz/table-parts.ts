/**
 * Tables and WAL objects taken apart into what their checksums cover, and put together again with checksums, offsets and
 * lengths that hold, so that damage done to one part reaches the decoder of that part instead of ending at a checksum.
 */
import { concatBytes } from '../../src/common/bytes.ts';
import { nextInt, type Random } from '../../src/common/random.ts';
import { crc32 } from '../../src/format/checksum.ts';
import { type BlockCodec, loadCodec } from '../../src/format/codecs.ts';
import { CRC_BYTES, readCrc, unframeUnit, writeCrc } from '../../src/format/framing.ts';
import { decodeIndex } from '../../src/format/index-block.ts';
import { decodeInfo, encodeInfo } from '../../src/format/info-block.ts';
import type { TableInfo } from '../../src/format/table-info.ts';
import {
  blockEnd,
  decodeFooter,
  encodeFooter,
  FOOTER_BYTES,
  type Footer,
  roomEnd,
  sealRange,
} from '../../src/format/table-layout.ts';
import { encodeIndex } from '../support/index-payload.ts';
import { mutateBytes, mutateFlat, oddNumber, oneIn, pick } from './mutate.ts';

const LIMIT_BYTES = 1 << 24;
const NONE = new Uint8Array(0);

export interface TableParts {
  info: TableInfo;
  formatVersion: Footer['formatVersion'];
  codec: BlockCodec;
  /** Uncompressed, without checksums; so are filter and stats. */
  blocks: Uint8Array[];
  /** Room of each block in the object: its stored bytes, and zeros after them if the object is aligned. */
  rooms: number[];
  separators: Uint8Array[];
  index: Uint8Array;
  filter: Uint8Array | undefined;
  stats: Uint8Array | undefined;
  /** Empty in an unsealed object. */
  seal: Uint8Array;
  sizeBytes: number;
}

/** The parts of a sound object; undefined for one that has none (zero bytes). */
export async function splitTable(bytes: Uint8Array): Promise<TableParts | undefined> {
  if (bytes.length <= FOOTER_BYTES) return undefined;
  const { infoOffset, formatVersion } = decodeFooter(bytes.subarray(-FOOTER_BYTES), bytes.length);
  const info = decodeInfo(bytes.subarray(infoOffset, bytes.length - FOOTER_BYTES - CRC_BYTES));
  const codec = await loadCodec(info.codec);
  const unit = (offset: number, length: number) =>
    unframeUnit(bytes.subarray(offset, offset + length), codec, 'object', LIMIT_BYTES);
  const indexPayload = unit(info.indexOffset, info.indexLength);
  const index = decodeIndex(indexPayload);
  const numbers = Array.from({ length: index.blockCount }, (_, i) => i);
  const seal = sealRange(info, infoOffset);
  return {
    info,
    formatVersion,
    codec,
    blocks: numbers.map((i) => unit(index.offset(i), blockEnd(info, index, i) - index.offset(i))),
    rooms: numbers.map((i) => roomEnd(info, index, i) - index.offset(i)),
    separators: numbers.map((i) => index.firstKey(i)),
    index: indexPayload,
    filter: info.filterLength === 0 ? undefined : unit(info.filterOffset, info.filterLength),
    stats: info.statsLength === 0 ? undefined : unit(info.statsOffset, info.statsLength),
    seal: bytes.subarray(seal.start, seal.end),
    sizeBytes: bytes.length,
  };
}

/** Appends the checksum of `body`. */
export function withCrc(body: Uint8Array): Uint8Array {
  const stored = concatBytes(body, new Uint8Array(CRC_BYTES));
  writeCrc(stored, body.length, crc32(body));
  return stored;
}

const SEAL_TAIL_BYTES = 20;

/** Damages the records of a seal and makes its length and CRC hold again, for `covered` before it (manifests). */
export function mutateSeal(seal: Uint8Array, random: Random, covered: Uint8Array = NONE): Uint8Array {
  if (seal.length <= SEAL_TAIL_BYTES || oneIn(random, 10)) return mutateBytes(seal, random);
  const records = splitRecords(seal.subarray(0, seal.length - SEAL_TAIL_BYTES));
  const at = nextInt(random, records.length);
  switch (nextInt(random, 8)) {
    case 0:
      records.splice(at, 0, pick(random, records));
      break;
    case 1:
      records.splice(at, 1);
      break;
    case 2: {
      // Another tag, or another length than the payload has.
      const view = new DataView(records[at].buffer);
      if (oneIn(random, 2)) view.setUint16(0, nextInt(random, 9));
      else view.setUint32(2, oddNumber(random, view.getUint32(2), seal.length));
      break;
    }
    default: {
      const payload = mutateBytes(records[at].subarray(6), random, records);
      const head = records[at].slice(0, 6);
      new DataView(head.buffer).setUint32(2, payload.length);
      records[at] = concatBytes(head, payload);
    }
  }
  const tail = seal.slice(seal.length - SEAL_TAIL_BYTES);
  if (oneIn(random, 8)) tail[4 + nextInt(random, 4)] = nextInt(random, 7);
  return resealed(concatBytes(...records, tail), covered);
}

/** The seal with a length and a CRC that hold. */
export function resealed(seal: Uint8Array, covered: Uint8Array = NONE): Uint8Array {
  if (seal.length < SEAL_TAIL_BYTES) return seal;
  const out = seal.slice();
  const view = new DataView(out.buffer);
  view.setUint32(out.length - SEAL_TAIL_BYTES, out.length);
  const end = out.length - 12;
  view.setUint32(end, crc32(concatBytes(covered, out.subarray(0, end))));
  return out;
}

function splitRecords(bytes: Uint8Array): Uint8Array[] {
  const records: Uint8Array[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + 6 <= bytes.length; ) {
    const end = Math.min(bytes.length, at + 6 + view.getUint32(at + 2));
    records.push(bytes.slice(at, end));
    at = end;
  }
  return records;
}

const PARTS = [
  'block',
  'block',
  'blocks',
  'lengths',
  'padding',
  'index',
  'filter',
  'stats',
  'seal',
  'info',
  'layout',
  'footer',
  'whole',
] as const;

/** An object in which one part is damaged and everything around it fits, as far as the damage leaves a way. */
export function mutateTable(parts: TableParts, random: Random, donors: readonly TableParts[]): Uint8Array {
  const target = pick(random, PARTS);
  const beforeCompression = oneIn(random, 2);
  const { codec } = parts;
  const unit = (payload: Uint8Array, isTarget: boolean, damage: (bytes: Uint8Array) => Uint8Array) => {
    const plain = isTarget && beforeCompression ? damage(payload) : payload;
    const body = codec.compress(plain);
    return withCrc(isTarget && !beforeCompression ? mutateBytes(body, random) : body);
  };
  const flat = (bytes: Uint8Array) => mutateFlat(bytes, random, 0);
  const plain = (bytes: Uint8Array) => mutateBytes(bytes, random, pick(random, donors).blocks);

  const blocks = parts.blocks.slice();
  if (target === 'blocks' && blocks.length > 0) reorder(blocks, random, pick(random, donors).blocks);
  const hit = nextInt(random, Math.max(1, blocks.length));
  const sections: Uint8Array[] = [];
  let size = 0;
  const append = (bytes: Uint8Array) => {
    sections.push(bytes);
    size += bytes.length;
    return { offset: size - bytes.length, length: bytes.length };
  };
  const entries = blocks.map((block, i) => {
    const { offset, length } = append(unit(block, target === 'block' && i === hit, plain));
    const room = i < parts.rooms.length ? parts.rooms[i] : length;
    // Also objects that are not aligned get padding now and then.
    const zeros =
      room > length && codec.name === 'none' ? room - length : target === 'padding' ? nextInt(random, 300) : 0;
    const padding = new Uint8Array(zeros);
    append(target === 'padding' && i === hit ? mutateBytes(padding, random) : padding);
    const firstKey = parts.separators[Math.min(i, parts.separators.length - 1)];
    const stated = zeros > 0 ? length : 0;
    return {
      offset,
      firstKey,
      encodedLength: target === 'lengths' && i === hit ? oddNumber(random, stated, room) % 2 ** 32 : stated,
    };
  });
  const absent = { offset: parts.info.filterOffset, length: 0 };
  const filter = parts.filter === undefined ? absent : append(unit(parts.filter, target === 'filter', plain));
  const indexPayload = target === 'index' && oneIn(random, 2) ? parts.index : encodeIndex(entries);
  const index = append(unit(indexPayload, target === 'index', flat));
  const stats =
    parts.stats === undefined ? { ...absent, offset: 0 } : append(unit(parts.stats, target === 'stats', flat));
  if (parts.seal.length > 0) append(target === 'seal' ? mutateSeal(parts.seal, random) : parts.seal);

  const info: TableInfo = {
    ...parts.info,
    filterOffset: filter.offset,
    filterLength: filter.length,
    indexOffset: index.offset,
    indexLength: index.length,
    statsOffset: stats.offset,
    statsLength: stats.length,
  };
  if (target === 'layout') shiftLayout(info, size, random);
  const infoBytes = encodeInfo(info);
  const { offset: infoOffset } = append(withCrc(target === 'info' ? flat(infoBytes) : infoBytes));
  const footer = encodeFooter({ infoOffset, formatVersion: parts.formatVersion });
  append(target === 'footer' ? mutateBytes(footer, random) : footer);
  const whole = concatBytes(...sections);
  return target === 'whole' ? mutateBytes(whole, random) : whole;
}

function reorder(blocks: Uint8Array[], random: Random, donors: readonly Uint8Array[]): void {
  const a = nextInt(random, blocks.length);
  const b = nextInt(random, blocks.length);
  switch (nextInt(random, 4)) {
    case 0:
      [blocks[a], blocks[b]] = [blocks[b], blocks[a]];
      return;
    case 1:
      blocks.splice(a, 0, blocks[b]);
      return;
    case 2:
      blocks.splice(a, 1);
      return;
    default:
      if (donors.length > 0) blocks[a] = pick(random, donors);
  }
}

const LAYOUT = ['filterOffset', 'filterLength', 'indexOffset', 'indexLength', 'statsOffset', 'statsLength'] as const;

function shiftLayout(info: TableInfo, size: number, random: Random): void {
  for (let n = 1 + nextInt(random, 2); n > 0; n--) {
    const field = pick(random, LAYOUT);
    info[field] = oneIn(random, 8)
      ? Number.MAX_SAFE_INTEGER - nextInt(random, 3)
      : oddNumber(random, info[field], size);
  }
  if (oneIn(random, 4)) info.codec = pick(random, ['none', 'snappy', 'zlib', 'lz4', 'zstd'] as const);
  if (oneIn(random, 4)) info.filterForm = pick(random, ['legacy', 'composite'] as const);
}

/**
 * Makes the checksums hold that an object's own footer, info and index point to, as far as they can be followed: for damage
 * that was done to the whole object.
 */
export function fixTableCrcs(bytes: Uint8Array): Uint8Array {
  const out = bytes.slice();
  const fix = (start: number, end: number) => {
    if (start < 0 || end > out.length || end - start < CRC_BYTES) return;
    const body = out.subarray(start, end - CRC_BYTES);
    if (readCrc(out, end - CRC_BYTES) !== crc32(body)) writeCrc(out, end - CRC_BYTES, crc32(body));
  };
  try {
    const { infoOffset } = decodeFooter(out.subarray(-FOOTER_BYTES), out.length);
    fix(infoOffset, out.length - FOOTER_BYTES);
    const info = decodeInfo(out.subarray(infoOffset, out.length - FOOTER_BYTES - CRC_BYTES));
    fix(info.filterOffset, info.filterOffset + info.filterLength);
    fix(info.indexOffset, info.indexOffset + info.indexLength);
    fix(info.statsOffset, info.statsOffset + info.statsLength);
    const { start, end } = sealRange(info, infoOffset);
    out.set(resealed(out.subarray(start, end)), start);
    if (info.codec !== 'none') return out;
    const index = decodeIndex(out.subarray(info.indexOffset, info.indexOffset + info.indexLength - CRC_BYTES));
    for (let i = 0; i < index.blockCount; i++) fix(index.offset(i), blockEnd(info, index, i));
  } catch {
    // The rest cannot be found any more.
  }
  return out;
}
