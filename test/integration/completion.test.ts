/** Completion as bash does it; zsh and fish read their scripts where they are installed. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt, REPOSITORY_ROOT } from '../support/environment.ts';

const PROGRAM = join(REPOSITORY_ROOT, 'dist', 'cli', 'main.js');
const script = (shell: string) =>
  spawnSync(process.execPath, [PROGRAM, 'completion', shell], { encoding: 'utf8' }).stdout;
const has = (shell: string) => spawnSync(shell, ['-c', 'exit 0']).status === 0;

beforeAll(() => ensureBuilt(), 180_000);

describe.runIf(has('bash'))('bash', () => {
  const completed = (...words: string[]) => {
    const ask = `COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shaledb; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', `${script('bash')}\n${ask}`, 'shaledb', 'shaledb', ...words], {
      encoding: 'utf8',
      cwd: REPOSITORY_ROOT,
    });
    expect(stderr).toBe('');
    return stdout.split('\n').filter((line) => line !== '');
  };
  it('completes commands, options, values and paths', () => {
    expect(completed('do')).toEqual(['doctor']);
    expect(completed('wal', '')).toEqual(['inspect', 'repair']);
    expect(completed('wal', 'inspect', '--fr')).toEqual(['--from']);
    expect(completed('wal', 'inspect', '--rows', '')).toEqual(['none', 'keys', 'full']);
    expect(completed('completion', 'z')).toEqual(['zsh']);
    expect(completed('help', 'ma')).toEqual(['manifest']);
    expect(completed('doctor', 'packa')).toEqual(expect.arrayContaining(['package.json']));
  });
});

describe.each([
  ['zsh', '-n'],
  ['fish', '--no-execute'],
])('%s', (shell, check) => {
  it.runIf(has(shell))('reads its script', () => {
    expect(spawnSync(shell, [check], { input: script(shell) }).status).toBe(0);
  });
});
