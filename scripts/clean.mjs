// Removes the directories named as arguments, inside this repository only: `node scripts/clean.mjs dist coverage`.
import { rmSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
for (const name of process.argv.slice(2)) {
  const path = resolve(root, name);
  const inside = relative(root, path);
  if (inside === '' || inside.startsWith('..')) {
    console.error(`clean: ${name} is not a directory inside this repository`);
    process.exit(2);
  }
  rmSync(path, { recursive: true, force: true });
}
