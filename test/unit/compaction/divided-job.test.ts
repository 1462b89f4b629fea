/**
 * Jobs in ranges of keys that are merged at the same time: what comes out is what one range makes, and the plain model; names, ordinals, requests and
 * memory; what happens to all where one range fails.
 */
import { describe, expect, it } from 'vitest';
import { SILENT_LOGGER } from '../../../src/common/logger.ts';
import { nextInt, SeededRandom } from '../../../src/common/random.ts';
import type { CompactionPlan, JobResult } from '../../../src/compaction/compaction-plan.ts';
import { assertPlan } from '../../../src/compaction/compaction-plan.ts';
import { partOf } from '../../../src/compaction/divided-job.ts';
import { estimateWhole } from '../../../src/compaction/job-estimate.ts';
import { mostRanges } from '../../../src/compaction/job-memory.ts';
import { SlicedMerges } from '../../../src/compaction/merge-host.ts';
import { readerWithoutCache } from '../../../src/compaction/stretch-reader.ts';
import { ThreadPool } from '../../../src/compaction/thread-pool.ts';
import { ThreadedMerges } from '../../../src/compaction/threaded-merges.ts';
import type { BytesRange } from '../../../src/format/manifest-types.ts';
import { tablePath } from '../../../src/format/object-names.ts';
import type { RunLineage } from '../../../src/format/seal-records.ts';
import { visibleBytes } from '../../../src/lsm/tree/visible-bytes.ts';
import { keyOf, modelOf, overlappingSources, put } from '../../support/job-sources.ts';
import { JobWorld, type StoredTable } from '../../support/job-world.ts';
import { LocalThreads } from '../../support/local-threads.ts';
import { OUTPUT } from '../../support/merge-inputs.ts';
import type { ModelVersion } from '../../support/version-model.ts';

const MIB = 1 << 20;
const TABLE_BYTES = 4000;
const small: Partial<CompactionPlan> = { output: { ...OUTPUT, maxSstBytes: TABLE_BYTES } };
/** Enough for any number of ranges. */
const ROOM = { shareBytes: 1024 * MIB };

const sourcesOf = (world: JobWorld, rows = 300) => overlappingSources(world, rows, 40_000);

async function lineages(world: JobWorld, { outputs }: JobResult): Promise<RunLineage[]> {
  const place = (id: string) => ({ store: world.memory, path: tablePath(id as never) });
  const metas = outputs.map(({ table }) =>
    readerWithoutCache(table, place(table.id), { clock: world.clock, onFinding: () => undefined }).loadMeta(),
  );
  return (await Promise.all(metas)).map(({ seal }) => seal!.lineage as RunLineage);
}

