/**
 * Compactors beside each other, compactors that stand still while others work, and repairs: whichever has the epoch commits, and no row
 * is lost. Other processes have manifests of their own, and a collector takes what nobody needs.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { nextInt, SeededRandom } from '../../../src/common/random.ts';
import { treesOf, viewsOfTree } from '../../../src/format/manifest-types.ts';
import { compactionsPath, manifestPath, parseTablePath } from '../../../src/format/object-names.ts';
import { claimEpochs } from '../../../src/lsm/manifest/manifest-edits.ts';
import { readManifest } from '../../../src/lsm/manifest/manifest-store.ts';
import { type CompactorProcess, World } from '../../support/compaction-world.ts';

const MINUTE = 60_000;
let world: World;
beforeEach(async () => {
  world = await World.create();
});

const code = (name: string) => expect.objectContaining({ code: name });
const text = (value: string) => new TextEncoder().encode(value);

async function started(process: CompactorProcess): Promise<CompactorProcess> {
  process.compactor.start();
  await world.settle();
  return process;
}

/** Deletes what a collector of SlateDB would, with boundaries unless it is an old one. */
async function collect(keepsBoundary = true): Promise<void> {
  const { id, manifest } = await world.newest();
  const file = await world.file();
  const pinned = manifest.checkpoints.map(({ manifestId }) => manifestId);
  const live = new Set<string>();
  for (const manifestId of [id, ...pinned]) {
    const loaded = await readManifest(world.memory, manifestId);
    for (const view of treesOf(loaded!.manifest).flatMap(viewsOfTree)) live.add(view.table.id);
  }
  const least = [...file.compactions.jobs, ...file.running].map((job) => job.id).sort()[0];
  for await (const { path } of world.memory.list('compacted/')) {
    const table = parseTablePath(path)!;
    if (!live.has(table) && least !== undefined && table < least) await world.memory.delete([path]);
  }
  const put = (path: string, value: number) =>
    world.memory.put(path, text(String(value)), { condition: 'any', putId: 'x' });
  if (keepsBoundary) await put('gc/manifest.boundary', id - 1);
  if (keepsBoundary) await put('gc/compactions.boundary', file.id - 1);
  for (let n = 1; n < id; n++) if (!pinned.includes(n)) await world.memory.delete([manifestPath(n)]);
  for (let n = 1; n < file.id; n++) await world.memory.delete([compactionsPath(n)]);
}

