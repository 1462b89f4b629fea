/** Codecs and what is made of them, without a database: which bytes go down, and what is made of those that come up. */
import { describe, expect, it } from 'vitest';
import { toHex } from '../../../src/common/bytes.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { CodedDb, CodedReader, CodedSnapshot } from '../../../src/db/coded-handles.ts';
import { CodedReads } from '../../../src/db/coded-reads.ts';
import { assertEncodings, usedEncoding } from '../../../src/db/encoding.ts';
import { levelCodec } from '../../../src/db/level-codec.ts';
import { readLevel } from '../../../src/db/read-level.ts';
import { BYTES_CODEC, RowCodec } from '../../../src/db/row-codec.ts';
import { Turns } from '../../../src/db/turns.ts';
import { CodedBatch, WriteLevel } from '../../../src/db/write-level.ts';
import { Row } from '../../../src/lsm/read/scan-row.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const hex = (key: Uint8Array | string) => (typeof key === 'string' ? key : toHex(key));
const utf8 = new RowCodec<string, unknown>({
  keys: usedEncoding('utf8'),
  values: usedEncoding('json'),
  prefix: new Uint8Array(0),
});

describe('a codec', () => {
  it('of bytes changes nothing', () => {
    const key = bytes('k');
    expect(BYTES_CODEC.key(key)).toBe(key);
    expect(BYTES_CODEC.value(key, key)).toBe(key);
    expect(BYTES_CODEC.range({ gte: 'a' })).toEqual({ gte: bytes('a') });
  });

  it('gives text down as it is, and ends ranges before sublevels', () => {
    expect(utf8.key('k')).toBe('k');
    expect(utf8.range({})).toEqual({ lt: new Uint8Array([0xff]) });
    expect(utf8.range({ lte: 'b' })).toEqual({ lte: bytes('b') });
    expect(utf8.scan({ after: 'a', limit: 3 })).toEqual({ after: bytes('a'), limit: 3, lt: new Uint8Array([0xff]) });
  });

  it('keeps what a row says besides', () => {
    const row = new Row(bytes('k'), bytes('[1]'), 9n);
    Object.assign(row, { expireTs: 4, possiblyStale: true });
    expect(utf8.row(row)).toEqual({ key: 'k', value: [1], seq: 9n, expireTs: 4, possiblyStale: true });
  });

  it('of a sublevel puts its name before every key and bound', () => {
    const level = levelCodec(levelCodec(utf8, 'a', undefined), 'b', { keyEncoding: 'bytes' });
    const prefix = 'ff6100ff6200';
    expect(hex(level.key('k'))).toBe(`${prefix}6b`);
    expect(level.keyOf(new Uint8Array(Buffer.from(`${prefix}6b`, 'hex')))).toEqual(bytes('k'));
    expect(hex(level.range({}).prefix as Uint8Array)).toBe(prefix);
    const narrow = level.range({ prefix: 'x', lt: 'y' });
    expect([narrow.prefix, narrow.lt].map((b) => hex(b as Uint8Array))).toEqual([`${prefix}78`, `${prefix}79`]);
  });
});

it('encodings that differ from those remembered are refused, unless the check says otherwise', () => {
  const stored = { key: 'utf8', value: 'json' };
  const given = { encodings: { key: 'utf8', value: 'bytes' }, encodingCheck: 'refuse' as const };
  expect(() => assertEncodings('x', stored, given)).toThrow(
    /keyEncoding utf8 and valueEncoding json, this opening has/,
  );
  assertEncodings('x', undefined, given);
  assertEncodings('x', stored, { ...given, encodings: stored });
  assertEncodings('x', stored, { ...given, encodingCheck: 'ignore' });
});

describe('over a handle', () => {
  function handle() {
    const calls: string[] = [];
    const note =
      (name: string) =>
      async (...args: unknown[]) =>
        void calls.push(
          [
            name,
            ...args
              .filter((a) => typeof a !== 'function' && a !== undefined)
              .map((a) => (a instanceof Uint8Array ? hex(a) : String(a))),
          ].join(' '),
        );
    const raw = { turns: new Turns(new ManualClock()), get: note('get'), has: note('has') };
    const db = {
      raw,
      path: 'p',
      put: note('put'),
      delete: note('delete'),
      flush: note('flush'),
      close: note('close'),
      refresh: note('refresh'),
      seq: 5n,
      write: async (batch: { length: number }) => void calls.push(`write ${batch.length}`),
    };
    return { db: db as never, raw: raw as never, calls };
  }

  it('reads and writes go down in bytes', async () => {
    const { db, raw, calls } = handle();
    const level = new WriteLevel<string, unknown>(
      db,
      levelCodec(utf8, 's', undefined) as RowCodec<string, unknown>,
      's',
    );
    await level.put('k', { a: 1 });
    await level.delete('k');
    await level.get('k');
    await new CodedReads(raw, utf8).has('k');
    const read = readLevel(raw, utf8, 's', undefined) as { get(key: string): Promise<unknown> };
    await read.get('k');
    await new CodedBatch(db, utf8)
      .put('k', 1)
      .delete('l', { sublevel: level } as never)
      .write();
    expect(calls).toEqual([
      `put ff73006b ${hex(bytes('{"a":1}'))}`,
      'delete ff73006b',
      'get ff73006b',
      'has k',
      'get ff73006b',
      'write 2',
    ]);
  });

  it('what is not about keys goes to the handle', async () => {
    const { db, calls } = handle();
    const coded = new CodedDb(db, utf8);
    await coded.flush();
    await coded.close();
    expect(coded.path).toBe('p');
    const reader = new CodedReader(db, utf8);
    await reader.refresh();
    await reader[Symbol.asyncDispose]();
    const snapshot = new CodedSnapshot(db, utf8);
    expect(snapshot.seq).toBe(5n);
    await snapshot.close();
    expect(calls).toEqual(['flush', 'close', 'refresh', 'close', 'close']);
  });
});
