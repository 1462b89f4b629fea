/** Compactions files: those of the fixtures byte for byte, every field, and what is too new or damaged. */
import { describe, expect, it } from 'vitest';
import { toHex } from '../../../src/common/bytes.ts';
import type { Ulid } from '../../../src/common/ulid.ts';
import {
  type CompactionJob,
  type Compactions,
  decodeCompactions,
  encodeCompactions,
  isCanonicalCompactions,
  type TieredSpec,
} from '../../../src/format/compactions-codec.ts';
import { buildRange } from '../../../src/format/flat-tables.ts';
import { FlatBuilder } from '../../../src/format/flatbuffer.ts';
import type { Bound } from '../../../src/format/manifest-types.ts';
import { goldenFixtures } from '../../support/golden-fixtures.ts';
import { fuzzDecoder } from '../../support/mutations.ts';

const code = (name: string) => expect.objectContaining({ code: name });
const id = (n: number) => `01M7Q5CQG1000000000000000${n}` as Ulid;

function goldenFiles() {
  return goldenFixtures().flatMap((fixture) => fixture.objects.filter((o) => o.path.endsWith('.compactions')));
}

const capitalized = (text: string) => text[0].toUpperCase() + text.slice(1);

const expectedBound = (bound: Bound) => ({
  type: bound.kind,
  key: bound.kind === 'unbounded' ? null : toHex(bound.key),
});

function expectedContext({ context }: CompactionJob) {
  if (context === undefined) return null;
  return {
    retention_min_seq: String(context.retentionMinSeq),
    subcompactions: context.subcompactions!.map(({ range, status, outputs }) => ({
      range: { start: expectedBound(range.start), end: expectedBound(range.end) },
      status: status === 'completed' ? 'Completed' : 'InProgress',
      output_ssts: outputs!.map((output) => output.table.id),
    })),
  };
}

/** The form of `expected.json`, which shows segment, destination, worker and context only for header version 2. */
function toExpected(c: Compactions) {
  return {
    header_version: c.headerVersion,
    compactor_epoch: String(c.compactorEpoch),
    recent_compactions: c.jobs.map((job) => {
      const spec = job.spec as TieredSpec;
      const segment = {
        segment: spec.segment === undefined ? null : toHex(spec.segment),
        destination: spec.destination,
      };
      const worker = job.worker && {
        worker_id: job.worker.workerId,
        last_heartbeat_ms: String(job.worker.lastHeartbeatMs),
      };
      return {
        id: job.id,
        status: capitalized(job.status),
        spec: {
          l0_view_ids: spec.l0ViewIds ?? [],
          sorted_runs: spec.runs ?? [],
          ...(c.headerVersion === 2 && segment),
        },
        output_ssts: (job.outputs ?? []).map((output) => output.table.id),
        ...(c.headerVersion === 2 && { worker: worker ?? null, ctx: expectedContext(job) }),
      };
    }),
  };
}

function job(change: Partial<CompactionJob> = {}, spec: Partial<TieredSpec> = {}): CompactionJob {
  return {
    id: id(1),
    spec: {
      kind: 'tiered',
      deprecatedTables: undefined,
      l0ViewIds: [id(2)],
      runs: undefined,
      segment: undefined,
      destination: 0,
      ...spec,
    },
    status: 'submitted',
    outputs: undefined,
    worker: undefined,
    context: undefined,
    ...change,
  };
}

function file(jobs: CompactionJob[], headerVersion: 1 | 2 = 2): Compactions {
  return { headerVersion, compactorEpoch: 3, jobs, hasUnknownFields: false };
}

const output = {
  table: {
    id: id(6),
    formatVersion: 2,
    info: {
      firstEntry: Uint8Array.of(1),
      lastEntry: undefined,
      indexOffset: 1,
      indexLength: 2,
      filterOffset: 0,
      filterLength: 0,
      codec: 'zstd',
      tableType: 'compacted',
      statsOffset: 0,
      statsLength: 0,
      filterForm: 'composite',
    },
  },
  visibleRange: undefined,
} as const;

