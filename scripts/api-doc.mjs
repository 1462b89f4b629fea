// Writes docs/api.md: everything that the entries of the package export, with signature, members and doc comments. It reads the
// sources only, without checking types, so it takes about a second.
//
//   node scripts/api-doc.mjs [--check]
//
// With `--check` nothing is written and the exit code says whether the page is current. What an entry exports comes from its file in src
// (package.json, `exports`); `export { a } from './b.ts'` is followed to the declaration. Members marked `@internal` or private are left out.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
export const API_PAGE = join(ROOT, 'docs', 'api.md');

/** What comes first in its entry, in this order; the rest follows by kind and name. */
const FIRST = [
  'open',
  'openReader',
  'Location',
  'DatabaseLocation',
  'StoreLocation',
  'OpenOptions',
  'WriterOptions',
  'ReaderOptions',
  'Reads',
  'Db',
  'Reader',
  'Snapshot',
  'ScanOptions',
  'RangeOptions',
  'ScanIterator',
  'ScanRow',
  'ValueWithMeta',
  'WriteBatch',
  'WriteOptions',
];

// ---- from entries to declarations

const files = new Map();

function sourceFile(path) {
  if (!files.has(path)) {
    files.set(path, ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true));
  }
  return files.get(path);
}

/** Entries as users import them, with their sources. */
export function apiEntries(root = ROOT) {
  const { name, exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return Object.keys(exports)
    .map((key) => ({
      name: join(name, key),
      path: join(root, 'src', key === '.' ? 'index.ts' : `${key.slice(2)}.ts`),
    }))
    .filter(({ path }) => existsSync(path));
}

/** The declarations that a file exports under a name; none if it does not. */
function declarationsOf(path, name) {
  const file = sourceFile(path);
  const own = file.statements.filter((s) => declares(s, name));
  if (own.length > 0) return own;
  const again = reExports(file).find(({ exported }) => exported === name);
  if (again?.from !== undefined) return declarationsOf(join(dirname(path), again.from), again.local);
  return importedDeclarations(path, file, again?.local ?? name);
}

function declares(statement, name) {
  if (ts.isImportDeclaration(statement)) return false;
  if (!ts.isVariableStatement(statement)) return statement.name?.text === name;
  return statement.declarationList.declarations.some((d) => d.name.getText() === name);
}

function reExports(file) {
  return file.statements.filter(ts.isExportDeclaration).flatMap((statement) =>
    (statement.exportClause?.elements ?? []).map(({ name, propertyName }) => ({
      exported: name.text,
      local: (propertyName ?? name).text,
      from: statement.moduleSpecifier?.text,
    })),
  );
}

/** Of `import { a } from './b.ts'; export { a };`. */
function importedDeclarations(path, file, name) {
  for (const statement of file.statements.filter(ts.isImportDeclaration)) {
    const named = statement.importClause?.namedBindings;
    const element =
      named !== undefined && ts.isNamedImports(named) ? named.elements.find((e) => e.name.text === name) : undefined;
    if (element === undefined) continue;
    const from = join(dirname(path), statement.moduleSpecifier.text);
    return declarationsOf(from, (element.propertyName ?? element.name).text);
  }
  return [];
}

/** What an entry exports: name, the name it has where it is declared, its declarations. Throws if there are none. */
export function exportsOfEntry({ name: entry, path }) {
  return reExports(sourceFile(path)).map(({ exported, local }) => {
    const nodes = declarationsOf(path, exported).filter((node) => !isInternal(node));
    if (nodes.length === 0) throw new Error(`${entry} exports ${exported}, whose declaration is not found`);
    return { name: exported, local, nodes };
  });
}

// ---- comments

function commentOf(node) {
  const parts = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc);
  return parts
    .map((doc) => [ts.getTextOfJSDocComment(doc.comment) ?? '', ...(doc.tags ?? []).map(tagText)].join('\n'))
    .join('\n')
    .trim();
}

