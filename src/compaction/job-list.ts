/**
 * The jobs of the compactions file, as pure functions from file to file. Two places hold them: the list, which SlateDB reads, and the
 * record of the seal, which has the jobs on which the author of the file works itself (`running`).
 *
 * ```
 * version 2   list: all jobs as they are                                          record: ours
 * version 1   list: submitted, completed, failed, and what others run             record: ours, which the list does not show as running (J2)
 * ```
 *
 * J1. Of finished jobs the latest stays, as SlateDB keeps it: its collector deletes no table where the file lists no job.
 * J2. In version 1 a job of ours is in the record alone; one that was submitted stays listed as that until it has ended. The version has no word
 *     for a job that is compacted (J7), so a job that is listed as running would, after a crash between the manifest and the end in the file, be
 *     one whose sources are gone, and SlateDB since 0.14 would give it to its workers again and again. One that is submitted it fails. Nor does the
 *     version store destinations: with runs among the sources it is the lowest of them, without any it cannot be known.
 * J3. SlateDB's collector deletes no table whose time is above that of the smallest id of the list. So that id never passes the oldest
 *     job that is active, in the list or not: the finished job of an older id stays until then; where there is none and the list is
 *     not empty, the oldest of ours stands in it as failed, as which it ends for whichever process takes over.
 * J4. The id of a new job is above all ids that the file names, and no output has an older time than its job: SlateDB checks both on
 *     every later update of the file, and one bad entry would end its compactor for good.
 * J5. Every entry of others that is submitted is carried out or failed by whichever compactor has the epoch. What runs under another
 *     worker is theirs until its heartbeat is old, then it is submitted again; what was ours and was interrupted, at once.
 * J6. What is not ours to change stays byte for byte.
 * J7. In version 2 a job of ours is listed as compacted, with its outputs, before the manifest names them: SlateDB's compactor, which may find
 *     the file after a crash, ends such a job when its sources are gone. One that seems to run it would give to workers again and again.
 */
import { assertThat } from '../common/assert.ts';
import { toHex } from '../common/bytes.ts';
import { type Ulid, ulidTimeMs } from '../common/ulid.ts';
import type { CompactionJob, Compactions, JobStatus, TieredSpec } from '../format/compactions-codec.ts';
import type { RunningJob } from '../format/jobs-record.ts';
import type { TableRef } from '../format/manifest-types.ts';
import type { JobsFile } from '../lsm/manifest/compactions-store.ts';
import type { ActiveJob } from './scheduling.ts';

/** SlateDB's age at which the heartbeat of a worker counts as its last. */
export const STALE_HEARTBEAT_MS = 30_000;

type Spec = CompactionJob['spec'];

const isFinished = ({ status }: { status: JobStatus }) => status === 'completed' || status === 'failed';

// ---- what a file says

/** The job as schedulers see it. */
function activeJobOf(id: Ulid, spec: Spec): ActiveJob {
  return {
    id,
    tree: toHex(spec.segment ?? new Uint8Array(0)),
    l0ViewIds: spec.l0ViewIds ?? [],
    runs: spec.runs ?? [],
    destination: spec.kind === 'tiered' ? spec.destination : undefined,
  };
}

/** The entry of a list as a job; in version 1 without runs among its sources the destination is not known, and is given as 0. */
export function activeJob({ id, spec }: CompactionJob): ActiveJob {
  return activeJobOf(id, spec);
}

/** Every job that is not finished, each once, by id. */
export function activeJobs({ compactions, running }: JobsFile): ActiveJob[] {
  const ours = running.map(({ id, segment, ...job }) => ({
    id,
    tree: toHex(segment),
    l0ViewIds: job.l0ViewIds,
    runs: job.runs,
    destination: job.destination,
  }));
  const others = compactions.jobs.filter((job) => !isFinished(job) && !running.some(({ id }) => id === job.id));
  return [...ours, ...others.map(activeJob)].sort(byId);
}

/** Destinations of the finished jobs that are listed: their runs may be gone, but readers may still name them. */
export function finishedDestinations({ compactions }: JobsFile): number[] {
  return compactions.jobs.filter(isFinished).flatMap(({ spec }) => (spec.kind === 'tiered' ? spec.destination : []));
}

/** No new id is at or below it; undefined: the file names none. */
export function greatestJobId({ compactions, running }: JobsFile): Ulid | undefined {
  const ids = [...compactions.jobs, ...running].map(({ id }) => id);
  return ids.reduce<Ulid | undefined>(
    (greatest, id) => (greatest === undefined || id > greatest ? id : greatest),
    undefined,
  );
}

