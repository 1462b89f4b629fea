/**
 * Upkeep that we share with SlateDB 0.17.0 and 0.18.0, live: its admin submits compactions to our compactor; its compactor takes over in the
 * middle of a job of ours, and ours takes the database back; its collector works beside our writer and our compactor, with no least age.
 *
 * `SHALEDB_INTEROP=whole`: the collectors run beside a thousand commits.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Clock } from '../../src/common/clock.ts';
import { SYSTEM_CLOCK } from '../../src/common/clock.ts';
import type { Db } from '../../src/db/db.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { type CompactionJob, decodeCompactions } from '../../src/format/compactions-codec.ts';
import { type Manifest, tablesOf } from '../../src/format/manifest-types.ts';
import { compactionsPath, tablePath } from '../../src/format/object-names.ts';
import { findNewestCompactions } from '../../src/lsm/manifest/compactions-store.ts';
import { open } from '../../src/open.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { gathered, newestManifest } from '../support/golden-database.ts';
import {
  describeCollectors,
  describeHandoversSince017,
  expectManifestsToContinue,
  Handover,
  type HandoverPartners,
} from '../support/handover-places.ts';
import type { LiveSlateDb } from '../support/live-slatedb.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const LIMIT_MS = 90_000;
const KEYS = 400;
/** A job of some hundred KB takes long by that. */
const SLOW_BYTES_PER_SECOND = 20_000;
const MINUTE_MS = 61_000;
/** Of SlateDB, 30 s by default: then it takes the job over that ours had begun. */
const HEARTBEAT_TIMEOUT = '5s';
const IS_WHOLE = process.env['SHALEDB_INTEROP'] === 'whole';
const COMMITS = IS_WHOLE ? 1000 : 60;

/** The system's clock, which may be set forward. */
class AheadClock implements Clock {
  aheadMs = 0;
  nowMs = () => Math.floor(SYSTEM_CLOCK.nowMs() + this.aheadMs);
  monotonicMs = () => SYSTEM_CLOCK.monotonicMs() + this.aheadMs;
  setTimer = (delayMs: number, fn: () => void, ref?: boolean) => SYSTEM_CLOCK.setTimer(delayMs, fn, ref);
  yieldToLoop = () => SYSTEM_CLOCK.yieldToLoop();
}

class Shared {
  readonly handover: Handover;
  readonly model = new Map<string, string>();
  #written = 0;

  constructor(partners: HandoverPartners) {
    this.handover = new Handover(partners, ({ ours }) => expectManifestsToContinue(ours));
    beforeEach(() => {
      this.model.clear();
      this.#written = 0;
    });
  }

  get store() {
    const { store, path } = this.handover.place.ours;
    return prefixedStore(store, path);
  }

  async open(options: OpenOptions = {}): Promise<Db> {
    return open(this.handover.place.ours, { compatibility: 'slatedb-0.17', logger: QUIET, gc: false, ...options });
  }

  /** The next batch: some keys put, some deleted. */
  nextChanges(size: number, valueBytes = 200): [key: string, value: string | undefined][] {
    return Array.from({ length: size }, () => {
      const n = this.#written++;
      const key = `key ${String((n * 7919) % KEYS).padStart(4, '0')}`;
      const value = n % 5 === 4 ? undefined : `value ${n} ${'x'.repeat(valueBytes)}`;
      if (value === undefined) this.model.delete(key);
      else this.model.set(key, value);
      return [key, value];
    });
  }

  async write(db: Db, size: number, valueBytes?: number): Promise<void> {
    const batch = new WriteBatch();
    for (const [key, value] of this.nextChanges(size, valueBytes)) {
      if (value === undefined) batch.delete(key);
      else batch.put(key, value);
    }
    await db.write(batch);
  }

  async table(db: Db, size = 50, valueBytes?: number): Promise<void> {
    await this.write(db, size, valueBytes);
    await db.flush({ type: 'memtable' });
  }

