/** `shaledb tree`: what a database looks like. */
import type { TreeInspectOptions } from '../admin.ts';
import { type Call, type Command, LOCATION } from './command.ts';
import { type ExitCode, exitOfFindings } from './exit-codes.ts';
import { treeText } from './tree-text.ts';
import { progressText } from './words.ts';

export const TREE: Command = {
  name: ['tree'],
  summary: 'draws level 0 and the sorted runs: sizes, rows, tombstones, ages, seals, keys',
  about: [
    'Of each table of level 0 and of each sorted run one line, in the order in which reads ask them; of a segmented database for each segment. Tables that are missing or damaged are shown as such. Reads and changes nothing, and may be run beside everything else.',
    'Six requests, up to ten where SlateDB wrote the manifest, and one for each table, of what is after its rows: about 2 % of its bytes. With --no-tails only the manifest is read: rows, seals and damage are not known then. Exit code 0 unless something is wrong with a table (1), or cannot be read (8).',
  ],
  operands: [LOCATION],
  options: {
    tables: { kind: 'flag', says: 'name every table, with its rows, keys and sequence numbers' },
    'no-tails': { kind: 'flag', says: 'from the manifest alone: no request for each table' },
  },
  examples: [
    { line: 'tree file:///var/lib/db', says: 'the shape of the database' },
    { line: 'tree s3://bucket/db --tables', says: 'and every table by its name' },
    { line: 'tree s3://bucket/db --no-tails', says: 'of a large database at once' },
    { line: 'tree file:///var/lib/db --json', says: 'all of it for a script' },
  ],
  run: draw,
};

async function draw({ args, printer, tools, common }: Call): Promise<ExitCode> {
  const options: TreeInspectOptions = {
    ...common,
    ...(args.has('no-tails') && { tails: false }),
    onProgress: (progress) => printer.progress(progressText(progress, 0)),
  };
  const report = await tools.treeInspect(printer.view.location, options);
  printer.report('tree', report, () => treeText(report, printer.view, args.has('tables')));
  return exitOfFindings(report.findings);
}
