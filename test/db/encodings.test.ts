/** Databases whose keys and values are encoded, and their sublevels: what is stored, what comes back, and what is refused. */
import { beforeEach, describe, expect, it } from 'vitest';
import { IDENTITY_PATH } from '../../src/format/object-names.ts';
import { decodeIdentity, encodeIdentity } from '../../src/format/sidecar.ts';
import { type Db, type Encoding, type OpenOptions, open, openReader, type Reads, WriteBatch } from '../../src/index.ts';
import { rejection, text, thrown, World } from '../support/database.ts';

interface User {
  name: string;
  age: number;
}

let world: World;
beforeEach(() => {
  world = new World();
});

const line = () => ({ store: world.line(), path: '' });
const env = () => ({ clock: world.clock, random: world.random(), compactor: false as const });
const run = <T>(promise: Promise<T>) => world.run(promise);

const openUsers = () => run(open<string, User>(line(), { ...env(), keyEncoding: 'utf8', valueEncoding: 'json' }));

const dates: Encoding<Date> = {
  name: 'date-ms',
  encode: (date) => new TextEncoder().encode(String(date.getTime()).padStart(15, '0')),
  decode: (bytes) => new Date(Number(text(bytes))),
};

/** Writes every key and value into the same bytes. */
function reusing(): Encoding<string> {
  const scratch = new Uint8Array(64);
  return {
    name: 'scratch',
    encode: (value) => scratch.subarray(0, new TextEncoder().encodeInto(value, scratch).written),
    decode: (bytes) => new TextDecoder().decode(bytes),
  };
}

