/**
 * What the tools report: one shape for scripts, the command line and tests.
 *
 * Invariants: every report is complete whatever the damage was; ids are `bigint`, bytes are `Uint8Array`, sizes and offsets are
 * bytes from the start of the stored object, times are ms; `schemaVersion` rises only when a member changes its meaning.
 */
import { type Finding, InvalidArgumentError, SEVERITY_RANK, type Severity } from '../common/errors.ts';
import { describeValue, readingArgument } from '../common/option-checks.ts';
import type { Manifest } from '../format/manifest-types.ts';
import type { Seal } from '../format/seal.ts';
import type { TableInfo } from '../format/table-info.ts';
import type { LedgerEntry, SeqRange } from '../lsm/tree/damage-ledger.ts';
import type { Evidence, RepairOutcome, RepairReport } from '../recovery/repair-report.ts';

export type { Evidence, LedgerEntry, RepairOutcome, RepairReport, SeqRange };

/**
 * How far a row may be trusted. `good`: its block's checksum holds. `verified`: its row check holds although the block's
 * checksum does not. `probable`: the block was mended on the word of its checksum alone. `suspect`: it parses and fits.
 */
export type Trust = 'good' | 'verified' | 'probable' | 'suspect';

/** What a repair may put back: rows proven by a check, besides those of likely mending, besides those that merely parse. */
export type Acceptance = 'verified' | 'probable' | 'suspect';

/**
 * Clean: nothing found but notes. Degraded: warnings only. Corrupt: damage that can take rows away. Unknown: no such damage was
 * found, but something is in a form or at a place that this program cannot read.
 */
export type Verdict = 'clean' | 'degraded' | 'unknown' | 'corrupt';

const VERDICTS: Readonly<Record<Severity, Verdict>> = {
  error: 'corrupt',
  unknown: 'unknown',
  warning: 'degraded',
  note: 'clean',
};

/** The verdict that the worst of the findings gives. */
export function verdictOf(findings: Iterable<Pick<Finding, 'severity'>>): Verdict {
  return readingArgument('verdictOf', () => {
    let worst: Severity = 'note';
    for (const { severity } of findings) {
      if (!Object.hasOwn(SEVERITY_RANK, severity)) {
        const message = `verdictOf needs findings, and something has the severity ${describeValue(severity)}.`;
        throw new InvalidArgumentError('BAD_ARGUMENT', message);
      }
      if (SEVERITY_RANK[severity] < SEVERITY_RANK[worst]) worst = severity;
    }
    return VERDICTS[worst];
  });
}

/** `unknown`: of a form that this program cannot read; not damaged. */
export type WalObjectState =
  | 'ok'
  | 'fence'
  | 'damaged'
  | 'unknown'
  | 'missing'
  | 'obsolete'
  | 'foreign'
  | 'ambiguous-empty';

export interface WalEntry {
  seq: bigint;
  key: Uint8Array;
  op: 'put' | 'delete' | 'merge';
  valueBytes: number;
  /** Only with `rows: 'full'`. */
  value?: Uint8Array;
  trust: Trust;
}

/** One object of the log. */
export interface WalObjectReport {
  id: bigint;
  path: string;
  size: number;
  sealed: boolean;
  state: WalObjectState;
  epoch?: bigint;
  seqs?: SeqRange;
  chain: 'ok' | 'broken' | 'unknown';
  batches: { total?: number; intact: number; partial: number; undecided: number; lost: number };
  /** `total` where the seal or the object itself tells; else `lost` is a lower bound. */
  rows: { total?: number; verified: number; probable: number; suspect: number; lost: number };
  findings: Finding[];
  /** Whether an opening would have to replay it. */
  neededForRecovery: boolean;
  alsoIn: 'l0' | 'live-writer-maybe' | 'nowhere';
  entries?: AsyncIterable<WalEntry>;
}

export interface CheckSummary {
  verdict: Verdict;
  objects: number;
  sealed: number;
  bytesRead: number;
  requests: number;
  /** Count per finding code. */
  findings: Record<string, number>;
  shadowedKeys?: number;
  /** What was not looked at, in words; `verify` looks at all of it. The verdict says nothing about it. */
  notChecked: string[];
  /** Where a later check goes on (`resumeFrom`); absent when this one ended. */
  cursor?: string;
  tookMs: number;
}

export interface SealReport {
  offset: number;
  length: number;
  state: 'ok' | 'bad' | 'none';
  seal?: Seal;
}

export interface BlockReport {
  offset: number;
  /** With checksum, without padding. */
  storedBytes: number;
  /** Zeros between the end of the block and the next one, in tables that SlateDB aligned; absent if there are none. */
  paddingBytes?: number;
  rawBytes?: number;
  firstKey?: Uint8Array;
  lastKey?: Uint8Array;
  rows?: number;
  crc: 'ok' | 'bad';
  checks?: { good: number; bad: number };
  diagnosis?: string;
  /** Stored bytes of a damaged block, with `hexOfBad`. */
  hex?: string;
}

export interface SstRow {
  block: number;
  ordinal: number;
  key: Uint8Array;
  seq: bigint;
  op: 'put' | 'delete' | 'merge';
  trust: Trust;
}

/** One table, or bytes that may be one. */
export interface SstReport {
  schemaVersion: 1;
  id?: string;
  path?: string;
  size: number;
  sealed: boolean;
  info?: TableInfo;
  seal?: SealReport;
  infoEqualsManifest?: boolean;
  filter?: { kind: string; bits: number; probes: number; estimatedFalsePositives: number };
  findings: Finding[];
  blocks: BlockReport[];
  rows?: AsyncIterable<SstRow>;
}

export interface ManifestReport {
  schemaVersion: 1;
  id: bigint;
  path: string;
  size: number;
  sealed: boolean;
  manifest?: Manifest;
  seal?: SealReport;
  chain: 'ok' | 'broken' | 'unknown';
  /** Whether encoding it again gives the same bytes. */
  canonical: boolean;
  /** What changed against the manifest before, in words. */
  changes: string[];
  findings: Finding[];
  /** What was not looked at, in words; `verify` looks at all of it. */
  notChecked: string[];
}

export interface QuarantineEntry {
  repairId: string;
  /** Path of the original, relative to the root. */
  from: string;
  /** Path of the copy. */
  to: string;
  bytes: number;
  storedAtMs: number;
  /** Ids of open ledger entries that still need it. */
  neededBy: string[];
}

/** All checks with one verdict. */
export interface VerifyReport {
  schemaVersion: 1;
  verdict: Verdict;
  findings: Finding[];
  sst: CheckSummary;
  wal: { objects: number; damaged: number; missing: number; rows: number };
  manifests: { newest?: bigint; checked: number; newestGood?: bigint };
  ledger: LedgerEntry[];
  store: { suitable: boolean | 'not-probed'; problems: string[] };
  /** What no check can know of this database, one sentence each; empty where everything is witnessed. */
  cannotKnow: string[];
  nextSteps: string[];
  requests: number;
  tookMs: number;
}
