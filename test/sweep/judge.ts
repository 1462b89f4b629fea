/**
 * Judges one damaged database: every get, getMany, has and scan of its model, opened for reading and for writing, and `verify`.
 *
 * A read may give the right value, a value that the key had before if it says so, or a typed error that names a damaged object.
 * Everything else is a fault. Time is virtual: whatever needs more than an hour of it hangs.
 */
import { fromHex, toHex } from '../../src/common/bytes.ts';
import { CorruptionError, isCorruption, isDbError } from '../../src/common/errors.ts';
import type { Finding } from '../../src/common/finding.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import { SeededRandom } from '../../src/common/random.ts';
import type { ValueWithMeta } from '../../src/db/reads.ts';
import type { ScanIterator } from '../../src/db/scan-iterator.ts';
import { decodeManifest } from '../../src/format/manifest-codec.ts';
import { parseManifestPath } from '../../src/format/object-names.ts';
import { open, openReader } from '../../src/open.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import { verdictOf } from '../../src/tools/reports.ts';
import type { ToolOptions } from '../../src/tools/target.ts';
import { verify } from '../../src/tools/verify.ts';
import { type Damage, isWholeLoss } from './damages.ts';
import type { Reference } from './references.ts';

/** Worst last. `stale`: older values, each flagged. `errors`: some reads failed, typed. `refused`: it did not open, typed. */
export const OUTCOMES = [
  'right',
  'stale',
  'errors',
  'refused',
  'unseen',
  'misnamed',
  'untyped',
  'hang',
  'wrong',
] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface Judgement {
  outcome: Outcome;
  /** What was wrong first, for outcomes that are faults. */
  detail?: string;
  /** Whether `verify` sees it: its verdict is not clean, or a note names the changed byte of padding. */
  isSeen: boolean;
  /** Corruption errors that were met. */
  errors: number;
}

const LIMIT_MS = 3_600_000;
const MAX_SCAN_ERRORS = 10_000;
const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
/** A program without the codec or of another version is not damage; a flipped bit may look like it. */
type Reader = {
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  has(key: Uint8Array): Promise<boolean>;
  getMany(keys: Uint8Array[]): Promise<(Uint8Array | undefined)[]>;
  getWithMeta(key: Uint8Array): Promise<ValueWithMeta | undefined>;
  scan(options?: { reverse?: boolean }): ScanIterator;
  close(): Promise<void>;
};

export async function judge(reference: Reference, damage: Damage): Promise<Judgement> {
  const judgement = new Judge(reference, damage);
  await judgement.run();
  return judgement.result;
}

class Judge {
  readonly result: Judgement = { outcome: 'right', isSeen: false, errors: 0 };
  readonly #reference: Reference;
  readonly #damage: Damage;
  readonly #clock: ManualClock;
  readonly #random = new SeededRandom(7);
  readonly #keys: string[];
  /** What an opening refused as damage. */
  #refusal: string | undefined;

  constructor(reference: Reference, damage: Damage) {
    this.#reference = reference;
    this.#damage = damage;
    this.#clock = new ManualClock(reference.nowMs);
    this.#keys = reference.asked ?? [...reference.rows.keys(), ...reference.absent];
  }

