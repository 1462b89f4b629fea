/**
 * What a zero-byte object of the log is: the fence of a writer of SlateDB 0.14 or later, or what is left of an object that held rows.
 * Nothing in the object says which, so its surroundings decide: epochs. Each fence belongs to an epoch of its own, which a writer
 * claimed in a manifest before it put the fence; rows need none. Where there are more objects than epochs, one of them held rows.
 *
 * Worked example, manifest at epoch 3:  `1:fence/e1  2:empty  3:empty  4:rows/e2`. The seal of object 4 says epoch 2, and its fence has
 * that epoch, too. So of the objects 2 and 3 one is the fence of epoch 2, and the other one held rows: both are reported.
 *
 * Steps: 1. the *stretches* of the log between objects that can be read; 2. the *runs* of empty objects in them; 3. the evidence for
 * each run; 4. the first rule that holds for that evidence.
 *
 * Invariants:
 * 1. The first object of a log is a fence: a writer puts one before its first rows. It is never in doubt, and neither is an object
 *    whose epoch is known.
 * 2. Every other empty object is in exactly one run, and every run gets exactly one verdict.
 * 3. Pure: no request, and the same log gives the same verdicts.
 */
import { assertThat } from '../common/assert.ts';

/** One id of the log. */
export interface LogSlot {
  kind: 'missing' | 'unreadable' | 'empty' | 'fence' | 'rows';
  isSealed: boolean;
  /** A writer sealed it, and its seal says what came before it. */
  namesPredecessor: boolean;
  /** Of `rows`: its sequence numbers. */
  seqs?: { min: number; max: number };
}

/** An epoch that a seal or a manifest says, at an object or (a bound, at half an id) between two objects. */
export interface KnownEpoch {
  id: number;
  epoch: number;
  /** The object is the fence of that epoch; else its fence is stored before it. */
  isFence: boolean;
}

export interface LogFacts {
  /** Id of the first slot. */
  from: number;
  slots: readonly LogSlot[];
  /** In any order, one for each id; those of seals also where the object itself is unreadable or stored under another id. */
  known: readonly KnownEpoch[];
  /** Highest epoch that a writer has claimed. */
  writerEpoch: number;
}

/** `lost`: it held rows, or another one of its run did. `unsure`: nothing says which. `fence`: nothing contradicts it. */
export type EmptyVerdict = 'lost' | 'unsure' | 'fence';

export interface ClassifiedRun {
  ids: readonly number[];
  verdict: EmptyVerdict;
  /** Of `RULES`. */
  rule: string;
}

/** What decides about one run of empty objects. */
interface Evidence {
  /** Objects in the run. */
  count: number;
  /** The object after the run was sealed by a writer and names its predecessor. */
  isChained: boolean;
  /** The last epoch that is known before the stretch. */
  before: 'known' | 'only that the log began with a fence' | 'nothing';
  /** That epoch is the one of the object right before the run. */
  isNextToKnown: boolean;
  /** Objects of the stretch up to the end of the run: missing, unreadable or empty, each a fence or a loss. */
  stretchCount: number;
  /** Fences and empty objects from the second object of the log to its first known epoch. */
  unsealedFences: number;
  /** Epochs that those fences may have: claimed after the epoch before the stretch and before the one after it. */
  freeEpochs: number;
  /** The stretch is between epochs that are known: no object without a seal touches it, whose epoch may be any. */
  isBounded: boolean;
  /** The object right before the run is missing or unreadable, and nothing says its epoch. */
  isBesideGap: boolean;
  /** The sequence numbers of the rows before and after the run leave no gap: no row is lost between them. */
  isSeamless: boolean;
}

interface Rule {
  name: string;
  /** The rule in one sentence. */
  says: string;
  verdict: EmptyVerdict;
  holds(e: Evidence): boolean;
}

/** Tried in this order; R1 is invariant 1. */
export const RULES: readonly Rule[] = [
  {
    name: 'R2',
    says: 'A single empty object before a sealed one that names its predecessor is decided by that name, not here.',
    verdict: 'fence',
    holds: (e) => e.isChained && e.count === 1,
  },
  {
    name: 'R3',
    says: 'Between two known epochs there are no more fences than epochs claimed between them: what is more held rows.',
    verdict: 'lost',
    holds: (e) => e.before === 'known' && e.isBounded && e.stretchCount > e.freeEpochs,
  },
  {
    name: 'R4',
    says: 'Before the first known epoch there are no more fences than epochs; where there are, those that leave a gap in the sequence numbers held rows.',
    verdict: 'lost',
    holds: (e) =>
      e.before === 'only that the log began with a fence' && e.unsealedFences > e.freeEpochs && !e.isSeamless,
  },
  {
    name: 'R5',
    says: 'Right after an object that is missing or unreadable, with no epoch known before, an empty one is counted as lost: an epoch that was claimed and never fenced would hide the loss.',
    verdict: 'lost',
    holds: (e) => e.before !== 'known' && e.isBesideGap,
  },
  {
    name: 'R6',
    says: 'Several empty objects before a sealed one that names its predecessor, with epochs enough, are fences.',
    verdict: 'fence',
    holds: (e) => e.isChained,
  },
  {
    name: 'R7',
    says: 'Right after an object whose epoch is known, with epochs enough, they are fences.',
    verdict: 'fence',
    holds: (e) => e.isNextToKnown,
  },
  { name: 'R8', says: 'Otherwise it is unknown.', verdict: 'unsure', holds: () => true },
];

