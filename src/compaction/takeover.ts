/**
 * How a compactor that was fenced watches the other one: it claims again only where the other one has committed nothing for
 * `takeoverMs` although level 0 was full all that time. So two compactors never take the epoch from each other in turn, and a database
 * whose compactor has died does not stop for good.
 *
 * Nothing is asked of the store: the caller has the manifests that come into use.
 */
import type { Clock } from '../common/clock.ts';
import { type Manifest, type SortedRun, treesOf } from '../format/manifest-types.ts';

export class TakeoverWait {
  readonly #clock: Clock;
  readonly #l0MaxSsts: number;
  readonly #takeoverMs: number;
  #progress: string;
  /** Since when level 0 is full without a commit, by the monotonic clock. */
  #sinceMs: number | undefined;

  constructor(clock: Clock, { l0MaxSsts, takeoverMs }: { l0MaxSsts: number; takeoverMs: number }, manifest: Manifest) {
    this.#clock = clock;
    this.#l0MaxSsts = l0MaxSsts;
    this.#takeoverMs = takeoverMs;
    this.#progress = progressOf(manifest);
    this.look(manifest);
  }

  /** In how many ms the epoch may be claimed, 0: now; undefined: as long as level 0 is not full, never. */
  look(manifest: Manifest): number | undefined {
    const progress = progressOf(manifest);
    const isFull = treesOf(manifest).some(({ l0 }) => l0.length >= this.#l0MaxSsts);
    const nowMs = this.#clock.monotonicMs();
    if (!isFull) this.#sinceMs = undefined;
    else if (progress !== this.#progress || this.#sinceMs === undefined) this.#sinceMs = nowMs;
    this.#progress = progress;
    return this.#sinceMs === undefined ? undefined : Math.max(0, this.#sinceMs + this.#takeoverMs - nowMs);
  }
}

/** What a compactor changes: its epoch, the runs and the markers. A segment that a writer adds has neither. */
function progressOf(manifest: Manifest): string {
  const trees = treesOf(manifest)
    .filter(({ runs, lastCompacted }) => runs.length > 0 || lastCompacted !== undefined)
    .map(({ runs, lastCompacted = '' }) => [lastCompacted, ...runs.map(runText)].join(' '));
  return [manifest.compactorEpoch, ...trees].join('\n');
}

function runText({ id, views }: SortedRun): string {
  return `${id}:${views.map(({ viewId }) => viewId).join('+')}`;
}
