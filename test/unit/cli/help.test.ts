/** Help, names and words: every help has examples, every example parses, every mistake is answered with the nearest name. */
import { describe, expect, it } from 'vitest';
import type { VerifyOptions } from '../../../src/admin.ts';
import { nearest, parseArguments, UsageError } from '../../../src/cli/arguments.ts';
import { COMMON_OPTIONS, type OptionSpecs } from '../../../src/cli/command.ts';
import { COMMANDS, findCommand } from '../../../src/cli/commands.ts';
import { commandHelp } from '../../../src/cli/help.ts';
import { DOCTOR, makeHint } from '../../../src/common/advice.ts';
import { errorFromJson, InvalidArgumentError } from '../../../src/index.ts';
import { type RunOptions, runWith, stream } from '../../support/command-line.ts';
import { key, repairReport, verifyReport } from '../../support/report-samples.ts';

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

describe('the usual words', () => {
  it.each([['-h'], ['--help'], ['help']])('%s shows all commands', async (word) => {
    const { code, out, err } = await runWith([word]);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    for (const { name } of COMMANDS) expect(out).toContain(name.join(' '));
  });
  it.each([['-V'], ['--version'], ['version']])('%s shows the version', async (word) => {
    expect(await runWith([word])).toEqual({ code: 0, out: '0.1.0\n', err: '' });
  });
  it.each([[['wal', '--help']], [['wal', '-h']], [['help', 'wal']], [['--help', 'wal']]])(
    '%j shows all commands of the group',
    async (words) => {
      const { code, out, err } = await runWith(words);
      expect({ code, err }).toEqual({ code: 0, err: '' });
      expect(out).toContain('Usage: shaledb wal inspect');
      expect(out).toContain('Usage: shaledb wal repair');
      expect(out).not.toContain('Usage: shaledb sst');
    },
  );
  it('-h after a command is its help, and after -- a word like any other', async () => {
    expect(await runWith(['doctor', 'x', '-h'])).toEqual(await runWith(['doctor', '--help']));
    expect((await runWith(['doctor', '--', '-h', 'y'])).err).toContain('Unexpected argument');
  });
  it('help is as wide as the terminal, or as COLUMNS says, and never wider than 100', async () => {
    const widest = async (options: RunOptions) => {
      const { out } = await runWith(['doctor', '--help'], options);
      return Math.max(
        ...out
          .split('\n')
          .slice(3)
          .filter((l) => !l.includes('shaledb') && !l.includes('--') && !l.includes('://') && l.includes(' '))
          .map((l) => l.length),
      );
    };
    for (const [options, most] of [
      [{ columns: 60 }, 60],
      [{ columns: 300 }, 100],
      [{ columns: null, env: { COLUMNS: '70' } }, 70],
      [{ columns: null, env: { COLUMNS: '1' } }, 100],
      [{ columns: null, env: { COLUMNS: 'wide' } }, 100],
      [{ columns: 60, env: { COLUMNS: '90' } }, 60],
    ] as [RunOptions, number][]) {
      const found = await widest(options);
      expect(found, JSON.stringify(options)).toBeLessThanOrEqual(most);
      expect(found, JSON.stringify(options)).toBeGreaterThan(most - 15);
    }
  });
});

describe('a wrong command line with --json', () => {
  it.each([
    [['docter', 'x', '--json'], 'did you mean doctor?'],
    [['doctor', '--json'], 'LOCATION is missing'],
    [['doctor', 'x', '--level', 'rws', '--json'], 'did you'],
    [['wal', '--json'], 'Missing subcommand'],
    [['wal', 'inspect', 'x', '--json', '--frm', '1'], 'did you mean --from?'],
  ])('%j is a document of type error as well', async (words, says) => {
    const { code, out, err } = await runWith(words);
    expect(code).toBe(2);
    expect(err).toContain(says);
    const document = JSON.parse(out);
    expect(document).toMatchObject({ schemaVersion: 1, type: 'error', error: { name: 'InvalidArgumentError' } });
    expect(errorFromJson(document.error).message).toContain(says);
  });
  it('is text alone without it', async () => {
    expect((await runWith(['doctor', '--', '--json', 'y'])).out).toBe('');
  });
});

