/**
 * One writer that is crashed, suspended and lied to, and what it must give all the same.
 *
 * After a crash the content is a prefix of the commit order that holds all that was acknowledged and nothing that was called
 * not applied, batches whole; reads are right per key and per snapshot; no call outlives its deadline; only errors of this
 * package appear, and only where a fault can have caused them; a lone writer is never fenced.
 */
import { type DbError, isCorruption } from '../../src/common/errors.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { SeededRandom } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import type { Reader } from '../../src/db/reader.ts';
import type { ReaderOptions } from '../../src/db/reader-options.ts';
import type { ScanIterator } from '../../src/db/scan-iterator.ts';
import type { Snapshot } from '../../src/db/snapshot.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { parseWalPath, walPath } from '../../src/format/object-names.ts';
import type { ScanRow } from '../../src/lsm/read/scan-row.ts';
import { open, openReader } from '../../src/open.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { Auditor } from './auditor.ts';
import { allRows, CONCAT, call, type Outcome, text } from './calls.ts';
import { Conditions, isConditional } from './conditions.ts';
import { Faults } from './faults.ts';
import { type CrashPoint, Machine, type Process } from './machine.ts';
import { type Commit, Model, type RowOp } from './model.ts';
import type { Refusals } from './refusals.ts';
import { difference, type Range, short } from './row-difference.ts';
import { type RunResult, resultOf } from './run-result.ts';
import { Draw, type Script, type Step } from './script.ts';
import { type SimObject, SimStore } from './sim-store.ts';
import { DROPPING_FILTER, functionsOf, isDropped, recentManifestsOf } from './upkeep-settings.ts';
import { UpkeepWatch } from './upkeep-watch.ts';
import { describe, World } from './world.ts';

const OPEN_ATTEMPTS = 4;
/** Every so many seeds a run ends with a hole in the log. */
const HOLES_EVERY = 4;
/** Memtables that may wait for a place in level 0 when a database is closed. */
const MAX_WAITING = 4;

export class SingleRun {
  readonly world: World;
  readonly faults: Faults;
  readonly store: SimStore;
  readonly auditor: Auditor;
  readonly model: Model;
  readonly machine: Machine;
  readonly #watch: UpkeepWatch;
  readonly #readerMachine: Machine;
  readonly #script: Script;
  /** Calls that are refused or given up, and functions that throw, besides. */
  readonly #refusals: Refusals | undefined;
  readonly #conditions: Conditions;
  readonly #options: OpenOptions;
  readonly #readerOptions: ReaderOptions;
  readonly #pending = new Set<Promise<unknown>>();
  #process: Process;
  #db!: Db;
  #snapshots: { seq: number; nowMs: number; snapshot: Snapshot; first?: string }[] = [];
  #scans: { seq: number; nowMs: number; reverse: boolean; iterator: ScanIterator; rows: ScanRow[] }[] = [];
  #reader: { reader: Reader; seq: number } | undefined;
  #again: CrashPoint[] = [];
  #closedWithoutRoom = false;
  cycles = 0;
  /** Every process that was started, for exhaustive runs. */
  readonly processes: Process[] = [];

