/** The system's clock under a test framework that fakes timers: what waits goes on, and wall time is the one that was faked. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { SYSTEM_CLOCK, sleep } from '../../../src/common/clock.ts';
import { SILENT_LOGGER } from '../../../src/common/logger.ts';

import { open } from '../../../src/open.ts';

/** More than are answered in one turn of the event loop. */
const CALLS = 600;

describe('the clock of the system, while timers are faked', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('gives others their turn, waits, and measures time', async () => {
    vi.useFakeTimers();
    const before = SYSTEM_CLOCK.monotonicMs();
    await SYSTEM_CLOCK.yieldToLoop();
    await sleep(SYSTEM_CLOCK, 2);
    expect(SYSTEM_CLOCK.monotonicMs()).toBeGreaterThan(before);
  });

  it('cancels its timers', async () => {
    vi.useFakeTimers();
    let fired = false;
    const timer = SYSTEM_CLOCK.setTimer(1, () => {
      fired = true;
    });
    timer.cancel();
    await sleep(SYSTEM_CLOCK, 5);
    expect(fired).toBe(false);
  });

  it('has the wall time of the test', () => {
    vi.useFakeTimers({ now: 1_700_000_000_000 });
    expect(SYSTEM_CLOCK.nowMs()).toBe(1_700_000_000_000);
  });

  it('lets a database answer more calls than fit into one turn', async () => {
    const db = await open('memory:', { logger: SILENT_LOGGER });
    vi.useFakeTimers();
    for (let i = 0; i <= CALLS; i++) await db.put(`${i}`, 'v', { awaitDurable: false });
    for (let i = 0; i <= CALLS; i++) await db.get(`${i}`);
    await db.flush({ type: 'memtable' });
    await db.close();
  });
});
