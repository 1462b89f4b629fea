// Makes dist/ of src/: `npm run build`. One file for each entry, what several of them need in shared files beside them, source maps that
// hold the source, and the declarations (scripts/declarations.mjs).
//
// Each module is in one file of dist/ only, so a class of errors is the same object whichever entry it is imported from. The file of
// threads is an entry, too, in the directory of the shared files: src/compaction/thread.ts expects it beside the file that it is in.
// Packages and what Node has stay imports.
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { entryNames, writeDeclarations } from './declarations.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const DIST = join(ROOT, 'dist');
/** Files of dist/ without their ending -> modules. */
const ENTRIES = {
  ...Object.fromEntries(entryNames().map((name) => [name, `src/${name}.ts`])),
  'merge-thread': 'src/compaction/merge-thread.ts',
  'cli/main': 'src/cli/main.ts',
};

async function writeBundles() {
  const bundle = await rolldown({
    cwd: ROOT,
    input: ENTRIES,
    platform: 'node',
    // Packages, and modules of Node.
    external: (id) => !/^[./]|^[a-z]:\\|^src\//i.test(id),
    onLog(level, log) {
      if (level === 'warn') throw new Error(`rolldown: ${log.message}`);
    },
  });
  await bundle.write({
    dir: DIST,
    format: 'esm',
    sourcemap: true,
    chunkFileNames: '[name]-[hash].js',
    hashCharacters: 'hex',
    // They are in the source maps, and a third of the bytes.
    comments: { jsdoc: false },
    polyfillRequire: false,
  });
  await bundle.close();
}

rmSync(DIST, { recursive: true, force: true });
try {
  await Promise.all([writeBundles(), writeDeclarations(join(DIST, 'types'), join(DIST, 'types-5.4'))]);
} catch (error) {
  // Half a build would be taken for a whole one.
  rmSync(DIST, { recursive: true, force: true });
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
