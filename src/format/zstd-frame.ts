/**
 * How many bytes zstd frames expand to, read from their headers without decompressing anything (RFC 8878).
 *
 * ```
 * frame    u32 LE magic 0xfd2fb528 | u8 descriptor | u8 window, unless single | dictionary id, 0 to 4 bytes |
 *          content size, 0 to 8 bytes LE | blocks | u32 LE of their xxHash64, if so stated
 * descr.   bits 7-6 size code: 0 (1 byte if single, else none), 1 (2 bytes, 256 added), 2 (4 bytes), 3 (8 bytes)
 *          bit 5 single segment, bit 3 reserved, bit 2 content checksum, bits 1-0 dictionary id of 0, 1, 2 or 4 bytes
 * block    u24 LE: bit 0 last, bits 2-1 type (0 raw, 1 run of one byte, 2 compressed), bits 23-3 size
 * skipped  u32 LE magic 0x184d2a50 to 5f | u32 LE length | bytes
 * ```
 *
 * ```example
 * 28 b5 2f fd                 magic
 * 20                          single segment, size in one byte
 * 05                          content=5
 * 29 00 00                    the last block, raw, 5 bytes
 * 68 65 6c 6c 6f              text="hello"
 * ```
 *
 * Decompressors that take the content size of a frame at its word allocate what a damaged header says. Walking the block
 * headers bounds the output by bytes that are really there: raw and run-length blocks state their size, a compressed block
 * yields at most 128 KiB. Frames without a content size, as streaming encoders write them, are bounded the same way.
 */

export interface OutputBound {
  bytes: number;
  /** Every frame states its content size, so the output has exactly `bytes` bytes. */
  exact: boolean;
}

const FRAME_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const ZSTD_BLOCK_BYTES = 128 * 1024;

/** The bound, or the reason why these are not whole frames. */
export function zstdOutputBound(bytes: Uint8Array): OutputBound | string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let total = 0;
  let exact = true;
  let at = 0;
  let frames = 0;
  while (at < bytes.length) {
    if (at + 8 > bytes.length) return 'frame header cut';
    const magic = view.getUint32(at, true);
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
      at += 8 + view.getUint32(at + 4, true);
      if (at > bytes.length) return 'skippable frame cut';
      continue;
    }
    if (magic !== FRAME_MAGIC) return 'no frame';
    const frame = walkFrame(bytes, view, at);
    if (typeof frame === 'string') return frame;
    if (frame.contentBytes === undefined) exact = false;
    else if (frame.contentBytes > frame.blockBytes) return 'content size larger than its blocks can hold';
    total += frame.contentBytes ?? frame.blockBytes;
    at = frame.end;
    frames++;
  }
  return frames === 0 ? 'no frame' : { bytes: total, exact };
}

interface FrameShape {
  contentBytes: number | undefined;
  blockBytes: number;
  end: number;
}

function walkFrame(bytes: Uint8Array, view: DataView, start: number): FrameShape | string {
  const descriptor = bytes[start + 4];
  const singleSegment = (descriptor & 0x20) !== 0;
  if ((descriptor & 0x08) !== 0) return 'reserved bit set';
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3];
  const sizeCode = descriptor >>> 6;
  const sizeBytes = sizeCode === 0 ? (singleSegment ? 1 : 0) : 1 << sizeCode;
  const sizeAt = start + 5 + (singleSegment ? 0 : 1) + dictionaryBytes;
  let at = sizeAt + sizeBytes;
  if (at > bytes.length) return 'frame header cut';
  const contentBytes = readContentSize(view, sizeAt, sizeBytes);
  let blockBytes = 0;
  for (;;) {
    if (at + 3 > bytes.length) return 'block header cut';
    const header = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
    const type = (header >>> 1) & 3;
    const size = header >>> 3;
    if (type === 3) return 'reserved block type';
    at += 3 + (type === 1 ? 1 : size);
    if (at > bytes.length) return 'block cut';
    if (type !== 2 && size > ZSTD_BLOCK_BYTES) return 'block too large';
    blockBytes += type === 2 ? ZSTD_BLOCK_BYTES : size;
    if ((header & 1) !== 0) break;
  }
  if ((descriptor & 0x04) !== 0) at += 4;
  if (at > bytes.length) return 'content checksum cut';
  return { contentBytes, blockBytes, end: at };
}

function readContentSize(view: DataView, at: number, sizeBytes: number): number | undefined {
  switch (sizeBytes) {
    case 0:
      return undefined;
    case 1:
      return view.getUint8(at);
    case 2:
      return view.getUint16(at, true) + 256;
    case 4:
      return view.getUint32(at, true);
    default:
      return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
  }
}
