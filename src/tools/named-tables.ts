/**
 * Which tables a database names, and where they are: what every check and repair of tables begins with.
 *
 * Manifests are read whole and checked as at an opening; one that is damaged is a finding, and the newest good one
 * below it says which tables there should be. Costs one LIST of `manifest/` and one GET per manifest in scope.
 */
import { stopIfAborted } from '../common/abort.ts';
import { INSPECT_MANIFEST, LIST_MANIFESTS, makeHint, REPAIR_MANIFEST } from '../common/advice.ts';
import { equalBytes, toHex } from '../common/bytes.ts';
import { unknownFinding } from '../common/damage.ts';
import { type CorruptionError, IncompatibleError, isCorruption } from '../common/errors.ts';
import { type Finding, makeFinding, WHOLE_OBJECT } from '../common/finding.ts';
import type { Ulid } from '../common/ulid.ts';
import { sourcesOf, type TableRef, treesOf } from '../format/manifest-types.ts';
import { manifestPath, parseManifestPath } from '../format/object-names.ts';
import { type DatabaseStores, whereOf } from '../lsm/manifest/database-stores.ts';
import {
  checkpointsAlone,
  type LiveSet,
  liveSet,
  neededManifests,
  ownersOf,
  whyTable,
} from '../lsm/manifest/live-set.ts';
import {
  type LoadedManifest,
  listManifestIds,
  loadManifest,
  manifestFindingObject,
} from '../lsm/manifest/manifest-store.ts';
import { ambiguousViewFindings } from '../lsm/manifest/view-ids.ts';
import { tablePlace } from '../lsm/tree/parents.ts';
import {
  contradictions,
  doubts,
  hasLostItsSeal,
  newerTrackerFindings,
  oddities,
} from '../recovery/manifest-cross-check.ts';
import { withUnlisted } from '../recovery/place.ts';
import { noManifestLeft } from '../recovery/remains.ts';
import type { ObjectStore } from '../store/object-store.ts';

/** `live`: the newest manifest. `checkpoints`: and those that its checkpoints pin. `all`: every one that is there. */
export type Scope = 'live' | 'checkpoints' | 'all';

export interface NamedTable {
  ref: TableRef;
  path: string;
  store: ObjectStore;
  /** Path of the database that it belongs to, from the root of the store, if this one is a clone of it. */
  parent: string | undefined;
  level: 'l0' | 'run';
  /** Newest first. */
  manifestIds: number[];
}

export interface ListedManifest {
  id: number;
  /** Absent if it is damaged or cannot be read by this program. */
  loaded: LoadedManifest | undefined;
  size: number;
}

export interface DatabaseView {
  /** All that are listed, ascending. */
  ids: number[];
  /** Those in scope that are there, newest first. */
  manifests: ListedManifest[];
  /** The newest that is good; with `isNewestGood` the newest of all. */
  newest: LoadedManifest | undefined;
  isNewestGood: boolean;
  /** Set if the newest needs a newer program: which tables there should be is unknown, and no older manifest shows it. */
  incompatible: IncompatibleError | undefined;
  tables: Map<Ulid, NamedTable>;
  /** What the newest state and the checkpoints need of what was read; absent without a newest manifest. */
  live: LiveSet | undefined;
  findings: Finding[];
}

/** Reads the manifests in scope; none but the newest if that one needs a newer program. */
export async function readDatabaseView(
  stores: DatabaseStores,
  scope: Scope,
  during: Finding['during'],
  signal?: AbortSignal,
): Promise<DatabaseView> {
  const listed = await listManifestIds(stores.main);
  // One list that shows nothing proves nothing.
  const ids = await withUnlisted(stores.main, listed.length > 0 ? listed : await listManifestIds(stores.main));
  const view: DatabaseView = {
    ids,
    manifests: [],
    newest: undefined,
    isNewestGood: false,
    incompatible: undefined,
    tables: new Map(),
    live: undefined,
    findings: [],
  };
  const wanted = [...ids].reverse();
  for (const id of wanted) {
    stopIfAborted(signal);
    const isInScope =
      scope === 'all' || view.newest === undefined || (scope === 'checkpoints' && isPinned(view.newest, id));
    if (!isInScope) continue;
    // One that is gone was collected in the meantime.
    const observed = await readStoredManifest(stores.main, id, during);
    if (observed === undefined) continue;
    view.manifests.push({ id, loaded: observed.loaded, size: observed.size });
    view.findings.push(...observed.findings);
    if (id === ids[ids.length - 1] && observed.failure instanceof IncompatibleError) {
      view.incompatible = observed.failure;
      return view;
    }
    if (observed.loaded !== undefined && view.newest === undefined) {
      view.newest = observed.loaded;
      view.isNewestGood = id === ids[ids.length - 1];
    }
  }
  const others = new Map(view.manifests.flatMap(({ loaded }) => (loaded ? [[loaded.id, loaded.manifest]] : [])));
  if (view.newest !== undefined) view.live = liveSet({ newest: view.newest, others });
  // A caller that finds nothing else of a database either says that none is here.
  if (ids.length === 0) view.findings.push(...noManifestLeft(whereOf(stores), during).findings);
  if (view.newest !== undefined) view.findings.push(...ambiguousViewFindings(view.newest, during));
  view.findings.push(...pinFindings(view, during));
  checkSequence(view, during);
  view.findings = view.findings.map((finding) => withSeverityByUse(finding, view));
  for (const { loaded } of view.manifests) if (loaded !== undefined) addTables(view.tables, stores, loaded);
  return view;
}

