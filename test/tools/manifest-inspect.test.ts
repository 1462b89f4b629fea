/** Looking at one manifest: what it says, how far that is proven, what changed. */
import { beforeAll, describe, expect, it } from 'vitest';
import { manifestPath, walPath } from '../../src/format/object-names.ts';
import { damageList } from '../../src/tools/damage-list.ts';
import { manifestInspect } from '../../src/tools/manifest-inspect.ts';
import type { ManifestReport } from '../../src/tools/reports.ts';
import { rejection, World, worldOfFixture } from '../support/database.ts';
import { toolOptions } from '../support/tool-laws.ts';

function inspected(world: World, id?: bigint): Promise<ManifestReport> {
  return world.run(manifestInspect({ store: world.line(), path: '' }, id, toolOptions(world)));
}

describe('manifestInspect', () => {
  let world: World;
  beforeAll(async () => {
    world = new World();
    const { db, line } = await world.connect();
    await world.run(db.put('a', 'value'));
    await world.run(db.flush({ type: 'memtable' }));
    line.cut();
  });

  it('shows the newest manifest, its proofs and what changed', async () => {
    const line = world.line();
    const before = await world.versions();
    const report = await world.run(manifestInspect({ store: line, path: '' }, undefined, toolOptions(world)));
    expect(report).toMatchObject({ id: 3n, sealed: true, chain: 'ok', canonical: true, findings: [] });
    expect(report.seal).toMatchObject({ state: 'ok', seal: { manifest: { previousManifestId: 2 } } });
    expect(report.manifest?.l0).toHaveLength(1);
    expect(report.changes).toContain('last sequence number in tables: 0 → 1');
    expect(report.changes.filter((c) => /^L0 table \w+ added$/.test(c))).toHaveLength(1);
    expect(await world.versions()).toEqual(before);
  });

  it('sees an inverted bit anywhere in a sealed one, and says that it heals', async () => {
    const bytes = await world.bytes(manifestPath(3));
    const unseen: number[] = [];
    const beyondHealing: number[] = [];
    for (let bit = 0; bit < 8 * bytes.length; bit += 7) {
      const copy = new World();
      for (const path of await world.paths()) await copy.replace(path, await world.bytes(path));
      const damaged = bytes.slice();
      damaged[bit >>> 3] ^= 1 << (bit & 7);
      await copy.replace(manifestPath(3), damaged);
      const { findings } = await inspected(copy, 3n);
      if (findings.length === 0) unseen.push(bit);
      else if (findings[0].remedy === 'none') beyondHealing.push(bit);
    }
    expect(unseen).toEqual([]);
    expect(beyondHealing).toEqual([]);
  });

  it('reports a missing one, a cut one, and one whose predecessor was replaced', async () => {
    const gap = await world.copy();
    await gap.remove(manifestPath(2));
    expect(await inspected(gap, 2n)).toMatchObject({ size: 0, findings: [{ code: 'MISSING_OBJECT' }] });
    expect(await rejection(inspected(world, 9n))).toMatchObject({
      code: 'BAD_ARGUMENT',
      message: /no manifest 9; the newest one is 3/,
    });
    const cut = await world.copy();
    await cut.replace(manifestPath(3), (await cut.bytes(manifestPath(3))).subarray(0, 40));
    const report = await inspected(cut);
    expect(report).toMatchObject({ id: 3n, size: 40, canonical: false, chain: 'unknown' });
    expect(report.findings[0]).toMatchObject({ severity: 'error', remedy: 'none', object: { size: 40 } });
    expect(report.findings[0].hint.commands).toContain('shaledb manifest repair LOCATION');

    const other = new World(7);
    const { db, line } = await other.connect();
    await other.run(db.put('other', 'database'));
    line.cut();
    const swapped = await world.copy();
    await swapped.replace(manifestPath(2), await other.bytes(manifestPath(2)));
    expect(await inspected(swapped)).toMatchObject({ chain: 'broken', findings: [{ code: 'CHAIN_BREAK' }] });
  });

  it('reads those of SlateDB, and compares them with the one before', async () => {
    const slate = await worldOfFixture('slatedb-0.12.1/l0-and-wal');
    const report = await inspected(slate);
    expect(report).toMatchObject({ sealed: false, chain: 'unknown', canonical: true, findings: [] });
    expect(report.changes.length).toBeGreaterThan(0);
    expect(report.seal).toMatchObject({ state: 'none' });
  });

  it('is refused where no database is', async () => {
    expect(await rejection(inspected(new World()))).toMatchObject({
      code: 'NOT_A_DATABASE',
      message: /nothing is here/,
    });
  });

  it('is refused where files are that only have a database’s folders, as a list of losses is', async () => {
    const foreign = new World();
    await foreign.replace('readme.txt', new Uint8Array(3));
    for (const folder of ['manifest', 'wal', 'compacted']) {
      await foreign.replace(`${folder}/readme.md`, new Uint8Array(3));
    }
    expect(await rejection(inspected(foreign))).toMatchObject({
      code: 'NOT_A_DATABASE',
      message: /none of a database/,
    });
    const list = damageList({ store: foreign.line(), path: '' }, toolOptions(foreign));
    expect(await rejection(foreign.run(list))).toMatchObject({ code: 'NOT_A_DATABASE' });
    await foreign.replace(walPath(1), new Uint8Array(3));
    expect(await inspected(foreign)).toMatchObject({ findings: [{ code: 'MISSING_OBJECT' }] });
  });
});