describe('a database with encodings', () => {
  it('keeps apart what an encoding writes into the same bytes', async () => {
    const scratch = reusing();
    const db = await run(open(line(), { ...env(), keyEncoding: scratch, valueEncoding: scratch }));
    for (const n of [1, 2, 3]) await run(db.put(`key${n}`, `value ${n}`));
    await run(db.batch().put('key4', 'value 4').put('key5', 'value 5').write());
    expect(await run(db.getMany(['key1', 'key3', 'key5']))).toEqual(['value 1', 'value 3', 'value 5']);
    expect(await run(db.keys({ gte: 'key2', lt: 'key5' }).toArray())).toEqual(['key2', 'key3', 'key4']);
  });

  it('takes and gives what they say, and stores bytes', async () => {
    const db = await openUsers();
    await run(db.put('ada', { name: 'Ada', age: 36 }));
    await run(db.batch().put('bob', { name: 'Bob', age: 7 }).put('x', { name: '', age: 0 }).delete('x').write());
    expect(await run(db.get('ada'))).toEqual({ name: 'Ada', age: 36 });
    expect(await run(db.getMany(['bob', 'none']))).toEqual([{ name: 'Bob', age: 7 }, undefined]);
    expect(await run(db.has('ada'))).toBe(true);
    expect((await run(db.getWithMeta('bob')))?.value.age).toBe(7);
    expect(await run(db.keys().toArray())).toEqual(['ada', 'bob']);
    expect(await run(db.values({ reverse: true }).toArray())).toEqual([
      { name: 'Bob', age: 7 },
      { name: 'Ada', age: 36 },
    ]);
    expect((await run(db.first()))?.key).toBe('ada');
    expect(await run(db.count({ gt: 'ada' }))).toBe(1);
    const page = await run(db.page({}, { size: 1 }));
    expect([page.rows[0].value.name, page.more, page.after]).toEqual(['Ada', true, 'ada']);
    expect(JSON.parse(JSON.stringify(page.rows[0]))).toEqual({ key: 'ada', value: { name: 'Ada', age: 36 }, seq: '1' });
    await run(db.delete('bob'));
    const snapshot = db.snapshot();
    expect(await run(snapshot.get('ada'))).toEqual({ name: 'Ada', age: 36 });
    await run(db.close());
    const raw = await run(openReader(line(), { ...env(), compactor: undefined, encodingCheck: 'ignore' } as never));
    expect(text(await run((raw as Reads).get('ada')))).toBe('{"name":"Ada","age":36}');
  });

  it('goes through its rows with loops, batches, seeks and cursors', async () => {
    const db = await run(open(line(), { ...env(), keyEncoding: 'tuple', valueEncoding: 'utf8' }));
    for (const key of [['a', 1], ['a', 2], ['a', 10], ['b'], ['b', -1]])
      await run(db.put(key as [string, number], String(key)));
    const keys = (options: object) => run(db.keys(options).toArray());
    expect(await keys({})).toEqual([['a', 1], ['a', 2], ['a', 10], ['b'], ['b', -1]]);
    expect(await keys({ prefix: ['a'] })).toEqual([
      ['a', 1],
      ['a', 2],
      ['a', 10],
    ]);
    expect(await keys({ prefix: ['a'], after: ['a', 2] })).toEqual([['a', 10]]);
    expect(await keys({ lte: ['b'], reverse: true, limit: 2 })).toEqual([['b'], ['a', 10]]);
    expect(await keys({ prefix: [] })).toHaveLength(5);
    const scan = db.scan();
    await run(scan.seek(['a', 3]));
    expect((await run(scan.next())).value?.value).toBe('a,10');
    expect((await run(scan.nextBatch(9))).map((row) => row.key)).toEqual([['b'], ['b', -1]]);
  });

  it('reads the same with a reader, and with an encoding of its own', async () => {
    const db = await run(open(line(), { ...env(), keyEncoding: dates }));
    const day = new Date(86_400_000);
    await run(db.put(day, 'x'));
    await run(db.put(new Date(0), 'y'));
    expect(await run(db.keys().toArray())).toEqual([new Date(0), day]);
    await run(db.close());
    const reader = await run(openReader(line(), { clock: world.clock, random: world.random(), keyEncoding: dates }));
    expect(text(await run(reader.get(day)))).toBe('x');
    expect((await rejection(run(reader.keys({ prefix: day }).toArray()))).message).toContain('encodePrefix');
    await run(reader.refresh());
    await run(reader.close());
  });

  it('waits for a recovery with encoded calls', async () => {
    const first = await openUsers();
    await run(first.put('ada', { name: 'Ada', age: 1 }));
    const opening = { ...env(), keyEncoding: 'utf8' as const, valueEncoding: 'json' as const, walAutoRecovery: true };
    const db = await run(open<string, User>(line(), opening));
    const user = { name: 'Bob', age: 2 };
    const calls = [db.get('ada'), db.put('bob', user), db.get('bob'), db.keys().toArray()];
    user.age = 3;
    expect(await run(Promise.all(calls))).toEqual([
      { name: 'Ada', age: 1 },
      { seq: 2n },
      { name: 'Bob', age: 2 },
      ['ada', 'bob'],
    ]);
  });

  it('folds operands in their encoding', async () => {
    const sum = {
      merge: (_key: Uint8Array, a: Uint8Array | undefined, b: Uint8Array) =>
        new TextEncoder().encode(String(Number(a === undefined ? 0 : text(a)) + Number(text(b)))),
    };
    const db = await run(
      open<string, number>(line(), { ...env(), mergeOperator: sum, keyEncoding: 'utf8', valueEncoding: 'json' }),
    );
    await run(db.merge('n', 3));
    await run(db.batch().merge('n', 4).write());
    expect(await run(db.get('n'))).toBe(7);
  });
});

