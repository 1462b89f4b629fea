// Runs a TypeScript program of the repository on every supported Node, also those that cannot strip types themselves:
//
//   node scripts/run-typescript.mjs test/fuzz/main.ts [ARGUMENTS ...]
//
// Types are not checked here; `npm run check` does that.
import { register } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [program] = process.argv.splice(2, 1);
register('./typescript-hooks.mjs', import.meta.url);
await import(pathToFileURL(resolve(program)).href);
