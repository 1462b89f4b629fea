/** Packages loaded as copies of their own: what is shared with the rest of the process, and what is not. */
import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { loadPrivatePackage } from '../../../src/format/private-package.ts';

const NAME = '@bokuweb/zstd-wasm';
type Zstd = typeof import('@bokuweb/zstd-wasm');

describe('a package loaded privately', () => {
  it('is another copy each time, and another one than everybody else has', () => {
    const [one, two] = [loadPrivatePackage(NAME) as Zstd, loadPrivatePackage(NAME) as Zstd];
    expect(one.compress).toBeTypeOf('function');
    expect(two.compress).not.toBe(one.compress);
    expect((createRequire(import.meta.url)(NAME) as Zstd).compress).not.toBe(one.compress);
  });

  it('has state that another copy does not change', async () => {
    const [one, two] = [loadPrivatePackage(NAME) as Zstd, loadPrivatePackage(NAME) as Zstd];
    await one.init();
    const bytes = new TextEncoder().encode('hello hello hello hello');
    const stored = one.compress(bytes, 3);
    await two.init();
    expect([...one.decompress(stored)]).toEqual([...bytes]);
    expect([...one.decompress(two.compress(bytes, 3))]).toEqual([...bytes]);
  });

  it('that is not installed is what `require` throws', () => {
    expect(() => loadPrivatePackage('no-such-package-anywhere')).toThrow(
      expect.objectContaining({ code: 'MODULE_NOT_FOUND' }),
    );
  });
});
