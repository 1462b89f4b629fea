/**
 * What must hold between the objects of a log: no hole, sequence numbers and epochs that ascend, each sealed object naming
 * the digest of the one before it.
 *
 * 1. Each result is of its own id of the range, and an object that is not there stands as undefined.
 * 2. Whatever is wrong is a finding; nothing throws for what the objects say.
 */
import { assertThat } from '../common/assert.ts';
import { equalBytes, toHex } from '../common/bytes.ts';
import { defaultHint, type Finding, makeFinding, WHOLE_OBJECT } from '../common/finding.ts';
import { BlockCursor } from '../format/block-cursor.ts';
import type { Manifest } from '../format/manifest-types.ts';
import type { Seal } from '../format/seal.ts';
import {
  missingWalFinding,
  sealedWalId,
  type WalObject,
  type WalReadResult,
  walFindingObject,
} from '../lsm/wal/wal-object.ts';
import { boundAfter, classifyEmptyObjects, type KnownEpoch, type LogSlot } from './empty-log-objects.ts';

export interface LogContext {
  /** Rows at or below it are in tables already. */
  lastL0Seq: number;
  /** Highest epoch that a writer has claimed. */
  writerEpoch: number;
  /** Whose seals count, if that is known. */
  databaseId: Uint8Array | undefined;
  /** Digest and id of the newest object that the manifest names, if it names one. */
  witness: { id: number; lastSeq: number; digest: Uint8Array } | undefined;
  /** An object that a writer's manifest after its claim names: it is of that epoch, whose fence is there or before it. */
  writerTail: { id: number; epoch: number } | undefined;
  /** What repairs found when they claimed the database, ascending by id. */
  bounds?: readonly EpochBound[];
}

/** All objects up to `id` were there when no epoch above `epoch` had been claimed, as far as manifests can be read. */
export interface EpochBound {
  id: number;
  epoch: number;
}

/**
 * Findings about the log as a whole. `results` are the ids of the range in order; an absent object has no bytes and stands
 * as `undefined`.
 */
export function checkLog(
  from: number,
  results: readonly (WalReadResult | undefined)[],
  context: LogContext,
): Finding[] {
  const findings: Finding[] = [];
  let previous: WalObject | undefined;
  let lastRows: WalObject | undefined;
  let lastEpoch = 0;
  for (let i = 0; i < results.length; i++) {
    const result = results[i];
    if (result === undefined) {
      findings.push(missingWalFinding(from + i));
      previous = undefined;
      continue;
    }
    assertThat(result.id === from + i, 'each object is checked at its own place (wal-check 1)');
    findings.push(...result.findings);
    const { object } = result;
    if (previous !== undefined) findings.push(...checkSuccessor(previous, result, context.databaseId));
    if (object === undefined) {
      previous = undefined;
      continue;
    }
    if (lastRows !== undefined && object.rowCount > 0) findings.push(...checkOrder(lastRows, object));
    const epoch = object.seal?.identity.epoch;
    if (epoch !== undefined && epoch > 0) {
      if (epoch < lastEpoch) findings.push(fallingEpoch(object, epoch, lastEpoch));
      lastEpoch = Math.max(lastEpoch, epoch);
    }
    findings.push(...checkWitness(object, context.witness));
    if (object.rowCount > 0) lastRows = object;
    previous = object;
  }
  findings.push(...checkEmpty(from, results, context));
  return findings;
}

/** The seal of a damaged object, which still proves the one before it; not one that came from elsewhere. */
function ownSeal({ id, seal }: WalReadResult, databaseId: LogContext['databaseId']): Seal | undefined {
  if (seal === undefined || sealedWalId(seal) !== id) return undefined;
  return databaseId === undefined || equalBytes(seal.identity.databaseId, databaseId) ? seal : undefined;
}

/** What the object after `previous` says about it, if it says anything. */
export function checkSuccessor(
  previous: WalObject,
  next: WalReadResult,
  databaseId: LogContext['databaseId'],
): Finding[] {
  return checkChain(previous, next.object?.seal ?? ownSeal(next, databaseId));
}

/** `seal`: of the object after `previous`. */
function checkChain(previous: WalObject, seal: Seal | undefined): Finding[] {
  const record = seal?.wal;
  if (record === undefined || record.predecessorKind === 'unknown') return [];
  const digest = previous.digest();
  if (digest.kind === record.predecessorKind && equalBytes(digest.bytes, record.predecessorDigest)) return [];
  return [
    makeFinding({
      code: 'CHAIN_BREAK',
      object: walFindingObject(previous.id, { size: previous.sizeBytes, sealed: previous.seal !== undefined }),
      at: WHOLE_OBJECT,
      expected: `sha256:${toHex(record.predecessorDigest)}`,
      found: `sha256:${toHex(digest.bytes)}`,
      origin: 'replaced',
    }),
  ];
}

/** Two objects in the wrong order: nothing says which of them is in the wrong place. */
function checkOrder(before: WalObject, object: WalObject): Finding[] {
  if (object.minSeq > before.maxSeq) return [];
  const finding = (o: WalObject, expected: string) =>
    makeFinding({
      code: 'OUT_OF_ORDER',
      object: walFindingObject(o.id, { size: o.sizeBytes, sealed: o.seal !== undefined }),
      at: WHOLE_OBJECT,
      affects: { seqs: { min: BigInt(o.minSeq), max: BigInt(o.maxSeq) } },
      expected,
      found: `${o.minSeq}..${o.maxSeq}`,
    });
  return [
    finding(before, `sequence numbers below ${object.minSeq} of WAL object ${object.id}`),
    finding(object, `sequence numbers above ${before.maxSeq} of WAL object ${before.id}`),
  ];
}

