/**
 * `npm run crash -- [--cycles N] [--store local|minio|minio-server] [--seed N] [--minutes M]`: crash cycles of real processes, with
 * progress and totals; no cycle begins after M minutes, 60 by default. `minio` uses the server that SHALEDB_TEST_S3_ENDPOINT names, else a MinIO of its own; in `minio-server` it is
 * MinIO that is killed. The processes write, merge and collect; once no one is killed any more, what no manifest names has to go. Exit code
 * 1 if anything was lost, is left, or was not run.
 */
import { parseArgs } from 'node:util';
import * as minio from 'minio';
import { nextInt, SeededRandom } from '../../src/common/random.ts';
import { externalS3 } from '../support/external-s3.ts';
import { CrashRun } from './crash-cycles.ts';
import { crashBucket, crashDirectory, type DisposablePlace, killableMinio, serverCycle } from './crash-places.ts';
import { clearedOrphans } from './crash-rest.ts';
import { findMinio } from './minio-process.ts';

/** A database grows from cycle to cycle; after so many a new one is begun. */
const CYCLES_PER_DATABASE = 25;
const MAX_BATCHES_BEFORE = 150;

const { values } = parseArgs({
  options: {
    cycles: { type: 'string', default: '100' },
    store: { type: 'string', default: 'local' },
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '60' },
  },
});
const cycles = Number(values.cycles);
const seed = Number(values.seed);
const startedMs = performance.now();
const isTimeOver = () => performance.now() - startedMs > Number(values.minutes) * 60_000;
const sum = { cycles: 0, killedOpening: 0, submitted: 0, acknowledged: 0, survived: 0, slowestRecoveryMs: 0 };
/** Tables that killed processes left in no manifest, at the end of each database. */
let orphans = 0;

function program(): string {
  const found = findMinio();
  if (found === undefined) throw new Error('there is no MinIO: set SHALEDB_MINIO, or SHALEDB_TEST_S3_ENDPOINT');
  return found;
}

async function newBucket(): Promise<DisposablePlace> {
  const external = externalS3(process.env);
  if (external === undefined) return killableMinio(program());
  const { hostname, port, protocol } = new URL(external.endpoint);
  const bucket = `shaledb-crash-${process.pid}-${sum.cycles}`;
  await new minio.Client({
    endPoint: hostname,
    port: Number(port || (protocol === 'https:' ? 443 : 80)),
    useSSL: protocol === 'https:',
    accessKey: external.accessKeyId,
    secretKey: external.secretAccessKey,
  }).makeBucket(bucket, external.region);
  return crashBucket(external, bucket);
}

async function runOneDatabase(databaseSeed: number, count: number): Promise<void> {
  const random = new SeededRandom(databaseSeed);
  const server = values.store === 'minio-server' ? await killableMinio(program()) : undefined;
  const place = server ?? (values.store === 'local' ? crashDirectory() : await newBucket());
  const run = new CrashRun(place, databaseSeed);
  try {
    for (let i = 0; i < count && !isTimeOver(); i++) {
      if (server === undefined) await run.cycle();
      else await serverCycle(run, server, nextInt(random, MAX_BATCHES_BEFORE));
      if ((i + 1) % 5 === 0) console.error(`  ${sum.cycles + i + 1} of ${cycles} cycles`);
    }
    orphans += await clearedOrphans(place.ours);
  } finally {
    await place.dispose();
  }
  const { totals } = run;
  sum.slowestRecoveryMs = Math.max(sum.slowestRecoveryMs, totals.slowestRecoveryMs);
  for (const name of ['cycles', 'killedOpening', 'submitted', 'acknowledged', 'survived'] as const) {
    sum[name] += totals[name];
  }
}

if (!['local', 'minio', 'minio-server'].includes(values.store)) throw new Error(`no such store: ${values.store}`);
for (let done = 0; done < cycles && !isTimeOver(); done += CYCLES_PER_DATABASE) {
  const databaseSeed = seed + done / CYCLES_PER_DATABASE;
  try {
    await runOneDatabase(databaseSeed, Math.min(CYCLES_PER_DATABASE, cycles - done));
  } catch (error) {
    console.error(error);
    console.log(
      `FAILED; repeat: npm run crash -- --store ${values.store} --cycles ${CYCLES_PER_DATABASE} --seed ${databaseSeed}`,
    );
    process.exit(1);
  }
}
console.log(
  `${values.store}: ${sum.cycles} cycles in ${Math.round((performance.now() - startedMs) / 1000)} s, ` +
    `${sum.killedOpening} of them killed while opening; ${sum.submitted} batches submitted, ${sum.acknowledged} known to be ` +
    `acknowledged, ${sum.survived} found, 0 acknowledged lost; slowest recovery ${Math.round(sum.slowestRecoveryMs)} ms; ` +
    `${orphans} tables in no manifest at the end, all collected`,
);
if (sum.cycles < cycles) console.log(`The time was over after ${sum.cycles} of ${cycles} cycles.`);
process.exit(sum.cycles < cycles ? 1 : 0);