/** The runs of empty objects whose kind is in doubt, each with its verdict, in the order of the log. */
export function classifyEmptyObjects(facts: LogFacts): ClassifiedRun[] {
  const log = new Log(facts);
  return log.runs().map((run) => {
    const evidence = log.evidenceOf(run);
    const rule = RULES.find((r) => r.holds(evidence)) as Rule;
    const ids = Array.from({ length: run.end - run.start }, (_, i) => facts.from + run.start + i);
    return { ids, verdict: rule.verdict, rule: rule.name };
  });
}

/** Indexes into the slots: a run of empty objects, and where its stretch begins. */
interface Run {
  stretch: number;
  start: number;
  end: number;
}

/** A bound is stored between the object that it ends with and the next one. */
const BOUND = 0.5;

/** The bound after the object of this id. */
export function boundAfter(id: number, epoch: number): KnownEpoch {
  return { id: id + BOUND, epoch, isFence: false };
}

class Log {
  readonly #facts: LogFacts;
  /** Ascending by id. */
  readonly #known: readonly KnownEpoch[];
  readonly #knownIds: ReadonlySet<number>;
  readonly #unsealedFences: number;

  constructor(facts: LogFacts) {
    assertThat(facts.from >= 1, 'ids of the log begin with 1');
    this.#facts = facts;
    // A bound before the first object says nothing about any object.
    this.#known = facts.known.filter((k) => k.id >= 1).sort((a, b) => a.id - b.id);
    this.#knownIds = new Set(this.#known.map((k) => k.id));
    this.#unsealedFences = this.#countUnsealedFences();
  }

  #idOf(i: number): number {
    return this.#facts.from + i;
  }

  #isKnown(i: number): boolean {
    return this.#knownIds.has(this.#idOf(i));
  }

  #isInDoubt(i: number): boolean {
    return this.#facts.slots[i]?.kind === 'empty' && !this.#isKnown(i) && this.#idOf(i) > 1;
  }

  #isGap(i: number): boolean {
    const kind = this.#facts.slots[i]?.kind;
    return (kind === 'missing' || kind === 'unreadable') && !this.#isKnown(i);
  }

  /** An object that can be read and whose epoch may be any. */
  #hasAnyEpoch(i: number): boolean {
    const slot = this.#facts.slots[i];
    const isThere = slot !== undefined && slot.kind !== 'missing' && slot.kind !== 'unreadable';
    return isThere && !slot.isSealed && !this.#isKnown(i);
  }

  #isAfterBound(i: number): boolean {
    return this.#knownIds.has(this.#idOf(i) - BOUND);
  }

  #countUnsealedFences(): number {
    const end = this.#known[0]?.id ?? Number.POSITIVE_INFINITY;
    const isFence = (i: number) =>
      this.#isInDoubt(i) || (this.#facts.slots[i].kind === 'fence' && !this.#isKnown(i) && this.#idOf(i) > 1);
    return this.#facts.slots.filter((_, i) => this.#idOf(i) < end && isFence(i)).length;
  }

  /** Steps 1 and 2. A stretch begins after an object that can be read or whose epoch is known, and at a bound. */
  runs(): Run[] {
    const { length } = this.#facts.slots;
    const runs: Run[] = [];
    let stretch = 0;
    let i = 0;
    while (i < length) {
      if (this.#isAfterBound(i)) stretch = i;
      if (!this.#isInDoubt(i)) {
        if (!this.#isGap(i)) stretch = i + 1;
        i++;
        continue;
      }
      const start = i;
      do i++;
      while (this.#isInDoubt(i) && !this.#isAfterBound(i));
      runs.push({ stretch, start, end: i });
    }
    const inDoubt = this.#facts.slots.filter((_, k) => this.#isInDoubt(k)).length;
    const inRuns = runs.reduce((sum, run) => sum + run.end - run.start, 0);
    assertThat(inRuns === inDoubt, 'every empty object in doubt is in one run (empty-log-objects 2)');
    return runs;
  }

  /** Step 3. */
  evidenceOf({ stretch, start, end }: Run): Evidence {
    const { slots, writerEpoch } = this.#facts;
    const stretchId = this.#idOf(stretch);
    const before = this.#known.findLast((k) => k.id < stretchId);
    const after = this.#known.find((k) => k.id >= stretchId);
    // A fence after the stretch has an epoch of its own; rows have that of their fence, which may be in the stretch.
    const lastEpoch = after === undefined ? writerEpoch : after.epoch - (after.isFence ? 1 : 0);
    // By invariant 1 the log began with epoch 1, or a later one.
    const isAfterFirst = stretchId > 1;
    assertThat(
      stretch <= start && start < end && end <= slots.length,
      'a run is within its stretch, and the stretch in the log',
    );
    const touches = (i: number, bound: number) => this.#hasAnyEpoch(i) && !this.#isAfterBound(bound);
    return {
      count: end - start,
      isChained: slots[end]?.namesPredecessor ?? false,
      before: before !== undefined ? 'known' : isAfterFirst ? 'only that the log began with a fence' : 'nothing',
      isNextToKnown: before !== undefined && before.id >= this.#idOf(start) - 1,
      stretchCount: end - stretch,
      unsealedFences: this.#unsealedFences,
      freeEpochs: lastEpoch - (before?.epoch ?? 1),
      isBounded: !touches(stretch - 1, stretch) && !touches(end, end),
      isBesideGap: start > 0 && this.#isGap(start - 1),
      isSeamless: this.#isSeamless(start, end),
    };
  }

  #isSeamless(start: number, end: number): boolean {
    const { slots } = this.#facts;
    let before = start - 1;
    while (before >= 0 && slots[before].seqs === undefined) before--;
    let after = end;
    while (after < slots.length && slots[after].seqs === undefined) after++;
    const last = slots[before]?.seqs;
    const next = slots[after]?.seqs;
    return last !== undefined && next !== undefined && next.min === last.max + 1;
  }
}
