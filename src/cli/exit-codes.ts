/** Exit codes: what a script may conclude. They never change their meaning. */

import { type RepairReport, type Verdict, verdictOf } from '../admin.ts';
import {
  type DbError,
  type Finding,
  IncompatibleError,
  InvalidArgumentError,
  isCorruption,
  isDbError,
  isRetryable,
} from '../index.ts';

export const EXIT = {
  /** Clean, or nothing to do. */
  clean: 0,
  /** Damage was found, by an inspection, a check or a dry run. */
  damage: 1,
  /** The command line, the location, the credentials or the configuration is wrong; nothing was changed. */
  usage: 2,
  /** Repaired, nothing lost. */
  repaired: 3,
  /** Repaired; what is lost stands in the ledger. */
  repairedWithLoss: 4,
  /** Not repaired: consent is needed, or nothing can be done. */
  notRepaired: 5,
  /** Another process is at work, or the plan no longer fits. */
  conflict: 6,
  /** The store cannot be used now; try again. */
  unavailable: 7,
  /** No damage was found, but something is in a form or at a place that this program cannot read. */
  unknown: 8,
  /** `get`: the key has no value. */
  absent: 9,
  internal: 70,
  /** What the command had to say could not be written: a full disk, a lost terminal. Says nothing about the database. */
  outputLost: 74,
  interrupted: 130,
  /** The reader of standard output went away before the report was complete, as `head` does; what a shell reports of SIGPIPE. */
  readerGone: 141,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What each code means, in one line, for help and documentation. */
export const EXIT_MEANINGS: readonly (readonly [ExitCode, string])[] = [
  [EXIT.clean, 'clean, or nothing to do'],
  [EXIT.damage, 'damage found (inspect, check, dry run of a repair that can be done)'],
  [EXIT.usage, 'wrong command line, location, credentials or configuration'],
  [EXIT.repaired, 'repaired, nothing lost'],
  [EXIT.repairedWithLoss, 'repaired, loss recorded in the ledger'],
  [EXIT.notRepaired, 'not repaired: consent needed, or unrecoverable (also found by a dry run)'],
  [EXIT.conflict, 'conflict: live writer, fenced, plan changed, obsolete'],
  [EXIT.unavailable, 'store unavailable, try again'],
  [EXIT.unknown, 'cannot tell: of a newer format, or out of reach; no damage found'],
  [EXIT.absent, 'the key has no value (get)'],
  [EXIT.internal, 'internal error: a bug to report'],
  [EXIT.outputLost, 'output could not be written: the report is not complete'],
  [EXIT.interrupted, 'interrupted'],
  [EXIT.readerGone, 'the reader of the output went away (such as head): the report is not complete'],
];

/** What standard error says where standard output is lost: the verdict of the command must not go with it. */
export function lostOutputText(reason: Error, code: ExitCode): string {
  const meaning = EXIT_MEANINGS.find(([known]) => known === code)?.[1];
  const verdict =
    code === EXIT.readerGone
      ? 'The command was stopped by that.'
      : `The command itself ended with ${code} (${meaning}).`;
  return `shaledb: standard output cannot be written: ${reason.message}. The report is not complete. ${verdict}\n`;
}

/** Of findings: a note is not damage. */
export function exitOfFindings(findings: readonly Pick<Finding, 'severity'>[]): ExitCode {
  return exitOfVerdict(verdictOf(findings));
}

export function exitOfVerdict(verdict: Verdict): ExitCode {
  if (verdict === 'unknown') return EXIT.unknown;
  return verdict === 'clean' ? EXIT.clean : EXIT.damage;
}

/** @param wanted whether the caller asked for the change and not for the plan */
export function exitOfRepair(report: RepairReport, wanted: boolean): ExitCode {
  if (report.outcome === 'obsolete') return EXIT.conflict;
  if (report.applied) {
    if (report.outcome === 'clean') return EXIT.clean;
    return report.rows.lost === 0 && report.ledgerIds.length === 0 ? EXIT.repaired : EXIT.repairedWithLoss;
  }
  if (report.outcome === 'clean')
    return report.before.some((f) => f.severity === 'unknown') ? EXIT.unknown : EXIT.clean;
  // A plan that finds no way is the answer of the repair, as an error that says so is.
  return wanted || report.outcome === 'unrecoverable' ? EXIT.notRepaired : EXIT.damage;
}

/** @param repairs whether the command that failed was to change something */
export function exitOfError(error: unknown, repairs: boolean): ExitCode {
  if (!isDbError(error)) return EXIT.internal;
  const isCompaction = error.code === 'COMPACTION_FAILED';
  const cause = (error.kind === 'closed' || isCompaction) && isDbError(error.cause) ? error.cause : error;
  // A compaction repairs nothing: damage that it meets was there before.
  return exitOfKind(cause, repairs && !isCompaction);
}

function exitOfKind(error: DbError, repairs: boolean): ExitCode {
  if (isCorruption(error)) return repairs ? EXIT.notRepaired : EXIT.damage;
  if (error.code === 'FORMAT_TOO_NEW') return EXIT.unknown;
  if (error instanceof InvalidArgumentError || error instanceof IncompatibleError) return EXIT.usage;
  if (error.kind === 'conflict' || error.kind === 'fenced') return EXIT.conflict;
  if (error.kind === 'aborted') return EXIT.interrupted;
  return isRetryable(error) ? EXIT.unavailable : EXIT.internal;
}
