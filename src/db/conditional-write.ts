/**
 * Writes that depend on the row that is there: only if a key is absent, only if its row is still the one that was read, and a new expiry for
 * a row as it is.
 *
 * 1. Decided in the step in which the write gets its number, by the newest versions of its keys (key-history.ts): of two writes for one
 *    absent key one wins, whatever is read, written and flushed in between. All conditions of a batch are decided in one such step.
 * 2. A key that is in memory is decided at once, by one lookup; else it is read first, once.
 * 3. What cannot be known, because damage may hide it, is an error and writes nothing; so does a conflict.
 * 4. A write that waits for durability answers a conflict only when what it conflicts with is durable: it never names a row that is lost.
 */
import { isAborted, untilAborted } from '../common/abort.ts';
import { mapLimit } from '../common/async.ts';
import { copyBytes, describeBytes, trueLength } from '../common/bytes.ts';
import {
  AbortError,
  ConflictError,
  InvalidArgumentError,
  isCorruption,
  isDbError,
  UnavailableError,
} from '../common/errors.ts';
import { type KeyVersions, versionsOf } from '../lsm/read/point-lookup.ts';
import type { WriteResult } from './durability-waiters.ts';
import { copyOfError } from './error-copy.ts';
import { KeyHistory } from './key-history.ts';
import { MAX_RENEWALS, type ReadSource } from './read-path.ts';
import type { Expected, WriteBatch } from './write-batch.ts';
import type { Own, PutRowOptions, TouchOptions, WriteOptions } from './write-options.ts';
import { endedWaiter, type WriteState } from './write-state.ts';
import { type DecidedRow, type Decision, ROW_BYTES, type Writer } from './writer.ts';

const PARALLEL_READS = 16;
/** How often a merge operator may write the key that it is asked about. */
const MAX_FOLDS = 3;

export interface ConditionalWriteParts {
  state: WriteState;
  writer: Writer;
  source: ReadSource;
  /** Throws the reason, as one of a write that was not applied, once the handle has ended. */
  assertWriting(): void;
  awaitDurable: boolean;
}

/** A decision, and the keys that it is made by. */
interface Plan extends Decision {
  keys: readonly KeyHistory[];
}

/** The condition of a put or a delete; undefined: it has none. */
export function conditionOf(o: Own<PutRowOptions> | undefined): Expected | undefined {
  if (o === undefined) return undefined;
  return o.ifAbsent === true ? 'absent' : o.ifSeq;
}

export class ConditionalWrites {
  readonly #p: ConditionalWriteParts;

  constructor(parts: ConditionalWriteParts) {
    this.#p = parts;
  }

  put(key: Uint8Array, value: Uint8Array, expected: Expected, o: Own<WriteOptions>): Promise<WriteResult> {
    return this.#row(key, value, expected, o);
  }

  delete(key: Uint8Array, expected: Expected, o: Own<WriteOptions>): Promise<WriteResult> {
    return this.#row(key, undefined, expected, o);
  }

  #row(key: Uint8Array, value: Uint8Array | undefined, expected: Expected, o: Own<WriteOptions>): Promise<WriteResult> {
    const bytes = trueLength(key) + (value === undefined ? 0 : trueLength(value)) + ROW_BYTES;
    const planFor = (row: DecidedRow): Plan => {
      const history = new KeyHistory(this.#p.state, row.key, false);
      const rows = () => {
        this.#expect(history, expected);
        return row;
      };
      return { keys: [history], bytes: () => bytes, rows };
    };
    const own = () => planFor({ key: copyBytes(key), value: value && copyBytes(value) });
    return this.#run(planFor({ key, value }), own, o) as Promise<WriteResult>;
  }

  /** All conditions of the batch are about what is there before it. */
  write(batch: WriteBatch, o: Own<WriteOptions> | undefined): Promise<WriteResult> {
    const { state, writer } = this.#p;
    // Sizes and merges first, as without conditions: what they throw does not depend on what is stored.
    const { bytes, folded } = writer.prepared(batch, o);
    const conditions = [...batch.conditions];
    const planFor = (ready: WriteBatch): Plan => {
      const keys = conditions.map(({ key }) => new KeyHistory(state, key, false));
      const rows = () => {
        for (const [i, { expected }] of conditions.entries()) this.#expect(keys[i], expected);
        return ready;
      };
      return { keys, bytes: () => bytes, rows };
    };
    const own = () => planFor(folded === batch ? batch.copy() : folded);
    return this.#run(planFor(folded), own, o) as Promise<WriteResult>;
  }

  /** Resolves with undefined if there is no row. */
  touch(key: Uint8Array, o: Own<TouchOptions>): Promise<WriteResult | undefined> {
    const planFor = (own: Uint8Array): Plan => {
      const history = new KeyHistory(this.#p.state, own, true);
      return {
        keys: [history],
        bytes: () => own.length + history.valueBytes + ROW_BYTES,
        rows: () => this.#valueAsItIs(history),
      };
    };
    return this.#run(planFor(key), () => planFor(copyBytes(key)), o);
  }

  #valueAsItIs(history: KeyHistory): DecidedRow | undefined {
    const { state, source } = this.#p;
    for (let i = 0; i < MAX_FOLDS; i++) {
      const value = history.row(source.nowMs?.(), source.mergeOperator);
      const before = history.newestSeq;
      history.bringUp();
      // The merge operator is code of the caller, which may have written.
      if (history.newestSeq !== before) continue;
      this.#p.assertWriting();
      return value && { key: history.key, value };
    }
    const key = describeBytes(history.key);
    const message = `${state.where}: touch: the merge operator writes the key ${key} each time it is asked about it. Do not write from a merge operator.`;
    throw new InvalidArgumentError('BAD_ARGUMENT', message, { outcome: 'not-applied' });
  }

