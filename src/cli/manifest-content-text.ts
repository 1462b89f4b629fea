/** All that a manifest says, in words: numbers, every table of every tree, checkpoints, and what else it lists. */
import type { ManifestReport } from '../admin.ts';
import { isoTime } from '../common/clock.ts';
import type { Bound, Manifest, Segment, TableRef, TableView, Tree } from '../format/manifest-types.ts';
import { treesOf } from '../format/manifest-types.ts';
import { sectionsEnd } from '../format/table-layout.ts';
import { tickText, trackerText, uriText } from '../tools/manifest-changes.ts';
import { manifestAuthor } from '../tools/manifest-list.ts';
import { findingCounts, findingsText } from './finding-text.ts';
import { capital } from './sst-text.ts';
import { count, dateText, facts, keyText, number, size, type View, visible, wrap } from './words.ts';

export function manifestContentText(report: ManifestReport, view: View): string[] {
  const { manifest, findings } = report;
  return [
    view.paint('bold', visible(report.path)),
    '',
    ...facts(view.paint, [...aboutObject(report), ...(manifest === undefined ? [] : aboutDatabase(manifest))]),
    ...(manifest === undefined ? ['', 'Its content cannot be read.'] : contentOf(manifest, view)),
    ...findingsText(findings, view),
    '',
    `${capital(findingCounts(findings))}.`,
  ];
}

type Facts = [string, string | undefined][];

function aboutObject({ size: bytes, sealed, seal, chain }: ManifestReport): Facts {
  const sealText = !sealed ? 'none' : seal?.state === 'bad' ? 'damaged' : 'good';
  const about: Facts = [
    ['size', size(bytes)],
    ['seal', sealText],
  ];
  const stated = seal?.seal;
  if (stated === undefined) return about;
  const { role, epoch, owner, writtenAtMs, software } = manifestAuthor(stated);
  const { manifest: record, repair, identity } = stated;
  return [
    ...about,
    [
      'author',
      `${role}, epoch ${number(epoch)}, version ${software}${owner === undefined ? '' : `, ${visible(owner)}`}`,
    ],
    ['written', isoTime(writtenAtMs)],
    ['database', Buffer.from(identity.databaseId).toString('hex')],
    ['previous', record && `manifest ${number(record.previousManifestId)}, chain ${chain}`],
    [
      'log end',
      record && `object ${number(record.walTail.id)}, seq ${number(record.walTail.lastSeq)}, as its author knew it`,
    ],
    ['ledger', record && record.ledgerVersion > 0 ? `version ${number(record.ledgerVersion)}` : undefined],
    ['closed', record?.isCleanClose === true ? 'in order, with this manifest' : undefined],
    ['repair', repair && Buffer.from(repair.repairId).toString('hex')],
  ];
}

function aboutDatabase(m: Manifest): Facts {
  return [
    ['form', `version ${m.headerVersion}`],
    ['state', m.initialized ? undefined : 'a clone that is still being set up'],
    ['epochs', `writer ${number(m.writerEpoch)}, compactor ${number(m.compactorEpoch)}`],
    ['replay point', `object ${number(m.replayAfterWalId)}: the log after it is not in tables`],
    ['log seen up to', `object ${number(m.walIdLastSeen)}`],
    ['log store', m.walStoreUri === undefined ? undefined : visible(uriText(m.walStoreUri))],
    ['last seq', `${number(m.lastL0Seq)} in tables`],
    ['last tick', `${tickText(m.lastL0ClockTick)} in tables`],
    ['snapshots', `none reads below seq ${number(m.recentSnapshotMinSeq)}`],
    ['tracker', trackerText(m.sequenceTracker)],
    ['segments', m.segments === undefined ? undefined : number(m.segments.length)],
    ['extractor', m.segmentExtractorName === undefined ? undefined : visible(m.segmentExtractorName)],
    ['unknown', m.hasUnknownFields ? 'fields that this program does not know, and does not show' : undefined],
  ];
}

