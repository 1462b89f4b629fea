/**
 * What distinguishes a damaged manifest from one that continues the manifest before it, as data: one pair per line. Both begin as
 * `e2 c1 r5 w5 s9 t100 m9 l0=A runs=-`; before the bar what the older one has instead, after it what the newer one has instead (of
 * the changed older one). After the arrow `ok`, or what contradicts, in full. The newer one has id 7.
 *
 * `e` writer epoch, `c` compactor epoch, `r` replay point, `w` last WAL id seen, `s` last sequence number, `t` clock tick, `m` least
 * snapshot, `k` tracker bytes, `last=` the newest table that was compacted, `ck=N` a checkpoint on manifest N, `uri` a log in a store of
 * its own, `v1` header version 1, `uninit`; `seg=P` a segment. Tables are capitals: `A*` is described in another way, `A'` has
 * another form of filter. `wal N sM`: the newest object at the replay point has rows up to M.
 */
import { describe, expect, it } from 'vitest';
import type { Ulid } from '../../../src/common/ulid.ts';
import type { Manifest, TableView } from '../../../src/format/manifest-types.ts';
import type { TableInfo } from '../../../src/format/table-info.ts';
import { emptyManifest } from '../../../src/lsm/manifest/manifest-edits.ts';
import { contradictions, type ManifestEvidence } from '../../../src/recovery/manifest-cross-check.ts';

const idOf = (name: string) => `01M7Q5CQG1000000000000000${name}` as Ulid;

