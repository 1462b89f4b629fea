/**
 * How far the log extends. The pure part as data, one log per line: before the bar what the manifest says, with `RN` for its replay
 * point, `named N` for the last object it names and `seal N` for the one in its seal; after the bar the ids that are listed. After the
 * arrow: the last listed, the end, and how many are not listed. Then the requests, over a store in which others write.
 */
import { describe, expect, it } from 'vitest';
import { walPath } from '../../../src/format/object-names.ts';
import type { LoadedManifest } from '../../../src/lsm/manifest/manifest-store.ts';
import {
  endAfter,
  extentOf,
  findLastWalId,
  headsAfter,
  isAnyFrom,
  listFromReplayPoint,
  listLog,
  missingIds,
  namedEnd,
  rangeToReplay,
  tooMuchMissing,
} from '../../../src/recovery/log-range.ts';
import { MAX_MISSING_OBJECTS } from '../../../src/recovery/wal-errors.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { rejection } from '../../support/database.ts';
import { interfered } from '../../support/interference.ts';

interface Said {
  replay: number;
  named?: number | undefined;
  seal?: number | undefined;
}

function manifestOf({ replay, named = replay, seal }: Said): LoadedManifest {
  const walTail = { id: seal ?? 0, lastSeq: 0, digest: new Uint8Array(16) };
  return {
    id: 1,
    manifest: { replayAfterWalId: replay, walIdLastSeen: named, lastL0Seq: 0 },
    seal: seal === undefined ? undefined : { manifest: { walTail } },
    digest: new Uint8Array(16),
    sizeBytes: 1,
  } as unknown as LoadedManifest;
}

const EXTENTS = `
  an empty log
  R0 |                          => listed 0, end 0, unlisted 0
  R4 named 4 |                  => listed 4, end 4, unlisted 0
  R4 named 4 seal 4 |           => listed 4, end 4, unlisted 0

  all that is there is listed
  R0 | 1 2 3                    => listed 3, end 3, unlisted 0
  R4 named 4 | 5 6              => listed 6, end 6, unlisted 0
  R4 named 6 seal 6 | 5 6       => listed 6, end 6, unlisted 0

  in whatever order, and with what is before the replay point
  R0 | 3 1 2                    => listed 3, end 3, unlisted 0
  R4 named 4 | 3 4 5 6          => listed 6, end 6, unlisted 0
  R4 named 4 | 2 3 4            => listed 4, end 4, unlisted 0

  the manifest names what no list shows
  R4 named 7 | 5 6              => listed 6, end 7, unlisted 1
  R4 named 4 seal 7 | 5         => listed 5, end 7, unlisted 2
  R4 named 6 seal 5 |           => listed 4, end 6, unlisted 2

  holes
  R0 | 1 3 6                    => listed 6, end 6, unlisted 3
  R4 named 4 | 7                => listed 7, end 7, unlisted 2
  R4 named 9 | 6                => listed 6, end 9, unlisted 4

  a manifest that names less than its replay point never takes the end back
  R4 named 2 |                  => listed 4, end 4, unlisted 0
  R4 named 2 seal 3 | 5         => listed 5, end 5, unlisted 0
`;

describe('the extent of the log', () => {
  const lines = EXTENTS.split('\n').flatMap((line) => {
    const [log, answer] = line.split('=>').map((part) => part.trim());
    return answer === undefined ? [] : [{ log: log!, answer }];
  });

  it.each(lines)('$log => $answer', ({ log, answer }) => {
    const [, replay, named, seal, ids] = /^R(\d+)(?: named (\d+))?(?: seal (\d+))? \|(.*)$/.exec(log)!;
    const number = (text: string | undefined) => (text === undefined ? undefined : Number(text));
    const newest = manifestOf({ replay: Number(replay), named: number(named), seal: number(seal) });
    const listed = new Map(
      ids!.trim() === ''
        ? []
        : ids!
            .trim()
            .split(' ')
            .map((id) => [Number(id), {}]),
    );
    const { after, lastListed, end, unlisted } = extentOf(newest, listed);
    expect(`listed ${lastListed}, end ${end}, unlisted ${unlisted}`).toBe(answer);
    expect(after).toBe(Number(replay));
  });

  it('is too large where more is missing than can be lost one by one, and not one less', () => {
    for (const [end, isTooMuch] of [
      [MAX_MISSING_OBJECTS + 5, false],
      [MAX_MISSING_OBJECTS + 6, true],
    ] as const) {
      const newest = manifestOf({ replay: 4, named: end });
      const listed = new Map([3, 4, 5].map((id) => [id, {}]));
      expect(tooMuchMissing(newest, listed, extentOf(newest, listed)) !== undefined).toBe(isTooMuch);
    }
  });

  it('ends at what the manifest names, in itself or in its seal', () => {
    expect(namedEnd(manifestOf({ replay: 1, named: 5 }))).toBe(5);
    expect(namedEnd(manifestOf({ replay: 1, named: 5, seal: 4 }))).toBe(5);
    expect(namedEnd(manifestOf({ replay: 1, named: 5, seal: 6 }))).toBe(6);
  });
});

