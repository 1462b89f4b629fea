/**
 * Functions of the caller, called so that their failures stay with them: the code that calls them goes on.
 *
 * One place for all of them, because a function also fails later: an async one by a promise that rejects, which would end the
 * process as an unhandled rejection.
 */

/** The result of `call`; undefined if it throws. `onError` gets what it throws, or what a promise that it returns rejects with. */
export function guarded<T>(call: () => T, onError: (error: unknown) => void): T | undefined {
  try {
    const answer = call();
    if (isThenable(answer)) answer.then(undefined, onError);
    return answer;
  } catch (error) {
    onError(error);
    return undefined;
  }
}

/** Whether a function that must answer at once has answered with a promise. */
export function isThenable(answer: unknown): answer is PromiseLike<unknown> {
  return typeof answer === 'object' && answer !== null && typeof (answer as { then?: unknown }).then === 'function';
}

/** Anything that was thrown, as text: it need not be an error, nor have a `toString` that works. */
export function describeThrown(error: unknown): string {
  try {
    return String(error);
  } catch {
    return 'something that cannot be shown';
  }
}
