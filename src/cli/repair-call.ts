/** What all repairs have in common: plan or apply, report, exit code. */
import type { RepairReport } from '../admin.ts';
import { UsageError } from './arguments.ts';
import type { Call } from './command.ts';
import { type ExitCode, exitOfRepair } from './exit-codes.ts';
import { repairText } from './repair-text.ts';
import type { Apply, LiveWriter } from './tools.ts';

/** What all repairs take. */
interface CommonOptions {
  apply: Apply;
  ifLiveWriter?: LiveWriter;
  liveCheckMs?: number;
}

export async function runRepair(
  call: Call,
  repair: (common: CommonOptions) => Promise<RepairReport>,
): Promise<ExitCode> {
  const { args, printer, again } = call;
  const wanted = args.has('apply');
  if (args.has('plan') && !wanted) throw new UsageError('--plan needs --apply: alone it would do nothing.');
  printer.progress(wanted ? 'repairing; interrupt at any time and run the same command again' : 'making a plan');
  const report = await repair({
    apply: args.has('plan') ? { planHash: args.text('plan') } : wanted,
    ...args.members<CommonOptions>({ ifLiveWriter: 'if-live-writer', liveCheckMs: 'live-check-ms' }),
  });
  printer.report('repair', report, () => repairText(report, printer.view, wanted, again));
  return exitOfRepair(report, wanted);
}
