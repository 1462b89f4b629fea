// Test projects. `laws` holds the checks on the source itself (layering, determinism); it is part of `npm run check` too.
// `fuzz` feeds every decoder with damaged bytes; a nightly run does more of the same by `npm run fuzz`.
// `slow` starts servers and processes, and mostly waits for them: after the others, which compute. `live` is as slow, and longer.
import { defineConfig } from 'vitest/config';

const LIVE = 'test/interop/live-repair.test.ts';
/** Servers and processes take their time. */
const PATIENT = {
  globalSetup: ['test/support/global-setup.ts'],
  testTimeout: 300_000,
  hookTimeout: 300_000,
};

export default defineConfig({
  test: {
    // The default leaves one core idle, which is half of a small machine.
    maxWorkers: '100%',
    projects: [
      { test: { name: 'laws', include: ['test/laws/**/*.test.ts'], testTimeout: 60_000 } },
      {
        test: {
          name: 'fast',
          include: ['test/{unit,contract,property,db,tools,golden,types}/**/*.test.ts'],
          testTimeout: 60_000,
        },
      },
      { test: { name: 'fuzz', include: ['test/fuzz/**/*.test.ts'], testTimeout: 120_000 } },
      // Damages of whole databases, each judged; `npm run sweep` does all of them.
      { test: { name: 'sweep', include: ['test/sweep/**/*.test.ts'], testTimeout: 900_000 } },
      // The simulator: long computations.
      { test: { name: 'sim', include: ['test/sim/**/*.test.ts'], testTimeout: 300_000 } },
      {
        test: {
          name: 'slow',
          include: ['test/{integration,interop,crash}/**/*.test.ts'],
          exclude: [LIVE],
          ...PATIENT,
          sequence: { groupOrder: 1 },
        },
      },
      { test: { name: 'live', include: [LIVE], ...PATIENT } },
    ],
  },
});
