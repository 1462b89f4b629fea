// What encodings cost: gets, puts and scans in memory of values of 100 bytes (as JSON an object of four members), in bytes, as text and as
// JSON, by turns in one process. The ratio is the time in bytes by that with the encoding, the median of the rounds.
//
//   npm run build && node bench/micro/encodings.mjs [--rounds 15] [--rows 10000]
import { parseArgs } from 'node:util';
import { distUrl } from '../dist-url.mjs';

const { values } = parseArgs({ options: { rounds: { type: 'string' }, rows: { type: 'string' } } });
const ROUNDS = Number(values.rounds ?? 15);
const ROWS = Number(values.rows ?? 10_000);
const { open } = await import(distUrl('index.js'));

const keys = Array.from({ length: ROWS }, (_, i) => `user/${String(i).padStart(8, '0')}`);
const user = (i) => ({
  name: 'Ada Lovelace',
  mail: `ada${i % 10}@example.org`,
  born: 1815,
  note: 'wrote the first program',
});
const text = (i) => JSON.stringify(user(i)).padEnd(100, ' ').slice(0, 100);

/** The same bytes in each: the values of `bytes` are made before. */
const KINDS = {
  bytes: { options: {}, value: (i) => new TextEncoder().encode(text(i)) },
  utf8: { options: { keyEncoding: 'utf8', valueEncoding: 'utf8' }, value: text },
  json: { options: { keyEncoding: 'utf8', valueEncoding: 'json' }, value: user },
};

const cases = [];
for (const [name, { options, value }] of Object.entries(KINDS)) {
  const db = await open('memory:', { compactor: false, gc: false, awaitDurable: false, ...options });
  const rows = keys.map((_, i) => value(i));
  for (let i = 0; i < ROWS; i++) await db.put(keys[i], rows[i]);
  cases.push({ name, db, rows, times: { get: [], put: [], scan: [] } });
}

const WORK = {
  async get({ db }) {
    for (let i = 0; i < ROWS; i++) await db.get(keys[(i * 7919) % ROWS]);
  },
  async put({ db, rows }) {
    for (let i = 0; i < ROWS; i++) await db.put(keys[i], rows[i]);
  },
  async scan({ db }) {
    const scan = db.scan();
    while ((await scan.nextBatch(1000)).length > 0);
  },
};

for (let round = 0; round < ROUNDS + 2; round++) {
  for (const [what, run] of Object.entries(WORK)) {
    for (const each of round % 2 === 0 ? cases : [...cases].reverse()) {
      const { user: before } = process.cpuUsage();
      await run(each);
      // Two rounds to warm up.
      if (round >= 2) each.times[what].push((process.cpuUsage().user - before) / ROWS);
    }
  }
}

const median = (all) => all.toSorted((a, b) => a - b)[all.length >> 1];
for (const what of Object.keys(WORK)) {
  const base = median(cases[0].times[what]);
  const shown = cases.map(({ name, times }) => {
    const time = median(times[what]);
    return `${name} ${time.toFixed(3)} us (${(base / time).toFixed(2)})`;
  });
  console.log(`${what.padEnd(5)} ${shown.join('   ')}`);
}
for (const { db } of cases) await db.close();
