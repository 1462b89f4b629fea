/**
 * `sstRepair`: a table made whole again, or as whole as can be, under a new name in the place of the old one.
 *
 * Rows come, in this order, from blocks that are good, from blocks that can be repaired, from the log and the inputs of the
 * compaction that made the table, and from what can be salvaged of a bad block. Index, filter, stats, seal, info block and
 * footer are always rebuilt. What cannot be found again is written to the ledger before the repair counts, so that it never
 * reads as "was never there".
 *
 * Invariants: the old object is neither changed nor deleted; a row is put back only at the trust that was asked for; where an
 * older version could show through a loss, nothing is done without consent.
 */

import { DOCTOR, LIST_LOSSES } from '../common/advice.ts';
import { present } from '../common/assert.ts';
import { compareBytes } from '../common/bytes.ts';
import { InvalidArgumentError } from '../common/errors.ts';
import type { Finding } from '../common/finding.ts';
import { bool, type ChecksOf, checkedOptions, list, oneOf } from '../common/option-checks.ts';
import type { Ulid } from '../common/ulid.ts';
import { type Manifest, type TableRef, type TableView, viewsOfTree } from '../format/manifest-types.ts';
import type { LineageRecord } from '../format/seal-records.ts';
import { countedRows } from '../format/stats-block.ts';
import type { TableInfo } from '../format/table-info.ts';
import { changeTable } from '../lsm/manifest/manifest-edits.ts';
import { missingTable, type TableAnatomy, unreadTable } from '../lsm/table/table-anatomy.ts';
import { tooNew } from '../lsm/table/verified-read.ts';
import { parentAdvice } from '../lsm/tree/parents.ts';
import { MAX_LOST_ROWS_CHECK, type MaxLoss } from '../recovery/repair-report.ts';
import { ACCEPTANCES } from '../recovery/wal-batches.ts';
import { checkpointAdvice, checkpointsKeeping } from './named-tables.ts';
import {
  damagedObject,
  type Loss,
  type LossOptions,
  type MadeParts,
  type PlannedTable,
  REPAIR_CHECKS,
  type RepairOptions,
  type RepairPlan,
  type RepairView,
  sha256Hex,
} from './repair-plan.ts';
import { runRepair } from './repair-run.ts';
import type { Acceptance, RepairReport } from './reports.ts';
import { placeInTree, rowsOfOthers, type TreePlace } from './row-sources.ts';
import { examineTable, findTable, tableIdOf } from './sst-inspect.ts';
import { type ExaminedBlock, readableBlock } from './table-blocks.ts';
import { GapFiller, type GapResult, gapsOf, isTrusted } from './table-gaps.ts';
import { buildRepairedTable, inferSettings, isBlock, type RowPiece } from './table-rebuild.ts';
import { type Target, TOOL_CHECKS, type ToolOptions, withTarget } from './target.ts';

/** Where a repair of a table may take rows from. */
export type SstSource = 'reread' | 'heal' | 'rebuild' | 'wal' | 'inputs' | 'salvage';
const SOURCES: readonly SstSource[] = ['reread', 'heal', 'rebuild', 'wal', 'inputs', 'salvage'];

/** Options of `sstRepair`. */
export interface SstRepairOptions extends ToolOptions, RepairOptions, Pick<LossOptions, 'acceptLoss'> {
  /** Go on if no more rows than this can be lost, and reject if more can. It counts besides `acceptLoss`, too. Default: no limit. */
  maxLoss?: Pick<MaxLoss, 'rows'>;
  /** Where rows may come from; default all. Parts after the blocks are made with `rebuild`. */
  sources?: readonly SstSource[];
  /**
   * `verified` (default): rows that a check proves, and blocks in which one inverted bit is the only explanation. `probable`:
   * also blocks repaired by one byte. `suspect`: also rows that merely parse.
   */
  accept?: Acceptance;
  /**
   * What becomes of a loss that is consented to. `mark` (default): it goes to the ledger. `accept`: acknowledged there at once.
   * `refuse`: nothing is done if a row is, or may be, lost, whatever is consented to.
   */
  onLoss?: 'refuse' | 'mark' | 'accept';
  /** Go on although older versions of lost keys would show through. Default false. */
  acceptResurrection?: boolean;
  /**
   * `legacy`: the table gets its filter in the form that SlateDB 0.12.1 reads as well, also if nothing else is wrong with it.
   * Default: the form it has.
   */
  filterForm?: 'legacy';
}

