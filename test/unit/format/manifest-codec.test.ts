/** Manifests of both versions: those of the fixtures byte for byte, every field, and what is damaged, inconsistent or too new. */
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../../src/common/bytes.ts';
import { type Ulid, ulidToHalves } from '../../../src/common/ulid.ts';
import { FlatBuilder, type FlatRef } from '../../../src/format/flatbuffer.ts';
import { decodeManifest, encodeManifest, isCanonicalManifest } from '../../../src/format/manifest-codec.ts';
import {
  type Bound,
  type BytesRange,
  type Manifest,
  NO_TICK,
  type TableRef,
  type TableView,
} from '../../../src/format/manifest-types.ts';
import { decodeTracker } from '../../../src/format/sequence-tracker.ts';
import { goldenBytes, goldenFixture, goldenFixtures } from '../../support/golden-fixtures.ts';
import { fuzzDecoder } from '../../support/mutations.ts';

const code = (name: string) => expect.objectContaining({ code: name });
const hex = (bytes: Uint8Array | undefined) => (bytes === undefined ? null : toHex(bytes));

/** The one fixture whose encoder created the children of a segment in another order than SlateDB itself. */
const OTHER_ORDER = 'constructed/segments';

function goldenManifests() {
  return goldenFixtures().flatMap((fixture) =>
    fixture.objects
      .filter((object) => object.path.endsWith('.manifest'))
      .map((object) => ({ fixture: fixture.name, ...object })),
  );
}

// ---- the form of `expected.json`

function bound(b: Bound) {
  return { type: b.kind, key: b.kind === 'unbounded' ? null : toHex(b.key) };
}
const range = (r: BytesRange | undefined) => (r === undefined ? null : { start: bound(r.start), end: bound(r.end) });

function table({ id, info, formatVersion }: TableRef) {
  return {
    id,
    format_version: formatVersion,
    info: {
      first_entry: hex(info.firstEntry),
      last_entry: hex(info.lastEntry),
      index_offset: String(info.indexOffset),
      index_len: String(info.indexLength),
      filter_offset: String(info.filterOffset),
      filter_len: String(info.filterLength),
      compression_format: info.codec,
      sst_type: info.tableType,
      stats_offset: String(info.statsOffset),
      stats_len: String(info.statsLength),
      filter_format: info.filterForm,
    },
  };
}

function views(list: readonly TableView[], version: 1 | 2) {
  return list.map((view) =>
    version === 1
      ? { ...table(view.table), visible_range: range(view.visibleRange) }
      : { id: view.viewId, sst_id: view.table.id, visible_range: range(view.visibleRange) },
  );
}

function runs(m: Pick<Manifest, 'runs'>, version: 1 | 2) {
  return m.runs.map((run) => ({ id: run.id, ssts: views(run.views, version) }));
}

function allTables(m: Manifest): TableRef[] {
  const all = [m, ...(m.segments ?? [])]
    .flatMap((t) => [...t.l0, ...t.runs.flatMap((r) => r.views)])
    .map((v) => v.table);
  const byId = new Map([...all, ...m.unviewedTables].map((t) => [t.id, t]));
  return [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
}

function toExpected(m: Manifest) {
  const version = m.headerVersion;
  const tracker = m.sequenceTracker === undefined ? undefined : decodeTracker(m.sequenceTracker);
  return {
    header_version: version,
    manifest_id: '0',
    external_dbs:
      m.externalDbs.length === 0
        ? null
        : m.externalDbs.map((e) => ({
            path: e.path,
            source_checkpoint_id: e.sourceCheckpointId,
            final_checkpoint_id: e.finalCheckpointId ?? null,
            sst_ids: e.tableIds,
          })),
    initialized: m.initialized,
    writer_epoch: String(m.writerEpoch),
    compactor_epoch: String(m.compactorEpoch),
    replay_after_wal_id: String(m.replayAfterWalId),
    wal_id_last_seen: String(m.walIdLastSeen),
    l0: views(m.l0, version),
    compacted: runs(m, version),
    last_l0_clock_tick: String(m.lastL0ClockTick),
    checkpoints: m.checkpoints.map((c) => ({
      id: c.id,
      manifest_id: String(c.manifestId),
      checkpoint_expire_time_s: c.expireTimeS,
      checkpoint_create_time_s: c.createTimeS,
      name: c.name ?? null,
    })),
    last_l0_seq: String(m.lastL0Seq),
    recent_snapshot_min_seq: String(m.recentSnapshotMinSeq),
    sequence_tracker_hex: hex(m.sequenceTracker),
    sequence_tracker: tracker?.seqs.map((seq, i) => [String(seq), String(tracker.timesS[i])]),
    ...(m.sequenceTracker?.[0] === 2 && { sequence_tracker_version: 2 }),
    ...(version === 1
      ? { l0_last_compacted: m.lastCompacted ?? null, wal_object_store_uri: m.walStoreUri ?? null }
      : {
          last_compacted_l0_sst_view_id: m.lastCompacted ?? null,
          ssts: allTables(m).map(table),
          segments:
            m.segments?.map((s) => ({
              prefix: toHex(s.prefix),
              last_compacted_l0_sst_view_id: s.lastCompacted ?? null,
              l0: views(s.l0, 2),
              compacted: runs(s, 2),
            })) ?? null,
          segment_extractor_name: m.segmentExtractorName ?? null,
        }),
  };
}

/** Long keys stand in `expected.json` as length and hash; those of ours are put in the same form. */
function shortened(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shortened);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value);
  if ('sha256' in value) return 'long';
  return Object.fromEntries(
    entries.map(([k, v]) => [k, typeof v === 'string' && v.length > 600 ? 'long' : shortened(v)]),
  );
}

