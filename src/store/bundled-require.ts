/**
 * The `require` that a bundle of esbuild in the form of ES modules lacks.
 *
 * esbuild replaces each `require` of the text that it bundles, that of packages included, by a function of its own, which asks for a global
 * `require` and throws "Dynamic require of ... is not supported" where there is none. Modules of Node have none, and for esbuild's
 * defaults the AWS SDK is CommonJS that requires modules of Node: without this such a bundle could not open `s3:` locations.
 *
 * Invariant: in every other program nothing is changed. In a module that is not bundled there is no `require`; in CommonJS form and in
 * bundles of rolldown and Rollup it works.
 */
import { createRequire } from 'node:module';

/** Not a literal where it is required: a bundler would resolve it. */
const BUILT_IN = 'node:module';

type Require = (name: string) => unknown;

/**
 * Gives `scope` a `require` if this file was bundled with one that lacks it. Before the first package that needs it is loaded.
 * @param own the `require` that this file sees
 */
export function provideRequire(
  own: Require | undefined = typeof require === 'function' ? require : undefined,
  scope: object = globalThis,
): void {
  if (own === undefined || works(own)) return;
  const value = createRequire(import.meta.url);
  Object.defineProperty(scope, 'require', { value, configurable: true, writable: true, enumerable: false });
}

function works(own: Require): boolean {
  try {
    own(BUILT_IN);
    return true;
  } catch {
    // Nothing else can be the matter with a module that Node always has.
    return false;
  }
}
