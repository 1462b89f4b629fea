/** Outages longer than every deadline: who waits gets an error, nothing is lost, and no writer takes its own objects for another's. */
import { describe, expect, it } from 'vitest';
import { sleep } from '../../src/common/clock.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import { SeededRandom } from '../../src/common/random.ts';
import { MemoryStore, type ObjectStore, open } from '../../src/index.ts';
import { storeError } from '../../src/store/store-error.ts';

/** A store that applies puts under `prefix` but answers none of them while `silent` is set. */
function silentStore(inner: ObjectStore, prefix: string): { store: ObjectStore; silent: boolean } {
  const control = { silent: false, store: undefined as unknown as ObjectStore };
  control.store = {
    name: inner.name,
    conformance: 'known',
    get: (p, o) => inner.get(p, o),
    head: (p, o) => inner.head(p, o),
    list: (p, o) => inner.list(p, o),
    delete: (p, o) => inner.delete(p, o),
    async put(path, bytes, o) {
      const answer = await inner.put(path, bytes, o);
      return control.silent && path.startsWith(prefix) ? { outcome: 'unknown', cause: new Error('no answer') } : answer;
    },
  };
  return control;
}

async function setUp(prefix: string) {
  const clock = new ManualClock();
  const disk = new MemoryStore({ clock });
  const control = silentStore(disk, prefix);
  const options = { clock, random: new SeededRandom(1), logger: SILENT_LOGGER, timeoutMs: 5000 };
  const db = await clock.runUntilSettled(open({ store: control.store, path: 'db' }, options));
  return { clock, disk, control, options, db };
}

const bytes = (s: string) => new TextEncoder().encode(s);

describe('an outage longer than every deadline', () => {
  it('ends with unknown outcomes for waiting writers, then the log goes on without a takeover', async () => {
    const { clock, disk, control, options, db } = await setUp('db/wal/');
    await clock.runUntilSettled(db.put('a', '1'));
    control.silent = true;
    const failure = await clock.runUntilSettled(db.put('b', '2').catch((e) => e));
    expect(failure).toMatchObject({ outcome: 'unknown', retryable: true });
    await clock.advance(120_000);
    control.silent = false;
    await clock.advance(30_000);
    await clock.runUntilSettled(db.put('c', '3'));
    await clock.runUntilSettled(db.close());
    const again = await clock.runUntilSettled(open({ store: disk, path: 'db' }, options));
    for (const [k, v] of [
      ['a', '1'],
      ['b', '2'],
      ['c', '3'],
    ]) {
      expect(await clock.runUntilSettled(again.get(k))).toEqual(bytes(v));
    }
  });

  it('is borne by writes that come while an older one is in doubt, for as long as their own deadline', async () => {
    const { clock, control, db } = await setUp('db/wal/');
    const outcomes: string[] = [];
    const put = (key: string) =>
      db.put(key, 'x').then(
        () => outcomes.push(`${key} is durable`),
        (error) => outcomes.push(`${key}: ${error.outcome}`),
      );
    await clock.runUntilSettled(db.put('a', '1'));
    control.silent = true;
    put('in doubt');
    await clock.advance(3000);
    put('newcomer');
    const flush = db.flush({ type: 'wal' }).then(() => outcomes.push('flushed'));
    // The deadline of the object in doubt passes; the newcomer's, 3 s later, does not.
    await clock.advance(2500);
    expect(outcomes).toEqual(['in doubt: unknown']);
    control.silent = false;
    await clock.advance(2000);
    await clock.runUntilSettled(flush);
    expect(outcomes).toEqual(['in doubt: unknown', 'newcomer is durable', 'flushed']);
    // Rows that were never sent are reported as unknown too at their deadline: they stay queued, and will be sent.
    control.silent = true;
    put('b');
    await clock.advance(100);
    put('c');
    await clock.advance(5500);
    expect(outcomes.slice(3)).toEqual(['b: unknown', 'c: unknown']);
  });

  it('does not keep newcomers waiting where nothing passes by itself', async () => {
    const { clock, disk, control, db } = await setUp('db/wal/');
    control.store.put = async (path, body, o) => {
      if (!path.startsWith('db/wal/')) return disk.put(path, body, o);
      await sleep(clock, 1000);
      throw storeError({ cls: 'denied', message: 'no right to write', store: disk.name, path });
    };
    const answers = ['first', 'newcomer'].map((key) => db.put(key, 'x').catch((e) => `${key}: ${e.code} ${e.outcome}`));
    await clock.advance(500);
    answers.push(db.put('later', 'x').catch((e) => `later: ${e.code} ${e.outcome}`));
    await clock.advance(600);
    expect(await Promise.race([Promise.all(answers), clock.settle()])).toEqual(
      ['first', 'newcomer', 'later'].map((key) => `${key}: STORE_DENIED unknown`),
    );
  });

  it('does not stop flushing for good when tables or manifests go unanswered', async () => {
    for (const prefix of ['db/compacted/', 'db/manifest/']) {
      const { clock, disk, control, options, db } = await setUp(prefix);
      await clock.runUntilSettled(db.put('a', '1'));
      control.silent = true;
      const flush = db.flush({ type: 'memtable' }).catch((e) => e);
      expect(await clock.runUntilSettled(flush)).toMatchObject({ code: 'DEADLINE' });
      await clock.advance(60_000);
      control.silent = false;
      await clock.advance(30_000);
      await clock.runUntilSettled(db.flush({ type: 'memtable' }));
      await clock.runUntilSettled(db.close());
      const again = await clock.runUntilSettled(open({ store: disk, path: 'db' }, options));
      expect(await clock.runUntilSettled(again.get('a'))).toEqual(bytes('1'));
      expect(await clock.runUntilSettled(again.estimateSize())).toMatchObject({ tables: 1 });
    }
  });
});
