/** All commands, in the order in which help lists them. */
import { UsageError, unknownName } from './arguments.ts';
import { COMMON_OPTIONS, type Command } from './command.ts';
import { COMPACT_COMMAND } from './compact-command.ts';
import { COMPLETION } from './completion.ts';
import { DOCTOR_COMMAND, PROBE } from './doctor-commands.ts';
import { DUMP } from './dump-command.ts';
import { GC } from './gc-command.ts';
import { DAMAGE_ACK, DAMAGE_LIST, QUARANTINE_LIST, QUARANTINE_RESTORE } from './ledger-commands.ts';
import { LOAD } from './load-command.ts';
import { LS } from './ls-command.ts';
import { MANIFEST_INSPECT, MANIFEST_LIST, MANIFEST_REPAIR, MANIFEST_SHOW } from './manifest-commands.ts';
import { GET, SCAN } from './read-commands.ts';
import { REPAIR } from './repair-command.ts';
import { SST_CHECK, SST_INSPECT, SST_REPAIR } from './sst-commands.ts';
import { STATS } from './stats-command.ts';
import { TREE } from './tree-command.ts';
import { WAL_INSPECT, WAL_REPAIR } from './wal-commands.ts';
import { DELETE, PUT } from './write-commands.ts';

/** What commands are for, as the overview arranges them. */
export interface CommandGroup {
  title: string;
  commands: readonly Command[];
}

export const COMMAND_GROUPS: readonly CommandGroup[] = [
  { title: 'Data', commands: [GET, SCAN, PUT, DELETE, DUMP, LOAD] },
  { title: 'Check and repair', commands: [DOCTOR_COMMAND, REPAIR, PROBE] },
  { title: 'Inspect', commands: [TREE, STATS, LS] },
  { title: 'Log', commands: [WAL_INSPECT, WAL_REPAIR] },
  { title: 'Tables', commands: [SST_CHECK, SST_INSPECT, SST_REPAIR] },
  { title: 'Manifests', commands: [MANIFEST_LIST, MANIFEST_SHOW, MANIFEST_INSPECT, MANIFEST_REPAIR] },
  { title: 'Losses and copies', commands: [DAMAGE_LIST, DAMAGE_ACK, QUARANTINE_LIST, QUARANTINE_RESTORE] },
  { title: 'Upkeep', commands: [COMPACT_COMMAND, GC] },
  { title: 'Shell', commands: [COMPLETION] },
];

export const COMMANDS: readonly Command[] = COMMAND_GROUPS.flatMap(({ commands }) => commands);

/** The commands whose first word this is. */
export function commandsOf(first: string): readonly Command[] {
  return COMMANDS.filter((c) => c.name[0] === first);
}

/** The command that the first words name, and the words after its name. Throws `UsageError`. */
export function findCommand(words: readonly string[]): { command: Command; rest: string[] } {
  const [first = '', second] = words;
  const ofGroup = commandsOf(first);
  const found = ofGroup.find((c) => c.name.length === 1 || c.name[1] === second);
  if (found !== undefined) return { command: found, rest: words.slice(found.name.length) };
  if (first.startsWith('-')) throw misplacedOption(first);
  if (ofGroup.length === 0) throw unknownName('command', first, [...new Set(COMMANDS.map((c) => c.name[0]))]);
  const verbs = ofGroup.map((c) => c.name[1]);
  if (second === undefined || second.startsWith('-')) {
    throw new UsageError(`Missing subcommand: ${verbs.map((verb) => `"${first} ${verb}"`).join(' or ')}.`);
  }
  throw unknownName(`command of ${first}`, second, verbs);
}

/** Only options of all commands may stand before the command. */
function misplacedOption(word: string): UsageError {
  const name = word.replace(/^--?/, '').replace(/=.*$/s, '');
  if (!COMMANDS.some((c) => Object.hasOwn(c.options, name))) {
    return unknownName(
      'option',
      word,
      Object.keys(COMMON_OPTIONS).map((n) => `--${n}`),
    );
  }
  return new UsageError(`--${name} belongs to a command: put it after the command's name.`);
}
