/** Where a memtable becomes a table: on a thread if it is large and there is memory for a copy, and here whatever goes wrong there. */
import { describe, expect, it } from 'vitest';
import { AbortError, InternalError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { LARGE_TABLE_BYTES, TableBuilds } from '../../../src/db/table-builds.ts';
import { NO_CODEC } from '../../../src/format/codecs.ts';
import { NO_TS } from '../../../src/format/row-flags.ts';
import type { TableInfo } from '../../../src/format/table-info.ts';
import { logCopyBytes } from '../../../src/lsm/memtable/log-copy.ts';
import { Memtable } from '../../../src/lsm/memtable/memtable.ts';
import type { FlushedSeal } from '../../../src/lsm/read/memtable-to-table.ts';
import type { FlushOutcome, ThreadFlush } from '../../../src/lsm/read/table-threads.ts';
import { RETAIN_ALL } from '../../../src/lsm/rows/visibility.ts';
import { newWriteState } from '../../support/write-state.ts';

const MIB = 1 << 20;
const ALL = { barrier: RETAIN_ALL, expiredAtMs: undefined };
const seal = (): FlushedSeal => ({
  identity: {
    databaseId: new Uint8Array(16),
    objectId: new Uint8Array(16),
    putId: '01M7W60ETHEE00000000000000' as FlushedSeal['identity']['putId'],
    epoch: 1,
    role: 'writer',
    formatVersion: 2,
    codec: 'none',
    writtenAtMs: 1,
    newestManifestId: 1,
    software: [0, 1, 0],
  },
  replayAfterWalId: 1,
});

function memtable(bytes: number): Memtable {
  const table = new Memtable();
  const value = new Uint8Array(64 << 10);
  for (let i = 0; table.dataBytes < bytes; i++) {
    const key = new TextEncoder().encode(String(i));
    table.add(key, value.subarray(0, Math.min(value.length, bytes - table.dataBytes)), i + 1, 0, NO_TS, NO_TS);
  }
  table.freeze();
  return table;
}

const LARGE = memtable(LARGE_TABLE_BYTES);
const FROM_THREAD: FlushOutcome = { kind: 'table', bytes: Uint8Array.of(1), info: {} as TableInfo };

function world(answer: (flush: ThreadFlush) => Promise<FlushOutcome>, settings = {}) {
  const clock = new ManualClock();
  const warnings: string[] = [];
  const nothing = () => undefined;
  const warn = (message: string) => void warnings.push(message);
  const state = newWriteState({ clock, logger: { debug: nothing, info: nothing, warn, error: nothing } });
  let asked = 0;
  const builds = new TableBuilds({
    state,
    format: { blockBytes: 4096, codec: NO_CODEC, filter: { form: 'composite', bitsPerKey: 10, minKeys: 1000 } },
    settings: { maxUnflushedBytes: 256 * MIB, memoryBytes: 512 * MIB, ...settings },
    threads: {
      build: (flush) => {
        asked++;
        return answer(flush);
      },
    },
  });
  const abort = new AbortController();
  const build = (table = LARGE) => clock.runUntilSettled(builds.build(table, ALL, seal, abort.signal));
  const before = state.unflushedBytes;
  return { state, build, abort, warnings, asked: () => asked, held: () => state.unflushedBytes - before };
}

describe('a memtable becomes a table', () => {
  it('on a thread from some size on', async () => {
    const w = world(async () => FROM_THREAD);
    expect(await w.build()).toMatchObject({ bytes: Uint8Array.of(1) });
    const small = await w.build(memtable(LARGE_TABLE_BYTES - 100));
    expect([small!.bytes.length > 1000, w.asked()]).toEqual([true, 1]);
  });

  it('nowhere if no row is kept', async () => {
    expect(await world(async () => ({ kind: 'empty' })).build()).toBeUndefined();
  });

  it('here where there is no thread, without a word', async () => {
    const w = world(async () => ({ kind: 'no-thread' }));
    expect((await w.build())!.bytes.length).toBeGreaterThan(LARGE_TABLE_BYTES);
    expect(w.warnings).toEqual([]);
  });

  it('here where the thread fails, which is said once; after three failures in a row it is not tried again', async () => {
    let fails = true;
    const w = world(async () => {
      if (fails) throw new InternalError('the thread is gone');
      return FROM_THREAD;
    });
    for (let i = 0; i < 2; i++) expect((await w.build())!.bytes.length).toBeGreaterThan(LARGE_TABLE_BYTES);
    fails = false;
    expect((await w.build())!.bytes.length).toBe(1);
    fails = true;
    for (let i = 0; i < 5; i++) expect((await w.build())!.bytes.length).toBeGreaterThan(LARGE_TABLE_BYTES);
    expect(w.asked()).toBe(6);
    expect(w.warnings).toEqual([expect.stringContaining('a thread could not build a table')]);
    expect(w.held()).toBe(0);
  });

  it('not at all once everything has ended', async () => {
    const w = world(async () => {
      w.abort.abort();
      throw new AbortError('ended', { outcome: 'unknown' });
    });
    await expect(w.build()).rejects.toMatchObject({ kind: 'aborted' });
    expect([w.warnings, w.held()]).toEqual([[], 0]);
  });
});

describe('the copy of a memtable', () => {
  it('is within what is set aside for tables, beyond that it counts as unflushed until the table is there', async () => {
    const bytes = logCopyBytes(LARGE.toFlush) + LARGE.rowCount * 28;
    for (const [memoryBytes, expected] of [
      [512 * MIB, 0],
      [32 * MIB, bytes - 4 * MIB],
    ]) {
      let held = -1;
      const w = world(
        async ({ copy }) => {
          held = w.held();
          expect((await copy()).rowCount).toBe(LARGE.rowCount);
          return FROM_THREAD;
        },
        { memoryBytes },
      );
      await w.build();
      expect([held, w.held()]).toEqual([expected, 0]);
    }
  });

  it('of several at a time is counted together', async () => {
    const bytes = logCopyBytes(LARGE.toFlush) + LARGE.rowCount * 28;
    const held: number[] = [];
    const ends: (() => void)[] = [];
    const w = world(
      () =>
        new Promise((resolve) => {
          held.push(w.held());
          ends.push(() => resolve(FROM_THREAD));
        }),
      { memoryBytes: 96 * MIB },
    );
    const both = [w.build(), w.build()];
    await new Promise((resolve) => setImmediate(resolve));
    expect(held).toEqual([0, 2 * bytes - 12 * MIB]);
    ends[0]!();
    await both[0];
    expect(w.held()).toBe(0);
    ends[1]!();
    await both[1];
    expect(w.held()).toBe(0);
  });

  it('is not made where it would exceed the memory for unflushed rows', async () => {
    const w = world(async () => FROM_THREAD, { memoryBytes: 32 * MIB, maxUnflushedBytes: 4 * MIB });
    expect((await w.build())!.bytes.length).toBeGreaterThan(LARGE_TABLE_BYTES);
    expect([w.asked(), w.held()]).toEqual([0, 0]);
  });
});
