/** What reads do around damage, row by row of the rules: who is answered, who is flagged, who is refused. */
import { describe, expect, it } from 'vitest';
import type { CorruptionError } from '../../src/common/errors.ts';
import type { MetCorruption } from '../../src/db/corruption-watch.ts';
import type { Db } from '../../src/db/db.ts';
import type { Reader } from '../../src/db/reader.ts';
import type { ReaderOptions } from '../../src/db/reader-options.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { decodeManifest, encodeManifest } from '../../src/format/manifest-codec.ts';
import { manifestPath } from '../../src/format/object-names.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import {
  contentOf,
  flip,
  keyOf,
  type Layout,
  numbers,
  range,
  ruin,
  tablesOf,
  unseal,
} from '../support/damaged-tables.ts';
import { rejection, text, World } from '../support/database.ts';

const mergeOperator = {
  merge: (_: Uint8Array, a: Uint8Array | undefined, b: Uint8Array) => Buffer.concat([a ?? Buffer.alloc(0), b]),
};
const OPTIONS: OpenOptions = { sstBlockSizeBytes: 1024, minFilterKeys: 1, mergeOperator };
const READING: ReaderOptions = { mergeOperator };

type Write = (db: Db) => Promise<unknown>;
const put = (key: string, value: string) => (db: Db) => db.put(key, value);
const del = (key: string) => (db: Db) => db.delete(key);
const merge = (key: string, operand: string) => (db: Db) => db.merge(key, operand);

/** One table for each list of writes, oldest first; gives them newest first. */
async function layers(...lists: Write[][]): Promise<{ world: World; tables: Layout[] }> {
  const world = new World();
  const { db, line } = await world.connect(OPTIONS);
  for (const list of lists) {
    for (const write of list) await world.run(write(db));
    await world.run(db.flush({ type: 'memtable' }));
  }
  line.cut();
  return { world, tables: await tablesOf(world) };
}

/** Ruins all blocks of a table. */
async function ruinAll(world: World, table: Layout): Promise<void> {
  for (const block of table.blocks) await ruin(world, table.path, block);
}

type Answer = string | undefined | { error: CorruptionError };

/** What each way of reading one key says under a policy. */
async function ask(
  world: World,
  db: Pick<Reader, 'get' | 'has' | 'getMany' | 'getWithMeta'>,
  key: string,
  corruptionPolicy: 'available' | 'strict',
) {
  const o = { corruptionPolicy };
  const settle = <T>(p: Promise<T>): Promise<T | { error: CorruptionError }> =>
    world.run(p.catch((error: CorruptionError) => ({ error })));
  const got = await settle(db.get(key, o));
  const has = await settle(db.has(key, o));
  const meta = await settle(db.getWithMeta(key, o));
  const many = await settle(db.getMany([key, 'elsewhere'], o));
  const asText = (v: unknown): Answer => (v instanceof Uint8Array ? text(v) : (v as Answer));
  const get = asText(got);
  // All ways of asking agree.
  if (get !== undefined && typeof get === 'object') {
    expect(has).toMatchObject({ error: { name: 'CorruptionError' } });
    expect(meta).toMatchObject({ error: { name: 'CorruptionError' } });
    expect(many).toMatchObject({ error: { results: [{ name: 'CorruptionError' }, undefined] } });
  } else {
    expect(has).toBe(get !== undefined);
    expect(asText((meta as { value: Uint8Array } | undefined)?.value)).toBe(get);
    expect((many as (Uint8Array | undefined)[]).map(asText)).toEqual([get, undefined]);
  }
  const flagged = meta !== undefined && 'value' in meta ? meta.possiblyStale : undefined;
  return { get, flagged, error: typeof get === 'object' ? get.error : undefined };
}

async function askBoth(world: World, key: string, db?: Reader) {
  const reader = db ?? (await world.openReader(READING));
  return [await ask(world, reader, key, 'available'), await ask(world, reader, key, 'strict')] as const;
}

