/**
 * Calls that must be refused, callers who give up, and functions of the caller that throw, mixed into the runs of one writer.
 *
 * A refusal changes nothing: the sequence number is what it was when the call returns, and all that the run reads afterwards is what the
 * model says without it. It is answered in the same turn, or in a later one so that others have theirs. A call whose signal aborts ends with `AbortError`; a write that was admitted by then
 * may still take effect. Loggers and listeners that throw are nobody's failure.
 */
import { isDbError } from '../../src/common/errors.ts';
import type { Logger } from '../../src/common/logger.ts';
import type { Db } from '../../src/db/db.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import type { MergeOperator } from '../../src/lsm/rows/merge-operator.ts';
import { CONCAT } from './calls.ts';
import type { Process } from './machine.ts';
import { Draw } from './script.ts';
import { describe } from './world.ts';

// biome-ignore lint/suspicious/noExplicitAny: what plain JavaScript lets through
type Anything = any;

/** An operand that the merge operator does not bear; every write with it is refused before it is applied. */
const POISON = 'poison';
/** Shares of the calls. */
const REFUSED = 0.7;
const GIVEN_UP = 0.3;
const THROWN = 0.3;
/** Every so many seeds functions throw: each database reports its logger on stderr. */
const THROWING_SEEDS = 16;
/** After so many turns of the microtask queue, or so many ms, a signal aborts. */
const MAX_TURNS = 12;
const MAX_MS = 120;

const KINDS = ['invalid', 'aborted', 'incompatible'];

export class Refusals {
  readonly #draw: Draw;
  readonly #mayThrow: boolean;
  readonly counts = { refused: 0, givenUp: 0, thrown: 0 };

  constructor(seed: number) {
    this.#draw = new Draw(seed ^ 0x2ef05a15);
    this.#mayThrow = seed % THROWING_SEEDS === 0;
  }

  readonly mergeOperator: MergeOperator = {
    merge: (key, existing, operand) => {
      if (Buffer.from(operand).toString('latin1') === POISON) throw new Error('the operator threw');
      return CONCAT.merge(key, existing, operand);
    },
  };

  readonly logger: Logger = {
    debug: () => this.#maybeThrow(),
    info: () => this.#maybeThrow(),
    warn: () => this.#maybeThrow(),
    error: () => this.#maybeThrow(),
  };

  readonly onEvent = (): void => this.#maybeThrow();

  #maybeThrow(): void {
    if (!this.#mayThrow || !this.#draw.chance(THROWN)) return;
    this.counts.thrown++;
    throw new Error('a function of the caller threw');
  }

  /** A signal for a call that starts now, for some of them. It aborts at any await of the call, or never. */
  signal(process: Process): AbortSignal | undefined {
    if (!this.#draw.chance(GIVEN_UP)) return undefined;
    const controller = new AbortController();
    this.counts.givenUp++;
    if (this.#draw.chance(0.5)) {
      void abortAfterTurns(controller, 1 + this.#draw.int(MAX_TURNS));
    } else {
      const { world } = process.machine;
      process.at(world.nowMs + this.#draw.int(MAX_MS), () => controller.abort());
    }
    return controller.signal;
  }

  /** Makes calls that are refused; gives what was wrong with an answer. `keys`: that exist, or may. */
  async refuse(process: Process, db: Db, keys: readonly string[]): Promise<string | undefined> {
    while (process.isAlive && this.#draw.chance(REFUSED)) {
      const [name, call] = this.#draw.of(Object.entries(this.#calls(db, this.#draw.of(keys))));
      const before = seqOf(db);
      const outcome = outcomeOf(call);
      const after = seqOf(db);
      const answer = await Promise.race([outcome, process.died.then(() => 'died' as const)]);
      this.counts.refused++;
      if (answer === 'died') return undefined;
      if (answer === undefined) return `${name} was not refused`;
      if (!isDbError(answer.error)) return `${name} was refused with ${describe(answer.error)}`;
      if (!KINDS.includes(answer.error.kind)) return `${name} was refused with ${describe(answer.error)}`;
      if (after !== before) return `${name} was refused, and the last seq is ${after} instead of ${before}`;
    }
    return undefined;
  }

  #calls(db: Db, key: string): Record<string, () => Promise<unknown>> {
    const gone = detach(new Uint8Array(1 + this.#draw.int(400)));
    const own = new Uint8Array(16);
    const aborted = AbortSignal.abort();
    const awaitDurable = this.#draw.chance(0.5);
    const taking: Anything = {
      get awaitDurable() {
        if (own.length > 0) detach(own);
        return awaitDurable;
      },
    };
    return {
      'a put of bytes that are gone': () => db.put(key, gone, { awaitDurable }),
      'a put of bytes that are gone, which expires': () => db.put(key, gone, { awaitDurable, ttlMs: 50 }),
      'a put under a key that is gone': () => db.put(gone, 'v', { awaitDurable }),
      'a merge of bytes that are gone': () => db.merge(key, gone, { awaitDurable }),
      'a delete of a key that is gone': () => db.delete(gone, { awaitDurable }),
      'a batch with bytes that are gone': async () =>
        db.write(new WriteBatch().put('kx', '1').put(key, gone).delete('kx'), { awaitDurable }),
      'a put whose options take the bytes away': () => db.put(key, own, taking),
      'a put under a key that is too long': () => db.put('x'.repeat(70_000), 'v', { awaitDurable }),
      'a put under an empty key': () => db.put('', 'v', { awaitDurable }),
      'a put with a misspelt option': () => db.put(key, 'v', { awaitDurabel: false } as Anything),
      'a put with a bad time to live': () => db.put(key, 'v', { ttlMs: -1 }),
      'a put that was aborted before': () => db.put(key, 'v', { awaitDurable, signal: aborted }),
      'a batch that was aborted before': () => db.write(new WriteBatch().delete(key), { signal: aborted }),
      'a batch whose operands cannot be merged': () =>
        db.write(new WriteBatch().put('kx', '1').merge(key, POISON).merge(key, POISON), { awaitDurable }),
      'a batch of another kind': () => db.write({} as Anything, { awaitDurable }),
      'a get of a key that is gone': () => db.get(gone),
      'a get that was aborted before': () => db.get(key, { signal: aborted }),
      'a scan with a bad limit': () => db.scan({ limit: -1 }).next(),
      'a flush of another kind': () => db.flush({ type: 'all' as Anything }),
    };
  }
}

function seqOf(db: Db): bigint {
  const snapshot = db.snapshot();
  const { seq } = snapshot;
  void snapshot.close();
  return seq;
}

async function outcomeOf(call: () => Promise<unknown>): Promise<{ error: unknown } | undefined> {
  try {
    await call();
    return undefined;
  } catch (error) {
    return { error };
  }
}

async function abortAfterTurns(controller: AbortController, turns: number): Promise<void> {
  for (let i = 0; i < turns; i++) await Promise.resolve();
  controller.abort();
}

/** Takes the memory away, as `postMessage` does. Not from test/support: the simulator is compiled alone. */
function detach(bytes: Uint8Array): Uint8Array {
  structuredClone(bytes.buffer, { transfer: [bytes.buffer as ArrayBuffer] });
  return bytes;
}
