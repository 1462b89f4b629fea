/**
 * A compactor as the database and its tools see it that runs beside them: roles do not import each other, so they meet here.
 *
 * Nothing of it is needed for reads and writes: a compactor that has stopped, for whatever reason, costs space and time, never rows.
 */
import type { DbError } from './errors.ts';

/** Why a compactor asks whether there is something to do; nothing polls. */
export type RoundCause =
  | 'start'
  /** A manifest came into use, of a flush or of another process. */
  | 'manifest'
  | 'job'
  /** A pause is over, a wait after a failure, or a mark on a damaged table. */
  | 'time'
  | 'resume'
  /** A compaction of everything was asked for. */
  | 'request';

/** A job as health and events show it. */
export interface CompactionJobState {
  /** A ULID: its time is that of the beginning. */
  id: string;
  /** `''`: the root tree; else the prefix of the segment in hex. */
  tree: string;
  /** Tables of level 0 among the sources. */
  l0Tables: number;
  /** Runs among the sources, newest first. */
  runs: readonly number[];
  /** Id of the run that it makes. */
  destination: number;
  /** Of the scheduler, or `submitted`, `everything`. */
  reason: string;
  /** ms since the epoch. */
  startedAtMs: number;
}

/** What became of a job that was committed. */
export interface CompactionOutcome {
  /** What it was. */
  job: CompactionJobState;
  /** The manifest with its result. */
  manifestId: number;
  /** How many it has written. */
  tables: number;
  /** How many its run has that were not written again: then nothing was read or written, and rows were not counted. */
  tablesMoved: number;
  /** Rows that its sources show. */
  rowsIn: number;
  /** Those that are left. */
  rowsOut: number;
  /** Stored bytes that were read. */
  bytesIn: number;
  /** Stored bytes that were written. */
  bytesOut: number;
}

/** What `compactAll` has done: one job for each tree that was not one run before. */
export interface CompactionReport {
  /** In the order in which they were committed. */
  jobs: readonly CompactionOutcome[];
}

/**
 * - `idle`, `working`: nothing to do, or jobs run;
 * - `retrying`: the last attempt has failed, the next follows;
 * - `paused`: for a repair; `fenced`: another compactor has the epoch; `stopped`: by `stop`; `failed`: for good.
 */
export type CompactorPhase = 'idle' | 'working' | 'retrying' | 'paused' | 'fenced' | 'stopped' | 'failed';

/** What is known of a compactor. */
export interface CompactorState {
  /** What it does now. */
  phase: CompactorPhase;
  /** Undefined: none was claimed yet, or it is lost. */
  epoch: number | undefined;
  /** Those that run. */
  jobs: readonly CompactionJobState[];
  /** The last failure, until a job succeeds. */
  lastError: DbError | undefined;
  /** In a row. */
  failures: number;
  /** ms; undefined: nothing waits. */
  retryInMs: number | undefined;
  /** Tables that no job reads for now, with what was found there. */
  damagedTables: readonly {
    /** Its id. */
    table: string;
    /** What was found. */
    error: DbError;
  }[];
  /** `default` also where another one was given and its proposals were invalid. */
  scheduler: 'given' | 'default';
}

/** What happens in a compactor, for logs and metrics. */
export type CompactorEvent =
  /** It works from now on, in both places under this epoch. */
  | {
      type: 'claimed';
      /** One above all before it. */
      epoch: number;
    }
  /** A job has begun. */
  | {
      type: 'started';
      /** What it merges. */
      job: CompactionJobState;
    }
  /** A manifest names the result of a job. */
  | {
      type: 'committed';
      /** What became of it. */
      outcome: CompactionOutcome;
    }
  /** A job has ended without a result; its outputs, if there are some, are garbage. */
  | {
      type: 'ended';
      /** What it merged. */
      job: CompactionJobState;
      /** Why. */
      error: DbError;
    }
  /** The scheduler has proposed what cannot be done. */
  | {
      type: 'invalid';
      /** `COMPACTION_INVALID`. */
      error: DbError;
      /** It was the third in a row: the default takes its place. */
      isReplaced: boolean;
    }
  /** Another compactor has the epoch; this one waits. */
  | {
      type: 'fenced';
      /** `COMPACTOR_FENCED`. */
      error: DbError;
    }
  /** Nothing can be done for now. */
  | {
      type: 'trouble';
      /** Why. */
      error: DbError;
      /** When it is tried again, ms from now. */
      retryInMs: number;
    }
  /** It has ended for good. */
  | {
      type: 'failed';
      /** Why. */
      error: DbError;
    };

/** A compactor, as the database has it beside it. */
export interface CompactorRole {
  /** Begins to work; writes nothing before there is a job. */
  start(): void;
  /** Ends all jobs, and resolves when nothing is under way any more. What was not committed is begun again by the next compactor. */
  stop(): Promise<void>;
  /** As `stop`, until the function that it resolves with is called: for a repair, which takes the epoch. Pauses may overlap. */
  pause(): Promise<() => void>;
  /** There may be something to do. Returns at once. */
  poke(cause: RoundCause): void;
  /**
   * Merges each tree into one run. Rejects with `COMPACTION_FAILED`, the cause inside; with `ABORTED` by the signal; with `CLOSED` when it
   * stops. Everything is read and written again.
   */
  compactAll(signal?: AbortSignal): Promise<CompactionReport>;
  state(): CompactorState;
}
