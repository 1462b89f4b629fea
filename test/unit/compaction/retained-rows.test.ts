/**
 * What a compaction writes of the versions of keys: cases as lines, then random histories against the plain model, and reads before
 * against reads after.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { viewOf } from '../../../src/common/bytes.ts';
import { InvalidArgumentError } from '../../../src/common/errors.ts';
import type { KeyRange } from '../../../src/common/key-range.ts';
import { askFilter, type CompactionFilter } from '../../../src/compaction/compaction-filter.ts';
import { assertRowsAddUp, rowsGone } from '../../../src/compaction/compaction-plan.ts';
import { RetainedRows, type RowRules, type StoredVersion } from '../../../src/compaction/retained-rows.ts';
import { FLAG_TOMBSTONE } from '../../../src/format/row-flags.ts';
import { foldVersions } from '../../../src/lsm/rows/visibility.ts';
import {
  APPENDING,
  type ModelRow,
  type ModelRules,
  type ModelVersion,
  mergedModel,
  modelOfRow,
  rowOfModel,
} from '../../support/version-model.ts';

const bytes = (s: string) => new TextEncoder().encode(s);
const text = (b: Uint8Array) => new TextDecoder().decode(b);

const RULES: RowRules = {
  barrier: Number.MAX_SAFE_INTEGER,
  tickMs: undefined,
  isBottom: false,
  keptWhole: [],
  keptTombstones: [],
  operator: APPENDING,
  filter: undefined,
};

/** A version in buffers that also hold something else, as in a stretch. */
function stored(v: ModelVersion): StoredVersion {
  const row = rowOfModel(v);
  const key = new Uint8Array(300).fill(0xee);
  key.set(row.key);
  const all = new Uint8Array(row.value.length + 10).fill(0xdd);
  all.set(row.value, 5);
  return {
    ...row,
    key,
    keyView: viewOf(key),
    keyLength: row.key.length,
    bytes: all,
    view: viewOf(all),
    valueStart: 5,
    valueLength: row.value.length,
  };
}

function compacted(versions: readonly ModelVersion[], rules: Partial<RowRules>) {
  const out: ModelRow[] = [];
  let areViewsRight = true;
  const rows = new RetainedRows(
    { ...RULES, ...rules },
    {
      add(
        keys,
        keyStart,
        keyLength,
        values,
        valueStart,
        valueLength,
        seq,
        flags,
        createTs,
        expireTs,
        keyView,
        valueView,
      ) {
        areViewsRight &&= [keyView?.buffer ?? keys.buffer, valueView?.buffer ?? values.buffer].every(
          (buffer, i) => buffer === [keys, values][i].buffer,
        );
        const key = keys.slice(keyStart, keyStart + keyLength);
        out.push({ key, value: values.slice(valueStart, valueStart + valueLength), seq, flags, createTs, expireTs });
      },
    },
  );
  let key: string | undefined;
  for (const v of versions) {
    const row = stored(v);
    if (v.key !== key) {
      rows.endKey();
      rows.beginKey(row.key, row.keyLength);
    }
    rows.take(row, v.key === key);
    // Buffers of cursors are used again.
    row.key.fill(0x99);
    row.bytes.fill(0x99);
    key = v.key;
  }
  rows.endKey();
  assertRowsAddUp(rows.counts);
  expect([rows.counts.rowsOut, areViewsRight]).toEqual([out.length, true]);
  return { rows, left: out.map(modelOfRow) };
}

// ---- cases: `key@seq=put:value!expiry`, newest first

function parse(words: string): ModelVersion[] {
  return words
    .split(/ +/)
    .filter(Boolean)
    .map((word) => {
      const [, key, seq, kind, value = '', expires] = /^(\w+)@(\d+)=(put|merge|del)(?::([^!]*))?(?:!(\d+))?$/.exec(
        word,
      )!;
      return {
        key,
        seq: Number(seq),
        kind: kind as ModelVersion['kind'],
        value,
        expires: expires === undefined ? undefined : Number(expires),
        created: 100 + Number(seq),
      };
    });
}

function print({ key, seq, kind, value, expires }: ModelVersion): string {
  return `${key}@${seq}=${kind}${kind === 'del' ? '' : `:${value}`}${expires === undefined ? '' : `!${expires}`}`;
}

