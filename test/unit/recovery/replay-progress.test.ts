/** What a replay says of its progress: at which objects, with time passing between them. */
import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/common/errors.ts';
import type { DbEvent } from '../../../src/common/events.ts';
import { SILENT_LOGGER } from '../../../src/common/logger.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { ReplayProgress } from '../../../src/recovery/replay-progress.ts';

function progressOf(objects: number, phase: 'read' | 'apply' = 'read') {
  const clock = new ManualClock();
  const events: DbEvent[] = [];
  const lines: unknown[][] = [];
  const logger = { ...SILENT_LOGGER, info: (...line: unknown[]) => void lines.push(line) };
  const progress = new ReplayProgress({ clock, logger, onEvent: (e) => events.push(e) }, phase, objects);
  return { clock, events, lines, progress };
}

describe('the progress of a replay', () => {
  it('is said once a second, with how far it has come', async () => {
    const { clock, events, lines, progress } = progressOf(10);
    for (let i = 0; i < 10; i++) {
      await clock.advance(300);
      progress.step();
    }
    expect(events).toEqual([4, 8].map((objects) => ({ type: 'replay', phase: 'read', objects, of: 10 })));
    expect(lines).toEqual([4, 8].map((objects) => ['reading the log', { objects, of: 10 }]));
  });

  it('is not said of one that is over before that', async () => {
    const { clock, events, progress } = progressOf(2);
    progress.step();
    await clock.advance(999);
    progress.step();
    expect(events).toEqual([]);
  });

  it('says which part it is about, and keeps to its clock where the wall clock jumps', async () => {
    const { clock, events, lines, progress } = progressOf(3, 'apply');
    clock.jumpWallMs(3_600_000);
    progress.step();
    await clock.advance(1000);
    progress.step();
    expect(events).toEqual([{ type: 'replay', phase: 'apply', objects: 2, of: 3 }]);
    expect(lines[0][0]).toBe('applying the log');
  });

  it('never comes to more objects than there are', () => {
    const { progress } = progressOf(1);
    progress.step();
    expect(() => progress.step()).toThrow(InternalError);
  });
});