function fallingEpoch(object: WalObject, epoch: number, highest: number): Finding {
  return makeFinding({
    code: 'SEQ_RANGE',
    object: walFindingObject(object.id, { size: object.sizeBytes, sealed: true }),
    at: WHOLE_OBJECT,
    expected: `epoch ${highest} or higher`,
    found: `epoch ${epoch}`,
  });
}

/** What a manifest says about the object it names. */
export function checkWitness(object: WalObject, witness: LogContext['witness']): Finding[] {
  if (witness === undefined || witness.id !== object.id) return [];
  const digest = object.digest();
  if (equalBytes(digest.bytes, witness.digest)) return [];
  return [
    makeFinding({
      code: 'CHAIN_BREAK',
      object: walFindingObject(object.id, { size: object.sizeBytes, sealed: object.seal !== undefined }),
      at: WHOLE_OBJECT,
      expected: `sha256:${toHex(witness.digest)} (manifest)`,
      found: `sha256:${toHex(digest.bytes)}`,
      origin: 'replaced',
    }),
  ];
}

/** Findings about objects of zero bytes that may have held rows (empty-log-objects.ts). */
function checkEmpty(from: number, results: readonly (WalReadResult | undefined)[], context: LogContext): Finding[] {
  const facts = {
    from,
    slots: results.map(slotOf),
    known: knownEpochs(results, context),
    writerEpoch: context.writerEpoch,
  };
  return classifyEmptyObjects(facts).flatMap(({ ids, verdict }) =>
    verdict === 'fence' ? [] : ids.map((id) => emptied(id, verdict === 'lost' ? 'error' : 'note')),
  );
}

function slotOf(result: WalReadResult | undefined): LogSlot {
  const object = result?.object;
  if (object === undefined) {
    return { kind: result === undefined ? 'missing' : 'unreadable', isSealed: false, namesPredecessor: false };
  }
  const { seal, rowCount, minSeq, maxSeq } = object;
  const isOfWriter = seal !== undefined && seal.identity.role !== 'tool';
  return {
    kind: object.kind === 'empty' || object.kind === 'fence' ? object.kind : 'rows',
    isSealed: seal !== undefined,
    namesPredecessor: isOfWriter && seal.wal !== undefined && seal.wal.predecessorKind !== 'unknown',
    ...(rowCount > 0 && { seqs: { min: minSeq, max: maxSeq } }),
  };
}

/** Epochs that the manifest and seals name; also seals of damaged and misplaced objects. */
function knownEpochs(
  results: readonly (WalReadResult | undefined)[],
  { databaseId, writerTail, bounds = [] }: LogContext,
): readonly KnownEpoch[] {
  const known = new Map<number, KnownEpoch>();
  if (writerTail !== undefined) known.set(writerTail.id, { ...writerTail, isFence: false });
  for (const result of results) {
    const seal = result?.seal;
    if (result === undefined || seal === undefined) continue;
    const { identity, kind } = seal;
    const isOurs = databaseId === undefined || equalBytes(identity.databaseId, databaseId);
    const id = result.object === undefined ? sealedWalId(seal) : result.id;
    // What is sound in its place may be a clone's, whose parent sealed it.
    if (id === undefined || (result.object === undefined && !isOurs)) continue;
    known.set(id, { id, epoch: identity.epoch, isFence: kind === 'fence' });
  }
  return [...known.values(), ...bounds.map(({ id, epoch }) => boundAfter(id, epoch))];
}

/** Whether it says that an object of zero bytes is no fence. */
export function isEmptied({ code, severity, object }: Finding): boolean {
  return code === 'TRUNCATED' && severity === 'error' && object.role === 'wal' && object.size === 0;
}

function emptied(id: number, severity: 'error' | 'note'): Finding {
  const object = walFindingObject(id, { size: 0 });
  return makeFinding({
    code: 'TRUNCATED',
    severity,
    object,
    at: WHOLE_OBJECT,
    expected: severity === 'error' ? 'rows, or a newer epoch in the manifest' : 'a fence, or rows that were lost',
    found: '0 bytes',
    ...(severity === 'note' && { hint: { ...defaultHint(object), summary: ORDINARY_FENCE, lossIfRepaired: 'none' } }),
  });
}

const ORDINARY_FENCE =
  'There is nothing to do: a SlateDB that takes over from another writer leaves such an object. Had it held rows, nothing in the store could show it.';

/**
 * A row that the manifest says is in tables although it is newer than all rows of tables; undefined if there is none.
 * `last_l0_seq` and `last_l0_clock_tick` are both taken from all rows that were flushed, so one of them is not what was written.
 * Reads only objects that have rows at or below `last_l0_seq`, and not into those whose blocks were not kept.
 */
export function rowNewerThanTables(
  results: Iterable<WalReadResult | undefined>,
  { lastL0Seq, lastL0ClockTick }: Manifest,
): { walId: number; seq: number; createTs: number } | undefined {
  const tick = Number(lastL0ClockTick);
  const rows = new BlockCursor();
  for (const result of results) {
    const object = result?.object;
    if (object === undefined || object.rowCount === 0 || object.minSeq > lastL0Seq) continue;
    for (const block of object.blocks) {
      rows.attach(block);
      for (let more = rows.first(); more; more = rows.next()) {
        const { seq, createTs } = rows;
        if (seq <= lastL0Seq && createTs > tick) return { walId: object.id, seq, createTs };
      }
    }
  }
  return undefined;
}

/** Whether a manifest only claims a database for a repair that did not end. */
export function isToolClaim(seal: Seal | undefined): boolean {
  return seal?.identity.role === 'tool' && seal.owner !== undefined && seal.repair === undefined;
}
