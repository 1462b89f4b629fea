/** Rounds of a collector in tests: on a database made of text, and what they say as text. */
import type { Clock } from '../../src/common/clock.ts';
import type { Ulid } from '../../src/common/ulid.ts';
import { parseTablePath } from '../../src/format/object-names.ts';
import { type GcDecision, stayText } from '../../src/gc/collectable.ts';
import { commitAsCollector } from '../../src/gc/manifest-commit.ts';
import { Rounds } from '../../src/gc/round.ts';
import { emptyResult, type RoundResult } from '../../src/gc/round-result.ts';
import { type GcOptions, gcSettings } from '../../src/gc/settings.ts';
import type { ManifestChange } from '../../src/lsm/manifest/manifest-log.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { type GcDatabase, REPAIR } from './gc-database.ts';
import { START_MS, tableName } from './manifest-script.ts';

/** The rounds of one process. `store`: its line to the store. */
export function roundsOn(
  db: GcDatabase,
  options: GcOptions = {},
  store?: ObjectStore,
  clock: Clock = db.clock,
): Rounds {
  const stores = db.stores(store, clock);
  const { random } = db;
  const parts = { stores, clock, random, owner: 'gc:1' };
  const commit = (change: ManifestChange) => commitAsCollector(parts, change);
  return new Rounds({ stores, clock, random, settings: gcSettings(options), commit });
}

export interface Ran {
  result: RoundResult;
  decisions: GcDecision[];
}

export async function ran(db: GcDatabase, rounds: Rounds, apply: boolean): Promise<Ran> {
  const result = emptyResult();
  const decisions: GcDecision[] = [];
  await db.run(rounds.run({ apply, withCopies: true, onDecision: (d) => void decisions.push(d) }, result));
  return { result, decisions };
}

/** `compacted/A_10`, `wal/3`, `manifest/4`, `compactions/2`; others as they are. */
export function shortPath(path: string): string {
  const table = parseTablePath(path);
  if (table !== undefined) return `table ${tableName(table)}`;
  const [, kind, id] = /^(wal|manifest|compactions)\/0*(\d+)\.\w+$/.exec(path) ?? [];
  return kind === undefined ? path.replace(REPAIR, 'REPAIR') : `${kind} ${id}`;
}

/** Each decision as a line, in the order of the lists. */
export function decisionText({ path, stays, class: of }: GcDecision): string {
  if (stays === undefined) return `${shortPath(path)} goes (${of})`;
  const text = stayText(stays)
    .replaceAll(/01J[0-9A-Z]{23}/g, (id) => tableName(id as Ulid))
    .replaceAll(/\d{4}-[\d-]+T[\d:.]+Z/g, (at) => `${Math.round((Date.parse(at) - START_MS) / 1000)} s`)
    .replaceAll(REPAIR, 'REPAIR');
  return `${shortPath(path)} ${text}`;
}

/** A line to the store on which `act` comes before each request, with its number from 1. `sent`: `op path`, of a delete all paths. */
export function interposed(
  store: ObjectStore,
  act: (n: number) => Promise<void> = async () => undefined,
): ObjectStore & { sent: string[] } {
  const sent: string[] = [];
  const after = async <T>(request: string, send: () => Promise<T>): Promise<T> => {
    sent.push(request);
    await act(sent.length);
    return send();
  };
  return {
    name: store.name,
    conformance: 'known',
    sent,
    get: (path, options) => after(`get ${path}`, () => store.get(path, options)),
    head: (path, options) => after(`head ${path}`, () => store.head(path, options)),
    put: (path, bytes, options) => after(`put ${path}`, () => store.put(path, bytes, options)),
    async *list(prefix, options) {
      await after(`list ${prefix}`, () => Promise.resolve());
      yield* store.list(prefix, options);
    },
    delete: (paths, options) => after(`delete ${paths.join(' ')}`, () => store.delete(paths, options)),
  };
}
