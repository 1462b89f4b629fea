/**
 * Where rows that a table lost may still be: in the log, as long as nothing collected it, and in the tables from which a
 * compaction made this one.
 *
 * Rows from here are as good as those of the table: they were read under checksums that hold. What may be wrong is their
 * completeness, and each source says whether it proves it. Older versions than the table kept do no harm: they are
 * below the newest one.
 */
import { mapLimit } from '../common/async.ts';
import { compareBytes, EMPTY_BYTES, toHex } from '../common/bytes.ts';
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import type { Finding } from '../common/finding.ts';
import { endsBelow, inRange, type KeyRange } from '../common/key-range.ts';
import type { Ulid } from '../common/ulid.ts';
import { decodeCompactions } from '../format/compactions-codec.ts';
import {
  l0Of,
  type Manifest,
  runsOf,
  type Source,
  sourcesOf,
  type TableRef,
  type TableView,
  type Tree,
  treesOf,
  viewsOf,
} from '../format/manifest-types.ts';
import { compactionsPath, parseWalPath, tablePath, walPath } from '../format/object-names.ts';
import { NO_TS } from '../format/row-flags.ts';
import { listCompactionsIds } from '../lsm/manifest/compactions-store.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import { type LoadedManifest, listManifestIds, readGoodManifest } from '../lsm/manifest/manifest-store.ts';
import { showsKey } from '../lsm/rows/shown-range.ts';
import { fateByExpiry, isGone, KEEP, RETAIN_NEWEST, Retention, tombstoneFlags } from '../lsm/rows/visibility.ts';
import type { KnownTable, TableAnatomy } from '../lsm/table/table-anatomy.ts';
import { readWalObject, type WalObject, type WalReadResult } from '../lsm/wal/wal-object.ts';
import { boundOf } from '../recovery/log-evidence.ts';
import { listLog } from '../recovery/log-range.ts';
import { checkLog, checkWitness, type EpochBound } from '../recovery/wal-check.ts';
import { MAX_MISSING_OBJECTS } from '../recovery/wal-errors.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { looseRows, rowsInRange } from './table-range.ts';
import { type LooseRow, sortedRows } from './table-rebuild.ts';

const PARALLEL_GETS = 16;
/** Manifests that are asked what an empty object of the log was. */
const MAX_WITNESSES = 100;

export interface Candidates {
  rows: LooseRow[];
  /** Whether these are all rows that the table had in the range, perhaps with older versions besides. */
  isComplete: boolean;
  /** Whether the newest version here of each key is one that the table had: no newer one is missing. */
  isNewest: boolean;
}

export const NO_CANDIDATES: Candidates = { rows: [], isComplete: false, isNewest: false };

/** The tree that lists a table, and what is read before and after it. */
export interface TreePlace {
  tree: Tree;
  level: 'l0' | 'run';
  newer: TableView[];
  older: TableView[];
}

/** Undefined: the manifest does not name the table. */
export function placeInTree(manifest: Manifest, id: Ulid): TreePlace | undefined {
  for (const tree of treesOf(manifest)) {
    const sources = sourcesOf(tree);
    const at = sources.findIndex(({ views }) => views.some((view) => view.table.id === id));
    if (at < 0) continue;
    const others = (list: Source[]) => list.flatMap(({ views }) => views.filter((view) => view.table.id !== id));
    const newer = others(sources.slice(0, at + 1));
    return { tree, level: sources[at].level, newer, older: others(sources.slice(at + 1)) };
  }
  return undefined;
}

function knownOf(ref: TableRef): KnownTable {
  return { id: ref.id, path: tablePath(ref.id), info: ref.info, formatVersion: ref.formatVersion };
}

function mayOverlap({ table: { info } }: TableView, keys: KeyRange): boolean {
  if (info.firstEntry !== undefined && endsBelow(keys, info.firstEntry)) return false;
  return info.lastEntry === undefined || compareBytes(info.lastEntry, keys.gte) >= 0;
}

