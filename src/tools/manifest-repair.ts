/**
 * Repairs a database whose newest manifest is damaged or missing, by writing a new one above everything that exists or is
 * witnessed. Damaged manifests stay where they are, missing ids stay missing: a checkpoint on a lost one must fail rather than
 * show other data.
 *
 * Strategies, in this order: `heal` (a sealed manifest: up to four bytes of its body, proven by its checks, or one of its seal;
 * or its body as it is, which the hash in its seal proves, without the rest of the seal), `previous` (the newest good one; the log after it is whole, so replaying it brings back everything), `roll-forward`
 * (as before, and tables of lost manifests stand for the part of the log that was collected), and last the one bit by which
 * an unsealed manifest fits again. Where all manifests are good, `auto` puts right what unions of SlateDB did to views
 * (`union-views.ts`).
 */
import { createHash } from 'node:crypto';
import { DOCTOR, REPAIR_LOG } from '../common/advice.ts';
import { locateFindings } from '../common/damage.ts';
import { type Finding, makeFinding, WHOLE_OBJECT } from '../common/finding.ts';
import { type ChecksOf, checkedOptions, oneOf } from '../common/option-checks.ts';
import { encodeManifest } from '../format/manifest-codec.ts';
import type { Manifest } from '../format/manifest-types.ts';
import { manifestPath, tablePath } from '../format/object-names.ts';
import { EpochGuard } from '../lsm/manifest/epoch-guard.ts';
import { type LoadedManifest, manifestFindingObject, type RepairedManifest } from '../lsm/manifest/manifest-store.ts';
import { ambiguousViewFindings } from '../lsm/manifest/view-ids.ts';
import { assertInReach } from '../lsm/tree/parents.ts';
import type { ToolAccess } from '../recovery/tool-access.ts';
import { assertLogInReach, manifestHint } from './database-state.ts';
import { flipThatFits } from './manifest-flip.ts';
import { type ManifestSurvey, surveyManifests, type UnusableManifest } from './manifest-survey.ts';
import { readDatabaseView } from './named-tables.ts';
import { damagedObject, REPAIR_CHECKS, type RepairOptions, type RepairPlan } from './repair-plan.ts';
import { runManifestRepair } from './repair-run.ts';
import type { RepairReport } from './reports.ts';
import { isWhole, rollForward, stillOpen } from './roll-forward.ts';
import { type Target, TOOL_CHECKS, type ToolOptions, type ToolTarget, withTarget } from './target.ts';
import {
  findLostViews,
  lostViewFinding,
  type UnclearView,
  unclearViewFinding,
  withRepairedViews,
} from './union-views.ts';

const STRATEGIES = ['auto', 'heal', 'previous', 'roll-forward'] as const;
/** From what a manifest is repaired. */
export type ManifestStrategy = (typeof STRATEGIES)[number];

/** Options of `manifestRepair`. */
export interface ManifestRepairOptions extends RepairOptions, ToolOptions {
  /** Default `auto`: the first one that loses nothing. */
  strategy?: ManifestStrategy;
}

const CHECKS: ChecksOf<ManifestRepairOptions> = {
  ...TOOL_CHECKS,
  ...REPAIR_CHECKS,
  strategy: oneOf(STRATEGIES),
};

/**
 * Makes the newest manifest good again, or without `apply` says how. All processes that use the database must be stopped:
 * they remember manifests. Nothing that was acknowledged is lost, or nothing is done: then the outcome is `unrecoverable` and
 * `nextSteps` lists what is missing. Without rows in the log nothing shows a table that is gone with the only manifest that
 * named it: then `rows.lostExact` is false, and `nextSteps` says so.
 *
 * Where every manifest is good, `auto` also repairs what SlateDB 0.16 and 0.17 do to unions: views of level 0 that share an id get
 * ids of their own, and a view that a compaction lost for that reason is shown again if that cannot bring back what was deleted
 * or overwritten. That reads all manifests, and the rows of the tables concerned. Where they cannot be read, the result is unknown: it rejects
 * with `InvalidArgumentError` (`PARENT_OUT_OF_REACH`) if another root may have them, else a finding of severity `unknown` says so.
 *
 * Requests: LISTs of manifests, log and tables; a GET of the identity; one for each manifest down to the first good one, for each log object
 * after its replay point and for each table newer than it; with `apply` about 20 more and two for each damaged manifest.
 *
 * Rejects with `ConflictError` (`LIVE_WRITER`, `PLAN_CHANGED`), `InvalidArgumentError`, `IncompatibleError`, `FencedError`,
 * `UnavailableError`.
 */
