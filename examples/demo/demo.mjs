// Loads rows into a local directory, kills the writing process in the middle, and checks that nothing it had acknowledged
// is lost: `npm run demo`. With `--keep DIRECTORY` the database stays there (which must be empty or new); without it, and
// when it is interrupted, nothing is left.
//
// What is compared: every row of every acknowledged batch, byte by byte; that every batch, acknowledged or not, is
// complete or absent; that the batches that are present are the first ones, without a gap. If a check fails, it prints the
// reason and ends with exit code 1.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { LocalStore, open, openReader } from 'shaledb';
import { readBatches } from './corpus.mjs';
import { OPTIONS } from './settings.mjs';

const WRITER = fileURLToPath(new URL('writer.mjs', import.meta.url));
const startMs = performance.now();
const encoder = new TextEncoder();
const text = (bytes) => new TextDecoder().decode(bytes);
const count = (n) => n.toLocaleString('en');
const seconds = () => `${((performance.now() - startMs) / 1000).toFixed(1)} s`;

class Fault extends Error {}
function must(condition, message) {
  if (!condition) throw new Fault(message);
}

const { directory, keep } = await chooseDirectory();
const location = pathToFileURL(directory).href;
/** The process that writes, while there is one. */
let writer;
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => interrupt(signal));
try {
  await demonstrate();
  console.log(`\nAll checks passed: nothing acknowledged was lost, every batch is complete (${seconds()}).`);
  sayNext();
} catch (error) {
  console.error(error instanceof Fault ? `\nFAILED: ${error.message}` : error);
  process.exitCode = 1;
} finally {
  if (!keep) await rm(directory, { recursive: true, force: true });
}

