/** Findings in words. Each ends with the command to run next, and what it would lose. */
import {
  CHECK_TABLES,
  DOCTOR,
  inspectLogObjects,
  inspectTable,
  REPAIR_LOG,
  REPAIR_MANIFEST,
} from '../common/advice.ts';
import { shellWord } from '../common/shell-word.ts';
import { type Finding, SEVERITY_RANK, type Severity } from '../index.ts';
import type { Style } from './paint.ts';
import {
  commandText,
  count,
  keyRangeText,
  NO_LOCATION,
  number,
  seqRangeText,
  size,
  type View,
  visible,
  wrap,
} from './words.ts';

/** Columns before the text of a line, and the least that a text gets after them. */
const NAME_COLUMNS = 12;
const LEAST_TEXT = 30;

/** A terminal is no place for more; `--json` has all. */
const MOST_SHOWN = 200;

export const SEVERITY_STYLE: Record<Finding['severity'], Style> = {
  error: 'red',
  unknown: 'magenta',
  warning: 'yellow',
  note: 'dim',
};

const REMEDY: Record<Finding['remedy'], string | undefined> = {
  heals: 'can be undone exactly',
  'heals-probably': 'can probably be undone: the checksum alone says how',
  rebuilds: 'can be rebuilt from what is intact',
  salvages: 'some rows can be saved',
  none: 'cannot be recovered from this object',
  untried: undefined,
};

const LOSS: Record<Finding['hint']['lossIfRepaired'], string> = {
  none: 'loses nothing',
  possible: 'may lose rows; shows which before it changes anything',
  certain: 'loses rows; shows which before it changes anything',
  unknown: 'shows what it would lose before it changes anything',
};

const ORIGIN: Record<Finding['origin'], string | undefined> = {
  'in-flight': 'arose on the way, not in the store',
  cache: 'in a cache only',
  'at-rest': 'in the store',
  'before-upload': 'before it was uploaded: a fault of the writer or its memory',
  replaced: 'another object is stored in its place',
  unknown: undefined,
};

/** What to run next about a finding; every command shows a plan before it changes anything. */
export function nextCommands(finding: Finding, view: Pick<View, 'location' | 'root' | 'running'>): string[] {
  // A copy of one object belongs to no database, so nothing could be run as it stands.
  if (view.location === NO_LOCATION) return [];
  const given = finding.hint.commands.map((c) => commandText(c, view)).filter((c) => c !== view.running);
  // What cannot be read must not be repaired, about a note there is nothing to do, and a folder that is gone can only be restored.
  const isWithout =
    given.length > 0 ||
    finding.severity === 'unknown' ||
    finding.severity === 'note' ||
    finding.object.path.endsWith('/');
  return isWithout ? given : [commandText(defaultCommand(finding), view)];
}

function defaultCommand({ object: { role, id }, severity }: Finding): string {
  switch (role) {
    case 'table':
      // Findings that a repair answers name it themselves.
      return id === '' ? CHECK_TABLES : inspectTable(id);
    case 'wal':
      // A warning alone is about something that is no longer needed.
      if (severity === 'error') return REPAIR_LOG;
      return inspectLogObjects(walNumber(id), walNumber(id));
    case 'manifest':
      return REPAIR_MANIFEST;
    default:
      return DOCTOR;
  }
}

/** Objects of the log are named with leading zeros. */
function walNumber(id: string): string {
  return shellWord(id.replace(/^0+(?=\d)/, ''));
}

function placeText({ at, object }: Finding): string {
  const unit = at.index === undefined ? at.unit : `${at.unit} ${number(at.index)}`;
  const bytes = at.length > 0 ? `${count(at.length, 'byte')} from ${number(at.offset)}` : `at ${number(at.offset)}`;
  const sizes =
    object.expectedSize !== undefined && object.size !== undefined && object.expectedSize !== object.size
      ? `; ${size(object.size)} of ${size(object.expectedSize)} are there`
      : '';
  return at.unit === 'object' && at.offset === 0 && at.length === 0
    ? `the object${sizes}`
    : `${unit}, ${bytes}${sizes}`;
}

