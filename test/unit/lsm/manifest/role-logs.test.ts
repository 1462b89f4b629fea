/** The versioned log as the roles use it: manifests and compactions files, sealed, under the epoch of the role that holds them. */
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../../src/common/random.ts';
import { makeUlid } from '../../../../src/common/ulid.ts';
import { type Compactions, decodeCompactions, encodeCompactions } from '../../../../src/format/compactions-codec.ts';
import type { RunningJob } from '../../../../src/format/jobs-record.ts';
import { decodeManifest, encodeManifest } from '../../../../src/format/manifest-codec.ts';
import type { Manifest } from '../../../../src/format/manifest-types.ts';
import { compactionsPath, manifestPath } from '../../../../src/format/object-names.ts';
import { decodeManifestSeal } from '../../../../src/format/seal.ts';
import { Author } from '../../../../src/lsm/manifest/author.ts';
import { CompactionsLog, openCompactionsLog } from '../../../../src/lsm/manifest/compactions-log.ts';
import {
  COMPACTIONS_FORM,
  findNewestCompactions,
  type JobsFile,
  jobsOf,
} from '../../../../src/lsm/manifest/compactions-store.ts';
import { EpochGuard } from '../../../../src/lsm/manifest/epoch-guard.ts';
import { claimEpochs } from '../../../../src/lsm/manifest/manifest-edits.ts';
import { ManifestLog } from '../../../../src/lsm/manifest/manifest-log.ts';
import { NO_WITNESS, readManifest } from '../../../../src/lsm/manifest/manifest-store.ts';
import { MemoryStore } from '../../../../src/store/memory-store.ts';
import { manifestText, parseManifest } from '../../../support/manifest-script.ts';

let clock: ManualClock;
let random: SeededRandom;
let store: MemoryStore;
let author: Author;
beforeEach(() => {
  clock = new ManualClock();
  random = new SeededRandom(1);
  store = new MemoryStore({ clock });
  author = new Author({ clock, random, owner: 'me:1', databaseId: new Uint8Array(16).fill(7), role: 'tool' });
});

const put = (path: string, bytes: Uint8Array) =>
  store.put(path, bytes, { condition: 'any', putId: makeUlid(clock.nowMs(), random) });
const guard = () => new EpochGuard(clock, () => []);

