/** `shaledb manifest ...`: the object that says what the database is. */
import type { ManifestListOptions, ManifestRepairOptions } from '../admin.ts';
import { type Call, type Command, LOCATION, REPAIR_OPTIONS } from './command.ts';
import { EXIT, type ExitCode, exitOfFindings } from './exit-codes.ts';
import { manifestContentText } from './manifest-content-text.ts';
import { manifestDiffText, manifestListText } from './manifest-list-text.ts';
import { manifestText } from './manifest-text.ts';
import { runRepairCommand } from './repair-call.ts';

export const MANIFEST_INSPECT: Command = {
  name: ['manifest', 'inspect'],
  summary: 'the newest manifest, or one of them: what it names, and whether it can be right',
  about: ['Reads and changes nothing; a handful of requests.'],
  operands: [LOCATION, { name: 'ID', says: 'number of the manifest; default: the newest', optional: true, kind: 'id' }],
  options: {},
  examples: [
    { line: 'manifest inspect file:///var/lib/db', says: 'the newest manifest' },
    { line: 'manifest inspect s3://bucket/db 41 --json', says: 'an older one, as JSON' },
  ],
  run: inspect,
};

async function inspect({ args, printer, tools, common }: Call): Promise<ExitCode> {
  const report = await tools.manifestInspect(printer.view.location, args.id('ID'), common);
  printer.report('manifest', report, () => manifestText(report, printer.view));
  return exitOfFindings(report.findings);
}

export const MANIFEST_LIST: Command = {
  name: ['manifest', 'list'],
  summary: 'the versions of the database: when, by whom, with how many tables, and which are damaged',
  about: [
    'One line for each manifest, newest first: when it was stored by the clock of the store, its size, which role wrote it (if its seal says so: SlateDB writes no seals), tables of level 0, sorted runs, the replay point, and how many checkpoints keep it; in wide terminals also what changed. One that is damaged is listed as damaged, with the reason and what to run next.',
    'Reads and changes nothing. One request for each 1,000 manifests, one for each that is read, and two.',
  ],
  operands: [LOCATION],
  options: {
    limit: { kind: 'count', value: 'N', says: 'how many of the newest to read; default 100' },
    changes: { kind: 'flag', says: 'what changed with each of them, in words' },
  },
  examples: [
    { line: 'manifest list file:///var/lib/db', says: 'the newest 100' },
    { line: 'manifest list s3://bucket/db --limit 5 --changes', says: 'what happened last' },
    { line: 'manifest list file:///var/lib/db --json', says: 'for a script' },
  ],
  run: list,
};

async function list({ args, printer, tools, common }: Call): Promise<ExitCode> {
  const options = args.members<ManifestListOptions>({ limit: 'limit' });
  const report = await tools.manifestList(printer.view.location, { ...common, ...options });
  const shows = { changes: args.has('changes') };
  printer.report('manifest-list', report, () => manifestListText(report, printer.view, shows));
  return exitOfFindings(report.findings);
}

export const MANIFEST_SHOW: Command = {
  name: ['manifest', 'show'],
  summary: 'all that a manifest says, or what differs between two of them',
  about: [
    'Every field: epochs, replay point, sequence numbers, every table of every tree with its keys and sections, checkpoints, other databases. With --json without loss. Whether it can be right is said below; a damaged one is shown as far as it can be read.',
    'With --diff: what has changed from that manifest to this one, in words. Reads and changes nothing; a handful of requests. Exit code 1 if the manifest is damaged; two that differ are no damage.',
  ],
  operands: [LOCATION, { name: 'ID', says: 'number of the manifest; default: the newest', optional: true, kind: 'id' }],
  options: {
    diff: { kind: 'id', value: 'FROM', says: 'what changed from manifest FROM to this one' },
  },
  examples: [
    { line: 'manifest show file:///var/lib/db', says: 'the newest manifest' },
    { line: 'manifest show s3://bucket/db 41 --json', says: 'an older one, as JSON' },
    { line: 'manifest show file:///var/lib/db --diff 41 43', says: 'what changed from 41 to 43' },
    { line: 'manifest show file:///var/lib/db --diff 41', says: 'what changed since 41' },
  ],
  run: show,
};

async function show({ args, printer, tools, common }: Call): Promise<ExitCode> {
  const { view } = printer;
  const from = args.id('diff');
  if (from !== undefined) {
    const diff = await tools.manifestDiff(view.location, from, args.id('ID'), common);
    printer.report('manifest-diff', diff, () => manifestDiffText(diff, view));
    return EXIT.clean;
  }
  const report = await tools.manifestInspect(view.location, args.id('ID'), common);
  printer.report('manifest', report, () => manifestContentText(report, view));
  return exitOfFindings(report.findings);
}

export const MANIFEST_REPAIR: Command = {
  name: ['manifest', 'repair'],
  summary: 'writes a new manifest above a damaged or missing one',
  about: [
    'Without --apply it shows the plan and writes nothing. Stop every process of the database first: all of them keep the manifest in memory.',
    'Strategies: heal undoes small damage; previous goes on from the newest good manifest and replays the log from there; roll-forward does that with tables that only lost manifests named, where the log is collected already; auto (default) takes the first of them that loses nothing.',
    'Where every manifest is good, auto repairs what SlateDB 0.16 and 0.17 do to unions: it gives views of level 0 that share an id ids of their own, and shows a view again that a compaction lost for that reason.',
  ],
  operands: [LOCATION],
  options: {
    ...REPAIR_OPTIONS,
    strategy: { kind: 'choice', choices: ['auto', 'heal', 'previous', 'roll-forward'], says: 'how' },
  },
  examples: [
    { line: 'manifest repair file:///var/lib/db', says: 'what can be done; changes nothing' },
    {
      line: 'manifest repair file:///var/lib/db --apply --plan p-0123456789abcdef01234567',
      says: 'do exactly what was shown',
    },
    { line: 'manifest repair s3://bucket/db --strategy previous --json', says: 'the plan of one strategy, as JSON' },
  ],
  repairs: true,
  run: (call) => {
    const { args } = call;
    return runRepairCommand(call, (common) =>
      call.tools.manifestRepair(call.printer.view.location, {
        ...common,
        ...args.members<ManifestRepairOptions>({
          strategy: 'strategy',
        }),
      }),
    );
  },
};
