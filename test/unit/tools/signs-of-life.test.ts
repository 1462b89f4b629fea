/** Whether somebody writes is judged by the ends of the log, the manifests and the compactions, and by nothing else that is there. */
import { describe, expect, it } from 'vitest';
import { compactionsPath, manifestPath, walPath } from '../../../src/format/object-names.ts';
import { assertNobodyWrites } from '../../../src/tools/signs-of-life.ts';
import { openTarget } from '../../../src/tools/target.ts';
import { rejection, World } from '../../support/database.ts';

/** Watches for five seconds, after one of which these objects appear; and what was seen. */
async function looking(there: readonly string[], appearing: readonly string[]) {
  const world = new World();
  for (const path of there) await world.replace(path, new Uint8Array(1));
  const line = world.line();
  const target = await openTarget({ store: line, path: '' }, { clock: world.clock });
  const looked = assertNobodyWrites(target, 5000);
  const answer = looked.then(
    () => undefined,
    () => rejection(looked),
  );
  await world.clock.advance(1000);
  for (const path of appearing) await world.replace(path, new Uint8Array(1));
  const error = await world.run(answer);
  return { error, requests: line.take() };
}

const THERE = [manifestPath(2), walPath(7), compactionsPath(3)];

describe('a live writer is seen', () => {
  it.each([manifestPath(3), walPath(8), walPath(100), compactionsPath(4)])('by %s', async (path) => {
    const { error, requests } = await looking(THERE, [path]);
    expect(error).toMatchObject({ code: 'LIVE_WRITER', details: { moved: [path] } });
    expect(requests.map((r) => r.split(' ')[0])).toEqual(['list', 'list', 'list', 'list', 'list', 'list']);
  });

  it('by the first object of a log', async () => {
    expect((await looking([], [walPath(1)])).error).toMatchObject({ details: { moved: [walPath(1)] } });
  });

  it('although files of other programs sort after its objects', async () => {
    const foreign = ['wal/notes.txt', 'manifest/readme', 'compactions/x'];
    const { error } = await looking([...THERE, ...foreign], [walPath(8)]);
    expect(error).toMatchObject({ details: { moved: [walPath(8)] } });
  });
});

describe('nobody is seen', () => {
  it.each([[[]], [[walPath(3)]], [['wal/notes.txt', 'manifest/readme', 'shale/other']]])(
    'where %j appears',
    async (paths) => {
      expect((await looking(THERE, paths)).error).toBeUndefined();
    },
  );
});
