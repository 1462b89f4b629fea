/**
 * Taking over from the writer that was seen, and from nobody else: SlateDB 0.18 and we name the epoch of the other. Who names
 * another one is refused, changes nothing, and disturbs nobody.
 */
import { expect, it } from 'vitest';
import { FencedError } from '../../src/common/errors.ts';
import { open } from '../../src/open.ts';
import { text } from '../support/database.ts';
import { newestManifest } from '../support/golden-database.ts';
import { describeHandoversWith018, Handover } from '../support/handover-places.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };

describeHandoversWith018((partners) => {
  const handover = new Handover(partners);

  it('it takes over from us at the epoch that it names, and at no other', async () => {
    const ours = await open(handover.place.ours, { logger: QUIET });
    await ours.put('k', '1');
    const { writerEpoch } = await newestManifest(handover.place.ours);
    const before = await handover.storedPaths();
    for (const expectedEpoch of [writerEpoch - 1, writerEpoch + 1]) {
      await expect(handover.newSlate().open(handover.place.slate, { expectedEpoch })).rejects.toMatchObject({
        fenced: true,
      });
    }
    expect(await handover.storedPaths()).toEqual(before);
    await ours.put('k', '2');

    const slate = handover.newSlate();
    await slate.open(handover.place.slate, { expectedEpoch: writerEpoch });
    expect((await newestManifest(handover.place.ours)).writerEpoch).toBe(writerEpoch + 1);
    await expect(ours.put('k', 'too late')).rejects.toBeInstanceOf(FencedError);
    await ours.close();
    expect((await slate.scan()).map((row) => text(row.value))).toEqual(['2']);
    await slate.close();
  });

  it('we take over from it at the epoch that we name, and at no other', async () => {
    const slate = handover.newSlate();
    await slate.open(handover.place.slate);
    await (await open(handover.place.ours, { logger: QUIET })).close();
    await slate.crash();
    await slate.open(handover.place.slate);
    await slate.put('k', '1');
    const { writerEpoch } = await newestManifest(handover.place.ours);
    const before = await handover.storedPaths();
    for (const expectedEpoch of [writerEpoch - 1, writerEpoch + 1]) {
      await expect(open(handover.place.ours, { logger: QUIET, expectedEpoch })).rejects.toBeInstanceOf(FencedError);
    }
    expect(await handover.storedPaths()).toEqual(before);
    await slate.put('k', '2');

    const ours = await open(handover.place.ours, { logger: QUIET, expectedEpoch: writerEpoch });
    expect((await newestManifest(handover.place.ours)).writerEpoch).toBe(writerEpoch + 1);
    await expect(slate.put('k', 'too late')).rejects.toMatchObject({ fenced: true });
    expect(text(await ours.get('k'))).toBe('2');
    await ours.close();
  });
});
