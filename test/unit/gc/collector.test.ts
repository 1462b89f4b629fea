/** When a collector works: causes, next times, failures, and that it asks for nothing while nothing changes. In virtual time. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { CollectorEvent, CollectorState } from '../../../src/common/collector-role.ts';
import type { Finding } from '../../../src/common/finding.ts';
import { Collector } from '../../../src/gc/collector.ts';
import { commitAsCollector } from '../../../src/gc/manifest-commit.ts';
import { type CollectorOptions, collectorSettings } from '../../../src/gc/settings.ts';
import type { ManifestChange } from '../../../src/lsm/manifest/manifest-log.ts';
import { FaultyStore } from '../../../src/store/faulty-store.ts';
import type { ObjectStore } from '../../../src/store/object-store.ts';
import { toolAccess, World } from '../../support/database.ts';
import { GcDatabase } from '../../support/gc-database.ts';
import { interposed, shortPath } from '../../support/gc-rounds.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

let db: GcDatabase;
let log: string[];
let events: CollectorEvent[];
beforeEach(() => {
  db = new GcDatabase();
  log = [];
  events = [];
});

const logger = () => {
  const line = (level: string) => (message: string) => void log.push(`${level} ${message}`);
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
};

const listeners = () => ({
  onEvent: (event: CollectorEvent) => void events.push(event),
  onFinding: ({ code, object }: Finding) => void log.push(`finding ${code} ${shortPath(object.path)}`),
});

function collectorOn(store: ObjectStore, options: CollectorOptions = {}): Collector {
  const { clock, random } = db;
  const stores = db.stores(store);
  const settings = collectorSettings(options);
  const parts = { stores, clock, random, owner: 'gc:1' };
  return new Collector({
    stores,
    clock,
    random,
    settings,
    logger: logger(),
    ...listeners(),
    commit: (c) => commitAsCollector(parts, c),
  });
}

/** Garbage of every kind, one of which is kept for a quarter of an hour. */
const SCRIPT = `
  0: manifest 1: nothing
  1: job J_50 running
  2: job J_50 completed
  3: empty 1
  4: wal 2
  5: table A_5
  6: table Q_6
  7: wal 3
  60: table N_60
  61: manifest 2: l0 A_5; replay 2
  62: manifest 3: l0 N_60; replay 2; cp c 2 until 962
  63: manifest 4: l0 N_60; replay 3; cp c 2 until 962
  64: manifest 5: l0 N_60; replay 3; cp c 2 until 962
  65: manifest 6: l0 N_60; replay 3; cp c 2 until 962
`;

const objects = ({ deleted }: CollectorState) =>
  Object.fromEntries(Object.entries(deleted).flatMap(([name, t]) => (t.objects > 0 ? [[name, t.objects]] : [])));

