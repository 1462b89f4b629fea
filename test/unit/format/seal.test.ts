/** Seals: the worked example byte for byte, every record, every damaged bit, and where a seal is found. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { concatBytes, fromHex, toHex } from '../../../src/common/bytes.ts';
import { nextInt, SeededRandom } from '../../../src/common/random.ts';
import type { Ulid } from '../../../src/common/ulid.ts';
import { crc32, xxHash32 } from '../../../src/format/checksum.ts';
import { decodeCompactions } from '../../../src/format/compactions-codec.ts';
import { decodeInfo } from '../../../src/format/info-block.ts';
import { decodeManifest } from '../../../src/format/manifest-codec.ts';
import {
  appendManifestSeal,
  decodeManifestSeal,
  decodeSeal,
  encodeSeal,
  findManifestSeal,
  type ManifestSealInput,
  objectDigest,
  type SealInput,
  sealDigest,
} from '../../../src/format/seal.ts';
import {
  checkStarts,
  type IdentityRecord,
  numberObjectId,
  type RowsRecord,
  tableObjectId,
} from '../../../src/format/seal-records.ts';
import { checkLayout, decodeFooter, encodeFooter, sealRange } from '../../../src/format/table-layout.ts';
import { goldenBytes } from '../../support/golden-fixtures.ts';
import { fuzzDecoder } from '../../support/mutations.ts';

const code = (name: string) => expect.objectContaining({ code: name });
const BAD_SEAL = code('BAD_SEAL');
const ulid = (n: number) => `01M7Q5CQG1000000000000000${n}` as Ulid;

const IDENTITY: IdentityRecord = {
  databaseId: fromHex('5a6c1e0f3b7d4c2e9a10b1c2d3e4f506'),
  objectId: numberObjectId(2),
  putId: ulid(2),
  epoch: 1,
  role: 'writer',
  formatVersion: 2,
  codec: 'none',
  writtenAtMs: 1795168418650,
  newestManifestId: 2,
  software: [0, 1, 0],
};

/** WAL object 2 of fixture `tiny` of SlateDB 0.12.1, sealed with one check per row. */
const WAL_SEAL: SealInput = {
  kind: 'wal',
  identity: IDENTITY,
  wal: {
    predecessorKind: 'seal',
    predecessorDigest: fromHex('842f0d14f70b87fdab0196487f34c4f4'),
    firstSeq: 1,
    lastSeq: 3,
    rows: 3,
    batches: 3,
  },
  rows: {
    rowsPerCheck: 1,
    blockStoredBytes: [94],
    blockRows: [3],
    checks: Uint32Array.of(0xa3ad274f, 0xa43816e1, 0x28d0159b),
    firstSeqs: Float64Array.of(1, 2, 3),
    continuations: Uint8Array.of(0, 0, 0),
  },
};

const WAL_SEAL_HEX =
  '000100000050' +
  '5a6c1e0f3b7d4c2e9a10b1c2d3e4f506' +
  '00000000000000000000000000000002' +
  '01a1ee565e0100000000000000000002' +
  '000000000000000101020000' +
  '000001a1f8603b5a000000000000000200000100' +
  '000200000029' +
  '01842f0d14f70b87fdab0196487f34c4f4' +
  '00000000000000010000000000000003' +
  '0000000300000003' +
  '000400000017' +
  '010100000001' +
  '5e03' +
  '02a3ad274f02a43816e10228d0159b' +
  '000000b6000100019944d2dc' +
  '8953484c5345414c';

const MANIFEST_SEAL: ManifestSealInput = {
  kind: 'manifest',
  identity: { ...IDENTITY, objectId: numberObjectId(4), role: 'compactor', formatVersion: 0 },
  manifest: {
    previousManifestId: 3,
    previousDigest: new Uint8Array(16).fill(3),
    walTail: { id: 9, lastSeq: 20, digest: new Uint8Array(16).fill(4) },
    ledgerVersion: 5,
    isCleanClose: true,
    isRepair: false,
  },
};

const MANIFEST = goldenBytes('slatedb-0.12.1/tiny', 'db/manifest/00000000000000000004.manifest');

