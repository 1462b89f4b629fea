/**
 * Reads of keys and values that are encoded, or that are those of a sublevel, over the reads of a handle in bytes.
 *
 * 1. What goes wrong in an encoding is the failure of that call; a scan shows it at the first row asked for, or at the row.
 */
import { UTF8_ENCODER } from '../common/bytes.ts';
import { InvalidArgumentError } from '../common/errors.ts';
import { checkedOptions, readingArgument } from '../common/option-checks.ts';
import type { ScanRow } from '../lsm/read/scan-row.ts';
import { FoundWithMeta } from './found-with-meta.ts';
import type { Bytes, Decoded } from './keys.ts';
import { RangeReads } from './range-reads.ts';
import { type RawReads, SCAN_CHECKS } from './read-path.ts';
import type { Reads, ScanOptions, ValueWithMeta } from './reads.ts';
import type { RowCodec } from './row-codec.ts';
import type { ConvertRow } from './scan.ts';
import type { ScanIterator } from './scan-iterator.ts';
import type { Turns } from './turns.ts';
import type { ReadOptions } from './write-options.ts';

export class CodedReads<K, V> extends RangeReads<K, V> implements Omit<Reads<K, V>, 'sublevel'> {
  readonly raw: RawReads;
  readonly codec: RowCodec<K, V>;

  constructor(raw: RawReads, codec: RowCodec<K, V>) {
    super(raw.turns);
    this.raw = raw;
    this.codec = codec;
  }

  get(key: K, options?: ReadOptions): Promise<Decoded<V> | undefined> {
    try {
      return this.raw.get(this.codec.key(key), options, this.codec.valueOf);
    } catch (error) {
      return this.raw.turns.refuse(error);
    }
  }

  getMany(keys: readonly K[], options?: ReadOptions): Promise<(Decoded<V> | undefined)[]> {
    try {
      const wanted = readingArgument('getMany', () => this.#keys(keys));
      return this.raw.getMany(wanted, options, this.codec.valueOf);
    } catch (error) {
      return this.raw.turns.refuse(error);
    }
  }

  /** One by one: an array may be sparse, and longer than memory. */
  #keys(keys: readonly K[]): Bytes[] {
    if (!Array.isArray(keys)) throw new InvalidArgumentError('BAD_ARGUMENT', 'getMany needs an array of keys.');
    const wanted: Bytes[] = [];
    for (let i = 0; i < keys.length; i++) wanted.push(this.codec.key(keys[i] as K));
    return wanted;
  }

  has(key: K, options?: ReadOptions): Promise<boolean> {
    try {
      return this.raw.has(this.codec.key(key), options);
    } catch (error) {
      return this.raw.turns.refuse(error);
    }
  }

  getWithMeta(key: K, options?: ReadOptions): Promise<ValueWithMeta<Decoded<V>> | undefined> {
    try {
      const bytes = this.codec.key(key);
      const shown = typeof bytes === 'string' ? UTF8_ENCODER.encode(bytes) : bytes;
      const found = this.raw.getWithMeta(bytes, options);
      return found.then((f) => f && new FoundWithMeta(this.codec.valueOf(f.value, shown), f));
    } catch (error) {
      return this.raw.turns.refuse(error);
    }
  }

  scan(options?: ScanOptions<K>): ScanIterator<K, ScanRow<Decoded<K>, Decoded<V>>> {
    return this.scanAs(options, this.codec.row, false);
  }

  keys(options?: ScanOptions<K>): ScanIterator<K, Decoded<K>> {
    return this.scanAs(options, ({ key }) => this.codec.keyOf(key), true);
  }

  values(options?: ScanOptions<K>): ScanIterator<K, Decoded<V>> {
    return this.scanAs(options, ({ key, value }) => this.codec.valueOf(value, key), false);
  }

  protected override scanAs<T>(
    options: ScanOptions<K> | undefined,
    convert: ConvertRow<T>,
    keysOnly: boolean,
  ): ScanIterator<K, T> {
    return new CodedScan(this.#scan(options, convert, keysOnly), this.codec, this.raw.turns);
  }

  #scan<T>(options: ScanOptions<K> | undefined, convert: ConvertRow<T>, keysOnly: boolean): ScanIterator<Bytes, T> {
    try {
      const checked = checkedOptions<ScanOptions<unknown>>('scan', options, SCAN_CHECKS) as ScanOptions<K>;
      return this.raw.scan(this.codec.scan(checked), convert, keysOnly);
    } catch (error) {
      return this.raw.failedScan(error);
    }
  }
}

/** A scan that seeks keys of its encoding. */
class CodedScan<K, T> implements ScanIterator<K, T> {
  readonly #scan: ScanIterator<Bytes, T>;
  readonly #codec: { key(key: K): Bytes };
  readonly #turns: Turns;

  constructor(scan: ScanIterator<Bytes, T>, codec: { key(key: K): Bytes }, turns: Turns) {
    this.#scan = scan;
    this.#codec = codec;
    this.#turns = turns;
  }

  get findings(): ScanIterator['findings'] {
    return this.#scan.findings;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return this.#scan.next();
  }

  nextBatch(count: number): Promise<T[]> {
    return this.#scan.nextBatch(count);
  }

  toArray(): Promise<T[]> {
    return this.#scan.toArray();
  }

  resume(how: 'include'): Promise<void> {
    return this.#scan.resume(how);
  }

  seek(key: K): Promise<void> {
    try {
      return this.#scan.seek(this.#codec.key(key));
    } catch (error) {
      return this.#turns.refuse(error);
    }
  }

  close(): Promise<void> {
    return this.#scan.close();
  }

  return(): Promise<IteratorResult<T, undefined>> {
    return this.#scan.return();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#scan.close();
  }
}
