/**
 * `verify`: every check there is, with one verdict and what to do next.
 *
 * Manifests, tables and what holds between them, the log, the ledger, and all the small objects beside them; every object of
 * the database is read whole. Writes nothing, except that `probe` writes and deletes objects of its own under `shale/probe/`.
 */
import { acknowledgeLoss, at, DOCTOR, LIST_LOSSES } from '../common/advice.ts';
import { IncompatibleError } from '../common/errors.ts';
import { type Finding, SEVERITY_RANK } from '../common/finding.ts';
import { bool, type ChecksOf, callable, checkedOptions } from '../common/option-checks.ts';
import { checkpointsAlone, whyWal } from '../lsm/manifest/live-set.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import { probeStore } from '../lsm/manifest/store-probe.ts';
import { type LedgerEntry, readLedger } from '../lsm/tree/damage-ledger.ts';
import { listLog, namedEnd } from '../recovery/log-range.ts';
import { isAboutWholeLog } from '../recovery/vanished-log.ts';
import { logOutOfReach } from './database-state.ts';
import { manifestInspect } from './manifest-inspect.ts';
import { type DatabaseView, readDatabaseView } from './named-tables.ts';
import { outsizedFindings, type PassedOver } from './outsized-names.ts';
import { answeredPaths } from './quarantine.ts';
import { type VerifyReport, verdictOf } from './reports.ts';
import { checkSidecars } from './sidecar-check.ts';
import {
  asNeededByCheckpoints,
  asUnused,
  type CheckLevel,
  type CheckProgress,
  LEVEL_CHECK,
  sstCheck,
} from './sst-check.ts';
import { pastOutsized, type Target, TOOL_CHECKS, type ToolOptions, type ToolTarget, withTarget } from './target.ts';
import { findLostViews, lostViewFinding, unclearViewFinding } from './union-views.ts';
import { walInspect } from './wal-inspect.ts';

/** Options of `verify`. */
export interface VerifyOptions extends ToolOptions {
  /** How deep tables are looked into; default `cross`. Manifests, the log and the rest are always read whole. */
  level?: CheckLevel;
  /** Also asks the store whether it keeps the promises that the protocol needs: about 60 requests that write. Default false. */
  probe?: boolean;
  /** Called as tables, and then objects of the log, are finished. What it throws ends the check. */
  onProgress?: (progress: CheckProgress) => void;
}

const CHECKS: ChecksOf<VerifyOptions> = {
  ...TOOL_CHECKS,
  level: LEVEL_CHECK,
  probe: bool,
  onProgress: callable,
};

/**
 * Checks all of a database. Resolves however damaged it is; rejects with `InvalidArgumentError` for bad options and where no database is, with
 * `IncompatibleError` for a newer form, and with errors of the store. Costs what `sstCheck` with scope `all` and `walInspect`
 * cost, and a GET for each other object.
 */
export async function verify(t: Target, given: VerifyOptions = {}): Promise<VerifyReport> {
  const o = checkedOptions('verify', given, CHECKS);
  const passed: PassedOver = new Map();
  const past = pastOutsized(t, passed);
  return withTarget(past, o, (target) => verifyTarget(past, target, o, passed));
}

async function verifyTarget(
  t: Target,
  target: ToolTarget,
  o: VerifyOptions,
  passed: PassedOver,
): Promise<VerifyReport> {
  const { level = 'cross', probe = false, onProgress, ...common } = o;
  // First, so that its advice on how the newest manifest can be repaired is what is kept.
  const findings: Finding[] = [...(await manifestInspect(t, undefined, common)).findings];
  const check = sstCheck(t, { ...common, level, scope: 'all', ...(onProgress !== undefined && { onProgress }) });
  for await (const finding of check) findings.push(finding);
  const sst = await check.summary();
  const view = await readDatabaseView(target.stores, 'all', 'check', target.signal);
  const loaded = view.manifests.map((m) => m.loaded);
  const answered = await answeredPaths(target, loaded);
  const wal: VerifyReport['wal'] = { objects: 0, damaged: 0, missing: 0, rows: 0 };
  let requests = sst.requests;
  let logBytes = 0;
  let lastLogId = 0;
  // Without manifest and log there is nothing to report on; that no manifest is left is reported above.
  const isReadable = view.incompatible === undefined;
  // The check of the tables has said so.
  const isLogHere = view.newest === undefined || (await logOutOfReach(target, view.newest)) === undefined;
  const hasLog = isReadable && isLogHere && (view.ids.length > 0 || (await listLog(target.stores.wal)).size > 0);
  for await (const report of hasLog ? walInspect(t, common) : []) {
    // Of no object, but of the log: that it is gone.
    if (report.findings.some(isAboutWholeLog)) {
      findings.push(...report.findings);
      continue;
    }
    wal.objects++;
    lastLogId = Math.max(lastLogId, Number(report.id));
    if (report.state === 'missing') wal.missing++;
    else if (report.findings.some((f) => f.severity === 'error' && f.object.role === 'wal')) wal.damaged++;
    wal.rows += report.rows.total ?? report.rows.verified;
    // Nothing is replayed from the others, except by a read at a checkpoint.
    const isNeeded = report.neededForRecovery;
    const keepers = view.live === undefined ? [] : checkpointsAlone(whyWal(view.live, Number(report.id)));
    const unneeded = (f: Finding) =>
      keepers.length > 0 ? asNeededByCheckpoints(f, keepers, 'this object of the log') : asUnused(f, answered);
    findings.push(...report.findings.map((f) => (isNeeded || f.object.role !== 'wal' ? f : unneeded(f))));
    requests++;
    logBytes += report.size;
    onProgress?.({ part: 'log', done: wal.objects, bytesRead: sst.bytesRead + logBytes });
  }
  findings.push(...(await viewFindings(target, view)));
  findings.push(...(await checkSidecars(target, view.newest)), ...outsizedFindings(passed));
  const ledger = (await readableLedger(target, view.newest)).filter((e) => e.state === 'open');
  const all = distinct(findings);
  const newest = view.ids[view.ids.length - 1];
  const worst = verdictOf(all);
  return {
    schemaVersion: 1,
    verdict: worst === 'clean' && ledger.length > 0 ? 'degraded' : worst,
    findings: all,
    sst,
    wal,
    manifests: {
      ...(newest !== undefined && { newest: BigInt(newest) }),
      checked: view.manifests.length,
      ...(view.newest !== undefined && { newestGood: BigInt(view.newest.id) }),
    },
    ledger,
    store: probe ? await probed(target) : { suitable: 'not-probed', problems: [] },
    cannotKnow: cannotKnow(view.newest, lastLogId),
    nextSteps: nextSteps(all, ledger, target.label),
    requests: requests + target.requests(),
    tookMs: target.tookMs(),
  };
}

