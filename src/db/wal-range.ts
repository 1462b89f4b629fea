/**
 * Reads and verifies the part of the log that is not in tables, before anything is changed.
 *
 * Round trips 3 and 4 of an opening: one LIST from the replay point; then one GET for each object, many at a time, beside a
 * HEAD of the next three ids (a list may lag, and probing alone would stop at a hole). Objects are kept in memory up to a
 * limit; those beyond it are read again when their rows are applied.
 */
import { mapLimit } from '../common/async.ts';
import { equalBytes } from '../common/bytes.ts';
import { sleep } from '../common/clock.ts';
import {
  type CorruptionError,
  type Finding,
  type IncompatibleError,
  MAX_FINDINGS_PER_ERROR,
  ManifestCorruptionError,
  makeFinding,
  RollbackError,
  WalCorruptionError,
} from '../common/errors.ts';
import { parseWalPath, WAL_PREFIX, walPath } from '../format/object-names.ts';
import { numberObjectId } from '../format/seal-records.ts';
import type { LoadedManifest } from '../lsm/manifest-store.ts';
import { manifestFindingObject, tooNew } from '../lsm/manifest-store.ts';
import { checkLog, youngerThanTables } from '../lsm/wal-check.ts';
import {
  missingWalFinding,
  readWalObject,
  type WalDigest,
  type WalObject,
  type WalReadResult,
} from '../lsm/wal-object.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { OPEN_REREADS_MS } from './discover.ts';
import type { ResolvedOptions } from './options.ts';
import { ReplayProgress } from './replay-progress.ts';

const PARALLEL_GETS = 64;
const HEADS_PAST_END = 3;
const MAX_ROUNDS = 10;
/** With more ids missing than this, numbers in the manifest or in names are wrong; they are not asked for one by one. */
const MAX_MISSING = 10_000;

export class WalRange {
  readonly #store: ObjectStore;
  readonly #options: ResolvedOptions;
  readonly #results = new Map<number, WalReadResult>();
  readonly #digests = new Map<number, WalDigest>();
  readonly #dropped = new Set<number>();
  #keptBytes = 0;
  #from = 1;
  #end = 0;
  #prefixEnd = 0;
  /** Why nothing was read at all. */
  #senseless: CorruptionError | undefined;
  /** Rows at or below it are in tables. */
  #floorSeq = 0;

