/**
 * Sealed tables in a store, and jobs over them: the real executor with the real merge, on virtual time. What a job wrote is read through the
 * footers of its tables and compared with the plain model.
 */
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import { SeededRandom } from '../../src/common/random.ts';
import { makeUlid, type Ulid, ulidToBytes } from '../../src/common/ulid.ts';
import type { CompactionPlan, JobResult, PlannedSource } from '../../src/compaction/compaction-plan.ts';
import { type DividedJobOptions, runDividedJob } from '../../src/compaction/divided-job.ts';
import type { JobRunOptions } from '../../src/compaction/job-run.ts';
import { SlicedMerges } from '../../src/compaction/merge-host.ts';
import { ByteRate } from '../../src/compaction/throttle.ts';
import { type BlockCodec, NO_CODEC } from '../../src/format/codecs.ts';
import type { BytesRange } from '../../src/format/manifest-types.ts';
import { tablePath } from '../../src/format/object-names.ts';
import { encodeSeal } from '../../src/format/seal.ts';
import { TableBuilder } from '../../src/format/table-builder.ts';
import { Author } from '../../src/lsm/manifest/author.ts';
import { databaseStores } from '../../src/lsm/manifest/database-stores.ts';
import { emptyManifest } from '../../src/lsm/manifest/manifest-edits.ts';
import { FaultyStore } from '../../src/store/faulty-store.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { uploadsOf } from '../../src/store/upload-calls.ts';
import { OUTPUT, rowsOfTable } from './merge-inputs.ts';
import { type ModelVersion, modelOfRow, rowOfModel } from './version-model.ts';

const JOB = '01M7W60ETH0000000000000001' as Ulid;

export interface StoredTable {
  id: Ulid;
  versions: readonly ModelVersion[];
  view: PlannedSource['views'][number];
}

export class JobWorld {
  readonly clock = new ManualClock();
  readonly random = new SeededRandom(5);
  readonly memory = new MemoryStore({ clock: this.clock });
  readonly faulty: FaultyStore;
  readonly requests: string[] = [];
  readonly findings: string[] = [];
  readonly author: Author;
  #last: Ulid = '01M7W60ETG0000000000000001' as Ulid;

  constructor() {
    const { clock, random } = this;
    this.faulty = new FaultyStore(this.memory, { clock, random: new SeededRandom(9) });
    this.author = new Author({
      clock,
      random,
      owner: 'me:1',
      databaseId: new Uint8Array(16).fill(3),
      role: 'compactor',
    });
  }

