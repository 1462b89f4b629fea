/**
 * The databases that are swept: small, fixed, and known row by row. RS and RSC are ours (closed, and cut off in mid-life with
 * rows in the log), RU, RU17 and RU18 are SlateDB's, the last with padded blocks (`aligned/`), RUU is a union of 0.17 whose views
 * share an id and whose table is its parent's, RM was begun by SlateDB and continued by us.
 *
 * Invariants: building one gives the same bytes every time; `history` holds every value that a key ever had, newest last.
 */
import { fileURLToPath } from 'node:url';
import { toHex } from '../../src/common/bytes.ts';
import type { Finding } from '../../src/common/finding.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import { SeededRandom } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import type { MergeOperator } from '../../src/lsm/rows/merge-operator.ts';
import { open } from '../../src/open.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import { type ObjectStore, PUT_ID_METADATA } from '../../src/store/object-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { fixtureIn, type GoldenFixture, goldenFixture } from '../support/golden-fixtures.ts';
import { incarnation } from '../support/incarnation-store.ts';

export interface StoredObject {
  path: string;
  bytes: Uint8Array;
  putId: string;
  /** Of another database beside it: never damaged. */
  isOthers?: boolean;
}

export interface Reference {
  name: string;
  description: string;
  /** At the root of a store, in the order of their names. */
  objects: StoredObject[];
  /** What a sound database answers: hex of the key to hex of the value. */
  rows: Map<string, string>;
  /** Keys that were deleted or never written. */
  absent: string[];
  /** Values that a key had before, in hex; a read over damage may give one if it says so. */
  history: Map<string, Set<string>>;
  mergeOperator: MergeOperator | undefined;
  /** Every object bears a seal. */
  isSealed: boolean;
  /** The last manifest says where the log ends. */
  isClosed: boolean;
  nowMs: number;
  /** Keys that are asked for one by one, where there are many; scans ask for all. */
  asked?: string[];
  /** What checks say of it as it is. */
  isFindingOfItself?: (finding: Finding) => boolean;
}

export const REFERENCE_NAMES = ['RS', 'RSC', 'RU', 'RU17', 'RU18', 'RUU', 'RM'] as const;
export type ReferenceName = (typeof REFERENCE_NAMES)[number];

const ALIGNED = fileURLToPath(new URL('aligned/', import.meta.url));
const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const NO_PUT_ID = '00000000000000000000000000';
const START_MS = 1_795_300_000_000;

/** Appends the operand, as the merge operator of the golden databases does. */
const CONCAT: MergeOperator = {
  merge: (_key, existing, operand) => new Uint8Array(Buffer.concat([existing ?? new Uint8Array(0), operand])),
};

export function buildReference(name: ReferenceName): Promise<Reference> {
  switch (name) {
    case 'RS':
      return ours(name, 'written by us and closed', true);
    case 'RSC':
      return ours(name, 'written by us and cut off, with rows in the log', false);
    case 'RU':
      return Promise.resolve(slateDbs(name, 'written by SlateDB 0.12.1', goldenFixture('slatedb-0.12.1/l0-and-wal')));
    case 'RU17':
      return Promise.resolve(slateDbs(name, 'written by SlateDB 0.17.0', goldenFixture('slatedb-0.17.0/tiny')));
    case 'RU18':
      return Promise.resolve(slateDbs(name, 'written by SlateDB 0.18.0 with aligned blocks', fixtureIn(ALIGNED)));
    case 'RUU':
      return Promise.resolve(union(name));
    default:
      return mixed(name);
  }
}

/** Writes to a database and keeps count of what it must hold. */
class Author {
  readonly clock = new ManualClock(START_MS);
  readonly rows = new Map<string, string>();
  readonly history = new Map<string, Set<string>>();
  readonly absent = new Set<string>(['zz-never', 'a', 'row-0005x'].map((k) => hexOf(k)));
  readonly #random = new SeededRandom(20_261_121);

  async open(store: ObjectStore, options: OpenOptions = {}): Promise<Db> {
    const db = await this.run(
      open(
        { store, path: '' },
        {
          clock: this.clock,
          random: this.#random,
          logger: QUIET,
          owner: 'sweep:1',
          mergeOperator: CONCAT,
          l0SstSizeBytes: 64 * 1024,
          sstBlockSizeBytes: 1024,
          minFilterKeys: 0,
          ...options,
        },
      ),
    );
    return db;
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.runUntilSettled(promise);
  }

  async put(db: Db, ...entries: [key: string, value: string | undefined][]): Promise<void> {
    const batch = new WriteBatch();
    for (const [key, value] of entries) {
      if (value === undefined) batch.delete(key);
      else batch.put(key, value);
      this.know(hexOf(key), value === undefined ? undefined : hexOf(value));
    }
    await this.run(db.write(batch));
  }

  async merge(db: Db, key: string, operand: string): Promise<void> {
    await this.run(db.merge(key, operand));
    const hex = hexOf(key);
    this.know(hex, (this.rows.get(hex) ?? '') + hexOf(operand));
  }

  know(key: string, value: string | undefined): void {
    if (value === undefined) {
      this.rows.delete(key);
      this.absent.add(key);
      return;
    }
    this.absent.delete(key);
    this.rows.set(key, value);
    const values = this.history.get(key) ?? new Set();
    this.history.set(key, values.add(value));
  }
}

function hexOf(text: string): string {
  return toHex(new TextEncoder().encode(text));
}

function rowKey(i: number): string {
  return `row-${String(i).padStart(4, '0')}`;
}

