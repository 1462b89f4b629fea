/** Compaction and large flushes on real threads, as they are built: what they leave, what ends the threads, and what that costs. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Db, OpenOptions, Reader, ReaderOptions } from '../../src/index.ts';
import { ensureBuilt, REPOSITORY_ROOT } from '../support/environment.ts';

const FILTERS = new URL('../support/thread-filters.mjs', import.meta.url);
const directory = mkdtempSync(join(tmpdir(), 'shaledb-threads-'));
let open: (location: string, options?: OpenOptions) => Promise<Db>;
let openReader: (location: string, options?: ReaderOptions) => Promise<Reader>;
let places = 0;

const newPlace = () => String(pathToFileURL(join(directory, String(places++))));
const text = (bytes: Uint8Array | undefined) => bytes && new TextDecoder().decode(bytes);

beforeAll(async () => {
  ensureBuilt();
  ({ open, openReader } = (await import(pathToFileURL(join(REPOSITORY_ROOT, 'dist', 'index.js')).href)) as {
    open: typeof open;
    openReader: typeof openReader;
  });
}, 200_000);
afterAll(() => rmSync(directory, { recursive: true }));

type Filter = 'onThreads' | 'exiting' | 'failingLater' | 'endless';

/** Three tables over the same keys. */
async function database(filter: Filter | undefined, options: OpenOptions = {}, location = newPlace()): Promise<Db> {
  const compactionFilter = filter && { module: FILTERS, export: filter };
  const compactor = { threads: 1, ...(compactionFilter && { compactionFilter }) };
  const db = await open(location, { gc: false, logger: SILENT, compactor, ...options });
  for (let table = 0; table < 3; table++) {
    for (let i = 0; i < 500; i++) await db.put(`key-${i}`, `value ${i} of ${table}`, { awaitDurable: false });
    await db.flush({ type: 'memtable' });
  }
  return db;
}

const nothing = () => undefined;
const SILENT = { debug: nothing, info: nothing, warn: nothing, error: nothing };

