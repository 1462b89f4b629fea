// Runs every block of code in README.md and the pages of docs, as a user's program against the built package, and compares what they
// print with the outputs that the pages show:
//
//   npm run build && node scripts/run-docs.mjs [--check] [--s3 with|without|only] [PAGE ...]
//
// Without `--check` it writes the outputs into the pages. Programs and commands that name an S3 server need SHALEDB_TEST_S3_ENDPOINT and the
// AWS_* keys; `without` leaves these out, `only` runs nothing else, `with` (default) runs all, and says so where there is no server. What
// is in a page is found by docs-blocks.mjs, which also says how a page marks what a block needs besides. Blocks of TypeScript are compiled as a
// project of their own in strict mode. Exit code 1 if anything failed.
import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Client } from 'minio';
import ts from 'typescript';
import { blocksOf, isShown, PART_END, sourceOf } from './docs-blocks.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const TIME_LIMIT_MS = 120_000;
const WORKERS = 2;
/** Written in the pages -> replaced by the server of this run. */
const SHOWN_ENDPOINT = 'http://127.0.0.1:9000';
/** The bucket in the pages, as URLs and options name it. */
const SHOWN_BUCKET = /(?<=s3:\/\/|bucket: ')shaledb(?=[/'])/g;
/** Directories in the pages, replaced by one of this run. */
const SHOWN_DIRECTORY = '/var/lib/';
/** Played by another script, with outputs; and the reference, whose code is declarations. */
const PLAYED = new Set(['docs/repair-story.md', 'docs/api.md']);

/** Every page whose blocks are run. */
export function documentedPages() {
  const below = (directory) => {
    if (!existsSync(join(ROOT, directory))) return [];
    return readdirSync(join(ROOT, directory))
      .filter((name) => name.endsWith('.md'))
      .map((name) => `${directory}/${name}`);
  };
  return ['README.md', ...below('docs'), ...below('docs/guide')].filter((page) => !PLAYED.has(page));
}

/** What all pages show. Throws if a block is of no kind that is run. */
export function planOf(pages = documentedPages()) {
  return pages.map((page) => {
    const text = readFileSync(join(ROOT, page), 'utf8');
    return { page, text, ...blocksOf(page, text) };
  });
}

const needsS3 = (code) => /s3:\/\/|S3Store/.test(code);

// ---- the machine of a run

/** A directory for the run, in which `shaledb` can be imported. */
function makePlace() {
  const place = mkdtempSync(join(tmpdir(), 'shaledb-docs-'));
  mkdirSync(join(place, 'node_modules'));
  symlinkSync(ROOT, join(place, 'node_modules', 'shaledb'));
  for (const name of ['@types', 'typescript', 'undici-types', ...PEERS]) {
    const from = join(ROOT, 'node_modules', name);
    if (!existsSync(from)) continue;
    mkdirSync(dirname(join(place, 'node_modules', name)), { recursive: true });
    symlinkSync(from, join(place, 'node_modules', name));
  }
  return place;
}

/** Packages that programs of the pages use besides. */
const PEERS = ['classic-level', 'lmdb', '@slatedb/uniffi', 'pino', 'esbuild', '@opentelemetry/api'];

function run(program, args, options) {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: TIME_LIMIT_MS, maxBuffer: 2 ** 26, ...options }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : (error.code ?? error.signal), out: stdout, err: stderr }),
    );
  });
}

const environment = () => ({ ...process.env, NO_COLOR: '1', NODE_NO_WARNINGS: '1', COLUMNS: '100' });

/** Replaces places of the pages by those of this run. */
function placed(text, directory) {
  const endpoint = process.env.SHALEDB_TEST_S3_ENDPOINT;
  const local = text.replaceAll(SHOWN_DIRECTORY, `${directory}/`);
  return endpoint === undefined ? local : local.replaceAll(SHOWN_ENDPOINT, endpoint).replace(SHOWN_BUCKET, BUCKET);
}

const BUCKET = `shaledb-docs-${Date.now().toString(36)}`;

/** Makes the bucket of this run. Resolves to what removes it again. */
async function makeBucket() {
  const url = new URL(process.env.SHALEDB_TEST_S3_ENDPOINT);
  process.env.AWS_ACCESS_KEY_ID ??= 'minioadmin';
  process.env.AWS_SECRET_ACCESS_KEY ??= 'minioadmin';
  const client = new Client({
    endPoint: url.hostname,
    port: Number(url.port),
    useSSL: url.protocol === 'https:',
    accessKey: process.env.AWS_ACCESS_KEY_ID,
    secretKey: process.env.AWS_SECRET_ACCESS_KEY,
  });
  await client.makeBucket(BUCKET);
  return async () => {
    const names = [];
    for await (const { name } of client.listObjectsV2(BUCKET, '', true)) names.push(name);
    await client.removeObjects(BUCKET, names);
    await client.removeBucket(BUCKET);
  };
}

