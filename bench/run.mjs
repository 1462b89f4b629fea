/**
 * Entry of `npm run bench`: ShaleDB beside SlateDB, classic-level and lmdb, then durable puts and the ingest. Prints Markdown and
 * writes an SVG and the raw figures. See README.md of this folder.
 *
 * Rounds interleave the peers (A B C A B C ...), one process per peer and round, so that a slow hour of the machine hits all
 * alike; what counts is the ratio of the medians.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { drawChart } from './chart.mjs';
import { describeMachine, machineLine, packageVersion, runChild, stopChild } from './children.mjs';
import { LIMIT_NAMES, PEERS } from './phases.mjs';
import { checkFloors, cpuTable, ratioTable, unsteadyPhases, verdictTable } from './report.mjs';

const USAGE = `npm run bench -- [options]
  --quick          3 rounds, 50,000 keys, shorter durable part
  --rounds N       rounds (5)
  --keys N         rows (200000)
  --peers A,B      of ${Object.keys(PEERS).join(', ')} (all)
  --parts A,B      of peers, durable, ingest (all)
  --minutes N      start no round that would end later, after the third (12)
  --dir PATH       where the databases are during the run (the system's temporary folder); a real disk, or durable figures mean nothing
  --json FILE      raw figures of all rounds (.cache/bench/bench.json)
  --svg FILE       chart (.cache/bench/bench.svg)
  --assert         exit with 1 if a floor is missed
`;

/** Seconds of one round of 200,000 keys on a machine with 2 slow cores, and of what does not depend on the keys. */
const ROUND_SECONDS = { shaledb: [8, 4], slatedb: [34, 20], 'classic-level': [8, 16], lmdb: [6, 5] };
const DURABLE_SECONDS = 15;
const INGEST_SECONDS = 20;
/** Fewer rounds than these have no median worth the name. */
const LEAST_ROUNDS = 3;
const CHILD_TIMEOUT_MS = 300_000;

function readOptions() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      keys: { type: 'string' },
      peers: { type: 'string', default: Object.keys(PEERS).join(',') },
      parts: { type: 'string', default: 'peers,durable,ingest' },
      minutes: { type: 'string', default: '12' },
      dir: { type: 'string', default: os.tmpdir() },
      json: { type: 'string', default: inRepository('.cache/bench/bench.json') },
      svg: { type: 'string', default: inRepository('.cache/bench/bench.svg') },
      assert: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    process.exit(0);
  }
  return {
    quick: values.quick,
    rounds: wholeNumber('--rounds', values.rounds ?? (values.quick ? 3 : 5), 1),
    keyCount: wholeNumber('--keys', values.keys ?? (values.quick ? 50_000 : 200_000), 2000),
    peers: listOf('--peers', values.peers, Object.keys(PEERS)),
    parts: listOf('--parts', values.parts, ['peers', 'durable', 'ingest']),
    minutes: wholeNumber('--minutes', values.minutes, 1),
    directory: path.resolve(values.dir),
    json: path.resolve(values.json),
    svg: path.resolve(values.svg),
    assert: values.assert,
  };
}

function inRepository(relative) {
  return fileURLToPath(new URL(`../${relative}`, import.meta.url));
}

function wholeNumber(name, text, least) {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least)
    throw new Error(`${name}: a whole number from ${least} on, not ${text}`);
  return value;
}

function listOf(name, text, known) {
  const wanted = text.split(',').filter(Boolean);
  const unknown = wanted.find((entry) => !known.includes(entry));
  if (unknown !== undefined || wanted.length === 0) throw new Error(`${name}: of ${known.join(', ')}, not ${text}`);
  return known.filter((entry) => wanted.includes(entry));
}

// A reader such as `head` may leave early; the files are written all the same.
process.stdout.on('error', (error) => {
  if (error.code !== 'EPIPE') throw error;
});

function print(text = '') {
  process.stdout.write(`${text}\n`);
}

function note(text) {
  process.stderr.write(`${text}\n`);
}

