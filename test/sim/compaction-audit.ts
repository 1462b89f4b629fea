/**
 * Checks compactions as they are stored: the jobs of each compactions file, and each manifest by which something was merged, whose runs are
 * made again here, from the rows of their sources, by a plain list (version-model.ts).
 *
 * Rules: a job is listed before it is committed; jobs share no source, and one at a time takes from level 0 of a tree; sources of level 0
 * are its oldest end; only the sources go, and no other run changes; the result is what the rules of rows make of the sources' rows, by
 * the barrier and the time that the job was noted with, at the bottom only if nothing older is below; a new run has an id above all
 * others; the tables are of the epoch under which the manifest was written; the smallest id of the list never passes a job that runs; no
 * manifest of ours takes a source from a job that the newest file lists as running, which SlateDB would give to its workers again and again.
 *
 * A move is in no file: what no job explains has to be one. Its run has exactly the tables of its sources, in an order in which rows ascend, and the
 * rules of rows leave each of them as it is.
 */
import { toHex } from '../../src/common/bytes.ts';
import type { Ulid } from '../../src/common/ulid.ts';
import { type CompactionJob, decodeCompactions } from '../../src/format/compactions-codec.ts';
import type { RunningJob } from '../../src/format/jobs-record.ts';
import type { Manifest, SortedRun, TableView, Tree } from '../../src/format/manifest-types.ts';
import { parseCompactionsPath } from '../../src/format/object-names.ts';
import { decodeManifestSeal } from '../../src/format/seal.ts';
import type { RunLineage } from '../../src/format/seal-records.ts';
import { treesByName } from '../../src/lsm/manifest/view-ids.ts';
import { type ModelRules, type ModelVersion, mergedModel } from '../support/version-model.ts';
import type { TableRows } from './table-rows.ts';

/** What compactors of a run are given. */
export type RowFunctions = Pick<ModelRules, 'fold' | 'filter'>;

const ACTIVE = ['submitted', 'running', 'compacted', 'scheduled'];

interface Options {
  rows: TableRows;
  functions: RowFunctions;
  fail(message: string): void;
  count(what: string): void;
}

/** A tree before and after. */
interface Step {
  before: Tree;
  after: Tree;
  /** Views of level 0 that are gone, newest first. */
  l0: TableView[];
  /** Runs that are gone or have other tables now. */
  runs: SortedRun[];
  /** Runs that are new or have other tables now. */
  results: SortedRun[];
}

export class CompactionAudit {
  readonly #options: Options;
  /** Of all compactions files. */
  readonly #jobs = new Map<Ulid, RunningJob>();
  /** Of the newest one: those that run, and those that are done and not committed yet. */
  running: readonly RunningJob[] = [];
  /** Those that a compactor before has done. */
  #inherited: readonly RunningJob[] = [];
  /** That the newest one lists as running. */
  #shown: readonly CompactionJob[] = [];
  #newestId = 0;
  /** Manifests by which another program changes a tree without a job. */
  readonly foreign = new Set<number>();

  constructor(options: Options) {
    this.#options = options;
  }

  // ---- compactions files