describe('a get', () => {
  it('without damage on its way answers under both policies', async () => {
    const { world } = await layers([put('key', 'value'), put('gone', 'value')], [del('gone')]);
    for (const answer of await askBoth(world, 'key')) expect(answer).toMatchObject({ get: 'value', flagged: false });
    for (const answer of await askBoth(world, 'gone')) expect(answer.get).toBeUndefined();
  });

  it('that finds a value below damage gives it flagged, or under strict as what the error carries', async () => {
    const { world, tables } = await layers([put('key', 'old')], [put('key', 'new')]);
    await ruinAll(world, tables[0]);
    const [available, strict] = await askBoth(world, 'key');
    expect(available).toMatchObject({ get: 'old', flagged: true });
    expect(strict.error).toMatchObject({ code: 'BAD_CHECKSUM', possiblyStale: { seq: 1n } });
    expect(text(strict.error?.possiblyStale?.value)).toBe('old');
    expect(strict.error?.findings[0].affects.seqs).toEqual({ min: 2n, max: 2n });
  });

  it('that finds a value above damage does not look at it', async () => {
    const { world, tables } = await layers([put('key', 'old')], [put('key', 'new')]);
    await ruinAll(world, tables[1]);
    for (const answer of await askBoth(world, 'key')) expect(answer).toMatchObject({ get: 'new', flagged: false });
  });

  it('that finds nothing below damage is an error', async () => {
    const { world, tables } = await layers(
      [put('a', '1'), put('z', '1')],
      [put('a', '2'), put('key', 'x'), put('z', '2')],
    );
    await ruinAll(world, tables[0]);
    for (const { error } of await askBoth(world, 'key')) {
      expect(error).toMatchObject({ code: 'BAD_CHECKSUM' });
      expect(error?.possiblyStale).toBeUndefined();
    }
  });

  it('that finds a tombstone below damage is an error that names its seq', async () => {
    const { world, tables } = await layers([put('key', 'first')], [del('key')], [put('key', 'again')]);
    await ruinAll(world, tables[0]);
    for (const { error } of await askBoth(world, 'key')) expect(error?.possiblyStale).toEqual({ seq: 2n });
  });

  it('that finds an expired value below damage is an error', async () => {
    const { world, tables } = await layers([(db) => db.put('key', 'short', { ttlMs: 1000 })], [put('key', 'again')]);
    await ruinAll(world, tables[0]);
    world.clock.jumpWallMs(2000);
    for (const { error } of await askBoth(world, 'key')) expect(error?.possiblyStale).toEqual({ seq: 1n });
  });

  it('that meets merge operands around damage is an error, whatever is on either side', async () => {
    const { world, tables } = await layers(
      [put('key', 'base'), put('alone', 'base')],
      [merge('key', '+a'), put('alone', 'x')],
      [merge('key', '+b'), merge('alone', '+c')],
    );
    for (const bad of [0, 1, 2]) {
      const copy = await world.copy();
      await ruinAll(copy, tables[bad]);
      for (const { error } of await askBoth(copy, 'key')) {
        expect(error).toMatchObject({ code: 'BAD_CHECKSUM' });
        expect(error?.possiblyStale).toBeUndefined();
      }
    }
    // Here the base is above the damage, and nothing is needed from below.
    const copy = await world.copy();
    await ruinAll(copy, tables[2]);
    for (const answer of await askBoth(copy, 'alone')) expect(answer).toMatchObject({ get: 'x+c', flagged: false });
  });

  it('at a snapshot is not concerned by damage to what came later', async () => {
    const world = new World();
    const db = await world.open(OPTIONS);
    await world.run(db.put('key', 'old'));
    await world.run(db.flush({ type: 'memtable' }));
    const snapshot = db.snapshot();
    await world.run(db.put('key', 'new'));
    await world.run(db.put('other', 'new'));
    await world.run(db.flush({ type: 'memtable' }));
    const [newer] = await tablesOf(world);
    await ruinAll(world, newer);
    expect(await world.run(snapshot.getWithMeta('key'))).toMatchObject({ possiblyStale: false, seq: 1n });
    expect(await world.run(snapshot.get('other', { corruptionPolicy: 'strict' }))).toBeUndefined();
    expect(await rejection(world.run(db.get('other')))).toMatchObject({ kind: 'corruption' });
    const rows = await world.run(snapshot.scan().nextBatch(10));
    expect(rows.map((r) => text(r.value))).toEqual(['old']);
  });

  it('of a key written again above damage is answered, and so is a deletion', async () => {
    const { world, tables } = await layers([put('key', 'old'), put('other', 'old')]);
    await ruinAll(world, tables[0]);
    const db = await world.open({ ...OPTIONS, corruptionPolicy: 'strict' });
    await world.run(db.put('key', 'new'));
    await world.run(db.delete('other'));
    expect(text(await world.run(db.get('key')))).toBe('new');
    expect(await world.run(db.get('other'))).toBeUndefined();
  });

  it('names the command that repairs the table, and what that can cost', async () => {
    const { world, tables } = await layers([put('key', 'value')]);
    await ruinAll(world, tables[0]);
    const [{ error }] = await askBoth(world, 'key');
    expect(error?.hint?.commands).toEqual([
      `shaledb sst inspect LOCATION ${tables[0].ref.id}`,
      `shaledb sst repair LOCATION ${tables[0].ref.id}`,
    ]);
    expect(error?.hint?.lossIfRepaired).toBe('possible');
    expect(error?.findings[0]).toMatchObject({ remedy: 'none', origin: 'at-rest', affects: { rows: 1 } });
  });
});

