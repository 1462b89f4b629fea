/**
 * Jobs over stored tables: what comes out is what the plain model says; what damage, a store that fails and a signal make of them; what
 * they cost in requests.
 */
import { describe, expect, it } from 'vitest';
import type { CompactionPlan } from '../../../src/compaction/compaction-plan.ts';
import { loadCodec } from '../../../src/format/codecs.ts';
import { tablePath } from '../../../src/format/object-names.ts';
import type { FaultRule } from '../../../src/store/faulty-store.ts';
import { modelOf, overlappingSources, put } from '../../support/job-sources.ts';
import { JobWorld } from '../../support/job-world.ts';
import { OUTPUT } from '../../support/merge-inputs.ts';
import type { ModelVersion } from '../../support/version-model.ts';

const threeSources = (world: JobWorld, rows = 120) => overlappingSources(world, rows, 30_000);

const small: Partial<CompactionPlan> = { output: { ...OUTPUT, maxSstBytes: 1500 } };

describe('a job', () => {
  it('writes what the model leaves, in tables whose names and seals are its own', async () => {
    const world = new JobWorld();
    const sources = await threeSources(world);
    const result = await world.run(world.plan(sources, small));
    expect(await world.rowsOf(result)).toEqual(modelOf(sources));
    expect(result.outputs.length).toBeGreaterThan(3);
    const ids = result.outputs.map(({ table }) => table.id);
    expect(ids).toEqual([...ids].sort());
    expect(ids[0]! > result.jobId).toBe(true);
    expect(result.counts.rowsIn).toBe(360);
    expect(result).toMatchObject({ changedVersions: true, droppedTombstones: false });
    expect(result.bytesIn).toBeGreaterThan(0);
    const sizes = await Promise.all(ids.map(async (id) => (await world.memory.head(tablePath(id)))!.size));
    expect(result.outputs.map(({ sizeBytes }) => sizeBytes)).toEqual(sizes);
  });

  it('makes no table where no row is left', async () => {
    const world = new JobWorld();
    const dead: ModelVersion[] = [{ ...put(1, 5), kind: 'del', value: '' }];
    const sources = [[await world.table(dead)], [await world.table([put(1, 3)])]];
    const before = await world.names();
    const result = await world.run(world.plan(sources, { isBottom: true }));
    expect(result).toMatchObject({ outputs: [], droppedTombstones: true });
    expect(await world.names()).toEqual(before);
  });

  it('reads only blocks that a view shows', async () => {
    const world = new JobWorld();
    const versions = Array.from({ length: 2000 }, (_, i) => put(i, i + 1));
    const text = (s: string) => new TextEncoder().encode(s);
    const visibleRange = {
      start: { kind: 'included', key: text('key-01000') },
      end: { kind: 'excluded', key: text('key-01010') },
    } as const;
    const sources = [[await world.table(versions, { visibleRange })]];
    const result = await world.run(world.plan(sources));
    expect(await world.rowsOf(result)).toEqual(versions.slice(1000, 1010));
    expect(result.bytesIn).toBeLessThan(2000);
  });

  it('reads of each table of a run what its own view shows, wherever blocks begin', async () => {
    const text = (s: string) => new TextEncoder().encode(s);
    const from = (n: number) => ({ kind: 'included', key: text(`key-${String(n).padStart(5, '0')}`) }) as const;
    for (let start = 250; start < 260; start++) {
      const world = new JobWorld();
      const versions = Array.from({ length: 400 }, (_, i) => put(i, i + 1));
      const end = { kind: 'excluded', key: from(190).key } as const;
      const low = await world.table(versions.slice(0, 200), { visibleRange: { start: from(10), end } });
      const high = await world.table(versions.slice(200), {
        visibleRange: { start: from(start), end: { kind: 'unbounded' } },
      });
      const result = await world.run(world.plan([[low, high]]));
      expect(await world.rowsOf(result)).toEqual([...versions.slice(10, 190), ...versions.slice(start)]);
    }
  });

  it('reads and writes every codec that the package brings', async () => {
    for (const name of ['zlib', 'lz4', 'zstd'] as const) {
      const world = new JobWorld();
      const codec = await loadCodec(name);
      const versions = Array.from({ length: 300 }, (_, i) => put(i, i + 1));
      const sources = [[await world.table(versions, { codec })], [await world.table([put(7, 0)])]];
      const result = await world.run(world.plan(sources, { output: { ...OUTPUT, codec: name } }));
      expect(await world.rowsOf(result, codec), name).toEqual(versions);
    }
  });

  it('asks for the end of each input table, each stretch, and of each output the end and a sample', async () => {
    const world = new JobWorld();
    const sources = await threeSources(world);
    const result = await world.run(world.plan(sources));
    const inputs = sources.flat().map(({ id }) => tablePath(id));
    const gets = (path: string) => world.requests.filter((request) => request === `get ${path}`).length;
    // Tables that are smaller than a stretch.
    expect(inputs.map(gets)).toEqual(inputs.map(() => 2));
    const [output] = result.outputs;
    const path = tablePath(output!.table.id);
    expect(world.requests.filter((request) => request.startsWith('put'))).toEqual([`put ${path}`]);
    // 360 rows in blocks of 128 bytes are more than 64 blocks and fewer than 128: one besides the first and the last.
    expect(gets(path)).toBe(1 + 3);
    expect(world.requests.length).toBe(2 * inputs.length + 1 + 4);
  });
});

