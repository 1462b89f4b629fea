/**
 * The forms of what is stored, between live programs: tables of ours with filters, codecs, TTL and merge operands read by
 * SlateDB 0.12.1, 0.17.0 and 0.18.0; what SlateDB's collector leaves of a shared database; filters that one version made unreadable for
 * the next.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Db } from '../../src/db/db.ts';
import type { Compatibility } from '../../src/db/open-options.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { CODECS } from '../../src/format/table-info.ts';
import { open, openReader } from '../../src/open.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { describeWithSlateDb017, describeWithSlateDb018 } from '../support/environment.ts';
import { CONCAT, gathered } from '../support/golden-database.ts';
import {
  describeHandovers,
  expectManifestsToContinue,
  inDirectory,
  type SharedPlace,
  storedPaths,
} from '../support/handover-places.ts';
import { HandoverRows, type ReadRow, toBatch } from '../support/handover-rows.ts';
import type { LiveSlateDb, SlateDbRow } from '../support/live-slatedb.ts';
import { slateDb012 } from '../support/slatedb-012.ts';
import { slateDb017 } from '../support/slatedb-017.ts';
import { slateDb018 } from '../support/slatedb-018.ts';

const ROWS_PER_TABLE = 1200;
const HOUR_MS = 3_600_000;
const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const COMPATIBILITIES: Record<LiveSlateDb['version'], Compatibility[]> = {
  '0.12.1': ['auto', 'slatedb-0.12'],
  '0.17.0': ['auto', 'slatedb-0.17'],
  '0.18.0': ['auto', 'slatedb-0.17'],
};

const keyOf = (table: number, i: number) => `key-${String(i * 10 + table).padStart(6, '0')}`;
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

interface KnownRow {
  key: string;
  value: string;
  seq: bigint;
  createTs: number | undefined;
  expireTs: number | undefined;
}

/** One table and one WAL object for each codec, with filters; the newest stay in the log. */
async function writeAllForms(location: SharedPlace['ours'], options: OpenOptions): Promise<KnownRow[]> {
  for (const [table, codec] of CODECS.entries()) {
    const db = await open(location, { ...options, compressionCodec: codec });
    const batch = new WriteBatch();
    for (let i = 0; i < ROWS_PER_TABLE; i++) {
      const ttl = i % 7 === 0 ? { ttlMs: HOUR_MS * (1 + table) } : undefined;
      batch.put(keyOf(table, i), `${codec} row ${i} `.repeat(1 + (i % 9)), ttl);
    }
    batch.put('same', codec);
    await db.write(batch);
    await db.merge('merged', `+${codec}`, table === 2 ? { ttlMs: HOUR_MS } : undefined);
    await db.merge(keyOf(table, 3), '!');
    await db.delete(keyOf(table, 5));
    await db.flush({ type: 'memtable' });
    await db.merge('merged', '.');
    await db.put(`tail-${codec}`, codec.repeat(100), { ttlMs: HOUR_MS });
    await db.delete(keyOf(table, 7));
    if (table < CODECS.length - 1) await db.close();
    else {
      await db.flush();
      return knownRows(db);
    }
  }
  throw new Error('no codec');
}

async function knownRows(db: Pick<Db, 'scan' | 'getWithMeta'>): Promise<KnownRow[]> {
  const rows = await gathered(db.scan());
  return Promise.all(
    rows.map(async ({ key, value, seq }) => {
      const meta = await db.getWithMeta(key);
      return { key: text(key), value: text(value), seq, createTs: meta?.createTs, expireTs: meta?.expireTs };
    }),
  );
}

function fromSlate({ key, value, seq, createTs, expireTs }: SlateDbRow): KnownRow {
  const number = (n: bigint | undefined) => (n === undefined ? undefined : Number(n));
  return { key: text(key), value: text(value), seq, createTs: number(createTs), expireTs: number(expireTs) };
}

