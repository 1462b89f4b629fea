// Healing of sections, seals and manifests: one byte by the checksum alone, four in manifests by the hash of their body.
import { describe, expect, it } from 'vitest';
import { concatBytes, equalBytes, fromHex } from '../../../src/common/bytes.ts';
import { nextInt, SeededRandom } from '../../../src/common/random.ts';
import type { Ulid } from '../../../src/common/ulid.ts';
import type { Healed } from '../../../src/format/block-healing.ts';
import { loadCodec, NO_CODEC } from '../../../src/format/codecs.ts';
import { endSyndromes, errorsAt, errorWidth, syndromeOf } from '../../../src/format/crc-syndrome.ts';
import { CRC_BYTES, frameUnit, readCrc } from '../../../src/format/framing.ts';
import { appendManifestSeal, encodeSeal } from '../../../src/format/seal.ts';
import { type IdentityRecord, numberObjectId } from '../../../src/format/seal-records.ts';
import { healBytes, healManifest } from '../../../src/format/section-healing.ts';
import { TableBuilder } from '../../../src/format/table-builder.ts';
import { FOOTER_BYTES } from '../../../src/format/table-layout.ts';
import { burst } from '../../healing/trials.ts';
import { goldenBytes } from '../../support/golden-fixtures.ts';
import { randomRows } from './block-samples.ts';

const IDENTITY: IdentityRecord = {
  databaseId: fromHex('5a6c1e0f3b7d4c2e9a10b1c2d3e4f506'),
  objectId: numberObjectId(4),
  putId: '01M7Q5CQG10000000000000002' as Ulid,
  epoch: 1,
  role: 'writer',
  formatVersion: 0,
  codec: 'none',
  writtenAtMs: 1795168418650,
  newestManifestId: 4,
  software: [0, 1, 0],
};

function flip(bytes: Uint8Array, bit: number): Uint8Array {
  const out = bytes.slice();
  out[bit >>> 3] ^= 1 << (bit & 7);
  return out;
}

/** Heals from every single bit, or throws with the first that is not undone. */
function everyBit(stored: Uint8Array, heal: (damaged: Uint8Array) => Healed | undefined): Map<string, number> {
  const trusts = new Map<string, number>();
  for (let bit = 0; bit < 8 * stored.length; bit++) {
    const healed = heal(flip(stored, bit));
    if (healed === undefined || !equalBytes(healed.stored, stored) || healed.kind !== 'bit')
      throw new Error(`bit ${bit}`);
    if (healed.changes.length !== 1 || healed.changes[0].offset !== bit >>> 3) throw new Error(`change of bit ${bit}`);
    trusts.set(healed.trust, (trusts.get(healed.trust) ?? 0) + 1);
  }
  return trusts;
}

function tableSections(codec = NO_CODEC) {
  const builder = new TableBuilder({
    tableType: 'compacted',
    codec,
    rowsPerCheck: 0,
    blockBytes: 512,
    capacityBytes: 1000,
    filter: { form: 'composite', bitsPerKey: 10, minKeys: 0 },
  });
  for (const { key, value, seq, flags, createTs, expireTs } of randomRows(31, 40)) {
    builder.add(key, 0, key.length, value, 0, value.length, seq, flags, createTs, expireTs);
  }
  const { bytes, info } = builder.finish();
  const infoOffset = info.statsOffset + info.statsLength;
  return [
    ['index', bytes.slice(info.indexOffset, info.indexOffset + info.indexLength)],
    ['filter', bytes.slice(info.filterOffset, info.filterOffset + info.filterLength)],
    ['stats', bytes.slice(info.statsOffset, info.statsOffset + info.statsLength)],
    ['info', bytes.slice(infoOffset, bytes.length - FOOTER_BYTES)],
  ] as const;
}

