/** One damage in fifty of every kind, on every reference database; `npm run sweep` does all of them. */
import { describe, expect, it } from 'vitest';
import { DAMAGE_KINDS } from './damages.ts';
import { buildReference, REFERENCE_NAMES } from './references.ts';
import { faultsOf, SweepCounts, sweep } from './sweep.ts';

const EVERY = 50;
/** A prime, so that samples of flips meet all bits of a byte and not always the same. */
const EVERY_FLIP = 53;
const LIMIT_MS = 900_000;

describe.each(REFERENCE_NAMES)('the reference database %s', (name) => {
  it.each(DAMAGE_KINDS)(
    'gives no silent wrong answer and hides nothing from verify: every %s of a sample',
    async (kind) => {
      const reference = await buildReference(name);
      const counts = new SweepCounts();
      // Whole objects are few: all of them.
      const every = kind === 'flip' ? EVERY_FLIP : kind === 'cut' ? EVERY : 1;
      await sweep(reference, kind, { every, from: 7 }, counts);
      expect(counts.cases).toBeGreaterThan(0);
      expect(faultsOf(counts).slice(0, -1)).toEqual([]);
    },
    LIMIT_MS,
  );

  it('fits into 60 KB, and building it again gives the same bytes', async () => {
    const [first, second] = [await buildReference(name), await buildReference(name)];
    expect(second.objects).toEqual(first.objects);
    expect(first.objects.reduce((sum, o) => sum + o.bytes.length, 0)).toBeLessThanOrEqual(60_000);
  });
});