// ---- programs

async function runProgram(program, place, number) {
  const directory = join(place, `program-${number}`);
  mkdirSync(directory);
  const source = placed(sourceOf(program), directory);
  const file = join(directory, 'program.mjs');
  writeFileSync(file, program.language === 'ts' ? javaScript(source) : source);
  const { code, out, err } = await run(process.execPath, [file], { cwd: directory, env: environment() });
  const faults = [];
  if (code !== 0) faults.push(`${program.where}: the program ended with ${code}\n${err}${out}\n${numbered(source)}`);
  const outputs = out.split(`${PART_END}\n`).map((text) => text.replaceAll(`${directory}/`, SHOWN_DIRECTORY));
  program.parts.forEach((part, i) => {
    if (part.output !== undefined && code === 0) part.output.printed = outputs[i];
  });
  return faults;
}

const javaScript = (source) =>
  ts.transpileModule(source, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true },
  }).outputText;

const numbered = (source) =>
  source
    .split('\n')
    .map((line, i) => `${String(i + 1).padStart(4)}  ${line}`)
    .join('\n');

/** Faults of the blocks of TypeScript, as a compiler in strict mode sees them. */
function typeFaults(programs, place) {
  const typed = programs.filter(({ language }) => language === 'ts');
  if (typed.length === 0) return [];
  const directory = join(place, 'typed');
  mkdirSync(directory);
  const files = typed.map((program, i) => {
    const file = join(directory, `program-${i}.mts`);
    writeFileSync(file, sourceOf(program));
    return file;
  });
  const options = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ['node'],
  };
  const diagnostics = ts.getPreEmitDiagnostics(ts.createProgram(files, options));
  return diagnostics.map((d) => {
    const where = typed[files.indexOf(d.file?.fileName)]?.where ?? d.file?.fileName ?? '';
    const line = d.file?.getLineAndCharacterOfPosition(d.start ?? 0).line ?? 0;
    const code = d.file?.text.split('\n')[line] ?? '';
    return `${where}: ${ts.flattenDiagnosticMessageText(d.messageText, ' ')}\n    ${code}`;
  });
}

// ---- commands

/** A database for commands: a table, and rows in the log. */
async function makeDatabase(place) {
  const directory = join(place, 'database');
  const { open } = await import(pathToFileURL(join(ROOT, 'dist', 'index.js')).href);
  const db = await open(pathToFileURL(directory));
  for (let i = 0; i < 200; i++)
    await db.put(`user/${String(i).padStart(4, '0')}`, `{"n":${i}}`, { awaitDurable: false });
  await db.flush({ type: 'memtable' });
  await db.put('user/0000', '{"n":0}');
  await db.close();
  return directory;
}

/** Words of a command, with quotes as a shell takes them. */
function wordsOf(line) {
  return [...line.matchAll(/'([^']*)'|"([^"]*)"|((?:[^\s'"\\]|\\.)+)/g)].map((m) => m[1] ?? m[2] ?? m[3]);
}

const isLocation = (word) => /^(file:|s3:|memory:|LOCATION$|\/var\/lib\/|\/tmp\/|\.\/|\$DB$)/.test(word);
/** What a command may answer: anything but a wrong command line, a bug, or output that was lost. */
const REFUSALS = new Set([2, 70, 74]);

let copies = 0;
async function runShaledb(words, where, database, place) {
  const copy = join(place, `copy-${copies++}`);
  cpSync(database, copy, { recursive: true });
  const table = readdirSync(join(copy, 'compacted'))[0].replace('.sst', '');
  const args = words.map((word) => {
    if (isLocation(word)) return pathToFileURL(copy).href;
    return word.replace(/\b01J[0-9A-Z]{23}\b/, table);
  });
  const main = join(ROOT, 'dist', 'cli', 'main.js');
  const { code, out, err } = await run(process.execPath, [main, ...args], { cwd: place, env: environment() });
  return REFUSALS.has(code) ? [`${where}: shaledb ${words.join(' ')} ended with ${code}\n${err}${out}`] : [];
}

const scripts = () => JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).scripts;

