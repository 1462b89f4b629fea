/**
 * Does a store do what the protocol leans on? Some servers accept conditional requests and ignore the condition; a database
 * on such a store has no protection against two writers.
 *
 * The probe writes into a folder of its own below the one it is given, and deletes what it wrote, also when it fails. Its result is plain JSON.
 * A store that cannot be reached is an error, not a result.
 */
import type { Clock } from '../common/clock.ts';
import type { Random } from '../common/random.ts';
import { makeUlid } from '../common/ulid.ts';
import { agreedRead } from './agreed-read.ts';
import {
  type GetResult,
  type ObjectStore,
  PUT_ID_METADATA,
  type PutCondition,
  type PutOutcome,
} from './object-store.ts';
import { isTransient, storeError, storeErrorClass } from './store-error.ts';

/** Which promises a store was seen to keep. */
export interface StoreProfile {
  schemaVersion: 1;
  /** When it was probed, ms since the epoch. */
  probedAtMs: number;
  /** A second create of the same object is refused, and of many concurrent ones exactly one is applied. */
  conditionalCreate: boolean;
  /** `unquoted`: only with the ETag's quotes removed. */
  ifMatch: 'supported' | 'unquoted' | 'unsupported' | 'ignored';
  /** A read of a range gave its bytes. */
  rangedReads: boolean;
  /** A read of the last bytes gave them. */
  suffixReads: boolean;
  /** A read right after a write gave what was written. */
  readAfterWrite: boolean;
  /** A list right after writes showed all objects. */
  listAfterWrite: boolean;
  /** A list right after a delete did not show the object. */
  listAfterDelete: boolean;
  /** Puts keep their put id as metadata. No problem where they do not: a put whose answer is lost is then settled by its bytes. */
  metadata: boolean;
  /** Answers carry the store's time. */
  storeTime: boolean;
  /** One sentence for each property that is missing, though databases need it or are better with it. */
  problems: string[];
}

export interface FolderProbe {
  random: Random;
  clock: Clock;
  /** What the names of all that is written begin with; ends with a slash. */
  folder: string;
  signal?: AbortSignal;
}

const RACE_ROUNDS = 3;
const RACE_CREATORS = 8;

/** Costs some 60 requests and as many milliseconds as 15 round trips. Throws store errors if the store cannot be used at all. */
export async function probeFolder(store: ObjectStore, options: FolderProbe): Promise<StoreProfile> {
  const probe = new Probe(store, options);
  try {
    return await probe.run();
  } finally {
    await probe.cleanUp();
  }
}

class Probe {
  readonly #store: ObjectStore;
  readonly #options: FolderProbe;
  readonly #folder: string;
  readonly #written = new Set<string>();
  readonly #problems: string[] = [];

  constructor(store: ObjectStore, options: FolderProbe) {
    this.#store = store;
    this.#options = options;
    this.#folder = `${options.folder}${this.#newId()}/`;
  }

  async run(): Promise<StoreProfile> {
    const created = await this.#probeCreate();
    const races = await this.#probeRaces();
    return {
      schemaVersion: 1,
      probedAtMs: this.#options.clock.nowMs(),
      conditionalCreate: created && races,
      ifMatch: await this.#probeIfMatch(),
      ...(await this.#probeReads()),
      ...(await this.#probeLists()),
      problems: this.#problems,
    };
  }

  /** Best effort: leftovers are small, have names of their own, and a failure here must not hide the first one. */
  async cleanUp(): Promise<void> {
    await this.#store.delete([...this.#written]).catch(() => undefined);
  }

  async #probeCreate(): Promise<boolean> {
    const { outcome } = await this.#put('created', 'first', 'if-absent');
    this.#demand(outcome === 'applied', `The create of a new object ended ${outcome}.`);
    const second = await this.#put('created', 'second', 'if-absent');
    const body = await this.#textOf('created', 'first');
    return this.#demand(
      second.outcome === 'refused' && body === 'first',
      `A second create of the same object was not refused (${second.outcome}): If-None-Match is ignored.`,
    );
  }

  async #probeRaces(): Promise<boolean> {
    for (let round = 0; round < RACE_ROUNDS; round++) {
      const name = `race-${round}`;
      const bodies = Array.from({ length: RACE_CREATORS }, (_, i) => `creator ${i}`);
      const outcomes = await Promise.all(bodies.map((body) => this.#putOrInFlight(name, body)));
      const winners = bodies.filter((_, i) => outcomes[i] === 'applied');
      const body = await this.#textOf(name, winners[0] ?? '');
      const oneWon = winners.length === 1 && body === winners[0];
      if (!this.#demand(oneWon, `${winners.length} of ${RACE_CREATORS} concurrent creators of one object won.`))
        return false;
    }
    return true;
  }

  /** A creator may be answered that another request is in flight, which means that its own was not applied. */
  async #putOrInFlight(name: string, body: string): Promise<PutOutcome['outcome']> {
    try {
      return (await this.#put(name, body, 'if-absent')).outcome;
    } catch (error) {
      if (storeErrorClass(error) === 'conflict-in-flight') return 'refused';
      throw error;
    }
  }

  async #probeIfMatch(): Promise<StoreProfile['ifMatch']> {
    const first = await this.#put('matched', 'one', 'any');
    if (first.outcome !== 'applied') return this.#noIfMatch('unsupported', `an overwrite ended ${first.outcome}`);
    let form: 'supported' | 'unquoted' = 'supported';
    let second = await this.#putIfMatch('matched', 'two', first.etag);
    const unquoted = first.etag.replace(/^"(.*)"$/, '$1');
    if (second !== 'applied' && unquoted !== first.etag) {
      form = 'unquoted';
      second = await this.#putIfMatch('matched', 'two', unquoted);
    }
    if (second !== 'applied') return this.#noIfMatch('unsupported', `the right ETag ended ${second}`);
    const stale = await this.#putIfMatch('matched', 'three', form === 'unquoted' ? unquoted : first.etag);
    const missing = await this.#putIfMatch('never-there', 'x', first.etag);
    const body = await this.#textOf('matched', 'two');
    if (stale === 'refused' && missing === 'refused' && body === 'two') return form;
    return this.#noIfMatch('ignored', `a stale ETag ended ${stale}, one of a missing object ${missing}`);
  }

  #noIfMatch(state: 'unsupported' | 'ignored', why: string): 'unsupported' | 'ignored' {
    this.#problems.push(`If-Match cannot be used: ${why}.`);
    return state;
  }

