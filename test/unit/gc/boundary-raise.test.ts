/** Raising a boundary file: it only rises, never to the newest, whichever process raises it too and whatever becomes of answers. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CorruptionError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { MANIFEST_BOUNDARY_PATH as PATH, STORE_PROFILE_PATH } from '../../../src/format/object-names.ts';
import { type IfMatchForm, ifMatchForm, raiseBoundary } from '../../../src/gc/boundary-raise.ts';
import { FaultyStore } from '../../../src/store/faulty-store.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import type { ObjectStore } from '../../../src/store/object-store.ts';
import { retryingStore } from '../../../src/store/retrying-store.ts';
import { rejection } from '../../support/database.ts';
import { forwarding } from '../../support/forwarding-store.ts';

const PUT_ID = '01ARZ3NDEKTSV4RRFFQ69G5FAV';

let clock: ManualClock;
let random: SeededRandom;
let memory: MemoryStore;
beforeEach(() => {
  clock = new ManualClock();
  random = new SeededRandom(1);
  memory = new MemoryStore({ clock });
});

const write = (text: string) => memory.put(PATH, new TextEncoder().encode(text), { condition: 'any', putId: PUT_ID });
async function stored(): Promise<string | undefined> {
  const got = await memory.get(PATH);
  return got && new TextDecoder().decode(got.bytes);
}
const raise = (
  to: number,
  newestId: number,
  store: ObjectStore = memory,
  form: IfMatchForm = 'supported',
  newestNow: () => number = () => newestId,
) =>
  raiseBoundary({
    store,
    clock,
    random,
    path: PATH,
    to,
    newestId,
    newestNow: () => Promise.resolve(newestNow()),
    form,
    tooHigh: (value) => new CorruptionError(`too high: ${value}`, []),
  });

/** Does something before each PUT of the boundary. */
function beforeEachPut(act: (n: number) => Promise<unknown>): ObjectStore {
  let n = 0;
  const store = forwarding(memory);
  return {
    ...store,
    put: async (path, bytes, options) => {
      await act(++n);
      return store.put(path, bytes, options);
    },
  };
}