const FILTER: CompactionFilter = {
  decide: ({ value }) => (text(value) === 'bad' ? 'drop' : text(value) === 'old' ? { replace: bytes('new') } : 'keep'),
};

const CASES = [
  'a@3=put:c a@2=put:b a@1=put:a        | barrier 2              => a@3=put:c a@2=put:b (V6)',
  'a@2=put:b a@1=put:a b@9=put:x        |                        => a@2=put:b b@9=put:x (V6)',
  'a@2=put:b a@2=put:x                  | barrier 0              => a@2=put:b (V8)',
  'a@2=put:b!5 a@1=put:a                | now 5                  => a@2=del (V7)',
  'a@2=put:b!5 a@1=put:a                | now 5 bottom           => (V7, V10)',
  'a@2=merge:b!5 a@1=put:a              | now 5                  => a@1=put:a (V7)',
  'a@3=merge:c a@2=merge:b a@1=put:a    |                        => a@3=put:abc (V9)',
  'a@3=merge:c a@2=merge:b a@1=put:a    | barrier 2              => a@3=merge:c a@2=put:ab (V9: one above the barrier stays)',
  'a@3=merge:c a@2=merge:b a@1=put:a    | barrier 1              => a@3=merge:c a@2=merge:b a@1=put:a (V9)',
  'a@3=merge:c a@2=merge:b              | bottom                 => a@3=merge:bc (V9: an operand without a base, at the bottom too)',
  'a@3=merge:c a@2=merge:b a@1=del      |                        => a@3=put:bc (V9)',
  'a@3=merge:c a@2=merge:b!9 a@1=put:a  | now 5                  => a@3=merge:c a@2=merge:b!9 a@1=put:a (V9: expiries differ)',
  'a@4=merge:d!9 a@3=merge:c!9 a@2=merge:b a@1=put:a | now 5     => a@4=merge:cd!9 a@2=put:ab (V9)',
  'a@3=merge:c!9 a@2=merge:b!9 a@1=put:a!9 | now 5               => a@3=put:abc!9 (V9)',
  'a@3=merge:c a@2=merge:b!4 a@1=put:a  | now 5                  => a@3=put:ac (V7, V9: what has expired is not between)',
  'a@3=merge:c a@2=put:b!4 a@1=put:a    | now 5                  => a@3=put:c (V7, V9: an expired base is a tombstone)',
  'a@3=merge:c!9 a@2=del                | now 5 bottom           => a@3=merge:c!9 (V10: the tombstone is the oldest left)',
  'a@3=merge:c a@2=merge:b a@1=put:a    | no operator            => a@3=merge:c a@2=merge:b a@1=put:a (V9)',
  'a@3=merge:c a@2=del                  | no operator bottom     => a@3=merge:c (V10)',
  'a@2=del a@1=put:a                    |                        => a@2=del (V6)',
  'a@2=del a@1=put:a                    | bottom                 => (V6, V10)',
  'a@2=del a@1=put:a                    | bottom barrier 1       => a@2=del a@1=put:a (V10: an older version is left)',
  'a@3=del a@2=del                      | bottom barrier 1       => (V10: then the next is the oldest)',
  'a@4=put:d a@3=del a@2=del            | bottom barrier 1       => a@4=put:d (V10)',
  'a@4=del a@3=put:c a@2=del            | bottom barrier 2       => a@4=del a@3=put:c (V10)',
  'a@1=del b@2=del c@3=put:x            | bottom                 => c@3=put:x (V10)',
  'a@1=put:bad b@2=put:old c@3=put:x    | filter                 => a@1=del b@2=put:new c@3=put:x (V11)',
  'a@1=put:bad b@2=put:old c@3=put:x    | filter bottom          => b@2=put:new c@3=put:x (V10, V11)',
  'a@2=put:bad a@1=put:old              | filter barrier 1       => a@2=put:bad a@1=put:new (V11: not above the barrier)',
  'a@2=merge:ad a@1=put:b               | filter                 => a@2=del (V9, V11: asked about the result of a fold)',
  'a@2=merge:bad                        | filter                 => a@2=merge:bad (V11: not about operands)',
  'a@3=del a@1=put:bad                  | filter bottom barrier 1 => (V10, V11)',
  'a@3=put:x a@1=put:bad!9              | filter bottom barrier 1 => a@3=put:x (V10, V11)',
  'a@2=put:bad a@2=put:x b@4=merge:y b@3=put:bad!5 c@5=del | filter bottom now 5 whole a-b => a@2=put:bad b@4=merge:y b@3=put:bad!5 (V8, V12)',
  'b@2=del b@1=put:x c@3=del            | bottom whole a-b       => b@2=del b@1=put:x (V12)',
  'a@2=del a@1=put:x b@3=del c@4=del    | bottom deletes a-b     => a@2=del b@3=del (V12: tombstones are kept)',
  'a@2=put:bad b@3=put:bad              | filter bottom deletes b- => b@3=del (V12)',
];

