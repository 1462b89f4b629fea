/** What is watched about a handle: what was dropped open, by a registry that a test owns, and free space, in virtual time. */
import { describe, expect, it } from 'vitest';
import type { DropRegistry } from '../../../src/common/drop-watch.ts';
import { UnavailableError } from '../../../src/common/errors.ts';
import type { Logger } from '../../../src/common/logger.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { MetricsBuilder, metricValue } from '../../../src/common/metrics.ts';
import { HandleMonitor } from '../../../src/db/handle-monitor.ts';
import { SpaceWatch } from '../../../src/db/space-watch.ts';
import type { LocalPlace } from '../../../src/lsm/manifest/database-stores.ts';

/** Drops what a test says. */
class Drops implements DropRegistry {
  readonly #watched = new Map<object, { target: object; dropped: () => void }>();
  register(target: object, dropped: () => void, token: object) {
    this.#watched.set(token, { target, dropped });
  }
  unregister(token: object) {
    this.#watched.delete(token);
  }
  drop(target: object): boolean {
    for (const [token, watched] of this.#watched) {
      if (watched.target !== target) continue;
      this.#watched.delete(token);
      watched.dropped();
      return true;
    }
    return false;
  }
  get count() {
    return this.#watched.size;
  }
}

class World {
  readonly clock = new ManualClock();
  readonly drops = new Drops();
  readonly lines: string[] = [];
  freeBytes: number | undefined = 5000;
  asked = 0;
  failure: Error | undefined;
  readonly places: LocalPlace[] = [
    {
      storeType: 'main',
      openFiles: 7,
      space: async () => {
        this.asked++;
        if (this.failure !== undefined) throw this.failure;
        return this.freeBytes === undefined ? undefined : { freeBytes: this.freeBytes, sizeBytes: 10_000 };
      },
    },
  ];
  readonly logger: Logger;
  readonly monitor: HandleMonitor;

  constructor(limitBytes = 1000) {
    const line = (message: string, details?: Record<string, unknown>) =>
      void this.lines.push(`${details?.code ?? 'no code'}: ${message}`);
    this.logger = { debug: line, info: line, warn: line, error: line };
    this.monitor = new HandleMonitor({
      kind: 'db',
      stores: { main: { name: 'file:///db' } as never, local: () => this.places },
      clock: this.clock,
      logger: this.logger,
      settings: { warnFreeBytes: limitBytes, warnLoopDelayMs: 0 },
      drops: this.drops,
    });
  }

  metrics() {
    const builder = new MetricsBuilder();
    this.monitor.addMetrics(builder);
    return builder.metrics();
  }

  async look(afterMs: number): Promise<void> {
    await this.clock.advance(afterMs);
    this.monitor.look();
    await this.clock.advance(0);
  }
}

describe('what was dropped open', () => {
  it('is a warning once for each kind, and counts as ended', () => {
    const { monitor, drops, lines } = new World();
    const scans = [{}, {}, {}];
    for (const scan of scans) monitor.reads.scanBegun(scan);
    monitor.reads.scanEnded(scans[0]);
    expect(monitor.reads.openScans).toBe(2);
    expect(drops.drop(scans[0])).toBe(false);
    drops.drop(scans[1]);
    drops.drop(scans[2]);
    expect(monitor.reads.openScans).toBe(0);
    expect(lines).toEqual([
      expect.stringMatching(/^scan-dropped: a scan was dropped before its end without close\(\)/),
    ]);
    expect(monitor.warnings.counts.get('scan-dropped')).toBe(2);
  });

  it('of a snapshot lets go of what it held', () => {
    const { monitor, drops, lines } = new World();
    const released: string[] = [];
    const [open, closed] = [{}, {}];
    monitor.snapshotOpened(open, () => released.push('open'));
    monitor.snapshotOpened(closed, () => released.push('closed'));
    monitor.snapshotClosed(closed);
    expect(drops.drop(closed)).toBe(false);
    drops.drop(open);
    expect(released).toEqual(['open']);
    expect(lines).toEqual([expect.stringMatching(/^snapshot-dropped: /)]);
  });

  it('of a handle is a warning, and the handle is not open any more', () => {
    const world = new World();
    const { monitor, drops, lines } = world;
    const open = () => metricValue(world.metrics(), 'shaledb_process_open_handles', { kind: 'db' });
    const before = open();
    const handle = {};
    monitor.opened(handle);
    expect(open()).toBe(before + 1);
    drops.drop(handle);
    expect(open()).toBe(before);
    monitor.closed();
    expect(open()).toBe(before);
    expect(lines).toEqual([expect.stringMatching(/^handle-dropped: a database was dropped without close\(\)/)]);
    expect(metricValue(world.metrics(), 'shaledb_warning_count', { code: 'handle-dropped' })).toBe(1);
  });

  it('of a handle that was closed is nothing', () => {
    const world = new World();
    const handle = {};
    world.monitor.opened(handle);
    world.monitor.closed();
    world.monitor.closed();
    expect(world.drops.count).toBe(0);
    expect(world.lines).toEqual([]);
  });
});

describe('free space', () => {
  it('is asked at most once a minute, and shown as it was then', async () => {
    const world = new World();
    await world.look(0);
    world.freeBytes = 4000;
    await world.look(59_999);
    expect(world.asked).toBe(1);
    expect(metricValue(world.metrics(), 'shaledb_local_store_free_bytes', { store_type: 'main' })).toBe(5000);
    await world.look(1);
    expect(world.asked).toBe(2);
    expect(metricValue(world.metrics(), 'shaledb_local_store_free_bytes')).toBe(4000);
    expect(metricValue(world.metrics(), 'shaledb_local_store_size_bytes')).toBe(10_000);
    expect(metricValue(world.metrics(), 'shaledb_local_store_open_files')).toBe(7);
    await world.clock.advance(3_600_000);
    expect(world.asked).toBe(2);
  });

  it('is a warning when it is below the limit, and again after it was above', async () => {
    const world = new World(1000);
    world.freeBytes = 1000;
    await world.look(0);
    expect(world.lines).toEqual([]);
    world.freeBytes = 999;
    for (let i = 0; i < 3; i++) await world.look(60_000);
    expect(world.lines).toEqual([
      'space-low: there are 999 bytes of free space left, less than 1000 (option warnFreeBytes): make room before writes fail',
    ]);
    world.freeBytes = 2000;
    await world.look(60_000);
    world.freeBytes = 10;
    await world.look(60_000);
    expect(world.lines).toHaveLength(2);
  });

  it('is no warning where the limit is 0', async () => {
    const world = new World(0);
    world.freeBytes = 0;
    await world.look(0);
    expect(world.lines).toEqual([]);
  });

  it('that cannot be read is said once, and absent', async () => {
    const world = new World();
    world.failure = new UnavailableError('STORE_DOWN', 'I/O error');
    await world.look(0);
    await world.look(60_000);
    expect(world.lines).toEqual(['no code: the free space could not be read']);
    world.failure = undefined;
    world.freeBytes = undefined;
    await world.look(60_000);
    expect(world.metrics().shaledb_local_store_free_bytes).toBeUndefined();
  });

  it('is not asked where no store has it', () => {
    const { clock, logger, monitor } = new World();
    const watch = new SpaceWatch({ clock, logger, warnings: monitor.warnings, limitBytes: 1, places: () => [] });
    watch.look();
    expect(watch.known.size).toBe(0);
  });
});
