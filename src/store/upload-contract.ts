/** The contract of uploads as runnable checks: the part of `store-contract.ts` for stores that have them. */
import assert from 'node:assert/strict';
import { isDbError } from '../common/errors.ts';
import {
  listed,
  mustGet,
  mustPut,
  newPutId,
  paths,
  pattern,
  sameBytes,
  text,
  textOf,
  unquoted,
} from './contract-calls.ts';
import { type ObjectStore, type ObjectUpload, PUT_ID_METADATA, type PutCondition } from './object-store.ts';

type UploadCheck = (store: ObjectStore, begin: Begin, largeObjectBytes: number) => Promise<void>;
type Begin = (
  path: string,
  options?: { condition?: PutCondition; putId?: string; signal?: AbortSignal },
) => ObjectUpload;

/** Where a store may have no uploads, the checks of such a store hold without one. */
export function uploadChecks(
  isRequired: boolean,
  hasMetadata: boolean,
  hasIfMatch: boolean,
): Record<string, (store: ObjectStore, options: { largeObjectBytes: number }) => Promise<void>> {
  const checks = {
    ...UPLOAD_CHECKS,
    ...(hasMetadata ? { 'the put id of an upload is kept as metadata': uploadKeepsPutId } : {}),
    ...(hasIfMatch ? { 'an upload with If-Match replaces exactly the version it names': uploadMatches } : {}),
  };
  const check =
    (run: UploadCheck) =>
    async (store: ObjectStore, { largeObjectBytes }: { largeObjectBytes: number }) => {
      assert(store.upload !== undefined || !isRequired, 'the store has upload');
      const upload = store.upload?.bind(store);
      if (upload === undefined) return;
      const begin: Begin = (path, options) => upload(path, { condition: 'if-absent', putId: newPutId(), ...options });
      await run(store, begin, largeObjectBytes);
    };
  return Object.fromEntries(Object.entries(checks).map(([name, run]) => [name, check(run)]));
}

async function writeAll(upload: ObjectUpload, bytes: Uint8Array, sizes: readonly number[]): Promise<void> {
  let at = 0;
  for (let i = 0; at < bytes.length || i < sizes.length; i++) {
    const size = sizes[i % sizes.length];
    await upload.write(bytes.slice(at, at + size));
    at += size;
  }
}

async function mustComplete(upload: ObjectUpload): Promise<string> {
  const outcome = await upload.complete();
  assert(outcome.outcome === 'applied', `an upload ended ${outcome.outcome}`);
  assert.equal(outcome.attempt, 'now');
  assert.notEqual(outcome.etag, '', 'a completed upload gives an ETag');
  return outcome.etag;
}

function hasCode(...codes: string[]) {
  return (error: unknown) => isDbError(error) && codes.includes(error.code);
}

const uploadKeepsPutId: UploadCheck = async (store, begin, largeObjectBytes) => {
  for (const length of [10, largeObjectBytes]) {
    const putId = newPutId();
    const upload = begin(`tables/${length}`, { putId });
    await writeAll(upload, pattern(length), [300_000]);
    await mustComplete(upload);
    assert.equal((await store.head(`tables/${length}`))?.metadata[PUT_ID_METADATA], putId);
  }
};

const uploadMatches: UploadCheck = async (store, begin) => {
  const ifMatch = await mustPut(store, 'gc-boundary', 'one');
  const uploads = [begin('gc-boundary', { condition: { ifMatch } }), begin('gc-boundary', { condition: { ifMatch } })];
  for (const [i, upload] of uploads.entries()) await upload.write(text(`two ${i}`));
  await mustComplete(uploads[0]);
  assert.equal((await uploads[1].complete()).outcome, 'refused');
  assert.equal(await textOf(store, 'gc-boundary'), 'two 0');
  const absent = begin('gc-absent', { condition: { ifMatch } });
  assert.equal((await absent.complete()).outcome, 'refused');
  assert.equal(await store.get('gc-absent'), undefined);
};