describe('a compaction on a real thread', () => {
  it.each(['none', 'zlib', 'lz4', 'zstd', 'snappy'] as const)('leaves what it should, with codec %s', async (codec) => {
    const db = await database(undefined, { compressionCodec: codec });
    const { jobs } = await db.compact();
    expect(jobs.map(({ rowsIn, rowsOut, tables }) => [rowsIn, rowsOut, tables])).toEqual([[1500, 500, 1]]);
    for (const i of [0, 7, 499]) expect(text(await db.get(`key-${i}`))).toBe(`value ${i} of 2`);
    await db.close();
  });

  it('is on a thread, with a filter that the thread has loaded', async () => {
    const db = await database('onThreads');
    const [job] = (await db.compact()).jobs;
    expect([job!.rowsIn, job!.rowsOut]).toEqual([1500, 0]);
    expect(await db.get('key-7')).toBeUndefined();
    await db.close();
  });

  it('is on a thread, with an operator that the thread has loaded, and reads have loaded it, too', async () => {
    const location = newPlace();
    const mergeOperator = { module: FILTERS, export: 'signing' };
    const db = await open(location, { gc: false, logger: SILENT, mergeOperator, compactor: { threads: 1 } });
    for (const operand of ['a', 'b', 'c']) {
      await db.merge('key', operand);
      await db.flush({ type: 'memtable' });
    }
    expect(text(await db.get('key'))).toBe('abcm');
    await db.compact();
    expect(text(await db.get('key'))).toMatch(/^abct/);
    await db.close();
    const reader = await openReader(location, { mergeOperator });
    expect(text(await reader.get('key'))).toMatch(/^abct/);
    await reader.close();
    const message = expect.stringMatching(/^(open|openReader): mergeOperator: .* merge\(\)/);
    const wrong = { mergeOperator: { module: FILTERS, export: 'onThreads' } };
    await expect(open(location, wrong)).rejects.toMatchObject({ code: 'BAD_OPTION', message });
    await expect(openReader(location, wrong)).rejects.toMatchObject({ code: 'BAD_OPTION', message });
  });

  it("is on no thread where that is said, or the clock is not the system's", async () => {
    const compactionFilter = { module: FILTERS, export: 'onThreads' };
    const clock = {
      nowMs: () => Date.now(),
      monotonicMs: () => performance.now(),
      setTimer(delayMs: number, fn: () => void) {
        const handle = setTimeout(fn, delayMs).unref();
        return { cancel: () => clearTimeout(handle), setRef: nothing };
      },
      yieldToLoop: () => new Promise<void>((resolve) => void setImmediate(resolve)),
    };
    for (const options of [{ compactor: { threads: 'off', compactionFilter } } as const, { clock }]) {
      const db = await database('onThreads', options);
      expect((await db.compact()).jobs.map(({ rowsOut }) => rowsOut)).toEqual([500]);
      await db.close();
    }
  });

  it.each([
    ['exiting', /exit code 7/],
    ['failingLater', /too late/],
  ] as const)('fails if a filter ends two threads by %s, and the database goes on', async (filter, cause) => {
    const db = await database(filter);
    await expect(db.compact()).rejects.toMatchObject({
      code: 'COMPACTION_FAILED',
      cause: { code: 'COMPACTION_FAILED', message: expect.stringMatching(cause) },
    });
    await db.put('more', 'rows');
    expect(text(await db.get('key-7'))).toBe('value 7 of 2');
    await db.close();
  });

  it('ends when it is aborted, whatever its thread is at', async () => {
    const db = await database('endless');
    const abort = new AbortController();
    const compaction = db.compact({ signal: abort.signal });
    setTimeout(() => abort.abort(), 200);
    await expect(compaction).rejects.toMatchObject({ code: 'ABORTED' });
    await db.close();
  });

  it('is refused with a filter that cannot be loaded, before anything is opened', async () => {
    const location = newPlace();
    for (const [filter, message] of [
      [{ module: new URL('file:///nowhere/filter.mjs') }, /^open: compactor\.compactionFilter: .*cannot be loaded/],
      [{ module: FILTERS, export: 'none' }, /has no export none; it has /],
    ] as const) {
      const opening = open(location, { compactor: { compactionFilter: filter } });
      await expect(opening).rejects.toMatchObject({ code: 'BAD_OPTION', message: expect.stringMatching(message) });
    }
    await expect(open(location, { createIfMissing: false } as OpenOptions)).rejects.toBeDefined();
  });
});

describe('a process', () => {
  const runFile = (file: string, ...words: string[]) => {
    const program = join(REPOSITORY_ROOT, 'test', 'support', file);
    return spawnSync(process.execPath, [program, ...words], { encoding: 'utf8', timeout: 60_000 });
  };
  const run = (how: string) => runFile('threads-child.mjs', how, newPlace());

  it('lives as long as it waits for a compaction on a thread, and no longer', () => {
    const { status, stdout, stderr } = run('compact');
    expect([status, stdout.trim(), stderr]).toEqual([0, '300 0', '']);
  });

  it('lives as long as it waits for a compaction that waits for its next attempt', () => {
    const { status, stdout } = run('wait');
    expect([status, stdout.trim()]).toEqual([0, 'fired 1 jobs 1']);
  });

  it('ends when it closes a database of which a thread never answers', () => {
    const { status, stdout } = run('close');
    expect([status, stdout.trim()]).toEqual([0, 'CLOSED']);
  });

  it('makes tables of large memtables on a thread, also without a compactor, which the next database has after the first', () => {
    const { status, stdout, stderr } = runFile('flush-child.mjs', newPlace());
    expect([status, stdout.trim(), stderr]).toEqual([0, `0,1,0 ${3 * 301}`, '']);
  });
});
