/**
 * `walInspect`: every object of the log, what is wrong with it, and what is left of it.
 *
 * Reads only, fences no writer, and works beside a live writer: a tail that moves is normal, and what was collected in the meantime
 * is distinguished from what is missing by a manifest listed after it was missed.
 */
import { type CorruptionError, InvalidArgumentError, isCorruption } from '../common/errors.ts';
import type { Finding } from '../common/finding.ts';
import { bytes, type ChecksOf, checkedOptions, list, members, oneOf, that } from '../common/option-checks.ts';
import { parseWalPath, walPath } from '../format/object-names.ts';
import { operationOf } from '../format/row-flags.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import { readWalObject, type WalObject } from '../lsm/wal/wal-object.ts';
import { type LogObject, pieceOf, readLogObject, withLogAdvice } from '../recovery/log-damage.ts';
import { type LogRange, listLog, rangeToReplay } from '../recovery/log-range.ts';
import { findNewestGood, type GoodNewest } from '../recovery/place.ts';
import { findVanishedLog } from '../recovery/vanished-log.ts';
import { batchesOf, isGap } from '../recovery/wal-batches.ts';
import { checkSuccessor, checkWitness, isEmptied } from '../recovery/wal-check.ts';
import { rowsOfBlock, type SalvagedWal, salvageWalObject, type WalRow } from '../recovery/wal-salvage.ts';
import { assertRemains, logOutOfReach } from './database-state.ts';
import { assertFileKind } from './file-kind.ts';
import type { WalEntry, WalObjectReport, WalObjectState } from './reports.ts';
import { locatedFinding, openTarget, type Target, TOOL_CHECKS, type ToolOptions, type ToolTarget } from './target.ts';
import { type Survey, surveyLog } from './wal-survey.ts';

/** Options of `walInspect`. */
export interface WalInspectOptions extends ToolOptions {
  /** First id to look at. Default: the first that exists. */
  from?: bigint;
  /** Last id to look at. Default: the last that exists or must exist. */
  to?: bigint;
  /** Whether reports have `entries`: none, without values, or with them. Default none. */
  rows?: 'none' | 'keys' | 'full';
  /** Objects given as bytes, looked at without any store; `target` may then be undefined. */
  raw?: readonly {
    /** Id that the object had in the log. */
    id: bigint;
    /** The whole object. */
    bytes: Uint8Array;
  }[];
}

const walId = that(
  'a bigint of at least 0n, below 2^53',
  (v) => typeof v === 'bigint' && v >= 0n && v <= BigInt(Number.MAX_SAFE_INTEGER),
);

const CHECKS: ChecksOf<WalInspectOptions> = {
  ...TOOL_CHECKS,
  from: walId,
  to: walId,
  rows: oneOf(['none', 'keys', 'full']),
  raw: list('{ id: bigint, bytes: Uint8Array }', members({ id: walId, bytes }, ['id', 'bytes'])),
};

/**
 * Reports on every object of the log in the order of ids, whatever its damage; reads no table, and of the manifests only the
 * newest good one (`verify` reads all). Changes nothing.
 *
 * Where the log is in another store than the location says, there is one report, of state `unknown`, with that finding; also where the
 * log is gone, or the end of it from the object at the replay point on, of that object.
 *
 * Requests: a GET of the identity, a LIST of the manifests and one of the log, one GET for each object (three for a damaged one, 1.1 s apart), three
 * HEADs; `entries` GETs its object again. Rejects with `InvalidArgumentError` (options, location, not a database, `raw` bytes of
 * something else) and
 * `UnavailableError` (the store); damage is in the reports, never an error.
 */
export async function* walInspect(
  target: Target | undefined,
  given: WalInspectOptions = {},
): AsyncGenerator<WalObjectReport, void, undefined> {
  const options = checkedOptions('walInspect', given, CHECKS);
  if (options.raw !== undefined) {
    for (const { bytes } of options.raw) assertFileKind(bytes, 'wal');
    for (const { id, bytes } of options.raw) yield await rawReport(Number(id), bytes, options);
    return;
  }
  if (target === undefined)
    throw new InvalidArgumentError('BAD_ARGUMENT', 'walInspect needs a target, or the option raw.');
  const opened = await openTarget(target, options);
  try {
    for await (const report of inspect(opened, options))
      yield { ...report, findings: report.findings.map((finding) => locatedFinding(finding, opened)) };
  } finally {
    opened.close();
  }
}

