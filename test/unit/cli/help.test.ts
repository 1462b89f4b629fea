/** Help, names and words: every help has examples, every example parses, every mistake is answered with the nearest name. */
import { describe, expect, it } from 'vitest';
import { nearest, parseArguments, UsageError } from '../../../src/cli/arguments.ts';
import { COMMON_OPTIONS, type OptionSpecs } from '../../../src/cli/command.ts';
import { COMMANDS, findCommand } from '../../../src/cli/commands.ts';
import { commandHelp } from '../../../src/cli/help.ts';
import { runWith } from '../../support/command-line.ts';

/** Words as a shell would split them; quotes as the examples use them. */
function shellWords(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map((m) => m[1] ?? m[2] ?? m[3]);
}

describe.each(COMMANDS.map((c) => [c.name.join(' '), c] as const))('shaledb %s', (name, command) => {
  it('has help with examples', async () => {
    const { code, out, err } = await runWith([...command.name, '--help']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(command.examples.length).toBeGreaterThan(0);
    for (const { line } of command.examples) expect(out).toContain(`  shaledb ${line}\n`);
    expect(out).toContain(`Usage: shaledb ${name}`);
    for (const option of Object.keys({ ...command.options, ...COMMON_OPTIONS })) expect(out).toContain(`--${option}`);
    expect(await runWith(['help', ...command.name])).toEqual({ code, out, err });
  });
  it('has examples that parse', () => {
    for (const { line } of command.examples) {
      const found = findCommand(shellWords(line));
      expect(found.command).toBe(command);
      expect(() =>
        parseArguments(found.rest, command.operands, { ...command.options, ...COMMON_OPTIONS }),
      ).not.toThrow();
    }
  });
  it('has lines that fit a terminal', () => {
    const long = commandHelp(command).filter((l) => l.length > 100 && !l.includes('shaledb'));
    expect(long).toEqual([]);
  });
  it('refuses an option that does not exist, with the nearest one', async () => {
    const words = command.operands.map((o) => (o.kind === 'id' ? '1' : 'x'));
    const { code, out, err } = await runWith([...command.name, ...words, '--jsn']);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain('Unknown option "--jsn"; did you mean --json?');
    expect(err).toContain(`Help: shaledb ${name} --help`);
  });
});

describe('words that make no sense', () => {
  it.each([
    [[], 'Usage: shaledb COMMAND LOCATION'],
    [['docter', 'x'], 'did you mean doctor?'],
    [['wal'], 'wal needs one more word: inspect, repair.'],
    [['wal', '--json'], 'wal needs one more word: inspect, repair.'],
    [['wal', 'inspct', 'x'], 'did you mean inspect?'],
    [['wal', 'xxxxxxxxx', 'y'], 'Unknown command of wal "xxxxxxxxx".'],
    [['doctor'], 'LOCATION is missing'],
    [['doctor', ''], 'LOCATION is missing'],
    [['doctor', 'x', 'y'], '"y" is one word too many.'],
    [['doctor', 'x', '--level'], '--level needs a value'],
    [['doctor', 'x', '--level', 'row'], 'not "row"; did you mean rows?'],
    [['doctor', 'x', '--json=1'], '--json takes no value.'],
    [['wal', 'inspect', 'x', '--from', '-1'], '--from'],
    [['wal', 'inspect', 'x', '--from', '1.5'], '--from must be a whole number, not "1.5".'],
    [['wal', 'inspect', 'x', '--from', '18446744073709551616'], '--from is too large'],
    [['sst', 'check', 'x', '--concurrency', '9007199254740993'], '--concurrency is too large'],
    [['manifest', 'inspect', 'x', 'newest'], 'ID must be a whole number, not "newest".'],
    [['wal', 'repair', 'x', '--plan', 'h'], '--plan needs --apply'],
    [['damage', 'ack', 'x', 'f-1'], '--note is missing'],
    [['sst', 'inspect', 'x'], 'LOCATION and ID; or --file PATH'],
    [['sst', 'inspect', 'x', '--file', 'y'], '--file stands instead of LOCATION'],
    [['wal', 'inspect'], 'LOCATION, or --file PATH'],
    [['wal', 'inspect', 'x', '--file', 'y'], 'LOCATION, or --file PATH'],
    [['wal', 'inspect', '--file', 'y'], 'y is not named like an object of the log'],
    [['doctor', 'x', '-j'], 'Unknown option "-j"'],
    [['doctor', 'x', '--__proto__'], 'Unknown option "--__proto__"'],
    [['doctor', 'x', '--toString'], 'Unknown option "--toString"'],
  ])('%j', async (words, message) => {
    const { code, out, err } = await runWith(words as string[]);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(message);
  });
  it('are no names where they are too far off', () => {
    expect(nearest('--reverse', ['--json', '--quiet'])).toBeUndefined();
    expect(nearest('--redact', ['--json', '--redact-keys'])).toBe('--redact-keys');
  });
});

describe('a parsed option', () => {
  const options: OptionSpecs = {
    on: { kind: 'flag', says: '' },
    n: { kind: 'count', value: 'N', says: '' },
    list: { kind: 'list', value: 'L', says: '' },
  };
  it('becomes the member of an options object, and is left out where it was not given', () => {
    const args = parseArguments(['--n', '5', '--list=a,b', '--on'], [], options);
    expect(
      args.members<{ a: number; b: string[]; c: boolean; d: string }>({ a: 'n', b: 'list', c: 'on', d: 'none' }),
    ).toEqual({
      a: 5,
      b: ['a', 'b'],
      c: true,
    });
  });
  it('may be an operand behind two dashes', () => {
    const args = parseArguments(['--', '--on'], [{ name: 'X', says: '' }], options);
    expect([args.text('X'), args.has('on')]).toEqual(['--on', false]);
    expect(() => parseArguments(['--'], [{ name: 'X', says: '' }], options)).toThrow(UsageError);
  });
});

it('the version can be asked for, and the overview', async () => {
  expect(await runWith(['--version'])).toEqual({ code: 0, out: '0.1.0\n', err: '' });
  const { code, out } = await runWith(['--help']);
  expect(code).toBe(0);
  for (const command of COMMANDS) expect(out).toContain(`  ${command.name.join(' ')} `);
});
