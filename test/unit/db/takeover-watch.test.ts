/** When the watch for other writers asks, and which answers end the handle. */
import { describe, expect, it } from 'vitest';
import { FencedError, InternalError, ManifestCorruptionError, UnavailableError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { TakeoverWatch } from '../../../src/db/takeover-watch.ts';
import { newWriteState } from '../../support/write-state.ts';

/** A watch of 1,000 ms whose questions are answered with `answer`, and the times at which it asked. */
function watching(answer: () => Promise<void> = async () => undefined) {
  const clock = new ManualClock();
  const warnings: string[] = [];
  const logger = { debug() {}, info() {}, warn: (text: string) => void warnings.push(text), error() {} };
  const state = newWriteState({ clock, logger });
  const askedAt: number[] = [];
  const startMs = clock.monotonicMs();
  const refresh = () => {
    askedAt.push(clock.monotonicMs() - startMs);
    return answer();
  };
  return { clock, state, askedAt, warnings, watch: new TakeoverWatch(state, { refresh }, 1000) };
}

describe('the watch for other writers', () => {
  it('asks once per interval while there are writes, and not at all without', async () => {
    const { clock, watch, askedAt } = watching();
    await clock.advance(5000);
    expect(askedAt).toEqual([]);
    for (let i = 0; i < 5; i++) {
      watch.noteWrite();
      await clock.advance(500);
    }
    await clock.advance(60_000);
    expect(askedAt).toEqual([6000, 7000, 8000]);
  });

  it('asks no more once the handle has ended', async () => {
    const { clock, state, watch, askedAt } = watching();
    watch.noteWrite();
    state.close();
    await clock.advance(60_000);
    expect(askedAt).toEqual([]);
  });

  it('is never made for a handle that has ended: its timer would not be cancelled', () => {
    const { state } = watching();
    state.close();
    expect(() => new TakeoverWatch(state, { refresh: async () => undefined }, 1000)).toThrow(InternalError);
  });

  it.each([
    ['another writer', new FencedError('a writer of epoch 2 is there', 'host-b:2')],
    ['damaged manifests', new ManifestCorruptionError('damaged', [])],
  ])('ends the handle for %s', async (_, error) => {
    const { clock, state, watch } = watching(() => Promise.reject(error));
    watch.noteWrite();
    await clock.advance(1000);
    expect(state.ended === error || state.ended?.cause === error).toBe(true);
  });

  it('goes on after any other failure, and warns', async () => {
    const error = new UnavailableError('STORE_UNAVAILABLE', 'away', { outcome: 'not-applied' });
    const { clock, state, watch, askedAt, warnings } = watching(() => Promise.reject(error));
    watch.noteWrite();
    await clock.advance(1000);
    watch.noteWrite();
    await clock.advance(1000);
    expect(state.ended).toBeUndefined();
    expect(askedAt).toEqual([1000, 2000]);
    expect(warnings).toHaveLength(2);
  });
});
