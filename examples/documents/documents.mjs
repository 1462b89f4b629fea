// JSON documents with an index on one field. A document and its entry in the index are written in one batch: both or neither.
//
//   npm run build && node examples/documents/documents.mjs
import { ConflictError, open } from 'shaledb';

const db = await open('memory:');
const documents = db.sublevel('user', { keyEncoding: 'utf8', valueEncoding: 'json' });
// [city, id] -> null: everything about an entry is in its key.
const byCity = db.sublevel('user-by-city', { keyEncoding: 'tuple', valueEncoding: 'json' });

async function save(id, document) {
  const before = await documents.getWithMeta(id);
  const batch = db.batch();
  if (before !== undefined && before.value.city !== document.city) {
    batch.delete([before.value.city, id], { sublevel: byCity });
  }
  batch.put([document.city, id], null, { sublevel: byCity });
  // Nobody has written it since it was read; otherwise its old entry in the index would stay.
  const condition = before === undefined ? { ifAbsent: true } : { ifSeq: before.seq };
  batch.put(id, document, { sublevel: documents, ...condition });
  await batch.write();
}

async function inCity(city) {
  const ids = [];
  for await (const [, id] of byCity.keys({ prefix: [city] })) ids.push(id);
  return documents.getMany(ids);
}

try {
  await save('ada', { name: 'Ada', city: 'London' });
  await save('alan', { name: 'Alan', city: 'London' });
  await save('grace', { name: 'Grace', city: 'New York' });
  await save('alan', { name: 'Alan', city: 'Manchester' });
  console.log('London:', (await inCity('London')).map(({ name }) => name).join(', '));
  console.log('Manchester:', (await inCity('Manchester')).map(({ name }) => name).join(', '));

  // Two at once: one of them has read what is no longer there, and does it again.
  const results = await Promise.allSettled([
    save('ada', { name: 'Ada', city: 'Paris' }),
    save('ada', { name: 'Ada', city: 'Rome' }),
  ]);
  const lost = results.find(({ status }) => status === 'rejected');
  console.log('second of two at once:', lost?.reason instanceof ConflictError ? lost.reason.code : 'no conflict');
  console.log('entries:', (await byCity.keys().toArray()).map((key) => key.join('/')).join(' '));
} finally {
  await db.close();
}