/** What is wrong with the manifests that say what the log must be is reported with its first object, or is the error if it has none. */
async function* inspect(
  target: ToolTarget,
  options: WalInspectOptions,
): AsyncGenerator<WalObjectReport, void, undefined> {
  const listed = await listLog(target.stores.wal);
  const manifests = await findNewestGood(target.stores, 'check', target.signal);
  if (manifests.isNoneLeft) await assertRemains(target);
  const { newest } = manifests;
  const elsewhere = newest === undefined ? undefined : await logOutOfReach(target, newest);
  if (newest !== undefined && elsewhere !== undefined) {
    yield reportOfElsewhere(newest, [...(manifests.error?.findings ?? []), elsewhere]);
    return;
  }
  let unreported: readonly Finding[] = manifests.error?.findings ?? [];
  for await (const report of reports(target, options, listed, manifests)) {
    yield { ...report, findings: [...unreported, ...report.findings] };
    unreported = [];
  }
  if (unreported.length > 0 && listed.size === 0) throw manifests.error;
}

/** Of a log in another store: one report, at the first object that an opening would replay. */
function reportOfElsewhere({ manifest }: LoadedManifest, findings: Finding[]): WalObjectReport {
  return reportOfUnseen(manifest.replayAfterWalId + 1, findings);
}

/** For an object that cannot be read: it is not known to be missing. */
function reportOfUnseen(id: number, findings: Finding[]): WalObjectReport {
  const report = describe(id, { id, result: undefined, salvaged: undefined, bytes: undefined }, findings, undefined);
  return { ...report, state: 'unknown' };
}

async function* reports(
  target: ToolTarget,
  options: WalInspectOptions,
  listed: ReadonlyMap<number, unknown>,
  { newest: newestGood, listedId }: GoodNewest,
): AsyncGenerator<WalObjectReport, void, undefined> {
  let newest = newestGood;
  if (newest === undefined && listed.size === 0) return;
  const first = [...listed.keys()].reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const replayed = newest === undefined ? undefined : await rangeOrDamage(target, newest, listed);
  if (isCorruption(replayed)) {
    yield* reportsOfImplausible(target, newest as LoadedManifest, listed, replayed, options);
    return;
  }
  const end = replayed?.end ?? Math.max(...listed.keys());
  const after = newest?.manifest.replayAfterWalId ?? first - 1;
  const to = Math.min(end, Number(options.to ?? end));
  const from = Math.max(Number(options.from ?? 0), Math.min(first, after + 1));
  // What is before the replay point need not be there, so it is checked for itself only.
  let read: LogObject | undefined;
  const replayedIds = [...listed.keys()].filter((id) => id >= from && id <= Math.min(after, to)).sort((a, b) => a - b);
  for (const id of replayedIds) {
    const object = read?.id === id ? read : await readLogObject(target.stores.wal, target.clock, id);
    // The object after it says what it was.
    read = listed.has(id + 1) ? await readLogObject(target.stores.wal, target.clock, id + 1) : undefined;
    yield replayedReport(target, object, read, newest, options);
  }
  if (newest !== undefined && end <= after && !listed.has(after)) {
    const vanished = await findVanishedLog(target.stores, newest, 'check');
    if (vanished !== undefined && Number(options.from ?? 0) <= after && after <= to)
      yield reportOfUnseen(after, [vanished]);
  }
  if (to <= after) return;
  // All of the part to be replayed is read, also for a report on some of it: the chain needs the neighbours.
  const counts = new Map<number, { rows: number; batches: number | undefined }>();
  const see = (id: number, object: LogObject) => {
    const { sound } = pieceOf(object, false, 0, 'probable');
    if (sound !== undefined) counts.set(id, sound);
  };
  let survey = await surveyLog(target, newest, { from: after + 1, end }, see, listedId);
  if (survey.findings.some((f) => f.severity === 'error')) {
    const again = await findNewestGood(target.stores, 'check', target.signal);
    const now = again.newest ?? newest;
    // What is empty was perhaps the fence of a writer that came in the meantime.
    const isClaimed = (now?.manifest.writerEpoch ?? 0) > (newest?.manifest.writerEpoch ?? 0);
    if (isClaimed && survey.findings.some(isEmptied))
      survey = await surveyLog(target, now, survey, see, again.listedId);
    newest = now;
  }
  for (let id = Math.max(from, survey.from); id <= to; id++) {
    const report = reportOf(survey, id, counts.get(id), newest, target, options);
    // What the log as a whole says against the manifest, for which an opening refuses it: reported once, at the end.
    if (id === to && isCorruption(survey.refusal)) {
      report.findings = [
        ...report.findings,
        ...survey.refusal.findings.map((f) => ({ ...f, during: 'check' as const })),
      ];
    }
    yield report;
  }
}

