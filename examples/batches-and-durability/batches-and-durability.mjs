// What `awaitDurable` means, what batches promise, and how writes share requests.
//
//   npm run build && node examples/batches-and-durability/batches-and-durability.mjs
import { MemoryStore, open, openReader, WriteBatch } from 'shaledb';

// One store, two handles: what the reader sees is what would survive a crash of the writer.
const location = { store: new MemoryStore(), path: 'accounts' };
// Without waiting, rows are sent after at most `flushIntervalMs`: 100 by default, long here, so that a slow machine shows the same.
const db = await open(location, { flushIntervalMs: 60_000 });
const reader = await openReader(location);
const text = (bytes) => (bytes === undefined ? undefined : new TextDecoder().decode(bytes));
const survives = async (key) => {
  await reader.refresh();
  return text(await reader.get(key));
};
const putsOf = async (work) => {
  const before = db.requestCounts().put;
  await work();
  return db.requestCounts().put - before;
};

try {
  // 1. A durable write (the default) is in the store when its promise resolves.
  await db.put('a', 'durable');
  console.log('1. durable write, after its promise:     ', await survives('a'));

  // 2. Without waiting, the row is visible here at once and in the store within `flushIntervalMs`.
  await db.put('b', 'fast', { awaitDurable: false });
  console.log('2. write not awaited, in this process:   ', text(await db.get('b')));
  console.log('   only what is durable:                 ', text(await db.get('b', { durabilityFilter: 'remote' })));
  console.log('   what a crash now would leave:         ', await survives('b'));
  await db.flush();
  console.log('   after flush():                        ', await survives('b'));

  // 3. A batch is applied completely or not at all, for readers and after crashes.
  await db.put('alice', '100');
  const transfer = new WriteBatch().put('alice', '70').put('bob', '30');
  const { seq } = await db.write(transfer);
  console.log('3. batch under one sequence number:      ', seq);
  console.log('   both rows or none:                    ', await survives('alice'), await survives('bob'));

  // 4. Writes that wait at the same time share a request; a batch always takes one.
  const alone = await putsOf(async () => {
    for (let i = 0; i < 50; i++) await db.put(`one-by-one/${i}`, 'v');
  });
  const together = await putsOf(() => Promise.all(Array.from({ length: 50 }, (_, i) => db.put(`together/${i}`, 'v'))));
  console.log(`4. PUTs for 50 durable writes:            ${alone} one after another, ${together} at once`);

  // 5. The order of the calls is the order of the commits: a later durable write makes the earlier ones durable too.
  await db.put('step/1', 'x', { awaitDurable: false });
  await db.put('step/2', 'x', { awaitDurable: false });
  await db.put('step/3', 'x');
  console.log('5. earlier writes are durable with it:   ', await survives('step/1'), await survives('step/2'));

  // 6. A snapshot keeps showing one state of all keys.
  const snapshot = db.snapshot();
  await db.put('alice', '0');
  console.log(
    '6. snapshot and now:                     ',
    text(await snapshot.get('alice')),
    text(await db.get('alice')),
  );
  await snapshot.close();
} finally {
  await reader.close();
  await db.close();
}
