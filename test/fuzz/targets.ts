/**
 * The table of decoders: everything that turns bytes, names or answers from outside into values. Each entry makes inputs (from
 * honest seeds, damaged so that most get past the checksums) and feeds them to the decoder; whatever the decoder accepts must
 * then be usable: walked, looked into, encoded again.
 *
 * An entry throws or rejects with what the decoder threw; which errors are allowed is judged by the runner.
 */
import { Readable } from 'node:stream';
import { concatBytes, equalBytes } from '../../src/common/bytes.ts';
import type { ErrorKind } from '../../src/common/errors.ts';
import type { Random } from '../../src/common/random.ts';
import { ulidFromBytes, ulidToHalves } from '../../src/common/ulid.ts';
import { type Block, checkBlockOrder, decodeBlock } from '../../src/format/block.ts';
import { BlockCursor, FoundRow, findInBlock } from '../../src/format/block-cursor.ts';
import { BloomBuilder } from '../../src/format/bloom.ts';
import { decodeBoundary, encodeBoundary } from '../../src/format/boundary.ts';
import { crc32 } from '../../src/format/checksum.ts';
import { type BlockCodec, loadCodec, NO_CODEC } from '../../src/format/codecs.ts';
import { decodeCompactions, encodeCompactions, isCanonicalCompactions } from '../../src/format/compactions-codec.ts';
import { decodeFilter, encodeFilter } from '../../src/format/filter.ts';
import { unframeUnit } from '../../src/format/framing.ts';
import { decodeIndex } from '../../src/format/index-block.ts';
import { decodeInfo, encodeInfo } from '../../src/format/info-block.ts';
import { decodeManifest, encodeManifest, isCanonicalManifest } from '../../src/format/manifest-codec.ts';
import {
  parseCompactionsPath,
  parseManifestPath,
  parseTablePath,
  parseWalPath,
  roleOfPath,
} from '../../src/format/object-names.ts';
import { decodeManifestSeal, decodeSeal, encodeSeal, findManifestSeal, type Seal } from '../../src/format/seal.ts';
import { checkStarts } from '../../src/format/seal-records.ts';
import { decodeTracker, encodeTracker } from '../../src/format/sequence-tracker.ts';
import { decodeIdentity, encodeIdentity, encodeSidecar } from '../../src/format/sidecar.ts';
import { decodeStats, StatsBuilder, type TableStats } from '../../src/format/stats-block.ts';
import { CODECS } from '../../src/format/table-info.ts';
import { checkLayout, decodeFooter, encodeFooter, FOOTER_BYTES, sealRange } from '../../src/format/table-layout.ts';
import { BlockCache } from '../../src/lsm/block-cache.ts';
import { loadManifest } from '../../src/lsm/manifest-store.ts';
import { MAX_BLOCK_BYTES, TableReader } from '../../src/lsm/table-reader.ts';
import { readWalObject } from '../../src/lsm/wal-object.ts';
import { resolveLocation } from '../../src/open.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { S3Store } from '../../src/store/s3-store.ts';
import { mutateBytes, mutateFlat, mutateText, oneIn, pick } from './mutate.ts';
import { pickSeed, type SeedObjects, seedObjects } from './seeds.ts';
import {
  fixTableCrcs,
  mutateSeal,
  mutateTable,
  resealed,
  splitTable,
  type TableParts,
  withCrc,
} from './table-parts.ts';

// biome-ignore lint/suspicious/noConfusingVoidType: most decoders have nothing to say beyond not throwing
type Verdict = number | string | undefined | void;

