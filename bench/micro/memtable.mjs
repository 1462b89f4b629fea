// Cost of the memtable's operations, ns each. Needs `npm run build:modules`, then:
//   node --expose-gc bench/micro/memtable.mjs [entries=200000] [rounds=5] [directory of modules] [key form, default all]
// 16-byte keys in random order, 100-byte values. Each cell has two figures: the process's CPU time (collector and compiler
// threads included) per operation in the best round, and the median wall time over slices of 1000 operations of all rounds;
// other load on the machine moves these less than whole wall times. The stall lines give the longest single call in ms, each
// call at its best of all rounds (the rounds do the same): what the call itself does, without what other load does to it.
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';

const N = Number(process.argv[2] ?? 200_000);
const ROUNDS = Number(process.argv[3] ?? 5);
const DIST = path.resolve(process.argv[4] ?? path.join(import.meta.dirname, '../../.cache/modules'));
const { Memtable } = await import(pathToFileURL(path.join(DIST, 'lsm/memtable/memtable.js')).href);
const NO_TS = Number.NEGATIVE_INFINITY;
const ALL = Number.MAX_SAFE_INTEGER;
const SLICE = 1000;
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
  random: (i) => {
    const next = randomNumbers(i * 2654435761 + 7);
    for (let j = 0; j < 4; j++) next();
    return Uint8Array.from({ length: 16 }, () => next() >>> 24);
  },
  composite: (i) => text.encode((i & 1 ? 'orders/2026/' : 'invoice/202') + String(i).padStart(i & 1 ? 7 : 8, '0')),
};

/** Keys in the given order, one after the other in memory: reading them costs next to nothing beside the table. */
function keysInOrder(make, order) {
  const made = order.map(make);
  const all = new Uint8Array(made.reduce((sum, key) => sum + key.length, 0));
  let at = 0;
  return made.map((key) => {
    all.set(key, at);
    at += key.length;
    return new Uint8Array(all.buffer, at - key.length, key.length);
  });
}

/** Microseconds of CPU time of this process. */
function cpuMicros() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

const results = new Map();
function entry(form, name) {
  const id = `${name}|${form}`;
  if (!results.has(id)) results.set(id, { wholes: [], slices: [], steps: [] });
  return results.get(id);
}

/** Times `run(from, to)` over [0, count) in slices. */
function timed(form, name, count, run) {
  collect();
  const e = entry(form, name);
  const begin = cpuMicros();
  for (let from = 0; from < count; from += SLICE) {
    const to = Math.min(count, from + SLICE);
    const start = performance.now();
    run(from, to);
    e.slices.push(((performance.now() - start) * 1e6) / (to - from));
  }
  e.wholes.push(((cpuMicros() - begin) * 1000) / count);
}

/** Calls `step` until it returns true; records the time per row and of each step. */
function stepped(form, name, rows, step) {
  collect();
  const steps = entry(form, `STALL ${name}, longest step, ms`).steps;
  const begin = cpuMicros();
  let i = 0;
  for (let done = false; !done; i++) {
    const start = performance.now();
    done = step();
    const ms = performance.now() - start;
    steps[i] = Math.min(steps[i] ?? ms, ms);
  }
  entry(form, `${name}, per row`).wholes.push(((cpuMicros() - begin) * 1000) / rows);
}

let slab = new Uint8Array(65_536);
let slabUsed = 0;
/** What a reader does with a found value: copy it into memory it may hand out. */
function copyOut(bytes, start, length) {
  if (slabUsed + length > slab.length) {
    slab = new Uint8Array(65_536);
    slabUsed = 0;
  }
  if (length <= 16) for (let i = 0; i < length; i++) slab[slabUsed + i] = bytes[start + i];
  else slab.set(new Uint8Array(bytes.buffer, start, length), slabUsed);
  const out = new Uint8Array(slab.buffer, slabUsed, length);
  slabUsed = (slabUsed + length + 7) & ~7;
  return out;
}

let sink = 0;
function scan(table, count, reverse, from) {
  const cursor = table.cursor({ reverse, maxSeq: ALL });
  let left = count;
  for (let s = cursor.seek(from); s === 1 && left > 0; s = cursor.next(), left--) {
    sink += cursor.keyLength + cursor.keyBuf[cursor.keyStart] + cursor.seq;
  }
}

function timedScan(form, name, table, rows, reverse, visit) {
  let cursor;
  timed(form, name, rows, (from, to) => {
    if (from === 0) {
      cursor = table.cursor({ reverse, maxSeq: ALL });
      cursor.seek(undefined);
    }
    for (let i = from; i < to; i++) {
      if (cursor.status !== 1) throw new Error('the scan ended early');
      visit(cursor);
      cursor.next();
    }
  });
  if (cursor.status !== 0) throw new Error('the scan did not end');
}

function visitFields(cursor) {
  sink += cursor.keyLength + cursor.keyBuf[cursor.keyStart] + cursor.seq;
}

let batch = [];
function visitToRow(cursor) {
  batch.push({
    key: copyOut(cursor.keyBuf, cursor.keyStart, cursor.keyLength),
    value: copyOut(cursor.valueBuf, cursor.valueStart, cursor.valueLength),
    seq: cursor.seq,
  });
  if (batch.length === 128) batch = [];
}

