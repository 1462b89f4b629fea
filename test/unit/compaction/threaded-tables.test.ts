/**
 * Tables that are built on threads, with threads that run on virtual time: the bytes that the owner's thread makes, the end of a build at any message,
 * and which threads there are for it. Real ones are in test/integration/merge-threads.test.ts.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { finish } from '../../../src/common/async.ts';
import { InternalError } from '../../../src/common/errors.ts';
import { SILENT_LOGGER } from '../../../src/common/logger.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import type { FromThread } from '../../../src/compaction/merge-messages.ts';
import type { StartThread } from '../../../src/compaction/thread.ts';
import { THREAD_IDLE_MS, ThreadPool } from '../../../src/compaction/thread-pool.ts';
import { ThreadedTables } from '../../../src/compaction/threaded-tables.ts';
import { loadCodec } from '../../../src/format/codecs.ts';
import { CODECS } from '../../../src/format/table-info.ts';
import { copyLog, logCopyBytes } from '../../../src/lsm/memtable/log-copy.ts';
import type { Memtable } from '../../../src/lsm/memtable/memtable.ts';
import {
  buildFlushedTable,
  type FlushedSeal,
  type FlushPlan,
  sealOfFlushed,
  type TableFormat,
} from '../../../src/lsm/read/memtable-to-table.ts';
import type { ThreadFlush } from '../../../src/lsm/read/table-threads.ts';
import { RETAIN_ALL } from '../../../src/lsm/rows/visibility.ts';
import { LocalThreads } from '../../support/local-threads.ts';
import { frozenMemtable, memtableRowsArb } from '../../support/random-memtables.ts';

const SEAL: FlushedSeal = {
  identity: {
    databaseId: new Uint8Array(16).fill(1),
    objectId: new Uint8Array(16).fill(2),
    putId: '01M7W60ETHEE00000000000000' as FlushedSeal['identity']['putId'],
    epoch: 3,
    role: 'writer',
    formatVersion: 2,
    codec: 'none',
    writtenAtMs: 4,
    newestManifestId: 5,
    software: [0, 1, 0],
  },
  replayAfterWalId: 6,
};
const FORMAT: TableFormat = {
  blockBytes: 1024,
  codec: await loadCodec('none'),
  filter: { form: 'composite', bitsPerKey: 10, minKeys: 0 },
};
const ALL: FlushPlan = { barrier: RETAIN_ALL, expiredAtMs: undefined };
const TABLE = frozenMemtable([{ key: 1, kind: 'put', valueBytes: 30, expires: undefined }], 100);

function world(startThread?: StartThread, most = 1) {
  const clock = new ManualClock();
  const local = new LocalThreads(clock);
  const pool = new ThreadPool({ clock, logger: SILENT_LOGGER, startThread: startThread ?? local.start, most });
  const tables = new ThreadedTables(pool);
  let copies = 0;
  const flushOf = (table: Memtable, changes: Partial<ThreadFlush> = {}): ThreadFlush => ({
    plan: ALL,
    format: FORMAT,
    copy: async () => {
      copies++;
      return finish(copyLog(table.toFlush));
    },
    seal: () => SEAL,
    signal: new AbortController().signal,
    ...changes,
  });
  const here = (table: Memtable, { plan, format, seal }: ThreadFlush) =>
    clock.runUntilSettled(buildFlushedTable(table, plan, format, clock, (facts) => sealOfFlushed(seal(), facts)));
  return { clock, local, pool, tables, flushOf, here, copies: () => copies };
}

describe('a table that is built on a thread', () => {
  it('has the bytes of one that is built here, whatever its rows, its form and what is kept', async () => {
    const { clock, local, tables, flushOf, here } = world();
    const planArb = fc.record({
      barrier: fc.oneof(fc.constant(RETAIN_ALL), fc.constant(Number.POSITIVE_INFINITY), fc.nat(300)),
      expiredAtMs: fc.option(fc.nat(2000), { nil: undefined }),
    });
    const formatArb = fc.record({
      blockBytes: fc.constantFrom(256, 1024, 4096),
      codec: fc.constantFrom(...CODECS),
      filter: fc.record({
        form: fc.constantFrom('composite' as const, 'legacy' as const),
        bitsPerKey: fc.integer({ min: 1, max: 20 }),
        minKeys: fc.constantFrom(0, 20, 1000),
      }),
    });
    let found = 0;
    await fc.assert(
      fc.asyncProperty(memtableRowsArb, fc.nat(100), planArb, formatArb, async (rows, adopted, plan, form) => {
        const table = frozenMemtable(rows, adopted);
        const format = { ...form, codec: await loadCodec(form.codec) };
        const flush = flushOf(table, { plan, format });
        const expected = await here(frozenMemtable(rows, adopted), flush);
        const outcome = await clock.runUntilSettled(tables.build(flush));
        if (expected === undefined) expect(outcome).toEqual({ kind: 'empty' });
        else {
          found++;
          const { bytes, info } = expected;
          expect(outcome.kind === 'table' && Buffer.compare(outcome.bytes, bytes)).toBe(0);
          expect(outcome).toMatchObject({ kind: 'table', info });
        }
      }),
      { numRuns: 60 },
    );
    expect(found).toBeGreaterThan(30);
    expect([local.started, local.awake]).toEqual([1, [false]]);
  });

  it('is gone if no row is kept', async () => {
    const { clock, tables, flushOf } = world();
    const table = frozenMemtable([{ key: 1, kind: 'merge', valueBytes: 3, expires: 5 }]);
    const plan = { barrier: Number.POSITIVE_INFINITY, expiredAtMs: 5 };
    expect(await clock.runUntilSettled(tables.build(flushOf(table, { plan })))).toEqual({ kind: 'empty' });
  });

  it('leaves no memory of its rows in the thread when it is there, or when nobody wants it any more', async () => {
    const { clock, local, tables, flushOf } = world();
    const bytes = logCopyBytes(TABLE.toFlush);
    await clock.runUntilSettled(tables.build(flushOf(TABLE)));
    expect(local.bytesLetGo).toBe(bytes);
    const abort = new AbortController();
    local.diesOf = (_, { kind }) => {
      if (kind === 'build') abort.abort();
      return false;
    };
    await clock.runUntilSettled(tables.build(flushOf(TABLE, { signal: abort.signal })).catch(() => undefined));
    await clock.settle();
    expect(local.bytesLetGo).toBe(2 * bytes);
  });

  it('has the seal of the moment in which its rows are in it', async () => {
    const { clock, local, tables, flushOf } = world();
    const bytes = logCopyBytes(TABLE.toFlush);
    const before: unknown[] = [];
    const seal = () => {
      // Rows that are in a table are needed no more.
      before.push(...local.said, local.bytesLetGo);
      return SEAL;
    };
    await clock.runUntilSettled(tables.build(flushOf(TABLE, { seal })));
    expect([before, local.said]).toEqual([
      ['unsealed', bytes],
      ['unsealed', 'flushed'],
    ]);
  });

  it('keeps the process alive until it is there', async () => {
    const { clock, local, tables, flushOf } = world();
    const building = tables.build(flushOf(TABLE));
    await clock.yieldToLoop();
    const awake: unknown[] = [];
    local.diesOf = (_, { kind }) => {
      awake.push([kind, ...local.awake]);
      return false;
    };
    await clock.runUntilSettled(building);
    await clock.settle();
    const working = ['build', 'unsealed', 'seal', 'flushed'].map((kind) => [kind, true]);
    expect(awake).toEqual([...working, ['close', false]]);
  });
});

describe('a build on a thread', () => {
  it('fails where its thread dies, at whatever message, and the next one has another thread', async () => {
    for (const kind of ['build', 'unsealed', 'seal', 'flushed'] as const) {
      const { clock, local, pool, tables, flushOf } = world();
      local.diesOf = (thread, message) => thread === 0 && message.kind === kind;
      const error = await clock.runUntilSettled(tables.build(flushOf(TABLE)).catch((e: unknown) => e));
      expect(error, kind).toMatchObject({ cause: { message: `thread 0 fell over ${kind}` } });
      expect(await clock.runUntilSettled(tables.build(flushOf(TABLE))), kind).toMatchObject({ kind: 'table' });
      expect([local.started, pool.threadCount], kind).toEqual([2, 1]);
    }
  });

  it('ends at once when it is aborted, at whatever message, and leaves no thread that works', async () => {
    let isWhole = false;
    for (let at = 0; !isWhole; at++) {
      const { clock, local, pool, tables, flushOf } = world();
      const abort = new AbortController();
      let messages = 0;
      local.diesOf = () => {
        if (++messages === at) abort.abort();
        return false;
      };
      const copy = async () => {
        if (at === 0) abort.abort();
        return finish(copyLog(TABLE.toFlush));
      };
      const end = await clock.runUntilSettled(
        tables.build(flushOf(TABLE, { signal: abort.signal, copy })).catch((e: unknown) => e),
      );
      isWhole = !abort.signal.aborted;
      if (!isWhole && at < 4) expect(end, `at ${at}`).toMatchObject({ kind: 'aborted' });
      await clock.advance(THREAD_IDLE_MS);
      await clock.settle();
      expect([local.running, pool.threadCount], `at ${at}`).toEqual([0, 0]);
    }
  });

  it('is not begun when it was aborted while its thread started', async () => {
    const { clock, tables, flushOf, copies } = world();
    const abort = new AbortController();
    const building = tables.build(flushOf(TABLE, { signal: abort.signal }));
    abort.abort();
    await expect(clock.runUntilSettled(building)).rejects.toMatchObject({ kind: 'aborted' });
    await expect(tables.build(flushOf(TABLE, { signal: abort.signal }))).rejects.toMatchObject({ kind: 'aborted' });
    expect(copies()).toBe(0);
  });

  it('fails with what goes wrong in the copy, in the rows and in the seal', async () => {
    const { clock, tables, flushOf } = world();
    const failing = (changes: Partial<ThreadFlush>) =>
      clock.runUntilSettled(tables.build(flushOf(TABLE, changes)).catch((e: unknown) => e));
    const copy = () => Promise.reject(new RangeError('no memory'));
    expect(await failing({ copy })).toMatchObject({ message: 'no memory' });
    const broken = async () => ({ ...finish(copyLog(TABLE.toFlush)), firstSeq: 50 });
    expect(await failing({ copy: broken })).toBeInstanceOf(InternalError);
    const seal = () => {
      throw new InternalError('no seal');
    };
    expect(await failing({ seal })).toMatchObject({ message: 'no seal' });
    expect(await failing({})).toMatchObject({ kind: 'table' });
  });

  it('fails on an answer that is none', async () => {
    const table = await world().here(TABLE, world().flushOf(TABLE));
    const zlib = { ...FORMAT, codec: await loadCodec('zlib') };
    const other = await world().here(TABLE, world().flushOf(TABLE, { format: zlib }));
    const answers: [unknown, RegExp][] = [
      [{ kind: 'events', events: [] }, /answered with events/],
      [{ kind: 'flushed' }, /without the bytes/],
      [{ kind: 'flushed', bytes: table!.bytes.subarray(0, 200) }, /./],
      [{ kind: 'flushed', bytes: new Uint8Array(500) }, /./],
      [{ kind: 'flushed', bytes: other!.bytes }, /another table/],
      [{ kind: 'failed' }, /./],
    ];
    for (const [answer, message] of answers) {
      const start: StartThread = async (listener) => ({
        post: ({ work, kind }) => {
          if (kind === 'build') listener.onMessage({ ...(answer as FromThread), work });
        },
        keepAlive: () => undefined,
        end: async () => undefined,
        leave: async () => undefined,
      });
      const { clock, tables, flushOf } = world(start);
      const error = await clock.runUntilSettled(tables.build(flushOf(TABLE)).catch((e: unknown) => e));
      expect(error, JSON.stringify(answer)?.slice(0, 60)).toBeInstanceOf(Error);
      expect((error as Error).message).toMatch(message);
    }
  });
});

describe('threads for tables', () => {
  it('are none where none can be started, and then nothing is copied', async () => {
    const { clock, local, tables, flushOf, copies } = world();
    local.cannotStart = true;
    for (let i = 0; i < 2; i++)
      expect(await clock.runUntilSettled(tables.build(flushOf(TABLE)))).toEqual({ kind: 'no-thread' });
    expect(copies()).toBe(0);
  });

  it('are those of merges, but for those that have run code of the application', async () => {
    const { clock, local, pool, tables, flushOf } = world(undefined, 2);
    const merge = await clock.runUntilSettled(pool.place(true));
    expect(await clock.runUntilSettled(tables.build(flushOf(TABLE)))).toMatchObject({ kind: 'table' });
    expect(local.started).toBe(2);
    merge!.release();
    const plain = await clock.runUntilSettled(pool.place(false));
    expect(await clock.runUntilSettled(tables.build(flushOf(TABLE)))).toMatchObject({ kind: 'table' });
    plain!.release();
    expect(local.started).toBe(2);
    await pool.close();
  });

  it('are none where each has run code of the application', async () => {
    const { clock, local, pool, tables, flushOf } = world();
    const merge = await clock.runUntilSettled(pool.place(true));
    merge!.release();
    expect(await clock.runUntilSettled(tables.build(flushOf(TABLE)))).toEqual({ kind: 'no-thread' });
    await clock.advance(THREAD_IDLE_MS);
    expect(await clock.runUntilSettled(tables.build(flushOf(TABLE)))).toMatchObject({ kind: 'table' });
    expect(local.started).toBe(2);
  });

  it('end builds when they are closed', async () => {
    const { pool, tables, flushOf } = world();
    const building = tables.build(flushOf(TABLE)).catch((e: unknown) => e);
    await pool.close();
    expect(await building).toMatchObject({ code: 'CLOSED' });
    await expect(tables.build(flushOf(TABLE))).rejects.toMatchObject({ code: 'CLOSED' });
  });
});
