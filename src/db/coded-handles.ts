/**
 * Handles whose keys and values are encoded: a database, a reader and a snapshot over the same in bytes.
 *
 * Made only where an encoding was asked for: without one the handle in bytes is what a program has.
 */
import type { CompactionReport } from '../common/compactor-role.ts';
import type { Metrics } from '../common/metrics.ts';
import type { RepairReport } from '../recovery/repair-report.ts';
import { TOOL_ACCESS, type ToolAccess, type ToolHandle } from '../recovery/tool-access.ts';
import type { RequestCountsByRole } from '../store/metered-store.ts';
import type { CorruptionReport } from './corruption-watch.ts';
import type { Db } from './db.ts';
import type { DbReader } from './db-reader.ts';
import type { WriteResult } from './durability-waiters.ts';
import { ReadLevel } from './read-level.ts';
import type { Reader } from './reader.ts';
import type { HandleOfDb } from './recovering-db.ts';
import type { RowCodec } from './row-codec.ts';
import type { Snapshot } from './snapshot.ts';
import type { UpkeepState } from './upkeep.ts';
import type { WriteBatch } from './write-batch.ts';
import { type ByteSnapshot, WriteLevel } from './write-level.ts';
import type { CloseOptions, CompactOptions, FlushOptions, RefreshOptions, WriteOptions } from './write-options.ts';

export class CodedDb<K, V> extends WriteLevel<K, V> implements Db<K, V>, ToolHandle {
  readonly #db: HandleOfDb;

  constructor(db: HandleOfDb, codec: RowCodec<K, V>) {
    super(db, codec, '');
    this.#db = db;
  }

  get path(): string {
    return this.#db.path;
  }

  get store(): Db['store'] {
    return this.#db.store;
  }

  ready(): Promise<RepairReport | undefined> {
    return this.#db.ready();
  }

  write(batch: WriteBatch, options?: WriteOptions): Promise<WriteResult> {
    return this.#db.write(batch, options);
  }

  snapshot(): Snapshot<K, V> {
    return new CodedSnapshot(this.#db.snapshot(), this.codec);
  }

  flush(options?: FlushOptions): Promise<void> {
    return this.#db.flush(options);
  }

  compact(options?: CompactOptions): Promise<CompactionReport> {
    return this.#db.compact(options);
  }

  corruptions(): CorruptionReport {
    return this.#db.corruptions();
  }

  [TOOL_ACCESS](): ToolAccess {
    return this.#db[TOOL_ACCESS]();
  }

  upkeep(): UpkeepState {
    return this.#db.upkeep();
  }

  metrics(): Metrics {
    return this.#db.metrics();
  }

  requestCounts(): RequestCountsByRole {
    return this.#db.requestCounts();
  }

  close(options?: CloseOptions): Promise<void> {
    return this.#db.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#db.close();
  }
}

export class CodedReader<K, V> extends ReadLevel<K, V> implements Reader<K, V> {
  readonly #reader: DbReader;

  constructor(reader: DbReader, codec: RowCodec<K, V>) {
    super(reader.raw, codec);
    this.#reader = reader;
  }

  get path(): string {
    return this.#reader.path;
  }

  get store(): Reader['store'] {
    return this.#reader.store;
  }

  refresh(options?: RefreshOptions): Promise<void> {
    return this.#reader.refresh(options);
  }

  corruptions(): CorruptionReport {
    return this.#reader.corruptions();
  }

  metrics(): Metrics {
    return this.#reader.metrics();
  }

  requestCounts(): RequestCountsByRole {
    return this.#reader.requestCounts();
  }

  close(options?: CloseOptions): Promise<void> {
    return this.#reader.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#reader.close();
  }
}

export class CodedSnapshot<K, V> extends ReadLevel<K, V> implements Snapshot<K, V> {
  readonly #snapshot: ByteSnapshot;

  constructor(snapshot: ByteSnapshot, codec: RowCodec<K, V>) {
    super(snapshot.raw, codec);
    this.#snapshot = snapshot;
  }

  get seq(): bigint {
    return this.#snapshot.seq;
  }

  close(): Promise<void> {
    return this.#snapshot.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#snapshot.close();
  }
}
