/** Sidecars and the identity of a database: form, versions, and every single bit that is damaged. */
import { describe, expect, it } from 'vitest';
import { fromHex } from '../../../src/common/bytes.ts';
import { isCorruption } from '../../../src/common/errors.ts';
import { crc32 } from '../../../src/format/checksum.ts';
import { decodeIdentity, decodeSidecar, encodeIdentity, encodeSidecar } from '../../../src/format/sidecar.ts';
import { fuzzDecoder } from '../../support/mutations.ts';

const code = (name: string) => expect.objectContaining({ code: name });
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (b: Uint8Array) => new TextDecoder().decode(b);

const IDENTITY = {
  databaseId: fromHex('5a6c1e0f3b7d4c2e9a10b1c2d3e4f506'),
  createdAtMs: 1795168418650,
  creator: 'shaledb 0.1.0',
  separateWalStore: true,
};

describe('sidecar', () => {
  it('is one line of kind, version, checksum and length, then JSON', () => {
    const json = '{"a":"\u00fc"}';
    const crc = crc32(bytes(json)).toString(16).padStart(8, '0');
    expect(text(encodeSidecar('damage', 1, { a: '\u00fc' }))).toBe(`shaledb/damage 1 ${crc} 10\n${json}`);
  });

  it('gives back version and value', () => {
    const value = { list: [1, 'x', null, { deep: true }] };
    expect(decodeSidecar(encodeSidecar('store-profile', 1, value), 'store-profile')).toEqual({ version: 1, value });
  });

  it('of another kind, or none at all, is refused', () => {
    const other = encodeSidecar('plan', 1, {});
    for (const bad of [
      other,
      bytes(''),
      bytes('{}'),
      bytes('shaledb/report 1 00000000 0'),
      bytes(`${'x'.repeat(300)}\n`),
    ]) {
      expect(() => decodeSidecar(bad, 'report')).toThrow(code('BAD_MAGIC'));
    }
  });

  it('that is cut or has a flipped bit in its content is refused', () => {
    const good = encodeSidecar('plan', 1, { key: 'value' });
    const start = good.indexOf(10) + 1;
    for (let n = start; n < good.length; n++) {
      expect(() => decodeSidecar(good.slice(0, n), 'plan')).toThrow(code('TRUNCATED'));
      const flipped = good.slice();
      flipped[n] ^= 4;
      expect(() => decodeSidecar(flipped, 'plan')).toThrow(code('BAD_CHECKSUM'));
    }
  });

  it('with a sound checksum over no JSON is malformed', () => {
    for (const body of [bytes('{'), bytes(''), Uint8Array.of(0x22, 0xff, 0x22), bytes('['.repeat(200_000))]) {
      const crc = crc32(body).toString(16).padStart(8, '0');
      const object = new Uint8Array([...bytes(`shaledb/plan 1 ${crc} ${body.length}\n`), ...body]);
      expect(() => decodeSidecar(object, 'plan')).toThrow(code('MALFORMED'));
    }
  });

  it('of a higher version is of a newer program', () => {
    const newer = encodeSidecar('plan', 2, {});
    expect(() => decodeSidecar(newer, 'plan')).toThrow(code('FORMAT_TOO_NEW'));
    expect(decodeSidecar(newer, 'plan', 2).version).toBe(2);
  });

  it('with any bit of its first line flipped is damage, its version included', () => {
    for (const version of [1, 2, 4, 7, 8] as const) {
      const good = encodeSidecar('plan', version, { key: 'value' });
      for (let bit = 0; bit < 8 * good.indexOf(10); bit++) {
        const flipped = good.slice();
        flipped[bit >> 3] ^= 1 << (bit & 7);
        let error: unknown;
        try {
          decodeSidecar(flipped, 'plan', version);
        } catch (e) {
          error = e;
        }
        expect(isCorruption(error), `version ${version}, bit ${bit}`).toBe(true);
      }
    }
  });

  it('of another version than was written is damage', () => {
    for (const [written, isVersion] of [
      [1, ['0', '2', '3', '9', '10', '01']],
      [2, ['0', '1', '3', '02']],
    ] as const) {
      const good = text(encodeSidecar('plan', written, {}));
      for (const version of isVersion) {
        const other = bytes(good.replace(` ${written} `, ` ${version} `));
        expect(() => decodeSidecar(other, 'plan', 2)).toThrow(code('BAD_CHECKSUM'));
      }
    }
  });

  it('gives a value or a typed error for 20,000 mutations', () => {
    const result = fuzzDecoder([encodeIdentity(IDENTITY)], decodeIdentity, { runs: 20_000, seed: 18 });
    expect(result.refused).toBeGreaterThan(10_000);
  });
});

describe('database identity', () => {
  it.each([
    { ...IDENTITY, createdAtMs: 1795168418650.5 },
    { ...IDENTITY, createdAtMs: Number.NaN },
    { ...IDENTITY, databaseId: new Uint8Array(15) },
  ])('that could not be read back is not made', (identity) => {
    expect(() => encodeIdentity(identity)).toThrow(code('INVARIANT'));
  });

  it('round-trips', () => {
    expect(decodeIdentity(encodeIdentity(IDENTITY))).toEqual(IDENTITY);
  });

  it('writes bytes as base64url and 64-bit numbers as decimal strings', () => {
    const json = text(encodeIdentity(IDENTITY)).split('\n')[1];
    expect(JSON.parse(json)).toEqual({
      databaseId: 'WmweDzt9TC6aELHC0-T1Bg',
      createdAtMs: '1795168418650',
      creator: 'shaledb 0.1.0',
      separateWalStore: true,
    });
  });

  it.each([
    ['without an id', { databaseId: undefined }],
    ['with a short id', { databaseId: 'WmweDzt9TC4' }],
    ['with a number for a time', { createdAtMs: 5 }],
    ['with a time that is none', { createdAtMs: '5x' }],
    ['with a time beyond 2^53', { createdAtMs: '9999999999999999' }],
    ['without a creator', { creator: undefined }],
    ['without a word on the WAL store', { separateWalStore: 'yes' }],
  ])('%s is malformed', (_, change) => {
    const json = JSON.parse(text(encodeIdentity(IDENTITY)).split('\n')[1]);
    expect(() => decodeIdentity(encodeSidecar('identity', 1, { ...json, ...change }))).toThrow(code('MALFORMED'));
  });

  it('that is no object is malformed, one with more members is fine', () => {
    for (const value of [null, 5, 'x', []]) {
      expect(() => decodeIdentity(encodeSidecar('identity', 1, value))).toThrow(code('MALFORMED'));
    }
    const json = JSON.parse(text(encodeIdentity(IDENTITY)).split('\n')[1]);
    expect(decodeIdentity(encodeSidecar('identity', 1, { ...json, later: 1 }))).toEqual(IDENTITY);
  });
});
