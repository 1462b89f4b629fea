/**
 * The damage that reads have met since the opening, each piece once, as long as a manifest names its table.
 *
 * Bounded: an object can be damaged in more places than are worth keeping.
 *
 * Invariants:
 * 1. Kept by id, which is of code, object, unit and offset (`makeFinding`): what shares one is what several reads found at one place,
 *    and the latest knows most. Two kinds of damage at a place have two codes, losses have the ids of their ledger entries. So no
 *    damage hides another one. (Manifests, of which several things are said at offset 0, are not registered here.)
 * 2. Each kind of damage at each place is new once.
 */
import type { Finding } from '../../common/finding.ts';

const MAX_FINDINGS_KEPT = 1000;

export class DamageRegister {
  readonly #findings = new Map<string, Finding>();

  /** Newest last. What a later read found out about the same damage replaces what was known. */
  get findings(): Finding[] {
    return [...this.#findings.values()];
  }

  /** True if this piece of damage is new. */
  note(finding: Finding): boolean {
    const isNew = !this.#findings.has(finding.id);
    if (isNew && this.#findings.size >= MAX_FINDINGS_KEPT) return false;
    this.#findings.set(finding.id, finding);
    return isNew;
  }

  /** Forgets damage to objects that are no longer in use. */
  keepOnly(paths: ReadonlySet<string>): void {
    for (const [id, finding] of this.#findings) if (!paths.has(finding.object.path)) this.#findings.delete(id);
  }
}
