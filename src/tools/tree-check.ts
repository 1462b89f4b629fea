/**
 * What must hold between the tables of one tree: the newer a source, the newer its versions. A read stops at the first source
 * that has a key, so a newer version below an older one would never be seen.
 */
import { present } from '../common/assert.ts';
import { compareBytes, EMPTY_BYTES } from '../common/bytes.ts';
import { type Finding, makeFinding, WHOLE_OBJECT } from '../common/finding.ts';
import type { Ulid } from '../common/ulid.ts';
import { sourcesOf, type TableView, type Tree, treesOf } from '../format/manifest-types.ts';
import { tablePath } from '../format/object-names.ts';
import { tableRepairHint } from '../lsm/table/table-anatomy.ts';
import type { DatabaseView } from './named-tables.ts';

/** Sequence numbers of the rows of each table. */
export type SourceSeqs = Map<Ulid, { min: number; max: number }>;

/** Pairs of sources, newest first, of which the older holds a newer row where both have keys. */
export function* sourcesOutOfOrder(view: DatabaseView, seqs: SourceSeqs): Generator<Finding> {
  const manifest = view.newest?.manifest;
  if (manifest === undefined) return;
  for (const tree of treesOf(manifest)) yield* checkTree(tree, seqs);
}

function* checkTree(tree: Tree, seqs: SourceSeqs): Generator<Finding> {
  const sources = sourcesOf(tree).map(({ views }) => views);
  for (const [i, newer] of sources.entries()) {
    for (const older of sources.slice(i + 1)) {
      for (const a of newer) for (const b of older) if (isReversed(a, b, seqs)) yield finding(b, a, seqs);
    }
  }
}

/** All rows of the older one are newer: more than an overlap, which unions of databases have. */
function isReversed(newer: TableView, older: TableView, seqs: SourceSeqs): boolean {
  const a = seqs.get(newer.table.id);
  const b = seqs.get(older.table.id);
  return a !== undefined && b !== undefined && b.min > a.max && overlap(newer, older);
}

function overlap(a: TableView, b: TableView): boolean {
  if (a.visibleRange !== undefined || b.visibleRange !== undefined) return false;
  const { firstEntry: aFirst, lastEntry: aLast } = a.table.info;
  const { firstEntry: bFirst, lastEntry: bLast } = b.table.info;
  if (aFirst === undefined || aLast === undefined || bFirst === undefined || bLast === undefined) return false;
  return compareBytes(aFirst, bLast) <= 0 && compareBytes(bFirst, aLast) <= 0;
}

function finding(older: TableView, newer: TableView, seqs: SourceSeqs): Finding {
  const { id, info } = older.table;
  const range = present(seqs.get(id), 'tables are compared whose numbers were read');
  return makeFinding({
    code: 'OUT_OF_ORDER',
    object: { role: 'table', path: tablePath(id), id, sealed: false },
    at: WHOLE_OBJECT,
    affects: {
      keys: { gte: info.firstEntry ?? EMPTY_BYTES, lte: info.lastEntry },
      seqs: { min: BigInt(range.min), max: BigInt(range.max) },
    },
    expected: `older rows than those of table ${newer.table.id}, which is read first`,
    found: `sequence numbers ${range.min}..${range.max}`,
    during: 'check',
    hint: tableRepairHint(id, `Table ${id} stands below an older one; versions in it may not be seen.`, 'unknown'),
  });
}