/** What manifests say about views that a union has lost. */
async function viewFindings({ stores }: ToolTarget, { manifests }: DatabaseView): Promise<Finding[]> {
  const readable = manifests.flatMap(({ loaded }) => loaded ?? []);
  const { lost, unclear } = await findLostViews(stores, readable);
  return [
    ...lost.map((one) => lostViewFinding(one, 'check')),
    ...unclear.map((one) => unclearViewFinding(one, 'check')),
  ];
}

/**
 * The manifest of a clean close names the last object of the log; before it, objects at the end are not named. One that is gone
 * before the last that is there, or that a manifest names, is a hole, and a finding; so is, where it shows, that none is left from the
 * replay point on (vanished-log.ts). `lastLogId`: of the log that was looked at.
 */
function cannotKnow(newest: LoadedManifest | undefined, lastLogId: number): string[] {
  if (newest === undefined || newest.seal?.manifest?.isCleanClose === true) return [];
  const last = Math.max(lastLogId, namedEnd(newest));
  const end = last === 0 ? 'whether the log ever had an object' : `whether the log continued after object ${last}`;
  return [
    `${end}: manifest ${newest.id} was not written by a clean close, so objects that vanished from the end would leave no trace`,
  ];
}

/** None where the newest version needs a newer program, which is a finding of the check of sidecars. */
async function readableLedger(
  { stores }: ToolTarget,
  newest: LoadedManifest | undefined,
): Promise<readonly LedgerEntry[]> {
  try {
    return (await readLedger(stores.main, newest)).entries;
  } catch (error) {
    if (error instanceof IncompatibleError) return [];
    throw error;
  }
}

async function probed({ stores, clock, random, signal }: ToolTarget): Promise<VerifyReport['store']> {
  const profile = await probeStore(stores.main, { clock, random, ...(signal !== undefined && { signal }) });
  // The same rule as for opening; other problems cost speed or comfort.
  return { suitable: profile.conditionalCreate, problems: profile.problems };
}

/**
 * Two checks may find the same thing, and differ in how bad they call it or in how much they say about it. An id is of a place: several
 * things may be wrong there. So only that is left out of which another finding says all, and nothing milder; of equal ones the later.
 */
function distinct(findings: readonly Finding[]): Finding[] {
  const byId = new Map<string, Finding[]>();
  for (const finding of findings) byId.set(finding.id, [...(byId.get(finding.id) ?? []), finding]);
  return findings.filter((f) => {
    const others = byId.get(f.id) ?? [];
    const at = others.indexOf(f);
    return !others.some((other, i) => i !== at && saysAllOf(other, f) && (i < at || !saysAllOf(f, other)));
  });
}

function saysAllOf(a: Finding, b: Finding): boolean {
  return SEVERITY_RANK[a.severity] <= SEVERITY_RANK[b.severity] && (a.found ?? '').includes(b.found ?? '');
}

/** More losses are acknowledged from the list. */
const MOST_ACKNOWLEDGED = 5;

/**
 * The commands of all findings, each once, those of the worst first; then how to see open losses and how to end them. Tables come before the
 * log, which may still have their rows: a repair of the log moves the replay point, after which a collector may delete what it passed.
 */
function nextSteps(findings: readonly Finding[], open: readonly LedgerEntry[], label: string): string[] {
  const isOfLog = ({ object }: Finding) => (object.role === 'wal' ? 1 : 0);
  const sorted = [...findings].sort(
    (a, b) => SEVERITY_RANK[a.severity] - SEVERITY_RANK[b.severity] || isOfLog(a) - isOfLog(b),
  );
  const commands = sorted.filter((f) => f.severity !== 'note').flatMap((f) => f.hint.commands);
  if (open.length > 0) commands.push(LIST_LOSSES);
  if (open.length <= MOST_ACKNOWLEDGED) commands.push(...new Set(open.map(({ id }) => acknowledgeLoss(id))));
  const located = commands.map((command) => at(command, label));
  return [...new Set(located)].filter((command) => command !== at(DOCTOR, label));
}
