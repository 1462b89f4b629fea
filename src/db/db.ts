/** A database as users see it, its sublevels and its batches. */
import type { CompactionReport } from '../common/compactor-role.ts';
import type { Metrics } from '../common/metrics.ts';
import type { RepairReport } from '../recovery/repair-report.ts';
import type { RequestCountsByRole } from '../store/metered-store.ts';
import type { CorruptionReport } from './corruption-watch.ts';
import type { DeleteRangeOptions, DeleteRangeResult } from './delete-range.ts';
import type { WriteResult } from './durability-waiters.ts';
import type { AnyEncoding, EncodingsFor } from './encoding.ts';
import type { SizeEstimate } from './estimates.ts';
import type { Bytes, RangeOptions } from './keys.ts';
import type { Either, LevelOptions, Reads } from './reads.ts';
import type { Snapshot } from './snapshot.ts';
import type { UpkeepState } from './upkeep.ts';
import type { WriteBatch } from './write-batch.ts';
import type {
  BatchDeleteOptions,
  BatchPutOptions,
  CloseOptions,
  CompactOptions,
  DeleteOptions,
  FlushOptions,
  PutRowOptions,
  TouchOptions,
  TtlOptions,
  WriteOptions,
} from './write-options.ts';

/**
 * An open database, made by `open`: the one writer, which reads what it has written at once.
 *
 * Every method can be called at any time; after `close`, a takeover or a failure each rejects with the reason. An idle database
 * makes no request once its garbage is collected (option `gc`), and keeps no process alive. Keys have 1 to 65,535 bytes; keys and values given as strings are stored as UTF-8.
 *
 * `K` and `V` are what keys and values are given as: bytes or strings, unless `keyEncoding` and `valueEncoding` say otherwise.
 */
export interface Db<K = Bytes, V = Bytes> extends Reads<K, V> {
  /** Path of the database in its store. */
  readonly path: string;

  /** The store that the database is in. */
  readonly store: {
    /** For messages, e.g. `s3://bucket`; never holds credentials. */
    readonly name: string;
  };

  /**
   * Resolves when the database serves: at once, but with the option `walAutoRecovery` only after the log was replayed. With the
   * report if the log had to be repaired for that, else undefined. Rejects with the reason if it cannot serve.
   */
  ready(): Promise<RepairReport | undefined>;

  /**
   * Writes a value. Resolves with the sequence number when it is durable (default) or at once with `awaitDurable: false`;
   * either way it is visible to reads when the call returns. One PUT, shared with every write that comes in the meantime.
   *
   * Rejects with `InvalidArgumentError` (nothing happened), `UnavailableError` (`outcome` says whether it may still take
   * effect), `FencedError`, `ClosedError`, `AbortError`.
   *
   * With `ifAbsent` or `ifSeq` only if the key has no row, or the row with this sequence number; else it rejects with `ConflictError`
   * (`CONDITION_FAILED`), which has `key`, `expected` and `actual`, and nothing is written. It is decided in the step in which the write gets its
   * place in the order: of two such writes for one key one wins. A row that has expired counts as absent. Costs one `get` more; a conflict with
   * a row that is not yet durable is answered when that is. Where damage may hide the row it rejects with `CorruptionError`, and nothing
   * is written. A takeover is a `FencedError`, never a conflict. After `outcome: 'unknown'` read the key: your value, or `getWithMeta().seq` equal to
   * `error.details.seq`, means that it was written.
   */
  put(key: K, value: V, options?: PutRowOptions): Promise<WriteResult>;

  /**
   * Deletes a key, whether it exists or not, or with `ifSeq` only if it has the row with this sequence number; a time to live is refused
   * (`BAD_OPTION`). Like `put` in everything else.
   */
  delete(key: K, options?: DeleteOptions): Promise<WriteResult>;

  /** Adds a merge operand; `IncompatibleError` (`MERGE_OPERATOR_MISSING`) without the option `mergeOperator`. Like `put` in everything else. */
  merge(key: K, operand: V, options?: WriteOptions): Promise<WriteResult>;

  /**
   * Applies a batch whole or not at all, under one sequence number. The batch can be used again afterwards. Operations that were given no
   * time to live have that of the options, else the database's; merges of one key must all have the same, in whichever way.
   *
   * An empty batch changes nothing and waits for nothing, whatever `awaitDurable` says: it resolves with the sequence number of the newest
   * write, which need not be durable (`flush` waits for that). SlateDB refuses an empty batch.
   *
   * Conditions of its operations are decided together, about what is there before the batch: one that does not hold is a `ConflictError`, as
   * for `put`, and nothing of the batch is written.
   *
   * Its keys and values are bytes, stored as they are: `batch()` makes one in the encodings of the database.
   */
  write(batch: WriteBatch, options?: WriteOptions): Promise<WriteResult>;

