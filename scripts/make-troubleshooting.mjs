// Writes the outputs in docs/troubleshooting.md and README.md: provokes each error, in memory and in virtual time, and puts what comes out
// between the markers `<!-- output:NAME -->` and `<!-- /output -->`. The same bytes on every run.
//
//   node scripts/run-typescript.mjs scripts/make-troubleshooting.mjs [--check]
//
// With `--check` nothing is written and the exit code says whether the pages are current.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SCENES } from './troubleshooting-scenes.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const PAGES = [join(ROOT, 'docs', 'troubleshooting.md'), join(ROOT, 'README.md')];
const MARKED = /(<!-- output:([\w-]+) -->\n)[\s\S]*?(<!-- \/output -->)/g;

/** Names of the outputs that a page shows, in its order. */
export function shownOutputs(page) {
  return [...page.matchAll(MARKED)].map((m) => m[2]);
}

/** The page with all outputs made anew. Throws if it names one that nobody makes. */
export async function renderTroubleshooting(page) {
  const outputs = new Map();
  for (const name of shownOutputs(page)) {
    const scene = SCENES[name];
    if (scene === undefined) throw new Error(`the page shows ${name}, which no scene makes`);
    outputs.set(
      name,
      await scene().catch((cause) => {
        throw new Error(`scene ${name}: ${cause.message}`, { cause });
      }),
    );
  }
  return page.replace(
    MARKED,
    (_all, begin, name, end) => `${begin}\`\`\`text\n${outputs.get(name).trimEnd()}\n\`\`\`\n${end}`,
  );
}

/** Not when a test imports it. */
const isProgram = process.argv[1]?.endsWith('run-typescript.mjs') === true;
if (isProgram) {
  for (const path of PAGES) {
    const page = readFileSync(path, 'utf8');
    const current = await renderTroubleshooting(page);
    if (!process.argv.includes('--check')) writeFileSync(path, current);
    else if (current !== page) {
      console.error(`${path} is not current: run node scripts/run-typescript.mjs scripts/make-troubleshooting.mjs`);
      process.exitCode = 1;
    }
  }
}
