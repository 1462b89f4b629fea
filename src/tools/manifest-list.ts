/**
 * The versions of a database: every manifest that is stored, what it says in numbers, and who wrote it. One that is damaged is listed as
 * damaged, with the reason. Writes nothing.
 *
 * Invariants:
 * 1. Every manifest that is listed has an entry, unless it is gone when it is read: then it was collected.
 * 2. Nothing is called damaged before it was read twice.
 */
import { at, inspectManifest, LIST_MANIFESTS, makeHint, REPAIR_MANIFEST, TOOLS_PAGE } from '../common/advice.ts';
import { assertThat } from '../common/assert.ts';
import { mapLimit } from '../common/async.ts';
import { InvalidArgumentError, isCorruption, ManifestCorruptionError } from '../common/errors.ts';
import type { Finding } from '../common/finding.ts';
import { type ChecksOf, checkedOptions, describeValue, whole } from '../common/option-checks.ts';
import { l0Of, runsOf, tablesOf } from '../format/manifest-types.ts';
import { manifestPath, parseManifestPath } from '../format/object-names.ts';
import type { Seal } from '../format/seal.ts';
import type { AuthorRole } from '../format/seal-records.ts';
import { whereOf } from '../lsm/manifest/database-stores.ts';
import { neededManifests } from '../lsm/manifest/live-set.ts';
import { type LoadedManifest, listManifestTimes } from '../lsm/manifest/manifest-store.ts';
import { readBoundaryOrDamage, withUnlisted } from '../recovery/place.ts';
import { noManifestLeft } from '../recovery/remains.ts';
import { assertRemains, belowBoundaryFindings } from './database-state.ts';
import { changeText, type ManifestDifference, manifestChanges } from './manifest-changes.ts';
import { pinFindings, readStoredManifest, type StoredManifest, withSeverityByUse } from './named-tables.ts';
import { type Target, TOOL_CHECKS, type ToolOptions, type ToolTarget, withTarget } from './target.ts';

/** Options of `manifestList`. */
export interface ManifestListOptions extends ToolOptions {
  /** How many of the newest are read, one GET for each; the others are only counted. 1 to 100,000, default 100. */
  limit?: number;
}

const CHECKS: ChecksOf<ManifestListOptions> = { ...TOOL_CHECKS, limit: whole(1, 100_000) };
const DEFAULT_LIMIT = 100;
const READS_AT_ONCE = 16;

/** Who wrote a manifest, as its seal has it. */
export interface ManifestAuthor {
  /** `repair`: a repair wrote it, by whatever process. */
  role: AuthorRole | 'repair';
  /** Of the writer or compactor; 0 of others. */
  epoch: bigint;
  /** `host:pid`, which is only in manifests that claim an epoch or that a repair wrote. */
  owner?: string;
  /** By the author's clock, ms since the epoch. */
  writtenAtMs: number;
  /** Version of this program that wrote it. */
  software: string;
}

/** What a manifest says, in numbers. */
export interface ManifestNumbers {
  /** Number of openings by writers. */
  writerEpoch: bigint;
  /** Number of claims by compactors. */
  compactorEpoch: bigint;
  /** Tables of level 0 in all trees. */
  l0: number;
  /** Sorted runs of all trees. */
  runs: number;
  /** Tables, each once. */
  tables: number;
  /** Trees of segments. */
  segments: number;
  /** The log up to this object is in tables. */
  replayAfterWalId: bigint;
  /** Greatest sequence number in tables. */
  lastL0Seq: bigint;
  /** Checkpoints that it lists. */
  checkpoints: number;
  /** Whether its writer closed the database in order with it; absent where it has no seal. */
  closed?: boolean;
}