describe('what an encoding cannot carry', () => {
  const cyclic: { self?: unknown } = {};
  cyclic.self = cyclic;
  const BAD: [string, unknown, string][] = [
    ['a bigint', 1n, 'BigInt'],
    ['a cycle', cyclic, 'circular'],
    ['undefined', undefined, 'undefined'],
    ['a function', () => 1, 'function'],
    ['NaN', Number.NaN, 'NaN'],
  ];

  it.each(BAD)('%s is refused by json, and nothing is written', async (_, value, said) => {
    const db = await run(open(line(), { ...env(), keyEncoding: 'utf8', valueEncoding: 'json' }));
    const error = await rejection(run(db.put('the key', value)));
    expect([error.kind, error.code]).toEqual(['invalid', 'NOT_ENCODABLE']);
    expect(error.message).toContain('the key "the key" does not fit the value encoding json');
    expect(error.message).toContain(said);
    const batch = db.batch();
    expect(thrown(() => batch.put('k', value)).code).toBe('NOT_ENCODABLE');
    expect(batch.length).toBe(0);
    expect(await run(db.count())).toBe(0);
    await run(db.put('k', 1));
  });

  it.each<[string, unknown, string]>([
    ['no array', 'a', 'a tuple is an array'],
    ['an object in it', ['a', {}], 'element 1 is an object'],
    ['undefined in it', [undefined], 'element 0 is undefined'],
    ['a bigint in it', [1n], 'element 0 is 1n'],
    ['NaN in it', ['a', Number.NaN], 'element 1 is NaN'],
    ['a lone surrogate in it', ['\ud800'], 'lone surrogate'],
    ['a tuple in it', [['a']], 'element 0 is an array'],
  ])('a tuple key that is or has %s is refused by every call', async (_, key, said) => {
    const db = (await run(open(line(), { ...env(), keyEncoding: 'tuple' }))) as unknown as Db<never>;
    const bad = key as never;
    const calls = [
      () => db.put(bad, 'x'),
      () => db.get(bad),
      () => db.has(bad),
      () => db.delete(bad),
      () => db.getWithMeta(bad),
      () => db.getMany([bad]),
      () => db.scan({ gte: bad }).toArray(),
      () => db.keys({ prefix: bad }).toArray(),
      () => db.count({ lt: bad }),
      () => db.page({ after: bad }, { size: 1 }),
      () => db.deleteRange({ gte: bad }),
      () => db.estimateSize({ gt: bad }),
      () => db.scan().seek(bad),
    ];
    for (const call of calls) {
      const error = await rejection(run(call() as Promise<unknown>));
      expect([error.kind, error.code, error.message]).toEqual([
        'invalid',
        'NOT_ENCODABLE',
        expect.stringContaining(said),
      ]);
    }
  });

  it('keys that are empty or too long are refused', async () => {
    const db = await run(open(line(), { ...env(), keyEncoding: 'tuple' }));
    expect((await rejection(run(db.put([], 'x')))).message).toContain('empty');
    expect((await rejection(run(db.put(['a'.repeat(70_000)], 'x')))).code).toBe('KEY_TOO_LARGE');
    expect((await rejection(run(db.put([new Uint8Array(65_000)], 'x')))).code).toBe('KEY_TOO_LARGE');
    const text8 = await run(open({ store: new World().line(), path: '' }, { ...env(), keyEncoding: 'utf8' }));
    expect((await rejection(run(text8.put('', 'x')))).message).toContain('empty');
    expect((await rejection(run(text8.put(new Uint8Array(1) as never, 'x')))).message).toContain('not a string');
  });

  it('an encoding that throws, promises or gives no bytes fails its call alone', async () => {
    let encode: (value: unknown) => unknown = () => {
      throw new Error('cannot');
    };
    const odd = { name: 'odd', encode: (v: unknown) => encode(v) as Uint8Array, decode: (b: Uint8Array) => b };
    const db = await run(open(line(), { ...env(), valueEncoding: odd }));
    expect((await rejection(run(db.put('k', 1)))).message).toContain('Error: cannot');
    encode = async () => Promise.reject(new Error('late'));
    expect((await rejection(run(db.put('k', 1)))).message).toContain('it must answer at once');
    encode = () => 'text';
    expect((await rejection(run(db.put('k', 1)))).message).toContain('returned "text", not a Uint8Array');
    encode = () => new Uint8Array([1]);
    await run(db.put('k', 1));
    expect(await run(db.get('k'))).toEqual(new Uint8Array([1]));
  });
});

