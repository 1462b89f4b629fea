/** `shaledb repair`: everything that a check asks for, in the right order, with one plan. */
import type { RepairAllOptions, RepairAllReport, RepairProgress } from '../admin.ts';
import { type Call, type Command, LOCATION, LOSS_OPTIONS, REPAIR_OPTIONS } from './command.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { repairAllText } from './repair-all-text.ts';
import { assertPlanOptions } from './repair-call.ts';
import { CHECK_LEVELS } from './sst-commands.ts';
import { count } from './words.ts';

const { 'accept-loss': ACCEPT_LOSS } = LOSS_OPTIONS;

export const REPAIR: Command = {
  name: ['repair'],
  summary: 'repairs everything that doctor finds, in the right order, with one plan',
  about: [
    'Checks the database as doctor does, then repairs the manifest, each damaged table and the log, in this order: the same as the single repairs one after the other. Without --apply it shows all steps, what each would lose, and one hash, and writes nothing: the steps are tried in memory.',
    'Originals are copied to quarantine first; nothing is overwritten or deleted. If a step loses rows, or may, nothing at all is applied unless --accept-loss says that this is known: exit code 5.',
    'May be interrupted and run again with the same words: it goes on where it stopped. Where nothing is damaged nothing is changed.',
  ],
  operands: [LOCATION],
  options: {
    ...REPAIR_OPTIONS,
    level: { kind: 'choice', choices: CHECK_LEVELS, says: 'how deep tables are checked for damage; default cross' },
    'accept-loss': ACCEPT_LOSS,
    'accept-resurrection': { kind: 'flag', says: 'older values of lost keys may show through' },
  },
  examples: [
    { line: 'repair file:///var/lib/db', says: 'what would be repaired and lost; changes nothing' },
    { line: 'repair file:///var/lib/db --apply --plan p-0123456789abcdef01234567', says: 'do exactly what was shown' },
    { line: 'repair s3://bucket/db --apply --accept-loss', says: 'also if rows are lost' },
    { line: 'repair s3://bucket/db --apply --json', says: 'repair only if nothing is lost, for scripts' },
  ],
  repairs: true,
  run: repairAll,
};

async function repairAll({ args, printer, tools, common, again }: Call): Promise<ExitCode> {
  const wanted = args.has('apply');
  assertPlanOptions(args);
  const report = await tools.repair(printer.view.location, {
    ...common,
    ...args.members<RepairAllOptions>({
      level: 'level',
      acceptLoss: 'accept-loss',
      acceptResurrection: 'accept-resurrection',
      ifLiveWriter: 'if-live-writer',
      liveCheckMs: 'live-check-ms',
    }),
    apply: args.has('plan') ? { planHash: args.text('plan') } : wanted,
    onProgress: (progress) => printer.progress(progressText(progress)),
  });
  printer.report('repair-all', report, () => repairAllText(report, printer.view, wanted, again));
  return exitOf(report, wanted);
}

const DOING: Readonly<Record<RepairProgress['doing'], string>> = {
  check: 'checking the database',
  plan: 'making a plan',
  apply: 'repairing; interrupt at any time and run the same command again',
};

function progressText({ doing, steps }: RepairProgress): string {
  return steps === 0 ? DOING[doing] : `${DOING[doing]}: ${count(steps, 'step')}`;
}

function exitOf({ applied, outcome, verdict, after, steps }: RepairAllReport, wanted: boolean): ExitCode {
  if (steps.length === 0) {
    if (verdict === 'unknown') return EXIT.unknown;
    return verdict === 'clean' ? EXIT.clean : EXIT.notRepaired;
  }
  if (!applied) return wanted || outcome === 'unrecoverable' ? EXIT.notRepaired : EXIT.damage;
  if (outcome === 'unrecoverable' || after?.verdict === 'corrupt') return EXIT.notRepaired;
  const isWithoutLoss = steps.every(({ rows, ledgerIds }) => rows.lost === 0 && ledgerIds.length === 0);
  return isWithoutLoss ? EXIT.repaired : EXIT.repairedWithLoss;
}
