/**
 * Which keys a view shows: those of its table, cut by its visible range.
 *
 * One table may have several views, in one run, in level 0 and in runs at the same time; only their ranges distinguish them. So
 * whatever asks which tables hold a key, or whether two of them overlap, asks here and not the table's first and last key.
 */
import { compareBytes } from '../../common/bytes.ts';
import type { Bound, BytesRange, TableView } from '../../format/manifest-types.ts';

export function isBelow(key: Uint8Array, start: Bound): boolean {
  if (start.kind === 'unbounded') return false;
  const c = compareBytes(key, start.key);
  return c < 0 || (c === 0 && start.kind === 'excluded');
}

export function isAbove(key: Uint8Array, end: Bound): boolean {
  if (end.kind === 'unbounded') return false;
  const c = compareBytes(key, end.key);
  return c > 0 || (c === 0 && end.kind === 'excluded');
}

/** Whether no key is both at or before `end` and at or after `start`. */
export function endsBefore(end: Bound, start: Bound): boolean {
  if (end.kind === 'unbounded' || start.kind === 'unbounded') return false;
  const c = compareBytes(end.key, start.key);
  return c < 0 || (c === 0 && (end.kind === 'excluded' || start.kind === 'excluded'));
}

/** Negative: `a` admits a lesser key than `b`. */
export function compareStarts(a: Bound, b: Bound): number {
  if (a.kind === 'unbounded' || b.kind === 'unbounded')
    return Number(b.kind === 'unbounded') - Number(a.kind === 'unbounded');
  const c = compareBytes(a.key, b.key);
  return c !== 0 ? c : Number(a.kind === 'excluded') - Number(b.kind === 'excluded');
}

function compareEnds(a: Bound, b: Bound): number {
  if (a.kind === 'unbounded' || b.kind === 'unbounded')
    return Number(a.kind === 'unbounded') - Number(b.kind === 'unbounded');
  const c = compareBytes(a.key, b.key);
  return c !== 0 ? c : Number(b.kind === 'excluded') - Number(a.kind === 'excluded');
}

/** The keys that are in both ranges; none is, where they do not overlap. */
export function intersection(a: BytesRange, b: BytesRange): BytesRange {
  return {
    start: compareStarts(a.start, b.start) < 0 ? b.start : a.start,
    end: compareEnds(a.end, b.end) < 0 ? a.end : b.end,
  };
}

/** Whether every key of `inner` is in `outer`. */
export function holdsRange(outer: BytesRange, inner: BytesRange): boolean {
  return compareStarts(outer.start, inner.start) <= 0 && compareEnds(outer.end, inner.end) >= 0;
}

/** Unbounded where the table does not say its first or last key and the view does not cut it. */
export function shownRange({ table, visibleRange }: TableView): BytesRange {
  const { firstEntry, lastEntry } = table.info;
  let start: Bound = visibleRange?.start ?? { kind: 'unbounded' };
  let end: Bound = visibleRange?.end ?? { kind: 'unbounded' };
  if (firstEntry !== undefined && !isBelow(firstEntry, start)) start = { kind: 'included', key: firstEntry };
  if (lastEntry !== undefined && !isAbove(lastEntry, end)) end = { kind: 'included', key: lastEntry };
  return { start, end };
}

/** Whether the view shows rows of `key`, if its table has any. */
export function showsKey({ visibleRange }: TableView, key: Uint8Array): boolean {
  return visibleRange === undefined || !(isBelow(key, visibleRange.start) || isAbove(key, visibleRange.end));
}

/** Whether some key may be in both ranges. */
export function rangesOverlap(a: BytesRange, b: BytesRange): boolean {
  return !endsBefore(a.end, b.start) && !endsBefore(b.end, a.start);
}