/** One version of a database. */
export interface ManifestSummary {
  /** The number in its name. */
  id: bigint;
  /** Below the root of the database. */
  path: string;
  /** When it was stored, by the store's clock, ms since the epoch; absent where the store does not say it. */
  storedAtMs?: number;
  /** Bytes of the object; 0 where it is missing. */
  size: number;
  /** `missing`: a checkpoint needs it and it is gone. `unknown`: of a newer form. */
  state: 'ok' | 'damaged' | 'unknown' | 'missing';
  /** Absent without a seal: SlateDB writes none, and nothing in its manifests says who wrote them. */
  author?: ManifestAuthor;
  /** Absent where it cannot be read. */
  content?: ManifestNumbers;
  /** Checkpoints of the newest good manifest that keep it, by name or id. */
  pinnedBy: string[];
  /** What differs from the manifest before it, in words; absent where that was not read. */
  changes?: string[];
  /** Why it cannot be read, in words. */
  problem?: string;
}

/** The versions of a database. */
export interface ManifestListReport {
  schemaVersion: 1;
  /** Newest first. */
  manifests: ManifestSummary[];
  /** How many older ones there are besides. */
  older: number;
  /** Collectors may have deleted manifests up to this id; absent without a boundary file. */
  boundary?: bigint;
  /** What is wrong. */
  findings: Finding[];
  /** Requests that were sent to the store. */
  requests: number;
  /** How long it took, ms. */
  tookMs: number;
}

/**
 * Lists the manifests of a database. Resolves whatever is wrong with them. Rejects with `InvalidArgumentError` (`BAD_OPTION`, `NOT_A_DATABASE`),
 * `UnavailableError`, `AbortError`. One LIST for each 1,000 of them, a HEAD, a GET of the boundary, three LISTs and GETs where that seems too high, and one GET for each that is read, two
 * if it is damaged.
 */
export async function manifestList(target: Target, options: ManifestListOptions = {}): Promise<ManifestListReport> {
  const checked = checkedOptions('manifestList', options, CHECKS);
  return withTarget(target, checked, (opened) => listVersions(opened, checked.limit ?? DEFAULT_LIMIT));
}

async function listVersions(target: ToolTarget, limit: number): Promise<ManifestListReport> {
  const { main } = target.stores;
  const times = await listManifestTimes(main);
  const ids = await withUnlisted(
    main,
    [...times.keys()].sort((a, b) => a - b),
  );
  if (ids.length === 0) await assertRemains(target);
  const boundary = await readBoundaryOrDamage(main);
  const newestId = ids.at(-1);
  const boundaryFindings =
    newestId === undefined
      ? (boundary.damage?.findings ?? [])
      : await belowBoundaryFindings(target, newestId, boundary);
  const chosen = ids.slice(-limit);
  const read = await mapLimit(chosen, READS_AT_ONCE, (id) => readStoredManifest(main, id, 'check'));
  const stored = read.filter((one): one is StoredManifest => one !== undefined).reverse();
  const newest = stored.find(({ loaded }) => loaded !== undefined)?.loaded;
  const view = { ids, manifests: stored, newest };
  const pins = pinsOf(newest);
  const missing = pinFindings(view, 'check');
  const isAll = chosen.length === ids.length;
  const entries = [
    ...stored.map((one, i) => summaryOf(one, stored[i + 1], times, pins)),
    // Below those that are read others are there.
    ...missing.flatMap((finding) => missingSummary(finding, pins)).filter(({ id }) => isAll || id > chosen[0]),
  ].sort((a, b) => Number(b.id - a.id));
  assertThat(entries.length >= stored.length, 'every manifest that was read has an entry (manifest-list 1)');
  const wrong = stored.flatMap(({ findings }) => findings).map((f) => withSeverityByUse(withNext(f, ids.at(-1)), view));
  const none = ids.length === 0 ? noManifestLeft(whereOf(target.stores), 'check').findings : [];
  return {
    schemaVersion: 1,
    manifests: entries,
    older: ids.length - chosen.length,
    ...(boundary.exists && boundary.damage === undefined && { boundary: BigInt(boundary.value) }),
    findings: [...none, ...wrong, ...missing, ...boundaryFindings],
    requests: target.requests(),
    tookMs: target.tookMs(),
  };
}

