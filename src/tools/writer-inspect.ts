/**
 * Who writes to a database: what a program says before it takes the database over. Writes nothing.
 *
 * The newest manifest has the epoch of the last writer; its host and process are in the manifest by which it claimed that epoch, if it is
 * still there. Whether that process lives cannot be known: `liveCheckMs` watches whether anything moves.
 */
import { mapLimit } from '../common/async.ts';
import { type ChecksOf, checkedOptions, MAX_MS, whole } from '../common/option-checks.ts';
import { EpochGuard } from '../lsm/manifest/epoch-guard.ts';
import { readNewestPlace } from './database-state.ts';
import { readStoredManifest } from './named-tables.ts';
import { assertNobodyWrites } from './signs-of-life.ts';
import { type OwnerStats, ownerOf } from './stats-report.ts';
import { type Target, TOOL_CHECKS, type ToolOptions, type ToolTarget, withTarget } from './target.ts';
import { writtenAt } from './tree-inspect.ts';

/** Options of `writerInspect`. */
export interface WriterInspectOptions extends ToolOptions {
  /** How long to watch for a process that writes, ms; rejects with `ConflictError` (`LIVE_WRITER`) if something is written. Default 0: does not look. */
  liveCheckMs?: number;
}

/** The last writer of a database. */
export interface WriterReport {
  schemaVersion: 1;
  /** The newest manifest. */
  manifestId: bigint;
  /** When its author wrote it, by the author's clock, ms since the epoch; absent where it has no seal. */
  writtenAtMs?: number;
  /** Epoch 0: none has opened the database so far. */
  writer: OwnerStats & {
    /** Whether it closed the database in order; absent where the manifest has no seal. */
    closed?: boolean;
  };
  /** Requests that were sent to the store. */
  requests: number;
  /** How long it took, ms. */
  tookMs: number;
}

const CHECKS: ChecksOf<WriterInspectOptions> = { ...TOOL_CHECKS, liveCheckMs: whole(0, MAX_MS) };
/** Claims that are older name no owner here. */
const MANIFESTS_READ = 16;
const READS_AT_ONCE = 16;

const BEFORE_WRITING =
  'Write through that process, or stop it first; or take the database over from it with --if-live-writer fence.';

/**
 * Who has opened a database for writing last, and so would be fenced by an opening now. Rejects with `InvalidArgumentError` (`BAD_OPTION`,
 * `NOT_A_DATABASE`), `ConflictError` (`LIVE_WRITER`, if asked for), `ManifestCorruptionError`, `IncompatibleError`, `UnavailableError`,
 * `AbortError`. Some 10 requests, at most 16 GETs of manifests, and six LISTs with `liveCheckMs`.
 */
export async function writerInspect(target: Target, options: WriterInspectOptions = {}): Promise<WriterReport> {
  const { liveCheckMs = 0, ...common } = checkedOptions('writerInspect', options, CHECKS);
  return withTarget(target, common, async (opened) => {
    const report = await readWriter(opened);
    await assertNobodyWrites(opened, liveCheckMs, BEFORE_WRITING);
    return { ...report, requests: opened.requests(), tookMs: opened.tookMs() };
  });
}

async function readWriter(target: ToolTarget): Promise<Omit<WriterReport, 'requests' | 'tookMs'>> {
  const { stores, clock } = target;
  const { newest, manifestIds } = await readNewestPlace(target, new EpochGuard(clock, stores.latestStoreTimesMs));
  const older = manifestIds.filter((id) => id < newest.id).slice(-MANIFESTS_READ);
  const read = await mapLimit(older.reverse(), READS_AT_ONCE, (id) => readStoredManifest(stores.main, id, 'check'));
  const known = [newest, ...read.flatMap((one) => one?.loaded ?? [])];
  const closed = newest.seal?.manifest?.isCleanClose;
  return {
    schemaVersion: 1,
    manifestId: BigInt(newest.id),
    ...writtenAt(newest),
    writer: {
      ...ownerOf('writer', newest.manifest.writerEpoch, known),
      ...(closed !== undefined && { closed }),
    },
  };
}
