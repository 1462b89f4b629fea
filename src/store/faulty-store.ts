/**
 * A store that misbehaves on purpose, by script or by seeded chance, so that you can see what your program does then.
 *
 * The store below keeps what was written to it; damage on reads is an overlay that `clear()` lifts. Rules are tried in order
 * and the first that fires decides. A rule without `nth` and `probability` fires on every matching call: with a damaging
 * action that is damage at rest, with `nth` it is damage in flight.
 */

import { types } from 'node:util';
import { onAbort } from '../common/abort.ts';
import { present } from '../common/assert.ts';
import { type Clock, SYSTEM_CLOCK } from '../common/clock.ts';
import { type DbError, InvalidArgumentError } from '../common/errors.ts';
import {
  type ChecksOf,
  CLOCK_CHECK,
  checkedOptions,
  filledText,
  list,
  members,
  RANDOM_CHECK,
  that,
  whole,
} from '../common/option-checks.ts';
import { nextFloat, type Random, SYSTEM_RANDOM } from '../common/random.ts';
import { cancelledError, checkRange, checkSignal, givenStore, rangeBounds } from './object-path.ts';
import type {
  ByteRange,
  CallOptions,
  GetOptions,
  GetResult,
  ListedObject,
  ListOptions,
  ObjectHead,
  ObjectStore,
  ObjectUpload,
  PutOptions,
  PutOutcome,
  UnfinishedUpload,
  UploadOptions,
} from './object-store.ts';
import { type StoreErrorClass, storeError } from './store-error.ts';
import { type UploadingStore, uploadOf, uploadsOf } from './upload-calls.ts';

/**
 * The operations that a fault can hit. `write`: each part of an upload; its completion is a `put`, which is counted and whose rule is
 * picked when the upload begins. The list of uploads is a `list`, removing one is a `delete`.
 */
export type FaultOperation = 'get' | 'head' | 'put' | 'write' | 'list' | 'delete';

/**
 * - `fail-before`: the request never arrives. `stall`: it never arrives and is never answered. A part that fails ends its upload.
 * - `apply-then-drop`: it is carried out and the answer is lost. `delay-apply`: no answer, carried out `delayMs` later.
 *   `duplicate`: it arrives twice, the first answer counts.
 * - `throttle`, `status:503` and so on: that answer, nothing applied (`status:500`, 502, 504: a put ends unknown).
 * - `short-body`: the last byte of a body is missing.
 * - Damage: `flip` inverts bit `bit`, `burst` overwrites `length` bytes from `at`, `cut` leaves `at` bytes, `empty` none,
 *   `swap` gives the object `with`, `delete` shows no object. On a put: what is stored is damaged.
 * - Lists: `list-stale` leaves out objects put through this wrapper lately (`count` of them), `empty` shows nothing,
 *   `list-unordered` reverses, `list-loop` starts again and again.
 */
export type FaultAction =
  | 'fail-before'
  | 'apply-then-drop'
  | 'delay-apply'
  | 'duplicate'
  | 'stall'
  | 'throttle'
  | `status:${number}`
  | 'short-body'
  | 'flip'
  | 'burst'
  | 'cut'
  | 'empty'
  | 'swap'
  | 'delete'
  | 'list-stale'
  | 'list-unordered'
  | 'list-loop';

/** When which fault happens. */
export interface FaultRule {
  /** What happens to the call. */
  action: FaultAction;
  /** All operations that know the action, if absent. */
  op?: FaultOperation;
  /** Exact path, or a pattern; of a list its prefix. All if absent. */
  path?: string | RegExp;
  /** Only the nth matching call, from 1 on. */
  nth?: number;
  /** With this chance, drawn for every matching call. */
  probability?: number;
  /** Where damage begins, in bytes; for `flip` see `bit`. Drawn if absent. */
  at?: number;
  /** Which bit `flip` inverts: 8 × byte + bit, 0 the lowest bit. Drawn if absent. */
  bit?: number;
  /** Length of a `burst` in bytes; 32 if absent. */
  length?: number;
  /** The path whose object `swap` gives. */
  with?: string;
  /** When `delay-apply` carries out, in ms; 1,000 if absent. `applyDelayed()` is earlier. */
  delayMs?: number;
  /** What `throttle` asks for. */
  retryAfterMs?: number;
  /** How many of the newest objects `list-stale` hides; 1 if absent. */
  count?: number;
}

/** Options of a `FaultyStore`. */
export interface FaultyStoreOptions {
  /** Rules to begin with; `add` brings more. */
  rules?: FaultRule[];
  /** Times `delay-apply`. The system's if absent. */
  clock?: Clock;
  /** For `probability` and for damage without a place: seed it to replay. */
  random?: Random;
}

