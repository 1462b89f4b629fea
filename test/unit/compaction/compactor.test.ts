/** The role of the compactor on a database in memory: when it claims, what it writes and costs, what fails, and what it does then. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CorruptionError, IncompatibleError, UnavailableError } from '../../../src/common/errors.ts';
import { makeFinding, WHOLE_OBJECT } from '../../../src/common/finding.ts';
import type { Scheduler, TreeFacts } from '../../../src/compaction/scheduling.ts';
import { encodeCompactions } from '../../../src/format/compactions-codec.ts';
import { compactionsPath, tablePath } from '../../../src/format/object-names.ts';
import { Author } from '../../../src/lsm/manifest/author.ts';
import { claimEpochs } from '../../../src/lsm/manifest/manifest-edits.ts';
import { type CompactorProcess, SCHEDULER_OPTIONS, World } from '../../support/compaction-world.ts';

let world: World;
beforeEach(async () => {
  world = await World.create();
});

const kinds = (paths: readonly string[]) => paths.map((path) => path.slice(0, path.indexOf('/'))).join(' ');
const code = (name: string) => expect.objectContaining({ code: name });
/** What the compactor has put, and the writer's log for it. */
function creations(process: CompactorProcess): { now(): string } {
  const [from, manifestsFrom] = [process.io.puts.length, world.writerStore.puts.length];
  return { now: () => kinds([...process.io.puts.slice(from), ...world.writerStore.puts.slice(manifestsFrom)]) };
}

async function started(options: Parameters<World['beside']>[0] = {}): Promise<CompactorProcess> {
  const process = world.beside(options);
  process.compactor.start();
  await world.settle();
  return process;
}

