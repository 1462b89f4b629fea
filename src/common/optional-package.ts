/** Packages that are needed for one thing only, loaded when that is asked for: a missing one is an error that says what to run. */
import { type ErrorCode, IncompatibleError } from './errors.ts';

/** A package, and what needs it. */
export interface OptionalPackage {
  /** Its name in the registry. */
  name: string;
  /** The beginning of a sentence that goes on with "needs the package". */
  what: string;
  /** Of the error. */
  code: ErrorCode;
}

/** What `load` comes to. Rejects with `IncompatibleError` under the given code: `details.install` has the command, `cause` the reason. */
export async function loadPackage<T>({ name, what, code }: OptionalPackage, load: () => Promise<T>): Promise<T> {
  const install = `npm install ${name}`;
  try {
    return await load();
  } catch (cause) {
    const message = `${what} needs the package ${name}, which cannot be loaded: ${firstLine(cause)} Run: ${install}`;
    throw new IncompatibleError(code, message, { details: { package: name, install }, cause });
  }
}

/** Messages of the module loader go on with every file that required the next. */
function firstLine(error: unknown): string {
  const [line] = String(error instanceof Error ? error.message : error).split('\n');
  return /[.!?]$/.test(line) ? line : `${line}.`;
}
