/** What counts as left of a database: paths of objects in the store, and whether they are a sign. `wal:` are those in a store of the log. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { makeUlid } from '../../../src/common/ulid.ts';
import {
  COMPACTIONS_BOUNDARY_PATH,
  compactionsPath,
  IDENTITY_PATH,
  ledgerPath,
  MANIFEST_BOUNDARY_PATH,
  manifestPath,
  tablePath,
  walPath,
} from '../../../src/format/object-names.ts';
import { hasRemains, noManifestLeft } from '../../../src/recovery/remains.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';

const clock = new ManualClock();
const PUT_ID = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
const table = tablePath(makeUlid(clock.nowMs(), new SeededRandom(1)));

async function storeOf(...paths: string[]): Promise<MemoryStore> {
  const store = new MemoryStore({ clock });
  for (const path of paths) await store.put(path, Uint8Array.of(1), { condition: 'any', putId: PUT_ID });
  return store;
}

describe('signs of a database', () => {
  it.each([
    manifestPath(7),
    walPath(1),
    table,
    compactionsPath(2),
    IDENTITY_PATH,
    ledgerPath(1),
    MANIFEST_BOUNDARY_PATH,
    COMPACTIONS_BOUNDARY_PATH,
  ])('%s is one, alone and among files of others', async (path) => {
    const alone = await storeOf(path);
    expect(await hasRemains({ main: alone, wal: alone })).toBe(true);
    const among = await storeOf('a.txt', path, 'z.txt');
    expect(await hasRemains({ main: among, wal: among })).toBe(true);
  });

  it.each([
    'readme.txt',
    'wal/notes.txt',
    'manifest/7.manifest',
    'compacted/readme',
    'other/manifest.txt',
    'shale.txt',
  ])('%s is none: it is of another program', async (path) => {
    const store = await storeOf(path);
    expect(await hasRemains({ main: store, wal: store })).toBe(false);
  });

  it('can be in the store of the log alone, where nothing else is looked for', async () => {
    const [none, log, tables] = [await storeOf(), await storeOf(walPath(3)), await storeOf(table)];
    expect(await hasRemains({ main: none, wal: log })).toBe(true);
    expect(await hasRemains({ main: none, wal: tables })).toBe(false);
    // The log of this database is in the other store: an object under its name here is a sign of none.
    expect(await hasRemains({ main: log, wal: none })).toBe(false);
  });
});

describe('the error for a database without a manifest', () => {
  it('is damage that nothing here repairs, and says where to look', () => {
    const error = noManifestLeft('memory: (db)', 'check');
    expect(error).toMatchObject({ name: 'ManifestCorruptionError', kind: 'corruption' });
    expect(error.message).toMatch(/^memory: \(db\): no manifest is left.*Nothing was changed/);
    const [finding] = error.findings;
    expect(error.findings.length).toBe(1);
    expect(finding).toMatchObject({ code: 'MISSING_OBJECT', severity: 'error', remedy: 'none', during: 'check' });
    expect(finding.hint.commands.length).toBe(1);
  });
});
