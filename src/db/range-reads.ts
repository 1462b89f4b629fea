/**
 * What handles make of scans, whatever their keys and values are: `keys`, `values`, `first`, `last`, `count` and `page`.
 *
 * 1. A page is not longer than was asked for, and says that more follows only if it has met the row that does.
 */
import { assertThat } from '../common/assert.ts';
import { anything, bool, type ChecksOf, checkedOptions, whole } from '../common/option-checks.ts';
import type { ScanRow } from '../lsm/read/scan-row.ts';
import type { Decoded } from './keys.ts';
import { RANGE_READ_CHECKS } from './read-path.ts';
import type { Page, PagedRange, PageOptions, RangeReadOptions, ScanOptions } from './reads.ts';
import type { ConvertRow } from './scan.ts';
import type { ScanIterator } from './scan-iterator.ts';
import type { Turns } from './turns.ts';

const MAX_PAGE = 1_000_000;

const PAGED_RANGE_CHECKS: ChecksOf<PagedRange> = { ...RANGE_READ_CHECKS, after: anything, reverse: bool };
const PAGE_CHECKS: ChecksOf<PageOptions> = { size: whole(1, MAX_PAGE) };

/** Rows that are counted at a time. */
const COUNTED_ROWS = 1024;

type RowOf<K, V> = ScanRow<Decoded<K>, Decoded<V>>;

export abstract class RangeReads<K, V> {
  readonly #turns: Turns;

  constructor(turns: Turns) {
    this.#turns = turns;
  }

  abstract scan(options?: ScanOptions<K>): ScanIterator<K, RowOf<K, V>>;
  /** A scan that hands out something else than rows; `convert` is given them as they are stored, with `keysOnly` without their values. */
  protected abstract scanAs<T>(
    options: ScanOptions<K> | undefined,
    convert: ConvertRow<T>,
    keysOnly: boolean,
  ): ScanIterator<K, T>;

  first(range?: RangeReadOptions<K>): Promise<RowOf<K, V> | undefined> {
    return this.#turns.after(this.#end('first', range, false));
  }

  last(range?: RangeReadOptions<K>): Promise<RowOf<K, V> | undefined> {
    return this.#turns.after(this.#end('last', range, true));
  }

  async #end(call: string, range: RangeReadOptions<K> | undefined, reverse: boolean): Promise<RowOf<K, V> | undefined> {
    const options = checkedOptions<RangeReadOptions<unknown>>(call, range, RANGE_READ_CHECKS) as RangeReadOptions<K>;
    const [row] = await this.scan({ ...options, reverse, limit: 1 }).toArray();
    return row;
  }

  count(range?: RangeReadOptions<K>): Promise<number> {
    return this.#turns.after(this.#count(range));
  }

  async #count(range: RangeReadOptions<K> | undefined): Promise<number> {
    const options = checkedOptions<RangeReadOptions<unknown>>('count', range, RANGE_READ_CHECKS) as RangeReadOptions<K>;
    const scan = this.scanAs(options, nothingOf, true);
    try {
      for (let count = 0; ; ) {
        const { length } = await scan.nextBatch(COUNTED_ROWS);
        if (length === 0) return count;
        count += length;
      }
    } finally {
      await scan.close();
    }
  }

  page(range: PagedRange<K>, options: PageOptions): Promise<Page<K, V>> {
    return this.#turns.after(this.#page(range, options));
  }

  async #page(givenRange: PagedRange<K>, givenOptions: PageOptions): Promise<Page<K, V>> {
    const { size } = checkedOptions<PageOptions>('page', givenOptions, PAGE_CHECKS, ['size']);
    const range = checkedOptions<PagedRange<unknown>>('page', givenRange, PAGED_RANGE_CHECKS) as PagedRange<K>;
    const rows = await this.scan({ ...range, limit: size + 1 }).toArray();
    const more = rows.length > size;
    if (more) rows.pop();
    assertThat(rows.length <= size, 'a page is not longer than was asked for (range-reads 1)');
    return { rows, more, after: rows.length > 0 ? (rows[rows.length - 1].key as K) : range.after };
  }
}

function nothingOf(): undefined {}
