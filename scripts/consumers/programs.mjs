// The programs that `npm run test:consumers` puts into projects, as texts. Each loads every entry of the package.
import { entryNames } from '../declarations.mjs';

const NAMES = entryNames().map((name) => (name === 'index' ? 'shaledb' : name));
const ENTRIES = NAMES.map((name) => (name === 'shaledb' ? name : `shaledb/${name}`));
const END = `.catch((error) => {
  console.error(error);
  process.exit(1);
});
`;

export const ESM = `${NAMES.map((name, i) => `import * as ${name} from '${ENTRIES[i]}';`).join('\n')}
import { run } from './exercise.mjs';

run({ ${NAMES.join(', ')} }, process.argv.slice(2))${END}`;

export const COMMON_JS = `${NAMES.map((name, i) => `const ${name} = require('${ENTRIES[i]}');`).join('\n')}

import('./exercise.mjs').then(({ run }) => run({ ${NAMES.join(', ')} }, process.argv.slice(2)))${END}`;

/** What is missing is said when it is asked for, with the command that installs it; the rest works. */
export const WITHOUT_OPTIONAL = `import { IncompatibleError, open } from 'shaledb';

for (const [compressionCodec, name] of [['lz4', 'lz4-napi'], ['snappy', 'snappy']]) {
  const error = await open(process.argv[2], { compressionCodec }).then(
    () => undefined,
    (thrown) => thrown,
  );
  if (!(error instanceof IncompatibleError) || error.code !== 'CODEC_MISSING') throw error ?? new Error(\`\${name} is there\`);
  if (!error.message.includes(\`npm install \${name}\`) || error.cause === undefined) throw error;
}
`;

/** A stack through the source maps names the source. */
export const STACK = `import { open } from 'shaledb';

const error = await open('none:').catch((thrown) => thrown);
if (!/src\\/[a-z/-]+\\.ts:\\d+/.test(error.stack)) throw new Error(\`no source in: \${error.stack}\`);
`;

export const VITEST = `import { expect, it } from 'vitest';
${NAMES.map((name, i) => `import * as ${name} from '${ENTRIES[i]}';`).join('\n')}
import { run } from './exercise.mjs';

it('runs', async () => {
  await run({ ${NAMES.join(', ')} }, process.env.CONSUMER_ARGS.split(' '));
  expect(Object.keys(shaledb)).toContain('open');
}, 60_000);
`;

/** All that the entries declare. */
export const ALL_TYPES = ENTRIES.map((entry, i) => `export * as ${NAMES[i]} from '${entry}';\n`).join('');

/** Values go where the DOM library takes bytes that are not shared between threads. */
export const RESPONSE = `import { open } from 'shaledb';

export async function respond(location: string, key: string): Promise<Response> {
  const db = await open(location);
  for await (const { value } of db.scan({ limit: 1 })) console.log(new Blob([value]).size);
  return new Response(await db.get(key));
}
`;

/** Compiles with the library of the language alone. */
export const TYPESCRIPT = `import { isDbError, MemoryStore, open, openReader, WriteBatch } from 'shaledb';
import { verify } from 'shaledb/admin';
import { S3Store, type S3StoreOptions } from 'shaledb/s3';
import { FaultyStore, ManualClock, SeededRandom } from 'shaledb/testing';

declare const console: { log(...values: unknown[]): void; error(...values: unknown[]): void };
declare const process: { argv: string[]; exitCode?: number };

const options: S3StoreOptions = { bucket: 'b', endpoint: 'http://127.0.0.1:1', credentials: async () => ({ accessKeyId: 'a', secretAccessKey: 'b' }) };
export const stores = [new S3Store(options), new FaultyStore(new MemoryStore(), { clock: new ManualClock(), random: new SeededRandom(1) })];

async function run(location: string): Promise<void> {
  const db = await open(location, { flushIntervalMs: 10 });
  const { seq } = await db.put('k', 'v');
  const next: bigint = seq + 1n;
  const batch = new WriteBatch();
  batch.put('l', Uint8Array.of(1, 2, 3)).delete('m');
  await db.write(batch);
  const value: Uint8Array | undefined = await db.get('k');
  let bytes = value?.length ?? 0;
  for await (const row of db.scan({ gte: 'k' })) bytes += row.key.length + row.value.length;
  const reader = await openReader(location);
  if ((await reader.get('l'))?.[2] !== 3 || bytes !== 7 || next < 2n) throw new Error('wrong rows');
  await reader.close();
  await db.compact();
  await db.close();
  try {
    await db.put('k', 'v');
  } catch (error) {
    const code: string | undefined = isDbError(error) ? error.code : undefined;
    console.log(code, (await verify(location)).verdict);
  }
}

async function main(): Promise<void> {
  for (const location of process.argv.slice(2)) await run(location);
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
`;

export const ROLLUP_CONFIG = (
  plugins,
  format,
  dir,
) => `${plugins.map((path, i) => `import p${i} from '${path}';`).join('\n')}
export default { input: 'program.mjs', plugins: [${plugins.map((_, i) => `p${i}()`).join(', ')}], output: { dir: '${dir}', format: '${format}' } };
`;

export const VITE_CONFIG = (format, outDir) => `export default {
  logLevel: 'warn',
  ssr: { noExternal: true },
  build: { ssr: 'program.mjs', outDir: '${outDir}', emptyOutDir: true, rollupOptions: { output: { format: '${format}', entryFileNames: 'program.js', chunkFileNames: '[name]-[hash].js' } } },
};
`;
