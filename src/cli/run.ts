/**
 * The command line as a function: words in, text out, exit code back. It touches nothing of the process, so tests run it as
 * it is.
 *
 * Always holds: whatever goes wrong ends as a message with the next step and one of the exit codes, never as a stack trace.
 */
import type { ToolOptions } from '../admin.ts';
import { type DbError, InternalError, InvalidArgumentError, isCorruption, isDbError } from '../index.ts';
import { type Arguments, parseArguments, UsageError } from './arguments.ts';
import { COMMON_OPTIONS, type Command } from './command.ts';
import { COMMANDS, commandsOf, findCommand } from './commands.ts';
import { EXIT, type ExitCode, exitOfError } from './exit-codes.ts';
import { findingsText } from './finding-text.ts';
import { commandHelp, overview, usageOf } from './help.ts';
import { errorDocument } from './json.ts';
import { columnsOf, type Output, Printer } from './printer.ts';
import type { Tools } from './tools.ts';
import { shellWord, visible } from './words.ts';

export interface Host {
  out: Output;
  err: Output;
  env: Readonly<Record<string, string | undefined>>;
  tools: Tools;
  version: string;
  readFile(path: string): Promise<Uint8Array>;
}

const ISSUES = 'This is a bug of shaledb. Please report it with this text and the command.';

export async function runCommandLine(words: readonly string[], host: Host): Promise<ExitCode> {
  const first = words[0];
  if (first === undefined) {
    host.err.write(text(overview(COMMANDS, host.version)));
    return EXIT.usage;
  }
  if (first === '--version' || first === '-V' || first === 'version') {
    host.out.write(`${host.version}\n`);
    return EXIT.clean;
  }
  try {
    if (isHelp(first) || first === 'help') return help(words.slice(1), host);
    if (isHelp(words[1]) && commandsOf(first).length > 0) return help([first], host);
    const { command, rest } = findCommand(words);
    if (beforeTerminator(rest).some(isHelp)) return help(command.name, host);
    return await runCommand(command, rest, host);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return usageFailure(error, undefined, words, host);
  }
}

function isHelp(word: string | undefined): boolean {
  return word === '--help' || word === '-h';
}

const text = (lines: readonly string[]) => lines.map((l) => `${l}\n`).join('');

/** Behind `--` nothing is an option. */
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
  if (first === undefined) return overview(COMMANDS, version);
  const group = words.length === 1 ? commandsOf(first) : [];
  const commands = group.length > 0 ? group : [findCommand(words).command];
  return commands.flatMap((command, i) => [...(i > 0 ? ['', ''] : []), ...commandHelp(command, columns)]);
}

/** Scripts that read JSON find the mistake there, people on standard error. */
function usageFailure(error: UsageError, command: Command | undefined, words: readonly string[], host: Host): ExitCode {
  if (beforeTerminator(words).includes('--json')) {
    host.out.write(text([errorDocument(new InvalidArgumentError('BAD_ARGUMENT', error.message), false)]));
  }
  const more =
    command === undefined
      ? ['Help: shaledb --help']
      : [`Usage: ${usageOf(command)}`, `Help: shaledb ${command.name.join(' ')} --help`];
  host.err.write(text([`shaledb: ${visible(error.message)}`, ...more]));
  return EXIT.usage;
}

async function runCommand(command: Command, words: readonly string[], host: Host): Promise<ExitCode> {
  let args: Arguments;
  try {
    args = parseArguments(words, command.operands, { ...command.options, ...COMMON_OPTIONS });
  } catch (error) {
    if (error instanceof UsageError) return usageFailure(error, command, words, host);
    throw error;
  }
  const { out, err, env, tools, readFile } = host;
  const common = args.members<ToolOptions>({ timeoutMs: 'timeout-ms', root: 'root' });
  const again = ['shaledb', ...command.name, ...withoutApply(words).map(shellWord)].join(' ');
  const printer = new Printer({
    out,
    err,
    env,
    json: args.has('json'),
    redactKeys: args.has('redact-keys'),
    quiet: args.has('quiet'),
    location: args.has('LOCATION') ? args.text('LOCATION') : 'LOCATION',
    ...(args.has('root') && { root: args.text('root') }),
    running: again,
  });
  try {
    return await command.run({ args, printer, tools, common, again, readFile });
  } catch (error) {
    if (error instanceof UsageError) return usageFailure(error, command, words, host);
    return failure(error, command, printer);
  }
}

function withoutApply(words: readonly string[]): string[] {
  return words.filter((w, i) => !/^--(apply|plan)(=|$)/.test(w) && words[i - 1] !== '--plan');
}

function failure(error: unknown, command: Command, printer: Printer): ExitCode {
  const code = exitOfError(error, command.repairs === true);
  if (!isDbError(error)) {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const message = error instanceof Error ? error.message : String(error);
    printer.failure([...stack.split('\n').map(visible), ISSUES], new InternalError(message, { cause: error }));
    return code;
  }
  printer.failure(errorText(error, command, printer), error);
  return code;
}

/** The error, what it was caused by, the findings it carries, and what to do. */
function errorText(error: DbError, command: Command, printer: Printer): string[] {
  const view = printer.errView;
  const { paint } = view;
  const lines = [`${paint('red', error.name)} ${paint('bold', error.code)}: ${visible(error.message)}`];
  if (error.cause instanceof Error && !error.message.includes(error.cause.message))
    lines.push(`  because: ${visible(error.cause.message)}`);
  if (isCorruption(error)) lines.push(...findingsText(error.findings, view), '');
  const advice = adviceOf(error, command);
  return advice === undefined ? lines : [...lines, advice];
}

function adviceOf(error: DbError, command: Command): string | undefined {
  switch (exitOfError(error, command.repairs === true)) {
    case EXIT.unavailable:
      return command.repairs === true
        ? 'Run the same command again later: it goes on where it stopped.'
        : 'Nothing was changed. Try again later.';
    case EXIT.internal:
      return ISSUES;
    default:
      return undefined;
  }
}