function rulesOf(asked: string): Partial<RowRules> {
  const number = (name: string) => {
    const found = new RegExp(`${name} (\\d+)`).exec(asked);
    return found === null ? undefined : Number(found[1]);
  };
  const range = (name: string): KeyRange[] => {
    const found = new RegExp(`${name} (\\w)-(\\w?)`).exec(asked);
    return found === null ? [] : [{ gte: bytes(found[1]), lte: found[2] === '' ? undefined : bytes(found[2]) }];
  };
  const barrier = number('barrier');
  return {
    ...(barrier !== undefined && { barrier }),
    tickMs: number('now'),
    isBottom: asked.includes('bottom'),
    keptWhole: range('whole'),
    keptTombstones: range('deletes'),
    ...(asked.includes('no operator') && { operator: undefined }),
    ...(asked.includes('filter') && { filter: FILTER }),
  };
}

describe('a compaction leaves', () => {
  it.each(CASES)('%s', (line) => {
    const [, words, asked, answer] = /^(.*?) *\| *(.*?) *=> ?(.*?) ?\(V.*\)$/.exec(line)!;
    expect(compacted(parse(words), rulesOf(asked)).left.map(print).join(' ')).toBe(answer);
  });

  it('what its counts say', () => {
    const history =
      'a@9=put:a a@8=put:b b@7=put:c b@7=put:d c@6=merge:e!5 c@5=put:f d@4=merge:g d@3=put:h e@2=del f@1=put:bad g@1=put:old';
    const { rows } = compacted(parse(history), rulesOf('now 5 bottom filter'));
    expect(rows.counts).toEqual({
      rowsIn: 11,
      rowsOut: 5,
      superseded: 2,
      repeated: 0,
      expired: 1,
      folded: 1,
      tombstones: 1,
      filtered: 1,
      madeTombstones: 0,
      replaced: 1,
    });
    expect(rows.droppedTombstones).toBe(true);
    const above = compacted(parse(history), rulesOf('now 5 filter barrier 0'));
    expect(above.rows.counts).toMatchObject({ repeated: 1, expired: 1, rowsOut: 9, madeTombstones: 0, replaced: 0 });
    const kept = compacted(parse('a@1=put:x!5 b@2=put:bad'), rulesOf('now 5 filter'));
    expect(kept.rows.counts).toMatchObject({ rowsOut: 2, madeTombstones: 2 });
    expect(kept.rows.droppedTombstones).toBe(false);
    expect(rowsGone(kept.rows.counts)).toBe(0);
  });

  it('a fold of many operands in groups, none of them lost', () => {
    const operands = Array.from({ length: 1234 }, (_, i) => `a@${2000 - i}=merge:${i % 10}`).join(' ');
    const whole = Array.from({ length: 1234 }, (_, i) => (1233 - i) % 10).join('');
    const calls: number[] = [];
    const operator = {
      ...APPENDING,
      mergeBatch: (key: Uint8Array, existing: Uint8Array | undefined, all: Uint8Array[]) => {
        calls.push(all.length);
        return all.reduce((sum: Uint8Array | undefined, one) => APPENDING.merge(key, sum, one), existing)!;
      },
    };
    const based = compacted(parse(`${operands} a@5=put:x`), { operator });
    expect(based.left.map(print)).toEqual([`a@2000=put:x${whole}`]);
    expect(based.rows.counts.folded).toBe(1234);
    expect(Math.max(...calls)).toBeLessThanOrEqual(100);
    expect(compacted(parse(operands), {}).left.map(print)).toEqual([`a@2000=merge:${whole}`]);
  });

  it('parts of a fold apart whose result no row could hold', () => {
    const huge = new Uint8Array(256 * 1024 * 1024 + 1);
    const operator = { merge: () => huge };
    const words = 'a@4=merge:d a@3=merge:c a@2=del';
    const { left, rows } = compacted(parse(words), { operator });
    expect(left.map(print).join(' ')).toBe(words);
    expect(rows.counts.folded).toBe(0);
    expect(compacted(parse(words), { operator, isBottom: true }).left.map(print).join(' ')).toBe(
      'a@4=merge:d a@3=merge:c',
    );
  });
});

