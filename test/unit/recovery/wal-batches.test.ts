/** Which batches of a damaged WAL object count as whole, and what of a log is lost. */
import { describe, expect, it } from 'vitest';
import { crc32 } from '../../../src/format/checksum.ts';
import { NO_TS } from '../../../src/format/row-flags.ts';
import { findUnitEnd } from '../../../src/format/unit-walk.ts';
import { batchesOf, isGap } from '../../../src/recovery/wal-batches.ts';
import { computeLogLoss, type LogPiece } from '../../../src/recovery/wal-loss.ts';
import type { RowTrust, SalvagedWal, WalBlock, WalRow } from '../../../src/recovery/wal-salvage.ts';

const NONE = new Uint8Array(0);

function row(seq: number, ordinal: number | undefined, trust: RowTrust = 'verified'): WalRow {
  return { ordinal, key: NONE, value: NONE, seq, flags: 0, createTs: NO_TS, expireTs: NO_TS, trust };
}

/** A block of which these rows are left. */
function left(rows: WalRow[], more: Partial<WalBlock> = {}): WalBlock {
  const state = rows.length > 0 ? 'salvaged' : 'lost';
  return { offset: 0, length: 10, state, block: undefined, rows, rowCount: undefined, firstSeq: undefined, ...more };
}

function unsealed(blocks: WalBlock[], isComplete = true): SalvagedWal {
  return {
    id: 1,
    sizeBytes: 100,
    kind: 'rows',
    seal: undefined,
    blocks,
    isComplete,
    object: undefined,
    home: undefined,
  };
}

function states(object: SalvagedWal): string[] {
  return batchesOf(object, 'probable').map((p) => (isGap(p) ? 'gap' : `${p.seq} ${p.state}`));
}

describe('batches without a seal', () => {
  const whole = (...seqs: number[]) =>
    left(
      seqs.map((seq, i) => row(seq, i)),
      { rowCount: seqs.length },
    );

  it('are intact between rows that follow each other', () => {
    expect(states(unsealed([whole(1, 1, 2), whole(2, 3)]))).toEqual(['1 intact', '2 intact', '3 intact']);
  });

  it('are undecided beside a stretch that is gone', () => {
    expect(states(unsealed([whole(1, 2), left([]), whole(4, 5)]))).toEqual([
      '1 intact',
      '2 undecided',
      'gap',
      '4 undecided',
      '5 intact',
    ]);
  });

  it('are decided by where the index says that the stretch begins', () => {
    const gone = (firstSeq: number) => unsealed([whole(1, 2), left([], { firstSeq }), whole(4)]);
    expect(states(gone(3)).slice(0, 2)).toEqual(['1 intact', '2 intact']);
    expect(states(gone(2)).slice(0, 2)).toEqual(['1 intact', '2 partial']);
  });

  it('are partial with rows on both sides of the stretch', () => {
    expect(states(unsealed([whole(1, 2), left([]), whole(2, 3)]))).toEqual([
      '1 intact',
      '2 partial',
      'gap',
      '2 partial',
      '3 intact',
    ]);
  });

  it('at the end of what was found of an object are undecided', () => {
    expect(states(unsealed([whole(1, 2)], false))).toEqual(['1 intact', '2 undecided', 'gap']);
  });

  it('of rows that are not trusted enough are gaps', () => {
    expect(states(unsealed([whole(1), left([row(2, undefined, 'suspect')]), whole(3)]))).toEqual([
      '1 undecided',
      'gap',
      '3 undecided',
    ]);
  });
});