function viewOf(word: string): TableView {
  const [, name, mark] = /^([A-Z])([*'])?$/.exec(word)!;
  const info: TableInfo = {
    firstEntry: Uint8Array.of(97),
    lastEntry: Uint8Array.of(122),
    indexOffset: mark === '*' ? 300 : 200,
    indexLength: 50,
    filterOffset: 200,
    filterLength: 0,
    codec: 'none',
    tableType: 'compacted',
    statsOffset: 0,
    statsLength: 0,
    filterForm: mark === "'" ? 'legacy' : 'composite',
  };
  return { viewId: idOf(name), table: { id: idOf(name), info, formatVersion: 2 }, visibleRange: undefined };
}

const viewsOf = (list: string) => (list === '-' ? [] : list.split(',').map(viewOf));
const NUMBERS: Record<string, keyof Manifest> = {
  e: 'writerEpoch',
  c: 'compactorEpoch',
  r: 'replayAfterWalId',
  w: 'walIdLastSeen',
  s: 'lastL0Seq',
  m: 'recentSnapshotMinSeq',
};

function changed(m: Manifest, words: string): Manifest {
  const out: Manifest = { ...m };
  for (const word of words.split(/\s+/).filter(Boolean)) {
    const [, letter, value] = /^([ecrwsmtk])(\d+)$/.exec(word) ?? [];
    const [, list, items] = /^(l0|runs|last|ck|seg)=(.+)$/.exec(word) ?? [];
    if (letter === 't') out.lastL0ClockTick = BigInt(value);
    else if (letter === 'k') out.sequenceTracker = new Uint8Array(Number(value));
    else if (letter !== undefined) Object.assign(out, { [NUMBERS[letter]]: Number(value) });
    else if (list === 'l0') out.l0 = viewsOf(items);
    else if (list === 'runs')
      out.runs = items === '-' ? [] : items.split(';').map((r) => ({ id: Number(r[0]), views: viewsOf(r.slice(2)) }));
    else if (list === 'last') out.lastCompacted = idOf(items);
    else if (list === 'seg')
      out.segments = [{ prefix: Uint8Array.of(112), l0: viewsOf(items), runs: [], lastCompacted: undefined }];
    else if (list === 'ck') {
      const id = '01234567-89ab-4def-8123-456789abcdef';
      out.checkpoints = [
        { id, manifestId: Number(items), expireTimeS: 0, createTimeS: 0, writerEpoch: undefined, name: undefined },
      ];
    } else if (word === 'uri') out.walStoreUri = '';
    else if (word === 'v1') out.headerVersion = 1;
    else if (word === 'uninit') out.initialized = false;
    else throw new Error(`no word of a manifest: ${word}`);
  }
  return out;
}

const BASE = changed({ ...emptyManifest(2, false), initialized: true }, 'e2 c1 r5 w5 s9 t100 m9 l0=A runs=-');

const LINES = `
  nothing happened
  |                                          => ok

  a writer opened
  | e3                                       => ok
  | e4                                       => the writer epoch rose by more than 1
  | e1                                       => writerEpoch went from 2 to 1
  | c2                                       => ok
  | c3                                       => the compactor epoch rose by more than 1
  | c0                                       => compactorEpoch went from 1 to 0

  a memtable became a table
  | l0=B,A r7 w7 s12 t120 m12                => ok
  | l0=B,A r7 w6 s12 t120 m12                => ok
  | l0=B,A r7 w5 s12 t120 m12                => the replay point 7 is after the last WAL id seen, 5
  | l0=B,A r4                                => replayAfterWalId went from 5 to 4
  | l0=B,A s8                                => lastL0Seq went from 9 to 8
  | l0=B,A t99                               => lastL0ClockTick went from 100 to 99

  a flush of which no row was kept moves several fields, never one
  | r7 w7 s12 t120 m12                       => ok
  | s12 m12                                  => ok
  | s12 w6                                   => ok
  | s12 k3                                   => ok
  | s12                                      => lastL0Seq moved, but nothing was flushed
  | r6 w6                                    => replayAfterWalId moved, but nothing was flushed
  | t101                                     => lastL0ClockTick moved, but nothing was flushed
  | r6 t101 w6                               => replayAfterWalId moved, but nothing was flushed; lastL0ClockTick moved, but nothing was flushed

  what others write on their own
  | w6                                       => ok
  w9 | w5                                    => ok
  | m8                                       => ok
  | k3                                       => ok

  compactions
  l0=B,A | l0=B runs=0:A last=A              => ok
  l0=B,A | l0=- runs=0:C last=B              => ok
  l0=B,A runs=0:C | l0=- runs=0:D last=B     => ok
  l0=B,A | l0=B                              => tables vanished without a compaction
  l0=B,A last=A | l0=B last=A                => tables vanished without a compaction
  l0=B,A | l0=B last=A                       => ok
  l0=B,A | l0=B runs=0:C                     => ok
  l0=B,A seg=C | l0=B seg=C                  => ok

  a table never changes
  | l0=A*                                    => table A is described otherwise than in the manifest before
  | l0=A'                                    => ok
  runs=0:C | runs=0:C*                       => table C is described otherwise than in the manifest before
  l0=B,A | l0=A runs=0:B* last=B             => table B is described otherwise than in the manifest before

  checkpoints
  | ck=7                                     => ok
  | ck=3                                     => ok
  | ck=8                                     => checkpoint 01234567-89ab-4def-8123-456789abcdef names manifest 8, which is not yet written

  a log in a store of its own, which only version 1 names
  v1 | v1 uri                                => the log moved to or from a store of its own
  v1 uri | v1                                => ok
  v1 uri | e3                                => ok

  a clone in the making takes over another history
  uninit e9 s99 | e1 s1                      => ok
  | uninit                                   => the database is no longer set up

  the log
  | wal 5 s9                                 => ok
  | wal 5 s10                                => WAL object 5, of which all rows should be in tables, has rows up to 10; last_l0_seq is 9
  v1 | v1 wal 5 s10                          => WAL object 5, of which all rows should be in tables, has rows up to 10; last_l0_seq is 9 (damage, or SlateDB 0.12 ended in the middle of a recovery and no longer finds these rows; if it still runs, its next memtable flush saves them)
  | wal 6 s10                                => ok
`
  .split('\n')
  .map((line) => line.trim())
  .filter((line) => line.includes('=>'));

function contradicts(line: string): string {
  const [, before, after, wal, seq] = /^(.*?)\|(.*?)(?:wal (\d+) s(\d+))?$/.exec(line)!;
  const previous = changed(BASE, before);
  const replayed: ManifestEvidence['replayed'] =
    wal === undefined ? undefined : { id: Number(wal), maxSeq: Number(seq) };
  const found = contradictions(7, changed(previous, after), { previous, replayed });
  return found.length === 0 ? 'ok' : found.join('; ').replaceAll(/01M7Q5CQG1000000000000000([A-Z])/g, '$1');
}

describe('a manifest after the one before it', () => {
  it.each(LINES)('%s', (line) => {
    const [pair, answer] = line.split(/ *=> */);
    expect(contradicts(pair)).toBe(answer);
  });

  it('is judged by itself where the one before is gone', () => {
    const alone = (words: string) =>
      contradictions(7, changed(BASE, words), { previous: undefined, replayed: undefined });
    expect(alone('e9 s1 t1 l0=-')).toEqual([]);
    expect(alone('r7').length).toBe(1);
    expect(alone('ck=8').length).toBe(1);
  });
});
