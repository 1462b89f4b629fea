/** Texts of the command line: keys, numbers, sizes and times, and what text from storage may not do to a terminal. */
import { describe, expect, it } from 'vitest';
import { COLOUR, cutToWidth, PLAIN, padTo, paintFor, widthOf } from '../../../src/cli/paint.ts';
import {
  age,
  commandText,
  dateText,
  duration,
  keyRangeText,
  keyText,
  number,
  percent,
  seqRangeText,
  shortCount,
  size,
  table,
  visible,
  wrap,
} from '../../../src/cli/words.ts';
import { shellWord } from '../../../src/common/shell-word.ts';
import { key } from '../../support/report-samples.ts';

const ESCAPE = String.fromCharCode(27);

describe('a key', () => {
  it.each([
    ['key/0001', 'key/0001'],
    ['Grüße', 'Grüße'],
    ['two words', '"two words"'],
    ['say "x"', '"say \\"x\\""'],
    ['', '""'],
    ['0x00', '"0x00"'],
  ])('%j is shown as %s', (text, shown) => {
    expect(keyText(key(text))).toBe(shown);
  });
  it('that is not printable is shown as hex', () => {
    expect(keyText(Uint8Array.of(0, 255, 16))).toBe('0x00ff10');
    expect(keyText(key(`a${ESCAPE}[2J`))).toBe('0x611b5b324a');
    expect(keyText(key('a\u202eb'))).toBe('0x61e280ae62');
  });
  it('that is long is cut and says so', () => {
    expect(keyText(key('a'.repeat(2000)))).toBe(`${'a'.repeat(60)}... (2,000 bytes)`);
  });
  it('is never shown where it is to be redacted', () => {
    expect(keyText(key('secret'), true)).toBe('<6 bytes>');
    expect(keyRangeText({ gte: key('a'), lte: key('bcd') }, true)).toBe('keys <1 bytes> to <3 bytes>');
  });
  it('alone is no range', () => {
    expect(keyRangeText({ gte: key('a'), lte: key('a') })).toBe('key a');
  });
  it('is the only end that a range without an upper end has', () => {
    expect(keyRangeText({ gte: key('a'), lte: undefined })).toBe('keys a and up, without an upper end');
    expect(keyRangeText({ gte: key('a'), lte: undefined }, true)).toBe('keys <1 bytes> and up, without an upper end');
    expect(keyRangeText({ gte: key(''), lte: undefined })).toBe('all keys');
  });
});

describe('text', () => {
  it('from storage cannot steer the terminal', () => {
    expect(visible(`x${ESCAPE}[31m\r\n`)).toBe('x\\u{1b}[31m\\u{d}\\u{a}');
  });
  it('has numbers, sizes and times that can be read', () => {
    expect([number(1234567), number(12n), number(0)]).toEqual(['1,234,567', '12', '0']);
    expect([size(9_999), size(10_240), size(5 * 1024 ** 3)]).toEqual(['9,999 B', '10.0 KiB', '5.0 GiB']);
    expect([duration(12.4), duration(2_150)]).toEqual(['12 ms', '2.1 s']);
    expect(seqRangeText({ min: 1000n, max: 1001n })).toBe('seqs 1,000 to 1,001');
  });
  it('stands in columns, whatever its colour', () => {
    const lines = table(
      COLOUR,
      ['name', '>size'],
      [
        ['a', COLOUR('red', '12')],
        ['long', '3'],
      ],
    );
    expect(lines.map((l) => l.replaceAll(new RegExp(`${ESCAPE}\\[\\d+m`, 'g'), ''))).toEqual([
      'name  size',
      'a       12',
      'long     3',
    ]);
  });
});

describe('an age', () => {
  it.each([
    [-5000, '0 s'],
    [119_000, '119 s'],
    [120_000, '2 min'],
    [7_199_000, '120 min'],
    [7_200_000, '2 h'],
    [172_799_000, '48 h'],
    [172_800_000, '2 days'],
    [86_400_000 * 1000, '1,000 days'],
  ])('of %d ms is %s', (ms, text) => {
    expect(age(ms)).toBe(text);
  });
});

