/** A value with what is known about it, as JSON. */
import { expect, it } from 'vitest';
import { FoundWithMeta } from '../../../src/db/found-with-meta.ts';

const value = new TextEncoder().encode('v');

it('is JSON: bytes in base64url, the number in digits, times that are not known left out', () => {
  const meta = { seq: 3n, createTs: 5, expireTs: undefined, possiblyStale: false, findings: [] };
  expect(JSON.parse(JSON.stringify(new FoundWithMeta(value, meta)))).toEqual({
    value: 'dg',
    seq: '3',
    createTs: 5,
    possiblyStale: false,
    findings: [],
  });
});

it('has its findings as plain data', () => {
  const finding = { code: 'BAD_CHECKSUM', keys: { gte: value } } as never;
  const meta = { seq: 3n, createTs: undefined, expireTs: 9, possiblyStale: true, findings: [finding] };
  const json = JSON.parse(JSON.stringify(new FoundWithMeta('text', meta)));
  expect(json).toMatchObject({ value: 'text', seq: '3', expireTs: 9, possiblyStale: true });
  expect(json.findings).toEqual([{ code: 'BAD_CHECKSUM', keys: { gte: { $bytes: 'dg' } } }]);
});
