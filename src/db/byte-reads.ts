/** Reads of keys and values that are bytes: what each handle has by itself. No call but that of `ReadPath` is between a caller and the rows. */
import type { ScanRow } from '../lsm/read/scan-row.ts';
import type { EncodingOptions } from './encoding.ts';
import type { Bytes } from './keys.ts';
import { RangeReads } from './range-reads.ts';
import { readLevel } from './read-level.ts';
import type { RawReads } from './read-path.ts';
import type { Reads, ScanOptions, ValueWithMeta } from './reads.ts';
import { BYTES_CODEC } from './row-codec.ts';
import type { ConvertRow } from './scan.ts';
import type { ScanIterator } from './scan-iterator.ts';
import type { ReadOptions } from './write-options.ts';

/** Reads of bytes. */
export class ByteReads extends RangeReads<Bytes, Bytes> implements Reads {
  /** For what reads the same rows in another form. */
  readonly raw: RawReads;

  constructor(raw: RawReads) {
    super(raw.turns);
    this.raw = raw;
  }

  get(key: Bytes, options?: ReadOptions): ReturnType<Reads['get']> {
    return this.raw.get(key, options);
  }

  getMany(keys: readonly Bytes[], options?: ReadOptions): ReturnType<Reads['getMany']> {
    return this.raw.getMany(keys, options);
  }

  has(key: Bytes, options?: ReadOptions): Promise<boolean> {
    return this.raw.has(key, options);
  }

  getWithMeta(key: Bytes, options?: ReadOptions): Promise<ValueWithMeta | undefined> {
    return this.raw.getWithMeta(key, options);
  }

  scan(options?: ScanOptions): ScanIterator {
    return this.raw.scan(options);
  }

  keys(options?: ScanOptions): ReturnType<Reads['keys']> {
    return this.scanAs(options, keyOfRow, true);
  }

  values(options?: ScanOptions): ReturnType<Reads['values']> {
    return this.scanAs(options, valueOfRow, false);
  }

  readonly sublevel: Reads['sublevel'] = (name: string, options?: EncodingOptions) =>
    readLevel(this.raw, BYTES_CODEC, name, options);

  protected override scanAs<T>(
    options: ScanOptions | undefined,
    convert: ConvertRow<T>,
    keysOnly: boolean,
  ): ScanIterator<Bytes, T> {
    return this.raw.scan(options, convert, keysOnly);
  }
}

const keyOfRow = ({ key }: ScanRow) => key;
const valueOfRow = ({ value }: ScanRow) => value;
