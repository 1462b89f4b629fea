/** The order of a logger's arguments: pino's and console's, each of which drops silently what comes in the other. */
import { Console } from 'node:console';
import { Writable } from 'node:stream';
import pino from 'pino';
import { describe, expect, it, vi } from 'vitest';
import { type Logger, objectFirstLogger, safeLogger } from '../../../src/common/logger.ts';
import { open, openReader } from '../../../src/index.ts';
import { sstCheck } from '../../../src/tools/sst-check.ts';

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;

/** A stream that keeps what is written to it. */
function sink() {
  const written: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      written.push(String(chunk));
      done();
    },
  });
  return { stream, text: () => written.join('') };
}

/** A real logger of pino, and the lines that it wrote. */
function pinoLogger() {
  const { stream, text } = sink();
  const lines = () =>
    text()
      .trim()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { logger: pino({ level: 'debug', base: null }, stream), lines };
}

/** Rows are written with the clock of 2100: an opening with this one warns, with details. */
async function warnedBy(logger: Logger): Promise<void> {
  const { MemoryStore } = await import('../../../src/index.ts');
  const store = new MemoryStore();
  const clock = { ...systemClock(), nowMs: () => Date.UTC(2100, 0, 1) };
  const ahead = await open({ store, path: 'db' }, { clock });
  await ahead.put('k', 'v');
  await ahead.close();
  const db = await open({ store, path: 'db' }, { logger, compactor: false, gc: false });
  await db.close();
}

function systemClock() {
  return {
    nowMs: () => Date.now(),
    monotonicMs: () => performance.now(),
    setTimer(delayMs: number, fn: () => void) {
      const timer = setTimeout(fn, delayMs);
      return { cancel: () => clearTimeout(timer), setRef: (on: boolean) => void (on ? timer.ref() : timer.unref()) };
    },
    yieldToLoop: () => new Promise<void>((resolve) => setImmediate(resolve)),
  };
}

describe('a logger of pino', () => {
  it.each(LEVELS)('gets details and message of %s', (level) => {
    const { logger, lines } = pinoLogger();
    safeLogger(logger)[level]('a message', { code: 'X', rows: 3 });
    safeLogger(logger)[level]('no details');
    expect(lines()).toMatchObject([{ msg: 'a message', code: 'X', rows: 3 }, { msg: 'no details' }]);
  });

  it('keeps them in a child, too, whose bindings stay', () => {
    const { logger, lines } = pinoLogger();
    safeLogger(logger.child({ service: 's' })).warn('a message', { code: 'X' });
    expect(lines()).toMatchObject([{ msg: 'a message', code: 'X', service: 's' }]);
  });

  it('gets the details of a database', async () => {
    const { logger, lines } = pinoLogger();
    await warnedBy(logger);
    expect(lines().filter(({ msg }) => /ahead of this one/.test(String(msg)))).toMatchObject([
      { level: 40, storedTick: Date.UTC(2100, 0, 1), now: expect.any(Number) },
    ]);
  });

  it('is an option of every call that has one', async () => {
    const { logger } = pinoLogger();
    const { MemoryStore } = await import('../../../src/index.ts');
    const at = { store: new MemoryStore(), path: 'db' };
    await (await open(at, { logger })).close();
    await (await openReader(at, { logger })).close();
    for await (const finding of sstCheck(at, { logger })) throw new Error(finding.code);
  });
});

describe('the console', () => {
  it('gets message and details, of a database, too', async () => {
    const { stream, text } = sink();
    await warnedBy(new Console(stream));
    expect(text()).toMatch(/^rows were written with a clock .* \{ storedTick: 4102444800000, now: \d+ \}\n$/);
  });
});

describe('objectFirstLogger', () => {
  it('turns the order round, with an empty object where there are no details', () => {
    const warn = vi.fn();
    const none = () => undefined;
    const logger = safeLogger(objectFirstLogger({ debug: none, info: none, warn, error: none }));
    logger.warn('a message', { code: 'X' });
    logger.warn('no details');
    expect(warn.mock.calls).toEqual([
      [{ code: 'X' }, 'a message'],
      [{}, 'no details'],
    ]);
  });

  it('changes nothing for pino', () => {
    const { logger, lines } = pinoLogger();
    safeLogger(objectFirstLogger(logger)).error('a message', { code: 'X' });
    expect(lines()).toMatchObject([{ msg: 'a message', code: 'X' }]);
  });

  it.each([[undefined], [null], [{}], [{ debug() {}, info() {}, warn: 1, error() {} }]])('refuses %j', (given) => {
    const call = () => objectFirstLogger(given as never);
    expect(call).toThrow(expect.objectContaining({ kind: 'invalid', code: 'BAD_ARGUMENT' }));
    expect(call).toThrow('warn');
  });
});

describe('any other logger', () => {
  it('gets the message first, also one that cannot be asked what it is', () => {
    const warn = vi.fn();
    const logger = new Proxy({ debug: warn, info: warn, warn, error: warn } as Logger, {
      has() {
        throw new Error('not to be asked');
      },
    });
    safeLogger(logger).warn('a message', { code: 'X' });
    expect(warn.mock.calls).toEqual([['a message', { code: 'X' }]]);
  });
});
