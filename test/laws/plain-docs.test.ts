/**
 * The documents, the examples and the texts of the scripts keep to plain words (test/support/plain-words.ts has those to avoid), and
 * CONTRIBUTING lists the same. What other programs print into a page is left to them.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AVOIDED_WORDS, avoidedWords, blankLines, ORDINARY_USES } from '../support/plain-words.ts';
import { readSources } from '../support/source-files.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

/** Written by programs: docs/repair-story.md and the sentences in it need a MinIO server to be made again. */
const NOT_OURS = /^(docs\/repair-story\.md|scripts\/make-transcript\.mjs)$/;

/** Files whose words are checked. Sources have a law of their own kind in text.test.ts. */
function checkedFiles(): string[] {
  const patterns = [
    '*.md',
    'docs/*.md',
    'docs/guide/*.md',
    'rfcs/*.md',
    'docker/*.md',
    'bench/*.md',
    'specs/*.md',
    'src/*.md',
    'test/golden/*.md',
  ];
  const list = execFileSync('git', ['ls-files', '-z', ...patterns, 'examples', 'scripts'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return [...new Set(list.split('\0'))].filter((path) => /\.(md|mjs|ts)$/.test(path) && !NOT_OURS.test(path));
}

/** The text without what programs write into it, without the table of the words themselves, and of the changelog the newest section only. */
function ownText(path: string, text: string): string {
  let own = text.replace(/<!-- (output|options|commands|exit-codes)\b[\s\S]*?<!-- \/\1 -->/g, blankLines);
  if (path === 'CONTRIBUTING.md') own = own.replace(/^Words to avoid[\s\S]*?(?=^## )/m, blankLines);
  if (path === 'CHANGELOG.md')
    own = own
      .split(/^(?=## )/m)
      .slice(0, 2)
      .join('');
  return own;
}

const faultsOf = (path: string, text: string) => avoidedWords(path, ownText(path, text));

/** The table of words to avoid, row by row. */
function tableOfWords(contributing: string): string[][] {
  const section = /^Words to avoid[\s\S]*?(?=^## )/m.exec(contributing)?.[0] ?? '';
  return [...section.matchAll(/^\| ([^|]+) \| ([^|]+) \|$/gm)]
    .map(([, not, but]) => [not, but])
    .filter(([not]) => not !== 'not');
}

describe('plain words', () => {
  it('are used in documents, examples and scripts', () => {
    const files = checkedFiles();
    expect(files.length).toBeGreaterThan(40);
    expect(files.flatMap((path) => faultsOf(path, read(path)))).toEqual([]);
  });
  it('are those of the table in CONTRIBUTING', () => {
    expect(tableOfWords(read('CONTRIBUTING.md'))).toEqual(AVOIDED_WORDS.map(({ not, but }) => [not, but]));
  });
  it('have exceptions that occur', () => {
    const texts = [...checkedFiles().map(read), ...readSources(join(ROOT, 'src')).map((f) => f.text)].join('\n');
    expect(ORDINARY_USES.filter(([use]) => texts.match(use) === null).map(([, why]) => why)).toEqual([]);
  });
});

describe('the law of plain words sees', () => {
  it.each([
    ['the object lies in wal/'],
    ['the row behind the end'],
    ['Whoever opens it'],
    ['the log tells that'],
    ['it waits for ever'],
    ['a look at the log'],
  ])('%s', (line) => {
    expect(faultsOf('docs/a.md', `fine\n${line}\n`)).toEqual([expect.stringMatching(/^docs\/a\.md:2: /)]);
  });
  it('nothing in ordinary uses, in parts that programs write, and in old sections of the changelog', () => {
    expect(faultsOf('docs/a.md', 'The verdict "cannot tell". Look at the log. It relies on families.')).toEqual([]);
    expect(faultsOf('docs/a.md', '<!-- output:a -->\nit lies\n<!-- /output -->\n')).toEqual([]);
    expect(faultsOf('docs/a.md', '<!-- output:a -->\n<!-- /output -->\nit lies\n')).toHaveLength(1);
    expect(faultsOf('CHANGELOG.md', '# C\n## 2\nnew lies\n## 1\nold lies\n')).toHaveLength(1);
  });
});
