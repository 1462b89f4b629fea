// Runs the simulator, compiled: node scripts/sim.mjs [--src DIR] [options of test/sim/cli.ts].
//
// The types are checked by `npm run check`; here they are only stripped, file by file, which takes a second. `--src` takes
// the engine from another directory than src/, e.g. a copy with a deliberate defect. The output is below .cache, so that
// packages are found from there.
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import ts from 'typescript';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const args = process.argv.slice(2);
const at = args.indexOf('--src');
const src = at < 0 ? join(ROOT, 'src') : resolve(args.splice(at, 2)[1]);
const out = join(ROOT, '.cache', `sim-${createHash('sha256').update(src).digest('hex').slice(0, 8)}`);

function compile(from, to) {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const path = join(from, entry.name);
    if (entry.isDirectory()) compile(path, join(to, entry.name));
    else if (entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts')) {
      const { outputText } = ts.transpileModule(readFileSync(path, 'utf8'), {
        compilerOptions: {
          target: ts.ScriptTarget.ES2022,
          module: ts.ModuleKind.ESNext,
          verbatimModuleSyntax: true,
          rewriteRelativeImportExtensions: true,
        },
        fileName: path,
      });
      writeFileSync(join(to, entry.name.replace(/\.ts$/, '.js')), outputText);
    }
  }
}

rmSync(out, { recursive: true, force: true });
compile(src, join(out, 'src'));
for (const dir of ['sim', 'support']) compile(join(ROOT, 'test', dir), join(out, 'test', dir));
const { main } = await import(pathToFileURL(join(out, 'test', 'sim', 'cli.js')).href);
process.exitCode = await main(args);