/** Puts a corrected CRC into a seal whose other bytes were changed. */
function withCrc(seal: Uint8Array): Uint8Array {
  const out = seal.slice();
  new DataView(out.buffer).setUint32(out.length - 12, crc32(out, 0, out.length - 12));
  return out;
}

/** A seal of hand-made records. */
function sealOf(records: Uint8Array, kind: number, version = 1): Uint8Array {
  const tail = new Uint8Array(20);
  const view = new DataView(tail.buffer);
  view.setUint32(0, records.length + 20);
  view.setUint16(4, version);
  view.setUint16(6, kind);
  tail.set(fromHex('8953484c5345414c'), 12);
  return withCrc(concatBytes(records, tail));
}

function record(tag: number, payload: Uint8Array): Uint8Array {
  const head = new Uint8Array(6);
  new DataView(head.buffer).setUint16(0, tag);
  new DataView(head.buffer).setUint32(2, payload.length);
  return concatBytes(head, payload);
}

const identityRecord = () => encodeSeal({ kind: 'table', identity: IDENTITY }).slice(0, 86);
const decode = (seal: Uint8Array) => decodeSeal(seal, 0, seal.length);

describe('the worked example', () => {
  it('has exactly these 182 bytes', () => {
    const seal = encodeSeal(WAL_SEAL);
    expect(toHex(seal)).toBe(WAL_SEAL_HEX);
    expect(seal.length).toBe(182);
  });

  it('decodes to what was sealed', () => {
    const { kind, version, identity, wal, rows, ...others } = decode(fromHex(WAL_SEAL_HEX));
    expect({ kind, version }).toEqual({ kind: 'wal', version: 1 });
    expect({ identity, wal }).toEqual({ identity: WAL_SEAL.identity, wal: WAL_SEAL.wal });
    expect({ ...rows, blockStoredBytes: [94], blockRows: [3] }).toEqual(WAL_SEAL.rows);
    expect([...Array.from(rows!.blockStoredBytes), ...Array.from(rows!.blockRows)]).toEqual([94, 3]);
    expect(others).toEqual({});
  });

  it('makes the object 430 bytes long, its info block at 0x150', () => {
    const object = goldenBytes('slatedb-0.12.1/tiny', 'db/wal/00000000000000000002.sst');
    const { infoOffset, formatVersion } = decodeFooter(object.subarray(-10), object.length);
    const seal = encodeSeal(WAL_SEAL);
    const sealed = concatBytes(
      object.subarray(0, infoOffset),
      seal,
      object.subarray(infoOffset, -10),
      encodeFooter({ infoOffset: infoOffset + seal.length, formatVersion }),
    );
    expect(sealed.length).toBe(430);
    const footer = decodeFooter(sealed.subarray(-10), sealed.length);
    expect(footer.infoOffset).toBe(0x150);
    const info = decodeInfo(sealed.subarray(footer.infoOffset, -14));
    checkLayout(info, footer.infoOffset, sealed.length);
    const { start, end } = sealRange(info, footer.infoOffset);
    expect([start, end]).toEqual([0x9a, 0x150]);
    expect(decodeSeal(sealed, start, end, ['wal']).identity).toEqual(IDENTITY);
  });

  it('checks rows with a hash whose vectors are these', () => {
    const hash = (text: string, seed = 0) => {
      const b = new TextEncoder().encode(text);
      return xxHash32(b, 0, b.length, seed).toString(16).padStart(8, '0');
    };
    expect([hash(''), hash('123456789'), hash('123456789', 1), hash('abc'.repeat(20)), hash('appl')]).toEqual([
      '02cc5d05',
      '937bad67',
      'f261918c',
      '8103b399',
      '2e9f1f9a',
    ]);
  });
});

describe('digests', () => {
  it('are the first 16 bytes of SHA-256', () => {
    const seal = fromHex(WAL_SEAL_HEX);
    expect(toHex(sealDigest(seal))).toBe(createHash('sha256').update(seal).digest('hex').slice(0, 32));
    expect(objectDigest(MANIFEST).length).toBe(16);
    expect(toHex(objectDigest(new Uint8Array(0)))).toBe('e3b0c44298fc1c149afbf4c8996fb924');
  });
});