async function ours(name: string, description: string, isClosed: boolean): Promise<Reference> {
  const author = new Author();
  const memory = new MemoryStore({ clock: author.clock });
  const process = incarnation(memory);
  const db = await author.open(process.store);
  await writeLife(author, db);
  if (isClosed) await author.run(db.close());
  else process.kill();
  return reference(name, description, author, memory, { isSealed: true, isClosed });
}

/** Two tables, versions of keys in both, tombstones, merges; then batches that stay in the log unless the database is closed. */
async function writeLife(author: Author, db: Db): Promise<void> {
  for (let i = 0; i < 36; i += 12) {
    const group = Array.from({ length: 12 }, (_, k) => i + k);
    await author.put(db, ...group.map((k): [string, string] => [rowKey(k), `first value of row ${k}`]));
  }
  await author.merge(db, 'sum', 'one,');
  await author.run(db.flush({ type: 'memtable' }));
  const changed = [0, 5, 10, 15, 20, 25, 30, 35].map((k): [string, string] => [rowKey(k), `second value of row ${k}`]);
  await author.put(db, ...changed);
  await author.put(db, ...[2, 11, 20, 29].map((k): [string, undefined] => [rowKey(k), undefined]));
  await author.merge(db, 'sum', 'two,');
  await author.run(db.flush({ type: 'memtable' }));
  await author.put(
    db,
    [rowKey(0), 'third value of row 0'],
    [rowKey(40), 'only value of row 40'],
    [rowKey(7), undefined],
  );
  await author.put(db, [rowKey(41), 'only value of row 41']);
  await author.merge(db, 'sum', 'three,');
  await author.put(db, [rowKey(41), 'second value of row 41'], [rowKey(42), 'only value of row 42']);
}

async function mixed(name: string): Promise<Reference> {
  const author = new Author();
  const fixture = goldenFixture('slatedb-0.12.1/l0-and-wal');
  learn(author, fixture);
  const memory = new MemoryStore({ clock: author.clock });
  for (const { path, bytes } of objectsOf(fixture))
    await memory.put(path, bytes, { condition: 'any', putId: NO_PUT_ID });
  const db = await author.open(memory);
  await author.put(db, [rowKey(1), 'a row of ours'], ['k003', 'ours over theirs'], ['k004', undefined]);
  await author.run(db.flush({ type: 'memtable' }));
  await author.put(db, [rowKey(2), 'another row of ours']);
  await author.run(db.close());
  return reference(name, 'begun by SlateDB 0.12.1, continued and closed by us', author, memory, {
    isSealed: false,
    isClosed: true,
  });
}

function slateDbs(name: string, description: string, fixture: GoldenFixture): Reference {
  const author = new Author();
  learn(author, fixture);
  return {
    name,
    description: `${description} (${fixture.name})`,
    objects: objectsOf(fixture),
    rows: author.rows,
    absent: [...author.absent],
    history: author.history,
    mergeOperator: fixture.expected.merge_operator === null ? undefined : CONCAT,
    isSealed: false,
    isClosed: false,
    nowMs: START_MS,
  };
}

/** At the root of its store, with its parent beside it, whose table it shows. */
function union(name: string): Reference {
  const fixture = goldenFixture('slatedb-0.17.0/union-same-views');
  const found = slateDbs(name, 'a union of SlateDB 0.17.0', fixture);
  const parents = fixture.objects.filter((o) => o.path.startsWith('parent/'));
  const others = parents.map(({ path, bytes }) => ({
    path,
    bytes,
    putId: NO_PUT_ID,
    isOthers: !path.startsWith('parent/compacted/'),
  }));
  const objects = [...found.objects, ...others];
  const asked = [...[...found.rows.keys()].filter((_, i) => i % 10 === 0), ...found.absent];
  return { ...found, objects, asked, isFindingOfItself: ({ found: text }) => text?.includes('under one id') ?? false };
}

function objectsOf(fixture: GoldenFixture): StoredObject[] {
  const root = `${fixture.expected.db_path}/`;
  return fixture.objects
    .filter((o) => o.path.startsWith(root))
    .map((o) => ({ path: o.path.slice(root.length), bytes: o.bytes, putId: NO_PUT_ID }));
}

/** What a golden database says of itself: its rows, and every version of them that is anywhere in it. */
function learn(author: Author, { expected }: GoldenFixture): void {
  for (const object of [...expected.wal, ...expected.compacted_ssts]) {
    for (const row of object.rows ?? []) {
      if (typeof row.value !== 'string') continue;
      author.history.set(row.key, (author.history.get(row.key) ?? new Set()).add(row.value));
    }
  }
  for (const row of expected.scan) author.know(row.key, row.value);
  for (const key of expected.keys_expected_absent) author.know(key, undefined);
}

async function reference(
  name: string,
  description: string,
  author: Author,
  memory: MemoryStore,
  { isSealed, isClosed }: { isSealed: boolean; isClosed: boolean },
): Promise<Reference> {
  const objects: StoredObject[] = [];
  for await (const { path } of memory.list('')) {
    const got = (await memory.get(path))!;
    objects.push({ path, bytes: got.bytes, putId: got.metadata[PUT_ID_METADATA] ?? NO_PUT_ID });
  }
  return {
    name,
    description,
    objects,
    rows: author.rows,
    absent: [...author.absent],
    history: author.history,
    mergeOperator: CONCAT,
    isSealed,
    isClosed,
    nowMs: author.clock.nowMs(),
  };
}
