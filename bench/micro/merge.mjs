// What the merge of a compaction costs: 8 overlapping inputs, newest version of each key kept, blocks with CRC, filter, row checks.
// Run: npm run build:modules && node bench/micro/merge.mjs [--rows 50000] [--rounds 5] [--only WORDS] [--peer DIRECTORY]
//
// --peer: a directory with merge.mjs (class MergeJob) and sst.mjs (class SstWriter), as of the prototype from which the targets are;
// it merges the same rows in the same run, by turns. Figures are medians of CPU time; the ratio is of raw bytes (keys and values) per
// second, and the target is 0.65. Garbage is not collected between rounds: a collection that is asked for throws away compiled code, and
// both sides then mostly measure the compiler.
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values: args } = parseArgs({
  options: {
    rows: { type: 'string', default: '50000' },
    rounds: { type: 'string', default: '5' },
    peer: { type: 'string' },
    only: { type: 'string' },
  },
});
const ROWS = Number(args.rows);
const ROUNDS = Number(args.rounds);
const INPUTS = 8;
const KEY_BYTES = 16;
const WARM_UP = 3;

const dist = new URL(process.env.SHALEDB_DIST ?? '../../.cache/modules/', import.meta.url);
const load = (name) => import(new URL(`${name}.js`, dist).href);
const [{ MergeStep }, { TableBuilder }, { loadCodec }, { decodeIndex }, { unframeUnit }, { blockEnd }] =
  await Promise.all([
    load('compaction/merge-step'),
    load('format/table-builder'),
    load('format/codecs'),
    load('format/index-block'),
    load('format/framing'),
    load('format/table-layout'),
  ]);
const fromPeer = (name) => import(pathToFileURL(resolve(args.peer, name)).href);
const peer = args.peer && { ...(await fromPeer('merge.mjs')), ...(await fromPeer('sst.mjs')) };

function random(seed) {
  let s = seed;
  return () => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>>= 0);
  };
}

/** Keys in order, each for one input drawn at random; values of which a half is random. */
function makeRows(kind, valueBytes) {
  const total = ROWS * INPUTS;
  const draw = random(17);
  const keys = [];
  for (let i = 0; i < total; i++) {
    const key = Buffer.alloc(KEY_BYTES);
    if (kind === 'decimal') key.write(`key${String(i).padStart(13, '0')}`, 'latin1');
    else for (let k = 0; k < KEY_BYTES; k += 4) key.writeUInt32LE(draw(), k);
    keys.push(key);
  }
  keys.sort(Buffer.compare);
  const values = Array.from({ length: 1000 }, () => {
    const value = new Uint8Array(valueBytes).fill(0x78);
    for (let k = 0; k < valueBytes / 2; k++) value[k] = draw();
    return value;
  });
  const inputs = Array.from({ length: INPUTS }, () => []);
  for (const [i, key] of keys.entries()) {
    inputs[draw() % INPUTS].push({ key: new Uint8Array(key), value: values[i % 1000], seq: i + 1 });
  }
  return { inputs, rawBytes: total * (KEY_BYTES + valueBytes), total, valueBytes };
}

const FILTER = { form: 'composite', bitsPerKey: 10, minKeys: 0 };
const STRETCH_BYTES = 1 << 20;
const ulid = (n) => `01M7W60ETH9EVAJJ${String(n).padStart(10, '0')}`;

