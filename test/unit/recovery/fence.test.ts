/**
 * Taking over a database, as data: one takeover per line, of a database whose manifest 2 has epoch 1 and whose log ends with object 4,
 * row 9. Before the arrow what happens at which of its requests (`claim`, `fence N`, `list N`: the N-th, `boundary`), after it
 * the outcome, after the bar the requests. In brackets the rule of `fence.ts`, where one decides.
 *
 * What can happen: `manifest N eE` or `wal N`: another process put that object just before the request arrived; `takes MS`: the
 * answer comes so late; `no answer`: it was carried out, and nobody says so; `lost`: it was not, and nobody says so; `stale`: the
 * list shows nothing. `damage N`: object N is read as damaged.
 */
import { describe, expect, it } from 'vitest';
import { CorruptionError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { MANIFEST_BOUNDARY_PATH, manifestPath, walPath } from '../../../src/format/object-names.ts';
import { decodeSeal, findManifestSeal } from '../../../src/format/seal.ts';
import { Author } from '../../../src/lsm/manifest/author.ts';
import { EpochGuard, FENCE_VALIDITY_MS } from '../../../src/lsm/manifest/epoch-guard.ts';
import { claimEpochs, emptyManifest } from '../../../src/lsm/manifest/manifest-edits.ts';
import {
  type LoadedManifest,
  loadManifest,
  NO_WITNESS,
  sealManifest,
} from '../../../src/lsm/manifest/manifest-store.ts';
import { readWalObject } from '../../../src/lsm/wal/wal-object.ts';
import { assertExpectedEpoch, type Fence, takeOver } from '../../../src/recovery/fence.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import type { ObjectStore, PutOutcome } from '../../../src/store/object-store.ts';
import { rejection } from '../../support/database.ts';
import { forwarding } from '../../support/forwarding-store.ts';

const PUT_ID = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
const LOG_END = 4;
const LAST_SEQ = 9;
const PREDECESSOR = { kind: 'seal', bytes: new Uint8Array(16).fill(7) } as const;

class World {
  readonly clock = new ManualClock();
  readonly memory = new MemoryStore({ clock: this.clock });
  readonly guard = new EpochGuard(this.clock, () => []);
  readonly author = this.authorOf('new:2');
  readonly requests: string[] = [];
  readonly passed: number[] = [];
  readonly #events: Map<string, string[]>;
  #lists = 0;

  constructor(events: Map<string, string[]>) {
    this.#events = events;
  }

  authorOf(owner: string): Author {
    const random = new SeededRandom(1);
    return new Author({ clock: this.clock, random, owner, databaseId: new Uint8Array(16), role: 'writer' });
  }

  manifest(id: number, epoch: number, owner = 'old:1'): { loaded: LoadedManifest; bytes: Uint8Array } {
    const manifest = claimEpochs(emptyManifest(2, false), { writer: epoch });
    const author = this.authorOf(owner);
    const { bytes } = sealManifest({
      id,
      manifest,
      previous: undefined,
      author,
      epoch,
      witness: NO_WITNESS,
      claims: true,
    });
    return { loaded: loadManifest(id, bytes), bytes };
  }

  async put(path: string, bytes: Uint8Array): Promise<void> {
    await this.memory.put(path, bytes, { condition: 'if-absent', putId: PUT_ID });
  }

  /** What others do at a request, and what becomes of its answer. */
  async #happens(request: string): Promise<string[]> {
    const events = this.#events.get(request) ?? [];
    for (const event of events) {
      const [, what, id, epoch] = /^(manifest|wal) (\d+)(?: e(\d+))?$/.exec(event) ?? [];
      if (what === 'manifest')
        await this.put(manifestPath(Number(id)), this.manifest(Number(id), Number(epoch), 'rival:3').bytes);
      if (what === 'wal') await this.put(walPath(Number(id)), new Uint8Array(50));
    }
    return events;
  }

  async #answered(events: string[]): Promise<void> {
    for (const event of events) {
      const [, ms] = /^takes (\d+)$/.exec(event) ?? [];
      if (ms !== undefined) await this.clock.advance(Number(ms));
    }
  }

  get store(): ObjectStore {
    const { memory } = this;
    return {
      ...forwarding(memory),
      put: async (path, bytes, options): Promise<PutOutcome> => {
        const id = Number(/\d{20}/.exec(path)?.[0]);
        const request = path.startsWith('manifest/') ? 'claim' : `fence ${id}`;
        this.requests.push(request);
        expect(options.condition).toBe('if-absent');
        const events = await this.#happens(request);
        if (events.includes('lost')) return { outcome: 'unknown', cause: new Error('no answer') };
        const outcome = await memory.put(path, bytes, options);
        await this.#answered(events);
        return events.includes('no answer') ? { outcome: 'unknown', cause: new Error('no answer') } : outcome;
      },
      get: async (path, options) => {
        this.requests.push(path === MANIFEST_BOUNDARY_PATH ? 'boundary' : `get ${Number(/\d{20}/.exec(path)?.[0])}`);
        return memory.get(path, options);
      },
      list: (prefix, options) => this.#list(prefix, options),
    };
  }

  async *#list(prefix: string, options: Parameters<ObjectStore['list']>[1]): ReturnType<ObjectStore['list']> {
    this.#lists++;
    this.requests.push('list');
    const events = await this.#happens(`list ${this.#lists}`);
    if (!events.includes('stale')) yield* this.memory.list(prefix, options);
    await this.#answered(events);
  }

  async takeOver({
    hasBoundary = false,
    damaged = 0,
    id = 3,
    epoch = 2,
  }): Promise<{ claimed: LoadedManifest; fence: Fence } | undefined> {
    const { clock, guard, store, author } = this;
    const previous = this.manifest(2, 1);
    await this.put(manifestPath(2), previous.bytes);
    const stamp = guard.stamp();
    return clock.runUntilSettled(
      takeOver({
        stores: {
          main: store,
          wal: store,
          whole: store,
          hasWalStore: false,
          path: 'db',
          isRootAssumed: false,
          latestStoreTimesMs: () => [],
          counts: () => {
            throw new Error('requests are counted here');
          },
          meters: () => [],
          local: () => [],
          inFlight: () => 0,
          countedAs: () => {
            throw new Error('no role is beside this one');
          },
        },
        guard,
        author,
        where: 'memory: (db)',
        startedAt: stamp,
        listedAt: stamp,
        hasBoundary,
        claim: {
          id,
          manifest: claimEpochs(previous.loaded.manifest, { writer: epoch }),
          previous: previous.loaded,
          witness: NO_WITNESS,
        },
        fenceForm: 'table',
        log: { end: LOG_END, greatestSeq: LAST_SEQ, digestOf: (id) => (id === LOG_END ? PREDECESSOR : undefined) },
        readPassed: async (to) => {
          for (let id = LOG_END + 1; id <= to; id++) if (!this.passed.includes(id)) this.passed.push(id);
          return this.passed.includes(damaged) ? new CorruptionError(`object ${damaged} is damaged`, []) : undefined;
        },
      }),
    );
  }
}

