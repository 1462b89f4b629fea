/**
 * Whatever a caller passes to whatever is exported: the answer is a result or a typed error of this package, in bounded time, and a
 * call that is refused has changed nothing.
 *
 * The functions are found in the entries, the methods in the prototypes of what they give, so that a new one is covered without
 * being named here. Every value is tried in every place.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as admin from '../../src/admin.ts';
import { isDbError } from '../../src/common/errors.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import type { Db } from '../../src/db/db.ts';
import type { Reader } from '../../src/db/reader.ts';
import * as main from '../../src/index.ts';
import * as s3 from '../../src/s3.ts';
import * as testing from '../../src/testing.ts';
import { text } from '../support/database.ts';
import { falseBytes, goneBytes, noBytes } from '../support/odd-bytes.ts';

// biome-ignore lint/suspicious/noExplicitAny: what plain JavaScript lets through
type Anything = any;

const trap = () => {
  throw new Error('a trap');
};
const revoked = Proxy.revocable({}, {});
revoked.revoke();
const cyclic: Anything[] = [];
cyclic.push(cyclic);

const ODD: Record<string, Anything> = {
  ...Object.fromEntries(Object.entries(goneBytes(8)).map(([name, bytes]) => [`bytes ${name}`, bytes])),
  'bytes whose length is too long': falseBytes([1, 2, 3, 4])['of a class with the length 1004'],
  'bytes whose length throws': falseBytes([1, 2, 3, 4])['that has a length that throws'],
  'bytes whose buffer is none': falseBytes([1, 2, 3, 4])['that has the buffer undefined'],
  ...noBytes(),
  NaN: Number.NaN,
  '0': 0,
  '-1': -1,
  'a fraction': 0.5,
  Infinity: Number.POSITIVE_INFINITY,
  'a number beyond 2^53': 2 ** 60,
  'a bigint': 1n,
  'a negative bigint': -1n,
  'a long bigint': 10n ** 400n,
  'a symbol': Symbol('s'),
  true: true,
  'a function': () => {},
  'an async function': async () => {},
  'a class': class {},
  'a date': new Date(Number.NaN),
  'a regular expression': /x/,
  'a map': new Map([['apply', true]]),
  'a set': new Set(),
  'an empty array': [],
  'a nested array': [[]],
  'an array in itself': cyclic,
  'an array longer than memory': new Array(2 ** 32 - 1),
  'an empty text': '',
  'a text that is no key': 'k'.repeat(70_000),
  'half a surrogate': '\ud800',
  'a path out of the folder': '../../x',
  'a text with a zero': 'a\0b',
  'an empty object': {},
  'an object without prototype': Object.create(null),
  'an object with an unknown member': { zzz: 1 },
  'a frozen object': Object.freeze({ signal: {} }),
  'a promise': Promise.resolve('x'),
  'an error': new Error('x'),
  'a Number object': new Number(3),
  'a signal': new AbortController().signal,
  'an iterator that throws': { [Symbol.iterator]: trap, [Symbol.asyncIterator]: trap },
  'an object whose text throws': { toString: trap, valueOf: trap, toJSON: trap },
  'a revoked proxy': revoked.proxy,
  'a proxy of traps': new Proxy({}, { get: trap, ownKeys: trap, has: trap, getPrototypeOf: trap }),
};

/** Options of several calls, which get a few odd values each. */
const OPTIONS = [
  ...[
    'signal',
    'logger',
    'clock',
    'random',
    'timeoutMs',
    'owner',
    'apply',
    'maxLoss',
    'mode',
    'level',
    'rows',
    'raw',
    'sources',
  ],
  ...[
    'ttlMs',
    'awaitDurable',
    'gte',
    'prefix',
    'limit',
    'reverse',
    'durabilityFilter',
    'type',
    'memoryBytes',
    'mergeOperator',
  ],
  ...[
    'cache',
    'onEvent',
    'store',
    'path',
    'walStore',
    'bucket',
    'endpoint',
    'capacityBytes',
    'latencyMs',
    'rules',
    'ifMatch',
  ],
];
const VALUES_PER_OPTION = 6;
/** Such a wait is one without end. */
const MAX_CALL_MS = 30_000;

interface Subject {
  name: string;
  call: (...args: Anything[]) => unknown;
}

/** Error classes are made by this package and by stores, always with a code and a message. */
function functionsOf(entry: object): Subject[] {
  return Object.entries(entry)
    .filter(([name, f]) => typeof f === 'function' && !(f.prototype instanceof Error) && !name.includes('_'))
    .map(([name, f]) => {
      const isClass = /^class\b/.test(Function.prototype.toString.call(f));
      return { name, call: (...args) => (isClass ? new f(...args) : f(...args)) };
    });
}

/** Calls that end what the other calls need. */
const ENDING = new Set(['constructor', 'close', 'return']);
/** Of a batch, for the writer: not documented, and of no use to others. */
const INTERNAL = new Set(['offerArena', 'forEachRow', 'folded']);

function methodsOf(name: string, subject: Anything, make: () => Anything = () => subject): Subject[] {
  const names = new Set<string>();
  for (let p = Object.getPrototypeOf(subject); p !== Object.prototype; p = Object.getPrototypeOf(p)) {
    for (const [n, { value }] of Object.entries(Object.getOwnPropertyDescriptors(p)))
      if (typeof value === 'function' && !ENDING.has(n) && !INTERNAL.has(n)) names.add(n);
  }
  return [...names].map((n) => ({ name: `${name}.${n}`, call: (...args) => make()[n](...args) }));
}

