/** The part of a writer that turns memtables into tables, on a store and with the rest of the writer played by the test. */
import { describe, expect, it } from 'vitest';
import { FencedError, InternalError, UnavailableError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { SnapshotPins } from '../../../src/db/snapshot-pins.ts';
import { TableFlusher } from '../../../src/db/table-flusher.ts';
import type { FrozenMemtable } from '../../../src/db/write-state.ts';
import { NO_CODEC } from '../../../src/format/codecs.ts';
import type { Manifest } from '../../../src/format/manifest-types.ts';
import { NO_TS } from '../../../src/format/row-flags.ts';
import { Author } from '../../../src/lsm/manifest/author.ts';
import { emptyManifest } from '../../../src/lsm/manifest/manifest-edits.ts';
import type { ManifestChange, ManifestLog } from '../../../src/lsm/manifest/manifest-log.ts';
import { EMPTY_TREE } from '../../../src/lsm/tree/table-store.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import type { ObjectStore, PutOutcome } from '../../../src/store/object-store.ts';
import { forwarding } from '../../support/forwarding-store.ts';
import { newWriteState } from '../../support/write-state.ts';

const KEY = Uint8Array.of(1);
const SETTINGS = {
  hideExpired: true,
  l0MaxSsts: 3,
  l0SstSizeBytes: 1 << 20,
  maxUnflushedBytes: 256 << 20,
  memoryBytes: 512 << 20,
  walEnabled: true,
};
const down = () => new UnavailableError('STORE_DOWN', 'the store is down', { outcome: 'not-applied' });

/** `puts`: what the first attempts to store a table come to; `commits`: how the first commits fail. */
function set(puts: (PutOutcome | Error)[] = [], commits: Error[] = []) {
  const clock = new ManualClock();
  const memory = new MemoryStore({ clock });
  const requests: string[] = [];
  const store: ObjectStore = {
    ...forwarding(memory),
    put: async (path, bytes, options) => {
      requests.push(options.resumed === true ? 'put again' : 'put');
      const outcome = puts.shift();
      if (outcome instanceof Error) throw outcome;
      return outcome ?? memory.put(path, bytes, options);
    },
  };
  const state = newWriteState({ clock });
  const random = new SeededRandom(2);
  const author = new Author({ clock, random, owner: 'test:1', databaseId: new Uint8Array(16), role: 'writer' });
  let manifest: Manifest = { ...emptyManifest(2, false), lastL0Seq: 10 };
  const manifests = {
    epoch: 1,
    get current() {
      return { id: 1, manifest };
    },
    refresh: () => Promise.resolve(),
    commit: async (change: ManifestChange) => {
      requests.push('commit');
      const error = commits.shift();
      if (error !== undefined) throw error;
      const next = change(manifest, 1, 0);
      if (next === undefined) return;
      manifest = next;
      state.adopt(EMPTY_TREE, next.lastL0Seq);
    },
  } as unknown as ManifestLog;
  let committed = 0;
  const tables = new TableFlusher({
    state,
    store,
    author,
    manifests,
    pins: new SnapshotPins(clock),
    settings: SETTINGS,
    format: { blockBytes: 4096, codec: NO_CODEC, filter: { form: 'composite', bitsPerKey: 10, minKeys: 1000 } },
    threads: undefined,
    lastWalId: () => 9,
    prepareCommit: () => Promise.resolve(),
    keepsWideTracker: false,
    correct: (m) => m,
    onCommitted: () => committed++,
    whyNotMerged: () => undefined,
  });
  /** One row, in a memtable of its own that is frozen; durable in this object of the log. */
  const freeze = (walId: number | undefined): FrozenMemtable => {
    const seq = state.lastSeq + 1;
    state.active.add(KEY, KEY, seq, 0, NO_TS, NO_TS);
    state.assigned(seq);
    if (walId !== undefined) {
      state.sending(seq);
      state.madeDurable(seq);
    }
    return state.freeze(walId);
  };
  const run = <T>(promise: Promise<T>) => clock.runUntilSettled(promise);
  return { clock, memory, state, tables, requests, freeze, run, manifest: () => manifest, committed: () => committed };
}

describe('frozen memtables', () => {
  it('become tables that are named one by one, the oldest first, each with the replay point after its rows', async () => {
    const { state, tables, freeze, run, manifest, committed, memory } = set();
    const [first, second] = [freeze(5), freeze(7)];
    const named: [number, number][] = [];
    const done = [first, second].map((f) =>
      tables.committed(f).then(() => named.push([manifest().lastL0Seq, manifest().replayAfterWalId])),
    );
    tables.advance();
    await run(Promise.all(done));
    expect(named.at(-1)).toEqual([12, 7]);
    expect(manifest().l0.map((v) => v.table.id)).toEqual(
      manifest()
        .l0.map((v) => v.table.id)
        .sort()
        .reverse(),
    );
    expect([state.frozen.length, committed(), tables.isIdle, manifest().walIdLastSeen]).toEqual([0, 2, true, 9]);
    let stored = 0;
    for await (const _ of memory.list('compacted/')) stored++;
    expect(stored).toBe(2);
  });

  it('wait until their rows are durable in the log', async () => {
    const { tables, freeze, requests, clock } = set();
    freeze(undefined);
    tables.advance();
    await clock.advance(1000);
    expect(requests).toEqual([]);
  });

  it('wait while level 0 is full', async () => {
    const { tables, freeze, run, state, clock, manifest } = set();
    const frozen = [5, 6, 7, 8].map((id) => freeze(id));
    tables.advance();
    await run(tables.committed(frozen[2]));
    await clock.advance(60_000);
    expect([manifest().l0.length, state.frozen.map((f) => f === frozen[3])]).toEqual([3, [true]]);
  });
});

describe('a table that cannot be stored', () => {
  it('is put again, with longer waits, until it is there', async () => {
    const { clock, tables, freeze, run, requests } = set([down(), down()]);
    const done = tables.committed(freeze(5));
    tables.advance();
    await clock.advance(199);
    expect(requests).toEqual(['put']);
    expect(tables.trouble).toBeInstanceOf(UnavailableError);
    await clock.advance(1);
    expect(requests).toEqual(['put', 'put']);
    await run(done);
    expect([requests, tables.trouble]).toEqual([['put', 'put', 'put', 'commit'], undefined]);
  });

  it('is put again as the same object where no answer says what became of it', async () => {
    const { tables, freeze, run, requests } = set([{ outcome: 'unknown', cause: down() }]);
    const done = tables.committed(freeze(5));
    tables.advance();
    await run(done);
    expect(requests).toEqual(['put', 'put again', 'commit']);
  });

  it('ends the writer where somebody else wrote under its name', async () => {
    const { tables, freeze, run, state } = set([{ outcome: 'refused' }]);
    const done = tables.committed(freeze(5));
    tables.advance();
    await expect(run(done)).rejects.toBeInstanceOf(FencedError);
    expect(state.ended).toBeInstanceOf(FencedError);
  });
});

describe('a manifest that cannot be written', () => {
  it('is tried again, and the table is not stored twice', async () => {
    const { tables, freeze, run, requests } = set([], [down()]);
    const done = tables.committed(freeze(5));
    tables.advance();
    await run(done);
    expect(requests).toEqual(['put', 'commit', 'commit']);
  });

  it('ends the writer where a rule is broken', async () => {
    const { tables, freeze, run, state, requests } = set([], [new InternalError('a rule')]);
    const done = tables.committed(freeze(5));
    tables.advance();
    await expect(run(done)).rejects.toMatchObject({ code: 'FAILED' });
    expect([requests, state.frozen.length]).toEqual([['put', 'commit'], 1]);
  });
});

describe('a log without rows', () => {
  it('is passed by the replay point, which never goes back', async () => {
    const { tables, run, manifest } = set();
    await run(tables.passEmptyLog(4));
    await run(tables.passEmptyLog(3));
    expect(manifest().replayAfterWalId).toBe(4);
  });
});
