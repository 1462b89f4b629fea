/**
 * L0 tables made of what is kept of a log: whole objects in the order of their sequence numbers, as many to a table as fit.
 *
 * Objects whose sequence numbers overlap go into one table, so that tables stand in L0 in the order of their rows. Rows are
 * read again when a table is built: a log of any size fits into memory.
 */
import { compareBytes } from '../common/bytes.ts';
import { ConflictError } from '../common/errors.ts';
import { ulidToBytes } from '../common/ulid.ts';
import { loadCodec } from '../format/codecs.ts';
import type { Manifest, TableRef } from '../format/manifest-types.ts';
import { encodeSeal } from '../format/seal.ts';
import type { TableFacts } from '../format/table-builder.ts';
import { Memtable } from '../lsm/memtable/memtable.ts';
import { buildFlushedTable } from '../lsm/read/memtable-to-table.ts';
import { RETAIN_ALL } from '../lsm/rows/visibility.ts';
import { type LogObject, readLogObject } from '../recovery/log-damage.ts';
import { type Acceptance, batchesOf, isGap } from '../recovery/wal-batches.ts';
import { isKept, type LogPiece } from '../recovery/wal-loss.ts';
import { rowsOfBlock, underOwnId, type WalRow } from '../recovery/wal-salvage.ts';
import type { PlannedTable, TableNaming } from './repair-plan.ts';
import type { ToolTarget } from './target.ts';

/** SlateDB's default of `l0_sst_size_bytes`. */
const TABLE_BYTES = 64 * 1024 * 1024;
const BLOCK_BYTES = 4096;
const FILTER = { form: 'legacy' as const, bitsPerKey: 10, minKeys: 1000 };

/** An object that brings rows. */
export interface LogSource {
  /** Where its rows belong, and where they are. */
  id: number;
  readFrom: number;
  minSeq: number;
  maxSeq: number;
  /** Those that are kept of it. */
  rows: number;
  /** Of the object, not compressed. */
  bytes: number;
}

export interface RowChoice {
  accept: Acceptance;
  keepPartial: boolean;
  /** Only rows with sequence numbers between these two, both excluded. */
  above: number;
  below: number;
  manifest: Manifest;
}

/** What an object brings; undefined if it has no rows that are needed. `object` must have its rows. */
export function sourceOf(
  object: LogObject,
  readFrom: number,
  { sound, parts }: LogPiece,
  choice: Pick<RowChoice, 'keepPartial' | 'above'>,
): LogSource | undefined {
  const { id } = object;
  const blocks = object.result?.object?.blocks ?? object.salvaged?.blocks.flatMap((b) => b.block ?? []) ?? [];
  const bytes = blocks.reduce((n, b) => n + b.bytes.length, 0);
  if (sound !== undefined) {
    const { rows, min, max } = sound;
    return rows === 0 ? undefined : { id, readFrom, minSeq: min, maxSeq: max, rows, bytes };
  }
  const kept = (parts ?? []).flatMap((p) => (!isGap(p) && isKept(p, choice) && p.seq > choice.above ? [p] : []));
  if (kept.length === 0) return undefined;
  return {
    id,
    readFrom,
    minSeq: kept.reduce((min, p) => Math.min(min, p.seq), Number.POSITIVE_INFINITY),
    maxSeq: kept.reduce((max, p) => Math.max(max, p.seq), 0),
    rows: kept.reduce((n, p) => n + p.rows.length, 0),
    bytes: Math.max(bytes, object.salvaged?.sizeBytes ?? 0),
  };
}

export interface LogTable extends PlannedTable {
  /** Greatest create time of its rows, ms; known once it was built. */
  maxCreateTs(): number;
}

/** The tables to write, oldest first. */
export function planTables(target: ToolTarget, sources: readonly LogSource[], choice: RowChoice): LogTable[] {
  const wanted = sources.filter((s) => s.maxSeq > choice.above && s.minSeq < choice.below);
  return grouped(wanted).map((group) => planTable(target, group, choice));
}

function grouped(sources: readonly LogSource[]): LogSource[][] {
  const groups: LogSource[][] = [];
  let bytes = 0;
  let maxSeq = 0;
  for (const source of [...sources].sort((a, b) => a.minSeq - b.minSeq || a.id - b.id)) {
    const isFull = groups.length === 0 || bytes + source.bytes > TABLE_BYTES;
    if (groups.length === 0 || (isFull && source.minSeq > maxSeq)) {
      groups.push([]);
      bytes = 0;
    }
    groups[groups.length - 1].push(source);
    bytes += source.bytes;
    maxSeq = Math.max(maxSeq, source.maxSeq);
  }
  return groups;
}

function planTable(target: ToolTarget, sources: readonly LogSource[], choice: RowChoice): LogTable {
  let maxCreateTs = 0;
  return {
    replaces: undefined,
    summary: { from: sources.map((s) => `${s.id}:${s.minSeq}-${s.maxSeq}`).join(' '), below: String(choice.below) },
    maxCreateTs: () => maxCreateTs,
    build: async (how) => {
      const table = new Memtable();
      for (const cluster of clusters(sources)) await addRows(target, cluster, choice, table);
      maxCreateTs = Math.max(0, table.maxCreateTs);
      table.freeze();
      return write(target, table, sources, choice, how);
    },
  };
}

