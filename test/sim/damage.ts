/**
 * A database whose objects are damaged at rest, and what it must give all the same; then repairs, which may be cut off anywhere.
 *
 * What is right is said in `damage-judge.ts`. An opening refuses with a corruption error and changes nothing; one that recovers
 * by itself may be cut off like any repair, and what waited for it is written once or never. A writer that has the database
 * open when it is damaged goes on: it reads like any other, and its writes and flushes succeed.
 */
import type { DbError } from '../../src/common/errors.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import type { SeededRandom } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import { parseTablePath } from '../../src/format/object-names.ts';
import { openReader } from '../../src/open.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import type { RepairReport } from '../../src/tools/reports.ts';
import { sstRepair } from '../../src/tools/sst-repair.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import { Company } from './beside.ts';
import { CONCAT, call, type Outcome } from './calls.ts';
import { batchOf, DamageDatabase, LATE_MS, LOADED } from './damage-database.ts';
import { type DamageJudge, KEYS, keyName } from './damage-judge.ts';
import { type Fate, Machine, type Process } from './machine.ts';
import type { RunResult } from './run-result.ts';
import type { Draw } from './script.ts';
import { describe, World } from './world.ts';

/** Repairs one after the other: each can bring to light what the one before had hidden. */
const MAX_REPAIRS = 8;
const MAX_CRASHES = 3;
/** An opening makes some twenty calls, a recovery with both openings up to a hundred. */
const MAX_CRASH_CALL = 100;
const FATES: readonly Fate[] = ['not-applied', 'applied', 'applied-later'];

interface Opened {
  db: Db;
  process: Process;
}

type Tool = (process: Process) => Promise<RepairReport>;

/**
 * `damage`: nobody else is there. `beside`: a writer lives on during the damage and the first repairs. `recovery`: every opening
 * recovers the log by itself. `serving`: a writer serves when the damage comes, and while more comes.
 */
export type DamageMode = 'damage' | 'beside' | 'recovery' | 'serving';

export class DamageRun {
  readonly world: World;
  readonly #database: DamageDatabase;
  readonly #judge: DamageJudge;
  readonly #draw: Draw;
  readonly #machine: Machine;
  readonly #mode: DamageMode;
  #cycles = 0;
  /** Whether the last opening came after others that were cut off while they recovered. */
  #wasCut = false;
  /** Whether a write waited for a recovery that was cut off. */
  #hasDoubtfulWrite = false;

  constructor(seed: number, keepTrace = false, mode: DamageMode = 'damage') {
    this.world = new World(seed, keepTrace);
    this.#database = new DamageDatabase(this.world);
    this.#judge = this.#database.judge;
    this.#draw = this.#database.draw;
    this.#machine = new Machine(this.world, 'w');
    this.#mode = mode;
  }

