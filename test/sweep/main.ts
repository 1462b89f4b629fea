/**
 * `npm run sweep`: damages the reference databases in every single way and judges each. Options: `--database RS` (several,
 * comma-separated), `--kind flip|cut|delete|swap|all-of-kind|only-kind|half`, `--every N` (a sample), `--from K` (where a sample begins), `--case NAME`
 * (one damage, with its detail), `--workers N`, `--json FILE`.
 *
 * Progress on stderr, counts by section and outcome on stdout. Exit code 1 if a fault was met.
 */
import { fork } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { DAMAGE_KINDS, type DamageKind, damagesOf } from './damages.ts';
import { judge, OUTCOMES } from './judge.ts';
import { buildReference, REFERENCE_NAMES, type ReferenceName } from './references.ts';
import { faultsOf, isFault, SweepCounts, sweep } from './sweep.ts';

const PROGRESS_MS = 15_000;

const { values } = parseArgs({
  options: {
    database: { type: 'string', default: REFERENCE_NAMES.join(',') },
    kind: { type: 'string', default: DAMAGE_KINDS.join(',') },
    every: { type: 'string', default: '1' },
    from: { type: 'string', default: '0' },
    case: { type: 'string' },
    workers: { type: 'string', default: '1' },
    json: { type: 'string' },
  },
});
const databases = values.database.split(',') as ReferenceName[];
const kinds = values.kind.split(',') as DamageKind[];
const every = Number(values.every);
const from = Number(values.from);
const workers = Number(values.workers);

async function main(): Promise<number> {
  if (values.case !== undefined) return one(databases[0], values.case);
  const counts = new SweepCounts();
  const started = performance.now();
  if (workers > 1) await Promise.all(Array.from({ length: workers }, (_, i) => inProcess(i, counts)));
  else await here(counts);
  const seconds = (performance.now() - started) / 1000;
  if (process.send !== undefined) {
    process.send(counts.toJSON());
    return 0;
  }
  process.stdout.write(`${counts.table()}\n${counts.cases} cases in ${seconds.toFixed(0)} s\n`);
  for (const line of faultsOf(counts)) process.stdout.write(`${line}\n`);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(counts.toJSON(), null, 1)}\n`);
  return counts.faults > 0 ? 1 : 0;
}

async function here(counts: SweepCounts): Promise<void> {
  let saidAt = performance.now();
  for (const name of databases) {
    const reference = await buildReference(name);
    for (const kind of kinds) {
      await sweep(reference, kind, { every, from }, counts, (done) => {
        if (performance.now() - saidAt < PROGRESS_MS) return;
        saidAt = performance.now();
        process.stderr.write(`${name} ${kind}: ${done} cases, ${counts.faults} faults\n`);
      });
    }
  }
}

/** The same in a process of its own, for every `workers`-th case. */
function inProcess(i: number, counts: SweepCounts): Promise<void> {
  const args = ['test/sweep/main.ts', '--database', values.database, '--kind', values.kind];
  args.push('--every', String(every * workers), '--from', String(from + i * every));
  return new Promise((resolve, reject) => {
    const child = fork('scripts/run-typescript.mjs', args);
    child.on('message', (message) => counts.add(message as ReturnType<SweepCounts['toJSON']>));
    child.on('error', reject);
    child.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code}`))));
  });
}

async function one(database: ReferenceName, name: string): Promise<number> {
  const reference = await buildReference(database);
  for (const damage of damagesOf(reference, name.split(' ')[0] as DamageKind)) {
    if (damage.name !== name) continue;
    const judgement = await judge(reference, damage);
    process.stdout.write(`${JSON.stringify(judgement, null, 2)}\n`);
    return isFault(judgement, reference, damage) ? 1 : 0;
  }
  process.stdout.write(`${database} has no case ${JSON.stringify(name)}; outcomes are ${OUTCOMES.join(', ')}\n`);
  return 2;
}

process.exitCode = await main();
