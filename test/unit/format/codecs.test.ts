/** Compression: round trips, the exact stored forms, and limits that damaged lengths cannot pass. */
import { readFileSync } from 'node:fs';
import zlib, { inflateSync } from 'node:zlib';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { concatBytes, fromHex, toHex } from '../../../src/common/bytes.ts';
import { isCorruption } from '../../../src/common/errors.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { type BlockCodec, loadCodec, NO_CODEC } from '../../../src/format/codecs.ts';
import type { Codec } from '../../../src/format/table-info.ts';
import { zstdOutputBound } from '../../../src/format/zstd-frame.ts';
import { utf8, varintOf } from './block-samples.ts';

const MiB = 1 << 20;
const NAMES = ['snappy', 'zlib', 'lz4', 'zstd'] as const;
const codecs = new Map<Codec, BlockCodec>();
for (const name of NAMES) codecs.set(name, await loadCodec(name));
const codecOf = (name: Codec) => codecs.get(name)!;

function expectFailed(codec: BlockCodec, bytes: Uint8Array, limit: number, text: RegExp): void {
  let error: unknown;
  try {
    codec.decompress(bytes, limit);
  } catch (e) {
    error = e;
  }
  if (!isCorruption(error)) throw new Error(`expected a CorruptionError, got ${String(error)}`);
  expect(error.code).toBe('DECOMPRESS_FAILED');
  expect(error.message).toMatch(text);
}

function samples(): Uint8Array[] {
  const random = new SeededRandom(6);
  const noise = new Uint8Array(5000);
  random.fill(noise);
  return [
    Uint8Array.of(7),
    utf8('apple'.repeat(900)),
    noise,
    new Uint8Array(70_000),
    concatBytes(noise.subarray(0, 700), new Uint8Array(3000), noise),
  ];
}

describe.each(NAMES)('%s', (name) => {
  const codec = codecOf(name);

  it('gives back what was compressed, from views into larger buffers too', () => {
    for (const sample of samples()) {
      const padded = concatBytes(Uint8Array.of(1, 2, 3), sample, Uint8Array.of(4));
      const packed = codec.compress(padded.subarray(3, -1));
      const stored = concatBytes(Uint8Array.of(9), packed, Uint8Array.of(9)).subarray(1, -1);
      expect(Buffer.compare(codec.decompress(stored, sample.length), sample)).toBe(0);
      expect(Buffer.compare(codec.decompress(Buffer.from(stored), MiB), sample)).toBe(0);
    }
  });

  it('gives plain byte arrays, never Buffers', () => {
    const packed = codec.compress(utf8('text'));
    expect(Object.getPrototypeOf(packed)).toBe(Uint8Array.prototype);
    expect(Object.getPrototypeOf(codec.decompress(packed, 4))).toBe(Uint8Array.prototype);
  });

  it('refuses what is larger than the limit, by one byte already', () => {
    for (const sample of samples()) {
      const packed = codec.compress(sample);
      expect(codec.decompress(packed, sample.length).length).toBe(sample.length);
      expectFailed(codec, packed, sample.length - 1, new RegExp(`^${name}: `));
    }
  });

  it('refuses cut and empty input', () => {
    const packed = codec.compress(utf8('apple pear apple pear '.repeat(20)));
    for (const length of [0, 1, 2, 3, 4, 5, 8, packed.length >> 1, packed.length - 1]) {
      expectFailed(codec, packed.subarray(0, length), MiB, new RegExp(`^${name}: `));
    }
  });

  it('is loaded once', async () => {
    expect(await loadCodec(name)).toBe(codec);
  });
});

