/**
 * FlatBuffers wire format: a verifying reader and a builder.
 *
 * ```
 * buffer   u32 root: distance to the root table | ...                   little-endian throughout; positions count from the start
 * table    i32 distance back to its vtable | fields, in any order and with padding
 * vtable   u16 bytes of the vtable | u16 bytes of the table | u16 per slot: where the field is in the table, 0 if it is absent
 * field    scalar: u8, bool, u16, u32, u64, i64, aligned to its size; absent means 0, but for `optionalU16`
 *          reference: u32 distance forward to a table, vector or string
 * vector   u32 count | elements: bytes, u32, or references                aligned to 4 at the count
 * string   u32 bytes | UTF-8 | 0                                          the zero is not counted
 * ```
 *
 * The builder writes back to front, children before parents; within a table fields go by size (8, 4, 2, 1), each by descending
 * slot; equal vtables are stored once, so a distance to a vtable can be negative (a vtable later in the buffer). A small one:
 * a table with the number 2 in its first slot.
 *
 * ```example
 * 0c 00 00 00                 root table at +12
 * 00 00                       padding
 * 06 00 0c 00 04 00           vtable: 6 bytes, a table of 12, slot 0 at 4
 * 06 00 00 00                 table: vtable 6 bytes before
 * 02 00 00 00 00 00 00 00     slot_0=2
 * ```
 *
 * Why not the stock package: its reader trusts every offset (one flipped vector length makes it allocate gigabytes), and its
 * builder orders vtables differently. This builder works exactly as the Rust one does, so that what SlateDB wrote is reproduced
 * byte for byte; a stored manifest that does not re-encode to itself is suspect.
 *
 * Invariants of the reader:
 * 1. a position is used only after its range and its alignment (relative to the buffer's start) were checked;
 * 2. references point forward only, so no cycle exists;
 * 3. the work is linear in the size of the input even if tables are shared (an honest builder never shares them), because every
 *    visit is charged to a budget;
 * 4. a field in a slot above the known ones is noted in `hasUnknownFields`, never an error: *unknown is not broken*.
 */
import { assertThat } from '../common/assert.ts';
import { STRICT_UTF8, TWO_POW_32, UTF8_ENCODER } from '../common/bytes.ts';
import { damage } from '../common/damage.ts';
import type { CorruptionError } from '../common/errors.ts';
import type { FindingPlace } from '../common/finding.ts';

/** How many times the size of the input a decoder may visit before the input counts as malicious. */
const BUDGET_FACTOR = 4;
const BUDGET_EXTRA_BYTES = 1024;
const MAX_SAFE_HIGH = 0x1f_ffff;

/**
 * Reads one FlatBuffer that begins at `start`. Tables and vectors are plain positions in `bytes`; 0 stands for an absent one
 * (no table can begin at 0). Every method throws `MALFORMED` damage, with offsets into `bytes`, instead of reading outside.
 */
export class FlatReader {
  readonly bytes: Uint8Array;
  /** End (exclusive) of the last byte that was used so far. */
  usedEnd: number;
  /** Whether a visited table had fields with ids above the known ones. */
  hasUnknownFields = false;
  readonly #view: DataView;
  readonly #start: number;
  readonly #end: number;
  readonly #unit: FindingPlace['unit'];
  #budgetBytes: number;

  constructor(bytes: Uint8Array, unit: FindingPlace['unit'], start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#start = start;
    this.#end = end;
    this.#unit = unit;
    this.#budgetBytes = BUDGET_FACTOR * (end - start) + BUDGET_EXTRA_BYTES;
    this.usedEnd = start + 4;
  }

