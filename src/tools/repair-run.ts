/**
 * The order in which every repair changes a database, so that it can be cut off at any moment and done again:
 *
 * plan → (without `apply` it ends here) → signs of life → copies in quarantine, verified → the plan object → both epochs and a
 * fence in the log → the plan again, now that nobody else writes → new tables, read back → ledger → are all new tables there →
 * one manifest → report.
 */
import type { RepairPlan, RepairTask } from './repair-plan.ts';
import type { RepairReport } from './reports.ts';
import type { ToolTarget } from './target.ts';

/** Runs a repair, or says what it would do. */
export async function runRepair(_target: ToolTarget, _task: RepairTask): Promise<RepairReport> {
  throw new Error('unfinished');
}

export type { RepairPlan, RepairTask };
