/** Paths, ranges and ETags: what is legal, how paths are ordered, where ranges are cut. */
import { describe, expect, it } from 'vitest';
import { checkPath, checkRange, comparePaths, rangeBounds, sameEtag } from '../../../src/store/object-path.ts';

describe('paths', () => {
  it('legal ones pass', () => {
    for (const path of ['a', 'a/b', '...', 'a/.b', 'a..b/c', 'wal/00000000000000000001.sst', 'é']) checkPath('s', path);
  });

  it('others are refused', () => {
    const bad = ['', '/', '/a', 'a/', 'a//b', '.', '..', './a', 'a/.', 'a/../b', '../a', 'a/..', 'a\0b', '\ud800'];
    for (const path of [...bad, undefined, 7]) {
      const check = () => checkPath('the store', path as string);
      expect(check, JSON.stringify(path)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    }
  });

  it('are ordered by their UTF-8 bytes', () => {
    const paths = ['a', 'b', 'aa', 'a/b', 'a.b', '\u{10000}', '\uffff', '\ue000', '\ud7ff', 'é', '\u{1f600}b', ''];
    const byBytes = [...paths].sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));
    expect([...paths].sort(comparePaths)).toEqual(byBytes);
    expect(comparePaths('a', 'a')).toBe(0);
  });
});

describe('ranges', () => {
  it('are cut at the ends of the object', () => {
    expect(rangeBounds(undefined, 10)).toEqual({ start: 0, end: 10 });
    expect(rangeBounds({ offset: 2, length: 3 }, 10)).toEqual({ start: 2, end: 5 });
    expect(rangeBounds({ offset: 8, length: 3 }, 10)).toEqual({ start: 8, end: 10 });
    expect(rangeBounds({ offset: 11, length: 3 }, 10)).toEqual({ start: 10, end: 10 });
    expect(rangeBounds({ suffix: 3 }, 10)).toEqual({ start: 7, end: 10 });
    expect(rangeBounds({ suffix: 30 }, 10)).toEqual({ start: 0, end: 10 });
  });

  it('need whole numbers from 0 on', () => {
    for (const range of [
      { offset: -1, length: 1 },
      { offset: 0, length: 1.5 },
      { suffix: Number.NaN },
      { suffix: 2 ** 60 },
    ]) {
      expect(() => checkRange('s', 'p', range)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    }
    checkRange('s', 'p', { offset: 0, length: 0 });
    checkRange('s', 'p', undefined);
  });
});

it('ETags are compared without their quotes', () => {
  expect(sameEtag('"a"', 'a')).toBe(true);
  expect(sameEtag('"a"', '"a"')).toBe(true);
  expect(sameEtag('"a"', '"b"')).toBe(false);
  expect(sameEtag('"', '')).toBe(false);
});
