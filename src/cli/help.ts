/** Help texts: all made from what the commands declare, so that they cannot say something else. */
import type { OperandSpec, OptionSpec } from './arguments.ts';
import { COMMON_OPTIONS, type Command } from './command.ts';
import { EXIT_MEANINGS } from './exit-codes.ts';
import { wrap } from './words.ts';

const WIDTH = 100;

export function usageOf({ name, operands, options }: Command): string {
  const words = operands.map((o) => (o.optional === true ? `[${o.name}]` : o.name));
  const more = Object.keys(options).length > 0 ? ' [OPTIONS]' : '';
  return `shaledb ${[...name, ...words].join(' ')}${more}`;
}

export function commandHelp(command: Command): string[] {
  return [
    `shaledb ${command.name.join(' ')}: ${command.summary}`,
    '',
    `Usage: ${usageOf(command)}`,
    '',
    ...command.about.flatMap((p) => [...wrap(p, WIDTH), '']),
    ...operandLines(command.operands),
    ...section('Options', optionLines(command.options)),
    ...section('Options of all commands', optionLines(COMMON_OPTIONS)),
    ...section(
      'Examples',
      command.examples.flatMap((e) => [`# ${e.says}`, `shaledb ${e.line}`, '']),
    ),
    ...wrap(`Exit codes: ${EXIT_MEANINGS.map(([code, meaning]) => `${code} ${meaning}`).join('; ')}.`, WIDTH),
  ];
}

export function overview(commands: readonly Command[], version: string): string[] {
  const width = Math.max(...commands.map((c) => c.name.join(' ').length));
  return [
    `shaledb ${version}: looks into databases of ShaleDB and SlateDB, finds damage and repairs it.`,
    '',
    'Usage: shaledb COMMAND LOCATION [OPTIONS]',
    '',
    ...commands.map((c) => `  ${c.name.join(' ').padEnd(width)}  ${c.summary}`),
    '',
    'Nothing is changed without --apply; the originals of whatever is repaired are kept.',
    'Help with examples: shaledb COMMAND --help',
    '',
    'Begin with:  shaledb doctor LOCATION',
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

function operandLines(operands: readonly OperandSpec[]): string[] {
  const width = Math.max(0, ...operands.map((o) => o.name.length));
  return section(
    'Operands',
    operands.flatMap((o) => columns(o.name, o.says, width)),
  );
}

function optionLines(options: Readonly<Record<string, OptionSpec>>): string[] {
  const heads = Object.entries(options).map(([name, o]) => [`--${name}${valueText(o)}`, o.says] as const);
  const width = Math.max(0, ...heads.map(([head]) => head.length));
  return heads.flatMap(([head, says]) => columns(head, says, Math.min(width, 34)));
}

function valueText(option: OptionSpec): string {
  if (option.kind === 'flag') return '';
  return option.kind === 'choice' ? ` ${option.choices.join('|')}` : ` ${option.value}`;
}

function columns(head: string, text: string, width: number): string[] {
  const [first, ...rest] = wrap(text, WIDTH - width - 4);
  if (head.length > width) return [head, ...[first, ...rest].map((l) => ' '.repeat(width + 2) + l)];
  return [head.padEnd(width + 2) + first, ...rest.map((l) => ' '.repeat(width + 2) + l)];
}
