/**
 * Which tables a database names, and where they lie: what every check and repair of tables begins with.
 *
 * Manifests are read whole and judged as an opening judges them; one that is damaged is a finding, and the newest good one
 * below it says which tables there should be. Costs one LIST of `manifest/` and one GET per manifest in scope.
 */

import { stopIfAborted } from '../common/abort.ts';
import { equalBytes, toHex } from '../common/bytes.ts';
import {
  type Finding,
  type Hint,
  IncompatibleError,
  isCorruption,
  makeFinding,
  unknownFinding,
} from '../common/errors.ts';
import type { Ulid } from '../common/ulid.ts';
import { type Manifest, type TableRef, type Tree, treesOf } from '../format/manifest-types.ts';
import { manifestPath, parseManifestPath } from '../format/object-names.ts';
import { type DatabaseStores, whereOf } from '../lsm/manifest/database-stores.ts';
import {
  type LoadedManifest,
  listManifestIds,
  loadManifest,
  manifestFindingObject,
} from '../lsm/manifest/manifest-store.ts';
import { ambiguousViewFindings } from '../lsm/manifest/view-ids.ts';
import { ownersOf, tablePlace } from '../lsm/tree/parents.ts';
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

export interface ManifestSight {
  id: number;
  /** Absent if it is damaged or cannot be read by this program. */
  loaded: LoadedManifest | undefined;
  size: number;
}

export interface Picture {
  /** All that are listed, ascending. */
  ids: number[];
  /** Those in scope that are there, newest first. */
  manifests: ManifestSight[];
  /** The newest that is good; with `isNewestGood` the newest of all. */
  newest: LoadedManifest | undefined;
  isNewestGood: boolean;
  /** Set if the newest needs a newer program: which tables there should be is unknown, and no older manifest tells it. */
  incompatible: IncompatibleError | undefined;
  tables: Map<Ulid, NamedTable>;
  findings: Finding[];
}

/** Reads the manifests in scope; none but the newest if that one needs a newer program. */
export async function readPicture(
  stores: DatabaseStores,
  scope: Scope,
  during: Finding['during'],
  signal?: AbortSignal,
): Promise<Picture> {
  const listed = await listManifestIds(stores.main);
  // One list that shows nothing proves nothing.
  const ids = await withUnlisted(stores.main, listed.length > 0 ? listed : await listManifestIds(stores.main));
  const picture: Picture = {
    ids,
    manifests: [],
    newest: undefined,
    isNewestGood: false,
    incompatible: undefined,
    tables: new Map(),
    findings: [],
  };
  const wanted = [...ids].reverse();
  for (const id of wanted) {
    stopIfAborted(signal);
    const needed = scope === 'all' || picture.newest === undefined || isPinned(picture.newest.manifest, id, scope);
    if (!needed) continue;
    const sight = await look(stores.main, id, picture, during);
    if (sight === undefined) continue;
    picture.manifests.push(sight);
    if (picture.incompatible !== undefined) return picture;
    if (sight.loaded !== undefined && picture.newest === undefined) {
      picture.newest = sight.loaded;
      picture.isNewestGood = id === ids[ids.length - 1];
    }
  }
  // A caller that finds nothing else of a database either says that none is here.
  if (ids.length === 0) picture.findings.push(...noManifestLeft(whereOf(stores), during).findings);
  if (picture.newest !== undefined) picture.findings.push(...ambiguousViewFindings(picture.newest, during));
  checkPins(picture, during);
  checkSequence(picture, during);
  picture.findings = picture.findings.map((finding) => weighed(finding, picture));
  for (const { loaded } of picture.manifests) if (loaded !== undefined) addTables(picture.tables, stores, loaded);
  return picture;
}

/** Whether the newest manifest or one that its checkpoints pin names the table. */
export function isNeeded({ newest }: Picture, named: NamedTable | undefined): boolean {
  if (named === undefined || newest === undefined) return named !== undefined;
  return named.manifestIds.some((id) => id === newest.id || isPinned(newest.manifest, id, 'checkpoints'));
}

/** Parents whose tables the manifests in scope name, with how many. */
export function parentsNamed({ tables }: Picture): Map<string, number> {
  const used = new Map<string, number>();
  for (const { parent } of tables.values()) if (parent !== undefined) used.set(parent, (used.get(parent) ?? 0) + 1);
  return used;
}

/** Checkpoints that alone keep the table; none if the newest manifest names it. */
export function onlyKeptBy({ newest }: Picture, named: NamedTable | undefined): string[] {
  if (named === undefined || newest === undefined || named.manifestIds.includes(newest.id)) return [];
  return newest.manifest.checkpoints.filter((c) => named.manifestIds.includes(c.manifestId)).map((c) => c.id);
}

