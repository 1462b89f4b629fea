/** Output of the command `shaledb` that cannot be written: an exit code of its own, and the verdict is not lost with it. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { open } from '../../src/index.ts';
import { ensureBuilt, REPOSITORY_ROOT } from '../support/environment.ts';

const PROGRAM = join(REPOSITORY_ROOT, 'dist', 'cli', 'main.js');
const directory = mkdtempSync(join(tmpdir(), 'shaledb-lost-output-'));
const crashed = `${directory}-crashed`;
const location = String(pathToFileURL(directory));
let table: string;

beforeAll(async () => {
  ensureBuilt();
  const db = await open(location, { logger: SILENT_LOGGER });
  for (let i = 0; i < 2000; i++) void db.put(`key ${i}`, 'v'.repeat(50), { awaitDurable: false });
  await db.flush({ type: 'memtable' });
  for (let i = 0; i < 3; i++) await db.put(`in the log ${i}`, 'v');
  // As a killed process would leave it.
  cpSync(directory, crashed, { recursive: true });
  await db.close();
  table = readdirSync(join(directory, 'compacted'))[0].replace('.sst', '');
}, 180_000);
afterAll(() => {
  for (const each of [directory, crashed]) rmSync(each, { recursive: true });
});

/** In a shell, so that descriptors and limits are those of a shell. */
function shell(words: string, redirections: string, before = ''): { code: number | null; out: string; err: string } {
  const command = `${before} exec '${process.execPath}' '${PROGRAM}' ${words.replaceAll('DB', `'${location}'`)} ${redirections}`;
  const { status, stdout, stderr } = spawnSync('bash', ['-c', command], { encoding: 'utf8', maxBuffer: 1 << 26 });
  return { code: status, out: stdout, err: stderr };
}

describe.runIf(process.platform === 'linux')('output that cannot be written', () => {
  it.each([
    ['doctor DB', 0],
    ['doctor DB --json', 0],
    ['wal inspect DB --all', 0],
    ['sst check DB', 0],
    ['manifest inspect DB', 0],
    ['manifest repair DB', 0],
    ['damage list DB --json', 0],
    ['--help', 0],
    ['--version', 0],
    ['doctor --help', 0],
    ['doctor DB --jsom --json', 2],
    ['sst check file:///nowhere/at/all --json', 2],
  ])('of `%s` on a full disk ends with 74 and says what the command found', (words, verdict) => {
    const { code, err } = shell(words, '> /dev/full');
    expect(code).toBe(74);
    expect(err).toMatch(/standard output cannot be written: ENOSPC/);
    expect(err).toContain(`ended with ${verdict} (`);
    expect(err).not.toMatch(/\n\s+at /);
  });

  it('of a stream ends it, and is no damage', () => {
    const { code, err } = shell(`sst inspect DB ${table} --rows --json`, '> /dev/full');
    expect(code).toBe(74);
    expect(err).toMatch(/cannot be written: ENOSPC.*The command was stopped by that/);
  });

  it('by a disk that takes a part of it is noticed, also in the last words', () => {
    const file = join(directory, '..', `lost-output-${process.pid}`);
    try {
      // Help is written at once: nothing after it would meet the end of the disk.
      for (const [words, blocks] of [
        [`sst inspect DB ${table} --rows --json`, 8],
        ['doctor --help', 1],
      ] as const) {
        const { code, err } = shell(words, `> '${file}'`, `trap '' XFSZ; ulimit -f ${blocks};`);
        expect([code, statSync(file).size], words).toEqual([74, blocks * 1024]);
        expect(err).toMatch(/standard output cannot be written: EFBIG/);
      }
    } finally {
      rmSync(file, { force: true });
    }
  });

  it('on a descriptor that is not open for writing ends with 74', () => {
    const { code, err } = shell('doctor DB', '1< /dev/null');
    expect(code).toBe(74);
    expect(err).toMatch(/standard output cannot be written: EBADF/);
  });

  it('on standard error ends with 74 where something was to be said there', () => {
    expect(shell('doctor DB --jsom', '2> /dev/full').code).toBe(74);
    expect(shell('doctor DB', '2> /dev/full'), 'nothing was to be said').toMatchObject({ code: 0 });
    expect(shell('doctor DB', '> /dev/full 2> /dev/full').code).toBe(74);
  });

  it('of a repair that was done says so', () => {
    const log = join(crashed, 'wal');
    const path = join(log, readdirSync(log).sort().at(-2)!);
    writeFileSync(path, readFileSync(path).fill(0, 0, 60));
    const { code, err } = shell(
      `wal repair '${pathToFileURL(crashed)}' --apply --accept-loss --live-check-ms 0`,
      '> /dev/full',
    );
    expect(code).toBe(74);
    expect(err).toMatch(/The command itself ended with [34] \(repaired/);
  });

  it('because a reader went away, or by a shell that closed it, is no failure', () => {
    const gone = shell(`sst inspect DB ${table} --rows --json`, '| head -1', 'set -o pipefail;');
    expect(gone.err).toBe('');
    expect(shell('doctor DB', '>&-')).toMatchObject({ code: 0, err: '' });
    expect(shell('doctor DB', '> /dev/null')).toMatchObject({ code: 0, err: '' });
    expect(shell('doctor DB', '2>&-').code).toBe(0);
  });
});
