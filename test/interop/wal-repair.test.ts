/**
 * Damaged logs of databases that SlateDB wrote and left by a crash: whether SlateDB refuses to open them or opens them without a
 * word about the rows that are gone, `walInspect` finds the damage, `walRepair` repairs it, and SlateDB itself then opens the
 * database, shows every row that could be had, and goes on writing.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WalCorruptionError } from '../../src/common/errors.ts';
import { walPath } from '../../src/format/object-names.ts';
import { open, openReader } from '../../src/open.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import type { WalObjectReport } from '../../src/tools/reports.ts';
import { verify } from '../../src/tools/verify.ts';
import { walInspect } from '../../src/tools/wal-inspect.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import { rejection } from '../support/database.ts';
import { gathered } from '../support/golden-database.ts';
import { describeHandoversInDirectory, type SharedPlace } from '../support/handover-places.ts';
import type { LiveSlateDb } from '../support/live-slatedb.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
/** Durable puts after the last flush of the memtable, each in a WAL object of its own. */
const LOGGED = 12;
const IN_TABLES = 5;

interface Damage {
  name: string;
  /** Which of the objects with rows, from the replay point on, counted from 1. */
  object: number;
  change(bytes: Uint8Array): Uint8Array | undefined;
  loses: boolean;
  /** What SlateDB itself says of it. */
  refuses: LiveSlateDb['version'][];
  /** How many rows of the log a SlateDB that does not refuse still shows, without a word about the others. */
  shows?: number;
}

const DAMAGES: Damage[] = [
  {
    name: 'a burst over its rows',
    object: 5,
    change: (bytes) => bytes.map((b, i) => (i >= 4 && i < 12 ? b ^ 0x5a : b)),
    loses: true,
    refuses: ['0.12.1', '0.17.0', '0.18.0'],
  },
  {
    name: 'a bit turned in its rows',
    object: 5,
    change: (bytes) => bytes.map((b, i) => (i === 9 ? b ^ 0x10 : b)),
    loses: false,
    refuses: ['0.12.1', '0.17.0', '0.18.0'],
  },
  {
    name: 'a byte of its index changed',
    object: 5,
    change: (bytes) => bytes.map((b, i) => (i === bytes.length - 100 ? b ^ 0xff : b)),
    loses: false,
    refuses: ['0.12.1', '0.17.0', '0.18.0'],
  },
  {
    name: 'ten bytes left of it',
    object: 5,
    change: (bytes) => bytes.slice(0, 10),
    loses: true,
    refuses: ['0.12.1'],
    shows: LOGGED - 1,
  },
  // With the first, second, fourth and eighth id after the replay point the search of 0.17 and later for the end of the log stops.
  ...[1, 2, 4, 8].map(
    (object): Damage => ({
      name: `nothing left of number ${object}`,
      object,
      change: () => undefined,
      loses: true,
      refuses: ['0.12.1'],
      shows: object - 1,
    }),
  ),
];

describeHandoversInDirectory(({ version, makeSlate, makePlace }) => {
  const started: LiveSlateDb[] = [];
  let place: SharedPlace;
  beforeEach(async () => {
    place = await makePlace();
  });
  afterEach(async () => {
    for (const slate of started.splice(0)) await slate.crash();
    await place.dispose();
  });

  function newSlate(): LiveSlateDb {
    const slate = makeSlate();
    started.push(slate);
    return slate;
  }

  /** Writes tables and a log, and crashes. The rows are the keys' own names. */
  async function leaveLog(): Promise<void> {
    const slate = newSlate();
    await slate.open(place.slate, { settings: { flush_interval: '5ms' } });
    for (let i = 0; i < IN_TABLES; i++) await slate.put(`table-${i}`, `value of table-${i}`);
    await slate.flush('memtable');
    for (let i = 0; i < LOGGED; i++) await slate.put(`log-${String(i).padStart(2, '0')}`, `value of log-${i}`);
    await slate.crash();
  }

  async function inspected(): Promise<WalObjectReport[]> {
    return gathered(walInspect(place.ours, { rows: 'keys', logger: QUIET }));
  }

  async function keysOf(report: WalObjectReport): Promise<string[]> {
    return (await gathered(report.entries!)).map((e) => text(e.key));
  }

  async function scanBySlate(slate: LiveSlateDb): Promise<string[]> {
    return (await slate.scan()).map((row) => text(row.key));
  }

  describe.each(DAMAGES)('an object of the log with $name', ({ object, change, loses, refuses, shows }) => {
    it('is found, repaired, and right in SlateDB afterwards', async () => {
      await leaveLog();
      const whole = await inspected();
      const logged = whole.filter((r) => r.neededForRecovery);
      const target = logged[object - 1];
      expect({ state: target.state, rows: target.rows.total }).toEqual({ state: 'ok', rows: 1 });
      const gone = loses ? await keysOf(target) : [];
      const all = [
        ...Array.from({ length: IN_TABLES }, (_, i) => `table-${i}`),
        ...(await Promise.all(logged.map(keysOf))).flat(),
      ];
      const expected = all.filter((key) => !gone.includes(key)).sort();
      const root = prefixedStore(place.ours.store, place.ours.path);
      const path = walPath(Number(target.id));
      const changed = change((await root.get(path))!.bytes);
      if (changed === undefined) await root.delete([path]);
      else await root.put(path, changed, { condition: 'any', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' });

      const found = await inspected();
      expect(found.filter((r) => r.state === 'damaged' || r.state === 'missing').map((r) => r.id)).toEqual([target.id]);
      const errors = (await verify(place.ours, { logger: QUIET })).findings.filter((f) => f.severity === 'error');
      expect(errors.map((f) => f.object.path)).toContain(path);
      expect(await rejection(open(place.ours, { logger: QUIET }))).toBeInstanceOf(WalCorruptionError);
      if (refuses.includes(version)) await expect(newSlate().open(place.slate)).rejects.toThrow();
      else expect((await newSlate().readerScan(place.slate)).length).toBe(IN_TABLES + shows!);

      const done = await walRepair(place.ours, { apply: true, acceptLoss: true, logger: QUIET, liveCheckMs: 0 });
      expect(done).toMatchObject({ applied: true, rows: { recovered: LOGGED - gone.length } });
      expect(done.rows.lost > 0).toBe(loses);
      const kept = await root.get(done.evidence[0]?.to ?? path);
      if (changed !== undefined) expect(kept?.bytes).toEqual(new Uint8Array(changed));

      const slate = newSlate();
      await slate.open(place.slate);
      expect(await scanBySlate(slate)).toEqual(expected);
      for (const key of expected) expect(await slate.get(key)).toBeDefined();
      await slate.put('afterwards', 'written by SlateDB');
      await slate.flush('memtable');
      await slate.close();
      const again = newSlate();
      await again.open(place.slate);
      expect(await scanBySlate(again)).toEqual(['afterwards', ...expected].sort());
      await again.close();
      const reader = await openReader(place.ours, { logger: QUIET });
      expect((await gathered(reader.scan())).map((r) => text(r.key))).toEqual(['afterwards', ...expected].sort());
      await reader.close();
    });
  });
});

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
