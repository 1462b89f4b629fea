/** The admin entry: what operators and their scripts need besides the database. Named re-exports only. */

export { type ManifestRepairOptions, type ManifestStrategy, manifestRepair } from './tools/manifest-repair.ts';
export { probe } from './tools/probe.ts';
export type {
  Acceptance,
  BlockReport,
  CheckSummary,
  Evidence,
  KeyRange,
  LedgerEntry,
  ManifestReport,
  QuarantineEntry,
  RepairOutcome,
  RepairReport,
  SealReport,
  SeqRange,
  SstReport,
  SstRow,
  Trust,
  Verdict,
  VerifyReport,
  WalEntry,
  WalObjectReport,
  WalObjectState,
} from './tools/reports.ts';
export { type SstCheck, type SstCheckOptions, sstCheck } from './tools/sst-check.ts';
export { type Inspected, type SstInspectOptions, sstInspect } from './tools/sst-inspect.ts';
export { type SstRepairOptions, type SstSource, sstRepair } from './tools/sst-repair.ts';
export type { Target, ToolOptions } from './tools/target.ts';
export { type VerifyOptions, verify } from './tools/verify.ts';
export { type WalInspectOptions, walInspect } from './tools/wal-inspect.ts';
export { type MaxLoss, type WalRepairOptions, walRepair } from './tools/wal-repair.ts';
