/** Tuples as keys, byte by byte; their order is a property (test/property/tuple-keys.test.ts). */
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../../src/common/bytes.ts';
import { decodeTuple, encodeTuple, type TupleElement } from '../../../src/format/tuple-key.ts';

const FORMS: readonly [TupleElement[], string][] = [
  [[], ''],
  [[null, false, true], '102021'],
  [[0], '308000000000000000'],
  [[1], '30bff0000000000000'],
  [[-1], '30400fffffffffffff'],
  [['', 'a'], '4000406100'],
  [['\u0000\u0001\u0002'], '40010101020200'],
  [['é'], '40c3a900'],
  [[new Uint8Array(0), new Uint8Array([0, 1, 255])], '50005001010102ff00'],
];

it.each(FORMS)('%j is %s', (tuple, hex) => {
  expect(toHex(encodeTuple(tuple))).toBe(hex);
  expect(decodeTuple(fromHex(hex))).toEqual(tuple);
});

it('-0 is 0', () => {
  expect(encodeTuple([-0])).toEqual(encodeTuple([0]));
  expect(Object.is(decodeTuple(encodeTuple([-0]))[0], 0)).toBe(true);
});

it('long texts and bytes are as short ones', () => {
  const tuple = ['x'.repeat(1000), 'é'.repeat(500), new Uint8Array(3000), 'a\u0000'.repeat(40)];
  expect(decodeTuple(encodeTuple(tuple))).toEqual(tuple);
});

describe('bytes that no tuple has', () => {
  it.each([
    ['a string without an end', '4061'],
    ['bytes without an end', '50'],
    ['a number that is cut short', '30bff0'],
    ['NaN', '30fff8000000000000'],
    ['-0', '307fffffffffffffff'],
    ['an unknown tag', '7f'],
    ['an escape of nothing', '400100'],
    ['an escape of something else', '40010300'],
    ['a string that is no UTF-8', '408000'],
    ['a sublevel', 'ff6100'],
  ])('%s is refused as such', (_, hex) => {
    expect(() => decodeTuple(fromHex(hex))).toThrow(
      expect.objectContaining({ kind: 'incompatible', code: 'NOT_DECODABLE' }),
    );
  });
});

it('an array that changes while it is read harms nothing', () => {
  const odd = new Proxy(['a', 'b'], {
    get: (target, name, receiver) => {
      if (name === '1') encodeTuple(['something', 'else', 'in', 'between']);
      return Reflect.get(target, name, receiver);
    },
  });
  expect(decodeTuple(encodeTuple(odd))).toEqual(['a', 'b']);
});
