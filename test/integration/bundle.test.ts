/**
 * Programs in one file: the defaults of a bundler make a bundle that runs where no package is installed, and what native code would
 * be needed for is said when it is needed, not before. Threads for compaction need a second file, and are done without where there is none.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const directory = mkdtempSync(join(placeWithoutPackages(), 'shaledb-bundle-'));
const entry = fileURLToPath(new URL('../../src/index.ts', import.meta.url));
const threadFile = fileURLToPath(new URL('../../src/compaction/merge-thread.ts', import.meta.url));
const PROGRAM = `
import { open, openReader } from ${JSON.stringify(entry)};
const [location, compressionCodec] = process.argv.slice(2);
async function compact() {
  const log = (message) => console.log(message);
  const logger = { debug: () => 0, info: log, warn: log, error: log };
  const code = 'import { isMainThread } from "node:worker_threads"; export default { decide: () => isMainThread ? "keep" : "drop" }';
  const compactionFilter = { module: 'data:text/javascript,' + encodeURIComponent(code) };
  const db = await open(location, { gc: false, logger, compactor: { compactionFilter } });
  for (let round = 0; round < 2; round++) {
    for (let table = 0; table < 2; table++) {
      await db.put('key', 'value ' + table);
      await db.flush({ type: 'memtable' });
    }
    await db.compact();
    console.log((await db.get('key')) === undefined ? 'on a thread' : 'in slices');
  }
  await db.close();
}
async function main() {
  if (compressionCodec === 'compact') return compact();
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

/** A directory from which Node finds no installed package: neither it nor one above it has a `node_modules`. */
function placeWithoutPackages(): string {
  const places = [tmpdir(), '/var/tmp', homedir()].filter((place) => existsSync(place));
  const place = places.find((candidate) => !seesPackages(candidate));
  if (place === undefined) throw new Error(`each of ${places.join(', ')} is below a node_modules directory`);
  return place;
}

function seesPackages(place: string): boolean {
  if (existsSync(join(place, 'node_modules'))) return true;
  return dirname(place) !== place && seesPackages(dirname(place));
}

beforeAll(async () => {
  writeFileSync(join(directory, 'program.mjs'), PROGRAM);
  for (const format of ['esm', 'cjs'] as const) {
    const bundle = await rolldown({ input: join(directory, 'program.mjs'), platform: 'node' });
    const entryFileNames = format === 'esm' ? 'bundle.mjs' : 'bundle.cjs';
    await bundle.write({ dir: join(directory, format), format, entryFileNames });
    // With the file for threads beside it, as docs/options.md says.
    const both = { bundle: join(directory, 'program.mjs'), 'merge-thread': threadFile };
    const pair = await rolldown({ input: both, platform: 'node' });
    const dir = join(directory, `${format}-threads`);
    await pair.write({ dir, format, entryFileNames: '[name].js' });
    writeFileSync(join(dir, 'package.json'), JSON.stringify({ type: format === 'esm' ? 'module' : 'commonjs' }));
  }
}, 120_000);
afterAll(() => rmSync(directory, { recursive: true }));

function runBundle(file: string, codec: string): string {
  const place = join(directory, dirname(file), codec);
  mkdirSync(place);
  const words = [join(directory, file), String(pathToFileURL(place)), codec];
  // Node would look for packages of CommonJS in NODE_PATH, too.
  const { NODE_PATH: _, ...env } = process.env;
  const { stdout, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8', cwd: directory, env });
  expect(stderr).toBe('');
  return stdout.trim();
}

describe.each(['esm/bundle.mjs', 'cjs/bundle.cjs'])('the bundle %s', (file) => {
  const run = (codec: string) => runBundle(file, codec);

  it('opens, writes and reads a directory', () => {
    expect(run('none')).toBe('500');
    expect(run('zlib')).toBe('500');
  });

  it('compacts without threads, and says so once', () => {
    expect(run('compact')).toMatch(/^a thread for compaction cannot be started.*\nin slices\nin slices$/);
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

it.each(['esm-threads/bundle.js', 'cjs-threads/bundle.js'])(
  '%s compacts on the threads of the file beside it',
  (file) => {
    expect(runBundle(file, 'compact')).toBe('on a thread\non a thread');
  },
);
