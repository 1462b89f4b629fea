/**
 * What a repair reports, to its caller and to the caller of an opening that repaired the database on the way.
 *
 * Invariants:
 * 1. Every report is complete whatever the damage was (its type, which has no optional part for what is always known).
 * 2. `schemaVersion` rises only when a member changes its meaning.
 */
import type { Finding } from '../common/finding.ts';
import type { KeyRange } from '../common/key-range.ts';
import { type ChecksOf, members, that } from '../common/option-checks.ts';
import type { SeqRange } from '../common/seq-range.ts';

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
  /** Path of the object that is copied. */
  from: string;
  /** Path of its copy. */
  to: string;
  /** SHA-256 of its bytes, in hexadecimal digits. */
  sha256: string;
  /** Its size in bytes. */
  bytes: number;
}

/** What a repair did or, without `apply`, would do. */
export interface RepairReport {
  schemaVersion: 1;
  /** The call that made the repair. */
  tool: 'walRepair' | 'sstRepair' | 'manifestRepair' | 'quarantineRestore';
  /** `r-` and 24 hexadecimal digits: the same damage and options always have the same id. */
  repairId: string;
  /**
   * Of the plan; `apply: { planHash }` does exactly this plan or nothing. Absent where there is nothing to apply: nothing is wrong, the
   * damage is of nothing that is in use, or nothing can be saved.
   */
  planHash?: string;
  /** Whether the database is changed, by this call or an earlier one. */
  applied: boolean;
  /** An earlier call had finished this repair; this is its report. */
  alreadyDone: boolean;
  /** What became of the damage. */
  outcome: RepairOutcome;
  /** The damage that the repair is about. */
  before: Finding[];
  /** What became of the rows: of a table all of its rows, of the log all that are replayed. */
  rows: {
    /** How many there were; absent where nothing records it. */
    expected?: number;
    /** Rows that are kept, `probable` and `suspect` ones included. */
    recovered: number;
    /** Of these, rows of a block that was healed with its checksum as the only proof. */
    probable: number;
    /** Of these, rows that nothing proves: they parse and fit. */
    suspect: number;
    /** The least that is lost. */
    lost: number;
    /** The most that can be lost; absent: nothing says how many. */
    lostAtMost?: number;
    /** Whether `lost` is all that is lost. */
    lostExact: boolean;
  };
  /** Of the log: its batches. */
  batches?: {
    /** Kept with all their rows. */
    intact: number;
    /** Left out whole. */
    dropped: number;
    /** Nothing records whether all their rows are there. Each is also dropped, unless the option `onPartialBatch` keeps it. */
    undecided: number;
  };
  /** For a table outer bounds: what is lost is within them, but not every key of theirs is lost. Empty for the log, where keys are not known. */
  lostKeys: KeyRange[];
  /** Of a table outer bounds, like `lostKeys`. */
  lostSeqs: SeqRange[];
  /** Keys of lost ranges for which an older version would show through. */
  shadowed: number;
  /** Copies of the damaged objects, made before anything changes; without `apply`, those that would be made. */
  evidence: Evidence[];
  /** Paths of what was (or would be) written, the manifest excepted. */
  newObjects: string[];
  /** Id of the manifest that put the repair into effect; absent as long as there is none. */
  manifestId?: bigint;
  /** Ids of the ledger entries for what is lost. */
  ledgerIds: string[];
  /** What applying it needs and this call did not give. */
  missingConsent: readonly Consent[];
  /** Commands and advice, most important first. */
  nextSteps: string[];
  /** Requests that the call sent to the store. */
  requests: number;
  /** How long the call took, ms. */
  tookMs: number;
}
