/**
 * The kinds of errors, and how one of this package is recognised: by a brand under a registered symbol, so also when two copies of
 * the package are loaded in one process.
 */
const BRAND = Symbol.for('shaledb.error');

/** What an error means for the caller, in one word: one for each class. */
export type ErrorKind =
  | 'invalid'
  | 'conflict'
  | 'fenced'
  | 'closed'
  | 'unavailable'
  | 'corruption'
  | 'incompatible'
  | 'aborted'
  | 'internal';

/** Whether a write that failed can have taken effect: `not-applied` never, `unknown` read back before trying again. */
export type WriteOutcome = 'not-applied' | 'unknown';

/** Names of an error's classes, its own first; undefined for anything else. */
export function brandsOf(value: unknown): readonly string[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  try {
    const brands = (value as Record<symbol, unknown>)[BRAND];
    return Array.isArray(brands) ? brands : undefined;
  } catch {
    // A proxy that cannot be read is no error of ours.
    return undefined;
  }
}

/** Gives a class its name, and those of its instances. */
export function brand(cls: { prototype: object }, ...names: string[]): void {
  Object.defineProperty(cls.prototype, BRAND, { value: Object.freeze(names) });
  Object.defineProperty(cls, 'brand', { value: names[0] });
}
