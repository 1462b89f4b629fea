/**
 * The background roles of SlateDB 0.18 over databases that we write: its compactor (with a worker of its own, with one in another
 * process, and publishing unfinished work) and its collector. We write while they are at work, and every row is the same afterwards,
 * for us and for SlateDB.
 */
import { beforeEach, expect, it } from 'vitest';
import type { Db } from '../../src/db/db.ts';
import type { Manifest } from '../../src/format/manifest-types.ts';
import { open, openReader } from '../../src/open.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { clockFrom, gathered, newestManifest } from '../support/golden-database.ts';
import { describeHandoversWith018, expectManifestsToContinue, Handover } from '../support/handover-places.ts';
import { HandoverRows, toBatch } from '../support/handover-rows.ts';
import type { SlateDbOpenOptions, SlateDbRole, SlateDbSource } from '../support/live-slatedb.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const LIMIT_MS = 120_000;
const BATCHES_PER_TABLE = 4;
/** Manifest version 2, which alone can hold several views of a table; the roles are SlateDB's. */
const OPTIONS: OpenOptions = { compatibility: 'slatedb-0.17', logger: QUIET, compactor: false, gc: false };
/** The checkpoint of a compaction keeps what it replaced for 15 minutes. */
const AFTER_CHECKPOINTS_S = 3600;
const HOUR_S = 3600;
const HOUR_MS = HOUR_S * 1000;

