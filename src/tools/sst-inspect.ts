/**
 * `sstInspect`: everything that one table records about itself, block by block, with a diagnosis of what is damaged.
 *
 * Reads and never writes; works on databases that open refuses and on bytes that may be a table. The whole object is held in
 * memory. Costs one LIST, a GET per manifest that may name the table, and one GET of the table, two if it is damaged.
 */
import { compareBytes, copyBytes, equalBytes, toHex } from '../common/bytes.ts';
import { locateFindings } from '../common/damage.ts';
import { CorruptionError, IncompatibleError, InvalidArgumentError } from '../common/errors.ts';
import type { Finding } from '../common/finding.ts';
import {
  bool,
  bytes,
  type ChecksOf,
  checkedOptions,
  describeValue,
  members,
  oneOf,
  readingArgument,
  whole,
} from '../common/option-checks.ts';
import { type Ulid, ulidFromBytes } from '../common/ulid.ts';
import type { Block } from '../format/block.ts';
import { MAX_BLOCK_BYTES } from '../format/block.ts';
import { BlockCursor } from '../format/block-cursor.ts';
import type { BlockPlace } from '../format/block-places.ts';
import { CRC_BYTES } from '../format/framing.ts';
import { tableIdOfName, tablePath } from '../format/object-names.ts';
import { operationOf } from '../format/row-flags.ts';
import { salvageBlock, suspectRows } from '../format/salvage.ts';
import { CODECS, isSameTable, type TableInfo } from '../format/table-info.ts';
import {
  dissectTail,
  findBlocks,
  type KnownTable,
  missingTable,
  type TableAnatomy,
} from '../lsm/table/table-anatomy.ts';
import { absentParentFinding, absentParents, ofParent } from '../lsm/tree/parents.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { diagnoseBlock, healedText } from './block-diagnosis.ts';
import { assertFileKind } from './file-kind.ts';
import { type DatabaseView, type NamedTable, parentsNamed, readDatabaseView } from './named-tables.ts';
import type { BlockReport, SstReport, SstRow, Trust } from './reports.ts';
import { countChecks, edgeKeys, RowAudit } from './row-audit.ts';
import { blockFinding, type ExaminedBlock, examineBlock, keysOf, paddingNote, readableBlock } from './table-blocks.ts';
import { type Target, TOOL_CHECKS, type ToolOptions, type ToolTarget, withTarget } from './target.ts';

/** Options of `sstInspect`. */
export interface SstInspectOptions extends ToolOptions {
  /** Adds the rows, those of damaged blocks with how far they can be trusted. Default false. */
  rows?: boolean;
  /** Adds the stored bytes of damaged blocks as hexadecimal digits, at most 65,536 bytes of each. Default false. */
  hexOfBad?: boolean;
}

/** What to inspect: the ULID or the path of a table, or bytes that may be one, with its info block if that is known. */
export type Inspected =
  | string
  | {
      /** The whole object. */
      bytes: Uint8Array;
      /** As the manifest has it; where it is absent the object's own is used. */
      info?: TableInfo;
    };

const CHECKS: ChecksOf<SstInspectOptions> = { ...TOOL_CHECKS, rows: bool, hexOfBad: bool };

const place = whole(0, Number.MAX_SAFE_INTEGER);
const INFO_CHECKS: ChecksOf<TableInfo> = {
  firstEntry: bytes,
  lastEntry: bytes,
  indexOffset: place,
  indexLength: place,
  filterOffset: place,
  filterLength: place,
  codec: oneOf(CODECS),
  tableType: oneOf(['compacted', 'wal']),
  statsOffset: place,
  statsLength: place,
  filterForm: oneOf(['legacy', 'composite']),
};
const REQUIRED_INFO = Object.keys(INFO_CHECKS).filter((name) => name !== 'firstEntry' && name !== 'lastEntry');
const INSPECTED = members({ bytes, info: members(INFO_CHECKS, REQUIRED_INFO) }, ['bytes']);

const MOST_HEX_BYTES = 65_536;

/**
 * Reports on one table. Resolves however damaged it is; a missing table that a manifest names is a report with that finding.
 * Rejects with `InvalidArgumentError` for a name that is no table's, for bytes that are empty, text or an object of another kind, and
 * where nothing of a database is, `IncompatibleError` `CODEC_MISSING`.
 *
 * Three requests for the newest manifest, a GET for each one that a checkpoint keeps, and one GET of the whole table; for bytes none.
 */