describe('a section', () => {
  it.each(tableSections())('(%s) heals from every single bit, probably', (kind, stored) => {
    expect([...everyBit(stored, (damaged) => healBytes(damaged, kind)).keys()]).toEqual(['probable']);
    expect(healBytes(stored, kind)).toBeUndefined();
  });

  it('heals from nearly every byte', () => {
    const random = new SeededRandom(32);
    for (const [kind, stored] of tableSections()) {
      let exact = 0;
      for (let at = 0; at < stored.length; at++) {
        const damaged = stored.slice();
        damaged[at] ^= 1 + nextInt(random, 255);
        const healed = healBytes(damaged, kind);
        if (healed !== undefined && equalBytes(healed.stored, stored)) exact++;
      }
      expect(exact).toBe(stored.length);
    }
  });

  it('that is compressed heals, too, within its limit', async () => {
    const codec = await loadCodec('zlib');
    for (const [kind, stored] of tableSections(codec)) {
      const how = kind === 'info' ? {} : { codec };
      expect(healBytes(flip(stored, 50), kind, how)?.stored).toEqual(stored);
      if (kind !== 'info') expect(healBytes(flip(stored, 50), kind, { codec, maxBytes: 8 })).toBeUndefined();
    }
  });

  it('is left alone where the caller knows better, or wider damage is found', () => {
    const [[, index]] = tableSections();
    expect(healBytes(flip(index, 50), 'index', { fits: () => false })).toBeUndefined();
    const random = new SeededRandom(33);
    for (let trial = 0; trial < 500; trial++) {
      expect(healBytes(burst(random, index, 2 + nextInt(random, 20)), 'index')).toBeUndefined();
    }
    for (const length of [0, 3, 4, 5]) expect(healBytes(new Uint8Array(length).fill(9), 'index')).toBeUndefined();
  });
});

describe('a seal of a table', () => {
  const checks = new Uint32Array(30);
  for (let i = 0; i < checks.length; i++) checks[i] = Math.imul(i + 1, 0x9e3779b1);
  const stored = encodeSeal({
    kind: 'table',
    identity: { ...IDENTITY, formatVersion: 2 },
    lineage: { level: 'l0', minSeq: 1, maxSeq: 30, maxCreateTs: 5, rows: 30, replayAfterWalId: 3 },
    rows: { rowsPerCheck: 1, blockStoredBytes: [2000], blockRows: [30], checks },
  });

  it('heals from every single bit; its magic number is certain', () => {
    const trusts = everyBit(stored, (damaged) => healBytes(damaged, 'seal'));
    expect(trusts).toEqual(
      new Map([
        ['probable', 8 * (stored.length - 8)],
        ['proven', 64],
      ]),
    );
    expect(healBytes(stored, 'seal')).toBeUndefined();
  });

  it('gets its magic number back whatever happened to it', () => {
    const damaged = stored.slice();
    damaged.fill(0, stored.length - 8);
    expect(healBytes(damaged, 'seal')).toMatchObject({ stored, trust: 'proven', kind: 'bytes' });
  });

  it('is not made from wider damage or noise', () => {
    const random = new SeededRandom(34);
    for (let trial = 0; trial < 500; trial++) {
      expect(
        healBytes(burst(random, stored.subarray(), 2 + nextInt(random, 30), stored.length - 20), 'seal'),
      ).toBeUndefined();
      const noise = new Uint8Array(nextInt(random, 300));
      random.fill(noise);
      expect(healBytes(noise, 'seal')).toBeUndefined();
    }
  });
});

