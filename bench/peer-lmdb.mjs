/**
 * LMDB through `lmdb`: a memory-mapped B+tree without memtable, tables or log, so its reads stand with those of cached tables.
 * Written with `noSync`, the promise nearest to a write that nobody awaits. Its get and its scan are synchronous.
 */
import fs from 'node:fs';
import { open as openLmdb } from 'lmdb';
import { runPeer } from './harness.mjs';

await runPeer({
  name: 'lmdb',

  open(directory) {
    fs.mkdirSync(directory, { recursive: true });
    return openLmdb({ path: `${directory}/data`, encoding: 'binary', keyEncoding: 'binary', noSync: true });
  },
  close: (db) => db.close(),
  settle: async () => {},
  toTables: async () => {},

  put: (db, key, value) => db.put(key, value),
  writeBatch: (db, keys, values, ids, start, end) =>
    db.batch(() => {
      for (let i = start; i < end; i++) db.put(keys[ids[i]], values[ids[i]]);
    }),

  get: (db, key) => db.get(key),
  getMany: (db, keys) => db.getMany(keys),
  getSync: (db, key) => db.get(key),

  async scanRows(db, gte, lt) {
    let rows = 0;
    let checksum = 0;
    for (const { key, value } of db.getRange(gte ? { start: gte, end: lt } : {})) {
      rows++;
      checksum += key[15] + value[0];
    }
    return { rows, checksum };
  },
});