describeHandoversWith018((partners) => {
  const { isOnS3 } = partners;
  const handover = new Handover(partners, ({ ours }) => expectManifestsToContinue(ours));
  let rows: HandoverRows;

  beforeEach(() => {
    rows = new HandoverRows(20261129);
  });

  async function start(role: 'compactor' | 'worker', options: SlateDbOpenOptions = {}): Promise<SlateDbRole> {
    return handover.ending(await partners.makeSlate().start(role, handover.place.slate, options));
  }

  async function until(what: string, isSo: (manifest: Manifest) => boolean): Promise<Manifest> {
    for (const limit = Date.now() + LIMIT_MS; ; ) {
      const manifest = await newestManifest(handover.place.ours);
      if (isSo(manifest)) return manifest;
      if (Date.now() > limit) throw new Error(`not in time: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async function writeTurn(db: Db): Promise<void> {
    for (const [i, batch] of rows.nextTurn().entries()) {
      if (i > 0 && i % BATCHES_PER_TABLE === 0) await db.flush({ type: 'memtable' });
      await db.write(toBatch(batch), { awaitDurable: false });
    }
  }

  async function expectByUs(db: Pick<Db, 'scan' | 'getMany'>): Promise<void> {
    rows.expectScan(await gathered(db.scan()));
    const keys = rows.sample();
    rows.expectSample(keys, await db.getMany(keys));
  }

  async function expectByReader(): Promise<void> {
    const reader = await openReader(handover.place.ours, { logger: QUIET });
    await expectByUs(reader);
    await reader.close();
  }

  async function expectByBoth(): Promise<void> {
    await expectByReader();
    const slate = handover.newSlate();
    await slate.open(handover.place.slate);
    rows.expectScan(await slate.scan());
    const keys = rows.sample();
    rows.expectSample(keys, await slate.getMany(keys));
    await slate.close();
  }

  it.each(['of its own', 'in another process'])('a compactor with a worker %s merges what we write', async (worker) => {
    const db = await open(handover.place.ours, OPTIONS);
    await writeTurn(db);
    const settings = worker === 'of its own' ? {} : { 'compactor_options.worker': null };
    const roles = [await start('compactor', { settings })];
    if (worker === 'in another process') roles.push(await start('worker'));
    await until('a first run', ({ runs }) => runs.length > 0);
    await writeTurn(db);
    await writeTurn(db);
    await db.flush({ type: 'memtable' });
    const { compactorEpoch } = await until('few tables before the runs', ({ l0 }) => l0.length < 4);
    expect(compactorEpoch).toBe(1);
    await expectByUs(db);
    for (const role of roles) await role.stop();
    await db.close();
    await expectByBoth();
  });

  // What a place can change is in the test above.
  // Once in some twenty runs SlateDB 0.18.0 itself ends with "invalid DB state" here, why is not known. What it met is printed.
  it.skipIf(isOnS3)(
    'a compactor that publishes unfinished work is killed, and another one finishes it',
    { retry: 1 },
    async () => {
      const slate = partners.makeSlate();
      // It publishes once a minute, by a clock that runs 400 times as fast. No clock may go back, so
      // what comes before happens hours ago.
      const hoursAgo = { ...OPTIONS, clock: clockFrom(Date.now() - 10 * HOUR_MS) };
      const compact = async (sources: SlateDbSource[], destination: number) => {
        const clock = { clockAheadSeconds: -9 * HOUR_S };
        const role = await start('compactor', { settings: NO_PLANS, ...clock });
        await slate.submit(handover.place.slate, { sources, destination }, clock);
        await until('the merge', ({ l0, runs }) => l0.length === 0 && runs.some(({ id }) => id === destination));
        await role.stop();
      };
      for (let run = 0; run < 3; run++) {
        const db = await open(handover.place.ours, hoursAgo);
        await writeTurn(db);
        await db.flush({ type: 'memtable' });
        await db.close();
        const { l0 } = await newestManifest(handover.place.ours);
        await compact(
          l0.map(({ viewId }) => ({ SstView: viewId })),
          run,
        );
      }
      expect((await newestManifest(handover.place.ours)).runs.map(({ id }) => id)).toEqual([2, 1, 0]);

      const publishing = await start('compactor', {
        incremental: true,
        slowPutMs: 150,
        clockAheadSeconds: -8 * HOUR_S,
        clockSpeed: 400,
        settings: { ...NO_PLANS, ...SMALL_STEPS },
      });
      const sources = [{ SortedRun: 2 }, { SortedRun: 1 }, { SortedRun: 0 }];
      await slate.submit(handover.place.slate, { sources, destination: 0 }, { clockAheadSeconds: -8.5 * HOUR_S });
      const { runs } = await until('published work', (m) => m.runs.some((run) => hasSeveralViewsOfATable(run.views)));
      expect(runs.length).toBe(3);
      await expectByReader();
      // Our writer carries the cut views on while the compactor is at work.
      const db = await open(handover.place.ours, hoursAgo);
      await expectByUs(db);
      await writeTurn(db);
      await db.flush({ type: 'memtable' });
      await publishing.crash();
      await expectByUs(db);
      await db.close();
      const left = await newestManifest(handover.place.ours);
      expect(left.runs.some((run) => hasSeveralViewsOfATable(run.views))).toBe(true);
      await expectByBoth();

      const finishing = await start('compactor', { incremental: true, settings: NO_PLANS });
      await until('the end of the merge', (m) => m.runs.length === 1 && !hasSeveralViewsOfATable(m.runs[0].views));
      await finishing.stop();
      await expectByBoth();
    },
  );

  it('its collector deletes what is no longer needed, ours among it', async () => {
    const slate = partners.makeSlate();
    let db = await open(handover.place.ours, OPTIONS);
    await writeTurn(db);
    await writeTurn(db);
    await db.close();
    await slate.compactAll(handover.place.slate);
    db = await open(handover.place.ours, OPTIONS);
    await writeTurn(db);
    await db.flush();
    const before = await handover.storedPaths();
    await slate.collect(handover.place.slate, 0, { clockAheadSeconds: AFTER_CHECKPOINTS_S });
    const after = new Set(await handover.storedPaths());
    const kinds = new Set(before.filter((path) => !after.has(path)).map((path) => path.split('/')[0]));
    expect([...kinds].sort()).toEqual(['compacted', 'compactions', 'manifest', 'wal']);
    await expectByUs(db);
    await writeTurn(db);
    await db.close();
    await expectByBoth();
  });
});

/** It merges only what it is asked to. */
const NO_PLANS = {
  'compactor_options.scheduler_options': { min_compaction_sources: '999', max_compaction_sources: '999' },
};
/** Many small tables, and word of each of them at once. */
const SMALL_STEPS = {
  'compactor_options.worker.max_sst_size': 40_000,
  'compactor_options.worker.max_subcompactions': 4,
  'compactor_options.worker.heartbeat_interval': '60ms',
  'compactor_options.worker_heartbeat_timeout': '9999h',
};

function hasSeveralViewsOfATable(views: Manifest['runs'][number]['views']): boolean {
  return new Set(views.map((view) => view.table.id)).size < views.length;
}
