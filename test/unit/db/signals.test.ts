/** The shutdown by signal of all databases of a process, on a process that is none. */
import { describe, expect, it } from 'vitest';
import { type Deferred, deferred } from '../../../src/common/async.ts';
import { SILENT_LOGGER } from '../../../src/common/logger.ts';
import { SignalShutdown } from '../../../src/db/signals.ts';

type Listener = (signal: NodeJS.Signals) => void;

/** Signals as a process has them. */
class FakeProcess {
  readonly raised: NodeJS.Signals[] = [];
  readonly #listeners: [NodeJS.Signals, Listener][] = [];

  on(signal: NodeJS.Signals, listener: Listener): void {
    this.#listeners.push([signal, listener]);
  }

  removeListener(signal: NodeJS.Signals, listener: Listener): void {
    const at = this.#listeners.findIndex(([s, l]) => s === signal && l === listener);
    if (at >= 0) this.#listeners.splice(at, 1);
  }

  listenerCount(signal: NodeJS.Signals): number {
    return this.#listeners.filter(([s]) => s === signal).length;
  }

  raise(signal: NodeJS.Signals): void {
    this.raised.push(signal);
  }

  send(signal: NodeJS.Signals): void {
    for (const [s, listener] of [...this.#listeners]) if (s === signal) listener(signal);
  }
}

/** A database whose closing a test ends. */
class FakeDb {
  readonly closed: Deferred<void> = deferred();
  closings = 0;

  close(): Promise<void> {
    this.closings++;
    return this.closed.promise;
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

function started(count: number) {
  const process = new FakeProcess();
  const shutdown = new SignalShutdown(process);
  const dbs = Array.from({ length: count }, () => new FakeDb());
  const removes = dbs.map((db) => shutdown.add(db, SILENT_LOGGER));
  return { process, shutdown, dbs, removes };
}

describe('a shutdown by signal', () => {
  it('has one listener for each signal, for any number of databases, and none without databases', () => {
    const { process, removes } = started(15);
    expect([process.listenerCount('SIGTERM'), process.listenerCount('SIGINT')]).toEqual([1, 1]);
    for (const remove of removes.slice(1)) remove();
    expect(process.listenerCount('SIGTERM')).toBe(1);
    removes[0]();
    removes[0]();
    expect([process.listenerCount('SIGTERM'), process.listenerCount('SIGINT')]).toEqual([0, 0]);
  });

  it('ends the process after the last database has closed, and only then', async () => {
    const { process, dbs } = started(3);
    process.send('SIGTERM');
    expect(dbs.map((db) => db.closings)).toEqual([1, 1, 1]);
    dbs[2].closed.resolve();
    dbs[0].closed.resolve();
    await settled();
    expect(process.raised).toEqual([]);
    dbs[1].closed.resolve();
    await settled();
    expect(process.raised).toEqual(['SIGTERM']);
    expect(process.listenerCount('SIGTERM')).toBe(0);
  });

  it('goes on past a database that fails to close, and says so', async () => {
    const process = new FakeProcess();
    const shutdown = new SignalShutdown(process);
    const errors: string[] = [];
    const logger = { ...SILENT_LOGGER, error: (message: string) => void errors.push(message) };
    const dbs = [new FakeDb(), new FakeDb()];
    for (const db of dbs) shutdown.add(db, logger);
    process.send('SIGINT');
    dbs[0].closed.reject(new Error('too late'));
    await settled();
    expect(process.raised).toEqual([]);
    dbs[1].closed.resolve();
    await settled();
    expect(process.raised).toEqual(['SIGINT']);
    expect(errors).toEqual(['the database could not be closed in time']);
  });

  it('leaves a database alone that was closed before', async () => {
    const { process, dbs, removes } = started(2);
    removes[0]();
    process.send('SIGTERM');
    dbs[1].closed.resolve();
    await settled();
    expect(dbs[0].closings).toBe(0);
    expect(process.raised).toEqual(['SIGTERM']);
  });

  it('waits for a database that is closed by its owner in the meantime', async () => {
    const { process, dbs, removes } = started(2);
    process.send('SIGTERM');
    removes[0]();
    removes[1]();
    dbs[1].closed.resolve();
    await settled();
    expect(process.raised).toEqual([]);
    dbs[0].closed.resolve();
    await settled();
    expect(process.raised).toEqual(['SIGTERM']);
  });

  it('closes a database, too, whose opening was under way when the signal came', async () => {
    const { process, shutdown, dbs } = started(1);
    process.send('SIGTERM');
    const late = new FakeDb();
    shutdown.add(late, SILENT_LOGGER);
    dbs[0].closed.resolve();
    await settled();
    expect([late.closings, process.raised]).toEqual([1, []]);
    late.closed.resolve();
    await settled();
    expect(process.raised).toEqual(['SIGTERM']);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('ends at once at a second signal, %s', (second) => {
    const { process } = started(2);
    process.send('SIGTERM');
    process.send(second);
    expect(process.raised).toEqual([second]);
  });

  it('leaves the end to other listeners, and is ready for the next signal', async () => {
    const { process, shutdown, dbs } = started(1);
    const heard: string[] = [];
    process.on('SIGTERM', (signal) => void heard.push(signal));
    process.send('SIGTERM');
    dbs[0].closed.resolve();
    await settled();
    expect([heard, process.raised]).toEqual([['SIGTERM'], []]);
    const next = new FakeDb();
    shutdown.add(next, SILENT_LOGGER);
    process.send('SIGTERM');
    expect(next.closings).toBe(1);
  });

  it('does not take the listeners of a second copy of this package for done', async () => {
    const process = new FakeProcess();
    const [a, b] = [new FakeDb(), new FakeDb()];
    new SignalShutdown(process).add(a, SILENT_LOGGER);
    new SignalShutdown(process).add(b, SILENT_LOGGER);
    process.send('SIGTERM');
    a.closed.resolve();
    await settled();
    expect(process.raised).toEqual([]);
    b.closed.resolve();
    await settled();
    expect(process.raised).toEqual(['SIGTERM']);
  });
});
