/**
 * Merges on threads, with threads that run on virtual time: the same bytes as in slices, memory that goes over, bounds on what is under way,
 * threads that die, and when there are threads at all. Real ones are in test/integration/merge-threads.test.ts.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes } from '../../../src/common/bytes.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import type { JobRunOptions } from '../../../src/compaction/job-run.ts';
import { type MergeHost, MergeInterrupted, type MergeStart, SlicedMerges } from '../../../src/compaction/merge-host.ts';
import { PARTS_AHEAD } from '../../../src/compaction/merge-messages.ts';
import type { MergedTable } from '../../../src/compaction/merge-step.ts';
import { type OutputName, sealsOf } from '../../../src/compaction/output-seal.ts';
import { THREAD_IDLE_MS, ThreadPool } from '../../../src/compaction/thread-pool.ts';
import { ThreadedMerges } from '../../../src/compaction/threaded-merges.ts';
import { NO_CODEC } from '../../../src/format/codecs.ts';
import { tablePath } from '../../../src/format/object-names.ts';
import { JobWorld, type StoredTable } from '../../support/job-world.ts';
import { LocalThreads } from '../../support/local-threads.ts';
import { type InputTable, OUTPUT, placesOf, stretchesOf, tableOfModel } from '../../support/merge-inputs.ts';
import { jobArb, partsOf, planOf, rulesOf, spread } from '../../support/random-merges.ts';
import { APPENDING, type ModelRules, type ModelVersion, mergedModel } from '../../support/version-model.ts';

const RULES: ModelRules = {
  barrier: Number.MAX_SAFE_INTEGER,
  tickMs: undefined,
  isBottom: false,
  keptWhole: [],
  keptTombstones: [],
  fold: undefined,
  filter: undefined,
};
const CODE = new URL('../../support/dropping-filter.mjs', import.meta.url).href;

const put = (n: number, seq: number): ModelVersion => ({
  key: `key-${String(n).padStart(5, '0')}`,
  seq,
  kind: 'put',
  value: `value of ${n} at ${seq}`,
  expires: undefined,
  created: 1000 + seq,
});

class Threads {
  readonly clock: ManualClock;
  readonly local: LocalThreads;
  readonly pool: ThreadPool;
  readonly merges: ThreadedMerges;
  readonly slices: SlicedMerges;
  readonly notes: string[] = [];

  constructor({ clock = new ManualClock(), most = 2 } = {}) {
    this.clock = clock;
    this.local = new LocalThreads(clock);
    this.slices = new SlicedMerges(clock, () => false);
    const note = (message: string) => void this.notes.push(message);
    const logger = { debug: note, info: note, warn: note, error: note };
    this.pool = new ThreadPool({ clock, logger, startThread: this.local.start, most });
    this.merges = new ThreadedMerges({ threads: this.pool, slices: this.slices });
  }

  /** Waits until nothing happens any more that needs no time. */
  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) await this.clock.settle();
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms);
    await this.settle();
  }
}

function startOf(
  sources: InputTable[][],
  rules: ModelRules,
  changes: Partial<MergeStart> & { maxSstBytes?: number } = {},
) {
  const { maxSstBytes = 1 << 20, ...others } = changes;
  const plan = planOf(sources, rules, maxSstBytes);
  const start: MergeStart = {
    settings: { plan, rowsExpected: 0, rowBytes: 20, partBytes: 300, resume: undefined },
    codecs: new Map([['none', NO_CODEC]]),
    operator: undefined,
    filter: undefined,
    operatorModule: undefined,
    filterModule: undefined,
    needsOperator: false,
    seals: sealsOf(plan),
    signal: new AbortController().signal,
    ...others,
  };
  return start;
}

