// Healing of data blocks: everything that small damage can do is undone exactly, and nothing else is ever called healed.
import { describe, expect, it } from 'vitest';
import { equalBytes, toHex } from '../../../src/common/bytes.ts';
import { nextInt, SeededRandom } from '../../../src/common/random.ts';
import { decodeBlock } from '../../../src/format/block.ts';
import {
  type BlockProof,
  blockFits,
  blockProof,
  healBlock,
  READ_WORK_PER_MIB,
} from '../../../src/format/block-healing.ts';
import { loadCodec, NO_CODEC } from '../../../src/format/codecs.ts';
import { CRC_BYTES, frameUnit } from '../../../src/format/framing.ts';
import { checkStarts, type RowsRecord } from '../../../src/format/seal-records.ts';
import { CODECS } from '../../../src/format/table-info.ts';
import { plainRows, type SampleBlock, sampleBlocks } from '../../healing/samples.ts';
import { burst, formOf, newTally, tryHeal } from '../../healing/trials.ts';
import { goldenBytes } from '../../support/golden-fixtures.ts';
import { encodeVersion1, encodeVersion2, randomRows, sampleRow, utf8 } from './block-samples.ts';

const PLAIN = formOf(NO_CODEC);

/** Rows of all kinds: tombstones, merges, times, versions, long and short keys and values. */
const SORTED = randomRows(11, 40);
/** The same as a log has them; every third row continues the batch of the row before. */
const LOGGED = SORTED.map((row, i) => ({ ...row, seq: 100 + i - Math.floor((i + 1) / 3) }));
const CHECKS = [1, 4, 16] as const;

function table(rowsPerCheck: 0 | 1 | 2 | 4 | 8 | 16, codec = NO_CODEC): SampleBlock[] {
  return sampleBlocks({ tableType: 'compacted', codec, rowsPerCheck, blockBytes: 1024 }, SORTED);
}

function log(rowsPerCheck: 1 | 4, codec = NO_CODEC): SampleBlock[] {
  return sampleBlocks({ tableType: 'wal', codec, rowsPerCheck, blockBytes: 1024 }, LOGGED);
}

function flip(bytes: Uint8Array, bit: number): Uint8Array {
  const out = bytes.slice();
  out[bit >>> 3] ^= 1 << (bit & 7);
  return out;
}

/** Heals from every single bit, or throws with the first that is not undone. */
function everyBit(stored: Uint8Array, how: Parameters<typeof healBlock>[1], trust: 'proven' | 'probable'): void {
  for (let bit = 0; bit < 8 * stored.length; bit++) {
    const healed = healBlock(flip(stored, bit), how);
    const change = healed?.changes[0];
    const isRight =
      healed !== undefined &&
      equalBytes(healed.stored, stored) &&
      healed.trust === trust &&
      healed.changes.length === 1 &&
      change?.offset === bit >>> 3 &&
      change.is === stored[bit >>> 3] &&
      change.was === (stored[bit >>> 3] ^ (1 << (bit & 7)));
    if (!isRight) throw new Error(`bit ${bit}: ${JSON.stringify(healed?.changes)}`);
  }
}

