/**
 * A small database made from a seed, whose objects are then damaged at rest: what runs with damage have in common.
 *
 * From the damage on every put over an object that is written once, and every deletion, is a failure of the run.
 */
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { SeededRandom } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { loadCodec } from '../../src/format/codecs.ts';
import { manifestPath, parseTablePath, parseWalPath, walPath } from '../../src/format/object-names.ts';
import { CODECS } from '../../src/format/table-info.ts';
import { open } from '../../src/open.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { Auditor } from './auditor.ts';
import { CONCAT } from './calls.ts';
import { DamageJudge, KEYS, keyName } from './damage-judge.ts';
import { drawDamage, inflict, touched } from './damaging.ts';
import { Faults } from './faults.ts';
import type { Machine, Process } from './machine.ts';
import type { RowOp } from './model.ts';
import { type RunResult, resultOf } from './run-result.ts';
import { Draw } from './script.ts';
import { SimStore } from './sim-store.ts';
import type { World } from './world.ts';

export const LATE_MS = 100;
const WRITTEN_ONCE = /^(manifest|wal|compacted|shale\/(quarantine|damage|repairs))\//;

/** Loading a codec or a tool takes real time, for which the world does not wait. */
export const LOADED = Promise.all([
  ...CODECS.map((codec) => loadCodec(codec).catch(() => undefined)),
  import('../../src/tools/sst-check.ts'),
  import('../../src/tools/wal-repair.ts'),
]);

export class DamageDatabase {
  readonly world: World;
  readonly draw: Draw;
  readonly store: SimStore;
  readonly judge: DamageJudge;
  readonly options: OpenOptions;
  readonly #faults: Faults;
  readonly #auditor: Auditor;
  readonly #seed: number;
  #writes = 0;

  /** `fixed` options take the place of drawn ones. */
  constructor(world: World, fixed: OpenOptions = {}) {
    const { seed } = world;
    this.#seed = seed;
    this.world = world;
    this.draw = new Draw(seed ^ 0xda3a6e);
    const { draw } = this;
    this.#faults = new Faults(new SeededRandom(seed ^ 0x5eed));
    this.store = new SimStore(world, this.#faults, {
      latencyMs: [5, 5],
      lateMs: LATE_MS,
      keepsMetadata: true,
      isKnown: true,
    });
    this.options = {
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
      compactor: false,
      gc: false,
      ...fixed,
    };
    this.#auditor = new Auditor(this.store, { hasLog: this.hasLog });
    this.judge = new DamageJudge(world, this.store, draw, this.#auditor.states);
  }

  get hasLog(): boolean {
    return this.options.walEnabled !== false;
  }

  result(cycles: number): RunResult {
    return resultOf(this.#auditor, cycles, this.judge.model.commits.length);
  }

  // ---- before anything happens to it

  /** One to three lives of a writer, each closed or killed. */
  async build(machine: Machine): Promise<void> {
    const { draw } = this;
    for (let lives = 1 + draw.int(3); lives > 0; lives--) {
      const process = machine.start();
      const db = await this.openOn(process);
      for (let steps = 1 + draw.int(8); steps > 0; steps--) {
        await this.#write(db);
        if (draw.chance(0.3)) await db.flush({ type: 'memtable' });
      }
      if (draw.chance(0.4)) await db.close();
      process.kill();
      await this.world.sleep(2 * LATE_MS);
    }
  }

  openOn(process: Process, options: OpenOptions = {}): Promise<Db> {
    const { clock, name: owner } = process;
    return open(this.target(process), { ...this.options, ...options, clock, owner });
  }

  target(process: Process) {
    return { store: this.store.connect(process), path: '' };
  }

  /** A durable batch. */
  async #write(db: Db): Promise<void> {
    const ops = this.drawOps(this.draw);
    const { seq } = await db.write(batchOf(ops));
    const commit = this.judge.model.submit(ops, 0);
    if (Number(seq) !== commit.seq) this.judge.fail(`commit ${commit.seq} got seq ${seq}`);
  }

  drawOps(draw: Draw): RowOp[] {
    return Array.from({ length: 1 + draw.int(8) }, () => {
      const kind = draw.of(['put', 'put', 'put', 'put', 'delete', 'merge'] as const);
      const value = `${this.nextValue()}${'#'.repeat(draw.int(300))}`;
      return { kind, key: keyName(draw.int(KEYS)), value: kind === 'delete' ? '' : value };
    });
  }

  nextValue(): string {
    return `${this.#seed % 1000}.${++this.#writes}`;
  }

  // ---- damage

  /** Damages one to three objects; `to-replay`: of those of the log that an opening replays. */
  damage(of: 'any' | 'to-replay' = 'any'): void {
    const { store, judge, draw } = this;
    const { newest } = this.#auditor;
    const named = new Set(newest?.manifest.l0.map((v) => v.table.id));
    const isNeeded = (path: string) => {
      if (of === 'to-replay') return (parseWalPath(path) ?? 0) > (newest?.manifest.replayAfterWalId ?? 0);
      const table = parseTablePath(path);
      return table === undefined || named.has(table);
    };
    store.onApplied = (path, _object, replaced) => {
      if (replaced !== undefined && WRITTEN_ONCE.test(path)) judge.fail(`${path} was overwritten`);
    };
    store.onDeleted = (path) => judge.fail(`${path} was deleted`);
    for (let wanted = 1 + draw.int(3), tries = 0; wanted > 0 && tries < 20; tries++) {
      const damage = drawDamage(draw, store, isNeeded);
      if (damage === undefined || touched(damage).some((path) => judge.suspects.has(path))) continue;
      judge.damages.push(damage);
      this.world.trace(`-- damage ${JSON.stringify(damage)}`);
      for (const path of touched(damage)) judge.suspects.add(path);
      inflict(store, damage, draw);
      this.#faults.count(`${damage.kind} of ${damage.path.slice(0, damage.path.indexOf('/'))}`);
      wanted--;
    }
  }

  /**
   * What no object left can show (rfcs/0004): the end of the log is gone, or without a log the newest manifest, or a table
   * that perhaps only it named while it is damaged.
   */
  isOutOfReach(): boolean {
    const { damages, suspects } = this.judge;
    const newest = manifestPath(this.#auditor.newest?.id ?? 0);
    const lastWal = walPath(Math.max(0, ...this.#auditor.wal.keys()));
    const gone = damages.filter(({ kind }) => kind === 'delete').map(({ path }) => path);
    if (gone.includes(lastWal) || this.hasLog) return gone.includes(lastWal);
    return gone.includes(newest) || (suspects.has(newest) && gone.some((path) => path.startsWith('compacted/')));
  }
}

export function batchOf(ops: readonly RowOp[]): WriteBatch {
  const batch = new WriteBatch();
  for (const { kind, key, value } of ops) {
    if (kind === 'put') batch.put(key, value);
    else if (kind === 'merge') batch.merge(key, value);
    else batch.delete(key);
  }
  return batch;
}