/** Ends with the writer ended and, unless it is to be kept, without the directory. */
function interrupt(signal) {
  const end = () => {
    if (!keep) rmSync(directory, { recursive: true, force: true });
    console.error(`\nInterrupted; ${keep ? `the database is in ${directory}` : 'nothing is left'}.`);
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  if (writer === undefined) return end();
  writer.once('exit', end);
  writer.kill('SIGKILL');
}

/** What to try now. */
function sayNext() {
  if (keep) {
    console.log('\nThe database is kept. Look into it:');
    for (const words of [['doctor'], ['tree'], ['scan', '--prefix word/lic --limit 3']]) {
      console.log(`  npx shaledb ${[words[0], location, ...words.slice(1)].join(' ')}`);
    }
    return;
  }
  const scratch = join(tmpdir(), 'shaledb-demo');
  console.log('\nKeep it next time, and look into it:');
  console.log(`  npm run demo -- --keep ${scratch} && npx shaledb doctor ${pathToFileURL(scratch).href}`);
}

async function demonstrate() {
  const batches = readBatches();
  const rowCount = batches.reduce((n, batch) => n + batch.length, 0);
  console.log(
    `Rows: ${count(rowCount)}, the words of the Apache License with their places, and the numbers to 6,000 with their divisors.`,
  );
  console.log(`Database: ${location}${keep ? '' : ', deleted at the end'}`);

  heading('1. A process writes durable batches and is killed in the middle');
  const killAfter = Math.floor(batches.length / 2);
  const killed = await runWriter(batches, 0, killAfter);
  must(killed.signal === 'SIGKILL', `the writer ended by itself (code ${killed.code}) before it could be killed`);
  const acknowledged = [...killed.acknowledged].sort((a, b) => a - b);
  console.log(
    `SIGKILL after ${count(acknowledged.length)} of ${count(batches.length)} batches were acknowledged (${seconds()}).`,
  );

  heading('2. Reopening, and comparing every acknowledged row');
  const openMs = performance.now();
  const db = await open(location, OPTIONS);
  console.log(
    `Opened in ${Math.round(performance.now() - openMs)} ms; the log of the killed process was verified and replayed.`,
  );
  const whole = await compareBatches(db, batches, acknowledged);
  const unacknowledged = whole.length - acknowledged.length;
  console.log(`Acknowledged batches: ${count(acknowledged.length)}, all there, byte for byte.`);
  console.log(
    `Stored but not yet acknowledged: ${unacknowledged} ${unacknowledged === 1 ? 'batch' : 'batches'}. No partial batches.`,
  );

  heading('3. Another process finishes the load; the first handle is fenced');
  const second = await runWriter(batches, whole.length);
  must(second.code === 0, `the second writer ended with ${second.signal ?? `code ${second.code}`}`);
  const fenced = await db.put('word/late', 'too late').catch((error) => error);
  must(fenced?.code === 'WRITER_FENCED', `a write through the first handle gave ${fenced?.code ?? 'no error'}`);
  console.log(`${fenced.name} ${fenced.code}: taken over by ${fenced.owner}.`);
  await db.close();

  heading('4. Reading everything back');
  const reader = await openReader(location);
  await compareAll(reader, batches);
  console.log(`${count(rowCount)} rows, all as they were written.\n`);
  await show('words that begin with "lic"', reader.scan({ prefix: 'word/lic', limit: 5 }));
  await show('from 41 up to 44', reader.scan({ gte: 'number/0041', lt: 'number/0044' }));
  await show('the last numbers, in reverse', reader.scan({ prefix: 'number/', reverse: true, limit: 3 }));

  heading('5. What is in the store');
  table(['objects', 'count', 'bytes'], await objectsByKind(directory));

  heading('6. How many requests it took');
  const kinds = ['list', 'get', 'head', 'put', 'delete'];
  const cells = (name, c) => [name, ...kinds.map((k) => count(c[k])), count(c.bytesIn), count(c.bytesOut)];
  table(
    ['process', ...kinds, 'bytes read', 'bytes written'],
    [
      cells('writer until it was killed', killed.requests),
      cells('reopening and comparing', db.requestCounts()),
      cells('second writer', second.requests),
      cells('reader', reader.requestCounts()),
    ],
  );
  await reader.close();
}

/** Lets another process write from batch `from` on; kills it after `killAfter` acknowledgements. */
async function runWriter(batches, from, killAfter = Number.POSITIVE_INFINITY) {
  const child = fork(WRITER);
  writer = child;
  child.send({ location, from, batches });
  const acknowledged = new Set();
  let requests;
  child.on('message', (message) => {
    requests = message.requests;
    if (message.acknowledged === undefined) return;
    acknowledged.add(message.acknowledged);
    if (acknowledged.size === killAfter) child.kill('SIGKILL');
  });
  // Messages that were sent before the end arrive before the channel closes.
  const [[code, signal]] = await Promise.all([once(child, 'exit'), once(child, 'disconnect')]);
  writer = undefined;
  return { code, signal, acknowledged, requests };
}

/** The numbers of the batches that are present; fails unless all acknowledged ones are, all are complete, and none is skipped. */
async function compareBatches(db, batches, acknowledged) {
  const expected = new Set(acknowledged);
  const whole = [];
  for (const [number, rows] of batches.entries()) {
    const values = await db.getMany(rows.map((row) => row.key));
    const found = values.filter((value) => value !== undefined).length;
    must(
      found === rows.length || !expected.has(number),
      `batch ${number} was acknowledged, but ${rows.length - found} rows of it are lost`,
    );
    must(found === 0 || found === rows.length, `batch ${number} is incomplete: ${found} of ${rows.length} rows`);
    if (found === 0) continue;
    rows.forEach((row, i) => {
      must(
        Buffer.compare(values[i], encoder.encode(row.value)) === 0,
        `the value of ${row.key} is not what was written`,
      );
    });
    must(
      number === whole.length,
      `batch ${number} is there, but not batch ${whole.length}, which was written before it`,
    );
    whole.push(number);
  }
  return whole;
}

async function compareAll(reader, batches) {
  const expected = new Map(batches.flat().map((row) => [row.key, row.value]));
  let rows = 0;
  for await (const { key, value } of reader.scan()) {
    must(expected.get(text(key)) === text(value), `the value of ${text(key)} is not what was written`);
    rows++;
  }
  must(rows === expected.size, `the scan gave ${rows} rows instead of ${expected.size}`);
}

async function objectsByKind(root) {
  const kinds = new Map();
  for await (const { path, size } of new LocalStore(root).list('')) {
    const kind = path.slice(0, path.indexOf('/') + 1);
    const sum = kinds.get(kind) ?? { objects: 0, bytes: 0 };
    kinds.set(kind, { objects: sum.objects + 1, bytes: sum.bytes + size });
  }
  const names = {
    'compacted/': 'tables',
    'compactions/': 'merges of tables',
    'gc/': 'boundaries of the collector',
    'manifest/': 'manifests',
    'wal/': 'log (WAL)',
    'shale/': 'sidecars',
  };
  return [...kinds].map(([kind, { objects, bytes }]) => [`${kind} ${names[kind] ?? ''}`, count(objects), count(bytes)]);
}

async function show(label, iterator) {
  console.log(`${label}:`);
  for await (const { key, value } of iterator) {
    const shown = text(value);
    console.log(`  ${text(key).slice(0, 44).padEnd(44)}  ${shown.length > 64 ? `${shown.slice(0, 61)}...` : shown}`);
  }
}

function heading(title) {
  console.log(`\n${title}\n${'-'.repeat(title.length)}`);
}

/** Plain columns, the first one to the left, the others to the right. */
function table(head, rows) {
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i].length)));
  const line = (row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ');
  for (const row of [head, widths.map((w) => '-'.repeat(w)), ...rows]) console.log(line(row));
}

async function chooseDirectory() {
  const at = process.argv.indexOf('--keep');
  if (at < 0) return { directory: await mkdtemp(join(tmpdir(), 'shaledb-demo-')), keep: false };
  const named = process.argv[at + 1];
  if (named === undefined) {
    console.error('usage: node examples/demo/demo.mjs [--keep DIRECTORY]');
    process.exit(2);
  }
  const path = resolve(named);
  await mkdir(path, { recursive: true });
  if ((await readdir(path)).length > 0) {
    console.error(`${path} is not empty; name a new directory`);
    process.exit(2);
  }
  return { directory: path, keep: true };
}
