/**
 * What killed processes have left of merging and collecting, and whether it is gone once a process has worked without being killed: then no
 * table is stored that no stored manifest names.
 */
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { tablesOf } from '../../src/format/manifest-types.ts';
import { MANIFEST_PREFIX, parseManifestPath, parseTablePath, TABLE_PREFIX } from '../../src/format/object-names.ts';
import { loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { open } from '../../src/open.ts';
import type { DatabaseLocation } from '../../src/store/location.ts';
import { gcOnce } from '../../src/upkeep-calls.ts';

export interface LeftTables {
  /** Stored, but in no manifest that is stored. */
  orphans: string[];
  named: number;
  /** In runs of the newest manifest. */
  inRuns: number;
  /** Ids of the manifests, ascending. */
  manifestIds: number[];
}

export async function leftTables({ store, path }: DatabaseLocation): Promise<LeftTables> {
  const stored: string[] = [];
  for await (const object of store.list(`${path}/${TABLE_PREFIX}`)) {
    stored.push(parseTablePath(object.path.slice(path.length + 1)) ?? object.path);
  }
  const manifestIds: number[] = [];
  for await (const object of store.list(`${path}/${MANIFEST_PREFIX}`)) {
    manifestIds.push(parseManifestPath(object.path.slice(path.length + 1)) ?? 0);
  }
  manifestIds.sort((a, b) => a - b);
  const named = new Set<string>();
  let inRuns = 0;
  for (const id of manifestIds) {
    const got = await store.get(`${path}/${MANIFEST_PREFIX}${String(id).padStart(20, '0')}.manifest`);
    if (got === undefined) throw new Error(`manifest ${id} is gone, but nobody works here`);
    const { manifest } = loadManifest(id, got.bytes);
    for (const table of tablesOf(manifest)) named.add(table.id);
    inRuns = manifest.runs.flatMap((run) => run.views).length;
  }
  const missing = [...named].find((id) => !stored.includes(id));
  if (missing !== undefined) throw new Error(`table ${missing} is named by a manifest, but is not stored`);
  return { orphans: stored.filter((id) => !named.has(id)), named: named.size, inRuns, manifestIds };
}

/** A process that merges everything and collects what is left of those before. */
async function workUndisturbed(location: DatabaseLocation): Promise<void> {
  const db = await open(location, { logger: SILENT_LOGGER, gc: false });
  // Tables with a later time than all in the tree and in the list of jobs may be under way.
  await db.put('after all', 'written');
  await db.compact();
  await db.close();
  await gcOnce(location, { apply: true, minAgeMs: 0, allowUnsafeMinAge: true, recentManifests: 1 });
}

/** Lets a process work undisturbed; then nothing that no manifest names may be left. Resolves with how much there was before. */
export async function clearedOrphans(location: DatabaseLocation): Promise<number> {
  const { orphans } = await leftTables(location);
  await workUndisturbed(location);
  const after = await leftTables(location);
  if (after.orphans.length > 0) throw new Error(`tables that no manifest names are left: ${after.orphans.join(', ')}`);
  return orphans.length;
}
