// What happens when stored bytes are damaged: one bit is flipped in the log of a database in a local directory, then one in a table,
// then most of a block of that table is overwritten. Nothing is repaired here; examples/repair and docs/tools.md do that.
//
//   npm run build && node examples/damage/damage.mjs
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isCorruption, open, WriteBatch } from 'shaledb';

const directory = await mkdtemp(join(tmpdir(), 'shaledb-damage-'));
const location = pathToFileURL(directory);
const text = (bytes) => new TextDecoder().decode(bytes);

/** Flips one bit of the newest object of a kind; returns a function that flips it back. */
async function flip(kind, offset) {
  const name = (await readdir(join(directory, kind))).sort().at(-1);
  const file = join(directory, kind, name);
  const change = async () => {
    const bytes = await readFile(file);
    bytes[offset] ^= 1;
    await writeFile(file, bytes);
  };
  await change();
  return change;
}

/** Rows of a scan over damage: an error in the middle, then it continues after the damaged stretch. */
async function scanOverDamage(db) {
  const it = db.scan();
  let rows = 0;
  for (;;) {
    try {
      const { done } = await it.next();
      if (done) return rows;
      rows++;
    } catch (error) {
      if (!isCorruption(error)) throw error;
      const { gte, lte } = error.findings[0].affects.keys;
      console.log(
        `scan: after ${rows} rows ${error.name} (${error.code}); unknown from ${text(gte)} to ${lte === undefined ? 'the last key' : text(lte)}`,
      );
    }
  }
}

try {
  const db = await open(location);
  const batch = new WriteBatch();
  for (let i = 0; i < 500; i++) batch.put(`key/${String(i).padStart(4, '0')}`, `value ${i}`);
  await db.write(batch);
  await db.put('key/0001', 'newer');

  console.log('--- one bit of the log');
  const undo = await flip('wal', 20);
  const error = await open(location).catch((e) => e);
  console.log(`${error.name} (${error.code}): ${error.message}`);
  console.log(error.wal);
  await undo();
  // The first handle still works: an opening that is refused fences nobody and writes nothing.
  await db.put('key/0002', 'still writing');
  await db.close();

  console.log('--- one bit of a table');
  await flip('compacted', 5000);
  const healed = await open(location);
  console.log(`get key/0200: ${text(await healed.get('key/0200'))}, undone while reading`);
  await healed.close();

  console.log('--- most of a block of a table');
  const table = join(directory, 'compacted', (await readdir(join(directory, 'compacted'))).sort().at(-1));
  const bytes = await readFile(table);
  await writeFile(table, bytes.fill(0xff, 4500, 8000));
  const reopened = await open(location);
  console.log(`get key/0000: ${text(await reopened.get('key/0000'))}`);
  const bad = await reopened.get('key/0200').catch((e) => e);
  console.log(`get key/0200: ${bad.name} (${bad.code}) at ${bad.findings[0].at.offset}: ${bad.message}`);
  console.log(`rows that the scan gave: ${await scanOverDamage(reopened)} of 500`);
  await reopened.put('key/0200', 'written again');
  console.log(`get key/0200 after a put: ${text(await reopened.get('key/0200'))}`);
  await reopened.close();
} finally {
  await rm(directory, { recursive: true });
}
