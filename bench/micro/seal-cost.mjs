// What a seal costs: bytes and time of building tables and WAL objects with it and without, by the size of a row.
// Run: npm run build:modules && node bench/micro/seal-cost.mjs [rows] ; the best of 151 interleaved rounds each, in CPU time of the
// process, so that a busy machine disturbs less.

const dist = new URL(process.env.SHALEDB_DIST ?? '../../.cache/modules/', import.meta.url);
const load = (name) => import(new URL(`format/${name}.js`, dist).href);
const [{ TableBuilder }, { chooseRowsPerCheck }, { encodeSeal }, { numberObjectId }, { NO_CODEC }] = await Promise.all([
  load('table-builder'),
  load('row-checks'),
  load('seal'),
  load('seal-records'),
  load('codecs'),
]);

const ROWS = Number(process.argv[2] ?? 20_000);
const ROUNDS = 151;
const KEY_BYTES = 16;
/** What a row of a block has besides key and value: three lengths, seq, flags, create time. */
const OVERHEAD_BYTES = 3 + 8 + 1 + 8;

const keys = new Uint8Array(ROWS * KEY_BYTES);
for (let i = 0; i < ROWS; i++) {
  const text = String(i * 7).padStart(KEY_BYTES, '0');
  for (let k = 0; k < KEY_BYTES; k++) keys[i * KEY_BYTES + k] = text.charCodeAt(k);
}
const values = new Uint8Array(1 << 20);
let x = 1;
for (let i = 0; i < values.length; i++) {
  x = (Math.imul(x, 1103515245) + 12345) >>> 0;
  values[i] = x >>> 24;
}

const identity = {
  databaseId: new Uint8Array(16).fill(1),
  objectId: numberObjectId(5),
  putId: '01M7Q5CQG10000000000000002',
  epoch: 1,
  role: 'writer',
  formatVersion: 2,
  codec: 'none',
  writtenAtMs: 1_790_000_000_000,
  newestManifestId: 4,
  software: [0, 1, 0],
};

function sealOf(tableType) {
  return ({ rows, minSeq, maxSeq, maxCreateTs, rowCount, batches }) =>
    encodeSeal(
      tableType === 'wal'
        ? {
            kind: 'wal',
            identity,
            wal: {
              predecessorKind: 'seal',
              predecessorDigest: new Uint8Array(16),
              firstSeq: minSeq,
              lastSeq: maxSeq,
              rows: rowCount,
              batches,
            },
            rows,
          }
        : {
            kind: 'table',
            identity,
            lineage: { level: 'l0', minSeq, maxSeq, maxCreateTs, rows: rowCount, replayAfterWalId: 4 },
            rows,
          },
    );
}

/** Builds one object; returns its size. */
function build(tableType, count, valueBytes, rowsPerCheck, makeSeal) {
  const builder = new TableBuilder({
    tableType,
    blockBytes: 4096,
    codec: NO_CODEC,
    filter: { form: 'legacy', bitsPerKey: 10, minKeys: 0 },
    rowsPerCheck,
    capacityBytes: count * (KEY_BYTES + valueBytes + OVERHEAD_BYTES + 12) + 4096,
  });
  const span = values.length - valueBytes;
  for (let i = 0; i < count; i++) {
    builder.add(keys, i * KEY_BYTES, KEY_BYTES, values, (i * 997) % span, valueBytes, i + 1, 4, 1.8e12 + i, 0);
  }
  return builder.finish(makeSeal).bytes.length;
}

function cpuNs(run) {
  const start = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(start);
  return (user + system) * 1000;
}

/** Objects of at most 2 MiB: larger ones would measure the memory of the machine. */
function measure(tableType, valueBytes) {
  const count = Math.min(ROWS, Math.floor((2 << 20) / (valueBytes + 40)));
  const bare = () => build(tableType, count, valueBytes, 0);
  const stored = build(tableType, Math.min(count, 2000), valueBytes, 0) / Math.min(count, 2000);
  const rowsPerCheck = tableType === 'wal' ? 1 : chooseRowsPerCheck(stored);
  const sealed = () => build(tableType, count, valueBytes, rowsPerCheck, sealOf(tableType));
  const bareBytes = bare();
  const sealedBytes = sealed();
  let bareNs = Number.POSITIVE_INFINITY;
  let sealedNs = Number.POSITIVE_INFINITY;
  for (let i = 0; i < ROUNDS; i++) {
    bareNs = Math.min(bareNs, cpuNs(bare) / count);
    sealedNs = Math.min(sealedNs, cpuNs(sealed) / count);
  }
  // A single row has one block and one check: what is left is the fixed part.
  const one =
    build(tableType, 1, 10, 1, sealOf(tableType)) - build(tableType, 1, 10, 0) - (tableType === 'wal' ? 7 : 6);
  const rowBytes = bareBytes / count;
  const cells = [
    tableType === 'wal' ? 'WAL object' : 'table',
    `${rowBytes.toFixed(0)} B`,
    `${rowsPerCheck}`,
    `${((100 * (sealedBytes - bareBytes)) / bareBytes).toFixed(2)} %`,
    `${((sealedBytes - bareBytes) / count).toFixed(2)} B`,
    `${one} B`,
    `${bareNs.toFixed(0)} ns`,
    `${(sealedNs - bareNs).toFixed(0)} ns`,
    `${(30 + 0.25 * rowBytes).toFixed(0)} ns`,
  ];
  console.log(cells.map((cell, i) => (i === 0 ? cell.padEnd(10) : cell.padStart(9))).join(' '));
}

console.log('object          row    check    grows  per row     fixed     build     added    target');
for (const tableType of ['compacted', 'wal']) {
  for (const valueBytes of [20, 74, 400, 1000]) measure(tableType, valueBytes);
}
