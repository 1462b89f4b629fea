/** The parents of a clone: where their tables are stored, and what it means that nothing of one is found. */
import { describe, expect, it } from 'vitest';
import { makeFinding, WHOLE_OBJECT } from '../../../../src/common/finding.ts';
import { ManualClock } from '../../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../../src/common/random.ts';
import { makeUlid } from '../../../../src/common/ulid.ts';
import type { ExternalDb, TableView } from '../../../../src/format/manifest-types.ts';
import { tablePath } from '../../../../src/format/object-names.ts';
import { type DatabaseStores, databaseStores } from '../../../../src/lsm/manifest/database-stores.ts';
import { emptyManifest } from '../../../../src/lsm/manifest/manifest-edits.ts';
import {
  absentParentFinding,
  absentParents,
  assertParentsInReach,
  ofParent,
  tablePlace,
} from '../../../../src/lsm/tree/parents.ts';
import { MemoryStore } from '../../../../src/store/memory-store.ts';
import { rejection } from '../../../support/database.ts';

const clock = new ManualClock();
const random = new SeededRandom(1);
const [own, first, second] = Array.from({ length: 3 }, () => makeUlid(clock.nowMs(), random));

/** A clone of the databases `a` and `b`, of which it reads a table each. */
const CLONE = {
  ...emptyManifest(2, false),
  l0: [own, first, second].map((id) => ({ viewId: id, table: { id } }) as TableView),
  externalDbs: [
    { path: 'a', tableIds: [first] },
    { path: 'b/c', tableIds: [second] },
  ] as ExternalDb[],
};

async function storesWith(isRootAssumed: boolean, ...paths: string[]): Promise<DatabaseStores> {
  const store = new MemoryStore({ clock });
  for (const path of paths) await store.put(path, new Uint8Array(1), { condition: 'any', putId: own });
  return databaseStores({ location: { store, path: 'clone' }, isRootAssumed }, { clock, random, timeoutMs: 1000 });
}

describe('a table', () => {
  it('is stored below its database, or below the parent that owns it', async () => {
    const stores = await storesWith(false);
    expect(tablePlace(stores, undefined, own)).toEqual({ store: stores.main, path: tablePath(own) });
    expect(tablePlace(stores, 'a/b', own)).toEqual({ store: stores.whole, path: `a/b/${tablePath(own)}` });
    expect(tablePlace(stores, '', own)).toEqual({ store: stores.whole, path: tablePath(own) });
  });
});

describe('a parent', () => {
  const used = new Map([
    ['a', 1],
    ['b/c', 2],
  ]);

  it('is there with any object below its path, and not with one beside it', async () => {
    const stores = await storesWith(false, 'a/manifest/1', 'b/cd/x');
    expect(await absentParents(stores.whole, used)).toEqual([{ path: 'b/c', tables: 2 }]);
  });

  it('of which nothing is found is gone where the root was stated', async () => {
    const stores = await storesWith(false);
    await assertParentsInReach(stores, CLONE);
    const finding = absentParentFinding(stores, { path: 'a', tables: 1 }, 'check');
    expect(finding).toMatchObject({ code: 'PARENT_MISSING', severity: 'error', remedy: 'none' });
  });

  it('is unknown where a URL left the root open: no damage, and an opening refuses', async () => {
    const stores = await storesWith(true, 'a/manifest/1');
    expect(await rejection(clock.runUntilSettled(assertParentsInReach(stores, CLONE)))).toMatchObject({
      code: 'PARENT_OUT_OF_REACH',
      message: expect.stringContaining('b/c'),
    });
    expect(absentParentFinding(stores, { path: 'b/c', tables: 2 }, 'check').severity).toBe('unknown');
  });

  it('of which something is found shows that the root is right', async () => {
    const stores = await storesWith(true, 'a/manifest/1', 'b/c/compacted/x');
    await assertParentsInReach(stores, CLONE);
  });

  it('that no table is read from is not asked for', async () => {
    const stores = await storesWith(true);
    await assertParentsInReach(stores, { ...CLONE, l0: CLONE.l0.slice(0, 1) });
    await assertParentsInReach(stores, emptyManifest(2, false));
  });
});

describe('damage to a table of a parent', () => {
  const object = { role: 'table' as const, path: 'a/compacted/x.sst', id: first, sealed: true };
  const finding = makeFinding({ code: 'BAD_CHECKSUM', object, at: WHOLE_OBJECT });

  it('advises no command, which would be refused, but where the object is to be restored', async () => {
    const { whole } = await storesWith(false);
    const advised = ofParent(finding, whole, 'a');
    expect([advised.hint.commands, advised.hint.lossIfRepaired]).toEqual([[], 'unknown']);
    expect(advised.hint.summary).toContain('belongs to the database a in memory');
  });
});
