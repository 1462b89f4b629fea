/**
 * A copy of a golden database to open, and the values that reading it gives in the words of `expected.json`: bytes as hex, long
 * ones as length and hash, 64-bit numbers as decimal strings.
 */
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../../src/common/clock.ts';
import { SYSTEM_CLOCK } from '../../src/common/clock.ts';
import type { ValueWithMeta } from '../../src/db/reads.ts';
import type { Block } from '../../src/format/block.ts';
import { BlockCursor } from '../../src/format/block-cursor.ts';
import type { Manifest } from '../../src/format/manifest-types.ts';
import { manifestPath } from '../../src/format/object-names.ts';
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_TS } from '../../src/format/row-flags.ts';
import { listManifestIds, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import type { ScanRow } from '../../src/lsm/read/scan-row.ts';
import type { MergeOperator } from '../../src/lsm/rows/merge-operator.ts';
import { LocalStore } from '../../src/store/local-store.ts';
import type { DatabaseLocation } from '../../src/store/location.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import type { GoldenFixture } from './golden-fixtures.ts';

const GOLDEN = fileURLToPath(new URL('../golden/', import.meta.url));
/** SlateDB's file store, which wrote the fixtures, keeps no put ids. */
const NO_PUT_ID = '00000000000000000000000000';
/** Longer byte strings stand in `expected.json` as length and hash. */
const LONGEST_HEX_BYTES = 300;

export interface GoldenCopy extends Disposable {
  /** Of the copied `store` directory. */
  directory: string;
  location: DatabaseLocation;
}

/** Copies the store of a fixture into a temporary directory; disposing deletes it. */
export function copyGolden(fixture: GoldenFixture): GoldenCopy {
  const directory = mkdtempSync(join(tmpdir(), 'shaledb-golden-'));
  cpSync(join(GOLDEN, fixture.name, 'store'), directory, { recursive: true });
  const path = fixture.expected.db_path;
  const location =
    typeof path === 'string'
      ? { store: new LocalStore(directory), path }
      : {
          store: new LocalStore(join(directory, 'main')),
          path: 'db',
          walStore: { store: new LocalStore(join(directory, 'wal')), path: 'db' },
        };
  return { directory, location, [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }) };
}

/** The fixture in a store in memory: what is done to it is as quick as the engine. */
export async function goldenInMemory(fixture: GoldenFixture): Promise<DatabaseLocation> {
  const main = new MemoryStore();
  const wal = new MemoryStore();
  const path = fixture.expected.db_path;
  for (const object of fixture.objects) {
    const [first, ...rest] = object.path.split('/');
    const [store, name] =
      typeof path === 'string' ? [main, object.path] : [first === 'wal' ? wal : main, rest.join('/')];
    await store.put(name, object.bytes, { condition: 'any', putId: NO_PUT_ID });
  }
  return typeof path === 'string'
    ? { store: main, path }
    : { store: main, path: 'db', walStore: { store: wal, path: 'db' } };
}

/** Every file below a directory with the hash of its content. */
export function fileHashes(directory: string): Record<string, string> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  const paths = files.map((e) => join(e.parentPath, e.name)).sort();
  return Object.fromEntries(paths.map((path) => [path.slice(directory.length + 1), sha256(readFileSync(path))]));
}

/** Appends the operand, as the merge operator of the fixtures does. */
export const CONCAT: MergeOperator = {
  merge: (_key, existing, operand) => new Uint8Array(Buffer.concat([existing ?? new Uint8Array(0), operand])),
};

/** The system's clock, moved so that it now shows `nowMs`: what expires and what does not is the same on every day. */
export function clockFrom(nowMs: number): Clock {
  const startMs = SYSTEM_CLOCK.monotonicMs();
  return {
    nowMs: () => nowMs + Math.floor(SYSTEM_CLOCK.monotonicMs() - startMs),
    monotonicMs: () => SYSTEM_CLOCK.monotonicMs(),
    setTimer: (delayMs, fn, ref) => SYSTEM_CLOCK.setTimer(delayMs, fn, ref),
    yieldToLoop: () => SYSTEM_CLOCK.yieldToLoop(),
  };
}

export async function newestManifest({ store, path }: DatabaseLocation): Promise<Manifest> {
  const root = prefixedStore(store, path);
  const id = (await listManifestIds(root)).at(-1)!;
  return loadManifest(id, (await root.get(manifestPath(id)))!.bytes).manifest;
}

