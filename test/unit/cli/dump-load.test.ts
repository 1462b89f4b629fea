/** dump and load: rows come back as they were, broken lines are named, interrupted files go on, a full disk is an error of its own. */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writerInspect } from '../../../src/admin.ts';
import { parseLine, rowLine } from '../../../src/cli/dump-lines.ts';
import { FILES, type Files, linesOf } from '../../../src/cli/files.ts';
import type { Tools } from '../../../src/cli/tools.ts';
import { SILENT_LOGGER } from '../../../src/common/logger.ts';
import { open, openReader } from '../../../src/index.ts';
import { type RunOptions, runWith } from '../../support/command-line.ts';

const directory = mkdtempSync(join(tmpdir(), 'shaledb-dump-'));
const DB = join(directory, 'db');
const ROWS = 1300;
const EXPIRY = 4_000_000_000_000;
const tools: Partial<Tools> = {
  open: (location, options) => open(location, { ...options, logger: SILENT_LOGGER }),
  openReader: (location, options) => openReader(location, { ...options, logger: SILENT_LOGGER }),
  writerInspect,
};
const run = (words: readonly string[], more: RunOptions = {}) => runWith(words, { tools, ...more });
const load = (to: string, file: string, ...more: string[]) =>
  run(['load', join(directory, to), file, '--live-check-ms', '0', ...more]);
let fresh = 0;
const newPath = (ending = 'jsonl') => join(directory, `f${fresh++}.${ending}`);
const linesIn = (path: string) => readFileSync(path, 'utf8').split('\n').slice(0, -1);
const scanned = async (name: string) => (await run(['scan', join(directory, name)])).out;

beforeAll(async () => {
  const db = await open(String(pathToFileURL(DB)), { logger: SILENT_LOGGER });
  for (let i = 0; i < ROWS - 3; i++)
    void db.put(`row/${String(i).padStart(5, '0')}`, `value ${i}`, { awaitDurable: false });
  await db.put(Uint8Array.of(0, 255), Uint8Array.of(254, 1));
  await db.put('日本', '東京\n');
  await db.put('expires', '', { expireAtMs: EXPIRY });
  await db.close();
});
afterAll(() => rmSync(directory, { recursive: true }));

describe('dump', () => {
  it('writes every row, and how many there are', async () => {
    const path = newPath();
    const { code, out } = await run(['dump', DB, '--output', path]);
    expect([code, out]).toEqual([0, expect.stringMatching(/^1,300 rows, .* KiB, in /)]);
    const lines = linesIn(path);
    expect(lines[0]).toBe('{"schemaVersion":1,"type":"dump"}');
    expect(lines[1]).toBe('{"key":{"$bytes":"AP8"},"value":{"$bytes":"_gE"}}');
    expect(lines[2]).toBe(`{"key":"expires","value":"","expiresAtMs":${EXPIRY}}`);
    expect(lines.at(-2)).toBe('{"key":"日本","value":"東京\\n"}');
    expect(lines.at(-1)).toBe(`{"type":"dump-end","rows":${ROWS}}`);
    expect((await run(['dump', DB])).out).toBe(readFileSync(path, 'utf8'));
  });
  it('takes a range, and overwrites nothing', async () => {
    const path = newPath();
    expect((await run(['dump', DB, '--output', path, '--prefix', 'row/0000'])).code).toBe(0);
    expect(linesIn(path).length).toBe(12);
    const { code, err } = await run(['dump', DB, '--output', path]);
    expect(code).toBe(2);
    expect(err).toContain('exists, and nothing is overwritten');
  });
  it('goes on after its last whole row', async () => {
    const whole = newPath();
    await run(['dump', DB, '--output', whole]);
    const path = newPath();
    for (const cut of [0, 10, 34, 100, 20_000]) {
      writeFileSync(path, readFileSync(whole).subarray(0, cut));
      const { code } = await run(['dump', DB, '--output', path, '--resume']);
      expect([code, cut, readFileSync(path, 'utf8') === readFileSync(whole, 'utf8')]).toEqual([0, cut, true]);
    }
    expect((await run(['dump', DB, '--output', path, '--resume'])).out).toContain('is complete: 1,300 rows.');
    writeFileSync(path, 'something else\n');
    expect((await run(['dump', DB, '--output', path, '--resume'])).code).toBe(2);
    expect(readFileSync(path, 'utf8')).toBe('something else\n');
  });
  it('on a full disk says what to do, and ends with 74', async () => {
    let written = 0;
    const full: Files = {
      ...FILES,
      output: async () => ({
        write: async (text) => {
          written += text.length;
          if (written > 20_000) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
        },
        finish: async () => undefined,
        close: async () => undefined,
      }),
    };
    const { code, out, err } = await run(['dump', DB, '--output', 'x.jsonl', '--json'], { fileAccess: full });
    expect(code).toBe(74);
    expect(err).toMatch(
      /UnavailableError STORE_FULL: x\.jsonl cannot be written: ENOSPC.*--output x\.jsonl --json --resume/,
    );
    expect(JSON.parse(out)).toMatchObject({ type: 'error', error: { code: 'STORE_FULL' } });
  });
  it('stops when nobody reads any more, and refuses what it cannot do', async () => {
    expect((await run(['dump', DB], { closedAfter: 1 })).code).toBe(141);
    expect((await run(['dump', DB, '--resume'])).err).toContain('--resume needs --output');
    expect((await run(['dump', DB, '--redact-keys'])).err).toContain('--redact-keys is not for dump');
    expect((await run(['dump', DB, '--output', join(directory, 'no', 'such', 'x')])).code).toBe(2);
  });
});

