/**
 * What must hold for a database whose objects were damaged at rest, whichever process reads, opens or repairs it.
 *
 * Per key there are only: the right value, a corruption error that names a damaged object which may hold the key, and under
 * `available` an older value that is flagged. A process that only reads changes nothing. After repairs the content is the model
 * without what their reports say is lost; evidence is unchanged, and no object was overwritten.
 */
import { createHash } from 'node:crypto';
import { compareBytes } from '../../src/common/bytes.ts';
import { type DbError, isCorruption } from '../../src/common/errors.ts';
import { inRange, type KeyRange } from '../../src/common/key-range.ts';
import type { Db } from '../../src/db/db.ts';
import type { Reader } from '../../src/db/reader.ts';
import { LEDGER_PREFIX, parseWalPath, walPath } from '../../src/format/object-names.ts';
import { decodeLedger, type LedgerEntry } from '../../src/lsm/tree/damage-ledger.ts';
import type { RepairReport } from '../../src/tools/reports.ts';
import { call, text } from './calls.ts';
import type { Damage } from './damaging.ts';
import type { Process } from './machine.ts';
import { Model, type RowOp } from './model.ts';
import type { Draw } from './script.ts';
import type { SimObject, SimStore } from './sim-store.ts';
import { describe, type World } from './world.ts';

/** Keys of the databases that are damaged. */
export const KEYS = 20;
/** Made again from a manifest's seal where it is damaged. */
const MADE_AGAIN = 'shale/identity';

export function keyName(i: number): string {
  return `k${String(i).padStart(2, '0')}`;
}

export class DamageJudge {
  readonly model = new Model();
  readonly damages: Damage[] = [];
  /** Paths whose damage an error may name. */
  readonly suspects = new Set<string>();
  readonly #world: World;
  readonly #store: SimStore;
  readonly #draw: Draw;
  readonly #states: Set<string>;
  /** Commits that a repair was not sure about, or whose writer got no answer. */
  #mayBeGone: (seq: number) => boolean = () => false;
  #unknownSeq: number | undefined;

  constructor(world: World, store: SimStore, draw: Draw, states: Set<string>) {
    this.#world = world;
    this.#store = store;
    this.#draw = draw;
    this.#states = states;
  }

  fail(message: string): void {
    this.#world.fail(`${message}; damaged were ${JSON.stringify(this.damages)}`);
  }

  reached(state: string): void {
    this.#states.add(state);
  }