describe('a job that is divided', () => {
  it.each([2, 3])('in %i ranges writes what one range writes, row by row', async (maxSubcompactions) => {
    const world = new JobWorld();
    const sources = await sourcesOf(world);
    const one = await world.run(world.plan(sources, small), ROOM);
    const divided = await world.run(world.plan(sources, small), { ...ROOM, maxSubcompactions });
    expect(await world.rowsOf(divided)).toEqual(modelOf(sources));
    const { counts, changedVersions, droppedTombstones } = one;
    expect(divided).toMatchObject({ counts, changedVersions, droppedTombstones });
    const ranges = new Set((await lineages(world, divided)).map(({ ordinal }) => Math.floor(ordinal / 2 ** 24)));
    expect([...ranges]).toEqual(Array.from({ length: maxSubcompactions }, (_, i) => i));
  });

  it('has tables in key order, with names of their own and ordinals that ascend; only the last one says so', async () => {
    const world = new JobWorld();
    const sources = await sourcesOf(world);
    const result = await world.run(world.plan(sources, small), { ...ROOM, maxSubcompactions: 3 });
    const ids = result.outputs.map(({ table }) => table.id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.every((id) => id > result.jobId)).toBe(true);
    const keys = result.outputs.flatMap(({ firstKey, lastKey }) =>
      [firstKey, lastKey].map((k) => Buffer.from(k).toString()),
    );
    expect(keys).toEqual([...keys].sort());
    const said = await lineages(world, result);
    const ordinals = said.map(({ ordinal }) => ordinal);
    expect(ordinals).toEqual([...ordinals].sort((a, b) => a - b));
    expect(new Set(ordinals).size).toBe(ordinals.length);
    expect(said.map(({ isLastOutput }) => isLastOutput)).toEqual([...ids.slice(1).map(() => false), true]);
    const inputs = sources.flat().map(({ id }) => id);
    for (const { inputs: named, compactionId } of said) expect([named, compactionId]).toEqual([inputs, result.jobId]);
    // A job of one range has ordinals without a gap, which a job in ranges never has.
    const one = await world.run(world.plan(sources, small), ROOM);
    expect((await lineages(world, one)).map(({ ordinal }) => ordinal)).toEqual(one.outputs.map((_, i) => i));
  });

  it('is divided in the same way each time, with the same tables', async () => {
    const run = async () => {
      const world = new JobWorld();
      const sources = await sourcesOf(world);
      const { outputs } = await world.run(world.plan(sources, small), { ...ROOM, maxSubcompactions: 3 });
      return [outputs, world.requests];
    };
    expect(await run()).toEqual(await run());
  });

  it('keeps the versions of a key together, and decides on each as one range does', async () => {
    for (let seed = 0; seed < 30; seed++) {
      const random = new SeededRandom(seed);
      const world = new JobWorld();
      const keys = 40 + nextInt(random, 60);
      let seq = 100_000;
      const sources: StoredTable[][] = [];
      for (let source = 0; source < 4; source++) {
        const versions: ModelVersion[] = [];
        for (let n = 0; n < keys; n++) {
          // Of some keys so many versions that they fill blocks.
          const count = nextInt(random, 8) === 0 ? 30 : nextInt(random, 3);
          for (let i = 0; i < count; i++) {
            const kind = nextInt(random, 4) === 0 ? ('del' as const) : ('put' as const);
            versions.push({ ...put(n, seq - 1000 * source - i), kind, ...(kind === 'del' && { value: '' }) });
          }
        }
        seq -= 10_000;
        if (versions.length > 0) sources.push([await world.table(versions)]);
      }
      const rules = { barrier: seq + nextInt(random, 40_000), isBottom: seed % 2 === 0 };
      const plan = world.plan(sources, { ...rules, output: { ...OUTPUT, maxSstBytes: 2000 } });
      const result = await world.run(plan, { ...ROOM, maxSubcompactions: 1 + nextInt(random, 5) });
      expect(await world.rowsOf(result), `seed ${seed}`).toEqual(modelOf(sources, rules));
      const one = await world.run(plan, ROOM);
      expect(result.counts, `seed ${seed}`).toEqual(one.counts);
    }
  });

  it('goes on from a table without an answer in its range alone', async () => {
    const world = new JobWorld();
    const sources = await sourcesOf(world);
    world.faulty.add({ op: 'put', action: 'apply-then-drop', nth: 4 });
    world.faulty.add({ op: 'head', action: 'status:503' });
    const result = await world.run(world.plan(sources, small), { ...ROOM, maxSubcompactions: 3 });
    expect(await world.rowsOf(result)).toEqual(modelOf(sources));
  });

  it('makes no table of a range of which no row is left', async () => {
    const world = new JobWorld();
    const dead = Array.from({ length: 200 }, (_, i): ModelVersion => ({ ...put(i, 5000 + i), kind: 'del', value: '' }));
    const sources = [
      [await world.table(dead)],
      [await world.table(Array.from({ length: 200 }, (_, i) => put(i, i + 1)))],
      [await world.table(Array.from({ length: 200 }, (_, i) => put(200 + i, i + 1)))],
    ];
    const plan = world.plan(sources, { ...small, isBottom: true });
    const result = await world.run(plan, { ...ROOM, maxSubcompactions: 3 });
    expect(await world.rowsOf(result)).toEqual(modelOf(sources, { isBottom: true }));
    expect(result.droppedTombstones).toBe(true);
  });
});