function expectSame(found: KnownRow[], wanted: KnownRow[]): void {
  const at = wanted.findIndex((row, i) => JSON.stringify(row, big) !== JSON.stringify(found[i], big));
  expect({ count: found.length, different: found[at] }).toEqual({ count: wanted.length, different: wanted[at] });
}

const big = (_key: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value);

describeHandovers(({ version, makeSlate, makePlace }) => {
  let place: SharedPlace;
  let slate: LiveSlateDb;
  beforeEach(async () => {
    place = await makePlace();
    slate = makeSlate();
  });
  afterEach(async () => {
    await slate.crash();
    await expectManifestsToContinue(place.ours);
    await place.dispose();
  });

  it.each(COMPATIBILITIES[version])('reads every form that we write with %s', async (compatibility) => {
    const options = { compatibility, logger: QUIET, mergeOperator: CONCAT, minFilterKeys: 1000 };
    const wanted = await writeAllForms(place.ours, options);
    expect(wanted.length).toBe(CODECS.length * (ROWS_PER_TABLE - 2) + 2 + CODECS.length);
    expectSame((await slate.readerScan(place.slate, { mergeOperator: 'concat' })).map(fromSlate), wanted);

    // Its opening takes the database over from the handle that was left open.
    await slate.open(place.slate, { mergeOperator: 'concat', settings: { min_filter_keys: 0 } });
    expectSame((await slate.scan()).map(fromSlate), wanted);
    const values = await slate.getMany(wanted.map((r) => r.key));
    expect(wanted.filter((row, i) => values[i] === undefined || text(values[i]) !== row.value)).toEqual([]);
    const absent = CODECS.flatMap((_, table) => [keyOf(table, 5), keyOf(table, 7), `${keyOf(table, 9)}x`]);
    expect(await slate.getMany(absent)).toEqual(absent.map(() => undefined));
    await slate.merge('merged', 'slate');
    await slate.flush('memtable');
    await slate.close();

    const reader = await openReader(place.ours, { mergeOperator: CONCAT, logger: QUIET });
    const merged = CODECS.map((codec) => `+${codec}.`).join('');
    expect(text((await reader.get('merged'))!)).toBe(`${merged}slate`);
    const others = (r: KnownRow) => r.key !== 'merged';
    expectSame((await knownRows(reader)).filter(others), wanted.filter(others));
    await reader.close();
  });
});

