/**
 * Crashes of real processes: a process writes numbered batches, merges and collects beside it, and says what it submitted and what was acknowledged; it is
 * killed with SIGKILL at a moment that the seed decides; then the database is opened here and its whole content compared.
 *
 * The oracle: the content is exactly that of batches 1 to N, with acknowledged <= N <= submitted. That says at once that
 * nothing acknowledged is lost, that batches are whole, and that nothing of a dead process comes back later: every life
 * writes other values under the same numbers. The database lives on from cycle to cycle.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { nextInt, type Random, SeededRandom } from '../../src/common/random.ts';
import { open, openReader } from '../../src/open.ts';
import type { DatabaseLocation } from '../../src/store/location.ts';
import type { S3StoreOptions } from '../../src/store/s3-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { changesOf, LAST } from '../support/crash-history.mjs';

const WRITER = join(import.meta.dirname, '..', 'support', 'crash-writer.mjs');
/** Ends a process that hangs; never the normal end of one. */
const LIFE_LIMIT_MS = 120_000;
const MAX_LINES = 120;
const MAX_OPENING_MS = 150;

/** Where the database is, in the words of the writing process and of this one. */
export interface CrashPlace {
  child: { path: string } & ({ directory: string } | { s3: S3StoreOptions });
  ours: DatabaseLocation;
}

/** Two tables are merged at once; a round of the collector begins within the first second of a life. No other process lives beside one. */
const UPKEEP: OpenOptions = {
  compactor: { minCompactionSources: 2, maxSstBytes: 65_536 },
  gc: { minAgeMs: 0, allowUnsafeMinAge: true, intervalMs: 10_000, recentManifests: 1 },
};

/** Small tables and short intervals: a life of a hundred batches then goes through flushes, merges and several tables. */
const OPTIONS: readonly OpenOptions[] = [
  { ...UPKEEP, l0SstSizeBytes: 8192, flushIntervalMs: 10 },
  { ...UPKEEP, l0SstSizeBytes: 32_768, flushIntervalMs: 50, compressionCodec: 'lz4' },
  { ...UPKEEP, l0SstSizeBytes: 16_384, flushIntervalMs: 20, sstBlockSizeBytes: 1024, minFilterKeys: 1 },
];

export interface CrashTotals {
  cycles: number;
  /** Processes that were killed while they opened the database. */
  killedOpening: number;
  /** Batches that were submitted, those of them known to be acknowledged, and those found after the crashes. */
  submitted: number;
  acknowledged: number;
  survived: number;
  slowestRecoveryMs: number;
}

/** One database and what is known of its history. */
export class CrashRun {
  readonly totals: CrashTotals = {
    cycles: 0,
    killedOpening: 0,
    submitted: 0,
    acknowledged: 0,
    survived: 0,
    slowestRecoveryMs: 0,
  };
  readonly #place: CrashPlace;
  readonly #seed: number;
  readonly #random: Random;
  #life = 0;
  /** The last batch that is known to be in the database, and the content up to it. */
  #last = 0;
  readonly #content = new Map<string, string>();
  /** The life before, and the last batch of it that may still appear. */
  #before = { number: -1, submitted: 0 };

  constructor(place: CrashPlace, seed: number) {
    this.#place = place;
    this.#seed = seed;
    this.#random = new SeededRandom(seed);
  }

