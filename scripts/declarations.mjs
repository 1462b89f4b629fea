// Writes the declarations of the entries, and of the modules that they refer to, in two forms: as the compiler emits them, and for
// TypeScript before 5.7, in which buffers are not generic. package.json chooses by the version of the user's compiler.
//
// They compile with the library of the language alone. Of the two types that they use of the platform's there is an empty declaration
// beside them, which is merged with the full one of the DOM library or of @types/node where a program has it.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const PLATFORM_TYPES = `/** Merged with the full declarations where a program has them: those of the DOM library, or of @types/node. */
interface AbortSignal {}
interface URL {}
`;
const GENERIC_BUFFERS =
  /\b((?:Uint8|Uint8Clamped|Int8|Uint16|Int16|Uint32|Int32|Float32|Float64|BigInt64|BigUint64)Array|DataView|Buffer)<[^<>]*>/g;

/** Names of the entries, as package.json has them: index, s3 and so on. */
export function entryNames() {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  return Object.values(exports)
    .filter((target) => target.types !== undefined)
    .map(({ types }) => /([\w-]+)\.d\.ts$/.exec(types)[1]);
}

/**
 * The compiler's declarations of all modules, in `directory`. Types are not checked, which takes twice as long as the rest and changes no
 * declaration: `npm run lint` does.
 */
function emit(directory) {
  const tsc = join(ROOT, 'node_modules', '.bin', 'tsc');
  const args = ['-p', 'tsconfig.build.json', '--emitDeclarationOnly', '--noCheck', '--outDir', directory];
  return new Promise((resolve, reject) => {
    const child = spawn(tsc, args, { cwd: ROOT, stdio: 'inherit', shell: process.platform === 'win32' });
    child.on('error', reject);
    child.on('exit', (code, signal) =>
      code === 0 ? resolve() : reject(new Error(`tsc ended with ${signal ?? code}; its messages are above`)),
    );
  });
}

/** Text of the modules that the entries refer to: name relative to `directory` -> text. */
function reachable(directory, entries) {
  const found = new Map();
  const queue = entries.map((name) => `${name}.d.ts`);
  for (const name of queue) {
    if (found.has(name)) continue;
    const text = readFileSync(join(directory, name), 'utf8');
    // The source names modules with the ending of TypeScript, which not every tool finds in declarations.
    const imports = /(\b(?:from|import)\s*\(?\s*['"])(\.[^'"]+)\.ts(['"])/g;
    for (const [, , path] of text.matchAll(imports)) queue.push(relative('.', join(dirname(name), `${path}.d.ts`)));
    found.set(name, text.replace(imports, '$1$2.js$3'));
  }
  return found;
}

function write(directory, modules, change) {
  for (const [name, text] of modules) {
    const path = join(directory, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, change(text));
  }
}

/** Both forms, each into a directory of its own. */
export async function writeDeclarations(current, before57) {
  const directory = mkdtempSync(join(tmpdir(), 'shaledb-declarations-'));
  try {
    await emit(directory);
    const entries = entryNames();
    const modules = reachable(directory, entries);
    const head = '/// <reference lib="esnext.disposable" />\n/// <reference path="./platform.d.ts" />\n';
    for (const name of entries) modules.set(`${name}.d.ts`, head + modules.get(`${name}.d.ts`));
    modules.set('platform.d.ts', PLATFORM_TYPES);
    write(current, modules, (text) => text);
    write(before57, modules, (text) => text.replaceAll(GENERIC_BUFFERS, '$1'));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
