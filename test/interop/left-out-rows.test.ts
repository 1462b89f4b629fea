/**
 * Rows that SlateDB 0.12.1 itself no longer finds: when it recovers more than one memtable from its log, it notes the tables with too late an
 * object of the log, and ends before the rest is in tables. The rows are still in the log: openings name the objects, and a repair of the manifest
 * brings every row back, for each SlateDB and for us.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { open, openReader } from '../../src/open.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import { verify } from '../../src/tools/verify.ts';
import { rejection } from '../support/database.ts';
import { gathered } from '../support/golden-database.ts';
import { inDirectory, type SharedPlace } from '../support/handover-places.ts';
import type { LiveSlateDb } from '../support/live-slatedb.ts';
import { slateDb012 } from '../support/slatedb-012.ts';

const OPTIONS = { logger: { debug() {}, info() {}, warn() {}, error() {} } };
const ROWS = 50;
/** Some 16 rows. */
const SMALL_MEMTABLES = { settings: { flush_interval: '1ms', l0_sst_size_bytes: 32_768 } };
const LARGE_MEMTABLES = { settings: { flush_interval: '1ms', l0_sst_size_bytes: 8 << 20 } };

let place: SharedPlace;
const started: LiveSlateDb[] = [];
beforeEach(async () => {
  place = await inDirectory();
});
afterEach(async () => {
  for (const slate of started.splice(0)) await slate.crash();
  await place.dispose();
});

async function openedSlate(options: typeof SMALL_MEMTABLES): Promise<LiveSlateDb> {
  const slate = slateDb012();
  started.push(slate);
  await slate.open(place.slate, { ...options, compactor: false });
  return slate;
}

/** All rows are acknowledged, and only the first memtables of a recovery are in tables. */
async function recovering(): Promise<LiveSlateDb> {
  const writer = await openedSlate(LARGE_MEMTABLES);
  for (let i = 0; i < ROWS; i++) await writer.put(`key-${String(i).padStart(3, '0')}`, 'x'.repeat(2000));
  await writer.crash();
  const recovered = await openedSlate(SMALL_MEMTABLES);
  expect(await recovered.scan()).toHaveLength(ROWS);
  return recovered;
}

it('SlateDB 0.12.1 has lost them, we name them, and a repair brings all back', async () => {
  await (await recovering()).close();
  const lost = await rejection(openReader(place.ours, OPTIONS));
  expect({ code: lost.code, isNamed: lost.message.includes('SlateDB 0.12 ended in the middle of a recovery') }).toEqual(
    {
      code: 'MANIFEST_INCONSISTENT',
      isNamed: true,
    },
  );
  const report = await manifestRepair(place.ours, { ...OPTIONS, apply: true });
  expect(report).toMatchObject({ applied: true, lostSeqs: [], rows: { lost: 0 } });

  const reader = await openReader(place.ours, OPTIONS);
  expect(await gathered(reader.scan())).toHaveLength(ROWS);
  await reader.close();
  const slate = await openedSlate(LARGE_MEMTABLES);
  expect(await slate.scan()).toHaveLength(ROWS);
  await slate.close();
});

it('without a repair it goes on without them', async () => {
  await (await recovering()).close();
  const slate = await openedSlate(LARGE_MEMTABLES);
  const found = await slate.scan();
  expect(found.length).toBeLessThan(ROWS);
  await slate.close();
});

it('a memtable flush of the process that recovered saves them', async () => {
  const recovered = await recovering();
  await recovered.flush('memtable');
  await recovered.close();
  const { findings } = await verify(place.ours, OPTIONS);
  expect(findings.filter((f) => f.severity === 'error')).toEqual([]);
  const db = await open(place.ours, OPTIONS);
  expect(await gathered(db.scan())).toHaveLength(ROWS);
  await db.close();
});
