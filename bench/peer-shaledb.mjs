/** ShaleDB, the build in `dist/` (or in the folder that `SHALEDB_BENCH_DIST` names, to compare two builds). */
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { distUrl } from './dist-url.mjs';
import { runPeer } from './harness.mjs';

const { open, WriteBatch } = await import(distUrl('index.js'));

const NOT_DURABLE = { awaitDurable: false };
const MIB = 1024 * 1024;

function options({ keyCount }) {
  // The defaults hold 200,000 rows in one memtable; larger runs need a larger one to be "from memory".
  const l0SstSizeBytes = Math.max(64 * MIB, keyCount * 256);
  return { l0SstSizeBytes, memoryBytes: Math.max(512 * MIB, 8 * l0SstSizeBytes) };
}

await runPeer({
  name: 'shaledb',
  memory: 'same',

  open: (directory, profile) => open(pathToFileURL(directory).href, options(profile)),
  close: (db) => db.close(),
  settle: (db) => db.flush(),
  toTables: (db) => db.flush({ type: 'memtable' }),

  put: (db, key, value) => db.put(key, value, NOT_DURABLE),
  writeBatch(db, keys, values, ids, start, end) {
    const batch = new WriteBatch();
    for (let i = start; i < end; i++) batch.put(keys[ids[i]], values[ids[i]]);
    return db.write(batch, NOT_DURABLE);
  },

  get: (db, key) => db.get(key),
  getMany: (db, keys) => db.getMany(keys),

  async scanRows(db, gte, lt) {
    let rows = 0;
    let checksum = 0;
    for await (const { key, value } of gte ? db.scan({ gte, lt }) : db.scan()) {
      rows++;
      checksum += key[15] + value[0];
    }
    return { rows, checksum };
  },

  async scanBatches(db, rowsPerBatch) {
    const scan = db.scan();
    let rows = 0;
    let checksum = 0;
    for (;;) {
      const batch = await scan.nextBatch(rowsPerBatch);
      if (batch.length === 0) break;
      for (let i = 0; i < batch.length; i++) {
        const { key, value } = batch[i];
        checksum += key[15] + value[0];
      }
      rows += batch.length;
    }
    await scan.close();
    return { rows, checksum };
  },

  onlyInWal(directory) {
    const tables = path.join(directory, 'compacted');
    return !fs.existsSync(tables) || !fs.readdirSync(tables).some((name) => name.endsWith('.sst'));
  },
});
