/**
 * The log as the tools see it: every object read once and verified, one after the other, so that a log of any size fits into
 * memory; what is wrong with it, and what each object brings.
 */
import { stopIfAborted } from '../common/abort.ts';
import { mapLimit } from '../common/async.ts';
import { unknownFinding } from '../common/damage.ts';
import type { Finding } from '../common/finding.ts';
import { parseWalPath, walPath } from '../format/object-names.ts';
import { type LoadedManifest, readGoodManifest } from '../lsm/manifest/manifest-store.ts';
import { readWalObject, type WalObject, type WalReadResult } from '../lsm/wal/wal-object.ts';
import { isAsWritten, type LogObject, readLogObject, undecodable, withLogAdvice } from '../recovery/log-damage.ts';
import { type LogEvidence, readLogEvidence, withOlderWriterTail, withRepairBound } from '../recovery/log-evidence.ts';
import { type LogRange, listLog } from '../recovery/log-range.ts';
import { findNewestId } from '../recovery/place.ts';
import { checkLog, type LogContext, rowNewerThanTables } from '../recovery/wal-check.ts';
import { missingManifests, rowWouldBeHidden } from '../recovery/wal-errors.ts';
import { MAX_ROUNDS, type ToolTarget } from './target.ts';

const PARALLEL_GETS = 16;

export interface Survey extends LogRange {
  newest: LoadedManifest | undefined;
  /** One entry for each id; rows of sound objects are not kept. */
  objects: LogObject[];
  /** All findings, with advice. */
  findings: Finding[];
  /** Why nothing may be repaired: another form, missing manifests, a manifest that is wrong. */
  refusal: Error | undefined;
}

/**
 * Reads and verifies the log after the replay point. `see` gets each object while its rows are in memory. `listedId`: the highest
 * id of a manifest that is there, where `newest` is only the newest good one.
 */
export async function surveyLog(
  target: ToolTarget,
  newest: LoadedManifest | undefined,
  range: LogRange,
  see: (id: number, object: LogObject) => void = () => undefined,
  listedId = newest?.id,
): Promise<Survey> {
  const { from, end } = range;
  const { stores, clock, signal } = target;
  let hidden: Error | undefined;
  const ids = Array.from({ length: Math.max(0, end - from + 1) }, (_, i) => from + i);
  const objects = await mapLimit(ids, PARALLEL_GETS, async (id): Promise<LogObject> => {
    stopIfAborted(signal);
    const read = await readLogObject(stores.wal, clock, id);
    // A seal proves the manifest; SlateDB's have none.
    if (newest !== undefined && newest.seal === undefined) {
      const row = rowNewerThanTables([read.result], newest.manifest);
      if (row !== undefined) hidden ??= rowWouldBeHidden(newest, row);
    }
    see(id, read);
    return withoutRows(read);
  });
  const results = objects.map((o) => o.result);
  const { context, fenceIds } =
    newest === undefined ? { context: NO_CONTEXT, fenceIds: NO_IDS } : await readEvidence(target, newest, results);
  const found = checkLog(from, withoutToolFences(results, fenceIds), context);
  const rolledBack = newest === undefined ? undefined : missingManifests(newest, results, from, listedId);
  const unknown = undecodable(objects);
  const refusal = unknown ?? rolledBack ?? hidden;
  const findings = found.map((f) =>
    unknown !== undefined && isAsWritten(f)
      ? unknownFinding(unknown, f)
      : withLogAdvice(f, objects[(parseWalPath(f.object.path) ?? 0) - from]?.salvaged),
  );
  return { from, end, newest, objects, findings, refusal };
}

/** Newest objects of the log that are asked which manifests they know. */
const WITNESSES = 3;

/**
 * Whether objects of the log know of newer manifests than the newest one, of id `listedId`: then manifests are gone, and an opening
 * refuses the database. A live writer may have committed in the meantime: only a manifest listed after the log was read is called the
 * newest. A LIST of the log and three GETs, a LIST more if something is found.
 */
export async function missingManifestFindings(
  target: ToolTarget,
  newest: LoadedManifest,
  listedId: number,
): Promise<Finding[]> {
  const { stores } = target;
  let newestSeen = newest;
  let seenId = listedId;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const last = [...(await listLog(stores.wal)).keys()].sort((a, b) => a - b).slice(-WITNESSES);
    const results: WalReadResult[] = [];
    for (const id of last) {
      const got = await stores.wal.get(walPath(id));
      if (got !== undefined) results.push(await readWalObject(id, got.bytes));
    }
    const error = missingManifests(newestSeen, results, last[0] ?? 0, seenId);
    if (error === undefined) return [];
    const lastId = (await findNewestId(stores.main)) ?? 0;
    if (lastId <= seenId) return error.findings.map((f) => ({ ...f, during: 'check' as const }));
    // None if it was collected, or cannot be used, which is a finding of its own.
    const now = await readGoodManifest(stores.main, lastId);
    if (now === undefined) return [];
    newestSeen = now;
    seenId = lastId;
  }
  return [];
}

async function readEvidence(
  { stores }: ToolTarget,
  newest: LoadedManifest,
  results: LogObject['result'][],
): Promise<LogEvidence> {
  const evidence = await withOlderWriterTail(stores.main, newest, await readLogEvidence(stores.main, newest), results);
  return withRepairBound(stores.main, newest, evidence, results);
}

/** Frees the rows, and the bytes that a digest would be made of. */
function withoutRows(read: LogObject): LogObject {
  const object = read.result?.object;
  if (read.result === undefined || object === undefined) return read;
  const digest = object.digest();
  const bare: WalObject = { ...object, blocks: [], digest: () => digest };
  return { ...read, result: { ...read.result, object: bare } };
}

/** The log without the fences that repairs which were cut off put at its end. */
function withoutToolFences(
  results: readonly LogObject['result'][],
  fenceIds: ReadonlySet<number>,
): LogObject['result'][] {
  let length = results.length;
  for (; length > 0; length--) {
    const object = results[length - 1]?.object;
    const isEmptyFence = object?.kind === 'empty' && fenceIds.has(object.id);
    const isTableFence = object?.kind === 'fence' && object.seal?.identity.role === 'tool';
    if (!isEmptyFence && !isTableFence) break;
  }
  return results.slice(0, length);
}

/** Without a manifest nothing shows whether an empty last object is a fence. */
const NO_CONTEXT: LogContext = {
  lastL0Seq: 0,
  writerEpoch: Number.POSITIVE_INFINITY,
  databaseId: undefined,
  witness: undefined,
  writerTail: undefined,
};

const NO_IDS: ReadonlySet<number> = new Set();

/** Ids about which something is wrong, ascending. */
export function damagedIds(findings: readonly Finding[]): number[] {
  const ids = new Set<number>();
  for (const f of findings) {
    const id = f.severity === 'error' ? parseWalPath(f.object.path) : undefined;
    if (id !== undefined) ids.add(id);
  }
  return [...ids].sort((a, b) => a - b);
}
