/**
 * Damages bytes from a seed: as storage does (bits, cuts, moved pieces), as a confused or hostile writer does (lengths and
 * offsets with extreme values, parts named twice), and, for FlatBuffers, along their structure, which is found without a
 * schema. What mutations need to get past checksums is up to the targets; here bytes are only bytes.
 *
 * Everything follows from the `Random` that is passed in: the same one gives the same bytes again.
 */
import { concatBytes } from '../../src/common/bytes.ts';
import { nextInt, type Random } from '../../src/common/random.ts';

const EXTREMES: readonly number[] = [
  0, 1, 2, 3, 4, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffff0,
  0xfffffffc, 0xfffffffe, 0xffffffff,
];
/** No mutation makes an input larger than this: bounds on time and memory are stated for inputs of such sizes. */
const MAX_BYTES = 256 * 1024;
const MAX_TEXT_LENGTH = 8 * 1024;

export function pick<T>(random: Random, from: readonly T[]): T {
  return from[nextInt(random, from.length)];
}

export function oneIn(random: Random, n: number): boolean {
  return nextInt(random, n) === 0;
}

/** One change is most often accepted by half and thus goes deepest; several together break rules between parts. */
function changeCount(random: Random): number {
  return oneIn(random, 2) ? 1 : 2 + nextInt(random, 2);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** A number that a length or offset field may be changed to: an extreme, near its old value, or near the end of the bytes. */
export function oddNumber(random: Random, old: number, size: number): number {
  switch (nextInt(random, 4)) {
    case 0:
      return pick(random, EXTREMES);
    case 1:
      return (old + nextInt(random, 9) - 4) >>> 0;
    case 2:
      return Math.max(0, size - nextInt(random, 12));
    default:
      return random.nextUint32() >>> nextInt(random, 32);
  }
}

// ---- bytes without a known structure

/** One to three changes. `donors` are other inputs of the same kind, for splices. Never changes `bytes` itself. */
export function mutateBytes(bytes: Uint8Array, random: Random, donors: readonly Uint8Array[] = []): Uint8Array {
  let out: Uint8Array = bytes.slice();
  for (let n = changeCount(random); n > 0; n--) out = changeOnce(out, random, donors);
  return out.length > MAX_BYTES ? out.slice(0, MAX_BYTES) : out;
}

function changeOnce(bytes: Uint8Array, random: Random, donors: readonly Uint8Array[]): Uint8Array {
  const size = bytes.length;
  if (size === 0) return insert(bytes, 0, noise(random, 1 + nextInt(random, 40)));
  // The ends decide more than the middle: trailers, counts and headers are there.
  const at = oneIn(random, 4)
    ? Math.max(0, size - 1 - nextInt(random, Math.min(size, 32)))
    : oneIn(random, 5)
      ? nextInt(random, Math.min(size, 32))
      : nextInt(random, size);
  const length = 1 + nextInt(random, oneIn(random, 4) ? size : Math.min(size, 16));
  switch (nextInt(random, 12)) {
    case 0:
    case 1:
      bytes[at] ^= 1 << nextInt(random, 8);
      return bytes;
    case 2:
      bytes[at] = nextInt(random, 256);
      return bytes;
    case 3:
    case 4:
      setNumber(bytes, at, random);
      return bytes;
    case 5:
      return bytes.fill(pick(random, [0, 0xff, 0x80, 0x7f]), at, at + length);
    case 6:
      return oneIn(random, 3) ? bytes.slice(at) : bytes.slice(0, at);
    case 7:
      return concatBytes(bytes.subarray(0, at), bytes.subarray(Math.min(size, at + length)));
    case 8:
      return insert(bytes, at, noise(random, Math.min(length, 64)));
    case 9:
      return insert(bytes, nextInt(random, size + 1), repeated(bytes.subarray(at, at + length), random));
    case 10:
      bytes.copyWithin(nextInt(random, size), at, at + length);
      return bytes;
    default: {
      if (donors.length === 0) return bytes;
      const donor = pick(random, donors);
      const from = nextInt(random, donor.length + 1);
      const piece = donor.subarray(from, from + nextInt(random, 200));
      return oneIn(random, 2) ? concatBytes(bytes.subarray(0, at), donor.subarray(from)) : insert(bytes, at, piece);
    }
  }
}

/** Overwrites a number of 1, 2, 4 or 8 bytes, in either order of bytes. */
function setNumber(bytes: Uint8Array, at: number, random: Random): void {
  const view = viewOf(bytes);
  const little = oneIn(random, 2);
  const width = pick(random, [1, 2, 4, 8]);
  if (at + width > bytes.length) return;
  if (width === 1) bytes[at] = oddNumber(random, bytes[at], bytes.length);
  else if (width === 2) view.setUint16(at, oddNumber(random, view.getUint16(at, little), bytes.length), little);
  else {
    const low = at + (width === 8 && !little ? 4 : 0);
    view.setUint32(low, oddNumber(random, view.getUint32(low, little), bytes.length), little);
    if (width === 8)
      view.setUint32(little ? at + 4 : at, pick(random, [0, 0, 1, 0x1fffff, 0x200000, 0xffffffff]), little);
  }
}

function noise(random: Random, length: number): Uint8Array {
  const out = new Uint8Array(length);
  random.fill(out);
  return out;
}

function repeated(piece: Uint8Array, random: Random): Uint8Array {
  if (piece.length === 0 || !oneIn(random, 4)) return piece;
  const times = Math.min(1 + nextInt(random, 300), Math.floor(MAX_BYTES / 4 / piece.length));
  return concatBytes(...new Array<Uint8Array>(Math.max(1, times)).fill(piece));
}

function insert(bytes: Uint8Array, at: number, piece: Uint8Array): Uint8Array {
  return concatBytes(bytes.subarray(0, at), piece, bytes.subarray(at));
}

// ---- text

/** Changes text along its tokens: words of `dictionary`, numbers, repeated and missing pieces; sometimes plain bytes. */
export function mutateText(text: string, random: Random, dictionary: readonly string[]): Uint8Array {
  let out = text;
  for (let n = changeCount(random); n > 0; n--) out = changeText(out, random, dictionary);
  const bytes = new TextEncoder().encode(out.slice(0, MAX_TEXT_LENGTH));
  return oneIn(random, 8) ? mutateBytes(bytes, random) : bytes;
}

const ODD_TEXT: readonly string[] = [
  '',
  '-1',
  '0',
  '1e999',
  '9007199254740993',
  '99999999999999999999',
  '18446744073709551616',
  'NaN',
  'null',
  '\u0000',
  '\n',
  '%',
  '%00',
  '%2e%2e/',
  '..',
  '/',
  '//',
  '\u{1f980}',
  '\ud800',
  '<',
  '&',
  '&amp;',
  '&#0;',
  '&#x110000;',
  ']]>',
  '"',
  '{',
  '[',
  '__proto__',
  'constructor',
];

function changeText(text: string, random: Random, dictionary: readonly string[]): string {
  const tokens = text.split(/(\d+|[A-Za-z]+|[^\dA-Za-z])/).filter((t) => t !== '');
  if (tokens.length === 0) return pick(random, dictionary);
  const at = nextInt(random, tokens.length);
  const end = Math.min(tokens.length, at + 1 + nextInt(random, oneIn(random, 4) ? tokens.length : 6));
  switch (nextInt(random, 8)) {
    case 0:
      tokens[at] = pick(random, dictionary);
      break;
    case 1:
      tokens[at] = pick(random, ODD_TEXT);
      break;
    case 2:
      tokens.splice(at, 0, pick(random, oneIn(random, 2) ? dictionary : ODD_TEXT));
      break;
    case 3:
      tokens.splice(at, end - at);
      break;
    case 4:
      tokens.splice(at, 0, ...tokens.slice(at, end));
      break;
    case 5:
      tokens.splice(
        at,
        0,
        tokens
          .slice(at, end)
          .join('')
          .repeat(2 + nextInt(random, 100)),
      );
      break;
    case 6: {
      const digits = tokens.flatMap((t, i) => (/^\d+$/.test(t) ? [i] : []));
      if (digits.length > 0) tokens[pick(random, digits)] = String(oddNumber(random, 0, text.length));
      break;
    }
    default:
      return tokens.slice(0, at).join('');
  }
  return tokens.join('');
}

// ---- FlatBuffers

/** Where the parts of a FlatBuffer are, as far as they show without a schema. */
interface FlatMap {
  tables: number[];
  vtables: number[];
  /** Positions of references, of fields and of elements of vectors. */
  refs: number[];
  /** Positions of the length words of vectors and strings. */
  vectors: number[];
  /** Positions of fields that are no references. */
  scalars: number[];
}

const maps = new WeakMap<Uint8Array, FlatMap>();
const MAX_PARTS = 20_000;

/** Follows everything that looks like a reference from the root on. */
function mapFlatBuffer(bytes: Uint8Array, start: number): FlatMap {
  const known = maps.get(bytes);
  if (known !== undefined) return known;
  const map: FlatMap = { tables: [], vtables: [], refs: [], vectors: [], scalars: [] };
  maps.set(bytes, map);
  if (bytes.length - start < 8) return map;
  const view = viewOf(bytes);
  const seen = new Set<number>();
  const todo = [start];
  const target = (at: number) => {
    if (at + 4 > bytes.length) return undefined;
    const distance = view.getUint32(at, true);
    const to = at + distance;
    return distance >= 4 && to <= bytes.length - 4 && (to - start) % 4 === 0 ? to : undefined;
  };
  while (todo.length > 0 && map.refs.length < MAX_PARTS) {
    const ref = todo.pop()!;
    const at = target(ref);
    if (at === undefined) continue;
    map.refs.push(ref);
    if (seen.has(at)) continue;
    seen.add(at);
    const vtable = at - view.getInt32(at, true);
    const vtableBytes = vtable >= start && vtable + 4 <= bytes.length ? view.getUint16(vtable, true) : 0;
    if (
      vtableBytes >= 4 &&
      vtableBytes <= 4 + 2 * 32 &&
      vtableBytes % 2 === 0 &&
      vtable + vtableBytes <= bytes.length
    ) {
      map.tables.push(at);
      map.vtables.push(vtable);
      for (let slot = vtable + 4; slot < vtable + vtableBytes; slot += 2) {
        const field: number = at + view.getUint16(slot, true);
        if (field === at || field >= bytes.length) continue;
        if ((field - start) % 4 === 0 && target(field) !== undefined) todo.push(field);
        else map.scalars.push(field);
      }
      continue;
    }
    map.vectors.push(at);
    const count = view.getUint32(at, true);
    if (count * 4 > bytes.length - at - 4) continue;
    for (let i = 0; i < count; i++) if (target(at + 4 + 4 * i) !== undefined) todo.push(at + 4 + 4 * i);
  }
  return map;
}

/** One to three changes along the structure of the FlatBuffer that begins at `start`; sometimes also plain ones. */
export function mutateFlat(
  bytes: Uint8Array,
  random: Random,
  start: number,
  donors: readonly Uint8Array[] = [],
): Uint8Array {
  const map = mapFlatBuffer(bytes, start);
  if (map.tables.length === 0 || oneIn(random, 5)) return mutateBytes(bytes, random, donors);
  const out = bytes.slice();
  for (let n = changeCount(random); n > 0; n--) changeFlat(out, map, random);
  return oneIn(random, 6) ? mutateBytes(out, random, donors) : out;
}

function changeFlat(bytes: Uint8Array, map: FlatMap, random: Random): void {
  const view = viewOf(bytes);
  const size = bytes.length;
  switch (nextInt(random, 8)) {
    case 0:
      retarget(view, pick(random, map.refs), map, random);
      return;
    case 1: {
      if (map.vectors.length === 0) return;
      const at = pick(random, map.vectors);
      const old = view.getUint32(at, true);
      const odd = oneIn(random, 3) ? Math.floor((size - at) / pick(random, [1, 4])) : oddNumber(random, old, size);
      view.setUint32(at, odd, true);
      return;
    }
    case 2: {
      const vtable = pick(random, map.vtables);
      const at = vtable + 2 * nextInt(random, view.getUint16(vtable, true) / 2 + 1);
      if (at + 2 <= size) view.setUint16(at, oddNumber(random, view.getUint16(at, true), 64), true);
      return;
    }
    case 3: {
      // Two fields change places, one field is named twice, or one is gone.
      const vtable = pick(random, map.vtables);
      const slots = Math.min((view.getUint16(vtable, true) - 4) / 2, Math.floor((size - vtable - 4) / 2));
      if (slots < 1) return;
      const a = vtable + 4 + 2 * nextInt(random, slots);
      const b = vtable + 4 + 2 * nextInt(random, slots);
      const old = view.getUint16(a, true);
      view.setUint16(a, oneIn(random, 3) ? 0 : view.getUint16(b, true), true);
      if (oneIn(random, 2)) view.setUint16(b, old, true);
      return;
    }
    case 4: {
      const table = pick(random, map.tables);
      const vtable = oneIn(random, 3) ? nextInt(random, size) : pick(random, map.vtables);
      view.setInt32(table, table - vtable, true);
      return;
    }
    case 5: {
      if (map.scalars.length > 0) setNumber(bytes, pick(random, map.scalars), random);
      return;
    }
    case 6: {
      // Many references to one part: the attack on decoders whose work is not bounded by the size of their input.
      const at = nextInt(random, map.refs.length);
      const base = map.refs[at];
      const to = base + view.getUint32(base, true);
      for (const ref of map.refs) if (ref < to - 4) view.setUint32(ref, to - ref, true);
      return;
    }
    default: {
      // An element of a vector twice, or two elements exchanged.
      const a = pick(random, map.refs);
      const b = pick(random, map.refs);
      const to = b + view.getUint32(b, true);
      if (oneIn(random, 2)) view.setUint32(b, (a + view.getUint32(a, true) - b) >>> 0, true);
      view.setUint32(a, (to - a) >>> 0, true);
    }
  }
}

function retarget(view: DataView, ref: number, map: FlatMap, random: Random): void {
  const old = view.getUint32(ref, true);
  const to = oneIn(random, 2) ? pick(random, oneIn(random, 2) ? map.tables : map.refs) : undefined;
  view.setUint32(ref, to === undefined ? oddNumber(random, old, view.byteLength - ref) : (to - ref) >>> 0, true);
}