const store = new main.MemoryStore();
let db: Db;
let reader: Reader;
/** Where tools and openings are sent: another database of the same store. */
const location = { store, path: 'other' };
const quiet = { logger: SILENT_LOGGER };

beforeAll(async () => {
  const mergeOperator = { merge: (_: Uint8Array, __: Uint8Array | undefined, operand: Uint8Array) => operand };
  db = await main.open({ store, path: 'db' }, { ...quiet, mergeOperator, closeTimeoutMs: 5000 });
  await db.put('a', '1');
  await db.flush({ type: 'memtable' });
  await db.put('b', '2');
  reader = await main.openReader({ store, path: 'db' }, { ...quiet, mergeOperator });
  const other = await main.open(location, quiet);
  await other.put('a', '1');
  await other.close();
});

afterAll(async () => {
  await reader.close();
  await db.close();
});

interface Call {
  described: string;
  run: () => unknown;
}

function* callsOf({ name, call }: Subject): Generator<Call> {
  const form = (described: string, args: (x: Anything) => Anything[]) => ({ described, args });
  const forms = [
    form('x', (x) => [x]),
    form('key, x', (x) => ['key', x]),
    form('key, value, x', (x) => ['key', 'value', x]),
    form('location, x', (x) => [location, x]),
    form('location, undefined, x', (x) => [location, undefined, x]),
    form('location, name, x', (x) => [location, '01ARZ3NDEKTSV4RRFFQ69G5FAV', x]),
    form('location, name, note, x', (x) => [location, 'f-1', 'note', x]),
    form('x, x, x', (x) => [x, x, x]),
  ];
  const values = Object.entries(ODD);
  for (const { described, args } of forms) {
    for (const [what, x] of values)
      yield { described: `${name}(${described}), x: ${what}`, run: () => call(...args(x)) };
  }
  for (const [i, option] of OPTIONS.entries()) {
    for (let k = 0; k < VALUES_PER_OPTION; k++) {
      const [what, x] = values[(i * 7 + k * 11) % values.length];
      const described = `${option}: ${what}`;
      yield { described: `${name}({ ${described} })`, run: () => call({ [option]: x }) };
      yield { described: `${name}(location, { ${described} })`, run: () => call(location, { [option]: x }) };
    }
  }
}

/** Uses up and closes what a call gave. */
async function used(result: Anything): Promise<void> {
  if (typeof result?.[Symbol.asyncIterator] === 'function') {
    let left = 100;
    for await (const _ of result) if (left-- === 0) break;
  }
  if (typeof result?.summary === 'function') await result.summary();
  if (result !== db && result !== reader && typeof result?.close === 'function') await result.close();
}

/** What a call ended with; undefined if it was answered. */
async function failure(run: () => unknown): Promise<{ error: unknown } | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<{ error: unknown }>((resolve) => {
    timer = setTimeout(() => resolve({ error: new Error('it never ends') }), MAX_CALL_MS);
  });
  const done = (async () => used(await run()))().then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  try {
    return await Promise.race([done, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What a refused call must leave alone: rows and numbers of the open database, the bytes of the other one. */
async function state(): Promise<string> {
  const rows: string[] = [];
  const snapshot = db.snapshot();
  for await (const { key, value, seq } of snapshot.scan()) rows.push(`${text(key)}=${text(value)}@${seq}`);
  await snapshot.close();
  const objects: string[] = [];
  for await (const { path, etag } of store.list('other/')) objects.push(`${path} ${etag}`);
  return [snapshot.seq, ...rows, ...objects].join('\n');
}

async function faultsOf(subject: Subject): Promise<string[]> {
  const faults: string[] = [];
  let before = await state();
  for (const { described, run } of callsOf(subject)) {
    const failed = await failure(run);
    if (failed !== undefined && !isDbError(failed.error)) faults.push(`${described}: ${describeFailure(failed.error)}`);
    const after = await state();
    if (failed !== undefined && after !== before) faults.push(`${described} was refused and changed something`);
    before = after;
  }
  return faults;
}

function describeFailure(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message.slice(0, 100)}` : typeof error;
}

const FUNCTIONS = [main, admin, s3, testing].flatMap(functionsOf);

describe('odd arguments', () => {
  it.each(FUNCTIONS.map((f) => [f.name, f] as const))('%s answers or refuses', async (_, subject) => {
    expect(await faultsOf(subject)).toEqual([]);
  });

  it.each(['db', 'reader', 'snapshot', 'scan', 'batch'])('every method of %s answers or refuses', async (name) => {
    const snapshot = db.snapshot();
    const subjects = {
      db: () => methodsOf('db', db),
      reader: () => methodsOf('reader', reader),
      snapshot: () => methodsOf('snapshot', snapshot),
      scan: () => methodsOf('scan', db.scan(), () => db.scan()),
      batch: () => methodsOf('batch', new main.WriteBatch(), () => new main.WriteBatch()),
    }[name] as () => Subject[];
    const faults: string[] = [];
    for (const subject of subjects()) faults.push(...(await faultsOf(subject)));
    await snapshot.close();
    expect(faults).toEqual([]);
  });

  it('have left a database that goes on', async () => {
    await db.put('last', '1');
    expect(text(await db.get('last'))).toBe('1');
    await db.flush({ type: 'memtable' });
  });
});