/** Whether the newest manifest or one that its checkpoints pin names the table. */
export function isNeeded({ live }: DatabaseView, named: NamedTable | undefined): boolean {
  if (named === undefined || live === undefined) return named !== undefined;
  return live.tables.has(named.ref.id);
}

/** Parents whose tables the manifests in scope name, with how many. */
export function parentsNamed({ tables }: DatabaseView): Map<string, number> {
  const used = new Map<string, number>();
  for (const { parent } of tables.values()) if (parent !== undefined) used.set(parent, (used.get(parent) ?? 0) + 1);
  return used;
}

/** Checkpoints that alone keep the table; none if the newest manifest names it. */
export function checkpointsKeeping({ live }: DatabaseView, named: NamedTable | undefined): string[] {
  return named === undefined || live === undefined ? [] : checkpointsAlone(whyTable(live, named.ref.id));
}

/** What can be done about such a table, or all such tables of a parent: a repair changes only the newest state. */
export function checkpointAdvice(checkpoints: readonly string[], what = 'this table'): string {
  const those = checkpoints.length === 1 ? 'checkpoint' : 'checkpoints';
  return `The newest state does not need ${what}, only ${those} ${checkpoints.join(', ')}: a read at that point meets the damage, and no repair changes what a checkpoint keeps. Restore the object from a backup or an older version of the bucket, or let the ${those} go.`;
}

function isPinned(newest: LoadedManifest, id: number): boolean {
  return neededManifests({ newest }).some((reason) => reason.kind === 'checkpoint' && reason.manifestId === id);
}

/** Damage of a manifest that is not in use takes no row away; if a repair was written above it, it is answered, too. */
export function withSeverityByUse(
  finding: Finding,
  { ids, manifests, newest }: Pick<DatabaseView, 'ids' | 'manifests' | 'newest'>,
): Finding {
  const id = parseManifestPath(finding.object.path);
  if (id === undefined || id === ids[ids.length - 1]) return finding;
  if (newest !== undefined && isPinned(newest, id)) return finding;
  if (manifests.some((m) => m.id > id && m.loaded?.seal?.manifest?.isRepair === true)) return asAnswered(finding);
  const isHarmless = finding.severity === 'note' || finding.severity === 'unknown';
  return { ...finding, severity: isHarmless ? 'note' : 'warning' };
}

/** A finding about what a repair has replaced: a note, without the advice to repair it once more. */
export function asAnswered(finding: Finding): Finding {
  const hint = { ...finding.hint, summary: ANSWERED, commands: [], lossIfRepaired: 'none' as const };
  return { ...finding, severity: 'note', hint };
}

const ANSWERED =
  'A repair has answered this already, and nothing that is in use needs the object any more. There is nothing to do.';

/** A manifest as it is stored. */
export interface StoredManifest extends ListedManifest {
  /** Why it cannot be used; none if it is loaded. */
  findings: Finding[];
  /** Why, as an error: damage, or it needs a newer program. */
  failure: CorruptionError | IncompatibleError | undefined;
}

/** Nothing is called damaged before it was read twice. Undefined: it is gone. */
export async function readStoredManifest(
  store: ObjectStore,
  id: number,
  during: Finding['during'],
): Promise<StoredManifest | undefined> {
  for (let isLast = false; ; isLast = true) {
    const got = await store.get(manifestPath(id));
    if (got === undefined) return undefined;
    const { size } = got;
    try {
      return { id, loaded: loadManifest(id, got.bytes), size, findings: [], failure: undefined };
    } catch (error) {
      if (!(error instanceof IncompatibleError) && !isCorruption(error)) throw error;
      if (!isLast) continue;
      if (error instanceof IncompatibleError) {
        const unknown = unknownFinding(error, { object: manifestFindingObject(id, { size }), during });
        return { id, loaded: undefined, size, findings: [unknown], failure: error };
      }
      const reads = { attempts: 2, identical: true, pastCaches: true };
      const findings = error.findings.map((f) => ({
        ...f,
        during,
        reads,
        origin: 'at-rest' as const,
        hint: MANIFEST_HINT,
      }));
      return { id, loaded: undefined, size, findings, failure: error };
    }
  }
}

