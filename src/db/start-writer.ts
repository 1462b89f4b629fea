/**
 * Puts the parts of a writer together around what the opening found, and replays the log.
 *
 * Invariants:
 * 1. The replay begins after the replay point, and applies no row that is newer than our fence.
 * 2. Objects are applied one by one in the order of their ids, each whole.
 */
import { ignoreRejection } from '../common/async.ts';
import { isCorruption, UnavailableError } from '../common/errors.ts';
import { nextInt } from '../common/random.ts';
import { type BlockCodec, loadCodec } from '../format/codecs.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import { ManifestLog, type ManifestLogOptions } from '../lsm/manifest/manifest-log.ts';
import type { TableFormat } from '../lsm/read/memtable-to-table.ts';
import type { TableStore } from '../lsm/tree/table-store.ts';
import type { WalObject } from '../lsm/wal/wal-object.ts';
import { ReplayProgress } from '../recovery/replay-progress.ts';
import type { VerifiedLog } from '../recovery/verified-log.ts';
import type { HandleMonitor } from './handle-monitor.ts';
import type { WriterSettings } from './open-options.ts';
import type { OpenedForWriting } from './open-writer.ts';
import { COMPACTION_PART, type Parts } from './options.ts';
import { applyRows } from './replay.ts';
import { ServingDb } from './serving-db.ts';
import { SnapshotPins } from './snapshot-pins.ts';
import { TableFlusher } from './table-flusher.ts';
import { TakeoverWatch } from './takeover-watch.ts';
import { HostManifests, type HostTables, type MakeUpkeepRoles, Upkeep, type UpkeepHost } from './upkeep.ts';
import { WalFlusher } from './wal-flusher.ts';
import { WriteState } from './write-state.ts';
import { Writer } from './writer.ts';

export interface WriterStart {
  stores: DatabaseStores;
  settings: WriterSettings;
  parts: Parts;
  opened: OpenedForWriting;
  tableStore: TableStore;
  upkeepRoles: MakeUpkeepRoles;
  /** Gets the events of the roles, through `onEvent` of the parts. */
  monitor: HandleMonitor;
  /** Called when no further call is served, whatever the reason. */
  onEnded(): void;
  /** Called when `close` has come to its end. */
  onClosed(): void;
}

export async function startWriter(start: WriterStart): Promise<ServingDb> {
  const { stores, settings, opened, tableStore, monitor, onClosed } = start;
  const { mergeOperator, onCorruption, random } = start.parts;
  const codec = await loadCodec(settings.compressionCodec);
  await tableStore.loadLedger(opened.claimed);
  const joined = joinParts(start, codec);
  const { state, writer, wal, tables, manifests, pins, upkeep } = joined;
  try {
    tables.isUnlimited = true;
    await replay(start, state, writer, manifests);
    tables.isUnlimited = false;
  } catch (error) {
    state.fail(error);
    throw error;
  }
  const { fence } = opened;
  wal?.startAt(state.active, state.active.end);
  state.mustHold(state.lastSeq <= fence.lastSeq, 'no row is replayed that is newer than our fence (start-writer 1)');
  boundReplayed(fence.id, state, writer, tables, settings.maxWalFlushesBeforeL0Flush);
  state.checkTick();
  upkeep.start(manifests.current);
  return new ServingDb({
    stores,
    upkeep,
    monitor,
    state,
    writer,
    wal,
    tables,
    tableStore,
    manifests,
    pins,
    settings,
    mergeOperator,
    onCorruption,
    random,
    onClosed,
  });
}

// ---- the parts

interface JoinedParts {
  state: WriteState;
  manifests: ManifestLog;
  pins: SnapshotPins;
  tables: TableFlusher;
  /** undefined without a log. */
  wal: WalFlusher | undefined;
  writer: Writer;
  upkeep: Upkeep;
}

