/**
 * What a repair wants to do, and how it is distinguished from another one.
 *
 * The same damage and the same options always give the same repair id and, as long as nothing else changes, the same plan
 * hash: neither depends on names drawn, on epochs, fences or manifest ids, or on what remains of an attempt that was cut off.
 */
import { createHash } from 'node:crypto';
import { toBase64Url, toHex } from '../common/bytes.ts';
import { ConflictError, type CorruptionError } from '../common/errors.ts';
import type { Finding } from '../common/finding.ts';
import {
  bool,
  type Check,
  type ChecksOf,
  describeValue,
  filledText,
  isPlainObject,
  MAX_MS,
  members,
  oneOf,
  whole,
} from '../common/option-checks.ts';
import type { Ulid } from '../common/ulid.ts';
import type { Manifest, TableRef } from '../format/manifest-types.ts';
import type { RepairRecord } from '../format/seal-records.ts';
import type { Author } from '../lsm/manifest/author.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import type { LedgerEntry } from '../lsm/tree/damage-ledger.ts';
import type { Fence } from '../recovery/fence.ts';
import { MAX_LOSS_CHECK, type MaxLoss } from '../recovery/repair-report.ts';
import type { Claim } from './own-database.ts';
import type { RepairReport } from './reports.ts';
import type { ToolTarget } from './target.ts';

/** Options of repairs that can lose rows. */
export interface LossOptions {
  /**
   * Go on although rows are, or may be, lost. Default: such a repair changes nothing and its outcome is `consent-needed`, unless a
   * `maxLoss` covers the loss. `false`: the same, whatever `maxLoss` covers.
   */
  acceptLoss?: boolean;
  /** Go on if no more than this can be lost, and reject if more can. It counts besides `acceptLoss`, too. Default: no limit. */
  maxLoss?: MaxLoss;
}

export const LOSS_CHECKS: ChecksOf<LossOptions> = { acceptLoss: bool, maxLoss: MAX_LOSS_CHECK };

/** Options that every repair has. */
export interface RepairOptions {
  /**
   * Carry the plan out. Default false: nothing is changed. With a hash: exactly that plan, or the report of having done it before, else
   * `PLAN_CHANGED`. Where nothing is left to repair and no report of a repair is there, the outcome says so whatever the hash is.
   */
  apply?:
    | boolean
    | {
        /** `planHash` of the report that was reviewed. */
        planHash: string;
      };
  /** What to do if a process seems to write to the database. Default `refuse` (`LIVE_WRITER`). */
  ifLiveWriter?: 'refuse' | 'fence';
  /** How long to watch for a live writer before anything is changed, ms; default 5,000, 0 does not look. */
  liveCheckMs?: number;
}

const PLAN_CHECK = members({ planHash: filledText }, ['planHash']);

/** Whatever else is given decides nothing: a repair must not be applied by mistake. */
const APPLY_CHECK: Check = (value, name, faults) => {
  if (typeof value === 'boolean') return value;
  if (isPlainObject(value)) return PLAN_CHECK(value, name, faults);
  faults.push(`${name} must be true, false or { planHash } of the plan that was reviewed, not ${describeValue(value)}`);
  return value;
};

export const REPAIR_CHECKS: ChecksOf<RepairOptions> = {
  apply: APPLY_CHECK,
  ifLiveWriter: oneOf(['refuse', 'fence']),
  liveCheckMs: whole(0, MAX_MS),
};

/** One tool's part of a repair; `runRepair` does the rest. */
export interface RepairTask extends RepairOptions {
  tool: RepairReport['tool'];
  /** Options that decide about the result, and what the repair is about; part of its id. */
  settings: Readonly<Record<string, string | number | boolean>>;
  /**
   * Set if `settings` name the one object that is repaired: then a finished repair is recognised by them forever, otherwise
   * only as long as its manifest is the newest.
   */
  namesOneObject: boolean;
  /** The writer epoch to take over from; absent: whatever is there. */
  expectedEpoch?: number;
  /** What may be lost; absent for a repair that loses nothing. */
  consent?: LossOptions;
  /** Reads the database and returns what to do; without any mutating call. Called again when the database is ours. */
  plan(view: RepairView): Promise<RepairPlan>;
}

/** The database as a plan sees it. */
export interface RepairView {
  target: ToolTarget;
  /** The newest manifest; when the database is ours, our claim. */
  manifest: LoadedManifest;
  /** After the last object of the log; set when the database is ours and the target is not an open database. */
  fence: Fence | undefined;
}

/** An object that is damaged or missing, as it was when the plan was made. */
export interface DamagedObject {
  /** Below the root of its store. */
  path: string;
  store: 'main' | 'wal';
  /** SHA-256 in hex; undefined if it is missing. */
  sha256: string | undefined;
  bytes: number;
}

export type Loss = Omit<LedgerEntry, 'repairId' | 'at'>;

/** What of the report is known before anything is done. */
type PlannedReport = Pick<
  RepairReport,
  'outcome' | 'before' | 'rows' | 'batches' | 'lostKeys' | 'lostSeqs' | 'shadowed' | 'nextSteps'
