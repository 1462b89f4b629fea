/**
 * Which jobs live SlateDB 0.17 chooses on trees that nobody has seen before: the same as ours. The recorded ones, and why each is there, are
 * in test/unit/compaction.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { SeededRandom, SYSTEM_RANDOM } from '../../src/common/random.ts';
import { pickJobs } from '../../src/compaction/scheduler.ts';
import { describeWithSlateDb017 } from '../support/environment.ts';
import { randomCase } from '../support/random-trees.ts';
import { slateDb017 } from '../support/slatedb-017.ts';
import { askSlateDb } from '../support/slatedb-picks.ts';
import { picksOf } from '../support/tree-notation.ts';

const TREES = 6;
/** Without what SlateDB does not do. */
const NOTHING_ELSE = {
  sortedRunConsolidationThreshold: 0,
  maxSpaceAmplification: Number.POSITIVE_INFINITY,
  l0MaxSsts: 1000,
};

describeWithSlateDb017('jobs of compaction', () => {
  it('are the same on random trees', async () => {
    for (let i = 0; i < TREES; i++) {
      const seed = SYSTEM_RANDOM.nextUint32();
      const asked = randomCase(new SeededRandom(seed), { withOddities: false });
      const directory = mkdtempSync(join(tmpdir(), 'shaledb-picks-'));
      const { maxConcurrent: slots = 4, ...options } = asked.options ?? {};
      const ours = picksOf(pickJobs, asked.trees, { slots, options: { ...NOTHING_ELSE, ...options } });
      const theirs = await askSlateDb(slateDb017(), directory, asked);
      rmSync(directory, { recursive: true });
      expect(
        ours.map((text) => text.replace(/^\w+: /, '')).sort(),
        `npx vitest run --project slow test/interop/compaction-picks.test.ts, seed ${seed}: ${asked.trees}`,
      ).toEqual(theirs.sort());
    }
  });
});