describe('records', () => {
  it('of a run round-trip', () => {
    const lineage = {
      level: 'run',
      minSeq: 1,
      maxSeq: 2 ** 53 - 1,
      maxCreateTs: -7,
      rows: 10,
      compactionId: ulid(3),
      destinationRun: 2 ** 32 - 1,
      ordinal: 4,
      isLastOutput: true,
      isBottom: false,
      inputs: [ulid(5), ulid(6)],
    } as const;
    const repair = {
      repairId: new Uint8Array(16).fill(1),
      pairs: [
        { from: ulid(1), to: ulid(2) },
        { from: ulid(3), to: undefined },
      ],
    };
    const owner = { hostPid: 'h\u00f6st:12' };
    const input: SealInput = { kind: 'table', identity: IDENTITY, lineage, repair, owner };
    expect(decode(encodeSeal(input))).toEqual({ ...input, version: 1 });
    const other = { ...lineage, isLastOutput: false, isBottom: true, inputs: [] };
    expect(decode(encodeSeal({ ...input, lineage: other })).lineage).toEqual(other);
  });

  it('of a level 0 table round-trip, also without any create time', () => {
    const lineage = {
      level: 'l0',
      minSeq: 5,
      maxSeq: 9,
      maxCreateTs: Number.NEGATIVE_INFINITY,
      rows: 3,
      replayAfterWalId: 8,
    } as const;
    const seal = encodeSeal({ kind: 'table', identity: { ...IDENTITY, objectId: tableObjectId(ulid(4)) }, lineage });
    expect(decode(seal).lineage).toEqual(lineage);
    expect(toHex(decode(seal).identity.objectId)).toBe('01a1ee565e0100000000000000000004');
    expect(seal.length).toBe(20 + 86 + 47);
  });

  it('of a fence take 153 bytes with a short owner', () => {
    const wal = { ...WAL_SEAL.wal!, predecessorKind: 'unknown', predecessorDigest: new Uint8Array(16) } as const;
    expect(encodeSeal({ kind: 'fence', identity: IDENTITY, wal }).length).toBe(153);
  });

  it('of expiry round-trip, also without a bucket', () => {
    const buckets = Array.from({ length: 16 }, (_, i) => ({ byMs: 1_795_168_418_650 + i, bytes: i * 2 ** 48 }));
    for (const expiry of [{ buckets }, { buckets: [] }, { buckets: [{ byMs: -(2 ** 62), bytes: 2 ** 53 - 1 }] }]) {
      const seal = encodeSeal({ kind: 'table', identity: IDENTITY, expiry });
      expect(decode(seal)).toEqual({ kind: 'table', version: 1, identity: IDENTITY, expiry });
      expect(seal.length).toBe(20 + 86 + 6 + 1 + 16 * expiry.buckets.length);
    }
    const tooMany = { buckets: [...buckets, { byMs: 2e12, bytes: 1 }] };
    expect(() => encodeSeal({ kind: 'table', identity: IDENTITY, expiry: tooMany })).toThrow(/16 buckets/);
  });

  it('cut a long owner between characters', () => {
    const owner = { hostPid: 'x\u00fc'.repeat(60) };
    const found = decode(encodeSeal({ kind: 'fence', identity: IDENTITY, owner })).owner!;
    expect(found.hostPid).toBe(`${'x\u00fc'.repeat(42)}x`);
  });

  it('of rows round-trip for every number of rows per check, with and without sequence numbers', () => {
    const random = new SeededRandom(5);
    for (const rowsPerCheck of [0, 1, 2, 4, 8, 16] as const) {
      for (const kind of ['wal', 'table'] as const) {
        const blockRows = Array.from({ length: 40 }, () => nextInt(random, 200));
        const blockStoredBytes = blockRows.map(() => nextInt(random, 2 ** 31) * 4);
        const record: RowsRecord = { rowsPerCheck, blockRows, blockStoredBytes, checks: new Uint32Array(0) };
        const count = checkStarts(record)[40];
        const checks = Uint32Array.from({ length: count }, () => random.nextUint32());
        let seq = 0;
        const firstSeqs = Float64Array.from({ length: count }, () => (seq += nextInt(random, 300)));
        if (count > 0) firstSeqs[count - 1] = 2 ** 53 - 1;
        const continuations = Uint8Array.from({ length: count }, () => nextInt(random, 2));
        const withSeqs = kind === 'wal' && rowsPerCheck > 0;
        const rows = { ...record, checks, ...(withSeqs && { firstSeqs, continuations }) };
        const found = decode(encodeSeal({ kind, identity: IDENTITY, rows })).rows!;
        expect({
          ...found,
          blockRows: Array.from(found.blockRows),
          blockStoredBytes: Array.from(found.blockStoredBytes),
        }).toEqual(rows);
      }
    }
  });

  it('of rows begin a new check with every block', () => {
    const starts = checkStarts({
      rowsPerCheck: 4,
      blockRows: [4, 5, 0, 1],
      blockStoredBytes: [],
      checks: new Uint32Array(0),
    });
    expect([...starts]).toEqual([0, 1, 3, 3, 4]);
  });

  it('that do not fit together are a bug of the writer', () => {
    const rows = WAL_SEAL.rows!;
    for (const change of [
      { checks: rows.checks.slice(1) },
      { checks: Uint32Array.of(1, 2, 3, 4), firstSeqs: new Float64Array(4), continuations: new Uint8Array(4) },
      { firstSeqs: undefined },
      { blockStoredBytes: [] },
      { firstSeqs: Float64Array.of(3, 2, 1) },
    ]) {
      expect(() => encodeSeal({ ...WAL_SEAL, rows: { ...rows, ...change } })).toThrow(code('INVARIANT'));
    }
    expect(() => encodeSeal({ ...WAL_SEAL, identity: { ...IDENTITY, databaseId: new Uint8Array(8) } })).toThrow(
      code('INVARIANT'),
    );
  });
});