describe('the log of manifests', () => {
  const script = (id: number, text: string) => put(manifestPath(id), encodeManifest(parseManifest(text)));

  async function logOf(role: 'writer' | 'compactor' | 'none', epoch: number) {
    await script(1, 'writer 3; compactor 5');
    const current = (await readManifest(store, 1))!;
    const options = { store, author, guard: guard(), role, epoch, current, hasBoundary: false };
    return new ManifestLog({ ...options, witness: () => NO_WITNESS, onAdopt: () => undefined });
  }
  const seen = (log: ManifestLog) => log.commit((m) => ({ ...m, walIdLastSeen: 9 }));

  it.each([
    ['writer', 3, 'writer 4; compactor 5', 'WRITER_FENCED'],
    ['compactor', 5, 'writer 3; compactor 6', 'COMPACTOR_FENCED'],
  ] as const)('fences the %s by its epoch, and says who has it', async (role, epoch, next, code) => {
    const log = await logOf(role, epoch);
    await script(2, next);
    await expect(seen(log)).rejects.toMatchObject({ code, details: { epoch, takenBy: epoch + 1 } });
    await expect(log.refresh()).rejects.toMatchObject({ code });
  });

  it.each([
    ['writer', 3, 'writer 3; compactor 6'],
    ['compactor', 5, 'writer 4; compactor 5'],
    ['none', 0, 'writer 9; compactor 9'],
  ] as const)('lets the %s go on whatever other roles claim', async (role, epoch, next) => {
    const log = await logOf(role, epoch);
    await script(2, next);
    await seen(log);
    expect(log.current.id).toBe(3);
    expect(manifestText(log.current.manifest)).toContain(next);
    expect(log.current.manifest.walIdLastSeen).toBe(9);
  });

  describe('as the compactor of this process uses it', () => {
    const compactor = () =>
      new Author({ clock, random, owner: 'me:1', databaseId: new Uint8Array(16).fill(7), role: 'compactor' });
    const claim = (log: ManifestLog) =>
      log.commit((m) => claimEpochs(m, { compactor: m.compactorEpoch + 1 }), {
        asCompactor: { author: compactor(), epoch: undefined },
      });

    it('is sealed in its name and under its epoch, with the owner where it claims one', async () => {
      const log = await logOf('writer', 3);
      await claim(log);
      const { identity, owner } = log.current.seal!;
      expect([identity.role, identity.epoch, owner?.hostPid]).toEqual(['compactor', 6, 'me:1']);
      await log.commit((m) => ({ ...m, walIdLastSeen: 9 }), { asCompactor: { author: compactor(), epoch: 6 } });
      await seen(log);
      const later = log.current.seal!;
      expect([log.current.id, later.identity.role, later.identity.epoch, later.owner]).toEqual([
        4,
        'tool',
        3,
        undefined,
      ]);
    });

    it('compares its epoch each time a change is applied; being fenced ends that commit alone', async () => {
      const log = await logOf('writer', 3);
      await claim(log);
      const applied: number[] = [];
      const change = (m: Manifest, id: number) => {
        applied.push(id);
        return { ...m, walIdLastSeen: 9 };
      };
      const asCompactor = { author: compactor(), epoch: 6 };
      await script(3, 'writer 3; compactor 6; seen 1');
      await log.commit(change, { asCompactor });
      expect(applied).toEqual([2, 3]);
      await script(5, 'writer 3; compactor 7; seen 9');
      await expect(log.commit(change, { asCompactor })).rejects.toMatchObject({
        code: 'COMPACTOR_FENCED',
        details: { epoch: 6, takenBy: 7 },
      });
      expect(applied).toEqual([2, 3, 4]);
      await log.commit((m) => ({ ...m, walIdLastSeen: 10 }));
      expect([log.current.id, log.current.manifest.compactorEpoch]).toEqual([6, 7]);
    });

    it('does not go on from an older epoch, nor claims what it has or has what it does not claim', async () => {
      const log = await logOf('writer', 3);
      const commit = (epoch: number | undefined, to: number) =>
        log.commit((m) => claimEpochs(m, { compactor: to }), { asCompactor: { author: compactor(), epoch } });
      for (const [epoch, to] of [
        [6, 5],
        [undefined, 5],
        [5, 6],
      ] as const) {
        await expect(commit(epoch, to)).rejects.toMatchObject({ code: 'INVARIANT' });
      }
      expect(log.current.id).toBe(1);
    });
  });

  it('shows changes the newest version of the ledger that manifests have named', async () => {
    const log = await logOf('none', 0);
    await log.commit((m) => ({ ...m, walIdLastSeen: 1 }), { ledgerVersion: 4 });
    await script(3, 'writer 3; compactor 5; seen 2');
    const versions: number[] = [];
    await log.commit((_m, _id, ledgerVersion) => void versions.push(ledgerVersion));
    await log.refresh();
    await log.commit((_m, _id, ledgerVersion) => void versions.push(ledgerVersion));
    expect([versions, log.current.id]).toEqual([[4, 4], 3]);
  });

  it('gives changes the id of the manifest that they are made of, for checkpoints on it', async () => {
    const log = await logOf('none', 0);
    await script(2, 'writer 3; compactor 5; seen 1');
    const ids: number[] = [];
    await log.commit((m, id) => {
      ids.push(id);
      return { ...m, walIdLastSeen: 9 };
    });
    expect(ids).toEqual([1, 2]);
  });

  it('goes on from the newest version of the ledger that it has seen, whichever process wrote after it', async () => {
    const log = await logOf('none', 0);
    await log.commit((m) => ({ ...m, walIdLastSeen: 1 }), { ledgerVersion: 4 });
    await script(3, 'writer 3; compactor 5; seen 2');
    await seen(log);
    expect([log.current.id, log.current.seal?.manifest?.ledgerVersion]).toEqual([4, 4]);
  });

  it('writes nothing that goes back', async () => {
    const log = await logOf('none', 0);
    await expect(log.commit((m) => ({ ...m, writerEpoch: 2 }))).rejects.toMatchObject({ code: 'INVARIANT' });
    expect(await store.head(manifestPath(2))).toBeUndefined();
    await log.commit((m) => claimEpochs(m, { compactor: 6 }));
    expect(decodeManifest((await store.get(manifestPath(2)))!.bytes).manifest.compactorEpoch).toBe(6);
  });
});

