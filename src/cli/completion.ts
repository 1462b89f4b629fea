/**
 * `shaledb completion`: what a shell needs to complete commands, options and their values, made of what the commands declare.
 *
 * Always holds: a text of a command goes into a script in single quotes, with its own quotes escaped, so no text becomes code.
 */
import type { OptionSpec } from './arguments.ts';
import { type Call, COMMON_OPTIONS, type Command } from './command.ts';
import { EXIT } from './exit-codes.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

export const COMPLETION: Command = {
  name: ['completion'],
  summary: 'prints the script by which a shell completes commands and options',
  about: [
    'The script is for the version that prints it. bash: eval it in ~/.bashrc. zsh: save it as _shaledb in a directory of $fpath. fish: save it as shaledb.fish in ~/.config/fish/completions.',
  ],
  operands: [{ name: 'SHELL', says: 'bash, zsh or fish', choices: SHELLS }],
  options: {},
  examples: [
    { line: 'completion bash', says: 'to be evaluated in ~/.bashrc' },
    { line: 'completion zsh', says: 'for a file _shaledb in a directory of $fpath' },
    { line: 'completion fish', says: 'for ~/.config/fish/completions/shaledb.fish' },
  ],
  run: async ({ args, printer, commands }: Call) => {
    const shell = args.text('SHELL') as Shell;
    const text = { bash, zsh, fish }[shell](commands);
    printer.report('completion', { shell, script: `${text.join('\n')}\n` }, () => text);
    return EXIT.clean;
  },
};

/** First words with what completes after them: second words where it is a group. */
function groupsOf(commands: readonly Command[]): Map<string, Command[]> {
  const groups = new Map<string, Command[]>();
  for (const command of commands) groups.set(command.name[0], [...(groups.get(command.name[0]) ?? []), command]);
  return groups;
}

function optionsOf(command: Command): [string, OptionSpec][] {
  return Object.entries({ ...command.options, ...COMMON_OPTIONS });
}

/** In single quotes, as all three shells take them. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

const WORDS_WITHOUT_COMMAND = ['help', 'version'];

// ---- bash

function bash(commands: readonly Command[]): string[] {
  const groups = groupsOf(commands);
  const names = [...groups.keys(), ...WORDS_WITHOUT_COMMAND];
  const verbs = [...groups].flatMap(([first, those]) =>
    those[0].name.length === 1 ? [] : [`    ${first}) verbs=${quoted(those.map((c) => c.name[1]).join(' '))} ;;`],
  );
  const values = commands.flatMap((c) =>
    optionsOf(c).flatMap(([name, o]) =>
      o.kind === 'choice'
        ? [`    ${quoted(`${c.name.join(' ')} --${name}`)}) words=${quoted(o.choices.join(' '))} ;;`]
        : [],
    ),
  );
  const options = commands.map(
    (c) =>
      `    ${quoted(c.name.join(' '))}) words=${quoted(
        optionsOf(c)
          .map(([name]) => `--${name}`)
          .join(' '),
      )} ;;`,
  );
  const operands = commands.flatMap((c) =>
    c.operands.flatMap((o) =>
      o.choices === undefined ? [] : [`    ${quoted(c.name.join(' '))}) words=${quoted(o.choices.join(' '))} ;;`],
    ),
  );
  return [
    '# Completion of shaledb for bash.',
    '_shaledb() {',
    `  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" name="\${COMP_WORDS[1]}" verbs= words=`,
    '  COMPREPLY=()',
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    COMPREPLY=($(compgen -W ${quoted(names.join(' '))} -- "$current"))`,
    '    return',
    '  fi',
    '  case "$name" in',
    ...verbs,
    `    help) COMPREPLY=($(compgen -W ${quoted([...groups.keys()].join(' '))} -- "$current")); return ;;`,
    '  esac',
    '  if [ -n "$verbs" ]; then',
    '    if [ "$COMP_CWORD" -eq 2 ]; then COMPREPLY=($(compgen -W "$verbs" -- "$current")); return; fi',
    `    name="$name \${COMP_WORDS[2]}"`,
    '  fi',
    '  case "$name $previous" in',
    ...values,
    '  esac',
    '  if [ -z "$words" ]; then',
    '    case "$current" in',
    '      -*)',
    '        case "$name" in',
    ...options.map((line) => `      ${line}`),
    '        esac ;;',
    '      *)',
    '        case "$name" in',
    ...operands.map((line) => `      ${line}`),
    '        esac ;;',
    '    esac',
    '  fi',
    '  if [ -n "$words" ]; then COMPREPLY=($(compgen -W "$words" -- "$current")); return; fi',
    '  compopt -o filenames 2>/dev/null',
    '  COMPREPLY=($(compgen -f -- "$current"))',
    '}',
    'complete -F _shaledb shaledb',
  ];
}

// ---- zsh

/** In a specification of _arguments, where brackets and colons have a meaning. */
function zshText(text: string): string {
  return text.replace(/[[\]:\\]/g, (c) => `\\${c}`);
}

