/**
 * Which jobs begin, as data: a manifest (the notation: manifest-script.ts), the jobs of the compactions file, what the scheduler proposes and
 * what is asked for, then what begins. Jobs that run are ours.
 *
 *   ours J l0 A run 3 to 3 | submitted J l0 B A to 5 | done J to 9      jobs of the file, by their ids
 *   propose - l0 B A run 3, p run 7                                     of the scheduler: trees with their sources
 *   whole - p                trees that are to become one run            slots 2, avoid A, least 12
 *
 *   J -> 5 (l0 B A): begins; failed J, drain J, invalid, nothing to do in -, no - : a tree that cannot be merged
 */
import { describe, expect, it } from 'vitest';
import { toHex } from '../../../src/common/bytes.ts';
import type { Ulid } from '../../../src/common/ulid.ts';
import { chooseJobs } from '../../../src/compaction/job-choice.ts';
import { type Proposal, type SchedulerInput, treeFacts } from '../../../src/compaction/scheduling.ts';
import type { CompactionJob, JobStatus } from '../../../src/format/compactions-codec.ts';
import type { RunningJob } from '../../../src/format/jobs-record.ts';
import { parseManifest, tableId, tableName } from '../../support/manifest-script.ts';
import { DEFAULTS } from '../../support/tree-notation.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);
const treeName = (word: string) => (word === '-' ? '' : toHex(utf8(word)));

interface Named {
  l0: string[];
  run: string[];
  to: string[];
  seg: string[];
  drain: string[];
}

function named(words: readonly string[]): Named {
  const found: Named = { l0: [], run: [], to: [], seg: [], drain: [] };
  let at: string[] = [];
  for (const word of words) {
    if (word in found) at = found[word as keyof Named];
    else at.push(word);
  }
  return found;
}

function choose(script: string): string {
  const [manifest, ...facts] = script.split(' | ');
  const jobs: CompactionJob[] = [];
  const running: RunningJob[] = [];
  const proposals: [string, Named][] = [];
  const whole = new Set<string>();
  const avoid = new Set<Ulid>();
  let [slots, leastRunId, version] = [4, 0, 2];
  for (const fact of facts.flatMap((text) => (text.startsWith('propose') ? [text] : text.split(', ')))) {
    const [verb, ...words] = fact.trim().split(/ +/);
    if (verb === 'slots') slots = Number(words[0]);
    else if (verb === 'least') leastRunId = Number(words[0]);
    else if (verb === 'v1') version = 1;
    else if (verb === 'whole') for (const word of words) whole.add(treeName(word));
    else if (verb === 'avoid') for (const word of words) avoid.add(tableId(word));
    else if (verb === 'propose') {
      for (const one of fact.slice(8).split(', ')) {
        const [tree, ...sources] = one.split(' ');
        proposals.push([treeName(tree!), named(sources)]);
      }
    } else {
      const [id, ...sources] = words;
      const { l0, run, to, seg, drain } = named(sources);
      const l0ViewIds = l0.map(tableId);
      const runs = run.map(Number);
      const segment = utf8(seg[0] ?? drain[0] ?? '');
      const facts = { isBottom: false, retentionMinSeq: 0, tickMs: 0, sourcesDigest: new Uint8Array(16), parts: [] };
      if (verb === 'ours')
        running.push({ id: tableId(id!), segment, destination: Number(to[0]), l0ViewIds, runs, ...facts });
      const status = { ours: 'running', done: 'completed' }[verb!] ?? verb;
      const spec =
        drain.length > 0
          ? ({ kind: 'drain', segment, l0ViewIds, runs } as const)
          : ({
              kind: 'tiered',
              deprecatedTables: undefined,
              l0ViewIds,
              runs,
              segment,
              destination: Number(to[0] ?? 0),
            } as const);
      jobs.push({
        id: tableId(id!),
        status: status as JobStatus,
        spec,
        outputs: undefined,
        worker: undefined,
        context: undefined,
      });
    }
  }
  let drawn = 0;
  const trees = treeFacts(parseManifest(manifest!), () => undefined);
  const toProposal = ([tree, { l0, run }]: [string, Named]): Proposal => ({
    tree,
    l0: trees.find(({ name }) => name === tree)?.l0.filter((view) => l0.includes(tableName(view.viewId))) ?? [],
    runs: run.map(Number),
    reason: 'size',
  });
  const asked: SchedulerInput[] = [];
  const choice = chooseJobs({
    trees,
    file: {
      compactions: { headerVersion: version as 1 | 2, compactorEpoch: 1, jobs, hasUnknownFields: false },
      running,
    },
    slots,
    leastRunId,
    wholeTrees: whole,
    avoid,
    nowMs: 0,
    barrier: 0,
    lastSeq: 0,
    keptWhole: [],
    moveBytes: undefined,
    options: DEFAULTS,
    drawId: () => tableId(`NEW${++drawn}`),
    scheduler: (input) => {
      asked.push(input);
      return { proposals: proposals.map(toProposal), wakeAtMs: 7 };
    },
  });
  expect([asked.length, choice.wakeAtMs]).toEqual([1, 7]);
  expect(asked[0]!.trees.some(({ name }) => whole.has(name))).toBe(false);
  const sources = ({ l0, runs }: Proposal) => [...l0.map((view) => tableName(view.viewId)), ...runs].join(' ');
  return [
    ...choice.jobs.map(({ id, proposal, destination }) => `${tableName(id)} -> ${destination} (${sources(proposal)})`),
    ...choice.drains.map(({ id }) => `drain ${tableName(id)}`),
    ...choice.failed.map(({ id, fault }) => `failed ${tableName(id)}: ${fault.fault}`),
    ...choice.verdicts.flatMap((error) => (error === undefined ? [] : `invalid: ${error.details['fault']}`)),
    ...choice.whole.map(({ tree, fault }) =>
      fault === undefined ? `nothing to do in ${tree || '-'}` : `no ${tree || '-'}: ${fault.fault}`,
    ),
  ].join('; ');
}

