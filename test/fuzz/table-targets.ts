/** Tables and WAL objects: each of their sections on its own, and whole objects in which one part is damaged. */
import { SYSTEM_CLOCK } from '../../src/common/clock.ts';
import type { Random } from '../../src/common/random.ts';
import { ulidFromBytes, ulidToHalves } from '../../src/common/ulid.ts';
import { type Block, checkBlockOrder, decodeBlock } from '../../src/format/block.ts';
import { BlockCursor, FoundRow, findInBlock } from '../../src/format/block-cursor.ts';
import { BloomBuilder } from '../../src/format/bloom.ts';
import { type BlockCodec, NO_CODEC } from '../../src/format/codecs.ts';
import { decodeFilter, encodeFilter } from '../../src/format/filter.ts';
import { unframeUnit } from '../../src/format/framing.ts';
import { decodeIndex } from '../../src/format/index-block.ts';
import { decodeInfo, encodeInfo } from '../../src/format/info-block.ts';
import { decodeSeal, encodeSeal, type Seal } from '../../src/format/seal.ts';
import { checkStarts } from '../../src/format/seal-records.ts';
import { decodeStats, StatsBuilder, type TableStats } from '../../src/format/stats-block.ts';
import { checkLayout, decodeFooter, encodeFooter, FOOTER_BYTES, sealRange } from '../../src/format/table-layout.ts';
import { DamagedBlock, Gap } from '../../src/lsm/rows/damaged-block.ts';
import { BlockCache } from '../../src/lsm/table/block-cache.ts';
import { MAX_BLOCK_BYTES, TableReader } from '../../src/lsm/table/table-reader.ts';
import { readWalObject } from '../../src/lsm/wal/wal-object.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { mutateBytes, mutateFlat, oneIn, pick } from './mutate.ts';
import { pickSeed, type SeedObjects } from './seeds.ts';
import { fixTableCrcs, mutateSeal, mutateTable, type TableParts, withCrc } from './table-parts.ts';
import { expectSame, length, type Target } from './target.ts';

/** A payload that is damaged and then framed, or framed and then damaged. */
function framed(
  payloads: readonly Uint8Array[],
  damage: (bytes: Uint8Array, random: Random) => Uint8Array,
): Target['make'] {
  const all = [...new Map(payloads.map((b) => [Buffer.from(b).toString('base64'), b])).values()].sort(
    (a, b) => a.length - b.length,
  );
  return (random) => {
    const payload = pickSeed(random, all, length);
    if (oneIn(random, 16)) return mutateBytes(withCrc(payload), random);
    return withCrc(damage(payload, random));
  };
}

const flat = (bytes: Uint8Array, random: Random) => mutateFlat(bytes, random, 0);

export function sectionTargets(parts: readonly TableParts[]): Target[] {
  const present = (section: (p: TableParts) => Uint8Array | undefined) =>
    parts.map(section).filter((b) => b !== undefined);
  const blocksOf = (version: number) => parts.filter((p) => p.formatVersion === version).flatMap((p) => p.blocks);
  const unframed = (bytes: Uint8Array, unit: 'info' | 'index' | 'stats' | 'filter' | 'block') =>
    unframeUnit(bytes, NO_CODEC, unit, MAX_BLOCK_BYTES);
  const block = (version: 1 | 2): Target => {
    // Now and then a block of the other version.
    const blocks = [...blocksOf(version), ...blocksOf(3 - version).slice(0, 4)];
    return {
      name: `block-v${version}`,
      make: framed(blocks, (bytes, random) => mutateBytes(bytes, random, blocks)),
      decode: (bytes) => {
        const decoded = decodeBlock(unframed(bytes, 'block'), version);
        useRows(decoded);
        checkBlockOrder(decoded);
      },
    };
  };
  return [
    {
      name: 'info',
      make: framed(
        parts.map((p) => encodeInfo(p.info)),
        flat,
      ),
      decode: (bytes) => {
        const info = decodeInfo(unframed(bytes, 'info'));
        const again = encodeInfo(info);
        expectSame(encodeInfo(decodeInfo(again)), again);
        checkLayout(info, 1 << 20, (1 << 20) + 200);
      },
    },
    {
      name: 'index',
      make: framed(
        parts.map((p) => p.index),
        flat,
      ),
      decode: (bytes) => {
        const index = decodeIndex(unframed(bytes, 'index'));
        for (let i = 0; i < index.blockCount; i++) index.findStart(index.firstKey(i));
      },
    },
    {
      name: 'stats',
      make: framed(
        present((p) => p.stats),
        flat,
      ),
      decode: (bytes) => {
        const again = encodeStats(decodeStats(unframed(bytes, 'stats')));
        expectSame(encodeStats(decodeStats(again)), again);
      },
    },
    filterTarget(present((p) => p.filter)),
    block(1),
    block(2),
  ];
}

