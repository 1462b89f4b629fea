/**
 * The golden databases opened for writing: what SlateDB wrote is read the same before and after we write to it, whichever
 * version and forms it has, and what its manifest says of its tables is kept. A segmented one is refused and left as it is, and
 * so is one that the form asked for cannot hold.
 */
import { describe, expect, it } from 'vitest';
import { IncompatibleError } from '../../src/common/errors.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import type { Db } from '../../src/db/db.ts';
import type { Compatibility } from '../../src/db/open-options.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import type { Manifest, TableView } from '../../src/format/manifest-types.ts';
import { open, openReader } from '../../src/open.ts';
import type { DatabaseLocation } from '../../src/store/location.ts';
import {
  clockFrom,
  copyGolden,
  fileHashes,
  type GoldenScanRow,
  gathered,
  goldenInMemory,
  goldenReadOptions,
  goldenRowsByGet,
  goldenScanRow,
  goldenTime,
  goldenTimeOf,
  newestManifest,
} from '../support/golden-database.ts';
import { type GoldenFixture, goldenFixtures } from '../support/golden-fixtures.ts';

const fixtures = goldenFixtures();
const isSegmented = (fixture: GoldenFixture) => fixture.name.endsWith('/segments');
/** Tables that no reader can read whole are not merged. */
const isDamaged = (fixture: GoldenFixture) => fixture.name.startsWith('damaged/');
const NEW_ROWS = 10;
const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

async function expectRows(db: Pick<Db, 'scan' | 'getWithMeta'>, expected: GoldenScanRow[]): Promise<void> {
  const rows = await gathered(db.scan());
  expect(rows.map(goldenScanRow)).toEqual(expected.map(({ key, value, seq }) => ({ key, value, seq })));
  expect(
    await goldenRowsByGet(
      db,
      rows.map((r) => r.key),
    ),
  ).toEqual(expected);
  const reverse = await gathered(db.scan({ reverse: true }));
  expect(reverse.reverse().map(goldenScanRow)).toEqual(rows.map(goldenScanRow));
}

async function expectAbsent(db: Db, { expected }: GoldenFixture): Promise<void> {
  const keys: Uint8Array[] = (expected.keys_expected_absent ?? []).map((hex: string) => Buffer.from(hex, 'hex'));
  expect(await Promise.all(keys.map((key) => db.has(key)))).toEqual(keys.map(() => false));
}

/** Sorts after the keys of all fixtures. */
const newKey = (i: number) => `~shaledb-${i}`;

function writeRows(db: Db, round: number): Promise<GoldenScanRow[]> {
  return Promise.all(
    Array.from({ length: NEW_ROWS }, async (_, i) => {
      const value = `round ${round} row ${i}`;
      const { seq } = await db.put(newKey(i), value);
      const meta = await db.getWithMeta(newKey(i));
      return {
        key: Buffer.from(newKey(i)).toString('hex'),
        value: Buffer.from(value).toString('hex'),
        seq: String(seq),
        create_ts: goldenTime(meta?.createTs),
        expire_ts: null,
      };
    }),
  );
}

/** Those of which one table has several views in a tree: manifests of version 1 cannot hold them. */
const SEVERAL_VIEWS = [
  'constructed/manifest-v2-views',
  'slatedb-0.17.0/union-same-views',
  'slatedb-0.18.0/incremental',
  'slatedb-0.18.0/union-of-projections',
];

describe.each(fixtures.filter((f) => !isSegmented(f)))('$name', (fixture) => {
  it('is written on in a directory, and keeps its rows', async () => {
    using copy = copyGolden(fixture);
    await expectWritable(fixture, copy.location, 'auto');
  });

  it.each(['slatedb-0.12', 'slatedb-0.17'] as const)('is written on as %s writes', async (compatibility) => {
    if (compatibility === 'slatedb-0.12' && SEVERAL_VIEWS.includes(fixture.name)) {
      await expectRefused(fixture, { compatibility }, 'PROFILE_UNSUITABLE');
    } else await expectWritable(fixture, await goldenInMemory(fixture), compatibility);
  });
});