function zsh(commands: readonly Command[]): string[] {
  const groups = groupsOf(commands);
  const described = (name: string, says: string) => quoted(`${name}:${says.replaceAll(':', '\\:')}`);
  const firsts = [...groups].map(([first, those]) =>
    described(first, those[0].name.length === 1 ? those[0].summary : those.map((c) => c.name[1]).join(', ')),
  );
  const verbs = [...groups].flatMap(([first, those]) =>
    those[0].name.length === 1
      ? []
      : [
          `    ${first})`,
          `      if (( CURRENT == 3 )); then verbs=(${those.map((c) => described(c.name[1], c.summary)).join(' ')}); _describe verb verbs; return; fi`,
          '      name="$words[2] $words[3]"; shift words; (( CURRENT-- )) ;;',
        ],
  );
  return [
    '#compdef shaledb',
    '_shaledb() {',
    '  local -a names verbs',
    '  local name="$words[2]"',
    `  names=(${[...firsts, described('help', 'of a command'), described('version', 'of the program')].join(' ')})`,
    '  if (( CURRENT == 2 )); then _describe command names; return; fi',
    '  case "$name" in',
    `    help) (( CURRENT == 3 )) && _describe command names; return ;;`,
    ...verbs,
    '  esac',
    '  shift words; (( CURRENT-- ))',
    '  case "$name" in',
    ...commands.flatMap((c) => [
      `    ${quoted(c.name.join(' '))})`,
      `      _arguments ${[...optionsOf(c).map(zshOption), ...c.operands.map(zshOperand)].join(' ')} ;;`,
    ]),
    '  esac',
    '}',
    'compdef _shaledb shaledb',
  ];
}

function zshOption([name, o]: [string, OptionSpec]): string {
  const head = `--${name}[${zshText(o.says)}]`;
  if (o.kind === 'flag') return quoted(head);
  const value = o.kind === 'choice' ? `${name}:(${o.choices.join(' ')})` : `${zshText(o.value)}:_files`;
  return quoted(`${head}:${value}`);
}

function zshOperand(o: Command['operands'][number]): string {
  return quoted(`:${o.name}:${o.choices === undefined ? '_files' : `(${o.choices.join(' ')})`}`);
}

// ---- fish

function fish(commands: readonly Command[]): string[] {
  const groups = groupsOf(commands);
  const is = (c: Command) => quoted(`__shaledb_is ${c.name.join(' ')}`);
  const lines: string[] = [];
  for (const [first, those] of groups) {
    const isGroup = those[0].name.length > 1;
    const says = isGroup ? those.map((c) => c.name[1]).join(', ') : those[0].summary;
    lines.push(`complete -c shaledb -f -n __fish_use_subcommand -a ${first} -d ${quoted(says)}`);
    if (isGroup)
      for (const c of those)
        lines.push(
          `complete -c shaledb -f -n ${quoted(`__shaledb_at ${first}`)} -a ${c.name[1]} -d ${quoted(c.summary)}`,
        );
  }
  for (const c of commands) {
    for (const [name, o] of optionsOf(c))
      lines.push(`complete -c shaledb -n ${is(c)} -l ${name}${fishValue(o)} -d ${quoted(o.says)}`);
    for (const o of c.operands)
      if (o.choices !== undefined) lines.push(`complete -c shaledb -f -n ${is(c)} -a ${quoted(o.choices.join(' '))}`);
  }
  return [
    '# Completion of shaledb for fish.',
    'function __shaledb_is',
    '  set -l words (commandline -opc)',
    '  test (count $words) -gt (count $argv); and test "$words[2..' + '(math 1 + (count $argv))]" = "$argv"',
    'end',
    'function __shaledb_at',
    '  set -l words (commandline -opc)',
    '  test (count $words) -eq 2; and test "$words[2]" = "$argv[1]"',
    'end',
    ...WORDS_WITHOUT_COMMAND.map((word) => `complete -c shaledb -f -n __fish_use_subcommand -a ${word}`),
    ...lines,
  ];
}

function fishValue(o: OptionSpec): string {
  if (o.kind === 'flag') return '';
  return o.kind === 'choice' ? ` -x -a ${quoted(o.choices.join(' '))}` : ' -r';
}
