/** Completion: every command and option is in every script, texts stay texts, and another shell is a usage error. */
import { describe, expect, it } from 'vitest';
import { COMMON_OPTIONS } from '../../../src/cli/command.ts';
import { COMMANDS } from '../../../src/cli/commands.ts';
import { runWith } from '../../support/command-line.ts';

describe.each(['bash', 'zsh', 'fish'])('the script for %s', (shell) => {
  it('has every command, every option and every choice', async () => {
    const { code, out, err } = await runWith(['completion', shell]);
    expect([code, err]).toEqual([0, '']);
    for (const { name, options } of COMMANDS) {
      for (const word of name) expect(out).toContain(word);
      for (const [option, spec] of Object.entries({ ...options, ...COMMON_OPTIONS })) {
        expect(out).toContain(shell === 'fish' ? `-l ${option}` : `--${option}`);
        if (spec.kind === 'choice') expect(out).toContain(spec.choices.join(' '));
      }
    }
  });
  it('has an even number of quotes in every line', async () => {
    const { out } = await runWith(['completion', shell]);
    for (const line of out.split('\n'))
      expect((line.replaceAll("'\\''", '').match(/'/g) ?? []).length % 2, line).toBe(0);
  });
  it('is a document where JSON is wanted', async () => {
    const { out } = await runWith(['completion', shell, '--json']);
    expect(JSON.parse(out)).toMatchObject({ schemaVersion: 1, type: 'completion', shell });
  });
});

it('another shell is a usage error, also as a document', async () => {
  const { code, out, err } = await runWith(['completion', 'ksh', '--json']);
  expect(code).toBe(2);
  expect(err).toContain('SHELL is one of bash, zsh, fish, not "ksh"');
  expect(JSON.parse(out)).toMatchObject({
    type: 'error',
    error: { name: 'InvalidArgumentError', code: 'BAD_ARGUMENT' },
  });
  expect((await runWith(['completion'])).err).toContain('SHELL is missing');
});
