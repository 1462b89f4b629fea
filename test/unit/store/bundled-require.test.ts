/** Who gets a global `require`, and who does not. The bundle itself: scripts/test-consumers.mjs. */
import { expect, it } from 'vitest';
import { provideRequire } from '../../../src/store/bundled-require.ts';

/** As esbuild puts it into a bundle in the form of ES modules. */
function ofEsbuild(scope: { require?: (name: string) => unknown }) {
  return (name: string) => {
    if (scope.require !== undefined) return scope.require(name);
    throw new Error(`Dynamic require of "${name}" is not supported`);
  };
}

it('a bundle whose require throws gets one that works', () => {
  const scope: { require?: (name: string) => unknown } = {};
  const own = ofEsbuild(scope);
  expect(() => own('node:https')).toThrow('not supported');
  provideRequire(own, scope);
  expect(own('node:https')).toHaveProperty('request');
  expect(Object.keys(scope)).toEqual([]);
});

it('a require that works, or none, stays as it is', () => {
  const scope = {};
  provideRequire(() => ({}), scope);
  provideRequire(undefined, scope);
  expect(scope).not.toHaveProperty('require');
});
