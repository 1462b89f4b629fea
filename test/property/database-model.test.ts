/**
 * The whole database against a plain model, the versions of each key in order: any mix of writes, reads, snapshots, flushes,
 * reopenings, crashes and waits, under varied settings and times to live, gives the rows of the model, each with its sequence number
 * and times. After a crash the content is a prefix of the commit order that holds everything acknowledged as durable.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import { SeededRandom } from '../../src/common/random.ts';
import {
  type Db,
  MemoryStore,
  type MergeOperator,
  type OpenOptions,
  open,
  openReader,
  type ScanRow,
  WriteBatch,
  type WriteOptions,
} from '../../src/index.ts';
import { type Incarnation, incarnation } from '../support/incarnation-store.ts';

const append: MergeOperator = {
  merge: (_key, existing, operand) => new Uint8Array([...(existing ?? []), ...operand]),
};

/** Of one key, oldest first. `seq` is known once the write has answered. */
interface Version {
  kind: 'put' | 'delete' | 'merge';
  value: string;
  seq: number;
  createTs: number;
  expireTs: number | undefined;
}

type Content = Map<string, readonly Version[]>;

/** As a reader sees it. */
type Row = Omit<Version, 'kind'>;

type Write = { key: string; kind: 'put' | 'delete' | 'merge'; value: string };

type Step =
  | { type: 'write'; writes: Write[]; durable: boolean; asBatch: boolean; ttlMs: number | undefined }
  | { type: 'get'; key: string }
  | { type: 'getMany'; keys: string[] }
  | { type: 'scan'; from: string; to: string; reverse: boolean; limit: number; batches: boolean }
  | { type: 'deleteRange'; from: string; to: string; all: boolean; durable: boolean; batchSize: number }
  | { type: 'snapshot' }
  | { type: 'readSnapshot'; at: number }
  | { type: 'dropSnapshot'; at: number }
  | { type: 'flush'; memtable: boolean }
  | { type: 'reopen' }
  | { type: 'crash' }
  | { type: 'reader' }
  | { type: 'wait'; ms: number };

const key = fc.oneof(
  fc.integer({ min: 0, max: 30 }).map((n) => `k${n}`),
  fc.integer({ min: 0, max: 12 }).map((n) => `common/prefix/${String.fromCharCode(97 + n)}`),
  fc.constantFrom('a', 'aa', 'aaa', 'b', '\u0000', '\u0000\u0000', 'z'.repeat(300), '\u{10ffff}'),
);
const value = fc.oneof(
  fc.string({ maxLength: 12 }).filter((s) => s.isWellFormed()),
  fc.integer({ min: 0, max: 3000 }).map((n) => 'v'.repeat(n)),
);
const write = fc.record({
  key,
  kind: fc.constantFrom('put', 'put', 'put', 'delete', 'merge'),
  value,
}) as fc.Arbitrary<Write>;

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      type: fc.constant('write' as const),
      writes: fc.array(write, { minLength: 1, maxLength: 8 }),
      durable: fc.boolean(),
      asBatch: fc.boolean(),
      ttlMs: fc.constantFrom(undefined, undefined, 1, 60, 400, 5000),
    }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('get' as const), key }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('getMany' as const), keys: fc.array(key, { maxLength: 10 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('scan' as const),
      from: key,
      to: key,
      reverse: fc.boolean(),
      limit: fc.integer({ min: 0, max: 40 }),
      batches: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('deleteRange' as const),
      from: key,
      to: key,
      all: fc.nat(5).map((n) => n === 0),
      durable: fc.boolean(),
      batchSize: fc.constantFrom(1, 3, 1000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('snapshot' as const) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('readSnapshot' as const), at: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('dropSnapshot' as const), at: fc.nat(5) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('flush' as const), memtable: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('reopen' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('crash' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('reader' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 500 }) }) },
);