describe('the forms that SlateDB reads', () => {
  const text = utf8('the same words, the same words, the same words, the same words');

  it('snappy is one raw block', () => {
    const packed = codecOf('snappy').compress(text);
    expect(packed[0]).toBe(text.length);
    // A literal-only block of another encoder.
    const literal = concatBytes(varintOf(5), Uint8Array.of((5 - 1) << 2), utf8('hello'));
    expect(codecOf('snappy').decompress(literal, 5)).toEqual(utf8('hello'));
  });

  it('zlib is a stream of level 6', () => {
    const packed = codecOf('zlib').compress(text);
    expect(toHex(packed.subarray(0, 2))).toBe('789c');
    expect(new Uint8Array(inflateSync(packed))).toEqual(text);
  });

  it('lz4 is a little-endian length and one raw block', () => {
    const packed = codecOf('lz4').compress(text);
    expect(toHex(packed.subarray(0, 4))).toBe('3e000000');
    const literal = concatBytes(fromHex('05000000'), Uint8Array.of(5 << 4), utf8('hello'));
    expect(codecOf('lz4').decompress(literal, 5)).toEqual(utf8('hello'));
  });

  it('zstd is one frame that states its content size', () => {
    const packed = codecOf('zstd').compress(text);
    expect(toHex(packed.subarray(0, 4))).toBe('28b52ffd');
    expect(zstdOutputBound(packed)).toEqual({ bytes: text.length, exact: true });
  });

  it('zstd frames without content size, as streaming encoders write them, are read', () => {
    // Window descriptor 0x58, one last raw block.
    const frame = concatBytes(
      fromHex('28b52ffd 00 58'.replaceAll(' ', '')),
      Uint8Array.of((5 << 3) | 1, 0, 0),
      utf8('hello'),
    );
    expect(zstdOutputBound(frame)).toEqual({ bytes: 5, exact: false });
    expect(codecOf('zstd').decompress(frame, MiB)).toEqual(utf8('hello'));
    expectFailed(codecOf('zstd'), frame, 4, /zstd/);
  });
});

describe('lengths that compressed bytes claim', () => {
  it('lz4 refuses a claim that the stored bytes cannot reach, before allocating it', () => {
    const claimed = concatBytes(fromHex('00000010'), Uint8Array.of(5 << 4), utf8('hello'));
    expectFailed(codecOf('lz4'), claimed, 2 ** 30, /10 stored bytes cannot expand to the 268435456 bytes/);
  });

  it('lz4 refuses input without a whole length', () => {
    expectFailed(codecOf('lz4'), fromHex('010000'), MiB, /shorter than its length prefix/);
  });

  it('lz4 refuses a block that yields less or more than it claims', () => {
    for (const claim of ['04000000', '06000000']) {
      expectFailed(codecOf('lz4'), concatBytes(fromHex(claim), Uint8Array.of(5 << 4), utf8('hello')), MiB, /lz4/);
    }
  });

  it('snappy refuses a claim that the stored bytes cannot reach', () => {
    const block = concatBytes(varintOf(2 ** 28), Uint8Array.of((5 - 1) << 2), utf8('hello'));
    expectFailed(codecOf('snappy'), block, 2 ** 30, /cannot expand/);
    expectFailed(codecOf('snappy'), fromHex('ffffffffff01'), MiB, /no length in front/);
    expectFailed(codecOf('snappy'), fromHex('80'), MiB, /no length in front/);
  });

  it('zlib stops at the limit while inflating', () => {
    expectFailed(
      codecOf('zlib'),
      codecOf('zlib').compress(new Uint8Array(20 * MiB)),
      MiB,
      /zlib: Cannot create a Buffer larger than 1048576/,
    );
  });

  it.each([
    ['nothing', '', 'no frame'],
    ['another magic', '28b52ffe20050000', 'no frame'],
    ['a magic alone', '28b52ffd20', 'frame header cut'],
    ['a cut frame header', '28b52ffdc0000000', 'frame header cut'],
    ['a reserved bit', '28b52ffd28050000', 'reserved bit set'],
    [
      'a content size beyond its blocks',
      '28b52ffd2006 290000 68656c6c6f',
      'content size larger than its blocks can hold',
    ],
    [
      'a content size of 2^63',
      '28b52ffde00000000000000080 290000 68656c6c6f',
      'content size larger than its blocks can hold',
    ],
    ['a reserved block type', '28b52ffd2005 2f0000 68656c6c6f', 'reserved block type'],
    ['a raw block beyond the end', '28b52ffd2005 310000 68656c6c6f', 'block cut'],
    ['a run of more than 128 KiB', '28b52ffd2005 0b0010 00', 'block too large'],
    ['no last block', '28b52ffd2005 280000 68656c6c6f', 'block header cut'],
    ['a missing content checksum', '28b52ffd2405 290000 68656c6c6f 00', 'content checksum cut'],
    ['a cut skippable frame', '502a4d18ff000000 00', 'skippable frame cut'],
    ['only a skippable frame', '502a4d1800000000', 'no frame'],
  ])('zstd refuses %s', (_what, hex, reason) => {
    const bytes = fromHex(hex.replaceAll(' ', ''));
    const bound = zstdOutputBound(bytes);
    expect(bound).toContain(reason);
    expectFailed(codecOf('zstd'), bytes, MiB, /^zstd: /);
  });

  it('zstd bounds several frames together', () => {
    const frame = fromHex('28b52ffd200529000068656c6c6f');
    const skipped = fromHex('502a4d1802000000aabb');
    expect(zstdOutputBound(concatBytes(frame, skipped, frame))).toEqual({ bytes: 10, exact: true });
  });
});