function fresh(): Manifest {
  return {
    headerVersion: 2,
    externalDbs: [],
    initialized: true,
    writerEpoch: 0,
    compactorEpoch: 0,
    replayAfterWalId: 0,
    walIdLastSeen: 0,
    lastCompacted: undefined,
    l0: [],
    runs: [],
    lastL0ClockTick: NO_TICK,
    checkpoints: [],
    lastL0Seq: 0,
    walStoreUri: undefined,
    recentSnapshotMinSeq: 0,
    sequenceTracker: new Uint8Array(13).fill(1, 0, 1),
    segments: [],
    segmentExtractorName: undefined,
    unviewedTables: [],
    hasUnknownFields: false,
  };
}

const id = (n: number) => `01M7Q5CQG1000000000000000${n}` as Ulid;

function tableRef(n: number, first = 'b', last: string | undefined = 'x'): TableRef {
  const text = (s: string) => new TextEncoder().encode(s);
  return {
    id: id(n),
    formatVersion: 2,
    info: {
      firstEntry: text(first),
      lastEntry: last === undefined ? undefined : text(last),
      indexOffset: 100,
      indexLength: 50,
      filterOffset: 100,
      filterLength: 0,
      codec: 'none',
      tableType: 'compacted',
      statsOffset: 150,
      statsLength: 60,
      filterForm: 'composite',
    },
  };
}

const view = (t: TableRef, visibleRange?: BytesRange): TableView => ({ viewId: t.id, table: t, visibleRange });
const included = (text: string): Bound => ({ kind: 'included', key: new TextEncoder().encode(text) });
const excluded = (text: string): Bound => ({ kind: 'excluded', key: new TextEncoder().encode(text) });
const unbounded: Bound = { kind: 'unbounded' };

