/**
 * The simulated object store. A request is *applied* and *answered* by two separate events, so an answer can be lost, come
 * late, or come after its client died; a request of a dead client may still be applied.
 *
 * The objects themselves behave as the contract says (conditions exact, lists in order); everything wrong comes from
 * `Faults`, on the way there or back. The store's clock is the true time.
 */
import type { DatabaseLocation } from '../../src/store/location.ts';
import {
  type ByteRange,
  type GetOptions,
  type GetResult,
  type ListedObject,
  type ListOptions,
  type ObjectHead,
  type ObjectStore,
  PUT_ID_METADATA,
  type PutOptions,
  type PutOutcome,
} from '../../src/store/object-store.ts';
import { storeError } from '../../src/store/store-error.ts';
import type { FaultKind, Faults, Op } from './faults.ts';
import type { Fate, Process, Underway } from './machine.ts';
import type { World } from './world.ts';

export interface SimObject {
  bytes: Uint8Array;
  etag: string;
  modifiedMs: number;
  metadata: Readonly<Record<string, string>>;
}

export interface StoreOptions {
  /** One way of a request or its answer, ms. Drawn between them; equal ones draw nothing. */
  latencyMs: readonly [min: number, max: number];
  /** Longest time after which a late PUT or the second of a doubled one is applied. */
  lateMs: number;
  keepsMetadata: boolean;
  /** Without it every new database probes the store first. */
  isKnown: boolean;
  /** The log is reached by a line of its own, as if it lay in another store. */
  hasWalStore?: boolean;
}

const NAME = 'sim:';
/** Longer than the engine waits for one attempt (15 s). */
const LATE_ANSWER_MS: readonly [number, number] = [16_000, 90_000];

type Delivery<T> = { value: T } | { error: unknown };

export class SimStore {
  readonly world: World;
  readonly faults: Faults;
  readonly options: StoreOptions;
  readonly objects = new Map<string, SimObject>();
  /** Called with each PUT that was applied, in the moment it was; `by` is undefined for one that no process sent. */
  onApplied:
    | ((path: string, object: SimObject, replaced: SimObject | undefined, by: Process | undefined) => void)
    | undefined;
  onDeleted: ((path: string) => void) | undefined;
  /** Called with each call as it is sent, also of one that never arrives. */
  onSent: ((process: Process, op: Op, path: string) => void) | undefined;
  /** Calls during which a process died, by `op role fate`. */
  readonly crashes = new Map<string, number>();
  /** Requests that wait for the nth call of somebody else before they are applied. */
  #held: { afterCalls: number; apply: () => void }[] = [];
  #paths: string[] = [];
  readonly #lastPlace = new Map<string, number>();
  #versions = 0;

  constructor(world: World, faults: Faults, options: StoreOptions) {
    this.world = world;
    this.faults = faults;
    this.options = options;
  }

  // ---- the objects

