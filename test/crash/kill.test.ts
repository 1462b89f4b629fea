/** SIGKILL at random moments, of the writing process and of the server: see crash-cycles.ts for what must hold. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeWithS3, ensureBuilt } from '../support/environment.ts';
import { type CrashPlace, CrashRun } from './crash-cycles.ts';
import {
  crashBucket,
  crashDirectory,
  type DisposablePlace,
  type KillableServer,
  killableMinio,
  serverCycle,
} from './crash-places.ts';
import { clearedOrphans, hasMergedAndCollected, leftTables } from './crash-rest.ts';
import { findMinio } from './minio-process.ts';

const SEED = 1;
const LOCAL_CYCLES = 20;
const S3_CYCLES = 4;

beforeAll(ensureBuilt);

async function cycles(place: CrashPlace, count: number): Promise<void> {
  const run = new CrashRun(place, SEED);
  for (let i = 1; i < count; i++) await run.cycle();
  // The lives before may all be too short for a round of the collector.
  await run.cycleUntil(() => hasMergedAndCollected(place.ours));
  const { totals } = run;
  expect(totals.cycles).toBe(count);
  // Otherwise nothing was tested.
  expect(totals.acknowledged).toBeGreaterThan(count);
  expect(totals.survived).toBeGreaterThanOrEqual(totals.acknowledged);
  const { inRuns, manifestIds } = await leftTables(place.ours);
  expect([inRuns > 0, manifestIds[0]! > 1]).toEqual([true, true]);
  await clearedOrphans(place.ours);
  expect((await leftTables(place.ours)).inRuns).toBe(1);
}

describe('a writing process that is killed again and again', () => {
  let place: DisposablePlace;
  beforeAll(() => {
    place = crashDirectory();
  });
  afterAll(() => place.dispose());

  it('leaves a prefix with everything acknowledged, and what a process then collects, in a directory', () =>
    cycles(place, LOCAL_CYCLES));
});

describeWithS3('a process that writes to S3 and is killed again and again', (s3) => {
  it('leaves a prefix with everything acknowledged', async () => {
    const place = crashBucket(s3, await s3.freshBucket());
    await cycles(place, S3_CYCLES);
    await place.dispose();
  });
});

describe.skipIf(findMinio() === undefined)('a server that is killed in mid-load and comes back elsewhere', () => {
  let place: KillableServer;
  beforeAll(async () => {
    place = await killableMinio(findMinio()!);
  });
  afterAll(() => place?.dispose());

  it('costs nothing that was acknowledged, and the writer goes on', async () => {
    const run = new CrashRun(place, SEED);
    await serverCycle(run, place, 30);
    await serverCycle(run, place, 5);
    expect(run.totals.survived).toBe(run.totals.submitted);
  });
});
