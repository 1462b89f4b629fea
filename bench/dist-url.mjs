/** Where the build under test is: `dist/` of this repository, or the folder that `SHALEDB_BENCH_DIST` names. */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export function distUrl(entry) {
  const directory = process.env.SHALEDB_BENCH_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
  const file = path.resolve(directory, entry);
  if (!fs.existsSync(file)) throw new Error(`no build at ${file}: run "npm run build" first`);
  return pathToFileURL(file).href;
}
