/** The source tree as the laws see it: parsed files of src/, with their imports resolved to files of src/. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import ts from 'typescript';

export interface SourceFile {
  /** Below src/, with slashes: `store/memory-store.ts`. */
  path: string;
  text: string;
  ast: ts.SourceFile;
  imports: SourceImport[];
}

export interface SourceImport {
  line: number;
  specifier: string;
  /** The imported file below src/, for relative imports. */
  target: string | undefined;
}

const READ = new Map<string, readonly SourceFile[]>();

/** Every file of `directory` and below that is TypeScript, parsed; once for each process, the files do not change under a test. */
export function readSources(directory: string): readonly SourceFile[] {
  const read = READ.get(directory) ?? parseAll(directory);
  READ.set(directory, read);
  return read;
}

function parseAll(directory: string): readonly SourceFile[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => /\.[cm]?tsx?$/.test(path))
    .sort()
    .map((path) => parseSource(path, readFileSync(join(directory, path), 'utf8')));
}

export function parseSource(path: string, text: string): SourceFile {
  const ast = ts.createSourceFile(path, text, ts.ScriptTarget.ESNext, true);
  return { path, text, ast, imports: importsOf(path, ast) };
}

export function lineOf(ast: ts.SourceFile, node: ts.Node): number {
  return ast.getLineAndCharacterOfPosition(node.getStart(ast)).line + 1;
}

/** Calls `visit` for every node of the file. */
export function walk(ast: ts.SourceFile, visit: (node: ts.Node) => void): void {
  const step = (node: ts.Node): void => {
    visit(node);
    ts.forEachChild(node, step);
  };
  ts.forEachChild(ast, step);
}

/** Static, dynamic and type imports, re-exports and `require`. */
function importsOf(path: string, ast: ts.SourceFile): SourceImport[] {
  const found: SourceImport[] = [];
  const add = (node: ts.Node, specifier: ts.Node | undefined) => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return;
    const relative = specifier.text.startsWith('.');
    const target = relative ? posix.normalize(posix.join(posix.dirname(path), specifier.text)) : undefined;
    found.push({ line: lineOf(ast, node), specifier: specifier.text, target });
  };
  walk(ast, (node) => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) add(node, node.moduleSpecifier);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node, node.argument.literal);
    else if (ts.isExternalModuleReference(node)) add(node, node.expression);
    else if (ts.isCallExpression(node)) {
      const callee = node.expression;
      const isRequire = ts.isIdentifier(callee) && callee.text === 'require';
      if (callee.kind === ts.SyntaxKind.ImportKeyword || isRequire) add(node, node.arguments[0]);
    }
  });
  return found;
}
