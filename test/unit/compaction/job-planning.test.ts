/** Plans as data: what a job is made of on a manifest (the notation: manifest-script.ts), and what its result becomes. */
import { describe, expect, it } from 'vitest';
import type { KeyRange } from '../../../src/common/key-range.ts';
import { type Ulid, ulidFromHalves, ulidToHalves } from '../../../src/common/ulid.ts';
import { type CompactionPlan, type JobResult, NO_ROWS } from '../../../src/compaction/compaction-plan.ts';
import {
  finishedJobOf,
  keptWhole,
  planJob,
  runningJobOf,
  sourcesNamed,
  sourcesOfPlan,
} from '../../../src/compaction/job-planning.ts';
import { treeFacts } from '../../../src/compaction/scheduling.ts';
import { digestOfSources } from '../../../src/format/jobs-record.ts';
import type { LedgerEntry } from '../../../src/lsm/tree/damage-ledger.ts';
import { parseManifest, parseView, tableId, tableName, tableRef } from '../../support/manifest-script.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const OUTPUT = {
  blockBytes: 4096,
  codec: 'none',
  filter: { form: 'legacy', bitsPerKey: 10, minKeys: 1000 },
  maxSstBytes: 1 << 20,
} as const;

function loss(...keys: string[]): LedgerEntry {
  const ranges = keys.map((key): KeyRange => {
    const [gte, lte] = key.split('..');
    return { gte: utf8(gte!), lte: lte === '' ? undefined : utf8(lte!) };
  });
  return {
    id: keys.join(),
    repairId: '',
    object: 'o',
    level: 'run',
    at: '',
    keys: ranges,
    seqs: [],
    exact: false,
    state: 'open',
  };
}

function plan(script: string, tree: string, count: number, runs: number[], open: LedgerEntry[] = []): CompactionPlan {
  const manifest = parseManifest(script);
  const facts = treeFacts(manifest, () => undefined).find(({ name }) => name === tree)!;
  const proposal = { tree, l0: facts.l0.slice(facts.l0.length - count), runs };
  return planJob(tableId('J'), proposal, 9, {
    manifest: { id: 7, manifest },
    losses: { version: 1, open },
    output: OUTPUT,
    tickMs: 70,
  });
}

describe('a plan', () => {
  it('has the sources as the manifest lists them, with the databases of their tables', () => {
    const { sources, segment, manifestId, barrier, tickMs, destination } = plan(
      'l0 C v:B[bm,) A; run 7 D E; run 4; snap 5; seq 9; parent q D',
      '',
      2,
      [7, 4],
    );
    const said = sources.map(({ level, runId, views }) => [
      level,
      runId,
      views
        .map(({ view, owner }) =>
          `${tableName(view.viewId)}:${tableName(view.table.id)}${view.visibleRange ? '[' : ''} ${owner ?? ''}`.trim(),
        )
        .join(', '),
    ]);
    expect(said).toEqual([
      ['l0', undefined, 'v:B['],
      ['l0', undefined, 'A:A'],
      ['run', 7, 'D:D q, E:E'],
      ['run', 4, ''],
    ]);
    expect({ segment, manifestId, barrier, tickMs, destination }).toEqual({
      segment: undefined,
      manifestId: 7,
      barrier: 5,
      tickMs: 70,
      destination: 9,
    });
  });

  it.each([
    ['l0 B A', '', 2, [], true],
    ['l0 B A; run 4 E', '', 2, [], false],
    ['l0 B A; run 4', '', 2, [], true],
    ['l0 B A; run 4 E', '', 2, [4], true],
    ['run 7 D; run 4 E; run 2 F', '', 0, [7, 4], false],
    ['run 7 D; run 4 E; run 2', '', 0, [7, 4], true],
    ['l0 A; seg p l0 B; seg p run 4 E', '70', 1, [], false],
    ['l0 A; run 4 E; seg p l0 B', '70', 1, [], true],
  ] as const)(
    'is at the bottom where no row of the tree is older: %s | %s %s %j: %s',
    (script, tree, count, runs, isBottom) => {
      expect(plan(script, tree, count, [...runs]).isBottom).toBe(isBottom);
    },
  );

  it('keeps the keys of open losses whole, as ranges that ascend and do not overlap', () => {
    const kept = (...open: LedgerEntry[]) =>
      keptWhole(open)
        .map(({ gte, lte }) => `${text(gte)}..${lte === undefined ? '' : text(lte)}`)
        .join(' ');
    expect(kept()).toBe('');
    expect(kept(loss('m..p', 'a..c'), loss('b..d'))).toBe('a..d m..p');
    expect(kept(loss('a..z'), loss('b..d'))).toBe('a..z');
    expect(kept(loss('a..c'), loss('c..d'))).toBe('a..d');
    expect(kept(loss('b..'), loss('a..a'), loss('x..z'))).toBe('a..a b..');
    expect(kept(loss('b..d'), loss())).toBe('..');
    expect(plan('l0 B A', '', 2, [], [loss('a..c')]).keptWhole).toEqual([{ gte: utf8('a'), lte: utf8('c') }]);
  });

  it('of what the manifest has not is a fault of the program', () => {
    const broken = () => plan('l0 B A', '', 2, [4]);
    expect(broken).toThrow(expect.objectContaining({ code: 'INVARIANT' }));
  });

  it('is kept in the seal by its ids and a digest', () => {
    const job = plan('seg p l0 B A; seg p run 7 D; snap 5; seq 9', '70', 2, [7]);
    expect(runningJobOf(job)).toEqual({
      id: tableId('J'),
      segment: utf8('p'),
      destination: 9,
      isBottom: true,
      retentionMinSeq: 5,
      tickMs: 70,
      sourcesDigest: digestOfSources([[parseView('B')], [parseView('A')], [parseView('D')]]),
      l0ViewIds: [tableId('B'), tableId('A')],
      runs: [7],
      parts: [],
    });
    expect(runningJobOf({ ...job, tickMs: undefined, segment: undefined })).toMatchObject({
      tickMs: Number.NEGATIVE_INFINITY,
      segment: new Uint8Array(0),
    });
  });
});