  objects(): Map<string, SimObject> {
    return new Map(this.#store.objects);
  }

  expectUnchanged(before: ReadonlyMap<string, SimObject>, who: string): void {
    for (const [path, { bytes }] of before) {
      const now = this.#store.objects.get(path);
      if (now === undefined || compareBytes(now.bytes, bytes) !== 0) this.fail(`${who} changed ${path}`);
    }
    const added = [...this.#store.objects.keys()].filter((path) => !before.has(path));
    if (added.length > 0) this.fail(`${who} wrote ${added.join(', ')}`);
  }

  /** Every key in every way; how many reads met damage. */
  async readAll(process: Process, source: Db | Reader): Promise<number> {
    let met = 0;
    for (let i = 0; i <= KEYS; i++) met += (await this.readKey(process, source, keyName(i), false)) ? 1 : 0;
    return met + (await this.#readMany(process, source)) + (await this.#scan(process, source));
  }

  /** All keys at once; how many of them met damage. */
  async #readMany(process: Process, source: Db | Reader): Promise<number> {
    const keys = Array.from({ length: KEYS + 1 }, (_, i) => keyName(i));
    const got = await call(process, 'read', () => source.getMany(keys, { corruptionPolicy: 'strict' }));
    if (got === 'died') throw new Error('nobody killed it');
    const each = 'value' in got ? got.value : resultsOf(got.error);
    if (each?.length !== keys.length) {
      this.fail(`getMany says nothing of each key: ${'error' in got ? describe(got.error) : got.value.length}`);
      return 1;
    }
    for (const [i, result] of each.entries()) {
      const what = `getMany, ${keys[i]}`;
      if (result instanceof Error) this.expectDamage(result, keys[i], what);
      else this.#expectOneOf(this.model.readUnsure(keys[i], this.#mayBeGone), result && text(result), what);
    }
    return each.filter((result) => result instanceof Error).length;
  }

  /** Whether damage was met. */
  async readKey(process: Process, source: Db | Reader, key: string, mustBeRight: boolean): Promise<boolean> {
    const right = this.model.readUnsure(key, this.#mayBeGone);
    const got = await call(process, 'read', () => source.getWithMeta(key));
    const strict = await call(process, 'read', () => source.get(key, { corruptionPolicy: 'strict' }));
    if (got === 'died' || strict === 'died') throw new Error('nobody killed it');
    if ('error' in strict) this.expectDamage(strict.error, key, `strict get of ${key}`);
    else this.#expectOneOf(right, strict.value && text(strict.value), `strict get of ${key}`);
    if ('error' in got) {
      this.expectDamage(got.error, key, `get of ${key}`);
      this.reached('get rejected');
    } else if (got.value?.possiblyStale) {
      this.reached('get flagged');
      if (!('error' in strict)) this.fail(`get of ${key} is flagged, but strict gives a value`);
      this.#expectOneOf(new Set([...right, ...this.#history(key)]), text(got.value.value), `flagged get of ${key}`);
    } else this.#expectOneOf(right, got.value && text(got.value.value), `get of ${key}`);
    const isMet = 'error' in got || 'error' in strict;
    if (isMet && mustBeRight) {
      const why = 'error' in strict ? strict.error : 'error' in got ? got.error : undefined;
      this.fail(`${key} was just written and is not readable: ${describe(why)}`);
    }
    return isMet;
  }

  #history(key: string): Set<string | undefined> {
    return this.model.history(key);
  }

  /** A scan that leaves out what it cannot read. */
  async #scan(process: Process, source: Db | Reader): Promise<number> {
    const reverse = this.#draw.chance(0.3);
    const scan = source.scan({ onCorruption: 'skip', reverse });
    const found = new Map<string, string>();
    for (;;) {
      const batch = await call(process, 'read', () => scan.nextBatch(7));
      if (batch === 'died') throw new Error('nobody killed it');
      if ('error' in batch) {
        this.fail(`a scan that skips rejects: ${describe(batch.error)}`);
        return 1;
      }
      for (const { key, value } of batch.value) {
        if (found.has(text(key))) this.fail(`a scan gives ${text(key)} twice`);
        found.set(text(key), text(value));
      }
      if (batch.value.length < 7) break;
    }
    for (let i = 0; i < KEYS; i++) {
      const key = keyName(i);
      const right = this.model.readUnsure(key, this.#mayBeGone);
      const value = found.get(key);
      if (value === undefined && scan.findings.some((f) => mayHold(f.affects.keys, key))) continue;
      this.#expectOneOf(right, value, `scan, ${key}`);
    }
    for (const f of scan.findings) this.#expectKnown(f.object.path, 'a scan');
    return scan.findings.filter((f) => f.severity === 'error').length;
  }

  #expectOneOf(right: ReadonlySet<string | undefined>, found: string | undefined, what: string): void {
    if (right.has(found)) return;
    const expected = [...right].map((v) => v?.slice(0, 20) ?? 'nothing').join(' or ');
    this.fail(`WRONG: ${what} gives ${found?.slice(0, 20) ?? 'nothing'} for ${expected}`);
  }

  #expectKnown(path: string, what: string): void {
    if (!this.suspects.has(path) && path !== 'manifest/' && !this.#isInLedger(path))
      this.fail(`FALSE ALARM: ${what} calls ${path} damaged`);
  }

  /** A corruption error about damaged objects only, which may hold the key. */
  expectDamage(error: DbError, key: string | undefined, what: string): void {
    if (!isCorruption(error)) {
      this.fail(`${what} rejects with ${describe(error)}`);
      return;
    }
    for (const { object, affects } of error.findings) {
      const isNeighbour = key === undefined && this.#isBeside(object.path);
      if (!isNeighbour) this.#expectKnown(object.path, what);
      if (key !== undefined && !mayHold(affects.keys, key)) this.fail(`${what}: ${object.path} cannot hold ${key}`);
    }
  }

  /**
   * Objects of the log are distinguished by their neighbours, and manifests by what they name. Of a row of empty objects that ends
   * at a damaged one nobody can say which was a fence, nor of one whose claim may be in a damaged manifest.
   */
  #isBeside(path: string): boolean {
    if (path.startsWith('manifest/') || path.startsWith('shale/')) return true;
    const id = parseWalPath(path);
    const isEmpty = id !== undefined && this.#store.objects.get(path)?.bytes.length === 0;
    if (isEmpty && [...this.suspects].some((suspect) => suspect.startsWith('manifest/'))) return true;
    return id !== undefined && [-1, 1].some((step) => this.suspects.has(this.#beyondEmptyOnes(id + step, step)));
  }

  #beyondEmptyOnes(id: number, step: number): string {
    const path = walPath(id);
    const isEmpty = this.#store.objects.get(path)?.bytes.length === 0 && !this.suspects.has(path);
    return isEmpty ? this.#beyondEmptyOnes(id + step, step) : path;
  }

  judgeRepair(name: string, report: RepairReport, before: ReadonlyMap<string, SimObject>): void {
    this.reached(`${name}: ${report.outcome}${report.applied ? '' : ', not applied'}`);
    for (const [path, { bytes }] of before) {
      const now = this.#store.objects.get(path);
      if (now === undefined || (compareBytes(now.bytes, bytes) !== 0 && path !== MADE_AGAIN))
        this.fail(`${name} changed ${path}`);
    }
    this.judgeEvidence(name, report, before);
    if (report.applied) this.learn(report);
  }

  /** What a repair that was applied calls evidence is a true copy of what lay there. */
  judgeEvidence(name: string, { applied, evidence }: RepairReport, originals: ReadonlyMap<string, SimObject>): void {
    if (!applied) return;
    for (const { from, to, sha256 } of evidence) {
      const copy = this.#store.objects.get(to)?.bytes;
      const original = originals.get(from)?.bytes;
      if (copy === undefined || original === undefined || compareBytes(copy, original) !== 0)
        this.fail(`${name}: ${to} is no copy of ${from}`);
      else if (createHash('sha256').update(copy).digest('hex') !== sha256) this.fail(`${name}: wrong digest of ${to}`);
    }
  }

  // ---- what was written

  /** A write that was acknowledged under this number. */
  acknowledged(seq: number, ops: readonly RowOp[]): void {
    const { model } = this;
    // The one in doubt was not applied, or its number would be taken.
    if (seq === this.#unknownSeq) model.cut(seq - 1);
    if (seq <= model.lastSeq) this.fail(`sequence number ${seq} was used twice`);
    while (model.lastSeq < seq - 1) model.submit([], 0);
    model.submit(ops, 0);
    this.#unknownSeq = undefined;
  }

  /** A write of which nobody knows whether it was applied; the last one of its writer. */
  mayHaveWritten(ops: readonly RowOp[]): void {
    const { seq } = this.model.submit(ops, 0);
    this.#unknownSeq = seq;
    this.#doubt((n) => n === seq);
  }

  #doubt(mayBeGone: (seq: number) => boolean): void {
    const before = this.#mayBeGone;
    this.#mayBeGone = (seq) => before(seq) || mayBeGone(seq);
  }

  /** A loss is recorded under the first object that may have held it, which need not be the damaged one. */
  #isInLedger(path: string): boolean {
    return this.#ledger().some((e) => e.state === 'open' && e.object === path);
  }