describe('a boundary', () => {
  it('is created, then raised, and is one decimal number', async () => {
    expect(await raise(3, 9)).toBe(3);
    expect(await stored()).toBe('3');
    expect(await raise(8, 9)).toBe(8);
    expect(await stored()).toBe('8');
  });

  it('is left as it is where it is high enough', async () => {
    await write(' 7\n');
    expect(await raise(5, 9)).toBe(7);
    expect(await stored()).toBe(' 7\n');
  });

  it.each([
    ['2', '6', 5, '5'],
    ['7', '3', 5, '7'],
  ])(
    'of %s that is read as %s once, by a bit that was flipped on the way, is %s or more all the same',
    async (text, read, to, then) => {
      await write(text);
      let n = 0;
      const store = {
        ...forwarding(memory),
        get: async (path: string) => {
          const got = await memory.get(path);
          return got && n++ === 0 ? { ...got, bytes: new TextEncoder().encode(read) } : got;
        },
      };
      expect(await raise(to, 9, store)).toBe(Number(then));
      expect(await stored()).toBe(then);
    },
  );

  it('of 2 that is read as 6 twice, by the same bit, is raised all the same', async () => {
    await write('2');
    let n = 0;
    const store = {
      ...forwarding(memory),
      get: async (path: string) => {
        const got = await memory.get(path);
        return got && n++ < 2 ? { ...got, bytes: new TextEncoder().encode('6') } : got;
      },
    };
    expect(await raise(5, 9, store)).toBe(5);
    expect(await stored()).toBe('5');
  });

  it.each([[9], [10]])('is never raised to %i where 9 is the newest', async (to) => {
    expect(await rejection(raise(to, 9))).toMatchObject({ code: 'INVARIANT' });
    expect(await stored()).toBeUndefined();
  });

  it.each([['9'], ['12']])('that is at %s already where 9 is the newest is damage', async (text) => {
    await write(text);
    expect((await rejection(raise(5, 9))).message).toContain('too high');
    expect(await stored()).toBe(text);
  });

  it('that another collector has raised above the newest file of the round, but below one that was written since, is left', async () => {
    await write('12');
    expect(await raise(5, 9, memory, 'supported', () => 13)).toBe(12);
    expect((await rejection(raise(5, 9, memory, 'supported', () => 12))).message).toContain('too high');
    expect(await stored()).toBe('12');
  });

  it('that is no number is not replaced', async () => {
    await write('seven');
    expect(await rejection(raise(5, 9))).toMatchObject({ code: 'MALFORMED' });
    expect(await stored()).toBe('seven');
  });

  it('does not fall when another collector raises it further at the same moment', async () => {
    await write('2');
    expect(
      await raise(
        5,
        9,
        beforeEachPut(async (n) => n === 1 && (await write('7'))),
      ),
    ).toBe(7);
    expect(await stored()).toBe('7');
  });

  it('is not created over the one that another collector creates at the same moment', async () => {
    expect(
      await raise(
        5,
        9,
        beforeEachPut(async (n) => n === 1 && (await write('7'))),
      ),
    ).toBe(7);
    expect(await stored()).toBe('7');
  });

  it('is raised on top of what another collector wrote', async () => {
    await write('1');
    expect(
      await raise(
        5,
        9,
        beforeEachPut(async (n) => n < 4 && (await write(String(n)))),
      ),
    ).toBe(5);
    expect(await stored()).toBe('5');
  });

  it('is given up where another collector is always first', async () => {
    await write('1');
    const store = beforeEachPut(() => write('1'));
    expect(await rejection(raise(5, 9, store))).toMatchObject({ code: 'DEADLINE', kind: 'unavailable' });
  });

  it('is settled by reading it where the answer is lost', async () => {
    await write('1');
    const faults = new FaultyStore(memory, { clock, rules: [{ action: 'apply-then-drop', op: 'put', nth: 1 }] });
    expect(await raise(5, 9, faults)).toBe(5);
    expect(await stored()).toBe('5');
    const retried = retryingStore(new FaultyStore(memory, { clock, rules: [{ action: 'apply-then-drop', nth: 2 }] }), {
      clock,
      random,
    });
    expect(await clock.runUntilSettled(raise(6, 9, retried))).toBe(6);
  });

  it('is not there before the PUT has arrived, so nothing was deleted when that fails', async () => {
    const faults = new FaultyStore(memory, { clock, rules: [{ action: 'status:501', op: 'put' }] });
    expect(await rejection(raise(5, 9, faults))).toMatchObject({ code: 'STORE_UNSUITABLE' });
    expect(await stored()).toBeUndefined();
  });

  it('is replaced by an ETag without quotes where the store wants it so', async () => {
    await write('1');
    const asked: unknown[] = [];
    const store = forwarding(memory);
    const put: ObjectStore['put'] = (path, bytes, options) => {
      asked.push(options.condition);
      return store.put(path, bytes, options);
    };
    await raise(5, 9, { ...store, put }, 'unquoted');
    expect(asked).toEqual([{ ifMatch: '1' }]);
  });
});

describe('whether a store honours If-Match', () => {
  const unknown = (put: ObjectStore['put']): ObjectStore => ({ ...forwarding(memory), name: 'unknown', put });
  const form = (store: ObjectStore, mayProbe = true) => ifMatchForm(store, { clock, random, mayProbe });

  it('is known of known stores', async () => {
    expect(await form(memory)).toBe('supported');
  });

  it('is found out once, and kept beside the database', async () => {
    const store = unknown((path, bytes, options) => memory.put(path, bytes, options));
    expect(await form(store)).toBe('supported');
    const { etag } = (await memory.head(STORE_PROFILE_PATH))!;
    expect(await form(store)).toBe('supported');
    expect((await memory.head(STORE_PROFILE_PATH))!.etag).toBe(etag);
  });

  it('is not believed of a store that ignores the condition', async () => {
    const store = unknown((path, bytes, options) =>
      memory.put(path, bytes, typeof options.condition === 'object' ? { ...options, condition: 'any' } : options),
    );
    expect(await form(store)).toBeUndefined();
    expect(await form(store)).toBeUndefined();
  });

  it('is found out by no request that writes where none may be sent', async () => {
    const store = unknown(() => {
      throw new Error('no PUT was allowed');
    });
    expect(await form(store, false)).toBe('supported');
  });
});
