/**
 * Merges sorted sources into one order: by key, for equal keys the highest sequence number first, for equal both the newer
 * source first; a reverse merge yields exactly the opposite order.
 *
 * A binary heap of cursors over their encoded rows: nothing is an object per row. One source alone is passed through.
 * A source that must fetch first blocks the merge; `load()` fetches for all blocked ones at once, then the same call is
 * made again.
 */
import { assertThat } from '../../common/assert.ts';
import { BLOCKED, END, ROW, type RowCursor } from './row-cursor.ts';

export class MergeCursor {
  status: number = END;
  readonly #sources: readonly RowCursor[];
  readonly #reverse: boolean;
  /** Indices of sources that stand on a row, smallest first. */
  readonly #heap: number[] = [];
  #blocked: RowCursor[] = [];
  /** Sources that a seek has not placed yet. */
  #unplaced: number[] | undefined;
  /** The top source must still be moved on. */
  #topMustMove = false;

  /** `sources` newest first. */
  constructor(sources: readonly RowCursor[], reverse: boolean) {
    this.#sources = sources;
    this.#reverse = reverse;
  }

  /** The source whose row is next; valid while `status` is ROW. */
  get row(): RowCursor {
    return this.#sources[this.#heap[0]];
  }

  seek(key: Uint8Array | undefined): number {
    this.#topMustMove = false;
    if (this.#unplaced === undefined) {
      this.#heap.length = 0;
      this.#unplaced = this.#sources.map((_, i) => i);
    }
    const still: number[] = [];
    this.#blocked = [];
    for (const i of this.#unplaced) {
      const status = this.#sources[i].seek(key);
      if (status === BLOCKED) {
        still.push(i);
        this.#blocked.push(this.#sources[i]);
      } else if (status === ROW) this.#push(i);
    }
    if (still.length > 0) {
      this.#unplaced = still;
      this.status = BLOCKED;
      return BLOCKED;
    }
    this.#unplaced = undefined;
    assertThat(this.#heap.length <= this.#sources.length, 'a source is in the heap once');
    return this.#settle();
  }

  /** Forgets a seek that was blocked, so that the next one starts afresh. */
  reset(): void {
    this.#unplaced = undefined;
    this.#topMustMove = false;
    this.#blocked = [];
  }

  next(): number {
    const heap = this.#heap;
    if (heap.length === 0) return this.#settle();
    const source = this.#sources[heap[0]];
    const status = source.next();
    if (status === ROW) {
      if (heap.length > 1) this.#siftDown();
    } else if (status === END) {
      const last = heap.pop() as number;
      if (heap.length > 0) {
        heap[0] = last;
        this.#siftDown();
      }
    } else {
      this.#topMustMove = true;
      this.#blocked = [source];
      this.status = BLOCKED;
      return BLOCKED;
    }
    this.#topMustMove = false;
    return this.#settle();
  }

  /** Whether the call to repeat after `load()` is `next` (else `seek`). */
  get mustMove(): boolean {
    return this.#topMustMove;
  }

  async load(): Promise<void> {
    const blocked = this.#blocked;
    assertThat(blocked.length > 0, 'only a move that was blocked is loaded for');
    this.#blocked = [];
    if (blocked.length === 1) await blocked[0].load();
    else await Promise.all(blocked.map((c) => c.load()));
  }

  #settle(): number {
    this.status = this.#heap.length > 0 ? ROW : END;
    return this.status;
  }

  #push(i: number): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(i);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(i, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = i;
  }

  #siftDown(): void {
    const heap = this.#heap;
    const n = heap.length;
    const moving = heap[0];
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= n) break;
      if (child + 1 < n && this.#before(heap[child + 1], heap[child])) child++;
      if (!this.#before(heap[child], moving)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = moving;
  }

  #before(i: number, j: number): boolean {
    const a = this.#sources[i];
    const b = this.#sources[j];
    const c = compareKeys(a, b) || b.seq - a.seq || i - j;
    return this.#reverse ? c > 0 : c < 0;
  }
}

function compareKeys(a: RowCursor, b: RowCursor): number {
  const x = a.keyBuf;
  const y = b.keyBuf;
  const i = a.keyStart;
  const j = b.keyStart;
  const n = a.keyLength < b.keyLength ? a.keyLength : b.keyLength;
  for (let k = 0; k < n; k++) {
    const d = x[i + k] - y[j + k];
    if (d !== 0) return d;
  }
  return a.keyLength - b.keyLength;
}