const count = whole(0, Number.MAX_SAFE_INTEGER);
const RULE_CHECKS: ChecksOf<FaultRule> = {
  action: filledText,
  op: filledText,
  path: that('a path or a pattern', (v) => typeof v === 'string' || types.isRegExp(v)),
  nth: count,
  probability: that('a number from 0 to 1', (v) => typeof v === 'number' && v >= 0 && v <= 1),
  at: count,
  bit: count,
  length: count,
  with: filledText,
  delayMs: count,
  retryAfterMs: count,
  count,
};

const CHECKS: ChecksOf<FaultyStoreOptions> = {
  rules: list('rules', members(RULE_CHECKS, ['action'])),
  clock: CLOCK_CHECK,
  random: RANDOM_CHECK,
};

function readRule(rule: FaultRule): FaultRule {
  return checkedOptions('rule', rule, RULE_CHECKS, ['action']);
}

const ANY: FaultOperation[] = ['get', 'head', 'put', 'write', 'list', 'delete'];
const OPERATIONS: Record<string, FaultOperation[]> = {
  'fail-before': ANY,
  'apply-then-drop': ANY,
  stall: ANY,
  throttle: ANY,
  status: ANY,
  'delay-apply': ['put', 'delete'],
  duplicate: ['put', 'delete'],
  'short-body': ['get'],
  flip: ['get', 'put'],
  burst: ['get', 'put'],
  cut: ['get', 'head', 'put'],
  empty: ['get', 'head', 'put', 'list'],
  swap: ['get', 'head'],
  delete: ['get', 'head', 'put'],
  'list-stale': ['list'],
  'list-unordered': ['list'],
  'list-loop': ['list'],
};
const DAMAGE: ReadonlySet<FaultAction> = new Set<FaultAction>(['flip', 'burst', 'cut', 'empty']);
const NEWEST_KEPT = 1000;

/** What a put can come to, of whole bytes or at the end of an upload. */
interface FaultyPut {
  apply: () => Promise<PutOutcome>;
  /** Made now, run later. */
  later: () => () => Promise<unknown>;
  applyAgain: () => Promise<unknown>;
  applyDamaged: () => Promise<PutOutcome>;
  lose: () => Promise<void>;
}

interface ArmedRule extends FaultRule {
  ops: FaultOperation[];
  calls: number;
}

/**
 * Put it around a store and give it to `open`. Faults come as real ones do: with the errors of a store, and for a put whose
 * answer is lost with the outcome `unknown`.
 */
export class FaultyStore implements ObjectStore {
  readonly name: string;
  readonly conformance?: 'known';
  readonly upload?: Required<UploadingStore>['upload'];
  readonly listUploads?: Required<UploadingStore>['listUploads'];
  readonly abortUpload?: Required<UploadingStore>['abortUpload'];
  /** Switches all rules off and on. */
  enabled = true;
  readonly #store: ObjectStore;
  readonly #clock: Clock;
  readonly #random: Random;
  #rules: ArmedRule[] = [];
  readonly #fired: Record<string, number> = {};
  readonly #delayed = new Set<() => Promise<unknown>>();
  readonly #newest: string[] = [];

  constructor(store: ObjectStore, options: FaultyStoreOptions = {}) {
    const { rules = [], clock = SYSTEM_CLOCK, random = SYSTEM_RANDOM } = checkedOptions('FaultyStore', options, CHECKS);
    this.#store = givenStore('FaultyStore', store);
    this.#clock = clock;
    this.#random = random;
    this.name = store.name;
    if (store.conformance !== undefined) this.conformance = store.conformance;
    const { upload: begin, listUploads, abortUpload } = uploadsOf(store);
    if (begin !== undefined) this.upload = (path, options) => this.#faultyUpload(begin, path, options);
    if (listUploads !== undefined) {
      this.listUploads = (prefix, options) => this.#listUploads(listUploads, prefix, options);
    }
    if (abortUpload !== undefined) {
      this.abortUpload = (upload, options) => this.#delete([upload.path], options, () => abortUpload(upload, options));
    }
    for (const rule of rules) this.add(rule);
  }

