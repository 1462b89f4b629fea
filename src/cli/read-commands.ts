/** `shaledb get` and `shaledb scan`: rows of a database, as a reader sees them. */
import type { Finding, RangeOptions, ScanOptions, ScanRow, ValueWithMeta } from '../index.ts';
import { UsageError } from './arguments.ts';
import { type Call, type Command, LOCATION, type OptionSpecs } from './command.ts';
import { dataJson, typedKey, valueText, wholeKeyText } from './data-words.ts';
import { EXIT, type ExitCode, exitOfFindings } from './exit-codes.ts';
import { findingsText } from './finding-text.ts';
import type { Printer } from './printer.ts';
import { withReader } from './reader-call.ts';
import { dateText, facts, number } from './words.ts';

const KEYS_ARE_TYPED =
  'Keys are typed as they are printed: text; text in quotes, as JSON has it, if there is a space or a quote in it; or 0x and hex digits.';
const READS_ONLY =
  'Reads and changes nothing, and disturbs no writer. It shows what is stored: rows that a writer still has in memory only are not seen.';

/** The range of keys, for all commands that read many. */
export const RANGE_OPTIONS: OptionSpecs = {
  prefix: { kind: 'text', value: 'KEY', says: 'only keys that begin with this' },
  from: { kind: 'text', value: 'KEY', says: 'only keys from this one on' },
  to: { kind: 'text', value: 'KEY', says: 'only keys before this one, which is left out' },
};

export function rangeOf({ args }: Pick<Call, 'args'>): RangeOptions {
  const bound = (name: string) => (args.has(name) ? typedKey(args.text(name), `--${name}`) : undefined);
  const [prefix, gte, lt] = [bound('prefix'), bound('from'), bound('to')];
  if (gte !== undefined && lt !== undefined && Buffer.compare(gte, lt) >= 0)
    throw new UsageError('--from is not before --to: no key is between them.');
  return { ...(prefix && { prefix }), ...(gte && { gte }), ...(lt && { lt }) };
}

export const GET: Command = {
  name: ['get'],
  summary: 'the value of a key',
  about: [
    `Prints the value in one line: text as it is, anything else as 0x and hex digits. --raw writes the bytes as they are. ${KEYS_ARE_TYPED}`,
    `${READS_ONLY} The requests of an opening, and at most two for each table that may hold the key. Exit code 0 if there is a value, 9 if there is none, 1 if damage may hide a newer one, or the answer.`,
  ],
  operands: [LOCATION, { name: 'KEY', says: 'the key, as it is printed' }],
  options: {
    raw: { kind: 'flag', says: 'the bytes of the value as they are, without a line end' },
    meta: { kind: 'flag', says: 'also its sequence number, when it was written and when it expires' },
  },
  examples: [
    { line: 'get file:///var/lib/db user/1', says: 'a value' },
    { line: 'get ./db 0x00ff --raw', says: 'of a binary key, as bytes' },
    { line: 'get s3://bucket/db user/1 --json', says: 'for a script, with its sequence number and times' },
  ],
  run: get,
};

async function get(call: Call): Promise<ExitCode> {
  const { args, printer } = call;
  if (args.has('raw') && (args.has('json') || args.has('meta') || args.has('redact-keys')))
    throw new UsageError('--raw writes the value alone, as it is: leave --json, --meta and --redact-keys out.');
  const key = typedKey(args.text('KEY'));
  const found = await withReader(call, (reader) => reader.getWithMeta(key));
  if (found === undefined) {
    const shown = wholeKeyText(key, printer.view.redactKeys);
    if (printer.json) printer.document('get', { key: dataJson(key, printer.view.redactKeys), found: false });
    else printer.note([`There is no value of ${shown}.`]);
    return EXIT.absent;
  }
  if (args.has('raw')) printer.bytes(found.value);
  else if (printer.json) printer.document('get', metaJson(key, found, printer));
  else printer.lines(args.has('meta') ? metaText(found, printer) : [valueText(found.value, printer.view.redactKeys)]);
  if (!found.possiblyStale) return EXIT.clean;
  printer.note(['This value may be out of date: a newer one may be in what is damaged.']);
  printer.note(findingsText(found.findings, printer.errView));
  return EXIT.damage;
}

function metaJson(key: Uint8Array, found: ValueWithMeta, { view }: Printer): object {
  const { value, seq, createTs, expireTs, possiblyStale, findings } = found;
  return {
    key: dataJson(key, view.redactKeys),
    found: true,
    value: dataJson(value, view.redactKeys),
    seq,
    writtenAtMs: createTs,
    expiresAtMs: expireTs,
    ...(possiblyStale && { possiblyStale, findings }),
  };
}

