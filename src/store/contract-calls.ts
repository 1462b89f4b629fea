/** Calls of a store as the checks of its contract make them, and what they compare. */
import assert from 'node:assert/strict';
import { SeededRandom } from '../common/random.ts';
import { makeUlid } from '../common/ulid.ts';
import type { ListedObject, ObjectStore, PutCondition } from './object-store.ts';

const random = new SeededRandom(1);

export function newPutId(): string {
  return makeUlid(1_700_000_000_000, random);
}

export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

export function pattern(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >>> 8) * 7 + seed) & 255;
  return bytes;
}

export async function put(
  store: ObjectStore,
  path: string,
  bytes: Uint8Array | string,
  condition: PutCondition = 'if-absent',
) {
  const body = typeof bytes === 'string' ? text(bytes) : bytes;
  return store.put(path, body, { condition, putId: newPutId() });
}

export async function mustPut(store: ObjectStore, path: string, bytes: Uint8Array | string, condition?: PutCondition) {
  const outcome = await put(store, path, bytes, condition);
  assert.equal(outcome.outcome, 'applied', `put of ${path}`);
  assert(outcome.outcome === 'applied');
  assert.equal(outcome.attempt, 'now');
  assert.equal(typeof outcome.etag, 'string');
  assert.notEqual(outcome.etag, '', 'an applied put gives an ETag');
  return outcome.etag;
}

export async function mustGet(
  store: ObjectStore,
  path: string,
  range?: { offset: number; length: number } | { suffix: number },
) {
  const result = await store.get(path, range === undefined ? {} : { range });
  assert(result !== undefined, `${path} must be there`);
  return result;
}

export async function textOf(store: ObjectStore, path: string): Promise<string | undefined> {
  const result = await store.get(path);
  return result === undefined ? undefined : new TextDecoder().decode(result.bytes);
}

export async function listed(store: ObjectStore, prefix: string, startAfter?: string): Promise<ListedObject[]> {
  const objects: ListedObject[] = [];
  for await (const object of store.list(prefix, startAfter === undefined ? {} : { startAfter })) objects.push(object);
  return objects;
}

export async function paths(store: ObjectStore, prefix: string, startAfter?: string): Promise<string[]> {
  return (await listed(store, prefix, startAfter)).map((object) => object.path);
}

export function sameBytes(found: Uint8Array, expected: Uint8Array, what: string): void {
  assert.equal(found.length, expected.length, `${what}: length`);
  assert.equal(Buffer.compare(found, expected), 0, `${what}: bytes`);
}

export function unquoted(etag: string): string {
  return etag.replace(/^"|"$/g, '');
}
