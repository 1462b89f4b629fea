// A process with twelve databases, one slow and one that cannot close, which waits for the signal that ends it:
// `node many-databases-child.mjs DIRECTORY`. Rows that nobody awaited are in each.
import { mkdirSync } from 'node:fs';
import { LocalStore, open } from '../../dist/index.js';
import { FaultyStore, latencyStore } from '../../dist/testing.js';

const [directory] = process.argv.slice(2);
mkdirSync(directory, { recursive: true });
const local = () => new LocalStore(directory);
const clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer(ms, fn) {
    const timer = setTimeout(fn, ms);
    return { cancel: () => clearTimeout(timer), setRef: (on) => void (on ? timer.ref() : timer.unref()) };
  },
  yieldToLoop: () => new Promise((resolve) => setImmediate(resolve)),
};
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const options = { handleSignals: true, flushIntervalMs: 3_600_000, closeTimeoutMs: 5000, logger: silent };
const faulty = new FaultyStore(local(), {});
for (let d = 0; d < 12; d++) {
  const store = d === 7 ? latencyStore(local(), { clock, latencyMs: 200 }) : d === 3 ? faulty : local();
  const db = await open({ store, path: `db${d}` }, d === 3 ? { ...options, closeTimeoutMs: 100 } : options);
  for (let i = 0; i < 100; i++) await db.put(`k${i}`, `v${i}`, { awaitDurable: false });
}
faulty.add({ action: 'fail-before', op: 'put' });
console.log('written');
setInterval(() => undefined, 1000);
