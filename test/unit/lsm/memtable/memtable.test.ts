/** The memtable: fields of rows, memory that is taken over or copied, versions, cursors, and orders made in steps. */
import { describe, expect, it } from 'vitest';
import { compareBytes, EMPTY_BYTES } from '../../../../src/common/bytes.ts';
import { InternalError } from '../../../../src/common/errors.ts';
import { nextInt, SeededRandom } from '../../../../src/common/random.ts';
import { WriteBatch } from '../../../../src/db/write-batch.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_TS } from '../../../../src/format/row-flags.ts';
import { FIRST_ROW, Memtable } from '../../../../src/lsm/memtable/memtable.ts';
import { WORD_ID } from '../../../../src/lsm/memtable/memtable-log.ts';
import { END, ROW } from '../../../../src/lsm/rows/row-cursor.ts';
import { inRowOrder, type ModelRow, rowAt, rowUnder, standsOn, visibleRows, withoutId } from './memtable-model.ts';

const ALL = Number.MAX_SAFE_INTEGER;
const text = (s: string) => new TextEncoder().encode(s);
const bytes = (...b: number[]) => new Uint8Array(b);

function put(table: Memtable, key: Uint8Array, value: Uint8Array, seq: number): number {
  return table.add(key, value, seq, 0, NO_TS, NO_TS);
}

/** Adds `count` rows over about `keys` keys with all kinds of flags and timestamps. */
function fillRandomly(
  table: Memtable,
  count: number,
  makeKey: (random: SeededRandom) => Uint8Array,
  seed: number,
): ModelRow[] {
  const random = new SeededRandom(seed);
  const rows: ModelRow[] = [];
  for (let i = 0; i < count; i++) {
    const row: ModelRow = {
      id: rows.length,
      key: makeKey(random),
      value: new Uint8Array(nextInt(random, 40)),
      seq: table.lastSeq + 1 + nextInt(random, 3),
      flags: nextInt(random, 16),
      createTs: nextInt(random, 3) === 0 ? NO_TS : 1.7e12 + nextInt(random, 1e9),
      expireTs: nextInt(random, 3) > 0 ? NO_TS : 1.8e12 + nextInt(random, 1e9),
    };
    random.fill(row.value);
    const id = table.add(row.key, row.value, row.seq, row.flags, row.createTs, row.expireTs);
    if (id !== row.id) expect.fail(`id ${id} for row ${row.id}`);
    rows.push(row);
  }
  return rows;
}

function expectAllRows(table: Memtable, rows: readonly ModelRow[]): void {
  for (const reverse of [false, true]) {
    const cursor = table.cursor({ reverse, maxSeq: ALL });
    const wanted = visibleRows(rows, reverse, ALL);
    let status = cursor.seek(undefined);
    for (let i = 0; i < wanted.length; i++) {
      if (status !== ROW) expect.fail(`cursor ended at row ${i} of ${wanted.length}`);
      if (!standsOn(cursor, wanted[i])) expect(rowUnder(cursor)).toEqual(withoutId(wanted[i]));
      status = cursor.next();
    }
    expect(status).toBe(END);
    expect(cursor.next()).toBe(END);
  }
}

function flushOrder(table: Memtable): number[] {
  table.freeze();
  let steps = 0;
  const rows = table.toFlush;
  while (!rows.step()) expect(++steps).toBeLessThan(100_000);
  expect(rows.step()).toBe(true);
  return Array.from(rows.places(), (place) => rows.log.wordAt(place, WORD_ID));
}

