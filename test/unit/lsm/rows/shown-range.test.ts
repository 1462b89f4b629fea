/**
 * Which keys a view shows, as text: a range is `[a c]`, with a round bracket where the key does not belong to it and `-` where it is
 * open; a table `a..c` by its first and last key, `?` where it does not say one.
 */
import { describe, expect, it } from 'vitest';
import type { Ulid } from '../../../../src/common/ulid.ts';
import type { Bound, BytesRange, TableView } from '../../../../src/format/manifest-types.ts';
import * as flags from '../../../../src/format/row-flags.ts';
import { DAMAGE_SEQ, FLAG_DAMAGED } from '../../../../src/lsm/rows/damage-row.ts';
import { compareStarts, rangesOverlap, shownRange, showsKey } from '../../../../src/lsm/rows/shown-range.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);
const bound = (key: string, bracket: string): Bound =>
  key === '-' ? { kind: 'unbounded' } : { kind: '[]'.includes(bracket) ? 'included' : 'excluded', key: utf8(key) };

function rangeOf(text: string): BytesRange {
  const [, open, start, end, close] = /^([[(])(\S+) (\S+)([\])])$/.exec(text)!;
  return { start: bound(start, open), end: bound(end, close) };
}

function textOf({ start, end }: BytesRange): string {
  const key = (b: Bound) => (b.kind === 'unbounded' ? '-' : new TextDecoder().decode(b.key));
  return `${start.kind === 'excluded' ? '(' : '['}${key(start)} ${key(end)}${end.kind === 'excluded' ? ')' : ']'}`;
}

function viewOf(text: string): TableView {
  const [table, range] = text.split(/ (.*)/);
  const [firstEntry, lastEntry] = table.split('..').map((key) => (key === '?' ? undefined : utf8(key)));
  return {
    viewId: 'v' as Ulid,
    table: { id: 't' as Ulid, info: { firstEntry, lastEntry } as never, formatVersion: 2 },
    visibleRange: range === undefined ? undefined : rangeOf(range),
  };
}

describe('what a view shows', () => {
  it.each([
    ['b..f', '[b f]'],
    ['?..f', '[- f]'],
    ['b..?', '[b -]'],
    ['b..f [c d]', '[c d]'],
    ['b..f (c d)', '(c d)'],
    ['b..f [- d)', '[b d)'],
    ['b..f [a z]', '[b f]'],
    ['b..f (b f)', '(b f)'],
    ['b..f [b f]', '[b f]'],
    ['?..? (a -]', '(a -]'],
  ])('%s => %s', (view, expected) => {
    expect(textOf(shownRange(viewOf(view)))).toBe(expected);
  });

  it.each([
    ['b..f', 'a b f z', 'abfz'],
    ['b..f [c d]', 'b c d e', 'cd'],
    ['b..f (c d)', 'c ca d', 'ca'],
    ['b..f [- d)', 'a c d', 'ac'],
  ])('%s of the keys %s: %s, whatever its table has', (view, keys, expected) => {
    const shown = keys.split(' ').filter((key) => showsKey(viewOf(view), utf8(key)));
    expect(shown.join('')).toBe(expected);
  });
});

describe('two ranges', () => {
  it.each([
    ['[a c]', '[c e]', true],
    ['[a c)', '[c e]', false],
    ['[a c]', '(c e]', false],
    ['[a c)', '(c e]', false],
    ['[a b]', '[c e]', false],
    ['[- b]', '[b -]', true],
    ['[- -]', '(x y)', true],
    ['(b -]', '[- b]', false],
  ])('%s and %s may share a key: %s, either way round', (a, b, expected) => {
    expect([rangesOverlap(rangeOf(a), rangeOf(b)), rangesOverlap(rangeOf(b), rangeOf(a))]).toEqual([
      expected,
      expected,
    ]);
  });

  it('stand in the order of the least key that they admit', () => {
    const ranges = ['(b z]', '[c z]', '[- z]', '[b z]', '[a z]'].map(rangeOf);
    const order = ranges.sort((a, b) => compareStarts(a.start, b.start)).map(textOf);
    expect(order).toEqual(['[- z]', '[a z]', '[b z]', '(b z]', '[c z]']);
  });
});

describe('the row of a damaged stretch', () => {
  it('has a flag that no stored row has, and comes before every version of its key', () => {
    const stored = Object.entries(flags).filter(([name]) => name.startsWith('FLAG_'));
    expect(stored.length).toBeGreaterThan(3);
    for (const [, flag] of stored) expect((flag as number) & FLAG_DAMAGED).toBe(0);
    // A byte of flags is all that is stored.
    expect(FLAG_DAMAGED).toBeGreaterThan(0xff);
    expect(DAMAGE_SEQ).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
  });
});
