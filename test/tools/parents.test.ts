/** Clones, whose manifests name tables of a parent by its path from the root of the store: found, out of reach, and gone. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { EXIT, exitOfRepair } from '../../src/cli/exit-codes.ts';
import type { DbError } from '../../src/common/errors.ts';
import type { Finding } from '../../src/common/finding.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import { manifestPath } from '../../src/format/object-names.ts';
import { loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { open, openReader } from '../../src/open.ts';
import { LocalStore } from '../../src/store/local-store.ts';
import { resolveLocation } from '../../src/store/location.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import { sstCheck } from '../../src/tools/sst-check.ts';
import { sstInspect } from '../../src/tools/sst-inspect.ts';
import { sstRepair } from '../../src/tools/sst-repair.ts';
import { verify } from '../../src/tools/verify.ts';
import { CONCAT, copyGolden, fileHashes } from '../support/golden-database.ts';
import { goldenFixture } from '../support/golden-fixtures.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const clone = goldenFixture('slatedb-0.17.0/clone');

function cloneOnDisk() {
  const copy = copyGolden(clone);
  return {
    copy,
    directory: copy.directory,
    url: pathToFileURL(join(copy.directory, 'db')),
    root: pathToFileURL(copy.directory),
  };
}

async function findingsOf(check: AsyncIterable<Finding>): Promise<Finding[]> {
  const found: Finding[] = [];
  for await (const finding of check) found.push(finding);
  return found;
}

const rejection = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: DbError) => error,
  );

describe('a clone opened by a URL that does not say where the root of the store is', () => {
  it('is refused with the way to look, and nothing is changed', async () => {
    const { copy, directory, url } = cloneOnDisk();
    using _ = copy;
    const before = fileHashes(directory);
    for (const opening of [
      () => openReader(url, { logger: QUIET }),
      () => open(url, { logger: QUIET, mergeOperator: CONCAT }),
    ]) {
      const error = await rejection(opening());
      expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'PARENT_OUT_OF_REACH', retryable: false });
      expect(error?.message).toContain('--root');
      expect(error?.message).toContain('{ store, path }');
    }
    expect(fileHashes(directory)).toEqual(before);
  });

  it('gets the verdict cannot tell, with one finding for the parent and no other', async () => {
    const { copy, url } = cloneOnDisk();
    using _ = copy;
    const report = await verify(url, { logger: QUIET });
    expect(report.verdict).toBe('unknown');
    const reported = report.findings.filter((f) => f.severity !== 'note');
    expect(reported.map((f) => [f.severity, f.code, f.object.path])).toEqual([['unknown', 'OUT_OF_REACH', 'parent/']]);
    expect(reported[0].hint).toMatchObject({ summary: expect.stringContaining('--root'), commands: [] });
    expect((await sstCheck(url, { logger: QUIET }).summary()).verdict).toBe('unknown');
  });

  it('is clean, and read whole, when the root is stated', async () => {
    const { copy, directory, url, root } = cloneOnDisk();
    using _ = copy;
    expect(await verify(url, { logger: QUIET, root })).toMatchObject({ verdict: 'clean' });
    expect(await verify(String(url), { logger: QUIET, root: String(root) })).toMatchObject({ verdict: 'clean' });
    const reader = await openReader(
      { store: new LocalStore(directory), path: 'db' },
      { logger: QUIET, hideExpired: false },
    );
    let rows = 0;
    for await (const row of reader.scan()) rows += row.key.length > 0 ? 1 : 0;
    await reader.close();
    expect(rows).toBe(clone.expected.scan.length);
  });
});

describe('a clone whose parent is gone from a root that was stated', () => {
  it('is corrupt, with a finding of its own', async () => {
    const { copy, directory, url, root } = cloneOnDisk();
    using _ = copy;
    rmSync(join(directory, 'parent'), { recursive: true });
    for (const report of [
      await verify(url, { logger: QUIET, root }),
      await verify({ store: new LocalStore(directory), path: 'db' }, { logger: QUIET }),
    ]) {
      expect(report.verdict).toBe('corrupt');
      const errors = report.findings.filter((f) => f.severity === 'error');
      expect(errors.map((f) => [f.code, f.object.path])).toEqual([['PARENT_MISSING', 'parent/']]);
    }
  });

  it('is reported table by table while something of the parent is there', async () => {
    const { copy, directory, url, root } = cloneOnDisk();
    using _ = copy;
    rmSync(join(directory, 'parent', 'compacted'), { recursive: true });
    const report = await verify(url, { logger: QUIET, root });
    const errors = report.findings.filter((f) => f.severity === 'error');
    expect(new Set(errors.map((f) => f.code))).toEqual(new Set(['MISSING_OBJECT']));
    expect(errors.every((f) => f.object.path.startsWith('parent/compacted/'))).toBe(true);
  });
});

describe('a clone of which only a checkpoint still needs its parent', () => {
  const union = goldenFixture('slatedb-0.17.0/union-same-views-lossy');
  function unionOnDisk() {
    const copy = copyGolden(union);
    return {
      copy,
      directory: copy.directory,
      url: pathToFileURL(join(copy.directory, 'union')),
      root: pathToFileURL(copy.directory),
    };
  }

  it('gets the verdict cannot tell, and no repair, where the root is left open', async () => {
    const { copy, url } = unionOnDisk();
    using _ = copy;
    const check = sstCheck(url, { logger: QUIET });
    const found = await findingsOf(check);
    expect(found.map((f) => [f.severity, f.code, f.object.path])).toEqual([['unknown', 'OUT_OF_REACH', 'parent/']]);
    expect(found[0].hint).toMatchObject({ summary: expect.stringContaining('--root'), commands: [] });
    expect((await check.summary()).verdict).toBe('unknown');
    const report = await verify(url, { logger: QUIET });
    expect(report.verdict).toBe('unknown');
    expect(report.findings.some((f) => f.code === 'MISSING_OBJECT')).toBe(false);
    expect(report.nextSteps.join()).not.toContain('repair');
  });

  it('is not called clean by a repair that cannot look for what a compaction lost', async () => {
    const { copy, directory, url, root } = unionOnDisk();
    using _ = copy;
    const error = await rejection(manifestRepair(url, { logger: QUIET }));
    expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'PARENT_OUT_OF_REACH' });
    expect(error?.message).toContain('--root');
    expect(await manifestRepair(url, { logger: QUIET, root })).toMatchObject({ rows: { recovered: 100 } });
    const lost = (await verify(url, { logger: QUIET })).findings.find((f) => f.object.role === 'manifest');
    expect(lost).toMatchObject({ severity: 'unknown', code: 'OUT_OF_REACH' });
    rmSync(join(directory, 'parent'), { recursive: true });
    const report = await manifestRepair(url, { logger: QUIET, root });
    expect(report.before).toMatchObject([{ severity: 'unknown', code: 'OUT_OF_REACH' }]);
    expect(report.nextSteps.join()).toMatch(/is unknown/);
    expect(exitOfRepair(report, false)).toBe(EXIT.unknown);
  });

  it('misses it where the root was stated and it is gone, with advice about the checkpoint', async () => {
    const { copy, directory, url, root } = unionOnDisk();
    using _ = copy;
    rmSync(join(directory, 'parent'), { recursive: true });
    const found = await findingsOf(sstCheck(url, { logger: QUIET, root }));
    expect(found.map((f) => [f.severity, f.code, f.object.path])).toEqual([['error', 'PARENT_MISSING', 'parent/']]);
    expect(found[0].hint.summary).toMatch(/only checkpoint/);
  });

  it('reports a parent that only older manifests name, too', async () => {
    const { copy, directory, url, root } = unionOnDisk();
    using _ = copy;
    const store = new LocalStore(directory);
    const path = `union/${manifestPath(14)}`;
    const { manifest } = loadManifest(14, (await store.get(path))!.bytes);
    writeFileSync(join(directory, path), encodeManifest({ ...manifest, checkpoints: [] }));
    expect((await sstCheck(url, { logger: QUIET, scope: 'all' }).summary()).findings).toEqual({ OUT_OF_REACH: 1 });
    rmSync(join(directory, 'parent'), { recursive: true });
    const found = await findingsOf(sstCheck(url, { logger: QUIET, root, scope: 'all' }));
    const parents = found.filter((f) => f.code === 'PARENT_MISSING');
    expect(parents.map((f) => [f.severity, f.object.path])).toEqual([['warning', 'parent/']]);
    expect(found.some((f) => f.code === 'MISSING_OBJECT' && f.object.role === 'table')).toBe(false);
  });
});

describe('a table of the parent of a clone', () => {
  const tableOf = (directory: string) => {
    const [file] = readdirSync(join(directory, 'parent', 'compacted'));
    return { id: file.replace('.sst', ''), file: join(directory, 'parent', 'compacted', file) };
  };

  it('is out of reach for its inspection where the root is left open, and gone where it was stated', async () => {
    const { copy, directory, url, root } = cloneOnDisk();
    using _ = copy;
    const { id } = tableOf(directory);
    const open = await sstInspect(url, id, { logger: QUIET });
    expect(open.findings.map((f) => [f.severity, f.code])).toEqual([['unknown', 'OUT_OF_REACH']]);
    expect(open.findings[0].hint).toMatchObject({ summary: expect.stringContaining('--root'), commands: [] });
    expect((await sstInspect(url, id, { logger: QUIET, root })).findings).toEqual([]);
    rmSync(join(directory, 'parent'), { recursive: true });
    const stated = await sstInspect(url, id, { logger: QUIET, root });
    expect(stated.findings.map((f) => [f.severity, f.code])).toEqual([['error', 'PARENT_MISSING']]);
  });

  it.each([
    ['damaged', (file: string) => writeFileSync(file, readFileSync(file).fill(0xff, 10, 20))],
    ['gone', (file: string) => rmSync(file)],
  ])('that is %s is reported with the place of the parent, and without a repair that is refused', async (_, harm) => {
    const { copy, directory, url, root } = cloneOnDisk();
    using __ = copy;
    writeFileSync(join(directory, 'parent', 'compacted', 'kept'), '');
    const { id, file } = tableOf(directory);
    harm(file);
    const findings = [
      ...(await findingsOf(sstCheck(url, { logger: QUIET, root }))),
      ...(await sstInspect(url, id, { logger: QUIET, root })).findings,
    ].filter((f) => f.object.path.startsWith('parent/') && f.severity === 'error');
    expect(findings.length).toBeGreaterThanOrEqual(2);
    for (const { hint } of findings) {
      expect(hint.commands).toEqual([]);
      expect(hint.summary).toContain('the database parent in ');
    }
    const error = await rejection(sstRepair(url, id, { logger: QUIET, root }));
    expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'BAD_ARGUMENT' });
    expect(error?.message).toContain('the database parent in ');
  });
});

describe('a stated root', () => {
  const place = (location: unknown, root: string | URL) => resolveLocation(location, root);
  it('is part of the store, and the rest of the location is the path', async () => {
    const { location, isRootAssumed, dispose } = await place('file:///var/lib/clones/db', 'file:///var/lib');
    expect([location.path, isRootAssumed]).toEqual(['clones/db', false]);
    expect(location.store.name).toContain('var/lib');
    dispose();
    const top = await place(new URL('file:///var/lib/db/'), new URL('file:///'));
    expect([top.location.path, top.isRootAssumed]).toEqual(['var/lib/db', false]);
    top.dispose();
    const bucket = await place('s3://bucket/a/b?region=x', 's3://bucket');
    expect([bucket.location.path, bucket.isRootAssumed]).toEqual(['a/b', false]);
    bucket.dispose();
  });
  it.each<[string, unknown, string]>([
    ['is not above the location', 'file:///var/lib/db', 'file:///var/other'],
    ['is the location itself', 'file:///var/lib/db', 'file:///var/lib/db'],
    ['only begins like it', 'file:///var/library', 'file:///var/lib'],
    ['is of another bucket', 's3://bucket/db', 's3://other'],
    ['is of another kind of store', 's3://bucket/db', 'file:///'],
    ['has other parameters', 's3://bucket/db?region=a', 's3://bucket?region=b'],
    ['is no URL', 'file:///var/lib/db', '/var/lib'],
    ['goes with a store', { store: new MemoryStore(), path: 'db' }, 'file:///'],
  ])('is refused if it %s', async (_, location, root) => {
    const error = await rejection(place(location, root));
    expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'BAD_ARGUMENT' });
  });
});