const PUT_ID = '01ARZ3NDEKTSV4RRFFQ69G5FAV';

/** A store with these objects in its log, of as many bytes as their id says. */
async function logOf(...ids: number[]) {
  const memory = new MemoryStore();
  const put = async (...paths: string[]) => {
    for (const path of paths)
      await memory.put(path, new Uint8Array(Number(/\d+/.exec(path)?.[0] ?? 0)), { condition: 'any', putId: PUT_ID });
  };
  await put(...ids.map(walPath));
  return { memory, put, ...interfered(memory) };
}

/** Requests with short ids. */
const short = (requests: string[]) => requests.map((r) => r.replace(/wal\/0*(\d+)\.sst/, '$1'));

describe('listing the log', () => {
  it('gives sizes, and only what is after a certain object', async () => {
    const { store, requests } = await logOf(1, 2, 3, 12);
    expect([...(await listLog(store))].map(([id, { size }]) => [id, size])).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
      [12, 12],
    ]);
    expect([...(await listLog(store, 2)).keys()]).toEqual([3, 12]);
    expect([...(await listLog(store, 12)).keys()]).toEqual([]);
    expect(requests).toEqual(['list wal/', 'list wal/', 'list wal/']);
  });

  it('passes over what is no object of a log, of whatever name', async () => {
    const { store, put } = await logOf(1, 2);
    await put(walPath(0), 'wal/0.sst', 'wal/zzz.tmp', `${walPath(7)}.tmp`, 'wal/sub/00000000000000000009.sst');
    expect([...(await listLog(store)).keys()]).toEqual([1, 2]);
    expect(await findLastWalId(store)).toBe(2);
    expect(await isAnyFrom(store, 3)).toBe(false);
  });

  it.each([
    { ids: [], after: 0, listed: [], isThere: false },
    { ids: [1, 2], after: 0, listed: [1, 2], isThere: false },
    { ids: [1, 2], after: 1, listed: [2], isThere: true },
    { ids: [2, 3], after: 1, listed: [2, 3], isThere: false },
    { ids: [3, 4, 5], after: 4, listed: [5], isThere: true },
    { ids: [3, 5], after: 4, listed: [5], isThere: false },
    { ids: [3, 4], after: 4, listed: [], isThere: true },
  ])('from the replay point: $ids after $after', async ({ ids, after, listed, isThere }) => {
    const { store, requests } = await logOf(...ids);
    const found = await listFromReplayPoint(store, after);
    expect([...found.listed.keys()]).toEqual(listed);
    expect(found.isReplayPointThere).toBe(isThere);
    expect(requests).toEqual(['list wal/']);
  });

  it('finds the last object, and none where there is none', async () => {
    expect(await findLastWalId((await logOf()).store)).toBeUndefined();
    expect(await findLastWalId((await logOf(3, 100, 20)).store)).toBe(100);
  });
});

describe('whether an object or a later one is there', () => {
  it('is answered by one HEAD where it is, also if lists lag', async () => {
    const { store, hidden, requests } = await logOf(4, 5);
    for (const id of [4, 5]) hidden.add(walPath(id));
    expect(await isAnyFrom(store, 4)).toBe(true);
    expect(short(requests)).toEqual(['head 4']);
  });
  it('is answered by a list where only a later one is', async () => {
    const { store, requests } = await logOf(9);
    expect(await isAnyFrom(store, 4)).toBe(true);
    expect(short(requests)).toEqual(['head 4', 'list wal/']);
  });
  it('is no where only earlier ones are', async () => {
    const { store } = await logOf(1, 2, 3);
    expect(await isAnyFrom(store, 4)).toBe(false);
  });
  it('sees what appears between the two', async () => {
    const { store, put, onRequest } = await logOf();
    onRequest('list wal/', () => put(walPath(5)));
    expect(await isAnyFrom(store, 4)).toBe(true);
  });
});

