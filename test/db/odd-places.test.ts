/**
 * A database in a directory where something that is no file is in an object's place: tools and openings use the same code, so
 * nothing is called clean that does not open; every refusal says what is where, and nothing was changed; what has a name that
 * no database gives is nobody's business. In real time, because files are.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { manifestRepair, sstRepair, verify, walRepair } from '../../src/admin.ts';
import { type DbError, isDbError } from '../../src/common/errors.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { encodeCompactions } from '../../src/format/compactions-codec.ts';
import type { OpenOptions } from '../../src/index.ts';
import { type DatabaseLocation, LocalStore, open, openReader } from '../../src/index.ts';
import { closeOddPlaces, fileTree, NO_FILES } from '../support/odd-places.ts';

const QUICK: OpenOptions = { logger: SILENT_LOGGER, timeoutMs: 1000, closeTimeoutMs: 1000 };

const root = mkdtempSync(join(tmpdir(), 'shaledb-odd-'));
const template = join(root, 'template');
let cases = 0;

beforeAll(async () => {
  const db = await open({ store: new LocalStore(template), path: 'db' }, QUICK);
  await db.put('a', 'v');
  await db.flush({ type: 'memtable' });
  for (const key of ['b', 'c']) await db.put(key, 'v');
  // Not closed: the log is to be replayed.
});
afterEach(closeOddPlaces);
afterAll(() => rmSync(root, { recursive: true, force: true }));

const id = (n: number) => String(n).padStart(20, '0');

/** The name of the object that is `steps` after the newest in its folder. */
function named(folder: string, steps: number, ending: string): string {
  const ids = readdirSync(join(template, 'db', folder)).map((name) => Number.parseInt(name, 10));
  return `${folder}/${id(Math.max(...ids) + steps)}.${ending}`;
}

/** What an opening needs, and what it is about to write. */
const NEEDED: Record<string, () => string> = {
  'the newest manifest': () => named('manifest', 0, 'manifest'),
  'the next manifest': () => named('manifest', 1, 'manifest'),
  'the last object of the log': () => named('wal', 0, 'sst'),
  'an object within the log': () => named('wal', -1, 'sst'),
  'the next object of the log': () => named('wal', 1, 'sst'),
  'an object of the log that is still to come': () => named('wal', 3, 'sst'),
  'the boundary of manifests': () => 'gc/manifest.boundary',
  'the identity': () => 'shale/identity',
  'the folder of the log': () => 'wal',
  'the folder of manifests': () => 'manifest',
  'the folder of boundaries': () => 'gc',
  'the folder of compactions': () => 'compactions',
  'the folder of sidecars': () => 'shale',
};

/** What an opening does without. */
const NOT_NEEDED: Record<string, () => string> = {
  'the first manifest': () => `manifest/${id(1)}.manifest`,
  'the first object of the log': () => `wal/${id(1)}.sst`,
  'a table that is named': () => `compacted/${readdirSync(join(template, 'db/compacted'))[0]}`,
  'a table that nothing names': () => 'compacted/01ARZ3NDEKTSV4RRFFQ69G5FAV.sst',
  'the folder of tables': () => 'compacted',
  'the boundary of compactions': () => 'gc/compactions.boundary',
  'compactions of which there are none': () => `compactions/${id(1)}.compactions`,
  'the store profile': () => 'shale/store-profile',
  'the first ledger': () => `shale/damage/${id(1)}`,
  'a plan of a repair': () => 'shale/repairs/r-0123456789abcdef01234567/plan-1',
  'a copy in quarantine': () => 'shale/quarantine/r-0123456789abcdef01234567/wal/1',
};

const FOREIGN = ['wal/notes', 'wal/1.sst', 'manifest/backup.manifest', 'compacted/x.sst', 'shale/own', 'gc/x', 'notes'];

interface Copy {
  directory: string;
  location: DatabaseLocation;
}

function copied(): Copy {
  const directory = join(root, String(cases++));
  cpSync(template, directory, { recursive: true });
  return { directory, location: { store: new LocalStore(directory), path: 'db' } };
}

