/**
 * Runs the judge over all damages of one kind and counts outcomes by section.
 *
 * What counts as a fault: silent wrong answers, hangs, errors without a type or that name another object, and, in a database
 * of sealed objects, damage that `verify` does not see. Where nothing is sealed, unseen damage is counted but is no fault as
 * long as no answer is wrong. That the whole log is gone must be seen everywhere.
 */
import { type Damage, type DamageKind, damagesOf, isBeyondProof, isLogGone, isWholeLoss } from './damages.ts';
import { type Judgement, judge, OUTCOMES, type Outcome } from './judge.ts';
import type { Reference } from './references.ts';
import { sectionOf } from './sections.ts';

export interface Sample {
  every: number;
  from: number;
}

const FAULTS: readonly Outcome[] = ['misnamed', 'untyped', 'hang', 'wrong'];
const MAX_NAMED_FAULTS = 40;
/** A case that takes longer in real time is named. */
const SLOW_MS = 5000;

export function isFault({ outcome, isSeen }: Judgement, reference: Reference, damage: Damage): boolean {
  if (isLogGone(reference, damage) && !isSeen) return true;
  if (isBeyondProof(reference, damage)) {
    const isFalseClean = isWholeLoss(damage.kind) && outcome === 'misnamed';
    return outcome === 'untyped' || outcome === 'hang' || isFalseClean;
  }
  // Of many objects some are needed by nobody any more: what counts is that no answer is wrong and that clean means it opens.
  return FAULTS.includes(outcome) || (reference.isSealed && !isSeen && !isWholeLoss(damage.kind));
}

interface Counted {
  cases: number;
  unseen: number;
  /** Beyond proof. */
  excepted: number;
  outcomes: Partial<Record<Outcome, number>>;
}

export class SweepCounts {
  cases = 0;
  faults = 0;
  slow = 0;
  /** By `RS flip table block`. */
  readonly sections = new Map<string, Counted>();
  readonly named: string[] = [];

  count(reference: Reference, damage: Damage, judgement: Judgement): void {
    const object = reference.objects.find((o) => o.path === damage.paths[0])!;
    const where = damage.kind === 'flip' ? sectionOf(object, damage.offset) : sectionOf(object, 0).split(' ')[0];
    const key = `${reference.name} ${damage.kind} ${where}`;
    const counted = this.sections.get(key) ?? { cases: 0, unseen: 0, excepted: 0, outcomes: {} };
    counted.cases++;
    if (!judgement.isSeen) counted.unseen++;
    if (isBeyondProof(reference, damage)) counted.excepted++;
    counted.outcomes[judgement.outcome] = (counted.outcomes[judgement.outcome] ?? 0) + 1;
    this.sections.set(key, counted);
    this.cases++;
    if (!isFault(judgement, reference, damage)) return;
    this.faults++;
    if (this.named.length < MAX_NAMED_FAULTS) {
      this.named.push(
        `${reference.name}: ${damage.name}: ${judgement.outcome}: ${judgement.detail ?? 'not seen by verify'}`,
      );
    }
  }

  add(other: ReturnType<SweepCounts['toJSON']>): void {
    this.cases += other.cases;
    this.faults += other.faults;
    this.slow += other.slow;
    this.named.push(...other.named.slice(0, MAX_NAMED_FAULTS - this.named.length));
    for (const [key, more] of Object.entries(other.sections)) {
      const counted = this.sections.get(key) ?? { cases: 0, unseen: 0, excepted: 0, outcomes: {} };
      counted.cases += more.cases;
      counted.unseen += more.unseen;
      counted.excepted += more.excepted;
      for (const outcome of OUTCOMES) {
        const n = more.outcomes[outcome];
        if (n !== undefined) counted.outcomes[outcome] = (counted.outcomes[outcome] ?? 0) + n;
      }
      this.sections.set(key, counted);
    }
  }

  toJSON() {
    const { cases, faults, slow, named } = this;
    return { cases, faults, slow, named, sections: Object.fromEntries(this.sections) };
  }

  /** Markdown: a line per database, kind and section. */
  table(): string {
    const columns = OUTCOMES.filter((o) => [...this.sections.values()].some((c) => c.outcomes[o] !== undefined));
    const lines = [
      `| where | cases | ${columns.join(' | ')} | not seen by verify | excepted |`,
      `|---|${'---|'.repeat(columns.length + 3)}`,
    ];
    for (const [key, c] of [...this.sections].sort(([a], [b]) => (a < b ? -1 : 1))) {
      lines.push(
        `| ${key} | ${c.cases} | ${columns.map((o) => c.outcomes[o] ?? 0).join(' | ')} | ${c.unseen} | ${c.excepted} |`,
      );
    }
    return lines.join('\n');
  }
}

/** The faults in words, each with the command that repeats it. */
export function faultsOf(counts: SweepCounts): string[] {
  const lines = counts.named.map((text) => {
    const [database, name] = text.split(': ');
    return `FAULT ${text}\n  npm run sweep -- --database ${database} --case '${name}'`;
  });
  if (counts.faults > counts.named.length) lines.push(`... and ${counts.faults - counts.named.length} more faults`);
  lines.push(`${counts.faults} faults, ${counts.slow} cases longer than ${SLOW_MS} ms`);
  return lines;
}

/** Judges every `every`-th damage, beginning with number `from`. */
export async function sweep(
  reference: Reference,
  kind: DamageKind,
  { every, from }: Sample,
  counts: SweepCounts,
  progress: (done: number) => void = () => undefined,
): Promise<void> {
  let n = 0;
  for (const damage of damagesOf(reference, kind)) {
    if (n++ % every !== from % every) continue;
    const started = performance.now();
    const judgement = await judge(reference, damage);
    if (performance.now() - started > SLOW_MS) counts.slow++;
    counts.count(reference, damage, judgement);
    progress(n);
  }
}
