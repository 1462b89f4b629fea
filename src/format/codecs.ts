/**
 * The compression codecs of tables, each with bounded decompression.
 *
 * ```
 * 0 none      the payload
 * 1 snappy    one raw block: varint uncompressed length | elements             not the framed stream form
 * 2 zlib      RFC 1950; written at level 6, so it begins with 78 9c
 * 3 lz4       u32 LE uncompressed length | one raw block                       no frame
 * 4 zstd      one frame with its content size; written at level 3              zstd-frame.ts
 * ```
 *
 * One codec for all units of a table; tables of different codecs mix freely. Compression never changes where blocks are cut. Any
 * valid stream is read, no matter which program compressed it, so the same payload may have several stored forms. "hello" four times, with
 * spaces between, as snappy stores it and as lz4 does:
 *
 * ```example
 * 17                          length=23
 * 14 68 65 6c 6c 6f 20        literal of 6 bytes: "hello "
 * 42 06 00                    copy of 17 bytes from 6 before
 * ```
 *
 * ```example
 * 17 00 00 00                 length=23
 * 67 68 65 6c 6c 6f 20 06 00  literal of 6 bytes, then a match of 11 bytes from 6 before
 * 60 20 68 65 6c 6c 6f        literal of 6 bytes: " hello"
 * ```
 *
 * 1. Lengths that compressed data claims for itself are checked before the decompressor is called: against the caller's limit,
 *    and against what the stored bytes can possibly expand to, so that a few damaged bytes never allocate the limit.
 * 2. Packages are loaded on first use, so that a program without compression needs no native code, and by names that bundlers
 *    cannot follow: their binaries cannot be put into a bundle, and the optional ones need not be there. zlib is always there;
 *    lz4, snappy and zstd come from packages (zstd from `node:zlib` where the runtime has it).
 */
import * as zlib from 'node:zlib';
import { damage } from '../common/damage.ts';
import type { CorruptionError } from '../common/errors.ts';
import { loadPackage } from '../common/optional-package.ts';
import { loadPrivatePackage } from './private-package.ts';
import type { Codec } from './table-info.ts';
import { zstdOutputBound } from './zstd-frame.ts';

export interface BlockCodec {
  readonly name: Codec;
  compress(bytes: Uint8Array): Uint8Array;
  /**
   * @param limitBytes most bytes the result may have
   * @throws CorruptionError DECOMPRESS_FAILED
   */
  decompress(bytes: Uint8Array, limitBytes: number): Uint8Array;
}

/** Stored as is: both directions return what they are given. */
export const NO_CODEC: BlockCodec = {
  name: 'none',
  compress: (bytes) => bytes,
  decompress: (bytes) => bytes,
};

const loading = new Map<Codec, Promise<BlockCodec>>();

/**
 * The codec of this name; its package is loaded on first use.
 * @throws IncompatibleError CODEC_MISSING if the package is not installed
 */
export function loadCodec(name: Codec): Promise<BlockCodec> {
  let codec = loading.get(name);
  if (codec === undefined) {
    codec = makeCodec(name);
    loading.set(name, codec);
    // A failed load is tried again: the package may be installed in the meantime.
    codec.catch(() => loading.delete(name));
  }
  return codec;
}

function makeCodec(name: Codec): Promise<BlockCodec> {
  switch (name) {
    case 'none':
      return Promise.resolve(NO_CODEC);
    case 'zlib':
      return Promise.resolve(ZLIB_CODEC);
    case 'lz4':
      return loadLz4();
    case 'snappy':
      return loadSnappy();
    case 'zstd':
      return loadZstd();
  }
}

function failed(bytes: Uint8Array, reason: string): CorruptionError {
  return damage('DECOMPRESS_FAILED', { unit: 'block', offset: 0, length: bytes.length }, reason);
}

/** Runs a decompressor whose output limit is `limitBytes`; whatever it throws means that the bytes are not what they claim to be. */
function guarded(name: Codec, bytes: Uint8Array, limitBytes: number, run: () => Uint8Array): Uint8Array {
  let result: Uint8Array;
  try {
    result = plainView(run());
  } catch (error) {
    throw failed(bytes, `${name}: ${error instanceof Error ? error.message : String(error)}`);
  }
  // Decompressors take no limit of 0, and some round theirs up.
  if (result.length > limitBytes) throw failed(bytes, `${name}: ${result.length} bytes, at most ${limitBytes} allowed`);
  return result;
}

