/**
 * Runs the phases on one peer, in a process of its own, and prints one line `RESULT {json}`. A peer is an adapter: plain
 * functions around its Node API, each in the form that its documentation recommends, without a promise layer of ours.
 *
 * Every phase is checked: each value read in a timed loop by length and first byte, each scan by rows and checksum, each
 * written database by a scan of all, and a sample of values byte by byte. A wrong answer ends the process with an error,
 * and with it the run.
 */
import fs from 'node:fs';
import { PEERS } from './phases.mjs';
import { VALUE_BYTES, Workload } from './workload.mjs';

const HOT_KEYS = 1000;
const IN_FLIGHT = 256;
/** Reads are repeated whole until this much time has passed: the fast ones would end within the machine's hiccups. */
const LEAST_READ_MS = 250;
/** Each peer first does everything once with this many rows in a throw-away database: compilers and caches warm up. */
const WARM_UP_KEYS = 2000;
/** A 4 KiB block holds 30 rows, so reading every 16th touches each block. */
const WARM_STRIDE = 16;
const SAMPLES = 256;

/**
 * adapter: `open(directory, profile)` with profile `{ use: 'write' | 'memory' | 'tables' | 'wal', keyCount }`, `close`, `put`,
 * `writeBatch(db, keys, values, ids, start, end)`, `get`, `getMany`, `settle` (all writes done), `toTables`,
 * `scanRows(db, gte?, lt?)` and `scanBatches(db, rows)` giving `{ rows, checksum }`, and optionally `getSync`, `warmScan`.
 * `memory`: `'same'` if reads before `toTables` come from memory, `'own'` if that takes a database opened for it, else absent.
 * `onlyInWal(directory)` says whether rows are in a log only.
 */
export async function runPeer(adapter) {
  const task = JSON.parse(process.argv[2]);
  try {
    if (task.kind === 'phases') await runPhases(adapter, task);
    else if (task.kind === 'fillWal') await fillWal(adapter, task);
    else if (task.kind === 'open') await timeOpen(adapter, task);
    else throw new Error(`unknown task ${task.kind}`);
  } catch (error) {
    console.error(`${adapter.name}: ${error?.stack ?? error}`);
    process.exit(1);
  }
  // Native peers keep threads and timers alive.
  process.exit(0);
}

function fail(message) {
  throw new Error(`wrong answer: ${message}`);
}

