/** `shaledb tree`: how trees are drawn, in lines of different length, and with which code it ends. */
import { describe, expect, it } from 'vitest';
import type { TreeReport } from '../../../src/admin.ts';
import { EXIT } from '../../../src/cli/exit-codes.ts';
import { COLOUR, widthOf } from '../../../src/cli/paint.ts';
import { treeText } from '../../../src/cli/tree-text.ts';
import { runWith } from '../../support/command-line.ts';
import { tableFinding } from '../../support/report-samples.ts';
import { treeReportOf } from '../../support/tree-reports.ts';

const DB = 'file:///db';
/** Sizes as a tree that was compacted in tiers has them. */
const TIERS =
  'L0: 900000{900/9000} 850000{10/9000} | 5:4000000<c,m>{0/41000}+4000000<n,x>{0/40000} 2:9000000<a,f>{0/90000}+9000000<f,g>{0/90000}+9000000<h,z>{0/90000}';

function run(report: TreeReport, words: readonly string[] = [], columns = 80) {
  return runWith(['tree', DB, ...words], { tools: { treeInspect: async () => report }, columns });
}

async function drawn(notation: string, columns: number, words: readonly string[] = []): Promise<string> {
  return `\n${(await run(treeReportOf(notation), words, columns)).out}`;
}

