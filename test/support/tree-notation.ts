/**
 * Trees with sizes as text, for tests of which tables are merged. Trees are separated by `;`; level 0 comes first, and
 * everything stands newest first:
 *
 *   L0: 10 20 30 | 100 400      tables t3 t2 t1 (t1 is the oldest), runs r1 r0: without ids they count down to 0 over all trees
 *   L0: | 7:100 4:- 2:10+20     runs with ids, one without tables, one of two tables in the order of their keys
 *   p L0: 10 | 100              the tree of segment `p`: tables p.t1, run r0 (ids of runs are those of the whole database)
 *
 * What may follow the size of a table, in this order:
 *
 *   =X          its name, where several views have one; otherwise each has a name of its own
 *   ~T1         the id of its view, where it is that of table t1, which is legal; otherwise each has an id of its own
 *   <b,m>       first and last key; otherwise a to z in level 0, and in a run one letter after the other
 *   [c,f)       the keys that are visible
 *   {5/9}       5 of its 9 rows are tombstones; {0/9,60@7,30@8}: rows with 60 bytes must have expired by 7, with 30 more by 8;
 *               {0/9,seq5}: sequence numbers up to 5; {?}: nothing is known; otherwise 9 rows, none of them a tombstone
 *   ^           stored below the root of another database
 *   !           found damaged
 *
 * Jobs are `t3 t2 t1 > 5` or `r3 r2 > 2`, those of a segment `p.t1 r3 > 3`; with `drain` for a destination they drain.
 */

import { toHex } from '../../src/common/bytes.ts';
import type { Ulid } from '../../src/common/ulid.ts';
import { destinationOf, freshRunId } from '../../src/compaction/proposal.ts';
import {
  type ActiveJob,
  type Proposal,
  type RowFacts,
  type Scheduler,
  type SchedulerInput,
  type SchedulerOptions,
  treeFacts,
} from '../../src/compaction/scheduling.ts';
import type { Bound, Manifest, SortedRun, TableView, Tree } from '../../src/format/manifest-types.ts';
import { emptyManifest } from '../../src/lsm/manifest/manifest-edits.ts';
import { tableId, tableRef } from './manifest-script.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);
const INDEX_BYTES = 1;
const LETTERS = 'abcdefghijklmnopqrstuvwxy';

export interface NotedTrees {
  manifest: Manifest;
  rows: Map<Ulid, RowFacts>;
  damaged: Set<Ulid>;
  /** Views of level 0 by what jobs call them. */
  l0Names: Map<string, TableView>;
}

/** Reads the text of trees. */
export function parseTrees(text: string): NotedTrees {
  return new TreeParser(text).parse();
}

class TreeParser {
  readonly #noted: NotedTrees;
  readonly #trees: { prefix: string; l0: string[]; runs: string[] }[];
  #nextRunId: number;

