/** `shaledb stats`: a database in numbers. */
import type { TreeInspectOptions } from '../admin.ts';
import { type Call, type Command, LOCATION } from './command.ts';
import { type ExitCode, exitOfFindings } from './exit-codes.ts';
import { statsText } from './stats-text.ts';
import { progressText } from './words.ts';

export const STATS: Command = {
  name: ['stats'],
  summary: 'one page of numbers: bytes, rows, epochs, checkpoints, garbage, what a get costs',
  about: [
    'Bytes and rows of the log, of level 0 and of the sorted runs; epochs with their owners; sequence numbers; checkpoints; how much space is wasted; what a get costs at most; and for each kind of object how many there are, how many something needs, and how many nothing does. What of the latter would be deleted now is decided by more rules: gc shows it.',
    'Reads and changes nothing. About 16 requests, one for each 1,000 objects, one for each manifest that a checkpoint keeps, and one for each table, of what is after its rows. With --no-tails without these: rows and damage are not known then. Exit code 0 unless something is wrong (1), or cannot be read (8).',
  ],
  operands: [LOCATION],
  options: {
    'no-tails': { kind: 'flag', says: 'no request for each table' },
  },
  examples: [
    { line: 'stats file:///var/lib/db', says: 'the page' },
    { line: 'stats s3://bucket/db --no-tails', says: 'of a large database at once' },
    { line: 'stats file:///var/lib/db --json', says: 'for a script or a monitor' },
  ],
  run: count,
};

async function count({ args, printer, tools, common }: Call): Promise<ExitCode> {
  const options: TreeInspectOptions = {
    ...common,
    ...(args.has('no-tails') && { tails: false }),
    onProgress: (progress) => printer.progress(progressText(progress, 0)),
  };
  const report = await tools.stats(printer.view.location, options);
  printer.report('stats', report, () => statsText(report, printer.view));
  return exitOfFindings(report.findings);
}
