/**
 * `walRepair`: takes what can be had of a damaged log into tables, so that the database opens again, here and in SlateDB.
 *
 * Every batch that is whole becomes part of L0 tables, also after the damage (`recover`), or those before the first loss only
 * (`truncate`); then one manifest puts them in front and moves the replay point after everything that was damaged. Nothing
 * is overwritten, no hole is filled, no sequence number is used twice, and what is lost stands in the ledger.
 */

import { DOCTOR, LIST_LOSSES } from '../common/advice.ts';
import { present } from '../common/assert.ts';
import { WalCorruptionError } from '../common/errors.ts';
import { rangeText } from '../common/events.ts';
import { type Finding, makeFinding, WHOLE_OBJECT } from '../common/finding.ts';
import { type ChecksOf, checkedOptions, oneOf, writerEpoch } from '../common/option-checks.ts';
import type { Manifest, TableView } from '../format/manifest-types.ts';
import { walPath } from '../format/object-names.ts';
import { EpochGuard } from '../lsm/manifest/epoch-guard.ts';
import { addFlushedRows } from '../lsm/manifest/manifest-edits.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import { greatestKnownSeq, misplacedIds, movedToOwnIds, pieceOf } from '../recovery/log-damage.ts';
import { listFromReplayPoint, rangeToReplay } from '../recovery/log-range.ts';
import { isOvertaken } from '../recovery/place.ts';
import { lostRowsText, type RepairOutcome, type RepairReport } from '../recovery/repair-report.ts';
import { findVanishedLog } from '../recovery/vanished-log.ts';
import { ACCEPTANCES, type Acceptance } from '../recovery/wal-batches.ts';
import { isEmptied } from '../recovery/wal-check.ts';
import { computeLogLoss, type LogLoss, type LogPiece } from '../recovery/wal-loss.ts';
import { readDatabase } from './database-state.ts';
import {
  assertReviewed,
  damagedObject,
  LOSS_CHECKS,
  type Loss,
  type LossOptions,
  type MadeParts,
  REPAIR_CHECKS,
  type RepairOptions,
  type RepairPlan,
  type RepairView,
} from './repair-plan.ts';
import { runRepair } from './repair-run.ts';

import {
  MAX_ROUNDS,
  type Target,
  TOOL_CHECKS,
  type ToolOptions,
  type ToolTarget,
  tooManyOthers,
  withTarget,
} from './target.ts';
import { damagedIds, type Survey, surveyLog } from './wal-survey.ts';
import { type LogSource, planTables, sourceOf } from './wal-tables.ts';

/** Options of `walRepair`. */
export interface WalRepairOptions extends RepairOptions, LossOptions, ToolOptions {
  /** `recover` (default): every batch that is whole, also after the damage. `truncate`: those before the first loss only. */
  mode?: 'recover' | 'truncate';
  /** What to do with a batch of which rows are, or may be, missing. Default `drop`: batches are whole or not there. */
  onPartialBatch?: 'drop' | 'keep-verified-rows';
  /** Take over from exactly this writer epoch, and from no other, as the option of `open` does. Default: whatever is there. */
  expectedEpoch?: number | bigint;
  /** How sure a row must be. Default `probable`: proven ones, and those of a block in which one bit was likely turned. */
  accept?: Acceptance;
}

const CHECKS: ChecksOf<WalRepairOptions> = {
  ...TOOL_CHECKS,
  ...REPAIR_CHECKS,
  ...LOSS_CHECKS,
  mode: oneOf(['recover', 'truncate']),
  onPartialBatch: oneOf(['drop', 'keep-verified-rows']),
  accept: oneOf(ACCEPTANCES),
  expectedEpoch: writerEpoch,
};

type Settings = Required<Pick<WalRepairOptions, 'mode' | 'onPartialBatch' | 'accept'>>;

/**
 * Repairs the log of a database, or says without `apply` what it would do. On an open database nothing is lost: its memory
 * holds all rows, so they are flushed into tables.
 *
 * Requests: those of `walInspect`; to apply, a copy of each damaged object, one GET of each object that is kept, and about
 * fifteen more. A plan that loses rows, or may, is applied only with `acceptLoss` or a `maxLoss` that covers the most it can lose;
 * else nothing is changed and the outcome is `consent-needed`. Rejects with `ConflictError` (`LIVE_WRITER`, `PLAN_CHANGED`),
 * `WalCorruptionError` (more than `maxLoss` could be lost), `RollbackError` and `ManifestCorruptionError` (repair the manifest
 * first), `IncompatibleError` (another form, a wrong key: never repaired), `InvalidArgumentError`, `UnavailableError` (the store;
 * run it again).
 */
