/**
 * Jobs that only move tables, in a compactor beside a writer: checked again on the manifest that they are committed on, and whole whenever the
 * process dies.
 */
import { describe, expect, it } from 'vitest';
import type { Ulid } from '../../../src/common/ulid.ts';
import type { RowFacts } from '../../../src/compaction/scheduling.ts';
import { treesOf, viewsOfTree } from '../../../src/format/manifest-types.ts';
import { type CompactorProcess, World } from '../../support/compaction-world.ts';

const PLAIN: RowFacts = { puts: 1, deletes: 0, merges: 0, rowBytes: 10, expiring: [] };

/** What is known of tables, and what had to be learnt. */
class Facts {
  readonly learnt: Ulid[] = [];
  readonly settings = {
    rowFacts: () => Promise.resolve((table: Ulid) => (this.learnt.includes(table) ? PLAIN : undefined)),
    moves: {
      fullBytes: 4,
      learn: (tables: readonly Ulid[]) => {
        this.learnt.push(...tables);
        return Promise.resolve();
      },
    },
  };
}

/** Tables without a key in common. */
async function load(world: World, keys: string): Promise<void> {
  for (const key of keys) await world.flush(`${key}=${key}1 ${key}x=${key}2`);
}

async function tables(world: World): Promise<Ulid[]> {
  const { manifest } = await world.newest();
  return treesOf(manifest).flatMap((tree) => viewsOfTree(tree).map(({ table }) => table.id));
}

const committed = ({ events }: CompactorProcess) =>
  events.flatMap((event) => (event.type === 'committed' ? [event.outcome.tablesMoved] : []));

describe('a move', () => {
  it('is committed in the round in which it was chosen, and asks only for tables that nothing is known of', async () => {
    const world = await World.create();
    const facts = new Facts();
    const process = world.beside({ settings: facts.settings });
    await load(world, 'dbca');
    const before = await tables(world);
    process.compactor.start();
    await world.settle();
    expect(await world.shape()).toBe('l0 0, run 0: 4');
    expect([committed(process), process.plans]).toEqual([[4], []]);
    expect([...facts.learnt].sort()).toEqual([...before].sort());
    expect(process.story).toEqual(['claimed', 'started l0', 'committed 0>0']);
    // In the order of the keys, whatever the order of the flushes was: newest first it is a c b d.
    const [a, c, b, d] = before;
    expect(await tables(world)).toEqual([a, b, c, d]);
    await world.audit();
    await world.auditFiles();
  });

  it('becomes a merge if a table turns out to have something to gain', async () => {
    const world = await World.create();
    const facts = new Facts();
    const rowFacts = () => Promise.resolve(() => ({ ...PLAIN, deletes: 1 }));
    const process = world.beside({ settings: { ...facts.settings, rowFacts } });
    await load(world, 'abcd');
    process.compactor.start();
    await world.settle();
    expect([committed(process), process.plans.length, facts.learnt]).toEqual([[0], 1, []]);
    await world.audit();
  });

  it('is applied again on the manifest of a flush that came first', async () => {
    const world = await World.create();
    const process = world.beside({ settings: new Facts().settings });
    await load(world, 'abcd');
    let isFirst = true;
    // The commit finds its id taken by another version, in which level 0 has one table more.
    world.writerStore.fault = (call) => {
      if (!isFirst || !call.startsWith('put manifest/') || process.events.length < 2) return undefined;
      isFirst = false;
      void world.flush('e=1');
      return undefined;
    };
    process.compactor.start();
    await world.settle();
    expect([isFirst, await world.shape()]).toEqual([false, 'l0 1, run 0: 4']);
    await world.audit();
  });

  it('ends, with nothing lost, if another compactor has taken its tables', async () => {
    const world = await World.create();
    const facts = new Facts();
    const process = world.beside({ settings: facts.settings });
    await load(world, 'abcd');
    const { learn } = facts.settings.moves;
    facts.settings.moves.learn = async (ids) => {
      await learn(ids);
      const other = await world.elsewhere();
      other.compactor.start();
      for (let i = 0; i < 30 && !other.events.some(({ type }) => type === 'committed'); i++) await world.settle();
      await other.compactor.stop();
    };
    process.compactor.start();
    for (let i = 0; i < 20; i++) await world.settle();
    await world.clock.advance(120_000);
    expect(committed(process)).toEqual([]);
    expect(process.compactor.state().phase).toBe('fenced');
    expect(await world.shape()).toBe('l0 0, run 0: 1');
    await world.audit();
    await world.auditFiles();
  });
});

describe.each([1, 2] as const)('a process that dies while it moves tables, with version %s', (version) => {
  async function live(death?: { diesAt: number; takesEffect: boolean }): Promise<World> {
    const world = await World.create(version);
    Object.assign(world.fate, death);
    const settings = { ...new Facts().settings, compactionsVersion: version };
    const { compactor } = world.beside({ fate: world.fate, settings });
    await load(world, 'abcd');
    compactor.start();
    await world.settle();
    for (const keys of ['efgh', 'ijkl', 'mnop']) {
      if (world.fate.isDead) break;
      await load(world, keys);
      await world.settle();
    }
    return world;
  }

  it.each([false, true])('at each call, which takes effect: %s', async (takesEffect) => {
    const count = (await live()).fate.calls;
    expect(count).toBeGreaterThan(8);
    for (let diesAt = 1; diesAt <= count; diesAt++) {
      const at = `call ${diesAt} of ${count}`;
      const world = await live({ diesAt, takesEffect });
      expect(world.fate.isDead, at).toBe(true);
      const before = (await tables(world)).sort();
      await world.audit();
      await world.auditFiles();
      await world.reopen();
      const next = world.beside({ seed: diesAt, settings: { ...new Facts().settings, compactionsVersion: version } });
      next.compactor.start();
      await world.settle();
      await load(world, 'qrst');
      await world.clock.advance(60_000);
      expect(next.compactor.state(), at).toMatchObject({ phase: 'idle', lastError: undefined, jobs: [] });
      // No table was written by a compactor, and none is gone.
      expect((await tables(world)).sort(), at).toEqual(expect.arrayContaining(before));
      expect(next.plans, at).toEqual([]);
      await world.audit();
      await world.auditFiles();
    }
  });
});