/** The parts of a writer, each of which learns of the others by calls. Nothing runs yet. */
function joinParts(start: WriterStart, codec: BlockCodec): JoinedParts {
  const { settings, opened, tableStore, parts } = start;
  const { fence, forms } = opened;
  const state = newState(start);
  const manifests = newManifests(start, {
    witness: () => wal?.witness ?? { id: fence.id, lastSeq: fence.lastSeq, digest: fence.digest.bytes },
    onAdopt: (loaded) => {
      const m = loaded.manifest;
      forms.note(loaded);
      state.adopt(tableStore.view(m), m.lastL0Seq);
      // A compactor may have made room for tables that wait.
      tables.advance();
      upkeep.noteManifest(loaded.id);
    },
  });
  const pins = new SnapshotPins(parts.clock);
  const commits: CommitHelp = {
    prepareCommit: () => forms.learn(state.view.tree),
    correct: (m) => forms.correct(m),
  };
  const format = tableFormat(start, codec);
  const upkeep = newUpkeep(start, { state, manifests, pins, format, ...commits });
  const shared = { state, manifests, settings, author: opened.author };
  const tables = new TableFlusher({
    ...shared,
    pins,
    store: start.stores.main,
    ...commits,
    format,
    threads: upkeep.tableThreads,
    keepsWideTracker: opened.profile.keepsWideTracker,
    lastWalId: () => wal?.lastDurableId,
    onCommitted: () => {
      start.monitor.look();
      writer.boundLog();
    },
    whyNotMerged: () => upkeep.whyNotMerged(),
  });
  const wal = settings.walEnabled
    ? new WalFlusher({
        ...shared,
        store: start.stores.wal,
        guard: opened.guard,
        format: { blockBytes: settings.sstBlockSizeBytes, codec, filterForm: opened.profile.filter },
        fence,
        onTableDurable: () => tables.advance(),
        onObjectDurable: () => {
          start.monitor.look();
          writer.boundLog();
        },
      })
    : undefined;
  const watch = new TakeoverWatch(state, manifests, settings.manifestPollIntervalMs);
  const { mergeOperator } = parts;
  const writer = new Writer({ state, wal, tables, settings, mergeOperator, onWrite: () => watch.noteWrite() });
  return { state, manifests, pins, tables, wal, writer, upkeep };
}

function newState({ stores, settings, parts, opened, tableStore, onEnded }: WriterStart): WriteState {
  const { clock, logger, onEvent, random } = parts;
  const { manifest } = opened.claimed;
  const state = new WriteState({
    memoryBytes: settings.memoryBytes,
    timeoutMs: settings.timeoutMs,
    walEnabled: settings.walEnabled,
    clock,
    logger,
    onEvent,
    where: stores.main.name,
    tree: tableStore.view(manifest),
    lastSeq: manifest.lastL0Seq,
    lastTickMs: Math.max(0, Number(manifest.lastL0ClockTick)),
    memtableSeed: () => nextInt(random, 2 ** 31),
  });
  state.onEnd(onEnded);
  // Here, and not where the handle is made: what it would reach there would keep a handle that was dropped.
  state.onEnd(() => tableStore.dispose());
  return state;
}

function newManifests(
  { stores, opened }: WriterStart,
  calls: Pick<ManifestLogOptions, 'witness' | 'onAdopt'>,
): ManifestLog {
  const { author, guard, claimed, hasBoundary } = opened;
  const { writerEpoch: epoch } = claimed.manifest;
  return new ManifestLog({ store: stores.main, author, guard, epoch, current: claimed, hasBoundary, ...calls });
}

type CommitHelp = Pick<UpkeepHost, 'prepareCommit' | 'correct'>;

interface UpkeepMeans extends CommitHelp, Pick<JoinedParts, 'state' | 'manifests' | 'pins'> {
  format: TableFormat;
}

function newUpkeep(start: WriterStart, { state, manifests, pins, format, ...commits }: UpkeepMeans): Upkeep {
  const { stores, settings, opened, tableStore } = start;
  const { clock, logger, mergeOperator, onEvent, operatorModule, random } = start.parts;
  const { author, guard, profile } = opened;
  const { blockBytes, codec, filter } = format;
  const roles = start.upkeepRoles({
    ...commits,
    stores,
    author,
    guard,
    manifests: new HostManifests(manifests, state),
    tables: hostTables(tableStore, state, manifests),
    settings,
    compactionBytes: settings.memoryBytes * COMPACTION_PART,
    mergeOperator,
    operatorModule,
    form: { blockBytes, codec: codec.name, filter },
    headerVersion: profile.manifestHeader,
    expireTo: (tickMs) => (settings.hideExpired ? pins.expireTo(tickMs) : undefined),
    clock,
    logger,
    onEvent,
    random,
  });
  return new Upkeep(roles, state);
}

