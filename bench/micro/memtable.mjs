// Cost of the memtable's operations, ns each. Needs `npm run build`, then:
//   node --expose-gc bench/micro/memtable.mjs [entries=200000] [rounds=5] [dist directory]
// 16-byte keys in random order, 100-byte values; medians over the rounds. The stall lines give the longest single call.
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';

const N = Number(process.argv[2] ?? 200_000);
const ROUNDS = Number(process.argv[3] ?? 5);
const DIST = path.resolve(process.argv[4] ?? path.join(import.meta.dirname, '../../dist'));
const { Memtable } = await import(pathToFileURL(path.join(DIST, 'lsm/memtable.js')).href);
const NO_TS = Number.NEGATIVE_INFINITY;
const collect = globalThis.gc ?? (() => {});

function randomNumbers(seed) {
  let s = seed >>> 0 || 1;
  return () => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return s >>> 0;
  };
}

function shuffled(n, seed) {
  const next = randomNumbers(seed);
  const a = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = next() % (i + 1);
    [a[i], a[j]] = [a[j], a[i]];
  }
  return a;
}

const text = new TextEncoder();
const KEY_FORMS = {
  decimal: (i) => text.encode('key' + String(i).padStart(13, '0')),
  random: (() => {
    const next = randomNumbers(7);
    return () => {
      const key = new Uint8Array(16);
      for (let j = 0; j < 16; j++) key[j] = next() >>> 24;
      return key;
    };
  })(),
  composite: (i) => text.encode((i & 1 ? 'orders/2026/' : 'users/2026/') + String(i).padStart(8, '0')),
};

const results = new Map();
function record(form, name, value) {
  const id = `${name}|${form}`;
  if (!results.has(id)) results.set(id, []);
  results.get(id).push(value);
}

function timed(form, name, count, run) {
  collect();
  const start = performance.now();
  run();
  record(form, name, ((performance.now() - start) * 1e6) / count);
}

function fill(keys, order, value) {
  const table = new Memtable({ hashSeed: 12345 });
  for (let i = 0; i < keys.length; i++) table.add(keys[order[i]], value, i + 1, 4, 1_760_000_000_000 + (i >> 4), NO_TS);
  return table;
}

/** Longest single call of `step` until it returns true, and the sum, in ms. */
function steps(step) {
  let longest = 0;
  let sum = 0;
  for (;;) {
    const start = performance.now();
    const done = step();
    const ms = performance.now() - start;
    if (ms > longest) longest = ms;
    sum += ms;
    if (done) return { longest, sum };
  }
}

let slab = new Uint8Array(65_536);
let slabUsed = 0;
/** What a reader does with a found value: copy it into memory it may hand out. */
function copyOut(bytes, start, length) {
  if (slabUsed + length > slab.length) {
    slab = new Uint8Array(65_536);
    slabUsed = 0;
  }
  slab.set(new Uint8Array(bytes.buffer, start, length), slabUsed);
  const out = new Uint8Array(slab.buffer, slabUsed, length);
  slabUsed = (slabUsed + length + 7) & ~7;
  return out;
}

function scan(table, count, reverse, from) {
  const cursor = table.cursor({ reverse, maxSeq: Number.MAX_SAFE_INTEGER });
  let rows = 0;
  let sum = 0;
  for (let s = cursor.seek(from); s === 1 && rows < count; s = cursor.next()) {
    sum += cursor.keyLength + cursor.valueLength + cursor.keyBuf[cursor.keyStart];
    rows++;
  }
  if (sum < 0) throw new Error('never');
  return rows;
}

function scanCopy(table) {
  const cursor = table.cursor({ reverse: false, maxSeq: Number.MAX_SAFE_INTEGER });
  let rows = 0;
  for (let s = cursor.seek(undefined); s === 1; s = cursor.next()) {
    copyOut(cursor.keyBuf, cursor.keyStart, cursor.keyLength);
    copyOut(cursor.valueBuf, cursor.valueStart, cursor.valueLength);
    rows++;
  }
  return rows;
}

