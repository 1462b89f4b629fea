/** What reads have met: no damage hides another one, and a later look at the same one replaces what was known. */
import { describe, expect, it } from 'vitest';
import { type FindingInput, makeFinding } from '../../../src/common/finding.ts';
import { DamageRegister } from '../../../src/lsm/tree/damage-register.ts';

const table = (id: string) => ({ role: 'table' as const, path: `compacted/${id}.sst`, id, sealed: true });

const ONE: FindingInput = {
  code: 'BAD_CHECKSUM',
  object: table('a'),
  at: { unit: 'block', index: 0, offset: 0, length: 100 },
};

describe('the register of damage', () => {
  it.each<[string, Partial<FindingInput>]>([
    ['another code', { code: 'MALFORMED' }],
    ['another table', { object: table('b') }],
    ['another block', { at: { unit: 'block', index: 1, offset: 100, length: 100 } }],
    ['another unit at the same offset', { at: { unit: 'rows', offset: 0, length: 100 } }],
  ])('keeps damage apart that has %s', (_, other) => {
    const register = new DamageRegister();
    const findings = [makeFinding(ONE), makeFinding({ ...ONE, ...other })];
    expect(findings.map((f) => register.note(f))).toEqual([true, true]);
    expect(register.findings).toEqual(findings);
  });

  it('replaces what is said of the same place, which is not new', () => {
    const register = new DamageRegister();
    const later = makeFinding({ ...ONE, found: 'more', remedy: 'heals' });
    expect([register.note(makeFinding(ONE)), register.note(later)]).toEqual([true, false]);
    expect(register.findings).toEqual([later]);
  });

  it('keeps losses of one object apart, which have ids of their own', () => {
    const register = new DamageRegister();
    const losses = ['l-1', 'l-2'].map((id) => ({ ...makeFinding({ ...ONE, code: 'LOST_DATA' }), id }));
    expect(losses.map((f) => register.note(f))).toEqual([true, true]);
  });

  it('forgets what no manifest names any more, and is bounded', () => {
    const register = new DamageRegister();
    for (let i = 0; i < 1100; i++) register.note(makeFinding({ ...ONE, at: { unit: 'block', offset: i, length: 1 } }));
    expect(register.findings).toHaveLength(1000);
    register.keepOnly(new Set([table('b').path]));
    expect(register.findings).toEqual([]);
  });
});