describe('a seal', () => {
  it('with unknown records is read without them', () => {
    const records = concatBytes(identityRecord(), record(99, Uint8Array.of(1, 2, 3)), record(99, new Uint8Array(0)));
    expect(decode(sealOf(records, 3))).toEqual({ kind: 'table', version: 1, identity: IDENTITY });
  });

  it('of a higher version may have longer records of known tags', () => {
    const longer = record(1, concatBytes(identityRecord().slice(6), Uint8Array.of(9)));
    expect(decode(sealOf(longer, 3, 2))).toEqual({ kind: 'table', version: 2, identity: IDENTITY });
    expect(() => decode(sealOf(longer, 3))).toThrow(BAD_SEAL);
  });

  it('is refused without identity in front, with a repeated or cut record, or with garbage between', () => {
    const identity = identityRecord();
    const owner = record(7, Uint8Array.of(104));
    const bad = [
      new Uint8Array(0),
      owner,
      concatBytes(owner, identity),
      concatBytes(identity, identity),
      concatBytes(identity, owner, owner),
      concatBytes(identity, Uint8Array.of(0, 7, 0)),
      concatBytes(identity, record(7, new Uint8Array(10)).slice(0, -1)),
      record(1, identity.slice(6, -1)),
      concatBytes(identity, record(7, new Uint8Array(129))),
      concatBytes(identity, record(7, Uint8Array.of(0xff))),
    ];
    for (const records of bad) expect(() => decode(sealOf(records, 3))).toThrow(BAD_SEAL);
  });

  it('is refused with unknown numbers for role, version, codec, level, algorithm or rows per check', () => {
    const change = (records: Uint8Array, at: number, value: number) => {
      const out = records.slice();
      out[at] = value;
      return out;
    };
    const identity = identityRecord();
    for (const at of [56, 57, 58]) expect(() => decode(sealOf(change(identity, 6 + at, 6), 3))).toThrow(BAD_SEAL);
    const rows = record(4, fromHex('010100000000'));
    expect(decode(sealOf(concatBytes(identity, rows), 3)).rows?.checks.length).toBe(0);
    for (const at of [6, 7]) {
      expect(() => decode(sealOf(concatBytes(identity, change(rows, at, 3)), 3))).toThrow(BAD_SEAL);
    }
    expect(() => decode(sealOf(concatBytes(identity, record(3, new Uint8Array(60).fill(2))), 3))).toThrow(BAD_SEAL);
  });

  it.each([
    ['blocks', '0101ffffffff'],
    ['checks', '010100000001 01 ffffffff0f'],
    ['rows that cannot be counted', '000100000001 01 ffffffffffffff7f'],
    ['a varint without end', '010100000001 ffffffffffffffffffffff'],
    ['a varint that is longer than needed', '000100000001 8000 01'],
    ['a cut check', '010100000001 0501 000000'],
  ])('is refused when its rows record claims %s', (_, hex) => {
    const rows = record(4, fromHex(hex.replaceAll(' ', '')));
    expect(() => decode(sealOf(concatBytes(identityRecord(), rows), 3))).toThrow(BAD_SEAL);
  });

  it('is refused when its rows record claims a sequence number above 2^53 - 1', () => {
    // One block of two rows with one check each; the sum of both differences is what counts.
    const sealWith = (...differences: string[]) => {
      const rows = record(4, fromHex(`010100000001 0502 ${differences.join('00000000')}00000000`.replaceAll(' ', '')));
      return sealOf(concatBytes(identityRecord(), rows), 1);
    };
    const largest = 'feffffffffffff1f';
    expect(decode(sealWith(largest, '00')).rows?.firstSeqs?.[1]).toBe(2 ** 53 - 1);
    expect(() => decode(sealWith('feffffffffffff3f', '00'))).toThrow(BAD_SEAL);
    expect(() => decode(sealWith(largest, '02'))).toThrow(BAD_SEAL);
  });

  it('is refused when lineage or repair claim more entries than there are bytes', () => {
    for (const [tag, size, at] of [
      [3, 62, 58],
      [6, 20, 16],
    ]) {
      const payload = new Uint8Array(size);
      if (tag === 3) payload[0] = 1;
      new DataView(payload.buffer).setUint32(at, 0);
      expect(() => decode(sealOf(concatBytes(identityRecord(), record(tag, payload)), 3))).not.toThrow();
      new DataView(payload.buffer).setUint32(at, 0xffffffff);
      expect(() => decode(sealOf(concatBytes(identityRecord(), record(tag, payload)), 3))).toThrow(BAD_SEAL);
    }
  });

  it.each([
    ['more buckets than there are bytes', '02 0000000000000001 0000000000000001'],
    [
      'more than sixteen',
      `11 ${Array.from({ length: 17 }, (_, i) => `${`${i}`.padStart(16, '0')} 0000000000000001`).join('')}`,
    ],
    ['times that do not ascend', '02 0000000000000001 0000000000000001 0000000000000001 0000000000000001'],
    ['more bytes than can be counted', '01 0000000000000001 0020000000000000'],
    ['less than is there', '00 0000000000000001 0000000000000001'],
  ])('is refused when its expiry record claims %s', (_, hex) => {
    const expiry = record(9, fromHex(hex.replaceAll(' ', '')));
    expect(() => decode(sealOf(concatBytes(identityRecord(), expiry), 3))).toThrow(BAD_SEAL);
  });

  it('is refused with an unknown kind, version 0, or a kind that cannot be there', () => {
    expect(() => decode(sealOf(identityRecord(), 6))).toThrow(BAD_SEAL);
    expect(() => decode(sealOf(identityRecord(), 0))).toThrow(BAD_SEAL);
    expect(() => decode(sealOf(identityRecord(), 3, 0))).toThrow(BAD_SEAL);
    const seal = fromHex(WAL_SEAL_HEX);
    expect(() => decodeSeal(seal, 0, seal.length, ['table'])).toThrow(BAD_SEAL);
  });

  it('shows every flipped bit, every cut and every shift', () => {
    const seal = fromHex(WAL_SEAL_HEX);
    for (let bit = 0; bit < 8 * seal.length; bit++) {
      const damaged = seal.slice();
      damaged[bit >> 3] ^= 1 << (bit & 7);
      expect(() => decode(damaged)).toThrow(BAD_SEAL);
    }
    for (let n = 0; n < seal.length; n++) {
      expect(() => decodeSeal(seal, 0, n)).toThrow(BAD_SEAL);
      expect(() => decodeSeal(seal, seal.length - n, seal.length)).toThrow(BAD_SEAL);
    }
    expect(() => decodeSeal(seal, 0, seal.length + 1)).toThrow(BAD_SEAL);
    expect(() => decodeSeal(seal, -1, seal.length)).toThrow(BAD_SEAL);
  });

  it('is refused when any known record has a byte too many', () => {
    const lineage = { level: 'l0', minSeq: 1, maxSeq: 1, maxCreateTs: 1, rows: 1, replayAfterWalId: 1 } as const;
    const repair = { repairId: new Uint8Array(16), pairs: [] };
    const full = encodeSeal({ ...WAL_SEAL, lineage, repair });
    const body = decodeManifestSeal(appendManifestSeal(MANIFEST, MANIFEST_SEAL), MANIFEST.length, 'manifest');
    expect(body?.manifest).toBeDefined();
    const manifestRecord = appendManifestSeal(MANIFEST, MANIFEST_SEAL).slice(MANIFEST.length + 86, -20);
    let at = 86;
    const records = [manifestRecord];
    for (const view = new DataView(full.buffer); at < full.length - 20; at += 6 + view.getUint32(at + 2)) {
      records.push(full.slice(at, at + 6 + view.getUint32(at + 2)));
    }
    expect(records.map((r) => r[1])).toEqual([5, 2, 3, 4, 6]);
    for (const r of records) {
      expect(() => decode(sealOf(concatBytes(identityRecord(), r), 1))).not.toThrow();
      const longer = record(r[1], concatBytes(r.subarray(6), Uint8Array.of(0)));
      expect(() => decode(sealOf(concatBytes(identityRecord(), longer), 1))).toThrow(BAD_SEAL);
    }
  });

  it('is refused when the whole input is shorter than a tail', () => {
    const magic = fromHex('8953484c5345414c');
    for (const short of [new Uint8Array(0), magic, concatBytes(new Uint8Array(11), magic)]) {
      expect(() => decode(short)).toThrow(BAD_SEAL);
      expect(findManifestSeal(short)).toBeUndefined();
    }
  });

  it('never holds a number that it could not give back', () => {
    for (const epoch of [-1, 0.5, 2 ** 53]) {
      expect(() => encodeSeal({ kind: 'table', identity: { ...IDENTITY, epoch } })).toThrow(code('INVARIANT'));
    }
    for (const rows of [-1, 0.5, 2 ** 32]) {
      expect(() => encodeSeal({ ...WAL_SEAL, wal: { ...WAL_SEAL.wal!, rows } })).toThrow(code('INVARIANT'));
    }
    const high = sealOf(record(1, identityRecord().slice(6).fill(0xff, 48, 56)), 3);
    expect(() => decode(high)).toThrow(BAD_SEAL);
  });

  it('keeps what was read when the bytes change, also those of a Buffer', () => {
    const seal = Buffer.from(WAL_SEAL_HEX, 'hex');
    const { identity, wal } = decode(seal);
    seal.fill(0xff);
    expect([identity, wal]).toEqual([IDENTITY, WAL_SEAL.wal]);
  });

  it('reports both checksums', () => {
    const seal = fromHex(WAL_SEAL_HEX);
    seal[30] ^= 1;
    const finding = expect.objectContaining({ expected: 'crc32:9944d2dc', found: expect.stringMatching(/^crc32:/) });
    expect(() => decode(seal)).toThrow(expect.objectContaining({ findings: [finding] }));
  });

  it('gives a value or a typed error for 20,000 mutations with corrected checksums', () => {
    const table = encodeSeal({ ...WAL_SEAL, kind: 'table', owner: { hostPid: 'a:1' } });
    const decodeFixed = (bytes: Uint8Array) => {
      if (bytes.length < 20) return decodeSeal(bytes, 0, bytes.length);
      const fixed = bytes.slice();
      fixed.set(fromHex('8953484c5345414c'), fixed.length - 8);
      new DataView(fixed.buffer).setUint32(fixed.length - 20, fixed.length);
      return decode(withCrc(fixed));
    };
    const result = fuzzDecoder([fromHex(WAL_SEAL_HEX), table], decodeFixed, { runs: 20_000, seed: 19 });
    expect(result.refused).toBeGreaterThan(3_000);
    expect(result.accepted).toBeGreaterThan(3_000);
  });
});

