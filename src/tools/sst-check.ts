/**
 * `sstCheck`: what is wrong with the tables of a database, at five levels, each with all that the one before looks at.
 *
 * Writes nothing and works beside a live writer: a table that vanished is judged only against manifests that were listed after
 * its absence was seen. Findings come as they are found, damage of manifests first, then table by table in the order of ids.
 */
import { stopIfAborted } from '../common/abort.ts';
import { sleep } from '../common/clock.ts';
import { type Finding, InvalidArgumentError, isCannotTell, makeFinding, unknownFinding } from '../common/errors.ts';
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
import { parseTablePath, TABLE_PREFIX, tablePath } from '../format/object-names.ts';
import { dataEnd } from '../format/table-layout.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import { type KnownTable, missingTable } from '../lsm/table/table-anatomy.ts';
import { type AbsentParent, absentParentFinding, absentParents, ofParent } from '../lsm/tree/parents.ts';
import { missingWalFinding } from '../lsm/wal/wal-object.ts';
import { advised } from '../recovery/log-damage.ts';
import { extentOf, listFromReplayPoint, missingIds, tooMuchMissing } from '../recovery/log-range.ts';
import { CROSS_CHECK } from '../recovery/remains.ts';
import { findVanishedLog } from '../recovery/vanished-log.ts';
import { tailLost } from '../recovery/wal-errors.ts';
import { assertRemains, belowBoundaryFindings, logOutOfReach } from './database-state.ts';
import {
  asAnswered,
  checkpointAdvice,
  isNeeded,
  type NamedTable,
  onlyKeptBy,
  type Picture,
  parentsNamed,
  readPicture,
  type Scope,
} from './named-tables.ts';
import { answeredPaths } from './quarantine.ts';
import { type CheckSummary, verdictOf } from './reports.ts';
import { checkTable, type TableCheckJob, type TableCheckResult, type TableLevel } from './table-check.ts';
import { openTarget, type Target, TOOL_CHECKS, type ToolOptions, type ToolTarget } from './target.ts';
import { type SourceSeqs, sourcesOutOfOrder } from './tree-check.ts';
import { missingManifestFindings } from './wal-survey.ts';

/** `cross`: also what holds between tables, and tables that no manifest names. */
export type CheckLevel = TableLevel | 'cross';

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
  part: 'tables' | 'log';
  /** Objects finished. */
  done: number;
  /** Objects in all; absent where that is not known before the end. */
  of?: number;
  /** Since the check began. */
  bytesRead: number;
}

export interface SstCheck extends AsyncIterable<Finding> {
  /** Resolves when the check has ended; runs what is left of it. */
  summary(): Promise<CheckSummary>;
}

const LEVELS: readonly CheckLevel[] = ['refs', 'tails', 'blocks', 'rows', 'cross'];
const SCOPES: readonly Scope[] = ['live', 'checkpoints', 'all'];
const DEFAULT_CONCURRENCY = 4;

export const LEVEL_CHECK = oneOf(LEVELS);

