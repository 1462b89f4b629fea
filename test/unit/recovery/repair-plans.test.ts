/** Which attempts at repairs are open, and what they need. */
import { beforeEach, describe, expect, it } from 'vitest';
import { toPlain } from '../../../src/common/plain.ts';
import { repairFilePath } from '../../../src/format/object-names.ts';
import { encodeSidecar } from '../../../src/format/sidecar.ts';
import { openAttempts, PLAN_KIND, readOpenPlan, repairFilesOf } from '../../../src/recovery/repair-plans.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { tableId } from '../../support/manifest-script.ts';

const A = 'r-aaaaaaaaaaaaaaaaaaaaaaaa';
const B = 'r-bbbbbbbbbbbbbbbbbbbbbbbb';

describe('an attempt at a repair', () => {
  it.each([
    ['plan-1', 'A 1'],
    ['plan-1 report-1', ''],
    ['plan-1 plan-2', 'A 1, A 2'],
    ['plan-1 plan-2 report-1', 'A 2'],
    ['plan-1 plan-2 report-2', ''],
    ['plan-2 report-10 plan-11', 'A 11'],
    ['report-1', ''],
  ])('is open as long as no report is as late: %s => %s', (files, open) => {
    const paths = files.split(' ').map((file) => `shale/repairs/${A}/${file}`);
    const found = openAttempts(repairFilesOf([...paths, 'shale/identity', `shale/repairs/${A}/other`]));
    expect(found.map(({ number }) => `A ${number}`).join(', ')).toBe(open);
  });

  it('is of one repair', () => {
    const repairs = repairFilesOf([`shale/repairs/${A}/plan-1`, `shale/repairs/${B}/report-1`]);
    expect(openAttempts(repairs)).toEqual([{ repairId: A, number: 1 }]);
  });
});

describe('a plan', () => {
  let store: MemoryStore;
  beforeEach(() => {
    store = new MemoryStore();
  });
  const write = (value: unknown, kind = PLAN_KIND, version = 1) =>
    store.put(repairFilePath(A, 'plan', 2), encodeSidecar(kind, version, toPlain(value)), {
      condition: 'any',
      putId: tableId('P'),
    });
  const read = () => readOpenPlan(store, { repairId: A, number: 2 });

  it('needs the tables that it makes and the objects that it is about', async () => {
    await write({
      names: [{ id: tableId('X'), putId: tableId('P') }],
      report: { evidence: [{ from: 'wal/1', to: 'copy' }], rows: 3n },
    });
    expect(await read()).toEqual({ repairId: A, number: 2, tables: [tableId('X')], objects: ['wal/1'] });
  });

  it.each([
    ['without names', { report: { evidence: [] } }],
    ['without a report', { names: [] }],
    ['with a name that is none', { names: [{ id: 'X' }], report: { evidence: [] } }],
    ['with an object that is none', { names: [], report: { evidence: [{ from: 1 }] } }],
    ['with a hole', { names: [null], report: { evidence: [] } }],
    ['that is nothing', null],
  ])('%s cannot be read', async (_, value) => {
    await write(value);
    expect(await read()).toBeUndefined();
  });

  it('of another kind, of a newer form, damaged or gone cannot be read', async () => {
    const sound = { names: [], report: { evidence: [] } };
    expect(await read()).toBeUndefined();
    await write(sound, 'repair-report');
    expect(await read()).toBeUndefined();
    await write(sound, PLAN_KIND, 2);
    expect(await read()).toBeUndefined();
    await write(sound);
    expect(await read()).toMatchObject({ tables: [], objects: [] });
    const { bytes } = (await store.get(repairFilePath(A, 'plan', 2)))!;
    bytes[bytes.length - 2] ^= 1;
    await store.put(repairFilePath(A, 'plan', 2), bytes, { condition: 'any', putId: tableId('P') });
    expect(await read()).toBeUndefined();
  });
});
