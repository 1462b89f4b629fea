/** A view of the database as it was at one moment, over memtables alone. */
import { describe, expect, it } from 'vitest';
import { ClosedError, InternalError } from '../../../src/common/errors.ts';
import { SILENT_LOGGER } from '../../../src/common/logger.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { CorruptionWatch } from '../../../src/db/corruption-watch.ts';
import { ReadCounts } from '../../../src/db/counts.ts';
import { PinnedSnapshot } from '../../../src/db/pinned-snapshot.ts';
import type { ReadSource } from '../../../src/db/read-path.ts';
import type { Snapshot } from '../../../src/db/snapshot.ts';
import { Turns } from '../../../src/db/turns.ts';
import { FLAG_EXPIRE, NO_TS } from '../../../src/format/row-flags.ts';
import { Memtable } from '../../../src/lsm/memtable/memtable.ts';
import { DamageRegister } from '../../../src/lsm/tree/damage-register.ts';
import { EMPTY_TREE, type TreeView } from '../../../src/lsm/tree/table-store.ts';
import { text } from '../../support/database.ts';

const TREE: TreeView = { ...EMPTY_TREE, trees: [{ prefix: undefined, l0: [], runs: [] }] };
const utf8 = (s: string) => new TextEncoder().encode(s);

/** A database of one memtable, in which all rows are durable up to `durable`. */
class World {
  readonly clock = new ManualClock();
  readonly memtable = new Memtable();
  lastSeq = 0;
  durable = 0;
  ended: Error | undefined;
  released = 0;

  put(key: string, value: string, ttlMs?: number): void {
    const expireTs = ttlMs === undefined ? NO_TS : this.clock.nowMs() + ttlMs;
    this.memtable.add(utf8(key), utf8(value), ++this.lastSeq, ttlMs === undefined ? 0 : FLAG_EXPIRE, NO_TS, expireTs);
  }

  snapshot(seq = this.lastSeq): Snapshot {
    const { clock } = this;
    const source: ReadSource = {
      clock,
      turns: new Turns(clock),
      nowMs: () => clock.nowMs(),
      mergeOperator: undefined,
      policy: 'available',
      watch: new CorruptionWatch(new DamageRegister(), undefined, SILENT_LOGGER),
      counts: new ReadCounts(),
      view: () => ({ memtables: [this.memtable], tree: TREE }),
      maxSeq: (remoteOnly) => (remoteOnly ? this.durable : this.lastSeq),
      assertServing: () => {
        if (this.ended !== undefined) throw this.ended;
      },
      renewView: async () => false,
    };
    return new PinnedSnapshot({ pin: { seq, nowMs: clock.nowMs() }, source, release: () => this.released++ });
  }
}

async function rows(snapshot: Snapshot): Promise<string> {
  const found: string[] = [];
  for await (const { key, value } of snapshot.scan()) found.push(`${text(key)}=${text(value)}`);
  return found.join(' ');
}

describe('a snapshot', () => {
  it('shows the same rows however late it is read, by every call', async () => {
    const w = new World();
    w.put('a', '1');
    w.put('b', '2');
    const snapshot = w.snapshot();
    w.put('a', '3');
    w.put('c', '4');
    expect([snapshot.seq, await rows(snapshot)]).toEqual([2n, 'a=1 b=2']);
    expect((await snapshot.getMany(['a', 'c'])).map((v) => v && text(v))).toEqual(['1', undefined]);
    expect([await snapshot.has('c'), (await snapshot.getWithMeta('a'))?.seq]).toEqual([false, 1n]);
  });

  it('goes on showing what expires while it is open, and nothing that had expired', async () => {
    const w = new World();
    w.put('old', 'x', 10);
    await w.clock.advance(10);
    w.put('new', 'y', 10);
    const snapshot = w.snapshot();
    await w.clock.advance(1000);
    expect([await rows(snapshot), await rows(w.snapshot())]).toEqual(['new=y', '']);
  });

  it('shows to reads of durable rows those that are durable by now, and none after its own', async () => {
    const w = new World();
    w.put('a', '1');
    const snapshot = w.snapshot();
    const isThere = () => snapshot.has('a', { durabilityFilter: 'remote' });
    expect(await isThere()).toBe(false);
    w.put('a', '2');
    w.durable = 2;
    expect([await isThere(), text((await snapshot.get('a', { durabilityFilter: 'remote' }))!)]).toEqual([true, '1']);
  });

  it('gives its pin back once, and reads no more after that', async () => {
    const w = new World();
    w.put('a', '1');
    const snapshot = w.snapshot();
    await snapshot.close();
    await snapshot.close();
    await snapshot[Symbol.asyncDispose]();
    expect(w.released).toBe(1);
    await expect(snapshot.get('a')).rejects.toThrow(ClosedError);
    await expect(snapshot.scan().next()).rejects.toThrow(/snapshot is closed/);
  });

  it('ends with its database', async () => {
    const w = new World();
    const snapshot = w.snapshot();
    w.ended = new ClosedError('CLOSED', 'the database is closed');
    await expect(snapshot.get('a')).rejects.toBe(w.ended);
  });

  it('is never of rows that are not there yet', () => {
    const w = new World();
    w.put('a', '1');
    expect(() => w.snapshot(2)).toThrow(InternalError);
  });
});