  constructor(store: ObjectStore, options: ResolvedOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** First id that is replayed. */
  get from(): number {
    return this.#from;
  }

  /** Last id that exists or must exist. */
  get end(): number {
    return this.#end;
  }

  /** Whether a zero-byte fence lies in the range: only SlateDB from 0.14 on writes those. */
  get hasZeroByteFence(): boolean {
    for (const r of this.#results.values()) if (r.object?.kind === 'empty') return true;
    return false;
  }

  /** Last id before everything that `verdict` found wrong. */
  get prefixEnd(): number {
    return this.#prefixEnd;
  }

  get greatestSeq(): number {
    let seq = 0;
    for (const r of this.#results.values()) if (r.object !== undefined) seq = Math.max(seq, r.object.maxSeq);
    return seq;
  }

  digestOf(id: number): WalDigest | undefined {
    return this.#digests.get(id) ?? this.#results.get(id)?.object?.digest();
  }

  /** Reads everything behind the manifest's replay point; what was read for an earlier manifest is kept. */
  async load(newest: LoadedManifest): Promise<void> {
    const { manifest } = newest;
    this.#from = manifest.replayAfterWalId + 1;
    this.#floorSeq = manifest.lastL0Seq;
    const listed = await this.#list(manifest.replayAfterWalId);
    const witnessed = Math.max(manifest.walIdLastSeen, newest.seal?.manifest?.walTail.id ?? 0);
    let lastListed = manifest.replayAfterWalId;
    for (const id of listed.keys()) lastListed = Math.max(lastListed, id);
    this.#end = Math.max(lastListed, witnessed);
    this.#senseless = undefined;
    if (this.#end - manifest.replayAfterWalId - listed.size > MAX_MISSING) {
      this.#senseless = manyMissing(newest, listed, lastListed, this.#end);
      this.#end = manifest.replayAfterWalId;
      this.#prefixEnd = this.#end;
      return;
    }
    let from = this.#from;
    for (let round = 1; ; round++) {
      const end = this.#end;
      const [further] = await Promise.all([this.#headsPast(end), this.#fetch(from, end, listed)]);
      // A busy writer adds objects as fast as we look; only the claim ends that, and the fence then finds what was passed.
      if (further === end || round === MAX_ROUNDS) return;
      from = end + 1;
      this.#end = further;
    }
  }

  /** Reads ids that were passed while the fence was placed. */
  async extend(to: number): Promise<void> {
    const from = this.#end + 1;
    this.#end = to;
    await this.#fetch(from, to, new Map());
  }

  async #list(after: number): Promise<Map<number, number>> {
    const sizes = new Map<number, number>();
    for await (const object of this.#store.list(WAL_PREFIX, { startAfter: walPath(after) })) {
      const id = parseWalPath(object.path);
      if (id !== undefined && id > after) sizes.set(id, object.size);
    }
    return sizes;
  }

  /** The last of the next ids that exists, else `end`. */
  async #headsPast(end: number): Promise<number> {
    const ids = Array.from({ length: HEADS_PAST_END }, (_, i) => end + 1 + i);
    const found = await Promise.all(ids.map((id) => this.#store.head(walPath(id))));
    return ids.reduce((last, id, i) => (found[i] === undefined ? last : id), end);
  }

  async #fetch(from: number, to: number, sizes: ReadonlyMap<number, number>): Promise<void> {
    const ids: number[] = [];
    for (let id = from; id <= to; id++) if (!this.#results.has(id)) ids.push(id);
    const progress = new ReplayProgress(this.#options, 'read', ids.length);
    for (const group of groupsBySize(ids, sizes, Math.floor(this.#options.memoryBytes / 4))) {
      await mapLimit(group, PARALLEL_GETS, async (id) => {
        const result = await this.#read(id);
        if (result !== undefined) this.#keep(result);
        progress.step();
      });
    }
  }

  /** One object, looked at up to three times if it is damaged; undefined if it does not exist. */
  async #read(id: number): Promise<WalReadResult | undefined> {
    for (let attempt = 0; ; attempt++) {
      const got = await this.#store.get(walPath(id));
      if (got === undefined) return undefined;
      const result = await readWalObject(id, got.bytes);
      if (result.object !== undefined || attempt === OPEN_REREADS_MS.length) return withReads(result, attempt + 1);
      await sleep(this.#options.clock, OPEN_REREADS_MS[attempt]);
    }
  }

  #keep(result: WalReadResult): void {
    const { object } = result;
    if (object !== undefined) {
      if (this.#keptBytes + object.sizeBytes > this.#options.memoryBytes / 4) {
        this.#digests.set(object.id, object.digest());
        this.#dropped.add(object.id);
        const digest = this.#digests.get(object.id) as WalDigest;
        result = { ...result, object: { ...object, blocks: [], digest: () => digest } };
      } else this.#keptBytes += object.sizeBytes;
    }
    this.#results.set(result.id, result);
  }

  /** The rows of an object, read again if they were not kept. Frees what was kept. */
  async take(id: number): Promise<WalObject> {
    let object = this.#results.get(id)?.object as WalObject;
    if (this.#dropped.has(id)) {
      const again = await this.#read(id);
      if (again?.object === undefined)
        throw walDamage(this.#from, this.#end, again?.findings ?? [], this.#inOrder(), this.#floorSeq);
      object = again.object;
    }
    const digest = this.digestOf(id);
    if (digest !== undefined) this.#digests.set(id, digest);
    this.#results.set(id, { ...(this.#results.get(id) as WalReadResult), object: { ...object, blocks: [] } });
    return object;
  }

  #inOrder(): (WalReadResult | undefined)[] {
    return Array.from({ length: Math.max(0, this.#end - this.#from + 1) }, (_, i) => this.#results.get(this.#from + i));
  }

  /** The error for everything that is wrong with the range; undefined if it is sound. */
  verdict(newest: LoadedManifest): Error | undefined {
    if (this.#senseless !== undefined) return this.#senseless;
    const results = this.#inOrder();
    const incompatible = results.find((r) => r?.incompatible !== undefined)?.incompatible;
    if (incompatible !== undefined) return atObject(incompatible, results);
    // A seal proves the manifest; SlateDB's have none.
    if (newest.seal === undefined) {
      const row = youngerThanTables(results, newest.manifest);
      if (row !== undefined) return rowWouldBeHidden(newest, row);
    }
    const tail = newest.seal?.manifest?.walTail;
    const findings = checkLog(this.#from, results, {
      lastL0Seq: newest.manifest.lastL0Seq,
      writerEpoch: newest.manifest.writerEpoch,
      witness: tail === undefined || tail.id === 0 ? undefined : tail,
    });
    const errors = findings.filter((f) => f.severity === 'error');
    for (const f of findings) {
      if (f.severity === 'error') continue;
      this.#options.logger.info('about the log', { code: f.code, path: f.object.path, found: f.found });
      this.#options.onEvent({ type: 'finding', finding: f });
    }
    const rolledBack = this.#rolledBack(newest);
    if (rolledBack !== undefined) errors.push(...rolledBack.findings);
    this.#prefixEnd = prefixEnd(this.#end, errors);
    if (errors.length === 0) return undefined;
    if (rolledBack !== undefined && errors.length === rolledBack.findings.length) return rolledBack;
    if (isMissingTail(errors, this.#prefixEnd, this.#end)) return tailLost(newest, this.#prefixEnd, this.#end, errors);
    return walDamage(this.#from, this.#end, errors, results, this.#floorSeq);
  }

  /** Objects of the log that know a newer manifest or epoch than the one in use: manifests are missing. */
  #rolledBack(newest: LoadedManifest): RollbackError | undefined {
    let knownId = newest.id;
    let epoch = newest.manifest.writerEpoch;
    for (const r of this.#results.values()) {
      const identity = r.seal?.identity;
      if (identity === undefined || r.id < this.#from) continue;
      if (newest.seal !== undefined && !equalBytes(identity.databaseId, newest.seal.identity.databaseId)) continue;
      knownId = Math.max(knownId, identity.newestManifestId);
      epoch = Math.max(epoch, identity.epoch);
    }
    if (knownId === newest.id && epoch === newest.manifest.writerEpoch) return undefined;
    const finding = makeFinding({
      code: 'ROLLED_BACK',
      object: manifestFindingObject(newest.id, { sealed: newest.seal !== undefined }),
      at: { unit: 'object', offset: 0, length: 0 },
      expected: `manifest ${knownId} or later, writer epoch ${epoch} or later`,
      found: `manifest ${newest.id}, writer epoch ${newest.manifest.writerEpoch}`,
    });
    return new RollbackError(
      `The newest manifest is ${newest.id}, but the log was written by somebody who knew manifest ${knownId} and epoch ${epoch}: manifests are missing. Nothing was changed.`,
      [finding],
      BigInt(knownId),
      BigInt(newest.id),
    );
  }
}

/** Consecutive ids whose objects together stay within `limitBytes`, at least one each. */
function groupsBySize(ids: readonly number[], sizes: ReadonlyMap<number, number>, limitBytes: number): number[][] {
  const groups: number[][] = [];
  let bytes = 0;
  for (const id of ids) {
    const size = sizes.get(id) ?? 0;
    if (groups.length === 0 || bytes + size > limitBytes) {
      groups.push([]);
      bytes = 0;
    }
    groups[groups.length - 1].push(id);
    bytes += size;
  }
  return groups;
}

function withReads(result: WalReadResult, attempts: number): WalReadResult {
  const findings = result.findings.map((f) => ({
    ...f,
    origin: attempts > 1 ? ('at-rest' as const) : f.origin,
    reads: { attempts, identical: true, pastCaches: true },
  }));
  return { ...result, findings };
}

function atObject(error: IncompatibleError, results: readonly (WalReadResult | undefined)[]): IncompatibleError {
  const id = results.find((r) => r?.incompatible === error)?.id ?? 0;
  return tooNew(walPath(id), error);
}

/** The error for a range in which more ids are missing than any store can have lost one by one. */
function manyMissing(
  newest: LoadedManifest,
  listed: ReadonlyMap<number, number>,
  lastListed: number,
  end: number,
): CorruptionError {
  const after = newest.manifest.replayAfterWalId;
  if (lastListed - after === listed.size) return tailLost(newest, lastListed, end, []);
  const missing: number[] = [];
  for (let id = after + 1; missing.length < MAX_FINDINGS_PER_ERROR; id++) if (!listed.has(id)) missing.push(id);
  const total = end - after - listed.size;
  return new WalCorruptionError(
    `The log is damaged: ${total} of the WAL objects ${after + 1} to ${end} are missing, the first is ${walPath(missing[0])}. Nothing was read or changed.`,
    missing.map(missingWalFinding),
    {
      replayAfter: BigInt(after),
      end: BigInt(end),
      damagedIds: [],
      missingIds: missing.map(BigInt),
      lostSeqs: [],
      recoverableRows: 0,
    },
    { total },
  );
}

/** Last id before the first one that a finding is about. */
function prefixEnd(end: number, errors: readonly Finding[]): number {
  return errors.reduce((last, f) => Math.min(last, (parseWalPath(f.object.path) ?? end + 1) - 1), end);
}

/** Whether nothing is wrong but that the last objects are missing, of which only the manifest knows. */
function isMissingTail(errors: readonly Finding[], lastThere: number, end: number): boolean {
  return errors.length === end - lastThere && errors.every((f) => f.code === 'MISSING_OBJECT');
}

function rowWouldBeHidden(
  { id, manifest, sizeBytes }: LoadedManifest,
  row: { walId: number; seq: number; createTs: number },
): ManifestCorruptionError {
  const { lastL0Seq, lastL0ClockTick } = manifest;
  const finding = makeFinding({
    code: 'MANIFEST_INCONSISTENT',
    object: manifestFindingObject(id, { size: sizeBytes }),
    at: { unit: 'object', offset: 0, length: sizeBytes },
    expected: `last_l0_seq below ${row.seq}, or last_l0_clock_tick at or above ${row.createTs}`,
    found: `last_l0_seq ${lastL0Seq}, last_l0_clock_tick ${lastL0ClockTick}`,
  });
  return new ManifestCorruptionError(
    `The newest manifest is damaged: ${finding.object.path} says that all rows up to sequence number ${lastL0Seq} are in tables, but row ${row.seq} of WAL object ${row.walId} is younger than any row of a table; it would be missing. Nothing was changed.`,
    [finding],
  );
}

function tailLost(newest: LoadedManifest, lastThere: number, end: number, errors: readonly Finding[]): RollbackError {
  const finding = makeFinding({
    code: 'ROLLED_BACK',
    object: manifestFindingObject(newest.id, { sealed: newest.seal !== undefined }),
    at: { unit: 'object', offset: 0, length: 0 },
    expected: `WAL objects up to ${end}`,
    found: `WAL objects up to ${lastThere}`,
  });
  return new RollbackError(
    `Manifest ${newest.id} knows WAL objects up to ${end}, but the log ends with ${lastThere}: its newest objects are missing. Nothing was changed.`,
    [finding, ...errors],
    BigInt(end),
    BigInt(lastThere),
  );
}

/** One error that lists everything. */
export function walDamage(
  from: number,
  end: number,
  findings: readonly Finding[],
  results: readonly (WalReadResult | undefined)[],
  floorSeq: number,
): WalCorruptionError {
  const damaged = new Set<number>();
  const missing: bigint[] = [];
  for (const f of findings) {
    const id = parseWalPath(f.object.path);
    if (id === undefined) continue;
    if (f.code === 'MISSING_OBJECT') missing.push(BigInt(id));
    else damaged.add(id);
  }
  const recoverableRows = results.reduce((n, r) => n + (r?.object?.rowCount ?? r?.readableRows ?? 0), 0);
  const first = findings[0];
  return new WalCorruptionError(
    `The log is damaged: ${findings.length} finding${findings.length === 1 ? '' : 's'} in WAL objects ${from} to ${end}, first ${first === undefined ? 'an object that changed while it was read' : `${first.code} in ${first.object.path}`}. ${recoverableRows} rows can be read. Nothing was changed.`,
    findings,
    {
      replayAfter: BigInt(from - 1),
      end: BigInt(end),
      damagedIds: [...damaged].sort((a, b) => a - b).map(BigInt),
      missingIds: missing,
      lostSeqs: lostSeqs(results, damaged, floorSeq),
      recoverableRows,
    },
  );
}

interface SeqRange {
  min: number;
  max: number;
}

/** Ranges of sequence numbers that the unreadable objects held: by their seals, else between their sound neighbours. */
function lostSeqs(
  results: readonly (WalReadResult | undefined)[],
  damaged: ReadonlySet<number>,
  floorSeq: number,
): { min: bigint; max: bigint }[] {
  const lost: SeqRange[] = [];
  const add = (min: number, max: number) => {
    const last = lost[lost.length - 1];
    if (last !== undefined && min <= last.max + 1) last.max = Math.max(last.max, max);
    else if (min <= max) lost.push({ min, max });
  };
  let lastSeq = floorSeq;
  let isOpen = false;
  for (const r of results) {
    const isBad = r === undefined || damaged.has(r.id);
    const held = isBad ? sealedSeqs(r) : seqsOf(r);
    if (held === undefined) {
      isOpen ||= isBad;
      continue;
    }
    if (isOpen) add(lastSeq + 1, held.min - 1);
    if (isBad) add(held.min, held.max);
    isOpen = false;
    lastSeq = Math.max(lastSeq, held.max);
  }
  return lost.map(({ min, max }) => ({ min: BigInt(min), max: BigInt(max) }));
}

function seqsOf({ object }: WalReadResult): SeqRange | undefined {
  return object === undefined || object.rowCount === 0 ? undefined : { min: object.minSeq, max: object.maxSeq };
}

/** What the seal of a damaged object says, if it is the object's own. */
function sealedSeqs(r: WalReadResult | undefined): SeqRange | undefined {
  const seal = r?.seal;
  if (seal?.wal === undefined || seal.wal.rows === 0) return undefined;
  if (!equalBytes(seal.identity.objectId, numberObjectId((r as WalReadResult).id))) return undefined;
  return { min: seal.wal.firstSeq, max: seal.wal.lastSeq };
}
