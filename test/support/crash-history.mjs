// What a process of the crash tests writes, known to it and to who kills it: batch `n` of life `life` is always the same.
// The key LAST holds the number of the last batch, so that content names the prefix it claims to be.

export const LAST = '~last';
const KEYS = 150;

/** mulberry32 */
function randomOf(seed) {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
}

/** A number below `bound` that follows from the others. */
export function chance(seed, life, n, bound) {
  return randomOf(Math.imul(seed, 0x9e3779b1) ^ Math.imul(life + 1, 0x85ebca6b) ^ Math.imul(n + 1, 0xc2b2ae35))(bound);
}

/**
 * The changes of a batch in their order: `[key, value]`, or `[key, undefined]` for a deletion.
 *
 * @returns {[key: string, value: string | undefined][]}
 */
export function changesOf(seed, life, n) {
  const random = randomOf(chance(seed, life, n, 2 ** 32));
  /** @type {[string, string | undefined][]} */
  const changes = [];
  for (let i = 1 + random(8); i > 0; i--) {
    const key = `key-${String(random(KEYS)).padStart(4, '0')}`;
    const size = random(20) === 0 ? 6000 : random(300);
    changes.push(random(4) === 0 ? [key, undefined] : [key, `${life}.${n}.${i} ${'x'.repeat(size)}`]);
  }
  changes.push([LAST, String(n)]);
  return changes;
}
