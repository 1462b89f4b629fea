/** `shaledb wal ...`: the log. */
import type { MaxLoss, WalInspectOptions, WalObjectReport, WalRepairOptions } from '../admin.ts';
import { INSPECT_MANIFEST, nameOf } from '../common/advice.ts';
import { UsageError } from './arguments.ts';
import { ACCEPT, type Call, type Command, LOCATION, LOSS_OPTIONS, REPAIR_OPTIONS } from './command.ts';
import { EXIT, type ExitCode, exitOfFindings } from './exit-codes.ts';
import { runRepairCommand } from './repair-call.ts';
import { type WalSummary, walEntryText, walSummary, walText } from './wal-text.ts';
import { number } from './words.ts';

export const WAL_INSPECT: Command = {
  name: ['wal', 'inspect'],
  summary: 'every object of the write-ahead log: whole, damaged or missing, and what is in it',
  about: [
    'Reads and changes nothing, fences no writer, works beside a live writer and on databases that do not open. One request for each object of the log.',
    'With --json one line for each object (type wal-object), with --rows one for each row after it (type wal-row), and one with the sums (type wal-summary) at the end, also where the log is empty.',
  ],
  operands: [{ ...LOCATION, optional: true }],
  options: {
    file: { kind: 'text', value: 'PATH', says: 'a copy of one object instead of LOCATION; its name says its id' },
    from: { kind: 'id', value: 'ID', says: 'the first object; default: the first that is there' },
    to: { kind: 'id', value: 'ID', says: 'the last object' },
    rows: {
      kind: 'choice',
      choices: ['none', 'keys', 'full'],
      says: 'list the rows too: their keys, or their values as well',
    },
    all: { kind: 'flag', says: 'list also the objects without findings' },
  },
  examples: [
    { line: 'wal inspect file:///var/lib/db', says: 'what is wrong with the log' },
    { line: 'wal inspect s3://bucket/db --from 17 --to 17 --rows keys', says: 'the rows of one object' },
    { line: 'wal inspect --file ./00000000000000000017.sst --rows full', says: 'a copy of one object' },
    { line: 'wal inspect s3://bucket/db --json', says: 'one line of JSON for each object, and the sums' },
  ],
  run: inspect,
};

async function inspect({ args, printer, tools, common, readFile }: Call): Promise<ExitCode> {
  const isFile = args.has('file');
  if (isFile === args.has('LOCATION')) throw new UsageError('One of two is needed: LOCATION, or --file PATH.');
  const location = isFile ? undefined : args.text('LOCATION');
  const raw = isFile ? [{ id: idOfName(args.text('file')), bytes: await readFile(args.text('file')) }] : undefined;
  const objects: WalSummary[] = [];
  const options = args.members<WalInspectOptions>({ from: 'from', to: 'to', rows: 'rows' });
  const { from = 0n, to = from } = options;
  if (from > to) throw new UsageError(`--from ${from} is after --to ${to}: nothing would be inspected.`);
  for await (const object of tools.walInspect(location, { ...common, ...options, ...(raw && { raw }) })) {
    if (printer.isClosed) return EXIT.readerGone;
    const { entries: _entries, ...summary } = object;
    objects.push(summary);
    if (printer.json) printer.document('wal-object', object);
    else printer.progress(`object ${number(object.id)} of the log`);
    if (args.has('rows')) await rowsOf(object, printer);
  }
  if (printer.json) printer.document('wal-summary', walSummary(objects, options));
  else printer.lines(walText(objects, printer.view, args.has('all'), options));
  return exitOfFindings(objects.flatMap((o) => o.findings));
}

function idOfName(path: string): bigint {
  const digits = /(\d{1,20})\.sst$/.exec(path)?.[1];
  if (digits === undefined) throw new UsageError(`${path} is not named like an object of the log: digits and .sst.`);
  return BigInt(digits);
}

async function rowsOf(object: WalObjectReport, printer: Call['printer']): Promise<void> {
  if (object.entries === undefined) return;
  if (!printer.json) printer.lines([`object ${number(object.id)}`]);
  for await (const entry of object.entries) {
    if (printer.isClosed) return;
    if (printer.json) printer.document('wal-row', { objectId: object.id, ...entry });
    else printer.lines([walEntryText(entry, printer.view)]);
  }
}

export const WAL_REPAIR: Command = {
  name: ['wal', 'repair'],
  summary: 'moves what can be proven of a damaged log into tables, so that the database opens again',
  about: [
    'Without --apply it shows the plan and writes nothing. With it: damaged objects are copied to quarantine, the database is taken over, every row that can be proven goes into new tables, what is lost is recorded in the ledger, and one new manifest puts all of this into effect at once. No object is overwritten or deleted.',
    'A repair that loses rows, or may, is not applied unless --accept-loss says that this is known, or a limit covers the most that can be lost: exit code 5, and nothing is changed.',
    'A repair that was interrupted is run again with the same words: it goes on where it stopped, or shows the report if it had finished.',
  ],
  operands: [LOCATION],
  options: {
    ...REPAIR_OPTIONS,
    mode: {
      kind: 'choice',
      choices: ['recover', 'truncate'],
      says: 'recover (default): every intact batch, also after damage; truncate: only what is before the first damage',
    },
    'on-partial-batch': {
      kind: 'choice',
      choices: ['drop', 'keep-verified-rows'],
      says: 'a batch of which rows are missing: drop it whole (default), or keep the rows that are proven',
    },
    accept: ACCEPT,
    'expected-epoch': {
      kind: 'id',
      value: 'EPOCH',
      says: `take over from exactly this writer epoch, which \`${nameOf(INSPECT_MANIFEST)}\` shows, or do nothing (exit code 6)`,
    },
    ...LOSS_OPTIONS,
    'max-lost-objects': {
      kind: 'count',
      value: 'N',
      says: 'the same for objects of the log of which rows are, or may be, lost',
    },
  },
  examples: [
    { line: 'wal repair file:///var/lib/db', says: 'what a repair would keep and lose; changes nothing' },
    {
      line: 'wal repair file:///var/lib/db --apply --plan p-0123456789abcdef01234567',
      says: 'do exactly what was shown, if it loses nothing',
    },
    {
      line: 'wal repair file:///var/lib/db --apply --plan p-0123456789abcdef01234567 --accept-loss',
      says: 'the same, and accept what is lost',
    },
    {
      line: 'wal repair s3://bucket/db --apply --max-lost-rows 0 --json',
      says: 'repair only if nothing is lost, for scripts',
    },
  ],
  repairs: true,
  run: (call) => {
    const { args } = call;
    const maxLoss = args.members<MaxLoss>({
      rows: 'max-lost-rows',
      walObjects: 'max-lost-objects',
    });
    return runRepairCommand(call, (common) =>
      call.tools.walRepair(call.printer.view.location, {
        ...common,
        ...args.members<WalRepairOptions>({
          mode: 'mode',
          onPartialBatch: 'on-partial-batch',
          accept: 'accept',
          acceptLoss: 'accept-loss',
          expectedEpoch: 'expected-epoch',
        }),
        ...(Object.keys(maxLoss).length > 0 && { maxLoss }),
      }),
    );
  },
};