describe('on threads', () => {
  function onThreads(most: number) {
    const world = new JobWorld();
    const { clock } = world;
    const threads = new LocalThreads(clock);
    const slices = new SlicedMerges(clock, () => false);
    const pool = new ThreadPool({ clock, logger: SILENT_LOGGER, startThread: threads.start, most });
    const merges = new ThreadedMerges({ threads: pool, slices });
    return { world, threads, pool, merges };
  }

  it('each range has a thread of its own', async () => {
    const { world, threads, pool, merges } = onThreads(2);
    const sources = await sourcesOf(world);
    const result = await world.run(world.plan(sources, small), { ...ROOM, maxSubcompactions: 2, merges });
    expect([threads.started, await world.rowsOf(result)]).toEqual([2, modelOf(sources)]);
    await pool.close();
  });

  it('one that dies interrupts its range alone, which goes on in another', async () => {
    const { world, threads, pool, merges } = onThreads(2);
    const sources = await sourcesOf(world);
    let feeds = 0;
    threads.diesOf = (thread, message) => thread === 1 && message.kind === 'feed' && ++feeds === 3;
    const result = await world.run(world.plan(sources, small), { ...ROOM, maxSubcompactions: 2, merges });
    expect([threads.started, await world.rowsOf(result)]).toEqual([3, modelOf(sources)]);
    await pool.close();
  });

  it('that die over the same table twice end the job, and nothing is left under way', async () => {
    const { world, threads, pool, merges } = onThreads(2);
    const sources = await sourcesOf(world);
    threads.diesOf = (thread, message) => thread > 0 && message.kind === 'feed';
    const options = { ...ROOM, maxSubcompactions: 2, merges };
    const error = await world.run(world.plan(sources, small), options).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'COMPACTION_FAILED' });
    const { length } = world.requests;
    await world.clock.advance(120_000);
    expect(world.requests.length).toBe(length);
    await pool.close();
  });
});

describe('a range that fails', () => {
  it('ends the others with its error; nothing is sent any more', async () => {
    const world = new JobWorld();
    const sources = await sourcesOf(world);
    // In the last blocks of the newest table, which only the last range reads.
    const path = await world.spoil(sources[1]![0]!, (bytes) => bytes.fill(0x5a, 12_000, 12_064));
    const plan = world.plan(sources, small);
    const error = await world.run(plan, { ...ROOM, maxSubcompactions: 3 }).catch((e: unknown) => e);
    expect(error).toMatchObject({ kind: 'corruption', findings: [{ object: { path } }] });
    const { length } = world.requests;
    await world.clock.advance(120_000);
    expect(world.requests.length).toBe(length);
  });

  it('ends the others at once: they write no more tables', async () => {
    const world = new JobWorld();
    const sources = await sourcesOf(world, 900);
    const puts = () => world.requests.filter((request) => request.startsWith('put ')).length;
    const whole = await world.run(world.plan(sources, small), { ...ROOM, maxSubcompactions: 3 });
    expect(puts()).toBe(whole.outputs.length);
    expect(whole.outputs.length).toBeGreaterThan(12);
    world.requests.length = 0;
    world.faulty.add({ op: 'put', action: 'status:403', nth: 1 });
    const error = await world
      .run(world.plan(sources, small), { ...ROOM, maxSubcompactions: 3 })
      .catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'STORE_DENIED' });
    expect(puts()).toBeLessThan(whole.outputs.length / 2);
  });

  it('ends with its signal, all of them', async () => {
    const world = new JobWorld();
    const sources = await sourcesOf(world);
    const controller = new AbortController();
    const store = world.counted();
    const inner = store.put.bind(store);
    store.put = (path, bytes, options) => {
      controller.abort();
      return inner(path, bytes, options);
    };
    const options = { ...ROOM, maxSubcompactions: 3, signal: controller.signal, store };
    const error = await world.run(world.plan(sources, small), options).catch((e: unknown) => e);
    expect(error).toMatchObject({ kind: 'aborted' });
    const { length } = world.requests;
    await world.clock.advance(120_000);
    expect(world.requests.length).toBe(length);
  });

  it('where only the index of an input is damaged, that is said once', async () => {
    const world = new JobWorld();
    const sources = await sourcesOf(world);
    const { info } = sources[1]![0]!.view.view.table;
    await world.spoil(sources[1]![0]!, (bytes) => {
      bytes[info.filterOffset + 2]! ^= 4;
      return bytes;
    });
    const result = await world.run(world.plan(sources, small), { ...ROOM, maxSubcompactions: 3 });
    expect(await world.rowsOf(result)).toEqual(modelOf(sources));
    expect(world.findings).toHaveLength(1);
  });
});

