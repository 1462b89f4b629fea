/**
 * The compare-and-swap of versions on a store that fails: lost ids, lost answers, other epochs, a boundary that comes later, lists
 * that are wrong. The versions here are JSON: which role has which epoch, and the words that commits have added.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { CorruptionError, FencedError } from '../../../../src/common/errors.ts';
import { ManualClock } from '../../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../../src/common/random.ts';
import { makeUlid } from '../../../../src/common/ulid.ts';
import { findTooHighBoundary } from '../../../../src/lsm/manifest/boundary-file.ts';
import { EpochGuard } from '../../../../src/lsm/manifest/epoch-guard.ts';
import {
  type EpochRule,
  type NextVersion,
  type VersionedForm,
  VersionedLog,
} from '../../../../src/lsm/manifest/versioned-log.ts';
import { FaultyStore } from '../../../../src/store/faulty-store.ts';
import { MemoryStore } from '../../../../src/store/memory-store.ts';
import type { ObjectStore } from '../../../../src/store/object-store.ts';
import { retryingStore } from '../../../../src/store/retrying-store.ts';

interface Value {
  id: number;
  writer: number;
  compactor: number;
  words: string[];
}

const pathOf = (id: number) => `v/${String(id).padStart(4, '0')}`;
const encode = (value: Omit<Value, 'id'>) => new TextEncoder().encode(JSON.stringify(value));

async function listFrom(store: ObjectStore, from: number): Promise<number[]> {
  const ids: number[] = [];
  for await (const { path } of store.list('v/')) if (path >= pathOf(from)) ids.push(Number(path.slice(2)));
  return ids;
}

const FORM: VersionedForm<Value> = {
  noun: 'version',
  plural: 'the versions',
  path: pathOf,
  listIds: (store, from) => listFrom(store, from),
  load: (id, bytes) => ({ ...JSON.parse(new TextDecoder().decode(bytes)), id }),
  read: async (store, id) => {
    const got = await store.get(pathOf(id));
    return got && FORM.load(id, got.bytes);
  },
  readBoundary: async (store) => {
    const got = await store.get('boundary');
    return { exists: got !== undefined, value: got === undefined ? 0 : Number(new TextDecoder().decode(got.bytes)) };
  },
  tooHigh: (store, by, id, boundary) =>
    findTooHighBoundary({ store, clock: by, path: 'boundary', listIds: (from) => listFrom(from, 1) }, id, boundary),
  vanished: (_, id) => new CorruptionError(`version ${id} is gone`, []),
};

let clock: ManualClock;
let memory: MemoryStore;
let faulty: FaultyStore;
let requests: string[];
let random: SeededRandom;
beforeEach(async () => {
  clock = new ManualClock();
  memory = new MemoryStore({ clock });
  faulty = new FaultyStore(memory, { clock });
  requests = [];
  random = new SeededRandom(1);
  await foreign(1, { words: ['begin'] });
});

/** What some other process stores. */
async function foreign(id: number, value: Partial<Value>): Promise<void> {
  const bytes = encode({ writer: 3, compactor: 5, words: [], ...value });
  await memory.put(pathOf(id), bytes, { condition: 'any', putId: makeUlid(clock.nowMs(), random) });
}

const setBoundary = (value: number) =>
  memory.put('boundary', new TextEncoder().encode(String(value)), {
    condition: 'any',
    putId: makeUlid(clock.nowMs(), random),
  });

const stored = async (id: number) => (await FORM.read(memory, id))?.words.join(' ');

function ruleOf(role: 'writer' | 'compactor', own: number): EpochRule<Value> {
  const fenced = (v: Value) =>
    new FencedError(role === 'writer' ? 'WRITER_FENCED' : 'COMPACTOR_FENCED', `${role} epoch ${v[role]}`);
  return { role, own, of: (v) => v[role], fenced };
}

interface Given {
  epoch?: EpochRule<Value>;
  hasBoundary?: boolean;
  /** Whether a retry wrapper below settles lost answers by the put id. */
  proves?: boolean;
}

async function logOf({ epoch, hasBoundary = false, proves = false }: Given = {}) {
  const below: ObjectStore = proves ? retryingStore(faulty, { clock, random, timeoutMs: 1000 }) : faulty;
  const counted = new Proxy(below, {
    get: (target, name) => {
      const member = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]) => {
        requests.push(`${String(name)} ${args[0]}`);
        return Reflect.apply(member, target, args);
      };
    },
  });
  const adopted: number[] = [];
  const log = new VersionedLog<Value>({
    store: counted,
    clock,
    form: FORM,
    guard: new EpochGuard(clock, () => []),
    epoch,
    current: (await FORM.read(memory, 1))!,
    hasBoundary,
    onAdopt: (v) => adopted.push(v.id),
  });
  const add = (word: string) =>
    clock.runUntilSettled(
      log.commit(({ id: _, ...base }): NextVersion | undefined =>
        base.words.includes(word)
          ? undefined
          : { bytes: encode({ ...base, words: [...base.words, word] }), putId: makeUlid(clock.nowMs(), random) },
      ),
    );
  const refresh = () => clock.runUntilSettled(log.refresh());
  return { log, add, refresh, adopted };
}

