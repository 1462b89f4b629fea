// A compaction of everything, by ShaleDB and by SlateDB 0.17's own compactor, over the same tables, by turns in one run.
// Run: npm run build && SHALEDB_SLATEDB_PYTHON=... node bench/micro/compact-slatedb.mjs [--rows 50000] [--rounds 5] [--value 100] [--threads 1] [--codec none]
//
// 8 overlapping tables of level 0 in a local directory become one run. Both work on a copy of the same directory in a process that lasts:
// SlateDB in its Python package (`test/support/slatedb_017_driver.py`), ShaleDB in a child of Node. What counts is the CPU time of the whole
// process for the job, threads included, less that of the same call where nothing is to be merged (opening, listing, closing), and the
// wall time; the first two rounds are not counted, Node compiles in them. Raw bytes: keys and values.
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { distUrl } from '../dist-url.mjs';

const { values: args } = parseArgs({
  options: {
    rows: { type: 'string', default: '50000' },
    rounds: { type: 'string', default: '5' },
    value: { type: 'string', default: '100' },
    threads: { type: 'string', default: '1' },
    codec: { type: 'string', default: 'none' },
    child: { type: 'boolean', default: false },
  },
});
const INPUTS = 8;
const KEY_BYTES = 16;
const WARM_UP = 2;
/** Clock ticks of /proc, per second. */
const TICK_MS = 10;
const LIMIT_MS = 180_000;

/** The child: one compaction for each line. */
async function serve() {
  const { compact } = await import(distUrl('admin.js'));
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, url } = JSON.parse(line);
    const threads = args.threads === 'off' ? 'off' : Number(args.threads);
    const logger = { debug() {}, info() {}, warn: console.error, error: console.error };
    try {
      await compact(url, { apply: true, liveCheckMs: 0, threads, logger });
      process.stdout.write(`${JSON.stringify({ id, result: {} })}\n`);
    } catch (error) {
      process.stdout.write(`${JSON.stringify({ id, error: { message: String(error?.stack ?? error) } })}\n`);
    }
  }
}

async function measure() {
  const python = process.env.SHALEDB_SLATEDB_PYTHON;
  if (python === undefined)
    throw new Error('SHALEDB_SLATEDB_PYTHON names the Python in which SlateDB 0.17 is installed');
  const work = mkdtempSync(join(tmpdir(), 'shaledb-compact-'));
  const self = fileURLToPath(import.meta.url);
  const driver = fileURLToPath(new URL('../../test/support/slatedb_017_driver.py', import.meta.url));
  const ours = new Child(process.execPath, [self, '--child', '--threads', args.threads]);
  const theirs = new Child(python, [driver]);
  try {
    const original = join(work, 'original');
    await makeDatabase(original);
    const rounds = { ours: [], theirs: [] };
    for (let round = 0; round < WARM_UP + Number(args.rounds); round++) {
      const found = {};
      for (const [name, child] of round % 2 === 0
        ? [
            ['ours', ours],
            ['theirs', theirs],
          ]
        : [
            ['theirs', theirs],
            ['ours', ours],
          ]) {
        const copy = join(work, `${name}-${round}`);
        cpSync(original, copy, { recursive: true });
        const request =
          name === 'ours'
            ? { url: String(pathToFileURL(join(copy, 'db'))) }
            : { op: 'compactAll', directory: copy, path: 'db' };
        const full = await child.timed(request);
        const idle = await child.timed(request);
        found[name] = { cpuMs: full.cpuMs - idle.cpuMs, wallMs: full.wallMs - idle.wallMs };
        rmSync(copy, { recursive: true });
      }
      if (round < WARM_UP) continue;
      for (const name of ['ours', 'theirs']) rounds[name].push(found[name]);
      process.stderr.write(`${JSON.stringify(found)}\n`);
    }
    report(rounds);
  } finally {
    ours.end();
    theirs.end();
    rmSync(work, { recursive: true, force: true });
  }
}

function report(rounds) {
  const rawMb = (Number(args.rows) * INPUTS * (KEY_BYTES + Number(args.value))) / 1e6;
  const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
  const of = (name, what) => median(rounds[name].map((round) => round[what]));
  const ratios = (what) => median(rounds.ours.map((round, i) => round[what] / rounds.theirs[i][what]));
  const figures = {
    rawMb,
    threads: args.threads,
    oursCpuMsPerMb: of('ours', 'cpuMs') / rawMb,
    slateDbCpuMsPerMb: of('theirs', 'cpuMs') / rawMb,
    cpuRatio: ratios('cpuMs'),
    oursMbPerS: (rawMb / of('ours', 'wallMs')) * 1000,
    slateDbMbPerS: (rawMb / of('theirs', 'wallMs')) * 1000,
    wallRatio: ratios('wallMs'),
  };
  for (const [name, value] of Object.entries(figures)) {
    console.log(`${name}: ${typeof value === 'number' ? Math.round(value * 100) / 100 : value}`);
  }
}

async function makeDatabase(directory) {
  const { open } = await import(distUrl('index.js'));
  const db = await open(String(pathToFileURL(join(directory, 'db'))), {
    compatibility: 'slatedb-0.17',
    compressionCodec: args.codec,
    compactor: false,
    gc: false,
    memoryBytes: 512 << 20,
    logger: { debug() {}, info() {}, warn: console.error, error: console.error },
  });
  const value = new Uint8Array(Number(args.value)).fill(0x78);
  for (let input = 0; input < INPUTS; input++) {
    for (let i = 0; i < Number(args.rows); i++) {
      crypto.getRandomValues(value.subarray(0, value.length >> 1));
      await db.put(`key${String(i * INPUTS + input).padStart(KEY_BYTES - 3, '0')}`, value, { awaitDurable: false });
    }
    await db.flush({ type: 'memtable' });
  }
  await db.close();
}

/** A process that answers lines of JSON with lines of JSON. */
class Child {
  #process;
  #lines;
  #id = 0;

  constructor(command, parameters) {
    this.#process = spawn(command, parameters, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  async timed(request) {
    const cpuBefore = this.#cpuMs();
    const before = performance.now();
    const id = ++this.#id;
    this.#process.stdin.write(`${JSON.stringify({ id, ...request })}\n`);
    const late = setTimeout(() => this.#process.kill('SIGKILL'), LIMIT_MS);
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error('the child has ended');
      const answer = JSON.parse(value);
      if (answer.id !== id) continue;
      clearTimeout(late);
      if (answer.error !== undefined) throw new Error(answer.error.message);
      return { wallMs: performance.now() - before, cpuMs: this.#cpuMs() - cpuBefore };
    }
  }

  /** Of the whole process, user and system. */
  #cpuMs() {
    const fields = readFileSync(`/proc/${this.#process.pid}/stat`, 'latin1').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  }

  end() {
    this.#process.stdin.end();
  }
}

if (args.child) await serve();
else await measure();
