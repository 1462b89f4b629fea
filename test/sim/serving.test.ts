/** Damage while a writer serves: what it reads, and that its writes and flushes go on. */
import { describe, it } from 'vitest';
import { expectAllRight, expectRepeats } from './damage-suite.ts';

const RUNS = 80;
const MUST_REACH = [
  'get flagged',
  'get rejected',
  'losses in the ledger',
  'manifestRepair: reconstructed',
  'served',
  'served over damage',
  'sstRepair: salvaged',
  'walRepair: salvaged',
];

describe('damage while a writer serves', () => {
  it('shows in typed errors and flagged values only, and stops no write, no flush and no close', async () => {
    await expectAllRight('serving', RUNS, MUST_REACH);
  });

  it('is the same every time a seed is run', async () => {
    await expectRepeats('serving', 10);
  });
});