  #expect(history: KeyHistory, expected: Expected): void {
    const { state, source } = this.#p;
    const actual = history.seqSeen(source.nowMs?.());
    const isMet = expected === 'absent' ? actual === undefined : actual !== undefined && BigInt(actual) === expected;
    if (!isMet) throw conflict(state.where, history.key, expected, actual);
  }

  /** `own` makes the same plan with memory of its own, for a write that has to wait. */
  #run(plan: Plan, own: () => Plan, o: Own<WriteOptions> | undefined): Promise<WriteResult | undefined> {
    const { writer, source } = this.#p;
    stopBefore(o?.signal);
    if (plan.keys.every((key) => key.readNow()) && writer.hasRoomFor(plan.bytes())) {
      try {
        return writer.decided(plan, o);
      } catch (error) {
        return source.turns.after(this.#refused(error, plan, o));
      }
    }
    return source.turns.after(this.#runLater(own(), o));
  }

  async #runLater(plan: Plan, o: Own<WriteOptions> | undefined): Promise<WriteResult | undefined> {
    const { state, writer, assertWriting } = this.#p;
    const stop = state.onLeave(() => {
      for (const key of plan.keys) key.bringUp();
    });
    const rows = () => {
      try {
        return plan.rows();
      } finally {
        stop();
      }
    };
    try {
      await mapLimit(plan.keys, PARALLEL_READS, (key) => this.#read(key, o?.signal));
      assertWriting();
      return await writer.decided({ bytes: () => plan.bytes(), rows }, o);
    } catch (error) {
      return this.#refused(error, plan, o);
    } finally {
      stop();
    }
  }

  /** The key is known afterwards, but for what damage hides. */
  async #read(key: KeyHistory, signal: AbortSignal | undefined): Promise<void> {
    const { state, source, assertWriting } = this.#p;
    for (let attempt = 0; ; attempt++) {
      if (key.readNow()) return;
      // One step: the view has all rows up to this number.
      const work = versionsOf(state.view, key.key, key.begin(), key.withValues);
      let found: KeyVersions;
      try {
        found = await untilAborted(work, signal, notApplied);
        const gone = found.hidden.find(({ error }) => error.findings.some((f) => f.code === 'MISSING_OBJECT'));
        if (gone !== undefined && attempt < MAX_RENEWALS) {
          if (await untilAborted(source.renewView(gone.error), signal, notApplied)) continue;
        }
      } catch (error) {
        // Requests of a handle that was closed are aborted: that is the reason then.
        assertWriting();
        throw isDbError(error) ? copyOfError(error, { outcome: 'not-applied' }) : error;
      }
      key.complete(found);
      return;
    }
  }

  /** Rejects with the error, a conflict only when what it is decided by is durable. */
  async #refused(error: unknown, plan: Plan, o: Own<WriteOptions> | undefined): Promise<never> {
    const { state, source, writer } = this.#p;
    if (isCorruption(error)) {
      const [{ key }] = plan.keys;
      source.watch.met({ operation: 'get', key, findings: error.findings, outcome: 'error' });
    }
    if (!(error instanceof ConflictError) || !(o?.awaitDurable ?? this.#p.awaitDurable)) throw error;
    const decidedBy = Math.max(...plan.keys.map((key) => key.newestSeq));
    if (decidedBy <= state.durableSeq) throw error;
    try {
      await untilAborted(writer.allDurable(), o?.signal, notApplied);
    } catch (cause) {
      if (state.ended !== undefined) throw endedWaiter(state.ended, 'not-applied');
      if (!isDbError(cause) || cause.kind === 'aborted') throw cause;
      const message = `${error.message} But that is not yet durable: ${cause.message}`;
      throw new UnavailableError(cause.code, message, { outcome: 'not-applied', cause, details: error.details });
    }
    throw error;
  }
}

function stopBefore(signal: AbortSignal | undefined): void {
  if (signal !== undefined && isAborted(signal)) throw notApplied(signal);
}

function notApplied(signal: AbortSignal): AbortError {
  const message = 'The write was aborted before it was decided; it was not applied.';
  return new AbortError(message, { outcome: 'not-applied', cause: signal.reason });
}

function conflict(where: string, key: Uint8Array, expected: Expected, actual: number | undefined): ConflictError {
  const shown = describeBytes(key);
  const remedy = 'Nothing was written. Read it again, and decide again.';
  const state = actual === undefined ? 'has no row' : `has a row with sequence number ${actual}`;
  const wish = expected === 'absent' ? 'only where there is none (ifAbsent)' : `only over the row ${expected} (ifSeq)`;
  const details = {
    key: copyBytes(key),
    expected,
    ...(actual !== undefined && { actual: BigInt(actual) }),
  };
  const message = `${where}: the key ${shown} ${state}, and was to be written ${wish}. ${remedy}`;
  return new ConflictError('CONDITION_FAILED', message, { outcome: 'not-applied', details });
}