  async run(): Promise<void> {
    const environment = {
      clock: this.#clock,
      random: this.#random,
      logger: QUIET,
      hideExpired: false,
      ...(this.#reference.mergeOperator !== undefined && { mergeOperator: this.#reference.mergeOperator }),
    };
    const reading = { store: await this.#copy(), path: '' };
    await this.#use('openReader', () => openReader(reading, environment));
    await this.#verify(reading, { clock: this.#clock, random: this.#random });
    const writing = { store: await this.#copy(), path: '' };
    await this.#use('open', () => open(writing, { ...environment, createIfMissing: false, owner: 'judge:1' }));
    // Clean means that it opens.
    if (this.#refusal !== undefined && !this.result.isSeen) {
      this.#fault('misnamed', `verify says clean, but ${this.#refusal}`);
    }
  }

  async #copy(): Promise<MemoryStore> {
    const store = new MemoryStore({ clock: this.#clock });
    for (const { path, bytes, putId } of this.#damage.objects)
      await store.put(path, bytes, { condition: 'any', putId });
    return store;
  }

  async #use(how: string, opening: () => Promise<Reader>): Promise<void> {
    const opened = await this.#try(`${how}`, 'refused', opening);
    if (opened === undefined) return;
    const db = opened.value;
    await this.#gets(how, db);
    await this.#getMany(how, db);
    await this.#scan(how, db, false);
    await this.#scan(how, db, true);
    // What cannot be written down any more is not what is judged here.
    await this.#settle(db.close()).catch(() => undefined);
  }

  /** All keys at once: virtual time makes waiting cheap, but not every single turn of the loop. */
  async #gets(how: string, db: Reader): Promise<void> {
    const keys = this.#keys.map(fromHex);
    const all = await this.#settle(
      Promise.all(
        keys.map((key) => Promise.all([settled(db.getWithMeta(key)), settled(db.has(key)), settled(db.get(key))])),
      ),
    );
    for (const [i, [meta, has, plain]] of all.entries()) {
      const key = this.#keys[i];
      const what = `${how} get ${key}`;
      if (meta.error !== undefined) {
        this.#rejected(what, 'errors', meta.error);
        for (const other of [has, plain]) {
          if (other.error === undefined) this.#fault('wrong', `${what}: an answer where getWithMeta gives an error`);
        }
        continue;
      }
      this.#compare(what, key, meta.value?.value, meta.value?.possiblyStale ?? false);
      for (const other of [has, plain]) if (other.error !== undefined) this.#rejected(what, 'errors', other.error);
      if (has.error === undefined && has.value !== (meta.value !== undefined))
        this.#fault('wrong', `${what}: has says ${has.value}`);
      if (plain.error === undefined && hexOf(plain.value) !== hexOf(meta.value?.value)) {
        this.#fault('wrong', `${what}: get gives ${hexOf(plain.value)}, getWithMeta ${hexOf(meta.value?.value)}`);
      }
    }
  }

  async #getMany(how: string, db: Reader): Promise<void> {
    const all = await this.#try(`${how} getMany`, 'errors', () => db.getMany(this.#keys.map(fromHex)));
    for (const [i, value] of (all?.value ?? []).entries()) {
      const key = this.#keys[i];
      const right = this.#reference.rows.get(key);
      if (hexOf(value) === right) continue;
      // It has no way to flag: what it gives must be what `get` gives, which was judged.
      if (!this.#wasBefore(key, value)) this.#fault('wrong', `${how} getMany ${key}: ${hexOf(value)}`);
      else this.#note('stale');
    }
  }

  /** Rows come in order and are right; a row may be missing only after an error whose stretch holds it. */
  async #scan(how: string, db: Reader, reverse: boolean): Promise<void> {
    const what = `${how} ${reverse ? 'reverse ' : ''}scan`;
    const iterator = db.scan({ reverse });
    const seen = new Set<string>();
    let isDamaged = false;
    for (let errors = 0; errors < MAX_SCAN_ERRORS; ) {
      const batch = await this.#try(what, 'errors', () => iterator.nextBatch(1000));
      if (batch === undefined) {
        isDamaged = true;
        errors++;
        if (this.result.outcome === 'hang' || this.result.outcome === 'untyped') return;
        continue;
      }
      if (batch.value.length === 0) break;
      for (const row of batch.value) {
        const key = toHex(row.key);
        if (seen.has(key)) this.#fault('wrong', `${what}: ${key} twice`);
        seen.add(key);
        this.#compare(what, key, row.value, isDamaged);
      }
    }
    for (const key of this.#reference.rows.keys()) {
      if (!seen.has(key) && !isDamaged) this.#fault('wrong', `${what}: ${key} is missing without an error`);
    }
    await this.#settle(iterator.close()).catch(() => undefined);
  }

  async #verify(location: { store: MemoryStore; path: string }, environment: ToolOptions): Promise<void> {
    const report = await this.#try('verify', 'refused', () => verify(location, { ...environment, level: 'cross' }));
    if (report === undefined) {
      this.result.isSeen = true;
      return;
    }
    const { isFindingOfItself = () => false } = this.#reference;
    const findings = report.value.findings.filter((f) => !isFindingOfItself(f));
    const verdict = verdictOf(findings);
    const isNamed = findings.some((f) => this.#isNamed(f.object.path));
    this.result.isSeen = verdict !== 'clean' || findings.some((f) => this.#isNotedPadding(f));
    if (!this.result.isSeen) this.#note('unseen', 'verify: clean');
    else if (!isNamed)
      this.#fault('misnamed', `verify: ${[...new Set(findings.map((f) => f.object.path))].join(', ')}`);
  }

  /** No checksum covers padding, and no row depends on it: a note that names the changed byte is all there is to say. */
  #isNotedPadding({ severity, object, at }: Finding): boolean {
    const { kind, paths, offset } = this.#damage;
    const isThere = at.unit === 'block' && at.offset <= offset && offset < at.offset + at.length;
    return kind === 'flip' && severity === 'note' && isThere && object.path === paths[0];
  }

  #compare(what: string, key: string, value: Uint8Array | undefined, isFlagged: boolean): void {
    const right = this.#reference.rows.get(key);
    const found = hexOf(value);
    if (found === right) return;
    if (isFlagged && value !== undefined && this.#wasBefore(key, value)) this.#note('stale');
    else this.#fault('wrong', `${what} ${key}: ${found ?? 'nothing'} instead of ${right ?? 'nothing'}`);
  }

  #wasBefore(key: string, value: Uint8Array | undefined): boolean {
    return value !== undefined && (this.#reference.history.get(key)?.has(toHex(value)) ?? false);
  }

  /** The value in a box, or `undefined` after an error that was judged. */
  async #try<T>(what: string, outcome: Outcome, call: () => Promise<T>): Promise<{ value: T } | undefined> {
    try {
      return { value: await this.#settle(call()) };
    } catch (error) {
      this.#rejected(what, outcome, error);
      return undefined;
    }
  }

  #rejected(what: string, outcome: Outcome, error: unknown): void {
    if (error instanceof Hang) {
      this.#fault('hang', `${what}: ${error.message}`);
      return;
    }
    if (!isDbError(error)) {
      this.#fault('untyped', `${what}: ${String(error)}`);
      return;
    }
    if (!isCorruption(error)) {
      this.#other(what, outcome, error);
      return;
    }
    this.result.errors++;
    this.#note(outcome);
    if (outcome === 'refused' && what.startsWith('open')) this.#refusal ??= `${what}: ${error.message}`;
    if (!(error instanceof CorruptionError) || !error.findings.some((f) => this.#isNamed(f.object.path))) {
      this.#fault('misnamed', `${what}: ${error.message}`);
    }
  }

  /**
   * Errors of another class: a form that another program would know, or, of a clone, that no manifest is left but those from before
   * it was finished.
   */
  #other(what: string, outcome: Outcome, error: { kind: string; code: string; message: string }): void {
    const isAllowed =
      (error.kind === 'incompatible' && !this.#reference.isSealed) ||
      (error.code === 'NOT_A_DATABASE' && this.#isUnfinished());
    if (isAllowed) this.#note(outcome);
    else this.#fault('untyped', `${what}: ${error.kind} ${error.code}: ${error.message}`);
  }

  #isUnfinished(): boolean {
    if (!isWholeLoss(this.#damage.kind)) return false;
    const ids = this.#damage.objects.map((o) => parseManifestPath(o.path) ?? 0);
    const newest = Math.max(...ids);
    return newest > 0 && !decodeManifest(this.#damage.objects[ids.indexOf(newest)].bytes).manifest.initialized;
  }

  /** A manifest that is gone, or that bears no seal, is judged by its neighbours: nothing says which of two is wrong. */
  #isNamed(path: string): boolean {
    const { paths, kind } = this.#damage;
    // Whatever is said when many objects are gone: what is left is judged by each other.
    if (paths.includes(path) || isWholeLoss(kind)) return true;
    const isManifest = path.startsWith('manifest/') && paths[0].startsWith('manifest/');
    return isManifest && (kind !== 'flip' || !this.#reference.isSealed);
  }

  async #settle<T>(promise: Promise<T>): Promise<T> {
    promise.catch(() => undefined);
    try {
      return await this.#clock.runUntilSettled(promise, LIMIT_MS);
    } catch (error) {
      if (error instanceof Error && !isDbError(error) && /^(Not settled|Deadlock)/.test(error.message)) {
        throw new Hang(error.message);
      }
      throw error;
    }
  }

  #note(outcome: Outcome, detail?: string): void {
    if (OUTCOMES.indexOf(outcome) <= OUTCOMES.indexOf(this.result.outcome)) return;
    this.result.outcome = outcome;
    if (detail !== undefined) this.result.detail = detail;
  }

  #fault(outcome: Outcome, detail: string): void {
    this.#note(outcome, detail);
  }
}

class Hang extends Error {}

function settled<T>(
  promise: Promise<T>,
): Promise<{ value: T; error?: undefined } | { value?: undefined; error: unknown }> {
  return promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
}

function hexOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : toHex(bytes);
}
