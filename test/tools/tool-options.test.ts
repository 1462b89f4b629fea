/**
 * Options of the tools: what cannot be what the caller meant is refused, all of it at once, and nothing is looked at, let alone
 * changed. A repair whose limit is misspelt must not run without a limit.
 */
import { describe, expect, it } from 'vitest';
import * as admin from '../../src/admin.ts';
import type { DbError } from '../../src/common/errors.ts';
import { walPath } from '../../src/format/object-names.ts';
import type { Line } from '../support/database.ts';
import { rejection, rowsOf, World } from '../support/database.ts';

// biome-ignore lint/suspicious/noExplicitAny: what plain JavaScript lets through
type Anything = any;
type Call = (line: Line, options: Anything) => Promise<unknown>;

const place = (line: Line) => ({ store: line, path: '' });
const TABLE = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
const REPAIR = 'r-0123456789abcdef01234567';

async function drained(reports: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of reports);
}

/** Every tool, called with the options. */
const TOOLS: Record<string, Call> = {
  compact: (line, o) => admin.compact(place(line), o),
  damageAcknowledge: (line, o) => admin.damageAcknowledge(place(line), 'f-1', 'a note', o),
  damageList: (line, o) => admin.damageList(place(line), o),
  gcOnce: (line, o) => admin.gcOnce(place(line), o),
  manifestDiff: (line, o) => admin.manifestDiff(place(line), 1, 2, o),
  manifestInspect: (line, o) => admin.manifestInspect(place(line), undefined, o),
  manifestList: (line, o) => admin.manifestList(place(line), o),
  manifestRepair: (line, o) => admin.manifestRepair(place(line), o),
  objectList: (line, o) => admin.objectList(place(line), o),
  probe: (line, o) => admin.probe(place(line), o),
  quarantineList: (line, o) => admin.quarantineList(place(line), o),
  quarantineRestore: (line, o) => admin.quarantineRestore(place(line), REPAIR, o),
  repair: (line, o) => admin.repair(place(line), o),
  sstCheck: (line, o) => drained(admin.sstCheck(place(line), o)),
  sstInspect: (line, o) => admin.sstInspect(place(line), TABLE, o),
  sstRepair: (line, o) => admin.sstRepair(place(line), TABLE, o),
  stats: (line, o) => admin.stats(place(line), o),
  treeInspect: (line, o) => admin.treeInspect(place(line), o),
  verify: (line, o) => admin.verify(place(line), o),
  walInspect: (line, o) => drained(admin.walInspect(place(line), o)),
  walRepair: (line, o) => admin.walRepair(place(line), o),
  writerInspect: (line, o) => admin.writerInspect(place(line), o),
};
const REPAIRS = ['manifestRepair', 'quarantineRestore', 'repair', 'sstRepair', 'walRepair'];

/** A log of which an object is gone: a repair would lose a row. */
async function damagedWorld(): Promise<World> {
  const world = new World();
  await world.writeAndCrash(['a', 'b', 'c', 'd']);
  await world.remove(walPath(3));
  return world;
}

/** The refusal; nothing was asked of the store. */
async function refusal(world: World, call: Call, options: Anything): Promise<DbError> {
  const line = world.line();
  const before = await world.versions();
  const error = await rejection(world.run(call(line, options)));
  expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'BAD_OPTION' });
  expect(line.requests).toEqual([]);
  expect(await world.versions()).toEqual(before);
  return error;
}

