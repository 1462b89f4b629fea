/** A table in words and maps. */
import type { BlockReport, CheckSummary, SstReport, SstRow } from '../admin.ts';
import { DOCTOR } from '../common/advice.ts';
import { findingCounts, findingsText } from './finding-text.ts';
import { damagedRanges, fileMap, keyMap, rowMap, shortId } from './maps.ts';
import { tablesText, VERDICTS } from './verify-text.ts';
import {
  commandText,
  count,
  duration,
  facts,
  keyText,
  NO_LOCATION,
  number,
  size,
  table,
  type View,
  visible,
} from './words.ts';

/** @param all every block, not only those that are damaged */
export function sstText(report: SstReport, view: View, all: boolean): string[] {
  const { paint } = view;
  const bad = report.blocks.filter((b) => b.crc === 'bad');
  const shown = report.blocks.map((b, i) => [b, i] as const).filter(([b]) => all || b.crc === 'bad');
  const isPadded = report.blocks.some((b) => b.paddingBytes !== undefined);
  const heads = [
    '>block',
    '>offset',
    '>stored',
    ...(isPadded ? ['>padding'] : []),
    '>raw',
    '>rows',
    'first key',
    'last key',
    'checksum',
    'diagnosis',
  ];
  return [
    paint('bold', visible(report.path ?? report.id ?? view.file ?? 'bytes')),
    '',
    ...facts(paint, aboutTable(report, view)),
    '',
    ...fileMap(report, view),
    ...keysText(report, view),
    ...(shown.length > 0
      ? [
          '',
          ...table(
            paint,
            heads,
            shown.map(([b, i]) => blockRow(b, i, view, isPadded)),
          ),
        ]
      : []),
    ...shown.flatMap(([b, i]) => hexText(b, i)),
    ...findingsText(report.findings, view),
    '',
    `${count(report.blocks.length, 'block')}, ${number(bad.length)} damaged. ${capital(findingCounts(report.findings))}.`,
  ];
}

/** Undefined where one is not known. */
function sumOf(counts: readonly (number | undefined)[]): number | undefined {
  return counts.reduce((sum, count) => (sum === undefined || count === undefined ? undefined : sum + count), 0);
}

function aboutTable(report: SstReport, view: View): [string, string | undefined][] {
  const { info, seal, filter, blocks } = report;
  const rows = sumOf(blocks.map((b) => b.rows));
  const key = (k: Uint8Array | undefined) => (k === undefined ? undefined : keyText(k, view.redactKeys));
  const identity = seal?.seal?.identity;
  return [
    ['size', size(report.size)],
    ['rows', rows === undefined ? undefined : number(rows)],
    ['first key', key(info?.firstEntry)],
    ['last key', key(info?.lastEntry)],
    ['codec', info?.codec],
    ['padding', paddingText(report)],
    ['filter', filterText(filter)],
    ['seal', sealText(report)],
    ['written by', identity === undefined ? undefined : `${identity.role}, epoch ${number(identity.epoch)}`],
    [
      'manifest',
      report.infoEqualsManifest === false ? view.paint('yellow', 'says something else about it') : undefined,
    ],
  ];
}

/** Of tables that SlateDB aligned to its block size. */
function paddingText({ blocks, size: bytes }: SstReport): string | undefined {
  const padding = blocks.reduce((sum, b) => sum + (b.paddingBytes ?? 0), 0);
  if (padding === 0) return undefined;
  return `${size(padding)} after blocks, ${((100 * padding) / bytes).toFixed(1)} % of the object: it is aligned`;
}

function filterText(filter: SstReport['filter']): string | undefined {
  if (filter === undefined) return undefined;
  const rate = `${(filter.estimatedFalsePositives * 100).toFixed(2)} % false positives expected`;
  return `${visible(filter.kind)}, ${count(filter.bits, 'bit')}, ${count(filter.probes, 'probe')}, ${rate}`;
}

