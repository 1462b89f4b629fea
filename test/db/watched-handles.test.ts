/** Handles, snapshots and scans that are dropped open, where the garbage collector is called; channels; a directory. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it } from 'vitest';
import type { EventMessage, FlushMessage, RequestMessage, WarningMessage } from '../../src/common/channels.ts';
import { METRICS, type MetricName } from '../../src/common/metric-catalogue.ts';
import {
  type Db,
  LocalStore,
  metricValue,
  type OpenOptions,
  open,
  openReader,
  prefixedStore,
  type ScanIterator,
  WriteBatch,
} from '../../src/index.ts';
import { World } from '../support/database.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** One more chance for the garbage collector, and for what it calls. */
async function collect(): Promise<void> {
  gc();
  await new Promise((resolve) => setTimeout(resolve, 1));
}

// In functions of their own: what has a name in the test stays reachable from its frame.

async function closeProperly(db: Db | undefined): Promise<void> {
  const scan = db?.scan();
  await scan?.next();
  await scan?.close();
  const snapshot = db?.snapshot();
  await snapshot?.get('k1');
  await snapshot?.close();
}

async function dropped(db: Db | undefined): Promise<void> {
  for (let i = 0; i < 3; i++) await db?.scan().next();
  await db?.snapshot().get('k1');
}

async function droppedReader(location: string, options: OpenOptions): Promise<void> {
  await (await openReader(location, { ...options })).get('k1');
}

const directories: string[] = [];
const ends: (() => void)[] = [];

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'shaledb-watched-'));
  directories.push(path);
  return path;
}

/** What is said on a channel until the end of the test. */
function heard<T>(name: string): T[] {
  const messages: T[] = [];
  const hear = (message: unknown) => void messages.push(message as T);
  subscribe(name, hear);
  ends.push(() => unsubscribe(name, hear));
  return messages;
}

afterEach(() => {
  for (const end of ends.splice(0)) end();
  for (const path of directories.splice(0)) rmSync(path, { recursive: true, force: true });
});

describe('what is dropped open', () => {
  it('is said once for each kind, and lets go of what it held', async () => {
    const location = pathToFileURL(directory()).href;
    const lines: string[] = [];
    const published = heard<WarningMessage>('shaledb:warning');
    const say = (_message: string, details?: Record<string, unknown>) => void lines.push(String(details?.code));
    const options = { logger: { debug() {}, info() {}, warn: say, error: say }, warnFreeBytes: 0 };
    // Members, so that nothing stays reachable from this frame.
    const held: { db?: Db | undefined; scan?: ScanIterator | undefined } = { db: await open(location, options) };
    const value = (name: MetricName) => metricValue(held.db?.metrics() ?? {}, name);
    const batch = new WriteBatch();
    for (let i = 0; i < 500; i++) batch.put(`k${i}`, 'v');
    await held.db?.write(batch);
    held.scan = held.db?.scan();
    await held.scan?.next();
    await closeProperly(held.db);
    for (let i = 0; i < 10; i++) await collect();
    expect([lines, value('shaledb_db_open_scans')]).toEqual([[], 1]);
    await dropped(held.db);
    expect([value('shaledb_db_open_scans'), value('shaledb_db_open_snapshots')]).toEqual([4, 1]);
    while (value('shaledb_db_open_scans') > 1 || value('shaledb_db_open_snapshots') > 0) await collect();
    await held.scan?.close();
    held.scan = undefined;
    expect(lines.sort()).toEqual(['scan-dropped', 'snapshot-dropped']);
    const warnings = metricValue(held.db?.metrics() ?? {}, 'shaledb_warning_count', { code: 'scan-dropped' });
    expect(warnings).toBe(3);
    await droppedReader(location, options);
    while (lines.length < 3) await collect();
    await held.db?.flush({ type: 'memtable' });
    // Its upkeep goes on, and does not keep it.
    held.db = undefined;
    while (lines.length < 4) await collect();
    expect(lines.sort()).toEqual(['handle-dropped', 'handle-dropped', 'scan-dropped', 'snapshot-dropped']);
    expect(published.map(({ code }) => code).sort()).toEqual(lines);
    // What it left takes no harm of the next opening.
    const next = await open(location, options);
    expect(await next.has('k1')).toBe(true);
    await next.close();
  }, 120_000);

  it('is not watched where time is not the system’s', async () => {
    const world = new World();
    const db = await world.open();
    for (let i = 0; i < 300; i++) await world.run(db.put(`k${i}`, 'v', { awaitDurable: false }));
    const scan = db.scan();
    await world.run(scan.next());
    expect(metricValue(db.metrics(), 'shaledb_db_open_scans')).toBe(1);
    await world.run(scan.close());
    await world.run(db.close());
    expect(metricValue(db.metrics(), 'shaledb_db_open_scans')).toBe(0);
  });
});

