/**
 * Runs the merges of one thread by turns, as its owner asks for it by messages. No I/O; which thread it is in is none of its business.
 *
 * ```
 * turn     of each merge that can go on: at most SLICE_MS of steps, then its events in one message
 * between  a turn of the event loop, in which messages come in
 * ```
 *
 * 1. A merge waits while a stretch is missing without which it cannot go on, while a block is bad, while `PARTS_AHEAD` parts are not taken, and
 *    while the next table has no name. With nothing that can go on, the thread sleeps.
 * 2. What a step throws ends its merge, not the others.
 */
import { present } from '../common/assert.ts';
import { ignoreRejection, SLICE_MS } from '../common/async.ts';
import { describeThrown } from '../common/callbacks.ts';
import type { Clock } from '../common/clock.ts';
import { errorToJson } from '../common/error-json.ts';
import { InternalError, isDbError } from '../common/errors.ts';
import { loadModule } from '../common/module-ref.ts';
import { type BlockCodec, loadCodec } from '../format/codecs.ts';
import type { Codec } from '../format/table-info.ts';
import { type MergeOperator, OPERATOR_CHECK } from '../lsm/rows/merge-operator.ts';
import type { CompactionFilter } from './compaction-filter.ts';
import { type MergeEvent, ROWS_PER_MERGE_STEP } from './merge-host.ts';
import { type FromThread, memoryOf, PARTS_AHEAD, type ThreadStart, type ToThread } from './merge-messages.ts';
import { type MergeParts, MergeStep } from './merge-step.ts';
import { type OutputName, sealOf } from './output-seal.ts';
import { FILTER_CHECK } from './settings.ts';

export interface MergeLoopOptions {
  clock: Clock;
  post(message: FromThread, memory: ArrayBuffer[]): void;
}

interface LoopedMerge {
  id: number;
  /** Undefined: it is being made. */
  step: MergeStep | undefined;
  /** What came before there was a step. */
  early: ToThread[];
  names: OutputName[];
  /** Tables that have come out, and may come out as they have names. */
  tables: number;
  tablesNamed: number;
  /** Inputs of which a stretch was asked for and has not come. */
  asked: Set<number>;
  partsAhead: number;
  /** What must come first. */
  waitsFor: 'stretch' | 'heal' | undefined;
  /** It has met operands that the owner's operator has to fold. */
  needsOperator: boolean;
  events: MergeEvent[];
}

export class MergeLoop {
  readonly #options: MergeLoopOptions;
  readonly #merges = new Map<number, LoopedMerge>();
  #isRunning = false;

  constructor(options: MergeLoopOptions) {
    this.#options = options;
  }

  take(message: ToThread): void {
    if (message.kind === 'begin') {
      this.#begin(message.work, message.start);
      return;
    }
    const merge = this.#merges.get(message.work);
    // It has failed, which the owner does not know yet.
    if (merge === undefined) return;
    if (message.kind === 'close') this.#merges.delete(merge.id);
    else if (merge.step === undefined) merge.early.push(message);
    else {
      this.#guarded(merge, (step) => apply(merge, step, message));
      this.#wake();
    }
  }

