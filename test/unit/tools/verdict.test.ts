/** What findings add up to: a verdict, an exit code, and what is said first. */
import { describe, expect, it } from 'vitest';
import { exitOfFindings, exitOfVerdict } from '../../../src/cli/exit-codes.ts';
import { findingCounts, findingsText, nextCommands } from '../../../src/cli/finding-text.ts';
import { PLAIN } from '../../../src/cli/paint.ts';
import { isCannotTell, unknownFinding } from '../../../src/common/damage.ts';
import {
  CorruptionError,
  IncompatibleError,
  InvalidArgumentError,
  UnavailableError,
} from '../../../src/common/errors.ts';
import { makeFinding, type Severity } from '../../../src/common/finding.ts';
import { verdictOf } from '../../../src/tools/reports.ts';

const object = { role: 'table' as const, path: 'compacted/x.sst', id: '01JC0000000000000000000000', sealed: false };
const view = { paint: PLAIN, columns: 100, redactKeys: false, location: 'file:///db' };
const of = (...severities: Severity[]) => severities.map((severity) => ({ severity }));

describe('findings add up to', () => {
  it.each<[string, Severity[], string, number]>([
    ['clean without any', [], 'clean', 0],
    ['clean with notes', ['note', 'note'], 'clean', 0],
    ['degraded with a warning', ['note', 'warning'], 'degraded', 1],
    ['unknown where something cannot be read, whatever warns besides', ['warning', 'unknown', 'note'], 'unknown', 8],
    ['corrupt with damage, whatever cannot be read besides', ['unknown', 'error', 'warning'], 'corrupt', 1],
  ])('%s', (_, severities, verdict, code) => {
    expect(verdictOf(of(...severities))).toBe(verdict);
    expect([exitOfFindings(of(...severities)), exitOfVerdict(verdictOf(of(...severities)))]).toEqual([code, code]);
  });
});

describe('what cannot be read', () => {
  const newer = new IncompatibleError('FORMAT_TOO_NEW', 'the table has format version 4');
  it('is a newer form, a missing codec, a refused permission or a store that is away; not damage, not a mistake', () => {
    const errors = [
      newer,
      new IncompatibleError('CODEC_MISSING', 'x'),
      new InvalidArgumentError('STORE_DENIED', 'x'),
      new UnavailableError('STORE_DOWN', 'x'),
    ];
    expect(errors.map(isCannotTell)).toEqual([true, true, true, true]);
    const others = [new CorruptionError('x', []), new InvalidArgumentError('BAD_ARGUMENT', 'x'), new Error('x'), 'x'];
    expect(others.map(isCannotTell)).toEqual([false, false, false, false]);
  });
  it('is a finding with its reason and without a repair', () => {
    const finding = unknownFinding(newer, { object, during: 'check' });
    expect(finding).toMatchObject({ code: 'FORMAT_TOO_NEW', severity: 'unknown', found: newer.message });
    expect(finding.hint.commands).toEqual([]);
    expect(nextCommands(finding, view)).toEqual([]);
    const denied = unknownFinding(new InvalidArgumentError('STORE_DENIED', 'no'), { object, during: 'check' });
    expect(denied.code).toBe('OUT_OF_REACH');
  });
  it('is listed after damage and before warnings', () => {
    const warning = makeFinding({
      code: 'BAD_SEAL',
      severity: 'warning',
      object,
      at: { unit: 'seal', offset: 1, length: 1 },
    });
    const error = makeFinding({ code: 'TRUNCATED', object, at: { unit: 'object', offset: 0, length: 0 } });
    const all = [warning, unknownFinding(newer, { object, during: 'check' }), error];
    const heads = findingsText(all, view).filter((line) => /^(error|warning|unknown) /.test(line));
    expect(heads.map((line) => line.split(' ')[0])).toEqual(['error', 'unknown', 'warning']);
    expect(findingCounts(all)).toBe('1 error, 1 unknown, 1 warning');
  });
});
