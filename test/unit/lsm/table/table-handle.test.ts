/** Whether a table can hold a key, as one tree sees it: tables as in shown-range.test.ts, `b..f [c d]`. */
import { describe, expect, it } from 'vitest';
import type { Ulid } from '../../../../src/common/ulid.ts';
import type { Bound } from '../../../../src/format/manifest-types.ts';
import {
  compareToLast,
  endBound,
  mayHold,
  startBound,
  startsBefore,
  type TableHandle,
} from '../../../../src/lsm/table/table-handle.ts';
import { tableHint } from '../../../../src/lsm/table/table-hint.ts';
import { EMPTY_TREE, firstInRun, sourcesInRange } from '../../../../src/lsm/tree/table-store.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);

function handleOf(text: string): TableHandle {
  const [, first, last, open, start, end, close] = /^(\S+)\.\.(\S+)(?: ([[(])(\S+) (\S+)([\])]))?$/.exec(text)!;
  const key = (word: string) => (word === '?' ? undefined : utf8(word));
  const bound = (word: string, bracket: string): Bound =>
    word === '-' ? { kind: 'unbounded' } : { kind: '[]'.includes(bracket) ? 'included' : 'excluded', key: utf8(word) };
  const info = { firstEntry: key(first), lastEntry: key(last) } as never;
  const visibleRange = open === undefined ? undefined : { start: bound(start, open), end: bound(end, close) };
  return {
    view: { viewId: text as Ulid, table: { id: text as Ulid, info, formatVersion: 2 }, visibleRange },
    reader: {} as never,
  };
}

const keys = 'abcdefg'.split('');
const those = (test: (key: Uint8Array) => boolean) => keys.filter((key) => test(utf8(key))).join('');

describe('a table', () => {
  it.each([
    // table, may hold, starts before, has all its keys below
    ['b..f', 'bcdef', 'cdefg', 'g'],
    ['?..f', 'abcdef', 'abcdefg', 'g'],
    ['b..?', 'bcdefg', 'cdefg', ''],
    ['b..f [c d]', 'cd', 'defg', 'efg'],
    ['b..f (c e)', 'd', 'defg', 'efg'],
    ['b..f [- d)', 'bc', 'cdefg', 'defg'],
    ['?..? (c -]', 'defg', 'defg', ''],
  ])('%s', (text, held, startingBefore, below) => {
    const handle = handleOf(text);
    expect(those((key) => mayHold(handle, key))).toBe(held);
    expect(those((key) => startsBefore(handle, key))).toBe(startingBefore);
    expect(those((key) => compareToLast(handle, key) < 0)).toBe(below);
  });

  it('that is not cut has no bounds of its own', () => {
    expect([startBound(handleOf('b..f')), endBound(handleOf('b..f'))]).toEqual([
      { kind: 'unbounded' },
      { kind: 'unbounded' },
    ]);
  });
});

describe('a run', () => {
  const run = ['a..c', 'c..d [c d)', 'f..g'].map(handleOf);

  it('is searched from the first table that can hold the key: versions may go on in the next', () => {
    const found = 'a c ca d e f g h'.split(' ').map((key) => `${key}:${firstInRun(run, utf8(key))}`);
    expect(found.join(' ')).toBe('a:0 c:0 ca:1 d:2 e:2 f:2 g:2 h:3');
  });

  it('gives a scan its tables with keys of the range, as one source', () => {
    const view = {
      ...EMPTY_TREE,
      trees: [{ prefix: undefined, l0: [handleOf('b..e'), handleOf('x..z')], runs: [run] }],
    };
    const sources = (gte?: string, lt?: string) =>
      sourcesInRange(view, gte === undefined ? undefined : utf8(gte), lt === undefined ? undefined : utf8(lt))
        .map((source) => source.map((h) => h.view.viewId).join(' + '))
        .join(' | ');
    expect(sources()).toBe('b..e | x..z | a..c + c..d [c d) + f..g');
    expect(sources('d', 'f')).toBe('b..e | c..d [c d)');
    expect(sources('h')).toBe('x..z');
    expect(sources(undefined, 'a')).toBe('');
  });
});

describe('the advice about a damaged table', () => {
  it.each<[Parameters<typeof tableHint>[1], string, string]>([
    ['heals', 'none', 'loses nothing'],
    ['rebuilds', 'none', 'No row is lost'],
    ['heals-probably', 'possible', 'nothing else confirms it'],
    ['salvages', 'possible', 'stay readable'],
    ['none', 'possible', 'cannot be read from this table'],
  ])('that %s names the loss (%s) and the command for its table', (remedy, loss, words) => {
    const hint = tableHint('01J00000000000000000000001', remedy);
    expect([hint.lossIfRepaired, hint.summary]).toEqual([loss, expect.stringContaining(words)]);
    expect(hint.commands.some((command) => command.includes('01J00000000000000000000001'))).toBe(true);
  });
});