describe('a failing function', () => {
  it('of the operator ends the job', () => {
    const operator = {
      merge: () => {
        throw new Error('no');
      },
    };
    expect(() => compacted(parse('a@2=merge:b a@1=put:a'), { operator })).toThrow(
      /merge operator threw an exception at the key "a"/,
    );
  });

  it.each<[string, CompactionFilter['decide'], RegExp]>([
    [
      'throws',
      () => {
        throw new Error('no');
      },
      /filter threw an exception at the key "a"/,
    ],
    ['answers nothing', () => undefined as never, /must return 'keep'.* for the key "a"/],
    ['answers later', () => Promise.resolve('keep') as never, /not a promise/],
    ['answers a text', () => ({ replace: 'x' }) as never, /must return 'keep'/],
    ['answers too much', () => ({ replace: new Uint8Array(256 * 1024 * 1024 + 1) }), /for the key "a"; the limit is/],
  ])('of the filter that %s ends the job', (_, decide, message) => {
    expect(() => compacted(parse('a@1=put:a'), { filter: { decide } })).toThrow(message);
    expect(() => compacted(parse('a@1=put:a'), { filter: { decide } })).toThrow(InvalidArgumentError);
  });

  it('of the filter that changes what it was given changes nothing else', () => {
    const decide: CompactionFilter['decide'] = ({ key, value }) => {
      key.fill(0);
      value.fill(0);
      return 'keep';
    };
    expect(compacted(parse('a@1=put:a b@1=put:b'), { filter: { decide } }).left.map(print)).toEqual([
      'a@1=put:a',
      'b@1=put:b',
    ]);
  });

  it('asks with all that is known of the row', () => {
    const seen: unknown[] = [];
    const filter: CompactionFilter = { decide: (row) => (seen.push(row) > 0 ? 'keep' : 'drop') };
    compacted(parse('a@1=put:x!9 b@2=put:y'), { filter, tickMs: 5 });
    expect(seen).toEqual([
      { key: bytes('a'), value: bytes('x'), seq: 1n, createTs: 101, expireTs: 9 },
      { key: bytes('b'), value: bytes('y'), seq: 2n, createTs: 102, expireTs: undefined },
    ]);
    expect(askFilter(filter, seen[0] as never)).toBe('keep');
  });
});

// ---- random histories

const version = fc.record({
  kind: fc.constantFrom('put', 'put', 'del', 'merge', 'merge') as fc.Arbitrary<ModelVersion['kind']>,
  expires: fc.constantFrom(undefined, undefined, 3, 5, 7, 9),
  hasTime: fc.boolean(),
  step: fc.constantFrom(0, 1, 1, 1, 2),
});

/** Versions of some keys, newest first in each, sometimes one twice; and older data of another source below them. */
const history = fc.array(
  fc.tuple(fc.constantFrom('a', 'ab', 'b', 'c'), fc.array(version, { minLength: 1, maxLength: 7 })),
  {
    maxLength: 4,
  },
);

function versionsOf(
  keys: readonly [
    string,
    { kind: ModelVersion['kind']; expires: number | undefined; hasTime: boolean; step: number }[],
  ][],
) {
  const byKey = new Map(keys);
  return [...byKey]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([key, all]) => {
      let seq = 20;
      return all.map(({ kind, expires, hasTime, step }, i): ModelVersion => {
        seq -= i === 0 ? 0 : step;
        return {
          key,
          seq,
          kind,
          value: kind === 'del' ? '' : String.fromCharCode(97 + i),
          expires: kind === 'del' ? undefined : expires,
          created: hasTime ? 100 + seq : undefined,
        };
      });
    });
}

const range = fc.constantFrom<KeyRange[]>(
  [],
  [{ gte: bytes('a'), lte: bytes('a') }],
  [{ gte: bytes('ab'), lte: undefined }],
);