/** Names of the checkpoints that pin manifests, by manifest. */
function pinsOf(newest: LoadedManifest | undefined): Map<number, string[]> {
  const pins = new Map<number, string[]>();
  for (const reason of newest === undefined ? [] : neededManifests({ newest })) {
    if (reason.kind !== 'checkpoint') continue;
    pins.set(reason.manifestId, [...(pins.get(reason.manifestId) ?? []), reason.name ?? reason.checkpointId]);
  }
  return pins;
}

function summaryOf(
  { id, loaded, size, failure }: StoredManifest,
  before: StoredManifest | undefined,
  times: ReadonlyMap<number, number>,
  pins: ReadonlyMap<number, string[]>,
): ManifestSummary {
  const storedAtMs = times.get(id) ?? 0;
  const previous = before?.id === id - 1 ? before.loaded : undefined;
  return {
    id: BigInt(id),
    path: manifestPath(id),
    ...(storedAtMs > 0 && { storedAtMs }),
    size,
    state: failure === undefined ? 'ok' : isCorruption(failure) ? 'damaged' : 'unknown',
    ...(loaded?.seal !== undefined && { author: manifestAuthor(loaded.seal) }),
    ...(loaded !== undefined && { content: numbersOf(loaded) }),
    pinnedBy: pins.get(id) ?? [],
    ...(loaded !== undefined &&
      previous !== undefined && { changes: manifestChanges(previous.manifest, loaded.manifest).map(changeText) }),
    ...(failure !== undefined && { problem: problemOf(id, failure) }),
  };
}

/** The message of the error without the path, which stands beside it. */
function problemOf(id: number, { message }: Error): string {
  return message.replace(`${manifestPath(id)}: `, '');
}

function missingSummary(finding: Finding, pins: ReadonlyMap<number, string[]>): ManifestSummary[] {
  const { path } = finding.object;
  const id = parseManifestPath(path);
  if (id === undefined) return [];
  const problem = 'it is gone, and a checkpoint needs it';
  return [{ id: BigInt(id), path, size: 0, state: 'missing', pinnedBy: pins.get(id) ?? [], problem }];
}

/** What the seal of a manifest says of its author. */
export function manifestAuthor({ identity, manifest, owner }: Seal): ManifestAuthor {
  return {
    role: manifest?.isRepair === true ? 'repair' : identity.role,
    epoch: BigInt(identity.epoch),
    ...(owner !== undefined && { owner: owner.hostPid }),
    writtenAtMs: identity.writtenAtMs,
    software: identity.software.join('.'),
  };
}

function numbersOf({ manifest, seal }: LoadedManifest): ManifestNumbers {
  return {
    writerEpoch: BigInt(manifest.writerEpoch),
    compactorEpoch: BigInt(manifest.compactorEpoch),
    l0: l0Of(manifest).length,
    runs: runsOf(manifest).length,
    tables: new Set(tablesOf(manifest).map(({ id }) => id)).size,
    segments: manifest.segments?.length ?? 0,
    replayAfterWalId: BigInt(manifest.replayAfterWalId),
    lastL0Seq: BigInt(manifest.lastL0Seq),
    checkpoints: manifest.checkpoints.length,
    ...(seal?.manifest !== undefined && { closed: seal.manifest.isCleanClose }),
  };
}

/** A repair writes above the newest; of an older one there is only more to see. */
function withNext(finding: Finding, newestId: number | undefined): Finding {
  const id = parseManifestPath(finding.object.path);
  if (id === undefined || finding.severity === 'unknown') return finding;
  const isNewest = id === newestId;
  const summary = isNewest
    ? 'The newest manifest is damaged: nothing opens. Stop every process that uses the database, then repair it; a good older one usually suffices.'
    : 'An older manifest is damaged. Nothing is read from it, unless a checkpoint keeps it.';
  const commands = [inspectManifest(id), ...(isNewest ? [REPAIR_MANIFEST] : [])];
  return { ...finding, hint: makeHint(summary, isNewest ? 'none' : 'unknown', commands) };
}

