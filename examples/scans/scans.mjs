// Ranges, prefixes, reverse order, limits, batches of rows, seeking, and stopping early.
//
//   npm run build && node examples/scans/scans.mjs
import { open, WriteBatch } from 'shaledb';

const db = await open('memory:');
const text = (bytes) => new TextDecoder().decode(bytes);
const show = (label, rows) => console.log(`${label.padEnd(44)}${rows.map((row) => text(row.key)).join(' ')}`);
const all = async (iterator) => {
  const rows = [];
  for await (const row of iterator) rows.push(row);
  return rows;
};

try {
  const batch = new WriteBatch();
  for (const fruit of ['apple', 'apricot', 'banana', 'blueberry', 'cherry', 'date', 'fig', 'grape']) {
    batch.put(`fruit/${fruit}`, String(fruit.length));
  }
  for (let hour = 0; hour < 24; hour++) batch.put(`log/2024-05-01T${String(hour).padStart(2, '0')}`, 'entry');
  await db.write(batch);

  show('prefix', await all(db.scan({ prefix: 'fruit/a' })));
  show('from (included) to (excluded)', await all(db.scan({ gte: 'fruit/b', lt: 'fruit/d' })));
  show('last three, newest first', await all(db.scan({ prefix: 'log/', reverse: true, limit: 3 })));
  show('everything above one key', await all(db.scan({ gt: 'fruit/date', prefix: 'fruit/' })));

  // Leaving the loop ends the scan and frees what it holds.
  for await (const { key } of db.scan({ prefix: 'log/' })) {
    if (text(key) >= 'log/2024-05-01T02') {
      console.log(`${'stopped early at'.padEnd(44)}${text(key)}`);
      break;
    }
  }

  // Many rows: one promise for each batch instead of one for each row.
  const it = db.scan({ prefix: 'log/' });
  let count = 0;
  for (let rows = await it.nextBatch(10); rows.length > 0; rows = await it.nextBatch(10)) count += rows.length;
  console.log(`${'rows, ten at a time'.padEnd(44)}${count}`);

  // Continuing at another key, which must be later in the order of the scan.
  const seeking = db.scan({ prefix: 'fruit/' });
  const first = await seeking.next();
  await seeking.seek('fruit/d');
  const second = await seeking.next();
  await seeking.close();
  show('first, then from d on', [first.value, second.value]);

  // A scan shows the state at the moment it was created; later writes do not change it.
  const steady = db.scan({ prefix: 'fruit/' });
  await db.put('fruit/aaa', 'new');
  await db.delete('fruit/fig');
  show('made before a put and a delete', await all(steady));
  show('made after them', await all(db.scan({ prefix: 'fruit/' })));

  // The next page begins after the last key of this one. In reverse the cursor goes into `lt`.
  const page = await all(db.scan({ prefix: 'fruit/', limit: 3 }));
  show('page 1', page);
  show('page 2', await all(db.scan({ prefix: 'fruit/', gt: page.at(-1).key, limit: 3 })));
} finally {
  await db.close();
}