describe('a sealed block', () => {
  it.each([
    ...CHECKS.map((g) => ['table', g, table(g)] as const),
    ...([1, 4] as const).map((g) => ['log', g, log(g)] as const),
  ])('of a %s with %i rows per check heals from every single bit', (_, _g, blocks) => {
    for (const { stored, proof } of blocks.slice(-2)) everyBit(stored, { ...PLAIN, proof }, 'proven');
  });

  it.each(['snappy', 'zlib', 'lz4', 'zstd'] as const)(
    'compressed with %s heals from every single bit',
    async (name) => {
      const codec = await loadCodec(name);
      const form = { codec, rowsPerCheck: 1 } as const;
      for (const { stored, proof } of [
        ...sampleBlocks({ ...form, tableType: 'compacted' }, SORTED.slice(0, 10)),
        ...sampleBlocks({ ...form, tableType: 'wal' }, LOGGED.slice(0, 4)),
      ]) {
        everyBit(stored, { ...formOf(codec), proof }, 'proven');
      }
    },
  );

  it('heals from two to four bytes at every place, over every border', () => {
    const random = new SeededRandom(5);
    for (const { stored, proof } of [...table(4).slice(-2), ...log(1).slice(-2)]) {
      for (let width = 2; width <= 4; width++) {
        for (let at = 0; at + width <= stored.length; at++) {
          const damaged = stored.slice();
          damaged.set(burst(random, stored.subarray(at, at + width), width), at);
          const healed = healBlock(damaged, { ...PLAIN, proof });
          if (healed === undefined || !equalBytes(healed.stored, stored)) throw new Error(`${width} bytes at ${at}`);
          if (healed.trust !== 'proven' || healed.changes.length < 2) throw new Error(`${width} bytes at ${at}`);
        }
      }
    }
  });

  it.each(['zlib', 'lz4'] as const)('compressed with %s heals from up to three bytes at every place', async (name) => {
    const codec = await loadCodec(name);
    const random = new SeededRandom(6);
    const [{ stored, proof }] = sampleBlocks({ tableType: 'compacted', codec, rowsPerCheck: 1 }, SORTED.slice(0, 8));
    for (let width = 1; width <= 3; width++) {
      for (let at = 0; at + width <= stored.length; at++) {
        const damaged = stored.slice();
        damaged.set(burst(random, stored.subarray(at, at + width), width), at);
        const healed = healBlock(damaged, { ...formOf(codec), proof });
        if (healed === undefined || !equalBytes(healed.stored, stored)) throw new Error(`${width} bytes at ${at}`);
      }
    }
  });

  it('gets offsets, count and checksum back whatever happened to them', () => {
    const random = new SeededRandom(7);
    for (const { stored, proof } of table(16)) {
      const rowsEnd = stored.length - CRC_BYTES - 2 - 2 * Math.ceil(proof.rowCount / 16);
      const damaged = stored.slice();
      random.fill(damaged.subarray(rowsEnd));
      const healed = healBlock(damaged, { ...PLAIN, proof });
      expect(toHex(healed!.stored)).toBe(toHex(stored));
      expect(healed).toMatchObject({ kind: 'trailer', trust: 'proven' });
    }
  });

  it('of one large row heals, and gives up within bounds', () => {
    const value = new Uint8Array(300_000);
    new SeededRandom(8).fill(value);
    const rows = [sampleRow('key', 1, { value })];
    const [{ stored, proof }] = sampleBlocks({ tableType: 'compacted', codec: NO_CODEC, rowsPerCheck: 1 }, rows);
    const how = { ...PLAIN, maxBytes: 1 << 20, proof };
    expect(healBlock(flip(stored, 8 * 150_000 + 3), how)?.stored.length).toBe(stored.length);
    const wide = stored.slice();
    wide.set([1, 2, 3, 4, 5, 6, 7, 8, 9], 1000);
    expect(healBlock(wide, how)).toBeUndefined();
  });

  it('of 4 bytes in a row of 4 KiB is undone by a read, in one of 12 KiB by a repair only', () => {
    const random = new SeededRandom(9);
    for (const [bytes, byRead] of [
      [4096, true],
      [12_288, false],
    ] as const) {
      const value = new Uint8Array(bytes);
      random.fill(value);
      const rows = [sampleRow('key', 1, { value })];
      const [{ stored, proof }] = sampleBlocks({ tableType: 'compacted', codec: NO_CODEC, rowsPerCheck: 1 }, rows);
      // Far from the front, because places are tried from the front.
      const damaged = stored.slice();
      for (let i = 0; i < 4; i++) damaged[bytes - 100 + i] ^= 0x81 + i;
      const how = { ...PLAIN, maxBytes: 1 << 20, proof };
      expect(healBlock(damaged, how)?.stored).toEqual(stored);
      expect(healBlock(damaged, { ...how, workPerMib: READ_WORK_PER_MIB }) !== undefined).toBe(byRead);
    }
  });

  it('of the worked example heals by its own seal from every single bit', () => {
    const object = goldenBytes('slatedb-0.12.1/tiny', 'db/wal/00000000000000000002.sst');
    const rows: RowsRecord = {
      rowsPerCheck: 1,
      blockStoredBytes: [94],
      blockRows: [3],
      checks: Uint32Array.of(0xa3ad274f, 0xa43816e1, 0x28d0159b),
      firstSeqs: Float64Array.of(1, 2, 3),
      continuations: Uint8Array.of(0, 0, 0),
    };
    const stored = object.slice(0, 94);
    const proof = blockProof(rows, 0)!;
    everyBit(stored, { ...PLAIN, proof }, 'proven');
  });

  it('takes bytes that are inside of a larger buffer, also of a Buffer', () => {
    const [{ stored, proof }] = table(4);
    const around = Buffer.concat([Buffer.alloc(7, 1), flip(stored, 100), Buffer.alloc(9, 2)]);
    const healed = healBlock(around.subarray(7, 7 + stored.length), { ...PLAIN, proof });
    expect(toHex(healed!.stored)).toBe(toHex(stored));
  });
});

