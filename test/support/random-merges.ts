/** Random jobs for merges: rows of every kind spread over four sources of several tables, and the rules by which they are merged. */
import fc from 'fast-check';
import { type DriveOptions, type InputTable, OUTPUT, planOver, tableOfModel } from './merge-inputs.ts';
import { APPENDING, type ModelRules, type ModelVersion } from './version-model.ts';

const bytes = (s: string) => new TextEncoder().encode(s);
const text = (b: Uint8Array) => new TextDecoder().decode(b);

/** Different lengths around eight bytes after what they share, so that the numbers of the heap do not decide alone. */
const KEYS = ['k', 'k-', 'k-1', 'k-1234567', 'k-12345678', 'k-123456789', 'k-12345679', 'k-2', 'k-200000000', 'k-3'];

const versionArb = fc.record({
  kind: fc.constantFrom('put', 'put', 'put', 'del', 'merge') as fc.Arbitrary<ModelVersion['kind']>,
  expires: fc.constantFrom(undefined, undefined, 3, 9),
  hasTime: fc.boolean(),
  length: fc.constantFrom(0, 1, 5, 40, 130, 400),
  /** In which sources it is. */
  sources: fc.constantFrom([0], [1], [2], [3], [0, 2], [1, 3]),
});

export const jobArb = fc.record({
  keys: fc.array(fc.tuple(fc.constantFrom(...KEYS), fc.array(versionArb, { minLength: 1, maxLength: 9 })), {
    minLength: 1,
    maxLength: 10,
  }),
  seed: fc.integer({ min: 0, max: 1000 }),
  blockBytes: fc.constantFrom(64, 128, 1024),
  cuts: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 5 }),
  perStretch: fc.integer({ min: 1, max: 5 }),
  perStep: fc.integer({ min: 1, max: 9 }),
  maxSstBytes: fc.constantFrom(128, 300, 1000, 1 << 20),
  partBytes: fc.constantFrom(1, 200, 5000),
  barrier: fc.integer({ min: 85, max: 101 }),
  tickMs: fc.constantFrom(undefined, 5),
  isBottom: fc.boolean(),
  isWhole: fc.boolean(),
  hasOperator: fc.boolean(),
  hasFilter: fc.boolean(),
});

export type RandomJob = typeof jobArb extends fc.Arbitrary<infer T> ? T : never;

export function spread({ keys, blockBytes, cuts }: RandomJob): { versions: ModelVersion[][]; sources: InputTable[][] } {
  const versions: ModelVersion[][] = [[], [], [], []];
  for (const [key, all] of [...new Map(keys)].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
    all.forEach(({ kind, expires, hasTime, length, sources }, i) => {
      const version: ModelVersion = {
        key,
        seq: 100 - i,
        kind,
        value: kind === 'del' ? '' : String.fromCharCode(97 + i).repeat(length),
        expires: kind === 'del' ? undefined : expires,
        created: hasTime ? 1000 - i : undefined,
      };
      // A copy in an older source differs: then it shows which one counts.
      sources.forEach((source, n) => {
        const other = n > 0 && kind === 'put';
        versions[source].push(other ? { ...version, value: `${version.value}!` } : version);
      });
    });
  }
  let cut = 0;
  const sources = versions.map((all) => {
    const tables: InputTable[] = [];
    for (let i = 0; i < all.length; ) {
      const count = cuts[cut++ % cuts.length];
      tables.push(tableOfModel(all.slice(i, i + count), { blockBytes }));
      i += count;
    }
    return tables;
  });
  return { versions, sources };
}

export function rulesOf(job: RandomJob): ModelRules {
  return {
    barrier: job.barrier,
    tickMs: job.tickMs,
    isBottom: job.isBottom,
    keptWhole: job.isWhole ? [{ gte: bytes('k-12'), lte: bytes('k-2') }] : [],
    keptTombstones: [{ gte: bytes('k-3'), lte: undefined }],
    fold: job.hasOperator ? (_, older, newer) => older + newer : undefined,
    filter: job.hasFilter ? (_, value) => (value.startsWith('a') ? 'drop' : 'keep') : undefined,
  };
}

export function partsOf({ filter, fold }: ModelRules): DriveOptions['parts'] {
  return {
    operator: fold && APPENDING,
    filter: filter && { decide: ({ key, value }) => filter(text(key), text(value)) as 'keep' | 'drop' },
  };
}

export function planOf(
  sources: InputTable[][],
  { fold: _fold, filter: _filter, ...rules }: ModelRules,
  maxSstBytes: number,
) {
  return planOver(sources, { ...rules, output: { ...OUTPUT, maxSstBytes } });
}