describe('compactions files of the fixtures', () => {
  it('encode to the same bytes again', () => {
    const all = goldenFiles();
    expect(all.length).toBe(120);
    for (const { bytes } of all) {
      const { compactions, bodyBytes } = decodeCompactions(bytes);
      expect(bodyBytes).toBe(bytes.length);
      expect(compactions.hasUnknownFields).toBe(false);
      expect(toHex(encodeCompactions(compactions))).toBe(toHex(bytes));
      expect(isCanonicalCompactions(bytes)).toBe(true);
    }
  });

  it('decode to what is expected of the latest one and of each one', () => {
    let checked = 0;
    for (const { expected, objects } of goldenFixtures()) {
      const bytesOf = (object: string) => objects.find((o) => o.path.endsWith(object))!.bytes;
      if (expected.latest_compactions) {
        const { object, ...latest } = expected.latest_compactions;
        expect(toExpected(decodeCompactions(bytesOf(object)).compactions)).toEqual(latest);
        checked++;
      }
      for (const { object, size, jobs, ...summary } of expected.compactions_objects ?? []) {
        const { recent_compactions, ...found } = toExpected(decodeCompactions(bytesOf(object)).compactions);
        expect(found).toEqual(summary);
        expect(recent_compactions.map((j) => j.status)).toEqual(jobs);
        expect(bytesOf(object).length).toBe(size);
        checked++;
      }
    }
    expect(checked).toBeGreaterThan(40);
  });
});

