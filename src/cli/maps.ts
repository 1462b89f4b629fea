/**
 * Maps in one line of characters: where damage is in a file, in a log and in the key space.
 *
 * Each character stands for an equal share of what is shown and shows the worst in it, so no damage is too small to be seen.
 * The characters are the same with and without colour.
 */
import type { KeyRange, SstReport, WalObjectReport, WalObjectState } from '../admin.ts';
import type { Finding } from '../index.ts';
import { type Paint, padTo, type Style, widthOf } from './paint.ts';
import { keyText, number, type View, visible } from './words.ts';

export const MAP_MARGIN = 8;
const WIDEST_MAP = 96;

export interface Cell {
  char: string;
  /** The greater one wins where several things share a cell. */
  rank: number;
  style: Style;
}

const NOTHING: Cell = { char: '.', rank: 0, style: 'dim' };
const GOOD: Cell = { char: '=', rank: 1, style: 'green' };
const PADDING: Cell = { char: '_', rank: 1, style: 'dim' };
const SECTION_RANK = 2;
const DOUBT: Cell = { char: '?', rank: 8, style: 'yellow' };
const BAD: Cell = { char: 'X', rank: 9, style: 'red' };

export function mapWidth(view: View): number {
  return Math.max(16, Math.min(view.columns - MAP_MARGIN, WIDEST_MAP));
}

/** Neighbours of one style share its codes. */
export function strip(paint: Paint, cells: readonly Cell[]): string {
  let text = '';
  for (let i = 0; i < cells.length; ) {
    let end = i;
    let run = '';
    while (end < cells.length && cells[end].style === cells[i].style) run += cells[end++].char;
    text += paint(cells[i].style, run);
    i = end;
  }
  return text;
}

/** Puts the cell wherever [from, to) of `total` reaches, at least once, unless something worse is there. */
function mark(cells: Cell[], from: number, to: number, total: number, cell: Cell): void {
  if (total <= 0 || cells.length === 0) return;
  const at = (position: number) => Math.floor((position / total) * cells.length);
  const first = Math.min(Math.max(at(from), 0), cells.length - 1);
  const last = Math.min(Math.max(Math.ceil((to / total) * cells.length) - 1, first), cells.length - 1);
  for (let i = first; i <= last; i++) if (cell.rank > cells[i].rank) cells[i] = cell;
}

// ---- a file

interface Section {
  name: string;
  letter: string;
  offset: number;
  length: number;
}

const FOOTER_BYTES = 10;

function sectionsOf(report: SstReport): Section[] {
  const { info, seal } = report;
  const sections: Section[] = [];
  const add = (name: string, letter: string, offset: number, length: number) => {
    if (length > 0) sections.push({ name, letter, offset, length });
  };
  if (info !== undefined) {
    add('filter', 'f', info.filterOffset, info.filterLength);
    add('index', 'i', info.indexOffset, info.indexLength);
    add('stats', 's', info.statsOffset, info.statsLength);
  }
  if (seal !== undefined && seal.state !== 'none') add('seal', 'S', seal.offset, seal.length);
  const end = Math.max(0, ...sections.map((s) => s.offset + s.length), ...report.blocks.map(roomEnd));
  const infoEnd = Math.max(end, report.size - FOOTER_BYTES);
  if (info !== undefined) add('info', 'n', end, infoEnd - end);
  if (report.size > infoEnd) add('footer', 'F', infoEnd, report.size - infoEnd);
  return sections;
}

type BlockExtent = { offset: number; storedBytes: number; paddingBytes?: number };
const roomEnd = (b: BlockExtent) => b.offset + b.storedBytes + (b.paddingBytes ?? 0);

