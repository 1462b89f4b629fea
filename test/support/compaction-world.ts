/**
 * A database in memory for tests of the compactor: a writer that flushes, compactors beside it in the same process or in others, and a
 * model of all rows. Tables are JSON, and jobs merge them by a few lines that stand for the real merge; manifests, compactions files and
 * seals are real. Time is virtual.
 */
import { expect } from 'vitest';
import { toHex } from '../../src/common/bytes.ts';
import type { CompactorEvent } from '../../src/common/compactor-role.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import { SeededRandom } from '../../src/common/random.ts';
import { makeUlid, type Ulid, ulidTimeMs } from '../../src/common/ulid.ts';
import { type CompactionPlan, type JobResult, NO_ROWS } from '../../src/compaction/compaction-plan.ts';
import { Compactor, type CompactorOptions } from '../../src/compaction/compactor.ts';
import type { SchedulerOptions } from '../../src/compaction/scheduling.ts';
import type { CompactionJob } from '../../src/format/compactions-codec.ts';
import { type Manifest, type TableRef, type TableView, treesOf, viewsOfTree } from '../../src/format/manifest-types.ts';
import { manifestPath, tablePath } from '../../src/format/object-names.ts';
import { Author } from '../../src/lsm/manifest/author.ts';
import {
  COMPACTIONS_FORM,
  findNewestCompactions,
  type JobsFile,
  jobsOf,
} from '../../src/lsm/manifest/compactions-store.ts';
import { EpochGuard } from '../../src/lsm/manifest/epoch-guard.ts';
import { addFlushedRows, claimEpochs, emptyManifest } from '../../src/lsm/manifest/manifest-edits.ts';
import { ManifestLog } from '../../src/lsm/manifest/manifest-log.ts';
import { brokenRules } from '../../src/lsm/manifest/manifest-rules.ts';
import {
  type LoadedManifest,
  listManifestIds,
  NO_WITNESS,
  readManifest,
  sealManifest,
} from '../../src/lsm/manifest/manifest-store.ts';
import { treesByName } from '../../src/lsm/manifest/view-ids.ts';
import { showsKey } from '../../src/lsm/rows/shown-range.ts';
import type { LedgerEntry } from '../../src/lsm/tree/damage-ledger.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import type { ListedObject, ListOptions, ObjectStore } from '../../src/store/object-store.ts';
import { DEFAULTS } from './tree-notation.ts';

/** `undefined`: a tombstone. */
type Row = [key: string, seq: number, value: string | undefined];

/** Jobs against waste are left out: they would change the shapes that tests expect. */
export const SCHEDULER_OPTIONS: SchedulerOptions = { ...DEFAULTS, maxSpaceAmplification: 100 };

const utf8 = (text: string) => new TextEncoder().encode(text);

/** When a process dies: at its nth call, which takes effect or not. Several stores of a process share one. */
export class Fate {
  calls = 0;
  diesAt = Number.POSITIVE_INFINITY;
  takesEffect = false;
  /** Calls are not counted, nor is any the last. */
  isSpared = false;

  get isDead(): boolean {
    return this.calls >= this.diesAt;
  }
}

/** The store as one process calls it: written down, and never answered once the process has died. */
export class ProcessStore {
  readonly store: ObjectStore;
  readonly puts: string[] = [];
  readonly requests: string[] = [];
  /** Thrown by calls. */
  fault: ((call: string) => Error | undefined) | undefined;
  /** Before a call and after it: for a process that stands still, or a store that is slow. */
  wait: ((call: string, isAnswer: boolean) => Promise<void>) | undefined;

