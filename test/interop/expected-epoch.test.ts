/**
 * Taking over from the writer that was seen, and from nobody else: SlateDB 0.18 and we name the epoch of the other. Who names
 * another one is refused, changes nothing, and disturbs nobody.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FencedError } from '../../src/common/errors.ts';
import { open } from '../../src/open.ts';
import { text } from '../support/database.ts';
import { gathered, newestManifest } from '../support/golden-database.ts';
import { describeHandoversWith018, type SharedPlace } from '../support/handover-places.ts';
import type { LiveSlateDb } from '../support/live-slatedb.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };

describeHandoversWith018(({ makeSlate, makePlace }) => {
  const started: LiveSlateDb[] = [];
  let place: SharedPlace;

  beforeEach(async () => {
    place = await makePlace();
  });
  afterEach(async () => {
    for (const slate of started.splice(0)) await slate.crash();
    await place.dispose();
  });

  function newSlate(): LiveSlateDb {
    const slate = makeSlate();
    started.push(slate);
    return slate;
  }

  async function storedPaths(): Promise<string[]> {
    return (await gathered(place.ours.store.list(`${place.ours.path}/`))).map(({ path }) => path);
  }

  it('it takes over from us at the epoch that it names, and at no other', async () => {
    const ours = await open(place.ours, { logger: QUIET });
    await ours.put('k', '1');
    const { writerEpoch } = await newestManifest(place.ours);
    const before = await storedPaths();
    for (const expectedEpoch of [writerEpoch - 1, writerEpoch + 1]) {
      await expect(newSlate().open(place.slate, { expectedEpoch })).rejects.toMatchObject({ fenced: true });
    }
    expect(await storedPaths()).toEqual(before);
    await ours.put('k', '2');

    const slate = newSlate();
    await slate.open(place.slate, { expectedEpoch: writerEpoch });
    expect((await newestManifest(place.ours)).writerEpoch).toBe(writerEpoch + 1);
    await expect(ours.put('k', 'too late')).rejects.toBeInstanceOf(FencedError);
    await ours.close();
    expect((await slate.scan()).map((row) => text(row.value))).toEqual(['2']);
    await slate.close();
  });

  it('we take over from it at the epoch that we name, and at no other', async () => {
    const slate = newSlate();
    await slate.open(place.slate);
    await (await open(place.ours, { logger: QUIET })).close();
    await slate.crash();
    await slate.open(place.slate);
    await slate.put('k', '1');
    const { writerEpoch } = await newestManifest(place.ours);
    const before = await storedPaths();
    for (const expectedEpoch of [writerEpoch - 1, writerEpoch + 1]) {
      await expect(open(place.ours, { logger: QUIET, expectedEpoch })).rejects.toBeInstanceOf(FencedError);
    }
    expect(await storedPaths()).toEqual(before);
    await slate.put('k', '2');

    const ours = await open(place.ours, { logger: QUIET, expectedEpoch: writerEpoch });
    expect((await newestManifest(place.ours)).writerEpoch).toBe(writerEpoch + 1);
    await expect(slate.put('k', 'too late')).rejects.toMatchObject({ fenced: true });
    expect(text(await ours.get('k'))).toBe('2');
    await ours.close();
  });
});
