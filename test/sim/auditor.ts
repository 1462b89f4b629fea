/**
 * Checks every object in the moment in which it is applied: each passes its decoder and is in canonical form, is written
 * once, and keeps the named rules of the protocol.
 *
 * Rules: ids of the log have no hole and epochs do not fall; a manifest follows from its predecessor (nothing goes back),
 * keeps each checkpoint for its time, names only tables that exist, and its replay point is after durable objects whose rows its tables hold; tables hold their
 * rows in order, at or below the manifest's last sequence number. What compactions do is checked in compaction-audit.ts, what is deleted
 * in store-audit.ts.
 */
import { compareBytes } from '../../src/common/bytes.ts';
import type { Ulid } from '../../src/common/ulid.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import { type Manifest, type TableView, viewsOf } from '../../src/format/manifest-types.ts';
import {
  BOUNDARY_PREFIX,
  COMPACTIONS_PREFIX,
  parseManifestPath,
  parseTablePath,
  parseWalPath,
  tablePath,
  walPath,
} from '../../src/format/object-names.ts';
import { decreasedFields } from '../../src/lsm/manifest/manifest-rules.ts';
import { type LoadedManifest, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { readWalObject, type WalReadResult } from '../../src/lsm/wal/wal-object.ts';
import { readTableTail } from '../../src/recovery/stored-tables.ts';
import type { GetOptions, ObjectStore } from '../../src/store/object-store.ts';
import { CompactionAudit, type RowFunctions } from './compaction-audit.ts';
import type { SimObject, SimStore } from './sim-store.ts';
import { StoreAudit } from './store-audit.ts';
import { TableRows } from './table-rows.ts';
import { describe } from './world.ts';

const NEW_ID_ROLES = /^(manifest|wal|compacted|compactions)\//;

interface WalFacts {
  epoch: number;
  minSeq: number;
  maxSeq: number;
  rows: number;
}

export interface AuditorOptions {
  /** A log is written, so nothing may be in tables that was not in it. */
  hasLog: boolean;
  /** Collectors delete, and ids that they have deleted may appear again: the rules about holes do not hold. */
  hasCollector?: boolean;
  /** How many of the newest manifests the collector keeps; absent: what is deleted is not checked, as by nobody's rules. */
  recentManifests?: number | undefined;
  /** What compactors of the run are given; absent: nothing is compacted. */
  functions?: RowFunctions | undefined;
}

export class Auditor {
  readonly store: SimStore;
  /** Every object the log ever had, also those that were collected. */
  readonly wal = new Map<number, WalFacts>();
  newest: LoadedManifest | undefined;
  /** Latest epoch that each process has claimed, by its name. */
  readonly claims = new Map<string, number>();
  readonly #hasLog: boolean;
  readonly #hasCollector: boolean;
  readonly #rows: TableRows;
  readonly compactions: CompactionAudit | undefined;
  readonly #stored: StoreAudit | undefined;
  #greatestSeq = 0;
  #greatestEpoch = 0;
  readonly #checkedTables = new Set<string>();
  readonly states = new Set<string>();
  /** Called with every table of a compaction, in the moment in which it was stored. */
  onRunTable: ((path: string) => void) | undefined;
  /** What was done how often. */
  readonly counts = new Map<string, number>();

  constructor(store: SimStore, { hasLog, hasCollector = false, recentManifests, functions }: AuditorOptions) {
    this.store = store;
    this.#hasLog = hasLog;
    this.#hasCollector = hasCollector || recentManifests !== undefined;
    const fail = (message: string) => this.#fail(message);
    const count = (what: string) => this.count(what);
    this.#rows = new TableRows(store, fail);
    if (functions !== undefined) this.compactions = new CompactionAudit({ rows: this.#rows, functions, fail, count });
    if (recentManifests !== undefined) {
      const running = () => new Set(this.compactions?.running.map((job) => job.id));
      this.#stored = new StoreAudit({ store, recentManifests, written: this.wal, fail, count, running });
      store.onDeleted = (path) => this.#stored?.deleted(path);
    }
    store.onApplied = (path, object, replaced) => this.#applied(path, object, replaced);
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  /** Everything that is needed is there. */
  checkStore(): void {
    this.#stored?.checkAll();
  }

  /** The script takes an object away that others need. */
  take(path: string): void {
    this.#stored?.take(path);
  }

  #applied(path: string, object: SimObject, replaced: SimObject | undefined): void {
    if (replaced !== undefined && NEW_ID_ROLES.test(path)) this.#fail(`${path} was written twice`);
    const manifestId = parseManifestPath(path);
    if (manifestId !== undefined) this.#manifest(manifestId, object.bytes);
    const walId = parseWalPath(path);
    if (walId !== undefined) this.#walObject(walId, object.bytes);
    if (path.startsWith(COMPACTIONS_PREFIX)) this.compactions?.noteFile(path, object.bytes);
    if (path.startsWith(BOUNDARY_PREFIX)) this.#stored?.noteBoundary(path, object.bytes);
    const table = parseTablePath(path);
    if (table !== undefined) this.#watch(this.#noteTable(table, path, object.bytes));
  }

  async #noteTable(id: Ulid, path: string, bytes: Uint8Array): Promise<void> {
    const direct = { get: async (of: string, o?: GetOptions) => this.store.read(of, o?.range) };
    const tail = await readTableTail(direct as unknown as ObjectStore, { id, size: bytes.length });
    const lineage = tail?.seal?.lineage;
    this.#stored?.noteTable(id, lineage);
    if (lineage?.level === 'run') this.onRunTable?.(path);
  }

  /** What does not wait for anything outside of this process. */
  #watch(work: Promise<void> | undefined): void {
    work?.catch((error) => this.#fail(`what was written cannot be checked: ${describe(error)}`));
  }

  #fail(message: string): void {
    this.store.world.fail(message);
  }

  #manifest(id: number, bytes: Uint8Array): void {
    let loaded: LoadedManifest;
    try {
      loaded = loadManifest(id, bytes);
    } catch (error) {
      this.#fail(`manifest ${id} as written does not load: ${describe(error)}`);
      return;
    }
    const { manifest } = loaded;
    const body = encodeManifest(manifest);
    if (compareBytes(body, bytes.subarray(0, body.length)) !== 0) this.#fail(`manifest ${id} is not in canonical form`);
    // A manifest in an id that a collector has deleted does not count for anybody.
    if (this.newest !== undefined && id <= this.newest.id) {
      if (!this.#hasCollector) this.#fail(`manifest ${id} was written after manifest ${this.newest.id}`);
      this.states.add('manifest in a collected id');
      return;
    }
    if (this.newest !== undefined && id !== this.newest.id + 1) this.#fail(`manifest ${id} follows ${this.newest.id}`);
    const owner = loaded.seal?.owner?.hostPid;
    if (owner !== undefined) this.claims.set(owner, manifest.writerEpoch);
    if (this.newest !== undefined) this.#follows(this.newest.manifest, manifest, id);
    this.newest = loaded;
    for (const view of viewsOf(manifest)) this.#table(view, manifest);
    this.#stored?.noteManifest(id, manifest);
    if (this.#hasLog) this.#replayPoint(manifest, id);
    if (manifest.l0.length > 1) this.states.add('several tables');
    if (loaded.seal?.manifest?.isCleanClose) this.states.add('clean close');
  }

  #follows(previous: Manifest, next: Manifest, id: number): void {
    const back = decreasedFields(previous, next);
    if (back.length > 0) this.#fail(`manifest ${id}: ${back.join('; ')}`);
    const early = previous.checkpoints.find(
      ({ id: old, expireTimeS }) =>
        (expireTimeS === 0 || expireTimeS * 1000 >= this.store.world.wallMs) &&
        next.checkpoints.every((kept) => kept.id !== old),
    );
    if (early !== undefined) this.#fail(`manifest ${id}: checkpoint ${early.id} is gone before its time`);
    if (next.walIdLastSeen < previous.walIdLastSeen) this.#fail(`manifest ${id}: the last WAL id seen went back`);
    if (this.compactions !== undefined) {
      this.#watch(this.compactions.follow(previous, next, id));
      return;
    }
    const kept = new Set(viewsOf(next).map((v) => v.table.id));
    const lost = viewsOf(previous).filter((v) => !kept.has(v.table.id));
    if (lost.length > 0) this.#fail(`manifest ${id} forgets table ${lost[0].table.id}`);
  }

  /** What the tables hold and where the log begins must meet: no row between, and none that was never durable. */
  #replayPoint(m: Manifest, id: number): void {
    const { replayAfterWalId, lastL0Seq } = m;
    for (const [walId, facts] of this.wal) {
      if (walId <= replayAfterWalId && facts.rows > 0 && facts.maxSeq > lastL0Seq) {
        this.#fail(
          `manifest ${id} replays after WAL ${replayAfterWalId}, but no table holds seq ${facts.maxSeq} of WAL ${walId}`,
        );
      }
    }
    if (lastL0Seq > this.#greatestSeq) this.#fail(`manifest ${id}: seq ${lastL0Seq} is in tables, but not in the log`);
    if (replayAfterWalId > 0 && !this.wal.has(replayAfterWalId)) {
      this.#fail(`manifest ${id} replays after WAL ${replayAfterWalId}, which was never written`);
    }
  }

  #walObject(id: number, bytes: Uint8Array): void {
    if (id > 1 && !this.wal.has(id - 1)) this.#fail(`WAL ${id} leaves a hole before it`);
    if (this.wal.has(id)) {
      this.states.add('object in a collected WAL id');
      return;
    }
    // Filled in within this turn: decoding waits for nothing.
    const facts: WalFacts = { epoch: 0, minSeq: 0, maxSeq: 0, rows: 0 };
    this.wal.set(id, facts);
    readWalObject(id, bytes).then(
      (result) => this.#learn(result, facts),
      (error) => this.#fail(`${walPath(id)} as written: ${describe(error)}`),
    );
  }

  #learn({ id, object, findings }: WalReadResult, facts: WalFacts): void {
    if (object === undefined || findings.length > 0) {
      this.#fail(`${walPath(id)} as written is damaged: ${findings[0]?.code}`);
      return;
    }
    facts.epoch = object.seal?.identity.epoch ?? 0;
    facts.rows = object.rowCount;
    facts.minSeq = object.minSeq;
    facts.maxSeq = object.maxSeq;
    if (object.kind === 'fence') this.states.add('fence');
    // Zero-byte fences say no epoch.
    if (facts.epoch > 0) {
      if (facts.epoch < this.#greatestEpoch) this.#fail(`WAL ${id}: the epoch falls from ${this.#greatestEpoch}`);
      this.#greatestEpoch = facts.epoch;
    }
    if (facts.rows === 0) return;
    if (facts.minSeq <= this.#greatestSeq) this.#fail(`WAL ${id}: seq ${facts.minSeq} was in the log before`);
    this.#greatestSeq = facts.maxSeq;
  }

  #table(view: TableView, manifest: Manifest): void {
    const { id } = view.table;
    if (this.#checkedTables.has(id)) return;
    this.#checkedTables.add(id);
    if (!this.store.objects.has(tablePath(id))) {
      this.#fail(`a manifest names table ${id}, which does not exist`);
      return;
    }
    this.#watch(this.#checkRows(view, manifest.lastL0Seq));
  }

  async #checkRows(view: TableView, lastSeq: number): Promise<void> {
    const { rows } = await this.#rows.of(view);
    const late = rows.find(({ seq }) => seq > lastSeq);
    if (late !== undefined) this.#fail(`table ${view.table.id}: seq ${late.seq} is above the manifest's ${lastSeq}`);
  }
}