/** The same memory as a plain Uint8Array: hot loops then meet one kind of object only. */
function plainView(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Invariant 1: both limits, before anything is allocated. `possible`: what the stored bytes can expand to. */
function checkClaim(name: Codec, bytes: Uint8Array, claimed: number, possible: number, limitBytes: number): void {
  if (claimed > possible) {
    throw failed(bytes, `${name}: ${bytes.length} stored bytes cannot expand to the ${claimed} bytes they claim`);
  }
  if (claimed > limitBytes) throw failed(bytes, `${name}: ${claimed} bytes claimed, at most ${limitBytes} allowed`);
}

/** A stream that ends early is legal for some decompressors; a claim that does not hold is damage nevertheless. */
function checkLength(name: Codec, bytes: Uint8Array, result: Uint8Array, claimed: number): Uint8Array {
  if (result.length !== claimed) throw failed(bytes, `${name}: ${claimed} bytes claimed, ${result.length} found`);
  return result;
}

// ---- zlib

const ZLIB_CODEC: BlockCodec = {
  name: 'zlib',
  compress: (bytes) => plainView(zlib.deflateSync(bytes, { level: 6 })),
  decompress: (bytes, limitBytes) =>
    guarded('zlib', bytes, limitBytes, () => zlib.inflateSync(bytes, { maxOutputLength: Math.max(1, limitBytes) })),
};

// ---- lz4

const LZ4_PREFIX_BYTES = 4;
/** One length byte of an LZ4 match adds at most 255 bytes. */
const LZ4_MAX_EXPANSION = 255;

const LZ4_PACKAGE = 'lz4-napi';

async function loadLz4(): Promise<BlockCodec> {
  const lz4 = await importPackage(LZ4_PACKAGE, () => importHidden<typeof import('lz4-napi')>(LZ4_PACKAGE));
  return {
    name: 'lz4',
    compress: (bytes) => plainView(lz4.compressSync(asBuffer(bytes))),
    decompress(bytes, limitBytes) {
      if (bytes.length < LZ4_PREFIX_BYTES) throw failed(bytes, 'lz4: shorter than its length prefix');
      const claimed = (bytes[0] | (bytes[1] << 8) | (bytes[2] << 16) | (bytes[3] << 24)) >>> 0;
      checkClaim('lz4', bytes, claimed, LZ4_MAX_EXPANSION * bytes.length, limitBytes);
      const result = guarded('lz4', bytes, limitBytes, () => lz4.uncompressSync(bytes));
      return checkLength('lz4', bytes, result, claimed);
    },
  };
}

/** The packages take Buffers only; this one shares the memory. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

// ---- snappy

/** A copy element of three bytes yields at most 64. */
const SNAPPY_MAX_EXPANSION = 22;

const SNAPPY_PACKAGE = 'snappy';

async function loadSnappy(): Promise<BlockCodec> {
  const snappy = await importPackage(SNAPPY_PACKAGE, () => importHidden<typeof import('snappy')>(SNAPPY_PACKAGE));
  return {
    name: 'snappy',
    compress: (bytes) => plainView(snappy.compressSync(asBuffer(bytes))),
    decompress(bytes, limitBytes) {
      const claimed = snappyClaim(bytes);
      checkClaim('snappy', bytes, claimed, SNAPPY_MAX_EXPANSION * bytes.length, limitBytes);
      const result = guarded('snappy', bytes, limitBytes, () => snappy.uncompressSync(asBuffer(bytes)) as Buffer);
      return checkLength('snappy', bytes, result, claimed);
    },
  };
}

/** The varint before a raw snappy block: its uncompressed length. */
function snappyClaim(bytes: Uint8Array): number {
  let value = 0;
  let scale = 1;
  for (let i = 0; i < 5 && i < bytes.length; i++) {
    value += (bytes[i] & 0x7f) * scale;
    if (bytes[i] < 0x80) return value;
    scale *= 128;
  }
  throw failed(bytes, 'snappy: no length in front');
}

// ---- zstd

const ZSTD_LEVEL = 3;

/** What `node:zlib` has from Node 22.15 on; its types are not known to older ones. */
interface ZlibZstd {
  zstdCompressSync?(bytes: Uint8Array, options: { pledgedSrcSize: number; params: Record<number, number> }): Buffer;
  zstdDecompressSync?(bytes: Uint8Array, options: { maxOutputLength: number }): Buffer;
}
const ZSTD_PARAM_LEVEL = 100;

type Transform = (bytes: Uint8Array, outputBytes: number) => Uint8Array;

async function loadZstd(): Promise<BlockCodec> {
  const [compress, decompress] = builtInZstd() ?? (await wasmZstd());
  return {
    name: 'zstd',
    compress: (bytes) => plainView(compress(bytes, 0)),
    decompress(bytes, limitBytes) {
      const bound = zstdOutputBound(bytes);
      if (typeof bound === 'string') throw failed(bytes, `zstd: ${bound}`);
      if (bound.exact) checkClaim('zstd', bytes, bound.bytes, bound.bytes, limitBytes);
      const capacity = Math.min(bound.bytes, limitBytes);
      const result = guarded('zstd', bytes, limitBytes, () => decompress(bytes, capacity));
      return bound.exact ? checkLength('zstd', bytes, result, bound.bytes) : result;
    },
  };
}

/** Undefined before Node 22.15. Its `maxOutputLength` may not be 0. */
function builtInZstd(): [Transform, Transform] | undefined {
  const { zstdCompressSync, zstdDecompressSync } = zlib as ZlibZstd;
  if (zstdCompressSync === undefined || zstdDecompressSync === undefined) return undefined;
  return [
    (bytes) => zstdCompressSync(bytes, { pledgedSrcSize: bytes.length, params: { [ZSTD_PARAM_LEVEL]: ZSTD_LEVEL } }),
    (bytes, outputBytes) => zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, outputBytes) }),
  ];
}

const ZSTD_PACKAGE = '@bokuweb/zstd-wasm';

/** A copy of the package of our own, see private-package.ts: its memory must not be shared. */
async function wasmZstd(): Promise<[Transform, Transform]> {
  const zstd = await importPackage(ZSTD_PACKAGE, async () => {
    const copy = loadPrivatePackage(ZSTD_PACKAGE) as typeof import('@bokuweb/zstd-wasm');
    await copy.init();
    return copy;
  });
  return [
    (bytes) => zstd.compress(bytes, ZSTD_LEVEL),
    (bytes, outputBytes) => zstd.decompress(bytes, { defaultHeapSize: Math.max(1, outputBytes) }),
  ];
}

// ---- packages

/** A bundler that sees a name which is no literal leaves the import to the runtime. */
async function importHidden<T extends object>(name: string): Promise<T> {
  const loaded = (await import(name)) as T & { default?: T };
  return loaded.default ?? loaded;
}

function importPackage<T>(name: string, load: () => Promise<T>): Promise<T> {
  return loadPackage({ name, what: 'The data is compressed with a codec that', code: 'CODEC_MISSING' }, load);
}
