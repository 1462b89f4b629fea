/** What the tools for single files say of a file that is something else. */
import { describe, expect, it } from 'vitest';
import { InvalidArgumentError } from '../../src/common/errors.ts';
import { sstInspect } from '../../src/tools/sst-inspect.ts';
import { walInspect } from '../../src/tools/wal-inspect.ts';
import { rejection, World, worldOfFixture } from '../support/database.ts';

const FIXTURES = ['slatedb-0.12.1/tiny', 'slatedb-0.15.0/tiny', 'slatedb-0.17.0/tiny', 'slatedb-0.18.0/tiny'];

const asTable = (bytes: Uint8Array) => sstInspect('memory:', { bytes });
const asLog = (bytes: Uint8Array) => walInspect(undefined, { raw: [{ id: 7n, bytes }] }).next();

async function written(): Promise<World> {
  const world = new World();
  const db = await world.open();
  await world.run(db.put('a', '1'));
  await world.run(db.flush({ type: 'memtable' }));
  await world.run(db.close());
  return world;
}

async function expectRefused(call: Promise<unknown>, what: string): Promise<void> {
  const error = await rejection(call);
  expect(error).toBeInstanceOf(InvalidArgumentError);
  expect(error?.message).toContain(`This is ${what}, not `);
}

describe('bytes that are no table and no object of the log', () => {
  it('are called what they are, written here', async () => {
    const world = await written();
    const manifest = await world.bytes((await world.paths('manifest/')).at(-1)!);
    const identity = await world.bytes('shale/identity');
    for (const inspect of [asTable, asLog]) {
      await expectRefused(inspect(manifest), 'a manifest');
      await expectRefused(inspect(identity), 'the identity of a database');
      await expectRefused(inspect(new TextEncoder().encode('hello\tworld\n')), 'text');
      // Also where it is damaged: its seal still ends it.
      await expectRefused(inspect(manifest.map((b, i) => (i > 40 && i < 60 ? b ^ 0x55 : b))), 'a manifest');
    }
    await expectRefused(asTable(new Uint8Array(0)), 'an empty file');
  });
  it.each(FIXTURES)('are called what they are, written by SlateDB: %s', async (fixture) => {
    const world = await worldOfFixture(fixture);
    for (const path of await world.paths('manifest/')) {
      const bytes = await world.bytes(path);
      for (const inspect of [asTable, asLog]) await expectRefused(inspect(bytes), 'a manifest');
    }
  });
});

describe('tables and objects of the log', () => {
  it('are distinguished by their seals, with the command that fits', async () => {
    const world = await written();
    const table = await world.bytes((await world.paths('compacted/'))[0]);
    for (const path of await world.paths('wal/')) {
      const log = await world.bytes(path);
      await expectRefused(asTable(log), 'an object of the write-ahead log');
      expect((await asLog(log)).value).toMatchObject({ id: 7n });
    }
    const error = await rejection(asLog(table));
    expect(error).toMatchObject({ hint: { commands: ['shaledb sst inspect --file FILE'] } });
    expect(await asTable(table)).toMatchObject({ findings: [] });
  });
  it.each(FIXTURES)('of SlateDB are taken for what they are: %s', async (fixture) => {
    const world = await worldOfFixture(fixture);
    for (const path of await world.paths('compacted/')) await asTable(await world.bytes(path));
    for (const path of await world.paths('wal/')) await asLog(await world.bytes(path));
  });
  it('that are damaged are judged as usual', async () => {
    const world = await written();
    const table = await world.bytes((await world.paths('compacted/'))[0]);
    for (let at = 0; at < table.length; at += 7) {
      const bytes = table.slice();
      bytes[at] ^= 0x10;
      await asTable(bytes);
    }
  });
  it('of which nothing is recognised lose everything, and nothing could be made again', async () => {
    const report = await asTable(Uint8Array.from({ length: 300 }, (_, i) => (i * 37) & 0xff));
    expect(report.blocks).toEqual([]);
    expect(report.findings.map((f) => [f.severity, f.remedy, f.hint.commands])).toEqual([['error', 'none', []]]);
  });
});
