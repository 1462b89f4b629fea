/**
 * Which jobs begin now: those that others have submitted, those of a compaction of everything, and those that the scheduler proposes,
 * in this order. A pure function of the trees, the compactions file, the scheduler and what it is given.
 *
 * 1. Each is checked (proposal.ts) beside those that are active and those that were chosen before it, and gets its destination here.
 * 2. A submitted job that cannot be carried out is failed; one that only has to wait for another job, or for a damaged table, stays.
 * 3. An invalid proposal of the scheduler is passed over and counted; what it throws, and an answer that is no schedule, count as one.
 * 4. Where a tree waits for a compaction of everything, the scheduler begins nothing.
 * 5. Only what the scheduler proposes may become a move (trivial-move.ts): what was asked for is written again, whatever it gives back.
 */

import { present } from '../common/assert.ts';
import { describeThrown } from '../common/callbacks.ts';
import { InvalidArgumentError } from '../common/errors.ts';
import type { Ulid } from '../common/ulid.ts';
import type { CompactionJob } from '../format/compactions-codec.ts';
import type { JobsFile } from '../lsm/manifest/compactions-store.ts';
import { isSameView } from '../lsm/manifest/tree-edits.ts';
import { activeJob, activeJobs, finishedDestinations, waitingJobs } from './job-list.ts';
import {
  destinationOf,
  findFault,
  findSubmissionFault,
  freshRunId,
  type InvalidProposal,
  type ProposalFault,
} from './proposal.ts';
import { askedSchedule, type ReadSchedule, schedulerError } from './scheduler-call.ts';
import type { ActiveJob, Proposal, Scheduler, SchedulerInput, TreeFacts, ViewFacts } from './scheduling.ts';
import { isTrivialMove } from './trivial-move.ts';

/** What only time or the end of another job takes away. */
const PASSING: readonly ProposalFault[] = ['source-in-use', 'second-l0-job', 'destination-in-use', 'damaged-source'];

/** The reason of a job of a whole tree that was asked for. */
export const EVERYTHING = 'everything';
/** The reason of one that was submitted, by another process as a rule. */
export const SUBMITTED = 'submitted';

export interface ChoiceInput extends Omit<SchedulerInput, 'active'> {
  file: JobsFile;
  /** No run gets an id below it: runs of that id may still be named somewhere. */
  leastRunId: number;
  scheduler: Scheduler;
  /** Trees that are to become one run each. */
  wholeTrees: ReadonlySet<string>;
  /** Bytes of a full table, by which a job is a move; undefined: none is. */
  moveBytes: number | undefined;
  /** The id of the next new job, above all that the file names and those that were drawn before. */
  drawId(): Ulid;
}

/** A job that begins. */
export interface ChosenJob {
  id: Ulid;
  proposal: Proposal;
  destination: number;
  /** Its tables go into the destination as they are. */
  isMove: boolean;
}

export interface JobChoice {
  jobs: ChosenJob[];
  /** Drains that were submitted and are valid. */
  drains: ActiveJob[];
  /** Jobs that were submitted and can never be carried out. */
  failed: { id: Ulid; fault: InvalidProposal }[];
  /** Of each proposal of the scheduler in turn: what is invalid (`COMPACTION_INVALID`), or undefined. */
  verdicts: (InvalidArgumentError | undefined)[];
  /** Whole trees that have nothing to be merged, or cannot be. */
  whole: { tree: string; fault: InvalidProposal | undefined }[];
  /** Of the scheduler. */
  wakeAtMs: number | undefined;
}

/** Whether a tree has nothing to merge: it is empty, or one run. A table of level 0 is none. */
export function isOneRun({ l0, runs }: ShapeOfTree): boolean {
  return l0.length === 0 && runs.filter(({ views }) => views.length > 0).length <= 1;
}

interface ShapeOfTree {
  readonly l0: readonly unknown[];
  readonly runs: readonly { readonly views: readonly unknown[] }[];
}

export function chooseJobs(input: ChoiceInput): JobChoice {
  const choosing = new Choosing(input);
  for (const job of waitingJobs(input.file).submitted) choosing.takeSubmitted(job);
  for (const tree of input.wholeTrees) choosing.takeWhole(tree);
  choosing.askScheduler();
  return choosing.choice;
}

class Choosing {
  readonly choice: JobChoice = {
    jobs: [],
    drains: [],
    failed: [],
    verdicts: [],
    whole: [],
    wakeAtMs: undefined,
  };
  readonly #input: ChoiceInput;
  /** Jobs that run, and those that were chosen. */
  readonly #active: ActiveJob[];
  /** Submitted, and not begun: nobody else takes their sources. */
  readonly #reserved: ActiveJob[];

  constructor(input: ChoiceInput) {
    this.#input = input;
    const submitted = waitingJobs(input.file).submitted.map(({ id }) => id);
    const active = activeJobs(input.file);
    this.#active = active.filter(({ id }) => !submitted.includes(id));
    this.#reserved = active.filter(({ id }) => submitted.includes(id));
  }

