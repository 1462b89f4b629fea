/** What a repair of everything did or would do, in words: a verdict, the steps, and what to run next. */
import type { RepairAllReport, RepairReport } from '../admin.ts';
import { findingCounts } from './finding-text.ts';
import type { Style } from './paint.ts';
import { applyCommand, isWithoutRows, lostRangesText, OUTCOMES, rowsText } from './repair-text.ts';
import { VERDICTS } from './verify-text.ts';
import { commandText, count, duration, facts, number, type View, visible, wrap } from './words.ts';

export function repairAllText(report: RepairAllReport, view: View, wanted: boolean, again: string): string[] {
  const { paint, columns } = view;
  const { steps, before, verdict, after } = report;
  const [style, head] = headline(report, wanted);
  const wrapped = (text: string) => wrap(text, columns);
  return [
    ...wrapped(head).map((line) => paint('bold', paint(style, line))),
    '',
    ...facts(paint, [
      ['check', `${verdict}: ${findingCounts(before)}`],
      ['now', after === undefined ? undefined : `${after.verdict}: ${findingCounts(after.findings)}`],
      ['steps', steps.length === 0 ? undefined : number(steps.length)],
      ['cost', `${count(report.requests, 'request')}, ${duration(report.tookMs)}`],
    ]),
    ...steps.flatMap((step, i) => ['', ...stepText(step, i + 1, view)]),
    ...(report.isWhole
      ? []
      : ['', ...wrapped('There is more damage than one plan has room for: repair this, then run it again.')]),
    ...nextText(report, view, wanted, again),
  ];
}

function headline({ steps, applied, outcome, verdict }: RepairAllReport, wanted: boolean): readonly [Style, string] {
  if (steps.length === 0) {
    if (verdict === 'clean') return ['green', 'Nothing to repair. Nothing was changed.'];
    const [style] = VERDICTS[verdict];
    return [style, 'No repair helps against what was found. Nothing was changed.'];
  }
  if (applied) return outcome === 'unrecoverable' ? ['yellow', 'Repaired in part.'] : ['green', 'Repaired.'];
  if (wanted || outcome === 'unrecoverable') return ['red', 'Not repaired. Nothing was changed.'];
  return ['cyan', 'Dry run: nothing was changed.'];
}

const TOOLS: Readonly<Record<RepairReport['tool'], string>> = {
  manifestRepair: 'the manifest',
  sstRepair: 'table',
  walRepair: 'the log',
  quarantineRestore: 'copies in quarantine',
};

function stepText(report: RepairReport, n: number, view: View): string[] {
  const { paint } = view;
  const [style, outcome] = OUTCOMES[report.outcome];
  const table =
    report.tool === 'sstRepair' ? report.before.find(({ object }) => object.role === 'table')?.object.id : undefined;
  const what = `${n}. ${TOOLS[report.tool]}${table === undefined ? '' : ` ${visible(table)}`}`;
  return [
    paint('bold', what),
    ...facts(paint, [
      ['outcome', paint(style, outcome)],
      ['rows', isWithoutRows(report) ? undefined : rowsText(report)],
      ['damage', report.before.length === 0 ? undefined : findingCounts(report.before)],
      ['repair', visible(report.repairId)],
      ['ledger', report.ledgerIds.length === 0 ? undefined : report.ledgerIds.map(visible).join(', ')],
    ]).map((line) => `   ${line}`),
    ...lostRangesText(report, view).map((line) => (line === '' ? '' : `   ${line}`)),
  ];
}

function nextText(report: RepairAllReport, view: View, wanted: boolean, again: string): string[] {
  const { paint, columns } = view;
  const isPlan = !report.applied && !wanted && report.planHash !== undefined;
  const apply = isPlan ? applyCommand(report, again) : undefined;
  const texts = [...new Set(report.nextSteps.map((step) => commandText(step, view)))];
  const lines = texts.flatMap((text) =>
    text.startsWith('shaledb ') ? [`  ${paint('cyan', text)}`] : wrap(text, columns - 2).map((line) => `  ${line}`),
  );
  return [
    ...(lines.length === 0 ? [] : ['', isPlan ? paint('yellow', 'What to know first') : 'Next', ...lines]),
    ...(apply === undefined ? [] : ['', 'To do exactly this', `  ${paint('cyan', apply)}`]),
  ];
}
