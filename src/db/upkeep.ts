/**
 * The roles that run beside a writer in its process: what they get of it, when they run, and what is known of them.
 *
 * Which roles there are is said where all is joined (upkeep-roles.ts); here they are interfaces. A further one is a member of `UpkeepRoles`
 * and of `UpkeepState`.
 *
 * Invariants:
 * 1. Roles run while the database serves: from `start` on, and none after the handle has ended, whatever the reason.
 * 2. A failure of a role is in its state and ends nothing else. What it learns about the ownership of the database ends the handle, as if
 *    the writer had learnt it.
 */

import { COMPACT, repairTable } from '../common/advice.ts';
import { present } from '../common/assert.ts';
import { ignoreRejection } from '../common/async.ts';
import type { CollectorRole, CollectorState } from '../common/collector-role.ts';
import type { CompactionReport, CompactorRole, CompactorState } from '../common/compactor-role.ts';
import { FencedError, ManifestCorruptionError } from '../common/errors.ts';
import type { ModuleRef } from '../common/module-ref.ts';
import { asSentence } from '../common/sentence.ts';
import type { Ulid } from '../common/ulid.ts';
import { type Manifest, type Source, sourcesOf } from '../format/manifest-types.ts';
import type { Codec } from '../format/table-info.ts';
import type { Author } from '../lsm/manifest/author.ts';
import { type DatabaseStores, NO_COUNTS } from '../lsm/manifest/database-stores.ts';
import type { EpochGuard } from '../lsm/manifest/epoch-guard.ts';
import type { CommitOptions, ManifestChange, ManifestLog } from '../lsm/manifest/manifest-log.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import { treesByName } from '../lsm/manifest/view-ids.ts';
import type { TableFormat } from '../lsm/read/memtable-to-table.ts';
import type { TableThreads } from '../lsm/read/table-threads.ts';
import type { MergeOperator } from '../lsm/rows/merge-operator.ts';
import type { TableReader } from '../lsm/table/table-reader.ts';
import type { LedgerEntry } from '../lsm/tree/damage-ledger.ts';
import { spaceAmplification, visibleBytes } from '../lsm/tree/visible-bytes.ts';
import type { RequestCounts } from '../store/metered-store.ts';
import type { WriterSettings } from './open-options.ts';
import type { Parts } from './options.ts';
import type { WriteState } from './write-state.ts';

/** What a role gets of the writer that it runs beside, or of what stands for one where none is open. */
export interface UpkeepHost extends Pick<Parts, 'clock' | 'logger' | 'onEvent' | 'random'> {
  /** Those of the writer; a role uses `countedAs` with its name. */
  stores: DatabaseStores;
  author: Author;
  guard: EpochGuard;
  /** The writer's own hold on the manifests: no id is contended. What ends it ends the handle. */
  manifests: Pick<ManifestLog, 'current' | 'commit' | 'refresh' | 'lookForBoundary'>;
  tables: HostTables;
  settings: Pick<WriterSettings, 'hideExpired' | 'l0MaxSsts' | 'l0SstSizeBytes' | 'owner' | 'timeoutMs'>;
  /** What all jobs of the compactor may use at a time. */
  compactionBytes: number;
  mergeOperator: MergeOperator | undefined;
  /** Where it is from, if it is from a module. */
  operatorModule: ModuleRef | undefined;
  /** How tables are written. */
  form: { blockBytes: number; codec: Codec; filter: TableFormat['filter'] };
  /** Of the manifests, by the profile. */
  headerVersion: 1 | 2;
  /** Up to when what has expired may go, at most `tickMs`; undefined: nothing may. */
  expireTo(tickMs: number): number | undefined;
  /** Learns what `correct` needs; may fetch. */
  prepareCommit(): Promise<void>;
  /** Puts what the tables' own info blocks say in place of what the manifest says. */
  correct(manifest: Manifest): Manifest;
}

/** What a role may know of the tables that reads use. */
export interface HostTables {
  /** As those of `TableStore`; where the ledger has changed, reads see it. */
  loadLedger(manifest: LoadedManifest): Promise<boolean>;
  readonly lost: LedgerEntry[];
  readonly ledgerVersion: number;
  /** Of a table in use; undefined: it is not. */
  readerOf(table: Ulid): TableReader | undefined;
}