export async function manifestRepair(target: Target, given: ManifestRepairOptions = {}): Promise<RepairReport> {
  const options = checkedOptions('manifestRepair', given, CHECKS);
  const { strategy = 'auto' } = options;
  return withTarget(target, options, (opened) =>
    runManifestRepair(
      opened,
      // No consent: it takes nothing away, or does nothing.
      { ...options, tool: 'manifestRepair', settings: { strategy }, namesOneObject: false },
      async () => {
        const guard = new EpochGuard(opened.clock, opened.stores.latestStoreTimesMs);
        const survey = await surveyManifests(opened, guard, { heal: strategy !== 'previous' });
        // Else it would be taken for empty.
        if (survey.base !== undefined) await assertLogInReach(opened, survey.base);
        const plan = planFor(opened, survey, strategy);
        if (plan.outcome === 'clean' && strategy === 'auto') return planForViews(opened, survey, plan);
        if (plan.outcome !== 'unrecoverable' || (strategy !== 'auto' && strategy !== 'heal')) return plan;
        const flipped = await flipThatFits(opened, survey);
        if (flipped === undefined) return plan;
        return planFor(opened, { ...survey, base: flipped, healed: { changes: 1, trust: 'probable' } }, strategy);
      },
    ),
  );
}

/** What the new manifest will say, and why. */
interface Proposal {
  manifest: Manifest;
  outcome: 'healed' | 'reconstructed';
  steps: string[];
}

function planFor(target: ToolTarget, survey: ManifestSurvey, strategy: ManifestStrategy): RepairPlan {
  const { base, bad } = survey;
  const before = bad.flatMap((b) => findingsOf(target, survey, b));
  const common = {
    before,
    rows: { recovered: 0, probable: 0, suspect: 0, lost: 0, lostAtMost: 0, lostExact: true },
    lostKeys: [],
    lostSeqs: [],
    shadowed: 0,
    damaged: bad
      .map((b) => damagedObject(manifestPath(b.id), 'main', b.bytes))
      .sort((a, b) => (a.path < b.path ? -1 : 1)),
    losses: [],
    tables: [],
    dropped: [],
    edit: () => undefined,
  };
  if (base === undefined) {
    const step = 'No manifest is good. Restore one from a backup or from an older version of the bucket.';
    return { ...common, outcome: 'unrecoverable', nextSteps: [step] };
  }
  if (bad.length === 0) {
    const doubts = unnamedRows(survey, base);
    const hint = manifestHint(target);
    return {
      ...common,
      before: doubts.map((d) =>
        makeFinding({ ...d, code: 'ROLLED_BACK', severity: 'warning', during: 'repair', hint }),
      ),
      outcome: 'clean',
      nextSteps: doubts.length === 0 ? [] : [TABLES_WITHOUT_MANIFEST],
    };
  }
  const proposal = target.openDb === undefined ? propose(survey, base, strategy) : fromMemory(target.openDb);
  if (Array.isArray(proposal)) return { ...common, outcome: 'unrecoverable', nextSteps: proposal };
  const { manifest, outcome, steps } = proposal;
  return {
    ...common,
    rows: steps.includes(NO_WITNESS)
      ? { recovered: 0, probable: 0, suspect: 0, lost: 0, lostExact: false }
      : common.rows,
    outcome,
    nextSteps: [...steps, ...damagedLogSteps(survey, manifest), DOCTOR],
    facts: createHash('sha256').update(encodeManifest(manifest)).digest('hex'),
    takeover: { manifest, id: survey.highestId + 1, previous: base, seenEpochs: survey.epochs },
  };
}

