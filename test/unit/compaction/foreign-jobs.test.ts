/**
 * Jobs in the compactions file that are not ours: what an operator of SlateDB submits, what its workers run, what was left of either. None
 * is stuck: each is carried out, committed or failed.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { makeUlid, type Ulid } from '../../../src/common/ulid.ts';
import {
  type CompactionJob,
  type Compactions,
  decodeCompactions,
  encodeCompactions,
} from '../../../src/format/compactions-codec.ts';
import type { TableView } from '../../../src/format/manifest-types.ts';
import { compactionsPath, tablePath } from '../../../src/format/object-names.ts';
import { type CompactorProcess, World } from '../../support/compaction-world.ts';

let world: World;
beforeEach(async () => {
  world = await World.create();
});

/** Ascending, and lower than those of jobs to come. */
const idAt = (seconds: number): Ulid => makeUlid(world.clock.nowMs() - 100_000 + seconds * 1000, world.random);

function entry(
  change: Partial<CompactionJob> & { l0?: Ulid[]; runs?: number[]; to?: number; segment?: string },
): CompactionJob {
  const { l0, runs, to = 0, segment, ...more } = change;
  return {
    id: idAt(1),
    status: 'submitted',
    spec: {
      kind: 'tiered',
      deprecatedTables: undefined,
      l0ViewIds: l0,
      runs,
      segment: segment === undefined ? undefined : new TextEncoder().encode(segment),
      destination: to,
    },
    outputs: undefined,
    worker: undefined,
    context: undefined,
    ...more,
  };
}

async function write(id: number, jobs: CompactionJob[], more: Partial<Compactions> = {}): Promise<void> {
  const file = { headerVersion: 2, compactorEpoch: 0, jobs, hasUnknownFields: false, ...more } as const;
  await world.memory.put(compactionsPath(id), encodeCompactions(file), { condition: 'if-absent', putId: 'x' });
}

async function started(options: Parameters<World['beside']>[0] = {}): Promise<CompactorProcess> {
  const process = world.beside(options);
  process.compactor.start();
  await world.settle();
  return process;
}

const statuses = async () => (await world.file()).compactions.jobs.map(({ status }) => status);
const viewIds = () => world.writer.current.manifest.l0.map(({ viewId }) => viewId);

describe('a job that was submitted', () => {
  it('is carried out, before what the scheduler proposes', async () => {
    await world.flushes(4);
    const [, , b, a] = viewIds();
    await write(1, [entry({ l0: [b!, a!], to: 7 })]);
    const { plans, story } = await started();
    expect(plans[0]).toMatchObject({ destination: 7, sources: [{ level: 'l0' }, { level: 'l0' }] });
    expect(story).toEqual(['claimed', 'started submitted', 'committed 6>3']);
    expect([await world.shape(), await statuses()]).toEqual(['l0 2, run 7: 1', ['completed']]);
    await world.audit();
    await world.auditFiles();
  });

  it('is noticed with a round, a minute after the last look', async () => {
    await world.flushes(4);
    await started();
    await world.clock.advance(100_000);
    const { id, compactions } = await world.file();
    await world.flushes(2, ['b']);
    const later = makeUlid(world.clock.nowMs(), world.random);
    await write(id + 1, [...compactions.jobs, entry({ id: later, l0: viewIds(), runs: [0], to: 0 })], {
      compactorEpoch: 1,
    });
    await world.clock.advance(61_000);
    await world.flushes(1, ['c']);
    await world.settle();
    expect([await world.shape(), await statuses()]).toEqual(['l0 1, run 0: 1', ['completed']]);
    await world.audit();
  });

  it('of version 1 gets the destination that is not stored', async () => {
    await world.flushes(4);
    await write(1, [entry({ l0: viewIds().slice(-2), to: 0 })], { headerVersion: 1 });
    const process = await started({ settings: { compactionsVersion: 1 } });
    expect([process.plans[0]!.destination, await statuses(), await world.shape()]).toEqual([
      0,
      ['completed'],
      'l0 2, run 0: 1',
    ]);
    await world.audit();
  });

  it.each([
    ['a missing view', () => entry({ l0: [idAt(50)], to: 3 })],
    ['a run that is not there', () => entry({ runs: [9, 8], to: 8 })],
    ['the newest tables alone', () => entry({ l0: viewIds().slice(0, 2), to: 3 })],
    ['no sources', () => entry({ to: 3 })],
    ['a segment that is not there', () => entry({ l0: viewIds(), segment: 'p', to: 3 })],
    [
      'tables of the field that is no longer in use',
      () =>
        entry({
          spec: {
            kind: 'tiered',
            deprecatedTables: viewIds(),
            l0ViewIds: undefined,
            runs: undefined,
            segment: undefined,
            destination: 0,
          },
        }),
    ],
    [
      'a drain of the root tree by its name',
      () =>
        entry({
          spec: { kind: 'drain', segment: new TextEncoder().encode('p'), l0ViewIds: viewIds(), runs: undefined },
        }),
    ],
  ])('and names %s is failed, and the others go on', async (_, job) => {
    await world.flushes(4);
    await write(1, [job()]);
    const process = await started();
    expect(process.story).toEqual(['claimed', 'started l0', 'committed 12>3']);
    expect(await statuses()).toEqual(['completed']);
    expect(await world.shape()).toMatch(/^l0 0, run \d+: 1$/);
    await world.audit();
  });

  it('waits for a job that is under way, and its sources with it', async () => {
    await world.flushes(4);
    const process = await started();
    process.hold();
    await world.flushes(4, ['b']);
    await world.settle();
    const { id, compactions } = await world.file();
    const later = makeUlid(world.clock.nowMs() + 1, world.random);
    const jobs = [...compactions.jobs, entry({ id: later, l0: viewIds(), runs: [0], to: 0 })];
    await world.clock.advance(61_000);
    await write(id + 1, jobs, { compactorEpoch: 1 });
    await world.flushes(1, ['c']);
    await world.settle();
    expect([process.held!.length, (await statuses()).includes('submitted')]).toEqual([1, true]);
    process.held![0]!.release();
    await world.settle();
    // Its tables are gone now.
    expect(await statuses()).toEqual(['failed']);
    await world.audit();
  });
});