export async function walRepair(target: Target, given: WalRepairOptions = {}): Promise<RepairReport> {
  const options = checkedOptions('walRepair', given, CHECKS);
  const { mode = 'recover', onPartialBatch = 'drop', accept = 'probable', acceptLoss, maxLoss } = options;
  const settings: Settings = { mode, onPartialBatch, accept };
  return withTarget(target, options, async (opened) => {
    if (opened.openDb !== undefined) return repairOpenDatabase(opened, options);
    return runRepair(opened, {
      ...common(options),
      tool: 'walRepair',
      settings,
      namesOneObject: false,
      ...expectedOf(options),
      consent: { ...(acceptLoss !== undefined && { acceptLoss }), ...(maxLoss !== undefined && { maxLoss }) },
      plan: (view) => planRepair(view, settings),
    });
  });
}

function expectedOf({ expectedEpoch }: WalRepairOptions): { expectedEpoch?: number } {
  return expectedEpoch === undefined ? {} : { expectedEpoch: Number(expectedEpoch) };
}

function isApplied({ apply }: WalRepairOptions): boolean {
  return apply !== undefined && apply !== false;
}

function common({ apply, ifLiveWriter, liveCheckMs }: WalRepairOptions): RepairOptions {
  return {
    ...(apply !== undefined && { apply }),
    ...(ifLiveWriter !== undefined && { ifLiveWriter }),
    ...(liveCheckMs !== undefined && { liveCheckMs }),
  };
}

// ---- the plan

/** Again while a live writer and a collector are faster; rejects with `UnavailableError` if they always are. */
async function planRepair(view: RepairView, settings: Settings): Promise<RepairPlan> {
  const { target, fence } = view;
  let { manifest } = view;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const looked = await surveyForRepair(target, manifest, fence?.id, settings);
    // What is gone, or empty, is decided only by a manifest that was read after it was seen.
    const isDoubtful = looked.survey.findings.some((f) => f.code === 'MISSING_OBJECT' || isEmptied(f));
    const newer = fence === undefined && isDoubtful ? await newerManifest(target, manifest) : undefined;
    if (newer === undefined) return planOf(target, manifest, looked, settings);
    manifest = newer;
  }
  throw tooManyOthers(target);
}

async function planOf(
  target: ToolTarget,
  manifest: LoadedManifest,
  { survey, pieces, sources, vanished }: SurveyedLog,
  settings: Settings,
): Promise<RepairPlan> {
  if (survey.refusal !== undefined) throw survey.refusal;
  const damaged = damagedIds(survey.findings);
  const options = {
    floorSeq: manifest.manifest.lastL0Seq,
    knownSeq: greatestKnownSeq(manifest, survey.objects),
    keepPartial: settings.onPartialBatch === 'keep-verified-rows',
    truncate: settings.mode === 'truncate',
  };
  const loss = computeLogLoss(pieces, options);
  const tables =
    damaged.length === 0
      ? []
      : planTables(target, sources, {
          accept: settings.accept,
          keepPartial: options.keepPartial,
          above: options.floorSeq,
          below: (options.truncate ? loss.endsBefore : undefined) ?? Number.POSITIVE_INFINITY,
          manifest: manifest.manifest,
        });
  const total = loss.keptRows.total + loss.lostRows;
  const rows = {
    ...(loss.lostExact && { expected: total }),
    recovered: loss.keptRows.total,
    probable: loss.keptRows.probable,
    suspect: loss.keptRows.suspect,
    lost: loss.lostRows,
    ...(loss.lostRowsAtMost !== undefined && { lostAtMost: loss.lostRowsAtMost }),
    lostExact: loss.lostExact,
  };
  return {
    outcome: damaged.length === 0 ? 'clean' : outcomeOf(survey, loss),
    // Nothing is repaired because of it; but the report does not call such a log clean without a note.
    before: vanished === undefined ? survey.findings : [...survey.findings, vanished],
    rows,
    batches: loss.batches,
    lostKeys: [],
    lostSeqs: loss.lostSeqs.map(({ min, max }) => ({ min: BigInt(min), max: BigInt(max) })),
    shadowed: 0,
    nextSteps: nextSteps(loss, rows, damaged),
    damaged: await evidence(target, survey, damaged),
    losses: lossesOf(survey, loss),
    lossyWalObjects: loss.lossyObjects,
    tooMuchLost: (what) => tooMuchLost(what, loss, survey),
    tables,
    dropped: [],
    greatestSeq: loss.greatestSeq,
    edit: (newest, made) =>
      edit(
        newest,
        made,
        survey,
        loss,
        tables.map((t) => t.maxCreateTs()),
      ),
  };
}

