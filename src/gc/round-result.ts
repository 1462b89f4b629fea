/** What a round did, or would do: numbers by class, what ended it, and when the next one can find something. */
import type { GcClass, GcTallies, GcTally } from '../common/collector-role.ts';
import type { Finding } from '../common/finding.ts';
import type { Uuid } from '../format/manifest-types.ts';
import type { GcDecision } from './collectable.ts';

/** In the order in which classes are deleted and reported. */
export const GC_CLASSES: readonly GcClass[] = ['manifest', 'compactions', 'table', 'log', 'fence', 'upload', 'copy'];

export interface RoundResult {
  /** The newest manifest that was seen. */
  manifestId: number | undefined;
  /** Set: the round ended before it had deleted all, and why. */
  stopped: string | undefined;
  /** What is wrong with the database, as far as it matters here. */
  findings: Finding[];
  /** What the round did not do, and what that costs, in sentences. */
  notes: string[];
  listed: GcTallies;
  /** What goes. */
  going: GcTallies;
  /** What was deleted. */
  deleted: GcTallies;
  /** What the boundary files were raised to, or would be. */
  boundaries: { manifest?: number; compactions?: number };
  droppedCheckpoints: Uuid[];
  /** More goes than one round deletes: the next one need not wait. */
  hasMore: boolean;
  /** The store's time at the beginning, ms; 0: it does not say. */
  storeTimeMs: number;
  /** The store's time at which something that stays can go, if nothing else changes; undefined: nothing will. */
  nextDueMs: number | undefined;
  /** The same of copies in quarantine and of uploads, which not every round lists. */
  copiesDueMs: number | undefined;
}

export function noTallies(): GcTallies {
  const none = (): GcTally => ({ objects: 0, bytes: 0 });
  return {
    manifest: none(),
    compactions: none(),
    table: none(),
    log: none(),
    fence: none(),
    upload: none(),
    copy: none(),
  };
}

export function addTo(tallies: GcTallies, { class: of, bytes }: GcDecision): void {
  if (of === undefined) return;
  tallies[of].objects++;
  tallies[of].bytes += bytes;
}

export function totalOf(tallies: GcTallies): GcTally {
  return Object.values(tallies).reduce((sum, t) => ({ objects: sum.objects + t.objects, bytes: sum.bytes + t.bytes }));
}

export function emptyResult(): RoundResult {
  return {
    manifestId: undefined,
    stopped: undefined,
    findings: [],
    notes: [],
    listed: noTallies(),
    going: noTallies(),
    deleted: noTallies(),
    boundaries: {},
    droppedCheckpoints: [],
    hasMore: false,
    storeTimeMs: 0,
    nextDueMs: undefined,
    copiesDueMs: undefined,
  };
}

/** The earlier of the two; undefined: never. */
export function earlier(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : b === undefined ? a : Math.min(a, b);
}
