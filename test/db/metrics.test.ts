/** What `metrics()` says, compared with what the store was asked for and with what was done. Times are those of a clock that the test owns. */
import { describe, expect, it } from 'vitest';
import { METRICS, type MetricName } from '../../src/common/metric-catalogue.ts';
import { type Metrics, metricValue } from '../../src/common/metrics.ts';
import { type Db, WriteBatch } from '../../src/index.ts';
import { latencyStore } from '../../src/store/latency-store.ts';
import { rejection, rowsOf, World } from '../support/database.ts';

const LATENCY_MS = 20;
const NO_ROLES = { compactor: false, gc: false } as const;
const keyOf = (i: number) => `key-${String(i).padStart(6, '0')}`;

function slowWorld(): World {
  const world = new World();
  world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: LATENCY_MS });
  return world;
}

async function fill(world: World, db: Db, rows: number, from = 0): Promise<void> {
  const batch = new WriteBatch();
  for (let i = from; i < from + rows; i++) batch.put(keyOf(i), new Uint8Array(100).fill(i));
  await world.run(db.write(batch));
  await world.run(db.flush({ type: 'memtable' }));
}

/** The values of a metric by one of its labels. */
function by(metrics: Metrics, name: MetricName, label: string): Record<string, number> {
  const values = new Map<string, number>();
  const metric = metrics[name];
  for (const { labels } of [...(metric?.samples ?? []), ...(metric?.histograms ?? [])])
    values.set(labels[label], metricValue(metrics, name, { [label]: labels[label] }));
  return Object.fromEntries(values);
}

const value = (handle: { metrics(): Metrics }, name: MetricName, labels?: Record<string, string>) =>
  metricValue(handle.metrics(), name, labels);

describe('metrics of requests', () => {
  it('are those of requestCounts and of the store, by operation and role', async () => {
    const world = slowWorld();
    const { db, line } = await world.connect();
    await fill(world, db, 2000);
    await world.run(db.get(keyOf(7)));
    await rowsOf(world, db);
    await world.run(db.close());
    const metrics = db.metrics();
    const { byRole, ...total } = db.requestCounts();
    const sent: Record<string, number> = {};
    for (const { op } of line.requests) sent[op] = (sent[op] ?? 0) + 1;
    expect(by(metrics, 'shaledb_object_store_request_count', 'op')).toEqual(sent);
    expect(metricValue(metrics, 'shaledb_object_store_received_bytes')).toBe(total.bytesIn);
    expect(metricValue(metrics, 'shaledb_object_store_sent_bytes')).toBe(total.bytesOut);
    const own = Object.entries(byRole).filter(([role]) => !['collector', 'compactor'].includes(role));
    for (const [role, counts] of own) {
      for (const op of ['get', 'head', 'put', 'list', 'delete'] as const) {
        const labels = { component: 'db', role, op };
        expect(metricValue(metrics, 'shaledb_object_store_request_count', labels), `${role} ${op}`).toBe(counts[op]);
      }
    }
  });

  it('have the time of each call, by its outcome', async () => {
    const world = slowWorld();
    const db = await world.open(NO_ROLES);
    const name = 'shaledb_object_store_request_duration_seconds';
    const before = value(db, name, { role: 'wal', op: 'put' });
    for (let i = 0; i < 5; i++) await world.run(db.put(`k${i}`, 'v'));
    const puts = db
      .metrics()
      .shaledb_object_store_request_duration_seconds?.histograms.find(
        ({ labels }) => labels.role === 'wal' && labels.op === 'put',
      );
    expect(puts).toMatchObject({ labels: { component: 'db', store_type: 'main', outcome: 'ok' } });
    expect(puts?.count).toBe(before + 5);
    expect(puts?.sum).toBeCloseTo(((before + 5) * LATENCY_MS) / 1000, 6);
    expect(puts?.buckets.find(({ le }) => le === 0.01)?.count).toBe(0);
    expect(puts?.buckets.find(({ le }) => le === 0.025)?.count).toBe(before + 5);
    await world.run(db.close());
  });

  it('say which calls failed, and how', async () => {
    const world = new World();
    const db = await world.open(NO_ROLES);
    expect(value(db, 'shaledb_object_store_error_count')).toBe(0);
    world.faults.add({ action: 'fail-before', op: 'put', nth: 1 });
    await world.run(db.put('k', 'v'));
    expect(by(db.metrics(), 'shaledb_object_store_error_count', 'outcome')).toEqual({ unavailable: 1 });
    expect(by(db.metrics(), 'shaledb_object_store_error_count', 'role')).toEqual({ wal: 1 });
    await world.run(db.close());
  });

  it('name absences and refusals as answers', async () => {
    const world = new World();
    const first = await world.open(NO_ROLES);
    await world.run(first.put('k', 'v'));
    // Takes the database over: the next object of the first one is refused.
    const second = await world.open(NO_ROLES);
    await world.run(rejection(first.put('k', 'w')));
    const outcomes = by(first.metrics(), 'shaledb_object_store_request_duration_seconds', 'outcome');
    expect(outcomes.refused).toBeGreaterThan(0);
    expect(outcomes.absent).toBeGreaterThan(0);
    expect(value(first, 'shaledb_object_store_error_count')).toBe(0);
    await world.run(second.close());
  });

  it('count those of the roles under their components, with the role of each object', async () => {
    const world = new World();
    const db = await world.open({ compactor: {} });
    for (let table = 0; table < 5; table++) await fill(world, db, 50, table * 10);
    await world.run(db.compact());
    const metrics = db.metrics();
    const { compactor } = db.requestCounts().byRole;
    const name = 'shaledb_object_store_request_count';
    expect(metricValue(metrics, name, { component: 'compactor', op: 'get' })).toBe(compactor.get);
    expect(metricValue(metrics, name, { component: 'compactor', role: 'table', op: 'put' })).toBeGreaterThan(0);
    await world.run(db.close());
  });
});

