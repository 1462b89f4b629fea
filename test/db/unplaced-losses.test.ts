/**
 * Reads after rows of the log were lost, whose keys nobody knows (RFC 0005, "Reads"): what is newer is simply right; what is
 * not is an error that names the ledger entry under `strict`, and flagged and counted under `available`.
 */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/common/random.ts';
import type { MetCorruption } from '../../src/db/corruption-watch.ts';
import type { Db } from '../../src/db/db.ts';
import { walPath } from '../../src/format/object-names.ts';
import { appendLedger, type LedgerEntry, readLedger } from '../../src/lsm/tree/damage-ledger.ts';
import { damageAcknowledge } from '../../src/tools/damage-list.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { rejection, text, toolAccess, World, worldOfFixture } from '../support/database.ts';
import { toolOptions } from '../support/tool-laws.ts';

const STRICT = { corruptionPolicy: 'strict' } as const;
const CONCAT = {
  merge: (_key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array) =>
    new Uint8Array([...(existing ?? []), ...operand]),
};

/** Numbers 4 to 6 are lost. */
const ENTRY: LedgerEntry = {
  id: 'f-0123456789abcdef',
  repairId: 'r-0123456789abcdef01234567',
  object: walPath(2),
  level: 'wal',
  at: '2026-01-01T00:00:00.000Z',
  keys: [],
  seqs: [{ min: 4n, max: 6n }],
  rows: 3,
  exact: false,
  state: 'open',
};

/** Writes the ledger and has the database take it over, as a repair does. */
async function record(world: World, db: Db, ...entries: LedgerEntry[]): Promise<void> {
  const means = { clock: world.clock, random: new SeededRandom(7) };
  const ledgerVersion = await world.run(appendLedger(world.memory, () => entries, means));
  await world.run(toolAccess(db).commit((m) => ({ ...m }), { ledgerVersion }));
}

/**
 * `old` 1, `gone` deleted 2, `sum` operand 3, then three rows, then `new` 7, `deleted` deleted 8, `sum` operand 9, `count`
 * base 10 and operand 11. All in one table, or all in memory.
 */
async function withRows(where: 'table' | 'memory', options: OpenOptions = {}): Promise<{ world: World; db: Db }> {
  const world = new World();
  const db = await world.open({ mergeOperator: CONCAT, ...options });
  await world.run(db.put('old', 'o'));
  await world.run(db.delete('gone'));
  await world.run(db.merge('sum', '1'));
  for (const key of ['x', 'y', 'z']) await world.run(db.put(key, 'v'));
  if (where === 'table') await world.run(db.flush({ type: 'memtable' }));
  await world.run(db.put('new', 'n'));
  await world.run(db.delete('deleted'));
  await world.run(db.merge('sum', '2'));
  await world.run(db.put('count', 'b'));
  await world.run(db.merge('count', '3'));
  if (where === 'table') await world.run(db.flush({ type: 'memtable' }));
  return { world, db };
}

const LOST = { name: 'CorruptionError', code: 'LOST_DATA' };

