// Plays a whole repair on MinIO and writes docs/repair-story.md: damage, the error, a look, the plan, the repair, the report,
// and the database opened again. Every command and every output of the page comes from this run.
//
//   npm run build && SHALEDB_TEST_S3_ENDPOINT=http://127.0.0.1:9000 node scripts/make-transcript.mjs [--check]
//
// The server is the one that the environment names (keys: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY; `minioadmin` if unset), or a
// MinIO that is started for it, whose program SHALEDB_MINIO names. With `--check` nothing is written: exit code 1 if the page shows
// another story, names, times and numbers aside.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from 'minio';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const PAGE = join(ROOT, 'docs', 'repair-story.md');
const BUCKET = `story-${Date.now().toString(36)}`;
const SHOWN_ENDPOINT = 'http://127.0.0.1:9000';
const SHOWN_LOCATION = 's3://story/orders';
const ORDERS = 400;
/** Rows of the log when the writer is killed, in batches of this many. */
const BATCH_ROWS = 20;

// ---- the server

async function server() {
  const endpoint = process.env.SHALEDB_TEST_S3_ENDPOINT;
  if (endpoint) {
    const keys = [process.env.AWS_ACCESS_KEY_ID ?? 'minioadmin', process.env.AWS_SECRET_ACCESS_KEY ?? 'minioadmin'];
    return { endpoint, keys, stop: async () => undefined };
  }
  const program = process.env.SHALEDB_MINIO;
  if (!program) throw new Error('Neither SHALEDB_TEST_S3_ENDPOINT nor SHALEDB_MINIO is set.');
  return ownServer(program);
}

async function ownServer(program) {
  const keys = ['shaledb', 'shaledb-story'];
  const directory = mkdtempSync(join(tmpdir(), 'shaledb-story-'));
  const port = await freePort();
  const env = { ...process.env, MINIO_ROOT_USER: keys[0], MINIO_ROOT_PASSWORD: keys[1], MINIO_BROWSER: 'off' };
  const args = ['server', directory, '--quiet', '--address', `127.0.0.1:${port}`];
  const child = spawn(program, args, { stdio: 'ignore', env });
  const endpoint = `http://127.0.0.1:${port}`;
  for (let i = 0; ; i++) {
    const answer = await fetch(`${endpoint}/minio/health/ready`).catch(() => undefined);
    if (answer?.ok) break;
    if (i > 300 || child.exitCode !== null) throw new Error('MinIO does not start');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const stop = async () => {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    rmSync(directory, { recursive: true });
  };
  return { endpoint, keys, stop };
}

async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  listener.close();
  return port;
}

// ---- the story

/** The page as it grows; what differs between runs but does not matter is shown in one form. */
class Story {
  #parts = [];
  #replaced;

  constructor(replaced) {
    this.#replaced = replaced;
  }
  say(...paragraphs) {
    this.#parts.push(...paragraphs, '');
  }
  shown(text) {
    return this.#replaced.reduce((t, [from, to]) => t.replaceAll(from, to), text);
  }
  block(kind, text) {
    this.#parts.push(`\`\`\`${kind}`, this.shown(text).trim(), '```', '');
  }
  get text() {
    return `${this.#parts.join('\n').trimEnd()}\n`;
  }
}

function run(program, args, env) {
  return new Promise((resolve) => {
    execFile(program, args, { cwd: ROOT, env: { ...process.env, ...env } }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : error.code, signal: error?.signal, output: stderr + stdout, stdout }),
    );
  });
}

const WRITER = `
import { open, WriteBatch } from 'shaledb';

const db = await open(process.argv[1]);
const put = async (from, to) => {
  const batch = new WriteBatch();
  for (let i = from; i < to; i++) batch.put(\`order/\${String(i).padStart(4, '0')}\`, \`paid \${i}\`);
  await db.write(batch); // resolves when all of it is durable
};
await put(0, ${ORDERS / 2});
await db.flush({ type: 'memtable' }); // the first half is in a table now
for (let i = ${ORDERS / 2}; i < ${ORDERS}; i += ${BATCH_ROWS}) await put(i, i + ${BATCH_ROWS});
process.kill(process.pid, 'SIGKILL'); // the second half is in the log
`;

const READER = `
import { isDbError, open } from 'shaledb';

try {
  const db = await open(process.argv[1]);
  let rows = 0;
  for await (const _ of db.scan({ prefix: 'order/' })) rows++;
  console.log('open; orders that can be read:', rows);
  await db.close();
} catch (error) {
  if (!isDbError(error)) throw error;
  console.log(\`\${error.name} \${error.code}: \${error.message}\`);
}
`;