function tagText(tag) {
  const name = tag.tagName.text;
  const text = ts.getTextOfJSDocComment(tag.comment) ?? '';
  return name === 'param' ? `\n\`${tag.name.getText()}\`: ${text}` : `\n${name}: ${text}`;
}

const isInternal = (node) => ts.getJSDocTags(node).some((tag) => tag.tagName.text === 'internal');

/** Comments are wrapped for the source; a page is not. Lists and blocks of code keep their lines. */
function unwrapped(text) {
  return text
    .split(/(^```[\s\S]*?^```$)/m)
    .map((piece) => (piece.startsWith('```') ? piece : unwrappedWords(piece)))
    .join('\n\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim();
}

const unwrappedWords = (text) =>
  text
    .split(/\n{2,}/)
    .map((part) => (/^(\s*[-*|] |\d+\. )/m.test(part) ? part : part.replace(/\s*\n\s*/g, ' ')))
    .join('\n\n');

const oneLine = (text) => text.replace(/\s+/g, ' ').trim();
const cell = (text) => oneLine(text).replaceAll('|', '\\|');

// ---- declarations as text

const printer = ts.createPrinter({ removeComments: true });
const printed = (node) => printer.printNode(ts.EmitHint.Unspecified, node, node.getSourceFile());

/** A type in one line, without comments. */
const typeText = (node) => (node === undefined ? '' : oneLine(printed(node)).replace(/;? \}/g, ' }'));

const generics = (node) =>
  node.typeParameters === undefined ? '' : `<${node.typeParameters.map((p) => typeText(p)).join(', ')}>`;

const parameters = (node) =>
  node.parameters
    .map((p) => {
      const optional = p.questionToken !== undefined || p.initializer !== undefined;
      const rest = p.dotDotDotToken === undefined ? '' : '...';
      return `${rest}${p.name.getText()}${optional ? '?' : ''}${p.type === undefined ? '' : `: ${typeText(p.type)}`}`;
    })
    .join(', ');

function signature(name, node) {
  const result = node.type === undefined ? '' : `: ${typeText(node.type)}`;
  return `${name}${generics(node)}(${parameters(node)})${result}`;
}

const bases = (node) =>
  (node.heritageClauses ?? [])
    .filter(({ token }) => token === ts.SyntaxKind.ExtendsKeyword)
    .flatMap(({ types }) => types.map((t) => typeText(t)));

// ---- members

const isHidden = (member) =>
  isInternal(member) ||
  (member.name !== undefined && ts.isPrivateIdentifier(member.name)) ||
  (ts.getCombinedModifierFlags(member) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)) !== 0 ||
  ts.isSemicolonClassElement(member) ||
  ts.isClassStaticBlockDeclaration(member);

const isCall = (member) =>
  ts.isMethodSignature(member) || ts.isMethodDeclaration(member) || ts.isConstructorDeclaration(member);

/** Name of a member as users write it: `[Symbol.asyncDispose]`, `static of`. */
function memberName(member) {
  if (ts.isConstructorDeclaration(member)) return 'new';
  if (ts.isIndexSignatureDeclaration(member)) return `[${parameters(member)}]`;
  if (member.name === undefined) return '';
  const isStatic = (ts.getCombinedModifierFlags(member) & ts.ModifierFlags.Static) !== 0;
  return `${isStatic ? 'static ' : ''}${member.name.getText()}`;
}

/** Comment of a member: its own, that of the base or interface it comes from, or that of its type. A single value needs none. */
function memberComment(member) {
  const own = commentOf(member);
  if (own !== '' || member.initializer !== undefined) return own;
  const file = member.getSourceFile().fileName;
  for (const clause of member.parent.heritageClauses ?? []) {
    for (const base of clause.types.flatMap((type) => declarationsOf(file, type.expression.getText()))) {
      const same = base.members?.find((m) => m.name !== undefined && m.name.getText() === member.name?.getText());
      const comment = same === undefined ? '' : memberComment(same);
      if (comment !== '') return comment;
    }
  }
  const type = member.type !== undefined && ts.isTypeReferenceNode(member.type) ? member.type.typeName.getText() : '';
  return declarationsOf(file, type).map(commentOf).join(' ');
}

