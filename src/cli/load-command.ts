/**
 * `shaledb load`: rows from lines of JSON, in batches.
 *
 * Invariants:
 * 1. A batch is applied whole or not at all, and in the order of the lines.
 * 2. A file is checked to its end before the first batch is applied: with a broken line nothing is. Of standard input the batches before
 *    the broken line are applied, and it is said which lines they are.
 * 3. Loading again changes nothing that is right: a row is put as the line has it, whatever was there.
 */
import { type Db, InvalidArgumentError, WriteBatch } from '../index.ts';
import { type Call, type Command, LOCATION } from './command.ts';
import { brokenLine, type DumpRow, parseLine } from './dump-lines.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { type Files, STANDARD_INPUT } from './files.ts';
import { asWriter, fencedText, lastWriter, TAKEOVER_ABOUT, TAKEOVER_OPTIONS, writerJson } from './takeover.ts';
import { count, facts, number, size, wrap } from './words.ts';

export const LOAD: Command = {
  name: ['load'],
  summary: 'puts the rows of a dump; without --apply it checks them and says whom that fences',
  about: [
    'Reads what dump writes, or lines of JSON like {"key": "a", "value": "b"}. Each row is put with its expiry, over what is there; other rows stay. A location without a database gets one.',
    'A file is checked to its end first: with a broken line nothing is changed, and the error has the number of the line. Rows are put in batches, each whole or not at all; of standard input the batches before a broken line stay. An interrupted load may be run again; with --resume it leaves out the batches that are stored already.',
    TAKEOVER_ABOUT,
  ],
  operands: [LOCATION, { name: 'FILE', says: 'a dump; - is standard input' }],
  options: {
    ...TAKEOVER_OPTIONS,
    resume: { kind: 'flag', says: 'with --apply: leave out batches whose rows are all stored as the lines have them' },
    partial: { kind: 'flag', says: 'also take a dump that was cut, without its last line' },
  },
  examples: [
    { line: 'load file:///var/lib/new db.jsonl', says: 'check the file; changes nothing' },
    { line: 'load file:///var/lib/new db.jsonl --apply', says: 'load it' },
    { line: 'load file:///var/lib/new db.jsonl --apply --resume', says: 'go on after an interruption' },
    { line: 'load s3://bucket/db - --apply', says: 'from standard input' },
  ],
  writes: true,
  allTheSame: 'To take the database over from it, and fence it',
  run: load,
};

const BATCH_ROWS = 1000;
const BATCH_BYTES = 1 << 20;
const COMPARED_AT_ONCE = 64;

/** What was loaded so far. */
interface Loaded {
  rows: number;
  bytes: number;
  /** Rows of batches that were stored already. */
  skipped: number;
  /** The last line of which everything is stored. */
  line: number;
}

async function load(call: Call): Promise<ExitCode> {
  const { args, printer, files, nowMs } = call;
  const path = args.text('FILE');
  const wanted = args.has('apply');
  const isStream = path === STANDARD_INPUT;
  const checked = isStream && wanted ? undefined : await check(call, path);
  const writer = await lastWriter(call);
  const fenced =
    writer === undefined
      ? 'There is no database: one is made.'
      : fencedText(writer, nowMs(), wanted ? 'fences' : 'would fence');
  if (!wanted) {
    const plan = { applied: false, rows: checked?.rows, bytes: checked?.bytes, writer: writerJson(writer) };
    printer.report('load', plan, () => planText(call, checked, fenced));
    return EXIT.clean;
  }
  printer.note(wrap(`Taking the database over. ${fenced}`, printer.errView.columns));
  const loaded: Loaded = { rows: 0, bytes: 0, skipped: 0, line: 0 };
  try {
    await asWriter(call, writer, {}, (db) => putRows(call, db, files, path, loaded));
  } catch (error) {
    const lines = loaded.line === 0 ? 'No line is stored.' : `Lines 1 to ${number(loaded.line)} are stored.`;
    printer.note([`${lines} Run the same command again, with --resume to leave them out.`]);
    throw error;
  }
  const report = { applied: true, ...loaded, writer: writerJson(writer) };
  printer.report('load', report, () => [
    `Loaded: ${count(loaded.rows, 'row')}, ${size(loaded.bytes)}, durable.${loaded.skipped === 0 ? '' : ` ${count(loaded.skipped, 'row')} were stored already.`}`,
  ]);
  return EXIT.clean;
}

