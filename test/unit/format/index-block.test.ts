/** The index block: those of the fixtures byte for byte, padded blocks, fields of newer programs, and where a search begins. */
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../../src/common/bytes.ts';
import { crc32 } from '../../../src/format/checksum.ts';
import { FlatBuilder } from '../../../src/format/flatbuffer.ts';
import { decodeIndex } from '../../../src/format/index-block.ts';
import { decodeInfo } from '../../../src/format/info-block.ts';
import { decodeFooter } from '../../../src/format/table-layout.ts';
import { goldenFixtures } from '../../support/golden-fixtures.ts';
import { encodeIndex, entriesOf } from '../../support/index-payload.ts';
import { fuzzDecoder } from '../../support/mutations.ts';

const text = (s: string) => new TextEncoder().encode(s);

/** Index payloads of all uncompressed tables and WAL objects of the fixtures. */
function goldenPayloads(): Uint8Array[] {
  return goldenFixtures()
    .flatMap((fixture) => fixture.objects)
    .filter((object) => object.path.endsWith('.sst') && object.bytes.length > 0)
    .flatMap(({ bytes }) => {
      const { infoOffset } = decodeFooter(bytes.subarray(-10), bytes.length);
      const info = decodeInfo(bytes.subarray(infoOffset, bytes.length - 14));
      const end = info.indexOffset + info.indexLength - 4;
      return info.codec === 'none' ? [bytes.slice(info.indexOffset, end)] : [];
    });
}

