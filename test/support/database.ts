/**
 * Databases in memory and in virtual time, for tests: a store whose objects a test can damage, a line to it that records
 * every request and can be cut as a crash cuts it, and a clock that the test owns.
 */
import { expect } from 'vitest';
import { type DbError, isDbError } from '../../src/common/errors.ts';
import type { Logger } from '../../src/common/logger.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import { SeededRandom } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import type { Reader } from '../../src/db/reader.ts';
import type { ReaderOptions } from '../../src/db/reader-options.ts';
import { open, openReader } from '../../src/open.ts';
import { type ToolAccess, toolAccessOf } from '../../src/recovery/tool-access.ts';
import { FaultyStore } from '../../src/store/faulty-store.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import {
  type CallOptions,
  type GetOptions,
  type ListOptions,
  type ObjectStore,
  PUT_ID_METADATA,
  type PutOptions,
} from '../../src/store/object-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
// What openings import when they need it: loaded here, so that virtual time does not run away while a busy machine reads the files.
import '../../src/tools/sst-check.ts';
import '../../src/tools/wal-repair.ts';
import { goldenFixture } from './golden-fixtures.ts';

export interface Request {
  op: 'get' | 'head' | 'put' | 'list' | 'delete';
  path: string;
  sentMs: number;
}

/** What one process sees of a store. */
export class Line implements ObjectStore {
  readonly name: string;
  readonly conformance?: 'known';
  readonly requests: Request[] = [];
  readonly #store: ObjectStore;
  readonly #clock: ManualClock;
  #isCut = false;
  #cutAt: { n: number; where: 'before' | 'after' } | undefined;

  constructor(store: ObjectStore, clock: ManualClock) {
    this.#store = store;
    this.#clock = clock;
    this.name = store.name;
    if (store.conformance !== undefined) this.conformance = store.conformance;
  }

