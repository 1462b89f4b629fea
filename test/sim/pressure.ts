/**
 * More writes than the store takes: a writer whose memory fills up while the store is slow, refuses or is gone.
 *
 * At every call to the store and every write, what waits to be flushed and what is cached fit into the one budget. Every
 * write ends within its deadlines. One that was not admitted in time, or was aborted before, is never seen; admitted ones
 * are numbered in the order of their calls, are read at once, and after a crash those that are left are a beginning of them.
 */
import { type DbError, isDbError } from '../../src/common/errors.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { SeededRandom } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import { BlockCache } from '../../src/lsm/table/block-cache.ts';
import { open } from '../../src/open.ts';
import { toolAccessOf } from '../../src/recovery/tool-access.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { Auditor } from './auditor.ts';
import { call } from './calls.ts';
import { Faults, STORM_KINDS } from './faults.ts';
import { Machine, type Process } from './machine.ts';
import { type RunResult, resultOf } from './run-result.ts';
import { Draw } from './script.ts';
import { SimStore } from './sim-store.ts';
import { describe, World } from './world.ts';

const MEMORY_BYTES = 8 << 20;
/** What the options leave for it. */
const CACHE_BYTES = (MEMORY_BYTES * 5) / 16;
const CLOSE_MS = 120_000;
const WRITES_PER_LIFE = 120;
const MAX_VALUE_BYTES = 150_000;
/** No write is divided: a table, and an object of the log, can exceed its part by one. */
const UNDIVIDED_BYTES = 2 * MAX_VALUE_BYTES;
const ABORTED = 0.05;
const MAX_LIVES = 3;

/** What became of a write. */
type Fate = 'under way' | 'acknowledged' | 'durable' | 'not applied' | 'unknown';

interface Write {
  key: string;
  length: number;
  /** Once it is known. */
  seq: number | undefined;
  fate: Fate;
}

export class PressureRun {
  readonly world: World;
  readonly #faults: Faults;
  readonly #store: SimStore;
  readonly #auditor: Auditor;
  readonly #draw: Draw;
  readonly #options: OpenOptions;
  readonly #writes: Write[] = [];
  /** Most of the budget that was in use at any moment. */
  greatestBytes = 0;
  #life: { db: Db; cache: BlockCache } | undefined;
  #cycles = 0;

