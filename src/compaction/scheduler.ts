/**
 * The default scheduler: what SlateDB chooses (size-tiered.ts), and where it chooses nothing in a tree, what gives back space
 * (waste-picks.ts). A pure function: the same trees, the same jobs.
 *
 * ```
 * D1  a tree is under pressure if its level 0 has l0MaxSsts - 2 tables or more: at l0MaxSsts flushes stop, and soon writes
 * D2  under pressure level 0 is merged first, though it has fewer tables than minCompactionSources, or damage leaves fewer of them
 * D3  then the picks by size, the same as SlateDB's unless D2 came first or a tree has runs without tables
 * D4  then at most one job against waste in each tree that got no other; none while a tree under pressure has, or can have, a job of
 *     level 0: it would take time and memory from that one
 * ```
 *
 * 1. No proposal shares a source with another or with an active job, and there are not more than slots.
 */
import type { Proposal, Schedule, SchedulerInput, SchedulerOptions } from './scheduling.ts';
import { pickBySize, pickL0 } from './size-tiered.ts';
import { TreePlan } from './tree-plan.ts';
import { nextExpiry, pickWaste } from './waste-picks.ts';

/** So many tables before the flushes stop, level 0 is urgent: one may be on its way already. */
const PRESSURE_MARGIN = 2;

/** The scheduler that is used unless another one is given. */
export function pickJobs(input: SchedulerInput): Schedule {
  const { options } = input;
  const plans = input.trees
    .map((tree) => new TreePlan(tree, input))
    .sort((a, b) => b.tree.l0.length - a.tree.l0.length);
  const pressed = plans.filter((plan) => isUnderPressure(plan, options));
  const few = pressed.filter(({ tree }) => tree.l0.length < options.minCompactionSources);
  const proposals = relieve(few, input.slots, options);
  proposals.push(...pickBySize(plans, input.slots - proposals.length, options));
  proposals.push(...relieve(pressed, input.slots - proposals.length, options));
  if (!pressed.some((plan) => plan.hasL0Job || plan.freeL0 > 0)) {
    const others = plans.filter(({ tree }) => !proposals.some((proposal) => proposal.tree === tree.name));
    proposals.push(...reduceWaste(others, input.slots - proposals.length, input));
  }
  const times = plans.flatMap((plan) => nextExpiry(plan, input) ?? []);
  return times.length === 0 ? { proposals } : { proposals, wakeAtMs: Math.min(...times) };
}

/** D1. */
function isUnderPressure({ tree }: TreePlan, { l0MaxSsts }: SchedulerOptions): boolean {
  return tree.l0.length >= Math.max(1, l0MaxSsts - PRESSURE_MARGIN);
}

/** D2. */
function relieve(plans: readonly TreePlan[], slots: number, options: SchedulerOptions): Proposal[] {
  return take(plans, slots, (plan) => pickL0(plan, { ...options, minCompactionSources: 1 }, 'pressure'));
}

/** D4. */
function reduceWaste(plans: readonly TreePlan[], slots: number, input: SchedulerInput): Proposal[] {
  return take(plans, slots, (plan) => pickWaste(plan, input));
}

/** One proposal of each plan, which takes it, as long as there are slots. */
function take(plans: readonly TreePlan[], slots: number, pick: (plan: TreePlan) => Proposal | undefined): Proposal[] {
  const proposals: Proposal[] = [];
  for (const plan of plans) {
    if (proposals.length >= slots) break;
    const proposal = pick(plan);
    if (proposal === undefined) continue;
    plan.take(proposal);
    proposals.push(proposal);
  }
  return proposals;
}
