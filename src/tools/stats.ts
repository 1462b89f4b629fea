/**
 * A database in numbers. Lists everything that is stored, reads the manifests that something keeps, the newest compactions file, and the
 * ends of the tables. Writes nothing.
 *
 * Order: compactions file, manifest, lists. What a compactor has made is named in the first before it is in the second, and dropped from
 * it after that.
 */

import { hintAt } from '../common/advice.ts';
import { mapLimit } from '../common/async.ts';
import { unknownFinding } from '../common/damage.ts';
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import type { Finding, FindingObject } from '../common/finding.ts';
import { checkedOptions } from '../common/option-checks.ts';
import type { Ulid } from '../common/ulid.ts';
import type { Manifest } from '../format/manifest-types.ts';
import {
  BOUNDARY_PREFIX,
  COMPACTIONS_PREFIX,
  compactionsPath,
  idText,
  MANIFEST_PREFIX,
  parseManifestPath,
  parseTablePath,
  QUARANTINE_PREFIX,
  repairFilePath,
  SIDECAR_PREFIX,
  TABLE_PREFIX,
  WAL_PREFIX,
} from '../format/object-names.ts';
import { COMPACTIONS_FORM, findNewestCompactions, type LoadedCompactions } from '../lsm/manifest/compactions-store.ts';
import {
  KEPT_MANIFESTS,
  type LiveSet,
  liveSet,
  neededManifests,
  type OpenPlan,
  type RecentOutput,
} from '../lsm/manifest/live-set.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import { type LedgerEntry, readLedger } from '../lsm/tree/damage-ledger.ts';
import { misplacedLog } from '../recovery/log-place.ts';
import type { Place } from '../recovery/place.ts';
import { openAttempts, readOpenPlan, repairFilesOf, unreadPlan } from '../recovery/repair-plans.ts';
import type { ListedObject, ObjectStore } from '../store/object-store.ts';
import { belowBoundaryFindings, compactionsBoundaryFindings, logOutOfReach } from './database-state.ts';
import { pinFindings, readStoredManifest, withSeverityByUse } from './named-tables.ts';
import { outsizedFindings, type PassedOver } from './outsized-names.ts';
import {
  assertSums,
  type DirectoryStats,
  directoryStats,
  logStats,
  manifestStats,
  type StatsReport,
  sumOfDirectories,
  treeStats,
} from './stats-report.ts';
import { pastOutsized, type Target, type ToolTarget, withTarget } from './target.ts';
import { readTree, TREE_CHECKS, type TreeInspectOptions } from './tree-inspect.ts';
import { treeShapes } from './tree-report.ts';
import type { TableEnds } from './tree-tails.ts';

const READS_AT_ONCE = 16;
const UNREAD_PLAN =
  'The plan of a repair cannot be read, so it is not known what that repair needs. Run the repair again.';

/**
 * A database in numbers: manifests, epochs, sequence numbers, bytes and rows by level, what a get costs, checkpoints, and every kind of
 * stored object with what of it something needs. Damaged and missing tables are counted and reported; so is what cannot be read, and
 * then nothing is called unneeded that it might need.
 *
 * Rejects with `InvalidArgumentError` (`BAD_OPTION`, `NOT_A_DATABASE`), `ManifestCorruptionError` if the newest manifest is damaged or none is
 * left, `IncompatibleError` for one of a newer form, `UnavailableError`, `AbortError`. About 17 requests, and one LIST for each 1,000 objects,
 * one GET for each manifest that a checkpoint keeps, and with `tails` one for each table.
 */
export async function stats(target: Target, options: TreeInspectOptions = {}): Promise<StatsReport> {
  const checked = checkedOptions('stats', options, TREE_CHECKS);
  const passed: PassedOver = new Map();
  return withTarget(pastOutsized(target, passed), checked, (opened) => new Statistics(opened, passed).run(checked));
}

/** What was listed, by directory. */
type Lists = ReadonlyMap<string, readonly ListedObject[]>;

/** What the live set follows from. */
interface Read {
  newest: LoadedManifest;
  kept: readonly LoadedManifest[];
  compactions: LoadedCompactions | undefined;
  ends: TableEnds;
  plans: readonly OpenPlan[];
  lists: Lists;
}