describe('load', () => {
  it('checks the file and changes nothing without --apply', async () => {
    const path = newPath();
    await run(['dump', DB, '--output', path]);
    const { code, out } = await load('dry', path);
    expect(code).toBe(0);
    expect(out).toContain('every line is good, nothing was changed');
    expect(out).toMatch(/rows {2}1,300, /);
    expect(out).toContain('There is no database: one is made.');
    expect(existsSync(join(directory, 'dry'))).toBe(false);
  });
  it('brings every row back, with its expiry', async () => {
    const path = newPath();
    await run(['dump', DB, '--output', path]);
    const { code, out } = await load('copy', path, '--apply');
    expect([code, out]).toEqual([0, expect.stringMatching(/^Loaded: 1,300 rows, .*, durable\.\n$/)]);
    expect(await scanned('copy')).toBe(await scanned('db'));
    const again = newPath();
    await run(['dump', join(directory, 'copy'), '--output', again]);
    expect(readFileSync(again, 'utf8')).toBe(readFileSync(path, 'utf8'));
    expect((await load('copy', path, '--apply', '--resume')).out).toContain(
      'Loaded: 0 rows, 0 B, durable. 1,300 rows were stored already.',
    );
  });
  it('goes on after an interruption', async () => {
    const path = newPath();
    await run(['dump', DB, '--output', path]);
    const half = newPath();
    writeFileSync(half, readFileSync(path).subarray(0, 45_000));
    expect((await load('half', half, '--apply')).err).toMatch(/The dump is cut at line \d+/);
    expect((await load('half', half, '--apply', '--partial')).code).toBe(0);
    expect((await load('half', path, '--apply', '--resume')).code).toBe(0);
    expect(await scanned('half')).toBe(await scanned('db'));
  });
  it.each([
    ['{"key":"a"}', 'value must be a string'],
    ['{"key":"a","value":1}', 'value must be a string'],
    ['{"key":"","value":"x"}', 'key has 0 bytes'],
    ['{"key":"a","value":"x","ttl":1}', 'member "ttl" is not known'],
    ['{"key":"a","value":"x","expiresAtMs":1.5}', 'expiresAtMs must be a whole number'],
    ['{"key":{"$bytes":"A"},"value":"x"}', 'key must be a string, or {"$bytes"'],
    ['{"key":{"$bytes":"AP9"},"value":"x"}', 'key must be a string, or {"$bytes"'],
    ['{"key":"\\ud800","value":"x"}', 'key has half of a surrogate pair'],
    ['{"key":"a","value":"x"', 'it is no JSON'],
    ['[1]', 'it is no object'],
    ['{"type":"finding"}', 'type "finding" is not known'],
    ['{"schemaVersion":2,"key":"a","value":"x"}', 'schemaVersion 2 is not known'],
    ['{"schemaVersion":1,"type":"dump"}', 'a dump begins here'],
    ['{"type":"dump-end","rows":7}', '7 rows were dumped, 1001 are here'],
  ])('refuses the line %s with its number, and changes nothing', async (line, says) => {
    const path = newPath();
    const good = Array.from({ length: 1001 }, (_, i) => `{"key":"k${i}","value":"v"}`).join('\n');
    writeFileSync(path, `${good}\n${line}\n{"key":"z","value":"v"}\n`);
    for (const more of [[], ['--apply']]) {
      const { code, err } = await load('broken', path, ...more);
      expect(code).toBe(2);
      expect(err).toContain(`Line 1002 cannot be loaded: ${says}`);
      expect(existsSync(join(directory, 'broken'))).toBe(false);
    }
  });
  it('of standard input keeps whole batches before a broken line, and says which', async () => {
    const input = `${Array.from({ length: 1500 }, (_, i) => `{"key":"k${String(i).padStart(4, '0')}","value":"v"}`).join('\n')}\nbroken\n`;
    async function* parts() {
      for (let at = 0; at < input.length; at += 777) yield Buffer.from(input.slice(at, at + 777));
    }
    const fileAccess: Files = { ...FILES, lines: () => linesOf(parts()) };
    const words = ['load', join(directory, 'stream'), '-', '--apply', '--live-check-ms', '0'];
    const { code, err } = await run(words, { fileAccess });
    expect(code).toBe(2);
    expect(err).toContain('Lines 1 to 1,000 are stored.');
    expect(err).toContain('Line 1501 cannot be loaded: it is no JSON');
    expect((await scanned('stream')).trim().split('\n').length).toBe(1000);
  });
  it('takes what scan --json prints, and rows that stand twice', async () => {
    const path = newPath();
    writeFileSync(path, (await run(['scan', DB, '--prefix', 'row/0000', '--json'])).out);
    appendFileSync(path, '{"key":"row/00000","value":"second"}\n');
    expect((await load('scan', path, '--apply')).code).toBe(0);
    expect((await run(['get', join(directory, 'scan'), 'row/00000'])).out).toBe('second\n');
    expect((await load('scan', path, '--apply', '--resume')).out).toContain('11 rows were stored already');
  });
});