/** The newest manifest, if rows were put into tables since this one, or an epoch was claimed. One LIST if it is the newest. */
async function newerManifest(
  target: ToolTarget,
  { id, manifest }: LoadedManifest,
): Promise<LoadedManifest | undefined> {
  const { main } = target.stores;
  if (!(await isOvertaken(main, id))) return undefined;
  const guard = new EpochGuard(target.clock, target.stores.latestStoreTimesMs);
  const { newest } = await readDatabase(target, guard);
  const isNewer = (['replayAfterWalId', 'writerEpoch'] as const).some((f) => newest.manifest[f] > manifest[f]);
  return isNewer ? newest : undefined;
}

interface SurveyedLog {
  survey: Survey;
  pieces: LogPiece[];
  sources: LogSource[];
  /** That the log is gone. */
  vanished: Finding | undefined;
}

/** Reads the log after the replay point, up to our fence if there is one. */
async function surveyForRepair(
  target: ToolTarget,
  newest: LoadedManifest,
  fenceId: number | undefined,
  settings: Settings,
): Promise<SurveyedLog> {
  const after = newest.manifest.replayAfterWalId;
  const { listed, isReplayPointThere } = await listFromReplayPoint(target.stores.wal, after);
  const range = await rangeToReplay(target.stores.wal, newest, listed);
  const isNoneThere = range.end <= after && !isReplayPointThere;
  const vanished = isNoneThere ? await findVanishedLog(target.stores, newest, 'check') : undefined;
  const end = fenceId === undefined ? range.end : fenceId - 1;
  const floorSeq = newest.manifest.lastL0Seq;
  const choice = { keepPartial: settings.onPartialBatch === 'keep-verified-rows', above: floorSeq };
  const seen = new Map<number, { piece: LogPiece; source: LogSource | undefined }>();
  const survey = await surveyLog(target, newest, { ...range, end }, (id, object) => {
    if (object.salvaged !== undefined || object.result === undefined) return;
    const piece = pieceOf(object, false, floorSeq, settings.accept);
    seen.set(id, { piece, source: sourceOf(object, id, piece, choice) });
  });
  const misplaced = misplacedIds(survey.findings);
  const pieces: LogPiece[] = [];
  const sources: LogSource[] = [];
  for (const object of movedToOwnIds(survey.objects, survey.from, newest.seal?.identity.databaseId)) {
    const known = object.readFrom === object.id ? seen.get(object.id) : undefined;
    const isMisplaced = misplaced.has(object.id);
    const isEmptied = isMisplaced && object.result?.object?.kind === 'empty';
    const piece =
      isEmptied || known === undefined ? pieceOf(object, isMisplaced, floorSeq, settings.accept) : known.piece;
    pieces.push({ ...piece, isMisplaced });
    const source = known === undefined ? sourceOf(object, object.readFrom, piece, choice) : known.source;
    if (source !== undefined) sources.push(source);
  }
  return { survey, pieces, sources, vanished };
}

function outcomeOf({ objects }: Survey, loss: LogLoss): RepairOutcome {
  if (loss.lostRows > 0 || !loss.lostExact) return 'salvaged';
  const isRepaired = objects.every(({ salvaged }) => salvaged === undefined || salvaged.object !== undefined);
  return isRepaired ? 'healed' : 'reconstructed';
}

/** What is copied before anything is changed: all that is not as it was written, also what is whole but in the wrong place. */
async function evidence(
  { stores }: ToolTarget,
  { objects, from }: Survey,
  damaged: readonly number[],
): Promise<RepairPlan['damaged']> {
  return Promise.all(
    damaged.map(async (id) => {
      const bytes = objects[id - from]?.bytes ?? (await stores.wal.get(walPath(id)))?.bytes;
      return damagedObject(walPath(id), 'wal', bytes);
    }),
  );
}

/** One entry for each object, each with an id of its own, so that acknowledging one ends no other. */
function lossesOf({ findings, objects, from }: Survey, { losses }: LogLoss): Loss[] {
  return losses.map(({ id, seqs, rows, exact }) => {
    const path = walPath(id);
    const finding = findings.find((f) => f.object.path === path && f.severity === 'error') ?? droppedFinding(id);
    const object = objects[id - from];
    // A whole object that is dropped counts its rows itself, a damaged one by its seal.
    const isCounted = object?.salvaged === undefined ? object?.result?.object : object.salvaged.seal;
    return {
      id: finding.id,
      object: path,
      level: 'wal' as const,
      keys: [],
      seqs: seqs.map(({ min, max }) => ({ min: BigInt(min), max: BigInt(max) })),
      rows,
      exact: exact && isCounted !== undefined,
      state: 'open' as const,
    };
  });
}

/** For an object with which nothing is wrong, of which rows are lost nevertheless: its id in the ledger. */
function droppedFinding(id: number): Finding {
  const object = { role: 'wal' as const, path: walPath(id), id: String(id), sealed: false };
  return makeFinding({ code: 'LOST_DATA', object, at: WHOLE_OBJECT, during: 'repair' });
}

