/** The filter block: legacy and composite form, and which of them is believed whatever the mark says. */
import { describe, expect, it } from 'vitest';
import { concatBytes, fromHex, toHex } from '../../../src/common/bytes.ts';
import { decodeFilter, encodeFilter } from '../../../src/format/filter.ts';

const BLOOM = fromHex('0006957d3018');
/** A filter that contains nothing, for other policies. */
const OTHER = fromHex('000600000000');

function named(name: string, data: Uint8Array): Uint8Array {
  const bytes = new TextEncoder().encode(name);
  return concatBytes(Uint8Array.of(0, bytes.length), bytes, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, data.length), data);
}

function composite(...filters: Uint8Array[]): Uint8Array {
  return concatBytes(Uint8Array.of(0, filters.length), ...filters);
}

describe('encodeFilter', () => {
  it('legacy is the filter alone', () => {
    expect(encodeFilter('legacy', BLOOM)).toBe(BLOOM);
  });

  it('composite is a list of one named filter', () => {
    expect(toHex(encodeFilter('composite', BLOOM))).toBe('000100035f626600000000000000060006957d3018');
  });
});

describe('decodeFilter', () => {
  it.each([
    ['legacy', BLOOM],
    ['composite', composite(named('_bf', BLOOM))],
    ['composite', composite(named('_bf:p=px', OTHER), named('_bf', BLOOM))],
    ['composite', composite(named('_bf', BLOOM), named('_bf:p=px:wh=0', OTHER))],
  ] as const)('finds the filter over whole keys in a %s payload', (form, payload) => {
    expect(toHex(decodeFilter(payload, form)!.bits)).toBe('957d3018');
    expect(decodeFilter(payload, form)!.probes).toBe(6);
  });

  it('takes a payload marked legacy for composite if it parses completely as such', () => {
    expect(toHex(decodeFilter(composite(named('_bf', BLOOM)), 'legacy')!.bits)).toBe('957d3018');
    // A composite list without a known filter must not be probed as if it were bits.
    expect(decodeFilter(composite(named('_bf:p=px', BLOOM)), 'legacy')).toBeUndefined();
  });

  it.each([
    ['only filters of other policies', composite(named('_bf:p=px', BLOOM), named('bf', BLOOM), named('_bf2', BLOOM))],
    ['no filters', composite()],
    ['surplus bytes', concatBytes(composite(named('_bf', BLOOM)), Uint8Array.of(0))],
    ['a cut filter', composite(named('_bf', BLOOM)).subarray(0, 20)],
    ['a data length beyond the end', fromHex('000100035f6266ffffffffffffffff0006957d3018')],
    ['a cut name', fromHex('00010003')],
    ['nothing at all', fromHex('')],
    ['a filter of no keys', composite(named('_bf', fromHex('0006')))],
  ])('does not use a composite payload with %s', (_what, payload) => {
    expect(decodeFilter(payload, 'composite')).toBeUndefined();
  });

  it.each(['', '00', '0006', '0000'])('does not use the legacy payload "%s"', (hex) => {
    expect(decodeFilter(fromHex(hex), 'legacy')).toBeUndefined();
  });
});