/** The object from its first to its last byte, and what the letters mean. */
export function fileMap(report: SstReport, view: View): string[] {
  const width = mapWidth(view);
  const cells: Cell[] = Array.from({ length: width }, () => NOTHING);
  const put = (offset: number, length: number, cell: Cell) => mark(cells, offset, offset + length, report.size, cell);
  for (const block of report.blocks) put(block.offset, block.storedBytes, block.crc === 'ok' ? GOOD : BAD);
  // After the blocks, so that a cell that holds both shows the block.
  const padded = report.blocks.filter((b) => b.paddingBytes !== undefined);
  for (const b of padded) put(b.offset + b.storedBytes, b.paddingBytes ?? 0, PADDING);
  const sections = sectionsOf(report);
  for (const s of sections) put(s.offset, s.length, { char: s.letter, rank: SECTION_RANK, style: 'cyan' });
  for (const { at, severity } of report.findings) {
    if (severity !== 'note') put(at.offset, at.length, severity === 'error' ? BAD : DOUBT);
  }
  const end = number(report.size);
  const padding = padded.length > 0 ? ['_ padding'] : [];
  const legend = [
    '= data',
    ...padding,
    ...sections.map((s) => `${s.letter} ${s.name}`),
    'X damaged',
    '? doubtful',
    '. unknown',
  ];
  return [
    `${view.paint('dim', 'file  ')}  ${strip(view.paint, cells)}`,
    `${' '.repeat(MAP_MARGIN)}${view.paint('dim', `0${end.padStart(width - 1)}`)}`,
    `${' '.repeat(MAP_MARGIN)}${view.paint('dim', legend.join(', '))}`,
  ];
}

// ---- the log

const WAL_CELLS: Record<WalObjectState, Cell> = {
  ok: GOOD,
  fence: { char: '|', rank: SECTION_RANK, style: 'cyan' },
  obsolete: { char: 'o', rank: 1, style: 'dim' },
  'ambiguous-empty': { ...DOUBT, char: '?' },
  foreign: { ...DOUBT, rank: 7, char: '~' },
  unknown: { ...DOUBT, char: 'u' },
  missing: { ...BAD, char: '_' },
  damaged: BAD,
};

/** One character for each object of the log; several share one where the line is too short. */
export function logMap(objects: readonly Pick<WalObjectReport, 'id' | 'state'>[], view: View): string[] {
  if (objects.length === 0) return [];
  const width = Math.min(mapWidth(view), objects.length);
  const cells: Cell[] = Array.from({ length: width }, () => NOTHING);
  objects.forEach((o, i) => {
    mark(cells, i, i + 1, objects.length, WAL_CELLS[o.state]);
  });
  const first = number(objects[0].id);
  const last = number(objects[objects.length - 1].id);
  const ends = objects.length === 1 ? first : `${first} to ${last}`;
  const unknown = objects.some((o) => o.state === 'unknown') ? ', u not known to this program' : '';
  const legend = `= good, | fence, X damaged, _ missing, ? empty, ~ foreign, o obsolete${unknown}`;
  return [
    `${view.paint('dim', 'log   ')}  ${strip(view.paint, cells)}`,
    `${' '.repeat(MAP_MARGIN)}${view.paint('dim', `ids ${ends}; ${legend}`)}`,
  ];
}

// ---- the key space

export interface KeyLine {
  label: string;
  extent: KeyRange;
  damaged: readonly KeyRange[];
}

const STRIP_KEY_BYTES = 6;

/**
 * Where keys are between two others, as numbers: the common prefix dropped, then the next six bytes as digits. The digits reach from
 * the least to the greatest byte of all keys shown: digits of a text are 10 of 256 bytes, and in base 256 all of them would share the
 * first column.
 */
export function keyScale(gte: Uint8Array, lte: Uint8Array, keys: readonly Uint8Array[]): (key: Uint8Array) => number {
  let skip = 0;
  while (skip < gte.length && skip < lte.length && gte[skip] === lte[skip]) skip++;
  let least = 255;
  let greatest = 0;
  for (const key of keys) {
    for (const byte of key.subarray(skip, skip + STRIP_KEY_BYTES)) {
      least = Math.min(least, byte);
      greatest = Math.max(greatest, byte);
    }
  }
  // One more for the end of a key, which comes before every byte.
  const base = Math.max(0, greatest - least) + 2;
  const read = (key: Uint8Array) => {
    let n = 0;
    for (let i = skip; i < skip + STRIP_KEY_BYTES; i++) n = n * base + (i < key.length ? key[i] - least + 1 : 0);
    return n;
  };
  const low = read(gte);
  const high = read(lte);
  return (key) => {
    if (Buffer.compare(key, gte) <= 0) return 0;
    if (Buffer.compare(key, lte) >= 0) return 1;
    return high === low ? 0 : Math.min(Math.max((read(key) - low) / (high - low), 0), 1);
  };
}