  constructor(text: string) {
    this.#noted = {
      manifest: { ...emptyManifest(2, false), sequenceTracker: undefined },
      rows: new Map(),
      damaged: new Set(),
      l0Names: new Map(),
    };
    this.#trees = text.split(';').map((part) => {
      const [, prefix, l0, runs] = /^\s*(\w*)\s*L0:([^|]*)(?:\|(.*))?$/.exec(part) ?? fail(`no tree: ${part}`);
      return { prefix: prefix!, l0: words(l0!), runs: words(runs ?? '') };
    });
    this.#nextRunId = this.#trees.flatMap(({ runs }) => runs).length - 1;
  }

  parse(): NotedTrees {
    const { manifest } = this.#noted;
    for (const { prefix, l0, runs } of this.#trees) {
      const tree: Tree = {
        l0: l0.map((word, i) => this.#l0View(word, prefix, l0.length - i)),
        runs: runs.map((word) => this.#run(word, prefix)),
        lastCompacted: undefined,
      };
      if (prefix === '') Object.assign(manifest, tree);
      else manifest.segments!.push({ ...tree, prefix: utf8(prefix) });
    }
    return this.#noted;
  }

  #l0View(word: string, prefix: string, number: number): TableView {
    const view = this.#view(word, `${prefix.toUpperCase()}T${number}`, [`${prefix}a`, `${prefix}z`]);
    this.#noted.l0Names.set(`${prefix === '' ? '' : `${prefix}.`}t${number}`, view);
    return view;
  }

  #run(word: string, prefix: string): SortedRun {
    const [, id, tables] = /^(?:(\d+):)?(.*)$/.exec(word)!;
    const run = id === undefined ? this.#nextRunId-- : Number(id);
    const list = tables === '-' ? [] : tables!.split('+');
    const views = list.map((text, i) => {
      const [from, to] = list.length === 1 ? ['a', 'z'] : [LETTERS[i]!, `${LETTERS[i]}z`];
      return this.#view(text, `${prefix.toUpperCase()}R${run}X${i}`, [`${prefix}${from}`, `${prefix}${to}`]);
    });
    return { id: run, views };
  }

  #view(word: string, ownName: string, keys: readonly [string, string]): TableView {
    const form =
      /^(\d+)(?:=(\w+))?(?:~(\w+))?(?:<(\w+),(\w+)>)?(?:\[(\w*),(\w*)\))?(?:\{([^}]*)\})?(\^?)(!?)$/.exec(word) ??
      fail(`no table: ${word}`);
    const [, size, name, viewName, first, last, start, end, rows, external, damaged] = form;
    const ref = tableRef(name ?? ownName);
    const indexOffset = Math.max(0, Number(size) - INDEX_BYTES);
    Object.assign(ref.info, {
      indexOffset,
      indexLength: Number(size) - indexOffset,
      filterOffset: indexOffset,
      firstEntry: utf8(first ?? keys[0]),
      lastEntry: utf8(last ?? keys[1]),
    });
    if (rows !== '?') this.#noted.rows.set(ref.id, parseRows(rows ?? '0/9', Number(size)));
    if (damaged !== '') this.#noted.damaged.add(ref.id);
    if (external !== '') externalOf(this.#noted.manifest).push(ref.id);
    const bound = (key: string, kind: 'included' | 'excluded'): Bound =>
      key === '' ? { kind: 'unbounded' } : { kind, key: utf8(key) };
    const visibleRange =
      start === undefined ? undefined : { start: bound(start, 'included'), end: bound(end!, 'excluded') };
    return { viewId: tableId(viewName ?? ownName), table: ref, visibleRange };
  }
}

function parseRows(text: string, bytes: number): RowFacts {
  const [counts, ...rest] = text.split(',');
  const [deletes, all] = counts!.split('/').map(Number);
  const facts: RowFacts = { puts: all! - deletes!, deletes: deletes!, merges: 0, rowBytes: bytes };
  const expiring = rest.filter((part) => part.includes('@')).map((part) => part.split('@').map(Number));
  if (expiring.length > 0) facts.expiring = expiring.map(([size, byMs]) => ({ bytes: size!, byMs: byMs! }));
  const seq = rest.find((part) => part.startsWith('seq'));
  if (seq !== undefined) facts.maxSeq = Number(seq.slice('seq'.length));
  return facts;
}

