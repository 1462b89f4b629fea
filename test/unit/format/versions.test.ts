/** What an unknown version number means: a newer program's, or damage. */
import { describe, expect, it } from 'vitest';
import { unknownVersion } from '../../../src/format/versions.ts';

const AT = { unit: 'header', offset: 4, length: 2 } as const;

describe('a version that is not known', () => {
  it.each([3, 4, 16])('%d is of a newer program where 2 is the newest, and nothing is damaged', (version) => {
    const error = unknownVersion('The thing has version', version, 2, AT);
    expect(error).toMatchObject({ kind: 'incompatible', code: 'FORMAT_TOO_NEW', details: { version, offset: 4 } });
    expect(error.message).toContain(`The thing has version ${version}`);
  });

  it.each([0, 17, 255, 27_253, 65_535])('%d was never written by anybody: damage, at its place', (version) => {
    const error = unknownVersion('The thing has version', version, 2, AT);
    expect(error).toMatchObject({ kind: 'corruption', code: 'MALFORMED' });
    expect(error).toMatchObject({
      findings: [{ at: AT, expected: 'version 1 to 2', found: `version ${version}` }],
    });
  });
});
