/** `shaledb sst ...`: tables. */
import type { MaxLoss, SstCheckOptions, SstInspectOptions, SstRepairOptions } from '../admin.ts';
import type { Finding } from '../index.ts';
import { UsageError } from './arguments.ts';
import { ACCEPT, type Call, type Command, LOCATION, LOSS_OPTIONS, REPAIR_OPTIONS } from './command.ts';
import { EXIT, type ExitCode, exitOfFindings, exitOfVerdict } from './exit-codes.ts';
import { findingsText } from './finding-text.ts';
import { newestManifestMap } from './newest-manifest-map.ts';
import { runRepairCommand } from './repair-call.ts';
import { checkSummaryText, sstRowText, sstText } from './sst-text.ts';
import { progressText } from './words.ts';

export const CHECK_LEVELS = ['refs', 'tails', 'blocks', 'rows', 'cross'] as const;

export const SST_CHECK: Command = {
  name: ['sst', 'check'],
  summary: 'all tables, as deep as asked, and where in the key space damage is',
  about: [
    'Reads and changes nothing. Levels: refs asks whether every object that is named exists; tails reads the end of each table too; blocks reads every byte and checks the checksums; rows decodes every row and checks order, numbers and row checks; cross also compares tables with each other.',
    'With --json one line for each finding (type finding), and one with the result (type summary) at the end.',
  ],
  operands: [LOCATION],
  options: {
    level: { kind: 'choice', choices: CHECK_LEVELS, says: 'how deep' },
    scope: {
      kind: 'choice',
      choices: ['live', 'checkpoints', 'all'],
      says: 'which manifests name the tables to check',
    },
    concurrency: { kind: 'count', value: 'N', says: 'requests at a time' },
    'bytes-per-second': { kind: 'count', value: 'N', says: 'read no faster than this' },
    'resume-from': {
      kind: 'text',
      value: 'CURSOR',
      says: 'go on where an earlier check ended; its summary has the cursor',
    },
  },
  examples: [
    { line: 'sst check file:///var/lib/db', says: 'the default level' },
    { line: 'sst check s3://bucket/db --level rows --bytes-per-second 20000000', says: 'every row, at 20 MB/s' },
    { line: 'sst check s3://bucket/db --level refs --json', says: 'is every object there? For scripts' },
  ],
  run: check,
};

async function check({ args, printer, tools, common }: Call): Promise<ExitCode> {
  const { location } = printer.view;
  printer.progress('checking');
  const findings: Finding[] = [];
  const run = tools.sstCheck(location, {
    ...common,
    onProgress: (progress) => printer.progress(progressText(progress, findings.length)),
    ...args.members<SstCheckOptions>({
      level: 'level',
      scope: 'scope',
      concurrency: 'concurrency',
      bytesPerSecond: 'bytes-per-second',
      resumeFrom: 'resume-from',
    }),
  });
  for await (const finding of run) {
    if (printer.isClosed) return EXIT.readerGone;
    findings.push(finding);
    if (printer.json) printer.document('finding', finding);
  }
  const summary = await run.summary();
  if (printer.json) printer.document('summary', summary);
  else {
    const map = await newestManifestMap(tools, common, findings, printer.view);
    printer.lines([...checkSummaryText(summary, printer.view), ...map, ...findingsText(findings, printer.view)]);
  }
  return exitOfVerdict(summary.verdict);
}

export const SST_INSPECT: Command = {
  name: ['sst', 'inspect'],
  summary: 'one table: its parts, its blocks, its rows, and a map of where it is damaged',
  about: ['Reads and changes nothing. Also takes a file that holds a table, of any database or of none.'],
  operands: [
    { ...LOCATION, optional: true },
    { name: 'ID', says: 'the table, as findings name it', optional: true },
  ],
  options: {
    file: { kind: 'text', value: 'PATH', says: 'a file instead of LOCATION and ID' },
    rows: { kind: 'flag', says: 'list every row that can be read, and how far it may be trusted' },
    hex: { kind: 'flag', says: 'show the stored bytes of damaged blocks' },
    blocks: { kind: 'flag', says: 'list every block, not only the damaged ones' },
  },
  examples: [
    { line: 'sst inspect file:///var/lib/db 01JC0000000000000000000000', says: 'where a table is damaged' },
    { line: 'sst inspect --file ./01JC0000000000000000000000.sst --blocks', says: 'a copy of a table, block by block' },
    { line: 'sst inspect s3://bucket/db 01JC0000000000000000000000 --rows --json', says: 'its rows, one line each' },
  ],
  run: inspect,
};