describe('words that make no sense', () => {
  it.each([
    [[], 'Usage: shaledb COMMAND LOCATION'],
    [['docter', 'x'], 'did you mean doctor?'],
    [['wal'], 'Missing subcommand: "wal inspect" or "wal repair".'],
    [['wal', '--quiet'], 'Missing subcommand: "wal inspect" or "wal repair".'],
    [['wal', 'inspct', 'x'], 'did you mean inspect?'],
    [['wal', 'xxxxxxxxx', 'y'], 'Unknown command of wal "xxxxxxxxx".'],
    [['doctor'], 'LOCATION is missing'],
    [['doctor', ''], 'LOCATION is missing'],
    [['doctor', 'x', 'y'], 'Unexpected argument "y".'],
    [['doctor', 'x', '--level'], '--level needs a value'],
    [['doctor', 'x', '--level', 'row'], 'not "row"; did you\nmean rows?'],
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
  it('may be an operand after two dashes', () => {
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

describe('a location', () => {
  const calls: unknown[] = [];
  const tools = {
    manifestInspect: async (...given: unknown[]) => {
      calls.push(given);
      throw new InvalidArgumentError('NOT_A_DATABASE', 'none', { hint: makeHint('', 'none', [DOCTOR]) });
    },
  } as RunOptions['tools'];
  const asked = async (words: string[], env: Record<string, string> = {}) => {
    calls.length = 0;
    const ran = await runWith(['manifest', 'inspect', ...words], { tools, env, cwd: '/srv/data' });
    return { ...ran, given: (calls[0] as unknown[] | undefined)?.slice(0, 2) };
  };
  it.each([
    ['./good', 'file:///srv/data/good'],
    ['good', 'file:///srv/data/good'],
    ['../x y', 'file:///srv/x%20y'],
    ['/var/lib/db', 'file:///var/lib/db'],
    ['.', 'file:///srv/data'],
    ['file:///var/lib/db', 'file:///var/lib/db'],
    ['s3://bucket/db', 's3://bucket/db'],
    ['memory:', 'memory:'],
    ['gs://bucket', 'gs://bucket'],
  ])('%s is %s', async (word, location) => {
    const { given, err } = await asked([word]);
    expect(given).toEqual([location, undefined]);
    expect(err).toContain(`shaledb doctor ${location}\n`);
  });
  it('may be in the environment', async () => {
    const env = { SHALEDB_LOCATION: './env' };
    expect((await asked([], env)).given).toEqual(['file:///srv/data/env', undefined]);
    expect((await asked(['7'], env)).given, 'an id').toEqual(['file:///srv/data/env', 7n]);
    expect((await asked(['./x'], env)).given).toEqual(['file:///srv/data/x', undefined]);
    expect((await asked(['x', '7'], env)).given).toEqual(['file:///srv/data/x', 7n]);
    expect((await asked([], { SHALEDB_LOCATION: '' })).err).toContain('LOCATION is missing');
  });
  it('is in the command that is printed to be run again, wherever it came from', async () => {
    const { tools: repairs } = { tools: { manifestRepair: async () => repairReport() } as RunOptions['tools'] };
    for (const [words, env] of [
      [['./db'], {}],
      [[], { SHALEDB_LOCATION: 'db' }],
    ] as const) {
      const { out } = await runWith(['manifest', 'repair', ...words], { tools: repairs, env, cwd: '/srv' });
      expect(out).toContain('shaledb manifest repair file:///srv/db --apply --plan ');
    }
  });
  it('is not taken from the environment beside a file', async () => {
    const env = { SHALEDB_LOCATION: './env' };
    const inspect = { walInspect: () => stream([]) } as RunOptions['tools'];
    const files = { './00000000000000000017.sst': key('bytes') };
    const words = ['wal', 'inspect', '--file', './00000000000000000017.sst'];
    expect((await runWith(words, { tools: inspect, env, files })).code).toBe(0);
  });
});

describe('a word that is nearly a name', () => {
  it.each([
    ['get', ['sst', 'gc'], undefined],
    ['sacn', ['scan'], 'scan'],
    ['ls', ['gc'], undefined],
    ['docter', ['doctor'], 'doctor'],
    ['stat', ['sst', 'stats'], 'stats'],
    ['-j', ['--json'], undefined],
    ['--jso', ['--json'], '--json'],
  ])('%s of %j: %s', (name, known, found) => {
    expect(nearest(name, known)).toBe(found);
  });
});

it('progress is shown at most ten times a second, and no wider than the terminal', async () => {
  let nowMs = 0;
  const tools = {
    verify: async (_location: unknown, { onProgress }: VerifyOptions) => {
      for (let done = 0; done < 1000; done++) {
        nowMs += 5;
        onProgress?.({ part: 'tables', done, of: 1000, bytesRead: 10 ** 9 });
      }
      return verifyReport();
    },
  } as RunOptions['tools'];
  const options = { tools, isTerminal: true, columns: 30, monotonicMs: () => nowMs };
  const { err } = await runWith(['doctor', 'x', '--json'], options);
  const shown = err.split('\r').filter((line) => line.includes('checking'));
  expect(shown.length).toBeGreaterThan(40);
  expect(shown.length).toBeLessThanOrEqual(51);
  for (const line of shown) expect(line.slice(3).length).toBeLessThan(30);
});
