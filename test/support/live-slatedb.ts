/**
 * A live SlateDB beside us, driven as a child process over JSON lines, so that a crash is a real one and a hang can be
 * killed. slatedb-012.ts, slatedb-017.ts and slatedb-018.ts say how the child of each version is started; what it understands is the same:
 *
 *   -> {"id": 1, "op": "put", "key": "<base64>", "value": "<base64>"}
 *   <- {"id": 1, "rows": [...]}                        any number of these, for scans
 *   <- {"id": 1, "result": ...}  or  {"id": 1, "error": {"kind": "Closed", "reason": "Fenced", "message": "..."}}
 *
 * Every command has a deadline; a child that misses one is killed. A child ends when its standard input ends, so none
 * outlives the test process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { S3ForTests } from './s3-server.ts';

/** Where a database is: a directory or a bucket, and the path of the database below it. */
export type SlateDbPlace =
  | { directory: string; path: string }
  | { s3: Pick<S3ForTests, 'endpoint' | 'accessKeyId' | 'secretAccessKey' | 'region'>; bucket: string; path: string };

export interface SlateDbOpenOptions {
  /** SlateDB's settings by its own names, e.g. `{ min_filter_keys: 0, flush_interval: '50ms' }`. */
  settings?: Record<string, unknown>;
  /** The compactor inside the writer; off unless asked for. It searches for work every 50 ms. */
  compactor?: boolean;
  /** A merge operator that appends the operand. */
  mergeOperator?: 'concat';
  /** The WAL in another place of the same kind. */
  walPlace?: SlateDbPlace;
  blockBytes?: 1024 | 2048 | 4096 | 8192 | 16384 | 32768 | 65536;

  // 0.17 only:
  /** Instead of its defaults, by its own names; with `compactor`. */
  compactorOptions?: Record<string, unknown>;
  /** Each first byte of keys is a segment. */
  segments?: 'first-byte';

  // 0.18 only:
  /** Of the tables that the writer, and its compactor, make. */
  codec?: 'Snappy' | 'Zlib' | 'Lz4' | 'Zstd';
  /** Table blocks begin on multiples of the block size; not together with a codec. */
  align?: boolean;
  /** The compactor publishes what is done of running compactions. */
  incremental?: boolean;
  /** Takes over from the writer (or compactor) of this epoch, and from nobody else. */
  expectedEpoch?: number;
  /** A delay before each PUT. */
  slowPutMs?: number;
  /** Its clock, against that of the machine. */
  clockAheadSeconds?: number;
  clockSpeed?: number;
}

export interface SlateDbRow {
  key: Uint8Array;
  value: Uint8Array;
  seq: bigint;
  createTs: bigint | undefined;
  expireTs: bigint | undefined;
}

export interface SlateDbWalRow {
  kind: 'value' | 'tombstone' | 'merge';
  key: Uint8Array;
  value: Uint8Array | undefined;
  seq: bigint;
  createTs: bigint | undefined;
  expireTs: bigint | undefined;
}

export interface SlateDbWriteOptions {
  ttlMs?: number;
  /** Wait until the row is in the store; true unless said otherwise. */
  awaitDurable?: boolean;
}

export type SlateDbBatchOp =
  | { put: Bytes; value: Bytes; ttlMs?: number }
  | { delete: Bytes }
  | { merge: Bytes; value: Bytes; ttlMs?: number };

/** What `Admin.list_manifests` of 0.17 and later says about one manifest. */
export interface SlateDbManifest {
  id: number;
  writerEpoch: number;
  compactorEpoch: number;
  l0: string[];
  sortedRuns: { id: number; tables: number }[];
  nextWalId: number;
  replayAfterWalId: number;
  lastL0Seq: string;
  checkpoints: number;
}

export type Bytes = Uint8Array | string;

