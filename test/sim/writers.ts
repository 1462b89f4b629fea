/**
 * One to three writers that take the database from each other, a collector that deletes after them, and a reader; PUTs whose
 * answers are lost, that land late or twice; machines that sleep for hours and clocks that jump.
 *
 * Each commit is a batch of two rows of its own and a merge into a row of all. At the end: every acknowledged commit is there,
 * and was there for everybody who took over from its writer; none that was called not applied is; each is there whole and
 * once; and nobody was called fenced without another machine's claim of a higher epoch.
 */
import type { DbError } from '../../src/common/errors.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { SeededRandom } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import type { Reader } from '../../src/db/reader.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { encodeBoundary } from '../../src/format/boundary.ts';
import { decodeManifest } from '../../src/format/manifest-codec.ts';
import {
  MANIFEST_BOUNDARY_PATH,
  manifestPath,
  parseManifestPath,
  parseWalPath,
} from '../../src/format/object-names.ts';
import { open, openReader } from '../../src/open.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { Auditor } from './auditor.ts';
import { allRows, CONCAT, call, text } from './calls.ts';
import { Contest } from './contest.ts';
import { Faults } from './faults.ts';
import { Machine, type Process } from './machine.ts';
import { type RunResult, resultOf } from './run-result.ts';
import { Draw } from './script.ts';
import { type SimObject, SimStore } from './sim-store.ts';
import { drawUpkeep, functionsOf, NO_UPKEEP } from './upkeep-settings.ts';
import { UpkeepWatch } from './upkeep-watch.ts';
import { describe, World } from './world.ts';

const RATES = { 'lost-answer': 0.2, 'late-put': 0.05, 'double-put': 0.02 };
const HOUR_MS = 3_600_000;
/** Least age at which collectors delete, by default. */
const MIN_AGE_MS = 300_000;
const MERGED = 'm';
const SEPARATOR = ' ';

interface Commit {
  id: string;
  process: string;
  state: 'submitted' | 'acknowledged' | 'unknown' | 'not-applied';
}

interface Opening {
  process: string;
  /** Commits that were there. */
  found: Set<string>;
}

export class WritersRun {
  readonly world: World;
  readonly #faults: Faults;
  readonly #store: SimStore;
  readonly #auditor: Auditor;
  readonly #watch: UpkeepWatch;
  readonly #draw: Draw;
  readonly #options: OpenOptions;
  readonly #machines: Machine[];
  readonly #commits: Commit[] = [];
  /** None where nothing is merged: for seeds that were found before there were any. */
  readonly #contest: Contest | undefined;
  readonly #contestDraw: Draw;
  readonly #openings: Opening[] = [];
  #deaths = 0;
  #writersLeft: number;