> & {
  /** Consents besides that to a loss which the plan waits for. */
  missingConsent?: RepairReport['missingConsent'];
};

export interface RepairPlan extends PlannedReport {
  /** Copied to quarantine first; in the order of their paths. */
  damaged: readonly DamagedObject[];
  /** Written to the ledger before the repair counts. */
  losses: readonly Loss[];
  /** Tables to write. */
  tables: readonly PlannedTable[];
  /** For record 6 besides those that `tables` replace: tables that are dropped. */
  dropped: readonly Ulid[];
  /** The greatest sequence number known of, for the fence; `last_l0_seq` if absent. */
  greatestSeq?: number;
  /** Objects of the log of which rows are, or may be, lost. */
  lossyWalObjects?: number;
  /** The error for a loss that exceeds `maxLoss`. */
  tooMuchLost?(what: string): CorruptionError;
  /** Whatever else must be the same for the plan to be the same. */
  facts?: string;
  /** Set if the manifest that claims the database is itself the repair: `manifestRepair`. */
  takeover?: Omit<Claim, 'greatestSeq' | 'repair'>;
  /** Set if `edit` is to be used also where `takeover` is set and the target is an open database. */
  changesTree?: boolean;
  /**
   * The manifest that makes the repair count, made of the newest one (epochs are claimed already); undefined if it no longer
   * applies. Pure: called again on top of whatever is newest when another manifest comes first.
   */
  edit(newest: Manifest, made: MadeParts): Manifest | undefined;
}

export interface MadeParts {
  /** In the order of the plan's `tables`. */
  tables: readonly TableRef[];
  /** Undefined if the target is an open database. */
  fence: Fence | undefined;
}

export interface PlannedTable {
  /** Stands in the manifest for this one. */
  replaces: Ulid | undefined;
  /** What the table will hold, for the hash of the plan: rows, key and sequence bounds, or a digest of the payload. */
  summary: Readonly<Record<string, string | number>>;
  /** The same bytes for the same arguments. */
  build(how: TableNaming): Promise<{ bytes: Uint8Array; table: TableRef }>;
}

/** All that the bytes of a new table take from the attempt that writes it. */
export interface TableNaming {
  id: Ulid;
  putId: Ulid;
  /** Role `tool`; its clock stands at the moment of the plan. */
  author: Author;
  /** 0: a table of a tool belongs to no epoch, so it is not taken for a writer's that was not committed. */
  epoch: 0;
  newestManifestId: number;
  repair: RepairRecord;
}

export interface RepairIdentity {
  /** `r-` and 24 hexadecimal digits. */
  text: string;
  /** For record 6; the text is made of its first 12 bytes. */
  bytes: Uint8Array;
}

/** The id of a repair: of the tool, its settings, and what is damaged. */
export function repairIdentity(task: Pick<RepairTask, 'tool' | 'settings'>, plan: RepairPlan): RepairIdentity {
  const text = canonical([task.tool, task.settings, plan.damaged.map((d) => [d.store, d.path, d.sha256 ?? 'missing'])]);
  const bytes = new Uint8Array(createHash('sha256').update(text).digest().subarray(0, 16));
  return { text: repairIdText(bytes), bytes };
}

/** The id that reports use for the one in a seal. */
export function repairIdText(bytes: Uint8Array): string {
  return `r-${toHex(bytes).slice(0, 24)}`;
}

/** `p-` and 24 hexadecimal digits: of everything that the plan would do. */
export function planHash(identity: RepairIdentity, plan: RepairPlan): string {
  const { outcome, before, rows, batches, lostKeys, lostSeqs, shadowed, losses, tables, dropped, facts } = plan;
  const findings = before.map((f: Finding) => f.id);
  const written = tables.map((t) => [t.replaces, t.summary]);
  const text = canonical([
    identity.text,
    outcome,
    findings,
    rows,
    batches,
    lostKeys,
    lostSeqs,
    shadowed,
    losses,
    written,
    dropped,
    facts,
  ]);
  return `p-${createHash('sha256').update(text).digest('hex').slice(0, 24)}`;
}

/** `apply: { planHash }` does what was reviewed or nothing. */
export function assertReviewed(where: string, apply: RepairOptions['apply'], hash: string): void {
  if (typeof apply !== 'object' || apply.planHash === hash) return;
  throw new ConflictError(
    'PLAN_CHANGED',
    `${where}: the plan is now ${hash}, not ${apply.planHash}, which was reviewed. Look at it again without apply.`,
    { details: { planHash: hash, reviewed: apply.planHash } },
  );
}

/** SHA-256 in hex, as evidence and plans name objects. */
export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** `bytes` undefined: the object is missing. */
export function damagedObject(
  path: string,
  store: DamagedObject['store'],
  bytes: Uint8Array | undefined,
): DamagedObject {
  return { path, store, sha256: bytes && sha256Hex(bytes), bytes: bytes?.length ?? 0 };
}

/** JSON with the members of objects in order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) => {
    if (typeof v === 'bigint') return String(v);
    if (v instanceof Uint8Array) return toBase64Url(v);
    if (typeof v !== 'object' || v === null || Array.isArray(v)) return v;
    return Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
