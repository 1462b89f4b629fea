/**
 * How many bytes of a table a view shows: SlateDB's measure, on which its choice of jobs rests, so that both programs choose alike.
 *
 * ```
 * table     everything before the end of its index: index offset + index length
 * cut view  that times the part of the keys that is visible, as if keys were spread evenly between the first and the last one
 * position of a key   its next 8 bytes after what first and last key share, as a fraction: 0x80 0x40 is 0.5 + 0.25 / 256
 * ```
 *
 * A table of 1,000 bytes from `ka` (0x61) to `ku` (0x75), of which `[kf, )` is visible: 15 of 20 parts, 750 bytes.
 *
 * Source: `estimate_visible_size` of SlateDB 0.17 and 0.18, the same in both, compared with them by the recorded picks.
 */
import { equalBytes } from '../../common/bytes.ts';
import type { TableView } from '../../format/manifest-types.ts';
import type { TableInfo } from '../../format/table-info.ts';
import { shownRange } from '../rows/shown-range.ts';

const POSITION_BYTES = 8;
const LEAST_FRACTION = 1e-6;
/** Of a cut view, however narrow it is. */
const LEAST_BYTES = 1;

/** What is before the end of the index. */
export function tableBytes({ indexOffset, indexLength }: TableInfo): number {
  return indexOffset + indexLength;
}

/** An estimate; of a view that is not cut what its table has. */
export function visibleBytes(view: TableView): number {
  const bytes = tableBytes(view.table.info);
  if (view.visibleRange === undefined) return bytes;
  return Math.max(LEAST_BYTES, Math.round(bytes * visibleFraction(view)));
}

/** Bytes of a tree, and of its lowest run that has any; undefined: it has none. */
export interface TreeBytes {
  bytes: number;
  lowest: number | undefined;
}

/**
 * Estimated: bytes of all by those of the lowest runs, as if newer rows were all newer versions; 1: nothing is stored twice. By the trees that
 * have runs: of the others nothing is known, and where none has one, of none.
 */
export function spaceAmplification(trees: readonly TreeBytes[]): number | undefined {
  let all = 0;
  let below = 0;
  for (const { bytes, lowest } of trees) {
    if (lowest === undefined) continue;
    all += bytes;
    below += lowest;
  }
  return below === 0 ? undefined : all / below;
}

function visibleFraction(view: TableView): number {
  const { firstEntry, lastEntry } = view.table.info;
  if (firstEntry === undefined || lastEntry === undefined) return 1;
  const { start, end } = shownRange(view);
  // First and last key are known, so the range is bounded.
  if (start.kind === 'unbounded' || end.kind === 'unbounded') return 1;
  const isCut = end.kind === 'excluded' || !equalBytes(start.key, firstEntry) || !equalBytes(end.key, lastEntry);
  if (!isCut) return 1;
  const skip = sharedBytes(firstEntry, lastEntry);
  const whole = Math.max(positionOf(lastEntry, skip) - positionOf(firstEntry, skip), Number.EPSILON);
  const part = positionOf(end.key, skip) - positionOf(start.key, skip);
  // One key, or keys that differ later than what is compared: nothing is known.
  if (part === 0) return 1;
  return Math.min(1, Math.max(LEAST_FRACTION, part / whole));
}

function sharedBytes(a: Uint8Array, b: Uint8Array): number {
  const n = Math.min(a.length, b.length);
  let i = 0;
  while (i < n && a[i] === b[i]) i++;
  return i;
}

/** Where a key stands between 0 and 1; SlateDB's sums in its order, because the last bit decides ties. */
function positionOf(key: Uint8Array, skip: number): number {
  const end = Math.min(key.length, skip + POSITION_BYTES);
  let position = 0;
  let scale = 1 / 256;
  for (let i = skip; i < end; i++) {
    position += key[i] * scale;
    scale /= 256;
  }
  return position;
}
