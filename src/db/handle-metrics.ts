/**
 * What `metrics()` of a database and of a reader answers: reads what their parts have counted, and what is now. No request, nothing is
 * written and nothing waited for, so it can be asked at any time, also of a handle that has ended.
 */
import type { GcClass } from '../common/collector-role.ts';
import type { Histogram } from '../common/histogram.ts';
import { histogramOf, type Metrics, MetricsBuilder } from '../common/metrics.ts';
import { type Manifest, tablesOf, viewsOf } from '../format/manifest-types.ts';
import type { DatabaseStores, StoreMeter } from '../lsm/manifest/database-stores.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import type { BlockCache } from '../lsm/table/block-cache.ts';
import type { TableReadCounts } from '../lsm/table/read-counts.ts';
import { type CallOutcome, isFailure, type RequestCounts, type StoreOp } from '../store/metered-store.ts';
import type { WriteCounts } from './counts.ts';
import type { HandleMonitor } from './handle-monitor.ts';
import type { SnapshotPins } from './snapshot-pins.ts';
import { COLLECTOR_NAME, COMPACTOR_NAME, type TreeState, treeStates, type Upkeep } from './upkeep.ts';
import type { WalFlusher } from './wal-flusher.ts';
import type { WriteState } from './write-state.ts';

/** Who sends requests. */
export type Component = 'db' | 'reader';

/** Metrics of requests alone: all that a handle has whose database does not serve yet. */
export function storeMetrics(stores: Pick<DatabaseStores, 'meters'>, component: Component): Metrics {
  const builder = new MetricsBuilder();
  addStore(builder, stores, component);
  return builder.metrics();
}

/** What both kinds of handles have. */
export interface HandleSource {
  component: Component;
  stores: Pick<DatabaseStores, 'meters'>;
  monitor: HandleMonitor;
  tables: { readonly counts: TableReadCounts; readonly cache: BlockCache };
  manifest: LoadedManifest;
  lastSeq: number;
}

export interface ReaderSource extends HandleSource {
  /** How long refreshes took. */
  refreshes: ReadonlyMap<'ok' | 'error', Histogram>;
}

export interface WriterSource extends HandleSource {
  state: WriteState;
  wal: WalFlusher | undefined;
  pins: SnapshotPins;
  upkeep: Upkeep;
  manifestRefreshes: number;
}

export function readerMetrics(source: ReaderSource): Metrics {
  const builder = new MetricsBuilder();
  addReads(builder, source);
  builder.value('shaledb_db_manifest_id', source.manifest.id);
  addTables(builder, source.manifest.manifest);
  for (const [outcome, times] of source.refreshes)
    builder.histogram('shaledb_reader_refresh_duration_seconds', times, { outcome });
  addStore(builder, source.stores, source.component);
  source.monitor.addMetrics(builder);
  return builder.metrics();
}

export function writerMetrics(source: WriterSource): Metrics {
  const builder = new MetricsBuilder();
  const { state, wal, pins, manifest } = source;
  addReads(builder, source);
  const { counts } = state;
  const flushes = counts.walFlushCalls + counts.tableFlushCalls;
  builder.value('shaledb_db_request_count', flushes, { op: 'flush' });
  builder.value('shaledb_db_open_snapshots', pins.count);
  addWrites(builder, state);
  addFlushes(builder, counts, wal);
  builder.value('shaledb_memtable_flush_manifest_refresh_count', source.manifestRefreshes);
  builder.value('shaledb_db_manifest_id', manifest.id);
  addTables(builder, manifest.manifest);
  addUpkeep(builder, source);
  addStore(builder, source.stores, source.component);
  source.monitor.addMetrics(builder);
  return builder.metrics();
}

// ---- reads

