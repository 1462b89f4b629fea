/** What `verify` says that it cannot know: objects at the end of a log that nothing names. */
import { describe, expect, it } from 'vitest';
import { PLAIN } from '../../src/cli/paint.ts';
import { verifyText } from '../../src/cli/verify-text.ts';
import { verify } from '../../src/tools/verify.ts';
import { World, worldOfFixture } from '../support/database.ts';
import { toolOptions } from '../support/tool-laws.ts';

const reportOn = (world: World) => world.run(verify({ store: world.line(), path: '' }, toolOptions(world)));
const view = { paint: PLAIN, columns: 100, redactKeys: false, location: 'file:///db' };

describe('that newest objects of the log vanished', () => {
  it('cannot be known of a database that was not closed, and is said in one line', async () => {
    const world = new World();
    await world.writeAndCrash(['a', 'b', 'c']);
    const before = await reportOn(world);
    const log = (await world.paths('wal/')).slice(-2);
    await world.remove(...log);
    const after = await reportOn(world);
    expect([before.verdict, after.verdict]).toEqual(['clean', 'clean']);
    for (const { cannotKnow } of [before, after])
      expect(cannotKnow).toEqual([expect.stringMatching(/^whether the log continued after object \d+: manifest \d+/)]);
    // Counted from the last object that is there, not from the last that a manifest happens to name.
    const lastOf = (path: string) => Number(/(\d+)\.sst$/.exec(path)![1]);
    expect(before.cannotKnow[0]).toContain(`after object ${lastOf(log[1])}:`);
    expect(after.cannotKnow[0]).toContain(`after object ${lastOf(log[0]) - 1}:`);
    expect(verifyText(after, view, []).filter((line) => line.startsWith('not known'))).toHaveLength(1);
  });
  it('cannot be known of a database that SlateDB wrote', async () => {
    expect((await reportOn(await worldOfFixture('slatedb-0.12.1/tiny'))).cannotKnow).toHaveLength(1);
  });
  it('is known after a clean close, whose manifest names the last one', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('a', '1'));
    await world.run(db.close());
    const report = await reportOn(world);
    expect(report.cannotKnow).toEqual([]);
    expect(verifyText(report, view, []).join('\n')).not.toContain('not known');
  });
});
