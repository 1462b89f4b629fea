/** Rows of scans as data: what JSON and copies make of them. */
import { expect, it } from 'vitest';
import { forJson, Row } from '../../../../src/lsm/read/scan-row.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

it('a row is JSON: bytes in base64url, the number in digits, what is absent left out', () => {
  const row = new Row(bytes('key?>'), bytes('v'), 2n ** 60n);
  expect(JSON.parse(JSON.stringify(row))).toEqual({ key: 'a2V5Pz4', value: 'dg', seq: '1152921504606846976' });
  Object.assign(row, { expireTs: 7, possiblyStale: true });
  expect(JSON.parse(JSON.stringify([row]))).toEqual([
    { key: 'a2V5Pz4', value: 'dg', seq: '1152921504606846976', expireTs: 7, possiblyStale: true },
  ]);
});

it('decoded keys and values stay as they are, but for bytes in arrays', () => {
  const row = new Row(['a', 1, bytes('b')], { name: 'x' }, 1n);
  expect(JSON.parse(JSON.stringify(row))).toEqual({ key: ['a', 1, 'Yg'], value: { name: 'x' }, seq: '1' });
  expect(forJson('text')).toBe('text');
});

it('a row can be copied to another thread, and has no member that it does not show', () => {
  const row = new Row(bytes('k'), bytes('v'), 5n);
  expect(structuredClone(row)).toEqual({ key: bytes('k'), value: bytes('v'), seq: 5n });
  expect(Object.keys(row)).toEqual(['key', 'value', 'seq']);
});