describe('the policy', () => {
  it('of the database counts where the call names none', async () => {
    const { world, tables } = await layers([put('key', 'old')], [put('key', 'new')]);
    await ruinAll(world, tables[0]);
    for (const open of ['open', 'openReader'] as const) {
      const copy = await world.copy();
      const db = await copy[open]({ ...READING, corruptionPolicy: 'strict' });
      expect(await rejection(copy.run(db.get('key')))).toMatchObject({ kind: 'corruption' });
      expect(text(await copy.run(db.get('key', { corruptionPolicy: 'available' })))).toBe('old');
    }
  });

  it('must be one of the two, everywhere', async () => {
    const { world } = await layers([put('key', 'value')]);
    const bad = { corruptionPolicy: 'lenient' as 'strict' };
    const reader = await world.openReader();
    for (const call of [
      reader.get('key', bad),
      reader.has('key', bad),
      reader.getMany(['key'], bad),
      reader.scan(bad).next(),
    ]) {
      expect(await rejection(call)).toMatchObject({ code: 'BAD_OPTION' });
    }
    expect(await rejection(world.openReader(bad))).toMatchObject({ code: 'BAD_OPTION' });
  });
});

describe('damage that can be undone', () => {
  async function manyRows(): Promise<{ world: World; table: Layout }> {
    const { world, tables } = await layers([
      (db) => {
        const batch = new WriteBatch();
        for (let i = 0; i < 100; i += 2) batch.put(keyOf(i), contentOf(i, 'v'));
        return db.write(batch);
      },
    ]);
    return { world, table: tables[0] };
  }

  it('of up to four bytes of a sealed block concerns no read, and is reported', async () => {
    for (const width of [1, 2, 3, 4]) {
      const { world, table } = await manyRows();
      const { offset } = table.blocks[1];
      for (let i = 0; i < width; i++) await flip(world, table.path, offset + 100 + i);
      const met: MetCorruption[] = [];
      const reader = await world.openReader({
        ...READING,
        corruptionPolicy: 'strict',
        onCorruption: (m) => met.push(m),
      });
      for (const i of range(0, 100)) {
        expect(text(await world.run(reader.get(keyOf(i))))).toBe(i % 2 === 0 ? contentOf(i, 'v') : undefined);
      }
      expect(met).toEqual([]);
      expect(reader.corruptions()).toMatchObject({
        findings: [{ severity: 'warning', remedy: 'heals', at: { unit: 'block', index: 1, offset } }],
        counts: { possiblyStale: 0, errors: 0 },
      });
      expect(reader.corruptions().findings[0].hint.lossIfRepaired).toBe('none');
      // Reported once, and the healed block is kept.
      expect(world.log.filter((l) => l.level === 'warn')).toHaveLength(1);
    }
  });

  it('only in part leaves the rows whose checks hold, and proves absence between them', async () => {
    const { world, table } = await manyRows();
    const { offset, length } = table.blocks[1];
    await ruin(world, table.path, { offset: offset + Math.floor(length / 2), length: 8 });
    for (const reverse of [false, true]) {
      const reader = await world.openReader({ ...READING, corruptionPolicy: 'strict' });
      const inBlock = range(0, 100).filter(
        (i) => keyOf(i) >= table.blocks[1].firstKey && keyOf(i) < table.blocks[2].firstKey,
      );
      const refused: number[] = [];
      for (const i of inBlock) {
        try {
          expect(text(await world.run(reader.get(keyOf(i))))).toBe(i % 2 === 0 ? contentOf(i, 'v') : undefined);
        } catch (error) {
          expect(error).toMatchObject({ findings: [{ remedy: 'salvages' }] });
          refused.push(i);
        }
      }
      // Eight bytes are in one row or two; checks cover eight rows of this size at most.
      expect(refused.length).toBeGreaterThan(0);
      expect(refused.length).toBeLessThan(inBlock.length / 2);
      const scan = reader.scan({ reverse, onCorruption: 'skip' });
      const rows = await world.run(scan.nextBatch(1000));
      const missing = range(0, 50)
        .map((i) => 2 * i)
        .filter((i) => !numbers(rows).includes(i));
      expect(missing.length).toBeLessThanOrEqual(refused.length + 1);
      expect(scan.findings).toMatchObject([{ at: { unit: 'block', index: 1 }, remedy: 'salvages' }]);
    }
  });

  it('probably, by one bit, answers flagged where staleness is allowed', async () => {
    const { world, table } = await manyRows();
    await unseal(world, table);
    await flip(world, table.path, table.blocks[1].offset + 100);
    const reader = await world.openReader(READING);
    const [, inside] = range(0, 100).filter((i) => i % 2 === 0 && keyOf(i) > table.blocks[1].firstKey);
    const [available, strict] = await askBoth(world, keyOf(inside), reader);
    expect(available).toMatchObject({ get: contentOf(inside, 'v'), flagged: true });
    expect(strict.error).toMatchObject({ findings: [{ remedy: 'heals-probably' }] });
    expect(text(strict.error?.possiblyStale?.value)).toBeUndefined();
    const scan = reader.scan();
    await world.run(scan.nextBatch(1000));
    expect(await rejection(world.run(scan.nextBatch(1000)))).toMatchObject({ kind: 'corruption' });
    await world.run(scan.resume('include'));
    const rows = await world.run(scan.nextBatch(1000));
    const flagged = rows.filter((r) => r.possiblyStale);
    expect(flagged.length).toBeGreaterThan(3);
    for (const [i, row] of rows.entries()) expect(text(row.value)).toBe(contentOf(numbers(rows)[i], 'v'));
  });
});

