/**
 * Whether the log of a database is gone: no object at or after the replay point is there, although there was one.
 *
 * Collectors, SlateDB's of 0.12 to 0.18 too, keep the object at the replay point itself and all after it. A writer moves the replay
 * point only to an object that it has written or replayed. So where neither that object nor a later one is there, the end of the log was
 * deleted, or the log is looked for in the wrong store. The tables are right and the database opens, but which rows were only in the
 * log it cannot be decided: a finding of severity `unknown`, never damage, and nothing is refused or repaired because of it.
 *
 * What must not be taken for it, since it is sound:
 * - A database in which nothing was flushed: its replay point is 0, its log may have no object (created and never opened, a claim that
 *   was cut off before its fence, the log of SlateDB 0.12 switched off, which then has no fences; a union).
 * - A clone. It begins with the replay point of its source, of which only objects after that point are copied, often none.
 * - A clean close of ours whose manifest names the end of the log: all rows are in tables, and no writer came later.
 *
 * Not found, therefore, and left to what `verify` always says about the end of a log (`cannotKnow`):
 * - The log of a database that never moved its replay point.
 * - The log of a clone as long as nothing shows that the clone has flushed. A clone whose parents were detached looks like any other
 *   database without tables in L0: there an older manifest, or a seal, must show that a log was there.
 * - That the object at the replay point alone is gone, with later ones there. It is the usual state of a clone, also after its parents
 *   were detached, and by itself no loss: all that is replayed is there, or else a hole. So the first opening after the loss, whose
 *   fence is such a later object, ends this finding.
 *
 * One sound state is taken for a loss, because nothing distinguishes it and V7 finds most losses of SlateDB's databases: a clone to which
 * SlateDB 0.12 wrote with its log switched off, and whose parents a later release (0.14 on) detached, until a writer opens it. So is,
 * where nothing else proves a log, a log that was deleted by hand after a clean close by SlateDB, which leaves no mark.
 *
 * Invariants:
 * 1. `classifyLogTraces` is pure: no request, and the same traces give the same answer.
 * 2. Only a log that was listed after its manifest was read is called gone: a live writer and a collector may have moved on.
 */
import { DOCTOR, makeHint } from '../common/advice.ts';
import { present } from '../common/assert.ts';
import { type Finding, makeFinding, WHOLE_OBJECT } from '../common/finding.ts';
import { l0Of } from '../format/manifest-types.ts';
import { WAL_PREFIX } from '../format/object-names.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import { type LoadedManifest, listManifestIds, readGoodManifest } from '../lsm/manifest/manifest-store.ts';
import { walFindingObject } from '../lsm/wal/wal-object.ts';
import { isAnyFrom, namedEnd } from './log-range.ts';

/** What manifests record about a log. */
export interface LogTraces {
  /** Of the newest manifest. */
  replayAfterWalId: number;
  /** An object at or after the replay point is there. */
  isAnyThere: boolean;
  /** Highest id that the newest manifest names, in itself or in its seal. */
  namedId: number;
  /** The id in its seal alone, which only a writer or a tool that has seen the object puts there; 0 if there is none. */
  sealedId: number;
  /** The newest manifest is that of a clean close. */
  isCleanClose: boolean;
  /** It names other databases whose tables this one reads. */
  hasParents: boolean;
  /** Level 0 of any tree has a table of this database itself: only its writer, or a repair, puts one there. */
  hasOwnL0: boolean;
  /** Lowest replay point of its older manifests; undefined if none was read. */
  olderReplayAfter: number | undefined;
}

/** `gone`: there was a log. `there`: nothing is gone as a whole. `unproven`: nothing shows that there ever was one. */
export type LogTracesVerdict = 'gone' | 'there' | 'unproven';

interface Rule {
  name: string;
  /** The rule in one sentence. */
  says: string;
  verdict: LogTracesVerdict;
  holds(t: LogTraces): boolean;
}

/** Tried in this order. */
export const LOG_TRACE_RULES: readonly Rule[] = [
  {
    name: 'V1',
    says: 'An object at or after the replay point is there.',
    verdict: 'there',
    holds: (t) => t.isAnyThere,
  },
  {
    name: 'V2',
    says: 'The manifest names objects after the replay point: that each of them is missing is a finding of its own.',
    verdict: 'there',
    holds: (t) => t.namedId > t.replayAfterWalId,
  },
  {
    name: 'V3',
    says: 'The replay point is 0: there may never have been a log.',
    verdict: 'unproven',
    holds: (t) => t.replayAfterWalId === 0,
  },
  {
    name: 'V4',
    says: 'The database was closed and its last manifest names the end of the log: all rows are in tables.',
    verdict: 'there',
    holds: (t) => t.isCleanClose && t.sealedId > 0,
  },
  {
    name: 'V5',
    says: 'The seal of the manifest names an object of the log, and a clone by SlateDB has no seal.',
    verdict: 'gone',
    holds: (t) => t.sealedId > 0,
  },
  {
    name: 'V6',
    says: 'An older manifest has a lower replay point: a writer of this very database has moved it.',
    verdict: 'gone',
    holds: (t) => t.olderReplayAfter !== undefined && t.olderReplayAfter < t.replayAfterWalId,
  },
  {
    name: 'V7',
    says: 'No clone, as far as the manifest shows, and a writer of this database has flushed a table.',
    verdict: 'gone',
    holds: (t) => t.hasOwnL0 && !t.hasParents,
  },
  {
    name: 'V8',
    says: 'The replay point may be that of the source of a clone.',
    verdict: 'unproven',
    holds: () => true,
  },
];

