/**
 * Filters of 0.17.0 and 0.18.0 that 0.12.1 mislabels, live: it opens a database of theirs, or only tries to, and its manifest
 * calls filters what they are not. From then on SlateDB misses rows by get that it shows by scan. `verify` finds it, `sstRepair`
 * cures it.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Finding } from '../../src/common/finding.ts';
import { type SstRepairOptions, sstRepair } from '../../src/tools/sst-repair.ts';
import { verify } from '../../src/tools/verify.ts';
import { text } from '../support/database.ts';
import { describeWithSlateDb017, describeWithSlateDb018 } from '../support/environment.ts';
import { inDirectory, type SharedPlace } from '../support/handover-places.ts';
import type { LiveSlateDb } from '../support/live-slatedb.ts';
import { slateDb012 } from '../support/slatedb-012.ts';
import { slateDb017 } from '../support/slatedb-017.ts';
import { slateDb018 } from '../support/slatedb-018.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
/** More than from which on SlateDB makes filters. */
const ROWS = 1500;
/** Of twice as many rows; how many it is depends on the bits of the filters. */
const MANY = 100;

function mislabelledSuite(makeNewer: () => LiveSlateDb): void {
  const started: LiveSlateDb[] = [];
  const model = new Map<string, string>();
  let place: SharedPlace;
  beforeEach(async () => {
    place = await inDirectory();
    model.clear();
  });
  afterEach(async () => {
    for (const slate of started.splice(0)) await slate.crash();
    await place.dispose();
  });

  async function withSlate<T>(make: () => LiveSlateDb, use: (slate: LiveSlateDb) => Promise<T>): Promise<T> {
    const slate = make();
    started.push(slate);
    await slate.open(place.slate);
    const result = await use(slate);
    await slate.close();
    return result;
  }

  async function putRows(slate: LiveSlateDb, turn: number): Promise<void> {
    const rows = Array.from({ length: ROWS }, (_, i) => ({ put: `key-${i * 3 + turn}`, value: `${turn} of ${i}` }));
    await slate.write(rows);
    for (const { put, value } of rows) model.set(put, value);
    await slate.flush('memtable');
  }

  /** A sorted run, a table above it, and one that is too small for a filter; with `crash` also a log that 0.12.1 refuses. */
  async function written(ending: 'close' | 'crash'): Promise<void> {
    await withSlate(makeNewer, (slate) => putRows(slate, 0));
    await makeNewer().compactAll(place.slate);
    await withSlate(makeNewer, async (slate) => {
      await putRows(slate, 1);
      await slate.put('few', 'rows');
      model.set('few', 'rows');
    });
    if (ending === 'close') return;
    const slate = makeNewer();
    started.push(slate);
    await slate.open(place.slate);
    await slate.put('log', 'row');
    model.set('log', 'row');
    await slate.crash();
  }

  /** How many rows a get does not find; a scan finds all of them. */
  async function missing(slate: LiveSlateDb): Promise<number> {
    const scanned = (await slate.scan()).map((r) => [text(r.key), text(r.value)]);
    expect(scanned).toEqual([...model].sort(([a], [b]) => (a < b ? -1 : 1)));
    const keys = [...model.keys()];
    const values = await slate.getMany(keys);
    return keys.filter((key, i) => text(values[i]) !== model.get(key)).length;
  }

  /** Opened, read and written on, so that a manifest is written. */
  function missingIn(make: () => LiveSlateDb): Promise<number> {
    return withSlate(make, async (slate) => {
      const count = await missing(slate);
      const key = `turn-${model.size}`;
      await slate.put(key, 'value');
      model.set(key, 'value');
      return count;
    });
  }

  async function errors(): Promise<Finding[]> {
    return (await verify(place.ours, { logger: QUIET })).findings.filter((f) => f.severity === 'error');
  }

  /** The two tables with filters, as `verify` names them. */
  async function mislabelled(): Promise<string[]> {
    const found = await errors();
    expect(found.map((f) => [f.code, f.expected, f.found])).toEqual(
      Array(2).fill(['MANIFEST_INCONSISTENT', 'filter form composite', 'filter form legacy']),
    );
    expect(found.every((f) => f.hint.commands.some((c) => c.startsWith('shaledb sst repair')))).toBe(true);
    return found.map((f) => f.object.id);
  }

  async function repair(ids: readonly string[], options: SstRepairOptions = {}): Promise<void> {
    for (const id of ids) {
      const report = await sstRepair(place.ours, id, {
        logger: QUIET,
        apply: true,
        acceptLoss: true,
        liveCheckMs: 0,
        ...options,
      });
      expect(report).toMatchObject({
        applied: true,
        rows: { lost: 0 },
        newObjects: { length: options.filterForm ? 1 : 0 },
      });
    }
    expect(await errors()).toEqual([]);
  }

  it('that 0.12.1 opened is cured for the newer one by a manifest, and for both for good by tables with other filters', async () => {
    await written('close');
    expect(await missingIn(slateDb012)).toBeGreaterThan(MANY);
    expect(await missingIn(makeNewer)).toBeGreaterThan(MANY);
    const ids = await mislabelled();
    await repair(ids);
    expect(await missingIn(makeNewer)).toBe(0);

    expect(await missingIn(slateDb012)).toBeGreaterThan(MANY);
    expect((await mislabelled()).sort()).toEqual([...ids].sort());
    await repair(ids, { filterForm: 'legacy' });
    // The newer one first: 0.12.1 refuses the fence of the repair until a table holds what is before it.
    for (const make of [makeNewer, slateDb012, makeNewer, slateDb012]) expect(await missingIn(make)).toBe(0);
    expect(await errors()).toEqual([]);
  });

  it('that 0.12.1 only tried to open is cured as well', async () => {
    await written('crash');
    await expect(slateDb012().open(place.slate)).rejects.toThrow(/empty/);
    expect(await missingIn(makeNewer)).toBeGreaterThan(MANY);
    await repair(await mislabelled(), { filterForm: 'legacy' });
    for (const make of [makeNewer, slateDb012, makeNewer]) expect(await missingIn(make)).toBe(0);
    expect(await errors()).toEqual([]);
  });
}

describeWithSlateDb017('a database of 0.17.0', () => mislabelledSuite(slateDb017));
describeWithSlateDb018('a database of 0.18.0', () => mislabelledSuite(slateDb018));
