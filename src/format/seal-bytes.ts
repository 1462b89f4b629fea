/**
 * Big-endian fields, varints and records of a seal, out of and into numbers. A seal is small next to its object, but the row
 * checks of a large table are hundreds of kilobytes, so both sides are linear and allocate once.
 *
 * ```
 * u8, u16, u32   big-endian
 * u64            big-endian, at most 2^53 - 1: a larger one is damage, because nothing here writes it
 * i64            big-endian; -Infinity (no time) is stored as -2^63
 * varint         unsigned LEB128 below 2^53, shortest form only: 7 bits per byte, lowest first
 * pair           a varint of 2 * number + bit, exact for every safe number
 * ULID           16 bytes, the 128-bit number big-endian
 * ```
 *
 * ```example
 * 2a                                  varint=42
 * ac 02                               varint=300
 * 81 80 80 80 80 80 80 10             pair=4503599627370496 bit=1
 * 80 00 00 00 00 00 00 00             i64=-9223372036854775808
 * ```
 *
 * Only the shortest form of a varint is read, so that a value has one stored form and a seal that decodes re-encodes to itself.
 */
import { assertThat } from '../common/assert.ts';
import { copyBytes, TWO_POW_32 } from '../common/bytes.ts';
import { damage } from '../common/damage.ts';
import type { CorruptionError } from '../common/errors.ts';
import { type Ulid, ulidFromBytes } from '../common/ulid.ts';

/** A growing byte buffer. */
export class SealWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Room for `bytes` more; returns where they begin. */
  #room(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }

  u8(value: number): void {
    const at = this.#room(1);
    this.#bytes[at] = value;
  }

  u16(value: number): void {
    const at = this.#room(2);
    this.#view.setUint16(at, value);
  }

  u32(value: number): void {
    assertThat(Number.isInteger(value) && value >= 0 && value < TWO_POW_32, 'a u32 of a seal fits', { value });
    const at = this.#room(4);
    this.#view.setUint32(at, value);
  }

  u64(value: number): void {
    assertThat(Number.isSafeInteger(value) && value >= 0, 'a u64 of a seal is a safe integer', { value });
    const at = this.#room(8);
    this.#view.setUint32(at, Math.floor(value / TWO_POW_32));
    this.#view.setUint32(at + 4, value % TWO_POW_32);
  }

  /** A time in ms, clipped to i64. */
  i64(value: number): void {
    const at = this.#room(8);
    const clipped = value <= -(2 ** 63) ? -(2n ** 63n) : value >= 2 ** 63 ? 2n ** 63n - 1n : BigInt(Math.trunc(value));
    this.#view.setBigInt64(at, clipped);
  }

  /** `low + 2 * high` as a varint, `low` one bit; for plain numbers see `varint`. Exact for every safe `high`. */
  varintOfPair(high: number, low: number): void {
    assertThat(Number.isSafeInteger(high) && high >= 0, 'a varint of a seal is a safe integer', { high });
    let byte = low + 2 * (high % 64);
    let rest = Math.floor(high / 64);
    while (rest > 0) {
      this.u8(byte | 0x80);
      byte = rest % 128;
      rest = Math.floor(rest / 128);
    }
    this.u8(byte);
  }

  varint(value: number): void {
    this.varintOfPair(Math.floor(value / 2), value % 2);
  }

  /**
   * Checks `from` up to, not including, `to` of a rows record. With sequence numbers each check has before it, as a varint, how
   * far its own is from that of the check before (`previousSeq` for the first), and the continuation bit. Nearly all of those
   * distances fit one byte, and there is one for every row of the log.
   */
  checks(
    checks: Uint32Array,
    from: number,
    to: number,
    seqs: Float64Array | undefined,
    bits: Uint8Array,
    previousSeq: number,
  ): void {
    let seq = previousSeq;
    for (let i = from; i < to; i++) {
      if (seqs !== undefined) {
        const delta = seqs[i] - seq;
        seq = seqs[i];
        if (delta >= 0 && delta < 64) {
          const at = this.#room(1);
          this.#bytes[at] = 2 * delta + bits[i];
        } else this.varintOfPair(delta, bits[i]);
      }
      const at = this.#room(4);
      this.#view.setUint32(at, checks[i]);
    }
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** Bytes of a fixed-size field. */
  fixed(bytes: Uint8Array, size: number): void {
    assertThat(bytes.length === size, 'a fixed field of a seal has its size', { size, found: bytes.length });
    this.bytes(bytes);
  }

  /** One record: tag, length, payload. */
  record(tag: number, write: (writer: this) => void): void {
    this.u16(tag);
    const lengthAt = this.#room(4);
    write(this);
    this.#view.setUint32(lengthAt, this.#length - lengthAt - 4);
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }
}

/** Reads the payload of one record; reading past its end is `BAD_SEAL`. */
export class SealReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#at = start;
    this.#end = end;
  }

  get position(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#end - this.#at;
  }

  bad(message: string): CorruptionError {
    return damage('BAD_SEAL', { unit: 'seal', offset: this.#at, length: this.#end - this.#at }, message);
  }

  /** Steps over `bytes` and returns where they begin. */
  #take(bytes: number): number {
    if (bytes > this.remaining) throw this.bad('A record of the seal is too short');
    const at = this.#at;
    this.#at += bytes;
    return at;
  }

  /** Steps over `bytes`. */
  skip(bytes: number): void {
    this.#take(bytes);
  }

  u8(): number {
    return this.#bytes[this.#take(1)];
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  u64(): number {
    const at = this.#take(8);
    const value = this.#view.getUint32(at) * TWO_POW_32 + this.#view.getUint32(at + 4);
    if (!Number.isSafeInteger(value)) throw this.bad('A number of the seal is above 2^53 - 1');
    return value;
  }

  i64(): number {
    return Number(this.#view.getBigInt64(this.#take(8)));
  }

  /** The low bit of the last varint that was read. */
  lowBit = 0;

  /**
   * A varint without its lowest bit, which goes to `lowBit`. Only the shortest form is accepted. The caller checks that the
   * number is a safe integer; one that is too large is not.
   */
  varintHigh(): number {
    let byte = this.u8();
    this.lowBit = byte & 1;
    let value = (byte >>> 1) & 63;
    for (let factor = 64; byte >= 0x80; factor *= 128) {
      byte = this.u8();
      value += (byte & 0x7f) * factor;
      if (byte === 0) throw this.bad('A varint of the seal is malformed');
    }
    return value;
  }

  varint(): number {
    const value = 2 * this.varintHigh() + this.lowBit;
    if (!Number.isSafeInteger(value)) throw this.bad('A varint of the seal is too large');
    return value;
  }

  /** An own copy. */
  bytes(length: number): Uint8Array {
    return copyBytes(this.#bytes.subarray(this.#take(length), this.#at));
  }

  ulid(): Ulid {
    return ulidFromBytes(this.#bytes.subarray(this.#take(16), this.#at));
  }

  /** A number that stands for one of `values`. */
  choice<T>(values: readonly T[], name: string): T {
    const at = this.u8();
    if (at >= values.length) throw this.bad(`The seal has an unknown ${name}`);
    return values[at];
  }
}
