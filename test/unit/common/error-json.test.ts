/** Errors as plain data and back: what a worker or a log gets is the error that was thrown. */
import { types } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorFromJson, errorToJson } from '../../../src/common/error-json.ts';
import {
  AbortError,
  ClosedError,
  ConflictError,
  CorruptionError,
  DbError,
  FencedError,
  IncompatibleError,
  InternalError,
  InvalidArgumentError,
  isCorruption,
  isDbError,
  isRetryable,
  ManifestCorruptionError,
  RollbackError,
  UnavailableError,
  WalCorruptionError,
} from '../../../src/common/errors.ts';
import { makeFinding } from '../../../src/common/finding.ts';

const KEY = Uint8Array.of(0, 255, 7);
const finding = makeFinding({
  code: 'BAD_CHECKSUM',
  at: { unit: 'block', index: 3, offset: 12_288, length: 4096 },
  object: { role: 'table', path: 'compacted/X.sst', id: 'X', sealed: true, size: 99_999 },
  affects: { keys: { gte: KEY, lte: KEY }, seqs: { min: 1n, max: 2n ** 60n } },
  expected: 'crc32:00000000',
  found: 'crc32:00000001',
});
const wal = {
  replayAfter: 7n,
  end: 9n,
  damagedIds: [8n],
  missingIds: [9n],
  lostSeqs: [{ min: 1n, max: 2n }],
  recoverableRows: 5,
};
const fallback = {
  manifestId: 4n,
  strategy: 'previous' as const,
  walFrom: 1n,
  walTo: 3n,
  walComplete: true,
  orphanTables: 0,
};

/** One of each class, with everything it can carry. */
function everyClass(details: Record<string, unknown>): DbError[] {
  const fields = { details, outcome: 'unknown' as const, cause: new ClosedError('CLOSED', 'inner', { details }) };
  return [
    new InvalidArgumentError('BAD_OPTION', 'm', fields),
    new ConflictError('WRITE_CONFLICT', 'm', fields),
    new FencedError('WRITER_FENCED', 'm', { ...fields, details: { ...details, owner: 'host:1' } }),
    new ClosedError('FAILED', 'm', fields),
    new UnavailableError('STORE_DOWN', 'm', fields),
    new IncompatibleError('FORMAT_TOO_NEW', 'm', fields),
    new AbortError('m', fields),
    new InternalError('m', fields),
    new CorruptionError('m', [finding], {
      ...fields,
      possiblyStale: { seq: 3n, value: KEY },
      resumeAfter: KEY,
      total: 2000,
    }),
    new WalCorruptionError('m', [finding], wal, fields),
    new ManifestCorruptionError('m', [finding], { ...fields, newestGoodId: 3n, fallback }),
    new RollbackError('m', [finding], 5n, 4n, fields),
  ];
}

const FIELDS =
  'name message kind code retryable outcome details hint findings total wal newestGoodId fallback expected found';

function fieldsOf(error: unknown): Record<string, unknown> {
  const e = error as Record<string, unknown>;
  return Object.fromEntries([...FIELDS.split(' '), 'possiblyStale', 'resumeAfter'].map((f) => [f, e[f]]));
}

const carried = (error: DbError) => errorFromJson(JSON.parse(JSON.stringify(error)));

describe('an error as JSON', () => {
  it('comes back with its class and all it says', () => {
    const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.bigInt(), fc.uint8Array());
    const value = fc.oneof(leaf, fc.array(leaf), fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), leaf));
    fc.assert(
      fc.property(fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), value), (details) => {
        for (const error of everyClass({ ...details })) {
          const back = carried(error);
          expect(fieldsOf(back)).toEqual(fieldsOf(error));
          expect(Object.getPrototypeOf(back)).toBe(Object.getPrototypeOf(error));
          expect(back).toBeInstanceOf(Error);
          expect(fieldsOf(back.cause)).toEqual(fieldsOf(error.cause));
          expect([isDbError(back), isRetryable(back)]).toEqual([true, isRetryable(error)]);
          expect(isCorruption(back)).toBe(isCorruption(error));
        }
      }),
      { numRuns: 50 },
    );
  });

  it('comes back as a native error with a stack of its own', () => {
    for (const error of everyClass({})) {
      const back = carried(error);
      expect(types.isNativeError(back)).toBe(true);
      expect(back.stack?.split('\n')[0]).toBe(`${error.name}: m`);
      expect(back.stack).toContain('error-json.test');
      expect(String(back)).toBe(String(error));
      expect(Object.keys(back)).not.toContain('stack');
    }
  });

  it('says whatever was the cause, and whatever an error is not', () => {
    for (const cause of [
      Object.create(null),
      Symbol('s'),
      'text',
      { toString: null },
      new Proxy({}, { get: null as never }),
    ]) {
      expect(() => JSON.stringify(new InternalError('m', { cause }))).not.toThrow();
    }
    for (const json of [undefined, null, 5, {}, [], { name: 'ClosedError' }])
      expect(() => errorFromJson(json as never)).toThrow(InvalidArgumentError);
    const circle = { ...errorToJson(new AbortError()) };
    circle.cause = circle;
    expect(errorFromJson(circle)).toBeInstanceOf(AbortError);
    expect(() => errorToJson(new Error('x') as never)).toThrow(InvalidArgumentError);
  });

  it('keeps a chain of five causes', () => {
    let error: DbError = new InternalError('0');
    for (let i = 1; i < 10; i++) error = new ClosedError('FAILED', String(i), { cause: error });
    const messages: string[] = [];
    for (let e: unknown = carried(error); e instanceof Error; e = e.cause) messages.push(e.message);
    expect(messages).toEqual(['9', '8', '7', '6', '5', '4']);
  });

  it('leaves out keys and values when asked to', () => {
    const error = new CorruptionError('m', [finding], { resumeAfter: KEY, possiblyStale: { seq: 1n, value: KEY } });
    const text = JSON.stringify(errorToJson(error, { redactKeys: true }));
    expect(text).not.toContain('$bytes');
    expect(text).toContain('{"$redacted":3}');
  });

  it('of a class that this version does not know keeps its data', () => {
    const json = { ...errorToJson(new ClosedError('NEW_CODE', 'm')), name: 'NewError' };
    const back = errorFromJson(json);
    expect([back.name, back.code, back.message]).toEqual(['NewError', 'NEW_CODE', 'm']);
    expect(back).toBeInstanceOf(DbError);
  });
});