  #begin(id: number, start: ThreadStart): void {
    const merge: LoopedMerge = {
      id,
      step: undefined,
      early: [],
      names: [],
      tables: 0,
      tablesNamed: 0,
      asked: new Set(),
      partsAhead: 0,
      waitsFor: undefined,
      needsOperator: false,
      events: [],
    };
    this.#merges.set(id, merge);
    const isMade = stepOf(merge, start).then(
      (step) => {
        merge.step = step;
        this.#guarded(merge, () => {
          for (const message of merge.early) apply(merge, step, message);
        });
        this.#wake();
      },
      (error: unknown) => this.#fail(merge, error),
    );
    ignoreRejection(isMade);
  }

  // ---- turns

  #wake(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    ignoreRejection(this.#run());
  }

  async #run(): Promise<void> {
    for (let isIdle = false; !isIdle; ) {
      await this.#options.clock.yieldToLoop();
      isIdle = true;
      for (const merge of this.#merges.values()) {
        if (!canGoOn(merge)) continue;
        this.#guarded(merge, (step) => this.#turn(merge, step));
        if (canGoOn(merge)) isIdle = false;
      }
    }
    this.#isRunning = false;
  }

  #turn(merge: LoopedMerge, step: MergeStep): void {
    const { clock } = this.#options;
    const start = clock.monotonicMs();
    let isDone = false;
    while (!isDone && canGoOn(merge) && clock.monotonicMs() - start < SLICE_MS) isDone = oneStep(merge, step);
    if (!isDone) askAhead(merge, step);
    else this.#merges.delete(merge.id);
    this.#send(merge);
  }

  #send(merge: LoopedMerge): void {
    const { events } = merge;
    if (events.length === 0) return;
    merge.events = [];
    const memory = events.flatMap((event) => (event.kind === 'part' ? memoryOf(event.bytes) : []));
    this.#options.post({ kind: 'events', work: merge.id, events }, memory);
  }

  #guarded(merge: LoopedMerge, work: (step: MergeStep) => void): void {
    try {
      work(present(merge.step, 'a merge has begun before it goes on'));
    } catch (error) {
      this.#fail(merge, error);
    }
  }

  #fail({ id, needsOperator }: LoopedMerge, error: unknown): void {
    if (!this.#merges.delete(id)) return;
    if (needsOperator) {
      this.#options.post({ kind: 'operator', work: id }, []);
      return;
    }
    const known = isDbError(error) ? error : new InternalError(describeThrown(error), { cause: error });
    this.#options.post({ kind: 'failed', work: id, error: errorToJson(known) }, []);
  }
}

async function stepOf(merge: LoopedMerge, start: ThreadStart): Promise<MergeStep> {
  const { settings, seals } = start;
  const codecs = new Map<Codec, BlockCodec>();
  for (const name of start.codecs) codecs.set(name, await loadCodec(name));
  const filter = start.filter && (await loadModule<CompactionFilter>(start.filter, 'compactionFilter', FILTER_CHECK));
  const makeSeal: MergeParts['makeSeal'] = (facts, place) => sealOf(seals, merge.names.shift(), facts, place);
  const operator =
    start.operator === 'elsewhere'
      ? operatorElsewhere(merge)
      : start.operator && (await loadModule<MergeOperator>(start.operator, 'mergeOperator', OPERATOR_CHECK));
  return new MergeStep(settings, { codecs, operator, filter, makeSeal });
}

/** In place of one that this thread does not have: where it is needed, the merge goes back to the owner's thread. */
function operatorElsewhere(merge: LoopedMerge): MergeOperator {
  return {
    merge: () => {
      merge.needsOperator = true;
      throw new InternalError('the merge operator is on another thread');
    },
  };
}

function apply(merge: LoopedMerge, step: MergeStep, message: ToThread): void {
  switch (message.kind) {
    case 'feed':
      step.feed(message.input, message.stretch);
      answered(merge, message.input);
      break;
    case 'end':
      step.end(message.input);
      answered(merge, message.input);
      break;
    case 'heal':
      step.heal(message.input, message.block);
      merge.waitsFor = undefined;
      break;
    case 'name':
      merge.names.push(message.name);
      merge.tablesNamed++;
      break;
    case 'taken':
      merge.partsAhead--;
      break;
  }
}

/** If it was another input that the merge waits for, the next step says so. */
function answered(merge: LoopedMerge, input: number): void {
  merge.asked.delete(input);
  if (merge.waitsFor === 'stretch') merge.waitsFor = undefined;
}

function canGoOn({ step, waitsFor, partsAhead, tables, tablesNamed }: LoopedMerge): boolean {
  return step !== undefined && waitsFor === undefined && partsAhead < PARTS_AHEAD && tables < tablesNamed;
}

/** True: the merge is at its end. */
function oneStep(merge: LoopedMerge, step: MergeStep): boolean {
  const result = step.step(ROWS_PER_MERGE_STEP);
  switch (result.kind) {
    case 'more':
      return false;
    case 'need':
      ask(merge, result.input);
      merge.waitsFor = 'stretch';
      return false;
    case 'bad':
      merge.waitsFor = 'heal';
      break;
    case 'part':
      merge.partsAhead++;
      break;
    case 'table':
      merge.tables++;
      break;
  }
  merge.events.push(result);
  return result.kind === 'done';
}

function ask(merge: LoopedMerge, input: number): void {
  if (merge.asked.has(input)) return;
  merge.asked.add(input);
  merge.events.push({ kind: 'need', input });
}

function askAhead(merge: LoopedMerge, step: MergeStep): void {
  for (const input of step.starving()) ask(merge, input);
}