const CHECKS: ChecksOf<SstRepairOptions> = {
  ...TOOL_CHECKS,
  ...REPAIR_CHECKS,
  acceptLoss: bool,
  maxLoss: MAX_LOST_ROWS_CHECK,
  sources: list('names of sources', oneOf(SOURCES)),
  accept: oneOf(ACCEPTANCES),
  onLoss: oneOf(['refuse', 'mark', 'accept']),
  acceptResurrection: bool,
  filterForm: oneOf(['legacy']),
};

/**
 * Repairs the table with this ULID or path; without `apply` nothing is changed and the report says what would be. Outcomes:
 * `clean` (nothing is wrong), `healed`, `reconstructed` (no row lost), `salvaged` (some are), `obsolete` (no manifest needs it
 * any more), `consent-needed` (not done: rows would be lost without `acceptLoss` or a `maxLoss` that covers them, or older ones
 * show through without `acceptResurrection`), `unrecoverable`. A table that SlateDB aligned stays aligned. Rejects with
 * `ConflictError`, with `InvalidArgumentError` for bad options, a name that is no table's and a table of another database, with
 * `IncompatibleError` for a table of a newer form, with `CorruptionError` if more than `maxLoss` could be lost, and as
 * `runRepair` does.
 * Holds the table in memory twice. Costs a GET per manifest in scope, two of the table, one per object of the log and per input
 * where a block is lost, and when applied 9 requests and 5 per new object.
 */
export async function sstRepair(t: Target, table: string, given: SstRepairOptions = {}): Promise<RepairReport> {
  const o = checkedOptions('sstRepair', given, CHECKS);
  const id = tableIdOf(table);
  const { sources = SOURCES, accept = 'verified', onLoss = 'mark', acceptResurrection = false, filterForm } = o;
  return withTarget(t, o, (target) =>
    runRepair(target, {
      tool: 'sstRepair',
      settings: {
        table: id,
        sources: SOURCES.filter((s) => sources.includes(s)).join(),
        accept,
        onLoss,
        acceptResurrection,
        ...(filterForm !== undefined && { filterForm }),
      },
      namesOneObject: true,
      consent: {
        ...(o.acceptLoss !== undefined && { acceptLoss: o.acceptLoss }),
        ...(o.maxLoss !== undefined && { maxLoss: o.maxLoss }),
      },
      plan: (view) => new TablePlan(view, id, { sources, accept, onLoss, acceptResurrection, filterForm }).make(),
      ...(o.apply !== undefined && { apply: o.apply }),
      ...(o.ifLiveWriter !== undefined && { ifLiveWriter: o.ifLiveWriter }),
      ...(o.liveCheckMs !== undefined && { liveCheckMs: o.liveCheckMs }),
    }),
  );
}

interface Choices {
  sources: readonly SstSource[];
  accept: Acceptance;
  onLoss: 'refuse' | 'mark' | 'accept';
  acceptResurrection: boolean;
  filterForm: 'legacy' | undefined;
}

/** What was found, before it is decided what to do. */
interface Found {
  id: Ulid;
  ref: TableRef;
  path: string;
  place: TreePlace;
  bytes: Uint8Array | undefined;
  tail: TableAnatomy | undefined;
  blocks: ExaminedBlock[];
  findings: Finding[];
}

class TablePlan {
  readonly #view: RepairView;
  readonly #id: Ulid;
  readonly #choices: Choices;

  constructor(view: RepairView, id: Ulid, choices: Choices) {
    this.#view = view;
    this.#id = id;
    this.#choices = choices;
  }