function estimatePeersSeconds({ rounds, keyCount, peers, parts }) {
  if (!parts.includes('peers')) return 0;
  const perRound = peers.map((peer) => (ROUND_SECONDS[peer][0] * keyCount) / 200_000 + ROUND_SECONDS[peer][1]);
  return rounds * perRound.reduce((sum, seconds) => sum + seconds, 0);
}

function estimateOtherSeconds({ parts, quick }) {
  let seconds = 0;
  if (parts.includes('durable')) seconds += quick ? DURABLE_SECONDS / 3 : DURABLE_SECONDS;
  if (parts.includes('ingest')) seconds += INGEST_SECONDS;
  return seconds;
}

function minutes(seconds) {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
}

// --- the peers, side by side

async function measurePeers(options, workDirectory) {
  const samples = {};
  const cpuSamples = {};
  const loadAverages = [];
  const start = performance.now();
  for (let round = 1; round <= options.rounds; round++) {
    for (const peer of options.peers) {
      const before = performance.now();
      await measureRound(peer, options.keyCount, path.join(workDirectory, peer), (phase, value, cpuUs) => {
        ((samples[peer] ??= {})[phase] ??= []).push(value);
        if (cpuUs !== undefined) ((cpuSamples[peer] ??= {})[phase] ??= []).push(cpuUs);
      });
      note(`round ${round} of ${options.rounds}: ${peer}, ${((performance.now() - before) / 1000).toFixed(0)} s`);
    }
    loadAverages.push(describeMachine().loadAverage[0]);
    const perRound = (performance.now() - start) / 1000 / round;
    if (round < options.rounds && round >= LEAST_ROUNDS) {
      const end = perRound * (round + 1) + estimateOtherSeconds(options);
      if (end > options.minutes * 60) {
        note(`stopping after ${round} rounds: another would end after --minutes ${options.minutes}`);
        return { samples, cpuSamples, loadAverages, rounds: round };
      }
    }
    const left = perRound * (options.rounds - round);
    if (left > 0) note(`about ${minutes(left)} left for the rounds`);
  }
  return { samples, cpuSamples, loadAverages, rounds: options.rounds };
}

/** One process for all phases, then a fresh one for each kind of opening. */
async function measureRound(peer, keyCount, directory, record) {
  const { script, hasWal } = PEERS[peer];
  const timeoutMs = CHILD_TIMEOUT_MS * Math.max(1, keyCount / 200_000);
  const run = (task, diesByItself = false) =>
    runChild(script, [JSON.stringify({ ...task, keyCount })], { timeoutMs, diesByItself });
  fs.mkdirSync(directory, { recursive: true });
  const { phases, peakRssBytes } = await run({ kind: 'phases', directory });
  for (const [phase, { value, cpuUs }] of Object.entries(phases)) record(phase, value, cpuUs);
  record('peakRss', peakRssBytes / 1e6);

  const inTables = path.join(directory, 'batch1000');
  const fromTables = await run({ kind: 'open', source: 'tables', directory: inTables });
  record('openTable', fromTables.openMs);
  record('openTableFirstGet', fromTables.firstGetMs);
  if (hasWal) {
    const inWal = path.join(directory, 'wal-only');
    await run({ kind: 'fillWal', directory: inWal }, true);
    const fromWal = await run({ kind: 'open', source: 'wal', directory: inWal });
    record('openWal', fromWal.openMs);
    record('openWalFirstGet', fromWal.firstGetMs);
  }
  fs.rmSync(directory, { recursive: true, force: true });
}

function limitsText(peers) {
  const limited = peers.filter((peer) => PEERS[peer].limits);
  const texts = limited.map((peer) => {
    const limits = Object.entries(PEERS[peer].limits);
    return `${PEERS[peer].title} ${limits.map(([name, most]) => `${most.toLocaleString('en')} ${LIMIT_NAMES[name]}`).join(', ')}`;
  });
  return texts.join('; ');
}

