/**
 * Which manifest decides about the end of a log, as data: manifests on the left, oldest first, the newest last; what is decided on the right.
 * A manifest is `wE` of a writer with epoch E, `tE` a repair's claim that did not end, `rE` a repair that ended, `sE` of SlateDB (no seal);
 * `bad` cannot be read. `/N` is the last object of the log that it knows. Ids begin with 1.
 */
import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { encodeManifest } from '../../../src/format/manifest-codec.ts';
import { manifestPath } from '../../../src/format/object-names.ts';
import { Author } from '../../../src/lsm/manifest/author.ts';
import { emptyManifest } from '../../../src/lsm/manifest/manifest-edits.ts';
import { type LoadedManifest, loadManifest, sealManifest } from '../../../src/lsm/manifest/manifest-store.ts';
import type { WalReadResult } from '../../../src/lsm/wal/wal-object.ts';
import {
  boundOf,
  logEvidenceOf,
  readLogEvidence,
  withOlderWriterTail,
  withoutEmptyFences,
} from '../../../src/recovery/log-evidence.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';

const PUT = { condition: 'any', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' } as const;

/** A store with these manifests, and the newest of them. */
async function manifests(text: string): Promise<{ store: MemoryStore; all: LoadedManifest[]; newest: LoadedManifest }> {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const all: LoadedManifest[] = [];
  let id = 0;
  for (const word of text.split(' ')) {
    id++;
    if (word === 'bad') {
      await store.put(manifestPath(id), new Uint8Array(50).fill(7), PUT);
      continue;
    }
    const [, kind, epoch, end] = /^([wtrs])(\d+)(?:\/(\d+))?$/.exec(word)!;
    const walIdLastSeen = Number(end ?? 0);
    const manifest = { ...emptyManifest(2, false), writerEpoch: Number(epoch), walIdLastSeen };
    const role = kind === 'w' ? 'writer' : 'tool';
    const author = new Author({
      clock,
      random: new SeededRandom(id),
      owner: 'h:1',
      databaseId: new Uint8Array(16),
      role,
    });
    const witness = { id: walIdLastSeen, lastSeq: 0, digest: new Uint8Array(16) };
    const bytes =
      kind === 's'
        ? encodeManifest(manifest)
        : sealManifest({
            id,
            manifest,
            previous: all.at(-1),
            author,
            epoch: Number(epoch),
            witness,
            claims: kind === 't',
          }).bytes;
    await store.put(manifestPath(id), bytes, PUT);
    all.push(loadManifest(id, bytes));
  }
  return { store, all, newest: all.at(-1)! };
}

const clock = new ManualClock();
const run = <T>(promise: Promise<T>) => clock.runUntilSettled(promise);

describe('the evidence', () => {
  it.each([
    ['w1/3', 'epoch 1, fences -'],
    ['w1/3 w2/5', 'epoch 2, fences -'],
    // Claims of repairs that were cut off claimed an epoch whose fence may be there, and are passed over.
    ['w1/3 t2/4', 'epoch 1, fences 5'],
    ['w1/3 t2/4 t3/6', 'epoch 1, fences 5 7'],
    ['w1/3 t2/4 t3/4', 'epoch 1, fences 5'],
    ['w1/3 r2/4', 'epoch 2, fences -'],
    // Nothing readable is before the claim: then it decides, without the epoch that has no fence.
    ['bad t2/4', 'epoch 1, fences 5'],
    ['s1/3 t2/4', 'epoch 1, fences 5'],
  ])('of %s: %s', async (text, expected) => {
    const { store, newest } = await manifests(text);
    const { context, fenceIds } = await run(readLogEvidence(store, newest));
    expect(`epoch ${context.writerEpoch}, fences ${[...fenceIds].sort().join(' ') || '-'}`).toBe(expected);
  });

  it('names the end that a writer knew, but none that was only claimed', async () => {
    const { all } = await manifests('w1/3 t2/4 s3/9');
    expect(all.map((m) => logEvidenceOf(m).context.writerTail?.id)).toEqual([3, undefined, undefined]);
  });

  it('is never a newer manifest than the newest', async () => {
    const { all } = await manifests('w1/3 w2/5');
    expect(() => logEvidenceOf(all[0], all[1])).toThrow(InternalError);
  });
});

const empty = (id: number) => ({ id, object: { id, kind: 'empty' } }) as unknown as WalReadResult;
const rows = (id: number) => ({ id, object: { id, kind: 'rows' } }) as unknown as WalReadResult;

describe('fences without bytes at the end of a log', () => {
  it('are left out where repairs that were cut off meant to put them, and no other', async () => {
    const { newest } = await manifests('w1/3');
    const evidence = { ...logEvidenceOf(newest), fenceIds: new Set([2, 4, 5]) };
    const kept = (...results: (WalReadResult | undefined)[]) =>
      withoutEmptyFences(results, evidence)
        .map((r) => r?.id ?? '-')
        .join(' ');
    expect(kept(rows(1), empty(2), rows(3), empty(4), empty(5))).toBe('1 2 3');
    expect(kept(rows(1), empty(2), rows(3), empty(4), empty(6))).toBe('1 2 3 4 6');
    expect(kept(rows(3), undefined)).toBe('3 -');
    expect(kept(empty(4), empty(5))).toBe('');
  });
});

describe('the end that an older manifest names', () => {
  it('is looked for only where empty objects follow each other', async () => {
    const { store, newest } = await manifests('w1/3 t2/4');
    const evidence = await run(readLogEvidence(store, newest));
    const none = await run(withOlderWriterTail(store, newest, evidence, [rows(1), empty(2), rows(3), empty(4)]));
    expect(none).toBe(evidence);
    const found = await run(
      withOlderWriterTail(store, newest, { ...evidence, context: { ...evidence.context, writerTail: undefined } }, [
        rows(3),
        empty(4),
        empty(5),
      ]),
    );
    expect(found.context.writerTail).toEqual({ id: 3, epoch: 1 });
  });
});

describe('what a repair found', () => {
  it('bounds the epochs of what was there before it, by the highest that could be read', async () => {
    const { all } = await manifests('w1/3 w4/5 r5/7');
    expect(boundOf(all.slice(0, 2), all[2])).toEqual({ id: 7, epoch: 4 });
    expect(() => boundOf([], all[2])).toThrow(InternalError);
  });
});
