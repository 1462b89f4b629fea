/**
 * What a writer may have beside its own thread: a place where a large memtable becomes a table. Which threads these are is said where all
 * is joined (upkeep-roles.ts); here they are an interface, because roles do not import each other.
 *
 * 1. The bytes are those that the writer's own thread would have made.
 * 2. Whatever goes wrong there, nothing is stored and no row is gone: the caller has the memtable, and can build the table itself.
 */
import type { TableInfo } from '../../format/table-info.ts';
import type { LogCopy } from '../memtable/log-copy.ts';
import type { FlushedSeal, FlushPlan, TableFormat } from './memtable-to-table.ts';

export interface ThreadFlush {
  plan: FlushPlan;
  format: TableFormat;
  /** Copies the rows; called once there is a thread for them. The copy belongs to the thread from then on. */
  copy(): Promise<LogCopy>;
  /** What the seal says; called when all rows are in the table. */
  seal(): FlushedSeal;
  signal: AbortSignal;
}

export interface FlushedTable {
  /** The whole object. */
  bytes: Uint8Array;
  info: TableInfo;
}

export type FlushOutcome =
  | ({ kind: 'table' } & FlushedTable)
  /** No version is kept. */
  | { kind: 'empty' }
  /** There is no thread for it; nothing was copied. */
  | { kind: 'no-thread' };

export interface TableThreads {
  /** Rejects as soon as the signal aborts, and when its thread fails. */
  build(flush: ThreadFlush): Promise<FlushOutcome>;
}
