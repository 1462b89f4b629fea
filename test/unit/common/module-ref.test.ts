/** Code that is named by its module: what is loaded, and what is said of what cannot be. */
import { describe, expect, it } from 'vitest';
import { loadModule, type ModuleRef } from '../../../src/common/module-ref.ts';
import { methods } from '../../../src/common/option-checks.ts';

const FILTERS = new URL('../../support/dropping-filter.mjs', import.meta.url).href;
const CHECK = methods('decide');
const load = (ref: Partial<ModuleRef>) =>
  loadModule<{ decide: unknown }>({ module: FILTERS, export: 'default', ...ref }, 'theOption', CHECK);

describe('code that is named by its module', () => {
  it('is its export', async () => {
    expect(typeof (await load({})).decide).toBe('function');
    expect(typeof (await load({ export: 'throwing' })).decide).toBe('function');
  });

  it.each<[string, Partial<ModuleRef>, RegExp]>([
    ['there is no module', { module: `${FILTERS}.gone` }, /^theOption: the module file:.*\.gone cannot be loaded: /],
    [
      'it throws as it is loaded',
      { module: 'data:text/javascript,throw new Error("no")' },
      /cannot be loaded: .*no\.$/,
    ],
    ['there is no such export', { export: 'other' }, /has no export other; it has .*throwing/],
    ['it is inherited only', { export: 'toString' }, /has no export toString/],
    [
      'it is something else',
      { export: 'notOne' },
      /^theOption: the export notOne of file:.* must be an object with decide\(\)/,
    ],
  ])('is refused if %s', async (_, ref, message) => {
    const error = await load(ref).catch((e: unknown) => e);
    expect(error).toMatchObject({ kind: 'invalid', code: 'BAD_OPTION', message: expect.stringMatching(message) });
    expect((error as { details: { faults: string[] } }).details.faults.length).toBe(1);
  });
});
