/**
 * `sstCheck`: what is wrong with the tables of a database, at five levels, each with all that the one before checks.
 *
 * Writes nothing and works beside a live writer: a table that vanished is compared only with manifests that were listed after
 * its absence was seen. Findings come as they are found, damage of manifests first, then table by table in the order of ids.
 */
import { stopIfAborted } from '../common/abort.ts';
import { CROSS_CHECK } from '../common/advice.ts';
import { sleep } from '../common/clock.ts';
import { InvalidArgumentError } from '../common/errors.ts';
import { type Finding, makeFinding } from '../common/finding.ts';
import {
  type Check,
  type ChecksOf,
  callable,
  checkedOptions,
  describeValue,
  oneOf,
  whole,
} from '../common/option-checks.ts';
import { isUlid, type Ulid } from '../common/ulid.ts';
import { tablePath } from '../format/object-names.ts';
import { dataEnd } from '../format/table-layout.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import { type KnownTable, missingTable } from '../lsm/table/table-anatomy.ts';
import { type AbsentParent, absentParentFinding, absentParents, ofParent } from '../lsm/tree/parents.ts';
import { missingWalFinding } from '../lsm/wal/wal-object.ts';
import { withLogAdvice } from '../recovery/log-damage.ts';
import { extentOf, listFromReplayPoint, missingIds, tooMuchMissing } from '../recovery/log-range.ts';
import { listTables, type StoredTable } from '../recovery/stored-tables.ts';
import { findVanishedLog } from '../recovery/vanished-log.ts';
import { tailLost } from '../recovery/wal-errors.ts';
import { assertRemains, belowBoundaryFindings, logOutOfReach } from './database-state.ts';
import {
  asAnswered,
  checkpointAdvice,
  checkpointsKeeping,
  type DatabaseView,
  isNeeded,
  type NamedTable,
  parentsNamed,
  readDatabaseView,
  type Scope,
} from './named-tables.ts';
import { answeredPaths } from './quarantine.ts';
import { type CheckSummary, verdictOf } from './reports.ts';
import { checkIfReadable, type TableLevel } from './table-check.ts';
import { locatedFinding, openTarget, type Target, TOOL_CHECKS, type ToolOptions, type ToolTarget } from './target.ts';
import { type SourceSeqs, sourcesOutOfOrder } from './tree-check.ts';
import { missingManifestFindings } from './wal-survey.ts';

/** `cross`: also what holds between tables, and tables that no manifest names. */
export type CheckLevel = TableLevel | 'cross';

/** Options of `sstCheck`. */
export interface SstCheckOptions extends ToolOptions {
  /** Default `rows`. */
  level?: CheckLevel;
  /** Which manifests name the tables to check; default `checkpoints`: the newest and those its checkpoints pin. */
  scope?: Scope;
  /** Tables under way at once; default 4. */
  concurrency?: number;
  /** Most bytes to read in a second on average; default no limit. */
  bytesPerSecond?: number;
  /** The cursor of an earlier check: tables that it finished are left out. */
  resumeFrom?: string;
  /** Called when the tables are counted, and then whenever some are finished. What it throws ends the check. */
  onProgress?: (progress: CheckProgress) => void;
}

/** How far a check has come. */
export interface CheckProgress {
  /** What is being checked; the log by `verify` only, after the tables. */
  part: 'tables' | 'log';
  /** Objects finished. */
  done: number;
  /** Objects in all; absent where that is not known before the end. */
  of?: number;
  /** Since the check began. */
  bytesRead: number;
}

/** A running check of tables: its findings as they come, then its summary. */
export interface SstCheck extends AsyncIterable<Finding> {
  /** Resolves when the check has ended; runs what is left of it. */
  summary(): Promise<CheckSummary>;
}

const LEVELS: readonly CheckLevel[] = ['refs', 'tails', 'blocks', 'rows', 'cross'];
const SCOPES: readonly Scope[] = ['live', 'checkpoints', 'all'];
const DEFAULT_CONCURRENCY = 4;

export const LEVEL_CHECK = oneOf(LEVELS);

