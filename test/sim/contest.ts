/**
 * Conditional writes of writers that take the database from each other, with PUTs whose answers are lost, that land late or twice.
 *
 * A generation is a key that only the first may write (`ifAbsent`), alone or with a second row in one batch; a chain is a row that each
 * extends if it is still the one that was read (`ifSeq`). At the end: a generation has one winner, who is the only one that was
 * acknowledged; each conflict names the row that is there, so it had a reason; and a chain has all that was acknowledged, once.
 */
import type { DbError } from '../../src/common/errors.ts';
import { ConflictError } from '../../src/common/errors.ts';
import type { Db } from '../../src/db/db.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { call, text } from './calls.ts';
import type { Process } from './machine.ts';
import type { Draw } from './script.ts';
import type { World } from './world.ts';

const GENERATIONS = 12;
const CHAIN = 'chain';
const SEPARATOR = ' ';

interface Attempt {
  key: string;
  id: string;
  state: 'submitted' | 'acknowledged' | 'unknown' | 'not-applied' | 'conflict';
  /** Of a conflict: the row that it names. */
  actual?: bigint | undefined;
}

/** A row at the end. */
export interface FinalRow {
  value: string;
  seq: bigint;
}

/** Faults of a call that is no conflict; fails the run if it may not happen. */
type CheckError = (process: Process, error: DbError, what: string) => void;

export class Contest {
  readonly #world: World;
  readonly #draw: Draw;
  readonly #checkError: CheckError;
  readonly #attempts: Attempt[] = [];
  readonly states = new Set<string>();

  constructor(world: World, draw: Draw, checkError: CheckError) {
    this.#world = world;
    this.#draw = draw;
    this.#checkError = checkError;
  }

  /** Rows that are not the commits of the run. */
  static owns(key: string): boolean {
    return key === CHAIN || key.startsWith('g/') || key.startsWith('h/');
  }

  /** Some attempts, perhaps two at once. */
  async play(process: Process, db: Db): Promise<void> {
    const draw = this.#draw;
    if (draw.chance(0.4)) {
      const twice = draw.chance(0.5)
        ? [this.#extend(process, db), this.#extend(process, db)]
        : [this.#extend(process, db)];
      await Promise.all(twice);
      return;
    }
    const n = draw.int(GENERATIONS);
    const count = draw.of([1, 2, 2]);
    await Promise.all(Array.from({ length: count }, () => this.#win(process, db, n)));
  }

  #attempt(process: Process, key: string): Attempt {
    const attempt: Attempt = { key, id: `${process.name}-${this.#attempts.length}`, state: 'submitted' };
    this.#attempts.push(attempt);
    return attempt;
  }

  /** Odd generations have a second row, in one batch with the first. */
  async #win(process: Process, db: Db, n: number): Promise<void> {
    const attempt = this.#attempt(process, `g/${n}`);
    const { key, id } = attempt;
    const done = await call(process, 'conditional', () =>
      n % 2 === 0
        ? db.put(key, id, { ifAbsent: true })
        : db.write(new WriteBatch().put(key, id, { ifAbsent: true }).put(`h/${n}`, id)),
    );
    this.#settle(process, attempt, done);
  }

  async #extend(process: Process, db: Db): Promise<void> {
    const read = await call(process, 'read', () => db.getWithMeta(CHAIN));
    if (read === 'died') return;
    if ('error' in read) return this.#checkError(process, read.error, 'read of the chain');
    const row = read.value;
    const attempt = this.#attempt(process, CHAIN);
    const value = `${row === undefined ? '' : text(row.value)}${attempt.id}${SEPARATOR}`;
    const condition = row === undefined ? { ifAbsent: true } : { ifSeq: row.seq };
    const done = await call(process, 'conditional', () => db.put(CHAIN, value, condition));
    this.#settle(process, attempt, done);
  }

  #settle(process: Process, attempt: Attempt, done: 'died' | { value: unknown } | { error: DbError }): void {
    if (done === 'died') return;
    if ('value' in done) {
      attempt.state = 'acknowledged';
      this.states.add(attempt.key === CHAIN ? 'chain extended' : 'generation won');
    } else if (done.error instanceof ConflictError) {
      attempt.state = 'conflict';
      attempt.actual = done.error.actual;
      this.states.add('conflict');
    } else {
      attempt.state = done.error.outcome === 'unknown' ? 'unknown' : 'not-applied';
      this.#checkError(process, done.error, `${attempt.key} by ${attempt.id}`);
    }
    this.#world.trace(`${process.name} ${attempt.state} ${attempt.key} ${attempt.id}`);
  }

  /** What is there at the end is what the answers said. */
  judge(rows: ReadonlyMap<string, FinalRow>): void {
    const chain = (rows.get(CHAIN)?.value ?? '').trimEnd().split(SEPARATOR);
    if (new Set(chain).size !== chain.length) this.#world.fail(`TWICE in the chain: ${chain.join(' ')}`);
    for (const attempt of this.#attempts) {
      const row = rows.get(attempt.key);
      const isThere = attempt.key === CHAIN ? chain.includes(attempt.id) : row?.value === attempt.id;
      this.#judgeOne(attempt, row, isThere);
    }
    for (let n = 1; n < GENERATIONS; n += 2) {
      const [first, second] = [rows.get(`g/${n}`), rows.get(`h/${n}`)];
      if (first?.value !== second?.value)
        this.#world.fail(`PARTIAL: generation ${n} is ${first?.value} and ${second?.value}`);
    }
  }

  #judgeOne({ key, id, state, actual }: Attempt, row: FinalRow | undefined, isThere: boolean): void {
    const there = `${key} is ${row === undefined ? 'not there' : `${row.value}, seq ${row.seq}`}`;
    if (state === 'acknowledged' && !isThere) this.#world.fail(`TWO WINNERS: ${id} was acknowledged, but ${there}`);
    if ((state === 'not-applied' || state === 'conflict') && isThere)
      this.#world.fail(`${id} was called ${state}, but ${there}`);
    if (state !== 'conflict' || key === CHAIN) return;
    if (row === undefined || row.seq !== actual)
      this.#world.fail(`CONFLICT WITHOUT A REASON: ${id} with seq ${actual}, but ${there}`);
  }
}