function addReads(builder: MetricsBuilder, { monitor: { reads }, tables, lastSeq }: HandleSource): void {
  builder.value('shaledb_db_request_count', reads.gets, { op: 'get' });
  builder.value('shaledb_db_request_count', reads.scans, { op: 'scan' });
  builder.value('shaledb_merge_operator_operands', reads.operands, { path: 'read' });
  builder.value('shaledb_db_open_scans', reads.openScans);
  builder.value('shaledb_db_last_seq', lastSeq);
  const { counts, cache } = tables;
  const point = { kind: 'point' };
  builder.value('shaledb_db_sst_filter_positive_count', counts.filterPositives, point);
  builder.value('shaledb_db_sst_filter_negative_count', counts.filterNegatives, point);
  builder.value('shaledb_db_sst_filter_false_positive_count', counts.filterFalsePositives, point);
  const uses = [
    ['metadata', 'hit', counts.metaHits],
    ['metadata', 'miss', counts.metaMisses],
    ['data_block', 'hit', counts.blockHits],
    ['data_block', 'miss', counts.blockMisses],
  ] as const;
  for (const [entry_kind, result, count] of uses)
    builder.value('shaledb_db_cache_access_count', count, { entry_kind, result });
  builder.value('shaledb_db_cache_evicted_count', cache.evictions);
  builder.value('shaledb_db_cache_used_bytes', cache.usedBytes);
  builder.value('shaledb_db_cache_capacity_bytes', cache.capacityBytes);
}

// ---- writes

function addWrites(builder: MetricsBuilder, state: WriteState): void {
  const { counts } = state;
  builder.value('shaledb_db_write_ops', counts.rows);
  builder.value('shaledb_db_write_batch_count', counts.writes);
  builder.value('shaledb_db_durable_seq', state.durableSeq);
  builder.value('shaledb_db_total_mem_size_bytes', state.unflushedBytes);
  builder.value('shaledb_db_memtable_count', 1, { state: 'active' });
  builder.value('shaledb_db_memtable_count', state.frozen.length, { state: 'frozen' });
  builder.value('shaledb_db_memtable_write_bytes', counts.bytes);
  builder.value('shaledb_db_backpressure_count', counts.queued);
  builder.histogram('shaledb_db_backpressure_duration_seconds', counts.queueTimes);
  builder.value('shaledb_db_l0_stall_count', counts.stalls.count, { type: 'num_ssts' });
  builder.value('shaledb_db_l0_stall_seconds', counts.stalls.seconds);
}

function addFlushes(builder: MetricsBuilder, counts: WriteCounts, wal: WalFlusher | undefined): void {
  builder.value('shaledb_wal_wal_buffer_flush_requests', counts.walFlushCalls);
  builder.value('shaledb_wal_wal_buffer_flushes', counts.walObjects);
  builder.value('shaledb_wal_wal_buffer_estimated_bytes', wal?.unwrittenBytes);
  builder.value('shaledb_wal_wal_flush_bytes', counts.walBytes);
  builder.histogram('shaledb_wal_flush_duration_seconds', counts.walTimes);
  builder.value('shaledb_memtable_flush_memtable_freeze_count', counts.freezes);
  builder.value('shaledb_memtable_flush_flush_request_count', counts.tableFlushCalls);
  builder.value('shaledb_memtable_flush_l0_upload_count', counts.tableUploads);
  builder.value('shaledb_memtable_flush_l0_flush_count', counts.tablesNamed);
  builder.histogram('shaledb_memtable_flush_duration_seconds', counts.tableTimes);
  builder.value('shaledb_db_immutable_memtable_flushes', counts.memtablesFlushed);
  builder.value('shaledb_db_l0_flush_bytes', counts.tableBytes);
}

// ---- the tree

function addTables(builder: MetricsBuilder, manifest: Manifest): void {
  const trees = treeStates(manifest).map(({ state }) => state);
  const sum = (of: (tree: TreeState) => number) => trees.reduce((n, tree) => n + of(tree), 0);
  builder.value(
    'shaledb_db_l0_sst_count',
    sum((tree) => tree.l0Tables),
  );
  builder.value('shaledb_db_segment_max_l0_sst_count', Math.max(...trees.map((tree) => tree.l0Tables)));
  builder.value(
    'shaledb_db_sorted_run_count',
    sum((tree) => tree.runs),
  );
  builder.value('shaledb_db_sst_view_count', viewsOf(manifest).length);
  builder.value('shaledb_db_sst_count', new Set(tablesOf(manifest).map(({ id }) => id)).size);
  builder.value('shaledb_db_external_db_count', manifest.externalDbs.length);
  builder.value(
    'shaledb_db_live_bytes',
    sum((tree) => tree.bytes),
  );
}

// ---- compaction and collection

