/**
 * The merge of whole tables: what comes out is what the plain model says, however rows are spread over sources, tables, blocks,
 * stretches and steps; where tables end; what happens at blocks that are not good.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/common/errors.ts';
import type { CompactionPlan } from '../../../src/compaction/compaction-plan.ts';
import { MergeStep, type TablePlace } from '../../../src/compaction/merge-step.ts';
import { crc32 } from '../../../src/format/checksum.ts';
import { type BlockCodec, loadCodec, NO_CODEC } from '../../../src/format/codecs.ts';
import { unframeUnit, writeCrc } from '../../../src/format/framing.ts';
import type { TableFacts } from '../../../src/format/table-builder.ts';
import {
  BadBlockError,
  type DriveOptions,
  type InputTable,
  type Merged,
  merge,
  OUTPUT,
  placesOf,
  planOver,
  rowsOfTable,
  stretchesOf,
  tableOf,
  tableOfModel,
} from '../../support/merge-inputs.ts';
import { jobArb, partsOf, planOf, rulesOf, spread } from '../../support/random-merges.ts';
import {
  type ModelRules,
  type ModelVersion,
  mergedModel,
  modelOfRow,
  rowOfModel,
} from '../../support/version-model.ts';

const bytes = (s: string) => new TextEncoder().encode(s);
const text = (b: Uint8Array) => new TextDecoder().decode(b);

const put = (key: string, seq: number, value = `value of ${key} at ${seq}`): ModelVersion => ({
  key,
  seq,
  kind: 'put',
  value,
  expires: undefined,
  created: 1000 + seq,
});
const del = (key: string, seq: number): ModelVersion => ({ ...put(key, seq, ''), kind: 'del' });
const numbered = (n: number) => `key-${String(n).padStart(5, '0')}`;

function leftIn(merged: Merged, codec?: BlockCodec): ModelVersion[] {
  return merged.tables.flatMap((table) => rowsOfTable(table.bytes, codec)).map(modelOfRow);
}

const PLAIN: ModelRules = {
  barrier: Number.MAX_SAFE_INTEGER,
  tickMs: undefined,
  isBottom: false,
  keptWhole: [],
  keptTombstones: [],
  fold: undefined,
  filter: undefined,
};

/** 3 sources, 2 of which have several tables; keys overlap everywhere, versions of one key are in all of them. */
function overlapping(rowsEach: number): { versions: ModelVersion[][]; sources: InputTable[][] } {
  const versions = [2, 1, 0].map((age) =>
    Array.from({ length: rowsEach }, (_, i) => put(numbered(i * (age + 1)), 1000 * (3 - age) + (i % 7))),
  );
  const sources = versions.map((all, i) => {
    const third = Math.ceil(all.length / 3);
    const cuts = i === 0 ? [all] : [all.slice(0, third), all.slice(third, 2 * third), all.slice(2 * third)];
    return cuts.map((part) => tableOfModel(part));
  });
  return { versions, sources };
}

describe('whatever the job', () => {
  it('its tables have the rows of the model', () => {
    fc.assert(
      fc.property(jobArb, (job) => {
        const { versions, sources } = spread(job);
        const rules = rulesOf(job);
        const merged = merge(planOf(sources, rules, job.maxSstBytes), sources, {
          settings: { partBytes: job.partBytes },
          parts: partsOf(rules),
          rowsPerStep: () => job.perStep,
          blocksPerStretch: () => job.perStretch,
        });
        const left = leftIn(merged);
        expect(left).toEqual(mergedModel(versions, rules));
        const { counts } = merged.done;
        expect([counts.rowsIn, counts.rowsOut]).toEqual([versions.flat().length, left.length]);
        expect(merged.tables.map(({ table }) => table.isLast)).toEqual(
          merged.tables.map((_, i, all) => i === all.length - 1),
        );
        const stored = sources.flat().flatMap(placesOf);
        expect(merged.done.bytesIn).toBe(stored.reduce((sum, { start, end }) => sum + end - start, 0));
      }),
      { numRuns: 200 },
    );
  });

  it('its bytes do not depend on stretches, steps and parts', () => {
    fc.assert(
      fc.property(jobArb, (job) => {
        const { sources } = spread(job);
        const rules = rulesOf(job);
        const plan = planOf(sources, rules, job.maxSstBytes);
        const run = (partBytes: number, rows: number, blocks: number) =>
          merge(plan, sources, {
            settings: { partBytes },
            parts: partsOf(rules),
            rowsPerStep: () => rows,
            blocksPerStretch: () => blocks,
          });
        const facts = ({ tables, done }: Merged) => ({
          tables: tables.map(({ bytes: stored, table }) => ({ stored: Buffer.from(stored).toString('hex'), table })),
          done,
        });
        expect(facts(run(job.partBytes, job.perStep, job.perStretch))).toEqual(facts(run(1 << 20, 1000, 100)));
      }),
      { numRuns: 40 },
    );
  });

  it('it can go on after any table that divides no key', () => {
    fc.assert(
      fc.property(jobArb, (job) => {
        const { sources } = spread(job);
        const rules = rulesOf(job);
        const plan = planOf(sources, rules, Math.min(job.maxSstBytes, 300));
        const options = { parts: partsOf(rules), blocksPerStretch: () => job.perStretch };
        const whole = merge(plan, sources, options);
        for (const [i, { table }] of whole.tables.entries()) {
          if (table.resume === undefined) continue;
          const { resume } = table;
          const rest = merge(plan, sources, { ...options, settings: { resume: structuredClone(resume) } });
          const facts = ({ tables }: Merged, from: number) =>
            tables.slice(from).map((t) => ({ ...t.table, sizeBytes: 0, rows: rowsOfTable(t.bytes).map(modelOfRow) }));
          expect(facts(rest, 0)).toEqual(facts(whole, i + 1));
          const { bytesIn: _, ...total } = rest.done;
          expect(total).toEqual({ ...whole.done, bytesIn: undefined });
        }
      }),
      { numRuns: 40 },
    );
  });
});

