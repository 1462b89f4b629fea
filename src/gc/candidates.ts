/**
 * Lists each class and finds what goes: decides about every object as it comes, reads what a list alone does not show, and compares the
 * lists with what must be in them.
 *
 * Invariants:
 * 1. Of what is listed only what may go is held in memory, at most `most` of a list where something is to be deleted: the rest is for the next
 *    round.
 * 2. A list that lacks what must be in it ends the round, whether the list or the database is wrong: of tables all that needed manifests
 *    name, of the log the last object that a writer has seen to be durable.
 * 3. Of every object in a list one decision is given to `onDecision`, after all was read that it rests on.
 */
import { makeHint } from '../common/advice.ts';
import { mapLimit } from '../common/async.ts';
import type { GcClass, GcTally } from '../common/collector-role.ts';
import { type FindingObject, makeFinding, WHOLE_OBJECT } from '../common/finding.ts';
import type { Ulid } from '../common/ulid.ts';
import { runsOf } from '../format/manifest-types.ts';
import {
  parseTablePath,
  parseWalPath,
  QUARANTINE_PREFIX,
  TABLE_PREFIX,
  tablePath,
  WAL_PREFIX,
  walPath,
} from '../format/object-names.ts';
import { type DatabaseStores, whereOf } from '../lsm/manifest/database-stores.ts';
import { COMMIT_CHECKPOINT_S, EXPIRY_SLACK_S, liveSet, type RecentOutput } from '../lsm/manifest/live-set.ts';
import { type LedgerEntry, readLedger } from '../lsm/tree/damage-ledger.ts';
import { readWalObject, walFindingObject } from '../lsm/wal/wal-object.ts';
import { missingIds } from '../recovery/log-range.ts';
import { isOvertaken } from '../recovery/place.ts';
import { readTableTail } from '../recovery/stored-tables.ts';
import type { ListedObject, ObjectStore, UnfinishedUpload } from '../store/object-store.ts';
import { decide, decideUpload, type GcDecision, type GcRules, type Stay, tableCutoffs } from './collectable.ts';
import { listPrefix, type Observation, RoundStop, staleList } from './observation.ts';
import { addTo, earlier, type RoundResult } from './round-result.ts';
import type { GcSettings } from './settings.ts';

const READS_AT_ONCE = 16;
/** How long after it was stored a table of a compaction keeps its inputs. */
const OUTPUT_MS = (COMMIT_CHECKPOINT_S + EXPIRY_SLACK_S) * 1000;

/** What decisions rest on besides an observation. */
export interface Knowledge {
  readonly settings: GcSettings;
  /** Decide as if expired checkpoints had been dropped: a dry run does not drop them. */
  readonly isDryRun: boolean;
  /** Of small objects of the log; never changes for an object. */
  logKinds: Map<number, 'rows' | 'fence'>;
  /** Inputs that the seals of tables name; never change for a table. */
  inputs: Map<Ulid, readonly Ulid[]>;
  outputs: RecentOutput[];
  losses: readonly LedgerEntry[];
  cannotRaise: boolean;
}

/** The rules that follow from an observation and what is known besides. */
export function rulesOf(seen: Observation, known: Knowledge): GcRules {
  const { newest, manifest, others, compactions, plans } = seen;
  const { settings, isDryRun, outputs, logKinds, losses, cannotRaise } = known;
  const isPlanned = isDryRun && seen.expired.length > 0;
  const live = liveSet({
    newest: isPlanned ? { id: newest.id + 1, manifest } : newest,
    others: isPlanned ? new Map([...others, [newest.id, newest.manifest]]) : others,
    recent: settings.recentManifests,
    ...(compactions !== undefined && { compactions }),
    plans,
    outputs,
  });
  if (live.unread.length > 0) throw new RoundStop('A checkpoint expired a moment ago; the next round drops it.', []);
  const held = new Map<GcClass, Stay>(seen.held);
  if (cannotRaise) for (const name of ['manifest', 'compactions'] as const) held.set(name, { kind: 'no-if-match' });
  const cutoffs = tableCutoffs(newest.manifest, compactions?.compactions);
  return { live, cutoffs, settings, held, hasBoundary: seen.boundary.exists, logKinds, losses, plans };
}

export interface CandidateOptions {
  stores: DatabaseStores;
  seen: Observation;
  known: Knowledge;
  /** Whether to look at copies in quarantine and at uploads, whose least age is days. */
  withCopies: boolean;
  /** Of one list. */
  most: number;
  /** Whether the store can raise boundary files. */
  canRaise(): Promise<boolean>;
  result: RoundResult;
  onDecision(decision: GcDecision): void;
}

export interface GcCandidates
  extends Readonly<Record<'numbered' | 'tables' | 'log' | 'copies', readonly ListedObject[]>> {
  readonly uploads: readonly UnfinishedUpload[];
}

/** What goes. Two LISTs, four with copies and uploads; a GET for each small object of the log and each young table of a compaction, once. */
export function findCandidates(options: CandidateOptions): Promise<GcCandidates> {
  return new Search(options).run();
}