describe('two compactors', () => {
  it('the one that claims later commits; the other one stops alone, and its result is in no manifest', async () => {
    const first = await started(world.beside());
    first.hold();
    await world.flushes(4);
    await world.settle();
    const second = await started(await world.elsewhere());
    expect(await world.shape()).toBe('l0 0, run 0: 1');
    const { tableId } = (await world.newest()).manifest.runs[0]!.views.map(({ table }) => ({ tableId: table.id }))[0]!;
    first.held![0]!.release();
    await world.writer.refresh();
    await world.settle();
    expect(first.compactor.state()).toMatchObject({
      phase: 'fenced',
      epoch: undefined,
      jobs: [],
      lastError: code('COMPACTOR_FENCED'),
    });
    expect(first.compactor.state().lastError).toMatchObject({ details: { epoch: 1, takenBy: 2 } });
    expect([second.compactor.state().epoch, await world.shape()]).toEqual([2, 'l0 0, run 0: 1']);
    expect((await world.newest()).manifest.runs[0]!.views[0]!.table.id).toBe(tableId);
    // Nothing is compacted on request either, and the writer goes on.
    await expect(first.compactor.compactAll()).rejects.toMatchObject({
      code: 'COMPACTION_FAILED',
      cause: code('COMPACTOR_FENCED'),
    });
    await world.flush('a=1');
    await world.audit();
    await world.auditFiles();
  });

  it('the one that is fenced claims again where the other one committed nothing for 10 min of a full level 0', async () => {
    const first = await started(world.beside());
    await world.flushes(4);
    await world.settle();
    const second = await started(await world.elsewhere());
    await second.compactor.compactAll();
    await world.flushes(4, ['d', 'e']);
    await world.settle();
    expect(first.compactor.state().phase).toBe('idle');
    await second.manifests.refresh();
    await second.compactor.compactAll();
    await world.writer.refresh();
    await world.settle();
    expect(first.compactor.state().phase).toBe('fenced');
    // It has died. Level 0 is full only now.
    await second.compactor.stop();
    await world.flushes(4, ['f', 'g']);
    await world.clock.advance(30 * MINUTE);
    await world.flushes(4, ['h']);
    await world.clock.advance(10 * MINUTE - 1);
    expect([first.compactor.state().phase, await world.shape()]).toEqual(['fenced', expect.stringMatching(/^l0 8/)]);
    await world.clock.advance(1);
    expect([first.compactor.state().phase, await world.shape()]).toEqual(['idle', expect.stringMatching(/^l0 0/)]);
    expect(first.compactor.state()).toMatchObject({ epoch: 3, lastError: undefined });
    await world.audit();
    await world.auditFiles();
  });

  it('does not, where the other one works: looked up once more before the claim', async () => {
    const first = await started(world.beside());
    await world.flushes(4);
    await world.settle();
    // It takes one table at a time, so that level 0 stays full.
    const second = await world.elsewhere({
      settings: {
        scheduler: ({ trees, slots }) => {
          const { l0 } = trees[0]!;
          return {
            proposals: l0.length === 0 || slots === 0 ? [] : [{ tree: '', l0: l0.slice(-1), runs: [], reason: 'one' }],
          };
        },
      },
    });
    second.hold();
    const next = async () => {
      await second.manifests.refresh();
      await world.settle();
      second.held!.shift()!.release();
      await world.settle();
    };
    await world.flushes(3, ['b']);
    await started(second);
    await next();
    await world.writer.refresh();
    await world.settle();
    const isFenced = () => first.compactor.state().phase === 'fenced';
    expect(isFenced()).toBe(true);
    await world.flushes(9, ['c']);
    for (let i = 0; i < 3; i++) {
      // Nothing shows the first one what the second commits, until it asks before it claims.
      await world.clock.advance(10 * MINUTE - 1000);
      await next();
      await world.clock.advance(1000);
      expect([isFenced(), (await world.newest()).manifest.l0.length]).toEqual([true, 10 - i]);
    }
    await world.clock.advance(10 * MINUTE - 1);
    expect(isFenced()).toBe(true);
    await world.clock.advance(1);
    expect(isFenced()).toBe(false);
    await world.audit();
  });

  it('that claim at the same moment end with one of them', async () => {
    await world.flushes(4);
    const [a, b] = [world.beside(), await world.elsewhere()];
    a.io.wait = b.io.wait = () => new Promise((resolve) => void world.clock.setTimer(10, resolve));
    a.compactor.start();
    b.compactor.start();
    await world.clock.advance(MINUTE);
    await world.writer.refresh();
    a.compactor.poke('manifest');
    await world.clock.advance(MINUTE);
    const { manifest } = await world.newest();
    const epochs = [a, b].map(({ compactor }) => compactor.state().epoch);
    expect(epochs).toContain(manifest.compactorEpoch);
    expect(epochs.filter((epoch) => epoch !== undefined).length).toBe(1);
    expect((await world.file()).compactions.compactorEpoch).toBe(manifest.compactorEpoch);
    expect(await world.shape()).toMatch(/^l0 0, run \d: 1$/);
    await world.audit();
    await world.auditFiles();
  });

  it('takes more than both epochs where only the manifest was claimed', async () => {
    const dead = await world.elsewhere();
    await dead.manifests.commit((m) => claimEpochs(m, { compactor: 7 }));
    await world.writer.refresh();
    await world.flushes(4);
    const process = await started(world.beside());
    expect(process.compactor.state().epoch).toBe(8);
    expect((await world.file()).compactions.compactorEpoch).toBe(8);
  });
});

describe('a compactor that stands still', () => {
  /** Holds the first call that begins so, until it is let on. */
  function standStill(process: CompactorProcess, call: string): { go(): void; reached: Promise<void> } {
    let go: () => void = () => undefined;
    let reach: () => void = () => undefined;
    const reached = new Promise<void>((resolve) => {
      reach = resolve;
    });
    process.io.wait = (made, isAnswer) => {
      if (isAnswer || !made.startsWith(call)) return Promise.resolve();
      process.io.wait = undefined;
      reach();
      return new Promise((resolve) => {
        go = resolve;
      });
    };
    return { go: () => go(), reached };
  }

  /** An hour, in which its own clocks may stand still: the wall does not. */
  const anHour = () => world.clock.jumpWallMs(60 * MINUTE);

  it.each([
    ['manifest/', true],
    ['manifest/', false],
    ['compactions/', true],
    ['compactions/', false],
    ['compacted/', true],
  ])('before a PUT of %s commits nothing after it, with a boundary: %s', async (prefix, keepsBoundary) => {
    const paused = await started(await world.elsewhere());
    await world.flushes(4);
    await paused.manifests.refresh();
    await world.settle();
    await world.writer.refresh();
    await world.flushes(4, ['b', 'c']);
    const { go, reached } = standStill(paused, `put ${prefix}`);
    await paused.manifests.refresh();
    await reached;
    // Another one takes over, works, and a collector deletes what it may.
    const other = await started(await world.elsewhere({ seed: 9, owner: 'third:3' }));
    await other.compactor.compactAll();
    await world.writer.refresh();
    anHour();
    await world.flushes(4, ['e']);
    await other.manifests.refresh();
    await world.settle();
    await collect(keepsBoundary);
    const before = await world.newest();
    go();
    await world.settle();
    await world.clock.advance(MINUTE);
    expect(paused.compactor.state()).toMatchObject({ phase: 'fenced' });
    expect((await world.newest()).id).toBe(before.id);
    expect((await world.newest()).manifest.compactorEpoch).toBe(other.compactor.state().epoch);
    await world.audit();
    await world.writer.refresh();
    await world.flush('x=1');
    await world.audit();
  });

  it('after its outputs were seen reads again before it commits', async () => {
    const paused = await started(world.beside());
    await world.flushes(3);
    let outputs: string[] = [];
    paused.io.wait = async (call, isAnswer) => {
      if (!isAnswer || !call.startsWith('head ')) return;
      paused.io.wait = undefined;
      outputs = [call.slice(5)];
      anHour();
      await world.memory.delete(outputs);
    };
    await world.flush('a=2');
    await world.settle();
    expect(outputs.length).toBe(1);
    expect(paused.story).toContain('ended COMPACTION_FAILED');
    await world.audit();
    await world.clock.advance(MINUTE);
    expect(await world.shape()).toMatch(/^l0 0, run 1: 1$/);
    await world.audit();
  });
});

