/**
 * One database, two programs: SlateDB (0.12.1, 0.17.0 and 0.18.0, live) and we hand it to each other, by closing it, by crashing, and
 * by overtaking a writer that is still at work; in a directory and on S3.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FencedError } from '../../src/common/errors.ts';
import type { Db } from '../../src/db/db.ts';
import type { Compatibility } from '../../src/db/open-options.ts';
import { open, openReader } from '../../src/open.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { ensureBuilt } from '../support/environment.ts';
import { newestManifest } from '../support/golden-database.ts';
import { describeHandovers, expectManifestsToContinue, type SharedPlace } from '../support/handover-places.ts';
import { crashBatch, HandoverRows, type ReadRow, type RowChange, toBatch } from '../support/handover-rows.ts';
import type { LiveSlateDb, SlateDbOpenOptions } from '../support/live-slatedb.ts';
import { writeAndDie } from '../support/shaledb-child.ts';

/** Batches between two flushes of the memtable; what the last group brings stays in the log. */
const BATCHES_PER_TABLE = 4;
const COMPACTION_LIMIT_MS = 60_000;
const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const ENDINGS = ['closes', 'crashes'] as const;
type Ending = (typeof ENDINGS)[number];

/** How both write. */
interface Forms {
  name: string;
  ours: Pick<OpenOptions, 'compatibility' | 'compressionCodec'>;
  theirs: Pick<SlateDbOpenOptions, 'codec' | 'align'>;
  /** Only the longest test, which has everything in it. */
  isBrief?: boolean;
}

const plain = (compatibility: Compatibility): Forms => ({
  name: `with compatibility ${compatibility}`,
  ours: { compatibility },
  theirs: {},
});
const compressed = (compressionCodec: Forms['ours']['compressionCodec'], codec: Forms['theirs']['codec']): Forms => ({
  name: `with codec ${compressionCodec}`,
  ours: { compressionCodec },
  theirs: { codec },
  isBrief: true,
});

/** `npm run interop:018` hands over in every form and place, `npm test` in some. */
const IS_WHOLE = process.env['SHALEDB_INTEROP'] === 'whole';
const ALIGNED: Forms = { name: 'with aligned blocks', ours: {}, theirs: { align: true }, isBrief: true };
const COMPRESSED: Forms[] = [
  compressed('lz4', 'Lz4'),
  compressed('snappy', 'Snappy'),
  compressed('zlib', 'Zlib'),
  compressed('zstd', 'Zstd'),
];

function formsOf(version: LiveSlateDb['version'], isOnS3: boolean): Forms[] {
  if (version === '0.12.1') return [plain('auto')];
  const forms = [plain('auto'), plain('slatedb-0.17')];
  if (version === '0.17.0') return forms;
  if (IS_WHOLE) return [...forms, ALIGNED, ...COMPRESSED];
  return isOnS3 ? [plain('auto')] : [...forms, ALIGNED, COMPRESSED[0]];
}

beforeAll(() => ensureBuilt());

