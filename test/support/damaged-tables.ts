/** Tables of a test database: where their parts are, ways to damage them, and scans that go on after damage. */
import type { CorruptionError, DbError } from '../../src/common/errors.ts';
import type { Reader } from '../../src/db/reader.ts';
import type { ScanOptions } from '../../src/db/reads.ts';
import { loadCodec } from '../../src/format/codecs.ts';
import { unframeUnit } from '../../src/format/framing.ts';
import { decodeIndex } from '../../src/format/index-block.ts';
import { decodeManifest } from '../../src/format/manifest-codec.ts';
import type { TableRef } from '../../src/format/manifest-types.ts';
import { blockEnd, FOOTER_BYTES } from '../../src/format/table-layout.ts';
import type { ScanRow } from '../../src/lsm/read/scan-row.ts';
import { text, type World } from './database.ts';
import { layoutOf } from './table-database.ts';

export const keyOf = (i: number) => `key-${String(i).padStart(4, '0')}`;
export const contentOf = (i: number, version: string) => `${version}-${i}-${'x'.repeat(40)}`;

export interface Layout {
  ref: TableRef;
  path: string;
  size: number;
  blocks: { offset: number; length: number; firstKey: string }[];
  sections: Record<'filter' | 'index' | 'stats' | 'seal' | 'info' | 'footer', { offset: number; length: number }>;
}

/** Tables that the newest manifest names, newest first. */
export async function tablesOf(world: World): Promise<Layout[]> {
  const newest = (await world.paths('manifest/')).pop()!;
  const { manifest } = decodeManifest(await world.bytes(newest));
  return Promise.all(manifest.l0.map((view) => blocksOf(world, view.table)));
}

async function blocksOf(world: World, ref: TableRef): Promise<Layout> {
  const { path, size, sections } = await layoutOf(world, ref);
  const bytes = await world.bytes(path);
  const { info } = ref;
  const codec = await loadCodec(info.codec);
  const stored = bytes.subarray(info.indexOffset, info.indexOffset + info.indexLength);
  const index = decodeIndex(unframeUnit(stored, codec, 'index', 1 << 20));
  const blocks = Array.from({ length: index.blockCount }, (_, i) => {
    const offset = index.offset(i);
    return { offset, length: blockEnd(info, index, i) - offset, firstKey: text(index.firstKey(i))! };
  });
  return { ref, path, size, blocks, sections };
}

export async function flip(world: World, path: string, at: number): Promise<void> {
  const bytes = await world.bytes(path);
  bytes[at] ^= 0x10;
  await world.replace(path, bytes);
}

/** Leaves no byte as it was. */
export async function ruin(world: World, path: string, at: { offset: number; length: number }): Promise<void> {
  const bytes = await world.bytes(path);
  for (let i = at.offset; i < at.offset + at.length; i++) bytes[i] ^= 0x55;
  await world.replace(path, bytes);
}

/** The table as SlateDB would have written it. */
export async function unseal(world: World, table: Layout): Promise<void> {
  const bytes = await world.bytes(table.path);
  const { seal } = table.sections;
  const out = new Uint8Array(bytes.length - seal.length);
  out.set(bytes.subarray(0, seal.offset));
  out.set(bytes.subarray(seal.offset + seal.length), seal.offset);
  new DataView(out.buffer).setUint32(out.length - FOOTER_BYTES + 4, seal.offset);
  await world.replace(table.path, out);
}

export interface Scanned {
  rows: ScanRow[];
  errors: { error: CorruptionError; afterRows: number }[];
}

/** Scans to the end, going on after each damage. */
export async function scanAll(
  world: World,
  reader: Pick<Reader, 'scan'>,
  options: ScanOptions = {},
  batch = 0,
): Promise<Scanned> {
  const scan = reader.scan(options);
  const out: Scanned = { rows: [], errors: [] };
  for (;;) {
    try {
      if (batch > 0) {
        const rows = await world.run(scan.nextBatch(batch));
        if (rows.length === 0) return out;
        out.rows.push(...rows);
      } else {
        const next = await world.run(scan.next());
        if (next.done) return out;
        out.rows.push(next.value);
      }
    } catch (error) {
      if ((error as DbError).kind !== 'corruption' || out.errors.length > 50) throw error;
      out.errors.push({ error: error as CorruptionError, afterRows: out.rows.length });
    }
  }
}

export const numbers = (rows: readonly ScanRow[]) => rows.map((r) => Number(text(r.key)!.slice(4)));
export const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
