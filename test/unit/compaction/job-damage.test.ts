/**
 * Jobs over tables of which every part is damaged once, by a bit and by a burst: what comes out is what the plain model says, or the job ends
 * with the damage. And outputs of which every part is damaged between the merge and the read-back: none of them is ever a result.
 *
 * Every bit by `SHALEDB_BIT_STEP=1`; otherwise a sample that meets every block and every other part several times.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import type { CompactionPlan, JobResult } from '../../../src/compaction/compaction-plan.ts';
import { NO_CODEC } from '../../../src/format/codecs.ts';
import { tablePath } from '../../../src/format/object-names.ts';
import { decodeFooter, FOOTER_BYTES } from '../../../src/format/table-layout.ts';
import type { FaultRule } from '../../../src/store/faulty-store.ts';
import { JobWorld, type StoredTable } from '../../support/job-world.ts';
import { OUTPUT, placesOf } from '../../support/merge-inputs.ts';
import { type ModelVersion, mergedModel } from '../../support/version-model.ts';

const STEP = Number(process.env['SHALEDB_BIT_STEP'] ?? 331);
/** Lengths of bursts: less than a row, some rows, and more than a block. */
const BURSTS = [3, 48, 300];
const LIMIT_MS = 900_000;

const put = (n: number, seq: number): ModelVersion => ({
  key: `key-${String(n).padStart(4, '0')}`,
  seq,
  kind: 'put',
  value: `value of ${n} at ${seq} ${'x'.repeat(n % 30)}`,
  expires: undefined,
  created: 1000 + seq,
});
const del = (n: number, seq: number): ModelVersion => ({ ...put(n, seq), kind: 'del', value: '' });

interface Part {
  name: string;
  start: number;
  end: number;
}

/** The parts of a stored table: its blocks, and what follows them. */
async function partsOf(world: JobWorld, { id, view }: Pick<StoredTable, 'id' | 'view'>): Promise<Part[]> {
  const { bytes } = (await world.memory.get(tablePath(id)))!;
  const { info } = view.view.table;
  const blocks = placesOf({ bytes, info, codec: NO_CODEC, formatVersion: 2, visibleRange: undefined });
  const { infoOffset } = decodeFooter(bytes.subarray(-FOOTER_BYTES), bytes.length);
  const section = (name: string, start: number, length: number) => ({ name, start, end: start + length });
  const parts = [
    ...blocks.map(({ start, end }, i) => ({ name: `block ${i}`, start, end })),
    section('filter', info.filterOffset, info.filterLength),
    section('index', info.indexOffset, info.indexLength),
    section('stats', info.statsOffset, info.statsLength),
    section('info', infoOffset, bytes.length - FOOTER_BYTES - infoOffset),
    section('footer', bytes.length - FOOTER_BYTES, FOOTER_BYTES),
  ].filter(({ start, end }) => end > start);
  const sealed = Math.max(...parts.filter(({ start }) => start < infoOffset).map(({ end }) => end));
  return sealed < infoOffset ? [...parts, { name: 'seal', start: sealed, end: infoOffset }] : parts;
}

let world: JobWorld;
let sources: StoredTable[][];
let expected: ModelVersion[];
let plan: CompactionPlan;

/** Three sources that hide, delete and keep each other's keys; the last is a run of two tables. */
async function prepare(isSealed: boolean): Promise<void> {
  world = new JobWorld();
  const rows = (from: number, to: number, step: number, seq: number) =>
    Array.from({ length: Math.ceil((to - from) / step) }, (_, i) => {
      const n = from + i * step;
      return n % 5 === 0 ? del(n, seq + i) : put(n, seq + i);
    });
  const table = (versions: ModelVersion[]) => world.table(versions, { isSealed });
  sources = [
    [await table(rows(0, 60, 3, 3000))],
    [await table(rows(0, 60, 2, 2000))],
    [await table(rows(0, 30, 1, 1000)), await table(rows(30, 60, 1, 1500))],
  ];
  expected = mergedModel(
    sources.map((tables) => tables.flatMap(({ versions }) => [...versions])),
    {
      barrier: Number.MAX_SAFE_INTEGER,
      tickMs: undefined,
      isBottom: true,
      keptWhole: [],
      keptTombstones: [],
      fold: undefined,
      filter: undefined,
    },
  );
  plan = world.plan(sources, { isBottom: true, output: { ...OUTPUT, maxSstBytes: 1200 } });
}