describe('metrics of reads', () => {
  it('count calls, and each key of getMany', async () => {
    const world = new World();
    const db = await world.open(NO_ROLES);
    await world.run(db.put('a', '1'));
    await world.run(db.get('a'));
    await world.run(db.has('b'));
    await world.run(db.getWithMeta('a'));
    await world.run(db.getMany(['a', 'b', 'c']));
    await world.run(db.snapshot().get('a'));
    await rowsOf(world, db);
    await world.run(db.flush());
    await world.run(db.flush({ type: 'memtable' }));
    expect(by(db.metrics(), 'shaledb_db_request_count', 'op')).toEqual({ get: 7, scan: 1, flush: 2 });
    expect(await world.run(rejection(db.get('')))).toMatchObject({ kind: 'invalid' });
    expect(value(db, 'shaledb_db_request_count', { op: 'get' })).toBe(7);
    await world.run(db.close());
  });

  it('count hits and misses of the cache, exactly', async () => {
    const world = new World();
    const writer = await world.open(NO_ROLES);
    await fill(world, writer, 2000);
    await world.run(writer.close());
    const db = await world.open(NO_ROLES);
    const uses = () => {
      const metrics = db.metrics();
      return (['metadata', 'data_block'] as const).map((entry_kind) =>
        by({ shaledb_db_cache_access_count: only(metrics, entry_kind) }, 'shaledb_db_cache_access_count', 'result'),
      );
    };
    const only = (metrics: Metrics, kind: string) => {
      const metric = metrics.shaledb_db_cache_access_count;
      if (metric === undefined) throw new Error('no metric of the cache');
      return { ...metric, samples: metric.samples.filter(({ labels }) => labels.entry_kind === kind) };
    };
    const start = uses();
    await world.run(db.get(keyOf(7)));
    expect(uses()).toEqual([
      { hit: start[0].hit, miss: start[0].miss + 1 },
      { hit: 0, miss: 1 },
    ]);
    for (let i = 0; i < 3; i++) await world.run(db.get(keyOf(7)));
    expect(uses()).toEqual([
      { hit: start[0].hit + 3, miss: start[0].miss + 1 },
      { hit: 3, miss: 1 },
    ]);
    // One block is there, the others come with the requests of the scan.
    const before = db.requestCounts().byRole.table.get;
    expect(await rowsOf(world, db)).toHaveLength(2000);
    const blocks = uses()[1];
    expect(blocks.hit).toBe(4);
    expect(blocks.miss).toBeGreaterThan(40);
    expect(db.requestCounts().byRole.table.get - before).toBeLessThan(blocks.miss);
    await rowsOf(world, db);
    expect(uses()[1]).toEqual({ hit: 4 + blocks.miss, miss: blocks.miss });
    await world.run(db.close());
  });

  it('count what filters said', async () => {
    const world = new World();
    const db = await world.open({ ...NO_ROLES, minFilterKeys: 1 });
    await fill(world, db, 2000);
    const point = { kind: 'point' };
    for (let pass = 0; pass < 2; pass++) {
      for (let i = 0; i < 100; i++) await world.run(db.get(keyOf(i)));
      for (let i = 0; i < 100; i++) await world.run(db.get(`${keyOf(i)}-absent`));
    }
    const metrics = db.metrics();
    const [positive, negative, wrong] = (['positive', 'negative', 'false_positive'] as const).map((said) =>
      metricValue(metrics, `shaledb_db_sst_filter_${said}_count`, point),
    );
    expect(positive + negative).toBe(400);
    expect(positive - wrong).toBe(200);
    // 10 bits a key: about 1 in 100.
    expect(wrong).toBeLessThan(20);
    await world.run(db.close());
  });

  it('show open scans and snapshots', async () => {
    const world = new World();
    const db = await world.open(NO_ROLES);
    await fill(world, db, 500);
    const open = () => [value(db, 'shaledb_db_open_scans'), value(db, 'shaledb_db_open_snapshots')];
    const snapshot = db.snapshot();
    const scan = snapshot.scan();
    expect(open()).toEqual([0, 1]);
    await world.run(scan.next());
    expect(open()).toEqual([1, 1]);
    const whole = db.scan();
    while (!(await world.run(whole.next())).done);
    expect(open()).toEqual([1, 1]);
    await world.run(scan.close());
    await world.run(scan.close());
    await world.run(snapshot.close());
    expect(open()).toEqual([0, 0]);
    // All of it comes with the first buffer.
    await world.run(db.scan({ limit: 100 }).next());
    await world.run(db.scan({ gte: keyOf(490) }).next());
    expect(open()).toEqual([0, 0]);
    await world.run(db.close());
  });

  it('count the operands of the merge operator', async () => {
    const mergeOperator = {
      merge: (_key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array) =>
        new Uint8Array([...(existing ?? []), ...operand]),
    };
    for (const operator of [
      mergeOperator,
      {
        ...mergeOperator,
        mergeBatch: (_key: Uint8Array, existing: Uint8Array | undefined, operands: Uint8Array[]) =>
          new Uint8Array([...(existing ?? []), ...operands.flatMap((operand) => [...operand])]),
      },
    ]) {
      const world = new World();
      const db = await world.open({ ...NO_ROLES, mergeOperator: operator });
      for (const operand of ['a', 'b', 'c']) await world.run(db.merge('k', operand));
      expect(new TextDecoder().decode(await world.run(db.get('k')))).toBe('abc');
      expect(value(db, 'shaledb_merge_operator_operands', { path: 'read' })).toBe(3);
      await world.run(db.close());
    }
  });
});