class Search {
  readonly #options: CandidateOptions;
  #rules: GcRules;
  /** What would be deleted once it is old enough, if the store said how old it is. */
  readonly #undated: GcTally = { objects: 0, bytes: 0 };

  constructor(options: CandidateOptions) {
    this.#options = options;
    this.#rules = rulesOf(options.seen, options.known);
  }

  async run(): Promise<GcCandidates> {
    const { seen, stores, withCopies } = this.#options;
    this.#note(
      (Math.min(...seen.manifest.checkpoints.map((c) => c.expireTimeS || Number.POSITIVE_INFINITY)) +
        EXPIRY_SLACK_S +
        1) *
        1000,
    );
    const numbered = await this.#numbered();
    const tables = await this.#tables();
    const log = await this.#log();
    const copies = withCopies ? await this.#copies(stores.main) : [];
    const uploads = withCopies ? await this.#uploads(stores.main) : [];
    if (this.#undated.objects > 0) this.#options.result.notes.push(undatedNote(this.#undated));
    return { numbered, tables, log, copies, uploads };
  }

  async #numbered(): Promise<ListedObject[]> {
    const { seen, known, canRaise } = this.#options;
    const pending = await this.#sift(inTurn([...seen.manifestList, ...seen.compactionsList]));
    if (pending.length > 0 && known.settings.boundaryFiles === 'raise' && !(await canRaise())) {
      known.cannotRaise = true;
      this.#options.result.notes.push(keptNote(pending));
    }
    return this.#final(pending);
  }

  // ---- tables

  async #tables(): Promise<ListedObject[]> {
    const { stores, seen } = this.#options;
    const missing = requiredTables(this.#rules);
    const ofRuns = new Set(runsOf(seen.newest.manifest).flatMap((run) => run.views.map((view) => view.table.id)));
    const fresh: ListedObject[] = [];
    const pending = await this.#sift(listPrefix(stores.main, TABLE_PREFIX), (object) => {
      const id = parseTablePath(object.path);
      if (id === undefined) return;
      missing.delete(id);
      if (ofRuns.has(id) && isFresh(object)) fresh.push(object);
    });
    await this.#assertAllListed([...missing].map((id) => tableObject(id)));
    if (pending.length > 0) await this.#readOutputs(fresh);
    return this.#final(pending);
  }

  /** L9. What the tables themselves say is read once. */
  async #readOutputs(fresh: readonly ListedObject[]): Promise<void> {
    const { stores, known } = this.#options;
    const ids = new Set(fresh.map(({ path }) => parseTablePath(path)));
    for (const id of known.inputs.keys()) if (!ids.has(id)) known.inputs.delete(id);
    known.outputs = await mapLimit(fresh, READS_AT_ONCE, async ({ path, size, lastModifiedMs }) => {
      const id = parseTablePath(path) as Ulid;
      let inputs = known.inputs.get(id);
      if (inputs === undefined) {
        const lineage = (await readTableTail(stores.main, { id, size }))?.seal?.lineage;
        inputs = lineage?.level === 'run' ? lineage.inputs : [];
        known.inputs.set(id, inputs);
      }
      this.#note(lastModifiedMs + OUTPUT_MS + 1000);
      return { id, inputs, storedS: Math.ceil(lastModifiedMs / 1000) };
    });
  }

  // ---- the log

  async #log(): Promise<ListedObject[]> {
    const { stores, seen, known } = this.#options;
    const { manifest, seal } = seen.newest;
    const durable = seal?.manifest?.walTail.id ?? 0;
    let isListed = durable <= manifest.replayAfterWalId;
    const pending = await this.#sift(listPrefix(stores.wal, WAL_PREFIX), ({ path }) => {
      if (parseWalPath(path) === durable) isListed = true;
    });
    if (!isListed) {
      const isThere = (await missingIds(stores.wal, { from: durable, end: durable }, new Map())).length === 0;
      await this.#missing(walFindingObject(durable), isThere);
    }
    const unread = pending.filter((object) => decide(object, this.#rules).stays?.kind === 'unread');
    await mapLimit(unread, READS_AT_ONCE, async ({ path }) => {
      const id = parseWalPath(path) as number;
      known.logKinds.set(id, await readLogKind(stores.wal, id));
    });
    return this.#final(pending);
  }

  // ---- copies

  async #copies(main: ObjectStore): Promise<ListedObject[]> {
    const { seen, known } = this.#options;
    const pending = await this.#sift(listPrefix(main, QUARANTINE_PREFIX));
    if (pending.length > 0) known.losses = (await readLedger(main, seen.newest)).entries;
    return this.#final(pending);
  }

  // ---- uploads

  /** Where the store does not list them, a rule of the bucket has to remove them. */
  async #uploads(main: ObjectStore): Promise<UnfinishedUpload[]> {
    const { known, result } = this.#options;
    const uploads = (await main.listUploads?.(TABLE_PREFIX)) ?? [];
    return uploads.filter((upload) => {
      const decision = decideUpload(upload, known.settings);
      this.#decided(decision);
      if (decision.stays === undefined) addTo(result.going, decision);
      return decision.stays === undefined;
    });
  }

  // ---- every class

  /** What may go, or has to be read first. */
  async #sift(objects: AsyncIterable<ListedObject>, onEach: (object: ListedObject) => void = () => undefined) {
    const { known, result } = this.#options;
    const most = known.isDryRun ? Number.POSITIVE_INFINITY : this.#options.most;
    const pending: ListedObject[] = [];
    for await (const object of objects) {
      onEach(object);
      const decision = decide(object, this.#rules);
      if (decision.stays !== undefined && decision.stays.kind !== 'unread') this.#decided(decision);
      else if (pending.length < most) pending.push(object);
      else {
        addTo(result.listed, decision);
        result.hasMore = true;
      }
    }
    return pending;
  }

  /** What goes, by all that is known now. */
  #final(pending: readonly ListedObject[]): ListedObject[] {
    const { seen, known, result } = this.#options;
    this.#rules = rulesOf(seen, known);
    return pending.filter((object) => {
      const decision = decide(object, this.#rules);
      this.#decided(decision);
      if (decision.stays === undefined) addTo(result.going, decision);
      return decision.stays === undefined;
    });
  }

  #decided(decision: GcDecision): void {
    const { result } = this.#options;
    addTo(result.listed, decision);
    if (decision.stays?.kind === 'undated') {
      this.#undated.objects++;
      this.#undated.bytes += decision.bytes;
    }
    if (decision.stays?.kind === 'young') {
      const { dueMs } = decision.stays;
      if (decision.class === 'copy' || decision.class === 'upload')
        result.copiesDueMs = earlier(result.copiesDueMs, dueMs);
      else this.#note(dueMs);
    }
    this.#options.onDecision(decision);
  }

  /** Something may go from this time of the store on. */
  #note(dueMs: number): void {
    if (!Number.isFinite(dueMs)) return;
    this.#options.result.nextDueMs = earlier(this.#options.result.nextDueMs, dueMs);
  }

  // ---- what must be in a list

  async #assertAllListed(missing: readonly FindingObject[]): Promise<void> {
    const { main } = this.#options.stores;
    for (const object of missing) await this.#missing(object, (await main.head(object.path)) !== undefined);
  }

  async #missing(object: FindingObject, isThere: boolean): Promise<never> {
    const { stores, seen } = this.#options;
    const where = whereOf(stores);
    if (isThere) throw staleList(where, object);
    // A newer manifest may not need it any more, and another collector may have deleted it.
    if (await isOvertaken(stores.main, seen.newest.id))
      throw new RoundStop('The database changed while it was listed.', []);
    throw missingObject(where, object);
  }
}

