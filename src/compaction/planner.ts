/**
 * What may be done next: asks the scheduler with all that it has to know, on one manifest, and makes plans of what is chosen.
 *
 * 1. Choices and plans of one preparation are made of one manifest: whether it still holds is decided by the commit.
 * 2. After `MAX_INVALID` invalid proposals in a row the scheduler that was given is replaced by the default one.
 */
import { assertThat } from '../common/assert.ts';
import type { InvalidArgumentError } from '../common/errors.ts';
import type { Ulid } from '../common/ulid.ts';
import { type Manifest, NO_TICK } from '../format/manifest-types.ts';
import type { JobsFile } from '../lsm/manifest/compactions-store.ts';
import type { ManifestLog } from '../lsm/manifest/manifest-log.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import type { TableStore } from '../lsm/tree/table-store.ts';
import type { OpenLosses } from './commit.ts';
import type { CompactionPlan, OutputForm } from './compaction-plan.ts';
import type { DamageMarks } from './damage-marks.ts';
import { type ChosenJob, chooseJobs, type JobChoice } from './job-choice.ts';
import { keptWhole, planJob } from './job-planning.ts';
import { pickJobs } from './scheduler.ts';
import { onCopies } from './scheduler-call.ts';
import { type RowFacts, type Scheduler, type SchedulerOptions, treeFacts } from './scheduling.ts';
import { tablesToKnow } from './trivial-move.ts';

const MAX_INVALID = 3;
/** Of a choice that begins nothing. */
const NO_ID = '0'.repeat(26) as Ulid;

export interface PlannerOptions {
  manifests: Pick<ManifestLog, 'current'>;
  /** Has the ledger of losses. */
  losses: Pick<TableStore, 'loadLedger' | 'lost' | 'ledgerVersion'>;
  marks: DamageMarks;
  /** Absent: the default. */
  scheduler: Scheduler | undefined;
  schedulerOptions: SchedulerOptions;
  output: OutputForm;
  /** Up to when what has expired may go, at most `tickMs`; undefined: nothing may. */
  expireTo(tickMs: number): number | undefined;
  /** What is known of the rows of tables that a manifest names; may read their tails. */
  rowFacts(manifest: LoadedManifest): Promise<(table: Ulid) => RowFacts | undefined>;
  /** Whether tables are moved where nothing has to be written (trivial-move.ts); undefined: no. */
  moves: MoveOptions | undefined;
}

export interface MoveOptions {
  /** Of a full table. */
  fullBytes: number;
  /** Learns what there is to know of the rows of these tables, for `rowFacts`. */
  learn(tables: readonly Ulid[]): Promise<void>;
}

interface Prepared {
  manifest: LoadedManifest;
  losses: OpenLosses;
  rowsOf(table: Ulid): RowFacts | undefined;
}

export interface ChoiceBounds {
  file: JobsFile;
  slots: number;
  leastRunId: number;
  wholeTrees: ReadonlySet<string>;
  drawId(): Ulid;
}

export class Planner {
  readonly #options: PlannerOptions;
  #given: Scheduler | undefined;
  #invalidInRow = 0;
  #prepared: Prepared | undefined;

  constructor(options: PlannerOptions) {
    this.#options = options;
    this.#given = options.scheduler && onCopies(options.scheduler);
  }

  get isDefault(): boolean {
    return this.#given === undefined;
  }

  /**
   * Takes the manifest in use for what follows, as `seen` makes it. Reads the ledger where it may have changed, and tails of tables.
   */
  async prepare(seen: (manifest: Manifest) => Manifest = (m) => m): Promise<void> {
    const { manifests, rowFacts } = this.#options;
    const { current } = manifests;
    const manifest = { ...current, manifest: seen(current.manifest) };
    const losses = await this.openLosses(manifest);
    this.#prepared = { manifest, losses, rowsOf: await rowFacts(manifest) };
  }

  /** Learns of tables what decides whether a job that would be chosen is a move. One GET for each table that nothing is known of. */
  async prepareMoves(bounds: Omit<ChoiceBounds, 'drawId'>): Promise<void> {
    const { moves, rowFacts } = this.#options;
    if (moves === undefined || bounds.slots <= 0) return;
    const { manifest, rowsOf } = this.#setting;
    const trees = treeFacts(manifest.manifest, rowsOf);
    // What is chosen here is chosen again by the file that is then the newest.
    const { jobs } = this.choose({ ...bounds, drawId: () => NO_ID });
    const unknown = jobs.flatMap(({ proposal }) => {
      const tree = trees.find(({ name }) => name === proposal.tree);
      return tree === undefined ? [] : tablesToKnow(proposal, tree, moves.fullBytes);
    });
    if (unknown.length === 0) return;
    await moves.learn(unknown);
    this.#prepared = { ...this.#setting, rowsOf: await rowFacts(manifest) };
  }

  /** The losses that count for a manifest. */
  async openLosses(manifest: LoadedManifest): Promise<OpenLosses> {
    const { losses } = this.#options;
    await losses.loadLedger(manifest);
    return { version: losses.ledgerVersion, open: losses.lost };
  }

  get #setting(): Prepared {
    assertThat(this.#prepared !== undefined, 'a manifest is taken before jobs are chosen (planner 1)');
    return this.#prepared;
  }

  /** Ids of the losses that plans are made with. */
  get knownLosses(): ReadonlySet<string> {
    return new Set(this.#setting.losses.open.map(({ id }) => id));
  }

  /** The manifest that plans are made of. */
  get manifest(): LoadedManifest {
    return this.#setting.manifest;
  }

  choose(bounds: ChoiceBounds): JobChoice {
    const { marks, schedulerOptions: options } = this.#options;
    const { manifest, losses, rowsOf } = this.#setting;
    const { lastL0Seq, recentSnapshotMinSeq } = manifest.manifest;
    return chooseJobs({
      ...bounds,
      trees: treeFacts(manifest.manifest, rowsOf),
      avoid: new Set(marks.tables.keys()),
      nowMs: this.#tickMs() ?? Number.NEGATIVE_INFINITY,
      barrier: recentSnapshotMinSeq,
      lastSeq: lastL0Seq,
      keptWhole: keptWhole(losses.open),
      options,
      scheduler: this.#given ?? pickJobs,
      moveBytes: this.#options.moves?.fullBytes,
    });
  }

  #tickMs(): number | undefined {
    const { lastL0ClockTick } = this.#setting.manifest.manifest;
    return lastL0ClockTick === NO_TICK ? undefined : this.#options.expireTo(Number(lastL0ClockTick));
  }

  plan({ id, proposal, destination }: ChosenJob): CompactionPlan {
    const { manifest, losses } = this.#setting;
    const { output } = this.#options;
    return planJob(id, proposal, destination, { manifest, losses, output, tickMs: this.#tickMs() });
  }

  /** Counts what was invalid of a choice that was acted on; calls `onInvalid` for each, and says whether the scheduler is replaced. */
  count({ verdicts }: JobChoice, onInvalid: (error: InvalidArgumentError, isReplaced: boolean) => void): void {
    for (const error of verdicts) {
      this.#invalidInRow = error === undefined ? 0 : this.#invalidInRow + 1;
      if (error === undefined) continue;
      const isReplaced = this.#given !== undefined && this.#invalidInRow >= MAX_INVALID;
      if (isReplaced) this.#given = undefined;
      onInvalid(error, isReplaced);
    }
  }
}
