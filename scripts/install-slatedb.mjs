// Installs SlateDB 0.17.0 for Python into a virtual environment, for the interop tests:
//
//   node scripts/install-slatedb.mjs [DIRECTORY]       default: .cache/slatedb-0.17.0, where the tests look for it
//
// Does nothing if it is there already. Needs Python 3.10 or newer with the venv module.
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

const VERSION = '0.17.0';
const directory = resolve(process.argv[2] ?? join('.cache', `slatedb-${VERSION}`));
const python = join(directory, 'bin', 'python');
const probe = `import importlib.metadata as m, slatedb.uniffi; assert m.version("slatedb") == "${VERSION}"`;

function works() {
  if (!existsSync(python)) return false;
  try {
    execFileSync(python, ['-c', probe], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

if (!works()) {
  rmSync(directory, { recursive: true, force: true });
  execFileSync('python3', ['-m', 'venv', directory], { stdio: 'inherit' });
  execFileSync(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', `slatedb==${VERSION}`], {
    stdio: 'inherit',
  });
  execFileSync(python, ['-c', probe], { stdio: 'inherit' });
}
console.log(python);
