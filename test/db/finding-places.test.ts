/** Findings say where: the object by its path, the block by its number. */
import { describe, expect, it } from 'vitest';
import { CorruptionError } from '../../src/common/errors.ts';
import type { Finding } from '../../src/common/finding.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { decodeManifest } from '../../src/format/manifest-codec.ts';
import { decodeIdentity } from '../../src/format/sidecar.ts';
import { open, openReader } from '../../src/open.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';

const PUT_ID = '01ARZ3NDEKTSV4RRFFQ69G5FAV';

async function closedDatabase(): Promise<MemoryStore> {
  const store = new MemoryStore();
  const db = await open({ store, path: 'db' }, { logger: SILENT_LOGGER });
  const batch = new WriteBatch();
  for (let i = 0; i < 500; i++) batch.put(`key/${String(i).padStart(4, '0')}`, `value ${i}`);
  await db.write(batch);
  await db.close();
  return store;
}

async function change(store: MemoryStore, path: string, edit: (bytes: Uint8Array) => Uint8Array): Promise<void> {
  const got = await store.get(path);
  await store.put(path, edit(got!.bytes), { condition: 'any', putId: PUT_ID });
}

async function findingOf(promise: Promise<unknown>): Promise<Finding> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(CorruptionError);
  return (error as CorruptionError).findings[0];
}

describe('findings say where the damage is', () => {
  it('a block of a table by its number and offset', async () => {
    const store = await closedDatabase();
    const paths: string[] = [];
    for await (const { path } of store.list('db/compacted/')) paths.push(path);
    await change(store, paths[0], (bytes) => {
      // More than can be healed, and all rows of the middle.
      return bytes.fill(0, 4300, 7900);
    });
    const size = (await store.head(paths[0]))?.size;
    const reader = await openReader({ store, path: 'db' }, { logger: SILENT_LOGGER });
    const finding = await findingOf(reader.get('key/0200'));
    expect(finding.object).toMatchObject({ role: 'table', path: paths[0].slice('db/'.length), size });
    expect(finding.at).toMatchObject({ unit: 'block', index: 1 });
    expect(finding.at.offset).toBeLessThanOrEqual(5000);
    expect(finding.at.offset + finding.at.length).toBeGreaterThan(5000);
    await reader.close();
  });

  it('a damaged identity by its path, in the warning that it was written again from a seal', async () => {
    const store = await closedDatabase();
    const before = decodeIdentity((await store.get('db/shale/identity'))!.bytes).databaseId;
    await change(store, 'db/shale/identity', (bytes) => bytes.subarray(0, 20));
    const warnings: string[] = [];
    const logger = {
      ...SILENT_LOGGER,
      warn: (m: string, d?: object) => void warnings.push(`${m} ${JSON.stringify(d)}`),
    };
    const reader = await openReader({ store, path: 'db' }, { logger });
    await reader.close();
    const db = await open({ store, path: 'db' }, { logger });
    await db.close();
    expect(warnings.join()).toContain('shale/identity');
    expect(decodeIdentity((await store.get('db/shale/identity'))!.bytes).databaseId).toEqual(before);
  });

  it('a damaged identity where no seal says the id', async () => {
    const store = await closedDatabase();
    await change(store, 'db/shale/identity', (bytes) => bytes.subarray(0, 20));
    for await (const { path } of store.list('db/manifest/')) {
      await change(store, path, (bytes) => bytes.subarray(0, decodeManifest(bytes).bodyBytes));
    }
    const finding = await findingOf(open({ store, path: 'db' }, { logger: SILENT_LOGGER }));
    expect(finding.object).toMatchObject({ role: 'sidecar', path: 'shale/identity', size: 20 });
  });
});
