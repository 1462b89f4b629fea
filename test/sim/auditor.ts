/**
 * Looks at every object in the moment in which it is applied: each passes its decoder and is in canonical form, is written
 * once, and keeps the named rules of the protocol.
 *
 * Rules: ids of the log have no hole and epochs do not fall; a manifest follows from its predecessor (nothing goes back),
 * names only tables that exist, and its replay point lies behind durable objects whose rows its tables hold; tables hold their
 * rows in order, at or below the manifest's last sequence number.
 */
import { compareBytes } from '../../src/common/bytes.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import type { Manifest, TableView } from '../../src/format/manifest-types.ts';
import { parseManifestPath, parseWalPath, tablePath, walPath } from '../../src/format/object-names.ts';
import { fieldsGoneBack } from '../../src/lsm/manifest/manifest-rules.ts';
import { type LoadedManifest, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { BLOCKED, ROW } from '../../src/lsm/rows/row-cursor.ts';
import { BlockCache } from '../../src/lsm/table/block-cache.ts';
import { TableCursor } from '../../src/lsm/table/table-cursor.ts';
import { TableReader } from '../../src/lsm/table/table-reader.ts';
import { readWalObject, type WalReadResult } from '../../src/lsm/wal/wal-object.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import type { SimObject, SimStore } from './sim-store.ts';
import { describe } from './world.ts';

const NEW_ID_ROLES = /^(manifest|wal|compacted)\//;

interface WalFacts {
  epoch: number;
  minSeq: number;
  maxSeq: number;
  rows: number;
}

export class Auditor {
  readonly store: SimStore;
  /** Every object the log ever had, also those that were collected. */
  readonly wal = new Map<number, WalFacts>();
  newest: LoadedManifest | undefined;
  /** Latest epoch that each process has claimed, by its name. */
  readonly claims = new Map<string, number>();
  /** A log is written, so nothing may be in tables that was not in it. */
  readonly hasLog: boolean;
  /** Collectors delete and re-created ids may appear: the rules about holes do not hold. */
  readonly hasCollector: boolean;
  #greatestSeq = 0;
  #greatestEpoch = 0;
  readonly #checkedTables = new Set<string>();
  readonly #cache = new BlockCache({ capacityBytes: 1 << 20 });
  readonly states = new Set<string>();

  constructor(store: SimStore, hasLog: boolean, hasCollector = false) {
    this.store = store;
    this.hasLog = hasLog;
    this.hasCollector = hasCollector;
    store.onApplied = (path, object, replaced) => this.#applied(path, object, replaced);
  }

  #applied(path: string, object: SimObject, replaced: SimObject | undefined): void {
    if (replaced !== undefined && NEW_ID_ROLES.test(path)) this.#fail(`${path} was written twice`);
    const manifestId = parseManifestPath(path);
    if (manifestId !== undefined) this.#manifest(manifestId, object.bytes);
    const walId = parseWalPath(path);
    if (walId !== undefined) this.#walObject(walId, object.bytes);
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
      if (!this.hasCollector) this.#fail(`manifest ${id} was written after manifest ${this.newest.id}`);
      this.states.add('manifest in a collected id');
      return;
    }
    if (this.newest !== undefined && id !== this.newest.id + 1) this.#fail(`manifest ${id} follows ${this.newest.id}`);
    const owner = loaded.seal?.owner?.hostPid;
    if (owner !== undefined) this.claims.set(owner, manifest.writerEpoch);
    if (this.newest !== undefined) this.#follows(this.newest.manifest, manifest, id);
    this.newest = loaded;
    for (const view of manifest.l0) this.#table(view, manifest);
    if (this.hasLog) this.#replayPoint(manifest, id);
    if (manifest.l0.length > 1) this.states.add('several tables');
    if (loaded.seal?.manifest?.isCleanClose) this.states.add('clean close');
  }

  #follows(previous: Manifest, next: Manifest, id: number): void {
    const back = fieldsGoneBack(previous, next);
    if (back.length > 0) this.#fail(`manifest ${id}: ${back.join('; ')}`);
    if (next.walIdLastSeen < previous.walIdLastSeen) this.#fail(`manifest ${id}: the last WAL id seen went back`);
    const kept = new Set(next.l0.map((v) => v.table.id));
    const lost = previous.l0.filter((v) => !kept.has(v.table.id));
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
    this.#walk(view, manifest.lastL0Seq).catch((error) => this.#fail(`table ${id} as written: ${describe(error)}`));
  }

  /** Reads all rows of a table, past every fault. */
  async #walk(view: TableView, lastSeq: number): Promise<void> {
    const { id } = view.table;
    const direct = { get: async (path: string, o?: { range?: never }) => this.store.read(path, o?.range) };
    const reader = new TableReader(view.table, tablePath(id), direct as unknown as ObjectStore, {
      cache: this.#cache,
      onFinding: (f) => this.#fail(`table ${id} as written: ${f.code}`),
    });
    const cursor = new TableCursor([{ view, reader }], { reverse: false });
    let key: Uint8Array | undefined;
    let seq = 0;
    let status = cursor.seek(undefined);
    for (;;) {
      if (status === BLOCKED) {
        await cursor.load();
        status = key === undefined ? cursor.seek(undefined) : cursor.next();
        continue;
      }
      if (status !== ROW) break;
      if (cursor.damage !== undefined) this.#fail(`table ${id} as written is damaged`);
      const rowKey = cursor.keyBuf.slice(cursor.keyStart, cursor.keyStart + cursor.keyLength);
      const order = key === undefined ? -1 : compareBytes(key, rowKey);
      if (order > 0 || (order === 0 && cursor.seq >= seq)) this.#fail(`table ${id}: rows out of order`);
      if (cursor.seq > lastSeq) this.#fail(`table ${id}: seq ${cursor.seq} is above the manifest's ${lastSeq}`);
      key = rowKey;
      seq = cursor.seq;
      status = cursor.next();
    }
    reader.dispose();
  }
}
