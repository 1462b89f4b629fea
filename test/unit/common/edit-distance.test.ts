/** The distance of names that suggestions go by. */
import { expect, it } from 'vitest';
import { editDistance } from '../../../src/common/edit-distance.ts';

it('counts letters to add, drop and change', () => {
  expect(editDistance('apply', 'apply')).toBe(0);
  expect(editDistance('aply', 'apply')).toBe(1);
  expect(editDistance('applyy', 'apply')).toBe(1);
  expect(editDistance('applu', 'apply')).toBe(1);
  expect(editDistance('sacn', 'scan')).toBe(1);
  expect(editDistance('snac', 'scan')).toBe(2);
  expect(editDistance('', 'plan')).toBe(4);
  expect(editDistance('kitten', 'sitting')).toBe(3);
});