interface Case {
  line: string;
  events: Map<string, string[]>;
  boundary: number | undefined;
  damaged: number;
  answer: string;
}

function parse(line: string): Case {
  const [before, answer] = line.split(/ *=> */);
  const events = new Map<string, string[]>();
  let boundary: number | undefined;
  let damaged = 0;
  for (const word of before.split(/ *; */).filter(Boolean)) {
    const [, alone, n] = /^(boundary|damage) (\d+)$/.exec(word) ?? [];
    if (alone === 'boundary') boundary = Number(n);
    else if (alone === 'damage') damaged = Number(n);
    else if (word !== 'nothing') {
      const [when, what] = word.split(/: */);
      events.set(when, [...(events.get(when) ?? []), what]);
    }
  }
  return { line, events, boundary, damaged, answer: answer.replace(/ *\((?:rules? )[^)]*\)$/, '').replace(/ +/g, ' ') };
}

async function outcomeOf(world: World, { boundary, damaged }: Case): Promise<string> {
  const hasBoundary = boundary !== undefined;
  if (hasBoundary) await world.put(MANIFEST_BOUNDARY_PATH, new TextEncoder().encode(String(boundary)));
  try {
    const taken = await world.takeOver({ hasBoundary, damaged });
    if (taken === undefined) return 'look again';
    const { claimed, fence } = taken;
    return `epoch ${claimed.manifest.writerEpoch}, fence ${fence.id}`;
  } catch (error) {
    if (error instanceof CorruptionError) return error.message;
    return (error as { code: string }).code;
  }
}