describe('stored bytes that an encoding cannot read', () => {
  it('fail the call that reads them, as no damage, and the rows around them are read', async () => {
    const raw = await run(open(line(), env()));
    for (const [key, value] of [
      ['a', '1'],
      ['b', '{'],
      ['c', '3'],
    ])
      await run(raw.put(key, value));
    await run(raw.put(new Uint8Array([0x64, 0x80]), '4'));
    await run(raw.close());
    const db = await run(
      open<string, number>(line(), { ...env(), keyEncoding: 'utf8', valueEncoding: 'json', encodingCheck: 'replace' }),
    );
    const error = await rejection(run(db.get('b')));
    expect([error.kind, error.code]).toEqual(['incompatible', 'NOT_DECODABLE']);
    expect(error.message).toContain('The value of the key "b" is intact, but the value encoding json cannot read it');
    expect((await rejection(run(db.getWithMeta('b')))).code).toBe('NOT_DECODABLE');
    expect((await rejection(run(db.getMany(['a', 'b'])))).code).toBe('NOT_DECODABLE');
    const scan = db.scan();
    expect((await run(scan.nextBatch(9))).map((row) => row.value)).toEqual([1]);
    expect((await rejection(run(scan.nextBatch(9)))).code).toBe('NOT_DECODABLE');
    expect((await run(scan.nextBatch(9))).map((row) => row.value)).toEqual([3]);
    expect((await rejection(run(scan.next()))).message).toContain(
      'The key 0x6480 is intact, but the key encoding utf8',
    );
    expect((await run(scan.next())).done).toBe(true);
    expect(await run(db.count())).toBe(4);
    expect(db.corruptions().findings).toEqual([]);
  });
});

describe('the encodings that a database remembers', () => {
  const opening = (options: object) => run(open(line(), { ...env(), ...options } as OpenOptions));
  const reading = (options: object) =>
    run(openReader(line(), { clock: world.clock, random: world.random(), ...options }));
  const noted = async () => decodeIdentity(await world.bytes(IDENTITY_PATH)).encodings;

  it('refuse others, with both names, and change nothing', async () => {
    await run((await openUsers()).close());
    expect(await noted()).toEqual({ key: 'utf8', value: 'json' });
    const before = await world.versions();
    const others = [{}, { keyEncoding: 'utf8' }, { keyEncoding: 'utf8', valueEncoding: dates }];
    for (const options of others) {
      for (const open of [opening, reading]) {
        const error = await rejection(open(options));
        expect([error.kind, error.code]).toEqual(['incompatible', 'ENCODING_MISMATCH']);
        expect(error.message).toContain('was created with keyEncoding utf8 and valueEncoding json, this opening has');
      }
    }
    expect(await world.versions()).toEqual(before);
    await run((await openUsers()).close());
    await run((await reading({ keyEncoding: 'utf8', valueEncoding: 'json' })).close());
  });

  it('can be passed over, and replaced', async () => {
    await run((await openUsers()).close());
    await run((await opening({ encodingCheck: 'ignore' })).close());
    await run((await reading({ encodingCheck: 'ignore' })).close());
    expect(await noted()).toEqual({ key: 'utf8', value: 'json' });
    await run((await opening({ keyEncoding: 'utf8', encodingCheck: 'replace' })).close());
    expect(await noted()).toEqual({ key: 'utf8', value: 'bytes' });
    expect((await rejection(opening({}))).code).toBe('ENCODING_MISMATCH');
    expect((await rejection(reading({ encodingCheck: 'replace' }))).code).toBe('BAD_OPTION');
  });

  it('are bytes of a new database without any', async () => {
    await run((await opening({})).close());
    expect(await noted()).toEqual({ key: 'bytes', value: 'bytes' });
    expect((await rejection(opening({ valueEncoding: 'json' }))).code).toBe('ENCODING_MISMATCH');
  });

  it('are noted by the first opening that has any where an older version noted none', async () => {
    await run((await opening({})).close());
    const { encodings: _, ...older } = decodeIdentity(await world.bytes(IDENTITY_PATH));
    await world.replace(IDENTITY_PATH, encodeIdentity(older));
    await run((await opening({})).close());
    expect(await noted()).toBeUndefined();
    await run((await openUsers()).close());
    expect(await noted()).toEqual({ key: 'utf8', value: 'json' });
    const now = decodeIdentity(await world.bytes(IDENTITY_PATH));
    expect([now.databaseId, now.createdAtMs]).toEqual([older.databaseId, older.createdAtMs]);
  });

  it.each<[string, object, string]>([
    ['an unknown name', { keyEncoding: 'utf-8' }, 'keyEncoding must be one of bytes, utf8, json, tuple'],
    ['a number', { valueEncoding: 7 }, 'name, encode, decode'],
    ['no decode', { valueEncoding: { name: 'x', encode: () => 1 } }, 'valueEncoding.decode must be a function'],
    ['a built-in name', { keyEncoding: { ...dates, name: 'utf8' } }, 'built-in'],
    ['a name with spaces', { keyEncoding: { ...dates, name: 'a b' } }, 'keyEncoding.name'],
    ['an unknown check', { encodingCheck: 'no' }, 'encodingCheck must be one of'],
  ])('%s is refused', async (_, options, said) => {
    for (const call of [opening, reading]) {
      const error = await rejection(call(options));
      expect([error.code, error.message]).toEqual(['BAD_OPTION', expect.stringContaining(said)]);
    }
  });
});

