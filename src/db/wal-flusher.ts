/**
 * Makes rows durable: groups of rows become WAL objects, strictly one PUT at a time, ids contiguous.
 *
 * A durable write starts a PUT as soon as none is under way; writes that come in the meantime share the next one (group commit).
 * Rows that no call waits for go along, or leave after `flushIntervalMs`. A group never spans two memtables and never divides a
 * batch, so the id of a memtable's last group is exactly the point up to which its table replaces the log.
 *
 * 1. A WAL id is bound to its bytes from the first byte sent until it is known what became of it: one object is bound at a time, and
 *    only that one is settled.
 * 2. Ids are contiguous: an object has the id after the newest one that is known to be durable.
 * 3. Groups leave in the order of their numbers, so nothing is acknowledged before everything older is durable.
 * 4. A group ends with the last row of a batch, and in the memtable in which it begins.
 * 5. Nothing is acknowledged without a confirmation of the epoch that is recent enough (epoch-guard.ts). Not asserted: time passes
 *    between two reads of a clock.
 * 6. A slot that another's object holds means fenced.
 */

import { type Deferred, deferred, ignoreRejection } from '../common/async.ts';
import { FLUSH_CHANNEL } from '../common/channels.ts';
import { sleep, type Timer } from '../common/clock.ts';
import { FencedError, isDbError } from '../common/errors.ts';
import { walPath } from '../format/object-names.ts';
import type { Author } from '../lsm/manifest/author.ts';
import type { EpochGuard, Stamp } from '../lsm/manifest/epoch-guard.ts';
import type { ManifestLog } from '../lsm/manifest/manifest-log.ts';
import type { TailWitness } from '../lsm/manifest/manifest-store.ts';
import { FIRST_ROW, type Memtable, type RowPosition } from '../lsm/memtable/memtable.ts';
import type { WalDigest } from '../lsm/wal/wal-object.ts';
import { readWalObject } from '../lsm/wal/wal-object.ts';
import { type EncodedWalObject, encodeWalObject, ROW_OVERHEAD_BYTES, type WalFormat } from '../lsm/wal/wal-writer.ts';
import type { ObjectStore, PutOutcome } from '../store/object-store.ts';
import type { WriterSettings } from './open-options.ts';
import { WAL_OBJECT_PART } from './options.ts';
import { isFinal, unsettledWrite, type WriteState } from './write-state.ts';

/**
 * Rows beyond this many bytes, or a part of the budget, wait for the next object; a larger batch is not divided. More would
 * stall the event loop. From as many bytes of waiting rows on a PUT starts although no call waits for them.
 */
const MAX_GROUP_BYTES = 4 * 1024 * 1024;
/**
 * Memory of an object that was stored is used for the next one, if this part of it was needed: new memory of some MiB for each
 * object makes the garbage collector run three times as often. One is idle at most.
 */
const MIN_NEEDED_PART = 1 / 4;
const WAL_RETRY_FIRST_MS = 200;
/** Each retry lasts as long as a call to the store may take; the waits between them only bound what fails at once. */
const WAL_RETRY_MAX_MS = 1000;

interface Group {
  table: Memtable;
  from: number;
  to: number;
  lastSeq: number;
  /** Estimated size of the object. */
  bytes: number;
}

interface Slot {
  id: number;
  group: Group;
  encoded: EncodedWalObject;
  /**
   * Before it was first sent. From then on it may be in the slot and be collected again, so that a later PUT of it finds the
   * slot free although another writer's fence is stored after it.
   */
  sentAt: Stamp;
  /** A PUT of it had no answer. */
  inDoubt: boolean;
  /** When its rows were taken, by the monotonic clock. */
  readonly takenMs: number;
}