describe('tables', () => {
  it('end with the key with which they are full, and parts are not much larger than asked for', () => {
    const { versions, sources } = overlapping(600);
    const merged = merge(planOf(sources, PLAIN, 3000), sources, { settings: { partBytes: 500 } });
    expect(leftIn(merged)).toEqual(mergedModel(versions, PLAIN));
    expect(merged.tables.length).toBeGreaterThan(5);
    for (const { table, bytes: stored } of merged.tables) {
      const { filterOffset } = table.info;
      if (!table.isLast) expect(filterOffset).toBeGreaterThanOrEqual(3000);
      expect(filterOffset).toBeLessThan(3300);
      expect(stored.length).toBe(table.sizeBytes);
    }
    expect(merged.largestPart).toBeLessThan(2500);
  });

  it('have in their facts what they have in their rows', () => {
    const { sources } = overlapping(200);
    const facts: TableFacts[] = [];
    const places: TablePlace[] = [];
    const makeSeal = (of: TableFacts, place: TablePlace) => {
      facts.push(of);
      places.push(place);
      return bytes(`seal ${place.ordinal}`);
    };
    const merged = merge(planOf(sources, PLAIN, 3000), sources, { parts: { makeSeal } });
    for (const [i, { table, bytes: stored }] of merged.tables.entries()) {
      const rows = rowsOfTable(stored);
      expect(table).toMatchObject({
        ordinal: i,
        rows: rows.length,
        minSeq: Math.min(...rows.map((r) => r.seq)),
        maxSeq: Math.max(...rows.map((r) => r.seq)),
        maxCreateTs: Math.max(...rows.map((r) => r.createTs)),
        puts: rows.length,
        deletes: 0,
        merges: 0,
      });
      expect([table.info.firstEntry, table.info.lastEntry]).toEqual([rows[0].key, rows.at(-1)!.key]);
      expect(places[i]).toEqual({ ordinal: i, isLast: table.isLast });
      expect(facts[i]).toMatchObject({ rowCount: rows.length, info: table.info });
      expect(text(stored)).toContain(`seal ${i}`);
    }
    expect(merged.tables.length).toBeGreaterThan(1);
  });

  it('divide the versions of one key only where these alone would make one twice as large', () => {
    const versions = Array.from({ length: 400 }, (_, i) => put('b', 1000 - i));
    const rules = { ...PLAIN, barrier: 0 };
    const sources = [[tableOfModel([put('a', 1), ...versions, put('c', 1), put('d', 1)])]];
    const merged = merge(planOf(sources, rules, 1500), sources);
    expect(leftIn(merged)).toEqual([put('a', 1), ...versions, put('c', 1), put('d', 1)]);
    const ends = merged.tables.map(({ table }) => [text(table.info.firstEntry!), text(table.info.lastEntry!)]);
    expect(ends.length).toBeGreaterThan(3);
    expect(ends[0]).toEqual(['a', 'b']);
    expect(ends.slice(1, -1).every(([first, last]) => first === 'b' && last === 'b')).toBe(true);
    expect(merged.tables.slice(0, -2).every(({ table }) => table.resume === undefined)).toBe(true);
  });

  it('are the last ones also where only rows that go follow', () => {
    const rows = Array.from({ length: 100 }, (_, i) => put(numbered(i), 5));
    const gone = Array.from({ length: 100 }, (_, i) => del(numbered(100 + i), 5));
    const sources = [[tableOfModel([...rows, ...gone])]];
    const full = tableOfModel(rows).info.filterOffset - 40;
    const merged = merge(planOf(sources, { ...PLAIN, isBottom: true }, full), sources);
    expect(merged.tables.map(({ table }) => [table.isLast, table.resume])).toEqual([[true, undefined]]);
    expect(merged.done).toMatchObject({ droppedTombstones: true, counts: { tombstones: 100, rowsOut: 100 } });
  });

  it('are not the last ones where what waited for the end of a key follows', () => {
    const rows = Array.from({ length: 100 }, (_, i) => put(numbered(i), 5));
    const operands: ModelVersion[] = [9, 8].map((seq) => ({ ...put(numbered(100), seq, String(seq)), kind: 'merge' }));
    const sources = [[tableOfModel([...rows, ...operands])]];
    const full = tableOfModel(rows).info.filterOffset - 40;
    const rules: ModelRules = { ...PLAIN, fold: (_, older, newer) => older + newer };
    const merged = merge(planOf(sources, rules, full), sources, { parts: partsOf(rules) });
    expect(leftIn(merged)).toEqual([...rows, { ...operands[0], value: '89' }]);
    expect(merged.tables.map(({ table }) => [table.isLast, table.rows])).toEqual([
      [false, 100],
      [true, 1],
    ]);
  });

  it('are none if no row is left, or came in', () => {
    const sources = [
      [tableOfModel([del('a', 5)])],
      [tableOfModel([put('a', 3), put('b', 2)]), tableOfModel([del('c', 1)])],
    ];
    const rules: ModelRules = { ...PLAIN, isBottom: true, filter: () => 'drop' };
    const merged = merge(planOf(sources, rules, 1000), sources, { parts: partsOf(rules) });
    expect(merged.tables).toEqual([]);
    expect(merged.done.counts).toMatchObject({ rowsIn: 4, rowsOut: 0, superseded: 1, tombstones: 2, filtered: 1 });
    const empty = merge(planOver([[]]), [[]]);
    expect([empty.tables, empty.done.counts.rowsIn]).toEqual([[], 0]);
  });

  it('are those of a plan and settings that crossed a thread', () => {
    const { sources } = overlapping(50);
    const plan = planOf(sources, PLAIN, 1000);
    expect(merge(structuredClone(plan), sources)).toEqual(merge(plan, sources));
  });
});

