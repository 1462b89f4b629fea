/** `npm run demo`: its rows are the same everywhere, what it keeps is a database, and an interrupted one leaves nothing. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt, REPOSITORY_ROOT } from '../support/environment.ts';

const DEMO = join(REPOSITORY_ROOT, 'examples', 'demo', 'demo.mjs');
const CLI = join(REPOSITORY_ROOT, 'dist', 'cli', 'main.js');

let place: string;

beforeAll(() => {
  ensureBuilt();
  place = mkdtempSync(join(tmpdir(), 'shaledb-demo-test-'));
}, 180_000);
afterAll(() => rmSync(place, { recursive: true, force: true }));

/** `TMPDIR` is where it puts a database that it does not keep. */
function start(program: string, args: string[]) {
  const child = spawn(process.execPath, [program, ...args], {
    env: { ...process.env, TMPDIR: place, NODE_NO_WARNINGS: '1' },
  });
  const ran = { child, out: '', err: '' };
  child.stdout.on('data', (text) => {
    ran.out += text;
  });
  child.stderr.on('data', (text) => {
    ran.err += text;
  });
  return ran;
}

async function run(program: string, ...args: string[]) {
  const ran = start(program, args);
  const [code] = await once(ran.child, 'close');
  return { code, out: ran.out, err: ran.err };
}

describe('the demo', () => {
  it('passes its checks, deletes its database, and says what to try next', async () => {
    const { code, out, err } = await run(DEMO);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toContain('Rows: 6,434, the words of the Apache License with their places, and the numbers to 6,000');
    expect(out).toContain('nothing acknowledged was lost');
    expect(out).toMatch(/npm run demo -- --keep \S+ && npx shaledb doctor file:\/\/\S+\n$/);
    expect(readdirSync(place)).toEqual([]);
  });

  it('keeps the database on request, and the commands that it prints work on it', async () => {
    const directory = join(place, 'kept');
    const { code, out } = await run(DEMO, '--keep', directory);
    expect(code).toBe(0);
    const commands = [...out.matchAll(/^ {2}npx shaledb (.+)$/gm)].map(([, line]) => line.split(' '));
    const location = pathToFileURL(directory).href;
    expect(commands.map(([command, at]) => [command, at])).toEqual(
      ['doctor', 'tree', 'scan'].map((c) => [c, location]),
    );
    for (const words of commands) expect(await run(CLI, ...words, '--quiet'), words[0]).toMatchObject({ code: 0 });
    expect(await run(DEMO, '--keep', directory)).toMatchObject({
      code: 2,
      err: expect.stringContaining('is not empty'),
    });
    rmSync(directory, { recursive: true });
  });

  it('leaves nothing when it is interrupted in the middle of the load', async () => {
    const ran = start(DEMO, []);
    const ended = once(ran.child, 'close');
    while (!ran.out.includes('\n1. ')) await once(ran.child.stdout, 'data');
    ran.child.kill('SIGINT');
    expect(await ended).toEqual([130, null]);
    expect(ran.err).toContain('Interrupted; nothing is left.');
    expect(readdirSync(place)).toEqual([]);
  });
});
