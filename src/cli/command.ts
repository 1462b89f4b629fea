/** The shape of a command, the options that all have, and what one call is given. */
import type { ToolOptions } from '../admin.ts';
import { type Arguments, LOCATION_NAME, type OperandSpec, type OptionSpec } from './arguments.ts';
import type { ExitCode } from './exit-codes.ts';
import type { Files } from './files.ts';
import type { Printer } from './printer.ts';
import type { Tools } from './tools.ts';

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

export interface Example {
  /** What follows `shaledb`, as one would type it. */
  line: string;
  says: string;
}

export interface Command {
  /** The words that name it. */
  name: readonly string[];
  /** One line. */
  summary: string;
  /** What it does, what it changes, what it costs. */
  about: readonly string[];
  operands: readonly OperandSpec[];
  options: OptionSpecs;
  examples: readonly Example[];
  /** Whether the command can change the database, to repair or to tidy it. */
  repairs?: boolean;
  /** Whether it can change the database without being a repair: damage that it meets was there before. */
  writes?: boolean;
  /** What `--if-live-writer fence` is for, where the command takes no database over. */
  allTheSame?: string;
  run(call: Call): Promise<ExitCode>;
}

export interface Call {
  args: Arguments;
  printer: Printer;
  /** All commands that there are. */
  commands: readonly Command[];
  tools: Tools;
  /** Options that every tool takes. */
  common: ToolOptions;
  /** The command as it was typed, without `--apply` and `--plan`, for advice to run it again. */
  again: string;
  readFile(path: string): Promise<Uint8Array>;
  files: Files;
  /** All of standard input. */
  readInput(): Promise<Uint8Array>;
  /** The clock of this machine, ms since the epoch. */
  nowMs(): number;
}

export const LOCATION: OperandSpec = {
  name: LOCATION_NAME,
  says: 'the database: a directory, file:///directory, or s3://bucket/path?endpoint=http://host:9000; may be left out if the variable SHALEDB_LOCATION names it',
};

export const COMMON_OPTIONS: OptionSpecs = {
  json: { kind: 'flag', says: 'plain data with a schemaVersion: one document, or one line for each item of a stream' },
  'redact-keys': { kind: 'flag', says: 'lengths instead of keys and values, in text and JSON' },
  quiet: { kind: 'flag', says: 'no progress on standard error' },
  root: {
    kind: 'text',
    value: 'URL',
    says: 'the root of the store, above LOCATION: of a clone what also holds its parent; default: file:/// or the bucket',
  },
  'timeout-ms': {
    kind: 'count',
    value: 'MS',
    says: 'how long one request to the store may take with all its retries; default 60000',
  },
  help: { kind: 'flag', says: 'this text' },
};

export const APPLY_OPTIONS: OptionSpecs = {
  apply: { kind: 'flag', says: 'change the database; without it a plan is shown and nothing is written' },
  plan: { kind: 'text', value: 'HASH', says: 'with --apply: do exactly the plan with this hash, or nothing' },
};

export const REPAIR_OPTIONS: OptionSpecs = {
  ...APPLY_OPTIONS,
  'if-live-writer': {
    kind: 'choice',
    choices: ['refuse', 'fence'],
    says: 'with signs of a live writer: refuse (default), or take the database over from it',
  },
  'live-check-ms': {
    kind: 'count',
    value: 'MS',
    says: 'how long to look for a live writer before anything is changed; default 5000, 0 does not look',
  },
};

/** Of repairs that can lose rows. */
export const LOSS_OPTIONS: OptionSpecs = {
  'accept-loss': {
    kind: 'flag',
    says: 'with --apply: go on although rows are, or may be, lost; without it such a repair changes nothing',
  },
  'max-lost-rows': {
    kind: 'count',
    value: 'N',
    says: 'with --apply: go on if at most so many rows can be lost, refuse if more can, or if nothing says how many',
  },
};

export const ACCEPT: OptionSpec = {
  kind: 'choice',
  choices: ['verified', 'probable', 'suspect'],
  says: 'which rows may be put back: proven ones, likely ones too, or all that parse',
};
