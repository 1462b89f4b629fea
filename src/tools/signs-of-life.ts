/**
 * Whether somebody works on a database at this moment: two looks at the ends of its lists, and whether anything moved.
 *
 * Age proves nothing, every crashed database has a young end; and an idle writer cannot be seen.
 */
import { sleep } from '../common/clock.ts';
import { ConflictError } from '../common/errors.ts';
import { compactionsPath, manifestPath, walPath } from '../format/object-names.ts';
import { findLastWalId } from '../recovery/log-range.ts';
import { findNewestCompactions, findNewestId } from '../recovery/place.ts';
import type { ToolTarget } from './target.ts';

export const DEFAULT_LIVE_CHECK_MS = 5000;

/** What to say before anything is changed. */
export const IDLE_WRITER_NOTE =
  'Stop every process that uses the database first: an idle writer cannot be seen, and its memory may hold the only good copy of rows (flush it before it ends).';

/** Rejects with `ConflictError` (`LIVE_WRITER`) if something moves within `waitMs`; 0 does not look. Six LISTs. */
export async function assertNobodyWrites(target: ToolTarget, waitMs: number): Promise<void> {
  if (waitMs === 0) return;
  const before = await ends(target);
  await sleep(target.clock, waitMs, target.signal);
  const after = await ends(target);
  const moved = after.filter((end, i) => end !== before[i]);
  if (moved.length === 0) return;
  const summary =
    'Flush the running writer (db.flush({ type: "memtable" })) and stop it, then repair; or let the repair take the database over with --if-live-writer fence (ifLiveWriter: "fence").';
  throw new ConflictError(
    'LIVE_WRITER',
    `${target.where}: somebody works on this database: within ${waitMs} ms came ${moved.join(', ')}. Nothing was changed. ${summary}`,
    {
      details: { moved },
      hint: { summary, commands: [], docs: 'docs/troubleshooting.md', lossIfRepaired: 'possible' },
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
