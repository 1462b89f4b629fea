/** Repairs beside a writer that lives, is suspended and wakes up: what was acknowledged counts, and nothing goes back. */
import { describe, it } from 'vitest';
import { expectAllRight, expectRepeats, expectRight } from './damage-suite.ts';
import { FAILED_BESIDE_SEEDS } from './failing-seeds.ts';

const RUNS = 150;
const MUST_REACH = [
  'acknowledged beside a repair',
  'fenced by a repair',
  'fenced by a repair, noticed afterwards',
  'manifestRepair beside a writer: reconstructed',
  'sstRepair beside a writer: reconstructed',
  'sstRepair beside a writer: salvaged',
  'sstRepair beside a writer rejects: LIVE_WRITER',
  'sstRepair beside a writer rejects: WRITER_FENCED',
  'sstRepair cut off beside a writer',
  'walRepair beside a writer: salvaged',
  'walRepair cut off beside a writer',
];

describe('repairs beside a live writer', () => {
  it('lose nothing that was acknowledged and fence it for good, also when it or they are suspended', async () => {
    await expectAllRight('beside', RUNS, MUST_REACH);
  });

  it.each(FAILED_BESIDE_SEEDS)('of seed %d, where %s, are judged right', async (seed) => {
    await expectRight('beside', seed);
  });

  it('are the same every time a seed is run', async () => {
    await expectRepeats('beside', 10);
  });
});
