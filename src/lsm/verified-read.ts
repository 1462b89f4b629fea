/**
 * Reading bytes that must decode: nothing is called damaged before it was read again, past every cache, with identical
 * bytes. A short or flipped answer on the wire thus never becomes a corruption error.
 */
import { equalBytes } from '../common/bytes.ts';
import {
  CorruptionError,
  type Finding,
  IncompatibleError,
  isCorruption,
  type Location,
  locateFindings,
} from '../common/errors.ts';

export interface VerifiedRead<T> {
  /** Fetches the bytes; called again for each further look. `undefined`: the object is absent. */
  read(): Promise<Uint8Array | undefined>;
  /** Throws a codec's `CorruptionError` on bad bytes. */
  decode(bytes: Uint8Array): T;
  /** Makes the best of bytes that stayed bad; undefined: nothing, then the error counts. */
  recover?(bytes: Uint8Array, error: CorruptionError, reads: Finding['reads']): T | undefined;
  /** The error for an absent object. */
  missing(): CorruptionError;
  location: Location;
  /** Name of the store, for the message. */
  store: string;
  /** Waits before the second, third ... look, in ms; its length is the number of further looks. */
  rereads: readonly number[];
  wait(ms: number): Promise<void>;
}

/** The decoded value, or a `CorruptionError` that says how often it was looked at. Absence rejects at once. */
export async function readVerified<T>(job: VerifiedRead<T>): Promise<T> {
  let first: Uint8Array | undefined;
  let identical = true;
  for (let attempt = 0; ; attempt++) {
    const bytes = await job.read();
    if (bytes === undefined) throw job.missing();
    if (first === undefined) first = bytes;
    else identical &&= equalBytes(first, bytes);
    try {
      return job.decode(bytes);
    } catch (error) {
      // One bit on the way can also make a version look unknown.
      if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
      if (attempt < job.rereads.length) {
        await job.wait(job.rereads[attempt]);
        continue;
      }
      if (!isCorruption(error)) throw error;
      const reads = { attempts: attempt + 1, identical, pastCaches: true };
      const located = withReads(error, job, reads);
      const recovered = job.recover?.(bytes, located, reads);
      if (recovered === undefined) throw located;
      return recovered;
    }
  }
}

/** Bytes that were the same more than once are what is stored. */
export function originOf(reads: Finding['reads']): Finding['origin'] {
  return reads.identical && reads.attempts > 1 ? 'at-rest' : 'unknown';
}

function withReads(
  error: CorruptionError,
  job: { location: Location; store: string },
  reads: Finding['reads'],
): CorruptionError {
  const { location, store } = job;
  const findings = locateFindings(error, { ...location, reads }).map((f) => ({
    ...f,
    origin: originOf(reads),
  }));
  const message = `${store}: ${location.object.path}: ${error.message}`;
  return new CorruptionError(message, findings, { details: { ...error.details, store, path: location.object.path } });
}