  async make(): Promise<RepairPlan> {
    const found = await this.#look();
    if ('checkpoints' in found) {
      const nextSteps = found.checkpoints.length > 0 ? [checkpointAdvice(found.checkpoints)] : [];
      return { ...emptyPlan('obsolete', []), nextSteps };
    }
    if (found.tail?.tooNew !== undefined) throw tooNew(found.path, found.tail.tooNew);
    const isFormWrong = this.#choices.filterForm === 'legacy' && hasCompositeFilter(found.tail);
    // Notes, as on padding that holds anything but zeros, are no damage.
    const damages = found.findings.filter((f) => f.severity !== 'note');
    if (damages.length === 0 && !isFormWrong) return emptyPlan('clean', found.findings);
    if (!isFormWrong && damages.every((f) => f.code === 'MANIFEST_INCONSISTENT')) return this.#correctManifest(found);
    const gaps = gapsOf(found.blocks, found.tail, found.ref.info, this.#choices);
    if (
      gaps.length === 0 &&
      found.blocks.every((b) => b.trust === 'good') &&
      !this.#choices.sources.includes('rebuild')
    ) {
      return refused(
        emptyPlan('unrecoverable', found.findings),
        'Only parts after the blocks are damaged: allow rebuild.',
      );
    }
    const filler = new GapFiller(this.#view, found, this.#choices);
    const results: GapResult[] = [];
    for (const gap of gaps) results.push(await filler.fill(gap, gaps));
    return this.#replace(found, results);
  }

  /** The table, or the checkpoints that name it where the newest manifest does not. */
  async #look(): Promise<Found | { checkpoints: string[] }> {
    const { target, manifest } = this.#view;
    const place = placeInTree(manifest.manifest, this.#id);
    // Rejects for an unknown table.
    const { view, named, known, store, bytes: first } = await findTable(target, this.#id);
    if (place === undefined) return { checkpoints: checkpointsKeeping(view, named) };
    if (store !== target.stores.main) {
      const message = `${known.path} is not repaired here. ${parentAdvice(target.stores.whole, named?.parent ?? '')} Nothing was changed.`;
      throw new InvalidArgumentError('BAD_ARGUMENT', message);
    }
    const ref = refIn(place, this.#id);
    const base = { id: this.#id, ref, path: known.path, place };
    const sound =
      first && (await examineTable(first, { ...known, info: ref.info, formatVersion: ref.formatVersion }, 'repair'));
    if (sound?.findings.length === 0) return { ...base, bytes: first, ...sound };
    // Once more, past whatever may have changed a bit on the way.
    const bytes = this.#choices.sources.includes('reread') ? (await store.get(known.path))?.bytes : first;
    if (bytes === undefined) {
      const missing = missingTable(known, 'repair');
      return { ...base, bytes, tail: undefined, blocks: [], findings: [missing] };
    }
    const examined = await examineTable(
      bytes,
      { ...known, info: ref.info, formatVersion: ref.formatVersion },
      'repair',
    );
    // Rows of another table are not used here.
    const blocks = examined.tail.isForeign ? [] : examined.blocks;
    return { ...base, bytes, ...examined, blocks };
  }

  /** The table is right, and the manifest's copy of its info block is not: nothing is made but a manifest. */
  #correctManifest({ id, tail, findings, bytes, path }: Found): RepairPlan {
    const own = tail?.ownInfo;
    if (own === undefined) return emptyPlan('unrecoverable', findings);
    return {
      ...emptyPlan('healed', findings),
      damaged: bytes === undefined ? [] : [damagedObject(path, 'main', bytes)],
      nextSteps: [DOCTOR],
      edit: (newest) => changeTable(newest, id, (view) => ({ ...view, table: { ...view.table, info: own } })),
    };
  }

  async #replace(found: Found, results: GapResult[]): Promise<RepairPlan> {
    const { onLoss, acceptResurrection } = this.#choices;
    const lost = results.filter((r) => r.lostKeys.length > 0);
    const lostKeys = lost.flatMap((r) => r.lostKeys);
    const shadowed = await this.#countShadowed(found, results);
    const plan = { ...this.#report(found, results), lostKeys, shadowed };
    if (lost.length > 0 && onLoss === 'refuse') {
      return refused(
        { ...plan, missingConsent: ['loss'] },
        `Rows would be lost, which onLoss refuse rules out. Allow it with --on-loss mark, or restore ${found.path} from a backup.`,
      );
    }
    if (shadowed > 0 && !acceptResurrection) {
      const what = `${shadowed} keys of lost ranges have older versions, which would be read instead`;
      return refused(
        { ...plan, missingConsent: ['resurrection'] },
        `${what} (by SlateDB without any notice). Allow it with --accept-resurrection.`,
      );
    }
    const pieces = piecesOf(found, results);
    const rowCount = pieces.reduce((n, piece) => n + (isBlock(piece) ? piece.rowCount : piece.length), 0);
    const tables = rowCount === 0 ? [] : [this.#plannedTable(found, pieces, rowCount)];
    return {
      ...plan,
      damaged: [damagedObject(found.path, 'main', found.bytes)],
      losses: lost.map((r) => this.#loss(found, r)),
      tables,
      dropped: rowCount === 0 ? [found.id] : [],
      nextSteps: lost.length === 0 ? [DOCTOR] : [LIST_LOSSES, DOCTOR],
      edit: (newest: Manifest, { tables: made }: MadeParts) => replaceTable(newest, found.id, made[0]),
    };
  }

  #report(found: Found, results: GapResult[]): RepairPlan {
    const sum = (of: (r: GapResult) => number) => results.reduce((n, r) => n + of(r), 0);
    const kept = found.blocks.filter((b) => isTrusted(b, this.#choices));
    const probable = kept.filter((b) => b.trust === 'probable').reduce((n, b) => n + readableBlock(b).rowCount, 0);
    const inBlocks = kept.reduce((n, b) => n + readableBlock(b).rowCount, 0);
    const lost = sum((r) => r.lostRows);
    const isBounded = results.every((r) => r.lostAtMost !== undefined);
    const lostAtMost = isBounded ? sum((r) => r.lostAtMost as number) : undefined;
    const expected = expectedRows(found);
    const seqs = found.tail === undefined || found.tail.isForeign ? undefined : found.tail.seal?.lineage;
    const hasLoss = results.some((r) => r.lostKeys.length > 0);
    const isRepaired = kept.some((b) => b.trust !== 'good');
    const outcome = hasLoss ? 'salvaged' : results.length > 0 || !isRepaired ? 'reconstructed' : 'healed';
    return {
      ...emptyPlan(outcome, found.findings),
      rows: {
        ...(expected !== undefined && { expected }),
        recovered: inBlocks + sum((r) => r.rows.length),
        probable,
        suspect: sum((r) => r.suspectRows),
        lost,
        ...(lostAtMost !== undefined && { lostAtMost }),
        lostExact: results.every((r) => r.isExact),
      },
      lostSeqs: hasLoss && seqs !== undefined ? [{ min: BigInt(seqs.minSeq), max: BigInt(seqs.maxSeq) }] : [],
    };
  }

  #loss(found: Found, result: GapResult): Loss {
    const { lostKeys, lostRows, isExact } = result;
    const isAccepted = this.#choices.onLoss === 'accept';
    const lineage = found.tail?.isForeign === false ? found.tail.seal?.lineage : undefined;
    const { lastL0Seq } = this.#view.manifest.manifest;
    return {
      id: findingOf(found, result).id,
      object: found.path,
      level: found.place.level,
      keys: lostKeys,
      // Without a bound whatever is written from now on would count as perhaps older than what was lost.
      seqs: [{ min: BigInt(lineage?.minSeq ?? 0), max: BigInt(lineage?.maxSeq ?? lastL0Seq) }],
      rows: lostRows,
      exact: isExact,
      state: isAccepted ? 'acknowledged' : 'open',
      ...(isAccepted && { note: 'accepted with the repair' }),
    };
  }

  /** Keys of lost ranges, without those found again, of which older sources have versions. */
  async #countShadowed({ place }: Found, results: GapResult[]): Promise<number> {
    const keys = new Set<string>();
    for (const { lostKeys, rows } of results) {
      const known = new Set(rows.map((row) => textOf(row.key)));
      for (const range of lostKeys) {
        const older = await rowsOfOthers(this.#view.target.stores.main, place.older, range);
        // What cannot be read may hold such keys.
        if (older === undefined) keys.add('unknown');
        for (const row of older ?? []) if (!known.has(textOf(row.key))) keys.add(textOf(row.key));
      }
    }
    return keys.size;
  }

  #plannedTable(found: Found, pieces: RowPiece[], rowCount: number): PlannedTable {
    const { tail } = found;
    const parts = tail ?? emptyTail(found);
    const { filter, ...inferred } = inferSettings(parts, found.blocks, expectedRows(found) ?? rowCount);
    const settings = { ...inferred, filter: { ...filter, form: this.#choices.filterForm ?? filter.form } };
    return {
      replaces: found.id,
      summary: { rows: rowCount, content: digestOf(pieces) },
      build: (how) => buildRepairedTable(pieces, parts, settings, lineageOf(found), how),
    };
  }
}

function textOf(key: Uint8Array): string {
  return Buffer.from(key).toString('latin1');
}

function emptyPlan(outcome: RepairReport['outcome'], before: Finding[]): RepairPlan {
  return {
    outcome,
    before,
    rows: { recovered: 0, probable: 0, suspect: 0, lost: 0, lostAtMost: 0, lostExact: true },
    lostKeys: [],
    lostSeqs: [],
    shadowed: 0,
    nextSteps: [],
    damaged: [],
    losses: [],
    tables: [],
    dropped: [],
    edit: () => undefined,
  };
}

/** Nothing is done, unless a consent was given that was not. */
function refused(plan: RepairPlan, why: string): RepairPlan {
  const outcome = plan.missingConsent === undefined ? 'unrecoverable' : 'consent-needed';
  return { ...plan, outcome, nextSteps: [why] };
}

function refIn({ tree }: TreePlace, id: Ulid): TableRef {
  return present(
    viewsOfTree(tree).find((view) => view.table.id === id),
    'a table is in the tree in which it was found',
  ).table;
}

/** SlateDB 0.12.1 takes such a filter for one of its own and misses rows, whatever a manifest says about it. */
function hasCompositeFilter(tail: TableAnatomy | undefined): boolean {
  return tail?.info !== undefined && tail.info.filterLength > 0 && tail.info.filterForm === 'composite';
}

/** What the table had, as far as anything says it. */
function expectedRows({ tail, blocks }: Found): number | undefined {
  if (tail === undefined || tail.isForeign) return undefined;
  const stated = tail.seal?.lineage?.rows;
  if (stated !== undefined) return stated;
  if (tail.stats !== undefined) return countedRows(tail.stats);
  return blocks.every((b) => b.block !== undefined)
    ? blocks.reduce((n, b) => n + readableBlock(b).rowCount, 0)
    : undefined;
}

/** Stands for the tail of an object that is gone. */
function emptyTail({ ref, path, id }: Found): TableAnatomy {
  const known = { id, path, info: ref.info, formatVersion: ref.formatVersion };
  const object = { role: 'table' as const, path, id, sealed: false };
  return { ...unreadTable(known, ref.info.indexOffset, 'repair'), object, formatVersion: 2 };
}

/** That of the old table; the builder fills in what depends on the rows. */
function lineageOf({ tail, place }: Found): LineageRecord | undefined {
  const old = tail === undefined || tail.isForeign ? undefined : tail.seal?.lineage;
  if (old !== undefined || place.level === 'run') return old;
  return { level: 'l0', minSeq: 0, maxSeq: 0, maxCreateTs: Number.NEGATIVE_INFINITY, rows: 0, replayAfterWalId: 0 };
}

/** Rows in order: kept blocks, and what was found again in the gaps between them. */
function piecesOf(found: Found, results: readonly GapResult[]): RowPiece[] {
  const pieces: RowPiece[] = [];
  const inGap = new Map<number, GapResult>();
  for (const r of results) for (const b of r.gap.blocks) inGap.set(b.index, r);
  const done = new Set<GapResult>();
  const addGap = (r: GapResult) => {
    if (done.has(r)) return;
    done.add(r);
    if (r.rows.length > 0) pieces.push(r.rows);
  };
  for (const b of found.blocks) {
    const gap = inGap.get(b.index);
    if (gap !== undefined) addGap(gap);
    else pieces.push(readableBlock(b));
  }
  for (const r of results) addGap(r);
  return pieces;
}

function digestOf(pieces: readonly RowPiece[]): string {
  const parts = pieces.map((piece) =>
    isBlock(piece)
      ? sha256Hex(piece.bytes)
      : sha256Hex(
          Buffer.concat(
            piece.flatMap((row) => [
              row.key,
              row.value,
              Buffer.from(`${row.seq} ${row.flags} ${row.createTs} ${row.expireTs};`),
            ]),
          ),
        ),
  );
  return sha256Hex(Buffer.from(parts.join()));
}

/** The finding that a loss is known by. */
function findingOf({ findings }: Found, { gap }: GapResult): Finding {
  const index = gap.blocks[0]?.index;
  return findings.find((f) => f.at.unit === 'block' && f.at.index === index) ?? findings[0];
}

// ---- the manifest

/** The manifest with the table replaced, or without it; undefined if it does not name it. */
function replaceTable(newest: Manifest, id: Ulid, made: TableRef | undefined): Manifest | undefined {
  return changeTable(newest, id, (view) => {
    if (made === undefined || !isVisible(view, made.info)) return undefined;
    return { ...view, viewId: newest.headerVersion === 1 ? made.id : view.viewId, table: made };
  });
}

function isVisible({ visibleRange }: TableView, { firstEntry, lastEntry }: TableInfo): boolean {
  if (visibleRange === undefined || firstEntry === undefined || lastEntry === undefined) return true;
  const { start, end } = visibleRange;
  if (start.kind !== 'unbounded') {
    const c = compareBytes(lastEntry, start.key);
    if (c < 0 || (c === 0 && start.kind === 'excluded')) return false;
  }
  if (end.kind === 'unbounded') return true;
  const c = compareBytes(firstEntry, end.key);
  return c < 0 || (c === 0 && end.kind === 'included');
}