const settings: fc.Arbitrary<OpenOptions> = fc.record({
  sstBlockSizeBytes: fc.constantFrom(1024, 4096, 65_536),
  compressionCodec: fc.constantFrom('none', 'none', 'lz4', 'zlib', 'snappy', 'zstd'),
  l0SstSizeBytes: fc.constantFrom(4096, 16_384, 1024 * 1024),
  memoryBytes: fc.constantFrom(8 * 1024 * 1024, 64 * 1024 * 1024),
  minFilterKeys: fc.constantFrom(0, 5, 1000),
  filterBitsPerKey: fc.constantFrom(1, 10, 20),
  compatibility: fc.constantFrom('auto', 'slatedb-0.12', 'slatedb-0.17'),
  flushIntervalMs: fc.constantFrom(1, 100),
  minWalPutIntervalMs: fc.constantFrom(0, 0, 50),
  walEnabled: fc.constantFrom(true, true, true, false),
});

/** One write after another, each a version of its own. */
function add(content: Content, key: string, version: Version): void {
  content.set(key, [...(content.get(key) ?? []), version]);
}

/** The writes of a batch to one key, as one version. */
function combined(writes: readonly Write[]): Pick<Version, 'kind' | 'value'> {
  return writes.reduce<Pick<Version, 'kind' | 'value'>>(
    (before, { kind, value }) => {
      if (kind === 'put') return { kind, value };
      if (kind === 'delete') return { kind, value: '' };
      return { kind: before.kind === 'merge' ? 'merge' : 'put', value: before.value + value };
    },
    { kind: 'merge', value: '' },
  );
}

/** What a reader sees of a key at a time: operands that have expired are as if they had never been. */
function rowOf(versions: readonly Version[] | undefined, nowMs: number): Row | undefined {
  const parts: Version[] = [];
  for (const version of [...(versions ?? [])].reverse()) {
    const isLive = version.expireTs === undefined || version.expireTs > nowMs;
    if (isLive && version.kind !== 'delete') parts.unshift(version);
    if (version.kind !== 'merge') break;
  }
  if (parts.length === 0) return undefined;
  const expiries = parts.flatMap(({ expireTs }) => expireTs ?? []);
  return {
    value: parts.map((part) => part.value).join(''),
    seq: Math.max(...parts.map((part) => part.seq)),
    createTs: Math.max(...parts.map((part) => part.createTs)),
    expireTs: expiries.length === 0 ? undefined : Math.min(...expiries),
  };
}

/** Keys in order, with value and sequence number. */
type Rows = [string, string, number][];

function rowsOf(content: Content, nowMs: number): Rows {
  return [...content]
    .flatMap(([k, versions]): Rows => {
      const row = rowOf(versions, nowMs);
      return row === undefined ? [] : [[k, row.value, row.seq]];
    })
    .sort((x, y) => byBytes(x[0], y[0]));
}

const utf8 = new TextEncoder();
const text = (b: Uint8Array | undefined) => (b === undefined ? undefined : new TextDecoder().decode(b));
const byBytes = (a: string, b: string) => Buffer.compare(utf8.encode(a), utf8.encode(b));

class Machine {
  readonly clock = new ManualClock();
  readonly random: SeededRandom;
  readonly disk = new MemoryStore({ clock: this.clock });
  readonly options: OpenOptions;
  process!: Incarnation;
  db!: Db;
  /** Content after each commit since the last one known to be durable; the last is the present. */
  states: Content[] = [new Map()];
  snapshots: { content: Content; nowMs: number; snapshot: ReturnType<Db['snapshot']> }[] = [];

  constructor(options: OpenOptions, seed: number) {
    this.random = new SeededRandom(seed);
    this.options = {
      ...options,
      mergeOperator: append,
      clock: this.clock,
      random: this.random,
      logger: SILENT_LOGGER,
      owner: 'test:1',
    };
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.runUntilSettled(promise, 120_000);
  }

  row(k: string): Row | undefined {
    return rowOf(this.content.get(k), this.clock.nowMs());
  }

  async expectAll(): Promise<void> {
    const nowMs = this.clock.nowMs();
    expect(await this.all()).toEqual(rowsOf(this.content, nowMs));
  }

  get content(): Content {
    return this.states[this.states.length - 1];
  }

  async open(): Promise<void> {
    this.process = incarnation(this.disk);
    this.db = await this.run(open({ store: this.process.store, path: 'db' }, this.options));
  }

  async close(): Promise<void> {
    await this.run(this.db.close());
    this.snapshots = [];
    this.states = [this.content];
  }

