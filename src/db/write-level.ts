/**
 * Writing to a part of a database, or to all of it in its encodings, over the database in bytes.
 *
 * 1. A batch is of one database: what is added to it is encoded by the sublevel that is named, which must be of the same.
 */
import { InvalidArgumentError } from '../common/errors.ts';
import { checkedOptions, isPlainObject } from '../common/option-checks.ts';
import { CodedReads } from './coded-reads.ts';
import type { Batch, Db, Sublevel } from './db.ts';
import { coversAll, type DeleteRangeOptions, type DeleteRangeResult } from './delete-range.ts';
import type { WriteResult } from './durability-waiters.ts';
import type { EncodingOptions } from './encoding.ts';
import type { SizeEstimate } from './estimates.ts';
import type { RangeOptions } from './keys.ts';
import { levelCodec } from './level-codec.ts';
import { RANGE_CHECKS, type RawReads } from './read-path.ts';
import type { RowCodec } from './row-codec.ts';
import type { Snapshot } from './snapshot.ts';
import { WriteBatch } from './write-batch.ts';
import type {
  BatchDeleteOptions,
  BatchPutOptions,
  DeleteOptions,
  PutRowOptions,
  TouchOptions,
  TtlOptions,
  WriteOptions,
} from './write-options.ts';

/** A database in bytes, with its reads. */
export interface ByteDb extends Db {
  readonly raw: RawReads;
  snapshot(): ByteSnapshot;
}

/** A snapshot in bytes, with its reads. */
export interface ByteSnapshot extends Snapshot {
  readonly raw: RawReads;
}

export class WriteLevel<K, V> extends CodedReads<K, V> implements Sublevel<K, V> {
  readonly name: string;
  /** The whole database. */
  protected readonly db: ByteDb;

  constructor(db: ByteDb, codec: RowCodec<K, V>, name: string) {
    super(db.raw, codec);
    this.db = db;
    this.name = name;
  }

  readonly sublevel: Sublevel<K, V>['sublevel'] = (name: string, options?: EncodingOptions) =>
    writeLevel(this.db, this.codec, this.name, name, options);

  put(key: K, value: V, options?: PutRowOptions): Promise<WriteResult> {
    try {
      return this.db.put(this.codec.key(key), this.codec.value(value, key), options);
    } catch (error) {
      return this.raw.turns.refuse(error);
    }
  }

  delete(key: K, options?: DeleteOptions): Promise<WriteResult> {
    try {
      return this.db.delete(this.codec.key(key), options);
    } catch (error) {
      return this.raw.turns.refuse(error);
    }
  }

  merge(key: K, operand: V, options?: WriteOptions): Promise<WriteResult> {
    try {
      return this.db.merge(this.codec.key(key), this.codec.value(operand, key), options);
    } catch (error) {
      return this.raw.turns.refuse(error);
    }
  }

  touch(key: K, options: TouchOptions): Promise<WriteResult | undefined> {
    try {
      return this.db.touch(this.codec.key(key), options);
    } catch (error) {
      return this.raw.turns.refuse(error);
    }
  }

  batch(): Batch<K, V> {
    return new CodedBatch(this.db, this.codec);
  }

  deleteRange(range: RangeOptions<K>, options?: DeleteRangeOptions): Promise<DeleteRangeResult> {
    try {
      const checked = checkedOptions<RangeOptions<unknown>>('deleteRange', range, RANGE_CHECKS) as RangeOptions<K>;
      // Without a bound it is a mistake, which the database refuses: that of the sublevel itself is none.
      const bounds = this.codec.range(checked);
      return this.db.deleteRange(coversAll(bounds, this.codec.range({})) ? {} : bounds, options);
    } catch (error) {
      return this.raw.turns.refuse(error);
    }
  }

  clear(options?: DeleteRangeOptions): Promise<DeleteRangeResult> {
    const all = this.codec.range({});
    return Object.keys(all).length === 0 ? this.db.clear(options) : this.db.deleteRange(all, options);
  }

  estimateSize(range?: RangeOptions<K>): Promise<SizeEstimate> {
    try {
      const checked = checkedOptions<RangeOptions<unknown>>('estimateSize', range, RANGE_CHECKS) as RangeOptions<K>;
      return this.db.estimateSize(this.codec.range(checked));
    } catch (error) {
      return this.raw.turns.refuse(error);
    }
  }

  /** The codec of a sublevel of this database, whatever its prototype; undefined for anything else. */
  static codecOf(level: unknown, db: ByteDb): RowCodec<unknown, unknown> | undefined {
    if (!(level instanceof WriteLevel)) return undefined;
    const { db: own, codec } = level as WriteLevel<unknown, unknown>;
    return own === db ? codec : undefined;
  }
}

/** What a sublevel has is said by its options, which the types of the call follow. */
export function writeLevel<K, V>(
  db: ByteDb,
  codec: RowCodec<K, V>,
  within: string,
  name: string,
  options: EncodingOptions | undefined,
): never {
  const own = levelCodec(codec, name, options);
  return new WriteLevel(db, own, within === '' ? name : `${within}/${name}`) as never;
}

type Within<O> = O & { sublevel?: unknown };

export class CodedBatch<K, V> implements Batch<K, V> {
  readonly #db: ByteDb;
  readonly #codec: RowCodec<K, V>;
  readonly #batch = new WriteBatch();

  constructor(db: ByteDb, codec: RowCodec<K, V>) {
    this.#db = db;
    this.#codec = codec;
  }

  get length(): number {
    return this.#batch.length;
  }

  get byteLength(): number {
    return this.#batch.byteLength;
  }

  put(key: unknown, value: unknown, options?: Within<BatchPutOptions>): this {
    const { codec, others } = this.#place('put', options);
    this.#batch.put(codec.key(key), codec.value(value, key), others);
    return this;
  }

  delete(key: unknown, options?: Within<BatchDeleteOptions>): this {
    const { codec, others } = this.#place('delete', options);
    this.#batch.delete(codec.key(key), others);
    return this;
  }

  merge(key: unknown, operand: unknown, options?: Within<TtlOptions>): this {
    const { codec, others } = this.#place('merge', options);
    this.#batch.merge(codec.key(key), codec.value(operand, key), others);
    return this;
  }

  clear(): this {
    this.#batch.clear();
    return this;
  }

  write(options?: WriteOptions): Promise<WriteResult> {
    return this.#db.write(this.#batch, options);
  }

  /** Where an operation goes, and the options that are the batch's own. */
  #place<O extends object>(call: string, options: Within<O> | undefined) {
    const codec = this.#codec as RowCodec<unknown, unknown>;
    if (!isPlainObject(options)) return { codec, others: options };
    const { sublevel, ...others } = options;
    if (sublevel === undefined) return { codec, others: options };
    const of = WriteLevel.codecOf(sublevel, this.#db);
    if (of !== undefined) return { codec: of, others: others as never };
    throw new InvalidArgumentError('BAD_ARGUMENT', `${call}: sublevel must be a sublevel of the same database.`);
  }
}