  /** One life and death of a writing process, then the check. Rejects with what is wrong. */
  async cycle(): Promise<void> {
    const whileOpening = nextInt(this.#random, 8) === 0;
    const delayMs = nextInt(this.#random, MAX_OPENING_MS);
    const lines = nextInt(this.#random, MAX_LINES);
    const life = this.startLife();
    if (whileOpening) {
      await life.until(() => life.isOpening);
      // The only moment that a clock decides: nothing is said between the beginning and the end of an opening.
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      this.totals.killedOpening++;
    } else {
      await life.until(() => life.ready !== undefined && life.lines >= lines);
    }
    await life.kill();
    await this.check(life);
    this.totals.cycles++;
  }

  /** A life that ends by a kill as soon as `isEnough` says so of what is stored, then the check. */
  async cycleUntil(isEnough: () => Promise<boolean>): Promise<void> {
    const life = this.startLife();
    await life.until(() => life.ready !== undefined);
    while (!(await isEnough())) await life.nextLine();
    await life.kill();
    await this.check(life);
    this.totals.cycles++;
  }

  startLife(): WriterLife {
    const life = this.#life++;
    // Tables this small come faster than a busy server takes them: a close may have many to write.
    const options = { ...OPTIONS[life % OPTIONS.length], owner: `life-${life}`, closeTimeoutMs: LIFE_LIMIT_MS / 2 };
    return new WriterLife({ ...this.#place.child, options, seed: this.#seed, life });
  }

  /** Opens what a life left and compares all of it. */
  async check(life: WriterLife): Promise<void> {
    if (life.ready !== undefined) this.#meet(life, life.ready);
    const before = this.#last;
    const acknowledged = Math.max(before, life.durable);
    const submitted = Math.max(before, life.submitted);
    const startedMs = performance.now();
    // A reader changes nothing: then the next process is the one that recovers.
    const isReader = life.number % 3 === 1;
    const env = { logger: SILENT_LOGGER };
    const db = isReader ? await openReader(this.#place.ours, env) : await open(this.#place.ours, env);
    const recoveryMs = performance.now() - startedMs;
    const found = new Map<string, string>();
    try {
      for await (const { key, value } of db.scan()) found.set(text(key), text(value));
    } finally {
      await db.close();
    }
    const last = Number(found.get(LAST) ?? 0);
    if (last < acknowledged)
      this.#fail(life, `batch ${acknowledged} was acknowledged and ${last} is the last one left`);
    if (last > submitted) this.#fail(life, `batch ${submitted} was the last one submitted, and ${last} is there`);
    this.#advance(life.number, last);
    this.#before = { number: life.number, submitted: isReader ? submitted : last };
    for (const key of new Set([...found.keys(), ...this.#content.keys()])) {
      const [is, expected] = [found.get(key), this.#content.get(key)];
      if (is !== expected) this.#fail(life, `${key} is ${shown(is)}, not ${shown(expected)} as of batch ${last}`);
    }
    const { totals } = this;
    totals.submitted += submitted - before;
    totals.acknowledged += acknowledged - before;
    totals.survived += last - before;
    totals.slowestRecoveryMs = Math.max(totals.slowestRecoveryMs, recoveryMs);
  }

  /** What a process found when it opened the database: the content of the check before. */
  #meet(life: WriterLife, ready: number): void {
    // A request that the server had when its sender was killed may be carried out after a reader looked; a writer's look
    // ends that.
    if (ready > this.#last && ready <= this.#before.submitted) this.#advance(this.#before.number, ready);
    if (ready !== this.#last) this.#fail(life, `it found batch ${ready}, not ${this.#last}`);
  }

  #advance(life: number, last: number): void {
    for (let n = this.#last + 1; n <= last; n++) {
      for (const [key, value] of changesOf(this.#seed, life, n)) {
        if (value === undefined) this.#content.delete(key);
        else this.#content.set(key, value);
      }
    }
    this.#last = last;
  }

  #fail(life: WriterLife, problem: string): never {
    throw new Error(`seed ${this.#seed}, life ${life.number}: ${problem}\n${life.stderr}`);
  }
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const shown = (value: string | undefined) => (value === undefined ? 'absent' : JSON.stringify(value.slice(0, 30)));

/** A process that writes, as far as its lines say. */
export class WriterLife {
  readonly number: number;
  isOpening = false;
  /** The last batch it found when it had opened. */
  ready: number | undefined;
  submitted = 0;
  durable = 0;
  /** Lines after `ready`. */
  lines = 0;
  isClosed = false;
  stderr = '';
  readonly #child: ChildProcess;
  readonly #ended: Promise<NodeJS.Signals | number | null>;
  readonly #timer: NodeJS.Timeout;
  #isKilled = false;
  #hasEnded = false;
  #changed: () => void = () => undefined;

  constructor(order: { life: number } & Record<string, unknown>) {
    this.number = order.life;
    const child = spawn(process.execPath, [WRITER], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    child.stdin!.on('error', () => undefined);
    child.stdin!.write(`${JSON.stringify(order)}\n`);
    child.stderr!.on('data', (piece) => {
      this.stderr = (this.stderr + piece).slice(-5000);
    });
    createInterface({ input: child.stdout! }).on('line', (line) => this.#read(line));
    this.#timer = setTimeout(() => child.kill('SIGKILL'), LIFE_LIMIT_MS);
    // `close` comes after the last line was read.
    this.#ended = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => {
        clearTimeout(this.#timer);
        this.#hasEnded = true;
        this.#changed();
        resolve(signal ?? code);
      });
    });
  }

  #read(line: string): void {
    const [word, number] = line.split(' ');
    if (word === 'opening') this.isOpening = true;
    else if (word === 'ready') this.ready = Number(number);
    else if (word === 'submit') this.submitted = Math.max(this.submitted, Number(number));
    else if (word === 'durable') this.durable = Math.max(this.durable, Number(number));
    else if (word === 'closed') this.isClosed = true;
    if (this.ready !== undefined) this.lines++;
    this.#changed();
  }

  /** Resolves when a line made `condition` true; rejects if the process ends before. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#changed = () => {
        if (condition()) resolve();
        else if (this.#hasEnded && !this.#isKilled) reject(new Error(`the process ended by itself:\n${this.stderr}`));
      };
      this.#changed();
    });
  }

  /** Resolves when it has said one thing more. */
  nextLine(): Promise<void> {
    const { lines } = this;
    return this.until(() => this.lines > lines);
  }

  async kill(): Promise<void> {
    this.#isKilled = true;
    this.#child.kill('SIGKILL');
    const end = await this.#ended;
    if (end !== 'SIGKILL') throw new Error(`the process was to be killed, but ended with ${end}:\n${this.stderr}`);
  }

  /** Lets it acknowledge what it has submitted, close and end. */
  async stop(): Promise<void> {
    this.#child.stdin!.write('stop\n');
    await this.until(() => this.isClosed);
    await this.#ended;
  }
}
