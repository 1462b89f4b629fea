/**
 * The collector's boundary files: where one contradicts the newest manifest or is no number, all that check say what an opening refuses,
 * in a report, and what they advise leads back to a sound database.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { compact, gcOnce } from '../../src/admin.ts';
import { type DbError, isDbError } from '../../src/common/errors.ts';
import type { Finding } from '../../src/common/finding.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import { SeededRandom } from '../../src/common/random.ts';
import { compactionsPath, MANIFEST_BOUNDARY_PATH, manifestPath } from '../../src/format/object-names.ts';
import { listCompactionsIds } from '../../src/lsm/manifest/compactions-store.ts';
import { listManifestIds } from '../../src/lsm/manifest/manifest-store.ts';
import { open, openReader } from '../../src/open.ts';
import type { DatabaseLocation } from '../../src/store/location.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import { manifestInspect } from '../../src/tools/manifest-inspect.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import { sstCheck } from '../../src/tools/sst-check.ts';
import { stats } from '../../src/tools/stats.ts';
import { verify } from '../../src/tools/verify.ts';
import { walInspect } from '../../src/tools/wal-inspect.ts';
import { CONCAT, gathered, goldenInMemory } from '../support/golden-database.ts';
import { goldenFixture } from '../support/golden-fixtures.ts';

const NOW_MS = 1_795_300_000_000;
const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const COMPACTIONS_BOUNDARY = 'gc/compactions.boundary';

let clock: ManualClock;
let location: DatabaseLocation;
beforeEach(async () => {
  clock = new ManualClock(NOW_MS);
  location = await goldenInMemory(goldenFixture('slatedb-0.17.0/collected'));
});

const run = <T>(promise: Promise<T>): Promise<T> => clock.runUntilSettled(promise, 3_600_000);
const options = () => ({ clock, random: new SeededRandom(3), logger: QUIET });
const root = () => prefixedStore(location.store, location.path);
const write = (path: string, text: string) =>
  root().put(path, new TextEncoder().encode(text), { condition: 'any', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' });

async function refusal(promise: Promise<{ close(): Promise<void> }>): Promise<DbError | undefined> {
  try {
    await run((await run(promise)).close());
    return undefined;
  } catch (error) {
    if (isDbError(error)) return error;
    throw error;
  }
}

/** Severities and codes that each check gives for an object. */
async function saidOf(path: string): Promise<Record<string, string[]>> {
  const said = (findings: readonly Finding[]) =>
    findings.filter((f) => f.object.path === path).map((f) => `${f.severity} ${f.code}`);
  const whole = await run(verify(location, options()));
  return {
    [`verify: ${whole.verdict}`]: said(whole.findings),
    sstCheck: said(await run(gathered(sstCheck(location, options())))),
    manifestInspect: said((await run(manifestInspect(location, undefined, options()))).findings),
    stats: said((await run(stats(location, options()))).findings),
    gc: said((await run(gcOnce(location, options()))).findings),
  };
}

describe('the newest manifests are gone, and the boundary says so', () => {
  beforeEach(async () => {
    const ids = await listManifestIds(root());
    await root().delete(ids.slice(1).map(manifestPath));
    await write(MANIFEST_BOUNDARY_PATH, String(ids[0] + 2));
  });

  it('every check says what an opening refuses', async () => {
    expect(await refusal(openReader(location, options()))).toMatchObject({ code: 'MANIFEST_INCONSISTENT' });
    expect(await refusal(open(location, options()))).toMatchObject({ code: 'MANIFEST_INCONSISTENT' });
    const error = ['error MANIFEST_INCONSISTENT'];
    expect(await saidOf(MANIFEST_BOUNDARY_PATH)).toEqual({
      'verify: corrupt': error,
      sstCheck: error,
      manifestInspect: error,
      stats: error,
      gc: error,
    });
    for (const opening of [() => open(location, options()), () => openReader(location, options())]) {
      expect(await refusal(opening())).toMatchObject({
        message: expect.stringMatching(
          /^gc\/manifest.boundary: .*If newer manifests are gone, restore them, or let a repair write one/,
        ),
        hint: { commands: [expect.any(String), 'shaledb manifest repair LOCATION'] },
      });
    }
    const { findings, nextSteps } = await run(verify(location, options()));
    expect(findings.find((f) => f.object.role === 'boundary')?.hint.commands.join()).toContain(
      'shaledb manifest repair',
    );
    expect(JSON.stringify(nextSteps)).toContain('manifest repair');
  });

  it('the repair that they advise makes it open again', async () => {
    expect(await run(manifestRepair(location, { ...options(), apply: true }))).toMatchObject({
      applied: true,
    });
    expect(await refusal(open(location, { ...options(), mergeOperator: CONCAT }))).toBeUndefined();
    expect(await saidOf(MANIFEST_BOUNDARY_PATH)).toMatchObject({ sstCheck: [], manifestInspect: [] });
  });

  it('a manifest that came in the meantime is no damage', async () => {
    const ids = await listManifestIds(root());
    await write(MANIFEST_BOUNDARY_PATH, String(ids[0] - 1));
    expect(await saidOf(MANIFEST_BOUNDARY_PATH)).toMatchObject({ sstCheck: [], manifestInspect: [] });
  });
});