describe('a memtable', () => {
  it('gives back every field of a row by id', () => {
    const table = new Memtable();
    const rows: ModelRow[] = [
      {
        id: 0,
        key: text('b'),
        value: text('vb'),
        seq: 7,
        flags: FLAG_CREATE,
        createTs: 1_760_000_000_000,
        expireTs: NO_TS,
      },
      { id: 1, key: text('a'), value: EMPTY_BYTES, seq: 7, flags: FLAG_TOMBSTONE, createTs: NO_TS, expireTs: NO_TS },
      {
        id: 2,
        key: text('c'),
        value: text('x'),
        seq: 9,
        flags: FLAG_MERGE | FLAG_EXPIRE,
        createTs: -5,
        expireTs: 2 ** 60,
      },
      { id: 3, key: text('c'), value: text('y'), seq: 2 ** 52 + 1, flags: 0xff, createTs: 0, expireTs: 0 },
    ];
    for (const r of rows) table.add(r.key, r.value, r.seq, r.flags, r.createTs, r.expireTs);
    for (const r of rows) expect(rowAt(table, r.id)).toEqual(r);
    expect(table.rowCount).toBe(4);
    expect(table.keyCount).toBe(3);
    expect(table.firstSeq).toBe(7);
    expect(table.lastSeq).toBe(2 ** 52 + 1);
    expect(table.maxCreateTs).toBe(1_760_000_000_000);
    expectAllRows(table, rows);
  });

  it('is empty at first', () => {
    const table = new Memtable();
    expect([table.rowCount, table.keyCount, table.dataBytes, table.firstSeq, table.lastSeq]).toEqual([0, 0, 0, -1, -1]);
    expect(table.maxCreateTs).toBe(NO_TS);
    expect(table.find(text('a'), ALL)).toBe(-1);
    expect(table.prepareOrderStep()).toBe(true);
    expectAllRows(table, []);
    expect(table.cursor({ reverse: true, maxSeq: ALL }).seek(text('a'))).toBe(END);
    expect(flushOrder(table)).toEqual([]);
  });

  it('copies its input', () => {
    const table = new Memtable();
    const key = text('key');
    const value = text('value');
    put(table, key, value, 1);
    key.fill(0);
    value.fill(0);
    expect(rowAt(table, 0).key).toEqual(text('key'));
    expect(rowAt(table, 0).value).toEqual(text('value'));
  });

  it.each([3, 24, 25, 200])('takes rows of %i bytes from the middle of larger buffers', (length) => {
    const table = new Memtable();
    const random = new SeededRandom(length);
    const whole = new Uint8Array(1000);
    random.fill(whole);
    const buf = whole.subarray(100);
    table.addSlice(buf, 10, length, buf, 400, length, 1, 0, NO_TS, NO_TS);
    expect(rowAt(table, 0).key).toEqual(buf.slice(10, 10 + length));
    expect(rowAt(table, 0).value).toEqual(buf.slice(400, 400 + length));
    expect(table.find(buf.slice(10, 10 + length), ALL)).toBe(0);
  });

  it('holds the rows of memory that it took over as it holds copied ones, whichever were expected', () => {
    const adopting = new Memtable();
    const copying = new Memtable();
    const random = new SeededRandom(11);
    for (let seq = 1; seq <= 6; seq++) {
      const batch = new WriteBatch();
      for (let i = 0; i < 300; i++) {
        const id = nextInt(random, 400);
        if (i % 7 === 0) batch.delete(text(`key ${id}`));
        else batch.put(text(`key ${id}`), text(`${seq} ${id}`.padEnd(100 + nextInt(random, 9), 'v')));
      }
      const taken = batch.offerArena((arena) => adopting.adopt(arena));
      // The first batch knew nothing of its size; the others were given a fitting arena at once.
      expect(taken >= 0).toBe(seq > 1);
      batch.forEachRow(
        (keys, keyStart, keyLength, values, valueStart, valueLength, flags) => {
          const args = [keys, keyStart, keyLength, values, valueStart, valueLength, seq, flags] as const;
          copying.addSlice(...args, 1000 + seq, NO_TS);
          if (taken < 0) adopting.addSlice(...args, 1000 + seq, NO_TS);
          else adopting.addAdopted(taken, keys, keyStart, keyLength, valueLength, seq, flags, 1000 + seq);
        },
        (...keys) => {
          if (seq !== 4) adopting.expectKeys(...keys);
        },
      );
    }
    const rows = Array.from({ length: copying.rowCount }, (_, id) => rowAt(copying, id));
    expect(adopting.dataBytes).toBe(copying.dataBytes);
    expect(adopting.keyCount).toBe(copying.keyCount);
    expectAllRows(adopting, rows);
    expect(rows.map((r) => rowAt(adopting, r.id))).toEqual(rows);
    expect(flushOrder(adopting)).toEqual(flushOrder(copying));
    expectAllRows(adopting, rows);
    expect(adopting.adopt(new Uint8Array(1 << 15))).toBe(-1);
  });

  it('takes no memory over that it cannot address or that is not worth it', () => {
    const table = new Memtable();
    expect(table.adopt(new Uint8Array(1 << 10))).toBe(-1);
    expect(table.adopt(new Uint8Array((1 << 20) + 8))).toBe(-1);
    expect(table.adopt(new Uint8Array((1 << 15) + 4))).toBe(-1);
    expect(table.adopt(new Uint8Array(new ArrayBuffer(1 << 16), 4, 1 << 15))).toBe(-1);
    expect(table.adopt(new Uint8Array(new ArrayBuffer(1 << 21), 8, 1 << 15))).toBe(-1);
    const before = table.memoryBytes;
    expect(table.adopt(new Uint8Array(1 << 20))).toBeGreaterThanOrEqual(0);
    expect(table.memoryBytes - before).toBe(1 << 20);
  });

  it('takes parts of one buffer over as one chunk', () => {
    const table = new Memtable();
    const slab = new ArrayBuffer(1 << 20);
    const first = table.adopt(new Uint8Array(slab, 0, 1 << 15));
    const before = table.memoryBytes;
    const second = table.adopt(new Uint8Array(slab, 1 << 15, 1 << 16));
    expect((second - first) * 8).toBe(1 << 15);
    expect(table.memoryBytes - before).toBe(1 << 16);
  });

  it('keeps half of its chunks for rows that are copied', () => {
    const table = new Memtable();
    let taken = 0;
    while (table.adopt(new Uint8Array(1 << 14)) >= 0) taken++;
    expect(taken).toBe(1 << 13);
    put(table, text('key'), text('value'), 1);
    expect(rowAt(table, 0).value).toEqual(text('value'));
  });

  it('divides rows into groups of whole batches', () => {
    const table = new Memtable();
    const sizes: number[] = [];
    for (let seq = 1; seq <= 200; seq++) {
      const rows = seq % 9 === 0 ? 300 : 3;
      for (let i = 0; i < rows; i++) put(table, text(`${seq} ${i}`), new Uint8Array(1000), seq);
    }
    const limit = 100_000;
    for (let from = FIRST_ROW; from.row < table.rowCount; ) {
      const { to, bytes } = table.groupFrom(from, limit, 40);
      let expected = 0;
      for (let id = from.row; id < to.row; id++) expected += table.keyLengthOf(id) + table.valueLengthOf(id) + 40;
      expect(bytes).toBe(expected);
      if (to.row < table.rowCount) {
        expect(table.seqOf(to.row)).not.toBe(table.seqOf(to.row - 1));
        expect(bytes).toBeGreaterThanOrEqual(limit);
      }
      sizes.push(bytes);
      from = to;
    }
    // A batch of 300 rows is not divided; else a group ends soon after the limit.
    expect(Math.max(...sizes)).toBeLessThan(limit + 301 * 1050 + 20_000);
    expect(sizes.length).toBeGreaterThan(20);
    expect(table.groupFrom(table.end, limit, 40)).toEqual({ to: table.end, bytes: 0 });
  });

  it('finds the newest version up to a seq, and older ones from there', () => {
    const table = new Memtable();
    put(table, text('a'), text('a5'), 5);
    put(table, text('b'), text('b6'), 6);
    put(table, text('a'), text('a8'), 8);
    put(table, text('a'), text('a9'), 9);
    const at = (seq: number) => table.find(text('a'), seq);
    expect([4, 5, 6, 7, 8, 9, ALL].map(at)).toEqual([-1, 0, 0, 0, 2, 3, 3]);
    expect([3, 2, 0, 1].map((id) => table.older(id))).toEqual([2, 0, -1, -1]);
    expect(table.find(text('ab'), ALL)).toBe(-1);
    expect(table.find(EMPTY_BYTES, ALL)).toBe(-1);
  });

  it('estimates sizes as key + value + 8 for the seq + 8 per timestamp', () => {
    const table = new Memtable();
    put(table, text('key'), text('value'), 1);
    expect(table.dataBytes).toBe(16);
    table.add(text('key'), EMPTY_BYTES, 2, FLAG_TOMBSTONE, 5, NO_TS);
    expect(table.dataBytes).toBe(16 + 19);
    table.add(text('k'), text('v'), 3, 0, 5, 6);
    expect(table.dataBytes).toBe(16 + 19 + 26);
  });

  it('refuses falling seqs, rows after freeze, and rows out of bounds, and stays as it was', () => {
    const table = new Memtable();
    put(table, text('a'), text('1'), 5);
    put(table, text('b'), text('2'), 5);
    const before = table.dataBytes;
    expect(() => put(table, text('c'), text('3'), 4)).toThrow(InternalError);
    expect(() => put(table, EMPTY_BYTES, text('3'), 6)).toThrow(InternalError);
    expect(() => put(table, new Uint8Array(65_536), text('3'), 6)).toThrow(InternalError);
    expect(() => table.add(text('c'), text('3'), 6, 256, NO_TS, NO_TS)).toThrow(InternalError);
    expect(() => table.toFlush).toThrow(InternalError);
    table.freeze();
    table.freeze();
    expect(() => put(table, text('c'), text('3'), 6)).toThrow(InternalError);
    expect(() => table.toFlush.places()).toThrow(InternalError);
    expect(table.toFlush.step()).toBe(false);
    expect(() => table.toFlush.places()).toThrow(InternalError);
    expect([table.rowCount, table.lastSeq, table.dataBytes]).toEqual([2, 5, before]);
    expect(flushOrder(table)).toEqual([0, 1]);
  });

  it('keeps the longest keys, large values, and empty ones', () => {
    const table = new Memtable();
    const longest = new Uint8Array(65_535).fill(1);
    const longer = longest.slice();
    longer[65_534] = 2;
    const sizes = [0, 1, 100, 8191, 262_000, 262_144, 262_145, 1_048_576, 3_000_001, 7];
    const rows: ModelRow[] = [];
    for (const key of [longer, longest, text('x')]) {
      for (const size of sizes) {
        const value = new Uint8Array(size);
        new SeededRandom(size).fill(value);
        const id = put(table, key, value, rows.length + 1);
        rows.push({ id, key, value, seq: rows.length + 1, flags: 0, createTs: NO_TS, expireTs: NO_TS });
      }
    }
    const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;
    for (const r of rows) {
      const found = rowAt(table, r.id);
      expect(same(found.key, r.key) && same(found.value, r.value)).toBe(true);
    }
    expect(table.memoryBytes).toBeLessThan(table.dataBytes * 1.3 + 100_000);
    expect(flushOrder(table)).toEqual(inRowOrder(rows).map((r) => r.id));
  });

  it('counts the memory of all it holds, and gives some back at freeze', () => {
    const table = new Memtable();
    const empty = table.memoryBytes;
    expect(empty).toBeLessThan(20_000);
    const random = new SeededRandom(1);
    const key = new Uint8Array(16);
    for (let i = 0; i < 50_000; i++) {
      random.fill(key);
      put(table, key, new Uint8Array(100), i);
    }
    const payload = 50_000 * 116;
    const filled = table.memoryBytes;
    expect(filled).toBeGreaterThan(payload + 50_000 * 40);
    expect(filled).toBeLessThan(payload + 50_000 * 80);
    table.cursor({ reverse: false, maxSeq: ALL }).seek(undefined);
    expect(table.memoryBytes).toBeGreaterThan(filled + 50_000 * 4);
    expect(table.memoryBytes).toBeLessThan(filled + 50_000 * 20);
    const ordered = table.memoryBytes;
    table.freeze();
    expect(table.memoryBytes).toBeLessThan(ordered);
    expect(table.memoryBytes).toBeLessThan(payload + 50_000 * 75);
  });

  it('gives back at freeze what its last chunk does not use', () => {
    const table = new Memtable();
    put(table, text('key'), text('value'), 1);
    const before = table.memoryBytes;
    table.freeze();
    expect(before - table.memoryBytes).toBeGreaterThan(16_000);
    expect(rowAt(table, 0).value).toEqual(text('value'));
  });

  it('goes on filling its chunk after a row that got one of its own', () => {
    const table = new Memtable();
    for (let i = 0; i < 40; i++) put(table, text(`k${i}`), new Uint8Array(i % 2 === 0 ? 300_000 : 10), i);
    expect(table.memoryBytes).toBeLessThan(20 * 300_000 + 100_000);
  });

  it('forgets the versions still to come when a reverse cursor seeks', () => {
    const table = new Memtable();
    for (let i = 0; i < 3; i++) put(table, text('b'), text(`b${i}`), i);
    put(table, text('a'), text('a3'), 3);
    const cursor = table.cursor({ reverse: true, maxSeq: ALL });
    expect([cursor.seek(undefined), cursor.seq, cursor.next(), cursor.seq]).toEqual([ROW, 0, ROW, 1]);
    expect([cursor.seek(text('b')), cursor.seq, cursor.next()]).toEqual([ROW, 3, END]);
  });

  it('lets the later of two rows count that share key and seq, as a replay may bring them', () => {
    const table = new Memtable();
    put(table, text('a'), text('1'), 5);
    put(table, text('a'), text('2'), 5);
    expect(table.find(text('a'), 5)).toBe(1);
    expect(table.older(1)).toBe(0);
    expect(table.find(text('a'), 4)).toBe(-1);
    expect(flushOrder(table)).toEqual([1, 0]);
  });

  it.each([0, 1, 3, 8, 32])('distinguishes keys that share a hash of %i bits', (hashBits) => {
    const table = new Memtable({ hashSeed: 3, hashBits });
    const rows: ModelRow[] = [];
    for (let i = 0; i < 600; i++) {
      const key = text(`k${(i * 7) % 400}`);
      const value = text(`v${i}`);
      rows.push({ id: put(table, key, value, i), key, value, seq: i, flags: 0, createTs: NO_TS, expireTs: NO_TS });
    }
    expect(table.keyCount).toBe(400);
    for (let i = 0; i < 400; i++) {
      const versions = rows.filter((r) => Buffer.compare(r.key, text(`k${i}`)) === 0);
      expect(table.find(text(`k${i}`), ALL)).toBe(versions.at(-1)!.id);
      expect(table.find(text(`k${i}`), versions[0].seq - 1)).toBe(-1);
      expect(table.find(text(`q${i}`), ALL)).toBe(-1);
    }
    expectAllRows(table, rows);
  });
});

