/** Losses of the ledger as sources of reads: which count, where they are shown, and what an answer says of them. */
import { describe, expect, it } from 'vitest';
import type { LedgerEntry } from '../../../../src/lsm/tree/damage-ledger.ts';
import {
  gapsOfLedger,
  LostCursor,
  lossError,
  lossesAbove,
  unplacedLosses,
} from '../../../../src/lsm/tree/lost-ranges.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const range = (gte: string, lte: string | undefined) => ({
  gte: utf8(gte),
  lte: lte === undefined ? undefined : utf8(lte),
});

function entry(id: string, more: Partial<LedgerEntry>): LedgerEntry {
  const object = 'compacted/01J00000000000000000000001.sst';
  const rest = { level: 'l0' as const, at: '', keys: [], seqs: [], exact: true, state: 'open' as const };
  return { id, repairId: 'r-1', object, ...rest, ...more };
}

/** The keys at which losses are shown from `key` on. */
function walk(entries: LedgerEntry[], reverse: boolean, key?: string, maxSeq = 99): string {
  const cursor = new LostCursor(gapsOfLedger(entries, new Set()), reverse, maxSeq);
  const keys: string[] = [];
  for (let status = cursor.seek(key === undefined ? undefined : utf8(key)); status > 0; status = cursor.next()) {
    keys.push(text(cursor.keyBuf.slice(0, cursor.keyLength)));
  }
  return keys.join(' ');
}

describe('losses of known keys', () => {
  const entries = [
    entry('x', { keys: [range('m', 'p')], seqs: [{ min: 5n, max: 9n }] }),
    entry('y', { keys: [range('b', 'd'), range('f', 'g')] }),
  ];

  it('are shown at their first key, in reverse at their last', () => {
    expect([walk(entries, false), walk(entries, true)]).toEqual(['b f m', 'p g d']);
  });
  it('are shown from where a walk begins, also within one', () => {
    expect([walk(entries, false, 'c'), walk(entries, false, 'e'), walk(entries, true, 'm')]).toEqual([
      'b f m',
      'f m',
      'g d',
    ]);
  });
  it('are hidden from a read that could not see their rows', () => {
    expect([walk(entries, false, undefined, 4), walk(entries, false, undefined, 5)]).toEqual(['b f', 'b f m']);
  });
  it('count while they are open, and not while their table is in use', () => {
    const gone = [entry('z', { keys: [range('a', 'b')], state: 'acknowledged' })];
    expect(gapsOfLedger(gone, new Set())).toEqual([]);
    expect(gapsOfLedger(entries, new Set([entries[0].object]))).toEqual([]);
  });
});

describe('losses without known keys', () => {
  const entries = [
    entry('w', {
      object: 'wal/00000000000000000007.sst',
      level: 'wal',
      seqs: [
        { min: 5n, max: 9n },
        { min: 12n, max: 12n },
      ],
    }),
    entry('v', { object: 'wal/00000000000000000008.sst', level: 'wal' }),
  ];

  it('count once the log is replayed past their object; without numbers they may be of any row', () => {
    const seqs = (replayedTo: number) =>
      unplacedLosses(entries, replayedTo).map((loss) => [loss.seqs.min, loss.seqs.max]);
    expect([seqs(6), seqs(7), seqs(8)]).toEqual([
      [],
      [
        [5, 9],
        [12, 12],
      ],
      [
        [5, 9],
        [12, 12],
        [0, Number.POSITIVE_INFINITY],
      ],
    ]);
  });
  it('concern an answer that is not newer, for a read that could have seen them', () => {
    const losses = unplacedLosses(entries, 7);
    const above = (seq: number, maxSeq: number) => lossesAbove(losses, seq, maxSeq).map((loss) => loss.seqs.min);
    expect([above(4, 99), above(9, 99), above(12, 99), above(-1, 4)]).toEqual([[5, 12], [12], [], []]);
  });
  it('are named once each, after damage that was met', () => {
    const losses = unplacedLosses(entries, 8);
    const met = lossError(losses.slice(2));
    expect(lossError(losses, met).findings.map((f) => f.id)).toEqual(['v', 'w']);
    expect(() => lossError([])).toThrow(/an error for losses names one/);
  });
});