function rangeOrDamage(
  target: ToolTarget,
  newest: LoadedManifest,
  listed: ReadonlyMap<number, unknown>,
): Promise<LogRange | CorruptionError> {
  return rangeToReplay(target.stores.wal, newest, listed).catch((error: unknown) => {
    if (isCorruption(error)) return error;
    throw error;
  });
}

/** Where the manifest asks for more objects than can be missing one by one: what is there, each for itself, and what is not. */
async function* reportsOfImplausible(
  target: ToolTarget,
  newest: LoadedManifest,
  listed: ReadonlyMap<number, unknown>,
  damage: CorruptionError,
  options: WalInspectOptions,
): AsyncGenerator<WalObjectReport, void, undefined> {
  const isWanted = (id: number) => id >= Number(options.from ?? 0) && id <= Number(options.to ?? Infinity);
  const there = [...listed.keys()].sort((a, b) => a - b);
  for (const id of there.filter(isWanted)) {
    const read = await readLogObject(target.stores.wal, target.clock, id);
    const findings = (read.result?.findings ?? []).map((f) => withLogAdvice(f, read.salvaged));
    const report = describe(id, read, findings, pieceOf(read, false, 0, 'probable').sound);
    report.neededForRecovery = id > newest.manifest.replayAfterWalId && read.result !== undefined;
    report.alsoIn = alsoIn(report, newest);
    yield report;
  }
  const byId = new Map<number, Finding[]>();
  for (const f of damage.findings) {
    // Findings about the manifest are reported at the first object that is missing after the last.
    const id = parseWalPath(f.object.path) ?? (there.at(-1) ?? newest.manifest.replayAfterWalId) + 1;
    byId.set(id, [...(byId.get(id) ?? []), f]);
  }
  for (const [id, findings] of byId) {
    if (isWanted(id))
      yield describe(id, { id, result: undefined, salvaged: undefined, bytes: undefined }, findings, undefined);
  }
}

// ---- one object

function reportOf(
  survey: Survey,
  id: number,
  count: { rows: number; batches: number | undefined } | undefined,
  newest: LoadedManifest | undefined,
  target: ToolTarget,
  options: WalInspectOptions,
): WalObjectReport {
  const object = survey.objects[id - survey.from];
  const findings = survey.findings.filter((f) => f.object.path === walPath(id));
  const isNeeded = newest === undefined || id > newest.manifest.replayAfterWalId;
  const report = describe(id, object, findings, count);
  if (!isNeeded) report.findings = findings.map((f) => asObsolete(f));
  if (report.state === 'missing' && !isNeeded) {
    report.state = 'obsolete';
    report.findings = [];
  }
  report.chain = chainOf(survey, id, findings);
  report.neededForRecovery = isNeeded && object.result !== undefined;
  report.alsoIn = alsoIn(report, newest);
  const { result } = object;
  if (options.rows !== undefined && options.rows !== 'none' && result !== undefined) {
    report.entries = entriesOf(() => readLogObject(target.stores.wal, target.clock, id), options.rows === 'full');
  }
  return report;
}

