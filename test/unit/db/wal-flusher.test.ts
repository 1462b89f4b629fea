/** The part of a writer that makes rows durable, on a store and with the rest of the writer played by the test. */
import { describe, expect, it } from 'vitest';
import { ClosedError, InternalError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { WalFlusher } from '../../../src/db/wal-flusher.ts';
import { NO_CODEC } from '../../../src/format/codecs.ts';
import { NO_TS } from '../../../src/format/row-flags.ts';
import { Author } from '../../../src/lsm/manifest/author.ts';
import { EpochGuard } from '../../../src/lsm/manifest/epoch-guard.ts';
import type { ManifestLog } from '../../../src/lsm/manifest/manifest-log.ts';
import { FIRST_ROW } from '../../../src/lsm/memtable/memtable.ts';
import { FaultyStore } from '../../../src/store/faulty-store.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { newWriteState } from '../../support/write-state.ts';

const KEY = Uint8Array.of(1);
const FENCE = { id: 4, lastSeq: 10, digest: { kind: 'object' as const, bytes: new Uint8Array(16) } };
const SETTINGS = { flushIntervalMs: 100, memoryBytes: 512 << 20, minWalPutIntervalMs: 0 };

function set() {
  const clock = new ManualClock();
  const memory = new MemoryStore({ clock });
  const store = new FaultyStore(memory, { clock, random: new SeededRandom(1) });
  const state = newWriteState({ clock, lastSeq: FENCE.lastSeq });
  const random = new SeededRandom(2);
  const author = new Author({ clock, random, owner: 'test:1', databaseId: new Uint8Array(16), role: 'writer' });
  const manifests = { epoch: 1, current: { id: 1 }, refresh: () => Promise.resolve() } as unknown as ManifestLog;
  let objects = 0;
  let tables = 0;
  const wal = new WalFlusher({
    state,
    store,
    author,
    guard: new EpochGuard(clock, () => []),
    manifests,
    settings: SETTINGS,
    format: { blockBytes: 4096, codec: NO_CODEC, filterForm: 'composite' },
    fence: FENCE,
    onTableDurable: () => tables++,
    onObjectDurable: () => objects++,
  });
  /** One write of so many rows, which nobody waits for. */
  const write = (rows = 1): number => {
    const seq = state.lastSeq + 1;
    for (let i = 0; i < rows; i++) state.active.add(KEY, KEY, seq, 0, NO_TS, NO_TS);
    state.assigned(seq);
    wal.rowsAdded(false);
    return seq;
  };
  const paths = async () => {
    const all: string[] = [];
    for await (const { path } of memory.list('wal/')) all.push(path.slice(-6, -4));
    return all;
  };
  const run = <T>(promise: Promise<T>) => clock.runUntilSettled(promise);
  return { clock, store, state, wal, write, paths, run, counts: () => ({ objects, tables }) };
}

describe('groups of rows', () => {
  it('become objects with ids without a gap, each durable before the next is sent', async () => {
    const { state, wal, write, paths, run, counts } = set();
    for (let i = 0; i < 3; i++) {
      const seq = write(2);
      await run(wal.flush());
      expect([state.sentSeq, state.durableSeq, wal.lastDurableId]).toEqual([seq, seq, FENCE.id + 1 + i]);
    }
    expect([await paths(), counts()]).toEqual([['05', '06', '07'], { objects: 3, tables: 0 }]);
    expect(wal.witness).toMatchObject({ id: 7, lastSeq: 13 });
  });

  it('leave after the interval although nobody waits, and only those who wait are answered', async () => {
    const { clock, state, write } = set();
    const seq = write();
    const durable = state.waiters.add(seq);
    await clock.advance(SETTINGS.flushIntervalMs);
    await expect(durable).resolves.toEqual({ seq: BigInt(seq) });
    expect(state.waiters.isEmpty).toBe(true);
  });

  it('never span two memtables: the last object of a frozen one is known when it is durable', async () => {
    const { state, wal, write, run, counts } = set();
    write();
    const frozen = state.freeze(undefined);
    write();
    await run(wal.flush());
    expect([frozen.lastWalId, wal.lastDurableId, counts().tables]).toEqual([5, 6, 1]);
  });

  it('keep their id until it is known what became of it', async () => {
    const { state, store, wal, write, paths, run } = set();
    store.add({ action: 'fail-before', op: 'put', path: /^wal\//, nth: 1 });
    write();
    await run(wal.flush().catch(() => undefined));
    write();
    await run(wal.flush());
    expect([await paths(), state.durableSeq]).toEqual([['05', '06'], 12]);
  });
});

describe('a rule that is broken', () => {
  it('ends the handle, acknowledges nothing, and leaves what is durable', async () => {
    const { state, wal, write, paths, run } = set();
    write();
    await run(wal.flush());
    wal.startAt(state.active, FIRST_ROW);
    const waiting = state.waiters.add(write()).catch((error: unknown) => error);
    const flushed = wal.flush().catch((error: unknown) => error);
    const [waited, ended] = await run(Promise.all([waiting, flushed]));
    const { ended: reason } = state;
    expect(reason).toBeInstanceOf(ClosedError);
    expect(reason?.cause).toBeInstanceOf(InternalError);
    expect(reason?.message).toMatch(/no row is sent to the log again .* report this message/);
    expect(ended).toBe(reason);
    expect(waited).toMatchObject({ code: 'FAILED', outcome: 'not-applied' });
    expect([state.durableSeq, await paths()]).toEqual([11, ['05']]);
  });

  it('of the table of a group ends it as well', async () => {
    const { state, wal, write, run } = set();
    write();
    const frozen = state.freeze(undefined);
    // As if it had been durable before its rows were.
    (frozen as { lastWalId: number }).lastWalId = 4;
    await run(wal.flush().catch(() => undefined));
    expect(state.ended?.cause).toBeInstanceOf(InternalError);
    expect(state.ended?.message).toMatch(/the last WAL object of a memtable is set once/);
  });
});
