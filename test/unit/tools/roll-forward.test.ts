/** Which tables of lost manifests are taken up again: only those that cannot be anything else. */
import { describe, expect, it } from 'vitest';
import type { Ulid } from '../../../src/common/ulid.ts';
import type { Manifest } from '../../../src/format/manifest-types.ts';
import type { LoggedObject, ManifestSurvey, OrphanTable } from '../../../src/tools/manifest-survey.ts';
import { rollForward } from '../../../src/tools/roll-forward.ts';

/** Rows up to 10 are in tables; the log up to id 5 is in them. */
const BASE = {
  headerVersion: 1,
  externalDbs: [],
  l0: [],
  runs: [],
  unviewedTables: [],
  segments: undefined,
  lastL0Seq: 10,
  lastL0ClockTick: 100n,
  replayAfterWalId: 5,
  walIdLastSeen: 5,
} as unknown as Manifest;

interface Facts {
  min: number;
  max: number;
  epoch?: number;
  replayAfter?: number;
  sealed?: boolean;
  role?: string;
}

function table(
  name: string,
  { min, max, epoch = 3, replayAfter = 7, sealed = true, role = 'writer' }: Facts,
): OrphanTable {
  const lineage = { level: 'l0', minSeq: min, maxSeq: max, maxCreateTs: 200, rows: 1, replayAfterWalId: replayAfter };
  const seal = sealed ? { identity: { role, epoch }, lineage } : undefined;
  return { id: name as Ulid, size: 1, maxSeq: max, tail: { ref: { id: name }, seal } } as unknown as OrphanTable;
}

function logged(id: number, minSeq: number, maxSeq: number, epoch = 3): LoggedObject {
  return { id, isSound: true, rows: 1, minSeq, maxSeq, epoch };
}

function roll(orphans: OrphanTable[], log: LoggedObject[], end = 8) {
  const objects = new Map(log.map((o) => [o.id, o]));
  const survey = { orphans, log: { from: 6, end, objects }, tables: new Map() } as unknown as ManifestSurvey;
  const { manifest, adopted, open } = rollForward(survey, BASE);
  return {
    adopted: adopted.map((t) => t.id),
    seq: manifest.lastL0Seq,
    replay: manifest.replayAfterWalId,
    sound: lossless(open),
  };
}

/** Tables are not listed here, so that adopted ones count as gone. */
const lossless = (open: string[]) => open.every((why) => why.includes('which it names, is gone'));

const NEXT = logged(8, 15, 16);

describe('a table that nothing names', () => {
  it('is adopted if it continues the tables where the log is gone', () => {
    expect(roll([table('A', { min: 11, max: 14 })], [NEXT])).toEqual({
      adopted: ['A'],
      seq: 14,
      replay: 7,
      sound: true,
    });
    const two = [table('B', { min: 13, max: 14 }), table('A', { min: 11, max: 12, replayAfter: 6 })];
    expect(roll(two, [NEXT])).toMatchObject({ adopted: ['A', 'B'], seq: 14 });
  });

  it('is left where the log it stands for is whole', () => {
    const log = [logged(6, 11, 12), logged(7, 13, 14), NEXT];
    expect(roll([table('A', { min: 11, max: 14 })], log)).toEqual({ adopted: [], seq: 10, replay: 5, sound: true });
  });

  it.each<[string, OrphanTable[], LoggedObject[]]>([
    ['does not begin where the tables end', [table('A', { min: 12, max: 14 })], [NEXT]],
    ['overlaps another one', [table('A', { min: 11, max: 14 }), table('B', { min: 11, max: 13 })], [NEXT]],
    ['has no seal', [table('A', { min: 11, max: 14, sealed: false })], [NEXT]],
    ['was made by a tool', [table('A', { min: 11, max: 14, role: 'tool' })], [NEXT]],
    ['holds sequence numbers that were used again', [table('A', { min: 11, max: 14 })], [logged(8, 12, 16)]],
    ['is of a later epoch than the log after it', [table('A', { min: 11, max: 14, epoch: 4 })], [NEXT]],
    [
      'is of another epoch than what is left of its log',
      [table('A', { min: 11, max: 14 })],
      [logged(6, 11, 12, 2), NEXT],
    ],
  ])('is not adopted if it %s', (_, orphans, log) => {
    expect(roll(orphans, log)).toMatchObject({ adopted: [], seq: 10, sound: false });
  });

  it('is not adopted if its seal says that it ends before it begins', () => {
    expect(roll([table('A', { min: 11, max: 9 })], [NEXT])).toMatchObject({ adopted: [], seq: 10, replay: 5 });
  });
});
