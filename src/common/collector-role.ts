/**
 * A collector as the database sees it that runs beside it: roles do not import each other, so they meet here.
 *
 * Nothing of it is needed for reads and writes: a collector that has stopped, for whatever reason, costs space, never rows.
 */
import type { DbError } from './errors.ts';
import type { Finding } from './finding.ts';

/** What kind of object may go. */
export type GcClass = 'manifest' | 'compactions' | 'log' | 'fence' | 'table' | 'upload' | 'copy';

/** Objects and their bytes. */
export interface GcTally {
  /** How many. */
  objects: number;
  /** Of all of them, as stored. */
  bytes: number;
}

/** The same of each class. */
export type GcTallies = Record<GcClass, GcTally>;

/**
 * - `idle`: nothing can become collectable before something is committed; `waiting`: for the time of the next round;
 * - `working`: a round is under way; `retrying`: the last one has failed, the next follows;
 * - `paused`: for a repair; `stopped`: with the database; `failed`: for good, by a bug.
 */
export type CollectorPhase = 'idle' | 'waiting' | 'working' | 'retrying' | 'paused' | 'stopped' | 'failed';

/** What became of a round. */
export interface CollectorRound {
  /** By the clock of this host, ms since the epoch. */
  endedAtMs: number;
  /** From its first request on. */
  tookMs: number;
  /** The newest manifest that it has seen; undefined: it came not so far. */
  manifestId: number | undefined;
  /** What it has deleted. */
  deleted: GcTallies;
  /** What goes; of a dry run nothing of it was deleted. */
  going: GcTallies;
  /** Why it ended before all was deleted. */
  stopped: string | undefined;
  /** What is wrong with the database, as far as a collector meets it. */
  findings: readonly Finding[];
  /** What was not done, and what that costs, in sentences. */
  notes: readonly string[];
}

/** What is known of a collector. */
export interface CollectorState {
  /** What it does now. */
  phase: CollectorPhase;
  /** Since the start, those that have failed as well. */
  rounds: number;
  /** Since the start. */
  deleted: GcTallies;
  /** Also one that has failed. */
  lastRound: CollectorRound | undefined;
  /** Of the last round, if it has failed. */
  lastError: DbError | undefined;
  /** In a row. */
  failures: number;
  /** By the clock of this host, ms since the epoch; undefined: there is nothing to wait for. */
  nextRoundAtMs: number | undefined;
}

/** What happens in a collector, for logs and metrics. */
export type CollectorEvent =
  /** A round is over; `stopped` in it says why it has deleted less than there is, if it has. */
  | {
      type: 'round';
      /** What became of it. */
      round: CollectorRound;
    }
  /** A round has failed; what it had deleted until then is in the state. */
  | {
      type: 'trouble';
      /** Why it has failed. */
      error: DbError;
      /** When the next one is, ms from now. */
      retryInMs: number;
    }
  /** A rule of its own is broken: it deletes nothing any more. */
  | {
      type: 'failed';
      /** The broken rule. */
      error: DbError;
    };

export interface CollectorRole {
  /** Begins to work, at a moment that differs from process to process. Sends nothing yet. */
  start(): void;
  /** No request is sent after this resolves; a round that is under way is cut off. */
  stop(): Promise<void>;
  /** As `stop`, until the function that it resolves with is called: for a repair. Pauses may overlap. */
  pause(): Promise<() => void>;
  /** A manifest was committed by this process, or met: what it needs no more may go. Returns at once. */
  noteCommit(manifestId: number): void;
  state(): CollectorState;
}