  /** Paths in byte order; all that the engine writes are ASCII. */
  paths(prefix = ''): string[] {
    const from = this.#firstAtOrAfter(prefix);
    let to = from;
    while (to < this.#paths.length && this.#paths[to].startsWith(prefix)) to++;
    return this.#paths.slice(from, to);
  }

  applyPut(path: string, bytes: Uint8Array, { condition, putId }: PutOptions, by?: Process): PutOutcome {
    const old = this.objects.get(path);
    if (condition === 'if-absent' && old !== undefined) return { outcome: 'refused' };
    if (typeof condition === 'object' && old?.etag !== condition.ifMatch) return { outcome: 'refused' };
    const etag = `"${++this.#versions}"`;
    const metadata: Record<string, string> = this.options.keepsMetadata ? { [PUT_ID_METADATA]: putId } : {};
    const object = { bytes, etag, modifiedMs: this.world.wallMs, metadata };
    this.objects.set(path, object);
    if (old === undefined) this.#paths.splice(this.#firstAtOrAfter(path), 0, path);
    this.onApplied?.(path, object, old, by);
    return { outcome: 'applied', attempt: 'now', etag, storeTimeMs: this.world.wallMs };
  }

  applyDelete(paths: readonly string[]): void {
    for (const path of paths) {
      if (!this.objects.delete(path)) continue;
      this.#paths.splice(this.#firstAtOrAfter(path), 1);
      this.onDeleted?.(path);
    }
  }

  /** Damage at rest, by nobody's request: other bytes, or no object. Nobody learns of it. */
  damage(path: string, bytes: Uint8Array | undefined): void {
    const object = this.objects.get(path) as SimObject;
    if (bytes !== undefined) {
      this.objects.set(path, { ...object, bytes });
      return;
    }
    this.objects.delete(path);
    this.#paths.splice(this.#firstAtOrAfter(path), 1);
  }

  read(path: string, range?: ByteRange): GetResult | undefined {
    const object = this.objects.get(path);
    if (object === undefined) return undefined;
    const { etag, metadata } = object;
    const size = object.bytes.length;
    const start = range === undefined ? 0 : 'suffix' in range ? Math.max(0, size - range.suffix) : range.offset;
    const end = range === undefined || 'suffix' in range ? size : Math.min(size, range.offset + range.length);
    return {
      bytes: object.bytes.slice(start, Math.max(start, end)),
      size,
      etag,
      storeTimeMs: this.world.wallMs,
      metadata,
    };
  }

  head(path: string): ObjectHead | undefined {
    const object = this.objects.get(path);
    if (object === undefined) return undefined;
    const { bytes, etag, modifiedMs, metadata } = object;
    return { size: bytes.length, etag, lastModifiedMs: modifiedMs, storeTimeMs: this.world.wallMs, metadata };
  }

  list(prefix: string, startAfter = '', notAfterMs = Number.POSITIVE_INFINITY): ListedObject[] {
    const listed: ListedObject[] = [];
    for (const path of this.paths(prefix)) {
      const { bytes, etag, modifiedMs } = this.objects.get(path) as SimObject;
      if (path > startAfter && modifiedMs <= notAfterMs)
        listed.push({ path, size: bytes.length, etag, lastModifiedMs: modifiedMs, storeTimeMs: this.world.wallMs });
    }
    return listed;
  }

  #firstAtOrAfter(path: string): number {
    let low = 0;
    let high = this.#paths.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#paths[middle] < path) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // ---- the line of one process

  /** What a database is opened with. */
  location(process: Process): DatabaseLocation {
    const store = this.connect(process);
    return {
      store,
      path: '',
      ...(this.options.hasWalStore === true && { walStore: { store: this.connect(process), path: '' } }),
    };
  }

  connect(process: Process): ObjectStore {
    return {
      name: NAME,
      // Stores that are known keep metadata.
      ...(this.options.isKnown && this.options.keepsMetadata && { conformance: 'known' as const }),
      get: (path, options) => this.#get(process, path, options),
      head: (path) => this.#send(process, 'head', path, false, () => this.head(path)),
      put: (path, bytes, options) => this.#put(process, path, bytes, options),
      list: (prefix, options) => this.#list(process, prefix, options),
      delete: (paths) => this.#send(process, 'delete', paths[0] ?? '', true, () => this.applyDelete(paths)),
    };
  }

  #get(process: Process, path: string, options?: GetOptions): Promise<GetResult | undefined> {
    const perform = () => this.read(path, options?.range);
    return this.#send(process, 'get', path, false, perform, (fault, found) => {
      if (found === undefined || found.bytes.length === 0) return found;
      const { length } = found.bytes;
      if (fault === 'short-body') return { ...found, bytes: found.bytes.subarray(0, this.#place(path, length)) };
      const bit = this.#place(path, length * 8);
      found.bytes[bit >> 3] ^= 1 << (bit & 7);
      return found;
    });
  }

