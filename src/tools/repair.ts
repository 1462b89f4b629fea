/**
 * `repair`: every repair that a check asks for, in the order in which they help each other, with one plan and one hash.
 *
 * ```
 * verify -> manifests -> verify again, if that changed them -> each damaged table -> the log -> verify
 * ```
 *
 * Manifests come first, because they name everything else; tables before the log, which may still have their rows. A later step can only
 * be planned on what an earlier one leaves, so a plan carries its steps out in memory, over the store (overlay-store.ts).
 *
 * Invariants:
 * 1. Without `apply`, and without a consent that a step needs, nothing is written to the store.
 * 2. What is applied is step by step the plan: each step is applied by the hash that it was planned with.
 * 3. What was not called damaged is not repaired: findings of severity `unknown` and `note` lead to no step.
 */
import { createHash } from 'node:crypto';
import { at, REPAIR_LOG, REPAIR_MANIFEST, repairTable } from '../common/advice.ts';
import { assertThat, present } from '../common/assert.ts';
import { ConflictError, InvalidArgumentError } from '../common/errors.ts';
import { type Finding, SEVERITY_RANK } from '../common/finding.ts';
import { bool, type ChecksOf, callable, checkedOptions, readingArgument, whole } from '../common/option-checks.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import type { Consent } from '../recovery/repair-report.ts';
import { toolAccessOf } from '../recovery/tool-access.ts';
import type { Location } from '../store/location.ts';
import { Overlay } from '../store/overlay-store.ts';
import { manifestRepair } from './manifest-repair.ts';
import { listRepairs, readAttempt, readReport } from './repair-files.ts';
import { REPAIR_CHECKS, type RepairOptions } from './repair-plan.ts';
import type { RepairOutcome, RepairReport, Verdict, VerifyReport } from './reports.ts';
import { type CheckLevel, LEVEL_CHECK } from './sst-check.ts';
import { sstRepair } from './sst-repair.ts';
import { type Target, TOOL_CHECKS, type ToolOptions, type ToolTarget, withTarget, wrappedTarget } from './target.ts';
import { verify } from './verify.ts';
import { walRepair } from './wal-repair.ts';

const MIB = 1024 * 1024;
const DEFAULT_PLAN_BYTES = 512 * MIB;

/** How far a repair has come. */
export interface RepairProgress {
  /** `check`: the database is being read; `plan`: a step is being planned; `apply`: it is being carried out. */
  doing: 'check' | 'plan' | 'apply';
  /** Steps that are planned, or carried out. */
  steps: number;
}

/** Options of `repair`. */
export interface RepairAllOptions extends RepairOptions, ToolOptions {
  /** How deep tables are checked to find what is damaged; default `cross`, as of `verify`. */
  level?: CheckLevel;
  /** Go on although rows are, or may be, lost. Default: then nothing is changed, and the outcome is `consent-needed`. */
  acceptLoss?: boolean;
  /** Go on although older values of lost keys may show through. Default: then nothing is changed, and the outcome is `consent-needed`. */
  acceptResurrection?: boolean;
  /** Memory for what the steps of a plan write, bytes; at least 1 MiB, default 512 MiB. With more damage the plan has the first steps (`isWhole` false). */
  planBytes?: number;
  /** Called as steps are planned and carried out. What it throws ends the repair. */
  onProgress?: (progress: RepairProgress) => void;
}

/** What `repair` did or, without `apply`, would do. */
export interface RepairAllReport {
  schemaVersion: 1;
  /** Of all steps; `apply: { planHash }` does exactly them or nothing. Absent where there is nothing to apply. */
  planHash?: string;
  /** Whether the database is changed by this call. */
  applied: boolean;
  /** The worst of what becomes of the damage: `clean` if no step was needed. */
  outcome: RepairOutcome;
  /** What the check said before. */
  verdict: Verdict;
  /** What it found. */
  before: Finding[];
  /** The repairs, in their order: done, or as they would be. */
  steps: RepairReport[];
  /** False: there is more damage than a plan has room for. Repair this first, then again. */
  isWhole: boolean;
  /** What applying it needs and this call did not give. */
  missingConsent: readonly Consent[];
  /** The check after it was applied. */
  after?: {
    /** Its verdict. */
    verdict: Verdict;
    /** What it found. */
    findings: Finding[];
  };
  /** Commands and advice, most important first. */
  nextSteps: string[];
  /** Requests that the call sent to the store. */
  requests: number;
  /** How long the call took, ms. */
  tookMs: number;
}

