/**
 * What the tools report: one shape for scripts, the command line and tests.
 *
 * Invariants: every report is complete whatever the damage was; ids are `bigint`, bytes are `Uint8Array`, sizes and offsets are
 * bytes from the start of the stored object, times are ms; `schemaVersion` rises only when a member changes its meaning.
 */
import { InvalidArgumentError } from '../common/errors.ts';
import { type Finding, SEVERITY_RANK, type Severity } from '../common/finding.ts';
import { describeValue, readingArgument } from '../common/option-checks.ts';
import type { SeqRange } from '../common/seq-range.ts';
import type { Manifest } from '../format/manifest-types.ts';
import type { Seal } from '../format/seal.ts';
import type { TableInfo } from '../format/table-info.ts';
import type { LedgerEntry } from '../lsm/tree/damage-ledger.ts';
import type { Evidence, RepairOutcome, RepairReport } from '../recovery/repair-report.ts';
import type { Acceptance } from '../recovery/wal-batches.ts';

export type { Acceptance, Evidence, LedgerEntry, RepairOutcome, RepairReport, SeqRange };

/**
 * How far a row may be trusted. `good`: its block's checksum holds. `verified`: its row check holds although the block's
 * checksum does not. `probable`: the block was repaired so that its checksum holds, without other proof. `suspect`: it parses and fits.
 */
export type Trust = 'good' | 'verified' | 'probable' | 'suspect';

/**
 * Clean: nothing found but notes. Degraded: warnings only. Corrupt: some rows may be unreadable or lost. Unknown: no such damage was
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

/**
 * What an object of the log is. `ok`: whole, with rows. `fence`: whole, without rows. `damaged`: some of it cannot be read, or its
 * place in the log is wrong. `unknown`: of a form that this program cannot read; not damaged. `missing`: gone, and needed. `obsolete`:
 * gone, and nothing is replayed from it. `foreign`: of another database, or of another place. `ambiguous-empty`: empty, and either a
 * fence or an object whose rows are lost.
 */
export type WalObjectState =
  | 'ok'
  | 'fence'
  | 'damaged'
  | 'unknown'
  | 'missing'
  | 'obsolete'
  | 'foreign'
  | 'ambiguous-empty';

/** A row of an object of the log. */
export interface WalEntry {
  /** Sequence number; the rows of one write have the same. */
  seq: bigint;
  /** An array of its own. */
  key: Uint8Array;
  /** What the row does: `merge` is an operand. */
  op: 'put' | 'delete' | 'merge';
  /** Bytes of the value or operand; 0 for a deletion. */
  valueBytes: number;
  /** Only with `rows: 'full'`. */
  value?: Uint8Array;
  /** How far it may be trusted. */
  trust: Trust;
}

/** One object of the log. */
export interface WalObjectReport {
  /** The number in its name. */
  id: bigint;
  /** Below the root of the log. */
  path: string;
  /** Bytes of the object; 0 where it is missing. */
  size: number;
  /** Whether it has a seal that can be read. */
  sealed: boolean;
  /** What it is. */
  state: WalObjectState;
  /** Epoch of its writer, as the seal has it; absent where nothing says it. */
  epoch?: bigint;
  /** Sequence numbers of its rows; absent without rows, or where nothing says it. */
  seqs?: SeqRange;
  /**
   * Whether it is the object that the next one, or the manifest, names as its predecessor. `unknown`: neither names
   * one.
   */
  chain: 'ok' | 'broken' | 'unknown';
  /** Its batches. */
  batches: {
    /** As the seal or the object itself records it; absent where neither does. */
    total?: number;
    /** With all their rows. */
    intact: number;
    /** With some rows, while others are known to be missing. */
    partial: number;
    /** With some rows, while others may be missing. */
    undecided: number;
    /** Without a row that can be read; where `total` is absent, stretches of which nothing is known. */
    lost: number;
  };
  /** Its rows. */
  rows: {
    /** As the seal or the object itself records it; absent where neither does. */
    total?: number;
    /** Proven by a checksum or by row checks. */
    verified: number;
    /** Of a block that was healed with its checksum as the only proof. */
    probable: number;
    /** Not proven: they parse and fit. */
    suspect: number;
    /** Not there any more; where `total` is absent at least so many. */
    lost: number;
  };
  /** What is wrong with it, and what is doubtful. */
  findings: Finding[];
  /** Whether an opening would have to replay it. */
  neededForRecovery: boolean;
  /** Where else its rows are. `l0`: in tables. `live-writer-maybe`: in the memory of the writer, if it still runs. */
  alsoIn: 'l0' | 'live-writer-maybe' | 'nowhere';
  /** With the option `rows`: its rows in the order of the log. Reads the object again. */
  entries?: AsyncIterable<WalEntry>;
}