/** An error of SlateDB itself, or `kind: 'Driver'` for a child that died, hung or was misused. */
export class SlateDbError extends Error {
  readonly kind: string;
  readonly reason: string | undefined;
  constructor(message: string, kind: string, reason?: string) {
    super(`${kind}${reason === undefined ? '' : ` (${reason})`}: ${message}`);
    this.name = 'SlateDbError';
    this.kind = kind;
    this.reason = reason;
  }
  /** Another writer took over. */
  get fenced(): boolean {
    return this.reason === 'Fenced' || /fenced/i.test(this.message);
  }
}

/** One SlateDB in one child process; one database at a time. Every call rejects with `SlateDbError`. */
export interface LiveSlateDb {
  readonly version: '0.12.1' | '0.17.0' | '0.18.0';
  /** Starts a child and opens the database in it as its writer. */
  open(place: SlateDbPlace, options?: SlateDbOpenOptions): Promise<void>;
  put(key: Bytes, value: Bytes, options?: SlateDbWriteOptions): Promise<{ seq: bigint }>;
  delete(key: Bytes, options?: SlateDbWriteOptions): Promise<{ seq: bigint }>;
  merge(key: Bytes, operand: Bytes, options?: SlateDbWriteOptions): Promise<{ seq: bigint }>;
  /** One atomic batch. */
  write(ops: SlateDbBatchOp[], options?: { awaitDurable?: boolean }): Promise<{ seq: bigint }>;
  get(key: Bytes): Promise<Uint8Array | undefined>;
  getMany(keys: Bytes[]): Promise<(Uint8Array | undefined)[]>;
  /** All rows, or those of the range, in order. */
  scan(range?: { gte?: Bytes; lt?: Bytes }): Promise<SlateDbRow[]>;
  flush(type: 'wal' | 'memtable'): Promise<void>;
  /** Closes the database and ends the child; resolves also if the child is gone already. */
  close(): Promise<void>;
  /** Ends the child at once, as a power cut would end the process. */
  crash(): Promise<void>;
  /** The child stands still, wherever it is, as on a stalled machine; what it is asked to do waits. */
  pause(): Promise<void>;
  /** It goes on, without knowing that it stood still. */
  resume(): void;

  // Without an open database, each in a child of its own:
  /** All rows as a `DbReader` sees them. */
  readerScan(
    place: SlateDbPlace,
    options?: Pick<SlateDbOpenOptions, 'mergeOperator' | 'walPlace'>,
  ): Promise<SlateDbRow[]>;
  /** The rows of the WAL objects as SlateDB's WAL reader gives them: of all objects, or with 0.17 of those to be replayed. */
  walRows(place: SlateDbPlace): Promise<{ id: number; rows: SlateDbWalRow[] }[]>;
  /** 0.17 and later. */
  manifests(place: SlateDbPlace): Promise<SlateDbManifest[]>;
  /** 0.17 and later: opens with a compactor, merges everything into one sorted run, closes. Returns the newest manifest. */
  compactAll(place: SlateDbPlace, options?: SlateDbOpenOptions): Promise<SlateDbManifest>;
  /** 0.17 and later: asks the compactor for one compaction of the whole key space. The clock is for 0.18 only. */
  submit(
    place: SlateDbPlace,
    compaction: { sources: SlateDbSource[]; destination: number },
    options?: Pick<SlateDbOpenOptions, 'clockAheadSeconds'>,
  ): Promise<void>;
  /** 0.17 and later: one round of the collector over all that is older; with boundary files where the store is on S3. The clock is for 0.18 only. */
  collect(
    place: SlateDbPlace,
    minAgeMs: number,
    options?: Pick<SlateDbOpenOptions, 'clockAheadSeconds'>,
  ): Promise<void>;

  // 0.17 only:
  /** Asks the compactor of the open database for a job that it has to fail. */
  submitToUnknownSegment(segment: string): Promise<void>;

  // 0.18 only:
  /** A stand-alone compactor (it plans, and merges with a worker of its own) or a worker of another's. */
  start(role: 'compactor' | 'worker', place: SlateDbPlace, options?: SlateDbOpenOptions): Promise<SlateDbRole>;
}