const AGED = FENCE_VALIDITY_MS + 1;

const LINES = `
  who wins
  nothing                                                    => epoch 2, fence 5 | claim, fence 5
  claim: manifest 3 e2                                       => look again | claim
  claim: manifest 3 e1                                       => look again | claim
  fence 5: wal 5                                             => epoch 2, fence 6 | claim, fence 5, list, fence 6
  fence 5: wal 5; fence 6: wal 6                             => epoch 2, fence 7 | claim, fence 5, list, fence 6, list, fence 7
  fence 5: wal 5; fence 5: manifest 4 e3                     => WRITER_FENCED | claim, fence 5, list, get 4
  fence 5: wal 5; fence 5: manifest 4 e2                     => epoch 2, fence 6 | claim, fence 5, list, get 4, fence 6
  fence 5: manifest 4 e3                                     => epoch 2, fence 5 | claim, fence 5

  no answer
  claim: no answer                                           => WRITE_OUTCOME_UNKNOWN | claim
  claim: lost                                                => WRITE_OUTCOME_UNKNOWN | claim
  fence 5: no answer                                         => WRITE_OUTCOME_UNKNOWN | claim, fence 5
  fence 5: lost                                              => WRITE_OUTCOME_UNKNOWN | claim, fence 5
  fence 5: wal 5; fence 6: no answer                         => WRITE_OUTCOME_UNKNOWN | claim, fence 5, list, fence 6

  a claim that came late, or that a collector may have emptied
  claim: takes ${FENCE_VALIDITY_MS}                                         => epoch 2, fence 5 | claim, fence 5 (rule 1)
  claim: takes ${AGED}                                         => epoch 2, fence 5 | claim, list, fence 5, list (rules 1 and 2)
  claim: takes ${AGED}; list 1: manifest 4 e1                  => look again | claim, list (rule 1)
  claim: takes ${AGED}; list 1: manifest 4 e3                  => look again | claim, list (rule 1)
  boundary 2                                                 => epoch 2, fence 5 | claim, boundary, fence 5 (rule 1)
  boundary 3                                                 => look again | claim, boundary (rule 1)
  boundary 9                                                 => look again | claim, boundary (rule 1)
  boundary 2; claim: takes ${AGED}; list 1: manifest 4 e1      => look again | claim, boundary, list (rule 1)

  a fence that came late
  fence 5: takes ${FENCE_VALIDITY_MS}                                       => epoch 2, fence 5 | claim, fence 5 (rule 2)
  fence 5: takes ${AGED}                                       => epoch 2, fence 5 | claim, fence 5, list (rule 2)
  fence 5: takes ${AGED}; list 1: manifest 4 e3                => WRITER_FENCED | claim, fence 5, list, get 4 (rule 2)
  fence 5: takes ${AGED}; list 1: manifest 4 e2                => epoch 2, fence 5 | claim, fence 5, list, get 4 (rule 2)
  claim: takes 40000; fence 5: takes 40000                   => epoch 2, fence 5 | claim, fence 5, list (rule 2)
  fence 5: takes ${AGED}; list 1: stale                        => STORE_DOWN | claim, fence 5, list (rule 2)

  what was passed on the way
  damage 5                                                   => epoch 2, fence 5 | claim, fence 5
  fence 5: wal 5; damage 5                                   => object 5 is damaged | claim, fence 5, list, fence 6, list (rule 3)
  fence 5: wal 5; damage 5; list 2: manifest 4 e3            => WRITER_FENCED | claim, fence 5, list, fence 6, list, get 4 (rule 3)
  fence 5: wal 5; damage 5; list 2: manifest 4 e2            => object 5 is damaged | claim, fence 5, list, fence 6, list, get 4 (rule 3)
  fence 5: wal 5; list 1: stale                              => STORE_DOWN | claim, fence 5, list
`
  .split('\n')
  .map((line) => line.trim())
  .filter((line) => line.includes('=>'));

