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

/** Characters that a text takes on the screen, codes of colour not counted. */
export function widthOf(text: string): number {
  return [...text.replace(ANY_CODE, '')].length;
}