/** Runs the job and takes its tables away again; those that it has read are as before, and its rows are those of the model. */
async function run(where: string, verifyOutputs: 'all' | 'sample' = 'sample'): Promise<JobResult | Error> {
  const before = new Set(await world.names());
  world.findings.length = 0;
  const result = await world.run(plan, { verifyOutputs }).catch((error: Error) => error);
  world.faulty.clear();
  if (!(result instanceof Error)) expect(await world.rowsOf(result), where).toEqual(expected);
  const after = await world.names();
  expect(
    after.filter((name) => before.has(name)),
    where,
  ).toEqual([...before]);
  await world.memory.delete(after.filter((name) => !before.has(name)));
  return result;
}

async function runWith(fault: FaultRule, where: string, verify?: 'all' | 'sample'): Promise<JobResult | Error> {
  world.faulty.add(fault);
  return run(where, verify);
}

/** Damage that is stored. */
interface Damage {
  what: string;
  isBit: boolean;
  apply(bytes: Uint8Array): void;
}

/** Bits of a part, so that each part has some. */
function* bitsOf({ start, end }: Part): Generator<number> {
  const step = Math.max(1, Math.min(STEP, 8 * (end - start) - 1));
  for (let bit = 8 * start + (start % 8); bit < 8 * end; bit += step) yield bit;
}

function* damagesOf(part: Part): Generator<Damage> {
  for (const bit of bitsOf(part)) {
    const apply = (bytes: Uint8Array) => void (bytes[bit >>> 3] ^= 1 << (bit & 7));
    yield { what: `${part.name}: bit ${bit}`, isBit: true, apply };
  }
  for (const length of BURSTS) {
    for (let at = part.start; at < part.end; at += Math.max(1, Math.floor(STEP / 4))) {
      const to = Math.min(at + length, part.end);
      const apply = (bytes: Uint8Array) => {
        for (let i = at; i < to; i++) bytes[i] ^= 0xa5 + (i % 7);
      };
      yield { what: `${part.name}: ${to - at} bytes at ${at}`, isBit: false, apply };
    }
  }
}

interface Verdicts {
  /** Without a finding: the damage was not seen. */
  equal: number;
  healed: number;
  ended: number;
}

/** Each damage to parts with such names leaves the rows of the model, or an error that names the table. */
async function damageInputs(names: RegExp): Promise<{ ofBits: Verdicts; ofBursts: Verdicts }> {
  const none: Verdicts = { equal: 0, healed: 0, ended: 0 };
  const [ofBits, ofBursts] = [{ ...none }, { ...none }];
  for (const table of sources.flat()) {
    const path = tablePath(table.id);
    const { bytes } = (await world.memory.get(path))!;
    for (const part of (await partsOf(world, table)).filter(({ name }) => names.test(name))) {
      for (const { what, isBit, apply } of damagesOf(part)) {
        const verdicts = isBit ? ofBits : ofBursts;
        await world.spoil(table, (copy) => {
          apply(copy);
          return copy;
        });
        const result = await run(what);
        if (result instanceof Error) {
          expect(result, what).toMatchObject({ kind: 'corruption', findings: [{ object: { path } }] });
          verdicts.ended++;
        } else if (world.findings.length > 0) verdicts.healed++;
        else verdicts.equal++;
        await world.spoil(table, () => bytes);
      }
    }
  }
  return { ofBits, ofBursts };
}

