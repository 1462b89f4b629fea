/** What a collector may be set to. */
import { describe, expect, it } from 'vitest';
import { optionFaults, readOptions } from '../../../src/common/option-checks.ts';
import { GC_CHECKS, gcFaults, gcSettings } from '../../../src/gc/settings.ts';
import { thrown } from '../../support/database.ts';

function resolve(options: unknown) {
  const { given, faults } = readOptions('gc', options, GC_CHECKS);
  faults.push(...gcFaults(given));
  if (faults.length > 0) throw optionFaults('gc', faults, GC_CHECKS);
  return gcSettings(given);
}

describe('a collector', () => {
  it('keeps fences, three manifests and what is newer than five minutes', () => {
    expect(resolve(undefined)).toEqual({
      minAgeMs: 300_000,
      fences: 'keep',
      recentManifests: 3,
      boundaryFiles: 'raise',
    });
  });

  it('does what is said', () => {
    const said = { minAgeMs: 180_000, fences: 'collect', recentManifests: 1, boundaryFiles: 'off' };
    expect(resolve(said)).toEqual(said);
  });

  it.each([
    [
      { minAgeMs: 179_999 },
      'minAgeMs must be a whole number from 180000 to 2147483647 (from 0 with allowUnsafeMinAge), not 179999',
    ],
    [{ minAgeMs: 0, allowUnsafeMinAge: false }, 'not 0'],
    [{ minAgeMs: -1, allowUnsafeMinAge: true }, 'minAgeMs must be a whole number from 0 to 2147483647, not -1'],
    [{ minAgeMs: 1e12 }, 'not 1000000000000'],
    [{ fences: 'delete' }, 'fences must be one of keep, collect, not "delete"'],
    [{ recentManifests: 0 }, 'recentManifests must be a whole number from 1 to 1000, not 0'],
    [{ boundaryFiles: 'on' }, 'boundaryFiles must be one of raise, off, not "on"'],
    [{ minAge: 300_000 }, 'minAge is unknown (did you mean minAgeMs?)'],
  ])('refuses %j with its value and range', (options, fault) => {
    const error = thrown(() => resolve(options));
    expect(error).toMatchObject({ code: 'BAD_OPTION' });
    expect(error.message).toContain(fault);
  });

  it('takes a shorter age from a test that knows', () => {
    expect(resolve({ minAgeMs: 0, allowUnsafeMinAge: true })).toMatchObject({ minAgeMs: 0 });
  });
});
