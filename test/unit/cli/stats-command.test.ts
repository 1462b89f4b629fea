/** `shaledb stats`: the page, in lines of different length, as JSON, and with which code it ends. */
import { describe, expect, it } from 'vitest';
import type { StatsReport, Tally } from '../../../src/admin.ts';
import { EXIT } from '../../../src/cli/exit-codes.ts';
import { runWith } from '../../support/command-line.ts';
import { tableFinding } from '../../support/report-samples.ts';
import { treeReportOf } from '../../support/tree-reports.ts';

const DB = 'file:///db';
const NOW_MS = 1_795_250_436_000;

const tally = (objects: number, bytes: number): Tally => ({ objects, bytes });

function report(more: Partial<StatsReport> = {}): StatsReport {
  const directory = (name: string, needed: Tally, unneeded: Tally, young = tally(0, 0)) => ({
    directory: name,
    stored: tally(needed.objects + unneeded.objects + young.objects, needed.bytes + unneeded.bytes + young.bytes),
    needed,
    unneeded,
    young,
    foreign: tally(0, 0),
  });
  const [tree] = treeReportOf(
    'L0: 900000{900/9000} 850000{10/9000} | 5:4000000<c,m>{0/41000}+4000000<n,x>{0/40000}',
  ).trees;
  return {
    schemaVersion: 1,
    manifestId: 1234n,
    writtenAtMs: NOW_MS - 90_000,
    headerVersion: 2,
    initialized: true,
    nowMs: NOW_MS,
    databaseId: '0123456789abcdef0123456789abcdef',
    writer: { epoch: 3n, owner: 'db1:4711', closed: false },
    compactor: { epoch: 2n },
    seqs: { inTables: 99_000n, durable: 99_120n, snapshots: 90_000n },
    log: { objects: 16, bytes: 1_200_000, replayAfterWalId: 41n, lastWalId: 57n },
    level0: tree.l0.totals,
    runs: { ...tree.runs[0].totals, runs: 1 },
    trees: 1,
    amplification: { space: 1.218, stored: 1.3 },
    gets: { tables: 3, cold: 6, warm: 1 },
    checkpoints: [
      { id: 'c-1', name: 'nightly', manifestId: 1200n, createdAtMs: NOW_MS - 7_200_000 },
      { id: 'c-2', manifestId: 1100n, createdAtMs: NOW_MS - 86_400_000, expiresAtMs: NOW_MS - 60_000 },
    ],
    parents: [],
    directories: [
      directory('manifest/', tally(3, 4000), tally(120, 160_000)),
      directory('wal/', tally(17, 1_300_000), tally(2, 150_000)),
      directory('compacted/', tally(4, 9_750_000), tally(5, 2_000_000), tally(1, 70_000)),
      directory('compactions/', tally(1, 500), tally(0, 0)),
      directory('gc/', tally(2, 4), tally(0, 0)),
      directory('shale/', tally(2, 300), tally(0, 0)),
    ],
    total: { ...directory('', tally(29, 11_054_804), tally(127, 2_310_000), tally(1, 70_000)) },
    findings: [],
    requests: 23,
    tookMs: 60,
    ...more,
  };
}

const run = (words: readonly string[] = [], result = report(), columns = 80) =>
  runWith(['stats', DB, ...words], { tools: { stats: async () => result }, columns });

