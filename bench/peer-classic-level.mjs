/**
 * LevelDB through `classic-level`. Its block cache (8 MiB by default) is made large enough for all rows, since "cached" is what
 * is compared. Its memtable has 4 MiB by default: reads "from memory" get a database of their own whose memtable holds all.
 */
import fs from 'node:fs';
import { ClassicLevel } from 'classic-level';
import { runPeer } from './harness.mjs';

const MIB = 1024 * 1024;

function sizes({ use, keyCount }) {
  if (use === 'memory' || use === 'wal') return { writeBufferSize: Math.max(64 * MIB, keyCount * 256) };
  if (use === 'tables') return { cacheSize: Math.max(256 * MIB, keyCount * 256) };
  return {};
}

await runPeer({
  name: 'classic-level',
  memory: 'own',

  async open(directory, profile) {
    const db = new ClassicLevel(directory, { keyEncoding: 'buffer', valueEncoding: 'buffer', ...sizes(profile) });
    await db.open();
    return db;
  },
  close: (db) => db.close(),
  settle: async () => {},
  toTables: (db) => db.compactRange(Buffer.from('key'), Buffer.from('kez')),

  put: (db, key, value) => db.put(key, value),
  writeBatch(db, keys, values, ids, start, end) {
    const operations = new Array(end - start);
    for (let i = start; i < end; i++) {
      operations[i - start] = { type: 'put', key: keys[ids[i]], value: values[ids[i]] };
    }
    return db.batch(operations);
  },

  get: (db, key) => db.get(key),
  getMany: (db, keys) => db.getMany(keys),
  getSync: (db, key) => db.getSync(key),

  async scanRows(db, gte, lt) {
    let rows = 0;
    let checksum = 0;
    // In ranges of 100 rows nextv(100) is its fastest form; a full scan row by row is an async iteration.
    if (gte) {
      const iterator = db.iterator({ gte, lt });
      for (;;) {
        const entries = await iterator.nextv(100);
        if (entries.length === 0) break;
        for (const [key, value] of entries) {
          rows++;
          checksum += key[15] + value[0];
        }
      }
      await iterator.close();
      return { rows, checksum };
    }
    for await (const [key, value] of db.iterator()) {
      rows++;
      checksum += key[15] + value[0];
    }
    return { rows, checksum };
  },

  async scanBatches(db, rowsPerBatch) {
    const iterator = db.iterator();
    let rows = 0;
    let checksum = 0;
    for (;;) {
      const entries = await iterator.nextv(rowsPerBatch);
      if (entries.length === 0) break;
      for (const [key, value] of entries) {
        rows++;
        checksum += key[15] + value[0];
      }
    }
    await iterator.close();
    return { rows, checksum };
  },

  onlyInWal: (directory) => !fs.readdirSync(directory).some((name) => /\.(ldb|sst)$/.test(name)),
});
