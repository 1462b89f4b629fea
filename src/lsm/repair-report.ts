/**
 * What a repair reports, to whoever ran it and to whoever opens a database that was repaired on the way.
 *
 * Invariants: every report is complete whatever the damage was; `schemaVersion` rises only when a member changes its meaning.
 */
import type { Finding } from '../common/errors.ts';
import { type ChecksOf, members, that } from '../common/option-checks.ts';
import type { KeyRange, SeqRange } from './damage-ledger.ts';

/** Most that a repair may lose without being asked again. */
export interface MaxLoss {
  /** Rows; where their number is only bounded, the bound counts. */
  rows?: number;
  /** WAL objects of which rows are lost. */
  walObjects?: number;
}

const limit = that('a whole number of at least 0', (v) => Number.isSafeInteger(v) && (v as number) >= 0);

export const MAX_LOSS_CHECK = members({ rows: limit, walObjects: limit } satisfies ChecksOf<MaxLoss>);

export type RepairOutcome = 'clean' | 'healed' | 'reconstructed' | 'salvaged' | 'unrecoverable' | 'obsolete';

/** A copy made before anything was changed. */
export interface Evidence {
  from: string;
  to: string;
  sha256: string;
  bytes: number;
}

/** What a repair did or, without `apply`, would do. */
export interface RepairReport {
  schemaVersion: 1;
  tool: 'walRepair' | 'sstRepair' | 'manifestRepair' | 'quarantineRestore';
  /** `r-` and 24 hexadecimal digits: the same damage and options always have the same id. */
  repairId: string;
  /** Of the plan; `apply: { planHash }` does exactly this plan or nothing. */
  planHash: string;
  /** Whether the database is changed, by this call or an earlier one. */
  applied: boolean;
  /** An earlier call had finished this repair; this is its report. */
  alreadyDone: boolean;
  outcome: RepairOutcome;
  before: Finding[];
  rows: {
    expected?: number;
    recovered: number;
    probable: number;
    suspect: number;
    lost: number;
    /** Whether `lost` is known and not a bound. */
    lostExact: boolean;
  };
  batches?: { intact: number; dropped: number; undecided: number };
  lostKeys: KeyRange[];
  lostSeqs: SeqRange[];
  /** Keys of lost ranges for which an older version would show through. */
  shadowed: number;
  evidence: Evidence[];
  /** Paths of what was (or would be) written, the manifest excepted. */
  newObjects: string[];
  manifestId?: bigint;
  ledgerIds: string[];
  suspectFile?: string;
  /** Commands and advice, most important first. */
  nextSteps: string[];
  requests: number;
  tookMs: number;
}
