/**
 * Every single bit of every table of a small database is inverted, and every read is judged against the model: what is found is
 * right or flagged, what is not found is absent or an error, and nothing is ever silently wrong.
 *
 * All bits by `SHALEDB_BIT_STEP=1`; otherwise a sample that meets every section and every bit position.
 */
import { describe, expect, it } from 'vitest';
import { type DbError, isCorruption } from '../../src/common/errors.ts';
import type { Reader } from '../../src/db/reader.ts';
import type { ValueWithMeta } from '../../src/db/reads.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { keyOf, type Layout, range, tablesOf, unseal } from '../support/damaged-tables.ts';
import { text, World } from '../support/database.ts';

const STEP = Number(process.env['SHALEDB_BIT_STEP'] ?? 211);
const mergeOperator = {
  merge: (_: Uint8Array, a: Uint8Array | undefined, b: Uint8Array) => Buffer.concat([a ?? Buffer.alloc(0), b]),
};

type Model = Map<string, string>;

/** Two tables of two blocks each that hide, delete and merge each other's keys. */
async function overlapping(codec: OpenOptions['compressionCodec']): Promise<{ world: World; model: Model }> {
  const world = new World();
  const { db, line } = await world.connect({
    sstBlockSizeBytes: 1024,
    minFilterKeys: 1,
    mergeOperator,
    ...(codec !== undefined && { compressionCodec: codec }),
  });
  const model: Model = new Map();
  const put = async (i: number, version: string) => {
    const value = `${version} of ${i} ${'x'.repeat(codec === 'none' ? 60 : 90 + i)}`;
    await world.run(db.put(keyOf(i), value));
    model.set(keyOf(i), value);
  };
  for (const i of range(0, 12)) await put(i, 'first');
  await world.run(db.flush({ type: 'memtable' }));
  for (const i of range(4, 12)) if (i % 2 === 0) await put(i, 'second');
  await world.run(db.delete(keyOf(5)));
  model.delete(keyOf(5));
  await world.run(db.merge(keyOf(7), '+more'));
  model.set(keyOf(7), `${model.get(keyOf(7))}+more`);
  for (const i of range(12, 17)) await put(i, 'only');
  await world.run(db.flush({ type: 'memtable' }));
  line.cut();
  return { world, model };
}

interface Outcomes {
  right: number;
  flagged: number;
  errors: number;
  wrong: string[];
}

/** Corruption as a value; any other failure ends the test. */
async function settled<T>(promise: Promise<T>): Promise<T | DbError> {
  return promise.catch((error: DbError) => {
    if (!isCorruption(error)) throw error;
    return error;
  });
}

/** Asks for everything in every way. */
async function judge(reader: Reader, model: Model, where: string, out: Outcomes): Promise<void> {
  const keys = [...range(3, 14).map(keyOf), 'absent', 'key-0003-absent'];
  const note = (is: 'right' | 'flagged' | 'errors' | undefined, what: string) => {
    if (is === undefined) out.wrong.push(`${where}: ${what}`);
    else out[is]++;
  };
  const verdict = (key: string, got: ValueWithMeta | DbError | undefined) => {
    if (got instanceof Error) return 'errors';
    if (text(got?.value) !== model.get(key)) return got?.possiblyStale ? 'flagged' : undefined;
    return got?.possiblyStale ? 'flagged' : 'right';
  };
  const metas = await Promise.all(keys.map((key) => settled(reader.getWithMeta(key))));
  for (const [i, key] of keys.entries()) note(verdict(key, metas[i]), `getWithMeta ${key}`);
  const strict = await settled(reader.getMany(keys, { corruptionPolicy: 'strict' }));
  const values = Array.isArray(strict) ? strict : (strict as unknown as { results: (Uint8Array | DbError)[] }).results;
  for (const [i, key] of keys.entries()) {
    const value = values[i];
    if (value instanceof Error) note('errors', '');
    else note(text(value) === model.get(key) ? 'right' : undefined, `strict getMany ${key}`);
  }
  const one = keys[where.length % keys.length];
  const has = await settled(reader.has(one, { corruptionPolicy: 'strict' }));
  if (has instanceof Error) note('errors', '');
  else note(has === model.has(one) ? 'right' : undefined, `has ${one}`);
  for (const reverse of [false, true]) {
    const scan = reader.scan({ reverse, onCorruption: 'skip' });
    const rows = await scan.nextBatch(100);
    const isComplete = scan.findings.length > 0 || rows.length === model.size;
    const order = rows.map((r) => text(r.key)!);
    const isSorted = order.join() === [...order].sort((a, b) => (reverse ? (a < b ? 1 : -1) : a < b ? -1 : 1)).join();
    const areRight = rows.every((r) => text(r.value) === model.get(text(r.key)!));
    note(isComplete && isSorted && areRight ? 'right' : undefined, `scan, reverse ${reverse}`);
    if (scan.findings.length > 0) out.errors++;
    const into = await scanInto(reader, reverse);
    note(
      into.every((r) => r.possiblyStale || text(r.value) === model.get(text(r.key)!)) ? 'right' : undefined,
      'include',
    );
  }
}

/** A scan that goes into every damage it can. */
async function scanInto(reader: Reader, reverse: boolean) {
  const scan = reader.scan({ reverse });
  const rows = [];
  for (;;) {
    const batch = await settled(scan.nextBatch(100));
    if (Array.isArray(batch)) {
      if (batch.length === 0) return rows;
      rows.push(...batch);
    } else await scan.resume('include').catch((error: DbError) => expect(error.code).toBe('BAD_ARGUMENT'));
  }
}

/** Inverts the bits of one table, one at a time. */
async function sweep(world: World, table: Layout, model: Model): Promise<Outcomes> {
  const out: Outcomes = { right: 0, flagged: 0, errors: 0, wrong: [] };
  const { length } = await world.bytes(table.path);
  for (let bit = 0; bit < 8 * length; bit += STEP) {
    world.faults.clear();
    world.faults.add({ action: 'flip', op: 'get', path: table.path, bit });
    // With a cache of its own: each round sees its own damage.
    const reader = await world.openReader({ mergeOperator, logger: SILENT });
    await judge(reader, model, `bit ${bit}`, out);
    await reader.close();
  }
  return out;
}

const nothing = () => undefined;
const SILENT = { debug: nothing, info: nothing, warn: nothing, error: nothing };

describe('any one bit of a table', () => {
  it.each(['none', 'lz4'] as const)(
    'that is sealed changes no answer at all (%s)',
    { timeout: 900_000 },
    async (codec) => {
      const { world, model } = await overlapping(codec);
      for (const table of await tablesOf(world)) {
        const { right, flagged, errors, wrong } = await sweep(world, table, model);
        expect(wrong).toEqual([]);
        expect({ flagged, errors }).toEqual({ flagged: 0, errors: 0 });
        expect(right).toBeGreaterThan(0);
      }
    },
  );

  it.each(['none', 'lz4'] as const)(
    'that SlateDB wrote makes no answer silently wrong (%s)',
    { timeout: 900_000 },
    async (codec) => {
      const { world, model } = await overlapping(codec);
      const tables = await tablesOf(world);
      for (const table of tables) await unseal(world, table);
      for (const table of tables) {
        const { right, flagged, errors, wrong } = await sweep(world, table, model);
        expect(wrong).toEqual([]);
        expect(flagged).toBeGreaterThan(0);
        expect(errors).toBeGreaterThan(0);
        expect(right).toBeGreaterThan(flagged);
      }
    },
  );
});
