/** `shaledb compact`: what it passes to the tool, what it prints, and with which code it ends. */
import { describe, expect, it } from 'vitest';
import type { CompactCallOptions, CompactedTree, CompactReport } from '../../../src/admin.ts';
import { EXIT } from '../../../src/cli/exit-codes.ts';
import {
  ConflictError,
  CorruptionError,
  type DbError,
  FencedError,
  InvalidArgumentError,
  UnavailableError,
} from '../../../src/index.ts';
import { runWith } from '../../support/command-line.ts';
import { tableFinding } from '../../support/report-samples.ts';

const DB = 'file:///db';
const MIB = 1024 * 1024;
const ESTIMATE = { bytesRead: 52 * MIB, mostBytesWritten: 52 * MIB, requests: 61 };

function tree(more: Partial<CompactedTree> = {}): CompactedTree {
  const before = { l0Tables: 5, runs: 2, tables: 9, bytes: 52 * MIB, rows: 1_200_000, tombstones: 340_000 };
  return { before, estimate: ESTIMATE, ...more };
}

function report(more: Partial<CompactReport> = {}): CompactReport {
  return {
    schemaVersion: 1,
    applied: false,
    outcome: 'planned',
    manifestId: 1234n,
    trees: [tree()],
    estimate: ESTIMATE,
    jobs: [],
    rowsIn: 0,
    rowsOut: 0,
    bytesRead: 0,
    bytesWritten: 0,
    findings: [],
    requests: 15,
    tookMs: 345,
    ...more,
  };
}

const job = {
  id: '01JC0000000000000000000000',
  tree: '',
  l0Tables: 5,
  runs: [7, 3],
  destination: 3,
  reason: 'everything',
  startedAtMs: 1_700_000_000_000,
};
const AFTER = { l0Tables: 0, runs: 1, tables: 1, bytes: 31 * MIB };
const DONE = report({
  applied: true,
  outcome: 'compacted',
  manifestId: 1236n,
  trees: [tree({ after: AFTER })],
  jobs: [
    {
      job,
      manifestId: 1236,
      tables: 1,
      tablesMoved: 0,
      rowsIn: 1_200_000,
      rowsOut: 700_000,
      bytesIn: 52 * MIB,
      bytesOut: 31 * MIB,
    },
  ],
  rowsIn: 1_200_000,
  rowsOut: 700_000,
  bytesRead: 52 * MIB,
  bytesWritten: 31 * MIB,
  requests: 74,
  tookMs: 4321,
});

function tool(result: CompactReport | DbError) {
  const calls: unknown[][] = [];
  const compact = async (...args: unknown[]) => {
    calls.push(args);
    if (result instanceof Error) throw result;
    return result;
  };
  return { tools: { compact }, calls };
}

const run = (words: string, result: CompactReport | DbError = report()) =>
  runWith(['compact', DB, ...words.split(' ').filter((w) => w !== '')], tool(result));

