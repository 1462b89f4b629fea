/** Merges between the turns of an event loop that has other work, and of one that has none. */
import { describe, expect, it } from 'vitest';
import type { Clock } from '../../../src/common/clock.ts';
import { type MergeHost, SlicedMerges } from '../../../src/compaction/merge-host.ts';
import { sealsOf } from '../../../src/compaction/output-seal.ts';
import { NO_CODEC } from '../../../src/format/codecs.ts';
import { planOver, stretchesOf, tableOfModel } from '../../support/merge-inputs.ts';

/** Each look at the clock takes 0.02 ms, each turn what others do in it. */
function clockOf(turnMs: number): Clock & { turns: number } {
  let nowMs = 0;
  return {
    turns: 0,
    nowMs: () => 1_700_000_000_000,
    monotonicMs: () => (nowMs += 0.02),
    setTimer: () => ({ cancel() {}, setRef() {} }),
    yieldToLoop() {
      this.turns++;
      nowMs += turnMs;
      return Promise.resolve();
    },
  };
}

async function turnsOf(turnMs: number, isUrgent: boolean): Promise<number> {
  const clock = clockOf(turnMs);
  const merges = new SlicedMerges(clock, () => isUrgent);
  const versions = Array.from({ length: 60_000 }, (_, i) => ({
    key: `key-${String(i).padStart(6, '0')}`,
    seq: i + 1,
    kind: 'put' as const,
    value: 'v',
    expires: undefined,
    created: undefined,
  }));
  const table = tableOfModel(versions);
  const plan = planOver([[table]], { output: { ...planOver([[table]]).output, maxSstBytes: 1 << 24 } });
  const settings = { plan, rowsExpected: 60_000, rowBytes: 30, partBytes: 1 << 24, resume: undefined };
  const host: MergeHost = merges.start({
    settings,
    codecs: new Map([['none', NO_CODEC]]),
    operator: undefined,
    filter: undefined,
    operatorModule: undefined,
    filterModule: undefined,
    needsOperator: false,
    signal: new AbortController().signal,
    seals: sealsOf(plan),
  });
  const [stretch] = stretchesOf(table, 0, () => 100_000);
  const merged = await (async () => {
    for (let isFed = false; ; ) {
      const event = await host.next();
      if (event.kind !== 'need') return event.kind;
      if (isFed) host.end(0);
      else host.feed(0, stretch!);
      isFed = true;
      if (clock.turns > 0) return 'turns';
    }
  })();
  expect(['part', 'turns']).toContain(merged);
  host.close();
  return clock.turns;
}

describe('a merge in slices', () => {
  it('gives others one turn after each slice if they need no more', async () => {
    const idle = await turnsOf(0, false);
    expect(idle).toBeGreaterThan(0);
    expect(await turnsOf(0, true)).toBe(idle);
  });

  it('gives others twice the time of a slice if they need it, and less where writers would have to wait soon', async () => {
    const idle = await turnsOf(0, false);
    const busy = await turnsOf(0.5, false);
    const urgent = await turnsOf(0.5, true);
    expect(busy).toBeGreaterThan(5 * idle);
    expect(urgent).toBeLessThan(busy / 3);
  });
});
