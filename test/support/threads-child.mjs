// A process that compacts on a thread: `node threads-child.mjs HOW LOCATION`.
//
//   compact   waits for a compaction and for nothing else, and does not close
//   wait      waits for a compaction of which nothing but a wait for another attempt is under way, and ends by itself
//   close     closes while a filter never answers
import { MemoryStore, open } from '../../dist/index.js';
import { FaultyStore } from '../../dist/testing.js';

const [how, location] = process.argv.slice(2);
const module = new URL('./thread-filters.mjs', import.meta.url);
const compactionFilter = { module, export: how === 'close' ? 'endless' : 'onThreads' };
const store = new FaultyStore(new MemoryStore());
const db = await open(how === 'wait' ? { store, path: '' } : location, {
  gc: false,
  compactor: { threads: 1, compactionFilter },
});
for (let table = 0; table < 3; table++) {
  for (let i = 0; i < 100; i++) await db.put(`key-${i}`, `value ${table}`, { awaitDurable: false });
  await db.flush({ type: 'memtable' });
}
if (how === 'wait') {
  // The list leaves out the newest file once: it is read again after a while.
  store.add({ action: 'list-stale', op: 'list', path: /compactions/, nth: 2, count: 1 });
  const { jobs } = await db.compact();
  console.log('fired', store.fired()['list-stale'], 'jobs', jobs.length);
  await db.close();
} else if (how === 'close') {
  const compaction = db.compact().catch((error) => error.code);
  // The thread is at the filter by then, or about to be: both have to end.
  await new Promise((resolve) => setTimeout(resolve, 300));
  await db.close();
  console.log(await compaction);
} else {
  const { jobs } = await db.compact();
  console.log(jobs.map(({ rowsIn, rowsOut }) => `${rowsIn} ${rowsOut}`).join());
}