const MANIFEST_HINT = makeHint('A manifest is damaged; a repair writes a new one above it.', 'possible', [
  INSPECT_MANIFEST,
  REPAIR_MANIFEST,
]);

const PIN_HINT = makeHint(
  'Nothing can be read at this checkpoint any more; the newest state does not need the manifest. Restore it from a backup or an older version of the bucket, or let the checkpoint go.',
  'none',
  [LIST_MANIFESTS],
);

/** Manifests that checkpoints of the newest name must exist. */
export function pinFindings(
  { newest, ids }: Pick<DatabaseView, 'newest' | 'ids'>,
  during: Finding['during'],
): Finding[] {
  if (newest === undefined) return [];
  const present = new Set(ids);
  return neededManifests({ newest }).flatMap((reason) => {
    if (reason.kind !== 'checkpoint' || present.has(reason.manifestId)) return [];
    return makeFinding({
      code: 'MISSING_OBJECT',
      severity: 'warning',
      object: manifestFindingObject(reason.manifestId),
      at: WHOLE_OBJECT,
      expected: `the manifest of checkpoint ${reason.name ?? reason.checkpointId}`,
      during,
      hint: PIN_HINT,
    });
  });
}

/** What neighbouring manifests say about each other. */
function checkSequence({ manifests, findings }: DatabaseView, during: Finding['during']): void {
  for (const [i, { loaded }] of manifests.entries()) {
    if (loaded === undefined) continue;
    findings.push(...newerTrackerFindings(loaded, during));
    const before = manifests[i + 1]?.loaded;
    const previous = before?.id === loaded.id - 1 ? before : undefined;
    const found = (
      code: 'CHAIN_BREAK' | 'MANIFEST_INCONSISTENT' | 'TRUNCATED',
      severity: Finding['severity'],
      more: object,
    ) =>
      findings.push(
        makeFinding({
          code,
          severity,
          object: manifestFindingObject(loaded.id, { sealed: loaded.seal !== undefined, size: loaded.sizeBytes }),
          at: { unit: 'object', offset: 0, length: loaded.sizeBytes },
          during,
          hint: MANIFEST_HINT,
          ...more,
        }),
      );
    const record = loaded.seal?.manifest;
    if (record !== undefined && previous !== undefined && record.previousManifestId === previous.id) {
      if (!equalBytes(record.previousDigest, previous.digest)) {
        const expected = `sha256:${toHex(record.previousDigest)} of manifest ${previous.id}`;
        found('CHAIN_BREAK', i === 0 ? 'error' : 'warning', { expected, found: `sha256:${toHex(previous.digest)}` });
      }
    }
    if (loaded.seal !== undefined) continue;
    if (hasLostItsSeal(loaded, previous)) {
      const at = { unit: 'seal' as const, offset: loaded.sizeBytes, length: 0 };
      found('TRUNCATED', 'warning', { at, expected: 'the seal of its writer', found: 'none' });
    }
    const evidence = { previous: previous?.manifest, replayed: undefined };
    const broken = contradictions(loaded.id, loaded.manifest, evidence);
    if (broken.length > 0) found('MANIFEST_INCONSISTENT', i === 0 ? 'error' : 'warning', { found: broken.join('; ') });
    const doubted = doubts(loaded, previous);
    const odd = [...doubted, ...oddities(loaded, previous)];
    if (odd.length === 0) continue;
    // A newer SlateDB may order fields in another way, but then it did so before.
    const isNew = previous?.seal === undefined && previous !== undefined && doubts(previous, undefined).length === 0;
    const severity = isNew && doubted.length > 0 ? 'warning' : 'note';
    found('MANIFEST_INCONSISTENT', severity, { found: odd.join('; ') });
  }
}

function addTables(tables: DatabaseView['tables'], stores: DatabaseStores, { id, manifest }: LoadedManifest): void {
  const owners = ownersOf(manifest);
  const add = (ref: TableRef, level: NamedTable['level']) => {
    const seen = tables.get(ref.id);
    if (seen !== undefined) {
      if (seen.manifestIds[seen.manifestIds.length - 1] !== id) seen.manifestIds.push(id);
      return;
    }
    const parent = owners.get(ref.id);
    tables.set(ref.id, { ref, ...tablePlace(stores, parent, ref.id), parent, level, manifestIds: [id] });
  };
  const sources = treesOf(manifest).flatMap(sourcesOf);
  for (const { level, views } of sources) for (const view of views) add(view.table, level);
  for (const ref of manifest.unviewedTables) add(ref, 'run');
}