  expectRows(rows: readonly { key: Uint8Array; value: Uint8Array }[]): void {
    const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
    expect(rows.map(({ key, value }) => [text(key), text(value)])).toEqual(
      [...this.model].sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  }

  async jobs(): Promise<CompactionJob[]> {
    const id = await findNewestCompactions(this.store);
    if (id === undefined) return [];
    const file = await this.store.get(compactionsPath(id));
    return file === undefined ? this.jobs() : decodeCompactions(file.bytes).compactions.jobs;
  }

  async until(what: string, isSo: (manifest: Manifest) => boolean | Promise<boolean>): Promise<Manifest> {
    for (const limit = Date.now() + LIMIT_MS; ; ) {
      const manifest = await newestManifest(this.handover.place.ours);
      if (await isSo(manifest)) return manifest;
      if (Date.now() > limit) throw new Error(`not in time: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** Beside a writer of ours, or, as 0.17 has none that stands alone, in a SlateDB that takes the database over. */
async function startCompactor(
  shared: Shared,
  slate: LiveSlateDb,
): Promise<{ stop(): Promise<void>; crash(): Promise<void> }> {
  const place = shared.handover.place.slate;
  if (slate.version === '0.18.0') {
    const settings = { 'compactor_options.worker_heartbeat_timeout': HEARTBEAT_TIMEOUT };
    return shared.handover.ending(await slate.start('compactor', place, { settings }));
  }
  await slate.open(place, { compactor: true, compactorOptions: { worker_heartbeat_timeout: HEARTBEAT_TIMEOUT } });
  return { stop: () => slate.close(), crash: () => slate.crash() };
}

describeHandoversSince017((partners) => {
  const shared = new Shared(partners);
  const { handover } = shared;

  it('its admin submits compactions, which ours carries out or fails', async () => {
    const clock = new AheadClock();
    const db = await shared.open({ clock, compactor: {} });
    for (let i = 0; i < 4; i++) await shared.table(db);
    await shared.until('the first job of ours', ({ runs, l0 }) => runs.length === 1 && l0.length === 0);
    for (let i = 0; i < 2; i++) await shared.table(db);
    const { l0, runs } = await newestManifest(handover.place.ours);
    const [newer, older] = l0.map(({ viewId }) => ({ SstView: viewId }));
    const slate = handover.newSlate();
    const destination = runs[0]!.id + 1;
    await slate.submit(handover.place.slate, { sources: [newer!, older!], destination });
    await slate.submit(handover.place.slate, { sources: [{ SortedRun: 77 }, { SortedRun: 76 }], destination: 76 });
    const submitted = (await shared.jobs()).filter(({ status }) => status === 'submitted').map(({ id }) => id);
    expect(submitted.length).toBe(2);
    // What others submit is seen once a minute, with a round.
    clock.aheadMs += MINUTE_MS;
    await shared.table(db);
    await shared.until('the end of both', async (m) => {
      const jobs = await shared.jobs();
      return m.runs.some(({ id }) => id === destination) && jobs.every(({ status }) => /completed|failed/.test(status));
    });
    shared.expectRows(await gathered(db.scan()));
    await db.close();
    shared.expectRows(await slate.readerScan(handover.place.slate));
  });

  it.each(['ends', 'is killed'])(
    'its compactor takes over from a job of ours, and %s; ours takes it back',
    async (how) => {
      let begun = (): void => undefined;
      const started = new Promise<void>((resolve) => {
        begun = resolve;
      });
      const db = await shared.open({
        compactor: { bytesPerSecond: SLOW_BYTES_PER_SECOND, threads: 'off' },
        onEvent: (event) => {
          if (event.type === 'compactor' && event.event.type === 'started') begun();
        },
      });
      for (let i = 0; i < 4; i++) await shared.table(db, 100, 1500);
      await started;
      expect((await newestManifest(handover.place.ours)).runs).toEqual([]);
      const jobs = await shared.jobs();
      expect(jobs.map(({ status }) => status)).toEqual(['running']);
      const ours = jobs[0]!.worker!.workerId;
      const slate = handover.newSlate();
      const role = await startCompactor(shared, slate);
      await shared.until('its epoch', ({ compactorEpoch }) => compactorEpoch > 1);
      // When our worker was not heard of for long enough, the job that it had begun is given to another one.
      if (how === 'ends') await shared.until('its merge', ({ l0 }) => l0.length < 4);
      else {
        const isOurs = ({ status, worker }: CompactionJob) => status === 'running' && worker?.workerId === ours;
        await shared.until('the job in other hands', async () => !(await shared.jobs()).some(isOurs));
      }
      await (how === 'ends' ? role.stop() : role.crash());
      if (slate.version === '0.18.0') {
        // Our writer was never disturbed.
        await shared.table(db);
        expect(db.upkeep().compactor?.phase).toMatch(/fenced|idle|working|retrying/);
        shared.expectRows(await gathered(db.scan()));
      }
      await db.close().catch((error: { kind: string }) => expect(error.kind).toBe('fenced'));

      const clock = new AheadClock();
      clock.aheadMs = MINUTE_MS;
      const again = await shared.open({ clock, compactor: {} });
      await shared.table(again);
      await again.compact();
      const { l0, runs } = await newestManifest(handover.place.ours);
      expect([l0.length, runs.length]).toEqual([0, 1]);
      expect((await shared.jobs()).filter(({ status }) => !/completed|failed/.test(status))).toEqual([]);
      shared.expectRows(await gathered(again.scan()));
      await again.close();
      shared.expectRows(await handover.newSlate().readerScan(handover.place.slate));
    },
  );
});

describe('its collector', () => {
  describeCollectors((partners) => {
    const shared = new Shared(partners);
    const { handover } = shared;

    it(`deletes beside ${COMMITS} commits of ours nothing that is needed`, { timeout: 1_200_000 }, async () => {
      const db = await shared.open({ compactor: { minCompactionSources: 2 }, flushIntervalMs: 5 });
      const slate = handover.newSlate();
      let isOver = false;
      let rounds = 0;
      const collecting = (async () => {
        while (!isOver) {
          await slate.collect(handover.place.slate, 0);
          rounds++;
        }
      })();
      for (let commit = 0; commit < COMMITS; commit++) {
        await shared.write(db, 5);
        if (commit % 3 === 2) await db.flush({ type: 'memtable' });
        if (commit % 100 === 99) shared.expectRows(await gathered(db.scan()));
      }
      isOver = true;
      await collecting;
      const { compactor } = db.upkeep();
      expect(compactor).toMatchObject({ lastError: undefined });
      shared.expectRows(await gathered(db.scan()));
      await db.flush({ type: 'memtable' });
      await db.close();
      await slate.collect(handover.place.slate, 0);
      const newest = await newestManifest(handover.place.ours);
      for (const { id } of tablesOf(newest)) expect(await shared.store.head(tablePath(id)), id).toBeDefined();
      const left = await handover.storedPaths();
      const count = (prefix: string) => left.filter((path) => path.startsWith(prefix)).length;
      if (IS_WHOLE) {
        const classes = ['manifest', 'wal', 'compacted', 'compactions'].map(
          (name) => `${count(`${name}/`)} in ${name}/`,
        );
        console.log(
          `SlateDB ${slate.version}: ${rounds} rounds beside ${COMMITS} commits; left are ${classes.join(', ')}`,
        );
      }
      // It did collect: the log is short, and of the compactions files one is left.
      expect([count('wal/') < 10, count('compactions/')]).toEqual([true, 1]);
      expect(rounds).toBeGreaterThan(1);
      const again = await shared.open({ compactor: {} });
      shared.expectRows(await gathered(again.scan()));
      await again.close();
      shared.expectRows(await slate.readerScan(handover.place.slate));
    });
  });
});
