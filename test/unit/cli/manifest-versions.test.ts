/** `shaledb manifest list` and `manifest show`: what they print, in lines of different length, as JSON, and with which code they end. */
import { describe, expect, it } from 'vitest';
import {
  type ManifestDiff,
  type ManifestListReport,
  type ManifestSummary,
  manifestInspect,
} from '../../../src/admin.ts';
import { EXIT } from '../../../src/cli/exit-codes.ts';
import { decodeManifest, encodeManifest } from '../../../src/format/manifest-codec.ts';
import type { Manifest } from '../../../src/format/manifest-types.ts';
import { manifestPath } from '../../../src/format/object-names.ts';
import { prefixedStore } from '../../../src/store/prefixed-store.ts';
import { runWith } from '../../support/command-line.ts';
import { goldenInMemory } from '../../support/golden-database.ts';
import { goldenFixture, goldenFixtures } from '../../support/golden-fixtures.ts';
import { key, manifestReport, tableFinding } from '../../support/report-samples.ts';

const DB = 'file:///db';
const STORED_MS = 1_795_250_436_000;

function summary(id: number, more: Partial<ManifestSummary> = {}): ManifestSummary {
  return {
    id: BigInt(id),
    path: manifestPath(id),
    storedAtMs: STORED_MS + id * 61_000,
    size: 1000 + id,
    state: 'ok',
    author: { role: 'writer', epoch: 3n, writtenAtMs: STORED_MS, software: '0.1.0' },
    content: {
      writerEpoch: 3n,
      compactorEpoch: 1n,
      l0: 2,
      runs: 1,
      tables: 3,
      segments: 0,
      replayAfterWalId: BigInt(id),
      lastL0Seq: 1500n,
      checkpoints: 1,
    },
    pinnedBy: [],
    changes: ['replay point: 1 → 2'],
    ...more,
  };
}

const content = (more: Partial<NonNullable<ManifestSummary['content']>>) => ({ ...summary(1).content!, ...more });

function report(more: Partial<ManifestListReport> = {}): ManifestListReport {
  return {
    schemaVersion: 1,
    manifests: [
      summary(41, {
        state: 'damaged',
        author: undefined,
        content: undefined,
        changes: undefined,
        problem: 'it is cut short',
      } as never),
      summary(40, { content: content({ l0: 3, replayAfterWalId: 9n }) }),
      summary(39, {
        author: { role: 'compactor', epoch: 1n, owner: 'db2:77', writtenAtMs: STORED_MS, software: '0.1.0' },
        content: content({ runs: 2, checkpoints: 2 }),
        pinnedBy: ['nightly'],
        changes: ['run 5 added'],
      }),
      summary(38),
      summary(30, { author: { role: 'repair', epoch: 3n, writtenAtMs: STORED_MS, software: '0.1.0' } }),
    ],
    older: 12,
    boundary: 7n,
    findings: [],
    requests: 9,
    tookMs: 21,
    ...more,
  };
}

const list = (words: readonly string[] = [], result = report(), columns = 80) =>
  runWith(['manifest', 'list', DB, ...words], { tools: { manifestList: async () => result }, columns });

