/** Commands and pages that texts name are written once, in `common/advice.ts`: one that is renamed changes everywhere. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { COMMANDS } from '../../src/cli/commands.ts';
import * as advice from '../../src/common/advice.ts';
import { lineOf, parseSource, readSources, type SourceFile, walk } from '../support/source-files.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const HOME = 'common/advice.ts';
const NAMES = COMMANDS.map(({ name }) => name.join(' '));

/** Strings that name a command or a page of the documentation; comments may. */
function named({ path, ast }: SourceFile): string[] {
  const found: string[] = [];
  const groups = new Set(COMMANDS.map(({ name }) => name[0]));
  walk(ast, (node) => {
    if (!ts.isStringLiteralLike(node) && !ts.isTemplateHead(node) && !ts.isTemplateMiddleOrTemplateTail(node)) return;
    const isCommand = [...node.text.matchAll(/\bshaledb ([a-z]+)/g)].some(([, word]) => groups.has(word));
    if (isCommand || /\bdocs\/[\w-]+\.md\b/.test(node.text)) found.push(`${path}:${lineOf(ast, node)}: ${node.text}`);
  });
  return found;
}

describe('advice', () => {
  it('is in one file', () => {
    const sources = readSources(join(ROOT, 'src'));
    expect(sources.filter(({ path }) => path !== HOME).flatMap(named)).toEqual([]);
    expect(sources.filter(({ path }) => path === HOME).flatMap(named).length).toBeGreaterThan(10);
  });

  it('names commands that there are', () => {
    const ids = [advice.inspectTable('X'), advice.repairTable('X'), advice.acknowledgeLoss('X')];
    const texts = [...Object.values(advice).filter((value) => typeof value === 'string'), ...ids];
    const commands = texts.filter((text) => text.startsWith('shaledb '));
    expect(commands.length).toBeGreaterThan(10);
    const unknown = commands.filter((command) => !NAMES.some((name) => command.startsWith(`shaledb ${name} `)));
    expect(unknown).toEqual([]);
  });

  it('names pages that there are', () => {
    const pages = [advice.TOOLS_PAGE, advice.makeHint('', 'none').docs];
    expect(pages.filter((page) => !existsSync(join(ROOT, page)))).toEqual([]);
  });

  it('is found elsewhere by this law', () => {
    const at = (text: string) => named(parseSource('db/x.ts', text)).length;
    expect(at("f('shaledb doctor LOCATION');")).toBe(1);
    expect(at('f(`See docs/errors.md.`);')).toBe(1);
    expect(at(`f(\`run shaledb wal repair \${place}\`);`)).toBe(1);
    expect(at("f('shaledb is a database'); // shaledb doctor, docs/errors.md")).toBe(0);
  });
});