/** All rows with the numbers of their lines. Throws for what is wrong with the lines, or with the file as a whole. */
async function* rowsOf(files: Files, path: string, isPartial: boolean): AsyncGenerator<{ row: DumpRow; line: number }> {
  let line = 0;
  let rows = 0;
  let isDump = false;
  let end: number | undefined;
  for await (const { text, isWhole } of files.lines(path)) {
    line++;
    if (text === '') continue;
    // The line in which a dump was cut.
    if (!isWhole && isDump && !isEndLine(text)) break;
    if (end !== undefined) throw brokenLine(line, `the dump has ended at line ${end}`);
    const parsed = parseLine(text, line);
    if (parsed.type === 'dump') {
      if (rows > 0 || isDump) throw brokenLine(line, 'a dump begins here; load one at a time');
      isDump = true;
    } else if (parsed.type === 'dump-end') {
      if (parsed.rows !== rows) throw brokenLine(line, `${parsed.rows} rows were dumped, ${rows} are here`);
      end = line;
    } else {
      rows++;
      yield { row: parsed.row, line };
    }
  }
  if (isDump && end === undefined && !isPartial)
    throw new InvalidArgumentError(
      'BAD_ARGUMENT',
      `The dump is cut at line ${line}: its last line is not there. Go on with it by dump --resume, or load what is there with --partial.`,
      { details: { line } },
    );
}

function isEndLine(text: string): boolean {
  return text.startsWith('{"type":"dump-end"') && text.endsWith('}');
}

async function check({ args, printer, files }: Call, path: string): Promise<Pick<Loaded, 'rows' | 'bytes'>> {
  const sums = { rows: 0, bytes: 0 };
  for await (const { row } of rowsOf(files, path, args.has('partial'))) {
    sums.rows++;
    sums.bytes += bytesOf(row);
    if (sums.rows % BATCH_ROWS === 0) printer.progress(`checking: ${count(sums.rows, 'row')}, ${size(sums.bytes)}`);
  }
  return sums;
}

function bytesOf({ key, value }: DumpRow): number {
  return key.length + value.length;
}

async function putRows({ args, printer }: Call, db: Db, files: Files, path: string, loaded: Loaded): Promise<void> {
  let rows: DumpRow[] = [];
  let bytes = 0;
  let last = 0;
  const flush = async () => {
    if (rows.length === 0) return;
    if (args.has('resume') && (await areStored(db, rows))) loaded.skipped += rows.length;
    else {
      await db.write(batchOf(rows), { awaitDurable: true });
      loaded.rows += rows.length;
      loaded.bytes += bytes;
    }
    loaded.line = last;
    printer.progress(`loading: ${count(loaded.rows + loaded.skipped, 'row')}, ${size(loaded.bytes)} written`);
    rows = [];
    bytes = 0;
  };
  for await (const { row, line } of rowsOf(files, path, args.has('partial'))) {
    rows.push(row);
    bytes += bytesOf(row);
    last = line;
    if (rows.length >= BATCH_ROWS || bytes >= BATCH_BYTES) await flush();
  }
  await flush();
}

/** A row without expiry never expires, also where the database has a default. */
function batchOf(rows: readonly DumpRow[]): WriteBatch {
  const batch = new WriteBatch();
  for (const { key, value, expiresAtMs } of rows)
    batch.put(
      key,
      value,
      expiresAtMs === undefined ? { ttlMs: Number.POSITIVE_INFINITY } : { expireAtMs: expiresAtMs },
    );
  return batch;
}

/** Of a key that is twice in a batch the last row counts. */
async function areStored(db: Db, rows: readonly DumpRow[]): Promise<boolean> {
  const wanted = [...new Map(rows.map((row) => [Buffer.from(row.key).toString('latin1'), row])).values()];
  for (let at = 0; at < wanted.length; at += COMPARED_AT_ONCE) {
    const part = wanted.slice(at, at + COMPARED_AT_ONCE);
    const stored = await Promise.all(part.map(({ key }) => db.getWithMeta(key)));
    const isSame = part.every(({ value, expiresAtMs }, i) => {
      const found = stored[i];
      return found !== undefined && Buffer.compare(found.value, value) === 0 && found.expireTs === expiresAtMs;
    });
    if (!isSame) return false;
  }
  return true;
}

function planText(
  { printer, again }: Call,
  checked: Pick<Loaded, 'rows' | 'bytes'> | undefined,
  fenced: string,
): string[] {
  const { paint, columns } = printer.view;
  return [
    paint('bold', paint('cyan', 'Dry run: every line is good, nothing was changed.')),
    '',
    ...facts(paint, [['rows', checked && `${number(checked.rows)}, ${size(checked.bytes)}`]]),
    '',
    ...wrap(fenced, columns),
    '',
    'To load them',
    `  ${paint('cyan', `${again} --apply`)}`,
  ];
}
