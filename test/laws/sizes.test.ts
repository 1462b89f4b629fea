/** What a reader has to hold in mind at once is bounded: lines of a file, and of a function. */
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { lineOf, parseSource, readSources, type SourceFile, walk } from '../support/source-files.ts';

const SRC = join(import.meta.dirname, '..', '..', 'src');
const MOST_LINES_OF_A_FILE = 600;
const MOST_LINES_OF_A_FUNCTION = 70;

/** Functions that are longer, with the number of their lines. */
function longFunctions({ path, ast }: SourceFile, most = MOST_LINES_OF_A_FUNCTION): string[] {
  const found: string[] = [];
  walk(ast, (node) => {
    if (!ts.isFunctionLike(node) || !('body' in node) || node.body === undefined) return;
    const first = lineOf(ast, node);
    const lines = ast.getLineAndCharacterOfPosition(node.end).line + 2 - first;
    if (lines > most) found.push(`${path}:${first}: ${lines} lines`);
  });
  return found;
}

describe('sizes', () => {
  const files = readSources(SRC);

  it(`no function has more than ${MOST_LINES_OF_A_FUNCTION} lines`, () => {
    expect(files.flatMap((file) => longFunctions(file))).toEqual([]);
  });
  it(`no file has ${MOST_LINES_OF_A_FILE} lines`, () => {
    const long = files.filter(({ text }) => text.split('\n').length > MOST_LINES_OF_A_FILE);
    expect(long.map(({ path }) => path)).toEqual([]);
  });
  it('are counted from the first line of a function to its last', () => {
    const file = parseSource('a.ts', 'const f = () => {\n  g();\n};\nclass A {\n  m() {\n    g();\n    h();\n  }\n}\n');
    expect(longFunctions(file, 2)).toEqual(['a.ts:1: 3 lines', 'a.ts:5: 4 lines']);
    expect(longFunctions(file, 3)).toEqual(['a.ts:5: 4 lines']);
  });
});