/** The code of an error of ours. */
async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'none';
  } catch (error) {
    return String((error as { code?: string }).code);
  }
}

describe('a commit', () => {
  it('is one PUT, and none where the newest version says it already', async () => {
    const { log, add } = await logOf();
    await add('a');
    await add('a');
    expect(requests).toEqual(['put v/0002']);
    expect(log.current).toMatchObject({ id: 2, words: ['begin', 'a'] });
  });

  it('that loses its id is made again on top of the newest version', async () => {
    const { log, add, adopted } = await logOf();
    await foreign(2, { words: ['theirs'] });
    await foreign(3, { words: ['theirs', 'again'] });
    await add('mine');
    expect(requests).toEqual(['put v/0002', 'list v/', 'get v/0003', 'put v/0004']);
    expect([await stored(4), log.current.id, adopted]).toEqual(['theirs again mine', 4, [3, 4]]);
  });

  it('that somebody else has made in the meantime writes nothing', async () => {
    const { add } = await logOf();
    await foreign(2, { words: ['a'] });
    await add('a');
    expect(await memory.head(pathOf(3))).toBeUndefined();
  });

  it('waits for the one before it, also if that fails', async () => {
    const { log, add } = await logOf();
    faulty.add({ action: 'fail-before', op: 'put', nth: 1 });
    const both = [codeOf(add('a')), codeOf(add('b'))];
    const [a, b] = await Promise.all(both);
    expect([a === 'none', b]).toEqual([false, 'none']);
    expect(log.current.words).toContain('b');
  });

  it('finds the version that took its id where the list lags', async () => {
    const { log, add } = await logOf();
    await foreign(2, { words: ['theirs'] });
    const ids = FORM.listIds;
    FORM.listIds = async (...args) => (await ids(...args)).filter((id) => id < 2);
    try {
      await add('mine');
    } finally {
      FORM.listIds = ids;
    }
    expect(log.current.words).toEqual(['theirs', 'mine']);
  });
});

describe.each([false, true])('a commit without an answer, with a store that can prove it: %s', (proves) => {
  it('that was applied is settled before anything else, and not made twice', async () => {
    const { log, add } = await logOf({ proves });
    faulty.add({ action: 'apply-then-drop', op: 'put', ...(!proves && { nth: 1 }) });
    expect(await codeOf(add('a'))).toBe('WRITE_OUTCOME_UNKNOWN');
    expect(log.current.id).toBe(1);
    faulty.enabled = false;
    await add('b');
    expect([await stored(2), await stored(3), log.current.id]).toEqual(['begin a', 'begin a b', 3]);
    requests.length = 0;
    await add('c');
    expect(requests).toEqual(['put v/0004']);
  });

  it('that was not applied is stored first, for its outcome may already be relied on', async () => {
    const { log, add } = await logOf({ proves });
    faulty.add({ action: 'status:500', op: 'put', ...(!proves && { nth: 1 }) });
    expect(await codeOf(add('a'))).toBe('WRITE_OUTCOME_UNKNOWN');
    expect(await memory.head(pathOf(2))).toBeUndefined();
    faulty.enabled = false;
    await add('b');
    expect([await stored(2), log.current.words.join(' ')]).toEqual(['begin a', 'begin a b']);
  });

  it('that lost its id is made again by the next call', async () => {
    const { log, add } = await logOf({ proves });
    faulty.add({ action: 'status:500', op: 'put', ...(!proves && { nth: 1 }) });
    expect(await codeOf(add('a'))).toBe('WRITE_OUTCOME_UNKNOWN');
    await foreign(2, { words: ['theirs'] });
    faulty.enabled = false;
    await add('a');
    expect(log.current).toMatchObject({ id: 3, words: ['theirs', 'a'] });
  });

  it('stays bound as long as nobody answers', async () => {
    const { log, add } = await logOf({ proves });
    faulty.add({ action: 'status:500', op: 'put' });
    for (const word of ['a', 'b', 'c']) expect(await codeOf(add(word))).toBe('WRITE_OUTCOME_UNKNOWN');
    expect(new Set(requests.filter((r) => r.startsWith('put')))).toEqual(new Set(['put v/0002']));
    faulty.enabled = false;
    await add('d');
    expect(log.current.words).toEqual(['begin', 'a', 'd']);
  });
});