  noteFile(path: string, bytes: Uint8Array): void {
    const id = parseCompactionsPath(path) ?? 0;
    // In an id that a collector has deleted it counts for nobody.
    if (id <= this.#newestId) return;
    this.#newestId = id;
    const { compactions, bodyBytes } = decodeCompactions(bytes);
    const running = decodeManifestSeal(bytes, bodyBytes, 'compactions')?.jobs?.jobs ?? [];
    for (const job of running) this.#jobs.set(job.id, job);
    // Whose tables are stored may be committed by the next compactor, too, after its process has died.
    const done = compactions.jobs.flatMap((job) => (job.status === 'compacted' ? (this.#jobs.get(job.id) ?? []) : []));
    this.#inherited = done.filter((job) => !running.some(({ id: other }) => other === job.id));
    this.running = [...running, ...this.#inherited];
    this.#shown = compactions.jobs.filter(({ status }) => status === 'running' || status === 'scheduled');
    const fail = (what: string) => this.#options.fail(`compactions file ${id}: ${what}`);
    const least = compactions.jobs.map((job) => job.id).sort()[0];
    const passed = running.find((job) => least !== undefined && least > job.id);
    if (passed !== undefined) fail(`its smallest id is ${least}, but job ${passed.id} runs`);
    const ofL0 = running.filter(({ l0ViewIds }) => l0ViewIds.length > 0).map(({ segment }) => toHex(segment));
    if (new Set(ofL0).size < ofL0.length) fail('two jobs take from level 0 of one tree');
    const sources = running.flatMap(({ segment, l0ViewIds, runs }) =>
      [...l0ViewIds, ...runs].map((source) => `${toHex(segment)} ${source}`),
    );
    if (new Set(sources).size < sources.length) fail('two jobs have one source');
    for (const { status, id: jobId } of compactions.jobs) {
      if (ACTIVE.includes(status)) this.#options.count(`jobs listed as ${status}`);
      if (jobId.length === 0) fail('a job without an id');
    }
  }

  // ---- manifests

  /** Whatever the tables are needed for is read before the next event. */
  async follow(previous: Manifest, next: Manifest, id: number): Promise<void> {
    const fail = (what: string) => this.#options.fail(`manifest ${id}: ${what}`);
    const after = treesByName(next);
    if (this.foreign.has(id)) return;
    const before = treesByName(previous);
    const lost = this.#shown.find((job) => hasSources(before, job) && !hasSources(after, job));
    if (lost !== undefined) fail(`sources of job ${lost.id} are gone, which is listed as running`);
    for (const [name, was] of before) {
      const tree = after.get(name);
      if (tree === undefined) fail('a segment is gone');
      else await this.#followTree(name, stepOf(was, tree), next, fail);
    }
  }

  async #followTree(name: string, step: Step, next: Manifest, fail: (what: string) => void): Promise<void> {
    const { before, after, l0, runs, results } = step;
    if (l0.length + runs.length + results.length === 0) return;
    const kept = before.l0.length - l0.length;
    if (before.l0.slice(kept).some((view) => !l0.includes(view))) {
      fail(`level 0 loses ${l0.map((view) => view.table.id).join(', ')}, which is not its oldest end`);
    }
    const taken = new Set<TableView | SortedRun>();
    const given = new Set<SortedRun>();
    for (const job of this.#jobsOf(name, step)) {
      const sources = [
        ...l0.filter((view) => job.l0ViewIds.includes(view.viewId)),
        ...runs.filter((run) => job.runs.includes(run.id)),
      ];
      for (const source of sources) taken.add(source);
      const result = results.find((run) => run.id === job.destination);
      if (result !== undefined) given.add(result);
      await this.#checkJob(job, sources, result, step, next, fail);
      this.#options.count('jobs committed');
    }
    for (const run of results) if (!given.has(run)) await this.#checkMove(run, { step, taken, given }, fail);
    const lost = [...l0, ...runs].find((source) => !taken.has(source) && !isEmptyRun(source));
    if (lost !== undefined) fail(`${sourceText(lost)} is gone, but no job had it as a source`);
    const stray = results.find((run) => !given.has(run));
    if (stray !== undefined) fail(`run ${stray.id} has other tables, but no job went into it`);
    const ids = after.runs.map((run) => run.id);
    if (ids.some((id, i) => i > 0 && id >= ids[i - 1])) fail(`the ids of its runs do not descend: ${ids.join(', ')}`);
  }

  /** A run that no job has made: if it is one of tables that were moved, its sources are taken and it is given. */
  async #checkMove(
    run: SortedRun,
    { step, taken, given }: { step: Step; taken: Set<TableView | SortedRun>; given: Set<SortedRun> },
    fail: (what: string) => void,
  ): Promise<void> {
    const { l0, runs, before } = step;
    const views = (source: TableView | SortedRun) => ('views' in source ? source.views : [source]);
    const tables = new Set(run.views.map(({ table }) => table.id));
    const sources = [...l0, ...runs].filter(
      (source) => !taken.has(source) && !isEmptyRun(source) && views(source).every(({ table }) => tables.has(table.id)),
    );
    const moved = sources.flatMap(views);
    if (moved.length !== run.views.length) return;
    for (const source of sources) taken.add(source);
    given.add(run);
    const all = before.runs.filter((other) => !isEmptyRun(other));
    const places = sources.flatMap((source) => ('views' in source ? all.indexOf(source) : []));
    const isStretch = places.every((place, i) => place === places[0] + i);
    const hasL0 = sources.some((source) => !('views' in source));
    const isGap = hasL0 && places.length > 0 && places[0] !== 0;
    if (!isStretch || isGap) fail(`tables that are no stretch of the tree were moved into run ${run.id}`);
    const read = await Promise.all(run.views.map((view) => this.#options.rows.of(view)));
    const rows = read.flatMap((table) => table.rows);
    const changing = rows.find(({ kind, expires }) => kind !== 'put' || expires !== undefined);
    if (changing !== undefined) fail(`run ${run.id} was moved with the row ${versionText(changing)}`);
    const back = rows.findIndex((row, i) => i > 0 && isBefore(row, rows[i - 1]));
    if (back >= 0) fail(`run ${run.id} was moved, and its row ${back} goes back`);
    if (this.#options.functions.filter !== undefined) fail('tables were moved past the filter');
    const isFresh = sources.every((source) => !('views' in source));
    const greatest = Math.max(-1, ...before.runs.map(({ id }) => id));
    if (isFresh && run.id <= greatest) fail(`a move makes run ${run.id}, but run ${greatest} is there`);
    if (!isFresh && !runs.some(({ id }) => id === run.id)) fail(`a move goes into run ${run.id}, no source of it`);
    this.#options.count('jobs committed');
    this.#options.count('jobs that moved tables');
  }

  /** The jobs that run and all of whose sources are gone, or have become others. */
  #jobsOf(name: string, { l0, runs }: Step): RunningJob[] {
    const isGone = ({ l0ViewIds, runs: ids }: RunningJob) =>
      l0ViewIds.every((id) => l0.some((view) => view.viewId === id)) &&
      ids.every((id) => runs.some((run) => run.id === id));
    return this.running.filter((job) => toHex(job.segment) === name && isGone(job));
  }

  async #checkJob(
    job: RunningJob,
    sources: readonly (TableView | SortedRun)[],
    result: SortedRun | undefined,
    { before }: Step,
    next: Manifest,
    fail: (what: string) => void,
  ): Promise<void> {
    const { rows, functions } = this.#options;
    const { id, destination, retentionMinSeq: barrier, tickMs } = job;
    const isFresh = job.runs.length === 0;
    const greatest = Math.max(-1, ...before.runs.map((run) => run.id));
    if (isFresh && destination <= greatest) fail(`job ${id} makes run ${destination}, but run ${greatest} is there`);
    if (!isFresh && !job.runs.includes(destination)) fail(`job ${id} goes into run ${destination}, no source of it`);
    if (barrier > next.recentSnapshotMinSeq) fail(`job ${id} kept versions from ${barrier} on only`);
    const views = (source: TableView | SortedRun) => ('views' in source ? source.views : [source]);
    const read = (all: readonly TableView[]) => Promise.all(all.map((view) => rows.of(view)));
    const inputs: ModelVersion[][] = [];
    for (const source of sources) inputs.push((await read(views(source))).flatMap((table) => [...table.rows]));
    const made = await read(result?.views ?? []);
    for (const { lineage, epoch } of made) {
      if (lineage?.level !== 'run' || lineage.compactionId !== id)
        fail(`a table of run ${destination} is not of job ${id}`);
      const isRight = this.#inherited.includes(job)
        ? (epoch ?? 0) < next.compactorEpoch
        : epoch === next.compactorEpoch;
      if (!isRight) fail(`job ${id} is of epoch ${epoch}, its commit of ${next.compactorEpoch}`);
    }
    const oldest = before.runs.findLastIndex((run) => job.runs.includes(run.id));
    const isLowest = before.runs.slice(oldest + 1).every(isEmptyRun);
    const rules: ModelRules = {
      barrier,
      tickMs: Number.isFinite(tickMs) ? tickMs : undefined,
      isBottom: job.isBottom && isLowest,
      keptWhole: [],
      keptTombstones: [],
      ...functions,
    };
    const difference = differenceOf(
      mergedModel(inputs, rules),
      made.flatMap((table) => table.rows),
    );
    if (difference !== undefined) fail(`job ${id}, from ${sources.map(sourceText).join(', ')}: ${difference}`);
    this.#count(job, made.length, isLowest);
    this.#checkOrdinals(
      id,
      made.flatMap(({ lineage }) => (lineage?.level === 'run' ? [lineage] : [])),
      fail,
    );
  }

  /** They ascend with the keys, and only the last table may be marked as the last one. */
  #checkOrdinals(id: Ulid, lineages: readonly RunLineage[], fail: (what: string) => void): void {
    const isAfter = ({ ordinal }: RunLineage, i: number) => i === 0 || ordinal > lineages[i - 1].ordinal;
    if (!lineages.every(isAfter)) fail(`the ordinals of job ${id} do not ascend with its keys`);
    if (lineages.slice(0, -1).some(({ isLastOutput }) => isLastOutput))
      fail(`a table of job ${id} is marked as the last one, but is not`);
    if (lineages.some(({ ordinal }) => ordinal >= 2 ** 24)) this.#options.count('jobs in several ranges');
  }

  #count({ runs, retentionMinSeq }: RunningJob, tables: number, isLowest: boolean): void {
    const { count } = this.#options;
    if (tables > 1) count('jobs of several tables');
    if (tables === 0) count('jobs of which nothing was left');
    if (!isLowest) count('jobs above an older run');
    if (runs.length > 0) count('jobs with runs among their sources');
    if (retentionMinSeq > 0) count('jobs with a barrier');
  }
}

function hasSources(trees: ReadonlyMap<string, Tree>, { spec }: CompactionJob): boolean {
  const tree = trees.get(toHex(spec.segment ?? new Uint8Array(0)));
  const hasView = (id: Ulid) => tree?.l0.some(({ viewId }) => viewId === id) === true;
  const hasRun = (id: number) => tree?.runs.some((run) => run.id === id) === true;
  return (spec.l0ViewIds ?? []).every(hasView) && (spec.runs ?? []).every(hasRun);
}

function stepOf(before: Tree, after: Tree): Step {
  const keptViews = new Set(after.l0.map((view) => view.viewId));
  const isIn = (runs: readonly SortedRun[], run: SortedRun) => runs.some((other) => isSameRun(other, run));
  return {
    before,
    after,
    l0: before.l0.filter((view) => !keptViews.has(view.viewId)),
    runs: before.runs.filter((run) => !isIn(after.runs, run)),
    results: after.runs.filter((run) => !isIn(before.runs, run)),
  };
}

function isSameRun(a: SortedRun, b: SortedRun): boolean {
  return a.id === b.id && tablesOfRun(a) === tablesOfRun(b);
}

function tablesOfRun({ views }: SortedRun): string {
  return views.map(({ table }) => table.id).join(' ');
}

/** By key, and versions of one key from the newest on. */
function isBefore(a: ModelVersion, b: ModelVersion): boolean {
  return a.key < b.key || (a.key === b.key && a.seq >= b.seq);
}

function isEmptyRun(source: TableView | SortedRun): boolean {
  return 'views' in source && source.views.length === 0;
}

function sourceText(source: TableView | SortedRun): string {
  return 'views' in source ? `run ${source.id}` : `table ${source.table.id}`;
}

/** The first row that is not as it must be. */
function differenceOf(expected: readonly ModelVersion[], found: readonly ModelVersion[]): string | undefined {
  for (let i = 0; i < Math.max(expected.length, found.length); i++) {
    const [a, b] = [expected[i], found[i]].map(versionText);
    if (a !== b) return `row ${i} is ${b}, not ${a}`;
  }
  return undefined;
}

function versionText(v: ModelVersion | undefined): string {
  if (v === undefined) return 'none';
  const value = v.value.length > 40 ? `${v.value.slice(0, 40)}... (${v.value.length})` : v.value;
  return `${v.key}@${v.seq} ${v.kind} ${value} made ${v.created} expires ${v.expires}`;
}