describe('manifests of the fixtures', () => {
  it('encode to the same bytes again', () => {
    const all = goldenManifests();
    expect(all.length).toBe(451);
    for (const { fixture, bytes } of all) {
      const { manifest, bodyBytes } = decodeManifest(bytes);
      expect(bodyBytes).toBe(bytes.length);
      expect(manifest.hasUnknownFields).toBe(false);
      if (fixture !== OTHER_ORDER) expect(toHex(encodeManifest(manifest))).toBe(toHex(bytes));
      expect(isCanonicalManifest(bytes)).toBe(fixture !== OTHER_ORDER);
    }
  });

  it('of another order of children are equal after encoding', () => {
    const { manifest } = decodeManifest(goldenBytes(OTHER_ORDER, 'db/manifest/00000000000000000001.manifest'));
    expect(manifest.segments?.length).toBe(2);
    expect(decodeManifest(encodeManifest(manifest)).manifest).toEqual(manifest);
  });

  it('decode to what is expected of the latest one', () => {
    let checked = 0;
    for (const { expected, objects } of goldenFixtures()) {
      if (!expected.latest_manifest) continue;
      const { object, ...latest } = expected.latest_manifest;
      const { bytes } = objects.find((o) => o.path.endsWith(object))!;
      expect(shortened(toExpected(decodeManifest(bytes).manifest))).toEqual(shortened(latest));
      checked++;
    }
    expect(checked).toBe(45);
  });

  it('decode to what is expected of every one', () => {
    let checked = 0;
    for (const { expected, objects } of goldenFixtures()) {
      for (const { object, size, ...summary } of expected.manifest_objects ?? []) {
        const { bytes } = objects.find((o) => o.path.endsWith(object))!;
        const { manifest: m } = decodeManifest(bytes);
        const full = toExpected(m);
        const ids = m.l0.map((v) => v.viewId);
        const found: Record<string, unknown> = { ...full, l0: ids, checkpoints: m.checkpoints.length };
        found['compacted'] = m.runs.map((run) => ({ id: run.id, ssts: run.views.map((v) => v.viewId) }));
        for (const key of Object.keys(summary)) expect({ [key]: found[key] }).toEqual({ [key]: summary[key] });
        expect(bytes.length).toBe(size);
        checked++;
      }
    }
    expect(checked).toBe(385);
  });

  it('of a fresh database are made from nothing', () => {
    const bytes = goldenBytes('slatedb-0.17.0/tiny', 'db/manifest/00000000000000000001.manifest');
    expect(toHex(encodeManifest(fresh()))).toBe(toHex(bytes));
    const old = goldenBytes('slatedb-0.12.1/tiny', 'db/manifest/00000000000000000001.manifest');
    expect(toHex(encodeManifest({ ...fresh(), headerVersion: 1, segments: undefined }))).toBe(toHex(old));
  });
});

describe('manifest versions', () => {
  it('keep whether segments are absent or empty', () => {
    const without = encodeManifest({ ...fresh(), segments: undefined });
    expect(decodeManifest(without).manifest.segments).toBeUndefined();
    expect(decodeManifest(encodeManifest(fresh())).manifest.segments).toEqual([]);
  });

  it('round-trip every field in version 2', () => {
    const shared = tableRef(2);
    const manifest: Manifest = {
      ...fresh(),
      externalDbs: [
        {
          path: 'other/db',
          sourceCheckpointId: '01234567-89ab-4def-8123-456789abcdef',
          finalCheckpointId: undefined,
          tableIds: [id(1), id(2)],
        },
      ],
      writerEpoch: 2 ** 53 - 1,
      l0: [
        { viewId: id(7), table: shared, visibleRange: { start: unbounded, end: excluded('h') } },
        { viewId: id(8), table: shared, visibleRange: { start: included('h'), end: included('i') } },
      ],
      runs: [{ id: 4, views: [view(tableRef(3))] }],
      lastCompacted: id(9),
      checkpoints: [
        {
          id: 'ffffffff-ffff-4fff-8fff-ffffffffffff',
          manifestId: 3,
          expireTimeS: 2 ** 32 - 1,
          createTimeS: 1,
          writerEpoch: 6,
          name: 'before \u00fcpgrade',
        },
      ],
      segments: [{ prefix: Uint8Array.of(1), l0: [], runs: [], lastCompacted: id(5) }],
      segmentExtractorName: 'first1',
      unviewedTables: [tableRef(1)],
    };
    const bytes = encodeManifest(manifest);
    expect(decodeManifest(bytes).manifest).toEqual(manifest);
    expect(isCanonicalManifest(bytes)).toBe(true);
  });

  it('share one table value among its views and write it once', () => {
    const shared = tableRef(2);
    const l0 = [3, 4].map((n) => ({ viewId: id(n), table: shared, visibleRange: undefined }));
    const { manifest } = decodeManifest(encodeManifest({ ...fresh(), l0 }));
    expect(manifest.l0[0].table).toBe(manifest.l0[1].table);
    expect(manifest.unviewedTables).toEqual([]);
  });

  it('convert from 1 to 2 and back without loss where both can say it', () => {
    const one = goldenManifests().filter(({ bytes }) => bytes[1] === 1);
    for (const { bytes } of one) {
      const { manifest } = decodeManifest(bytes);
      const two = decodeManifest(encodeManifest({ ...manifest, headerVersion: 2, segments: [] })).manifest;
      const back = { ...two, headerVersion: 1 as const, segments: undefined, walStoreUri: manifest.walStoreUri };
      expect(toHex(encodeManifest(back))).toBe(toHex(bytes));
    }
  });

  it('refuse to write segments in version 1', () => {
    const segments = [{ prefix: Uint8Array.of(1), l0: [], runs: [], lastCompacted: undefined }];
    expect(() => encodeManifest({ ...fresh(), headerVersion: 1, segments })).toThrow(code('INVARIANT'));
    expect(() => encodeManifest({ ...fresh(), headerVersion: 1, segmentExtractorName: 'x' })).toThrow(
      code('INVARIANT'),
    );
  });
});