/** Puts something in the place of what is there. */
async function put(kind: string, { directory }: Copy, path: string): Promise<string> {
  const place = join(directory, 'db', path);
  rmSync(place, { recursive: true, force: true });
  mkdirSync(dirname(place), { recursive: true });
  await NO_FILES[kind].make(place);
  return place;
}

async function failureOf(work: Promise<unknown>): Promise<DbError | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (!isDbError(error)) throw error;
    return error;
  }
}

/** An opening that ends, whether or not it comes to a handle. */
async function opening({ location }: Copy): Promise<void> {
  const db = await open(location, QUICK);
  await db.put('z', 'v');
  await db.close();
}

async function reading({ location }: Copy): Promise<void> {
  const { logger, timeoutMs } = QUICK as Required<OpenOptions>;
  const reader = await openReader(location, { logger, timeoutMs });
  await reader.close();
}

function expectNamed(error: DbError | undefined, place: string): void {
  expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'STORE_UNSUITABLE', retryable: false });
  expect(error?.message).toContain(`: ${place}; `);
  expect(error?.message).not.toMatch(/nothing was (changed|written)/i);
}

const ALL_KINDS = Object.keys(NO_FILES);
/** In most places; every kind is tried in some. */
const SOME_KINDS = ['a link that leads nowhere', 'an empty directory'];
const EVERYWHERE = [
  'the next manifest',
  'the last object of the log',
  'the next object of the log',
  'a table that is named',
];

function* casesOf(
  places: Record<string, () => string>,
): Generator<[kind: string, place: string, pathOf: () => string]> {
  for (const [place, pathOf] of Object.entries(places)) {
    const kinds = EVERYWHERE.includes(place) ? ALL_KINDS : SOME_KINDS;
    // A directory is what a folder is to be.
    for (const kind of kinds)
      if (!(place.startsWith('the folder') && kind.includes('directory'))) yield [kind, place, pathOf];
  }
}

describe('in a place that an opening needs', () => {
  it.each([...casesOf(NEEDED)])('%s, %s: each refusal names it, and nothing is changed', async (kind, _, pathOf) => {
    const copy = copied();
    const place = await put(kind, copy, pathOf());
    const before = fileTree(copy.directory);
    expectNamed(await failureOf(verify(copy.location)), place);
    expectNamed(await failureOf(reading(copy)), place);
    expectNamed(await failureOf(opening(copy)), place);
    expect(fileTree(copy.directory)).toEqual(before);
  });
});

describe('in a place that an opening does without', () => {
  it.each([...casesOf(NOT_NEEDED)])('%s, %s: clean means that it opens', async (kind, _, pathOf) => {
    const copy = copied();
    const place = await put(kind, copy, pathOf());
    const before = fileTree(copy.directory);
    let isClean = false;
    const refused = await failureOf(
      verify(copy.location).then(({ verdict, findings }) => {
        expect(findings).toEqual([]);
        isClean = verdict === 'clean';
      }),
    );
    expect(isClean).toBe(refused === undefined);
    if (!isClean) expectNamed(refused, place);
    expect(fileTree(copy.directory)).toEqual(before);
    const refusedToRead = await failureOf(reading(copy));
    if (refusedToRead !== undefined) expect(isClean).toBe(false);
    const db = await open(copy.location, QUICK);
    if (isClean) {
      expect(await db.get('a')).toBeDefined();
      await db.put('z', 'v');
      await db.close();
      expect(await verify(copy.location)).toMatchObject({ verdict: 'clean', findings: [] });
    } else expectNamed(await failureOf(db.get('a')), place);
    const after = fileTree(copy.directory);
    for (const [path, what] of Object.entries(before)) if (path.includes(pathOf())) expect(after[path]).toBe(what);
  });
});

