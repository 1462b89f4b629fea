/**
 * The three laws of honesty, over every database here:
 * 1. Unknown is not broken: what a newer program wrote, or what may not be read, is never called damage, and nothing is repaired.
 * 2. Clean means that it opens: no tool says clean where an opening refuses damage, and none calls a sound database damaged.
 * 3. Repair of the healthy is the identity: every repair leaves every byte as it was, and says that there was nothing to do.
 */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { isCannotTell } from '../../src/common/damage.ts';
import { type CorruptionError, type DbError, InvalidArgumentError, isCorruption, isDbError } from '../../src/common/errors.ts';
import type { Finding } from '../../src/common/finding.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import { SeededRandom } from '../../src/common/random.ts';
import { parseCompactionsPath, parseManifestPath, parseWalPath, roleOfPath } from '../../src/format/object-names.ts';
import { normalPath } from '../../src/lsm/manifest/database-stores.ts';
import { loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { open, openReader } from '../../src/open.ts';
import type { DatabaseLocation } from '../../src/store/location.ts';
import type { GetOptions, ObjectStore } from '../../src/store/object-store.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import { repair } from '../../src/tools/repair.ts';
import { type RepairReport, type Verdict, verdictOf } from '../../src/tools/reports.ts';
import { sstCheck } from '../../src/tools/sst-check.ts';
import { sstRepair } from '../../src/tools/sst-repair.ts';
import { verify } from '../../src/tools/verify.ts';
import { walInspect } from '../../src/tools/wal-inspect.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import { forwarding } from '../support/forwarding-store.ts';
import { CONCAT, goldenInMemory } from '../support/golden-database.ts';
import { type GoldenFixture, goldenFixtures } from '../support/golden-fixtures.ts';
import { type WholeLossKind, wholeLosses } from '../support/whole-kinds.ts';

const fixtures = goldenFixtures();
/** A defect of SlateDB's unions is about to lose rows of these, or has lost them: not healthy, and repaired by tests of their own. */
const DEFECTIVE: ReadonlyMap<string, Verdict> = new Map([
  ['slatedb-0.17.0/union-same-views', 'degraded'],
  ['slatedb-0.17.0/union-same-views-lossy', 'corrupt'],
]);
const healthy = fixtures.filter(({ name }) => !DEFECTIVE.has(name));
const defective = fixtures.filter(({ name }) => DEFECTIVE.has(name));
/** After everything here was written. */
const NOW_MS = 1_795_300_000_000;
const QUIET = { debug() {}, info() {}, warn() {}, error() {} };

/** One copy of a database, its time, and what each program says of it. */
class Copy {
  readonly clock = new ManualClock(NOW_MS);
  readonly location: DatabaseLocation;
  readonly options: { clock: ManualClock; random: SeededRandom; logger: typeof QUIET };

  private constructor(location: DatabaseLocation) {
    this.location = location;
    this.options = { clock: this.clock, random: new SeededRandom(3), logger: QUIET };
  }

  static async of(fixture: GoldenFixture): Promise<Copy> {
    return new Copy(await goldenInMemory(fixture));
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.runUntilSettled(promise, 3_600_000);
  }

  /** The value, or the error of this package; any other error is a failure. */
  async answer<T>(promise: Promise<T>): Promise<T | DbError> {
    try {
      return await this.run(promise);
    } catch (error) {
      if (isDbError(error)) return error;
      throw error;
    }
  }

  #stores(): { store: ObjectStore; root: string }[] {
    const { store, path, walStore } = this.location;
    const main = { store, root: `${normalPath(path)}/` };
    return walStore === undefined ? [main] : [main, { store: walStore.store, root: `${normalPath(walStore.path)}/` }];
  }

  /** Paths below the root, of both stores. */
  async paths(): Promise<string[]> {
    const paths: string[] = [];
    for (const { store, root } of this.#stores())
      for await (const { path } of store.list(root)) paths.push(path.slice(root.length));
    return paths.sort();
  }

  async remove(gone: readonly string[]): Promise<void> {
    for (const { store, root } of this.#stores()) await store.delete(gone.map((path) => root + path));
  }

  async bytes(path: string): Promise<Uint8Array> {
    for (const { store, root } of this.#stores()) {
      const got = await store.get(root + path);
      if (got !== undefined) return got.bytes;
    }
    throw new Error(`there is no ${path}`);
  }

  async replace(path: string, bytes: Uint8Array): Promise<void> {
    for (const { store, root } of this.#stores()) {
      if ((await store.head(root + path)) === undefined) continue;
      await store.put(root + path, bytes, { condition: 'any', putId: '00000000000000000000000000' });
    }
  }

  /** Path and digest of every object of the stores, also of a parent beside the database. */
  async digests(): Promise<string[]> {
    const digests: string[] = [];
    for (const { store } of this.#stores()) {
      for await (const { path } of store.list('')) {
        const { bytes } = (await store.get(path))!;
        digests.push(`${path} ${createHash('sha256').update(bytes).digest('hex')}`);
      }
    }
    return digests;
  }

  /** The newest object of which `parse` knows the id; undefined if there is none. */
  async newest(parse: (path: string) => number | undefined): Promise<string | undefined> {
    return (await this.paths()).filter((path) => parse(path) !== undefined).at(-1);
  }

  async opened(): Promise<DbError | undefined> {
    const options = { ...this.options, hideExpired: false, mergeOperator: CONCAT };
    const handle = await this.answer(openReader(this.location, options));
    if (isDbError(handle)) return handle;
    await this.run(handle.close());
    const writing = await this.answer(open(this.location, { ...options, createIfMissing: false, owner: 'test:1' }));
    if (isDbError(writing)) return writing;
    await this.run(writing.close());
    return undefined;
  }

  /** What each tool concludes; of an error its class. */
  async verdicts(): Promise<Record<'verify' | 'sstCheck' | 'walInspect', Verdict | 'damaged' | 'cannot tell' | 'invalid'>> {
    const of = async (verdict: () => Promise<Verdict>) => {
      const found = await this.answer(verdict());
      if (!isDbError(found)) return found;
      return isCorruption(found) ? 'damaged' : isCannotTell(found) ? 'cannot tell' : 'invalid';
    };
    return {
      verify: await of(async () => (await verify(this.location, this.options)).verdict),
      sstCheck: await of(async () => (await sstCheck(this.location, { ...this.options, level: 'cross' }).summary()).verdict),
      walInspect: await of(async () => {
        const all: Finding[] = [];
        for await (const { findings } of walInspect(this.location, this.options)) all.push(...findings);
        return verdictOf(all);
      }),
    };
  }

  /** Every repair with every choice that could make it do something, applied. */
  async *repairs(): AsyncGenerator<{ name: string; result: RepairReport | DbError }> {
    const applied = { ...this.options, apply: true, liveCheckMs: 0, ifLiveWriter: 'fence' as const, owner: 'tool:1' };
    for (const mode of ['recover', 'truncate'] as const) {
      for (const onPartialBatch of ['drop', 'keep-verified-rows'] as const) {
        const choices = { mode, onPartialBatch, accept: 'suspect' as const };
        const result = await this.answer(walRepair(this.location, { ...applied, ...choices }));
        yield { name: `walRepair ${JSON.stringify(choices)}`, result };
      }
    }
    for (const strategy of ['auto', 'heal', 'previous', 'roll-forward'] as const) {
      const result = await this.answer(manifestRepair(this.location, { ...applied, strategy }));
      yield { name: `manifestRepair ${strategy}`, result };
    }
    for (const table of await this.namedTables()) {
      for (const choices of [{}, { accept: 'suspect', onLoss: 'accept', acceptResurrection: true }] as const) {
        const result = await this.answer(sstRepair(this.location, table, { ...applied, ...choices }));
        yield { name: `sstRepair ${table} ${JSON.stringify(choices)}`, result };
      }
    }
  }

  /** Tables of the newest manifest that can be decoded, with those of a parent. */
  async namedTables(): Promise<string[]> {
    for (const path of (await this.paths()).filter((p) => parseManifestPath(p) !== undefined).reverse()) {
      try {
        const { manifest } = loadManifest(parseManifestPath(path)!, await this.bytes(path));
        const trees = [manifest, ...(manifest.segments ?? [])];
        const views = trees.flatMap((tree) => [...tree.l0, ...tree.runs.flatMap((run) => run.views)]);
        return [...new Set(views.map((view) => view.table.id))];
      } catch {
        // Of a newer form, in the tests that make it so.
      }
    }
    return [];
  }
}

describe.each(healthy)('$name', (fixture) => {
  const isParents = (table: string) =>
    (fixture.expected.external_dbs ?? []).length > 0 || !fixture.objects.some((o) => o.path.includes(`db/compacted/${table}`));

  it('is clean for every tool, and opens', async () => {
    const copy = await Copy.of(fixture);
    expect(await copy.verdicts()).toEqual({ verify: 'clean', sstCheck: 'clean', walInspect: 'clean' });
    const refusal = await copy.opened();
    if (refusal !== undefined) expect(refusal.code).toBe('SEGMENTS_UNSUPPORTED');
  });

  it('is not changed by any repair, each of which says that there was nothing to do', async () => {
    const copy = await Copy.of(fixture);
    const before = await copy.digests();
    let count = 0;
    for await (const { name, result } of copy.repairs()) {
      count++;
      if (isDbError(result)) {
        // A table of a parent is repaired at the parent.
        expect({ name, error: result }).toEqual({ name, error: expect.any(InvalidArgumentError) });
        expect(isParents(name.split(' ')[1]), name).toBe(true);
      } else {
        const { outcome, applied, newObjects, ledgerIds, evidence } = result;
        const nothing = { outcome: 'clean', applied: false, newObjects: [], ledgerIds: [], evidence: [] };
        expect({ name, outcome, applied, newObjects, ledgerIds, evidence }).toEqual({ name, ...nothing });
      }
      expect(await copy.digests(), name).toEqual(before);
    }
    expect(count).toBeGreaterThanOrEqual(8);
  });

  it('is not changed by a repair of everything, which finds no step', async () => {
    const copy = await Copy.of(fixture);
    const before = await copy.digests();
    for (const apply of [false, true]) {
      const report = await copy.answer(repair(copy.location, { ...copy.options, apply, acceptLoss: true, liveCheckMs: 0 }));
      expect(report).toMatchObject({ outcome: 'clean', verdict: 'clean', applied: false, steps: [] });
      expect(report).not.toHaveProperty('planHash');
      expect(await copy.digests()).toEqual(before);
    }
  });

  describe('is not called damaged, nor repaired,', () => {
    const assertUnknown = async (copy: Copy) => {
      const verdicts = await copy.verdicts();
      expect(verdicts.verify).toMatch(/^(unknown|cannot tell)$/);
      for (const verdict of Object.values(verdicts)) expect(verdict).toMatch(/^(clean|unknown|cannot tell)$/);
      const before = await copy.digests();
      for await (const { name, result } of copy.repairs()) {
        if (isDbError(result)) expect({ name, isDamage: isCorruption(result) }).toEqual({ name, isDamage: false });
        else expect({ name, outcome: result.outcome }).toEqual({ name, outcome: 'clean' });
        expect(await copy.digests(), name).toEqual(before);
      }
      const whole = await copy.answer(repair(copy.location, { ...copy.options, apply: true, acceptLoss: true, liveCheckMs: 0 }));
      if (isDbError(whole)) expect(isCorruption(whole)).toBe(false);
      else expect(whole).toMatchObject({ outcome: 'clean', applied: false, steps: [] });
      expect(await copy.digests()).toEqual(before);
      return verdicts;
    };

    it('where its newest manifest is of a newer format', async () => {
      const copy = await Copy.of(fixture);
      const newest = (await copy.newest(parseManifestPath))!;
      await copy.replace(newest, (await copy.bytes(newest)).with(1, 3));
      await assertUnknown(copy);
      expect(await copy.opened()).toMatchObject({ name: 'IncompatibleError', code: 'FORMAT_TOO_NEW' });
      const refused = await copy.answer(manifestRepair(copy.location, copy.options));
      expect(refused).toMatchObject({ name: 'IncompatibleError', code: 'FORMAT_TOO_NEW' });
    });

    it('where its newest compactions file is of a newer format', async () => {
      const copy = await Copy.of(fixture);
      const newest = await copy.newest(parseCompactionsPath);
      if (newest === undefined) return;
      await copy.replace(newest, (await copy.bytes(newest)).with(1, 3));
      await assertUnknown(copy);
    });

    it('where an object of the log is of a newer format', async () => {
      const copy = await Copy.of(fixture);
      const newest = await copy.newest(parseWalPath);
      const bytes = newest === undefined ? undefined : await copy.bytes(newest);
      if (newest === undefined || bytes === undefined || bytes.length === 0) return;
      await copy.replace(newest, bytes.with(bytes.length - 1, 3));
      const verdicts = await copy.verdicts();
      // What is in tables already takes nothing away.
      expect(verdicts.verify).toMatch(/^(unknown|clean)$/);
      const refusal = await copy.opened();
      if (refusal !== undefined) expect(refusal.code).toMatch(/^(FORMAT_TOO_NEW|SEGMENTS_UNSUPPORTED)$/);
    });

    it.each(['manifest', 'wal', 'table', 'compactions', 'boundary'])('where no %s may be read', async (role) => {
      const copy = await Copy.of(fixture);
      if (!(await copy.paths()).some((path) => roleOfPath(path) === role)) return;
      const denied = (path: string) => roleOfPath(path.replace(/^[^/]*\//, '')) === role;
      const guarded = (store: ObjectStore) => withoutPermission(store, denied);
      const { location } = copy;
      location.store = guarded(location.store);
      if (location.walStore !== undefined) location.walStore = { ...location.walStore, store: guarded(location.walStore.store) };
      const verdicts = await copy.verdicts();
      expect(verdicts.verify).toMatch(/^(unknown|cannot tell)$/);
      for (const verdict of Object.values(verdicts)) expect(verdict).toMatch(/^(clean|unknown|cannot tell)$/);
    });
  });
});

describe.each(defective)('$name', (fixture) => {
  it('has the named state, and opens', async () => {
    const copy = await Copy.of(fixture);
    expect((await copy.verdicts()).verify).toBe(DEFECTIVE.get(fixture.name));
    expect(await copy.opened()).toBeUndefined();
  });
});

describe.each(fixtures)('$name, with objects gone,', (fixture) => {
  it.each<WholeLossKind>(['all-of-kind', 'only-kind', 'half'])('is never clean where it does not open: %s', async (kind) => {
    const whole = await (await Copy.of(fixture)).paths();
    for (const { name, gone } of wholeLosses(whole, kind)) {
      const copy = await Copy.of(fixture);
      await copy.remove(gone);
      const verdicts = await copy.verdicts();
      expect({ name, verdicts: Object.values(verdicts).includes('invalid') }).toEqual({ name, verdicts: false });
      const refusal = await copy.opened();
      if (refusal === undefined) continue;
      // An older manifest than the newest may be of a clone that is being made: a state of its own, not damage.
      if (refusal.code === 'SEGMENTS_UNSUPPORTED' || /still being set up/.test(refusal.message)) continue;
      expect({ name, refusal: isCorruption(refusal), code: refusal.code }).toEqual({ name, refusal: true, code: refusal.code });
      // The check of tables asks whether the log is there, not what is in it.
      const isAboutLog = (refusal as CorruptionError).findings.every((f) => f.object.role === 'wal' && f.code !== 'MISSING_OBJECT');
      const clean = Object.entries(verdicts)
        .filter(([tool, verdict]) => verdict === 'clean' && !(tool === 'sstCheck' && isAboutLog))
        .map(([tool]) => tool);
      expect({ name, refusal: refusal.message, clean }).toEqual({ name, refusal: refusal.message, clean: [] });
    }
  });
});

/**
 * Databases of which nothing shows that a log was there: nothing was ever flushed, or the one manifest there is, with nothing in level 0,
 * could be that of a clone.
 */
const WITHOUT_TRACE: ReadonlySet<string> = new Set([
  'constructed/forms-since-0.13',
  'constructed/v1-blocks',
  'slatedb-0.12.1/wal-only-crash',
  'slatedb-0.15.0/crash-fences',
  'slatedb-0.17.0/crash-fences',
  'slatedb-0.17.0/wal-blocks',
  'slatedb-0.18.0/crash-fences',
]);

describe('a log that is gone as a whole', () => {
  const withLog = fixtures.filter(({ objects }) => objects.some(({ path }) => /(^|\/)db\/wal\//.test(path)));
  it.each(withLog)('is seen in $name, unless it has left no trace', async (fixture) => {
    const copy = await Copy.of(fixture);
    await copy.remove((await copy.paths()).filter((path) => parseWalPath(path) !== undefined));
    const verdicts = await copy.verdicts();
    const unseen = Object.entries(verdicts).filter(([, verdict]) => verdict === 'clean');
    const hasTrace = !WITHOUT_TRACE.has(fixture.name);
    expect(unseen.map(([tool]) => tool)).toEqual(hasTrace ? [] : ['verify', 'sstCheck', 'walInspect']);
    // Unknown is not broken: what is not refused opens, and no repair of the log changes anything.
    if (!Object.values(verdicts).includes('unknown')) return;
    const before = await copy.digests();
    const unchanged = await copy.answer(walRepair(copy.location, { ...copy.options, apply: true, liveCheckMs: 0 }));
    expect(unchanged).toMatchObject({ outcome: 'clean', applied: false });
    expect(await copy.digests()).toEqual(before);
    expect(await copy.opened()).toBeUndefined();
  });
});

/** The store as a program sees it that may list but not read some objects. */
function withoutPermission(store: ObjectStore, denied: (path: string) => boolean): ObjectStore {
  const refuse = (path: string) => {
    if (denied(path)) throw new InvalidArgumentError('STORE_DENIED', `${path}: access denied`);
  };
  return {
    ...forwarding(store),
    get: async (path: string, options?: GetOptions) => {
      refuse(path);
      return store.get(path, options);
    },
  };
}