/** A sound manifest whose views a union of SlateDB, or a compaction of it, has left in a bad state. */
async function planForViews(target: ToolTarget, survey: ManifestSurvey, clean: RepairPlan): Promise<RepairPlan> {
  const { base } = survey;
  if (base === undefined) return clean;
  const state = await readDatabaseView(target.stores, 'all', 'repair', target.signal);
  const { lost, unclear } = await findLostViews(
    target.stores,
    state.manifests.flatMap(({ loaded }) => loaded ?? []),
  );
  const ambiguous = ambiguousViewFindings(base, 'repair');
  const back = lost.filter(({ obstacles }) => obstacles.length === 0);
  const before = [...ambiguous, ...lost.map((view) => lostViewFinding(view, 'repair'))];
  const hopeless = lost
    .filter(({ obstacles }) => obstacles.length > 0)
    .map(
      ({ view, obstacles }) =>
        `The rows of table ${view.table.id} cannot be put back without bringing back what was deleted or overwritten: ${obstacles.join('; ')}.`,
    );
  const doubts = unclear.map((view) => unclearViewFinding(view, 'repair'));
  const doubtTexts = [...new Set(doubts.map(({ hint }) => hint.summary))];
  if (ambiguous.length === 0 && back.length === 0) {
    if (hopeless.length === 0) {
      if (doubts.length === 0) return clean;
      await assertViewsInReach(target, unclear);
      return { ...clean, before: [...clean.before, ...doubts], nextSteps: [...clean.nextSteps, ...doubtTexts] };
    }
    return { ...clean, before, outcome: 'unrecoverable', nextSteps: hopeless };
  }
  const got = await target.stores.main.get(manifestPath(base.id));
  const manifest = withRepairedViews(base.manifest, lost);
  return {
    ...clean,
    before,
    rows: { ...clean.rows, recovered: back.reduce((n, { rows }) => n + rows.length, 0) },
    outcome: back.length > 0 ? 'reconstructed' : 'healed',
    damaged: [damagedObject(manifestPath(base.id), 'main', got?.bytes)],
    nextSteps: [
      ...(ambiguous.length > 0 ? ['Each view of level 0 is given an id of its own; no row changes.'] : []),
      ...back.map(
        ({ view, rows, run }) =>
          `Table ${view.table.id} is shown again in run ${run.id}, where its ${rows.length} rows were lost.`,
      ),
      ...hopeless,
      ...doubtTexts,
      DOCTOR,
    ],
    facts: createHash('sha256').update(encodeManifest(manifest)).digest('hex'),
    takeover: { manifest, id: survey.highestId + 1, previous: base, seenEpochs: survey.epochs },
    changesTree: true,
    edit: (newest) => withRepairedViews(newest, lost),
  };
}

/** Throws `PARENT_OUT_OF_REACH` where what would show a loss is in a parent that the location does not reach. */
async function assertViewsInReach({ stores }: ToolTarget, unclear: readonly UnclearView[]): Promise<void> {
  const used = new Map<string, Set<string>>();
  for (const { parent, view } of unclear)
    if (parent !== undefined) used.set(parent, (used.get(parent) ?? new Set()).add(view.table.id));
  await assertInReach(stores, new Map([...used].map(([path, tables]) => [path, tables.size])));
}

const TABLES_WITHOUT_MANIFEST =
  'Tables hold rows that neither the manifest nor the log knows: a writer died before it named them, or the manifests that named them are gone. Keep them out of the collector until you know.';

/** Without a log nothing but its tables witnesses a lost manifest. */
function unnamedRows({ orphans, log }: ManifestSurvey, { manifest }: LoadedManifest) {
  const known = [...log.objects.values()].reduce((seq, o) => Math.max(seq, o.maxSeq), manifest.lastL0Seq);
  return orphans
    .filter(({ maxSeq }) => maxSeq !== undefined && maxSeq > known)
    .map(({ id, size, tail, maxSeq }) => ({
      object: { role: 'table' as const, path: tablePath(id), id, sealed: tail?.seal !== undefined, size },
      at: { unit: 'object' as const, offset: 0, length: size },
      expected: `a manifest that names it, or sequence numbers up to ${known}`,
      found: `sequence numbers up to ${maxSeq}`,
    }));
}

/** An open database knows its newest manifest. */
function fromMemory(openDb: ToolAccess): Proposal {
  const { id, manifest } = openDb.manifest();
  return { manifest, outcome: 'healed', steps: [`Manifest ${id} is written again from the memory of this process.`] };
}