async function* inTurn<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}

/** The own tables that needed manifests name. What only a job or a plan names may not be there yet. */
function requiredTables({ live }: GcRules): Set<Ulid> {
  const required = new Set<Ulid>();
  for (const [id, { owner, reasons }] of live.tables) {
    if (owner === undefined && reasons.some((reason) => 'manifestId' in reason)) required.add(id);
  }
  return required;
}

function isFresh({ lastModifiedMs, storeTimeMs = 0 }: ListedObject): boolean {
  return storeTimeMs - lastModifiedMs <= OUTPUT_MS;
}

/** A fence is all that has no rows; so is what cannot be read, for it may have been one. */
async function readLogKind(wal: ObjectStore, id: number): Promise<'rows' | 'fence'> {
  const got = await wal.get(walPath(id));
  if (got === undefined) return 'fence';
  const { object, seal } = await readWalObject(id, got.bytes);
  return object?.kind === 'rows' || seal?.kind === 'wal' ? 'rows' : 'fence';
}

function tableObject(id: Ulid): FindingObject {
  return { role: 'table', path: tablePath(id), id, sealed: false };
}

function missingObject(where: string, object: FindingObject): RoundStop {
  const finding = makeFinding({
    code: 'MISSING_OBJECT',
    object,
    at: WHOLE_OBJECT,
    expected: 'in the store, because a manifest needs it',
    found: 'absent',
    during: 'check',
    remedy: 'untried',
    hint: makeHint(
      'Something that the database needs is gone. Nothing is deleted while it is so: what is left may be needed for a repair. Find out what deletes objects here, then repair the database.',
      'possible',
    ),
  });
  return new RoundStop(`${where}: ${object.path}, which is needed, is gone. Nothing is deleted while it is so.`, [
    finding,
  ]);
}

function keptNote(kept: readonly ListedObject[]): string {
  const bytes = kept.reduce((sum, { size }) => sum + size, 0);
  return `The store does not honour If-Match, so boundary files cannot be raised safely, and ${kept.length} manifests and compactions files (${bytes} bytes) that nothing needs are kept. They cost their storage, and each 1,000 of them one request more for every list of them. If no other process uses the database, boundaryFiles: "off" deletes them.`;
}

function undatedNote({ objects, bytes }: GcTally): string {
  return `The lists of the store do not say when objects were written, or what time it is, so nothing counts as old, and ${objects} objects (${bytes} bytes) that nothing needs are kept. They cost their storage. Have the store return lastModifiedMs and storeTimeMs, or collect elsewhere.`;
}
