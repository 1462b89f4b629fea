/** `shaledb gc`: what it passes to the collector, what it prints, and with which code it ends. */
import { describe, expect, it } from 'vitest';
import type { GcObject, GcOnceOptions, GcReport } from '../../../src/admin.ts';
import { EXIT } from '../../../src/cli/exit-codes.ts';
import { optionFaults } from '../../../src/common/option-checks.ts';
import { gcFaults } from '../../../src/gc/settings.ts';
import { runWith } from '../../support/command-line.ts';
import { tableFinding } from '../../support/report-samples.ts';

const DB = 'file:///db';
const TABLE = 'compacted/01JC0000000000000000000000.sst';

function object(more: Partial<GcObject> = {}): GcObject {
  return {
    path: TABLE,
    class: 'table',
    bytes: 70_000,
    ageMs: 7_300_000,
    state: 'goes',
    why: 'goes: nothing needs it, and it is old enough',
    ...more,
  };
}

function report(more: Partial<GcReport> = {}): GcReport {
  const none = { objects: 0, bytes: 0 };
  const classes = (['manifest', 'compactions', 'table', 'log', 'fence', 'upload', 'copy'] as const).map((name) => ({
    class: name,
    stored: name === 'table' ? { objects: 12, bytes: 5_000_000 } : { objects: 1, bytes: 900 },
    collectable: name === 'table' ? { objects: 1, bytes: 70_000 } : none,
    deleted: none,
  }));
  return {
    schemaVersion: 1,
    applied: false,
    manifestId: 1234n,
    classes,
    objects: [
      object({
        path: 'manifest/00000000000000001234.manifest',
        class: 'manifest',
        bytes: 900,
        state: 'needed',
        why: 'is needed by manifest 1234, the newest',
      }),
      object(),
    ],
    boundaries: {},
    droppedCheckpoints: [],
    nextDueAtMs: 1_700_000_000_000,
    findings: [],
    notes: [],
    requests: 21,
    tookMs: 345,
    ...more,
  };
}

function tool(result: GcReport) {
  const calls: unknown[][] = [];
  const gcOnce = async (...args: unknown[]) => {
    calls.push(args);
    return result;
  };
  return { tools: { gcOnce }, calls };
}

const run = (words: string, result = report()) =>
  runWith(['gc', DB, ...words.split(' ').filter((w) => w !== '')], tool(result));

