/** The admin entry: what operators and their scripts need besides the database. Named re-exports only. */
export type { GcClass, GcTally } from './common/collector-role.ts';
export type { CompactionJobState, CompactionOutcome } from './common/compactor-role.ts';
export type { KeyRange } from './common/key-range.ts';
export { type CompactCallOptions, type CompactProgress, compact } from './compact-call.ts';
export type { CompactedTree, CompactionLevels, CompactReport } from './compact-report.ts';
export type { CompactionFilter } from './compaction/compaction-filter.ts';
export type { CompactionEstimate } from './compaction/job-estimate.ts';
export type { Manifest } from './format/manifest-types.ts';
export type { Seal } from './format/seal.ts';
export type { Codec, TableInfo } from './format/table-info.ts';
export type { GcClassReport, GcObject, GcReport, GcState } from './gc/gc-report.ts';
export type { GcOptions } from './gc/settings.ts';
export type { Consent, MaxLoss } from './recovery/repair-report.ts';
export { damageAcknowledge, damageList } from './tools/damage-list.ts';
export type { ManifestDifference } from './tools/manifest-changes.ts';
export { manifestInspect } from './tools/manifest-inspect.ts';
export {
  type ManifestAuthor,
  type ManifestDiff,
  type ManifestListOptions,
  type ManifestListReport,
  type ManifestNumbers,
  type ManifestSummary,
  manifestDiff,
  manifestList,
} from './tools/manifest-list.ts';
export { type ManifestRepairOptions, type ManifestStrategy, manifestRepair } from './tools/manifest-repair.ts';
export type { Scope } from './tools/named-tables.ts';
export {
  type ObjectListReport,
  objectList,
  type RoleTally,
  type StoredObject,
  type StoredRole,
} from './tools/object-list.ts';
export { probe } from './tools/probe.ts';
export { type QuarantineRestoreOptions, quarantineList, quarantineRestore } from './tools/quarantine-list.ts';
export { type RepairAllOptions, type RepairAllReport, type RepairProgress, repair } from './tools/repair.ts';
export type { LossOptions, RepairOptions } from './tools/repair-plan.ts';
export {
  type Acceptance,
  type BlockReport,
  type CheckSummary,
  type Evidence,
  type LedgerEntry,
  type ManifestReport,
  type QuarantineEntry,
  type RepairOutcome,
  type RepairReport,
  type SealReport,
  type SeqRange,
  type SstReport,
  type SstRow,
  type Trust,
  type Verdict,
  type VerifyReport,
  verdictOf,
  type WalEntry,
  type WalObjectReport,
  type WalObjectState,
} from './tools/reports.ts';
export {
  type CheckLevel,
  type CheckProgress,
  type SstCheck,
  type SstCheckOptions,
  sstCheck,
  sstCheck as sst_check,
} from './tools/sst-check.ts';
export { type Inspected, type SstInspectOptions, sstInspect, sstInspect as sst_inspect } from './tools/sst-inspect.ts';
export { type SstRepairOptions, type SstSource, sstRepair, sstRepair as sst_repair } from './tools/sst-repair.ts';
export { stats } from './tools/stats.ts';
export type { CheckpointStats, DirectoryStats, OwnerStats, StatsReport, Tally } from './tools/stats-report.ts';
export type { TableLevel } from './tools/table-check.ts';
export type { OpenDatabase, Target, ToolOptions } from './tools/target.ts';
export { type TreeInspectOptions, treeInspect } from './tools/tree-inspect.ts';
export type {
  TableState,
  TreeLevel,
  TreeReport,
  TreeRows,
  TreeRun,
  TreeShape,
  TreeTable,
  TreeTotals,
} from './tools/tree-report.ts';
export { type VerifyOptions, verify } from './tools/verify.ts';
export { type WalInspectOptions, walInspect, walInspect as wal_inspect } from './tools/wal-inspect.ts';
export { type WalRepairOptions, walRepair, walRepair as wal_repair } from './tools/wal-repair.ts';
export { type WriterInspectOptions, type WriterReport, writerInspect } from './tools/writer-inspect.ts';
export { type GcOnceOptions, gcOnce } from './upkeep-calls.ts';