// ---- two of them

/** What differs between two versions of a database. */
export interface ManifestDiff {
  schemaVersion: 1;
  /** The manifest that is compared with. */
  from: bigint;
  /** The manifest that is compared. */
  to: bigint;
  /** What the second has that the first has not, in words, most important first. Empty: they say the same. */
  changes: ManifestDifference[];
  /** Requests that were sent to the store. */
  requests: number;
  /** How long it took, ms. */
  tookMs: number;
}

/**
 * What changed from one manifest to another; in either order. `to`: the newest if absent.
 *
 * Rejects with `InvalidArgumentError` (`BAD_OPTION`, `NOT_A_DATABASE`, `BAD_ARGUMENT` for an id that is not there), `CorruptionError` for one that
 * is damaged, `IncompatibleError` for one of a newer form, `UnavailableError`, `AbortError`. A LIST, a HEAD and two GETs.
 */
export async function manifestDiff(
  target: Target,
  from: bigint | number,
  to?: bigint | number,
  options: ToolOptions = {},
): Promise<ManifestDiff> {
  const checked = checkedOptions('manifestDiff', options, TOOL_CHECKS);
  const wanted = [from, to].map((id) => (id === undefined ? undefined : manifestIdOf('manifestDiff', id)));
  return withTarget(target, checked, async (opened) => {
    const { main } = opened.stores;
    const listed = [...(await listManifestTimes(main)).keys()].sort((a, b) => a - b);
    const ids = await withUnlisted(main, listed);
    if (ids.length === 0) await assertRemains(opened);
    if (ids.length === 0) throw noManifestLeft(opened.where, 'check');
    const [a, b] = await Promise.all(wanted.map((id) => readVersion(opened, id ?? ids[ids.length - 1], ids)));
    return {
      schemaVersion: 1,
      from: BigInt(a.id),
      to: BigInt(b.id),
      changes: manifestChanges(a.manifest, b.manifest),
      requests: opened.requests(),
      tookMs: opened.tookMs(),
    };
  });
}

async function readVersion(
  { stores, where, label }: ToolTarget,
  id: number,
  ids: readonly number[],
): Promise<LoadedManifest> {
  const stored = await readStoredManifest(stores.main, id, 'check');
  if (stored === undefined) {
    throw new InvalidArgumentError(
      'BAD_ARGUMENT',
      `${where}: there is no manifest ${id}; there are ${ids.length}, from ${ids[0]} to ${ids[ids.length - 1]}.`,
      { hint: makeHint('The list names those that are there.', 'none', [at(LIST_MANIFESTS, label)], TOOLS_PAGE) },
    );
  }
  if (stored.loaded !== undefined) return stored.loaded;
  if (!isCorruption(stored.failure)) throw stored.failure;
  const findings = stored.findings.map((finding) => withNext(finding, ids.at(-1)));
  const command = at(inspectManifest(id), label);
  throw new ManifestCorruptionError(
    `${where}: manifest ${id} is damaged and cannot be compared (${problemOf(id, stored.failure)}). What is left of it: ${command}`,
    findings,
    { hint: findings[0].hint },
  );
}

/** The id of a manifest as a caller gives it. */
export function manifestIdOf(call: string, id: unknown): number {
  const isId = (typeof id === 'number' || typeof id === 'bigint') && id >= 0 && Number.isSafeInteger(Number(id));
  if (isId) return Number(id);
  throw new InvalidArgumentError(
    'BAD_ARGUMENT',
    `${call}: the id must be a whole number of at least 0, below 2^53, not ${describeValue(id)}.`,
  );
}
