/** The state of a writer without the rest of the writer. */
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import { WriteState, type WriteStateOptions } from '../../src/db/write-state.ts';
import { EMPTY_TREE } from '../../src/lsm/tree/table-store.ts';

/** With a log, of a database whose rows up to 10 are in tables, unless the options say otherwise. */
export function newWriteState(options: Partial<WriteStateOptions> = {}): WriteState {
  return new WriteState({
    clock: new ManualClock(),
    logger: SILENT_LOGGER,
    onEvent: () => undefined,
    memoryBytes: 512 << 20,
    timeoutMs: 60_000,
    walEnabled: true,
    where: 'memory',
    tree: EMPTY_TREE,
    lastSeq: 10,
    lastTickMs: 0,
    memtableSeed: () => 1,
    ...options,
  });
}