function printPeers(options, { samples, cpuSamples, loadAverages, rounds }) {
  const { peers, keyCount } = options;
  print(
    `## ${keyCount.toLocaleString('en')} rows, keys of 16 B, values of 100 B, medians of ${rounds} interleaved rounds\n\n` +
      'Median of the peer · **how many times ShaleDB is ahead** (worst case: our slowest round over their fastest). ' +
      'More than 1x is in favour of ShaleDB, for times and memory too.\n',
  );
  print(ratioTable(samples, peers));
  print(
    '\nNot the same promise: a write that nobody awaits survives a crash of the process in classic-level (page cache) and lmdb ' +
      '(map, without sync), while ShaleDB and SlateDB may lose the last 100 ms. Slow peers do fewer operations per phase: ' +
      `${limitsText(peers)}; the figures are rates. ` +
      'lmdb reads synchronously and has neither memtable nor log; "the synchronous get" is set against our awaited one.\n',
  );
  print(
    `Load average after each round: ${loadAverages.join(', ')}. A peer that hands each call to a thread changes with it (README).\n`,
  );
  const unsteady = unsteadyPhases(samples, peers);
  if (unsteady.length > 0) {
    print(
      `Unsteady, fastest round more than twice the slowest:\n\n${unsteady.map((line) => `- ${line}`).join('\n')}\n`,
    );
  }
  print(cpuTable(cpuSamples, peers));
  print();
}

// --- all of it

async function measurePart(script, options, workDirectory, nodeOptions) {
  const args = ['--dir', workDirectory, '--emit-result'];
  if (options.quick) args.push('--quick');
  const result = await runChild(script, args, { timeoutMs: CHILD_TIMEOUT_MS, nodeOptions, onLine: print });
  print();
  return result;
}

function writeFile(file, text) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
  note(`wrote ${path.relative(process.cwd(), file)}`);
}

async function main() {
  const options = readOptions();
  const machine = describeMachine();
  const date = new Date().toISOString().slice(0, 10);
  const versions = Object.fromEntries(options.peers.map((peer) => [peer, packageVersion(PEERS[peer].package)]));
  const workDirectory = fs.mkdtempSync(path.join(options.directory, 'shaledb-bench-'));
  const removeAll = () => fs.rmSync(workDirectory, { recursive: true, force: true });
  process.once('exit', removeAll);
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => {
      stopChild();
      process.exit(130);
    });
  }

  note(`estimate: ${minutes(estimatePeersSeconds(options) + estimateOtherSeconds(options))}`);
  print(
    `# ShaleDB benchmark\n\n${date} · ${machineLine(machine)} · ${Object.entries(versions)
      .map(([peer, version]) => `${PEERS[peer].package} ${version}`)
      .join(', ')}`,
  );
  print(`Load average at the start: ${machine.loadAverage.join(', ')}.\n`);
  const figures = { date, machine, versions, keyCount: options.keyCount };
  const verdicts = [];
  if (options.parts.includes('peers')) {
    Object.assign(figures, await measurePeers(options, workDirectory));
    printPeers(options, figures);
    verdicts.push(...checkFloors(figures.samples));
    const subtitle = `${options.keyCount.toLocaleString('en')} rows of 16 + 100 B, median of ${figures.rounds} interleaved rounds`;
    writeFile(
      options.svg,
      drawChart({
        samples: figures.samples,
        peers: options.peers,
        subtitle,
        machine: machineLine(machine),
        date,
        versions,
      }),
    );
  }
  if (options.parts.includes('durable')) {
    figures.durable = await measurePart('durable.mjs', options, workDirectory, []);
    verdicts.push(...figures.durable.verdicts);
  }
  if (options.parts.includes('ingest')) {
    figures.ingest = await measurePart('ingest.mjs', options, workDirectory, []);
    verdicts.push(...figures.ingest.verdicts);
  }

  figures.verdicts = verdicts;
  writeFile(options.json, `${JSON.stringify(figures, undefined, 1)}\n`);
  const missed = verdicts.filter(({ ok }) => !ok).length;
  if (verdicts.length > 0) {
    print(`## Floors\n\n${verdictTable(verdicts)}\n`);
    print(missed === 0 ? `All ${verdicts.length} floors hold.` : `${missed} of ${verdicts.length} floors missed.`);
  }
  if (options.assert && (missed > 0 || verdicts.length === 0)) process.exitCode = 1;
}

main().catch((error) => {
  note(`bench: ${error.message}`);
  process.exitCode = 2;
});