/** What a check has looked at and found, in numbers. */
export interface CheckSummary {
  /** That of the worst finding of this check. */
  verdict: Verdict;
  /** Tables that were checked, missing ones included. */
  objects: number;
  /** Of these, tables that are not there. */
  missing: number;
  /** Of these, tables with a seal that can be read; 0 at level `refs`, which reads none. */
  sealed: number;
  /** Bytes that were received from the store. */
  bytesRead: number;
  /** Requests that were sent to the store. */
  requests: number;
  /** Count per finding code. */
  findings: Record<string, number>;
  /** What was not checked, in words; `verify` checks all of it. The verdict says nothing about it. */
  notChecked: string[];
  /** Where a later check goes on (`resumeFrom`); absent when this one ended. */
  cursor?: string;
  /** How long the check took, ms. */
  tookMs: number;
}

/** The seal of an object, as far as it can be read. */
export interface SealReport {
  /** Where it begins; 0 in a table without one. */
  offset: number;
  /** Its bytes; 0 without one. */
  length: number;
  /** `bad`: bytes of a seal are there, and its checksum does not hold. */
  state: 'ok' | 'bad' | 'none';
  /** What it says, if it is `ok`. */
  seal?: Seal;
}

/** One block of a table. */
export interface BlockReport {
  /** Where the block begins in the object. */
  offset: number;
  /** With checksum, without padding. */
  storedBytes: number;
  /** Zeros between the end of the block and the next one, in tables that SlateDB aligned; absent if there are none. */
  paddingBytes?: number;
  /** Bytes after decompression; absent where it cannot be decompressed. */
  rawBytes?: number;
  /** Its first key; absent where its rows cannot be read. */
  firstKey?: Uint8Array;
  /** Its last key; absent where its rows cannot be read. */
  lastKey?: Uint8Array;
  /** How many rows it holds, deletions counted; absent where they cannot be read. */
  rows?: number;
  /** Whether its checksum holds, as it is stored. */
  crc: 'ok' | 'bad';
  /** Row checks of the seal; absent where the seal has none for this block. */
  checks?: {
    /** Checks that hold. */
    good: number;
    /** Checks that do not. */
    bad: number;
  };
  /** Of a damaged block: what happened to it, in words, if that can be said. */
  diagnosis?: string;
  /** Stored bytes of a damaged block, with `hexOfBad`. */
  hex?: string;
}

/** A row of a table. */
export interface SstRow {
  /** Which block it is in, from 0. */
  block: number;
  /** Which row of the block it is, from 0; -1 if that is not known. */
  ordinal: number;
  /** An array of its own. */
  key: Uint8Array;
  /** Its sequence number. */
  seq: bigint;
  /** What the row does: `merge` is an operand. */
  op: 'put' | 'delete' | 'merge';
  /** How far it may be trusted. */
  trust: Trust;
}

