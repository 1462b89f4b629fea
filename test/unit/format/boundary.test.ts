/** Boundary files: those of the fixtures, white space, and what is no number. */
import { describe, expect, it } from 'vitest';
import { decodeBoundary, encodeBoundary } from '../../../src/format/boundary.ts';
import { goldenBytes } from '../../support/golden-fixtures.ts';
import { fuzzDecoder } from '../../support/mutations.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

describe('boundary file', () => {
  it('of the fixtures is read and written back', () => {
    for (const [file, value] of [
      ['manifest', 12],
      ['compactions', 7],
    ] as const) {
      const stored = goldenBytes('slatedb-0.17.0/collected', `db/gc/${file}.boundary`);
      expect(decodeBoundary(stored)).toBe(value);
      expect(encodeBoundary(value)).toEqual(stored);
    }
  });

  it('may have white space around the number', () => {
    expect([' 2\n', '2\r\n', '\t0002 ', '9007199254740991'].map((t) => decodeBoundary(bytes(t)))).toEqual([
      2,
      2,
      2,
      2 ** 53 - 1,
    ]);
  });

  it.each([
    '',
    ' ',
    '-1',
    '+1',
    '1.5',
    '1e3',
    '0x10',
    '1 2',
    'x',
    '9007199254740992',
    '1\u00a0',
    `${' '.repeat(300)}1`,
  ])('with %j is refused', (text) => {
    expect(() => decodeBoundary(bytes(text))).toThrow(expect.objectContaining({ code: 'MALFORMED' }));
  });

  it('gives a number or a typed error for 20,000 mutations', () => {
    const result = fuzzDecoder([bytes('17'), bytes(' 2\n')], decodeBoundary, { runs: 20_000, seed: 16 });
    expect(result.refused).toBeGreaterThan(3_000);
  });
});