export async function sstInspect(t: Target, what: Inspected, given: SstInspectOptions = {}): Promise<SstReport> {
  const o = checkedOptions('sstInspect', given, CHECKS);
  if (typeof what === 'object' && what !== null) {
    const { bytes, info } = inspectedBytes(what);
    if (info === undefined) assertFileKind(bytes, 'table');
    return inspectBytes(bytes, { path: '', ...(info !== undefined && { info }) }, o);
  }
  const id = tableIdOf(what);
  return withTarget(t, o, (target) => inspectNamed(target, id, o));
}

/** Bytes as the caller gave them, copied. */
function inspectedBytes(what: object): { bytes: Uint8Array; info?: TableInfo } {
  const faults: string[] = [];
  const own = readingArgument('sstInspect', () => INSPECTED(what, 'the table', faults));
  if (faults.length > 0) {
    const message = `sstInspect needs the name of a table, or { bytes, info? }: ${faults.join('; ')}.`;
    throw new InvalidArgumentError('BAD_ARGUMENT', message);
  }
  return own as { bytes: Uint8Array; info?: TableInfo };
}

/** The ULID in a table's name or path. */
export function tableIdOf(name: unknown): Ulid {
  if (typeof name !== 'string') {
    throw new InvalidArgumentError(
      'BAD_ARGUMENT',
      `A table is named by its ULID or path, not by ${describeValue(name)}.`,
    );
  }
  const id = tableIdOfName(name);
  if (id !== undefined) return id;
  const message = `${JSON.stringify(name)} is no table: a table is named by 26 digits and capital letters (its ULID).`;
  throw new InvalidArgumentError('BAD_ARGUMENT', message);
}

interface FoundTable {
  view: DatabaseView;
  named: NamedTable | undefined;
  known: KnownTable;
  store: ObjectStore;
  /** Absent: the object is not there. */
  bytes: Uint8Array | undefined;
}

/** The table as the manifests and the store know it. Rejects if neither does. */
export async function findTable(target: ToolTarget, id: Ulid): Promise<FoundTable> {
  const { stores, signal } = target;
  let view = await readDatabaseView(stores, 'checkpoints', 'check', signal);
  if (!view.tables.has(id)) view = await readDatabaseView(stores, 'all', 'check', signal);
  const named = view.tables.get(id);
  const path = named?.path ?? tablePath(id);
  const store = named?.store ?? stores.main;
  const known: KnownTable = {
    id,
    path,
    ...(named !== undefined && { info: named.ref.info, formatVersion: named.ref.formatVersion }),
  };
  const got = await store.get(path, signal === undefined ? {} : { signal });
  if (got === undefined && named === undefined && view.incompatible !== undefined) throw view.incompatible;
  if (got === undefined && named === undefined) {
    throw view.ids.length === 0
      ? new InvalidArgumentError('NOT_A_DATABASE', `${target.where}: there is no database here; check the location.`)
      : new InvalidArgumentError(
          'BAD_ARGUMENT',
          `${target.where}: no manifest names table ${id}, and it is not there.`,
        );
  }
  return { view, named, known, store, bytes: got?.bytes };
}

async function inspectNamed(target: ToolTarget, id: Ulid, o: SstInspectOptions): Promise<SstReport> {
  const found = await findTable(target, id);
  const { known, store, bytes } = found;
  const parent = found.named?.parent;
  const located = (report: SstReport): SstReport =>
    parent === undefined
      ? report
      : { ...report, findings: report.findings.map((f) => ofParent(f, target.stores.whole, parent)) };
  if (bytes === undefined) {
    const absent = parent === undefined ? undefined : await absentParent(target, found.view, parent);
    if (absent === undefined) return located(reportOfMissing(known));
    return { ...reportOfMissing(known), findings: [absent] };
  }
  const report = await inspectBytes(bytes, known, o);
  if (report.findings.length === 0) return report;
  // One bit on the way would look like damage at rest.
  const again = await store.get(known.path);
  if (again === undefined || equalBytes(again.bytes, bytes)) return located(report);
  return located(await inspectBytes(again.bytes, known, o));
}

/** The finding about the parent of a missing table, if nothing of that parent is found. */
async function absentParent({ stores }: ToolTarget, view: DatabaseView, path: string): Promise<Finding | undefined> {
  const used = parentsNamed(view).get(path) ?? 0;
  const [absent] = await absentParents(stores.whole, new Map([[path, used]]));
  return absent === undefined ? undefined : absentParentFinding(stores, absent, 'check');
}

