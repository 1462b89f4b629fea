/**
 * Code of the caller's that several threads load, each for itself: named by its module, because a function cannot go to another thread.
 *
 * A relative path or the name of a package would mean something else in each file and each thread that resolves it, so neither is taken.
 */
import { isAbsolute } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describeThrown } from './callbacks.ts';
import { InvalidArgumentError } from './errors.ts';
import { type Check, members, that } from './option-checks.ts';

/** Names an export of a module, which each thread loads for itself. */
export interface ModuleSource {
  /** A URL, such as `new URL('./filter.js', import.meta.url)`, or an absolute path. */
  module: string | URL;
  /** Name of the export. Default: `default`. */
  export?: string;
}

/** The same, checked; plain data. */
export interface ModuleRef {
  /** A URL. */
  readonly module: string;
  readonly export: string;
}

const MODULE_CHECK = members(
  {
    module: that('a URL or an absolute path', (v) => hrefOf(v) !== undefined),
    export: that('the name of an export', (v) => typeof v === 'string' && v.length > 0),
  },
  ['module'],
);

function hrefOf(module: unknown): string | undefined {
  if (module instanceof URL) return module.href;
  if (typeof module !== 'string') return undefined;
  if (isAbsolute(module)) return pathToFileURL(module).href;
  return URL.canParse(module) ? new URL(module).href : undefined;
}

/** An object with these functions, or the name of a module that exports one, which becomes a `ModuleRef`. */
export function methodsOrModule(check: Check): Check {
  return (value, name, faults) => {
    const own: string[] = [];
    const checked = check(value, name, own);
    if (own.length === 0) return checked;
    if (typeof value !== 'object' || value === null || !('module' in value)) {
      faults.push(...own.map((fault) => `${fault}; or { module, export }`));
      return value;
    }
    const given = MODULE_CHECK(value, name, faults) as ModuleSource;
    return { module: hrefOf(given.module) ?? '', export: given.export ?? 'default' } satisfies ModuleRef;
  };
}

/** What `methodsOrModule` has let pass, by a method that the object has: one of the two, or neither. */
export function objectOrModule<T extends object>(
  given: T | ModuleSource | undefined,
  method: keyof T & string,
): { object: T | undefined; module: ModuleRef | undefined } {
  if (given === undefined || method in given) return { object: given as T | undefined, module: undefined };
  const { module, export: name = 'default' } = given as ModuleSource;
  return { object: undefined, module: { module: String(module), export: name } };
}

/**
 * The export, which is an object with these functions. Rejects with `BAD_OPTION`.
 * @param option whose module it is, for messages
 */
export async function loadModule<T>(ref: ModuleRef, option: string, check: Check): Promise<T> {
  let exports: Record<string, unknown>;
  try {
    exports = (await import(ref.module)) as Record<string, unknown>;
  } catch (cause) {
    throw badModule(option, `the module ${ref.module} cannot be loaded: ${describeThrown(cause)}`, cause);
  }
  if (!Object.hasOwn(exports, ref.export)) {
    const known = Object.keys(exports).join(', ');
    throw badModule(option, `the module ${ref.module} has no export ${ref.export}${known && `; it has ${known}`}`);
  }
  const value = exports[ref.export];
  const faults: string[] = [];
  check(value, `${option}: the export ${ref.export} of ${ref.module}`, faults);
  if (faults.length > 0) throw new InvalidArgumentError('BAD_OPTION', `${faults.join('; ')}.`, { details: { faults } });
  return value as T;
}

function badModule(option: string, what: string, cause?: unknown): InvalidArgumentError {
  const fault = `${option}: ${what}`;
  return new InvalidArgumentError('BAD_OPTION', `${fault}.`, { details: { faults: [fault] }, cause });
}
