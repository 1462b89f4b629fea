/** Warnings once each, and the watch of the event loop. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Logger } from '../../../src/common/logger.ts';
import { type DelayMonitor, LoopDelay } from '../../../src/common/loop-delay.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { Warnings } from '../../../src/common/warnings.ts';

const messages: unknown[] = [];
const hear = (message: unknown) => void messages.push(message);
const quiet = () => undefined;

afterEach(() => {
  unsubscribe('shaledb:warning', hear);
  messages.length = 0;
});

describe('a warning', () => {
  it('is logged once and published once, and counts each time', () => {
    subscribe('shaledb:warning', hear);
    const warn = vi.fn();
    const logger: Logger = { debug: quiet, info: quiet, warn, error: quiet };
    const warnings = new Warnings(logger, 'memory:/db');
    warnings.give('scan-dropped', 'a scan', { a: 1 });
    warnings.give('scan-dropped', 'a scan', { a: 2 });
    warnings.give('space-low', 'space');
    expect(warn.mock.calls).toEqual([
      ['a scan', { code: 'scan-dropped', store: 'memory:/db', a: 1 }],
      ['space', { code: 'space-low', store: 'memory:/db' }],
    ]);
    expect(messages).toEqual([
      { store: 'memory:/db', code: 'scan-dropped', message: 'a scan', details: { a: 1 } },
      { store: 'memory:/db', code: 'space-low', message: 'space', details: {} },
    ]);
    expect([...warnings.counts]).toEqual([
      ['scan-dropped', 2],
      ['space-low', 1],
    ]);
    warnings.over('space-low');
    warnings.give('space-low', 'space again');
    expect(warn).toHaveBeenLastCalledWith('space again', { code: 'space-low', store: 'memory:/db' });
  });
});

class Delays implements DelayMonitor {
  isOn = false;
  mean = Number.NaN;
  max = 0;
  enable() {
    this.isOn = true;
  }
  disable() {
    this.isOn = false;
  }
  percentile() {
    return this.max;
  }
}

describe('the event loop', () => {
  const ms = (delay: number) => (delay + 20) * 1e6;

  it('is reported once when it stood still for longer than the limit', async () => {
    const clock = new ManualClock();
    const monitor = new Delays();
    const reported: number[] = [];
    const loop = new LoopDelay({ clock, limitMs: 200, onLong: (delayMs) => reported.push(delayMs), monitor });
    expect(monitor.isOn).toBe(true);
    expect(loop.seconds).toEqual({ mean: 0, p99: 0, max: 0 });
    monitor.max = ms(200);
    await clock.advance(5000);
    expect(reported).toEqual([]);
    monitor.max = ms(201);
    monitor.mean = ms(1);
    await clock.advance(5000);
    expect(reported).toEqual([201]);
    monitor.max = ms(900);
    await clock.advance(5000);
    expect(reported).toEqual([201]);
    expect(loop.seconds).toEqual({ mean: 0.001, p99: 0.9, max: 0.9 });
    loop.close();
    expect(monitor.isOn).toBe(false);
  });

  it('is not looked at any more after the end', async () => {
    const clock = new ManualClock();
    const monitor = new Delays();
    const reported: number[] = [];
    const loop = new LoopDelay({ clock, limitMs: 1, onLong: (delayMs) => reported.push(delayMs), monitor });
    loop.close();
    monitor.max = ms(100);
    await clock.advance(5000);
    expect(reported).toEqual([]);
  });

  it('is measured by Node where nothing else is given', () => {
    const loop = new LoopDelay({ clock: new ManualClock(), limitMs: 1, onLong: quiet });
    expect(loop.seconds.mean).toBeGreaterThanOrEqual(0);
    loop.close();
  });
});
