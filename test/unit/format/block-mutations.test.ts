// Damaged bytes under a good checksum: every decoder answers with its typed errors, after few steps, and without growing. How long that
// takes is up to test/fuzz, which measures it.
import { describe, expect, it } from 'vitest';
import { compareBytes, concatBytes } from '../../../src/common/bytes.ts';
import { isCorruption, isDbError } from '../../../src/common/errors.ts';
import { nextInt, SeededRandom } from '../../../src/common/random.ts';
import { type Block, checkBlockOrder, decodeBlock } from '../../../src/format/block.ts';
import { BlockCursor, FoundRow, findInBlock } from '../../../src/format/block-cursor.ts';
import { BloomBuilder } from '../../../src/format/bloom.ts';
import { crc32 } from '../../../src/format/checksum.ts';
import { loadCodec, NO_CODEC } from '../../../src/format/codecs.ts';
import { decodeFilter, encodeFilter } from '../../../src/format/filter.ts';
import { CRC_BYTES, unframeUnit, writeCrc } from '../../../src/format/framing.ts';
import { encodeVersion1, encodeVersion2, randomRows } from './block-samples.ts';

const MUTATIONS = 20_000;
const LIMIT = 1 << 20;
/** Of a row, whatever it shares with the one before: three lengths, sequence number and flags. */
const LEAST_ROW_BYTES = 4;

/** One to three changes of the kinds that storage and bugs make; the lengths stay below twice the input's. */
function mutate(random: SeededRandom, input: Uint8Array): Uint8Array {
  let bytes: Uint8Array = input.slice();
  for (let n = 1 + nextInt(random, 3); n > 0 && bytes.length > 0; n--) {
    const at = nextInt(random, bytes.length);
    switch (nextInt(random, 8)) {
      case 0:
      case 1:
        bytes[at] ^= 1 << nextInt(random, 8);
        break;
      case 2:
        bytes[at] = nextInt(random, 256);
        break;
      case 3:
        bytes[at] = [0, 1, 0x7f, 0x80, 0xff][nextInt(random, 5)];
        break;
      case 4:
        bytes.fill([0, 0xff][nextInt(random, 2)], at, at + 1 + nextInt(random, 8));
        break;
      case 5:
        bytes = bytes.slice(0, at);
        break;
      case 6:
        bytes = concatBytes(
          bytes.subarray(0, at),
          bytes.subarray(Math.min(bytes.length, at + 1 + nextInt(random, 20))),
        );
        break;
      default:
        bytes = concatBytes(bytes.subarray(0, at), bytes.subarray(Math.max(0, at - nextInt(random, 40))));
    }
    // The trailer decides most of what a block is: hit it more often than chance would.
    if (nextInt(random, 4) === 0 && bytes.length > 4)
      bytes[bytes.length - 1 - nextInt(random, 4)] = nextInt(random, 256);
  }
  return bytes;
}

/** Runs a decoder; the answer must be a result or a typed error. */
function decodes(seed: number, run: () => void): boolean {
  try {
    run();
    return true;
  } catch (error) {
    if (isCorruption(error) || (isDbError(error) && error.kind === 'incompatible')) return false;
    throw new Error(`mutation ${seed}: ${String(error)}`, { cause: error });
  }
}

/** Uses a block that passed validation in every way: none may fail or run on. */
function exercise(block: Block): void {
  const cursor = new BlockCursor();
  cursor.attach(block);
  let rows = 0;
  if (block.rowCount > block.bytes.length / LEAST_ROW_BYTES) throw new Error(`${block.rowCount} rows`);
  while (cursor.next()) {
    if (rows > block.rowCount) throw new Error('the rows do not end');
    if (cursor.valueStart + cursor.valueLength > block.bytes.length) throw new Error('value outside of the block');
    if (cursor.keyLength < 1 || cursor.keyLength > 65_535) throw new Error('illegal key length');
    if (!Number.isSafeInteger(cursor.seq)) throw new Error('illegal sequence number');
    rows++;
  }
  if (rows !== block.rowCount) throw new Error(`${rows} rows, ${block.rowCount} counted`);
  cursor.last();
  const key = cursor.key.slice(0, cursor.keyLength);
  while (rows > 0 && cursor.prev()) rows--;
  if (rows !== 1) throw new Error(`${rows - 1} rows missed backward`);
  cursor.seek(key);
  cursor.seekBefore(key);
  findInBlock(block, key, Number.MAX_SAFE_INTEGER, new FoundRow());
}