  async crash(): Promise<void> {
    this.process.kill();
    this.snapshots = [];
    await this.open();
    const nowMs = this.clock.nowMs();
    const found = JSON.stringify(await this.all());
    const match = this.states.findLastIndex((s) => JSON.stringify(rowsOf(s, nowMs)) === found);
    expect(match, `content after a crash is one of ${this.states.length} commit states`).toBeGreaterThanOrEqual(0);
    this.states = [this.states[match]];
  }

  async all(): Promise<Rows> {
    const out: Rows = [];
    const it = this.db.scan();
    for (;;) {
      const rows = await this.run(it.nextBatch(100));
      if (rows.length === 0) return out;
      out.push(...rows.map(rowFound));
    }
  }

  /** Value and times of a key, of the database or of a snapshot. */
  async expectRow(source: Pick<Db, 'getWithMeta'>, k: string, expected: Row | undefined): Promise<void> {
    const got = await this.run(source.getWithMeta(k));
    const found = got && {
      value: text(got.value),
      seq: Number(got.seq),
      createTs: got.createTs,
      expireTs: got.expireTs,
    };
    expect(found).toEqual(expected);
  }

  async step(s: Step): Promise<void> {
    switch (s.type) {
      case 'write':
        return this.write(s);
      case 'get':
        expect(text(await this.run(this.db.get(s.key)))).toBe(this.row(s.key)?.value);
        expect(await this.run(this.db.has(s.key))).toBe(this.row(s.key) !== undefined);
        return this.expectRow(this.db, s.key, this.row(s.key));
      case 'getMany':
        expect((await this.run(this.db.getMany(s.keys))).map(text)).toEqual(s.keys.map((k) => this.row(k)?.value));
        return;
      case 'scan':
        return this.scan(s, this.db, this.content, this.clock.nowMs());
      case 'deleteRange':
        return this.deleteRange(s);
      case 'snapshot':
        this.snapshots.push({ content: this.content, nowMs: this.clock.nowMs(), snapshot: this.db.snapshot() });
        return;
      case 'readSnapshot': {
        const pinned = this.snapshots[s.at % Math.max(1, this.snapshots.length)];
        if (pinned === undefined) return;
        await this.scan(
          { type: 'scan', from: '\u0000', to: '\u{10ffff}', reverse: s.at % 2 === 1, limit: 1000, batches: true },
          pinned.snapshot,
          pinned.content,
          pinned.nowMs,
        );
        for (const k of ['k1', 'a'])
          await this.expectRow(pinned.snapshot, k, rowOf(pinned.content.get(k), pinned.nowMs));
        return;
      }
      case 'dropSnapshot': {
        const [pinned] = this.snapshots.splice(s.at % Math.max(1, this.snapshots.length), 1);
        await pinned?.snapshot.close();
        return;
      }
      case 'flush':
        await this.run(this.db.flush({ type: s.memtable ? 'memtable' : 'wal' }));
        this.states = [this.content];
        return;
      case 'reopen':
        await this.close();
        await this.open();
        return this.expectAll();
      case 'crash':
        return this.crash();
      case 'reader': {
        const reader = await this.run(
          openReader(
            { store: this.disk, path: 'db' },
            { clock: this.clock, mergeOperator: append, logger: SILENT_LOGGER },
          ),
        );
        const nowMs = this.clock.nowMs();
        const seen = JSON.stringify((await this.run(reader.scan().nextBatch(100_000))).map(rowFound));
        expect(
          this.states.some((c) => JSON.stringify(rowsOf(c, nowMs)) === seen),
          'a reader sees a commit state',
        ).toBe(true);
        await reader.close();
        return;
      }
      case 'wait':
        return this.clock.advance(s.ms);
    }
  }