describe.each(['table', 'memory'] as const)('a loss without known keys, rows in %s', (where) => {
  // In memory nothing is after the replay point: the object is one without an id.
  const entry: LedgerEntry = where === 'table' ? ENTRY : { ...ENTRY, object: 'wal/' };

  it('leaves what is newer as it is, under every policy', async () => {
    const { world, db } = await withRows(where);
    await record(world, db, entry);
    for (const corruptionPolicy of ['available', 'strict'] as const) {
      const o = { corruptionPolicy };
      expect(text(await world.run(db.get('new', o)))).toBe('n');
      expect(await world.run(db.getWithMeta('new', o))).toMatchObject({ possiblyStale: false, findings: [] });
      expect(await world.run(db.get('deleted', o))).toBeUndefined();
      expect(await world.run(db.has('new', o))).toBe(true);
      expect(await world.run(db.getWithMeta('count', o))).toMatchObject({ possiblyStale: false, seq: 11n });
      expect((await world.run(db.getMany(['new', 'count'], o))).map(text)).toEqual(['n', 'b3']);
    }
    expect(db.corruptions().counts).toEqual({ possiblyStale: 0, errors: 0, skipped: 0 });
  });

  it('is flagged and counted under available', async () => {
    const met: MetCorruption[] = [];
    const { world, db } = await withRows(where, { onCorruption: (m) => void met.push(m) });
    await record(world, db, entry);
    const flagged = { possiblyStale: true, findings: [{ code: 'LOST_DATA', id: entry.id }] };
    expect(await world.run(db.getWithMeta('old'))).toMatchObject({ ...flagged, seq: 1n });
    // A fold over the numbers that are lost: an operand may be missing.
    expect(await world.run(db.getWithMeta('sum'))).toMatchObject({ ...flagged, seq: 9n });
    expect(text(await world.run(db.get('sum')))).toBe('12');
    expect(await world.run(db.get('never'))).toBeUndefined();
    expect(await world.run(db.get('gone'))).toBeUndefined();
    expect(await world.run(db.has('never'))).toBe(false);
    expect((await world.run(db.getMany(['old', 'never', 'new']))).map(text)).toEqual(['o', undefined, 'n']);
    expect(db.corruptions()).toMatchObject({
      lost: [entry],
      counts: { possiblyStale: 8, errors: 0, skipped: 0 },
      findings: [{ code: 'LOST_DATA', id: entry.id }],
    });
    expect(met.map((m) => [text(m.key!), m.outcome])).toEqual(
      ['old', 'sum', 'sum', 'never', 'gone', 'never', 'old', 'never'].map((key) => [key, 'possibly-stale']),
    );
  });

  it('is an error under strict that names the ledger entry', async () => {
    const { world, db } = await withRows(where);
    await record(world, db, entry);
    for (const key of ['old', 'sum', 'never', 'gone']) {
      for (const method of ['get', 'has', 'getWithMeta'] as const) {
        const error = await rejection(world.run<unknown>(db[method](key, STRICT)));
        expect(error, key).toMatchObject({ ...LOST, findings: [{ id: entry.id }] });
        expect(error.message).toContain(entry.id);
        expect(error.hint?.commands.join()).toContain(`damage ack LOCATION ${entry.id}`);
      }
    }
    const stale = async (key: string) =>
      (await rejection(world.run(db.get(key, STRICT)))) as { possiblyStale?: object };
    expect(text((await stale('old')).possiblyStale?.['value' as never])).toBe('o');
    expect(await stale('old')).toMatchObject({ possiblyStale: { seq: 1n } });
    expect(await stale('gone')).toMatchObject({ possiblyStale: { seq: 2n } });
    expect((await stale('never')).possiblyStale).toBeUndefined();
    const many = (await rejection(world.run(db.getMany(['new', 'old', 'never'], STRICT)))) as unknown as {
      results: unknown[];
    };
    expect(text(many.results[0] as Uint8Array)).toBe('n');
    expect(many.results.slice(1)).toMatchObject([LOST, LOST]);
    expect(db.corruptions().counts.possiblyStale).toBe(0);
  });

  it.each([false, true])(
    'flags the rows of a scan that are older, and the scan itself (reverse: %s)',
    async (reverse) => {
      const met: MetCorruption[] = [];
      const { world, db } = await withRows(where, { onCorruption: (m) => void met.push(m) });
      await record(world, db, entry);
      const all = ['count', 'new', 'old', 'sum', 'x', 'y', 'z'];
      const scan = db.scan({ reverse });
      const rows = await world.run(scan.nextBatch(100));
      expect(rows.map((r) => text(r.key))).toEqual(reverse ? all.toReversed() : all);
      // z has the greatest of the lost numbers, and is not older than any.
      expect(rows.flatMap((r) => (r.possiblyStale ? [text(r.key)] : [])).sort()).toEqual(['old', 'sum', 'x', 'y']);
      expect(scan.findings).toMatchObject([{ code: 'LOST_DATA', id: entry.id }]);
      expect(met).toMatchObject([{ operation: 'scan', outcome: 'possibly-stale' }]);
      expect(db.corruptions().counts.possiblyStale).toBe(5);
      const empty = db.scan({ gte: 'zz', reverse });
      expect(await world.run(empty.nextBatch(10))).toEqual([]);
      expect(empty.findings).toHaveLength(1);
      expect(db.corruptions().counts.possiblyStale).toBe(6);
      const single = db.scan({ reverse });
      expect((await world.run(single.next())).value?.possiblyStale).toBe(reverse ? undefined : undefined);
    },
  );

  it.each([false, true])('is one error of a strict scan, after which nothing comes (reverse: %s)', async (reverse) => {
    const { world, db } = await withRows(where);
    await record(world, db, entry);
    for (const first of ['next', 'batch'] as const) {
      const scan = db.scan({ ...STRICT, reverse });
      const call = (): Promise<unknown> => (first === 'next' ? scan.next() : scan.nextBatch(10));
      expect(await rejection(world.run(call()))).toMatchObject({ ...LOST, findings: [{ id: entry.id }] });
      expect(await world.run(scan.next())).toEqual({ done: true, value: undefined });
    }
    const skipping = db.scan({ ...STRICT, reverse, onCorruption: 'skip' });
    expect(await world.run(skipping.nextBatch(10))).toEqual([]);
    expect(skipping.findings).toHaveLength(1);
    expect(db.corruptions().counts).toEqual({ possiblyStale: 0, errors: 2, skipped: 1 });
  });
});

