// Salvage: every row whose check holds is found again, wherever it is; no other row is ever called verified.
import { describe, expect, it } from 'vitest';
import { toHex } from '../../../src/common/bytes.ts';
import { nextInt, SeededRandom } from '../../../src/common/random.ts';
import { loadCodec, NO_CODEC } from '../../../src/format/codecs.ts';
import { CRC_BYTES, frameUnit } from '../../../src/format/framing.ts';
import { type SuspectRow, salvageBlock, suspectRows } from '../../../src/format/salvage.ts';
import { plainRows, type SampleBlock, sampleBlocks } from '../../healing/samples.ts';
import { burst, formOf, isSameRow, newSalvageTally, trySalvage } from '../../healing/trials.ts';
import { encodeVersion1, encodeVersion2, randomRows, sampleRow, utf8 } from './block-samples.ts';

const PLAIN = formOf(NO_CODEC);
const SORTED = randomRows(21, 60);
const LOGGED = SORTED.map((row, i) => ({ ...row, seq: 100 + i - Math.floor((i + 1) / 3) }));

function payloadOf(stored: Uint8Array): Uint8Array {
  return stored.slice(0, stored.length - CRC_BYTES);
}

function ordinals(rows: readonly { ordinal: number | undefined }[]): (number | undefined)[] {
  return rows.map((row) => row.ordinal);
}

/** 40 rows with one check each in one block, and where each begins. */
function rowBlock(tableType: 'compacted' | 'wal' = 'compacted'): SampleBlock & { starts: number[] } {
  const rows = plainRows(2, 32);
  const [block] = sampleBlocks({ tableType, codec: NO_CODEC, rowsPerCheck: 1 }, rows);
  const starts: number[] = [];
  let at = 0;
  for (let i = 0; i < block.rows.length; i++) {
    starts.push(at);
    const [shared, unshared, valueLength] = block.stored.subarray(at, at + 3);
    expect(shared + unshared).toBe(16);
    at += 3 + unshared + valueLength + 17;
  }
  return { ...block, starts };
}

