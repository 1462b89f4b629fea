// Two builds compared: CPU time of reads, writes, opening and replay of one over that of the other, for a machine that others use too.
// Run: node bench/micro/two-builds.mjs --old DIST --new DIST [--rounds 9] [--phases put,tables:scan,open:tables] [--options JSON]
//
// A round of reads and writes is a process that has loaded both builds and measures them by turns, pass by pass, each with code and
// data of its own: what disturbs one pass disturbs the next. Opening and replay are timed in fresh processes by turns, in CPU time of
// the process and of its main thread alone, on copies of one database that the old build wrote. `--options` are for `open` of the new
// build only. A folder that is measured must be within a package of type "module", or Node reads every file to find out which kind it is.
//
// Printed: medians over the rounds of the median pass (of opening: of the time, ms), and of the ratio within a round.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { Workload } from '../workload.mjs';

const ROWS = 50_000;
const RANGES = 500;
const WARM_PASSES = 3;
const LEAST_PASSES = 9;
const LEAST_MS = 600;
const NOT_DURABLE = { awaitDurable: false };
const LARGE = { l0SstSizeBytes: 64 << 20, memoryBytes: 512 << 20 };
const FILE = fileURLToPath(import.meta.url);

const load = (dist) => import(pathToFileURL(path.resolve(dist, 'index.js')).href);
const cpuUs = (since) => {
  const { user, system } = process.cpuUsage(since);
  return user + system;
};

function expectRows(found, wanted) {
  if (found !== wanted) throw new Error(`wrong answer: ${found} rows for ${wanted}`);
}

/** Called once for each build, as text of its own: so no compiled code is shared. */
function phasesOf({ WriteBatch }, workload, fresh) {
  const { keys, values, writeOrder, readOrder, absentKeys, rangeStarts } = workload;
  async function writeBatches(db, size, from = 0, to = ROWS) {
    for (let start = from; start < to; start += size) {
      const batch = new WriteBatch();
      for (let i = start; i < Math.min(to, start + size); i++) batch.put(keys[writeOrder[i]], values[writeOrder[i]]);
      await db.write(batch, NOT_DURABLE);
    }
  }
  async function scanRows(db, range) {
    let rows = 0;
    for await (const { key, value } of db.scan(range)) if (key.length + value.length === 116) rows++;
    return rows;
  }
  async function getMany(db, size) {
    for (let start = 0; start < ROWS; start += size) {
      const wanted = Array.from(readOrder.subarray(start, start + size), (id) => keys[id]);
      for (const value of await db.getMany(wanted)) if (value?.length !== 100) expectRows(0, 1);
    }
  }
  async function get(db, wanted, times) {
    let found = 0;
    for (let i = 0; i < times; i++) if ((await db.get(wanted(i))) !== undefined) found++;
    return found;
  }
  const write = (run) => ({ rows: ROWS, before: fresh, run });
  const writes = {
    put: write(async (db) => {
      for (let i = 0; i < ROWS; i++) await db.put(keys[writeOrder[i]], values[writeOrder[i]], NOT_DURABLE);
    }),
    put256: write(async (db) => {
      for (let start = 0; start < ROWS; start += 256) {
        const ids = Array.from(writeOrder.subarray(start, start + 256));
        await Promise.all(ids.map((id) => db.put(keys[id], values[id], NOT_DURABLE)));
      }
    }),
    batch100: write((db) => writeBatches(db, 100)),
    batch1000: write((db) => writeBatches(db, 1000)),
  };
  const reads = {
    get: { rows: ROWS, run: async (db) => expectRows(await get(db, (i) => keys[readOrder[i]], ROWS), ROWS) },
    hot: { rows: ROWS, run: async (db) => expectRows(await get(db, (i) => keys[readOrder[i % 1000]], ROWS), ROWS) },
    absent: {
      rows: absentKeys.length,
      run: async (db) => expectRows(await get(db, (i) => absentKeys[i], absentKeys.length), 0),
    },
    many100: { rows: ROWS, run: (db) => getMany(db, 100) },
    many256: { rows: ROWS, run: (db) => getMany(db, 256) },
    scan: { rows: ROWS, run: async (db) => expectRows(await scanRows(db), ROWS) },
    ranges: {
      rows: RANGES * 100,
      async run(db) {
        for (let i = 0; i < RANGES; i++) {
          const from = rangeStarts[i];
          expectRows(await scanRows(db, { gte: keys[from], lt: keys[from + 100] }), 100);
        }
      },
    },
    batches: {
      rows: ROWS,
      async run(db) {
        const scan = db.scan();
        let rows = 0;
        for (let batch = []; rows === 0 || batch.length > 0; rows += batch.length) batch = await scan.nextBatch(1000);
        expectRows(rows, ROWS);
      },
    },
  };
  return { writes, reads, writeBatches, scanRows };
}

