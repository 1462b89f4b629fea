/** All that a thread runs, by turns: merges and the building of tables. Which thread it is in is none of its business. */
import { MergeLoop } from './merge-loop.ts';
import type { ToThread } from './merge-messages.ts';
import { TableLoop, type TableLoopOptions } from './table-loop.ts';

export class ThreadLoop {
  readonly #merges: MergeLoop;
  readonly #tables: TableLoop;

  constructor(options: TableLoopOptions) {
    this.#merges = new MergeLoop(options);
    this.#tables = new TableLoop(options);
  }

  /** Each piece of work has a number of its own: a message is for one of the two, and the other does not know it. */
  take(message: ToThread): void {
    this.#tables.take(message);
    this.#merges.take(message);
  }
}