describe('metrics of writes', () => {
  it('count rows, writes and bytes, of the log and of tables', async () => {
    const world = slowWorld();
    const db = await world.open(NO_ROLES);
    const [objects, bytes] = [value(db, 'shaledb_wal_wal_buffer_flushes'), db.requestCounts().byRole.wal.bytesOut];
    expect(objects).toBe(0);
    await world.run(db.put('abc', '12345'));
    await world.run(db.delete('abc'));
    await world.run(db.write(new WriteBatch().put('k1', 'v').put('k2', 'v')));
    expect(value(db, 'shaledb_db_write_batch_count')).toBe(3);
    expect(value(db, 'shaledb_db_write_ops')).toBe(4);
    expect(value(db, 'shaledb_db_memtable_write_bytes')).toBe(8 + 3 + 6);
    expect(value(db, 'shaledb_wal_wal_buffer_flushes')).toBe(3);
    expect(value(db, 'shaledb_wal_wal_flush_bytes')).toBe(db.requestCounts().byRole.wal.bytesOut - bytes);
    expect(value(db, 'shaledb_wal_wal_buffer_estimated_bytes')).toBe(0);
    expect(by(db.metrics(), 'shaledb_db_memtable_count', 'state')).toEqual({ active: 1, frozen: 0 });
    const memory = value(db, 'shaledb_db_total_mem_size_bytes');
    expect(memory).toBeGreaterThan(0);
    await world.run(db.flush({ type: 'memtable' }));
    for (const name of ['memtable_freeze', 'l0_upload', 'l0_flush', 'flush_request'] as const)
      expect(value(db, `shaledb_memtable_flush_${name}_count`), name).toBe(1);
    expect(value(db, 'shaledb_db_immutable_memtable_flushes')).toBe(1);
    expect(value(db, 'shaledb_db_l0_flush_bytes')).toBe(db.requestCounts().byRole.table.bytesOut);
    const [log] = db.metrics().shaledb_wal_flush_duration_seconds?.histograms ?? [];
    expect(log).toMatchObject({ count: 3, sum: expect.closeTo((3 * LATENCY_MS) / 1000, 6) });
    // A table and a manifest.
    const [table] = db.metrics().shaledb_memtable_flush_duration_seconds?.histograms ?? [];
    expect(table.count).toBe(1);
    expect(table.sum).toBeGreaterThanOrEqual((2 * LATENCY_MS) / 1000);
    expect(value(db, 'shaledb_db_last_seq')).toBe(3);
    expect(value(db, 'shaledb_db_durable_seq')).toBe(3);
    await world.run(db.close());
  });

  it('estimate what is not in the log yet', async () => {
    const world = slowWorld();
    const db = await world.open({ ...NO_ROLES, flushIntervalMs: 1000 });
    await world.run(db.put('k', new Uint8Array(1000), { awaitDurable: false }));
    expect(value(db, 'shaledb_wal_wal_buffer_estimated_bytes')).toBeGreaterThanOrEqual(1000);
    await world.run(db.flush());
    expect(value(db, 'shaledb_wal_wal_buffer_estimated_bytes')).toBe(0);
    expect(value(db, 'shaledb_wal_wal_buffer_flush_requests')).toBe(1);
    await world.run(db.close());
  });

  it('count stalls of level 0 and waits for memory, with their times', async () => {
    const world = new World();
    const options = { l0MaxSsts: 1, l0SstSizeBytes: 4096, maxUnflushedBytes: 40_000, writeTimeoutMs: 3000 };
    const db = await world.open({ ...NO_ROLES, ...options });
    const notDurable = { awaitDurable: false };
    const row = new Uint8Array(2000);
    let refused: unknown;
    for (let i = 0; i < 40 && refused === undefined; i++)
      await world.run(db.put(keyOf(i), row, notDurable)).catch((error) => (refused = error));
    expect(refused).toMatchObject({ code: 'OVERLOADED' });
    const [waits] = db.metrics().shaledb_db_backpressure_duration_seconds?.histograms ?? [];
    expect(waits.count).toBe(value(db, 'shaledb_db_backpressure_count'));
    expect(waits.count - (waits.buckets.find(({ le }) => le === 2.5)?.count ?? 0)).toBe(1);
    expect(waits.sum).toBeGreaterThanOrEqual(3);
    expect(value(db, 'shaledb_db_l0_stall_count', { type: 'num_ssts' })).toBe(1);
    expect(value(db, 'shaledb_db_l0_stall_seconds')).toBeGreaterThanOrEqual(3);
    await world.run(db.close());
    const ended = value(db, 'shaledb_db_l0_stall_seconds');
    await world.clock.advance(10_000);
    expect(value(db, 'shaledb_db_l0_stall_seconds')).toBe(ended);
  });
});

