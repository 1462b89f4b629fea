/** Databases whose objects are damaged at rest: what reads, openings and repairs give, and what they never give. */
import { describe, it } from 'vitest';
import { expectAllRight, expectRepeats, expectRight } from './damage-suite.ts';
import { FAILED_DAMAGE_SEEDS } from './failing-seeds.ts';

const RUNS = 200;
const MUST_REACH = [
  'get flagged',
  'get rejected',
  'keys in the ledger',
  'losses in the ledger',
  'manifestRepair: reconstructed',
  'opening refused: BAD_CHECKSUM',
  'opening refused: CHAIN_BREAK',
  'recovered by itself',
  'sstRepair cut off',
  'sstRepair: reconstructed',
  'sstRepair: salvaged',
  'walRepair cut off',
  'walRepair: healed',
  'walRepair: salvaged',
];

describe('damage at rest', () => {
  it('never shows a wrong value, a deleted key or an unflagged old one, before repairs that are cut off and after', async () => {
    await expectAllRight('damage', RUNS, MUST_REACH);
  });

  it.each(FAILED_DAMAGE_SEEDS)('of seed %d, where %s, is judged right', async (seed) => {
    await expectRight('damage', seed);
  });

  it('is the same every time a seed is run', async () => {
    await expectRepeats('damage', 20);
  });
});
