// Costs of the format layer per row: building tables, walking and searching blocks, hashing.
// Run: npm run build:modules && node bench/micro/format.mjs [rows] ; best and median of 9 rounds,
// in CPU time of the process, so that a busy machine disturbs less.

const dist = new URL(process.env.SHALEDB_DIST ?? '../../.cache/modules/', import.meta.url);
const load = (name) => import(new URL(`format/${name}.js`, dist).href);
const [
  { TableBuilder },
  { chooseRowsPerCheck },
  { decodeBlock },
  { BlockCursor, FoundRow, findInBlock },
  { verifyCrc },
] = await Promise.all([
  load('table-builder'),
  load('row-checks'),
  load('block'),
  load('block-cursor'),
  load('framing'),
]);
const [{ decodeIndex }, { blockEnd }, { NO_CODEC, loadCodec }, siphash, { decodeFilter }, { crc32, xxHash32 }] =
  await Promise.all([
    load('index-block'),
    load('table-layout'),
    load('codecs'),
    load('siphash'),
    load('filter'),
    load('checksum'),
  ]);

const ROWS = Number(process.argv[2] ?? 200_000);
const ROUNDS = 9;

function makeRows(valueBytes) {
  const keyBytes = 16;
  const keys = Buffer.alloc(ROWS * keyBytes);
  for (let i = 0; i < ROWS; i++) keys.write(String(i * 7).padStart(keyBytes, '0'), i * keyBytes, 'latin1');
  const values = new Uint8Array(1 << 20);
  let x = 1;
  for (let i = 0; i < values.length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    values[i] = x >>> 24;
  }
  return { keys: new Uint8Array(keys.buffer, keys.byteOffset, keys.length), keyBytes, values, valueBytes };
}

function build({ keys, keyBytes, values, valueBytes }, options = {}) {
  const builder = new TableBuilder({
    tableType: 'compacted',
    blockBytes: 4096,
    codec: NO_CODEC,
    filter: { form: 'composite', bitsPerKey: 10, minKeys: 0 },
    rowsPerCheck: 0,
    capacityBytes: ROWS * (keyBytes + valueBytes + 24),
    ...options,
  });
  const span = values.length - valueBytes;
  for (let i = 0; i < ROWS; i++) {
    builder.add(keys, i * keyBytes, keyBytes, values, (i * 997) % span, valueBytes, i + 1, 4, 1.8e12 + i, 0);
  }
  return builder.finish();
}

function blocksOf({ bytes, info }) {
  const index = decodeIndex(verifyCrc(bytes.subarray(info.indexOffset, info.indexOffset + info.indexLength), 'index'));
  const stored = [];
  for (let i = 0; i < index.blockCount; i++) stored.push(bytes.subarray(index.offset(i), blockEnd(info, index, i)));
  return { index, stored };
}

function iterate(blocks, move) {
  const cursor = new BlockCursor();
  let sum = 0;
  for (const block of blocks) {
    cursor.attach(block);
    if (move === 'next') while (cursor.next()) sum += cursor.valueLength;
    else for (let on = cursor.last(); on; on = cursor.prev()) sum += cursor.valueLength;
  }
  return sum;
}

function report(name, per, rawBytes, run) {
  const times = [];
  for (let i = 0; i < ROUNDS; i++) {
    const start = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(start);
    times.push((user + system) / 1000);
  }
  times.sort((a, b) => a - b);
  const text = (ms) => `${((ms * 1e6) / per).toFixed(1).padStart(9)} ns`;
  const rate = rawBytes > 0 ? `${Math.round(rawBytes / times[0] / 1e3)}`.padStart(7) + ' MB/s at best' : '';
  console.log(`${name.padEnd(46)}${text(times[0])}${text(times[ROUNDS >> 1])}${rate}`);
}

