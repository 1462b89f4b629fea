/**
 * The command line as a function: words in, text out, exit code back. It touches nothing of the process, so tests run it as
 * it is.
 *
 * Always holds: whatever goes wrong ends as a message with the next step and one of the exit codes, never as a stack trace.
 */
import type { ToolOptions } from '../admin.ts';
import { shellWord } from '../common/shell-word.ts';
import { type DbError, InternalError, InvalidArgumentError, isCorruption, isDbError } from '../index.ts';
import { type Arguments, LOCATION_NAME, optionFaultsOf, parseArguments, UsageError } from './arguments.ts';
import { COMMON_OPTIONS, type Command } from './command.ts';
import { COMMAND_GROUPS, COMMANDS, commandsOf, findCommand } from './commands.ts';
import { EXIT, type ExitCode, exitOfError } from './exit-codes.ts';
import type { Files } from './files.ts';
import { findingsText } from './finding-text.ts';
import { commandHelp, overview, usageOf } from './help.ts';
import { errorDocument, type Writing } from './json.ts';
import { LOCATION_VARIABLE, locationOf } from './place.ts';
import { columnsOf, type Output, Printer } from './printer.ts';
import type { Tools } from './tools.ts';
import { commandText, NO_LOCATION, visible, wrap } from './words.ts';

export interface Host {
  out: Output;
  err: Output;
  env: Readonly<Record<string, string | undefined>>;
  /** The directory from which relative paths go. */
  cwd: string;
  tools: Tools;
  version: string;
  /** For how often progress is shown. */
  monotonicMs(): number;
  /** The clock of this machine, ms since the epoch. */
  nowMs(): number;
  readFile(path: string): Promise<Uint8Array>;
  files: Files;
  /** All of standard input. */
  readInput(): Promise<Uint8Array>;
}

const ISSUES = 'This is a bug of shaledb. Please report it with this text and the command.';

export async function runCommandLine(words: readonly string[], host: Host): Promise<ExitCode> {
  if (words.length === 0) {
    host.err.write(text(overview(COMMAND_GROUPS, host.version, columnsOf(host.err, host.env))));
    return EXIT.usage;
  }
  try {
    const { name, options } = commandWords(words);
    const [first = ''] = name;
    if (first === '--version' || first === '-V' || first === 'version') {
      host.out.write(`${host.version}\n`);
      return EXIT.clean;
    }
    if (isHelp(first) || first === 'help') return help(name.slice(1), host);
    if (isHelp(name[1]) && commandsOf(first).length > 0) return help([first], host);
    if (name.length === 0) throw new UsageError('A command is missing.');
    const { command, rest: afterName } = findCommand(name);
    const rest = [...options, ...afterName];
    if (beforeTerminator(rest).some(isHelp)) return help(command.name, host);
    return await runCommand(command, rest, host);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return usageFailure(error, undefined, words, host);
  }
}

/** Options of all commands may also stand before the command, or between its two words: they are taken out. */
function commandWords(words: readonly string[]): { name: string[]; options: string[] } {
  const options: string[] = [];
  const name: string[] = [];
  let at = 0;
  while (at < words.length && name.length < 2) {
    const word = words[at];
    const option = /^--([^=]+)/.exec(word)?.[1];
    const isCommon = option !== undefined && !isHelp(word) && Object.hasOwn(COMMON_OPTIONS, option);
    const spec = isCommon ? COMMON_OPTIONS[option] : undefined;
    if (spec === undefined) {
      name.push(word);
      at++;
      // After a command of one word, and after anything else that is no name, there is nothing to search.
      if (!commandsOf(name[0]).some((c) => c.name.length > name.length)) break;
      continue;
    }
    const takes = spec.kind === 'flag' || word.includes('=') ? 1 : 2;
    options.push(...words.slice(at, at + takes));
    at += takes;
  }
  return { name: [...name, ...words.slice(at)], options };
}

function isHelp(word: string | undefined): boolean {
  return word === '--help' || word === '-h';
}

const text = (lines: readonly string[]) => lines.map((l) => `${l}\n`).join('');

/** After `--` nothing is an option. */
function beforeTerminator(words: readonly string[]): readonly string[] {
  const end = words.indexOf('--');
  return end < 0 ? words : words.slice(0, end);
}

function help(words: readonly string[], host: Host): ExitCode {
  const columns = columnsOf(host.out, host.env);
  host.out.write(
    text(
      helpLines(
        words.filter((word) => !isHelp(word)),
        columns,
        host,
      ),
    ),
  );
  return EXIT.clean;
}

/** Of everything, of a command, or of all commands that begin with one word. */
function helpLines(words: readonly string[], columns: number, { version }: Host): string[] {
  const [first] = words;
  if (first === undefined) return overview(COMMAND_GROUPS, version, columns);
  const group = words.length === 1 ? commandsOf(first) : [];
  const commands = group.length > 0 ? group : [findCommand(words).command];
  return commands.flatMap((command, i) => [...(i > 0 ? ['', ''] : []), ...commandHelp(command, columns)]);
}

/** A mistake in the words names no command that would need the location. */
const AS_IT_IS: Writing = { redactKeys: false, command: (command) => command };

