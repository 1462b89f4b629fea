/** All checks with one verdict, what a store can do, and the lists of known losses and of kept evidence. */
import type { CheckSummary, LedgerEntry, QuarantineEntry, VerifyReport } from '../admin.ts';
import { acknowledgeLoss } from '../common/advice.ts';
import type { StoreProfile } from '../index.ts';
import { isUnknownLoss } from '../lsm/tree/damage-ledger.ts';
import { findingsText } from './finding-text.ts';
import type { Paint, Style } from './paint.ts';
import {
  commandText,
  count,
  dateText,
  duration,
  facts,
  keyRangeText,
  number,
  seqRangeText,
  size,
  table,
  type View,
  visible,
} from './words.ts';

export const VERDICTS: Record<VerifyReport['verdict'], readonly [Style, string]> = {
  clean: ['green', 'Clean: no damage found.'],
  degraded: ['yellow', 'Degraded: everything stored is readable; see the warnings and open losses.'],
  unknown: [
    'magenta',
    'Cannot tell: no damage found, but something is in a form or at a place that this program cannot read.',
  ],
  corrupt: ['red', 'Corrupt: some rows may be unreadable or lost.'],
};

/** @param map the map of the key space, made from the newest manifest; may be empty */
export function verifyText(report: VerifyReport, view: View, map: readonly string[]): string[] {
  const { paint } = view;
  const { sst, wal, manifests, store, ledger } = report;
  const [style, verdict] = VERDICTS[report.verdict];
  const newest = manifests.newest === undefined ? 'none' : `newest ${number(manifests.newest)}`;
  const good = manifests.newestGood === manifests.newest ? '' : `, newest good ${number(manifests.newestGood ?? 0n)}`;
  const logFaults =
    wal.damaged + wal.missing === 0 ? '' : `, ${number(wal.damaged)} damaged, ${number(wal.missing)} missing`;
  const open = ledger.filter((e) => e.state === 'open').length;
  const unknown = ledger.some(isOpenUnknown) ? ', not all losses are known' : '';
  // Two findings may say the same command, one with the location and one with the word for it.
  const next = new Set(report.nextSteps.map((step) => commandText(step, view)));
  return [
    paint('bold', paint(style, verdict)),
    '',
    ...facts(paint, [
      ['manifests', `${number(manifests.checked)} checked, ${newest}${good}`],
      ['log', `${count(wal.objects, 'object')}, ${count(wal.rows, 'row')}${logFaults}`],
      ['tables', `${tablesText(sst)}, ${size(sst.bytesRead)} read`],
      [
        'ledger',
        open === 0 ? 'no open losses' : paint('yellow', `${count(open, 'open loss', 'open losses')}${unknown}`),
      ],
      ['store', storeText(store, paint)],
      ...report.cannotKnow.map((text): [string, string] => ['not known', visible(text)]),
      ['cost', `${count(report.requests, 'request')}, ${duration(report.tookMs)}`],
    ]),
    ...store.problems.map((p) => `  ${paint('yellow', visible(p))}`),
    ...map,
    ...findingsText(report.findings, view),
    ...(next.size === 0 ? [] : ['', 'Next', ...[...next].map((command) => `  ${paint('cyan', command)}`)]),
  ];
}

/** How many tables there are. One that is missing is neither sealed nor unsealed. */
export function tablesText({ objects, missing, sealed }: CheckSummary): string {
  const gone = missing === 0 ? '' : `, ${number(missing)} missing`;
  return `${number(objects)}, ${number(sealed)} of them sealed${gone}`;
}

function storeText(store: VerifyReport['store'], paint: Paint): string {
  if (store.suitable === 'not-probed') return 'not probed (--probe does)';
  return store.suitable ? 'suitable' : paint('red', 'not suitable for writing');
}