describe('views', () => {
  const versions = Array.from({ length: 60 }, (_, i) => put(numbered(i), 60 - i));
  const table = tableOfModel(versions);
  const bound = (kind: 'included' | 'excluded', n: number) => ({ kind, key: bytes(numbered(n)) });
  const open = { kind: 'unbounded' as const };

  it.each([
    ['from 10 on', { start: bound('included', 10), end: open }, 10, 59],
    ['after 10', { start: bound('excluded', 10), end: open }, 11, 59],
    ['up to 20', { start: open, end: bound('included', 20) }, 0, 20],
    ['below 20', { start: open, end: bound('excluded', 20) }, 0, 19],
    ['between', { start: bound('included', 15), end: bound('excluded', 18) }, 15, 17],
  ])('%s show what they show', (_, visibleRange, first, last) => {
    const sources = [[{ ...table, visibleRange }]];
    const merged = merge(planOf(sources, PLAIN, 1 << 20), sources);
    expect(leftIn(merged)).toEqual(versions.slice(first, last + 1));
    expect(merged.done.counts.rowsIn).toBe(last - first + 1);
  });

  it('show what they show after a table as well', () => {
    const views = [
      { ...table, visibleRange: { start: bound('included', 5), end: bound('excluded', 25) } },
      { ...table, visibleRange: { start: bound('excluded', 40), end: bound('included', 55) } },
    ];
    const plan = planOf([views], PLAIN, 200);
    const whole = merge(plan, [views]);
    expect(whole.tables.length).toBeGreaterThan(5);
    for (const [i, { table: merged }] of whole.tables.entries()) {
      if (merged.resume === undefined) continue;
      const rest = merge(plan, [views], { settings: { resume: merged.resume } });
      expect(leftIn(rest)).toEqual(whole.tables.slice(i + 1).flatMap((t) => rowsOfTable(t.bytes).map(modelOfRow)));
    }
  });

  it('of one table, beside each other in a run and over it, give each row once', () => {
    const sources = [
      [
        { ...table, visibleRange: { start: open, end: bound('excluded', 30) } },
        { ...table, visibleRange: { start: bound('included', 30), end: open } },
      ],
      [{ ...table, visibleRange: { start: bound('included', 20), end: bound('included', 40) } }],
    ];
    const merged = merge(planOf(sources, PLAIN, 500), sources);
    expect(leftIn(merged)).toEqual(versions);
    expect(merged.done.counts).toMatchObject({ rowsIn: 81, superseded: 21 });
  });
});

