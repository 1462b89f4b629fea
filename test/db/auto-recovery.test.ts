/** Openings that go on over a damaged log: healed in memory, or repaired while calls wait, with the limits that were set. */
import { describe, expect, it } from 'vitest';
import { RollbackError, UnavailableError, WalCorruptionError } from '../../src/common/errors.ts';
import type { DbEvent } from '../../src/common/events.ts';
import type { Db } from '../../src/db/db.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { walPath } from '../../src/format/object-names.ts';
import { readLedger } from '../../src/lsm/tree/damage-ledger.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { rejection, rowsOf, text, World, worldOfFixture } from '../support/database.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const names = (n: number) => Array.from({ length: n }, (_, i) => `key-${String(i).padStart(3, '0')}`);
const rows = (keys: readonly string[]) => keys.map((k) => `${k}=value of ${k}`);

async function sealedLog(objects: number): Promise<World> {
  const world = new World();
  await world.writeAndCrash(names(objects - 1));
  return world;
}

async function flip(world: World, id: number, at: number, length = 1): Promise<void> {
  const bytes = (await world.bytes(walPath(id))).slice();
  for (let i = at; i < at + length; i++) bytes[i] ^= 0x41 + i;
  await world.replace(walPath(id), bytes);
}

async function rowsWithSeqs(world: World, db: Db): Promise<string[]> {
  const found: string[] = [];
  for (const row of await world.run(db.scan().nextBatch(1000)))
    found.push(`${text(row.key)} ${text(row.value)} ${row.seq}`);
  return found;
}

describe('healOnOpen', () => {
  it('goes on where the seal proves what was written, and reports each damage', async () => {
    const world = await sealedLog(6);
    await flip(world, 3, 4, 3);
    await flip(world, 5, 9);
    const events: DbEvent[] = [];
    const db = await world.open({ healOnOpen: true, onEvent: (e) => events.push(e) });
    expect(await rowsOf(world, db)).toEqual(rows(names(5)));
    const findings = events.flatMap((e) => (e.type === 'finding' ? [e.finding] : []));
    expect(findings.map((f) => [f.object.path, f.severity, f.remedy])).toEqual([
      [walPath(3), 'warning', 'heals'],
      [walPath(5), 'warning', 'heals'],
    ]);
  });

  it('refuses what nothing proves', async () => {
    const world = await sealedLog(6);
    await flip(world, 3, 4, 12);
    expect(await rejection(world.open({ healOnOpen: true }))).toBeInstanceOf(WalCorruptionError);
  });
});

describe('expectAtLeast', () => {
  it('refuses a database that ends before what was seen, and changes nothing', async () => {
    const world = await sealedLog(6);
    await world.remove(walPath(6));
    const before = await world.versions();
    const error = await rejection(world.open({ expectAtLeast: 5n }));
    expect(error).toBeInstanceOf(RollbackError);
    expect(error).toMatchObject({ expected: 5n, found: 4n });
    expect(await world.versions()).toEqual(before);
    expect(await rowsOf(world, await world.open({ expectAtLeast: 4n }))).toEqual(rows(names(4)));
  });
});