/** Commands that cannot be run here are checked: the script, or the file, must be there. */
function checkedCommand([program, ...args], where) {
  const missing = (what) => [`${where}: ${what} does not exist`];
  if (program === 'npm' && args[0] === 'run')
    return scripts()[args[1]] === undefined ? missing(`npm run ${args[1]}`) : [];
  if (program === 'npm' && ['ci', 'test', 'install', 'pack'].includes(args[0])) return [];
  if (program === 'docker' && args[1] === '-f') return existsSync(join(ROOT, args[2])) ? [] : missing(args[2]);
  if (program === 'node' || program === 'bun' || program === 'deno') {
    const file = args.find((word) => /\.(mjs|ts|js)$/.test(word));
    return file === undefined || existsSync(join(ROOT, file)) || existsSync(join(ROOT, 'examples', file))
      ? []
      : missing(file);
  }
  if (['export', 'cd', 'git', 'npx', 'bunx'].includes(program)) return [];
  return [`${where}: nothing runs or checks the command ${program}`];
}

async function runShell({ line, where }, database, place) {
  const words = wordsOf(line);
  const own =
    words[0] === 'npx' && words[1] === 'shaledb' ? words.slice(2) : words[0] === 'shaledb' ? words.slice(1) : undefined;
  return own === undefined ? checkedCommand(words, where) : runShaledb(own, where, database, place);
}

// ---- outputs of examples

async function runExample(shown) {
  const { code, out, err } = await run(process.execPath, [join(ROOT, shown.path)], { cwd: ROOT, env: environment() });
  if (code !== 0) return [`${shown.where}: ${shown.path} ended with ${code}\n${err}${out}`];
  shown.printed = out;
  return [];
}

// ---- all of it

/** What differs between what a page shows and what was printed; with `write` the page is corrected instead. */
function compare({ page, text, programs, examples }, write) {
  const outputs = [...programs.flatMap(({ parts }) => parts.map(({ output }) => output)), ...examples].filter(
    (output) => output?.printed !== undefined && !isShown(output.text, output.printed),
  );
  if (!write) return outputs.map((o) => `${o.where}: shows\n${o.text}but printed is\n${o.printed}`);
  const faults = [];
  let written = text;
  for (const output of outputs.toSorted((a, b) => b.at - a.at)) {
    if (output.text.includes('[...]')) faults.push(`${output.where}: choose other lines of\n${output.printed}`);
    else
      written = `${written.slice(0, output.at)}\`\`\`text\n${output.printed.trimEnd()}\n\`\`\`${written.slice(output.end)}`;
  }
  if (written !== text) writeFileSync(join(ROOT, page), written);
  return faults;
}

async function inParallel(works) {
  const faults = [];
  const queue = [...works];
  const work = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) faults.push(...(await next()));
  };
  await Promise.all(Array.from({ length: WORKERS }, work));
  return faults;
}

async function runAll(plans, s3, write) {
  const place = makePlace();
  const removeBucket = s3 === 'without' ? async () => undefined : await makeBucket();
  try {
    const database = await makeDatabase(place);
    const isChosen = (code) => (needsS3(code) ? s3 !== 'without' : s3 !== 'only');
    const programs = plans.flatMap((plan) => plan.programs).filter((program) => isChosen(sourceOf(program)));
    const rest = s3 === 'only' ? [] : plans;
    const shell = rest.flatMap((plan) => plan.shell);
    const examples = rest.flatMap((plan) => plan.examples);
    for (const { text } of rest.flatMap((plan) => plan.json)) JSON.parse(text);
    const faults = await inParallel([
      ...programs.map((program, i) => () => runProgram(program, place, i)),
      ...shell.map((each) => () => runShell(each, database, place)),
      ...examples.map((each) => () => runExample(each)),
    ]);
    if (s3 !== 'only')
      faults.push(
        ...typeFaults(
          plans.flatMap((plan) => plan.programs),
          place,
        ),
      );
    faults.push(...plans.flatMap((plan) => compare(plan, write)));
    const counts = `${programs.length} programs, ${shell.length} commands, ${examples.length} outputs of examples`;
    return { faults, counts };
  } finally {
    await removeBucket();
    rmSync(place, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2);
  const at = args.indexOf('--s3');
  const wanted = at < 0 ? 'with' : args.splice(at, 2)[1];
  const isCheck = args.includes('--check');
  const pages = args.filter((arg) => arg !== '--check');
  const hasServer = process.env.SHALEDB_TEST_S3_ENDPOINT !== undefined;
  if (!hasServer && wanted !== 'without')
    console.log('no S3 server (SHALEDB_TEST_S3_ENDPOINT): what needs one is not run');
  const plans = planOf(pages.length === 0 ? undefined : pages);
  const { faults, counts } = await runAll(plans, hasServer ? wanted : 'without', !isCheck);
  for (const fault of faults) console.error(`${fault}\n`);
  console.log(`${counts}: ${faults.length === 0 ? 'all as the pages say' : `${faults.length} faults`}`);
  process.exitCode = faults.length > 0 ? 1 : 0;
}
