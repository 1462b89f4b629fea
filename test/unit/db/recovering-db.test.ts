/**
 * A handle that exists before its database serves, as scripts: each line is done at once after the one before, then all that follows from
 * it happens. The database only notes what reaches it.
 */
import { describe, expect, it } from 'vitest';
import { ClosedError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import type { Db } from '../../../src/db/db.ts';
import { type Recovered, recoveringDb } from '../../../src/db/recovering-db.ts';
import { text } from '../../support/database.ts';

const TIMEOUT_MS = 1000;

class World {
  readonly clock = new ManualClock();
  /** What reached the database. */
  readonly reached: string[] = [];
  /** What came back, in that order. */
  readonly answers: string[] = [];
  readonly stop = new AbortController();
  readonly db: Db;
  #end: { serve(r: Recovered): void; fail(e: unknown): void } | undefined;

  constructor() {
    const recovery = new Promise<Recovered>((serve, fail) => {
      this.#end = { serve, fail };
    });
    const stores = { main: { name: 'memory' }, path: 'db', counts: () => ({}) };
    this.db = recoveringDb(recovery, stores as never, this.clock, TIMEOUT_MS);
  }

  serve(): void {
    const note = async (call: string) => void this.reached.push(call);
    const db = {
      put: (key: Uint8Array | string, _value: string, options?: { awaitDurable?: boolean }) => {
        const noted = note(`put ${typeof key === 'string' ? key : text(key)}`);
        return options?.awaitDurable ? noted : noted.then();
      },
      flush: () => note('flush'),
      close: () => note('close'),
      raw: {
        get: (key: string) => note(`get ${key}`),
        scan: () => {
          this.reached.push('scan');
          return { findings: [], next: () => note('next'), close: () => note('end of scan') };
        },
      },
      snapshot: () => void this.reached.push('snapshot'),
    };
    this.#end?.serve({ db: db as never, report: undefined });
  }

  fail(error: unknown): void {
    this.#end?.fail(error);
  }

  /** Notes how a call ends. */
  note(name: string, call: Promise<unknown>): void {
    call.then(
      () => this.answers.push(name),
      (error: { code: string; outcome?: string }) =>
        this.answers.push([name, error.code, error.outcome].filter((part) => part !== undefined).join(' ')),
    );
  }

  put(key: string, options?: Parameters<Db['put']>[2]): void {
    this.note(key, this.db.put(key, 'value', options));
  }

  async settle(ms = 0): Promise<void> {
    for (let i = 0; i < 20; i++) await this.clock.advance(0);
    if (ms > 0) await this.clock.advance(ms);
  }
}

describe('calls that wait', () => {
  it('reach the database in the order in which they were made, with a signal or without', async () => {
    const w = new World();
    const { signal } = w.stop;
    w.put('a', { signal });
    w.put('b');
    w.put('c', { signal });
    w.note('flush', w.db.flush({ signal }));
    w.put('d');
    w.note('ready', w.db.ready());
    void w.db.ready().then(() => w.put('e'));
    await w.settle();
    expect([w.reached, w.answers]).toEqual([[], []]);
    w.serve();
    await w.settle();
    expect(w.reached).toEqual(['put a', 'put b', 'put c', 'flush', 'put d', 'put e']);
    expect([...w.answers].sort()).toEqual(['a', 'b', 'c', 'd', 'e', 'flush', 'ready']);
  });

  it('come before one that code of the caller makes while they are made', async () => {
    const w = new World();
    w.put('a', {
      get awaitDurable() {
        w.put('c');
        return true;
      },
    });
    w.put('b');
    w.serve();
    await w.settle();
    expect(w.reached).toEqual(['put a', 'put b', 'put c']);
  });

  it('keep the bytes that they were given', async () => {
    const w = new World();
    const key = new TextEncoder().encode('mine');
    w.note('put', w.db.put(key, 'value'));
    key.fill(120);
    w.serve();
    await w.settle();
    expect(w.reached).toEqual(['put mine']);
  });

  it('end with their own deadline or signal, and are not made', async () => {
    const w = new World();
    w.put('early');
    await w.settle(TIMEOUT_MS - 1);
    w.put('stopped', { signal: w.stop.signal });
    w.put('late');
    w.stop.abort();
    w.put('aborted', { signal: w.stop.signal });
    await w.settle(1);
    await w.settle();
    expect(w.answers.sort()).toEqual([
      'aborted ABORTED not-applied',
      'early RECOVERING not-applied',
      'stopped ABORTED not-applied',
    ]);
    w.serve();
    await w.settle();
    expect([w.reached, w.answers.at(-1)]).toEqual([['put late'], 'late']);
    // No timer is left of any of them.
    await w.settle(10 * TIMEOUT_MS);
    expect(w.answers.length).toBe(4);
  });

  it('all end with the error of a recovery that fails, and so does each later one', async () => {
    const w = new World();
    w.put('a');
    w.note('get', w.db.get('k'));
    w.note('ready', w.db.ready());
    w.fail(new ClosedError('FAILED', 'the log is damaged'));
    await w.settle();
    w.put('b');
    w.note('next', w.db.scan().next());
    w.note('close', w.db.close());
    await w.settle();
    expect([w.reached, w.answers.sort()]).toEqual([
      [],
      ['a FAILED', 'b FAILED', 'close', 'get FAILED', 'next FAILED', 'ready FAILED'],
    ]);
  });
});

describe('what cannot wait', () => {
  it('is refused until the database serves', async () => {
    const w = new World();
    expect(() => w.db.snapshot()).toThrow(/wait for ready\(\) first/);
    expect([w.db.path, w.db.store.name, w.db.requestCounts()]).toEqual(['db', 'memory', {}]);
    w.serve();
    await w.settle();
    w.db.snapshot();
    expect(w.reached).toEqual(['snapshot']);
  });
});

describe('a scan', () => {
  it('begins when the database serves, among the other calls', async () => {
    const w = new World();
    w.put('a');
    const scan = w.db.scan();
    w.note('next', scan.next());
    w.put('b');
    expect(scan.findings).toEqual([]);
    w.serve();
    await w.settle();
    expect(w.reached).toEqual(['put a', 'scan', 'put b', 'next']);
  });
});

describe('closing', () => {
  it('ends the database once it is there, after the calls that waited', async () => {
    const w = new World();
    w.put('a', { signal: w.stop.signal });
    w.note('close', w.db.close());
    await w.settle();
    expect(w.answers).toEqual([]);
    w.serve();
    await w.settle();
    expect([w.reached, w.answers.sort()]).toEqual([
      ['put a', 'close'],
      ['a', 'close'],
    ]);
  });
});
