/**
 * The tables of one manifest, ready to read, and the store of their readers.
 *
 * Invariants:
 * 1. A view never changes after it was made.
 * 2. Each table has one reader, shared between views, so what is cached for a table stays while any manifest names it.
 * 3. A key belongs to the segment whose prefix it starts with, else to the root tree, which is the first.
 */
import { assertThat } from '../../common/assert.ts';
import { compareBytes, startsWith } from '../../common/bytes.ts';
import type { Clock } from '../../common/clock.ts';
import type { Finding } from '../../common/finding.ts';
import type { Ulid } from '../../common/ulid.ts';
import type { Manifest, TableView, Tree } from '../../format/manifest-types.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { ownersOf } from '../manifest/live-set.ts';
import type { LoadedManifest } from '../manifest/manifest-store.ts';
import type { Gap } from '../rows/damaged-block.ts';
import type { BlockCache } from '../table/block-cache.ts';
import { TableReadCounts } from '../table/read-counts.ts';
import { compareToLast, type TableHandle } from '../table/table-handle.ts';
import { TableReader } from '../table/table-reader.ts';
import { isUnknownLoss, type Ledger, type LedgerEntry, readLedger } from './damage-ledger.ts';
import { DamageRegister } from './damage-register.ts';
import { gapsOfLedger, NO_LOSSES, type UnplacedLoss, unplacedLosses } from './lost-ranges.ts';
import { tablePlace } from './parents.ts';

/** Tables of one tree: L0 newest first, runs newest first, tables of a run ascending by key. */
export interface TreeTables {
  prefix: Uint8Array | undefined;
  l0: readonly TableHandle[];
  runs: readonly (readonly TableHandle[])[];
}

export interface TreeView {
  /** The root tree first. */
  readonly trees: readonly TreeTables[];
  /** Losses that repairs recorded. */
  readonly lost: readonly Gap[];
  /** Those whose keys are unknown. */
  readonly unplaced: readonly UnplacedLoss[];
}

export const EMPTY_TREE: TreeView = { trees: [], lost: [], unplaced: NO_LOSSES };

export interface TableStoreOptions {
  /** Sees the database root. */
  store: ObjectStore;
  /** Sees the whole store, for tables that belong to another database. */
  wholeStore: ObjectStore;
  cache: BlockCache;
  clock: Pick<Clock, 'monotonicMs' | 'yieldToLoop'>;
  onFinding(finding: Finding): void;
}

export class TableStore {
  /** Damage to the tables in use. */
  readonly damage = new DamageRegister();
  /** What reads have used of tables, those that are in use no more included. */
  readonly counts = new TableReadCounts();
  readonly #options: TableStoreOptions;
  #readers = new Map<Ulid, TableReader>();
  #ledger: Ledger | undefined;
  #reported: ReadonlySet<string> = new Set();

  constructor(options: TableStoreOptions) {
    const { onFinding } = options;
    // Each piece of damage is reported once, however often it is met.
    this.#options = { ...options, onFinding: (f) => void (this.damage.note(f) && onFinding(f)) };
  }

