/**
 * Losses of whole kinds of objects, as a wrong retention rule, a partial restore or a slip of a hand makes them: all objects of
 * one kind are gone, only one kind is left, a random half is gone.
 */
import { nextInt, SeededRandom } from '../../src/common/random.ts';
import { isDatabasePath, roleOfPath } from '../../src/format/object-names.ts';

/** Seeds of the random halves. */
const HALVES = 12;

export interface WholeLoss {
  /** For example `all-of-kind wal`. */
  name: string;
  /** Paths that are gone; at least one, and at least one is left. */
  gone: string[];
}

export type WholeLossKind = 'all-of-kind' | 'only-kind' | 'half';

/** `paths`: below the root of the database; names of other programs are left alone. */
export function* wholeLosses(paths: readonly string[], kind: WholeLossKind): Generator<WholeLoss> {
  const ours = paths.filter(isDatabasePath);
  const roles = [...new Set(ours.map(roleOfPath))];
  const loss = (name: string, isGone: (path: string, i: number) => boolean): WholeLoss[] => {
    const gone = ours.filter(isGone);
    return gone.length > 0 && gone.length < ours.length ? [{ name, gone }] : [];
  };
  if (kind === 'all-of-kind') {
    for (const role of roles) yield* loss(`${kind} ${role}`, (path) => roleOfPath(path) === role);
  } else if (kind === 'only-kind') {
    for (const role of roles) yield* loss(`${kind} ${role}`, (path) => roleOfPath(path) !== role);
  } else {
    for (let seed = 1; seed <= HALVES; seed++) {
      const random = new SeededRandom(seed);
      const goes = ours.map(() => nextInt(random, 2) === 0);
      yield* loss(`${kind} ${seed}`, (_, i) => goes[i]);
    }
  }
}