  async run(): Promise<RunResult> {
    await LOADED;
    await this.world.drive(this.#play());
    return this.#database.result(this.#cycles);
  }

  async #play(): Promise<void> {
    await this.#database.build(this.#machine);
    // What dead processes had sent has arrived by then.
    await this.world.sleep(2 * LATE_MS);
    const company = this.#mode === 'beside' ? new Company(this.#database, this.#machine) : undefined;
    await company?.arrive();
    if (this.#mode === 'serving') await this.#serve();
    else this.#database.damage(this.#mode === 'recovery' && this.#draw.chance(0.8) ? 'to-replay' : 'any');
    if (this.#database.isOutOfReach()) return this.#judge.reached('out of reach');
    if (company !== undefined) this.#cycles += await company.play();
    if (this.#draw.chance(0.3)) await this.#readAsReader();
    for (let repairs = 0; ; repairs++) {
      const before = this.#judge.objects();
      const opened = this.#mode === 'recovery' ? await this.#recover() : await this.#open();
      if (!isRefusal(opened)) {
        const isRight = await this.#useOpened(opened, repairs > 0);
        if (isRight || repairs === MAX_REPAIRS) return;
        if (!(await this.#repairTables())) return;
        continue;
      }
      if (!this.#wasCut) this.#judge.expectUnchanged(before, 'a refused opening');
      if (repairs === MAX_REPAIRS)
        return this.#judge.fail(`still refused after ${repairs} repairs: ${describe(opened)}`);
      if (!(await this.#repairAfter(opened))) return;
    }
  }

  // ---- serving while it is damaged

  async #serve(): Promise<void> {
    const draw = this.#draw;
    const process = this.#machine.start();
    const db = await this.#database.openOn(process);
    for (let times = 1 + draw.int(2); times > 0; times--) {
      // With reads before, some of it is cached.
      if (draw.chance(0.5)) await this.#judge.readAll(process, db);
      this.#database.damage();
      for (let steps = 1 + draw.int(4); steps > 0; steps--) await this.#step(process, db);
    }
    if (draw.chance(0.5))
      await this.#expectDone(
        'close',
        call(process, 'close', () => db.close()),
      );
    process.kill();
    await this.world.sleep(2 * LATE_MS);
  }

  async #step(process: Process, db: Db): Promise<void> {
    const draw = this.#draw;
    switch (draw.of(['read', 'read', 'write', 'flush'] as const)) {
      case 'read':
        this.#judge.reached((await this.#judge.readAll(process, db)) > 0 ? 'served over damage' : 'served');
        return;
      case 'flush':
        await this.#expectDone(
          'flush',
          call(process, 'flush', () => db.flush({ type: 'memtable' })),
        );
        return;
      case 'write': {
        const ops = this.#database.drawOps(draw);
        const done = await this.#expectDone(
          'write',
          call(process, 'write', () => db.write(batchOf(ops))),
        );
        if (done !== undefined) this.#judge.acknowledged(Number(done.seq), ops);
      }
    }
  }

  /** Nothing that a writer does stops at damage. */
  async #expectDone<T>(what: string, calling: Promise<Outcome<T>>): Promise<T | undefined> {
    const done = await calling;
    if (done === 'died') throw new Error('nobody killed it');
    if ('value' in done) return done.value;
    this.#judge.fail(`a ${what} over damage failed: ${describe(done.error)}`);
    return undefined;
  }

  // ---- opening and reading

  async #open(): Promise<Opened | DbError> {
    const process = this.#machine.start();
    const isAuto = this.#draw.chance(0.2);
    const opened = await call(process, 'open', () =>
      this.#database.openOn(process, isAuto ? { walAutoRecovery: true } : {}),
    );
    if (opened === 'died') throw new Error('nobody killed it');
    if (isAuto) this.world.trace('-- opening with automatic recovery');
    if ('error' in opened) return this.#refused(opened.error, process);
    const ready = isAuto ? await this.#awaitRecovery(process, opened.value) : undefined;
    if (ready === 'died') throw new Error('nobody killed it');
    return ready ?? { db: opened.value, process };
  }

  /** Opens, recovering by itself, until nobody kills the process before the end. A repair may come between. */
  async #recover(): Promise<Opened | DbError> {
    const draw = this.#draw;
    this.#wasCut = false;
    for (let crashes = draw.int(MAX_CRASHES + 1); ; crashes--) {
      const process = this.#machine.start();
      if (crashes > 0) process.crashPoint = { call: 1 + draw.int(MAX_CRASH_CALL), fate: draw.of(FATES) };
      const opened = await this.#recoverOnce(process);
      process.crashPoint = undefined;
      if (opened !== 'died') {
        // The report of a repair whose process died is lost; what it lost is in the ledger.
        if (this.#wasCut) this.#judge.learnLedger();
        return opened;
      }
      this.#cycles++;
      this.#wasCut = true;
      this.#judge.reached('recovery cut off');
      if (draw.chance(0.3)) await this.#repair('walRepair', this.#walRepair);
    }
  }

  async #recoverOnce(process: Process): Promise<Opened | DbError | 'died'> {
    const opened = await call(process, 'open', () => this.#database.openOn(process, { walAutoRecovery: true }));
    if (opened === 'died') return 'died';
    if ('error' in opened) return this.#refused(opened.error, process);
    const db = opened.value;
    const early = this.#draw.chance(0.5) && !this.#hasDoubtfulWrite ? this.#startWrite(process, db) : undefined;
    const refusal = await this.#awaitRecovery(process, db);
    await early?.end(refusal);
    return refusal ?? (process.isAlive ? { db, process } : 'died');
  }

  /** A write that waits until the recovery has ended. `end`: checks what came of it. */
  #startWrite(process: Process, db: Db) {
    const key = keyName(this.#draw.int(KEYS));
    const ops = [{ kind: 'put' as const, key, value: this.#database.nextValue() }];
    const writing = call(process, 'write', () => db.put(key, ops[0].value));
    const end = async (refusal: DbError | 'died' | undefined) => {
      const done = await writing;
      if (done === 'died') {
        this.#judge.mayHaveWritten(ops);
        this.#hasDoubtfulWrite = true;
      } else if ('value' in done) {
        this.#judge.acknowledged(Number(done.value.seq), ops);
        this.#judge.reached('written when recovered');
      } else if (refusal === undefined) this.#judge.fail(`a write that waited failed: ${describe(done.error)}`);
      else this.#judge.reached(`a write that waited rejects: ${done.error.code}`);
    };
    return { end };
  }

  /** Undefined once it serves. */
  async #awaitRecovery(process: Process, db: Db): Promise<DbError | 'died' | undefined> {
    const ready = await call(process, 'open', () => db.ready());
    if (ready === 'died') return 'died';
    if ('error' in ready) return this.#refused(ready.error, process);
    if (ready.value !== undefined) {
      this.#judge.reached('recovered by itself');
      this.#judge.learn(ready.value);
    }
    return undefined;
  }

  #refused(error: DbError, process: Process): DbError {
    process.kill();
    this.#judge.reached(`opening refused: ${error.code}`);
    this.#judge.expectDamage(error, undefined, 'the opening');
    return error;
  }

  async #readAsReader(): Promise<void> {
    const process = new Machine(this.world, 'r').start();
    const before = this.#judge.objects();
    const { clock } = process;
    const { random } = this.#database.options;
    const options = {
      memoryBytes: 8 << 20,
      mergeOperator: CONCAT,
      logger: SILENT_LOGGER,
      clock,
      random: random as never,
    };
    const opened = await call(process, 'open', () => openReader(this.#database.target(process), options));
    if (opened === 'died') throw new Error('nobody killed it');
    if ('error' in opened) this.#judge.expectDamage(opened.error, undefined, 'a reader');
    else await this.#judge.readAll(process, opened.value);
    this.#judge.reached('error' in opened ? 'reader refused' : 'reader read');
    process.kill();
    this.#judge.expectUnchanged(before, 'a reader');
  }

  /** Reads everything, writes, closes, opens and reads again; whether no read met damage. */
  async #useOpened({ db, process }: Opened, isRepaired: boolean): Promise<boolean> {
    const met = await this.#judge.readAll(process, db);
    this.#judge.reached(met === 0 ? 'all right' : isRepaired ? 'read with what repairs left' : 'read over damage');
    // Writes are always accepted, and make what they overwrite readable at once.
    const key = keyName(this.#draw.int(KEYS));
    const value = this.#database.nextValue();
    const done = await call(process, 'write', () => db.put(key, value));
    if (done === 'died' || 'error' in done) {
      this.#judge.fail(`a write over damage failed: ${done === 'died' ? done : describe(done.error)}`);
      return false;
    }
    this.#judge.acknowledged(Number(done.value.seq), [{ kind: 'put', key, value }]);
    await this.#judge.readKey(process, db, key, true);
    if (this.#draw.chance(0.5)) await call(process, 'close', () => db.close());
    process.kill();
    await this.world.sleep(2 * LATE_MS);
    return met === 0;
  }

  // ---- repairs

  /** Whether it is worth going on. */
  async #repairAfter(error: DbError): Promise<boolean> {
    if (error.name === 'RollbackError') {
      this.#judge.reached('rolled back: no repair');
      return false;
    }
    const isLog = error.name === 'WalCorruptionError';
    const repair: Tool = (process) => manifestRepair(this.#database.target(process), this.#toolOptions(process));
    return isLog ? this.#repair('walRepair', this.#walRepair) : this.#repair('manifestRepair', repair);
  }

  readonly #walRepair: Tool = (process) =>
    walRepair(this.#database.target(process), { ...this.#toolOptions(process), acceptLoss: true });

  /**
   * A table that is gone, and that only a manifest named which is damaged itself, is none to the tool, and says so: where the
   * manifest before was gone back to, its rows are replayed from the log. That they are there is judged by reading them.
   */
  async #repairTables(): Promise<boolean> {
    let changed = false;
    for (const path of [...this.#judge.suspects]) {
      const id = parseTablePath(path);
      if (id === undefined) continue;
      const acceptResurrection = this.#draw.chance(0.7);
      changed =
        (await this.#repair(
          'sstRepair',
          (process) =>
            sstRepair(this.#database.target(process), id, {
              ...this.#toolOptions(process),
              acceptLoss: true,
              acceptResurrection,
            }),
          (error) => error.code === 'BAD_ARGUMENT' && !this.#database.store.objects.has(path),
        )) || changed;
    }
    return changed;
  }

  #toolOptions({ clock, name }: Process) {
    const { random } = this.#database.options;
    return { apply: true, liveCheckMs: 0, logger: SILENT_LOGGER, clock, owner: name, random: random as SeededRandom };
  }

  /** Runs a tool, killed now and then, until it ends; then once more, which must change nothing. */
  async #repair(name: string, tool: Tool, mayReject = (_: DbError) => false): Promise<boolean> {
    const draw = this.#draw;
    const before = this.#judge.objects();
    const tools = new Machine(this.world, 't');
    for (let crashes = draw.chance(0.5) ? 1 + draw.int(MAX_CRASHES) : 0; ; crashes--) {
      const process = tools.start();
      if (crashes > 0) process.crashPoint = { call: 1 + draw.int(60), fate: draw.of(FATES) };
      this.world.trace(`-- ${name}`);
      const done = await call(process, 'open', () => tool(process));
      process.kill();
      if (done === 'died') {
        this.#cycles++;
        this.#judge.reached(`${name} cut off`);
        continue;
      }
      if ('error' in done) {
        const { error } = done;
        this.#judge.reached(`${name} rejects: ${error.code}`);
        if (error.kind !== 'corruption' && !mayReject(error))
          this.#judge.fail(`${name} rejects with ${describe(error)}`);
        return false;
      }
      await this.world.sleep(2 * LATE_MS);
      this.#judge.judgeRepair(name, done.value, before);
      if (done.value.applied) await this.#repairAgain(name, tool, done.value);
      return done.value.applied;
    }
  }

  async #repairAgain(name: string, tool: Tool, first: RepairReport): Promise<void> {
    const before = this.#judge.objects();
    const process = new Machine(this.world, 'again').start();
    const again = await call(process, 'open', () => tool(process));
    process.kill();
    if (again === 'died') throw new Error('nobody killed it');
    if ('error' in again) {
      this.#judge.reached(`${name} again rejects: ${again.error.code}`);
      this.#judge.expectDamage(again.error, undefined, `${name} again`);
    } else if (!again.value.alreadyDone && again.value.applied) {
      // Something else was found, e.g. what the repaired manifest now needs of the log.
      this.#judge.reached(`${name} again repairs more`);
      this.#judge.learn(again.value);
      return;
    } else if (again.value.alreadyDone && again.value.repairId !== first.repairId) {
      this.#judge.fail(`${name} again reports another repair, ${again.value.repairId}`);
    }
    this.#judge.expectUnchanged(before, `${name} done again`);
  }
}

function isRefusal(opened: Opened | DbError): opened is DbError {
  return opened instanceof Error;
}