function encodeStats(stats: TableStats): Uint8Array {
  const builder = new StatsBuilder();
  for (const [puts, deletes, merges] of stats.blocks ?? []) builder.addBlock(puts, deletes, merges);
  return builder.finish(stats);
}

/** A filter is used or not used, never refused: it may cost a read, not hide a row. */
function filterTarget(stored: readonly Uint8Array[]): Target {
  const builder = new BloomBuilder(100, 10);
  const hashes = Int32Array.from({ length: 100 }, (_, i) => Math.imul(i + 1, 0x9e3779b1));
  builder.addRange(hashes, hashes, 0, 100);
  const bloom = builder.finish();
  const seeds = [...stored, encodeFilter('legacy', bloom), encodeFilter('composite', bloom)];
  return {
    name: 'filter',
    make: framed(seeds, (bytes, random) => mutateBytes(bytes, random, seeds)),
    decode: (bytes) => {
      const payload = unframeUnit(bytes, NO_CODEC, 'filter', MAX_BLOCK_BYTES);
      for (const form of ['legacy', 'composite'] as const) {
        const filter = decodeFilter(payload, form);
        for (let i = 0; i < 3; i++) filter?.mayContain(hashes[i], hashes[99 - i]);
      }
    },
  };
}

/** Walks a block in every way: a block that decoded must never fail or run on. */
function useRows(block: Block): void {
  const cursor = new BlockCursor();
  cursor.attach(block);
  let rows = 0;
  while (cursor.next()) {
    if (cursor.valueStart + cursor.valueLength > block.bytes.length) throw new Error('a value outside of its block');
    if (cursor.keyLength < 1 || cursor.keyLength > 65_535) throw new Error('an illegal length of a key');
    if (!Number.isSafeInteger(cursor.seq)) throw new Error('an illegal sequence number');
    rows++;
  }
  if (rows !== block.rowCount) throw new Error(`${rows} rows walked, ${block.rowCount} counted`);
  cursor.last();
  const key = cursor.key.slice(0, cursor.keyLength);
  while (cursor.prev()) rows--;
  if (rows !== 1) throw new Error(`${rows - 1} rows missed backwards`);
  cursor.seek(key);
  cursor.seekBefore(key);
  findInBlock(block, key, Number.MAX_SAFE_INTEGER, new FoundRow());
}

export function codecTarget(codec: BlockCodec, parts: readonly TableParts[]): Target {
  const payloads = parts.flatMap((p) => p.blocks).filter((b) => b.length <= 8192);
  const bodies = [...payloads, new Uint8Array(5000), new Uint8Array(0), Uint8Array.of(1)].map((b) => codec.compress(b));
  return {
    name: `codec-${codec.name}`,
    make: framed(bodies, (bytes, random) => mutateBytes(bytes, random, bodies).subarray(0, 16_384)),
    decode: (bytes) => {
      const produced = unframeUnit(bytes, codec, 'block', MAX_BLOCK_BYTES).length;
      if (produced > MAX_BLOCK_BYTES) throw new Error(`${produced} bytes came out, more than the limit`);
      if (codec.name === 'lz4' && produced > 255 * bytes.length) throw new Error(`${produced} bytes came out of lz4`);
      return produced;
    },
  };
}

export function footerTarget(seeds: SeedObjects): Target {
  const footers = [...seeds.tables, ...seeds.wal].filter((b) => b.length > FOOTER_BYTES).map((b) => b.slice(-40));
  return {
    name: 'footer',
    make: (random) => mutateBytes(pick(random, footers), random),
    decode: (bytes) => {
      for (const size of [bytes.length, 1000, Number.MAX_SAFE_INTEGER]) {
        const footer = decodeFooter(bytes, size);
        expectSame(encodeFooter(footer), bytes.subarray(bytes.length - FOOTER_BYTES));
      }
    },
  };
}

/** Seals of tables, WAL objects and fences. */
export function sealTarget(parts: readonly TableParts[]): Target {
  const seals = parts.map((p) => p.seal).filter((seal) => seal.length > 0);
  return {
    name: 'seal',
    make: (random) => mutateSeal(pickSeed(random, seals, length), random),
    decode: (bytes) => {
      const seal = decodeSeal(bytes, 0, bytes.length);
      if (seal.rows !== undefined) checkStarts(seal.rows);
      if (seal.version === 1) reencodeSeal(seal);
    },
  };
}

function reencodeSeal(seal: Seal): void {
  const { version: _version, manifest: _manifest, kind, ...records } = seal;
  if (kind === 'manifest' || kind === 'compactions') throw new Error('a seal of another place was accepted');
  const again = encodeSeal({ ...records, kind });
  decodeSeal(again, 0, again.length);
}

