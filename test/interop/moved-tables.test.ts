/**
 * Tables that our compactor has moved into runs as they are (`compactor.trivialMoves`), handed to SlateDB (0.12.1, 0.17.0 and 0.18.0, live): its
 * writers and readers see every row, its compactor goes on from our compactions file and merges these tables, and we go on from that.
 */
import { expect, it } from 'vitest';
import type { Db } from '../../src/db/db.ts';
import type { Compatibility } from '../../src/db/open-options.ts';
import { open, openReader } from '../../src/open.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { gathered, newestManifest } from '../support/golden-database.ts';
import { describeHandovers, expectManifestsToContinue, Handover } from '../support/handover-places.ts';
import type { LiveSlateDb } from '../support/live-slatedb.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const TABLES = 8;
const KEYS = 30;
const MOST_ROUNDS = 10;
const LIMIT_MS = 60_000;
const FORMS: Record<LiveSlateDb['version'], Compatibility> = {
  '0.12.1': 'slatedb-0.12',
  '0.17.0': 'slatedb-0.17',
  '0.18.0': 'auto',
};

const utf8 = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const key = (n: number) => `key ${String(n).padStart(5, '0')}`;

describeHandovers((partners) => {
  const handover = new Handover(partners, ({ ours }) => expectManifestsToContinue(ours));
  const options: OpenOptions = { compatibility: FORMS[partners.version], logger: QUIET, l0SstSizeBytes: 16_384 };
  const model = new Map<string, string>();

  const expectRows = (rows: Iterable<{ key: Uint8Array; value: Uint8Array }>) =>
    expect([...rows].map((row) => [text(row.key), text(row.value)])).toEqual([...model].sort());

  async function expectByUs(db: Pick<Db, 'scan'>): Promise<void> {
    expectRows(await gathered(db.scan()));
  }

  /** Rows of one table: with the same `step` no two tables have a key in common. */
  function rowsFrom(first: number, step: number, name: string): [string, string][] {
    const rows = Array.from({ length: KEYS }, (_, i): [string, string] => [
      key(first + i * step),
      `${name} ${i} `.padEnd(120, '.'),
    ]);
    for (const [k, v] of rows) model.set(k, v);
    return rows;
  }

  async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
    for (const limit = Date.now() + LIMIT_MS; !(await isSo()); ) {
      if (Date.now() > limit) throw new Error(`not in time: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  it('all rows are read and merged', async () => {
    model.clear();
    const place = handover.place;
    const db = await open(place.ours, { ...options, compactor: { trivialMoves: true }, gc: false });
    for (let i = 0; i < TABLES; i++) {
      for (const [k, v] of rowsFrom(i * KEYS, 1, `of ${i}`)) await db.put(k, v, { awaitDurable: false });
      await db.flush({ type: 'memtable' });
      // All that it moves it moves in fours.
      if (i % 4 === 3) await until('the move', async () => (await newestManifest(place.ours)).l0.length === 0);
    }
    const { runs } = await newestManifest(place.ours);
    expect(runs.map(({ views }) => views.length)).toEqual([4, 4]);
    const ours = runs.flatMap(({ views }) => views.map(({ table }) => table.id));
    expect(db.upkeep().compactor).toMatchObject({ lastError: undefined, jobs: [] });
    await expectByUs(db);
    await db.close();

    const slate = handover.newSlate();
    expectRows(await slate.readerScan(place.slate));
    await slate.open(place.slate, { compactor: true });
    expectRows(await slate.scan());
    const isMerged = async () => {
      const manifest = await newestManifest(place.ours);
      const left = new Set(manifest.runs.flatMap(({ views }) => views.map(({ table }) => table.id)));
      return !ours.some((id) => left.has(id));
    };
    let rounds = 0;
    for (; rounds < MOST_ROUNDS && !(await isMerged()); rounds++) {
      for (let i = 0; i < 4; i++) {
        for (const [k, v] of rowsFrom(i, TABLES, `again ${rounds}`)) await slate.put(k, v, { awaitDurable: false });
        await slate.flush('memtable');
      }
      await until('a compaction of SlateDB', async () => (await newestManifest(place.ours)).l0.length < 4);
    }
    await until('the merge of the tables that were moved', isMerged);
    expectRows(await slate.scan());
    expect(await slate.getMany([utf8(key(0)), utf8(key(TABLES * KEYS))])).toEqual([
      utf8(model.get(key(0))!),
      undefined,
    ]);
    await slate.close();

    const again = await open(place.ours, { ...options, compactor: { trivialMoves: true } });
    await expectByUs(again);
    await again.compact();
    await expectByUs(again);
    await again.close();
    const reader = await openReader(place.ours, { logger: QUIET });
    await expectByUs(reader);
    await reader.close();
  });
});