describe('a loss without known keys', () => {
  it('can be turned into an error by the onCorruption function', async () => {
    const { world, db } = await withRows('table', { onCorruption: () => 'error' });
    await record(world, db, ENTRY);
    expect(await rejection(world.run(db.get('never')))).toMatchObject(LOST);
    expect(await rejection(world.run(db.get('old')))).toMatchObject(LOST);
    expect(text(await world.run(db.get('new')))).toBe('n');
    const scan = db.scan();
    expect(await rejection(world.run(scan.next()))).toMatchObject(LOST);
    expect(await world.run(scan.next())).toEqual({ done: true, value: undefined });
    expect(db.corruptions().counts).toEqual({ possiblyStale: 0, errors: 3, skipped: 0 });
  });

  it('ends for a key that is written again', async () => {
    const { world, db } = await withRows('table');
    await record(world, db, ENTRY);
    await world.run(db.put('never', 'now'));
    await world.run(db.delete('old'));
    expect(text(await world.run(db.get('never', STRICT)))).toBe('now');
    expect(await world.run(db.get('old', STRICT))).toBeUndefined();
  });

  it('concerns no read below its numbers, and each range for itself', async () => {
    const { world, db } = await withRows('table');
    const snapshot = db.snapshot();
    await record(world, db, { ...ENTRY, seqs: [{ min: 20n, max: 30n }] });
    expect(await world.run(snapshot.get('never', STRICT))).toBeUndefined();
    expect(text(await world.run(snapshot.get('old', STRICT)))).toBe('o');
    await record(world, db, {
      ...ENTRY,
      seqs: [
        { min: 1n, max: 3n },
        { min: 20n, max: 30n },
      ],
    });
    expect(text(await world.run(snapshot.get('x', STRICT)))).toBe('v');
    expect(await rejection(world.run(snapshot.get('old', STRICT)))).toMatchObject(LOST);
    const rows = await world.run(snapshot.scan().nextBatch(100));
    expect(rows.flatMap((r) => (r.possiblyStale ? [text(r.key)] : []))).toEqual(['old', 'sum']);
  });

  it('of an object that is still to be replayed changes nothing', async () => {
    const { world, db } = await withRows('table');
    await record(world, db, { ...ENTRY, object: walPath(4000) });
    expect(await world.run(db.get('never', STRICT))).toBeUndefined();
    expect(await world.run(db.getWithMeta('old', STRICT))).toMatchObject({ possiblyStale: false });
    expect(db.corruptions().lost).toHaveLength(1);
  });

  it.each(['acknowledged', 'restored'] as const)('that is %s changes nothing', async (state) => {
    const { world, db } = await withRows('table');
    await record(world, db, { ...ENTRY, state });
    expect(await world.run(db.get('never', STRICT))).toBeUndefined();
    expect(await world.run(db.scan(STRICT).nextBatch(100))).toHaveLength(7);
    expect(db.corruptions()).toMatchObject({ lost: [], counts: { possiblyStale: 0, errors: 0 } });
  });

  it('reports each entry once', async () => {
    const { world, db } = await withRows('table');
    const other = { ...ENTRY, id: 'f-fedcba9876543210', object: walPath(1), seqs: [{ min: 1n, max: 2n }] };
    await record(world, db, { ...ENTRY, seqs: [...ENTRY.seqs, { min: 3n, max: 3n }] }, other);
    const error = await rejection(world.run(db.get('never', STRICT)));
    expect((error as unknown as { findings: { id: string }[] }).findings.map((f) => f.id)).toEqual([
      ENTRY.id,
      other.id,
    ]);
    expect(await world.run(db.getWithMeta('old'))).toMatchObject({ findings: [{ id: ENTRY.id }, { id: other.id }] });
  });
});