describe('a role with an epoch', () => {
  const ROLES = [
    ['writer', 3, 'WRITER_FENCED'],
    ['compactor', 5, 'COMPACTOR_FENCED'],
  ] as const;

  it.each(ROLES)('is fenced by a newer epoch: %s, for good', async (role, own, code) => {
    const { log, add, refresh, adopted } = await logOf({ epoch: ruleOf(role, own) });
    await foreign(2, { [role]: own + 1 });
    expect(await codeOf(refresh())).toBe(code);
    requests.length = 0;
    expect([await codeOf(add('a')), await codeOf(refresh())]).toEqual([code, code]);
    expect([requests, adopted, log.current.id]).toEqual([[], [], 1]);
  });

  it.each(ROLES)('is fenced by the version that took its id: %s', async (role, own, code) => {
    const { add } = await logOf({ epoch: ruleOf(role, own) });
    await foreign(2, { [role]: own + 1 });
    expect(await codeOf(add('a'))).toBe(code);
    expect(await memory.head(pathOf(3))).toBeUndefined();
  });

  it.each([
    ['writer', 3, 'compactor'],
    ['compactor', 5, 'writer'],
  ] as const)('is not fenced by the epoch of another role: %s', async (role, own, other) => {
    const { log, add } = await logOf({ epoch: ruleOf(role, own) });
    await foreign(2, { [other]: 9, words: ['theirs'] });
    await add('a');
    expect(log.current).toMatchObject({ id: 3, [other]: 9, words: ['theirs', 'a'] });
  });

  it.each(ROLES)('does not go on from a version of an older epoch: %s', async (role, own) => {
    const { log, add } = await logOf({ epoch: ruleOf(role, own) });
    await foreign(2, { [role]: own - 1 });
    expect(await codeOf(add('a'))).toBe('INVARIANT');
    expect(log.current.id).toBe(1);
  });

  it('must begin with a version of its own', async () => {
    expect(await codeOf(logOf({ epoch: ruleOf('writer', 4) }))).toBe('INVARIANT');
  });
});

it('a role without an epoch goes on whichever process takes over', async () => {
  const { log, add } = await logOf();
  await foreign(2, { writer: 9, compactor: 9 });
  await foreign(3, { writer: 1, compactor: 1, words: ['back'] });
  await add('a');
  expect(log.current.words).toEqual(['back', 'a']);
});

describe('the boundary of a collector', () => {
  it('is read with every commit where one was seen', async () => {
    await setBoundary(0);
    const { add } = await logOf({ hasBoundary: true });
    await add('a');
    await add('b');
    expect(requests).toEqual(['put v/0002', 'get boundary', 'put v/0003', 'get boundary']);
  });

  it('makes a version in an id that was collected void, and the change is made again', async () => {
    const { log, add } = await logOf({ hasBoundary: true });
    // Versions 2 to 4 came and went while this process stood still; all but the newest were collected.
    await foreign(5, { words: ['theirs'] });
    await setBoundary(4);
    await add('a');
    expect([await stored(2), await stored(6)]).toEqual(['begin a', 'theirs a']);
    expect(log.current.id).toBe(6);
  });

  it('that appears later is found within a minute, and read with every commit from then on', async () => {
    const { log, add } = await logOf();
    await clock.advance(30_000);
    await add('a');
    await clock.advance(25_000);
    await log.refresh();
    await foreign(9, { words: ['theirs'] });
    await setBoundary(8);
    await clock.advance(6_000);
    requests.length = 0;
    await add('b');
    expect(requests).toEqual(['put v/0003', 'get boundary', 'list v/', 'get v/0009', 'put v/0010', 'get boundary']);
    expect(log.current).toMatchObject({ id: 10, words: ['theirs', 'b'] });
  });

  it('is looked for by the next commit, and read by every one from then on, once a collector has begun here', async () => {
    const { log, add } = await logOf();
    await add('a');
    log.lookForBoundary();
    await add('b');
    await add('c');
    expect(requests).toEqual(['put v/0002', 'put v/0003', 'get boundary', 'put v/0004']);
    expect(log.hasBoundary).toBe(false);
    await setBoundary(2);
    log.lookForBoundary();
    requests.length = 0;
    await add('d');
    await add('e');
    expect(requests).toEqual(['put v/0005', 'get boundary', 'put v/0006', 'get boundary']);
    expect(log.hasBoundary).toBe(true);
  });

  it('is looked for again where the read fails, or was under way when a collector began', async () => {
    const { log, add } = await logOf();
    log.lookForBoundary();
    faulty.add({ action: 'fail-before', op: 'get', path: 'boundary', nth: 1 });
    await expect(add('a')).rejects.toThrow();
    const read = FORM.readBoundary;
    FORM.readBoundary = async (store) => {
      const answer = await read(store);
      FORM.readBoundary = read;
      log.lookForBoundary();
      return answer;
    };
    await add('b');
    requests.length = 0;
    await add('c');
    await add('d');
    expect(requests.map((r) => r.split(' ')[0])).toEqual(['put', 'get', 'put']);
  });

  it('above the newest version is damage: nothing is acknowledged by what is below it, until it is right again', async () => {
    const { log, add } = await logOf({ hasBoundary: true });
    await setBoundary(999_999);
    expect(await codeOf(add('a'))).toBe('MANIFEST_INCONSISTENT');
    // What was stored has the change already, and must not make it count.
    expect(await codeOf(add('a'))).toBe('MANIFEST_INCONSISTENT');
    expect(await codeOf(add('b'))).toBe('MANIFEST_INCONSISTENT');
    expect(log.current.id).toBe(2);
    await setBoundary(0);
    await add('a');
    await add('b');
    expect([log.current.id, await stored(3)]).toEqual([3, 'begin a b']);
  });

  it('that others have raised above what was listed is none: the change is made again on what they wrote', async () => {
    const { log, add } = await logOf({ hasBoundary: true });
    await setBoundary(4);
    const { tooHigh } = FORM;
    FORM.tooHigh = async (...given) => {
      await foreign(5, { words: ['theirs'] });
      FORM.tooHigh = tooHigh;
      return tooHigh(...given);
    };
    await add('a');
    expect([log.current.id, await stored(6)]).toEqual([6, 'theirs a']);
  });

  it('is asked for once a minute where none is', async () => {
    const { log, add } = await logOf();
    for (const [i, waitMs] of [0, 61_000, 1_000, 58_000, 2_000].entries()) {
      await clock.advance(waitMs);
      await log.refresh();
      await add(`word ${i}`);
    }
    expect(requests.filter((r) => r === 'get boundary').length).toBe(2);
  });
});

