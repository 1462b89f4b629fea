/**
 * The role: when rounds run, and what is known of them.
 *
 * A round has a cause: the start, a commit of this process or one that it has met, or the time at which something that stayed becomes
 * old enough, as the last round computed it. Between causes nothing is asked: a database that does not change costs nothing once all of its
 * garbage is gone.
 *
 * ```
 * start ---- jitter -----> round ---- commit, or due ----> max(cause, end of the last + intervalMs) + jitter ----> round
 *                            |--- more than it could hold ----> MORE_MS ----> round
 *                            |--- failed ----> back-off, doubled up to MAX_BACKOFF_MS ----> round
 *                            |--- stopped by damage, or a list that lags ----> the same back-off, from intervalMs on
 *                            |--- cut off by a pause ----> jitter after the pause
 * ```
 *
 * Invariants:
 * 1. One round at a time, and none after `stop` was called or during a pause.
 * 2. A commit during a round is a cause for the next one: the round may have read before it.
 * 3. No error leaves the role: it is in the log and in `state()`. A broken invariant ends it, so that nothing more is deleted.
 */
import { assertThat } from '../common/assert.ts';
import { ignoreRejection } from '../common/async.ts';
import { describeThrown } from '../common/callbacks.ts';
import type { Clock, Timer } from '../common/clock.ts';
import type {
  CollectorEvent,
  CollectorPhase,
  CollectorRole,
  CollectorRound,
  CollectorState,
  GcTallies,
} from '../common/collector-role.ts';
import { type DbError, InternalError, isDbError } from '../common/errors.ts';
import type { Finding } from '../common/finding.ts';
import type { Logger } from '../common/logger.ts';
import { MAX_MS } from '../common/option-checks.ts';
import { nextFloat } from '../common/random.ts';
import { withSignal } from '../lsm/manifest/database-stores.ts';
import { Rounds, type RoundsOptions } from './round.ts';
import { earlier, emptyResult, noTallies, type RoundResult, totalOf } from './round-result.ts';
import type { CollectorSettings } from './settings.ts';

/** Several collectors of one database that begin at the same moment should not meet. */
const JITTER = 0.1;
/** Dates of some stores are whole seconds. */
const DUE_SLACK_MS = 1000;
const MORE_MS = 1000;
const LEAST_BACKOFF_MS = 10_000;
const MAX_BACKOFF_MS = 3_600_000;
/** How often what takes days to become old is looked at, if there is a round at all. */
const RARELY_MS = 24 * 3_600_000;

export interface CollectorParts extends Omit<RoundsOptions, 'signal' | 'settings'> {
  settings: CollectorSettings;
  logger: Logger;
  /** Must not throw. */
  onEvent(event: CollectorEvent): void;
  /** Something is wrong with the database, and was not at the end of the round before. Must not throw. */
  onFinding(finding: Finding): void;
}

/** `new`: not started. */
type Activity = 'new' | 'waiting' | 'working' | 'stopped' | 'failed';

export class Collector implements CollectorRole {
  readonly #parts: CollectorParts;
  #controller = new AbortController();
  #rounds: Rounds;
  #activity: Activity = 'new';
  #pauses = 0;
  #timer: Timer | undefined;
  /** Monotonic time of the next round; undefined: none. */
  #nextMs: number | undefined;
  #running: Promise<void> | undefined;
  /** Monotonic time of the end of the last round. */
  #endedMs = Number.NEGATIVE_INFINITY;
  #hasCommit = false;
  /** The newest manifest that is known to exist. */
  #knownId = 0;
  /** Monotonic time of the last round that looked at copies. */
  #copiesMs = Number.NEGATIVE_INFINITY;
  /** Monotonic time at which a copy becomes old enough. */
  #copiesDueMs: number | undefined;
  #roundCount = 0;
  #failures = 0;
  #stops = 0;
  readonly #deleted = noTallies();
  #lastRound: CollectorRound | undefined;
  #lastError: DbError | undefined;
  /** What was said already. */
  #said: ReadonlySet<string> = new Set();
  readonly #notes = new Set<string>();

  constructor(parts: CollectorParts) {
    this.#parts = parts;
    this.#rounds = this.#newRounds();
  }

