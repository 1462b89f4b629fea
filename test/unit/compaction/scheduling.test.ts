/** What a scheduler sees of a manifest (the notation: manifest-script.ts). */
import { expect, it } from 'vitest';
import {
  rowFacts,
  type Schedule,
  type Scheduler,
  treeFacts,
  type ViewFacts,
} from '../../../src/compaction/scheduling.ts';
import { parseManifest, tableId, tableName } from '../../support/manifest-script.ts';

const MANIFEST = parseManifest('l0 C v:B[bm,); run 7 D E; run 4; seg p l0 F; seg p run 9 G; parent q D');

it('a scheduler sees every tree in the order of its positions, with what is known of each table', () => {
  const rows = { puts: 3, deletes: 1, merges: 0, rowBytes: 40 };
  for (const { table } of [...MANIFEST.l0, ...MANIFEST.runs.flatMap((run) => run.views)]) {
    Object.assign(table.info, { indexOffset: 100, indexLength: 10 });
  }
  const trees = treeFacts(MANIFEST, (id) => (id === tableId('E') ? rows : undefined));
  const text = trees.map(({ name, l0, runs }) => [
    name,
    l0.map((v) => `${tableName(v.viewId)}:${tableName(v.tableId)}${v.visibleRange === undefined ? '' : '[..)'}`),
    runs.map((run) => `${run.id} ${run.bytes} ${run.views.map((v) => tableName(v.tableId)).join(' ')}`.trim()),
  ]);
  expect(text).toEqual([
    ['', ['C:C', 'v:B[..)'], ['7 220 D E', '4 0']],
    ['70', ['F:F'], ['9 0 G']],
  ]);
  const keys = ({ shown: { start, end } }: ViewFacts) =>
    [start, end].map((bound) => (bound.kind === 'unbounded' ? '' : new TextDecoder().decode(bound.key)));
  expect(trees[0]!.l0.map(keys)).toEqual([
    ['c', 'cz'],
    ['bm', 'bz'],
  ]);
  const [d, e] = trees[0]!.runs[0]!.views;
  expect([d!.isExternal, e!.isExternal, d!.rows, e!.rows]).toEqual([true, false, undefined, rows]);
  // The digits `1` and `J` of its name, 18, stand for 40 and 35 bits.
  expect(d!.madeAtMs).toBe(2 ** 40 + 18 * 2 ** 35);
});

it('a scheduler answers with proposals, whose sources name views of its input', () => {
  const oldest: Scheduler = ({ trees, slots }): Schedule => ({
    proposals: trees
      .slice(0, slots)
      .map(({ name, l0 }) => ({ tree: name, l0: l0.slice(-1), runs: [], reason: 'size' })),
    wakeAtMs: 5,
  });
  const options = {
    minCompactionSources: 4,
    maxCompactionSources: 8,
    includeSizeThreshold: 4,
    sortedRunConsolidationThreshold: 8,
    maxSpaceAmplification: 1,
    l0MaxSsts: 8,
  };
  const input = {
    trees: treeFacts(MANIFEST, () => undefined),
    active: [],
    slots: 1,
    avoid: new Set<never>(),
    nowMs: 0,
    barrier: 0,
    lastSeq: 0,
    keptWhole: [],
    options,
  };
  expect(oldest(input).proposals).toEqual([{ tree: '', l0: [input.trees[0]!.l0[1]], runs: [], reason: 'size' }]);
});

it('what is known of the rows of a table is what its stats and its seal say', () => {
  const stats = { puts: 3, deletes: 1, merges: 2, rawKeyBytes: 30, rawValueBytes: 12, blocks: undefined };
  const lineage = { level: 'l0', minSeq: 4, maxSeq: 9, maxCreateTs: 5, rows: 6, replayAfterWalId: 1 } as const;
  const counted = { puts: 3, deletes: 1, merges: 2, rowBytes: 42 };
  expect(rowFacts(stats, undefined)).toEqual(counted);
  expect(rowFacts(stats, {})).toEqual(counted);
  const buckets = [{ byMs: 7, bytes: 5 }];
  expect(rowFacts(stats, { lineage, expiry: { buckets } })).toEqual({ ...counted, maxSeq: 9, expiring: buckets });
  expect(rowFacts(stats, { expiry: { buckets: [] } })).toEqual({ ...counted, expiring: [] });
  expect(rowFacts(undefined, { lineage })).toBeUndefined();
});
