/**
 * Loads a CommonJS package as a copy that no other code in the process can reach.
 *
 * For packages whose state must not be shared: a second `init` of the zstd package, by the application or by another copy of
 * this program, leaves its calls on two memories, and `compress` then returns garbage without an error. Purging Node's own
 * module cache instead would break later `import`s of the same package.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import { compileFunction } from 'node:vm';

type Loaded = Map<string, { exports: unknown }>;

/** The exports of a package found from this file; throws what `require` would throw. */
export function loadPrivatePackage(name: string): unknown {
  // A bundle in CommonJS form does not know its own place: then packages are looked for from the program that was started.
  const from = (import.meta.url as string | undefined) ?? resolve(process.argv[1] ?? 'program');
  return loadFile(createRequire(from).resolve(name), new Map());
}

function loadFile(path: string, loaded: Loaded): unknown {
  const known = loaded.get(path);
  if (known !== undefined) return known.exports;
  const module = { exports: {} };
  loaded.set(path, module);
  const outer = createRequire(path);
  // Files of the package are loaded privately as well; everything else, built-in modules above all, is shared.
  const require = (name: string) => (name.startsWith('.') ? loadFile(outer.resolve(name), loaded) : outer(name));
  const run = compileFunction(readFileSync(path, 'utf8'), ['exports', 'require', 'module', '__filename', '__dirname'], {
    filename: path,
  });
  run(module.exports, require, module, path, dirname(path));
  return module.exports;
}
