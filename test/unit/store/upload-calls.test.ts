/** The order of the calls of an upload: one at a time, none after the end, and what was begun is discarded. */
import { describe, expect, it } from 'vitest';
import { deferred } from '../../../src/common/async.ts';
import { DbError } from '../../../src/common/errors.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import type { ObjectStore, PutOutcome, UploadOptions } from '../../../src/store/object-store.ts';
import { storeError, storeErrorClass } from '../../../src/store/store-error.ts';
import { type UploadSteps, uploadOf, uploadsOf } from '../../../src/store/upload-calls.ts';

const APPLIED: PutOutcome = { outcome: 'applied', attempt: 'now', etag: '"e"', storeTimeMs: 0 };
const BYTES = new Uint8Array(3);
const DOWN = storeError({ cls: 'unavailable', message: 'as scripted', store: 'store', path: 'a' });

/** An upload whose steps are noted, and do what `steps` says. */
function begun(steps: Partial<UploadSteps> = {}, signal?: AbortSignal) {
  const calls: string[] = [];
  const noted: UploadSteps = {
    write: async (part, digests) => {
      calls.push(`write ${part.length}`);
      await steps.write?.(part, digests);
    },
    complete: async () => {
      calls.push('complete');
      return steps.complete?.() ?? APPLIED;
    },
    cut: (reason) => {
      calls.push('cut');
      steps.cut?.(reason);
    },
    discard: async () => {
      calls.push('discard');
      await steps.discard?.();
    },
  };
  return { upload: uploadOf('store', 'a', signal === undefined ? {} : { signal }, noted), calls };
}

async function failureOf(promise: Promise<unknown>): Promise<DbError> {
  return promise.then(
    (value) => expect.fail(`it should have been rejected, not ${JSON.stringify(value)}`),
    (error) => {
      expect(error).toBeInstanceOf(DbError);
      return error;
    },
  );
}

describe('the calls of an upload', () => {
  it('reach the store in their order, and nothing is discarded after the completion', async () => {
    const { upload, calls } = begun();
    await upload.write(BYTES);
    await upload.write(new Uint8Array(0));
    expect(await upload.complete()).toBe(APPLIED);
    await upload.abort();
    expect(calls).toEqual(['write 3', 'write 0', 'complete']);
  });

  it('are refused while another one runs, which goes on', async () => {
    const gate = deferred<void>();
    const { upload, calls } = begun({ write: () => gate.promise });
    const first = upload.write(BYTES);
    for (const call of [() => upload.write(BYTES), () => upload.complete()]) {
      expect(await failureOf(call())).toMatchObject({
        code: 'BAD_ARGUMENT',
        message: expect.stringContaining('one call at a time'),
      });
    }
    gate.resolve();
    await first;
    expect((await upload.complete()).outcome).toBe('applied');
    expect(calls).toEqual(['write 3', 'complete']);
  });

  it('need bytes that can be read', async () => {
    const { upload, calls } = begun();
    const gone = new Uint8Array(8);
    structuredClone(gone, { transfer: [gone.buffer] });
    for (const part of [gone, 'text', new Uint16Array(2), undefined]) {
      expect(await failureOf(upload.write(part as Uint8Array))).toMatchObject({ code: 'BAD_ARGUMENT' });
    }
    expect(calls).toEqual([]);
    await upload.write(BYTES);
    await upload.complete();
  });

  it('after a failure reject with it, and the parts are discarded once', async () => {
    const { upload, calls } = begun({ write: () => Promise.reject(DOWN) });
    expect(await failureOf(upload.write(BYTES))).toBe(DOWN);
    expect(await failureOf(upload.write(BYTES))).toBe(DOWN);
    expect(await failureOf(upload.complete())).toBe(DOWN);
    await upload.abort();
    await upload.abort();
    expect(calls).toEqual(['write 3', 'discard']);
  });

  it('end with a completion that fails', async () => {
    const { upload, calls } = begun({ complete: () => Promise.reject(DOWN) });
    expect(await failureOf(upload.complete())).toBe(DOWN);
    await upload.abort();
    expect(calls).toEqual(['complete', 'discard']);
    expect(await failureOf(upload.write(BYTES))).toBe(DOWN);
  });
});

