/**
 * What to do about damage: every command of `shaledb` that a text names, every page of the documentation, and the hints made of them.
 *
 * 1. A command or a page is written here once, and nowhere else in the source (a law searches for both): so a command that changes its
 *    name changes in hints, errors, reports and help alike.
 * 2. `LOCATION` stands for the location in a command. Who knows it puts it in (`at`): tools that were given a URL, the command line.
 */
import { shellWord } from './shell-word.ts';

/** What to run next, and what that would cost. */
export interface Hint {
  /** What the damage means and what to do about it, in a sentence or two. */
  summary: string;
  /**
   * Commands to run next, most useful first; `LOCATION` in them stands for the database where no URL was given. Empty:
   * none helps.
   */
  commands: string[];
  /** The page that explains it, as a path in the package. */
  docs: string;
  /**
   * Whether the advised repair loses rows; `unknown`: only its plan can say so, which a run without `apply` reports.
   */
  lossIfRepaired: 'none' | 'possible' | 'certain' | 'unknown';
}

/** Pages in the package and in the repository. */
const TROUBLESHOOTING_PAGE = 'docs/troubleshooting.md';
export const TOOLS_PAGE = 'docs/tools.md';

export function makeHint(
  summary: string,
  lossIfRepaired: Hint['lossIfRepaired'],
  commands: readonly string[] = [],
  docs = TROUBLESHOOTING_PAGE,
): Hint {
  return { summary, commands: [...commands], docs, lossIfRepaired };
}

export const DOCTOR = 'shaledb doctor LOCATION';
export const INSPECT_LOG = 'shaledb wal inspect LOCATION';
export const REPAIR_LOG = 'shaledb wal repair LOCATION';
export const INSPECT_MANIFEST = 'shaledb manifest inspect LOCATION';
export const LIST_MANIFESTS = 'shaledb manifest list LOCATION';
export const REPAIR_MANIFEST = 'shaledb manifest repair LOCATION';
export const CHECK_TABLES = 'shaledb sst check LOCATION';
/** The only check that still reads tables, all that are there, where no manifest is left. */
export const CROSS_CHECK = `${CHECK_TABLES} --level cross`;
const INSPECT_TABLE = 'shaledb sst inspect LOCATION';
const REPAIR_TABLE = 'shaledb sst repair LOCATION';
/** Merges everything, where no process has the database open. */
export const COMPACT = 'shaledb compact LOCATION';
/** What can be deleted, and what prevents it; deletes nothing. */
export const PLAN_COLLECTION = 'shaledb gc LOCATION';
export const LIST_LOSSES = 'shaledb damage list LOCATION';
export const LIST_COPIES = 'shaledb quarantine list LOCATION';

export function inspectLogObjects(from: string | number, to: string | number): string {
  return `${INSPECT_LOG} --from ${from} --to ${to}`;
}

export function inspectManifest(id: number): string {
  return `${INSPECT_MANIFEST} ${id}`;
}

export function inspectTable(id: string): string {
  return `${INSPECT_TABLE} ${shellWord(id)}`;
}

export function repairTable(id: string): string {
  return `${REPAIR_TABLE} ${shellWord(id)}`;
}

/** Ends an open entry of the ledger of losses. */
export function acknowledgeLoss(id: string): string {
  return `shaledb damage ack LOCATION ${shellWord(id)} --note "why it is known and accepted"`;
}

/** Inspects a single file instead of a database. */
export const INSPECT_LOG_FILE = `${nameOf(INSPECT_LOG)} --file FILE`;
export const INSPECT_TABLE_FILE = `${nameOf(INSPECT_TABLE)} --file FILE`;

/** The hint with the location in its commands. */
export function hintAt(hint: Hint, location: string): Hint {
  return { ...hint, commands: hint.commands.map((command) => at(command, location)) };
}

/** The command for a location, which is a word of a shell. */
export function at(command: string, location: string): string {
  return command.replace('LOCATION', () => location);
}

/** The name of a command, without what follows it. */
export function nameOf(command: string): string {
  return command.slice(0, command.indexOf(' LOCATION'));
}