const CHECKS: ChecksOf<RepairAllOptions> = {
  ...TOOL_CHECKS,
  ...REPAIR_CHECKS,
  level: LEVEL_CHECK,
  acceptLoss: bool,
  acceptResurrection: bool,
  planBytes: whole(MIB, 2 ** 40),
  onProgress: callable,
};

/**
 * Checks a database and repairs what is damaged, or without `apply` says how: the manifest, then each table, then the log. The same as
 * `manifestRepair`, `sstRepair` and `walRepair` one after the other, with one plan. May be interrupted at any moment: the same call, also
 * with the same hash, goes on. On return all is durable. A location only: an open database is repaired by these functions.
 *
 * Rejects with `InvalidArgumentError` (`BAD_OPTION`, `BAD_ARGUMENT`, `NOT_A_DATABASE`), `ConflictError` (`LIVE_WRITER`, `PLAN_CHANGED`),
 * `IncompatibleError` (a newer form: nothing is repaired), `FencedError`, `UnavailableError`, `AbortError`. Costs `verify` once, once more if
 * the manifest is repaired and once if something is applied, and what each repair costs, twice.
 */
export async function repair(location: Location, given: RepairAllOptions = {}): Promise<RepairAllReport> {
  const options = checkedOptions('repair', given, CHECKS);
  if (readingArgument('target', () => toolAccessOf(location)) !== undefined)
    throw new InvalidArgumentError(
      'BAD_ARGUMENT',
      'repair takes a location, not an open database: use manifestRepair, sstRepair and walRepair, or close it first.',
    );
  return withTarget(location, options, (target) => new WholeRepair(location, target, options).run());
}

/** One repair of one object, or of the log. */
type Step = { tool: 'manifestRepair' } | { tool: 'sstRepair'; id: string } | { tool: 'walRepair' };

interface PlannedStep {
  step: Step;
  report: RepairReport;
}

interface Plan {
  check: VerifyReport;
  steps: PlannedStep[];
  isWhole: boolean;
}

/** From the mildest. */
const OUTCOMES: readonly RepairOutcome[] = [
  'clean',
  'obsolete',
  'healed',
  'reconstructed',
  'salvaged',
  'consent-needed',
  'unrecoverable',
];

class WholeRepair {
  readonly #location: Location;
  readonly #target: ToolTarget;
  readonly #options: RepairAllOptions;
  readonly #common: ToolOptions;
  #requests = 0;

  constructor(location: Location, target: ToolTarget, options: RepairAllOptions) {
    const {
      apply,
      ifLiveWriter,
      liveCheckMs,
      level,
      acceptLoss,
      acceptResurrection,
      planBytes,
      onProgress,
      ...common
    } = options;
    this.#location = location;
    this.#target = target;
    this.#options = options;
    this.#common = common;
  }