function nextSteps(loss: LogLoss, rows: RepairReport['rows'], damaged: readonly number[]): string[] {
  if (damaged.length === 0) return [];
  const steps: string[] = [];
  if (loss.lostRows > 0) {
    steps.push(
      `Rows with sequence numbers ${loss.lostSeqs.map(rangeText).join(', ')} are lost: ${lostRowsText(rows)}; writes after them that relied on them are kept. Write them again if you have them elsewhere. The loss stays open until it is acknowledged.`,
    );
  }
  if (loss.lostRows === 0 && !loss.lostExact)
    steps.push('No row is known to be lost, but nothing proves that none is: compare with what you have elsewhere.');
  if (loss.batches.undecided > 0) {
    steps.push(
      `${loss.batches.undecided} batches may be incomplete. They are dropped without --on-partial-batch keep-verified-rows (onPartialBatch).`,
    );
  }
  if (loss.losses.length > 0) steps.push(LIST_LOSSES);
  steps.push(DOCTOR);
  return steps;
}

function tooMuchLost(what: string, loss: LogLoss, { findings, from, end }: Survey): WalCorruptionError {
  return new WalCorruptionError(
    `Repairing the log could lose more than maxLoss allows. ${what}. Nothing was repaired.`,
    findings.filter((f) => f.severity === 'error'),
    {
      replayAfter: BigInt(from - 1),
      end: BigInt(end),
      damagedIds: damagedIds(findings).map(BigInt),
      missingIds: findings.filter((f) => f.code === 'MISSING_OBJECT').map((f) => BigInt(f.object.id)),
      lostSeqs: loss.lostSeqs.map(({ min, max }) => ({ min: BigInt(min), max: BigInt(max) })),
      recoverableRows: loss.keptRows.total,
      ...(loss.lostExact && { lostRows: loss.lostRows }),
    },
  );
}

// ---- the manifest

function edit(
  newest: Manifest,
  { tables, fence }: MadeParts,
  { from }: Survey,
  { greatestSeq }: LogLoss,
  createTs: readonly number[],
): Manifest | undefined {
  // A writer has put rows of the log into tables in the meantime: the plan no longer fits.
  if (fence === undefined || newest.replayAfterWalId >= from) return undefined;
  const views = tables.map((table): TableView => ({ viewId: table.id, table, visibleRange: undefined }));
  const lastSeq = Math.max(newest.lastL0Seq, greatestSeq);
  return addFlushedRows(newest, {
    views: views.reverse(),
    replayAfterWalId: fence.id,
    walIdLastSeen: fence.id,
    lastSeq,
    maxCreateTs: Math.max(0, ...createTs),
    recentSnapshotMinSeq: Math.max(newest.recentSnapshotMinSeq, lastSeq),
  });
}

// ---- open databases

/** The handle holds in memory all that the log should: flushed, it no longer needs the log, and nothing is lost. */
async function repairOpenDatabase(target: ToolTarget, options: WalRepairOptions): Promise<RepairReport> {
  const openDb = target.openDb as NonNullable<ToolTarget['openDb']>;
  const whole: Settings = { mode: 'recover', onPartialBatch: 'drop', accept: 'verified' };
  const plan = async ({ manifest }: RepairView): Promise<RepairPlan> => {
    const { survey, pieces } = await surveyForRepair(target, manifest, undefined, whole);
    const damaged = damagedIds(survey.findings);
    const { floorSeq, knownSeq } = { floorSeq: manifest.manifest.lastL0Seq, knownSeq: 0 };
    const { keptRows, lostRows } = computeLogLoss(pieces, { floorSeq, knownSeq, keepPartial: false, truncate: false });
    return {
      outcome: damaged.length === 0 ? 'clean' : 'reconstructed',
      before: survey.findings,
      rows: { recovered: keptRows.total + lostRows, probable: 0, suspect: 0, lost: 0, lostAtMost: 0, lostExact: true },
      lostKeys: [],
      lostSeqs: [],
      shadowed: 0,
      nextSteps: damaged.length === 0 ? [] : ['The open database flushes its memory into tables; no row is lost.'],
      damaged: await evidence(target, survey, damaged),
      losses: [],
      tables: [],
      dropped: [],
      edit: () => undefined,
    };
  };
  const task = { ...expectedOf(options), tool: 'walRepair' as const, settings: whole, namesOneObject: false, plan };
  const planned = await runRepair(target, task);
  if (!isApplied(options) || planned.outcome === 'clean') return planned;
  assertReviewed(target.where, options.apply, present(planned.planHash, 'a plan that does something has a hash'));
  await openDb.flush();
  const { requests, tookMs } = { requests: target.requests(), tookMs: target.tookMs() };
  return {
    ...planned,
    applied: true,
    evidence: [],
    manifestId: BigInt(openDb.manifest().id),
    requests,
    tookMs,
    nextSteps: [],
  };
}