describe('gc', () => {
  it('shows what would go, and the command that deletes it', async () => {
    const { code, out } = await run('');
    expect(code).toBe(EXIT.clean);
    expect(`\n${out}`).toMatchInlineSnapshot(`
      "
      To collect: 1 object, 68.4 KiB.

                            stored    bytes  would go     bytes
      manifests                  1    900 B         0       0 B
      compactions files          1    900 B         0       0 B
      tables                    12  4.8 MiB         1  68.4 KiB
      log objects                1    900 B         0       0 B
      fences of the log          1    900 B         0       0 B
      abandoned uploads          1    900 B         0       0 B
      copies in quarantine       1    900 B         0       0 B

      manifest  1,234, the newest
      next      something more can go at 2023-11-14T22:13:20.000Z
      cost      21 requests, 345 ms

      object                                        size  age
      compacted/01JC0000000000000000000000.sst  68.4 KiB  2 h

      Nothing was changed. To delete them: shaledb gc file:///db --apply
      "
    `);
  });

  it('says what was deleted', async () => {
    const classes = report().classes.map((c) => ({ ...c, deleted: c.collectable }));
    const boundaries = { manifest: 1200n, compactions: 3n };
    const { code, out } = await run(
      '--apply',
      report({ applied: true, classes, boundaries, droppedCheckpoints: ['a'], objects: [object()] }),
    );
    expect(code).toBe(EXIT.clean);
    expect(`\n${out}`).toMatchInlineSnapshot(`
      "
      Collected: 1 object, 68.4 KiB.

                            stored    bytes  deleted     bytes
      manifests                  1    900 B        0       0 B
      compactions files          1    900 B        0       0 B
      tables                    12  4.8 MiB        1  68.4 KiB
      log objects                1    900 B        0       0 B
      fences of the log          1    900 B        0       0 B
      abandoned uploads          1    900 B        0       0 B
      copies in quarantine       1    900 B        0       0 B

      manifest     1,234, the newest
      boundaries   manifests up to 1,200, compactions files up to 3
      checkpoints  1 expired one dropped
      next         something more can go at 2023-11-14T22:13:20.000Z
      cost         21 requests, 345 ms

      object                                        size  age
      compacted/01JC0000000000000000000000.sst  68.4 KiB  2 h
      "
    `);
  });

  it('names every object and its reason if that is wanted', async () => {
    const { out } = await run('--list');
    expect(out).toMatch(/manifest\/0+1234.manifest .* is needed by manifest 1234, the newest/);
    expect(out).toMatch(/01JC0+.sst +68.4 KiB +2 h +goes: nothing needs it/);
  });

  it('counts what it does not name', async () => {
    const { out } = await run('', report({ objects: Array.from({ length: 25 }, () => object()) }));
    expect(out).toContain('and 5 more (--list names all).');
  });

  it('explains one object', async () => {
    const { code, out } = await run(`--why ${TABLE}`);
    expect(code).toBe(EXIT.clean);
    expect(`\n${out}`).toMatchInlineSnapshot(`
      "
      compacted/01JC0000000000000000000000.sst goes
      It goes: nothing needs it, and it is old enough.
      size  68.4 KiB
      age   2 h
      "
    `);
  });

  it('does not explain what is not there, and deletes nothing when it is to explain', async () => {
    expect(await run('--why compacted/x.sst')).toMatchObject({ code: EXIT.usage, out: '' });
    expect(await run(`--why ${TABLE} --apply`)).toMatchObject({ code: EXIT.usage });
  });

  it('says in its own words what is out of range', async () => {
    const gcOnce = async (_: unknown, options: GcOnceOptions = {}) => {
      throw optionFaults('gcOnce', gcFaults(options));
    };
    const { code, err } = await runWith(['gc', DB, '--min-age-ms', '5'], { tools: { gcOnce } });
    expect(code).toBe(EXIT.usage);
    expect(err).toContain('--min-age-ms must be a whole number from 180000 to 2147483647, not 5.');
    expect(err).not.toMatch(/gcOnce|minAgeMs|allowUnsafeMinAge/);
  });

  it('passes its options on, and is a dry run unless it is to be applied', async () => {
    const { tools, calls } = tool(report());
    await runWith(['gc', DB], { tools });
    await runWith(
      `gc ${DB} --apply --min-age-ms 400000 --recent-manifests 5 --fences collect --boundary-files off --timeout-ms 9`.split(
        ' ',
      ),
      { tools },
    );
    expect(calls.map(([, options]) => options)).toMatchObject([
      { apply: false },
      { apply: true, minAgeMs: 400_000, recentManifests: 5, fences: 'collect', boundaryFiles: 'off', timeoutMs: 9 },
    ]);
  });

  it.each<[string, Partial<GcReport>, number]>([
    ['damage', { stopped: 'a table is gone', findings: [tableFinding()] }, EXIT.damage],
    [
      'what cannot be decided',
      { stopped: 'a list lags', findings: [tableFinding({ severity: 'unknown' })] },
      EXIT.unknown,
    ],
    ['a database that changed', { stopped: 'the database changed' }, EXIT.unavailable],
    ['a note', { findings: [tableFinding({ severity: 'note' })], notes: ['no If-Match'] }, EXIT.clean],
  ])('that meets %s ends with its code', async (_, more, expected) => {
    const { code, out } = await run('', report(more));
    expect(code).toBe(expected);
    if (more.stopped !== undefined) expect(out).toContain(`Stopped: ${more.stopped}`);
    if (more.notes !== undefined) expect(out).toContain('no If-Match');
  });

  it('is one JSON document', async () => {
    const { out } = await run('--json');
    expect(JSON.parse(out)).toMatchObject({ schemaVersion: 1, type: 'gc', manifestId: { $bigint: '1234' } });
    const one = await run(`--json --why ${TABLE}`);
    expect(JSON.parse(one.out)).toMatchObject({ schemaVersion: 1, type: 'gc-object', path: TABLE, state: 'goes' });
  });
});