describe('the order of a memtable', () => {
  const random16 = (r: SeededRandom) => {
    const key = new Uint8Array(16);
    r.fill(key);
    return key;
  };
  const forms: [string, (r: SeededRandom) => Uint8Array][] = [
    ['random', random16],
    ['decimal', (r) => text('key' + String(nextInt(r, 4000)).padStart(13, '0'))],
    [
      'two prefixes with ties far back',
      (r) => text((nextInt(r, 2) ? 'orders/2026-11-21/' : 'users/2026-11-21/long/') + nextInt(r, 3000)),
    ],
    ['long common parts', (r) => text('p'.repeat(nextInt(r, 4) * 100) + nextInt(r, 1000))],
    ['zeros of all lengths', (r) => new Uint8Array(1 + nextInt(r, 1500))],
    ['few byte values', (r) => new Uint8Array(1 + nextInt(r, 12)).map(() => [0, 1, 0xff][nextInt(r, 3)])],
    ['one or two bytes', (r) => random16(r).slice(0, 1 + nextInt(r, 2))],
  ];

  it.each(forms)('is right for keys that are %s, built at once, in steps, and by insertion', (_name, makeKey) => {
    for (const [first, later] of [
      [5000, 300],
      [40, 2000],
      [1, 1],
    ]) {
      const table = new Memtable();
      const rows = fillRandomly(table, first, makeKey, first);
      while (!table.prepareOrderStep());
      expectAllRows(table, rows);
      for (const seed of [1, 2]) {
        const more = addVersions(table, later, makeKey, seed, rows.length);
        rows.push(...more);
        table.cursor({ reverse: false, maxSeq: ALL }).seek(undefined);
      }
      expectAllRows(table, rows);
      expect(flushOrder(table)).toEqual(inRowOrder(rows).map((r) => r.id));
      expectAllRows(table, rows);
    }
  });

  function addVersions(
    t: Memtable,
    n: number,
    f: (r: SeededRandom) => Uint8Array,
    seed: number,
    from: number,
  ): ModelRow[] {
    const random = new SeededRandom(seed + 1000);
    const rows: ModelRow[] = [];
    for (let i = 0; i < n; i++) {
      const row = {
        id: from + i,
        key: f(random),
        value: text(`v${i}`),
        seq: t.lastSeq + 1,
        flags: 0,
        createTs: NO_TS,
        expireTs: NO_TS,
      };
      put(t, row.key, row.value, row.seq);
      rows.push(row);
    }
    return rows;
  }

  it.each(forms)('is right for keys that are %s, caught up every few rows', (_name, makeKey) => {
    const table = new Memtable();
    const rows: ModelRow[] = [];
    const cursor = table.cursor({ reverse: false, maxSeq: ALL });
    for (let i = 0; i < 150; i++) {
      rows.push(...addVersions(table, 20, makeKey, i, rows.length));
      cursor.seek(undefined);
    }
    expectAllRows(table, rows);
    const reverse = table.cursor({ reverse: true, maxSeq: ALL });
    for (const r of rows.slice(0, 500)) {
      expect(cursor.seek(r.key)).toBe(ROW);
      if (!standsOn(cursor, rowAt(table, table.find(r.key, ALL)))) expect.fail(`row ${r.id} not found`);
      if (reverse.seek(r.key) === ROW) expect(compareBytes(rowUnder(reverse).key, r.key)).toBeLessThan(0);
    }
  });

  it.each(['kex', 'key-0', 'k'])('is right when a single key, %s, which no sample shows, has less in common', (odd) => {
    const table = new Memtable();
    let added = 0;
    const rows = fillRandomly(table, 3001, (r) => text(added++ === 1777 ? odd : 'key-00' + nextInt(r, 1e9)), 5);
    expectAllRows(table, rows);
    expect(flushOrder(table)).toEqual(inRowOrder(rows).map((r) => r.id));
  });

  it('takes ascending and descending keys', () => {
    for (const direction of [1, -1]) {
      const table = new Memtable();
      const rows: ModelRow[] = [];
      const cursor = table.cursor({ reverse: false, maxSeq: ALL });
      for (let i = 0; i < 3000; i++) {
        const key = bytes(0, (5000 + direction * i) >> 8, (5000 + direction * i) & 0xff);
        rows.push({
          id: put(table, key, EMPTY_BYTES, i),
          key,
          value: EMPTY_BYTES,
          seq: i,
          flags: 0,
          createTs: NO_TS,
          expireTs: NO_TS,
        });
        if (i % 50 === 0) cursor.seek(undefined);
      }
      expectAllRows(table, rows);
    }
  });

  it('is prepared in steps that end although puts go on, and that leave little to the cursor', () => {
    const table = new Memtable();
    const random = new SeededRandom(4);
    for (let i = 0; i < 30_000; i++) put(table, random16(random), EMPTY_BYTES, i);
    let steps = 0;
    while (!table.prepareOrderStep()) {
      steps++;
      expect(steps).toBeLessThan(200);
      for (let i = 0; i < 100; i++) put(table, random16(random), EMPTY_BYTES, table.lastSeq);
    }
    expect(steps).toBeGreaterThan(10);
    const cursor = table.cursor({ reverse: false, maxSeq: ALL });
    let rows = 0;
    for (let s = cursor.seek(undefined); s === ROW; s = cursor.next()) rows++;
    expect(rows).toBe(table.rowCount);
  });

  it('survives being needed while it is half sorted', () => {
    const table = new Memtable();
    const rows = fillRandomly(table, 20_000, random16, 9);
    for (let i = 0; i < 3; i++) expect(table.prepareOrderStep()).toBe(false);
    rows.push(...addVersions(table, 50, random16, 3, rows.length));
    expectAllRows(table, rows);
  });
});
