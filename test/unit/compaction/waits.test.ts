/** What a compactor waits for: after failures, for damaged tables, and while another compactor has the epoch. */
import { describe, expect, it } from 'vitest';
import { CorruptionError, IncompatibleError, UnavailableError } from '../../../src/common/errors.ts';
import { makeFinding, WHOLE_OBJECT } from '../../../src/common/finding.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { BackOff } from '../../../src/compaction/back-off.ts';
import { DamageMarks, MARK_MS, tablesInError } from '../../../src/compaction/damage-marks.ts';
import { TakeoverWait } from '../../../src/compaction/takeover.ts';
import { tablePath } from '../../../src/format/object-names.ts';
import type { LoadedManifest } from '../../../src/lsm/manifest/manifest-store.ts';
import { parseManifest, tableId, tableName } from '../../support/manifest-script.ts';

const loaded = (script: string, isRepair = false) =>
  ({
    id: 1,
    manifest: parseManifest(script),
    seal: isRepair ? { manifest: { isRepair } } : undefined,
  }) as LoadedManifest;
const damage = (path: string, id = '') =>
  new CorruptionError('damaged', [
    makeFinding({ code: 'BAD_CHECKSUM', object: { role: 'table', path, id, sealed: true }, at: WHOLE_OBJECT }),
  ]);

it('after failures in a row a compactor waits twice as long each time, at most 5 min, until one success', () => {
  const clock = new ManualClock();
  const wait = new BackOff(clock);
  expect([wait.waitMs, wait.failures]).toEqual([0, 0]);
  const waits = Array.from({ length: 11 }, () => {
    wait.fail();
    return wait.waitMs / 1000;
  });
  expect([waits, wait.failures]).toEqual([[1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300], 11]);
  wait.succeed();
  expect([wait.waitMs, wait.failures]).toEqual([0, 0]);
});

describe('an error', () => {
  const inputs = [tableId('A'), tableId('B')];
  const about = (error: Parameters<typeof tablesInError>[0]) => tablesInError(error, inputs).map(tableName).join(' ');

  it.each([
    ['by the path of the object', damage(tablePath(tableId('A'))), 'A'],
    ['by its id', damage('parent/of/clone', tableId('B')), 'B'],
    ['of an output of the job', damage(tablePath(tableId('X'))), ''],
    [
      'that only a newer program can read',
      new IncompatibleError('FORMAT_TOO_NEW', 'x', { details: { path: tablePath(tableId('B')) } }),
      'B',
    ],
    ['that does not say which table it is about', new IncompatibleError('CODEC_MISSING', 'x'), 'A B'],
    ['of the store', new UnavailableError('STORE_DOWN', 'x', { details: { path: tablePath(tableId('A')) } }), ''],
  ])('names the tables of a job: %s', (_, error, tables) => {
    expect(about(error)).toBe(tables);
  });
});

describe('a mark on a damaged table', () => {
  const marked = () => {
    const clock = new ManualClock();
    const marks = new DamageMarks(clock);
    marks.note([tableId('A'), tableId('B')], damage('x'));
    return { clock, marks, names: () => [...marks.tables.keys()].map(tableName).join(' ') };
  };

  it('ends after its time', async () => {
    const { clock, marks, names } = marked();
    await clock.advance(1000);
    marks.note([tableId('B')], damage('x'));
    expect([names(), marks.nextEndMs]).toEqual(['A B', MARK_MS - 1000]);
    await clock.advance(MARK_MS - 1000);
    expect([names(), marks.nextEndMs]).toEqual(['B', 1000]);
    await clock.advance(1000);
    expect([names(), marks.nextEndMs]).toEqual(['', undefined]);
  });

  it('ends with the manifest that no longer names the table', () => {
    const { marks, names } = marked();
    marks.adopt(loaded('l0 C B A'));
    expect(names()).toBe('A B');
    marks.adopt(loaded('run 3 B'));
    expect(names()).toBe('B');
  });

  it('ends with a manifest that a repair has written', () => {
    const { marks, names } = marked();
    marks.adopt(loaded('l0 C B A', true));
    expect(names()).toBe('');
  });
});

describe('a compactor that was fenced', () => {
  const full = 'l0 H G F E D C B A';
  function waiting(script: string) {
    const clock = new ManualClock();
    const wait = new TakeoverWait(clock, { l0MaxSsts: 8, takeoverMs: 600_000 }, parseManifest(script));
    return { clock, look: (now: string) => wait.look(parseManifest(now)) };
  }

  it('never claims where level 0 is not full, and 10 min from when it is', async () => {
    const { clock, look } = waiting('l0 A');
    await clock.advance(1e7);
    expect([look('l0 B A'), look(full)]).toEqual([undefined, 600_000]);
    await clock.advance(599_999);
    expect(look(full)).toBe(1);
    await clock.advance(1);
    expect(look(`${full}; seg p l0 X`)).toBe(0);
  });

  it.each([
    ['its epoch', `${full}; compactor 3`],
    ['a run', `${full}; run 3 X`],
    ['the tables of a run', `${full}; run 2 Y`],
    ['a marker', `${full}; run 2 X; marker Z`],
    ['a run of a segment', `${full}; run 2 X; seg p run 3 Z`],
  ])('waits again from when the other one has changed %s', async (_, changed) => {
    const { clock, look } = waiting(`${full}; run 2 X`);
    await clock.advance(500_000);
    expect([look(`${full}; run 2 X`), look(changed)]).toEqual([100_000, 600_000]);
  });

  it('waits again where level 0 was not full in between', async () => {
    const { clock, look } = waiting(full);
    await clock.advance(500_000);
    expect([look('l0 A'), look(full)]).toEqual([undefined, 600_000]);
  });

  it('considers every tree', () => {
    expect(waiting('nothing').look(`seg p ${full}`)).toBe(600_000);
  });
});
