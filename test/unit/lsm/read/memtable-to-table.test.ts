/**
 * What a flush keeps, as data: rows of a memtable `key@seq=value!expiry`, `del` or `+operand`, in the order of writing; after the bar
 * barrier and time, after the arrow the rows of the table. In brackets the rules of visibility.ts.
 */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../src/common/manual-clock.ts';
import { decodeBlock } from '../../../../src/format/block.ts';
import { BlockCursor } from '../../../../src/format/block-cursor.ts';
import { NO_CODEC } from '../../../../src/format/codecs.ts';
import { FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_TS } from '../../../../src/format/row-flags.ts';
import type { TableFacts } from '../../../../src/format/table-builder.ts';
import { Memtable } from '../../../../src/lsm/memtable/memtable.ts';
import { buildFlushedTable } from '../../../../src/lsm/read/memtable-to-table.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const FORMAT = {
  blockBytes: 4096,
  codec: NO_CODEC,
  filter: { form: 'composite', bitsPerKey: 10, minKeys: 1000 },
} as const;

async function flushed(line: string, barrier: number, nowMs: number | undefined) {
  const table = new Memtable();
  for (const word of line.split(/ +/).filter(Boolean)) {
    const [, key, seq, what, expiry] = /^(\w+)@(\d+)(=\w*|\+\w+|del)(?:!(\d+))?$/.exec(word)!;
    const kind = what === 'del' ? FLAG_TOMBSTONE : what[0] === '+' ? FLAG_MERGE : 0;
    const flags = kind | (expiry === undefined ? 0 : FLAG_EXPIRE);
    const value = utf8(what === 'del' ? '' : what.slice(1));
    table.add(utf8(key), value, Number(seq), flags, NO_TS, expiry === undefined ? NO_TS : Number(expiry));
  }
  table.freeze();
  const clock = new ManualClock();
  let facts: TableFacts | undefined;
  const built = await clock.runUntilSettled(
    buildFlushedTable(table, { barrier, expiredAtMs: nowMs }, FORMAT, clock, (f) => {
      facts = f;
      return new Uint8Array(0);
    }),
  );
  if (built === undefined) return { rows: 'no table', facts };
  const cursor = new BlockCursor();
  // The only block ends where the index or the filter begins, with its checksum.
  const { indexOffset, filterLength, filterOffset } = built.info;
  const end = filterLength > 0 ? Math.min(indexOffset, filterOffset) : indexOffset;
  cursor.attach(decodeBlock(built.bytes.slice(0, end - 4), 2));
  const rows: string[] = [];
  for (let ok = cursor.first(); ok; ok = cursor.next()) {
    const { flags, valueStart, valueLength, seq } = cursor;
    const value = text(cursor.block!.bytes.slice(valueStart, valueStart + valueLength));
    const what = (flags & FLAG_TOMBSTONE) !== 0 ? 'del' : (flags & FLAG_MERGE) !== 0 ? `+${value}` : `=${value}`;
    const expiry = (flags & FLAG_EXPIRE) === 0 ? '' : `!${cursor.expireTs}`;
    rows.push(`${text(cursor.key.slice(0, cursor.keyLength))}@${seq}${what}${expiry}`);
  }
  return { rows: rows.join(' '), facts };
}

const CASES = [
  'b@1=y a@2=x           | newest       => a@2=x b@1=y (keys ascend)',
  'a@1=x a@2=y           | newest       => a@2=y (V6)',
  'a@1=x a@2=y a@3=z     | barrier 2    => a@3=z a@2=y (V6: above the barrier, and the first base at or below it)',
  'a@1=x a@2=y a@3=z     | all          => a@3=z a@2=y a@1=x (V6)',
  'a@1=x a@2+y a@3+z     | newest       => a@3+z a@2+y a@1=x (V6: operands go on to their base)',
  'a@1=x a@2del          | newest       => a@2del (V6: older versions may be in tables)',
  'a@1=x!5               | newest now 5 => a@1del (V7)',
  'a@1=x!5               | newest       => a@1=x!5 (V7: without a time nothing has expired)',
  'a@1+x!5               | newest now 5 => no table (V7: an operand goes)',
  'a@1=v a@2+x!5         | newest now 5 => a@1=v (V7)',
];

describe('a flush keeps', () => {
  it.each(CASES)('%s', async (line) => {
    const [, rows, asked, answer] = /^(.*?) *\| (.*?) *=> (.*?) \(.*\)$/.exec(line)!;
    const barrier = /barrier (\d+)/.exec(asked)?.[1];
    const now = /now (\d+)/.exec(asked)?.[1];
    const bound = barrier !== undefined ? Number(barrier) : asked.startsWith('all') ? -1 : Number.POSITIVE_INFINITY;
    const built = await flushed(rows, bound, now === undefined ? undefined : Number(now));
    expect(built.rows).toBe(answer);
  });

  it('and gives the seal the numbers of the rows that are kept, not of all that were there', async () => {
    const { facts } = await flushed('a@1=x a@2=y b@3=z', Number.POSITIVE_INFINITY, undefined);
    expect(facts).toMatchObject({ rowCount: 2, minSeq: 2, maxSeq: 3 });
  });
});
