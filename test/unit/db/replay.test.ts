/** The rows of a WAL object in a memtable: `object rows | floor => rows`, a row as `key@seq`, blocks divided by a slash. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { applyRows } from '../../../src/db/replay.ts';
import { NO_CODEC } from '../../../src/format/codecs.ts';
import { FLAG_CREATE, NO_TS } from '../../../src/format/row-flags.ts';
import { Author } from '../../../src/lsm/manifest/author.ts';
import { Memtable } from '../../../src/lsm/memtable/memtable.ts';
import { readWalObject, type WalObject } from '../../../src/lsm/wal/wal-object.ts';
import { encodeWalObject } from '../../../src/lsm/wal/wal-writer.ts';
import { text } from '../../support/database.ts';

const utf8 = (s: string) => new TextEncoder().encode(s);
const clock = new ManualClock();

/** An object of rows that were created at ten times their number. */
async function objectOf(rows: readonly [string, number][], blockBytes: number): Promise<WalObject> {
  const table = new Memtable();
  for (const [key, seq] of rows) table.add(utf8(key), utf8(`value ${seq}`), seq, FLAG_CREATE, seq * 10, NO_TS);
  const random = new SeededRandom(1);
  const author = new Author({ clock, random, owner: 'w', databaseId: new Uint8Array(16), role: 'writer' });
  const facts = { id: 1, epoch: 1, newestManifestId: 1, predecessor: undefined };
  const format = { blockBytes, codec: NO_CODEC, filterForm: 'legacy' as const };
  const encoding = encodeWalObject({ table, from: 0, to: rows.length, bytes: 1 << 16 }, facts, format, author);
  const { bytes } = await clock.runUntilSettled(encoding);
  return (await readWalObject(1, bytes)).object!;
}

function rowsOf(table: Memtable): string {
  const found: string[] = [];
  const cursor = table.cursor({ reverse: false, maxSeq: Number.MAX_SAFE_INTEGER });
  for (let status = cursor.seek(undefined); status > 0; status = cursor.next()) {
    found.push(`${text(cursor.keyBuf.subarray(cursor.keyStart, cursor.keyStart + cursor.keyLength))}@${cursor.seq}`);
  }
  return found.join(' ');
}

describe('a replay', () => {
  it.each<[number, string, number]>([
    [0, 'a@1 b@3 b@2 c@4', 40],
    [2, 'b@3 c@4', 40],
    [3, 'c@4', 40],
    [4, '', 0],
    [9, '', 0],
  ])('moves the rows above %i: %s, and gives the time of the latest', async (floor, expected, latest) => {
    const object = await objectOf(
      [
        ['a', 1],
        ['b', 2],
        ['b', 3],
        ['c', 4],
      ],
      4096,
    );
    const table = new Memtable();
    const createTs = await clock.runUntilSettled(applyRows(object, table, floor, clock));
    expect([rowsOf(table), createTs]).toEqual([expected, latest]);
  });

  it('moves the rows of every block, also of more than one slice takes', async () => {
    const rows = Array.from({ length: 1000 }, (_, i): [string, number] => [`key-${String(i).padStart(4, '0')}`, i + 1]);
    const object = await objectOf(rows, 1024);
    expect(object.blocks.length).toBeGreaterThan(10);
    const table = new Memtable();
    await clock.runUntilSettled(applyRows(object, table, 500, clock));
    expect([table.rowCount, table.firstSeq, table.lastSeq]).toEqual([500, 501, 1000]);
  });

  it('adds to what is there', async () => {
    const table = new Memtable();
    table.add(utf8('a'), utf8('x'), 1, 0, NO_TS, NO_TS);
    const object = await objectOf(
      [
        ['a', 2],
        ['z', 3],
      ],
      4096,
    );
    await clock.runUntilSettled(applyRows(object, table, 1, clock));
    expect(rowsOf(table)).toBe('a@2 a@1 z@3');
  });
});