export interface Target {
  name: string;
  /** One input. */
  make(random: Random): Uint8Array;
  /**
   * Decodes and uses what comes out. A number returned says how many bytes were produced, where a small input may produce
   * many; a text says that the input was refused, and why, by a decoder that lists what is wrong instead of throwing.
   */
  decode(bytes: Uint8Array): Verdict | Promise<Verdict>;
  /** Kinds of errors that may come; damage and newer forms if absent. */
  allowed?: readonly ErrorKind[];
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const length = (bytes: Uint8Array) => bytes.length;

/** All targets with their seeds; made once. */
export async function fuzzTargets(): Promise<Target[]> {
  const seeds = await seedObjects();
  const split = async (all: readonly Uint8Array[]) =>
    (await Promise.all(all.map(splitTable))).filter((parts) => parts !== undefined);
  const tables = await split(seeds.tables);
  const wal = await split(seeds.wal);
  const codecs = await Promise.all(CODECS.filter((name) => name !== 'none').map(loadCodec));
  const parts = [...tables, ...wal];
  return [
    ...manifestTargets(seeds),
    ...sectionTargets(parts),
    ...codecs.map((codec) => codecTarget(codec, parts)),
    footerTarget(seeds),
    sealTarget(parts),
    walTarget(wal, seeds),
    await tableTarget(tables, seeds),
    ...smallTargets(seeds),
    ...textTargets(seeds),
    listTarget(),
    answerTarget(),
  ];
}

// ---- manifests and compactions files

function manifestTargets(seeds: SeedObjects): Target[] {
  const ofVersion = (all: readonly Uint8Array[], version: number) => all.filter((bytes) => bytes[1] === version);
  const manifest = (version: 1 | 2): Target => ({
    name: `manifest-v${version}`,
    make: versionedBodies(ofVersion(seeds.manifests, version)),
    decode: (bytes) =>
      inTurn(
        () => useManifest(bytes),
        () => loadManifest(sealedId(bytes), bytes),
      ),
  });
  const compactions = (version: 1 | 2): Target => ({
    name: `compactions-v${version}`,
    make: versionedBodies(ofVersion(seeds.compactions, version)),
    decode: useCompactions,
  });
  return [manifest(1), manifest(2), compactions(1), compactions(2)];
}

const HEADER_BYTES = 2;

/** Header, FlatBuffer and perhaps a seal: either is damaged, and the seal is mostly made to fit the damage. */
function versionedBodies(all: readonly Uint8Array[]): Target['make'] {
  const bodies = all.map((bytes) => {
    const seal = findManifestSeal(bytes);
    return { body: bytes.subarray(0, seal?.start ?? bytes.length), seal: bytes.subarray(seal?.start ?? bytes.length) };
  });
  const donors = bodies.map(({ body }) => body);
  return (random) => {
    const { body, seal } = pickSeed(random, bodies, (b) => b.body.length);
    if (seal.length > 0 && oneIn(random, 4)) return concatBytes(body, mutateSeal(seal, random, body));
    const damaged = mutateFlat(body, random, HEADER_BYTES, donors);
    if (seal.length === 0 || oneIn(random, 3)) return damaged;
    return concatBytes(damaged, oneIn(random, 8) ? seal : resealed(seal, damaged));
  };
}

/** The id under which a manifest must lie by its own seal. */
function sealedId(bytes: Uint8Array): number {
  const range = findManifestSeal(bytes);
  const idAt = (range?.start ?? 0) + 6 + 16 + 12;
  return range === undefined || idAt + 4 > bytes.length
    ? 1
    : new DataView(bytes.buffer, bytes.byteOffset + idAt, 4).getUint32(0);
}

function useManifest(bytes: Uint8Array): void {
  const { manifest, bodyBytes } = decodeManifest(bytes);
  decodeManifestSeal(bytes, bodyBytes, 'manifest');
  isCanonicalManifest(bytes);
  const again = encodeManifest(manifest);
  expectSame(encodeManifest(decodeManifest(again).manifest), again);
  if (manifest.sequenceTracker !== undefined) decodeTracker(manifest.sequenceTracker);
}

function useCompactions(bytes: Uint8Array): void {
  const { compactions, bodyBytes } = decodeCompactions(bytes);
  decodeManifestSeal(bytes, bodyBytes, 'compactions');
  isCanonicalCompactions(bytes);
  const again = encodeCompactions(compactions);
  expectSame(encodeCompactions(decodeCompactions(again).compactions), again);
}

function expectSame(a: Uint8Array, b: Uint8Array): void {
  if (!equalBytes(a, b)) throw new Error('what was decoded does not survive being encoded and decoded again');
}

/** Runs all; the first error, if any, is thrown at the end. */
function inTurn(...runs: (() => unknown)[]): void {
  let failure: { error: unknown } | undefined;
  for (const run of runs) {
    try {
      run();
    } catch (error) {
      failure ??= { error };
    }
  }
  if (failure !== undefined) throw failure.error;
}

// ---- sections of tables

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

function sectionTargets(parts: readonly TableParts[]): Target[] {
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

function codecTarget(codec: BlockCodec, parts: readonly TableParts[]): Target {
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

function footerTarget(seeds: SeedObjects): Target {
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
function sealTarget(parts: readonly TableParts[]): Target {
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
function walTarget(parts: readonly TableParts[], seeds: SeedObjects): Target {
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
          throw new Error(`a finding lies at ${at.offset} + ${at.length} of ${bytes.length} bytes`);
        }
      }
      result.object?.digest();
      return result.object === undefined ? (result.incompatible ?? result.findings[0])?.code : undefined;
    },
  };
}

/** The id under which a WAL object must lie by its own seal. */
function sealedWalId(bytes: Uint8Array): number {
  const id = namedTable(bytes)?.id ?? TABLE_ID;
  return id === TABLE_ID ? 1 : Number(ulidToHalves(id).low & 0xffffffffn);
}

/** A table as readers see it: the manifest's copy of the info block, then everything else on demand. */
async function tableTarget(parts: readonly TableParts[], seeds: SeedObjects): Promise<Target> {
  const fallback = parts[0].info;
  return {
    name: 'table-object',
    make: wholeObjects(parts, seeds.tables),
    decode: async (bytes) => {
      const cache = new BlockCache({ capacityBytes: 64 << 20 });
      const ref = namedTable(bytes) ?? { id: TABLE_ID, info: fallback, formatVersion: 2 };
      const reader = new TableReader(ref, 'compacted/t.sst', storeOf(bytes), { cache, onFinding: () => undefined });
      const meta = await reader.loadMeta();
      if (meta.index.blockCount === 0) return undefined;
      const loaded = await reader.loadRange(0, meta.index.blockCount - 1, meta);
      for (const block of loaded) if (!(block instanceof Error)) useRows(block);
      reader.dispose();
      return loaded.find((block) => block instanceof Error)?.code;
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

// ---- small objects

function smallTargets(seeds: SeedObjects): Target[] {
  const trackers = seeds.manifests
    .map((bytes) => decodeManifest(bytes).manifest.sequenceTracker)
    .filter((tracker) => tracker !== undefined);
  trackers.push(
    encodeTracker({
      seqs: [1, 5, 2000, 2 ** 30],
      timesS: [1_700_000_000, 1_700_000_060, 1_700_003_600, 1_800_000_000],
    }),
  );
  const boundaries = [...seeds.boundaries, encodeBoundary(12), encodeBoundary(Number.MAX_SAFE_INTEGER)];
  return [
    {
      name: 'sequence-tracker',
      make: (random) => mutateBytes(pickSeed(random, trackers, length), random, trackers),
      decode: (bytes) => {
        const tracker = decodeTracker(bytes);
        const again = encodeTracker(tracker);
        expectSame(encodeTracker(decodeTracker(again)), again);
      },
    },
    {
      name: 'boundary',
      make: (random) =>
        oneIn(random, 2)
          ? mutateBytes(pick(random, boundaries), random)
          : mutateText(text(pick(random, boundaries)), random, [' ', '\n', '\t', '+', '-', '.', 'e9', '0x1']),
      decode: (bytes) => void decodeBoundary(encodeBoundary(decodeBoundary(bytes))),
    },
    identityTarget(seeds),
  ];
}

const JSON_WORDS = [
  'databaseId',
  'createdAtMs',
  'creator',
  'separateWalStore',
  'null',
  'true',
  '[]',
  '{}',
  '"x"',
  '1e400',
];

/** `shale/identity` and with it the frame of every sidecar. */
function identityTarget(seeds: SeedObjects): Target {
  return {
    name: 'identity',
    make: (random) => {
      const seed = pick(random, seeds.identities);
      if (oneIn(random, 5)) return mutateText(text(seed), random, ['shaledb/identity', ' ', '\n', '1', '2']);
      if (oneIn(random, 200)) return encodeSidecar('identity', 1, JSON.parse(`${'['.repeat(3000)}${']'.repeat(3000)}`));
      const json = mutateText(text(seed.subarray(seed.indexOf(0x0a) + 1)), random, JSON_WORDS);
      const crc = crc32(json).toString(16).padStart(8, '0');
      return concatBytes(new TextEncoder().encode(`shaledb/identity 1 ${crc} ${json.length}\n`), json);
    },
    decode: (bytes) => {
      const identity = decodeIdentity(bytes);
      decodeIdentity(encodeIdentity(identity));
    },
  };
}

// ---- names and locations

function textTargets(seeds: SeedObjects): Target[] {
  const paths = seeds.paths.filter((path) => path.length < 100);
  const words = [
    'manifest/',
    'wal/',
    'compacted/',
    '.sst',
    '.manifest',
    '18446744073709551615',
    '9007199254740992',
    'ILOU',
  ];
  return [
    {
      name: 'object-names',
      make: (random) => mutateText(pick(random, paths), random, words),
      decode: (bytes) => {
        const path = text(bytes);
        roleOfPath(path);
        inTurn(
          () => parseManifestPath(path),
          () => parseWalPath(path),
          () => parseTablePath(path),
          () => parseCompactionsPath(path),
        );
      },
    },
    {
      name: 'location',
      make: (random) => mutateText(pick(random, LOCATIONS), random, LOCATION_WORDS),
      allowed: ['invalid'],
      decode: async (bytes) => {
        const { location, dispose } = await resolveLocation(text(bytes));
        dispose();
        if (location.path.split('/').includes('..')) throw new Error(`the path ${location.path} leads upwards`);
      },
    },
  ];
}

const LOCATIONS = [
  'file:///var/lib/data/db',
  's3://bucket/some/path?endpoint=http://127.0.0.1:9000&forcePathStyle=true&region=eu-central-1',
  's3://bucket',
  'memory:',
];
const LOCATION_WORDS = [
  'file:',
  's3:',
  'memory:',
  '//',
  '%2F',
  '%2e%2e',
  '%',
  '%ff',
  '?',
  '&',
  '#',
  '=',
  '@',
  ':',
  'endpoint',
  'region',
  'forcePathStyle',
  'true',
  'http://',
  '[::1]',
  'xn--',
  'user:password@',
];

// ---- answers of S3

type Handle = () => { statusCode: number; headers: Record<string, string>; body: Readable };

/** A bucket whose every request is answered with `answer`. */
function scriptedBucket(): { store: S3Store; answer: (handle: Handle) => void } {
  let current: Handle | undefined;
  const handle = async () => ({ response: current!() });
  const store = new S3Store({
    bucket: 'bucket',
    endpoint: 'http://server.test:9000',
    credentials: { accessKeyId: 'key', secretAccessKey: 'secret' },
    clientConfig: { requestHandler: { handle } as never },
  });
  return {
    store,
    answer: (next) => {
      current = next;
    },
  };
}

const bodyOf = (bytes: Uint8Array) => Readable.from(bytes.length === 0 ? [] : [Buffer.from(bytes)]);
/** Everything that a store's answers may lead to; never a bug report of ours. */
const STORE_ERRORS: readonly ErrorKind[] = ['unavailable', 'invalid', 'aborted', 'conflict', 'incompatible'];

const LIST_PAGES = [0, 1, 3].map((count) => {
  const entries = Array.from(
    { length: count },
    (_, i) =>
      `<Contents><Key>wal/0000000000000000000${i + 1}.sst</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>` +
      `<ETag>&quot;e${i}&quot;</ETag><Size>${100 + i}</Size><StorageClass>STANDARD</StorageClass></Contents>`,
  );
  return (
    `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
    `<Name>bucket</Name><Prefix>wal/</Prefix><KeyCount>${count}</KeyCount><MaxKeys>1000</MaxKeys>` +
    `<IsTruncated>false</IsTruncated>${entries.join('')}</ListBucketResult>`
  );
});
const XML_WORDS = [
  '<Contents>',
  '</Contents>',
  '<Key>',
  '</Key>',
  '<Size>',
  '</Size>',
  'true',
  '<NextContinuationToken>t</NextContinuationToken>',
  '<IsTruncated>true</IsTruncated>',
  '<!DOCTYPE x [<!ENTITY a "aaaa">]>',
  '&a;',
  '<!-- -->',
  '<![CDATA[x]]>',
  '<Error><Code>SlowDown</Code></Error>',
  'wal/',
  '<ETag/>',
  '<Name/>',
];

/** A LIST answer, the same for every page that is asked for. */
function listTarget(): Target {
  const { store, answer } = scriptedBucket();
  return {
    name: 's3-list',
    make: (random) => mutateText(pick(random, LIST_PAGES), random, XML_WORDS),
    allowed: STORE_ERRORS,
    decode: async (bytes) => {
      answer(() => ({ statusCode: 200, headers: {}, body: bodyOf(bytes) }));
      let last = '';
      for await (const { path, size } of store.list('wal/')) {
        if (!path.startsWith('wal/') || path <= last || typeof size !== 'number') throw new Error(`listed: ${path}`);
        last = path;
      }
    },
  };
}

const ANSWERS = [
  '200\ncontent-length: 4\netag: "e"\ndate: Sun, 06 Nov 1994 08:49:37 GMT\nx-amz-meta-slatedbputid: 01M7Q5CQG1\n\nabcd',
  '206\ncontent-length: 2\ncontent-range: bytes 1-2/4\netag: "e"\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\n\nbc',
  '416\ncontent-range: bytes */4\n\n<Error><Code>InvalidRange</Code></Error>',
  '404\n\n<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>m</Message></Error>',
  '412\n\n<Error><Code>PreconditionFailed</Code></Error>',
  '503\nretry-after: 3\n\n<Error><Code>SlowDown</Code></Error>',
  '301\nlocation: http://other/\n\n',
];
const ANSWER_WORDS = [
  '200',
  '204',
  '206',
  '304',
  '400',
  '403',
  '500',
  'content-length',
  'content-range',
  'bytes',
  'bytes 0--1/0',
  'retry-after',
  'date',
  'etag',
  '<Code>',
  '</Code>',
  'InternalError',
  'NoSuchBucket',
  'ExpiredToken',
  ': ',
  '*',
  '-',
];

/** Any answer (status, headers, body) to every kind of request. */
function answerTarget(): Target {
  const { store, answer } = scriptedBucket();
  const put = { condition: 'if-absent', putId: TABLE_ID } as const;
  return {
    name: 's3-answer',
    make: (random) => mutateText(pick(random, ANSWERS), random, ANSWER_WORDS),
    allowed: STORE_ERRORS,
    decode: async (bytes) => {
      const [head, ...rest] = text(bytes).split('\n\n');
      const [status, ...lines] = head.split('\n');
      const headers = Object.fromEntries(
        lines.map((l) => [l.split(': ')[0].toLowerCase(), l.slice(l.indexOf(': ') + 2)]),
      );
      const body = new TextEncoder().encode(rest.join('\n\n'));
      const statusCode = Math.min(599, Math.max(200, Number.parseInt(status, 10) || 200));
      answer(() => ({ statusCode, headers, body: bodyOf(body) }));
      const calls = [
        () => store.get('a'),
        () => store.get('a', { range: { offset: 1, length: 2 } }),
        () => store.get('a', { range: { suffix: 3 } }),
        () => store.head('a'),
        () => store.put('a', body, put),
        () => store.delete(['a', 'b']),
      ];
      await calls[crc32(bytes) % calls.length]();
    },
  };
}
