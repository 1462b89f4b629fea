/** Threads that wait for another owner: who gets them, what of an owner before is heard, and when they end. */
import { describe, expect, it } from 'vitest';
import { finish } from '../../../src/common/async.ts';
import { SILENT_LOGGER } from '../../../src/common/logger.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import type { FromThread } from '../../../src/compaction/merge-messages.ts';
import { SpareThreads } from '../../../src/compaction/spare-threads.ts';
import type { ThreadListener } from '../../../src/compaction/thread.ts';
import { THREAD_IDLE_MS, ThreadPool } from '../../../src/compaction/thread-pool.ts';
import { ThreadedTables } from '../../../src/compaction/threaded-tables.ts';
import { NO_CODEC } from '../../../src/format/codecs.ts';
import { copyLog } from '../../../src/lsm/memtable/log-copy.ts';
import type { ThreadFlush } from '../../../src/lsm/read/table-threads.ts';
import { LocalThreads } from '../../support/local-threads.ts';
import { frozenMemtable } from '../../support/random-memtables.ts';

const MESSAGE: FromThread = { kind: 'unsealed', work: 1 };

function world() {
  const clock = new ManualClock();
  const local = new LocalThreads(clock);
  const listeners: ThreadListener[] = [];
  const startThread: typeof local.start = (listener) => {
    listeners.push(listener);
    return local.start(listener);
  };
  const spare = new SpareThreads({ clock, startThread, most: 2 });
  const heard: string[] = [];
  const owner = (name: string): ThreadListener => ({
    onMessage: ({ kind }) => void heard.push(`${name}: ${kind}`),
    onEnded: ({ message }) => void heard.push(`${name}: ${message}`),
  });
  const pool = () => {
    const { start, newWork } = spare;
    return new ThreadPool({ clock, logger: SILENT_LOGGER, startThread: start, newWork, most: 1 });
  };
  return { clock, local, listeners, spare, heard, owner, pool };
}

describe('a thread that its owner needs no more', () => {
  it('has the next owner, who alone hears of it', async () => {
    const { local, listeners, spare, heard, owner } = world();
    const first = await spare.start(owner('first'));
    listeners[0]!.onMessage(MESSAGE);
    await first.leave();
    listeners[0]!.onMessage(MESSAGE);
    expect([spare.count, local.running]).toEqual([1, 1]);
    await spare.start(owner('second'));
    listeners[0]!.onMessage(MESSAGE);
    listeners[0]!.onEnded(new Error('gone'));
    expect([heard, spare.count, local.started]).toEqual([
      ['first: unsealed', 'second: unsealed', 'second: gone'],
      0,
      1,
    ]);
  });

  it('ends after 30 s without one, and does not keep the process alive', async () => {
    const { clock, local, spare, owner } = world();
    const thread = await spare.start(owner('first'));
    thread.keepAlive(true);
    await thread.leave();
    expect(local.awake).toEqual([false]);
    await clock.advance(THREAD_IDLE_MS - 1);
    expect(local.running).toBe(1);
    const again = await spare.start(owner('second'));
    await clock.advance(THREAD_IDLE_MS);
    expect(local.running).toBe(1);
    await again.leave();
    await clock.advance(THREAD_IDLE_MS);
    expect([local.running, spare.count, clock.pendingTimers]).toEqual([0, 0, 0]);
  });

  it('is nobody’s if it dies', async () => {
    const { clock, local, listeners, spare, heard, owner } = world();
    await (await spare.start(owner('first'))).leave();
    listeners[0]!.onEnded(new Error('gone'));
    expect([heard, spare.count, clock.pendingTimers]).toEqual([[], 0, 0]);
    await spare.start(owner('second'));
    expect(local.started).toBe(2);
  });

  it('ends where enough are spare', async () => {
    const { local, spare, owner } = world();
    const threads = [];
    for (let i = 0; i < 3; i++) threads.push(await spare.start(owner(`owner ${i}`)));
    for (const thread of threads) await thread.leave();
    expect([spare.count, local.running]).toEqual([2, 2]);
  });
});

describe('a pool that is closed', () => {
  it('leaves its threads to the next one, whose work has other numbers', async () => {
    const { clock, local, spare, pool } = world();
    const table = frozenMemtable([{ key: 1, kind: 'put', valueBytes: 30, expires: undefined }]);
    const flush: ThreadFlush = {
      plan: { barrier: -1, expiredAtMs: undefined },
      format: { blockBytes: 4096, codec: NO_CODEC, filter: { form: 'composite', bitsPerKey: 10, minKeys: 0 } },
      copy: async () => finish(copyLog(table.toFlush)),
      seal: () => {
        throw new Error('no seal');
      },
      signal: new AbortController().signal,
    };
    const numbers = new Set<number>();
    for (let i = 0; i < 3; i++) {
      const threads = pool();
      await clock.runUntilSettled(new ThreadedTables(threads).build(flush).catch(() => undefined));
      numbers.add((await threads.place(false))!.id);
      // Its place was not released: the thread has work.
      if (i === 2) await threads.close();
      else {
        const others = pool();
        (await clock.runUntilSettled(others.place(false)))!.release();
        await others.close();
        expect(spare.count).toBe(1);
        await threads.close();
      }
    }
    expect(numbers.size).toBe(3);
    expect(local.running).toBe(spare.count);
  });

  it('ends those that have work, or have run code of the application', async () => {
    for (const [hasForeignCode, isReleased] of [
      [true, true],
      [false, false],
    ] as const) {
      const { clock, local, spare, pool } = world();
      const threads = pool();
      const place = await clock.runUntilSettled(threads.place(hasForeignCode));
      if (isReleased) place!.release();
      await threads.close();
      expect([spare.count, local.running]).toEqual([0, 0]);
    }
  });
});
