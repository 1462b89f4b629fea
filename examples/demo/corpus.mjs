// The rows of the demo: the words of the Apache License with their places in it, and the whole numbers up to 6,000 with their names and
// divisors. The same rows in the same order on every machine and in every version of this repository.
import { readFileSync } from 'node:fs';

const LICENSE = new URL('../../LICENSE', import.meta.url);
const NUMBERS = 6000;
const ROWS_PER_BATCH = 16;

/** Rows as `{ key, value }`, both strings, in the order in which they are loaded. */
export function readRows() {
  return [...wordRows(), ...numberRows()];
}

/** The rows in groups, each of which is written as one batch. */
export function readBatches() {
  const rows = readRows();
  const batches = [];
  for (let i = 0; i < rows.length; i += ROWS_PER_BATCH) batches.push(rows.slice(i, i + ROWS_PER_BATCH));
  return batches;
}

function wordRows() {
  const places = new Map();
  const lines = readFileSync(LICENSE, 'utf8').split('\n');
  lines.forEach((line, i) => {
    for (const [word] of line.toLowerCase().matchAll(/\p{L}{2,}/gu)) {
      if (!places.has(word)) places.set(word, []);
      places.get(word).push(`line ${i + 1}`);
    }
  });
  return [...places]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([word, at]) => ({ key: `word/${word}`, value: JSON.stringify({ count: at.length, at }) }));
}

function numberRows() {
  return Array.from({ length: NUMBERS }, (_, i) => {
    const n = i + 1;
    // With leading zeros the order of the keys is that of the numbers.
    return {
      key: `number/${String(n).padStart(4, '0')}`,
      value: JSON.stringify({ name: nameOf(n), divisors: divisorsOf(n) }),
    };
  });
}

function divisorsOf(n) {
  const divisors = [];
  for (let d = 1; d * d <= n; d++) if (n % d === 0) divisors.push(d, n / d);
  return [...new Set(divisors)].sort((a, b) => a - b);
}

const SMALL =
  'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen'.split(
    ' ',
  );
const TENS = '- - twenty thirty forty fifty sixty seventy eighty ninety'.split(' ');

/** A number below 10,000 in English. */
function nameOf(n) {
  if (n < 20) return SMALL[n];
  if (n < 100) return TENS[Math.floor(n / 10)] + (n % 10 === 0 ? '' : `-${SMALL[n % 10]}`);
  const [size, unit] = n < 1000 ? [100, 'hundred'] : [1000, 'thousand'];
  return `${nameOf(Math.floor(n / size))} ${unit}${n % size === 0 ? '' : ` ${nameOf(n % size)}`}`;
}