  /** Adds a rule after the others. Throws `BAD_ARGUMENT` if its operation does not know its action. */
  add(given: FaultRule): void {
    const rule = readRule(given);
    const name = rule.action.startsWith('status:') ? 'status' : rule.action;
    const known = Object.hasOwn(OPERATIONS, name) ? OPERATIONS[name] : undefined;
    const ops = rule.op === undefined ? known : known?.filter((op) => op === rule.op);
    if (ops === undefined || ops.length === 0) {
      const message = `No fault ${JSON.stringify(rule.action)} for ${rule.op ?? 'any operation'}.`;
      throw new InvalidArgumentError('BAD_ARGUMENT', message);
    }
    if (rule.action === 'swap' && rule.with === undefined) {
      throw new InvalidArgumentError('BAD_ARGUMENT', 'A fault "swap" needs the path `with` which to swap.');
    }
    this.#rules.push({ ...rule, ops, calls: 0 });
  }

  /** Removes all rules. Counts stay. */
  clear(): void {
    this.#rules = [];
  }

  /** How often each action fired since this store was made; actions that never fired are not named. */
  fired(): Record<string, number> {
    return { ...this.#fired };
  }

  /** Carries out now what `delay-apply` holds back, in the order in which it came. Rejects as the store below does. */
  async applyDelayed(): Promise<void> {
    for (const apply of [...this.#delayed]) await apply();
  }

  async get(path: string, options?: GetOptions): Promise<GetResult | undefined> {
    checkSignal(this.name, path, options);
    checkRange(this.name, path, options?.range);
    const rule = this.#pick('get', path);
    if (rule === undefined) return this.#store.get(path, options);
    await this.#failEarly(rule, path, options);
    if (rule.action === 'short-body') return cutAnswer(await this.#store.get(path, options));
    if (rule.action === 'apply-then-drop') {
      await this.#store.get(path, options);
      throw this.#error('unavailable', 'the answer was dropped', path);
    }
    return this.#damagedGet(rule, path, options);
  }

  async head(path: string, options?: CallOptions): Promise<ObjectHead | undefined> {
    checkSignal(this.name, path, options);
    const rule = this.#pick('head', path);
    if (rule === undefined) return this.#store.head(path, options);
    await this.#failEarly(rule, path, options);
    if (rule.action === 'apply-then-drop') throw this.#error('unavailable', 'the answer was dropped', path);
    if (rule.action === 'delete') return undefined;
    const head = await this.#store.head(
      rule.action === 'swap' ? present(rule.with, 'a rule that swaps says with what') : path,
      options,
    );
    if (head === undefined || rule.action === 'swap') return head;
    return { ...head, size: rule.action === 'empty' ? 0 : Math.min(head.size, rule.at ?? head.size >> 1) };
  }

  async put(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    checkSignal(this.name, path, options);
    const rule = this.#pick('put', path);
    if (rule === undefined) return this.#applyPut(path, bytes, options);
    return this.#faultyPut(rule, path, options, {
      apply: () => this.#applyPut(path, bytes, options),
      later: () => this.#putLater(path, bytes, options),
      applyAgain: () => this.#store.put(path, bytes, options),
      applyDamaged: () => this.#applyPut(path, this.#damage(rule, new Uint8Array(bytes)), options),
      lose: async () => undefined,
    });
  }

  #faultyUpload(begin: NonNullable<ObjectStore['upload']>, path: string, options: UploadOptions): ObjectUpload {
    const rule = this.#pick('put', path);
    // A delayed completion comes although its caller has ended: only the steps see the signal.
    const { signal: _, ...rest } = options;
    const ended = new AbortController();
    const upload = begin(path, rest);
    const damaged: Uint8Array[] | undefined = rule !== undefined && DAMAGE.has(rule.action) ? [] : undefined;
    const apply = () => this.#noted(path, upload.complete());
    return uploadOf(this.name, path, options, {
      ...(upload.partBytes !== undefined && { partBytes: upload.partBytes }),
      write: async (part, digests) => {
        const { signal } = ended;
        await this.#failWrite(path, { signal });
        if (damaged === undefined) await upload.write(part, digests);
        else damaged.push(part);
      },
      complete: () => {
        if (rule === undefined) return apply();
        return this.#faultyPut(
          rule,
          path,
          { signal: ended.signal },
          {
            apply,
            later: () => apply,
            lose: () => upload.abort(),
            // The second message finds no upload any more.
            applyAgain: async () => undefined,
            applyDamaged: async () => {
              await upload.write(this.#damage(rule, Buffer.concat(damaged ?? [])));
              return apply();
            },
          },
        );
      },
      cut: (reason) => ended.abort(reason),
      discard: () => upload.abort(),
    });
  }

