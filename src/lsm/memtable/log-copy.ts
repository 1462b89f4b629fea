/**
 * A copy of the rows of a frozen memtable, in memory that another thread can take over: the memtable goes on serving reads here.
 *
 * Copied, not shared: memory that two threads share is freed only when both have collected it, and copies into it are slower
 * (rfcs/0006-compaction.md). Chunks are copied as they are, so a copy is a few large moves of memory and visits no row.
 */
import type { Steps } from '../../common/async.ts';
import { FlushRows, type RowsSummary } from './flush-rows.ts';
import { MemtableLog } from './memtable-log.ts';
import { MemtableOrder } from './memtable-order.ts';

/** Bytes that are copied in a step: some tens of microseconds, with the memory that is touched for the first time. */
const COPIED_PER_STEP_BYTES = 128 * 1024;

/** Plain data. */
export interface LogCopy extends RowsSummary {
  readonly rowCount: number;
  readonly keyCount: number;
  readonly chunks: readonly ArrayBuffer[];
  /** The places of the rows, in the order of their arrival. */
  readonly places: readonly ArrayBuffer[];
}

/** Bytes of the copy, without making it. */
export function logCopyBytes({ log }: FlushRows): number {
  const bytes = (parts: readonly ArrayBufferView[]) => parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  return bytes(log.bytes) + bytes(log.placePages);
}

export function* copyLog({ log, dataBytes, firstSeq, lastSeq }: FlushRows): Steps<LogCopy> {
  const { rowCount, keyCount } = log;
  const chunks: ArrayBuffer[] = [];
  const places: ArrayBuffer[] = [];
  for (const chunk of log.bytes) chunks.push(yield* copyOf(chunk));
  for (const page of log.placePages)
    places.push(yield* copyOf(new Uint8Array(page.buffer, page.byteOffset, page.byteLength)));
  return { rowCount, keyCount, dataBytes, firstSeq, lastSeq, chunks, places };
}

function* copyOf(source: Uint8Array): Steps<ArrayBuffer> {
  // Not zeroed, and not from a pool, whose memory could not go over.
  const memory = Buffer.allocUnsafeSlow(source.length).buffer as ArrayBuffer;
  const target = new Uint8Array(memory);
  for (let from = 0; from < source.length; from += COPIED_PER_STEP_BYTES) {
    target.set(source.subarray(from, from + COPIED_PER_STEP_BYTES), from);
    yield;
  }
  return memory;
}

/** The memory of a copy, which goes over with it. */
export function memoryOfCopy({ chunks, places }: LogCopy): ArrayBuffer[] {
  return [...chunks, ...places].filter(({ byteLength }) => byteLength > 0);
}

/** The rows of a copy, in its memory. */
export function rowsOfCopy({ chunks, places, rowCount, keyCount, ...summary }: LogCopy): FlushRows {
  const log = MemtableLog.of(
    chunks,
    places.map((page) => new Int32Array(page)),
    rowCount,
    keyCount,
  );
  return new FlushRows(log, new MemtableOrder(log), summary);
}