const nameOf = (n: number): OutputName => ({
  id: `01M7W60ETHFF${String(n).padStart(14, '0')}` as OutputName['id'],
  putId: `01M7W60ETHEE${String(n).padStart(14, '0')}` as OutputName['id'],
  identity: {
    databaseId: new Uint8Array(16),
    objectId: new Uint8Array(16).fill(n),
    putId: `01M7W60ETHEE${String(n).padStart(14, '0')}` as OutputName['id'],
    epoch: 1,
    role: 'compactor',
    formatVersion: 2,
    codec: 'none',
    writtenAtMs: 1,
    newestManifestId: 1,
    software: [0, 1, 0],
  },
});

interface Driven {
  tables: { bytes: Uint8Array; table: MergedTable }[];
  done: unknown;
}

/** Feeds a merge to its end. */
async function drive(host: MergeHost, sources: InputTable[][], perStretch: number, mayMove: boolean): Promise<Driven> {
  const queues = sources.map((tables) => tables.flatMap((table, i) => stretchesOf(table, i, () => perStretch)));
  const tables: Driven['tables'] = [];
  let parts: Uint8Array[] = [];
  let names = 0;
  host.name(nameOf(names++));
  for (;;) {
    const event = await host.next();
    if (event.kind === 'need') {
      const next = queues[event.input]!.shift();
      if (next === undefined) host.end(event.input);
      else host.feed(event.input, { ...next, mayMove });
    } else if (event.kind === 'part') parts.push(event.bytes);
    else if (event.kind === 'table') {
      tables.push({ bytes: concatBytes(...parts), table: structuredClone(event.table) });
      parts = [];
      host.name(nameOf(names++));
    } else if (event.kind === 'done') return { tables, done: event };
    else throw new Error(`bad block: ${JSON.stringify(event.block)}`);
  }
}

