/**
 * Untouched copies of damaged objects, made before a repair changes anything: `shale/quarantine/<repairId>/<path>`.
 *
 * A copy is made by create-if-absent and read back; the damaged object itself is never overwritten and never deleted.
 */
import { ConflictError, UnavailableError } from '../common/errors.ts';
import { makeUlid } from '../common/ulid.ts';
import { parseQuarantinePath, QUARANTINE_PREFIX, quarantinePath, tablePath } from '../format/object-names.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import { unansweredError } from '../recovery/fence.ts';
import { type DamagedObject, sha256Hex } from './repair-plan.ts';
import type { Evidence } from './reports.ts';
import type { ToolTarget } from './target.ts';

/**
 * Paths of all objects that a repair has answered: those of which it kept a copy, and tables that a manifest which repaired says
 * it replaced or dropped (of a table that was gone there is nothing to copy). `manifests`: those that were read. One LIST.
 */
export async function answeredPaths(
  { stores }: ToolTarget,
  manifests: Iterable<LoadedManifest | undefined>,
): Promise<Set<string>> {
  const paths = new Set<string>();
  for (const loaded of manifests) for (const { from } of loaded?.seal?.repair?.pairs ?? []) paths.add(tablePath(from));
  for await (const { path } of stores.main.list(QUARANTINE_PREFIX)) {
    const copy = parseQuarantinePath(path);
    if (copy !== undefined) paths.add(copy.original);
  }
  return paths;
}

/** What will be copied; missing objects have nothing to copy. */
export function plannedEvidence(repairId: string, damaged: readonly DamagedObject[]): Evidence[] {
  return damaged.flatMap(({ path, sha256, bytes }) =>
    sha256 === undefined ? [] : [{ from: path, to: quarantinePath(repairId, path), sha256, bytes }],
  );
}

/**
 * Copies what is damaged and verifies the copies. Rejects with `ConflictError` (`PLAN_CHANGED`) if an object is no longer what
 * the plan saw. Three requests for each object.
 */
export async function putIntoQuarantine(
  target: ToolTarget,
  repairId: string,
  damaged: readonly DamagedObject[],
): Promise<void> {
  const { main, wal } = target.stores;
  for (const { path, store, sha256 } of damaged) {
    if (sha256 === undefined) continue;
    const got = await (store === 'wal' ? wal : main).get(path);
    if (got === undefined || sha256Hex(got.bytes) !== sha256) throw changedSinceRead(target, path);
    const to = quarantinePath(repairId, path);
    const putId = makeUlid(target.clock.nowMs(), target.random);
    const answer = await main.put(to, got.bytes, { condition: 'if-absent', putId });
    if (answer.outcome === 'unknown') throw unansweredError(target.where, to, answer.cause);
    const copy = await main.get(to);
    if (copy !== undefined && sha256Hex(copy.bytes) === sha256) continue;
    throw new UnavailableError(
      'STORE_DOWN',
      `${target.where}: the copy ${to} does not read back as what was written. Nothing else was changed.`,
    );
  }
}

function changedSinceRead(target: ToolTarget, path: string): ConflictError {
  return new ConflictError(
    'PLAN_CHANGED',
    `${target.where}: ${path} is no longer what the plan saw. Nothing was changed; run the repair again.`,
  );
}