describe('a takeover', () => {
  it.each(LINES.map(parse))('$line', async (c) => {
    const world = new World(c.events);
    const outcome = await outcomeOf(world, c);
    expect(`${outcome} | ${world.requests.join(', ')}`).toBe(c.answer);
  });

  it.each([
    ['with the epoch of the manifest that it follows', { epoch: 1 }],
    ['under the id of the manifest that it follows', { id: 2 }],
    ['under a lower id', { id: 1 }],
  ])('sends no claim %s', async (_, claim) => {
    const world = new World(new Map());
    const error = await rejection(world.takeOver(claim));
    expect([error.code, error.message]).toEqual(['INVARIANT', expect.stringContaining('(fence 4)')]);
    expect(world.requests).toEqual([]);
  });

  it('reads every object that it passed, and no other', async () => {
    const none = new World(new Map());
    await none.takeOver({});
    expect(none.passed).toEqual([]);
    const two = new World(parse('fence 5: wal 5; fence 6: wal 6 => -').events);
    await two.takeOver({});
    expect(two.passed).toEqual([5, 6]);
  });

  it('names itself in claim and fence, and a fence names the object before it only if that was read', async () => {
    for (const [script, id, predecessor] of [
      ['nothing => -', 5, 'seal'],
      ['fence 5: wal 5 => -', 6, 'unknown'],
    ] as const) {
      const world = new World(parse(script).events);
      const { fence } = (await world.takeOver({}))!;
      expect(fence).toMatchObject({ id, lastSeq: LAST_SEQ });
      const claim = (await world.memory.get(manifestPath(3)))!.bytes;
      const { start, end } = findManifestSeal(claim)!;
      expect(decodeSeal(claim, start, end, ['manifest'])).toMatchObject({
        identity: { epoch: 2, newestManifestId: 3 },
        owner: { hostPid: 'new:2' },
      });
      const read = await readWalObject(id, (await world.memory.get(walPath(id)))!.bytes);
      expect(read.findings).toEqual([]);
      expect(read.seal).toMatchObject({
        kind: 'fence',
        identity: { epoch: 2, newestManifestId: 3 },
        wal: { predecessorKind: predecessor, firstSeq: LAST_SEQ, lastSeq: LAST_SEQ },
        owner: { hostPid: 'new:2' },
      });
    }
  });

  it('puts nothing after a claim that it lost, and leaves the log alone', async () => {
    const world = new World(parse('claim: manifest 3 e2 => -').events);
    expect(await world.takeOver({})).toBeUndefined();
    expect(await world.memory.head(walPath(5))).toBeUndefined();
  });
});

describe('the epoch that a caller expects', () => {
  const newest = new World(new Map()).manifest(7, 4).loaded;

  it('is that of the newest manifest, or none in particular', () => {
    expect(() => assertExpectedEpoch('here', newest, 4)).not.toThrow();
    expect(() => assertExpectedEpoch('here', newest, undefined)).not.toThrow();
  });

  it.each([
    [3, /another writer \(old:1\) has taken the database over since/],
    [5, /no writer has had that epoch yet/],
  ])('is refused if it is %d and 4 is stored, before anything is written', async (expected, says) => {
    const error = await rejection(Promise.resolve().then(() => assertExpectedEpoch('here', newest, expected)));
    expect(error).toMatchObject({
      code: 'WRITER_FENCED',
      details: { expectedEpoch: expected, epoch: 4, manifestId: 7 },
    });
    expect(String(error)).toMatch(says);
  });
});
