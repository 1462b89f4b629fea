/**
 * Feeds a target with inputs and judges it: a value, or an error of an allowed kind; within 50 ms of computing (best of five) and within
 * memory that the input accounts for.
 *
 * Input n of a target follows from (seed, name, n) alone, so each can be made again without those before it.
 */
import { getHeapStatistics } from 'node:v8';
import type { ErrorKind } from '../../src/common/error-kind.ts';
import { isDbError } from '../../src/common/errors.ts';
import { SeededRandom } from '../../src/common/random.ts';
import { crc32 } from '../../src/format/checksum.ts';
import { MAX_BLOCK_BYTES } from '../../src/lsm/table/table-reader.ts';
import type { Target } from './target.ts';

const LIMIT_MS = 50;
/** A few stored bytes may honestly unpack to many; those take their time. */
const PRODUCED_BYTES_PER_MS = 128 * 1024;
const REPEATS = 5;
const DAMAGE: readonly ErrorKind[] = ['corruption', 'incompatible'];
/** What decoding may hold at once per byte of input: the least compact form is a number for each bit of a tracker. */
const MEMORY_FACTOR = 200;
const MEMORY_EXTRA_BYTES = 16 << 20;

export interface FuzzCount {
  inputs: number;
  accepted: number;
  refused: number;
  slowestMs: number;
  /** Refusals by code, to see that no decoder refuses all for one reason. */
  codes: Map<string, number>;
}

/** What an input did wrong. */
export class FuzzFinding extends Error {
  readonly target: string;
  readonly bytes: Uint8Array;

  constructor(target: string, bytes: Uint8Array, problem: string, cause?: unknown) {
    super(`${target}: ${problem}`, cause === undefined ? undefined : { cause });
    this.target = target;
    this.bytes = bytes;
  }
}

export function makeInput(target: Target, seed: number, n: number): Uint8Array {
  const key = new TextEncoder().encode(`${seed} ${target.name} ${n}`);
  return target.make(new SeededRandom(crc32(key)));
}

export function newCount(): FuzzCount {
  return { inputs: 0, accepted: 0, refused: 0, slowestMs: 0, codes: new Map() };
}

/** Runs one input and adds it to the count; throws a `FuzzFinding`. */
export async function runInput(target: Target, bytes: Uint8Array, count: FuzzCount): Promise<void> {
  const heldBefore = heldBytes();
  const startedMs = cpuMs();
  const verdict = await judge(target, bytes);
  const tookMs = cpuMs() - startedMs;
  const grown = heldBytes() - heldBefore;
  count.inputs++;
  if (verdict.code === undefined) count.accepted++;
  else {
    count.refused++;
    count.codes.set(verdict.code, (count.codes.get(verdict.code) ?? 0) + 1);
  }
  // Garbage may be collected: only what happens every time counts.
  const limitMs = LIMIT_MS + verdict.produced / PRODUCED_BYTES_PER_MS;
  if (tookMs > limitMs) {
    const best = await leastOf(() => timed(target, bytes));
    if (best > limitMs) throw new FuzzFinding(target.name, bytes, `${best.toFixed(1)} ms, ${bytes.length} bytes`);
    count.slowestMs = Math.max(count.slowestMs, best);
  } else count.slowestMs = Math.max(count.slowestMs, tookMs);
  const allowed = MEMORY_EXTRA_BYTES + MEMORY_FACTOR * bytes.length + 3 * verdict.produced;
  if (grown > allowed) {
    const least = await leastOf(() => growth(target, bytes));
    if (least > allowed) throw new FuzzFinding(target.name, bytes, `holds ${least} bytes for ${bytes.length}`);
  }
}

/** What this process has computed: what others do at the same time does not count, however busy the machine is. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Heap and memory outside of it; a number that falls when garbage is collected. */
function heldBytes(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}

async function growth(target: Target, bytes: Uint8Array): Promise<number> {
  const before = heldBytes();
  await judge(target, bytes);
  return heldBytes() - before;
}

async function timed(target: Target, bytes: Uint8Array): Promise<number> {
  const startedMs = cpuMs();
  await judge(target, bytes);
  return cpuMs() - startedMs;
}

async function leastOf(measure: () => Promise<number>): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < REPEATS; i++) least = Math.min(least, await measure());
  return least;
}

/** `code` is undefined if the input was accepted. */
async function judge(target: Target, bytes: Uint8Array): Promise<{ code: string | undefined; produced: number }> {
  // The decoder gets bytes of its own: one that writes to its input must not change what is reported.
  const input = bytes.slice();
  try {
    // Awaiting only what is a promise keeps the many synchronous decoders fast.
    let result = target.decode(input);
    if (result instanceof Promise) result = await result;
    const produced = typeof result === 'number' ? result : 0;
    if (typeof result === 'string') return { code: result, produced: 0 };
    if (produced > MAX_BLOCK_BYTES) throw new FuzzFinding(target.name, bytes, `produced ${produced} bytes`);
    return { code: undefined, produced };
  } catch (error) {
    if (isDbError(error) && (target.allowed ?? DAMAGE).includes(error.kind)) return { code: error.code, produced: 0 };
    const what = isDbError(error) ? `a ${error.kind} error (${error.code})` : 'an untyped error';
    throw new FuzzFinding(target.name, bytes, `${what}: ${String(error)}`, error);
  }
}