describe('past the end of a listing', () => {
  it('asks for three ids and gives what it finds', async () => {
    const { store, requests } = await logOf(5, 7, 8);
    expect([...(await headsAfter(store, 4))].map(([id, { size }]) => [id, size])).toEqual([
      [5, 5],
      [7, 7],
    ]);
    expect(short(requests)).toEqual(['head 5', 'head 6', 'head 7']);
  });

  it.each([
    { ids: [1, 2, 3], end: 3, last: 3, heads: 3, what: 'nothing' },
    { ids: [1, 2, 3, 4], end: 3, last: 4, heads: 6, what: 'one' },
    { ids: [4, 5, 6, 7, 8, 9, 10], end: 3, last: 10, heads: 12, what: 'seven, as a list that lags' },
    { ids: [5], end: 3, last: 5, heads: 6, what: 'one after a hole' },
    { ids: [6], end: 3, last: 6, heads: 6, what: 'one after two holes' },
    { ids: [7], end: 3, last: 3, heads: 3, what: 'nothing within three' },
    { ids: [6, 9, 12], end: 3, last: 12, heads: 12, what: 'ever more after holes' },
  ])('finds $what', async ({ ids, end, last, heads }) => {
    const { store, requests } = await logOf(...ids);
    expect(await endAfter(store, end)).toBe(last);
    expect(requests).toHaveLength(heads);
  });

  it('follows a writer that adds objects in the meantime', async () => {
    const { store, put, onRequest, requests } = await logOf(4);
    onRequest(`head ${walPath(5)}`, () => put(walPath(7)), 2);
    onRequest(`head ${walPath(8)}`, () => put(walPath(8)), 1);
    expect(await endAfter(store, 3)).toBe(8);
    expect(short(requests)).toEqual([4, 5, 6, 5, 6, 7, 8, 9, 10, 9, 10, 11].map((id) => `head ${id}`));
  });
});

describe('the range to replay', () => {
  it('goes from the replay point to the last that is there, whether listed or not', async () => {
    const { store, hidden, requests } = await logOf(3, 4, 5, 6, 7);
    for (const id of [6, 7]) hidden.add(walPath(id));
    const newest = manifestOf({ replay: 4, named: 4 });
    const { listed } = await listFromReplayPoint(store, 4);
    expect([...listed.keys()]).toEqual([5]);
    expect(await rangeToReplay(store, newest, listed)).toEqual({ from: 5, end: 7 });
    const heads = [6, 7, 8, 8, 9, 10].map((id) => `head ${id}`);
    expect(short(requests)).toEqual(['list wal/', ...heads]);
  });

  it('has what was written past the LIST while it was answered', async () => {
    const { store, put, onRequest } = await logOf(1, 2);
    onRequest(`head ${walPath(3)}`, () => put(walPath(3)), 1);
    expect(await rangeToReplay(store, manifestOf({ replay: 0, named: 2 }), await listLog(store))).toEqual({
      from: 1,
      end: 3,
    });
  });

  it('has what must be there though nothing shows it', async () => {
    const { store } = await logOf(1);
    const newest = manifestOf({ replay: 0, named: 2, seal: 4 });
    expect(await rangeToReplay(store, newest, await listLog(store))).toEqual({ from: 1, end: 4 });
  });

  it('is empty after the last object', async () => {
    const { store } = await logOf(1, 2);
    const listed = await listLog(store);
    expect(await rangeToReplay(store, manifestOf({ replay: 2 }), listed)).toEqual({ from: 3, end: 2 });
  });

  it('is refused before anything is asked for where a number is wrong', async () => {
    const { store, requests } = await logOf(1);
    const listed = await listLog(store);
    const newest = manifestOf({ replay: 0, named: 1_000_000 });
    const error = await rejection(rangeToReplay(store, newest, listed));
    expect(error).toMatchObject({ name: 'RollbackError', code: 'ROLLED_BACK' });
    expect(requests).toEqual(['list wal/']);
  });
});

describe('what is missing of a range', () => {
  it('is what neither a list nor a HEAD shows', async () => {
    const { store, hidden } = await logOf(5, 6, 8);
    hidden.add(walPath(6));
    const listed = await listLog(store, 4);
    expect([...listed.keys()]).toEqual([5, 8]);
    expect(await missingIds(store, { from: 5, end: 9 }, listed)).toEqual([7, 9]);
  });

  it('costs a HEAD for each that is not listed, nothing where all is', async () => {
    const { store, requests } = await logOf(5, 6, 8);
    const listed = await listLog(store, 4);
    requests.length = 0;
    expect(await missingIds(store, { from: 5, end: 6 }, listed)).toEqual([]);
    expect(requests).toEqual([]);
    expect(await missingIds(store, { from: 5, end: 8 }, listed)).toEqual([7]);
    expect(short(requests)).toEqual(['head 7']);
  });

  it('is asked for by a second list from 33 on, which sees what came in the meantime', async () => {
    const { store, put, onRequest, requests } = await logOf();
    onRequest('list wal/', () => put(walPath(41), walPath(10)));
    const gone = await missingIds(store, { from: 1, end: 42 }, new Map());
    // HEADs were asked before it came.
    expect(gone).toEqual(Array.from({ length: 42 }, (_, i) => i + 1).filter((id) => id !== 41));
    expect(requests.filter((r) => r.startsWith('head'))).toHaveLength(32);
    expect(requests.filter((r) => r.startsWith('list'))).toHaveLength(1);
  });

  it('names no more than a thousand', async () => {
    const { store } = await logOf();
    expect(await missingIds(store, { from: 1, end: 5000 }, new Map())).toHaveLength(1000);
  });
});
