/**
 * Turns frozen memtables into L0 tables: builds and uploads several at once, commits them one by one, oldest first.
 *
 * 1. A table is committed only after its rows are durable in the log (with a log), so no reader of tables sees what a takeover would
 *    lose.
 * 2. Tables are committed in the order of the memtables, each once: the oldest that is frozen is next.
 * 3. ULIDs are drawn in the order of the memtables and exceed every ULID of the manifest, because collectors compare their times.
 * 4. One manifest version moves the replay point together with the table that justifies it, never past what is durable.
 * 5. A memtable leaves the view in the moment in which the manifest that names its table comes into use: no row is ever missing, or twice
 *    in a view.
 */

import { type Deferred, deferred, ignoreRejection } from '../common/async.ts';
import { FLUSH_CHANNEL } from '../common/channels.ts';
import { sleep } from '../common/clock.ts';
import { FencedError, isCorruption } from '../common/errors.ts';
import { makeUlid, type Ulid, ulidToBytes } from '../common/ulid.ts';
import type { Manifest, TableView } from '../format/manifest-types.ts';
import { tablePath } from '../format/object-names.ts';
import {
  appendToTracker,
  decodeTracker,
  encodeTracker,
  isWideTracker,
  type SequenceTracker,
} from '../format/sequence-tracker.ts';
import type { Author } from '../lsm/manifest/author.ts';
import { addFlushedRows, moveReplayPoint } from '../lsm/manifest/manifest-edits.ts';
import type { ManifestLog } from '../lsm/manifest/manifest-log.ts';
import { greatestUlid } from '../lsm/manifest/table-order.ts';
import type { FlushedSeal, TableFormat } from '../lsm/read/memtable-to-table.ts';
import type { FlushedTable, TableThreads } from '../lsm/read/table-threads.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { WriterSettings } from './open-options.ts';
import { TABLE_UPLOADS_PART } from './options.ts';
import type { SnapshotPins } from './snapshot-pins.ts';
import { TableBuilds } from './table-builds.ts';
import { type FrozenMemtable, isFinal, type WriteState } from './write-state.ts';

const MAX_PARALLEL = 4;
const TABLE_RETRY_FIRST_MS = 200;
const TABLE_RETRY_MAX_MS = 10_000;
/** Warned at this many L0 tables and again at each doubling. */
const WARN_L0 = 8;

interface Job {
  frozen: FrozenMemtable;
  /** The uploaded table; undefined if no version of the memtable is kept. */
  upload: Promise<TableView | undefined>;
  /** When it began, by the monotonic clock. */
  startMs: number;
}

export interface TableFlusherOptions {
  state: WriteState;
  store: ObjectStore;
  author: Author;
  manifests: ManifestLog;
  pins: SnapshotPins;
  settings: Pick<
    WriterSettings,
    'hideExpired' | 'l0MaxSsts' | 'l0SstSizeBytes' | 'maxUnflushedBytes' | 'memoryBytes' | 'walEnabled'
  >;
  format: TableFormat;
  /** Where large tables are built; undefined: on this thread, like the others. */
  threads: TableThreads | undefined;
  /** Newest WAL id known to be durable; undefined without a log. */
  lastWalId(): number | undefined;
  /** Learns what `correct` needs; may fetch. */
  prepareCommit(): Promise<void>;
  /** Whether a sequence tracker of version 2 stays one. */
  keepsWideTracker: boolean;
  /** Puts what the tables' own info blocks say in place of what the manifest says. */
  correct(manifest: Manifest): Manifest;
  /** The manifest names the table of the oldest memtable, which is gone. */
  onCommitted(): void;
  /** Why the tables of level 0 are not merged, as a sentence; undefined: nothing hinders it. */
  whyNotMerged(): string | undefined;
}

export class TableFlusher {
  readonly #o: TableFlusherOptions;
  readonly #builds: TableBuilds;
  #jobs: Job[] = [];
  #newestUlid: Ulid | undefined;
  #committing = false;
  #waiters: { table: FrozenMemtable; done: Deferred<void> }[] = [];
  #warnedAt = WARN_L0;
  #stallWarned = false;
  /** A manifest had a tracker of version 2: no release before 0.18 opened it. */
  #mayBeWide = false;
  /** Replays and the end of a database without a log do not wait for a place in level 0. */
  #isUnlimited = false;
  #trouble: unknown;
  readonly #stopped = new AbortController();