describe('a drain that was submitted', () => {
  it('is carried out in one manifest, without a job', async () => {
    await world.flushes(2, ['pa']);
    await world.flushes(4, ['q']);
    const prefix = new TextEncoder().encode('p');
    await world.writer.commit((m) => ({
      ...m,
      l0: [],
      segments: [
        { prefix, l0: m.l0.slice(4), runs: [], lastCompacted: undefined },
        { prefix: new TextEncoder().encode('q'), l0: m.l0.slice(0, 4), runs: [], lastCompacted: undefined },
      ],
    }));
    const drained = world.writer.current.manifest.segments![0]!.l0.map(({ viewId }) => viewId);
    await write(1, [entry({ spec: { kind: 'drain', segment: prefix, l0ViewIds: drained, runs: undefined } })]);
    const process = await started();
    await world.settle();
    expect(await world.shape()).toMatch(/^l0 0 \| l0 0 \| l0 0, run 0: 1$/);
    expect((await world.newest()).manifest.segments![0]!.lastCompacted).toBe(drained[0]);
    expect(process.story.filter((event) => event.startsWith('started'))).toEqual(['started l0']);
    world.model.delete('pa');
    await world.audit();
    await world.auditFiles();
  });
});

describe('a job that another process runs', () => {
  const worker = (secondsAgo: number) => ({
    workerId: 'a worker',
    lastHeartbeatMs: world.clock.nowMs() - secondsAgo * 1000,
  });

  it('is left to its worker until that was not heard of for 30 s, then carried out here', async () => {
    await world.flushes(5);
    const running = entry({
      status: 'running',
      l0: viewIds().slice(-2),
      to: 4,
      worker: worker(10),
      context: { subcompactions: [], retentionMinSeq: 1 },
    });
    await write(1, [running]);
    const process = await started();
    // The scheduler has nothing to do beside it, so the claim waits for a cause of its own.
    const request = process.compactor.compactAll();
    await world.settle();
    expect([process.plans.length, await statuses()]).toEqual([0, ['running']]);
    await world.clock.advance(20_000);
    expect(process.plans.length).toBe(0);
    await world.clock.advance(61_000);
    await world.settle();
    expect((await request).jobs.length).toBe(1);
    expect(process.plans.map(({ destination }) => destination)[0]).toBe(4);
    expect(await world.shape()).toMatch(/^l0 0, run \d: 1$/);
    await world.audit();
  });

  /** What a worker of SlateDB would have stored. */
  async function output(of: TableView[], id: Ulid): Promise<TableView> {
    const sources = of.map((view) => ({ level: 'l0' as const, runId: undefined, views: [{ view, owner: undefined }] }));
    const plan = { jobId: id, sources, barrier: 1000, isBottom: false } as unknown as Parameters<World['merge']>[1];
    const { outputs } = await world.merge(world.memory, plan);
    return { viewId: outputs[0]!.table.id, table: outputs[0]!.table, visibleRange: undefined };
  }

  async function compacted(): Promise<{ job: CompactionJob; made: TableView }> {
    await world.flushes(5);
    const of = world.writer.current.manifest.l0.slice(-2);
    const id = idAt(1);
    const made = await output(of, id);
    const outputs = [{ table: made.table, visibleRange: undefined }];
    const job = entry({
      id,
      status: 'compacted',
      l0: of.map(({ viewId }) => viewId),
      to: 4,
      worker: worker(5),
      outputs,
    });
    return { job, made };
  }

  it('is committed when its worker has done it', async () => {
    const { job, made } = await compacted();
    await write(1, [job]);
    const process = await started({
      settings: {
        scheduler: ({ trees, slots }) => ({
          proposals:
            slots > 0 && trees[0]!.l0.length === 5
              ? [{ tree: '', l0: trees[0]!.l0.slice(-1), runs: [], reason: 'any' }]
              : [],
        }),
      },
    });
    expect(process.plans).toEqual([]);
    const { manifest } = await world.newest();
    expect(manifest.runs.map(({ id, views }) => [id, views[0]!.table.id])).toEqual([[4, made.table.id]]);
    expect(manifest.checkpoints.length).toBe(1);
    expect((await world.file()).compactions.jobs).toMatchObject([
      { id: job.id, status: 'completed', outputs: [{}], worker: { workerId: 'a worker' } },
    ]);
    await world.audit();
  });

  it.each([
    'its output is gone',
    'its sources are gone',
    'a loss is open that it did not know',
    'it was committed before',
  ])('is not committed where %s', async (why) => {
    const { job, made } = await compacted();
    if (why === 'its output is gone') await world.memory.delete([tablePath(made.table.id)]);
    if (why.startsWith('its sources')) {
      await world.writer.commit((m) => ({ ...m, l0: m.l0.slice(0, 3), runs: [{ id: 4, views: m.l0.slice(3, 4) }] }));
    }
    if (why.startsWith('a loss')) {
      const keys = [{ gte: new TextEncoder().encode('b'), lte: undefined }];
      const facts = { repairId: 'r', object: 'o', level: 'run', at: '', exact: false, state: 'open' } as const;
      world.ledger = { version: 1, open: [{ id: 'L', ...facts, keys, seqs: [] }] };
    }
    if (why.startsWith('it was')) {
      await world.writer.commit((m) => ({
        ...m,
        l0: m.l0.slice(0, 3),
        lastCompacted: job.spec.l0ViewIds![0],
        runs: [{ id: 4, views: [made] }],
      }));
    }
    await write(1, [job]);
    const process = await started();
    const request = process.compactor.compactAll();
    await world.settle();
    await request;
    const first = why.startsWith('it was') ? 'completed' : 'failed';
    const ofJob: string[] = [];
    for (let n = 1; n <= (await world.file()).id; n++) {
      const got = await world.memory.get(compactionsPath(n));
      ofJob.push(
        ...decodeCompactions(got!.bytes)
          .compactions.jobs.filter(({ id }) => id === job.id)
          .map(({ status }) => status),
      );
    }
    expect([...new Set(ofJob)]).toEqual(['compacted', first]);
    if (!why.startsWith('its sources')) await world.audit();
  });
});

it('a status that is not known counts as submitted, as for SlateDB', async () => {
  await world.flushes(4);
  await write(1, [entry({ unknownStatus: 9, l0: viewIds().slice(-2), to: 7 })]);
  await started();
  expect((await world.file()).compactions.jobs).toMatchObject([{ status: 'completed' }]);
  expect(await world.shape()).toBe('l0 2, run 7: 1');
});
