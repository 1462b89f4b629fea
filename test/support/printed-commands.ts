/** The commands that a run of the command line printed, taken apart as a shell and the command line itself take them apart. */
import { type Arguments, parseArguments } from '../../src/cli/arguments.ts';
import { COMMON_OPTIONS } from '../../src/cli/command.ts';
import { findCommand } from '../../src/cli/commands.ts';

/** Words of a line as a POSIX shell splits them: single and double quotes, backslashes. Throws for what a shell would expand. */
export function shellSplit(line: string): string[] {
  const words: string[] = [];
  const part = /\s+|'([^']*)'|"([^"$`\\]*)"|\\(.)|([\w@%+=:,./^~-]+)/gsy;
  let word: string | undefined;
  while (part.lastIndex < line.length) {
    const from = part.lastIndex;
    const found = part.exec(line);
    if (found === null) throw new Error(`a shell would not take this as it is: ${line.slice(from)}`);
    const text = found[1] ?? found[2] ?? found[3] ?? found[4];
    if (text !== undefined) word = (word ?? '') + text;
    else if (word !== undefined) {
      words.push(word);
      word = undefined;
    }
  }
  return word === undefined ? words : [...words, word];
}

/** What the command line makes of a printed command; throws `UsageError` if it would refuse it. */
export function parsePrinted(line: string): { name: string; args: Arguments } {
  const [program, ...words] = shellSplit(line);
  if (program !== 'shaledb') throw new Error(`no command of shaledb: ${line}`);
  const { command, rest } = findCommand(words);
  const args = parseArguments(rest, command.operands, { ...command.options, ...COMMON_OPTIONS });
  return { name: command.name.join(' '), args };
}

/** Commands in text: lines of their own, after `next`, and what inspects the rest. The remark on a repair's loss is none of it. */
export function commandsInText(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const [, command] =
      /^\s+(?:next\s+)?(shaledb .*?)(?: {2}\(.*\))?$/.exec(line) ??
      /(?:\(|: )(shaledb .*?)(?: does\))?$/.exec(line) ??
      [];
    return command === undefined ? [] : [command];
  });
}

/** Commands in lines of JSON, wherever a member is a string that begins as one. */
export function commandsInJson(text: string): string[] {
  const found: string[] = [];
  const visit = (value: unknown): void => {
    if (typeof value === 'string' && value.startsWith('shaledb ')) found.push(value);
    else if (typeof value === 'object' && value !== null) Object.values(value).forEach(visit);
  };
  for (const line of text.split('\n')) if (line !== '') visit(JSON.parse(line));
  return found;
}