function round(form, seed, measured) {
  const note = measured ? form : 'warm';
  const n = measured ? N : Math.min(N, 20_000);
  const keys = Array.from({ length: n }, (_, i) => KEY_FORMS[form](i));
  const absent = Array.from({ length: n }, (_, i) => text.encode('key' + String(i).padStart(12, '0') + 'x'));
  const order = shuffled(n, seed);
  const picks = shuffled(n, seed + 1);
  const value = new Uint8Array(100).fill(7);
  let table = null;
  timed(note, 'put', n, () => {
    table = fill(keys, order, value);
  });
  record(note, 'memory beyond key + value, bytes per entry', (table.memoryBytes - n * (keys[0].length + 100)) / n);
  const get = (key) => {
    const id = table.find(key, Number.MAX_SAFE_INTEGER);
    if (id >= 0) copyOut(table.valueBufOf(id), table.valueStartOf(id), table.valueLengthOf(id));
    return id;
  };
  timed(note, 'find random', n, () => {
    for (let i = 0; i < n; i++) table.find(keys[picks[i]], Number.MAX_SAFE_INTEGER);
  });
  timed(note, 'get random, value copied out', n, () => {
    for (let i = 0; i < n; i++) get(keys[picks[i]]);
  });
  timed(note, 'get, 1000 hot keys', n, () => {
    for (let i = 0; i < n; i++) get(keys[picks[i % 1000]]);
  });
  timed(note, 'get, absent', n, () => {
    for (let i = 0; i < n; i++) if (get(absent[picks[i]]) >= 0) throw new Error('found');
  });
  const prepared = steps(() => table.prepareOrderStep());
  record(note, 'first order, per row', (prepared.sum * 1e6) / n);
  record(note, 'STALL first order, longest step ms', prepared.longest);
  for (const [name, reverse] of [
    ['scan forward', false],
    ['scan reverse', true],
  ]) {
    timed(note, name, n, () => {
      if (scan(table, n, reverse, undefined) !== n) throw new Error('rows');
    });
  }
  timed(note, 'scan forward, key and value copied out', n, () => {
    if (scanCopy(table) !== n) throw new Error('rows');
  });
  timed(note, 'ranges of 100 rows, per row', 100 * Math.ceil(n / 100), () => {
    for (let i = 0; i < n; i += 100) scan(table, 100, false, keys[picks[i]]);
  });
  timed(note, 'overwrite', n, () => {
    for (let i = 0; i < n; i++) table.add(keys[picks[i]], value, n + i + 1, 4, 1_760_000_000_000, NO_TS);
  });
  timed(note, 'scan forward, two versions, per row', 2 * n, () => {
    if (scan(table, 2 * n, false, undefined) !== 2 * n) throw new Error('rows');
  });
  record(note, 'memory, two versions and ordered', (table.memoryBytes - 2 * n * (keys[0].length + 100)) / (2 * n));
  table.freeze();
  const flush = steps(() => table.orderStep());
  record(note, 'flush order of two versions, per row', (flush.sum * 1e6) / (2 * n));
  record(note, 'STALL flush order, longest step ms', flush.longest);
  for (const every of [100_000, 10_000, 1000, 100, 10]) {
    if (every * 2 > n) continue;
    timed(note, `put with a 100-row scan every ${every}`, n, () => {
      const mixed = new Memtable({ hashSeed: 1 });
      for (let i = 0; i < n; i++) {
        mixed.add(keys[order[i]], value, i + 1, 4, 1_760_000_000_000, NO_TS);
        if (i % every === every - 1) scan(mixed, 100, false, keys[picks[i]]);
      }
    });
  }
  collect();
  const stalls = [];
  const again = new Memtable({ hashSeed: 12345 });
  for (let i = 0; i < n; i++) {
    const start = performance.now();
    again.add(keys[order[i]], value, i + 1, 4, 1_760_000_000_000 + (i >> 4), NO_TS);
    stalls.push(performance.now() - start);
  }
  stalls.sort((a, b) => b - a);
  record(note, 'STALL put, longest ms', stalls[0]);
  record(note, 'STALL put, third longest ms', stalls[2]);
}

const forms = Object.keys(KEY_FORMS);
for (let i = 0; i < 3; i++) for (const form of forms) round(form, 11 + i, false);
for (let r = 0; r < ROUNDS; r++) for (const form of forms) round(form, 101 + r, true);

const median = (a) => [...a].sort((x, y) => x - y)[a.length >> 1];
const names = [...new Set([...results.keys()].map((k) => k.split('|')[0]))];
console.log(`${N} entries, ${ROUNDS} rounds, Node ${process.version}; ns per operation unless said\n`);
console.log(`| operation | ${forms.join(' | ')} |\n|---|${forms.map(() => '---|').join('')}`);
for (const name of names) {
  const cells = forms
    .map((form) => results.get(`${name}|${form}`))
    .map((v) => (v === undefined ? '-' : median(v).toFixed(name.startsWith('STALL') ? 2 : 0)));
  console.log(`| ${name} | ${cells.join(' | ')} |`);
}