function reportOfMissing(known: KnownTable): SstReport {
  const findings = [missingTable(known, 'check')];
  return {
    schemaVersion: 1,
    ...(known.id !== undefined && { id: known.id }),
    path: known.path,
    size: 0,
    sealed: false,
    findings,
    blocks: [],
  };
}

/** The parts of a table with all its blocks checked. */
export async function examineTable(bytes: Uint8Array, known: KnownTable, during: Finding['during']) {
  const tail = await dissectTail(bytes, 0, known, during);
  const { places, from } = await findBlocks(bytes, tail);
  const roomOf = ({ start, roomEnd }: BlockPlace) => bytes.subarray(start, Math.min(roomEnd, bytes.length));
  const blocks = places.map((place, i) => examineBlock(roomOf(place), i, place, tail));
  const findings = [...tail.findings];
  if (tail.tooNew !== undefined) return { tail, blocks, from, findings };
  const audit = new RowAudit(tail, {}, (error, offset, index) => {
    findings.push(
      ...locateFindings(error, { object: tail.object, during, offset, ...(index !== undefined && { index }) }),
    );
  });
  for (const b of blocks) {
    if (b.trust !== 'good') findings.push(blockFinding(b, keysOf(blocks, b.index, tail), tail));
    else audit.block(b.index, b.place, readableBlock(b));
    const note = paddingNote(roomOf(b.place), b, tail);
    if (note !== undefined) findings.push(note);
  }
  audit.finish(blocks.every((b) => b.trust === 'good'));
  return { tail, blocks, from, findings };
}

async function inspectBytes(bytes: Uint8Array, known: KnownTable, o: SstInspectOptions): Promise<SstReport> {
  const { tail, blocks, findings } = await examineTable(bytes, known, 'check');
  const displaced = new Set(findings.filter((f) => f.code === 'OUT_OF_ORDER').map((f) => f.at.index));
  const reports: BlockReport[] = [];
  for (const b of blocks) reports.push(await reportBlock(bytes, tail, b, displaced.has(b.index), o));
  const sealedId = tail.seal === undefined ? undefined : ulidFromBytes(tail.seal.identity.objectId);
  const id = known.id ?? sealedId;
  return {
    schemaVersion: 1,
    ...(id !== undefined && { id }),
    ...(known.path !== '' && { path: known.path }),
    size: bytes.length,
    sealed: tail.seal !== undefined,
    ...(tail.info !== undefined && { info: tail.info }),
    seal: reportSeal(tail),
    ...(known.info !== undefined &&
      tail.ownInfo !== undefined && {
        infoEqualsManifest: isSameTable(tail.ownInfo, known.info) && tail.ownInfo.filterForm === known.info.filterForm,
      }),
    ...reportFilter(tail),
    findings: isRecognised(tail, blocks) ? findings : findings.map(unrecognised),
    blocks: reports,
    ...(o.rows === true && { rows: rowsOf(tail, blocks) }),
  };
}

/** Whether any part of the bytes says that they are a table, or were one. */
function isRecognised({ info, seal }: TableAnatomy, blocks: readonly ExaminedBlock[]): boolean {
  return info !== undefined || seal !== undefined || blocks.length > 0;
}

/** Nothing is there from which a part could be made again. */
function unrecognised(finding: Finding): Finding {
  const summary =
    'Nothing in these bytes is recognised as part of a table: neither its end nor any block. Check that this is the right file, or restore the object from a backup.';
  const hint = { ...finding.hint, summary, lossIfRepaired: 'certain' as const };
  return { ...finding, severity: finding.severity === 'unknown' ? 'unknown' : 'error', remedy: 'none', hint };
}

function reportSeal({ seal, sealPlace }: TableAnatomy): NonNullable<SstReport['seal']> {
  if (sealPlace === undefined) return { offset: 0, length: 0, state: 'none' };
  const place = { offset: sealPlace.start, length: sealPlace.end - sealPlace.start };
  return seal === undefined ? { ...place, state: 'bad' } : { ...place, state: 'ok', seal };
}

