/**
 * Sources merged and shown to a reader, as data: memtables, newest first, with rows `key@seq=value`, `del` or `+operand`; after the bar
 * what is asked, after the arrow the rows.
 */
import { describe, expect, it } from 'vitest';
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_TS } from '../../../../src/format/row-flags.ts';
import { Memtable } from '../../../../src/lsm/memtable/memtable.ts';
import type { ScanRow } from '../../../../src/lsm/read/scan-row.ts';
import { VisibleRows } from '../../../../src/lsm/read/visible-rows.ts';
import { MergeCursor } from '../../../../src/lsm/rows/merge-cursor.ts';
import { foldOperands } from '../../../../src/lsm/rows/merge-operator.ts';
import { copyOut, copyOutOf } from '../../../../src/lsm/rows/result-slab.ts';
import { BLOCKED, END, type RowCursor } from '../../../../src/lsm/rows/row-cursor.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const APPEND = {
  merge: (_: Uint8Array, a: Uint8Array | undefined, b: Uint8Array) => utf8((a === undefined ? '' : text(a)) + text(b)),
};

function memtableOf(words: string): Memtable {
  const table = new Memtable();
  for (const word of words.split(/ +/).filter(Boolean)) {
    const [, key, seq, what] = /^(\w+)@(\d+)(=\w*|\+\w+|del)$/.exec(word)!;
    const flags = what === 'del' ? FLAG_TOMBSTONE : what[0] === '+' ? FLAG_MERGE : 0;
    table.add(utf8(key), utf8(what === 'del' ? '' : what.slice(1)), Number(seq), flags, NO_TS, NO_TS);
  }
  return table;
}

function rowsOf(
  sources: string,
  { reverse, maxSeq, gte, lt }: { reverse: boolean; maxSeq: number; gte?: string; lt?: string },
) {
  const cursors = sources.split('/').map((words) => memtableOf(words).cursor({ reverse, maxSeq }));
  const range = { gte: gte === undefined ? undefined : utf8(gte), lt: lt === undefined ? undefined : utf8(lt) };
  const rows = new VisibleRows(new MergeCursor(cursors, reverse), {
    range,
    reverse,
    maxSeq,
    nowMs: undefined,
    mergeOperator: APPEND,
  });
  const out: ScanRow[] = [];
  // One at a time: where a batch ends must change nothing.
  while (rows.fill(out, out.length + 1) === 'more');
  return out.map((row) => `${text(row.key)}@${row.seq}=${text(row.value)}`).join(' ');
}

const CASES: [sources: string, asked: string, rows: string][] = [
  ['a@1=x c@2=z / b@1=y', 'all', 'a@1=x b@1=y c@2=z'],
  ['a@3=new / a@1=old', 'all', 'a@3=new'],
  ['a@3=new / a@1=old', 'up to 2', 'a@1=old'],
  ['a@3del b@4=y / a@1=old', 'all', 'b@4=y'],
  ['a@3+y b@4=q / a@1=x', 'all', 'a@3=xy b@4=q'],
  ['a@3+z / a@2+y / a@1del', 'all', 'a@3=yz'],
  ['b@3+z / a@1=x b@2=y c@2=w', 'from b', 'b@3=yz c@2=w'],
  ['b@3+z / a@1=x b@2=y c@2=w', 'below c', 'a@1=x b@3=yz'],
  ['', 'all', ''],
];

describe('merged rows', () => {
  it.each(CASES)('%s | %s => %s', (sources, asked, rows) => {
    const [, what, value = ''] = /^(all|up to|from|below) ?(\w*)$/.exec(asked)!;
    const options = {
      maxSeq: what === 'up to' ? Number(value) : 99,
      ...(what === 'from' && { gte: value }),
      ...(what === 'below' && { lt: value }),
    };
    expect(rowsOf(sources, { reverse: false, ...options })).toBe(rows);
    const backwards = rows.split(' ').reverse().join(' ');
    expect(rowsOf(sources, { reverse: true, ...options })).toBe(backwards);
  });
});

describe('a merge', () => {
  it('fetches for all sources that are blocked, then makes the same move again', async () => {
    const loads: string[] = [];
    const blockedOnce = (name: string, words: string): RowCursor => {
      const cursor = memtableOf(words).cursor({ reverse: false, maxSeq: 9 });
      let isHere = false;
      const seek = cursor.seek.bind(cursor);
      cursor.seek = (key) => (isHere ? seek(key) : BLOCKED);
      cursor.load = async () => {
        loads.push(name);
        isHere = true;
      };
      return cursor;
    };
    const merge = new MergeCursor(
      [blockedOnce('x', 'b@1=x'), memtableOf('c@1=y').cursor({ reverse: false, maxSeq: 9 }), blockedOnce('z', 'a@1=z')],
      false,
    );
    expect(merge.seek(undefined)).toBe(BLOCKED);
    await merge.load();
    expect(loads).toEqual(['x', 'z']);
    let keys = '';
    for (let status = merge.seek(undefined); status !== END; status = merge.next()) {
      keys += text(merge.row.keyBuf.slice(merge.row.keyStart, merge.row.keyStart + merge.row.keyLength));
    }
    expect(keys).toBe('abc');
  });

  it('is loaded only for a move that was blocked', async () => {
    await expect(new MergeCursor([], false).load()).rejects.toThrow(/only a move that was blocked is loaded for/);
  });
});

describe('a fold', () => {
  it('has operands', () => {
    expect(() => foldOperands(APPEND, utf8('k'), utf8('x'), [])).toThrow(/a fold has operands/);
  });
});

describe('results', () => {
  it('are copies that share no byte, however many of them and however long', () => {
    const source = utf8('0123456789'.repeat(1000));
    const view = new DataView(source.buffer, source.byteOffset, source.byteLength);
    const copies: [number, number, Uint8Array][] = [];
    for (let i = 0; i < 3000; i++) {
      const [start, length] = [i % 97, (i * 37) % 5000];
      copies.push([
        start,
        length,
        i % 2 === 0 ? copyOut(source, start, length) : copyOutOf(view, source, start, length),
      ]);
    }
    expect(
      copies.every(([start, length, copy]) => Buffer.compare(copy, source.subarray(start, start + length)) === 0),
    ).toBe(true);
  });
});
