/** A ShaleDB process that is killed while it writes. Runs the built package: `ensureBuilt` first. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { REPOSITORY_ROOT } from './environment.ts';
import type { SharedPlace } from './handover-places.ts';
import type { RowChange } from './handover-rows.ts';

const WRITER = join(REPOSITORY_ROOT, 'test', 'support', 'shaledb-writer.mjs');
const TIMEOUT_MS = 60_000;

export interface KilledWriter {
  options?: OpenOptions;
  batches: RowChange[][];
  /** Stands in the keys of what is written while the end comes. */
  crashName: string;
  /** Crash batches that are acknowledged before the kill. */
  killAfter: number;
}

/** Writes the batches durably, then kills the process amid further ones; the names of those that were acknowledged. */
export async function writeAndDie(place: SharedPlace['child'], order: KilledWriter): Promise<string[]> {
  const child = spawn(process.execPath, [WRITER], { stdio: ['pipe', 'pipe', 'pipe'] });
  const { killAfter, ...rest } = order;
  const acknowledged: string[] = [];
  let isReady = false;
  let stderr = '';
  child.stderr.on('data', (text) => {
    stderr = (stderr + text).slice(-5000);
  });
  child.stdin.on('error', () => {});
  child.stdin.write(`${JSON.stringify({ ...place, ...rest })}\n`);
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line === 'ready') isReady = true;
    else acknowledged.push(line);
    if (isReady && acknowledged.length >= killAfter) child.kill('SIGKILL');
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
  const [, signal] = await once(child, 'close');
  clearTimeout(timer);
  if (!isReady || acknowledged.length < killAfter) {
    throw new Error(`the writing process ended too early (${signal ?? 'by itself'}):\n${stderr}`);
  }
  return acknowledged;
}
