/**
 * Conditional writes, touches and deletions of ranges by the one writer of a random run, which the model foresees: whether a condition
 * holds, what a touch writes again, which keys a deletion meets, one batch after the other.
 *
 * Rows whose expiry or filter makes more than one state right are left alone: they are what the other steps are about.
 */
import { ConflictError, type DbError } from '../../src/common/errors.ts';
import type { Db } from '../../src/db/db.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { type call, type Outcome, text } from './calls.ts';
import type { Commit, Model, RowOp, SeenRow } from './model.ts';
import type { Draw, Step } from './script.ts';
import { describe, type World } from './world.ts';

export type ConditionStep =
  | {
      type: 'conditional';
      key: string;
      kind: 'put' | 'delete';
      expects: Expects;
      value: string;
      durable: boolean;
      asBatch: boolean;
    }
  | { type: 'touch'; key: string; ttlMs: number | undefined; durable: boolean }
  | { type: 'deleteRange'; from: string; to: string; durable: boolean };

/** `row`: the present one, or none if there is none; `other`: one that was never there. */
type Expects = 'absent' | 'row' | 'other';

const SHARE = 0.2;
const KEYS = 10;

/** Whether a step is one of these. */
export function isConditional(step: Step): step is ConditionStep {
  return step.type === 'conditional' || step.type === 'touch' || step.type === 'deleteRange';
}

/** Such steps between those of a script. */
export function withConditions(steps: readonly Step[], draw: Draw, seed: number): Step[] {
  let values = 0;
  const nextValue = () => `${seed % 1000}.c${++values}`;
  return steps.flatMap((step): Step[] => (draw.chance(SHARE) ? [step, drawStep(draw, nextValue)] : [step]));
}

function drawStep(draw: Draw, nextValue: () => string): ConditionStep {
  const key = `k${draw.int(KEYS)}`;
  const durable = draw.chance(0.6);
  const x = draw.int(10);
  if (x < 6) {
    const kind = draw.of(['put', 'put', 'delete'] as const);
    const expects = draw.of(['absent', 'row', 'row', 'other'] as const);
    const value = kind === 'delete' ? '' : nextValue();
    return { type: 'conditional', key, kind, expects, value, durable, asBatch: draw.chance(0.4) };
  }
  if (x < 8) return { type: 'touch', key, ttlMs: draw.of([undefined, 1000, 60_000]), durable };
  const [from, to] = draw.chance(0.2) ? ['', '\u{7f}'] : [key, `k${draw.int(KEYS)}`];
  return { type: 'deleteRange', from, to, durable };
}

/** The run that the steps are of. */
export interface ConditionsRun {
  readonly world: World;
  readonly model: Model;
  readonly states: Set<string>;
  wallMs(): number;
  db(): Db;
  isAlive(): boolean;
  call<T>(kind: Parameters<typeof call>[1], start: () => Promise<T>): Promise<Outcome<T>>;
  /** Fails the run unless a fault can have caused it. */
  expect(error: DbError, kinds: readonly string[], what: string): void;
  /** A commit that was not acknowledged. */
  failed(commit: Commit, error: DbError): void;
}

export class Conditions {
  readonly #run: ConditionsRun;

  constructor(run: ConditionsRun) {
    this.#run = run;
  }

  step(step: ConditionStep): Promise<void> {
    if (step.type === 'conditional') return this.#conditional(step);
    return step.type === 'touch' ? this.#touch(step) : this.#deleteRange(step);
  }

  async #conditional(step: Extract<ConditionStep, { type: 'conditional' }>): Promise<void> {
    const { key, kind, value, durable } = step;
    const { model } = this.#run;
    const settled = model.settledRow(key, this.#run.wallMs());
    if (settled === undefined) return;
    const { row } = settled;
    const expected = expectedOf(step, row);
    if (expected === 'absent' && kind === 'delete') return;
    const isMet = expected === 'absent' ? row === undefined : expected === row?.seq;
    const commit = isMet ? model.submit([{ kind, key, value }], this.#run.wallMs()) : undefined;
    const done = await this.#run.call('conditional', () => this.#send(step, expected));
    if (done === 'died') return;
    const what = `${kind} ${key}, expecting ${expected}`;
    if (!('error' in done)) {
      if (commit === undefined) this.#fail(`CONFLICT MISSED: ${what}, but it was ${shown(row)}`);
      else this.#acknowledged(commit, Number(done.value.seq), durable);
      this.#run.states.add('condition met');
    } else if (done.error instanceof ConflictError) {
      if (commit !== undefined)
        this.#fail(`CONFLICT WITHOUT A REASON: ${what}, but it was ${shown(row)}: ${describe(done.error)}`);
      const { actual } = done.error;
      if ((actual === undefined ? undefined : Number(actual)) !== row?.seq)
        this.#fail(`${what}: the conflict names seq ${actual}, but it was ${shown(row)}`);
      this.#run.states.add('conflict');
    } else this.#notAcknowledged(commit, done.error, what);
  }

  #send(
    { key, kind, value, durable, asBatch }: Extract<ConditionStep, { type: 'conditional' }>,
    expected: number | 'absent',
  ) {
    const db = this.#run.db();
    const condition = expected === 'absent' ? { ifAbsent: true } : { ifSeq: BigInt(expected) };
    const options = { awaitDurable: durable };
    if (asBatch) {
      const batch = new WriteBatch();
      if (kind === 'put') batch.put(key, value, condition);
      else batch.delete(key, condition as { ifSeq: bigint });
      return db.write(batch, options);
    }
    if (kind === 'put') return db.put(key, value, { ...options, ...condition });
    return db.delete(key, { ...options, ...(condition as { ifSeq: bigint }) });
  }

