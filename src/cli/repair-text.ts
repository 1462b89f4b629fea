/** What a repair did or would do, in words. */
import type { RepairOutcome, RepairReport } from '../admin.ts';
import { findingsText } from './finding-text.ts';
import type { Style } from './paint.ts';
import {
  commandText,
  count,
  duration,
  facts,
  keyRangeText,
  number,
  seqRangeText,
  size,
  table,
  type View,
  visible,
  wrap,
} from './words.ts';

const MOST_RANGES = 20;

const CANNOT_TELL = ['magenta', 'cannot tell: nothing to repair is known, but not all could be looked at'] as const;

export const OUTCOMES: Record<RepairOutcome, readonly [Style, string]> = {
  clean: ['green', 'clean: nothing to repair'],
  healed: ['green', 'healed: the damage is undone exactly, nothing is lost'],
  reconstructed: ['green', 'reconstructed: all rows are there again'],
  salvaged: ['yellow', 'salvaged: what can be proven is kept, the rest is lost'],
  'consent-needed': ['red', 'consent needed: it is not done without a consent that is named below'],
  unrecoverable: ['red', 'unrecoverable: it cannot be done'],
  obsolete: ['yellow', 'obsolete: the database does not use this object any more'],
};

function headline(report: RepairReport, wanted: boolean): readonly [Style, string] {
  if (report.tool === 'quarantineRestore') return restoreHeadline(report);
  if (report.alreadyDone) return ['green', 'This repair was done before; this is its report.'];
  if (report.applied) return ['green', 'Repaired.'];
  if (report.outcome === 'clean') return ['green', 'Nothing was changed.'];
  if (wanted) return ['red', 'Not repaired. Nothing was changed.'];
  return ['cyan', 'Dry run: nothing was changed.'];
}

/** What is put back is the damaged original: that is no repair, and no row comes or goes. */
function restoreHeadline({ evidence, applied }: RepairReport): readonly [Style, string] {
  if (evidence.length === 0) return ['green', 'Nothing is to be put back. Nothing was changed.'];
  const originals = count(evidence.length, 'original');
  const are = evidence.length === 1 ? 'is' : 'are';
  if (applied) return ['green', `${originals} put back.`];
  return ['cyan', `Dry run: nothing was changed. ${originals} ${are} gone and would be put back.`];
}

function lostText({ lost, lostAtMost, lostExact }: RepairReport['rows']): string {
  if (lostExact) return `${number(lost)} lost`;
  return `at least ${number(lost)} lost, ${lostAtMost === undefined ? 'how many at most is not known' : `at most ${number(lostAtMost)}`}`;
}

export function rowsText({ rows }: RepairReport): string {
  const of = rows.expected === undefined ? '' : ` of ${number(rows.expected)}`;
  const parts = [`${number(rows.recovered)}${of} recovered`];
  if (rows.probable > 0) parts.push(`${number(rows.probable)} probably right`);
  if (rows.suspect > 0) parts.push(`${number(rows.suspect)} suspect`);
  parts.push(lostText(rows));
  return parts.join(', ');
}

/** A repair of manifests that neither brings nor takes rows: "0 recovered" would read as if none were there. */
export function isWithoutRows({ tool, rows }: RepairReport): boolean {
  return tool === 'manifestRepair' && rows.recovered === 0 && rows.lost === 0 && rows.lostExact;
}

function batchesText({ batches }: RepairReport): string | undefined {
  if (batches === undefined) return undefined;
  return `${number(batches.intact)} whole, ${number(batches.dropped)} dropped, ${number(batches.undecided)} undecided`;
}

function ranges(title: string, texts: readonly string[]): string[] {
  if (texts.length === 0) return [];
  const more = texts.length - MOST_RANGES;
  const shown = texts.slice(0, MOST_RANGES).map((t) => `  ${t}`);
  return ['', title, ...shown, ...(more > 0 ? [`  ... and ${number(more)} more`] : [])];
}

/**
 * @param wanted whether the change was asked for and not the plan
 * @param again the command that was run, without `--apply` and `--plan`
 */