  /** The process is dead: nothing it sends arrives any more, and nothing is answered. */
  cut(): void {
    this.#isCut = true;
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  /** Dies at its nth request: before it arrives, or before it is answered. */
  cutAt(n: number, where: 'before' | 'after'): void {
    this.#cutAt = { n, where };
  }

  /** Requests since the last call, as `op path` in the order in which they were sent. */
  take(): string[] {
    return this.requests.splice(0).map((r) => `${r.op} ${r.path}`);
  }

  get(path: string, options?: GetOptions) {
    return this.#send('get', path, () => this.#store.get(path, options));
  }
  head(path: string, options?: CallOptions) {
    return this.#send('head', path, () => this.#store.head(path, options));
  }
  put(path: string, bytes: Uint8Array, options: PutOptions) {
    return this.#send('put', path, () => this.#store.put(path, bytes, options));
  }
  delete(paths: string[], options?: CallOptions) {
    return this.#send('delete', paths[0] ?? '', () => this.#store.delete(paths, options));
  }
  async *list(prefix: string, options?: ListOptions) {
    await this.#send('list', prefix, () => Promise.resolve());
    yield* this.#store.list(prefix, options);
  }

  async #send<T>(op: Request['op'], path: string, call: () => Promise<T>): Promise<T> {
    this.requests.push({ op, path, sentMs: this.#clock.monotonicMs() });
    const last = this.#cutAt?.n === this.requests.length ? this.#cutAt : undefined;
    if (last?.where === 'before') this.cut();
    if (this.#isCut) return new Promise(() => undefined);
    const answer = await call();
    if (last !== undefined) this.cut();
    return this.#isCut ? new Promise(() => undefined) : answer;
  }
}

export interface LogLine {
  level: keyof Logger;
  message: string;
  fields: Readonly<Record<string, unknown>> | undefined;
}

export interface Opened {
  db: Db;
  line: Line;
}

/** A store, the processes that use it, and their time. */
export class World {
  readonly clock = new ManualClock();
  readonly memory: MemoryStore;
  readonly faults: FaultyStore;
  readonly log: LogLine[] = [];
  /** What new lines lead to; `faults` unless a test puts something before it. */
  store: ObjectStore;
  #seed: number;

  constructor(seed = 1) {
    this.#seed = seed;
    this.memory = new MemoryStore({ clock: this.clock });
    this.faults = new FaultyStore(this.memory, { clock: this.clock, random: new SeededRandom(seed) });
    this.store = this.faults;
  }

  run<T>(promise: Promise<T>, limitMs?: number): Promise<T> {
    return this.clock.runUntilSettled(promise, limitMs);
  }

  line(): Line {
    return new Line(this.store, this.clock);
  }

  /** Not awaited: for openings that a test interferes with. */
  /** Tables stay as they were written unless the options say otherwise: most tests look at what is stored. */
  opening(options: OpenOptions = {}, line = this.line()): Promise<Db> {
    return open({ store: line, path: '' }, { ...this.#environment(), compactor: false, ...options });
  }

  async connect(options: OpenOptions = {}): Promise<Opened> {
    const line = this.line();
    return { db: await this.run(this.opening(options, line)), line };
  }

  async open(options: OpenOptions = {}): Promise<Db> {
    return (await this.connect(options)).db;
  }

  async openReader(options: ReaderOptions = {}, line = this.line()): Promise<Reader> {
    return this.run(openReader({ store: line, path: '' }, { ...this.#environment(), ...options }));
  }

  /** Opens, writes one durable row per key under its own PUT, and dies. Values are the keys' own names. */
  async writeAndCrash(keys: readonly string[], options: OpenOptions = {}): Promise<void> {
    const { db, line } = await this.connect(options);
    for (const key of keys) await this.run(db.put(key, `value of ${key}`));
    line.cut();
  }

  /** A generator of its own for each caller. */
  random(): SeededRandom {
    return new SeededRandom(this.#seed++);
  }

  // ---- the objects, past every wrapper

  async paths(prefix = ''): Promise<string[]> {
    const paths: string[] = [];
    for await (const object of this.memory.list(prefix)) paths.push(object.path);
    return paths;
  }

  /** Every object with its version: equal before and after means that nothing was written in between. */
  async versions(): Promise<string[]> {
    const versions: string[] = [];
    for await (const { path, etag, size } of this.memory.list('')) versions.push(`${path} ${etag} ${size}`);
    return versions;
  }

  async bytes(path: string): Promise<Uint8Array> {
    const got = await this.memory.get(path);
    if (got === undefined) throw new Error(`there is no ${path}`);
    return got.bytes;
  }

  /** Replaces the bytes of an object, or makes it. */
  async replace(path: string, bytes: Uint8Array): Promise<void> {
    const metadata = (await this.memory.head(path))?.metadata[PUT_ID_METADATA];
    await this.memory.put(path, bytes, { condition: 'any', putId: metadata ?? '01ARZ3NDEKTSV4RRFFQ69G5FAV' });
  }

  async remove(...paths: string[]): Promise<void> {
    await this.memory.delete(paths);
  }

  /** An independent world with the same objects and time. */
  async copy(): Promise<World> {
    const copy = new World(this.#seed + 1000);
    copy.clock.jumpWallMs(this.clock.nowMs() - copy.clock.nowMs());
    for (const path of await this.paths()) {
      const got = await this.memory.get(path);
      if (got === undefined) continue;
      const putId = got.metadata[PUT_ID_METADATA];
      await copy.memory.put(path, got.bytes, { condition: 'any', putId });
    }
    return copy;
  }

  #environment() {
    const push = (level: keyof Logger) => (message: string, fields?: Readonly<Record<string, unknown>>) =>
      void this.log.push({ level, message, fields });
    const logger: Logger = { debug: push('debug'), info: push('info'), warn: push('warn'), error: push('error') };
    return { clock: this.clock, random: this.random(), logger };
  }
}

/** A world that holds a database which SlateDB wrote, at the root of its store. */
export async function worldOfFixture(name: string, root = 'db/'): Promise<World> {
  const world = new World();
  for (const { path, bytes } of goldenFixture(name).objects) {
    if (path.startsWith(root)) await world.replace(path.slice(root.length), bytes);
  }
  return world;
}

/** A line on which `db` flushes, and writes again, before every list of the log. `lists`: how often that was. */
export function alwaysOvertaken(world: World, db: Pick<Db, 'put' | 'flush'>): { line: Line; lists(): number } {
  const line = world.line();
  const list = line.list.bind(line);
  let lists = 0;
  line.list = async function* (prefix, options) {
    if (prefix === 'wal/') {
      lists++;
      await db.flush({ type: 'memtable' });
      await db.put('late', `in the log ${lists}`);
    }
    yield* list(prefix, options);
  };
  return { line, lists: () => lists };
}

/** What a promise rejects with, which must be an error of this package. */
export async function rejection(promise: Promise<unknown>): Promise<DbError> {
  const error = await promise.then(
    (value) => expect.fail(`it should have been rejected, but gave ${String(value)}`),
    (reason: unknown) => reason,
  );
  if (!isDbError(error)) throw new Error('a rejection that is no DbError', { cause: error });
  return error;
}

/** What a function throws, which must be an error of this package. */
export function thrown(call: () => unknown): DbError {
  try {
    call();
  } catch (error) {
    if (isDbError(error)) return error;
    throw new Error('an exception that is no DbError', { cause: error });
  }
  return expect.fail('it should have thrown');
}

/** What tools get of an open database, besides its public methods. */
export function toolAccess(db: Db): ToolAccess {
  const access = toolAccessOf(db);
  if (access === undefined) throw new Error('not an open database');
  return access;
}

export function text(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

/** All rows of a scan as `key=value`. */
export async function rowsOf(world: World, source: Pick<Db, 'scan'>): Promise<string[]> {
  const all = source.scan();
  const rows: string[] = [];
  for (;;) {
    const batch = await world.run(all.nextBatch(1000));
    if (batch.length === 0) return rows;
    for (const { key, value } of batch) rows.push(`${text(key)}=${text(value)}`);
  }
}
