/**
 * Reads and verifies the part of the log that is not in tables, before anything is changed.
 *
 * Round trips 3 and 4 of an opening: one LIST from the object at the replay point on; then one GET for each object, many at a time, beside a
 * HEAD of the next three ids (a list may lag, and probing alone would stop at a hole). Objects are kept in memory up to a
 * limit; those beyond it are read again when their rows are applied. Where a repair was cut off, one GET more for its claim;
 * where empty objects stand together, one or more for older manifests. Where no object is there although one was, three or more to be
 * sure of it (vanished-log.ts).
 *
 * A range can be loaded again, for a newer manifest or a longer log. Log objects never change, so one that was sound is not read
 * again while lists show the size and ETag that it had before it was read. What was damaged, healed or missing, and what lists show
 * otherwise or not at all, is read again. The whole range is checked each time.
 *
 * Invariants:
 * 1. An object is kept once, and what is let go of was counted.
 * 2. The end of the log is not before what is listed or named, and a log that grows does not shrink.
 * 3. Rows are only taken of an object that was verified.
 */
import { assertThat } from '../common/assert.ts';
import { mapLimit } from '../common/async.ts';
import type { CorruptionError, IncompatibleError } from '../common/errors.ts';
import { reportFinding } from '../common/events.ts';
import type { Finding } from '../common/finding.ts';
import { walPath } from '../format/object-names.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import { tooNew } from '../lsm/table/verified-read.ts';
import type { WalDigest, WalObject, WalReadResult } from '../lsm/wal/wal-object.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { type LogObject, readLogObject } from './log-damage.ts';
import {
  type LogEvidence,
  logEvidenceOf,
  readLogEvidence,
  withOlderWriterTail,
  withoutEmptyFences,
  withRepairBound,
} from './log-evidence.ts';
import { extentOf, headsAfter, type ListedWal, listFromReplayPoint, tooMuchMissing } from './log-range.ts';
import { ReplayProgress, type ReportParts } from './replay-progress.ts';
import { findVanishedLog } from './vanished-log.ts';
import { checkLog, rowNewerThanTables } from './wal-check.ts';
import {
  isMissingTail,
  lastSoundId,
  missingManifests,
  olderThanExpected,
  rowWouldBeHidden,
  tailLost,
  walDamage,
} from './wal-errors.ts';
import type { SalvagedWal } from './wal-salvage.ts';

const LOG_GETS_AT_ONCE = 64;
const MAX_GROWTH_ROUNDS = 10;
/** Memory of what is kept to check an object, its seal above all, without its rows: about so much. */
const RESULT_BYTES = 2048;

/** Of a database: where its log and its manifests are. */
export type LogStores = Pick<DatabaseStores, 'wal' | 'main' | 'hasWalStore'>;

/** How the log is read: plain data, of the settings of an opening. */
export interface LogSettings {
  /** Of a database as a whole: a quarter of it may hold objects until their rows are applied. */
  memoryBytes: number;
  /** Undo damage that seals prove to be undoable, in memory. */
  healOnOpen: boolean;
  /** Greatest sequence number that the caller has seen. */
  expectAtLeast?: bigint | undefined;
}

/** What an opening reads the log with. */
export interface LogMeans {
  settings: LogSettings;
  parts: ReportParts;
}

export class VerifiedLog {
  readonly #store: ObjectStore;
  readonly #main: ObjectStore;
  readonly #hasWalStore: boolean;
  readonly #settings: LogSettings;
  readonly #parts: ReportParts;
  readonly #results = new Map<number, WalReadResult>();
  readonly #digests = new Map<number, WalDigest>();
  readonly #dropped = new Set<number>();
  /** What was listed before each object was read; an object that changes shows another size or ETag. */
  readonly #listed = new Map<number, ListedWal>();
  #firstChangedId = Number.POSITIVE_INFINITY;
  /** What is left of damaged objects. */
  readonly #salvaged = new Map<number, SalvagedWal>();
  #keptBytes = 0;
  #from = 1;
  #end = 0;
  #prefixEnd = 0;
  /** Why nothing was read at all. */
  #implausible: CorruptionError | undefined;
  /** That the log is gone, as far as that can be seen. */
  #vanished: Finding | undefined;
  #isVanishedReported = false;
  #newest: LoadedManifest | undefined;
  #evidence: LogEvidence | undefined;

