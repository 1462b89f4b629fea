/**
 * SlateDB through its own Node binding, `@slatedb/uniffi`: Rust with a foreign-function layer. It has no call for many
 * keys or rows at once, so getMany is 256 gets in flight and scans go row by row, as its users must.
 */
import fs from 'node:fs';
import path from 'node:path';
import { DbBuilder, DurabilityLevel, FlushType, ObjectStore, Settings, Ttl, WriteBatch } from '@slatedb/uniffi';
import { runPeer } from './harness.mjs';

const NOT_DURABLE = { await_durable: false };
const PUT_OPTIONS = { ttl: Ttl.Default() };
const MIB = 1024 * 1024;
/** By default its scans do not fill the block cache. */
const WARMING_SCAN = {
  durability_filter: DurabilityLevel.Memory,
  dirty: false,
  read_ahead_bytes: MIB,
  cache_blocks: true,
  max_fetch_tasks: 2,
  order: undefined,
};

async function consume(iterator) {
  let rows = 0;
  let checksum = 0;
  for (;;) {
    const row = await iterator.next();
    if (row === undefined) break;
    rows++;
    checksum += row.key[15] + row.value[0];
  }
  iterator.dispose();
  return { rows, checksum };
}

const range = (gte, lt) => ({ start: gte, start_inclusive: true, end: lt, end_inclusive: false });

await runPeer({
  name: 'slatedb',
  memory: 'same',

  async open(directory, { keyCount }) {
    fs.mkdirSync(path.dirname(directory), { recursive: true });
    const store = ObjectStore.resolve(`file://${path.dirname(directory)}`);
    const builder = new DbBuilder(path.basename(directory), store);
    const settings = Settings.default();
    settings.set('l0_sst_size_bytes', String(Math.max(64 * MIB, keyCount * 256)));
    builder.with_settings(settings);
    const handle = await builder.build();
    builder.dispose();
    return { handle, store };
  },
  async close({ handle, store }) {
    await handle.shutdown();
    handle.dispose();
    store.dispose();
  },
  settle: ({ handle }) => handle.flush(),
  toTables: ({ handle }) => handle.flush_with_options({ flush_type: FlushType.MemTable }),

  put: ({ handle }, key, value) => handle.put_with_options(key, value, PUT_OPTIONS, NOT_DURABLE),
  async writeBatch({ handle }, keys, values, ids, start, end) {
    const batch = new WriteBatch();
    for (let i = start; i < end; i++) batch.put(keys[ids[i]], values[ids[i]]);
    await handle.write_with_options(batch, NOT_DURABLE);
    batch.dispose();
  },

  get: ({ handle }, key) => handle.get(key),
  getMany: ({ handle }, keys) => Promise.all(keys.map((key) => handle.get(key))),
  scanRows: async ({ handle }, gte, lt) => consume(await handle.scan(range(gte, lt))),
  warmScan: async ({ handle }) => consume(await handle.scan_with_options(range(), WARMING_SCAN)),

  onlyInWal(directory) {
    const tables = path.join(directory, 'compacted');
    return !fs.existsSync(tables) || !fs.readdirSync(tables).some((name) => name.endsWith('.sst'));
  },
});