describe('abort', () => {
  it('cuts a write that waits, and discards after it has ended', async () => {
    const gate = deferred<void>();
    const { upload, calls } = begun({ write: () => gate.promise, cut: (reason) => gate.reject(reason) });
    const writing = failureOf(upload.write(BYTES));
    await upload.abort();
    expect(storeErrorClass(await writing)).toBe('cancelled');
    expect(calls).toEqual(['write 3', 'cut', 'discard']);
    expect((await failureOf(upload.complete())).code).toBe('CLOSED');
  });

  it('waits for a write that nothing cuts', async () => {
    const gate = deferred<void>();
    const { upload, calls } = begun({ write: () => gate.promise });
    const writing = failureOf(upload.write(BYTES));
    const aborting = upload.abort();
    await Promise.resolve();
    expect(calls).toEqual(['write 3', 'cut']);
    gate.resolve();
    await aborting;
    expect((await writing).code).toBe('CLOSED');
    expect(calls).toEqual(['write 3', 'cut', 'discard']);
  });

  it('waits for a completion under way, and takes nothing back', async () => {
    const gate = deferred<PutOutcome>();
    const { upload, calls } = begun({ complete: () => gate.promise });
    const completing = upload.complete();
    const aborting = upload.abort();
    gate.resolve(APPLIED);
    await aborting;
    expect(await completing).toBe(APPLIED);
    expect(calls).toEqual(['complete']);
  });

  it('rejects if the parts stay, and tries again when it is called again', async () => {
    let isDown = true;
    const { upload, calls } = begun({ discard: () => (isDown ? Promise.reject(DOWN) : Promise.resolve()) });
    await upload.write(BYTES);
    expect(await failureOf(upload.abort())).toBe(DOWN);
    isDown = false;
    await upload.abort();
    await upload.abort();
    expect(calls).toEqual(['write 3', 'discard', 'discard']);
  });
});

describe('the signal of an upload', () => {
  it('given before it began lets nothing begin', async () => {
    const { upload, calls } = begun({}, AbortSignal.abort());
    expect((await failureOf(upload.write(BYTES))).code).toBe('ABORTED');
    expect((await failureOf(upload.complete())).code).toBe('ABORTED');
    expect(calls).toEqual(['discard']);
  });

  it('between two calls discards at once', async () => {
    const controller = new AbortController();
    const { upload, calls } = begun({}, controller.signal);
    await upload.write(BYTES);
    controller.abort();
    expect(calls).toEqual(['write 3', 'discard']);
    expect((await failureOf(upload.complete())).code).toBe('ABORTED');
  });

  it('cuts a step that waits; one that ends nevertheless ends the upload', async () => {
    const controller = new AbortController();
    const gate = deferred<void>();
    const { upload, calls } = begun({ write: () => gate.promise }, controller.signal);
    const writing = failureOf(upload.write(BYTES));
    controller.abort();
    expect(calls).toEqual(['write 3', 'cut']);
    gate.resolve();
    expect((await writing).code).toBe('ABORTED');
    await upload.abort();
    expect(calls).toEqual(['write 3', 'cut', 'discard']);
  });

  it('in a completion leaves the outcome to the store', async () => {
    const controller = new AbortController();
    const gate = deferred<PutOutcome>();
    const cut = (cause: unknown) => gate.resolve({ outcome: 'unknown', cause });
    const { upload, calls } = begun({ complete: () => gate.promise, cut }, controller.signal);
    const completing = upload.complete();
    controller.abort();
    expect(await completing).toMatchObject({ outcome: 'unknown', cause: { code: 'ABORTED' } });
    await upload.abort();
    expect(calls).toEqual(['complete', 'cut']);
  });

  it('is left when the upload has ended', async () => {
    const controller = new AbortController();
    const { upload, calls } = begun({}, controller.signal);
    await upload.complete();
    controller.abort();
    expect(calls).toEqual(['complete']);
  });
});

it('the calls for uploads that a store has are found, bound to it', async () => {
  const store = new MemoryStore();
  const { upload, ...others } = uploadsOf(store);
  expect(others).toEqual({});
  const options: UploadOptions = { condition: 'any', putId: 'p' };
  expect((await upload?.('a', options).complete())?.outcome).toBe('applied');
  expect((await store.head('a'))?.size).toBe(0);
  const bare: Partial<ObjectStore> = { name: 'bare' };
  expect(uploadsOf(bare as ObjectStore)).toEqual({});
});