describe.each(['', 'junk', '9junk', '-1', '99999999999999999999', '9'.repeat(300), '\u0000\u0001'])(
  'the boundary of the manifests is %j',
  (text) => {
    beforeEach(() => write(MANIFEST_BOUNDARY_PATH, text));

    it('every check says so in its report, as an opening does', async () => {
      const advice = /write it again: the decimal number one below the lowest id in manifest\//;
      for (const opening of [() => open(location, options()), () => openReader(location, options())]) {
        expect(await refusal(opening())).toMatchObject({
          code: 'MALFORMED',
          message: expect.stringMatching(advice),
          hint: { summary: expect.stringMatching(advice) },
        });
      }
      const error = ['error MALFORMED'];
      const said = { 'verify: corrupt': error, sstCheck: error, manifestInspect: error, stats: error, gc: error };
      expect(await saidOf(MANIFEST_BOUNDARY_PATH)).toEqual(said);
      expect((await run(verify(location, options()))).nextSteps).toEqual(['shaledb manifest list LOCATION']);
      for await (const report of walInspect(location, options())) expect(report.findings).toEqual([]);
    });

    it('what they advise makes it open again', async () => {
      const [lowest] = await listManifestIds(root());
      await write(MANIFEST_BOUNDARY_PATH, String(lowest - 1));
      expect(await refusal(open(location, { ...options(), mergeOperator: CONCAT }))).toBeUndefined();
      expect((await run(verify(location, options()))).findings.filter((f) => f.severity === 'error')).toEqual([]);
    });
  },
);

describe.each([
  ['junk', 'MALFORMED'],
  ['999999', 'MANIFEST_INCONSISTENT'],
])('the boundary of the compactions is %j', (text, code) => {
  beforeEach(() => write(COMPACTIONS_BOUNDARY, text));

  it('is a warning in every report: nothing that opens reads it', async () => {
    const warning = [`warning ${code}`];
    expect(await saidOf(COMPACTIONS_BOUNDARY)).toEqual({
      'verify: degraded': warning,
      sstCheck: [],
      manifestInspect: [],
      stats: warning,
      gc: warning,
    });
    const { findings, nextSteps } = await run(verify(location, options()));
    const hint = findings.find((f) => f.object.path === COMPACTIONS_BOUNDARY)?.hint.summary;
    expect(hint).toMatch(/below the lowest id in compactions\/.* Nothing is compacted/);
    expect(nextSteps).toContain('shaledb gc LOCATION');
    expect(await refusal(open(location, { ...options(), mergeOperator: CONCAT }))).toBeUndefined();
  });

  it('ends a compaction with an error that says so, until it is as advised', async () => {
    const compacted = () =>
      run(
        compact(location, { ...options(), apply: true, liveCheckMs: 0, mergeOperator: CONCAT }).catch(
          (error: DbError) => error,
        ),
      );
    expect(await compacted()).toMatchObject({
      code: 'COMPACTION_FAILED',
      retryable: false,
      cause: { code, message: expect.stringContaining(COMPACTIONS_BOUNDARY) },
      hint: { summary: expect.stringContaining('below the lowest id in compactions/') },
    });
    const ids = await listCompactionsIds(root());
    await write(COMPACTIONS_BOUNDARY, String(ids[0] - 1));
    expect(await compacted()).toMatchObject({ outcome: 'compacted' });
    expect(await saidOf(COMPACTIONS_BOUNDARY)).toMatchObject({ stats: [], gc: [] });
  });

  it('is the last error of the compactor beside a writer', async () => {
    const db = await run(open(location, { ...options(), mergeOperator: CONCAT, compactor: {} }));
    await expect(run(db.compact())).rejects.toMatchObject({ code: 'COMPACTION_FAILED', retryable: false });
    expect(db.upkeep().compactor).toMatchObject({
      phase: 'retrying',
      lastError: { code, retryable: false, message: expect.stringContaining(COMPACTIONS_BOUNDARY) },
    });
    await run(db.close());
  });
});

it('a damaged compactions file is the same warning in every report, and compaction replaces it', async () => {
  const path = compactionsPath((await listCompactionsIds(root())).at(-1)!);
  await write(path, 'rubbish');
  const warning = [expect.stringMatching(/^warning /)];
  expect(await saidOf(path)).toMatchObject({ 'verify: degraded': warning, stats: warning, gc: warning });
  const { nextSteps } = await run(verify(location, options()));
  expect(nextSteps).toEqual(['shaledb compact LOCATION']);
  await run(compact(location, { ...options(), apply: true, liveCheckMs: 0, mergeOperator: CONCAT }));
  expect((await run(stats(location, options()))).findings).toEqual([]);
});
