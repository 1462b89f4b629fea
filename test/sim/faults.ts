/**
 * What goes wrong between a process and the store, by chance from a seed. Rates are per call; storms are stretches of time in
 * which every call suffers. What fired is counted, because a fault that never fires tests nothing.
 *
 * Two limits keep the faults within what the engine promises to survive: of one path not more than three reads in a row are
 * bad, and no two of them alike (alike means damaged at rest); and lists are wrong only once in a row for one prefix.
 */
import { nextFloat, nextInt, type Random } from '../../src/common/random.ts';

export type Op = 'get' | 'head' | 'put' | 'list' | 'delete';

/**
 * `refused-connection`: nothing arrives. `throttle`: 503 with or without a time to wait. `conflict`: 409, in flight.
 * `error-500`: no word about whether it was applied. `lost-answer`: applied, the connection breaks. `stall`: applied or not,
 * never answered. `late-answer`: answered after the client's patience. `late-put`: no answer, applied much later. `double-put`:
 * applied, and once more later. Of reads: `short-body`, `flip` (one bit on the wire). Of lists: `list-stale` (as it was a
 * while ago), `list-cut` (breaks off), `list-empty`, `list-unordered`.
 */
export const FAULT_KINDS = [
  'refused-connection',
  'throttle',
  'conflict',
  'error-500',
  'lost-answer',
  'stall',
  'late-answer',
  'late-put',
  'double-put',
  'short-body',
  'flip',
  'list-stale',
  'list-cut',
  'list-empty',
  'list-unordered',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];
export type FaultRates = Partial<Record<FaultKind, number>>;

const OPS: Record<FaultKind, readonly Op[]> = {
  'refused-connection': ['get', 'head', 'put', 'list', 'delete'],
  throttle: ['get', 'head', 'put', 'list', 'delete'],
  conflict: ['put'],
  'error-500': ['get', 'head', 'put', 'list', 'delete'],
  'lost-answer': ['get', 'head', 'put', 'list', 'delete'],
  stall: ['get', 'head', 'put', 'list', 'delete'],
  'late-answer': ['get', 'head', 'put', 'list', 'delete'],
  'late-put': ['put'],
  'double-put': ['put'],
  'short-body': ['get'],
  flip: ['get'],
  'list-stale': ['list'],
  'list-cut': ['list'],
  'list-empty': ['list'],
  'list-unordered': ['list'],
};

/** Faults after which a further look must be a true one: how many in a row there may be. */
const IN_A_ROW: Partial<Record<FaultKind, number>> = {
  'short-body': 3,
  flip: 3,
  'list-stale': 1,
  'list-empty': 1,
  'list-unordered': 1,
};

/** `outage`: nothing can be reached. `black-hole`: nothing is answered. */
export type StormKind = 'outage' | 'black-hole' | 'storm-5xx' | 'storm-throttle';
export const STORM_KINDS: readonly StormKind[] = ['outage', 'black-hole', 'storm-5xx', 'storm-throttle'];

const IN_STORM: Record<StormKind, readonly FaultKind[]> = {
  outage: ['refused-connection'],
  'black-hole': ['stall'],
  'storm-5xx': ['error-500', 'refused-connection'],
  'storm-throttle': ['throttle'],
};

export class Faults {
  rates: FaultRates;
  enabled = true;
  /** Rates concern only these operations. */
  only: readonly Op[] | undefined;
  readonly fired = new Map<string, number>();
  /** Times a list lied about what exists; an opening may then refuse to go on. */
  wrongLists = 0;
  readonly #random: Random;
  #storm: { kind: StormKind; untilMs: number } | undefined;
  readonly #inARow = new Map<string, number>();

  constructor(random: Random, rates: FaultRates = {}) {
    this.#random = random;
    this.rates = rates;
  }

  storm(kind: StormKind, untilMs: number): void {
    this.#storm = { kind, untilMs };
    this.count(kind);
  }

  inStorm(nowMs: number): boolean {
    return this.#storm !== undefined && nowMs < this.#storm.untilMs;
  }

  /** No more faults. */
  stop(): void {
    this.enabled = false;
    this.#storm = undefined;
  }

  count(kind: string): void {
    this.fired.set(kind, (this.fired.get(kind) ?? 0) + 1);
  }

  pick(op: Op, path: string, nowMs: number): FaultKind | undefined {
    if (!this.enabled) return undefined;
    const kind = this.#draw(op, nowMs);
    // What the probe of a new store concludes from wrong lists and the like is another matter; it lists twice.
    const isProbe = path.startsWith('shale/probe/');
    if (kind !== 'flip' && isProbe) return undefined;
    const place = `${op} ${path}`;
    const most = kind === undefined ? 0 : isProbe ? 1 : IN_A_ROW[kind];
    const before = this.#inARow.get(place) ?? 0;
    if (kind === undefined || (most !== undefined && before >= most)) {
      this.#inARow.delete(place);
      return undefined;
    }
    if (most !== undefined) this.#inARow.set(place, before + 1);
    if (kind === 'list-empty' || kind === 'list-stale') this.wrongLists++;
    this.count(kind);
    return kind;
  }

  #draw(op: Op, nowMs: number): FaultKind | undefined {
    if (this.#storm !== undefined && nowMs < this.#storm.untilMs) {
      const kinds = IN_STORM[this.#storm.kind];
      return kinds[nextInt(this.#random, kinds.length)];
    }
    if (this.only !== undefined && !this.only.includes(op)) return undefined;
    let x = -1;
    for (const kind of FAULT_KINDS) {
      const rate = this.rates[kind];
      if (rate === undefined || rate === 0 || !OPS[kind].includes(op)) continue;
      if (x < 0) x = nextFloat(this.#random);
      if (x < rate) return kind;
      x -= rate;
    }
    return undefined;
  }
}