describe('stored forms', () => {
  it.each(['none', 'snappy', 'zlib', 'lz4', 'zstd'] as const)('of %s come in and go out', async (codecName) => {
    const codec = await loadCodec(codecName);
    const { versions } = overlapping(150);
    const sources = versions.map((all, i) => [
      tableOfModel(all, { codec: i === 1 ? NO_CODEC : codec, blockBytes: 512 }),
    ]);
    const plan = planOver(sources, { output: { ...OUTPUT, codec: codecName, maxSstBytes: 2000, blockBytes: 300 } });
    const merged = merge(plan, sources, { codecs: [codec] });
    expect(leftIn(merged, codec)).toEqual(mergedModel(versions, PLAIN));
  });

  it('of padded tables come in without their padding, and go out without', () => {
    const { versions } = overlapping(100);
    const sources = versions.map((all) => [tableOfModel(all, { isAligned: true, blockBytes: 256 })]);
    const merged = merge(planOf(sources, PLAIN, 2000), sources);
    expect(leftIn(merged)).toEqual(mergedModel(versions, PLAIN));
  });

  it('need their codecs beforehand', () => {
    const { sources } = overlapping(10);
    expect(() => merge(planOver(sources, { output: { ...OUTPUT, codec: 'lz4' } }), sources)).toThrow(InternalError);
  });
});

