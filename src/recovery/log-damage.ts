/**
 * A log as a whole: what each of its objects brings, what is lost of it, and what its findings should advise.
 *
 * Used before anything is changed: by openings, for the error they reject with, and by the tools.
 *
 * 1. An object is called damaged only after it gave the same bytes three times (asserted by `ReadAttempts`).
 * 2. Objects come in the order of their ids, one for each id of the range. One that is stored under another's name counts at its own id
 *    only if nothing better is there.
 * 3. A piece counts no row that is in tables, and what it has is within the sequence numbers of its object.
 */

import { type Hint, INSPECT_LOG, makeHint, REPAIR_LOG } from '../common/advice.ts';
import { assertThat } from '../common/assert.ts';
import { equalBytes } from '../common/bytes.ts';
import { type Clock, sleep } from '../common/clock.ts';
import { unknownFinding } from '../common/damage.ts';
import { IncompatibleError } from '../common/errors.ts';
import type { Finding } from '../common/finding.ts';
import { BlockCursor } from '../format/block-cursor.ts';
import { parseWalPath, walPath } from '../format/object-names.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import { ReadAttempts } from '../lsm/table/verified-read.ts';
import { readWalObject, type WalObject, type WalReadResult, walFindingObject } from '../lsm/wal/wal-object.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { type Acceptance, batchesOf, isGap } from './wal-batches.ts';
import type { LogPiece } from './wal-loss.ts';
import { type SalvagedWal, salvageWalObject, underOwnId } from './wal-salvage.ts';

/** One id of a log. */
export interface LogObject {
  id: number;
  /** undefined: nothing is there. */
  result: WalReadResult | undefined;
  /** What is left of it, if it is damaged. */
  salvaged: SalvagedWal | undefined;
  /** Of a damaged one, as it is stored. */
  bytes: Uint8Array | undefined;
}

/** Waits before a damaged object is looked at the second and third time, ms. */
export const REREADS_MS: readonly number[] = [100, 1000];

/** One object, read three times or more if it is damaged, and then what is left of it. One GET for each read. */
export async function readLogObject(store: ObjectStore, clock: Clock, id: number): Promise<LogObject> {
  const attempts = new ReadAttempts(REREADS_MS);
  for (;;) {
    const got = await store.get(walPath(id));
    if (got === undefined) return { id, result: undefined, salvaged: undefined, bytes: undefined };
    const { bytes } = got;
    const result = await readWalObject(id, bytes);
    if (result.object !== undefined) return { id, result, salvaged: undefined, bytes: undefined };
    attempts.add(bytes);
    const waitMs = attempts.nextWaitMs;
    if (waitMs !== undefined) {
      await sleep(clock, waitMs);
      continue;
    }
    const reads = attempts.reads(store.name, walPath(id));
    if (result.incompatible !== undefined) {
      const object = walFindingObject(id, { size: bytes.length, sealed: result.seal !== undefined });
      const unknown = unknownFinding(result.incompatible, { object, during: 'check' });
      return { id, result: { ...result, findings: [unknown] }, salvaged: undefined, bytes };
    }
    const salvaged = await salvageWalObject(id, bytes, result);
    // A seal that was found or repaired shows epochs and the object before, like one that was read at once.
    const seal = result.seal ?? salvaged.seal;
    return { id, result: withReads({ ...result, seal }, reads), salvaged, bytes };
  }
}

function withReads(result: WalReadResult, reads: Finding['reads']): WalReadResult {
  return { ...result, findings: result.findings.map((f) => ({ ...f, origin: 'at-rest', reads })) };
}

/** What an object brings to the log. Rows at or below `floorSeq` are in tables and count for nothing. */
export function pieceOf(
  { id, result, salvaged }: LogObject,
  isMisplaced: boolean,
  floorSeq: number,
  accept: Acceptance,
): LogPiece {
  const nothing: LogPiece = { id, sound: undefined, parts: undefined, held: undefined, isMisplaced };
  const object = result?.object ?? salvaged?.object;
  // Not a fence, as the findings say: what it was is gone.
  if (object?.kind === 'empty' && isMisplaced) return { ...nothing, parts: [{ gap: true, minSeq: undefined }] };
  if (object !== undefined) return { ...nothing, sound: soundRows(object, floorSeq) };
  if (salvaged === undefined) return nothing;
  if (salvaged.kind === 'fence') return { ...nothing, sound: { min: 0, max: 0, rows: 0, batches: 0 } };
  if (salvaged.kind === 'rows') return { ...nothing, parts: batchesOf(salvaged, accept), held: heldBySeal(salvaged) };
  return { ...nothing, parts: [{ gap: true, minSeq: undefined }], held: heldBySeal(salvaged) };
}

