/**
 * A load on a live writer, and what its rows must be afterwards: one operation after the other, each acknowledged before the
 * next, so that the sequence number of every row is known and a WAL object holds the rows of one operation.
 *
 * `large` rows fill memtables, so tables are flushed and merged all the time; `small` ones only keep the log growing. Keys
 * repeat, and one of them is only ever merged: what is applied twice, left out or put back to an older state shows.
 */
import { expect } from 'vitest';
import { text } from './database.ts';

/** What the load needs of a writer; ours and SlateDB's both have it. */
export interface LoadedWriter {
  put(key: string, value: string): Promise<{ seq: bigint }>;
  merge(key: string, operand: string): Promise<{ seq: bigint }>;
}

export type RowSize = 'large' | 'small';

interface Operation {
  kind: 'put' | 'merge';
  key: string;
  value: string;
  seq?: bigint;
}

const MERGED_KEY = 'merged';
const KEYS = 150;
const MERGE_EVERY = 5;
const FILLING = 'x'.repeat(2000);
const PACE_MS = 5;

export class LiveLoad {
  readonly #waiting: { count: number; resolve: () => void; reject: (error: Error) => void }[] = [];
  #known = new Map<string, string>();
  #acknowledged: Operation[] = [];
  #refused: Operation | undefined;
  /** Why the writer of the last run refused. */
  #ended: Error | undefined;
  #size: RowSize = 'large';
  #turn = 0;

  /** Writes until the writer refuses; resolves with its error, or with undefined if `signal` came first. */
  async run(writer: LoadedWriter, signal?: AbortSignal): Promise<unknown> {
    this.#ended = undefined;
    while (signal?.aborted !== true) {
      const operation = operationOf(this.#turn++, this.#size);
      try {
        const { kind, key, value } = operation;
        operation.seq = (await writer[kind](key, value)).seq;
      } catch (error) {
        this.#refused = operation;
        this.#ended = new Error('the writer under load refused', { cause: error });
        for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
        return error;
      }
      this.#acknowledged.push(operation);
      this.#wake();
      if (this.#size === 'small') await new Promise((resolve) => setTimeout(resolve, PACE_MS));
    }
    return undefined;
  }

  setSize(size: RowSize): void {
    this.#size = size;
  }

  /** Resolves when `more` further operations were acknowledged; rejects when one is refused, or was before. */
  goesOn(more: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) reject(this.#ended);
      else this.#waiting.push({ count: this.#acknowledged.length + more, resolve, reject });
    });
  }

  /**
   * Expects that a database holds the rows of all acknowledged operations but those of lost sequence numbers, each in its
   * order and once. Nobody can say whether a refused operation was applied: what was read decides, for good.
   */
  settle(read: readonly [string, string][], lost: readonly { min: bigint; max: bigint }[] = []): void {
    const isLost = ({ seq }: Operation) => lost.some(({ min, max }) => seq! >= min && seq! <= max);
    const kept = this.#acknowledged.filter((operation) => !isLost(operation));
    this.#known = rowsOf(this.#known, kept);
    this.#acknowledged = [];
    const refused = this.#refused;
    this.#refused = undefined;
    if (refused !== undefined) {
      const withIt = rowsOf(this.#known, [refused]);
      if (withIt.get(refused.key) === new Map(read).get(refused.key)) this.#known = withIt;
    }
    expect(abridged(read)).toEqual(abridged([...this.#known]));
  }

  #wake(): void {
    const isDue = ({ count }: { count: number }) => this.#acknowledged.length >= count;
    const due = this.#waiting.filter(isDue);
    this.#waiting.splice(0, Infinity, ...this.#waiting.filter((w) => !due.includes(w)));
    for (const { resolve } of due) resolve();
  }
}

function operationOf(n: number, size: RowSize): Operation {
  if (n % MERGE_EVERY === 0) return { kind: 'merge', key: MERGED_KEY, value: `[${n}]` };
  const key = `key-${String((n * 37) % KEYS).padStart(3, '0')}`;
  return { kind: 'put', key, value: size === 'large' ? `${n} ${FILLING}` : `${n}` };
}

function rowsOf(before: ReadonlyMap<string, string>, operations: readonly Operation[]): Map<string, string> {
  const rows = new Map(before);
  for (const { kind, key, value } of operations) {
    rows.set(key, kind === 'merge' ? (rows.get(key) ?? '') + value : value);
  }
  return new Map([...rows].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** For messages that can be read. */
function abridged(rows: readonly [string, string][]): string[] {
  return rows.map(([key, value]) => `${key} = ${value.replace(FILLING, '…')}`);
}

/** Rows that were read, as `LiveLoad` speaks of them. */
export function contentOf(rows: readonly { key: Uint8Array; value: Uint8Array }[]): [string, string][] {
  return rows.map(({ key, value }) => [text(key)!, text(value)!]);
}