  constructor(inner: ObjectStore, fate = new Fate()) {
    const through = async <T>(call: string, run: () => Promise<T>): Promise<T> => {
      const n = fate.isSpared ? 0 : ++fate.calls;
      if (n > fate.diesAt || (n === fate.diesAt && !fate.takesEffect)) return new Promise<T>(() => undefined);
      await this.wait?.(call, false);
      this.requests.push(call);
      const error = this.fault?.(call);
      if (error !== undefined) throw error;
      if (call.startsWith('put ')) this.puts.push(call.slice(4));
      const answer = await run();
      await this.wait?.(call, true);
      return n === fate.diesAt ? new Promise<T>(() => undefined) : answer;
    };
    const listed = async (prefix: string, options?: ListOptions) => {
      const found: ListedObject[] = [];
      for await (const object of inner.list(prefix, options)) found.push(object);
      return found;
    };
    this.store = {
      name: inner.name,
      conformance: 'known',
      get: (path, options) => through(`get ${path}`, () => inner.get(path, options)),
      head: (path, options) => through(`head ${path}`, () => inner.head(path, options)),
      put: (path, bytes, options) => through(`put ${path}`, () => inner.put(path, bytes, options)),
      async *list(prefix, options) {
        yield* await through(`list ${prefix}`, () => listed(prefix, options));
      },
      delete: (paths, options) => through(`delete ${paths.length}`, () => inner.delete(paths, options)),
    };
  }
}

interface ProcessOptions {
  seed?: number;
  settings?: Partial<CompactorOptions>;
  /** Through the log of the writer, or one of its own. */
  beside?: ManifestLog;
  owner?: string;
  fate?: Fate;
}

/** A compactor with the process that it is in. */
export class CompactorProcess {
  readonly io: ProcessStore;
  readonly compactor: Compactor;
  readonly events: CompactorEvent[] = [];
  readonly manifests: ManifestLog;
  /** Jobs that wait for `release`, in the order in which they came; undefined: none has to. */
  held: { plan: CompactionPlan; release(): void; fail(error: unknown): void }[] | undefined;
  readonly plans: CompactionPlan[] = [];
  readonly #world: World;

  constructor(
    world: World,
    current: LoadedManifest,
    { seed = 7, settings = {}, beside, owner = 'other:2', fate }: ProcessOptions,
  ) {
    this.#world = world;
    this.io = new ProcessStore(world.memory, fate);
    const { clock } = world;
    const random = new SeededRandom(seed);
    const author = new Author({ clock, random, owner, databaseId: new Uint8Array(16).fill(3), role: 'compactor' });
    const { store } = this.io;
    this.manifests =
      beside ??
      new ManifestLog({
        store,
        author,
        guard: new EpochGuard(clock, () => []),
        role: 'none',
        epoch: 0,
        current,
        hasBoundary: false,
        witness: () => NO_WITNESS,
        onAdopt: () => this.compactor?.poke('manifest'),
      });
    this.compactor = new Compactor({
      manifests: this.manifests,
      store,
      author,
      guard: new EpochGuard(clock, () => []),
      compactionsVersion: 2,
      logger: SILENT_LOGGER,
      prepareCommit: () => Promise.resolve(),
      correct: (m) => m,
      latestStoreTimeMs: () => undefined,
      maxConcurrentCompactions: 4,
      runJob: (plan, signal) => this.#runJob(plan, signal),
      onEvent: (event) => this.events.push(event),
      losses: world.losses,
      scheduler: undefined,
      schedulerOptions: SCHEDULER_OPTIONS,
      output: {
        blockBytes: 4096,
        codec: 'none',
        filter: { form: 'legacy', bitsPerKey: 10, minKeys: 1000 },
        maxSstBytes: 1 << 20,
      },
      expireTo: (tickMs) => tickMs,
      rowFacts: () => Promise.resolve(() => undefined),
      moves: undefined,
      takeoverMs: 600_000,
      ...settings,
    });
  }

  /** Jobs wait from now on. */
  hold(): void {
    this.held = [];
  }

  async #runJob(plan: CompactionPlan, signal: AbortSignal): Promise<JobResult> {
    this.plans.push(plan);
    const { held } = this;
    if (held !== undefined) {
      await new Promise<void>((resolve, reject) => {
        held.push({ plan, release: resolve, fail: reject });
        signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
      });
    }
    return this.#world.merge(this.io.store, plan);
  }

  /** Events as words: type, and of jobs the reason. */
  get story(): string[] {
    return this.events.map((event) => {
      if (event.type === 'started') return `started ${event.job.reason}`;
      if (event.type === 'ended') return `ended ${event.error.code}`;
      if (event.type === 'committed') return `committed ${event.outcome.rowsIn}>${event.outcome.rowsOut}`;
      return event.type;
    });
  }
}

