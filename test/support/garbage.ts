/** What databases leave in their store, made on purpose: tables of writers that died, jobs that have ended, checkpoints. */
import type { Clock } from '../../src/common/clock.ts';
import { SeededRandom } from '../../src/common/random.ts';
import { makeUlid } from '../../src/common/ulid.ts';
import type { Db } from '../../src/db/db.ts';
import { encodeCompactions } from '../../src/format/compactions-codec.ts';
import { compactionsPath, TABLE_PREFIX } from '../../src/format/object-names.ts';
import { addCheckpoint, freshCheckpointId } from '../../src/lsm/manifest/checkpoint-edits.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { toolAccess, type World } from './database.ts';

const PUT_ID = '01ARZ3NDEKTSV4RRFFQ69G5FAV';

/** `count` tables of one row each: a manifest, a table and an object of the log for each. */
export async function writeTables(world: World, db: Db, count: number, name = 'key'): Promise<void> {
  for (let i = 0; i < count; i++) {
    await world.run(db.put(`${name}-${i}`, 'value'.repeat(20)));
    await world.run(db.flush({ type: 'memtable' }));
  }
}

export async function pathsOf(store: ObjectStore, prefix = ''): Promise<string[]> {
  const paths: string[] = [];
  for await (const { path } of store.list(prefix)) paths.push(path);
  return paths;
}

/** A table that no manifest names: its writer died between the two. Its path. */
export async function leaveOrphan(world: World, options: OpenOptions = {}): Promise<string> {
  const { db, line } = await world.connect({ gc: false, ...options });
  const before = await pathsOf(world.store, TABLE_PREFIX);
  const put = line.put.bind(line);
  line.put = (path, bytes, o) => {
    if (path.startsWith('manifest/')) line.cut();
    return put(path, bytes, o);
  };
  await world.run(db.put('orphan', 'value'));
  db.flush({ type: 'memtable' }).catch(() => undefined);
  await world.clock.advance(1000);
  const [orphan] = (await pathsOf(world.store, TABLE_PREFIX)).filter((path) => !before.includes(path));
  return orphan!;
}

/** The file of a compactor whose last job has ended now: tables that are older are no outputs of a job under way. */
export async function endJob(store: ObjectStore, clock: Clock): Promise<void> {
  const id = makeUlid(clock.nowMs(), new SeededRandom(1));
  const spec = {
    kind: 'tiered' as const,
    deprecatedTables: undefined,
    l0ViewIds: [],
    runs: undefined,
    segment: undefined,
    destination: 0,
  };
  const job = { id, spec, status: 'completed' as const, outputs: undefined, worker: undefined, context: undefined };
  const bytes = encodeCompactions({ headerVersion: 2, compactorEpoch: 1, jobs: [job], hasUnknownFields: false });
  await store.put(compactionsPath(1), bytes, { condition: 'any', putId: PUT_ID });
}

/** A checkpoint on the newest manifest, for so many seconds; 0: without an end. Its manifest. */
export async function pin(world: World, db: Db, seconds: number): Promise<number> {
  const access = toolAccess(db);
  const { id: manifestId } = access.manifest();
  const nowS = Math.floor(world.clock.nowMs() / 1000);
  const checkpoint = {
    id: freshCheckpointId(world.random()),
    manifestId,
    expireTimeS: seconds === 0 ? 0 : nowS + seconds,
    createTimeS: nowS,
    writerEpoch: undefined,
    name: undefined,
  };
  await world.run(access.commit((m, id) => addCheckpoint(m, checkpoint, id + 1), {}));
  return manifestId;
}
