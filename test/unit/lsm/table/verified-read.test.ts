/** When bytes that do not decode are called damaged, and when the way to them is. */
import { describe, expect, it } from 'vitest';
import { damage } from '../../../../src/common/damage.ts';
import type { DbError } from '../../../../src/common/errors.ts';
import { readTwice, readVerified } from '../../../../src/lsm/table/verified-read.ts';
import { MemoryStore } from '../../../../src/store/memory-store.ts';

const PATH = 'compacted/x';
const GOOD = 1;

/** Reads what the list says, look by look. */
async function read(answers: readonly number[], rereads: readonly number[] = [100, 1000]) {
  const waits: number[] = [];
  let taken = 0;
  const result = await readVerified({
    read: async () => Uint8Array.of(answers[Math.min(taken++, answers.length - 1)]),
    decode: ([value]) => {
      if (value !== GOOD) throw damage('BAD_CHECKSUM', { unit: 'block', offset: 0, length: 1 }, 'bad');
      return 'decoded';
    },
    missing: () => {
      throw new Error('it is there');
    },
    location: { object: { role: 'table', path: PATH, id: 'x', sealed: true }, during: 'get' },
    store: 'memory:',
    rereads,
    wait: async (ms) => void waits.push(ms),
  }).catch((error: DbError) => error);
  return { result, taken, waits };
}

describe('a read that must decode', () => {
  it('is damaged at rest if two reads in a row gave the same bytes', async () => {
    const { result, taken } = await read([2, 2, 2]);
    expect(taken).toBe(3);
    expect(result).toMatchObject({
      name: 'CorruptionError',
      findings: [{ origin: 'at-rest', reads: { attempts: 3, identical: true } }],
    });
  });

  it('is looked at again, later each time, as long as each look gave other bytes', async () => {
    const { result, taken, waits } = await read([2, 3, 4, 5, GOOD]);
    expect(result).toBe('decoded');
    expect(taken).toBe(5);
    expect(waits).toEqual([100, 1000, 50, 200]);
  });

  it('becomes an error of the store, never corruption, if the bytes stay different', async () => {
    const { result, taken } = await read([2, 3, 4, 5, 6, 7, 8, 9]);
    expect(taken).toBe(6);
    expect(result).toMatchObject({ name: 'UnavailableError', retryable: true });
    expect((result as DbError).details).toMatchObject({ storeClass: 'malformed-response', path: PATH });
  });

  it('is damaged at rest also if other bytes came in between', async () => {
    const { result, taken } = await read([2, 3, 2, 2], [0]);
    expect(taken).toBe(4);
    expect(result).toMatchObject({ name: 'CorruptionError', findings: [{ reads: { attempts: 4 } }] });
  });

  it('of a whole object keeps the same rule', async () => {
    const store = new MemoryStore();
    const putId = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
    const bad = (): never => {
      throw damage('MALFORMED', { unit: 'object', offset: 0, length: 1 }, 'bad');
    };
    await store.put(PATH, Uint8Array.of(2), { condition: 'any', putId });
    await expect(readTwice(store, PATH, bad)).rejects.toMatchObject({ kind: 'corruption' });
    let n = 0;
    const changing = async () => {
      await store.put(PATH, Uint8Array.of(n++), { condition: 'any', putId });
      return store.get(PATH);
    };
    const unsteady = Object.assign(Object.create(store), { name: 'memory:', get: changing });
    await expect(readTwice(unsteady, PATH, bad)).rejects.toMatchObject({ kind: 'unavailable' });
  });
});
