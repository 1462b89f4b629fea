// Drives one SlateDB 0.12.1 database for live-slatedb.ts: JSON lines in, JSON lines out. Keys and values are base64.
// Ends at the end of standard input, without closing the database: a parent that wants a clean end sends "close" first.
import { mkdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import * as slatedb from '@slatedb/uniffi';

const ROWS_PER_LINE = 500;
const EVERYTHING = { start: undefined, start_inclusive: true, end: undefined, end_inclusive: false };
let db;

const concat = {
  merge: (_key, existing, operand) => Buffer.concat([existing ?? Buffer.alloc(0), operand]),
};

function out(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

function storeOf(place) {
  if (place.bucket !== undefined) return slatedb.ObjectStore.resolve(`s3://${place.bucket}`);
  mkdirSync(place.directory, { recursive: true });
  return slatedb.ObjectStore.resolve(`file://${place.directory}`);
}

function settingsOf(request) {
  const settings = slatedb.Settings.default();
  const defaults = JSON.parse(settings.to_json_string());
  const compactor = request.compactor ? { ...defaults.compactor_options, poll_interval: '50ms' } : null;
  const values = { compactor_options: compactor, garbage_collector_options: null, l0_max_ssts: 1000 };
  for (const [name, value] of Object.entries({ ...values, ...request.settings }))
    settings.set(name, JSON.stringify(value));
  return settings;
}

const bytes = (text) => Buffer.from(text, 'base64');
const text = (data) => Buffer.from(data).toString('base64');
const number = (n) => (n === undefined ? null : String(n));
const ttl = (ms) => (ms === undefined || ms === null ? slatedb.Ttl.Default() : slatedb.Ttl.ExpireAfterTicks(ms));
const durable = (request) => ({ await_durable: request.awaitDurable ?? true });

async function sendRows(id, iterator) {
  let rows = [];
  for (;;) {
    const row = await iterator.next();
    if (row === undefined) break;
    rows.push([text(row.key), text(row.value), String(row.seq), number(row.create_ts), number(row.expire_ts)]);
    if (rows.length === ROWS_PER_LINE) {
      out({ id, rows });
      rows = [];
    }
  }
  if (rows.length > 0) out({ id, rows });
  iterator.dispose();
}

const OPS = {
  async open(r) {
    const builder = new slatedb.DbBuilder(r.path, storeOf(r));
    builder.with_settings(settingsOf(r));
    if (r.mergeOperator) builder.with_merge_operator(concat);
    if (r.wal) builder.with_wal_object_store(storeOf(r.wal));
    if (r.blockBytes) builder.with_sst_block_size(slatedb.SstBlockSize[`Block${r.blockBytes / 1024}Kib`]);
    db = await builder.build();
  },
  async put(r) {
    const handle = await db.put_with_options(bytes(r.key), bytes(r.value), { ttl: ttl(r.ttlMs) }, durable(r));
    return String(handle.seqnum);
  },
  async delete(r) {
    return String((await db.delete_with_options(bytes(r.key), durable(r))).seqnum);
  },
  async merge(r) {
    const handle = await db.merge_with_options(bytes(r.key), bytes(r.value), { ttl: ttl(r.ttlMs) }, durable(r));
    return String(handle.seqnum);
  },
  async write(r) {
    const batch = new slatedb.WriteBatch();
    for (const [kind, key, value, ttlMs] of r.ops) {
      if (kind === 'put') batch.put_with_options(bytes(key), bytes(value), { ttl: ttl(ttlMs) });
      else if (kind === 'merge') batch.merge_with_options(bytes(key), bytes(value), { ttl: ttl(ttlMs) });
      else batch.delete(bytes(key));
    }
    return String((await db.write_with_options(batch, durable(r))).seqnum);
  },
  async getMany(r) {
    const values = [];
    for (const key of r.keys) {
      const value = await db.get(bytes(key));
      values.push(value === undefined ? null : text(value));
    }
    return values;
  },
  async scan(r) {
    const bound = (name) => (r[name] === null ? undefined : bytes(r[name]));
    await sendRows(r.id, await db.scan({ ...EVERYTHING, start: bound('gte'), end: bound('lt') }));
  },
  async flush(r) {
    await db.flush_with_options({ flush_type: r.type === 'wal' ? slatedb.FlushType.Wal : slatedb.FlushType.MemTable });
  },
  async close() {
    await db.shutdown();
    db = undefined;
  },
  async readerScan(r) {
    const builder = new slatedb.DbReaderBuilder(r.path, storeOf(r));
    if (r.mergeOperator) builder.with_merge_operator(concat);
    if (r.wal) builder.with_wal_object_store(storeOf(r.wal));
    const reader = await builder.build();
    await sendRows(r.id, await reader.scan(EVERYTHING));
    await reader.shutdown();
  },
  async walRows(r) {
    for (const file of await new slatedb.WalReader(r.path, storeOf(r)).list(undefined, undefined)) {
      const iterator = await file.iterator();
      const rows = [];
      for (;;) {
        const row = await iterator.next();
        if (row === undefined) break;
        const value = row.value === undefined ? null : text(row.value);
        rows.push([
          row.kind.toLowerCase(),
          text(row.key),
          value,
          String(row.seq),
          number(row.create_ts),
          number(row.expire_ts),
        ]);
      }
      out({ id: r.id, rows: [[Number(file.id()), rows]] });
    }
  },
};

async function handle(request) {
  try {
    const op = OPS[request.op];
    if (op === undefined) throw new Error(`SlateDB 0.12.1 has no ${request.op}`);
    out({ id: request.id, result: (await op(request)) ?? null });
  } catch (error) {
    const kind = error.tag ?? 'Driver';
    out({ id: request.id, error: { kind, message: error.message, ...(error.reason && { reason: error.reason }) } });
  }
}

let last = Promise.resolve();
createInterface({ input: process.stdin })
  .on('line', (line) => {
    last = last.then(() => handle(JSON.parse(line)));
  })
  // A crash for an open database; nothing is flushed any more.
  .on('close', () => last.then(() => process.exit(0)));