function printResult(result) {
  process.stdout.write(`RESULT ${JSON.stringify(result)}\n`);
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

async function collectGarbage() {
  await nextTurn();
  globalThis.gc?.();
  await nextTurn();
}

/** `VmHWM` is this process's own; `maxRSS` of getrusage can be inherited from the parent. */
function peakRssBytes() {
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}

class Recorder {
  results = {};

  /** Times `pass`, which does `opsPerPass` operations, at least once and until `leastMs` have gone by. */
  async time(phase, opsPerPass, leastMs, pass) {
    await collectGarbage();
    const cpuBefore = process.cpuUsage();
    const start = performance.now();
    let passes = 0;
    let elapsedMs = 0;
    do {
      await pass();
      passes++;
      elapsedMs = performance.now() - start;
    } while (elapsedMs < leastMs);
    const cpu = process.cpuUsage(cpuBefore);
    const ops = opsPerPass * passes;
    this.results[phase] = {
      value: (ops / elapsedMs) * 1000,
      cpuUs: (cpu.user + cpu.system) / ops,
      ops,
    };
  }
}

async function runPhases(adapter, task) {
  const warmUp = new Workload(WARM_UP_KEYS);
  await measureAll(adapter, `${task.directory}/warm-up`, warmUp, new Recorder(), 0);
  fs.rmSync(`${task.directory}/warm-up`, { recursive: true, force: true });
  const recorder = new Recorder();
  await measureAll(adapter, task.directory, new Workload(task.keyCount), recorder, LEAST_READ_MS);
  printResult({ phases: recorder.results, peakRssBytes: peakRssBytes() });
}

async function measureAll(adapter, directory, workload, recorder, leastMs) {
  const run = { adapter, directory, workload, recorder, leastMs };
  await measurePuts(run);
  await measureBatches(run, 100);
  const db = await measureBatches(run, 1000);
  if (adapter.memory === 'same') await measureMemory(run, db);
  await adapter.toTables(db);
  await warmTables(run, db);
  await measureTables(run, db);
  await adapter.close(db);
  if (adapter.memory === 'own') {
    const memoryDb = await adapter.open(`${directory}/memory`, { use: 'memory', keyCount: workload.keyCount });
    await load(run, memoryDb);
    await measureMemory(run, memoryDb);
    await adapter.close(memoryDb);
  }
}

function opsOf(run, name) {
  return Math.min(run.workload.keyCount, PEERS[run.adapter.name].limits?.[name] ?? Number.POSITIVE_INFINITY);
}

// --- writes

async function measurePuts(run) {
  const { adapter, directory, recorder, workload } = run;
  const { keys, values, writeOrder } = workload;
  const profile = { use: 'write', keyCount: workload.keyCount };

  const awaited = await adapter.open(`${directory}/put-awaited`, profile);
  const awaitedOps = opsOf(run, 'putAwaited');
  await recorder.time('putAwaited', awaitedOps, 0, async () => {
    for (let i = 0; i < awaitedOps; i++) {
      const id = writeOrder[i];
      await adapter.put(awaited, keys[id], values[id]);
    }
  });
  await verifyWritten(run, awaited, awaitedOps);
  await adapter.close(awaited);

  const inFlight = await adapter.open(`${directory}/put-in-flight`, profile);
  const inFlightOps = opsOf(run, 'putInFlight');
  await recorder.time('putInFlight', inFlightOps, 0, async () => {
    let pending = [];
    for (let i = 0; i < inFlightOps; i++) {
      const id = writeOrder[i];
      pending.push(adapter.put(inFlight, keys[id], values[id]));
      if (pending.length === IN_FLIGHT) {
        await Promise.all(pending);
        pending = [];
      }
    }
    await Promise.all(pending);
  });
  await verifyWritten(run, inFlight, inFlightOps);
  await adapter.close(inFlight);
}

/** Leaves the database of 1,000-row batches open: it holds all rows, and the reads go on with it. */
async function measureBatches(run, rowsPerBatch) {
  const { adapter, directory, recorder, workload } = run;
  const name = `batch${rowsPerBatch}`;
  const all = rowsPerBatch === 1000;
  const use = all ? 'tables' : 'write';
  const db = await adapter.open(`${directory}/${name}`, { use, keyCount: workload.keyCount });
  const rows = all ? workload.keyCount : opsOf(run, name);
  await recorder.time(name, rows, 0, () => writeBatches(run, db, rows, rowsPerBatch));
  if (all) return db; // every row of it is checked by the scans that follow
  await verifyWritten(run, db, rows);
  await adapter.close(db);
}

async function writeBatches({ adapter, workload }, db, rows, rowsPerBatch) {
  const { keys, values, writeOrder } = workload;
  for (let start = 0; start < rows; start += rowsPerBatch) {
    await adapter.writeBatch(db, keys, values, writeOrder, start, Math.min(rows, start + rowsPerBatch));
  }
}

async function load(run, db) {
  await writeBatches(run, db, run.workload.keyCount, 1000);
}

/** Untimed: the first `count` ids of the write order are there, nothing else, and a sample of them byte by byte. */
async function verifyWritten(run, db, count) {
  const { adapter, workload } = run;
  await adapter.settle(db);
  checkScan(await adapter.scanRows(db), workload.expectedOf(workload.writeOrder, count), 'scan after writing');
  await verifySample(run, db, count);
}

async function verifySample({ adapter, workload }, db, count) {
  const step = Math.max(1, Math.floor(count / SAMPLES));
  for (let i = 0; i < count; i += step) {
    const id = workload.writeOrder[i];
    const value = await adapter.get(db, workload.keys[id]);
    if (value == null || !workload.values[id].equals(value)) fail(`value of row ${id}`);
  }
  const absent = await adapter.get(db, workload.absentKeys[0]);
  if (absent != null) fail('an absent key is found');
}

function checkScan(found, expected, what) {
  if (found.rows !== expected.rows || found.checksum !== expected.checksum) {
    fail(`${what}: ${found.rows} rows (sum ${found.checksum}) for ${expected.rows} (${expected.checksum})`);
  }
}

// --- reads

async function measureMemory(run, db) {
  await run.adapter.settle(db);
  await measureGets(run, db, 'memory');
  await measureScan(run, db, 'memoryScan');
}

/** Untimed: one pass over all rows and blocks, so that what follows reads cached tables only. */
async function warmTables(run, db) {
  const { adapter, workload } = run;
  checkScan(
    await (adapter.warmScan ?? adapter.scanRows)(db),
    workload.expectedOf(workload.writeOrder, workload.keyCount),
    'warming scan',
  );
  for (let id = 0; id < workload.keyCount; id += WARM_STRIDE) {
    checkValue(await adapter.get(db, workload.keys[id]), id);
  }
  await verifySample(run, db, workload.keyCount);
}

async function measureTables(run, db) {
  const { adapter, recorder, workload, leastMs } = run;
  await measureGets(run, db, 'table');
  await measureGetMany(run, db);
  if (adapter.getSync) {
    const ops = opsOf(run, 'get');
    await recorder.time('tableSync', ops, leastMs, () => getAllSync(run, db, ops));
  }
  await measureScan(run, db, 'tableScan');
  await measureRanges(run, db);
  if (adapter.scanBatches) {
    const expected = workload.expectedOf(workload.writeOrder, workload.keyCount);
    await recorder.time('tableBatches', workload.keyCount, leastMs, async () => {
      checkScan(await adapter.scanBatches(db, 1000), expected, 'scan in batches');
    });
  }
}

function checkValue(value, id) {
  if (value == null || value.length !== VALUE_BYTES || value[0] !== (id & 255)) fail(`value of row ${id}`);
}

async function measureGets(run, db, prefix) {
  const { adapter, recorder, leastMs } = run;
  const { absentKeys, keys, readOrder } = run.workload;
  const ops = opsOf(run, 'get');
  await recorder.time(`${prefix}Random`, ops, leastMs, async () => {
    for (let i = 0; i < ops; i++) {
      const id = readOrder[i];
      checkValue(await adapter.get(db, keys[id]), id);
    }
  });
  const hotKeys = Math.min(HOT_KEYS, ops);
  await recorder.time(`${prefix}Hot`, ops, leastMs, async () => {
    for (let i = 0; i < ops; i++) {
      const id = readOrder[i % hotKeys];
      checkValue(await adapter.get(db, keys[id]), id);
    }
  });
  await recorder.time(`${prefix}Absent`, absentKeys.length, leastMs, async () => {
    for (let i = 0; i < absentKeys.length; i++) {
      if ((await adapter.get(db, absentKeys[i])) != null) fail('an absent key is found');
    }
  });
}

async function measureGetMany(run, db) {
  const { adapter, recorder, leastMs } = run;
  const { keys, readOrder } = run.workload;
  const ops = opsOf(run, 'get');
  await recorder.time('tableMany', ops, leastMs, async () => {
    for (let start = 0; start < ops; start += IN_FLIGHT) {
      const end = Math.min(ops, start + IN_FLIGHT);
      const wanted = new Array(end - start);
      for (let i = start; i < end; i++) wanted[i - start] = keys[readOrder[i]];
      const values = await adapter.getMany(db, wanted);
      if (values.length !== wanted.length) fail('getMany: number of values');
      for (let i = start; i < end; i++) checkValue(values[i - start], readOrder[i]);
    }
  });
}

function getAllSync(run, db, ops) {
  const { adapter, workload } = run;
  for (let i = 0; i < ops; i++) {
    const id = workload.readOrder[i];
    checkValue(adapter.getSync(db, workload.keys[id]), id);
  }
}

async function measureScan(run, db, phase) {
  const { adapter, recorder, workload, leastMs } = run;
  const expected = workload.expectedOf(workload.writeOrder, workload.keyCount);
  await recorder.time(phase, workload.keyCount, leastMs, async () => {
    checkScan(await adapter.scanRows(db), expected, phase);
  });
}

async function measureRanges(run, db) {
  const { adapter, recorder, workload, leastMs } = run;
  const { keys, rangeStarts } = workload;
  const ranges = Math.min(rangeStarts.length, PEERS[adapter.name].limits?.ranges ?? rangeStarts.length);
  const expected = workload.expectedOfRanges(ranges);
  await recorder.time('tableRanges', ranges * 100, leastMs, async () => {
    const found = { rows: 0, checksum: 0 };
    for (let i = 0; i < ranges; i++) {
      const part = await adapter.scanRows(db, keys[rangeStarts[i]], keys[rangeStarts[i] + 100]);
      found.rows += part.rows;
      found.checksum += part.checksum;
    }
    checkScan(found, expected, 'ranges');
  });
}

// --- opening

/** Writes all rows into the log only and dies without closing. */
async function fillWal(adapter, task) {
  const workload = new Workload(task.keyCount);
  const db = await adapter.open(task.directory, { use: 'wal', keyCount: task.keyCount });
  await load({ adapter, workload }, db);
  await adapter.settle(db);
  fs.writeSync(1, 'RESULT {}\n');
  process.kill(process.pid, 'SIGKILL');
  await new Promise(() => {});
}

/** Opens once, in this fresh process, and reads one key; then checks a sample. */
async function timeOpen(adapter, task) {
  const workload = new Workload(task.keyCount);
  if (task.source === 'wal' && !adapter.onlyInWal(task.directory)) fail('rows meant for the WAL alone are in tables');
  await collectGarbage();
  const use = task.source === 'wal' ? 'wal' : 'tables';
  const start = performance.now();
  const db = await adapter.open(task.directory, { use, keyCount: task.keyCount });
  const openMs = performance.now() - start;
  const id = workload.keyCount >> 1;
  checkValue(await adapter.get(db, workload.keys[id]), id);
  const firstGetMs = performance.now() - start;
  await verifySample({ adapter, workload }, db, workload.keyCount);
  printResult({ openMs, firstGetMs });
  await adapter.close(db);
}