/** The ends that are known. */
function edgesOf({ gte, lte }: KeyRange): Uint8Array[] {
  return lte === undefined ? [gte] : [gte, lte];
}

/** The keys from the least to the greatest, one line for each table. */
export function keyMap(lines: readonly KeyLine[], view: View): string[] {
  if (lines.length === 0) return [];
  const keys = lines.flatMap((l) => edgesOf(l.extent)).sort(Buffer.compare);
  const [least] = keys;
  const greatest = keys[keys.length - 1];
  const place = keyScale(least, greatest, [...keys, ...lines.flatMap((l) => l.damaged.flatMap(edgesOf))]);
  const endOf = ({ lte }: KeyRange) => (lte === undefined ? 1 : place(lte));
  const margin = Math.max(MAP_MARGIN, ...lines.map((l) => widthOf(l.label) + 2));
  const width = Math.max(16, Math.min(view.columns - margin, WIDEST_MAP));
  const extentCell: Cell = { char: '-', rank: 1, style: 'green' };
  const outside: Cell = { char: ' ', rank: 0, style: 'dim' };
  const strips = lines.map(({ label, extent, damaged }) => {
    const cells: Cell[] = Array.from({ length: width }, () => outside);
    mark(cells, place(extent.gte), endOf(extent), 1, extentCell);
    for (const range of damaged) mark(cells, place(range.gte), endOf(range), 1, BAD);
    return `${view.paint('dim', padTo(label, margin))}${strip(view.paint, cells).trimEnd()}`;
  });
  const low = keyText(least, view.redactKeys);
  const isOpen = lines.some((l) => l.extent.lte === undefined);
  const high = isOpen ? 'no upper end' : keyText(greatest, view.redactKeys);
  const gap = Math.max(4, width - widthOf(low) - widthOf(high));
  return [`${' '.repeat(margin)}${view.paint('dim', low + ' '.repeat(gap) + high)}`, ...strips];
}

/**
 * The rows of one table from the first to the last, by the blocks that they are in: a place in the line is a place among the rows, which no
 * interpolation of keys can say. A block whose rows are not known counts as an average one.
 */
export function rowMap(report: SstReport, low: string, high: string, view: View): string[] {
  const known = report.blocks.flatMap(({ rows }) => rows ?? []);
  const average = known.length === 0 ? 1 : known.reduce((sum, rows) => sum + rows, 0) / known.length;
  const weights = report.blocks.map(({ rows }) => rows ?? average);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const width = mapWidth(view);
  const cells: Cell[] = Array.from({ length: width }, () => ({ char: '-', rank: 1, style: 'green' }));
  const isFound = (i: number) =>
    report.findings.some(({ at, severity }) => severity === 'error' && at.unit === 'block' && at.index === i);
  let from = 0;
  weights.forEach((weight, i) => {
    if (report.blocks[i].crc !== 'ok' || isFound(i)) mark(cells, from, from + weight, total, BAD);
    from += weight;
  });
  const gap = Math.max(4, width - widthOf(low) - widthOf(high));
  return [
    `${' '.repeat(MAP_MARGIN)}${view.paint('dim', low + ' '.repeat(gap) + high)}`,
    `${view.paint('dim', 'rows'.padEnd(MAP_MARGIN))}${strip(view.paint, cells)}`,
  ];
}

/** The ranges of keys that findings name, for `keyMap`. */
export function damagedRanges(findings: readonly Finding[]): KeyRange[] {
  return findings.flatMap((f) =>
    (f.severity === 'error' || f.severity === 'warning') && f.affects.keys !== undefined ? [f.affects.keys] : [],
  );
}

/** A label of a table that fits before a strip. */
export function shortId(id: string): string {
  return visible(id.length > 10 ? `..${id.slice(-8)}` : id);
}