describe('a job on damaged tables', () => {
  async function damaged(action: Partial<FaultRule>) {
    const world = new JobWorld();
    const sources = await threeSources(world);
    const path = tablePath(sources[1]![0]!.id);
    world.faulty.add({ op: 'get', path, ...action } as FaultRule);
    return { world, sources, path };
  }

  it('heals a flipped bit and goes on', async () => {
    const { world, sources } = await damaged({ action: 'flip', bit: 8 * 600 });
    const result = await world.run(world.plan(sources));
    expect(await world.rowsOf(result)).toEqual(modelOf(sources));
    expect(world.findings.length).toBe(1);
    expect(world.findings[0]).toMatch(/^BAD_CHECKSUM block \d+$/);
  });

  it('is not disturbed by damage on the way', async () => {
    const { world, sources } = await damaged({ action: 'flip', bit: 8 * 600, nth: 2 });
    const result = await world.run(world.plan(sources));
    expect(await world.rowsOf(result)).toEqual(modelOf(sources));
    expect(world.findings).toEqual([]);
  });

  it('ends with the damage where nothing proves what was there, and leaves its inputs alone', async () => {
    const world = new JobWorld();
    const sources = await threeSources(world);
    const path = await world.spoil(sources[1]![0]!, (bytes) => bytes.fill(0x5a, 600, 664));
    const error = await world.run(world.plan(sources)).catch((e: unknown) => e);
    expect(error).toMatchObject({ kind: 'corruption', findings: [{ object: { path } }] });
    expect(await world.memory.head(path)).toBeDefined();
  });

  it('ends with the damage if a table is cut short', async () => {
    const world = new JobWorld();
    const sources = await threeSources(world);
    const path = await world.spoil(sources[1]![0]!, (bytes) => bytes.subarray(0, 700));
    const error = await world.run(world.plan(sources)).catch((e: unknown) => e);
    expect(error).toMatchObject({ kind: 'corruption', findings: [{ object: { path } }] });
  });

  it('ends with the damage if a table is gone', async () => {
    const { world, sources, path } = await damaged({ action: 'delete' });
    const error = await world.run(world.plan(sources)).catch((e: unknown) => e);
    expect(error).toMatchObject({ kind: 'corruption', findings: [{ object: { path } }] });
  });

  it('asks again where an answer comes short', async () => {
    const { world, sources } = await damaged({ action: 'short-body', nth: 2 });
    const result = await world.run(world.plan(sources));
    expect(await world.rowsOf(result)).toEqual(modelOf(sources));
  });
});

