// Writes the tables of commands and exit codes in docs/tools.md from what the command line declares, between the markers
// `<!-- commands -->` and `<!-- exit-codes -->` and their ends. A law checks that the page is current.
//
//   node scripts/run-typescript.mjs scripts/tools-doc.mjs
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { COMMANDS } from '../src/cli/commands.ts';
import { EXIT_MEANINGS } from '../src/cli/exit-codes.ts';
import { usageOf } from '../src/cli/help.ts';

const PAGE = join(dirname(dirname(fileURLToPath(import.meta.url))), 'docs', 'tools.md');

/** The page with its tables generated again. */
export function renderTools(page) {
  return between(between(page, 'commands', COMMANDS.map(commandText).join('\n\n')), 'exit-codes', exitCodes());
}

function between(page, name, text) {
  const marked = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- /${name} -->)`);
  if (!marked.test(page)) throw new Error(`docs/tools.md has no markers ${name}`);
  return page.replace(marked, (_all, begin, end) => `${begin}${text}\n${end}`);
}

function exitCodes() {
  const rows = EXIT_MEANINGS.map(([code, meaning]) => `| ${code} | ${meaning} |`);
  return ['| code | meaning |', '|---|---|', ...rows].join('\n');
}

function commandText(command) {
  const rows = Object.entries(command.options).map(([name, o]) => `| \`--${name}${valueText(o)}\` | ${o.says} |`);
  const about = command.about.join('\n\n');
  const lines = [
    `### \`shaledb ${command.name.join(' ')}\``,
    '',
    `\`${usageOf(command)}\`: ${command.summary}.`,
    '',
    about,
  ];
  if (rows.length > 0) lines.push('', '| option | |', '|---|---|', ...rows);
  lines.push('', '```sh', ...command.examples.map((e) => `shaledb ${e.line}  # ${e.says}`), '```');
  return lines.join('\n');
}

function valueText(option) {
  if (option.kind === 'flag') return '';
  return option.kind === 'choice' ? ` ${option.choices.join('\\|')}` : ` ${option.value}`;
}

/** Not when a test imports it. */
const isProgram = process.argv[1]?.endsWith('run-typescript.mjs') === true;
if (isProgram) {
  writeFileSync(PAGE, renderTools(readFileSync(PAGE, 'utf8')));
}
