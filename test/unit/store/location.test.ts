/** Locations in memory: which of them are the same store. */
import { expect, it } from 'vitest';
import { resolveLocation } from '../../../src/store/location.ts';

const storeOf = async (location: string) => (await resolveLocation(location)).location.store;

it('a name is the same store each time, no name a new one', async () => {
  const one = await storeOf('memory:location-test');
  expect(await storeOf('memory:location-test')).toBe(one);
  expect(one.name).toBe('memory:location-test');
  expect(await storeOf('memory:location-test.2')).not.toBe(one);
  expect(await storeOf('memory:')).not.toBe(await storeOf('memory:'));
});

it.each(['memory:a/b', 'memory:a b', 'memory:?a', 'memory:%61', `memory:${'a'.repeat(101)}`])(
  '%s is refused',
  async (text) => {
    await expect(resolveLocation(text)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  },
);