describe('channels', () => {
  it('say each request, as it is counted', async () => {
    const requests = heard<RequestMessage>('shaledb:request');
    const world = new World();
    const db = await world.open({ compactor: {}, gc: {} });
    await world.run(db.put('k', 'v'));
    await world.run(db.flush({ type: 'memtable' }));
    await world.run(db.close());
    const { put, get, head, list } = db.requestCounts();
    const count = (op: string) => requests.filter((request) => request.op === op).length;
    expect([count('put'), count('get'), count('head'), count('list')]).toEqual([put, get, head, list]);
    expect(requests.find(({ op, role }) => op === 'put' && role === 'wal')).toEqual({
      store: db.store.name,
      op: 'put',
      path: expect.stringMatching(/^wal\/\d+\.sst$/),
      role: 'wal',
      by: undefined,
      outcome: 'ok',
      durationMs: expect.any(Number),
    });
  });

  it('say flushes and events', async () => {
    const flushes = heard<FlushMessage>('shaledb:flush');
    const events = heard<EventMessage>('shaledb:event');
    const seen: unknown[] = [];
    const world = new World();
    const db = await world.open({ compactor: {}, onEvent: (event) => seen.push(event) });
    for (let i = 0; i < 3; i++) {
      await world.run(db.put('k', 'v'));
      await world.run(db.flush({ type: 'memtable' }));
    }
    await world.run(db.compact());
    await world.run(db.close());
    expect(flushes.filter(({ to }) => to === 'log')).toHaveLength(
      metricValue(db.metrics(), 'shaledb_wal_wal_buffer_flushes'),
    );
    const tables = flushes.filter(({ to }) => to === 'table');
    expect(tables).toHaveLength(metricValue(db.metrics(), 'shaledb_db_immutable_memtable_flushes'));
    expect(tables[0]).toEqual({
      store: db.store.name,
      to: 'table',
      id: expect.any(String),
      durationMs: expect.any(Number),
    });
    expect(events.map(({ event }) => event)).toEqual(seen);
    expect(events.filter(({ event }) => event.type === 'compactor').length).toBeGreaterThan(0);
  });
});

describe('a database in a directory', () => {
  it('has every metric of the catalogue, and shows its files and its space', async () => {
    const location = pathToFileURL(directory()).href;
    const db = await open(location, { warnLoopDelayMs: 3_600_000, warnFreeBytes: 0 });
    for (let table = 0; table < 3; table++) {
      await db.put(`k${table}`, 'v');
      await db.flush({ type: 'memtable' });
    }
    await db.compact();
    await db.get('k1');
    const reader = await openReader(location, { warnFreeBytes: Number.MAX_SAFE_INTEGER, logger: quietLogger() });
    await reader.refresh();
    const missing = () => {
      const have = { ...db.metrics(), ...reader.metrics() };
      return Object.keys(METRICS).filter((name) => !Object.hasOwn(have, name));
    };
    // The space is asked when a handle is opened, and not waited for.
    while (missing().includes('shaledb_warning_count') || missing().includes('shaledb_local_store_free_bytes'))
      await new Promise((resolve) => setImmediate(resolve));
    // Nothing has failed.
    expect(missing()).toEqual(['shaledb_object_store_error_count']);
    const metrics = db.metrics();
    expect(metricValue(metrics, 'shaledb_local_store_open_files')).toBeGreaterThan(0);
    const [free, size] = (['free', 'size'] as const).map((of) =>
      metricValue(metrics, `shaledb_local_store_${of}_bytes`),
    );
    expect(free).toBeGreaterThan(0);
    expect(size).toBeGreaterThanOrEqual(free);
    expect(metricValue(metrics, 'shaledb_process_open_handles', { kind: 'reader' })).toBeGreaterThanOrEqual(1);
    expect(metricValue(reader.metrics(), 'shaledb_warning_count', { code: 'space-low' })).toBe(1);
    await reader.close();
    await db.close();
  });

  it('below a prefix of a store of the caller has them, too', async () => {
    const store = prefixedStore(new LocalStore(directory()), 'a/b');
    const db = await open({ store, path: 'db' }, { warnFreeBytes: 0 });
    while (metricValue(db.metrics(), 'shaledb_local_store_free_bytes') === 0)
      await new Promise((resolve) => setImmediate(resolve));
    expect(db.metrics().shaledb_local_store_open_files?.samples).toHaveLength(1);
    await db.close();
  });
});

function quietLogger() {
  const none = () => undefined;
  return { debug: none, info: none, warn: none, error: none };
}
