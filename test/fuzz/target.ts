/** What the fuzzer needs to know of a decoder, and what those who describe decoders share. */
import { equalBytes } from '../../src/common/bytes.ts';
import type { ErrorKind } from '../../src/common/error-kind.ts';
import type { Random } from '../../src/common/random.ts';

// biome-ignore lint/suspicious/noConfusingVoidType: most decoders have nothing to say beyond not throwing
type Verdict = number | string | undefined | void;

export interface Target {
  name: string;
  /** One input. */
  make(random: Random): Uint8Array;
  /**
   * Decodes and uses what comes out. A number returned says how many bytes were produced, where a small input may produce
   * many; a text says that the input was refused, and why, by a decoder that lists what is wrong instead of throwing.
   */
  decode(bytes: Uint8Array): Verdict | Promise<Verdict>;
  /** Kinds of errors that may come; damage and newer forms if absent. */
  allowed?: readonly ErrorKind[];
}

export const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
export const length = (bytes: Uint8Array) => bytes.length;

export function expectSame(a: Uint8Array, b: Uint8Array): void {
  if (!equalBytes(a, b)) throw new Error('what was decoded does not survive being encoded and decoded again');
}

/** Runs all; the first error, if any, is thrown at the end. */
export function inTurn(...runs: (() => unknown)[]): void {
  let failure: { error: unknown } | undefined;
  for (const run of runs) {
    try {
      run();
    } catch (error) {
      failure ??= { error };
    }
  }
  if (failure !== undefined) throw failure.error;
}
