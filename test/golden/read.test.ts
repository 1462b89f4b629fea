/**
 * Databases written by SlateDB 0.12.1, 0.15.0, 0.17.0 and 0.18.0, and constructed ones, read through our engine: every row, every key
 * that must be absent, with a reader on a copy.
 */
import { describe, expect, it } from 'vitest';
import { SYSTEM_CLOCK } from '../../src/common/clock.ts';
import { applyRows } from '../../src/db/replay.ts';
import { manifestPath, parseWalPath, walPath } from '../../src/format/object-names.ts';
import { BlockCache } from '../../src/lsm/table/block-cache.ts';
import { listManifestIds, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { Memtable } from '../../src/lsm/memtable/memtable.ts';
import { MergeCursor } from '../../src/lsm/rows/merge-cursor.ts';
import type { RowCursor } from '../../src/lsm/rows/row-cursor.ts';
import { TableCursor } from '../../src/lsm/table/table-cursor.ts';
import { sourcesInRange, TableStore } from '../../src/lsm/tree/table-store.ts';
import type { ScanRow } from '../../src/lsm/read/scan-row.ts';
import { VisibleRows } from '../../src/lsm/read/visible-rows.ts';
import { readWalObject } from '../../src/lsm/wal/wal-object.ts';
import { openReader } from '../../src/open.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import {
  CONCAT,
  copyGolden,
  fileHashes,
  type GoldenScanRow,
  gathered,
  goldenBytesOf,
  goldenReadOptions,
  goldenRowsByGet,
  goldenScanRow,
} from '../support/golden-database.ts';
import { goldenFixture, goldenFixtures } from '../support/golden-fixtures.ts';

const fixtures = goldenFixtures();

const hexOrAbsent = (bytes: Uint8Array | undefined) => bytes && goldenBytesOf(bytes);
const withoutTimes = ({ key, value, seq }: GoldenScanRow) => ({ key, value, seq });

it('50 databases are here', () => {
  expect(fixtures.length).toBe(50);
  expect(fixtures.reduce((n, f) => n + f.expected.scan.length, 0)).toBe(3025);
});

describe.each(fixtures)('$name', (fixture) => {
  const { expected } = fixture;
  const expectedRows: GoldenScanRow[] = expected.scan;

  it('is scanned as expected, in both directions', async () => {
    using copy = copyGolden(fixture);
    const reader = await openReader(copy.location, goldenReadOptions(expected));
    const forward = await gathered(reader.scan());
    const reverse = await gathered(reader.scan({ reverse: true }));
    expect(forward.map(goldenScanRow)).toEqual(expectedRows.map(withoutTimes));
    expect(reverse.reverse().map(goldenScanRow)).toEqual(expectedRows.map(withoutTimes));
    await reader.close();
  });

  it('gives each row to a get, with its times', async () => {
    using copy = copyGolden(fixture);
    const reader = await openReader(copy.location, goldenReadOptions(expected));
    const keys = (await gathered(reader.scan())).map((r) => r.key);
    expect(await goldenRowsByGet(reader, keys)).toEqual(expectedRows);
    const values = expectedRows.map((r) => r.value);
    expect((await reader.getMany(keys)).map(hexOrAbsent)).toEqual(values);
    expect((await Promise.all(keys.map((key) => reader.get(key)))).map(hexOrAbsent)).toEqual(values);
    expect(await Promise.all(keys.map((key) => reader.has(key)))).toEqual(keys.map(() => true));
    await reader.close();
  });

  it('does not find what is not there, and is left as it was', async () => {
    using copy = copyGolden(fixture);
    const before = fileHashes(copy.directory);
    const reader = await openReader(copy.location, goldenReadOptions(expected));
    const absent: string[] = expected.keys_expected_absent ?? [];
    for (const hex of absent) {
      const key = new Uint8Array(Buffer.from(hex, 'hex'));
      expect({ hex, value: await reader.get(key), has: await reader.has(key) }).toEqual({ hex, has: false });
      expect(await reader.getWithMeta(key)).toBeUndefined();
    }
    await reader.close();
    expect(fileHashes(copy.directory)).toEqual(before);
  });
});

/** All rows as a snapshot at `maxSeq` sees them. A reader cannot be pinned there, so the parts of one are put together here. */
async function scanAt(name: string, maxSeq: number, reverse: boolean): Promise<ScanRow[]> {
  using copy = copyGolden(goldenFixture(name));
  const { store, path } = copy.location;
  const root = prefixedStore(store, path);
  const newestId = (await listManifestIds(root)).at(-1)!;
  const { manifest } = loadManifest(newestId, (await root.get(manifestPath(newestId)))!.bytes);
  const findings: unknown[] = [];
  const cache = new BlockCache({ capacityBytes: 1 << 20 });
  const tables = new TableStore({ store: root, wholeStore: store, cache, clock: SYSTEM_CLOCK, onFinding: (f) => findings.push(f) });
  const memtable = new Memtable();
  for await (const object of root.list('wal/')) {
    const id = parseWalPath(object.path)!;
    if (id <= manifest.replayAfterWalId) continue;
    const read = await readWalObject(id, (await root.get(walPath(id)))!.bytes);
    await applyRows(read.object!, memtable, manifest.lastL0Seq, SYSTEM_CLOCK);
  }
  const sources: RowCursor[] = [memtable.cursor({ reverse, maxSeq })];
  for (const handles of sourcesInRange(tables.view(manifest), undefined, undefined)) {
    sources.push(new TableCursor(handles, { reverse }));
  }
  const options = {
    range: { gte: undefined, lt: undefined },
    reverse,
    maxSeq,
    nowMs: undefined,
    mergeOperator: CONCAT,
  };
  const visible = new VisibleRows(new MergeCursor(sources, reverse), options);
  const rows: ScanRow[] = [];
  for (;;) {
    const result = visible.fill(rows, 1000);
    if (result === 'done') break;
    if (result === 'blocked') await visible.load();
  }
  expect(findings).toEqual([]);
  return rows;
}

describe('versions kept for a snapshot', () => {
  const name = 'slatedb-0.12.1/versions-merge-ttl';

  it('are what a scan at sequence number 6 shows', async () => {
    const expected = (goldenFixture(name).expected.scan_at_seq_6 as GoldenScanRow[]).map(withoutTimes);
    expect(expected.length).toBeGreaterThan(0);
    expect((await scanAt(name, 6, false)).map(goldenScanRow)).toEqual(expected);
    expect((await scanAt(name, 6, true)).reverse().map(goldenScanRow)).toEqual(expected);
  });
});