export class HostManifests {
  readonly #log: ManifestLog;
  readonly #state: Pick<WriteState, 'fail'>;

  constructor(log: ManifestLog, state: Pick<WriteState, 'fail'>) {
    this.#log = log;
    this.#state = state;
  }

  get current(): LoadedManifest {
    return this.#log.current;
  }

  commit(change: ManifestChange, options?: CommitOptions): Promise<void> {
    return this.#watched(this.#log.commit(change, options));
  }

  refresh(): Promise<void> {
    return this.#watched(this.#log.refresh());
  }

  /** As `ManifestLog.lookForBoundary`. */
  lookForBoundary(): void {
    this.#log.lookForBoundary();
  }

  async #watched(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      const isFenced = error instanceof FencedError && error.code === 'WRITER_FENCED';
      if (isFenced || error instanceof ManifestCorruptionError) this.#state.fail(error);
      throw error;
    }
  }
}

/** The roles of one database; absent: switched off. */
export interface UpkeepRoles {
  compactor?: CompactorRole;
  collector?: CollectorRole;
  /** Where large memtables become tables; absent: on the writer's thread. */
  tableThreads?: TableThreads;
  /** Ends what the roles share, threads; called after the handle has ended. */
  end?(): Promise<void>;
}

/** Makes the roles; called once, before the database serves. They do nothing before they are started. */
export type MakeUpkeepRoles = (host: UpkeepHost) => UpkeepRoles;

/** Under which requests of the roles count. */
export const COLLECTOR_NAME = 'collector';
export const COMPACTOR_NAME = 'compactor';

/** How a tree is stored. */
export interface TreeState {
  /** `''`: the root tree; else the prefix of the segment in hex. */
  tree: string;
  /** Tables of level 0: each is a source that a read may have to look into. */
  l0Tables: number;
  /** Sorted runs: each is one source. */
  runs: number;
  /** All that are visible, those of level 0 as well. */
  tables: number;
  /** Stored bytes that are visible in level 0; of a table that is visible in part, an estimate. */
  l0Bytes: number;
  /** The same of all. */
  bytes: number;
}

/** What the work beside reads and writes does, and what it works on. */
export interface UpkeepState {
  /** The manifest in use. */
  manifestId: bigint;
  /** The root tree first. */
  trees: TreeState[];
  /** Stored bytes that are visible, of all trees. */
  liveBytes: number;
  /** How much more is stored and written than was asked for. */
  amplification: Amplification;
  /** Undefined: switched off (option `compactor`). */
  compactor: (CompactorState & SpentRequests) | undefined;
  /** Undefined: switched off (option `gc`). */
  collector: (CollectorState & SpentRequests) | undefined;
}

/** How much more is stored and written than was asked for. */
export interface Amplification {
  /**
   * Estimated: `liveBytes` by the bytes of the lowest runs, as if newer rows were all newer versions. 1: nothing is stored twice. Undefined where
   * there are no sorted runs.
   */
  space: number | undefined;
  /** Bytes of all tables that were written by those of flushes, since the database was opened. Undefined before the first flush. */
  write: number | undefined;
}

/** What a role costs. */
export interface SpentRequests {
  /** Requests and bytes since the database was opened, but for the manifests, which the writer commits. */
  spent: RequestCounts;
}

export class Upkeep {
  readonly #roles: UpkeepRoles;
  readonly #state: Pick<WriteState, 'ended' | 'onEnd'>;
  #isStarted = false;
  #ending: Promise<void> | undefined;

  constructor(roles: UpkeepRoles, state: Pick<WriteState, 'ended' | 'onEnd'>) {
    this.#roles = roles;
    this.#state = state;
    state.onEnd(() => {
      ignoreRejection(this.stop());
      ignoreRejection(this.end());
    });
  }