  /** Stores a table with a seal unless it is to be as SlateDB writes them; rows in row order. */
  async table(
    versions: readonly ModelVersion[],
    {
      codec = NO_CODEC,
      visibleRange,
      isSealed = true,
    }: { codec?: BlockCodec; visibleRange?: BytesRange; isSealed?: boolean } = {},
  ): Promise<StoredTable> {
    const id = makeUlid(1_600_000_000_000, this.random, this.#last);
    this.#last = id;
    const { author } = this;
    const builder = new TableBuilder({
      tableType: 'compacted',
      blockBytes: 256,
      codec,
      rowsPerCheck: isSealed ? 4 : 0,
      capacityBytes: 0,
    });
    for (const version of versions) {
      const { key, value, seq, flags, createTs, expireTs } = rowOfModel(version);
      builder.add(key, 0, key.length, value, 0, value.length, seq, flags, createTs, expireTs);
    }
    const seal: Parameters<TableBuilder['finish']>[0] = ({ minSeq, maxSeq, maxCreateTs, rowCount, rows, expiry }) =>
      encodeSeal({
        kind: 'table',
        identity: author.identity({
          objectId: ulidToBytes(id),
          putId: id,
          epoch: 1,
          newestManifestId: 1,
          formatVersion: 2,
          codec: codec.name,
        }),
        lineage: { level: 'l0', minSeq, maxSeq, maxCreateTs, rows: rowCount, replayAfterWalId: 1 },
        rows,
        expiry,
      });
    const { bytes, info } = builder.finish(...(isSealed ? [seal] : []));
    await this.memory.put(tablePath(id), bytes, { condition: 'if-absent', putId: id });
    const table = { id, info, formatVersion: 2 as const };
    return { id, versions, view: { view: { viewId: id, table, visibleRange }, owner: undefined } };
  }

  /** Damages what is stored of a table; gives its path. */
  async spoil({ id }: StoredTable, change: (bytes: Uint8Array) => Uint8Array): Promise<string> {
    const path = tablePath(id);
    const { bytes } = (await this.memory.get(path))!;
    await this.memory.put(path, change(bytes.slice()), { condition: 'any', putId: id });
    return path;
  }

  plan(sources: readonly (readonly StoredTable[])[], changes: Partial<CompactionPlan> = {}): CompactionPlan {
    return {
      jobId: JOB,
      manifestId: 7,
      segment: undefined,
      sources: sources.map((tables, i) => ({ level: 'run', runId: 100 - i, views: tables.map(({ view }) => view) })),
      destination: 3,
      barrier: Number.MAX_SAFE_INTEGER,
      tickMs: undefined,
      isBottom: false,
      keptWhole: [],
      keptTombstones: [],
      output: OUTPUT,
      ...changes,
    };
  }

  /** The job on virtual time, in one range unless the options say otherwise. */
  run(
    plan: CompactionPlan,
    options: Partial<DividedJobOptions> & { signal?: AbortSignal; store?: ObjectStore } = {},
  ): Promise<JobResult> {
    const { clock, random, author } = this;
    const { signal = new AbortController().signal, store = this.counted(), ...others } = options;
    const location = { store, path: '' };
    const stores = databaseStores({ location, isRootAssumed: false }, { clock, random, timeoutMs: 60_000 });
    const manifest = { ...emptyManifest(2, false), compactorEpoch: 4 };
    const job = runDividedJob(
      plan,
      {
        stores,
        manifests: { current: { id: 7, manifest, seal: undefined } as JobRunOptions['manifests']['current'] },
        author,
        logger: SILENT_LOGGER,
        rate: new ByteRate(clock, undefined),
        merges: new SlicedMerges(clock, () => false),
        slices: new SlicedMerges(clock, () => false),
        mergeOperator: undefined,
        compactionFilter: undefined,
        operatorModule: undefined,
        filterModule: undefined,
        shareBytes: 8 << 20,
        verifyOutputs: 'sample',
        timeoutMs: 60_000,
        maxSubcompactions: 1,
        onFinding: ({ code, at }) => void this.findings.push(`${code} ${at.unit} ${at.index ?? ''}`.trim()),
        ...others,
      },
      signal,
    );
    return clock.runUntilSettled(job);
  }

  /** The store with its faults, whose calls are written down. */
  counted(): ObjectStore {
    const { faulty: inner, requests } = this;
    const note = <T>(call: string, path: string, answer: T): T => {
      requests.push(`${call} ${path}`);
      return answer;
    };
    return {
      name: inner.name,
      conformance: 'known',
      get: (path, options) => note('get', path, inner.get(path, options)),
      head: (path, options) => note('head', path, inner.head(path, options)),
      put: (path, bytes, options) => note('put', path, inner.put(path, bytes, options)),
      list: (prefix, options) => note('list', prefix, inner.list(prefix, options)),
      delete: (paths, options) => note('delete', String(paths.length), inner.delete(paths, options)),
    };
  }

  /** The same with the uploads that it has. */
  uploading(): ObjectStore {
    return { ...this.counted(), ...uploadsOf(this.faulty) };
  }

  /** All rows of the result, table after table. */
  async rowsOf({ outputs }: JobResult, codec?: BlockCodec): Promise<ModelVersion[]> {
    const rows: ModelVersion[] = [];
    for (const { table } of outputs) {
      const stored = await this.memory.get(tablePath(table.id));
      rows.push(...rowsOfTable(stored!.bytes, codec).map(modelOfRow));
    }
    return rows;
  }

  async names(): Promise<string[]> {
    const names: string[] = [];
    for await (const { path } of this.memory.list('compacted/')) names.push(path);
    return names;
  }
}