export type GoldenBytes = string | { len: number; sha256: string };

export interface GoldenScanRow {
  key: GoldenBytes;
  value: GoldenBytes;
  seq: string;
  create_ts?: string | null;
  expire_ts?: string | null;
}

export interface GoldenRow {
  kind: 'Value' | 'Tombstone' | 'Merge';
  key: GoldenBytes;
  value: GoldenBytes | null;
  seq: string;
  create_ts: string | null;
  expire_ts: string | null;
}

export function goldenBytesOf(bytes: Uint8Array): GoldenBytes {
  if (bytes.length > LONGEST_HEX_BYTES) return { len: bytes.length, sha256: sha256(bytes) };
  return Buffer.from(bytes).toString('hex');
}

export function goldenTime(ts: number | undefined): string | null {
  return ts === undefined || ts === NO_TS ? null : String(ts);
}

/** Just after everything in the database was written, so that its rows with a time to live are as live as they were then. */
export function goldenTimeOf({ expected }: GoldenFixture): number {
  const rows = [...(expected.scan as GoldenScanRow[]), ...allStoredRows(expected)];
  const tick = Number(expected.latest_manifest?.last_l0_clock_tick ?? 0);
  return Math.max(tick, 1_795_000_000_000, ...rows.map((r) => Number(r.create_ts ?? 0))) + 1000;
}

function allStoredRows(expected: GoldenFixture['expected']): GoldenScanRow[] {
  const objects: { rows: GoldenScanRow[] | 'omitted' }[] = [
    ...(expected.wal ?? []),
    ...(expected.compacted_ssts ?? []),
    ...(expected.objects ?? []),
  ];
  return objects.flatMap((o) => (o.rows === 'omitted' ? [] : o.rows));
}

/** Expired rows are among those expected, operands folded where an operator is named. */
export function goldenReadOptions(expected: { merge_operator?: string | null; description: string }) {
  const needsOperator = expected.merge_operator || /merge operator: concatenation/i.test(expected.description);
  return { hideExpired: false, ...(needsOperator && { mergeOperator: CONCAT }) };
}

export async function gathered<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = [];
  for await (const row of rows) out.push(row);
  return out;
}

/** A row of a scan; those of `expected.json` have times besides, which only a get gives. */
export function goldenScanRow(row: Pick<ScanRow<Uint8Array, Uint8Array>, 'key' | 'value' | 'seq'>): GoldenScanRow {
  return { key: goldenBytesOf(row.key), value: goldenBytesOf(row.value), seq: String(row.seq) };
}

/** The keys got one by one, as rows with times; a key that is not found, or found beside damage, is no row. */
export function goldenRowsByGet(
  reads: { getWithMeta(key: Uint8Array): Promise<ValueWithMeta | undefined> },
  keys: readonly Uint8Array[],
): Promise<(GoldenScanRow | { missing: GoldenBytes })[]> {
  return Promise.all(
    keys.map(async (key) => {
      const found = await reads.getWithMeta(key);
      if (found === undefined || found.possiblyStale || found.findings.length > 0)
        return { missing: goldenBytesOf(key) };
      const { value, seq, createTs, expireTs } = found;
      return {
        ...goldenScanRow({ key, value, seq }),
        create_ts: goldenTime(createTs),
        expire_ts: goldenTime(expireTs),
      };
    }),
  );
}

/** All rows of a block, in stored order. */
export function rowsOfBlock(block: Block): GoldenRow[] {
  const cursor = new BlockCursor();
  cursor.attach(block);
  const rows: GoldenRow[] = [];
  for (let ok = cursor.first(); ok; ok = cursor.next()) {
    const isTombstone = (cursor.flags & FLAG_TOMBSTONE) !== 0;
    const value = block.bytes.subarray(cursor.valueStart, cursor.valueStart + cursor.valueLength);
    rows.push({
      kind: isTombstone ? 'Tombstone' : (cursor.flags & FLAG_MERGE) !== 0 ? 'Merge' : 'Value',
      key: goldenBytesOf(cursor.key.subarray(0, cursor.keyLength)),
      value: isTombstone ? null : goldenBytesOf(value),
      seq: String(cursor.seq),
      create_ts: goldenTime(cursor.createTs),
      expire_ts: goldenTime(cursor.expireTs),
    });
  }
  return rows;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