describe('mutated blocks', () => {
  const rows = randomRows(71, 45).map((row) => ({ ...row, value: row.value.subarray(0, 30) }));

  it.each([
    [1, encodeVersion1(rows)],
    [2, encodeVersion2(rows)],
  ] as const)('of version %i are refused or wholly usable', (version, good) => {
    const random = new SeededRandom(version);
    let accepted = 0;
    for (let seed = 0; seed < MUTATIONS; seed++) {
      const bytes = mutate(random, good);
      const ok = decodes(seed, () => {
        const block = decodeBlock(bytes, version);
        exercise(block);
        checkBlockOrder(block);
      });
      if (ok) accepted++;
    }
    // Changed values pass, as they must; most other changes do not.
    expect(accepted).toBeGreaterThan(MUTATIONS / 100);
    expect(accepted).toBeLessThan(MUTATIONS / 2);
  });

  it('read with the wrong version are refused or wholly usable', () => {
    const random = new SeededRandom(3);
    for (let seed = 0; seed < 2000; seed++) {
      decodes(seed, () => exercise(decodeBlock(mutate(random, encodeVersion1(rows)), 2)));
      decodes(seed, () => exercise(decodeBlock(mutate(random, encodeVersion2(rows)), 1)));
    }
  });

  it('of nothing but noise are refused or wholly usable', () => {
    const random = new SeededRandom(4);
    for (let seed = 0; seed < MUTATIONS; seed++) {
      const bytes = new Uint8Array(nextInt(random, 120));
      random.fill(bytes);
      if (nextInt(random, 2) === 0) bytes.set([0, 0, 0, 1].slice(0, bytes.length), Math.max(0, bytes.length - 4));
      decodes(seed, () => exercise(decodeBlock(bytes, 2)));
      decodes(seed, () => exercise(decodeBlock(bytes, 1)));
    }
  });
});

describe('mutated compressed units', () => {
  const plain = encodeVersion2(randomRows(72, 45));

  it.each(['none', 'snappy', 'zlib', 'lz4', 'zstd'] as const)(
    'of %s give typed errors and bounded output',
    async (name) => {
      const codec = await loadCodec(name);
      const body = codec.compress(plain);
      const random = new SeededRandom(5);
      const before = process.memoryUsage();
      let refused = 0;
      let largest = 0;
      for (let seed = 0; seed < MUTATIONS; seed++) {
        const mutated = mutate(random, body);
        const stored = concatBytes(mutated, new Uint8Array(CRC_BYTES));
        writeCrc(stored, mutated.length, crc32(mutated));
        const ok = decodes(seed, () => {
          largest = Math.max(largest, unframeUnit(stored, codec, 'block', LIMIT).length);
        });
        if (!ok) refused++;
      }
      expect(largest).toBeLessThanOrEqual(LIMIT);
      if (name === 'none') expect(refused).toBe(0);
      else expect(refused).toBeGreaterThan(MUTATIONS / 20);
      const after = process.memoryUsage();
      expect(after.rss - before.rss).toBeLessThan(300 * LIMIT);
      // The codec still works.
      expect(compareBytes(codec.decompress(body, LIMIT), plain)).toBe(0);
    },
  );

  it('without a fixed checksum never reach the decoder', () => {
    const random = new SeededRandom(6);
    const stored = concatBytes(plain, new Uint8Array(CRC_BYTES));
    writeCrc(stored, plain.length, crc32(plain));
    let accepted = 0;
    for (let seed = 0; seed < MUTATIONS; seed++) {
      const mutated = mutate(random, stored);
      if (compareBytes(mutated, stored) === 0) continue;
      if (decodes(seed, () => void unframeUnit(mutated, NO_CODEC, 'block', LIMIT))) accepted++;
    }
    expect(accepted).toBe(0);
  });
});

describe('mutated filters', () => {
  it.each(['legacy', 'composite'] as const)('in %s form are used or not, without an error', (form) => {
    const random = new SeededRandom(7);
    const builder = new BloomBuilder(100, 10);
    const hashes = Int32Array.from({ length: 100 }, () => random.nextUint32() | 0);
    builder.addRange(hashes, hashes, 0, 100);
    const good = encodeFilter(form, builder.finish());
    let used = 0;
    for (let seed = 0; seed < MUTATIONS; seed++) {
      const bytes = mutate(random, good);
      for (const marked of ['legacy', 'composite'] as const) {
        const ok = decodes(seed, () => {
          const filter = decodeFilter(bytes, marked);
          if (filter === undefined) return;
          if (marked === form) used++;
          for (let i = 0; i < 3; i++) filter.mayContain(hashes[i], hashes[99 - i]);
        });
        expect(ok).toBe(true);
      }
    }
    expect(used).toBeGreaterThan(MUTATIONS / 10);
  });
});
