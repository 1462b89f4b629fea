/**
 * `shaledb dump`: all rows of a database, or of a range, as lines of JSON.
 *
 * Invariant 1: a file is complete exactly if it has its last line; until then `--resume` goes on after its last whole row.
 */
import {
  type Finding,
  InvalidArgumentError,
  isDbError,
  type Reader,
  type ScanOptions,
  UnavailableError,
} from '../index.ts';
import { UsageError } from './arguments.ts';
import { type Call, type Command, LOCATION } from './command.ts';
import { endLine, headLine, parseLine, rowLine } from './dump-lines.ts';
import { EXIT, type ExitCode, exitOfFindings } from './exit-codes.ts';
import type { Files, OutputFile } from './files.ts';
import { findingsText } from './finding-text.ts';
import { RANGE_OPTIONS, rangeOf } from './read-commands.ts';
import { withReader } from './reader-call.ts';
import { count, number, size } from './words.ts';

export const DUMP: Command = {
  name: ['dump'],
  summary: 'all rows as lines of JSON, which load reads',
  about: [
    'One line for each row: key and value as a string where they are text, else {"$bytes": "<base64url>"}, and expiresAtMs where the row expires. The first line names the form, the last one the number of rows: a dump without it is cut.',
    'All rows are of one moment, and no writer is disturbed. With --output a file is written and nothing is overwritten; if that was interrupted, --resume goes on after its last row, with the rows of that later moment.',
    'Costs a scan of the range. Where a stretch cannot be read it ends with the damage (1); with --skip-damage it goes on, and names what is left out. A disk that is full ends it with 74.',
  ],
  operands: [LOCATION],
  options: {
    output: {
      kind: 'text',
      value: 'FILE',
      says: 'write into this file, which must not exist yet; default: standard output',
    },
    resume: { kind: 'flag', says: 'with --output: go on in the file of an interrupted dump' },
    ...RANGE_OPTIONS,
    'skip-damage': { kind: 'flag', says: 'leave out what cannot be read, and report it at the end' },
  },
  examples: [
    { line: 'dump file:///var/lib/db --output db.jsonl', says: 'into a file' },
    { line: 'dump file:///var/lib/db --output db.jsonl --resume', says: 'go on after an interruption' },
    { line: 'dump s3://bucket/db --prefix user/', says: 'some rows, to standard output' },
  ],
  run: dump,
};

const DUMPED_AT_ONCE = 512;

async function dump(call: Call): Promise<ExitCode> {
  const { args, printer, files } = call;
  if (args.has('redact-keys'))
    throw new UsageError('--redact-keys is not for dump: what it left out could not be loaded.');
  if (args.has('resume') && !args.has('output')) throw new UsageError('--resume needs --output: the file to go on in.');
  const range: ScanOptions = { ...rangeOf(call), ...(args.has('skip-damage') && { onCorruption: 'skip' }) };
  if (!args.has('output')) return withReader(call, (reader) => toStandardOutput(call, reader, range));
  const path = args.text('output');
  const begun = args.has('resume') ? await begunDump(files, path) : undefined;
  if (begun?.isComplete === true) {
    printer.report('dump', { file: path, rows: begun.rows, complete: true }, () => [
      `${path} is complete: ${count(begun.rows, 'row')}.`,
    ]);
    return EXIT.clean;
  }
  return withReader(call, (reader) => toFile(call, reader, range, path, begun));
}

/** What an interrupted dump has left. */
interface Begun {
  rows: number;
  /** After the last whole line. */
  end: number;
  lastKey: Uint8Array | undefined;
  isComplete: boolean;
}

async function begunDump(files: Files, path: string): Promise<Begun> {
  const begun: Begun = { rows: 0, end: 0, lastKey: undefined, isComplete: false };
  let line = 0;
  for await (const { text, end, isWhole } of files.lines(path)) {
    if (!isWhole) break;
    const parsed = parseLine(text, ++line);
    if ((line === 1) !== (parsed.type === 'dump'))
      throw new InvalidArgumentError('BAD_ARGUMENT', `${path} is not an interrupted dump: see its line ${line}.`);
    begun.end = end;
    if (parsed.type === 'dump-end') begun.isComplete = true;
    if (parsed.type !== 'row') continue;
    begun.rows++;
    begun.lastKey = parsed.row.key;
  }
  return begun;
}

async function toStandardOutput(call: Call, reader: Reader, range: ScanOptions): Promise<ExitCode> {
  const { printer } = call;
  printer.text(headLine());
  let rows = 0;
  const scan = reader.scan(range);
  for (
    let batch = await scan.nextBatch(DUMPED_AT_ONCE);
    batch.length > 0;
    batch = await scan.nextBatch(DUMPED_AT_ONCE)
  ) {
    if (printer.isClosed) return EXIT.readerGone;
    rows += batch.length;
    printer.text(batch.map(rowLine).join(''));
  }
  printer.text(endLine(rows));
  return leftOut(call, scan.findings);
}

async function toFile(
  call: Call,
  reader: Reader,
  range: ScanOptions,
  path: string,
  begun: Begun | undefined,
): Promise<ExitCode> {
  const { printer, files, again } = call;
  let rows = begun?.rows ?? 0;
  let bytes = begun?.end ?? 0;
  let file: OutputFile | undefined;
  const write = async (text: string) => {
    await file?.write(text);
    bytes += Buffer.byteLength(text);
  };
  const scan = reader.scan({ ...range, ...(begun?.lastKey !== undefined && { after: begun.lastKey }) });
  try {
    file = await files.output(path, begun?.end);
    if (bytes === 0) await write(headLine());
    for (
      let batch = await scan.nextBatch(DUMPED_AT_ONCE);
      batch.length > 0;
      batch = await scan.nextBatch(DUMPED_AT_ONCE)
    ) {
      await write(batch.map(rowLine).join(''));
      rows += batch.length;
      printer.progress(`dumping: ${count(rows, 'row')}, ${size(bytes)}`);
    }
    await write(endLine(rows));
    await file.finish();
  } catch (error) {
    if (isDbError(error)) throw error;
    const next = again.includes(' --resume') ? again : `${again} --resume`;
    const message = `${path} cannot be written: ${(error as Error).message}. Up to ${count(rows, 'row')} are in it. Make room, then go on: ${next}`;
    const failure = new UnavailableError('STORE_FULL', message, { cause: error });
    printer.failure([`${failure.name} ${failure.code}: ${message}`], failure);
    return EXIT.outputLost;
  } finally {
    await file?.close();
  }
  printer.report('dump', { file: path, rows, bytes, complete: true }, () => [
    `${count(rows, 'row')}, ${size(bytes)}, in ${path}.`,
    ...(begun === undefined ? [] : [`The first ${number(begun.rows)} are of an earlier moment than the others.`]),
  ]);
  return leftOut(call, scan.findings);
}

function leftOut({ printer }: Call, findings: readonly Finding[]): ExitCode {
  if (findings.length > 0)
    printer.note(['What could not be read was left out.', ...findingsText(findings, printer.errView)]);
  return exitOfFindings(findings);
}
