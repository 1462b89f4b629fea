// Adds to package-lock.json what `npm install` leaves out if its registry has no packages for other platforms:
// the optional dependencies (prebuilt binaries) for those platforms. Without their entries `npm ci` rejects the lock file
// if they exist. An entry has the exact version that its parent requires, and the platform in its name;
// it has no checksum, so only the checksum of the registry is checked.
//
//   node scripts/complete-lock.mjs           after each change of the dependencies
//   node scripts/complete-lock.mjs --check   only lists what is missing; exit code 1 if anything is
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PLATFORM =
  /(aix|android|darwin|freebsd|linux|netbsd|openbsd|openharmony|sunos|win32)-(arm64|arm|ia32|loong64|mips64el|ppc64|riscv64|s390x|universal|x64)/;
const path = join(dirname(dirname(fileURLToPath(import.meta.url))), 'package-lock.json');
const lock = JSON.parse(readFileSync(path, 'utf8'));
const missing = [];

for (const [place, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (isFound(place, name)) continue;
    missing.push(`${name}@${version}`);
    const [, os, cpu] = PLATFORM.exec(name) ?? [];
    if (os === undefined || !/^\d/.test(version)) {
      console.error(`${place}: cannot tell platform and version of ${name}@${version}`);
      process.exit(1);
    }
    lock.packages[`node_modules/${name}`] = {
      version,
      ...(cpu !== 'universal' && { cpu: [cpu] }),
      ...(entry.dev && { dev: true }),
      ...(entry.devOptional && { devOptional: true }),
      ...(/musl/.test(name) ? { libc: ['musl'] } : /gnu/.test(name) && { libc: ['glibc'] }),
      optional: true,
      os: [os],
    };
  }
}

/** Whether Node would find `name` from the package at `place`. */
function isFound(place, name) {
  for (let at = place; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
    if (lock.packages[`${at === '' ? '' : `${at}/`}node_modules/${name}`] !== undefined) return true;
    if (at === '') return false;
  }
}

if (missing.length === 0) console.log('package-lock.json is complete');
else if (process.argv.includes('--check')) {
  console.error(`package-lock.json lacks ${missing.join(', ')}; run: node scripts/complete-lock.mjs`);
  process.exit(1);
} else {
  const inOrder = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en'));
  lock.packages = Object.fromEntries(inOrder);
  writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`added to package-lock.json: ${missing.join(', ')}`);
}
