// What every program of `npm run test:consumers` does with the package, however it has got it. Copied into each project, and bundled there.
//
//   program.mjs [--threads expected|none] LOCATION ...
//
// Prints a line for each location; any surprise is an exception.
const CODE = `import { isMainThread } from 'node:worker_threads';
export const filter = { decide: () => (isMainThread ? 'keep' : 'drop') };`;

function expect(what, found, wanted) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what}: ${a} instead of ${b}`);
}

const text = (bytes) => (bytes === undefined ? undefined : new TextDecoder().decode(bytes));

/** Puts, a batch, a scan, a reader. */
async function writeAndRead({ open, openReader, WriteBatch, ClosedError, isDbError }, location, compressionCodec) {
  const db = await open(location, { compressionCodec });
  await db.put('first', 'put');
  const batch = new WriteBatch();
  for (let i = 0; i < 100; i++) batch.put(`row ${String(i).padStart(2, '0')}`, `value ${i}`);
  batch.delete('row 50');
  await db.write(batch);
  await db.flush({ type: 'memtable' });
  expect('get', text(await db.get('first')), 'put');
  const keys = [];
  for await (const { key } of db.scan({ gte: 'row', lt: 'row 99' })) keys.push(text(key));
  expect('rows', keys.length, 98);
  const reader = await openReader(location);
  expect('get of the reader', text(await reader.get('row 98')), 'value 98');
  await reader.close();
  await db.close();
  const refused = await db.put('k', 'v').catch((error) => error);
  expect('after close', [refused instanceof ClosedError, isDbError(refused)], [true, true]);
}

/** Whether a compaction runs on a thread: the filter drops rows there only. */
async function compact({ open }, location, threads) {
  const lines = [];
  const log = (message) => lines.push(message);
  const logger = { debug: () => {}, info: log, warn: log, error: log };
  const compactionFilter = { module: `data:text/javascript,${encodeURIComponent(CODE)}`, export: 'filter' };
  const db = await open(location, { gc: false, logger, compactor: { compactionFilter } });
  for (const value of ['old', 'new']) {
    await db.put('first', value);
    await db.flush({ type: 'memtable' });
  }
  await db.compact();
  const found = text(await db.get('first'));
  await db.close();
  const why = lines.find((line) => line.startsWith('a thread for compaction cannot be started'));
  if (threads === 'expected') expect('a compaction on a thread', [found, why], [undefined, undefined]);
  else expect('a compaction without a thread, and the reason', [found, why !== undefined], ['new', true]);
}

/** A class of errors is the same object whichever entry throws it. */
async function throwFromEachEntry({ shaledb, s3, admin, testing }) {
  const thrown = [];
  for (const make of [() => new s3.S3Store({}), () => new testing.FaultyStore(5), () => admin.verify('none:')]) {
    try {
      await make();
    } catch (error) {
      thrown.push(error instanceof shaledb.InvalidArgumentError && shaledb.isDbError(error) && error.code);
    }
  }
  expect('errors of the entries', thrown, ['BAD_ARGUMENT', 'BAD_ARGUMENT', 'BAD_ARGUMENT']);
}

/** @param entries the namespaces of the package's entries */
export async function run(entries, args) {
  const threads = args[0] === '--threads' ? args.splice(0, 2)[1] : 'expected';
  const codecs = args[0] === '--codecs' ? args.splice(0, 2)[1].split(',') : ['none', 'zlib'];
  await throwFromEachEntry(entries);
  for (const location of args) {
    const below = (name) => location.replace(/(\?|$)/, `/${name}$1`);
    for (const codec of codecs) await writeAndRead(entries.shaledb, below(codec), codec);
    await compact(entries.shaledb, below('compacted'), threads);
    const { verdict } = await entries.admin.verify(below(codecs[0]));
    expect('the check', verdict, 'clean');
    console.log(`ok ${location}`);
  }
}
