/** How jobs are divided by key: the example of subcompactions.ts, its edges, and two invariants on random tables. */
import { describe, expect, it } from 'vitest';
import { compareBytes } from '../../../src/common/bytes.ts';
import { nextInt, SeededRandom } from '../../../src/common/random.ts';
import { type IndexedView, planSubcompactions, sampleOf } from '../../../src/compaction/subcompactions.ts';
import type { Bound, BytesRange } from '../../../src/format/manifest-types.ts';
import { parseTrees } from '../../support/tree-notation.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** A table with blocks of `bytes`, whose separators are `keys`; the first block has none, as tables are written. */
function table(keys: string, bytes: number, view = ''): IndexedView {
  const separators = keys.split(' ');
  const size = separators.length * bytes;
  const last = `${separators.at(-1)!}zz`;
  const [noted] = parseTrees(`L0: ${size + 1}<${separators[0]},${last}>${view}`).manifest.l0;
  const stored = separators.map((key, i) => utf8(i === 0 ? '' : key));
  return {
    view: noted!,
    index: { blockCount: stored.length, firstKey: (i) => stored[i]!, offset: (i) => i * bytes },
  };
}

const boundText = (bound: Bound) => (bound.kind === 'unbounded' ? '..' : text(bound.key));
const rangeText = ({ start, end }: BytesRange) =>
  `${start.kind === 'included' ? '[' : '('}${boundText(start)}, ${boundText(end)}${end.kind === 'included' ? ']' : ')'}`;
const planned = (inputs: readonly IndexedView[], most: number) =>
  planSubcompactions(inputs.map(sampleOf), most).map(rangeText);

describe('a job', () => {
  // Tables of 399 and 299 bytes before their index, so that the larger one has 400 with it.
  const example = [table('a f k p', 100), table('c m', 150)];

  it('is divided as in the example', () => {
    expect(planned(example, 2)).toEqual(['(.., m)', '[m, ..)']);
  });

  it('is one range where one is wanted, or there is no table', () => {
    expect(planned(example, 1)).toEqual(['(.., ..)']);
    expect(planned(example, 0)).toEqual(['(.., ..)']);
    expect(planned([], 4)).toEqual(['(.., ..)']);
  });

  it('has no range smaller than its largest table, but for the last', () => {
    expect(planned([table('a c e g i k m o', 100)], 4)).toEqual(['(.., ..)']);
    expect(planned([table('a c e g', 100), table('i k m o', 100)], 4)).toEqual(['(.., k)', '[k, ..)']);
    expect(planned([table('a c e g', 100), table('b d f h', 100), table('i k m o', 100)], 4)).toEqual([
      '(.., f)',
      '[f, k)',
      '[k, ..)',
    ]);
  });

  it('is divided into as many ranges as wanted, none larger than the goal by more than a group of blocks', () => {
    const tables = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => table(`${i}a ${i}c ${i}e ${i}g`, 100));
    expect(planned(tables, 4)).toEqual(['(.., 2a)', '[2a, 4a)', '[4a, 6a)', '[6a, ..)']);
    expect(planned(tables, 3)).toEqual(['(.., 2g)', '[2g, 5e)', '[5e, ..)']);
  });

  it('begins no range with the first key, and none twice with one key', () => {
    const same = [0, 1, 2, 3, 4, 5].map(() => table('k', 100));
    expect(planned(same, 4)).toEqual(['(.., ..)']);
    expect(planned([...same, table('m', 100), table('m', 100), table('m', 100)], 8)).toEqual(['(.., m)', '[m, ..)']);
  });

  it('takes the first key of a table for the separator that its first block does not have', () => {
    const tables = ['a', 'b', 'c', 'd'].map((key) => table(key, 100));
    expect(planned(tables, 2)).toEqual(['(.., c)', '[c, ..)']);
  });

  it('counts of a cut view only what begins in the visible part', () => {
    const whole = table('a c e g', 100);
    const cut = (range: string) => table('a c e g', 100, range);
    expect(planned([whole, cut('[e,)'), cut('[e,)')], 2)).toEqual(['(.., g)', '[g, ..)']);
    expect(planned([whole, cut('[,c)'), cut('[,c)')], 2)).toEqual(['(.., g)', '[g, ..)']);
    expect(planned([whole, cut('[,c)'), cut('[,c)'), cut('[,c)')], 2)).toEqual(['(.., e)', '[e, ..)']);
  });

  it('samples at most 128 groups of blocks from each table', () => {
    const keys = Array.from({ length: 1000 }, (_, i) => `${i}`.padStart(4, '0'));
    const read: number[] = [];
    const large = table(keys.join(' '), 10);
    const firstKey = (i: number) => {
      read.push(i);
      return large.index.firstKey(i);
    };
    const counted = { ...large.index, firstKey };
    planned([{ view: large.view, index: counted }, large], 2);
    expect(read.length).toBeLessThan(128);
    expect(read.slice(0, 3)).toEqual([8, 16, 24]);
  });
});

it('ranges ascend, touch and hold every key, on random tables', () => {
  for (let seed = 0; seed < 1000; seed++) {
    const random = new SeededRandom(seed);
    const letter = () => String.fromCharCode(0x61 + nextInt(random, 26));
    const tables = Array.from({ length: 1 + nextInt(random, 12) }, () => {
      const keys = new Set(Array.from({ length: 1 + nextInt(random, 20) }, () => letter() + letter()));
      return table([...keys].sort().join(' '), 1 + nextInt(random, 100));
    });
    const most = nextInt(random, 9);
    const ranges = planSubcompactions(tables.map(sampleOf), most);
    expect(ranges.length).toBeLessThanOrEqual(Math.max(1, most));
    expect([ranges[0]!.start.kind, ranges.at(-1)!.end.kind]).toEqual(['unbounded', 'unbounded']);
    for (const [i, { start, end }] of ranges.entries()) {
      if (end.kind === 'unbounded') continue;
      expect([end.kind, ranges[i + 1]!.start]).toEqual(['excluded', { kind: 'included', key: end.key }]);
      if (start.kind !== 'unbounded') expect(compareBytes(start.key, end.key)).toBeLessThan(0);
    }
  }
});
