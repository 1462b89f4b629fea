/**
 * The sequence tracker of a manifest: a lossy map from sequence numbers to wall-clock seconds, delta-of-delta coded.
 *
 * ```
 * u8 version, 1 or 2 | u32 LE count | column of sequence numbers | column of seconds
 *                      ^ the only little-endian number outside of FlatBuffers and codecs
 *
 * column   a stream of bits, most significant first, zeros to a whole byte at its end:
 *          32 bits count again | first value, i64 | per further value its delta minus the delta before (0 at first):
 *          0                      0
 *          up to +-63             10   and 7 bits, two's complement
 *          up to +-255            110  and 9 bits
 *          up to +-2047           1110 and 12 bits
 *          any other              1111 and 32 bits in version 1, 64 bits in version 2
 * ```
 *
 * Version 1, deltas of 100 and then 1,000 seconds:
 *
 * ```example
 * 01                          version=1
 * 02 00 00 00                 count=2
 * 00 00 00 02                 count=2
 * 00 00 00 00 00 00 00 64     seq=100
 * c6 40                       110 001100100, then zeros: 100 more, seq=200
 * 00 00 00 02                 count=2
 * 00 00 00 00 00 00 03 e8     time_s=1000
 * e3 e8                       1110 001111101000: 1,000 more, time_s=2000
 * ```
 *
 * Version 2, because the second delta is 2^40 - 1 and the third 2^40 - 2 less:
 *
 * ```example
 * 02                          version=2
 * 03 00 00 00                 count=3
 * 00 00 00 03                 count=3
 * 00 00 00 00 00 00 00 01     seq=1
 * f0 00 00 0f ff ff ff ff     1111 000000ffffffffff: seq=1099511627776
 * ff ff ff ff 00 00 00 00 02  1111 ffffff0000000002: seq=1099511627777
 * 00 00 00 03                 count=3
 * 00 00 00 00 6b 0b fc 7d     time_s=1795947645
 * c4 10                       110 001000001, 0: 65 each, time_s=1795947710 time_s=1795947775
 * ```
 *
 * SlateDB up to 0.17 knows version 1 only: it cuts a difference outside of 32 bits, which then decodes wrongly, and does not
 * open a database with version 2. 0.18 writes version 2 exactly where such a difference is, and so does this program where
 * the database shows 0.18 already. Elsewhere the pairs before such a jump are dropped: a map that forgets is what the tracker
 * is anyway, and nothing else rests on it.
 *
 * SlateDB panics at its next flush if a column descends or the last second is in the future. The functions that add pairs
 * therefore never produce such a tracker.
 */
import { assertThat } from '../common/assert.ts';
import { damage } from '../common/damage.ts';
import { unknownVersion } from './versions.ts';

/** What fits everywhere, and what has differences outside of 32 bits. */
const NARROW = 1;
const WIDE = 2;
const TRACKER_HEADER_BYTES = 5;
const COUNT_BITS = 32;
const FIRST_BITS = 64;
/** SlateDB's capacity; above it every second pair is dropped, so a tracker covers all of a long life, ever more coarsely. */
const MAX_PAIRS = 8192;
const MIN_INTERVAL_S = 60;
const MIN_I32 = -(2 ** 31);
const MAX_I32 = 2 ** 31 - 1;

/** Two columns of equal length. */
export interface SequenceTracker {
  seqs: number[];
  timesS: number[];
}

export interface TrackerPair {
  seq: number;
  timeS: number;
}

interface Code {
  /** Greatest magnitude that SlateDB gives to this code. */
  limit: number;
  prefix: number;
  prefixBits: number;
  bits: number;
}

/** `0` is not in the list: it stands for no change. Nor is `1111`, for all that is larger. */
const CODES: readonly Code[] = [
  { limit: 63, prefix: 0b10, prefixBits: 2, bits: 7 },
  { limit: 255, prefix: 0b110, prefixBits: 3, bits: 9 },
  { limit: 2047, prefix: 0b1110, prefixBits: 4, bits: 12 },
];
const LARGE_PREFIX = 0b1111;
const LARGE_PREFIX_BITS = 4;

// ---- bytes

/** Bits from the most significant of each byte on. One bit at a time: a tracker has 8,192 pairs at most. */
class BitWriter {
  #bytes: number[] = [];
  #partial = 0;
  #partialBits = 0;

  /** The low `count` bits (at most 32) of `value`, two's complement. */
  write(value: number, count: number): void {
    for (let bit = count - 1; bit >= 0; bit--) {
      this.#partial = (this.#partial << 1) | ((value >>> bit) & 1);
      if (++this.#partialBits === 8) this.#flush();
    }
  }

  /** 64 bits, two's complement. */
  write64(value: number): void {
    this.write(Math.floor(value / 2 ** 32), 32);
    this.write(value, 32);
  }

  /** Pads with zeros to a whole byte. */
  finish(): number[] {
    if (this.#partialBits > 0) {
      this.#partial <<= 8 - this.#partialBits;
      this.#flush();
    }
    return this.#bytes;
  }

  #flush(): void {
    this.#bytes.push(this.#partial);
    this.#partial = 0;
    this.#partialBits = 0;
  }
}