function affectsText({ affects }: Finding, redact: boolean): string | undefined {
  const parts = [
    affects.keys && keyRangeText(affects.keys, redact),
    affects.seqs && seqRangeText(affects.seqs),
    affects.rows === undefined ? undefined : count(affects.rows, 'row'),
    affects.batches === undefined ? undefined : count(affects.batches, 'batch', 'batches'),
  ].filter((p): p is string => p !== undefined);
  return parts.length === 0 ? undefined : parts.join(', ');
}

function readsText({ reads, origin }: Finding): string | undefined {
  const where = ORIGIN[origin];
  const often =
    reads.attempts > 1
      ? `read ${number(reads.attempts)} times, ${reads.identical ? 'always the same' : 'not always the same'}`
      : undefined;
  const parts = [where, often].filter((p): p is string => p !== undefined);
  return parts.length === 0 ? undefined : parts.join('; ');
}

/** A repair's report has its own next step. */
export type NextStep = 'with-next' | 'without-next';

export function findingText(finding: Finding, view: View, nextStep: NextStep = 'with-next'): string[] {
  const { paint } = view;
  const { expected, found, hint } = finding;
  const lines: [string, string | undefined][] = [
    ['where', placeText(finding)],
    ['affects', affectsText(finding, view.redactKeys)],
    ['expected', expected === undefined ? undefined : visible(expected)],
    ['found', found === undefined ? undefined : visible(found)],
    ['damage', readsText(finding)],
    ['remedy', REMEDY[finding.remedy]],
    ['advice', hint.summary === '' || nextStep === 'without-next' ? undefined : visible(hint.summary)],
  ];
  const head = `${paint(SEVERITY_STYLE[finding.severity], finding.severity)} ${paint('bold', finding.code)} ${visible(finding.object.path)}`;
  const body = lines.flatMap(([name, value]) =>
    value === undefined
      ? []
      : wrap(value, Math.max(LEAST_TEXT, view.columns - NAME_COLUMNS)).map(
          (text, i) => `  ${paint('dim', (i === 0 ? name : '').padEnd(8))}  ${text}`,
        ),
  );
  if (nextStep === 'without-next') return [head, ...body];
  const next = nextCommands(finding, view).map((command, i) => {
    const loss = / repair /.test(command) ? `  ${paint('dim', `(${LOSS[hint.lossIfRepaired]})`)}` : '';
    return `  ${paint('dim', (i === 0 ? 'next' : '').padEnd(8))}  ${paint('cyan', command)}${loss}`;
  });
  return [head, ...body, ...next];
}

/** All findings, the worst first, with an empty line before each. */
export function findingsText(findings: readonly Finding[], view: View, nextStep?: NextStep): string[] {
  const sorted = [...findings].sort((a, b) => SEVERITY_RANK[a.severity] - SEVERITY_RANK[b.severity]);
  const lines = sorted.slice(0, MOST_SHOWN).flatMap((f) => ['', ...findingText(f, view, nextStep)]);
  const more = sorted.length - MOST_SHOWN;
  return more > 0 ? [...lines, '', `... and ${count(more, 'finding')} more; --json lists all.`] : lines;
}

/** `2 errors, 1 warning, 1 unknown`. */
export function findingCounts(findings: readonly Finding[]): string {
  const of = (severity: Finding['severity']) => findings.filter((f) => f.severity === severity).length;
  const severities = Object.keys(SEVERITY_RANK) as Severity[];
  const parts = severities.flatMap((s) => (of(s) > 0 ? [count(of(s), s, s === 'unknown' ? s : `${s}s`)] : []));
  return parts.length === 0 ? 'nothing found' : parts.join(', ');
}