  async #touch({ key, ttlMs, durable }: Extract<ConditionStep, { type: 'touch' }>): Promise<void> {
    const { model } = this.#run;
    const nowMs = this.#run.wallMs();
    const settled = model.settledRow(key, nowMs);
    if (settled === undefined) return;
    const { row } = settled;
    const op: RowOp = { kind: 'put', key, value: row?.value ?? '', ...(ttlMs !== undefined && { ttlMs }) };
    const commit = row === undefined ? undefined : model.submit([op], nowMs);
    // Absolute: the row may have to be read first, which takes time.
    const expiry = ttlMs === undefined ? { ttlMs: Number.POSITIVE_INFINITY } : { expireAtMs: nowMs + ttlMs };
    const done = await this.#run.call('conditional', () =>
      this.#run.db().touch(key, { ...expiry, awaitDurable: durable }),
    );
    if (done === 'died') return;
    if ('error' in done) return this.#notAcknowledged(commit, done.error, `touch ${key}`);
    if ((done.value === undefined) !== (commit === undefined))
      this.#fail(`touch ${key} ${done.value === undefined ? 'found nothing' : 'wrote'}, but it was ${shown(row)}`);
    if (commit === undefined || done.value === undefined) return;
    this.#acknowledged(commit, Number(done.value.seq), durable);
    this.#run.states.add('touched');
  }

  /** One key a batch: so it is known at each moment which were deleted. */
  async #deleteRange({ from, to, durable }: Extract<ConditionStep, { type: 'deleteRange' }>): Promise<void> {
    const { model } = this.#run;
    const keys = model.storedKeys(from, to, this.#run.wallMs());
    if (keys === undefined) return;
    const commits: Commit[] = [];
    const submit = () =>
      commits.push(model.submit([{ kind: 'delete', key: keys[commits.length], value: '' }], this.#run.wallMs()));
    const onProgress = ({ deleted, lastKey }: { deleted: number; lastKey: Uint8Array | undefined }) => {
      // Of a dead process nothing is heard.
      if (!this.#run.isAlive()) return;
      const isNext = deleted === commits.length + 1 && lastKey !== undefined && text(lastKey) === keys[commits.length];
      if (!isNext) this.#fail(`deleteRange: ${deleted} rows up to ${lastKey && text(lastKey)}, of ${keys.join(' ')}`);
      submit();
    };
    const options = { batchSize: 1, awaitDurable: durable, onProgress };
    const done = await this.#run.call('deleteRange', () => this.#run.db().deleteRange({ gte: from, lt: to }, options));
    if (done === 'died') {
      // It may have applied one more than it has reported.
      if (commits.length < keys.length) submit();
      return;
    }
    if ('error' in done) {
      for (const commit of commits) commit.state = 'unknown';
      const { progress } = done.error;
      if (progress === undefined || progress.deleted > commits.length)
        this.#fail(`deleteRange: the error says ${progress?.deleted} rows, but ${commits.length} were reported`);
      return this.#run.expect(done.error, ['unavailable', 'closed'], `deleteRange from ${from} to ${to}`);
    }
    const { deleted, seq } = done.value;
    if (deleted !== keys.length || (deleted > 0 && Number(seq) !== model.lastSeq))
      this.#fail(`deleteRange: ${deleted} rows, seq ${seq}, of ${keys.join(' ')}, seq ${model.lastSeq}`);
    if (from < to && durable) model.acknowledge(model.lastSeq);
    if (deleted > 0) this.#run.states.add('range deleted');
  }

  #acknowledged(commit: Commit, seq: number, durable: boolean): void {
    if (seq !== commit.seq) this.#fail(`commit ${commit.seq} was acknowledged with seq ${seq}`);
    if (!durable) return;
    commit.state = 'acknowledged';
    this.#run.model.acknowledge(commit.seq);
  }

  #notAcknowledged(commit: Commit | undefined, error: DbError, what: string): void {
    if (commit === undefined) this.#run.expect(error, ['unavailable', 'closed'], what);
    else {
      this.#run.failed(commit, error);
      // It was not decided, or is in the memory of a handle that has ended: it has no number.
      if (commit.state === 'not-applied') this.#run.model.withdraw(commit);
    }
  }

  #fail(message: string): void {
    this.#run.world.fail(message);
  }
}

function expectedOf(
  { expects }: Extract<ConditionStep, { type: 'conditional' }>,
  row: SeenRow | undefined,
): number | 'absent' {
  if (expects === 'absent' || (expects === 'row' && row === undefined)) return 'absent';
  if (row === undefined) return 1;
  return expects === 'row' ? row.seq : row.seq + 1;
}

function shown(row: SeenRow | undefined): string {
  return row === undefined ? 'absent' : `${row.value} with seq ${row.seq}`;
}
