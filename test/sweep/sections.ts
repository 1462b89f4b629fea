/** In which part of its object a damaged byte is, for the counts of the report. */
import { placesOfIndex } from '../../src/format/block-places.ts';
import { unframeUnit } from '../../src/format/framing.ts';
import { decodeIndex } from '../../src/format/index-block.ts';
import { decodeInfo } from '../../src/format/info-block.ts';
import { roleOfPath } from '../../src/format/object-names.ts';
import { findManifestSeal } from '../../src/format/seal.ts';
import type { TableInfo } from '../../src/format/table-info.ts';
import { dataEnd, decodeFooter, FOOTER_BYTES, sealRange } from '../../src/format/table-layout.ts';
import type { StoredObject } from './references.ts';

const PLAIN = { name: 'none', compress: (b: Uint8Array) => b, decompress: (b: Uint8Array) => b };
const MAX_INFO_BYTES = 1024 * 1024;

/** For example `table block`, `wal seal`, `manifest body`, `identity`. */
export function sectionOf({ path, bytes }: StoredObject, offset: number): string {
  const role = roleOfPath(path.replace(/^parent\//, ''));
  if (role === 'table' || role === 'wal')
    return bytes.length === 0 ? `${role} empty` : `${role} ${part(bytes, offset)}`;
  if (role === 'manifest' || role === 'compactions') {
    const seal = findManifestSeal(bytes);
    if (offset < 2) return `${role} header`;
    return `${role} ${seal !== undefined && offset >= seal.start ? 'seal' : 'body'}`;
  }
  return role === 'sidecar' ? path.split('/')[1] : role;
}

function part(bytes: Uint8Array, offset: number): string {
  const footer = decodeFooter(bytes.slice(bytes.length - FOOTER_BYTES), bytes.length);
  if (offset >= bytes.length - FOOTER_BYTES) return 'footer';
  if (offset >= footer.infoOffset) return 'info';
  const stored = bytes.subarray(footer.infoOffset, bytes.length - FOOTER_BYTES);
  const info = decodeInfo(unframeUnit(stored, PLAIN as never, 'info', MAX_INFO_BYTES));
  const seal = sealRange(info, footer.infoOffset);
  if (offset >= seal.start) return 'seal';
  if (offset >= info.statsOffset && info.statsLength > 0) return 'stats';
  if (offset >= info.indexOffset) return 'index';
  if (offset >= dataEnd(info)) return 'filter';
  return isPadding(bytes, info, offset) ? 'padding' : 'block';
}

function isPadding(bytes: Uint8Array, info: TableInfo, offset: number): boolean {
  if (info.codec !== 'none') return false;
  const stored = bytes.subarray(info.indexOffset, info.indexOffset + info.indexLength);
  const index = decodeIndex(unframeUnit(stored, PLAIN as never, 'index', MAX_INFO_BYTES));
  return placesOfIndex(info, index).some(({ end, roomEnd }) => offset >= end && offset < roomEnd);
}