/** Raw bytes belong to no database. */
const NO_DATABASE = 'memory:';

async function inspect({ args, printer, tools, common, readFile }: Call): Promise<ExitCode> {
  const isFile = args.has('file');
  if (isFile && args.has('LOCATION'))
    throw new UsageError('--file stands instead of LOCATION and ID, not beside them.');
  if (!isFile && !args.has('ID')) throw new UsageError('Two words are needed: LOCATION and ID; or --file PATH.');
  const options = { ...common, ...args.members<SstInspectOptions>({ rows: 'rows', hexOfBad: 'hex' }) };
  const report = isFile
    ? await tools.sstInspect(NO_DATABASE, { bytes: await readFile(args.text('file')) }, options)
    : await tools.sstInspect(args.text('LOCATION'), args.text('ID'), options);
  printer.report('table', report, () => sstText(report, printer.view, args.has('blocks')));
  if (report.rows !== undefined) {
    for await (const row of report.rows) {
      if (printer.isClosed) return EXIT.readerGone;
      if (printer.json) printer.document('table-row', row);
      else printer.lines([sstRowText(row, printer.view)]);
    }
  }
  return exitOfFindings(report.findings);
}

export const SST_REPAIR: Command = {
  name: ['sst', 'repair'],
  summary: 'replaces a damaged table by one with all that can be had of its rows',
  about: [
    'Without --apply it shows the plan and writes nothing. With it: the table is copied to quarantine, the database is taken over, a new table is written and read back, what is lost is recorded in the ledger, and one new manifest names the new table in the place of the old one, which stays.',
    'A repair that loses rows, or may, is not applied unless --accept-loss says that this is known, or a limit covers the most that can be lost: exit code 5, and nothing is changed.',
    'Where rows of a lost range exist in older tables, an older value, or a value that was deleted, would show through. Then nothing is done unless --accept-resurrection says that this is known.',
  ],
  operands: [LOCATION, { name: 'ID', says: 'the table, as findings name it' }],
  options: {
    ...REPAIR_OPTIONS,
    sources: {
      kind: 'list',
      value: 'LIST',
      says: 'where rows may come from, in this order: reread, heal, rebuild, wal, inputs, salvage',
    },
    accept: ACCEPT,
    'on-loss': {
      kind: 'choice',
      choices: ['refuse', 'mark', 'accept'],
      says: 'what becomes of an accepted loss: mark it in the ledger (default), or mark it there as acknowledged; refuse: none is made',
    },
    ...LOSS_OPTIONS,
    'accept-resurrection': { kind: 'flag', says: 'older values of lost keys may show through' },
    'filter-form': {
      kind: 'choice',
      choices: ['legacy'],
      says: 'write the filter in the form that SlateDB 0.12.1 reads as well, also if nothing is damaged',
    },
  },
  examples: [
    { line: 'sst repair file:///var/lib/db 01JC0000000000000000000000', says: 'what can be had; changes nothing' },
    {
      line: 'sst repair file:///var/lib/db 01JC0000000000000000000000 --apply --plan p-0123456789abcdef01234567',
      says: 'do exactly what was shown, if it loses nothing',
    },
    {
      line: 'sst repair s3://bucket/db 01JC0000000000000000000000 --apply --accept-loss',
      says: 'also if rows are lost',
    },
  ],
  repairs: true,
  run: (call) => {
    const { args } = call;
    const maxLoss = args.members<Pick<MaxLoss, 'rows'>>({ rows: 'max-lost-rows' });
    return runRepairCommand(call, (common) =>
      call.tools.sstRepair(call.printer.view.location, args.text('ID'), {
        ...common,
        ...args.members<SstRepairOptions>({
          sources: 'sources',
          accept: 'accept',
          onLoss: 'on-loss',
          acceptResurrection: 'accept-resurrection',
          filterForm: 'filter-form',
          acceptLoss: 'accept-loss',
        }),
        ...(maxLoss.rows !== undefined && { maxLoss }),
      }),
    );
  },
};
