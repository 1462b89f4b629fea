/** Options of single calls: each read once, and refused with all their faults. */
import { describe, expect, it } from 'vitest';
import { InvalidArgumentError } from '../../../src/common/errors.ts';
import {
  batchDeleteOptions,
  batchPutOptions,
  deleteOptions,
  flushOptions,
  putOptions,
  readOptionsOf,
  touchOptions,
  ttlOptions,
  waitOptions,
  writeOptions,
} from '../../../src/db/write-options.ts';

/** The faults of a call, in order; none: what was read of it. */
function faultsOf(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    expect(error.code).toBe('BAD_OPTION');
    return error.details['faults'];
  }
}

const { signal } = new AbortController();
const fault = (start: string) => [expect.stringMatching(new RegExp(`^${start}`))];

describe('options of a write', () => {
  it('are given as they are, and undefined where nothing is said', () => {
    const nothing = { awaitDurable: undefined, ttlMs: undefined, expireAtMs: undefined, signal: undefined };
    expect(writeOptions('put', {})).toEqual(nothing);
    expect(writeOptions('put', { awaitDurable: false, ttlMs: 5, signal })).toEqual({
      ...nothing,
      awaitDurable: false,
      ttlMs: 5,
      signal,
    });
    expect(writeOptions('put', { ttlMs: Number.POSITIVE_INFINITY })).toEqual({
      ...nothing,
      ttlMs: Number.POSITIVE_INFINITY,
    });
    // Of another prototype, which the quick check does not take.
    expect(writeOptions('put', Object.assign(Object.create(null), { expireAtMs: -1 }))).toEqual({
      ...nothing,
      expireAtMs: -1,
    });
  });

  it.each<[string, object, unknown]>([
    ['a time to live of nothing', { ttlMs: 0 }, fault('ttlMs')],
    ['of a part of a millisecond', { ttlMs: 1.5 }, fault('ttlMs')],
    ['as text', { ttlMs: '5' }, fault('ttlMs')],
    ['an expiry that is no whole number', { expireAtMs: Number.NaN }, fault('expireAtMs')],
    ['both', { ttlMs: 1, expireAtMs: 1 }, fault('ttlMs and expireAtMs exclude')],
    ['a misspelt name', { awaitDurabel: true }, fault('awaitDurabel')],
    ['a signal that is none', { signal: {} }, fault('signal')],
    ['several faults', { awaitDurable: 1, ttlMs: -1 }, [...fault('awaitDurable'), ...fault('ttlMs')]],
  ])('are refused for %s', (_, options, expected) => {
    const faults = faultsOf(() => writeOptions('put', options));
    expect(faults).toEqual(expected);
  });

  it('are read once each: a getter cannot say two things', () => {
    let asked = 0;
    const options = {
      get ttlMs() {
        return ++asked;
      },
    };
    expect([writeOptions('put', options).ttlMs, asked]).toEqual([1, 1]);
  });

  it('are refused where a getter throws, whatever it throws', () => {
    const options = {
      get ttlMs(): number {
        throw new Error('mine');
      },
    };
    expect(() => writeOptions('put', options)).toThrow(InvalidArgumentError);
  });
});

describe('options of a deletion', () => {
  it('have no time to live: one that would do nothing is refused', () => {
    expect(faultsOf(() => deleteOptions({ ttlMs: 5 } as never))).toEqual(fault('ttlMs is no option of a deletion'));
    expect(faultsOf(() => batchDeleteOptions({ expireAtMs: 5 } as never))).toEqual(fault('expireAtMs is no option'));
    expect(deleteOptions({ awaitDurable: true }).awaitDurable).toBe(true);
    expect(faultsOf(() => batchDeleteOptions({}))).toBeUndefined();
  });
});

describe('conditions of a write', () => {
  it('are ifAbsent or ifSeq, of puts and deletions only', () => {
    const either = 'ifAbsent and ifSeq exclude each other: give one';
    for (const options of [putOptions, batchPutOptions]) {
      expect(options({ ifAbsent: true })).toMatchObject({ ifAbsent: true, ifSeq: undefined });
      expect(options({ ifSeq: 0n, ifAbsent: false })).toMatchObject({ ifSeq: 0n });
      expect(faultsOf(() => options({ ifAbsent: true, ifSeq: 1n }))).toEqual(fault(either));
      expect(faultsOf(() => options({ ifSeq: 1 } as never))).toEqual(fault('ifSeq must be a bigint of at least 0n'));
      expect(faultsOf(() => options({ ifSeq: -1n }))).toEqual(fault('ifSeq must be a bigint of at least 0n'));
      expect(faultsOf(() => options({ ifabsent: true } as never))).toEqual(
        fault('ifabsent is unknown .did you mean ifAbsent'),
      );
    }
    expect(deleteOptions({ ifSeq: 7n }).ifSeq).toBe(7n);
    expect(batchDeleteOptions({ ifSeq: 7n })).toBe(7n);
    expect(faultsOf(() => deleteOptions({ ifAbsent: true } as never))).toEqual(fault('ifAbsent is unknown'));
    expect(faultsOf(() => writeOptions('merge', { ifSeq: 1n } as never))).toEqual(fault('ifSeq is unknown'));
  });
});

describe('options of touch', () => {
  it('say when the row expires', () => {
    expect(touchOptions({ ttlMs: Number.POSITIVE_INFINITY })).toMatchObject({ ttlMs: Number.POSITIVE_INFINITY });
    for (const none of [{}, undefined, { awaitDurable: true }])
      expect(faultsOf(() => touchOptions(none as never))).toEqual(fault('ttlMs or expireAtMs is missing'));
    expect(faultsOf(() => touchOptions({ ttlMs: 1, expireAtMs: 1 }))).toEqual(
      fault('ttlMs and expireAtMs exclude each other'),
    );
    expect(faultsOf(() => touchOptions({ ttl: 1 } as never))).toEqual(fault('ttl is unknown .did you mean ttlMs'));
  });
});

describe('options of rows in a batch', () => {
  it('are a time to live, or none', () => {
    expect(ttlOptions('merge', { ttlMs: 3 })).toEqual({ ttlMs: 3, expireAtMs: undefined });
    expect(faultsOf(() => ttlOptions('merge', { awaitDurable: true } as never))).toEqual(fault('awaitDurable'));
  });
});

describe('options of reads, flushes and waits', () => {
  it('take what each knows', () => {
    expect(readOptionsOf('get', { durabilityFilter: 'remote', corruptionPolicy: 'strict' })).toEqual({
      durabilityFilter: 'remote',
      corruptionPolicy: 'strict',
      signal: undefined,
    });
    expect(flushOptions({ type: 'memtable' })).toEqual({ type: 'memtable' });
    expect(waitOptions('close', undefined)).toEqual({});
    expect(waitOptions('close', { signal })).toEqual({ signal });
  });

  it.each<[string, () => unknown, string]>([
    ['an unknown filter', () => readOptionsOf('get', { durabilityFilter: 'disk' as never }), 'durabilityFilter'],
    ['an unknown policy', () => readOptionsOf('get', { corruptionPolicy: 'lax' as never }), 'corruptionPolicy'],
    ['an unknown kind of flush', () => flushOptions({ type: 'all' as never }), 'type'],
    ['an option of another call', () => waitOptions('close', { type: 'wal' } as never), 'type'],
  ])('and refuse %s', (_, call, name) => {
    expect(faultsOf(call)).toEqual(fault(name));
  });
});
