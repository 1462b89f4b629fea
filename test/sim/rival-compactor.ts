/**
 * A second compactor, on a machine of its own: it takes the epoch, merges everything, as `compact` of an operator does, and may die at any of its
 * calls. What it leaves is for the compactor beside the writer, once that claims again.
 */
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { SeededRandom } from '../../src/common/random.ts';
import { compact } from '../../src/compact-call.ts';
import { CONCAT, call } from './calls.ts';
import { type CrashPoint, Machine, type Process } from './machine.ts';
import type { SimStore } from './sim-store.ts';
import { DROPPING_FILTER } from './upkeep-settings.ts';
import { describe } from './world.ts';

/** How it may end by what others do, or by what the store does. */
const ENDS = ['unavailable', 'fenced', 'aborted', 'closed'];

export class RivalCompactor {
  readonly #store: SimStore;
  readonly #watch: { hasRival: boolean };
  readonly #machine: Machine;
  readonly #filter: { compactionFilter?: typeof DROPPING_FILTER };
  #process: Process | undefined;

  constructor(store: SimStore, watch: { hasRival: boolean }, hasFilter: boolean) {
    this.#store = store;
    this.#watch = watch;
    this.#machine = new Machine(store.world, 'c');
    this.#filter = hasFilter ? { compactionFilter: DROPPING_FILTER } : {};
  }

  /** Begins, beside whatever else there is; it dies as it sends the call of `at`. */
  start(at: CrashPoint | undefined): void {
    const { faults, world } = this.#store;
    this.end();
    const process = this.#machine.start();
    process.crashPoint = at;
    this.#process = process;
    this.#watch.hasRival = true;
    faults.count('second compactor');
    const options = {
      apply: true,
      ifLiveWriter: 'fence',
      liveCheckMs: 0,
      memoryBytes: 8 * 1024 * 1024,
      mergeOperator: CONCAT,
      logger: SILENT_LOGGER,
      random: new SeededRandom(world.seed ^ 0x21fa1),
      clock: process.clock,
      owner: process.name,
      ...this.#filter,
    } as const;
    const wrongLists = faults.wrongLists;
    void call(process, 'compact', () => compact(this.#store.location(process), options)).then((done) => {
      if (done === 'died') return;
      process.kill();
      if ('value' in done) return;
      const { error } = done;
      const isOfLists = faults.wrongLists > wrongLists && error.kind === 'corruption';
      if (!ENDS.includes(error.kind) && !isOfLists) world.fail(`a second compactor: ${describe(error)}`, error);
    });
  }

  /** No call of it arrives any more. */
  end(): void {
    if (this.#process?.isAlive) this.#process.kill();
    this.#process = undefined;
  }
}
