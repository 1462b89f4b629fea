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

/** Runs the child until it has reported its first line; gives that and the process. */
async function childWriting(dir: string): Promise<{ child: ChildProcess; line: string }> {
  const child = spawn(process.execPath, [CHILD, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
  const reader = createInterface({ input: child.stdout! });
  const line = await new Promise<string>((resolve, reject) => {
    reader.once('line', resolve);
    child.on('error', reject);
    child.on('exit', (code, signal) => reject(new Error(`the child ended early: ${code ?? signal}`)));
  });
  return { child, line };
}

const ended = (child: ChildProcess) =>
  new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal }));
  });

async function content(dir: string): Promise<Map<string, string>> {
  const db = await open({ store: new LocalStore(dir), path: 'db' });
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
});
