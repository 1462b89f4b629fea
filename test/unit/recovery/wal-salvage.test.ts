/**
 * What is saved of a damaged WAL object, as data: one object per line. It has the id 7 and three blocks of three rows, with sequence
 * numbers 1 to 9; `sealed` by this program, `bare` as SlateDB writes it, `zlib` the same compressed; a `fence`; a
 * `table` with these rows and a seal. Then the damage: `bit P`, `byte P`, `four P` (as
 * many bytes), `wide P` (40 bytes of 0xaa); `cut N` (N bytes are left); `as N` (stored under that id). A place P is a part and a
 * distance in it: `B0` to `B2` are the blocks, `index`, `seal`, `info`, `footer`.
 *
 * After the arrow: what it is; what became of each block, with the rows that are verified, and in brackets those that are only suspected;
 * whether that is all it had; `whole` if the object is as good as undamaged, and for foreign ones the id at which it is.
 */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { loadCodec, NO_CODEC } from '../../../src/format/codecs.ts';
import { FLAG_CREATE, NO_TS } from '../../../src/format/row-flags.ts';
import { encodeSeal } from '../../../src/format/seal.ts';
import { numberObjectId } from '../../../src/format/seal-records.ts';
import { TableBuilder } from '../../../src/format/table-builder.ts';
import { Author } from '../../../src/lsm/manifest/author.ts';
import { readWalObject } from '../../../src/lsm/wal/wal-object.ts';
import { encodeFence } from '../../../src/lsm/wal/wal-writer.ts';
import { rowsOfBlock, type SalvagedWal, salvageWalObject, underOwnId } from '../../../src/recovery/wal-salvage.ts';

const ID = 7;
const PUT_ID = '01ARZ3NDEKTSV4RRFFQ69G5FAV' as never;
const AUTHOR = new Author({
  clock: new ManualClock(),
  random: new SeededRandom(1),
  owner: 'host:1',
  databaseId: new Uint8Array(16).fill(1),
  role: 'writer',
});

interface Sample {
  bytes: Uint8Array;
  /** Where each part begins and ends. */
  parts: Map<string, [start: number, end: number]>;
}

async function sample(form: string): Promise<Sample> {
  const facts = { id: ID, epoch: 2, newestManifestId: 3, predecessor: undefined, lastSeq: 9 };
  if (form === 'fence') return { bytes: encodeFence(facts, 'table', NO_CODEC, AUTHOR).bytes, parts: new Map() };
  const builder = new TableBuilder({
    tableType: 'wal',
    blockBytes: 140,
    codec: form === 'zlib' ? await loadCodec('zlib') : NO_CODEC,
    rowsPerCheck: 1,
    capacityBytes: 2048,
  });
  for (let seq = 1; seq <= 9; seq++) {
    const key = new TextEncoder().encode(`k${seq}`);
    const value = new TextEncoder().encode(`value of row ${seq} `.padEnd(20, 'v'));
    builder.add(key, 0, key.length, value, 0, value.length, seq, FLAG_CREATE, 1000 + seq, NO_TS);
  }
  let sealBytes = 0;
  const {
    bytes,
    info,
    facts: built,
  } = builder.finish(
    form === 'bare' || form === 'zlib'
      ? undefined
      : ({ rows, minSeq, maxSeq, rowCount, batches }) => {
          const identity = AUTHOR.identity({
            objectId: numberObjectId(ID),
            putId: PUT_ID,
            epoch: 2,
            newestManifestId: 3,
            formatVersion: 2,
          });
          const wal = {
            predecessorKind: 'unknown',
            predecessorDigest: new Uint8Array(16),
            firstSeq: minSeq,
            lastSeq: maxSeq,
            rows: rowCount,
            batches,
          } as const;
          const seal = encodeSeal(
            form === 'table' ? { kind: 'table', identity } : { kind: 'wal', identity, wal, rows },
          );
          sealBytes = seal.length;
          return seal;
        },
  );
  const parts: Sample['parts'] = new Map();
  let at = 0;
  Array.from(built.rows.blockStoredBytes).forEach((length, i) => {
    parts.set(`B${i}`, [at, at + length]);
    at += length;
  });
  expect(Array.from(built.rows.blockRows)).toEqual([3, 3, 3]);
  const indexEnd = info.indexOffset + info.indexLength;
  parts.set('index', [info.indexOffset, indexEnd]);
  parts.set('seal', [indexEnd, indexEnd + sealBytes]);
  parts.set('info', [indexEnd + sealBytes, bytes.length - 10]);
  parts.set('footer', [bytes.length - 10, bytes.length]);
  return { bytes: bytes.slice(), parts };
}

