/**
 * Commands that write: whom they take the database over from, and the takeover itself.
 *
 * Invariants:
 * 1. Before a database is taken over it is said from whom, and only that writer is fenced: another one is a `FencedError`, and nothing is
 *    written.
 * 2. Nothing is taken over while something is written, unless the caller says so.
 */
import type { WriterReport } from '../admin.ts';
import { type Db, InvalidArgumentError, type OpenOptions } from '../index.ts';
import { resolveLocation } from '../store/location.ts';
import { type Call, type OptionSpecs, REPAIR_OPTIONS } from './command.ts';
import { age, count, number, visible } from './words.ts';

const { 'if-live-writer': IF_LIVE_WRITER, 'live-check-ms': LIVE_CHECK_MS } = REPAIR_OPTIONS;
const DEFAULT_LIVE_CHECK_MS = 5000;
/** Without a compactor nothing is merged: the level may grow. */
export const WITHOUT_UPKEEP: OpenOptions = { compactor: false, gc: false };

export const TAKEOVER_ABOUT =
  'A database has one writer: with --apply this command takes it over, writes, and closes it. A process that has it open is fenced then: it can acknowledge nothing any more, and has to open it again. So without --apply nothing is changed: it says what would be written, and who would be fenced. With --apply it watches for a live writer for five seconds and refuses (exit code 6) if there is one; an idle one cannot be seen.';

export const TAKEOVER_OPTIONS: OptionSpecs = {
  apply: { kind: 'flag', says: 'take the database over and write; without it nothing is changed' },
  'if-live-writer': IF_LIVE_WRITER,
  'live-check-ms': LIVE_CHECK_MS,
};

/** The last writer, or undefined where there is no database. With `--apply` rejects if a process writes. */
export async function lastWriter({ args, printer, tools, common }: Call): Promise<WriterReport | undefined> {
  const isWatched = args.has('apply') && !(args.has('if-live-writer') && args.text('if-live-writer') === 'fence');
  const { liveCheckMs = DEFAULT_LIVE_CHECK_MS } = args.members<{ liveCheckMs: number }>({
    liveCheckMs: 'live-check-ms',
  });
  printer.progress('looking for a process that writes');
  try {
    return await tools.writerInspect(printer.view.location, { ...common, liveCheckMs: isWatched ? liveCheckMs : 0 });
  } catch (error) {
    if (error instanceof InvalidArgumentError && error.code === 'NOT_A_DATABASE') return undefined;
    throw error;
  }
}

/** Who is fenced, in a sentence. */
export function fencedText(report: WriterReport, nowMs: number, fences: 'fences' | 'would fence'): string {
  const { writer, writtenAtMs } = report;
  if (writer.epoch === 0n) return 'Nobody is fenced: no process has opened it for writing so far.';
  const who = `of epoch ${number(writer.epoch)}${writer.owner === undefined ? '' : ` (${visible(writer.owner)})`}`;
  if (writer.closed === true) return `Nobody is fenced: the last writer, ${who}, has closed it.`;
  const when = writtenAtMs === undefined ? '' : `, which wrote the newest manifest ${age(nowMs - writtenAtMs)} ago`;
  return `It ${fences} the writer ${who}${when}.`;
}

/** What is known of the writer, for JSON. */
export function writerJson(report: WriterReport | undefined): object {
  if (report === undefined) return { exists: false };
  const { manifestId, writtenAtMs, writer } = report;
  return { exists: true, manifestId, writtenAtMs, ...writer };
}

/** Opens the database for writing (1), and closes it however `write` ends. */
export async function asWriter<T>(
  { printer, tools, common }: Call,
  report: WriterReport | undefined,
  options: OpenOptions,
  write: (db: Db) => Promise<T>,
): Promise<T> {
  const { root, timeoutMs } = common;
  const { location } = printer.view;
  const place = root === undefined ? undefined : await resolveLocation(location, root);
  const epoch = report?.writer.epoch ?? 0n;
  const expected: OpenOptions =
    report === undefined
      ? { errorIfExists: true }
      : { createIfMissing: false, ...(epoch > 0n && { expectedEpoch: epoch }) };
  try {
    const db = await tools.open(place?.location ?? location, {
      ...(timeoutMs !== undefined && { timeoutMs }),
      ...options,
      ...expected,
      encodingCheck: 'ignore',
    });
    return await closedAfter(db, write);
  } finally {
    place?.dispose();
  }
}

/** The failure of the writing is the one that counts. */
async function closedAfter<T>(db: Db, write: (db: Db) => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await write(db);
  } catch (error) {
    await db.close().catch(() => undefined);
    throw error;
  }
  await db.close();
  return result;
}

/** `3 bytes`. */
export function bytesText(bytes: Uint8Array): string {
  return count(bytes.length, 'byte');
}