describe('the log of compactions files', () => {
  const file = (more: Partial<Compactions> = {}): Compactions => ({
    headerVersion: 2,
    compactorEpoch: 5,
    jobs: [],
    hasUnknownFields: false,
    ...more,
  });
  /** A change of the list. */
  const edit = (change: (c: Compactions) => Compactions | undefined) => (jobs: JobsFile) => {
    const compactions = change(jobs.compactions);
    return compactions && { ...jobs, compactions };
  };
  const claim6 = edit((c) => (c.compactorEpoch >= 6 ? undefined : { ...c, compactorEpoch: 6 }));
  const write = (id: number, more: Partial<Compactions> = {}) =>
    put(compactionsPath(id), encodeCompactions(file(more)));

  async function logOf(role: 'compactor' | 'none', hasBoundary = false) {
    await write(1);
    const current = (await COMPACTIONS_FORM.read(store, 1))!;
    const options = { store, author, guard: guard(), role, epoch: 5, current, hasBoundary, newestManifestId: () => 4 };
    return new CompactionsLog(options);
  }

  it('writes sealed files, which name the compactor’s epoch and the newest manifest', async () => {
    const log = await logOf('compactor');
    await log.commit(edit((c) => ({ ...c, headerVersion: 1 })));
    const { bytes } = (await store.get(compactionsPath(2)))!;
    const { compactions, bodyBytes } = decodeCompactions(bytes);
    expect(compactions).toEqual(file({ headerVersion: 1 }));
    const seal = decodeManifestSeal(bytes, bodyBytes, 'compactions');
    expect(seal?.identity).toMatchObject({ epoch: 5, newestManifestId: 4, putId: expect.any(String) });
    expect(log.current.id).toBe(2);
  });

  it('keeps the jobs on which the author works in the seal, where SlateDB does not see them', async () => {
    const log = await logOf('compactor');
    const job: RunningJob = {
      id: makeUlid(5, random),
      segment: Uint8Array.of(7),
      destination: 3,
      isBottom: true,
      retentionMinSeq: 9,
      tickMs: Number.NEGATIVE_INFINITY,
      sourcesDigest: new Uint8Array(16).fill(1),
      l0ViewIds: [makeUlid(4, random)],
      runs: [3],
      parts: [],
    };
    await log.commit((jobs) => ({ ...jobs, running: [job] }));
    const read = (await COMPACTIONS_FORM.read(store, 2))!;
    expect([read.compactions.jobs, jobsOf(read).running]).toEqual([[], [job]]);
    await log.commit(({ compactions, running }) => ({ compactions, running: running.slice(1) }));
    expect(log.current.seal?.jobs).toBeUndefined();
  });

  it('fences a compactor by its epoch; a process without a role goes on', async () => {
    const compactor = await logOf('compactor');
    const tool = await logOf('none');
    await write(2, { compactorEpoch: 6 });
    const claim = edit((c) => ({ ...c, compactorEpoch: c.compactorEpoch + 1 }));
    await expect(compactor.commit(claim)).rejects.toMatchObject({
      code: 'COMPACTOR_FENCED',
      details: { epoch: 5, takenBy: 6 },
    });
    await tool.commit(claim);
    expect(tool.current).toMatchObject({ id: 3, compactions: { compactorEpoch: 7 } });
  });

  it('does not count in an id that a collector has deleted by its own boundary', async () => {
    const log = await logOf('none', true);
    await write(5);
    await put('gc/compactions.boundary', new TextEncoder().encode('4'));
    await put('gc/manifest.boundary', new TextEncoder().encode('no number'));
    await log.commit(claim6);
    expect([log.current.id, await findNewestCompactions(store)]).toEqual([6, 6]);
  });

  it('lets no epoch go back, and rewrites nothing that it does not know', async () => {
    const log = await logOf('none');
    await expect(log.commit(edit((c) => ({ ...c, compactorEpoch: 4 })))).rejects.toMatchObject({ code: 'INVARIANT' });
    const current = { ...log.current, compactions: file({ hasUnknownFields: true }) };
    const options = { store, author, guard: guard(), role: 'none' as const, epoch: 5, hasBoundary: false };
    const unknown = new CompactionsLog({ ...options, current, newestManifestId: () => 4 });
    await expect(unknown.commit(claim6)).rejects.toMatchObject({ code: 'INVARIANT' });
    expect(await findNewestCompactions(store)).toBe(1);
  });

  const open = (headerVersion: 1 | 2 = 1) =>
    openCompactionsLog({ store, author, guard: guard(), newestManifestId: () => 4 }, headerVersion);

  it.each([1, 2] as const)('begins with file 1 where there is none, in version %s', async (headerVersion) => {
    const { log, damage } = await open(headerVersion);
    expect([log.current.id, log.current.compactions, damage]).toEqual([
      0,
      file({ headerVersion, compactorEpoch: 0 }),
      undefined,
    ]);
    await log.commit(claim6);
    const { bytes } = (await store.get(compactionsPath(1)))!;
    expect(decodeCompactions(bytes).compactions).toEqual(file({ headerVersion, compactorEpoch: 6 }));
    expect([log.current.id, await findNewestCompactions(store)]).toEqual([1, 1]);
  });

  it('takes the file of another coordinator that was faster with the first', async () => {
    const [{ log: a }, { log: b }] = [await open(), await open()];
    await a.commit(claim6);
    await b.commit(edit((c) => ({ ...c, compactorEpoch: c.compactorEpoch + 1 })));
    expect([b.current.id, b.current.compactions.compactorEpoch]).toEqual([2, 7]);
  });

  it('begins above what a collector may have deleted', async () => {
    await put('gc/compactions.boundary', new TextEncoder().encode('8'));
    const { log } = await open();
    await log.commit(claim6);
    expect([log.current.id, await findNewestCompactions(store)]).toEqual([9, 9]);
  });

  it('goes on from the newest file, which the compactor then holds under its epoch', async () => {
    await write(3, { compactorEpoch: 5 });
    const { log } = await open();
    await log.commit(claim6);
    const held = log.heldBy(6);
    await write(5, { compactorEpoch: 7 });
    await expect(held.refresh()).rejects.toMatchObject({ code: 'COMPACTOR_FENCED', details: { epoch: 6, takenBy: 7 } });
    expect(held.current.id).toBe(4);
    expect(() => log.heldBy(5)).toThrow(expect.objectContaining({ code: 'INVARIANT' }));
  });

  it('takes a damaged file for one without jobs, and puts another after it; one of a newer program is refused', async () => {
    await write(3);
    await put(compactionsPath(3), new Uint8Array(20));
    const { log, damage } = await open();
    expect(damage?.findings[0]).toMatchObject({ object: { path: compactionsPath(3) } });
    await log.commit(claim6);
    expect(log.current.id).toBe(4);
    await put(compactionsPath(5), Uint8Array.of(0, 9, 0, 0));
    await expect(open()).rejects.toMatchObject({ code: 'FORMAT_TOO_NEW' });
  });

  it('is not gone on from where the boundary is not below the newest: the error names the boundary and what to do', async () => {
    await write(3);
    await put('gc/compactions.boundary', new TextEncoder().encode('3'));
    await expect(clock.runUntilSettled(open())).rejects.toMatchObject({
      name: 'CorruptionError',
      code: 'MANIFEST_INCONSISTENT',
      retryable: false,
      message: expect.stringMatching(/^gc\/compactions.boundary: .* the newest compactions file is 3\. Restore/),
      findings: [{ severity: 'warning', object: { path: 'gc/compactions.boundary' }, found: '3' }],
    });
  });

  it('is looked for again where others were faster than the boundary that was read', async () => {
    await write(3);
    await put('gc/compactions.boundary', new TextEncoder().encode('3'));
    const opening = open();
    await clock.advance(50);
    await write(4);
    expect((await clock.runUntilSettled(opening)).log.current.id).toBe(4);
  });

  it('that is deleted with all the others is said so, also where there was none yet', async () => {
    const { log } = await open();
    await expect(clock.runUntilSettled(log.refresh())).rejects.toMatchObject({
      message: expect.stringMatching(/no file is in compactions\/, .* the database was deleted or moved/),
    });
    const later = await logOf('none');
    await store.delete([compactionsPath(1)]);
    await expect(clock.runUntilSettled(later.refresh())).rejects.toMatchObject({
      message: expect.stringContaining(`no file from ${compactionsPath(1)} on`),
    });
  });

  it('believes no file whose seal names another one', async () => {
    const log = await logOf('none');
    await log.commit(claim6);
    const { bytes } = (await store.get(compactionsPath(2)))!;
    await put(compactionsPath(3), bytes);
    await expect(COMPACTIONS_FORM.read(store, 3)).rejects.toMatchObject({
      findings: [expect.objectContaining({ code: 'IDENTITY_MISMATCH' })],
    });
  });
});