describe('nothing is called healed', () => {
  it('when the checksum holds', () => {
    const [{ stored, proof }] = table(4);
    expect(healBlock(stored, { ...PLAIN, proof })).toBeUndefined();
    expect(healBlock(stored, PLAIN)).toBeUndefined();
  });

  it('that is damaged wider than the checks and the checksum can show', async () => {
    const blocks: [SampleBlock, typeof NO_CODEC][] = [...table(1), ...table(4), ...table(16), ...log(1)].map((b) => [
      b,
      NO_CODEC,
    ]);
    const codec = await loadCodec('lz4');
    blocks.push(...table(4, codec).map((b) => [b, codec] as [SampleBlock, typeof NO_CODEC]));
    const random = new SeededRandom(9);
    const tally = newTally();
    for (let trial = 0; trial < 10_000; trial++) {
      const [block, by] = blocks[trial % blocks.length];
      const width = [5, 6, 8, 16, 32, 128][nextInt(random, 6)];
      tryHeal(block, burst(random, block.stored, Math.min(width, block.stored.length)), by, tally);
    }
    expect(tally.wrong).toBe(0);
    expect(tally.trials).toBe(10_000);
    // Those that are after the rows, or whose middle happened to stay.
    expect(tally.exact).toBeLessThan(1000);
    expect(tally.unhealed).toBeGreaterThan(9000);
  });

  it('by the proof of another block, a proof that contradicts itself, or one whose sequence numbers differ', () => {
    const [first, second] = log(1);
    const damaged = flip(first.stored, 200);
    const heal = (proof: BlockProof) => healBlock(damaged, { ...PLAIN, proof });
    expect(heal(first.proof)).toBeDefined();
    expect(heal({ ...second.proof, storedBytes: first.proof.storedBytes })).toBeUndefined();
    expect(heal({ ...first.proof, storedBytes: first.proof.storedBytes + 1 })).toBeUndefined();
    for (const rowCount of [0, first.proof.rowCount - 1, first.proof.rowCount + 1, 2 ** 32, 2 ** 53]) {
      expect(heal({ ...first.proof, rowCount })).toBeUndefined();
    }
    const firstSeqs = first.proof.firstSeqs!.slice();
    firstSeqs[3]++;
    expect(heal({ ...first.proof, firstSeqs })).toBeUndefined();
    const continuations = first.proof.continuations!.slice();
    continuations[2] ^= 1;
    expect(heal({ ...first.proof, continuations })).toBeUndefined();
    expect(heal({ ...first.proof, checks: new Uint32Array(0) })).toBeUndefined();
  });

  it.each(CODECS)('from noise and from nothing (%s)', async (name) => {
    const codec = await loadCodec(name);
    const random = new SeededRandom(10);
    const [sample] = log(1);
    for (let trial = 0; trial < 300; trial++) {
      const stored = new Uint8Array(nextInt(random, 300));
      random.fill(stored);
      const proof = { ...sample.proof, storedBytes: stored.length };
      expect(healBlock(stored, { ...formOf(codec), proof })).toBeUndefined();
      expect(healBlock(stored, formOf(codec))).toBeUndefined();
    }
  });

  it('that decompresses to more than is allowed', async () => {
    const codec = await loadCodec('zlib');
    const [{ stored, proof }] = table(4, codec);
    expect(healBlock(flip(stored, 33), { ...formOf(codec), proof })).toBeDefined();
    expect(healBlock(flip(stored, 33), { ...formOf(codec), maxBytes: 100, proof })).toBeUndefined();
    expect(healBlock(flip(stored, 33), { ...formOf(codec), maxBytes: 100 })).toBeUndefined();
  });
});

