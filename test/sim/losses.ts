/**
 * Compactions after a repair that has lost rows of a table: the ledger has open losses, and what is merged over their keys must stay as it is.
 *
 * The oracle: where nothing is written in between, a compaction changes no answer, not that of a strict read, not that of a read that may be
 * flagged, not that of a scan. A tombstone that is newer than all that was lost says that its key is absent; without it nobody knows.
 */
import type { DbError } from '../../src/common/errors.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import type { SeededRandom } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import { decodeManifest } from '../../src/format/manifest-codec.ts';
import { MANIFEST_PREFIX, parseTablePath, parseWalPath, TABLE_PREFIX } from '../../src/format/object-names.ts';
import { sstRepair } from '../../src/tools/sst-repair.ts';
import { call, text } from './calls.ts';
import { batchOf, DamageDatabase, LATE_MS, LOADED } from './damage-database.ts';
import { KEYS, keyName } from './damage-judge.ts';
import { inflict } from './damaging.ts';
import { Machine, type Process } from './machine.ts';
import type { RowOp } from './model.ts';
import type { RunResult } from './run-result.ts';
import type { SimObject } from './sim-store.ts';
import { describe, World } from './world.ts';

const ROUNDS = 4;
/** Longer than a compactor takes. */
const MERGED_MS = 60_000;
const HALF = 0.5;

export class LossesRun {
  readonly world: World;
  readonly #database: DamageDatabase;
  readonly #machine: Machine;

  constructor(seed: number, keepTrace = false) {
    this.world = new World(seed, keepTrace);
    this.#database = new DamageDatabase(this.world, { walEnabled: true });
    this.#machine = new Machine(this.world, 'w');
  }

  async run(): Promise<RunResult> {
    await LOADED;
    await this.world.drive(this.#play());
    return this.#database.result(0);
  }

  async #play(): Promise<void> {
    const { draw, store, judge } = this.#database;
    await this.#database.build(this.#machine);
    await this.world.sleep(2 * LATE_MS);
    // From here on objects are deleted and tables replaced, by the rules that are checked in other modes.
    store.onApplied = undefined;
    await this.#collectLog();
    const table = draw.of(store.paths(TABLE_PREFIX));
    const { length } = (store.objects.get(table) as SimObject).bytes;
    const at = draw.int(length);
    inflict(store, { kind: 'burst', path: table, at, length: Math.min(length - at, 30 + draw.int(900)) }, draw);
    judge.suspects.add(table);
    if (!(await this.#repair(table))) return;
    const isCalled = draw.chance(HALF);
    const process = this.#machine.start();
    const db = await this.#database.openOn(process, {
      // Called, it merges nothing by itself.
      compactor: isCalled ? { scheduler: () => ({ proposals: [] }) } : { minCompactionSources: 2 },
      l0MaxSsts: 1000,
    });
    for (let round = 0; round < ROUNDS; round++) await this.#round(process, db, isCalled);
    process.kill();
  }

  /** Everything into tables; what the log had of them is gone but for its last object, so that a repair cannot take it from there. */
  async #collectLog(): Promise<void> {
    const { store, draw } = this.#database;
    const process = this.#machine.start();
    const db = await this.#database.openOn(process);
    await this.#write(db, this.#database.drawOps(draw));
    await db.flush({ type: 'memtable' });
    process.kill();
    await this.world.sleep(2 * LATE_MS);
    const newest = store.paths(MANIFEST_PREFIX).at(-1) as string;
    const { replayAfterWalId } = decodeManifest((store.objects.get(newest) as SimObject).bytes).manifest;
    store.applyDelete(store.paths('wal/').filter((path) => (parseWalPath(path) as number) < replayAfterWalId));
  }

  async #write(db: Db, ops: readonly RowOp[]): Promise<void> {
    const { seq } = await db.write(batchOf(ops));
    this.#database.judge.acknowledged(Number(seq), ops);
  }

  async #repair(table: string): Promise<boolean> {
    const { judge, options } = this.#database;
    const process = new Machine(this.world, 't').start();
    const { clock, name: owner } = process;
    const random = options.random as SeededRandom;
    const how = { apply: true, acceptLoss: true, acceptResurrection: true, liveCheckMs: 0, logger: SILENT_LOGGER };
    const done = await call(process, 'open', () =>
      sstRepair(this.#database.target(process), parseTablePath(table) as string, { ...how, clock, owner, random }),
    );
    process.kill();
    if (done === 'died') throw new Error('nobody killed it');
    if ('error' in done) judge.fail(`sstRepair rejects with ${describe(done.error)}`);
    else {
      judge.reached(`sstRepair: ${done.value.outcome}`);
      if (done.value.applied) judge.learn(done.value);
      return done.value.applied;
    }
    return false;
  }

  async #round(process: Process, db: Db, isCalled: boolean): Promise<void> {
    const { draw, judge } = this.#database;
    for (let tables = 1 + draw.int(3); tables > 0; tables--) {
      await this.#write(db, this.#drawOps());
      await db.flush({ type: 'memtable' });
    }
    const before = await this.#answers(db);
    if (isCalled) await db.compact();
    else await process.sleepOrDie(MERGED_MS);
    const after = await this.#answers(db);
    for (const [what, answer] of before) {
      if (after.get(what) === answer) continue;
      judge.fail(`CHANGED: ${what} gave ${answer}, and gives ${after.get(what)} after a compaction`);
    }
    const [tree] = db.upkeep().trees;
    if ((tree?.l0Tables ?? 0) === 0) judge.reached('everything merged');
    if ([...after.values()].some((answer) => answer.startsWith('corruption'))) judge.reached('a loss is shown');
    await judge.readAll(process, db);
  }

  /** More deletions than elsewhere. */
  #drawOps(): RowOp[] {
    const { draw } = this.#database;
    return this.#database
      .drawOps(draw)
      .map((op) => (draw.chance(HALF) ? { kind: 'delete' as const, key: op.key, value: '' } : op));
  }

  /** Of every key in every way. */
  async #answers(db: Db): Promise<Map<string, string>> {
    const answers = new Map<string, string>();
    const note = async (what: string, asked: Promise<string>) => {
      answers.set(what, await asked.catch((error: DbError) => `${error.kind} ${error.code}`));
    };
    for (let i = 0; i <= KEYS; i++) {
      const key = keyName(i);
      const shown = (value: Uint8Array | undefined) => (value === undefined ? 'nothing' : text(value).slice(0, 40));
      await note(`a strict get of ${key}`, db.get(key, { corruptionPolicy: 'strict' }).then(shown));
      await note(
        `a get of ${key}`,
        db.getWithMeta(key).then((got) => `${shown(got?.value)}${got?.possiblyStale ? ', flagged' : ''}`),
      );
    }
    const scan = db.scan({ onCorruption: 'skip' });
    await note(
      'a scan',
      scan.nextBatch(KEYS + 1).then((rows) => rows.map(({ key, value }) => `${text(key)}=${text(value)}`).join(' ')),
    );
    return answers;
  }
}
