/** What a collection did, or would do, in words. */

import type { GcObject, GcReport } from '../admin.ts';
import { isoTime } from '../common/clock.ts';
import { findingsText } from './finding-text.ts';
import type { Style } from './paint.ts';
import { age, count, duration, facts, number, size, table, type View, visible, wrap } from './words.ts';

const NAMES: Readonly<Record<GcReport['classes'][number]['class'], string>> = {
  manifest: 'manifests',
  compactions: 'compactions files',
  table: 'tables',
  log: 'log objects',
  fence: 'fences of the log',
  upload: 'abandoned uploads',
  copy: 'copies in quarantine',
};

/** More objects that go are only counted where not all are wanted. */
const MOST_OBJECTS_SHOWN = 20;

/** @param again the command without `--apply` */
export function gcText(report: GcReport, view: View, lists: boolean, again: string): string[] {
  const { paint, columns } = view;
  const which = report.applied ? 'deleted' : 'collectable';
  const of = (name: 'stored' | 'collectable' | 'deleted') =>
    report.classes.reduce((n, c) => ({ objects: n.objects + c[name].objects, bytes: n.bytes + c[name].bytes }), {
      objects: 0,
      bytes: 0,
    });
  const total = of(which);
  const rows = report.classes.map((c) => [
    NAMES[c.class],
    number(c.stored.objects),
    size(c.stored.bytes),
    number(c[which].objects),
    size(c[which].bytes),
  ]);
  return [
    paint('bold', paint(...headline(report, total))),
    '',
    ...table(paint, ['', '>stored', '>bytes', report.applied ? '>deleted' : '>would go', '>bytes'], rows),
    '',
    ...facts(paint, [
      ['manifest', report.manifestId === undefined ? undefined : `${number(report.manifestId)}, the newest`],
      ['boundaries', boundariesText(report)],
      ['checkpoints', checkpointsText(report)],
      ['next', report.nextDueAtMs === undefined ? undefined : `something more can go ${time(report.nextDueAtMs)}`],
      ['cost', `${count(report.requests, 'request')}, ${duration(report.tookMs)}`],
    ]),
    ...report.notes.flatMap((note) => ['', ...wrap(visible(note), columns)]),
    ...findingsText(report.findings, view),
    ...objectsText(report, view, lists),
    ...(report.applied || total.objects === 0 || report.stopped !== undefined
      ? []
      : ['', `Nothing was changed. To delete them: ${paint('cyan', visible(`${again} --apply`))}`]),
  ];
}

function headline(report: GcReport, total: { objects: number; bytes: number }): [Style, string] {
  if (report.stopped !== undefined) return ['red', `Stopped: ${visible(report.stopped)}`];
  const what = `${count(total.objects, 'object')}, ${size(total.bytes)}`;
  if (total.objects === 0) return ['green', 'Nothing to collect.'];
  return report.applied ? ['green', `Collected: ${what}.`] : ['yellow', `To collect: ${what}.`];
}

function boundariesText({ boundaries }: GcReport): string | undefined {
  const parts = [
    boundaries.manifest === undefined ? [] : `manifests up to ${number(boundaries.manifest)}`,
    boundaries.compactions === undefined ? [] : `compactions files up to ${number(boundaries.compactions)}`,
  ].flat();
  return parts.length === 0 ? undefined : parts.join(', ');
}

function checkpointsText({ droppedCheckpoints: dropped, applied }: GcReport): string | undefined {
  if (dropped.length === 0) return undefined;
  return `${count(dropped.length, 'expired one')} ${applied ? 'dropped' : 'would be dropped'}`;
}

function objectsText({ objects }: GcReport, { paint }: View, lists: boolean): string[] {
  const shown = lists ? objects : objects.filter((object) => object.state === 'goes').slice(0, MOST_OBJECTS_SHOWN);
  if (shown.length === 0) return [];
  const rows = shown.map((o) => [visible(o.path), size(o.bytes), ageText(o), lists ? visible(o.why) : '']);
  const going = objects.filter((object) => object.state === 'goes').length;
  const more =
    lists || going <= MOST_OBJECTS_SHOWN ? [] : [`and ${number(going - MOST_OBJECTS_SHOWN)} more (--list names all).`];
  return ['', ...table(paint, ['object', '>size', '>age', ''], rows), ...more];
}

function ageText({ ageMs }: GcObject): string {
  return ageMs === undefined ? 'unknown' : age(ageMs);
}

function time(ms: number): string {
  return `at ${isoTime(ms)}`;
}

/** Why one object goes or stays. */
export function whyText(object: GcObject, { paint, columns }: View): string[] {
  const style = object.state === 'goes' ? 'yellow' : 'green';
  const word = object.state === 'goes' ? 'goes' : 'stays';
  return [
    paint('bold', `${visible(object.path)} ${paint(style, word)}`),
    ...wrap(`It ${visible(object.why)}.`, columns),
    ...facts(paint, [
      ['size', size(object.bytes)],
      ['age', ageText(object)],
    ]),
  ];
}