function metaText({ value, seq, createTs, expireTs }: ValueWithMeta, { view }: Printer): string[] {
  const time = (ms: number | undefined) => (ms === undefined ? undefined : `${dateText(ms)} (UTC)`);
  return facts(view.paint, [
    ['value', valueText(value, view.redactKeys)],
    ['bytes', number(value.length)],
    ['seq', number(seq)],
    ['written', time(createTs)],
    ['expires', time(expireTs) ?? 'never'],
  ]);
}

export const SCAN: Command = {
  name: ['scan'],
  summary: 'rows in the order of their keys',
  about: [
    `One line for each row: the key, a tab, the value. Values are text as it is, or 0x and hex digits. ${KEYS_ARE_TYPED}`,
    'With --json one line of type row for each; keys and values are strings where they are text, else {"$bytes": "<base64url>"}, as `dump` writes them.',
    `${READS_ONLY} The requests of an opening, and reads ahead of up to 1 MiB. Where a stretch cannot be read it ends with the damage (1); with --skip-damage it goes on after it, and names what is left out at the end.`,
  ],
  operands: [LOCATION],
  options: {
    ...RANGE_OPTIONS,
    limit: { kind: 'count', value: 'N', says: 'at most so many rows' },
    reverse: { kind: 'flag', says: 'from the last key to the first' },
    keys: { kind: 'flag', says: 'only the keys' },
    values: { kind: 'flag', says: 'only the values' },
    'skip-damage': { kind: 'flag', says: 'leave out what cannot be read, and report it at the end' },
  },
  examples: [
    { line: 'scan file:///var/lib/db', says: 'everything' },
    { line: 'scan ./db --prefix user/ --limit 10', says: 'the first ten users' },
    { line: 'scan ./db --from 2026-11-01 --to 2026-12-01 --reverse --keys', says: 'keys of a month, the last first' },
    { line: 'scan s3://bucket/db --json', says: 'for a script' },
  ],
  run: scan,
};

/** Rows that are printed at once. */
const ROWS_AT_ONCE = 256;

async function scan(call: Call): Promise<ExitCode> {
  const { args, printer } = call;
  if (args.has('keys') && args.has('values')) throw new UsageError('--keys and --values exclude each other.');
  const options: ScanOptions = {
    ...rangeOf(call),
    ...args.members<ScanOptions>({ reverse: 'reverse', limit: 'limit' }),
    ...(args.has('skip-damage') && { onCorruption: 'skip' }),
  };
  return withReader(call, async (reader) => {
    const rows = reader.scan(options);
    const findings: Finding[] = [];
    let stale = 0;
    for (let batch = await rows.nextBatch(ROWS_AT_ONCE); batch.length > 0; batch = await rows.nextBatch(ROWS_AT_ONCE)) {
      if (printer.isClosed) return EXIT.readerGone;
      stale += batch.filter((row) => row.possiblyStale).length;
      for (const row of batch) if (printer.json) printer.document('row', rowJson(row, call));
      if (!printer.json) printer.lines(batch.map((row) => rowText(row, call)));
    }
    findings.push(...rows.findings);
    if (stale > 0)
      printer.note([`${number(stale)} of these rows may be out of date: newer ones may be in what is damaged.`]);
    if (findings.length > 0) {
      if (printer.json) for (const finding of findings) printer.document('finding', finding);
      printer.note(['What could not be read was left out.', ...findingsText(findings, printer.errView)]);
    }
    return stale > 0 ? EXIT.damage : exitOfFindings(findings);
  });
}

function rowText({ key, value }: ScanRow, { args, printer }: Call): string {
  const { redactKeys } = printer.view;
  if (args.has('keys')) return wholeKeyText(key, redactKeys);
  if (args.has('values')) return valueText(value, redactKeys);
  return `${wholeKeyText(key, redactKeys)}\t${valueText(value, redactKeys)}`;
}

function rowJson({ key, value, seq, possiblyStale }: ScanRow, { args, printer }: Call): object {
  const { redactKeys } = printer.view;
  return {
    ...(!args.has('values') && { key: dataJson(key, redactKeys) }),
    ...(!args.has('keys') && { value: dataJson(value, redactKeys) }),
    seq,
    ...(possiblyStale && { possiblyStale }),
  };
}