describe('the seal of a manifest', () => {
  const sealed = appendManifestSeal(MANIFEST, MANIFEST_SEAL);

  it('is after the body and changes nothing in it', () => {
    expect(toHex(sealed.subarray(0, MANIFEST.length))).toBe(toHex(MANIFEST));
    expect(sealed.length).toBe(MANIFEST.length + 181);
    const { manifest, bodyBytes } = decodeManifest(sealed);
    expect(bodyBytes).toBe(MANIFEST.length);
    expect(manifest).toEqual(decodeManifest(MANIFEST).manifest);
    expect(findManifestSeal(sealed)).toEqual({ start: bodyBytes, end: sealed.length });
  });

  it('holds the hash of the body', () => {
    const seal = decodeManifestSeal(sealed, MANIFEST.length, 'manifest')!;
    expect(seal.manifest).toEqual({ ...MANIFEST_SEAL.manifest, bodyHash: xxHash32(MANIFEST, 0, MANIFEST.length) });
  });

  it('is absent when the object ends with its body', () => {
    expect(decodeManifestSeal(MANIFEST, MANIFEST.length, 'manifest')).toBeUndefined();
    expect(findManifestSeal(MANIFEST)).toBeUndefined();
  });

  it('of a compactions file needs no manifest record', () => {
    const body = goldenBytes('slatedb-0.17.0/compacted', 'db/compactions/00000000000000000013.compactions');
    const object = appendManifestSeal(body, { kind: 'compactions', identity: IDENTITY });
    expect(object.length).toBe(body.length + 106);
    const { bodyBytes } = decodeCompactions(object);
    expect(decodeManifestSeal(object, bodyBytes, 'compactions')?.identity).toEqual(IDENTITY);
    expect(() => decodeManifestSeal(object, bodyBytes, 'manifest')).toThrow(BAD_SEAL);
    object[10] ^= 1;
    expect(() => decodeManifestSeal(object, bodyBytes, 'compactions')).toThrow(code('BAD_CHECKSUM'));
  });

  it('distinguishes a damaged body from a damaged seal, for every bit', () => {
    for (let bit = 0; bit < 8 * sealed.length; bit++) {
      const damaged = sealed.slice();
      damaged[bit >> 3] ^= 1 << (bit & 7);
      const inBody = bit < 8 * MANIFEST.length;
      const read = () => decodeManifestSeal(damaged, MANIFEST.length, 'manifest');
      const at = { unit: 'object', offset: 0, length: sealed.length };
      const findings = [expect.objectContaining({ code: 'BAD_CHECKSUM', at })];
      if (inBody) expect(read).toThrow(expect.objectContaining({ findings }));
      else expect(read).toThrow(expect.objectContaining({ kind: 'corruption' }));
    }
    const owner = sealed.slice();
    owner[MANIFEST.length + 20] ^= 1;
    expect(() => decodeManifestSeal(owner, MANIFEST.length, 'manifest')).toThrow(BAD_SEAL);
  });

  it('that is no seal, or not all there is after the body, is bad', () => {
    const surplus = concatBytes(MANIFEST, Uint8Array.of(1, 2, 3));
    expect(() => decodeManifestSeal(surplus, MANIFEST.length, 'manifest')).toThrow(BAD_SEAL);
    const between = concatBytes(MANIFEST, Uint8Array.of(1), sealed.subarray(MANIFEST.length));
    expect(() => decodeManifestSeal(between, MANIFEST.length, 'manifest')).toThrow(BAD_SEAL);
    expect(() => decodeManifestSeal(sealed.slice(0, -1), MANIFEST.length, 'manifest')).toThrow(BAD_SEAL);
  });

  it('is not looked for where its length cannot be right', () => {
    const damaged = sealed.slice();
    new DataView(damaged.buffer).setUint32(damaged.length - 20, sealed.length - 1);
    expect(findManifestSeal(damaged)).toBeUndefined();
    new DataView(damaged.buffer).setUint32(damaged.length - 20, 19);
    expect(findManifestSeal(damaged)).toBeUndefined();
    expect(findManifestSeal(sealed.subarray(-20))).toBeUndefined();
    const least = sealed.slice(-22);
    new DataView(least.buffer).setUint32(2, 20);
    expect(findManifestSeal(least)).toEqual({ start: 2, end: 22 });
    new DataView(least.buffer).setUint32(2, 21);
    expect(findManifestSeal(least)).toBeUndefined();
  });
});
