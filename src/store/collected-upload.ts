/**
 * Uploads to stores that have none: the parts are collected in memory and put whole. The outcome is that of the put, and the memory
 * that of the whole object, so a store for large tables should have uploads of its own.
 */
import { constants as bufferLimits } from 'node:buffer';
import type { ObjectStore, ObjectUpload, PutOutcome, UploadOptions } from './object-store.ts';
import { storeError } from './store-error.ts';
import { uploadOf } from './upload-calls.ts';

/** The upload that the store has, or else one that puts the whole object at its end. */
export function openUpload(store: ObjectStore, path: string, options: UploadOptions): ObjectUpload {
  if (store.upload !== undefined) return store.upload(path, options);
  const { condition, putId, signal, onRequest } = options;
  const put = { condition, putId, ...(signal && { signal }), ...(onRequest && { onRequest }) };
  return collectedUpload(store.name, path, options, (bytes) => store.put(path, bytes, put));
}

/** An upload whose bytes go to `put`, which may keep them, when it is completed. */
export function collectedUpload(
  store: string,
  path: string,
  options: UploadOptions,
  put: (bytes: Uint8Array) => Promise<PutOutcome>,
): ObjectUpload {
  let parts: Uint8Array[] = [];
  let length = 0;
  return uploadOf(store, path, options, {
    async write(part) {
      if (length + part.length > bufferLimits.MAX_LENGTH) {
        const message = `more than the ${bufferLimits.MAX_LENGTH} bytes that one buffer can hold`;
        throw storeError({ cls: 'unsupported', message, store, path });
      }
      length += part.length;
      parts.push(part);
    },
    complete() {
      const bytes = joined(parts, length);
      parts = [];
      return put(bytes);
    },
    async discard() {
      parts = [];
    },
  });
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
