/**
 * Whether a process works on a database at this moment: the ends of its lists are read twice and compared.
 *
 * Age proves nothing, every crashed database has a young end; and an idle writer cannot be seen.
 */
import { makeHint } from '../common/advice.ts';
import { sleep } from '../common/clock.ts';
import { ConflictError } from '../common/errors.ts';
import { compactionsPath, manifestPath, walPath } from '../format/object-names.ts';
import { findNewestCompactions } from '../lsm/manifest/compactions-store.ts';
import { findLastWalId } from '../recovery/log-range.ts';
import { findNewestId } from '../recovery/place.ts';
import type { ToolTarget } from './target.ts';

export const DEFAULT_LIVE_CHECK_MS = 5000;

/** What to say before anything is changed. */
export const IDLE_WRITER_NOTE =
  'Stop every process that uses the database first: an idle writer cannot be seen, and its memory may hold the only good copy of rows (flush it before it ends).';

const BEFORE_REPAIR =
  'Flush the running writer (db.flush({ type: "memtable" })) and stop it, then repair; or let the repair take the database over with --if-live-writer fence (ifLiveWriter: "fence").';

/**
 * Rejects with `ConflictError` (`LIVE_WRITER`) if something moves within `waitMs`; 0 does not look. Six LISTs.
 * @param summary what to do then
 */
export async function assertNobodyWrites(target: ToolTarget, waitMs: number, summary = BEFORE_REPAIR): Promise<void> {
  if (waitMs === 0) return;
  const before = await ends(target);
  await sleep(target.clock, waitMs, target.signal);
  const after = await ends(target);
  const appeared = after.filter((end, i) => end !== before[i]);
  if (appeared.length === 0) return;
  throw new ConflictError(
    'LIVE_WRITER',
    `${target.where}: the database is in use: ${appeared.join(', ')} appeared within ${waitMs} ms. Nothing was changed. ${summary}`,
    {
      details: { moved: appeared },
      hint: makeHint(summary, 'possible'),
    },
  );
}

/** The last object of each list, empty where there is none. Three LISTs. */
async function ends({ stores }: ToolTarget): Promise<string[]> {
  const [manifest, wal, compactions] = await Promise.all([
    findNewestId(stores.main),
    findLastWalId(stores.wal),
    findNewestCompactions(stores.main),
  ]);
  return [
    manifest === undefined ? '' : manifestPath(manifest),
    wal === undefined ? '' : walPath(wal),
    compactions === undefined ? '' : compactionsPath(compactions),
  ];
}
