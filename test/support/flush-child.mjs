// A process in which three databases after each other have a memtable that is large: `node flush-child.mjs LOCATION`. Prints how many threads were
// started for each, without threads, with a compactor and without one, and how many rows are in all of them as they were written.
import { open } from '../../dist/index.js';

const [location] = process.argv.slice(2);
const ROWS = 300;
const value = (i) => `${i} `.repeat(10_000).slice(0, 40_000);
const text = (bytes) => new TextDecoder().decode(bytes);
let started = 0;
process.on('worker', () => started++);
let right = 0;
const counts = [];
const variants = [
  { compactor: { threads: 'off' } },
  { compactor: { threads: 1 } },
  { compactor: false, compressionCodec: 'zstd' },
];
for (const [i, options] of variants.entries()) {
  const before = started;
  const place = `${location}/${i}`;
  const db = await open(place, { gc: false, ...options });
  for (let row = 0; row < ROWS; row++) await db.put(`key-${row}`, value(row), { awaitDurable: false });
  const flushed = db.flush({ type: 'memtable' });
  if (text(await db.get('key-7')) === value(7)) right++;
  await flushed;
  await db.close();
  counts.push(started - before);
  const again = await open(place, { compactor: false, gc: false });
  for await (const { key, value: found } of again.scan())
    if (text(found) === value(Number(text(key).slice(4)))) right++;
  await again.close();
}
console.log(counts.join(), right);
