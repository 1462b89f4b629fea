/** Descriptors end with the handle: whatever a `file:` URL opened is closed when its handle is, or when it never came about. */
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as admin from '../../src/admin.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { open, openReader } from '../../src/index.ts';

const directory = mkdtempSync(join(tmpdir(), 'shaledb-open-files-'));
const url = String(pathToFileURL(directory));
const QUIET = { logger: SILENT_LOGGER };
const TABLES = 5;

/** Paths below the database that this process has open. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(directory) ? [path] : [];
    } catch {
      return [];
    }
  });
}

async function readAll(items: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of items);
}

beforeAll(async () => {
  const db = await open(url, QUIET);
  for (let t = 0; t < TABLES; t++) {
    await db.put(`key ${t}`, 'value'.repeat(100));
    await db.flush({ type: 'memtable' });
  }
  await db.close();
});
afterAll(() => rmSync(directory, { recursive: true }));

describe.runIf(process.platform === 'linux')('no file stays open', () => {
  it('after a database that read was closed', async () => {
    const db = await open(url, QUIET);
    for (let t = 0; t < TABLES; t++) expect(await db.has(`key ${t}`)).toBe(true);
    expect(openFiles().length, 'files are kept open between reads').toBeGreaterThan(0);
    await db.close();
    expect(openFiles()).toEqual([]);
  });

  it('after a reader was closed, also where a read was under way', async () => {
    const reader = await openReader(url, QUIET);
    for (let t = 1; t < TABLES; t++) await reader.get(`key ${t}`);
    const last = reader.get('key 0').catch(() => undefined);
    await reader.close();
    await last;
    expect(openFiles()).toEqual([]);
  });

  it('after an opening that failed', async () => {
    const compacted = join(directory, 'compacted');
    const table = join(compacted, readdirSync(compacted)[0]);
    await expect(open(url, { ...QUIET, errorIfExists: true })).rejects.toThrow();
    await expect(openReader(`${url}/wal`, QUIET)).rejects.toThrow();
    mkdirSync(join(directory, 'other/manifest'), { recursive: true });
    writeFileSync(join(directory, 'other/manifest/00000000000000000001.manifest'), table);
    await expect(open(`${url}/other`, QUIET)).rejects.toThrow();
    await expect(openReader(`${url}/other`, QUIET)).rejects.toThrow();
    rmSync(join(directory, 'other'), { recursive: true });
    expect(openFiles()).toEqual([]);
  });

  it('after any tool', async () => {
    const id = readdirSync(join(directory, 'compacted'))[0].replace('.sst', '');
    const runs: Record<string, () => Promise<unknown>> = {
      verify: () => admin.verify(url, QUIET),
      sstCheck: () => admin.sstCheck(url, { ...QUIET, level: 'cross' }).summary(),
      sstInspect: () => admin.sstInspect(url, id, QUIET),
      sstRepair: () => admin.sstRepair(url, id, QUIET),
      manifestInspect: () => admin.manifestInspect(url, undefined, QUIET),
      manifestRepair: () => admin.manifestRepair(url, QUIET),
      walInspect: () => readAll(admin.walInspect(url, { ...QUIET, rows: 'full' })),
      walRepair: () => admin.walRepair(url, QUIET),
      damageList: () => admin.damageList(url, QUIET),
      damageAcknowledge: () => admin.damageAcknowledge(url, 'f-0000000000000000', 'none', QUIET),
      quarantineList: () => admin.quarantineList(url, QUIET),
      quarantineRestore: () => admin.quarantineRestore(url, 'r-000000000000000000000000', QUIET),
      probe: () => admin.probe(url, QUIET),
      treeInspect: () => admin.treeInspect(url, QUIET),
      manifestList: () => admin.manifestList(url, QUIET),
      manifestDiff: () => admin.manifestDiff(url, 1, 2, QUIET),
      stats: () => admin.stats(url, QUIET),
      objectList: () => admin.objectList(url, QUIET),
      writerInspect: () => admin.writerInspect(url, QUIET),
      repair: () => admin.repair(url, QUIET),
      compact: () => admin.compact(url, { ...QUIET, apply: true, liveCheckMs: 0 }),
      gcOnce: () => admin.gcOnce(url, { ...QUIET, apply: true, minAgeMs: 0, allowUnsafeMinAge: true }),
    };
    const tools = Object.entries(admin).flatMap(([name, value]) =>
      typeof value === 'function' && /^[a-zA-Z]+$/.test(name) && name !== 'verdictOf' ? [name] : [],
    );
    expect(Object.keys(runs).sort(), 'every tool is tried').toEqual(tools.sort());
    for (const [name, run] of Object.entries(runs)) {
      await run().catch(() => undefined);
      expect(openFiles(), name).toEqual([]);
    }
  });
});
