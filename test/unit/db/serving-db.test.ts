/** An open database as a facade, over parts that only note what they are asked: how it ends, and what each call says then. */
import { describe, expect, it } from 'vitest';
import { ClosedError, FencedError, InternalError, UnavailableError } from '../../../src/common/errors.ts';
import type { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { ReadCounts } from '../../../src/db/counts.ts';
import { type DbParts, ServingDb } from '../../../src/db/serving-db.ts';
import { SnapshotPins } from '../../../src/db/snapshot-pins.ts';
import { WriteBatch } from '../../../src/db/write-batch.ts';
import { NO_TS } from '../../../src/format/row-flags.ts';
import { emptyManifest } from '../../../src/lsm/manifest/manifest-edits.ts';
import { DamageRegister } from '../../../src/lsm/tree/damage-register.ts';
import { EMPTY_TREE } from '../../../src/lsm/tree/table-store.ts';
import { TOOL_ACCESS } from '../../../src/recovery/tool-access.ts';
import { rejection, thrown } from '../../support/database.ts';
import { newWriteState } from '../../support/write-state.ts';

const KEY = Uint8Array.of(1);

class World {
  readonly state = newWriteState({ walEnabled: false });
  readonly clock = this.state.clock as ManualClock;
  readonly notes: string[] = [];
  readonly db: ServingDb;
  /** What the flush of a frozen memtable does. */
  flush: () => Promise<void> = async () => {
    this.state.sending(this.state.lastSeq);
    this.state.adopt(EMPTY_TREE, this.state.lastSeq);
  };

  constructor() {
    const { state, notes } = this;
    const manifest = emptyManifest(2, false);
    const parts = {
      stores: { main: { name: 'memory' }, path: 'db', counts: () => ({}) },
      state,
      writer: {
        put: async () => void notes.push('put'),
        write: async () => void notes.push('write'),
        drained: async () => void notes.push('drained'),
        freeze: () => {
          notes.push('freeze');
          if (state.active.rowCount > 0) state.freeze(undefined);
        },
      },
      wal: undefined,
      tables: { committed: () => this.flush(), trouble: undefined },
      tableStore: { damage: new DamageRegister(), lost: [] },
      manifests: {
        current: { manifest },
        commit: async (_: unknown, { cleanClose }: { cleanClose: boolean }) =>
          void notes.push(cleanClose ? 'clean close' : 'commit'),
      },
      monitor: { reads: new ReadCounts(), snapshotOpened() {}, snapshotClosed() {} },
      pins: new SnapshotPins(state.clock),
      upkeep: {
        stop: async () => void notes.push('upkeep stopped'),
        end: async () => void notes.push('threads ended'),
      },
      settings: { closeTimeoutMs: 500, timeoutMs: 300, corruptionPolicy: 'available', hideExpired: true, owner: 'o' },
      mergeOperator: undefined,
      onCorruption: undefined,
      random: new SeededRandom(1),
      onClosed: () => void notes.push('closed'),
    };
    this.db = new ServingDb(parts as unknown as DbParts);
  }

  write(): void {
    const seq = this.state.lastSeq + 1;
    this.state.active.add(KEY, KEY, seq, 0, NO_TS, NO_TS);
    this.state.assigned(seq);
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.runUntilSettled(promise);
  }
}

describe('closing', () => {
  it('lets writes that wait in, flushes, marks the close as clean, and ends; once, however often it is asked', async () => {
    const w = new World();
    w.write();
    await w.run(Promise.all([w.db.close(), w.db.close()]));
    await w.run(w.db[Symbol.asyncDispose]());
    const ends = ['upkeep stopped', 'drained', 'freeze', 'clean close', 'threads ended', 'closed'];
    expect(w.notes).toEqual(ends);
  });

  it('is never marked as clean while a row is in no table: the log still has it', async () => {
    const w = new World();
    w.write();
    w.flush = async () => undefined;
    const error = await rejection(w.run(w.db.close()));
    expect(error).toMatchObject({ code: 'FAILED', outcome: 'unknown' });
    expect(error.cause).toBeInstanceOf(InternalError);
    expect((error.cause as InternalError).message).toContain('(serving-db 3)');
    expect([w.notes.includes('clean close'), w.state.ended?.cause]).toEqual([false, error.cause]);
  });

  it('ends within its time, and says what it waited for', async () => {
    const w = new World();
    w.write();
    w.flush = () => new Promise(() => undefined);
    const error = await rejection(w.run(w.db.close()));
    expect(error).toMatchObject({ code: 'DEADLINE', outcome: 'unknown' });
    expect(error.message).toContain('closeTimeoutMs');
    expect([w.state.ended?.code, w.notes.at(-1)]).toEqual(['CLOSED', 'closed']);
  });

  it('is no fault where another writer has the database by now', async () => {
    const w = new World();
    w.write();
    w.flush = () => Promise.reject(new FencedError('WRITER_FENCED', 'another writer'));
    await w.run(w.db.close());
    expect([w.notes.includes('clean close'), w.notes.at(-1)]).toEqual([false, 'closed']);
  });

  it('refuses each call that comes after it, in the moment in which it began', async () => {
    const w = new World();
    const closed = w.db.close();
    const late = w.db.put('k', 'v');
    expect(await rejection(w.run(late))).toMatchObject({ code: 'CLOSED', outcome: 'not-applied' });
    await w.run(closed);
    expect(w.notes).not.toContain('put');
  });
});

describe('a database that has ended', () => {
  it('refuses every call with the reason; writes say that they were not applied', async () => {
    const w = new World();
    const cause = new UnavailableError('STORE_DOWN', 'away');
    w.state.fail(cause);
    const { db } = w;
    for (const write of [
      () => db.put('k', 'v'),
      () => db.delete('k'),
      () => db.write(new WriteBatch()),
      () => db.flush(),
    ])
      expect(await rejection(w.run<unknown>(write()))).toMatchObject({ code: 'FAILED', cause, outcome: 'not-applied' });
    for (const read of [() => db.get('k'), () => db.scan().next(), () => db.estimateSize()])
      expect(await rejection(w.run<unknown>(read()))).toBe(w.state.ended);
    expect([thrown(() => db.snapshot()), thrown(() => db[TOOL_ACCESS]())]).toEqual([w.state.ended, w.state.ended]);
    expect(w.notes).toEqual([]);
    await w.run(db.close());
    expect(w.notes).toEqual(['threads ended', 'closed']);
  });
});

describe('a flush', () => {
  it('of tables waits until they are named, within the time of a call', async () => {
    const w = new World();
    w.write();
    await w.run(w.db.flush({ type: 'memtable' }));
    expect(w.state.frozen).toEqual([]);
    w.write();
    w.flush = () => new Promise(() => undefined);
    const error = await rejection(w.run(w.db.flush()));
    expect([error.code, error.message]).toEqual([
      'DEADLINE',
      expect.stringContaining('flush did not finish within 300 ms'),
    ]);
    // The database goes on: what was not flushed still is to be.
    expect([w.state.ended, w.state.frozen.length]).toEqual([undefined, 1]);
  });
});

describe('a snapshot', () => {
  it('keeps what it shows from flushes until it is closed', async () => {
    const w = new World();
    w.write();
    const snapshot = w.db.snapshot();
    w.write();
    expect(snapshot.seq).toBe(BigInt(w.state.lastSeq - 1));
    await w.run(snapshot.close());
    expect(() => w.db.snapshot()).not.toThrow(ClosedError);
  });
});