/** As SlateDB names what a collector deletes; what it does not delete has our own name. */
const RESOURCES: Readonly<Record<GcClass, string>> = {
  manifest: 'manifest',
  compactions: 'compactions',
  log: 'wal',
  fence: 'wal_fence',
  table: 'compacted',
  upload: 'upload',
  copy: 'copy',
};

function addUpkeep(builder: MetricsBuilder, { upkeep, monitor: { upkeep: counts } }: WriterSource): void {
  const { compactor, collector } = upkeep.roleStates();
  if (compactor !== undefined) {
    builder.value('shaledb_compactor_running_compactions', compactor.jobs.length);
    builder.value('shaledb_compactor_epoch', compactor.epoch);
    builder.value('shaledb_compactor_bytes_compacted', counts.bytesCompacted);
    builder.value('shaledb_compactor_ssts_written', counts.tablesWritten);
    builder.value('shaledb_compactor_rows_read', counts.rowsRead);
    builder.value('shaledb_compactor_rows_written', counts.rowsWritten);
    const lastS = counts.lastCommitMs === undefined ? undefined : Math.floor(counts.lastCommitMs / 1000);
    builder.value('shaledb_compactor_last_compaction_timestamp_sec', lastS);
    const name = 'shaledb_compactor_job_duration_seconds';
    builder.histogram(name, counts.committedTimes, { outcome: 'committed' });
    builder.histogram(name, counts.endedTimes, { outcome: 'ended' });
  }
  if (collector === undefined) return;
  builder.value('shaledb_gc_count', collector.rounds);
  builder.histogram('shaledb_gc_round_duration_seconds', counts.roundTimes);
  for (const [what, resource] of Object.entries(RESOURCES) as [GcClass, string][]) {
    const { objects, bytes } = collector.deleted[what];
    builder.value('shaledb_gc_deleted_count', objects, { resource });
    builder.value('shaledb_gc_deleted_bytes', bytes, { resource });
  }
}

// ---- the store

const OPS = ['get', 'head', 'put', 'list', 'delete'] as const satisfies readonly (keyof RequestCounts)[];
const ROLE_COMPONENTS: Readonly<Record<string, string>> = { [COLLECTOR_NAME]: 'gc', [COMPACTOR_NAME]: 'compactor' };

/** The table of another database counts as one of its own: same labels, one sample. */
function addStore(builder: MetricsBuilder, stores: Pick<DatabaseStores, 'meters'>, component: Component): void {
  const meters = stores.meters();
  const groups = new Map<string, StoreMeter[]>();
  for (const each of meters) {
    const key = JSON.stringify([each.countedAs, each.storeType, each.meter.role]);
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  for (const group of groups.values()) addRole(builder, group, component);
}

function addRole(builder: MetricsBuilder, group: readonly StoreMeter[], own: Component): void {
  const [{ countedAs, storeType, meter }] = group;
  const component = countedAs === undefined ? own : (ROLE_COMPONENTS[countedAs] ?? countedAs);
  const labels = { component, store_type: storeType, role: meter.role };
  const total = (key: keyof RequestCounts) => group.reduce((sum, each) => sum + each.meter.counts[key], 0);
  for (const op of OPS) {
    if (total(op) > 0) builder.value('shaledb_object_store_request_count', total(op), { ...labels, op });
  }
  builder.value('shaledb_object_store_received_bytes', total('bytesIn'), labels);
  builder.value('shaledb_object_store_sent_bytes', total('bytesOut'), labels);
  for (const { op, outcome, times } of callsOf(group)) {
    const sample = { ...labels, op, outcome };
    builder.histogram('shaledb_object_store_request_duration_seconds', times, sample);
    if (isFailure(outcome)) builder.value('shaledb_object_store_error_count', times.count, sample);
  }
}

/** One histogram for each operation and outcome. */
function callsOf(group: readonly StoreMeter[]) {
  const sums = new Map<string, { op: StoreOp; outcome: CallOutcome; times: Histogram }>();
  for (const { op, outcome, times } of group.flatMap(({ meter }) => [...meter.calls()])) {
    const key = `${op} ${outcome}`;
    const sum = sums.get(key) ?? { op, outcome, times: histogramOf('shaledb_object_store_request_duration_seconds') };
    sum.times.add(times);
    sums.set(key, sum);
  }
  return sums.values();
}
