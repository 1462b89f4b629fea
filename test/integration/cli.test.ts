/** The command `shaledb` as a process: exit codes, what goes to which output, interrupts, pipes that close, bad places. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { open, WriteBatch } from '../../src/index.ts';
import { ensureBuilt, REPOSITORY_ROOT } from '../support/environment.ts';

const PROGRAM = join(REPOSITORY_ROOT, 'dist', 'cli', 'main.js');
const WRITER = join(REPOSITORY_ROOT, 'test', 'support', 'cli-child.mjs');
const NO_TABLE = '01JC0000000000000000000000';
const ESCAPE = String.fromCharCode(27);

interface Ran {
  code: number | null;
  out: string;
  err: string;
}

async function shaledb(words: string[], env: Record<string, string> = {}): Promise<Ran> {
  const child = spawn(process.execPath, [PROGRAM, ...words], { env: { ...process.env, ...env } });
  const ran: Ran = { code: null, out: '', err: '' };
  child.stdout.on('data', (text) => {
    ran.out += text;
  });
  child.stderr.on('data', (text) => {
    ran.err += text;
  });
  [ran.code] = await once(child, 'close');
  return ran;
}

/** Every file below a directory with its bytes. */
function contents(directory: string): Record<string, string> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  const path = (e: (typeof files)[number]) => join(e.parentPath, e.name);
  return Object.fromEntries(files.map((e) => [path(e), readFileSync(path(e)).toString('base64')]));
}

let place: string;
let directory: string;
let location: string;

beforeAll(() => {
  ensureBuilt();
  place = mkdtempSync(join(tmpdir(), 'shaledb-cli-'));
}, 180_000);
afterAll(() => rmSync(place, { recursive: true, force: true }));
beforeEach((context) => {
  directory = join(place, context.task.id);
  mkdirSync(directory);
  location = pathToFileURL(directory).href;
});

