/** How the memory of compaction is divided, between jobs and within one. */
import { describe, expect, it } from 'vitest';
import { divideMemory, JobMemoryPool } from '../../../src/compaction/job-memory.ts';

const MIB = 1024 * 1024;
const room = { stretches: 2, parts: 2 };
const needs = { inputs: 8, maxSstBytes: 256 * MIB, rowBytes: 100, room };

/** The least stretches and the least table: a share that is smaller is exceeded. */
const leastOf = (inputs: number, stretches: number) =>
  stretches * inputs * 64 * 1024 + 4 * 128 * 1024 + MIB + (MIB / 100) * 8;

describe('the memory of a job', () => {
  it('is enough for whole tables where there is plenty', () => {
    expect(divideMemory({ ...needs, shareBytes: 256 * MIB })).toEqual({
      stretchBytes: 4 * MIB,
      maxSstBytes: 256 * MIB,
      partBytes: MIB,
      holdBytes: 128 * MIB,
    });
  });

  it('makes smaller tables where it is little, and at last smaller stretches', () => {
    const few = divideMemory({ ...needs, shareBytes: 16 * MIB });
    expect(few.maxSstBytes).toBe(8 * MIB);
    expect(few.stretchBytes).toBeGreaterThan(64 * 1024);
    expect(divideMemory({ ...needs, shareBytes: MIB / 2 })).toMatchObject({
      maxSstBytes: MIB,
      stretchBytes: 64 * 1024,
    });
  });

  it('is kept to, as far as tables and stretches can be made smaller', () => {
    for (const shareBytes of [4, 8, 16, 32, 64, 128, 256].map((n) => n * MIB)) {
      for (const inputs of [1, 4, 8, 16]) {
        // As slices and as threads have it.
        for (const { stretches, parts } of [room, { stretches: 3, parts: 4 }]) {
          const given = { ...needs, inputs, shareBytes, room: { stretches, parts } };
          const { stretchBytes, maxSstBytes, partBytes, holdBytes } = divideMemory(given);
          const inMerge = stretches * inputs * stretchBytes + parts * partBytes;
          const used = inMerge + Math.min(maxSstBytes, holdBytes) + (maxSstBytes / 100) * 8;
          expect(used, `${shareBytes} for ${inputs}`).toBeLessThanOrEqual(
            Math.max(shareBytes, leastOf(inputs, stretches)),
          );
        }
      }
    }
  });

  it('does not make tables larger than they should be', () => {
    expect(divideMemory({ ...needs, maxSstBytes: 3 * MIB, shareBytes: 256 * MIB }).maxSstBytes).toBe(3 * MIB);
  });
});

describe('the memory of all jobs', () => {
  it('gives each three quarters of what is left, the last one all, and gets it back', () => {
    const pool = new JobMemoryPool(64, 4);
    expect([pool.take(), pool.take(), pool.take()]).toEqual([48, 12, 3]);
    pool.giveBack(48);
    expect([pool.take(), pool.take()]).toEqual([36, 13]);
    for (const bytes of [12, 3, 36, 13]) pool.giveBack(bytes);
    expect(pool.take()).toBe(48);
  });

  it('refuses a job more than may run', () => {
    const pool = new JobMemoryPool(64, 1);
    expect(pool.take()).toBe(64);
    expect(() => pool.take()).toThrow('no more jobs run than may');
  });
});