/** An object whose rows are in tables: its damage takes nothing away. `next` is the object after it. */
function replayedReport(
  target: ToolTarget,
  read: LogObject,
  next: LogObject | undefined,
  newest: LoadedManifest | undefined,
  options: WalInspectOptions,
): WalObjectReport {
  const { id, result } = read;
  const chain = result?.object === undefined ? [] : chainFindings(result.object, next, newest);
  const findings = [...(result?.findings ?? []), ...chain];
  const report = describe(id, read, findings, pieceOf(read, false, 0, 'probable').sound);
  report.findings = findings.map((f) => asObsolete(f));
  if (report.state === 'missing') report.state = 'obsolete';
  const isNamed = next?.result?.object?.seal?.wal?.predecessorKind ?? 'unknown';
  if (chain.length > 0) report.chain = 'broken';
  else if (result?.object !== undefined && (isNamed !== 'unknown' || newest?.seal?.manifest?.walTail.id === id))
    report.chain = 'ok';
  report.alsoIn = newest === undefined ? 'nowhere' : 'l0';
  if (options.rows !== undefined && options.rows !== 'none' && result !== undefined) {
    report.entries = entriesOf(() => readLogObject(target.stores.wal, target.clock, id), options.rows === 'full');
  }
  return report;
}

function chainFindings(object: WalObject, next: LogObject | undefined, newest: LoadedManifest | undefined): Finding[] {
  const seal = newest?.seal;
  const bySuccessor = next?.result === undefined ? [] : checkSuccessor(object, next.result, seal?.identity.databaseId);
  const byManifest = checkWitness(object, seal?.manifest?.walTail);
  return (bySuccessor.length > 0 ? bySuccessor : byManifest).map((f) => withLogAdvice(f, undefined));
}

function asObsolete(f: Finding): Finding {
  if (f.severity !== 'error') return f;
  const summary = `Nothing is replayed from ${f.object.path} any more: what it held is in tables, or in the damage ledger if a repair could not save it. A collector will delete it.`;
  return { ...f, severity: 'warning', hint: { ...f.hint, summary, commands: [], lossIfRepaired: 'none' } };
}

async function rawReport(id: number, bytes: Uint8Array, options: WalInspectOptions): Promise<WalObjectReport> {
  const read = async (): Promise<LogObject> => {
    const result = await readWalObject(id, bytes);
    const salvaged = result.object === undefined ? await salvageWalObject(id, bytes, result) : undefined;
    return { id, result, salvaged, bytes };
  };
  const object = await read();
  const findings = (object.result?.findings ?? []).map((f) =>
    withLogAdvice({ ...f, during: 'check' }, object.salvaged),
  );
  const report = describe(id, object, findings, pieceOf(object, false, 0, 'probable').sound);
  if (options.rows !== undefined && options.rows !== 'none') report.entries = entriesOf(read, options.rows === 'full');
  return report;
}

/** All that an object records about itself. */
function describe(
  id: number,
  { result, salvaged }: LogObject,
  findings: Finding[],
  count: { rows: number; batches: number | undefined } | undefined,
): WalObjectReport {
  const object = result?.object;
  const seal = salvaged?.seal ?? result?.seal;
  const { epoch } = seal?.identity ?? {};
  const seqs =
    object === undefined ? result?.seqs : object.rowCount > 0 ? { min: object.minSeq, max: object.maxSeq } : undefined;
  return {
    id: BigInt(id),
    path: walPath(id),
    size: object?.sizeBytes ?? salvaged?.sizeBytes ?? 0,
    sealed: seal !== undefined,
    state: stateOf(result, salvaged, findings),
    ...(epoch !== undefined && epoch > 0 && { epoch: BigInt(epoch) }),
    ...(seqs !== undefined && { seqs: { min: BigInt(seqs.min), max: BigInt(seqs.max) } }),
    chain: 'unknown',
    ...(salvaged === undefined ? wholeTally(result, count) : tally(salvaged)),
    findings,
    neededForRecovery: false,
    alsoIn: 'nowhere',
  };
}

function stateOf(
  result: LogObject['result'],
  salvaged: SalvagedWal | undefined,
  findings: readonly Finding[],
): WalObjectState {
  if (result === undefined) return 'missing';
  if (findings.some((f) => f.severity === 'unknown')) return 'unknown';
  if (salvaged?.kind === 'foreign') return 'foreign';
  if (salvaged !== undefined || findings.some((f) => f.severity === 'error')) return 'damaged';
  if (result.object?.kind === 'rows') return 'ok';
  return findings.some((f) => f.code === 'TRUNCATED') ? 'ambiguous-empty' : 'fence';
}

