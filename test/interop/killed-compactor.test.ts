/**
 * Our compactor is killed at the manifest that carries its result, before it is stored or after it. SlateDB (0.12.1, 0.17.0 and 0.18.0,
 * live) then opens the database with its own compactor: it ends the job that was left, and goes on to merge what is written.
 */
import { expect, it } from 'vitest';
import { SYSTEM_RANDOM } from '../../src/common/random.ts';
import { makeUlid } from '../../src/common/ulid.ts';
import { type CompactionJob, decodeCompactions, encodeCompactions } from '../../src/format/compactions-codec.ts';
import { compactionsPath, parseManifestPath } from '../../src/format/object-names.ts';
import { findNewestCompactions } from '../../src/lsm/manifest/compactions-store.ts';
import { loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { open } from '../../src/open.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import { forwarding } from '../support/forwarding-store.ts';
import { newestManifest } from '../support/golden-database.ts';
import { describeHandoversInDirectory, expectManifestsToContinue, Handover } from '../support/handover-places.ts';
import { incarnation } from '../support/incarnation-store.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const LIMIT_MS = 60_000;
/** Level 0 of SlateDB: from so many tables on it merges. */
const TABLES = 4;
const ACTIVE = ['submitted', 'scheduled', 'running', 'compacted'];

describeHandoversInDirectory((partners) => {
  const { version } = partners;
  const handover = new Handover(partners, ({ ours }) => expectManifestsToContinue(ours));
  const rows = new Map<string, string>();

  /** One of its own for each table, and one that all tables have: they cannot just be moved. */
  function nextRows(): [string, string][] {
    const n = rows.size;
    const next: [string, string][] = [
      [`key ${n}`, `value ${n}`],
      ['shared', `value ${n}`],
    ];
    for (const row of next) rows.set(...row);
    return next;
  }

  async function activeJobs(): Promise<string[]> {
    const store = prefixedStore(handover.place.ours.store, handover.place.ours.path);
    const file = await store.get(compactionsPath((await findNewestCompactions(store))!));
    const { jobs } = decodeCompactions(file!.bytes).compactions;
    return jobs.filter(({ status }) => ACTIVE.includes(status)).map(({ id, status }) => `${id} ${status}`);
  }

  /** As an operator of SlateDB 0.12 would: a job of the only table of level 0 and the only run. */
  async function submit(): Promise<void> {
    const store = prefixedStore(handover.place.ours.store, handover.place.ours.path);
    const { l0, runs } = await newestManifest(handover.place.ours);
    const id = (await findNewestCompactions(store))!;
    const { compactions } = decodeCompactions((await store.get(compactionsPath(id)))!.bytes);
    const last = compactions.jobs
      .map((job) => job.id)
      .sort()
      .at(-1);
    const job: CompactionJob = {
      id: makeUlid(Date.now(), SYSTEM_RANDOM, last),
      status: 'submitted',
      spec: {
        kind: 'tiered',
        deprecatedTables: undefined,
        l0ViewIds: l0.map(({ viewId }) => viewId),
        runs: runs.map((run) => run.id),
        segment: undefined,
        destination: runs[0]!.id,
      },
      outputs: undefined,
      worker: undefined,
      context: undefined,
    };
    const bytes = encodeCompactions({ ...compactions, jobs: [...compactions.jobs, job] });
    await store.put(compactionsPath(id + 1), bytes, { condition: 'if-absent', putId: job.id });
  }

  const profiles = version === '0.12.1' ? (['slatedb-0.12'] as const) : (['slatedb-0.12', 'slatedb-0.17'] as const);
  const cases = profiles.flatMap((profile) =>
    (['before', 'after'] as const).flatMap((when) =>
      [false, true].map((isSubmitted) => ({ profile, when, isSubmitted })),
    ),
  );
  it.each(cases)(
    'with compatibility $profile, killed $when the manifest is stored, of a job that was submitted: $isSubmitted',
    async ({ profile, when, isSubmitted }) => {
      rows.clear();
      const { ours, slate: place } = handover.place;
      const process = incarnation(ours.store);
      let runs: number | undefined;
      const killing = {
        ...forwarding(process.store),
        async put(path: string, bytes: Uint8Array, options: Parameters<typeof process.store.put>[2]) {
          const id = parseManifestPath(path.slice(ours.path.length + 1));
          const isResult = id !== undefined && runs !== undefined && loadManifest(id, bytes).manifest.l0.length === 0;
          if (!isResult) return process.store.put(path, bytes, options);
          if (when === 'after') await ours.store.put(path, bytes, options);
          process.kill();
          died();
          return new Promise<never>(() => undefined);
        },
      };
      let died = (): void => undefined;
      const death = new Promise<void>((resolve) => {
        died = resolve;
      });
      const db = await open({ ...ours, store: killing }, { compatibility: profile, logger: QUIET, gc: false });
      const table = async () => {
        for (const [key, value] of nextRows()) await db.put(key, value);
        await db.flush({ type: 'memtable' });
      };
      await table();
      await db.compact();
      await table();
      // The job has a run among its sources, and goes into it.
      runs = (await newestManifest(ours)).runs.length;
      expect(runs).toBe(1);
      if (isSubmitted) await submit();
      void db.compact().catch(() => undefined);
      await death;

      const slate = handover.newSlate();
      await slate.open(place, { compactor: true });
      for (let i = 0; i < TABLES; i++) {
        for (const [key, value] of nextRows()) await slate.put(key, value);
        await slate.flush('memtable');
      }
      for (const limit = Date.now() + LIMIT_MS; ; ) {
        const { l0 } = await newestManifest(ours);
        const active = await activeJobs();
        if (l0.length < TABLES && active.length === 0) break;
        expect(Date.now(), `${l0.length} tables in level 0, jobs ${active.join(', ')}`).toBeLessThan(limit);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      const read = await slate.scan();
      expect(read.map(({ key, value }) => [Buffer.from(key).toString(), Buffer.from(value).toString()])).toEqual(
        [...rows].sort(([a], [b]) => (a < b ? -1 : 1)),
      );
      await slate.close();
    },
  );
});
