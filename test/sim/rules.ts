/**
 * A repair must never make things worse: for each tool small fixed databases with fixed damage, on which the repair is cut off
 * at every call to the store, run again on another machine, and run beside a writer that wakes up at every call.
 *
 * Every run keeps all rules of `rule-watch.ts`; the clock of the machine that repairs first is an hour late. After it the
 * repair is done again, which changes nothing, and the database is opened and read.
 */
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import type { SeededRandom } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import { encodeCompactions } from '../../src/format/compactions-codec.ts';
import {
  compactionsPath,
  parseManifestPath,
  parseTablePath,
  tablePath,
  walPath,
} from '../../src/format/object-names.ts';
import { type LoadedManifest, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import type { RepairReport } from '../../src/tools/reports.ts';
import { sstRepair } from '../../src/tools/sst-repair.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import { call } from './calls.ts';
import { batchOf, DamageDatabase, LATE_MS, LOADED } from './damage-database.ts';
import { keyName } from './damage-judge.ts';
import { type Damage, inflict } from './damaging.ts';
import { type CrashPoint, type Fate, Machine, type Process } from './machine.ts';
import type { RowOp } from './model.ts';
import { type Rule, RuleWatch } from './rule-watch.ts';
import type { SimObject } from './sim-store.ts';
import { describe, World } from './world.ts';

type Step = readonly RowOp[] | 'flush' | 'close';

interface RuleScript {
  tool: 'walRepair' | 'sstRepair' | 'manifestRepair';
  /** Of writers, one after the other; the last one is idle, or killed. */
  lives: readonly (readonly Step[])[];
  /** A collector has deleted the log below the replay point. */
  isCollected?: boolean;
  damage(paths: Paths): Damage[];
  outcome: RepairReport['outcome'];
  losesRows?: boolean;
  acceptResurrection?: boolean;
}

/** Paths: tables that the newest manifest names, newest first; the others oldest first. */
interface Paths {
  tables: string[];
  log: string[];
  manifests: string[];
}

const HOUR_MS = 3_600_000;
/** Calls of others after which a request of the dead is applied. */
const LATER_CALLS = [1, 4, 25] as const;
/** Before the repair is run again: one goes on with the attempt that was cut off, after the other it begins a new one. */
const GAPS_MS = [1000, 200_000] as const;
const COMPACTOR_EPOCH = 3;
const PADDING = '#'.repeat(200);

const put = (i: number, value: string): RowOp => ({ kind: 'put', key: keyName(i), value });
const merge = (i: number, value: string): RowOp => ({ kind: 'merge', key: keyName(i), value });
const del = (i: number): RowOp => ({ kind: 'delete', key: keyName(i), value: '' });
const puts = (version: string, count = 10): RowOp[] =>
  Array.from({ length: count }, (_, i) => put(i, `${version}.${i}${PADDING}`));

const TWO_TABLES: readonly (readonly Step[])[] = [
  [puts('old'), 'flush', 'close'],
  // The collector keeps the object at the replay point: nothing that will be lost may be in it.
  [
    [...puts('new').filter((_, i) => i !== 4), del(4)],
    [put(14, 'last')],
    'flush',
    [put(12, 'in the log'), merge(3, '+')],
  ],
];
const FIRST_BLOCKS = { at: 0, length: 1500 };

export const RULE_SCRIPTS: Readonly<Record<string, RuleScript>> = {
  'a log with a hole and a batch that is cut in two': {
    tool: 'walRepair',
    lives: [
      [puts('a', 6), 'flush', 'close'],
      [
        [put(0, 'b')],
        [del(1), merge(2, 'b')],
        [put(3, 'b'), put(4, 'b'), put(5, `b${PADDING}`)],
        [put(1, 'c')],
        [del(3)],
      ],
    ],
    damage: ({ log }) => [
      { kind: 'delete', path: log[log.length - 4] },
      { kind: 'burst', path: log[log.length - 3], at: 30, length: 120 },
    ],
    outcome: 'salvaged',
    losesRows: true,
  },
  'a table of which rows are lost': {
    tool: 'sstRepair',
    lives: TWO_TABLES,
    isCollected: true,
    damage: ({ tables }) => [{ kind: 'burst', path: tables[0], ...FIRST_BLOCKS }],
    outcome: 'salvaged',
    losesRows: true,
    acceptResurrection: true,
  },
  'a table of which rows are lost, without consent to older ones': {
    tool: 'sstRepair',
    lives: TWO_TABLES,
    isCollected: true,
    damage: ({ tables }) => [{ kind: 'burst', path: tables[0], ...FIRST_BLOCKS }],
    outcome: 'consent-needed',
  },
  'a table that the log still holds': {
    tool: 'sstRepair',
    lives: TWO_TABLES,
    damage: ({ tables }) => [{ kind: 'delete', path: tables[0] }],
    outcome: 'reconstructed',
  },
  'the newest manifest, and the one before it': {
    tool: 'manifestRepair',
    lives: TWO_TABLES,
    damage: ({ manifests }) => [
      { kind: 'burst', path: manifests[manifests.length - 1], at: 10, length: 200 },
      { kind: 'delete', path: manifests[manifests.length - 2] },
    ],
    outcome: 'reconstructed',
  },
};

/** Where a run is disturbed: the repair is cut off, or the writer wakes up. */
export type Disturbance = { crash: CrashPoint; gapMs: number } | { wakesAt: number } | undefined;

interface RuleOutcome {
  failure: string | undefined;
  checks: ReadonlyMap<Rule, number>;
  lines: string[] | undefined;
  /** Of the repair that was run first. */
  calls: number;
  writes: readonly number[];
}

class RuleRun {
  readonly #world: World;
  readonly #database: DamageDatabase;
  readonly #script: RuleScript;
  readonly #disturbance: Disturbance;
  readonly #machine: Machine;
  readonly #late: Machine;
  #watch!: RuleWatch;
  #writer!: Process;
  #db!: Db;
  #woken: Promise<void> | undefined;
  #first!: Process;
  #table = '';

  constructor(script: RuleScript, disturbance: Disturbance, keepTrace: boolean) {
    this.#world = new World(1, keepTrace);
    this.#database = new DamageDatabase(this.#world, {
      compressionCodec: 'none',
      minFilterKeys: 0,
      walEnabled: true,
      compatibility: 'auto',
    });
    this.#script = script;
    this.#disturbance = disturbance;
    this.#machine = new Machine(this.#world, 'w');
    this.#late = new Machine(this.#world, 'tool-late');
    this.#late.jumpWall(-HOUR_MS);
  }

  async run(): Promise<RuleOutcome> {
    await LOADED;
    await this.#world.drive(this.#play());
    const { failure, lines } = this.#world;
    const { calls = 0, writes = [] } = this.#first ?? {};
    return { failure: failure?.message, checks: this.#watch?.checks ?? new Map(), lines, calls, writes };
  }

  async #play(): Promise<void> {
    await this.#build();
    this.#damage();
    const { judge } = this.#database;
    const { outcome } = this.#script;
    const before = judge.objects();
    this.#first = this.#late.start();
    let report = await this.#repair(this.#first);
    if (report === undefined) report = await this.#repair(new Machine(this.#world, 'tool-next').start());
    if (report === undefined) return;
    await this.#woken;
    if (outcome === 'consent-needed' && this.#woken === undefined)
      judge.expectUnchanged(before, 'RULE noResurrection: a repair without consent');
    if (report.applied) judge.judgeEvidence(this.#script.tool, report, judge.objects());
    const isExpected = this.#woken !== undefined || (report.outcome === outcome && report.applied === this.#isDone);
    if (!isExpected) judge.fail(`the repair ends as ${report.outcome}, applied: ${report.applied}`);
    if (report.applied) {
      judge.learn(report);
      const unnamed = report.newObjects.find((path) => !this.#namedTables().includes(path));
      if (unnamed !== undefined && this.#woken === undefined)
        judge.fail(`RULE names: nothing names ${unnamed}, which the report does`);
    }
    await this.#doAgain();
    if (this.#watch.isRepaired) this.#watch.finish();
    if (this.#woken !== undefined) await this.#writeAsWriter();
    this.#writer.kill();
    await this.#world.sleep(2 * LATE_MS);
    await this.#readAll();
  }

  get #isDone(): boolean {
    return this.#script.outcome !== 'consent-needed';
  }

  // ---- the scene

  async #build(): Promise<void> {
    const { judge } = this.#database;
    for (const life of this.#script.lives) {
      if (this.#writer !== undefined) this.#writer.kill();
      this.#writer = this.#machine.start();
      this.#db = await this.#database.openOn(this.#writer);
      for (const step of life) {
        if (step === 'flush') await this.#db.flush({ type: 'memtable' });
        else if (step === 'close') await this.#db.close();
        else judge.acknowledged(Number((await this.#db.write(batchOf(step))).seq), step);
      }
    }
    if (this.#disturbance === undefined || 'crash' in this.#disturbance) this.#writer.kill();
    await this.#world.sleep(2 * LATE_MS);
  }

  #damage(): void {
    const { store, judge, draw } = this.#database;
    const compactions = encodeCompactions({
      headerVersion: 1,
      compactorEpoch: COMPACTOR_EPOCH,
      jobs: [],
      hasUnknownFields: false,
    });
    store.applyPut(compactionsPath(1), compactions, { condition: 'any', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' });
    const newest = this.#newestManifest();
    if (this.#script.isCollected) {
      const replayed = walPath(newest.manifest.replayAfterWalId);
      store.applyDelete(store.paths('wal/').filter((path) => path < replayed));
    }
    const pristine = judge.objects();
    const tables = this.#namedTables();
    const damages = this.#script.damage({ tables, log: store.paths('wal/'), manifests: store.paths('manifest/') });
    for (const damage of damages) {
      judge.damages.push(damage);
      judge.suspects.add(damage.path);
      inflict(store, damage, draw);
      this.#table = parseTablePath(damage.path) ?? '';
    }
    this.#watch = new RuleWatch(
      store,
      {
        pristine,
        damaged: new Map(damages.map(({ path }) => [path, store.objects.get(path)?.bytes])),
        newest,
        compactorEpoch: COMPACTOR_EPOCH,
        claimIsRepair: this.#script.tool === 'manifestRepair',
        losesRows: this.#script.losesRows ?? false,
      },
      (process) => process.name.startsWith('tool'),
    );
    this.#wakeWriterInTime();
  }

  #newestManifest(): LoadedManifest {
    const { store } = this.#database;
    const path = store.paths('manifest/').at(-1) as string;
    return loadManifest(parseManifestPath(path) as number, (store.objects.get(path) as SimObject).bytes);
  }

  #namedTables(): string[] {
    return this.#newestManifest().manifest.l0.map((view) => tablePath(view.table.id));
  }

  // ---- the writer that wakes up

  #wakeWriterInTime(): void {
    const { store } = this.#database;
    const { onSent } = store;
    store.onSent = (process, op, path) => {
      onSent?.(process, op, path);
      const disturbance = this.#disturbance;
      if (disturbance === undefined || !('wakesAt' in disturbance) || this.#woken !== undefined) return;
      if (process === this.#first && process.calls === disturbance.wakesAt) this.#woken = this.#wake();
    };
  }

  /** Puts its memory into a table, and writes. */
  async #wake(): Promise<void> {
    const { judge } = this.#database;
    const done = await call(this.#writer, 'flush', () => this.#db.flush({ type: 'memtable' }));
    if (done !== 'died' && 'error' in done && done.error.kind !== 'fenced')
      judge.fail(`the flush of a writer that wakes up: ${describe(done.error)}`);
    await this.#writeAsWriter();
  }

  async #writeAsWriter(): Promise<void> {
    const { judge } = this.#database;
    const ops = [put(13, 'by the writer that woke up'), del(0)];
    const wasRepaired = this.#watch.isRepaired;
    const done = await call(this.#writer, 'write', () => this.#db.write(batchOf(ops)));
    if (done === 'died') return;
    if ('value' in done) {
      if (wasRepaired) judge.fail('RULE owner: a writer acknowledged a write after the repair');
      judge.acknowledged(Number(done.value.seq), ops);
    } else if (done.error.kind !== 'fenced') judge.fail(`a writer that wakes up: ${describe(done.error)}`);
    else if (done.error.outcome !== 'not-applied') judge.mayHaveWritten(ops);
  }

  // ---- the repair

  /** Undefined if it was cut off, or the run has failed. */
  async #repair(process: Process): Promise<RepairReport | undefined> {
    const { judge } = this.#database;
    const disturbance = this.#disturbance;
    const isCut = process === this.#first && disturbance !== undefined && 'crash' in disturbance;
    if (isCut) process.crashPoint = disturbance.crash;
    this.#world.trace(`-- ${this.#script.tool} by ${process.name}`);
    const done = await call(process, 'open', () => this.#tool(process));
    process.kill();
    if (done === 'died') {
      if (isCut) await this.#world.sleep(disturbance.gapMs);
      return undefined;
    }
    if ('value' in done) return done.value;
    judge.fail(`${this.#script.tool} rejects with ${describe(done.error)}`);
    return undefined;
  }

  #tool(process: Process): Promise<RepairReport> {
    const { clock, name: owner } = process;
    const { acceptResurrection = false, tool } = this.#script;
    const random = this.#database.options.random as SeededRandom;
    const how = { apply: true, ifLiveWriter: 'fence' as const, logger: SILENT_LOGGER, clock, owner, random };
    const target = this.#database.target(process);
    if (tool === 'walRepair') return walRepair(target, { ...how, acceptLoss: true });
    if (tool === 'manifestRepair') return manifestRepair(target, how);
    return sstRepair(target, this.#table, { ...how, acceptLoss: true, acceptResurrection });
  }

  async #doAgain(): Promise<void> {
    const { judge } = this.#database;
    const before = judge.objects();
    const again = await this.#repair(new Machine(this.#world, 'tool-again').start());
    if (again?.applied && !again.alreadyDone) judge.fail('the repair done again repairs once more');
    judge.expectUnchanged(before, 'the repair done again');
  }

  // ---- what is left

  async #readAll(): Promise<void> {
    const { judge } = this.#database;
    const process = new Machine(this.#world, 'reader').start();
    const opened = await call(process, 'open', () => this.#database.openOn(process));
    if (opened === 'died') return;
    if ('error' in opened) return judge.fail(`RULE noResurrection: it does not open: ${describe(opened.error)}`);
    await judge.readAll(process, opened.value);
    this.#watch.count('noResurrection');
    process.kill();
  }
}

export interface RuleResult {
  runs: number;
  checks: Map<Rule, number>;
  failures: { disturbance: Disturbance; failure: string }[];
}

/** Every crash, and every moment at which the writer can wake up. */
export async function runRuleScript(name: string): Promise<RuleResult> {
  const result: RuleResult = { runs: 0, checks: new Map(), failures: [] };
  const play = async (disturbance: Disturbance): Promise<RuleOutcome> => {
    const outcome = await replayRuleScript(name, disturbance);
    result.runs++;
    for (const [rule, count] of outcome.checks) result.checks.set(rule, (result.checks.get(rule) ?? 0) + count);
    if (outcome.failure !== undefined) result.failures.push({ disturbance, failure: outcome.failure });
    return outcome;
  };
  const { calls, writes } = await play(undefined);
  const isWrite = new Set(writes);
  for (let n = 1; n <= calls; n++) {
    const gapMs = GAPS_MS[n % GAPS_MS.length];
    const fates: Fate[] = isWrite.has(n) ? ['not-applied', 'applied'] : ['not-applied'];
    for (const fate of fates) await play({ crash: { call: n, fate }, gapMs });
    for (const laterCalls of isWrite.has(n) ? LATER_CALLS : [])
      await play({ crash: { call: n, fate: 'applied-later', laterCalls }, gapMs });
    await play({ wakesAt: n });
  }
  return result;
}

export function replayRuleScript(name: string, disturbance: Disturbance, keepTrace = false): Promise<RuleOutcome> {
  return new RuleRun(RULE_SCRIPTS[name], disturbance, keepTrace).run();
}
