/**
 * The newest compactions file as one role holds it: a versioned log (versioned-log.ts) whose versions are sealed.
 *
 * Invariants, beside those of the versioned log:
 * 1. The compactor's epoch never goes back.
 * 2. A file with unknown fields is never rewritten.
 * 3. The first file follows one that no store holds: without jobs, and with the greatest id that a collector may have deleted, which is 0
 *    in a new database. One that cannot be read is taken for one without jobs; it is damaged, not of a newer program.
 */
import { assertThat } from '../../common/assert.ts';
import { type CorruptionError, isCorruption, UnavailableError } from '../../common/errors.ts';
import { COMPACTIONS_PREFIX } from '../../format/object-names.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { Author } from './author.ts';
import {
  COMPACTIONS_FORM,
  compactorFenced,
  type JobsFile,
  jobsOf,
  type LoadedCompactions,
  listCompactionsIds,
  sealCompactions,
} from './compactions-store.ts';
import type { EpochGuard } from './epoch-guard.ts';
import { VersionedLog } from './versioned-log.ts';

export interface CompactionsLogOptions {
  store: ObjectStore;
  author: Author;
  /** Of the lists of `compactions/`; that of the manifests says nothing about them. */
  guard: EpochGuard;
  /** Without a role no epoch is compared: for a claim, and for what only submits jobs. */
  role: 'compactor' | 'none';
  /** The epoch of the role, which seals name. */
  epoch: number;
  current: LoadedCompactions;
  hasBoundary: boolean;
  /** For seals. */
  newestManifestId(): number;
}

/** The next file made from the newest; undefined: it already says what is wanted. */
export type CompactionsChange = (file: JobsFile) => JobsFile | undefined;

export class CompactionsLog {
  readonly #options: CompactionsLogOptions;
  readonly #log: VersionedLog<LoadedCompactions>;

  constructor(options: CompactionsLogOptions) {
    const { store, author, guard, role, epoch: own, current, hasBoundary } = options;
    this.#options = options;
    const of = ({ compactions }: LoadedCompactions) => compactions.compactorEpoch;
    const fenced = (loaded: LoadedCompactions) =>
      compactorFenced(`compactions file ${loaded.id}`, of(loaded), own, loaded.seal?.owner?.hostPid);
    this.#log = new VersionedLog({
      store,
      clock: author.clock,
      form: COMPACTIONS_FORM,
      guard,
      epoch: role === 'none' ? undefined : { role, own, of, fenced },
      current,
      hasBoundary,
      onAdopt: () => undefined,
    });
  }

  get current(): LoadedCompactions {
    return this.#log.current;
  }

  /** The same log for the compactor with this epoch, which the newest file has; this one is not to be used any more. */
  heldBy(epoch: number): CompactionsLog {
    const { current, hasBoundary } = this.#log;
    return new CompactionsLog({ ...this.#options, role: 'compactor', epoch, current, hasBoundary });
  }

  /** Lists `compactions/` and adopts what is newer. One LIST, and one GET if there is something newer. */
  refresh(): Promise<void> {
    return this.#log.refresh();
  }

  /** As `ManifestLog.lookForBoundary`. */
  lookForBoundary(): void {
    this.#log.lookForBoundary();
  }

  /** As `ManifestLog.commit`: one PUT, and a LIST and a GET for each file of others that came first. */
  commit(change: CompactionsChange): Promise<void> {
    const { author, epoch, newestManifestId } = this.#options;
    return this.#log.commit((base) => {
      const next = change(jobsOf(base));
      if (next === undefined) return undefined;
      const { compactorEpoch, hasUnknownFields } = base.compactions;
      assertThat(next.compactions.compactorEpoch >= compactorEpoch, 'an epoch never goes back');
      assertThat(!hasUnknownFields, 'a compactions file with unknown fields is never rewritten');
      return sealCompactions({ id: base.id + 1, ...next, author, epoch, newestManifestId: newestManifestId() });
    });
  }
}

export interface OpenedCompactions {
  log: CompactionsLog;
  /** What is wrong with the newest file, which is taken for one without jobs. */
  damage: CorruptionError | undefined;
}

/** So many lists that show a file which is not there are no accident. */
const MAX_READS_OF_NEWEST = 4;

/**
 * The log of the newest file, without a role. Where there is none, what is committed first becomes the first file. One LIST and two
 * GETs. Rejects with `FORMAT_TOO_NEW` where a newer program wrote the file, with the damage of the boundary where it is no number or above
 * the newest file: what is written below it does not count.
 * @param headerVersion of a first file
 */
export async function openCompactionsLog(
  options: Pick<CompactionsLogOptions, 'store' | 'author' | 'guard' | 'newestManifestId'>,
  headerVersion: 1 | 2,
): Promise<OpenedCompactions> {
  const { store, guard } = options;
  const { clock } = options.author;
  const without = (id: number): LoadedCompactions => ({
    id,
    compactions: { headerVersion, compactorEpoch: 0, jobs: [], hasUnknownFields: false },
    seal: undefined,
  });
  for (let reads = 0; reads < MAX_READS_OF_NEWEST; reads++) {
    const stamp = guard.stamp();
    const id = (await listCompactionsIds(store, 1, stamp)).at(-1);
    const boundary = await COMPACTIONS_FORM.readBoundary(store);
    const newest = id === undefined ? without(boundary.value) : await readOrDamage(store, id);
    // Collected since it was listed, or in an id that does not count: a newer one is there, or the boundary is damaged.
    if (newest === undefined) continue;
    if (id !== undefined && id <= boundary.value) {
      const tooHigh = await COMPACTIONS_FORM.tooHigh(store, clock, id, boundary);
      if (tooHigh !== undefined) throw tooHigh;
      continue;
    }
    guard.confirmListed(stamp);
    const damage = isCorruption(newest) ? newest : undefined;
    const current = isCorruption(newest) ? without(id ?? 0) : newest;
    const more = { role: 'none' as const, epoch: 0, current, hasBoundary: boundary.exists };
    return { log: new CompactionsLog({ ...options, ...more }), damage };
  }
  const message = `${store.name}: the list of ${COMPACTIONS_PREFIX} shows no compactions file that is there and counts.`;
  throw new UnavailableError('STORE_DOWN', message);
}

async function readOrDamage(store: ObjectStore, id: number): Promise<LoadedCompactions | CorruptionError | undefined> {
  try {
    return await COMPACTIONS_FORM.read(store, id);
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return error;
  }
}
