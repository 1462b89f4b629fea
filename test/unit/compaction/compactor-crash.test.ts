/**
 * The process dies at each call of the store, before the call takes effect or after it: what is stored then is whole, and the next
 * process goes on from it.
 */
import { describe, expect, it } from 'vitest';
import { World } from '../../support/compaction-world.ts';

const VERSIONS = [1, 2] as const;

interface Death {
  diesAt: number;
  takesEffect: boolean;
}

/** Jobs of level 0, of runs, and of everything, in a process that dies; resolves when nothing happens any more. */
async function live(version: 1 | 2, death?: Death): Promise<World> {
  const world = await World.create(version);
  Object.assign(world.fate, death);
  const { compactor } = world.beside({ fate: world.fate, settings: { compactionsVersion: version } });
  const step = async (work: () => Promise<unknown>) => {
    if (world.fate.isDead) return;
    void work();
    await world.settle();
  };
  await world.flushes(4);
  await step(async () => compactor.start());
  await step(() => world.flushes(4, ['d', 'e']));
  await step(() => world.flush('a b=1 z'));
  await step(() => compactor.compactAll());
  return world;
}

/** The calls after the writer has flushed for the first time. */
const calls = async (version: 1 | 2) => (await live(version)).fate.calls;

describe.each(VERSIONS)('a process that dies, with version %s', (version) => {
  it.each([false, true])('at each call, which takes effect: %s', async (takesEffect) => {
    const count = await calls(version);
    expect(count).toBeGreaterThanOrEqual(30);
    for (let diesAt = 1; diesAt <= count; diesAt++) {
      const world = await live(version, { diesAt, takesEffect });
      const at = `call ${diesAt} of ${count}`;
      expect(world.fate.isDead, at).toBe(true);
      await world.audit();
      await world.auditFiles();
      await world.reopen();
      const next = world.beside({ seed: diesAt, settings: { compactionsVersion: version } });
      next.compactor.start();
      await world.settle();
      await world.flushes(4, ['f', 'g']);
      await world.settle();
      // A worker that the dead process left in version 2 is waited for.
      await world.clock.advance(60_000);
      expect(next.compactor.state(), at).toMatchObject({ phase: 'idle', lastError: undefined, jobs: [] });
      expect((await world.newest()).manifest.l0.length, at).toBeLessThan(4);
      const { compactions, running } = await world.file();
      expect([running, compactions.jobs.map(({ status }) => status)], at).toEqual([
        [],
        [expect.stringMatching(/completed|failed/)],
      ]);
      await world.audit();
      await world.auditFiles();
    }
  });
});