describe('index block', () => {
  it('of every uncompressed fixture object encodes to the same bytes again', () => {
    const payloads = goldenPayloads();
    expect(payloads.length).toBeGreaterThan(200);
    for (const payload of payloads) expect(toHex(encodeIndex(entriesOf(decodeIndex(payload))))).toBe(toHex(payload));
  });

  it('of the annotated WAL object has the bytes and checksum of the format description', () => {
    const payload = encodeIndex([{ offset: 0, firstKey: fromHex('0000000000000001') }]);
    expect(payload.length).toBe(0x96 - 0x5e);
    expect(crc32(payload)).toBe(0xe28086d4);
  });

  it('with the length of padded blocks has the bytes of the format description', () => {
    const payload = encodeIndex([
      { offset: 0, firstKey: new Uint8Array(0), encodedLength: 5032 },
      { offset: 8192, firstKey: text('r'), encodedLength: 61 },
    ]);
    const annotated =
      '0c000000 00000600 08000400 06000000 04000000 02000000 38000000 10000000 00000a00 14000c00 04000800 ' +
      '0a000000 10000000 3d000000 0020000000000000 0100000072 000a000c0000000400 0800 0a000000 08000000 a8130000 00000000';
    expect(toHex(payload)).toBe(annotated.replaceAll(' ', ''));
    expect(crc32(payload)).toBe(0x4c896dac);
    const index = decodeIndex(payload);
    expect([index.encodedLength(0), index.encodedLength(1)]).toEqual([5032, 61]);
  });

  it('may state lengths of some blocks only, up to the largest number', () => {
    const entries = [
      { offset: 0, firstKey: text('a'), encodedLength: 2 ** 32 - 1 },
      { offset: 2 ** 33, firstKey: text('b') },
    ];
    expect(entriesOf(decodeIndex(encodeIndex(entries)))).toEqual(entries);
  });

  it.each([
    ['a block', 3, undefined],
    ['a block, far away', 9, undefined],
    ['the index', undefined, 1],
  ])('with an unknown field of %s is of a newer program, and no damage', (_, blockSlot, rootSlot) => {
    const b = new FlatBuilder();
    const key = b.byteVector(text('a'));
    b.startTable();
    b.addRef(1, key);
    if (blockSlot !== undefined) b.addU32(blockSlot, 7);
    const vector = b.tableVector([b.endTable()]);
    b.startTable();
    b.addRef(0, vector);
    if (rootSlot !== undefined) b.addU32(rootSlot, 7);
    const payload = b.finish(b.endTable());
    expect(() => decodeIndex(payload)).toThrow(
      expect.objectContaining({ kind: 'incompatible', code: 'FORMAT_TOO_NEW' }),
    );
  });

  it('equals what the fixtures say about each table', () => {
    let checked = 0;
    for (const fixture of goldenFixtures()) {
      for (const expected of [...(fixture.expected.wal ?? []), ...(fixture.expected.compacted_ssts ?? [])]) {
        if (expected.info?.compression_format !== 'none') continue;
        const { bytes } = fixture.objects.find((o) => o.path.endsWith(expected.object))!;
        const { index_offset: at, index_len: length } = expected.info;
        const index = decodeIndex(bytes.subarray(Number(at), Number(at) + Number(length) - 4));
        const found = entriesOf(index).map((e) => ({
          offset: String(e.offset),
          first_key: toHex(e.firstKey),
          ...(e.encodedLength !== undefined && { encoded_len: e.encodedLength }),
        }));
        const readable = expected.index.map((e: { first_key: unknown }, i: number) =>
          typeof e.first_key === 'string' ? e : { ...e, first_key: found[i].first_key },
        );
        expect(found).toEqual(readable);
        checked++;
      }
    }
    expect(checked).toBeGreaterThan(100);
  });

  it('keeps separators after its payload was overwritten', () => {
    const payload = encodeIndex([{ offset: 0, firstKey: text('a') }]);
    const index = decodeIndex(payload);
    payload.fill(0);
    expect(toHex(index.firstKey(0))).toBe('61');
    expect(index.memoryBytes).toBe(8 + 8 + 1);
  });

  it('starts a search in the last block whose separator is strictly less', () => {
    const keys = ['', 'b', 'd', 'd', 'd', 'f'];
    const index = decodeIndex(encodeIndex(keys.map((key, i) => ({ offset: 10 * i, firstKey: text(key) }))));
    const found = ['', 'a', 'b', 'bb', 'd', 'dd', 'e', 'f', 'g'].map((key) => index.findStart(text(key)));
    expect(found).toEqual([0, 0, 0, 1, 1, 4, 4, 4, 5]);
  });

  it('answers 0 for an empty index', () => {
    const index = decodeIndex(encodeIndex([]));
    expect([index.blockCount, index.findStart(text('a'))]).toEqual([0, 0]);
  });

  it.each([
    ['an offset that repeats', [0, 0], ['', 'b']],
    ['an offset that descends', [5, 4], ['', 'b']],
    ['a separator that descends', [0, 5], ['b', 'a']],
  ])('with %s is refused', (_, offsets, keys) => {
    const payload = encodeIndex(offsets.map((offset, i) => ({ offset, firstKey: text(keys[i]) })));
    expect(() => decodeIndex(payload)).toThrow(expect.objectContaining({ code: 'OUT_OF_ORDER' }));
  });

  it('is refused when entries share one separator that is larger than the payload can hold twice', () => {
    const b = new FlatBuilder();
    const key = b.byteVector(new Uint8Array(5000).fill(7));
    const metas = [0, 9].map((offset) => {
      b.startTable();
      b.addU64(0, offset);
      b.addRef(1, key);
      return b.endTable();
    });
    const vector = b.tableVector(metas);
    b.startTable();
    b.addRef(0, vector);
    const payload = b.finish(b.endTable());
    expect(() => decodeIndex(payload)).toThrow(expect.objectContaining({ code: 'MALFORMED' }));
  });

  it('gives a value or a typed error for 20,000 damaged payloads', () => {
    const inputs = goldenPayloads().filter((p) => p.length > 80 && p.length < 4000);
    const result = fuzzDecoder(inputs, decodeIndex, { runs: 20_000, seed: 11 });
    expect(result.refused).toBeGreaterThan(5_000);
    expect(result.accepted).toBeGreaterThan(1_000);
  });
});
