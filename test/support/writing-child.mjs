// A process with rows that nobody awaits, which waits for the signal that ends it: `node writing-child.mjs DIRECTORY`.
import { mkdirSync } from 'node:fs';
import { LocalStore, open } from '../../dist/index.js';

const [directory] = process.argv.slice(2);
mkdirSync(directory, { recursive: true });
const location = { store: new LocalStore(directory), path: 'db' };
const db = await open(location, { handleSignals: true, flushIntervalMs: 3_600_000 });
for (let i = 0; i < 500; i++) await db.put(`k${i}`, `v${i}`, { awaitDurable: false });
console.log('written 500');
setInterval(() => undefined, 1000);