describe('none', () => {
  it('passes bytes through', async () => {
    const bytes = utf8('text');
    expect(NO_CODEC.compress(bytes)).toBe(bytes);
    expect(NO_CODEC.decompress(bytes, 0)).toBe(bytes);
    expect(await loadCodec('none')).toBe(NO_CODEC);
  });
});

describe('a codec whose package is missing', () => {
  afterEach(() => {
    vi.doUnmock('lz4-napi');
    vi.doUnmock('snappy');
    vi.doUnmock('../../../src/format/private-package.ts');
    vi.resetModules();
  });

  async function expectMissing(name: 'lz4' | 'snappy' | 'zstd', packageName: string): Promise<void> {
    const fresh = await import('../../../src/format/codecs.ts');
    await expect(fresh.loadCodec(name)).rejects.toMatchObject({
      code: 'CODEC_MISSING',
      details: { package: packageName, install: `npm install ${packageName}` },
      message: expect.stringContaining(`npm install ${packageName}`),
    });
    vi.doUnmock(packageName);
  }

  it.each([
    ['lz4', 'lz4-napi'],
    ['snappy', 'snappy'],
  ] as const)('%s says what to install, and works once it is there', async (codec, packageName) => {
    vi.resetModules();
    vi.doMock(packageName, () => {
      throw new Error('Cannot find package');
    });
    await expectMissing(codec, packageName);
    const fresh = await import('../../../src/format/codecs.ts');
    expect((await fresh.loadCodec(codec)).name).toBe(codec);
  });

  // Where Node brings zstd along, no package is asked for.
  it.skipIf('zstdCompressSync' in zlib)('zstd says what to install', async () => {
    vi.resetModules();
    vi.doMock('../../../src/format/private-package.ts', () => ({
      loadPrivatePackage: () => {
        throw new Error('Cannot find package');
      },
    }));
    await expectMissing('zstd', '@bokuweb/zstd-wasm');
  });
});

describe('the zstd package', () => {
  // Its second `init` in a process breaks the first: `compress` then returns garbage without an error.
  it('is a copy of its own, whatever the application does with the same package', async () => {
    const shared = await import('@bokuweb/zstd-wasm');
    const text = utf8('words '.repeat(100));
    await shared.init();
    const before = shared.compress(text, 3);
    vi.resetModules();
    const fresh = await import('../../../src/format/codecs.ts');
    const codec = await fresh.loadCodec('zstd');
    expect(codec).not.toBe(codecOf('zstd'));
    // And the application's copy is not touched by ours.
    expect(new Uint8Array(shared.decompress(before))).toEqual(text);
    for (let i = 0; i < 3; i++) {
      await shared.init();
      // The package is ready a little later than it says.
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      for (const each of [codec, codecOf('zstd')]) {
        expect(each.decompress(each.compress(text), text.length)).toEqual(text);
      }
    }
  });
});

describe('objects of SlateDB', () => {
  it('lz4 blocks of it are what this codec makes of the same bytes', () => {
    // Not needed for reading, but it shows that the block form is the same.
    const url = new URL('../../golden/slatedb-0.12.1/codec-lz4/store/db/wal/00000000000000000001.sst', import.meta.url);
    const fence = new Uint8Array(readFileSync(url));
    const stored = fence.subarray(0, 7);
    expect(toHex(codecOf('lz4').decompress(stored, 10))).toBe('0006');
    expect(toHex(codecOf('lz4').compress(fromHex('0006')))).toBe(toHex(stored));
  });
});