  async write(s: Extract<Step, { type: 'write' }>): Promise<void> {
    const { ttlMs, writes } = s;
    const options = { awaitDurable: s.durable, ...(ttlMs !== undefined && { ttlMs }) };
    const createTs = this.clock.nowMs();
    const versionOf = (w: Pick<Version, 'kind' | 'value'>): Version => {
      const expireTs = ttlMs === undefined || w.kind === 'delete' ? undefined : createTs + ttlMs;
      return { kind: w.kind, value: w.kind === 'delete' ? '' : w.value, seq: 0, createTs, expireTs };
    };
    if (s.asBatch) {
      const batch = new WriteBatch();
      for (const w of writes) {
        if (w.kind === 'put') batch.put(w.key, w.value);
        else if (w.kind === 'delete') batch.delete(w.key);
        else batch.merge(w.key, w.value);
      }
      const next = new Map(this.content);
      const added = [...new Set(writes.map((w) => w.key))].map((k) => {
        const version = versionOf(combined(writes.filter((w) => w.key === k)));
        add(next, k, version);
        return version;
      });
      this.states.push(next);
      const { seq } = await this.run(this.db.write(batch, options));
      for (const version of added) version.seq = Number(seq);
    } else {
      const all = writes.map((w) => {
        const next = new Map(this.content);
        const version = versionOf(w);
        add(next, w.key, version);
        this.states.push(next);
        return this.single(w, options).then(({ seq }) => {
          version.seq = Number(seq);
        });
      });
      await this.run(Promise.all(all));
    }
    if (s.durable) this.states = [this.content];
  }

  /** As one deletion of each key after the other: after a crash a part of the range from its beginning is gone. */
  async deleteRange(s: Extract<Step, { type: 'deleteRange' }>): Promise<void> {
    const isIn = (k: string) => s.all || (byBytes(k, s.from) >= 0 && byBytes(k, s.to) < 0);
    const nowMs = this.clock.nowMs();
    const seen = rowsOf(this.content, nowMs).filter(([k]) => isIn(k)).length;
    const stored = [...this.content].filter(([k, versions]) => isIn(k) && versions.at(-1)?.kind !== 'delete');
    const options = { batchSize: s.batchSize, awaitDurable: s.durable };
    const done = this.run(s.all ? this.db.clear(options) : this.db.deleteRange({ gte: s.from, lt: s.to }, options));
    for (const [k] of stored.sort(([x], [y]) => byBytes(x, y))) {
      const next = new Map(this.content);
      add(next, k, { kind: 'delete', value: '', seq: 0, createTs: nowMs, expireTs: undefined });
      this.states.push(next);
    }
    const { deleted } = await done;
    // What has expired is stored until a rewrite drops it.
    expect(deleted).toBeGreaterThanOrEqual(seen);
    expect(deleted).toBeLessThanOrEqual(stored.length);
    // An empty range waits for nothing.
    if (s.durable && (s.all || byBytes(s.from, s.to) < 0)) this.states = [this.content];
  }

  single(w: Write, options: WriteOptions): Promise<{ seq: bigint }> {
    if (w.kind === 'put') return this.db.put(w.key, w.value, options);
    if (w.kind === 'merge') return this.db.merge(w.key, w.value, options);
    return this.db.delete(w.key, { awaitDurable: options.awaitDurable === true });
  }

  async scan(
    s: Extract<Step, { type: 'scan' }>,
    source: Pick<Db, 'scan'>,
    content: Content,
    nowMs: number,
  ): Promise<void> {
    const expected = rowsOf(content, nowMs).filter(([k]) => byBytes(k, s.from) >= 0 && byBytes(k, s.to) < 0);
    if (s.reverse) expected.reverse();
    const it = source.scan({ gte: s.from, lt: s.to, reverse: s.reverse, limit: s.limit });
    const rows: Rows = [];
    if (s.batches) {
      for (let b = await this.run(it.nextBatch(7)); b.length > 0; b = await this.run(it.nextBatch(7))) {
        rows.push(...b.map(rowFound));
      }
    } else {
      for (let r = await this.run(it.next()); !r.done; r = await this.run(it.next())) rows.push(rowFound(r.value));
    }
    expect(rows).toEqual(expected.slice(0, s.limit));
  }
}

function rowFound({ key: k, value: v, seq }: ScanRow): Rows[number] {
  return [text(k) as string, text(v) as string, Number(seq)];
}

const RUNS = Number(process.env['SHALEDB_PROPERTY_RUNS'] ?? 120);

describe('the database is a sorted map', () => {
  it('whatever is done to it, under any settings, through reopenings and crashes', { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        settings,
        fc.nat(),
        fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }),
        async (options, seed, steps) => {
          const machine = new Machine(options, seed);
          await machine.open();
          for (const s of steps) await machine.step(s);
          await machine.close();
        },
      ),
      { numRuns: RUNS },
    );
  });
});