type Tally = Pick<WalObjectReport, 'batches' | 'rows'>;

function wholeTally(
  result: LogObject['result'],
  count: { rows: number; batches: number | undefined } | undefined,
): Tally {
  const rows = result?.object?.rowCount ?? 0;
  const batches = count?.batches ?? result?.seal?.wal?.batches;
  const isThere = result !== undefined;
  return {
    batches: {
      ...(isThere && batches !== undefined && { total: batches }),
      intact: batches ?? 0,
      partial: 0,
      undecided: 0,
      lost: 0,
    },
    rows: { ...(isThere && { total: rows }), verified: rows, probable: 0, suspect: 0, lost: 0 },
  };
}

function tally(salvaged: SalvagedWal): Tally {
  const isOwn = salvaged.kind !== 'foreign';
  const held = isOwn ? salvaged.seal?.wal : undefined;
  const batches: WalObjectReport['batches'] = { intact: 0, partial: 0, undecided: 0, lost: 0 };
  if (held !== undefined) batches.total = held.batches;
  let gaps = 0;
  for (const part of isOwn ? batchesOf(salvaged, 'probable') : []) {
    if (isGap(part)) gaps++;
    else batches[part.state]++;
  }
  if (held === undefined) batches.lost += gaps;
  else batches.lost = Math.max(0, held.batches - batches.intact - batches.partial - batches.undecided);
  const rows: WalObjectReport['rows'] = { verified: 0, probable: 0, suspect: 0, lost: 0 };
  for (const block of isOwn ? salvaged.blocks : []) {
    for (const { trust } of rowsOfBlock(block)) rows[trust === 'good' ? 'verified' : trust]++;
  }
  if (held !== undefined) {
    rows.total = held.rows;
    rows.lost = Math.max(0, held.rows - rows.verified - rows.probable - rows.suspect);
  } else if (rows.suspect === 0) rows.lost = gaps;
  return { batches, rows };
}

/** Whether the object is the one that its successor, or the manifest, names. */
function chainOf(
  { objects, from, newest }: Survey,
  id: number,
  findings: readonly Finding[],
): WalObjectReport['chain'] {
  if (findings.some((f) => f.code === 'CHAIN_BREAK')) return 'broken';
  if (objects[id - from]?.result?.object === undefined) return 'unknown';
  const next = objects[id - from + 1]?.result?.object?.seal?.wal;
  const isNamed = next !== undefined && next.predecessorKind !== 'unknown';
  return isNamed || newest?.seal?.manifest?.walTail.id === id ? 'ok' : 'unknown';
}

/** Where else the rows are: a writer that still runs has in memory all that it has not put into tables. */
function alsoIn(report: WalObjectReport, newest: LoadedManifest | undefined): WalObjectReport['alsoIn'] {
  if (newest === undefined) return 'nowhere';
  const { lastL0Seq } = newest.manifest;
  const isInTables = !report.neededForRecovery || (report.seqs !== undefined && report.seqs.max <= BigInt(lastL0Seq));
  if (isInTables && report.state !== 'missing') return 'l0';
  return newest.seal?.manifest?.isCleanClose === true ? 'nowhere' : 'live-writer-maybe';
}

// ---- rows

async function* entriesOf(
  read: () => Promise<LogObject>,
  withValues: boolean,
): AsyncGenerator<WalEntry, void, undefined> {
  const { result, salvaged } = await read();
  const whole = result?.object?.blocks.map((block) => ({ state: 'good' as const, block, rows: [] }));
  for (const block of whole ?? salvaged?.blocks ?? []) {
    for (const row of rowsOfBlock(block)) yield entryOf(row, withValues);
  }
}

function entryOf({ key, value, seq, flags, trust }: WalRow, withValues: boolean): WalEntry {
  return {
    seq: BigInt(seq),
    key,
    op: operationOf(flags),
    valueBytes: value.length,
    ...(withValues && { value: new Uint8Array(value) }),
    trust,
  };
}