describe('a job on tables that are sealed', () => {
  beforeEach(() => prepare(true));

  it('undoes each inverted bit of each block; a burst it undoes, or it ends with it', {
    timeout: LIMIT_MS,
  }, async () => {
    const { ofBits, ofBursts } = await damageInputs(/^block/);
    expect(ofBits).toMatchObject({ equal: 0, ended: 0 });
    expect(ofBits.healed).toBeGreaterThan(50);
    expect(ofBursts.equal).toBe(0);
    expect(ofBursts.ended).toBeGreaterThan(50);
  });

  it('does without what is damaged after the blocks, or undoes it', {
    timeout: LIMIT_MS,
  }, async () => {
    const { ofBits, ofBursts } = await damageInputs(/^(filter|index|stats|seal|info|footer)/);
    expect(ofBits).toMatchObject({ equal: 0, ended: 0 });
    expect(ofBursts).toMatchObject({ equal: 0, ended: 0 });
    expect(Math.min(ofBits.healed, ofBursts.healed)).toBeGreaterThan(50);
  });

  it('is not changed by damage on the way', { timeout: LIMIT_MS }, async () => {
    for (const table of sources.flat()) {
      for (const { name, start, end } of await partsOf(world, table)) {
        for (const nth of [1, 2]) {
          const at = Math.floor((start + end) / 2);
          const fault = { op: 'get', path: tablePath(table.id), action: 'burst', at, length: 4, nth } as const;
          expect(await runWith(fault, name), name).not.toBeInstanceOf(Error);
        }
      }
    }
  });
});

describe('a job on tables that SlateDB wrote', () => {
  beforeEach(() => prepare(false));

  it('is right, or ends, whatever is damaged', { timeout: LIMIT_MS }, async () => {
    const { ofBits, ofBursts } = await damageInputs(/./);
    expect([ofBits.equal, ofBursts.equal]).toEqual([0, 0]);
    expect(ofBits.healed).toBeGreaterThan(50);
    expect(ofBursts.ended).toBeGreaterThan(50);
  });
});

describe('the tables that a job stores', () => {
  beforeEach(() => prepare(true));

  async function storedParts(): Promise<{ name: string; parts: Part[]; nth: number }[]> {
    const result = await world.run(plan);
    const tables = await Promise.all(
      result.outputs.map(async ({ table }, i) => {
        const view = { view: { viewId: table.id, table, visibleRange: undefined }, owner: undefined };
        return { name: `output ${i}`, parts: await partsOf(world, { id: table.id, view }), nth: i + 1 };
      }),
    );
    await world.memory.delete(result.outputs.map(({ table }) => tablePath(table.id)));
    return tables;
  }

  it.each(['all', 'sample'] as const)(
    'are no result if a part of one is not as it was written (%s)',
    { timeout: LIMIT_MS },
    async (verify) => {
      const tables = await storedParts();
      expect(tables.length).toBeGreaterThan(2);
      let count = 0;
      for (const { name, parts, nth } of tables) {
        // A sample has the first block and the last one.
        const blocks = parts.filter((part) => part.name.startsWith('block'));
        const seen = parts.filter((part) => verify === 'all' || !blocks.slice(1, -1).includes(part));
        for (const part of seen) {
          const rules: FaultRule[] = [...bitsOf(part)].map((bit) => ({ op: 'put', action: 'flip', bit, nth }));
          for (const length of BURSTS) {
            rules.push({
              op: 'put',
              action: 'burst',
              at: part.start,
              length: Math.min(length, part.end - part.start),
              nth,
            });
          }
          for (const rule of rules) {
            const result = await runWith(rule, name, verify);
            expect(result, `${name}, ${part.name}: ${JSON.stringify(rule)}`).toMatchObject({
              kind: expect.stringMatching(/corruption|unavailable/),
            });
            count++;
          }
        }
      }
      expect(count).toBeGreaterThan(100);
    },
  );
});