describe('a compactor', () => {
  it('asks and writes nothing before there is a job', async () => {
    const { compactor, io } = await started();
    await world.flushes(3);
    await world.settle();
    expect([io.requests, compactor.state().phase, compactor.state().epoch]).toEqual([[], 'idle', undefined]);
    expect(await world.shape()).toBe('l0 3');
  });

  it('claims both places before its first job', async () => {
    const process = await started();
    await world.flushes(4);
    await world.settle();
    expect(process.events[0]).toEqual({ type: 'claimed', epoch: 1 });
    expect([(await world.newest()).manifest.compactorEpoch, (await world.file()).compactions.compactorEpoch]).toEqual([
      1, 1,
    ]);
    expect(process.story).toEqual(['claimed', 'started l0', 'committed 12>3']);
    expect(await world.shape()).toBe('l0 0, run 0: 1');
    await world.audit();
    await world.auditFiles();
  });

  it.each([
    [1, 'three objects', 'compactions compacted compactions manifest manifest'],
    // One more, which says that the tables are stored before a manifest names them.
    [2, 'four objects', 'compactions compacted compactions compactions manifest manifest'],
  ] as const)('creates in version %s %s for a job beside its tables', async (compactionsVersion, _, objects) => {
    const process = await started({ settings: { compactionsVersion } });
    await world.flushes(4);
    await world.settle();
    await world.flushes(3, ['d', 'e']);
    const created = creations(process);
    await world.flush('d=last');
    await world.settle();
    // The last two are the table of the flush and its manifest.
    expect(created.now()).toBe(objects);
    expect(await world.shape()).toBe('l0 0, run 1: 1, run 0: 1');
    await world.audit();
    await world.auditFiles();
  });

  it('commits all jobs that are done by then with one manifest, and notes their ends with what begins', async () => {
    const process = await started();
    await world.flushes(4);
    await world.settle();
    process.hold();
    const order: Scheduler = ({ trees, active, slots }) => {
      const { l0, runs } = trees[0]!;
      const proposals = [];
      if (l0.length >= 4) proposals.push({ tree: '', l0: l0.slice(-4), runs: [], reason: 'l0' });
      if (!active.some((job) => job.runs.length > 0) && runs.length === 1)
        proposals.push({ tree: '', l0: [], runs: [runs[0]!.id], reason: 'rewrite' });
      return { proposals: proposals.slice(0, slots) };
    };
    const other = world.beside({ settings: { scheduler: order }, seed: 9 });
    await process.compactor.stop();
    await world.flushes(4, ['d', 'e']);
    other.hold();
    const created = creations(other);
    other.compactor.start();
    await world.settle();
    expect(other.held?.map(({ plan }) => plan.destination)).toEqual([1, 0]);
    const [l0, run] = other.held!;
    other.io.fault = (call) =>
      call.startsWith('head') ? new UnavailableError('STORE_DOWN', 'for a moment') : undefined;
    run!.release();
    await world.settle();
    l0!.release();
    await world.settle();
    other.io.fault = undefined;
    await world.clock.advance(1000);
    expect(created.now()).toBe(
      'compactions compactions compacted compactions compacted compactions compactions manifest manifest',
    );
    expect(await world.shape()).toBe('l0 0, run 1: 1, run 0: 1');
    expect((await world.file()).compactions.jobs.length).toBe(1);
    await world.audit();
  });

  it('commits no job that is done while another one is being noted, before it is noted itself', async () => {
    const process = await started();
    for (let i = 0; i < 2; i++) {
      await world.flushes(4);
      await world.settle();
    }
    await process.compactor.stop();
    const both: Scheduler = ({ trees, slots }) => {
      const { l0, runs } = trees[0]!;
      const ids = runs.map(({ id }) => id);
      const proposals = [{ tree: '', l0: l0.slice(-4), runs: [], reason: 'l0' }];
      if (ids.join() === '1,0') proposals.push({ tree: '', l0: [], runs: ids as never[], reason: 'all' });
      return { proposals: l0.length < 4 ? [] : proposals.slice(0, slots) };
    };
    const other = world.beside({ settings: { scheduler: both }, seed: 9 });
    await world.flushes(4, ['d', 'e']);
    other.hold();
    other.compactor.start();
    await world.settle();
    expect(other.held?.map(({ plan }) => plan.destination)).toEqual([2, 0]);
    const [first, second] = other.held!;
    const seen: number[] = [];
    other.io.wait = async (call, isAnswer) => {
      if (call.startsWith('put compactions/') && !isAnswer && seen.length === 0) {
        seen.push(0);
        second!.release();
        // Its result is there before the note of the first one is stored.
        for (let i = 0; i < 100; i++) await Promise.resolve();
      }
    };
    world.writerStore.wait = async (call, isAnswer) => {
      if (!call.startsWith('put manifest/') || !isAnswer) return;
      seen.push((await world.newest()).manifest.runs.length);
      await world.auditFiles();
    };
    first!.release();
    await world.settle();
    await world.clock.advance(1000);
    expect(seen).toEqual([0, 3, 2]);
    await world.audit();
  });

  it('goes on with flushes while a job runs: only its sources go (C4)', async () => {
    const process = await started();
    process.hold();
    await world.flushes(4);
    await world.settle();
    await world.flush('a=new b');
    await world.flush('z=1');
    process.held![0]!.release();
    await world.settle();
    expect(await world.shape()).toBe('l0 2, run 0: 1');
    await world.audit();
    const { manifest } = await world.newest();
    expect(manifest.lastCompacted).toBe(process.plans[0]!.sources[0]!.views[0]!.view.viewId);
  });

  it('has one job of level 0 in a tree at a time', async () => {
    const process = await started();
    process.hold();
    await world.flushes(4);
    await world.settle();
    await world.flushes(6, ['d']);
    await world.settle();
    expect(process.held!.length).toBe(1);
    process.held![0]!.release();
    await world.settle();
    expect(process.held!.map(({ plan }) => plan.sources.length)).toEqual([4, 6]);
    process.held![1]!.release();
    await world.settle();
    expect(await world.shape()).toBe('l0 0, run 1: 1, run 0: 1');
    await world.audit();
  });

  it('keeps the predecessor by a checkpoint for 15 minutes of the store, and drops it with a later commit', async () => {
    let storeMs = 5_000_000;
    await started({ settings: { latestStoreTimeMs: () => storeMs } });
    await world.flushes(4);
    await world.settle();
    const { manifest } = await world.newest();
    expect(manifest.checkpoints).toMatchObject([
      { manifestId: 6, createTimeS: 5000, expireTimeS: 5900, name: undefined },
    ]);
    storeMs += 961_000;
    await world.flushes(4);
    await world.settle();
    const { checkpoints } = (await world.newest()).manifest;
    expect(checkpoints).toMatchObject([{ createTimeS: 5961 }]);
    expect(checkpoints[0]!.id).not.toBe(manifest.checkpoints[0]!.id);
  });

  it('makes no run of an output without rows, and the marker stays', async () => {
    await started();
    for (const key of ['a', 'b', 'c', 'd']) await world.flush(key);
    await world.settle();
    expect(await world.shape()).toBe('l0 0');
    expect((await world.newest()).manifest.lastCompacted).toBeDefined();
    expect((await world.file()).compactions.jobs).toMatchObject([{ status: 'completed', outputs: [] }]);
    await world.audit();
  });

  it('gives a new run a greater id than any that is in use or was lately', async () => {
    const process = await started();
    await world.flushes(4);
    await world.settle();
    process.hold();
    await world.flushes(4, ['b']);
    await world.settle();
    await world.writer.commit((m) => ({ ...m, runs: [...m.runs.map((run) => ({ ...run, id: 40 }))] }));
    process.held![0]!.release();
    await world.settle();
    await world.clock.advance(1000);
    expect(process.plans.map(({ destination }) => destination)).toEqual([0, 1, 41]);
    expect(process.story.slice(-2)).toEqual(['ended COMPACTION_FAILED', 'started l0']);
  });

  it('takes level 0 of a tree with ambiguous view ids by ids of their own', async () => {
    await world.flushes(3);
    await world.writer.commit((m) => {
      const [newest, ...others] = m.l0;
      const range = (start: string | undefined, end: string | undefined) => ({
        start:
          start === undefined
            ? ({ kind: 'unbounded' } as const)
            : ({ kind: 'included', key: new TextEncoder().encode(start) } as const),
        end:
          end === undefined
            ? ({ kind: 'unbounded' } as const)
            : ({ kind: 'excluded', key: new TextEncoder().encode(end) } as const),
      });
      return {
        ...m,
        l0: [
          { ...newest!, visibleRange: range('b', undefined) },
          { ...newest!, visibleRange: range(undefined, 'b') },
          ...others,
        ],
      };
    });
    const { plans } = await started({
      settings: {
        scheduler: ({ trees, slots }) => {
          const ids = trees[0]!.l0.map((v) => v.viewId);
          // What is not to be done before the claim is done by one.
          if (new Set(ids).size < ids.length)
            return { proposals: [{ tree: '', l0: trees[0]!.l0.slice(-1), runs: [], reason: 'one' }] };
          return { proposals: slots === 0 ? [] : [{ tree: '', l0: trees[0]!.l0, runs: [], reason: 'all' }] };
        },
      },
    });
    await world.settle();
    expect(plans[0]!.sources.length).toBe(4);
    await world.audit();
  });

  it('works in version 1 of manifests and files alike', async () => {
    world = await World.create(1);
    const process = await started({ settings: { compactionsVersion: 1 } });
    process.hold();
    await world.flushes(4);
    await world.settle();
    const { compactions, running } = await world.file();
    expect([compactions.headerVersion, compactions.jobs, running.length]).toEqual([1, [], 1]);
    process.held![0]!.release();
    await world.settle();
    expect((await world.file()).compactions.jobs).toMatchObject([{ status: 'completed', worker: undefined }]);
    process.held = undefined;
    for (let i = 0; i < 4; i++) await world.flushes(4, [`k${i}`]);
    await world.settle();
    expect((await world.newest()).manifest.headerVersion).toBe(1);
    await world.audit();
    await world.auditFiles();
  });
});