/** What the seal of an object says it held; a foreign one is about another object. */
function heldBySeal({ seal, kind }: SalvagedWal): LogPiece['held'] {
  if (seal?.wal === undefined || kind === 'foreign') return undefined;
  const { firstSeq, lastSeq, rows, batches } = seal.wal;
  return { min: firstSeq, max: lastSeq, rows, batches };
}

function soundRows(object: WalObject, floorSeq: number): NonNullable<LogPiece['sound']> {
  const { minSeq, maxSeq, rowCount, seal, blocks } = object;
  if (maxSeq <= floorSeq) return { min: minSeq, max: maxSeq, rows: 0, batches: 0 };
  const isWhole = minSeq > floorSeq;
  if (isWhole && seal?.wal !== undefined)
    return { min: minSeq, max: maxSeq, rows: rowCount, batches: seal.wal.batches };
  // Blocks that were not kept for want of memory are not counted; then all rows count.
  if (blocks.length === 0) return { min: minSeq, max: maxSeq, rows: rowCount, batches: undefined };
  const cursor = new BlockCursor();
  let rows = 0;
  let batches = 0;
  let last = -1;
  let min = maxSeq;
  for (const block of blocks) {
    cursor.attach(block);
    for (let more = cursor.first(); more; more = cursor.next()) {
      if (cursor.seq <= floorSeq) continue;
      rows++;
      min = Math.min(min, cursor.seq);
      if (cursor.seq !== last) batches++;
      last = cursor.seq;
    }
  }
  assertThat(batches <= rows && min > floorSeq, 'a piece counts no row that is in tables (log-damage 3)');
  return { min, max: maxSeq, rows, batches };
}

/**
 * The objects with those that are stored under another's name put where their seals say they belong, if that place has nothing
 * better; `readFrom` is the id under which each is found.
 */
export function movedToOwnIds(
  objects: readonly LogObject[],
  from: number,
  databaseId: Uint8Array | undefined,
): (LogObject & { readFrom: number })[] {
  assertThat(
    objects.length === 0 || objects[0].id === from,
    'objects come with the first id of the range (log-damage 2)',
  );
  const placed = objects.map((o, i) => ({ ...o, readFrom: from + i }));
  objects.forEach(({ salvaged }, i) => {
    const home = salvaged === undefined ? undefined : underOwnId(salvaged);
    const id = salvaged?.seal?.identity.databaseId;
    if (home === undefined || id === undefined) return;
    if (databaseId !== undefined && !equalBytes(id, databaseId)) return;
    const at = placed[home.id - from];
    // Zero bytes are a fence or an object that was emptied; one that says this is its place settles it.
    const isEmpty = at?.result?.object?.kind === 'empty';
    const isTaken =
      at === undefined || (at.result?.object !== undefined && !isEmpty) || at.salvaged?.object !== undefined;
    if (!isTaken) placed[home.id - from] = { ...at, result: undefined, salvaged: home, readFrom: from + i };
  });
  return placed;
}

/** Greatest sequence number that the manifest or any seal of the log records. */
export function greatestKnownSeq(newest: LoadedManifest, objects: Iterable<LogObject>): number {
  let seq = Math.max(newest.manifest.lastL0Seq, newest.seal?.manifest?.walTail.lastSeq ?? 0);
  for (const { result, salvaged } of objects) {
    const foreign = salvaged?.kind === 'foreign';
    const seal = foreign ? undefined : (salvaged?.seal ?? result?.seal);
    seq = Math.max(seq, seal?.wal?.lastSeq ?? 0, result?.object?.maxSeq ?? 0);
  }
  return seq;
}

/** Ids of objects that are readable, but not what was written there, or may not be. */
export function misplacedIds(findings: readonly Finding[]): Set<number> {
  const ids = new Set<number>();
  for (const f of findings) {
    const id = parseWalPath(f.object.path);
    if (id !== undefined && MISPLACED.includes(f.code) && f.severity === 'error') ids.add(id);
  }
  return ids;
}

