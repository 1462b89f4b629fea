/**
 * Random logs with random damage, repaired: what is there afterwards is exactly what the batches give that the report does not
 * count as lost, applied in their order. So no batch is half there, none is invented, and no key that a kept batch deleted or
 * overwrote comes back with an older value that a kept batch had replaced.
 */
import { describe, expect, it } from 'vitest';
import { nextInt, type Random, SeededRandom } from '../../src/common/random.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { parseWalPath, walPath } from '../../src/format/object-names.ts';
import { CODECS } from '../../src/format/table-info.ts';
import { type WalRepairOptions, walRepair } from '../../src/tools/wal-repair.ts';
import { rowsOf, World } from '../support/database.ts';
import { digests, expectUnchanged, toolOptions } from '../support/tool-laws.ts';

const RUNS = Number(process.env['SHALEDB_WAL_REPAIR_RUNS'] ?? 60);

type Change = [key: string, value: string | undefined];

interface Log {
  world: World;
  /** By sequence number - 1. */
  batches: Change[][];
}

async function randomLog(random: Random, seed: number): Promise<Log> {
  const world = new World(seed);
  const compressionCodec = CODECS[nextInt(random, CODECS.length)];
  const { db, line } = await world.connect({ compressionCodec, sstBlockSizeBytes: 1024 });
  const batches: Change[][] = [];
  const count = 20 + nextInt(random, 60);
  for (let i = 0; i < count; i++) {
    const changes = new Map<string, string | undefined>();
    const batch = new WriteBatch();
    for (let n = 1 + nextInt(random, 6); n > 0; n--) {
      const key = `key-${nextInt(random, 30)}`;
      const value = nextInt(random, 4) === 0 ? undefined : `${i} `.repeat(1 + nextInt(random, 40));
      changes.set(key, value);
    }
    for (const [key, value] of changes) {
      if (value === undefined) batch.delete(key);
      else batch.put(key, value);
    }
    batches.push([...changes]);
    await world.run(db.write(batch, { awaitDurable: false }));
    if (nextInt(random, 8) === 0) await world.run(db.flush());
    if (nextInt(random, 40) === 0) await world.run(db.flush({ type: 'memtable' }));
  }
  await world.run(db.flush());
  line.cut();
  return { world, batches };
}

async function damage(world: World, random: Random, touched: Set<number>): Promise<string> {
  const ids = (await world.paths('wal/')).map((p) => parseWalPath(p) as number);
  const id = ids[nextInt(random, ids.length)];
  touched.add(id);
  const bytes = (await world.bytes(walPath(id))).slice();
  const kind = nextInt(random, 5);
  if (kind <= 1) {
    const length = 1 + nextInt(random, kind === 0 ? 4 : 80);
    const at = nextInt(random, bytes.length);
    for (let i = at; i < Math.min(bytes.length, at + length); i++) bytes[i] ^= 1 + nextInt(random, 255);
    await world.replace(walPath(id), bytes);
    return `${length} bytes of ${id} at ${at}`;
  }
  if (kind === 2) {
    const length = nextInt(random, bytes.length);
    await world.replace(walPath(id), bytes.slice(0, length));
    return `${id} cut to ${length}`;
  }
  if (kind === 3) {
    await world.remove(walPath(id));
    return `${id} gone`;
  }
  const other = ids[nextInt(random, ids.length)];
  touched.add(other);
  const others = await world.bytes(walPath(other));
  await world.replace(walPath(id), others);
  if (nextInt(random, 2) === 0) return `${other} copied over ${id}`;
  await world.replace(walPath(other), bytes);
  return `${id} and ${other} exchanged`;
}

function expected(batches: readonly Change[][], isLost: (seq: bigint) => boolean): string[] {
  const rows = new Map<string, string>();
  for (const [i, batch] of batches.entries()) {
    if (isLost(BigInt(i + 1))) continue;
    for (const [key, value] of batch) {
      if (value === undefined) rows.delete(key);
      else rows.set(key, value);
    }
  }
  return [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => `${key}=${value}`);
}

describe('a damaged log, repaired', () => {
  it.each(Array.from({ length: RUNS }, (_, i) => i + 1))(
    'holds what the report says it kept (seed %i)',
    async (seed) => {
      const random = new SeededRandom(seed);
      const { world, batches } = await randomLog(random, seed);
      const lastId = Math.max(...(await world.paths('wal/')).map((p) => parseWalPath(p) as number));
      const done: string[] = [];
      const touched = new Set<number>();
      for (let n = 1 + nextInt(random, 3); n > 0; n--) done.push(await damage(world, random, touched));
      const options: WalRepairOptions = nextInt(random, 4) === 0 ? { mode: 'truncate' } : {};
      const before = await digests(world);
      const tool = { ...toolOptions(world), liveCheckMs: 0, ...options, apply: true, acceptLoss: true };
      const report = await world.run(walRepair({ store: world.line(), path: '' }, tool));
      await expectUnchanged(world, before);
      const isLost = (seq: bigint) => report.lostSeqs.some(({ min, max }) => seq >= min && seq <= max);
      const db = await world.open();
      const rows = await rowsOf(world, db);
      const kept = (to: number) => expected(batches, (seq) => seq > BigInt(to) || isLost(seq));
      // Nothing says how many rows the last object had once it is gone or cut; all others are accounted for.
      let to = batches.length;
      if (touched.has(lastId)) while (to > 0 && String(kept(to)) !== String(rows)) to--;
      expect({ done, rows }).toEqual({ done, rows: kept(to) });
      if (report.rows.lostExact && to === batches.length) {
        const lost = batches.filter((_, i) => isLost(BigInt(i + 1)));
        expect(report.rows.lost).toBe(lost.reduce((n, b) => n + b.length, 0));
      }
      const { seq } = await world.run(db.put('afterwards', 'x'));
      expect(seq).toBeGreaterThan(BigInt(to));
    },
  );
});