  /** Of the newest version that is not damaged. */
  #ledger(): LedgerEntry[] {
    for (const path of this.#store.paths(LEDGER_PREFIX).reverse()) {
      const entries = readEntries(this.#store.objects.get(path) as SimObject);
      if (entries !== undefined) return entries;
    }
    return [];
  }

  /** What the ledger calls lost may be gone, also where nobody saw the report of the repair that wrote it there. */
  learnLedger(): void {
    for (const { level, seqs } of this.#ledger()) {
      if (level === 'wal') this.#doubt((n) => seqs.some(({ min, max }) => n >= Number(min) && n <= Number(max)));
    }
  }

  /** What a repair says is lost counts no more, and what it made may be named by the ledger. */
  learn({ lostSeqs, rows, newObjects, lostKeys, ledgerIds, tool, outcome }: RepairReport): void {
    const lost = lostSeqs.map(({ min, max }) => `${min}..${max}`).join(', ');
    this.#world.trace(
      `-- ${tool} ${outcome}: ${rows.lost} rows lost${rows.lostExact ? '' : ' or fewer'}, seqs ${lost}`,
    );
    for (const path of newObjects) this.suspects.add(path);
    if (ledgerIds.length > 0) this.reached('losses in the ledger');
    if (tool === 'sstRepair') {
      if (lostKeys.length > 0) this.reached('keys in the ledger');
      return;
    }
    const isLost = (seq: number) => lostSeqs.some(({ min, max }) => seq >= Number(min) && seq <= Number(max));
    if (rows.lostExact) this.model.lose(isLost);
    else this.#doubt(isLost);
  }
}

/** What an error of `getMany` says of each key. */
function resultsOf(error: DbError): (Uint8Array | DbError | undefined)[] | undefined {
  return (error as { results?: (Uint8Array | DbError | undefined)[] }).results;
}

function mayHold(keys: KeyRange | undefined, key: string): boolean {
  return keys === undefined || inRange(Buffer.from(key), keys);
}

/** Undefined if they are damaged. */
function readEntries({ bytes }: SimObject): LedgerEntry[] | undefined {
  try {
    return decodeLedger(bytes);
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return undefined;
  }
}
