/** What is made of scans, over scans that are arrays: which scan is asked for, and what becomes of its rows. */
import { expect, it } from 'vitest';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { ByteReads } from '../../../src/db/byte-reads.ts';
import { RangeReads } from '../../../src/db/range-reads.ts';
import type { RawReads } from '../../../src/db/read-path.ts';
import { Turns } from '../../../src/db/turns.ts';
import { Row } from '../../../src/lsm/read/scan-row.ts';

function world(rowCount: number) {
  const asked: unknown[] = [];
  let closed = 0;
  const rows = Array.from(
    { length: rowCount },
    (_, i) => new Row(new Uint8Array([i >> 8, i]), new Uint8Array(1), BigInt(i)),
  );
  const raw = {
    turns: new Turns(new ManualClock()),
    scan: (options: { limit?: number } = {}, convert: (row: Row) => unknown = (row) => row) => {
      asked.push(options);
      const left = rows.slice(0, options.limit);
      const close = async () => void closed++;
      return {
        toArray: async () => left.map(convert),
        nextBatch: async (count: number) => left.splice(0, count).map(convert),
        close,
        [Symbol.asyncDispose]: close,
      };
    },
  };
  return { reads: new ByteReads(raw as never as RawReads), asked, closed: () => closed };
}

it('a page asks for one row more than it gives', async () => {
  const w = world(10);
  const page = await w.reads.page({ prefix: 'p', reverse: true }, { size: 4 });
  expect([page.rows.length, page.more, page.after]).toEqual([4, true, new Uint8Array([0, 3])]);
  expect(w.asked).toEqual([{ prefix: 'p', reverse: true, limit: 5 }]);
  expect(await world(4).reads.page({}, { size: 4 })).toMatchObject({ more: false, after: new Uint8Array([0, 3]) });
});

it('both ends are scans of one row', async () => {
  const w = world(3);
  expect((await w.reads.first({ gte: 'a' }))?.seq).toBe(0n);
  expect((await w.reads.last())?.seq).toBe(0n);
  expect(w.asked).toEqual([
    { gte: 'a', reverse: false, limit: 1 },
    { reverse: true, limit: 1 },
  ]);
});

it('a count goes to the end of its scan and closes it', async () => {
  const w = world(3000);
  expect(await w.reads.count()).toBe(3000);
  expect(w.closed()).toBe(1);
  expect(w.reads).toBeInstanceOf(RangeReads);
});
