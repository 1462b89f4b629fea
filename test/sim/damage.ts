/**
 * A database whose objects are damaged at rest, and what it must give all the same; then repairs, which may be cut off anywhere.
 *
 * Per key there are only: the right value, a corruption error that names a damaged object which may hold the key, and under
 * `available` an older value that is flagged. An opening refuses with a corruption error and changes nothing. After repairs
 * the content is the model without what their reports say is lost; evidence is unchanged, and no object was overwritten.
 */
import { createHash } from 'node:crypto';
import { compareBytes } from '../../src/common/bytes.ts';
import { type DbError, isCorruption } from '../../src/common/errors.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { SeededRandom } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import type { OpenOptions } from '../../src/db/options.ts';
import type { DbReader } from '../../src/db/reader.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { loadCodec } from '../../src/format/codecs.ts';
import { manifestPath, parseTablePath, parseWalPath, walPath } from '../../src/format/object-names.ts';
import { CODECS } from '../../src/format/table-info.ts';
import { open, openReader } from '../../src/open.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import type { RepairReport } from '../../src/tools/reports.ts';
import { sstRepair } from '../../src/tools/sst-repair.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import { Auditor } from './auditor.ts';
import { CONCAT, call, text } from './calls.ts';
import { type Damage, drawDamage, inflict, touched } from './damaging.ts';
import { Faults } from './faults.ts';
import { type Fate, Machine, type Process } from './machine.ts';
import { Model, type RowOp } from './model.ts';
import { Draw } from './script.ts';
import { type SimObject, SimStore } from './sim-store.ts';
import type { RunResult } from './single.ts';
import { describe, World } from './world.ts';

const KEYS = 20;
const LATE_MS = 100;
/** Repairs one after the other: each can bring to light what the one before had hidden. */
const MAX_REPAIRS = 8;
const MAX_CRASHES = 3;
const FATES: readonly Fate[] = ['not-applied', 'applied', 'applied-later'];
/** Made anew from a manifest's seal where it is damaged. */
const MADE_ANEW = 'shale/identity';
const WRITTEN_ONCE = /^(manifest|wal|compacted|shale\/(quarantine|damage|repairs))\//;

interface Opened {
  db: Db;
  process: Process;
}

/** Loading a codec or a tool takes real time, for which the world does not wait. */
const LOADED = Promise.all([
  ...CODECS.map((codec) => loadCodec(codec).catch(() => undefined)),
  import('../../src/tools/sst-check.ts'),
  import('../../src/tools/wal-repair.ts'),
]);

type Tool = (process: Process) => Promise<RepairReport>;

export class DamageRun {
  readonly world: World;
  readonly #faults: Faults;
  readonly #store: SimStore;
  readonly #auditor: Auditor;
  readonly #model = new Model();
  readonly #draw: Draw;
  readonly #machine: Machine;
  readonly #options: OpenOptions;
  readonly #damages: Damage[] = [];
  /** Paths whose damage an error may name. */
  readonly #suspects = new Set<string>();
  /** Commits that a repair was not sure about. */
  #mayBeGone: (seq: number) => boolean = () => false;
  #cycles = 0;
  #writes = 0;
  readonly #seed: number;

