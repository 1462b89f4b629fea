// Writes the outputs in docs/troubleshooting.md, docs/tools.md and README.md: provokes each error, in memory and in virtual time, and puts the output
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
const PAGES = ['docs/troubleshooting.md', 'docs/tools.md', 'README.md'].map((page) => join(ROOT, page));
const MARKED = /(<!-- output:([\w-]+) -->\n)[\s\S]*?(<!-- \/output -->)/g;

/** Names of the outputs that a page shows, in its order. */
export function shownOutputs(page) {
  return [...page.matchAll(MARKED)].map((m) => m[2]);
}

const HEADING_OR_OUTPUT = /^#{1,6} (.*)$|<!-- output:([\w-]+) -->/gm;

/** Output name -> the error code that the heading above it promises; outputs below other headings are left out. */
function promisedCodes(page) {
  const promised = new Map();
  let code;
  for (const [, heading, name] of page.matchAll(HEADING_OR_OUTPUT)) {
    if (heading !== undefined) code = /^`([A-Z][A-Z_]*)`$/.exec(heading)?.[1];
    else if (code !== undefined) promised.set(name, code);
  }
  return promised;
}

/** Throws if an output shows another error than its heading promises: then the scene does not provoke it (any more). */
function assertPromised(name, code, output) {
  const shown = [...output.matchAll(/^\w+Error ([A-Z][A-Z_]*): /gm)].map((m) => m[1]);
  if (shown.length === 1 && shown[0] === code) return;
  const what = shown.length === 0 ? 'no error' : shown.join(', ');
  throw new Error(`the output ${name} stands below the heading ${code}, but shows ${what}: ${output}`);
}

/** The page with all outputs generated again. Throws if it names one without a scene, or one shows another error than its heading says. */
export async function renderTroubleshooting(page) {
  const outputs = new Map();
  const promised = promisedCodes(page);
  for (const name of shownOutputs(page)) {
    const scene = SCENES[name];
    if (scene === undefined) throw new Error(`the page shows ${name}, which no scene makes`);
    outputs.set(
      name,
      await scene().catch((cause) => {
        throw new Error(`scene ${name}: ${cause.message}`, { cause });
      }),
    );
    const code = promised.get(name);
    if (code !== undefined) assertPromised(name, code, outputs.get(name));
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