/** Jobs of others that wait for this compactor: to be carried out, and to be committed. Oldest first. */
export function waitingJobs({ compactions, running }: JobsFile): {
  submitted: CompactionJob[];
  compacted: CompactionJob[];
} {
  const others = compactions.jobs.filter(({ id }) => !running.some((job) => job.id === id)).sort(byId);
  const having = (...statuses: JobStatus[]) => others.filter(({ status }) => statuses.includes(status));
  return { submitted: having('submitted', 'scheduled'), compacted: having('compacted') };
}

/** When the heartbeat of the first worker of another process that runs a job gets old, ms since the epoch; undefined: there is none. */
export function nextStaleMs(file: JobsFile): number | undefined {
  const times = runningElsewhere(file).map(({ worker }) => (worker?.lastHeartbeatMs ?? 0) + STALE_HEARTBEAT_MS + 1);
  return times.length === 0 ? undefined : Math.min(...times);
}

function runningElsewhere({ compactions, running }: JobsFile): CompactionJob[] {
  return compactions.jobs.filter(({ id, status }) => status === 'running' && !running.some((job) => job.id === id));
}

const byId = (a: { id: Ulid }, b: { id: Ulid }) => (a.id < b.id ? -1 : 1);

// ---- changes

/**
 * The file as the compactor with `epoch` takes it over. Our jobs that were interrupted, and those that were scheduled for workers, are
 * submitted again; in version 1, which knows no workers, every one that runs.
 */
export function takeOverJobs({ compactions, running }: JobsFile, epoch: number, headerVersion: 1 | 2): JobsFile {
  const version = Math.max(compactions.headerVersion, headerVersion) as 1 | 2;
  const isInterrupted = ({ id, status }: CompactionJob) =>
    status === 'scheduled' ||
    (status === 'running' && (compactions.headerVersion === 1 || running.some((job) => job.id === id))) ||
    (status === 'compacted' && version === 1);
  const jobs = compactions.jobs.map((job) => (isInterrupted(job) ? submittedAgain(job) : job));
  return withRules({
    compactions: { ...compactions, headerVersion: version, compactorEpoch: epoch, jobs },
    running: [],
  });
}

/** Jobs of workers of other processes that were not heard of are submitted again; undefined: there is none. */
export function reclaimJobs(file: JobsFile, nowMs: number): JobsFile | undefined {
  const stale = runningElsewhere(file).filter(
    ({ worker }) => nowMs > (worker?.lastHeartbeatMs ?? 0) + STALE_HEARTBEAT_MS,
  );
  if (stale.length === 0) return undefined;
  return withJobs(file, (job) => (stale.includes(job) ? submittedAgain(job) : job));
}

function submittedAgain({ id, spec }: CompactionJob): CompactionJob {
  return { id, spec, status: 'submitted', outputs: undefined, worker: undefined, context: undefined };
}

/** Jobs on which we begin to work: new ones, and those that were submitted. */
export function startJobs(file: JobsFile, started: readonly RunningJob[], worker: Ulid, nowMs: number): JobsFile {
  const { headerVersion, jobs } = file.compactions;
  const greatest = greatestJobId(file);
  const shown = (job: RunningJob): CompactionJob => ({
    id: job.id,
    spec: specOf(job),
    status: 'running',
    outputs: undefined,
    worker: { workerId: worker, lastHeartbeatMs: nowMs },
    context: undefined,
  });
  const isListed = headerVersion === 2;
  const listed = jobs.map((job) => {
    const ours = started.find(({ id }) => id === job.id);
    return ours !== undefined && isListed ? { ...shown(ours), spec: job.spec } : job;
  });
  const added = started.filter(({ id }) => !jobs.some((job) => job.id === id));
  const isWaiting = (id: Ulid) => waitingJobs(file).submitted.some((job) => job.id === id);
  assertThat(
    started.every((job) => added.includes(job) || isWaiting(job.id)),
    'a job begins once',
  );
  for (const [i, { id }] of added.entries()) {
    const last = i === 0 ? greatest : added[i - 1].id;
    assertThat(last === undefined || id > last, 'the id of a new job is above all others (job-list J4)', { id, last });
  }
  const compactions = {
    ...file.compactions,
    jobs: isListed ? [...listed, ...added.map(shown)] : listed,
  };
  return withRules({ compactions, running: [...file.running, ...started] });
}

/** How a job ended. */
export interface EndedJob {
  id: Ulid;
  status: 'completed' | 'failed';
  outputs: readonly TableRef[];
}

