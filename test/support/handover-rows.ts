/**
 * The rows that a database handed back and forth must hold: ten thousand at each check, with many overwritten, deleted and
 * brought back since the check before. A crash adds batches that nobody got an answer about: each of them is there whole or not at
 * all, and those that were acknowledged are there.
 */
import { expect } from 'vitest';
import { nextInt, SeededRandom } from '../../src/common/random.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';

export type RowChange = { put: string; value: string } | { delete: string };

export interface ReadRow {
  key: Uint8Array;
  value: Uint8Array;
}

const ROW_COUNT = 10_000;
const OVERWRITTEN = 2000;
const REPLACED = 500;
const BATCH_CHANGES = 500;

/** Keys of batches written while a process is about to be killed: `crash-<name>/<row>`. */
const CRASH_PREFIX = 'crash-';
const CRASH_BATCH_ROWS = 20;

const decoder = new TextDecoder();

/** A batch whose rows are not among those of the turns. */
export function crashBatch(name: string): { put: string; value: string }[] {
  return Array.from({ length: CRASH_BATCH_ROWS }, (_, i) => ({
    put: `${CRASH_PREFIX}${name}/${String(i).padStart(2, '0')}`,
    value: `${name} row ${i}`,
  }));
}

export function toBatch(changes: readonly RowChange[]): WriteBatch {
  const batch = new WriteBatch();
  for (const change of changes) {
    if ('put' in change) batch.put(change.put, change.value);
    else batch.delete(change.delete);
  }
  return batch;
}

export class HandoverRows {
  readonly #rows = new Map<string, string>();
  readonly #gone: string[] = [];
  readonly #acknowledged = new Set<string>();
  readonly #random: SeededRandom;
  #nextKey = 0;
  #turn = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  /** What the next writer writes, in batches; counted as written. */
  nextTurn(): RowChange[][] {
    const changes = this.#turn === 0 ? this.#firstRows() : this.#changes();
    this.#turn++;
    const batches: RowChange[][] = [];
    for (let i = 0; i < changes.length; i += BATCH_CHANGES) batches.push(changes.slice(i, i + BATCH_CHANGES));
    return batches;
  }

  /** A crash batch was acknowledged: it has to be there from now on. */
  acknowledged(name: string): void {
    this.#acknowledged.add(name);
  }

  #firstRows(): RowChange[] {
    return Array.from({ length: ROW_COUNT }, () => this.#put(this.#newKey()));
  }

  #changes(): RowChange[] {
    const changes: RowChange[] = [];
    for (let i = 0; i < OVERWRITTEN; i++) changes.push(this.#put(this.#anyKey()));
    for (let i = 0; i < REPLACED; i++) {
      const key = this.#anyKey();
      this.#rows.delete(key);
      changes.push({ delete: key });
      this.#gone.push(key);
      // Every second one takes the place of a row that was deleted in this turn or in an earlier one.
      changes.push(this.#put(i % 2 === 0 ? this.#newKey() : this.#revivedKey()));
    }
    return changes;
  }

  #put(key: string): RowChange {
    const value = `turn ${this.#turn} of ${key} ${'.'.repeat(nextInt(this.#random, 80))}`;
    this.#rows.set(key, value);
    return { put: key, value };
  }

  /** Not in the order in which they are made. */
  #newKey(): string {
    const n = this.#nextKey++;
    return `row-${String((n * 7919) % 1_000_003).padStart(7, '0')}`;
  }

  #anyKey(): string {
    for (;;) {
      const key = `row-${String((nextInt(this.#random, this.#nextKey) * 7919) % 1_000_003).padStart(7, '0')}`;
      if (this.#rows.has(key)) return key;
    }
  }

  #revivedKey(): string {
    const at = nextInt(this.#random, this.#gone.length);
    return this.#gone.splice(at, 1)[0];
  }

  /** Keys to get one by one: some that are there, all that are deleted. */
  sample(): string[] {
    return [...[...this.#rows.keys()].filter((_, i) => i % 20 === 0), ...this.#gone];
  }

  expectSample(keys: readonly string[], values: readonly (Uint8Array | undefined)[]): void {
    const wrong = keys.filter((key, i) => (values[i] && decoder.decode(values[i])) !== this.#rows.get(key));
    expect({ keys: keys.length, wrong: wrong.slice(0, 5) }).toEqual({ keys: keys.length, wrong: [] });
  }

  /** Compares a scan of everything. */
  expectScan(read: readonly ReadRow[]): void {
    const rows = read.map((r) => ({ key: decoder.decode(r.key), value: decoder.decode(r.value) }));
    this.#expectCrashBatches(rows.filter((r) => r.key.startsWith(CRASH_PREFIX)));
    const found = rows.filter((r) => !r.key.startsWith(CRASH_PREFIX));
    const wanted = [...this.#rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => ({ key, value }));
    const at = wanted.findIndex((row, i) => row.key !== found[i]?.key || row.value !== found[i]?.value);
    expect({ count: found.length, firstDifference: found[at] }).toEqual({
      count: ROW_COUNT,
      firstDifference: wanted[at],
    });
  }

  #expectCrashBatches(rows: { key: string; value: string }[]): void {
    const names = new Set([...this.#acknowledged, ...rows.map((r) => r.key.slice(CRASH_PREFIX.length, -3))]);
    const wanted = [...names].flatMap(crashBatch).map(({ put, value }) => ({ key: put, value }));
    expect(rows).toEqual(wanted.sort((a, b) => (a.key < b.key ? -1 : 1)));
  }
}
