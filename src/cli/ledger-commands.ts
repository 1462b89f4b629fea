/** `shaledb damage ...` and `shaledb quarantine ...`: what is known to be lost, and the originals that were kept. */
import type { LedgerEntry } from '../admin.ts';
import { LIST_COPIES, LIST_LOSSES, nameOf } from '../common/advice.ts';
import { APPLY_OPTIONS, type Call, type Command, LOCATION } from './command.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { runRepairCommand } from './repair-call.ts';
import { ledgerText, quarantineText } from './verify-text.ts';
import { visible } from './words.ts';

export const DAMAGE_LIST: Command = {
  name: ['damage', 'list'],
  summary: 'the ledger: losses that repairs recorded',
  about: ['Reads and changes nothing. Exit code 1 if a loss is open: neither restored nor acknowledged.'],
  operands: [LOCATION],
  options: {},
  examples: [
    { line: 'damage list file:///var/lib/db', says: 'what is known to be lost' },
    { line: 'damage list s3://bucket/db --json --redact-keys', says: 'for a report that must not show keys' },
  ],
  run: async ({ printer, tools, common }) => {
    const entries = await tools.damageList(printer.view.location, common);
    printer.report('damage-list', { entries: entries.map(withRowsAre) }, () => ledgerText(entries, printer.view));
    return entries.some((e) => e.state === 'open') ? EXIT.damage : EXIT.clean;
  },
};

/** For programs: whether `rows` is how many are lost, or only the least. */
function withRowsAre(entry: LedgerEntry): LedgerEntry & { rowsAre?: 'exact' | 'at-least' } {
  return entry.rows === undefined ? entry : { ...entry, rowsAre: entry.exact ? 'exact' : 'at-least' };
}

export const DAMAGE_ACK: Command = {
  name: ['damage', 'ack'],
  summary: 'declares a recorded loss as known and accepted',
  about: [
    'Reads that the loss may concern then answer as if the lost rows had never been there, instead of with an error or a flag. This cannot be taken back; the entry and the note stay in the ledger, and a second note is refused.',
  ],
  operands: [LOCATION, { name: 'ID', says: `the entry, as \`${nameOf(LIST_LOSSES)}\` names it` }],
  options: {
    note: { kind: 'text', value: 'TEXT', required: true, says: 'who accepts it and why; cannot be left out' },
  },
  examples: [
    {
      line: 'damage ack file:///var/lib/db f-0123456789abcdef --note "restored from the order system"',
      says: 'with the reason',
    },
  ],
  repairs: true,
  run: acknowledge,
};

async function acknowledge({ args, printer, tools, common }: Call): Promise<ExitCode> {
  const id = args.text('ID');
  await tools.damageAcknowledge(printer.view.location, id, args.text('note'), common);
  printer.report('damage-ack', { id, note: args.text('note') }, () => [`Acknowledged ${visible(id)}.`]);
  return EXIT.clean;
}

export const QUARANTINE_LIST: Command = {
  name: ['quarantine', 'list'],
  summary: 'the untouched copies that repairs made of what they replaced',
  about: ['Reads and changes nothing.'],
  operands: [LOCATION],
  options: {},
  examples: [{ line: 'quarantine list file:///var/lib/db', says: 'what is kept, and what still needs it' }],
  run: async ({ printer, tools, common }) => {
    const entries = await tools.quarantineList(printer.view.location, common);
    printer.report('quarantine-list', { entries }, () => quarantineText(entries, printer.view));
    return EXIT.clean;
  },
};

export const QUARANTINE_RESTORE: Command = {
  name: ['quarantine', 'restore'],
  summary: 'puts the copies of one repair back where their originals are gone',
  about: [
    'Byte for byte, for looking at them with other tools or before another repair. An original that is there is never overwritten, and what the database reads stays what it is. Without --apply it shows what it would do.',
  ],
  operands: [LOCATION, { name: 'REPAIR', says: `the repair, as \`${nameOf(LIST_COPIES)}\` names it` }],
  options: APPLY_OPTIONS,
  examples: [
    { line: 'quarantine restore file:///var/lib/db r-0123456789abcdef01234567', says: 'what it would do' },
    { line: 'quarantine restore file:///var/lib/db r-0123456789abcdef01234567 --apply', says: 'do it' },
  ],
  repairs: true,
  run: (call) =>
    runRepairCommand(call, (common) =>
      call.tools.quarantineRestore(call.printer.view.location, call.args.text('REPAIR'), common),
    ),
};