/** The verdict of the first rule that holds. */
export function classifyLogTraces(traces: LogTraces): { verdict: LogTracesVerdict; rule: string } {
  const { verdict, name } = present(
    LOG_TRACE_RULES.find((rule) => rule.holds(traces)),
    'the last rule always holds',
  );
  return { verdict, rule: name };
}

/** What one manifest says. `isAnyThere`: whether an object at or after its replay point is there. */
export function tracesOf(newest: LoadedManifest, isAnyThere: boolean): LogTraces {
  const { manifest, seal } = newest;
  const { replayAfterWalId, externalDbs } = manifest;
  const sealedId = seal?.manifest?.walTail.id ?? 0;
  const ofParents = new Set(externalDbs.flatMap((parent) => parent.tableIds));
  return {
    replayAfterWalId,
    isAnyThere,
    namedId: namedEnd(newest),
    sealedId,
    isCleanClose: seal?.manifest?.isCleanClose === true,
    hasParents: externalDbs.length > 0,
    hasOwnL0: l0Of(manifest).some((view) => !ofParents.has(view.table.id)),
    olderReplayAfter: undefined,
  };
}

/**
 * The finding that the log is gone; undefined if it is not, or if nothing shows it. For callers that have listed the log and seen no
 * object at or after the replay point of `newest`, the newest manifest that is good. No request where that manifest alone answers; else a
 * HEAD and a LIST of the log, and where it proves nothing, a LIST of the manifests and a GET of the oldest, of up to five if damaged.
 */
export async function findVanishedLog(
  stores: Pick<DatabaseStores, 'main' | 'wal' | 'hasWalStore'>,
  newest: LoadedManifest,
  during: Finding['during'],
): Promise<Finding | undefined> {
  const traces = tracesOf(newest, false);
  const byNewest = classifyLogTraces(traces).verdict;
  if (byNewest === 'there' || traces.replayAfterWalId === 0) return undefined;
  if (await isAnyFrom(stores.wal, traces.replayAfterWalId)) return undefined;
  if (byNewest === 'unproven') traces.olderReplayAfter = await oldestReplayAfter(stores.main, newest.id);
  return classifyLogTraces(traces).verdict === 'gone' ? vanishedFinding(traces, stores.hasWalStore, during) : undefined;
}

/** Whether a finding says that the log is gone as a whole, or is elsewhere: no object of it could be looked at. */
export function isAboutWholeLog({ code, object }: Finding): boolean {
  return code === 'OUT_OF_REACH' && object.role === 'wal';
}

/** Oldest manifests that are tried where some of them cannot be read. */
const OLDEST_MANIFESTS_TRIED = 5;

/** Of the oldest manifest that can be read: replay points never go back. A clone that is being made does not count. */
async function oldestReplayAfter(main: DatabaseStores['main'], newestId: number): Promise<number | undefined> {
  const older = (await listManifestIds(main)).filter((id) => id < newestId);
  for (const id of older.slice(0, OLDEST_MANIFESTS_TRIED)) {
    const read = await readGoodManifest(main, id);
    if (read?.manifest.initialized === true) return read.manifest.replayAfterWalId;
  }
  return undefined;
}

function vanishedFinding({ replayAfterWalId }: LogTraces, hasWalStore: boolean, during: Finding['during']): Finding {
  const elsewhere = hasWalStore
    ? 'Look whether walStore of the location is the store that this database keeps its log in.'
    : 'Look whether this database keeps its log in another store: then pass that as walStore of the location.';
  return makeFinding({
    code: 'OUT_OF_REACH',
    severity: 'unknown',
    object: walFindingObject(replayAfterWalId),
    at: WHOLE_OBJECT,
    expected: `WAL object ${replayAfterWalId}, which no collector deletes, or later ones`,
    found: 'none of them: the end of the log was deleted, or is in another store',
    remedy: 'none',
    during,
    hint: makeHint(
      `${elsewhere} If not, bring ${WAL_PREFIX} back from a backup or from older versions of the bucket before anything opens the database for writing, and check again. What is in tables is right, but rows that were only in the log are missing, and it is unknown which. A process that still has the database open has them in memory: let it flush its memtable.`,
      'unknown',
      [DOCTOR],
    ),
  });
}
