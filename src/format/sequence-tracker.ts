/**
 * The sequence tracker of a manifest: a lossy map from sequence numbers to wall-clock seconds, delta-of-delta coded.
 *
 * ```
 * u8 version = 1 | u32 LE count | sequence numbers | seconds      each array a bit stream, most significant bit first
 * array: 32 bits count | first value, 64 bits | per further value its delta minus the delta before:
 *        0 -> `0`, 7 bits -> `10`, 9 bits -> `110`, 12 bits -> `1110`, 32 bits -> `1111`
 * ```
 *
 * SlateDB panics at its next flush if a column descends or the last second lies in the future, and decodes a difference
 * outside 32 bits wrongly. The functions that add pairs therefore never produce such a tracker; when a jump does not fit,
 * the pairs before it are dropped.
 */
import { assertThat } from '../common/assert.ts';
import { damage, IncompatibleError } from '../common/errors.ts';

const VERSION = 1;
const HEADER_BYTES = 5;
const COUNT_BITS = 32;
const FIRST_BITS = 64;
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

/** `0` is not in the list: it stands for no change. */
const CODES: readonly Code[] = [
  { limit: 63, prefix: 0b10, prefixBits: 2, bits: 7 },
  { limit: 255, prefix: 0b110, prefixBits: 3, bits: 9 },
  { limit: 2047, prefix: 0b1110, prefixBits: 4, bits: 12 },
  { limit: 2 ** 31, prefix: 0b1111, prefixBits: 4, bits: 32 },
];

// ---- bytes

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

  /** Position in bytes after skipping the padding of the byte that was begun. */
  get nextByte(): number {
    return Math.ceil(this.#bit / 8);
  }
}

function malformed(bytes: Uint8Array, message: string) {
  return damage('MALFORMED', { unit: 'object', offset: 0, length: bytes.length }, message);
}

/**
 * Decodes the bytes of a tracker; offsets in errors are those of the tracker. Throws damage `MALFORMED`, `FORMAT_TOO_NEW` for
 * an unknown version. Whether the columns ascend is not checked here.
 */
export function decodeTracker(bytes: Uint8Array): SequenceTracker {
  if (bytes.length < HEADER_BYTES) throw malformed(bytes, 'The sequence tracker is too short');
  if (bytes[0] !== VERSION) {
    throw new IncompatibleError('FORMAT_TOO_NEW', `The sequence tracker has unknown version ${bytes[0]}`);
  }
  const count = new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(1, true);
  const seqs = decodeColumn(bytes, HEADER_BYTES, count);
  const times = decodeColumn(bytes, seqs.end, count);
  if (times.end !== bytes.length) throw malformed(bytes, 'Bytes follow the sequence tracker');
  if (seqs.values.some((seq) => seq < 0)) throw malformed(bytes, 'The sequence tracker has a number above 2^53 - 1');
  return { seqs: seqs.values, timesS: times.values };
}

function decodeColumn(bytes: Uint8Array, start: number, count: number): { values: number[]; end: number } {
  const reader = new BitReader(bytes, start);
  if (reader.read(COUNT_BITS) !== count) throw malformed(bytes, 'The columns of the sequence tracker differ in length');
  const values: number[] = [];
  if (count === 0) return { values, end: reader.nextByte };
  // Every value after the first takes at least one bit.
  if (FIRST_BITS + count - 1 > reader.remaining) throw malformed(bytes, 'A column of the sequence tracker is cut');
  let value = readFirst(reader);
  let delta = 0;
  for (let i = 0; ; i++) {
    if (!Number.isSafeInteger(value)) throw malformed(bytes, 'The sequence tracker has a number beyond 2^53');
    values.push(value);
    if (i === count - 1) return { values, end: reader.nextByte };
    delta += readDifference(reader);
    value += delta;
  }
}

/** The first value, an i64; values beyond 2^53 come out inexact and are refused by the caller. */
function readFirst(reader: BitReader): number {
  const high = reader.signed(32);
  return high * 2 ** 32 + reader.read(32);
}

function readDifference(reader: BitReader): number {
  if (reader.read(1) === 0) return 0;
  for (const code of CODES.slice(0, -1)) if (reader.read(1) === 0) return reader.signed(code.bits);
  return reader.signed(32);
}

/** The bytes of a tracker. Every difference of deltas must fit in 32 bits; what `appendToTracker` returns does. */
export function encodeTracker(tracker: SequenceTracker): Uint8Array {
  assertThat(tracker.seqs.length === tracker.timesS.length, 'the columns of a tracker are equally long');
  const seqs = encodeColumn(tracker.seqs);
  const times = encodeColumn(tracker.timesS);
  const out = new Uint8Array(HEADER_BYTES + seqs.length + times.length);
  out[0] = VERSION;
  new DataView(out.buffer).setUint32(1, tracker.seqs.length, true);
  out.set(seqs, HEADER_BYTES);
  out.set(times, HEADER_BYTES + seqs.length);
  return out;
}

function encodeColumn(values: readonly number[]): number[] {
  const writer = new BitWriter();
  writer.write(values.length, COUNT_BITS);
  if (values.length > 0) {
    writer.write(Math.floor(values[0] / 2 ** 32), 32);
    writer.write(values[0] >>> 0, 32);
  }
  let delta = 0;
  for (let i = 1; i < values.length; i++) {
    const difference = values[i] - values[i - 1] - delta;
    assertThat(fitsI32(difference), 'a difference of the tracker fits in 32 bits', { difference });
    delta += difference;
    writeDifference(writer, difference);
  }
  return writer.finish();
}

function writeDifference(writer: BitWriter, difference: number): void {
  if (difference === 0) {
    writer.write(0, 1);
    return;
  }
  const code = CODES.find(({ limit }) => Math.abs(difference) <= limit)!;
  writer.write(code.prefix, code.prefixBits);
  writer.write(difference, code.bits);
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
 * The tracker with `pairs` added at its end, a new value. Pairs that would make a column descend or that lie after `nowMs` are
 * left out, also those that were in the tracker before. Above 8192 pairs every second one is dropped; where a jump cannot be
 * encoded, all pairs before it.
 */
export function appendToTracker(
  tracker: SequenceTracker,
  pairs: readonly TrackerPair[],
  nowMs: number,
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
  return dropBeforeJumps(kept);
}

/** Columns of the pairs from the first one on from which both can be encoded. */
function dropBeforeJumps(pairs: readonly TrackerPair[]): SequenceTracker {
  let seqs = pairs.map((pair) => pair.seq);
  let timesS = pairs.map((pair) => pair.timeS);
  // Cutting one column can leave the other without the delta that made its next one small.
  for (;;) {
    const start = Math.max(encodableFrom(seqs), encodableFrom(timesS));
    if (start === 0) return { seqs, timesS };
    seqs = seqs.slice(start);
    timesS = timesS.slice(start);
  }
}

/** The least index from which on a column can be encoded. */
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
