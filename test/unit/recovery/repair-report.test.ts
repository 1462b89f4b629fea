/** What a repair reports: how many rows are lost, in words, and which limits of a loss may be given. */
import { describe, expect, it } from 'vitest';
import { lostRowsText, MAX_LOSS_CHECK, MAX_LOST_ROWS_CHECK } from '../../../src/recovery/repair-report.ts';

const KEPT = { recovered: 5, probable: 0, suspect: 0 };

describe('the rows that are lost', () => {
  it.each<[number, number | undefined, boolean, string]>([
    [0, 0, true, 'none'],
    [7, 7, true, '7'],
    [7, undefined, true, '7'],
    [0, undefined, false, 'at least 0, and nothing says how many at most'],
    [3, 9, false, 'at least 3, at most 9'],
  ])('%i, at most %s, exact %s: %s', (lost, lostAtMost, lostExact, expected) => {
    const rows = { ...KEPT, lost, lostExact, ...(lostAtMost !== undefined && { lostAtMost }) };
    expect(lostRowsText(rows)).toBe(expected);
  });
});

describe('the limit of a loss', () => {
  const faultsOf = (check: typeof MAX_LOSS_CHECK, value: unknown): string[] => {
    const faults: string[] = [];
    check(value, 'maxLoss', faults);
    return faults;
  };

  it('is rows, objects of the log, or both, from 0 on', () => {
    for (const value of [{}, { rows: 0 }, { walObjects: 3 }, { rows: 1, walObjects: 0 }])
      expect(faultsOf(MAX_LOSS_CHECK, value)).toEqual([]);
  });

  it.each([
    ['a negative number', { rows: -1 }],
    ['a part of a row', { rows: 0.5 }],
    ['no limit at all', { rows: Number.POSITIVE_INFINITY }],
    ['text', { walObjects: '3' }],
    ['an unknown name', { keys: 3 }],
    ['no object', 5],
  ])('is not %s', (_, value) => {
    expect(faultsOf(MAX_LOSS_CHECK, value).length).toBe(1);
  });

  it('of what is no log is of rows alone', () => {
    expect(faultsOf(MAX_LOST_ROWS_CHECK, { rows: 3 })).toEqual([]);
    expect(faultsOf(MAX_LOST_ROWS_CHECK, { walObjects: 3 }).length).toBe(1);
  });
});
