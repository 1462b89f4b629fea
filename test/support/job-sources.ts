/** Sources of jobs with keys in common, and what the plain model makes of them. */
import type { JobWorld, StoredTable } from './job-world.ts';
import { type ModelRules, type ModelVersion, mergedModel } from './version-model.ts';

/** The newest version of each key is kept, and nothing else happens. */
export const RULES: ModelRules = {
  barrier: Number.MAX_SAFE_INTEGER,
  tickMs: undefined,
  isBottom: false,
  keptWhole: [],
  keptTombstones: [],
  fold: undefined,
  filter: undefined,
};

export const keyOf = (n: number): string => `key-${String(n).padStart(5, '0')}`;

export const put = (n: number, seq: number): ModelVersion => ({
  key: keyOf(n),
  seq,
  kind: 'put',
  value: `value of ${n} at ${seq}`,
  expires: undefined,
  created: 1000 + seq,
});

/** Three sources with keys in common, newest first: two tables of level 0, and a run of three tables. The newest begins at `firstSeq`. */
export async function overlappingSources(world: JobWorld, rows: number, firstSeq: number): Promise<StoredTable[][]> {
  const source = (age: number) =>
    Array.from({ length: rows }, (_, i) => put(i * (age + 1), firstSeq - 10_000 * age + i));
  const oldest = source(2);
  const third = Math.ceil(oldest.length / 3);
  return [
    [await world.table(source(0))],
    [await world.table(source(1))],
    [
      await world.table(oldest.slice(0, third)),
      await world.table(oldest.slice(third, 2 * third)),
      await world.table(oldest.slice(2 * third)),
    ],
  ];
}

export function modelOf(
  sources: readonly (readonly StoredTable[])[],
  rules: Partial<ModelRules> = {},
): ReturnType<typeof mergedModel> {
  const versions = sources.map((tables) => tables.flatMap((table) => [...table.versions]));
  return mergedModel(versions, { ...RULES, ...rules });
}
