/** `shaledb compact`: merging each tree of a database into one run. */
import type { CompactCallOptions } from '../admin.ts';
import { type Call, type Command, LOCATION, REPAIR_OPTIONS } from './command.ts';
import { compactProgressText, compactText } from './compact-text.ts';
import { EXIT, type ExitCode, exitOfFindings } from './exit-codes.ts';

const { 'live-check-ms': LIVE_CHECK_MS } = REPAIR_OPTIONS;

export const COMPACT_COMMAND: Command = {
  name: ['compact'],
  summary: 'merges each tree into one sorted run; without --apply it shows what that is',
  about: [
    'Reads then ask one table for a key, and what was overwritten, deleted or has expired gives its space back, once the old tables are collected. Everything is read and written again: bytes and requests are shown first. An open database does this by itself, bit by bit; all at once is for databases that nobody has open, before they are archived, or where deleted data has to go.',
    'Where a process has the database open, call db.compact() there instead. This command claims the epoch of compactors: a compactor elsewhere ends its jobs and waits until level 0 has been full for 10 minutes. So it is refused if something is written in the meantime; an idle process cannot be seen. No writer is fenced, and no row is lost.',
    'May be interrupted at any moment: trees that were merged stay merged, what was written besides is garbage. Exit code 0 unless a table is damaged (1); then its repair is named.',
  ],
  operands: [LOCATION],
  options: {
    apply: { kind: 'flag', says: 'merge; without it nothing is changed' },
    'max-sst-bytes': {
      kind: 'count',
      value: 'BYTES',
      says: 'where tables end; 65536 to 4294967296, default 268435456',
    },
    'bytes-per-second': {
      kind: 'count',
      value: 'BYTES',
      says: 'the most that is read and written in a second; default: no limit',
    },
    'max-requests-in-flight': {
      kind: 'count',
      value: 'N',
      says: 'the most requests of the merge that are under way at a time; default 8',
    },
    'max-subcompactions': {
      kind: 'count',
      value: 'N',
      says: 'the most parts of the keys that one merge has under way at a time, each on a thread of its own; default: as many as there are threads for',
    },
    'memory-bytes': {
      kind: 'count',
      value: 'BYTES',
      says: 'memory of the merge; from 8388608 on, default 268435456; with less, tables are smaller',
    },
    'verify-outputs': {
      kind: 'choice',
      choices: ['sample', 'all'],
      says: 'which blocks of new tables are read back before they are used: some (default), or all',
    },
    codec: {
      kind: 'choice',
      choices: ['none', 'snappy', 'zlib', 'lz4', 'zstd'],
      says: 'how new tables are compressed; default: as the newest table is',
    },
    'if-live-writer': {
      kind: 'choice',
      choices: ['refuse', 'fence'],
      says: 'with signs of a process that writes: refuse (default), or take the epoch of its compactor',
    },
    'live-check-ms': { ...LIVE_CHECK_MS, says: 'how long to look for such a process; default 5000, 0 does not look' },
  },
  examples: [
    { line: 'compact file:///var/lib/db', says: 'what would be merged, and what it costs' },
    { line: 'compact s3://bucket/db --apply', says: 'merge it' },
    { line: 'compact s3://bucket/db --apply --bytes-per-second 20000000', says: 'beside other work on the network' },
    { line: 'compact file:///var/lib/db --apply --codec zstd', says: 'and compress it' },
    { line: 'compact file:///var/lib/db --json', says: 'the same for a script' },
  ],
  repairs: true,
  allTheSame: 'To merge all the same, while its compactor waits',
  run: merge,
};

async function merge({ args, printer, tools, common, again }: Call): Promise<ExitCode> {
  const wanted = args.has('apply');
  printer.progress(wanted ? 'looking for a process that writes' : 'looking at what would be merged');
  const report = await tools.compact(printer.view.location, {
    ...common,
    ...args.members<CompactCallOptions>({
      maxSstBytes: 'max-sst-bytes',
      bytesPerSecond: 'bytes-per-second',
      maxRequestsInFlight: 'max-requests-in-flight',
      maxSubcompactions: 'max-subcompactions',
      memoryBytes: 'memory-bytes',
      verifyOutputs: 'verify-outputs',
      compressionCodec: 'codec',
      ifLiveWriter: 'if-live-writer',
      liveCheckMs: 'live-check-ms',
    }),
    apply: wanted,
    onProgress: (progress) => printer.progress(compactProgressText(progress)),
  });
  printer.report('compact', report, () => compactText(report, printer.view, again));
  return report.applied ? EXIT.clean : exitOfFindings(report.findings);
}