/** Rows that other tables show in the range: what a view cuts off is not there. Undefined if one of them cannot be read there. */
export async function rowsOfOthers(
  main: ObjectStore,
  views: readonly TableView[],
  keys: KeyRange,
): Promise<LooseRow[] | undefined> {
  const rows: LooseRow[] = [];
  for (const view of views) {
    if (!mayOverlap(view, keys)) continue;
    const found = await rowsInRange(main, knownOf(view.table), keys);
    if (found === undefined || !found.isWhole) return undefined;
    for (const row of found.rows) if (showsKey(view, row.key)) rows.push(row);
  }
  return rows;
}

// ---- the log

/** The rows of the log that may belong to a table, read once for all its gaps. */
export class LogRows {
  readonly #stores: Pick<DatabaseStores, 'main' | 'wal'>;
  readonly #manifest: Manifest;
  #stretches: Promise<LogStretch[]> | undefined;
  readonly #ranges: readonly KeyRange[];

  constructor(stores: Pick<DatabaseStores, 'main' | 'wal'>, manifest: Manifest, ranges: readonly KeyRange[]) {
    this.#stores = stores;
    this.#manifest = manifest;
    this.#ranges = ranges;
  }

  /**
   * Rows of the range that are in no other table, from an unbroken stretch of the log. Complete if that stretch covers all
   * sequence numbers the table may have.
   * @param isUnsealed the table never had a seal
   */
  async candidates(
    place: TreePlace,
    seqs: TableFacts | undefined,
    keys: KeyRange,
    isUnsealed: boolean,
  ): Promise<Candidates> {
    this.#stretches ??= this.#read();
    const max = Math.min(seqs?.max ?? this.#manifest.lastL0Seq, this.#manifest.lastL0Seq);
    const whole = stretchOf(await this.#stretches, max);
    if (whole === undefined) return NO_CANDIDATES;
    const newer = await rowsOfOthers(this.#stores.main, place.newer, keys);
    const older = await rowsOfOthers(this.#stores.main, place.older, keys);
    if (newer === undefined || older === undefined) return NO_CANDIDATES;
    const taken = new Set(newer.map(versionText));
    // Rows of a table that was given up since are in no other one either; they must not end up below older ones.
    const oldest = new Map<string, number>();
    for (const row of newer) {
      const key = keyText(row.key);
      oldest.set(key, Math.min(oldest.get(key) ?? row.seq, row.seq));
    }
    const newest = new Map<string, number>();
    for (const row of older) {
      const key = keyText(row.key);
      newest.set(key, Math.max(newest.get(key) ?? 0, row.seq));
    }
    const rows = whole
      .flatMap((o) => o.rows)
      .filter((row) => inRange(row.key, keys) && row.seq <= max && row.seq >= (seqs?.min ?? 0))
      .filter((row) => row.seq > (newest.get(keyText(row.key)) ?? 0) && !taken.has(versionText(row)))
      .filter((row) => row.seq <= (oldest.get(keyText(row.key)) ?? row.seq));
    const min = Math.min(...whole.map((o) => o.minSeq));
    // The log ends where the tables do, unless its last object was emptied and nothing after it shows that.
    const reachesMax = whole.some((o) => o.maxSeq >= max);
    const isComplete = reachesMax && (min <= (seqs?.min ?? 1) || whole[0].id === 1);
    // Where a seal is lost, and with it the bounds, the rows may be those of a table that was given up since.
    const isNewest = reachesMax && (seqs !== undefined || isUnsealed);
    const flushedMs = seqs?.maxCreateTs ?? Number(this.#manifest.lastL0ClockTick);
    return { rows: sortedRows(rows.flatMap((row) => asFlushed(row, flushedMs))), isComplete, isNewest };
  }

  /**
   * The objects whose rows are in tables, in unbroken stretches, the oldest first. One that is missing or damaged breaks the log, and so
   * does an empty one that may have held rows. What is stored before such a hole is as good as it was: a repair of the log moves
   * the replay point past the hole and changes nothing before it. Objects that are at odds with each other are another thing: what is
   * stored before them may belong to another history and is not used.
   */
  async #read(): Promise<LogStretch[]> {
    const { from, results } = await this.#readObjects();
    const isHole = results.map((r) => r?.object === undefined);
    const last = results.slice(isHole.lastIndexOf(true) + 1) as WalReadResult[];
    const lastFrom = from + results.length - last.length;
    const hasEmpty = results.some((r) => r?.object?.kind === 'empty');
    const hasOlder = isHole.lastIndexOf(false, results.length - last.length - 1) >= 0;
    const witnesses = hasEmpty || hasOlder ? await this.#witnesses() : [];
    const context = {
      lastL0Seq: this.#manifest.lastL0Seq,
      writerEpoch: this.#manifest.writerEpoch,
      databaseId: undefined,
      witness: undefined,
      writerTail: undefined,
      bounds: boundsOf(witnesses),
    };
    const faults = (first: number, part: readonly (WalReadResult | undefined)[]) => [
      ...checkLog(first, part, context),
      ...part.flatMap((r) => {
        const object = r?.object;
        return object === undefined ? [] : witnesses.flatMap((m) => checkWitness(object, m.seal?.manifest?.walTail));
      }),
    ];
    // The newest stretch is checked by itself: what is stored before a gap must not make it doubtful.
    const ofLast = last.length === 0 ? [] : faults(lastFrom, last);
    const lastBrokenAt = Math.max(0, ...ofLast.map(walIdOf));
    const holes = new Set<number>();
    let brokenAt = 0;
    for (const fault of [...ofLast, ...faults(from, results)]) {
      const id = walIdOf(fault);
      const object = results[id - from]?.object;
      if (object === undefined || object.kind === 'empty') holes.add(id);
      else brokenAt = Math.max(brokenAt, id);
    }
    for (const { id } of foreignOf(results, witnesses)) brokenAt = Math.max(brokenAt, id < lastFrom ? id : 0);
    const stretches: LogStretch[] = [[]];
    results.forEach((result, i) => {
      const id = from + i;
      const object = result?.object;
      const isOlder = id < lastFrom || id <= lastBrokenAt;
      if (object === undefined || holes.has(id) || id === lastBrokenAt) stretches.push([]);
      else if (!isOlder || id > brokenAt) this.#append(stretches[stretches.length - 1], id, object);
    });
    return stretches;
  }

  /** Every object up to the replay point, and after it as far as it is proven; undefined for what is missing. */
  async #readObjects(): Promise<{ from: number; results: (WalReadResult | undefined)[] }> {
    const { wal } = this.#stores;
    const end = this.#manifest.replayAfterWalId;
    const ids = await listLog(wal);
    const first = [...ids.keys()].reduce((a, b) => Math.min(a, b), end + 1);
    const before: (WalReadResult | undefined)[] = [];
    let missing = 0;
    for (let id = end; id >= first && missing <= MAX_MISSING_OBJECTS; id--) {
      const result = ids.has(id) ? await this.#readObject(id) : undefined;
      if (result === undefined) missing++;
      before.push(result);
    }
    const results = before.reverse();
    const from = end + 1 - results.length;
    let maxSeq = 0;
    // SlateDB's replay point may be before the last rows that are in tables; the object after them proves the last one.
    for (let id = end + 1; ids.has(id) && maxSeq <= this.#manifest.lastL0Seq; id++) {
      const result = await this.#readObject(id);
      if (result?.object === undefined) break;
      maxSeq = result.object.maxSeq;
      results.push(result);
    }
    return { from, results };
  }

  #append(stretch: LogStretch, id: number, object: WalObject): void {
    if (object.minSeq > 0 && object.minSeq <= this.#manifest.lastL0Seq) stretch.push(this.#rowsOf(id, object));
  }

  /** The newest manifests that can be read, newest first: those that name an empty object show what it was. */
  async #witnesses(): Promise<LoadedManifest[]> {
    const ids = (await listManifestIds(this.#stores.main)).reverse().slice(0, MAX_WITNESSES);
    return (await mapLimit(ids, PARALLEL_GETS, (id) => readGoodManifest(this.#stores.main, id))).flatMap(
      (m) => m ?? [],
    );
  }

  async #readObject(id: number): Promise<WalReadResult | undefined> {
    const got = await this.#stores.wal.get(walPath(id));
    return got === undefined ? undefined : readWalObject(id, got.bytes);
  }

  #rowsOf(id: number, { minSeq, maxSeq, blocks }: WalObject): LogObject {
    const rows: LooseRow[] = [];
    for (const block of blocks) {
      for (const row of looseRows(block)) if (this.#ranges.some((keys) => inRange(row.key, keys))) rows.push(row);
    }
    return { id, minSeq, maxSeq, rows };
  }
}

/** The stretch in which rows up to `max` end; where they end in a hole, what is stored after the last hole. */
function stretchOf(stretches: readonly LogStretch[], max: number): LogStretch | undefined {
  const holds = (s: LogStretch) => s.length > 0 && s[0].minSeq <= max && s[s.length - 1].maxSeq >= max;
  const found = stretches.find(holds) ?? stretches[stretches.length - 1];
  return found.length === 0 ? undefined : found;
}

function walIdOf({ object }: Finding): number {
  return parseWalPath(object.path) ?? 0;
}

/** Objects that another database sealed, as far as manifests say which database this is. */
function foreignOf(
  results: readonly (WalReadResult | undefined)[],
  witnesses: readonly LoadedManifest[],
): WalReadResult[] {
  const own = new Set(witnesses.flatMap(({ seal }) => (seal === undefined ? [] : toHex(seal.identity.databaseId))));
  return results.flatMap((result) => {
    const seal = result?.object?.seal;
    if (result === undefined || seal === undefined || own.size === 0) return [];
    return own.has(toHex(seal.identity.databaseId)) ? [] : result;
  });
}

/** What repairs found that went on from an older manifest than the one before them. `manifests` newest first. */
function boundsOf(manifests: readonly LoadedManifest[]): EpochBound[] {
  const byId = new Map(manifests.map((m) => [m.id, m]));
  return manifests.flatMap((m) => {
    const previousId = m.seal?.manifest?.previousManifestId ?? 0;
    const previous = previousId < m.id - 1 ? byId.get(previousId) : undefined;
    return previous === undefined ? [] : [boundOf([previous], m)];
  });
}

/** What the seal says about the rows of a table. */
interface TableFacts {
  min: number;
  max: number;
  maxCreateTs: number;
}

/** A row as a flush at this time keeps it: what had expired becomes a tombstone, an expired operand is left out. */
function asFlushed(row: LooseRow, flushedMs: number): LooseRow[] {
  const { flags, expireTs } = row;
  const fate = fateByExpiry(flags, expireTs, flushedMs);
  if (fate === KEEP) return [row];
  if (isGone(fate)) return [];
  return [{ ...row, value: EMPTY_BYTES, flags: tombstoneFlags(flags), expireTs: NO_TS }];
}

/** Objects that follow each other without a hole, those with rows in tables only. */
type LogStretch = LogObject[];

interface LogObject {
  id: number;
  minSeq: number;
  maxSeq: number;
  rows: LooseRow[];
}

function keyText(key: Uint8Array): string {
  return Buffer.from(key).toString('latin1');
}

function versionText({ key, seq }: LooseRow): string {
  return `${seq}:${keyText(key)}`;
}

// ---- inputs of a compaction

/** Rows of the range in the tables from which this one was made; complete if all of them are still there and good. */
export async function inputCandidates(main: ObjectStore, id: Ulid, tail: TableAnatomy | undefined, keys: KeyRange) {
  const inputs = await inputsOf(main, id, tail);
  if (inputs.length === 0) return NO_CANDIDATES;
  const rows: LooseRow[] = [];
  let isComplete = true;
  for (const view of inputs) {
    const found = await rowsInRange(main, knownOf(view.table), keys);
    if (found === undefined || !found.isWhole) isComplete = false;
    for (const row of found?.rows ?? []) if (showsKey(view, row.key)) rows.push(row);
  }
  // Without one of the inputs the newest version of a key may be missing: nothing of the rest can be trusted.
  return isComplete ? { rows: sortedRows(rows), isComplete, isNewest: false } : NO_CANDIDATES;
}

/** Views of tables that the manifest before the first one with `id` named and that one does not: what the compaction consumed. */
async function inputsOf(main: ObjectStore, id: Ulid, tail: TableAnatomy | undefined): Promise<TableView[]> {
  const ids = await listManifestIds(main);
  let first: LoadedManifest | undefined;
  let before: LoadedManifest | undefined;
  for (const manifestId of ids.reverse()) {
    const loaded = await readGoodManifest(main, manifestId);
    if (loaded === undefined) break;
    if (placeInTree(loaded.manifest, id) !== undefined) first = loaded;
    else if (first !== undefined) {
      before = loaded;
      break;
    }
  }
  if (first === undefined || before === undefined || before.id !== first.id - 1) return [];
  const old = viewsOf(before.manifest);
  const now = new Set(viewsOf(first.manifest).map((view) => view.table.id));
  const gone = old.filter((view) => !now.has(view.table.id));
  const lineage = tail === undefined || tail.isForeign ? undefined : tail.seal?.lineage;
  if (lineage?.level === 'run') {
    const isGone = lineage.inputs.every((input) => gone.some((view) => view.table.id === input));
    return isGone ? gone.filter((view) => lineage.inputs.includes(view.table.id)) : [];
  }
  const sources = await sourcesOfJob(main, id, before.manifest);
  if (sources !== undefined) return sources.every((view) => gone.includes(view)) ? sources : [];
  // Without the job only a commit of one compaction can be recognised.
  const oldIds = new Set(old.map((view) => view.table.id));
  const changed = runsOf(first.manifest).filter((run) => run.views.some((view) => !oldIds.has(view.table.id)));
  return changed.length === 1 ? gone : [];
}

/** Sources of the job that names the table among its outputs, as far as a compactor still says it. */
async function sourcesOfJob(main: ObjectStore, id: Ulid, before: Manifest): Promise<TableView[] | undefined> {
  const ids = await listCompactionsIds(main);
  for (const fileId of ids.reverse()) {
    const got = await main.get(compactionsPath(fileId));
    const jobs = got === undefined ? [] : jobsIn(got.bytes);
    const job = jobs.find((j) => j.outputs?.some((output) => output.table.id === id));
    if (job === undefined || job.spec.kind !== 'tiered') continue;
    const { l0ViewIds = [], runs = [] } = job.spec;
    const l0 = l0Of(before).filter((view) => l0ViewIds.includes(view.viewId));
    const ofRuns = runsOf(before).filter((run) => runs.includes(run.id));
    if (l0.length !== l0ViewIds.length || ofRuns.length !== runs.length) return undefined;
    return [...l0, ...ofRuns.flatMap((run) => run.views)];
  }
  return undefined;
}

function jobsIn(bytes: Uint8Array) {
  try {
    return decodeCompactions(bytes).compactions.jobs;
  } catch (error) {
    if (isCorruption(error) || error instanceof IncompatibleError) return [];
    throw error;
  }
}

// ---- what a writer would have kept

/** The newest version of each key, and merge operands above it: what is left where no snapshot needs more. */
export function withoutOldVersions(rows: readonly LooseRow[]): LooseRow[] {
  const retention = new Retention(RETAIN_NEWEST, undefined);
  let previous: LooseRow | undefined;
  return rows.filter((row) => {
    const isSameKey = previous !== undefined && compareBytes(previous.key, row.key) === 0;
    previous = row;
    return retention.next(isSameKey, row.seq, row.flags, row.expireTs) === KEEP;
  });
}
