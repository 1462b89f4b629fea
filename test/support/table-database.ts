/** Small databases with tables of several blocks whose writer is dead, and what their objects are, for tests that damage them. */

import { WriteBatch } from '../../src/db/write-batch.ts';
import { decodeManifest } from '../../src/format/manifest-codec.ts';
import type { Manifest, TableRef } from '../../src/format/manifest-types.ts';
import { tablePath } from '../../src/format/object-names.ts';
import { decodeFooter, FOOTER_BYTES, sealRange } from '../../src/format/table-layout.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { World } from './database.ts';

export const TABLE_OPTIONS: OpenOptions = { sstBlockSizeBytes: 1024, minFilterKeys: 1 };

export const keyOf = (i: number): string => `key-${String(i).padStart(4, '0')}`;
export const contentOf = (i: number, version: string): string => `${version}-${i}-${'x'.repeat(40)}`;

export type SectionName = 'filter' | 'index' | 'stats' | 'seal' | 'info' | 'footer';

export interface TableLayout {
  ref: TableRef;
  path: string;
  size: number;
  dataEnd: number;
  sections: Record<SectionName, { offset: number; length: number }>;
}

/** The newest manifest of the world. */
export async function newestManifest(world: World): Promise<Manifest> {
  const path = (await world.paths('manifest/')).pop()!;
  return decodeManifest(await world.bytes(path)).manifest;
}

/** The L0 tables that the newest manifest names, newest first. */
export async function tablesOf(world: World): Promise<TableLayout[]> {
  const { l0 } = await newestManifest(world);
  return Promise.all(l0.map((view) => layoutOf(world, view.table)));
}

/** Where the parts of a sound table are. */
export async function layoutOf(world: World, ref: TableRef): Promise<TableLayout> {
  const path = tablePath(ref.id);
  const bytes = await world.bytes(path);
  const { info } = ref;
  const { infoOffset } = decodeFooter(bytes.subarray(-FOOTER_BYTES), bytes.length);
  const seal = sealRange(info, infoOffset);
  const sections = {
    filter: { offset: info.filterOffset, length: info.filterLength },
    index: { offset: info.indexOffset, length: info.indexLength },
    stats: { offset: info.statsOffset, length: info.statsLength },
    seal: { offset: seal.start, length: seal.end - seal.start },
    info: { offset: infoOffset, length: bytes.length - FOOTER_BYTES - infoOffset },
    footer: { offset: bytes.length - FOOTER_BYTES, length: FOOTER_BYTES },
  };
  return {
    ref,
    path,
    size: bytes.length,
    dataEnd: info.filterLength > 0 ? info.filterOffset : info.indexOffset,
    sections,
  };
}

/** Inverts bits of one byte. */
export async function damageAt(world: World, path: string, at: number, mask = 0x10): Promise<void> {
  const bytes = await world.bytes(path);
  bytes[at] ^= mask;
  await world.replace(path, bytes);
}

/** Overwrites bytes with others that are all different. */
export async function overwrite(world: World, path: string, at: number, length: number): Promise<void> {
  const bytes = await world.bytes(path);
  for (let i = at; i < at + length; i++) bytes[i] ^= 0xa5 + (i % 7);
  await world.replace(path, bytes);
}

/** Flushes one table per list of key numbers, each with its own version of the values; then the writer dies. */
export async function tablesWorld(tables: readonly (readonly number[])[], options: OpenOptions = {}): Promise<World> {
  const world = new World();
  const { db, line } = await world.connect({ ...TABLE_OPTIONS, ...options });
  for (const [version, keys] of tables.entries()) {
    const batch = new WriteBatch();
    for (const i of keys) batch.put(keyOf(i), contentOf(i, `v${version}`));
    await world.run(db.write(batch));
    await world.run(db.flush({ type: 'memtable' }));
  }
  line.cut();
  return world;
}

export function numbers(from: number, to: number, step = 1): number[] {
  const out: number[] = [];
  for (let i = from; i < to; i += step) out.push(i);
  return out;
}
