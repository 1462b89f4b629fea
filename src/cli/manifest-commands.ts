/** `shaledb manifest ...`: the object that says what the database is. */
import type { ManifestRepairOptions } from '../admin.ts';
import { type Call, type Command, LOCATION, REPAIR_OPTIONS } from './command.ts';
import { type ExitCode, exitOfFindings } from './exit-codes.ts';
import { manifestText } from './manifest-text.ts';
import { runRepair } from './repair-call.ts';

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
    return runRepair(call, (common) =>
      call.tools.manifestRepair(call.printer.view.location, {
        ...common,
        ...args.members<ManifestRepairOptions>({
          strategy: 'strategy',
        }),
      }),
    );
  },
};
