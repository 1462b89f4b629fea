/** The documentation says what the code says: codes, options, and the programs shown in the README. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { apiEntries, exportsOfEntry, incompleteCalls, renderApi } from '../../scripts/api-doc.mjs';
import { blocksOf, isShown, PART_END, sourceOf } from '../../scripts/docs-blocks.mjs';
import { renderMetrics } from '../../scripts/metrics-doc.mjs';
import { renderOptions } from '../../scripts/options-doc.mjs';
import { planOf } from '../../scripts/run-docs.mjs';
import { ERROR_CODES } from '../../src/common/errors.ts';
import { METRICS } from '../../src/common/metric-catalogue.ts';
import { READER_OPTION_NAMES } from '../../src/db/reader-options.ts';
import { COLLECTOR_CHECKS } from '../../src/gc/settings.ts';
import * as testing from '../../src/testing.ts';
import { OPEN_OPTION_NAMES } from '../../src/upkeep-roles.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const errorsPage = read('docs/errors.md');

/** Markdown files that are shipped with links to each other. */
function pages(): string[] {
  const below = (directory: string) =>
    (existsSync(join(ROOT, directory)) ? readdirSync(join(ROOT, directory)) : [])
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(directory, name));
  return [
    ...below('.'),
    ...below('docs'),
    ...below('docs/guide'),
    ...below('rfcs'),
    ...below('docker'),
    ...below('bench'),
    ...below('src'),
  ];
}

/** Links to files that do not exist, of one page. */
function deadLinks(page: string, text: string): string[] {
  const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map((m) => m[1].split('#')[0]);
  return targets.filter((t) => t !== '' && !/^[a-z]+:/.test(t) && !existsSync(join(ROOT, dirname(page), t)));
}

/** Anchors of the headings of a page, as GitHub and npm make them. */
function anchorsOf(text: string): string[] {
  const seen = new Map<string, number>();
  const headings = text.replace(/^```[\s\S]*?^```/gm, '').matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, heading]) => {
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-');
    const times = seen.get(slug) ?? 0;
    seen.set(slug, times + 1);
    return times === 0 ? slug : `${slug}-${times}`;
  });
}