  /** An error to throw: what was read at `position` is not allowed. */
  malformed(position: number, message: string): CorruptionError {
    const offset = Math.min(Math.max(position, this.#start), this.#end);
    return damage('MALFORMED', { unit: this.#unit, offset, length: this.#end - offset }, message);
  }

  /** The root table. `slots` is the number of known fields. */
  root(slots: number): number {
    if (this.#end - this.#start < 8) throw this.malformed(this.#start, 'A FlatBuffer is too short for a root table');
    return this.#enter(this.#follow(this.#start), slots);
  }

  /** A number that is absent is 0. One above 2^53 - 1 is malformed: nothing that counts so far was ever written. */
  u64(table: number, slot: number): number {
    const at = this.#field(table, slot, 8);
    return at === 0 ? 0 : this.#safeU64(at);
  }

  /** As a bigint: the only i64 of the schema begins at -2^63, which a double holds but arithmetic on it does not keep. */
  i64(table: number, slot: number): bigint {
    const at = this.#field(table, slot, 8);
    return at === 0 ? 0n : this.#view.getBigInt64(at, true);
  }

  /** Position of a 64-bit field for `word`, 0 if absent (then both words are 0). */
  wordsAt(table: number, slot: number): number {
    return this.#field(table, slot, 8);
  }

  /** The unsigned 32-bit word at a position that another method returned. */
  word(position: number): number {
    return this.#view.getUint32(position, true);
  }

  u32(table: number, slot: number): number {
    const at = this.#field(table, slot, 4);
    return at === 0 ? 0 : this.#view.getUint32(at, true);
  }

  u16(table: number, slot: number): number {
    return this.optionalU16(table, slot) ?? 0;
  }

  /** The one kind of scalar whose absence differs from 0; it is stored also where it is 0. */
  optionalU16(table: number, slot: number): number | undefined {
    const at = this.#field(table, slot, 2);
    return at === 0 ? undefined : this.#view.getUint16(at, true);
  }

  /** One byte as stored; enums are signed in the schema but only small values are in use. */
  u8(table: number, slot: number): number {
    const at = this.#field(table, slot, 1);
    return at === 0 ? 0 : this.bytes[at];
  }

  /** Stored as 0 or 1; any other byte would not be written again as it is. */
  bool(table: number, slot: number): boolean {
    const value = this.u8(table, slot);
    if (value > 1) throw this.malformed(table, `A boolean field holds ${value}`);
    return value === 1;
  }

  /** A table field, 0 if absent. `slots`: number of known fields of that table, so that more of them are noted. */
  table(table: number, slot: number, slots: number): number {
    const at = this.#field(table, slot, 4);
    return at === 0 ? 0 : this.#enter(this.#follow(at), slots);
  }

  /** A table field that SlateDB's schema calls required; `name` is for the error. */
  requiredTable(table: number, slot: number, slots: number, name: string): number {
    const found = this.table(table, slot, slots);
    if (found === 0) throw this.malformed(table, `Required field ${name} is absent`);
    return found;
  }

  /** A vector field as the position of its length word, 0 if absent. The whole vector is inside the buffer. */
  vector(table: number, slot: number, elementBytes: 1 | 4): number {
    const at = this.#field(table, slot, 4);
    if (at === 0) return 0;
    const vector = this.#follow(at);
    const bytes = this.#view.getUint32(vector, true) * elementBytes;
    if (bytes > this.#end - vector - 4) throw this.malformed(vector, 'A vector reaches past the end of its buffer');
    this.#charge(4 + bytes, vector);
    this.#use(vector + 4 + bytes);
    return vector;
  }

  /** A vector that must be there; it may be empty. */
  requiredVector(table: number, slot: number, elementBytes: 1 | 4, name: string): number {
    const found = this.vector(table, slot, elementBytes);
    if (found === 0) throw this.malformed(table, `Required field ${name} is absent`);
    return found;
  }

  /** Number of elements of a vector; none of an absent one. */
  count(vector: number): number {
    return vector === 0 ? 0 : this.#view.getUint32(vector, true);
  }

  /** Element `i`, below `count`, of a vector of tables. Each visit is charged: an element that many entries share counts as often. */
  element(vector: number, i: number, slots: number): number {
    return this.#enter(this.#follow(vector + 4 + 4 * i), slots);
  }

  /** Element `i`, below `count`, of a vector of u32. */
  elementU32(vector: number, i: number): number {
    return this.#view.getUint32(vector + 4 + 4 * i, true);
  }

  /** A byte vector as an own copy: what is decoded does not keep the whole object in memory. */
  byteVector(table: number, slot: number): Uint8Array | undefined {
    const vector = this.vector(table, slot, 1);
    if (vector === 0) return undefined;
    const out = new Uint8Array(this.count(vector));
    out.set(this.bytes.subarray(vector + 4, vector + 4 + out.length));
    return out;
  }

  requiredByteVector(table: number, slot: number, name: string): Uint8Array {
    const found = this.byteVector(table, slot);
    if (found === undefined) throw this.malformed(table, `Required field ${name} is absent`);
    return found;
  }

  /** A string: UTF-8 and NUL-terminated, as SlateDB demands. */
  string(table: number, slot: number): string | undefined {
    const vector = this.vector(table, slot, 1);
    if (vector === 0) return undefined;
    const end = vector + 4 + this.count(vector);
    if (end >= this.#end || this.bytes[end] !== 0) throw this.malformed(vector, 'A string is not NUL-terminated');
    this.#use(end + 1);
    try {
      return STRICT_UTF8.decode(this.bytes.subarray(vector + 4, end));
    } catch {
      throw this.malformed(vector, 'A string is not UTF-8');
    }
  }

  /** Position of a field of a table, 0 if absent; `size` bytes there are inside the table and aligned. */
  #field(table: number, slot: number, size: number): number {
    const view = this.#view;
    // `#enter` has checked the vtable, so nothing outside of the buffer is read here.
    const vtable = table - view.getInt32(table, true);
    const entry = 4 + 2 * slot;
    if (entry + 2 > view.getUint16(vtable, true)) return 0;
    const offset = view.getUint16(vtable + entry, true);
    if (offset === 0) return 0;
    if (offset < 4 || offset + size > view.getUint16(vtable + 2, true)) {
      throw this.malformed(vtable, `Field ${slot} is outside of its table`);
    }
    const at = table + offset;
    if ((at - this.#start) % size !== 0) throw this.malformed(at, `Field ${slot} is not aligned`);
    return at;
  }

  /** Target of the forward reference at `at`: 4-aligned, with at least four bytes inside the buffer. */
  #follow(at: number): number {
    const distance = this.#view.getUint32(at, true);
    const target = at + distance;
    if (distance < 4 || target > this.#end - 4) throw this.malformed(at, 'A reference points outside of its buffer');
    if ((target - this.#start) % 4 !== 0) throw this.malformed(at, 'A reference is not aligned');
    return target;
  }

  /**
   * Checks the frame of a table and its vtable: both inside of the buffer, the vtable at an even place, lengths even and at least 4.
   * Notes fields above the known ones. A vtable may be before its table or after it, and several tables may share one.
   */
  #enter(table: number, slots: number): number {
    const view = this.#view;
    const vtable = table - view.getInt32(table, true);
    if (vtable < this.#start || vtable > this.#end - 4 || (vtable - this.#start) % 2 !== 0) {
      throw this.malformed(table, 'A table has no valid vtable');
    }
    const vtableBytes = view.getUint16(vtable, true);
    const tableBytes = view.getUint16(vtable + 2, true);
    if (vtableBytes < 4 || vtableBytes % 2 !== 0 || vtableBytes > this.#end - vtable) {
      throw this.malformed(vtable, 'A vtable has a wrong length');
    }
    if (tableBytes < 4 || tableBytes > this.#end - table) throw this.malformed(vtable, 'A table has a wrong length');
    this.#charge(4, table);
    const known = 4 + 2 * slots;
    if (vtableBytes > known) {
      this.#charge(vtableBytes - known, table);
      for (let at = known; at < vtableBytes; at += 2) {
        if (view.getUint16(vtable + at, true) !== 0) this.hasUnknownFields = true;
      }
    }
    this.#use(vtable + vtableBytes);
    this.#use(table + tableBytes);
    return table;
  }

  /** Two halves, because `getBigUint64` costs an allocation and a manifest has thousands of these. */
  #safeU64(at: number): number {
    const high = this.#view.getUint32(at + 4, true);
    if (high > MAX_SAFE_HIGH) throw this.malformed(at, 'A 64-bit number is above 2^53 - 1');
    return high * TWO_POW_32 + this.#view.getUint32(at, true);
  }

  /**
   * Takes a visit out of the budget. An honest buffer is visited once, vtables apart, which are shared and short; a hostile one can
   * refer to one large part a million times, and decoding it would take hours and gigabytes.
   */
  #charge(bytes: number, position: number): void {
    this.#budgetBytes -= bytes;
    if (this.#budgetBytes < 0) throw this.malformed(position, 'Parts of a FlatBuffer are used more than once');
  }

  /** What was visited last ends the FlatBuffer: the object may go on with a seal, and nothing stores where it begins. */
  #use(end: number): void {
    if (end > this.usedEnd) this.usedEnd = end;
  }
}

/** A finished part of a buffer under construction: its distance from the end of the buffer, in bytes. */
export type FlatRef = number;

const NO_FIELD = 0;
const EIGHT_BYTES = 1;
const FOUR_BYTES = 2;
const REFERENCE = 3;
const TWO_BYTES = 4;
const ONE_BYTE = 5;
/** Up to here a loop beats the native copy of a part, which wants a view. */
const LOOP_COPY_BYTES = 32;
const MAX_SLOTS = 32;

/**
 * Builds one FlatBuffer back to front. Children first: between `startTable` and `endTable` only `add...` may be called.
 * Fields may be added in any order; they are laid out by size and descending id. Fields that equal their default, 0, are
 * left out.
 */
export class FlatBuilder {
  #bytes: Uint8Array;
  #view: DataView;
  /** Position of the first used byte; everything before it is zero. */
  #head: number;
  #maxAlign = 1;
  #inTable = false;
  readonly #vtables: FlatRef[] = [];
  #slotCount = 0;
  readonly #kinds = new Uint8Array(MAX_SLOTS);
  readonly #low = new Float64Array(MAX_SLOTS);
  readonly #high = new Float64Array(MAX_SLOTS);
  readonly #fieldRefs = new Float64Array(MAX_SLOTS);

  constructor(capacityBytes = 1024) {
    this.#bytes = new Uint8Array(Math.max(64, capacityBytes));
    this.#view = new DataView(this.#bytes.buffer);
    this.#head = this.#bytes.length;
  }

  byteVector(bytes: Uint8Array): FlatRef {
    return this.byteVectorOf(bytes, 0, bytes.length);
  }

  /** A byte vector of `bytes[start, start + length)`. */
  byteVectorOf(bytes: Uint8Array, start: number, length: number): FlatRef {
    this.#beginVector(length);
    this.#head -= length;
    const head = this.#head;
    if (length <= LOOP_COPY_BYTES) for (let i = 0; i < length; i++) this.#bytes[head + i] = bytes[start + i];
    else this.#bytes.set(start === 0 && length === bytes.length ? bytes : bytes.subarray(start, start + length), head);
    return this.#pushU32(length);
  }

  /** UTF-8 and a zero byte, which SlateDB's verifier demands and the length does not count. */
  string(text: string): FlatRef {
    assertThat(text.isWellFormed(), 'text for storage is well-formed');
    const bytes = UTF8_ENCODER.encode(text);
    this.#beginVector(bytes.length + 1);
    this.#head -= bytes.length + 1;
    this.#bytes.set(bytes, this.#head);
    return this.#pushU32(bytes.length);
  }

  u32Vector(values: readonly number[]): FlatRef {
    this.#beginVector(4 * values.length);
    for (let i = values.length - 1; i >= 0; i--) this.#pushU32(values[i]);
    return this.#pushU32(values.length);
  }

  /** A vector of tables. */
  tableVector(refs: readonly FlatRef[]): FlatRef {
    this.#beginVector(4 * refs.length);
    for (let i = refs.length - 1; i >= 0; i--) this.#pushReference(refs[i]);
    return this.#pushU32(refs.length);
  }

  /** Opens a table. Its children must be finished: they are stored after it, so they are written before it. */
  startTable(): void {
    assertThat(!this.#inTable, 'FlatBuffer tables are not nested');
    this.#inTable = true;
  }

  /** A default, 0, is not stored: here as in all `add...` but `addOptionalU16`. */
  addU64(slot: number, value: number): void {
    assertThat(Number.isSafeInteger(value) && value >= 0, 'a u64 for storage is a safe integer', { value });
    this.addWords(slot, Math.floor(value / TWO_POW_32), value % TWO_POW_32);
  }

  addI64(slot: number, value: bigint): void {
    const bits = BigInt.asUintN(64, value);
    this.addWords(slot, Number(bits >> 32n), Number(bits & 0xffff_ffffn));
  }

  /** A 64-bit field as two unsigned 32-bit halves. */
  addWords(slot: number, high: number, low: number): void {
    if (high !== 0 || low !== 0) this.#add(slot, EIGHT_BYTES, low, high);
  }

  addU32(slot: number, value: number): void {
    if (value !== 0) this.#add(slot, FOUR_BYTES, value, 0);
  }

  /** A reference to a finished child; `undefined`: the field is absent, which for a vector differs from an empty one. */
  addRef(slot: number, ref: FlatRef | undefined): void {
    if (ref !== undefined) this.#add(slot, REFERENCE, ref, 0);
  }

  addU16(slot: number, value: number): void {
    if (value !== 0) this.#add(slot, TWO_BYTES, value, 0);
  }

  /** A u16 whose absence differs from 0. */
  addOptionalU16(slot: number, value: number | undefined): void {
    if (value !== undefined) this.#add(slot, TWO_BYTES, value, 0);
  }

  addU8(slot: number, value: number): void {
    if (value !== 0) this.#add(slot, ONE_BYTE, value, 0);
  }

  addBool(slot: number, value: boolean): void {
    if (value) this.#add(slot, ONE_BYTE, 1, 0);
  }

  /**
   * Closes the table. The Rust builder sorts fields by size first and then by descending id, and pushes them in that order from the
   * back, so that the smallest come first in memory; trailing slots without a field are not in the vtable.
   */
  endTable(): FlatRef {
    const slots = this.#slotCount;
    this.#reserve(16 * slots + 16);
    const tableTail = this.#used();
    this.#pushFields(EIGHT_BYTES, EIGHT_BYTES, slots);
    this.#pushFields(FOUR_BYTES, REFERENCE, slots);
    this.#pushFields(TWO_BYTES, TWO_BYTES, slots);
    this.#pushFields(ONE_BYTE, ONE_BYTE, slots);
    const table = this.#pushU32(0);
    const vtable = this.#placeVtable(table, table - tableTail, slots);
    this.#view.setInt32(this.#bytes.length - table, vtable - table, true);
    this.#kinds.fill(NO_FIELD, 0, slots);
    this.#slotCount = 0;
    this.#inTable = false;
    return table;
  }

  /** The finished buffer with `prefixBytes` zero bytes in front for a header of the caller. Ends the builder. */
  finish(root: FlatRef, prefixBytes = 0): Uint8Array {
    this.#align(4, this.#maxAlign);
    this.#pushReference(root);
    const out = new Uint8Array(prefixBytes + this.#used());
    out.set(this.#bytes.subarray(this.#head), prefixBytes);
    return out;
  }

  #used(): number {
    return this.#bytes.length - this.#head;
  }

  /** Room before the head; what is there grows at the front, so offsets are counted from the end of the buffer. */
  #reserve(bytes: number): void {
    if (this.#head >= bytes) return;
    const used = this.#used();
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, used + bytes));
    grown.set(this.#bytes.subarray(this.#head), grown.length - used);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
    this.#head = grown.length - used;
  }

  /** Pads so that after `bytes` more bytes the used length is a multiple of `alignment`. */
  #align(bytes: number, alignment: number): void {
    if (alignment > this.#maxAlign) this.#maxAlign = alignment;
    this.#reserve(bytes + alignment);
    this.#head -= (alignment - ((this.#used() + bytes) % alignment)) % alignment;
  }

  #beginVector(bytes: number): void {
    assertThat(!this.#inTable, 'a vector is not built inside of a table');
    this.#reserve(bytes + 16);
    this.#align(bytes, 4);
  }

  #pushU32(value: number): FlatRef {
    this.#align(4, 4);
    this.#head -= 4;
    this.#view.setUint32(this.#head, value, true);
    return this.#used();
  }

  #pushReference(ref: FlatRef): void {
    this.#align(4, 4);
    this.#head -= 4;
    this.#view.setUint32(this.#head, this.#used() - ref, true);
  }

  #add(slot: number, kind: number, low: number, high: number): void {
    assertThat(this.#inTable && slot < MAX_SLOTS, 'fields are added to an open table');
    this.#kinds[slot] = kind;
    this.#low[slot] = low;
    this.#high[slot] = high;
    if (slot >= this.#slotCount) this.#slotCount = slot + 1;
  }

  /** Writes the fields of one size, highest id first. */
  #pushFields(kindA: number, kindB: number, slots: number): void {
    for (let slot = slots - 1; slot >= 0; slot--) {
      const kind = this.#kinds[slot];
      if (kind !== kindA && kind !== kindB) continue;
      const low = this.#low[slot];
      if (kind === EIGHT_BYTES) {
        this.#align(8, 8);
        this.#head -= 8;
        this.#view.setUint32(this.#head, low, true);
        this.#view.setUint32(this.#head + 4, this.#high[slot], true);
      } else if (kind === FOUR_BYTES) {
        this.#pushU32(low);
      } else if (kind === REFERENCE) {
        this.#pushReference(low);
      } else if (kind === TWO_BYTES) {
        this.#align(2, 2);
        this.#head -= 2;
        this.#view.setUint16(this.#head, low, true);
      } else {
        this.#align(1, 1);
        this.#bytes[--this.#head] = low;
      }
      this.#fieldRefs[slot] = this.#used();
    }
  }

  /** Finds an equal earlier vtable or writes a new one before the table. */
  #placeVtable(table: FlatRef, tableBytes: number, slots: number): FlatRef {
    const vtableBytes = 4 + 2 * slots;
    this.#reserve(vtableBytes);
    const at = this.#head - vtableBytes;
    this.#view.setUint16(at, vtableBytes, true);
    this.#view.setUint16(at + 2, tableBytes, true);
    for (let slot = 0; slot < slots; slot++) {
      const offset = this.#kinds[slot] === NO_FIELD ? 0 : table - this.#fieldRefs[slot];
      this.#view.setUint16(at + 4 + 2 * slot, offset, true);
    }
    for (const vtable of this.#vtables) {
      if (this.#sameBytes(this.#bytes.length - vtable, at, vtableBytes)) {
        this.#bytes.fill(0, at, this.#head);
        return vtable;
      }
    }
    this.#head = at;
    this.#vtables.push(this.#used());
    return this.#used();
  }

  #sameBytes(a: number, b: number, length: number): boolean {
    const bytes = this.#bytes;
    for (let i = 0; i < length; i++) if (bytes[a + i] !== bytes[b + i]) return false;
    return true;
  }
}