describe('the loss of a log', () => {
  const piece = (id: number, more: Partial<LogPiece>): LogPiece => ({
    id,
    sound: undefined,
    parts: undefined,
    held: undefined,
    isMisplaced: false,
    ...more,
  });
  const sound = (id: number, min: number, max: number) =>
    piece(id, { sound: { min, max, rows: max - min + 1, batches: undefined } });
  const options = { floorSeq: 0, knownSeq: 0, keepPartial: false, truncate: false };

  it('is what is between the neighbours of a missing object', () => {
    const loss = computeLogLoss([sound(1, 1, 3), piece(2, {}), sound(3, 6, 9)], options);
    expect(loss).toMatchObject({ lostSeqs: [{ min: 4, max: 5 }], lostRows: 2, lostExact: false, greatestSeq: 9 });
    expect(loss.losses).toEqual([{ id: 2, seqs: [{ min: 4, max: 5 }], rows: 2, exact: false }]);
  });

  it('is nothing where no number is missing', () => {
    expect(computeLogLoss([sound(1, 1, 3), piece(2, {}), sound(3, 4, 9)], options)).toMatchObject({
      lostSeqs: [],
      lostRows: 0,
    });
  });

  it('is not what tables have', () => {
    const loss = computeLogLoss([piece(1, {}), sound(2, 6, 9)], { ...options, floorSeq: 4 });
    expect(loss.lostSeqs).toEqual([{ min: 5, max: 5 }]);
  });

  it('reaches to the greatest number that anything names', () => {
    const loss = computeLogLoss([sound(1, 1, 3), piece(2, {})], { ...options, knownSeq: 7 });
    expect(loss).toMatchObject({ lostSeqs: [{ min: 4, max: 7 }], greatestSeq: 7 });
    expect(computeLogLoss([sound(1, 1, 3), piece(2, {})], options)).toMatchObject({ lostSeqs: [], greatestSeq: 3 });
  });

  it('reaches beyond the end of what names numbers by one for each object that is gone', () => {
    const unreadable = (id: number) => piece(id, { parts: [{ gap: true, minSeq: undefined }] });
    expect(computeLogLoss([sound(1, 1, 3), piece(2, {}), unreadable(3)], options)).toMatchObject({
      lostSeqs: [{ min: 4, max: 5 }],
      lostRows: 1,
      lostExact: false,
      greatestSeq: 5,
    });
    const three = computeLogLoss([sound(1, 1, 3), unreadable(2), unreadable(3), unreadable(4)], {
      ...options,
      knownSeq: 4,
    });
    expect(three).toMatchObject({ lostSeqs: [{ min: 4, max: 6 }], lostRows: 3, greatestSeq: 6 });
  });

  it('is what the seal of an unreadable object counts', () => {
    const held = { min: 4, max: 6, rows: 12, batches: 3 };
    const loss = computeLogLoss(
      [sound(1, 1, 3), piece(2, { parts: [{ gap: true, minSeq: undefined }], held }), sound(3, 7, 7)],
      options,
    );
    expect(loss).toMatchObject({ lostSeqs: [{ min: 4, max: 6 }], lostRows: 12, lostExact: true });
  });

  it('does not grow where two objects stand in each other’s place', () => {
    const swapped = [
      sound(1, 1, 3),
      { ...sound(2, 6, 9), isMisplaced: true },
      { ...sound(3, 4, 5), isMisplaced: true },
    ];
    expect(computeLogLoss(swapped, options)).toMatchObject({ lostSeqs: [], keptRows: { total: 9 } });
  });

  it('is everything after the first loss if the log is cut there', () => {
    const loss = computeLogLoss([sound(1, 1, 3), piece(2, {}), sound(3, 6, 9)], { ...options, truncate: true });
    expect(loss).toMatchObject({
      lostSeqs: [{ min: 4, max: 9 }],
      keptRows: { total: 3 },
      endsBefore: 4,
      greatestSeq: 9,
    });
  });
});

describe('the end of a unit', () => {
  it('is where the checksum of everything since its start stands', () => {
    const bytes = new Uint8Array(64).map((_, i) => (i * 37) & 0xff);
    new DataView(bytes.buffer).setUint32(40, crc32(bytes, 10, 40));
    expect(findUnitEnd(bytes, 10, 64)).toBe(44);
    expect(findUnitEnd(bytes, 10, 43)).toBeUndefined();
    bytes[20] ^= 1;
    expect(findUnitEnd(bytes, 10, 64)).toBeUndefined();
  });
});