describe('a manifest', () => {
  const body = goldenBytes('slatedb-0.12.1/tiny', 'db/manifest/00000000000000000004.manifest');
  const sealed = appendManifestSeal(body, {
    kind: 'manifest',
    identity: IDENTITY,
    manifest: {
      previousManifestId: 3,
      previousDigest: new Uint8Array(16).fill(7),
      walTail: { id: 2, lastSeq: 3, digest: new Uint8Array(16).fill(8) },
      ledgerVersion: 0,
      isCleanClose: true,
      isRepair: false,
    },
  });

  it('heals from every single bit, in its body proven', () => {
    const trusts = everyBit(sealed, healManifest);
    expect(trusts.get('proven')).toBeGreaterThanOrEqual(8 * (body.length + 4 + 8));
    expect(trusts.get('probable')).toBeGreaterThan(8 * 60);
    expect(healManifest(sealed)).toBeUndefined();
  });

  it('heals from two to four bytes at every place of its body', () => {
    const random = new SeededRandom(35);
    for (let width = 2; width <= 4; width++) {
      for (let at = 0; at + width <= body.length; at++) {
        const damaged = sealed.slice();
        damaged.set(burst(random, sealed.subarray(at, at + width), width), at);
        const healed = healManifest(damaged);
        if (healed === undefined || !equalBytes(healed.stored, sealed)) throw new Error(`${width} bytes at ${at}`);
        expect(healed.trust).toBe('proven');
      }
    }
  });

  it('heals from four bytes in the hash of its body and in the length of its seal', () => {
    const hashAt = body.length + 6 + 80 + 6 + 24;
    const lengthAt = sealed.length - 20;
    for (const at of [hashAt, lengthAt]) {
      const damaged = sealed.slice();
      for (let i = 0; i < 4; i++) damaged[at + i] ^= 0x5a + i;
      expect(healManifest(damaged)).toMatchObject({ stored: sealed, trust: 'proven', kind: 'bytes' });
    }
  });

  it('is not called proven by a seal of which only the checksum says it', () => {
    const random = new SeededRandom(38);
    for (let trial = 0; trial < 3000; trial++) {
      const damaged = sealed.slice();
      const width = 2 + nextInt(random, 12);
      const at = body.length + nextInt(random, sealed.length - body.length - width);
      damaged.set(burst(random, sealed.subarray(at, at + width), width), at);
      const healed = healManifest(damaged);
      if (healed !== undefined && !equalBytes(healed.stored, sealed)) throw new Error(`${width} bytes at ${at}`);
    }
  });

  it('is not made from wider damage', () => {
    const random = new SeededRandom(36);
    for (let trial = 0; trial < 300; trial++) {
      const damaged = burst(random, sealed, 5 + nextInt(random, 100));
      const healed = healManifest(damaged);
      if (healed !== undefined) expect(equalBytes(healed.stored, sealed)).toBe(true);
    }
  });

  it('without a seal is none of its business, nor is noise', () => {
    for (let bit = 0; bit < 8 * body.length; bit += 3) expect(healManifest(flip(body, bit))).toBeUndefined();
    for (const length of [0, 11, 12, 13, 40]) expect(healManifest(new Uint8Array(length).fill(3))).toBeUndefined();
  });
});

describe('the syndrome', () => {
  it('names the error at its place, and only there', () => {
    const random = new SeededRandom(37);
    const payload = new Uint8Array(60);
    random.fill(payload);
    const stored = frameUnit(payload, NO_CODEC);
    expect(syndromeOf(stored, 60, readCrc(stored, 60))).toBe(0);
    for (let width = 1; width <= 4; width++) {
      for (let at = 0; at + width <= 60; at++) {
        const damaged = stored.slice();
        damaged.set(burst(random, stored.subarray(at, at + width), width), at);
        const errors = errorsAt(syndromeOf(damaged, 60, readCrc(damaged, 60)), 0, 60, 60);
        const part = concatBytes(damaged.slice(at, at + width), new Uint8Array(4 - width));
        for (let i = 0; i < width; i++) part[i] ^= stored[at + i];
        expect(errors[at]).toBe(new DataView(part.buffer).getUint32(0, true));
        expect(errorWidth(errors[at])).toBe(width);
      }
    }
  });

  it('of a part is that part of the whole', () => {
    const whole = errorsAt(0xdeadbeef, 0, 50, 60);
    expect(errorsAt(0xdeadbeef, 20, 40, 60)).toEqual(whole.slice(20, 40));
    expect(endSyndromes(1)[0]).toBe(0);
    expect(errorsAt(endSyndromes(2)[77] >>> 0, 8, 9, 10)[0]).toBe(77);
    expect([0, 1, 255, 256, 65_535, 65_536, 2 ** 24, 2 ** 32 - 1].map(errorWidth)).toEqual([0, 1, 1, 2, 2, 3, 4, 4]);
    expect(CRC_BYTES).toBe(4);
  });
});