/** Jobs that ended, ours or those of others that waited for us. */
export function endJobs(file: JobsFile, ended: readonly EndedJob[]): JobsFile {
  const endOf = (id: Ulid) => ended.find((job) => job.id === id);
  const isOurs = (id: Ulid) => file.running.some((job) => job.id === id);
  const listed = file.compactions.jobs.map((job) => {
    const end = endOf(job.id);
    if (end === undefined) return job;
    const entry = endedEntry(job.id, job.spec, isOurs(job.id) ? end : { ...end, outputs: [] }, job.worker);
    return isOurs(job.id) || end.status === 'failed' ? entry : { ...entry, outputs: job.outputs };
  });
  const unlisted = file.running.flatMap((job) => {
    const end = endOf(job.id);
    const isListed = file.compactions.jobs.some(({ id }) => id === job.id);
    return end === undefined || isListed ? [] : [endedEntry(job.id, specOf(job), end, undefined)];
  });
  return withRules({
    compactions: { ...file.compactions, jobs: [...listed, ...unlisted] },
    running: file.running.filter(({ id }) => endOf(id) === undefined),
  });
}

/** Jobs of ours whose tables are stored (J7). */
export function noteCompacted(file: JobsFile, done: ReadonlyMap<Ulid, readonly TableRef[]>): JobsFile {
  return withJobs(file, (job) => {
    const outputs = done.get(job.id);
    if (outputs === undefined) return job;
    const stored = outputs.map((table) => ({ table, visibleRange: undefined }));
    return { ...job, status: 'compacted', outputs: stored, context: undefined };
  });
}

function endedEntry(
  id: Ulid,
  spec: Spec,
  { status, outputs }: Pick<EndedJob, 'status' | 'outputs'>,
  worker: CompactionJob['worker'],
): CompactionJob {
  for (const output of outputs) {
    const isLater = ulidTimeMs(output.id) >= ulidTimeMs(id);
    assertThat(isLater, 'no output is older than its job (job-list J4)', { job: id, output: output.id });
  }
  const stored = outputs.map((table) => ({ table, visibleRange: undefined }));
  return { id, spec, status, outputs: status === 'completed' ? stored : undefined, worker, context: undefined };
}

function specOf({ segment, destination, l0ViewIds, runs }: RunningJob): TieredSpec {
  return {
    kind: 'tiered',
    deprecatedTables: undefined,
    l0ViewIds: l0ViewIds.length === 0 ? undefined : [...l0ViewIds],
    runs: runs.length === 0 ? undefined : [...runs],
    segment: segment.length === 0 ? undefined : segment,
    destination,
  };
}

function withJobs(file: JobsFile, change: (job: CompactionJob) => CompactionJob): JobsFile {
  const { compactions, running } = file;
  return withRules({ compactions: { ...compactions, jobs: compactions.jobs.map(change) }, running });
}

// ---- the rules of the list

/** J1 and J3. */
function withRules({ compactions, running }: JobsFile): JobsFile {
  const oldest = [...running].sort(byId)[0];
  const isStandIn = (job: CompactionJob) => isFinished(job) && running.some(({ id }) => id === job.id);
  const jobs = trimmed(
    compactions.jobs.filter((job) => !isStandIn(job)),
    oldest?.id,
  );
  const isPassed = oldest !== undefined && jobs.length > 0 && jobs.every(({ id }) => id > oldest.id);
  if (isPassed) jobs.unshift(endedEntry(oldest.id, specOf(oldest), { status: 'failed', outputs: [] }, undefined));
  const file = { compactions: { ...compactions, jobs }, running };
  assertWatermark(file);
  assertStatuses(file.compactions);
  return file;
}

/** J1, and the newest finished job that is older than all of ours. */
function trimmed(jobs: readonly CompactionJob[], oldest: Ulid | undefined): CompactionJob[] {
  const finished = jobs.filter(isFinished).sort(byId);
  const latest = finished.at(-1);
  const before = oldest === undefined ? undefined : finished.findLast(({ id }) => id < oldest);
  return jobs.filter((job) => !isFinished(job) || job === latest || job === before);
}

function assertWatermark({ compactions, running }: JobsFile): void {
  const least = [...compactions.jobs].sort(byId)[0]?.id;
  const isBelow = least === undefined || running.every(({ id }) => least <= id);
  assertThat(isBelow, 'the smallest id of the list does not pass a job of ours (job-list J3)', { least });
}

function assertStatuses({ headerVersion, jobs }: Compactions): void {
  const isKnown = headerVersion === 2 || jobs.every(({ status }) => status !== 'scheduled' && status !== 'compacted');
  assertThat(isKnown, 'version 1 lists no job in a state that its readers do not know (job-list J2)');
}
