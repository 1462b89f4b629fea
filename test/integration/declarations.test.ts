/**
 * The declarations that are published compile with TypeScript 5.4, the least version that the README promises: they use nothing that
 * the library of a later version made generic or added. Types that the compiler infers for exports bring such forms in.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'shaledb-declarations-'));
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
];

it('the declarations need no later TypeScript than 5.4', () => {
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
  const words = [tsc, '-p', 'tsconfig.build.json', '--emitDeclarationOnly', '--outDir', directory];
  const { status, stdout } = spawnSync(process.execPath, words, { encoding: 'utf8', cwd: root });
  expect([status, stdout]).toEqual([0, '']);
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.d.ts'));
  expect(files).toContain('index.d.ts');
  const faults = files.flatMap((name) =>
    readFileSync(join(directory, name), 'utf8')
      .split('\n')
      .flatMap((line, i) =>
        LATER.flatMap(([what, form]) => (form.test(line) ? [`${name}:${i + 1}: ${what}: ${line.trim()}`] : [])),
      ),
  );
  expect(faults).toEqual([]);
}, 180_000);