export interface WalFlusherOptions {
  state: WriteState;
  /** Sees the root of the database in the store that holds the WAL. */
  store: ObjectStore;
  author: Author;
  guard: EpochGuard;
  manifests: ManifestLog;
  settings: Pick<WriterSettings, 'flushIntervalMs' | 'memoryBytes' | 'minWalPutIntervalMs'>;
  format: WalFormat;
  /** Id and digest of the fence of this opening. */
  fence: { id: number; digest: WalDigest; lastSeq: number };
  /** A frozen memtable is durable to its last row. */
  onTableDurable(): void;
  /** One more object of the log is known to be durable; no other is bound to its id yet, so the memtable may be frozen. */
  onObjectDurable(): void;
}

export class WalFlusher {
  readonly #o: WalFlusherOptions;
  #nextId: number;
  #predecessor: WalDigest;
  #tail: TailWitness;
  readonly #groupBytes: number;
  /** First entry of `#table` that no group has taken. */
  #table: Memtable;
  #entry = FIRST_ROW;
  #running = false;
  #timer: Timer | undefined;
  #timerFired = false;
  #flushWaiters: { seq: number; done: Deferred<void> }[] = [];
  #lastStartMs = Number.NEGATIVE_INFINITY;
  #bound: Slot | undefined;
  #spare: Uint8Array | undefined;
  #retryMs = WAL_RETRY_FIRST_MS;
  readonly #stopped = new AbortController();

  constructor(options: WalFlusherOptions) {
    this.#o = options;
    this.#nextId = options.fence.id + 1;
    this.#predecessor = options.fence.digest;
    this.#tail = { id: options.fence.id, lastSeq: options.fence.lastSeq, digest: options.fence.digest.bytes };
    this.#table = options.state.active;
    this.#groupBytes = Math.min(MAX_GROUP_BYTES, options.settings.memoryBytes * WAL_OBJECT_PART);
    options.state.mustHold(options.fence.id > 0, 'the log begins with our fence (wal-flusher 2)');
    options.state.onEnd(() => {
      this.#stopped.abort();
      this.#timer?.cancel();
      this.#failFlushWaiters();
    });
  }

  /** Newest WAL object known to be durable. */
  get witness(): TailWitness {
    return this.#tail;
  }

  get lastDurableId(): number {
    return this.#tail.id;
  }

