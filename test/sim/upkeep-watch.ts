/**
 * What disturbs the roles beside a writer, and what they must never do: another compactor that takes the epoch, outputs that the store keeps
 * other than they were sent, broken invariants, and a deletion without another observation.
 */
import type { DbEvent } from '../../src/common/events.ts';
import { decodeCompactions, encodeCompactions } from '../../src/format/compactions-codec.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import {
  COMPACTIONS_PREFIX,
  compactionsPath,
  MANIFEST_PREFIX,
  manifestPath,
  parseCompactionsPath,
  TABLE_PREFIX,
} from '../../src/format/object-names.ts';
import type { Auditor } from './auditor.ts';
import type { Op } from './faults.ts';
import type { Process } from './machine.ts';
import { RivalCompactor } from './rival-compactor.ts';
import type { SimObject, SimStore } from './sim-store.ts';
import { describe } from './world.ts';

/** Of the outputs of jobs, where some are spoilt. */
const SPOILT_SHARE = 0.15;
const RIVAL_PUT_ID = '01ARZ3NDEKTSV4RRFFQ69G5FAV';

/** Which lists a process has asked for since it has last asked for that of the tables, in this order. */
type Looked = 'tables' | 'compactions' | 'manifests';

export class UpkeepWatch {
  /** Another compactor has the epoch, or had it. */
  hasRival = false;
  /** A second real compactor. */
  readonly rival: RivalCompactor;
  readonly #store: SimStore;
  readonly #auditor: Auditor;
  readonly #looked = new Map<string, Looked>();

  constructor(auditor: Auditor, { spoilsOutputs, hasFilter = false }: { spoilsOutputs: boolean; hasFilter?: boolean }) {
    this.#auditor = auditor;
    this.#store = auditor.store;
    this.rival = new RivalCompactor(this.#store, this, hasFilter);
    this.#store.onSent = (process, op, path) => this.#sent(process, op, path);
    if (spoilsOutputs) auditor.onRunTable = (path) => this.#maybeSpoil(path);
  }

  // ---- disturbances

  /** SlateDB's compactor claims, as it does when it starts. */
  claimAsRival(): void {
    const store = this.#store;
    const { newest } = this.#auditor;
    // What SlateDB writes has no checksum: a bit that is flipped on the way makes another manifest of it, and nobody sees it.
    if (newest === undefined || (store.faults.rates.flip ?? 0) > 0) return;
    const compactorEpoch = newest.manifest.compactorEpoch + 1;
    const put = (path: string, bytes: Uint8Array) => {
      store.world.trace(`another compactor writes ${path}`);
      store.applyPut(path, bytes, { condition: 'if-absent', putId: RIVAL_PUT_ID });
    };
    put(manifestPath(newest.id + 1), encodeManifest({ ...newest.manifest, compactorEpoch }));
    const last = store.paths(COMPACTIONS_PREFIX).at(-1);
    const { headerVersion } = newest.manifest;
    const known =
      last === undefined
        ? { headerVersion, compactorEpoch, jobs: [], hasUnknownFields: false }
        : decodeCompactions((store.objects.get(last) as SimObject).bytes).compactions;
    const id = 1 + (last === undefined ? 0 : (parseCompactionsPath(last) ?? 0));
    put(compactionsPath(id), encodeCompactions({ ...known, compactorEpoch }));
    this.hasRival = true;
    store.faults.count('rival compactor');
  }

  /** Another program moves the oldest table of level 0 into a run of its own, and leaves the epochs as they are: no row changes. */
  moveAsForeigner(): void {
    const store = this.#store;
    const { newest, compactions } = this.#auditor;
    if (newest === undefined || compactions === undefined || (store.faults.rates.flip ?? 0) > 0) return;
    const { l0, runs } = newest.manifest;
    const oldest = l0.at(-1);
    if (oldest === undefined) return;
    const named = [...runs.map(({ id }) => id), ...compactions.running.map(({ destination }) => destination)];
    const run = { id: 1 + Math.max(-1, ...named), views: [oldest] };
    const id = newest.id + 1;
    compactions.foreign.add(id);
    store.world.trace(`another program moves table ${oldest.table.id} into run ${run.id}`);
    const moved = { ...newest.manifest, l0: l0.slice(0, -1), runs: [run, ...runs], lastCompacted: oldest.viewId };
    store.applyPut(manifestPath(id), encodeManifest(moved), { condition: 'if-absent', putId: RIVAL_PUT_ID });
    store.faults.count('foreign move');
  }

  /** One bit of it is another one at rest. */
  #maybeSpoil(path: string): void {
    const { world, faults, objects } = this.#store;
    const object = objects.get(path);
    if (object === undefined || !faults.enabled || !world.chance(SPOILT_SHARE)) return;
    const bytes = object.bytes.slice();
    const bit = world.between(0, bytes.length * 8 - 1);
    bytes[bit >> 3] ^= 1 << (bit & 7);
    world.trace(`bit ${bit} of ${path} is stored wrong`);
    this.#store.damage(path, bytes);
    faults.count('spoilt output');
  }

  // ---- what must not be

  /** For the option `onEvent`. */
  readonly onEvent = (event: DbEvent): void => {
    if (event.type !== 'compactor' && event.type !== 'collector') return;
    const { event: inner } = event;
    if (inner.type === 'round') {
      const objects = Object.values(inner.round.deleted).reduce((sum, tally) => sum + tally.objects, 0);
      this.#auditor.count(objects > 0 ? 'rounds that deleted something' : 'rounds that deleted nothing');
    }
    if ('error' in inner && inner.error.kind === 'internal') {
      this.#store.world.fail(`BROKEN: the ${event.type} says ${describe(inner.error)}`, inner.error);
    }
    if (inner.type === 'ended') this.#auditor.count('jobs that failed');
    if (inner.type === 'fenced') this.#auditor.states.add('compactor fenced');
  };

  /** Before a table is deleted, after all of them were listed: compactions files, then manifests. */
  #sent({ name }: Process, op: Op, path: string): void {
    const before = this.#looked.get(name);
    if (op === 'list' && path === TABLE_PREFIX) this.#looked.set(name, 'tables');
    if (op === 'list' && path === COMPACTIONS_PREFIX && before === 'tables') this.#looked.set(name, 'compactions');
    if (op === 'list' && path === MANIFEST_PREFIX && before === 'compactions') this.#looked.set(name, 'manifests');
    if (op === 'delete' && path.startsWith(TABLE_PREFIX) && before !== 'manifests') {
      this.#store.world.fail(`${path} is deleted, but after the list of tables only ${before} were looked at`);
    }
  }
}
