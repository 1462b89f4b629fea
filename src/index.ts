/** The main entry of the package. Named re-exports only. */

export type { Hint } from './common/advice.ts';
export type { OwnBytes } from './common/bytes.ts';
export type {
  ChannelPlace,
  EventMessage,
  FlushMessage,
  RequestMessage,
  WarningMessage,
} from './common/channels.ts';
export type { Clock, Timer } from './common/clock.ts';
export type {
  CollectorEvent,
  CollectorPhase,
  CollectorRound,
  CollectorState,
  GcClass,
  GcTallies,
  GcTally,
} from './common/collector-role.ts';
export type {
  CompactionJobState,
  CompactionOutcome,
  CompactionReport,
  CompactorEvent,
  CompactorPhase,
  CompactorState,
} from './common/compactor-role.ts';
export { type ErrorJsonOptions, errorFromJson, errorToJson } from './common/error-json.ts';
export type { ErrorKind, WriteOutcome } from './common/error-kind.ts';
export {
  AbortError,
  ClosedError,
  ConflictError,
  CorruptionError,
  type CorruptionFields,
  DbError,
  ERROR_CODES,
  type ErrorCode,
  type ErrorFields,
  type FallbackSummary,
  FencedError,
  IncompatibleError,
  InternalError,
  InvalidArgumentError,
  isCorruption,
  isDbError,
  isRetryable,
  ManifestCorruptionError,
  type RangeProgress,
  RollbackError,
  type StaleVersion,
  UnavailableError,
  WalCorruptionError,
  type WalDamageSummary,
} from './common/errors.ts';
export type { DbEvent, EventListener } from './common/events.ts';
export {
  type Finding,
  type FindingCode,
  type FindingObject,
  type FindingPlace,
  type ObjectRole,
  SEVERITY_RANK,
  type Severity,
} from './common/finding.ts';
export type { KeyRange } from './common/key-range.ts';
export { type Logger, type ObjectFirstLogger, objectFirstLogger } from './common/logger.ts';
export type { MetricName, MetricType, MetricUnit } from './common/metric-catalogue.ts';
export { type HistogramSample, type Metric, type Metrics, metricValue, type NumberSample } from './common/metrics.ts';
export type { ModuleSource } from './common/module-ref.ts';
export type { ErrorJson } from './common/plain.ts';
export type { Random } from './common/random.ts';
export type { SeqRange } from './common/seq-range.ts';
export type { CompactionFilter, FilteredRow, FilterVerdict } from './compaction/compaction-filter.ts';
export type { VerifyOutputs } from './compaction/output-check.ts';
export type {
  ActiveJob,
  Proposal,
  RowFacts,
  RunFacts,
  Schedule,
  Scheduler,
  SchedulerInput,
  SchedulerOptions,
  TreeFacts,
  ViewFacts,
} from './compaction/scheduling.ts';
export type { CompactionOptions } from './compaction/settings.ts';
export type {
  CorruptionCounts,
  CorruptionListener,
  CorruptionPolicy,
  CorruptionReport,
  MetCorruption,
} from './db/corruption-watch.ts';
export type { Batch, Db, IntoSublevel, Sublevel } from './db/db.ts';
export type { DeleteRangeOptions, DeleteRangeResult } from './db/delete-range.ts';
export type { WriteResult } from './db/durability-waiters.ts';
export type {
  AnyEncoding,
  EncodedBy,
  Encoding,
  EncodingCheck,
  EncodingFor,
  EncodingName,
  EncodingOptions,
  EncodingsFor,
  NeededUnlessBytes,
  OptionsFor,
  TupleKey,
} from './db/encoding.ts';
export type { SizeEstimate } from './db/estimates.ts';
export type { Bytes, Decoded, KeyBound, RangeOptions } from './db/keys.ts';
export type { Compatibility, WriterOptions } from './db/open-options.ts';
export type { Reader } from './db/reader.ts';
export type { ReaderOptions } from './db/reader-options.ts';
export type {
  Either,
  LevelOptions,
  Page,
  PagedRange,
  PageOptions,
  RangeReadOptions,
  Reads,
  ScanOptions,
  ValueWithMeta,
  ValueWithMetaJson,
} from './db/reads.ts';
export type { ScanIterator } from './db/scan-iterator.ts';
export type { Snapshot } from './db/snapshot.ts';
export type { Amplification, SpentRequests, TreeState, UpkeepState } from './db/upkeep.ts';
export { WriteBatch } from './db/write-batch.ts';
export type {
  BatchDeleteOptions,
  BatchPutOptions,
  CloseOptions,
  CompactOptions,
  DeleteOptions,
  FlushOptions,
  NoTtlOptions,
  PutRowOptions,
  ReadOptions,
  RefreshOptions,
  TouchOptions,
  TtlOptions,
  WriteConditions,
  WriteOptions,
} from './db/write-options.ts';
export type { Codec } from './format/table-info.ts';
export type { TupleElement } from './format/tuple-key.ts';
export type { CollectorOptions, GcOptions } from './gc/settings.ts';
export { type ProbeOptions, probeStore } from './lsm/manifest/store-probe.ts';
export type { ScanRow, ScanRowJson } from './lsm/read/scan-row.ts';
export type { MergeOperator } from './lsm/rows/merge-operator.ts';
export { BlockCache, type BlockCacheOptions } from './lsm/table/block-cache.ts';
export type { LedgerEntry } from './lsm/tree/damage-ledger.ts';
export { open, openReader } from './open.ts';
export type { RepairOutcome, RepairReport } from './recovery/repair-report.ts';
export { LocalStore, type LocalStoreOptions } from './store/local-store.ts';
export type { DatabaseLocation, Location, StoreLocation } from './store/location.ts';
export { MemoryStore, type MemoryStoreOptions } from './store/memory-store.ts';
export type { RequestCounts, RequestCountsByRole } from './store/metered-store.ts';
export {
  type ByteRange,
  type CallOptions,
  type GetOptions,
  type GetResult,
  type ListedObject,
  type ListOptions,
  type ObjectHead,
  type ObjectStore,
  type ObjectUpload,
  type ObjectWriteOptions,
  type PartDigests,
  PUT_ID_METADATA,
  type PutCondition,
  type PutOptions,
  type PutOutcome,
  type StoreSpace,
  type UnfinishedUpload,
  type UploadOptions,
} from './store/object-store.ts';
export { prefixedStore } from './store/prefixed-store.ts';
export { type StoreErrorClass, type StoreErrorInput, storeError } from './store/store-error.ts';
export type { StoreProfile } from './store/store-probe.ts';
export type { OpenOptions } from './upkeep-roles.ts';