describe('a manifest is refused', () => {
  it('with fewer than two bytes', () => {
    for (const length of [0, 1]) expect(() => decodeManifest(new Uint8Array(length))).toThrow(code('TRUNCATED'));
    const at = { unit: 'header', offset: 0, length: 1 };
    const findings = [expect.objectContaining({ at })];
    expect(() => decodeManifest(new Uint8Array(1))).toThrow(expect.objectContaining({ findings }));
    expect(() => decodeManifest(fromHex('0001'))).toThrow(code('MALFORMED'));
  });

  it('with a header version a few above the newest as too new, with any other as damaged', () => {
    const bytes = encodeManifest(fresh());
    for (const version of [3, 7, 16]) {
      bytes.set([0, version]);
      expect(() => decodeManifest(bytes)).toThrow(code('FORMAT_TOO_NEW'));
    }
    for (const version of [
      [0, 0],
      [0, 17],
      [1, 1],
      [0x6a, 0x75],
      [255, 255],
    ]) {
      bytes.set(version);
      expect(() => decodeManifest(bytes)).toThrow(code('MALFORMED'));
    }
  });

  it('when a listed table has no first key', () => {
    const bad = tableRef(1);
    bad.info.firstEntry = undefined;
    for (const headerVersion of [1, 2] as const) {
      const bytes = encodeManifest({ ...fresh(), headerVersion, l0: [view(bad)] });
      expect(() => decodeManifest(bytes)).toThrow(code('MALFORMED'));
    }
  });

  it('when a table has an unknown format version', () => {
    for (const [formatVersion, expected] of [
      [0, 'MALFORMED'],
      [3, 'FORMAT_TOO_NEW'],
      [65535, 'MALFORMED'],
    ] as const) {
      const bad = { ...tableRef(1), formatVersion: formatVersion as number as 1 };
      const bytes = encodeManifest({ ...fresh(), l0: [view(bad)] });
      expect(() => decodeManifest(bytes)).toThrow(code(expected));
    }
  });

  it('when a view names an unknown table, or a table is listed twice', () => {
    const bytes = encodeManifest({ ...fresh(), l0: [view(tableRef(1)), view(tableRef(2))] });
    const stored = (n: number) => {
      const { high, low } = ulidToHalves(id(n));
      const view = new DataView(new ArrayBuffer(16));
      view.setBigUint64(0, high, true);
      view.setBigUint64(8, low, true);
      return toHex(new Uint8Array(view.buffer));
    };
    // Built back to front, so the table's own id comes after those of its view.
    const [viewId, tableId, listedId] = [...toHex(bytes).matchAll(new RegExp(stored(2), 'g'))].map((m) => m.index / 2);
    const renamed = (at: number, n: number) => {
      const damaged = bytes.slice();
      damaged.set(fromHex(stored(n)), at);
      return () => decodeManifest(damaged);
    };
    expect(renamed(viewId, 9)).not.toThrow();
    expect(renamed(tableId, 9)).toThrow(code('MANIFEST_INCONSISTENT'));
    expect(renamed(listedId, 9)).toThrow(code('MANIFEST_INCONSISTENT'));
    expect(renamed(listedId, 1)).toThrow(/twice/);
  });

  it.each([
    ['begins excluded', { start: excluded('c'), end: unbounded }],
    ['is empty', { start: included('d'), end: excluded('d') }],
    ['ends before it begins', { start: included('e'), end: included('d') }],
    ['ends before the first key', { start: unbounded, end: excluded('b') }],
    ['ends at nothing', { start: unbounded, end: excluded('') }],
    ['begins after the last key', { start: included('xa'), end: unbounded }],
  ])('when a visible range %s', (_, visibleRange) => {
    for (const headerVersion of [1, 2] as const) {
      const bytes = encodeManifest({ ...fresh(), headerVersion, l0: [view(tableRef(1), visibleRange)] });
      expect(() => decodeManifest(bytes)).toThrow(code('MALFORMED'));
    }
  });

  it.each([
    ['one key', { start: included('b'), end: included('b') }],
    ['the last key on', { start: included('x'), end: unbounded }],
    ['everything', { start: unbounded, end: unbounded }],
  ])('but not when a visible range holds %s', (_, visibleRange) => {
    const manifest = { ...fresh(), l0: [view(tableRef(1), visibleRange)] };
    expect(decodeManifest(encodeManifest(manifest)).manifest).toEqual(manifest);
  });

  /** A version 1 manifest with one bound of a visible range and, if wanted, one checkpoint, built by hand. */
  function handmade(
    parts: {
      boundType?: number;
      boundKey?: boolean;
      without?: number;
      metadata?: [number, boolean];
      unknownSlot?: boolean;
    } = {},
  ): Uint8Array {
    const b = new FlatBuilder();
    const makeTable = (fill: () => void): FlatRef => {
      b.startTable();
      fill();
      return b.endTable();
    };
    const ulid = makeTable(() => b.addU64(0, 5));
    const key = b.byteVector(Uint8Array.of(99));
    const info = makeTable(() => b.addRef(0, key));
    const start = makeTable(() => b.addU8(1, 1));
    const end = makeTable(() => {
      if (parts.boundKey !== false) b.addRef(0, key);
      b.addU8(1, parts.boundType ?? 2);
    });
    const visible = makeTable(() => {
      b.addRef(0, start);
      b.addRef(1, end);
    });
    const entry = makeTable(() => {
      b.addRef(0, ulid);
      b.addRef(1, info);
      b.addRef(2, visible);
      if (parts.unknownSlot) b.addU32(4, 1);
    });
    const metadata = makeTable(() => b.addU64(0, 3));
    const checkpoint = makeTable(() => {
      b.addRef(0, ulid);
      if (parts.metadata?.[0]) b.addU8(4, parts.metadata[0]);
      if (parts.metadata?.[1]) b.addRef(5, metadata);
    });
    const vectors = new Map([
      [8, b.tableVector([entry])],
      [9, b.tableVector([])],
      [11, b.tableVector([checkpoint])],
    ]);
    const root = makeTable(() => {
      for (const [slot, ref] of vectors) if (slot !== parts.without) b.addRef(slot, ref);
    });
    const out = b.finish(root, 2);
    out[1] = 1;
    return out;
  }

  it('when a required list is absent', () => {
    expect(decodeManifest(handmade()).manifest.l0.length).toBe(1);
    for (const slot of [8, 9, 11]) expect(() => decodeManifest(handmade({ without: slot }))).toThrow(code('MALFORMED'));
  });

  it('when the type of a bound is unknown or does not go with its key', () => {
    for (const boundType of [0, 4, 255]) {
      expect(() => decodeManifest(handmade({ boundType }))).toThrow(code('MALFORMED'));
    }
    expect(() => decodeManifest(handmade({ boundType: 1 }))).toThrow(code('MALFORMED'));
    expect(() => decodeManifest(handmade({ boundType: 2, boundKey: false }))).toThrow(code('MALFORMED'));
    expect(() => decodeManifest(handmade({ boundType: 1, boundKey: false }))).not.toThrow();
  });

  it('when the metadata of a checkpoint is half there', () => {
    expect(() => decodeManifest(handmade({ metadata: [1, false] }))).toThrow(code('MALFORMED'));
    expect(() => decodeManifest(handmade({ metadata: [0, true] }))).toThrow(code('MALFORMED'));
    expect(decodeManifest(handmade({ metadata: [1, true] })).manifest.checkpoints[0].writerEpoch).toBe(3);
  });

  it('but unknown fields and kinds of metadata are only noted', () => {
    expect(decodeManifest(handmade()).manifest.hasUnknownFields).toBe(false);
    for (const parts of [{ unknownSlot: true }, { metadata: [2, true] as [number, boolean] }]) {
      const bytes = handmade(parts);
      const { manifest, bodyBytes } = decodeManifest(bytes);
      expect(manifest.hasUnknownFields).toBe(true);
      expect(bodyBytes).toBe(bytes.length);
      expect(isCanonicalManifest(bytes)).toBe(false);
    }
  });

  it('but not when another builder left padding after the last vector, which counts to the body', () => {
    const b = new FlatBuilder();
    const tracker = b.byteVector(Uint8Array.of(1));
    const none = b.tableVector([]);
    b.startTable();
    for (const slot of [8, 9, 11]) b.addRef(slot, none);
    b.addRef(15, tracker);
    const bytes = b.finish(b.endTable(), 2);
    bytes[1] = 1;
    expect([...bytes.subarray(-4)]).toEqual([1, 0, 0, 0]);
    expect(decodeManifest(bytes).bodyBytes).toBe(bytes.length);
    expect(decodeManifest(bytes.slice(0, -3)).bodyBytes).toBe(bytes.length - 3);
    const surplus = new Uint8Array(bytes.length + 1);
    surplus.set(bytes);
    expect(decodeManifest(surplus).bodyBytes).toBe(bytes.length);
    bytes[bytes.length - 2] = 5;
    expect(decodeManifest(bytes).bodyBytes).toBe(bytes.length - 2);
  });

  it('when a number is above 2^53 - 1', () => {
    const bytes = encodeManifest({ ...fresh(), writerEpoch: 2 ** 53 - 1 });
    const at = toHex(bytes).indexOf('ffffffffffff1f00') / 2;
    bytes[at + 6] = 0x20;
    expect(() => decodeManifest(bytes)).toThrow(code('MALFORMED'));
  });
});