describe('what fails', () => {
  it('is tried again also where timers come a little before their time', async () => {
    const { clock } = world;
    const early = {
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs(),
      yieldToLoop: () => clock.yieldToLoop(),
      setTimer: (ms: number, fn: () => void) => clock.setTimer(Math.max(0, Math.floor(ms) - 0.5), fn),
    };
    const author = new Author({
      clock: early,
      random: world.random,
      owner: 'early:1',
      databaseId: new Uint8Array(16).fill(3),
      role: 'compactor',
    });
    let isDown = true;
    const prepareCommit = () =>
      isDown ? Promise.reject(new UnavailableError('STORE_DOWN', 'nothing answers')) : Promise.resolve();
    const process = await started({ settings: { author, prepareCommit } });
    await world.flushes(4);
    await world.settle();
    expect(process.compactor.state()).toMatchObject({ phase: 'retrying', failures: 1 });
    await clock.advance(1100);
    expect(process.compactor.state().failures).toBe(2);
    isDown = false;
    await clock.advance(2100);
    expect(process.compactor.state()).toMatchObject({ phase: 'idle', failures: 0 });
    expect(process.events.map(({ type }) => type)).toContain('committed');
  });

  it('a job makes others wait from 1 s to 5 min, until one succeeds', async () => {
    const process = await started();
    process.hold();
    await world.flushes(4);
    await world.settle();
    const waits: number[] = [];
    for (let i = 0; i < 11; i++) {
      process.held!.at(-1)!.fail(new UnavailableError('STORE_DOWN', 'nothing answers'));
      await world.settle();
      waits.push(process.compactor.state().retryInMs! / 1000);
      expect(process.compactor.state()).toMatchObject({
        phase: 'retrying',
        lastError: code('STORE_DOWN'),
        failures: i + 1,
      });
      await world.clock.advance(waits.at(-1)! * 1000 - 1);
      expect(process.held!.length).toBe(i + 1);
      await world.clock.advance(1);
      expect(process.held!.length).toBe(i + 2);
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    expect((await world.file()).compactions.jobs.map(({ status }) => status).sort()).toEqual(['failed', 'running']);
    process.held!.at(-1)!.release();
    await world.settle();
    expect(process.compactor.state()).toMatchObject({
      phase: 'idle',
      lastError: undefined,
      failures: 0,
      retryInMs: undefined,
    });
    await world.audit();
    await world.auditFiles();
  });

  it('of code that is not ours is an error that can be asked for', async () => {
    const process = await started();
    process.hold();
    await world.flushes(4);
    await world.settle();
    process.held![0]!.fail(new RangeError('the operator has a bug'));
    await world.settle();
    expect(process.compactor.state().lastError).toMatchObject({
      code: 'COMPACTION_FAILED',
      cause: expect.any(RangeError),
    });
  });

  it('a damaged table is left out for 5 min, and is named', async () => {
    const finding = (id: string) =>
      makeFinding({
        code: 'BAD_CHECKSUM',
        object: { role: 'table', path: tablePath(id as never), id, sealed: true },
        at: WHOLE_OBJECT,
        during: 'compaction',
      });
    const process = await started();
    process.hold();
    await world.flushes(4);
    await world.settle();
    const damaged = process.plans[0]!.sources[3]!.views[0]!.view.table.id;
    process.held![0]!.fail(new CorruptionError('a block is damaged', [finding(damaged)]));
    await world.settle();
    expect(process.compactor.state()).toMatchObject({
      phase: 'idle',
      retryInMs: undefined,
      lastError: code('BAD_CHECKSUM'),
      damagedTables: [{ table: damaged, error: code('BAD_CHECKSUM') }],
    });
    // It is the oldest of level 0: nothing of this level can be merged.
    await world.flushes(3);
    await world.settle();
    expect([process.held!.length, await world.shape()]).toEqual([1, 'l0 7']);
    await world.clock.advance(300_000);
    expect(process.held!.length).toBe(2);
    process.held![1]!.release();
    await world.settle();
    expect(process.compactor.state()).toMatchObject({ damagedTables: [], lastError: undefined });
    await world.audit();
  });

  it('a damaged run is planned around', async () => {
    const process = await started();
    await world.flushes(4, ['a']);
    await world.settle();
    await world.flushes(4, ['b']);
    await world.settle();
    process.hold();
    const { manifest } = await world.newest();
    const damaged = manifest.runs[1]!.views[0]!.table.id;
    const request = process.compactor.compactAll();
    await world.settle();
    const object = { role: 'table', path: '', id: damaged, sealed: true } as const;
    process.held![0]!.fail(
      new CorruptionError('gone', [makeFinding({ code: 'MISSING_OBJECT', object, at: WHOLE_OBJECT })]),
    );
    await expect(request).rejects.toMatchObject({ code: 'COMPACTION_FAILED', cause: code('MISSING_OBJECT') });
    await world.flushes(4, ['c']);
    await world.settle();
    expect(process.held!.at(-1)!.plan.sources.map(({ level }) => level)).toEqual(['l0', 'l0', 'l0', 'l0']);
    process.held!.at(-1)!.release();
    await world.settle();
    expect(await world.shape()).toBe('l0 0, run 2: 1, run 1: 1, run 0: 1');
    await world.audit();
    // A whole tree cannot be compacted now, and the error says because of what.
    await expect(process.compactor.compactAll()).rejects.toMatchObject({
      code: 'COMPACTION_FAILED',
      cause: code('MISSING_OBJECT'),
    });
  });

  it('what only a newer program can read is left out as well, whichever table it was', async () => {
    const process = await started();
    process.hold();
    await world.flushes(4);
    await world.settle();
    process.held![0]!.fail(new IncompatibleError('FORMAT_TOO_NEW', 'an index has unknown fields'));
    await world.settle();
    const { damagedTables, retryInMs } = process.compactor.state();
    expect([damagedTables.length, retryInMs]).toEqual([4, undefined]);
  });

  it('the store makes everything wait, and nothing is lost or done twice', async () => {
    const process = await started();
    await world.flushes(3);
    const outage = new UnavailableError('STORE_FULL', 'the disk is full');
    process.io.fault = (call) => (call.startsWith('put compactions/') ? outage : undefined);
    await world.flush('a=9');
    await world.settle();
    expect(process.story).toEqual(['trouble']);
    expect(process.compactor.state()).toMatchObject({
      phase: 'retrying',
      lastError: code('STORE_FULL'),
      retryInMs: 1000,
    });
    await world.clock.advance(10_000);
    process.io.fault = undefined;
    await world.clock.advance(60_000);
    expect(await world.shape()).toBe('l0 0, run 0: 1');
    expect(process.compactor.state()).toMatchObject({ phase: 'idle', lastError: undefined, failures: 0 });
    await world.audit();
    await world.auditFiles();
  });

  it('a commit without an answer is settled first, and counts if it was applied', async () => {
    const process = await started();
    process.hold();
    await world.flushes(4);
    await world.settle();
    const lost = new Error('the connection is gone');
    const put = world.writerStore.store.put;
    let losses = 2;
    world.writerStore.store.put = async (path, bytes, options) => {
      if (losses === 0) return put(path, bytes, options);
      losses--;
      if (losses === 1) await put(path, bytes, options);
      return { outcome: 'unknown', cause: lost };
    };
    process.held![0]!.release();
    await world.settle();
    expect(process.story.at(-1)).toBe('trouble');
    await world.clock.advance(10_000);
    expect(process.story.slice(-2)).toEqual(['trouble', 'committed 12>3']);
    expect(await world.shape()).toBe('l0 0, run 0: 1');
    expect((await world.newest()).manifest.checkpoints.length).toBe(1);
    await world.audit();
  });

  it.each([
    ['gets its lifetime from then on', 3000, 8900],
    ['stays as it is after a minute', 60, 5900],
  ])('the checkpoint of a commit that is stored only after an outage %s', async (_, outageS, expireTimeS) => {
    let storeMs = 5_000_000;
    const process = await started({ settings: { latestStoreTimeMs: () => storeMs } });
    process.hold();
    await world.flushes(4);
    await world.settle();
    const manifestId = (await world.newest()).id;
    const put = world.writerStore.store.put;
    const lost = { outcome: 'unknown' as const, cause: new Error('nothing answers') };
    world.writerStore.store.put = () => Promise.resolve(lost);
    process.held![0]!.release();
    await world.settle();
    expect(process.story.at(-1)).toBe('trouble');
    storeMs += outageS * 1000;
    world.writerStore.store.put = put;
    await world.clock.advance(10_000);
    expect(process.story.at(-1)).toBe('committed 12>3');
    expect((await world.newest()).manifest.checkpoints).toMatchObject([{ manifestId, createTimeS: 5000, expireTimeS }]);
    await world.audit();
  });

  it('an output that a collector has taken ends its job', async () => {
    const process = await started();
    await world.flushes(3);
    const { store } = process.io;
    const head = store.head;
    store.head = async (path, options) => {
      await world.memory.delete([path]);
      store.head = head;
      return head(path, options);
    };
    await world.flush('a=9');
    await world.settle();
    expect(process.story).toContain('ended COMPACTION_FAILED');
    expect(await world.shape()).toBe('l0 4');
    await world.clock.advance(1000);
    expect(await world.shape()).toBe('l0 0, run 1: 1');
    await world.audit();
  });

  it('a compactions file of a newer program, before anything is claimed', async () => {
    await world.memory.put(compactionsPath(1), Uint8Array.of(0, 9, 0, 0), { condition: 'any', putId: 'x' });
    const process = await started();
    await world.flushes(4);
    await world.settle();
    expect(process.compactor.state()).toMatchObject({ phase: 'retrying', lastError: code('FORMAT_TOO_NEW') });
    expect((await world.newest()).manifest.compactorEpoch).toBe(0);
  });

  it('a damaged compactions file is replaced', async () => {
    await world.memory.put(compactionsPath(1), new Uint8Array(30), { condition: 'any', putId: 'x' });
    await started();
    await world.flushes(4);
    await world.settle();
    expect([(await world.file()).id, await world.shape()]).toEqual([5, 'l0 0, run 0: 1']);
  });

  it('a writer that is fenced ends it for good', async () => {
    const process = await started();
    await world.flushes(4);
    await world.settle();
    process.hold();
    await world.flushes(4);
    await world.settle();
    const tool = await world.elsewhere();
    await tool.manifests.commit((m) => claimEpochs(m, { writer: 2 }));
    process.held![0]!.release();
    await world.settle();
    expect(process.compactor.state()).toMatchObject({ phase: 'failed', lastError: code('WRITER_FENCED') });
    await expect(process.compactor.compactAll()).rejects.toMatchObject({ code: 'WRITER_FENCED' });
  });
});

describe('a scheduler', () => {
  const bad: Scheduler = ({ trees }) => ({
    proposals: trees[0]!.l0.length < 2 ? [] : [{ tree: '', l0: trees[0]!.l0.slice(0, 1), runs: [], reason: 'newest' }],
  });

  it('whose proposals are invalid three times in a row is replaced by the default one', async () => {
    const process = await started({ settings: { scheduler: bad } });
    for (const rounds of [0, 0, 1, 2]) {
      expect(process.events.filter(({ type }) => type === 'invalid').length).toBe(rounds);
      expect(process.compactor.state().scheduler).toBe('given');
      await world.flushes(1);
      await world.settle();
    }
    expect(process.compactor.state()).toMatchObject({ scheduler: 'default', lastError: undefined });
    expect(process.events.filter(({ type }) => type === 'invalid').at(-1)).toMatchObject({
      isReplaced: true,
      error: { code: 'COMPACTION_INVALID', details: { fault: 'not-oldest-end' } },
    });
    expect(await world.shape()).toBe('l0 0, run 0: 1');
    await world.audit();
  });

  it('that throws counts as one, and one that is right again is not counted on', async () => {
    // Right before the claim, and after it.
    let answers = ['throw', 'invalid', 'right', 'right', 'throw', 'invalid'];
    const process = await started({
      settings: {
        scheduler: (input) => {
          const [answer, ...rest] = answers;
          answers = rest;
          if (answer === 'throw') throw new TypeError('a bug');
          if (answer === 'invalid') return { proposals: [{ tree: 'ff', l0: [], runs: [1], reason: 'x' }] };
          const { l0 } = input.trees[0]!;
          return { proposals: answer === 'right' && l0.length > 0 ? [{ tree: '', l0, runs: [], reason: 'x' }] : [] };
        },
      },
    });
    for (let i = 0; i < 6; i++) {
      await world.flushes(1);
      await world.settle();
    }
    const invalid = process.events.filter((event) => event.type === 'invalid');
    expect(invalid.length).toBeGreaterThanOrEqual(3);
    expect(invalid.every((event) => event.type === 'invalid' && !event.isReplaced)).toBe(true);
    expect(process.compactor.state().scheduler).toBe('given');
    expect(process.story).toContain('started x');
  });

  it('that changes its input changes nothing else, and is replaced by the default one when its proposals are invalid', async () => {
    let asked = 0;
    const process = await started({
      settings: {
        scheduler: (input) => {
          asked++;
          const [{ l0 }] = input.trees as [TreeFacts];
          for (const view of l0) Object.assign(view, { tableId: '01M7W60ETH9EVAJJ6RDPRXZ6HN' });
          Object.assign(input.avoid, { has: () => true });
          Object.assign(input.options, { l0MaxSsts: Number.NaN });
          return { proposals: l0.length < 2 ? [] : [{ tree: '', l0, runs: [], reason: 'x' }] };
        },
      },
    });
    for (let i = 0; i < 4; i++) {
      await world.flushes(1);
      await world.settle();
    }
    expect(process.story.filter((line) => line.startsWith('trouble'))).toEqual([]);
    const invalid = process.events.filter((event) => event.type === 'invalid');
    expect(invalid.map((event) => event.type === 'invalid' && event.error.details['fault'])).toEqual(
      Array.from({ length: 3 }, () => 'missing-source'),
    );
    expect(asked).toBeLessThan(10);
    expect(process.compactor.state().scheduler).toBe('default');
    expect(await world.shape()).toBe('l0 0, run 0: 1');
    await world.audit();
  });

  it('whose wakeAtMs is no time is not asked again because of it, and replaced after three times', async () => {
    let asked = 0;
    const process = await started({
      settings: {
        scheduler: () => {
          asked++;
          return { proposals: [], wakeAtMs: Number.NaN };
        },
      },
    });
    await world.clock.advance(60_000);
    expect(asked).toBeLessThan(3);
    for (let i = 0; i < 3; i++) {
      await world.flushes(1);
      await world.settle();
    }
    expect(asked).toBeLessThan(5);
    expect(process.compactor.state().scheduler).toBe('default');
  });

  it('is asked again when a time has come', async () => {
    const asked: number[] = [];
    const nowMs = () => world.clock.nowMs();
    const at = nowMs() + 5000;
    await started({
      settings: {
        scheduler: () => {
          asked.push(nowMs());
          return { proposals: [], wakeAtMs: at };
        },
      },
    });
    await world.clock.advance(20_000);
    expect(asked).toEqual([at - 5000, at]);
  });
});

describe('a compaction of everything', () => {
  it('makes each tree one run, and reports what was done', async () => {
    const process = await started();
    await world.flushes(9, ['a', 'b', 'c']);
    await world.flush('b');
    await world.settle();
    const request = process.compactor.compactAll();
    await world.settle();
    const report = await request;
    expect(report.jobs).toMatchObject([{ tables: 1, rowsOut: 2, job: { reason: 'everything', tree: '' } }]);
    expect(await world.shape()).toMatch(/^l0 0, run \d+: 1$/);
    await world.audit();
    await world.auditFiles();
  });

  it('of a tree that is one run, or empty, does nothing and claims nothing', async () => {
    const { compactor, io } = await started();
    expect(await compactor.compactAll()).toEqual({ jobs: [] });
    expect(io.requests).toEqual([]);
    await world.flushes(1);
    expect((await compactor.compactAll()).jobs.length).toBe(1);
    await world.settle();
    const count = io.requests.length;
    expect(await compactor.compactAll()).toEqual({ jobs: [] });
    expect(io.requests.slice(count).filter((request) => request.startsWith('put'))).toEqual([]);
  });

  it('waits for a job that is under way, and the scheduler begins no other in the meantime', async () => {
    const process = await started();
    process.hold();
    await world.flushes(4);
    await world.settle();
    const request = process.compactor.compactAll();
    await world.flushes(5, ['d']);
    await world.settle();
    expect(process.held!.length).toBe(1);
    process.held![0]!.release();
    await world.settle();
    expect(process.held!.map(({ plan }) => plan.sources.length)).toEqual([4, 6]);
    process.held![1]!.release();
    expect((await request).jobs.length).toBe(1);
    expect(await world.shape()).toBe('l0 0, run 0: 1');
    await world.audit();
  });

  it('fails with the cause, and the compactor goes on', async () => {
    const process = await started();
    process.hold();
    await world.flushes(2);
    const request = process.compactor.compactAll();
    await world.settle();
    process.held![0]!.fail(new UnavailableError('STORE_DOWN', 'no answer'));
    await expect(request).rejects.toMatchObject({
      code: 'COMPACTION_FAILED',
      retryable: true,
      cause: code('STORE_DOWN'),
    });
    process.held = undefined;
    await world.flushes(4);
    await world.clock.advance(1000);
    expect(await world.shape()).toBe('l0 0, run 1: 1');
    await world.audit();
  });

  it('fails where the store does', async () => {
    const process = await started();
    process.io.fault = () => new UnavailableError('STORE_DOWN', 'no answer');
    await world.flushes(2);
    await expect(process.compactor.compactAll()).rejects.toMatchObject({ cause: code('STORE_DOWN') });
  });

  it('ends with its signal, and its jobs with it', async () => {
    const process = await started();
    process.hold();
    await world.flushes(2);
    const controller = new AbortController();
    const request = process.compactor.compactAll(controller.signal);
    const queued = process.compactor.compactAll(controller.signal);
    await world.settle();
    controller.abort();
    await expect(request).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(queued).rejects.toMatchObject({ code: 'ABORTED' });
    await world.settle();
    expect([process.compactor.state().phase, process.compactor.state().lastError]).toEqual(['idle', undefined]);
    expect((await world.file()).compactions.jobs).toMatchObject([{ status: 'failed' }]);
    expect(await world.shape()).toBe('l0 2');
  });

  it('ends at once for who leaves before its turn, and goes on for the other', async () => {
    const process = await started();
    process.hold();
    await world.flushes(2);
    const controller = new AbortController();
    const request = process.compactor.compactAll();
    const queued = process.compactor.compactAll(controller.signal);
    await world.settle();
    controller.abort();
    await expect(queued).rejects.toMatchObject({ code: 'ABORTED' });
    process.held![0]!.release();
    await expect(request).resolves.toMatchObject({ jobs: [{ tables: 1 }] });
  });

  it('begins again after a pause, and ends with the compactor', async () => {
    const process = await started();
    process.hold();
    await world.flushes(2);
    const request = process.compactor.compactAll();
    await world.settle();
    const resume = await process.compactor.pause();
    expect(process.compactor.state().phase).toBe('paused');
    resume();
    resume();
    await world.settle();
    expect(process.held!.length).toBe(2);
    process.held![1]!.release();
    expect((await request).jobs.length).toBe(1);
    await world.flushes(2);
    const second = process.compactor.compactAll();
    await world.settle();
    await process.compactor.stop();
    await expect(second).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(process.compactor.compactAll()).rejects.toMatchObject({ code: 'CLOSED' });
    await world.audit();
  });

  it('comes before the scheduler, whose jobs wait after a failure', async () => {
    const process = await started();
    process.hold();
    await world.flushes(4);
    await world.settle();
    process.held![0]!.fail(new UnavailableError('STORE_DOWN', 'no answer'));
    await world.settle();
    const request = process.compactor.compactAll();
    await world.settle();
    process.held![1]!.release();
    expect((await request).jobs.length).toBe(1);
    expect(process.compactor.state().failures).toBe(0);
  });
});

describe('segments', () => {
  it('are trees of their own, whose runs share one series of ids', async () => {
    await world.flushes(4, ['a']);
    await world.flushes(4, ['b']);
    const prefix = new TextEncoder().encode('a');
    await world.writer.commit((m) => ({
      ...m,
      l0: [],
      segments: [
        { prefix, l0: m.l0.slice(4), runs: [], lastCompacted: undefined },
        { prefix: new TextEncoder().encode('b'), l0: m.l0.slice(0, 4), runs: [], lastCompacted: undefined },
      ],
    }));
    const process = await started();
    expect(await world.shape()).toBe('l0 0 | l0 0, run 0: 1 | l0 0, run 1: 1');
    expect(process.plans.map(({ segment }) => segment)).toEqual([prefix, expect.any(Uint8Array)]);
    await world.audit();
    expect((await process.compactor.compactAll()).jobs).toEqual([]);
    await world.auditFiles();
  });
});

it('never begins more jobs than it may', async () => {
  const process = await started({ settings: { maxConcurrentCompactions: 1 } });
  process.hold();
  await world.flushes(4);
  await world.settle();
  await world.flushes(4);
  await world.settle();
  expect(process.held!.length).toBe(1);
  expect(SCHEDULER_OPTIONS.maxCompactionSources).toBe(8);
  expect(encodeCompactions((await world.file()).compactions).length).toBeGreaterThan(0);
});

describe('a compactor that is stopped', () => {
  const statuses = async () => (await world.file()).compactions.jobs.map(({ status }) => status);

  it('notes that the jobs which it has cut off have failed: SlateDB would give them to its workers', async () => {
    const process = await started();
    process.hold();
    await world.flushes(4);
    await world.settle();
    expect(await statuses()).toEqual(['running']);
    await process.compactor.stop();
    expect(await statuses()).toEqual(['failed']);
    expect(await world.shape()).toBe('l0 4');
  });

  it('lists a job as compacted, with its tables, before a manifest names them', async () => {
    const process = await started();
    let seen: unknown;
    process.io.wait = async (call, isAnswer) => {
      if (!isAnswer && call.startsWith('put manifest/') && process.plans.length > 0) {
        const [job] = (await world.file()).compactions.jobs;
        seen = [job!.status, job!.outputs!.length];
      }
    };
    world.writerStore.wait = process.io.wait;
    await world.flushes(4);
    await world.settle();
    expect(seen).toEqual(['compacted', 1]);
    expect(await statuses()).toEqual(['completed']);
  });
});
