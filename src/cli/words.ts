/**
 * How values are shown to people: keys, numbers, sizes, times, tables of columns.
 *
 * Always holds: whatever comes from storage is shown without control characters, because a key or a path must not be able to
 * move the cursor or to hide a line of the terminal of the user.
 */
import type { CheckProgress, KeyRange, SeqRange } from '../admin.ts';
import { shellWord } from '../common/shell-word.ts';
import { beginning, type Paint, widthOf } from './paint.ts';

/** What every rendering needs to know. */
export interface View {
  paint: Paint;
  /** Characters of a line of the output. */
  columns: number;
  redactKeys: boolean;
  /** The location as it was given, for commands to run next; `NO_LOCATION` if none was. */
  location: string;
  /** The file that was given instead of a location. */
  file?: string;
  /** The root of the store, if it was stated: commands to run next need it, too. */
  root?: string;
  /** The command that runs, as it would be typed: it is not what to run next. */
  running?: string;
}

/** What stands in commands for the location, and in its place where a file was given instead. */
export const NO_LOCATION = 'LOCATION';

const LONGEST_KEY_SHOWN = 60;
const CONTROL = /[\p{C}\p{Zl}\p{Zp}]/gu;
/** Without quotes nothing else than the key could be meant. */
const UNAMBIGUOUS = /^[^\s"'\\]+$/u;

/** Text with control characters made visible. */
export function visible(text: string): string {
  return text.replace(CONTROL, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`);
}

/** A key as text where it is printable UTF-8, else as hex; long ones are cut and say so. */
export function keyText(key: Uint8Array, redact = false, longest = LONGEST_KEY_SHOWN): string {
  if (redact) return `<${key.length} bytes>`;
  const text = printable(key);
  if (text === undefined) return cut(`0x${Buffer.from(key).toString('hex')}`, key.length, longest);
  const plain = UNAMBIGUOUS.test(text) && !text.startsWith('0x');
  return cut(plain ? text : JSON.stringify(text), key.length, longest);
}

function printable(key: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(key);
    return visible(text) === text ? text : undefined;
  } catch {
    return undefined;
  }
}

function cut(text: string, bytes: number, longest: number): string {
  const shown = beginning(text, longest);
  return shown === text ? text : `${shown}... (${number(bytes)} bytes)`;
}

export function keyRangeText({ gte, lte }: KeyRange, redact = false): string {
  const from = keyText(gte, redact);
  if (lte === undefined) return gte.length === 0 ? 'all keys' : `keys ${from} and up, without an upper end`;
  return Buffer.compare(gte, lte) === 0 ? `key ${from}` : `keys ${from} to ${keyText(lte, redact)}`;
}

export function seqRangeText({ min, max }: SeqRange): string {
  return min === max ? `seq ${number(min)}` : `seqs ${number(min)} to ${number(max)}`;
}

/** With commas between thousands. */
export function number(value: number | bigint): string {
  return value.toString().replace(/\B(?=(\d{3})+$)/g, ',');
}

/** `1 row`, `2 rows`. */
export function count(value: number | bigint, noun: string, plural = `${noun}s`): string {
  return `${number(value)} ${BigInt(value) === 1n ? noun : plural}`;
}

export function size(bytes: number): string {
  if (bytes < 10_000) return `${number(bytes)} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(1)} ${units[unit]}`;
}

/** How far a check has come, in a line. */
export function progressText({ part, done, of, bytesRead }: CheckProgress, findings: number): string {
  const objects = of === undefined ? number(done) : `${number(done)} of ${number(of)}`;
  const found = findings === 0 ? '' : `, ${count(findings, 'finding')} so far`;
  return `checking ${part === 'tables' ? 'tables' : 'the log'}: ${objects}, ${size(bytesRead)} read${found}`;
}

export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** How old something is, in the greatest unit of which there are several. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${number(seconds)} s`;
  if (seconds < 7200) return `${number(Math.round(seconds / 60))} min`;
  return seconds < 172_800 ? `${number(Math.round(seconds / 3600))} h` : `${number(Math.round(seconds / 86_400))} days`;
}

/** A time of the store or of a process, UTC, to the second. */
export function dateText(ms: number): string {
  const format = { dateStyle: 'short', timeStyle: 'medium', timeZone: 'UTC' } as const;
  return new Intl.DateTimeFormat('sv-SE', format).format(ms);
}

const LEAST_SHORTENED = 100_000;

/** A count in few characters: `99,999`, `100 k`, `1.25 M`, `12.5 G`. */
export function shortCount(value: number): string {
  if (value < LEAST_SHORTENED) return number(value);
  const units = ['k', 'M', 'G', 'T'];
  let scaled = value / 1000;
  let unit = 0;
  // What would be rounded to four digits belongs to the next unit.
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  return `${scaled < 999.5 ? scaled.toPrecision(3) : number(Math.round(scaled))} ${units[unit]}`;
}

/** A part of a whole; small ones are not shown as none. */
export function percent(part: number, whole: number): string {
  if (whole === 0 || part === 0) return '0 %';
  const share = (100 * part) / whole;
  return share < 1 ? '<1 %' : `${Math.floor(share)} %`;
}

/** Columns side by side, two spaces apart; a column whose head begins with `>` is flush right. */
export function table(paint: Paint, heads: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const right = heads.map((h) => h.startsWith('>'));
  const titles = heads.map((h) => h.replace(/^>/, ''));
  const widths = titles.map((t, i) => Math.max(widthOf(t), ...rows.map((r) => widthOf(r[i] ?? ''))));
  const line = (cells: readonly string[], style?: (cell: string) => string) =>
    widths
      .map((w, i) => {
        const cell = cells[i] ?? '';
        const gap = ' '.repeat(w - widthOf(cell));
        const shown = style === undefined ? cell : style(cell);
        return right[i] ? gap + shown : shown + gap;
      })
      .join('  ')
      .trimEnd();
  return [line(titles, (t) => paint('dim', t)), ...rows.map((r) => line(r))];
}

/** `name  value` lines with the values in one column; entries without a value are left out. */
export function facts(paint: Paint, entries: readonly (readonly [string, string | undefined])[]): string[] {
  const shown = entries.filter((e): e is [string, string] => e[1] !== undefined);
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${paint('dim', name.padEnd(width))}  ${value}`);
}

/** Lines of at most so many characters, broken between words; a longer word gets a line of its own. */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && widthOf(line) + 1 + widthOf(word) > columns) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** A command of a hint with the placeholders LOCATION and FILE filled in. */
export function commandText(
  command: string,
  { location, root, file }: Pick<View, 'location' | 'root' | 'file'>,
): string {
  const isStated = root !== undefined && !/ --root /.test(command);
  const place = isStated ? `${shellWord(location)} --root ${shellWord(root)}` : shellWord(location);
  const named = file === undefined ? command : command.replace(/\bFILE\b/g, () => shellWord(file));
  return visible(named.replace(/\bLOCATION\b/g, () => place));
}
