/**
 * Calls for operators that need a role besides the tools: the composition of what `shaledb/admin` offers, as open.ts is of what `shaledb`
 * does.
 */
import { bool, type ChecksOf, optionFaults, readOptions } from './common/option-checks.ts';
import type { GcDecision } from './gc/collectable.ts';
import { type GcObject, type GcReport, gcObject, gcReport } from './gc/gc-report.ts';
import { commitAsCollector } from './gc/manifest-commit.ts';
import { Rounds } from './gc/round.ts';
import { emptyResult, type RoundResult } from './gc/round-result.ts';
import { GC_CHECKS, type GcOptions, gcFaults, gcSettings } from './gc/settings.ts';
import { type Target, TOOL_CHECKS, type ToolOptions, type ToolTarget, withTarget } from './tools/target.ts';

/** Options of `gcOnce`. */
export interface GcOnceOptions extends ToolOptions, GcOptions {
  /** Delete. Default false: it is said what would go and why the rest stays, and nothing is changed. */
  apply?: boolean;
}

const GC_ONCE_CHECKS: ChecksOf<GcOnceOptions> = { ...TOOL_CHECKS, ...GC_CHECKS, apply: bool };

/**
 * Collects garbage once: manifests, compactions files, tables, objects of the log and copies in quarantine that nothing needs, and that are
 * old enough by the clock of the store. Without `apply` a dry run. May be run beside writers, readers, compactors and other collectors,
 * SlateDB's too; an interrupted one is finished by the next.
 *
 * If anything that the database needs is missing, damaged or not listed, nothing more is deleted, and the report says why (`stopped`). A
 * store that does not honour `If-Match` keeps manifests and compactions files, unless `boundaryFiles` is `off`; of a store of which that is not known
 * it is tried out once, by some 60 requests.
 *
 * Rejects with `InvalidArgumentError` (`BAD_OPTION`, `NOT_A_DATABASE`), and with `UnavailableError` (the store; run it again). Some 20 requests, and
 * one for each 1,000 objects that are listed and that are deleted; a GET for each small object of the log that is to go.
 */
export async function gcOnce(target: Target, options: GcOnceOptions = {}): Promise<GcReport> {
  const { given, faults } = readOptions('gcOnce', options, GC_ONCE_CHECKS);
  const known: GcOnceOptions = given;
  faults.push(...gcFaults(known));
  if (faults.length > 0) throw optionFaults('gcOnce', faults, GC_ONCE_CHECKS);
  return withTarget(target, known, (opened) => collect(opened, known));
}

async function collect(target: ToolTarget, options: GcOnceOptions): Promise<GcReport> {
  const { stores, clock, random, signal, openDb } = target;
  const { apply = false } = options;
  const rounds = new Rounds({
    stores,
    clock,
    random,
    settings: gcSettings(options),
    ...(signal !== undefined && { signal }),
    commit: (change) => openDb?.commit(change, {}) ?? commitAsCollector(target, change),
  });
  if (openDb !== undefined) rounds.know(openDb.manifest().id);
  const objects: GcObject[] = [];
  const note = (decision: GcDecision) => void objects.push(gcObject(decision));
  const results: RoundResult[] = [];
  for (let hasMore = true; hasMore; ) {
    const result = emptyResult();
    results.push(result);
    await rounds.run({ apply, withCopies: true, ...(apply ? { onDeleted: note } : { onDecision: note }) }, result);
    hasMore = result.hasMore && Object.values(result.deleted).some((tally) => tally.objects > 0);
  }
  for (const text of results[results.length - 1].notes) target.logger.info(text);
  return gcReport(results, objects, { applied: apply, requests: target.requests(), tookMs: target.tookMs() });
}
