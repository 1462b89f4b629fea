/**
 * The declarations that are published compile with TypeScript 5.4, the least version that the README promises: those for versions before
 * 5.7 use nothing that the library of a later version made generic or added. Types that the compiler infers for exports bring such
 * forms in. And they compile without the declarations of Node, with the strictest options. (npm run test:consumers compiles them with
 * each version.)
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { entryNames, writeDeclarations } from '../../scripts/declarations.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'shaledb-declarations-'));
const current = join(directory, 'types');
const before57 = join(directory, 'types-5.4');
beforeAll(() => writeDeclarations(current, before57), 180_000);
afterAll(() => rmSync(directory, { recursive: true }));

/** What a form says, and the version that began with it. */
const LATER: readonly (readonly [string, RegExp])[] = [
  [
    'a generic buffer (5.7)',
    /\b(Uint8|Uint8Clamped|Int8|Uint16|Int16|Uint32|Int32|Float32|Float64|BigInt64|BigUint64)Array</,
  ],
  ['a generic buffer (5.7)', /\b(DataView|Buffer)</],
  ['an iterator with a result (5.6)', /\b(Async)?IterableIterator<[^<>]*,|\b(Async)?Iterable<[^<>]*,/],
  [
    'a class of iterators (5.6)',
    /\b((Async)?IteratorObject|(Array|Map|Set|String|RegExpString)Iterator|BuiltinIteratorReturn)</,
  ],
  ['an import that is deferred (5.9)', /\bimport defer\b/],
  ['a name of the platform', /\bNodeJS\.|\b(?:from|import\() *['"][^.]/],
];

it('those for TypeScript before 5.7 need none later than 5.4, and name nothing of Node', () => {
  const files = readdirSync(before57, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.d.ts'));
  expect(files).toContain('index.d.ts');
  const faults = files.flatMap((name) =>
    readFileSync(join(before57, name), 'utf8')
      .split('\n')
      .flatMap((line, i) =>
        LATER.flatMap(([what, form]) => (form.test(line) ? [`${name}:${i + 1}: ${what}: ${line.trim()}`] : [])),
      ),
  );
  expect(faults).toEqual([]);
});

it('they compile with the library of the language alone', () => {
  const user = join(directory, 'user');
  mkdirSync(user);
  const imports = entryNames().map((name, i) => `export * as entry${i} from '../types/${name}.js';`);
  writeFileSync(join(user, 'use.ts'), imports.join('\n'));
  const compilerOptions = {
    noEmit: true,
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    target: 'es2022',
    lib: ['es2022'],
    types: [],
    module: 'nodenext',
  };
  writeFileSync(join(user, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['use.ts'] }));
  const tsc = join(root, 'node_modules', '.bin', 'tsc');
  const { status, stdout } = spawnSync(tsc, ['-p', user], { encoding: 'utf8' });
  expect([status, stdout]).toEqual([0, '']);
}, 180_000);
