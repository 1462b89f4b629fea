/** Tables that SlateDB 0.18 aligned: where their blocks and paddings are, and ways to make their index say something else. */

import { type BlockPlace, placesOfIndex } from '../../src/format/block-places.ts';
import { crc32 } from '../../src/format/checksum.ts';
import { CRC_BYTES, writeCrc } from '../../src/format/framing.ts';
import { decodeIndex } from '../../src/format/index-block.ts';
import { encodeInfo } from '../../src/format/info-block.ts';
import { decodeManifest, encodeManifest } from '../../src/format/manifest-codec.ts';
import type { TableRef } from '../../src/format/manifest-types.ts';
import type { TableInfo } from '../../src/format/table-info.ts';
import { encodeFooter } from '../../src/format/table-layout.ts';
import type { World } from './database.ts';
import { type TableLayout, tablesOf } from './table-database.ts';

export interface AlignedTable extends TableLayout {
  places: BlockPlace[];
  bytes: Uint8Array;
}

/** The L0 tables with padded blocks, newest first. */
export async function alignedTables(world: World): Promise<AlignedTable[]> {
  const tables = await Promise.all((await tablesOf(world)).map((table) => withPlaces(world, table)));
  return tables.filter(({ places }) => places.some(({ end, roomEnd }) => roomEnd > end));
}

async function withPlaces(world: World, table: TableLayout): Promise<AlignedTable> {
  const bytes = await world.bytes(table.path);
  const { info } = table.ref;
  return { ...table, bytes, places: placesOfIndex(info, decodeIndex(indexPayload(bytes, info))) };
}

export function indexPayload(bytes: Uint8Array, { indexOffset, indexLength }: TableInfo): Uint8Array {
  return bytes.slice(indexOffset, indexOffset + indexLength - CRC_BYTES);
}

/** Changes the length that the index states for block `i`, which it must state, and makes the checksum of the index right again. */
export async function stateLength(world: World, table: AlignedTable, i: number, length: number): Promise<void> {
  const { info } = table.ref;
  const { start, end } = table.places[i];
  const bytes = table.bytes.slice();
  const view = new DataView(bytes.buffer);
  const crcAt = info.indexOffset + info.indexLength - CRC_BYTES;
  const found: number[] = [];
  for (let at = info.indexOffset; at + 12 <= crcAt; at += 4) {
    // An offset of 0 is not stored.
    const isEntry = view.getUint32(at, true) === end - start && (start === 0 || view.getUint32(at + 4, true) === start);
    if (isEntry) found.push(at);
  }
  if (found.length !== 1) throw new Error(`${found.length} places for the length of block ${i}`);
  view.setUint32(found[0], length, true);
  writeCrc(bytes, crcAt, crc32(bytes, info.indexOffset, crcAt));
  await world.replace(table.path, bytes);
}

/** Puts another index into a table that has no seal; everything that names its place follows, manifests too. */
export async function replaceIndex(world: World, table: AlignedTable, payload: Uint8Array): Promise<void> {
  const { bytes, sections } = table;
  const old = table.ref.info;
  const grown = payload.length + CRC_BYTES - old.indexLength;
  const info: TableInfo = { ...old, indexLength: old.indexLength + grown, statsOffset: old.statsOffset + grown };
  const infoPayload = encodeInfo(info);
  const parts = [
    bytes.subarray(0, old.indexOffset),
    framed(payload),
    bytes.subarray(old.indexOffset + old.indexLength, sections.info.offset),
    framed(infoPayload),
    encodeFooter({ infoOffset: sections.info.offset + grown, formatVersion: 2 }),
  ];
  await world.replace(table.path, new Uint8Array(Buffer.concat(parts)));
  const changed = (ref: TableRef): TableRef => (ref.id === table.ref.id ? { ...ref, info } : ref);
  for (const path of await world.paths('manifest/')) {
    const { manifest } = decodeManifest(await world.bytes(path));
    const l0 = manifest.l0.map((view) => ({ ...view, table: changed(view.table) }));
    await world.replace(path, encodeManifest({ ...manifest, l0 }));
  }
}

function framed(payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(payload.length + CRC_BYTES);
  out.set(payload);
  writeCrc(out, payload.length, crc32(payload));
  return out;
}