  /**
   * Gives a row a new expiry: writes its value again, as it is in the step in which this write gets its place in the order, so that no other
   * write is lost. It gets a new sequence number and create time; merge operands become one value. Resolves with undefined if there is no row,
   * or it has expired.
   *
   * Durability and errors are those of `put`; `CorruptionError` where damage may hide the row or a newer one, `IncompatibleError`
   * (`MERGE_OPERATOR_MISSING`) for operands without the option `mergeOperator`: nothing is written then. Costs a `get` and a `put`.
   */
  touch(key: K, options: TouchOptions): Promise<WriteResult | undefined>;

  /**
   * A batch in the encodings of this database, whose operations may be of its sublevels. No request before it is written.
   *
   * ```ts
   * await db.batch().put('ada', user).put(['ada', 1843], '', { sublevel: byYear }).write();
   * ```
   */
  batch(): Batch<K, V>;

  /**
   * A part of the database with encodings of its own; by default those of this one. Its keys are stored after the byte FF, its name and a
   * byte 00: it sees its own rows only, and no other sublevel. The database sees them as rows, too, if its keys are bytes or of an encoding of
   * yours; with `utf8`, `json` and `tuple` it does not. No request, nothing is stored; the encodings of sublevels are not remembered.
   *
   * ```ts
   * const users = db.sublevel<string, User>('users', { keyEncoding: 'utf8', valueEncoding: 'json' });
   * await users.put('ada', { name: 'Ada' });
   * ```
   *
   * Throws `InvalidArgumentError`: a name has 1 to 200 characters, of which none is a slash or a control character, as those separate
   * names. A sublevel within a sublevel is made of that.
   */
  sublevel<KE extends AnyEncoding | undefined = undefined, VE extends AnyEncoding | undefined = undefined>(
    name: string,
    options?: LevelOptions<KE, VE>,
  ): Sublevel<Either<KE, K>, Either<VE, V>>;
  sublevel<K2, V2>(name: string, options: EncodingsFor<K2, V2>): Sublevel<K2, V2>;

  /**
   * Deletes the rows of a range: those that are there when it is called. A key that is written while it runs keeps its row as it
   * is then. Works in batches of `batchSize` keys, so memory is bounded whatever the range; each batch is applied whole, and reads see it at
   * once. Resolves when all of them are durable (default) or in memory with `awaitDurable: false`. Merge operands need no operator.
   *
   * Costs a scan of the keys, and for each batch rows of the log: one PUT for each 100 ms (`flushIntervalMs`) or each group of batches. The
   * tombstones are rows as those of `delete`, which SlateDB understands; compactions remove them.
   *
   * Rejects as `put` and `scan` do; `progress` of the error says what was deleted by then (once the handle has ended, what of it is durable),
   * and the same call again deletes the rest. At a damaged stretch with `CorruptionError`: what is before it is deleted, and a call with `gt: resumeAfter` goes
   * on after it. A range without bounds is refused (`BAD_ARGUMENT`): see `clear`.
   */
  deleteRange(range: RangeOptions<K>, options?: DeleteRangeOptions): Promise<DeleteRangeResult>;

  /** Deletes every row that is there when it is called; of a database whose keys are `utf8`, `json` or `tuple` not those of sublevels, which it does not show. Like `deleteRange` in everything else. */
  clear(options?: DeleteRangeOptions): Promise<DeleteRangeResult>;

  /**
   * Pins the present state for reads in this process, until it is closed: all its reads show the rows of this moment, and decide
   * by the clock of this moment, too, which of them have expired. No request; nothing that it can see is dropped by flushes.
   *
   * Throws `ClosedError` or `FencedError` once the handle has ended, and `UnavailableError` (`RECOVERING`) before it serves.
   */
  snapshot(): Snapshot<K, V>;

  /** Rows and bytes of a range according to metadata; every version counts. One GET for each table not yet read. */
  estimateSize(range?: RangeOptions<K>): Promise<SizeEstimate>;

  /**
   * Resolves when all writes so far are durable: in the log, or with `memtable` in tables that the manifest names. Rejects with `ClosedError`
   * (`outcome: 'unknown'`) if the database is closed in the meantime and level 0 has no room for the tables: the rows are durable in the log.
   */
  flush(options?: FlushOptions): Promise<void>;