describe('a scan', () => {
  /** Keys 0 to 99 from two tables, newer ones from 20 to 79 ruined; `merged` in both. */
  async function overlaid(): Promise<{ world: World; newer: Layout }> {
    const batchOf = (from: number, to: number, version: string, more: (b: WriteBatch) => void) => (db: Db) => {
      const batch = new WriteBatch();
      for (let i = from; i < to; i++) batch.put(keyOf(i), contentOf(i, version));
      more(batch);
      return db.write(batch);
    };
    const { world, tables } = await layers(
      [batchOf(0, 100, 'old', (b) => b.delete(keyOf(55))), put('key-0050-merged', 'base')],
      [merge('key-0050-merged', '+1')],
      [batchOf(20, 80, 'new', () => undefined)],
    );
    return { world, newer: tables[0] };
  }

  it.each([false, true])('goes into damage if asked to, flagging what it finds (reverse: %s)', async (reverse) => {
    const { world, newer } = await overlaid();
    await ruinAll(world, newer);
    const reader = await world.openReader(READING);
    const scan = reader.scan({ reverse });
    const seen: { key: string; flagged: boolean }[] = [];
    const errors: CorruptionError[] = [];
    for (;;) {
      try {
        const next = await world.run(scan.next());
        if (next.done) break;
        seen.push({ key: text(next.value.key)!, flagged: next.value.possiblyStale ?? false });
        const i = Number(text(next.value.key)!.slice(4));
        expect(text(next.value.value)).toBe(contentOf(i, 'old'));
      } catch (error) {
        errors.push(error as CorruptionError);
        // The operands around the hole are an error of their own, which cannot be gone into.
        if (text((error as CorruptionError).resumeAfter) === 'key-0050-merged') {
          expect(await rejection(world.run(scan.resume('include')))).toMatchObject({ code: 'BAD_ARGUMENT' });
        } else await world.run(scan.resume('include'));
      }
    }
    const keys = range(0, 100)
      .filter((i) => i !== 55)
      .map(keyOf);
    expect(seen.map((s) => s.key)).toEqual(reverse ? keys.reverse() : keys);
    expect(seen.filter((s) => s.flagged).map((s) => s.key)).toEqual(
      seen.map((s) => s.key).filter((k) => k >= keyOf(20) && k <= keyOf(79)),
    );
    expect(errors).toHaveLength(newer.blocks.length + 1);
    expect(reader.corruptions().counts).toMatchObject({ possiblyStale: 59, errors: newer.blocks.length + 1 });
  });

  it('does not flag what is newer than all that is missing', async () => {
    const { world, newer } = await overlaid();
    await ruinAll(world, newer);
    const db = await world.open(OPTIONS);
    await world.run(db.put(keyOf(30), 'newest'));
    const scan = db.scan({ gte: keyOf(30), lt: keyOf(32) });
    await rejection(world.run(scan.next()));
    await world.run(scan.resume('include'));
    const rows = await world.run(scan.nextBatch(10));
    expect(rows.map((r) => [text(r.value), r.possiblyStale])).toEqual([
      ['newest', undefined],
      [contentOf(31, 'old'), true],
    ]);
  });

  it.each([false, true])(
    'that skips damage gives all other rows and collects what it met (reverse: %s)',
    async (reverse) => {
      for (const batch of [1, 7, 1000]) {
        const { world, newer } = await overlaid();
        await ruin(world, newer.path, newer.blocks[1]);
        await ruin(world, newer.path, newer.blocks[3]);
        const scan = (await world.openReader(READING)).scan({ reverse, onCorruption: 'skip' });
        const rows = [];
        for (;;) {
          const more = await world.run(scan.nextBatch(batch));
          rows.push(...more);
          if (more.length < batch) break;
        }
        expect(scan.findings.map((f) => f.at.index)).toEqual(reverse ? [3, 1] : [1, 3]);
        const ofMany = numbers(rows).filter((i) => !Number.isNaN(i));
        const { blocks } = newer;
        const isLost = (i: number) =>
          (keyOf(i) >= blocks[1].firstKey && keyOf(i) <= blocks[2].firstKey) ||
          (keyOf(i) >= blocks[3].firstKey && keyOf(i) <= (blocks[4]?.firstKey ?? keyOf(79)));
        const whole = range(0, 100).filter((i) => !isLost(i));
        expect(ofMany).toEqual(reverse ? whole.reverse() : whole);
      }
    },
  );

  it('can also be stepped through and looped over while it skips', async () => {
    const { world, newer } = await overlaid();
    await ruinAll(world, newer);
    const scan = (await world.openReader(READING)).scan({ onCorruption: 'skip', limit: 25 });
    const seen: number[] = [];
    for (;;) {
      const next = await world.run(scan.next());
      if (next.done) break;
      seen.push(...numbers([next.value]));
    }
    expect(seen).toEqual([...range(0, 20), ...range(80, 85)]);
    expect(scan.findings).toHaveLength(newer.blocks.length);
  });

  it('goes into damage only right after it was met, and never under strict', async () => {
    const { world, newer } = await overlaid();
    await ruinAll(world, newer);
    const reader = await world.openReader(READING);
    const scan = reader.scan();
    expect(await rejection(world.run(scan.resume('include')))).toMatchObject({ code: 'BAD_ARGUMENT' });
    await world.run(scan.nextBatch(20));
    expect(await rejection(world.run(scan.resume('include')))).toMatchObject({ code: 'BAD_ARGUMENT' });
    await rejection(world.run(scan.nextBatch(1)));
    expect(await rejection(world.run(scan.resume('skip' as 'include')))).toMatchObject({ code: 'BAD_ARGUMENT' });
    await world.run(scan.resume('include'));
    expect(await rejection(world.run(scan.resume('include')))).toMatchObject({ code: 'BAD_ARGUMENT' });
    const strict = reader.scan({ corruptionPolicy: 'strict', gte: keyOf(20) });
    await rejection(world.run(strict.next()));
    expect(await rejection(world.run(strict.resume('include')))).toMatchObject({ code: 'BAD_ARGUMENT' });
    expect(await rejection(world.run(reader.scan({ onCorruption: 'include' as 'skip' }).next()))).toMatchObject({
      code: 'BAD_OPTION',
    });
  });
});