describe('a collector', () => {
  it('collects all there is within an hour, and then asks for nothing', async () => {
    await db.play(SCRIPT);
    const line = interposed(db.memory);
    const collector = collectorOn(line);
    collector.start();
    expect(line.sent).toEqual([]);
    await db.clock.advance(HOUR_MS);
    expect(objects(collector.state())).toEqual({ manifest: 4, compactions: 1, table: 2, log: 1 });
    expect((await db.paths()).filter((path) => !path.startsWith('gc/')).map(shortPath)).toEqual([
      'table N_60',
      'compactions 2',
      'manifest 5',
      'manifest 6',
      'manifest 7',
      'wal 1',
      'wal 3',
    ]);
    // After the start, and when the checkpoint has expired; what else was young was old enough by then.
    expect(collector.state()).toMatchObject({ phase: 'idle', rounds: 3, failures: 0 });
    const sent = line.sent.length;
    await db.clock.advance(24 * HOUR_MS);
    expect(line.sent.length).toBe(sent);
    expect(collector.state().nextRoundAtMs).toBeUndefined();
    await collector.stop();
  });

  it('begins at a moment that differs from process to process', async () => {
    await db.play(SCRIPT);
    const starts = new Set<number | undefined>();
    for (let i = 0; i < 5; i++) {
      const collector = collectorOn(db.memory);
      collector.start();
      starts.add(collector.state().nextRoundAtMs);
      await collector.stop();
    }
    expect(starts.size).toBe(5);
    const now = db.clock.nowMs();
    for (const at of starts) expect([at! >= now, at! <= now + MINUTE_MS]).toEqual([true, true]);
  });

  it('works again after a commit, but not more often than once in an interval', async () => {
    await db.play(SCRIPT);
    const line = interposed(db.memory);
    const collector = collectorOn(line);
    collector.start();
    await db.clock.advance(2 * HOUR_MS);
    const { rounds } = collector.state();
    for (let id = 8; id < 40; id++) {
      await db.make(`manifest ${id}: l0 N_60; replay 3`);
      collector.noteCommit(id);
      await db.clock.advance(MINUTE_MS);
    }
    const after = collector.state().rounds - rounds;
    expect([after >= 3, after <= 5]).toEqual([true, true]);
    await db.clock.advance(HOUR_MS);
    expect((await db.paths('manifest/')).map(shortPath)).toEqual(['manifest 37', 'manifest 38', 'manifest 39']);
    // What takes days to become old enough is looked at once a day.
    expect(line.sent.filter((request) => request === 'list shale/quarantine/')).toHaveLength(1);
    await collector.stop();
  });

  it('a commit while it works is a cause for the next round', async () => {
    // Nothing else becomes old enough afterwards.
    await db.play('0: manifest 1: nothing\n1: manifest 2: nothing');
    db.until(5000);
    let collector: Collector | undefined;
    let isDone = false;
    const line = interposed(db.memory, async () => {
      if (isDone || line.sent.at(-1) !== 'list compacted/') return;
      isDone = true;
      db.until(db.nowS - 4000);
      for (let id = 3; id < 8; id++) await db.make(`manifest ${id}: nothing`);
      db.until(db.nowS + 4000);
      collector?.noteCommit(7);
    });
    collector = collectorOn(line);
    collector.start();
    await db.clock.advance(HOUR_MS);
    expect((await db.paths('manifest/')).map(shortPath)).toEqual(['manifest 5', 'manifest 6', 'manifest 7']);
    await collector.stop();
  });

  it('a commit after the manifests were listed says nothing about that list', async () => {
    await db.play(SCRIPT);
    db.until(2000);
    let collector: Collector | undefined;
    const line = interposed(db.memory, async () => {
      // After the list, and after the HEAD of the manifest that would follow it.
      if (!line.sent.at(-1)?.startsWith('get manifest/')) return;
      const id = (await db.newestManifestId()) + 1;
      await db.make(`manifest ${id}: l0 N_60; replay 3`);
      collector?.noteCommit(id);
    });
    collector = collectorOn(line);
    collector.start();
    await db.clock.advance(2 * MINUTE_MS);
    expect(collector.state()).toMatchObject({ rounds: 1, failures: 0, lastError: undefined });
    expect(collector.state().lastRound).toMatchObject({ stopped: undefined, findings: [] });
    await collector.stop();
  });

  it('deletes nothing in a dry run, and says so', async () => {
    await db.play(SCRIPT);
    db.until(400);
    const before = await db.versions();
    const collector = collectorOn(db.memory, { dryRun: true });
    collector.start();
    await db.clock.advance(5 * MINUTE_MS);
    expect(await db.versions()).toEqual(before);
    expect(log).toEqual(['info garbage that would be collected']);
    expect(collector.state().lastRound?.going.manifest.objects).toBeGreaterThan(0);
    expect(objects(collector.state())).toEqual({});
    await collector.stop();
  });

  it('tries again with growing pauses when the store fails, and says it once', async () => {
    await db.play(SCRIPT);
    const faults = new FaultyStore(db.memory, { clock: db.clock, rules: [{ action: 'status:403', op: 'list' }] });
    const line = interposed(faults);
    const collector = collectorOn(line);
    collector.start();
    await db.clock.advance(6 * HOUR_MS);
    const state = collector.state();
    expect(state).toMatchObject({ phase: 'retrying', lastError: { code: 'STORE_DENIED' } });
    expect([state.failures > 8, state.failures < 20]).toEqual([true, true]);
    expect(log.filter((text) => text.startsWith('warn'))).toEqual(['warn a collection failed; it is tried again']);
    faults.clear();
    await db.clock.advance(3 * HOUR_MS);
    expect(collector.state()).toMatchObject({ failures: 0 });
    expect(collector.state().lastError).toBeUndefined();
    expect(objects(collector.state())).toMatchObject({ manifest: 4, table: 2 });
    await collector.stop();
  });

  it('goes on seldom while something is wrong with the database, and as usual when it is repaired', async () => {
    await db.play(SCRIPT);
    const path = (await db.paths('compacted/')).find((p) => p.endsWith('N.sst'))!;
    const { bytes } = (await db.memory.get(path))!;
    await db.memory.delete([path]);
    const line = interposed(db.memory);
    const collector = collectorOn(line);
    collector.start();
    await db.clock.advance(12 * HOUR_MS);
    const { rounds, lastRound } = collector.state();
    expect([rounds > 5, rounds < 20]).toEqual([true, true]);
    expect(lastRound?.stopped).toContain('which is needed, is gone');
    expect(lastRound?.findings.map((f) => f.code)).toEqual(['MISSING_OBJECT']);
    expect(log).toEqual([
      expect.stringMatching(/^warn nothing more is collected: .* is gone/),
      'finding MISSING_OBJECT table N_60',
    ]);
    await db.put(path, bytes);
    await db.clock.advance(3 * HOUR_MS);
    expect(collector.state().lastRound?.stopped).toBeUndefined();
    expect(objects(collector.state())).toMatchObject({ table: 2 });
    await collector.stop();
  });

  it('ends itself when a rule of its own is broken', async () => {
    await db.play(SCRIPT);
    const line = interposed(db.memory, async () => {
      if (line.sent.at(-1) === 'list compacted/') throw new TypeError('a bug');
    });
    const collector = new Collector({
      ...parts(db.stores(db.memory)),
      stores: { ...db.stores(db.memory), main: line },
    });
    collector.start();
    await db.clock.advance(HOUR_MS);
    expect(collector.state()).toMatchObject({
      phase: 'failed',
      rounds: 1,
      lastError: { code: 'INVARIANT', message: 'TypeError: a bug' },
    });
    expect(log.at(-1)).toBe('error the collector has ended itself');
    expect(events).toEqual([{ type: 'failed', error: collector.state().lastError }]);
    await collector.stop();
    expect(collector.state().phase).toBe('failed');
  });

  function parts(stores: ReturnType<GcDatabase['stores']>) {
    const { clock, random } = db;
    const settings = collectorSettings({});
    const own = { stores, clock, random, owner: 'gc:1' };
    const commit = (c: ManifestChange) => commitAsCollector(own, c);
    return { stores, clock, random, settings, logger: logger(), ...listeners(), commit };
  }

  it('sends nothing any more once it is stopped, also in the middle of a round', async () => {
    await db.play(SCRIPT);
    const line = interposed(db.memory, async () => {
      if (line.sent.at(-1) === 'list wal/') await new Promise(() => undefined);
    });
    const collector = collectorOn(line);
    collector.start();
    await db.clock.advance(2 * MINUTE_MS);
    expect(collector.state().phase).toBe('working');
    await db.run(collector.stop());
    const sent = line.sent.length;
    await db.clock.advance(24 * HOUR_MS);
    expect([collector.state().phase, line.sent.length]).toEqual(['stopped', sent]);
    expect(collector.state().failures).toBe(0);
  });

  it('rests during a pause, also in the middle of a round, and then does what it was cut off from', async () => {
    await db.play(SCRIPT);
    let isCutting = true;
    const line = interposed(db.memory, async () => {
      if (isCutting && line.sent.at(-1) === 'list compactions/') await new Promise(() => undefined);
    });
    const collector = collectorOn(line);
    collector.start();
    await db.clock.advance(2 * MINUTE_MS);
    const [resume, resumeOther] = await db.run(Promise.all([collector.pause(), collector.pause()]));
    isCutting = false;
    const sent = line.sent.length;
    resume();
    resume();
    await db.clock.advance(12 * HOUR_MS);
    expect(collector.state()).toMatchObject({ phase: 'paused', failures: 0, lastError: undefined });
    expect(collector.state().nextRoundAtMs).toBeUndefined();
    expect(line.sent.length).toBe(sent);
    resumeOther();
    expect(collector.state().phase).toBe('waiting');
    await db.clock.advance(HOUR_MS);
    expect(objects(collector.state())).toEqual({ manifest: 4, compactions: 1, table: 2, log: 1 });
    expect(collector.state().phase).toBe('idle');
    await collector.stop();
  });

  it('that was paused before its start begins after the pause, and one that was stopped in a pause never', async () => {
    await db.play(SCRIPT);
    const collector = collectorOn(db.memory);
    const resume = await db.run(collector.pause());
    collector.start();
    await db.clock.advance(HOUR_MS);
    expect(collector.state().rounds).toBe(0);
    resume();
    await db.clock.advance(HOUR_MS);
    expect(collector.state().rounds).toBeGreaterThan(0);
    const { rounds } = collector.state();
    const resumeAgain = await db.run(collector.pause());
    for (let id = 8; id < 12; id++) {
      await db.make(`manifest ${id}: l0 N_60; replay 3`);
      collector.noteCommit(id);
    }
    await db.clock.advance(HOUR_MS);
    resumeAgain();
    await db.clock.advance(HOUR_MS);
    expect(await db.paths('manifest/')).toHaveLength(3);
    expect(collector.state().rounds).toBeGreaterThan(rounds);
    const resumeLast = await db.run(collector.pause());
    await db.run(collector.stop());
    resumeLast();
    collector.noteCommit(12);
    const last = collector.state().rounds;
    await db.clock.advance(HOUR_MS);
    expect(collector.state()).toMatchObject({ phase: 'stopped', rounds: last });
  });

  it('announces each round, of each failure, and of its end', async () => {
    await db.play(SCRIPT);
    const faults = new FaultyStore(db.memory, {
      clock: db.clock,
      rules: [{ action: 'status:403', op: 'list', nth: 1 }],
    });
    const collector = collectorOn(faults);
    collector.start();
    await db.clock.advance(HOUR_MS);
    expect(events.map(({ type }) => type)).toEqual(['trouble', 'round', 'round', 'round']);
    const [first, second] = events;
    expect(first).toMatchObject({ error: { code: 'STORE_DENIED' } });
    const { retryInMs } = first as CollectorEvent & { type: 'trouble' };
    expect([retryInMs >= 10_000, retryInMs <= 11_000]).toEqual([true, true]);
    expect(second).toMatchObject({ round: { manifestId: 6, stopped: undefined } });
    expect(collector.state().lastRound).toEqual((events.at(-1) as CollectorEvent & { type: 'round' }).round);
    await collector.stop();
    expect(events).toHaveLength(4);
  });

  it('checks copies in quarantine when they are 30 days old, without a round in between', async () => {
    await db.play(`${SCRIPT}  70: copy wal/9`);
    const line = interposed(db.memory);
    const collector = collectorOn(line);
    collector.start();
    await db.clock.advance(2 * HOUR_MS);
    const sent = line.sent.length;
    await db.clock.advance(29 * 24 * HOUR_MS);
    expect(line.sent.length).toBe(sent);
    await db.clock.advance(2 * 24 * HOUR_MS);
    expect(objects(collector.state())).toMatchObject({ copy: 1 });
    expect(collector.state().nextRoundAtMs).toBeUndefined();
    await collector.stop();
  });
});

