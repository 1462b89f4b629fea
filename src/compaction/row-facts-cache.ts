/**
 * What is known of the rows of tables, for schedulers that look at tombstones and expiry. Most tables are known from the beginning or as
 * soon as they are read; the ends of the others are read a while after the opening, some at a time.
 *
 * ```
 * manifest in use -> tables without facts -> after QUIET_MS: the ends of MOST_AT_ONCE of them -> onLearnt, and so on
 * ```
 *
 * 1. Asking costs no request: what is not known is undefined, and schedulers do without.
 * 2. A table is asked once; what cannot be read is no matter here, reads report it.
 * 3. Facts of tables that no manifest names are dropped.
 */
import { mapLimit } from '../common/async.ts';
import type { Clock, Timer } from '../common/clock.ts';
import { isDbError } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import type { Ulid } from '../common/ulid.ts';
import { type Manifest, tablesOf } from '../format/manifest-types.ts';
import type { TableMeta } from '../lsm/table/table-reader.ts';
import { type RowFacts, rowFacts } from './scheduling.ts';

/** A process that opens, does something and ends should not pay for it. */
const QUIET_MS = 60_000;
const MOST_AT_ONCE = 32;
const NEXT_MS = 1000;
const IN_FLIGHT = 4;

/** The end of a table, as readers of the database hold it. */
export interface RowFactsSource {
  /** In memory; undefined: it is not. */
  now(table: Ulid): TableMeta | undefined;
  /** One GET, unless it is in memory. Undefined: no view in use names the table. */
  load(table: Ulid): Promise<TableMeta | undefined>;
}

export interface RowFactsCacheOptions {
  clock: Clock;
  logger: Logger;
  ends: RowFactsSource;
  current(): Manifest;
  /** More is known than before. */
  onLearnt(): void;
}

export class RowFactsCache {
  readonly #options: RowFactsCacheOptions;
  /** Undefined: it was asked in vain. */
  readonly #facts = new Map<Ulid, RowFacts | undefined>();
  #timer: Timer | undefined;
  #isStopped = true;
  #isLearning = false;

  constructor(options: RowFactsCacheOptions) {
    this.#options = options;
  }

  start(): void {
    if (!this.#isStopped) return;
    this.#isStopped = false;
    this.#wakeIn(QUIET_MS);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** What is known of the tables of a manifest. No request. */
  of(manifest: Manifest): (table: Ulid) => RowFacts | undefined {
    const named = new Set(tablesOf(manifest).map(({ id }) => id));
    for (const id of this.#facts.keys()) if (!named.has(id)) this.#facts.delete(id);
    for (const id of named) if (!this.#facts.has(id)) this.#note(id, this.#options.ends.now(id));
    if (this.#timer === undefined && !this.#isStopped && this.#unknown().length > 0) this.#wakeIn(QUIET_MS);
    return (table) => this.#facts.get(table);
  }

  /** Asks for the ends of those that nobody has asked for: one GET each. */
  async learn(tables: readonly Ulid[]): Promise<void> {
    const asked = tables.filter((id) => !this.#facts.has(id));
    await mapLimit(asked, IN_FLIGHT, (id) => this.#ask(id));
  }

  #note(id: Ulid, meta: TableMeta | undefined): void {
    if (meta !== undefined) this.#facts.set(id, rowFacts(meta.stats, meta.seal));
  }

  #unknown(): Ulid[] {
    const ids = new Set(tablesOf(this.#options.current()).map(({ id }) => id));
    return [...ids].filter((id) => !this.#facts.has(id));
  }

  #wakeIn(ms: number): void {
    this.#timer = this.#options.clock.setTimer(ms, () => void this.#learn(), false);
  }

  async #learn(): Promise<void> {
    this.#timer = undefined;
    if (this.#isStopped || this.#isLearning) return;
    const unknown = this.#unknown().slice(0, MOST_AT_ONCE);
    if (unknown.length === 0) return;
    this.#isLearning = true;
    let isOut = false;
    await mapLimit(unknown, IN_FLIGHT, async (id) => {
      if (!this.#isStopped && !isOut) isOut = !(await this.#ask(id)) || isOut;
    });
    this.#isLearning = false;
    if (this.#isStopped) return;
    if (this.#unknown().length > 0) this.#wakeIn(isOut ? QUIET_MS : NEXT_MS);
    this.#options.onLearnt();
  }

  /** False: the store does not answer. */
  async #ask(id: Ulid): Promise<boolean> {
    try {
      const meta = await this.#options.ends.load(id);
      if (meta !== undefined) this.#facts.set(id, rowFacts(meta.stats, meta.seal));
      return true;
    } catch (error) {
      // A store that does not answer is asked again later; what is damaged is reported by reads, and by the job that needs it.
      this.#options.logger.debug('the end of a table cannot be read', { table: id, error: String(error) });
      if (isDbError(error) && error.kind === 'unavailable') return false;
      this.#facts.set(id, undefined);
      return true;
    }
  }
}