export class World {
  readonly clock = new ManualClock();
  readonly memory = new MemoryStore({ clock: this.clock });
  readonly random = new SeededRandom(11);
  /** The newest value of each key that was flushed; deleted keys are absent. */
  readonly model = new Map<string, string>();
  readonly fate = new Fate();
  writerStore = new ProcessStore(this.memory, this.fate);
  writer!: ManifestLog;
  onAdopt: (() => void)[] = [];
  ledger: { version: number; open: LedgerEntry[] } = { version: 0, open: [] };
  #seq = 0;

  get losses() {
    const world = this;
    return {
      loadLedger: () => Promise.resolve(true),
      get lost() {
        return world.ledger.open;
      },
      get ledgerVersion() {
        return world.ledger.version;
      },
    };
  }

  static async create(headerVersion: 1 | 2 = 2): Promise<World> {
    const world = new World();
    const author = world.#author('writer');
    const manifest = claimEpochs(emptyManifest(headerVersion, false), { writer: 1 });
    const { bytes, putId } = sealManifest({
      id: 1,
      manifest,
      previous: undefined,
      author,
      epoch: 1,
      witness: NO_WITNESS,
    });
    await world.memory.put(manifestPath(1), bytes, { condition: 'if-absent', putId });
    world.writer = new ManifestLog({
      store: world.writerStore.store,
      author,
      guard: new EpochGuard(world.clock, () => []),
      epoch: 1,
      current: (await readManifest(world.memory, 1))!,
      hasBoundary: false,
      witness: () => NO_WITNESS,
      onAdopt: () => {
        for (const call of world.onAdopt) call();
      },
    });
    return world;
  }

