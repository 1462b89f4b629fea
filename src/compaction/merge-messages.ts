/**
 * The messages between the owner of a merge and the thread that it runs on. Plain data; the memory of stretches and parts goes over with its
 * message, everything else is copied.
 *
 * ```
 * owner   begin, name          feed feed ...                  taken       taken, name              close
 * thread         ready, need need     part part (no more) ...     part, table        ...  done
 * ```
 *
 * 1. A thread has at most `PARTS_AHEAD` parts of a merge under way that its owner has not taken: then it waits.
 * 2. It asks for the next stretch of an input when it begins the last one that it has, once.
 */

import type { ModuleRef } from '../common/module-ref.ts';
import type { ErrorJson } from '../common/plain.ts';
import type { Codec } from '../format/table-info.ts';
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

/** To the thread; `merge` names one of those that it runs. */
export type ToThread = { merge: number } & (
  | { kind: 'begin'; start: ThreadStart }
  | { kind: 'feed'; input: number; stretch: BlockStretch }
  | { kind: 'end'; input: number }
  | { kind: 'heal'; input: number; block: HealedBlock }
  | { kind: 'name'; name: OutputName }
  /** The owner has used a part. */
  | { kind: 'taken' }
  /** Nothing more is asked of the merge. */
  | { kind: 'close' }
);

/** The first message of a thread: its file was loaded. */
export const READY = 'ready';

/** From the thread. */
export type FromThread =
  | { kind: 'events'; merge: number; events: readonly MergeEvent[] }
  /** The merge has ended. */
  | { kind: 'failed'; merge: number; error: ErrorJson }
  /** It needs the operator, which the thread does not have. */
  | { kind: 'operator'; merge: number };

/** The whole memory of these bytes, if it can change its owner. */
export function memoryOf({ buffer }: Uint8Array): ArrayBuffer[] {
  return buffer instanceof ArrayBuffer && buffer.byteLength > 0 ? [buffer] : [];
}