describe('manifest list', () => {
  it('is a line for each version in 80 columns', async () => {
    const { code, out } = await list();
    expect(code).toBe(EXIT.clean);
    expect(`\n${out}`).toMatchInlineSnapshot(`
      "
      17 manifests, the newest is 41.

      id  stored (UTC)            size  author     L0  runs  replay  pins
      41  2026-11-21 09:22:17  1,041 B  damaged     -     -       -
      40  2026-11-21 09:21:16  1,040 B  writer      3     1       9
      39  2026-11-21 09:20:15  1,039 B  compactor   2     2       1     1
      38  2026-11-21 09:19:14  1,038 B  writer      2     1      38
          (7 not there)
      30  2026-11-21 09:11:06  1,030 B  repair      2     1      30

      older       12 more (--limit)
      boundary    collectors may have deleted those up to 7
      checkpoint  nightly keeps 39
      cost        9 requests, 21 ms
      "
    `);
  });

  it('shows in 120 columns what changed, or why one cannot be read', async () => {
    expect(`\n${(await list([], report(), 120)).out}`).toMatchInlineSnapshot(`
      "
      17 manifests, the newest is 41.

      id  stored (UTC)            size  author     L0  runs  replay  pins  against the one before
      41  2026-11-21 09:22:17  1,041 B  damaged     -     -       -        it is cut short
      40  2026-11-21 09:21:16  1,040 B  writer      3     1       9        +1 L0, -1 run, -1 checkpoint
      39  2026-11-21 09:20:15  1,039 B  compactor   2     2       1     1  +1 run, +1 checkpoint
      38  2026-11-21 09:19:14  1,038 B  writer      2     1      38
          (7 not there)
      30  2026-11-21 09:11:06  1,030 B  repair      2     1      30

      older       12 more (--limit)
      boundary    collectors may have deleted those up to 7
      checkpoint  nightly keeps 39
      cost        9 requests, 21 ms
      "
    `);
  });

  it('says what changed with each if that is wanted', async () => {
    expect(`\n${(await list(['--changes'])).out.split('\n\n').slice(2).join('\n\n')}`).toMatchInlineSnapshot(`
      "
      older       12 more (--limit)
      boundary    collectors may have deleted those up to 7
      checkpoint  nightly keeps 39
      cost        9 requests, 21 ms

      Manifest 40, 2026-11-21 09:21:16 by writer
        replay point: 1 → 2

      Manifest 39, 2026-11-21 09:20:15 by compactor db2:77
        run 5 added

      Manifest 38, 2026-11-21 09:19:14 by writer
        replay point: 1 → 2

      Manifest 30, 2026-11-21 09:11:06 by repair
        replay point: 1 → 2
      "
    `);
  });

  it('ends with the code of what is wrong, and says it', async () => {
    const ran = await list([], report({ findings: [tableFinding()] }));
    expect(ran.code).toBe(EXIT.damage);
    expect(ran.out).toContain('1 error.');
    expect((await list([], report({ findings: [tableFinding({ severity: 'unknown' })] }))).code).toBe(EXIT.unknown);
  });

  it('says so where none is left, and where no author is known', async () => {
    expect((await list([], report({ manifests: [], older: 0 }))).out).toContain('No manifest is left.');
    const { author: _, ...slate } = summary(1);
    expect((await list([], report({ manifests: [slate] }))).out).toContain('SlateDB writes no seals');
  });

  it('passes its limit on, and is one JSON document', async () => {
    const calls: unknown[][] = [];
    const manifestList = async (...args: unknown[]) => {
      calls.push(args);
      return report();
    };
    const { out } = await runWith(['manifest', 'list', DB, '--limit', '5', '--json'], { tools: { manifestList } });
    expect(calls).toEqual([[DB, { limit: 5 }]]);
    expect(JSON.parse(out)).toMatchObject({
      type: 'manifest-list',
      manifests: [{ id: { $bigint: '41' }, state: 'damaged' }, {}, { author: { owner: 'db2:77' } }, {}, {}],
    });
  });
});

/** What `--json` wrote, as it was before. */
function revived(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(revived);
  if (typeof value !== 'object' || value === null) return value;
  if ('$bigint' in value) return BigInt(String(value.$bigint));
  if ('$bytes' in value) return new Uint8Array(Buffer.from(String(value.$bytes), 'base64url'));
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, revived(member)]));
}

