/** Options of the roles beside a writer, and that each of them reaches its role. */
import { describe, expect, it } from 'vitest';
import { resolveOpenOptions } from '../../src/upkeep-roles.ts';
import { thrown } from '../support/database.ts';

const gcOf = (gc: unknown) => resolveOpenOptions({ gc }, 'o').upkeep.gc;
const compactorOf = (compactor: unknown) => resolveOpenOptions({ compactor }, 'o').upkeep.compactor;
const faultsOf = (gc: unknown) => refusalOf(() => gcOf(gc));
const refusalOf = (call: () => unknown) => {
  const error = thrown(call);
  expect(error).toMatchObject({ kind: 'invalid', code: 'BAD_OPTION' });
  return error.details['faults'];
};

describe('the option gc', () => {
  it('is on where nothing is said, with the defaults of each member', () => {
    const defaults = {
      minAgeMs: 300_000,
      fences: 'keep',
      recentManifests: 3,
      boundaryFiles: 'raise',
      intervalMs: 600_000,
      dryRun: false,
    };
    expect(resolveOpenOptions(undefined, 'o').upkeep.gc).toEqual(defaults);
    expect(gcOf({})).toEqual(defaults);
    expect(gcOf({ recentManifests: 5 })).toEqual({ ...defaults, recentManifests: 5 });
  });

  it('switches the collector off', () => {
    expect(gcOf(false)).toBeUndefined();
  });

  it('takes every option of a collector', () => {
    const all = {
      minAgeMs: 1,
      fences: 'collect',
      recentManifests: 9,
      boundaryFiles: 'off',
      intervalMs: 10_000,
      dryRun: true,
    };
    expect(gcOf({ ...all, allowUnsafeMinAge: true })).toEqual(all);
  });

  it.each<[string, unknown, string]>([
    ['a switch that is no switch', true, 'gc must be false or a plain object with any of minAgeMs, '],
    ['null', null, 'gc must be false or a plain object'],
    [
      'an age at which a stalled writer could lose rows',
      { minAgeMs: 179_999 },
      'gc.minAgeMs must be a whole number from 180000',
    ],
    ['a negative age', { minAgeMs: -1, allowUnsafeMinAge: true }, 'gc.minAgeMs must be a whole number from 0'],
    ['an interval that is none', { intervalMs: 9999 }, 'gc.intervalMs must be a whole number from 10000'],
    ['no manifest to keep', { recentManifests: 0 }, 'gc.recentManifests must be a whole number from 1 to 1000'],
    ['an unknown word', { fences: 'delete' }, 'gc.fences must be one of keep, collect, not "delete"'],
    ['a name that is misspelt', { minAge: 5 }, 'gc.minAge is unknown (did you mean minAgeMs?)'],
  ])('is refused with %s', (_, gc, fault) => {
    expect(faultsOf(gc)).toEqual([expect.stringContaining(fault)]);
  });

  it('is refused together with all other faults of the call', () => {
    const call = () => resolveOpenOptions({ timeoutMs: 0, gc: { minAgeMs: 5, dryRun: 1 } }, 'o');
    expect(thrown(call).details['faults']).toEqual([
      expect.stringMatching(/^timeoutMs must be/),
      expect.stringMatching(/^gc\.dryRun must be/),
      expect.stringMatching(/^gc\.minAgeMs must be/),
    ]);
  });
});

