/** The end of a table in steps: which come, in which order, and that what is left out has its place. */
import { describe, expect, it } from 'vitest';
import { KeyHashes } from '../../../src/format/bloom.ts';
import { IndexBuilder } from '../../../src/format/index-block.ts';
import { StatsBuilder } from '../../../src/format/stats-block.ts';
import { TableEnding } from '../../../src/format/table-ending.ts';
import type { TableInfo } from '../../../src/format/table-info.ts';
import { utf8 } from './block-samples.ts';

const COUNTS = {
  rowCount: 5000,
  minSeq: 3,
  maxSeq: 9,
  maxCreateTs: 7,
  batches: 2,
  puts: 5000,
  deletes: 0,
  merges: 0,
  expiry: { buckets: [] },
  rawKeyBytes: 1,
  rawValueBytes: 2,
};

function ending({ withFilter, withStats }: { withFilter: boolean; withStats: boolean }) {
  const hashes = withFilter ? new KeyHashes(10) : undefined;
  for (let i = 0; i < 5000; i++) hashes?.add(utf8(`key-${i}`), 0, 6);
  const index = new IndexBuilder();
  index.add(0, utf8(''), 0, 0);
  const stats = withStats ? new StatsBuilder() : undefined;
  stats?.addBlock(5000, 0, 0);
  let at = 1000;
  const appended: number[] = [];
  const end = new TableEnding({
    isSorted: true,
    filter: { form: 'legacy', bitsPerKey: 10 },
    hashes,
    index,
    stats,
    rows: { rowsPerCheck: 1, blockStoredBytes: [1000], blockRows: [5000], checks: new Uint32Array(5000) },
    counts: COUNTS,
    offset: () => at,
    append: (payload) => {
      appended.push(payload.length);
      const place = { offset: at, length: payload.length + 4 };
      at += place.length;
      return place;
    },
  });
  let steps = 1;
  while (!end.step()) steps++;
  return { end, steps, appended };
}

describe('the end of a table', () => {
  it('has filter, index and stats, one after the other', () => {
    const { end, appended } = ending({ withFilter: true, withStats: true });
    expect(appended.length).toBe(3);
    expect(end.filter).toEqual({ offset: 1000, length: 2 + 6250 + 4 });
    expect(end.index.offset).toBe(end.filter.offset + end.filter.length);
    expect(end.stats.offset).toBe(end.index.offset + end.index.length);
  });

  it('places a filter that is left out where it would be, and stats nowhere', () => {
    const { end, appended } = ending({ withFilter: false, withStats: false });
    expect(appended.length).toBe(1);
    expect([end.filter, end.stats]).toEqual([
      { offset: 1000, length: 0 },
      { offset: 0, length: 0 },
    ]);
  });

  it('takes more steps for more keys and checks', () => {
    // 5 steps of 1,024 keys, the index, the stats, and a block of checks, which is written in one.
    expect(ending({ withFilter: true, withStats: true }).steps).toBe(8);
    expect(ending({ withFilter: false, withStats: true }).steps).toBe(4);
  });

  it('knows the facts when it is done, those of the seal encoded', () => {
    const { end } = ending({ withFilter: false, withStats: true });
    const info = {} as TableInfo;
    const facts = end.facts(info);
    const { rawKeyBytes: _keys, rawValueBytes: _values, ...counts } = COUNTS;
    expect(facts).toMatchObject({ ...counts, info });
    expect(facts).not.toHaveProperty('rawKeyBytes');
    expect(facts.rows.encoded?.length).toBeGreaterThan(4 * 5000);
  });
});
