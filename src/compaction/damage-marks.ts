/**
 * Tables on which a job has failed because of what is stored there: no job reads them for a while, so that compaction goes on around
 * them and does not read the same damage again and again.
 *
 * 1. A mark ends after `MARK_MS`, for the object may have been put back; with the manifest that no longer names its table; and with one
 *    that a repair has written.
 * 2. Nothing is skipped: each job that needs the table waits.
 */
import type { Clock } from '../common/clock.ts';
import { type DbError, IncompatibleError, isCorruption } from '../common/errors.ts';
import { isUlid, type Ulid } from '../common/ulid.ts';
import { tablesOf } from '../format/manifest-types.ts';
import { parseTablePath } from '../format/object-names.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';

export const MARK_MS = 300_000;

interface Mark {
  error: DbError;
  /** By the monotonic clock. */
  untilMs: number;
}

/** The tables among `inputs` that an error is about; none: it is not about what a job reads. */
export function tablesInError(error: DbError, inputs: readonly Ulid[]): Ulid[] {
  if (isCorruption(error)) {
    const named = error.findings.map(({ object }) => (isUlid(object.id) ? object.id : parseTablePath(object.path)));
    return inputs.filter((id) => named.includes(id));
  }
  // A newer form, or a codec that is not installed. Without a name it may be any of them.
  if (!(error instanceof IncompatibleError)) return [];
  const { path } = error.details;
  const table = typeof path === 'string' ? parseTablePath(path) : undefined;
  return table === undefined ? [...inputs] : inputs.filter((id) => id === table);
}

export class DamageMarks {
  readonly #clock: Clock;
  readonly #marks = new Map<Ulid, Mark>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  note(tables: readonly Ulid[], error: DbError): void {
    for (const id of tables) this.#marks.set(id, { error, untilMs: this.#clock.monotonicMs() + MARK_MS });
  }

  /** A manifest came into use. */
  adopt({ manifest, seal }: LoadedManifest): void {
    if (seal?.manifest?.isRepair === true) this.#marks.clear();
    const named = new Set(tablesOf(manifest).map(({ id }) => id));
    for (const id of this.#marks.keys()) if (!named.has(id)) this.#marks.delete(id);
  }

  /** Tables that no job may read now, with what is wrong with them. */
  get tables(): ReadonlyMap<Ulid, DbError> {
    const nowMs = this.#clock.monotonicMs();
    for (const [id, { untilMs }] of this.#marks) if (untilMs <= nowMs) this.#marks.delete(id);
    return new Map([...this.#marks].map(([id, { error }]) => [id, error]));
  }

  /** In how many ms the next mark ends; undefined: there is none. */
  get nextEndMs(): number | undefined {
    const ends = [...this.#marks.values()].map(({ untilMs }) => untilMs - this.#clock.monotonicMs());
    return ends.length === 0 ? undefined : Math.max(0, Math.min(...ends));
  }
}
