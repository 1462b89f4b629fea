/**
 * What a tool works on: a place in a store, or a database that this process has open.
 *
 * Opening a target reads nothing and changes nothing, so tools also run where `open` refuses. Closing it frees what was made
 * for it; an open database stays open.
 */

import { hostname } from 'node:os';
import { untilAborted } from '../common/abort.ts';
import { at, hintAt } from '../common/advice.ts';
import { present } from '../common/assert.ts';
import { type Clock, SYSTEM_CLOCK } from '../common/clock.ts';
import { UnavailableError } from '../common/errors.ts';
import type { Finding } from '../common/finding.ts';
import { type Logger, STDERR_LOGGER, safeLogger } from '../common/logger.ts';
import {
  abortSignal,
  type ChecksOf,
  CLOCK_CHECK,
  filledText,
  LOGGER_CHECK,
  MAX_MS,
  RANDOM_CHECK,
  readingArgument,
  that,
  whole,
} from '../common/option-checks.ts';
import { type Random, SYSTEM_RANDOM } from '../common/random.ts';
import { shellWord } from '../common/shell-word.ts';
import {
  type DatabaseStores,
  DEFAULT_TIMEOUT_MS,
  databaseStores,
  whereOf,
  withSignal,
} from '../lsm/manifest/database-stores.ts';
import { type ToolAccess, toolAccessOf } from '../recovery/tool-access.ts';
import { type Location, resolveLocation, urlText } from '../store/location.ts';
import { type PassedOver, withoutOutsized } from './outsized-names.ts';

/** A database that this process has open, as `open` gives it; a reader is none. */
export interface OpenDatabase {
  /** Path of the database in its store. */
  readonly path: string;
  /** The store that the database is in. */
  readonly store: {
    /** For messages. */
    readonly name: string;
  };
  /** Resolves when the database serves. */
  ready(): Promise<unknown>;
}

/** Where a tool works: whatever `open` takes as location, or an open database. */
export type Target = Location | OpenDatabase;

/** Options of every tool. */
export interface ToolOptions {
  /** Deadline of a single request with its retries, ms; default 60,000. */
  timeoutMs?: number;
  /**
   * The root of the store, a URL above the location: of a clone the directory or prefix that also holds its parent. Default: the
   * topmost one, `file:///` or the bucket. Only for locations that are URLs.
   */
  root?: string | URL;
  /** Ends the tool with `AbortError` at once, whatever it waits for. What it had sent may have been done, as if the process had ended then. */
  signal?: AbortSignal;
  /** Where warnings go, as of `open`. Default: stderr. */
  logger?: Logger;
  /** Time, for tests. Default: the system's; of an open database its own. */
  clock?: Clock;
  /** Randomness, for tests. Default: the system's. */
  random?: Random;
  /** Who this process is in fences and manifests; default `host:pid`. */
  owner?: string;
}

export const TOOL_CHECKS: ChecksOf<ToolOptions> = {
  timeoutMs: whole(1, MAX_MS),
  root: that('a URL', (v) => urlText(v) !== undefined),
  signal: abortSignal,
  logger: LOGGER_CHECK,
  clock: CLOCK_CHECK,
  random: RANDOM_CHECK,
  owner: filledText,
};

/** A target ready for use. */
export interface ToolTarget {
  stores: DatabaseStores;
  clock: Clock;
  random: Random;
  logger: Logger;
  owner: string;
  signal: AbortSignal | undefined;
  /** Set if the target is an open database: then it writes what the tool changes. */
  openDb: ToolAccess | undefined;
  /** Store and path, for messages. */
  where: string;
  /** How the location is written in commands, as a shell takes it: its URL with the root that was stated, or `LOCATION`. */
  label: string;
  /** Requests since the target was opened. */
  requests(): number;
  /** Milliseconds since the target was opened, by the monotonic clock. */
  tookMs(): number;
  close(): void;
}

/** How often a tool reads or claims again because others were faster, before it gives up. */
export const MAX_ROUNDS = 20;

export function tooManyOthers({ where }: ToolTarget): UnavailableError {
  const message = `${where}: the database changed ${MAX_ROUNDS} times in a row while it was looked at or taken over. Stop the processes that use it, then run this again.`;
  return new UnavailableError('DEADLINE', message);
}

type Wrap = (stores: DatabaseStores) => DatabaseStores;

