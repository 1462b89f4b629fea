/**
 * Checks what is deleted, in the moment in which it is: at any moment everything is there that the newest manifest, one of the newest few,
 * or a checkpoint that has not expired names, and the boundary files say which numbered files may be gone.
 *
 * Rules: manifests and compactions files go only up to their boundary, which stays below the newest one; outputs of a job that runs, and
 * inputs of tables that were made a moment ago, stay.
 */
import type { Ulid } from '../../src/common/ulid.ts';
import { decodeBoundary } from '../../src/format/boundary.ts';
import { type Manifest, tablesOf } from '../../src/format/manifest-types.ts';
import {
  COMPACTIONS_BOUNDARY_PATH,
  COMPACTIONS_PREFIX,
  compactionsPath,
  MANIFEST_BOUNDARY_PATH,
  manifestPath,
  parseCompactionsPath,
  parseManifestPath,
  parseTablePath,
  parseWalPath,
  tablePath,
  walPath,
} from '../../src/format/object-names.ts';
import type { LineageRecord, RunLineage } from '../../src/format/seal-records.ts';
import { COMMIT_CHECKPOINT_S } from '../../src/lsm/manifest/live-set.ts';
import type { SimStore } from './sim-store.ts';

interface StoredTable {
  storedMs: number;
  lineage: LineageRecord | undefined;
}

interface Options {
  store: SimStore;
  /** How many of the newest manifests a collector of the run keeps. */
  recentManifests: number;
  fail(message: string): void;
  count(what: string): void;
  /** Jobs that run. */
  running(): ReadonlySet<Ulid>;
  /** Ids of the log that were ever written. */
  written: ReadonlyMap<number, unknown>;
}

export class StoreAudit {
  readonly #options: Options;
  readonly #manifests = new Map<number, Manifest>();
  #newestId = 0;
  readonly #tables = new Map<Ulid, StoredTable>();
  /** What a script took away by nobody's rules: that it is missing is nobody's fault. */
  readonly #taken = new Set<string>();

  constructor(options: Options) {
    this.#options = options;
  }

  /** `lineage`: what its seal says. */
  noteTable(id: Ulid, lineage: LineageRecord | undefined): void {
    this.#tables.set(id, { storedMs: this.#options.store.world.wallMs, lineage });
  }

  #runLineage(table: Ulid): RunLineage | undefined {
    const lineage = this.#tables.get(table)?.lineage;
    return lineage?.level === 'run' ? lineage : undefined;
  }

  /** The script takes `path` away, needed or not. */
  take(path: string): void {
    this.#taken.add(path);
  }

  noteManifest(id: number, manifest: Manifest): void {
    this.#manifests.set(id, manifest);
    this.#newestId = id;
    this.checkAll();
  }

  /** Everything that is named is there. */
  checkAll(): void {
    const { store, fail, written } = this.#options;
    const missing = (path: string, why: string) => {
      if (!store.objects.has(path) && !this.#taken.has(path)) fail(`GONE: ${path}, which ${why} needs`);
    };
    for (const [id, why] of this.#needed()) {
      const manifest = this.#manifests.get(id);
      missing(manifestPath(id), why);
      if (manifest === undefined) continue;
      for (const { id: table } of tablesOf(manifest)) missing(tablePath(table), why);
      const { replayAfterWalId: after, walIdLastSeen } = manifest;
      const end = id === this.#newestId ? Math.max(0, ...written.keys()) : walIdLastSeen;
      for (let wal = after + 1; wal <= end; wal++) if (written.has(wal)) missing(walPath(wal), why);
    }
  }

  deleted(path: string): void {
    const { store, fail, count, running } = this.#options;
    const manifestId = parseManifestPath(path);
    const compactionsId = parseCompactionsPath(path);
    const table = parseTablePath(path);
    if (manifestId !== undefined) this.#checkBoundary(path, manifestId, MANIFEST_BOUNDARY_PATH);
    if (compactionsId !== undefined) this.#checkBoundary(path, compactionsId, COMPACTIONS_BOUNDARY_PATH);
    const newest = this.#newestCompactions();
    if (compactionsId !== undefined && compactionsId > newest) fail(`GONE: ${path}, the newest`);
    const job = table === undefined ? undefined : this.#runLineage(table)?.compactionId;
    if (job !== undefined && running().has(job)) fail(`GONE: ${path}, which job ${job} has made and not committed`);
    if (table !== undefined) this.#checkInput(table);
    if (parseWalPath(path) !== undefined) count('log objects deleted');
    else if (table !== undefined) count('tables deleted');
    else if (manifestId !== undefined) count('manifests deleted');
    else if (compactionsId !== undefined) count('compactions files deleted');
    if (store.world.failure === undefined) this.checkAll();
  }

  #newestCompactions(): number {
    const path = this.#options.store.paths(COMPACTIONS_PREFIX).at(-1);
    return path === undefined ? 0 : (parseCompactionsPath(path) ?? 0);
  }

  #checkBoundary(path: string, id: number, boundary: string): void {
    const { store, fail } = this.#options;
    const stored = store.objects.get(boundary);
    const value = stored === undefined ? 0 : decodeBoundary(stored.bytes);
    if (id > value) fail(`${path} was deleted, but ${boundary} is ${value}`);
  }

  /** A boundary file as it is written. */
  noteBoundary(path: string, bytes: Uint8Array): void {
    const { store, fail } = this.#options;
    const value = decodeBoundary(bytes);
    const isManifests = path === MANIFEST_BOUNDARY_PATH;
    const newest = isManifests ? this.#newestId : this.#newestCompactions();
    if (value >= newest) fail(`${path} is ${value}, but the newest file is ${newest}`);
    const newestPath = isManifests ? manifestPath(newest) : compactionsPath(newest);
    if (!store.objects.has(newestPath)) fail(`GONE: ${newestPath}, the newest`);
  }

  /** Inputs of a run of the newest manifest, as long as its damage may be found. */
  #checkInput(table: Ulid): void {
    const { store, fail } = this.#options;
    const newest = this.#manifests.get(this.#newestId);
    for (const run of newest?.runs ?? []) {
      for (const { table: output } of run.views) {
        if (!this.#runLineage(output.id)?.inputs.includes(table)) continue;
        const ageMs = store.world.wallMs - (this.#tables.get(output.id)?.storedMs ?? 0);
        if (ageMs < COMMIT_CHECKPOINT_S * 1000) fail(`GONE: table ${table}, of which ${output.id} was made just now`);
      }
    }
  }

  #needed(): [id: number, why: string][] {
    const { store, recentManifests } = this.#options;
    const newest = this.#manifests.get(this.#newestId);
    if (newest === undefined) return [];
    const needed: [number, string][] = [[this.#newestId, 'the newest manifest']];
    for (let id = this.#newestId - 1; id > this.#newestId - recentManifests && id > 0; id--) {
      if (store.objects.has(manifestPath(id))) needed.push([id, `manifest ${id}, one of the newest,`]);
    }
    for (const { id, manifestId, expireTimeS } of newest.checkpoints) {
      const isOver = expireTimeS !== 0 && expireTimeS * 1000 < store.world.wallMs;
      if (!isOver) needed.push([manifestId, `checkpoint ${id} on manifest ${manifestId}`]);
    }
    return needed;
  }
}