/** Rows of the properties of an interface, a class or a type of an object; those inside a property as `outer.inner`. */
function propertyRows(members, prefix = '') {
  return members
    .filter((m) => !isCall(m) && !isHidden(m) && !ts.isSetAccessor(m))
    .flatMap((member) => {
      const name = `${prefix}${memberName(member)}`;
      const optional = member.questionToken === undefined ? '' : '?';
      const type = member.type === undefined ? literalText(member.initializer) : typeText(member.type);
      const inner =
        member.type !== undefined && ts.isTypeLiteralNode(member.type)
          ? propertyRows(member.type.members, `${name}.`)
          : [];
      return [`| \`${cell(name)}${optional}\` | \`${cell(type)}\` | ${cell(memberComment(member))} |`, ...inner];
    });
}

const literalText = (node) => (node === undefined ? '' : oneLine(printed(node)));

/** The calls of an interface or a class, overloads together. */
function callBlocks(owner, members) {
  const calls = members.filter((m) => isCall(m) && !isHidden(m));
  const names = [...new Set(calls.map(memberName))];
  return names.map((name) => {
    const same = calls.filter((m) => memberName(m) === name);
    const shown = same.filter((m) => m.body === undefined || same.length === 1);
    const lines = (shown.length === 0 ? same : shown).map((m) => signature(name === 'new' ? `new ${owner}` : name, m));
    const text = same
      .map(memberComment)
      .filter((t) => t !== '')
      .map(unwrapped)
      .join('\n\n');
    return ['```ts', ...lines, '```', ...(text === '' ? [] : ['', text])].join('\n');
  });
}

function membersText(name, members) {
  const rows = propertyRows(members);
  const table = rows.length === 0 ? [] : [['| member | type | |', '|---|---|---|', ...rows].join('\n')];
  return [...table, ...callBlocks(name, members)];
}

/** Says what it costs, or that it costs what another call does. */
const SAYS_COST = /\b(requests?|GETs?|PUTs?|LISTs?|HEADs?|round trips?|Costs|Like `)|\bas `\w+` does\b/;
/** Says which errors come of it, or that they are those of another call. */
const SAYS_ERRORS = /\b([Rr]ejects?|[Tt]hrows?|[Nn]ever fails|Like `)|`\w+Error`/;

/**
 * Calls to the database, of the interfaces named and of the functions of an entry, whose comment (or that of their interface) leaves out
 * what they cost in requests, or which errors they give.
 */
