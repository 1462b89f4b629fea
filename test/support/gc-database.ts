/**
 * Databases for collectors, made of lines of text: what is in the store since when. Manifests are sealed; tables and objects of the log are
 * bytes that nobody reads, except fences and the outputs of compactions.
 *
 *   100: table A_10                     stored at 100 s; times are after START_MS (manifest-script.ts)
 *   100: table X_70 of A_10 B_20        an output of a compaction, whose seal names these inputs
 *   100: manifest 3: l0 A_10; replay 4  the notation of manifest-script.ts; `unsealed manifest 3: ...` as SlateDB writes it
 *   100: job J_50 running l0 A to X_70  the next compactions file has this job besides those before it; `no job J_50` without it
 *   100: wal 4 | fence 5 | empty 6      an object of the log, a fence in the form of a table, one without bytes
 *   100: plan REPAIR 2 makes P reads wal/3 | report REPAIR 2
 *   100: copy wal/3                     in quarantine, of REPAIR
 *   100: object gc/manifest.boundary 7  any object with this text
 */
import type { Clock } from '../../src/common/clock.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import { toPlain } from '../../src/common/plain.ts';
import { SeededRandom } from '../../src/common/random.ts';
import type { Ulid } from '../../src/common/ulid.ts';
import { NO_CODEC } from '../../src/format/codecs.ts';
import { type CompactionJob, decodeCompactions, encodeCompactions } from '../../src/format/compactions-codec.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import {
  compactionsPath,
  manifestPath,
  parseCompactionsPath,
  parseManifestPath,
  quarantinePath,
  repairFilePath,
  tablePath,
  walPath,
} from '../../src/format/object-names.ts';
import { encodeSeal } from '../../src/format/seal.ts';
import { tableObjectId } from '../../src/format/seal-records.ts';
import { encodeSidecar } from '../../src/format/sidecar.ts';
import { TableBuilder } from '../../src/format/table-builder.ts';
import { Author } from '../../src/lsm/manifest/author.ts';
import { type DatabaseStores, databaseStores } from '../../src/lsm/manifest/database-stores.ts';
import { loadManifest, NO_WITNESS, sealManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { encodeFence } from '../../src/lsm/wal/wal-writer.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { parseJob, parsePlan } from './live-set-script.ts';
import { parseManifest, START_MS, tableId } from './manifest-script.ts';

/** The repair that `REPAIR` stands for. */
export const REPAIR = `r-${'a'.repeat(24)}`;
const PUT_ID = '01ARZ3NDEKTSV4RRFFQ69G5FAV';

export class GcDatabase {
  readonly clock = new ManualClock(START_MS);
  readonly random = new SeededRandom(1);
  /** Has the same clock. */
  readonly memory = new MemoryStore({ clock: this.clock });
  readonly author = new Author({
    clock: this.clock,
    random: this.random,
    owner: 'me:1',
    databaseId: new Uint8Array(16).fill(7),
    role: 'writer',
  });

  /** Seconds since START_MS. */
  get nowS(): number {
    return (this.clock.nowMs() - START_MS) / 1000;
  }

  /** As if nothing had waited. */
  until(second: number): void {
    this.clock.jumpWallMs((second - this.nowS) * 1000);
  }

  run<T>(promise: Promise<T>, limitMs?: number): Promise<T> {
    return this.clock.runUntilSettled(promise, limitMs);
  }

  /** The wrapped store of one process. */
  stores(store: ObjectStore = this.memory, clock: Clock = this.clock): DatabaseStores {
    const place = { location: { store, path: '' }, isRootAssumed: false };
    return databaseStores(place, { clock, random: this.random, timeoutMs: 60_000 });
  }

  async play(script: string): Promise<void> {
    for (const line of script.split('\n')) {
      const [, second, what] = /^\s*(\d+): (.*?)\s*$/.exec(line) ?? [];
      if (second === undefined) continue;
      this.until(Number(second));
      await this.make(what!);
    }
  }

  /** Now. */
  async make(what: string): Promise<void> {
    const manifest = /^(unsealed )?manifest (\d+): (.*)$/.exec(what);
    if (manifest !== null) return this.#manifest(Number(manifest[2]), manifest[3]!, manifest[1] === undefined);
    const [kind, name, ...more] = what.replaceAll('REPAIR', REPAIR).split(/ +/) as [string, string, ...string[]];
    switch (kind) {
      case 'table':
        return this.put(tablePath(tableId(name)), await this.#table(tableId(name), more.slice(1).map(tableId)));
      case 'wal':
        return this.put(walPath(Number(name)), new Uint8Array(5000));
      case 'empty':
        return this.put(walPath(Number(name)), new Uint8Array(0));
      case 'fence':
        return this.put(walPath(Number(name)), this.#fence(Number(name)));
      case 'job':
        return this.#jobs((jobs) => [...jobs.filter(({ id }) => id !== tableId(name)), parseJob([name, ...more])]);
      case 'no':
        return this.#jobs((jobs) => jobs.filter(({ id }) => id !== tableId(more[0]!)));
      case 'plan':
        return this.put(repairFilePath(name, 'plan', Number(more[0])), planBytes([name, ...more]));
      case 'report':
        return this.put(repairFilePath(name, 'report', Number(more[0])), new Uint8Array(9));
      case 'copy':
        return this.put(quarantinePath(REPAIR, name), new Uint8Array(9));
      case 'object':
        return this.put(name, new TextEncoder().encode(more.join(' ')));
      default:
        throw new Error(`no object: ${what}`);
    }
  }

  async put(path: string, bytes: Uint8Array): Promise<void> {
    await this.memory.put(path, bytes, { condition: 'any', putId: PUT_ID });
  }

  async paths(prefix = ''): Promise<string[]> {
    const paths: string[] = [];
    for await (const { path } of this.memory.list(prefix)) paths.push(path);
    return paths;
  }

  /** Every object with its version: equal before and after means that nothing was written or deleted. */
  async versions(): Promise<string[]> {
    const versions: string[] = [];
    for await (const { path, etag } of this.memory.list('')) versions.push(`${path} ${etag}`);
    return versions;
  }

  async newestManifestId(): Promise<number> {
    const ids = (await this.paths('manifest/')).map((path) => parseManifestPath(path)!);
    return ids.at(-1) ?? 0;
  }

  async #manifest(id: number, script: string, isSealed: boolean): Promise<void> {
    const manifest = withTimes(parseManifest(script));
    if (!isSealed) return this.put(manifestPath(id), encodeManifest(manifest));
    const before = id > 1 ? await this.memory.get(manifestPath(id - 1)) : undefined;
    const previous = before && loadManifest(id - 1, before.bytes);
    const witness = previous?.seal?.manifest?.walTail ?? NO_WITNESS;
    const { bytes } = sealManifest({ id, manifest, previous, author: this.author, epoch: 1, witness });
    return this.put(manifestPath(id), bytes);
  }

  async #jobs(change: (jobs: readonly CompactionJob[]) => CompactionJob[]): Promise<void> {
    const last = (await this.paths('compactions/')).at(-1);
    const old = last === undefined ? undefined : decodeCompactions((await this.memory.get(last))!.bytes).compactions;
    const jobs = change(old?.jobs ?? []);
    const id = last === undefined ? 0 : parseCompactionsPath(last)!;
    const bytes = encodeCompactions({ headerVersion: 2, compactorEpoch: 1, jobs, hasUnknownFields: false });
    await this.put(compactionsPath(id + 1), bytes);
  }

  async #table(id: Ulid, inputs: readonly Ulid[]): Promise<Uint8Array> {
    if (inputs.length === 0) return new TextEncoder().encode(`table ${id}`);
    const builder = new TableBuilder({
      tableType: 'compacted',
      blockBytes: 4096,
      codec: NO_CODEC,
      rowsPerCheck: 0,
      capacityBytes: 512,
    });
    const key = new TextEncoder().encode('k');
    builder.add(key, 0, 1, key, 0, 1, 1, 0, 0, 0);
    while (!builder.finishStep());
    const facts = { minSeq: 1, maxSeq: 1, maxCreateTs: Number.NEGATIVE_INFINITY, rows: 1 };
    const lineage = {
      level: 'run',
      ...facts,
      compactionId: id,
      destinationRun: 1,
      ordinal: 0,
      isLastOutput: true,
      isBottom: false,
      inputs,
    } as const;
    const identity = this.author.identity({
      objectId: tableObjectId(id),
      putId: PUT_ID as Ulid,
      epoch: 1,
      newestManifestId: 1,
      formatVersion: 2,
      codec: 'none',
    });
    return builder.finish((f) => encodeSeal({ kind: 'table', identity, lineage, rows: f.rows })).bytes;
  }

  #fence(id: number): Uint8Array {
    const facts = { id, epoch: 1, newestManifestId: 1, predecessor: undefined, lastSeq: 0 };
    return encodeFence(facts, 'table', NO_CODEC, this.author).bytes;
  }
}

/** Times of checkpoints in scripts are after START_MS, too. */
function withTimes(manifest: ReturnType<typeof parseManifest>): ReturnType<typeof parseManifest> {
  const startS = Math.ceil(START_MS / 1000);
  const checkpoints = manifest.checkpoints.map((c) => ({
    ...c,
    id: `00000000-0000-4000-8000-${c.id.charCodeAt(0).toString(16).padStart(12, '0')}`,
    name: c.id,
    expireTimeS: c.expireTimeS === 0 ? 0 : startS + c.expireTimeS,
  }));
  return { ...manifest, checkpoints };
}

function planBytes(words: readonly string[]): Uint8Array {
  const { tables, objects } = parsePlan(words);
  const value = {
    names: tables.map((id) => ({ id, putId: PUT_ID })),
    report: { evidence: objects.map((from) => ({ from, to: 'copy' })) },
  };
  return encodeSidecar('repair-plan', 1, toPlain(value));
}
