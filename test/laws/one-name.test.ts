/**
 * One thing, one name: no two files export different things under the same name, and what decodes the stored parts of a table's end
 * is called in one place each.
 */
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { parseSource, readSources, type SourceFile, walk } from '../support/source-files.ts';

const SRC = join(import.meta.dirname, '..', '..', 'src');

/** Decoder of a stored part -> the files that call it. Healing accepts only what decodes. */
const DECODERS: Readonly<Record<string, readonly string[]>> = {
  decodeFooter: ['format/object-end.ts'],
  decodeInfo: ['format/object-end.ts', 'format/section-healing.ts'],
  sealRange: ['format/object-end.ts'],
  decodeFilter: ['lsm/table/table-tail.ts'],
  decodeStats: ['format/section-healing.ts'],
  decodeStatsSteps: ['format/stats-block.ts', 'lsm/table/table-tail.ts'],
};

function namesOf(statement: ts.Statement): string[] {
  const isExported = ts.canHaveModifiers(statement)
    ? ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)
    : false;
  if (isExported !== true) return [];
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.flatMap(({ name }) => (ts.isIdentifier(name) ? [name.text] : []));
  }
  const { name } = statement as { name?: ts.Node };
  return name !== undefined && ts.isIdentifier(name) ? [name.text] : [];
}

/** Names that several files export, each with the files. */
function sharedNames(files: readonly SourceFile[]): string[] {
  const homes = new Map<string, Set<string>>();
  for (const file of files) {
    for (const name of file.ast.statements.flatMap(namesOf)) {
      homes.set(name, (homes.get(name) ?? new Set()).add(file.path));
    }
  }
  return [...homes].filter(([, paths]) => paths.size > 1).map(([name, paths]) => `${name}: ${[...paths].join(', ')}`);
}

/** Constants of files that have one name and are different numbers, each with its files. */
function sharedNumbers(files: readonly SourceFile[]): string[] {
  const homes = new Map<string, Map<number, string[]>>();
  for (const { path, ast } of files) {
    for (const statement of ast.statements) {
      if (!ts.isVariableStatement(statement)) continue;
      for (const { name, initializer } of statement.declarationList.declarations) {
        const value = initializer && numberOf(initializer);
        if (value === undefined || !ts.isIdentifier(name)) continue;
        const values = homes.get(name.text) ?? new Map<number, string[]>();
        homes.set(name.text, values.set(value, [...(values.get(value) ?? []), path]));
      }
    }
  }
  const shared = [...homes].filter(([, values]) => values.size > 1);
  return shared.map(([name, values]) => {
    const texts = [...values].map(([value, paths]) => `${value} in ${paths.join(', ')}`);
    return `${name}: ${texts.join('; ')}`;
  });
}

/** Of a number, or a product or shift of numbers. */
function numberOf(node: ts.Expression): number | undefined {
  if (ts.isNumericLiteral(node)) return Number(node.text);
  if (!ts.isBinaryExpression(node)) return undefined;
  const [left, right] = [numberOf(node.left), numberOf(node.right)];
  if (left === undefined || right === undefined) return undefined;
  if (node.operatorToken.kind === ts.SyntaxKind.AsteriskToken) return left * right;
  return node.operatorToken.kind === ts.SyntaxKind.LessThanLessThanToken ? left * 2 ** right : undefined;
}

function callers(files: readonly SourceFile[], decoder: string): string[] {
  const found = new Set<string>();
  for (const { path, ast } of files) {
    walk(ast, (node) => {
      // Also where it is handed on as a value.
      if (ts.isIdentifier(node) && node.text === decoder && !isDeclaration(node)) found.add(path);
    });
  }
  return [...found].sort();
}

function isDeclaration(node: ts.Identifier): boolean {
  return ts.isImportSpecifier(node.parent) || ts.isFunctionDeclaration(node.parent);
}

describe('names', () => {
  it('are exported by one file each', () => {
    expect(sharedNames(readSources(SRC))).toEqual([]);
  });

  it('of numbers are of one number each', () => {
    expect(sharedNumbers(readSources(SRC))).toEqual([]);
  });

  it('of numbers are compared by value', () => {
    const files = [
      parseSource('a.ts', 'const MAX = 10;\nconst MIB = 1024 * 1024;\nconst NEAR = 3;'),
      parseSource('b.ts', 'export const MAX = 1_0;\nconst MIB = 1 << 20;\nconst NEAR = 4;'),
      parseSource('c.ts', 'const MAX = 20;\nfunction f() {\n  const NEAR = 5;\n}'),
    ];
    expect(sharedNumbers(files)).toEqual(['MAX: 10 in a.ts, b.ts; 20 in c.ts', 'NEAR: 3 in a.ts; 4 in b.ts']);
  });

  it('are compared whatever is declared', () => {
    const files = [
      parseSource('a.ts', 'export interface Gap {}\nexport const [x] = y;\nexport const max = 1;'),
      parseSource('b.ts', 'export class Gap {}\nexport async function max() {}\nfunction own() {}'),
      parseSource('c.ts', "export { Gap } from './a.ts';\nfunction own() {}"),
    ];
    expect(sharedNames(files)).toEqual(['Gap: a.ts, b.ts', 'max: a.ts, b.ts']);
  });
});

describe("the parts of a table's end", () => {
  it.each(Object.entries(DECODERS))('%s is called in its home', (decoder, homes) => {
    expect(callers(readSources(SRC), decoder)).toEqual([...homes]);
  });

  it('are found where they are handed on, too', () => {
    const files = [
      parseSource('a.ts', "import { decodeInfo } from './b.ts';\nconst x = read(decodeInfo);"),
      parseSource('b.ts', 'export function decodeInfo() {}'),
    ];
    expect(callers(files, 'decodeInfo')).toEqual(['a.ts']);
  });
});