  constructor(seed: number, keepTrace = false) {
    this.#seed = seed;
    this.world = new World(seed, keepTrace);
    this.#draw = new Draw(seed ^ 0xda3a6e);
    const draw = this.#draw;
    this.#faults = new Faults(new SeededRandom(seed ^ 0x5eed));
    this.#store = new SimStore(this.world, this.#faults, {
      latencyMs: [5, 5],
      lateMs: LATE_MS,
      keepsMetadata: true,
      isKnown: true,
    });
    this.#machine = new Machine(this.world, 'w');
    this.#options = {
      memoryBytes: 8 * 1024 * 1024,
      l0SstSizeBytes: 65_536,
      sstBlockSizeBytes: 1024,
      compressionCodec: draw.of(['none', 'none', 'none', 'lz4']),
      minFilterKeys: draw.of([0, 1000]),
      walEnabled: draw.chance(0.9),
      compatibility: draw.of(['auto', 'auto', 'slatedb-0.12', 'slatedb-0.17']),
      random: new SeededRandom(seed ^ 0x0ddba11),
      logger: SILENT_LOGGER,
      mergeOperator: CONCAT,
    };
    this.#auditor = new Auditor(this.#store, this.#options.walEnabled !== false);
  }

  async run(): Promise<RunResult> {
    await LOADED;
    await this.world.drive(this.#play());
    const { world } = this;
    return {
      failure: world.failure?.message,
      traceHash: world.traceHash,
      lines: world.lines,
      cycles: this.#cycles,
      steps: world.steps,
      commits: this.#model.commits.length,
      fired: this.#faults.fired,
      crashes: this.#store.crashes,
      states: this.#auditor.states,
    };
  }

  async #play(): Promise<void> {
    await this.#build();
    // What dead processes had sent has arrived by then.
    await this.world.sleep(2 * LATE_MS);
    this.#damage();
    if (this.#isOutOfReach()) return this.#reached('out of reach');
    if (this.#draw.chance(0.3)) await this.#readAsReader();
    for (let repairs = 0; ; repairs++) {
      const before = this.#objects();
      const opened = await this.#open();
      if (!isRefusal(opened)) {
        const isRight = await this.#useOpened(opened, repairs > 0);
        if (isRight || repairs === MAX_REPAIRS) return;
        if (!(await this.#repairTables())) return;
        continue;
      }
      this.#expectUnchanged(before, 'a refused opening');
      if (repairs === MAX_REPAIRS) return this.#fail(`still refused after ${repairs} repairs: ${describe(opened)}`);
      if (!(await this.#repairAfter(opened))) return;
    }
  }

  #fail(message: string): void {
    this.world.fail(`${message}; damaged were ${JSON.stringify(this.#damages)}`);
  }

  #reached(state: string): void {
    this.#auditor.states.add(state);
  }

  // ---- the database before anything happens to it

  async #build(): Promise<void> {
    const draw = this.#draw;
    for (let lives = 1 + draw.int(3); lives > 0; lives--) {
      const process = this.#machine.start();
      const db = await this.#openOn(process);
      for (let steps = 1 + draw.int(8); steps > 0; steps--) {
        await this.#write(db);
        if (draw.chance(0.3)) await db.flush({ type: 'memtable' });
      }
      if (draw.chance(0.4)) await db.close();
      process.kill();
      await this.world.sleep(2 * LATE_MS);
    }
  }

  #openOn(process: Process, options: OpenOptions = {}): Promise<Db> {
    const { clock, name: owner } = process;
    const location = { store: this.#store.connect(process), path: '' };
    return open(location, { ...this.#options, ...options, clock, owner });
  }

  /** A durable batch. */
  async #write(db: Db): Promise<void> {
    const draw = this.#draw;
    const ops: RowOp[] = Array.from({ length: 1 + draw.int(8) }, () => {
      const kind = draw.of(['put', 'put', 'put', 'put', 'delete', 'merge'] as const);
      const value = `${this.#seed % 1000}.${++this.#writes}${'#'.repeat(draw.int(300))}`;
      return { kind, key: keyName(draw.int(KEYS)), value: kind === 'delete' ? '' : value };
    });
    const batch = new WriteBatch();
    for (const { kind, key, value } of ops) {
      if (kind === 'put') batch.put(key, value);
      else if (kind === 'merge') batch.merge(key, value);
      else batch.delete(key);
    }
    const { seq } = await db.write(batch);
    const commit = this.#model.submit(ops, 0);
    if (Number(seq) !== commit.seq) this.#fail(`commit ${commit.seq} got seq ${seq}`);
  }

  // ---- damage

  #damage(): void {
    const { newest } = this.#auditor;
    const named = new Set(newest?.manifest.l0.map((v) => v.table.id));
    const isNeeded = (path: string) => {
      const table = parseTablePath(path);
      return table === undefined || named.has(table);
    };
    this.#store.onApplied = (path, _object, replaced) => {
      if (replaced !== undefined && WRITTEN_ONCE.test(path)) this.#fail(`${path} was overwritten`);
    };
    this.#store.onDeleted = (path) => this.#fail(`${path} was deleted`);
    for (let wanted = 1 + this.#draw.int(3), tries = 0; wanted > 0 && tries < 20; tries++) {
      const damage = drawDamage(this.#draw, this.#store, isNeeded);
      if (damage === undefined || touched(damage).some((path) => this.#suspects.has(path))) continue;
      this.#damages.push(damage);
      this.world.trace(`-- damage ${JSON.stringify(damage)}`);
      for (const path of touched(damage)) this.#suspects.add(path);
      inflict(this.#store, damage, this.#draw);
      this.#faults.count(`${damage.kind} of ${damage.path.slice(0, damage.path.indexOf('/'))}`);
      wanted--;
    }
  }

  /**
   * What no object left can tell of (rfcs/0004): the end of the log is gone, or without a log the newest manifest, or a table
   * that perhaps only it named while it is damaged.
   */
  #isOutOfReach(): boolean {
    const newest = manifestPath(this.#auditor.newest?.id ?? 0);
    const lastWal = walPath(Math.max(0, ...this.#auditor.wal.keys()));
    const gone = this.#damages.filter(({ kind }) => kind === 'delete').map(({ path }) => path);
    if (gone.includes(lastWal) || this.#options.walEnabled !== false) return gone.includes(lastWal);
    return gone.includes(newest) || (this.#suspects.has(newest) && gone.some((path) => path.startsWith('compacted/')));
  }

  #objects(): Map<string, SimObject> {
    return new Map(this.#store.objects);
  }

  #expectUnchanged(before: ReadonlyMap<string, SimObject>, who: string): void {
    for (const [path, { bytes }] of before) {
      const now = this.#store.objects.get(path);
      if (now === undefined || compareBytes(now.bytes, bytes) !== 0) this.#fail(`${who} changed ${path}`);
    }
    const added = [...this.#store.objects.keys()].filter((path) => !before.has(path));
    if (added.length > 0) this.#fail(`${who} wrote ${added.join(', ')}`);
  }

  // ---- opening and reading

  async #open(): Promise<Opened | DbError> {
    const process = this.#machine.start();
    const isAuto = this.#draw.chance(0.2);
    const opened = await call(process, 'open', () => this.#openOn(process, isAuto ? { walAutoRecovery: true } : {}));
    if (opened === 'died') throw new Error('nobody killed it');
    if (isAuto) this.world.trace('-- opening with automatic recovery');
    if ('value' in opened && isAuto) return this.#awaitRecovery(process, opened.value);
    return 'value' in opened ? { db: opened.value, process } : this.#refused(opened.error, process);
  }

  async #awaitRecovery(process: Process, db: Db): Promise<Opened | DbError> {
    const ready = await call(process, 'open', () => db.ready());
    if (ready === 'died') throw new Error('nobody killed it');
    if ('error' in ready) return this.#refused(ready.error, process);
    if (ready.value !== undefined) {
      this.#reached('recovered by itself');
      this.#learn(ready.value);
    }
    return { db, process };
  }

  #refused(error: DbError, process: Process): DbError {
    process.kill();
    this.#reached(`opening refused: ${error.code}`);
    this.#expectDamage(error, undefined, 'the opening');
    return error;
  }

  async #readAsReader(): Promise<void> {
    const process = new Machine(this.world, 'r').start();
    const before = this.#objects();
    const { clock } = process;
    const location = { store: this.#store.connect(process), path: '' };
    const { random } = this.#options;
    const options = {
      memoryBytes: 8 << 20,
      mergeOperator: CONCAT,
      logger: SILENT_LOGGER,
      clock,
      random: random as never,
    };
    const opened = await call(process, 'open', () => openReader(location, options));
    if (opened === 'died') throw new Error('nobody killed it');
    if ('error' in opened) this.#expectDamage(opened.error, undefined, 'a reader');
    else await this.#readAll(process, opened.value);
    this.#reached('error' in opened ? 'reader refused' : 'reader read');
    process.kill();
    this.#expectUnchanged(before, 'a reader');
  }

  /** Reads everything, writes, closes, opens and reads again; whether no read met damage. */
  async #useOpened({ db, process }: Opened, isRepaired: boolean): Promise<boolean> {
    const met = await this.#readAll(process, db);
    this.#reached(met === 0 ? 'all right' : isRepaired ? 'read with what repairs left' : 'read over damage');
    // Writes are always accepted, and make what they overwrite readable at once.
    const key = keyName(this.#draw.int(KEYS));
    const value = `${this.#seed % 1000}.${++this.#writes}`;
    const lastSeq = this.#model.lastSeq;
    const done = await call(process, 'write', () => db.put(key, value));
    if (done === 'died' || 'error' in done) {
      this.#fail(`a write over damage failed: ${done === 'died' ? done : describe(done.error)}`);
      return false;
    }
    const seq = Number(done.value.seq);
    if (seq <= lastSeq) this.#fail(`sequence number ${seq} was used twice`);
    while (this.#model.lastSeq < seq - 1) this.#model.submit([], 0);
    this.#model.submit([{ kind: 'put', key, value }], 0);
    await this.#readKey(process, db, key, true);
    if (this.#draw.chance(0.5)) await call(process, 'close', () => db.close());
    process.kill();
    await this.world.sleep(2 * LATE_MS);
    return met === 0;
  }

  /** Every key in every way; how many reads met damage. */
  async #readAll(process: Process, source: Db | DbReader): Promise<number> {
    let met = 0;
    for (let i = 0; i <= KEYS; i++) met += (await this.#readKey(process, source, keyName(i), false)) ? 1 : 0;
    return met + (await this.#scan(process, source));
  }

  /** Whether damage was met. */
  async #readKey(process: Process, source: Db | DbReader, key: string, mustBeRight: boolean): Promise<boolean> {
    const right = this.#model.readUnsure(key, this.#mayBeGone);
    const got = await call(process, 'read', () => source.getWithMeta(key));
    const strict = await call(process, 'read', () => source.get(key, { corruptionPolicy: 'strict' }));
    if (got === 'died' || strict === 'died') throw new Error('nobody killed it');
    if ('error' in strict) this.#expectDamage(strict.error, key, `strict get of ${key}`);
    else this.#expectOneOf(right, strict.value && text(strict.value), `strict get of ${key}`);
    if ('error' in got) {
      this.#expectDamage(got.error, key, `get of ${key}`);
      this.#reached('get rejected');
    } else if (got.value?.possiblyStale) {
      this.#reached('get flagged');
      if (!('error' in strict)) this.#fail(`get of ${key} is flagged, but strict gives a value`);
      this.#expectOneOf(new Set([...right, ...this.#history(key)]), text(got.value.value), `flagged get of ${key}`);
    } else this.#expectOneOf(right, got.value && text(got.value.value), `get of ${key}`);
    const isMet = 'error' in got || 'error' in strict;
    if (isMet && mustBeRight) {
      const why = 'error' in strict ? strict.error : 'error' in got ? got.error : undefined;
      this.#fail(`${key} was just written and is not readable: ${describe(why)}`);
    }
    return isMet;
  }

  #history(key: string): Set<string | undefined> {
    return this.#model.history(key);
  }

  /** A scan that leaves out what it cannot read. */
  async #scan(process: Process, source: Db | DbReader): Promise<number> {
    const reverse = this.#draw.chance(0.3);
    const scan = source.scan({ onCorruption: 'skip', reverse });
    const found = new Map<string, string>();
    for (;;) {
      const batch = await call(process, 'read', () => scan.nextBatch(7));
      if (batch === 'died') throw new Error('nobody killed it');
      if ('error' in batch) {
        this.#fail(`a scan that skips rejects: ${describe(batch.error)}`);
        return 1;
      }
      for (const { key, value } of batch.value) {
        if (found.has(text(key))) this.#fail(`a scan gives ${text(key)} twice`);
        found.set(text(key), text(value));
      }
      if (batch.value.length < 7) break;
    }
    for (let i = 0; i < KEYS; i++) {
      const key = keyName(i);
      const right = this.#model.readUnsure(key, this.#mayBeGone);
      const value = found.get(key);
      if (value === undefined && scan.findings.some((f) => mayHold(f.affects.keys, key))) continue;
      this.#expectOneOf(right, value, `scan, ${key}`);
    }
    for (const f of scan.findings) this.#expectKnown(f.object.path, 'a scan');
    return scan.findings.filter((f) => f.severity === 'error').length;
  }

  #expectOneOf(right: ReadonlySet<string | undefined>, found: string | undefined, what: string): void {
    if (right.has(found)) return;
    const expected = [...right].map((v) => v?.slice(0, 20) ?? 'nothing').join(' or ');
    this.#fail(`WRONG: ${what} gives ${found?.slice(0, 20) ?? 'nothing'} for ${expected}`);
  }

  #expectKnown(path: string, what: string): void {
    if (!this.#suspects.has(path) && path !== 'manifest/') this.#fail(`FALSE ALARM: ${what} calls ${path} damaged`);
  }

  /** A corruption error about damaged objects only, which may hold the key. */
  #expectDamage(error: DbError, key: string | undefined, what: string): void {
    if (!isCorruption(error)) {
      this.#fail(`${what} rejects with ${describe(error)}`);
      return;
    }
    for (const { object, affects } of error.findings) {
      const isNeighbour = key === undefined && this.#isBeside(object.path);
      if (!isNeighbour) this.#expectKnown(object.path, what);
      if (key !== undefined && !mayHold(affects.keys, key)) this.#fail(`${what}: ${object.path} cannot hold ${key}`);
    }
  }

  /** Objects of the log are told apart by their neighbours, and manifests by what they name. */
  #isBeside(path: string): boolean {
    const id = parseWalPath(path);
    if (path.startsWith('manifest/') || path.startsWith('shale/')) return true;
    return id !== undefined && [id - 1, id + 1].some((n) => this.#suspects.has(walPath(n)));
  }

  // ---- repairs

  /** Whether it is worth going on. */
  async #repairAfter(error: DbError): Promise<boolean> {
    if (error.name === 'RollbackError') {
      this.#reached('rolled back: no repair');
      return false;
    }
    const isLog = error.name === 'WalCorruptionError';
    const tool: Tool = (process) =>
      isLog
        ? walRepair(this.#target(process), this.#toolOptions(process))
        : manifestRepair(this.#target(process), this.#toolOptions(process));
    return this.#repair(isLog ? 'walRepair' : 'manifestRepair', tool);
  }

  async #repairTables(): Promise<boolean> {
    let changed = false;
    for (const path of [...this.#suspects]) {
      const id = parseTablePath(path);
      if (id === undefined) continue;
      const acceptResurrection = this.#draw.chance(0.7);
      changed =
        (await this.#repair('sstRepair', (process) =>
          sstRepair(this.#target(process), id, { ...this.#toolOptions(process), acceptResurrection }),
        )) || changed;
    }
    return changed;
  }

  #target(process: Process) {
    return { store: this.#store.connect(process), path: '' };
  }

  #toolOptions({ clock, name }: Process) {
    const { random } = this.#options;
    return { apply: true, liveCheckMs: 0, logger: SILENT_LOGGER, clock, owner: name, random: random as SeededRandom };
  }

  /** Runs a tool, killed now and then, until it ends; then once more, which must change nothing. */
  async #repair(name: string, tool: Tool): Promise<boolean> {
    const draw = this.#draw;
    const before = this.#objects();
    const tools = new Machine(this.world, 't');
    for (let crashes = draw.chance(0.5) ? 1 + draw.int(MAX_CRASHES) : 0; ; crashes--) {
      const process = tools.start();
      if (crashes > 0) process.crashPoint = { call: 1 + draw.int(60), fate: draw.of(FATES) };
      this.world.trace(`-- ${name}`);
      const done = await call(process, 'open', () => tool(process));
      process.kill();
      if (done === 'died') {
        this.#cycles++;
        this.#reached(`${name} cut off`);
        continue;
      }
      if ('error' in done) {
        const { error } = done;
        this.#reached(`${name} rejects: ${error.code}`);
        if (error.kind !== 'corruption') this.#fail(`${name} rejects with ${describe(error)}`);
        return false;
      }
      await this.world.sleep(2 * LATE_MS);
      this.#judgeRepair(name, done.value, before);
      if (done.value.applied) await this.#repairAgain(name, tool, done.value);
      return done.value.applied;
    }
  }

  #judgeRepair(name: string, report: RepairReport, before: ReadonlyMap<string, SimObject>): void {
    this.#reached(`${name}: ${report.outcome}${report.applied ? '' : ', not applied'}`);
    for (const [path, { bytes }] of before) {
      const now = this.#store.objects.get(path);
      if (now === undefined || (compareBytes(now.bytes, bytes) !== 0 && path !== MADE_ANEW))
        this.#fail(`${name} changed ${path}`);
    }
    for (const { from, to, sha256 } of report.evidence) {
      const copy = this.#store.objects.get(to)?.bytes;
      const original = before.get(from)?.bytes;
      if (!report.applied) continue;
      if (copy === undefined || original === undefined || compareBytes(copy, original) !== 0)
        this.#fail(`${name}: ${to} is no copy of ${from}`);
      else if (createHash('sha256').update(copy).digest('hex') !== sha256) this.#fail(`${name}: wrong digest of ${to}`);
    }
    if (report.applied) this.#learn(report);
  }

  async #repairAgain(name: string, tool: Tool, first: RepairReport): Promise<void> {
    const before = this.#objects();
    const process = new Machine(this.world, 'again').start();
    const again = await call(process, 'open', () => tool(process));
    process.kill();
    if (again === 'died') throw new Error('nobody killed it');
    if ('error' in again) {
      this.#reached(`${name} again rejects: ${again.error.code}`);
      this.#expectDamage(again.error, undefined, `${name} again`);
    } else if (!again.value.alreadyDone && again.value.applied) {
      // Something else was found, e.g. what the repaired manifest now needs of the log.
      this.#reached(`${name} again repairs more`);
      this.#learn(again.value);
      return;
    } else if (again.value.alreadyDone && again.value.repairId !== first.repairId) {
      this.#fail(`${name} again tells of another repair, ${again.value.repairId}`);
    }
    this.#expectUnchanged(before, `${name} done again`);
  }

  /** What a repair says is lost counts no more, and what it made may be named by the ledger. */
  #learn({ lostSeqs, rows, newObjects, lostKeys, ledgerIds, tool, outcome }: RepairReport): void {
    const lost = lostSeqs.map(({ min, max }) => `${min}..${max}`).join(', ');
    this.world.trace(`-- ${tool} ${outcome}: ${rows.lost} rows lost${rows.lostExact ? '' : ' or fewer'}, seqs ${lost}`);
    for (const path of newObjects) this.#suspects.add(path);
    if (ledgerIds.length > 0) this.#reached('losses in the ledger');
    if (tool === 'sstRepair') {
      if (lostKeys.length > 0) this.#reached('keys in the ledger');
      return;
    }
    const isLost = (seq: number) => lostSeqs.some(({ min, max }) => seq >= Number(min) && seq <= Number(max));
    if (rows.lostExact) this.#model.lose(isLost);
    else {
      const before = this.#mayBeGone;
      this.#mayBeGone = (seq) => before(seq) || isLost(seq);
    }
  }
}

function keyName(i: number): string {
  return `k${String(i).padStart(2, '0')}`;
}

function isRefusal(opened: Opened | DbError): opened is DbError {
  return opened instanceof Error;
}

function mayHold(keys: { gte: Uint8Array; lte: Uint8Array } | undefined, key: string): boolean {
  if (keys === undefined) return true;
  const bytes = Buffer.from(key);
  return compareBytes(keys.gte, bytes) <= 0 && compareBytes(bytes, keys.lte) <= 0;
}
