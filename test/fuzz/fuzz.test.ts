/**
 * Every decoder answers damaged and hostile bytes with a value or one of its typed errors, soon and in bounded memory: 10,000
 * inputs each, from a fixed seed, and all inputs that once found something. A failure prints the command that repeats it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../src/common/bytes.ts';
import { FuzzFinding, makeInput, newCount, runInput } from './runner.ts';
import type { Target } from './target.ts';
import { fuzzTargets } from './targets.ts';

const INPUTS = 10_000;
const SEED = 1;
const CORPUS = join(import.meta.dirname, 'corpus');

const targets = await fuzzTargets();

async function run(target: Target, inputs: number) {
  const count = newCount();
  for (let n = 0; n < inputs; n++) {
    const bytes = makeInput(target, SEED, n);
    try {
      await runInput(target, bytes, count);
    } catch (error) {
      if (!(error instanceof FuzzFinding)) throw error;
      const again = `npm run fuzz -- --decoder ${target.name} --seed ${SEED} --input ${n}`;
      throw new Error(`${error.message}\n  repeat: ${again}\n  bytes: ${toHex(bytes).slice(0, 2000)}`, {
        cause: error,
      });
    }
  }
  return count;
}

describe('damaged and hostile input', () => {
  it.each(targets)('of $name gives values and typed errors only', async (target) => {
    const { inputs, accepted, refused } = await run(target, INPUTS);
    expect(inputs).toBe(INPUTS);
    // Inputs that all end at the first check would prove little, as would inputs that are hardly damaged.
    expect(accepted).toBeGreaterThan(INPUTS / 200);
    expect(refused).toBeGreaterThan(0);
  });

  const files = readdirSync(CORPUS).filter((name) => name.endsWith('.hex'));
  it.each(files)('that once found something is answered well: %s', async (file) => {
    // `DECODER-what-it-is.hex`: comment lines, then the bytes.
    const target = targets
      .filter((t) => file.startsWith(`${t.name}-`))
      .sort((a, b) => b.name.length - a.name.length)[0];
    expect(target, 'the name of the file begins with that of a decoder').toBeDefined();
    const lines = readFileSync(join(CORPUS, file), 'utf8').split('\n');
    const bytes = fromHex(lines.filter((line) => !line.startsWith('#')).join(''));
    await runInput(target, bytes, newCount());
  });
});

describe('the fuzzer', () => {
  const target = (decode: Target['decode']): Target => ({
    name: 'made-up',
    make: () => Uint8Array.of(1, 2, 3),
    decode,
  });
  const finding = (decode: Target['decode']) => expect(runInput(target(decode), Uint8Array.of(1), newCount())).rejects;

  it('makes the same input again from seed, name and number', () => {
    for (const t of targets) expect(makeInput(t, 7, 123)).toEqual(makeInput(t, 7, 123));
    expect(makeInput(targets[0], 7, 123)).not.toEqual(makeInput(targets[0], 8, 123));
  });

  it('sees an exception that is no error of this package', async () => {
    await finding(() => {
      throw new RangeError('Offset is outside the bounds of the DataView');
    }).toThrow('untyped error');
  });

  it('sees a decoder that takes long every time', async () => {
    await finding(() => {
      // Spins on arithmetic: no clock is needed to be slow.
      let x = 1;
      for (let i = 0; i < 80_000_000; i++) x = Math.imul(x, 31) + i;
      return x === 0 ? 1 : 0;
    }).toThrow(/\d+ ms, 1 bytes/);
  });

  it('sees a decoder that takes much memory for little input', async () => {
    const held: Uint8Array[] = [];
    await finding(() => void held.push(new Uint8Array(50 << 20))).toThrow('holds');
  });
});