async function expectRefused(fixture: GoldenFixture, options: OpenOptions, code: string): Promise<void> {
  using copy = copyGolden(fixture);
  const before = fileHashes(copy.directory);
  const refused = await open(copy.location, { ...options, logger: SILENT }).then(
    () => undefined,
    (error) => error,
  );
  expect(refused).toBeInstanceOf(IncompatibleError);
  expect(refused).toMatchObject({ code });
  expect(fileHashes(copy.directory)).toEqual(before);
}

/** Views as they were read come back as they were read, in their places; in version 1 under the ids of their tables. */
function expectTreeKept(before: Manifest, now: Manifest): void {
  const inForm = (view: TableView): TableView => (now.headerVersion === 1 ? { ...view, viewId: view.table.id } : view);
  expect(now.l0.slice(now.l0.length - before.l0.length)).toEqual(before.l0.map(inForm));
  expect(now.runs).toEqual(before.runs.map((run) => ({ ...run, views: run.views.map(inForm) })));
  expect([now.lastCompacted, now.externalDbs, now.checkpoints]).toEqual([
    before.lastCompacted,
    before.externalDbs,
    before.checkpoints,
  ]);
}

async function expectWritable(
  fixture: GoldenFixture,
  location: DatabaseLocation,
  compatibility: Compatibility,
): Promise<void> {
  const expected = fixture.expected.scan as GoldenScanRow[];
  const readOptions = goldenReadOptions(fixture.expected);
  const before = await newestManifest(location);
  // Its tables stay as they are: what happens to them beside that is no matter of the profile.
  const alone = { compactor: false, gc: false } as const;
  const options = { ...readOptions, ...alone, clock: clockFrom(goldenTimeOf(fixture)), logger: SILENT, compatibility };
  let db = await open(location, options);
  await expectRows(db, expected);
  await expectAbsent(db, fixture);
  const first = await writeRows(db, 1);
  await expectRows(db, [...expected, ...first]);
  await db.flush({ type: 'memtable' });
  await expectRows(db, [...expected, ...first]);
  await db.close();

  db = await open(location, options);
  await expectRows(db, [...expected, ...first]);
  await expectAbsent(db, fixture);
  const second = await writeRows(db, 2);
  await db.close();

  const reader = await openReader(location, readOptions);
  await expectRows(reader, [...expected, ...second]);
  await reader.close();
  expectTreeKept(before, await newestManifest(location));
}

describe.each(fixtures.filter((f) => !isSegmented(f) && !isDamaged(f)))('$name', (fixture) => {
  const isWide = SEVERAL_VIEWS.includes(fixture.name);
  it.each<Compatibility>(isWide ? ['slatedb-0.17'] : ['auto', 'slatedb-0.17'])(
    'is compacted as %s writes, and keeps its rows',
    async (compatibility) => {
      await expectCompacted(fixture, await goldenInMemory(fixture), compatibility);
    },
  );
});

/** Everything becomes one run, twice, with rows of ours in between; readers see the same rows. */
async function expectCompacted(
  fixture: GoldenFixture,
  location: DatabaseLocation,
  compatibility: Compatibility,
): Promise<void> {
  const expected = fixture.expected.scan as GoldenScanRow[];
  const readOptions = goldenReadOptions(fixture.expected);
  // Virtual time: a job that SlateDB left under way is waited for until nobody can work on it any more.
  const clock = new ManualClock(goldenTimeOf(fixture));
  const run = <T>(promise: Promise<T>) => clock.runUntilSettled(promise);
  const db = await run(open(location, { ...readOptions, clock, logger: SILENT, compatibility, gc: false }));
  await run(db.compact());
  await expectRows(db, expected);
  await expectAbsent(db, fixture);
  const first = await run(writeRows(db, 1));
  await run(db.compact());
  await expectRows(db, [...expected, ...first]);
  expect(db.upkeep().trees.every(({ l0Tables, runs }) => l0Tables === 0 && runs <= 1)).toBe(true);
  await run(db.close());
  const reader = await openReader(location, readOptions);
  await expectRows(reader, [...expected, ...first]);
  await reader.close();
}

describe.each(fixtures.filter(isSegmented))('$name', (fixture) => {
  it.each(['auto', 'slatedb-0.12', 'slatedb-0.17'] as const)('is refused for writing as %s', async (compatibility) => {
    await expectRefused(fixture, { compatibility }, 'SEGMENTS_UNSUPPORTED');
  });
});

it('four of the databases are segmented', () => {
  expect(fixtures.filter(isSegmented).length).toBe(4);
});