describe('a repair', () => {
  it('pauses the compactor, takes the epoch, and hands it back', async () => {
    const process = await started(world.beside());
    process.hold();
    await world.flushes(4);
    await world.settle();
    const resume = await process.compactor.pause();
    expect(process.compactor.state()).toMatchObject({ phase: 'paused', jobs: [], epoch: undefined });
    await world.writer.commit((m) => claimEpochs(m, { compactor: 2 }));
    // Whatever happens in the meantime, it does nothing.
    const count = process.io.requests.length;
    await world.flushes(4, ['d']);
    await world.clock.advance(MINUTE);
    expect(process.io.requests.length).toBe(count);
    process.held = undefined;
    resume();
    await world.settle();
    expect(process.compactor.state()).toMatchObject({ phase: 'idle', epoch: 3, lastError: undefined });
    expect(process.story).not.toContain('fenced');
    expect(await world.shape()).toMatch(/^l0 [0-3], /);
    await world.audit();
    await world.auditFiles();
  });

  it('may pause it several times at once', async () => {
    const process = await started(world.beside());
    const [one, two] = [await process.compactor.pause(), await process.compactor.pause()];
    await world.flushes(4);
    one();
    one();
    await world.settle();
    expect(await world.shape()).toBe('l0 4');
    two();
    await world.settle();
    expect(await world.shape()).toBe('l0 0, run 0: 1');
  });

  it('that changes the sources of a job ends it', async () => {
    const process = await started(world.beside());
    process.hold();
    await world.flushes(4);
    await world.settle();
    await world.writer.commit((m) => ({ ...m, l0: m.l0.slice(0, 3) }));
    await world.settle();
    expect(process.story).toEqual(['claimed', 'started l0', 'ended COMPACTION_FAILED']);
  });
});

describe('chance', () => {
  /** Two compactors and a writer, whose calls take their time; rounds, collections, deaths and jumps of the clock as they come. */
  async function run(seed: number): Promise<void> {
    world = await World.create(seed % 2 === 0 ? 1 : 2);
    const random = new SeededRandom(seed);
    const slow = (process: CompactorProcess) => {
      process.io.wait = () => new Promise((resolve) => void world.clock.setTimer(nextInt(random, 400), resolve));
      process.compactor.start();
      return process;
    };
    const settings = { compactionsVersion: seed % 2 === 0 ? (1 as const) : (2 as const), takeoverMs: 2 * MINUTE };
    const own = slow(world.beside({ settings, seed: seed + 1 }));
    let other = slow(await world.elsewhere({ settings, seed: seed + 2 }));
    for (let step = 0; step < 40; step++) {
      const action = nextInt(random, 12);
      if (action < 5)
        await world.flush(['a', 'b', 'c', 'd'].map((k) => (nextInt(random, 5) === 0 ? k : `${k}=${step}`)).join(' '));
      else if (action === 5) void other.manifests.refresh().catch(() => undefined);
      else if (action === 6) void own.compactor.compactAll().catch(() => undefined);
      else if (action === 7) {
        // It dies: nothing of it is heard of again.
        other.io.wait = () => new Promise(() => undefined);
        other = slow(await world.elsewhere({ settings, seed: seed + step * 100 }));
      } else if (action === 8) {
        void own.compactor.pause().then((resume) => world.clock.setTimer(nextInt(random, 9000), resume));
      } else if (action === 9) world.clock.jumpWallMs(nextInt(random, 2) * 5000);
      await world.clock.advance(nextInt(random, 3000));
      await world.audit();
      await world.auditFiles();
    }
    await world.clock.runUntilSettled(other.compactor.stop());
    await world.flushes(8, ['e']);
    await world.clock.advance(20 * MINUTE);
    await world.audit();
    await world.auditFiles();
    expect((await world.newest()).manifest.l0.length, 'the one that is left compacts').toBeLessThan(8);
    await world.clock.runUntilSettled(own.compactor.stop());
  }

  it.each(Array.from({ length: 12 }, (_, i) => i + 1))('with seed %s loses no row', async (seed) => {
    await run(seed);
  });
});