  async #putIfMatch(name: string, body: string, ifMatch: string): Promise<PutOutcome['outcome'] | 'failed'> {
    try {
      return (await this.#put(name, body, { ifMatch })).outcome;
    } catch (error) {
      if (isTransient(error)) throw error;
      return 'failed';
    }
  }

  async #probeReads() {
    const path = this.#path('read');
    const bytes = new Uint8Array(1000).map((_, i) => i & 255);
    const putId = this.#newId();
    await this.#store.put(path, bytes, { condition: 'any', putId, ...this.#signal() });
    const whole = await this.#gives(bytes, () => this.#store.get(path, this.#signal()));
    const middle = await this.#gives(bytes.subarray(100, 150), () => this.#read(path, { offset: 100, length: 50 }));
    const tail = await this.#gives(bytes.subarray(990), () => this.#read(path, { suffix: 10 }));
    const head = await this.#store.head(path, this.#signal());
    return {
      rangedReads: this.#demand(middle, 'A ranged read gave other bytes.'),
      suffixReads: this.#demand(tail, 'A read of the last bytes gave other bytes.'),
      readAfterWrite: this.#demand(whole, 'A read right after a write gave other bytes.'),
      metadata: this.#keepsMetadata(head?.metadata[PUT_ID_METADATA], putId),
      storeTime: this.#demand((head?.storeTimeMs ?? 0) > 0, 'Answers do not say the time.'),
    };
  }

  /** A store need not keep metadata; what it keeps must be that of the object. */
  #keepsMetadata(found: string | undefined, putId: string): boolean {
    return found !== undefined && this.#demand(found === putId, 'The metadata of an object is not that of its put.');
  }

  async #gives(wanted: Uint8Array, read: () => Promise<GetResult | undefined>): Promise<boolean> {
    const found = await this.#agreed(wanted, read);
    return found !== undefined && Buffer.compare(found.bytes, wanted) === 0;
  }

  #agreed(wanted: Uint8Array, read: () => Promise<GetResult | undefined>): Promise<GetResult | undefined> {
    return agreedRead(wanted, { store: this.#store.name, path: this.#folder }, read);
  }

  /** `undefined` also where the store's answer does not fit the request. */
  async #read(path: string, range: { offset: number; length: number } | { suffix: number }) {
    try {
      return await this.#store.get(path, { range, ...this.#signal() });
    } catch (error) {
      if (storeErrorClass(error) === 'malformed-response' || !isTransient(error)) return undefined;
      throw error;
    }
  }

  async #probeLists() {
    const names = ['list/1', 'list/2', 'list/3'];
    for (const name of names) await this.#put(name, name, 'any');
    const written = await this.#listed();
    await this.#store.delete([this.#path('list/2')], this.#signal());
    const deleted = await this.#listed();
    return {
      listAfterWrite: this.#demand(written === '1,2,3', `A list right after three writes gave ${written}.`),
      listAfterDelete: this.#demand(deleted === '1,3', `A list right after a delete gave ${deleted}.`),
    };
  }

  async #listed(): Promise<string> {
    const folder = this.#path('list/');
    const names: string[] = [];
    for await (const object of this.#store.list(folder, this.#signal())) names.push(object.path.slice(folder.length));
    return names.join(',');
  }

  async #put(name: string, body: string, condition: PutCondition): Promise<PutOutcome> {
    const bytes = new TextEncoder().encode(body);
    const path = this.#path(name);
    const options = { condition, putId: this.#newId(), ...this.#signal() };
    const outcome = await this.#store.put(path, bytes, options);
    // A lost answer says nothing about the store's promises.
    if (outcome.outcome === 'unknown') throw this.#lostAnswer(name, outcome.cause);
    return outcome;
  }

  #lostAnswer(name: string, cause: unknown): Error {
    const message = 'the answer to a put was lost during the probe';
    return storeError({ cls: 'unavailable', message, store: this.#store.name, path: this.#path(name), cause });
  }

  async #textOf(name: string, wanted: string): Promise<string | undefined> {
    const path = this.#path(name);
    const found = await this.#agreed(new TextEncoder().encode(wanted), () => this.#store.get(path, this.#signal()));
    return found && new TextDecoder().decode(found.bytes);
  }

  #path(name: string): string {
    const path = this.#folder + name;
    if (!name.endsWith('/')) this.#written.add(path);
    return path;
  }

  #demand(holds: boolean, problem: string): boolean {
    if (!holds) this.#problems.push(problem);
    return holds;
  }

  #newId(): string {
    return makeUlid(this.#options.clock.nowMs(), this.#options.random);
  }

  #signal(): { signal?: AbortSignal } {
    return this.#options.signal === undefined ? {} : { signal: this.#options.signal };
  }
}