/** Sources whose sequence numbers overlap, together. */
function clusters(sources: readonly LogSource[]): LogSource[][] {
  const result: LogSource[][] = [];
  let maxSeq = 0;
  for (const source of sources) {
    if (result.length === 0 || source.minSeq > maxSeq) result.push([]);
    result[result.length - 1].push(source);
    maxSeq = Math.max(maxSeq, source.maxSeq);
  }
  return result;
}

async function addRows(
  target: ToolTarget,
  cluster: readonly LogSource[],
  choice: RowChoice,
  table: Memtable,
): Promise<void> {
  const rows: WalRow[] = [];
  // In the order of ids: where two objects have the same row, the later one counts, as in a replay.
  for (const source of [...cluster].sort((a, b) => a.id - b.id)) {
    let count = 0;
    for (const row of rowsOf(await readSource(target, source), choice)) {
      if (row.seq <= choice.above) continue;
      count++;
      if (row.seq < choice.below) rows.push(row);
    }
    if (count !== source.rows) throw changed(source);
  }
  rows.sort((a, b) => a.seq - b.seq);
  for (const row of withoutDuplicates(rows)) {
    table.add(row.key, row.value, row.seq, row.flags, row.createTs, row.expireTs);
  }
}

async function readSource({ stores, clock }: ToolTarget, source: LogSource): Promise<LogObject> {
  const read = await readLogObject(stores.wal, clock, source.readFrom);
  if (source.readFrom === source.id) return read;
  const salvaged = read.salvaged === undefined ? undefined : underOwnId(read.salvaged);
  if (salvaged?.id !== source.id) throw changed(source);
  return { ...read, id: source.id, result: undefined, salvaged };
}

function changed({ readFrom }: LogSource): ConflictError {
  return new ConflictError('PLAN_CHANGED', `WAL object ${readFrom} is not what it was when the repair was planned.`);
}

/** Rows of an object that are kept: all of a sound one, those of whole batches of a damaged one. */
function* rowsOf({ result, salvaged }: LogObject, choice: RowChoice): Generator<WalRow> {
  const object = result?.object ?? salvaged?.object;
  if (object !== undefined) {
    for (const block of object.blocks) yield* rowsOfBlock({ state: 'good', block, rows: [] });
    return;
  }
  if (salvaged === undefined) return;
  for (const part of batchesOf(salvaged, choice.accept)) {
    if (!isGap(part) && isKept(part, choice)) yield* part.rows;
  }
}

/** Of rows with one key and sequence number the last. `rows` ascend by sequence number. */
function withoutDuplicates(rows: readonly WalRow[]): WalRow[] {
  const result: WalRow[] = [];
  for (let from = 0; from < rows.length; ) {
    let to = from + 1;
    while (to < rows.length && rows[to].seq === rows[from].seq) to++;
    const batch = rows.slice(from, to);
    if (batch.length > 1) {
      const order = batch.map((_, i) => i).sort((a, b) => compareBytes(batch[a].key, batch[b].key) || b - a);
      const twins = new Set(order.filter((i, n) => n > 0 && compareBytes(batch[i].key, batch[order[n - 1]].key) === 0));
      result.push(...batch.filter((_, i) => !twins.has(i)));
    } else result.push(batch[0]);
    from = to;
  }
  return result;
}

async function write(
  target: ToolTarget,
  table: Memtable,
  sources: readonly LogSource[],
  { manifest }: RowChoice,
  { id, putId, author, epoch, newestManifestId, repair }: TableNaming,
): Promise<{ bytes: Uint8Array; table: TableRef }> {
  const codec = await loadCodec(manifest.l0[0]?.table.info.codec ?? 'none');
  const seal = (facts: TableFacts) =>
    encodeSeal({
      kind: 'table',
      identity: author.identity({
        objectId: ulidToBytes(id),
        putId,
        epoch,
        newestManifestId,
        formatVersion: 2,
        codec: codec.name,
      }),
      lineage: {
        level: 'l0',
        minSeq: facts.minSeq,
        maxSeq: facts.maxSeq,
        maxCreateTs: facts.maxCreateTs,
        rows: facts.rowCount,
        replayAfterWalId: sources.reduce((last, s) => Math.max(last, s.id), 0),
      },
      rows: facts.rows,
      expiry: facts.expiry,
      repair,
    });
  const built = await buildFlushedTable(
    table,
    { barrier: RETAIN_ALL, expiredAtMs: undefined },
    { blockBytes: BLOCK_BYTES, codec, filter: FILTER },
    target.clock,
    seal,
  );
  if (built === undefined) throw changed(sources[0]);
  return { bytes: built.bytes, table: { id, info: built.info, formatVersion: 2 } };
}