describe('compact', () => {
  it('shows what would be merged, and the command that does it', async () => {
    const { code, out } = await run('');
    expect(code).toBe(EXIT.clean);
    expect(`\n${out}`).toMatchInlineSnapshot(`
      "
      To merge: 1 tree, 52.0 MiB.

           level 0  runs  tables     bytes       rows  tombstones
      now        5     2       9  52.0 MiB  1,200,000     340,000

      manifest  1,234, the newest
      reads     about 52.0 MiB
      writes    at most about 52.0 MiB
      requests  about 61
      looked    15 requests, 345 ms

      Nothing was changed. To merge: shaledb compact file:///db --apply
      "
    `);
  });

  it('does not offer to merge what cannot be', async () => {
    const { code, out } = await run('', report({ findings: [tableFinding()] }));
    expect(code).toBe(EXIT.damage);
    expect(out.replace(/\s+/g, ' ')).toContain(
      'Nothing was changed. What was found has to be repaired before this can be merged.',
    );
    expect(out).not.toContain('--apply');
  });

  it('says what was merged', async () => {
    const { code, out } = await run('--apply', DONE);
    expect(code).toBe(EXIT.clean);
    expect(`\n${out}`).toMatchInlineSnapshot(`
      "
      Merged: 1 tree, 52.0 MiB into 31.0 MiB.

              level 0  runs  tables     bytes
      before        5     2       9  52.0 MiB
      after         0     1       1  31.0 MiB

      manifest  1,236, the newest
      rows      1,200,000 in, 700,000 left: 41 % were no longer needed
      cost      74 requests, 4.3 s

      The tables that were merged are kept for readers for a while; a collector
      deletes them later.
      "
    `);
  });

  it('names the trees of a segmented database', async () => {
    const prefix = new TextEncoder().encode('abc');
    const { after } = tree({ after: AFTER });
    const trees = [
      tree({ after: AFTER }),
      tree({ prefix, after: AFTER }),
      { prefix: Uint8Array.of(255, 0), before: AFTER, ...(after && { after }) },
    ];
    const { out } = await run('--apply', { ...DONE, trees });
    expect(`\n${out}`).toMatchInlineSnapshot(`
      "
      Merged: 1 tree, 52.0 MiB into 31.0 MiB.

                   level 0  runs  tables     bytes
      root before        5     2       9  52.0 MiB
      root after         0     1       1  31.0 MiB
      abc before         5     2       9  52.0 MiB
      abc after          0     1       1  31.0 MiB

      manifest  1,236, the newest
      rows      1,200,000 in, 700,000 left: 41 % were no longer needed
      cost      74 requests, 4.3 s

      The tables that were merged are kept for readers for a while; a collector
      deletes them later.
      "
    `);
  });

  it('counts the trees that it does not show', async () => {
    const trees = Array.from({ length: 25 }, (_, i) => tree({ prefix: Uint8Array.of(i) }));
    expect((await run('', report({ trees }))).out).toContain('and 5 trees more (--json has all).');
  });

  it('has nothing to do where each tree is one run', async () => {
    const done = { before: AFTER, after: AFTER };
    const { code, out } = await run('--apply', report({ applied: true, outcome: 'nothing-to-do', trees: [done] }));
    expect(code).toBe(EXIT.clean);
    expect(`\n${out}`).toMatchInlineSnapshot(`
      "
      Nothing to merge: each tree is one run, or empty.

              level 0  runs  tables     bytes
      before        0     1       1  31.0 MiB
      after         0     1       1  31.0 MiB

      manifest  1,234, the newest
      cost      15 requests, 345 ms
      "
    `);
  });

  it('stays within 80 columns, with and without colours', async () => {
    for (const result of [report(), DONE]) {
      const { tools } = tool(result);
      for (const isTerminal of [true, false]) {
        const { out } = await runWith(['compact', DB], { tools, isTerminal, columns: 80 });
        const plain = out.replaceAll(new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g'), '');
        for (const line of plain.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
      }
    }
  });

  it('passes its options on, and is a dry run unless it is to be applied', async () => {
    const { tools, calls } = tool(report());
    await runWith(['compact', DB], { tools });
    const words = `compact ${DB} --apply --max-sst-bytes 70000 --bytes-per-second 5000 --max-requests-in-flight 3 --memory-bytes 9000000 --verify-outputs all --codec zstd --if-live-writer fence --live-check-ms 7 --timeout-ms 9`;
    await runWith(words.split(' '), { tools });
    expect(calls.map(([, options]) => options)).toMatchObject([
      { apply: false },
      {
        apply: true,
        maxSstBytes: 70_000,
        bytesPerSecond: 5000,
        maxRequestsInFlight: 3,
        memoryBytes: 9_000_000,
        verifyOutputs: 'all',
        compressionCodec: 'zstd',
        ifLiveWriter: 'fence',
        liveCheckMs: 7,
        timeoutMs: 9,
      },
    ]);
  });

  it('shows on a terminal how far it has come', async () => {
    const compact = async (_: unknown, options: CompactCallOptions = {}) => {
      options.onProgress?.({ treesDone: 1, trees: 3, bytesRead: 4 * MIB, bytesExpected: 52 * MIB, bytesWritten: MIB });
      return DONE;
    };
    const { err } = await runWith(['compact', DB, '--apply'], { tools: { compact }, isTerminal: true });
    expect(err).toContain('merging: 4.0 MiB of about 52.0 MiB read, 1.0 MiB written, 1 of 3 trees done');
  });

  const failed = (cause: DbError) =>
    new UnavailableError('COMPACTION_FAILED', 'It has failed.', { cause, retryable: cause.retryable });

  it.each<[string, CompactReport | DbError, number]>([
    ['damage in a dry run', report({ findings: [tableFinding()] }), EXIT.damage],
    ['damage', failed(new CorruptionError('a table is gone', [tableFinding()])), EXIT.damage],
    ['a store that fails', failed(new UnavailableError('STORE_DOWN', 'no answer')), EXIT.unavailable],
    ['another compactor', failed(new FencedError('COMPACTOR_FENCED', 'another one')), EXIT.conflict],
    ['no database', new InvalidArgumentError('NOT_A_DATABASE', 'nothing here'), EXIT.usage],
  ])('that meets %s ends with its code', async (_, result, expected) => {
    expect((await run('--apply', result instanceof Error ? result : { ...result, applied: false })).code).toBe(
      expected,
    );
  });

  it('says how to merge beside a writer all the same', async () => {
    const { code, err } = await run('--apply', new ConflictError('LIVE_WRITER', 'It is in use.'));
    expect(code).toBe(EXIT.conflict);
    expect(err).toContain('To merge all the same, while its compactor waits');
    expect(err).toContain(`shaledb compact ${DB} --apply --if-live-writer fence`);
  });

  it('is one JSON document', async () => {
    const { out } = await run('--json --apply', DONE);
    expect(JSON.parse(out)).toMatchObject({
      schemaVersion: 1,
      type: 'compact',
      outcome: 'compacted',
      manifestId: { $bigint: '1236' },
      trees: [{ before: { l0Tables: 5 }, after: { runs: 1 } }],
    });
  });
});