  /** `manifest`: the one in use. */
  start({ id }: LoadedManifest): void {
    if (this.#state.ended !== undefined) return;
    this.#isStarted = true;
    this.#roles.compactor?.start();
    this.#roles.collector?.start();
    this.noteManifest(id);
  }

  /** A manifest came into use. */
  noteManifest(id: number): void {
    if (!this.#isStarted) return;
    this.#roles.compactor?.poke('manifest');
    this.#roles.collector?.noteCommit(id);
  }

  /** Cuts off what is under way; resolves when nothing is any more. */
  async stop(): Promise<void> {
    await Promise.all([this.#roles.compactor?.stop(), this.#roles.collector?.stop()]);
  }

  /** Ends the threads, whatever they are at; for when the handle has ended. */
  async end(): Promise<void> {
    this.#ending ??= this.#roles.end?.();
    await this.#ending;
  }

  get tableThreads(): TableThreads | undefined {
    return this.#roles.tableThreads;
  }

  /** As `stop`, until the function that it resolves with is called: for a repair. */
  async pause(): Promise<() => void> {
    const resumes = await Promise.all([this.#roles.compactor?.pause(), this.#roles.collector?.pause()]);
    return () => {
      for (const resume of resumes) resume?.();
    };
  }

  get canCompact(): boolean {
    return this.#roles.compactor !== undefined;
  }

  /** As `CompactorRole.compactAll`. */
  compact(signal: AbortSignal | undefined): Promise<CompactionReport> {
    return present(this.#roles.compactor, 'there is a compactor').compactAll(signal);
  }

  /** Why tables of level 0 are not merged, and what to do, in a sentence; undefined: nothing hinders it. */
  whyNotMerged(): string | undefined {
    const state = this.#roles.compactor?.state();
    if (state === undefined)
      return `No compactor runs here (option compactor): open the database with one, or close it and run \`${COMPACT}\`.`;
    const { phase, damagedTables, lastError } = state;
    const [damaged] = damagedTables;
    if (damaged !== undefined) {
      const { table, error } = damaged;
      return `Table ${table} cannot be merged: ${asSentence(error.message)} Run \`${repairTable(table)}\`.`;
    }
    if (phase === 'idle' || phase === 'working') return undefined;
    const why = lastError === undefined ? '' : ` ${asSentence(lastError.message)}`;
    return `The compactor is ${phase}.${why}`;
  }

  /** What is known of the roles; undefined: switched off. */
  roleStates(): { compactor: CompactorState | undefined; collector: CollectorState | undefined } {
    return { compactor: this.#roles.compactor?.state(), collector: this.#roles.collector?.state() };
  }

  state({ id, manifest }: LoadedManifest, stores: Pick<DatabaseStores, 'counts'>): UpkeepState {
    const { byRole } = stores.counts();
    const { compactor, collector } = this.roleStates();
    const shapes = treeStates(manifest);
    const trees = shapes.map(({ state }) => state);
    const flushed = byRole.table?.bytesOut ?? 0;
    const merged = byRole[COMPACTOR_NAME] ?? { ...NO_COUNTS };
    return {
      manifestId: BigInt(id),
      trees,
      liveBytes: trees.reduce((sum, { bytes }) => sum + bytes, 0),
      amplification: {
        space: spaceAmplification(shapes.map(({ state: { bytes }, lowest }) => ({ bytes, lowest }))),
        write: flushed === 0 ? undefined : (flushed + merged.bytesOut) / flushed,
      },
      compactor: compactor && { ...compactor, spent: merged },
      collector: collector && { ...collector, spent: byRole[COLLECTOR_NAME] ?? { ...NO_COUNTS } },
    };
  }
}

function bytesOf(sources: readonly Source[]): number {
  return sources.reduce((n, { views }) => n + views.reduce((m, view) => m + visibleBytes(view), 0), 0);
}

/** What is shown of each tree, and the bytes of its lowest run that has any. */
export function treeStates(manifest: Manifest): { state: TreeState; lowest: number | undefined }[] {
  return [...treesByName(manifest)].map(([name, tree]) => {
    const sources = sourcesOf(tree);
    const l0 = sources.filter(({ level }) => level === 'l0');
    const runs = sources.filter(({ level }) => level === 'run');
    const l0Bytes = bytesOf(l0);
    const runBytes = runs.map((run) => bytesOf([run]));
    const state = {
      tree: name,
      l0Tables: l0.length,
      runs: runs.length,
      tables: l0.length + runs.reduce((n, { views }) => n + views.length, 0),
      l0Bytes,
      bytes: runBytes.reduce((sum, bytes) => sum + bytes, l0Bytes),
    };
    return { state, lowest: runBytes.findLast((bytes) => bytes > 0) };
  });
}
