/**
 * The keys of tables over a ruler: one line for each level, from the least to the greatest key of all of them.
 *
 * ```
 *           user/0000            user/9999
 * L0            [-----------]                   a table: its ends, and the keys between them
 * run 5     [-------][------]|[XXXXXX]          | one that is narrower than a character; X damaged or missing; ? cannot be read
 * ```
 */
import type { TreeTable } from '../admin.ts';
import { type Cell, keyScale, strip } from './maps.ts';
import { cutToWidth, widthOf } from './paint.ts';
import { keyText, type View } from './words.ts';

const NOTHING: Cell = { char: ' ', rank: 0, style: 'dim' };
const MIDDLE: Cell = { char: '-', rank: 1, style: 'green' };
const NARROW: Cell = { char: '|', rank: 3, style: 'green' };
const BEGIN: Cell = { char: '[', rank: 2, style: 'green' };
const END: Cell = { char: ']', rank: 2, style: 'green' };
const CANNOT_READ: Cell = { char: '?', rank: 8, style: 'magenta' };
const FAULTY: Cell = { char: 'X', rank: 9, style: 'red' };

export interface KeyRuler {
  /** The least and the greatest key, at the ends of a line. */
  head: string;
  line(tables: readonly TreeTable[]): string;
}

/** For all these tables; undefined where none of them has keys. */
export function keyRuler(tables: readonly TreeTable[], width: number, view: View): KeyRuler | undefined {
  const keys = tables
    .flatMap((table) => (table.keys === undefined ? [] : [table.keys.gte, table.keys.lte ?? []]))
    .filter((key): key is Uint8Array => key instanceof Uint8Array)
    .sort(Buffer.compare);
  if (keys.length === 0) return undefined;
  const least = keys[0];
  const greatest = keys[keys.length - 1];
  const place = keyScale(least, greatest, keys);
  const isOpen = tables.some(({ keys: own }) => own !== undefined && own.lte === undefined);
  const cellOf = (position: number) => Math.min(Math.floor(position * width), width - 1);
  return {
    head: headOf(keyText(least, view.redactKeys), isOpen ? 'no upper end' : keyText(greatest, view.redactKeys), width),
    line: (ofLine) => {
      const cells: Cell[] = Array.from({ length: width }, () => NOTHING);
      for (const table of ofLine) {
        if (table.keys === undefined) continue;
        const { gte, lte } = table.keys;
        mark(cells, cellOf(place(gte)), lte === undefined ? width - 1 : cellOf(place(lte)), table.state);
      }
      return strip(view.paint, cells.slice(0, cells.findLastIndex((cell) => cell !== NOTHING) + 1));
    },
  };
}

function headOf(low: string, high: string, width: number): string {
  const half = Math.floor((width - 1) / 2);
  const [left, right] = [cutToWidth(low, half), cutToWidth(high, half)];
  return left + ' '.repeat(width - widthOf(left) - widthOf(right)) + right;
}

function mark(cells: Cell[], first: number, last: number, state: TreeTable['state']): void {
  const fault = state === 'unknown' ? CANNOT_READ : state === 'damaged' || state === 'missing' ? FAULTY : undefined;
  for (let i = first; i <= last; i++) put(cells, i, fault ?? MIDDLE);
  if (first === last) put(cells, first, NARROW);
  else {
    put(cells, first, BEGIN);
    put(cells, last, END);
  }
}

/** Two ends in one character are drawn as a table that is narrower than one. */
function put(cells: Cell[], i: number, cell: Cell): void {
  const there = cells[i];
  const isMeeting = cell.rank === BEGIN.rank && there.rank >= BEGIN.rank && there.rank < CANNOT_READ.rank;
  if (isMeeting) cells[i] = NARROW;
  else if (cell.rank > there.rank) cells[i] = cell;
}
