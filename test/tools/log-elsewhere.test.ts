/** Databases whose log is in a store of its own, checked without it: nothing is missing, and the verdict is "cannot tell". */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Finding } from '../../src/common/finding.ts';
import { open } from '../../src/open.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import { sstCheck } from '../../src/tools/sst-check.ts';
import type { Target } from '../../src/tools/target.ts';
import { verify } from '../../src/tools/verify.ts';
import { walInspect } from '../../src/tools/wal-inspect.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import { copyGolden, fileHashes } from '../support/golden-database.ts';
import { goldenFixture } from '../support/golden-fixtures.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const fixture = goldenFixture('slatedb-0.12.1/separate-wal-store');

const summaryOf = (findings: readonly Finding[]) =>
  findings.filter((f) => f.severity !== 'note').map((f) => [f.severity, f.code, f.object.path]);

async function expectCannotTell(target: Target, remedy: RegExp): Promise<void> {
  const outOfReach = [['unknown', 'OUT_OF_REACH', 'wal/']];
  const check = sstCheck(target, { logger: QUIET });
  const found: Finding[] = [];
  for await (const finding of check) found.push(finding);
  expect(summaryOf(found)).toEqual(outOfReach);
  expect(found[0].hint.summary).toMatch(remedy);
  expect((await check.summary()).verdict).toBe('unknown');
  const report = await verify(target, { logger: QUIET });
  expect(summaryOf(report.findings)).toEqual(outOfReach);
  expect(report).toMatchObject({ verdict: 'unknown', wal: { damaged: 0, missing: 0 } });
  expect(report.nextSteps.join()).not.toContain('repair');
  const objects = [];
  for await (const object of walInspect(target, { logger: QUIET })) objects.push(object);
  expect(objects.map((o) => [o.state, summaryOf(o.findings)])).toEqual([['unknown', outOfReach]]);
}

describe('a database of SlateDB whose log is in another store', () => {
  it('gets the verdict cannot tell from every check without that store, and is clean with it', async () => {
    using copy = copyGolden(fixture);
    const { store, path } = copy.location;
    await expectCannotTell(pathToFileURL(join(copy.directory, 'main', 'db')), /walStore/);
    await expectCannotTell({ store, path }, /walStore/);
    expect(await verify(copy.location, { logger: QUIET })).toMatchObject({ verdict: 'clean' });
  });

  it('is repaired by nothing without that store, also where its newest manifest is damaged', async () => {
    using copy = copyGolden(fixture);
    const url = pathToFileURL(join(copy.directory, 'main', 'db'));
    await expect(walRepair(url, { logger: QUIET })).rejects.toMatchObject({ details: { walStore: true } });
    writeFileSync(join(copy.directory, 'main/db/manifest/00000000000000000004.manifest'), 'damaged');
    const before = fileHashes(copy.directory);
    await expect(manifestRepair(url, { logger: QUIET, apply: true, liveCheckMs: 0 })).rejects.toMatchObject({
      details: { walStore: true },
    });
    expect(fileHashes(copy.directory)).toEqual(before);
  });
});

describe('a database of ShaleDB', () => {
  it.each([
    ['with its log in another store is not judged without it', true, /walStore\b.*as location/],
    ['with its log beside its tables is not judged by another store', false, /Leave walStore out/],
  ])('%s', async (_, isApart, remedy) => {
    const store = new MemoryStore();
    const walStore = { store: new MemoryStore(), path: '' };
    const [right, other] = isApart
      ? [
          { store, path: 'db', walStore },
          { store, path: 'db' },
        ]
      : [
          { store, path: 'db' },
          { store, path: 'db', walStore },
        ];
    const db = await open(right, { logger: QUIET });
    await db.put('key', 'value');
    await db.close();
    await expectCannotTell(other, remedy);
    expect(await verify(right, { logger: QUIET })).toMatchObject({ verdict: 'clean' });
  });
});