describe('options of the tools', () => {
  /** Not a call on a database: a function of what it is given. */
  const PURE = ['verdictOf'];

  it('are tested here for every tool that there is', () => {
    const names = Object.entries(admin).filter(
      ([name, f]) => typeof f === 'function' && !name.includes('_') && !PURE.includes(name),
    );
    expect(Object.keys(TOOLS)).toEqual(names.map(([name]) => name).sort());
  });

  describe.each(Object.entries(TOOLS))('of %s', (_, call) => {
    it('are refused at once if they are wrong, as a rejection, with what was probably meant', async () => {
      const error = await refusal(await damagedWorld(), call, {
        timeout_ms: 5,
        sginal: null,
        logger: 'loud',
        zzz: true,
      });
      expect(error.details['faults']).toEqual([
        'timeout_ms is unknown (did you mean timeoutMs?)',
        'sginal is unknown (did you mean signal?)',
        'logger must be an object with debug(), info(), warn(), error(), not "loud"',
        'zzz is unknown',
      ]);
    });

    it.each([
      ['null', null],
      ['an array', []],
      ['a text', 'apply'],
      ['a number', 1],
      ['a function', () => ({})],
      ['a map', new Map([['apply', true]])],
      ['a promise', Promise.resolve({})],
      ['a signal', new AbortController().signal],
    ])('must be an object, not %s', async (_name, options) => {
      await refusal(await damagedWorld(), call, options);
    });

    it('that throw while they are read are refused with the exception as the cause', async () => {
      const cause = new Error('from a getter');
      const options = Object.defineProperty({}, 'signal', {
        enumerable: true,
        get() {
          throw cause;
        },
      });
      expect((await refusal(await damagedWorld(), call, options)).cause).toBe(cause);
    });

    it('are not what an old library has put into the prototype of all objects', async () => {
      const prototype = Object.prototype as Anything;
      const world = await damagedWorld();
      prototype.polluted = () => undefined;
      try {
        const outcome = await world.run(call(world.line(), {}).then(undefined, (error: DbError) => error));
        expect(outcome).not.toMatchObject({ code: 'BAD_OPTION' });
      } finally {
        delete prototype.polluted;
      }
    });
  });

  describe.each(REPAIRS)('of %s', (name) => {
    it.each([
      'false',
      'true',
      '',
      0,
      1,
      null,
      [],
      {},
      { planHash: '' },
      { planHash: true },
      { plan: 'p-1' },
      { planHash: 'p-1', dryRun: true },
      'p-000000000000000000000000',
      () => true,
      new Map(),
    ])('apply is true, false or a plan, not %j', async (apply) => {
      const error = await refusal(await damagedWorld(), TOOLS[name], { apply });
      expect(error.message).toContain('apply');
    });
  });

  it.each([
    { maxLos: { rows: 0 } },
    { max_loss: { rows: 0 } },
    { maxLoss: { row: 0 } },
    { maxLoss: { rows: '0' } },
    { maxLoss: { rows: Number.NaN } },
    { maxLoss: { rows: -1 } },
    { maxLoss: 0 },
    { maxLoss: null },
    { maxLoss: [] },
    { mode: 'dry-run' },
    { dryRun: true },
    { accept: 'none' },
    { onPartialBatch: 'keep' },
    { ifLiveWriter: 'abort' },
    { liveCheckMs: 'x' },
    { liveCheckMs: -1 },
    { plan: 'p-000000000000000000000000' },
  ])('a repair of the log with %j is not applied', async (options) => {
    await refusal(await damagedWorld(), TOOLS['walRepair'], { apply: true, liveCheckMs: 0, ...options });
  });

  it('name the member of a limit that was probably meant', async () => {
    const options = { apply: true, maxLoss: { row: 0 } };
    expect((await refusal(await damagedWorld(), TOOLS['walRepair'], options)).details['faults']).toEqual([
      'maxLoss.row is unknown (did you mean rows?)',
    ]);
  });

  it('are read once: a limit that changes afterwards is the one that was checked', async () => {
    const world = await damagedWorld();
    const maxLoss = { rows: 0 };
    const options = { apply: true, liveCheckMs: 0, maxLoss, clock: world.clock };
    const repair = admin.walRepair(place(world.line()), options);
    maxLoss.rows = 100;
    expect(await rejection(world.run(repair))).toMatchObject({ name: 'WalCorruptionError' });
    expect((await rejection(world.open())).code).toBe('MISSING_OBJECT');
  });

  it('of an iteration that was refused do not make its summary clean', async () => {
    const world = await damagedWorld();
    const check = admin.sstCheck(place(world.line()), { levle: 'refs' } as Anything);
    expect(await rejection(drained(check))).toMatchObject({ code: 'BAD_OPTION' });
    expect(await rejection(check.summary())).toMatchObject({ code: 'BAD_OPTION' });
  });

  it('with the plan of something else change nothing of an open database', async () => {
    const world = new World();
    const db = await world.open();
    for (const key of ['a', 'b', 'c']) await world.run(db.put(key, 'v'));
    await world.remove(walPath(3));
    const planned = await world.run(admin.walRepair(db));
    const before = await world.versions();
    const wrong = world.run(admin.walRepair(db, { apply: { planHash: 'p-other' } }));
    expect(await rejection(wrong)).toMatchObject({ name: 'ConflictError', code: 'PLAN_CHANGED' });
    expect(await world.versions()).toEqual(before);
    await world.run(admin.walRepair(db, { apply: { planHash: planned.planHash! } }));
    expect(await rowsOf(world, await world.open())).toEqual(['a=v', 'b=v', 'c=v']);
  });
});

describe('other arguments of the tools', () => {
  const wrong: Anything[] = [
    undefined,
    null,
    Number.NaN,
    -1,
    1.5,
    1n,
    Symbol('s'),
    '',
    'no such name',
    {},
    [],
    () => 1,
  ];
  const calls: Record<string, [Call, Anything[]]> = {
    'the id of a manifest': [
      (line, id) => admin.manifestInspect(place(line), id),
      [null, Number.NaN, -1, 1.5, 2 ** 60, -1n, 2n ** 60n, '1', Symbol('s'), {}, []],
    ],
    'the name of a table to inspect': [(line, name) => admin.sstInspect(place(line), name), wrong],
    'the name of a table to repair': [(line, name) => admin.sstRepair(place(line), name), wrong],
    'the bytes of a table': [
      (line, bytes) => admin.sstInspect(place(line), { bytes }),
      [undefined, null, 'x', new ArrayBuffer(8), new Uint16Array(4), detached()],
    ],
    'the id of a repair': [(line, repair) => admin.quarantineRestore(place(line), repair), wrong],
    'the id of an entry': [(line, id) => admin.damageAcknowledge(place(line), id, 'note'), wrong],
    'a note': [(line, note) => admin.damageAcknowledge(place(line), 'f-1', note), [undefined, null, 5, '', ' ', {}]],
  };

  it.each(Object.entries(calls))('%s is checked', async (_, [call, values]) => {
    const world = await damagedWorld();
    const before = await world.versions();
    for (const value of values) {
      const error = await rejection(world.run(call(world.line(), value)));
      expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'BAD_ARGUMENT' });
    }
    expect(await world.versions()).toEqual(before);
  });

  it('are refused where bytes of the log are gone', async () => {
    const raw = [{ id: 1n, bytes: detached() }];
    const error = await rejection(drained(admin.walInspect(undefined, { raw })));
    expect(error).toMatchObject({ code: 'BAD_OPTION' });
    expect(error.message).toContain('raw[0].bytes');
  });
});

function detached(): Uint8Array {
  const bytes = new Uint8Array(8);
  structuredClone(bytes, { transfer: [bytes.buffer] });
  return bytes;
}
