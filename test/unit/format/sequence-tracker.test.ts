/** The sequence tracker: vectors of both versions, every code, damage, and how it grows and forgets. */
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../../src/common/bytes.ts';
import { nextInt, SeededRandom } from '../../../src/common/random.ts';
import { decodeManifest } from '../../../src/format/manifest-codec.ts';
import {
  appendToTracker,
  decodeTracker,
  encodeTracker,
  isWideTracker,
  type SequenceTracker,
  TrackerSampler,
} from '../../../src/format/sequence-tracker.ts';
import { goldenFixtures } from '../../support/golden-fixtures.ts';
import { fuzzDecoder } from '../../support/mutations.ts';

const T = 1795168421;
const EMPTY: SequenceTracker = { seqs: [], timesS: [] };
const VECTORS: [name: string, tracker: SequenceTracker, hex: string][] = [
  ['no pair', EMPTY, '01000000000000000000000000'],
  [
    'two pairs',
    { seqs: [100, 200], timesS: [1000, 2000] },
    '0102000000' + '000000020000000000000064c640' + '0000000200000000000003e8e3e8',
  ],
  [
    'every code',
    {
      seqs: [1, 2, 4, 7, 10, 80, 81, 381, 386, 2986],
      timesS: [T, T, T + 2, T + 2, T + 2, T + 3, T + 3, T + 3, T + 4, T + 4],
    },
    '010a0000000000000a000000000000000180c0602c43dbbe12beed9f00000a230000000a000000006b0018a540afc80dfd01bf80',
  ],
  [
    'a jump that needs version 2',
    { seqs: [1, 2 ** 40, 2 ** 40 + 1], timesS: [1795947645, 1795947710, 1795947775] },
    '0203000000' + '000000030000000000000001f000000fffffffffffffffff0000000002' + '00000003000000006b0bfc7dc410',
  ],
];

const damaged = expect.objectContaining({ code: 'MALFORMED' });