  constructor(seed: number, keepTrace = false) {
    this.world = new World(seed, keepTrace);
    this.#draw = new Draw(seed ^ 0x9e55);
    const draw = this.#draw;
    this.#faults = new Faults(new SeededRandom(seed ^ 0x5eed));
    this.#store = new SimStore(this.world, this.#faults, {
      latencyMs: draw.of([
        [5, 30],
        [100, 900],
      ] as const),
      lateMs: 1000,
      keepsMetadata: true,
      isKnown: true,
      hasWalStore: draw.chance(0.2),
    });
    this.#options = {
      memoryBytes: MEMORY_BYTES,
      l0SstSizeBytes: draw.of([64 * 1024, 512 * 1024, 1 << 20]),
      flushIntervalMs: draw.of([1, 100, 1000]),
      writeTimeoutMs: draw.of([500, 5000, 30_000]),
      compressionCodec: draw.of(['none', 'lz4']),
      walEnabled: draw.chance(0.8),
      // Without a compactor few L0 tables are a wall that no write gets past.
      l0MaxSsts: draw.of([4, 1000, 1000, 1000]),
      closeTimeoutMs: CLOSE_MS,
      compactor: false,
      gc: false,
    };
    this.#auditor = new Auditor(this.#store, { hasLog: this.#options.walEnabled !== false });
    this.#store.onSent = () => this.#measure();
  }

  async run(): Promise<RunResult> {
    await this.world.drive(this.#play());
    return resultOf(this.#auditor, this.#cycles, this.#writes.length);
  }

  #reached(state: string): void {
    this.#auditor.states.add(state);
  }

  async #play(): Promise<void> {
    const machine = new Machine(this.world, 'w');
    for (let lives = 1 + this.#draw.int(MAX_LIVES); lives > 0; lives--) {
      const process = machine.start();
      await this.#open(process);
      if (this.#life === undefined) return;
      await this.#load(process, lives > 1);
    }
  }

  async #open(process: Process): Promise<void> {
    this.#faults.stop();
    const { seed } = this.world;
    const cache = new BlockCache({ capacityBytes: CACHE_BYTES });
    const opened = await call(process, 'open', () =>
      open(this.#store.location(process), {
        ...this.#options,
        cache,
        clock: process.clock,
        random: new SeededRandom(seed ^ 0x0ddba11),
        logger: SILENT_LOGGER,
        owner: process.name,
      }),
    );
    if (opened === 'died' || 'error' in opened) {
      this.world.fail(`it does not open: ${opened === 'died' ? opened : describe(opened.error)}`);
      return;
    }
    this.#life = { db: opened.value, cache };
    await this.#verify(process, opened.value);
    this.#faults.enabled = true;
  }

  /** Writes faster than they can be flushed, through storms; then death, or a close when the storms are over. */
  async #load(process: Process, dies: boolean): Promise<void> {
    const { world } = this;
    const { db } = this.#life as { db: Db };
    const pending: Promise<void>[] = [];
    const pauseMs = this.#draw.of([1, 5, 40, 300]);
    for (let i = 0; i < WRITES_PER_LIFE && process.isAlive; i++) {
      if (this.#draw.chance(0.04))
        this.#faults.storm(this.#draw.of(STORM_KINDS), world.nowMs + this.#draw.of([300, 5000, 40_000]));
      pending.push(this.#write(process, db));
      this.#measure();
      if (this.#draw.chance(0.1)) await this.#readBack(process, db);
      await world.sleep(this.#draw.int(pauseMs * 2));
    }
    if (dies) {
      process.kill();
      this.#life = undefined;
      this.#cycles++;
      await Promise.all(pending);
      await world.sleep(2000);
      return;
    }
    this.#faults.stop();
    await Promise.all(pending);
    const closing = await call(process, 'close', () => db.close(), CLOSE_MS);
    // Few L0 tables are as good as a store that is gone, for those without a log.
    if (closing !== 'died' && 'error' in closing && this.#options.l0MaxSsts === 1000 && closing.error.kind !== 'closed')
      world.fail(`close rejects with ${describe(closing.error)}`);
    process.kill();
    this.#life = undefined;
    await world.sleep(2000);
    const after = new Machine(world, 'v').start();
    await this.#open(after);
  }

  async #write(process: Process, db: Db): Promise<void> {
    const { world } = this;
    const length = this.#draw.int(this.#draw.of([100, MAX_VALUE_BYTES]));
    const write: Write = { key: `k${this.#writes.length}`, length, seq: undefined, fate: 'under way' };
    this.#writes.push(write);
    const awaitDurable = this.#draw.chance(0.5);
    const aborter = new AbortController();
    if (this.#draw.chance(ABORTED)) process.at(world.nowMs + this.#draw.int(400), () => aborter.abort());
    const value = new Uint8Array(length).fill(write.key.length);
    const done = await call(
      process,
      'write',
      () => db.put(write.key, value, { awaitDurable, signal: aborter.signal }),
      this.#options.writeTimeoutMs,
    );
    if (done === 'died') {
      write.fate = 'unknown';
      return;
    }
    if ('error' in done) return this.#failed(write, done.error);
    write.fate = awaitDurable ? 'durable' : 'acknowledged';
    write.seq = Number(done.value.seq);
    const at = this.#writes.indexOf(write);
    const others = this.#writes.filter((w) => w.seq !== undefined);
    const wrong = others.find(
      (w) => w !== write && this.#writes.indexOf(w) < at !== (w.seq as number) < Number(write.seq),
    );
    if (wrong !== undefined) world.fail(`${write.key} got seq ${write.seq}, ${wrong.key} got ${wrong.seq}`);
  }

  #failed(write: Write, error: DbError): void {
    const { outcome, code } = error;
    if (outcome === undefined) this.world.fail(`${write.key} failed without saying its outcome: ${describe(error)}`);
    this.#reached(`${code}: ${outcome}`);
    write.fate = outcome === 'not-applied' ? 'not applied' : 'unknown';
    if (code === 'OVERLOADED' && outcome !== 'not-applied') this.world.fail(`OVERLOADED, but ${outcome}`);
  }

  /** A write whose call has returned is read at once, whatever the store does; one that was not admitted never is. */
  async #readBack(process: Process, db: Db): Promise<void> {
    const settled = this.#writes.filter((w) => w.fate !== 'under way' && w.fate !== 'unknown');
    if (settled.length === 0) return;
    const write = this.#draw.of(settled.slice(-20));
    const got = await call(process, 'read', () => db.get(write.key));
    if (got === 'died' || 'error' in got) return;
    this.#expect(write, got.value, 'read back');
  }

  #expect({ key, length, fate }: Write, value: Uint8Array | undefined, when: string): void {
    const isThere = value !== undefined;
    if (fate === 'not applied' && isThere) this.world.fail(`${when}: ${key} was not applied, but it is there`);
    if ((fate === 'durable' || fate === 'acknowledged') && !isThere) this.world.fail(`${when}: ${key} is gone`);
    if (isThere && (value.length !== length || value.some((b) => b !== key.length)))
      this.world.fail(`${when}: ${key} has another value`);
  }

  /** After a death: what was durable is there, what was not applied is not, and the rest is a beginning of the order. */
  async #verify(process: Process, db: Db): Promise<void> {
    let lastSeq = 0;
    let firstGone: Write | undefined;
    for (const write of this.#writes) {
      if (write.fate === 'under way') write.fate = 'unknown';
      const got = await call(process, 'read', () => db.getWithMeta(write.key));
      if (got === 'died' || 'error' in got) {
        this.world.fail(`${write.key} cannot be read: ${got === 'died' ? got : describe(got.error)}`);
        return;
      }
      if (write.fate === 'acknowledged' && got.value === undefined) write.fate = 'unknown';
      this.#expect(write, got.value?.value, 'after opening');
      if (got.value === undefined) {
        if (write.seq !== undefined) firstGone ??= write;
        write.fate = 'not applied';
        write.seq = undefined;
        continue;
      }
      const seq = Number(got.value.seq);
      if (seq <= lastSeq) this.world.fail(`${write.key} has seq ${seq}, the one before it ${lastSeq}`);
      if (firstGone !== undefined) this.world.fail(`${firstGone.key} is gone, but ${write.key} after it is there`);
      lastSeq = seq;
      write.seq = seq;
      write.fate = 'durable';
    }
  }

  /** The oracle of the budget. */
  #measure(): void {
    const life = this.#life;
    if (life === undefined) return;
    let unflushed: number;
    try {
      unflushed = toolAccessOf(life.db)?.unflushedBytes ?? Number.NaN;
    } catch (error) {
      // A closed handle holds nothing any more that it could report.
      if (!isDbError(error)) throw error;
      return;
    }
    const used = unflushed + life.cache.usedBytes;
    this.greatestBytes = Math.max(this.greatestBytes, used);
    if (Number.isNaN(used)) this.world.fail('MEMORY: the database gives tools no access');
    if (unflushed > MEMORY_BYTES / 2) this.#reached('more than half of the budget waits to be flushed');
    if (used > MEMORY_BYTES + UNDIVIDED_BYTES)
      this.world.fail(
        `MEMORY: ${unflushed} bytes wait, ${life.cache.usedBytes} are cached, the budget is ${MEMORY_BYTES}`,
      );
  }
}
