/**
 * Makes WAL objects out of rows of a memtable. Rows keep their order of arrival; every row has a check of its own in the
 * seal, because a WAL object has no second copy of its rows.
 *
 * Invariants:
 * 1. An object holds the rows of a group that are in the memtable, each once.
 * 2. Nothing is written without its seal, which names the rows that are there. A fence has none.
 */
import { assertThat } from '../../common/assert.ts';
import { runSliced } from '../../common/async.ts';
import { makeUlid, type Ulid } from '../../common/ulid.ts';
import type { BlockCodec } from '../../format/codecs.ts';
import { encodeSeal, sealDigest } from '../../format/seal.ts';
import { numberObjectId, type WalRecord } from '../../format/seal-records.ts';
import { TableBuilder } from '../../format/table-builder.ts';
import type { FilterForm } from '../../format/table-info.ts';
import type { Author } from '../manifest/author.ts';
import type { Memtable } from '../memtable/memtable.ts';
import type { WalDigest } from './wal-object.ts';

/** Rows handed to the builder before the clock is looked at again: about 0.1 ms. */
const ROWS_PER_STEP = 256;
const NO_DIGEST = new Uint8Array(16);

export interface WalFormat {
  blockBytes: number;
  codec: BlockCodec;
  /** What the info block says about the filter, which no WAL object has. */
  filterForm: FilterForm;
}

export interface WalObjectFacts {
  id: number;
  epoch: number;
  newestManifestId: number;
  predecessor: WalDigest | undefined;
}

export interface EncodedWalObject {
  bytes: Uint8Array;
  putId: Ulid;
  digest: WalDigest;
}

function walRecord(
  facts: WalObjectFacts,
  rest: Pick<WalRecord, 'firstSeq' | 'lastSeq' | 'rows' | 'batches'>,
): WalRecord {
  return {
    predecessorKind: facts.predecessor?.kind ?? 'unknown',
    predecessorDigest: facts.predecessor?.bytes ?? NO_DIGEST,
    ...rest,
  };
}

/** Entries `from` up to, not including, `to` of a memtable. */
export interface WalRows {
  table: Memtable;
  from: number;
  to: number;
  /** Estimated size of the object. */
  bytes: number;
}

/** The WAL object of some rows, in `memory` if it is given and large enough. Works in slices. */
export async function encodeWalObject(
  rows: WalRows,
  facts: WalObjectFacts,
  format: WalFormat,
  author: Author,
  memory?: Uint8Array,
): Promise<EncodedWalObject> {
  assertThat(rows.from >= 0 && rows.from < rows.to, 'an object of the log has rows (wal-writer 1)', {
    from: rows.from,
    to: rows.to,
  });
  assertThat(rows.to <= rows.table.rowCount, 'rows are in the memtable before they are in the log (wal-writer 1)');
  const builder = new TableBuilder({
    tableType: 'wal',
    blockBytes: format.blockBytes,
    codec: format.codec,
    filter: { form: format.filterForm, bitsPerKey: 1, minKeys: 0 },
    rowsPerCheck: 1,
    capacityBytes: rows.bytes + 1024,
    capacityRows: rows.to - rows.from,
    ...(memory !== undefined && { memory }),
  });
  const { table, to } = rows;
  let id = rows.from;
  await runSliced(author.clock, () => {
    const end = Math.min(to, id + ROWS_PER_STEP);
    table.addRangeTo(builder, id, end);
    id = end;
    return id === to;
  });
  assertThat(builder.rowCount === to - rows.from, 'every row of a group is in its object once (wal-writer 1)');
  await runSliced(author.clock, () => builder.finishStep());
  const putId = makeUlid(author.clock.nowMs(), author.random);
  let seal: Uint8Array = NO_DIGEST;
  const built = builder.finish((f) => {
    assertThat(f.batches >= 1 && f.batches <= f.rowCount, 'a batch has a row of its own at least');
    assertThat(f.minSeq >= table.firstSeq && f.maxSeq <= table.lastSeq, 'the seal names numbers of the memtable');
    seal = encodeSeal({
      kind: 'wal',
      identity: author.identity({
        objectId: numberObjectId(facts.id),
        putId,
        epoch: facts.epoch,
        newestManifestId: facts.newestManifestId,
        formatVersion: 2,
        codec: format.codec.name,
      }),
      wal: walRecord(facts, { firstSeq: f.minSeq, lastSeq: f.maxSeq, rows: f.rowCount, batches: f.batches }),
      rows: f.rows,
    });
    return seal;
  });
  assertThat(seal !== NO_DIGEST && built.bytes.length > seal.length, 'no object is written without its seal');
  return { bytes: built.bytes, putId, digest: { kind: 'seal', bytes: sealDigest(seal) } };
}

/** Stored bytes of a row besides key and value: header, sequence number, flags, one timestamp, check, index share. */
export const ROW_OVERHEAD_BYTES = 40;

/** A fence: a complete empty table, which every SlateDB can read, or zero bytes, which those from 0.14 on write. */
export function encodeFence(
  facts: WalObjectFacts & { lastSeq: number },
  form: 'table' | 'zero-bytes',
  codec: BlockCodec,
  author: Author,
): EncodedWalObject {
  const putId = makeUlid(author.clock.nowMs(), author.random);
  if (form === 'zero-bytes') {
    const bytes = new Uint8Array(0);
    return { bytes, putId, digest: { kind: 'object', bytes: sealDigest(bytes) } };
  }
  const builder = new TableBuilder({
    tableType: 'compacted',
    blockBytes: 4096,
    codec,
    rowsPerCheck: 0,
    capacityBytes: 512,
  });
  while (!builder.finishStep());
  assertThat(builder.rowCount === 0, 'a fence has no rows');
  let seal: Uint8Array = NO_DIGEST;
  const built = builder.finish(() => {
    seal = encodeSeal({
      kind: 'fence',
      identity: author.identity({
        objectId: numberObjectId(facts.id),
        putId,
        epoch: facts.epoch,
        newestManifestId: facts.newestManifestId,
        formatVersion: 2,
        codec: codec.name,
      }),
      wal: walRecord(facts, { firstSeq: facts.lastSeq, lastSeq: facts.lastSeq, rows: 0, batches: 0 }),
      owner: { hostPid: author.owner },
    });
    return seal;
  });
  return { bytes: built.bytes, putId, digest: { kind: 'seal', bytes: sealDigest(seal) } };
}