describe('two collectors and a writer', () => {
  it('leave what the writer needs, and nothing else', async () => {
    const world = new World();
    const { db: open, line } = await world.connect();
    const access = toolAccess(open);
    const collectors = [1, 2].map(
      () =>
        new Collector({
          stores: access.stores,
          clock: world.clock,
          random: world.random(),
          settings: collectorSettings({}),
          logger: logger(),
          ...listeners(),
          commit: (change) => access.commit(change, {}),
        }),
    );
    for (const collector of collectors) collector.start();
    for (let i = 0; i < 40; i++) {
      await world.run(open.put(`key-${i}`, 'value'));
      if (i % 4 === 3) {
        await world.run(open.flush({ type: 'memtable' }));
        for (const collector of collectors) collector.noteCommit(access.manifest().id);
      }
      await world.clock.advance(5 * MINUTE_MS);
    }
    await world.clock.advance(HOUR_MS);
    expect((await world.paths('manifest/')).length).toBe(3);
    line.take();
    await world.clock.advance(HOUR_MS);
    expect(line.take()).toEqual([]);
    for (const collector of collectors) {
      expect(collector.state()).toMatchObject({ failures: 0, phase: 'idle' });
      await collector.stop();
    }
    await world.run(open.close());
    const again = await world.open();
    expect(await world.run(again.get('key-0'))).toBeDefined();
    await world.run(again.close());
  });
});