describe('a result', () => {
  const above = (by: number) => {
    const { high, low } = ulidToHalves(tableId('J'));
    return ulidFromHalves(high, low + BigInt(by));
  };
  const output = (id: Ulid, keys: string) => ({
    table: { ...tableRef('A'), id },
    sizeBytes: 1,
    rows: 1,
    minSeq: 1,
    maxSeq: 1,
    maxCreateTs: 0,
    firstKey: utf8(keys.split('..')[0]!),
    lastKey: utf8(keys.split('..')[1]!),
  });
  const result = (...outputs: JobResult['outputs'][number][]): JobResult => ({
    jobId: tableId('J'),
    outputs,
    counts: NO_ROWS,
    bytesIn: 1,
    bytesOut: 1,
    droppedTombstones: true,
    changedVersions: false,
  });
  const job = plan('l0 B A; run 7 D', '', 2, [7]);

  it('becomes what the commit has to know', () => {
    const finished = finishedJobOf(job, result(output(above(1), 'a..c'), output(above(2), 'c..d')), new Set(['L']));
    expect(finished).toMatchObject({
      hasFreshDestination: false,
      droppedTombstones: true,
      changedVersions: false,
      destination: 9,
    });
    expect(finished.outputs.map(({ viewId, table }) => viewId === table.id)).toEqual([true, true]);
    expect([finished.knownLosses.has('L'), finished.tree]).toEqual([true, '']);
    expect(sourcesOfPlan(job)).toMatchObject({
      tree: '',
      l0: [{ tableId: tableId('B') }, { tableId: tableId('A') }],
      runs: [{ id: 7 }],
    });
  });

  it.each([
    ['of another job', { ...result(), jobId: tableId('K') }],
    ['with a name that is not above its job', result(output(tableId('J'), 'a..c'))],
    ['with a name twice', result(output(above(1), 'a..c'), output(above(1), 'd..e'))],
    ['whose tables do not ascend', result(output(above(1), 'd..e'), output(above(2), 'a..c'))],
    ['whose tables overlap', result(output(above(1), 'a..d'), output(above(2), 'c..e'))],
    ['with a table that ends before it begins', result(output(above(1), 'd..a'))],
  ])('%s is a fault of the program', (_, broken) => {
    expect(() => finishedJobOf(job, broken, new Set())).toThrow(expect.objectContaining({ code: 'INVARIANT' }));
  });
});

it.each([
  ['l0 C B A; run 7 D; run 4 E', { l0: ['A', 'B'], runs: [4, 7] }, 'B A 7 4'],
  ['l0 C B A', { l0: ['X'], runs: [] }, `view ${tableId('X')} is gone`],
  ['l0 v:B[bm,) v:B[,bm)', { l0: ['v'], runs: [] }, `several views have the id ${tableId('v')}`],
  ['l0 A', { l0: ['A'], runs: [3] }, 'run 3 is gone'],
])('sources that others name by ids are found: %s, %j: %s', (script, { l0, runs }, found) => {
  const sources = sourcesNamed(parseManifest(script), { tree: '', l0ViewIds: l0.map(tableId), runs });
  const said =
    typeof sources === 'string'
      ? sources
      : [...sources.l0.map((view) => tableName(view.viewId)), ...sources.runs.map(({ id }) => id)].join(' ');
  expect(said).toBe(found);
});