class Statistics {
  readonly #target: ToolTarget;
  readonly #findings: Finding[] = [];
  /** Whether all that names objects could be read. */
  #isComplete = true;

  /** They may name any object. */
  readonly #passed: PassedOver;

  constructor(target: ToolTarget, passed: PassedOver) {
    this.#target = target;
    this.#passed = passed;
  }

  async run(options: TreeInspectOptions): Promise<StatsReport> {
    const { clock, requests, tookMs } = this.#target;
    const compactions = await this.#compactions();
    const { place, ends } = await readTree(this.#target, options);
    const { newest } = place;
    this.#findings.push(...ends.findings, ...(await belowBoundaryFindings(this.#target, newest.id, place.boundary)));
    const isLogHere = this.#isLogHere(place);
    const elsewhere = isLogHere ? undefined : await logOutOfReach(this.#target, newest);
    if (elsewhere !== undefined) this.#findings.push(elsewhere);
    const lists = await this.#lists(isLogHere);
    this.#findings.push(...outsizedFindings(this.#passed));
    if (this.#passed.size > 0) this.#isComplete = false;
    const kept = await this.#kept(newest, lists);
    const plans = await this.#plans(lists);
    const live = this.#live({ newest, kept, compactions, ends, plans, lists });
    const losses = await this.#losses(newest, lists);
    const directories = [...lists].map(
      ([name, objects]): DirectoryStats => directoryStats(name, objects, { live, losses, plans }),
    );
    const { space, ...shape } = treeStats(newest.manifest, treeShapes(newest.manifest, ends.byTable));
    assertSums(shape, newest.manifest);
    const total = sumOfDirectories(directories);
    const { needed } = total;
    const log = lists.get(WAL_PREFIX);
    return {
      schemaVersion: 1,
      ...manifestStats(newest, [newest, ...kept], place.identity?.value),
      nowMs: clock.nowMs(),
      ...(log !== undefined && { log: logStats(newest, log) }),
      ...shape,
      amplification: {
        ...(space !== undefined && { space }),
        ...(needed !== undefined && needed.bytes > 0 && { stored: total.stored.bytes / needed.bytes }),
      },
      directories,
      total,
      findings: this.#findings,
      requests: requests(),
      tookMs: tookMs(),
    };
  }

  /** A file that cannot be read may name any table. */
  async #compactions(): Promise<LoadedCompactions | undefined> {
    const { main } = this.#target.stores;
    const id = await findNewestCompactions(main);
    this.#findings.push(...(await compactionsBoundaryFindings(this.#target, id ?? 0)));
    if (id === undefined) return undefined;
    const path = compactionsPath(id);
    try {
      const loaded = await COMPACTIONS_FORM.read(main, id);
      // Gone: another compactor was faster. What it wrote is not known.
      if (loaded === undefined || loaded.compactions.hasUnknownFields) this.#isComplete = false;
      return loaded;
    } catch (error) {
      this.#isComplete = false;
      if (error instanceof IncompatibleError) {
        const object: FindingObject = { role: 'compactions', path, id: idText(id), sealed: false };
        this.#findings.push(unknownFinding(error, { object, during: 'check' }));
      } else if (isCorruption(error))
        this.#findings.push(...error.findings.map((f) => ({ ...f, hint: hintAt(f.hint, this.#target.label) })));
      else throw error;
      return undefined;
    }
  }

  #isLogHere({ newest, identity }: Place): boolean {
    const { stores, where } = this.#target;
    return misplacedLog(stores, where, newest, identity?.value) === undefined;
  }

  async #lists(isLogHere: boolean): Promise<Lists> {
    const { main, wal } = this.#target.stores;
    const places: [string, ObjectStore][] = [
      [MANIFEST_PREFIX, main],
      ...(isLogHere ? [[WAL_PREFIX, wal] satisfies [string, ObjectStore]] : []),
      [TABLE_PREFIX, main],
      [COMPACTIONS_PREFIX, main],
      [BOUNDARY_PREFIX, main],
      [SIDECAR_PREFIX, main],
    ];
    const lists = await Promise.all(places.map(([prefix, store]) => listed(store, prefix)));
    return new Map(places.map(([prefix], i) => [prefix, lists[i]]));
  }