export function incompleteCalls(entry, interfaces) {
  return exportsOfEntry(entry).flatMap(({ name, nodes: [node] }) => {
    if (ts.isFunctionDeclaration(node)) return isAsync(node) ? lacking(name, commentOf(node)) : [];
    if (!interfaces.includes(name)) return [];
    const about = commentOf(node);
    return node.members
      .filter((m) => isCall(m) && !isHidden(m) && isAsync(m) && !/^\[Symbol/.test(memberName(m)))
      .flatMap((m) => lacking(`${name}.${memberName(m)}`, `${about}\n${commentOf(m)}`));
  });
}

const isAsync = (node) =>
  node.type !== undefined && /^(Promise|ScanIterator|Async\w+)</.test(`${typeText(node.type)}<`);

function lacking(call, comment) {
  const what = [
    [SAYS_COST, 'its cost in requests'],
    [SAYS_ERRORS, 'its errors'],
  ].filter(([pattern]) => !pattern.test(comment));
  return what.map(([, missing]) => `${call}: ${missing}`);
}

// ---- one export

const KINDS = ['function', 'error', 'class', 'constant', 'type'];
const PLURALS = { function: 'Functions', error: 'Errors', class: 'Classes', constant: 'Constants', type: 'Types' };

function kindOf(nodes) {
  const [node] = nodes;
  if (ts.isFunctionDeclaration(node)) return 'function';
  if (ts.isClassDeclaration(node)) return /Error$/.test(node.name.text) ? 'error' : 'class';
  return ts.isVariableStatement(node) ? 'constant' : 'type';
}

function bodyOf(name, nodes, known) {
  const [node] = nodes;
  if (ts.isFunctionDeclaration(node)) return functionText(name, nodes);
  if (ts.isInterfaceDeclaration(node) || ts.isClassDeclaration(node)) return objectText(name, node, known);
  if (ts.isVariableStatement(node)) return constantText(name, node);
  const comment = commentOf(node);
  const code = ['```ts', withComments(node), '```'].join('\n');
  return [...(comment === '' ? [] : [unwrapped(comment)]), code];
}

/** Without the comment of the type itself, which stands above as text. */
const withComments = (node) =>
  node
    .getText()
    .replace(/^export /, '')
    .replace(/^\s*\/\*\*[\s\S]*?\*\/\s*/, '');

function functionText(name, nodes) {
  const overloads = nodes.filter((n) => n.body === undefined);
  const shown = overloads.length === 0 ? nodes : overloads;
  const texts = nodes
    .map(commentOf)
    .filter((t) => t !== '')
    .map(unwrapped);
  return [['```ts', ...shown.map((n) => signature(name, n)), '```'].join('\n'), ...texts];
}

/** Of an interface or a class. Members of a base that no entry exports are listed as its own. */
function objectText(name, node, known) {
  const shown = [];
  const taken = [];
  for (const base of bases(node)) {
    const hidden = known.has(base.split('<')[0]) ? [] : interfacesNamed(node.getSourceFile(), base);
    if (hidden.length === 0) shown.push(base);
    else taken.push(...hidden.flatMap(({ members }) => [...members]));
  }
  const verb = ts.isInterfaceDeclaration(node) ? 'Has all members of' : 'Extends';
  const head = shown.length === 0 ? [] : [`${verb} ${shown.map((b) => `\`${b}\``).join(', ')}.`];
  const types = generics(node) === '' ? [] : [`\`${name}${generics(node)}\``];
  const members = [...taken, ...node.members];
  return [...types, unwrapped(commentOf(node)), ...head, ...membersText(name, members)];
}

const interfacesNamed = (file, name) => declarationsOf(file.fileName, name).filter(ts.isInterfaceDeclaration);

function constantText(name, node) {
  const declaration = node.declarationList.declarations.find((d) => d.name.getText() === name);
  const value = declaration.initializer;
  const object = value !== undefined && ts.isAsExpression(value) ? value.expression : value;
  const comment = unwrapped(commentOf(node));
  if (object !== undefined && ts.isObjectLiteralExpression(object)) {
    const rows = object.properties.map(
      (p) => `| \`${p.name.getText()}\` | ${cell(p.initializer?.text ?? p.initializer?.getText() ?? '')} |`,
    );
    return [comment, ['| member | |', '|---|---|', ...rows].join('\n')];
  }
  const type = declaration.type === undefined ? literalText(value) : typeText(declaration.type);
  return [comment, ['```ts', `const ${name}: ${type}`, '```'].join('\n')];
}

// ---- the page

/** Anchors as GitHub and npm make them, each once. */
class Anchors {
  #seen = new Map();
  of(heading) {
    const slug = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-');
    const times = this.#seen.get(slug) ?? 0;
    this.#seen.set(slug, times + 1);
    return times === 0 ? slug : `${slug}-${times}`;
  }
}

