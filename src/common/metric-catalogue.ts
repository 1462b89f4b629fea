/**
 * Every metric that there is: name, type, unit, labels, help. `metrics()`, the text for Prometheus, the bridge to OpenTelemetry and the
 * page docs/metrics.md all come from here.
 *
 * Names are those of SlateDB, whose dots are underscores, after `shaledb_` instead of `slatedb.`: dashboards for one are dashboards for
 * the other. What SlateDB does not count has names after the same pattern, with the unit last. So counters end in `_count` or in what is
 * counted, not in `_total`.
 *
 * 1. A name occurs once, and some test shows a sample of it (a law compares).
 * 2. A counter never falls while a handle lives; a gauge is the state of this moment.
 */
import { LATENCY_BOUNDS, WORK_BOUNDS } from './histogram.ts';

/** How a metric is to be read: `counter` only rises, `gauge` is a state, `histogram` counts values by their size. */
export type MetricType = 'counter' | 'gauge' | 'histogram';

/** What a value counts; `''`: things, as the name says. */
export type MetricUnit = '' | 'bytes' | 'seconds';

/** What is known of a metric before it has a value. */
export interface MetricInfo {
  /** How it is to be read. */
  readonly type: MetricType;
  /** What its values count. */
  readonly unit: MetricUnit;
  /** Names of its labels; each sample has all of them. */
  readonly labels: readonly string[];
  /** What it says, in a sentence or two. */
  readonly help: string;
  /** Of a histogram: upper bounds of its buckets. */
  readonly bounds?: readonly number[];
}

type Labels = readonly string[];

function counter(help: string, labels: Labels = [], unit: MetricUnit = ''): MetricInfo {
  return { type: 'counter', unit, labels, help };
}

function gauge(help: string, labels: Labels = [], unit: MetricUnit = ''): MetricInfo {
  return { type: 'gauge', unit, labels, help };
}

function duration(help: string, labels: Labels = [], bounds = LATENCY_BOUNDS): MetricInfo {
  return { type: 'histogram', unit: 'seconds', labels, help, bounds };
}

const STORE = ['component', 'store_type', 'op', 'role'] as const;

