/**
 * The jobs of a compactions file as data: the file before, what is done, the file after, and the rules of job-list.ts that the case is
 * about. A file is its version and epoch, then jobs with semicolons between them; ids are letters, in their order.
 *
 *   v1 e2: B completed run 4 to 4 -> X; own C l0 Y to 5      the list; a job of the record, with the views and runs that it has
 *   B running run 4 3 to 3 by w@9                            with its worker and the time of its heartbeat, s
 *   D submitted drain p l0 Y run 3                           of the segment `p`; E submitted seg p run 3 2 to 2
 *
 *   start C l0 Y to 5, D run 4 3 to 3        take e7 v1        reclaim 60        end C completed X Y, D failed
 */
import { describe, expect, it } from 'vitest';
import {
  activeJobs,
  type EndedJob,
  endJobs,
  finishedDestinations,
  greatestJobId,
  nextStaleMs,
  reclaimJobs,
  startJobs,
  takeOverJobs,
  waitingJobs,
} from '../../../src/compaction/job-list.ts';
import type { CompactionJob, JobStatus } from '../../../src/format/compactions-codec.ts';
import { decodeCompactions, encodeCompactions } from '../../../src/format/compactions-codec.ts';
import type { RunningJob } from '../../../src/format/jobs-record.ts';
import type { JobsFile } from '../../../src/lsm/manifest/compactions-store.ts';
import { tableId, tableName, tableRef } from '../../support/manifest-script.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const KEYS = ['drain', 'seg', 'l0', 'run', 'to', 'by', '->', 'parts'];