/** Anything else would pass over tables that nobody has looked at. */
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
        yield finding;
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
  const picture = await readPicture(stores, scope, 'check', signal);
  if (picture.ids.length === 0) {
    await assertRemains(target);
    summary.notChecked = [NO_MANIFEST, ...summary.notChecked.filter((text) => !NOT_BY_SCOPE[scope].includes(text))];
  }
  yield* level === 'cross' ? picture.findings.map(withoutThisCheck) : picture.findings;
  if (picture.incompatible !== undefined) return;
  yield* await checkLogRefs(target, picture);
  const listed = await listTables(target);
  const absent = await absentOf(target, picture);
  const answered = await answeredPaths(
    target,
    picture.manifests.map((m) => m.loaded),
  );
  for (const parent of absent) {
    const tables = [...picture.tables.values()].filter((named) => named.parent === parent.path);
    const finding = absentParentFinding(stores, parent, 'check');
    yield finding.severity === 'unknown' ? finding : asNeeded(finding, picture, tables, answered);
  }
  const there = [...picture.tables.entries()].filter(([, named]) => !absent.some(({ path }) => path === named.parent));
  const jobs = there.map(([id, named]) => ({ id, named: named as NamedTable | undefined }));
  if (level === 'cross')
    for (const id of listed.keys()) if (!picture.tables.has(id)) jobs.push({ id, named: undefined });
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
      batch.map((job) => new TableVisit(target, picture, scope, level, summary, pace).visit(job.id, job.named, listed)),
    );
    for (const [k, { findings, seqs }] of results.entries()) {
      if (seqs !== undefined) sources.set(batch[k].id, seqs);
      const { named } = batch[k];
      const located = named?.parent === undefined ? findings : findings.map((f) => ofParent(f, stores, named.parent!));
      yield* located.map((f) => asNeeded(f, picture, [named], answered));
    }
    summary.cursor = batch[batch.length - 1].id;
    progress(Math.min(left.length, i + concurrency));
  }
  if (level === 'cross' && o.resumeFrom === undefined) yield* sourcesOutOfOrder(picture, sources);
}

/** Parents of which nothing is found: one finding for each says more than one for each of its tables. */
function absentOf({ stores }: ToolTarget, picture: Picture): Promise<AbsentParent[]> {
  return absentParents(stores, parentsNamed(picture));
}

/** A finding about tables by who needs one of them: the newest state, checkpoints alone, or nobody. */
function asNeeded(
  finding: Finding,
  picture: Picture,
  tables: readonly (NamedTable | undefined)[],
  answered: ReadonlySet<string>,
): Finding {
  const needed = tables.filter((named) => isNeeded(picture, named));
  if (needed.length === 0) return ofNoUse(finding, answered);
  const keepers = needed.map((named) => onlyKeptBy(picture, named));
  return keepers.every((of) => of.length > 0) ? ofCheckpoints(finding, [...new Set(keepers.flat())]) : finding;
}

/**
 * What no manifest in use names takes no row away, and no repair changes it. It is worth a look all the same, unless a repair has
 * answered it: then it is what that repair replaced.
 */
export function ofNoUse(finding: Finding, answered: ReadonlySet<string>): Finding {
  if (finding.severity === 'note' || finding.severity === 'unknown') return { ...finding, severity: 'note' };
  if (answered.has(finding.object.path)) return asAnswered(finding);
  // Of the log it was told already.
  if (finding.object.role === 'wal') return { ...finding, severity: 'warning' };
  const hint = { ...finding.hint, summary: OF_NO_USE, commands: [], lossIfRepaired: 'none' as const };
  return { ...finding, severity: 'warning', hint };
}

const OF_NO_USE =
  'Nothing that is in use names this object, so no row is missing for that and there is nothing to repair. It stays a warning until a collector removes the object, or the old manifests that name it.';

function ofCheckpoints(finding: Finding, checkpoints: readonly string[]): Finding {
  // How to be able to tell is the same whoever needs it.
  if (finding.severity === 'unknown') return finding;
  const what = finding.code === 'PARENT_MISSING' ? 'the tables of this parent' : undefined;
  const summary = checkpointAdvice(checkpoints, what);
  return { ...finding, hint: { ...finding.hint, summary, commands: [], lossIfRepaired: 'none' } };
}

async function listTables({ stores }: ToolTarget): Promise<Map<Ulid, number>> {
  const sizes = new Map<Ulid, number>();
  for await (const { path, size } of stores.main.list(TABLE_PREFIX)) {
    const id = parseTablePath(path);
    if (id !== undefined) sizes.set(id, size);
  }
  return sizes;
}