function reportFilter({ filter, info }: TableAnatomy): Pick<SstReport, 'filter'> {
  if (filter === undefined || info === undefined) return {};
  let ones = 0;
  for (const byte of filter.bits) for (let rest = byte; rest !== 0; rest &= rest - 1) ones++;
  const bits = filter.bits.length * 8;
  const estimatedFalsePositives = (ones / bits) ** filter.probes;
  return { filter: { kind: `bloom, ${info.filterForm}`, bits, probes: filter.probes, estimatedFalsePositives } };
}

async function reportBlock(
  bytes: Uint8Array,
  tail: TableAnatomy,
  b: ExaminedBlock,
  isDisplaced: boolean,
  o: SstInspectOptions,
): Promise<BlockReport> {
  const { place, block, trust, healed, proof, error } = b;
  const isCrcGood = trust === 'good' || !(error instanceof CorruptionError && FAILED_CRC.includes(error.code));
  const diagnosis =
    trust === 'good'
      ? isDisplaced
        ? 'another block of rows: its keys do not belong here'
        : undefined
      : healed !== undefined
        ? healedText(healed)
        : trust === 'verified'
          ? error?.message
          : await diagnoseBlock(bytes, tail, place);
  const stored = bytes.subarray(place.start, Math.min(place.end, bytes.length));
  const edges = block === undefined ? undefined : edgeKeys(block);
  return {
    offset: place.start,
    storedBytes: stored.length,
    ...(place.roomEnd > place.end && { paddingBytes: place.roomEnd - place.end }),
    ...(block !== undefined && { rawBytes: block.bytes.length, rows: block.rowCount }),
    ...(edges !== undefined && { firstKey: edges.first, lastKey: edges.last }),
    crc: isCrcGood ? 'ok' : 'bad',
    ...(proof !== undefined && { checks: checksOf(b) }),
    ...(diagnosis !== undefined && { diagnosis }),
    ...(o.hexOfBad === true && trust !== 'good' && { hex: toHex(stored.subarray(0, MOST_HEX_BYTES)) }),
  };
}

const FAILED_CRC = ['BAD_CHECKSUM', 'TRUNCATED'];

/** Of a damaged block: those under which rows were verified. */
function checksOf({ block, proof, stored, trust }: ExaminedBlock): { good: number; bad: number } {
  if (proof === undefined) return { good: 0, bad: 0 };
  if (block !== undefined && trust === 'good') return countChecks(block, proof);
  const { checks, rowsPerCheck } = proof;
  if (rowsPerCheck === 0 || block === undefined) return { good: 0, bad: checks.length };
  return stored.length === 0 ? { good: 0, bad: checks.length } : countChecks(block, proof);
}

/** Rows in stored order; of a damaged block those that can be recognised. */
async function* rowsOf(tail: TableAnatomy, blocks: readonly ExaminedBlock[]): AsyncGenerator<SstRow> {
  for (const b of blocks) {
    if (b.block !== undefined) yield* rowsOfBlock(b.block, b.index, b.trust as Trust);
    else yield* rowsOfBad(tail, b);
  }
}

function* rowsOfBlock(block: Block, index: number, trust: Trust): Generator<SstRow> {
  const rows = new BlockCursor();
  rows.attach(block);
  let ordinal = 0;
  for (let more = rows.first(); more; more = rows.next()) {
    const key = copyBytes(rows.key.subarray(0, rows.keyLength));
    yield { block: index, ordinal: ordinal++, key, seq: BigInt(rows.seq), op: operationOf(rows.flags), trust };
  }
}

function* rowsOfBad(tail: TableAnatomy, b: ExaminedBlock): Generator<SstRow> {
  if (b.stored.length <= CRC_BYTES || b.error instanceof IncompatibleError) return;
  const payload = b.stored.subarray(0, b.stored.length - CRC_BYTES);
  const how = { codec: tail.codec, formatVersion: tail.formatVersion, maxBytes: MAX_BLOCK_BYTES };
  const verified = b.proof === undefined ? [] : salvageBlock(payload, { ...how, proof: b.proof });
  const suspect = suspectRows(payload, { ...how, bounds: b.bounds, ...(b.proof !== undefined && { proof: b.proof }) });
  const all = [...verified, ...suspect.filter((s) => !verified.some((v) => v.ordinal === s.ordinal))];
  const sorted = all.sort((x, y) => compareBytes(x.key, y.key) || y.seq - x.seq);
  for (const row of sorted) {
    const { key, seq, flags, trust } = row;
    yield { block: b.index, ordinal: row.ordinal ?? -1, key, seq: BigInt(seq), op: operationOf(flags), trust };
  }
}
