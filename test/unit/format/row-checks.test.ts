/** Row checks of built tables and WAL objects: which rows each covers, its seed, and published vectors. */
import { describe, expect, it } from 'vitest';
import { decodeBlock } from '../../../src/format/block.ts';
import { BlockCursor } from '../../../src/format/block-cursor.ts';
import { xxHash32 } from '../../../src/format/checksum.ts';
import { NO_CODEC } from '../../../src/format/codecs.ts';
import { chooseRowsPerCheck, type RowsPerCheck } from '../../../src/format/row-checks.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_TOMBSTONE } from '../../../src/format/row-flags.ts';
import { TableBuilder } from '../../../src/format/table-builder.ts';
import type { TableType } from '../../../src/format/table-info.ts';
import { randomRows, type SampleRow, sampleRow } from './block-samples.ts';

describe('chooseRowsPerCheck', () => {
  it.each([
    [1, 16],
    [40, 16],
    [40.1, 8],
    [80, 8],
    [81, 4],
    [160, 4],
    [161, 2],
    [320, 2],
    [321, 1],
    [100_000, 1],
  ])('for rows of %d bytes is %i', (bytes, rows) => {
    expect(chooseRowsPerCheck(bytes)).toBe(rows);
  });
});

function build(rows: readonly SampleRow[], tableType: TableType, rowsPerCheck: RowsPerCheck) {
  const builder = new TableBuilder({ tableType, blockBytes: 1024, codec: NO_CODEC, rowsPerCheck, capacityBytes: 0 });
  for (const { key, value, seq, flags, createTs, expireTs } of rows) {
    builder.add(key, 0, key.length, value, 0, value.length, seq, flags, createTs, expireTs);
  }
  return builder.finish();
}

/** The checks as they are defined, from the finished blocks. */
function slowChecks(bytes: Uint8Array, storedBytes: ArrayLike<number>, rowsPerCheck: number): number[] {
  const checks: number[] = [];
  let at = 0;
  for (let b = 0; b < storedBytes.length; b++) {
    const block = decodeBlock(bytes.slice(at, at + storedBytes[b] - 4), 2);
    at += storedBytes[b];
    const cursor = new BlockCursor();
    cursor.attach(block);
    let start = 0;
    let rows = 0;
    let seed = 0;
    let previous = new Uint8Array(0);
    let end = 0;
    while (cursor.next()) {
      // Keys of these rows are shorter than 128 bytes or stored so that one byte says what is shared.
      const shared = block.bytes[end];
      if (rows === 0) seed = shared === 0 ? 0 : xxHash32(previous, 0, shared, 0);
      end = cursor.valueStart + cursor.valueLength + 9;
      end += (cursor.flags & FLAG_CREATE ? 8 : 0) + (cursor.flags & FLAG_EXPIRE ? 8 : 0);
      previous = cursor.key.slice(0, cursor.keyLength);
      if (++rows === rowsPerCheck) {
        checks.push(xxHash32(block.bytes, start, end, seed));
        start = end;
        rows = 0;
      }
    }
    if (rows > 0) checks.push(xxHash32(block.bytes, start, end, seed));
  }
  return checks;
}

describe('row checks of a built table', () => {
  const rows = randomRows(21, 200).filter((r) => r.key.length < 128);

  it.each([1, 2, 4, 8, 16] as const)('cover every %i rows as they stand, seeded by what the first one shares', (g) => {
    const { bytes, facts } = build(rows, 'compacted', g);
    expect(facts.rows.rowsPerCheck).toBe(g);
    expect([...facts.rows.checks]).toEqual(slowChecks(bytes, facts.rows.blockStoredBytes, g));
    expect(facts.rows.blockStoredBytes.length).toBeGreaterThan(3);
    expect(facts.rows.firstSeqs).toBeUndefined();
  });

  it('of a WAL object also have first sequence numbers and which rows continue a batch', () => {
    const batches = [1, 1, 1, 2, 5, 5, 5, 5, 6];
    const wal = batches.map((seq, i) => sampleRow(`key-${(i * 7) % 9}`, seq));
    const one = build(wal, 'wal', 1);
    expect([...one.facts.rows.checks]).toEqual(slowChecks(one.bytes, one.facts.rows.blockStoredBytes, 1));
    expect([...one.facts.rows.firstSeqs!]).toEqual(batches);
    expect([...one.facts.rows.continuations!]).toEqual([0, 1, 1, 0, 0, 1, 1, 1, 0]);
    const two = build(wal, 'wal', 2);
    expect([...two.facts.rows.firstSeqs!]).toEqual([1, 1, 5, 5, 6]);
    expect([...two.facts.rows.continuations!]).toEqual([0, 1, 0, 1, 0]);
    expect(two.facts.rows.checks.length).toBe(5);
  });

  it('go on over block borders in a WAL object', () => {
    const wal = Array.from({ length: 300 }, (_, i) => sampleRow(`k${i}`, 1 + (i >> 3), { value: new Uint8Array(30) }));
    const { bytes, facts } = build(wal, 'wal', 1);
    expect(facts.rows.blockRows.length).toBeGreaterThan(5);
    expect([...facts.rows.checks]).toEqual(slowChecks(bytes, facts.rows.blockStoredBytes, 1));
    expect([...facts.rows.firstSeqs!]).toEqual(wal.map((row) => row.seq));
    expect([...facts.rows.continuations!]).toEqual(wal.map((_, i) => (i % 8 === 0 ? 0 : 1)));
  });

  it('are the published ones of a published object', () => {
    const tiny = [
      sampleRow('pear', 1, { value: new TextEncoder().encode('green'), flags: FLAG_CREATE, createTs: 1795168418640 }),
      sampleRow('apple', 2, {
        value: new TextEncoder().encode('red'),
        flags: FLAG_CREATE | FLAG_EXPIRE,
        createTs: 1795168418640,
        expireTs: 1795254818640,
      }),
      sampleRow('apply', 3, {
        value: new Uint8Array(0),
        flags: FLAG_CREATE | FLAG_TOMBSTONE,
        createTs: 1795168418641,
      }),
    ];
    expect([...build(tiny, 'wal', 1).facts.rows.checks]).toEqual([0xa3ad274f, 0xa43816e1, 0x28d0159b]);
  });

  it('can be left out', () => {
    const { facts } = build(rows, 'compacted', 0);
    expect(facts.rows).toMatchObject({ rowsPerCheck: 0, checks: new Uint32Array(0) });
    expect(facts.rows.blockRows.length).toBeGreaterThan(3);
  });
});