  get #slots(): number {
    return this.#input.slots - this.choice.jobs.length;
  }

  /** The id of the next new run; the destination of the job `but` does not count. */
  #fresh(but?: Ulid): number {
    const { trees, file, leastRunId } = this.#input;
    const jobs = [...this.#active, ...this.#reserved].filter(({ id }) => id !== but);
    return Math.max(leastRunId, freshRunId(trees, jobs, finishedDestinations(file)));
  }

  takeSubmitted(entry: CompactionJob): void {
    const job = this.#named(activeJob(entry));
    const situation = { ...this.#input, active: this.#active };
    const fault = findSubmissionFault(situation, job, freshRunId(this.#input.trees, this.#active, []));
    if (fault !== undefined) {
      if (!PASSING.includes(fault.fault)) this.#fail(job.id, fault);
      return;
    }
    if (job.destination === undefined) this.choice.drains.push(job);
    else if (this.#slots > 0) this.#begin(job.id, this.#proposalOf(job), job.destination);
  }

  /** Version 1 stores no destination of a job without runs: it gets one here. */
  #named(job: ActiveJob): ActiveJob {
    const isStored = this.#input.file.compactions.headerVersion === 2 || job.runs.length > 0;
    return isStored ? job : { ...job, destination: this.#fresh(job.id) };
  }

  #fail(id: Ulid, fault: InvalidProposal): void {
    this.choice.failed.push({ id, fault });
    this.#release(id);
  }

  #release(id: Ulid): void {
    const at = this.#reserved.findIndex((job) => job.id === id);
    if (at >= 0) this.#reserved.splice(at, 1);
  }

  #proposalOf({ tree: name, l0ViewIds, runs }: ActiveJob): Proposal {
    const tree = this.#input.trees.find((other) => other.name === name);
    const l0 = tree?.l0.filter(({ viewId }) => l0ViewIds.includes(viewId)) ?? [];
    const isWhole = l0.length === tree?.l0.length && runs.length === tree.runs.length;
    const reason = isWhole && this.#input.wholeTrees.has(name) ? EVERYTHING : SUBMITTED;
    return { tree: name, l0, runs, reason };
  }

  /** One job of everything in the tree, as soon as no other job is in it. */
  takeWhole(name: string): void {
    const tree = this.#input.trees.find((other) => other.name === name);
    if (tree === undefined || isOneRun(tree)) {
      this.choice.whole.push({ tree: name, fault: undefined });
      return;
    }
    if (this.#slots <= 0 || [...this.#active, ...this.#reserved].some((job) => job.tree === name)) return;
    const proposal = { tree: name, l0: tree.l0, runs: tree.runs.map(({ id }) => id), reason: EVERYTHING };
    const fault = findFault({ ...this.#input, active: this.#active }, proposal);
    if (fault === undefined) this.#begin(this.#input.drawId(), proposal, destinationOf(proposal, this.#fresh()));
    else this.choice.whole.push({ tree: name, fault });
  }

  askScheduler(): void {
    const { scheduler, wholeTrees, avoid, nowMs, barrier, lastSeq, keptWhole, options } = this.#input;
    const trees = this.#input.trees.filter(({ name }) => !wholeTrees.has(name));
    const slots = Math.max(0, this.#slots);
    const active = [...this.#active, ...this.#reserved];
    const input = { trees, active, slots, avoid, nowMs, barrier, lastSeq, keptWhole, options };
    const schedule = this.#asked(scheduler, input);
    if (schedule === undefined) return;
    this.choice.wakeAtMs = schedule.wakeAtMs;
    for (const proposal of schedule.proposals) {
      if (proposal instanceof InvalidArgumentError) this.choice.verdicts.push(proposal);
      else this.#takeProposal(proposal);
    }
  }

  #asked(scheduler: Scheduler, input: SchedulerInput): ReadSchedule | undefined {
    try {
      return askedSchedule(scheduler, input);
    } catch (error) {
      const message = `The scheduler of compactions threw: ${describeThrown(error)}`;
      const isOurs = error instanceof InvalidArgumentError && error.code === 'COMPACTION_INVALID';
      this.choice.verdicts.push(
        isOurs ? error : new InvalidArgumentError('COMPACTION_INVALID', message, { cause: error }),
      );
      return undefined;
    }
  }

  #takeProposal(given: Proposal): void {
    const fault = findFault({ ...this.#input, active: [...this.#active, ...this.#reserved] }, given);
    if (fault !== undefined) {
      const { tree, reason } = given;
      this.choice.verdicts.push(schedulerError(fault.fault, fault.message, { tree, reason }));
      return;
    }
    this.choice.verdicts.push(undefined);
    const proposal = { ...given, l0: ownViews(this.#input.trees, given) };
    const destination = destinationOf(proposal, this.#fresh());
    this.#begin(this.#input.drawId(), proposal, destination, this.#isMove(proposal));
  }

  #isMove(proposal: Proposal): boolean {
    const { moveBytes, trees } = this.#input;
    const tree = trees.find(({ name }) => name === proposal.tree);
    return moveBytes !== undefined && tree !== undefined && isTrivialMove(proposal, tree, moveBytes);
  }

  #begin(id: Ulid, proposal: Proposal, destination: number, isMove = false): void {
    this.choice.jobs.push({ id, proposal, destination, isMove });
    this.#release(id);
    const { tree, l0, runs } = proposal;
    this.#active.push({ id, tree, l0ViewIds: l0.map(({ viewId }) => viewId), runs, destination });
  }
}

/** Sources of a valid proposal as the trees have them: facts about them are not the scheduler's. */
function ownViews(trees: readonly TreeFacts[], { tree: name, l0 }: Proposal): ViewFacts[] {
  const own = trees.find((tree) => tree.name === name)?.l0 ?? [];
  return l0.map((view) =>
    present(
      own.find((other) => isSameView(view, other)),
      'a valid proposal names views (P1)',
    ),
  );
}
