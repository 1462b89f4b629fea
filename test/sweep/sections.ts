/** In which part of its object a damaged byte lies, for the counts of the report. */
import { unframeUnit } from '../../src/format/framing.ts';
import { decodeInfo } from '../../src/format/info-block.ts';
import { roleOfPath } from '../../src/format/object-names.ts';
import { findManifestSeal } from '../../src/format/seal.ts';
import { decodeFooter, FOOTER_BYTES, sealRange } from '../../src/format/table-layout.ts';
import type { StoredObject } from './references.ts';

const PLAIN = { name: 'none', compress: (b: Uint8Array) => b, decompress: (b: Uint8Array) => b };
const MAX_INFO_BYTES = 1024 * 1024;

/** For example `table block`, `wal seal`, `manifest body`, `identity`. */
export function sectionOf({ path, bytes }: StoredObject, offset: number): string {
  const role = roleOfPath(path);
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
  return offset >= info.filterOffset && info.filterLength > 0 ? 'filter' : 'block';
}