/** What the log is asked for: whether all of it is there, and whether it knows of manifests that are not. */
async function checkLogRefs(target: ToolTarget, picture: Picture): Promise<Finding[]> {
  const { newest, ids } = picture;
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
 * Objects of the log that must be there: those behind the replay point, up to the last that anything speaks of; or, where nothing speaks
 * of any, that the log as a whole is gone.
 */
async function missingObjects(target: ToolTarget, newest: LoadedManifest): Promise<Finding[]> {
  const { stores, signal } = target;
  const { replayAfterWalId } = newest.manifest;
  const { listed, isReplayPointThere } = await listFromReplayPoint(stores.wal, replayAfterWalId);
  const extent = extentOf(newest, listed);
  const senseless = tooMuchMissing(newest, listed, extent);
  if (senseless !== undefined) {
    const now = await readPicture(stores, 'live', 'check', signal);
    if (now.newest?.id !== newest.id) return [];
    return senseless.findings.map((f) => ({ ...f, during: 'check' as const }));
  }
  const { end, lastListed } = extent;
  if (end <= replayAfterWalId && !isReplayPointThere) {
    const vanished = await findVanishedLog(stores, newest, 'check');
    return vanished === undefined ? [] : [vanished];
  }
  const gone = await missingIds(stores.wal, { from: replayAfterWalId + 1, end }, listed);
  if (gone.length === 0) return [];
  // A collector may have been faster: only a manifest that was read after they were missed counts.
  const now = await readPicture(stores, 'live', 'check', signal);
  const after = now.newest?.manifest.replayAfterWalId ?? replayAfterWalId;
  // All that is missing lies behind all that is there: just as well what the manifest says of the end is wrong.
  const isTail = now.newest?.id === newest.id && gone[0] > lastListed;
  const byManifest = isTail ? tailLost(newest, lastListed, end, []).findings : [];
  const missing = gone
    .filter((id) => id > after)
    .map(
      // In the words of the log: nobody knows whether it held rows.
      (id): Finding => ({ ...advised(missingWalFinding(id), undefined), during: 'check' }),
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
  readonly #picture: Picture;
  readonly #scope: Scope;
  readonly #level: CheckLevel;
  readonly #summary: CheckSummary;
  readonly #pace: (bytes: number) => Promise<void>;

  constructor(
    target: ToolTarget,
    picture: Picture,
    scope: Scope,
    level: CheckLevel,
    summary: CheckSummary,
    pace: (bytes: number) => Promise<void>,
  ) {
    this.#target = target;
    this.#picture = picture;
    this.#scope = scope;
    this.#level = level;
    this.#summary = summary;
    this.#pace = pace;
  }

  async visit(
    id: Ulid,
    named: NamedTable | undefined,
    listed: ReadonlyMap<Ulid, number>,
  ): Promise<{ findings: Finding[]; seqs?: { min: number; max: number } | undefined }> {
    const known: KnownTable = {
      id,
      path: named?.path ?? tablePath(id),
      ...(named !== undefined && { info: named.ref.info, formatVersion: named.ref.formatVersion }),
    };
    this.#summary.objects++;
    const store = named?.store ?? this.#target.stores.main;
    if (this.#level === 'refs') return { findings: await this.#checkRef(known, named, listed.get(id)) };
    const level = this.#level === 'cross' ? 'rows' : this.#level;
    const newest = this.#picture.isNewestGood ? this.#picture.newest : undefined;
    const result = await this.#checked(known, {
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

  /** A table that this program cannot read hides nothing about the others. */
  async #checked(known: KnownTable, job: TableCheckJob): Promise<TableCheckResult | { unread: Finding } | undefined> {
    try {
      return await checkTable(job);
    } catch (error) {
      if (!isCannotTell(error) || error.retryable) throw error;
      const object = { role: 'table' as const, path: known.path, id: known.id ?? '', sealed: false };
      return { unread: unknownFinding(error, { object, during: 'check' }) };
    }
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
    if (named === undefined) return [];
    const now = await readPicture(this.#target.stores, this.#scope, 'check', this.#target.signal);
    return now.tables.has(named.ref.id) ? [missingTable(known, 'check')] : [];
  }
}
