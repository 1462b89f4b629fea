/** A damaged newest manifest at an opening: healed in memory where its seal proves it, else refused together with the log's damage. */
import { describe, expect, it } from 'vitest';
import { type ManifestCorruptionError, UnavailableError } from '../../src/common/errors.ts';
import type { DbEvent } from '../../src/common/events.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import { manifestPath, parseManifestPath, walPath } from '../../src/format/object-names.ts';
import { loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { rejection, rowsOf, World } from '../support/database.ts';

const KEYS = ['a', 'b', 'c', 'd'];
const ROWS = KEYS.map((k) => `${k}=value of ${k}`);

/** a and b in a table, c and d in the log; the writer is dead. */
async function database(): Promise<{ world: World; newest: string; id: number; bytes: Uint8Array }> {
  const world = new World();
  const { db, line } = await world.connect();
  for (const key of KEYS) {
    await world.run(db.put(key, `value of ${key}`));
    if (key === 'b') await world.run(db.flush({ type: 'memtable' }));
  }
  line.cut();
  const newest = (await world.paths('manifest/')).at(-1)!;
  return { world, newest, id: parseManifestPath(newest)!, bytes: (await world.bytes(newest)).slice() };
}

async function change(world: World, path: string, at: number, length = 1): Promise<Uint8Array> {
  const bytes = (await world.bytes(path)).slice();
  for (let i = at; i < at + length; i++) bytes[i] ^= 0x21 + i;
  await world.replace(path, bytes);
  return bytes;
}

async function burst(world: World, id: number): Promise<void> {
  await change(world, walPath(id), 2, 20);
}

describe('healOnOpen with a damaged newest manifest', () => {
  it('goes on with what was written, reports it, and leaves the object as it is', async () => {
    const { world, newest, id, bytes } = await database();
    for (let at = 2; at < 40; at += 7) {
      const copy = await world.copy();
      const damaged = await change(copy, newest, at);
      expect(await rejection(copy.open())).toMatchObject({ name: 'ManifestCorruptionError' });
      const events: DbEvent[] = [];
      const lines: string[] = [];
      const logger = { debug() {}, info() {}, warn: (m: string) => void lines.push(m), error() {} };
      const db = await copy.open({ healOnOpen: true, onEvent: (e) => events.push(e), logger });
      expect(await rowsOf(copy, db)).toEqual(ROWS);
      const reported = events.flatMap((e) => (e.type === 'finding' ? [e.finding] : []));
      expect(reported.map((f) => [f.object.path, f.severity, f.remedy])).toEqual([[newest, 'warning', 'heals']]);
      expect(lines.join()).toContain('healed in memory');
      expect(await copy.bytes(newest)).toEqual(damaged);
      // The next one goes on from what the manifest was.
      const next = loadManifest(id + 1, await copy.bytes(manifestPath(id + 1)));
      expect(next.seal?.manifest).toMatchObject({
        previousManifestId: id,
        previousDigest: loadManifest(id, bytes).digest,
      });
      await copy.run(db.put('e', 'value of e'));
      await copy.run(db.close());
      expect(await rowsOf(copy, await copy.open())).toEqual([...ROWS, 'e=value of e']);
    }
  });

  it('serves a reader, which writes nothing', async () => {
    const { world, newest } = await database();
    await change(world, newest, 30);
    const before = await world.versions();
    expect(await rejection(world.openReader())).toMatchObject({ name: 'ManifestCorruptionError' });
    const events: DbEvent[] = [];
    const reader = await world.openReader({ healOnOpen: true, onEvent: (e) => events.push(e) });
    expect(await rowsOf(world, reader)).toEqual(ROWS);
    await world.run(reader.refresh());
    expect(events.every((e) => e.type === 'finding' && e.finding.remedy === 'heals')).toBe(true);
    expect(events.length).toBeGreaterThan(0);
    expect(await world.versions()).toEqual(before);
  });

  it('guesses nothing: wider damage, a damaged seal and a manifest without one are refused', async () => {
    const { world, newest, bytes, id } = await database();
    const { manifest } = loadManifest(id, bytes);
    const wide = await world.copy();
    await change(wide, newest, 30, 9);
    const sealed = await world.copy();
    // In the identity record, which nothing but the checksum of the whole covers.
    await change(sealed, newest, encodeManifest(manifest).length + 40);
    const bare = await world.copy();
    const body = encodeManifest(manifest);
    body[3] ^= 0x40;
    await bare.replace(newest, body);
    for (const [what, copy] of Object.entries({ wide, sealed, bare })) {
      const before = await copy.versions();
      expect(await rejection(copy.open({ healOnOpen: true })), what).toMatchObject({ name: 'ManifestCorruptionError' });
      expect(await copy.versions()).toEqual(before);
    }
  });
});

describe('a damaged manifest and a damaged log', () => {
  it('are listed in one error, for a writer and for a reader', async () => {
    const { world, newest } = await database();
    await change(world, newest, 30, 9);
    const ids = (await world.paths('wal/')).map((p) => Number(p.slice(4, 24)));
    const last = ids.at(-1)!;
    await burst(world, last);
    await burst(world, last - 1);
    const before = await world.versions();
    for (const opening of [() => world.open(), () => world.openReader()]) {
      const error = (await rejection(opening() as Promise<never>)) as unknown as ManifestCorruptionError;
      expect(error).toMatchObject({ name: 'ManifestCorruptionError' });
      expect(error.findings[0].object.path).toBe(newest);
      const paths = new Set(error.findings.map((f) => f.object.path));
      expect(paths).toEqual(new Set([newest, walPath(last - 1), walPath(last)]));
      expect(error.message).toContain('The log is damaged, too');
      const log = error.findings.find((f) => f.object.role === 'wal');
      expect(log?.hint.commands.join()).toContain('shaledb wal repair');
    }
    expect(await world.versions()).toEqual(before);
  });

  it('with a hole in the log name that as well, and no object that may have been collected', async () => {
    const world = new World();
    await world.writeAndCrash(['a', 'b', 'c', 'd', 'e', 'f']);
    const newest = (await world.paths('manifest/')).at(-1)!;
    await change(world, newest, 30, 9);
    await world.remove(walPath(1), walPath(4));
    const error = (await rejection(world.open())) as unknown as ManifestCorruptionError;
    const missing = error.findings.filter((f) => f.code === 'MISSING_OBJECT').map((f) => f.object.path);
    expect(missing).toEqual([walPath(4)]);
  });

  it('are listed also where no manifest is good', async () => {
    const { world } = await database();
    for (const path of await world.paths('manifest/')) await change(world, path, 20, 9);
    const last = Number((await world.paths('wal/')).at(-1)!.slice(4, 24));
    await burst(world, last);
    const error = (await rejection(world.open())) as unknown as ManifestCorruptionError;
    expect(error.message).toContain('no older one is intact');
    expect(error.findings.map((f) => f.object.role)).toContain('wal');
  });

  it('is no damage of the log where that is sound', async () => {
    const { world, newest } = await database();
    for (let n = 0; n < 3; n++) await world.writeAndCrash([`more-${n}`]);
    const last = (await world.paths('manifest/')).at(-1)!;
    expect(last).not.toBe(newest);
    await change(world, last, 30, 9);
    const error = (await rejection(world.open())) as unknown as ManifestCorruptionError;
    expect(error.findings.map((f) => f.object.role)).toEqual(error.findings.map(() => 'manifest'));
    expect(error.message).not.toContain('The log is damaged');
  });

  it('are about the manifest alone where the store does not give the log', async () => {
    const { world, newest } = await database();
    await change(world, newest, 30, 9);
    const line = world.line();
    const get = line.get.bind(line);
    line.get = (path, o) =>
      path.startsWith('wal/') ? Promise.reject(new UnavailableError('STORE_DOWN', 'no')) : get(path, o);
    const error = await rejection(world.run(world.opening({}, line)));
    expect(error).toMatchObject({ name: 'ManifestCorruptionError' });
  });
});