/** Scripts that read JSON find the mistake there, people on standard error. */
function usageFailure(error: UsageError, command: Command | undefined, words: readonly string[], host: Host): ExitCode {
  if (beforeTerminator(words).includes('--json')) {
    const document = errorDocument(new InvalidArgumentError('BAD_ARGUMENT', error.message), AS_IT_IS);
    host.out.write(text([document]));
  }
  const more =
    command === undefined
      ? ['Help: shaledb --help']
      : [`Usage: ${usageOf(command)}`, `Help: shaledb ${command.name.join(' ')} --help`];
  host.err.write(text([...wrap(`shaledb: ${visible(error.message)}`, columnsOf(host.err, host.env)), ...more]));
  return EXIT.usage;
}

async function runCommand(command: Command, typedWords: readonly string[], host: Host): Promise<ExitCode> {
  let args: Arguments;
  let words = typedWords;
  try {
    const options = { ...command.options, ...COMMON_OPTIONS };
    args = parseArguments(words, command.operands, options, variable(host.env));
    if (args.has(LOCATION_NAME)) {
      const location = locationOf(args.text(LOCATION_NAME), host.cwd);
      words = withLocation(words, args, location);
      args = args.with(LOCATION_NAME, location);
    }
  } catch (error) {
    if (error instanceof UsageError) return usageFailure(error, command, words, host);
    throw error;
  }
  const { tools, readFile, files, readInput, nowMs } = host;
  const common = args.members<ToolOptions>({ timeoutMs: 'timeout-ms', root: 'root' });
  const again = typed(command, withoutApply(words));
  const printer = printerFor(args, again, host);
  try {
    return await command.run({
      args,
      printer,
      commands: COMMANDS,
      tools,
      common,
      again,
      readFile,
      files,
      readInput,
      nowMs,
    });
  } catch (error) {
    const usage = error instanceof UsageError ? error : usageErrorOf(error, args);
    if (usage !== undefined) return usageFailure(usage, command, words, host);
    return failure(error, command, words, printer);
  }
}

/** An empty variable is none. */
function variable(env: Host['env']): string | undefined {
  return env[LOCATION_VARIABLE] === '' ? undefined : env[LOCATION_VARIABLE];
}

function printerFor(args: Arguments, running: string, { out, err, env, monotonicMs }: Host): Printer {
  return new Printer({
    out,
    err,
    env,
    monotonicMs,
    json: args.has('json'),
    redactKeys: args.has('redact-keys'),
    quiet: args.has('quiet'),
    location: args.has(LOCATION_NAME) ? args.text(LOCATION_NAME) : NO_LOCATION,
    ...(args.has('root') && { root: args.text('root') }),
    ...(args.has('file') && { file: args.text('file') }),
    running,
  });
}

/** The words with the location as a URL, so that the command can be run again from everywhere. */
function withLocation(words: readonly string[], args: Arguments, location: string): string[] {
  const at = args.operandAt(LOCATION_NAME);
  return at === undefined ? [location, ...words] : words.map((word, i) => (i === at ? location : word));
}

function usageErrorOf(error: unknown, args: Arguments): UsageError | undefined {
  if (!isDbError(error) || error.code !== 'BAD_OPTION') return undefined;
  const { faults } = error.details;
  return Array.isArray(faults) ? optionFaultsOf(args, faults) : undefined;
}

/** A command as it would be typed. */
function typed({ name }: Command, words: readonly string[]): string {
  return ['shaledb', ...name, ...words.map(shellWord)].join(' ');
}

function withoutApply(words: readonly string[]): string[] {
  return words.filter((w, i) => !/^--(apply|plan)(=|$)/.test(w) && words[i - 1] !== '--plan');
}

function failure(error: unknown, command: Command, words: readonly string[], printer: Printer): ExitCode {
  const code = exitOfError(error, command.repairs === true);
  if (!isDbError(error)) {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const message = error instanceof Error ? error.message : String(error);
    printer.failure([...stack.split('\n').map(visible), ISSUES], new InternalError(message, { cause: error }));
    return code;
  }
  printer.failure(errorText(error, command, words, printer), error);
  return code;
}

/** The error, what it was caused by, the findings it carries, and what to do. */
function errorText(error: DbError, command: Command, words: readonly string[], printer: Printer): string[] {
  const view = printer.errView;
  const { paint } = view;
  const lines = [`${paint('red', error.name)} ${paint('bold', error.code)}: ${visible(error.message)}`];
  if (error.cause instanceof Error && !error.message.includes(error.cause.message))
    lines.push(`  because: ${visible(error.cause.message)}`);
  if (isCorruption(error)) lines.push(...findingsText(error.findings, view), '');
  else lines.push(...(error.hint?.commands ?? []).map((c) => `  next      ${paint('cyan', commandText(c, view))}`));
  const advice = adviceOf(error, command, typed(command, words));
  return [...lines, ...advice];
}

function adviceOf(error: DbError, command: Command, line: string): string[] {
  if (error.code === 'LIVE_WRITER')
    return [command.allTheSame ?? 'To take the database over from it', `  ${line} --if-live-writer fence`];
  switch (exitOfError(error, command.repairs === true)) {
    case EXIT.unavailable:
      return [
        command.repairs === true || command.writes === true
          ? 'Run the same command again later: it continues where it stopped.'
          : 'Nothing was changed. Try again later.',
      ];
    case EXIT.internal:
      return [ISSUES];
    default:
      return [];
  }
}