  /** Starts over at the active memtable: everything before it is in the log already. */
  startAt(table: Memtable, entry: RowPosition): void {
    this.#o.state.mustHold(
      this.#bound === undefined && entry.row <= table.rowCount,
      'the log starts over between two objects (wal-flusher 1)',
    );
    this.#table = table;
    this.#entry = entry;
  }

  /** Rows were added. `awaited`: a call waits for them. */
  rowsAdded(awaited: boolean): void {
    if (awaited) this.#start();
    else if (this.#timer === undefined && !this.#running) this.#armTimer();
    else if (!this.#running && this.#pendingBytes() >= this.#groupBytes) this.#start();
  }

  /** Resolves when everything written so far is durable. */
  flush(): Promise<void> {
    const { state } = this.#o;
    if (state.durableSeq >= state.lastSeq && this.#bound === undefined) return Promise.resolve();
    const done = deferred<void>();
    this.#flushWaiters.push({ seq: state.lastSeq, done });
    this.#start();
    return done.promise;
  }

  #armTimer(): void {
    const { state, settings } = this.#o;
    this.#timer = state.clock.setTimer(settings.flushIntervalMs, () => {
      this.#timer = undefined;
      this.#timerFired = true;
      this.#start();
    });
  }

  /** Bytes of rows that no object of the log has taken yet, estimated, and of the object that is on its way. */
  get unwrittenBytes(): number {
    const { active, frozen } = this.#o.state;
    const tables = [...frozen.map(({ table }) => table), active];
    const ahead = tables.slice(tables.indexOf(this.#table) + 1);
    const { rowCount, dataBytes } = this.#table;
    const own = rowCount === 0 ? 0 : (dataBytes / rowCount) * (rowCount - this.#entry.row);
    const waiting = ahead.reduce((sum, table) => sum + table.dataBytes, own);
    return Math.round(waiting + (this.#bound?.encoded.bytes.length ?? 0));
  }

  #pendingBytes(): number {
    const { active } = this.#o.state;
    if (this.#table !== active) return this.#groupBytes;
    const rows = active.rowCount - this.#entry.row;
    return rows === 0 ? 0 : (active.dataBytes / active.rowCount) * rows;
  }

  #start(): void {
    if (this.#running || this.#stopped.signal.aborted) return;
    this.#running = true;
    // Not at once: writes of the same turn share the group.
    ignoreRejection(Promise.resolve().then(() => this.#run()));
  }

  async #run(): Promise<void> {
    try {
      while (!this.#stopped.signal.aborted && (this.#bound !== undefined || this.#isWanted())) {
        await this.#keepInterval();
        await this.#flushGroup();
      }
    } catch (error) {
      this.#o.state.fail(error);
    } finally {
      this.#running = false;
      if (!this.#stopped.signal.aborted && this.#hasRows()) {
        if (this.#isWanted()) this.#start();
        else if (this.#timer === undefined) this.#armTimer();
      }
    }
  }

  #hasRows(): boolean {
    return this.#table !== this.#o.state.active || this.#entry.row < this.#table.rowCount;
  }

  #isWanted(): boolean {
    if (!this.#hasRows()) return false;
    const { state } = this.#o;
    return (
      this.#timerFired ||
      !state.waiters.isEmpty ||
      this.#flushWaiters.length > 0 ||
      this.#table !== state.active ||
      this.#pendingBytes() >= this.#groupBytes
    );
  }

  /** Holds back until the least time between two PUTs has passed. */
  async #keepInterval(): Promise<void> {
    const { clock } = this.#o.state;
    const { minWalPutIntervalMs } = this.#o.settings;
    const wait = this.#lastStartMs + minWalPutIntervalMs - clock.monotonicMs();
    if (minWalPutIntervalMs > 0 && wait > 0) await sleep(clock, wait, this.#stopped.signal).catch(() => undefined);
    this.#lastStartMs = clock.monotonicMs();
  }

  async #flushGroup(): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    let slot = this.#bound;
    if (slot === undefined) {
      const group = this.#takeGroup();
      if (group === undefined) return;
      const { state, guard } = this.#o;
      const takenMs = state.counts.nowMs;
      state.hold(group.bytes);
      const encoded = await this.#encode(group);
      slot = { id: this.#nextId, group, encoded, sentAt: guard.stamp(), inDoubt: false, takenMs };
      state.mustHold(this.#bound === undefined, 'one object of the log is bound to its id at a time');
      this.#bound = slot;
      state.hold(encoded.bytes.length);
      state.letGo(group.bytes);
      if (this.#stopped.signal.aborted) return;
    }
    if (await this.#put(slot)) await this.#settled(slot);
  }

  /** The next rows, whole batches up to the size of a group; passes on to the next memtable. */
  #takeGroup(): Group | undefined {
    const { state } = this.#o;
    while (this.#entry.row === this.#table.rowCount && this.#table !== state.active) this.#nextTable();
    const table = this.#table;
    const from = this.#entry;
    if (from.row === table.rowCount) return undefined;
    const { to, bytes } = table.groupFrom(from, this.#groupBytes, ROW_OVERHEAD_BYTES);
    const lastSeq = table.seqOf(to.row - 1);
    const isWhole = to.row === table.rowCount || table.seqOf(to.row) > lastSeq;
    state.mustHold(to.row > from.row && isWhole, 'a group of the log has rows, and ends with the last one of a batch');
    state.mustHold(table.seqOf(from.row) > this.#tail.lastSeq, 'no row is sent to the log again once it is durable');
    this.#entry = to;
    if (to.row === state.active.rowCount && table === state.active) {
      this.#timerFired = false;
      this.#timer?.cancel();
      this.#timer = undefined;
    }
    return { table, from: from.row, to: to.row, lastSeq, bytes };
  }

  #nextTable(): void {
    const { state } = this.#o;
    const at = state.frozen.findIndex((f) => f.table === this.#table);
    this.#table = state.frozen[at + 1]?.table ?? state.active;
    this.#entry = FIRST_ROW;
  }

  #encode(group: Group): Promise<EncodedWalObject> {
    const { manifests, format, author } = this.#o;
    const facts = {
      id: this.#nextId,
      epoch: manifests.epoch,
      newestManifestId: manifests.current.id,
      predecessor: this.#predecessor,
    };
    const memory = this.#spare;
    this.#spare = undefined;
    return encodeWalObject(group, facts, format, author, memory);
  }

  /** The bytes are stored, and no attempt is left that may still send them. */
  #keepMemory({ encoded: { bytes } }: Slot): void {
    // A store that never passed the contract suite may keep the array itself.
    if (this.#o.store.conformance !== 'known') return;
    const memory = new Uint8Array(bytes.buffer);
    if (bytes.length >= memory.length * MIN_NEEDED_PART) this.#spare = memory;
  }

  /** Puts the bound object; true once it is there and may be acknowledged. */
  async #put(slot: Slot): Promise<boolean> {
    const { state, store, guard, manifests } = this.#o;
    state.mustHold(
      this.#bound === slot && slot.id === this.#tail.id + 1,
      'only the bound object is sent, next to the last durable one (wal-flusher 2)',
    );
    state.sending(slot.group.lastSeq);
    const listing = guard.isValid() ? undefined : manifests.refresh();
    if (listing !== undefined) ignoreRejection(listing);
    let answer: PutOutcome;
    try {
      answer = await store.put(walPath(slot.id), slot.encoded.bytes, {
        condition: 'if-absent',
        putId: slot.encoded.putId,
        resumed: slot.inDoubt,
        proveRefusal: true,
        signal: this.#stopped.signal,
      });
    } catch (error) {
      await this.#postpone(error, slot);
      return false;
    }
    if (answer.outcome === 'refused') throw await this.#fenced(slot, answer.afterUnknown ?? false);
    // Perhaps the whole database was: the manifest has to be seen before this is acknowledged.
    if (answer.outcome === 'applied' && answer.placeWasGone === true) guard.doubt();
    if (answer.outcome === 'unknown') {
      slot.inDoubt = true;
      await this.#postpone(answer.cause, slot);
      return false;
    }
    if (listing !== undefined) await this.#confirmed(listing, slot);
    while (!guard.isValid()) await this.#confirmed(manifests.refresh(), slot);
    if (answer.attempt === 'now') guard.confirm(slot.sentAt);
    if (answer.afterUnknown !== true) this.#keepMemory(slot);
    return true;
  }

  /** Waits for a LIST that confirms the epoch. The object is stored; it is only not acknowledged before. */
  async #confirmed(listing: Promise<void>, slot: Slot): Promise<void> {
    try {
      await listing;
    } catch (error) {
      if (this.#stopped.signal.aborted || isFinal(error)) throw error;
      await this.#postpone(error, slot);
    }
  }

  /** Reports to the calls that wait for this object that the store fails, and waits before the same object is put again. */
  async #postpone(cause: unknown, slot: Slot): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    const { state } = this.#o;
    state.logger.warn('a WAL object could not be written; it will be tried again', { error: String(cause) });
    // A later call has its own deadline, before which the store may be back. Only what does not pass by itself
    // (for example no right to write) is reported to all, because later writes depend on this object.
    const isLasting = isDbError(cause) && cause.details['transient'] === false;
    const upTo = isLasting ? Number.POSITIVE_INFINITY : slot.group.lastSeq;
    state.waiters.fail(upTo, (seq) => unsettledWrite(cause, seq));
    this.#failFlushWaiters(unsettledWrite(cause, Math.min(upTo, state.lastSeq)), upTo);
    await sleep(state.clock, this.#retryMs, this.#stopped.signal).catch(() => undefined);
    this.#retryMs = Math.min(this.#retryMs * 2, WAL_RETRY_MAX_MS);
  }

  async #settled(slot: Slot): Promise<void> {
    const { state } = this.#o;
    const { id, lastSeq } = this.#tail;
    if (this.#bound !== slot || slot.id !== id + 1 || slot.group.lastSeq <= lastSeq) {
      state.broken('objects of the log are settled one by one, in the order of ids and rows', {
        id: slot.id,
        seq: slot.group.lastSeq,
        after: id,
        afterSeq: lastSeq,
      });
    }
    this.#bound = undefined;
    this.#retryMs = WAL_RETRY_FIRST_MS;
    this.#nextId = slot.id + 1;
    this.#predecessor = slot.encoded.digest;
    this.#tail = { id: slot.id, lastSeq: slot.group.lastSeq, digest: slot.encoded.digest.bytes };
    state.letGo(slot.encoded.bytes.length);
    const { counts } = state;
    counts.walObjects++;
    counts.walBytes += slot.encoded.bytes.length;
    const seconds = counts.secondsSince(slot.takenMs);
    counts.walTimes.observe(seconds);
    if (FLUSH_CHANNEL.hasSubscribers)
      FLUSH_CHANNEL.publish({ store: state.where, to: 'log', id: slot.id, durationMs: seconds * 1000 });
    state.madeDurable(slot.group.lastSeq);
    while (this.#flushWaiters.length > 0 && this.#flushWaiters[0].seq <= state.durableSeq) {
      this.#flushWaiters.shift()?.done.resolve();
    }
    const frozen = state.frozen.find((f) => f.table === slot.group.table);
    if (frozen !== undefined && slot.group.to === slot.group.table.rowCount) state.tableDurable(frozen, slot.id);
    if (frozen?.lastWalId !== undefined) this.#o.onTableDurable();
    state.spaceFreed();
    this.#o.onObjectDurable();
  }

  #failFlushWaiters(error = this.#o.state.ended, upTo = Number.POSITIVE_INFINITY): void {
    const waiters = this.#flushWaiters.filter((w) => w.seq <= upTo);
    this.#flushWaiters = this.#flushWaiters.filter((w) => w.seq > upTo);
    for (const w of waiters) w.done.reject(error);
  }

  /** Our slot holds another's object: who is it? */
  async #fenced(slot: Slot, afterUnknown: boolean): Promise<FencedError> {
    const { state, store, manifests } = this.#o;
    if (!afterUnknown) state.refused();
    try {
      await manifests.refresh();
    } catch (error) {
      if (error instanceof FencedError) return this.#withOwner(error, slot);
      // That the slot is taken is enough; only the details stay unknown.
      state.logger.warn('the manifests could not be read after a takeover', { error: String(error) });
    }
    const owner = await this.#ownerOf(slot.id);
    return new FencedError(
      'WRITER_FENCED',
      `${store.name}: WAL id ${slot.id} was taken by ${owner ?? 'another writer'}, although no manifest shows a newer epoch. Stop, or open again to take the database back.`,
      { details: { owner, walId: slot.id } },
    );
  }

  async #withOwner(error: FencedError, slot: Slot): Promise<FencedError> {
    if (error.owner !== undefined) return error;
    const owner = await this.#ownerOf(slot.id);
    if (owner === undefined) return error;
    return new FencedError(error.code, error.message.replace('Another writer', `Another writer (${owner})`), {
      details: { ...error.details, owner },
      cause: error,
    });
  }

  /** The name in the fence that took our slot; undefined if it has none or cannot be read. */
  async #ownerOf(id: number): Promise<string | undefined> {
    try {
      const got = await this.#o.store.get(walPath(id));
      return got === undefined ? undefined : (await readWalObject(id, got.bytes)).seal?.owner?.hostPid;
    } catch {
      // Only the name is missing from the message; the fencing itself is certain.
      return undefined;
    }
  }
}