function wordsByKey(words: readonly string[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let at: string[] = [];
  for (const word of words) {
    if (KEYS.includes(word)) found.set(word, (at = []));
    else at.push(word);
  }
  return found;
}

function parseOwn([id, ...words]: readonly string[]): RunningJob {
  const parts = wordsByKey(words);
  return {
    id: tableId(id!),
    segment: utf8(parts.get('seg')?.[0] ?? ''),
    destination: Number(parts.get('to')![0]),
    isBottom: false,
    retentionMinSeq: 1,
    tickMs: 2,
    sourcesDigest: new Uint8Array(16),
    l0ViewIds: (parts.get('l0') ?? []).map(tableId),
    runs: (parts.get('run') ?? []).map(Number),
    parts: [],
  };
}

function parseEntry([id, status, ...words]: readonly string[]): CompactionJob {
  const parts = wordsByKey(words);
  const sources = { l0ViewIds: parts.get('l0')?.map(tableId), runs: parts.get('run')?.map(Number) };
  const drained = parts.get('drain');
  const segment = parts.get('seg')?.[0];
  const worker = parts.get('by')?.[0]?.split('@');
  return {
    id: tableId(id!),
    status: status as JobStatus,
    spec:
      drained === undefined
        ? {
            kind: 'tiered',
            deprecatedTables: undefined,
            segment: segment === undefined ? undefined : utf8(segment),
            destination: Number(parts.get('to')?.[0] ?? 0),
            ...sources,
          }
        : { kind: 'drain', segment: utf8(drained[0]!), ...sources },
    outputs: parts.get('->')?.map((name) => ({ table: tableRef(name), visibleRange: undefined })),
    worker: worker && { workerId: worker[0], lastHeartbeatMs: Number(worker[1]) * 1000 },
    context: parts.has('parts') ? { subcompactions: [], retentionMinSeq: 3 } : undefined,
  };
}

function parseFile(script: string): JobsFile {
  const [, version, epoch, list] = /^v(\d) e(\d+):(.*)$/.exec(script)!;
  const lines = list!
    .split(';')
    .map((line) => line.trim().split(/ +/))
    .filter(([word]) => word !== '');
  return {
    compactions: {
      headerVersion: Number(version) as 1 | 2,
      compactorEpoch: Number(epoch),
      jobs: lines.filter(([word]) => word !== 'own').map(parseEntry),
      hasUnknownFields: false,
    },
    running: lines.filter(([word]) => word === 'own').map(([, ...words]) => parseOwn(words)),
  };
}

function entryText({ id, status, spec, outputs, worker, context }: CompactionJob): string {
  const words = [tableName(id), status];
  if (spec.kind === 'drain') words.push('drain', text(spec.segment));
  else if (spec.segment !== undefined) words.push('seg', text(spec.segment));
  if (spec.l0ViewIds !== undefined) words.push('l0', ...spec.l0ViewIds.map(tableName));
  if (spec.runs !== undefined) words.push('run', ...spec.runs.map(String));
  if (spec.kind === 'tiered') words.push('to', String(spec.destination));
  if (outputs !== undefined) words.push('->', ...outputs.map(({ table }) => tableName(table.id)));
  if (worker !== undefined)
    words.push('by', `${worker.workerId === tableId('ME') ? 'me' : worker.workerId}@${worker.lastHeartbeatMs / 1000}`);
  if (context !== undefined) words.push('parts');
  return words.join(' ');
}

function ownText({ id, segment, destination, l0ViewIds, runs }: RunningJob): string {
  const words = ['own', tableName(id)];
  if (segment.length > 0) words.push('seg', text(segment));
  if (l0ViewIds.length > 0) words.push('l0', ...l0ViewIds.map(tableName));
  if (runs.length > 0) words.push('run', ...runs.map(String));
  return [...words, 'to', String(destination)].join(' ');
}

function fileText({ compactions: { headerVersion, compactorEpoch, jobs }, running }: JobsFile): string {
  return `v${headerVersion} e${compactorEpoch}: ${[...jobs.map(entryText), ...running.map(ownText)].join('; ')}`.trim();
}

function parseEnd([id, status, ...outputs]: readonly string[]): EndedJob {
  return { id: tableId(id!), status: status as EndedJob['status'], outputs: outputs.map(tableRef) };
}

function apply(file: JobsFile, action: string): JobsFile | undefined {
  const [, verb, rest] = /^(\w+) ?(.*)$/.exec(action)!;
  const jobs = rest!.split(', ').map((job) => job.split(' '));
  switch (verb) {
    case 'start':
      return startJobs(file, jobs.map(parseOwn), tableId('ME'), 50_000);
    case 'end':
      return endJobs(file, jobs.map(parseEnd));
    case 'take': {
      const [epoch, version] = jobs[0]!;
      return takeOverJobs(file, Number(epoch!.slice(1)), Number(version!.slice(1)) as 1 | 2);
    }
    default:
      return reclaimJobs(file, Number(rest) * 1000);
  }
}

const CASES = [
  // A job of ours from its start to its end.
  'v2 e3:                           | start C l0 Y to 5 => v2 e3: C running l0 Y to 5 by me@50; own C l0 Y to 5 (as it is)',
  'v2 e3: A completed to 4          | start C l0 Y run 4 to 4 => v2 e3: A completed to 4; C running l0 Y run 4 to 4 by me@50; own C l0 Y run 4 to 4 (J1)',
  'v2 e3: C running l0 Y to 5 by me@50; own C l0 Y to 5 | end C completed X Z => v2 e3: C completed l0 Y to 5 -> X Z by me@50 (as it is)',
  'v2 e3: A completed to 4; C running run 4 to 4 by me@50; own C run 4 to 4 | end C completed X => v2 e3: C completed run 4 to 4 -> X by me@50 (J1: the latest)',
  'v2 e3: A completed to 4; C running run 4 to 4 by me@50; own C run 4 to 4 | end C failed => v2 e3: C failed run 4 to 4 by me@50 (J1: also where it failed)',
  'v2 e3: C running seg p l0 Y to 5; own C seg p l0 Y to 5 | end C completed => v2 e3: C completed seg p l0 Y to 5 -> (without a row)',
  'v1 e3:                           | start C l0 Y to 5 => v1 e3: own C l0 Y to 5 (J2; J3: an empty list)',
  'v1 e3:                           | start C run 4 3 to 3 => v1 e3: own C run 4 3 to 3 (J2: nor one whose destination is known)',
  'v1 e3:                           | start C l0 Y run 4 to 4 => v1 e3: own C l0 Y run 4 to 4 (J2)',
  'v1 e3:                           | start C seg p run 4 to 4 => v1 e3: own C seg p run 4 to 4 (J2)',
  'v1 e3: own C l0 Y to 5           | end C completed X => v1 e3: C completed l0 Y to 5 -> X (J1)',
  'v1 e3: A completed to 4; own C l0 Y to 5 | end C completed X => v1 e3: C completed l0 Y to 5 -> X (J1: the older one has gone)',
  'v1 e3: A completed to 4; own C l0 Y to 5 | end C failed => v1 e3: C failed l0 Y to 5 (J1)',
  // The smallest id of the list while jobs are under way.
  'v1 e3: A completed to 4          | start B l0 Y to 5 => v1 e3: A completed to 4; own B l0 Y to 5 (J3)',
  'v1 e3: A completed to 4; own B l0 Y to 5 | start C run 4 3 to 3 => v1 e3: A completed to 4; own B l0 Y to 5; own C run 4 3 to 3 (J3)',
  'v1 e3: A completed to 4; own B l0 Y to 5; own C run 4 3 to 3 | end C completed X => v1 e3: A completed to 4; C completed run 4 3 to 3 -> X; own B l0 Y to 5 (J3: the older one stays)',
  'v1 e3: A completed to 4; C completed run 4 3 to 3 -> X; own B l0 Y to 5 | end B completed Z => v1 e3: C completed run 4 3 to 3 -> X (J1: the latest, by its id)',
  'v1 e3: own B l0 Y to 5           | start C run 4 3 to 3 => v1 e3: own B l0 Y to 5; own C run 4 3 to 3 (J3: an empty list)',
  'v1 e3: own B l0 Y to 5; own C run 4 3 to 3 | end C completed X => v1 e3: B failed l0 Y to 5; C completed run 4 3 to 3 -> X; own B l0 Y to 5 (J3: it stands in the list)',
  'v1 e3: B failed l0 Y to 5; C completed run 4 3 to 3 -> X; own B l0 Y to 5 | end B completed Z => v1 e3: C completed run 4 3 to 3 -> X (J1)',
  'v1 e3: own B l0 Y to 5; own C run 4 3 to 3 | end B completed Z => v1 e3: B completed l0 Y to 5 -> Z; own C run 4 3 to 3 (J3)',
  'v1 e3: own B l0 Y to 5; own C seg p l0 Z to 6 | end C completed X => v1 e3: B failed l0 Y to 5; C completed seg p l0 Z to 6 -> X; own B l0 Y to 5 (J3)',
  'v1 e3: D submitted run 4 3 to 3; own B l0 Y to 5 | end D failed => v1 e3: B failed l0 Y to 5; D failed run 4 3 to 3; own B l0 Y to 5 (J3: submitted while ours was hidden)',
  // Jobs that were submitted.
  'v2 e3: B submitted run 4 3 to 3  | start B run 4 3 to 3 => v2 e3: B running run 4 3 to 3 by me@50; own B run 4 3 to 3 (J5)',
  'v2 e3: B submitted l0 Y to 5 parts | start B l0 Y to 5 => v2 e3: B running l0 Y to 5 by me@50; own B l0 Y to 5 (J5: from the beginning)',
  'v1 e3: B submitted run 4 3 to 3  | start B run 4 3 to 3 => v1 e3: B submitted run 4 3 to 3; own B run 4 3 to 3 (J2: it stays as it was listed)',
  'v1 e3: B submitted l0 Y to 0     | start B l0 Y to 5 => v1 e3: B submitted l0 Y to 0; own B l0 Y to 5 (J2: it stays as it was listed)',
  'v1 e3: B submitted l0 Y to 0; own B l0 Y to 5 | end B completed X => v1 e3: B completed l0 Y to 0 -> X (J5)',
  'v2 e3: B submitted run 4 3 to 3  | end B failed => v2 e3: B failed run 4 3 to 3 (J5)',
  'v2 e3: A completed to 4; B compacted run 4 3 to 3 -> X by w@9 | end B completed => v2 e3: B completed run 4 3 to 3 -> X by w@9 (J5, J6: what its worker wrote)',
  'v2 e3: B compacted run 4 3 to 3 -> X by w@9 | end B failed => v2 e3: B failed run 4 3 to 3 by w@9 (J5)',
  'v2 e3: B submitted drain p l0 Y run 3 | end B completed => v2 e3: B completed drain p l0 Y run 3 (J5)',
  'v2 e3: B submitted run 4 3 to 3; C running run 9 8 to 8 by w@9 parts | end B failed => v2 e3: B failed run 4 3 to 3; C running run 9 8 to 8 by w@9 parts (J6)',
  // Taking over.
  'v2 e3: A completed to 4          | take e7 v2 => v2 e7: A completed to 4 (J6)',
  'v2 e3: C running l0 Y to 5 by me@50; own C l0 Y to 5 | take e7 v2 => v2 e7: C submitted l0 Y to 5 (J5: ours was interrupted)',
  'v2 e3: C running l0 Y to 5 by w@50 parts | take e7 v2 => v2 e7: C running l0 Y to 5 by w@50 parts (J5: theirs goes on)',
  'v2 e3: C scheduled l0 Y to 5 parts; D compacted run 3 to 3 -> X | take e7 v2 => v2 e7: C submitted l0 Y to 5; D compacted run 3 to 3 -> X (J5)',
  'v1 e3: B failed l0 Y to 5; C completed run 4 3 to 3 -> X; own B l0 Y to 5; own D run 3 to 3 | take e7 v1 => v1 e7: C completed run 4 3 to 3 -> X (J1: ours are chosen again)',
  'v1 e3: B submitted run 4 3 to 3; own B run 4 3 to 3 | take e7 v1 => v1 e7: B submitted run 4 3 to 3 (J5)',
  'v1 e3: C running run 4 3 to 3    | take e7 v1 => v1 e7: C submitted run 4 3 to 3 (J5: version 1 knows no workers)',
  'v1 e3: C scheduled run 4 to 4; D compacted run 3 to 3 -> X | take e7 v1 => v1 e7: C submitted run 4 to 4; D submitted run 3 to 3 (J2)',
  'v1 e3: A completed to 4          | take e7 v2 => v2 e7: A completed to 4 (the profile decides)',
  'v2 e3: A completed to 4          | take e7 v1 => v2 e7: A completed to 4 (it never goes back)',
  'v2 e3: A completed to 4; B failed to 5; C completed to 6 | take e7 v2 => v2 e7: C completed to 6 (J1)',
  // Workers of other processes.
  'v2 e3: C running l0 Y to 5 by w@30 parts; D submitted run 3 to 3 | reclaim 60.001 => v2 e3: C submitted l0 Y to 5; D submitted run 3 to 3 (J5)',
  'v2 e3: C running l0 Y to 5 by w@30 | reclaim 60 => no change (J5: not yet)',
  'v2 e3: C running l0 Y to 5       | reclaim 60 => v2 e3: C submitted l0 Y to 5 (J5: without a worker)',
  'v2 e3: C running l0 Y to 5 by me@1; own C l0 Y to 5 | reclaim 99 => no change (ours needs no heartbeat)',
];

describe('the jobs of a compactions file', () => {
  it.each(CASES)('%s', (line) => {
    const [, before, action, after] = /^(.*?) *\| *(.*?) *=> *(.*?) *\([^()]*\)$/.exec(line)!;
    const file = parseFile(before!);
    const copy = structuredClone(file);
    const made = apply(file, action!);
    expect(made === undefined ? 'no change' : fileText(made)).toBe(after);
    expect(file).toEqual(copy);
    if (made === undefined) return;
    // What is written decodes to the same list, but for destinations that version 1 does not store.
    const { jobs } = decodeCompactions(encodeCompactions(made.compactions)).compactions;
    expect(jobs.map(({ id, status }) => [id, status])).toEqual(
      made.compactions.jobs.map(({ id, status }) => [id, status]),
    );
  });

  it.each([
    ['v2 e3: B completed to 4', 'start B l0 Y to 5', 'the id of a finished job'],
    ['v2 e3: C running run 3 to 3 by w@1', 'start B l0 Y to 5', 'an id below that of a job'],
    ['v1 e3: own C l0 Y to 5', 'start B run 3 to 3', 'an id below that of a hidden job'],
    ['v2 e3:', 'start C l0 Y to 5, B run 3 to 3', 'ids that fall'],
    ['v2 e3: C_9 running l0 Y to 5; own C_9 l0 Y to 5', 'end C_9 completed X_8', 'an output older than its job'],
  ])('never name what would end the compactor of SlateDB (J4): %s | %s: %s', (before, action) => {
    expect(() => apply(parseFile(before), action)).toThrow(expect.objectContaining({ code: 'INVARIANT' }));
  });

  it('are carried along where their outputs are older than they are: only ours are ours to check', () => {
    const file = parseFile('v2 e3: C_9 compacted run 3 to 3 -> X_8 by w@1');
    expect(fileText(apply(file, 'end C_9 completed')!)).toBe('v2 e3: C_9 completed run 3 to 3 -> X_8 by w@1');
  });
});

describe('what a file says', () => {
  const file = parseFile(
    'v2 e3: E submitted drain p l0 Y run 3; D scheduled run 6 to 6; C running run 9 8 to 8 by w@9; B compacted run 5 to 5 -> X; A completed to 4; F submitted run 1 to 1; own F run 1 to 1; own G seg p l0 Z to 12',
  );

  it('of its active jobs, by their ids, each once', () => {
    const said = activeJobs(file).map(
      ({ id, tree, l0ViewIds, runs, destination }) =>
        `${tableName(id)} ${tree || '-'} ${[...l0ViewIds.map(tableName), ...runs].join(' ')} > ${destination}`,
    );
    expect(said).toEqual(['B - 5 > 5', 'C - 9 8 > 8', 'D - 6 > 6', 'E 70 Y 3 > undefined', 'F - 1 > 1', 'G 70 Z > 12']);
  });

  it('of jobs that wait for the compactor', () => {
    const { submitted, compacted } = waitingJobs(file);
    expect([submitted, compacted].map((jobs) => jobs.map(({ id }) => tableName(id)))).toEqual([['D', 'E'], ['B']]);
  });

  it('of ids and destinations that are taken', () => {
    expect([tableName(greatestJobId(file)!), finishedDestinations(file)]).toEqual(['G', [4]]);
    expect(greatestJobId(parseFile('v2 e3:'))).toBeUndefined();
  });

  it('of when a worker elsewhere was last heard of', () => {
    expect(nextStaleMs(file)).toBe(39_001);
    expect(nextStaleMs(parseFile('v2 e3: C running run 3 to 3; own C run 3 to 3'))).toBeUndefined();
  });
});
