/** The roles beside a writer: when they run, what they hear of, how they end, and what is shown of them and of the tables. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { CollectorRole, CollectorState } from '../../../src/common/collector-role.ts';
import { FencedError, ManifestCorruptionError, UnavailableError } from '../../../src/common/errors.ts';
import { HostManifests, Upkeep } from '../../../src/db/upkeep.ts';
import type { WriteState } from '../../../src/db/write-state.ts';
import { fencedBy, type ManifestLog } from '../../../src/lsm/manifest/manifest-log.ts';
import type { LoadedManifest } from '../../../src/lsm/manifest/manifest-store.ts';
import { rejection } from '../../support/database.ts';
import { parseTrees } from '../../support/tree-notation.ts';
import { newWriteState } from '../../support/write-state.ts';

let state: WriteState;
let notes: string[];
beforeEach(() => {
  state = newWriteState();
  notes = [];
});

const COUNTS = { get: 1, head: 0, put: 0, list: 0, delete: 0, bytesIn: 5, bytesOut: 0 };
const NOTHING = { get: 0, head: 0, put: 0, list: 0, delete: 0, bytesIn: 0, bytesOut: 0 };

function collector(): CollectorRole {
  return {
    start: () => void notes.push('start'),
    stop: async () => void notes.push('stop'),
    pause: async () => {
      notes.push('pause');
      return () => void notes.push('resume');
    },
    noteCommit: (id) => void notes.push(`commit ${id}`),
    state: () => ({ phase: 'idle' }) as CollectorState,
  };
}

const loaded = (id: number, trees = 'L0: 10'): LoadedManifest =>
  ({ id, manifest: parseTrees(trees).manifest }) as LoadedManifest;
const counts = (byRole = {}) => ({ counts: () => ({ ...NOTHING, byRole }) });

describe('upkeep', () => {
  it('begins with the database, and hears of each manifest from then on', () => {
    const upkeep = new Upkeep({ collector: collector() }, state);
    upkeep.noteManifest(3);
    expect(notes).toEqual([]);
    upkeep.start(loaded(4));
    upkeep.noteManifest(5);
    expect(notes).toEqual(['start', 'commit 4', 'commit 5']);
  });

  it('ends with the handle, whatever the reason, and never begins afterwards', () => {
    const upkeep = new Upkeep({ collector: collector() }, state);
    state.fail(new FencedError('WRITER_FENCED', 'another writer'));
    expect(notes).toEqual(['stop']);
    upkeep.start(loaded(4));
    upkeep.noteManifest(5);
    expect(notes).toEqual(['stop']);
  });

  it('ends what the roles share once, when the handle has ended, and not when they are only stopped', async () => {
    const upkeep = new Upkeep({ collector: collector(), end: async () => void notes.push('end') }, state);
    await upkeep.stop();
    state.close();
    await upkeep.end();
    expect(notes).toEqual(['stop', 'stop', 'end']);
  });

  it('rests while a repair asks for it', async () => {
    const upkeep = new Upkeep({ collector: collector() }, state);
    const resume = await upkeep.pause();
    resume();
    await upkeep.stop();
    expect(notes).toEqual(['pause', 'resume', 'stop']);
  });

  it('is nothing where every role is switched off', async () => {
    const upkeep = new Upkeep({}, state);
    upkeep.start(loaded(4));
    upkeep.noteManifest(5);
    (await upkeep.pause())();
    await upkeep.stop();
    expect(upkeep.state(loaded(5), counts()).collector).toBeUndefined();
  });
});

describe('what is shown', () => {
  it('of the trees: sources, tables and bytes, the root tree first', () => {
    const upkeep = new Upkeep({}, state);
    const trees = 'L0: 1000 2000 | 5:4000+8000 2:16000; p L0: 10 | 9:100 8:-';
    expect(upkeep.state(loaded(7, trees), counts())).toEqual({
      manifestId: 7n,
      trees: [
        { tree: '', l0Tables: 2, runs: 2, tables: 5, l0Bytes: 3000, bytes: 31_000 },
        { tree: '70', l0Tables: 1, runs: 2, tables: 2, l0Bytes: 10, bytes: 110 },
      ],
      liveBytes: 31_110,
      // Of the runs 16,000 and 100 are the lowest.
      amplification: { space: 31_110 / 16_100, write: undefined },
      collector: undefined,
    });
  });

  it('of the collector: its state and what it has cost', () => {
    const upkeep = new Upkeep({ collector: collector() }, state);
    expect(upkeep.state(loaded(7), counts()).collector).toEqual({ phase: 'idle', spent: NOTHING });
    expect(upkeep.state(loaded(7), counts({ collector: COUNTS })).collector?.spent).toEqual(COUNTS);
  });
});

describe('the manifests of a role', () => {
  const log = (error?: Error): ManifestLog => {
    const work = async () => {
      if (error !== undefined) throw error;
    };
    const of = { current: loaded(7), commit: work, refresh: work, lookForBoundary: () => void notes.push('look') };
    return of as unknown as ManifestLog;
  };

  it('are those of the writer', async () => {
    const manifests = new HostManifests(log(), state);
    await manifests.commit(() => undefined);
    await manifests.refresh();
    manifests.lookForBoundary();
    expect([manifests.current.id, notes, state.ended]).toEqual([7, ['look'], undefined]);
  });

  it.each([
    ['another writer', fencedBy(loaded(7), 1)],
    ['manifests that are gone', new ManifestCorruptionError('gone', [])],
  ])('end the handle by %s', async (_, error) => {
    const manifests = new HostManifests(log(error), state);
    expect(await rejection(manifests.refresh())).toBe(error);
    expect([state.ended, state.ended?.cause]).toContain(error);
  });

  it.each([
    ['another compactor', new FencedError('COMPACTOR_FENCED', 'another compactor')],
    ['a store that is away', new UnavailableError('STORE_DOWN', 'away')],
  ])('do not end it by %s', async (_, error) => {
    const manifests = new HostManifests(log(error), state);
    expect(await rejection(manifests.commit(() => undefined))).toBe(error);
    expect(state.ended).toBeUndefined();
  });
});
