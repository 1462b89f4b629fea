/** Who writes an object: the version that seals and identities name is that of the package. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CREATOR, SOFTWARE_VERSION } from '../../../../src/lsm/manifest/author.ts';

describe('the version in seals', () => {
  it('is that of package.json, also in the name of the creator', () => {
    const { version } = JSON.parse(readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8'));
    expect([SOFTWARE_VERSION.join('.'), CREATOR]).toEqual([version, `shaledb ${version}`]);
  });
});
