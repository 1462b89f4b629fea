/**
 * Colour on terminals. Always holds: plain and painted output have the same characters, so whatever colour says is said by a
 * letter or a word too.
 */

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan' | 'magenta';
export type Paint = (style: Style, text: string) => string;

const ESCAPE = String.fromCharCode(27);
/** Codes that begin and end a style. */
const CODES: Record<Style, readonly [number, number]> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
  magenta: [35, 39],
};
const ANY_CODE = new RegExp(`${ESCAPE}\\[\\d+m`, 'g');

export const PLAIN: Paint = (_style, text) => text;

export const COLOUR: Paint = (style, text) => {
  const [begin, end] = CODES[style];
  return text === '' ? '' : `${ESCAPE}[${begin}m${text}${ESCAPE}[${end}m`;
};

/** `NO_COLOR` (any text) wins, then `FORCE_COLOR` (any but 0), then whether the output is a terminal that can. */
export function paintFor(env: Readonly<Record<string, string | undefined>>, isTerminal: boolean): Paint {
  if ((env['NO_COLOR'] ?? '') !== '') return PLAIN;
  const forced = env['FORCE_COLOR'] ?? '';
  if (forced !== '') return forced === '0' ? PLAIN : COLOUR;
  return isTerminal && env['TERM'] !== 'dumb' ? COLOUR : PLAIN;
}

/** Text that takes a column for each character, as nearly all does. */
const NARROW = /^[\x20-\x7e]*$/;
/** Of two columns on a terminal: scripts of East Asia in their full width, and pictographs. */
const WIDE =
  /[\u1100-\u115f\u2329\u232a\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18cff}\u{1aff0}-\u{1b2ff}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}|\ufe0f/u;
/** Marks on the character before them, and nothing else. */
const WITHOUT_WIDTH = /^[\p{Mn}\p{Me}]+$/u;
const CHARACTERS = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** Columns that a text takes on the screen, codes of colour not counted. */
export function widthOf(text: string): number {
  const plain = text.replace(ANY_CODE, '');
  if (NARROW.test(plain)) return plain.length;
  let width = 0;
  for (const { segment } of CHARACTERS.segment(plain)) width += columnsOfCharacter(segment);
  return width;
}

function columnsOfCharacter(character: string): number {
  if (WIDE.test(character)) return 2;
  return WITHOUT_WIDTH.test(character) ? 0 : 1;
}

/** The text with spaces up to so many columns. */
export function padTo(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - widthOf(text)));
}

/** As much of a text without colour as fits; what was cut off is two dots. */
export function cutToWidth(text: string, columns: number): string {
  return widthOf(text) <= columns ? text : `${beginning(text, Math.max(0, columns - 2))}..`;
}

/** The characters from the beginning that fit. */
export function beginning(text: string, columns: number): string {
  let width = 0;
  for (const { segment, index } of CHARACTERS.segment(text)) {
    width += columnsOfCharacter(segment);
    if (width > columns) return text.slice(0, index);
  }
  return text;
}
