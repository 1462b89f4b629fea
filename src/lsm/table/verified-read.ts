/**
 * Reading bytes that must decode: nothing is called damaged before it was read again, past every cache, with identical
 * bytes. A short or flipped answer on the wire thus never becomes a corruption error: bytes that differ from read to read prove
 * damage on the way, and if that goes on, the store is at fault.
 *
 * Invariants:
 * 1. Nothing is called damaged after one read.
 * 2. Bytes that differ from read to read are never called damage of the object.
 */
import { assertThat } from '../../common/assert.ts';
import { equalBytes } from '../../common/bytes.ts';
import { type FindingLocation, locateFindings } from '../../common/damage.ts';
import { CorruptionError, IncompatibleError, isCorruption, type UnavailableError } from '../../common/errors.ts';
import type { Finding } from '../../common/finding.ts';
import type { GetResult, ObjectStore } from '../../store/object-store.ts';
import { storeError } from '../../store/store-error.ts';

/** Waits before further reads as long as no two reads in a row gave the same bytes, ms. */
const WAITS_IN_DOUBT_MS: readonly number[] = [50, 200, 1000];

/** What can be trusted about bytes that do not decode: the reads of one object. */
export class ReadAttempts {
  readonly #waitsMs: readonly number[];
  #previous: Uint8Array | undefined;
  #isSame = false;
  #count = 0;

  /** `waitsMs`: before the second, third ... read that is made in any case. */
  constructor(waitsMs: readonly number[]) {
    this.#waitsMs = waitsMs;
  }

  /** One more read gave these bytes, which do not decode. */
  add(bytes: Uint8Array): void {
    this.#count++;
    this.#isSame = this.#previous !== undefined && equalBytes(this.#previous, bytes);
    this.#previous = bytes;
  }

  /** Reads that gave bytes which do not decode. */
  get count(): number {
    return this.#count;
  }

  /** How long to wait before the next read, ms; undefined: enough was seen. */
  get nextWaitMs(): number | undefined {
    assertThat(this.#count > 0, 'there is a read before the next one (verified-read 1)');
    const done = this.#count - 1;
    const planned = this.#waitsMs.length;
    if (done < planned) return this.#waitsMs[done];
    return this.#isSame ? undefined : WAITS_IN_DOUBT_MS[done - planned];
  }

  /** What the findings say; throws `UnavailableError` if the store gave other bytes each time. */
  reads(store: string, path: string): Finding['reads'] {
    if (!this.#isSame) throw this.#unsteady(store, path);
    assertThat(this.#count >= 2, 'nothing is called damaged after one read (verified-read 1)');
    return { attempts: this.#count, identical: true, pastCaches: true };
  }

  #unsteady(store: string, path: string): UnavailableError {
    const message = `${this.#count} reads gave bytes that do not decode, and not the same ones: they are damaged on the way`;
    return storeError({ cls: 'malformed-response', message, store, path }) as UnavailableError;
  }
}

export interface VerifiedRead<T> {
  /** Fetches the bytes; called again for each further read. `undefined`: the object is absent. */
  read(): Promise<Uint8Array | undefined>;
  /** Throws, or rejects with, a codec's `CorruptionError` on bad bytes. */
  decode(bytes: Uint8Array): T | Promise<T>;
  /** Makes the best of bytes that stayed bad; undefined: nothing, then the error counts. */
  recover?(bytes: Uint8Array, error: CorruptionError, reads: Finding['reads']): Promise<T | undefined> | T | undefined;
  /** The error for an absent object. */
  missing(): CorruptionError;
  location: FindingLocation;
  /** Name of the store, for the message. */
  store: string;
  /** Waits before the second, third ... attempt, in ms; its length is the number of further attempts. */
  rereads: readonly number[];
  wait(ms: number): Promise<void>;
}

/**
 * The decoded value, or a `CorruptionError` that says how often it was read; `UnavailableError` if no two reads agree.
 * Absence rejects at once.
 */
export async function readVerified<T>(job: VerifiedRead<T>): Promise<T> {
  const attempts = new ReadAttempts(job.rereads);
  for (;;) {
    const bytes = await job.read();
    if (bytes === undefined) throw job.missing();
    try {
      return await job.decode(bytes);
    } catch (error) {
      // One bit on the way can also make a version look unknown.
      if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
      attempts.add(bytes);
      const waitMs = attempts.nextWaitMs;
      if (waitMs !== undefined) {
        await job.wait(waitMs);
        continue;
      }
      const reads = attempts.reads(job.store, job.location.object.path);
      if (!isCorruption(error)) throw tooNew(job.location.object.path, error);
      const located = withReads(error, job, reads);
      const recovered = await job.recover?.(bytes, located, reads);
      if (recovered === undefined) throw located;
      return recovered;
    }
  }
}

/** Decodes one object, and reads it again at once if that fails, as `readVerified` does; undefined: nothing is there. */
export async function readTwice<T>(
  store: ObjectStore,
  path: string,
  decode: (got: GetResult) => T,
): Promise<T | undefined> {
  const attempts = new ReadAttempts([0]);
  for (;;) {
    const got = await store.get(path);
    if (got === undefined) return undefined;
    try {
      return decode(got);
    } catch (error) {
      if (!(isCorruption(error) || error instanceof IncompatibleError)) throw error;
      attempts.add(got.bytes);
      if (attempts.nextWaitMs !== undefined) continue;
      attempts.reads(store.name, path);
      throw error;
    }
  }
}

/** The error with the object it is about, and what to do. */
export function tooNew(path: string, error: IncompatibleError): IncompatibleError {
  const remedy = error.code === 'FORMAT_TOO_NEW' ? ' Open it with a newer version of this program.' : '';
  return new IncompatibleError(error.code, `${path}: ${error.message.replace(/\.?$/, '.')}${remedy}`, {
    details: { ...error.details, path },
    cause: error,
  });
}

function withReads(
  error: CorruptionError,
  job: { location: FindingLocation; store: string },
  reads: Finding['reads'],
): CorruptionError {
  const { location, store } = job;
  const findings = locateFindings(error, { ...location, reads }).map((f) => ({
    ...f,
    origin: 'at-rest' as const,
  }));
  const message = `${store}: ${location.object.path}: ${error.message}`;
  return new CorruptionError(message, findings, { details: { ...error.details, store, path: location.object.path } });
}
