/** How old the confirmation of an epoch is, by clocks that stand still, are set back, or belong to the store. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../src/common/manual-clock.ts';
import { dateByList, EpochGuard, FENCE_VALIDITY_MS, timedStore } from '../../../../src/lsm/manifest/epoch-guard.ts';
import { listManifestIds } from '../../../../src/lsm/manifest/manifest-store.ts';
import { MemoryStore } from '../../../../src/store/memory-store.ts';

const PUT = { condition: 'if-absent', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' } as const;
const MANIFEST = 'manifest/00000000000000000001.manifest';

/** A writer on a machine whose clocks both stand still, and a store whose clock goes on. */
async function sleepingWriter() {
  const machine = new ManualClock();
  const outside = new ManualClock();
  const memory = new MemoryStore({ clock: outside });
  await memory.put(MANIFEST, new Uint8Array(1), PUT);
  const { store, latestStoreTimeMs } = timedStore(memory);
  return { store, outside, guard: new EpochGuard(machine, () => [latestStoreTimeMs()]) };
}

describe('the age of a confirmation', () => {
  it('is shown by the time in the answer of a list, although both clocks of the machine stand still', async () => {
    const { store, outside, guard } = await sleepingWriter();
    const stamp = guard.stamp();
    await listManifestIds(store, undefined, stamp);
    guard.confirmListed(stamp);
    await outside.advance(FENCE_VALIDITY_MS);
    await store.head(MANIFEST);
    expect(guard.ageMs(stamp)).toBe(FENCE_VALIDITY_MS);
    expect([guard.isValid(), guard.isListRecent()]).toEqual([true, true]);
    await outside.advance(1);
    await store.head(MANIFEST);
    expect([guard.isValid(), guard.isListRecent()]).toEqual([false, false]);
  });

  it('is too great where nothing dates it and the time of the store is known by now', async () => {
    const { store, guard } = await sleepingWriter();
    const stamp = guard.stamp();
    expect(guard.isValid()).toBe(true);
    await store.head(MANIFEST);
    expect(guard.ageMs(stamp)).toBe(Number.POSITIVE_INFINITY);
    expect(guard.isValid()).toBe(false);
  });

  it('goes by the clocks of the machine where the store gives no time', async () => {
    const { guard } = await sleepingWriter();
    const stamp = guard.stamp();
    dateByList(stamp, { path: MANIFEST, size: 1, etag: '', lastModifiedMs: 1 });
    dateByList(stamp, { path: MANIFEST, size: 1, etag: '', lastModifiedMs: 1, storeTimeMs: 0 });
    expect(stamp.storesMs).toEqual([undefined]);
    expect(guard.ageMs(stamp)).toBe(0);
    expect(guard.isValid()).toBe(true);
  });

  it('is shown by each store alone: a clock of the log’s store that is slow hides nothing', async () => {
    const times = [1_000_000, 400_000];
    const guard = new EpochGuard(new ManualClock(), () => [...times]);
    const stamp = guard.stamp();
    times[1] += FENCE_VALIDITY_MS + 1;
    expect(guard.ageMs(stamp)).toBe(FENCE_VALIDITY_MS + 1);
    dateByList(stamp, { path: MANIFEST, size: 1, etag: '', lastModifiedMs: 1, storeTimeMs: 1_000_001 });
    expect(guard.ageMs(stamp)).toBe(FENCE_VALIDITY_MS + 1);
  });

  it('of a list begins at its first answer, however long the rest takes', async () => {
    const { store, outside, guard } = await sleepingWriter();
    const stamp = guard.stamp();
    const steps = store.list('manifest/')[Symbol.asyncIterator]();
    dateByList(stamp, (await steps.next()).value);
    await outside.advance(1000);
    await store.head(MANIFEST);
    expect(guard.ageMs(stamp)).toBe(1000);
  });
});