function sealText({ seal }: SstReport): string {
  if (seal === undefined || seal.state === 'none') return 'none: rows and identity cannot be proven';
  return seal.state === 'ok'
    ? `good, ${count(seal.length, 'byte')}`
    : 'damaged: proofs are gone, rows are not concerned';
}

function keysText(report: SstReport, view: View): string[] {
  const { firstEntry, lastEntry } = report.info ?? {};
  if (firstEntry === undefined) return [];
  const text = (key: Uint8Array) => keyText(key, view.redactKeys);
  if (report.blocks.length > 0)
    return ['', ...rowMap(report, text(firstEntry), lastEntry === undefined ? 'no upper end' : text(lastEntry), view)];
  const damaged = damagedRanges(report.findings);
  return ['', ...keyMap([{ label: 'keys', extent: { gte: firstEntry, lte: lastEntry }, damaged }], view)];
}

function blockRow(b: BlockReport, index: number, view: View, isPadded: boolean): string[] {
  const key = (k: Uint8Array | undefined) => (k === undefined ? '' : keyText(k, view.redactKeys));
  const checks = b.checks === undefined || b.checks.bad === 0 ? '' : `, ${count(b.checks.bad, 'row check')} too`;
  return [
    number(index),
    number(b.offset),
    number(b.storedBytes),
    ...(isPadded ? [b.paddingBytes === undefined ? '' : number(b.paddingBytes)] : []),
    b.rawBytes === undefined ? '' : number(b.rawBytes),
    b.rows === undefined ? '' : number(b.rows),
    key(b.firstKey),
    key(b.lastKey),
    b.crc === 'ok' ? view.paint('green', 'good') : view.paint('red', `bad${checks}`),
    b.diagnosis === undefined ? '' : visible(b.diagnosis),
  ];
}

const HEX_DIGITS_PER_LINE = 64;

function hexText({ hex, offset }: BlockReport, index: number): string[] {
  if (hex === undefined) return [];
  const lines = hex.match(new RegExp(`.{1,${HEX_DIGITS_PER_LINE}}`, 'g')) ?? [];
  const at = (i: number) => number(offset + (i * HEX_DIGITS_PER_LINE) / 2).padStart(12);
  return ['', `bytes of block ${number(index)}`, ...lines.map((l, i) => `${at(i)}  ${l}`)];
}

export function sstRowText(row: SstRow, view: View): string {
  const trust = row.trust === 'good' ? '' : `  ${view.paint('yellow', row.trust)}`;
  const place = `${number(row.block)}:${number(row.ordinal)}`.padStart(10);
  return `${place}  ${number(row.seq).padStart(12)}  ${row.op.padEnd(6)}  ${keyText(row.key, view.redactKeys)}${trust}`;
}

export function checkSummaryText(summary: CheckSummary, view: View): string[] {
  const { paint } = view;
  const [style] = VERDICTS[summary.verdict];
  const codes = Object.entries(summary.findings).map(([code, n]) => `${visible(code)} ${number(n)}`);
  return [
    paint('bold', paint(style, summary.verdict === 'unknown' ? 'Cannot tell' : capital(summary.verdict))),
    ...facts(paint, [
      ['objects', tablesText(summary)],
      ['findings', codes.length === 0 ? undefined : codes.join(', ')],
      ['cost', `${count(summary.requests, 'request')}, ${size(summary.bytesRead)}, ${duration(summary.tookMs)}`],
      ['go on with', summary.cursor === undefined ? undefined : `--resume-from ${visible(summary.cursor)}`],
    ]),
    ...notCheckedText(summary.notChecked, view),
  ];
}

/** What a verdict says nothing about, and which command checks it. */
export function notCheckedText(notChecked: readonly string[], view: View): string[] {
  // A copy of one object belongs to no database.
  if (notChecked.length === 0 || view.location === NO_LOCATION) return [];
  const doctor = commandText(DOCTOR, view);
  return ['', `Not looked at (${doctor} does)`, ...notChecked.map((what) => `  ${visible(what)}`)];
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A label of a table in a map. */
export function tableLabel(level: string, id: string): string {
  return `${level} ${shortId(id)}`;
}
