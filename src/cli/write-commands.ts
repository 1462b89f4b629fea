/** `shaledb put` and `shaledb delete`: one row, by a writer of its own. */
import { InvalidArgumentError, type ValueWithMeta, type WriteOptions } from '../index.ts';
import { UsageError } from './arguments.ts';
import { type Call, type Command, LOCATION } from './command.ts';
import { dataJson, hexBytes, typedKey, valueText, wholeKeyText } from './data-words.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { cutToWidth } from './paint.ts';
import { withReader } from './reader-call.ts';
import {
  asWriter,
  bytesText,
  fencedText,
  lastWriter,
  TAKEOVER_ABOUT,
  TAKEOVER_OPTIONS,
  WITHOUT_UPKEEP,
  writerJson,
} from './takeover.ts';
import { facts, number, wrap } from './words.ts';

const KEY = { name: 'KEY', says: 'the key, as `get` and `scan` print it' } as const;
const STANDARD_INPUT = '-';

export const PUT: Command = {
  name: ['put'],
  summary: 'writes the value of a key; without --apply it says whom that fences',
  about: [
    'VALUE is text as it is; with --hex pairs of hex digits; - is all of standard input.',
    TAKEOVER_ABOUT,
    'The write is durable when the command ends with 0. It may be interrupted and run again: the same value is written once more.',
  ],
  operands: [LOCATION, KEY, { name: 'VALUE', says: 'the value; - reads it from standard input' }],
  options: {
    hex: { kind: 'flag', says: 'VALUE is pairs of hex digits' },
    'ttl-ms': { kind: 'count', value: 'MS', says: 'the row expires so long after it is written; default: never' },
    ...TAKEOVER_OPTIONS,
  },
  examples: [
    { line: 'put file:///var/lib/db user/1 "Ada Lovelace"', says: 'what would happen' },
    { line: 'put file:///var/lib/db user/1 "Ada Lovelace" --apply', says: 'write it' },
    { line: 'put ./db photo/1 - --apply', says: 'from standard input' },
    { line: 'put ./db token/1 abc --ttl-ms 3600000 --apply', says: 'for an hour' },
  ],
  writes: true,
  allTheSame: 'To take the database over from it, and fence it',
  run: (call) => write(call, 'put'),
};

export const DELETE: Command = {
  name: ['delete'],
  summary: 'deletes a key; without --apply it says whom that fences',
  about: [TAKEOVER_ABOUT, 'The deletion is durable when the command ends with 0, whether there was a value or not.'],
  operands: [LOCATION, KEY],
  options: TAKEOVER_OPTIONS,
  examples: [
    { line: 'delete file:///var/lib/db user/1', says: 'what would happen' },
    { line: 'delete file:///var/lib/db user/1 --apply', says: 'delete it' },
  ],
  writes: true,
  allTheSame: 'To take the database over from it, and fence it',
  run: (call) => write(call, 'delete'),
};

async function write(call: Call, action: 'put' | 'delete'): Promise<ExitCode> {
  const { args, printer } = call;
  const key = typedKey(args.text('KEY'));
  const value = action === 'put' ? await wantedValue(call) : undefined;
  const ttl = args.members<WriteOptions>({ ttlMs: 'ttl-ms' });
  if (ttl.ttlMs === 0) throw new UsageError('--ttl-ms must be at least 1: a row that has expired cannot be read.');
  const writer = await lastWriter(call);
  if (writer === undefined)
    throw new InvalidArgumentError(
      'NOT_A_DATABASE',
      `No database is at ${printer.view.location}: ${action} makes none. Make one with load, or by a program that opens it.`,
    );
  const facts = { action, key: dataJson(key, printer.view.redactKeys), ...(value && { valueBytes: value.length }) };
  if (!args.has('apply')) {
    const present = await withReader(call, (reader) => reader.getWithMeta(key));
    const before =
      present === undefined ? { found: false } : { found: true, bytes: present.value.length, seq: present.seq };
    const plan = { ...facts, applied: false, before, writer: writerJson(writer) };
    printer.report('write', plan, () =>
      planText(call, { key, value, present, fenced: fencedText(writer, call.nowMs(), 'would fence') }),
    );
    return EXIT.clean;
  }
  printer.note(
    wrap(`Taking the database over. ${fencedText(writer, call.nowMs(), 'fences')}`, printer.errView.columns),
  );
  const { seq } = await asWriter(call, writer, WITHOUT_UPKEEP, (db) =>
    value === undefined ? db.delete(key) : db.put(key, value, ttl),
  );
  const report = { ...facts, applied: true, seq, writer: writerJson(writer) };
  const shown = wholeKeyText(key, printer.view.redactKeys);
  printer.report('write', report, () => [
    `${action === 'put' ? 'Written' : 'Deleted'}: ${shown}, durable, seq ${number(seq)}.`,
  ]);
  return EXIT.clean;
}

async function wantedValue({ args, readInput }: Call): Promise<Uint8Array> {
  const word = args.text('VALUE');
  if (word === STANDARD_INPUT) {
    if (args.has('hex')) throw new UsageError('--hex is for a VALUE that is typed: standard input is taken as it is.');
    return readInput();
  }
  return args.has('hex') ? hexBytes(word, 'VALUE') : Buffer.from(word);
}

interface Planned {
  key: Uint8Array;
  value: Uint8Array | undefined;
  present: ValueWithMeta | undefined;
  fenced: string;
}

function planText({ printer, again }: Call, { key, value, present, fenced }: Planned): string[] {
  const { paint, columns, redactKeys } = printer.view;
  const now = present === undefined ? 'no value' : `${bytesText(present.value)}, seq ${number(present.seq)}`;
  const shown = (bytes: Uint8Array) => cutToWidth(valueText(bytes, redactKeys), Math.max(20, columns - 30));
  return [
    paint('bold', paint('cyan', 'Dry run: nothing was changed.')),
    '',
    ...facts(paint, [
      ['key', wholeKeyText(key, redactKeys)],
      ['now', now],
      ['then', value === undefined ? 'deleted' : `${bytesText(value)}: ${shown(value)}`],
    ]),
    '',
    ...wrap(fenced, columns),
    '',
    'To do it',
    `  ${paint('cyan', `${again} --apply`)}`,
  ];
}
