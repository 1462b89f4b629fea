/**
 * What a database does about the damage its reads meet: counts it, keeps a list of it, and asks the `onCorruption` function.
 *
 * 1. The function sees every read that damage has changed, and can turn a flagged answer into an error; it cannot hide one.
 * 2. Each such read is counted once, by what became of it; rows of a scan as the scan gives them. No count falls.
 */
import { assertThat } from '../common/assert.ts';
import { describeThrown, guarded } from '../common/callbacks.ts';
import type { Finding } from '../common/finding.ts';
import type { Logger } from '../common/logger.ts';
import type { LedgerEntry } from '../lsm/tree/damage-ledger.ts';
import type { DamageRegister } from '../lsm/tree/damage-register.ts';

/**
 * What a read does where damage may hide a newer version of what it found: `available` answers with what it found, flagged,
 * `strict` rejects. Both reject where nothing was found, with one exception: after rows of the log were lost, whose keys nothing
 * knows, any answer that is not newer may lack one of them, and `available` then answers "not found", too, counted.
 */
export type CorruptionPolicy = 'available' | 'strict';

/** A read that met damage which may hold its answer. */
export interface MetCorruption {
  /** `get` stands for every read of single keys. */
  operation: 'get' | 'scan';
  /** The key of a get. */
  key?: Uint8Array;
  /** The damage that the read met. */
  findings: readonly Finding[];
  /**
   * `error`: the call rejects. `possibly-stale`: it answers with what is outside of the damage. `skipped`: the scan leaves a
   * stretch out, as its options ask.
   */
  outcome: 'error' | 'possibly-stale' | 'skipped';
}

/** Returns 'error' to have the read reject; anything else changes nothing, also a promise: the read does not wait for it. */
export type CorruptionListener = (met: MetCorruption) => unknown;

/** Reads since the opening, by what damage did to them. */
export interface CorruptionCounts {
  /**
   * Answers that were given although a newer version may be lost (metric `corruption.possibly_stale`): values, rows, and after a
   * loss with unknown keys also "not found" and each scan.
   */
  possiblyStale: number;
  /** Calls that were rejected because of damage. */
  errors: number;
  /** Stretches that scans left out. */
  skipped: number;
}

/** What is known to be damaged. */
export interface CorruptionReport {
  /** Damage that reads have met, to tables in use; at most 1,000 pieces. Warnings took no row away. */
  findings: Finding[];
  /** What became of the reads that met damage. */
  counts: CorruptionCounts;
  /**
   * Losses that repairs recorded and that are not acknowledged. In ranges of known keys they count as damage; without known keys
   * they may concern every read that finds nothing newer: see `CorruptionPolicy`.
   */
  lost: LedgerEntry[];
}

export class CorruptionWatch {
  readonly #register: DamageRegister;
  readonly #listener: CorruptionListener | undefined;
  readonly #logger: Logger;
  readonly #counts: CorruptionCounts = { possiblyStale: 0, errors: 0, skipped: 0 };

  constructor(register: DamageRegister, listener: CorruptionListener | undefined, logger: Logger) {
    this.#register = register;
    this.#listener = listener;
    this.#logger = logger;
  }

  /** Notes a read that met damage; true if it must reject. */
  met(met: MetCorruption): boolean {
    for (const finding of met.findings) this.#register.note(finding);
    const answer = this.#ask(met);
    const mustFail = met.outcome === 'error' || answer === 'error';
    if (mustFail) this.#counts.errors++;
    else if (met.outcome === 'skipped') this.#counts.skipped++;
    else if (met.operation === 'get') this.#counts.possiblyStale++;
    return mustFail;
  }

  /** Counts flagged rows of a scan. */
  staleRows(count: number): void {
    assertThat(Number.isSafeInteger(count) && count >= 0, 'no count of met damage falls (corruption-watch 2)');
    this.#counts.possiblyStale += count;
  }

  #ask(met: MetCorruption): unknown {
    return guarded(
      () => this.#listener?.(met),
      (error) =>
        this.#logger.error('the onCorruption function threw', { outcome: met.outcome, error: describeThrown(error) }),
    );
  }

  report(): Omit<CorruptionReport, 'lost'> {
    return { findings: this.#register.findings, counts: { ...this.#counts } };
  }
}
