/**
 * Whether a repair may lose what its plan would lose: one rule for every tool that can lose rows.
 *
 * 1. What counts is the most that can be lost. Where nothing bounds it, it exceeds every limit.
 * 2. Consent is `acceptLoss`, or a `maxLoss` that names a limit and is kept. A limit that is exceeded is an error, also with
 *    `acceptLoss`; without any consent nothing is done and the report says so. `acceptLoss: false`, said and not left out, is no
 *    consent to any loss, whatever the limit allows.
 * 3. Asked after the search for a live writer, which would refuse the repair whatever is consented to, and before anything is written (no claim, no fence, no copy, no plan object), and again for the plan that is made when
 *    the database is owned.
 */
import { CorruptionError } from '../common/errors.ts';
import { lostRowsText } from '../recovery/repair-report.ts';
import type { LossOptions, RepairPlan } from './repair-plan.ts';

/** Whether the plan loses rows, or may. */
export function mayLose({ rows, losses }: RepairPlan): boolean {
  return rows.lost > 0 || !rows.lostExact || losses.length > 0;
}

/** Whether the consent covers what the plan would lose; throws if it exceeds `maxLoss`. */
export function isConsented(plan: RepairPlan, consent: LossOptions | undefined): boolean {
  if (consent === undefined || !mayLose(plan)) return true;
  const { acceptLoss, maxLoss } = consent;
  const { rows, walObjects } = maxLoss ?? {};
  const tooMuch: string[] = [];
  const { lostAtMost } = plan.rows;
  if (rows !== undefined && (lostAtMost === undefined || lostAtMost > rows))
    tooMuch.push(`rows: ${lostRowsText(plan.rows)} (--max-lost-rows, maxLoss: ${rows})`);
  const objects = plan.lossyWalObjects ?? 0;
  if (walObjects !== undefined && objects > walObjects)
    tooMuch.push(`rows of WAL objects: ${objects} (--max-lost-objects, maxLoss: ${walObjects})`);
  if (tooMuch.length > 0) throw tooMuchLost(plan, tooMuch.join('; '));
  return acceptLoss ?? (rows !== undefined || walObjects !== undefined);
}

function tooMuchLost(plan: RepairPlan, what: string): CorruptionError {
  if (plan.tooMuchLost !== undefined) return plan.tooMuchLost(what);
  return new CorruptionError(
    `The repair could lose more than maxLoss allows. ${what}. Nothing was repaired.`,
    plan.before.filter((f) => f.severity === 'error'),
  );
}

/** The advice for a loss that the caller has not accepted. */
export function consentAdvice({ rows, lossyWalObjects }: RepairPlan): string {
  const limits = [
    // No limit of rows covers a loss that nothing bounds.
    ...(rows.lostAtMost === undefined
      ? []
      : [`--max-lost-rows ${rows.lostAtMost} (maxLoss: { rows: ${rows.lostAtMost} })`]),
    ...(lossyWalObjects === undefined
      ? []
      : [`--max-lost-objects ${lossyWalObjects} (maxLoss: { walObjects: ${lossyWalObjects} })`]),
  ];
  const limit = limits.length === 0 ? '' : `, or set a limit that covers it with ${limits.join(' or ')}`;
  return `Rows that would be lost: ${lostRowsText(rows)}. To repair nevertheless, accept the loss with --accept-loss (acceptLoss: true)${limit}.`;
}