describe('a log of which a repair lost an object', () => {
  async function repaired(world: World, lost: number): Promise<LedgerEntry> {
    await world.remove(walPath(lost));
    const target = { store: world.line(), path: '' };
    const options = { ...toolOptions(world), apply: true, acceptLoss: true, liveCheckMs: 0 };
    expect(await world.run(walRepair(target, options))).toMatchObject({ applied: true, outcome: 'salvaged' });
    const [entry] = (await world.run(readLedger(world.memory))).entries;
    return entry;
  }

  it('answers like that, in a database and in a reader, until the loss is acknowledged', async () => {
    const world = new World();
    await world.writeAndCrash(['a', 'b', 'c', 'd', 'e']);
    const entry = await repaired(world, 4);
    const db = await world.open();
    const reader = await world.openReader();
    for (const handle of [db, reader]) {
      expect(await world.run(handle.get('c'))).toBeUndefined();
      expect(await rejection(world.run(handle.get('c', STRICT)))).toMatchObject({
        ...LOST,
        findings: [{ id: entry.id }],
      });
      expect(await world.run(handle.getWithMeta('a'))).toMatchObject({ possiblyStale: true });
      expect(await world.run(handle.getWithMeta('e', STRICT))).toMatchObject({ possiblyStale: false });
    }
    await world.run(damageAcknowledge(db, entry.id, 'written again', toolOptions(world)));
    expect(await world.run(db.get('c', STRICT))).toBeUndefined();
    expect(await world.run(db.scan(STRICT).nextBatch(10))).toHaveLength(4);
    expect(db.corruptions().lost).toEqual([]);
    await world.run(reader.refresh());
    expect(await world.run(reader.get('c', STRICT))).toBeUndefined();
    await world.run(db.close());
    expect(await world.run((await world.open(STRICT)).get('c'))).toBeUndefined();
  });

  it('of SlateDB answers like that, too', async () => {
    const world = await worldOfFixture('slatedb-0.12.1/wal-only-crash');
    const ids = (await world.paths('wal/')).map((p) => Number(p.slice(4, 24)));
    const entry = await repaired(world, ids[2]);
    const db = await world.open();
    expect(await rejection(world.run(db.get('no such key', STRICT)))).toMatchObject({ findings: [{ id: entry.id }] });
    expect(await world.run(db.get('no such key'))).toBeUndefined();
    expect(db.corruptions().counts).toMatchObject({ possiblyStale: 1, errors: 1 });
  });
});
