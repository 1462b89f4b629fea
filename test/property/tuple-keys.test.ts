/**
 * Keys that are tuples sort as the tuples do and give them back: pairs of tuples that are alike, a hundred thousand of them, or as many as
 * `SHALEDB_TUPLE_PAIRS` says. The order is stated here once more, without bytes.
 */
import { expect, it } from 'vitest';
import { compareBytes, startsWith } from '../../src/common/bytes.ts';
import { SeededRandom } from '../../src/common/random.ts';
import { decodeTuple, encodeTuple, type TupleElement } from '../../src/format/tuple-key.ts';

const PAIRS = Number(process.env['SHALEDB_TUPLE_PAIRS'] ?? 100_000);
const SEED = Number(process.env['SHALEDB_TUPLE_SEED'] ?? 5);
const random = new SeededRandom(SEED);
const below = (n: number) => random.nextUint32() % n;

const NUMBERS = [
  0,
  1,
  -1,
  0.5,
  2 ** 53,
  -(2 ** 53),
  5e-324,
  -5e-324,
  1.7976931348623157e308,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  255,
  256,
];
const PIECES = [
  '',
  'a',
  'b',
  '\u0000',
  '\u0001',
  '\u0002',
  'ab',
  '\u007f',
  '\u0080',
  '\u07ff',
  '\uffff',
  '\u{10000}',
  '\u{10ffff}',
  'key',
];
const double = new DataView(new ArrayBuffer(8));

function anyNumber(): number {
  if (below(2) === 0) return NUMBERS[below(NUMBERS.length)];
  if (below(2) === 0) return below(2000) - 1000;
  double.setUint32(0, random.nextUint32());
  double.setUint32(4, random.nextUint32());
  const value = double.getFloat64(0);
  return Number.isNaN(value) ? 0 : value;
}

const anyText = () => Array.from({ length: below(4) }, () => PIECES[below(PIECES.length)]).join('');
const anyBytes = () => Uint8Array.from({ length: below(5) }, () => [0, 1, 2, 3, 0x7f, 0xff, below(256)][below(7)]);

function anyElement(): TupleElement {
  const kind = below(8);
  if (kind === 0) return null;
  if (kind === 1) return below(2) === 0;
  if (kind < 4) return anyNumber();
  return kind < 7 ? anyText() : anyBytes();
}

/** Like the first one up to some place, so that both the elements and the lengths decide. */
function pair(): [TupleElement[], TupleElement[]] {
  const a = Array.from({ length: below(5) }, anyElement);
  const b = a.slice(0, below(a.length + 1));
  while (below(3) > 0) b.push(anyElement());
  return [a, b];
}

const KINDS = ['null', 'boolean', 'number', 'string', 'bytes'];
const kindOf = (e: TupleElement) => KINDS.indexOf(e === null ? 'null' : e instanceof Uint8Array ? 'bytes' : typeof e);

function compareElements(a: TupleElement, b: TupleElement): number {
  if (kindOf(a) !== kindOf(b)) return kindOf(a) - kindOf(b);
  if (typeof a === 'string') return compareNumbers([...a].map(codePoint), [...(b as string)].map(codePoint));
  if (a instanceof Uint8Array) return compareNumbers([...a], [...(b as Uint8Array)]);
  return a === b ? 0 : (a as number) < (b as number) ? -1 : 1;
}

const codePoint = (c: string) => c.codePointAt(0) as number;

function compareNumbers(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((n, i) => n !== b[i]);
  if (at < 0) return a.length - b.length;
  return at >= b.length ? 1 : a[at] - b[at];
}

function compareTuples(a: readonly TupleElement[], b: readonly TupleElement[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const order = compareElements(a[i], b[i]);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

const isSame = (a: readonly TupleElement[], b: readonly TupleElement[]) =>
  a.length === b.length &&
  a.every((e, i) => compareElements(e, b[i]) === 0 && !Object.is(e, -0) && typeof e === typeof b[i]);

it(`${PAIRS} pairs (seed ${SEED}) sort as tuples and come back; what begins with one has its elements`, () => {
  for (let i = 0; i < PAIRS; i++) {
    const [a, b] = pair();
    const [x, y] = [encodeTuple(a), encodeTuple(b)];
    const order = Math.sign(compareTuples(a, b));
    const begins = a.length <= b.length && isSame(a, b.slice(0, a.length));
    if (Math.sign(compareBytes(x, y)) !== order || startsWith(y, x) !== begins || !isSame(decodeTuple(x), a)) {
      expect({
        i,
        a,
        b,
        x,
        y,
        bytes: Math.sign(compareBytes(x, y)),
        begins: startsWith(y, x),
        back: decodeTuple(x),
      }).toEqual({ order, begins });
    }
  }
}, 600_000);