  async run(): Promise<RepairAllReport> {
    const { apply = false } = this.#options;
    const plan = await this.#plan();
    const { steps } = plan;
    const doable = steps.filter(({ report }) => report.planHash !== undefined);
    const missing = [...new Set(steps.flatMap(({ report }) => report.missingConsent))];
    // With that consent a step has another plan.
    const hash = doable.length === 0 || missing.includes('resurrection') ? undefined : hashOf(doable.map(planHashOf));
    if (hash !== undefined && typeof apply === 'object') await this.#assertReviewed(doable, hash, apply.planHash);
    const isRefused = missing.length > 0 && (apply !== false || hash === undefined);
    const outcome = isRefused ? 'consent-needed' : worstOf(steps);
    if (apply === false || hash === undefined || isRefused)
      return this.#report(plan, {
        applied: false,
        outcome,
        steps,
        missing,
        ...(hash !== undefined && { planHash: hash }),
      });
    const done = await this.#apply(doable);
    const all = [...done, ...steps.filter(({ report }) => report.planHash === undefined)];
    const { verdict, findings, nextSteps } = await this.#verify(this.#location);
    const applied = { applied: true, outcome: worstOf(all), steps: all, missing: [], planHash: hash };
    return { ...this.#report(plan, applied), after: { verdict, findings }, nextSteps };
  }

  /** In memory over the store, so that every step sees those before it. */
  async #plan(): Promise<Plan> {
    const { clock } = this.#target;
    const [main, wal] = [new Overlay(clock), new Overlay(clock)];
    const over = wrappedTarget(this.#location, (stores) => overlaid(stores, main, wal));
    const { planBytes = DEFAULT_PLAN_BYTES } = this.#options;
    const check = await this.#verify(over);
    const steps: PlannedStep[] = [];
    const tried = new Set<string>();
    let { findings } = check;
    for (;;) {
      const step = stepsFor(findings, this.#target.label).find((one) => !tried.has(keyOf(one)));
      if (step === undefined) return { check, steps, isWhole: true };
      if (main.bytes + wal.bytes >= planBytes) return { check, steps, isWhole: false };
      tried.add(keyOf(step));
      this.#progress('plan', steps.length);
      const report = await this.#call(over, step, { apply: false }, this.#consents());
      if (report.outcome === 'clean' || report.outcome === 'obsolete') continue;
      steps.push({ step, report });
      const canBeTried = report.planHash !== undefined || report.missingConsent.length > 0;
      // Without a manifest nothing else can be planned.
      if (!canBeTried && step.tool === 'manifestRepair') return { check, steps, isWhole: true };
      if (canBeTried)
        await this.#call(over, step, { apply: true, liveCheckMs: 0, ifLiveWriter: 'fence' }, ALL_CONSENTS);
      if (step.tool === 'manifestRepair') findings = (await this.#verify(over)).findings;
    }
  }

  async #apply(steps: readonly PlannedStep[]): Promise<PlannedStep[]> {
    const { ifLiveWriter, liveCheckMs } = this.#options;
    const done: PlannedStep[] = [];
    for (const planned of steps) {
      this.#progress('apply', done.length);
      // The first step watches for other processes; then the database is ours.
      const watch = done.length > 0 ? 0 : liveCheckMs;
      const options: RepairOptions = {
        apply: { planHash: planHashOf(planned) },
        ...(watch !== undefined && { liveCheckMs: watch }),
        ...(ifLiveWriter !== undefined && { ifLiveWriter }),
      };
      const report = await this.#call(this.#location, planned.step, options, this.#consents());
      assertThat(report.planHash === planned.report.planHash, 'a step is applied as it was planned (repair 2)');
      done.push({ step: planned.step, report });
    }
    return done;
  }

  /** `apply: { planHash }` does what was reviewed or nothing; its first steps may have been done by a call that was cut off. */
  async #assertReviewed(steps: readonly PlannedStep[], hash: string, reviewed: string): Promise<void> {
    const left = steps.map(planHashOf);
    const done = await this.#doneBefore(left);
    for (let n = 0; n <= done.length; n++) if (hashOf([...done.slice(done.length - n), ...left]) === reviewed) return;
    throw new ConflictError(
      'PLAN_CHANGED',
      `${this.#target.where}: the plan is now ${hash}, not ${reviewed}, which was reviewed. Look at it again without apply.`,
      { details: { planHash: hash, reviewed } },
    );
  }

  /**
   * The plans of repairs that were finished or begun, in the order of their manifests, without those that are still to be done. One that was
   * begun and is not to be done any more was cut off between its manifest and its report.
   */
  async #doneBefore(left: readonly string[]): Promise<string[]> {
    const done: { planHash: string | undefined; manifestId: number }[] = [];
    for (const [repairId, { plans, reports }] of await listRepairs(this.#target)) {
      const report = await readReport(this.#target, repairId, reports.at(-1) ?? 0);
      const attempt = await readAttempt(this.#target, repairId, plans.at(-1) ?? 0);
      if (report?.applied === true)
        done.push({ planHash: report.planHash, manifestId: Number(report.manifestId ?? 0n) });
      else if (attempt !== undefined) done.push({ planHash: attempt.planHash, manifestId: attempt.baseManifestId });
    }
    done.sort((a, b) => a.manifestId - b.manifestId);
    return done.flatMap(({ planHash }) => (planHash === undefined || left.includes(planHash) ? [] : [planHash]));
  }

  #consents(): Consents {
    const { acceptLoss = false, acceptResurrection = false } = this.#options;
    return { acceptLoss, acceptResurrection };
  }

  async #verify(target: Target): Promise<VerifyReport> {
    this.#progress('check', 0);
    const { level } = this.#options;
    const report = await verify(target, { ...this.#common, ...(level !== undefined && { level }) });
    this.#requests += report.requests;
    return report;
  }

  async #call(target: Target, step: Step, options: RepairOptions, consents: Consents): Promise<RepairReport> {
    const report = await callOf(target, step, { ...this.#common, ...options }, consents);
    this.#requests += report.requests;
    return report;
  }

  #progress(doing: RepairProgress['doing'], steps: number): void {
    this.#options.onProgress?.({ doing, steps });
  }

  #report(
    { check, isWhole }: Plan,
    {
      steps,
      missing,
      ...how
    }: Pick<RepairAllReport, 'applied' | 'outcome' | 'planHash'> & {
      steps: readonly PlannedStep[];
      missing: readonly Consent[];
    },
  ): RepairAllReport {
    const { verdict, findings } = check;
    const own = steps.flatMap(({ report }) => report.nextSteps).filter((step) => !isOfOneTool(step));
    return {
      schemaVersion: 1,
      ...how,
      verdict,
      before: findings,
      steps: steps.map(({ report }) => report),
      isWhole,
      missingConsent: missing,
      nextSteps: steps.length === 0 ? check.nextSteps : [...new Set(own)],
      requests: this.#requests + this.#target.requests(),
      tookMs: this.#target.tookMs(),
    };
  }
}