  /**
   * Merges each tree into one run, what is in memory included: what was overwritten, was deleted or has expired is gone from it, as far as no
   * open snapshot sees it; the old tables are deleted by the collector. Resolves when the manifest names the result, to what was done. Reads
   * and writes go on. Everything is read and written once: GETs and PUTs of all tables, and three or four objects more.
   *
   * Rejects with `UnavailableError` (`COMPACTION_FAILED`, the cause inside; what was committed stays), with `AbortError`, and with
   * `InvalidArgumentError` (`BAD_ARGUMENT`) if the option `compactor` is `false`.
   */
  compact(options?: CompactOptions): Promise<CompactionReport>;

  /** The damage that reads of this handle have met, and what it did to them. No request. Throws `UnavailableError` (`RECOVERING`) before it serves. */
  corruptions(): CorruptionReport;

  /**
   * How the tables are stored, and what the roles beside reads and writes do: the compactor's jobs and what hinders it; the collector's last
   * round and next one, its last error, what it has deleted; and what both cost. No request. Throws `UnavailableError` (`RECOVERING`) before the database serves.
   */
  upkeep(): UpkeepState;

  /** Requests and bytes since the database was opened, in all and by role of the object. */
  requestCounts(): RequestCountsByRole;

  /**
   * All that is counted since the database was opened, and its present state: requests with their times, cache, memory, log, tables,
   * compaction, collection. Plain data by name; docs/metrics.md has each with its unit and labels. No request; it can be asked at any
   * time, also after the end, and before the database serves it has the requests alone.
   */
  metrics(): Metrics;

  /**
   * Makes everything durable, writes a last manifest and ends all work, within `closeTimeoutMs`. Idempotent: every call
   * settles with the first one. Rejects with `UnavailableError` (`DEADLINE`, `outcome: 'unknown'`) if time ran out; the
   * handle is closed all the same. An `AbortError` of its signal ends this wait only: the closing goes on.
   */
  close(options?: CloseOptions): Promise<void>;

  /** `close()`, at the end of an `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A part of a database, made by `Db.sublevel`: every call is about its own rows, and costs and fails as that of the database does. It needs
 * no closing. Two that are made with the same name are the same part.
 */
export interface Sublevel<K = Bytes, V = Bytes>
  extends Reads<K, V>,
    Pick<Db<K, V>, 'put' | 'delete' | 'merge' | 'touch' | 'deleteRange' | 'clear' | 'batch' | 'estimateSize'> {
  /** The names that lead to it, with a slash between. */
  readonly name: string;

  /** A part of this part, as `Db.sublevel`. */
  sublevel<KE extends AnyEncoding | undefined = undefined, VE extends AnyEncoding | undefined = undefined>(
    name: string,
    options?: LevelOptions<KE, VE>,
  ): Sublevel<Either<KE, K>, Either<VE, V>>;
  sublevel<K2, V2>(name: string, options: EncodingsFor<K2, V2>): Sublevel<K2, V2>;
}

/** Where an operation of a batch goes. */
export interface IntoSublevel<K, V> {
  /** A sublevel of the same database, whose encodings then hold. */
  sublevel: Sublevel<K, V>;
}

/**
 * Operations on a database and its sublevels that are applied whole or not at all. Keys and values are encoded when they are added. The
 * methods that add throw `InvalidArgumentError`, and have added nothing then.
 */
export interface Batch<K = Bytes, V = Bytes> {
  /** Number of operations added. */
  readonly length: number;
  /** Bytes of all keys and values, as they are stored. */
  readonly byteLength: number;

  /** Adds a value, with the options of `WriteBatch.put`. */
  put(key: K, value: V, options?: BatchPutOptions): this;
  put<K2, V2>(key: K2, value: V2, options: BatchPutOptions & IntoSublevel<K2, V2>): this;

  /** Deletes a key, with the options of `WriteBatch.delete`. */
  delete(key: K, options?: BatchDeleteOptions): this;
  delete<K2, V2>(key: K2, options: BatchDeleteOptions & IntoSublevel<K2, V2>): this;

  /** Adds a merge operand, encoded as values are; needs the database's merge operator when it is written. */
  merge(key: K, operand: V, options?: TtlOptions): this;
  merge<K2, V2>(key: K2, operand: V2, options: TtlOptions & IntoSublevel<K2, V2>): this;

  /** Forgets all operations. */
  clear(): this;

  /** Applies the batch under one sequence number. Like `Db.write` in everything else. */
  write(options?: WriteOptions): Promise<WriteResult>;
}