  /** `crashPoints`: where the first process dies, the second, and so on. */
  constructor(script: Script, keepTrace = false, crashPoints: readonly CrashPoint[] = [], refusals?: Refusals) {
    this.#script = script;
    this.#refusals = refusals;
    this.world = new World(script.seed, keepTrace);
    this.faults = new Faults(new SeededRandom(script.seed ^ 0x5eed), script.rates);
    this.store = new SimStore(this.world, this.faults, script.store);
    const { upkeep } = script;
    this.model = new Model(upkeep.hasFilter ? isDropped : undefined);
    this.auditor = new Auditor(this.store, {
      hasLog: script.options.walEnabled !== false,
      recentManifests: recentManifestsOf(upkeep),
      functions: functionsOf(upkeep),
    });
    if (script.store.hasWalStore === true) this.auditor.states.add('log in a store of its own');
    this.#watch = new UpkeepWatch(this.auditor, upkeep);
    this.machine = new Machine(this.world, 'w');
    this.#readerMachine = new Machine(this.world, 'r');
    this.#again = [...crashPoints];
    this.#process = this.#start();
    const random = new SeededRandom(script.seed ^ 0x0ddba11);
    const { logger = SILENT_LOGGER, mergeOperator = CONCAT } = refusals ?? {};
    const onEvent: OpenOptions['onEvent'] = (event) => {
      this.#watch.onEvent(event);
      refusals?.onEvent();
    };
    const functions = { logger, mergeOperator, onEvent };
    const { compactor, gc, l0MaxSsts, hasFilter } = upkeep;
    const filter = hasFilter ? { compactionFilter: DROPPING_FILTER } : {};
    this.#options = {
      ...script.options,
      l0MaxSsts,
      compactor: compactor && { ...compactor, ...filter },
      gc,
      random,
      ...functions,
    };
    this.#conditions = new Conditions({
      world: this.world,
      model: this.model,
      states: this.auditor.states,
      wallMs: () => this.machine.wallMs,
      db: () => this.#db,
      isAlive: () => this.#process.isAlive,
      call: (kind, start) => this.#call(kind, start),
      expect: (error, kinds, what) => this.#expect(error, kinds, what),
      failed: (commit, error) => this.#writeFailed(commit, error),
    });
    this.#readerOptions = { random, ...functions, memoryBytes: 8 * 1024 * 1024 };
  }

  async run(): Promise<RunResult> {
    await this.world.drive(this.#play());
    return this.result();
  }

  result(): RunResult {
    return resultOf(this.auditor, this.cycles, this.model.commits.length);
  }

  async #play(): Promise<void> {
    await this.#open();
    for (const step of this.#script.steps) {
      if (!this.#process.isAlive) await this.#recover();
      await this.#refuse();
      // It may have died while a refusal let others have their turn.
      if (!this.#process.isAlive) await this.#recover();
      this.world.trace(`-- ${stepText(step)}`);
      await this.#step(step);
    }
    await this.#finish();
  }

  async #refuse(): Promise<void> {
    if (this.#refusals === undefined || !this.#process.isAlive) return;
    const wrong = await this.#refusals.refuse(this.#process, this.#db, [...this.model.keys(), 'k0']);
    if (wrong !== undefined) this.world.fail(`REFUSED: ${wrong}`);
  }

  /** A close leaves rows in the log where level 0 has no room for them: their flush to tables then ends without an answer. */
  #isCutOffByClose({ kind, outcome }: DbError, needsTables: boolean): boolean {
    return this.#closedWithoutRoom && kind === 'closed' && outcome === 'unknown' && needsTables;
  }

  #close(): Promise<Outcome<void>> {
    const l0 = this.auditor.newest?.manifest.l0.length ?? 0;
    this.#closedWithoutRoom = l0 + MAX_WAITING > this.#script.upkeep.l0MaxSsts;
    return this.#call('close', () => this.#db.close());
  }

  /** Without further faults everything settles, and what is there can be opened and read. */
  async #finish(): Promise<void> {
    this.faults.stop();
    this.#watch.rival.end();
    this.world.trace('-- the end');
    await this.#refuse();
    if (this.#process.isAlive) await this.#closeAtEnd();
    await this.#recover();
    this.auditor.checkStore();
    await this.#readAsReader();
    if (this.#script.seed % HOLES_EVERY === 0) await this.#checkThatHolesAreSeen();
  }

  /** The database that all went well with loses an object from the middle of its log, and must say so instead of opening. */
  async #checkThatHolesAreSeen(): Promise<void> {
    const { newest } = this.auditor;
    const ids = this.store.paths('wal/').map((path) => parseWalPath(path) as number);
    const middle = ids.slice(0, -1).filter((id) => id > (newest?.manifest.replayAfterWalId ?? 0));
    if (this.#options.walEnabled === false || middle.length === 0 || this.world.failure !== undefined) return;
    this.#process.kill();
    const lost = walPath(new Draw(this.#script.seed ^ 0x401e).of(middle));
    this.world.trace(`-- ${lost} is lost`);
    const { bytes } = this.store.objects.get(lost) as SimObject;
    // By nobody's rules.
    this.store.onDeleted = undefined;
    this.auditor.take(lost);
    this.store.applyDelete([lost]);
    this.#again = [];
    const process = this.#start();
    this.#process = process;
    const { clock } = process;
    const opened = await this.#call('open', () =>
      open(this.store.location(process), { ...this.#options, clock, owner: process.name }),
    );
    // A request of a dead process has arrived in the meantime: it filled the hole, or moved the replay point after it.
    const replayAfter = this.auditor.newest?.manifest.replayAfterWalId ?? 0;
    if (this.store.objects.has(lost) || (parseWalPath(lost) as number) <= replayAfter) return;
    this.auditor.states.add('hole seen');
    const findings = opened !== 'died' && 'error' in opened && isCorruption(opened.error) ? opened.error.findings : [];
    if (!findings.some((f) => f.code === 'MISSING_OBJECT' && f.object.path === lost)) {
      const found = opened === 'died' ? 'it died' : 'error' in opened ? describe(opened.error) : 'it opened';
      this.world.fail(`HOLE: ${lost} is missing, but ${found}`);
    }
    // Others read this state afterwards. Put back by nobody's rules: the auditor has seen this object.
    this.store.onApplied = undefined;
    this.store.applyPut(lost, bytes, { condition: 'if-absent', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' });
  }

  async #closeAtEnd(): Promise<void> {
    const closing = await this.#close();
    if (closing === 'died') return;
    if ('error' in closing) this.#expect(closing.error, ['unavailable'], 'close');
    else this.model.acknowledge(this.model.lastSeq);
    await Promise.all([...this.#pending]);
    this.#process.kill();
  }

  // ---- opening

  async #recover(): Promise<void> {
    this.#forgetHandles();
    await this.#open();
  }

  #forgetHandles(): void {
    this.#snapshots = [];
    this.#scans = [];
    this.#pending.clear();
  }

  #start(): Process {
    const process = this.machine.start();
    process.crashPoint = this.#again.shift();
    this.processes.push(process);
    return process;
  }

  async #open(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      if (!this.#process.isAlive) {
        this.cycles++;
        this.#process = this.#start();
      }
      if (attempt === OPEN_ATTEMPTS) this.faults.stop();
      const process = this.#process;
      const wrongLists = this.faults.wrongLists;
      const { clock } = process;
      const opened = await this.#call('open', () =>
        open(this.store.location(process), { ...this.#options, clock, owner: process.name }),
      );
      if (opened === 'died') {
        attempt = 0;
        continue;
      }
      if ('error' in opened) {
        const allowed = this.faults.wrongLists > wrongLists ? ['unavailable', 'corruption'] : ['unavailable'];
        this.#expect(opened.error, allowed, 'open');
        await this.world.sleep(1000);
        continue;
      }
      this.#db = opened.value;
      this.#closedWithoutRoom = false;
      if (await this.#verifyContent()) return;
      attempt = 0;
    }
  }

  /** What was found is right; false if the process died in the meantime. */
  async #verifyContent(): Promise<boolean> {
    const { model } = this;
    const snapshot = this.#db.snapshot();
    const seq = Number(snapshot.seq);
    void snapshot.close();
    if (seq < model.acknowledgedSeq) {
      this.world.fail(`LOST: the content ends with commit ${seq}, but ${model.acknowledgedSeq} was acknowledged`);
    }
    if (seq > model.lastSeq) this.world.fail(`INVENTED: seq ${seq}, but only ${model.lastSeq} commits were submitted`);
    const lied = model.commits.find((c) => c.state === 'not-applied' && c.seq <= seq);
    if (lied !== undefined) this.world.fail(`commit ${lied.seq} was called not applied, but it is there`);
    if (this.#reader !== undefined && seq < this.#reader.seq) {
      this.world.fail(`a reader had seen commit ${this.#reader.seq}, but the content ends with ${seq}`);
    }
    if (seq < model.lastSeq) this.auditor.states.add('unacknowledged commits gone');
    if (seq > model.acknowledgedSeq) this.auditor.states.add('unacknowledged commits kept');
    model.cut(seq);
    for (;;) {
      const nowMs = this.machine.wallMs;
      const rows = await this.#call('read', () => allRows(this.#db.scan()));
      if (rows === 'died') return false;
      if ('error' in rows) {
        this.#expect(rows.error, ['unavailable'], 'scan after opening');
        continue;
      }
      this.#checkRows(rows.value, seq, nowMs, {}, 'content after opening');
      return true;
    }
  }

  // ---- steps

  async #step(step: Step): Promise<void> {
    const db = this.#db;
    if (isConditional(step)) return this.#refusals === undefined ? this.#conditions.step(step) : undefined;
    switch (step.type) {
      case 'write':
        return this.#write(step);
      case 'get': {
        const { key, remote } = step;
        const { model } = this;
        const from = remote ? model.acknowledgedSeq : model.lastSeq;
        const to = model.lastSeq;
        const before = this.machine.wallMs;
        const got = await this.#call('read', () =>
          db.get(key, this.#withSignal(remote ? { durabilityFilter: 'remote' } : undefined)),
        );
        if (got === 'died') return;
        if ('error' in got) return this.#expect(got.error, ['unavailable'], `get ${key}`);
        const found = got.value === undefined ? undefined : text(got.value);
        for (let seq = to; seq >= from; seq--) if (this.#isRight(key, seq, before, found)) return;
        this.#wrong(`get ${key}`, found, model.read(key, to, before));
        return;
      }
      case 'getMany': {
        const before = this.machine.wallMs;
        const seq = this.model.lastSeq;
        const got = await this.#call('read', () => db.getMany(step.keys, this.#withSignal(undefined)));
        if (got === 'died') return;
        if ('error' in got) return this.#expect(got.error, ['unavailable'], 'getMany');
        for (const [i, key] of step.keys.entries()) this.#checkValue('getMany', key, seq, before, got.value[i]);
        return;
      }
      case 'scan': {
        const { from, to, reverse, limit } = step;
        const seq = this.model.lastSeq;
        const now = this.machine.wallMs;
        const rows = await this.#call('read', () =>
          allRows(db.scan(this.#withSignal({ gte: from, lt: to, reverse, limit }))),
        );
        if (rows === 'died') return;
        if ('error' in rows) return this.#expect(rows.error, ['unavailable'], 'scan');
        return this.#checkRows(rows.value, seq, now, { from, to, reverse, limit }, 'scan');
      }
      case 'openScan': {
        const { reverse } = step;
        const nowMs = this.machine.wallMs;
        this.#scans.push({ seq: this.model.lastSeq, nowMs, reverse, iterator: db.scan({ reverse }), rows: [] });
        return;
      }
      case 'goOnScanning':
        return this.#goOnScanning();
      case 'snapshot':
        this.#snapshots.push({ seq: this.model.lastSeq, nowMs: this.machine.wallMs, snapshot: db.snapshot() });
        return;
      case 'readSnapshot': {
        const pinned = this.#snapshots[0];
        if (pinned === undefined) return;
        const rows = await this.#call('read', () => allRows(pinned.snapshot.scan()));
        if (rows === 'died') return;
        if ('error' in rows) return this.#expect(rows.error, ['unavailable'], 'snapshot');
        this.auditor.states.add('snapshot read');
        const all = rows.value.map((row) => `${text(row.key)}=${text(row.value)}`).join(' ');
        pinned.first ??= all;
        // A filter is asked about what an open snapshot sees, too: it is at the barrier.
        const mayChange = this.#script.upkeep.hasFilter;
        if (all !== pinned.first && !mayChange) this.#wrong('the same snapshot again', all, [pinned.first]);
        return this.#checkRows(rows.value, pinned.seq, pinned.nowMs, {}, 'snapshot');
      }
      case 'dropSnapshot':
        await this.#snapshots.shift()?.snapshot.close();
        return;
      case 'flush': {
        const seq = this.model.lastSeq;
        const flush = this.#call('flush', () => db.flush({ type: step.memtable ? 'memtable' : 'wal' })).then((done) => {
          if (done === 'died') return;
          if (!('error' in done)) this.model.acknowledge(seq);
          else if (!this.#isCutOffByClose(done.error, step.memtable))
            this.#expect(done.error, ['unavailable', 'closed'], 'flush');
        });
        return this.#waitOrNot(flush, step.wait);
      }
      case 'compact':
        return this.#waitOrNot(this.#compact(), step.wait);
      case 'rival':
        return this.#watch.claimAsRival();
      case 'rivalCompacts':
        return this.#watch.rival.start(step.at);
      case 'foreignMove':
        return this.#watch.moveAsForeigner();
      case 'sleep':
        return this.world.sleep(step.ms);
      case 'reopen': {
        const closing = await this.#close();
        if (closing === 'died') return;
        if ('error' in closing) this.#expect(closing.error, ['unavailable'], 'close');
        else this.model.acknowledge(this.model.lastSeq);
        this.#forgetHandles();
        if (this.#process.isAlive) this.#process.kill();
        return;
      }
      case 'crash':
        this.#again = [...step.again];
        if (step.at === undefined) this.#process.kill();
        else this.#process.crashPoint = { ...step.at, call: this.#process.calls + step.at.call };
        return;
      case 'reader':
        return this.#readAsReader();
      case 'jump':
        this.faults.count('clock-jump');
        return this.machine.jumpWall(step.ms);
      case 'freeze':
        this.faults.count(step.kind);
        this.machine.freeze(step.kind, step.ms);
        return this.machine.sleep(0);
      case 'storm':
        return this.faults.storm(step.kind, this.world.nowMs + step.ms);
    }
  }

  #write({ ops, durable, wait, asBatch }: Extract<Step, { type: 'write' }>): Promise<void> {
    const commit = this.model.submit(ops, this.machine.wallMs);
    const work = this.#call('write', () => this.#send(ops, asBatch, durable)).then((done) => {
      if (done === 'died') return;
      if ('error' in done) return this.#writeFailed(commit, done.error);
      if (Number(done.value.seq) !== commit.seq) {
        this.world.fail(`commit ${commit.seq} was acknowledged with seq ${done.value.seq}`);
      }
      if (!durable) return;
      commit.state = 'acknowledged';
      this.model.acknowledge(commit.seq);
    });
    return this.#waitOrNot(work, wait);
  }

  #send(ops: readonly RowOp[], asBatch: boolean, awaitDurable: boolean) {
    if (asBatch) {
      const batch = new WriteBatch();
      for (const { kind, key, value, ttlMs } of ops) {
        const ttl = ttlMs === undefined ? undefined : { ttlMs };
        if (kind === 'put') batch.put(key, value, ttl);
        else if (kind === 'merge') batch.merge(key, value, ttl);
        else batch.delete(key);
      }
      return this.#db.write(batch, this.#withSignal({ awaitDurable }));
    }
    const { kind, key, value, ttlMs } = ops[0];
    const options = this.#withSignal(ttlMs === undefined ? { awaitDurable } : { awaitDurable, ttlMs });
    if (kind === 'put') return this.#db.put(key, value, options);
    return kind === 'merge'
      ? this.#db.merge(key, value, options)
      : this.#db.delete(key, this.#withSignal({ awaitDurable }));
  }

  /** The options, for some calls with a signal that may abort. */
  #withSignal<T extends object>(options: T | undefined): (T & { signal?: AbortSignal }) | undefined;
  #withSignal<T extends object>(options: T): T & { signal?: AbortSignal };
  #withSignal(options: object | undefined): object | undefined {
    const signal = this.#refusals?.signal(this.#process);
    return signal === undefined ? options : { ...options, signal };
  }

  /** What was in memory is in tables then, so it is durable. */
  async #compact(): Promise<void> {
    const db = this.#db;
    const { upkeep } = this.#script;
    const seq = this.model.lastSeq;
    const done = await this.#call('compact', () => db.compact(this.#withSignal({})));
    if (done === 'died') return;
    if ('value' in done) {
      this.auditor.states.add('everything compacted');
      this.model.acknowledge(seq);
      return;
    }
    const { error } = done;
    const isRefused = upkeep.compactor === false && error.code === 'BAD_ARGUMENT';
    const isFenced = error.code === 'COMPACTOR_FENCED' && this.#watch.hasRival;
    // The handle may be closed in the meantime.
    if (!isRefused && !isFenced && error.kind !== 'closed') this.#expect(error, ['unavailable'], 'compact');
  }

  #writeFailed(commit: Commit, error: DbError): void {
    this.#expect(error, ['unavailable', 'closed'], `commit ${commit.seq}`);
    const { outcome } = error;
    if (outcome === undefined)
      this.world.fail(`commit ${commit.seq} failed without saying its outcome: ${describe(error)}`);
    commit.state = outcome === 'not-applied' ? 'not-applied' : 'unknown';
  }

  #waitOrNot(work: Promise<void>, wait: boolean): Promise<void> {
    if (wait) return work;
    this.#pending.add(work);
    void work.finally(() => this.#pending.delete(work));
    return Promise.resolve();
  }

  async #goOnScanning(): Promise<void> {
    const scan = this.#scans[0];
    if (scan === undefined) return;
    for (let length = 1; length > 0; ) {
      const batch = await this.#call('read', () => scan.iterator.nextBatch(2));
      if (batch === 'died') return;
      if ('error' in batch) {
        this.#scans.shift();
        // Of a scan that was opened long ago a collector may have taken tables.
        if (batch.error.code === 'VIEW_EXPIRED' && this.#options.gc !== false) return;
        return this.#expect(batch.error, ['unavailable'], 'long scan');
      }
      scan.rows.push(...batch.value);
      // One that is not full may stand before a failure.
      if (batch.value.length === 2) return;
      length = batch.value.length;
    }
    this.#scans.shift();
    this.auditor.states.add('long scan ended');
    this.#checkRows(scan.rows, scan.seq, scan.nowMs, { reverse: scan.reverse }, 'long scan');
  }

  /** A reader on another machine sees some state between what was acknowledged before and what was submitted by then. */
  async #readAsReader(): Promise<void> {
    const low = Math.max(this.model.acknowledgedSeq, this.#reader?.seq ?? 0);
    const process = this.#readerMachine.start();
    const { clock } = process;
    const wrongLists = this.faults.wrongLists;
    const seen = await this.#call(
      'open',
      async () => {
        const known = this.#reader?.reader;
        const location = this.store.location(process);
        const reader = known ?? (await openReader(location, { ...this.#readerOptions, clock }));
        if (known !== undefined) await known.refresh();
        const nowMs = this.#readerMachine.wallMs;
        return { reader, nowMs, rows: await allRows(reader.scan()) };
      },
      process,
    );
    if (seen === 'died') return;
    if ('error' in seen) {
      const allowed = this.faults.wrongLists > wrongLists ? ['unavailable', 'corruption'] : ['unavailable'];
      return this.#expect(seen.error, allowed, 'reader');
    }
    const { reader, rows, nowMs } = seen.value;
    this.auditor.states.add(this.#reader === undefined ? 'reader opened' : 'reader refreshed');
    for (let seq = low; seq <= this.model.lastSeq; seq++) {
      if (this.#difference(rows, seq, nowMs, {}) !== undefined) continue;
      this.#reader = { reader, seq };
      return;
    }
    this.world.fail(
      `a reader sees no state from ${low} to ${this.model.lastSeq}: ${this.#difference(rows, low, nowMs, {})}`,
    );
  }

  // ---- calls and their judgement

  #call<T>(kind: Parameters<typeof call>[1], start: () => Promise<T>, process = this.#process): Promise<Outcome<T>> {
    return call(process, kind, start);
  }

  /** Fails the run unless the error is of one of these kinds and a fault can have caused it. */
  #expect(error: DbError, kinds: readonly string[], what: string): void {
    if (error.kind === 'aborted' && this.#refusals !== undefined) {
      this.auditor.states.add('given up');
      return;
    }
    if (!kinds.includes(error.kind)) this.world.fail(`${what}: ${describe(error)}`, error);
    if (this.faults.fired.size === 0) this.world.fail(`${what} without any fault: ${describe(error)}`, error);
  }

  #isRight(key: string, seq: number, beforeMs: number, found: string | undefined): boolean {
    const { model } = this;
    return model.read(key, seq, beforeMs).includes(found) || model.read(key, seq, this.machine.wallMs).includes(found);
  }

  #checkValue(what: string, key: string, seq: number, beforeMs: number, value: Uint8Array | undefined): void {
    const found = value === undefined ? undefined : text(value);
    if (!this.#isRight(key, seq, beforeMs, found))
      this.#wrong(`${what} ${key}`, found, this.model.read(key, seq, beforeMs));
  }

  #wrong(what: string, found: string | undefined, expected: readonly (string | undefined)[]): void {
    this.world.fail(`WRONG: ${what} gives ${short(found)} for ${expected.map(short).join(' or ')}`);
  }

  #checkRows(rows: readonly ScanRow[], seq: number, nowMs: number, range: Range, what: string): void {
    const difference = this.#difference(rows, seq, nowMs, range);
    if (difference !== undefined) this.world.fail(`WRONG: ${what} at seq ${seq}: ${difference}`);
  }

  #difference(rows: readonly ScanRow[], seq: number, nowMs: number, range: Range): string | undefined {
    return difference(this.model, rows, { seq, nowMs, ...range });
  }
}

function stepText(step: Step): string {
  return JSON.stringify(step, (_key, value) =>
    typeof value === 'string' && value.length > 40 ? `${value.slice(0, 40)}...` : value,
  );
}
