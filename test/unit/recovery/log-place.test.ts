/**
 * Whether the log is in the store in which it is looked for: `manifest version, what the identity says | the location => verdict`. The
 * first word is `v1`, `v1 uri` (it names a store of the log) or `v2`; the identity `beside`, `apart` or `-`; the location as well.
 */
import { describe, expect, it } from 'vitest';
import type { DatabaseIdentity } from '../../../src/format/sidecar.ts';
import { emptyManifest } from '../../../src/lsm/manifest/manifest-edits.ts';
import type { LoadedManifest } from '../../../src/lsm/manifest/manifest-store.ts';
import { misplacedLog } from '../../../src/recovery/log-place.ts';

const CASES = `
  v1, - | beside         => right
  v1, - | apart          => leave it out
  v1 uri, - | apart      => right
  v1 uri, - | beside     => pass it as walStore
  v2, - | beside         => right
  v2, - | apart          => right
  v2, apart | apart      => right
  v2, apart | beside     => pass it as walStore
  v2, beside | apart     => leave it out
  v1 uri, beside | apart => leave it out
  v1, apart | apart      => right
`;

describe('the log of a database', () => {
  it.each(
    CASES.trim()
      .split('\n')
      .map((line) => [line.trim().replace(/ +/g, ' ')]),
  )('%s', (line) => {
    const [, form, says, where, expected] = /^(v\S*(?: uri)?), (\S+) \| (\S+) => (.*)$/.exec(line)!;
    const manifest = emptyManifest(form === 'v2' ? 2 : 1, form === 'v1 uri');
    const identity = says === '-' ? undefined : ({ separateWalStore: says === 'apart' } as DatabaseIdentity);
    const error = misplacedLog({ hasWalStore: where === 'apart' }, 'memory', { manifest } as LoadedManifest, identity);
    expect(error?.message ?? 'right').toContain(expected);
    if (error !== undefined) {
      expect(error).toMatchObject({ code: 'BAD_ARGUMENT', details: { walStore: where === 'beside' } });
    }
  });
});
