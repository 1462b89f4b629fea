/** The admin entry: what operators and their scripts need besides the database. Named re-exports only. */
export type { KeyRange } from './common/key-range.ts';
export type { Consent, MaxLoss } from './recovery/repair-report.ts';
export { damageAcknowledge, damageList } from './tools/damage-list.ts';
export { manifestInspect } from './tools/manifest-inspect.ts';
export { type ManifestRepairOptions, type ManifestStrategy, manifestRepair } from './tools/manifest-repair.ts';
export { probe } from './tools/probe.ts';
export { type QuarantineRestoreOptions, quarantineList, quarantineRestore } from './tools/quarantine-list.ts';
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
export type { Target, ToolOptions } from './tools/target.ts';
export { type VerifyOptions, verify } from './tools/verify.ts';
export { type WalInspectOptions, walInspect, walInspect as wal_inspect } from './tools/wal-inspect.ts';
export { type WalRepairOptions, walRepair, walRepair as wal_repair } from './tools/wal-repair.ts';
