/**
 * Options of `openReader`: those of a reader alone beside the shared ones (options.ts, whose points hold here), and the check that reports
 * every fault of an options object at once.
 */
import { bool, type ChecksOf, oneOf, optionFaults, readOptions } from '../common/option-checks.ts';
import type { EncodingOptions } from './encoding.ts';
import {
  completeParts,
  completeShared,
  type ResolvedOptions,
  SHARED_CHECKS,
  type SharedOptions,
  type SharedSettings,
} from './options.ts';

/** Options of `openReader`. Each is optional. */
export interface ReaderOptions extends SharedOptions {
  /** With damage in the log, serve what is before it. Default false. */
  allowPrefix?: boolean;
}

/** Settings of a reader: plain data. */
export interface ReaderSettings extends SharedSettings {
  readonly allowPrefix: boolean;
}

const CHECKS: ChecksOf<ReaderOptions & EncodingOptions> = {
  ...SHARED_CHECKS,
  encodingCheck: oneOf(['refuse', 'ignore']),
  allowPrefix: bool,
};

/** Names of the options that are known, for the test that compares them with the documented ones. */
export const READER_OPTION_NAMES: readonly string[] = Object.keys(CHECKS);

/**
 * Checks and completes the options of `openReader`.
 * @throws InvalidArgumentError with all faults at once
 */
export function resolveReaderOptions(options: unknown): ResolvedOptions<ReaderSettings> {
  const { given, faults } = readOptions('openReader', options, CHECKS);
  if (faults.length > 0) throw optionFaults('openReader', faults);
  const o = given as ReaderOptions & EncodingOptions;
  const settings: ReaderSettings = { ...completeShared(o), allowPrefix: o.allowPrefix ?? false };
  const { memoryBytes } = settings;
  // The rows of the log may take half of the budget.
  return { settings, parts: completeParts(o, memoryBytes, Math.floor(memoryBytes / 2)) };
}
