/**
 * Honest inputs to begin with: objects that SlateDB wrote (the golden databases) and objects of ours, from databases that are
 * made here in memory, with a clock and randomness of their own, so that every run has the same bytes.
 */
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import { nextInt, type Random, SeededRandom } from '../../src/common/random.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { CODECS } from '../../src/format/table-info.ts';
import { open } from '../../src/open.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { goldenFixtures } from '../support/golden-fixtures.ts';
import { oneIn } from './mutate.ts';

export interface SeedObjects {
  manifests: Uint8Array[];
  compactions: Uint8Array[];
  wal: Uint8Array[];
  tables: Uint8Array[];
  identities: Uint8Array[];
  boundaries: Uint8Array[];
  /** Paths below the roots of databases. */
  paths: string[];
}

/** Larger ones would only make a run slow. */
const MAX_SEED_BYTES = 80 * 1024;
const SMALL_BYTES = 3000;

/** A seed; one of the few large ones only now and then. */
export function pickSeed<T>(random: Random, seeds: readonly T[], sizeOf: (seed: T) => number): T {
  const seed = seeds[nextInt(random, seeds.length)];
  if (sizeOf(seed) <= SMALL_BYTES || oneIn(random, 30)) return seed;
  return seeds[nextInt(random, Math.max(1, Math.ceil(seeds.length / 2)))];
}

let collected: Promise<SeedObjects> | undefined;

export function seedObjects(): Promise<SeedObjects> {
  collected ??= collect();
  return collected;
}

async function collect(): Promise<SeedObjects> {
  const objects = goldenFixtures().flatMap((fixture) => fixture.objects);
  for (const made of [...CODECS.map((codec) => ({ compressionCodec: codec })), ...OTHER_FORMS]) {
    objects.push(...(await ownObjects(made)));
  }
  const matching = (pattern: RegExp) => distinct(objects.filter((o) => pattern.test(o.path)).map((o) => o.bytes));
  return {
    manifests: matching(/\.manifest$/),
    compactions: matching(/\.compactions$/),
    wal: matching(/(^|\/)wal\/.*\.sst$/),
    tables: matching(/(^|\/)compacted\/.*\.sst$/),
    identities: matching(/(^|\/)shale\/identity$/),
    boundaries: matching(/\.boundary$/),
    paths: [...new Set(objects.map((o) => o.path.replace(/^(db|parent)\//, '')))],
  };
}

const OTHER_FORMS: readonly OpenOptions[] = [
  { compatibility: 'slatedb-0.17' },
  { compatibility: 'slatedb-0.12', minFilterKeys: 1 },
  { minFilterKeys: 1, sstBlockSizeBytes: 1024 },
];

/** Everything in the store of a database that went through puts, deletes, merges, TTL, batches, flushes and a reopening. */
async function ownObjects(options: OpenOptions): Promise<{ path: string; bytes: Uint8Array }[]> {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const random = new SeededRandom(1);
  const run = <T>(promise: Promise<T>) => clock.runUntilSettled(promise);
  const environment: OpenOptions = {
    clock,
    random,
    logger: SILENT_LOGGER,
    owner: 'seeds:1',
    mergeOperator: { merge: (_key, _existing, operand) => operand.slice() },
    ...options,
  };
  for (let life = 0; life < 2; life++) {
    const db = await run(open({ store, path: 'db' }, environment));
    for (let i = 0; i < 60; i++) {
      const key = `key/${String(i % 50).padStart(3, '0')}/${'x'.repeat(i % 7)}`;
      if (i % 9 === 4) await run(db.delete(key));
      else if (i % 11 === 3) await run(db.merge(key, `operand ${i}`));
      else if (i % 7 === 2) await run(db.put(key, `value ${i}`, { ttlMs: 3_600_000 }));
      else if (i % 5 === 1) await run(db.write(new WriteBatch().put(key, 'a'.repeat(i)).put(`${key}+`, `value ${i}`)));
      else await run(db.put(key, `value ${i}`.repeat(i % 4)));
      if (i % 25 === 24) await run(db.flush({ type: 'memtable' }));
    }
    await run(db.close());
  }
  const objects: { path: string; bytes: Uint8Array }[] = [];
  for await (const { path } of store.list('')) objects.push({ path, bytes: (await store.get(path))!.bytes });
  return objects;
}

/** Each content once, small ones first. */
function distinct(all: readonly Uint8Array[]): Uint8Array[] {
  const byContent = new Map(all.map((bytes) => [Buffer.from(bytes).toString('base64'), bytes]));
  return [...byContent.values()].filter((b) => b.length <= MAX_SEED_BYTES).sort((a, b) => a.length - b.length);
}
