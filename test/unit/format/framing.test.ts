/** Units with their checksum: framing, verifying, the place of damage, and nothing decompressed before the checksum holds. */
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../../src/common/bytes.ts';
import { damage } from '../../../src/common/damage.ts';
import { CorruptionError, InternalError } from '../../../src/common/errors.ts';
import { type BlockCodec, loadCodec, NO_CODEC } from '../../../src/format/codecs.ts';
import { decodeUnit, frameUnit, unframeUnit } from '../../../src/format/framing.ts';
import { utf8 } from './block-samples.ts';

function damageOf(run: () => unknown): CorruptionError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(CorruptionError);
    return error as CorruptionError;
  }
  throw new Error('nothing was thrown');
}

describe('frameUnit', () => {
  it('appends the checksum of what is stored', () => {
    expect(toHex(frameUnit(utf8('123456789'), NO_CODEC))).toBe('313233343536373839cbf43926');
    expect(toHex(frameUnit(new Uint8Array(0), NO_CODEC))).toBe('00000000');
  });

  it.each(['snappy', 'zlib', 'lz4', 'zstd'] as const)('compresses with %s and is undone', async (name) => {
    const codec = await loadCodec(name);
    const payload = utf8('words '.repeat(100));
    const stored = frameUnit(payload, codec);
    expect(stored.length).toBeLessThan(100);
    expect(unframeUnit(stored, codec, 'block', payload.length)).toEqual(payload);
  });
});

describe('unframeUnit', () => {
  const stored = fromHex('313233343536373839cbf43926');

  it('gives a plain view of the stored bytes, also of a Buffer', () => {
    const payload = unframeUnit(Buffer.from(stored), NO_CODEC, 'block', 0);
    expect(payload).toEqual(utf8('123456789'));
    expect(Object.getPrototypeOf(payload)).toBe(Uint8Array.prototype);
    expect(unframeUnit(stored, NO_CODEC, 'block', 0).buffer).toBe(stored.buffer);
  });

  it('finds every flipped bit', () => {
    for (let bit = 0; bit < stored.length * 8; bit++) {
      const bytes = stored.slice();
      bytes[bit >> 3] ^= 1 << (bit & 7);
      expect(damageOf(() => unframeUnit(bytes, NO_CODEC, 'index', 0)).code).toBe('BAD_CHECKSUM');
    }
  });

  it('reports the stored and the computed checksum and the place', () => {
    const bytes = stored.slice();
    bytes[0] = 0x30;
    const [finding] = damageOf(() => unframeUnit(bytes, NO_CODEC, 'index', 0)).findings;
    expect(finding).toMatchObject({ expected: 'crc32:cbf43926', at: { unit: 'index', offset: 0, length: 13 } });
    expect(finding.found).toMatch(/^crc32:[0-9a-f]{8}$/);
    expect(finding.found).not.toBe(finding.expected);
  });

  it.each([0, 1, 3])('calls %i bytes truncated', (length) => {
    const [finding] = damageOf(() => unframeUnit(stored.subarray(0, length), NO_CODEC, 'stats', 0)).findings;
    expect(finding).toMatchObject({ code: 'TRUNCATED', found: `${length} bytes`, at: { unit: 'stats' } });
  });

  it('verifies the checksum before it decompresses', async () => {
    const touched: string[] = [];
    const codec: BlockCodec = {
      name: 'lz4',
      compress: (bytes) => bytes,
      decompress: (bytes) => {
        touched.push('decompress');
        return bytes;
      },
    };
    damageOf(() => unframeUnit(Uint8Array.of(1, 2, 3, 4, 5), codec, 'block', 9));
    expect(touched).toEqual([]);
  });

  it('names the unit whose bytes do not decompress', async () => {
    const lz4 = await loadCodec('lz4');
    const bytes = frameUnit(utf8('not lz4 at all'), NO_CODEC);
    const [finding] = damageOf(() => unframeUnit(bytes, lz4, 'filter', 1000)).findings;
    expect(finding).toMatchObject({
      code: 'DECOMPRESS_FAILED',
      at: { unit: 'filter', offset: 0, length: bytes.length },
    });
  });

  it('does not mistake a bug for damage', () => {
    const codec: BlockCodec = {
      name: 'lz4',
      compress: (bytes) => bytes,
      decompress: () => {
        throw new InternalError('a bug');
      },
    };
    expect(() => unframeUnit(stored, codec, 'block', 9)).toThrow(InternalError);
  });
});

describe('decodeUnit', () => {
  const payload = utf8('words '.repeat(100));
  const fails = (bytes: Uint8Array): never => {
    throw damage('MALFORMED', { unit: 'block', offset: 300, length: bytes.length - 300 }, 'the second half is wrong');
  };

  it('gives what the decoder makes of the payload', async () => {
    const lz4 = await loadCodec('lz4');
    expect(decodeUnit(frameUnit(payload, lz4), lz4, 'block', 1000, (bytes) => bytes.length)).toBe(payload.length);
  });

  it('places damage of the payload in the stored unit, as exactly as that can be said', async () => {
    const place = (stored: Uint8Array, codec: BlockCodec) =>
      damageOf(() => decodeUnit(stored, codec, 'block', 1000, fails)).findings[0].at;
    expect(place(frameUnit(payload, NO_CODEC), NO_CODEC)).toEqual({ unit: 'block', offset: 300, length: 300 });
    const lz4 = await loadCodec('lz4');
    const stored = frameUnit(payload, lz4);
    expect(stored.length).toBeLessThan(300);
    expect(place(stored, lz4)).toEqual({ unit: 'block', offset: 0, length: stored.length });
  });
});
