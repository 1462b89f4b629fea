/** The part of a table after its blocks, decoded in slices. */
import { describe, expect, it } from 'vitest';
import { finish, finishSliced, type Steps } from '../../../../src/common/async.ts';
import { isCorruption } from '../../../../src/common/errors.ts';
import type { Ulid } from '../../../../src/common/ulid.ts';
import { crc32 } from '../../../../src/format/checksum.ts';
import { NO_CODEC } from '../../../../src/format/codecs.ts';
import { writeCrc } from '../../../../src/format/framing.ts';
import { decodeSealSteps, encodeSeal } from '../../../../src/format/seal.ts';
import type { IdentityRecord } from '../../../../src/format/seal-records.ts';
import { decodeTail, type TableTail } from '../../../../src/lsm/table/table-tail.ts';
import { type InputTable, tableOf } from '../../../support/merge-inputs.ts';

const BLOCKS = 20_000;
/** Steps of the index, which is read and then checked, and of the stats. */
const LEAST_STEPS = Math.floor((2 * BLOCKS) / 1024 + BLOCKS / 4096);
const ID = '01ARZ3NDEKTSV4RRFFQ69G5FAV' as Ulid;

const IDENTITY: IdentityRecord = {
  databaseId: new Uint8Array(16),
  objectId: new Uint8Array(16),
  putId: '01M7Q5CQG10000000000000002' as Ulid,
  epoch: 1,
  role: 'writer',
  formatVersion: 0,
  codec: 'none',
  writtenAtMs: 1795168418650,
  newestManifestId: 4,
  software: [0, 1, 0],
};

/** Each row fills a block. */
function manyBlocks(): InputTable {
  const rows = Array.from({ length: BLOCKS }, (_, i) => ({
    key: new TextEncoder().encode(`key-${String(i).padStart(6, '0')}`),
    value: new Uint8Array(128),
    seq: i + 1,
    flags: 0,
    createTs: 0,
    expireTs: 0,
  }));
  return tableOf(rows, { blockBytes: 128 });
}

function tailOf({
  bytes,
  info,
  formatVersion,
}: Pick<InputTable, 'bytes' | 'info' | 'formatVersion'>): Steps<TableTail> {
  const base = info.filterOffset;
  const options = { ref: { id: ID, info, formatVersion }, codec: NO_CODEC, maxBytes: 2 ** 32 };
  return decodeTail(bytes.subarray(base), base, bytes.length, options);
}

/** A clock on which each look takes `ms`. */
function slowClock(ms: number): { monotonicMs(): number; yieldToLoop(): Promise<void>; turns: number } {
  let now = 0;
  const clock = {
    turns: 0,
    monotonicMs: () => {
      now += ms;
      return now;
    },
    yieldToLoop: async () => {
      clock.turns++;
    },
  };
  return clock;
}

describe('the tail of a table of many blocks', () => {
  const table = manyBlocks();

  it('is decoded in steps of a bounded number of blocks', () => {
    const steps = tailOf(table);
    let count = 0;
    while (steps.next().done !== true) count++;
    expect(count).toBeGreaterThanOrEqual(LEAST_STEPS);
  });

  it('gives the event loop a turn whenever a slice is over, and none before', async () => {
    const slow = slowClock(3);
    const sliced = await finishSliced(slow, tailOf(table));
    expect(slow.turns).toBeGreaterThanOrEqual(LEAST_STEPS);
    const quick = slowClock(0);
    await finishSliced(quick, tailOf(table));
    expect(quick.turns).toBe(0);
    const whole = finish(tailOf(table));
    expect(sliced.damages).toEqual([]);
    expect(sliced.index?.blockCount).toBe(BLOCKS);
    expect(sliced.stats).toEqual(whole.stats);
    for (const i of [0, 1, 1023, 1024, BLOCKS - 1]) expect(sliced.index?.offset(i)).toBe(whole.index?.offset(i));
  });

  it('names damage that a late step meets, and keeps the other parts', async () => {
    const bytes = table.bytes.slice();
    const { indexOffset, indexLength } = table.info;
    // The root of the index points outside of it, and the checksum holds.
    bytes[indexOffset + 3] = 0x7f;
    const end = indexOffset + indexLength - 4;
    writeCrc(bytes, end, crc32(bytes, indexOffset, end));
    const tail = await finishSliced(slowClock(3), tailOf({ ...table, bytes }));
    expect(tail.index).toBeUndefined();
    expect(tail.damages.map((d) => isCorruption(d) && d.code)).toEqual(['MALFORMED']);
    expect(tail.stats?.blocks).toHaveLength(BLOCKS);
  });
});

describe('the row checks of a seal', () => {
  it('are read in steps of a bounded number of blocks', () => {
    const rows = {
      rowsPerCheck: 1,
      blockStoredBytes: new Float64Array(BLOCKS).fill(300),
      blockRows: new Float64Array(BLOCKS).fill(1),
      checks: Uint32Array.from({ length: BLOCKS }, (_, i) => i),
    } as const;
    const bytes = encodeSeal({ kind: 'table', identity: IDENTITY, rows });
    const steps = decodeSealSteps(bytes, 0, bytes.length);
    let count = 0;
    let step = steps.next();
    for (; step.done !== true; step = steps.next()) count++;
    expect(count).toBe(Math.floor(BLOCKS / 1024));
    expect(step.value.rows?.checks).toEqual(rows.checks);
  });
});
