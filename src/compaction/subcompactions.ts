/**
 * How a job is divided by key into ranges of about the same size, each a job of its own for a thread.
 *
 * ```
 * anchors      of each table at most 128: the first key of a group of blocks, with the bytes of the group
 * goal         total bytes / ranges wanted, but at least the largest table: a smaller range is not worth the requests
 * boundaries   anchors in the order of keys; where those before have reached the goal, 2 goals, 3 goals ..., a range begins
 * ranges       (.., b1) [b1, b2) ... [bn, ..)     on keys, so that the versions of a key are never divided
 * ```
 *
 * Four groups of 100 bytes at a, f, k, p and two of 150 at c, m; two ranges wanted, largest table 400: the goal is 400. Before k there are
 * a, c and f with 350 bytes, before m 450: the ranges are (.., m) and [m, ..).
 *
 * The first key of a block is that of the index, a separator; that of the first block says nothing, so the first key of the table takes
 * its place. (SlateDB leaves that group out, which is all there is of a small table.)
 *
 * Source: the planner of subcompactions of SlateDB 0.14 to 0.18, which follows RocksDB's.
 *
 * 1. The ranges ascend, touch and hold every key; none is empty of keys that can exist.
 * 2. Any division is right: what it costs is decided here, not which rows come out.
 * 3. Of an index nothing is kept but the sample: a large job has more of them than memory is for.
 */
import { assertThat } from '../common/assert.ts';
import { compareBytes } from '../common/bytes.ts';
import type { TableIndex } from '../format/index-block.ts';
import type { Bound, BytesRange, TableView } from '../format/manifest-types.ts';
import { isAbove, isBelow, shownRange } from '../lsm/rows/shown-range.ts';
import { tableBytes } from '../lsm/tree/visible-bytes.ts';

const MAX_ANCHORS = 128;

/** A table of the job, with its index. */
export interface IndexedView {
  view: TableView;
  index: Pick<TableIndex, 'blockCount' | 'firstKey' | 'offset'>;
}

/** Where a table could be divided. */
export interface Sample {
  tableBytes: number;
  anchors: readonly Anchor[];
}

export function sampleOf(input: IndexedView): Sample {
  return { tableBytes: tableBytes(input.view.table.info), anchors: anchorsOf(input) };
}

/** At most `most` ranges; one, if the tables are too small for more. */
export function planSubcompactions(samples: readonly Sample[], most: number): BytesRange[] {
  const largest = samples.reduce((bytes, sample) => Math.max(bytes, sample.tableBytes), 0);
  const anchors = samples.flatMap((sample) => [...sample.anchors]);
  const boundaries = most <= 1 ? [] : chooseBoundaries(anchors, most, largest);
  const ranges: BytesRange[] = [];
  let start: Bound = { kind: 'unbounded' };
  for (const key of boundaries) {
    ranges.push({ start, end: { kind: 'excluded', key } });
    start = { kind: 'included', key };
  }
  ranges.push({ start, end: { kind: 'unbounded' } });
  return ranges;
}

interface Anchor {
  key: Uint8Array;
  bytes: number;
}

/** Those whose keys are visible. */
function anchorsOf({ view, index }: IndexedView): Anchor[] {
  const { firstEntry, filterOffset } = view.table.info;
  const shown = shownRange(view);
  const stride = Math.ceil(index.blockCount / MAX_ANCHORS);
  const anchors: Anchor[] = [];
  for (let block = 0; block < index.blockCount; block += stride) {
    const next = Math.min(block + stride, index.blockCount);
    const end = next < index.blockCount ? index.offset(next) : Math.max(filterOffset, index.offset(block));
    const key = block === 0 && firstEntry !== undefined ? firstEntry : index.firstKey(block);
    if (isBelow(key, shown.start) || isAbove(key, shown.end)) continue;
    // Keys in the index are parts of a larger array.
    anchors.push({ key: key.slice(), bytes: end - index.offset(block) });
  }
  return anchors;
}

/** Ascending, each above the first anchor, so that something can be before it. */
function chooseBoundaries(anchors: Anchor[], most: number, least: number): Uint8Array[] {
  const total = anchors.reduce((sum, { bytes }) => sum + bytes, 0);
  const goal = Math.max(Math.floor(total / most), least);
  if (goal === 0 || goal >= total) return [];
  anchors.sort((a, b) => compareBytes(a.key, b.key));
  const boundaries: Uint8Array[] = [];
  let before = 0;
  for (const { key, bytes } of anchors) {
    const last = boundaries.at(-1) ?? anchors[0].key;
    const isReached = before >= goal * (boundaries.length + 1);
    if (isReached && boundaries.length < most - 1 && compareBytes(key, last) > 0) boundaries.push(key);
    before += bytes;
  }
  assertThat(boundaries.length < most, 'a job is divided into no more ranges than wanted', { most });
  return boundaries;
}