describeHandovers(({ version, isOnS3, makeSlate, makePlace }) => {
  describe.each(formsOf(version, isOnS3))('$name', ({ ours: childOptions, theirs, isBrief }) => {
    const { compatibility } = childOptions;
    const options: OpenOptions = { ...childOptions, logger: QUIET };
    const started: LiveSlateDb[] = [];
    let place: SharedPlace;
    let rows: HandoverRows;
    let crashes = 0;

    beforeEach(async () => {
      place = await makePlace();
      rows = new HandoverRows(20261121);
    });
    afterEach(async () => {
      for (const slate of started.splice(0)) await slate.crash();
      await expectManifestsToContinue(place.ours);
      await place.dispose();
    });

    function newSlate(): LiveSlateDb {
      const slate = makeSlate();
      started.push(slate);
      return slate;
    }

    async function slateTurn(ending: Ending, isFirst: boolean): Promise<void> {
      const slate = newSlate();
      await slate.open(place.slate, theirs);
      if (!isFirst) await expectBySlate(slate);
      await inGroups(
        rows.nextTurn(),
        (batch) => slate.write(batch, { awaitDurable: false }),
        () => slate.flush('memtable'),
      );
      await slate.flush('wal');
      if (ending === 'closes') return slate.close();
      const name = `slate-${crashes++}`;
      const last = slate.write(crashBatch(name)).then(
        () => rows.acknowledged(name),
        () => undefined,
      );
      await slate.crash();
      await last;
    }

    async function ourTurn(ending: Ending, isFirst: boolean): Promise<void> {
      if (ending === 'crashes') {
        if (!isFirst) await expectByReader();
        const order = {
          options: childOptions,
          batches: rows.nextTurn(),
          crashName: `ours-${crashes++}`,
          killAfter: 20,
        };
        for (const name of await writeAndDie(place.child, order)) rows.acknowledged(name);
        return;
      }
      const db = await open(place.ours, options);
      if (!isFirst) await expectByUs(db);
      await inGroups(
        rows.nextTurn(),
        (batch) => db.write(toBatch(batch), { awaitDurable: false }),
        () => db.flush({ type: 'memtable' }),
      );
      await db.flush();
      await expectByUs(db);
      await db.close();
    }

    async function expectBySlate(slate: LiveSlateDb): Promise<void> {
      rows.expectScan(await slate.scan());
      const keys = rows.sample();
      rows.expectSample(keys, await slate.getMany(keys));
    }

    async function expectByUs(db: Pick<Db, 'scan' | 'getMany'>): Promise<void> {
      rows.expectScan(await all(db));
      const keys = rows.sample();
      rows.expectSample(keys, await db.getMany(keys));
    }

    async function expectByReader(): Promise<void> {
      const reader = await openReader(place.ours, { logger: QUIET });
      await expectByUs(reader);
      await reader.close();
    }

    /** Lets SlateDB merge tables into sorted runs: 0.17 and later all of them, 0.12.1 as its compactor sees fit. */
    async function slateCompacts(): Promise<void> {
      const slate = newSlate();
      if (slate.version !== '0.12.1') {
        await slate.compactAll(place.slate, theirs);
        return;
      }
      await slate.open(place.slate, { compactor: true });
      const limit = Date.now() + COMPACTION_LIMIT_MS;
      while ((await newestManifest(place.ours)).runs.length === 0) {
        if (Date.now() > limit) throw new Error('SlateDB did not compact in time');
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      await slate.close();
    }

    // Which forms are written does not depend on the place, nor the place on the forms: the long tests below suffice there.
    if (!isBrief && (!isOnS3 || compatibility === 'auto')) {
      it.each(ENDINGS)('it writes and %s; we open, read and write on', async (ending) => {
        await slateTurn(ending, true);
        await expectByReader();
        await ourTurn('closes', false);
        await expectByReader();
        rows.expectScan(await newSlate().readerScan(place.slate));
      });

      it.each(ENDINGS)('we write and our process %s; it opens, reads, writes and compacts', async (ending) => {
        await ourTurn(ending, true);
        await slateTurn('closes', false);
        expect((await newestManifest(place.ours)).l0.length).toBeGreaterThanOrEqual(4);
        await slateCompacts();
        const { runs, l0 } = await newestManifest(place.ours);
        expect({ runs: runs.length > 0, l0: l0.length < 4 }).toEqual({ runs: true, l0: true });
        await expectByReader();
        await ourTurn('closes', false);
        await slateTurn('closes', false);
      });
    }

    it('three times there and back', async () => {
      for (let i = 0; i < 3; i++) {
        await slateTurn(ENDINGS[i % 2], i === 0);
        await ourTurn(ENDINGS[(i + 1) % 2], false);
      }
      await slateCompacts();
      await expectByReader();
      await slateTurn('closes', false);
    });

    if (isBrief) return;
    it('each overtaken writer is fenced, and no acknowledged row is lost', async () => {
      const acknowledged = new Map<string, string>();
      const expectAcknowledged = (read: readonly ReadRow[]) => {
        const found = new Map(read.map((r) => [text(r.key), text(r.value)]));
        const lost = [...acknowledged].filter(([key, value]) => found.get(key) !== value);
        expect({ count: acknowledged.size > 0, lost }).toEqual({ count: true, lost: [] });
      };

      const first = newSlate();
      await first.open(place.slate);
      const slateWriter = writeUntilRefused('slate', (key, value) => first.put(key, value), acknowledged);
      await slateWriter.acknowledgedMore();
      // Our fence comes late, so that the other goes on writing into the slots before it: those rows count, too.
      const late = beforeFirstWalPut(place.ours.store, () =>
        Promise.race([slateWriter.acknowledgedMore(), slateWriter.refused]),
      );
      const ours = await open({ ...place.ours, store: late }, options);
      const refusal = await slateWriter.refused;
      expect(refusal).toMatchObject({ fenced: true });
      expectAcknowledged(await all(ours));
      await expect(first.put('too late', '1')).rejects.toMatchObject({ fenced: true });

      const ourWriter = writeUntilRefused('ours', (key, value) => ours.put(key, value), acknowledged);
      await ourWriter.acknowledgedMore();
      const second = newSlate();
      await second.open(place.slate);
      await second.put('second', 'durable');
      acknowledged.set('second', 'durable');
      expect(await ourWriter.refused).toBeInstanceOf(FencedError);
      expectAcknowledged(await second.scan());
      await expect(ours.put('too late', '2')).rejects.toBeInstanceOf(FencedError);
      await expect(ours.get('second')).rejects.toBeInstanceOf(FencedError);
      await ours.close();
      await second.close();

      const last = await open(place.ours, options);
      expectAcknowledged(await all(last));
      expect(await last.has('too late')).toBe(false);
      await last.close();
      expect((await newestManifest(place.ours)).writerEpoch).toBe(4);
    });
  });
});

/** Rows in flight of a writer that is about to be overtaken. */
const LANES = 4;

/** Writes rows as long as they are taken; the first refusal ends it. */
function writeUntilRefused(
  name: string,
  put: (key: string, value: string) => Promise<unknown>,
  acknowledged: Map<string, string>,
): { acknowledgedMore(): Promise<void>; refused: Promise<unknown> } {
  let next = 0;
  let refusal: unknown;
  let waiting: { from: number; resolve: () => void } | undefined;
  const lane = async () => {
    while (refusal === undefined) {
      const key = `${name}-${String(next++).padStart(6, '0')}`;
      try {
        await put(key, `value of ${key}`);
        acknowledged.set(key, `value of ${key}`);
        if (waiting !== undefined && acknowledged.size >= waiting.from + 2 * LANES) waiting.resolve();
      } catch (error) {
        refusal ??= error;
      }
    }
  };
  const refused = Promise.all(Array.from({ length: LANES }, lane)).then(() => refusal);
  const acknowledgedMore = () =>
    new Promise<void>((resolve) => {
      waiting = { from: acknowledged.size, resolve };
    });
  return { acknowledgedMore, refused };
}

/** The store, but the first PUT of a WAL object, the fence of an opening, is sent only after `wait`. */
function beforeFirstWalPut(store: ObjectStore, wait: () => Promise<unknown>): ObjectStore {
  let isFirst = true;
  return {
    name: store.name,
    ...(store.conformance !== undefined && { conformance: store.conformance }),
    get: (path, o) => store.get(path, o),
    head: (path, o) => store.head(path, o),
    list: (prefix, o) => store.list(prefix, o),
    delete: (paths, o) => store.delete(paths, o),
    put: async (path, bytes, o) => {
      if (isFirst && path.includes('/wal/')) {
        isFirst = false;
        await wait();
      }
      return store.put(path, bytes, o);
    },
  };
}

async function inGroups(
  batches: RowChange[][],
  write: (batch: RowChange[]) => Promise<unknown>,
  flush: () => Promise<unknown>,
): Promise<void> {
  for (let i = 0; i < batches.length; i += BATCHES_PER_TABLE) {
    if (i > 0) await flush();
    await Promise.all(batches.slice(i, i + BATCHES_PER_TABLE).map(write));
  }
}

async function all(db: Pick<Db, 'scan'>): Promise<ReadRow[]> {
  const rows: ReadRow[] = [];
  for await (const row of db.scan()) rows.push(row);
  return rows;
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