describe('damaged manifests', () => {
  const inputs = [
    goldenFixture('slatedb-0.12.1/compacted'),
    goldenFixture('slatedb-0.17.0/clone'),
    goldenFixture('slatedb-0.17.0/segments'),
    goldenFixture('constructed/manifest-v2-views'),
    goldenFixture('constructed/external-db'),
  ].flatMap((fixture) => fixture.objects.filter((o) => o.path.endsWith('.manifest')).map((o) => o.bytes));

  it('give a value that can be written again, or a typed error, for 20,000 mutations', () => {
    const decode = (bytes: Uint8Array) => {
      const { manifest } = decodeManifest(bytes);
      const again = decodeManifest(encodeManifest(manifest)).manifest;
      expect(again.l0.length).toBe(manifest.l0.length);
    };
    const result = fuzzDecoder(inputs, decode, { runs: 20_000, seed: 14 });
    expect(result.refused).toBeGreaterThan(5_000);
    expect(result.accepted).toBeGreaterThan(1_000);
  });

  it('show a flipped bit by their encoding, or decode to another value, or are refused', () => {
    const bytes = goldenBytes('slatedb-0.12.1/tiny', 'db/manifest/00000000000000000004.manifest');
    const right = decodeManifest(bytes).manifest;
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const damaged = bytes.slice();
      damaged[bit >> 3] ^= 1 << (bit & 7);
      try {
        if (isCanonicalManifest(damaged)) expect(decodeManifest(damaged).manifest).not.toEqual(right);
      } catch (error) {
        expect(['corruption', 'incompatible']).toContain((error as { kind: string }).kind);
      }
    }
  });

  it('with one run shared by thousands of list entries are refused before they are expanded', () => {
    const b = new FlatBuilder();
    b.startTable();
    b.addU64(0, 1);
    const ulid = b.endTable();
    const key = b.byteVector(Uint8Array.of(1));
    b.startTable();
    b.addRef(0, key);
    const info = b.endTable();
    b.startTable();
    b.addRef(0, ulid);
    b.addRef(1, info);
    const entry = b.endTable();
    const ssts = b.tableVector(new Array(5000).fill(entry));
    b.startTable();
    b.addRef(1, ssts);
    const run = b.endTable();
    const compacted = b.tableVector(new Array(5000).fill(run));
    const none = b.tableVector([]);
    b.startTable();
    b.addRef(8, none);
    b.addRef(9, compacted);
    b.addRef(11, none);
    const bytes = b.finish(b.endTable(), 2);
    bytes[1] = 1;
    expect(() => decodeManifest(bytes)).toThrow(code('MALFORMED'));
  });
});