  /** The manifests that are needed besides the newest one, as far as they can be read, newest first. */
  async #kept(newest: LoadedManifest, lists: Lists): Promise<LoadedManifest[]> {
    const { main } = this.#target.stores;
    const ids = (lists.get(MANIFEST_PREFIX) ?? []).flatMap(({ path }) => parseManifestPath(path) ?? []);
    const recent = ids.filter((id) => id < newest.id && id > newest.id - KEPT_MANIFESTS);
    const pinned = neededManifests({ newest }).map(({ manifestId }) => manifestId);
    const wanted = [...new Set([...recent, ...pinned])].filter((id) => id !== newest.id).sort((a, b) => b - a);
    const read = await mapLimit(wanted, READS_AT_ONCE, (id) => readStoredManifest(main, id, 'check'));
    const there = read.flatMap((one) => one ?? []);
    const view = { ids: [...there.map(({ id }) => id), newest.id].sort((a, b) => a - b), manifests: there, newest };
    const wrong = there.flatMap(({ findings }) => findings);
    this.#findings.push(...wrong.map((f) => withSeverityByUse(f, view)), ...pinFindings(view, 'check'));
    // One that a checkpoint pins and that is gone leaves the live set without it (`unread`).
    const good = there.flatMap(({ loaded }) => loaded ?? []);
    if (good.length < there.length || good.some(({ manifest }) => manifest.hasUnknownFields)) this.#isComplete = false;
    return good;
  }

  #live({ newest, kept, compactions, ends, plans, lists }: Read): LiveSet | undefined {
    if (!this.#isComplete || newest.manifest.hasUnknownFields) return undefined;
    const storeTimeMs = lists.get(MANIFEST_PREFIX)?.[0]?.storeTimeMs ?? 0;
    const live = liveSet({
      newest,
      others: new Map(kept.map(({ id, manifest }): [number, Manifest] => [id, manifest])),
      recent: KEPT_MANIFESTS,
      ...(storeTimeMs > 0 && { nowS: Math.floor(storeTimeMs / 1000) }),
      ...(compactions !== undefined && { compactions }),
      plans,
      outputs: outputsOf(ends, lists),
    });
    return live.unread.length > 0 ? undefined : live;
  }

  async #plans(lists: Lists): Promise<OpenPlan[]> {
    const { main } = this.#target.stores;
    const paths = (lists.get(SIDECAR_PREFIX) ?? []).map(({ path }) => path);
    const attempts = openAttempts(repairFilesOf(paths));
    const plans = await mapLimit(attempts, READS_AT_ONCE, async (attempt) => {
      const plan = await readOpenPlan(main, attempt);
      if (plan !== undefined) return plan;
      const path = repairFilePath(attempt.repairId, 'plan', attempt.number);
      this.#isComplete = false;
      this.#findings.push(unreadPlan(path, UNREAD_PLAN));
      return [];
    });
    return plans.flat();
  }

  /** They say which copies in quarantine are needed. */
  async #losses(newest: LoadedManifest, lists: Lists): Promise<readonly LedgerEntry[]> {
    const hasCopies = (lists.get(SIDECAR_PREFIX) ?? []).some(({ path }) => path.startsWith(QUARANTINE_PREFIX));
    return hasCopies ? (await readLedger(this.#target.stores.main, newest)).entries : [];
  }
}

async function listed(store: ObjectStore, prefix: string): Promise<ListedObject[]> {
  const objects: ListedObject[] = [];
  for await (const object of store.list(prefix)) objects.push(object);
  return objects;
}

/** Tables that a compaction wrote keep its inputs for a while; what they are made of their seals say. */
function outputsOf({ byTable }: TableEnds, lists: Lists): RecentOutput[] {
  return (lists.get(TABLE_PREFIX) ?? []).flatMap(({ path, lastModifiedMs }) => {
    const id: Ulid | undefined = parseTablePath(path);
    const lineage = id === undefined ? undefined : byTable.get(id)?.lineage;
    if (id === undefined || lineage?.level !== 'run') return [];
    return { id, inputs: lineage.inputs, storedS: Math.ceil(lastModifiedMs / 1000) };
  });
}
