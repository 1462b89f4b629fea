/**
 * Conditional PUTs whose answers are lost between a real server and us: the request was applied, the connection dies. The
 * second attempt is refused because of the first. That must never look like a takeover, write twice, or lose a row.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { type Db, open } from '../../src/index.ts';
import { S3Store } from '../../src/s3.ts';
import { describeWithS3 } from '../support/environment.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

describeWithS3('a database whose answers get lost', (s3) => {
  let proxy: TcpProxy;
  let bucket: string;

  beforeAll(async () => {
    proxy = await startTcpProxy(s3.endpoint);
    bucket = await s3.freshBucket();
  });
  afterAll(() => proxy?.close());

  const storeAt = (endpoint: string) =>
    new S3Store({
      bucket,
      endpoint,
      region: s3.region,
      forcePathStyle: true,
      credentials: { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey },
    });
  const openAt = (endpoint: string, path: string): Promise<Db> =>
    open({ store: storeAt(endpoint), path }, { logger: SILENT_LOGGER });
  const isPutOf = (path: string, kind: string) => (head: string) =>
    head.startsWith('PUT ') && head.includes(`/${path}/${kind}`);
  const value = (s: string) => new TextEncoder().encode(s);

  async function contentOf(path: string): Promise<Record<string, string>> {
    const db = await openAt(s3.endpoint, path);
    const rows: Record<string, string> = {};
    for await (const { key, value: v } of db.scan()) rows[Buffer.from(key).toString()] = Buffer.from(v).toString();
    await db.close();
    return rows;
  }

  it('opens when the answers to the first manifest, the claim and the fence are lost', async () => {
    for (const kind of ['manifest/00000000000000000001', 'manifest/00000000000000000002', 'wal/', 'shale/identity']) {
      const path = `open-${kind.replaceAll(/\W/g, '-')}`;
      const dropped = proxy.dropNextResponse(isPutOf(path, kind));
      const db = await openAt(proxy.endpoint, path);
      await dropped;
      await db.put('k', kind);
      await db.close();
      expect(await contentOf(path)).toEqual({ k: kind });
    }
  });

  it('acknowledges each durable write once, whichever answer to a WAL PUT is lost', async () => {
    const path = 'writes';
    const db = await openAt(proxy.endpoint, path);
    const expected: Record<string, string> = {};
    for (let i = 0; i < 12; i++) {
      const dropped = i % 3 === 0 ? proxy.dropNextResponse(isPutOf(path, 'wal/')) : undefined;
      const { seq } = await db.put(`k${i}`, `v${i}`);
      await dropped;
      expect(seq).toBe(BigInt(i + 1));
      expected[`k${i}`] = `v${i}`;
    }
    const ids = await s3.client().listObjectsV2(bucket, `${path}/wal/`, true).toArray();
    expect(ids, 'the fence and one object for each write').toHaveLength(13);
    await db.close();
    expect(await contentOf(path)).toEqual(expected);
  });

  it('flushes when the answers to a table and to its manifest are lost', async () => {
    const path = 'flushes';
    const db = await openAt(proxy.endpoint, path);
    await db.put('a', '1');
    const lost = [
      proxy.dropNextResponse(isPutOf(path, 'compacted/')),
      proxy.dropNextResponse(isPutOf(path, 'manifest/')),
    ];
    await db.flush({ type: 'memtable' });
    await Promise.all(lost);
    expect(await db.estimateSize()).toMatchObject({ tables: 1, rows: 1 });
    expect(await db.get('a')).toEqual(value('1'));
    await db.close();
    expect(await contentOf(path)).toEqual({ a: '1' });
  });

  it('goes on when every connection is cut in the middle of writes', async () => {
    const path = 'cuts';
    const db = await openAt(proxy.endpoint, path);
    const expected: Record<string, string> = {};
    for (let i = 0; i < 20; i++) {
      const writes = Array.from({ length: 5 }, (_, j) => db.put(`k${i}-${j}`, `v${i}`));
      proxy.cutAll();
      await Promise.all(writes);
      for (let j = 0; j < 5; j++) expected[`k${i}-${j}`] = `v${i}`;
    }
    await db.close();
    expect(await contentOf(path)).toEqual(expected);
  });

  it('fences a writer that was really overtaken, also when the answer that says so is lost', async () => {
    const path = 'overtaken';
    const first = await openAt(proxy.endpoint, path);
    await first.put('a', '1');
    const second = await openAt(s3.endpoint, path);
    const dropped = proxy.dropNextResponse(isPutOf(path, 'wal/'));
    const failure = await first.put('b', '2').catch((e) => e);
    await dropped;
    expect(failure).toMatchObject({ kind: 'fenced', code: 'WRITER_FENCED' });
    await second.put('c', '3');
    await second.close();
    await first.close();
    expect(await contentOf(path)).toEqual({ a: '1', c: '3' });
  });
});
