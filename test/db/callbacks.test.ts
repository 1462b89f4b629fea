/** Functions of the caller that throw, reject or answer nonsense: they fail alone. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { walPath } from '../../src/format/object-names.ts';
import type { Logger, MergeOperator } from '../../src/index.ts';
import { verify } from '../../src/tools/verify.ts';
import { rejection, rowsOf, text, World } from '../support/database.ts';

const boom = () => {
  throw new Error('write after end');
};
const reject = () => Promise.reject(new Error('a promise that nobody awaits'));
const LOGGERS: [string, Logger][] = [
  ['throws', { debug: boom, info: boom, warn: boom, error: boom }],
  ['rejects', { debug: reject, info: reject, warn: reject, error: reject }],
];

const unhandled: unknown[] = [];
const onUnhandled = (reason: unknown) => void unhandled.push(reason);
const turns = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

beforeEach(() => {
  unhandled.length = 0;
  process.on('unhandledRejection', onUnhandled);
});
afterEach(async () => {
  await turns();
  process.removeListener('unhandledRejection', onUnhandled);
  expect(unhandled).toEqual([]);
});

describe.each(LOGGERS)('a logger that %s', (_, logger) => {
  const lines: string[] = [];
  beforeEach(() => {
    lines.length = 0;
    vi.spyOn(process.stderr, 'write').mockImplementation((line) => lines.push(String(line)) > 0);
  });
  afterEach(() => void vi.restoreAllMocks());

  it('does not end the database in an outage, and is reported once on stderr', async () => {
    const world = new World();
    const db = await world.open({ logger, timeoutMs: 800 });
    world.faults.add({ action: 'fail-before', op: 'put' });
    expect(await world.run(rejection(db.put('a', '1')))).toMatchObject({ kind: 'unavailable' });
    world.faults.clear();
    await world.run(db.put('b', '2'));
    expect(await rowsOf(world, db)).toEqual(['a=1', 'b=2']);
    await world.run(db.close());
    await turns();
    expect(lines.filter((line) => line.includes('the logger threw'))).toHaveLength(1);
  });

  it('does not end the database when there are eight tables', async () => {
    const world = new World();
    const db = await world.open({ logger });
    for (let t = 0; t < 9; t++) {
      await world.run(db.put(`k${t}`, 'v'));
      await world.run(db.flush({ type: 'memtable' }));
    }
    await world.run(db.put('later', 'v'));
    await world.run(db.close());
  });

  it('does not end an opening or a tool over a damaged log', async () => {
    const world = new World();
    await world.writeAndCrash(['a', 'b']);
    const bytes = await world.bytes(walPath(3));
    bytes[5] ^= 1;
    await world.replace(walPath(3), bytes);
    expect(await rowsOf(world, await world.openReader({ logger, allowPrefix: true }))).toEqual(['a=value of a']);
    const { clock } = world;
    const report = await world.run(verify({ store: world.memory, path: '' }, { logger, clock }));
    expect(report.verdict).toBe('corrupt');
  });
});

describe('listeners that reject', () => {
  it('end nothing and are no unhandled rejections', async () => {
    const world = new World();
    await world.writeAndCrash(['a', 'b']);
    const bytes = await world.bytes(walPath(3));
    bytes[5] ^= 1;
    await world.replace(walPath(3), bytes);
    const onEvent = reject as unknown as () => void;
    expect(await rowsOf(world, await world.openReader({ onEvent, allowPrefix: true }))).toEqual(['a=value of a']);
    await turns();
    expect(world.log).toContainEqual(expect.objectContaining({ message: 'the onEvent function threw' }));
  });

  it('change no read that damage has met', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('a', '1'));
    await world.run(db.flush({ type: 'memtable' }));
    await world.run(db.close());
    const [path] = await world.paths('compacted/');
    await world.remove(path);
    const reader = await world.openReader({ onCorruption: reject });
    expect(await world.run(rejection(reader.get('a')))).toMatchObject({ code: 'MISSING_OBJECT' });
    await turns();
    expect(world.log).toContainEqual(expect.objectContaining({ message: 'the onCorruption function threw' }));
  });
});

describe('a merge operator', () => {
  const keep: MergeOperator = { merge: (_key, _existing, operand) => operand };
  const BAD: [string, () => unknown][] = [
    ['throws', boom],
    ['rejects', reject],
    ['answers with a promise', () => Promise.resolve(new Uint8Array(1))],
    ['answers with a string', () => 'x'],
    ['answers with nothing', () => undefined],
  ];

  it.each(BAD)('that %s fails the reads that need it, and nothing else', async (_, merge) => {
    const world = new World();
    const mergeOperator = { merge: merge as MergeOperator['merge'] };
    const db = await world.open({ mergeOperator, awaitDurable: false });
    await world.run(db.put('a', '1'));
    await world.run(db.merge('k', 'one'));
    await world.run(db.merge('k', 'two'));
    await world.run(db.put('z', '2'));
    expect(await world.run(rejection(db.get('k')))).toMatchObject({
      name: 'InvalidArgumentError',
      code: 'BAD_ARGUMENT',
    });
    expect(text(await world.run(db.get('z')))).toBe('2');
    const scan = db.scan();
    // The rows before the key, the failure, and the rows after it: in this order.
    expect(text((await world.run(scan.next())).value?.key)).toBe('a');
    expect(await world.run(rejection(scan.next()))).toMatchObject({ code: 'BAD_ARGUMENT' });
    expect(text((await world.run(scan.next())).value?.key)).toBe('z');
    await world.run(db.flush({ type: 'memtable' }));
    await world.run(db.close());
    const again = await world.open({ mergeOperator: keep });
    expect(text(await world.run(again.get('k')))).toBe('two');
  });

  it('that throws what looks like damage has damaged nothing', async () => {
    const world = new World();
    const victim = await world.open();
    await world.run(victim.put('a', '1'));
    await world.run(victim.flush({ type: 'memtable' }));
    await world.run(victim.close());
    const [path] = await world.paths('compacted/');
    const kept = await world.bytes(path);
    await world.remove(path);
    const reader = await world.openReader();
    const damage = await world.run(rejection(reader.get('a')));
    await world.replace(path, kept);
    const db = await world.open({
      awaitDurable: false,
      mergeOperator: {
        merge: () => {
          throw damage;
        },
      },
    });
    await world.run(db.merge('k', 'one'));
    const error = await world.run(rejection(db.get('k')));
    expect(error).toMatchObject({ code: 'BAD_ARGUMENT', cause: damage });
    expect(db.corruptions().counts.errors).toBe(0);
  });
});
