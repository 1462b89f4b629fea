/**
 * Opening for writing, as scripts over a store in memory: `step => outcome | requests that wrote`. Of the outcome: the epoch, the id of the
 * manifest and that of the fence, or the code of the refusal. Requests that write are shortened to `manifest 2`, `wal 1`, `identity`.
 */
import { describe, expect, it } from 'vitest';
import { isDbError } from '../../../src/common/errors.ts';
import { type OpeningMeans, openForWriting } from '../../../src/db/open-writer.ts';
import { decodeManifest, encodeManifest } from '../../../src/format/manifest-codec.ts';
import {
  IDENTITY_PATH,
  manifestPath,
  parseManifestPath,
  parseWalPath,
  walPath,
} from '../../../src/format/object-names.ts';
import { databaseStores } from '../../../src/lsm/manifest/database-stores.ts';
import { emptyManifest } from '../../../src/lsm/manifest/manifest-edits.ts';
import { TableStore } from '../../../src/lsm/tree/table-store.ts';
import { resolveOpenOptions } from '../../../src/upkeep-roles.ts';
import { type Line, World } from '../../support/database.ts';

const nameOf = (path: string): string => {
  const [manifest, wal] = [parseManifestPath(path), parseWalPath(path)];
  if (manifest !== undefined) return `manifest ${manifest}`;
  if (wal !== undefined) return `wal ${wal}`;
  return path === IDENTITY_PATH ? 'identity' : path;
};

function meansOf(world: World, line: Line, given: object): OpeningMeans {
  const { settings, parts } = resolveOpenOptions({ clock: world.clock, random: world.random(), ...given }, 'test:1');
  const place = { location: { store: line, path: '' }, isRootAssumed: false };
  const stores = databaseStores(place, { clock: world.clock, random: world.random(), timeoutMs: settings.timeoutMs });
  const { main, whole } = stores;
  const tableStore = new TableStore({
    store: main,
    wholeStore: whole,
    cache: parts.cache,
    clock: parts.clock,
    onFinding: () => undefined,
  });
  return { stores, tableStore, settings, parts };
}

/** One opening, and what it changed. */
async function opened(world: World, options: object = {}, line = world.line()): Promise<string> {
  const before = new Set(await world.versions());
  let outcome: string;
  try {
    const o = await world.run(openForWriting(meansOf(world, line, options)));
    outcome = `epoch ${o.claimed.manifest.writerEpoch}, manifest ${o.claimed.id}, fence ${o.fence.id}`;
  } catch (error) {
    if (!isDbError(error)) throw error;
    outcome = error.code;
  }
  const changed = (await world.versions()).filter((v) => !before.has(v)).map((v) => nameOf(v.split(' ')[0]));
  return `${outcome} | ${changed.sort().join(', ')}`;
}

describe('an opening', () => {
  it('creates a database, claims it and puts its fence; the next one takes it over', async () => {
    const world = new World();
    expect(await opened(world)).toBe('epoch 1, manifest 2, fence 1 | identity, manifest 1, manifest 2, wal 1');
    expect(await opened(world)).toBe('epoch 2, manifest 3, fence 2 | manifest 3, wal 2');
  });

  it('puts its fence after all rows, and knows their numbers', async () => {
    const world = new World();
    await world.writeAndCrash(['a', 'b']);
    const o = await world.run(openForWriting(meansOf(world, world.line(), {})));
    expect([o.fence, o.wal.from, o.wal.end]).toMatchObject([{ id: 4, lastSeq: 2 }, 1, 3]);
    expect(o.claimed.manifest.walIdLastSeen).toBe(3);
  });

  it('reads first: each request before the claim is no write, and six follow each other', async () => {
    const world = new World();
    await world.writeAndCrash(['a']);
    const line = world.line();
    await world.run(openForWriting(meansOf(world, line, {})));
    const requests = line.take();
    const claim = requests.findIndex((r) => r.startsWith('put manifest/'));
    // The condition check puts what is there already: it changes nothing.
    expect(requests.slice(0, claim).filter((r) => r.startsWith('put') && !r.includes(IDENTITY_PATH))).toEqual([]);
    expect(requests.slice(claim)).toEqual([`put ${manifestPath(3)}`, `put ${walPath(3)}`]);
  });
});

describe('an opening that is refused changes nothing', () => {
  it.each<[string, object, (world: World) => Promise<void>, string]>([
    ['no database, and none may be made', { createIfMissing: false }, async () => undefined, 'NOT_A_DATABASE'],
    ['no database, and an epoch is expected', { expectedEpoch: 1 }, async () => undefined, 'NOT_A_DATABASE'],
    ['a database, and none may be there', { errorIfExists: true }, (w) => w.writeAndCrash(['a']), 'ALREADY_EXISTS'],
    [
      'another epoch than the one that is expected',
      { expectedEpoch: 7 },
      (w) => w.writeAndCrash(['a']),
      'WRITER_FENCED',
    ],
    [
      'a hole in the log',
      {},
      async (w) => {
        await w.writeAndCrash(['a', 'b', 'c']);
        await w.remove(walPath(3));
      },
      'MISSING_OBJECT',
    ],
    [
      'a newest manifest that is damaged',
      {},
      async (w) => {
        await w.writeAndCrash(['a']);
        const bytes = (await w.bytes(manifestPath(2))).slice();
        bytes.fill(0x55, 8, 40);
        await w.replace(manifestPath(2), bytes);
      },
      'MALFORMED',
    ],
    [
      'a database in segments',
      {},
      async (w) => {
        await w.writeAndCrash(['a']);
        const { manifest } = decodeManifest(await w.bytes(manifestPath(2)));
        const segmented = { ...manifest, headerVersion: 2 as const, segments: [], segmentExtractorName: 'x' };
        await w.replace(manifestPath(3), encodeManifest(segmented));
      },
      'SEGMENTS_UNSUPPORTED',
    ],
    [
      'a clone that is still being made',
      {},
      (w) => w.replace(manifestPath(1), encodeManifest({ ...emptyManifest(1, false), initialized: false })),
      'NOT_A_DATABASE',
    ],
    ['less than the caller has seen', { expectAtLeast: 5n }, (w) => w.writeAndCrash(['a']), 'ROLLED_BACK'],
    [
      'all manifests gone',
      {},
      async (w) => {
        await w.writeAndCrash(['a']);
        await w.remove(...(await w.paths('manifest/')));
      },
      'MISSING_OBJECT',
    ],
  ])('%s', async (_, options, prepare, code) => {
    const world = new World();
    await prepare(world);
    expect(await opened(world, options)).toBe(`${code} | `);
  });
});

describe('two openings', () => {
  it('at once never have one epoch: one claims first, the other sees that and takes over from it', async () => {
    const world = new World();
    await world.writeAndCrash(['a']);
    const epoch = () =>
      openForWriting(meansOf(world, world.line(), {})).then(
        (o) => o.claimed.manifest.writerEpoch,
        (error: { code: string }) => error.code,
      );
    const outcomes = await world.run(Promise.all([epoch(), epoch()]));
    expect(outcomes).toContain(3);
    expect(['WRITER_FENCED', 2]).toContain(outcomes.find((o) => o !== 3));
  });
});
