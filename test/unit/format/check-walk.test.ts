/**
 * Walking rows that may be damaged. Rows as data: the row before has a key of 4 bytes; after the arrow where the row ends, or `none`
 * with the place before which the damage begins.
 */
import { describe, expect, it } from 'vitest';
import { fromHex } from '../../../src/common/bytes.ts';
import { type BlockProof, blockProof, hasChecks, plainRowBytes } from '../../../src/format/block-proof.ts';
import { CheckWalk, RowReader } from '../../../src/format/check-walk.ts';
import { NO_CODEC } from '../../../src/format/codecs.ts';
import { plainRows, sampleBlocks } from '../../healing/samples.ts';

const ROWS = `
  00 01 01 6b 76 0000000000000007 00                                     => 14
  04 00 00 0000000000000007 01                                           => 12
  00 01 00 6b 0000000000000007 04 0000000000000001                       => 21
  00 01 00 6b 0000000000000007 06 00000000000000010000000000000002       => 29
  05 01 00 6b 0000000000000007 00                                        => none before 13: more shared than there is
  00 00 00 0000000000000007 00                                           => none before 12: no key
  00 01 7f 6b 0000000000000007 00                                        => none before 13: the value ends outside
  00 01 00 6b 0020000000000000 00                                        => none before 13: a number above 2^53 - 1
  00 01 00 6b 0000000000000007 10                                        => none before 13: an unknown flag
  00 01 00 6b 0000000000000007 09                                        => none before 13: tombstone and operand
  00 01 00 6b 0000000000000007 04                                        => none before 13: the time is cut off
  00 01 ffffffff1f 6b 0000000000000007 00                                => none before 15: a length beyond 32 bits
`
  .split('\n')
  .map((line) => line.trim())
  .filter((line) => line.includes('=>'));

describe('a row of bytes that may be damaged', () => {
  it.each(ROWS)('%s', (line) => {
    const [hex, answer] = line.split(/ *=> */);
    const bytes = fromHex(hex.replaceAll(' ', ''));
    const reader = new RowReader();
    const end = reader.read(bytes, 0, bytes.length, 4);
    expect(end < 0 ? `none before ${reader.suspectEnd}` : String(end)).toBe(answer.split(':')[0]);
  });
});

const [BLOCK] = sampleBlocks({ tableType: 'compacted', codec: NO_CODEC, rowsPerCheck: 4 }, plainRows(2, 32));

describe('the checks of a block', () => {
  const { stored, proof } = BLOCK;
  const rowsEnd = plainRowBytes(proof);

  it('hold one after the other, each saying where the next begins', () => {
    const walk = new CheckWalk(stored.slice(), rowsEnd, proof);
    let at = 0;
    for (let check = 0; check < walk.checkCount; check++) {
      const next = walk.verify(check, at);
      expect(next).toBeGreaterThan(at);
      walk.pass(check, at);
      at = next;
    }
    expect([walk.checkCount, at]).toEqual([8, rowsEnd]);
  });

  it('fail where one byte of their rows is another, and only those', () => {
    for (let p = 0; p < rowsEnd; p += 7) {
      const bytes = stored.slice();
      bytes[p] ^= 0x11;
      const walk = new CheckWalk(bytes, rowsEnd, proof);
      let at = 0;
      let check = 0;
      for (; check < walk.checkCount; check++) {
        const next = walk.verify(check, at);
        if (next < 0) break;
        walk.pass(check, at);
        at = next;
      }
      expect(check).toBeLessThan(walk.checkCount);
      // The damage is in the rows of the check that fails: not before them, and before what it says.
      expect(p).toBeGreaterThanOrEqual(at);
      expect(p).toBeLessThan(walk.suspectEnd);
    }
  });
});

describe('what a seal knows of a block', () => {
  const proof: BlockProof = { storedBytes: 200, rowCount: 33, rowsPerCheck: 16, checks: new Uint32Array(3) };

  it('can decide only with as many checks as its rows need, of all kinds', () => {
    expect(hasChecks(proof)).toBe(true);
    expect(hasChecks({ ...proof, rowsPerCheck: 0 })).toBe(false);
    expect(hasChecks({ ...proof, rowCount: 49 })).toBe(false);
    expect(hasChecks({ ...proof, firstSeqs: new Float64Array(2) })).toBe(false);
    expect(hasChecks({ ...proof, continuations: new Uint8Array(4) })).toBe(false);
  });

  it('says how many bytes of rows there are: all but the checksum, the offsets and their number', () => {
    expect(plainRowBytes(proof)).toBe(200 - 4 - 2 * 3 - 2);
  });

  it('is taken from the record block by block, and is nothing beyond the last', () => {
    const record = {
      rowsPerCheck: 2,
      blockStoredBytes: [100, 50],
      blockRows: [5, 2],
      checks: Uint32Array.of(1, 2, 3, 4),
      firstSeqs: Float64Array.of(10, 11, 12, 13),
      continuations: Uint8Array.of(0, 1, 0, 1),
    } as const;
    expect(blockProof(record, 0)).toMatchObject({ storedBytes: 100, rowCount: 5, checks: Uint32Array.of(1, 2, 3) });
    expect(blockProof(record, 1)).toEqual({
      storedBytes: 50,
      rowCount: 2,
      rowsPerCheck: 2,
      checks: Uint32Array.of(4),
      firstSeqs: Float64Array.of(13),
      continuations: Uint8Array.of(1),
    });
    expect(blockProof(record, 2)).toBeUndefined();
    expect(blockProof(record, -1)).toBeUndefined();
  });
});