describe('tree', () => {
  it('draws a line for each table of level 0 and each run, in 80 columns with the keys below', async () => {
    expect(await drawn(TIERS, 80)).toMatchInlineSnapshot(`
      "
      2 tables in level 0, 5 tables in 2 sorted runs: 35.0 MiB, 369,000 rows.

      manifest  1,234, the newest, written 2024-06-10T04:33:48.400Z (90 s ago)
      gets      of one key ask at most 5 tables
      seals     7 of 7 tables have one
      cost      12 requests, 34 ms

      level  tables                                   size    rows  deletes  age  seal
      L0     ..000000T2  #                       878.9 KiB   9,000     10 %  2 h  yes
      L0     ..000000T1  #                       830.1 KiB   9,000     <1 %  2 h  yes
      run 5  2 tables    #######                   7.6 MiB  81,000      0 %  2 h  yes
      run 2  3 tables    ######################   25.7 MiB   270 k      0 %  2 h  yes

      keys               a                                                           z
      L0     ..000000T2  [-----------------------------------------------------------]
      L0     ..000000T1  [-----------------------------------------------------------]
      run 5  2 tables        [------------------------] [------------------------]
      run 2  3 tables    [-----------|-]  [------------------------------------------]

      L0: newest first; runs: newest data first, which is the order of reads. # size,
      linear. [--] keys of a table, | of a narrow one.
      "
    `);
  });

  it('draws the keys beside the sizes in 120 columns', async () => {
    expect(await drawn(TIERS, 120)).toMatchInlineSnapshot(`
      "
      2 tables in level 0, 5 tables in 2 sorted runs: 35.0 MiB, 369,000 rows.

      manifest  1,234, the newest, written 2024-06-10T04:33:48.400Z (90 s ago)
      gets      of one key ask at most 5 tables
      seals     7 of 7 tables have one
      cost      12 requests, 34 ms

      level  tables                          size    rows  deletes  age  seal  a                                             z
      L0     ..000000T2  .              878.9 KiB   9,000     10 %  2 h  yes   [---------------------------------------------]
      L0     ..000000T1  .              830.1 KiB   9,000     <1 %  2 h  yes   [---------------------------------------------]
      run 5  2 tables    ####             7.6 MiB  81,000      0 %  2 h  yes      [------------------] [------------------]
      run 2  3 tables    #############   25.7 MiB   270 k      0 %  2 h  yes   [--------|-] [--------------------------------]

      L0: newest first; runs: newest data first, which is the order of reads. # size, linear. [--] keys of a table, | of a
      narrow one.
      "
    `);
  });

  it('leaves out the bars where there is no room for them', async () => {
    expect(await drawn(TIERS, 60)).toMatchInlineSnapshot(`
      "
      2 tables in level 0, 5 tables in 2 sorted runs: 35.0 MiB,
      369,000 rows.

      manifest  1,234, the newest, written 2024-06-10T04:33:48.400Z (90 s ago)
      gets      of one key ask at most 5 tables
      seals     7 of 7 tables have one
      cost      12 requests, 34 ms

      level  tables           size    rows  deletes  age  seal
      L0     ..000000T2  878.9 KiB   9,000     10 %  2 h  yes
      L0     ..000000T1  830.1 KiB   9,000     <1 %  2 h  yes
      run 5  2 tables      7.6 MiB  81,000      0 %  2 h  yes
      run 2  3 tables     25.7 MiB   270 k      0 %  2 h  yes

      keys               a                                       z
      L0     ..000000T2  [---------------------------------------]
      L0     ..000000T1  [---------------------------------------]
      run 5  2 tables       [---------------] [---------------]
      run 2  3 tables    [-------|] [----------------------------]

      L0: newest first; runs: newest data first, which is the
      order of reads. # size, linear. [--] keys of a table, | of a
      narrow one.
      "
    `);
  });

  it('shows tables that are damaged, missing or without counts as such', async () => {
    const out = await drawn('L0: 900000{900/9000}! 850000{?}! | 5:4000000<c,m>{?}+4000000<n,x>{0/40000}', 80);
    expect(out).toMatchInlineSnapshot(`
      "
      2 tables in level 0, 2 tables in 1 sorted run: 9.3 MiB, at least 49,000 rows.

      manifest  1,234, the newest, written 2024-06-10T04:33:48.400Z (90 s ago)
      gets      of one key ask at most 3 tables
      seals     3 of 4 tables have one
      cost      12 requests, 34 ms

      level  tables                         size     rows  deletes  age  seal  state
      L0     ..000000T2  #             878.9 KiB    9,000     10 %  2 h  yes   damaged
      L0     ..000000T1  #             830.1 KiB        -        -  2 h  -     missing
      run 5  2 tables    ############    7.6 MiB  >40,000      0 %  2 h  yes   ok

      keys               a                                                           z
      L0     ..000000T2  XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX
      L0     ..000000T1  XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX
      run 5  2 tables        [------------------------] [------------------------]

      L0: newest first; runs: newest data first, which is the order of reads. # size,
      linear. [--] keys of a table, | of a narrow one. X damaged or missing, ? cannot
      be read.
      "
    `);
  });

  it('sums up what would be too many lines, and names all tables if that is wanted', async () => {
    const many = `L0: ${'1000 '.repeat(30)} | ${'2000+3000 '.repeat(15)}`;
    const out = await drawn(many, 80);
    expect(out).toContain('19 older tables');
    expect(out).toContain('4 older');
    expect(out.split('\n').filter((line) => line.startsWith('L0 ')).length).toBe(2 * 12);
    const named = await drawn(many, 80, ['--tables']);
    expect(named.match(/^ {2}\w{26}$/gm)?.length).toBe(60);
  });

  it('names tables with their rows and keys', async () => {
    expect(await drawn('L0: 1000{1/9} | 0:1000=X<ka,ku>[kf,){0/80}', 80, ['--tables'])).toMatchInlineSnapshot(`
      "
      1 table in level 0, 1 table in 1 sorted run: 1,750 B, 69 rows.

      manifest  1,234, the newest, written 2024-06-10T04:33:48.400Z (90 s ago)
      gets      of one key ask at most 2 tables
      seals     2 of 2 tables have one
      cost      12 requests, 34 ms

      level  tables                                   size  rows  deletes  age  seal
      L0     ..000000T1  ########################  1,000 B     9     11 %  2 h  yes
      run 0  ..0000000X  ##################          750 B    60      0 %  2 h  yes

      keys               a                                                           z
      L0     ..000000T1  [-----------------------------------------------------------]
      run 0  ..0000000X                          [-]

      L0: newest first; runs: newest data first, which is the order of reads. # size,
      linear. [--] keys of a table, | of a narrow one.

      Level 0
        01J000000000000000000000T1
            1,000 B, 9 rows, 1 tombstone, 2 h old, sealed
            keys a to z

      Run 0
        01J0000000000000000000000X
            about 750 B of 1,000 B, 80 rows in all, 0 tombstones, 2 h old, sealed
            keys kf to ku, view 01J0000000000000000000R0X0
      "
    `);
  });

  it('gives each segment a tree of its own, and a line if there are many', async () => {
    expect(await drawn('L0: ; p L0: 10 | 20; q L0: 30', 80)).toMatchInlineSnapshot(`
      "
      2 tables in level 0, 1 table in 1 sorted run of 2 trees: 60 B, 27 rows.

      manifest  1,234, the newest, written 2024-06-10T04:33:48.400Z (90 s ago)
      gets      of one key ask at most 2 tables
      seals     3 of 3 tables have one
      cost      12 requests, 34 ms

      segment p
      level  tables                        size  rows  deletes  age  seal
      L0     ..00000PT1  ########          10 B     9      0 %  2 h  yes
      run 0  ..000PR0X0  ################  20 B     9      0 %  2 h  yes

      keys               pa                                                         pz
      L0     ..00000PT1  [-----------------------------------------------------------]
      run 0  ..000PR0X0  [-----------------------------------------------------------]

      segment q
      level  tables                                size  rows  deletes  age  seal
      L0     ..00000QT1  ########################  30 B     9      0 %  2 h  yes

      keys            qa                                                            qz
      L0  ..00000QT1  [--------------------------------------------------------------]

      L0: newest first; runs: newest data first, which is the order of reads. # size,
      linear. [--] keys of a table, | of a narrow one.
      "
    `);
    expect(
      await drawn('L0: ; a L0: 10 | 20; b L0: 30; c L0: 90{?}!; d L0: 5 | 300+200; e L0: |', 80),
    ).toMatchInlineSnapshot(`
      "
      4 tables in level 0, 3 tables in 2 sorted runs of 5 trees: 655 B, at least 54
      rows.

      manifest  1,234, the newest, written 2024-06-10T04:33:48.400Z (90 s ago)
      gets      of one key ask at most 2 tables
      seals     6 of 7 tables have one
      cost      12 requests, 34 ms

      segment                 size  rows  L0  runs  tables
      a        #              30 B    18   1     1       2
      b        #              30 B     9   1     0       1
      c        ##             90 B     -   1     0       1  1 faulty
      d        ############  505 B    27   1     1       3
      e                        0 B     0   0     0       0

      Each segment is a tree. --tables draws them all and names their tables.
      "
    `);
  });

  it('says so where there are no tables, and where ends were not read', async () => {
    expect(await drawn('L0:', 80)).toMatchInlineSnapshot(`
      "
      No tables: all rows, if there are any, are in the log.

      manifest  1,234, the newest, written 1970-01-01T01:58:30.000Z (90 s ago)
      cost      12 requests, 34 ms
      "
    `);
    const calls: unknown[] = [];
    const treeInspect = async (_: unknown, options: unknown) => {
      calls.push(options);
      return treeReportOf('L0: 900000 | 4000000', { tails: false });
    };
    const { out } = await runWith(['tree', DB, '--no-tails', '--timeout-ms', '9'], { tools: { treeInspect } });
    expect(calls).toMatchObject([{ tails: false, timeoutMs: 9 }]);
    expect(`\n${out}`).toMatchInlineSnapshot(`
      "
      1 table in level 0, 1 table in 1 sorted run: 4.7 MiB.

      manifest  1,234, the newest, written 2024-06-10T04:33:48.400Z (90 s ago)
      gets      of one key ask at most 2 tables
      tables    not read: sizes are a little too small, rows and damage are not known
      cost      12 requests, 34 ms

      level  tables                        size  age  a                              z
      L0     ..000000T1  ##           878.9 KiB  2 h  [------------------------------]
      run 0  ..0000R0X0  ###########    3.8 MiB  2 h  [------------------------------]

      L0: newest first; runs: newest data first, which is the order of reads. # size,
      linear. [--] keys of a table, | of a narrow one.
      "
    `);
  });

  it.each([80, 100, 120, 200])('fits into %d columns, and says the same without colour', (columns) => {
    const view = { columns, redactKeys: false, location: DB };
    for (const notation of [TIERS, 'L0: 10! 20{?}! | 5:30+40+50!', `L0: ${'99999999 '.repeat(40)} | 1:5+6`]) {
      const report = treeReportOf(notation);
      const plain = treeText(report, { ...view, paint: (_, words) => words }, true);
      const coloured = treeText(report, { ...view, paint: COLOUR }, true);
      expect(Math.max(...plain.map((line) => line.length))).toBeLessThanOrEqual(columns);
      expect(coloured.map(widthOf)).toEqual(plain.map(widthOf));
      expect(coloured.join('\n')).not.toBe(plain.join('\n'));
    }
  });

  it('draws a run of very many tables, and very many segments', async () => {
    const table = '1000<aaaaaaaa,mmmmmmmm>';
    const out = await drawn(`L0: | 1:${Array.from({ length: 20_000 }, () => table).join('+')}`, 80);
    expect(out).toContain('20,000 tables');
    const segments = Array.from({ length: 500 }, (_, i) => `s${1000 + i} L0: 10`).join('; ');
    expect(await drawn(`L0: ; ${segments}`, 80, ['--tables'])).toContain('segment s1499');
  });

  it('shows no key where keys are redacted', async () => {
    const report = treeReportOf('L0: 10<secret,secrets> | 20<secret,secretz>');
    for (const columns of [80, 120]) {
      expect((await run(report, ['--redact-keys', '--tables'], columns)).out).not.toContain('secret');
    }
    expect((await run(report, ['--redact-keys', '--json'])).out).not.toContain(
      Buffer.from('secret').toString('base64url'),
    );
  });

  it('is one JSON document with every table', async () => {
    const { out, code } = await run(treeReportOf(TIERS), ['--json']);
    expect(code).toBe(EXIT.clean);
    expect(JSON.parse(out)).toMatchObject({
      schemaVersion: 1,
      type: 'tree',
      manifestId: { $bigint: '1234' },
      trees: [{ l0: { tables: [{ bytes: 900_000 }, { bytes: 850_000 }] }, runs: [{ id: { $bigint: '5' } }, {}] }],
    });
  });

  it.each<[string, Parameters<typeof tableFinding>[0], number]>([
    ['damage', {}, EXIT.damage],
    ['what cannot be read', { severity: 'unknown' }, EXIT.unknown],
    ['a note', { severity: 'note' }, EXIT.clean],
  ])('with %s ends with its code', async (_, more, code) => {
    const report = { ...treeReportOf('L0: 10!'), findings: [tableFinding(more)] };
    const ran = await run(report);
    expect(ran.code).toBe(code);
    expect(ran.out).toContain(tableFinding().object.path);
  });
});
