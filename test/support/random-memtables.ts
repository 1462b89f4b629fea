/** Memtables with everything that a flush distinguishes, made from a seed of fast-check. */
import fc from 'fast-check';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_TS } from '../../src/format/row-flags.ts';
import { Memtable } from '../../src/lsm/memtable/memtable.ts';
import { HEADER_BYTES } from '../../src/lsm/memtable/memtable-log.ts';

interface MemtableRow {
  key: number;
  kind: 'put' | 'del' | 'merge';
  valueBytes: number;
  expires: number | undefined;
}

const rowArb: fc.Arbitrary<MemtableRow> = fc.record({
  key: fc.nat(60),
  kind: fc.constantFrom('put', 'put', 'put', 'del', 'merge'),
  valueBytes: fc.oneof(fc.nat(40), fc.nat(3000)),
  expires: fc.option(fc.nat(2000), { nil: undefined }),
});

export const memtableRowsArb = fc.array(rowArb, { minLength: 1, maxLength: 300 });

/** Rows with the numbers from 1 on, frozen. `adopted`: the first rows come as the memory of a batch. */
export function frozenMemtable(rows: readonly MemtableRow[], adopted = 0): Memtable {
  const table = new Memtable({ maxChunkBytes: 1 << 15 });
  if (adopted > 0) addAdopted(table, adopted);
  rows.forEach(({ key, kind, valueBytes, expires }, i) => {
    const isDeletion = kind === 'del';
    const value = new Uint8Array(isDeletion ? 0 : valueBytes).fill(i);
    const flag = { put: 0, del: FLAG_TOMBSTONE, merge: FLAG_MERGE }[kind];
    const doesExpire = !isDeletion && expires !== undefined;
    const flags = flag | FLAG_CREATE | (doesExpire ? FLAG_EXPIRE : 0);
    table.add(keyOf(key), value, i + 2, flags, 1000 + i, doesExpire ? expires : NO_TS);
  });
  table.freeze();
  return table;
}

const keyOf = (n: number) => new TextEncoder().encode(`${n % 3 === 0 ? 'orders' : 'users'}/${n}`);

function addAdopted(table: Memtable, count: number): void {
  const memory = new Uint8Array(Buffer.allocUnsafeSlow(1 << 16).buffer);
  const chunk = table.adopt(memory);
  for (let i = 0; i < count; i++) {
    const start = i * 64 + HEADER_BYTES;
    const key = new TextEncoder().encode(`adopted/${String(i).padStart(4, '0')}`);
    memory.set(key, start);
    memory.fill(i, start + key.length, start + key.length + 10);
    table.addAdopted(chunk, memory, start, key.length, 10, 1, FLAG_CREATE, 999);
  }
}
