/**
 * Programs in one file: the defaults of a bundler make a bundle that runs where no package is installed, and what native code would
 * be needed for is said when it is needed, not before.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

interface Bundler {
  rolldown(options: object): Promise<{ write(output: object): Promise<unknown> }>;
}

const directory = mkdtempSync(join(tmpdir(), 'shaledb-bundle-'));
const entry = fileURLToPath(new URL('../../src/index.ts', import.meta.url));
const PROGRAM = `
import { open, openReader } from ${JSON.stringify(entry)};
const [location, compressionCodec] = process.argv.slice(2);
async function main() {
  const db = await open(location, { compressionCodec });
  await db.put('key', 'value'.repeat(100));
  await db.flush({ type: 'memtable' });
  await db.close();
  const reader = await openReader(location);
  console.log(new TextDecoder().decode(await reader.get('key')).length);
  await reader.close();
}
main().catch((error) => console.log(error.code + ': ' + error.message));
`;

beforeAll(async () => {
  writeFileSync(join(directory, 'program.mjs'), PROGRAM);
  const require = createRequire(import.meta.url);
  const bundler = createRequire(require.resolve('vitest')).resolve('vite');
  const { rolldown } = (await import(
    pathToFileURL(createRequire(bundler).resolve('rolldown')).href
  )) as unknown as Bundler;
  for (const format of ['esm', 'cjs']) {
    const bundle = await rolldown({ input: join(directory, 'program.mjs'), platform: 'node' });
    const entryFileNames = format === 'esm' ? 'bundle.mjs' : 'bundle.cjs';
    await bundle.write({ dir: join(directory, format), format, entryFileNames });
  }
}, 120_000);
afterAll(() => rmSync(directory, { recursive: true }));

describe.each(['esm/bundle.mjs', 'cjs/bundle.cjs'])('the bundle %s', (file) => {
  function run(codec: string): string {
    const place = join(directory, dirname(file), codec);
    mkdirSync(place);
    const words = [join(directory, file), String(pathToFileURL(place)), codec];
    const { stdout, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8', cwd: directory });
    expect(stderr).toBe('');
    return stdout.trim();
  }

  it('opens, writes and reads a directory', () => {
    expect(run('none')).toBe('500');
    expect(run('zlib')).toBe('500');
  });

  it('says which package is needed for a codec, and why it cannot be loaded', () => {
    for (const [codec, name] of [
      ['lz4', 'lz4-napi'],
      ['snappy', 'snappy'],
    ]) {
      expect(run(codec)).toMatch(
        new RegExp(
          `^CODEC_MISSING: .* package ${name}, which cannot be loaded: Cannot find package .* npm install ${name}$`,
        ),
      );
    }
  });
});