describe('a merge on a thread', () => {
  it('makes the bytes that slices make, whatever the job', async () => {
    await fc.assert(
      fc.asyncProperty(jobArb, fc.boolean(), async (job, mayMove) => {
        const { sources } = spread({ ...job, hasFilter: false });
        const rules = rulesOf({ ...job, hasFilter: false });
        const threads = new Threads();
        const { operator } = partsOf(rules) ?? {};
        const start = startOf(sources, rules, { operator, maxSstBytes: job.maxSstBytes });
        start.settings.partBytes = job.partBytes;
        const expected = await drive(await threads.slices.start(start), sources, job.perStretch, mayMove);
        const host = await threads.merges.start(start);
        const merged = drive(host, sources, job.perStretch, mayMove);
        // Operands are met: the job goes on in slices (below).
        const end = await threads.clock.runUntilSettled(merged).catch((error: unknown) => error);
        if (end instanceof MergeInterrupted) expect([end.reason, operator]).toEqual(['operator', APPENDING]);
        else expect(end).toEqual(expected);
        host.close();
        await threads.pool.close();
        expect(threads.local.running).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('has at most so many parts under way, and goes on as they are taken', async () => {
    const threads = new Threads();
    const versions = Array.from({ length: 2000 }, (_, i) => put(i, 5));
    const sources = [[tableOfModel(versions)]];
    const host = await threads.merges.start(startOf(sources, RULES));
    host.name(nameOf(0));
    for (const stretch of stretchesOf(sources[0]![0]!, 0, () => 50)) host.feed(0, stretch);
    host.end(0);
    await threads.settle();
    const partsSaid = () =>
      threads.local.said
        .join(' ')
        .split(' ')
        .filter((kind) => kind === 'part').length;
    expect(partsSaid()).toBe(PARTS_AHEAD);
    let taken = 0;
    // The first events are what it asked for.
    while (taken < 2) if ((await host.next()).kind === 'part') taken++;
    await threads.settle();
    // The second one is in use.
    expect(partsSaid()).toBe(PARTS_AHEAD + 1);
    host.close();
    await threads.pool.close();
  });

  it('asks for the next stretch while it merges the last one', async () => {
    const threads = new Threads();
    const sources = [[tableOfModel(Array.from({ length: 500 }, (_, i) => put(i, 5)))]];
    const [first, second] = stretchesOf(sources[0]![0]!, 0, () => 20);
    const host = await threads.merges.start(startOf(sources, RULES));
    host.name(nameOf(0));
    expect(await host.next()).toEqual({ kind: 'need', input: 0 });
    host.feed(0, first!);
    await threads.settle();
    host.feed(0, second!);
    await threads.settle();
    const asked = threads.local.said
      .join(' ')
      .split(' ')
      .filter((kind) => kind === 'need').length;
    expect(asked).toBeGreaterThanOrEqual(2);
    expect(placesOf(sources[0]![0]!).length).toBeGreaterThan(40);
    host.close();
    await threads.pool.close();
  });

  it('takes memory that may move, and leaves the rest alone', async () => {
    const threads = new Threads();
    const sources = [[tableOfModel(Array.from({ length: 200 }, (_, i) => put(i, 5)))]];
    const [first, second] = stretchesOf(sources[0]![0]!, 0, () => 5);
    const host = await threads.merges.start(startOf(sources, RULES));
    host.feed(0, { ...first!, mayMove: true });
    host.feed(0, second!);
    expect([first!.bytes.length, second!.bytes.length > 0]).toEqual([0, true]);
    host.close();
    await threads.pool.close();
  });
});

// ---- jobs

interface ThreadedWorld {
  world: JobWorld;
  threads: Threads;
  sources: StoredTable[][];
  options: Pick<JobRunOptions, 'merges' | 'slices'>;
}

async function threadedWorld(rows = 120): Promise<ThreadedWorld> {
  const world = new JobWorld();
  const threads = new Threads({ clock: world.clock });
  const source = (age: number) => Array.from({ length: rows }, (_, i) => put(i * (age + 1), 10_000 * (3 - age) + i));
  const oldest = source(2);
  const half = oldest.length / 2;
  const sources = [
    [await world.table(source(0))],
    [await world.table(source(1))],
    [await world.table(oldest.slice(0, half)), await world.table(oldest.slice(half))],
  ];
  return { world, threads, sources, options: { merges: threads.merges, slices: threads.slices } };
}

const modelOf = (sources: readonly (readonly StoredTable[])[], rules: Partial<ModelRules> = {}) =>
  mergedModel(
    sources.map((tables) => tables.flatMap(({ versions }) => [...versions])),
    { ...RULES, ...rules },
  );
const small = { output: { ...OUTPUT, maxSstBytes: 1500 } };

describe('a job on a thread', () => {
  it('writes what the model leaves, and leaves its inputs as they were', async () => {
    const { world, threads, sources, options } = await threadedWorld();
    const before = await world.memory.get(tablePath(sources[0]![0]!.id));
    for (let i = 0; i < 2; i++) {
      const result = await world.run(world.plan(sources, small), options);
      expect(await world.rowsOf(result)).toEqual(modelOf(sources));
      expect(result.outputs.length).toBeGreaterThan(3);
    }
    expect(await world.memory.get(tablePath(sources[0]![0]!.id))).toEqual(before);
    expect(threads.local.started).toBeGreaterThan(0);
    expect(threads.local.awake).toEqual(threads.local.awake.map(() => false));
  });

  it('copies what a store gave that nobody knows', async () => {
    const { world, sources, options } = await threadedWorld();
    const inner = world.counted();
    // The same memory for each answer, as the memory of the store itself would be.
    const own = new Map<string, Uint8Array>();
    const get: typeof inner.get = async (path, given) => {
      const answer = await inner.get(path, given);
      if (answer === undefined) return undefined;
      const place = `${path} ${JSON.stringify(given?.range)}`;
      const bytes = own.get(place) ?? answer.bytes;
      own.set(place, bytes);
      return { ...answer, bytes };
    };
    const store = { ...inner, conformance: undefined, get } as unknown as typeof inner;
    for (let i = 0; i < 2; i++) {
      const result = await world.run(world.plan(sources), { ...options, store });
      expect(await world.rowsOf(result)).toEqual(modelOf(sources));
    }
    expect([...own.values()].every((bytes) => bytes.length > 0)).toBe(true);
  });

  it('heals a block', async () => {
    const { world, threads, sources, options } = await threadedWorld();
    const path = tablePath(sources[1]![0]!.id);
    world.faulty.add({ op: 'get', path, action: 'flip', bit: 8 * 600 });
    const result = await world.run(world.plan(sources), options);
    expect(await world.rowsOf(result)).toEqual(modelOf(sources));
    expect(world.findings.length).toBe(1);
    expect(
      threads.local.said
        .join(' ')
        .split(' ')
        .filter((kind) => kind === 'bad'),
    ).toEqual(['bad']);
  });

  it('ends with the damage where nothing proves what was there', async () => {
    const { world, sources, options } = await threadedWorld();
    const path = await world.spoil(sources[1]![0]!, (bytes) => bytes.fill(0x5a, 600, 664));
    const error = await world.run(world.plan(sources), options).catch((e: unknown) => e);
    expect(error).toMatchObject({ kind: 'corruption', findings: [{ object: { path } }] });
  });

  it('goes on in another thread where its own has died, once for each table', async () => {
    for (const kind of ['begin', 'feed', 'events', 'taken', 'name'] as const) {
      const { world, threads, sources, options } = await threadedWorld();
      let met = 0;
      threads.local.diesOf = (thread, message) =>
        thread === 0 && message.kind === kind && ++met === 2 - Number(kind === 'begin');
      const result = await world.run(world.plan(sources, small), options);
      expect(await world.rowsOf(result), kind).toEqual(modelOf(sources));
      expect(threads.local.started, kind).toBe(2);
      expect(result.counts.rowsIn).toBe(360);
    }
  });

  it('fails with the reason where that one dies, too', async () => {
    const { world, threads, sources, options } = await threadedWorld();
    threads.local.diesOf = (_, message) => message.kind === 'feed';
    const error = await world.run(world.plan(sources), options).catch((e: unknown) => e);
    expect(error).toMatchObject({
      code: 'COMPACTION_FAILED',
      kind: 'unavailable',
      message: expect.stringContaining('thread 1 fell over feed'),
      cause: { message: 'thread 1 fell over feed' },
    });
    expect(threads.local.running).toBe(0);
  });

  it('may lose a thread over each of its tables', async () => {
    const { world, threads, sources, options } = await threadedWorld();
    // A table and the name of the next: it was stored.
    const names: number[] = [];
    threads.local.diesOf = (thread, message) => {
      if (message.kind === 'name') names[thread] = (names[thread] ?? 0) + 1;
      return thread < 4 && message.kind === 'name' && names[thread] === 2;
    };
    const result = await world.run(world.plan(sources, small), options);
    expect(await world.rowsOf(result)).toEqual(modelOf(sources));
    expect(threads.local.started).toBe(5);
  });

  it('can be aborted at any message, and leaves no thread', async () => {
    let isWhole = false;
    for (let at = 1; !isWhole; at += 3) {
      const { world, threads, sources, options } = await threadedWorld(30);
      const abort = new AbortController();
      let messages = 0;
      threads.local.diesOf = () => {
        if (++messages === at) abort.abort();
        return false;
      };
      const end = await world.run(world.plan(sources, small), { ...options, signal: abort.signal }).then(
        () => 'whole',
        (error: unknown) => error,
      );
      isWhole = messages < at;
      if (!isWhole && end !== 'whole') expect(end, `at ${at}`).toMatchObject({ kind: 'aborted' });
      await threads.pass(THREAD_IDLE_MS);
      expect([threads.local.running, threads.pool.threadCount], `at ${at}`).toEqual([0, 0]);
    }
  });

  it('has its filter from a module, and fails with what it throws', async () => {
    const { world, threads, sources, options } = await threadedWorld();
    const filter = { decide: () => 'keep' as const };
    const run = (name: string) =>
      world.run(world.plan(sources, { isBottom: true }), {
        ...options,
        compactionFilter: filter,
        filterModule: { module: CODE, export: name },
      });
    const result = await run('default');
    const dropsOdd = (key: string) => (/[13579]$/.test(key) ? 'drop' : 'keep');
    expect(await world.rowsOf(result)).toEqual(modelOf(sources, { isBottom: true, filter: dropsOdd }));
    await expect(run('throwing')).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      cause: { message: 'not this one' },
    });
    await expect(run('nothing')).rejects.toMatchObject({ code: 'BAD_OPTION', message: /has no export nothing/ });
    // A failure of the filter is none of the thread.
    expect(threads.local.started).toBe(1);
  });

  it('stays on this thread with a filter that is an object', async () => {
    const { world, threads, sources, options } = await threadedWorld();
    const compactionFilter = { decide: () => 'drop' as const };
    const result = await world.run(world.plan(sources, { isBottom: true }), { ...options, compactionFilter });
    expect([result.outputs.length, threads.local.started]).toEqual([0, 0]);
  });

  it('comes back to this thread where operands have to be folded, and only there', async () => {
    const { world, threads, sources, options } = await threadedWorld();
    const plain = await world.run(world.plan(sources), { ...options, mergeOperator: APPENDING });
    expect(await world.rowsOf(plain)).toEqual(modelOf(sources));
    expect([threads.local.started, threads.local.said.includes('operator')]).toEqual([1, false]);
    const operands = [9, 8].map((seq): ModelVersion => ({ ...put(900, seq), kind: 'merge' }));
    const withOperands = [...sources, [await world.table([put(0, 1)]), await world.table(operands)]];
    const result = await world.run(world.plan(withOperands, small), { ...options, mergeOperator: APPENDING });
    const fold = (_: string, older: string | undefined, newer: string) => (older ?? '') + newer;
    expect(await world.rowsOf(result)).toEqual(modelOf(withOperands, { fold }));
    expect(threads.local.said.filter((kind) => kind === 'operator').length).toBe(1);
  });

  it('stays on its thread with an operator from a module', async () => {
    const { world, threads, sources, options } = await threadedWorld();
    const operands = [9, 8].map((seq): ModelVersion => ({ ...put(900, seq), kind: 'merge' }));
    const all = [...sources, [await world.table(operands)]];
    const run = (name: string) =>
      world.run(world.plan(all, small), {
        ...options,
        mergeOperator: APPENDING,
        operatorModule: { module: CODE, export: name },
      });
    const fold = (_: string, older: string | undefined, newer: string) => (older ?? '') + newer;
    expect(await world.rowsOf(await run('appending'))).toEqual(modelOf(all, { fold }));
    await expect(run('throwing')).rejects.toMatchObject({ code: 'BAD_OPTION', message: /merge\(\)/ });
    expect([threads.local.started, threads.local.said.includes('operator')]).toEqual([1, false]);
  });

  it('begins on this thread where operands are known to be', async () => {
    const { world, threads, sources, options } = await threadedWorld();
    const operands = [9, 8].map((seq): ModelVersion => ({ ...put(900, seq), kind: 'merge' }));
    const all = [...sources, [await world.table(operands)]];
    await world.run(world.plan(all), { ...options, mergeOperator: APPENDING });
    expect(threads.local.started).toBe(0);
    await world.run(world.plan(all), options);
    expect(threads.local.started).toBe(1);
  });
});

describe('threads', () => {
  it('are ended 30 s after their last merge, and not before', async () => {
    const { world, threads, sources, options } = await threadedWorld(20);
    await threads.merges.start(startOf([[tableOfModel([put(1, 1)])]], RULES));
    await threads.pass(10 * THREAD_IDLE_MS);
    expect(threads.pool.threadCount).toBe(1);
    await world.run(world.plan(sources), options);
    // The second one had work last.
    expect(threads.local.started).toBe(2);
    await threads.pass(THREAD_IDLE_MS - 1000);
    expect(threads.pool.threadCount).toBe(2);
    await threads.pass(1000);
    expect([threads.pool.threadCount, threads.local.running]).toEqual([1, 1]);
    await threads.pool.close();
    expect(threads.local.running).toBe(0);
  });

  it('are used again, are at most so many, and share merges then', async () => {
    const threads = new Threads({ most: 2 });
    const sources = [[tableOfModel([put(1, 1)])]];
    const hosts = [];
    for (let i = 0; i < 5; i++)
      hosts.push(await threads.clock.runUntilSettled(threads.merges.start(startOf(sources, RULES))));
    expect(threads.local.started).toBe(2);
    for (const host of hosts) {
      expect((await threads.clock.runUntilSettled(drive(host, sources, 1, true))).tables.length).toBe(1);
      host.close();
    }
    await threads.clock.runUntilSettled(threads.merges.start(startOf(sources, RULES)));
    expect(threads.local.started).toBe(2);
    await threads.pool.close();
  });

  it('end merges when they are closed, and none is started after that', async () => {
    const threads = new Threads();
    const sources = [[tableOfModel([put(1, 1)])]];
    const host = await threads.merges.start(startOf(sources, RULES));
    const waiting = host.next().then(() => host.next());
    const starting = threads.merges.start(startOf(sources, RULES));
    const results = Promise.allSettled([waiting, starting]);
    await threads.pool.close();
    expect(await results).toMatchObject([{ reason: { code: 'CLOSED' } }, { reason: { code: 'CLOSED' } }]);
    await expect(threads.merges.start(startOf(sources, RULES))).rejects.toMatchObject({ code: 'CLOSED' });
    expect([threads.local.started, threads.local.running]).toEqual([2, 0]);
  });

  it('that die before they have a merge interrupt those that wait for them', async () => {
    const threads = new Threads();
    threads.local.diesAtOnce = true;
    const starting = threads.merges.start(startOf([[tableOfModel([put(1, 1)])]], RULES));
    await expect(starting).rejects.toMatchObject({
      reason: 'thread',
      cause: { message: 'thread 0 fell over nothing' },
    });
    expect(threads.pool.threadCount).toBe(0);
  });

  it('begin no merge that was aborted while they were started', async () => {
    const threads = new Threads();
    const abort = new AbortController();
    const starting = threads.merges.start(startOf([[tableOfModel([put(1, 1)])]], RULES, { signal: abort.signal }));
    abort.abort();
    await expect(starting).rejects.toMatchObject({ kind: 'aborted' });
    await threads.pass(THREAD_IDLE_MS);
    expect([threads.local.said, threads.local.running]).toEqual([[], 0]);
  });

  it('keep the process alive only while something of them is waited for', async () => {
    const threads = new Threads();
    const sources = [[tableOfModel([put(1, 1)])]];
    const host = await threads.merges.start(startOf(sources, RULES));
    expect(threads.local.awake).toEqual([false]);
    const next = host.next();
    expect(threads.local.awake).toEqual([true]);
    host.name(nameOf(0));
    await next;
    expect(threads.local.awake).toEqual([false]);
    host.close();
    await threads.pool.close();
  });

  it('that cannot be started leave the work to slices, which is said once', async () => {
    const { world, threads, sources, options } = await threadedWorld();
    threads.local.cannotStart = true;
    for (let i = 0; i < 2; i++) {
      const result = await world.run(world.plan(sources), options);
      expect(await world.rowsOf(result)).toEqual(modelOf(sources));
    }
    expect(threads.notes).toEqual([expect.stringContaining('cannot be started')]);
    expect(threads.pool.threadCount).toBe(0);
  });

  it('that cannot be started beside others leave the work to those', async () => {
    const threads = new Threads({ most: 3 });
    const sources = [[tableOfModel([put(1, 1)])]];
    await threads.merges.start(startOf(sources, RULES));
    threads.local.cannotStart = true;
    const host = await threads.merges.start(startOf(sources, RULES));
    const merged = await threads.clock.runUntilSettled(drive(host, sources, 1, true));
    expect([merged.tables.length, threads.pool.threadCount, threads.notes.length]).toEqual([1, 1, 1]);
    await threads.pool.close();
  });
});