describe('metrics of tables and of upkeep', () => {
  it('show the tree, compaction and collection', async () => {
    const world = slowWorld();
    const db = await world.open({ compactor: {}, gc: {} });
    for (let table = 0; table < 3; table++) await fill(world, db, 100, table * 50);
    const before = value(db, 'shaledb_compactor_job_duration_seconds', { outcome: 'committed' });
    const report = await world.run(db.compact());
    const { trees, liveBytes, manifestId, compactor } = db.upkeep();
    expect(value(db, 'shaledb_db_l0_sst_count')).toBe(trees[0].l0Tables);
    expect(value(db, 'shaledb_db_segment_max_l0_sst_count')).toBe(trees[0].l0Tables);
    expect(value(db, 'shaledb_db_sorted_run_count')).toBe(1);
    expect(value(db, 'shaledb_db_sst_view_count')).toBe(trees[0].tables);
    expect(value(db, 'shaledb_db_sst_count')).toBe(trees[0].tables);
    expect(value(db, 'shaledb_db_external_db_count')).toBe(0);
    expect(value(db, 'shaledb_db_live_bytes')).toBe(liveBytes);
    expect(value(db, 'shaledb_db_manifest_id')).toBe(Number(manifestId));
    const sum = (of: (job: (typeof report.jobs)[number]) => number) => report.jobs.reduce((n, job) => n + of(job), 0);
    expect(report.jobs.length).toBeGreaterThan(0);
    expect(value(db, 'shaledb_compactor_job_duration_seconds', { outcome: 'committed' }) - before).toBe(
      report.jobs.length,
    );
    expect(value(db, 'shaledb_compactor_ssts_written')).toBe(sum((job) => job.tables));
    expect(value(db, 'shaledb_compactor_bytes_compacted')).toBe(sum((job) => job.bytesIn));
    expect(value(db, 'shaledb_compactor_rows_read')).toBe(sum((job) => job.rowsIn));
    expect(value(db, 'shaledb_compactor_rows_written')).toBe(sum((job) => job.rowsOut));
    expect(value(db, 'shaledb_compactor_epoch')).toBe(compactor?.epoch);
    expect(value(db, 'shaledb_compactor_running_compactions')).toBe(0);
    expect(value(db, 'shaledb_compactor_last_compaction_timestamp_sec')).toBeGreaterThan(0);
    // Manifests that are kept name the old tables until there are newer ones.
    for (let table = 0; table < 3; table++) await fill(world, db, 10, table * 10);
    await world.clock.advance(60 * 60_000);
    const collector = db.upkeep().collector;
    expect(collector?.deleted.table.objects).toBeGreaterThanOrEqual(3);
    expect(value(db, 'shaledb_gc_deleted_count', { resource: 'compacted' })).toBe(collector?.deleted.table.objects);
    expect(value(db, 'shaledb_gc_deleted_bytes', { resource: 'compacted' })).toBe(collector?.deleted.table.bytes);
    expect(value(db, 'shaledb_gc_deleted_count', { resource: 'wal' })).toBe(collector?.deleted.log.objects);
    expect(value(db, 'shaledb_gc_count')).toBe(collector?.rounds);
    expect(value(db, 'shaledb_gc_round_duration_seconds')).toBe(collector?.rounds);
    await world.run(db.close());
  });

  it('have nothing of roles that are switched off', async () => {
    const world = new World();
    const db = await world.open(NO_ROLES);
    const names = Object.keys(db.metrics()).filter((name) => /_(compactor|gc)_/.test(name));
    expect(names).toEqual([]);
    await world.run(db.close());
  });
});

