/**
 * Damages bytes at random, from a seed, and judges a decoder by what it makes of them: a value, or one of this package's
 * errors about the bytes; never another exception, never a long run.
 */
import { isDbError } from '../../src/common/errors.ts';
import { nextInt, type Random, SeededRandom } from '../../src/common/random.ts';

const EXTREMES = [0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffc, 0x7fff, 0xffff];
/** Generous for the slowest machine; honest inputs take far less than a millisecond. */
const LIMIT_MS = 50;

function mutateOnce(bytes: Uint8Array, random: Random): Uint8Array {
  const at = nextInt(random, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  switch (nextInt(random, 7)) {
    case 0:
      bytes[at] ^= 1 << nextInt(random, 8);
      return bytes;
    case 1:
      bytes[at] = nextInt(random, 256);
      return bytes;
    case 2:
      if (at + 4 <= bytes.length) view.setUint32(at, EXTREMES[nextInt(random, EXTREMES.length)], true);
      return bytes;
    case 3:
      if (at + 2 <= bytes.length) view.setUint16(at, EXTREMES[nextInt(random, EXTREMES.length)], true);
      return bytes;
    case 4:
      return bytes.slice(0, at);
    case 5: {
      const from = nextInt(random, bytes.length);
      bytes.copyWithin(at, from, from + nextInt(random, 32));
      return bytes;
    }
    default: {
      const insert = new Uint8Array(1 + nextInt(random, 8));
      random.fill(insert);
      return new Uint8Array([...bytes.subarray(0, at), ...insert, ...bytes.subarray(at)]);
    }
  }
}

function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  let out: Uint8Array = bytes.slice();
  const count = 1 + nextInt(random, 3);
  for (let i = 0; i < count && out.length > 0; i++) out = mutateOnce(out, random);
  return out;
}

export interface FuzzResult {
  accepted: number;
  refused: number;
}

/**
 * Runs `decode` on `runs` mutations of the inputs. Throws on the first untyped exception or slow run, with the bytes in hex.
 * A slow run counts only if it is slow five times in a row, because the machine may be busy.
 */
export function fuzzDecoder(
  inputs: readonly Uint8Array[],
  decode: (bytes: Uint8Array) => void,
  options: { runs: number; seed: number },
): FuzzResult {
  const random = new SeededRandom(options.seed);
  const result = { accepted: 0, refused: 0 };
  for (let run = 0; run < options.runs; run++) {
    const bytes = mutate(inputs[nextInt(random, inputs.length)], random);
    const started = performance.now();
    result[judge(decode, bytes)]++;
    if (performance.now() - started <= LIMIT_MS) continue;
    if (bestOfFive(decode, bytes) > LIMIT_MS) throw new Error(`slow on ${Buffer.from(bytes).toString('hex')}`);
  }
  return result;
}

function judge(decode: (bytes: Uint8Array) => void, bytes: Uint8Array): 'accepted' | 'refused' {
  try {
    decode(bytes);
    return 'accepted';
  } catch (error) {
    if (isDbError(error) && (error.kind === 'corruption' || error.kind === 'incompatible')) return 'refused';
    throw new Error(`untyped error on ${Buffer.from(bytes).toString('hex')}`, { cause: error });
  }
}

function bestOfFive(decode: (bytes: Uint8Array) => void, bytes: Uint8Array): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i++) {
    const started = performance.now();
    judge(decode, bytes);
    best = Math.min(best, performance.now() - started);
  }
  return best;
}