  #author(role: 'writer' | 'tool'): Author {
    const { clock, random } = this;
    return new Author({ clock, random, owner: 'me:1', databaseId: new Uint8Array(16).fill(3), role });
  }

  // ---- the writer

  /** Rows as `a=1 b c=2`: values, and tombstones. */
  async flush(rows: string): Promise<TableView> {
    const parsed = rows.split(' ').map((text): Row => {
      const [key, value] = text.split('=');
      return [key!, ++this.#seq, value];
    });
    const id = makeUlid(this.clock.nowMs(), this.random, this.#newestId());
    const view = await this.store(this.memory, id, parsed);
    this.fate.isSpared = true;
    await this.writer.commit((m) => this.flushed(m, view));
    this.fate.isSpared = false;
    for (const [key, , value] of parsed) {
      if (value === undefined) this.model.delete(key);
      else this.model.set(key, value);
    }
    await this.clock.settle();
    return view;
  }

  flushed(m: Manifest, view: TableView): Manifest {
    return addFlushedRows(m, {
      views: [view],
      replayAfterWalId: m.replayAfterWalId + 1,
      walIdLastSeen: m.walIdLastSeen + 1,
      lastSeq: this.#seq,
      maxCreateTs: this.clock.nowMs(),
      recentSnapshotMinSeq: this.#seq,
    });
  }

  #newestId(): Ulid | undefined {
    const ids = treesOf(this.writer.current.manifest).flatMap((tree) => [
      ...viewsOfTree(tree).map(({ table }) => table.id),
      ...(tree.lastCompacted === undefined ? [] : [tree.lastCompacted]),
    ]);
    return ids.sort().at(-1);
  }

  /** Several flushes, each of some keys. */
  async flushes(count: number, keys = ['a', 'b', 'c']): Promise<void> {
    for (let i = 0; i < count; i++) await this.flush(keys.map((key) => `${key}=${this.#seq}${i}`).join(' '));
  }

  async store(store: ObjectStore, id: Ulid, rows: readonly Row[]): Promise<TableView> {
    const sorted = [...rows].sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : b[1] - a[1]));
    const bytes = utf8(JSON.stringify(sorted));
    await store.put(tablePath(id), bytes, { condition: 'if-absent', putId: makeUlid(this.clock.nowMs(), this.random) });
    const table: TableRef = {
      id,
      formatVersion: 2,
      info: {
        firstEntry: utf8(sorted[0]![0]),
        lastEntry: utf8(sorted.at(-1)![0]),
        indexOffset: bytes.length,
        indexLength: 0,
        filterOffset: bytes.length,
        filterLength: 0,
        codec: 'none',
        tableType: 'compacted',
        statsOffset: 0,
        statsLength: 0,
        filterForm: 'legacy',
      },
    };
    return { viewId: id, table, visibleRange: undefined };
  }

  // ---- compactors

  /** One in the process of the writer. */
  beside(options: ProcessOptions = {}): CompactorProcess {
    const process = new CompactorProcess(this, this.writer.current, { ...options, beside: this.writer, owner: 'me:1' });
    this.onAdopt.push(() => process.compactor.poke('manifest'));
    return process;
  }

  /** One in another process. */
  async elsewhere(options: ProcessOptions = {}): Promise<CompactorProcess> {
    return new CompactorProcess(this, await this.newest(), { seed: 1000 + this.random.nextUint32(), ...options });
  }

  /** The writer and its compactor open again after their process has died; the epoch of the writer is not looked at here. */
  async reopen(): Promise<void> {
    const current = await this.newest();
    this.onAdopt = [];
    this.writerStore = new ProcessStore(this.memory);
    this.writer = new ManifestLog({
      store: this.writerStore.store,
      author: this.#author('writer'),
      guard: new EpochGuard(this.clock, () => []),
      epoch: 1,
      current,
      hasBoundary: false,
      witness: () => NO_WITNESS,
      onAdopt: () => {
        for (const call of this.onAdopt) call();
      },
    });
  }

  /** What stands for the real merge: rows of all sources, newest first, by the rules of retention. */
  async merge(store: ObjectStore, plan: CompactionPlan): Promise<JobResult> {
    const versions = new Map<string, Row[]>();
    let rowsIn = 0;
    for (const { views } of plan.sources) {
      for (const { view } of views) {
        for (const row of await this.#rowsOf(store, view)) {
          versions.set(row[0], [...(versions.get(row[0]) ?? []), row]);
          rowsIn++;
        }
      }
    }
    const kept: Row[] = [];
    let tombstones = 0;
    for (const rows of versions.values()) {
      rows.sort((a, b) => b[1] - a[1]);
      const last = rows.findIndex(([, seq]) => seq <= plan.barrier);
      const left = last < 0 ? rows : rows.slice(0, last + 1);
      while (plan.isBottom && left.length > 0 && left.at(-1)![2] === undefined) {
        left.pop();
        tombstones++;
      }
      kept.push(...left);
    }
    const id = makeUlid(this.clock.nowMs(), this.random, plan.jobId);
    const view = kept.length === 0 ? undefined : await this.store(store, id, kept);
    const output = view && {
      table: view.table,
      sizeBytes: view.table.info.indexOffset,
      rows: kept.length,
      minSeq: 0,
      maxSeq: plan.barrier,
      maxCreateTs: 0,
      firstKey: view.table.info.firstEntry!,
      lastKey: view.table.info.lastEntry!,
    };
    return {
      jobId: plan.jobId,
      outputs: output === undefined ? [] : [output],
      counts: { ...NO_ROWS, rowsIn, rowsOut: kept.length, tombstones, superseded: rowsIn - kept.length - tombstones },
      bytesIn: rowsIn,
      bytesOut: kept.length,
      droppedTombstones: tombstones > 0,
      changedVersions: kept.length < rowsIn,
    };
  }

  async #rowsOf(store: ObjectStore, view: TableView): Promise<Row[]> {
    const got = await store.get(tablePath(view.table.id));
    if (got === undefined) throw new Error(`table ${view.table.id} is gone`);
    const rows = JSON.parse(new TextDecoder().decode(got.bytes)) as Row[];
    return rows.filter(([key]) => showsKey(view, utf8(key))).map(([key, seq, value]) => [key, seq, value ?? undefined]);
  }

  // ---- what is stored

  async newest(): Promise<LoadedManifest> {
    const ids = await listManifestIds(this.memory);
    return (await readManifest(this.memory, ids.at(-1)!))!;
  }

  async file(): Promise<JobsFile & { id: number }> {
    const id = (await findNewestCompactions(this.memory))!;
    return { id, ...jobsOf((await COMPACTIONS_FORM.read(this.memory, id))!) };
  }

  /** Shape of the newest manifest: tables of level 0, and of each run. */
  async shape(): Promise<string> {
    const { manifest } = await this.newest();
    return treesOf(manifest)
      .map(({ l0, runs }) =>
        [`l0 ${l0.length}`, ...runs.map(({ id, views }) => `run ${id}: ${views.length}`)].join(', '),
      )
      .join(' | ');
  }

  /** The rows that a reader of a manifest sees: every table is there, and the newest version of each key is the model's. */
  async audit(model = this.model, loaded?: LoadedManifest): Promise<void> {
    const { manifest } = loaded ?? (await this.newest());
    expect(brokenRules(manifest)).toEqual([]);
    const seen = new Map<string, string | undefined>();
    for (const tree of treesOf(manifest)) {
      const sources = [...tree.l0.map((view) => [view]), ...tree.runs.map(({ views }) => views)];
      for (const views of sources) {
        const newest = new Map<string, Row>();
        for (const view of views) {
          for (const row of await this.#rowsOf(this.memory, view)) {
            if ((newest.get(row[0])?.[1] ?? -1) < row[1]) newest.set(row[0], row);
          }
        }
        for (const [key, [, , value]] of newest) if (!seen.has(key)) seen.set(key, value);
      }
    }
    const rows = [...seen].filter(([, value]) => value !== undefined).sort();
    expect(rows).toEqual([...model].sort());
  }

  /** What holds in whatever is stored, also of manifests that checkpoints pin, and of compactions files for SlateDB. */
  async auditFiles(): Promise<void> {
    const { manifest, id } = await this.newest();
    for (const { runs } of treesOf(manifest)) {
      const ids = runs.map((run) => run.id);
      expect(ids).toEqual([...ids].sort((a, b) => b - a));
      expect(runs.filter(({ views }) => views.length === 0)).toEqual([]);
    }
    for (const checkpoint of manifest.checkpoints) {
      expect(checkpoint.manifestId).toBeLessThanOrEqual(id);
      const pinned = await readManifest(this.memory, checkpoint.manifestId);
      expect(pinned, `manifest ${checkpoint.manifestId} of a checkpoint`).toBeDefined();
      for (const view of treesOf(pinned!.manifest).flatMap(viewsOfTree)) {
        expect(await this.memory.head(tablePath(view.table.id)), 'a pinned table').toBeDefined();
      }
    }
    const files = await findNewestCompactions(this.memory);
    let before: readonly Ulid[] = [];
    for (let n = 1; n <= (files ?? 0); n++) {
      const loaded = await COMPACTIONS_FORM.read(this.memory, n);
      if (loaded === undefined) continue;
      const { compactions, running } = jobsOf(loaded);
      const ids = compactions.jobs.map((job) => job.id);
      for (const job of compactions.jobs) {
        for (const { table } of job.outputs ?? []) {
          expect(ulidTimeMs(table.id)).toBeGreaterThanOrEqual(ulidTimeMs(job.id));
        }
        if (compactions.headerVersion === 1) {
          expect(['submitted', 'completed', 'failed'], 'a job that version 1 shows').toContain(job.status);
        }
        if (n === files && job.status === 'running') {
          expect(lostSources(manifest, job), 'sources of a job that seems to run').toEqual([]);
        }
      }
      const least = [...ids].sort()[0];
      if (least !== undefined) for (const job of running) expect(least <= job.id, 'the watermark').toBe(true);
      // Of new jobs, SlateDB wants ids that are not older than any that was listed.
      const latest = Math.max(0, ...before.map(ulidTimeMs));
      for (const { id: jobId, status } of compactions.jobs) {
        if (status === 'running' && !before.includes(jobId)) expect(ulidTimeMs(jobId)).toBeGreaterThanOrEqual(latest);
      }
      before = ids;
    }
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 5; i++) await this.clock.settle();
  }
}

/** Sources of a job that the manifest does not have: SlateDB would give it to its workers again and again. */
function lostSources(manifest: Manifest, { spec }: CompactionJob): (Ulid | number)[] {
  const tree = treesByName(manifest).get(toHex(spec.segment ?? new Uint8Array(0)));
  const lost = (spec.l0ViewIds ?? []).filter((id) => !tree?.l0.some(({ viewId }) => viewId === id));
  return [...lost, ...(spec.runs ?? []).filter((id) => !tree?.runs.some((run) => run.id === id))];
}
