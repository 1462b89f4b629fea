/** Help texts: all made from what the commands declare, so that they cannot say something else. */
import { DOCTOR } from '../common/advice.ts';
import type { OperandSpec, OptionSpec } from './arguments.ts';
import { COMMON_OPTIONS, type Command } from './command.ts';
import type { CommandGroup } from './commands.ts';
import { EXIT_MEANINGS } from './exit-codes.ts';
import { wrap } from './words.ts';

/** Longer lines are hard to read. */
const WIDEST = 100;
/** Longer names of options stand on a line of their own. */
const MOST_NAME = 30;
/** Characters of a text beside its name. */
const LEAST_BESIDE = 28;

export function usageOf({ name, operands, options }: Command): string {
  const words = operands.map((o) => (o.optional === true ? `[${o.name}]` : o.name));
  const more = Object.keys(options).length > 0 ? ' [OPTIONS]' : '';
  return `shaledb ${[...name, ...words].join(' ')}${more}`;
}

export function commandHelp(command: Command, terminalColumns = WIDEST): string[] {
  const width = Math.min(terminalColumns, WIDEST);
  return [
    ...wrap(`shaledb ${command.name.join(' ')}: ${command.summary}`, width),
    '',
    `Usage: ${usageOf(command)}`,
    '',
    ...command.about.flatMap((p) => [...wrap(p, width), '']),
    ...operandLines(command.operands, width),
    ...section('Options', optionLines(command.options, width)),
    ...section('Options of all commands', optionLines(COMMON_OPTIONS, width)),
    ...section(
      'Examples',
      command.examples.flatMap((e) => [`# ${e.says}`, `shaledb ${e.line}`, '']),
    ),
    ...wrap(`Exit codes: ${EXIT_MEANINGS.map(([code, meaning]) => `${code} ${meaning}`).join('; ')}.`, width),
  ];
}

export function overview(groups: readonly CommandGroup[], version: string, terminalColumns = WIDEST): string[] {
  const width = Math.min(terminalColumns, WIDEST);
  const all = groups.flatMap(({ commands }) => commands);
  const nameWidth = Math.max(...all.map((c) => c.name.join(' ').length));
  const exitCodes = EXIT_MEANINGS.map(([code, meaning]) => [String(code).padStart(3), meaning] as const);
  return [
    ...wrap(`shaledb ${version}: inspect, check and repair ShaleDB and SlateDB databases.`, width),
    '',
    'Usage: shaledb COMMAND LOCATION [OPTIONS]',
    '',
    ...groups.flatMap(({ title, commands }) =>
      section(
        title,
        commands.flatMap((c) => columns(c.name.join(' '), c.summary, nameWidth, width - 2)),
      ),
    ),
    ...wrap('Nothing is changed without --apply; the originals of whatever is repaired are kept.', width),
    ...wrap('Help with examples: shaledb COMMAND --help', width),
    '',
    `Begin with:  ${DOCTOR}`,
    '',
    ...section(
      'Exit codes',
      exitCodes.flatMap(([code, meaning]) => columns(code, meaning, 3, width - 2)),
    ).slice(0, -1),
  ];
}

function section(title: string, lines: readonly string[]): string[] {
  if (lines.length === 0) return [];
  const body = lines.map((l) => (l === '' ? '' : `  ${l}`));
  return [title, ...body, ...(body.at(-1) === '' ? [] : [''])];
}

function operandLines(operands: readonly OperandSpec[], width: number): string[] {
  const nameWidth = Math.max(0, ...operands.map((o) => o.name.length));
  return section(
    'Operands',
    operands.flatMap((o) => columns(o.name, o.says, nameWidth, width - 2)),
  );
}

function optionLines(options: Readonly<Record<string, OptionSpec>>, width: number): string[] {
  const heads = Object.entries(options).map(([name, o]) => [`--${name}${valueText(o)}`, o.says] as const);
  const nameWidth = Math.max(0, ...heads.map(([head]) => head.length));
  return heads.flatMap(([head, says]) => columns(head, says, Math.min(nameWidth, MOST_NAME), width - 2));
}

function valueText(option: OptionSpec): string {
  if (option.kind === 'flag') return '';
  return option.kind === 'choice' ? ` ${option.choices.join('|')}` : ` ${option.value}`;
}

/** A name and its text beside it, or below it where there is too little room. */
function columns(head: string, text: string, nameWidth: number, width: number): string[] {
  const isBeside = width - nameWidth - 2 >= LEAST_BESIDE;
  const margin = isBeside ? nameWidth + 2 : 4;
  const [first, ...rest] = wrap(text, width - margin);
  const indent = ' '.repeat(margin);
  if (!isBeside || head.length > nameWidth) return [head, ...[first, ...rest].map((l) => indent + l)];
  return [head.padEnd(margin) + first, ...rest.map((l) => indent + l)];
}