describe('compactions file', () => {
  it('round-trips every field', () => {
    const full = file([
      job(
        {
          status: 'scheduled',
          outputs: [],
          worker: { workerId: undefined, lastHeartbeatMs: 0 },
          context: { subcompactions: undefined, retentionMinSeq: 4 },
        },
        { deprecatedTables: [id(3)], runs: [], segment: Uint8Array.of(), destination: 2 ** 32 - 1 },
      ),
      {
        ...job({ status: 'compacted' }),
        spec: { kind: 'drain', segment: Uint8Array.of(7), l0ViewIds: undefined, runs: [3, 2] },
        worker: { workerId: 'w', lastHeartbeatMs: 5 },
        context: {
          retentionMinSeq: 0,
          subcompactions: [
            {
              range: { start: { kind: 'unbounded' }, end: { kind: 'excluded', key: Uint8Array.of(4) } },
              outputs: [output],
              status: 'in-progress',
            },
            {
              range: { start: { kind: 'included', key: Uint8Array.of(4) }, end: { kind: 'unbounded' } },
              outputs: undefined,
              status: 'completed',
            },
          ],
        },
      },
    ]);
    const bytes = encodeCompactions(full);
    expect(decodeCompactions(bytes).compactions).toEqual(full);
    expect(isCanonicalCompactions(bytes)).toBe(true);
  });

  it('of header version 1 infers the destination: the lowest source run, or 0', () => {
    const destinations = [undefined, [], [7], [9, 4, 6]].map((runs) => {
      const bytes = encodeCompactions(file([job({}, { runs, destination: 99 })], 1));
      return (decodeCompactions(bytes).compactions.jobs[0].spec as TieredSpec).destination;
    });
    expect(destinations).toEqual([0, 0, 7, 4]);
  });

  it('takes an unknown status for submitted and keeps its number', () => {
    const bytes = encodeCompactions(file([job({ unknownStatus: 6 })]));
    const [found] = decodeCompactions(bytes).compactions.jobs;
    expect([found.status, found.unknownStatus]).toEqual(['submitted', 6]);
    expect(isCanonicalCompactions(bytes)).toBe(true);
  });

  it('with an unknown header version or kind of job is of a newer program', () => {
    const bytes = encodeCompactions(file([]));
    bytes[1] = 3;
    expect(() => decodeCompactions(bytes)).toThrow(code('FORMAT_TOO_NEW'));
    expect(() => decodeCompactions(handmade({ specKind: 3 }))).toThrow(code('FORMAT_TOO_NEW'));
  });

  function handmade(parts: {
    specKind?: number;
    spec?: boolean;
    contextKind?: number;
    context?: boolean;
    drain?: number;
    partStatus?: number;
  }) {
    const b = new FlatBuilder();
    b.startTable();
    const empty = b.endTable();
    const range = buildRange(b, { start: { kind: 'unbounded' }, end: { kind: 'unbounded' } });
    b.startTable();
    b.addRef(0, range);
    b.addU8(2, parts.partStatus ?? 0);
    const subcompactions = b.tableVector([b.endTable()]);
    b.startTable();
    if (parts.partStatus !== undefined) b.addRef(0, subcompactions);
    const context = b.endTable();
    const segment = b.byteVector(new Uint8Array(parts.drain ?? 0));
    b.startTable();
    if (parts.drain !== undefined) b.addRef(0, segment);
    const spec = b.endTable();
    b.startTable();
    b.addRef(0, empty);
    b.addU8(1, parts.specKind ?? 1);
    if (parts.spec !== false) b.addRef(2, spec);
    b.addU8(6, parts.contextKind ?? 0);
    if (parts.context) b.addRef(7, context);
    const jobs = b.tableVector([b.endTable()]);
    b.startTable();
    b.addRef(1, jobs);
    const out = b.finish(b.endTable(), 2);
    out[1] = 2;
    return out;
  }

  it('is refused with half a union or a drained segment without prefix', () => {
    expect(() => decodeCompactions(handmade({}))).not.toThrow();
    for (const parts of [
      { specKind: 0 },
      { spec: false },
      { contextKind: 1 },
      { context: true },
      { specKind: 2 },
      { specKind: 2, drain: 0 },
    ]) {
      expect(() => decodeCompactions(handmade(parts))).toThrow(code('MALFORMED'));
    }
    expect(() => decodeCompactions(handmade({ specKind: 2, drain: 1 }))).not.toThrow();
  });

  it('with an unknown status of a part of a job is of a newer program', () => {
    const withStatus = (partStatus: number) =>
      decodeCompactions(handmade({ contextKind: 1, context: true, partStatus })).compactions;
    const statuses = [0, 1].map((n) => withStatus(n).jobs[0].context!.subcompactions!.map(({ status }) => status));
    expect(statuses).toEqual([['in-progress'], ['completed']]);
    for (const unknown of [2, 127, 128, 255]) expect(() => withStatus(unknown)).toThrow(code('FORMAT_TOO_NEW'));
  });

  it('notes a kind of context that is not known', () => {
    const { compactions } = decodeCompactions(handmade({ contextKind: 2, context: true }));
    expect(compactions.hasUnknownFields).toBe(true);
    expect(compactions.jobs[0].context).toBeUndefined();
  });

  it('is refused when it is cut', () => {
    const bytes = encodeCompactions(file([job()]));
    expect(() => decodeCompactions(bytes.slice(0, 1))).toThrow(code('TRUNCATED'));
    for (let n = 2; n < bytes.length; n++)
      expect(() => decodeCompactions(bytes.slice(0, n))).toThrow(code('MALFORMED'));
  });

  it('gives a value that can be written again, or a typed error, for 20,000 mutations', () => {
    const inputs = goldenFiles().map((o) => o.bytes);
    const decode = (bytes: Uint8Array) => encodeCompactions(decodeCompactions(bytes).compactions);
    const result = fuzzDecoder(inputs, decode, { runs: 20_000, seed: 17 });
    expect(result.refused).toBeGreaterThan(3_000);
    expect(result.accepted).toBeGreaterThan(1_000);
  });
});
