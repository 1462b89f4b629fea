/**
 * Asks a scheduler, which may be anyone's code. Whether a proposal can become a job is decided elsewhere (proposal.ts); here, whether it is one.
 *
 * 1. A scheduler that was given gets a copy of its own: what it changes of it changes nothing else.
 * 2. What it returns is read once, and each field that is used has its type afterwards. No job has a view of the scheduler's.
 * 3. A schedule that is none is refused whole; a proposal that is none is refused alone.
 */
import { isBytes } from '../common/bytes.ts';
import { isThenable } from '../common/callbacks.ts';
import { InvalidArgumentError } from '../common/errors.ts';
import { describeValue } from '../common/option-checks.ts';
import type { Proposal, Scheduler, SchedulerInput, ViewFacts } from './scheduling.ts';

/** What a scheduler has returned, in place of each proposal that is none the reason. */
export interface ReadSchedule {
  proposals: (Proposal | InvalidArgumentError)[];
  wakeAtMs: number | undefined;
}

/** The scheduler on copies of its input. */
export function onCopies(scheduler: Scheduler): Scheduler {
  return (input) => scheduler(copied(input) as SchedulerInput);
}

/** Throws `COMPACTION_INVALID` for what is no schedule; passes on what the scheduler throws. */
export function askedSchedule(scheduler: Scheduler, input: SchedulerInput): ReadSchedule {
  const { slots } = input;
  const answer: unknown = scheduler(input);
  // It is refused below, whatever it comes to; without this its rejection would end the process.
  if (isThenable(answer)) answer.then(undefined, () => undefined);
  if (!isRecord(answer))
    throw malformed(`It must return { proposals, wakeAtMs? } at once, not ${describeValue(answer)}.`);
  const { proposals, wakeAtMs } = answer;
  if (!Array.isArray(proposals)) {
    const what = isThenable(answer) ? describeValue(answer) : `proposals: ${describeValue(proposals)}`;
    throw malformed(`It must return { proposals, wakeAtMs? } at once, with an array of proposals, not ${what}.`);
  }
  if (wakeAtMs !== undefined && (typeof wakeAtMs !== 'number' || Number.isNaN(wakeAtMs))) {
    throw malformed(`wakeAtMs must be a number, ms since the epoch, or absent, not ${describeValue(wakeAtMs)}.`);
  }
  return {
    proposals: proposals.slice(0, slots).map(readProposal),
    wakeAtMs: wakeAtMs === Infinity ? undefined : wakeAtMs,
  };
}

/** What is wrong with an answer of the scheduler. */
export function schedulerError(fault: string, message: string, details: object = {}): InvalidArgumentError {
  return new InvalidArgumentError('COMPACTION_INVALID', `The scheduler of compactions: ${message}`, {
    details: { fault, ...details },
  });
}

const malformed = (message: string) => schedulerError('malformed', message);

function readProposal(given: unknown, i: number): Proposal | InvalidArgumentError {
  const name = `proposals[${i}]`;
  if (!isRecord(given)) return malformed(`${name} must be { tree, l0, runs, reason }, not ${describeValue(given)}.`);
  const { tree, l0, runs, reason } = given;
  if (typeof tree !== 'string') return malformed(`${name}.tree must be a string, not ${describeValue(tree)}.`);
  if (typeof reason !== 'string') return malformed(`${name}.reason must be a string, not ${describeValue(reason)}.`);
  if (!Array.isArray(l0)) return malformed(`${name}.l0 must be an array of views, not ${describeValue(l0)}.`);
  if (!Array.isArray(runs)) return malformed(`${name}.runs must be an array of ids, not ${describeValue(runs)}.`);
  const ids: unknown[] = [...runs];
  const noId = ids.findIndex((id) => !Number.isSafeInteger(id));
  if (noId >= 0) return malformed(`${name}.runs[${noId}] must be the id of a run, not ${describeValue(ids[noId])}.`);
  const views: unknown[] = [...l0].map((view: unknown) => (isRecord(view) ? { ...view } : view));
  const noView = views.findIndex((view) => !isView(view));
  if (noView >= 0) {
    const message = `${name}.l0[${noView}] must be a view of the input, with viewId, tableId and visibleRange`;
    return malformed(`${message}, not ${describeValue(views[noView])}.`);
  }
  return { tree, l0: views as ViewFacts[], runs: ids as number[], reason };
}

/** Whether it has what names a view: the other facts are never used. */
function isView(view: unknown): boolean {
  if (!isRecord(view)) return false;
  const { viewId, tableId, visibleRange: range } = view;
  if (typeof viewId !== 'string' || typeof tableId !== 'string') return false;
  return range === undefined || (isRecord(range) && isBound(range['start']) && isBound(range['end']));
}

function isBound(bound: unknown): boolean {
  if (!isRecord(bound)) return false;
  const { kind, key } = bound;
  return kind === 'unbounded' || ((kind === 'included' || kind === 'excluded') && isBytes(key));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** Of plain data, sets of names and bytes. */
function copied(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (isBytes(value)) return new Uint8Array(value);
  if (value instanceof Set) return new Set(value);
  if (Array.isArray(value)) return value.map(copied);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, copied(member)]));
}