async function salvaged(script: string): Promise<SalvagedWal> {
  const [form, ...damages] = script.trim().split(/ *; */);
  const { bytes, parts } = await sample(form);
  let id = ID;
  let length = bytes.length;
  for (const damage of damages) {
    const [, what, part, distance = '0'] = /^(\w+) (\w+)(?:\+(\d+))?$/.exec(damage)!;
    if (what === 'as') id = Number(part);
    else if (what === 'cut') length = /^\d+$/.test(part) ? Number(part) : parts.get(part)![0] + Number(distance);
    else {
      const [start, end] = parts.get(part)!;
      const at = start + Number(distance);
      const width = { bit: 1, byte: 1, four: 4, wide: 40 }[what]!;
      expect(at).toBeLessThan(end);
      for (let p = at; p < at + width; p++)
        bytes[p] = what === 'bit' ? bytes[p] ^ 4 : what === 'wide' ? 0xaa : bytes[p] ^ 0x5b;
    }
  }
  const left = bytes.subarray(0, length);
  const strict = await readWalObject(id, left);
  expect(strict.object).toBeUndefined();
  return salvageWalObject(id, left, strict);
}

function textOf({ kind, blocks, isComplete, object, home }: SalvagedWal): string {
  const states = blocks.map((block) => {
    const rows = [...rowsOfBlock(block)];
    const seqs = (suspect: boolean) => rows.filter((r) => (r.trust === 'suspect') === suspect).map((r) => r.seq);
    const words = [block.state, seqs(false).join(','), seqs(true).length > 0 ? `(${seqs(true).join(',')})` : ''];
    return words.filter(Boolean).join(' ');
  });
  return [
    `${kind}: ${states.join(' | ')}`.trim(),
    isComplete ? 'all' : 'not all',
    ...(object !== undefined ? ['whole'] : []),
    ...(home !== undefined ? [`at ${home.id}${home.object === undefined ? '' : ', whole'}`] : []),
  ].join('; ');
}

