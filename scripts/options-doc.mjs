// Writes the tables of docs/options.md from the doc comments of the option interfaces in SOURCES, between the markers
// `<!-- options:NAME -->` and `<!-- /options -->`. With `--check` nothing is written and the exit code says whether the page is
// current.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
/** The files that declare options: those of writers and readers, of a writer, of a reader, of the roles beside a writer. */
const SOURCES = [
  'db/options.ts',
  'db/encoding.ts',
  'db/open-options.ts',
  'db/reader-options.ts',
  'upkeep-roles.ts',
  'compaction/settings.ts',
  'gc/settings.ts',
].map((name) => join(ROOT, 'src', name));
const PAGE = join(ROOT, 'docs/options.md');

/** The page with its tables generated again from the sources. */
export function renderOptions(page, sources = SOURCES.map((path) => readFileSync(path, 'utf8'))) {
  const files = sources.map((source) => ts.createSourceFile('options.ts', source, ts.ScriptTarget.Latest, true));
  return page.replace(
    /(<!-- options:(\w+) -->\n)[\s\S]*?(<!-- \/options -->)/g,
    (_all, begin, name, end) => `${begin}${tableOf(files, name)}\n${end}`,
  );
}

/** Of the members that the interface declares itself. */
function tableOf(files, name) {
  const declaration = files
    .flatMap((file) => [...file.statements])
    .find((s) => ts.isInterfaceDeclaration(s) && s.name.text === name);
  if (declaration === undefined) throw new Error(`no source of options has an interface ${name}`);
  const rows = declaration.members.map((member) => {
    const doc = ts.getJSDocCommentsAndTags(member).map((d) => ts.getTextOfJSDocComment(d.comment) ?? '');
    if (doc.join('') === '') throw new Error(`${name}.${member.name.text} has no doc comment`);
    const cells = [`\`${member.name.text}\``, `\`${member.type.getText()}\``, doc.join(' ')];
    return `| ${cells.map((c) => c.replace(/\s+/g, ' ').replaceAll('|', '\\|')).join(' | ')} |`;
  });
  return ['| option | type | meaning, range, default |', '|---|---|---|', ...rows].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const page = readFileSync(PAGE, 'utf8');
  const current = renderOptions(page);
  if (!process.argv.includes('--check')) writeFileSync(PAGE, current);
  else if (current !== page) {
    console.error('docs/options.md is not current: run node scripts/options-doc.mjs');
    process.exitCode = 1;
  }
}