export function repairText(report: RepairReport, view: View, wanted: boolean, again: string): string[] {
  const { paint } = view;
  const [headStyle, head] = headline(report, wanted);
  const isUnclear = report.outcome === 'clean' && report.before.some((f) => f.severity === 'unknown');
  const [outcomeStyle, outcome] = isUnclear ? CANNOT_TELL : OUTCOMES[report.outcome];
  const done = report.applied ? '' : 'would be ';
  const { shadowed, ledgerIds } = report;
  if (report.tool === 'quarantineRestore') {
    return [
      paint('bold', paint(headStyle, head)),
      '',
      ...facts(paint, [
        ['repair', visible(report.repairId)],
        ['cost', `${count(report.requests, 'request')}, ${duration(report.tookMs)}`],
      ]),
      ...copiesText(
        `Copies ${report.applied ? '' : 'that would be '}put back`,
        ['copy', '>size', 'original'],
        report,
        view,
      ),
      ...nextText(report, view, wanted, again),
    ];
  }
  return [
    paint('bold', paint(headStyle, head)),
    '',
    ...facts(paint, [
      ['outcome', paint(outcomeStyle, outcome)],
      ['rows', isWithoutRows(report) ? undefined : rowsText(report)],
      ['batches', batchesText(report)],
      ['shadowed', shadowed > 0 ? `${count(shadowed, 'key')} of lost ranges would show an older value` : undefined],
      ['manifest', report.manifestId === undefined ? undefined : number(report.manifestId)],
      ['ledger', ledgerIds.length > 0 ? `${ledgerIds.map(visible).join(', ')} ${done}recorded` : undefined],
      ['repair', visible(report.repairId)],
      ['cost', `${count(report.requests, 'request')}, ${duration(report.tookMs)}`],
    ]),
    ...lostRangesText(report, view),
    ...copiesText(`Copies ${done}made first`, ['original', '>size', 'copy'], report, view),
    ...ranges(`Objects ${done}written`, report.newObjects.map(visible)),
    ...findingsText(report.before, view, 'without-next'),
    ...nextText(report, view, wanted, again),
  ];
}

/** The loss of a table is between rows that are kept; everything else there is kept as well. */
export function lostRangesText(report: RepairReport, view: View): string[] {
  const bounds = report.tool === 'sstRepair' ? ' (outer bounds: what is lost is within them)' : '';
  return [
    ...ranges(
      `Lost keys${bounds}`,
      report.lostKeys.map((r) => keyRangeText(r, view.redactKeys)),
    ),
    ...ranges(`Lost sequence numbers${bounds}`, report.lostSeqs.map(seqRangeText)),
  ];
}

function copiesText(title: string, heads: readonly string[], report: RepairReport, view: View): string[] {
  if (report.evidence.length === 0) return [];
  const rows = report.evidence.map((e) => [visible(e.from), size(e.bytes), visible(e.to)]);
  return ['', title, ...table(view.paint, heads, rows).map((l) => `  ${l}`)];
}

/** The tools know their options; the command line says the whole command. */
export function isHowToApply(step: string): boolean {
  return step.includes('--plan');
}

/** `again`: the command that was run, without `--apply` and `--plan`. */
export function applyCommand(
  { planHash, missingConsent }: Pick<RepairReport, 'planHash' | 'missingConsent'>,
  again: string,
): string | undefined {
  const accept = missingConsent.includes('loss') ? ' --accept-loss' : '';
  return planHash && `${again} --apply --plan ${planHash}${accept}`;
}

function nextText(report: RepairReport, view: View, wanted: boolean, again: string): string[] {
  const { paint } = view;
  const isPlan = !report.applied && !wanted && report.outcome !== 'consent-needed' && report.planHash !== undefined;
  const apply = isPlan ? applyCommand(report, again) : undefined;
  // How to apply is said below, with the whole command.
  const steps = report.nextSteps.filter((s) => !isHowToApply(s)).map((s) => commandText(s, view));
  const lines = steps.flatMap((s) =>
    s.startsWith('shaledb ') ? [`  ${paint('cyan', s)}`] : wrap(s, view.columns - 2).map((l) => `  ${l}`),
  );
  return [
    ...(lines.length > 0 ? ['', isPlan ? paint('yellow', 'What to know first') : 'Next', ...lines] : []),
    ...(apply === undefined ? [] : ['', 'To do exactly this', `  ${paint('cyan', apply)}`]),
  ];
}
