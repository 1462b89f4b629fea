/**
 * What is watched about one handle beside its data: what was dropped open, free space, the event loop; and what its parts count together.
 *
 * 1. It never refers to the handle, nor to its snapshots and scans: they are watched for being dropped (drop-watch 1).
 * 2. Each snapshot, scan and handle is left when it is closed; a snapshot that was dropped open lets go of its pin.
 */
import type { Clock } from '../common/clock.ts';
import { type DropRegistry, dropsOf } from '../common/drop-watch.ts';
import type { Logger } from '../common/logger.ts';
import { type DelayMonitor, LoopDelay } from '../common/loop-delay.ts';
import type { MetricsBuilder } from '../common/metrics.ts';
import { Warnings } from '../common/warnings.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import { ReadCounts, UpkeepCounts } from './counts.ts';
import type { SharedSettings } from './options.ts';
import { SpaceWatch } from './space-watch.ts';

export type HandleKind = 'db' | 'reader';

/** Handles of this process that are not closed. */
const openHandles: Record<HandleKind, number> = { db: 0, reader: 0 };

export interface HandleMonitorOptions {
  kind: HandleKind;
  stores: Pick<DatabaseStores, 'main' | 'local'>;
  clock: Clock;
  logger: Logger;
  settings: Pick<SharedSettings, 'warnFreeBytes' | 'warnLoopDelayMs'>;
  /** For tests. Default: by the clock. */
  drops?: DropRegistry;
  /** For tests. Default: that of Node. */
  delays?: DelayMonitor;
}

export class HandleMonitor {
  readonly reads: ReadCounts;
  readonly upkeep: UpkeepCounts;
  readonly warnings: Warnings;
  readonly #kind: HandleKind;
  readonly #stores: Pick<DatabaseStores, 'local'>;
  readonly #drops: DropRegistry;
  readonly #space: SpaceWatch;
  readonly #loop: LoopDelay | undefined;
  /** Stands for the handle, whose name nothing here knows; undefined: it is not open. */
  #token: object | undefined;

  /** Throws `BAD_OPTION` where the event loop is to be measured and cannot be. */
  constructor(options: HandleMonitorOptions) {
    const { kind, stores, clock, logger, settings, drops = dropsOf(clock), delays } = options;
    const { warnFreeBytes: limitBytes, warnLoopDelayMs: limitMs } = settings;
    this.#kind = kind;
    this.#stores = stores;
    this.#drops = drops;
    const warnings = new Warnings(logger, stores.main.name);
    this.warnings = warnings;
    this.reads = new ReadCounts(drops, () => warnings.give('scan-dropped', DROPPED_SCAN));
    this.upkeep = new UpkeepCounts(clock);
    this.#space = new SpaceWatch({ clock, logger, warnings, limitBytes, places: () => stores.local() });
    const onLong = (delayMs: number) =>
      warnings.give('loop-stalled', stalledText(delayMs, limitMs), { delayMs: Math.round(delayMs), limitMs });
    const monitor = delays === undefined ? {} : { monitor: delays };
    this.#loop = limitMs === 0 ? undefined : new LoopDelay({ clock, limitMs, onLong, ...monitor });
  }

  /** The handle is in the hands of the caller. */
  opened(handle: object): void {
    openHandles[this.#kind]++;
    this.#token = {};
    this.#drops.register(handle, droppedHandle(this, this.#kind), this.#token);
    this.#space.look();
  }

  /** The handle is closed, or has not come about. Harmless when called again. */
  closed(): void {
    this.#loop?.close();
    if (this.#token === undefined) return;
    this.#drops.unregister(this.#token);
    this.#ended();
  }

  /** The handle was dropped. What it does goes on, as nobody has ended it. */
  dropped(): void {
    this.#ended();
  }

  #ended(): void {
    this.#token = undefined;
    openHandles[this.#kind]--;
  }

  /** @param release what is done when it was dropped; must not reach the snapshot */
  snapshotOpened(snapshot: object, release: () => void): void {
    this.#drops.register(snapshot, droppedSnapshot(this, release), snapshot);
  }

  snapshotClosed(snapshot: object): void {
    this.#drops.unregister(snapshot);
  }

  /** Something was done: space may be less now. */
  look(): void {
    this.#space.look();
  }

  addMetrics(builder: MetricsBuilder): void {
    this.#space.look();
    for (const { storeType, openFiles } of this.#stores.local())
      builder.value('shaledb_local_store_open_files', openFiles, { store_type: storeType });
    for (const [store_type, { freeBytes, sizeBytes }] of this.#space.known) {
      builder.value('shaledb_local_store_free_bytes', freeBytes, { store_type });
      builder.value('shaledb_local_store_size_bytes', sizeBytes, { store_type });
    }
    for (const [kind, count] of Object.entries(openHandles))
      builder.value('shaledb_process_open_handles', count, { kind });
    for (const [stat, seconds] of Object.entries(this.#loop?.seconds ?? {}))
      builder.value('shaledb_process_event_loop_delay_seconds', seconds, { stat });
    for (const [code, count] of this.warnings.counts) builder.value('shaledb_warning_count', count, { code });
  }
}

const DROPPED_SCAN =
  'a scan was dropped before its end without close(): until then it held memory of the tables that it reads. Close scans, or read them with for await';
const DROPPED_SNAPSHOT =
  'a snapshot was dropped without close(): until now flushes and compactions kept all that it could see. Close snapshots';
const DROPPED_HANDLE: Readonly<Record<HandleKind, string>> = {
  db: 'a database was dropped without close(): its upkeep goes on until the process ends, and the next opening has to read its log. Close databases',
  reader: 'a reader was dropped without close(): its connections and files may have stayed open. Close readers',
};

function stalledText(delayMs: number, limitMs: number): string {
  return `the event loop stood still for ${Math.round(delayMs)} ms, longer than ${limitMs} (option warnLoopDelayMs): all calls waited for that long; look for long synchronous work`;
}

// Made here, where neither a handle nor a snapshot has a name (drop-watch 1).

function droppedHandle(monitor: HandleMonitor, kind: HandleKind): () => void {
  return () => {
    monitor.dropped();
    monitor.warnings.give('handle-dropped', DROPPED_HANDLE[kind]);
  };
}

function droppedSnapshot({ warnings }: HandleMonitor, release: () => void): () => void {
  return () => {
    release();
    warnings.give('snapshot-dropped', DROPPED_SNAPSHOT);
  };
}
