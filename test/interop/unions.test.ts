/**
 * Unions that SlateDB 0.17 made, repaired by tools alone before and after the compaction that loses rows of them: then 0.17 and
 * 0.18 (live) read, write and compact them without losing a row. As a control, 0.17 compacts one that was not repaired.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { toHex } from '../../src/common/bytes.ts';
import { open, openReader } from '../../src/open.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import { verify } from '../../src/tools/verify.ts';
import { describeWithSlateDb017, describeWithSlateDb018 } from '../support/environment.ts';
import { gathered } from '../support/golden-database.ts';
import { goldenFixture } from '../support/golden-fixtures.ts';
import { inDirectory, type SharedPlace } from '../support/handover-places.ts';
import type { LiveSlateDb, SlateDbPlace } from '../support/live-slatedb.ts';
import { slateDb017 } from '../support/slatedb-017.ts';
import { slateDb018 } from '../support/slatedb-018.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const UNION = 'slatedb-0.17.0/union-same-views';
const LOSSY = 'slatedb-0.17.0/union-same-views-lossy';
const PATH = 'union';
const SETTLED = { logger: QUIET, liveCheckMs: 0, apply: true };

function unionSuite(makeSlate: () => LiveSlateDb, losesRows: boolean): void {
  const started: LiveSlateDb[] = [];
  let shared: SharedPlace;
  let slatePlace: SlateDbPlace;
  let ours: SharedPlace['ours'];

  beforeEach(async () => {
    shared = await inDirectory();
    slatePlace = { ...shared.slate, path: PATH };
    ours = { ...shared.ours, path: PATH };
  });
  afterEach(async () => {
    for (const slate of started.splice(0)) await slate.crash();
    await shared.dispose();
  });

  function newSlate(make = makeSlate): LiveSlateDb {
    const slate = make();
    started.push(slate);
    return slate;
  }

  /** The fixture with its parents beside it, and its rows. */
  function lay(name: string): Map<string, string> {
    const { directory } = shared.slate as { directory: string };
    for (const { path, bytes } of goldenFixture(name).objects) {
      mkdirSync(dirname(join(directory, path)), { recursive: true });
      writeFileSync(join(directory, path), bytes);
    }
    return new Map(goldenFixture(name).expected.scan.map((r: { key: string; value: string }) => [r.key, r.value]));
  }

  async function theirRows(): Promise<Map<string, string>> {
    const rows = await newSlate().readerScan(slatePlace);
    return new Map(rows.map(({ key, value }) => [toHex(key), toHex(value)]));
  }

  async function ourRows(): Promise<Map<string, string>> {
    const reader = await openReader(ours, { logger: QUIET });
    const rows = await gathered(reader.scan());
    await reader.close();
    return new Map(rows.map(({ key, value }) => [toHex(key), toHex(value)]));
  }

  /** Both programs read, write and compact; each sees exactly the rows that there are. */
  async function expectUsable(rows: Map<string, string>): Promise<void> {
    expect(await theirRows()).toEqual(rows);
    expect(await ourRows()).toEqual(rows);
    await newSlate().compactAll(slatePlace);
    expect(await theirRows()).toEqual(rows);
    const slate = newSlate();
    await slate.open(slatePlace);
    await slate.put('k0007', 'theirs');
    await slate.close();
    const db = await open(ours, { logger: QUIET });
    await db.put('k0150', 'ours');
    await db.close();
    rows.set(toHex(Buffer.from('k0007')), toHex(Buffer.from('theirs')));
    rows.set(toHex(Buffer.from('k0150')), toHex(Buffer.from('ours')));
    await newSlate().compactAll(slatePlace);
    expect(await theirRows()).toEqual(rows);
    expect(await ourRows()).toEqual(rows);
    expect((await verify(ours, { logger: QUIET })).verdict).toBe('clean');
  }

  it('repaired before its first compaction, a union keeps its 200 rows', async () => {
    const rows = lay(UNION);
    expect(rows.size).toBe(200);
    expect((await verify(ours, { logger: QUIET })).verdict).toBe('degraded');
    expect(await manifestRepair(ours, SETTLED)).toMatchObject({ outcome: 'healed', applied: true });
    await expectUsable(rows);
  });

  it('repaired after it, a union has its 203 rows again', async () => {
    const before = lay(UNION);
    const rows = new Map([...before, ...lay(LOSSY)]);
    expect(rows.size).toBe(203);
    expect((await theirRows()).size).toBe(103);
    expect(await manifestRepair(ours, SETTLED)).toMatchObject({ outcome: 'reconstructed', applied: true });
    await expectUsable(rows);
  });

  if (losesRows) {
    it('not repaired, it loses half of them at its first compaction, and gets them back', async () => {
      const rows = lay(UNION);
      await newSlate().compactAll(slatePlace);
      expect((await theirRows()).size).toBe(100);
      expect(await manifestRepair(ours, SETTLED)).toMatchObject({ outcome: 'reconstructed', rows: { recovered: 100 } });
      await expectUsable(rows);
    });
  }
}

describeWithSlateDb017('unions of SlateDB, used by 0.17.0', () => unionSuite(slateDb017, true));
describeWithSlateDb018('unions of SlateDB, used by 0.18.0', () => unionSuite(slateDb018, false));