const UPLOAD_CHECKS: Record<string, UploadCheck> = {
  'an upload of parts of any sizes becomes one object when it is completed': async (store, begin, largeObjectBytes) => {
    const body = pattern(largeObjectBytes, 5);
    const cases: [string, number, number[]][] = [
      ['one part', 4000, [4000]],
      ['small parts', 5000, [1, 0, 7, 1000]],
      ['large parts', largeObjectBytes, [70_000, 3_000_000, 1]],
      ['one large part', largeObjectBytes, [largeObjectBytes]],
    ];
    for (const [name, length, sizes] of cases) {
      const path = `tables/${name}`;
      const upload = begin(path);
      await writeAll(upload, body.subarray(0, length), sizes);
      assert.equal(await store.get(path), undefined, `${name}: nothing is visible before the completion`);
      assert.equal(await store.head(path), undefined, name);
      assert.deepEqual(await paths(store, path), [], name);
      const etag = await mustComplete(upload);
      const result = await mustGet(store, path);
      sameBytes(result.bytes, body.subarray(0, length), name);
      assert.equal(unquoted(result.etag), unquoted(etag), name);
      const middle = await mustGet(store, path, { offset: length >> 1, length: 100 });
      sameBytes(middle.bytes, body.subarray(length >> 1, (length >> 1) + 100), `${name}: a range`);
      assert.deepEqual(
        (await listed(store, path)).map((object) => [object.path, object.size]),
        [[path, length]],
      );
    }
  },

  'an upload without bytes makes an empty object': async (store, begin) => {
    await mustComplete(begin('tables/empty'));
    assert.equal((await store.head('tables/empty'))?.size, 0);
    const second = begin('tables/empty-parts');
    await second.write(new Uint8Array(0));
    await mustComplete(second);
    assert.equal((await store.head('tables/empty-parts'))?.size, 0);
  },

  'an upload is refused where an object is, and overwrites it without a condition': async (store, begin, large) => {
    await mustPut(store, 'tables/taken', 'first');
    for (const length of [10, large]) {
      const refused = begin('tables/taken');
      await writeAll(refused, pattern(length), [1 << 20]);
      assert.deepEqual(await refused.complete(), { outcome: 'refused' });
      assert.equal(await textOf(store, 'tables/taken'), 'first');
    }
    for (const length of [10, large]) {
      const overwriting = begin('tables/taken', { condition: 'any' });
      await writeAll(overwriting, pattern(length, 4), [1 << 20]);
      await mustComplete(overwriting);
      sameBytes((await mustGet(store, 'tables/taken')).bytes, pattern(length, 4), 'overwritten');
    }
  },

  'of 4 concurrent uploads one wins': async (store, begin) => {
    const bodies = Array.from({ length: 4 }, (_, i) => `upload ${i}`);
    const uploads = bodies.map(() => begin('tables/race'));
    await Promise.all(uploads.map((upload, i) => upload.write(text(bodies[i]))));
    const outcomes = await Promise.all(uploads.map((upload) => upload.complete()));
    const winners = bodies.filter((_, i) => outcomes[i].outcome === 'applied');
    assert.equal(winners.length, 1, JSON.stringify(outcomes.map((o) => o.outcome)));
    assert.equal(outcomes.filter((o) => o.outcome === 'refused').length, 3);
    assert.equal(await textOf(store, 'tables/race'), winners[0]);
  },

  'an aborted upload leaves nothing': async (store, begin, large) => {
    for (const length of [0, 10, large]) {
      const upload = begin('tables/aborted');
      await writeAll(upload, pattern(length), [1 << 20]);
      await upload.abort();
      assert.equal(await store.get('tables/aborted'), undefined);
      assert.deepEqual(await paths(store, ''), []);
      assert.deepEqual(await store.listUploads?.('tables/'), store.listUploads && []);
    }
    await mustPut(store, 'tables/aborted', 'the path is free');
  },

  'calls after the end of an upload are refused': async (_, begin) => {
    const aborted = begin('tables/1');
    await aborted.write(text('x'));
    await aborted.abort();
    const completed = begin('tables/2');
    await mustComplete(completed);
    for (const upload of [aborted, completed]) {
      await assert.rejects(upload.write(text('y')), hasCode('CLOSED'));
      await assert.rejects(upload.complete(), hasCode('CLOSED'));
      await upload.abort();
    }
  },

  'the signal ends an upload': async (store, begin) => {
    const never = begin('tables/1', { signal: AbortSignal.abort() });
    await assert.rejects(never.write(text('x')), hasCode('ABORTED'));
    await assert.rejects(never.complete(), hasCode('ABORTED'));
    const controller = new AbortController();
    const upload = begin('tables/1', { signal: controller.signal });
    await upload.write(text('x'));
    controller.abort();
    await assert.rejects(upload.write(text('y')), hasCode('ABORTED'));
    await assert.rejects(upload.complete(), hasCode('ABORTED'));
    await upload.abort();
    assert.equal(await store.get('tables/1'), undefined);
  },

  'an unfinished upload is listed, and removed by its name': async (store, begin, large) => {
    if (store.listUploads === undefined || store.abortUpload === undefined) return;
    const upload = begin('tables/left');
    const other = begin('other/left');
    for (const each of [upload, other]) await writeAll(each, pattern(large), [1 << 20]);
    const found = await store.listUploads('tables/');
    assert.deepEqual(
      found.map(({ path }) => path),
      ['tables/left'],
    );
    const [{ startedMs, storeTimeMs }] = found;
    if (startedMs !== 0 && storeTimeMs !== 0) assert(Math.abs(storeTimeMs - startedMs) < 60_000);
    await store.abortUpload(found[0]);
    await store.abortUpload(found[0]);
    assert.deepEqual(await store.listUploads('tables/'), []);
    const outcome = await upload.complete().then(
      (answer) => answer.outcome,
      () => 'failed',
    );
    assert.notEqual(outcome, 'applied', 'an upload whose parts are gone');
    assert.equal(await store.get('tables/left'), undefined);
    await mustComplete(other);
    assert.deepEqual(await store.listUploads(''), []);
  },
};
