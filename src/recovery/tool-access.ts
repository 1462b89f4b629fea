/**
 * How a tool works on a database that this process has open: through the handle, which stays the one writer.
 *
 * A handle answers to `TOOL_ACCESS`, which is in no public type; nothing else of it is known here, so tools need not know the
 * writer.
 *
 * 1. The symbol is one for the whole process, so a second copy of this package finds it, too.
 * 2. What is changed through it is committed by the writer itself: no writer is fenced, and rows that are only in memory stay what they
 *    are (asserted by `ManifestLog` and `WriteState`).
 */
import type { Clock } from '../common/clock.ts';
import type { CompactionReport } from '../common/compactor-role.ts';
import type { Random } from '../common/random.ts';
import type { Author } from '../lsm/manifest/author.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import type { CommitOptions, ManifestChange } from '../lsm/manifest/manifest-log.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';

export const TOOL_ACCESS: unique symbol = Symbol.for('shaledb.tool-access');

export interface ToolAccess {
  readonly stores: DatabaseStores;
  readonly clock: Clock;
  readonly random: Random;
  readonly owner: string;
  readonly author: Author;
  /** Memory that only a flush can free: memtables, and objects on their way to the store; bytes. */
  readonly unflushedBytes: number;
  /** The manifest in use. */
  manifest(): LoadedManifest;
  /** Lists the manifests and takes a newer one into use. */
  refresh(): Promise<void>;
  /** Reads the ledger of losses again: reads answer by what it says now. */
  reloadLedger(): Promise<void>;
  /** Resolves when all rows so far are in tables that the manifest names; what the log held is then no longer needed. */
  flush(): Promise<void>;
  /** As `db.compact()`. */
  compact(signal: AbortSignal | undefined): Promise<CompactionReport>;
  /** Cuts off what runs beside the writer, and holds it until the function that this resolves with is called. */
  pauseUpkeep(): Promise<() => void>;
  /** Writes `change` of the newest manifest; resolves with the manifest that then is in use. */
  commit(change: ManifestChange, options: CommitOptions): Promise<LoadedManifest>;
}

/** What the classes of an open database have besides what users see. */
export interface ToolHandle {
  [TOOL_ACCESS](): ToolAccess;
}

/** The access to an open database; undefined for anything else. Throws if the database serves not yet, or no more. */
export function toolAccessOf(value: unknown): ToolAccess | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const handle = value as Partial<ToolHandle>;
  return typeof handle[TOOL_ACCESS] === 'function' ? handle[TOOL_ACCESS]() : undefined;
}