describe('salvage', () => {
  it.each([
    ['table', 1],
    ['table', 2],
    ['table', 4],
    ['table', 8],
    ['table', 16],
    ['log', 1],
    ['log', 4],
  ] as const)('of an intact block of a %s with %i rows per check finds every row', (kind, rowsPerCheck) => {
    const tableType = kind === 'table' ? 'compacted' : 'wal';
    const all = kind === 'table' ? SORTED : LOGGED;
    const blocks = sampleBlocks({ tableType, codec: NO_CODEC, rowsPerCheck, blockBytes: 1024 }, all);
    expect(blocks.length).toBeGreaterThan(2);
    for (const { stored, proof, rows } of blocks) {
      const found = salvageBlock(payloadOf(stored), { ...PLAIN, proof });
      expect(ordinals(found)).toEqual(rows.map((_, i) => i));
      expect(found.filter((row, i) => !isSameRow(row, rows[i])).length).toBe(0);
    }
  });

  it('loses one row to damage in its value, and only that', () => {
    const { stored, proof, starts } = rowBlock();
    for (let lost = 0; lost < 32; lost++) {
      const payload = payloadOf(stored);
      payload.fill(0xaa, starts[lost] + 25, starts[lost] + 33);
      const found = ordinals(salvageBlock(payload, { ...PLAIN, proof }));
      expect(found).toEqual(Array.from({ length: 32 }, (_, i) => i).filter((i) => i !== lost));
    }
  });

  it('finds the rows after damaged lengths again', () => {
    const { stored, proof, starts } = rowBlock();
    for (let lost = 0; lost < 32; lost++) {
      for (const length of [0, 1, 100, 127]) {
        const payload = payloadOf(stored);
        if (payload[starts[lost] + 2] === length) continue;
        payload[starts[lost] + 2] = length;
        const found = ordinals(salvageBlock(payload, { ...PLAIN, proof }));
        expect(found).toEqual(Array.from({ length: 32 }, (_, i) => i).filter((i) => i !== lost));
      }
    }
  });

  it('needs neither offsets nor count as long as rows follow each other', () => {
    const { stored, proof } = rowBlock();
    const payload = payloadOf(stored);
    payload.fill(0xff, payload.length - 6);
    expect(salvageBlock(payload, { ...PLAIN, proof }).length).toBe(32);
  });

  it('finds the second group by its listed offset when the first is gone', () => {
    const { stored, proof, starts } = rowBlock();
    const payload = payloadOf(stored);
    payload.fill(0, 0, starts[15] + 50);
    expect(ordinals(salvageBlock(payload, { ...PLAIN, proof }))).toEqual(Array.from({ length: 16 }, (_, i) => 16 + i));
  });

  it('finds it without the offset, too', () => {
    const { stored, proof, starts } = rowBlock();
    const payload = payloadOf(stored);
    payload.fill(0, 0, starts[15] + 50);
    payload.fill(0xee, payload.length - 6);
    const found = salvageBlock(payload, { ...PLAIN, proof });
    expect(ordinals(found)).toEqual(Array.from({ length: 16 }, (_, i) => 16 + i));
  });

  it('takes what is left of a block that is cut at any place', () => {
    const { stored, proof, starts } = rowBlock();
    const payload = payloadOf(stored);
    for (let end = 0; end <= payload.length; end += 7) {
      const whole = starts.findIndex((_, i) => (starts[i + 1] ?? payload.length - 6) > end);
      const found = salvageBlock(payload.subarray(0, end), { ...PLAIN, proof });
      expect(found.length).toBe(whole < 0 ? 32 : whole);
    }
  });

  it('of a log asks for the sequence numbers, too', () => {
    const { stored, proof } = rowBlock('wal');
    const payload = payloadOf(stored);
    expect(salvageBlock(payload, { ...PLAIN, proof }).length).toBe(32);
    const firstSeqs = proof.firstSeqs!.slice();
    firstSeqs[7] += 1;
    expect(ordinals(salvageBlock(payload, { ...PLAIN, proof: { ...proof, firstSeqs } }))).not.toContain(7);
    const continuations = proof.continuations!.slice();
    continuations[9] = 1;
    expect(ordinals(salvageBlock(payload, { ...PLAIN, proof: { ...proof, continuations } }))).toContain(10);
  });

  it('finds nothing in compressed blocks, in version 1, or without checks', async () => {
    const codec = await loadCodec('lz4');
    const [packed] = sampleBlocks({ tableType: 'compacted', codec, rowsPerCheck: 1 }, SORTED);
    expect(salvageBlock(payloadOf(packed.stored), { ...formOf(codec), proof: packed.proof })).toEqual([]);
    const { stored, proof } = rowBlock();
    expect(salvageBlock(payloadOf(stored), { ...PLAIN, formatVersion: 1, proof })).toEqual([]);
    const none = { ...proof, rowsPerCheck: 0 as const, checks: new Uint32Array(0) };
    expect(salvageBlock(payloadOf(stored), { ...PLAIN, proof: none })).toEqual([]);
  });

  it('never calls a wrong row verified, whatever the damage', () => {
    const blocks = [1, 4, 16].flatMap((rowsPerCheck) =>
      sampleBlocks(
        { tableType: 'compacted', codec: NO_CODEC, rowsPerCheck: rowsPerCheck as 1, blockBytes: 1024 },
        SORTED,
      ),
    );
    blocks.push(...sampleBlocks({ tableType: 'wal', codec: NO_CODEC, rowsPerCheck: 1, blockBytes: 1024 }, LOGGED));
    const random = new SeededRandom(22);
    const tally = newSalvageTally();
    for (let trial = 0; trial < 10_000; trial++) {
      const block = blocks[trial % blocks.length];
      let damaged = block.stored;
      for (let n = 1 + nextInt(random, 3); n > 0; n--) {
        damaged = burst(random, damaged, Math.min(damaged.length, 1 + nextInt(random, 1 << nextInt(random, 8))));
      }
      // Pieces that moved: rows are then whole, but elsewhere.
      if (trial % 5 === 0) damaged.copyWithin(nextInt(random, 300), nextInt(random, 300), nextInt(random, 700));
      trySalvage(block, damaged, NO_CODEC, tally);
    }
    expect(tally.wrong).toBe(0);
    expect(tally.recovered / tally.rows).toBeGreaterThan(0.5);
  });

  it('ends soon for proofs and bytes that lead astray', () => {
    const { stored, proof } = rowBlock();
    const payload = payloadOf(stored);
    for (const rowCount of [0, 1, 31, 33, 10_000, 2 ** 31, 2 ** 53]) {
      expect(salvageBlock(payload, { ...PLAIN, proof: { ...proof, rowCount } })).toEqual([]);
    }
    // Every place looks like a row.
    const rows = new Uint8Array(20_000);
    for (let i = 0; i < rows.length; i++) rows[i] = i & 1;
    const checks = new Uint32Array(640).fill(7);
    const storedBytes = rows.length + 2 + 80 + CRC_BYTES;
    const how = { ...PLAIN, proof: { storedBytes, rowCount: 640, rowsPerCheck: 1 as const, checks } };
    expect(salvageBlock(rows, how)).toEqual([]);
    expect(suspectRows(rows, how).length).toBeGreaterThan(0);
  });
});

