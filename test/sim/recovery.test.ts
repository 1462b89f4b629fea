/** Openings that recover the log by themselves, cut off at any call, and what is written while they do. */
import { describe, it } from 'vitest';
import { expectAllRight, expectRepeats } from './damage-suite.ts';

const RUNS = 100;
const MUST_REACH = [
  'losses in the ledger',
  'read over damage',
  'recovered by itself',
  'recovery cut off',
  'walRepair cut off',
  'walRepair: salvaged',
  'written when recovered',
];

describe('openings that recover by themselves', () => {
  it('lose only what they report, wherever they are cut off, and write what waited for them once', async () => {
    await expectAllRight('recovery', RUNS, MUST_REACH);
  });

  it('are the same every time a seed is run', async () => {
    await expectRepeats('recovery', 10);
  });
});