/** Name -> what it is, in the order in which they are shown. */
export const METRICS = {
  // ---- calls
  shaledb_db_request_count: counter(
    'Calls: get (each key of getMany counts, and has and getWithMeta), scan, and flush.',
    ['op'],
  ),
  shaledb_db_write_ops: counter('Rows that were written: each put, delete and merge, and each operation of a batch.'),
  shaledb_db_write_batch_count: counter('Writes: each put, delete and merge, and each batch as one.'),
  shaledb_merge_operator_operands: counter('Operands that the merge operator was given by reads.', ['path']),
  shaledb_db_open_scans: gauge('Scans that have rows left and are neither at their end nor closed.'),
  shaledb_db_open_snapshots: gauge('Snapshots that are not closed: flushes and compactions keep what they see.'),
  shaledb_db_last_seq: gauge('Sequence number of the newest row that can be read.'),
  shaledb_db_durable_seq: gauge('Sequence number of the newest row that is durable.'),
  // ---- memory and back-pressure
  shaledb_db_total_mem_size_bytes: gauge(
    'Memory that only a flush can free: memtables, and objects on their way to the store. Writes wait at the option maxUnflushedBytes.',
    [],
    'bytes',
  ),
  shaledb_db_memtable_count: gauge(
    'Memtables: the active one, and those that are frozen and on their way to a table.',
    ['state'],
  ),
  shaledb_db_memtable_write_bytes: counter('Bytes of keys and values that were written.', [], 'bytes'),
  shaledb_db_backpressure_count: counter('Writes that had to wait for memory before they were admitted or refused.'),
  shaledb_db_backpressure_duration_seconds: duration(
    'How long writes waited for memory that did not find any at once.',
  ),
  shaledb_db_l0_stall_count: counter('How often flushing paused because level 0 was full (option l0MaxSsts).', [
    'type',
  ]),
  shaledb_db_l0_stall_seconds: counter(
    'How long flushing has paused for that, the present pause included.',
    [],
    'seconds',
  ),
  // ---- the log
  shaledb_wal_wal_buffer_flush_requests: counter('Calls of flush that wait for the log.'),
  shaledb_wal_wal_buffer_flushes: counter('Objects of the log that were stored.'),
  shaledb_wal_wal_buffer_estimated_bytes: gauge('Bytes of rows that are not in the log yet, estimated.', [], 'bytes'),
  shaledb_wal_wal_flush_bytes: counter('Bytes of the objects of the log that were stored.', [], 'bytes'),
  shaledb_wal_flush_duration_seconds: duration(
    'From the moment at which rows are taken for an object of the log until it is durable.',
  ),
  // ---- memtables to tables
  shaledb_memtable_flush_memtable_freeze_count: counter('Memtables that were frozen, to become tables.'),
  shaledb_memtable_flush_flush_request_count: counter('Calls of flush that wait for tables.'),
  shaledb_memtable_flush_l0_upload_count: counter('Tables of memtables that were stored.'),
  shaledb_memtable_flush_l0_flush_count: counter('Tables of memtables that a manifest names.'),
  shaledb_memtable_flush_manifest_refresh_count: counter('How often the writer has listed the manifests of others.'),
  shaledb_memtable_flush_duration_seconds: duration(
    'From the beginning of a table of a memtable until a manifest names it.',
  ),
  shaledb_db_immutable_memtable_flushes: counter(
    'Memtables whose rows are in tables, or of which no row had to be kept.',
  ),
  shaledb_db_l0_flush_bytes: counter('Bytes of the tables of memtables that were stored.', [], 'bytes'),
  // ---- the tree
  shaledb_db_manifest_id: gauge('Id of the manifest in use.'),
  shaledb_db_l0_sst_count: gauge('Tables of level 0 of all trees: each may have to be searched by a read.'),
  shaledb_db_segment_max_l0_sst_count: gauge('Tables of level 0 of the tree that has the most.'),
  shaledb_db_sorted_run_count: gauge('Sorted runs of all trees.'),
  shaledb_db_sst_view_count: gauge('Tables as the trees list them: one that is divided counts each time.'),
  shaledb_db_sst_count: gauge('Tables, each once.'),
  shaledb_db_external_db_count: gauge('Other databases whose tables this one reads, as a clone does.'),
  shaledb_db_live_bytes: gauge(
    'Stored bytes of tables that are visible; of one that is visible in part, an estimate.',
    [],
    'bytes',
  ),
  // ---- reading tables
  shaledb_db_sst_filter_positive_count: counter('Lookups in a table whose filter said that the key may be there.', [
    'kind',
  ]),
  shaledb_db_sst_filter_negative_count: counter('Lookups in a table that its filter saved.', ['kind']),
  shaledb_db_sst_filter_false_positive_count: counter(
    'Lookups in a table whose filter said that the key may be there, and it was not.',
    ['kind'],
  ),
  shaledb_db_cache_access_count: counter(
    'Uses of the block cache: metadata (index and filter of a table) or data_block, hit or miss. Two reads that wait for one request are two misses.',
    ['entry_kind', 'result'],
  ),
  shaledb_db_cache_evicted_count: counter(
    'Entries that the block cache dropped to make room; of all databases that share it.',
  ),
  shaledb_db_cache_used_bytes: gauge('Bytes in the block cache; of all databases that share it.', [], 'bytes'),
  shaledb_db_cache_capacity_bytes: gauge('Most bytes in the block cache.', [], 'bytes'),
  // ---- compaction
  shaledb_compactor_running_compactions: gauge('Compactions that run.'),
  shaledb_compactor_epoch: gauge('Epoch of the compactor; absent until it has claimed one.'),
  shaledb_compactor_bytes_compacted: counter('Stored bytes that committed compactions have read.', [], 'bytes'),
  shaledb_compactor_ssts_written: counter('Tables that committed compactions have written.'),
  shaledb_compactor_rows_read: counter('Rows that committed compactions have read.'),
  shaledb_compactor_rows_written: counter('Rows that committed compactions have kept.'),
  shaledb_compactor_last_compaction_timestamp_sec: gauge(
    'When the last compaction was committed, seconds since the epoch; absent before the first.',
    [],
    'seconds',
  ),
  shaledb_compactor_job_duration_seconds: duration(
    'How long compactions took, by outcome: committed or ended (without a result).',
    ['outcome'],
    WORK_BOUNDS,
  ),
  // ---- collection
  shaledb_gc_count: counter('Rounds of the collector, those that have failed as well.'),
  shaledb_gc_deleted_count: counter('Objects that the collector has deleted.', ['resource']),
  shaledb_gc_deleted_bytes: counter('Bytes of the objects that the collector has deleted.', ['resource'], 'bytes'),
  shaledb_gc_round_duration_seconds: duration(
    'How long rounds of the collector took that came to their end.',
    [],
    WORK_BOUNDS,
  ),
  // ---- a reader
  shaledb_reader_refresh_duration_seconds: duration('How long refreshes of a reader took, by outcome: ok or error.', [
    'outcome',
  ]),
  // ---- the store
  shaledb_object_store_request_count: counter(
    'Requests as providers bill them, those of retries included: requestCounts() by component.',
    STORE,
  ),
  shaledb_object_store_received_bytes: counter(
    'Bytes of bodies received.',
    ['component', 'store_type', 'role'],
    'bytes',
  ),
  shaledb_object_store_sent_bytes: counter('Bytes of bodies sent.', ['component', 'store_type', 'role'], 'bytes'),
  shaledb_object_store_error_count: counter(
    'Attempts of calls of the store that failed, or whose outcome is unknown.',
    [...STORE, 'outcome'],
  ),
  shaledb_object_store_request_duration_seconds: duration(
    'How long attempts of calls of the store took, by outcome: ok, absent (nothing is there), refused (a condition did not hold), unknown, or how it failed. A list is one call, without the time of its caller; an upload in parts is its completion.',
    [...STORE, 'outcome'],
  ),
  // ---- this process
  shaledb_local_store_open_files: gauge('Files that a local store keeps open between reads.', ['store_type']),
  shaledb_local_store_free_bytes: gauge(
    'Free space of the file system of a local store, for this user; asked at most once a minute.',
    ['store_type'],
    'bytes',
  ),
  shaledb_local_store_size_bytes: gauge('Size of the file system of a local store.', ['store_type'], 'bytes'),
  shaledb_process_open_handles: gauge('Databases (db) and readers (reader) that this process has open.', ['kind']),
  shaledb_process_event_loop_delay_seconds: gauge(
    'How long the event loop of this process stood still since the opening: mean, p99, max. Only with the option warnLoopDelayMs.',
    ['stat'],
    'seconds',
  ),
  shaledb_warning_count: counter(
    'What warnings are about, by code: each counts as often as it happens, and is logged once.',
    ['code'],
  ),
} as const satisfies Record<string, MetricInfo>;

/** The name of a metric. */
export type MetricName = keyof typeof METRICS;
