/** What a collection reports: one shape for scripts, the command line and tests. Sizes are bytes, times ms since the epoch. */
import type { GcClass, GcTally } from '../common/collector-role.ts';
import type { Finding } from '../common/finding.ts';
import { reasonText } from '../lsm/manifest/live-set.ts';
import { type GcDecision, stayText } from './collectable.ts';
import { earlier, GC_CLASSES, type RoundResult } from './round-result.ts';

/** `goes`; else the rule that keeps an object, of which `why` is the sentence. */
export type GcState =
  | 'goes'
  | 'needed'
  | 'newest'
  | 'young'
  | 'undated'
  | 'after-job'
  | 'after-l0'
  | 'no-jobs'
  | 'fence'
  | 'no-boundary'
  | 'unread'
  | 'no-if-match'
  | 'bad-boundary'
  | 'unknown'
  | 'lasting'
  | 'foreign';

/** An object, and what becomes of it. */
export interface GcObject {
  /** Below the root of the database, or of the store of its log. */
  path: string;
  /** `other`: nothing that is ever deleted. */
  class: GcClass | 'other';
  /** Of the whole object. */
  bytes: number;
  /** By the clock of the store; absent: it does not say. */
  ageMs?: number;
  /** Whether it goes, else what kind of rule keeps it. */
  state: GcState;
  /** A sentence whose subject is the object. */
  why: string;
  /** With state `needed`: by what. */
  neededBy?: string[];
  /** With state `young`: from when on it can go. */
  dueAtMs?: number;
}

/** What was found of one kind of object. */
export interface GcClassReport {
  /** Which kind. */
  class: GcClass;
  /** All that are stored. */
  stored: GcTally;
  /** Those that go. */
  collectable: GcTally;
  /** Those that were deleted; what was found to be needed after all in between stays. */
  deleted: GcTally;
}

/** What a collection did, or would do. */
export interface GcReport {
  schemaVersion: 1;
  /** False: a dry run. */
  applied: boolean;
  /** The newest manifest. */
  manifestId?: bigint;
  /** Why it ended before all was deleted. */
  stopped?: string;
  /** One for each kind of object. */
  classes: GcClassReport[];
  /** A dry run: every object, in the order of the lists. Else those that were deleted. */
  objects: GcObject[];
  /** What the boundary files say now, as far as they were raised. */
  boundaries: {
    /** Manifests up to this id may be gone. */
    manifest?: bigint;
    /** Compactions files up to this id may be gone. */
    compactions?: bigint;
  };
  /** Checkpoints that have expired: they were dropped, or would be. */
  droppedCheckpoints: string[];
  /** From when on something more can go if nothing else changes, by the clock of the store. */
  nextDueAtMs?: number;
  /** What is wrong with the database, as far as a collector meets it. */
  findings: Finding[];
  /** What was not done, and what that costs, in sentences. */
  notes: string[];
  /** Sent to the store. */
  requests: number;
  /** From the call to its end, ms. */
  tookMs: number;
}

export function gcObject({ path, class: of, bytes, ageMs, stays }: GcDecision): GcObject {
  return {
    path,
    class: of ?? 'other',
    bytes,
    ...(ageMs !== undefined && { ageMs }),
    state: stays?.kind ?? 'goes',
    why: stays === undefined ? 'goes: nothing needs it, and it is old enough' : stayText(stays),
    ...(stays?.kind === 'needed' && { neededBy: stays.by.map(reasonText) }),
    ...(stays?.kind === 'young' && { dueAtMs: stays.dueMs }),
  };
}

/** `results`: of the rounds that it took, the first one first. */
export function gcReport(
  results: readonly RoundResult[],
  objects: GcObject[],
  more: Pick<GcReport, 'applied' | 'requests' | 'tookMs'>,
): GcReport {
  const [first] = results;
  const last = results[results.length - 1];
  const nextDueAtMs = earlier(last.nextDueMs, last.copiesDueMs);
  const sum = (of: GcClass, which: 'going' | 'deleted'): GcTally =>
    results.reduce((t, r) => ({ objects: t.objects + r[which][of].objects, bytes: t.bytes + r[which][of].bytes }), {
      objects: 0,
      bytes: 0,
    });
  const { manifest, compactions } = Object.assign({}, ...results.map((r) => r.boundaries)) as RoundResult['boundaries'];
  return {
    schemaVersion: 1,
    applied: more.applied,
    ...(last.manifestId !== undefined && { manifestId: BigInt(last.manifestId) }),
    ...(last.stopped !== undefined && { stopped: last.stopped }),
    classes: GC_CLASSES.map((of) => ({
      class: of,
      stored: first.listed[of],
      collectable: sum(of, 'going'),
      deleted: sum(of, 'deleted'),
    })),
    objects,
    boundaries: {
      ...(manifest !== undefined && { manifest: BigInt(manifest) }),
      ...(compactions !== undefined && { compactions: BigInt(compactions) }),
    },
    droppedCheckpoints: results.flatMap((r) => r.droppedCheckpoints),
    ...(nextDueAtMs !== undefined && { nextDueAtMs }),
    findings: last.findings,
    notes: last.notes,
    requests: more.requests,
    tookMs: more.tookMs,
  };
}