describe('a count in a column', () => {
  it.each([
    [0, '0'],
    [99_999, '99,999'],
    [100_000, '100 k'],
    [999_499, '999 k'],
    [999_500, '1.00 M'],
    [1_234_567, '1.23 M'],
    [12_345_678_901, '12.3 G'],
    [4_000_000_000_000_000, '4,000 T'],
  ])('of %d is %s', (value, text) => {
    expect(shortCount(value)).toBe(text);
  });
});

describe('a part in percent', () => {
  it.each([
    [0, 10, '0 %'],
    [1, 1000, '<1 %'],
    [999, 1000, '99 %'],
    [10, 10, '100 %'],
    [0, 0, '0 %'],
  ])('%d of %d is %s', (part, whole, text) => {
    expect(percent(part, whole)).toBe(text);
  });
});

describe('a date', () => {
  it('is in UTC, to the second', () => {
    expect(dateText(1_795_250_436_364)).toBe('2026-11-21 08:40:36');
  });
});

describe('a command to run next', () => {
  it('names the location as a shell takes it', () => {
    const location = "s3://b/db?endpoint=http://h:9000&x='y'";
    expect(commandText('shaledb doctor LOCATION', { location })).toBe(
      `shaledb doctor 's3://b/db?endpoint=http://h:9000&x='\\''y'\\'''`,
    );
    expect(shellWord('file:///var/lib/db')).toBe('file:///var/lib/db');
    expect(shellWord('')).toBe("''");
  });
  it('takes the location as it is, without patterns', () => {
    expect(commandText('x LOCATION', { location: 'file:///$&' })).toBe("x 'file:///$&'");
  });
});

describe('colour', () => {
  it('is left out for files, for NO_COLOR and for dumb terminals, and can be forced', () => {
    expect(paintFor({}, true)).toBe(COLOUR);
    expect(paintFor({}, false)).toBe(PLAIN);
    expect(paintFor({ NO_COLOR: '1' }, true)).toBe(PLAIN);
    expect(paintFor({ NO_COLOR: '' }, true)).toBe(COLOUR);
    expect(paintFor({ TERM: 'dumb' }, true)).toBe(PLAIN);
    expect(paintFor({ FORCE_COLOR: '1' }, false)).toBe(COLOUR);
    expect(paintFor({ FORCE_COLOR: '1', NO_COLOR: '1' }, true)).toBe(PLAIN);
    expect(paintFor({ FORCE_COLOR: '0' }, true)).toBe(PLAIN);
  });
  it('takes no room', () => {
    expect(widthOf(COLOUR('bold', COLOUR('red', 'abc')))).toBe(3);
  });
});

describe('a width on the screen', () => {
  it.each([
    ['abc', 3],
    ['Grüße', 5],
    ['日本語', 6],
    ['한국어', 6],
    ['ｆｕｌｌ', 8],
    ['🎉', 2],
    ['🇩🇪', 2],
    ['👍🏽', 2],
    ['❤️', 2],
    ['e\u0301', 1],
    ['ก็', 1],
    ['', 0],
  ])('of %s is %d', (text, width) => {
    expect(widthOf(text)).toBe(width);
    expect(widthOf(padTo(text, 10))).toBe(10);
  });
  it('keeps columns apart', () => {
    const lines = table(
      PLAIN,
      ['key', '>rows'],
      [
        ['日本', '1'],
        ['a', '22'],
      ],
    );
    expect(lines).toEqual(['key   rows', '日本     1', 'a       22']);
  });
  it('decides where text is cut and broken', () => {
    expect(cutToWidth('日本語日本語', 8)).toBe('日本語..');
    expect(cutToWidth('日本語', 6)).toBe('日本語');
    expect(keyText(key('語'.repeat(100)))).toBe(`${'語'.repeat(30)}... (300 bytes)`);
    expect(wrap('日本 語 日本 x', 7)).toEqual(['日本 語', '日本 x']);
  });
});
