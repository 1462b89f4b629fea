/**
 * Reads of a handle whose database does not serve yet: they wait with all other calls of the handle, in order.
 *
 * 1. A scan that waits takes its view when the database serves; what its caller could change in the meantime was copied.
 */
import { ignoreRejection } from '../common/async.ts';
import type { ScanRow } from '../lsm/read/scan-row.ts';
import type { Bytes } from './keys.ts';
import type { ConvertValue, RawReads } from './read-path.ts';
import type { ScanOptions, ValueWithMeta } from './reads.ts';
import type { ConvertRow } from './scan.ts';
import type { ScanIterator } from './scan-iterator.ts';
import type { Turns } from './turns.ts';
import type { ReadOptions } from './write-options.ts';

/** How calls wait. */
export interface Waiting {
  readonly turns: Turns;
  /** The reads of the database, once it serves. */
  served(): RawReads | undefined;
  /** Makes a call when the database serves, with copies of its arguments. */
  call<const A extends readonly unknown[], T>(args: A, make: (reads: RawReads, args: A) => Promise<T>): Promise<T>;
  /** The argument, or a copy of what its caller could change. */
  own<T>(argument: T): T;
}

export class LateReads implements RawReads {
  readonly #waiting: Waiting;

  constructor(waiting: Waiting) {
    this.#waiting = waiting;
  }

  get turns(): Turns {
    return this.#waiting.turns;
  }

  get<V>(key: Bytes, o: ReadOptions | undefined, convert?: ConvertValue<V>): Promise<V | undefined> {
    return this.#waiting.call([key, o], (reads, [k, own]) => reads.get(k, own, convert));
  }

  getMany<V>(
    keys: readonly Bytes[],
    o: ReadOptions | undefined,
    convert?: ConvertValue<V>,
  ): Promise<(V | undefined)[]> {
    return this.#waiting.call([keys, o], (reads, [k, own]) => reads.getMany(k, own, convert));
  }

  has(key: Bytes, o: ReadOptions | undefined): Promise<boolean> {
    return this.#waiting.call([key, o], (reads, a) => reads.has(...a));
  }

  getWithMeta(key: Bytes, o: ReadOptions | undefined): Promise<ValueWithMeta | undefined> {
    return this.#waiting.call([key, o], (reads, a) => reads.getWithMeta(...a));
  }

  scan<T = ScanRow>(o: ScanOptions | undefined, convert?: ConvertRow<T>, keysOnly?: boolean): ScanIterator<Bytes, T> {
    const reads = this.#waiting.served();
    if (reads !== undefined) return reads.scan(o, convert, keysOnly);
    const scan = this.#waiting.call([o], async (later, [own]) => later.scan(own, convert, keysOnly));
    return new LateScan(scan, this.#waiting);
  }

  failedScan<T>(error: unknown): ScanIterator<Bytes, T> {
    return new LateScan<T>(this.turns.refuse(error), this.#waiting);
  }
}

/** A scan that begins when the database serves; its view is taken then. */
class LateScan<T> implements ScanIterator<Bytes, T> {
  readonly #scan: Promise<ScanIterator<Bytes, T>>;
  readonly #waiting: Pick<Waiting, 'turns' | 'own'>;
  #begun: ScanIterator<Bytes, T> | undefined;

  constructor(scan: Promise<ScanIterator<Bytes, T>>, waiting: Pick<Waiting, 'turns' | 'own'>) {
    this.#scan = scan;
    this.#waiting = waiting;
    ignoreRejection(
      scan.then((s) => {
        this.#begun = s;
      }),
    );
  }

  get findings(): ScanIterator['findings'] {
    return this.#begun?.findings ?? [];
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #with<R>(call: (scan: ScanIterator<Bytes, T>) => Promise<R>): Promise<R> {
    return this.#scan.then(call, (error) => this.#waiting.turns.refuse(error));
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return this.#with((s) => s.next());
  }

  nextBatch(count: number): Promise<T[]> {
    return this.#with((s) => s.nextBatch(count));
  }

  toArray(): Promise<T[]> {
    return this.#with((s) => s.toArray());
  }

  seek(key: Bytes): Promise<void> {
    try {
      const own = this.#waiting.own(key);
      return this.#with((s) => s.seek(own));
    } catch (error) {
      return this.#waiting.turns.refuse(error);
    }
  }

  resume(...args: Parameters<ScanIterator['resume']>): Promise<void> {
    return this.#with((s) => s.resume(...args));
  }

  close(): Promise<void> {
    return this.#with((s) => s.close());
  }

  return(): Promise<IteratorResult<T, undefined>> {
    return this.#with((s) => s.return());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