describe('walAutoRecovery', () => {
  const damages: [string, (world: World) => Promise<void>][] = [
    ['nothing', async () => {}],
    ['a healing bit', (w) => flip(w, 4, 4)],
    ['a burst', (w) => flip(w, 4, 2, 20)],
    ['a missing object', (w) => w.remove(walPath(4))],
    ['an object cut to 10 bytes', async (w) => w.replace(walPath(4), (await w.bytes(walPath(4))).slice(0, 10))],
    [
      'two objects exchanged',
      async (w) => {
        const [a, b] = [await w.bytes(walPath(3)), await w.bytes(walPath(5))];
        await w.replace(walPath(3), b);
        await w.replace(walPath(5), a);
      },
    ],
  ];

  it.each(damages)('with %s gives what repairing by hand gives, row for row', async (name, damage) => {
    const world = await sealedLog(7);
    await damage(world);
    const other = await world.copy();
    if (name !== 'nothing') expect(await rejection(other.open())).toBeInstanceOf(WalCorruptionError);
    const { clock } = other;
    const byHand = await other.run(
      walRepair({ store: other.line(), path: '' }, { clock, apply: true, acceptLoss: true, logger: QUIET }),
    );
    const events: DbEvent[] = [];
    const db = await world.open({ walAutoRecovery: true, onEvent: (e) => events.push(e) });
    const report = await world.run(db.ready());
    expect(report?.rows).toEqual(name === 'nothing' ? undefined : byHand.rows);
    expect(report?.repairId).toEqual(name === 'nothing' ? undefined : byHand.repairId);
    expect(events.filter((e) => e.type === 'recovery')).toHaveLength(name === 'nothing' ? 0 : 1);
    expect(await rowsWithSeqs(world, db)).toEqual(await rowsWithSeqs(other, await other.open()));
    const ledgers = await Promise.all([world, other].map((w) => w.run(readLedger(w.memory))));
    const seqs = ledgers.map((l) => l.entries.map((e) => [e.object, e.seqs]));
    expect(seqs[0]).toEqual(seqs[1]);
    await world.run(db.put('later', 'x'));
    await world.run(db.close());
  });

  it('returns the handle at once; calls wait, in their order', async () => {
    const world = await sealedLog(6);
    await flip(world, 4, 2, 20);
    const db = await world.open({ walAutoRecovery: true });
    expect(() => db.snapshot()).toThrow(UnavailableError);
    const value = new Uint8Array([1]);
    const put = db.put('new', value);
    value[0] = 2;
    const batch = new WriteBatch().put('batched', 'a');
    const write = db.write(batch);
    batch.clear();
    const get = db.get('new');
    const scan = db.scan({ gte: 'n' }).nextBatch(10);
    const sought = db.scan();
    const place = new TextEncoder().encode('new');
    const seek = sought.seek(place);
    place.fill(0);
    const controller = new AbortController();
    const aborted = rejection(db.get('new', { signal: controller.signal }));
    controller.abort('enough');
    expect(await aborted).toMatchObject({ name: 'AbortError', outcome: 'not-applied', cause: 'enough' });
    await world.run(Promise.all([put, write]));
    expect(await world.run(get)).toEqual(new Uint8Array([1]));
    expect((await world.run(scan)).map((r) => text(r.key))).toEqual(['new']);
    await world.run(seek);
    expect((await world.run(sought.nextBatch(10))).map((r) => text(r.key))).toEqual(['new']);
    expect(await world.run(db.has('batched'))).toBe(true);
    expect(await world.run(db.has('key-002'))).toBe(false);
    expect(db.snapshot()).toBeDefined();
  });

  it('keeps calls waiting no longer than they may', async () => {
    const world = await sealedLog(6);
    await flip(world, 4, 2, 20);
    const db = await world.open({ walAutoRecovery: true, timeoutMs: 1000 });
    // The search for a live writer alone takes five seconds.
    expect(await rejection(world.run(db.get('key-001')))).toMatchObject({ code: 'RECOVERING', retryable: true });
    expect(await world.run(db.ready())).toMatchObject({ applied: true });
    expect(text(await world.run(db.get('key-001')))).toBe('value of key-001');
  });

  const refused: [string, OpenOptions][] = [
    ['rows', { maxLoss: { rows: 0 } }],
    ['objects', { maxLoss: { walObjects: 0 } }],
  ];
  it.each(refused)('loses no more %s than it may', async (_, options) => {
    const world = await sealedLog(6);
    await flip(world, 4, 2, 20);
    const before = await world.versions();
    const db = await world.open({ walAutoRecovery: true, ...options });
    expect(await rejection(world.run(db.ready()))).toBeInstanceOf(WalCorruptionError);
    expect(await rejection(world.run(db.get('key-001')))).toBeInstanceOf(WalCorruptionError);
    expect(await world.versions()).toEqual(before);
    await world.run(db.close());
  });

  it('logs every damage, every object and every loss, as plain text and numbers', async () => {
    const world = await sealedLog(9);
    await flip(world, 3, 4);
    await flip(world, 5, 2, 20);
    await world.remove(walPath(7));
    const events: DbEvent[] = [];
    const lines: string[] = [];
    const write =
      (level: string) =>
      (message: string, details: Record<string, unknown> = {}) => {
        // Loggers differ in what they make of an object, a list or a bigint.
        for (const value of Object.values(details)) expect(['string', 'number', 'boolean']).toContain(typeof value);
        lines.push(
          `${level} ${message} ${Object.entries(details)
            .map(([k, v]) => `${k}=${String(v)}`)
            .join(' ')}`,
        );
      };
    const logger = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
    const db = await world.open({ walAutoRecovery: true, logger, onEvent: (e) => events.push(e) });
    const report = await world.run(db.ready());
    const all = lines.join('\n');
    expect(all).not.toContain('[object');
    expect(all).not.toContain('undefined');
    for (const id of [3, 5, 7]) {
      expect(all).toMatch(new RegExp(`error damage in the log code=\\S+ path=${walPath(id)}`));
    }
    const findings = events.flatMap((e) => (e.type === 'finding' ? [e.finding.object.path] : []));
    expect(new Set(findings)).toEqual(new Set([3, 5, 7].map(walPath)));
    for (const { from, to } of report?.evidence ?? []) {
      expect(all).toContain(`a damaged object was replaced repairId=${report?.repairId} path=${from} copy=${to}`);
    }
    expect(report?.evidence.map((e) => e.from)).toEqual([walPath(3), walPath(5)]);
    expect(report?.lostSeqs).toEqual([
      { min: 4n, max: 4n },
      { min: 6n, max: 6n },
    ]);
    for (const seq of [4, 6])
      expect(all).toContain(`rows of the log are lost repairId=${report?.repairId} seqs=${seq}`);
    expect(all).toContain('lostRows=at least 2, and nothing says how many at most');
    expect(events.filter((e) => e.type === 'recovery')).toMatchObject([{ lostRows: 2, lostExact: false }]);
    expect(events.find((e) => e.type === 'recovery')).not.toHaveProperty('lostRowsAtMost');
  });

  it('refuses beside a writer that lives', async () => {
    const world = await sealedLog(6);
    await flip(world, 4, 2, 20);
    const db = await world.open({ walAutoRecovery: true });
    const ready = rejection(db.ready());
    // Its log grows while the repair reads it: after both readings of the damaged object, 1.1 s each.
    const timer = world.clock.setTimer(
      4000,
      () =>
        void world.memory.put(walPath(7), new Uint8Array(0), { condition: 'any', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' }),
    );
    expect(await world.run(ready)).toMatchObject({ code: 'LIVE_WRITER' });
    timer.cancel();
  });

  it('leaves a damaged manifest alone', async () => {
    const world = await sealedLog(4);
    const newest = (await world.paths('manifest/')).at(-1)!;
    await world.replace(newest, (await world.bytes(newest)).slice(0, 40));
    const before = await world.versions();
    expect(await rejection(world.open({ walAutoRecovery: true }))).toMatchObject({ name: 'ManifestCorruptionError' });
    expect(await world.versions()).toEqual(before);
  });

  it('repairs what SlateDB left', async () => {
    const world = await worldOfFixture('slatedb-0.12.1/wal-only-crash');
    const [id] = (await world.paths('wal/')).map((p) => Number(p.slice(4, 24))).slice(2, 3);
    await flip(world, id, 10, 6);
    const db = await world.open({ walAutoRecovery: true });
    expect(await world.run(db.ready())).toMatchObject({ outcome: 'salvaged' });
    expect((await rowsOf(world, db)).length).toBeGreaterThan(0);
  });
});

describe('verifyOnOpen', () => {
  it('reports a table that is gone while the database serves', async () => {
    const world = new World();
    const { db, line } = await world.connect();
    await world.run(db.put('a', '1'));
    await world.run(db.flush({ type: 'memtable' }));
    line.cut();
    await world.remove(...(await world.paths('compacted/')));
    let report: (event: DbEvent) => void = () => undefined;
    const reported = new Promise<DbEvent>((resolve) => {
      report = resolve;
    });
    const again = await world.open({ verifyOnOpen: 'refs', onEvent: report });
    await world.run(again.put('b', '2'));
    expect(await world.run(reported)).toMatchObject({ type: 'finding', finding: { code: 'MISSING_OBJECT' } });
  });
});