describe('a table that was collected', () => {
  /** What a compaction leaves, whose result the older table stands for: the newest table is in no manifest, and deleted. */
  async function collectNewest(world: World): Promise<void> {
    const [newest] = await tablesOf(world);
    const path = (await world.paths('manifest/')).pop()!;
    const { manifest } = decodeManifest(await world.bytes(path));
    const runs = [{ id: 1, views: manifest.l0.slice(1) }];
    const next = { ...manifest, l0: [], runs, lastCompacted: newest.ref.id };
    await world.replace(manifestPath(Number(path.slice(9, 29)) + 1), encodeManifest(next));
    await world.remove(newest.path);
  }

  it('is looked for in the newest manifest before any answer: the writer reads again, a reader has expired', async () => {
    const world = new World();
    const db = await world.open(OPTIONS);
    for (const value of ['old', 'new']) {
      await world.run(db.put('key', value));
      await world.run(db.flush({ type: 'memtable' }));
    }
    const reader = await world.openReader(READING);
    await collectNewest(world);
    // An older value is below, but the view it belongs to is gone.
    expect(await rejection(world.run(reader.get('key')))).toMatchObject({ code: 'VIEW_EXPIRED', retryable: true });
    expect(await rejection(world.run(reader.scan().next()))).toMatchObject({ code: 'VIEW_EXPIRED' });
    expect(await rejection(world.run(reader.scan({ onCorruption: 'skip' }).next()))).toMatchObject({
      code: 'VIEW_EXPIRED',
    });
    await world.run(reader.refresh());
    expect(await world.run(reader.getWithMeta('key'))).toMatchObject({ possiblyStale: false });
    expect(await world.run(db.getWithMeta('key'))).toMatchObject({ possiblyStale: false });
    expect(text(await world.run(db.get('key')))).toBe('old');
    expect(db.corruptions()).toEqual({ findings: [], lost: [], counts: { possiblyStale: 0, errors: 0, skipped: 0 } });
  });
});

