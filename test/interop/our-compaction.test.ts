/**
 * Databases that our compactor and our collector work on, handed to SlateDB (0.12.1, 0.17.0 and 0.18.0, live) and back: each reads what the
 * other has left, and we merge and collect what it has written.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Db } from '../../src/db/db.ts';
import type { Compatibility } from '../../src/db/open-options.ts';
import { open, openReader } from '../../src/open.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { gathered, newestManifest } from '../support/golden-database.ts';
import { describeHandovers, expectManifestsToContinue, Handover } from '../support/handover-places.ts';
import { HandoverRows, type RowChange, toBatch } from '../support/handover-rows.ts';
import type { LiveSlateDb } from '../support/live-slatedb.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const BATCHES_PER_TABLE = 4;
const TURNS = 2;
const FORMS: Record<LiveSlateDb['version'], Compatibility[]> = {
  '0.12.1': ['slatedb-0.12'],
  '0.17.0': ['auto', 'slatedb-0.17'],
  '0.18.0': ['auto', 'slatedb-0.17'],
};

describeHandovers((partners) => {
  const { version } = partners;
  const handover = new Handover(partners, ({ ours }) => expectManifestsToContinue(ours));
  let rows: HandoverRows;
  beforeEach(() => {
    rows = new HandoverRows(20261201);
  });

  async function inTables(write: (batch: RowChange[]) => Promise<unknown>, flush: () => Promise<unknown>) {
    for (const [i, batch] of rows.nextTurn().entries()) {
      if (i > 0 && i % BATCHES_PER_TABLE === 0) await flush();
      await write(batch);
    }
    await flush();
  }

  async function expectByUs(db: Pick<Db, 'scan' | 'getMany'>): Promise<void> {
    rows.expectScan(await gathered(db.scan()));
    const keys = rows.sample();
    rows.expectSample(keys, await db.getMany(keys));
  }

  describe.each(FORMS[version])('with compatibility %s', (compatibility) => {
    /** Tables of several blocks, several tables in a run, made in ranges of keys, and nothing too young to go. */
    const options: OpenOptions = {
      compatibility,
      logger: QUIET,
      compactor: { maxSstBytes: 64 * 1024, maxSubcompactions: 3 },
      gc: { minAgeMs: 0, allowUnsafeMinAge: true },
    };

    it('each reads what the other has left, merged and collected', async () => {
      for (let turn = 0; turn < TURNS; turn++) {
        const db = await open(handover.place.ours, options);
        if (turn > 0) await expectByUs(db);
        await inTables(
          (batch) => db.write(toBatch(batch), { awaitDurable: false }),
          () => db.flush({ type: 'memtable' }),
        );
        const report = await db.compact();
        expect(report.jobs.length).toBe(1);
        await expectByUs(db);
        await db.close();
        const { l0, runs } = await newestManifest(handover.place.ours);
        expect([l0.length, runs.length]).toEqual([0, 1]);
        expect(runs[0]!.views.length).toBeGreaterThan(1);

        const slate = handover.newSlate();
        await slate.open(handover.place.slate);
        rows.expectScan(await slate.scan());
        const keys = rows.sample();
        rows.expectSample(keys, await slate.getMany(keys));
        await inTables(
          (batch) => slate.write(batch, { awaitDurable: false }),
          () => slate.flush('memtable'),
        );
        await slate.close();
      }
      const db = await open(handover.place.ours, options);
      await db.compact();
      await expectByUs(db);
      await db.close();
      const reader = await openReader(handover.place.ours, { logger: QUIET });
      await expectByUs(reader);
      await reader.close();
    });
  });
});
