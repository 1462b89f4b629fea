/** The log in words: one line per object, a map of the whole, and the findings. */
import {
  verdictOf,
  type WalEntry,
  type WalInspectOptions,
  type WalObjectReport,
  type WalObjectState,
} from '../admin.ts';
import { INSPECT_LOG } from '../common/advice.ts';
import { findingCounts, findingsText } from './finding-text.ts';
import { logMap } from './maps.ts';
import type { Style } from './paint.ts';
import { notCheckedText } from './sst-text.ts';
import { commandText, count, keyText, number, size, table, type View } from './words.ts';

const STATE_STYLE: Record<WalObjectState, Style> = {
  ok: 'green',
  fence: 'cyan',
  damaged: 'red',
  unknown: 'magenta',
  missing: 'red',
  obsolete: 'dim',
  foreign: 'yellow',
  'ambiguous-empty': 'yellow',
};

const NOT_CHECKED = ['tables', 'manifests, but for the newest one that is good'];

/** A report without its rows, which can be read only once. */
export type WalSummary = Omit<WalObjectReport, 'entries'>;

/** Which ids were asked for. */
type Asked = Pick<WalInspectOptions, 'from' | 'to'>;

/** The sums over the objects that were looked at, for `--json`. */
export function walSummary(objects: readonly WalSummary[], { from, to }: Asked) {
  const findings = objects.flatMap((o) => o.findings);
  const codes: Record<string, number> = {};
  for (const { code } of findings) codes[code] = (codes[code] ?? 0) + 1;
  const sum = (of: (o: WalSummary) => number) => objects.reduce((n, o) => n + of(o), 0);
  const having = (state: WalObjectState) => objects.filter((o) => o.state === state).length;
  return {
    verdict: verdictOf(findings),
    asked: { from, to },
    objects: objects.length,
    first: objects[0]?.id,
    last: objects.at(-1)?.id,
    damaged: having('damaged'),
    missing: having('missing'),
    neededForRecovery: objects.filter((o) => o.neededForRecovery).length,
    bytes: sum((o) => o.size),
    rows: sum(rowsOf),
    findings: codes,
    notChecked: NOT_CHECKED,
  };
}

const rowsOf = ({ rows }: WalSummary) => rows.total ?? rows.verified;

function nothingThere({ from, to }: Asked, view: View): string[] {
  if (from === undefined && to === undefined) return ['The log is empty.'];
  const ids = [from === undefined ? '' : ` from ${number(from)}`, to === undefined ? ' on' : ` up to ${number(to)}`];
  const all = commandText(INSPECT_LOG, view);
  return [`The log has no object${ids.join('')}; this says nothing about the others.`, `All of it: ${all}`];
}

/** @param all also the objects with which nothing is wrong */
export function walText(objects: readonly WalSummary[], view: View, all: boolean, asked: Asked = {}): string[] {
  if (objects.length === 0) return nothingThere(asked, view);
  const { paint } = view;
  const shown = all ? objects : objects.filter((o) => !isQuiet(o));
  const findings = objects.flatMap((o) => o.findings);
  const heads = ['>id', 'state', '>size', '>epoch', 'seqs', '>rows', '>batches', 'chain', 'replayed', 'also in'];
  const hidden = objects.length - shown.length;
  return [
    ...logMap(objects, view),
    ...(shown.length > 0
      ? [
          '',
          ...table(
            paint,
            heads,
            shown.map((o) => walRow(o, view)),
          ),
        ]
      : []),
    ...(hidden > 0 ? [paint('dim', `${count(hidden, 'healthy object')} hidden (--all shows all).`)] : []),
    ...findingsText(findings, view),
    '',
    totals(objects, findingCounts(findings)),
    ...notCheckedText(NOT_CHECKED, view),
  ];
}

const isQuiet = (o: WalSummary) => (o.state === 'ok' || o.state === 'fence') && o.findings.length === 0;

function totals(objects: readonly WalSummary[], findings: string): string {
  const bytes = objects.reduce((sum, o) => sum + o.size, 0);
  const needed = objects.filter((o) => o.neededForRecovery).length;
  const rows = objects.reduce((sum, o) => sum + rowsOf(o), 0);
  return `${count(objects.length, 'object')}, ${size(bytes)}, ${count(rows, 'row')}; an opening replays ${number(needed)}. ${findings}.`;
}

function walRow(o: WalSummary, view: View): string[] {
  const { rows, batches } = o;
  const of = (good: number, total: number | undefined) =>
    total === undefined ? number(good) : good === total ? number(total) : `${number(good)}/${number(total)}`;
  const seqs = o.seqs === undefined ? '' : `${number(o.seqs.min)}..${number(o.seqs.max)}`;
  return [
    number(o.id),
    view.paint(STATE_STYLE[o.state], o.sealed ? o.state : `${o.state}, unsealed`),
    o.state === 'missing' ? '' : size(o.size),
    o.epoch === undefined ? '' : number(o.epoch),
    seqs,
    rows.probable > 0 ? `${of(rows.verified, rows.total)} + ${number(rows.probable)}?` : of(rows.verified, rows.total),
    of(batches.intact, batches.total),
    o.chain === 'broken' ? view.paint('red', 'broken') : o.chain,
    o.neededForRecovery ? 'yes' : 'no',
    o.alsoIn === 'nowhere' ? '' : o.alsoIn,
  ];
}

/** One row of an object. */
export function walEntryText(entry: WalEntry, view: View): string {
  const { paint } = view;
  const value =
    entry.value === undefined ? `${count(entry.valueBytes, 'byte')}` : keyText(entry.value, view.redactKeys);
  const trust = entry.trust === 'good' ? '' : `  ${paint('yellow', entry.trust)}`;
  const end = entry.op === 'delete' ? '' : `  ${paint('dim', value)}`;
  return `${number(entry.seq).padStart(12)}  ${entry.op.padEnd(6)}  ${keyText(entry.key, view.redactKeys)}${end}${trust}`;
}