function inOrder(items) {
  const rank = ({ name, nodes }) => {
    const first = FIRST.indexOf(name);
    return first < 0 ? FIRST.length + KINDS.indexOf(kindOf(nodes)) : first;
  };
  return items.toSorted((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
}

const HEAD = `# API

Everything that the package exports, entry by entry, from the doc comments of the source (\`node scripts/api-doc.mjs\`).
A start: [\`open\`](#open), [\`Db\`](#db), [\`Reads\`](#reads), [\`ScanOptions\`](#scanoptions). Options with what they cost are also in
[options.md](options.md), errors with what to do about them in [errors.md](errors.md), other pages in [the index](README.md).

Bytes are \`Uint8Array\`; times end in \`Ms\` and are milliseconds. A call that names no class of error rejects as its interface says above
it. "GET", "PUT", "LIST", "HEAD" are requests to the object store; a local directory counts file operations in the same way.`;

/** The whole page. */
export function renderApi(entries = apiEntries()) {
  const anchors = new Anchors();
  anchors.of('API');
  const where = new Map();
  const sections = entries.map((entry) => {
    const heading = `\`${entry.name}\``;
    anchors.of(heading);
    const items = inOrder(exportsOfEntry(entry)).map((item) => {
      const earlier = where.get(item.nodes[0]);
      if (earlier !== undefined) return { ...item, earlier };
      const anchor = anchors.of(item.name);
      where.set(item.nodes[0], { ...item, anchor, entry: entry.name });
      return { ...item, anchor };
    });
    return { heading, entry: entry.name, items };
  });
  const known = new Map([...where.values()].map(({ name, anchor }) => [name, anchor]));
  const lists = sections.map(contentsOf);
  const texts = sections.map((section) => [
    `## ${section.heading}`,
    ...section.items.flatMap((i) => itemText(i, known)),
  ]);
  return `${[HEAD, ...lists, ...texts.flat()].join('\n\n')}\n`;
}

/** Links to all names of an entry, by kind. */
function contentsOf({ heading, items }) {
  const first = items.filter(({ name }) => FIRST.includes(name));
  const groups = [
    ['', first],
    ...KINDS.map((kind) => [
      `${PLURALS[kind]}: `,
      items
        .filter((i) => !first.includes(i) && kindOf(i.nodes) === kind)
        .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    ]),
  ].filter(([, list]) => list.length > 0);
  return [`**${heading}**`, ...groups.map(([title, list]) => `- ${title}${list.map(linkOf).join(' · ')}`)].join('\n');
}

const linkOf = ({ name, anchor, earlier }) => `[${name}](#${anchor ?? earlier.anchor})`;

function itemText({ name, nodes, anchor, earlier }, known) {
  if (anchor === undefined) {
    const same = earlier.name === name ? `${name} of ${earlier.entry}` : `${earlier.name}, by another name`;
    return [`\`${name}\`: [${same}](#${earlier.anchor}).`];
  }
  const body = bodyOf(name, nodes, known).filter((part) => part !== '');
  const used = mentioned(body, name, known);
  const links = used.length === 0 ? [] : [`Types: ${used.map((n) => `[${n}](#${known.get(n)})`).join(', ')}.`];
  return [`### ${name}`, ...body, ...links];
}

/** Exported names that occur in the code of an item, besides itself. */
function mentioned(body, name, known) {
  const code = body
    .flatMap((part) => [...part.matchAll(/```ts\n([\s\S]*?)```|`([^`]+)`/g)].map((m) => m[1] ?? m[2]))
    .join('\n');
  const words = new Set(code.match(/\b[A-Z]\w+\b/g) ?? []);
  return [...words].filter((word) => word !== name && known.has(word)).sort();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const page = renderApi();
  const shown = existsSync(API_PAGE) ? readFileSync(API_PAGE, 'utf8') : '';
  if (!process.argv.includes('--check')) writeFileSync(API_PAGE, page);
  else if (page !== shown) {
    console.error('docs/api.md is not current: run node scripts/api-doc.mjs');
    process.exitCode = 1;
  }
}