  constructor({ wal, main, hasWalStore }: LogStores, { settings, parts }: LogMeans) {
    this.#store = wal;
    this.#main = main;
    this.#hasWalStore = hasWalStore;
    this.#settings = settings;
    this.#parts = parts;
  }

  /** First id that is replayed. */
  get from(): number {
    return this.#from;
  }

  /** Last id that exists or must exist. */
  get end(): number {
    return this.#end;
  }

  /** Whether a zero-byte fence is in the range: only SlateDB from 0.14 on writes those. */
  get hasZeroByteFence(): boolean {
    for (const r of this.#results.values()) if (r.object?.kind === 'empty') return true;
    return false;
  }

  /** Last id before everything that `verdict` found wrong. */
  get prefixEnd(): number {
    return this.#prefixEnd;
  }

  /** The lowest id whose object was sound and is not there any more as it was read, of all loads; infinite if there is none. */
  get firstChangedId(): number {
    return this.#firstChangedId;
  }

  /** Greatest sequence number of the objects that are known and are before the range; 0 if there is none. */
  get passedSeq(): number {
    let seq = 0;
    for (const { id, object } of this.#results.values()) if (id < this.#from) seq = Math.max(seq, object?.maxSeq ?? 0);
    return seq;
  }

  /** Memory held, roughly, in bytes. */
  get memoryBytes(): number {
    return this.#keptBytes + this.#results.size * RESULT_BYTES;
  }

  get greatestSeq(): number {
    let seq = 0;
    for (const r of this.#results.values()) if (r.object !== undefined) seq = Math.max(seq, r.object.maxSeq);
    return seq;
  }

  digestOf(id: number): WalDigest | undefined {
    return this.#digests.get(id) ?? this.#results.get(id)?.object?.digest();
  }

  /** Reads everything after the manifest's replay point that was not read before; a GET for each, a LIST and three HEADs. */
  async load(newest: LoadedManifest): Promise<void> {
    const { manifest } = newest;
    this.#from = manifest.replayAfterWalId + 1;
    this.#newest = newest;
    this.#vanished = undefined;
    const [{ listed, isReplayPointThere }, evidence] = await Promise.all([
      listFromReplayPoint(this.#store, manifest.replayAfterWalId),
      readLogEvidence(this.#main, newest),
    ]);
    this.#evidence = evidence;
    this.#forgetChanged(listed);
    const extent = extentOf(newest, listed);
    this.#end = extent.end;
    this.#implausible = tooMuchMissing(newest, listed, extent);
    if (this.#implausible !== undefined) {
      this.#end = manifest.replayAfterWalId;
      this.#prefixEnd = this.#end;
      return;
    }
    let from = this.#from;
    for (let round = 1; ; round++) {
      const end = this.#end;
      const [further] = await Promise.all([this.#headsAfter(end), this.#fetch(from, end)]);
      // A busy writer adds objects as fast as we look; only the claim ends that, and the fence then finds what was passed.
      if (further === end || round === MAX_GROWTH_ROUNDS) break;
      from = end + 1;
      this.#end = further;
    }
    if (!isReplayPointThere && this.#end === manifest.replayAfterWalId) {
      const stores = { wal: this.#store, main: this.#main, hasWalStore: this.#hasWalStore };
      this.#vanished = await findVanishedLog(stores, newest, 'open');
    }
    assertThat(this.#end >= extent.end, 'the end of the log is not before what is listed or named (verified-log 2)');
    const results = this.#inOrder();
    const withTail = await withOlderWriterTail(this.#main, newest, evidence, results);
    this.#evidence = await withRepairBound(this.#main, newest, withTail, results);
  }

  /** Reads ids that were passed while the fence was placed. */
  async extend(to: number): Promise<void> {
    assertThat(
      to >= this.#end && this.#newest !== undefined,
      'a log is read before it grows, and does not shrink (verified-log 2)',
    );
    const from = this.#end + 1;
    this.#end = to;
    await this.#fetch(from, to);
  }

  /** Lets go of everything before `id`. */
  forgetBefore(id: number): void {
    for (const known of this.#results.keys()) if (known < id) this.#forget(known);
    for (const known of this.#listed.keys()) if (known < id) this.#listed.delete(known);
  }

  /** What has to be looked at, although it was before, is as if it had not been. */
  #forgetChanged(listed: ReadonlyMap<number, ListedWal>): void {
    for (const [id, { object }] of this.#results) {
      if (id < this.#from) continue;
      const isAsRead = isSame(this.#listed.get(id), listed.get(id));
      if (isAsRead && object !== undefined && !this.#salvaged.has(id)) continue;
      if (!isAsRead && object !== undefined) this.#firstChangedId = Math.min(this.#firstChangedId, id);
      this.#forget(id);
    }
    for (const [id, object] of listed) this.#listed.set(id, object);
  }

  #forget(id: number): void {
    const object = this.#results.get(id)?.object;
    if (object !== undefined) this.#release(object);
    this.#results.delete(id);
    this.#digests.delete(id);
    this.#dropped.delete(id);
    this.#salvaged.delete(id);
    this.#listed.delete(id);
  }

  /** The rows of a kept object leave the memory. */
  #release({ id, blocks, sizeBytes }: WalObject): void {
    if (blocks.length > 0 && !this.#dropped.has(id)) this.#keptBytes -= sizeBytes;
    assertThat(this.#keptBytes >= 0, 'what is let go was counted (verified-log 1)');
  }

  /** The last of the next ids that exists, else `end`. */
  async #headsAfter(end: number): Promise<number> {
    const found = await headsAfter(this.#store, end);
    for (const [id, object] of found) this.#listed.set(id, object);
    return Math.max(end, ...found.keys());
  }

  async #fetch(from: number, to: number): Promise<void> {
    const ids: number[] = [];
    for (let id = from; id <= to; id++) if (!this.#results.has(id)) ids.push(id);
    const progress = new ReplayProgress(this.#parts, 'read', ids.length);
    for (const group of groupsBySize(ids, this.#listed, Math.floor(this.#settings.memoryBytes / 4))) {
      await mapLimit(group, LOG_GETS_AT_ONCE, async (id) => {
        const result = await this.#read(id);
        if (result !== undefined) this.#keep(result);
        progress.step();
      });
    }
  }

  /** One object, looked at up to three times if it is damaged; undefined if it does not exist. */
  async #read(id: number): Promise<WalReadResult | undefined> {
    const { clock } = this.#parts;
    const { healOnOpen } = this.#settings;
    const read = await readLogObject(this.#store, clock, id);
    const { result, salvaged } = read;
    this.#salvaged.delete(id);
    if (result === undefined || salvaged === undefined) return result;
    this.#salvaged.set(id, salvaged);
    return healOnOpen && salvaged.object !== undefined ? withRepairWarnings(result, salvaged.object) : result;
  }

  #keep(result: WalReadResult): void {
    const { object } = result;
    if (object !== undefined) {
      if (this.#keptBytes + object.sizeBytes > this.#settings.memoryBytes / 4) {
        this.#dropped.add(object.id);
        result = this.#withoutRows(result, object);
      } else if (object.blocks.length > 0) this.#keptBytes += object.sizeBytes;
    }
    assertThat(!this.#results.has(result.id), 'an object is kept once (verified-log 1)');
    this.#results.set(result.id, result);
  }

  /** What a check needs. Nothing of it holds on to the bytes of the object: sections of its end are parts of them. */
  #withoutRows(result: WalReadResult, object: WalObject): WalReadResult {
    const digest = this.#digests.get(object.id) ?? object.digest();
    this.#digests.set(object.id, digest);
    return { ...result, tail: undefined, index: undefined, object: { ...object, blocks: [], digest: () => digest } };
  }

  /** The rows of an object, read again if they were not kept. Frees what was kept. */
  async take(id: number): Promise<WalObject> {
    assertThat(
      this.#results.get(id)?.object !== undefined,
      'rows are taken of an object that was verified (verified-log 3)',
    );
    let object = this.#results.get(id)?.object as WalObject;
    if (this.#dropped.has(id)) {
      const again = await this.#read(id);
      if (again?.object === undefined)
        throw walDamage(this.#newest as LoadedManifest, this.#from, again?.findings ?? [], this.#objects());
      object = again.object;
    }
    this.#release(object);
    this.#results.set(id, this.#withoutRows(this.#results.get(id) as WalReadResult, object));
    return object;
  }

  #inOrder(): (WalReadResult | undefined)[] {
    return Array.from({ length: Math.max(0, this.#end - this.#from + 1) }, (_, i) => this.#results.get(this.#from + i));
  }

  #tooOld(newest: LoadedManifest): Error | undefined {
    const { expectAtLeast } = this.#settings;
    const found = BigInt(Math.max(newest.manifest.lastL0Seq, this.greatestSeq));
    return expectAtLeast === undefined || found >= expectAtLeast
      ? undefined
      : olderThanExpected(newest, expectAtLeast, found);
  }

  #objects(): LogObject[] {
    return this.#inOrder().map((result, i) => {
      const id = this.#from + i;
      return { id, result, salvaged: this.#salvaged.get(id), bytes: undefined };
    });
  }

  /** No reason to refuse anything: the tables are right. Once, however often the range is loaded. */
  #reportVanished(): void {
    if (this.#vanished === undefined || this.#isVanishedReported) return;
    this.#isVanishedReported = true;
    reportFinding(this.#parts, 'the log is gone, or in another store', this.#vanished);
  }

  /** The error for everything that is wrong with the range; undefined if it is sound. */
  verdict(newest: LoadedManifest): Error | undefined {
    if (this.#implausible !== undefined) return this.#implausible;
    const results = this.#inOrder();
    const incompatible = results.find((r) => r?.incompatible !== undefined)?.incompatible;
    if (incompatible !== undefined) return atObject(incompatible, results);
    // A seal proves the manifest; SlateDB's have none.
    const row = newest.seal === undefined ? rowNewerThanTables(results, newest.manifest) : undefined;
    const evidence = newest === this.#newest && this.#evidence !== undefined ? this.#evidence : logEvidenceOf(newest);
    const findings = checkLog(this.#from, withoutEmptyFences(results, evidence), evidence.context);
    const errors = findings.filter((f) => f.severity === 'error');
    for (const f of findings) {
      if (f.severity === 'error') continue;
      reportFinding(this.#parts, 'about the log', f);
    }
    this.#reportVanished();
    const rolledBack = missingManifests(newest, results, this.#from);
    if (rolledBack !== undefined) errors.push(...rolledBack.findings);
    this.#prefixEnd = lastSoundId(this.#end, errors);
    assertThat(this.#prefixEnd <= this.#end, 'what is sound ends with the log at the latest');
    if (row !== undefined) return rowWouldBeHidden(newest, row, errors);
    if (errors.length === 0) return this.#tooOld(newest);
    if (rolledBack !== undefined && errors.length === rolledBack.findings.length) return rolledBack;
    if (isMissingTail(errors, this.#prefixEnd, this.#end)) return tailLost(newest, this.#prefixEnd, this.#end, errors);
    return walDamage(newest, this.#from, errors, this.#objects());
  }
}

/** Whether an object is the one that was listed before. Without an ETag it is unknown. */
function isSame(before: ListedWal | undefined, now: ListedWal | undefined): boolean {
  if (before === undefined || now === undefined) return false;
  return before.size === now.size && before.etag === now.etag && now.etag !== '';
}

/** Consecutive ids whose objects together stay within `limitBytes`, at least one each. */
function groupsBySize(ids: readonly number[], listed: ReadonlyMap<number, ListedWal>, limitBytes: number): number[][] {
  const groups: number[][] = [];
  let bytes = 0;
  for (const id of ids) {
    const size = listed.get(id)?.size ?? 0;
    if (groups.length === 0 || bytes + size > limitBytes) {
      groups.push([]);
      bytes = 0;
    }
    groups[groups.length - 1].push(id);
    bytes += size;
  }
  return groups;
}

/** The object as it was, with what was wrong with it as warnings: an event for each. */
function withRepairWarnings(result: WalReadResult, object: WalObject): WalReadResult {
  const findings = result.findings.map((f) => ({ ...f, severity: 'warning' as const, remedy: 'heals' as const }));
  return { ...result, object, findings };
}

function atObject(error: IncompatibleError, results: readonly (WalReadResult | undefined)[]): IncompatibleError {
  const id = results.find((r) => r?.incompatible === error)?.id ?? 0;
  return tooNew(walPath(id), error);
}
