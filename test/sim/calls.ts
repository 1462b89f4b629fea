/**
 * Calls of the engine as the simulator makes them: every one has a time limit (virtual) beyond which it hangs, may end because
 * its process dies, and must reject with an error of this package or not at all.
 */
import { type DbError, isDbError } from '../../src/common/errors.ts';
import type { ScanIterator } from '../../src/db/scan-iterator.ts';
import type { ScanRow } from '../../src/lsm/read/scan-row.ts';
import type { MergeOperator } from '../../src/lsm/rows/merge-operator.ts';
import type { Process } from './machine.ts';
import { describe } from './world.ts';

/** Appends, as the live SlateDBs of the tests do. */
export const CONCAT: MergeOperator = {
  merge: (_key, existing, operand) => (existing === undefined ? operand.slice() : Buffer.concat([existing, operand])),
};

export function text(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

/** The engine's own deadlines, and how many of them can follow each other. */
const CALL_MS = 60_000;
const LIMITS_MS = {
  write: CALL_MS + 1000,
  flush: CALL_MS + 1000,
  compact: 20 * CALL_MS,
  close: 11_000,
  read: 8 * CALL_MS,
  /** A read, the write, and the wait for what it conflicts with. */
  conditional: 11 * CALL_MS,
  /** Of some ten keys, each read and written for itself. */
  deleteRange: 40 * CALL_MS,
  open: 40 * CALL_MS,
};
const GRACE_MS = 1000;

/** All rows: a batch that is not full may stand before a failure, and only an empty one is the end. */
export async function allRows(scan: Pick<ScanIterator, 'nextBatch'>): Promise<ScanRow[]> {
  const rows: ScanRow[] = [];
  for (;;) {
    const batch = await scan.nextBatch(1000);
    if (batch.length === 0) return rows;
    rows.push(...batch);
  }
}

export type Outcome<T> = { value: T } | { error: DbError } | 'died';

/** `moreMs`: time that the options of this run allow besides. */
export function call<T>(
  process: Process,
  kind: keyof typeof LIMITS_MS,
  start: () => Promise<T>,
  moreMs = 0,
): Promise<Outcome<T>> {
  const { machine } = process;
  const { world } = machine;
  const limitMs = LIMITS_MS[kind] + moreMs;
  // A machine that is frozen does not hang: only time in which it runs counts.
  const dueMs = machine.runningMs + limitMs;
  return new Promise((resolve) => {
    let settled = false;
    const settle = (outcome: Outcome<T>) => {
      settled = true;
      resolve(outcome);
    };
    void process.died.then(() => settle('died'));
    const check = () => {
      const leftMs = dueMs - machine.runningMs;
      const onTime = () => {
        if (machine.runningMs < dueMs + GRACE_MS / 2) check();
        else world.fail(`HANGS: ${kind} of ${process.name} has not ended after ${limitMs} ms`);
      };
      process.at(world.nowMs + Math.max(leftMs, GRACE_MS), onTime, () => settled);
    };
    check();
    start().then(
      (value) => settle({ value }),
      (error: unknown) => {
        if (!isDbError(error)) world.fail(`UNTYPED: ${kind} rejects with ${describe(error)}`, error);
        else settle({ error });
      },
    );
  });
}
