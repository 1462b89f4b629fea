/** The source uses no syntax that the oldest supported Node lacks: dist/ is bundled as it is written. */
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { parseSource, readSources, type SourceFile, walk } from '../support/source-files.ts';

const SRC = join(import.meta.dirname, '..', '..', 'src');

/** Declarations with `using` and `await using`, which Node 20 and 22 do not parse. */
function usingDeclarations(files: readonly SourceFile[]): string[] {
  const found: string[] = [];
  for (const { path, ast } of files) {
    walk(ast, (node) => {
      if (ts.isVariableDeclarationList(node) && (node.flags & ts.NodeFlags.Using) !== 0)
        found.push(`${path}: ${node.getText(ast).split('\n')[0]}`);
    });
  }
  return found;
}

describe('syntax', () => {
  it('is that of Node 20: try and finally instead of using', () => {
    expect(usingDeclarations(readSources(SRC))).toEqual([]);
  });

  it('is found where a declaration has it', () => {
    const text = 'async function f() {\n  await using a = b();\n  using c = d();\n  const e = 1;\n  let using = 2;\n}';
    expect(usingDeclarations([parseSource('a.ts', text)])).toEqual([
      'a.ts: await using a = b()',
      'a.ts: using c = d()',
    ]);
  });
});
