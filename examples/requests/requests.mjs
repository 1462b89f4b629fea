// What does each call cost? Counts the requests and the sequential round trips of common operations, on a simulated store
// whose every request takes 100 ms of simulated time. It waits for no real time, and the result is the same on every run.
//
//   npm run build && node examples/requests/requests.mjs
import { MemoryStore, open, openReader, WriteBatch } from 'shaledb';
import { latencyStore, ManualClock, SeededRandom } from 'shaledb/testing';

const LATENCY_MS = 100;
const clock = new ManualClock();
// While a database writes it lists its manifests once a second (manifestPollIntervalMs); left out of the table.
const readerOptions = { clock, random: new SeededRandom(1) };
const options = { ...readerOptions, manifestPollIntervalMs: 60_000 };
const place = (store) => ({ store: latencyStore(store, { clock, latencyMs: LATENCY_MS }), path: 'db' });
const run = (promise) => clock.runUntilSettled(promise);

const KINDS = ['list', 'get', 'head', 'put', 'delete'];
const rows = [];

/** Runs `work` and records what it cost. `counts` reads the counters of the handle; without it they are those of the handle that `work` returns. */
async function measure(name, work, counts) {
  const before = counts?.() ?? {};
  const startMs = clock.monotonicMs();
  const result = await run(work());
  const trips = (clock.monotonicMs() - startMs) / LATENCY_MS;
  const after = counts === undefined ? result.requestCounts() : counts();
  rows.push([name, trips, ...KINDS.map((kind) => after[kind] - (before[kind] ?? 0))]);
  return result;
}

const memory = new MemoryStore();
let db = await measure('open, new database', () => open(place(memory), options));
const counts = () => db.requestCounts();

await measure('put, durable', () => db.put('k', 'v'), counts);
await measure('100 durable puts at once', () => Promise.all(manyPuts(100)), counts);
await measure('batch of 1,000 rows, durable', () => db.write(batchOf(1000)), counts);
await measure('put, not durable', () => db.put('k', 'v2', { awaitDurable: false }), counts);
await measure('flush()', () => db.flush(), counts);
await measure('get from the memtable', () => db.get('k'), counts);
await measure('flush({ type: "memtable" })', () => db.flush({ type: 'memtable' }), counts);

// 3,000 rows with values of 200 B in one table; a new handle has none of them in memory.
const batch = new WriteBatch();
for (let i = 0; i < 3000; i++) batch.put(`user/${String(i).padStart(8, '0')}`, 'x'.repeat(200));
await run(db.write(batch));
await measure('close, 3,000 rows not in tables yet', () => db.close(), counts);

db = await measure('open, closed cleanly', () => open(place(memory), options));
await measure('get, cold', () => db.get('user/00000007'), counts);
await measure('get, warm', () => db.get('user/00000007'), counts);
await measure('get, absent key, warm filters', () => db.get('user/00000007x'), counts);
await measure('close, nothing new', () => db.close(), counts);

db = await run(open(place(memory), options));
await measure(
  'scan of 3,000 rows of 200 B, cold',
  async () => (await db.scan({ prefix: 'user/' }).nextBatch(5000)).length,
  counts,
);
await measure('the same scan again', async () => (await db.scan({ prefix: 'user/' }).nextBatch(5000)).length, counts);

// Ten WAL objects that are in no table yet; the handle is not closed, as after a crash.
for (let i = 0; i < 10; i++) await run(db.put(`crash/${i}`, 'v'));
const reader = await measure('openReader, 10 WAL objects', () => openReader(place(memory), readerOptions));
const readerCounts = () => reader.requestCounts();
await measure('reader.refresh(), nothing new', () => reader.refresh(), readerCounts);
for (let i = 0; i < 3; i++) await run(db.put(`later/${i}`, 'v'));
await measure('reader.refresh(), 3 new WAL objects', () => reader.refresh(), readerCounts);
const successor = await measure('open after a crash, 13 WAL objects', () => open(place(memory), options));
await run(reader.close());
await run(successor.close());

// S3 stores are probed by the first opening of a database; the result is stored with the database.
const bucket = unknownStore(new MemoryStore());
const first = await measure('open, new database, store never probed', () => open(place(bucket), options));
await run(first.close());
const second = await measure('open, closed cleanly, store probed before', () => open(place(bucket), options));
await run(second.close());

const widths = [Math.max(...rows.map((r) => r[0].length)), 11, ...KINDS.map((kind) => Math.max(4, kind.length))];
const line = (cells) =>
  cells.map((c, i) => (i === 0 ? String(c).padEnd(widths[i]) : String(c).padStart(widths[i]))).join('  ');
console.log(line(['operation', 'round trips', ...KINDS]));
console.log(widths.map((w) => '-'.repeat(w)).join('  '));
for (const row of rows) console.log(line(row));

/** The same store without the mark by which built-in stores are known to honour conditions. */
function unknownStore(store) {
  const { name } = store;
  const [get, head, put, list, remove] = ['get', 'head', 'put', 'list', 'delete'].map((m) => store[m].bind(store));
  return { name, get, head, put, list, delete: remove };
}

function manyPuts(count) {
  return Array.from({ length: count }, (_, i) => db.put(`many/${i}`, 'v'));
}

function batchOf(count) {
  const many = new WriteBatch();
  for (let i = 0; i < count; i++) many.put(`batch/${i}`, 'v');
  return many;
}