  async #failWrite(path: string, options: CallOptions): Promise<void> {
    const rule = this.#pick('write', path);
    if (rule === undefined) return;
    await this.#failEarly(rule, path, options);
    throw this.#error('unavailable', 'the answer was dropped', path);
  }

  async #faultyPut(rule: ArmedRule, path: string, options: CallOptions, how: FaultyPut): Promise<PutOutcome> {
    if (/^status:50[024]$/.test(rule.action)) return { outcome: 'unknown', cause: this.#statusError(rule, path) };
    if (rule.action === 'stall') return this.#stalledPut(path, options);
    await this.#failEarly(rule, path, options);
    switch (rule.action) {
      case 'apply-then-drop':
        await how.apply();
        return { outcome: 'unknown', cause: this.#error('unavailable', 'the answer was dropped', path) };
      case 'delay-apply':
        this.#applyLater(rule, how.later());
        return { outcome: 'unknown', cause: this.#error('timeout', 'the request is delayed', path) };
      case 'duplicate': {
        const outcome = await how.apply();
        await how.applyAgain();
        return outcome;
      }
      case 'delete':
        await how.lose();
        return { outcome: 'applied', attempt: 'now', etag: '"lost"', storeTimeMs: this.#clock.nowMs() };
      default:
        return how.applyDamaged();
    }
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ListedObject> {
    checkSignal(this.name, prefix, options);
    const rule = this.#pick('list', prefix);
    if (rule === undefined) {
      yield* this.#store.list(prefix, options);
      return;
    }
    await this.#failEarly(rule, prefix, options);
    if (rule.action === 'empty') return;
    const objects: ListedObject[] = [];
    for await (const object of this.#store.list(prefix, options)) objects.push(object);
    if (rule.action === 'list-stale') {
      const hidden = new Set(this.#newest.slice(-(rule.count ?? 1)));
      yield* objects.filter((object) => !hidden.has(object.path));
      return;
    }
    if (rule.action === 'list-unordered') objects.reverse();
    yield* rule.action === 'apply-then-drop' ? objects.slice(0, objects.length >> 1) : objects;
    if (rule.action === 'apply-then-drop') throw this.#error('unavailable', 'the list broke off', prefix);
    while (rule.action === 'list-loop' && objects.length > 0) {
      await this.#clock.yieldToLoop();
      yield* objects;
    }
  }

  delete(paths: string[], options?: CallOptions): Promise<void> {
    const own = [...paths];
    return this.#delete(own, options, (given) => this.#store.delete(own, given));
  }

  async #delete(
    paths: string[],
    options: CallOptions | undefined,
    send: (options: CallOptions | undefined) => Promise<void>,
  ): Promise<void> {
    const path = paths[0] ?? '';
    checkSignal(this.name, path, options);
    const rule = this.#pick('delete', ...paths);
    if (rule === undefined) return send(options);
    await this.#failEarly(rule, path, options);
    if (rule.action === 'delay-apply') this.#applyLater(rule, () => send(undefined));
    else await send(options);
    if (rule.action === 'duplicate') return send(options);
    throw this.#error('unavailable', 'the answer was dropped', path);
  }

  async #listUploads(
    send: NonNullable<ObjectStore['listUploads']>,
    prefix: string,
    options: CallOptions | undefined,
  ): Promise<UnfinishedUpload[]> {
    checkSignal(this.name, prefix, options);
    const rule = this.#pick('list', prefix);
    if (rule !== undefined) await this.#failEarly(rule, prefix, options);
    if (rule?.action === 'empty') return [];
    const uploads = await send(prefix, options);
    if (rule?.action === 'apply-then-drop') throw this.#error('unavailable', 'the answer was dropped', prefix);
    return uploads;
  }

  #pick(op: FaultOperation, ...paths: string[]): ArmedRule | undefined {
    if (!this.enabled) return undefined;
    let picked: ArmedRule | undefined;
    for (const rule of this.#rules) {
      if (!rule.ops.includes(op) || !paths.some((path) => matches(rule.path, path))) continue;
      // All rules count their calls, also those after one that fired, so that `nth` means the same in any company.
      rule.calls++;
      if (rule.nth !== undefined && rule.nth !== rule.calls) continue;
      if (rule.probability !== undefined && nextFloat(this.#random) >= rule.probability) continue;
      picked ??= rule;
    }
    if (picked !== undefined) this.#fired[picked.action] = (this.#fired[picked.action] ?? 0) + 1;
    return picked;
  }

  /** The actions by which a request never arrives, or is turned away. */
  async #failEarly(rule: ArmedRule, path: string, options: CallOptions | undefined): Promise<void> {
    const { action } = rule;
    if (action === 'fail-before') throw this.#error('unavailable', 'the request was dropped', path);
    if (action === 'stall') await this.#stalled(path, options?.signal);
    if (action === 'throttle' || action.startsWith('status:')) throw this.#statusError(rule, path);
  }

  #stalled(path: string, signal: AbortSignal | undefined): Promise<never> {
    return new Promise((_, reject) => {
      if (signal !== undefined) onAbort(signal, () => reject(cancelledError(this.name, path, signal)));
    });
  }

  async #stalledPut(path: string, options: CallOptions): Promise<PutOutcome> {
    return this.#stalled(path, options.signal).catch((cause) => ({ outcome: 'unknown', cause }));
  }

  #statusError(rule: ArmedRule, path: string): DbError {
    const status = rule.action === 'throttle' ? 503 : Number(rule.action.slice('status:'.length));
    const { retryAfterMs } = rule;
    return storeError({
      cls: classOfStatus(status),
      message: `HTTP ${status}`,
      store: this.name,
      path,
      httpStatus: status,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  }

  #error(cls: StoreErrorClass, message: string, path: string): DbError {
    return storeError({ cls, message, store: this.name, path });
  }

  #applyPut(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    return this.#noted(path, this.#store.put(path, bytes, options));
  }

  async #noted(path: string, putting: Promise<PutOutcome>): Promise<PutOutcome> {
    const outcome = await putting;
    if (outcome.outcome === 'applied') {
      this.#newest.push(path);
      if (this.#newest.length > NEWEST_KEPT) this.#newest.shift();
    }
    return outcome;
  }

  #putLater(path: string, bytes: Uint8Array, options: PutOptions): () => Promise<unknown> {
    const copy = new Uint8Array(bytes);
    const { condition, putId } = options;
    return () => this.#applyPut(path, copy, { condition, putId });
  }

  #applyLater(rule: ArmedRule, run: () => Promise<unknown>): void {
    const apply = async () => {
      timer.cancel();
      if (this.#delayed.delete(apply)) await run();
    };
    // No caller waits for a delayed request, so its failure cannot be reported.
    const timer = this.#clock.setTimer(rule.delayMs ?? 1000, () => void apply().catch(() => undefined), false);
    this.#delayed.add(apply);
  }

  async #damagedGet(rule: ArmedRule, path: string, options: GetOptions | undefined): Promise<GetResult | undefined> {
    if (rule.action === 'delete') return undefined;
    const { range, ...rest } = options ?? {};
    const whole = await this.#store.get(
      rule.action === 'swap' ? present(rule.with, 'a rule that swaps says with what') : path,
      rest,
    );
    if (whole === undefined) return undefined;
    return sliced({ ...whole, bytes: this.#damage(rule, whole.bytes) }, range);
  }

  /** May change `bytes`, which is the caller's own copy. */
  #damage(rule: ArmedRule, bytes: Uint8Array): Uint8Array {
    const drawn = (bound: number) => Math.floor(nextFloat(this.#random) * bound);
    switch (rule.action) {
      case 'empty':
        return bytes.subarray(0, 0);
      case 'cut':
        return bytes.slice(0, rule.at ?? drawn(bytes.length));
      case 'flip': {
        const bit = rule.bit ?? (rule.at === undefined ? drawn(8 * bytes.length) : 8 * rule.at + drawn(8));
        if (bit < 8 * bytes.length) bytes[bit >>> 3] ^= 1 << (bit & 7);
        return bytes;
      }
      case 'burst': {
        const length = rule.length ?? 32;
        const at = rule.at ?? drawn(Math.max(1, bytes.length - length));
        // Never the byte that was there, so that every byte of the burst is wrong.
        for (let i = at; i < Math.min(bytes.length, at + length); i++) bytes[i] ^= 1 + drawn(255);
        return bytes;
      }
      default:
        return bytes;
    }
  }
}

function matches(rule: string | RegExp | undefined, path: string): boolean {
  if (rule === undefined || rule === path) return true;
  return rule instanceof RegExp && path.search(rule) >= 0;
}

function cutAnswer(result: GetResult | undefined): GetResult | undefined {
  return result && { ...result, bytes: result.bytes.slice(0, -1) };
}

function sliced(whole: GetResult, range: ByteRange | undefined): GetResult {
  const size = whole.bytes.length;
  const { start, end } = rangeBounds(range, size);
  return { ...whole, bytes: whole.bytes.slice(start, end), size };
}

function classOfStatus(status: number): StoreErrorClass {
  if (status === 429 || status === 503) return 'throttled';
  if (status === 401 || status === 403) return 'denied';
  if (status === 409) return 'conflict-in-flight';
  if (status === 501) return 'unsupported';
  if (status === 507) return 'full';
  return 'unavailable';
}