async function play({ endpoint, keys }) {
  const url = new URL(endpoint);
  const [accessKey, secretKey] = keys;
  const useSSL = url.protocol === 'https:';
  const client = new Client({ endPoint: url.hostname, port: Number(url.port), useSSL, accessKey, secretKey });
  await client.makeBucket(BUCKET);
  const location = `s3://${BUCKET}/orders?endpoint=${endpoint}`;
  const env = { AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey, NO_COLOR: '1', NODE_NO_WARNINGS: '1' };
  const story = new Story([
    [`'${location}'`, '"$DB"'],
    [location, '$DB'],
    [BUCKET, 'story'],
    [endpoint, SHOWN_ENDPOINT],
  ]);
  const node = (source) => run(process.execPath, ['--input-type=module', '-e', source, location], env);
  /** Runs a command, shows it, checks its exit code, gives what it printed. */
  const shaledb = async (line, wanted) => {
    const words = line.split(' ').map((w) => (w === '"$DB"' ? location : w));
    const { code, output, stdout } = await run(process.execPath, [join(ROOT, 'dist/cli/main.js'), ...words], env);
    story.block('text', `$ shaledb ${line}\n${output}$ echo $?\n${code}`);
    if (code !== wanted) throw new Error(`shaledb ${line}: exit code ${code}, wanted ${wanted}\n${output}`);
    return stdout;
  };

  story.say(
    '# A repair, from the damage to the database that opens again',
    '',
    'Played on MinIO by [scripts/make-transcript.mjs](https://github.com/shaledb/shaledb/blob/main/scripts/make-transcript.mjs), which wrote this page; every output is from that run.',
    '',
    '```sh',
    `export DB='${SHOWN_LOCATION}?endpoint=${SHOWN_ENDPOINT}'`,
    '```',
  );

  story.say(
    '## A database',
    '',
    `A program writes ${ORDERS} orders and is killed. At that moment, half of them are in a table and the other half in the log.`,
  );
  story.block('js', WRITER);
  const killed = await node(WRITER);
  if (killed.signal !== 'SIGKILL') throw new Error(`the writer ended by itself:\n${killed.output}`);

  const objects = [];
  for await (const { name } of client.listObjectsV2(BUCKET, 'orders/wal/', true)) objects.push(name);
  const victim = objects.sort()[Math.floor(objects.length / 2)];
  story.say(
    '## Damage',
    '',
    `Forty bytes of \`${victim}\` are overwritten with zeros, as if a disk had lost part of a sector.`,
  );
  const chunks = [];
  for await (const chunk of await client.getObject(BUCKET, victim)) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  bytes.fill(0, 100, 140);
  await client.putObject(BUCKET, victim, bytes);

  story.say('## The error', '', 'The program that reads the orders no longer starts:');
  story.block('js', READER);
  story.block('text', (await node(READER)).output);

  story.say('## What is wrong', '', 'One command checks everything and says what to run next. It changes nothing.');
  await shaledb('doctor "$DB"', 1);
  story.say('The log, object by object. Only objects with findings are listed:');
  await shaledb('wal inspect "$DB"', 1);

  story.say('## The plan', '', 'A repair without `--apply` is a dry run. It makes no mutating call to the store.');
  const plan = await shaledb('wal repair "$DB"', 1);
  const hash = /--plan (\S+)/.exec(plan)[1];

  story.say(
    '## The repair',
    '',
    'It does exactly what was shown, or nothing. Rows will be lost, so the command accepts that explicitly:',
  );
  await shaledb(`wal repair "$DB" --apply --plan ${hash} --accept-loss`, 4);
  story.say(
    'Run again, it changes nothing and shows the same report. So if a script is interrupted, it repeats the command.',
  );

  story.say('## The database opens again');
  story.block('text', (await node(READER)).output);

  story.say(
    '## The loss stays visible',
    '',
    'What could not be recovered stays in the ledger until a person acknowledges it:',
  );
  const list = await shaledb('damage list "$DB"', 1);
  const entries = [...list.matchAll(/^open (f-\w+)/gm)].map((m) => m[1]);
  for (const id of entries) await shaledb(`damage ack "$DB" ${id} --note restored-from-the-payment-system`, 0);
  story.say(
    'Everything that can be read is good now. Only the damaged object itself is left: no opening needs it any more, and a note',
    'mentions it until a collector deletes it.',
  );
  await shaledb('doctor "$DB"', 0);
  story.say('The original is still there:');
  await shaledb('quarantine list "$DB"', 0);
  return story.text;
}

/** Lines without what differs from run to run. */
function essence(page) {
  return page.split('\n').map((line) =>
    line
      .replace(/\b[0-9A-HJKMNP-TV-Z]{26}\b|\b[fp]-\w+|\b[0-9a-f]{8,}\b/g, '…')
      .replace(/[\d.]+ m?s$/, '0 s')
      .replace(/\d+(\.\d+)?/g, '0')
      .replace(/ {2,}/g, '  '),
  );
}

function check(page, played) {
  const [expected, found] = [essence(page), essence(played)];
  const i = found.findIndex((line, n) => line !== expected[n]);
  if (i < 0 && expected.length === found.length) return console.log('the page shows what happens');
  console.log(
    `docs/repair-story.md, line ${i + 1}, is\n  ${page.split('\n')[i]}\nand should be\n  ${played.split('\n')[i]}`,
  );
  process.exitCode = 1;
}

const place = await server();
try {
  const text = await play(place);
  if (process.argv.includes('--check')) check(readFileSync(PAGE, 'utf8'), text);
  else writeFileSync(PAGE, text);
} finally {
  await place.stop();
}
