/** The one check of options: every fault at once, each value read once, whatever the caller's objects do while they are read. */
import { describe, expect, it } from 'vitest';
import {
  bool,
  type ChecksOf,
  checkedOptions,
  describeValue,
  list,
  members,
  methods,
  oneOf,
  whole,
} from '../../../src/common/option-checks.ts';
import { thrown } from '../../support/database.ts';

// biome-ignore lint/suspicious/noExplicitAny: what plain JavaScript lets through
type Anything = any;

interface Options {
  isOn?: boolean;
  count?: number;
  mode?: 'slow' | 'fast';
  names?: string[];
  limits?: { rows?: number };
}

const CHECKS: ChecksOf<Options> = {
  isOn: bool,
  count: whole(0, 9),
  mode: oneOf(['slow', 'fast']),
  names: list('modes', oneOf(['slow', 'fast'])),
  limits: members({ rows: whole(0, 9) }),
};

const read = (options: Anything) => checkedOptions<Options>('call', options, CHECKS);

describe('options', () => {
  it('are given back as they were, without those that are undefined', () => {
    expect(read(undefined)).toEqual({});
    expect(read({ isOn: false, count: undefined, limits: { rows: 0 } })).toEqual({ isOn: false, limits: { rows: 0 } });
  });

  it('are copied with the lists and objects in them, and read once', () => {
    let reads = 0;
    const names = ['slow'];
    const limits = { rows: 1 };
    const options = {
      names,
      limits,
      get count() {
        return ++reads;
      },
    };
    const own = read(options);
    names.push('wrong');
    limits.rows = 100;
    expect(own).toEqual({ names: ['slow'], limits: { rows: 1 }, count: 1 });
    expect(own.count).toBe(1);
    expect(reads).toBe(1);
  });

  it('count also where they are inherited, but for what stands in the prototype of all objects', () => {
    expect(read(Object.create({ isOn: true }))).toEqual({ isOn: true });
    expect(thrown(() => read(Object.create({ isOf: true }))).message).toContain('did you mean isOn');
    expect(read(Object.assign(Object.create(null), { count: 1 }))).toEqual({ count: 1 });
    const prototype = Object.prototype as Anything;
    prototype.polluted = 1;
    try {
      expect(read({ count: 1 })).toEqual({ count: 1 });
    } finally {
      delete prototype.polluted;
    }
  });

  it('count in whatever form they are given: accessors of a class, members that are not enumerable', () => {
    class Limits {
      get rows() {
        return 0;
      }
    }
    class Given {
      isOn = true;
      get limits() {
        return new Limits();
      }
    }
    expect(read(new Given())).toEqual({ isOn: true, limits: { rows: 0 } });
    expect(read(Object.defineProperty({}, 'count', { value: 3 }))).toEqual({ count: 3 });
    expect(() => read(Object.defineProperty({}, 'count', { value: 10 }))).toThrow(/count/);
  });

  it.each([
    [{ is_on: true }, 'is_on is unknown (did you mean isOn?)'],
    [{ 'is-on': true }, 'is-on is unknown (did you mean isOn?)'],
    [{ ISON: true }, 'ISON is unknown (did you mean isOn?)'],
    [{ moed: 1 }, 'moed is unknown (did you mean mode?)'],
    [{ limits: { row: 1 } }, 'limits.row is unknown (did you mean rows?)'],
    [{ limits: { zzz: 1 } }, 'limits.zzz is unknown (known are rows)'],
    [{ names: ['slow', 'fsat'] }, 'names[1] must be one of slow, fast, not "fsat"'],
    [{ constructor: 1 }, 'constructor is unknown'],
    [{ toString: 1 }, 'toString is unknown'],
  ])('%j have the fault that is named', (options, fault) => {
    expect(thrown(() => read(options)).details['faults']).toEqual([fault]);
  });

  it('that are unknown are reported with the known ones, where those are few', () => {
    expect(thrown(() => read({ zzz: 1 })).message).toBe(
      'call: zzz is unknown. Known are isOn, count, mode, names, limits.',
    );
    expect(thrown(() => read({ limits: { zzz: 1 } })).message).toBe('call: limits.zzz is unknown (known are rows).');
    expect(thrown(() => read({ zzz: 1, limits: { yyy: 1 } })).message).toBe(
      'call: zzz is unknown; limits.yyy is unknown (known are rows). Known are isOn, count, mode, names, limits.',
    );
  });

  it('are refused in bounded time and in a message of bounded length, however large they are', () => {
    const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`x${i}`, i]));
    const error = thrown(() => read(many));
    expect(error.message).toContain('and 9950 more');
    expect(error.message.length).toBeLessThan(5000);
    const long = thrown(() => read({ ['x'.repeat(1_000_000)]: 1, mode: 'y'.repeat(1_000_000), count: 10n ** 10_000n }));
    expect(long.message.length).toBeLessThan(1000);
    expect(thrown(() => read({ names: new Array(2 ** 32 - 1) })).message).toContain('names must be an array');
  });

  it('that fight back are refused with a typed error', () => {
    const trap = () => {
      throw new Error('a trap');
    };
    const revoked = Proxy.revocable({}, {});
    revoked.revoke();
    const endless: Anything = new Proxy({}, { getPrototypeOf: () => endless });
    for (const options of [
      revoked.proxy,
      new Proxy({}, { ownKeys: trap }),
      new Proxy({ isOn: true }, { get: trap }),
      new Proxy({}, { getPrototypeOf: trap }),
      { limits: revoked.proxy },
      { names: revoked.proxy },
      { limits: new Proxy({}, { ownKeys: trap }) },
      { isOn: new Proxy({}, { get: trap }) },
      { count: revoked.proxy },
    ]) {
      expect(thrown(() => read(options))).toMatchObject({ code: 'BAD_OPTION' });
    }
    expect(read(endless)).toEqual({});
  });
});

function revokedProxy(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

/** Nothing of it may be called for a message. */
class Loud {
  get [Symbol.toStringTag](): string {
    throw new Error('called');
  }
}

it('says what stands in the place of options, and what an object lacks', () => {
  expect(thrown(() => read(new Map())).message).toContain('must be a plain object, not a Map');
  expect(thrown(() => read({ limits: new Date() })).message).toContain('a plain object with rows, not a Date');
  const checks = { clock: methods('now', 'later') };
  const call = (clock: unknown) => thrown(() => checkedOptions<{ clock?: unknown }>('call', { clock }, checks)).message;
  expect(call({ now() {} })).toContain('clock must be an object with now(), later(); it has no later()');
  expect(describeValue(revokedProxy())).toBe('a proxy');
  expect(describeValue(new Loud())).toBe('an instance of Loud');
  expect(call(5)).toContain('clock must be an object with now(), later(), not 5');
});

describe('a value in a message', () => {
  it.each([
    [undefined, 'undefined'],
    [null, 'null'],
    [Number.NaN, 'NaN'],
    [5n, '5n'],
    [2n ** 100n, 'a long bigint'],
    ['a "b"', '"a \\"b\\""'],
    [Symbol('s'), 'a symbol'],
    [[], 'an array'],
    [{}, 'an object'],
    [Object.create(null), 'an object'],
    [() => 1, 'a function'],
    [new Map(), 'a Map'],
    [new Date(), 'a Date'],
    [Promise.resolve(), 'a Promise'],
    [new AbortController().signal, 'an instance of AbortSignal'],
    [new Uint8Array(1), 'an instance of Uint8Array'],
  ])('%o is described', (value, described) => {
    expect(describeValue(value)).toBe(described);
  });
});
