/** Randomness as a parameter: the system's, or a seeded generator that replays. */
import { randomFillSync } from 'node:crypto';
import { InvalidArgumentError } from './errors.ts';

/** A source of randomness. */
export interface Random {
  /** Uniform in [0, 2^32). */
  nextUint32(): number;
  /** Overwrites all of `target` with random bytes. */
  fill(target: Uint8Array): void;
}

class SystemRandom implements Random {
  nextUint32(): number {
    return new DataView(randomFillSync(new Uint8Array(4)).buffer).getUint32(0);
  }
  fill(target: Uint8Array): void {
    randomFillSync(target);
  }
}

export const SYSTEM_RANDOM: Random = new SystemRandom();

/**
 * xoshiro128** (Blackman and Vigna, public domain), seeded through splitmix32: the same seed (its lowest 32 bits count) gives
 * the same numbers forever. Not for secrets.
 */
export class SeededRandom implements Random {
  readonly #s = new Uint32Array(4);

  constructor(seed: number) {
    if (typeof seed !== 'number')
      throw new InvalidArgumentError('BAD_ARGUMENT', 'SeededRandom needs a number as seed.');
    let x = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      x = (x + 0x9e3779b9) >>> 0;
      let z = x;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      this.#s[i] = (z ^ (z >>> 16)) >>> 0;
    }
  }

  nextUint32(): number {
    const s = this.#s;
    const x = Math.imul(s[1], 5);
    const result = Math.imul((x << 7) | (x >>> 25), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result;
  }

  fill(target: Uint8Array): void {
    for (let i = 0; i < target.length; i++) target[i] = this.nextUint32() >>> 24;
  }
}

function drawn(random: Random): number {
  try {
    return random.nextUint32();
  } catch (cause) {
    throw new InvalidArgumentError('BAD_ARGUMENT', 'The random generator has no nextUint32() that works.', { cause });
  }
}

/** Uniform in [0, 1). */
export function nextFloat(random: Random): number {
  return drawn(random) / 2 ** 32;
}

/** Uniform whole number in [0, bound); bound at most 2^32. The bias is below bound / 2^32. */
export function nextInt(random: Random, bound: number): number {
  return Math.floor(nextFloat(random) * bound);
}
