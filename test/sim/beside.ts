/**
 * Repairs beside a writer that lives: it writes, flushes, is suspended for minutes and wakes up in the middle of a repair or
 * long after it; one or two machines repair at the same time, are cut off, and are suspended as well.
 *
 * Of the writer every acknowledged write counts. Once a repair has been applied it acknowledges nothing any more. Manifests
 * never go back, in their ids, epochs and fields, and none names again what a repair has replaced. A repair that refuses has
 * not sent a single PUT.
 */
import type { DbError } from '../../src/common/errors.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import type { SeededRandom } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import { parseManifestPath, parseTablePath } from '../../src/format/object-names.ts';
import { decreasedFields } from '../../src/lsm/manifest/manifest-rules.ts';
import { type LoadedManifest, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import type { RepairOptions } from '../../src/tools/repair-plan.ts';
import type { RepairReport } from '../../src/tools/reports.ts';
import { sstRepair } from '../../src/tools/sst-repair.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import { call } from './calls.ts';
import { batchOf, type DamageDatabase } from './damage-database.ts';
import { drawFate, Machine, type Process } from './machine.ts';
import { Draw } from './script.ts';
import { describe } from './world.ts';

const FREEZES_MS = [300, 1000, 2000, 61_000, 320_000, 3_600_000];
/** What a repair takes without pauses, about: when the others are stopped. */
const REPAIR_MS = 3000;
const MAX_ATTEMPTS = 6;

type Job = 'walRepair' | 'manifestRepair' | { table: string };

export class Company {
  readonly #database: DamageDatabase;
  readonly #draw: Draw;
  readonly #machine: Machine;
  readonly #writer: Process;
  #db!: Db;
  #isFenced = false;
  #isFrozenAtTimes = false;
  #applied = 0;
  #cycles = 0;

  constructor(database: DamageDatabase, machine: Machine) {
    this.#database = database;
    this.#draw = new Draw(database.world.seed ^ 0xbe51de);
    this.#machine = machine;
    this.#writer = machine.start();
  }

  /** Before the damage: the writer that will live on. */
  async arrive(): Promise<void> {
    this.#db = await this.#database.openOn(this.#writer);
    for (let steps = this.#draw.int(4); steps > 0; steps--) await this.#step();
  }

  /** After it: until everybody has ended. Resolves with how often a repair was cut off. */
  async play(): Promise<number> {
    const { world, judge } = this.#database;
    this.#watchManifests();
    const actors = [this.#write(), this.#repair(new Machine(world, 't'))];
    if (this.#draw.chance(0.4)) actors.push(this.#repair(new Machine(world, 'u')));
    await Promise.all(actors);
    // Whatever it was doing then: woken up, it is fenced.
    if (!this.#isFenced && this.#writer.isAlive && this.#applied > 0) {
      // One that was frozen may first run out of time.
      for (let tries = 0; tries < MAX_ATTEMPTS && !this.#isFenced; tries++) await this.#writeBatch();
      if (!this.#isFenced) judge.fail('a writer was not fenced by a repair that was applied');
      judge.reached('fenced by a repair, noticed afterwards');
    }
    this.#writer.kill();
    // The next process on its machine finds it awake.
    await this.#machine.sleep(REPAIR_MS);
    judge.learnLedger();
    return this.#cycles;
  }

  // ---- the writer

  async #write(): Promise<void> {
    const draw = this.#draw;
    this.#isFrozenAtTimes = draw.chance(0.6);
    if (this.#isFrozenAtTimes) this.#freezeLater(this.#machine);
    for (let steps = 2 + draw.int(8); steps > 0 && !this.#isFenced; steps--) {
      await this.#writer.sleepOrDie(draw.of([0, 20, 300, 1000, 7000]));
      await this.#step();
    }
  }

  #freezeLater(machine: Machine): void {
    const draw = this.#draw;
    const { world } = machine;
    const [kind, ms] = [draw.of(['suspend', 'stall'] as const), draw.of(FREEZES_MS)];
    world.at(world.nowMs + draw.int(REPAIR_MS), () => machine.freeze(kind, ms));
  }

  /** A write or a flush. */
  async #step(): Promise<void> {
    if (this.#draw.chance(0.25)) {
      const done = await call(this.#writer, 'flush', () => this.#db.flush({ type: 'memtable' }));
      if (done !== 'died' && 'error' in done) this.#refused(done.error, 'flush');
      return;
    }
    await this.#writeBatch();
  }

  async #writeBatch(): Promise<void> {
    const { judge } = this.#database;
    const ops = this.#database.drawOps(this.#draw);
    const appliedBefore = this.#applied;
    const done = await call(this.#writer, 'write', () => this.#db.write(batchOf(ops)));
    if (done === 'died') return;
    if ('value' in done) {
      judge.acknowledged(Number(done.value.seq), ops);
      judge.reached('acknowledged beside a repair');
      if (appliedBefore > 0) judge.fail('a write was acknowledged after a repair had been applied');
      return;
    }
    if (done.error.outcome !== 'not-applied') judge.mayHaveWritten(ops);
    this.#refused(done.error, 'write');
  }

  #refused(error: DbError, what: string): void {
    const { judge } = this.#database;
    if (error.kind === 'fenced') {
      judge.reached('fenced by a repair');
      this.#isFenced = true;
    } else if (error.code === 'FAILED' && this.#isManifestDeleted()) {
      // It works on a manifest that is gone, and so stops; it never acknowledges again, as one that was fenced.
      judge.reached('stopped, its manifest gone');
      this.#isFenced = true;
    } else if (error.kind === 'unavailable' && this.#isFrozenAtTimes) judge.reached('a write ran out of time, frozen');
    else judge.fail(`the writer: ${what} rejects with ${describe(error)}`);
  }

  #isManifestDeleted(): boolean {
    const { damages } = this.#database.judge;
    return damages.some(({ kind, path }) => kind === 'delete' && parseManifestPath(path) !== undefined);
  }

  // ---- the repairs

  #jobs(): Job[] {
    const jobs = new Set<Job>();
    const tables = new Set<string>();
    for (const path of this.#database.judge.suspects) {
      const table = parseTablePath(path);
      if (table !== undefined) tables.add(table);
      else if (path.startsWith('wal/')) jobs.add('walRepair');
      else if (path.startsWith('manifest/')) jobs.add('manifestRepair');
    }
    const all = [...jobs, ...[...tables].map((table) => ({ table }))];
    return all.length === 0 ? ['walRepair'] : all;
  }

  async #repair(machine: Machine): Promise<void> {
    const draw = this.#draw;
    await machine.sleep(draw.of([0, 100, 1000, 6000]));
    if (draw.chance(0.3)) this.#freezeLater(machine);
    const jobs = this.#jobs();
    for (let rounds = 1 + draw.int(3); rounds > 0; rounds--) await this.#do(machine, draw.of(jobs));
  }

  async #do(machine: Machine, job: Job): Promise<void> {
    const draw = this.#draw;
    const { judge, world } = this.#database;
    const name = typeof job === 'string' ? job : 'sstRepair';
    const how: RepairOptions = {
      apply: true,
      ifLiveWriter: draw.of(['refuse', 'fence', 'fence']),
      liveCheckMs: draw.of([0, 0, 300, 5000]),
    };
    const acceptResurrection = draw.chance(0.7);
    let crashes = draw.chance(0.4) ? 1 + draw.int(2) : 0;
    for (let attempts = 0; attempts < MAX_ATTEMPTS; attempts++) {
      const process = machine.start();
      if (crashes-- > 0) process.crashPoint = { call: 1 + draw.int(70), fate: drawFate(world) };
      world.trace(`-- ${name} by ${process.name}, ${JSON.stringify(how)}`);
      const done = await call(process, 'open', () => this.#run(process, job, how, acceptResurrection));
      const puts = process.writes.length;
      process.kill();
      if (done === 'died') {
        this.#cycles++;
        judge.reached(`${name} cut off beside a writer`);
        continue;
      }
      if ('value' in done) return this.#learn(name, done.value);
      if (!this.#mayReject(name, done.error, how, puts)) return;
    }
  }

  #run(process: Process, job: Job, how: RepairOptions, acceptResurrection: boolean): Promise<RepairReport> {
    const { clock, name: owner } = process;
    const { random } = this.#database.options;
    const options = { ...how, logger: SILENT_LOGGER, clock, owner, random: random as SeededRandom };
    const target = this.#database.target(process);
    if (job === 'walRepair') return walRepair(target, { ...options, acceptLoss: true });
    if (job === 'manifestRepair') return manifestRepair(target, options);
    return sstRepair(target, job.table, { ...options, acceptLoss: true, acceptResurrection });
  }

  #learn(name: string, report: RepairReport): void {
    const { judge, store } = this.#database;
    judge.reached(`${name} beside a writer: ${report.outcome}${report.applied ? '' : ', not applied'}`);
    judge.judgeEvidence(name, report, store.objects);
    if (!report.applied) return;
    this.#applied++;
    judge.learn(report);
  }

  /** Whether to try again. */
  #mayReject(name: string, error: DbError, how: RepairOptions, puts: number): boolean {
    const { judge } = this.#database;
    judge.reached(`${name} beside a writer rejects: ${error.code}`);
    if (error.code === 'LIVE_WRITER') {
      if (how.ifLiveWriter !== 'refuse' || how.liveCheckMs === 0) judge.fail(`${name} refuses, but was not to look`);
      if (puts > 0) judge.fail(`${name} refuses because of a live writer, after ${puts} PUTs`);
      return false;
    }
    if (error.kind === 'fenced' || error.code === 'PLAN_CHANGED') return true;
    if (error.kind !== 'corruption') judge.fail(`${name} beside a writer rejects with ${describe(error)}`);
    return false;
  }

  // ---- the manifests

  /** Nothing goes back, whichever process writes. */
  #watchManifests(): void {
    const { store, judge } = this.#database;
    const { onApplied } = store;
    const replaced = new Set<string>();
    let newest: LoadedManifest | undefined;
    store.onApplied = (path, object, old, by) => {
      onApplied?.(path, object, old, by);
      const id = parseManifestPath(path);
      if (id === undefined) return;
      const loaded = loadManifest(id, object.bytes);
      const { manifest, seal } = loaded;
      if (newest !== undefined) {
        if (id <= newest.id) judge.fail(`manifest ${id} was written after manifest ${newest.id}`);
        const back = decreasedFields(newest.manifest, manifest);
        if (back.length > 0) judge.fail(`REVERTED: manifest ${id}: ${back.join('; ')}`);
      }
      const names = [...manifest.l0, ...manifest.runs.flatMap((run) => run.views)].map((view) => view.table.id);
      const again = names.find((table) => replaced.has(table));
      if (again !== undefined) judge.fail(`REVERTED: manifest ${id} names table ${again} again`);
      for (const { from } of seal?.repair?.pairs ?? []) replaced.add(from);
      newest = loaded;
    };
  }
}