export type SlateDbSource = { SstView: string } | { SortedRun: number };

/** A compactor or worker at work in a child of its own. */
export interface SlateDbRole {
  /** Ends it in order; rejects with what it ended with before, if it did. */
  stop(): Promise<void>;
  crash(): Promise<void>;
}

export interface SlateDbChildCommand {
  version: LiveSlateDb['version'];
  command: string;
  args: string[];
}

const DEFAULT_TIMEOUT_MS = 60_000;
const COMPACT_TIMEOUT_MS = 180_000;
/** Most checks whether a child stands still, and the time between them: two seconds in all. */
const STOP_CHECKS = 100;
const STOP_LOOK_MS = 20;
const BASE64 = 'base64';

interface Pending {
  op: string;
  rows: unknown[][];
  resolve(value: unknown): void;
  reject(error: Error): void;
  timer: NodeJS.Timeout;
}

/** The client's end of one child. */
class Child {
  readonly #process: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<unknown>;
  #nextId = 1;
  #stderr = '';
  #gone: SlateDbError | undefined;

  constructor(start: SlateDbChildCommand, env: NodeJS.ProcessEnv) {
    this.#process = spawn(start.command, start.args, {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#exited = once(this.#process, 'close').catch(() => undefined);
    this.#process.on('error', (error) => this.#fail(`cannot start ${start.command}: ${error.message}`));
    this.#process.on('close', (code, signal) => {
      this.#fail(
        `the SlateDB ${start.version} process ended (${signal ?? `code ${code}`})\n${this.#stderr.slice(-2000)}`,
      );
    });
    // Writing to a child that is already dead: the close event above shows it.
    this.#process.stdin!.on('error', () => {});
    this.#process.stderr!.on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-10_000);
    });
    createInterface({ input: this.#process.stdout! }).on('line', (line) => this.#onLine(line));
  }

  /** Rows that came before the result are in `rows`. */
  send<T>(op: string, fields: object, timeoutMs = DEFAULT_TIMEOUT_MS): Promise<{ result: T; rows: unknown[][] }> {
    if (this.#gone !== undefined) return Promise.reject(this.#gone);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#fail(`no answer to ${op} within ${timeoutMs} ms; the process was killed\n${this.#stderr.slice(-2000)}`);
        this.kill();
      }, timeoutMs);
      this.#pending.set(id, { op, rows: [], resolve: resolve as (value: unknown) => void, reject, timer });
      this.#process.stdin!.write(`${JSON.stringify({ id, op, ...fields })}\n`);
    });
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }

  /** Resolves when every thread stands: one that was in the file system when asked to may still finish there. */
  async stop(): Promise<void> {
    this.#process.kill('SIGSTOP');
    const threads = `/proc/${this.#process.pid}/task`;
    for (let look = 0; look < STOP_CHECKS; look++) {
      if (existsSync(threads)) {
        const states = readdirSync(threads).map((id) => readFileSync(`${threads}/${id}/stat`, 'latin1'));
        if (states.every((stat) => /\) T /.test(stat))) return;
      }
      await new Promise((resolve) => setTimeout(resolve, STOP_LOOK_MS));
    }
    // Where threads cannot be looked at, so much time has to do.
    if (existsSync(threads)) throw new Error('the child does not stand still');
  }

  goOn(): void {
    this.#process.kill('SIGCONT');
  }

  /** Ends the child's input and waits for its end; kills it after five seconds. */
  async end(): Promise<void> {
    this.#process.stdin!.end();
    const timer = setTimeout(() => this.kill(), 5000);
    await this.#exited;
    clearTimeout(timer);
  }

  async exited(): Promise<void> {
    await this.#exited;
  }

  #onLine(line: string): void {
    let message: {
      id: number;
      rows?: unknown[][];
      result?: unknown;
      error?: { kind: string; reason?: string; message: string };
    };
    try {
      message = JSON.parse(line);
    } catch {
      this.#fail(`not a JSON line: ${line.slice(0, 200)}`);
      this.kill();
      return;
    }
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return;
    if (message.rows !== undefined) {
      for (const row of message.rows) pending.rows.push(row);
      return;
    }
    this.#pending.delete(message.id);
    clearTimeout(pending.timer);
    if (message.error !== undefined) {
      const { kind, reason } = message.error;
      // Where SlateDB did not do what it was asked to, a panic of one of its tasks may say why.
      const why = kind === 'Driver' && this.#stderr !== '' ? `\nstderr: ${this.#stderr.slice(-2000)}` : '';
      pending.reject(new SlateDbError(`${message.error.message}${why}`, kind, reason));
    } else pending.resolve({ result: message.result, rows: pending.rows });
  }

  #fail(message: string): void {
    this.#gone ??= new SlateDbError(message, 'Driver');
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer);
      pending.reject(this.#gone);
    }
    this.#pending.clear();
  }
}

