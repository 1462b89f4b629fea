/** `shaledb gc`: what nothing needs any more, and deleting it. */
import type { GcOnceOptions, GcReport } from '../admin.ts';
import { UsageError } from './arguments.ts';
import { type Call, type Command, LOCATION } from './command.ts';
import { EXIT, type ExitCode, exitOfFindings } from './exit-codes.ts';
import { gcText, whyText } from './gc-text.ts';

export const GC: Command = {
  name: ['gc'],
  summary: 'deletes what nothing needs any more; without --apply it shows what that is',
  about: [
    'Manifests, compactions files, tables, objects of the log and copies in quarantine that no manifest that is kept, no checkpoint, no job, no repair and no open loss needs, and that are old enough by the clock of the store. Without --apply nothing is changed: it shows what would go, and with --list or --why also why the rest stays.',
    'May be run beside writers, readers, compactors and other collectors, SlateDB’s too, and be interrupted at any moment. If something that the database needs is missing, damaged or not listed, nothing is deleted.',
    'Some 20 requests, and one for each 1,000 objects that are listed or deleted. Exit code 0 unless something is wrong with the database (1), or cannot be decided (8).',
  ],
  operands: [LOCATION],
  options: {
    apply: { kind: 'flag', says: 'delete; without it nothing is changed' },
    list: { kind: 'flag', says: 'name every object with its age and why it goes or stays' },
    why: { kind: 'text', value: 'PATH', says: 'only this object, by its path below LOCATION: why it goes or stays' },
    'min-age-ms': {
      kind: 'count',
      value: 'MS',
      says: 'least age of what is deleted, by the clock of the store; from 180000 on, default 300000',
    },
    'recent-manifests': {
      kind: 'count',
      value: 'N',
      says: 'how many of the newest manifests are kept with all that they name, for repairs; default 3',
    },
    fences: {
      kind: 'choice',
      choices: ['keep', 'collect'],
      says: 'empty objects of the log that openings leave: keep them (default), or collect those that are a day old',
    },
    'boundary-files': {
      kind: 'choice',
      choices: ['raise', 'off'],
      says: 'off: delete manifests without a boundary file, if the store does not honour If-Match and no other process uses the database',
    },
  },
  examples: [
    { line: 'gc file:///var/lib/db', says: 'what would go' },
    { line: 'gc s3://bucket/db --apply', says: 'delete it' },
    {
      line: 'gc s3://bucket/db --why compacted/01M7W60ETH9EVAJJ6RDPRXZ6HN.sst',
      says: 'why a table is still there',
    },
    { line: 'gc file:///var/lib/db --json', says: 'the same for a script' },
  ],
  repairs: true,
  run: collect,
};

async function collect({ args, printer, tools, common, again }: Call): Promise<ExitCode> {
  const wanted = args.has('apply');
  if (wanted && args.has('why')) throw new UsageError('--why explains and deletes nothing: leave --apply out.');
  printer.progress(wanted ? 'collecting; interrupt at any time' : 'looking at what would go');
  const options = args.members<GcOnceOptions>({
    minAgeMs: 'min-age-ms',
    recentManifests: 'recent-manifests',
    fences: 'fences',
    boundaryFiles: 'boundary-files',
  });
  const report = await tools.gcOnce(printer.view.location, { ...common, ...options, apply: wanted });
  if (args.has('why')) explain(report, args.text('why'), { printer });
  else printer.report('gc', report, () => gcText(report, printer.view, args.has('list'), again));
  if (report.stopped !== undefined && report.findings.length === 0) return EXIT.unavailable;
  return exitOfFindings(report.findings);
}

function explain(report: GcReport, path: string, { printer }: Pick<Call, 'printer'>): void {
  const object = report.objects.find((o) => o.path === path);
  if (object === undefined) {
    const stopped = report.stopped === undefined ? '' : ` ${report.stopped}`;
    throw new UsageError(
      `No list shows ${JSON.stringify(path)}: --why takes a path below LOCATION, such as compacted/01M7W60ETH9EVAJJ6RDPRXZ6HN.sst.${stopped}`,
    );
  }
  printer.report('gc-object', object, () => whyText(object, printer.view));
}