describe('sublevels', () => {
  it('have rows and encodings of their own, on databases, readers and snapshots', async () => {
    const db = await run(open(line(), env()));
    const users = db.sublevel<string, User>('users', { keyEncoding: 'utf8', valueEncoding: 'json' });
    const byAge = db.sublevel('by-age', { keyEncoding: 'tuple', valueEncoding: 'utf8' });
    await run(users.put('ada', { name: 'Ada', age: 36 }));
    await run(db.put('ada', 'of the database'));
    await run(byAge.put([36, 'ada'], ''));
    expect(await run(users.get('ada'))).toEqual({ name: 'Ada', age: 36 });
    expect(await run(users.keys().toArray())).toEqual(['ada']);
    expect(await run(byAge.keys({ prefix: [36] }).toArray())).toEqual([[36, 'ada']]);
    expect(await run(byAge.count())).toBe(1);
    expect(await run(db.count())).toBe(3);
    expect((await run(db.keys().toArray()))[2]).toEqual(
      new Uint8Array([0xff, ...new TextEncoder().encode('users'), 0, 0x61, 0x64, 0x61]),
    );
    const snapshot = db.snapshot();
    await run(users.clear());
    expect(await run(users.count())).toBe(0);
    expect(await run(db.count())).toBe(2);
    const seen = snapshot.sublevel<string, User>('users', { keyEncoding: 'utf8', valueEncoding: 'json' });
    expect(await run(seen.get('ada'))).toEqual({ name: 'Ada', age: 36 });
    await run(db.close());
    const reader = await run(openReader(line(), { clock: world.clock, random: world.random() }));
    expect(await run(reader.sublevel('by-age', { keyEncoding: 'tuple' }).keys().toArray())).toEqual([[36, 'ada']]);
  });

  it('are not seen by a database whose keys are text, tuples or JSON', async () => {
    for (const keyEncoding of ['utf8', 'tuple', 'json'] as const) {
      const db = (await run(
        open({ store: new World().line(), path: '' }, { ...env(), keyEncoding }),
      )) as unknown as Db<never>;
      const key = (keyEncoding === 'utf8' ? '\u{10ffff}' : ['z']) as never;
      await run(db.put(key, '1'));
      await run(db.sublevel('s', { keyEncoding: 'bytes' }).put(new Uint8Array([0xff, 0xff]), '2'));
      const inner = db.sublevel('s').sublevel('t', { keyEncoding: 'bytes' });
      await run(inner.put('x', '3'));
      expect(inner.name).toBe('s/t');
      expect(await run(db.keys().toArray())).toEqual([key]);
      expect((await run(db.last()))?.key).toEqual(key);
      expect(await run(db.sublevel('s').count())).toBe(0);
      await run(db.clear());
      expect(await run(db.count())).toBe(0);
      expect(await run(inner.count())).toBe(1);
      expect(await run(db.sublevel('s', { keyEncoding: 'bytes' }).count())).toBe(2);
    }
  });

  it('take what the level above has, where nothing else is said', async () => {
    const db = await openUsers();
    await run(db.sublevel('other').put('bob', { name: 'Bob', age: 1 }));
    expect(await run(db.sublevel('other', { valueEncoding: 'utf8' }).get('bob'))).toBe('{"name":"Bob","age":1}');
  });

  it('are written in one batch with others, whole', async () => {
    const db = await openUsers();
    const index = db.sublevel('index', { keyEncoding: 'tuple', valueEncoding: 'utf8' });
    const batch = db
      .batch()
      .put('ada', { name: 'Ada', age: 36 })
      .put([36, 'ada'], 'x', { sublevel: index, ttlMs: 1000 });
    expect([batch.length, batch.byteLength > 0]).toEqual([2, true]);
    const { seq } = await run(batch.write());
    const row = await run(index.first());
    expect([row?.key, row?.seq, row?.expireTs !== undefined]).toEqual([[36, 'ada'], seq, true]);
    await run(
      index
        .batch()
        .delete([36, 'ada'])
        .delete('ada', { sublevel: db as never })
        .write(),
    );
    expect([await run(index.count()), await run(db.count())]).toEqual([0, 0]);
    batch.clear();
    expect(batch.length).toBe(0);
    const other = (await run(open({ store: new World().line(), path: '' }, env()))).sublevel('index');
    for (const sublevel of [other, {}, 'index']) {
      expect(thrown(() => batch.put('k' as never, 'v' as never, { sublevel } as never)).message).toContain(
        'of the same database',
      );
    }
    expect(thrown(() => batch.delete('k', { ttlMs: 1 } as never)).code).toBe('BAD_OPTION');
    expect(batch.length).toBe(0);
  });

  it('are written under conditions, and touched', async () => {
    const db = await openUsers();
    const level = db.sublevel('level', { keyEncoding: 'tuple', valueEncoding: 'utf8' });
    const { seq } = await run(level.put(['a'], 'one', { ifAbsent: true }));
    expect((await rejection(run(level.put(['a'], 'two', { ifAbsent: true })))).kind).toBe('conflict');
    await run(level.put(['a'], 'two', { ifSeq: seq }));
    const batch = db.batch().put(['a'], 'three', { sublevel: level, ifSeq: seq }).put('ada', { name: 'Ada', age: 1 });
    expect((await rejection(run(batch.write()))).kind).toBe('conflict');
    expect(await run(db.count())).toBe(0);
    expect(await run(level.touch(['a'], { ttlMs: 1000 }))).toBeDefined();
    expect((await run(level.first()))?.expireTs).toBeDefined();
    expect(await run(level.touch(['b'], { ttlMs: 1000 }))).toBeUndefined();
    expect((await rejection(run(level.touch(7 as never, { ttlMs: 1000 })))).code).toBe('NOT_ENCODABLE');
  });

  it('keep bytes of plain batches as they are', async () => {
    const db = await openUsers();
    await run(db.write(new WriteBatch().put('raw', '{"name":"R","age":0}')));
    expect((await run(db.get('raw')))?.name).toBe('R');
  });

  it.each([
    ['a slash', 'a/b'],
    ['a zero', 'a\0b'],
    ['a line', 'a\nb'],
    ['nothing', ''],
    ['too much', 'a'.repeat(201)],
    ['half a surrogate', '\ud800'],
    ['a number', 7 as never],
  ])('a name with %s is refused', async (_, name) => {
    const db = await run(open(line(), env()));
    for (const of of [db, db.snapshot(), db.sublevel('a')] as Db[]) {
      expect(thrown(() => of.sublevel(name)).code).toBe('BAD_ARGUMENT');
    }
    expect(thrown(() => db.sublevel('a', { keyEncoding: 'x' as never })).code).toBe('BAD_OPTION');
    expect(thrown(() => db.sublevel('a', { encodingCheck: 'ignore' } as never)).code).toBe('BAD_OPTION');
  });

  it('deleteRange of one needs a bound, and keeps to it', async () => {
    const db = await run(open(line(), env()));
    const one = db.sublevel('one');
    const two = db.sublevel('two');
    for (const level of [one, two]) for (const key of ['a', 'b']) await run(level.put(key, key));
    expect((await rejection(run(one.deleteRange({})))).code).toBe('BAD_ARGUMENT');
    expect((await run(one.deleteRange({ gte: 'b' }))).deleted).toBe(1);
    expect((await run(one.keys().toArray())).map((key) => text(key))).toEqual(['a']);
    expect(await run(two.count())).toBe(2);
    expect((await run(two.estimateSize())).rows).toBeGreaterThanOrEqual(0);
  });
});
