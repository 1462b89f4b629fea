/**
 * The watch for other writers: lists the manifests of others while this database writes. Without it a takeover would be seen only
 * where both write an object of the same name.
 *
 * 1. A LIST of the manifests begins `intervalMs` after the first write since the last one began.
 * 2. A database that is not written polls nothing, and one that has ended neither; the timer keeps no process alive.
 * 3. A failure ends the handle only if it says that another writer is there, or that manifests are damaged.
 */
import { assertThat } from '../common/assert.ts';
import type { Timer } from '../common/clock.ts';
import { FencedError, ManifestCorruptionError } from '../common/errors.ts';
import type { ManifestLog } from '../lsm/manifest/manifest-log.ts';
import type { WriteState } from './write-state.ts';

export class TakeoverWatch {
  readonly #state: WriteState;
  readonly #manifests: Pick<ManifestLog, 'refresh'>;
  readonly #intervalMs: number;
  #timer: Timer | undefined;

  constructor(state: WriteState, manifests: Pick<ManifestLog, 'refresh'>, intervalMs: number) {
    assertThat(state.ended === undefined, 'nothing is watched for a database that has ended (takeover-watch 2)');
    this.#state = state;
    this.#manifests = manifests;
    this.#intervalMs = intervalMs;
    state.onEnd(() => this.#timer?.cancel());
  }

  /** To be called with each write. */
  noteWrite(): void {
    this.#timer ??= this.#state.clock.setTimer(this.#intervalMs, () => this.#poll(), false);
  }

  #poll(): void {
    this.#timer = undefined;
    const state = this.#state;
    if (state.ended !== undefined) return;
    this.#manifests.refresh().then(
      () => undefined,
      (error) => {
        if (state.ended !== undefined) return;
        if (error instanceof FencedError || error instanceof ManifestCorruptionError) state.fail(error);
        else state.logger.warn('the manifests could not be listed; trying again', { error: String(error) });
      },
    );
  }
}