function externalOf({ externalDbs }: Manifest): Ulid[] {
  if (externalDbs.length === 0) {
    externalDbs.push({ path: 'parent', sourceCheckpointId: 's', finalCheckpointId: undefined, tableIds: [] });
  }
  return externalDbs[0]!.tableIds;
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

function fail(message: string): never {
  throw new Error(message);
}

// ---- jobs

/** `t2 t1 > 5`, or several with commas between them. */
export function parseJobs(text: string, noted: NotedTrees): ActiveJob[] {
  return text
    .split(',')
    .filter((part) => part.trim() !== '')
    .map((part, i) => ({ id: tableId(`J${i}`), ...parseJob(part, noted) }));
}

function parseJob(text: string, { l0Names, manifest }: NotedTrees): Omit<ActiveJob, 'id'> {
  const [sources, goal] = text.split('>').map(words);
  const l0 = sources!.filter((word) => !word.startsWith('r'));
  const runs = sources!.filter((word) => word.startsWith('r')).map((word) => Number(word.slice(1)));
  const prefix = /^(\w+)\./.exec(l0[0] ?? '')?.[1];
  const tree = prefix === undefined ? treeOfRun(manifest, l0.length > 0 ? undefined : runs[0]) : toHex(utf8(prefix));
  const l0ViewIds = l0.map((word) => l0Names.get(word)?.viewId ?? tableId(word.toUpperCase()));
  return { tree, l0ViewIds, runs, destination: goal![0] === 'drain' ? undefined : Number(goal![0]) };
}

/** The tree that has a run, as inputs name it. */
function treeOfRun(manifest: Manifest, run: number | undefined): string {
  const segment = manifest.segments!.find(({ runs }) => runs.some(({ id }) => id === run));
  return segment === undefined ? '' : toHex(segment.prefix);
}

/** A job as text, by names of the trees. `l0ViewIds` and runs as a compactions file has them. */
export function jobText(
  job: { l0ViewIds: readonly Ulid[]; runs: readonly number[]; destination: number | undefined },
  { l0Names }: NotedTrees,
): string {
  const names = new Map([...l0Names].map(([name, { viewId }]) => [viewId, name]));
  const sources = [...job.l0ViewIds.map((id) => names.get(id) ?? id), ...job.runs.map((id) => `r${id}`)];
  return `${sources.join(' ')} > ${job.destination ?? 'drain'}`;
}

/** Proposals as text, each with the run into which it goes; fresh runs count up from `fresh`. */
export function proposalTexts(proposals: readonly Proposal[], noted: NotedTrees, fresh: number): string[] {
  return proposals.map((proposal) => {
    const destination = destinationOf(proposal, fresh);
    if (destination === fresh) fresh++;
    return jobText({ ...proposal, l0ViewIds: proposal.l0.map((view) => view.viewId), destination }, noted);
  });
}

// ---- what a scheduler is given

export const DEFAULTS: SchedulerOptions = {
  minCompactionSources: 4,
  maxCompactionSources: 8,
  includeSizeThreshold: 4,
  sortedRunConsolidationThreshold: 8,
  maxSpaceAmplification: 1,
  l0MaxSsts: 8,
};

/** What a scheduler is given of the trees; `change` says what differs from the defaults. */
export function inputOf(
  noted: NotedTrees,
  { options, ...change }: Partial<Omit<SchedulerInput, 'options'>> & { options?: Partial<SchedulerOptions> } = {},
): SchedulerInput {
  const { manifest, rows, damaged } = noted;
  return {
    trees: treeFacts(manifest, (id) => rows.get(id)),
    active: [],
    slots: 4,
    avoid: damaged,
    nowMs: 0,
    barrier: Number.MAX_SAFE_INTEGER,
    lastSeq: 0,
    keptWhole: [],
    ...change,
    options: { ...DEFAULTS, ...options },
  };
}

export interface Situation extends Partial<Omit<SchedulerInput, 'options' | 'trees' | 'active'>> {
  /** Active ones. */
  jobs?: string;
  options?: Partial<SchedulerOptions>;
}

/** What `scheduler` proposes for trees, each with its reason: `size: r3 r2 > 2`. */
export function picksOf(scheduler: Scheduler, trees: string, { jobs = '', ...situation }: Situation = {}): string[] {
  const noted = parseTrees(trees);
  const active = parseJobs(jobs, noted);
  const input = inputOf(noted, { ...situation, active });
  const { proposals } = scheduler(input);
  const texts = proposalTexts(proposals, noted, freshRunId(input.trees, active, []));
  return texts.map((text, i) => `${proposals[i]!.reason}: ${text}`);
}