/** Where rows are read: memory, one table, or four tables and a memtable. */
const PLACES = {
  memory: (db, { writeBatches }) => writeBatches(db, 1000),
  async table(db, { writeBatches }) {
    await writeBatches(db, 1000);
    await db.flush({ type: 'memtable' });
  },
  async tables(db, { writeBatches }) {
    for (let part = 0; part < 5; part++) {
      await writeBatches(db, 1000, (part * ROWS) / 5, ((part + 1) * ROWS) / 5);
      if (part < 4) await db.flush({ type: 'memtable' });
    }
  },
};

async function prepare(dist, options, workload, root) {
  const module = await load(dist);
  let count = 0;
  const fresh = () => module.open(pathToFileURL(`${root}/${count++}`).href, { ...LARGE, ...options });
  const own = new Function(...Object.keys(SCOPE), `return ${phasesOf}`)(...Object.values(SCOPE));
  const all = own(module, workload, fresh);
  const phases = { ...all.writes };
  for (const [place, fill] of Object.entries(PLACES)) {
    const db = await fresh();
    await fill(db, all);
    await db.flush();
    for (let i = 0; i < ROWS; i += 8) await db.get(workload.keys[i]);
    for (const [name, { rows, run }] of Object.entries(all.reads))
      phases[`${place}:${name}`] = { rows, run: () => run(db) };
  }
  return phases;
}

const SCOPE = { ROWS, RANGES, NOT_DURABLE, expectRows };

async function pass({ rows, before, run }) {
  const db = await before?.();
  if (before !== undefined) globalThis.gc?.();
  const since = process.cpuUsage();
  await run(db);
  const ns = (cpuUs(since) * 1000) / rows;
  await db?.close();
  return ns;
}

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

/** One round: `{ phase: [old, new] }`, ns of CPU time per row. */
async function measureByTurns({ dists, options, wanted, isNewFirst }) {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'two-builds-'));
  const workload = new Workload(ROWS);
  const builds = [
    await prepare(dists[0], {}, workload, `${root}/old`),
    await prepare(dists[1], options, workload, `${root}/new`),
  ];
  const results = {};
  for (const name of Object.keys(builds[0]).filter((phase) => wanted === undefined || wanted.includes(phase))) {
    const passes = [[], []];
    const start = performance.now();
    for (let n = 0; n < LEAST_PASSES || performance.now() - start < LEAST_MS; n++) {
      const first = n % 2 === (isNewFirst ? 0 : 1) ? 1 : 0;
      for (const which of [first, 1 - first]) passes[which].push(await pass(builds[which][name]));
    }
    results[name] = passes.map((all) => median(all.slice(WARM_PASSES)));
  }
  fs.rmSync(root, { recursive: true, force: true });
  return results;
}