const MISPLACED: readonly Finding['code'][] = ['OUT_OF_ORDER', 'CHAIN_BREAK', 'TRUNCATED'];

/** The finding with what can be done about it: `salvaged` is what is left of its object, if that is damaged. */
export function withLogAdvice(finding: Finding, salvaged: SalvagedWal | undefined): Finding {
  if (finding.severity === 'note' || finding.severity === 'unknown') return finding;
  const { remedy, lossIfRepaired, what } = prognosis(finding, salvaged);
  const summary = `${what} Repairing keeps copies of what is damaged, and lists what is lost.`;
  const hint = makeHint(summary, lossIfRepaired, [INSPECT_LOG, REPAIR_LOG]);
  return { ...finding, remedy, hint };
}

interface Prognosis extends Pick<Finding, 'remedy'>, Pick<Hint, 'lossIfRepaired'> {
  what: string;
}

function prognosis({ code, object }: Finding, salvaged: SalvagedWal | undefined): Prognosis {
  const path = object.path;
  if (code === 'MISSING_OBJECT') {
    return { remedy: 'none', lossIfRepaired: 'possible', what: `${path} is gone: if it held rows, they are lost.` };
  }
  if (salvaged === undefined) {
    return { remedy: 'none', lossIfRepaired: 'possible', what: `${path} is readable, but not what was written there.` };
  }
  if (salvaged.object !== undefined || salvaged.kind === 'fence') {
    return { remedy: 'heals', lossIfRepaired: 'none', what: `The damage of ${path} can be undone: no row is lost.` };
  }
  if (salvaged.kind === 'foreign') {
    const what = `${path} holds another object: its own rows are lost, unless they are stored under the other's name.`;
    return { remedy: 'none', lossIfRepaired: 'possible', what };
  }
  const parts = batchesOf(salvaged, 'probable');
  if (salvaged.kind === 'rows' && parts.every((p) => !isGap(p) && p.state === 'intact')) {
    const likely = salvaged.blocks.some((b) => b.state === 'probable');
    const how = likely ? 'can very likely be undone' : 'hides no row';
    return {
      remedy: likely ? 'heals-probably' : 'rebuilds',
      lossIfRepaired: likely ? 'possible' : 'none',
      what: `The damage of ${path} ${how}.`,
    };
  }
  const kept = parts.reduce((n, p) => n + (!isGap(p) && p.state === 'intact' ? p.rows.length : 0), 0);
  const total = salvaged.seal?.wal?.rows;
  const of = total === undefined ? `${kept} rows` : `${kept} of ${total} rows`;
  const none = `None of the ${total} rows in ${path} can be recovered.`;
  return {
    remedy: kept > 0 ? 'salvages' : 'none',
    lossIfRepaired: 'certain',
    what: kept === 0 && total !== undefined ? none : `${of} of ${path} can be recovered, the others are lost.`,
  };
}

/** A block whose checksum holds and that does not decode: its bytes are what a writer wrote. */
export function isAsWritten({ at, code }: Finding): boolean {
  return at.unit === 'block' && (code === 'MALFORMED' || code === 'DECOMPRESS_FAILED');
}

/**
 * The error for a log of which no block decodes although checksums hold: a wrong key or a newer form, which no repair may
 * empty; undefined if some block decodes or one is damaged.
 */
export function undecodable(objects: Iterable<LogObject>): IncompatibleError | undefined {
  let meant = 0;
  for (const { result, salvaged } of objects) {
    if (result?.incompatible !== undefined) return result.incompatible;
    if ((result?.object?.rowCount ?? 0) > 0) return undefined;
    if (salvaged === undefined) continue;
    if (salvaged.blocks.some((b) => b.block !== undefined)) return undefined;
    const findings = result?.findings ?? [];
    if (findings.length > 0 && findings.every(isAsWritten)) meant += findings.length;
    else return undefined;
  }
  if (meant === 0) return undefined;
  return new IncompatibleError(
    'FORMAT_TOO_NEW',
    `None of the ${meant} blocks of the log decodes, although their checksums hold: it was written in a form that this program does not know. It is not repaired.`,
    { details: { blocks: meant } },
  );
}