type Consents = Required<Pick<RepairAllOptions, 'acceptLoss' | 'acceptResurrection'>>;
/** Of steps that are carried out in memory only. */
const ALL_CONSENTS: Consents = { acceptLoss: true, acceptResurrection: true };

function callOf(
  target: Target,
  step: Step,
  options: ToolOptions & RepairOptions,
  { acceptLoss, acceptResurrection }: Consents,
): Promise<RepairReport> {
  switch (step.tool) {
    case 'manifestRepair':
      return manifestRepair(target, options);
    case 'sstRepair':
      return sstRepair(target, step.id, { ...options, acceptLoss, acceptResurrection });
    case 'walRepair':
      return walRepair(target, { ...options, acceptLoss });
  }
}

/** What the findings ask for, in the order in which it is done (3). */
function stepsFor(findings: readonly Finding[], label: string): Step[] {
  const damage = findings.filter(({ severity }) => severity === 'error' || severity === 'warning');
  const sorted = [...damage].sort((a, b) => SEVERITY_RANK[a.severity] - SEVERITY_RANK[b.severity]);
  const asksFor = (finding: Finding, command: string) => finding.hint.commands.includes(at(command, label));
  const ofManifest = sorted.some((f) => f.object.role === 'manifest' || asksFor(f, REPAIR_MANIFEST));
  const tables = sorted.flatMap(({ object: { role, id }, hint }) =>
    role === 'table' && id !== '' && hint.commands.includes(at(repairTable(id), label)) ? [id] : [],
  );
  const ofLog = sorted.some((f) => (f.object.role === 'wal' && f.severity === 'error') || asksFor(f, REPAIR_LOG));
  return [
    ...(ofManifest ? [{ tool: 'manifestRepair' } as const] : []),
    ...[...new Set(tables)].sort().map((id): Step => ({ tool: 'sstRepair', id })),
    ...(ofLog ? [{ tool: 'walRepair' } as const] : []),
  ];
}

function keyOf(step: Step): string {
  return step.tool === 'sstRepair' ? `${step.tool} ${step.id}` : step.tool;
}

function planHashOf({ report }: PlannedStep): string {
  return present(report.planHash, 'a step that can be done has a plan (repair 2)');
}

/** `p-` and 24 hexadecimal digits, like those of single repairs. */
function hashOf(steps: readonly string[]): string {
  return `p-${createHash('sha256').update(steps.join(' ')).digest('hex').slice(0, 24)}`;
}

function worstOf(steps: readonly PlannedStep[]): RepairOutcome {
  return steps.reduce<RepairOutcome>(
    (worst, { report: { outcome } }) => (OUTCOMES.indexOf(outcome) > OUTCOMES.indexOf(worst) ? outcome : worst),
    'clean',
  );
}

/** How a single repair is applied, and commands that the steps answer. */
function isOfOneTool(step: string): boolean {
  return step.includes('--plan') || step.startsWith('shaledb ');
}

function overlaid(stores: DatabaseStores, mainOverlay: Overlay, walOverlay: Overlay): DatabaseStores {
  const main = mainOverlay.over(stores.main);
  const wal = stores.wal === stores.main ? main : walOverlay.over(stores.wal);
  return { ...stores, main, wal, countedAs: (name) => overlaid(stores.countedAs(name), mainOverlay, walOverlay) };
}
