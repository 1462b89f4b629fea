/**
 * The messages between an owner and the thread that its merges run on, and on which its memtables become tables. Plain data; the memory of
 * stretches, parts, rows and tables goes over with its message, everything else is copied.
 *
 * ```
 * owner   begin, name          feed feed ...                  taken       taken, name              close
 * thread         ready, need need     part part (no more) ...     part, table        ...  done
 *
 * owner   build                 seal               close
 * thread         ... unsealed         flushed
 *                ... empty
 * ```
 *
 * 1. A thread has at most `PARTS_AHEAD` parts of a merge under way that its owner has not taken: then it waits.
 * 2. It asks for the next stretch of an input when it begins the last one that it has, once.
 */

import type { ModuleRef } from '../common/module-ref.ts';
import type { ErrorJson } from '../common/plain.ts';
import type { Codec } from '../format/table-info.ts';
import type { LogCopy } from '../lsm/memtable/log-copy.ts';
import type { FlushedSeal, FlushPlan, TableFormat } from '../lsm/read/memtable-to-table.ts';
import type { MergeEvent } from './merge-host.ts';
import type { MergeSettings } from './merge-step.ts';
import type { OutputName, OutputSeals } from './output-seal.ts';
import type { BlockStretch, HealedBlock } from './stretch-cursor.ts';

export const PARTS_AHEAD = 3;

/** What a thread begins a merge with. */
export interface ThreadStart {
  settings: MergeSettings;
  seals: OutputSeals;
  codecs: readonly Codec[];
  filter: ModuleRef | undefined;
  /** `elsewhere`: there is one, on the owner's thread. */
  operator: ModuleRef | 'elsewhere' | undefined;
}

/** What a thread begins a table with. */
export interface TableStart {
  rows: LogCopy;
  plan: FlushPlan;
  format: Omit<TableFormat, 'codec'> & { codec: Codec };
}

/** To the thread; `work` names one of the merges or tables that it works on. */
export type ToThread = { work: number } & (
  | { kind: 'begin'; start: ThreadStart }
  | { kind: 'feed'; input: number; stretch: BlockStretch }
  | { kind: 'end'; input: number }
  | { kind: 'heal'; input: number; block: HealedBlock }
  | { kind: 'name'; name: OutputName }
  /** The owner has used a part. */
  | { kind: 'taken' }
  | { kind: 'build'; start: TableStart }
  | { kind: 'seal'; seal: FlushedSeal }
  /** Nothing more is asked of the merge, or of the table. */
  | { kind: 'close' }
);

/** The first message of a thread: its file was loaded. */
export const READY = 'ready';

/** From the thread. */
export type FromThread =
  | { kind: 'events'; work: number; events: readonly MergeEvent[] }
  /** All rows are in the table, which waits for its seal. */
  | { kind: 'unsealed'; work: number }
  | { kind: 'flushed'; work: number; bytes: Uint8Array }
  /** No row is kept. */
  | { kind: 'empty'; work: number }
  /** The merge, or the table, has ended. */
  | { kind: 'failed'; work: number; error: ErrorJson }
  /** It needs the operator, which the thread does not have. */
  | { kind: 'operator'; work: number };

/** The whole memory of these bytes, if it can change its owner. */
export function memoryOf({ buffer }: Uint8Array): ArrayBuffer[] {
  return buffer instanceof ArrayBuffer && buffer.byteLength > 0 ? [buffer] : [];
}
