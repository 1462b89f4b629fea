/**
 * What a repair reports, to whoever ran it and to whoever opens a database that was repaired on the way.
 *
 * Invariants: every report is complete whatever the damage was; `schemaVersion` rises only when a member changes its meaning.
 */
import type { Finding } from '../common/errors.ts';
import type { KeyRange } from '../common/key-range.ts';
import { type ChecksOf, members, that } from '../common/option-checks.ts';
import type { SeqRange } from '../lsm/tree/damage-ledger.ts';

/**
 * Most that a repair may lose. It is compared with the most that can be lost, not with what is known to be: where nothing bounds
 * a loss, it exceeds every limit.
 */
export interface MaxLoss {
  /** Rows. */
  rows?: number;
  /** WAL objects of which rows are, or may be, lost. */
  walObjects?: number;
}

const limit = that('a whole number of at least 0', (v) => Number.isSafeInteger(v) && (v as number) >= 0);

export const MAX_LOSS_CHECK = members({ rows: limit, walObjects: limit } satisfies ChecksOf<MaxLoss>);

/** For what is no log. */
export const MAX_LOST_ROWS_CHECK = members({ rows: limit } satisfies ChecksOf<Pick<MaxLoss, 'rows'>>);

/**
 * `clean`: nothing is wrong. `healed`, `reconstructed`: no row is lost. `salvaged`: some are, or may be. `consent-needed`: nothing
 * was done, because it needs a consent that was not given (`missingConsent`). `unrecoverable`: nothing can be done. `obsolete`:
 * the database needs the object no more.
 */
export type RepairOutcome =
  | 'clean'
  | 'healed'
  | 'reconstructed'
  | 'salvaged'
  | 'consent-needed'
  | 'unrecoverable'
  | 'obsolete';

/** `loss`: `acceptLoss`, or a `maxLoss` that covers it. `resurrection`: `acceptResurrection`. */
export type Consent = 'loss' | 'resurrection';

/** How many rows are lost, in words. */
export function lostRowsText({ lost, lostAtMost, lostExact }: RepairReport['rows']): string {
  if (lostExact) return lost === 0 ? 'none' : `${lost}`;
  return lostAtMost === undefined
    ? `at least ${lost}, and nothing says how many at most`
    : `at least ${lost}, at most ${lostAtMost}`;
}

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
    /** The least that is lost. */
    lost: number;
    /** The most that can be lost; absent: nothing says how many. */
    lostAtMost?: number;
    /** Whether `lost` is all that is lost. */
    lostExact: boolean;
  };
  batches?: { intact: number; dropped: number; undecided: number };
  /** Of a table outer bounds: what is lost lies in them, but not every key of theirs is lost. Empty for the log, where keys are not known. */
  lostKeys: KeyRange[];
  /** Of a table outer bounds, like `lostKeys`. */
  lostSeqs: SeqRange[];
  /** Keys of lost ranges for which an older version would show through. */
  shadowed: number;
  evidence: Evidence[];
  /** Paths of what was (or would be) written, the manifest excepted. */
  newObjects: string[];
  manifestId?: bigint;
  ledgerIds: string[];
  suspectFile?: string;
  /** What applying it needs and this call did not give. */
  missingConsent: readonly Consent[];
  /** Commands and advice, most important first. */
  nextSteps: string[];
  requests: number;
  tookMs: number;
}