describe('the requests of a job', () => {
  /** By the formula of docs/upkeep.md. */
  async function counted(maxSubcompactions: number) {
    const world = new JobWorld();
    const sources = await sourcesOf(world);
    const plan = world.plan(sources, small);
    const result = await world.run(plan, { ...ROOM, maxSubcompactions });
    const inputs = sources.flat().map(({ id }) => tablePath(id));
    const gets = (path: string) => world.requests.filter((request) => request === `get ${path}`).length;
    const others = world.requests.filter((request) => !inputs.some((path) => request === `get ${path}`));
    return { gets: inputs.map(gets), others, outputs: result.outputs, result, world, sources };
  }

  it('in one range: of each input its end and one stretch', async () => {
    const { gets, others, outputs } = await counted(1);
    expect(gets).toEqual([2, 2, 2, 2, 2]);
    // Of each output the PUT, its end, and its first and last block.
    expect(others).toHaveLength(outputs.length * (1 + 1 + 2));
  });

  it('in ranges: of each input its end once more, and its end and its stretches for each range with keys of it', async () => {
    const { gets, others, outputs, result, world } = await counted(3);
    const said = await lineages(world, result);
    const starts = [1, 2].map((range) => {
      const first = said.findIndex(({ ordinal }) => ordinal === range * 2 ** 24);
      return Buffer.from(outputs[first]!.firstKey).toString();
    });
    const rangesWith = (first: number, last: number) =>
      1 + starts.filter((start) => start > keyOf(first) && start <= keyOf(last)).length;
    const touched = [
      rangesWith(0, 299),
      rangesWith(0, 598),
      rangesWith(0, 297),
      rangesWith(300, 597),
      rangesWith(600, 897),
    ];
    expect(touched.reduce((a, b) => a + b)).toBeGreaterThan(5);
    expect(gets).toEqual(touched.map((ranges) => 1 + 2 * ranges));
    expect(others).toHaveLength(outputs.length * (1 + 1 + 2));
  });

  it.each([
    [1, 5 + 5],
    [2, 5 + 8 + 8],
    [3, 5 + 10 + 10],
  ])('in %i ranges are %i of inputs, and what was estimated, nearly', async (maxSubcompactions, ofInputs) => {
    const { world, sources, result } = await counted(maxSubcompactions);
    const runs = sources.map((tables, i) => ({ id: 9 - i, views: tables.map(({ view }) => view.view) }));
    const tree = { l0: [], runs, lastCompacted: undefined };
    const settings = {
      ...ROOM,
      maxSstBytes: TABLE_BYTES,
      blockBytes: OUTPUT.blockBytes,
      verifyOutputs: 'sample' as const,
    };
    const { requests } = estimateWhole(tree, { ...settings, maxSubcompactions });
    // Job list before and after, manifest, boundary.
    const estimated = requests - 4;
    expect(world.requests.length - result.outputs.length * 4).toBe(ofInputs);
    expect(estimated).toBeGreaterThanOrEqual(world.requests.length);
    expect(estimated).toBeLessThan(2 * world.requests.length);
  });

  it('no more than of one range, where the job is too small to be divided', async () => {
    const world = new JobWorld();
    const sources = await sourcesOf(world, 20);
    await world.run(world.plan(sources, small), { ...ROOM, maxSubcompactions: 3 });
    expect(world.requests.filter((request) => request === `get ${tablePath(sources[0]![0]!.id)}`)).toHaveLength(2);
  });
});

