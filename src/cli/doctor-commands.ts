/** `shaledb doctor` and `shaledb probe`: is the database all right, and is the store? */
import type { CheckProgress, VerifyOptions } from '../admin.ts';
import { CHECK_TABLES, nameOf } from '../common/advice.ts';
import { type Command, LOCATION } from './command.ts';
import { EXIT, exitOfVerdict } from './exit-codes.ts';
import { newestManifestMap } from './newest-manifest-map.ts';
import { CHECK_LEVELS } from './sst-commands.ts';
import { probeText, verifyText } from './verify-text.ts';
import { progressText } from './words.ts';

export const DOCTOR_COMMAND: Command = {
  name: ['doctor'],
  summary: 'all checks with one verdict, and the commands to run next',
  about: [
    'Checks manifests, log, tables and ledger. Reads and changes nothing, unless --probe asks for the store to be tried: that writes a few small objects under shale/probe/ and deletes them again.',
    'Clean is exit code 0. Degraded (what is read is right, but a filter, a seal or other auxiliary data is damaged, or a loss is not acknowledged yet) and corrupt are 1. Cannot tell (no such damage, but something is of a newer format or out of reach) is 8.',
  ],
  operands: [LOCATION],
  options: {
    level: {
      kind: 'choice',
      choices: CHECK_LEVELS,
      says: `how deep to look into tables, see \`${nameOf(CHECK_TABLES)} --help\``,
    },
    probe: { kind: 'flag', says: 'also check that the store supports what databases rely on' },
  },
  examples: [
    { line: 'doctor file:///var/lib/db', says: 'one verdict' },
    { line: 'doctor s3://bucket/db --level refs --quiet --json', says: 'quickly, for a script' },
  ],
  run: async ({ args, printer, tools, common }) => {
    printer.progress('checking manifests, log and tables');
    const options = {
      ...common,
      ...args.members<VerifyOptions>({ level: 'level', probe: 'probe' }),
      onProgress: (progress: CheckProgress) => printer.progress(progressText(progress, 0)),
    };
    const report = await tools.verify(printer.view.location, options);
    const map = printer.json ? [] : await newestManifestMap(tools, common, report.findings, printer.view);
    printer.report('verify', report, () => verifyText(report, printer.view, map));
    return exitOfVerdict(report.verdict);
  },
};

export const PROBE: Command = {
  name: ['probe'],
  summary: 'checks that a store supports what databases rely on',
  about: [
    'Some servers accept conditional requests and ignore the condition: two writers would then destroy each other there. About 60 requests; writes small objects under shale/probe/ of the location and deletes them again. There need be no database.',
    'Exit code 0 if databases can be written there, 1 if not.',
  ],
  operands: [LOCATION],
  options: {},
  examples: [
    { line: "probe 's3://bucket/db?endpoint=http://127.0.0.1:9000'", says: 'a server of your own' },
    { line: 'probe file:///var/lib/db --json', says: 'a directory, as JSON' },
  ],
  run: async ({ printer, tools, common }) => {
    printer.progress('trying the store');
    const profile = await tools.probe(printer.view.location, common);
    printer.report('probe', profile, () => probeText(profile, printer.view));
    return profile.conditionalCreate ? EXIT.clean : EXIT.damage;
  },
};