  /** Losses that are neither acknowledged nor restored. */
  get lost(): LedgerEntry[] {
    return (this.#ledger?.entries ?? []).filter((entry) => entry.state === 'open');
  }

  /** Newest version of the ledger, whether it could be read or not; 0: none. */
  get ledgerVersion(): number {
    return this.#ledger?.version ?? 0;
  }

  /**
   * Reads the ledger of losses for the views to come, unless the manifest names the version that is known, or none, and no loss
   * is open that may have been acknowledged since. True if it was read: one LIST and one GET. For a manifest without seal it
   * is unknown.
   */
  async loadLedger(manifest: LoadedManifest): Promise<boolean> {
    const version = manifest.seal === undefined ? undefined : (manifest.seal.manifest?.ledgerVersion ?? 0);
    if (version === this.ledgerVersion && this.lost.length === 0) return false;
    return this.reloadLedger(manifest);
  }

  /** Reads the ledger again, for the views to come of this manifest and newer ones. One LIST and one GET. */
  async reloadLedger(manifest: LoadedManifest): Promise<true> {
    const before = new Map(this.lost.filter(isUnknownLoss).map((e) => [e.id, e]));
    const ledger = await readLedger(this.#options.store, manifest);
    // What was written since is not what may be lost: the numbers of the first read stay.
    this.#ledger = { ...ledger, entries: ledger.entries.map((e) => (e.at === '' ? (before.get(e.id) ?? e) : e)) };
    const findings = ledger.damage.flatMap((error) => error.findings);
    // The register keeps damage to tables only, so what was reported about the ledger is kept here.
    for (const f of findings) if (!this.#reported.has(`${f.severity} ${f.id}`)) this.#options.onFinding(f);
    this.#reported = new Set(findings.map((f) => `${f.severity} ${f.id}`));
    return true;
  }

  /** The view of a manifest. Readers of tables that it no longer names are dropped. */
  view(manifest: Manifest): TreeView {
    const owners = ownersOf(manifest);
    const next = new Map<Ulid, TableReader>();
    const handle = (view: TableView): TableHandle => {
      const { id } = view.table;
      const reader = next.get(id) ?? this.#readers.get(id) ?? this.#open(view, owners.get(id));
      next.set(id, reader);
      return { view, reader };
    };
    const tables = (tree: Tree, prefix: Uint8Array | undefined): TreeTables => ({
      prefix,
      l0: tree.l0.map(handle),
      runs: tree.runs.map((run) => run.views.map(handle)),
    });
    const trees = [tables(manifest, undefined), ...(manifest.segments ?? []).map((s) => tables(s, s.prefix))];
    for (const [id, reader] of this.#readers) if (!next.has(id)) reader.dispose();
    this.#readers = next;
    assertThat(trees[0].prefix === undefined, 'the root tree is the first (table-store 3)');
    const inUse = new Set([...next.values()].map((reader) => reader.path));
    assertThat(inUse.size === next.size, 'each table has one reader, shared between views (table-store 2)');
    this.damage.keepOnly(inUse);
    const entries = this.#ledger?.entries ?? [];
    return { trees, lost: gapsOfLedger(entries, inUse), unplaced: unplacedLosses(entries, manifest.replayAfterWalId) };
  }

  #open({ table }: TableView, owner: string | undefined): TableReader {
    const { store: main, wholeStore: whole } = this.#options;
    const { store, path } = tablePlace({ main, whole }, owner, table.id);
    return new TableReader(table, path, store, { ...this.#options, counts: this.counts });
  }

  get cache(): BlockCache {
    return this.#options.cache;
  }

  /** Of a table that the newest view has; undefined: it has none of this id. */
  readerOf(table: Ulid): TableReader | undefined {
    return this.#readers.get(table);
  }

  dispose(): void {
    for (const reader of this.#readers.values()) reader.dispose();
    this.#readers.clear();
  }
}

/** The tree a key belongs to. */
export function treeOf(view: TreeView, key: Uint8Array): TreeTables {
  for (let i = 1; i < view.trees.length; i++) {
    if (startsWith(key, view.trees[i].prefix as Uint8Array)) return view.trees[i];
  }
  return view.trees[0];
}

/** Index of the first table of a run that can hold `key`; the run's length if none can. */
export function firstInRun(run: readonly TableHandle[], key: Uint8Array): number {
  let lo = 0;
  let hi = run.length;
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (compareToLast(run[mid], key) < 0) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

/** Tables whose keys can be in a range, as sorted sources newest first. */
export function sourcesInRange(
  view: TreeView,
  gte: Uint8Array | undefined,
  lt: Uint8Array | undefined,
): (readonly TableHandle[])[] {
  const overlaps = (h: TableHandle) => {
    const { firstEntry, lastEntry } = h.view.table.info;
    if (lt !== undefined && firstEntry !== undefined && compareBytes(firstEntry, lt) >= 0) return false;
    return gte === undefined || lastEntry === undefined || compareBytes(lastEntry, gte) >= 0;
  };
  const out: (readonly TableHandle[])[] = [];
  for (const tree of view.trees) {
    for (const handle of tree.l0) if (overlaps(handle)) out.push([handle]);
    for (const run of tree.runs) {
      const part = run.filter(overlaps);
      if (part.length > 0) out.push(part);
    }
  }
  return out;
}
