/**
 * The rows that every peer writes and reads: 16-byte keys (`key` and 13 decimal digits), 100-byte values, shuffled order.
 * Made before any clock starts and the same in every process, so that each peer can be checked for every row and byte.
 *
 * Values come from a pool of 1,024, small enough to stay in the processor's cache: what is measured is the database, not the
 * benchmark's own memory. The first byte of a value shows whose it is, the checks below rely on it.
 */

export const KEY_BYTES = 16;
export const VALUE_BYTES = 100;
const POOL_SIZE = 1024;

/** Numbers below 2^32 that are the same in every run (xorshift). */
export function randomNumbers(seed) {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
}

export function shuffledIds(count, seed) {
  const ids = new Uint32Array(count);
  for (let i = 0; i < count; i++) ids[i] = i;
  const random = randomNumbers(seed);
  for (let i = count - 1; i > 0; i--) {
    const j = random() % (i + 1);
    const id = ids[i];
    ids[i] = ids[j];
    ids[j] = id;
  }
  return ids;
}

function makeKeys(count, text) {
  const bytes = Buffer.alloc(count * KEY_BYTES);
  const keys = new Array(count);
  for (let i = 0; i < count; i++) {
    bytes.write(text(i), i * KEY_BYTES, 'latin1');
    keys[i] = bytes.subarray(i * KEY_BYTES, (i + 1) * KEY_BYTES);
  }
  return keys;
}

/** Half random, half constant: compresses about 2:1, as text and JSON do. */
function makeValuePool() {
  const pool = new Array(POOL_SIZE);
  for (let i = 0; i < POOL_SIZE; i++) {
    const value = Buffer.alloc(VALUE_BYTES, 0x78);
    const random = randomNumbers(i + 1);
    for (let at = 4; at < 52; at += 4) value.writeUInt32LE(random(), at);
    value.writeUInt32LE(i, 0);
    pool[i] = value;
  }
  return pool;
}

/** Sum of the bytes by which a scan is checked: the last of the key, the first of the value. */
function checksumOf(key, value) {
  return key[KEY_BYTES - 1] + value[0];
}

export class Workload {
  constructor(keyCount) {
    this.keyCount = keyCount;
    this.keys = makeKeys(keyCount, (i) => 'key' + String(i).padStart(13, '0'));
    // Between two present keys each, so that neither the key range nor the common prefix gives them away.
    const absentCount = Math.min(20_000, keyCount);
    const stride = Math.floor(keyCount / absentCount);
    this.absentKeys = makeKeys(
      absentCount,
      (i) =>
        'key' +
        String(i * stride)
          .padStart(13, '0')
          .slice(0, 12) +
        'x',
    );
    this.pool = makeValuePool();
    this.values = new Array(keyCount);
    for (let i = 0; i < keyCount; i++) this.values[i] = this.pool[i & (POOL_SIZE - 1)];
    this.writeOrder = shuffledIds(keyCount, 7);
    this.readOrder = shuffledIds(keyCount, 11);
    const random = randomNumbers(5);
    this.rangeStarts = new Uint32Array(2000);
    for (let i = 0; i < this.rangeStarts.length; i++) this.rangeStarts[i] = random() % (keyCount - 101);
  }

  /** Expected rows and checksum of a scan over the first `count` ids of `order`. */
  expectedOf(order, count) {
    let checksum = 0;
    for (let i = 0; i < count; i++) checksum += checksumOf(this.keys[order[i]], this.values[order[i]]);
    return { rows: count, checksum };
  }

  /** The same for `ranges` ranges of 100 rows from `rangeStarts` on. */
  expectedOfRanges(ranges) {
    let checksum = 0;
    for (let range = 0; range < ranges; range++) {
      const start = this.rangeStarts[range];
      for (let id = start; id < start + 100; id++) checksum += checksumOf(this.keys[id], this.values[id]);
    }
    return { rows: ranges * 100, checksum };
  }
}
