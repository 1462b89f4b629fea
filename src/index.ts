/** The main entry of the package. Named re-exports only. */
export type { Clock, Timer } from './common/clock.ts';
export {
  AbortError,
  ClosedError,
  ConflictError,
  CorruptionError,
  DbError,
  ERROR_CODES,
  type ErrorCode,
  type ErrorJson,
  errorFromJson,
  errorToJson,
  FencedError,
  type Finding,
  type Hint,
  IncompatibleError,
  InternalError,
  InvalidArgumentError,
  isCorruption,
  isDbError,
  isRetryable,
  ManifestCorruptionError,
  RollbackError,
  SEVERITY_RANK,
  type Severity,
  UnavailableError,
  WalCorruptionError,
  type WalDamageSummary,
} from './common/errors.ts';
export type { DbEvent, EventListener } from './common/events.ts';
export type { KeyRange } from './common/key-range.ts';
export type { Logger } from './common/logger.ts';
export type { Random } from './common/random.ts';
export type {
  CorruptionCounts,
  CorruptionListener,
  CorruptionPolicy,
  CorruptionReport,
  MetCorruption,
} from './db/corruption-watch.ts';
export type { Db } from './db/db.ts';
export type { WriteResult } from './db/durability-waiters.ts';
export type { SizeEstimate } from './db/estimates.ts';
export type { Bytes, RangeOptions } from './db/keys.ts';
export type { Compatibility, OpenOptions, ReaderOptions } from './db/options.ts';
export type { DbReader } from './db/reader.ts';
export type { ScanOptions, ValueWithMeta } from './db/reads.ts';
export type { ScanIterator } from './db/scan-iterator.ts';
export type { Snapshot } from './db/snapshot.ts';
export { WriteBatch } from './db/write-batch.ts';
export type {
  CloseOptions,
  DeleteOptions,
  FlushOptions,
  NoTtlOptions,
  ReadOptions,
  RefreshOptions,
  TtlOptions,
  WriteOptions,
} from './db/write-options.ts';
export type { ScanRow } from './lsm/read/visible-rows.ts';
export type { MergeOperator } from './lsm/rows/merge-operator.ts';
export { BlockCache, type BlockCacheOptions } from './lsm/table/block-cache.ts';
export type { LedgerEntry } from './lsm/tree/damage-ledger.ts';
export { open, openReader } from './open.ts';
export { LocalStore, type LocalStoreOptions } from './store/local-store.ts';
export type { DatabaseLocation, Location, StoreLocation } from './store/location.ts';
export { MemoryStore } from './store/memory-store.ts';
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
  PUT_ID_METADATA,
  type PutCondition,
  type PutOptions,
  type PutOutcome,
} from './store/object-store.ts';
export { prefixedStore } from './store/prefixed-store.ts';
export { type StoreErrorClass, type StoreErrorInput, storeError } from './store/store-error.ts';
export { type ProbeOptions, probeStore, type StoreProfile } from './store/store-probe.ts';