/** A SlateDB whose child is started by `start`. */
export function liveSlateDb(start: SlateDbChildCommand): LiveSlateDb {
  let child: Child | undefined;

  function current(): Child {
    if (child === undefined) throw new SlateDbError('no database is open', 'Driver');
    return child;
  }

  async function inOwnChild<T>(
    place: SlateDbPlace,
    walPlace: SlateDbPlace | undefined,
    use: (c: Child) => Promise<T>,
  ): Promise<T> {
    const own = new Child(start, environmentOf(place, walPlace));
    try {
      return await use(own);
    } finally {
      await own.end();
    }
  }

  async function seqOf(op: string, fields: object): Promise<{ seq: bigint }> {
    const { result } = await current().send<string>(op, fields);
    return { seq: BigInt(result) };
  }

  return {
    version: start.version,
    async open(place, options = {}) {
      if (child !== undefined) throw new SlateDbError('close the open database first', 'Driver');
      const opening = new Child(start, environmentOf(place, options.walPlace));
      child = opening;
      try {
        await opening.send('open', { ...placeFields(place), ...openFields(options) });
      } catch (error) {
        child = undefined;
        await opening.end();
        throw error;
      }
    },
    put: (key, value, options) => seqOf('put', { key: b64(key), value: b64(value), ...options }),
    delete: (key, options) => seqOf('delete', { key: b64(key), ...options }),
    merge: (key, operand, options) => seqOf('merge', { key: b64(key), value: b64(operand), ...options }),
    write: (ops, options) => seqOf('write', { ops: ops.map(batchOp), ...options }),
    async get(key) {
      return (await this.getMany([key]))[0];
    },
    async getMany(keys) {
      const { result } = await current().send<(string | null)[]>('getMany', { keys: keys.map(b64) });
      return result.map((v) => (v === null ? undefined : bytes(v)));
    },
    async scan(range = {}) {
      const fields = {
        gte: range.gte === undefined ? null : b64(range.gte),
        lt: range.lt === undefined ? null : b64(range.lt),
      };
      return (await current().send('scan', fields)).rows.map(row);
    },
    async flush(type) {
      await current().send('flush', { type });
    },
    async close() {
      if (child === undefined) return;
      const closing = child;
      try {
        await closing.send('close', {});
      } finally {
        child = undefined;
        await closing.end();
      }
    },
    async crash() {
      if (child === undefined) return;
      const dying = child;
      child = undefined;
      dying.kill();
      await dying.exited();
    },
    pause: () => current().stop(),
    resume: () => current().goOn(),
    readerScan: (place, options = {}) =>
      inOwnChild(place, options.walPlace, async (c) => {
        return (await c.send('readerScan', { ...placeFields(place), ...openFields(options) })).rows.map(row);
      }),
    walRows: (place) =>
      inOwnChild(place, undefined, async (c) => {
        const { rows } = await c.send('walRows', placeFields(place));
        return (rows as unknown as [number, WireWalRow[]][]).map(([id, list]) => ({ id, rows: list.map(walRow) }));
      }),
    manifests: (place) =>
      inOwnChild(
        place,
        undefined,
        async (c) => (await c.send<SlateDbManifest[]>('manifests', placeFields(place))).result,
      ),
    compactAll: (place, options = {}) =>
      inOwnChild(place, options.walPlace, async (c) => {
        const fields = { ...placeFields(place), ...openFields(options) };
        return (await c.send<SlateDbManifest>('compactAll', fields, COMPACT_TIMEOUT_MS)).result;
      }),
    async submitToUnknownSegment(segment) {
      await current().send('submitToUnknownSegment', { segment });
    },
    async start(role, place, options = {}) {
      const own = new Child(start, environmentOf(place, options.walPlace));
      try {
        await own.send(`start-${role}`, { ...placeFields(place), ...openFields(options) });
      } catch (error) {
        await own.end();
        throw error;
      }
      return {
        async stop() {
          try {
            await own.send('stop', {});
          } finally {
            await own.end();
          }
        },
        async crash() {
          own.kill();
          await own.exited();
        },
      };
    },
    submit: (place, compaction, options = {}) =>
      inOwnChild(place, undefined, async (c) => {
        const spec = { Tiered: { segment: [], ...compaction } };
        await c.send('submit', { ...placeFields(place), ...options, spec });
      }),
    collect: (place, minAgeMs, options = {}) =>
      inOwnChild(place, undefined, async (c) => {
        await c.send('collect', { ...placeFields(place), ...options, minAgeMs });
      }),
  };
}