  constructor(options: TableFlusherOptions) {
    this.#o = options;
    this.#builds = new TableBuilds(options);
    options.state.onEnd((error) => {
      this.#stopped.abort();
      options.state.counts.stalls.end();
      for (const w of this.#waiters) w.done.reject(error);
      this.#waiters = [];
    });
  }

  get isIdle(): boolean {
    return this.#o.state.frozen.length === 0;
  }

  /** Why the last attempt failed, while it is tried again. */
  get trouble(): unknown {
    return this.#trouble;
  }

  /** Newest WAL object whose rows are all in tables that the manifest names. */
  get replayAfterWalId(): number {
    return this.#o.manifests.current.manifest.replayAfterWalId;
  }

  /**
   * Moves the replay point over a log without rows, up to `walId`: fences of openings that wrote nothing, say. For when no memtable
   * has a row. One manifest; if it cannot be written, the next opening does it.
   */
  async passEmptyLog(walId: number): Promise<void> {
    const { state, manifests } = this.#o;
    try {
      await manifests.commit((m) => (m.replayAfterWalId >= walId ? undefined : moveReplayPoint(m, walId)));
    } catch (error) {
      if (this.#stopped.signal.aborted) return;
      if (isFinal(error)) state.fail(error);
      else state.logger.warn('the replay point could not be moved over empty log objects', { error: String(error) });
    }
  }

  /** Resolves when the table of `frozen` is named by the manifest. */
  committed(frozen: FrozenMemtable): Promise<void> {
    if (!this.#o.state.frozen.includes(frozen)) return Promise.resolve();
    const done = deferred<void>();
    this.#waiters.push({ table: frozen, done });
    return done.promise;
  }

  /** Starts what can be started. Called when a memtable was frozen, became durable, or something was committed. */
  advance(): void {
    if (this.#stopped.signal.aborted) return;
    const { state, manifests, settings } = this.#o;
    while (this.#jobs.length < this.#parallel()) {
      const frozen = state.frozen.find((f) => !this.#jobs.some((j) => j.frozen === f));
      if (frozen === undefined) break;
      if (settings.walEnabled && frozen.lastWalId === undefined) break;
      if (!this.#isUnlimited && manifests.current.manifest.l0.length + this.#jobs.length >= settings.l0MaxSsts) {
        state.counts.stalls.begin();
        this.#warnStall();
        break;
      }
      state.counts.stalls.end();
      const startMs = state.counts.nowMs;
      const upload = this.#buildAndUpload(frozen);
      ignoreRejection(upload);
      this.#jobs.push({ frozen, upload, startMs });
    }
    if (!this.#committing && this.#jobs.length > 0) {
      this.#committing = true;
      ignoreRejection(this.#commitAll());
    }
  }

  #parallel(): number {
    const { memoryBytes, l0SstSizeBytes } = this.#o.settings;
    return Math.max(1, Math.min(MAX_PARALLEL, Math.floor((memoryBytes * TABLE_UPLOADS_PART) / l0SstSizeBytes)));
  }

  /** From now on tables go to level 0 however many there are, or only up to the limit again. */
  set isUnlimited(isUnlimited: boolean) {
    this.#isUnlimited = isUnlimited;
    this.advance();
  }

  /** Whether all that is in memory finds a place in level 0 without a merge. */
  get hasRoom(): boolean {
    const { state, manifests, settings } = this.#o;
    const waiting = state.frozen.length + (state.active.rowCount > 0 ? 1 : 0);
    return manifests.current.manifest.l0.length + waiting <= settings.l0MaxSsts;
  }

  /** Why flushing pauses, as a sentence; undefined: it does not. */
  get stall(): string | undefined {
    const { manifests, settings, whyNotMerged } = this.#o;
    const l0 = manifests.current.manifest.l0.length;
    if (this.#isUnlimited || l0 < settings.l0MaxSsts) return undefined;
    const why = whyNotMerged() ?? 'They are being merged.';
    return `Level 0 has ${l0} tables, the limit is ${settings.l0MaxSsts} (option l0MaxSsts). ${why}`;
  }

  /** Beside a compactor that works a pause is nothing unusual. */
  #warnStall(): void {
    if (this.#stallWarned || this.#o.whyNotMerged() === undefined) return;
    this.#stallWarned = true;
    this.#o.state.logger.warn(
      `flushing pauses; writes will be refused when maxUnflushedBytes is reached: ${this.stall ?? 'level 0 is full'}`,
    );
  }

  #nextUlid(): Ulid {
    const { author, manifests } = this.#o;
    const after = greatestUlid(manifests.current.manifest, this.#newestUlid);
    const drawn = makeUlid(author.clock.nowMs(), author.random, after);
    this.#o.state.mustHold(after === undefined || drawn > after, 'a new table has a greater ULID than all before it');
    this.#newestUlid = drawn;
    return drawn;
  }

  async #buildAndUpload(frozen: FrozenMemtable): Promise<TableView | undefined> {
    const { state, author } = this.#o;
    const id = this.#nextUlid();
    const putId = makeUlid(author.clock.nowMs(), author.random);
    // With a log all rows of the table are durable by now; without one they become so together.
    const bound = this.#o.pins.oldestSeq(frozen.table.lastSeq);
    state.mustHold(frozen.table.frozen && bound <= frozen.table.lastSeq, 'only a frozen memtable becomes a table');
    let held = frozen.table.dataBytes;
    state.hold(held);
    const plan = { barrier: bound, expiredAtMs: this.#expiredAtMs(frozen) };
    let built: FlushedTable | undefined;
    try {
      const seal = () => this.#seal(id, putId, frozen);
      built = await this.#builds.build(frozen.table, plan, seal, this.#stopped.signal);
      if (built === undefined) return undefined;
      state.hold(built.bytes.length);
      state.letGo(held);
      held = built.bytes.length;
      await this.#upload(id, putId, built);
    } finally {
      state.letGo(held);
    }
    return {
      viewId: id,
      table: { id, info: built.info, formatVersion: 2 },
      visibleRange: undefined,
    };
  }

  /**
   * Up to when what has expired may go: when the last row was written, but not later than now, because a clock that was once ahead
   * dates rows into the future, nor than any open snapshot, which goes on seeing what had not expired when it was made. Where reads
   * show expired rows, nothing may: a snapshot may be opened at any moment until the table takes the place of its rows.
   */
  #expiredAtMs({ table }: FrozenMemtable): number | undefined {
    const { settings, pins } = this.#o;
    return settings.hideExpired ? pins.expireTo(table.maxCreateTs) : undefined;
  }

  #seal(id: Ulid, putId: Ulid, frozen: FrozenMemtable): FlushedSeal {
    const { author, manifests, format } = this.#o;
    return {
      identity: author.identity({
        objectId: ulidToBytes(id),
        putId,
        epoch: manifests.epoch,
        newestManifestId: manifests.current.id,
        formatVersion: 2,
        codec: format.codec.name,
      }),
      replayAfterWalId: frozen.lastWalId ?? manifests.current.manifest.replayAfterWalId,
    };
  }

  /** Puts the table, again and again until it is there or everything stops. */
  async #upload(id: Ulid, putId: Ulid, built: FlushedTable): Promise<void> {
    const { state, store } = this.#o;
    let wait = TABLE_RETRY_FIRST_MS;
    let resumed = false;
    for (;;) {
      try {
        const answer = await store.put(tablePath(id), built.bytes, {
          condition: 'if-absent',
          putId,
          resumed,
          proveRefusal: true,
          signal: this.#stopped.signal,
        });
        if (answer.outcome === 'applied') {
          state.counts.tableUploads++;
          state.counts.tableBytes += built.bytes.length;
          return;
        }
        if (answer.outcome === 'refused') throw await this.#taken(id);
        resumed = true;
        state.logger.warn('no answer says whether a table was stored; it is put again', { table: id });
      } catch (error) {
        if (this.#stopped.signal.aborted || isFinal(error)) throw error;
        this.#trouble = error;
        state.logger.warn('a table could not be stored; it will be tried again', { table: id, error: String(error) });
      }
      await sleep(state.clock, wait, this.#stopped.signal);
      wait = Math.min(wait * 2, TABLE_RETRY_MAX_MS);
    }
  }

  /** The name drawn at random is taken: only a copy of this process can have drawn it too. */
  async #taken(id: Ulid): Promise<Error> {
    await this.#o.manifests.refresh();
    return new FencedError('WRITER_FENCED', `${this.#o.store.name}: table ${id} was written by another writer.`, {
      details: { table: id },
    });
  }

  async #commitAll(): Promise<void> {
    const { state } = this.#o;
    let wait = TABLE_RETRY_FIRST_MS;
    try {
      while (this.#jobs.length > 0 && !this.#stopped.signal.aborted) {
        const job = this.#jobs[0];
        const view = await job.upload;
        try {
          await this.#commit(job, view);
        } catch (error) {
          if (this.#stopped.signal.aborted || isFinal(error)) throw error;
          this.#trouble = error;
          state.logger.warn('a manifest could not be written; it will be tried again', { error: String(error) });
          await sleep(state.clock, wait, this.#stopped.signal);
          wait = Math.min(wait * 2, TABLE_RETRY_MAX_MS);
          continue;
        }
        wait = TABLE_RETRY_FIRST_MS;
        this.#jobs.shift();
        this.#count(job, view);
        this.#done(job.frozen);
        this.advance();
      }
    } catch (error) {
      if (!this.#stopped.signal.aborted) state.fail(error);
    } finally {
      this.#committing = false;
      if (!this.#stopped.signal.aborted) this.advance();
    }
  }

  #count({ startMs }: Job, view: TableView | undefined): void {
    const { counts, where } = this.#o.state;
    counts.memtablesFlushed++;
    if (view !== undefined) counts.tablesNamed++;
    const seconds = counts.secondsSince(startMs);
    counts.tableTimes.observe(seconds);
    if (FLUSH_CHANNEL.hasSubscribers)
      FLUSH_CHANNEL.publish({ store: where, to: 'table', id: view?.table.id, durationMs: seconds * 1000 });
  }

  async #commit(job: Job, view: TableView | undefined): Promise<void> {
    const { state, manifests, settings } = this.#o;
    await this.#o.prepareCommit();
    state.mustHold(this.#jobs[0] === job, 'tables are committed one by one, the oldest first (table-flusher 2)');
    const { table, lastWalId } = job.frozen;
    const isDurable = lastWalId !== undefined && table.lastSeq <= state.durableSeq;
    state.mustHold(isDurable || !settings.walEnabled, 'a table is named when its rows are durable in the log');
    if (!settings.walEnabled) state.sending(table.lastSeq);
    return manifests.commit((m) => {
      if (m.lastL0Seq >= table.lastSeq) return undefined;
      state.mustHold(state.frozen[0] === job.frozen, 'tables are named in the order of their memtables');
      return this.#o.correct(this.#withTable(m, job.frozen, view));
    });
  }

  #withTable(m: Manifest, frozen: FrozenMemtable, view: TableView | undefined): Manifest {
    const { state } = this.#o;
    const { table } = frozen;
    const newestWalId = this.#o.lastWalId();
    state.mustHold(
      newestWalId === undefined || (frozen.lastWalId ?? 0) <= newestWalId,
      'the replay point never passes what is durable',
    );
    return addFlushedRows(m, {
      views: view === undefined ? [] : [view],
      replayAfterWalId: frozen.lastWalId ?? 0,
      walIdLastSeen: newestWalId ?? 0,
      lastSeq: table.lastSeq,
      maxCreateTs: table.maxCreateTs,
      recentSnapshotMinSeq: this.#o.pins.oldestSeq(table.lastSeq),
      sequenceTracker: this.#tracker(m, frozen),
    });
  }

  #tracker(m: Manifest, frozen: FrozenMemtable): Uint8Array {
    this.#mayBeWide ||= this.#o.keepsWideTracker && isWideTracker(m.sequenceTracker);
    const nowMs = this.#o.state.clock.nowMs();
    return encodeTracker(appendToTracker(this.#trackerOf(m), frozen.trackerPairs, nowMs, this.#mayBeWide));
  }

  /** A damaged one is replaced by a new one: no row depends on it, and without it nothing could be flushed any more. */
  #trackerOf({ sequenceTracker }: Manifest): SequenceTracker {
    const none = { seqs: [], timesS: [] };
    if (sequenceTracker === undefined) return none;
    try {
      return decodeTracker(sequenceTracker);
    } catch (error) {
      if (!isCorruption(error)) throw error;
      this.#o.state.logger.warn('the sequence tracker is damaged; a new one is started', { error: error.message });
      return none;
    }
  }

  /** The manifest names the table; the memtable left the view in the moment in which that manifest was adopted. */
  #done(frozen: FrozenMemtable): void {
    const { state, manifests, settings } = this.#o;
    state.mustHold(
      !state.frozen.includes(frozen),
      'a memtable leaves the view once its table is named (table-flusher 5)',
    );
    if (!settings.walEnabled) state.madeDurable(frozen.table.lastSeq);
    this.#trouble = undefined;
    const mine = this.#waiters.filter((w) => w.table === frozen);
    this.#waiters = this.#waiters.filter((w) => w.table !== frozen);
    for (const w of mine) w.done.resolve();
    const l0 = manifests.current.manifest.l0.length;
    const why = l0 >= this.#warnedAt ? this.#o.whyNotMerged() : undefined;
    if (why !== undefined) {
      this.#warnedAt = l0 * 2;
      state.logger.warn(`there are ${l0} tables in level 0, and reads get slower with each: ${why}`);
    }
    state.spaceFreed();
    this.#o.onCommitted();
  }
}