describe('how many ranges there are', () => {
  async function most(shareBytes: number, wanted: number, maxSstBytes = TABLE_BYTES) {
    const world = new JobWorld();
    const { room } = new SlicedMerges(world.clock, () => false);
    const views = (await sourcesOf(world)).flat().map(({ view }) => view.view);
    const bytes = views.reduce((sum, view) => sum + visibleBytes(view), 0);
    return mostRanges({ shareBytes, inputs: 3, maxSstBytes, room }, bytes, wanted);
  }

  it.each([
    ['no more than wanted', 1024, 2, 2],
    ['no more than there is memory for', 4, 4, 2],
    ['one, with the least memory', 0.001, 4, 1],
    ['one, where one is wanted', 1024, 1, 1],
  ])('%s: with %f MiB and at most %i: %i', async (_, mib, wanted, expected) => {
    expect(await most(mib * MIB, wanted)).toBe(expected);
  });

  it('each with its part of the memory', async () => {
    const largest = async (maxSubcompactions: number) => {
      const world = new JobWorld();
      const large = (seq: number) =>
        Array.from({ length: 1600 }, (_, i) => ({ ...put(i, seq + i), value: 'v'.repeat(2000) }));
      const sources = [[await world.table(large(1000))], [await world.table(large(1))]];
      const store = world.counted();
      const lengths: number[] = [];
      const inner = store.get.bind(store);
      store.get = (path, options) => {
        const { range } = options ?? {};
        if (range !== undefined && 'length' in range && range.length < 1e9) lengths.push(range.length);
        return inner(path, options);
      };
      const plan = world.plan(sources, { output: { ...OUTPUT, maxSstBytes: 400_000 } });
      await world.run(plan, { shareBytes: 4 * MIB, maxSubcompactions, store });
      return Math.max(...lengths);
    };
    const one = await largest(1);
    expect(await largest(2)).toBeLessThan(0.6 * one);
  });

  it('no more than there are tables of full size, or of 32 MiB, to be written', async () => {
    expect(await most(1024 * MIB, 64)).toBeGreaterThan(8);
    expect(await most(1024 * MIB, 64, 20_000)).toBe(2);
    expect(await most(1024 * MIB, 64, MIB)).toBe(1);
  });
});

describe('the sources of a range', () => {
  const key = (text: string) => new TextEncoder().encode(text);
  const range = (from: number, to: number): BytesRange => ({
    start: { kind: 'included', key: key(keyOf(from)) },
    end: { kind: 'excluded', key: key(keyOf(to)) },
  });

  it('are those with keys in it, as a valid plan, cut where they reach beyond it', async () => {
    const world = new JobWorld();
    const sources = await sourcesOf(world);
    const l0 = world.plan(sources.slice(0, 2)).sources.map((source) => ({
      ...source,
      level: 'l0' as const,
      runId: undefined,
    }));
    const plan = { ...world.plan(sources), sources: [...l0, ...world.plan(sources).sources.slice(2)] };
    const shapes = (from: number, to: number) => {
      const part = partOf(plan, range(from, to));
      assertPlan(part);
      return part.sources.map(
        ({ level, views }) => `${level} ${views.map(({ view }) => (view.visibleRange ? 'cut' : 'whole')).join(' ')}`,
      );
    };
    expect(shapes(0, 1000)).toEqual(['l0 whole', 'l0 whole', 'run whole whole whole']);
    // The newest table ends with key 299: an input of level 0 without a key is none.
    expect(shapes(300, 1000)).toEqual(['l0 cut', 'run whole whole']);
    expect(shapes(100, 250)).toEqual(['l0 cut', 'l0 cut', 'run cut']);
  });

  it('of a view that is cut already show what is in both ranges', async () => {
    const world = new JobWorld();
    const versions = Array.from({ length: 600 }, (_, i) => put(i, i + 1));
    const shown = await world.table(versions, { visibleRange: range(100, 500) });
    const sources = [
      [shown],
      [
        await world.table(
          versions.map((version) => ({ ...version, seq: version.seq + 1000 })),
          { visibleRange: range(50, 450) },
        ),
      ],
    ];
    const result = await world.run(world.plan(sources, { output: { ...OUTPUT, maxSstBytes: 2000 } }), {
      ...ROOM,
      maxSubcompactions: 4,
    });
    const rows = await world.rowsOf(result);
    expect(rows.map((row) => row.key)).toEqual(Array.from({ length: 450 }, (_, i) => keyOf(50 + i)));
  });
});
