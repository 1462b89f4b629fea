/** Real processes that end gracefully on a signal; for the others see kill.test.ts. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LocalStore, open } from '../../src/index.ts';
import { ensureBuilt, REPOSITORY_ROOT } from '../support/environment.ts';

const CHILD = join(REPOSITORY_ROOT, 'test/support/writing-child.mjs');
const MANY = join(REPOSITORY_ROOT, 'test/support/many-databases-child.mjs');

/** Runs the child until it has reported its first line; gives that, the process, and what it says on stderr. */
async function childWriting(
  dir: string,
  program = CHILD,
): Promise<{ child: ChildProcess; line: string; errors: string[] }> {
  const child = spawn(process.execPath, [program, dir], { stdio: ['ignore', 'pipe', 'pipe'] });
  const errors: string[] = [];
  child.stderr!.on('data', (chunk: Buffer) => void errors.push(chunk.toString()));
  const reader = createInterface({ input: child.stdout! });
  const line = await new Promise<string>((resolve, reject) => {
    reader.once('line', resolve);
    child.on('error', reject);
    child.on('exit', (code, signal) => reject(new Error(`the child ended early: ${code ?? signal}`)));
  });
  return { child, line, errors };
}

const ended = (child: ChildProcess) =>
  new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal }));
  });

async function content(dir: string, path = 'db'): Promise<Map<string, string>> {
  const db = await open({ store: new LocalStore(dir), path });
  const rows = new Map<string, string>();
  for await (const { key, value } of db.scan()) rows.set(Buffer.from(key).toString(), Buffer.from(value).toString());
  await db.close();
  return rows;
}

describe('a process that ends', () => {
  let dir: string;
  beforeAll(() => {
    ensureBuilt();
    dir = mkdtempSync(join(tmpdir(), 'shaledb-crash-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it.each(['SIGTERM', 'SIGINT'] as const)('by %s with handleSignals keeps rows that nobody awaited', async (signal) => {
    const place = join(dir, signal);
    const { child, line } = await childWriting(place);
    expect(line).toBe('written 500');
    const end = ended(child);
    child.kill(signal);
    expect(await end).toEqual({ code: null, signal });
    expect((await content(place)).size).toBe(500);
  });

  it('with many databases, one of them slow and one that cannot close, loses no row of the others', async () => {
    const place = join(dir, 'many');
    const { child, errors } = await childWriting(place, MANY);
    const end = ended(child);
    child.kill('SIGTERM');
    expect(await end).toEqual({ code: null, signal: 'SIGTERM' });
    expect(errors.join('')).not.toContain('MaxListenersExceededWarning');
    for (let d = 0; d < 12; d++) if (d !== 3) expect((await content(place, `db${d}`)).size).toBe(100);
  });
});