  /** Drawn below `bound`, and not the same twice in a row for one path. */
  #place(path: string, bound: number): number {
    const drawn = this.world.between(0, bound - 1);
    const place = drawn === this.#lastPlace.get(path) ? (drawn + 1) % bound : drawn;
    this.#lastPlace.set(path, place);
    return place;
  }

  #put(process: Process, path: string, given: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    // What is on the wire cannot change any more, whatever the caller does with its buffer.
    const bytes = given.slice();
    const plain: PutOptions = { condition: options.condition, putId: options.putId };
    return this.#send(process, 'put', path, true, () => this.applyPut(path, bytes, plain, process));
  }

  async *#list(process: Process, prefix: string, options?: ListOptions): AsyncGenerator<ListedObject> {
    const { startAfter } = options ?? {};
    let breaks = false;
    const perform = () => this.list(prefix, startAfter);
    const listed = await this.#send(process, 'list', prefix, false, perform, (fault, all) => {
      if (fault === 'list-empty') return [];
      if (fault === 'list-unordered') return all.length < 2 ? all : [...all].reverse();
      if (fault === 'list-stale') return this.list(prefix, startAfter, this.world.wallMs - this.world.between(1, 2000));
      breaks = true;
      return all.slice(0, all.length >> 1);
    });
    yield* listed;
    if (breaks) throw this.#error('unavailable', 'the list broke off', prefix);
  }

  /** `spoil` makes the answer wrong for the faults that concern answers. */
  #send<T>(
    process: Process,
    op: Op,
    path: string,
    isWrite: boolean,
    perform: () => T,
    spoil?: (fault: FaultKind, value: T) => T,
  ): Promise<T> {
    const { world } = this;
    if (!process.isAlive) return never();
    process.calls++;
    if (isWrite) process.writes.push(process.calls);
    this.#releaseHeld();
    this.onSent?.(process, op, path);
    if (process.crashPoint?.call === process.calls) {
      this.#crash(process, op, path, isWrite, perform, process.crashPoint.fate);
      return never();
    }
    const fault = this.faults.pick(op, path, world.nowMs);
    world.trace(`${process.name} ${op} ${path}${fault === undefined ? '' : ` !${fault}`}`);
    return new Promise<T>((resolve, reject) => {
      const answer = (delivery: Delivery<T>, delayMs: number) => {
        process.at(world.nowMs + delayMs, () => {
          const error = 'error' in delivery;
          world.trace(`${process.name} <- ${op} ${path} ${error ? 'error' : outcomeOf(delivery.value)}`);
          if (error) reject(delivery.error);
          else resolve(delivery.value);
        });
      };
      const apply = (delayMs: number, then?: (value: T) => void) => {
        this.#applyAt(process, op, path, isWrite, delayMs, () => {
          const value = perform();
          then?.(value);
        });
      };
      const there = this.#latency();
      const inDoubt = (cause: unknown): Delivery<T> =>
        op === 'put' ? { value: { outcome: 'unknown', cause } as unknown as T } : { error: cause };
      const late = () => world.between(1, this.options.lateMs);
      switch (fault) {
        case undefined:
          return apply(there, (value) => answer({ value }, this.#latency()));
        case 'refused-connection':
          return answer({ error: this.#error('unavailable', 'connection refused', path) }, there);
        case 'throttle':
          return answer({ error: this.#throttled(path) }, there);
        case 'conflict':
          return answer({ error: this.#error('conflict-in-flight', 'HTTP 409', path) }, there);
        case 'error-500':
          if (world.chance(0.5)) apply(there);
          return answer(inDoubt(this.#error('unavailable', 'HTTP 500', path)), there + this.#latency());
        case 'lost-answer':
          return apply(there, () =>
            answer(inDoubt(this.#error('unavailable', 'socket hang up', path)), this.#latency()),
          );
        case 'stall':
          if (world.chance(0.5)) apply(there);
          return;
        case 'late-answer':
          return apply(there, (value) => answer({ value }, world.between(...LATE_ANSWER_MS)));
        case 'late-put':
          apply(late());
          return answer(inDoubt(this.#error('unavailable', 'socket hang up', path)), there + this.#latency());
        case 'double-put':
          apply(there, (value) => answer({ value }, this.#latency()));
          return apply(there + late());
        default:
          return apply(there, (value) =>
            answer({ value: (spoil as NonNullable<typeof spoil>)(fault, value) }, this.#latency()),
          );
      }
    });
  }

  /** Applies at that time, unless the process dies before and its fate is another one. */
  #applyAt(process: Process, op: Op, path: string, isWrite: boolean, delayMs: number, perform: () => void): void {
    const { world } = this;
    let state: 'underway' | 'settled' = 'underway';
    const settle = () => {
      if (state === 'settled') return;
      state = 'settled';
      process.underway.delete(request);
      if (isWrite) world.trace(`${process.name} applies ${op} ${path}`);
      perform();
    };
    const request: Underway = {
      isWrite,
      meet: (fate: Fate) => {
        if (fate === 'applied') return;
        state = 'settled';
        if (fate !== 'applied-later') return;
        world.after(world.between(1, this.options.lateMs), () => {
          world.trace(`${process.name} (dead) applies ${op} ${path}`);
          perform();
        });
      },
    };
    process.underway.add(request);
    world.after(delayMs, settle);
  }

  #crash(process: Process, op: Op, path: string, isWrite: boolean, perform: () => void, fate: Fate): void {
    const { world } = this;
    const call = `${op} ${path.slice(0, path.indexOf('/') + 1)} ${fate}`;
    this.crashes.set(call, (this.crashes.get(call) ?? 0) + 1);
    world.trace(`${process.name} ${op} ${path} and dies: ${fate}`);
    const { crashPoint } = process;
    if (isWrite && fate === 'applied') perform();
    if (isWrite && fate === 'applied-later') {
      const apply = () => {
        world.trace(`${process.name} (dead) applies ${op} ${path}`);
        perform();
      };
      if (crashPoint?.laterCalls === undefined) world.after(world.between(1, this.options.lateMs), apply);
      else this.#held.push({ afterCalls: crashPoint.laterCalls, apply });
    }
    process.kill();
  }

  /** One more call of anybody: what was held back for it is applied first. */
  #releaseHeld(): void {
    if (this.#held.length === 0) return;
    const held = this.#held;
    this.#held = held.filter((h) => h.afterCalls > 1);
    for (const h of held) if (h.afterCalls-- <= 1) h.apply();
  }

  #latency(): number {
    const [min, max] = this.options.latencyMs;
    return min === max ? min : min + ((max - min) * this.world.random.nextUint32()) / 2 ** 32;
  }

  #error(cls: 'unavailable' | 'conflict-in-flight', message: string, path: string) {
    return storeError({ cls, message, store: NAME, path });
  }

  #throttled(path: string) {
    const retryAfterMs = this.world.chance(0.3) ? this.world.between(1, 3000) : undefined;
    return storeError({
      cls: 'throttled',
      message: 'HTTP 503',
      store: NAME,
      path,
      httpStatus: 503,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
  }
}

function outcomeOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return `${value.length} objects`;
  const { outcome, bytes, size } = value as { outcome?: string; bytes?: Uint8Array; size?: number };
  return outcome ?? `${bytes?.length ?? size} bytes`;
}

/** A new one for each call: a shared promise would hold on to all that ever waited for it. */
function never(): Promise<never> {
  return new Promise(() => undefined);
}