/** A database shared with a SlateDB whose manifests and filters 0.12.1 does not have. */
function sharedSuite(makeNewer: () => LiveSlateDb): void {
  let place: SharedPlace;
  const started: LiveSlateDb[] = [];
  beforeEach(async () => {
    place = await inDirectory();
  });
  afterEach(async () => {
    for (const slate of started.splice(0)) await slate.crash();
    await expectManifestsToContinue(place.ours);
    await place.dispose();
  });

  function start(make: () => LiveSlateDb): LiveSlateDb {
    const slate = make();
    started.push(slate);
    return slate;
  }

  it('is sound after its collector deleted what is no longer needed, ours among it', async () => {
    const wanted = new Map<string, string>();
    const options = { logger: QUIET };
    for (let turn = 0; turn < 6; turn++) {
      const db = await open(place.ours, options);
      for (let i = 0; i < 10; i++) {
        wanted.set(`k${(i * 7 + turn) % 30}`, `turn ${turn}`);
        await db.put(`k${(i * 7 + turn) % 30}`, `turn ${turn}`, { awaitDurable: false });
      }
      await db.close();
    }
    const before = await storedPaths(place.ours);
    const slate = start(makeNewer);
    await slate.compactAll(place.slate);
    const often = { interval: '100ms', min_age: '300ms', dry_run: false };
    const collector = {
      manifest_options: often,
      wal_options: often,
      wal_fence_options: often,
      compacted_options: often,
      compactions_options: often,
      detach_options: { interval: '100ms' },
    };
    // Its first round deletes what is old enough, and the next ones nothing for a long time: on a fast machine that was two manifests.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await slate.open(place.slate, { settings: { garbage_collector_options: collector } });
    await slate.put('slate', 'wrote');
    wanted.set('slate', 'wrote');
    const limit = Date.now() + 30_000;
    let left = before;
    const oldest = (directory: string) => before.find((p) => p.startsWith(`${directory}/`))!;
    const goneManifests = () => before.filter((path) => !left.includes(path) && path.startsWith('manifest/')).length;
    // Tables stay for now: the checkpoint of the compaction holds them. A listing may come in the middle of a round.
    while (
      goneManifests() <= 5 ||
      !left.includes('gc/manifest.boundary') ||
      left.includes(oldest('manifest')) ||
      left.includes(oldest('wal'))
    ) {
      if (Date.now() > limit) throw new Error(`nothing was collected: ${left.join(' ')}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
      left = await storedPaths(place.ours);
    }
    // Taken over while its collector is at work.
    const db = await open(place.ours, options);
    await slate.crash();
    expect(goneManifests()).toBeGreaterThan(5);
    const rows = (await gathered(db.scan())).map(({ key, value }) => [text(key), text(value)]);
    expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(wanted));
    await db.put('ours', 'again');
    await db.flush({ type: 'memtable' });
    await db.close();
    await slate.open(place.slate);
    expect((await slate.scan()).length).toBe(wanted.size + 1);
    await slate.close();
  });

  it('goes all the way up, from 0.12.1 over us to it and back to us', async () => {
    const rows = new HandoverRows(12_17);
    const expectRows = async (db: Pick<LiveSlateDb | Db, 'getMany'>, read: readonly ReadRow[]) => {
      rows.expectScan(read);
      const keys = rows.sample();
      rows.expectSample(keys, await db.getMany(keys));
    };
    const older = start(slateDb012);
    await older.open(place.slate);
    for (const batch of rows.nextTurn()) await older.write(batch, { awaitDurable: false });
    await older.flush('memtable');
    await older.close();

    const newer = start(makeNewer);
    for (let turn = 0; turn < 2; turn++) {
      const db = await open(place.ours, { logger: QUIET });
      await expectRows(db, await gathered(db.scan()));
      for (const batch of rows.nextTurn()) await db.write(toBatch(batch), { awaitDurable: false });
      if (turn === 0) await db.flush({ type: 'memtable' });
      await db.close();

      await newer.open(place.slate);
      await expectRows(newer, await newer.scan());
      for (const batch of rows.nextTurn()) await newer.write(batch, { awaitDurable: false });
      if (turn === 1) await newer.flush('memtable');
      await newer.close();
    }
    const reader = await openReader(place.ours, { logger: QUIET });
    await expectRows(reader, await gathered(reader.scan()));
    await reader.close();
  });

  it('is cured of filters that 0.12.1 mislabelled', async () => {
    const newer = start(makeNewer);
    const older = start(slateDb012);
    const keys = Array.from({ length: 1500 }, (_, i) => keyOf(0, i));
    await newer.open(place.slate);
    await newer.write(keys.map((key) => ({ put: key, value: `value of ${key}` })));
    await newer.close();
    await older.open(place.slate);
    await older.put('from', '0.12.1');
    await older.close();

    const missing = async () => {
      await newer.open(place.slate);
      const values = await newer.getMany(keys);
      await newer.crash();
      return values.filter((v) => v === undefined).length;
    };
    expect(await missing()).toBeGreaterThan(100);

    const db = await open(place.ours, { logger: QUIET });
    const ours = await db.getMany(keys);
    expect(ours.map((v) => v && text(v))).toEqual(keys.map((key) => `value of ${key}`));
    expect(text((await db.get('from'))!)).toBe('0.12.1');
    await db.close();
    expect(await missing()).toBe(0);
  });
}

describeWithSlateDb017('a database shared with SlateDB 0.17.0', () => sharedSuite(slateDb017));
describeWithSlateDb018('a database shared with SlateDB 0.18.0', () => sharedSuite(slateDb018));
