/** Reading the log after the replay point: what is asked for, what is kept, and what is judged. */
import { describe, expect, it } from 'vitest';
import { CorruptionError } from '../../../src/common/errors.ts';
import { SILENT_LOGGER } from '../../../src/common/logger.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { NO_CODEC } from '../../../src/format/codecs.ts';
import { parseWalPath, walPath } from '../../../src/format/object-names.ts';
import { NO_TS } from '../../../src/format/row-flags.ts';
import { Author } from '../../../src/lsm/manifest/author.ts';
import { emptyManifest } from '../../../src/lsm/manifest/manifest-edits.ts';
import { loadManifest, NO_WITNESS, sealManifest } from '../../../src/lsm/manifest/manifest-store.ts';
import { Memtable } from '../../../src/lsm/memtable/memtable.ts';
import type { WalDigest } from '../../../src/lsm/wal/wal-object.ts';
import { encodeFence, encodeWalObject } from '../../../src/lsm/wal/wal-writer.ts';
import { VerifiedLog } from '../../../src/recovery/verified-log.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import type { ObjectStore } from '../../../src/store/object-store.ts';
import { forwarding } from '../../support/forwarding-store.ts';

const KEY = Uint8Array.of(7);
const PUT = { condition: 'any', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' } as const;

/** A log of a fence and objects of one row each, with ids 1 to `objects` + 1 and rows from 1 on; the replay point is 0. */
async function world(objects: number, memoryBytes = 1 << 20) {
  const clock = new ManualClock();
  const memory = new MemoryStore({ clock });
  const gets: number[] = [];
  const store: ObjectStore = {
    ...forwarding(memory),
    get: (path, options) => {
      const id = parseWalPath(path);
      if (id !== undefined) gets.push(id);
      return memory.get(path, options);
    },
  };
  const author = new Author({
    clock,
    random: new SeededRandom(1),
    owner: 'w',
    databaseId: new Uint8Array(16),
    role: 'writer',
  });
  const facts = { epoch: 1, newestManifestId: 1 };
  const fence = encodeFence({ id: 1, ...facts, predecessor: undefined, lastSeq: 0 }, 'table', NO_CODEC, author);
  await memory.put(walPath(1), fence.bytes, PUT);
  let predecessor: WalDigest = fence.digest;
  const append = async (id: number) => {
    const table = new Memtable();
    table.add(KEY, KEY, id - 1, 0, NO_TS, NO_TS);
    const format = { blockBytes: 4096, codec: NO_CODEC, filterForm: 'composite' as const };
    const encoding = encodeWalObject(
      { table, from: 0, to: 1, bytes: 100 },
      { id, ...facts, predecessor },
      format,
      author,
    );
    const { bytes, digest } = await clock.runUntilSettled(encoding);
    predecessor = digest;
    await memory.put(walPath(id), bytes, PUT);
  };
  for (let id = 2; id <= objects + 1; id++) await append(id);
  const manifest = { ...emptyManifest(2, false), writerEpoch: 1 };
  const sealed = sealManifest({ id: 1, manifest, previous: undefined, author, epoch: 1, witness: NO_WITNESS });
  const newest = loadManifest(1, sealed.bytes);
  const means = {
    settings: { memoryBytes, healOnOpen: false },
    parts: { clock, logger: SILENT_LOGGER, onEvent: () => undefined },
  };
  const log = new VerifiedLog({ wal: store, main: store, hasWalStore: false }, means);
  const run = <T>(promise: Promise<T>) => clock.runUntilSettled(promise);
  return { log, newest, gets, memory, append, run, load: () => run(log.load(newest)) };
}

describe('a sound log', () => {
  it('is read once, each object with one GET, and gives its rows', async () => {
    const { log, newest, gets, load, run } = await world(3);
    await load();
    expect([log.from, log.end, log.greatestSeq, log.verdict(newest), log.prefixEnd]).toEqual([1, 4, 3, undefined, 4]);
    expect((await run(log.take(3))).rowCount).toBe(1);
    expect(gets.sort()).toEqual([1, 2, 3, 4]);
  });

  it('is not read again when it grows, but for what is new', async () => {
    const { log, newest, gets, load, append } = await world(2);
    await load();
    gets.length = 0;
    await append(4);
    await load();
    expect([gets, log.end, log.verdict(newest)]).toEqual([[4], 4, undefined]);
  });

  it('that does not fit into memory is judged whole, and read again as its rows are taken', async () => {
    const { log, newest, gets, load, run } = await world(3, 16);
    await load();
    expect([log.verdict(newest), log.memoryBytes < 4 * 4096]).toEqual([undefined, true]);
    gets.length = 0;
    expect((await run(log.take(3))).rowCount).toBe(1);
    expect(gets).toEqual([3]);
  });

  it('counts what it keeps down to nothing when all of it was taken or forgotten', async () => {
    const { log, load, run } = await world(3);
    await load();
    for (const id of [1, 2, 3]) await run(log.take(id));
    log.forgetBefore(5);
    expect(log.memoryBytes).toBe(0);
  });

  it('reads what was passed while a fence was placed', async () => {
    const { log, newest, load, append, run } = await world(1);
    await load();
    await append(3);
    await run(log.extend(3));
    expect([log.end, log.greatestSeq, log.verdict(newest)]).toEqual([3, 2, undefined]);
    await expect(log.extend(2)).rejects.toThrow(/does not shrink/);
  });
});

describe('a damaged log', () => {
  it('with a hole is an error, and sound before it', async () => {
    const { log, newest, memory, load } = await world(3);
    await memory.delete([walPath(3)]);
    await load();
    expect(log.verdict(newest)).toBeInstanceOf(CorruptionError);
    expect(log.prefixEnd).toBe(2);
  });

  it('is read again when it was put right', async () => {
    const { log, newest, memory, load, gets } = await world(2);
    const good = (await memory.get(walPath(2)))!.bytes;
    await memory.put(walPath(2), good.slice(0, 20), PUT);
    await load();
    expect(log.verdict(newest)).toBeInstanceOf(CorruptionError);
    await memory.put(walPath(2), good, PUT);
    gets.length = 0;
    await load();
    expect([log.verdict(newest), gets]).toEqual([undefined, [2]]);
  });
});

describe('an object', () => {
  it('gives no rows before it was read', async () => {
    const { log, run } = await world(1);
    await expect(run(log.take(2))).rejects.toThrow(/rows are taken of an object that was verified/);
  });
});
