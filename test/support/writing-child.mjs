// A process that writes until it is ended: `node writing-child.mjs DIRECTORY signals|durable`.
import { mkdirSync } from 'node:fs';
import { LocalStore, open, WriteBatch } from '../../dist/index.js';

const [directory, mode] = process.argv.slice(2);
mkdirSync(directory, { recursive: true });
const location = { store: new LocalStore(directory), path: 'db' };

if (mode === 'signals') {
  const db = await open(location, { handleSignals: true, flushIntervalMs: 3_600_000 });
  for (let i = 0; i < 500; i++) await db.put(`k${i}`, `v${i}`, { awaitDurable: false });
  console.log('written 500');
  setInterval(() => undefined, 1000);
} else {
  const db = await open(location, { l0SstSizeBytes: 8192 });
  for (let i = 0; ; i++) {
    const batch = new WriteBatch().put(`a${i}`, `value ${i}`).put(`b${i}`, `value ${i}`);
    await db.write(batch);
    console.log(`acknowledged ${i}`);
  }
}