describe('sequence tracker bytes', () => {
  it.each(VECTORS)('of %s', (_, tracker, hex) => {
    expect(toHex(encodeTracker(tracker))).toBe(hex);
    expect(decodeTracker(fromHex(hex))).toEqual(tracker);
  });

  it('of every fixture manifest encode to the same bytes again', () => {
    let checked = 0;
    for (const { path, bytes } of goldenFixtures().flatMap((fixture) => fixture.objects)) {
      if (!path.endsWith('.manifest')) continue;
      const tracker = decodeManifest(bytes).manifest.sequenceTracker;
      if (tracker === undefined) continue;
      expect(toHex(encodeTracker(decodeTracker(tracker)))).toBe(toHex(tracker));
      checked++;
    }
    expect(checked).toBe(451);
  });

  it('round-trip the borders of every code and numbers up to 2^53 - 1', () => {
    for (const border of [63, 64, 255, 256, 2047, 2048, 2 ** 31 - 1]) {
      const tracker = { seqs: [5, 5 + border, 5 + border, 5 + 2 * border], timesS: [0, 0, border, border] };
      expect(decodeTracker(encodeTracker(tracker))).toEqual(tracker);
    }
    const large = { seqs: [2 ** 53 - 3, 2 ** 53 - 1], timesS: [-5, 2 ** 31 - 6] };
    expect(decodeTracker(encodeTracker(large))).toEqual(large);
  });

  it('use the short code up to 63, 255 and 2047 only, as SlateDB does', () => {
    const bits = (dd: number) => encodeTracker({ seqs: [100_000, 100_000 + dd], timesS: [0, 0] }).length;
    const lengths = [63, 64, 255, 256, 2047, 2048].map((dd) => bits(dd) - bits(0));
    expect(lengths).toEqual([1, 1, 1, 1, 1, 4]);
    const negative = encodeTracker({ seqs: [100_000, 100_064, 100_064], timesS: [0, 0, 0] });
    expect(decodeTracker(negative).seqs).toEqual([100_000, 100_064, 100_064]);
  });

  it('of a version slightly above ours are of a newer program, whatever their length; of any other they are damaged', () => {
    const bytes = encodeTracker(EMPTY);
    for (const version of [3, 16]) {
      bytes[0] = version;
      for (const stored of [bytes, bytes.subarray(0, 1)]) {
        expect(() => decodeTracker(stored)).toThrow(expect.objectContaining({ code: 'FORMAT_TOO_NEW' }));
      }
    }
    for (const version of [0, 17, 200, 255]) {
      bytes[0] = version;
      expect(() => decodeTracker(bytes)).toThrow(damaged);
    }
  });

  it('are refused when cut, too long, or with counts that differ or are absurd', () => {
    const bytes = fromHex(VECTORS[2][2]);
    for (let n = 0; n < bytes.length; n++) expect(() => decodeTracker(bytes.slice(0, n))).toThrow(damaged);
    expect(() => decodeTracker(Uint8Array.of(...bytes, 0))).toThrow(damaged);
    const differs = bytes.slice();
    differs[8] = 9;
    expect(() => decodeTracker(differs)).toThrow(damaged);
    const absurd = bytes.slice();
    absurd.fill(0xff, 1, 9);
    expect(() => decodeTracker(absurd)).toThrow(damaged);
  });

  it('are refused with numbers beyond 2^53 or negative sequence numbers', () => {
    const bytes = encodeTracker({ seqs: [2 ** 53 - 1], timesS: [1] });
    bytes[10] = 0x20;
    expect(() => decodeTracker(bytes)).toThrow(damaged);
    expect(() => decodeTracker(encodeTracker({ seqs: [-1], timesS: [1] }))).toThrow(damaged);
  });

  it('have version 2 where a difference of deltas leaves 32 bits, in either column, and only there', () => {
    const versionOf = (seqs: number[], timesS: number[]) => {
      const tracker = { seqs, timesS };
      const bytes = encodeTracker(tracker);
      expect(decodeTracker(bytes)).toEqual(tracker);
      expect(isWideTracker(bytes)).toBe(bytes[0] === 2);
      return bytes[0];
    };
    expect(versionOf([0, 2 ** 31 - 1], [0, 0])).toBe(1);
    expect(versionOf([0, 2 ** 31], [0, 0])).toBe(2);
    expect(versionOf([0, 0], [0, 2 ** 31])).toBe(2);
    // The deltas are 2^31 - 1 and -1: their difference is -2^31.
    expect(versionOf([5, 2 ** 31 + 4, 2 ** 31 + 3], [0, 0, 0])).toBe(1);
    expect(versionOf([5, 2 ** 31 + 4, 2 ** 31 + 2], [0, 0, 0])).toBe(2);
    expect(versionOf([1, 2 ** 53 - 1, 2 ** 53 - 1], [T, T, T])).toBe(2);
    expect(versionOf([1, 2 ** 33, 2 ** 33 + 1, 2 ** 45, 2 ** 45 + 1, 2 ** 45 + 70_000], [1, 2, 3, 4, 5, 6])).toBe(2);
  });

  it('of version 2 are refused when cut, or with numbers beyond 2^53', () => {
    const bytes = fromHex(VECTORS[3][2]);
    for (let n = 0; n < bytes.length; n++) expect(() => decodeTracker(bytes.slice(0, n))).toThrow(damaged);
    // The first difference, 64 bits after four of its code: made 2^53, and 2^62.
    const beyond = bytes.slice();
    beyond.set(fromHex('f0020000000000000'.padEnd(18, '0')), 17);
    expect(() => decodeTracker(beyond)).toThrow(damaged);
    beyond.set(fromHex('f4000000000000000'.padEnd(18, '0')), 17);
    expect(() => decodeTracker(beyond)).toThrow(damaged);
  });

  it('give a value that can be written again, or a typed error, for 20,000 mutations', () => {
    const inputs = VECTORS.map(([, , hex]) => fromHex(hex));
    const decode = (bytes: Uint8Array) => {
      const tracker = decodeTracker(bytes);
      expect(decodeTracker(encodeTracker(tracker))).toEqual(tracker);
    };
    const result = fuzzDecoder(inputs, decode, { runs: 20_000, seed: 15 });
    expect(result.refused).toBeGreaterThan(3_000);
  });
});