const WRAPPED = new WeakMap<object, { target: Target; wrap: Wrap }>();

/** The same target with other stores around its own, for every tool that is given it. */
export function wrappedTarget(target: Target, wrap: Wrap): Target {
  const wrapped = new URL('memory:/');
  WRAPPED.set(wrapped, { target, wrap });
  return wrapped;
}

/** The same target for a check that passes over names with too great a number, which are then in `passed` (outsized-names.ts). */
export function pastOutsized(target: Target, passed: PassedOver): Target {
  return wrappedTarget(target, (stores) => withoutOutsized(stores, passed));
}

/** Rejects with `InvalidArgumentError` for a location that cannot be used; the options are checked by the caller. No request. */
export async function openTarget(target: Target, options: ToolOptions): Promise<ToolTarget> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
  const wrapped = WRAPPED.get(target as object);
  if (wrapped !== undefined) {
    const opened = await openTarget(wrapped.target, options);
    return { ...opened, stores: wrapped.wrap(opened.stores) };
  }
  const openDb = readingArgument('target', () => toolAccessOf(target));
  const clock = options.clock ?? openDb?.clock ?? SYSTEM_CLOCK;
  const random = options.random ?? openDb?.random ?? SYSTEM_RANDOM;
  const owner = options.owner ?? openDb?.owner ?? `${hostname()}:${process.pid}`;
  const place = openDb === undefined ? await resolveLocation(target as Location, options.root) : undefined;
  const all =
    openDb?.stores ?? databaseStores(present(place, 'what is not open has a place'), { clock, random, timeoutMs });
  const stores = signal === undefined ? all : withSignal(all, signal);
  const before = requestCount(stores);
  const startMs = clock.monotonicMs();
  return {
    stores,
    clock,
    random,
    logger: safeLogger(options.logger ?? STDERR_LOGGER),
    owner,
    signal,
    openDb,
    where: whereOf(stores),
    label: openDb === undefined ? labelOf(target, options.root) : 'LOCATION',
    requests: () => requestCount(stores) - before,
    tookMs: () => Math.round(clock.monotonicMs() - startMs),
    close: () => place?.dispose(),
  };
}

function labelOf(target: Target, root: ToolOptions['root']): string {
  const url = urlText(target);
  if (url === undefined) return 'LOCATION';
  return root === undefined ? shellWord(url) : `${shellWord(url)} --root ${shellWord(String(root))}`;
}

function requestCount(stores: DatabaseStores): number {
  const { get, head, put, list, delete: deletes } = stores.counts();
  return get + head + put + list + deletes;
}

/** The parts of reports that have commands to run next. */
interface WithCommands {
  findings?: Finding[];
  before?: Finding[];
  nextSteps?: string[];
  steps?: unknown[];
  after?: unknown;
}

/** The finding with the location in its commands, so that they can be run as they are. */
export function locatedFinding(finding: Finding, { label }: Pick<ToolTarget, 'label'>): Finding {
  const isDone = finding.hint.commands.every((command) => at(command, label) === command);
  return isDone ? finding : { ...finding, hint: hintAt(finding.hint, label) };
}

/** The same of a whole report. What a repair stores beside the database has no location: that may be copied. */
function located<T>(report: T, target: Pick<ToolTarget, 'label'>): T {
  if (typeof report !== 'object' || report === null || Array.isArray(report)) return report;
  const { findings, before, nextSteps, steps, after }: WithCommands = report;
  const ofAll = (all: readonly Finding[]) => all.map((finding) => locatedFinding(finding, target));
  const isCommand = (step: string) => step.startsWith('shaledb ');
  return {
    ...report,
    ...(findings && { findings: ofAll(findings) }),
    ...(before && { before: ofAll(before) }),
    ...(nextSteps && {
      nextSteps: [...new Set(nextSteps.map((step) => (isCommand(step) ? at(step, target.label) : step)))],
    }),
    ...(steps && { steps: steps.map((step) => located(step, target)) }),
    ...(after !== undefined && { after: located(after, target) }),
  };
}

/** Runs a tool on a target and frees the target, however the tool ends. Commands in its report have the location. */
export async function withTarget<T>(
  target: Target,
  options: ToolOptions,
  run: (target: ToolTarget) => Promise<T>,
): Promise<T> {
  const opened = await openTarget(target, options);
  const work = run(opened).finally(() => opened.close());
  return located(await untilAborted(work, options.signal), opened);
}