/** Anything else would pass over tables that no check has read. */
const CURSOR_CHECK: Check = (value, name, faults) => {
  if (typeof value === 'string' && isUlid(value)) return value;
  faults.push(`${name} must be the cursor of an earlier check, the name of a table, not ${describeValue(value)}`);
  return value;
};

const CHECKS: ChecksOf<SstCheckOptions> = {
  ...TOOL_CHECKS,
  level: LEVEL_CHECK,
  scope: oneOf(SCOPES),
  concurrency: whole(1, 1024),
  bytesPerSecond: whole(1, Number.MAX_SAFE_INTEGER),
  resumeFrom: CURSOR_CHECK,
  onProgress: callable,
};

/**
 * Checks tables. Iterate over the findings, or await `summary()`. The iteration rejects with `InvalidArgumentError` for bad
 * options and where no database is, `AbortError`, and with errors of the store; damage is never an error here. Costs three
 * LISTs, a GET of the identity, of three objects of the log and one per manifest in scope, and from level `tails` on one GET per table, from `blocks` on one per 4 MiB besides.
 */
export function sstCheck(t: Target, given: SstCheckOptions = {}): SstCheck {
  return new CheckRun(t, given);
}

const NOT_BY_LEVEL: Record<CheckLevel, readonly string[]> = {
  refs: ['what is in the tables: only whether they are there'],
  tails: ['the blocks and rows of the tables: only their last parts'],
  blocks: ['the rows of the tables: only the checksums of their blocks'],
  rows: ['what holds between tables, and tables that no manifest names'],
  cross: [],
};
const NOT_BY_SCOPE: Record<Scope, readonly string[]> = {
  live: ['manifests and their tables, but for the newest one'],
  checkpoints: ['manifests and their tables, but for the newest one and those of checkpoints'],
  all: [],
};

const NO_MANIFEST = 'which of the tables are in use: there is no manifest';

/** The advice to run the check that runs now would lead in a circle. */
function withoutThisCheck(finding: Finding): Finding {
  const { hint } = finding;
  const commands = hint.commands.filter((command) => command !== CROSS_CHECK);
  return commands.length === hint.commands.length ? finding : { ...finding, hint: { ...hint, commands } };
}

/** What a check with these options says nothing about, whatever its verdict. */
function notChecked({ level = 'rows', scope = 'checkpoints', resumeFrom }: SstCheckOptions): string[] {
  return [
    ...(resumeFrom === undefined ? [] : [`the tables up to ${resumeFrom}, which an earlier check looked at`]),
    ...NOT_BY_LEVEL[level],
    ...NOT_BY_SCOPE[scope],
    'what is in the log: only whether its objects are there',
    'identity, ledger and the other small objects beside the tables',
  ];
}

