/**
 * The inputs of a merge by their current rows, the least first: by key, for equal keys the highest sequence number, for equal both the
 * newer input.
 *
 * A binary heap. Rows are compared by eight bytes of their keys first, as two numbers that the cursor has ready; the bytes are
 * compared only where these are equal.
 *
 * Invariants:
 * 1. No cursor is before its parent.
 * 2. A cursor in the heap stands on a row; only the one on top may be moved, and `settle`, `remove` or nothing else follows.
 */
import { assertThat } from '../common/assert.ts';
import type { StretchCursor } from './stretch-cursor.ts';

export class MergeHeap {
  readonly #heap: StretchCursor[] = [];
  /** Length of what all keys have in common. */
  readonly #skip: number;

  /** @param skip how many bytes all keys begin with */
  constructor(skip: number) {
    this.#skip = skip;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** The input with the least row; undefined: none is left. */
  get top(): StretchCursor | undefined {
    return this.#heap[0];
  }

  /** Adds an input that stands on its first row. */
  add(cursor: StretchCursor): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(cursor);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(cursor, heap[parent], this.#skip)) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = cursor;
  }

  /** Takes away the one on top, which is at its end. */
  remove(): void {
    const heap = this.#heap;
    const last = heap.pop();
    assertThat(last !== undefined, 'only an input that is in the heap is taken away');
    if (heap.length === 0) return;
    heap[0] = last;
    this.settle();
  }

  /** Puts the one on top, which was moved to its next row, where it belongs. */
  settle(): void {
    const heap = this.#heap;
    const skip = this.#skip;
    const n = heap.length;
    const moving = heap[0];
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= n) break;
      if (child + 1 < n && isBefore(heap[child + 1], heap[child], skip)) child++;
      if (!isBefore(heap[child], moving, skip)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = moving;
  }
}

function isBefore(a: StretchCursor, b: StretchCursor, skip: number): boolean {
  if (a.high !== b.high) return a.high < b.high;
  if (a.low !== b.low) return a.low < b.low;
  return isBeforeInRest(a, b, skip);
}

/** For rows whose numbers are equal: zeros take the place of bytes that a short key does not have. */
function isBeforeInRest(a: StretchCursor, b: StretchCursor, skip: number): boolean {
  const x = a.key;
  const y = b.key;
  const n = a.keyLength < b.keyLength ? a.keyLength : b.keyLength;
  for (let i = skip + 8; i < n; i++) {
    if (x[i] !== y[i]) return x[i] < y[i];
  }
  if (a.keyLength !== b.keyLength) return a.keyLength < b.keyLength;
  if (a.seq !== b.seq) return a.seq > b.seq;
  return a.input < b.input;
}
