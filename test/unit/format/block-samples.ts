/** Plain encoders of blocks, written for clearness, and seeded rows: the independent side of the block tests. */
import { concatBytes } from '../../../src/common/bytes.ts';
import { nextInt, SeededRandom } from '../../../src/common/random.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_TS } from '../../../src/format/row-flags.ts';

export interface SampleRow {
  key: Uint8Array;
  value: Uint8Array;
  seq: number;
  flags: number;
  createTs: number;
  expireTs: number;
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function sampleRow(key: string | Uint8Array, seq: number, more: Partial<SampleRow> = {}): SampleRow {
  const bytes = typeof key === 'string' ? utf8(key) : key;
  return { key: bytes, value: utf8(`value-${seq}`), seq, flags: 0, createTs: NO_TS, expireTs: NO_TS, ...more };
}

function int(value: number | bigint, bytes: number): Uint8Array {
  const out = new Uint8Array(bytes);
  let rest = BigInt.asUintN(64, BigInt(value));
  for (let i = bytes - 1; i >= 0; i--) {
    out[i] = Number(rest & 255n);
    rest >>= 8n;
  }
  return out;
}

export function varintOf(value: number): Uint8Array {
  const out: number[] = [];
  let rest = value;
  while (rest >= 128) {
    out.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  out.push(rest);
  return Uint8Array.from(out);
}

function times(row: SampleRow): Uint8Array {
  return concatBytes(
    (row.flags & FLAG_EXPIRE) !== 0 ? int(row.expireTs, 8) : new Uint8Array(0),
    (row.flags & FLAG_CREATE) !== 0 ? int(row.createTs, 8) : new Uint8Array(0),
  );
}

function commonPrefix(a: Uint8Array, b: Uint8Array): number {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}

/** A version-2 block; `isRestart` decides which rows are listed and share nothing, `share` how much the others share. */
export function encodeVersion2(
  rows: readonly SampleRow[],
  isRestart: (i: number) => boolean = (i) => i % 16 === 0,
  share: (longest: number) => number = (longest) => longest,
): Uint8Array {
  const parts: Uint8Array[] = [];
  const restarts: number[] = [];
  let at = 0;
  rows.forEach((row, i) => {
    const shared = isRestart(i) ? 0 : share(commonPrefix(rows[i - 1].key, row.key));
    if (isRestart(i)) restarts.push(at);
    const part = concatBytes(
      varintOf(shared),
      varintOf(row.key.length - shared),
      varintOf(row.value.length),
      row.key.subarray(shared),
      row.value,
      int(row.seq, 8),
      Uint8Array.of(row.flags),
      times(row),
    );
    parts.push(part);
    at += part.length;
  });
  return concatBytes(...parts, ...restarts.map((r) => int(r, 2)), int(restarts.length, 2));
}

export function encodeVersion1(rows: readonly SampleRow[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const offsets: number[] = [];
  let at = 0;
  rows.forEach((row, i) => {
    const shared = i === 0 ? 0 : commonPrefix(rows[0].key, row.key);
    offsets.push(at);
    const hasValue = (row.flags & FLAG_TOMBSTONE) === 0;
    const part = concatBytes(
      int(shared, 2),
      int(row.key.length - shared, 2),
      row.key.subarray(shared),
      int(row.seq, 8),
      Uint8Array.of(row.flags),
      times(row),
      hasValue ? concatBytes(int(row.value.length, 4), row.value) : new Uint8Array(0),
    );
    parts.push(part);
    at += part.length;
  });
  return concatBytes(...parts, ...offsets.map((o) => int(o, 2)), int(offsets.length, 2));
}

/** Rows by (key ascending, seq descending): keys with long and short common prefixes, some with many versions. */
export function randomRows(seed: number, count: number, maxVersions = 40): SampleRow[] {
  const random = new SeededRandom(seed);
  const keys = new Map<string, Uint8Array>();
  while (keys.size < count) {
    const length = 1 + nextInt(random, nextInt(random, 8) === 0 ? 300 : 9);
    const key = new Uint8Array(length);
    // Few different bytes make shared prefixes and keys that are prefixes of others.
    for (let i = 0; i < length; i++) key[i] = [0, 97, 98, 255][nextInt(random, i < 4 ? 4 : 2)];
    keys.set(key.join(), key);
  }
  const sorted = [...keys.values()].sort(Buffer.compare);
  const rows: SampleRow[] = [];
  for (const key of sorted) {
    const versions = nextInt(random, 6) === 0 ? 1 + nextInt(random, maxVersions) : 1;
    for (let v = versions; v > 0 && rows.length < count; v--)
      rows.push(randomRow(random, key, v * 10 + nextInt(random, 9)));
  }
  return rows;
}

function randomRow(random: SeededRandom, key: Uint8Array, seq: number): SampleRow {
  const kind = [0, 0, 0, FLAG_TOMBSTONE, FLAG_MERGE][nextInt(random, 5)];
  const timeFlags = [0, FLAG_CREATE, FLAG_CREATE, FLAG_CREATE | FLAG_EXPIRE, FLAG_EXPIRE][nextInt(random, 5)];
  const value = new Uint8Array(kind === FLAG_TOMBSTONE ? 0 : nextInt(random, nextInt(random, 9) === 0 ? 400 : 40));
  random.fill(value);
  return {
    key,
    value,
    seq: seq + 2 ** 40,
    flags: kind | timeFlags,
    createTs: timeFlags & FLAG_CREATE ? nextInt(random, 2 ** 31) * 1000 - 5000 : NO_TS,
    expireTs: timeFlags & FLAG_EXPIRE ? -nextInt(random, 2 ** 31) * 1000 : NO_TS,
  };
}