describe('a line', () => {
  it('has the same row again', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 40 }),
      fc.string({ minLength: 1, unit: 'binary' }).map((text) => new Uint8Array(Buffer.from(text))),
    );
    fc.assert(
      fc.property(bytes, bytes, fc.option(fc.maxSafeInteger(), { nil: undefined }), (key, value, expireTs) => {
        const text = rowLine({ key, value, ...(expireTs !== undefined && { expireTs }) } as never);
        const line = parseLine(text.trimEnd(), 1);
        expect(line.type).toBe('row');
        if (line.type !== 'row') return;
        expect(Buffer.compare(line.row.key, key)).toBe(0);
        expect(Buffer.compare(line.row.value, value)).toBe(0);
        expect(line.row.expiresAtMs).toBe(expireTs);
      }),
    );
  });
  it('is found wherever the input is divided', async () => {
    const text = Buffer.from('a\nb日\n\nlast');
    for (let size = 1; size <= text.length; size++) {
      async function* parts() {
        for (let at = 0; at < text.length; at += size) yield text.subarray(at, at + size);
      }
      const lines = [];
      for await (const line of linesOf(parts())) lines.push(line);
      expect(lines).toEqual([
        { text: 'a', end: 2, isWhole: true },
        { text: 'b日', end: 7, isWhole: true },
        { text: '', end: 8, isWhole: true },
        { text: 'last', end: 12, isWhole: false },
      ]);
    }
  });
});