/** With what to say where a store lacks it, if databases do as well without it. */
const PROFILE_WORDS: readonly (readonly [keyof StoreProfile, string, string?])[] = [
  ['conditionalCreate', 'creates only what is absent'],
  ['readAfterWrite', 'reads what was just written'],
  ['listAfterWrite', 'lists what was just written'],
  ['listAfterDelete', 'does not list what was just deleted'],
  ['rangedReads', 'reads parts of objects'],
  ['suffixReads', 'reads ends of objects'],
  ['metadata', 'keeps metadata', 'keeps metadata (not needed)'],
  ['storeTime', 'gives the time'],
];

export function probeText(profile: StoreProfile, view: View): string[] {
  const { paint } = view;
  const line = (holds: boolean, words: string, style: 'red' | 'yellow' | 'dim') =>
    `${paint(holds ? 'green' : style, holds ? 'yes' : 'no ')}  ${words}`;
  const hasIfMatch = profile.ifMatch === 'supported' || profile.ifMatch === 'unquoted';
  // The same rule as for opening.
  const verdict = profile.conditionalCreate
    ? paint('green', 'This store is suitable.')
    : paint('red', 'This store is not suitable for writing.');
  return [
    paint('bold', verdict),
    '',
    ...PROFILE_WORDS.map(([name, words, unneeded]) => {
      const holds = profile[name] === true;
      if (!holds && unneeded !== undefined) return line(false, unneeded, 'dim');
      return line(holds, words, name === 'conditionalCreate' ? 'red' : 'yellow');
    }),
    line(hasIfMatch, `replaces only a version that is named (If-Match: ${profile.ifMatch})`, 'yellow'),
    ...profile.problems.map((p) => `     ${paint('yellow', visible(p))}`),
  ];
}

function isOpenUnknown(entry: LedgerEntry): boolean {
  return entry.state === 'open' && isUnknownLoss(entry);
}

export function ledgerText(entries: readonly LedgerEntry[], view: View): string[] {
  if (entries.length === 0) return ['No losses are recorded.'];
  const { paint } = view;
  const lines = entries.flatMap((e) => {
    const style = e.state === 'open' ? 'yellow' : 'green';
    const rows = e.rows === undefined ? undefined : `${e.exact ? '' : 'at least '}${count(e.rows, 'row')}`;
    const lost = [...e.keys.map((k) => keyRangeText(k, view.redactKeys)), ...e.seqs.map(seqRangeText)];
    const next = e.state === 'open' ? commandText(acknowledgeLoss(e.id), view) : undefined;
    return [
      '',
      `${paint(style, e.state)} ${paint('bold', visible(e.id))} ${visible(e.object)}`,
      ...facts(paint, [
        ['when', e.at === '' ? undefined : visible(e.at)],
        ['level', e.level],
        ['rows', rows],
        // Of a table they are outer bounds: the rows beside the lost ones are there.
        [
          'lost',
          lost.length === 0 ? undefined : `${e.level === 'l0' || e.level === 'run' ? 'within ' : ''}${lost.join('; ')}`,
        ],
        ['repair', e.repairId === '' ? undefined : visible(e.repairId)],
        ['note', e.note === undefined ? undefined : visible(e.note)],
        ['next', next === undefined ? undefined : paint('cyan', next)],
      ]).map((l) => `  ${l}`),
    ];
  });
  const open = entries.filter((e) => e.state === 'open').length;
  const unread = entries
    .filter(isOpenUnknown)
    .map((e) => `${visible(e.object)} cannot be read: besides the losses below, others may have been recorded there.`);
  return [`${count(entries.length, 'recorded loss', 'recorded losses')}, ${number(open)} open.`, ...unread, ...lines];
}

export function quarantineText(entries: readonly QuarantineEntry[], view: View): string[] {
  if (entries.length === 0) return ['Nothing is in quarantine.'];
  const total = entries.reduce((n, e) => n + e.bytes, 0);
  const rows = entries.map((e) => [
    visible(e.repairId),
    dateText(e.storedAtMs),
    size(e.bytes),
    visible(e.from),
    e.neededBy.map(visible).join(', '),
  ]);
  return [
    ...table(view.paint, ['repair', 'stored (UTC)', '>size', 'original', 'needed by'], rows),
    '',
    `${count(entries.length, 'copy', 'copies')}, ${size(total)}.`,
  ];
}