const LINES = `
  one place of one block, with a seal: healed, and proven
  sealed; bit B1+30                        => rows: good 1,2,3 | healed 4,5,6 | good 7,8,9; all; whole
  sealed; byte B0                          => rows: healed 1,2,3 | good 4,5,6 | good 7,8,9; all; whole
  sealed; four B1+60                       => rows: good 1,2,3 | healed 4,5,6 | good 7,8,9; all; whole
  sealed; bit B0+9; bit B2+9               => rows: healed 1,2,3 | good 4,5,6 | healed 7,8,9; all; whole

  more than can be healed, with a seal: rows under checks that hold. The first row of a block lends the others its prefix
  sealed; wide B1+2                        => rows: good 1,2,3 | lost | good 7,8,9; all
  sealed; wide B1+46                       => rows: good 1,2,3 | salvaged 4 | good 7,8,9; all
  sealed; wide B1+90                       => rows: good 1,2,3 | salvaged 4,5 | good 7,8,9; all
  sealed; wide B0+2; wide B2+90            => rows: lost | good 4,5,6 | salvaged 7,8; all
  sealed; wide B1+30; wide B1+75           => rows: good 1,2,3 | lost | good 7,8,9; all

  without a seal nothing is proven
  bare; bit B1+30                          => rows: good 1,2,3 | probable 4,5,6 | good 7,8,9; all
  bare; byte B1+30                         => rows: good 1,2,3 | probable 4,5,6 | good 7,8,9; all
  bare; four B1+60                         => rows: good 1,2,3 | lost (4,5,6) | good 7,8,9; all
  bare; wide B1+46                         => rows: good 1,2,3 | lost (4) | good 7,8,9; all

  what is after the blocks hides none of them
  sealed; bit footer+7                     => rows: good 1,2,3 | good 4,5,6 | good 7,8,9; all; whole
  sealed; wide info                        => rows: good 1,2,3 | good 4,5,6 | good 7,8,9; all; whole
  sealed; wide index                       => rows: good 1,2,3 | good 4,5,6 | good 7,8,9; all; whole
  sealed; bit seal+30                      => rows: good 1,2,3 | good 4,5,6 | good 7,8,9; all; whole
  sealed; wide seal+30                     => rows: good 1,2,3 | good 4,5,6 | good 7,8,9; all
  bare; bit footer+7                       => rows: good 1,2,3 | good 4,5,6 | good 7,8,9; all
  bare; wide info                          => rows: good 1,2,3 | good 4,5,6 | good 7,8,9 | lost; not all
  bare; wide index                         => rows: good 1,2,3 | good 4,5,6 | good 7,8,9; all
  bare; wide info; bit B1+30               => rows: good 1,2,3 | lost (262148,5,6); not all

  of an object that is compressed too: its codec is found by trying, where the info block is gone
  zlib; bit footer+7                       => rows: good 1,2,3 | good 4,5,6 | good 7,8,9; all
  zlib; wide info                          => rows: good 1,2,3 | good 4,5,6 | good 7,8,9 | lost; not all
  zlib; wide index                         => rows: good 1,2,3 | good 4,5,6 | good 7,8,9; all

  cut
  sealed; cut footer                       => rows: good 1,2,3 | good 4,5,6 | good 7,8,9; all; whole
  sealed; cut seal+50                      => rows: good 1,2,3 | good 4,5,6 | good 7,8,9 | lost; not all
  sealed; cut B2                           => rows: good 1,2,3 | good 4,5,6 | lost; not all
  sealed; cut B1+50                        => rows: good 1,2,3 | lost (4); not all
  bare; cut footer                         => rows: good 1,2,3 | good 4,5,6 | good 7,8,9 | lost; not all
  bare; cut B2+50                          => rows: good 1,2,3 | good 4,5,6 | lost (7); not all
  sealed; cut 20                           => unreadable:; not all

  another object under the name
  sealed; as 8                             => foreign: good 1,2,3 | good 4,5,6 | good 7,8,9; all; at 7, whole
  sealed; as 8; bit B1+30                  => foreign: good 1,2,3 | healed 4,5,6 | good 7,8,9; all; at 7, whole
  sealed; as 8; wide B1+46                 => foreign: good 1,2,3 | salvaged 4 | good 7,8,9; all; at 7
  fence; as 8                              => foreign:; all; at 7, whole
`
  .split('\n')
  .map((line) => line.trim())
  .filter((line) => line.includes('=>'));

describe('of a WAL object', () => {
  it.each(LINES)('%s', async (line) => {
    const [script, answer] = line.split(/ *=> */);
    expect(textOf(await salvaged(script))).toBe(answer);
  });
});

describe('what is stored under the name of another', () => {
  it.each([
    ['sealed; as 8', 'rows: good 1,2,3 | good 4,5,6 | good 7,8,9; all; whole'],
    ['sealed; as 8; wide B1+46', 'rows: good 1,2,3 | salvaged 4 | good 7,8,9; all'],
    ['sealed; as 8; cut 20', undefined],
    ['fence; as 8', 'fence:; all; whole'],
  ])('(%s) is at its own id what it would be there', async (script, answer) => {
    const own = underOwnId(await salvaged(script));
    expect(own && textOf(own)).toBe(answer);
    if (own !== undefined) expect([own.id, own.home]).toEqual([ID, undefined]);
  });

  it('is nothing of the log if it is a table, and nothing where it is under its own name', async () => {
    const table = await salvaged('table');
    expect([textOf(table), underOwnId(table)]).toEqual([
      'foreign: good 1,2,3 | good 4,5,6 | good 7,8,9; all',
      undefined,
    ]);
    expect(underOwnId(await salvaged('sealed; bit B1+30'))).toBeUndefined();
  });
});
