/** A rule that is broken while the database is open: the handle ends with an error to report, and nothing durable is lost. */
import { expect, it } from 'vitest';
import type { DbError } from '../../src/common/errors.ts';
import { decodeManifest, encodeManifest } from '../../src/format/manifest-codec.ts';
import { manifestPath, parseManifestPath } from '../../src/format/object-names.ts';
import { rejection, rowsOf, toolAccess, World } from '../support/database.ts';

it('a manifest in use that names rows nobody wrote ends the handle, and not what is durable', async () => {
  const world = new World();
  const db = await world.open();
  await world.run(db.put('a', '1'));
  await world.run(db.flush({ type: 'memtable' }));
  await world.run(db.put('b', '2'));
  const path = (await world.paths('manifest/')).at(-1)!;
  const { manifest } = decodeManifest(await world.bytes(path));
  const next = manifestPath(parseManifestPath(path)! + 1);
  // Of our epoch, so no takeover; by a program that does not seal what it writes.
  await world.replace(next, encodeManifest({ ...manifest, lastL0Seq: manifest.lastL0Seq + 100 }));
  const error = await rejection(world.run(toolAccess(db).refresh()));
  expect(error).toMatchObject({ name: 'InternalError', code: 'INVARIANT', details: { durableSeq: 2, next: 101 } });
  expect(error.message).toMatch(/rows in tables stay there, and were durable before.*report this message/);
  for (const call of [() => db.put('c', '3'), () => db.get('a'), () => db.flush()]) {
    const refused: DbError = await rejection(world.run<unknown>(call()));
    expect(refused).toMatchObject({ name: 'ClosedError', code: 'FAILED', cause: error });
  }
  await world.remove(next);
  expect(await rowsOf(world, await world.open())).toEqual(['a=1', 'b=2']);
});
