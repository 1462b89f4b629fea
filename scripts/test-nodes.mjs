// Runs the fast tests under other releases of Node: `npm run test:nodes [-- 22 24]`. The releases come from the package
// registry as prebuilt binaries (Linux x64 only) and are kept under .cache/.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installTools, nodePackage, nodeProgram } from './tools-from-registry.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const releases = process.argv.slice(2).length > 0 ? process.argv.slice(2) : ['22', '24'];
const folder = join(root, '.cache', 'nodes');

if (process.platform !== 'linux' || process.arch !== 'x64') {
  console.log('test:nodes needs Linux on x64: other releases of Node are fetched as prebuilt binaries for it.');
  process.exit(1);
}

const wrong = releases.find((release) => !/^\d+$/.test(release));
if (wrong !== undefined) {
  console.error(`${wrong}: give major releases of Node, for example 22 24`);
  process.exit(2);
}
try {
  installTools(folder, Object.fromEntries(releases.map(nodePackage)));
} catch (error) {
  console.error(error.message);
  process.exit(1);
}

let failed = false;
for (const release of releases) {
  const node = nodeProgram(folder, release);
  const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout.trim();
  console.log(`fast tests on Node ${version}`);
  const run = spawnSync(node, [join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--project', 'fast'], {
    cwd: root,
    stdio: 'inherit',
    timeout: 20 * 60_000,
  });
  console.log(`Node ${version}: ${run.status === 0 ? 'passed' : 'FAILED'}`);
  failed ||= run.status !== 0;
}
process.exit(failed ? 1 : 0);
