/** get, scan, put and delete on a database in a directory: what they print, whom they fence, and what they refuse. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type WriterInspectOptions, type WriterReport, writerInspect } from '../../../src/admin.ts';
import { dataJson, typedKey, wholeKeyText } from '../../../src/cli/data-words.ts';
import type { Tools } from '../../../src/cli/tools.ts';
import { SILENT_LOGGER } from '../../../src/common/logger.ts';
import { ConflictError, type Db, InvalidArgumentError, open, openReader } from '../../../src/index.ts';
import { type RunOptions, runWith } from '../../support/command-line.ts';

const directory = mkdtempSync(join(tmpdir(), 'shaledb-data-commands-'));
const DB = join(directory, 'db');
const tools: Partial<Tools> = {
  open: (location, options) => open(location, { ...options, logger: SILENT_LOGGER }),
  openReader: (location, options) => openReader(location, { ...options, logger: SILENT_LOGGER }),
  writerInspect,
};
const run = (words: readonly string[], more: RunOptions = {}) => runWith(words, { tools, ...more });
const bytes = (...values: number[]) => Uint8Array.of(...values);

async function fill(run: (db: Db) => Promise<unknown>): Promise<void> {
  const db = await open(String(pathToFileURL(DB)), { logger: SILENT_LOGGER, owner: 'host:1' });
  await run(db);
  await db.close();
}

beforeAll(() =>
  fill(async (db) => {
    for (const n of [1, 2, 3, 4]) await db.put(`user/${n}`, `Ada ${n}`, { awaitDurable: false });
    await db.put(bytes(0, 255), bytes(1, 254), { awaitDurable: false });
    await db.put('日本 語', 'a\tb\n', { awaitDurable: false });
    await db.put('0xab', '0xcd', { expireAtMs: 4_000_000_000_000 });
  }),
);
afterAll(() => rmSync(directory, { recursive: true }));

describe('get', () => {
  it.each([
    ['user/1', 'Ada 1'],
    ['0x00ff', '0x01fe'],
    ['"日本 語"', '"a\\tb\\n"'],
    ['"0xab"', '"0xcd"'],
  ])('of %s prints %s', async (key, value) => {
    expect(await run(['get', DB, key])).toEqual({ code: 0, out: `${value}\n`, err: '' });
  });
  it('writes bytes as they are', async () => {
    expect(await run(['get', DB, '0x00ff', '--raw'])).toEqual({ code: 0, out: '\u0001\u00fe', err: '' });
    expect((await run(['get', DB, 'x', '--raw', '--json'])).code).toBe(2);
  });
  it('of no value ends with 9', async () => {
    expect(await run(['get', DB, 'none'])).toEqual({ code: 9, out: '', err: 'There is no value of none.\n' });
    const { code, out } = await run(['get', DB, 'none', '--json']);
    expect([code, JSON.parse(out)]).toEqual([9, { schemaVersion: 1, type: 'get', key: 'none', found: false }]);
  });
  it('says what else is known', async () => {
    const { out } = await run(['get', DB, '"0xab"', '--meta']);
    expect(out).toMatch(
      /^value {4}"0xcd"\nbytes {4}4\nseq {6}7\nwritten {2}.* \(UTC\)\nexpires {2}2096-10-02 07:06:40 \(UTC\)\n$/,
    );
    expect(JSON.parse((await run(['get', DB, '0x00ff', '--json'])).out)).toMatchObject({
      key: { $bytes: 'AP8' },
      found: true,
      value: { $bytes: 'Af4' },
      seq: { $bigint: '5' },
    });
  });
  it('shows neither key nor value where they are to be redacted', async () => {
    expect((await run(['get', DB, 'user/1', '--redact-keys'])).out).toBe('<5 bytes>\n');
    expect((await run(['get', DB, 'user/1', '--redact-keys', '--json'])).out).not.toContain('Ada');
    expect((await run(['get', DB, 'user/none', '--redact-keys'])).err).toBe('There is no value of <9 bytes>.\n');
  });
  it.each([
    ['0x0', 'KEY must be pairs of hex digits'],
    ['0xzz', 'KEY must be pairs of hex digits'],
    ['"open', 'KEY begins with a quote'],
  ])('refuses the key %s', async (key, says) => {
    const { code, err } = await run(['get', DB, key]);
    expect(code).toBe(2);
    expect(err).toContain(says);
  });
  it('says where no database is', async () => {
    const { code, err } = await run(['get', join(directory, 'none'), 'x']);
    expect(code).toBe(2);
    expect(err).toContain('NOT_A_DATABASE');
  });
});

describe('scan', () => {
  const keys = async (...words: string[]) => (await run(['scan', DB, '--keys', ...words])).out.split('\n').slice(0, -1);
  it('prints a line for each row', async () => {
    const { code, out } = await run(['scan', DB]);
    expect([code, out.split('\n')]).toEqual([
      0,
      [
        '0x00ff\t0x01fe',
        '"0xab"\t"0xcd"',
        'user/1\tAda 1',
        'user/2\tAda 2',
        'user/3\tAda 3',
        'user/4\tAda 4',
        '"日本 語"\t"a\\tb\\n"',
        '',
      ],
    ]);
  });
  it('takes ranges, from both ends, keys or values alone', async () => {
    expect(await keys('--prefix', 'user/')).toEqual(['user/1', 'user/2', 'user/3', 'user/4']);
    expect(await keys('--from', 'user/2', '--to', 'user/4')).toEqual(['user/2', 'user/3']);
    expect(await keys('--prefix', 'user/', '--reverse', '--limit', '2')).toEqual(['user/4', 'user/3']);
    expect(await keys('--limit', '0')).toEqual([]);
    expect((await run(['scan', DB, '--values', '--prefix', 'user/1'])).out).toBe('Ada 1\n');
    expect((await run(['scan', DB, '--prefix', 'user/1', '--redact-keys'])).out).toBe('<6 bytes>\t<5 bytes>\n');
  });
  it('prints a document for each row', async () => {
    const { out } = await run(['scan', DB, '--json', '--limit', '2']);
    expect(
      out
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line)),
    ).toEqual([
      { schemaVersion: 1, type: 'row', key: { $bytes: 'AP8' }, value: { $bytes: 'Af4' }, seq: { $bigint: '5' } },
      { schemaVersion: 1, type: 'row', key: '0xab', value: '0xcd', seq: { $bigint: '7' } },
    ]);
  });
  it('stops when nobody reads any more', async () => {
    expect((await run(['scan', DB, '--json'], { closedAfter: 0 })).code).toBe(141);
  });
  it.each([
    [['--keys', '--values'], 'exclude each other'],
    [['--from', 'b', '--to', 'b'], '--from is not before --to'],
    [['--prefix', '0x1'], '--prefix must be pairs of hex digits'],
  ])('refuses %j', async (words, says) => {
    const { code, err } = await run(['scan', DB, ...words]);
    expect(code).toBe(2);
    expect(err).toContain(says);
  });
});

describe('put and delete', () => {
  const at = (...words: string[]) => [...words, '--live-check-ms', '0'];
  it('say what would happen and whom it fences, and change nothing', async () => {
    const before = await writerInspect(String(pathToFileURL(DB)));
    const { code, out } = await run(['put', DB, 'user/1', 'Grace']);
    expect(code).toBe(0);
    expect(out).toContain('Dry run: nothing was changed.');
    expect(out).toMatch(/now {3}5 bytes, seq 1\nthen {2}5 bytes: Grace\n/);
    expect(out).toContain('Nobody is fenced: the last writer, of epoch 1 (host:1), has closed it.');
    expect(out).toContain(`shaledb put ${pathToFileURL(DB)} user/1 Grace --apply`);
    expect((await run(['delete', DB, 'user/1'])).out).toMatch(/then {2}deleted/);
    expect(JSON.parse((await run(['delete', DB, 'none', '--json'])).out)).toMatchObject({
      type: 'write',
      action: 'delete',
      applied: false,
      before: { found: false },
      writer: { exists: true, epoch: { $bigint: '1' }, owner: 'host:1', closed: true },
    });
    expect((await writerInspect(String(pathToFileURL(DB)))).manifestId).toBe(before.manifestId);
  });
  it('write, and say so', async () => {
    const { code, out, err } = await run(at('put', DB, 'new/1', 'value', '--apply'));
    expect([code, out]).toEqual([0, 'Written: new/1, durable, seq 8.\n']);
    expect(err).toContain('Taking the database over. Nobody is fenced');
    expect((await run(at('put', DB, 'new/2', 'ff00', '--hex', '--apply'))).code).toBe(0);
    expect((await run(at('put', DB, 'new/3', '-', '--apply'), { input: bytes(9, 128) })).code).toBe(0);
    expect((await run(at('put', DB, 'new/4', 'x', '--ttl-ms', '3600000', '--apply'))).code).toBe(0);
    expect((await run(['scan', DB, '--prefix', 'new/'])).out.split('\n').slice(0, 3)).toEqual([
      'new/1\tvalue',
      'new/2\t0xff00',
      'new/3\t0x0980',
    ]);
    expect((await run(['get', DB, 'new/4', '--meta'])).out).not.toContain('expires  never');
    expect((await run(at('delete', DB, 'new/1', '--apply'))).out).toBe('Deleted: new/1, durable, seq 12.\n');
    expect((await run(['get', DB, 'new/1'])).code).toBe(9);
  });
  it('fence exactly the writer that they named', async () => {
    const db = await open(String(pathToFileURL(DB)), { logger: SILENT_LOGGER, owner: 'host:2' });
    const seen = await writerInspect(String(pathToFileURL(DB)));
    const { code, err } = await run(at('put', DB, 'x', 'y', '--apply'), {
      nowMs: (seen.writtenAtMs ?? 0) + 10_000,
    });
    expect(code).toBe(0);
    expect(err).toMatch(/It fences the writer of epoch \d \(host:2\), which wrote\s+the newest manifest 10 s ago\./);
    await expect(db.put('a', 'b')).rejects.toThrow(/fenced|taken over/i);
    await db.close().catch(() => undefined);
    const stale = async (): Promise<WriterReport> => ({ ...seen, writer: { epoch: 1n, owner: 'host:1' } });
    const other = await run(at('put', DB, 'x', 'z', '--apply'), { tools: { ...tools, writerInspect: stale } });
    expect(other.code).toBe(6);
    expect((await run(['get', DB, 'x'])).out).toBe('y\n');
  });
  it('are refused while something is written, unless the caller says so', async () => {
    const asked: (WriterInspectOptions | undefined)[] = [];
    const live: Partial<Tools> = {
      writerInspect: async (_target, options) => {
        asked.push(options);
        throw new ConflictError('LIVE_WRITER', 'in use');
      },
    };
    const { code, err } = await run(['put', DB, 'x', 'y', '--apply'], { tools: live });
    expect(code).toBe(6);
    expect(err).toContain(`shaledb put ${pathToFileURL(DB)} x y --apply --if-live-writer fence`);
    await run(['put', DB, 'x', 'y', '--apply', '--if-live-writer', 'fence'], { tools: live });
    await run(['put', DB, 'x', 'y'], { tools: live });
    expect(asked.map((o) => o?.liveCheckMs)).toEqual([5000, 0, 0]);
  });
  it('make no database', async () => {
    for (const words of [
      ['put', 'x', 'y'],
      ['delete', 'x'],
    ]) {
      const [name, ...rest] = words;
      const { code, err } = await run([name, join(directory, 'none'), ...rest, '--apply', '--live-check-ms', '0']);
      expect(code).toBe(2);
      expect(err).toContain('NOT_A_DATABASE');
    }
  });
  it.each([
    [['put', DB, 'x', 'zz', '--hex'], 'VALUE must be pairs of hex digits'],
    [['put', DB, 'x', '-', '--hex'], '--hex is for a VALUE that is typed'],
    [['put', DB, 'x', 'y', '--ttl-ms', '0'], '--ttl-ms must be at least 1'],
  ])('refuse %j', async (words, says) => {
    const { code, err } = await run(words);
    expect(code).toBe(2);
    expect(err).toContain(says);
  });
});

describe('writerInspect', () => {
  it('refuses options that it does not have', async () => {
    await expect(writerInspect('memory:', { liveCheckMs: -1 })).rejects.toThrow(InvalidArgumentError);
    await expect(writerInspect('memory:')).rejects.toMatchObject({ code: 'NOT_A_DATABASE' });
  });
});

describe('a key', () => {
  it('that is printed can be typed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), (key) => {
        expect(Buffer.compare(typedKey(wholeKeyText(key, false)), key)).toBe(0);
      }),
    );
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'binary' }), (text) => {
        const key = Buffer.from(text);
        expect(Buffer.compare(typedKey(wholeKeyText(key, false)), key)).toBe(0);
      }),
    );
  });
  it('in JSON is the same bytes again', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.string({ unit: 'binary' }).map((t) => new Uint8Array(Buffer.from(t))),
        ),
        (data) => {
          const json = JSON.parse(JSON.stringify(dataJson(data, false))) as string | { $bytes: string };
          const back = typeof json === 'string' ? Buffer.from(json) : Buffer.from(json.$bytes, 'base64url');
          expect(Buffer.compare(back, data)).toBe(0);
        },
      ),
    );
  });
});
