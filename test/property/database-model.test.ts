/**
 * The whole database against a sorted map: any mix of writes, reads, snapshots, flushes, reopenings and crashes, under
 * varied settings, gives what the map gives. After a crash the content is a prefix of the commit order that holds
 * everything acknowledged as durable.
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
  WriteBatch,
} from '../../src/index.ts';
import { type Incarnation, incarnation } from '../support/incarnation-store.ts';

const append: MergeOperator = {
  merge: (_key, existing, operand) => new Uint8Array([...(existing ?? []), ...operand]),
};

type Content = Map<string, string>;
type Write = { key: string; kind: 'put' | 'delete' | 'merge'; value: string };

type Step =
  | { type: 'write'; writes: Write[]; durable: boolean; asBatch: boolean }
  | { type: 'get'; key: string }
  | { type: 'getMany'; keys: string[] }
  | { type: 'scan'; from: string; to: string; reverse: boolean; limit: number; batches: boolean }
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

function apply(content: Content, w: Write): void {
  if (w.kind === 'put') content.set(w.key, w.value);
  else if (w.kind === 'delete') content.delete(w.key);
  else content.set(w.key, (content.get(w.key) ?? '') + w.value);
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
  snapshots: { content: Content; snapshot: ReturnType<Db['snapshot']> }[] = [];

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
    const found = await this.all();
    const match = this.states.findLastIndex((s) => sameContent(s, found));
    expect(match, `content after a crash is one of ${this.states.length} commit states`).toBeGreaterThanOrEqual(0);
    this.states = [this.states[match]];
  }

  async all(): Promise<Content> {
    const out: Content = new Map();
    const it = this.db.scan();
    for (;;) {
      const rows = await this.run(it.nextBatch(100));
      if (rows.length === 0) return out;
      for (const r of rows) out.set(text(r.key) as string, text(r.value) as string);
    }
  }

  async step(s: Step): Promise<void> {
    switch (s.type) {
      case 'write':
        return this.write(s);
      case 'get':
        expect(text(await this.run(this.db.get(s.key)))).toBe(this.content.get(s.key));
        expect(await this.run(this.db.has(s.key))).toBe(this.content.has(s.key));
        return;
      case 'getMany':
        expect((await this.run(this.db.getMany(s.keys))).map(text)).toEqual(s.keys.map((k) => this.content.get(k)));
        return;
      case 'scan':
        return this.scan(s, this.db, this.content);
      case 'snapshot':
        this.snapshots.push({ content: new Map(this.content), snapshot: this.db.snapshot() });
        return;
      case 'readSnapshot': {
        const pinned = this.snapshots[s.at % Math.max(1, this.snapshots.length)];
        if (pinned === undefined) return;
        await this.scan(
          { type: 'scan', from: '\u0000', to: '\u{10ffff}', reverse: s.at % 2 === 1, limit: 1000, batches: true },
          pinned.snapshot,
          pinned.content,
        );
        for (const k of ['k1', 'a']) expect(text(await this.run(pinned.snapshot.get(k)))).toBe(pinned.content.get(k));
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
        expect(sameContent(await this.all(), this.content)).toBe(true);
        return;
      case 'crash':
        return this.crash();
      case 'reader': {
        const reader = await this.run(
          openReader(
            { store: this.disk, path: 'db' },
            { clock: this.clock, mergeOperator: append, logger: SILENT_LOGGER },
          ),
        );
        const rows = await this.run(reader.scan().nextBatch(100_000));
        const seen = new Map(rows.map((r) => [text(r.key) as string, text(r.value) as string]));
        expect(
          this.states.some((c) => sameContent(c, seen)),
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
    const options = { awaitDurable: s.durable };
    if (s.asBatch) {
      const batch = new WriteBatch();
      for (const w of s.writes) {
        if (w.kind === 'put') batch.put(w.key, w.value);
        else if (w.kind === 'delete') batch.delete(w.key);
        else batch.merge(w.key, w.value);
      }
      const next = new Map(this.content);
      for (const w of s.writes) apply(next, w);
      this.states.push(next);
      await this.run(this.db.write(batch, options));
    } else {
      const all = s.writes.map((w) => {
        const next = new Map(this.content);
        apply(next, w);
        this.states.push(next);
        if (w.kind === 'put') return this.db.put(w.key, w.value, options);
        return w.kind === 'delete' ? this.db.delete(w.key, options) : this.db.merge(w.key, w.value, options);
      });
      await this.run(Promise.all(all));
    }
    if (s.durable) this.states = [this.content];
  }

  async scan(s: Extract<Step, { type: 'scan' }>, source: Pick<Db, 'scan'>, content: Content): Promise<void> {
    const keys = [...content.keys()].filter((k) => byBytes(k, s.from) >= 0 && byBytes(k, s.to) < 0).sort(byBytes);
    if (s.reverse) keys.reverse();
    const expected = keys.slice(0, s.limit).map((k) => [k, content.get(k)]);
    const it = source.scan({ gte: s.from, lt: s.to, reverse: s.reverse, limit: s.limit });
    const rows: [string, string][] = [];
    if (s.batches) {
      for (let b = await this.run(it.nextBatch(7)); b.length > 0; b = await this.run(it.nextBatch(7))) {
        rows.push(...b.map((r): [string, string] => [text(r.key) as string, text(r.value) as string]));
      }
    } else {
      for (let r = await this.run(it.next()); !r.done; r = await this.run(it.next())) {
        rows.push([text(r.value.key) as string, text(r.value.value) as string]);
      }
    }
    expect(rows).toEqual(expected);
  }
}

function sameContent(a: Content, b: Content): boolean {
  return a.size === b.size && [...a].every(([k, v]) => b.get(k) === v);
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