class CheckRun implements SstCheck {
  readonly #findings: AsyncGenerator<Finding>;
  /** What ended the check before its end: then nothing is known, also when it is asked again. */
  #failure: { error: unknown } | undefined;
  readonly #summary: CheckSummary = {
    verdict: 'clean',
    objects: 0,
    missing: 0,
    sealed: 0,
    bytesRead: 0,
    requests: 0,
    findings: {},
    notChecked: [],
    tookMs: 0,
  };

  constructor(t: Target, given: SstCheckOptions) {
    this.#findings = this.#kept(() => this.#run(t, checkedOptions('sstCheck', given, CHECKS)));
  }

  [Symbol.asyncIterator](): AsyncIterator<Finding> {
    return this.#findings;
  }

  async summary(): Promise<CheckSummary> {
    while (!(await this.#findings.next()).done);
    if (this.#failure !== undefined) throw this.#failure.error;
    return this.#summary;
  }

  async *#kept(run: () => AsyncGenerator<Finding>): AsyncGenerator<Finding> {
    try {
      yield* run();
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  async *#run(t: Target, o: SstCheckOptions): AsyncGenerator<Finding> {
    const target = await openTarget(t, o);
    const bytesBefore = target.stores.counts().bytesIn;
    const summary = this.#summary;
    summary.notChecked = notChecked(o);
    const seen: Pick<Finding, 'severity'>[] = [];
    try {
      for await (const finding of checkTables(target, o, summary)) {
        summary.findings[finding.code] = (summary.findings[finding.code] ?? 0) + 1;
        seen.push({ severity: finding.severity });
        yield locatedFinding(finding, target);
      }
      delete summary.cursor;
    } finally {
      summary.verdict = verdictOf(seen);
      summary.bytesRead = target.stores.counts().bytesIn - bytesBefore;
      summary.requests = target.requests();
      summary.tookMs = target.tookMs();
      target.close();
    }
  }
}

/** The findings of all tables; `summary` is filled as tables are finished. */
async function* checkTables(target: ToolTarget, o: SstCheckOptions, summary: CheckSummary): AsyncGenerator<Finding> {
  const { level = 'rows', scope = 'checkpoints', concurrency = DEFAULT_CONCURRENCY, signal } = o;
  const { stores } = target;
  const view = await readDatabaseView(stores, scope, 'check', signal);
  if (view.ids.length === 0) {
    await assertRemains(target);
    summary.notChecked = [NO_MANIFEST, ...summary.notChecked.filter((text) => !NOT_BY_SCOPE[scope].includes(text))];
  }
  yield* level === 'cross' ? view.findings.map(withoutThisCheck) : view.findings;
  if (view.incompatible !== undefined) return;
  yield* await checkLogRefs(target, view);
  const listed = await listTables(target.stores.main);
  const absent = await absentOf(target, view);
  const answered = await answeredPaths(
    target,
    view.manifests.map((m) => m.loaded),
  );
  for (const parent of absent) {
    const tables = [...view.tables.values()].filter((named) => named.parent === parent.path);
    const finding = absentParentFinding(stores, parent, 'check');
    yield finding.severity === 'unknown' ? finding : asNeeded(finding, view, tables, answered);
  }
  const there = [...view.tables.entries()].filter(([, named]) => !absent.some(({ path }) => path === named.parent));
  const jobs = there.map(([id, named]) => ({ id, named: named as NamedTable | undefined }));
  if (level === 'cross') for (const id of listed.keys()) if (!view.tables.has(id)) jobs.push({ id, named: undefined });
  jobs.sort((a, b) => (a.id < b.id ? -1 : 1));
  const left = jobs.filter((job) => o.resumeFrom === undefined || job.id > o.resumeFrom);
  if (left.length === 0 && o.resumeFrom !== undefined && jobs.length > 0 && !jobs.some((j) => j.id === o.resumeFrom)) {
    throw new InvalidArgumentError(
      'BAD_OPTION',
      `sstCheck: resumeFrom ${o.resumeFrom} is after every table here, so it is no cursor of a check of this database.`,
    );
  }
  const pace = makePace(target, o.bytesPerSecond);
  const sources: SourceSeqs = new Map();
  const bytesBefore = stores.counts().bytesIn;
  const progress = (done: number) =>
    o.onProgress?.({ part: 'tables', done, of: left.length, bytesRead: stores.counts().bytesIn - bytesBefore });
  progress(0);
  for (let i = 0; i < left.length; i += concurrency) {
    stopIfAborted(signal);
    const batch = left.slice(i, i + concurrency);
    const results = await Promise.all(
      batch.map((job) => new TableVisit(target, view, scope, level, summary, pace).visit(job.id, job.named, listed)),
    );
    for (const [k, { findings, seqs }] of results.entries()) {
      if (seqs !== undefined) sources.set(batch[k].id, seqs);
      const { named } = batch[k];
      const parent = named?.parent;
      const located = parent === undefined ? findings : findings.map((f) => ofParent(f, stores.whole, parent));
      yield* located.map((f) => asNeeded(f, view, [named], answered));
    }
    summary.cursor = batch[batch.length - 1].id;
    progress(Math.min(left.length, i + concurrency));
  }
  if (level === 'cross' && o.resumeFrom === undefined) yield* sourcesOutOfOrder(view, sources);
}

/** Parents of which nothing is found: one finding for each says more than one for each of its tables. */
function absentOf({ stores }: ToolTarget, view: DatabaseView): Promise<AbsentParent[]> {
  return absentParents(stores.whole, parentsNamed(view));
}

/** A finding about tables by who needs one of them: the newest state, checkpoints alone, or nothing. */
function asNeeded(
  finding: Finding,
  view: DatabaseView,
  tables: readonly (NamedTable | undefined)[],
  answered: ReadonlySet<string>,
): Finding {
  const needed = tables.filter((named) => isNeeded(view, named));
  if (needed.length === 0) return asUnused(finding, answered);
  const keepers = needed.map((named) => checkpointsKeeping(view, named));
  if (!keepers.every((of) => of.length > 0)) return finding;
  const what = finding.code === 'PARENT_MISSING' ? 'the tables of this parent' : undefined;
  return asNeededByCheckpoints(finding, [...new Set(keepers.flat())], what);
}

/**
 * Damage of what no manifest in use names loses no row, and no repair changes it. It is reported nevertheless, unless a repair has
 * answered it: then it is what that repair replaced.
 */
export function asUnused(finding: Finding, answered: ReadonlySet<string>): Finding {
  if (finding.severity === 'note' || finding.severity === 'unknown') return { ...finding, severity: 'note' };
  if (answered.has(finding.object.path)) return asAnswered(finding);
  // For the log it was reported already.
  if (finding.object.role === 'wal') return { ...finding, severity: 'warning' };
  const hint = { ...finding.hint, summary: UNUSED, commands: [], lossIfRepaired: 'none' as const };
  return { ...finding, severity: 'warning', hint };
}

const UNUSED =
  'Nothing that is in use names this object, so no row is missing for that and there is nothing to repair. It stays a warning until a collector removes the object, or the old manifests that name it.';

/** What only checkpoints need, from the newest state's point of view. `what`: the object, for the sentence. */
export function asNeededByCheckpoints(finding: Finding, checkpoints: readonly string[], what?: string): Finding {
  // The advice is the same for each state that needs it.
  if (finding.severity === 'unknown') return finding;
  const summary = checkpointAdvice(checkpoints, what);
  return { ...finding, hint: { ...finding.hint, summary, commands: [], lossIfRepaired: 'none' } };
}

/** What the log is asked for: whether all of it is there, and whether it knows of manifests that are not. */
async function checkLogRefs(target: ToolTarget, view: DatabaseView): Promise<Finding[]> {
  const { newest, ids } = view;
  if (newest === undefined) return [];
  const boundary = await belowBoundaryFindings(target, ids[ids.length - 1]);
  const elsewhere = await logOutOfReach(target, newest);
  if (elsewhere !== undefined) return [...boundary, elsewhere];
  return [
    ...boundary,
    ...(await missingObjects(target, newest)),
    ...(await missingManifestFindings(target, newest, ids[ids.length - 1])),
  ];
}

/**
 * Objects of the log that must be there: those after the replay point, up to the last that anything names; or, where nothing names
 * any, that the log as a whole is gone.
 */
async function missingObjects(target: ToolTarget, newest: LoadedManifest): Promise<Finding[]> {
  const { stores, signal } = target;
  const { replayAfterWalId } = newest.manifest;
  const { listed, isReplayPointThere } = await listFromReplayPoint(stores.wal, replayAfterWalId);
  const extent = extentOf(newest, listed);
  const implausible = tooMuchMissing(newest, listed, extent);
  if (implausible !== undefined) {
    const now = await readDatabaseView(stores, 'live', 'check', signal);
    if (now.newest?.id !== newest.id) return [];
    return implausible.findings.map((f) => ({ ...f, during: 'check' as const }));
  }
  const { end, lastListed } = extent;
  if (end <= replayAfterWalId && !isReplayPointThere) {
    const vanished = await findVanishedLog(stores, newest, 'check');
    return vanished === undefined ? [] : [vanished];
  }
  const gone = await missingIds(stores.wal, { from: replayAfterWalId + 1, end }, listed);
  if (gone.length === 0) return [];
  // A collector may have been faster: only a manifest that was read after they were missed counts.
  const now = await readDatabaseView(stores, 'live', 'check', signal);
  const after = now.newest?.manifest.replayAfterWalId ?? replayAfterWalId;
  // All that is missing comes after all that is there: the manifest's record of the end may as well be wrong.
  const isTail = now.newest?.id === newest.id && gone[0] > lastListed;
  const byManifest = isTail ? tailLost(newest, lastListed, end, []).findings : [];
  const missing = gone
    .filter((id) => id > after)
    .map(
      // In the words of the log: it is unknown whether it held rows.
      (id): Finding => ({ ...withLogAdvice(missingWalFinding(id), undefined), during: 'check' }),
    );
  return [...byManifest.map((f) => ({ ...f, during: 'check' as const })), ...missing];
}

/** Waits so that bytes do not come faster than allowed. */
function makePace(target: ToolTarget, bytesPerSecond: number | undefined): (bytes: number) => Promise<void> {
  if (bytesPerSecond === undefined) return () => Promise.resolve();
  const startMs = target.clock.monotonicMs();
  let total = 0;
  return async (bytes) => {
    total += bytes;
    const dueMs = startMs + (total / bytesPerSecond) * 1000;
    const waitMs = dueMs - target.clock.monotonicMs();
    if (waitMs > 0) await sleep(target.clock, Math.ceil(waitMs), target.signal);
  };
}

class TableVisit {
  readonly #target: ToolTarget;
  readonly #view: DatabaseView;
  readonly #scope: Scope;
  readonly #level: CheckLevel;
  readonly #summary: CheckSummary;
  readonly #pace: (bytes: number) => Promise<void>;

  constructor(
    target: ToolTarget,
    view: DatabaseView,
    scope: Scope,
    level: CheckLevel,
    summary: CheckSummary,
    pace: (bytes: number) => Promise<void>,
  ) {
    this.#target = target;
    this.#view = view;
    this.#scope = scope;
    this.#level = level;
    this.#summary = summary;
    this.#pace = pace;
  }

  async visit(
    id: Ulid,
    named: NamedTable | undefined,
    listed: ReadonlyMap<Ulid, StoredTable>,
  ): Promise<{ findings: Finding[]; seqs?: { min: number; max: number } | undefined }> {
    const known: KnownTable = {
      id,
      path: named?.path ?? tablePath(id),
      ...(named !== undefined && { info: named.ref.info, formatVersion: named.ref.formatVersion }),
    };
    this.#summary.objects++;
    const store = named?.store ?? this.#target.stores.main;
    if (this.#level === 'refs') return { findings: await this.#checkRef(known, named, listed.get(id)?.size) };
    const level = this.#level === 'cross' ? 'rows' : this.#level;
    const newest = this.#view.isNewestGood ? this.#view.newest : undefined;
    const result = await checkIfReadable({
      store,
      known,
      level,
      limits: newest === undefined || named === undefined ? {} : { maxSeq: newest.manifest.lastL0Seq },
      signal: this.#target.signal,
      pace: this.#pace,
    });
    if (result === undefined) return { findings: await this.#missing(known, named) };
    if ('unread' in result) return { findings: [result.unread] };
    if (result.tail.seal !== undefined) this.#summary.sealed++;
    return result;
  }

  async #checkRef(
    known: KnownTable,
    named: NamedTable | undefined,
    listedSize: number | undefined,
  ): Promise<Finding[]> {
    const store = named?.store ?? this.#target.stores.main;
    const size = listedSize ?? (await store.head(known.path))?.size;
    if (size === undefined) return this.#missing(known, named);
    if (known.info === undefined || size > dataEnd(known.info)) return [];
    return [
      makeFinding({
        code: 'TRUNCATED',
        object: { role: 'table', path: known.path, id: known.id ?? '', sealed: false, size },
        at: { unit: 'object', offset: size, length: 0 },
        expected: `more than ${dataEnd(known.info)} bytes`,
        found: `${size} bytes`,
        during: 'check',
        hint: missingTable(known, 'check').hint,
      }),
    ];
  }

  /** A collector may have been faster: only a manifest that was read after the table was missed counts. */
  async #missing(known: KnownTable, named: NamedTable | undefined): Promise<Finding[]> {
    if (named === undefined) {
      this.#summary.objects--;
      return [];
    }
    const now = await readDatabaseView(this.#target.stores, this.#scope, 'check', this.#target.signal);
    if (!now.tables.has(named.ref.id)) {
      // It was deleted in the meantime, and is none of those that count.
      this.#summary.objects--;
      return [];
    }
    this.#summary.missing++;
    return [missingTable(known, 'check')];
  }
}
