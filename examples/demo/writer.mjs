// The process that the demo kills. Gets batches from its parent, writes them, a few at a time, and reports each one when,
// and only when, the database has acknowledged it as durable.
import { once } from 'node:events';
import { open, WriteBatch } from 'shaledb';
import { OPTIONS } from './settings.mjs';

const IN_FLIGHT = 4;
const [{ location, from, batches }] = await once(process, 'message');
const db = await open(location, OPTIONS);

let next = from;
async function writeBatches() {
  while (next < batches.length) {
    const number = next++;
    const batch = new WriteBatch();
    for (const { key, value } of batches[number]) batch.put(key, value);
    await db.write(batch);
    process.send({ acknowledged: number, requests: db.requestCounts() });
  }
}
await Promise.all(Array.from({ length: IN_FLIGHT }, writeBatches));
await db.close();
process.send({ closed: true, requests: db.requestCounts() });
process.disconnect();
