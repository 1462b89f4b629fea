/** What all repairs have in common: plan or apply, report, exit code. */
import type { RepairReport, ToolOptions, WalRepairOptions } from '../admin.ts';
import { type Arguments, UsageError } from './arguments.ts';
import type { Call } from './command.ts';
import { type ExitCode, exitOfRepair } from './exit-codes.ts';
import { applyCommand, isHowToApply, repairText } from './repair-text.ts';

/** What all repairs take. */
type CommonOptions = Pick<WalRepairOptions, 'apply' | 'ifLiveWriter' | 'liveCheckMs' | keyof ToolOptions>;

const PLAN_HASH = /^p-[0-9a-f]{24}$/;

export function assertPlanOptions(args: Arguments): void {
  if (args.has('plan') && !args.has('apply')) throw new UsageError('--plan needs --apply: alone it would do nothing.');
  if (args.has('plan') && !PLAN_HASH.test(args.text('plan'))) {
    throw new UsageError(
      `--plan takes the hash that the plan showed, such as p-0123456789abcdef01234567, not ${JSON.stringify(args.text('plan'))}.`,
    );
  }
}

export async function runRepairCommand(
  call: Call,
  repair: (common: CommonOptions) => Promise<RepairReport>,
): Promise<ExitCode> {
  const { args, printer, again } = call;
  const wanted = args.has('apply');
  assertPlanOptions(args);
  printer.progress(wanted ? 'repairing; interrupt at any time and run the same command again' : 'making a plan');
  const report = await repair({
    ...call.common,
    apply: args.has('plan') ? { planHash: args.text('plan') } : wanted,
    ...args.members<CommonOptions>({ ifLiveWriter: 'if-live-writer', liveCheckMs: 'live-check-ms' }),
  });
  const shown = {
    ...report,
    nextSteps: report.nextSteps.map((s) => (isHowToApply(s) ? (applyCommand(report, again) ?? s) : s)),
  };
  if (printer.json) printer.document('repair', shown);
  else printer.lines(repairText(report, printer.view, wanted, again));
  return exitOfRepair(report, wanted);
}
