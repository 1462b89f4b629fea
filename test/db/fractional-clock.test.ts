/** A clock whose wall time is no whole number, as `performance.timeOrigin + performance.now()` is: what is written can be read again. */
import { describe, expect, it } from 'vitest';
import { verify, walRepair } from '../../src/admin.ts';
import { type Clock, SYSTEM_CLOCK } from '../../src/common/clock.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { SeededRandom } from '../../src/common/random.ts';
import { makeUlid } from '../../src/common/ulid.ts';
import { IDENTITY_PATH, REPAIRS_PREFIX, walPath } from '../../src/format/object-names.ts';
import { decodeIdentity, decodeSidecar } from '../../src/format/sidecar.ts';
import { open } from '../../src/open.ts';
import { PLAN_KIND } from '../../src/recovery/repair-plans.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import { rejection } from '../support/database.ts';

/** Times of a caller's own, one for each question. */
function clockOf(nowMs: () => number): Clock {
  return {
    nowMs,
    monotonicMs: () => SYSTEM_CLOCK.monotonicMs(),
    setTimer: (delayMs, fn, ref) => SYSTEM_CLOCK.setTimer(delayMs, fn, ref),
    yieldToLoop: () => SYSTEM_CLOCK.yieldToLoop(),
  };
}

describe('with a clock that gives fractions of a millisecond', () => {
  const NOW_MS = 1_795_168_418_640.75;
  const clock = clockOf(() => NOW_MS);
  const options = { clock, logger: SILENT_LOGGER };

  it('a database is opened again, with the times that were in its rows', async () => {
    const store = new MemoryStore({ clock });
    const first = await open({ store, path: '' }, options);
    await first.put('a', '1', { ttlMs: 5000 });
    await first.close();
    expect(decodeIdentity((await store.get(IDENTITY_PATH))!.bytes).createdAtMs).toBe(1_795_168_418_640);
    const db = await open({ store, path: '' }, options);
    const row = await db.getWithMeta('a');
    expect([row?.createTs, row?.expireTs]).toEqual([1_795_168_418_640, 1_795_168_423_640]);
    await db.close();
    expect((await verify({ store, path: '' }, options)).findings).toEqual([]);
  });

  it('a repair reads back what it wrote about itself', async () => {
    const store = new MemoryStore({ clock });
    const db = await open({ store, path: '' }, options);
    await db.put('a', '1');
    const object = (await store.get(walPath(2)))!.bytes.slice();
    object.fill(0, 0, 40);
    await store.put(walPath(2), object, { condition: 'any', putId: makeUlid(NOW_MS, new SeededRandom(1)) });
    const how = { ...options, liveCheckMs: 0, ifLiveWriter: 'fence', apply: true, acceptLoss: true } as const;
    expect(await walRepair({ store, path: '' }, how)).toMatchObject({ applied: true });
    const plans: unknown[] = [];
    for await (const { path } of store.list(REPAIRS_PREFIX)) {
      if (path.includes('/plan-')) plans.push(decodeSidecar((await store.get(path))!.bytes, PLAN_KIND).value);
    }
    expect(plans).toEqual([expect.objectContaining({ atMs: 1_795_168_418_640 })]);
    await db.close().catch(() => undefined);
  });
});

describe('a clock that gives no time', () => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY, undefined, 5n, new Date(0)])('(%s) fails the call', async (now) => {
    const clock = clockOf(() => now as number);
    const store = new MemoryStore();
    const error = await rejection(open({ store, path: '' }, { clock, logger: SILENT_LOGGER }));
    expect(error).toMatchObject({ code: 'BAD_OPTION' });
    expect(error.message).toContain(`not ${String(now)}`);
  });
});