describe('the onCorruption function', () => {
  async function stale(onCorruption: (met: MetCorruption) => unknown) {
    const { world, tables } = await layers(
      [put('key', 'old'), put('other', 'old')],
      [put('key', 'new'), put('zero', 'new')],
    );
    await ruinAll(world, tables[0]);
    return { world, reader: await world.openReader({ ...READING, onCorruption }) };
  }

  it('is called with every read that damage changed', async () => {
    const met: MetCorruption[] = [];
    const { world, reader } = await stale((m) => void met.push(m));
    for (let i = 0; i < 2; i++) expect(text(await world.run(reader.get('key')))).toBe('old');
    await rejection(world.run(reader.get('zero')));
    await world.run(reader.scan({ onCorruption: 'skip' }).nextBatch(10));
    await rejection(world.run(reader.scan().next()));
    expect(met.map((m) => [m.operation, text(m.key), m.outcome])).toEqual([
      ['get', 'key', 'possibly-stale'],
      ['get', 'key', 'possibly-stale'],
      ['get', 'zero', 'error'],
      ['scan', undefined, 'skipped'],
      ['scan', undefined, 'error'],
    ]);
    expect(reader.corruptions().counts).toEqual({ possiblyStale: 2, errors: 2, skipped: 1 });
    expect(reader.corruptions().findings).toHaveLength(1);
  });

  it('can make errors, never hide one', async () => {
    const { world, reader } = await stale(() => 'error');
    const error = (await rejection(world.run(reader.get('key')))) as CorruptionError;
    expect(text(error.possiblyStale?.value)).toBe('old');
    expect(await rejection(world.run(reader.scan({ onCorruption: 'skip' }).next()))).toMatchObject({
      kind: 'corruption',
    });
    const scan = reader.scan();
    await rejection(world.run(scan.next()));
    expect(await rejection(world.run(scan.resume('include')))).toMatchObject({ kind: 'corruption' });
    const { world: other, reader: lenient } = await stale(() => undefined);
    expect(await rejection(other.run(lenient.get('zero')))).toMatchObject({ kind: 'corruption' });
  });

  it('that throws ends no read', async () => {
    const { world, reader } = await stale(() => {
      throw new Error('of the user');
    });
    expect(text(await world.run(reader.get('key')))).toBe('old');
    expect(world.log.some((l) => l.message === 'the onCorruption function threw')).toBe(true);
  });
});