function hostTables(tableStore: TableStore, state: WriteState, manifests: ManifestLog): HostTables {
  return {
    loadLedger: async (manifest) => {
      const isNew = await tableStore.loadLedger(manifest);
      if (isNew) state.refreshView(tableStore.view(manifests.current.manifest));
      return isNew;
    },
    get lost() {
      return tableStore.lost;
    },
    get ledgerVersion() {
      return tableStore.ledgerVersion;
    },
    readerOf: (table) => tableStore.readerOf(table),
  };
}

function tableFormat({ settings, opened }: WriterStart, codec: BlockCodec): TableFormat {
  return {
    blockBytes: settings.sstBlockSizeBytes,
    codec,
    filter: { form: opened.profile.filter, bitsPerKey: settings.filterBitsPerKey, minKeys: settings.minFilterKeys },
  };
}

// ---- the replay

/** Applies the rows of the log that are not in tables; flushes as it goes where they exceed the memory for unflushed rows. */
async function replay(
  { opened, settings, parts }: WriterStart,
  state: WriteState,
  writer: Writer,
  manifests: ManifestLog,
): Promise<void> {
  const { wal } = opened;
  const last = Math.min(wal.end, opened.fence.id - 1);
  state.mustHold(
    wal.from === manifests.current.manifest.replayAfterWalId + 1,
    'a replay begins after the replay point (start-writer 1)',
  );
  const progress = new ReplayProgress(parts, 'apply', last - wal.from + 1);
  for (let id = wal.from; id <= last; id++) {
    const object = await takeOwned(wal, manifests, id);
    state.mustHold(object.id === id, 'objects are replayed in the order of their ids (start-writer 2)');
    const createTs = await applyRows(object, state.active, state.lastSeq, state.clock);
    state.replayed(object.maxSeq, createTs);
    progress.step();
    if (state.active.dataBytes < settings.l0SstSizeBytes) continue;
    writer.freeze(id);
    while (state.unflushedBytes > settings.maxUnflushedBytes && state.frozen.length > 0) {
      await spaceFreed(state, settings.timeoutMs);
    }
  }
}

/**
 * What an opening had to read counts: a database that is killed again and again must not leave a log that grows forever, whether
 * it writes in its short lives or only fences. Not waited for: it may as well be killed before it serves.
 */
function boundReplayed(
  lastWalId: number,
  state: WriteState,
  writer: Writer,
  tables: TableFlusher,
  maxObjects: number,
): void {
  if (state.active.rowCount > 0 || state.frozen.length > 0) writer.boundLog();
  else if (lastWalId - tables.replayAfterWalId >= maxObjects) ignoreRejection(tables.passEmptyLog(lastWalId));
}

/** An object that is gone or damaged now was sound before: perhaps it was collected after another takeover, which is reported first. */
async function takeOwned(wal: VerifiedLog, manifests: ManifestLog, id: number): Promise<WalObject> {
  try {
    return await wal.take(id);
  } catch (error) {
    if (isCorruption(error)) await manifests.refresh();
    throw error;
  }
}

/** The next moment at which memory is freed; rejects if the store takes no table for longer than any call may last. */
async function spaceFreed(state: WriteState, timeoutMs: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const timer = state.clock.setTimer(timeoutMs, () =>
      reject(
        new UnavailableError(
          'DEADLINE',
          `${state.where}: the log holds more rows than fit into memory, and the store took no table within ${timeoutMs} ms (option timeoutMs).`,
          { outcome: 'unknown' },
        ),
      ),
    );
    state.onSpace(() => {
      timer.cancel();
      resolve();
    });
  });
  state.assertServing();
}
