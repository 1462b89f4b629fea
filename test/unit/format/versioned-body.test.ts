/** The frame of manifests and compactions files: the version in front, and where the FlatBuffer ends. */
import { describe, expect, it } from 'vitest';
import { concatBytes, fromHex } from '../../../src/common/bytes.ts';
import { FlatBuilder, FlatReader } from '../../../src/format/flatbuffer.ts';
import { appendManifestSeal } from '../../../src/format/seal.ts';
import { numberObjectId } from '../../../src/format/seal-records.ts';
import { bodyEnd, decodeHeaderVersion, VERSION_HEADER_BYTES } from '../../../src/format/versioned-body.ts';

/** A body of one table with a number in slot 0, and in slot 5 where `isNewer`. */
function body(isNewer = false): Uint8Array {
  const builder = new FlatBuilder();
  builder.startTable();
  builder.addU64(0, 7);
  if (isNewer) builder.addU32(5, 1);
  const bytes = builder.finish(builder.endTable(), VERSION_HEADER_BYTES);
  bytes[1] = 2;
  return bytes;
}

function readEnd(bytes: Uint8Array): number {
  const reader = new FlatReader(bytes, 'object', VERSION_HEADER_BYTES);
  reader.u64(reader.root(1), 0);
  return bodyEnd(reader);
}

const SEALED = (bytes: Uint8Array) =>
  appendManifestSeal(bytes, {
    kind: 'compactions',
    identity: {
      databaseId: new Uint8Array(16),
      objectId: numberObjectId(1),
      putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' as never,
      epoch: 1,
      role: 'tool',
      formatVersion: 0,
      codec: 'none',
      writtenAtMs: 1,
      newestManifestId: 1,
      software: [0, 1, 0],
    },
  });

describe('the header version', () => {
  it.each([
    ['0001', 1],
    ['0002', 2],
    ['0002ffff', 2],
  ])('of %s is %d', (hex, version) => {
    expect(decodeHeaderVersion(fromHex(hex), 'manifest')).toBe(version);
  });

  it.each([
    ['', 'TRUNCATED'],
    ['00', 'TRUNCATED'],
    ['0000', 'MALFORMED'],
    ['6a75', 'MALFORMED'],
    ['0003', 'FORMAT_TOO_NEW'],
    ['0100', 'MALFORMED'],
  ])('of %s is %s', (hex, code) => {
    expect(() => decodeHeaderVersion(fromHex(hex), 'manifest')).toThrow(expect.objectContaining({ code }));
  });
});

describe('the end of the body', () => {
  it('is that of the last byte that references reach', () => {
    expect(readEnd(body())).toBe(body().length);
  });

  it('takes in the zeros that pad it to a multiple of four, and nothing else', () => {
    const builder = new FlatBuilder();
    const vector = builder.byteVector(Uint8Array.of(1, 2, 3, 4, 5, 6));
    builder.startTable();
    builder.addRef(0, vector);
    const bytes = builder.finish(builder.endTable(), VERSION_HEADER_BYTES);
    expect([...bytes.subarray(-3)]).toEqual([6, 0, 0]);
    const endOf = (object: Uint8Array) => {
      const reader = new FlatReader(object, 'object', VERSION_HEADER_BYTES);
      reader.byteVector(reader.root(1), 0);
      return bodyEnd(reader);
    };
    expect(endOf(bytes)).toBe(bytes.length);
    expect(endOf(concatBytes(bytes, new Uint8Array(4)))).toBe(bytes.length);
    expect(endOf(concatBytes(bytes.subarray(0, -2), Uint8Array.of(9, 9)))).toBe(bytes.length - 2);
  });

  it('is where the seal begins, if there is one', () => {
    expect(readEnd(SEALED(body()))).toBe(body().length);
  });

  it('is unknown where a newer program added fields: up to the seal, else all of the object', () => {
    expect(readEnd(body(true))).toBe(body(true).length);
    expect(readEnd(concatBytes(body(true), new Uint8Array(8)))).toBe(body(true).length + 8);
    expect(readEnd(SEALED(body(true)))).toBe(body(true).length);
  });
});