const rules = fc.record({
  barrier: fc.integer({ min: 5, max: 22 }),
  tickMs: fc.constantFrom(undefined, 4, 5, 8),
  isBottom: fc.boolean(),
  keptWhole: range,
  keptTombstones: range,
});

function grouped(versions: readonly ModelVersion[]): ModelVersion[][] {
  return [...new Set(versions.map((v) => v.key))].map((key) => versions.filter((v) => v.key === key));
}

/** What a reader sees of a key, as text. */
function seen(versions: readonly ModelRow[], seq: number, nowMs: number | undefined): string {
  const visible = versions.filter((v, i) => v.seq <= seq && (i === 0 || v.seq !== versions[i - 1].seq));
  const own = visible.map((v) => ({ ...v, value: v.value.slice() }));
  const row = foldVersions(own, KEY, nowMs, APPENDING);
  return row === undefined ? 'nothing' : `${text(row.value)} ${row.seq} ${row.createTs} ${row.expireTs}`;
}

const KEY = bytes('k');

describe('whatever the history', () => {
  it('the rows are those of the model', () => {
    fc.assert(
      fc.property(history, rules, fc.boolean(), fc.boolean(), (keys, how, hasOperator, hasFilter) => {
        const versions = versionsOf(keys);
        const model: ModelRules = {
          ...how,
          fold: hasOperator ? (_, older, newer) => older + newer : undefined,
          filter: hasFilter
            ? (_, value) => (value.includes('a') ? 'drop' : value.includes('c') ? { replace: 'x' } : 'keep')
            : undefined,
        };
        const filter: CompactionFilter = {
          decide: ({ key, value }) => {
            const verdict = model.filter!(text(key), text(value));
            return typeof verdict === 'string' ? verdict : { replace: bytes(verdict.replace) };
          },
        };
        const { left, rows } = compacted(versions, {
          ...how,
          operator: hasOperator ? APPENDING : undefined,
          filter: hasFilter ? filter : undefined,
        });
        expect(left).toEqual(mergedModel([versions], model));
        expect(rows.counts.rowsIn).toBe(versions.length);
      }),
      { numRuns: 2000 },
    );
  });

  it('reads at and above the barrier are those before, over older data that the job does not have', () => {
    fc.assert(
      fc.property(history, history, rules, fc.boolean(), (keys, below, how, hasOperator) => {
        const versions = versionsOf(keys);
        // At the bottom there is no older data; else its numbers are lower.
        const older = how.isBottom
          ? []
          : versionsOf(below).map((v) => ({ ...v, seq: v.seq - 20, value: v.value.toUpperCase() }));
        const { left } = compacted(versions, { ...how, operator: hasOperator ? APPENDING : undefined });
        const of = (all: readonly ModelVersion[], key: string) => all.filter((v) => v.key === key);
        // Readers that hide what has expired ask at or after the tick; without one nothing has expired for the job either.
        const times = how.tickMs === undefined ? [undefined, 4, 6, 10] : [how.tickMs, how.tickMs + 1, 10];
        const reads = (all: readonly ModelVersion[]) =>
          ['a', 'ab', 'b', 'c'].flatMap((key) => {
            const rows = [...of(all, key), ...of(older, key)].map(rowOfModel);
            return times.flatMap((now) =>
              Array.from({ length: 23 - how.barrier }, (_, i) => {
                const seq = how.barrier + i;
                return `${key} at ${seq}, ${now}: ${seen(rows, seq, now)}`;
              }),
            );
          });
        expect(reads(left)).toEqual(reads(versions));
      }),
      { numRuns: 700 },
    );
  });

  it('tombstones are the last rows of a key only where older data may follow', () => {
    fc.assert(
      fc.property(history, rules, (keys, how) => {
        const { left, rows } = compacted(versionsOf(keys), {
          ...how,
          isBottom: true,
          keptWhole: [],
          keptTombstones: [],
        });
        for (const of of grouped(left)) expect(rowOfModel(of.at(-1)!).flags & FLAG_TOMBSTONE).toBe(0);
        expect(rows.droppedTombstones).toBe(rows.counts.tombstones + rows.counts.filtered > 0);
      }),
      { numRuns: 500 },
    );
  });
});