it.each(ALL_KINDS)('%s under names that no database gives is left alone', async (kind) => {
  const copy = copied();
  const tree = () => {
    const foreign = Object.entries(fileTree(copy.directory)).filter(([path]) => FOREIGN.some((f) => path.includes(f)));
    return Object.fromEntries(foreign);
  };
  for (const path of FOREIGN) await put(kind, copy, path);
  const before = tree();
  expect(await verify(copy.location)).toMatchObject({ verdict: 'clean', findings: [] });
  await opening(copy);
  expect(await verify(copy.location)).toMatchObject({ verdict: 'clean', findings: [] });
  expect(tree()).toEqual(before);
});

describe('repairs', () => {
  const APPLY = { apply: true, liveCheckMs: 0, logger: SILENT_LOGGER, timeoutMs: 1000 };
  const withLoss = (location: DatabaseLocation) => walRepair(location, { ...APPLY, acceptLoss: true });
  const ofManifest = (location: DatabaseLocation) => manifestRepair(location, APPLY);

  it.each([
    ['of the log', 'the last object of the log', withLoss],
    ['of the manifest', 'the newest manifest', ofManifest],
    ['of the manifest', 'the next manifest', ofManifest],
  ] as const)('%s name what is in the place of %s, and change nothing', async (_, place, repair) => {
    for (const kind of SOME_KINDS) {
      const copy = copied();
      const at = await put(kind, copy, NEEDED[place]());
      const before = fileTree(copy.directory);
      expectNamed(await failureOf(repair(copy.location)), at);
      expect(fileTree(copy.directory)).toEqual(before);
    }
  });

  it('of a table name it', async () => {
    const copy = copied();
    const at = await put('a FIFO', copy, NOT_NEEDED['a table that is named']());
    const before = fileTree(copy.directory);
    expectNamed(await failureOf(sstRepair(copy.location, at.slice(-30, -4), APPLY)), at);
    expect(fileTree(copy.directory)).toEqual(before);
  });

  it.each([
    ['compactions', `compactions/${id(2)}.compactions`],
    ['a list of losses', `shale/damage/${id(1)}`],
  ])('that would have to write %s name it before they claim the database', async (_, path) => {
    const copy = copied();
    const compactions = { headerVersion: 1 as const, compactorEpoch: 0, jobs: [], hasUnknownFields: false };
    mkdirSync(join(copy.directory, 'db/compactions'));
    writeFileSync(join(copy.directory, `db/compactions/${id(1)}.compactions`), encodeCompactions(compactions));
    const damaged = join(copy.directory, 'db', NEEDED['the last object of the log']());
    writeFileSync(damaged, readFileSync(damaged).fill(0, 10, 60));
    const at = await put('an empty directory', copy, path);
    const names = () => Object.keys(fileTree(join(copy.directory, 'db/manifest')));
    const before = names();
    expectNamed(await failureOf(withLoss(copy.location)), at);
    expect(names()).toEqual(before);
    rmSync(at, { recursive: true });
    expect(await withLoss(copy.location)).toMatchObject({ applied: true });
    await opening(copy);
  });
});

it('a flush that cannot write its manifest says what is there when its time is up', async () => {
  const copy = copied();
  const db = await open(copy.location, QUICK);
  const place = await put('an empty directory', copy, named('manifest', 2, 'manifest'));
  await db.put('z', 'v');
  for (const work of [() => db.flush({ type: 'memtable' }), () => db.close()]) {
    const error = await failureOf(work());
    expect(error).toMatchObject({ code: 'DEADLINE', outcome: 'unknown' });
    expect(error?.message).toContain(place);
    expect(error?.cause).toMatchObject({ code: 'STORE_UNSUITABLE' });
  }
});

it('what was in the way and is moved away leaves a database that opens with all its rows', async () => {
  const copy = copied();
  const place = await put('a link that leads nowhere', copy, NEEDED['the next object of the log']());
  await failureOf(opening(copy));
  rmSync(place);
  expect(await verify(copy.location)).toMatchObject({ verdict: 'clean' });
  const db = await open(copy.location, QUICK);
  for (const key of ['a', 'b', 'c']) expect(await db.get(key)).toBeDefined();
  await db.close();
});