describe('a block without checks', () => {
  const rows = SORTED.slice(0, 12);

  it.each([
    ['version 1', 1, encodeVersion1(rows)],
    ['version 2', 2, encodeVersion2(rows)],
  ] as const)('of %s gets every single bit back, and it is only probable', (_, formatVersion, payload) => {
    const stored = frameUnit(payload, NO_CODEC);
    everyBit(stored, { ...PLAIN, formatVersion, bounds: { order: 'keys' } }, 'probable');
  });

  it.each(CODECS)('compressed as %s gets nearly every byte back', async (name) => {
    const codec = await loadCodec(name);
    const blocks = sampleBlocks({ tableType: 'compacted', codec, rowsPerCheck: 0 }, plainRows(3, 100));
    const random = new SeededRandom(12);
    const tally = newTally();
    for (let trial = 0; trial < 400; trial++) {
      const block = blocks[trial % blocks.length];
      tryHeal(block, burst(random, block.stored, 1), codec, tally, { sealed: false, bounds: { order: 'keys' } });
    }
    expect(tally).toEqual({ trials: 400, exact: 400, wrong: 0, unhealed: 0 });
  });

  it('stays as it is where two changes would do, none is legal or it is damaged wider', () => {
    const stored = frameUnit(encodeVersion2(rows), NO_CODEC);
    const random = new SeededRandom(13);
    let healed = 0;
    for (let trial = 0; trial < 2000; trial++) {
      if (healBlock(burst(random, stored, 2 + nextInt(random, 7)), PLAIN) !== undefined) healed++;
    }
    // The odds of a false byte are 255 per byte of the block / 2^32.
    expect(healed).toBeLessThan(4);
    const damaged = flip(stored, 77);
    expect(healBlock(damaged, { ...PLAIN, bounds: { rowCount: 11 } })).toBeUndefined();
    expect(healBlock(damaged, { ...PLAIN, bounds: { rowCount: 12 } })).toBeDefined();
  });

  it('is judged by the count of a seal that has no checks', () => {
    const [{ stored, proof }] = table(0);
    expect(proof.rowsPerCheck).toBe(0);
    expect(healBlock(flip(stored, 500), { ...PLAIN, proof })).toMatchObject({ trust: 'probable' });
    expect(healBlock(flip(stored, 500), { ...PLAIN, proof: { ...proof, rowCount: 3 } })).toBeUndefined();
  });
});

describe('what is known of a block', () => {
  const rows = [sampleRow('b', 9), sampleRow('c', 8), sampleRow('c', 7), sampleRow('d', 6)];
  const block = decodeBlock(encodeVersion2(rows), 2);

  it.each([
    [{}, true],
    [{ order: 'keys' }, true],
    [{ order: 'seqs' }, false],
    [{ separator: utf8('b') }, true],
    [{ separator: utf8('bb') }, false],
    [{ nextSeparator: utf8('d') }, true],
    [{ nextSeparator: utf8('cc') }, false],
    [{ minSeq: 6, maxSeq: 9, rowCount: 4 }, true],
    [{ minSeq: 7 }, false],
    [{ maxSeq: 8 }, false],
    [{ rowCount: 5 }, false],
  ] as const)('%j: %s', (bounds, expected) => {
    expect(blockFits(block, bounds)).toBe(expected);
  });

  it('includes the order of keys', () => {
    const disordered = decodeBlock(encodeVersion2([...rows].reverse()), 2);
    expect(blockFits(disordered, { order: 'keys' })).toBe(false);
    expect(blockFits(disordered, { order: 'seqs' })).toBe(true);
  });
});

describe('the proof of a block', () => {
  it('is its part of the record', () => {
    const record: RowsRecord = {
      rowsPerCheck: 2,
      blockStoredBytes: [100, 200],
      blockRows: [3, 4],
      checks: Uint32Array.of(1, 2, 3, 4),
      firstSeqs: Float64Array.of(1, 3, 4, 6),
      continuations: Uint8Array.of(0, 0, 1, 0),
    };
    expect(checkStarts(record)).toEqual(Uint32Array.of(0, 2, 4));
    expect(blockProof(record, 1)).toEqual({
      storedBytes: 200,
      rowCount: 4,
      rowsPerCheck: 2,
      checks: Uint32Array.of(3, 4),
      firstSeqs: Float64Array.of(4, 6),
      continuations: Uint8Array.of(1, 0),
    });
    for (const index of [-1, 2, Number.NaN]) expect(blockProof(record, index)).toBeUndefined();
  });
});

describe('the damage of these tests', () => {
  it('has exactly the width it says', () => {
    const random = new SeededRandom(14);
    const bytes = new Uint8Array(50);
    for (let i = 0; i < 1000; i++) {
      const width = 1 + nextInt(random, 8);
      const damaged = burst(random, bytes, width);
      const first = damaged.findIndex((b) => b !== 0);
      expect(damaged.findLastIndex((b) => b !== 0) - first + 1).toBe(width);
    }
  });
});