  constructor(seed: number, keepTrace = false, hasUpkeep = true) {
    this.world = new World(seed, keepTrace);
    this.#draw = new Draw(seed ^ 0x3f1e5);
    const draw = this.#draw;
    this.#faults = new Faults(new SeededRandom(seed ^ 0x5eed), RATES);
    this.#faults.only = ['put'];
    const hasCollector = draw.chance(0.6);
    this.#store = new SimStore(this.world, this.#faults, {
      latencyMs: draw.of([
        [1, 20],
        [1, 300],
        [1, 5000],
      ] as const),
      lateMs: draw.of([1000, 100_000, 3 * HOUR_MS]),
      keepsMetadata: draw.chance(0.8),
      isKnown: true,
    });
    const upkeep = hasUpkeep ? drawUpkeep(new Draw(seed ^ 0xc0ffee)) : NO_UPKEEP;
    const { compactor } = upkeep;
    // At ages at which a writer that was suspended believes in nothing any more. It keeps the newest manifest alone, as SlateDB's does.
    const gc = upkeep.gc && { intervalMs: upkeep.gc.intervalMs, recentManifests: 1 };
    this.#auditor = new Auditor(this.#store, {
      hasLog: true,
      hasCollector,
      recentManifests: 1,
      functions: functionsOf({ hasFilter: false }),
    });
    this.#watch = new UpkeepWatch(this.#auditor, upkeep);
    const random = new SeededRandom(seed ^ 0x0ddba11);
    this.#options = {
      random,
      logger: SILENT_LOGGER,
      mergeOperator: CONCAT,
      memoryBytes: 8 * 1024 * 1024,
      l0SstSizeBytes: 4096,
      compatibility: draw.of(['auto', 'slatedb-0.12', 'slatedb-0.17']),
      l0MaxSsts: upkeep.l0MaxSsts,
      compactor,
      gc,
      onEvent: this.#watch.onEvent,
    };
    this.#contestDraw = new Draw(seed ^ 0xc0de);
    const checkError = (process: Process, error: DbError, what: string) => this.#checkError(process, error, what);
    if (hasUpkeep) this.#contest = new Contest(this.world, this.#contestDraw, checkError);
    const count = draw.of([1, 2, 2, 3, 3]);
    this.#writersLeft = count;
    this.#machines = Array.from({ length: count }, (_, i) => new Machine(this.world, `w${i + 1}`));
    this.#hasCollector = hasCollector;
  }
  readonly #hasCollector: boolean;

  async run(): Promise<RunResult> {
    await this.world.drive(this.#play());
    return resultOf(this.#auditor, this.#deaths, this.#commits.length);
  }

  async #play(): Promise<void> {
    const actors = this.#machines.map((machine) => this.#writer(machine));
    if (this.#hasCollector) actors.push(this.#collector());
    if (this.#draw.chance(0.5)) actors.push(this.#reader());
    await Promise.all(actors);
    this.#faults.stop();
    await this.#judge();
  }

  // ---- the writers

  async #writer(machine: Machine): Promise<void> {
    const draw = this.#draw;
    const turns = 2 + draw.int(4);
    for (let turn = 0; turn < turns; turn++) {
      const process = machine.start();
      await this.#turn(process);
      if (process.isAlive) process.kill();
      else this.#deaths++;
      await machine.sleep(draw.of([1, 100, 5000, 400_000]));
    }
    this.#writersLeft--;
  }

  /** Opens, writes for a while and ends in some way. */
  async #turn(process: Process): Promise<void> {
    const draw = this.#draw;
    const { machine } = process;
    if (draw.chance(0.3))
      process.crashPoint = { call: 1 + draw.int(60), fate: draw.of(['not-applied', 'applied', 'applied-later']) };
    // Pauses in the middle of an opening or of a write are where the flaws are.
    for (let i = draw.int(3); i > 0; i--) this.#pauseLater(process);
    const { clock } = process;
    const opened = await call(process, 'open', () =>
      open({ store: this.#store.connect(process), path: '' }, { ...this.#options, clock, owner: process.name }),
    );
    if (opened === 'died') return;
    if ('error' in opened) return this.#checkError(process, opened.error, 'open');
    const db = opened.value;
    const found = await this.#scan(process, db);
    if (found === undefined) return;
    this.#openings.push({ process: process.name, found });
    const pending: Promise<void>[] = [];
    for (let i = 1 + draw.int(6); i > 0 && process.isAlive; i--) {
      const write = this.#write(process, db, pending.length);
      pending.push(write);
      if (draw.chance(0.7)) await write;
      if (this.#contest !== undefined && this.#contestDraw.chance(0.6)) {
        const attempts = this.#contest.play(process, db);
        pending.push(attempts);
        if (this.#contestDraw.chance(0.6)) await attempts;
      }
      const x = draw.int(20);
      if (x < 4) await process.sleepOrDie(draw.of([1, 50, 1500, 30_000, 70_000]));
      else if (x < 6) pending.push(this.#flush(process, db));
      else if (x < 8) {
        this.#faults.count('clock-jump');
        machine.jumpWall(draw.of([-HOUR_MS, -1000, 30_000, HOUR_MS]));
      } else if (x < 10) this.#pause(process);
    }
    if (draw.chance(0.2)) return process.kill();
    await Promise.all(pending);
    if (!draw.chance(0.5) || !process.isAlive) return;
    const closed = await call(process, 'close', () => db.close());
    if (closed !== 'died' && 'error' in closed) this.#checkError(process, closed.error, 'close');
  }

  #pause(process: Process): void {
    const kind = this.#draw.of(['suspend', 'stall'] as const);
    this.#faults.count(kind);
    process.machine.freeze(kind, this.#draw.of([1000, 61_000, 320_000, HOUR_MS, 3 * HOUR_MS]));
  }

  #pauseLater(process: Process): void {
    process.at(this.world.nowMs + this.#draw.int(3000), () => this.#pause(process));
  }

  async #write(process: Process, db: Db, nth: number): Promise<void> {
    const id = `${process.name}-${nth}`;
    const commit: Commit = { id, process: process.name, state: 'submitted' };
    this.#commits.push(commit);
    const batch = new WriteBatch()
      .put(`a/${id}`, id)
      .put(`b/${id}`, id)
      .merge(MERGED, id + SEPARATOR);
    const done = await call(process, 'write', () => db.write(batch));
    if (done === 'died') return;
    if ('value' in done) {
      commit.state = 'acknowledged';
      this.world.trace(`${process.name} acknowledged ${id}`);
      return;
    }
    commit.state = done.error.outcome === 'unknown' ? 'unknown' : 'not-applied';
    this.world.trace(`${process.name} ${commit.state} ${id}`);
    this.#checkError(process, done.error, `commit ${id}`);
  }

  async #flush(process: Process, db: Db): Promise<void> {
    const done = await call(process, 'flush', () => db.flush({ type: 'memtable' }));
    if (done !== 'died' && 'error' in done) this.#checkError(process, done.error, 'flush');
  }

  /** The commits that are there; each must be whole and once. */
  async #scan(process: Process, source: Pick<Db, 'scan'>): Promise<Set<string> | undefined> {
    for (;;) {
      const rows = await call(process, 'read', () => allRows(source.scan()));
      if (rows === 'died') return undefined;
      if ('error' in rows) {
        if (['fenced', 'closed'].includes(rows.error.kind)) {
          this.#checkError(process, rows.error, 'scan');
          return undefined;
        }
        if (rows.error.kind !== 'unavailable') this.world.fail(`scan: ${describe(rows.error)}`, rows.error);
        await process.sleepOrDie(1000);
        if (!process.isAlive || (rows.error.code === 'VIEW_EXPIRED' && source instanceof Object)) return undefined;
        continue;
      }
      const halves = [new Set<string>(), new Set<string>()];
      let merged: string[] = [];
      for (const row of rows.value) {
        const key = text(row.key);
        if (Contest.owns(key)) continue;
        if (key === MERGED) merged = text(row.value).trimEnd().split(SEPARATOR);
        else halves[key.startsWith('a/') ? 0 : 1].add(key.slice(2));
      }
      const [a, b] = halves;
      if (new Set(merged).size !== merged.length) this.world.fail(`TWICE: ${merged.join(' ')}`);
      const whole = (id: string) => a.has(id) && b.has(id);
      const broken = merged.find((id) => !whole(id));
      if (broken !== undefined || a.size !== merged.length || b.size !== merged.length) {
        this.world.fail(`PARTIAL: ${[...a].join(' ')} / ${[...b].join(' ')} / ${merged.join(' ')}`);
      }
      return a;
    }
  }

  #checkError(process: Process, error: DbError, what: string): void {
    const { kind } = error;
    if (kind === 'fenced') this.#checkFenced(process, error);
    else if (kind !== 'closed' && kind !== 'unavailable')
      this.world.fail(`${process.name}, ${what}: ${describe(error)}`, error);
  }

  /** Only another machine's claim of a higher epoch is a takeover. */
  #checkFenced(process: Process, error: DbError): void {
    this.#auditor.states.add('fenced');
    const mine = this.#auditor.claims.get(process.name) ?? 0;
    for (const [owner, epoch] of this.#auditor.claims) {
      if (epoch > mine && !owner.startsWith(`${process.machine.name}.`)) return;
    }
    this.world.fail(`FALSELY FENCED: ${process.name}, epoch ${mine}: ${describe(error)}`, error);
  }

  // ---- the others

  /**
   * Deletes as SlateDB's collector does: manifests but the newest and those of checkpoints, the log below the replay points of these, both
   * older than 300 s.
   */
  async #collector(): Promise<void> {
    const { world } = this;
    const step = () => world.sleep(this.#draw.of([1, 20, 2000]));
    while (this.#writersLeft > 0) {
      await world.sleep(this.#draw.of([60_000, 600_000, 600_000]));
      const ids = this.#store.paths('manifest/').map((path) => parseManifestPath(path) as number);
      const newestId = ids.pop();
      if (newestId === undefined) continue;
      const newest = this.#auditor.newest?.id === newestId ? this.#auditor.newest : undefined;
      if (newest === undefined) continue;
      await step();
      const kept = new Set([newestId, ...newest.manifest.checkpoints.map((checkpoint) => checkpoint.manifestId)]);
      const old = this.#olderThanMinAge('manifest/').filter((path) => !kept.has(parseManifestPath(path) as number));
      const boundary = Math.max(0, ...old.map((path) => parseManifestPath(path) as number));
      if (boundary > 0) {
        this.#raiseBoundary(boundary);
        await step();
        this.#store.applyDelete(old);
        this.#auditor.states.add('manifests collected');
      }
      await step();
      const replayPoints = [...kept].flatMap((id) => this.#replayPointOf(id) ?? []);
      // The collector of a writer, too, deletes manifests, once their checkpoints have expired.
      if (replayPoints.length === 0) continue;
      const replayAfterWalId = Math.min(...replayPoints);
      const log = this.#olderThanMinAge('wal/').filter((path) => (parseWalPath(path) as number) < replayAfterWalId);
      if (log.length > 0) this.#auditor.states.add('log collected');
      this.#store.applyDelete(log);
      world.trace(`collector deletes manifests to ${boundary}, ${log.length} WAL objects`);
    }
  }

  /** undefined: it is gone. */
  #replayPointOf(manifestId: number): number | undefined {
    const stored = this.#store.objects.get(manifestPath(manifestId));
    return stored && decodeManifest(stored.bytes).manifest.replayAfterWalId;
  }

  #olderThanMinAge(prefix: string): string[] {
    const limit = this.world.wallMs - MIN_AGE_MS;
    return this.#store.paths(prefix).filter((p) => (this.#store.objects.get(p) as SimObject).modifiedMs < limit);
  }

  #raiseBoundary(boundary: number): void {
    const known = this.#store.read(MANIFEST_BOUNDARY_PATH);
    if (known !== undefined && Number(text(known.bytes)) >= boundary) return;
    const putId = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
    this.#store.applyPut(MANIFEST_BOUNDARY_PATH, encodeBoundary(boundary), { condition: 'any', putId });
  }

  /** Sees everything that was acknowledged before it looked, and never less than before. */
  async #reader(): Promise<void> {
    const process = new Machine(this.world, 'r').start();
    const { clock } = process;
    const { random, logger, mergeOperator } = this.#options;
    let reader: Reader | undefined;
    let before = new Set<string>();
    for (let rounds = 8; rounds > 0 && this.#writersLeft > 0; rounds--) {
      await this.world.sleep(this.#draw.of([100, 5000, 600_000, HOUR_MS]));
      const acknowledged = this.#commits.filter((c) => c.state === 'acknowledged').map((c) => c.id);
      const known: Reader | undefined = reader;
      const shown = await call(process, 'open', async () => {
        if (known !== undefined) await known.refresh();
        const location = { store: this.#store.connect(process), path: '' };
        return known ?? (await openReader(location, { clock, random, logger, mergeOperator }));
      });
      if (shown === 'died') return;
      if ('error' in shown) {
        const { error } = shown;
        if (error.code !== 'NOT_A_DATABASE' && error.kind !== 'unavailable')
          this.world.fail(`reader: ${describe(error)}`, error);
        continue;
      }
      reader = shown.value;
      const found = await this.#scan(process, reader);
      if (found === undefined) continue;
      this.#auditor.states.add('reader refreshed');
      const missing = [...acknowledged, ...before].find((id) => !found.has(id));
      if (missing !== undefined) this.world.fail(`a reader misses ${missing}`);
      before = found;
    }
  }

  // ---- the end

  async #judgeContest(process: Process, db: Db): Promise<void> {
    const rows = await call(process, 'read', () => allRows(db.scan()));
    if (rows === 'died' || this.#contest === undefined) return;
    if ('error' in rows) return this.#checkError(process, rows.error, 'scan at the end');
    this.#contest.judge(new Map(rows.value.map((row) => [text(row.key), { value: text(row.value), seq: row.seq }])));
    for (const state of this.#contest.states) this.#auditor.states.add(state);
  }

  async #judge(): Promise<void> {
    const process = new Machine(this.world, 'judge').start();
    const { clock } = process;
    const opened = await call(process, 'open', () =>
      open({ store: this.#store.connect(process), path: '' }, { ...this.#options, clock, owner: process.name }),
    );
    if (opened === 'died') return;
    if ('error' in opened) {
      this.world.fail(`at the end it does not open: ${describe(opened.error)}`, opened.error);
      return;
    }
    const found = await this.#scan(process, opened.value);
    if (found === undefined) return;
    this.#openings.push({ process: process.name, found });
    await this.#judgeContest(process, opened.value);
    const epochOf = (name: string) => this.#auditor.claims.get(name) ?? 0;
    for (const commit of this.#commits) {
      if (commit.state === 'not-applied' && found.has(commit.id))
        this.world.fail(`${commit.id} was called not applied`);
      if (commit.state !== 'acknowledged') continue;
      for (const opening of this.#openings) {
        if (epochOf(opening.process) <= epochOf(commit.process) || opening.found.has(commit.id)) continue;
        this.world.fail(
          `LOST: ${commit.id} was acknowledged, but ${opening.process} did not find it when it took over`,
        );
      }
    }
    for (const opening of this.#openings) {
      const gone = [...opening.found].find((id) => !found.has(id));
      if (gone !== undefined) this.world.fail(`${opening.process} found ${gone}, which is gone`);
    }
    if (this.#openings.length > 2) this.#auditor.states.add('taken over');
  }
}