function round(form, seed, measured) {
  const note = measured ? form : 'warm';
  const n = measured ? N : Math.min(N, 20_000);
  const keys = keysInOrder(KEY_FORMS[form], shuffled(n, seed));
  const lookups = keysInOrder(KEY_FORMS[form], shuffled(n, seed + 1));
  const absent = keysInOrder((i) => text.encode('kez' + String(i).padStart(13, '0')), shuffled(n, seed + 2));
  const value = new Uint8Array(100).fill(7);
  const table = new Memtable({ hashSeed: 12345 });
  let seq = 0;
  const get = (key) => {
    const id = table.find(key, ALL);
    if (id >= 0) sink += copyOut(table.valueBufOf(id), table.valueStartOf(id), table.valueLengthOf(id)).length;
    return id;
  };

  timed(note, 'put', n, (from, to) => {
    for (let i = from; i < to; i++) table.add(keys[i], value, ++seq, 4, 1_760_000_000_000 + (i >> 4), NO_TS);
  });
  const payload = n * (keys[0].length + value.length);
  entry(note, 'bytes per entry beyond key + value').wholes.push((table.memoryBytes - payload) / n);
  timed(note, 'find random', n, (from, to) => {
    for (let i = from; i < to; i++) sink += table.find(lookups[i], ALL);
  });
  timed(note, 'get random, value copied out', n, (from, to) => {
    for (let i = from; i < to; i++) get(lookups[i]);
  });
  timed(note, 'get, 1000 hot keys', n, (from, to) => {
    for (let i = from; i < to; i++) get(lookups[i % 1000]);
  });
  timed(note, 'get, absent', n, (from, to) => {
    for (let i = from; i < to; i++) if (get(absent[i]) >= 0) throw new Error('found');
  });
  stepped(note, 'first order', n, () => table.prepareOrderStep());
  entry(note, 'bytes per entry beyond key + value, ordered').wholes.push((table.memoryBytes - payload) / n);
  timedScan(note, 'scan forward', table, n, false, visitFields);
  timedScan(note, 'scan reverse', table, n, true, visitFields);
  timedScan(note, 'scan forward to row objects, copied', table, n, false, visitToRow);
  timed(note, 'ranges of 100 rows, per row', n, (from, to) => {
    for (let i = from; i < to; i += 100) scan(table, 100, false, lookups[i]);
  });
  timed(note, 'seek', n / 10, (from, to) => {
    for (let i = from; i < to; i++) scan(table, 1, false, lookups[i]);
  });
  timed(note, 'overwrite', n, (from, to) => {
    for (let i = from; i < to; i++) table.add(lookups[i], value, ++seq, 4, 1_760_000_000_000, NO_TS);
  });
  timedScan(note, 'scan of two versions', table, 2 * n, false, visitFields);
  table.freeze();
  stepped(note, 'flush order of two versions', 2 * n, () => table.toFlush.step());
  for (const every of [100_000, 10_000, 1000, 100, 10]) {
    if (every * 2 > n) continue;
    const mixed = new Memtable({ hashSeed: 1 });
    timed(note, `put with a scan of 100 rows every ${every}`, n, (from, to) => {
      for (let i = from; i < to; i++) {
        mixed.add(keys[i], value, i, 4, 1_760_000_000_000, NO_TS);
        if (i % every === every - 1) scan(mixed, 100, false, lookups[i]);
      }
    });
  }
  const again = new Memtable({ hashSeed: 12345 });
  collect();
  const calls = entry(note, 'STALL put, longest, ms');
  if (calls.steps.length === 0) calls.steps = new Float64Array(n).fill(Number.POSITIVE_INFINITY);
  for (let i = 0; i < n; i++) {
    const start = performance.now();
    again.add(keys[i], value, i, 4, 1_760_000_000_000, NO_TS);
    const ms = performance.now() - start;
    if (ms < calls.steps[i]) calls.steps[i] = ms;
  }
}

const forms = process.argv[5] === undefined ? Object.keys(KEY_FORMS) : [process.argv[5]];
for (let i = 0; i < 3; i++) for (const form of forms) round(form, 11 + i, false);
for (let r = 0; r < ROUNDS; r++) for (const form of forms) round(form, 101, true);

const least = (a) => Math.min(...a);
const median = (a) => a.sort((x, y) => x - y)[a.length >> 1];
const names = [...new Set([...results.keys()].map((k) => k.split('|')[0]))];
console.log(
  `${N} entries, ${ROUNDS} rounds, Node ${process.version}; ns per operation: CPU time of the best round / median slice\n`,
);
console.log(`| operation | ${forms.join(' | ')} |\n|---|${forms.map(() => '---|').join('')}`);
for (const name of names) {
  const cells = forms.map((form) => {
    const e = results.get(`${name}|${form}`);
    if (e === undefined) return '-';
    if (e.steps.length > 0) return e.steps.reduce((a, b) => Math.max(a, b)).toFixed(2);
    return least(e.wholes).toFixed(0) + (e.slices.length > 0 ? ` / ${median(e.slices).toFixed(0)}` : '');
  });
  console.log(`| ${name} | ${cells.join(' | ')} |`);
}
if (sink === 1) console.log(sink);
