/** What every file owes its reader: a header, codes that are in use, and words that mean something outside the place it was written in. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { avoidedWords, JUDGED } from '../support/plain-words.ts';
import { parseSource, readSources, type SourceFile, walk } from '../support/source-files.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const ERRORS = 'common/errors.ts';

/** The first line of a program may say who runs it. */
const startsWithComment = (text: string) => /^(#!.*\n)?\s*(\/\*|\/\/)/.test(text);

/** Codes of `ERROR_CODES` that no string of the source names, besides the table itself. */
function unusedCodes(files: readonly SourceFile[]): string[] {
  const codes = new Set<string>();
  const used = new Set<string>();
  for (const file of files) {
    walk(file.ast, (node) => {
      if (file.path === ERRORS && ts.isVariableDeclaration(node) && node.name.getText(file.ast) === 'ERROR_CODES') {
        const table =
          node.initializer && ts.isAsExpression(node.initializer) ? node.initializer.expression : node.initializer;
        if (table && ts.isObjectLiteralExpression(table)) {
          for (const property of table.properties) codes.add(property.name!.getText(file.ast));
        }
      }
      if (ts.isStringLiteralLike(node)) used.add(node.text);
    });
  }
  return [...codes].filter((code) => !used.has(code));
}

/** A rule that a string names as `(file N)`, at its end: N stands in the header of that file, where the rule is explained. */
const LABEL = /\(([a-z\d-]+) ([A-Z]?\d+)\)$/;

/** Labels of rules that no header has. */
function labelsOfNothing(files: readonly SourceFile[]): string[] {
  const rules = new Set<string>();
  for (const { path, text } of files) {
    const [header] = text.split('*/');
    for (const [, number] of header.matchAll(/^ \* (?:Invariants: )?([A-Z]?\d+)\. /gm))
      rules.add(`${stemOf(path)} ${number}`);
  }
  const faults: string[] = [];
  for (const { path, ast } of files) {
    walk(ast, (node) => {
      const label = ts.isStringLiteralLike(node) ? LABEL.exec(node.text) : null;
      if (label !== null && !rules.has(`${label[1]} ${label[2]}`)) faults.push(`${path}: ${label[0]}`);
    });
  }
  return faults;
}

const stemOf = (path: string) => path.replace(/^.*\/|\.ts$/g, '');

const word = (...parts: string[]) => new RegExp(`\\b${parts.join('')}\\b`, 'i');
// Spelled in pieces, so that this file passes its own law.
const FOREIGN_WORDS: [string, RegExp][] = [
  ['a path of one machine', new RegExp(`(^|[\\s'"\`(=:])/${'work'}/`)],
  ['a path of one machine', new RegExp(`/tmp/${'design'}|/${'root'}/`)],
  ['a tracker number', /\b(issue|ticket|pull request|PR) #?\d+\b/i],
  ['how the text came about', word('ses', 'sions?')],
  ['how the text came about', word('sub-?', 'agents?')],
  ['a package registry', word('registry\\.', 'npmjs')],
  ['a package registry', word('py', 'pi\\.org')],
  ['a package registry', word('python', 'hosted')],
  ['a package registry', word('proxy\\.', 'golang')],
  ['a package registry', word('deb\\.', 'debian')],
  ['unfinished work', new RegExp(`\\b(TO${'DO'}|FIX${'ME'})\\b`)],
];
/** Texts by others, and data. */
const NOT_OURS = /^(package-lock\.json|LICENSE|test\/golden\/|.*\.(svg|png|bin|sst|txt)$)/;

function foreignWords(path: string, text: string): string[] {
  const faults: string[] = [];
  text.split('\n').forEach((line, i) => {
    for (const [what, pattern] of FOREIGN_WORDS) {
      const match = pattern.exec(line);
      if (match !== null) faults.push(`${path}:${i + 1}: ${what}: ${match[0].trim()}`);
    }
  });
  return faults;
}

/** The laws about words, which name them. */
const ABOUT_WORDS = /^test\/(laws\/(text|plain-docs)\.test|support\/plain-words)\.ts$/;

const git = (...args: string[]) => execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' });

function repositoryFiles(): string[] {
  const list = git('ls-files', '-z', '--cached', '--others', '--exclude-standard');
  return [...new Set(list.split('\0'))].filter((path) => path !== '' && !NOT_OURS.test(path));
}

/** What a file of the index says; nothing where it was deleted from the tree. */
function present(path: string): string {
  try {
    return readFileSync(join(ROOT, path), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

/** Files that no unit test imports yet, and what tests them. */
const WITHOUT_UNIT_TEST: Readonly<Record<string, string>> = {
  'db/conditional-write.ts': 'through whole databases: test/db/conditional-write.test.ts',
  'db/delete-range.ts': 'through whole databases: test/db/delete-range.test.ts',
  'db/key-history.ts': 'through whole databases: test/db/conditional-write.test.ts',
  'db/handle-metrics.ts': 'through whole databases: test/db/metrics.test.ts',
  'db/writer.ts': 'through whole databases: test/db',
  'lsm/memtable/memtable-index.ts': 'through the memtable: memtable.test.ts and memtable-property.test.ts',
  'lsm/memtable/memtable-order.ts': 'through the memtable: memtable.test.ts and memtable-property.test.ts',
  'lsm/memtable/memtable-radix.ts': 'through the memtable: memtable.test.ts and memtable-property.test.ts',
  'lsm/read/point-lookup.ts': 'through whole databases: test/db/semantics.test.ts and the properties',
  'lsm/table/block-recovery.ts': 'through damaged tables: test/db/table-damage.test.ts and table-bits.test.ts',
  'lsm/table/index-rebuild.ts': 'through damaged tables: test/db/table-damage.test.ts and table-bits.test.ts',
  'lsm/table/read-counts.ts': 'numbers without a rule; what they count: test/db/metrics.test.ts',
  'lsm/table/table-cursor.ts': 'through damaged tables: test/db/table-damage.test.ts and table-bits.test.ts',
  'lsm/table/table-reader.ts': 'through damaged tables: test/db/table-damage.test.ts and table-bits.test.ts',
  'recovery/log-damage.ts': 'through damaged databases: test/db/wal-damage.test.ts and test/tools/wal-repair.test.ts',
};

describe('text', () => {
  const files = readSources(join(ROOT, 'src'));

  it('every file of the source and of the tests begins with a header comment', () => {
    const tests = readSources(join(ROOT, 'test'));
    expect([...files, ...tests].filter((f) => !startsWithComment(f.text)).map((f) => f.path)).toEqual([]);
  });
  it('every file of the formats, of lsm, recovery and db is imported by a unit test, but for those that are listed', () => {
    const imported = new Set(
      readSources(join(ROOT, 'test', 'unit')).flatMap((f) =>
        f.imports.map(({ specifier }) => /\/src\/(.*)$/.exec(specifier)?.[1]),
      ),
    );
    const rooms = files.filter((f) => /^(format|lsm|recovery|db)\//.test(f.path)).map((f) => f.path);
    expect(rooms.length).toBeGreaterThan(120);
    expect(rooms.filter((path) => !imported.has(path))).toEqual(Object.keys(WITHOUT_UNIT_TEST).sort());
  });
  it('every error code is thrown somewhere', () => {
    expect(unusedCodes(files)).toEqual([]);
  });
  it('a broken rule is named with its number in the header of a file', () => {
    expect(labelsOfNothing(files)).toEqual([]);
  });
  it('the source says what it means in plain words, in names, comments and messages', () => {
    expect(files.flatMap((f) => avoidedWords(`src/${f.path}`, f.text))).toEqual([]);
  });
  it('so do the tests and the benchmarks, in names, titles, comments and messages', () => {
    const paths = git('ls-files', '-z', '--cached', '--others', '--exclude-standard', 'test', 'bench')
      .split('\0')
      .filter((path) => /\.(ts|mjs)$/.test(path) && !ABOUT_WORDS.test(path));
    expect(paths.length).toBeGreaterThan(300);
    expect(paths.flatMap((path) => avoidedWords(path, present(path), [JUDGED]))).toEqual([]);
  });
  it('no file speaks of the place where it was written', () => {
    const faults = repositoryFiles().flatMap((path) => foreignWords(path, present(path)));
    expect(faults).toEqual([]);
  });
});

describe('the text laws see', () => {
  it('a file without a header', () => {
    expect(startsWithComment("import { a } from './a.ts';\n// late\n")).toBe(false);
    expect(startsWithComment('/** What this is. */\n')).toBe(true);
    expect(startsWithComment('#!/usr/bin/env node\n/** What this is. */\n')).toBe(true);
    expect(startsWithComment('#!/usr/bin/env node\nrun();\n')).toBe(false);
  });
  it('a code that only the table and a comment name', () => {
    const table = parseSource(ERRORS, "export const ERROR_CODES = { LOST: 'a', KEPT: 'b' } as const;");
    const user = parseSource('db/x.ts', "// 'LOST'\nthrow new E('KEPT');");
    expect(unusedCodes([table, user])).toEqual(['LOST']);
  });
  it('the number of a rule that no header has', () => {
    const file = parseSource(
      'db/a.ts',
      "/**\n * What it is.\n * 1. A rule.\n */\nf('kept (a 1)', 'broken (a 2)', 'elsewhere (b 1)');",
    );
    expect(labelsOfNothing([file])).toEqual(['db/a.ts: (a 2)', 'db/a.ts: (b 1)']);
  });
  it.each(
    [
      `see /${'work'}/shared`,
      `'/${'work'}/x'`,
      `in this ${'ses'}sion`,
      `as iss${'ue'} 12 says`,
      `https://registry.${'npmjs'}.org/x`,
      `// TO${'DO'} later`,
    ].map((line) => [line]),
  )('%s', (line) => {
    expect(foreignWords('a.md', `fine\n${line}`).length).toBe(1);
  });
  it.each([
    ['// the row behind it', 'behind: say after, before'],
    ['const isMendedAlready = true;', 'Mended: say repair, fix'],
    ['function mendManifest() {}', 'mend: say repair, fix'],
    ['const NOT_TOLD = 1;', 'TOLD: say says, reports, shows'],
    ["throw new E('it lies elsewhere');", 'lies: say is, is stored'],
    ['// two looks', 'looks: say state, observation, reads'],
    ['let isFirstLook = true;', 'First Look: say state, observation, reads'],
    ['const strangeRow = 1;', 'strange: say unexpected, foreign, another writer'],
    ['// the answer can tell', 'tell: say says, reports, shows'],
    ['// it is judged', 'judged: say checked, decided; evidence'],
  ])('words to avoid: %s', (line, fault) => {
    expect(avoidedWords('a.ts', `fine\n${line}`)).toEqual([`a.ts:2: ${fault}`]);
  });
  it('ordinary uses and longer words as they are', () => {
    const text = 'isCannotTell, looks like it, amended, believes, families, recommending, untold';
    expect(avoidedWords('a.ts', text)).toEqual([]);
    expect(avoidedWords('a.ts', 'it is judged', [JUDGED])).toEqual([]);
  });
  it('nothing in words that only look alike', () => {
    expect(foreignWords('a.ts', 'network/path sessionToken homework/ reissue 12')).toEqual([]);
  });
});