describe('the option compactor', () => {
  const defaults = {
    minCompactionSources: 4,
    maxCompactionSources: 8,
    includeSizeThreshold: 4,
    sortedRunConsolidationThreshold: 8,
    maxSpaceAmplification: 1,
    maxConcurrentCompactions: 4,
    maxSubcompactions: 'auto',
    maxSstBytes: 256 * 1024 * 1024,
    bytesPerSecond: undefined,
    maxRequestsInFlight: 8,
    verifyOutputs: 'sample',
    threads: 'auto',
    compactionFilter: undefined,
    filterModule: undefined,
    trivialMoves: false,
    scheduler: undefined,
  };

  it('is on where nothing is said, with the defaults of each member', () => {
    expect(resolveOpenOptions(undefined, 'o').upkeep.compactor).toEqual(defaults);
    expect(compactorOf({ maxSstBytes: 1 << 20 })).toEqual({ ...defaults, maxSstBytes: 1 << 20 });
  });

  it('switches the compactor off', () => {
    expect(compactorOf(false)).toBeUndefined();
  });

  it('takes every option of a compactor', () => {
    const all = {
      minCompactionSources: 2,
      maxCompactionSources: 3,
      includeSizeThreshold: 1.5,
      sortedRunConsolidationThreshold: 0,
      maxSpaceAmplification: 0.5,
      maxConcurrentCompactions: 1,
      maxSubcompactions: 2,
      maxSstBytes: 1 << 20,
      bytesPerSecond: 1 << 20,
      maxRequestsInFlight: 3,
      verifyOutputs: 'all',
      threads: 3,
      trivialMoves: false,
      compactionFilter: { decide: () => 'keep' },
      scheduler: () => ({ proposals: [] }),
    };
    expect(compactorOf(all)).toEqual({ ...all, filterModule: undefined });
  });

  it('takes a filter by its module', () => {
    const place = new URL('file:///place/filter.js');
    const filterModule = { module: place.href, export: 'default' };
    const known = { ...defaults, filterModule };
    expect(compactorOf({ compactionFilter: { module: place } })).toEqual(known);
    expect(compactorOf({ compactionFilter: { module: '/place/filter.js', export: 'default' } })).toEqual(known);
    // An object that can decide is the filter, whatever else it has.
    const compactionFilter = { decide: () => 'keep', module: 'mine' };
    expect(compactorOf({ compactionFilter })).toEqual({ ...defaults, compactionFilter });
  });

  it.each<[string, unknown, string]>([
    [
      'a switch that is no switch',
      true,
      'compactor must be false or a plain object with any of minCompactionSources, ',
    ],
    ['a single source', { minCompactionSources: 1 }, 'compactor.minCompactionSources must be a whole number from 2'],
    ['more sources at least than at most', { minCompactionSources: 9 }, 'compactor.minCompactionSources (9) must not'],
    ['a share below one', { includeSizeThreshold: 0.5 }, 'compactor.includeSizeThreshold must be a number from 1 to'],
    ['no threads', { threads: 0 }, 'compactor.threads must be auto, off or a whole number from 1 to 64, not 0'],
    [
      'threads by another word',
      { threads: 'on' },
      'compactor.threads must be auto, off or a whole number from 1 to 64',
    ],
    [
      'a module by a relative path',
      { compactionFilter: { module: './filter.js' } },
      'compactor.compactionFilter.module must be a URL or an absolute path, not "./filter.js"',
    ],
    [
      'a module and something else',
      { compactionFilter: { module: '/filter.js', name: 'x' } },
      'compactor.compactionFilter.name is unknown',
    ],
    [
      'an export without a name',
      { compactionFilter: { module: '/filter.js', export: '' } },
      'compactor.compactionFilter.export must be the name of an export',
    ],
    ['no number', { maxSpaceAmplification: Number.NaN }, 'compactor.maxSpaceAmplification must be a number from 0.1'],
    [
      'a filter that cannot decide',
      { compactionFilter: {} },
      'compactor.compactionFilter must be an object with decide()',
    ],
    ['an unknown word', { verifyOutputs: 'none' }, 'compactor.verifyOutputs must be one of sample, all, not "none"'],
    ['a name that is misspelt', { maxSstByte: 5 }, 'compactor.maxSstByte is unknown (did you mean maxSstBytes?)'],
  ])('is refused with %s', (_, compactor, fault) => {
    expect(refusalOf(() => compactorOf(compactor))).toEqual([expect.stringContaining(fault)]);
  });
});
