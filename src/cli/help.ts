/** Help texts: all made from what the commands declare, so that they cannot say something else. */
import { DOCTOR } from '../common/advice.ts';
import type { OperandSpec, OptionSpec } from './arguments.ts';
import { COMMON_OPTIONS, type Command } from './command.ts';
import { EXIT_MEANINGS } from './exit-codes.ts';
import { wrap } from './words.ts';

/** Longer lines are hard to read. */
const WIDEST = 100;

export function usageOf({ name, operands, options }: Command): string {
  const words = operands.map((o) => (o.optional === true ? `[${o.name}]` : o.name));
  const more = Object.keys(options).length > 0 ? ' [OPTIONS]' : '';
  return `shaledb ${[...name, ...words].join(' ')}${more}`;
}

export function commandHelp(command: Command, terminalColumns = WIDEST): string[] {
  const width = Math.min(terminalColumns, WIDEST);
  return [
    `shaledb ${command.name.join(' ')}: ${command.summary}`,
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

export function overview(commands: readonly Command[], version: string): string[] {
  const width = Math.max(...commands.map((c) => c.name.join(' ').length));
  return [
    `shaledb ${version}: inspect, check and repair ShaleDB and SlateDB databases.`,
    '',
    'Usage: shaledb COMMAND LOCATION [OPTIONS]',
    '',
    ...commands.map((c) => `  ${c.name.join(' ').padEnd(width)}  ${c.summary}`),
    '',
    'Nothing is changed without --apply; the originals of whatever is repaired are kept.',
    'Help with examples: shaledb COMMAND --help',
    '',
    `Begin with:  ${DOCTOR}`,
    '',
    'Exit codes',
    ...EXIT_MEANINGS.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`),
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
    operands.flatMap((o) => columns(o.name, o.says, nameWidth, width)),
  );
}

function optionLines(options: Readonly<Record<string, OptionSpec>>, width: number): string[] {
  const heads = Object.entries(options).map(([name, o]) => [`--${name}${valueText(o)}`, o.says] as const);
  const nameWidth = Math.max(0, ...heads.map(([head]) => head.length));
  return heads.flatMap(([head, says]) => columns(head, says, Math.min(nameWidth, 34), width));
}

function valueText(option: OptionSpec): string {
  if (option.kind === 'flag') return '';
  return option.kind === 'choice' ? ` ${option.choices.join('|')}` : ` ${option.value}`;
}

function columns(head: string, text: string, nameWidth: number, width: number): string[] {
  const [first, ...rest] = wrap(text, width - nameWidth - 4);
  const indent = ' '.repeat(nameWidth + 2);
  if (head.length > nameWidth) return [head, ...[first, ...rest].map((l) => indent + l)];
  return [head.padEnd(nameWidth + 2) + first, ...rest.map((l) => indent + l)];
}
