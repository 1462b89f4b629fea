/** Arguments of reads and writes: `argument => bytes`, or the code of the refusal. Bytes in hexadecimal; ranges as `[from, to)`. */
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../../src/common/bytes.ts';
import { InvalidArgumentError } from '../../../src/common/errors.ts';
import { MAX_KEY_BYTES } from '../../../src/common/key-range.ts';
import { type RangeOptions, toKey, toRange, toValue } from '../../../src/db/keys.ts';
import { MAX_VALUE_BYTES } from '../../../src/format/block.ts';

const outcome = (make: () => string): string => {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    return error.code;
  }
};

/** A detached array: its memory was given to another thread. */
function transferred(): Uint8Array {
  const bytes = new Uint8Array(8);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

describe('a key', () => {
  it.each<[string, unknown, string]>([
    ['a string', 'aé', '61c3a9'],
    ['bytes', Uint8Array.of(0, 255), '00ff'],
    ['a part of memory', new Uint8Array([1, 2, 3, 4]).subarray(1, 3), '0203'],
    ['an empty string', '', 'BAD_ARGUMENT'],
    ['no bytes', new Uint8Array(0), 'BAD_ARGUMENT'],
    ['a lone surrogate', 'a\ud800', 'BAD_ARGUMENT'],
    ['a number', 7, 'BAD_ARGUMENT'],
    ['an array', [1, 2], 'BAD_ARGUMENT'],
    ['nothing', undefined, 'BAD_ARGUMENT'],
    ['memory that is gone', transferred(), 'BAD_ARGUMENT'],
  ])('of %s', (_, key, expected) => {
    expect(outcome(() => toHex(toKey(key as string)))).toBe(expected);
  });

  it('has up to 65,535 bytes, counted in UTF-8', () => {
    expect(toKey('k'.repeat(MAX_KEY_BYTES)).length).toBe(65_535);
    expect(outcome(() => toHex(toKey('k'.repeat(MAX_KEY_BYTES + 1))))).toBe('KEY_TOO_LARGE');
    expect(outcome(() => toHex(toKey('é'.repeat(32_768))))).toBe('KEY_TOO_LARGE');
    expect(outcome(() => toHex(toKey(new Uint8Array(65_536))))).toBe('KEY_TOO_LARGE');
  });

  it('is the array of the caller itself, not a copy', () => {
    const bytes = Uint8Array.of(1);
    expect(toKey(bytes)).toBe(bytes);
  });

  it('is what the memory holds, not what the array says of itself', () => {
    const bytes = Object.defineProperty(Uint8Array.of(1, 2, 3), 'length', { value: 1 });
    expect(toHex(toKey(bytes))).toBe('010203');
    const throwing = Object.defineProperty(Uint8Array.of(1, 2), 'length', {
      get() {
        throw new Error('mine');
      },
    });
    expect(toHex(toKey(throwing))).toBe('0102');
  });
});

describe('a value', () => {
  it('may be empty, and is refused where a key of that kind is', () => {
    expect([toValue('').length, toValue(new Uint8Array(0)).length, toHex(toValue('é'))]).toEqual([0, 0, 'c3a9']);
    expect(outcome(() => toHex(toValue(null as never)))).toBe('BAD_ARGUMENT');
    expect(outcome(() => toHex(toValue(transferred())))).toBe('BAD_ARGUMENT');
  });

  it('has a limit', () => {
    // Not filled: the memory is never touched.
    const large = new Uint8Array(new ArrayBuffer(MAX_VALUE_BYTES + 1));
    expect(outcome(() => `${toValue(large).length}`)).toBe('VALUE_TOO_LARGE');
    expect(toValue(large.subarray(1)).length).toBe(MAX_VALUE_BYTES);
  });
});

const shown = (range: ReturnType<typeof toRange>): string =>
  range === undefined
    ? 'empty'
    : `[${range.gte === undefined ? '' : toHex(range.gte)}, ${range.lt === undefined ? '' : toHex(range.lt)})`;

describe('a range', () => {
  const b = (hex: string) => fromHex(hex);
  it.each<[RangeOptions, string]>([
    [{}, '[, )'],
    [{ gte: b('05'), lt: b('07') }, '[05, 07)'],
    [{ gt: b('05'), lte: b('07') }, '[0500, 0700)'],
    [{ gte: b(''), lt: b('07') }, '[, 07)'],
    [{ lt: b('') }, 'empty'],
    [{ lte: b('') }, '[, 00)'],
    [{ gte: b('07'), lt: b('07') }, 'empty'],
    [{ gte: b('08'), lt: b('07') }, 'empty'],
    [{ gt: b('07'), lte: b('07') }, 'empty'],
    [{ gte: b('07'), lte: b('07') }, '[07, 0700)'],
    [{ prefix: b('') }, '[, )'],
    [{ prefix: b('05') }, '[05, 06)'],
    [{ prefix: b('05ff') }, '[05ff, 06)'],
    [{ prefix: b('ffff') }, '[ffff, )'],
    [{ prefix: b('05'), gte: b('0510'), lt: b('0520') }, '[0510, 0520)'],
    [{ prefix: b('05'), gte: b('04'), lt: b('09') }, '[05, 06)'],
    [{ prefix: b('05'), gte: b('06') }, 'empty'],
    [{ prefix: b('05'), lt: b('05') }, 'empty'],
    [{ prefix: b('ff'), lt: b('ff10') }, '[ff, ff10)'],
  ])('%o', (options, expected) => {
    expect(shown(toRange(options))).toBe(expected);
  });

  it.each<[RangeOptions, string]>([
    [{ gt: 'a', gte: 'a' }, 'BAD_ARGUMENT'],
    [{ lt: 'a', lte: 'a' }, 'BAD_ARGUMENT'],
    [{ gte: '\ud800' }, 'BAD_ARGUMENT'],
    [{ prefix: 5 as never }, 'BAD_ARGUMENT'],
    [{ lt: 'k'.repeat(65_536) }, 'KEY_TOO_LARGE'],
  ])('that is refused: %#', (options, code) => {
    expect(outcome(() => shown(toRange(options)))).toBe(code);
  });

  it('owns its bounds: a scan goes on after the caller has its bytes again', () => {
    const gte = Uint8Array.of(5);
    const range = toRange({ gte });
    gte[0] = 9;
    expect(shown(range)).toBe('[05, )');
  });
});
