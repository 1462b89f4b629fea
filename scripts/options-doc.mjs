// Writes the tables of docs/options.md from the doc comments of the option interfaces in src/db/options.ts, between the
// markers `<!-- options:NAME -->` and `<!-- /options -->`. With `--check` nothing is written and the exit code says whether
// the page is current.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const SOURCE = join(ROOT, 'src/db/options.ts');
const PAGE = join(ROOT, 'docs/options.md');

/** The page with its tables made anew from the source. */
export function renderOptions(page, source) {
  const file = ts.createSourceFile('options.ts', source, ts.ScriptTarget.Latest, true);
  return page.replace(
    /(<!-- options:(\w+) -->\n)[\s\S]*?(<!-- \/options -->)/g,
    (_all, begin, name, end) => `${begin}${tableOf(file, name)}\n${end}`,
  );
}

function tableOf(file, name) {
  const declaration = file.statements.find((s) => ts.isInterfaceDeclaration(s) && s.name.text === name);
  if (declaration === undefined) throw new Error(`src/db/options.ts has no interface ${name}`);
  const taken = declaration.heritageClauses === undefined ? [] : namesTaken(declaration);
  const own = declaration.members.map((member) => {
    const doc = ts.getJSDocCommentsAndTags(member).map((d) => ts.getTextOfJSDocComment(d.comment) ?? '');
    if (doc.join('') === '') throw new Error(`${name}.${member.name.text} has no doc comment`);
    const cells = [`\`${member.name.text}\``, `\`${member.type.getText(file)}\``, doc.join(' ')];
    return `| ${cells.map((c) => c.replace(/\s+/g, ' ').replaceAll('|', '\\|')).join(' | ')} |`;
  });
  const table = ['| option | type | meaning, range, default |', '|---|---|---|', ...own].join('\n');
  if (taken.length === 0) return table;
  const list = `${taken.slice(0, -1).join(', ')} and ${taken.at(-1)}`;
  return `With the meaning above: ${list}. And besides\n\n${table}`;
}

/** The options that an interface takes over from another one: `extends Pick<Other, 'a' | 'b'>`. */
function namesTaken(declaration) {
  const [, names] = declaration.heritageClauses[0].types[0].typeArguments;
  return (ts.isUnionTypeNode(names) ? names.types : [names]).map((t) => `\`${t.literal.text}\``);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const page = readFileSync(PAGE, 'utf8');
  const current = renderOptions(page, readFileSync(SOURCE, 'utf8'));
  if (!process.argv.includes('--check')) writeFileSync(PAGE, current);
  else if (current !== page) {
    console.error('docs/options.md is not current: run node scripts/options-doc.mjs');
    process.exitCode = 1;
  }
}
