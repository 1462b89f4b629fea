/** Trees drawn from a seed, in the notation of tree-notation.ts, for what has to hold for every tree. */
import { nextInt, type Random } from '../../src/common/random.ts';
import type { PickCase } from './slatedb-picks.ts';

const WITH = (random: Random, percent: number) => nextInt(random, 100) < percent;
const from = <T>(random: Random, list: readonly T[]): T => list[nextInt(random, list.length)]!;

export interface RandomTreeForm {
  /** Runs without tables, cut views, unknown and expiring rows, tombstones, damage, tables of a parent. */
  withOddities: boolean;
}

/** One to three trees, with options; runs are of like or of growing sizes. */
export function randomCase(random: Random, { withOddities }: RandomTreeForm): PickCase {
  const segments = WITH(random, 30) ? from(random, [['p'], ['p', 'q'], ['p', 'q', 's']]) : [''];
  const trees = segments.map((prefix) => `${prefix} L0: ${randomTree(random, withOddities)}`.trim()).join('; ');
  const options = randomOptions(random);
  return { trees, options };
}

function randomTree(random: Random, withOddities: boolean): string {
  const l0 = Array.from({ length: from(random, [0, 2, 3, 4, 5, 7, 9, 13]) }, () => 1 + nextInt(random, 20));
  const runs: string[] = [];
  let size = 1 + nextInt(random, 40);
  const count = from(random, [0, 1, 3, 4, 5, 8, 10, 12]);
  for (let i = 0; i < count; i++) {
    if (WITH(random, 35)) size *= from(random, [2, 3, 4, 5, 20]);
    const own = Math.max(1, Math.round(size * (0.4 + nextInt(random, 200) / 100)));
    runs.push(withOddities ? oddRun(random, own) : `${own}`);
  }
  const views = withOddities ? l0.map((bytes) => oddTable(random, bytes, WITH(random, 3))) : l0;
  return `${views.join(' ')} | ${runs.join(' ')}`;
}

function oddRun(random: Random, size: number): string {
  if (WITH(random, 8)) return '-';
  const tables = 1 + nextInt(random, 3);
  if (tables === 1) return oddTable(random, size, WITH(random, 2));
  const part = Math.max(1, Math.floor(size / tables));
  return Array.from({ length: tables }, () => oddTable(random, part, WITH(random, 2))).join('+');
}

function oddTable(random: Random, size: number, isDamaged: boolean): string {
  return `${size}${oddRows(random, size)}${WITH(random, 5) ? '^' : ''}${isDamaged ? '!' : ''}`;
}

function oddRows(random: Random, size: number): string {
  if (WITH(random, 10)) return '{?}';
  const rows = from(random, [9, 30_000]);
  const deletes = WITH(random, 25) ? Math.floor((rows * nextInt(random, 101)) / 100) : 0;
  const parts = [`${deletes}/${rows}`];
  if (WITH(random, 25)) parts.push(`${Math.floor((size * nextInt(random, 101)) / 100)}@${nextInt(random, 20)}`);
  if (WITH(random, 50)) parts.push(`seq${nextInt(random, 20)}`);
  return `{${parts.join(',')}}`;
}

function randomOptions(random: Random): PickCase['options'] {
  if (WITH(random, 50)) return undefined;
  const minCompactionSources = from(random, [2, 3, 4, 6]);
  return {
    minCompactionSources,
    maxCompactionSources: minCompactionSources + from(random, [0, 1, 4]),
    includeSizeThreshold: from(random, [1, 1.5, 4, 10]),
    sortedRunConsolidationThreshold: from(random, [0, 0, 2, 5, 8]),
    maxConcurrent: from(random, [1, 2, 4, 6]),
  };
}