describe('suspect rows', () => {
  const texts = (rows: readonly SuspectRow[]) => rows.map((row) => toHex(row.key));

  it('are those between the verified ones, with their place', () => {
    const { stored, proof, starts, rows } = rowBlock();
    const payload = payloadOf(stored);
    payload.fill(0xaa, starts[5] + 25, starts[5] + 33);
    const suspects = suspectRows(payload, { ...PLAIN, proof, bounds: { order: 'keys' } });
    expect(suspects.length).toBe(1);
    expect(suspects[0]).toMatchObject({ ordinal: 5, seq: rows[5].seq, trust: 'suspect', key: rows[5].key });
    expect(suspects[0].reason).toBe('its check does not hold');
    expect(isSameRow(suspects[0], rows[5])).toBe(false);
  });

  it('say so when lengths do not add up', () => {
    const { stored, proof, starts } = rowBlock();
    const payload = payloadOf(stored);
    payload[starts[5] + 2] -= 20;
    for (const row of suspectRows(payload, { ...PLAIN, proof })) expect(row.reason).toMatch(/do not add up/);
  });

  it('are left out where they cannot be in their place', () => {
    const { stored, proof, starts } = rowBlock();
    const payload = payloadOf(stored);
    payload[starts[16] + 3] = 0xff;
    expect(ordinals(suspectRows(payload, { ...PLAIN, proof }))).toContain(16);
    expect(suspectRows(payload, { ...PLAIN, proof, bounds: { order: 'keys' } })).toEqual([]);
    expect(suspectRows(payload, { ...PLAIN, proof, bounds: { maxSeq: 5 } })).toEqual([]);
  });

  it('of a block without checks are all that parse, also after the damage', () => {
    const rows = plainRows(4, 40);
    const payload = encodeVersion2(rows);
    const whole = suspectRows(payload, PLAIN);
    expect(texts(whole)).toEqual(rows.map((row) => toHex(row.key)));
    expect(ordinals(whole)).toEqual(rows.map((_, i) => i));
    // A length in the first group: the others are found where they are listed.
    const damaged = payload.slice();
    damaged[2] = 0x7f;
    const found = texts(
      suspectRows(damaged, { ...PLAIN, bounds: { separator: utf8('user'), nextSeparator: utf8('v') } }),
    );
    for (const row of rows.slice(16)) expect(found).toContain(toHex(row.key));
  });

  it('are none in an intact sealed block, in compressed ones and in version 1', async () => {
    const { stored, proof } = rowBlock();
    expect(suspectRows(payloadOf(stored), { ...PLAIN, proof })).toEqual([]);
    const codec = await loadCodec('lz4');
    expect(suspectRows(frameUnit(payloadOf(stored), codec), formOf(codec))).toEqual([]);
    expect(suspectRows(encodeVersion1([sampleRow('a', 1)]), { ...PLAIN, formatVersion: 1 })).toEqual([]);
  });

  it('never fail on noise', () => {
    const random = new SeededRandom(23);
    const { proof } = rowBlock();
    for (let trial = 0; trial < 2000; trial++) {
      const payload = new Uint8Array(nextInt(random, 200));
      random.fill(payload);
      suspectRows(payload, PLAIN);
      suspectRows(payload, { ...PLAIN, proof, bounds: { order: 'seqs' } });
    }
  });
});