const CASES = [
  // What the scheduler proposes.
  'l0 C B A; run 4 E | propose - l0 B A => NEW1 -> 5 (B A)',
  'l0 C B A; run 4 E | propose - l0 C B A run 4 => NEW1 -> 4 (C B A 4)',
  'l0 C B A; run 4 E | propose - l0 C B => invalid: not-oldest-end',
  'l0 C B A; run 7 D; run 4 E | propose - l0 B A, - run 7 4 => NEW1 -> 8 (B A); NEW2 -> 4 (7 4)',
  'l0 C B A; run 7 D; run 4 E | propose - l0 B A, - l0 C B A => NEW1 -> 8 (B A); invalid: source-in-use',
  'l0 A; seg p l0 B | propose - l0 A, p l0 B => NEW1 -> 0 (A); NEW2 -> 1 (B)',
  'l0 A; seg p l0 B | slots 1 | propose - l0 A, p l0 B => NEW1 -> 0 (A)',
  'l0 A | slots 0 | propose - l0 A => ',
  'l0 C B A; run 4 E | ours J l0 B A to 5 | propose - l0 B A => invalid: source-in-use',
  'l0 C B A; run 7 D; run 4 E | ours J run 7 4 to 4 | propose - l0 B A => NEW1 -> 8 (B A)',
  'l0 B A | ours J seg p run 20 to 20 | propose - l0 B A => NEW1 -> 21 (B A)',
  'l0 B A | done J to 9 | propose - l0 B A => NEW1 -> 10 (B A)',
  'l0 B A | least 12 | propose - l0 B A => NEW1 -> 12 (B A)',
  'l0 C B A | avoid A | propose - l0 C B A => invalid: damaged-source',
  // What was submitted comes first.
  'l0 C B A; run 4 E | submitted J l0 B A to 5 | propose - l0 B A => J -> 5 (B A); invalid: source-in-use',
  'l0 C B A; run 4 E | submitted J l0 B A to 9 | propose - l0 B A => J -> 9 (B A); invalid: source-in-use',
  'l0 C B A; run 4 E | submitted J l0 B A to 4 => failed J: destination-not-fresh',
  'l0 C B A; run 7 D; run 4 E | submitted J run 7 4 to 7 => failed J: wrong-destination',
  'l0 C B A; run 4 E | submitted J l0 C B to 5 => failed J: not-oldest-end',
  'l0 C B A; run 4 E | submitted J l0 B A to 0, v1 => J -> 5 (B A)',
  'l0 C B A; run 4 E | submitted J l0 B A run 4 to 4, v1 => J -> 4 (B A 4)',
  'l0 B A; seg p l0 D; seg q l0 F | submitted J l0 B A to 5, submitted K seg p l0 D to 6 => J -> 5 (B A); K -> 6 (D)',
  'l0 B A; seg p l0 D | submitted J l0 B A to 6, submitted K seg p l0 D to 5 => J -> 6 (B A); failed K: destination-not-fresh',
  // It waits where something has to end first, and nobody takes its sources.
  'l0 C B A; run 4 E | ours I l0 A to 5, submitted J l0 C B A to 6 | propose - run 4 => NEW1 -> 4 (4)',
  'l0 C B A; run 4 E | ours I run 4 to 4, submitted J l0 C B A run 4 to 4 | propose - l0 B A => invalid: source-in-use',
  'l0 C B A; run 4 E | avoid A, submitted J l0 B A to 5 | propose - run 4 => NEW1 -> 4 (4)',
  'l0 C B A; run 4 E | slots 0, submitted J l0 B A to 5 | propose - run 4 => ',
  // Drains.
  'seg p l0 B A; seg p run 4 E | submitted J drain p l0 B A run 4 => drain J',
  'seg p l0 B A; seg p run 4 E | slots 0, submitted J drain p l0 B A run 4 => drain J',
  'seg p l0 B A; seg p run 4 E | submitted J drain q l0 B => failed J: unknown-tree',
  // Everything.
  'l0 B A; run 7; run 4 E | whole - => NEW1 -> 4 (B A 7 4)',
  'l0 B A | whole - => NEW1 -> 0 (B A)',
  'l0 A | whole - => NEW1 -> 0 (A)',
  'run 4 E | whole - => nothing to do in -',
  'run 7; run 4 E | whole - => nothing to do in -',
  'seg p run 7 D; seg p run 4 E | whole - p | propose p run 7 => NEW1 -> 4 (7 4); nothing to do in -; invalid: source-in-use',
  'l0 B A; run 4 E | ours J run 4 to 4 | whole - => ',
  'l0 B A; run 4 E | whole -, submitted J l0 B A run 4 to 4 => J -> 4 (B A 4)',
  'l0 B A; run 4 E | whole -, slots 0 => ',
  'l0 B A; run 4 E | whole -, avoid A => no -: damaged-source',
];

describe('the choice of jobs', () => {
  it.each(CASES)('%s', (line) => {
    const [, script, chosen] = /^(.*?) *=> *(.*)$/.exec(line)!;
    const order = (text: string) => text.split('; ').sort().join('; ');
    expect(order(choose(script!))).toBe(order(chosen!));
  });
});
