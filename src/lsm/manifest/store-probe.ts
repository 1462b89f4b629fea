/**
 * The probe of a store (store/store-probe.ts) at the place that databases give it, and its result, which is kept beside the database. It is
 * bound to the name of the store: a copy elsewhere says nothing.
 */
import type { Clock } from '../../common/clock.ts';
import {
  abortSignal,
  type ChecksOf,
  CLOCK_CHECK,
  checkedOptions,
  RANDOM_CHECK,
  that,
} from '../../common/option-checks.ts';
import type { Random } from '../../common/random.ts';
import { makeUlid } from '../../common/ulid.ts';
import { PROBE_PREFIX, STORE_PROFILE_PATH } from '../../format/object-names.ts';
import { givenStore } from '../../store/object-path.ts';
import type { GetResult, ObjectStore } from '../../store/object-store.ts';
import { probeFolder, type StoreProfile } from '../../store/store-probe.ts';

/** How a store is probed. */
export interface ProbeOptions {
  /** For the ids of what is written. */
  random: Random;
  /** For the ids of what is written and the time of the result. */
  clock: Clock;
  /** Put before `shale/probe/`; empty or ending with a slash. */
  prefix?: string;
  /** Aborting ends the probe; what it wrote is deleted, if the store still answers. */
  signal?: AbortSignal;
}

const CHECKS: ChecksOf<ProbeOptions> = {
  random: RANDOM_CHECK,
  clock: CLOCK_CHECK,
  prefix: that('empty, or a path that ends with a slash', (v) => typeof v === 'string' && /^(.*\/)?$/.test(v)),
  signal: abortSignal,
};

/** Costs some 60 requests and as many milliseconds as 15 round trips. Throws store errors if the store cannot be used at all. */
export async function probeStore(store: ObjectStore, options: ProbeOptions): Promise<StoreProfile> {
  const { prefix = '', ...given } = checkedOptions('probeStore', options, CHECKS, ['random', 'clock']);
  return probeFolder(givenStore('probeStore', store), { ...given, folder: `${prefix}${PROBE_PREFIX}` });
}

/** Keeps what a probe found. One PUT. */
export async function keepProfile(
  store: ObjectStore,
  profile: StoreProfile,
  { clock, random }: Pick<ProbeOptions, 'clock' | 'random'>,
): Promise<void> {
  const bytes = new TextEncoder().encode(JSON.stringify({ ...profile, store: store.name }));
  await store.put(STORE_PROFILE_PATH, bytes, { condition: 'any', putId: makeUlid(clock.nowMs(), random) });
}

/** What is kept of this store, if it can be used for writing; else undefined: it is probed again and replaced. */
export function keptProfile(
  stored: Pick<GetResult, 'bytes'> | undefined,
  storeName: string,
): Partial<StoreProfile> | undefined {
  if (stored === undefined) return undefined;
  try {
    const profile = JSON.parse(new TextDecoder().decode(stored.bytes)) as Partial<StoreProfile> & { store?: unknown };
    return profile.store === storeName && profile.conditionalCreate === true ? profile : undefined;
  } catch {
    // Not JSON.
    return undefined;
  }
}