async function killedWriter(rows = 200): Promise<void> {
  const child = spawn(process.execPath, [WRITER, location, String(rows)], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [, signal] = await once(child, 'close');
  expect(signal).toBe('SIGKILL');
}

/** Overwrites bytes of the nth object of a kind. */
function damage(kind: 'wal' | 'compacted' | 'manifest', nth: number): string {
  const name = readdirSync(join(directory, kind)).sort().at(nth)!;
  const path = join(directory, kind, name);
  const bytes = readFileSync(path);
  bytes.fill(0, 100, 140);
  writeFileSync(path, bytes);
  return path;
}

async function rowsOf(): Promise<number> {
  const db = await open(location);
  let rows = 0;
  for await (const _ of db.scan()) rows++;
  await db.close();
  return rows;
}

describe('a damaged log', () => {
  it('is inspected, planned, repaired and opened again', async () => {
    await killedWriter();
    const victim = damage('wal', 5);
    const original = readFileSync(victim);

    const before = contents(directory);
    const inspected = await shaledb(['wal', 'inspect', location]);
    expect({ code: inspected.code, err: inspected.err }).toEqual({ code: 1, err: '' });
    expect(inspected.out).toContain('BAD_CHECKSUM wal/00000000000000000006.sst');
    const planned = await shaledb(['wal', 'repair', location]);
    expect(planned.code).toBe(1);
    expect(contents(directory)).toEqual(before);

    const refused = await shaledb([
      'wal',
      'repair',
      location,
      '--apply',
      '--max-lost-rows',
      '0',
      '--live-check-ms',
      '0',
    ]);
    expect([refused.code, contents(directory)]).toEqual([5, before]);
    const other = await shaledb([
      'wal',
      'repair',
      location,
      '--apply',
      '--plan',
      'p-0123456789abcdef01234567',
      '--live-check-ms',
      '0',
    ]);
    expect([other.code, contents(directory)]).toEqual([6, before]);
    expect(other.err).toContain('PLAN_CHANGED');

    const unaccepted = await shaledb(['wal', 'repair', location, '--apply', '--live-check-ms', '0', '--json']);
    expect([unaccepted.code, contents(directory)]).toEqual([5, before]);
    expect(JSON.parse(unaccepted.out)).toMatchObject({ outcome: 'consent-needed', missingConsent: ['loss'] });

    const command = /^ {2}shaledb (wal repair .*--plan \S+ --accept-loss)$/m.exec(planned.out)![1];
    const words = [...command.split(' '), '--live-check-ms', '0'];
    const repaired = await shaledb(words);
    expect({ code: repaired.code, err: repaired.err }).toEqual({ code: 4, err: '' });
    const again = await shaledb([...words, '--json']);
    const report = JSON.parse(again.out);
    expect(again.code).toBe(4);
    expect(report).toMatchObject({
      schemaVersion: 1,
      type: 'repair',
      alreadyDone: true,
      rows: { recovered: 180, lost: 20 },
    });
    expect(readFileSync(victim).equals(original)).toBe(true);
    expect(await rowsOf()).toBe(180);

    const listed = await shaledb(['damage', 'list', location, '--json']);
    const { entries } = JSON.parse(listed.out);
    expect([listed.code, entries.length, entries[0].state]).toEqual([1, 1, 'open']);
    expect((await shaledb(['damage', 'ack', location, entries[0].id, '--note', 'known'])).code).toBe(0);
    expect((await shaledb(['damage', 'list', location])).code).toBe(0);
    const kept = await shaledb(['quarantine', 'list', location, '--json']);
    expect(JSON.parse(kept.out).entries).toMatchObject([{ from: 'wal/00000000000000000006.sst', neededBy: [] }]);
  });

  it('that heals is repaired with nothing lost', async () => {
    await killedWriter();
    const path = join(directory, 'wal', readdirSync(join(directory, 'wal')).sort()[3]);
    const bytes = readFileSync(path);
    bytes[50] ^= 4;
    writeFileSync(path, bytes);
    const { code, out } = await shaledb(['wal', 'repair', location, '--apply', '--live-check-ms', '0', '--json']);
    expect(code).toBe(3);
    expect(JSON.parse(out)).toMatchObject({ outcome: 'healed', rows: { recovered: 200, lost: 0 } });
    expect(await rowsOf()).toBe(200);
  });

  it('under a live writer is left alone, unless the writer is to be fenced', async () => {
    const child = spawn(process.execPath, [WRITER, location, '200', 'forever'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const closed = once(child, 'close');
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe('written');
    damage('wal', 5);
    const refused = await shaledb(['wal', 'repair', location, '--apply', '--accept-loss', '--live-check-ms', '1000']);
    expect(refused.code).toBe(6);
    expect(refused.err).toContain('LIVE_WRITER');
    const done = await shaledb(['wal', 'repair', location, '--apply', '--accept-loss', '--if-live-writer', 'fence']);
    expect([3, 4]).toContain(done.code);
    expect((await lines.next()).value).toBe('WRITER_FENCED');
    await closed;
    expect(await rowsOf()).toBeGreaterThanOrEqual(180);
  });
});

describe('a closed database', () => {
  beforeEach(async () => {
    const db = await open(location);
    const batch = new WriteBatch();
    for (let i = 0; i < 300; i++) batch.put(`row/${String(i).padStart(4, '0')}`, `value ${i}`);
    await db.write(batch);
    await db.close();
  });

  it('that is whole is clean by every command', async () => {
    for (const words of [
      ['doctor'],
      ['wal', 'inspect'],
      ['sst', 'check'],
      ['manifest', 'inspect'],
      ['damage', 'list'],
    ]) {
      expect({ words, ...(await shaledb([...words, location])) }).toMatchObject({ code: 0, err: '' });
    }
    expect((await shaledb(['wal', 'repair', location])).code).toBe(0);
    expect((await shaledb(['probe', location])).code).toBe(0);
  });
  it('with a damaged table gets it back by the command that the doctor names', async () => {
    damage('compacted', 0);
    const looked = await shaledb(['doctor', location]);
    expect(looked.code).toBe(1);
    expect(looked.out).toMatch(/^L0 \.\..{8} +X+-+$/m);
    const [, command] = /next .*\n? .*shaledb (sst repair \S+ \S+)/.exec(looked.out)!;
    const repaired = await shaledb([...command.split(' '), '--apply', '--live-check-ms', '0']);
    expect(repaired.code, repaired.out + repaired.err).toBe(3);
    expect(await rowsOf()).toBe(300);
  });
  it('with a damaged manifest opens again after the command that the doctor names', async () => {
    damage('manifest', -1);
    await expect(open(location)).rejects.toMatchObject({ name: 'ManifestCorruptionError' });
    expect((await shaledb(['doctor', location])).out).toContain(`shaledb manifest repair ${location}`);
    const repaired = await shaledb(['manifest', 'repair', location, '--apply', '--live-check-ms', '0']);
    expect(repaired.code, repaired.out + repaired.err).toBe(3);
    expect(await rowsOf()).toBe(300);
  });
});

describe('output', () => {
  beforeEach(() => killedWriter());

  it('is plain where nobody asked for colour, and coloured where it is forced', async () => {
    damage('wal', 5);
    const plain = await shaledb(['wal', 'inspect', location]);
    const coloured = await shaledb(['wal', 'inspect', location], { FORCE_COLOR: '1' });
    const none = await shaledb(['wal', 'inspect', location], { FORCE_COLOR: '1', NO_COLOR: '1' });
    expect(plain.out).not.toContain(ESCAPE);
    expect(coloured.out).toContain(ESCAPE);
    expect(none.out).toBe(plain.out);
    expect(coloured.out.replaceAll(new RegExp(`${ESCAPE}\\[\\d+m`, 'g'), '')).toBe(plain.out);
  });
  it('in JSON is nothing but JSON', async () => {
    const { code, out, err } = await shaledb(['wal', 'inspect', location, '--rows', 'full', '--json']);
    const lines = out.trimEnd().split('\n');
    const types = lines.map((line) => JSON.parse(line).type);
    expect([code, err, types.filter((t) => t === 'wal-row').length]).toEqual([0, '', 200]);
  });
  it('that nobody reads to its end is no failure', async () => {
    const pipe = `"${process.execPath}" "${PROGRAM}" wal inspect "${location}" --rows full --json; echo "exit $?" >&2`;
    const child = spawn('sh', ['-c', `(${pipe}) | head -n 1`]);
    let err = '';
    child.stderr.on('data', (text) => {
      err += text;
    });
    await once(child, 'close');
    // It may have been done before the pipe closed.
    expect(['exit 0\n', 'exit 141\n']).toContain(err);
  });
});

describe('places that are not what they should be', () => {
  const commands = (id: string) => [
    ['wal', 'inspect', location],
    ['wal', 'repair', location, '--apply'],
    ['sst', 'check', location],
    ['sst', 'inspect', location, id],
    ['sst', 'repair', location, id, '--apply'],
    ['manifest', 'inspect', location],
    ['manifest', 'repair', location, '--apply'],
    ['doctor', location],
    ['damage', 'list', location],
    ['damage', 'ack', location, 'f-0123456789abcdef', '--note', 'x'],
    ['quarantine', 'list', location],
  ];
  async function refuses(words: string[], code: number, message: string): Promise<void> {
    const before = contents(directory);
    const ran = await shaledb(words);
    expect({ words, code: ran.code, out: ran.out }).toEqual({ words, code, out: '' });
    expect(ran.err).toContain(message);
    expect(ran.err).not.toMatch(/\n {4}at /);
    expect(contents(directory)).toEqual(before);
  }

  it('an empty prefix', async () => {
    for (const words of commands(NO_TABLE)) await refuses(words, 2, 'NOT_A_DATABASE');
  });
  it('foreign files', async () => {
    writeFileSync(join(directory, 'notes.txt'), 'not a database');
    mkdirSync(join(directory, 'photos'));
    writeFileSync(join(directory, 'photos', '00000000000000000001.sst'), 'neither');
    for (const words of commands(NO_TABLE)) await refuses(words, 2, 'NOT_A_DATABASE');
  });
  it('an id that no table has', async () => {
    await killedWriter(20);
    for (const words of commands(NO_TABLE).filter((c) => c.includes(NO_TABLE))) {
      await refuses(words, 2, NO_TABLE);
      await refuses(
        words.map((w) => (w === NO_TABLE ? 'nonsense' : w)),
        2,
        'nonsense',
      );
    }
  });
  it('a location that is none', async () => {
    await refuses(['wal', 'inspect', `${directory}/nowhere`], 2, 'nothing is here. Check the location');
    await refuses(['wal', 'inspect', 'http://host/db'], 2, 'the scheme http: is unknown');
  });
  it('a server that is not there', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    server.close();
    const s3 = `s3://bucket/db?endpoint=http://127.0.0.1:${port}&forcePathStyle=true&region=us-east-1`;
    const env = { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' };
    const { code, out } = await shaledb(['wal', 'inspect', s3, '--timeout-ms', '1000', '--json'], env);
    expect(code).toBe(7);
    expect(JSON.parse(out)).toMatchObject({ type: 'error', error: { code: 'STORE_DOWN', retryable: true } });
  });
});

it('an interrupt ends it with 130, whatever it waits for', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const s3 = `s3://bucket/db?endpoint=http://127.0.0.1:${port}&forcePathStyle=true&region=us-east-1`;
  const env = { ...process.env, AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' };
  const child = spawn(process.execPath, [PROGRAM, 'wal', 'repair', s3, '--apply'], { env });
  let err = '';
  child.stderr.on('data', (text) => {
    err += text;
  });
  const [socket] = await once(server, 'connection');
  child.kill('SIGINT');
  const [code] = await once(child, 'close');
  socket.destroy();
  server.close();
  expect([code, err]).toEqual([130, expect.stringContaining('Run the same command again')]);
});

describe('a file system that takes no more', () => {
  const canMount = ((): boolean => {
    const probe = mkdtempSync(join(tmpdir(), 'shaledb-mount-'));
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', probe], { stdio: 'pipe' });
      execFileSync('umount', [probe], { stdio: 'pipe' });
      return true;
    } catch {
      return false;
    } finally {
      rmSync(probe, { recursive: true, force: true });
    }
  })();

  /** Runs with a file system of its own at the place of the copies. */
  async function withMount(options: string, fill: (path: string) => void, run: () => Promise<void>): Promise<void> {
    const path = join(directory, 'shale', 'quarantine');
    mkdirSync(path, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', path], { stdio: 'pipe' });
    try {
      fill(path);
      if (options !== '') execFileSync('mount', ['-o', options, path], { stdio: 'pipe' });
      await run();
    } finally {
      execFileSync('umount', ['-l', path], { stdio: 'pipe' });
    }
  }
  const cases = [
    ['because it is full', '', 7, 'STORE_FULL'],
    ['because it is read-only', 'remount,ro', 2, 'STORE_DENIED'],
  ] as const;

  (canMount ? it.each(cases) : it.skip.each(cases))(
    '%s stops a repair before anything is changed',
    async (_, options, code, word) => {
      await killedWriter();
      damage('wal', 5);
      const fill = (path: string) => {
        if (options === '') writeFileSync(join(path, 'ballast'), Buffer.alloc(64 * 1024));
      };
      await withMount(options, fill, async () => {
        const before = contents(directory);
        const words = [
          'wal',
          'repair',
          location,
          '--apply',
          '--accept-loss',
          '--live-check-ms',
          '0',
          '--timeout-ms',
          '2000',
        ];
        const ran = await shaledb(words);
        expect(ran.code, ran.err).toBe(code);
        expect(ran.err).toContain(word);
        expect(contents(directory)).toEqual(before);
      });
    },
  );
});