/** What can be done about such a table, or all such tables of a parent: a repair changes only the newest state. */
export function checkpointAdvice(checkpoints: readonly string[], what = 'this table'): string {
  const those = checkpoints.length === 1 ? 'checkpoint' : 'checkpoints';
  return `The newest state does not need ${what}, only ${those} ${checkpoints.join(', ')}: whoever reads there meets the damage, and no repair changes what a checkpoint keeps. Restore the object from a backup or an older version of the bucket, or let the ${those} go.`;
}

function isPinned(newest: Manifest, id: number, scope: Scope): boolean {
  return scope === 'checkpoints' && newest.checkpoints.some((c) => c.manifestId === id);
}

/** Damage of a manifest that is not in use takes no row away; if a repair was written above it, it is answered, too. */
function weighed(finding: Finding, { ids, manifests, newest }: Picture): Finding {
  const id = parseManifestPath(finding.object.path);
  if (id === undefined || id === ids[ids.length - 1]) return finding;
  if (newest?.manifest.checkpoints.some((c) => c.manifestId === id)) return finding;
  if (manifests.some((m) => m.id > id && m.loaded?.seal?.manifest?.isRepair === true)) return asAnswered(finding);
  const isHarmless = finding.severity === 'note' || finding.severity === 'unknown';
  return { ...finding, severity: isHarmless ? 'note' : 'warning' };
}

/** A finding about what a repair has replaced: a note, and nobody is sent to repair it once more. */
export function asAnswered(finding: Finding): Finding {
  const hint = { ...finding.hint, summary: ANSWERED, commands: [], lossIfRepaired: 'none' as const };
  return { ...finding, severity: 'note', hint };
}

const ANSWERED =
  'A repair has answered this already, and nothing that is in use needs the object any more. There is nothing to do.';

/** Nothing is called damaged before it was read twice. Undefined: it was collected meanwhile. */
async function look(
  store: ObjectStore,
  id: number,
  picture: Picture,
  during: Finding['during'],
): Promise<ManifestSight | undefined> {
  for (let isLast = false; ; isLast = true) {
    const got = await store.get(manifestPath(id));
    if (got === undefined) return undefined;
    try {
      return { id, loaded: loadManifest(id, got.bytes), size: got.size };
    } catch (error) {
      if (!(error instanceof IncompatibleError) && !isCorruption(error)) throw error;
      if (!isLast) continue;
      if (error instanceof IncompatibleError) {
        picture.findings.push(unknownFinding(error, { object: manifestFindingObject(id, { size: got.size }), during }));
        if (id === picture.ids[picture.ids.length - 1]) picture.incompatible = error;
      } else {
        const reads = { attempts: 2, identical: true, pastCaches: true };
        picture.findings.push(
          ...error.findings.map((f) => ({ ...f, during, reads, origin: 'at-rest' as const, hint: MANIFEST_HINT })),
        );
      }
      return { id, loaded: undefined, size: got.size };
    }
  }
}

const MANIFEST_HINT: Hint = {
  summary: 'A manifest is damaged; a repair writes a new one above it.',
  commands: ['shaledb manifest inspect LOCATION', 'shaledb manifest repair LOCATION'],
  docs: 'docs/troubleshooting.md',
  lossIfRepaired: 'possible',
};

/** Manifests that checkpoints of the newest name must exist. */
function checkPins({ newest, ids, findings }: Picture, during: Finding['during']): void {
  if (newest === undefined) return;
  const present = new Set(ids);
  for (const c of newest.manifest.checkpoints) {
    if (present.has(c.manifestId)) continue;
    findings.push(
      makeFinding({
        code: 'MISSING_OBJECT',
        severity: 'warning',
        object: manifestFindingObject(c.manifestId),
        at: { unit: 'object', offset: 0, length: 0 },
        expected: `the manifest of checkpoint ${c.name ?? c.id}`,
        during,
        hint: MANIFEST_HINT,
      }),
    );
  }
}

/** What neighbouring manifests say of each other. */
function checkSequence({ manifests, findings }: Picture, during: Finding['during']): void {
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

function addTables(tables: Picture['tables'], stores: DatabaseStores, { id, manifest }: LoadedManifest): void {
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
  const addTree = (tree: Tree) => {
    for (const view of tree.l0) add(view.table, 'l0');
    for (const run of tree.runs) for (const view of run.views) add(view.table, 'run');
  };
  treesOf(manifest).forEach(addTree);
  for (const ref of manifest.unviewedTables) add(ref, 'run');
}