describe('manifest show', () => {
  it('says everything that a manifest says', async () => {
    const sample = manifestReport();
    const view = sample.manifest!.l0[0];
    sample.manifest = {
      ...sample.manifest!,
      l0: [
        {
          ...view,
          viewId: sample.manifest!.runs[0].views[0].viewId,
          visibleRange: {
            start: { kind: 'included', key: key('key/01') },
            end: { kind: 'excluded', key: key('key/02') },
          },
        },
      ],
      lastCompacted: view.viewId,
      checkpoints: [
        { id: 'c-1', manifestId: 9, expireTimeS: 0, createTimeS: 1_795_250_436, writerEpoch: 2, name: 'nightly' },
        {
          id: 'c-2',
          manifestId: 8,
          expireTimeS: 1_795_260_000,
          createTimeS: 1_795_250_436,
          writerEpoch: undefined,
          name: undefined,
        },
      ],
      externalDbs: [
        { path: 'parent', sourceCheckpointId: 'c-3', finalCheckpointId: undefined, tableIds: [view.table.id] },
      ],
      unviewedTables: [view.table],
      segmentExtractorName: 'first3',
      walStoreUri: '',
      hasUnknownFields: true,
    };
    const { code, out } = await runWith(['manifest', 'show', DB], { tools: { manifestInspect: async () => sample } });
    expect(code).toBe(EXIT.clean);
    expect(`\n${out}`).toMatchInlineSnapshot(`
      "
      manifest/00000000000000000012.manifest

      size            800 B
      seal            good
      form            version 1
      epochs          writer 3, compactor 1
      replay point    object 41: the log after it is not in tables
      log seen up to  object 41
      log store       another one
      last seq        1,500 in tables
      last tick       1970-01-01T00:00:00.000Z in tables
      snapshots       none reads below seq 0
      tracker         none
      extractor       first3
      unknown         fields that this program does not know, and does not show

      Level 0: 1 table, newest first
        consumed by compactions up to 01JC0000000000000000000000
        01JC0000000000000000000000
            keys key/0000 to key/0499, view 01JB0000000000000000000000, shows from
            key/01 to key/02 (excluded)
            16.9 KiB up to the last section, codec none, blocks of version 2, filter
            legacy 600 B, index 200 B, statistics 100 B

      Run 0: 1 table, by key
        01JB0000000000000000000000
            keys key/0250 to key/0999
            16.9 KiB up to the last section, codec none, blocks of version 2, filter
            legacy 600 B, index 200 B, statistics 100 B

      Tables without a view
        01JC0000000000000000000000
            keys key/0000 to key/0499
            16.9 KiB up to the last section, codec none, blocks of version 2, filter
            legacy 600 B, index 200 B, statistics 100 B

      2 checkpoints
        c-1  nightly
            manifest 9, created 2026-11-21 08:40:36, never expires, writer epoch 2
        c-2
            manifest 8, created 2026-11-21 08:40:36, expires 2026-11-21 11:20:00

      Other database parent, 1 table
        checkpoint  c-3
        final       none yet
        01JC0000000000000000000000

      Nothing found.
      "
    `);
    expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
    const hidden = await runWith(['manifest', 'show', DB, '--redact-keys'], {
      tools: { manifestInspect: async () => sample },
    });
    expect(hidden.out).not.toContain('key/0');
  });

  it('shows what is left of one that is damaged', async () => {
    const { manifest: _, ...rest } = manifestReport();
    const sample = { ...rest, findings: [tableFinding()] };
    const { code, out } = await runWith(['manifest', 'show', DB, '12'], {
      tools: { manifestInspect: async () => sample },
    });
    expect(code).toBe(EXIT.damage);
    expect(out).toContain('Its content cannot be read.');
    expect(out).toContain('1 error.');
  });

  it('loses nothing as JSON: every manifest of SlateDB encodes from it to the same bytes', async () => {
    const fixtures = goldenFixtures().filter(({ expected }) => typeof expected.db_path === 'string');
    for (const fixture of fixtures) {
      const { store, path } = await goldenInMemory(fixture);
      const stored: { id: number; bytes: Uint8Array }[] = [];
      for await (const object of prefixedStore(store, path).list('manifest/')) {
        const got = await prefixedStore(store, path).get(object.path);
        stored.push({ id: Number(/\d+/.exec(object.path)?.[0]), bytes: got!.bytes });
      }
      const newest = stored.reduce((a, b) => (a.id > b.id ? a : b));
      const { out } = await runWith(['manifest', 'show', DB, '--json'], {
        tools: { manifestInspect: () => manifestInspect({ store, path }) },
      });
      const document = revived(JSON.parse(out)) as { manifest: Manifest; canonical: boolean };
      // Other encoders put the same into other bytes.
      const isCanonical = !fixture.name.startsWith('constructed/');
      expect(document.canonical || !isCanonical, fixture.name).toBe(true);
      const again = encodeManifest(document.manifest);
      if (isCanonical) expect(Buffer.compare(again, newest.bytes), fixture.name).toBe(0);
      else expect(decodeManifest(again).manifest, fixture.name).toEqual(decodeManifest(newest.bytes).manifest);
    }
    expect(fixtures.length).toBeGreaterThan(30);
  });

  it('says what differs from another one, and is no damage', async () => {
    const calls: unknown[][] = [];
    const result: ManifestDiff = {
      schemaVersion: 1,
      from: 41n,
      to: 43n,
      changes: [{ text: 'replay point: 9 → 10' }, { text: 'L0 table X added', segment: key('user/') }],
      requests: 4,
      tookMs: 5,
    };
    const manifestDiff = async (...args: unknown[]) => {
      calls.push(args);
      return result;
    };
    const run = (...words: string[]) => runWith(['manifest', 'show', DB, ...words], { tools: { manifestDiff } });
    const { code, out } = await run('--diff', '41', '43');
    expect(code).toBe(EXIT.clean);
    expect(`\n${out}`).toMatchInlineSnapshot(`
      "
      From manifest 41 to manifest 43: 2 differences.

        replay point: 9 → 10
        segment user/: L0 table X added

      cost  4 requests, 5 ms
      "
    `);
    await run('--diff', '41');
    expect(calls.map(([, from, to]) => [from, to])).toEqual([
      [41n, 43n],
      [41n, undefined],
    ]);
    expect((await run('--diff', '41', '--redact-keys')).out).not.toContain('user');
    expect(JSON.parse((await run('--diff', '41', '--json')).out)).toMatchObject({
      type: 'manifest-diff',
      to: { $bigint: '43' },
    });
  });

  it('refuses an id that is no number', async () => {
    expect((await runWith(['manifest', 'show', DB, 'x'])).code).toBe(EXIT.usage);
    expect((await runWith(['manifest', 'show', DB, '--diff', 'x'])).code).toBe(EXIT.usage);
  });
});

describe('manifest inspect', () => {
  it('counts and draws the tables of segments, too', async () => {
    const { objects } = goldenFixture('slatedb-0.18.0/segments');
    const newest = objects.filter(({ path }) => path.endsWith('.manifest')).at(-1)!;
    const sample = { ...manifestReport(), manifest: decodeManifest(newest.bytes).manifest };
    const { out } = await runWith(['manifest', 'inspect', DB], { tools: { manifestInspect: async () => sample } });
    expect(out).toContain('3 in level 0, 2 in 2 runs');
    expect(out.match(/^L0 \.\./gm)?.length).toBe(3);
  });
});