describe('stats', () => {
  it.each([80, 120])('is one page in %d columns', async (columns) => {
    const { code, out } = await run([], report(), columns);
    expect(code).toBe(EXIT.clean);
    expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(columns);
    expect(out.split('\n').length).toBeLessThan(50);
    if (columns === 80)
      expect(`\n${out}`).toMatchInlineSnapshot(`
      "
      9.3 MiB in 4 tables, 1.1 MiB in the log, 2.2 MiB unneeded.

      manifest   1,234, the newest, of version 2
      written    2026-11-21T08:39:06.000Z (90 s ago)
      database   0123456789abcdef0123456789abcdef
      writer     epoch 3, db1:4711
      compactor  epoch 2
      log        replayed from object 42 on; the last object is 57
      seqs       up to 99,000 in tables, 99,120 durable in the log
      snapshots  from seq 90,000 on

      in use                            bytes    rows  tombstones
      log          16 objects         1.1 MiB       -           -
      level 0      2 tables           1.7 MiB  18,000   910 (5 %)
      sorted runs  2 tables in 1 run  7.6 MiB  81,000     0 (0 %)

      space  tables are about 1.22 times what a full compaction would leave
             the store holds 1.30 times what is needed
      gets   of one key ask at most 3 tables: 6 requests with nothing in memory
             1 request with indexes and filters in memory

      checkpoint  manifest   age  until (UTC)
      nightly        1,200   2 h  without end
      c-2            1,100  24 h  2026-11-21 08:39:36, expired

      stored in     objects      bytes    needed  unneeded      bytes     young
      manifest/         123  160.2 KiB   4,000 B       120  156.3 KiB       0 B
      wal/               19    1.4 MiB   1.2 MiB         2  146.5 KiB       0 B
      compacted/         10   11.3 MiB   9.3 MiB         5    1.9 MiB  68.4 KiB
      compactions/        1      500 B     500 B         0        0 B       0 B
      gc/                 2        4 B       4 B         0        0 B       0 B
      shale/              2      300 B     300 B         0        0 B       0 B
      together          157   12.8 MiB  10.5 MiB       127    2.2 MiB  68.4 KiB

      cost  23 requests, 60 ms
      "
    `);
  });

  it('says what is not known, and leaves out what is not there', async () => {
    const { directories, total, writtenAtMs: _w, databaseId: _d, log: _l, ...rest } = report();
    const unknown = ({ stored, foreign }: Pick<(typeof directories)[number], 'stored' | 'foreign'>) => ({
      stored,
      foreign,
    });
    const bare: StatsReport = {
      ...rest,
      initialized: false,
      writer: { epoch: 1n },
      compactor: { epoch: 0n },
      seqs: { inTables: 5n, snapshots: 0n },
      level0: { ...rest.level0, rows: 0, tombstones: 0, uncounted: rest.level0.views },
      amplification: {},
      gets: { tables: 0, cold: 0, warm: 0 },
      trees: 3,
      checkpoints: [],
      parents: ['a/parent'],
      directories: directories.map((d) => ({ directory: d.directory, ...unknown(d) })),
      total: { ...unknown(total), foreign: { objects: 2, bytes: 9 } },
    };
    expect(`\n${(await run([], bare)).out}`).toMatchInlineSnapshot(`
      "
      9.3 MiB in 4 tables.

      manifest   1,234, the newest, of version 2
      state      a clone that is still being set up
      writer     epoch 1
      compactor  none yet
      log        in another store, not listed
      seqs       up to 5 in tables
      segments   tables in 3 trees
      clone of   a/parent

      in use                            bytes    rows  tombstones
      log          -                        -       -           -
      level 0      2 tables           1.7 MiB       -           -
      sorted runs  2 tables in 1 run  7.6 MiB  81,000     0 (0 %)

      stored in     objects      bytes  needed  unneeded  bytes  foreign
      manifest/         123  160.2 KiB       ?         ?      ?        0
      wal/               19    1.4 MiB       ?         ?      ?        0
      compacted/         10   11.3 MiB       ?         ?      ?        0
      compactions/        1      500 B       ?         ?      ?        0
      gc/                 2        4 B       ?         ?      ?        0
      shale/              2      300 B       ?         ?      ?        0
      together          157   12.8 MiB       ?         ?      ?        2

      rows  of 2 tables not known
      cost  23 requests, 60 ms
      "
    `);
  });

  it('counts checkpoints that are too many to be named', async () => {
    const [one] = report().checkpoints;
    const { out } = await run([], report({ checkpoints: Array.from({ length: 14 }, () => one) }));
    expect(out).toContain('and 4 more.');
  });

  it('passes its options on, and is one JSON document', async () => {
    const calls: unknown[] = [];
    const stats = async (_: unknown, options: unknown) => {
      calls.push(options);
      return report();
    };
    const { out } = await runWith(['stats', DB, '--no-tails', '--json', '--timeout-ms', '9'], { tools: { stats } });
    expect(calls).toMatchObject([{ tails: false, timeoutMs: 9 }]);
    expect(JSON.parse(out)).toMatchObject({
      schemaVersion: 1,
      type: 'stats',
      manifestId: { $bigint: '1234' },
      total: { unneeded: { objects: 127 } },
    });
  });

  it.each<[string, Parameters<typeof tableFinding>[0], number]>([
    ['damage', {}, EXIT.damage],
    ['what cannot be read', { severity: 'unknown' }, EXIT.unknown],
    ['a note', { severity: 'note' }, EXIT.clean],
  ])('with %s ends with its code', async (_, more, code) => {
    expect((await run([], report({ findings: [tableFinding(more)] }))).code).toBe(code);
  });
});
