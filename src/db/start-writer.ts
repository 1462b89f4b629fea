/** Puts the parts of a writer together around what the opening found, and replays the log. */
import { ignoreRejection } from '../common/async.ts';
import { isCorruption, UnavailableError } from '../common/errors.ts';
import { nextInt } from '../common/random.ts';
import { loadCodec } from '../format/codecs.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import { ManifestLog } from '../lsm/manifest/manifest-log.ts';
import type { TableStore } from '../lsm/tree/table-store.ts';
import type { WalObject } from '../lsm/wal/wal-object.ts';
import { ReplayProgress } from '../recovery/replay-progress.ts';
import type { VerifiedLog } from '../recovery/verified-log.ts';
import { Db } from './db.ts';
import type { OpenedForWriting } from './open-writer.ts';
import type { ResolvedOptions } from './options.ts';
import { applyRows } from './replay.ts';
import { TableFlusher } from './table-flusher.ts';
import { WalFlusher } from './wal-flusher.ts';
import { WriteState } from './write-state.ts';
import { Writer } from './writer.ts';

/** `onEnded` is called when no further call is served, whatever the reason; `onClosed` when `close` has come to its end. */
export async function startWriter(
  stores: DatabaseStores,
  options: ResolvedOptions,
  opened: OpenedForWriting,
  tableStore: TableStore,
  onEnded: () => void,
  onClosed: () => void,
): Promise<Db> {
  const { author, guard, claimed, profile, fence, forms } = opened;
  const { random } = options;
  const codec = await loadCodec(options.compressionCodec);
  const { manifest } = claimed;
  await tableStore.loadLedger(claimed);
  const tick = Number(manifest.lastL0ClockTick);
  const state = new WriteState(
    options,
    stores.main.name,
    tableStore.view(manifest),
    { lastSeq: manifest.lastL0Seq, lastTickMs: Math.max(0, tick) },
    () => nextInt(random, 2 ** 31),
  );
  state.onEnd(onEnded);
  let wal: WalFlusher | undefined;
  const manifests = new ManifestLog({
    store: stores.main,
    author,
    guard,
    epoch: manifest.writerEpoch,
    current: claimed,
    hasBoundary: opened.hasBoundary,
    witness: () => wal?.witness ?? { id: fence.id, lastSeq: fence.lastSeq, digest: fence.digest.bytes },
    onAdopt: (loaded) => {
      const m = loaded.manifest;
      forms.note(loaded);
      state.adopt(tableStore.view(m), m.lastL0Seq);
      // A compactor may have made room for tables that wait.
      tables.advance();
    },
  });
  const tables = new TableFlusher({
    state,
    store: stores.main,
    author,
    manifests,
    format: {
      blockBytes: options.sstBlockSizeBytes,
      codec,
      filter: { form: profile.filter, bitsPerKey: options.filterBitsPerKey, minKeys: options.minFilterKeys },
    },
    lastWalId: () => wal?.lastDurableId,
    keepsWideTracker: profile.keepsWideTracker,
    prepareCommit: () => forms.learn(state.view.tree),
    correct: (m) => forms.correct(m),
    onCommitted: () => writer.boundLog(),
  });
  if (options.walEnabled) {
    wal = new WalFlusher({
      state,
      store: stores.wal,
      author,
      guard,
      manifests,
      format: { blockBytes: options.sstBlockSizeBytes, codec, filterForm: profile.filter },
      fence,
      onTableDurable: () => tables.advance(),
      onObjectDurable: () => writer.boundLog(),
    });
  }
  let db: Db | undefined;
  const writer = new Writer({ state, wal, tables, onWrite: () => db?.noteWrite() });
  try {
    await replay(opened, state, writer, manifests);
  } catch (error) {
    state.fail(error);
    throw error;
  }
  wal?.startAt(state.active, state.active.end);
  boundReplayed(fence.id, state, writer, tables);
  state.checkTick();
  db = new Db({ stores, state, writer, wal, tables, tableStore, manifests, onClosed });
  return db;
}

/** Applies the rows of the log that are not in tables; flushes as it goes where they exceed the memory for unflushed rows. */
async function replay(
  opened: OpenedForWriting,
  state: WriteState,
  writer: Writer,
  manifests: ManifestLog,
): Promise<void> {
  const { wal } = opened;
  const { options } = state;
  const last = Math.min(wal.end, opened.fence.id - 1);
  const progress = new ReplayProgress(options, 'apply', last - wal.from + 1);
  for (let id = wal.from; id <= last; id++) {
    const object = await takeOwned(wal, manifests, id);
    const createTs = await applyRows(object, state.active, state.lastSeq, state.clock);
    state.replayed(object.maxSeq, createTs);
    progress.step();
    if (state.active.dataBytes < options.l0SstSizeBytes) continue;
    writer.freeze(id);
    while (state.unflushedBytes > options.maxUnflushedBytes && state.frozen.length > 0) {
      await spaceFreed(state);
    }
  }
}

/**
 * What an opening had to read counts: a database that is killed again and again must not leave a log that grows for ever, whether
 * it writes in its short lives or only fences. Not waited for: it may as well be killed before it serves.
 */
function boundReplayed(lastWalId: number, state: WriteState, writer: Writer, tables: TableFlusher): void {
  if (state.active.rowCount > 0 || state.frozen.length > 0) writer.boundLog();
  else if (lastWalId - tables.replayAfterWalId >= state.options.maxWalFlushesBeforeL0Flush)
    ignoreRejection(tables.passEmptyLog(lastWalId));
}

/** An object that is gone or damaged now was sound before: perhaps it was collected after another takeover, which is told first. */
async function takeOwned(wal: VerifiedLog, manifests: ManifestLog, id: number): Promise<WalObject> {
  try {
    return await wal.take(id);
  } catch (error) {
    if (isCorruption(error)) await manifests.refresh();
    throw error;
  }
}

/** The next moment at which memory is freed; rejects if the store takes no table for longer than any call may last. */
async function spaceFreed(state: WriteState): Promise<void> {
  const { clock, options } = state;
  await new Promise<void>((resolve, reject) => {
    const timer = clock.setTimer(options.timeoutMs, () =>
      reject(
        new UnavailableError(
          'DEADLINE',
          `${state.where}: the log holds more rows than fit into memory, and the store took no table within ${options.timeoutMs} ms (option timeoutMs).`,
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
