/**
 * What killed processes have left of merging and collecting, and whether it is gone once a process has worked without being killed: then no
 * table is stored that no stored manifest names.
 */
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { type Manifest, tablesOf } from '../../src/format/manifest-types.ts';
import {
  MANIFEST_PREFIX,
  manifestPath,
  parseManifestPath,
  parseTablePath,
  TABLE_PREFIX,
} from '../../src/format/object-names.ts';
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

async function manifestIdsOf({ store, path }: DatabaseLocation): Promise<number[]> {
  const ids: number[] = [];
  for await (const object of store.list(`${path}/${MANIFEST_PREFIX}`)) {
    ids.push(parseManifestPath(object.path.slice(path.length + 1)) ?? 0);
  }
  return ids.sort((a, b) => a - b);
}

async function manifestAt({ store, path }: DatabaseLocation, id: number): Promise<Manifest | undefined> {
  const got = await store.get(`${path}/${manifestPath(id)}`);
  return got && loadManifest(id, got.bytes).manifest;
}

/** Whether tables have been merged and manifests been deleted, while a process works. */
export async function hasMergedAndCollected(location: DatabaseLocation): Promise<boolean> {
  const ids = await manifestIdsOf(location);
  const newest = ids.at(-1);
  if (newest === undefined || ids[0] === 1) return false;
  const manifest = await manifestAt(location, newest);
  return manifest !== undefined && manifest.runs.length > 0;
}

export async function leftTables(location: DatabaseLocation): Promise<LeftTables> {
  const { store, path } = location;
  const stored: string[] = [];
  for await (const object of store.list(`${path}/${TABLE_PREFIX}`)) {
    stored.push(parseTablePath(object.path.slice(path.length + 1)) ?? object.path);
  }
  const manifestIds = await manifestIdsOf(location);
  const named = new Set<string>();
  let inRuns = 0;
  for (const id of manifestIds) {
    const manifest = await manifestAt(location, id);
    if (manifest === undefined) throw new Error(`manifest ${id} is gone, but nobody works here`);
    for (const table of tablesOf(manifest)) named.add(table.id);
    inRuns = manifest.runs.flatMap((run) => run.views).length;
  }
  const missing = [...named].find((id) => !stored.includes(id));
  if (missing !== undefined) throw new Error(`table ${missing} is named by a manifest, but is not stored`);
  return { orphans: stored.filter((id) => !named.has(id)), named: named.size, inRuns, manifestIds };
}

/** A process that merges everything. */
async function workUndisturbed(location: DatabaseLocation): Promise<void> {
  const db = await open(location, { logger: SILENT_LOGGER, gc: false });
  // Tables with a later time than all in the tree and in the list of jobs may be under way.
  await db.put('after all', 'written');
  await db.compact();
  await db.close();
}

/** Servers say what time it is in whole seconds: what was stored within the present one may seem to be of the next, and stays. */
const STORE_TIME_STEP_MS = 1000;

const collect = (location: DatabaseLocation) =>
  gcOnce(location, { apply: true, minAgeMs: 0, allowUnsafeMinAge: true, recentManifests: 1 });

/** Lets a process work undisturbed; then nothing that no manifest names may be left. Resolves with how much there was before. */
export async function clearedOrphans(location: DatabaseLocation): Promise<number> {
  const { orphans } = await leftTables(location);
  await workUndisturbed(location);
  await collect(location);
  await new Promise((resolve) => setTimeout(resolve, STORE_TIME_STEP_MS));
  await collect(location);
  const after = await leftTables(location);
  if (after.orphans.length > 0) throw new Error(`tables that no manifest names are left: ${after.orphans.join(', ')}`);
  return orphans.length;
}
