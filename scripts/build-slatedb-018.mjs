// Builds the program that drives SlateDB 0.18.0 for the interop tests, from test/support/slatedb-018, with cargo:
//
//   node scripts/build-slatedb-018.mjs [CACHE]           default: .cache, where the tests look for it
//   node scripts/build-slatedb-018.mjs --where [CACHE]   only says where the program is, or would be
//
// The name of its directory is made from the source and Cargo.lock, so that a change of either makes another program, and one
// that is there already is the right one. What cargo compiled (560 MB) is kept beside it, in CACHE/slatedb-0.18.0-target, so that
// after a change of the source only the last crate is compiled again; CARGO_TARGET_DIR names another place. The last line of the
// output is the path of the program.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const NAME = 'slatedb-0.18.0';
const PROGRAM = process.platform === 'win32' ? 'slatedb18.exe' : 'slatedb18';
const SOURCE = fileURLToPath(new URL('../test/support/slatedb-018/', import.meta.url));

const args = process.argv.slice(2);
const onlySay = args[0] === '--where';
const cache = resolve(args[onlySay ? 1 : 0] ?? '.cache');

function key() {
  const hash = createHash('sha256');
  const files = readdirSync(SOURCE).filter((name) => /\.rs$|^Cargo\./.test(name));
  for (const file of files.sort()) hash.update(readFileSync(join(SOURCE, file)));
  return hash.digest('hex').slice(0, 16);
}

const program = join(cache, `${NAME}-${key()}`, PROGRAM);

if (!onlySay && !existsSync(program)) {
  const target = resolve(process.env.CARGO_TARGET_DIR || join(cache, `${NAME}-target`));
  // The dependencies' features and versions are those of Cargo.lock, or it fails.
  execFileSync('cargo', ['build', '--locked', '--manifest-path', join(SOURCE, 'Cargo.toml'), '--target-dir', target], {
    stdio: 'inherit',
  });
  mkdirSync(dirname(program), { recursive: true });
  // Nobody finds half a program.
  const copy = `${program}.${process.pid}`;
  copyFileSync(join(target, 'debug', PROGRAM), copy);
  renameSync(copy, program);
}
console.log(program);