describe('a job on a store that fails', () => {
  it('writes a table again under another name if no answer says whether it is there', async () => {
    const world = new JobWorld();
    const sources = await threeSources(world);
    // Neither the answer of the put nor that of the HEAD that would decide it.
    world.faulty.add({ op: 'put', action: 'apply-then-drop', nth: 3 });
    world.faulty.add({ op: 'head', action: 'status:503' });
    const result = await world.run(world.plan(sources, small));
    expect(await world.rowsOf(result)).toEqual(modelOf(sources));
    const outputs = result.outputs.map(({ table }) => tablePath(table.id));
    expect(new Set(outputs).size).toBe(outputs.length);
    expect(result.counts.rowsIn).toBe(360);
  });

  it('ends, as COMPACTION_FAILED, if that never changes', async () => {
    const world = new JobWorld();
    const sources = await threeSources(world);
    world.faulty.add({ op: 'put', action: 'stall' });
    world.faulty.add({ op: 'head', action: 'status:503' });
    const startMs = world.clock.monotonicMs();
    const error = await world.run(world.plan(sources, small), { store: world.uploading() }).catch((e: unknown) => e);
    expect(error).toMatchObject({ kind: 'unavailable', code: 'COMPACTION_FAILED' });
    expect((error as Error).message).toMatch(/in 3 attempts no answer of memory: said whether a table was stored/);
    // Three completions and as many HEADs, of a minute each.
    expect(world.clock.monotonicMs() - startMs).toBeLessThan(400_000);
  });

  it.each<FaultRule>([
    { op: 'put', action: 'fail-before', nth: 1 },
    { op: 'put', action: 'status:503', nth: 3 },
    { op: 'put', action: 'throttle', nth: 2 },
    { op: 'put', action: 'status:500', nth: 3 },
    { op: 'put', action: 'apply-then-drop', nth: 2 },
    { op: 'put', action: 'fail-before', probability: 0.7 },
    { op: 'write', action: 'fail-before', nth: 1 },
    { op: 'write', action: 'status:503', nth: 3 },
    { op: 'write', action: 'throttle', probability: 0.3 },
  ])('writes a table again whose upload failed: $op $action', async (rule) => {
    const world = new JobWorld();
    const sources = await threeSources(world);
    world.faulty.add(rule);
    const result = await world.run(world.plan(sources, small), { store: world.uploading() });
    expect(world.faulty.fired()[rule.action]).toBeGreaterThan(0);
    expect(await world.rowsOf(result)).toEqual(modelOf(sources));
    expect(result.counts.rowsIn).toBe(360);
  });

  it.each(['put', 'write'] as const)('gives up after timeoutMs where each %s of an upload fails', async (op) => {
    const world = new JobWorld();
    const sources = await threeSources(world);
    world.faulty.add({ op, action: 'status:503' });
    const startMs = world.clock.monotonicMs();
    const error = await world.run(world.plan(sources, small), { store: world.uploading() }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'STORE_THROTTLED', retryable: true, cause: { code: 'STORE_THROTTLED' } });
    expect((error as Error).message).toMatch(/was given up after \d+ attempts within 60000 ms; last: .*HTTP 503/);
    const tookMs = world.clock.monotonicMs() - startMs;
    expect(tookMs).toBeGreaterThan(50_000);
    expect(tookMs).toBeLessThan(60_000);
    expect(world.faulty.fired()['status:503']).toBeLessThan(60);
  });

  it('does not write a table again for what cannot pass', async () => {
    const world = new JobWorld();
    const sources = await threeSources(world);
    world.faulty.add({ op: 'put', action: 'status:403' });
    const error = await world.run(world.plan(sources, small), { store: world.uploading() }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'STORE_DENIED' });
    expect(world.faulty.fired()['status:403']).toBe(1);
  });

  it('ends if what it stored is not what it wrote', async () => {
    const world = new JobWorld();
    const sources = await threeSources(world);
    world.faulty.add({ op: 'put', action: 'flip', bit: 8 * 40, nth: 2 });
    const error = await world.run(world.plan(sources, small)).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'COMPACTION_FAILED', kind: 'unavailable' });
  });

  it('finds a flipped bit in any block if all are read back', async () => {
    const world = new JobWorld();
    const sources = await threeSources(world, 600);
    world.faulty.add({ op: 'put', action: 'flip', bit: 8 * 9000 });
    const error = await world.run(world.plan(sources), { verifyOutputs: 'all' }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'COMPACTION_FAILED' });
  });

  it('stops at its signal, and sends nothing any more', async () => {
    const world = new JobWorld();
    const sources = await threeSources(world);
    const controller = new AbortController();
    const store = world.counted();
    const inner = store.get.bind(store);
    let gets = 0;
    store.get = (path, options) => {
      if (++gets === 8) controller.abort();
      return inner(path, options);
    };
    const error = await world.run(world.plan(sources), { signal: controller.signal, store }).catch((e: unknown) => e);
    expect(error).toMatchObject({ kind: 'aborted' });
    const { length } = world.requests;
    await world.clock.advance(120_000);
    expect(world.requests.length).toBe(length);
  });
});
