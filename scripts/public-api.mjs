// Prints everything that users of the package can name or get hold of, as TypeScript: what each entry exports, then what those
// declarations refer to without it being exported. Comments are left out; a test compares the text with test/types/public-api.txt,
// and another one wants a comment for each that is exported, and for each member of these.
//
//   npm run api    writes that file again: review the difference, it is what users get
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const CONFIG = join(ROOT, 'tsconfig.build.json');
const OUT = join(ROOT, 'dist');
export const API_FILE = join(ROOT, 'test/types/public-api.txt');

/** Names of the entries as users import them -> their declarations, where the compiler would put them. */
function entries() {
  const { name, exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  return Object.entries(exports)
    .filter(([, target]) => target.types !== undefined)
    .map(([path, { types }]) => ({ name: join(name, path), file: join(OUT, basename(types)) }));
}

/** The declarations as a build emits them: path -> text. Nothing is written. */
function emitDeclarations() {
  const { config } = ts.readConfigFile(CONFIG, ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
  const files = entries().map(({ file }) => file.replace(OUT, join(ROOT, 'src')).replace(/\.d\.ts$/, '.ts'));
  const program = ts.createProgram(files, { ...options, emitDeclarationOnly: true });
  const emitted = new Map();
  program.emit(undefined, (path, text) => emitted.set(path, text));
  return { emitted, options };
}

/** The declarations as a user's compiler reads them, from memory. */
export function readDeclarations() {
  const { emitted, options } = emitDeclarations();
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, directoryExists, getSourceFile } = host;
  // Imports are looked for in directories that exist only: dist does not where nothing was built.
  const directories = new Set([...emitted.keys()].map(dirname));
  host.readFile = (path) => emitted.get(path) ?? readFile(path);
  host.fileExists = (path) => emitted.has(path) || fileExists(path);
  host.directoryExists = (path) => directories.has(path) || directoryExists(path);
  host.getSourceFile = (path, languageVersion) =>
    emitted.has(path)
      ? ts.createSourceFile(path, emitted.get(path), languageVersion, true)
      : getSourceFile.call(host, path, languageVersion);
  const modules = entries();
  const program = ts.createProgram(
    modules.map(({ file }) => file),
    { ...options, noEmit: true, skipLibCheck: false },
    host,
  );
  return { emitted, modules, program };
}

/** What is wrong with the declarations, such as a type that refers to something that was left out as internal. */
export function declarationFaults({ emitted, program }) {
  return program
    .getSourceFiles()
    .filter(({ fileName }) => emitted.has(fileName))
    .flatMap((file) => program.getSemanticDiagnostics(file))
    .map((d) => `${d.file?.fileName.slice(OUT.length + 1)}: ${ts.flattenDiagnosticMessageText(d.messageText, ' ')}`);
}

/** Names that an entry exports, and members of them, without a comment that says what they are. */
export function undocumented({ modules, program }) {
  const checker = program.getTypeChecker();
  return modules.flatMap(({ name, file }) =>
    checker
      .getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)))
      .flatMap((symbol) => {
        const target = resolved(checker, symbol);
        const own = target.getDocumentationComment(checker).length === 0 ? [symbol.name] : [];
        return [...own, ...(target.declarations ?? []).flatMap((d) => membersWithout(checker, d, symbol.name))];
      })
      .map((what) => `${what} of ${name}`),
  );
}

/**
 * Members without a comment, also of objects inside of the declaration. What a member takes over from a base has its comment; one that
 * can have a single value is said by it, such as the `type` of each member of a union.
 */
function membersWithout(checker, node, path) {
  if (ts.isConstructorDeclaration(node)) return [];
  const isMember = ts.isClassElement(node) || ts.isTypeElement(node);
  const isNamed = isMember && node.name !== undefined && !ts.isPrivateIdentifier(node.name);
  if (!isNamed || isPrivate(node)) return childrenOf(node).flatMap((child) => membersWithout(checker, child, path));
  const inner = `${path}.${node.name.getText()}`;
  const comment = checker.getSymbolAtLocation(node.name)?.getDocumentationComment(checker) ?? [];
  const isSaid = comment.length > 0 || (node.type !== undefined && ts.isLiteralTypeNode(node.type)) || node.initializer;
  return [...(isSaid ? [] : [inner]), ...childrenOf(node).flatMap((child) => membersWithout(checker, child, inner))];
}

const isPrivate = (node) => (ts.getCombinedModifierFlags(node) & ts.ModifierFlags.Private) !== 0;

function childrenOf(node) {
  const children = [];
  ts.forEachChild(node, (child) => void children.push(child));
  return children;
}

/** The API as text. */
export function publicApi({ emitted, modules, program }) {
  const printed = new Map();
  const sections = modules.map(({ name, file }) => exportsOf(program, name, file, printed));
  return [...sections, reachableOf(program, emitted, printed)].map((lines) => `${lines.join('\n\n')}\n`).join('\n');
}

const resolved = (checker, symbol) =>
  (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol);
const byName = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

/** What one entry exports. What an earlier one has exported as well is not printed again. */
function exportsOf(program, name, file, printed) {
  const checker = program.getTypeChecker();
  const module = checker.getSymbolAtLocation(program.getSourceFile(file));
  const lines = checker
    .getExportsOfModule(module)
    .toSorted(byName)
    .map((symbol) => {
      const target = resolved(checker, symbol);
      const earlier = printed.get(target);
      if (earlier !== undefined) return `${symbol.name}: ${earlier}`;
      printed.set(target, `${target.name} of ${name}`);
      return textOf(target);
    });
  return [`# ${name}`, ...lines];
}

/** Declarations of this package that those printed refer to, and what these refer to in turn. */
function reachableOf(program, emitted, printed) {
  const checker = program.getTypeChecker();
  const queue = [...printed.keys()];
  const seen = new Set(queue);
  const found = [];
  const visit = (node) => {
    if (ts.isIdentifier(node)) {
      const symbol = checker.getSymbolAtLocation(node);
      const target = symbol === undefined ? undefined : resolved(checker, symbol);
      const declaration = target?.declarations?.[0];
      if (declaration !== undefined && !seen.has(target) && isTopLevel(declaration, emitted)) {
        seen.add(target);
        queue.push(target);
        found.push(target);
      }
    }
    ts.forEachChild(node, visit);
  };
  for (const symbol of queue) for (const declaration of symbol.declarations ?? []) visit(declaration);
  return ['# not exported, but referred to', ...found.toSorted(byName).map(textOf)];
}

function isTopLevel(declaration, emitted) {
  const statement = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
  return ts.isSourceFile(statement.parent) && emitted.has(statement.parent.fileName);
}

const printer = ts.createPrinter({ removeComments: true });

/** The declaration as it was emitted; those of constants stand in a statement. */
function textOf(symbol) {
  if (symbol.declarations === undefined) return `${symbol.name}: no declaration`;
  return symbol.declarations
    .map((d) => {
      const statement = ts.isVariableDeclaration(d) ? d.parent.parent : d;
      return printer.printNode(ts.EmitHint.Unspecified, statement, d.getSourceFile());
    })
    .join('\n')
    .replace(/^(export )?(declare )?/gm, '');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(API_FILE, publicApi(readDeclarations()));