describe('metrics of handles', () => {
  it('of a reader: what it has read, and its refreshes', async () => {
    const world = slowWorld();
    const db = await world.open(NO_ROLES);
    await fill(world, db, 10);
    const reader = await world.openReader();
    await world.run(db.put('later', 'v'));
    await world.run(reader.refresh());
    await world.run(reader.get(keyOf(1)));
    expect(by(reader.metrics(), 'shaledb_reader_refresh_duration_seconds', 'outcome')).toEqual({ ok: 1 });
    world.faults.add({ action: 'fail-before', op: 'list' });
    await world.run(rejection(reader.refresh()), 200_000);
    expect(by(reader.metrics(), 'shaledb_reader_refresh_duration_seconds', 'outcome')).toEqual({ ok: 1, error: 1 });
    expect(value(reader, 'shaledb_db_request_count', { op: 'get' })).toBe(1);
    expect(value(reader, 'shaledb_db_last_seq')).toBe(2);
    expect(Object.keys(by(reader.metrics(), 'shaledb_object_store_request_count', 'component'))).toEqual(['reader']);
    expect(reader.metrics().shaledb_db_write_ops).toBeUndefined();
    world.faults.clear();
    await world.run(reader.close());
    await world.run(db.close());
    expect(value(reader, 'shaledb_db_request_count', { op: 'get' })).toBe(1);
  });

  it('are plain data that does not change', async () => {
    const world = new World();
    const db = await world.open();
    await fill(world, db, 10);
    const metrics = db.metrics();
    const text = JSON.stringify(metrics);
    expect(structuredClone(metrics)).toEqual(metrics);
    expect(JSON.parse(text)).toEqual(metrics);
    await fill(world, db, 10);
    expect(JSON.stringify(metrics)).toBe(text);
    await world.run(db.close());
  });

  it('of a log in another store are under its type', async () => {
    const world = new World();
    const wal = new World();
    const { open } = await import('../../src/open.ts');
    const walStore = { store: wal.line(), path: 'wal' };
    const at = { store: world.line(), path: 'db', walStore };
    const db = await world.run(open(at, { clock: world.clock, random: world.random(), ...NO_ROLES }));
    await world.run(db.put('k', 'v'));
    const roles = (store_type: string) =>
      db
        .metrics()
        .shaledb_object_store_sent_bytes?.samples.filter(({ labels }) => labels.store_type === store_type)
        .filter((sample) => sample.value > 0)
        .map(({ labels }) => labels.role);
    expect(roles('wal')).toContain('wal');
    expect(roles('main')).not.toContain('wal');
    await world.run(db.close());
  });

  it('have the labels and the order of the catalogue', async () => {
    const world = new World();
    const db = await world.open();
    await fill(world, db, 10);
    const metrics = db.metrics();
    const names = Object.keys(metrics) as MetricName[];
    const order = Object.keys(METRICS) as MetricName[];
    expect(names).toEqual(order.filter((name) => metrics[name] !== undefined));
    for (const name of names) {
      const metric = metrics[name];
      for (const { labels } of [...(metric?.samples ?? []), ...(metric?.histograms ?? [])])
        expect(Object.keys(labels).sort(), name).toEqual([...METRICS[name].labels].sort());
      const all = [...(metric?.samples ?? []), ...(metric?.histograms ?? [])].map(({ labels }) =>
        JSON.stringify(Object.entries(labels).sort()),
      );
      expect(new Set(all).size, `${name}: each set of labels once`).toBe(all.length);
    }
    await world.run(db.close());
  });
});
