/** Real processes: a graceful end on a signal, and what SIGKILL leaves behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LocalStore, open } from '../../src/index.ts';
import { ensureBuilt, REPOSITORY_ROOT } from '../support/environment.ts';

const CHILD = join(REPOSITORY_ROOT, 'test/support/writing-child.mjs');

/** Runs the child until it has reported `lines` lines; gives them and the process. */
async function childWriting(
  dir: string,
  mode: string,
  lines: number,
): Promise<{ child: ChildProcess; seen: string[] }> {
  const child = spawn(process.execPath, [CHILD, dir, mode], { stdio: ['ignore', 'pipe', 'inherit'] });
  const seen: string[] = [];
  const reader = createInterface({ input: child.stdout! });
  await new Promise<void>((resolve, reject) => {
    reader.on('line', (line) => {
      seen.push(line);
      if (seen.length === lines) resolve();
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (seen.length < lines) reject(new Error(`the child ended early: ${code ?? signal}`));
    });
  });
  return { child, seen };
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
    const { child, seen } = await childWriting(place, 'signals', 1);
    expect(seen).toEqual(['written 500']);
    const end = ended(child);
    child.kill(signal);
    expect(await end).toEqual({ code: null, signal });
    expect((await content(place)).size).toBe(500);
  });

  it('by SIGKILL loses no acknowledged row and divides no batch', { timeout: 120_000 }, async () => {
    for (let round = 0; round < 5; round++) {
      const place = join(dir, `kill-${round}`);
      const { child, seen } = await childWriting(place, 'durable', 10 + round * 7);
      const end = ended(child);
      child.kill('SIGKILL');
      expect((await end).signal).toBe('SIGKILL');
      const rows = await content(place);
      for (const line of seen) {
        const n = Number(line.split(' ')[1]);
        for (const half of ['a', 'b']) expect(rows.get(`${half}${n}`), `row ${half}${n}`).toBe(`value ${n}`);
      }
      const batches = [...rows.keys()].filter((k) => k.startsWith('a')).map((k) => k.slice(1));
      expect(
        [...rows.keys()]
          .filter((k) => k.startsWith('b'))
          .map((k) => k.slice(1))
          .sort(),
      ).toEqual(batches.sort());
    }
  });
});
