// An event log: appended with rising numbers, paged forwards and backwards, followed by a reader that may live on another machine.
//
//   npm run build && node examples/event-log/event-log.mjs
import { MemoryStore, open, openReader } from 'shaledb';

// In a program: 'file:///var/lib/events' or 's3://bucket/events', the same for both.
const location = { store: new MemoryStore(), path: 'events' };
// Tuples sort as their elements do, numbers by value: ['orders', 9] comes before ['orders', 10].
const encodings = { keyEncoding: 'tuple', valueEncoding: 'json' };

const db = await open(location, encodings);
const last = await db.last({ prefix: ['orders'] });
let next = last === undefined ? 1 : last.key[1] + 1;

/** There is one writer: counting in memory is safe. Events that are appended at once share a log object. */
const append = (event) => db.put(['orders', next++], event);

/** Goes on after `cursor`, in either direction; `more` says whether another page follows. */
async function page(reads, cursor, reverse = false) {
  const { rows, more, after } = await reads.page({ prefix: ['orders'], after: cursor, reverse }, { size: 4 });
  const numbers = rows.map(({ key }) => key[1]);
  console.log(`${reverse ? 'back' : 'on'}: ${numbers.join(' ')}${more ? ' ...' : ''}`);
  return more ? after : undefined;
}

try {
  await Promise.all(Array.from({ length: 10 }, (_, i) => append({ kind: i % 2 ? 'paid' : 'placed', order: i >> 1 })));
  for (let cursor = await page(db); cursor !== undefined; ) cursor = await page(db, cursor);
  await page(db, undefined, true);

  const replica = await openReader(location, encodings);
  try {
    console.log(`replica: ${await replica.count({ prefix: ['orders'] })} events`);
    const seen = (await replica.last({ prefix: ['orders'] })).key;
    await append({ kind: 'shipped', order: 1 });
    await replica.refresh();
    for await (const { key, value } of replica.scan({ prefix: ['orders'], after: seen })) {
      console.log(`replica: event ${key[1]} ${JSON.stringify(value)}`);
    }
  } finally {
    await replica.close();
  }
} finally {
  await db.close();
}