/** The same, reading. Reading past the end is damage; the bits that pad the last byte are not looked at. */
class BitReader {
  readonly #bytes: Uint8Array;
  #bit: number;

  constructor(bytes: Uint8Array, startByte: number) {
    this.#bytes = bytes;
    this.#bit = 8 * startByte;
  }

  get remaining(): number {
    return 8 * this.#bytes.length - this.#bit;
  }

  /** `count` bits (at most 32), unsigned. */
  read(count: number): number {
    if (count > this.remaining) throw malformed(this.#bytes, 'A column of the sequence tracker is cut');
    let value = 0;
    for (let i = 0; i < count; i++) {
      value = (value << 1) | ((this.#bytes[this.#bit >> 3] >> (7 - (this.#bit & 7))) & 1);
      this.#bit++;
    }
    return value >>> 0;
  }

  signed(count: number): number {
    const value = this.read(count);
    return value >= 2 ** (count - 1) ? value - 2 ** count : value;
  }

  /** An i64; values beyond 2^53 come out inexact, and still beyond it. */
  signed64(): number {
    const high = this.signed(32);
    return high * 2 ** 32 + this.read(32);
  }

  /** Position in bytes after skipping the padding of the byte that was begun. */
  get nextByte(): number {
    return Math.ceil(this.#bit / 8);
  }
}

function malformed(bytes: Uint8Array, message: string) {
  return damage('MALFORMED', { unit: 'object', offset: 0, length: bytes.length }, message);
}

/**
 * Decodes the bytes of a tracker; offsets in errors are those of the tracker. Throws damage `MALFORMED`, `FORMAT_TOO_NEW` as
 * `unknownVersion` decides. Whether the columns ascend is not checked here.
 */
export function decodeTracker(bytes: Uint8Array): SequenceTracker {
  if (bytes.length === 0) throw malformed(bytes, 'The sequence tracker is empty');
  const [version] = bytes;
  if (version !== NARROW && version !== WIDE) {
    throw unknownVersion('The sequence tracker has version', version, WIDE, { unit: 'object', offset: 0, length: 1 });
  }
  if (bytes.length < TRACKER_HEADER_BYTES) throw malformed(bytes, 'The sequence tracker is too short');
  const count = new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(1, true);
  const seqs = decodeColumn(bytes, TRACKER_HEADER_BYTES, count, version);
  const times = decodeColumn(bytes, seqs.end, count, version);
  if (times.end !== bytes.length) throw malformed(bytes, 'Bytes follow the sequence tracker');
  if (seqs.values.some((seq) => seq < 0)) throw malformed(bytes, 'The sequence tracker has a number above 2^53 - 1');
  return { seqs: seqs.values, timesS: times.values };
}

type Version = typeof NARROW | typeof WIDE;

/** One column. Its count is stored twice; two different ones are damage, because SlateDB crashes on them. */
function decodeColumn(
  bytes: Uint8Array,
  start: number,
  count: number,
  version: Version,
): { values: number[]; end: number } {
  const reader = new BitReader(bytes, start);
  if (reader.read(COUNT_BITS) !== count) throw malformed(bytes, 'The columns of the sequence tracker differ in length');
  const values: number[] = [];
  if (count === 0) return { values, end: reader.nextByte };
  // Every value after the first takes at least one bit.
  if (FIRST_BITS + count - 1 > reader.remaining) throw malformed(bytes, 'A column of the sequence tracker is cut');
  let value = reader.signed64();
  let delta = 0;
  for (let i = 0; ; i++) {
    if (!Number.isSafeInteger(value) || !Number.isSafeInteger(delta))
      throw malformed(bytes, 'The sequence tracker has a number beyond 2^53');
    values.push(value);
    if (i === count - 1) return { values, end: reader.nextByte };
    const difference = readDifference(reader, version);
    // Between numbers below 2^53 that ascend no difference of deltas is larger; and the sums stay exact.
    delta = Number.isSafeInteger(difference) ? delta + difference : Number.NaN;
    value += delta;
  }
}

/** The prefix is read bit by bit: each 1 goes to the next longer code, the first 0 says which one it is. */
function readDifference(reader: BitReader, version: Version): number {
  if (reader.read(1) === 0) return 0;
  for (const code of CODES) if (reader.read(1) === 0) return reader.signed(code.bits);
  return version === WIDE ? reader.signed64() : reader.signed(32);
}

/** Whether the bytes are a tracker that releases before 0.18 do not open. */
export function isWideTracker(bytes: Uint8Array | undefined): boolean {
  return bytes?.[0] === WIDE;
}

/** The bytes of a tracker: version 2 where a difference of deltas does not fit in 32 bits, else version 1. */
export function encodeTracker(tracker: SequenceTracker): Uint8Array {
  assertThat(tracker.seqs.length === tracker.timesS.length, 'the columns of a tracker are equally long');
  const version = encodableFrom(tracker.seqs) === 0 && encodableFrom(tracker.timesS) === 0 ? NARROW : WIDE;
  const seqs = encodeColumn(tracker.seqs, version);
  const times = encodeColumn(tracker.timesS, version);
  const out = new Uint8Array(TRACKER_HEADER_BYTES + seqs.length + times.length);
  out[0] = version;
  new DataView(out.buffer).setUint32(1, tracker.seqs.length, true);
  out.set(seqs, TRACKER_HEADER_BYTES);
  out.set(times, TRACKER_HEADER_BYTES + seqs.length);
  return out;
}

function encodeColumn(values: readonly number[], version: Version): number[] {
  const writer = new BitWriter();
  writer.write(values.length, COUNT_BITS);
  if (values.length > 0) writer.write64(values[0]);
  let delta = 0;
  for (let i = 1; i < values.length; i++) {
    const difference = values[i] - values[i - 1] - delta;
    assertThat(Number.isSafeInteger(difference), 'a difference of the tracker is exact', { difference });
    delta += difference;
    writeDifference(writer, difference, version);
  }
  return writer.finish();
}

function writeDifference(writer: BitWriter, difference: number, version: Version): void {
  if (difference === 0) {
    writer.write(0, 1);
    return;
  }
  const code = CODES.find(({ limit }) => Math.abs(difference) <= limit);
  writer.write(code?.prefix ?? LARGE_PREFIX, code?.prefixBits ?? LARGE_PREFIX_BITS);
  if (code !== undefined) writer.write(difference, code.bits);
  else if (version === WIDE) writer.write64(difference);
  else writer.write(difference, 32);
}

function fitsI32(value: number): boolean {
  return value >= MIN_I32 && value <= MAX_I32;
}

// ---- maintenance

/** Decides which writes of this process leave a pair: at most one per 60 seconds, the first always. */
export class TrackerSampler {
  #lastTimeS: number | undefined;

  /** The pair to keep for a write with `seq` committed at `nowMs`, if it is time for one. */
  sample(seq: number, nowMs: number): TrackerPair | undefined {
    const timeS = Math.floor(nowMs / 1000);
    if (this.#lastTimeS !== undefined && timeS < this.#lastTimeS + MIN_INTERVAL_S) return undefined;
    this.#lastTimeS = timeS;
    return { seq, timeS };
  }
}

/**
 * The tracker with `pairs` added at its end, a new value. Pairs that would make a column descend or that are after `nowMs` are
 * left out, also those that were in the tracker before. Above 8192 pairs every second one is dropped; unless it `mayBeWide`, so
 * are all pairs before a jump that version 1 cannot hold.
 */
export function appendToTracker(
  tracker: SequenceTracker,
  pairs: readonly TrackerPair[],
  nowMs: number,
  mayBeWide: boolean,
): SequenceTracker {
  const nowS = Math.floor(nowMs / 1000);
  let kept: TrackerPair[] = [];
  const add = (pair: TrackerPair) => {
    const last = kept.at(-1);
    if (pair.timeS > nowS || (last !== undefined && (pair.seq < last.seq || pair.timeS < last.timeS))) return;
    kept.push(pair);
    if (kept.length > MAX_PAIRS) kept = kept.filter((_, i) => i % 2 === 0);
  };
  for (let i = 0; i < tracker.seqs.length; i++) add({ seq: tracker.seqs[i], timeS: tracker.timesS[i] });
  for (const pair of pairs) add(pair);
  const all = { seqs: kept.map((pair) => pair.seq), timesS: kept.map((pair) => pair.timeS) };
  return mayBeWide ? all : narrowTracker(all);
}

/** The pairs from the first one on from which version 1 can hold both columns. */
export function narrowTracker({ seqs, timesS }: SequenceTracker): SequenceTracker {
  // Cutting one column can leave the other without the delta that made its next one small.
  for (;;) {
    const start = Math.max(encodableFrom(seqs), encodableFrom(timesS));
    if (start === 0) return { seqs, timesS };
    seqs = seqs.slice(start);
    timesS = timesS.slice(start);
  }
}

/** The least index from which on version 1 can hold a column. */
function encodableFrom(values: readonly number[]): number {
  let start = 0;
  let delta = 0;
  for (let i = 1; i < values.length; i++) {
    const next = values[i] - values[i - 1];
    if (fitsI32(next - delta)) {
      delta = next;
    } else {
      // A column that begins at the value before this one has no delta yet.
      start = fitsI32(next) ? i - 1 : i;
      delta = start === i ? 0 : next;
    }
  }
  return start;
}