for (const valueBytes of [100, 1000]) {
  const rows = makeRows(valueBytes);
  const raw = ROWS * (rows.keyBytes + valueBytes);
  console.log(`\n${ROWS} rows, 16-byte keys, ${valueBytes}-byte values, 4 KiB blocks`);
  const table = build(rows);
  const { index, stored } = blocksOf(table);
  const average = table.info.indexOffset / ROWS;
  const perCheck = chooseRowsPerCheck(average);
  report('build: blocks, CRC', ROWS, raw, () => build(rows, { filter: undefined }));
  report('build: blocks, CRC, filter', ROWS, raw, () => build(rows));
  report(`build: the same, row checks (${perCheck} rows each)`, ROWS, raw, () =>
    build(rows, { rowsPerCheck: perCheck }),
  );
  report('build: the same, row checks (1 row each)', ROWS, raw, () => build(rows, { rowsPerCheck: 1 }));
  report('build: WAL object, row checks (1 row each)', ROWS, raw, () =>
    build(rows, { tableType: 'wal', rowsPerCheck: 1, blockBytes: 65_536 }),
  );
  const blocks = stored.map((s) => decodeBlock(verifyCrc(s, 'block'), 2));
  report('iterate: CRC, validation, cursor', ROWS, raw, () =>
    iterate(
      stored.map((s) => decodeBlock(verifyCrc(s, 'block'), 2)),
      'next',
    ),
  );
  report('validation alone', ROWS, raw, () => stored.map((s) => decodeBlock(s.subarray(0, s.length - 4), 2)));
  report('iterate: cursor alone', ROWS, raw, () => iterate(blocks, 'next'));
  report('iterate backward: cursor alone', ROWS, raw, () => iterate(blocks, 'prev'));

  const lookups = 100_000;
  const found = new FoundRow();
  const key = new Uint8Array(16);
  const cursor = new BlockCursor();
  const each = (visit) => {
    let x = 7;
    for (let n = 0; n < lookups; n++) {
      x = (Math.imul(x, 1103515245) + 12345) >>> 0;
      const i = x % ROWS;
      for (let k = 0; k < 16; k++) key[k] = rows.keys[i * 16 + k];
      visit(i);
    }
  };
  let hits = 0;
  // Blocks are chosen by the row's number, so that the search in the index is not counted.
  const blockOf = new Uint32Array(ROWS);
  for (let i = 0; i < ROWS; i++) {
    for (let k = 0; k < 16; k++) key[k] = rows.keys[i * 16 + k];
    let b = index.findStart(key);
    if (findInBlock(blocks[b], key, Number.MAX_SAFE_INTEGER, found) !== 1) b++;
    blockOf[i] = b;
  }
  report('pick a random key', lookups, 0, () => each((i) => (hits += blockOf[i] & 1)));
  report('findInBlock, random (with picking)', lookups, 0, () =>
    each((i) => (hits += findInBlock(blocks[blockOf[i]], key, Number.MAX_SAFE_INTEGER, found))),
  );
  report('seek, random (with picking)', lookups, 0, () =>
    each((i) => {
      cursor.attach(blocks[blockOf[i]]);
      if (cursor.seek(key)) hits++;
    }),
  );
  report('index.findStart + findInBlock (with picking)', lookups, 0, () =>
    each(() => (hits += findInBlock(blocks[index.findStart(key)], key, Number.MAX_SAFE_INTEGER, found))),
  );
  const { filterOffset, filterLength } = table.info;
  const filter = decodeFilter(
    verifyCrc(table.bytes.subarray(filterOffset, filterOffset + filterLength), 'filter'),
    'composite',
  );
  report('SipHash of a 16-byte key', ROWS, 0, () => {
    for (let i = 0; i < ROWS; i++) siphash.sipHash13(rows.keys, i * 16, 16);
  });
  report('SipHash + filter probe, present', ROWS, 0, () => {
    for (let i = 0; i < ROWS; i++) {
      siphash.sipHash13(rows.keys, i * 16, 16);
      if (filter.mayContain(siphash.sipLow, siphash.sipHigh)) hits++;
    }
  });
  report('SipHash + filter probe, absent', ROWS, 0, () => {
    for (let i = 0; i < ROWS; i++) {
      siphash.sipHash13(rows.keys, i * 16, 15);
      if (filter.mayContain(siphash.sipLow, siphash.sipHigh)) hits++;
    }
  });
}

console.log('\nchecksums');
const bytes = makeRows(100).values;
for (const n of [50, 110, 440, 4096]) {
  const count = Math.floor(bytes.length / n);
  const all = (hash) => () => {
    let sum = 0;
    for (let i = 0; i < count; i++) sum ^= hash(bytes, i * n, i * n + n);
    return sum;
  };
  report(
    `xxHash32 of ${n} bytes`,
    count,
    count * n,
    all((b, s, e) => xxHash32(b, s, e, 0)),
  );
  report(`CRC-32 of ${n} bytes`, count, count * n, all(crc32));
}

console.log('\ncodecs, 4 KiB blocks of 100-byte half-random values');
const text = makeRows(100);
for (let i = 0; i < text.values.length; i++) if (i % 100 < 50) text.values[i] = 97 + (i % 7);
const plain = blocksOf(build(text)).stored.slice(0, 500);
for (const name of ['lz4', 'snappy', 'zstd', 'zlib']) {
  const codec = await loadCodec(name);
  const total = plain.reduce((sum, b) => sum + b.length, 0);
  let packed = [];
  report(`${name}: compress, per block`, plain.length, total, () => {
    packed = plain.map((b) => codec.compress(b));
  });
  report(`${name}: decompress, per block`, plain.length, total, () => packed.map((b) => codec.decompress(b, 8192)));
}
