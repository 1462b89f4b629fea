/** What a database does about the damage its reads meet: `operation outcome answer => rejects, counts`. */
import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/common/errors.ts';
import { type Finding, makeFinding, WHOLE_OBJECT } from '../../../src/common/finding.ts';
import { SILENT_LOGGER } from '../../../src/common/logger.ts';
import { CorruptionWatch, type MetCorruption } from '../../../src/db/corruption-watch.ts';
import { DamageRegister } from '../../../src/lsm/tree/damage-register.ts';

const FINDING: Finding = makeFinding({
  code: 'BAD_CHECKSUM',
  object: { role: 'table', path: 'compacted/x.sst', id: 'x', sealed: true },
  at: WHOLE_OBJECT,
});
const MET: MetCorruption = { operation: 'get', findings: [FINDING], outcome: 'possibly-stale' };

describe('a read that met damage', () => {
  it.each<[MetCorruption['operation'], MetCorruption['outcome'], unknown, string]>([
    ['get', 'error', undefined, 'rejects 0 1 0'],
    ['get', 'error', 'ignore', 'rejects 0 1 0'],
    ['get', 'possibly-stale', undefined, 'answers 1 0 0'],
    ['get', 'possibly-stale', 'error', 'rejects 0 1 0'],
    ['get', 'possibly-stale', Promise.resolve('error'), 'answers 1 0 0'],
    ['scan', 'skipped', undefined, 'answers 0 0 1'],
    ['scan', 'skipped', 'error', 'rejects 0 1 0'],
    // Its rows are counted as the scan gives them.
    ['scan', 'possibly-stale', undefined, 'answers 0 0 0'],
    ['scan', 'possibly-stale', 'error', 'rejects 0 1 0'],
    ['scan', 'error', undefined, 'rejects 0 1 0'],
  ])('%s %s %o => %s', (operation, outcome, answer, expected) => {
    const watch = new CorruptionWatch(new DamageRegister(), () => answer, SILENT_LOGGER);
    const does = watch.met({ ...MET, operation, outcome }) ? 'rejects' : 'answers';
    const { possiblyStale, errors, skipped } = watch.report().counts;
    expect([does, possiblyStale, errors, skipped].join(' ')).toBe(expected);
  });

  it('is shown to the function as it is, and listed once', () => {
    const seen: MetCorruption[] = [];
    const watch = new CorruptionWatch(new DamageRegister(), (met) => seen.push(met), SILENT_LOGGER);
    const met = { ...MET, key: Uint8Array.of(1) };
    watch.met(met);
    watch.met(met);
    expect([seen, watch.report().findings]).toEqual([[met, met], [FINDING]]);
  });

  it('ends as it would without the function, where that throws, and the log says so', () => {
    const errors: string[] = [];
    const logger = { ...SILENT_LOGGER, error: (message: string) => void errors.push(message) };
    const listener = () => {
      throw new Error('mine');
    };
    const watch = new CorruptionWatch(new DamageRegister(), listener, logger);
    expect([watch.met(MET), watch.met({ ...MET, outcome: 'error' })]).toEqual([false, true]);
    expect(errors).toEqual(['the onCorruption function threw', 'the onCorruption function threw']);
  });
});

describe('counts', () => {
  it('are of the moment, and those of a scan are added as it goes', () => {
    const watch = new CorruptionWatch(new DamageRegister(), undefined, SILENT_LOGGER);
    const before = watch.report();
    watch.staleRows(3);
    watch.staleRows(0);
    expect([before.counts.possiblyStale, watch.report().counts.possiblyStale]).toEqual([0, 3]);
  });

  it('never fall', () => {
    const watch = new CorruptionWatch(new DamageRegister(), undefined, SILENT_LOGGER);
    for (const rows of [-1, Number.NaN, 0.5]) expect(() => watch.staleRows(rows)).toThrow(InternalError);
    expect(watch.report().counts.possiblyStale).toBe(0);
  });
});