const NO_WITNESS =
  'That holds for writers with a log, and for every table that is stored here. A table that a writer without one (walEnabled false) made since and that is gone as well leaves no trace.';

/** Rows after the replay point show that the log was in use: then it records every later row. */
function isWitnessed({ log }: ManifestSurvey): boolean {
  return [...log.objects.values()].some((o) => o.rows > 0);
}

/** The strategy that loses nothing, or why there is none. */
function propose(survey: ManifestSurvey, base: LoadedManifest, strategy: ManifestStrategy): Proposal | string[] {
  const { healed, highestId } = survey;
  if (healed !== undefined && base.id === highestId && strategy !== 'roll-forward') {
    return {
      manifest: base.manifest,
      outcome: 'healed',
      steps: [repairText(base, healed)],
    };
  }
  if (strategy === 'heal') return [`Manifest ${highestId} cannot be repaired by its checks; try the strategy auto.`];
  const lostSince = `What happened since manifest ${base.id} apart from writes is gone: compactions are done again, checkpoints made since no longer exist.`;
  const open = stillOpen(survey, base.manifest, []);
  if (open.length === 0 && strategy !== 'roll-forward') {
    const { from, end } = survey.log;
    const replay = end < from ? 'the log after it is empty' : `the log after it, ${from} to ${end}, is whole`;
    return {
      manifest: base.manifest,
      outcome: 'reconstructed',
      steps: [
        `The database goes on from manifest ${base.id}; ${replay}, and nothing that was acknowledged is lost.`,
        ...(isWitnessed(survey) ? [] : [NO_WITNESS]),
        lostSince,
      ],
    };
  }
  if (strategy === 'previous') return [`Going on from manifest ${base.id} could lose rows:`, ...open];
  const rolled = rollForward(survey, base.manifest);
  if (rolled.open.length > 0) return [`Going on from manifest ${base.id} could lose rows:`, ...rolled.open];
  return {
    manifest: rolled.manifest,
    outcome: 'reconstructed',
    steps: [
      `The database goes on from manifest ${base.id} and from tables that newer manifests named: ${rolled.adopted.map((t) => t.id).join(', ')}.`,
      lostSince,
    ],
  };
}

function repairText(
  { id, seal }: LoadedManifest,
  { changes, trust }: Pick<RepairedManifest, 'changes' | 'trust'>,
): string {
  const repaired = `Manifest ${id} is repaired`;
  if (trust === 'proven')
    return `${repaired}: ${changes} byte${changes === 1 ? '' : 's'} of it changed; its checks prove it.`;
  if (trust === 'content')
    return `${repaired}: its content is proven by its hash. The rest of its seal is damaged and left out: who wrote it and when, and how far the log reached then. If the newest objects of the log are gone as well, nothing shows it.`;
  if (seal !== undefined)
    return `${repaired}: one byte of its seal changed, by which it fits its checksum again; its content is proven by its hash.`;
  return `${repaired}: with one bit of it changed, and no other one, it fits the manifest before it, the tables and the log.`;
}

function damagedLogSteps({ log }: ManifestSurvey, manifest: Manifest): string[] {
  if (isWhole(log, manifest.replayAfterWalId, log.end)) return [];
  return ['Objects of the log are damaged, too: they are repaired after the manifest.', REPAIR_LOG];
}

function findingsOf(target: ToolTarget, survey: ManifestSurvey, { id, bytes, error }: UnusableManifest): Finding[] {
  const hint = manifestHint(target);
  const isHealed = survey.healed !== undefined && survey.base?.id === id;
  const remedy = isHealed ? ('heals' as const) : survey.base === undefined ? ('none' as const) : ('rebuilds' as const);
  if (error === undefined) {
    const missing = makeFinding({
      code: 'MISSING_OBJECT',
      object: manifestFindingObject(id),
      at: WHOLE_OBJECT,
      remedy,
      during: 'repair',
      hint,
    });
    return [missing];
  }
  const object = { ...error.findings[0].object, size: bytes?.length ?? 0 };
  const reads = { attempts: 3, identical: true, pastCaches: true };
  return locateFindings(error, { object, during: 'repair', reads }).map((f) => ({
    ...f,
    origin: 'at-rest',
    remedy,
    hint,
  }));
}