/** One table, or bytes that may be one. */
export interface SstReport {
  schemaVersion: 1;
  /** Its ULID, as asked for or as its seal has it; absent where neither says it. */
  id?: string;
  /** As the manifest names it; absent for bytes that were given. */
  path?: string;
  /** Bytes of the object; 0 where it is missing. */
  size: number;
  /** Whether it has a seal that can be read. */
  sealed: boolean;
  /** Its info block, or where that cannot be read the one in the manifest. */
  info?: TableInfo;
  /** Its seal; absent where the table is missing. */
  seal?: SealReport;
  /** Whether its own info block says what the manifest says; absent where one of the two is not there. */
  infoEqualsManifest?: boolean;
  /** Its filter; absent without one, or where it cannot be read. */
  filter?: {
    /** `bloom, legacy` or `bloom, composite`: the form in which it is stored. */
    kind: string;
    /** Its size in bits. */
    bits: number;
    /** Bits that are looked at for each key. */
    probes: number;
    /** Share of absent keys that it lets through, from 0 to 1, by the share of its bits that are set. */
    estimatedFalsePositives: number;
  };
  /** What is wrong with it, and what is doubtful. */
  findings: Finding[];
  /** Its blocks in the order in which they are stored. */
  blocks: BlockReport[];
  /**
   * With the option `rows`: its rows in the order in which they are stored; of a damaged block those that can be
   * recognised.
   */
  rows?: AsyncIterable<SstRow>;
}

/** A manifest, and what speaks for and against it. */
export interface ManifestReport {
  schemaVersion: 1;
  /** The number in its name. */
  id: bigint;
  /** Below the root of the database. */
  path: string;
  /** Bytes of the object; 0 where it is missing. */
  size: number;
  /** Whether it has a seal, also a damaged one. */
  sealed: boolean;
  /** What it says; absent where it cannot be decoded. */
  manifest?: Manifest;
  /** Its seal; absent where the manifest is missing. */
  seal?: SealReport;
  /**
   * Whether the manifest before it is the one that its seal names. `unknown`: it has no seal, or that manifest is gone
   * or damaged.
   */
  chain: 'ok' | 'broken' | 'unknown';
  /** Whether encoding it again gives the same bytes. */
  canonical: boolean;
  /** What changed against the manifest before, in words. */
  changes: string[];
  /** What is wrong with it, and what is doubtful. */
  findings: Finding[];
  /** What was not checked, in words; `verify` checks all of it. */
  notChecked: string[];
}

/** A copy of an object that a repair replaced. */
export interface QuarantineEntry {
  /** Id of the repair that made the copy. */
  repairId: string;
  /** Path of the original, relative to the root. */
  from: string;
  /** Path of the copy. */
  to: string;
  /** Its size in bytes. */
  bytes: number;
  /** When it was stored, by the store's clock, ms since the epoch. */
  storedAtMs: number;
  /** Ids of open ledger entries that still need it. */
  neededBy: string[];
}

/** All checks with one verdict. */
export interface VerifyReport {
  schemaVersion: 1;
  /** That of the worst finding; `degraded` at best while a loss is open. */
  verdict: Verdict;
  /** What is wrong or doubtful, each once. */
  findings: Finding[];
  /** What the check of the tables looked at. */
  sst: CheckSummary;
  /** The log. */
  wal: {
    /** Objects that were checked, missing ones counted. */
    objects: number;
    /** Of these, objects that are there and damaged. */
    damaged: number;
    /** Of these, objects that are gone and needed. */
    missing: number;
    /** Rows in them; of a damaged object without a count those that are proven. */
    rows: number;
  };
  /** The manifests. */
  manifests: {
    /** Highest id that is there; absent: none is. */
    newest?: bigint;
    /** Manifests that were read. */
    checked: number;
    /** Highest id of one that is intact; absent: none is. */
    newestGood?: bigint;
  };
  /** Losses that are open. */
  ledger: LedgerEntry[];
  /** What the store promises, with the option `probe`. */
  store: {
    /** Whether a writer can use it: a second create of an object is refused. */
    suitable: boolean | 'not-probed';
    /** One sentence for each promise that it does not keep. */
    problems: string[];
  };
  /** What no check can know of this database, one sentence each; empty where everything is witnessed. */
  cannotKnow: string[];
  /** Commands to run, those for the worst damage first. */
  nextSteps: string[];
  /** Requests that were sent to the store. */
  requests: number;
  /** How long it took, ms. */
  tookMs: number;
}
