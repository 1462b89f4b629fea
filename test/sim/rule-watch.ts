/**
 * The rules that keep a repair from making things worse, each looked at in the moment in which a request is sent or applied.
 *
 * A rule that is broken fails the run under its name. How often each was put to the test is counted: one that never was proves
 * nothing.
 */
import { decodeCompactions } from '../../src/format/compactions-codec.ts';
import type { Manifest } from '../../src/format/manifest-types.ts';
import {
  COMPACTIONS_PREFIX,
  LEDGER_PREFIX,
  parseManifestPath,
  parseTablePath,
  parseWalPath,
  QUARANTINE_PREFIX,
  tablePath,
} from '../../src/format/object-names.ts';
import { type LoadedManifest, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { decodeLedger } from '../../src/lsm/tree/damage-ledger.ts';
import { repairIdText } from '../../src/tools/repair-plan.ts';
import type { Process } from './machine.ts';
import type { SimObject, SimStore } from './sim-store.ts';

export const RULES = {
  evidence: 'copies of what is damaged are kept and read back before anything is changed',
  owner: 'both epochs are claimed, with a fence and in the compactor’s file, before the tree is edited',
  names: 'new names are above all others: no hole is filled and no taken name is used',
  readBack: 'new tables are read back and asked for once more before the manifest names them',
  oneManifest: 'the tree is edited by one manifest',
  ledger: 'losses are in the ledger before they count',
  noResurrection: 'what was deleted or overwritten does not come back, and what was acknowledged is there',
} as const;
export type Rule = keyof typeof RULES;

/** An attempt is gone on with for 120 s, and takes a few itself. */
const OLD_MS = 150_000;

/** What is known of the database in the moment in which it is damaged. */
export interface Scene {
  /** As it was before, damaged objects included. */
  pristine: ReadonlyMap<string, SimObject>;
  /** With what is there now; undefined: it is gone. */
  damaged: ReadonlyMap<string, Uint8Array | undefined>;
  /** The newest manifest as it was. */
  newest: LoadedManifest;
  /** Greatest that any object names. */
  compactorEpoch: number;
  /** The repair of manifests claims the database by the very manifest that edits the tree. */
  claimIsRepair: boolean;
  losesRows: boolean;
}

export class RuleWatch {
  readonly checks = new Map<Rule, number>();
  readonly #store: SimStore;
  readonly #scene: Scene;
  /** What each process has sent, as `op path`. */
  readonly #sent = new Map<Process, string[]>();
  readonly #isTool: (process: Process) => boolean;
  readonly #tableSentMs = new Map<string, number>();
  #newest: LoadedManifest;
  #edits = 0;
  #fences = 0;

  constructor(store: SimStore, scene: Scene, isTool: (process: Process) => boolean) {
    this.#store = store;
    this.#scene = scene;
    this.#isTool = isTool;
    this.#newest = scene.newest;
    store.onSent = (process, op, path) => this.#onSent(process, op, path);
    store.onApplied = (path, object, replaced, by) => this.#onApplied(path, object, replaced, by);
    store.onDeleted = (path) => store.world.fail(`${path} was deleted`);
  }

  /** When all is over: after a repair that was applied. */
  finish(): void {
    this.#holds('owner', this.#fences > 0, 'the repair has left no fence in the log');
    this.#holds('oneManifest', this.#edits === 1, `the tree was edited ${this.#edits} times`);
    for (const [path, bytes] of this.#scene.damaged) {
      if (bytes === undefined) this.#holds('names', !this.#store.objects.has(path), `the hole ${path} was filled`);
    }
  }

  count(rule: Rule): void {
    this.checks.set(rule, (this.checks.get(rule) ?? 0) + 1);
  }

  #holds(rule: Rule, isKept: boolean, message: string): void {
    this.count(rule);
    if (!isKept) this.#store.world.fail(`RULE ${rule}: ${message}`);
  }

  #onSent(process: Process, op: string, path: string): void {
    if (!this.#isTool(process)) return;
    const sent = this.#sent.get(process) ?? [];
    this.#sent.set(process, sent);
    sent.push(`${op} ${path}`);
    if (op !== 'put') return;
    const isChange = /^(manifest|wal|compacted|compactions|shale\/damage)\//.test(path);
    if (isChange) this.#checkEvidence(path, sent);
    if (!/^(manifest|wal|compacted)\//.test(path)) return;
    this.#holds('names', !this.#scene.damaged.has(path), `${path}, which is damaged or gone, was to be written`);
    const id = parseManifestPath(path) ?? parseWalPath(path);
    const greatest = greatestOf(this.#scene.pristine, path.slice(0, path.indexOf('/') + 1));
    if (id === undefined) this.#checkAge(path);
    if (id !== undefined) this.#holds('names', path > greatest, `${path} is below ${greatest}`);
    else this.#holds('names', path > greatestTable(this.#scene.newest.manifest), `${path} is older than a named table`);
  }

  /** A collector deletes unnamed tables: the name of one that was written long ago may be free again at any moment. */
  #checkAge(path: string): void {
    const { nowMs } = this.#store.world;
    const sentMs = this.#tableSentMs.get(path) ?? nowMs;
    this.#tableSentMs.set(path, sentMs);
    this.#holds('names', nowMs - sentMs < OLD_MS, `${path} was first written ${nowMs - sentMs} ms ago`);
  }

  #checkEvidence(path: string, sent: readonly string[]): void {
    for (const [damaged, bytes] of this.#scene.damaged) {
      if (bytes === undefined) continue;
      const copies = this.#store.paths(QUARANTINE_PREFIX).filter((copy) => copy.endsWith(`/${damaged}`));
      const isKept = copies.some((copy) => {
        const found = this.#store.objects.get(copy) as SimObject;
        // The process that completes a repair which counts already relies on the one that began it.
        return Buffer.compare(found.bytes, bytes) === 0 && (this.isRepaired || sent.includes(`get ${copy}`));
      });
      this.#holds('evidence', isKept, `${path} was written before a copy of ${damaged} was kept and read back`);
    }
  }

  #onApplied(path: string, { bytes }: SimObject, replaced: SimObject | undefined, by: Process | undefined): void {
    if (replaced !== undefined) this.#holds('names', false, `${path} was overwritten`);
    const isByTool = by !== undefined && this.#isTool(by);
    if (isByTool && parseWalPath(path) !== undefined) this.#fences++;
    const id = parseManifestPath(path);
    if (id === undefined) return;
    const loaded = loadManifest(id, bytes);
    if (isByTool && isEdited(this.#newest.manifest, loaded.manifest)) this.#checkEdit(loaded, by);
    this.#newest = loaded;
  }

  /** Whether a repair has counted. */
  get isRepaired(): boolean {
    return this.#edits > 0;
  }

  #checkEdit({ id, manifest, seal }: LoadedManifest, process: Process): void {
    const { newest, compactorEpoch, claimIsRepair, losesRows } = this.#scene;
    const isClaimed = manifest.writerEpoch > newest.manifest.writerEpoch && manifest.compactorEpoch > compactorEpoch;
    this.#holds('owner', isClaimed, `manifest ${id} edits the tree without both epochs`);
    if (!claimIsRepair) {
      const sent = this.#sent.get(process) ?? [];
      const claim = sent.findIndex((request) => request.startsWith('put manifest/'));
      const fence = sent.findIndex((request) => request.startsWith('put wal/'));
      this.#holds('owner', claim >= 0 && claim < fence, `manifest ${id} edits the tree without a claim and a fence`);
      const compactions = this.#store.paths(COMPACTIONS_PREFIX).at(-1);
      const file = compactions && this.#store.objects.get(compactions);
      if (file) {
        const known = decodeCompactions(file.bytes).compactions.compactorEpoch;
        this.#holds('owner', known >= manifest.compactorEpoch, `${compactions} has epoch ${known}`);
      }
    }
    this.#edits++;
    this.#holds('oneManifest', seal?.repair !== undefined, `manifest ${id} edits the tree and says of no repair`);
    this.#holds('oneManifest', this.#edits === 1, `manifest ${id} edits the tree a second time`);
    this.#checkTables(manifest, process);
    if (!losesRows || seal?.repair === undefined) return;
    const version = this.#store.paths(LEDGER_PREFIX).at(-1);
    const entries = version === undefined ? [] : decodeLedger((this.#store.objects.get(version) as SimObject).bytes);
    const repairId = repairIdText(seal.repair.repairId);
    const isRecorded = entries.some((entry) => entry.repairId === repairId);
    this.#holds('ledger', isRecorded, `manifest ${id} makes a loss count that is not in the ledger`);
    this.#holds('ledger', (seal.manifest?.ledgerVersion ?? 0) > 0, `manifest ${id} names no ledger`);
  }

  #checkTables(manifest: Manifest, process: Process): void {
    const known = new Set(tablesOf(this.#newest.manifest));
    const sent = this.#sent.get(process) ?? [];
    for (const table of tablesOf(manifest)) {
      const path = tablePath(table as never);
      if (known.has(table) || this.#scene.pristine.has(path)) continue;
      const put = sent.indexOf(`put ${path}`);
      const get = sent.indexOf(`get ${path}`, put);
      const isRead = put >= 0 && get > put && sent.indexOf(`head ${path}`, get) > get;
      this.#holds('readBack', isRead, `table ${table} is named and was not read back and asked for again`);
    }
  }
}

function tablesOf({ l0, runs }: Manifest): string[] {
  return [...l0, ...runs.flatMap((run) => run.views)].map((view) => view.table.id);
}

function isEdited(before: Manifest, after: Manifest): boolean {
  return tablesOf(before).join() !== tablesOf(after).join() || before.replayAfterWalId !== after.replayAfterWalId;
}

function greatestOf(objects: ReadonlyMap<string, SimObject>, prefix: string): string {
  return [...objects.keys()].filter((path) => path.startsWith(prefix)).reduce((a, b) => (a > b ? a : b), '');
}

function greatestTable(manifest: Manifest): string {
  const paths = tablesOf(manifest).map((id) => tablePath(id as never));
  return paths.filter((path) => parseTablePath(path) !== undefined).reduce((a, b) => (a > b ? a : b), '');
}