function ourJob({ inputs, total, valueBytes }, codec) {
  const tables = inputs.map((rows) => {
    const builder = new TableBuilder({
      tableType: 'compacted',
      blockBytes: 4096,
      codec,
      filter: FILTER,
      rowsPerCheck: 4,
      capacityBytes: rows.length * (KEY_BYTES + valueBytes + 24),
    });
    for (const { key, value, seq } of rows) {
      builder.add(key, 0, key.length, value, 0, value.length, seq, 4, 1.8e12 + seq, 0);
    }
    const { bytes, info } = builder.finish();
    const index = decodeIndex(
      unframeUnit(bytes.slice(info.indexOffset, info.indexOffset + info.indexLength), codec, 'index', 1 << 28),
    );
    const stretches = [];
    for (let i = 0; i < index.blockCount; ) {
      const base = index.offset(i);
      const first = i;
      const places = [];
      while (i < index.blockCount && (places.length === 0 || blockEnd(info, index, i) - base <= STRETCH_BYTES)) {
        places.push(index.offset(i) - base, blockEnd(info, index, i) - base);
        i++;
      }
      stretches.push({
        table: 0,
        block: first,
        bytes: bytes.slice(base, base + places.at(-1)),
        places: Uint32Array.from(places),
      });
    }
    return { info, stretches };
  });
  const plan = {
    jobId: ulid(1),
    manifestId: 1,
    segment: undefined,
    sources: tables.map(({ info }, i) => ({
      level: 'l0',
      runId: undefined,
      views: [
        {
          view: { viewId: ulid(i + 2), table: { id: ulid(i + 2), info, formatVersion: 2 }, visibleRange: undefined },
          owner: undefined,
        },
      ],
    })),
    destination: 1,
    barrier: Number.MAX_SAFE_INTEGER,
    tickMs: 1.7e12,
    isBottom: true,
    keptWhole: [],
    keptTombstones: [],
    output: { blockBytes: 4096, codec: codec.name, filter: FILTER, maxSstBytes: 1 << 28 },
  };
  const settings = {
    plan,
    rowsExpected: total,
    rowBytes: KEY_BYTES + valueBytes + 24,
    partBytes: 8 << 20,
    resume: undefined,
  };
  const codecs = new Map([[codec.name, codec]]);
  return () => {
    const step = new MergeStep(settings, {
      codecs,
      operator: undefined,
      filter: undefined,
      makeSeal: () => new Uint8Array(0),
    });
    const next = tables.map(() => 0);
    for (;;) {
      const answer = step.step(256);
      if (answer.kind === 'done') return answer.counts.rowsOut;
      if (answer.kind === 'bad') throw new Error(JSON.stringify(answer));
      if (answer.kind !== 'need') continue;
      const { input } = answer;
      const stretch = tables[input].stretches[next[input]++];
      if (stretch === undefined) step.end(input);
      else step.feed(input, stretch);
    }
  };
}

function peerJob({ inputs, valueBytes }) {
  const tables = inputs.map((rows) => {
    const writer = new peer.SstWriter(rows.length * (KEY_BYTES + valueBytes + 24) + 65536);
    for (const { key, value, seq } of rows) writer.add(key, 0, key.length, value, 0, value.length, seq, 0);
    return writer.finish();
  });
  return () => new peer.MergeJob(tables, { usePfx: true }).all().rows;
}

const median = (all) => all.toSorted((a, b) => a - b)[all.length >> 1];

for (const [what, kind, valueBytes, codecName] of [
  ['100-byte values, decimal keys', 'decimal', 100, 'none'],
  ['100-byte values, random keys', 'random', 100, 'none'],
  ['1 KiB values, decimal keys', 'decimal', 1024, 'none'],
  ['100-byte values, zstd', 'decimal', 100, 'zstd'],
]) {
  if (args.only !== undefined && !what.includes(args.only)) continue;
  const rows = makeRows(kind, valueBytes);
  const jobs = { 'the merge': ourJob(rows, await loadCodec(codecName)) };
  if (peer !== undefined && codecName === 'none') jobs.peer = peerJob(rows);
  const times = {};
  for (let round = 0; round < WARM_UP + ROUNDS; round++) {
    for (const [name, run] of Object.entries(jobs)) {
      const start = process.cpuUsage();
      if (run() !== rows.total) throw new Error(`${name} lost rows`);
      const { user, system } = process.cpuUsage(start);
      // The first rounds compile.
      if (round >= WARM_UP) (times[name] ??= []).push((user + system) / 1000);
    }
  }
  console.log(`\n${INPUTS} x ${ROWS} rows, ${what}`);
  const rate = (ms) => rows.rawBytes / ms / 1000;
  const best = (name) => Math.min(...times[name]);
  for (const name of Object.keys(jobs)) {
    const ms = median(times[name]);
    const perRow = `${((ms * 1e6) / rows.total).toFixed(0).padStart(7)} ns/row`;
    console.log(
      `${name.padEnd(12)}${ms.toFixed(0).padStart(7)} ms${perRow}${rate(ms).toFixed(0).padStart(6)} MB/s, at best ${rate(best(name)).toFixed(0)}`,
    );
  }
  if (jobs.peer === undefined) continue;
  const ratio = (of) => (of('peer') / of('the merge')).toFixed(2);
  console.log(`ratio ${ratio((name) => median(times[name]))}, of the best rounds ${ratio(best)}`);
}