describe('a block that is not good', () => {
  const { versions, sources } = overlapping(120);
  const plan: CompactionPlan = planOf(sources, PLAIN, 2000);
  const good = merge(plan, sources);
  /** Flips a bit in block 5 of the second table of input 1. */
  const spoil: DriveOptions['spoil'] = (stretch, input) => {
    const at = 5 - stretch.block;
    if (input === 1 && stretch.table === 1 && at >= 0 && 2 * at < stretch.places.length) {
      stretch.bytes[stretch.places[2 * at] + 7] ^= 4;
    }
  };
  const badOf = (run: () => unknown) => {
    try {
      run();
    } catch (error) {
      if (error instanceof BadBlockError) return error.bad;
      throw error;
    }
    return undefined;
  };

  it('is reported with its place', () => {
    expect(badOf(() => merge(plan, sources, { spoil }))).toEqual({
      input: 1,
      table: 1,
      block: 5,
      isBegun: false,
      code: 'BAD_CHECKSUM',
      message: 'The checksum of the block does not hold.',
      isTooNew: false,
    });
  });

  it('is replaced by its healed rows, and nothing else changes', () => {
    const heal: DriveOptions['heal'] = ({ input, table, block }) => {
      const of = sources[input][table];
      const { start, end } = placesOf(of)[block];
      return unframeUnit(of.bytes.slice(start, end), NO_CODEC, 'block', 1 << 20);
    };
    expect({ ...merge(plan, sources, { spoil, heal }), needs: 0 }).toEqual({ ...good, needs: 0 });
  });

  it('stays bad if what should heal it is not good either', () => {
    const healed: Uint8Array[] = [Uint8Array.of(1, 2, 3)];
    expect(badOf(() => merge(plan, sources, { spoil, heal: () => healed.shift() }))).toMatchObject({
      block: 5,
      code: 'MALFORMED',
    });
  });

  it('ends the merge where rows of it have gone on', () => {
    // The checksum holds, but a row in its middle does not.
    const rows = [put('a', 1, 'x'.repeat(20)), put('b', 1, 'x'.repeat(20)), put('c', 1, 'x'.repeat(20))].map(
      rowOfModel,
    );
    const table = tableOf(rows, { blockBytes: 1024 });
    const [{ end }] = placesOf(table);
    const flags = text(table.bytes).indexOf('b') + 1 + 20 + 8;
    for (const [changed, code] of [
      [0x44, 'FORMAT_TOO_NEW'],
      [0x09, 'MALFORMED'],
    ] as const) {
      const stored = table.bytes.slice();
      stored[flags] = changed;
      writeCrc(stored, end - 4, crc32(stored, 0, end - 4));
      const spoilt = [[{ ...table, bytes: stored }]];
      const bad = badOf(() => merge(planOf(spoilt, PLAIN, 1000), spoilt));
      expect(bad).toMatchObject({ isBegun: true, code, isTooNew: code === 'FORMAT_TOO_NEW' });
    }
  });

  it.each([
    ['keys that go back', [put('c', 1), put('b', 1)]],
    ['a key that goes back to its beginning', [put('cc', 1), put('c', 1)]],
    ['a newer version after an older one', [put('c', 1), put('c', 2)]],
  ])('because of %s ends the merge', (_, wrong) => {
    // Two tables of one run in the wrong order: each of them is good.
    const tables = [tableOfModel([put('a', 9), wrong[0]]), tableOfModel([wrong[1], put('d', 4)])];
    const other = [tableOfModel([put('a', 1), put('bb', 1), put('cd', 1)])];
    const all = [tables, other];
    expect(badOf(() => merge(planOf(all, PLAIN, 1000), all))).toMatchObject({
      input: 0,
      table: 1,
      block: 0,
      isBegun: true,
      code: 'OUT_OF_ORDER',
    });
  });

  it('because of a key that the manifest says is not there ends the merge', () => {
    const table = tableOfModel([put('key-1', 1), put('key-2', 1), put('other', 1)]);
    const stated = { ...table, info: { ...table.info, lastEntry: bytes('key-9') } };
    const all = [[stated]];
    expect(badOf(() => merge(planOf(all, PLAIN, 1000), all))).toMatchObject({ code: 'OUT_OF_ORDER', block: 1 });
  });

  it('is never more than a report, whatever its rows are, and no illegal row goes on', () => {
    const table = tableOfModel(versions[1].slice(0, 40), { blockBytes: 1024 });
    const places = placesOf(table);
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: places.length - 1 }),
        fc.array(
          fc.tuple(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.integer({ min: 0, max: 255 })),
          {
            minLength: 1,
            maxLength: 4,
          },
        ),
        (block, changes) => {
          const { start, end } = places[block];
          const stored = table.bytes.slice();
          for (const [at, to] of changes) stored[start + Math.floor(at * (end - 4 - start))] = to;
          writeCrc(stored, end - 4, crc32(stored, start, end - 4));
          const all = [[{ ...table, bytes: stored }], sources[2]];
          const bad = badOf(() => {
            const merged = merge(planOf(all, { ...PLAIN, barrier: 0 }, 1500), all);
            for (const { bytes: out } of merged.tables) rowsOfTable(out);
          });
          if (bad !== undefined) expect(bad).toMatchObject({ input: 0, block });
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('misuse', () => {
  const table = tableOfModel(Array.from({ length: 30 }, (_, i) => put(numbered(i), 1)));
  const step = () => {
    const plan = planOver([[table, table]]);
    const settings = { plan, rowsExpected: 0, rowBytes: 0, partBytes: 100, resume: undefined };
    const codecs = new Map([['none', NO_CODEC] as const]);
    return new MergeStep(settings, { codecs, operator: undefined, filter: undefined, makeSeal: () => bytes('') });
  };
  const [first, second, third] = stretchesOf(table, 0, () => 2);

  it.each([
    ['a stretch that leaves out a block', [first, third]],
    ['a stretch twice', [first, first]],
    ['a table after a later one', [{ ...first, table: 1 }, second]],
    ['a table that the input does not have', [{ ...first, table: 2 }]],
    ['a stretch without blocks', [{ ...first, places: new Uint32Array(0) }]],
    ['a block beyond its stretch', [{ ...first, bytes: first.bytes.subarray(0, 20) }]],
    ['blocks that overlap', [{ ...first, places: Uint32Array.of(0, 30, 20, 50) }]],
    ['a block of a checksum alone', [{ ...first, places: Uint32Array.of(0, 4) }]],
  ])('of feed with %s is refused', (_, stretches) => {
    const merging = step();
    expect(() => stretches.map((stretch) => merging.feed(0, stretch))).toThrow(InternalError);
  });

  it('of feed after the end, and of heal without a bad block, is refused', () => {
    const merging = step();
    merging.end(0);
    expect(() => merging.feed(0, first)).toThrow(InternalError);
    expect(() => merging.heal(0, { table: 0, block: 0, payload: bytes('x'), formatVersion: 2 })).toThrow(InternalError);
  });

  it('of step while something is missing changes nothing', () => {
    const merging = step();
    expect([1, 2, 3].map(() => merging.step(10))).toEqual(Array(3).fill({ kind: 'need', input: 0 }));
  });
});
