// The rows of the demo, made from this repository: every distinct word of its texts and sources with its
// positions, and every package of the lock file. The same rows in the same order on every call.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const SKIPPED = new Set(['node_modules', 'dist', 'test', 'coverage']);
const ROWS_PER_BATCH = 16;

/** Rows as `{ key, value }`, both strings, in the order in which they are loaded. */
export function readRows() {
  return [...wordRows(), ...packageRows()];
}

/** The rows in groups, each of which is written as one batch. */
export function readBatches() {
  const rows = readRows();
  const batches = [];
  for (let i = 0; i < rows.length; i += ROWS_PER_BATCH) batches.push(rows.slice(i, i + ROWS_PER_BATCH));
  return batches;
}

function textFiles(directory = ROOT) {
  const files = [];
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) {
      if (!SKIPPED.has(entry.name) && !entry.name.startsWith('.')) files.push(...textFiles(path));
    } else if (/\.(md|ts|mjs)$/.test(entry.name) || entry.name === 'LICENSE') {
      files.push(path);
    }
  }
  return files.sort();
}

function wordRows() {
  const places = new Map();
  for (const file of textFiles()) {
    const name = relative(ROOT, file).split(sep).join('/');
    readFileSync(file, 'utf8')
      .split('\n')
      .forEach((line, i) => {
        for (const [word] of line.toLowerCase().matchAll(/\p{L}{2,}/gu)) {
          if (!places.has(word)) places.set(word, []);
          places.get(word).push(`${name}:${i + 1}`);
        }
      });
  }
  return [...places]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([word, at]) => ({ key: `word/${word}`, value: JSON.stringify({ count: at.length, at }) }));
}

function packageRows() {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
  return Object.entries(packages)
    .filter(([path]) => path !== '')
    .map(([path, { version, license, integrity, dependencies }]) => ({
      // The path says where a copy is installed; one package may be installed in several versions and places.
      key: `package/${path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)}@${version}/${path}`,
      value: JSON.stringify({ version, license, integrity, dependencies }),
    }));
}