  /** Rounds that end with the controller of this moment. */
  #newRounds(): Rounds {
    const { signal } = this.#controller;
    const rounds = new Rounds({ ...this.#parts, stores: withSignal(this.#parts.stores, signal), signal });
    rounds.know(this.#knownId);
    return rounds;
  }

  // ---- the role

  start(): void {
    assertThat(this.#activity === 'new', 'a collector is started once');
    this.#activity = 'waiting';
    this.#wakeAt(this.#clock.monotonicMs() + this.#jitter(this.#parts.settings.intervalMs));
  }

  async stop(): Promise<void> {
    if (this.#activity !== 'failed') this.#activity = 'stopped';
    this.#cancel();
    this.#controller.abort();
    await this.#running;
  }

  async pause(): Promise<() => void> {
    this.#pauses++;
    this.#timer?.cancel();
    this.#controller.abort();
    await this.#running;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#pauses--;
      if (this.#pauses === 0) this.#resume();
    };
  }

  #resume(): void {
    if (this.#activity === 'stopped' || this.#activity === 'failed') return;
    this.#controller = new AbortController();
    this.#rounds = this.#newRounds();
    if (this.#activity === 'new') return;
    if (this.#nextMs !== undefined) this.#arm();
  }

  noteCommit(manifestId: number): void {
    this.#knownId = Math.max(this.#knownId, manifestId);
    this.#rounds.know(manifestId);
    this.#hasCommit = true;
    if (this.#activity === 'waiting') this.#wakeAfterInterval(this.#clock.monotonicMs());
  }

  state(): CollectorState {
    const { clock } = this.#parts;
    const isDue = this.#nextMs !== undefined && this.#pauses === 0;
    const inMs = isDue ? Math.max(0, (this.#nextMs ?? 0) - clock.monotonicMs()) : undefined;
    return {
      phase: this.#phase,
      rounds: this.#roundCount,
      deleted: structuredClone(this.#deleted),
      lastRound: this.#lastRound,
      lastError: this.#lastError,
      failures: this.#failures,
      nextRoundAtMs: inMs === undefined ? undefined : Math.round(clock.nowMs() + inMs),
    };
  }

  get #phase(): CollectorPhase {
    if (this.#activity === 'stopped' || this.#activity === 'failed') return this.#activity;
    if (this.#pauses > 0) return 'paused';
    if (this.#activity === 'working') return 'working';
    if (this.#activity === 'new') return 'idle';
    if (this.#failures > 0) return 'retrying';
    return this.#nextMs === undefined ? 'idle' : 'waiting';
  }

  // ---- when

  get #clock(): Clock {
    return this.#parts.clock;
  }

  #jitter(ms: number): number {
    return ms * JITTER * nextFloat(this.#parts.random);
  }

  /** Not before the interval is over. */
  #wakeAfterInterval(atMs: number): void {
    const { intervalMs } = this.#parts.settings;
    this.#wakeAt(Math.max(atMs, this.#endedMs + intervalMs) + this.#jitter(intervalMs));
  }

  /** The earlier of several moments counts. */
  #wakeAt(atMs: number): void {
    if (this.#nextMs !== undefined && this.#nextMs <= atMs) return;
    this.#nextMs = atMs;
    this.#arm();
  }

  /** A timer takes less than 25 days, and whole ms: what is left by rounding alone would be waited for again and again. */
  #arm(): void {
    const { clock } = this.#parts;
    this.#timer?.cancel();
    if (this.#pauses > 0) return;
    const leftMs = (this.#nextMs ?? 0) - clock.monotonicMs();
    this.#timer = clock.setTimer(
      Math.min(Math.max(0, Math.ceil(leftMs)), MAX_MS),
      () => {
        if (this.#activity !== 'waiting' || this.#nextMs === undefined) return;
        if (clock.monotonicMs() < this.#nextMs) this.#arm();
        else this.#begin();
      },
      false,
    );
  }

  #cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#nextMs = undefined;
  }

  #begin(): void {
    assertThat(this.#running === undefined, 'one round at a time (collector 1)');
    this.#cancel();
    this.#activity = 'working';
    this.#running = this.#round().finally(() => {
      this.#running = undefined;
    });
    ignoreRejection(this.#running);
  }

  // ---- a round

  async #round(): Promise<void> {
    const { clock, settings, onEvent } = this.#parts;
    const startMs = clock.monotonicMs();
    const withCopies =
      startMs - this.#copiesMs >= RARELY_MS || (this.#copiesDueMs !== undefined && startMs >= this.#copiesDueMs);
    // What is committed from now on may come after what the round reads (collector 2).
    this.#hasCommit = false;
    const result = emptyResult();
    let error: unknown;
    try {
      await this.#rounds.run({ apply: !settings.dryRun, withCopies }, result);
    } catch (thrown) {
      error = thrown;
    }
    this.#endedMs = clock.monotonicMs();
    // A pause, or the end.
    const isCut = this.#controller.signal.aborted && error !== undefined && isDbError(error);
    this.#note(result, isCut ? undefined : error, startMs);
    if (this.#activity !== 'working') return;
    if (this.#lastError instanceof InternalError) {
      this.#activity = 'failed';
      onEvent({ type: 'failed', error: this.#lastError });
      return;
    }
    this.#activity = 'waiting';
    if (isCut) {
      this.#wakeAt(this.#endedMs + this.#jitter(settings.intervalMs));
      return;
    }
    if (withCopies && error === undefined) this.#copiesMs = startMs;
    this.#plan(result, startMs, withCopies);
    this.#announce();
  }

  #announce(): void {
    const { onEvent } = this.#parts;
    const [error, round] = [this.#lastError, this.#lastRound];
    const retryInMs = Math.round((this.#nextMs ?? this.#endedMs) - this.#endedMs);
    if (error !== undefined) onEvent({ type: 'trouble', error, retryInMs });
    else if (round !== undefined) onEvent({ type: 'round', round });
  }

  /** When the next round is. */
  #plan(result: RoundResult, startMs: number, withCopies: boolean): void {
    const { intervalMs } = this.#parts.settings;
    const nowMs = this.#clock.monotonicMs();
    const hasFailed = this.#lastError !== undefined;
    if (hasFailed || result.stopped !== undefined) {
      const [leastMs, times] = hasFailed ? [LEAST_BACKOFF_MS, this.#failures] : [intervalMs, this.#stops];
      this.#wakeAt(nowMs + this.#backOff(leastMs, times));
      return;
    }
    // Of the store's time at the beginning, which this host's clock has followed since.
    const monotonic = (storeMs: number | undefined) =>
      storeMs === undefined ? undefined : startMs + storeMs - result.storeTimeMs + DUE_SLACK_MS;
    if (withCopies) this.#copiesDueMs = monotonic(result.copiesDueMs);
    const dueMs = earlier(monotonic(result.nextDueMs), this.#copiesDueMs);
    if (result.hasMore) this.#wakeAt(nowMs + MORE_MS + this.#jitter(MORE_MS));
    if (this.#hasCommit) this.#wakeAfterInterval(nowMs);
    if (dueMs !== undefined) this.#wakeAfterInterval(dueMs);
  }

  #backOff(leastMs: number, times: number): number {
    const ms = Math.min(leastMs * 2 ** (times - 1), Math.max(leastMs, MAX_BACKOFF_MS));
    return ms + this.#jitter(ms);
  }

  // ---- what is known

  #note(result: RoundResult, error: unknown, startMs: number): void {
    const { clock, settings } = this.#parts;
    const { manifestId, deleted, going, stopped, findings, notes } = result;
    this.#roundCount++;
    for (const name of Object.keys(deleted) as (keyof GcTallies)[]) {
      this.#deleted[name].objects += deleted[name].objects;
      this.#deleted[name].bytes += deleted[name].bytes;
    }
    const [endedAtMs, tookMs] = [clock.nowMs(), Math.round(this.#endedMs - startMs)];
    this.#lastRound = { endedAtMs, tookMs, manifestId, deleted, going, stopped, findings, notes };
    this.#stops = stopped === undefined ? 0 : this.#stops + 1;
    this.#failures = error === undefined ? 0 : this.#failures + 1;
    this.#lastError = error === undefined ? undefined : asDbError(error);
    this.#log(result, settings.dryRun);
  }

  /** What was deleted each time; what is wrong when it begins. */
  #log({ deleted, going, stopped, findings, notes }: RoundResult, isDryRun: boolean): void {
    const { logger, onFinding } = this.#parts;
    const total = totalOf(isDryRun ? going : deleted);
    if (total.objects > 0) {
      logger.info(isDryRun ? 'garbage that would be collected' : 'garbage was collected', { ...total });
    }
    const now = new Set<string>();
    const once = (text: string, say: () => void) => {
      now.add(text);
      if (!this.#said.has(text)) say();
    };
    const error = this.#lastError;
    if (error instanceof InternalError) {
      logger.error('the collector has ended itself', { code: error.code, error: error.message });
    } else if (error !== undefined) {
      const text = 'a collection failed; it is tried again';
      once(text, () => logger.warn(text, { code: error.code, error: error.message }));
    }
    if (stopped !== undefined) once(stopped, () => logger.warn(`nothing more is collected: ${stopped}`));
    for (const finding of findings) once(`${finding.code} ${finding.object.path}`, () => onFinding(finding));
    this.#said = now;
    for (const note of notes) this.#sayOnce(note);
  }

  /** What a note says does not change by itself: a store that cannot do something. */
  #sayOnce(note: string): void {
    const kind = kindOfNote(note);
    if (this.#notes.has(kind)) return;
    this.#notes.add(kind);
    this.#parts.logger.warn(note);
  }
}

/** What stays the same of a note while its numbers change. */
function kindOfNote(note: string): string {
  return note.replaceAll(/\d+/g, '');
}

function asDbError(error: unknown): DbError {
  return isDbError(error) ? error : new InternalError(describeThrown(error), { cause: error });
}
