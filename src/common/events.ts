/**
 * What a caller can follow beside the answers it gets: option `onEvent` of `open` and `openReader`. Each event is also a line in
 * the log; none needs an answer, and none stands for an error, which is always thrown.
 */
import { describeThrown, guarded } from './callbacks.ts';
import type { CollectorEvent } from './collector-role.ts';
import type { CompactorEvent } from './compactor-role.ts';
import type { Finding } from './finding.ts';
import type { Logger } from './logger.ts';

/** What happens in a database besides the calls, for the option `onEvent`. */
export type DbEvent =
  /** A replay that takes long, about once a second: first all WAL objects are read and verified, then their rows are applied. */
  | {
      type: 'replay';
      /** `read`: objects are fetched and verified. `apply`: their rows go into memory, or into tables. */
      phase: 'read' | 'apply';
      /** WAL objects that are done. */
      objects: number;
      /** WAL objects in all. */
      of: number;
    }
  /** `walAutoRecovery` had to repair the log; `db.ready()` has the report. */
  | {
      type: 'recovery';
      /** As in the report of the repair. */
      repairId: string;
      /** Rows that were kept. */
      recoveredRows: number;
      /** The least that is lost; all of it if `lostExact`. */
      lostRows: number;
      /** The most that can be lost; absent: nothing says how many. */
      lostRowsAtMost?: number;
      /** Whether `lostRows` is all that is lost. */
      lostExact: boolean;
    }
  /** Rows were written with a clock that was far ahead of this machine's; reported once. Expiry uses this machine's clock. */
  | {
      type: 'clock';
      /** Greatest creation time of a stored row, ms since the epoch. */
      storedTickMs: number;
      /** The clock of this machine, ms since the epoch. */
      nowMs: number;
    }
  /** Damage, or a sign of it, that takes away no row that was asked for; with `allowPrefix` also that of the log. */
  | {
      type: 'finding';
      /** The damage: its object, its place and what to do. */
      finding: Finding;
    }
  /** The collector of this database has ended a round, or has failed. */
  | {
      type: 'collector';
      /** What has happened. */
      event: CollectorEvent;
    }
  /** The compactor of this database has begun, committed or given up a job, or something hinders it. */
  | {
      type: 'compactor';
      /** What has happened. */
      event: CompactorEvent;
    };

/** Called with each event; what it throws goes into the log. */
export type EventListener = (event: DbEvent) => void;

/** Where findings go. */
export interface FindingSink {
  logger: Logger;
  onEvent: EventListener;
}

/** A finding as a line in the log and an event. `message` says what it is about. */
export function reportFinding({ logger, onEvent }: FindingSink, message: string, finding: Finding): void {
  const level = finding.severity === 'error' ? 'error' : finding.severity === 'note' ? 'info' : 'warn';
  logger[level](message, findingDetails(finding));
  onEvent({ type: 'finding', finding });
}

/** Plain values only: what a logger makes of an object or a bigint is not known. */
function findingDetails({ code, object, at, affects, expected, found, hint }: Finding): Record<string, unknown> {
  return {
    code,
    path: object.path,
    unit: at.unit,
    offset: at.offset,
    length: at.length,
    ...(affects.seqs !== undefined && { seqs: rangeText(affects.seqs) }),
    ...(affects.rows !== undefined && { rows: affects.rows }),
    ...(expected !== undefined && { expected }),
    ...(found !== undefined && { found }),
    hint: hint.summary,
  };
}

/** A range of sequence numbers as people write it. */
export function rangeText({ min, max }: { min: number | bigint; max: number | bigint }): string {
  return min === max ? `${min}` : `${min} to ${max}`;
}

/** A listener whose exceptions and rejections go into the log: they must not end the work that calls it. */
export function safeListener(listener: EventListener | undefined, logger: Logger): EventListener {
  if (listener === undefined) return () => undefined;
  return (event) => {
    guarded(
      () => listener(event),
      (error) => logger.error('the onEvent function threw', { event: event.type, error: describeThrown(error) }),
    );
  };
}
