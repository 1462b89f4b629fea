/** A compaction of everything whose tables a store does not take at once: each failing write and completion of an upload, in memory and in a directory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { SeededRandom } from '../../src/common/random.ts';
import { LocalStore, MemoryStore, open } from '../../src/index.ts';
import { FaultyStore } from '../../src/store/faulty-store.ts';

const directory = mkdtempSync(join(tmpdir(), 'shaledb-failed-uploads-'));
afterAll(() => rmSync(directory, { recursive: true }));

const STORES = [
  { name: 'memory', make: () => new MemoryStore() },
  { name: 'a directory', make: () => new LocalStore(mkdtempSync(join(directory, 'store-'))) },
];
const ACTIONS = ['fail-before', 'status:503', 'status:500', 'throttle', 'apply-then-drop'] as const;

describe.each(STORES)('db.compact() in $name', ({ name, make }) => {
  it.each([
    ...ACTIONS.map((action) => ({ action, op: 'put' as const })),
    // A write knows only what keeps it from arriving.
    ...ACTIONS.slice(0, -1).map((action) => ({ action, op: 'write' as const })),
  ])('does not see that a $op of a table ends with $action', async ({ action, op }) => {
    const faults = new FaultyStore(make(), { random: new SeededRandom(1) });
    const compactor = { minCompactionSources: 20, maxCompactionSources: 30 };
    const db = await open(
      { store: faults, path: 'db' },
      { gc: false, compactor, l0MaxSsts: 30, memoryBytes: 16 << 20, logger: SILENT_LOGGER },
    );
    for (const round of ['a', 'b', 'c']) {
      for (const key of ['k1', 'k2', round]) await db.put(key, `${round} of ${key}`, { awaitDurable: false });
      await db.flush({ type: 'memtable' });
    }
    for (const nth of [1, 2]) faults.add({ action, op, path: /^db\/compacted\//, nth });
    const { jobs } = await db.compact();
    expect(jobs.length).toBe(1);
    expect(faults.fired()[action]).toBe(action === 'apply-then-drop' && name === 'memory' ? 1 : 2);
    const rows: string[] = [];
    for await (const { key, value } of db.scan()) rows.push(`${Buffer.from(key)}: ${Buffer.from(value)}`);
    expect(rows).toEqual(['a: a of a', 'b: b of b', 'c: c of c', 'k1: c of k1', 'k2: c of k2']);
    await db.close();
  });
});
