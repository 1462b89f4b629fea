/** The versions of a database as a table, and what differs between two of them. */
import type { ManifestDiff, ManifestListReport, ManifestSummary } from '../admin.ts';
import { findingCounts, findingsText } from './finding-text.ts';
import { capital } from './sst-text.ts';
import { count, dateText, duration, facts, keyText, number, size, table, type View, visible, wrap } from './words.ts';

/** From so many columns on there is room for what changed. */
const COLUMNS_FOR_CHANGES = 110;
/** More is for `--json`. */
const MOST_CHANGES = 200;

export function manifestListText(report: ManifestListReport, view: View, shows: { changes: boolean }): string[] {
  const { paint } = view;
  const { manifests, older, boundary } = report;
  return [
    paint('bold', headline(report)),
    '',
    ...(manifests.length === 0 ? [] : [...versionsTable(manifests, view), '']),
    ...facts(paint, [
      ['older', older === 0 ? undefined : `${number(older)} more (--limit)`],
      ['authors', isUnsealed(manifests) ? 'not known: SlateDB writes no seals, which name them' : undefined],
      ['boundary', boundary === undefined ? undefined : `collectors may have deleted those up to ${number(boundary)}`],
      ...pins(manifests),
      ['cost', `${count(report.requests, 'request')}, ${duration(report.tookMs)}`],
    ]),
    ...(shows.changes ? manifests.flatMap((one) => changesOf(one, view)) : []),
    ...findingsText(report.findings, view),
    ...(report.findings.length === 0 ? [] : ['', `${capital(findingCounts(report.findings))}.`]),
  ];
}

function headline({ manifests, older }: ManifestListReport): string {
  const there = manifests.filter(({ state }) => state !== 'missing').length + older;
  if (there === 0) return 'No manifest is left.';
  const newest = manifests.find(({ state }) => state !== 'missing');
  return `${count(there, 'manifest')}${newest === undefined ? '' : `, the newest is ${number(newest.id)}`}.`;
}

const HEADS = ['>id', 'stored (UTC)', '>size', 'author', '>L0', '>runs', '>replay', '>pins'];

function versionsTable(manifests: readonly ManifestSummary[], view: View): string[] {
  const isWide = view.columns >= COLUMNS_FOR_CHANGES;
  const rows = manifests.flatMap((one, i) => {
    const gap = gapBefore(one, manifests[i - 1]);
    const line = rowOf(one, view);
    return [...(gap === undefined ? [] : [['', gap]]), isWide ? [...line, deltaText(one, manifests)] : line];
  });
  return table(view.paint, isWide ? [...HEADS, 'against the one before'] : HEADS, rows);
}

function rowOf(one: ManifestSummary, { paint }: View): string[] {
  const { content, author, state } = one;
  const isGood = state === 'ok';
  const by = isGood ? (author?.role ?? '-') : paint(state === 'unknown' ? 'magenta' : 'red', state);
  return [
    number(one.id),
    one.storedAtMs === undefined ? '-' : dateText(one.storedAtMs),
    size(one.size),
    by,
    content === undefined ? '-' : number(content.l0),
    content === undefined ? '-' : number(content.runs),
    content === undefined ? '-' : number(content.replayAfterWalId),
    one.pinnedBy.length === 0 ? '' : number(one.pinnedBy.length),
  ];
}

/** Manifests between two that are listed were collected, or are gone otherwise. */
function gapBefore({ id }: ManifestSummary, newer: ManifestSummary | undefined): string | undefined {
  const between = newer === undefined ? 0n : newer.id - id - 1n;
  return between > 0n ? `(${number(between)} not there)` : undefined;
}

/** In a few characters: `+1 L0`, `-4 L0 +1 run`. */
function deltaText(one: ManifestSummary, manifests: readonly ManifestSummary[]): string {
  const before = manifests.find(({ id }) => id === one.id - 1n)?.content;
  const now = one.content;
  if (now === undefined) return visible(one.problem ?? '');
  if (before === undefined) return '';
  const delta = (name: string, a: bigint | number, b: bigint | number) => {
    const by = BigInt(b) - BigInt(a);
    return by === 0n ? [] : [`${by > 0n ? '+' : '-'}${number(by > 0n ? by : -by)} ${name}`];
  };
  const parts = [
    ...(now.writerEpoch === before.writerEpoch ? [] : [`writer epoch ${number(now.writerEpoch)}`]),
    ...(now.compactorEpoch === before.compactorEpoch ? [] : [`compactor epoch ${number(now.compactorEpoch)}`]),
    ...delta('L0', before.l0, now.l0),
    ...delta('run', before.runs, now.runs),
    ...delta('checkpoint', before.checkpoints, now.checkpoints),
    ...(now.closed === true ? ['closed'] : []),
  ];
  if (parts.length > 0) return parts.join(', ');
  return one.changes?.length === 0 ? 'nothing' : 'other';
}

/** Whether none of those that can be read has a seal. */
function isUnsealed(manifests: readonly ManifestSummary[]): boolean {
  const good = manifests.filter(({ state }) => state === 'ok');
  return good.length > 0 && good.every(({ author }) => author === undefined);
}

function pins(manifests: readonly ManifestSummary[]): [string, string][] {
  return manifests.flatMap(({ id, pinnedBy }) =>
    pinnedBy.map((name): [string, string] => ['checkpoint', `${visible(name)} keeps ${number(id)}`]),
  );
}

function changesOf({ id, changes, author, storedAtMs }: ManifestSummary, view: View): string[] {
  if (changes === undefined) return [];
  const by =
    author === undefined ? '' : ` by ${author.role}${author.owner === undefined ? '' : ` ${visible(author.owner)}`}`;
  const when = storedAtMs === undefined ? '' : `, ${dateText(storedAtMs)}`;
  return [
    '',
    view.paint('bold', `Manifest ${number(id)}${when}${by}`),
    ...lines(changes.length === 0 ? ['nothing changed'] : changes.map(visible), view),
  ];
}

function lines(texts: readonly string[], { columns }: View): string[] {
  const shown = texts
    .slice(0, MOST_CHANGES)
    .flatMap((text) => wrap(text, columns - 4).map((line, i) => `${i === 0 ? '  ' : '    '}${line}`));
  const more = texts.length - MOST_CHANGES;
  return more > 0 ? [...shown, `  and ${number(more)} more; --json lists all.`] : shown;
}

/** What differs between two versions. */
export function manifestDiffText({ from, to, changes, ...report }: ManifestDiff, view: View): string[] {
  const texts = changes.map(({ text, segment }) =>
    segment === undefined ? visible(text) : `segment ${keyText(segment, view.redactKeys)}: ${visible(text)}`,
  );
  return [
    view.paint(
      'bold',
      `From manifest ${number(from)} to manifest ${number(to)}: ${count(changes.length, 'difference')}.`,
    ),
    ...(texts.length === 0 ? [] : ['', ...lines(texts, view)]),
    '',
    ...facts(view.paint, [['cost', `${count(report.requests, 'request')}, ${duration(report.tookMs)}`]]),
  ];
}