/** Links to a heading that its page does not have. */
function deadAnchors(page: string, text: string): string[] {
  const links = [...text.matchAll(/\]\(([^)\s#]*)#([^)\s]+)\)/g)];
  return links
    .filter(
      ([, to]) =>
        !/^[a-z]+:/.test(to) && (to === '' || (to.endsWith('.md') && existsSync(join(ROOT, dirname(page), to)))),
    )
    .filter(([, to, anchor]) => !anchorsOf(to === '' ? text : read(join(dirname(page), to))).includes(anchor))
    .map(([, to, anchor]) => `${to}#${anchor}`);
}

const PACKED = (JSON.parse(read('package.json')) as { files: string[] }).files;

/** Whether the package holds a file. */
function isPacked(path: string): boolean {
  return PACKED.some((each) => path === each || path.startsWith(`${each}/`));
}

/** Pages that the package holds. */
function packedPages(): string[] {
  const below = (directory: string) =>
    readdirSync(join(ROOT, directory), { recursive: true, encoding: 'utf8' }).map((name) => join(directory, name));
  return PACKED.filter((each) => each !== 'dist')
    .flatMap((each) => (statSync(join(ROOT, each)).isDirectory() ? below(each) : [each]))
    .filter((path) => path.endsWith('.md'));
}

/** Links of a page that lead out of the package. */
function unpackedLinks(page: string, text: string): string[] {
  const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map((m) => m[1].split('#')[0]);
  return targets.filter((t) => t !== '' && !/^[a-z]+:/.test(t) && !isPacked(join(dirname(page), t)));
}

/** Links to a file of this repository by its address on the web: the path in it. */
function webLinks(text: string): string[] {
  return [...text.matchAll(/https:\/\/github\.com\/shaledb\/shaledb\/(?:blob|tree)\/main\/([^)\s#]+)/g)].map(
    (m) => m[1],
  );
}

/** Codes of a union type, as its source spells them. */
function findingCodes(source: string): string[] {
  const union = /export type FindingCode =([^;]+);/.exec(source);
  return [...(union?.[1] ?? '').matchAll(/'(\w+)'/g)].map((m) => m[1]);
}

/** The options that the page documents between the markers of an interface: rows of its table. */
function documentedOptions(page: string, name: string): string[] {
  const text = page.split(`<!-- options:${name} -->`)[1].split('<!-- /options -->')[0];
  return [...text.matchAll(/^\| `(\w+)`/gm)].map((m) => m[1]);
}

describe('the documentation', () => {
  it('explains every error code', () => {
    const missing = Object.keys(ERROR_CODES).filter((code) => !errorsPage.includes(`| \`${code}\` |`));
    expect(missing).toEqual([]);
  });

  it('explains every code of a finding', () => {
    const codes = findingCodes(read('src/common/finding.ts'));
    expect(codes.length).toBeGreaterThan(10);
    expect(codes.filter((code) => !errorsPage.includes(`| \`${code}\` |`))).toEqual([]);
  });

  it('lists the options as the source documents them', () => {
    const page = read('docs/options.md');
    expect(renderOptions(page)).toBe(page);
  });

  it('lists the metrics as the catalogue has them, each once', () => {
    const page = read('docs/metrics.md');
    expect(renderMetrics(page)).toBe(page);
    const listed = [...page.matchAll(/^\| `(shaledb_\w+)` \|/gm)].map(([, name]) => name);
    expect(listed).toEqual(Object.keys(METRICS));
    expect(new Set(listed).size).toBe(listed.length);
  });

  it.each([
    ['open', ['EncodingOptions', 'SharedOptions', 'WriterOptions', 'OpenOptions'], [...OPEN_OPTION_NAMES]],
    ['openReader', ['EncodingOptions', 'SharedOptions', 'ReaderOptions'], [...READER_OPTION_NAMES]],
    ['the collector', ['CollectorOptions', 'GcOptions'], Object.keys(COLLECTOR_CHECKS)],
  ])('lists the options of %s that the code knows, and no others', (_, names, known) => {
    const page = read('docs/options.md');
    const documented = names.flatMap((each) => documentedOptions(page, each));
    expect(documented.sort()).toEqual(known.sort());
  });

  it('names everything that shaledb/testing exports', () => {
    const page = read('docs/testing.md');
    expect(Object.keys(testing).sort()).toEqual([
      'FaultyStore',
      'ManualClock',
      'SeededRandom',
      'latencyStore',
      'nextFloat',
      'nextInt',
      'storeContract',
    ]);
    expect(Object.keys(testing).filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
  });

  it('explains every fault of the faulty store', () => {
    const union = /export type FaultAction =([^;]+);/.exec(read('src/store/faulty-store.ts'))?.[1] ?? '';
    const actions = [...union.matchAll(/'([a-z-]+)'/g)].map((m) => m[1]);
    expect(actions.length).toBeGreaterThan(10);
    const page = read('docs/testing.md');
    expect(actions.filter((action) => !page.includes(`\`${action}\``))).toEqual([]);
  });

  it('has no links that lead nowhere', () => {
    expect(pages().flatMap((page) => deadLinks(page, read(page)).map((link) => `${page}: ${link}`))).toEqual([]);
    const onTheWeb = [...pages(), ...packedPages()].flatMap((page) => webLinks(read(page)));
    expect(onTheWeb).toContain('CONTRIBUTING.md');
    expect(onTheWeb.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  it('leads to files of the package or to the web where it is part of the package', () => {
    const links = packedPages().flatMap((page) => unpackedLinks(page, read(page)).map((link) => `${page}: ${link}`));
    expect(links).toEqual([]);
  });

  it('has no links to headings that are not there', () => {
    expect(pages().flatMap((page) => deadAnchors(page, read(page)).map((link) => `${page}: ${link}`))).toEqual([]);
  });
});

/** What reads and writes rows: each of its calls has a price and its errors. */
const MAIN_INTERFACES = ['Db', 'Reader', 'Reads', 'Snapshot', 'ScanIterator'];

/** Names that the text of an entry exports, found without the script that makes the page. */
function exportedNames(entry: string): string[] {
  const lists = [...entry.matchAll(/export (?:type )?\{([^}]*)\}/g)].map((m) => m[1]);
  const names = lists
    .join(',')
    .split(',')
    .map((each) => each.replace(/^\s*(type )?/, '').trim());
  return names.filter((name) => name !== '').map((name) => name.split(' as ').at(-1) ?? name);
}

describe('the reference', () => {
  const page = read('docs/api.md');

  it('is what the doc comments say: node scripts/api-doc.mjs', () => {
    expect(renderApi()).toBe(page);
  });

  it.each(apiEntries().map(({ name, path }) => [name, path]))('has every name that %s exports', (_, path) => {
    const names = exportedNames(readFileSync(path, 'utf8'));
    expect(names.length).toBeGreaterThan(0);
    expect(names.filter((name) => !page.includes(`\n### ${name}\n`) && !page.includes(`\n\`${name}\`: [`))).toEqual([]);
  });

  it('says of every call what it costs and how it fails', () => {
    expect(apiEntries().flatMap((entry) => incompleteCalls(entry, MAIN_INTERFACES))).toEqual([]);
  });

  it('leads with each of its links to a heading of its own', () => {
    const anchors = new Set(anchorsOf(page));
    const links = [...page.matchAll(/\]\(#([^)]+)\)/g)].map(([, to]) => to);
    expect(links.length).toBeGreaterThan(300);
    expect(links.filter((to) => !anchors.has(to))).toEqual([]);
  });
});

describe('the blocks of code', () => {
  it('are all of a kind that test/integration/docs-blocks.test.ts runs: see scripts/docs-blocks.mjs', () => {
    const plans = planOf();
    expect(plans.flatMap(({ programs }) => programs).length).toBeGreaterThan(20);
    expect(plans.flatMap(({ shell }) => shell).length).toBeGreaterThan(10);
  });

  it('leave the README short: at most 1,500 words', () => {
    expect(read('README.md').split(/\s+/).length).toBeLessThanOrEqual(1500);
  });

  it('become programs, with what a reader does not see', () => {
    const page = [
      '<!-- before: import { a } from "x"; const hidden = 1; -->'.replaceAll('"', "'"),
      "```js\nimport { a, b } from 'x';\nb(hidden);\n```",
      '<!-- after: a(); -->\n\n```text\nout\n```',
      '<!-- continues -->\n```js\nb(2);\n```',
      '```ts\nlet own = 1;\n```',
    ].join('\n');
    const { programs } = blocksOf('a.md', page);
    expect(programs.map(({ where, language, parts }) => [where, language, parts.length])).toEqual([
      ['a.md:2', 'js', 2],
      ['a.md:15', 'ts', 1],
    ]);
    expect(programs[0].parts.map(({ output }) => output?.text)).toEqual(['out\n', undefined]);
    const end = `console.log(${JSON.stringify(PART_END)});`;
    const lines = sourceOf(programs[0])
      .split('\n')
      .map((line) => line.replace(/^[; ]+/, ''));
    expect(lines.filter((line) => line !== '')).toEqual([
      "import { a, b } from 'x';",
      'const hidden = 1;',
      'b(hidden);',
      'a();',
      end,
      'b(2);',
      end,
      'export {};',
    ]);
  });

  it('of shell are lines of commands', () => {
    const page = '```sh\n# all of it\nnpm ci && npm test   # long\nshaledb stats \\\n  LOCATION\n```\n';
    expect(blocksOf('a.md', page).shell.map(({ line }) => line)).toEqual([
      'npm ci',
      'npm test',
      'shaledb stats LOCATION',
    ]);
  });

  it.each([
    ['```\nx\n```', 'no language'],
    ['```go\nx\n```', 'go'],
    ['```text\nx\n```', 'neither the output of a program'],
    ['```js\nx\n```\nwords\n```text\nx\n```', 'neither the output of a program'],
    ['<!-- continues -->\n```js\nx\n```', 'continues no program'],
  ])('are refused if nothing runs them: %s', (page, fault) => {
    expect(() => blocksOf('a.md', page)).toThrow(fault);
  });

  it('may leave lines out of an output, but invent none', () => {
    expect(isShown('a\nb\n', 'a\nb\n')).toBe(true);
    expect(isShown('a\n', 'a\nb\n')).toBe(false);
    expect(isShown('[...]\nb\n[...]\nd\n', 'a\nb\nc\nd\n')).toBe(true);
    expect(isShown('[...]\nd\n[...]\nb\n', 'a\nb\nc\nd\n')).toBe(false);
  });
});

describe('the documentation laws see', () => {
  it('a link to a file that is not there', () => {
    expect(deadLinks('README.md', '[a](docs/none.md) [b](docs/errors.md#x) [c](https://example.com)')).toEqual([
      'docs/none.md',
    ]);
  });
  it('a link to a heading that is not there', () => {
    const page = '# A page\n## `of` this, *one*\n## Twice\n## Twice\n```sh\n# none\n```\n';
    expect(anchorsOf(page)).toEqual(['a-page', 'of-this-one', 'twice', 'twice-1']);
    expect(
      deadAnchors('README.md', `${page}[a](#twice-1) [b](#none) [c](docs/errors.md#errors) [d](docs/errors.md#x)`),
    ).toEqual(['#none', 'docs/errors.md#x']);
  });
  it('names that an entry exports', () => {
    const entry =
      "export { a } from './a.ts';\nexport {\n  type B,\n  c as d,\n} from './b.ts';\nexport type { E } from './e.ts';";
    expect(exportedNames(entry)).toEqual(['a', 'B', 'd', 'E']);
    expect(exportsOfEntry(apiEntries()[0]).map((each: { name: string }) => each.name)).toContain('WriteBatch');
  });
  it('a link that leads out of the package, and the path of one that leads to the web', () => {
    const text =
      '[a](../src/README.md) [b](errors.md#x) [c](https://github.com/shaledb/shaledb/blob/main/bench/none.md#d)';
    expect(unpackedLinks('docs/a.md', text)).toEqual(['../src/README.md']);
    expect(webLinks(text)).toEqual(['bench/none.md']);
  });
  it('an option whose text has changed', () => {
    const page = '<!-- options:O -->\nold\n<!-- /options -->';
    const source = 'interface O {\n  /** New text. */\n  a?: number;\n}';
    expect(renderOptions(page, [source])).toContain('| `a` | `number` | New text. |');
    expect(() => renderOptions(page, [source.replace('New text.', '')])).toThrow('O.a has no doc comment');
  });
  it('an option that is not documented', () => {
    const page = '<!-- options:O -->\n| `a` | `x` | y |\n| `b` | `x` | y |\n<!-- /options -->';
    expect(documentedOptions(page, 'O')).toEqual(['a', 'b']);
  });
});