function contentOf(m: Manifest, view: View): string[] {
  const segments = m.segments ?? [];
  return [
    ...treesOf(m).flatMap((tree, i) => treeText(tree, segments[i - 1], view)),
    ...(m.unviewedTables.length === 0
      ? []
      : ['', view.paint('bold', 'Tables without a view'), ...m.unviewedTables.flatMap((ref) => tableLines(ref, view))]),
    ...checkpointsText(m, view),
    ...m.externalDbs.flatMap((db) => [
      '',
      view.paint('bold', `Other database ${visible(db.path)}, ${count(db.tableIds.length, 'table')}`),
      ...facts(view.paint, [
        ['checkpoint', visible(db.sourceCheckpointId)],
        ['final', db.finalCheckpointId === undefined ? 'none yet' : visible(db.finalCheckpointId)],
      ]).map((line) => `  ${line}`),
      ...db.tableIds.map((id) => `  ${id}`),
    ]),
  ];
}

function treeText(tree: Tree, segment: Segment | undefined, view: View): string[] {
  const { l0, runs, lastCompacted } = tree;
  const of = segment === undefined ? '' : `, segment ${keyText(segment.prefix, view.redactKeys)}`;
  const head = (text: string) => ['', view.paint('bold', text)];
  if (segment === undefined && l0.length + runs.length === 0 && lastCompacted === undefined) return [];
  return [
    ...head(`Level 0${of}: ${count(l0.length, 'table')}, newest first`),
    ...(lastCompacted === undefined ? [] : [`  consumed by compactions up to ${lastCompacted}`]),
    ...l0.flatMap((one) => viewLines(one, view)),
    ...runs.flatMap((run) => [
      ...head(`Run ${run.id}${of}: ${count(run.views.length, 'table')}, by key`),
      ...run.views.flatMap((one) => viewLines(one, view)),
    ]),
  ];
}

function viewLines({ viewId, table: ref, visibleRange }: TableView, view: View): string[] {
  const shows =
    visibleRange === undefined
      ? undefined
      : `shows ${boundText('from', visibleRange.start, view)} ${boundText('to', visibleRange.end, view)}`;
  return tableLines(ref, view, viewId === ref.id ? undefined : `view ${viewId}`, shows);
}

function boundText(word: 'from' | 'to', bound: Bound, { redactKeys }: View): string {
  if (bound.kind === 'unbounded') return word === 'from' ? 'from its first' : 'to its last key';
  return `${word} ${keyText(bound.key, redactKeys)}${bound.kind === 'excluded' ? ' (excluded)' : ''}`;
}

function tableLines({ id, info, formatVersion }: TableRef, view: View, ...more: (string | undefined)[]): string[] {
  const { firstEntry, lastEntry, codec, filterLength, filterForm, indexLength, statsLength } = info;
  const end = lastEntry === undefined ? 'no stated end' : keyText(lastEntry, view.redactKeys);
  const keys = firstEntry === undefined ? 'no keys' : `keys ${keyText(firstEntry, view.redactKeys)} to ${end}`;
  const form = [
    `${size(sectionsEnd(info))} up to the last section`,
    `codec ${codec}`,
    `blocks of version ${formatVersion}`,
    filterLength === 0 ? 'no filter' : `filter ${filterForm} ${size(filterLength)}`,
    `index ${size(indexLength)}`,
    statsLength === 0 ? 'no statistics' : `statistics ${size(statsLength)}`,
  ];
  const texts = [[keys, ...more].filter((text) => text !== undefined).join(', '), form.join(', ')];
  return [
    `  ${view.paint('cyan', id)}`,
    ...texts.flatMap((text) => wrap(text, view.columns - 6).map((line) => `      ${line}`)),
  ];
}

function checkpointsText({ checkpoints }: Manifest, view: View): string[] {
  if (checkpoints.length === 0) return [];
  return [
    '',
    view.paint('bold', count(checkpoints.length, 'checkpoint')),
    ...checkpoints.flatMap((c) => {
      const about = [
        `manifest ${number(c.manifestId)}`,
        `created ${dateText(c.createTimeS * 1000)}`,
        c.expireTimeS === 0 ? 'never expires' : `expires ${dateText(c.expireTimeS * 1000)}`,
        ...(c.writerEpoch === undefined ? [] : [`writer epoch ${number(c.writerEpoch)}`]),
      ].join(', ');
      const name = c.name === undefined ? '' : `  ${visible(c.name)}`;
      return [`  ${view.paint('cyan', visible(c.id))}${name}`, `      ${about}`];
    }),
  ];
}
