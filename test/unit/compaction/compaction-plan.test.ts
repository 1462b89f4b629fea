/** Plans and results of jobs: what has to hold of them, and that they can cross a thread. */
import { describe, expect, it } from 'vitest';
import type { Ulid } from '../../../src/common/ulid.ts';
import {
  assertPlan,
  assertRowsAddUp,
  type CompactionPlan,
  inputTables,
  type JobOutput,
  type JobResult,
  type MergeCounts,
  NO_ROWS,
  type OutputForm,
  type PlannedSource,
  type PlannedView,
  rowsGone,
} from '../../../src/compaction/compaction-plan.ts';
import { NO_TS } from '../../../src/format/row-flags.ts';
import type { TableInfo } from '../../../src/format/table-info.ts';

const bytes = (s: string) => new TextEncoder().encode(s);
const id = (n: number) => `01M7W60ETH9EVAJJ6RDPRXZ6${String(n).padStart(2, '0')}` as Ulid;

const INFO: TableInfo = {
  firstEntry: bytes('a'),
  lastEntry: bytes('z'),
  indexOffset: 100,
  indexLength: 20,
  filterOffset: 100,
  filterLength: 0,
  codec: 'none',
  tableType: 'compacted',
  statsOffset: 120,
  statsLength: 10,
  filterForm: 'legacy',
};

const planned = (n: number): PlannedView => ({
  view: { viewId: id(n), table: { id: id(n), info: INFO, formatVersion: 2 }, visibleRange: undefined },
  owner: undefined,
});
const l0 = (n: number): PlannedSource => ({ level: 'l0', runId: undefined, views: [planned(n)] });
const run = (runId: number, ...tables: number[]): PlannedSource => ({
  level: 'run',
  runId,
  views: tables.map(planned),
});

const OUTPUT: OutputForm = {
  blockBytes: 4096,
  codec: 'none',
  filter: { form: 'composite', bitsPerKey: 10, minKeys: 1000 },
  maxSstBytes: 1 << 20,
};

const planOf = (changes: Partial<CompactionPlan> = {}): CompactionPlan => ({
  jobId: id(1),
  manifestId: 7,
  segment: undefined,
  sources: [l0(9), run(3, 5, 6), run(2)],
  destination: 2,
  barrier: 40,
  tickMs: 1_800_000_000_000,
  isBottom: true,
  keptWhole: [{ gte: bytes('a'), lte: bytes('b') }],
  keptTombstones: [],
  output: OUTPUT,
  ...changes,
});

describe('a plan', () => {
  it('crosses a thread as it is', () => {
    const plan = planOf();
    assertPlan(plan);
    expect(structuredClone(plan)).toEqual(plan);
  });

  it('names each table that is read once, also one with several views', () => {
    expect(inputTables(planOf({ sources: [l0(9), run(3, 5, 5, 6)] }))).toEqual([id(9), id(5), id(6)]);
  });

  it.each<[string, Partial<CompactionPlan>]>([
    ['a job has a source', { sources: [] }],
    ['a source of level 0 is one table', { sources: [{ ...l0(9), views: [planned(1), planned(2)] }] }],
    ['come before runs', { sources: [run(3, 5), l0(9)] }],
    ['runs have ids', { sources: [{ ...run(3, 5), runId: undefined }] }],
    ['a barrier is a sequence number', { barrier: -1 }],
    ['a run has an id of 32 bits', { destination: 2 ** 32 }],
    ['a table has room for a block', { output: { ...OUTPUT, maxSstBytes: 100 } }],
    [
      'ascend and are disjoint',
      {
        keptWhole: [
          { gte: bytes('a'), lte: undefined },
          { gte: bytes('b'), lte: undefined },
        ],
      },
    ],
    [
      'ascend and are disjoint',
      {
        keptTombstones: [
          { gte: bytes('a'), lte: bytes('b') },
          { gte: bytes('b'), lte: bytes('c') },
        ],
      },
    ],
  ])('is refused unless %s', (rule, changes) => {
    expect(() => assertPlan(planOf(changes))).toThrow(rule);
  });
});

describe('a result', () => {
  const counts: MergeCounts = {
    ...NO_ROWS,
    rowsIn: 28,
    rowsOut: 7,
    superseded: 1,
    repeated: 2,
    expired: 3,
    folded: 4,
    tombstones: 5,
    filtered: 6,
    madeTombstones: 3,
    replaced: 4,
  };

  it('crosses a thread as it is', () => {
    const output: JobOutput = {
      table: { id: id(2), info: INFO, formatVersion: 2 },
      sizeBytes: 1000,
      rows: 7,
      minSeq: 1,
      maxSeq: 9,
      maxCreateTs: NO_TS,
      firstKey: bytes('a'),
      lastKey: bytes('z'),
    };
    const result: JobResult = {
      jobId: id(1),
      outputs: [output],
      counts,
      bytesIn: 1,
      bytesOut: 2,
      droppedTombstones: true,
      changedVersions: true,
    };
    expect(structuredClone(result)).toEqual(result);
  });

  it('has a fate for every row', () => {
    expect(rowsGone(counts)).toBe(21);
    assertRowsAddUp(counts);
    assertRowsAddUp(NO_ROWS);
    expect(() => assertRowsAddUp({ ...counts, rowsIn: 29 })).toThrow('rows of a job add up');
    expect(() => assertRowsAddUp({ ...counts, madeTombstones: 4 })).toThrow('rows that were changed are left');
  });
});