describe('what was shown as the newest long ago', () => {
  it('is listed again before a commit counts', async () => {
    const { log, add } = await logOf({ hasBoundary: true });
    await clock.advance(61_000);
    await add('a');
    expect(requests).toEqual(['put v/0002', 'get boundary', 'list v/', 'get v/0002']);
    expect(log.current.id).toBe(2);
  });

  it('does not count where newer versions are listed: without a boundary only the list shows it', async () => {
    const { log, add } = await logOf();
    await foreign(5, { words: ['theirs'] });
    await clock.advance(61_000);
    await add('a');
    expect([await stored(2), await stored(6), log.current.id]).toEqual(['begin a', 'theirs a', 6]);
  });
});

describe('a list that is wrong', () => {
  const showing = async (extra: (ids: number[], look: number) => number[], run: () => Promise<unknown>) => {
    const ids = FORM.listIds;
    let look = 0;
    FORM.listIds = async (...args) => extra(await ids(...args), ++look);
    try {
      return await codeOf(run());
    } finally {
      FORM.listIds = ids;
    }
  };

  it('shows a newest version that was collected a moment ago: it is looked at again at once', async () => {
    const { log, refresh } = await logOf();
    await foreign(3, { words: ['theirs'] });
    expect(await showing((ids, look) => (look === 1 ? [1, 2] : ids), refresh)).toBe('none');
    expect([log.current.id, clock.monotonicMs()]).toEqual([3, 0]);
  });

  it('shows a newest version that is never there: an outage, after four reads', async () => {
    const { log, refresh, add } = await logOf();
    expect(await showing((ids) => [...ids, 7], refresh)).toBe('STORE_DOWN');
    expect(requests.filter((r) => r === 'get v/0007').length).toBe(4);
    expect(log.current.id).toBe(1);
    await add('a');
    expect(log.current.id).toBe(2);
  });

  it('lacks the version in use, which is there: an outage', async () => {
    const { refresh, add, log } = await logOf();
    expect(await showing(() => [], refresh)).toBe('STORE_DOWN');
    await add('a');
    expect(log.current.id).toBe(2);
  });

  it('lacks the version in use, which is gone twice: nothing is served any more', async () => {
    const { refresh, add } = await logOf();
    await memory.delete([pathOf(1)]);
    const first = await codeOf(refresh());
    expect(first).not.toBe('none');
    requests.length = 0;
    await foreign(2, {});
    expect(await codeOf(add('a'))).toBe(first);
    expect(requests).toEqual([]);
  });

  it('lacked the version in use for a moment only: all goes on', async () => {
    const { log, refresh } = await logOf();
    await memory.delete([pathOf(1)]);
    const done = refresh();
    clock.setTimer(500, () => void foreign(1, { words: ['begin'] }));
    expect(await codeOf(done)).toBe('none');
    expect(log.current.id).toBe(1);
  });
});
