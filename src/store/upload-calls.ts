/**
 * In which order the calls of an upload may come: one rule for all stores and wrappers, which only say what each step does.
 *
 * Invariants:
 * 1. The steps run one at a time; none begins after the end.
 * 2. A step that fails ends the upload: later calls reject with the same error.
 * 3. What was begun and not completed is discarded, after the step under way has ended, and again at each `abort` until that succeeds.
 * 4. The signal ends a step that waits, or an upload that waits for its next call.
 */
import { isAborted, onAbort } from '../common/abort.ts';
import { ignoreRejection } from '../common/async.ts';
import { isBytes, trueBytes } from '../common/bytes.ts';
import { ClosedError, InvalidArgumentError } from '../common/errors.ts';
import { describeValue } from '../common/option-checks.ts';
import { cancelledError, checkSignal } from './object-path.ts';
import type { CallOptions, ObjectStore, ObjectUpload, PartDigests, PutOutcome } from './object-store.ts';

/** The calls for uploads, each of which a store may have. */
export type UploadingStore = Pick<ObjectStore, 'upload' | 'listUploads' | 'abortUpload'>;

/** Those that `store` has, as functions of their own, for its wrappers. */
export function uploadsOf(store: ObjectStore): UploadingStore {
  return {
    ...(store.upload && { upload: store.upload.bind(store) }),
    ...(store.listUploads && { listUploads: store.listUploads.bind(store) }),
    ...(store.abortUpload && { abortUpload: store.abortUpload.bind(store) }),
  };
}

/** What a store does for an upload. */
export interface UploadSteps {
  write(part: Uint8Array, digests: PartDigests | undefined): Promise<void>;
  /** Leaves no parts, whatever the outcome, unless that is `unknown`. */
  complete(): Promise<PutOutcome>;
  /** Makes the step under way reject soon with `reason`. Absent where no step waits for long. */
  cut?(reason: unknown): void;
  /** Removes what is there. Called when no step runs, also where nothing was begun. */
  discard(): Promise<void>;
  readonly partBytes?: number;
}

/** The upload of `path`, whose path was checked, as its caller has it. */
export function uploadOf(store: string, path: string, options: CallOptions, steps: UploadSteps): ObjectUpload {
  return new UploadCalls(store, path, options, steps);
}

class UploadCalls implements ObjectUpload {
  readonly partBytes?: number;
  readonly #store: string;
  readonly #path: string;
  readonly #signal: AbortSignal | undefined;
  readonly #steps: UploadSteps;
  #step: Promise<unknown> | undefined;
  #isCompleting = false;
  /** Why no further step may begin. */
  #ended: { reason: unknown } | undefined;
  #discarding: Promise<void> | undefined;
  #leave: (() => void) | undefined;

  constructor(store: string, path: string, { signal }: CallOptions, steps: UploadSteps) {
    this.#store = store;
    this.#path = path;
    this.#signal = signal;
    this.#steps = steps;
    if (steps.partBytes !== undefined) this.partBytes = steps.partBytes;
    if (signal === undefined) return;
    if (isAborted(signal)) this.#onSignal();
    else this.#leave = onAbort(signal, () => this.#onSignal());
  }

  async write(part: Uint8Array, digests?: PartDigests): Promise<void> {
    const own = isBytes(part) ? trueBytes(part) : undefined;
    if (own === undefined) throw this.#misuse(`needs bytes that can be read, not ${describeValue(part)}`);
    this.#admit();
    await this.#run(() => this.#steps.write(own, digests));
  }

  async complete(): Promise<PutOutcome> {
    this.#admit();
    this.#isCompleting = true;
    const outcome = await this.#run(() => this.#steps.complete());
    this.#discarding = Promise.resolve();
    this.#end(new ClosedError('CLOSED', `${this.#where()} has ended: complete was called.`));
    return outcome;
  }

  async abort(): Promise<void> {
    if (!this.#isCompleting && this.#ended === undefined) {
      this.#end(new ClosedError('CLOSED', `${this.#where()} was aborted.`));
      if (this.#step !== undefined) this.#steps.cut?.(cancelledError(this.#store, this.#path, undefined));
    }
    await this.#step?.catch(() => undefined);
    if (this.#ended !== undefined) await this.#discard();
  }

  #admit(): void {
    if (this.#ended !== undefined) throw this.#ended.reason;
    if (this.#step !== undefined) throw this.#misuse('takes one call at a time: await the one before');
    if (this.#signal !== undefined) checkSignal(this.#store, this.#path, { signal: this.#signal });
  }

  async #run<T>(run: () => Promise<T>): Promise<T> {
    try {
      const step = run();
      this.#step = step;
      const result = await step;
      this.#step = undefined;
      // What ended the upload while the step ran did not cut it.
      if (!this.#isCompleting) this.#admit();
      return result;
    } catch (error) {
      this.#end(error);
      // The caller learns at once what failed; `abort` waits for this, and reports what could not be removed.
      ignoreRejection(this.#discard());
      throw error;
    }
  }

  #onSignal(): void {
    const reason = cancelledError(this.#store, this.#path, this.#signal);
    if (this.#step !== undefined) {
      this.#steps.cut?.(reason);
      return;
    }
    this.#end(reason);
    ignoreRejection(this.#discard());
  }

  #end(reason: unknown): void {
    this.#ended ??= { reason };
    this.#leave?.();
  }

  #discard(): Promise<void> {
    this.#discarding ??= this.#steps.discard().catch((error: unknown) => {
      this.#discarding = undefined;
      throw error;
    });
    return this.#discarding;
  }

  #where(): string {
    return `${this.#store}: the upload of ${this.#path}`;
  }

  #misuse(what: string): InvalidArgumentError {
    return new InvalidArgumentError('BAD_ARGUMENT', `${this.#where()} ${what}.`);
  }
}
