/**
 * A database under a store that has a bad time, with its compactor and its collector: one request in ten ends with a server error, one in fifty is throttled, one in
 * a hundred is never answered, and now and then everything is out for a while: nothing can be reached, or nothing answers.
 *
 * Measured: the share of operations begun outside of an outage (and not running into one) that end right, within their
 * deadline; and how long after an outage the first operation that needs the store succeeds.
 */
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { SeededRandom } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import { BlockCache } from '../../src/lsm/table/block-cache.ts';
import { open } from '../../src/open.ts';
import { Auditor } from './auditor.ts';
import { call, text } from './calls.ts';
import { Faults } from './faults.ts';
import { Machine, type Process } from './machine.ts';
import { type RunResult, resultOf } from './run-result.ts';
import { Draw } from './script.ts';
import { SimStore } from './sim-store.ts';
import { functionsOf, RECENT_MANIFESTS } from './upkeep-settings.ts';
import { UpkeepWatch } from './upkeep-watch.ts';
import { describe, World } from './world.ts';

const RATES = { 'error-500': 0.06, 'refused-connection': 0.04, throttle: 0.02, stall: 0.01 };
const KEYS = 40;
const RUN_MS = 10 * 60_000;
const OUTAGES = 4;

export interface ChaosFigures {
  operations: number;
  /** Not right, or not within the deadline. */
  failed: number;
  /** How long after the end of the last outage failed operations had begun, ms; -1: before the first one. */
  failedAfterMs: number[];
  /** From the end of each outage to the first success of an operation that needed the store, ms. */
  recoveriesMs: number[];
}

export class ChaosRun {
  readonly world: World;
  readonly figures: ChaosFigures = { operations: 0, failed: 0, failedAfterMs: [], recoveriesMs: [] };
  readonly #faults: Faults;
  readonly #store: SimStore;
  readonly #auditor: Auditor;
  readonly #watch: UpkeepWatch;
  readonly #draw: Draw;
  readonly #outages: { fromMs: number; toMs: number }[] = [];
  /** Last value acknowledged of each key; each key is written by one operation at a time. */
  readonly #values = new Map<string, string>();
  readonly #busy = new Set<string>();
  #writes = 0;

  constructor(seed: number, keepTrace = false) {
    this.world = new World(seed, keepTrace);
    this.#draw = new Draw(seed ^ 0xc4a05);
    this.#faults = new Faults(new SeededRandom(seed ^ 0x5eed));
    this.#store = new SimStore(this.world, this.#faults, {
      latencyMs: [5, 30],
      lateMs: 1000,
      keepsMetadata: true,
      isKnown: true,
    });
    const functions = functionsOf({ hasFilter: false });
    this.#auditor = new Auditor(this.#store, { hasLog: true, recentManifests: RECENT_MANIFESTS, functions });
    this.#watch = new UpkeepWatch(this.#auditor, { spoilsOutputs: false });
  }

  async run(): Promise<RunResult> {
    await this.world.drive(this.#play());
    return resultOf(this.#auditor, 0, this.#writes);
  }

  async #play(): Promise<void> {
    const { world } = this;
    const process = new Machine(world, 'w').start();
    const db = await open(
      { store: this.#store.connect(process), path: '' },
      {
        clock: process.clock,
        random: new SeededRandom(world.seed ^ 0x0ddba11),
        logger: SILENT_LOGGER,
        owner: process.name,
        memoryBytes: 8 * 1024 * 1024,
        l0SstSizeBytes: 16 * 1024,
        compactor: { minCompactionSources: 2, maxSstBytes: 65_536 },
        gc: { intervalMs: 60_000 },
        onEvent: this.#watch.onEvent,
        // So small that reads need the store.
        cache: new BlockCache({ capacityBytes: 64 }),
      },
    );
    this.#faults.rates = RATES;
    this.#plan();
    const endMs = world.nowMs + RUN_MS;
    const pending: Promise<void>[] = [];
    while (world.nowMs < endMs) {
      pending.push(this.#operation(process, db));
      await world.sleep(20 + this.#draw.int(160));
    }
    this.#faults.stop();
    await Promise.all(pending);
    await db.close();
  }

  #plan(): void {
    const { world } = this;
    for (let i = 0; i < OUTAGES; i++) {
      const fromMs = world.nowMs + (RUN_MS * (i + 0.3 + this.#draw.int(40) / 100)) / OUTAGES;
      const toMs = fromMs + this.#draw.of([500, 3000, 20_000, 50_000]);
      const kind = this.#draw.chance(0.7) ? 'outage' : 'black-hole';
      this.#outages.push({ fromMs, toMs });
      world.at(fromMs, () => {
        world.trace(`${kind} for ${toMs - fromMs} ms`);
        this.#faults.storm(kind, toMs);
      });
      world.at(toMs, () => this.#awaitSuccess(toMs));
    }
  }

  #onSuccess: (() => void) | undefined;

  #awaitSuccess(fromMs: number): void {
    this.world.trace('the store is back');
    this.#onSuccess = () => {
      this.world.trace('the first operation succeeds');
      this.#onSuccess = undefined;
      this.figures.recoveriesMs.push(this.world.nowMs - fromMs);
    };
  }

  async #operation(process: Process, db: Db): Promise<void> {
    const { world } = this;
    const key = `k${this.#draw.int(KEYS)}`;
    if (this.#busy.has(key)) return;
    const startMs = world.nowMs;
    const callsBefore = process.calls;
    const isWrite = this.#draw.chance(0.5);
    let isRight = true;
    if (isWrite) {
      this.#busy.add(key);
      const value = `${++this.#writes}${'.'.repeat(this.#draw.int(400))}`;
      const done = await call(process, 'write', () => db.put(key, value));
      // After a failed write the key's value is not known any more: it stays busy.
      if (done !== 'died' && 'value' in done) {
        this.#values.set(key, value);
        this.#busy.delete(key);
      } else {
        isRight = false;
        if (done !== 'died' && 'error' in done) world.trace(describe(done.error));
      }
    } else {
      const expected = this.#values.get(key);
      const isStable = () => this.#values.get(key) === expected && !this.#busy.has(key);
      const done = await call(process, 'read', () => db.get(key));
      if (done === 'died' || 'error' in done) isRight = false;
      else if (isStable() && expected !== (done.value && text(done.value))) world.fail(`WRONG: get ${key}`);
    }
    const isAffected = this.#outages.some((o) => startMs <= o.toMs && world.nowMs >= o.fromMs);
    if (isRight && (isWrite || process.calls > callsBefore) && !this.#faults.inStorm(world.nowMs)) this.#onSuccess?.();
    if (isAffected) return;
    this.figures.operations++;
    if (!isRight) {
      this.figures.failed++;
      const last = this.#outages.filter((o) => o.toMs < startMs).pop();
      this.figures.failedAfterMs.push(last === undefined ? -1 : startMs - last.toMs);
      world.trace(`a ${isWrite ? 'write' : 'read'} failed that began at ${startMs}`);
    }
  }
}
