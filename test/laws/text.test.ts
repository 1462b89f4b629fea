/** What every file owes its reader: a header, codes that are in use, and words that mean something outside the place it was written in. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { parseSource, readSources, type SourceFile, walk } from '../support/source-files.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const ERRORS = 'common/errors.ts';

/** The first line of a program may say who runs it. */
const startsWithComment = (text: string) => /^(#!.*\n)?\s*(\/\*|\/\/)/.test(text);

/** Codes of `ERROR_CODES` that no string of the source names, besides the table itself. */
function unusedCodes(files: SourceFile[]): string[] {
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

function repositoryFiles(): string[] {
  const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return [...new Set(list.split('\0'))].filter((path) => path !== '' && !NOT_OURS.test(path));
}

describe('text', () => {
  const files = readSources(join(ROOT, 'src'));

  it('every source file begins with a header comment', () => {
    expect(files.filter((f) => !startsWithComment(f.text)).map((f) => f.path)).toEqual([]);
  });
  it('every error code is thrown somewhere', () => {
    expect(unusedCodes(files)).toEqual([]);
  });
  it('no file speaks of the place where it was written', () => {
    const faults = repositoryFiles().flatMap((path) => {
      try {
        return foreignWords(path, readFileSync(join(ROOT, path), 'utf8'));
      } catch (error) {
        // Deleted from the tree but not yet from the index.
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
        throw error;
      }
    });
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
  it('nothing in words that only look alike', () => {
    expect(foreignWords('a.ts', 'network/path sessionToken homework/ reissue 12')).toEqual([]);
  });
});