/** CPU time of the main thread, ms; undefined where the system does not say. */
function mainThreadMs() {
  try {
    return Number(fs.readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
  } catch {
    return undefined;
  }
}

async function measureOpening({ dist, options, directory }) {
  const before = process.cpuUsage();
  const { open } = await load(dist);
  const importMs = cpuUs(before) / 1000;
  globalThis.gc?.();
  const since = process.cpuUsage();
  const mainSince = mainThreadMs();
  const db = await open(pathToFileURL(directory).href, { ...LARGE, ...options });
  const openMs = cpuUs(since) / 1000;
  const mainMs = mainThreadMs();
  expectRows((await db.get('key0000000000100')).length, 100);
  return { importMs, openMs, ...(mainMs !== undefined && { mainMs: mainMs - mainSince }) };
}

/** Databases with all rows in four tables, closed, or in the log alone, of a process that was killed. */
async function writeDatabase({ dist, directory, kind }) {
  const { open, WriteBatch } = await load(dist);
  const workload = new Workload(ROWS);
  const db = await open(pathToFileURL(directory).href, LARGE);
  const { writeBatches } = phasesOf({ WriteBatch }, workload, undefined);
  for (let part = 0; part < 4; part++) {
    await writeBatches(db, 1000, (part * ROWS) / 4, ((part + 1) * ROWS) / 4);
    await db.flush(kind === 'tables' ? { type: 'memtable' } : {});
  }
  if (kind === 'tables') await db.close();
}

const TASKS = { measureByTurns, measureOpening, writeDatabase };

function inProcess(task, parameters) {
  const child = spawnSync(
    process.execPath,
    ['--expose-gc', FILE, '--task', task, '--parameters', JSON.stringify(parameters)],
    {
      encoding: 'utf8',
      timeout: 300_000,
    },
  );
  const line = child.stdout.split('\n').find((text) => text.startsWith('RESULT '));
  if (line === undefined) throw new Error(`${task} failed: ${child.error ?? ''} ${child.stderr.slice(-2000)}`);
  return JSON.parse(line.slice(7));
}

function measureOpenings(dists, options, kind, rounds, add) {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'two-builds-'));
  inProcess('writeDatabase', { dist: dists[0], directory: `${root}/0`, kind });
  for (let round = 0; round < rounds; round++) {
    const figures = [];
    for (const which of round % 2 === 0 ? [0, 1] : [1, 0]) {
      const directory = `${root}/${round + 1}-${which}`;
      fs.cpSync(`${root}/0`, directory, { recursive: true });
      figures[which] = inProcess('measureOpening', {
        dist: dists[which],
        options: which === 1 ? options : {},
        directory,
      });
      fs.rmSync(directory, { recursive: true, force: true });
    }
    for (const name of Object.keys(figures[0])) add(`open:${kind} ${name}`, [figures[0][name], figures[1][name]]);
    console.error(`opening, ${kind}: round ${round + 1} of ${rounds}`);
  }
  fs.rmSync(root, { recursive: true, force: true });
}

async function main() {
  const { values } = parseArgs({
    options: {
      old: { type: 'string' },
      new: { type: 'string' },
      rounds: { type: 'string', default: '9' },
      phases: { type: 'string' },
      options: { type: 'string', default: '{}' },
      task: { type: 'string' },
      parameters: { type: 'string' },
    },
  });
  if (values.task !== undefined) {
    const result = await TASKS[values.task](JSON.parse(values.parameters));
    // Ends a database in the log alone without closing it.
    fs.writeSync(1, `RESULT ${JSON.stringify(result ?? {})}\n`);
    process.exit(0);
  }
  if (values.old === undefined || values.new === undefined) throw new Error('needs --old and --new: folders of builds');
  const dists = [values.old, values.new];
  const options = JSON.parse(values.options);
  const rounds = Number(values.rounds);
  const wanted = values.phases?.split(',');
  const isWanted = (name) => wanted === undefined || wanted.includes(name);
  const all = new Map();
  const add = (name, pair) => all.set(name, [...(all.get(name) ?? []), pair]);
  for (const kind of ['tables', 'log'])
    if (isWanted(`open:${kind}`)) measureOpenings(dists, options, kind, rounds, add);
  if (wanted === undefined || wanted.some((name) => !name.startsWith('open:'))) {
    for (let round = 0; round < rounds; round++) {
      const results = inProcess('measureByTurns', { dists, options, wanted, isNewFirst: round % 2 === 1 });
      for (const [name, pair] of Object.entries(results)) add(name, pair);
      console.error(`reads and writes: round ${round + 1} of ${rounds}`);
    }
  }
  console.log('phase                      old       new   new/old');
  for (const [name, pairs] of all) {
    const [before, after] = [0, 1].map((which) =>
      median(pairs.map((pair) => pair[which]))
        .toFixed(1)
        .padStart(9),
    );
    const ratio = median(pairs.map((pair) => pair[1] / pair[0])).toFixed(3);
    console.log(`${name.padEnd(21)}${before} ${after} ${ratio.padStart(9)}`);
  }
}

await main();
