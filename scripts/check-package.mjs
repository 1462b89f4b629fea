// Checks what users install: packs the package, lints the tarball, installs it into an empty directory without scripts,
// and uses every entry from there by `require`, by `import` and from TypeScript. Needs `npm run build` before.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { name, exports: entries } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const specifiers = Object.entries(entries)
  .filter(([, target]) => typeof target === 'object')
  .map(([path]) => name + path.slice(1));

const USE = `
async function use({ open }) {
  const db = await open('memory:');
  await db.put('k', 'v');
  const value = new TextDecoder().decode(await db.get('k'));
  if (value !== 'v') throw new Error('read ' + value);
  await db.close();
}
`;
/** What users write according to docs/testing.md. */
const TESTING = `
import { MemoryStore, open } from 'shaledb';
import { FaultyStore, ManualClock, SeededRandom, storeContract } from 'shaledb/testing';
const clock = new ManualClock();
const store = new FaultyStore(new MemoryStore({ clock }), { clock, random: new SeededRandom(1) });
const db = await clock.runUntilSettled(open({ store, path: 'db' }, { clock }));
store.add({ action: 'apply-then-drop', op: 'put', nth: 1 });
await clock.runUntilSettled(db.put('k', 'v'));
if (store.fired()['apply-then-drop'] !== 1) throw new Error('the fault did not happen');
await clock.runUntilSettled(db.close());
for (const check of storeContract(() => new MemoryStore(), { largeObjectBytes: 10_000, longListObjects: 20 })) await check.run();
`;
const TYPES = `
${specifiers.map((s, i) => `import * as entry${i} from '${s}';`).join('\n')}
export const names: string[] = [${specifiers.map((_, i) => `...Object.keys(entry${i})`).join(', ')}];
export async function use(): Promise<Uint8Array | undefined> {
  const db = await entry0.open('memory:');
  const { seq } = await db.put('k', 'v');
  const next: bigint = seq + 1n;
  await db.close();
  return next > 0n ? db.get('k') : undefined;
}
`;

function run(command, args, cwd) {
  return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], timeout: 300_000 });
}

const directory = mkdtempSync(join(tmpdir(), 'shaledb-package-'));
try {
  const [packed] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', directory], root));
  const tarball = join(directory, packed.filename);
  console.log(
    `packed ${packed.filename}: ${packed.entryCount} files, ${packed.size} bytes, ${packed.unpackedSize} unpacked`,
  );

  const bytes = readFileSync(tarball);
  const { messages, pkg } = await publint({
    pack: { tarball: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) },
    strict: true,
  });
  for (const message of messages) console.log(`publint: ${formatMessage(message, pkg)}`);
  if (messages.some((m) => m.type !== 'suggestion')) throw new Error('publint found faults');

  const user = join(directory, 'user');
  execFileSync('mkdir', [user]);
  writeFileSync(join(user, 'package.json'), '{ "name": "user", "private": true }');
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', tarball], user);
  writeFileSync(
    join(user, 'require.cjs'),
    `${specifiers.map((s) => `require('${s}');`).join('\n')}${USE}use(require('${name}'));`,
  );
  writeFileSync(
    join(user, 'import.mjs'),
    `${specifiers.map((s) => `import '${s}';`).join('\n')}${USE}await use(await import('${name}'));`,
  );
  run(process.execPath, ['require.cjs'], user);
  run(process.execPath, ['import.mjs'], user);
  writeFileSync(join(user, 'testing.mjs'), TESTING);
  run(process.execPath, ['testing.mjs'], user);
  console.log(`installed in an empty directory; require and import work: ${specifiers.join(', ')}`);

  writeFileSync(join(user, 'use.mts'), TYPES);
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const common = [
    '--noEmit',
    '--strict',
    '--target',
    'es2022',
    '--typeRoots',
    join(root, 'node_modules', '@types'),
    '--types',
    'node',
  ];
  for (const kind of ['nodenext', 'preserve']) {
    const resolution = kind === 'preserve' ? 'bundler' : 'nodenext';
    run(
      process.execPath,
      [
        tsc,
        ...common,
        '--lib',
        'es2023,esnext.disposable',
        '--module',
        kind,
        '--moduleResolution',
        resolution,
        'use.mts',
      ],
      user,
    );
  }
  console.log('the types compile in strict mode, for Node and for bundlers');
} catch (error) {
  if (error.stdout) console.log(error.stdout);
  throw error;
} finally {
  rmSync(directory, { recursive: true, force: true });
}