describe('TrackerSampler', () => {
  it('keeps the first write and then one per 60 seconds', () => {
    const sampler = new TrackerSampler();
    const kept = [0, 1, 59, 60, 61, 119, 120, 500].map((s, i) => sampler.sample(i + 1, 1000 * (T + s) + 999));
    expect(kept.map((pair) => pair && pair.timeS - T)).toEqual([
      0,
      undefined,
      undefined,
      60,
      undefined,
      undefined,
      120,
      500,
    ]);
    expect(kept[3]).toEqual({ seq: 4, timeS: T + 60 });
  });

  it('keeps nothing while the clock is before the last pair', () => {
    const sampler = new TrackerSampler();
    sampler.sample(1, 1000 * T);
    expect(sampler.sample(2, 1000 * (T - 500))).toBeUndefined();
    expect(sampler.sample(3, 1000 * (T + 60))).toEqual({ seq: 3, timeS: T + 60 });
  });
});

describe('appendToTracker', () => {
  const now = 1000 * (T + 1000);

  it('adds pairs at the end and leaves its input alone', () => {
    const before = { seqs: [1], timesS: [T] };
    const pair = { seq: 5, timeS: T + 60 };
    expect(appendToTracker(before, [pair], now, false)).toEqual({ seqs: [1, 5], timesS: [T, T + 60] });
    expect(before).toEqual({ seqs: [1], timesS: [T] });
  });

  it('leaves out pairs that descend or are in the future', () => {
    const before = { seqs: [10], timesS: [T] };
    const pairs = [
      { seq: 9, timeS: T + 1 },
      { seq: 11, timeS: T - 1 },
      { seq: 12, timeS: T + 1001 },
      { seq: 13, timeS: T + 1000 },
    ];
    expect(appendToTracker(before, pairs, now, false)).toEqual({ seqs: [10, 13], timesS: [T, T + 1000] });
  });

  it('drops pairs in the future that an earlier clock left', () => {
    const before = { seqs: [1, 2], timesS: [T, T + 5000] };
    expect(appendToTracker(before, [{ seq: 3, timeS: T + 1 }], now, false)).toEqual({
      seqs: [1, 3],
      timesS: [T, T + 1],
    });
  });

  it('keeps every second pair when there are more than 8192', () => {
    const n = 8192;
    const before = { seqs: Array.from({ length: n }, (_, i) => i), timesS: Array.from({ length: n }, () => T) };
    expect(appendToTracker(before, [], now, false).seqs.length).toBe(n);
    const after = appendToTracker(before, [{ seq: n, timeS: T }], now, false);
    expect(after.seqs).toEqual(Array.from({ length: n / 2 + 1 }, (_, i) => 2 * i));
  });

  it('drops the pairs before a jump that version 1 cannot hold, if it must not be wide', () => {
    const far = 2 ** 40;
    const pairs = [far, far + 1, far + 2].map((seq) => ({ seq, timeS: T + 1 }));
    const after = appendToTracker({ seqs: [1, 2, 3], timesS: [T, T, T] }, pairs, now, false);
    expect(after.seqs).toEqual([far, far + 1, far + 2]);
    expect(appendToTracker({ seqs: [1, 2, 3], timesS: [T, T, T] }, pairs, now, true).seqs).toEqual([
      ...[1, 2, 3],
      ...[far, far + 1, far + 2],
    ]);
    const once = appendToTracker(
      { seqs: [0, 2 ** 31 - 1], timesS: [T, T] },
      [{ seq: 2 ** 32 + 5, timeS: T }],
      now,
      false,
    );
    expect(isWideTracker(encodeTracker(once))).toBe(false);
    expect(once.seqs.at(-1)).toBe(2 ** 32 + 5);
  });

  it('always gives columns that ascend and can be encoded', () => {
    const random = new SeededRandom(3);
    for (let round = 0; round < 300; round++) {
      let tracker = EMPTY;
      let seq = 0;
      for (let i = 0; i < 12; i++) {
        seq += nextInt(random, 2) === 0 ? nextInt(random, 100) : nextInt(random, 2 ** 32) * 4;
        const timeS = nextInt(random, 4) === 0 ? nextInt(random, 2 ** 32) : T + i;
        tracker = appendToTracker(tracker, [{ seq, timeS }], 1000 * 2 ** 33, false);
        expect(decodeTracker(encodeTracker(tracker))).toEqual(tracker);
        expect(isWideTracker(encodeTracker(tracker))).toBe(false);
        const ascends = (column: number[]) => column.every((v, k) => k === 0 || v >= column[k - 1]);
        expect(ascends(tracker.seqs) && ascends(tracker.timesS)).toBe(true);
      }
    }
  });
});