// ---- whole objects

/** Damage between decoders: parts that fit their own form and not each other. */
function wholeObjects(parts: readonly TableParts[], objects: readonly Uint8Array[]): Target['make'] {
  return (random) => {
    if (oneIn(random, 6)) {
      const damaged = mutateBytes(pickSeed(random, objects, length), random, objects);
      return oneIn(random, 4) ? damaged : fixTableCrcs(damaged);
    }
    return mutateTable(
      pickSeed(random, parts, (p) => p.sizeBytes),
      random,
      parts,
    );
  };
}

/** Never rejects for what the bytes are: it lists what is wrong. */
export function walTarget(parts: readonly TableParts[], seeds: SeedObjects): Target {
  return {
    name: 'wal-object',
    make: wholeObjects(parts, seeds.wal),
    allowed: [],
    decode: async (bytes) => {
      const result = await readWalObject(sealedWalId(bytes), bytes);
      const isDamaged = result.findings.some((f) => f.severity === 'error') || result.incompatible !== undefined;
      if (isDamaged !== (result.object === undefined)) throw new Error('an object comes with errors, or neither comes');
      for (const { at } of result.findings) {
        if (at.offset < 0 || at.length < 0 || at.offset + at.length > bytes.length) {
          throw new Error(`a finding is at ${at.offset} + ${at.length} of ${bytes.length} bytes`);
        }
      }
      result.object?.digest();
      return result.object === undefined ? (result.incompatible ?? result.findings[0])?.code : undefined;
    },
  };
}

/** The id under which a WAL object must be stored by its own seal. */
function sealedWalId(bytes: Uint8Array): number {
  const id = namedTable(bytes)?.id ?? TABLE_ID;
  return id === TABLE_ID ? 1 : Number(ulidToHalves(id).low & 0xffffffffn);
}

/** A table as readers see it: the manifest's copy of the info block, then everything else on demand. */
export async function tableTarget(parts: readonly TableParts[], seeds: SeedObjects): Promise<Target> {
  const fallback = parts[0].info;
  return {
    name: 'table-object',
    make: wholeObjects(parts, seeds.tables),
    decode: async (bytes) => {
      const cache = new BlockCache({ capacityBytes: 64 << 20 });
      const ref = namedTable(bytes) ?? { id: TABLE_ID, info: fallback, formatVersion: 2 };
      const reader = new TableReader(ref, 'compacted/t.sst', storeOf(bytes), {
        cache,
        clock: SYSTEM_CLOCK,
        onFinding: () => undefined,
      });
      const meta = await reader.loadMeta();
      if (meta.index.blockCount === 0) return undefined;
      const loaded = await reader.loadRange(0, meta.index.blockCount - 1, meta);
      for (const block of loaded) {
        for (const part of block instanceof DamagedBlock ? block.parts : [block])
          if (!(part instanceof Gap)) useRows(part);
      }
      reader.dispose();
      const gaps = loaded.flatMap((block) => (block instanceof DamagedBlock ? block.parts : []));
      return gaps.find((part) => part instanceof Gap)?.error.code;
    },
  };
}

const TABLE_ID = '01M7Q5CQG10000000000000001' as TableReader['ref']['id'];

/** What a manifest that goes with this object would name, if the object's own info can be read. */
function namedTable(bytes: Uint8Array): TableReader['ref'] | undefined {
  try {
    const { infoOffset, formatVersion } = decodeFooter(bytes.subarray(-FOOTER_BYTES), bytes.length);
    const info = decodeInfo(bytes.subarray(infoOffset, bytes.length - FOOTER_BYTES));
    const { start, end } = sealRange(info, infoOffset);
    // The identity is the first record of a seal, and the id of the object its second member.
    const id = end - start < 40 ? TABLE_ID : ulidFromBytes(bytes.slice(start + 22, start + 38));
    return { id, info, formatVersion };
  } catch {
    return undefined;
  }
}

/** A store that answers every GET with a range of these bytes. */
function storeOf(bytes: Uint8Array): ObjectStore {
  const get: ObjectStore['get'] = async (_path, options) => {
    const range = options?.range ?? { offset: 0, length: bytes.length };
    const start = 'suffix' in range ? Math.max(0, bytes.length - range.suffix) : Math.min(range.offset, bytes.length);
    const end = 'suffix' in range ? bytes.length : Math.min(bytes.length, start + range.length);
    return { bytes: bytes.slice(start, end), size: bytes.length, etag: '"e"', storeTimeMs: 0, metadata: {} };
  };
  return { name: 'fuzz:', get } as unknown as ObjectStore;
}
