/** Findings: each is data of its own. */
import { expect, it } from 'vitest';
import { makeFinding, WHOLE_OBJECT } from '../../../src/common/finding.ts';

it('a finding that its receiver changes leaves the others as they are', () => {
  const [one, other] = [0, 1].map(() => makeFinding({ code: 'MISSING_OBJECT', at: WHOLE_OBJECT }));
  one.at.offset = 7;
  expect([other.at, WHOLE_OBJECT]).toEqual([
    { unit: 'object', offset: 0, length: 0 },
    { unit: 'object', offset: 0, length: 0 },
  ]);
});