/** The object store of both bindings takes keys and endpoint from the environment of its process. */
function environmentOf(place: SlateDbPlace, walPlace: SlateDbPlace | undefined): NodeJS.ProcessEnv {
  if (walPlace !== undefined && 's3' in walPlace !== 's3' in place) {
    throw new SlateDbError('WAL and database must both be in S3 or both in directories', 'Driver');
  }
  if (!('s3' in place)) return {};
  return {
    AWS_ENDPOINT: place.s3.endpoint,
    AWS_ALLOW_HTTP: 'true',
    AWS_ACCESS_KEY_ID: place.s3.accessKeyId,
    AWS_SECRET_ACCESS_KEY: place.s3.secretAccessKey,
    AWS_REGION: place.s3.region,
  };
}

function placeFields(place: SlateDbPlace): object {
  return 's3' in place ? { bucket: place.bucket, path: place.path } : { directory: place.directory, path: place.path };
}

function openFields(options: SlateDbOpenOptions): object {
  const { walPlace, ...rest } = options;
  return walPlace === undefined ? rest : { ...rest, wal: placeFields(walPlace) };
}

function batchOp(op: SlateDbBatchOp): unknown[] {
  if ('put' in op) return ['put', b64(op.put), b64(op.value), op.ttlMs ?? null];
  if ('merge' in op) return ['merge', b64(op.merge), b64(op.value), op.ttlMs ?? null];
  return ['delete', b64(op.delete)];
}

type WireRow = [key: string, value: string, seq: string, createTs: string | null, expireTs: string | null];
type WireWalRow = [SlateDbWalRow['kind'], string, string | null, string, string | null, string | null];

function row(wire: unknown[]): SlateDbRow {
  const [key, value, seq, createTs, expireTs] = wire as WireRow;
  return { key: bytes(key), value: bytes(value), seq: BigInt(seq), createTs: big(createTs), expireTs: big(expireTs) };
}

function walRow([kind, key, value, seq, createTs, expireTs]: WireWalRow): SlateDbWalRow {
  return {
    kind,
    key: bytes(key),
    value: value === null ? undefined : bytes(value),
    seq: BigInt(seq),
    createTs: big(createTs),
    expireTs: big(expireTs),
  };
}

function big(text: string | null): bigint | undefined {
  return text === null ? undefined : BigInt(text);
}

function b64(data: Bytes): string {
  return typeof data === 'string'
    ? Buffer.from(data).toString(BASE64)
    : Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString(BASE64);
}

/** A plain copy: a Buffer would not equal a Uint8Array in assertions. */
function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, BASE64));
}
