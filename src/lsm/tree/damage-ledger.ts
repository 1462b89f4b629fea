/**
 * The ledger: losses that are known and not yet acknowledged or made good, so that what is gone never reads as "was never
 * there".
 *
 * Objects `shale/damage/<id>`, ids from 1 without holes, each a complete snapshot made by create-if-absent, so a version is
 * never changed and two who append at once cannot lose each other's entries. None is ever deleted: a stalled tool could take
 * the free id, and its loss would never be read. A damaged version is passed over; the newest good one counts.
 */
import { fromBase64Url, toBase64Url } from '../../common/bytes.ts';
import type { Clock } from '../../common/clock.ts';
import { type CorruptionError, damage, isCorruption, locate, UnavailableError } from '../../common/errors.ts';
import type { Random } from '../../common/random.ts';
import { shellWord } from '../../common/shell-word.ts';
import { makeUlid } from '../../common/ulid.ts';
import { idText, parseIdText, SIDECAR_PREFIX } from '../../format/object-names.ts';
import { decodeSidecar, encodeSidecar } from '../../format/sidecar.ts';
import type { ObjectStore } from '../../store/object-store.ts';

export const LEDGER_PREFIX = `${SIDECAR_PREFIX}damage/`;
const KIND = 'damage';
/** Appends that find their id taken start over; so many lost races in a row are no accident. */
const MAX_ROUNDS = 20;

export interface KeyRange {
  gte: Uint8Array;
  lte: Uint8Array;
}

export interface SeqRange {
  min: bigint;
  max: bigint;
}

/** A loss that is known and not yet acknowledged or made good. */
export interface LedgerEntry {
  /** That of the finding; one of its own where nothing is wrong with the object that was dropped. */
  id: string;
  repairId: string;
  /** Path of the object that was lost or damaged. */
  object: string;
  level: 'wal' | 'l0' | 'run';
  /** When it was recorded, ISO 8601. */
  at: string;
  /** Empty if unknown, as for rows of the log. */
  keys: KeyRange[];
  seqs: SeqRange[];
  rows?: number;
  /** Whether `rows`, `keys` and `seqs` are known and not bounds. */
  exact: boolean;
  state: 'open' | 'acknowledged' | 'restored';
  note?: string;
}

/** The command that ends an open entry. */
export function acknowledgeCommand(id: string): string {
  return `shaledb damage ack LOCATION ${shellWord(id)} --note "why it is known and accepted"`;
}

export interface Ledger {
  /** 0: there is none. */
  version: number;
  entries: readonly LedgerEntry[];
  /** What is wrong with newer versions, which were passed over. */
  damage: readonly CorruptionError[];
}

const NO_LEDGER: Ledger = { version: 0, entries: [], damage: [] };

export function ledgerPath(version: number): string {
  return `${LEDGER_PREFIX}${idText(version)}`;
}

/** The newest good version. One LIST and, where there is one, one GET. */
export async function readLedger(store: ObjectStore): Promise<Ledger> {
  return readNewestOf(store, await listVersions(store));
}

/** The newest good one of these versions, which ascend. */
async function readNewestOf(store: ObjectStore, versions: readonly number[]): Promise<Ledger> {
  const broken: CorruptionError[] = [];
  for (const version of [...versions].reverse()) {
    const entries = await readVersion(store, version).catch((error: unknown) => {
      if (!isCorruption(error)) throw error;
      broken.push(error);
    });
    if (entries !== undefined) return { version, entries, damage: broken };
  }
  return { ...NO_LEDGER, damage: broken };
}

/**
 * Writes the next version with what `change` makes of the entries; undefined: nothing is to be changed. Resolves with the
 * version that then counts. A LIST, a GET and a PUT; the same again for each version of others that came first.
 */
export async function appendLedger(
  store: ObjectStore,
  change: (entries: readonly LedgerEntry[]) => readonly LedgerEntry[] | undefined,
  { clock, random }: { clock: Clock; random: Random },
): Promise<number> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const versions = await listVersions(store);
    const ledger = await readNewestOf(store, versions);
    const entries = change(ledger.entries);
    if (entries === undefined) return ledger.version;
    const version = (versions[versions.length - 1] ?? 0) + 1;
    const bytes = encodeLedger(entries);
    decodeLedger(bytes);
    const answer = await store.put(ledgerPath(version), bytes, {
      condition: 'if-absent',
      putId: makeUlid(clock.nowMs(), random),
    });
    if (answer.outcome === 'applied') return version;
    if (answer.outcome === 'unknown') {
      const message = `${store.name}: no answer says whether ${ledgerPath(version)} was written. Doing the same again settles it.`;
      throw new UnavailableError('WRITE_OUTCOME_UNKNOWN', message, { outcome: 'unknown', cause: answer.cause });
    }
  }
  throw new UnavailableError('DEADLINE', `${store.name}: others always wrote ${LEDGER_PREFIX} first; try again later.`);
}

/** Ascending. */
async function listVersions(store: ObjectStore): Promise<number[]> {
  const versions: number[] = [];
  for await (const { path } of store.list(LEDGER_PREFIX)) {
    const version = parseIdText(path.slice(LEDGER_PREFIX.length));
    if (version !== undefined) versions.push(version);
  }
  return versions.sort((a, b) => a - b);
}

/** Undefined if the version does not exist. */
async function readVersion(store: ObjectStore, version: number): Promise<LedgerEntry[] | undefined> {
  const path = ledgerPath(version);
  const got = await store.get(path);
  if (got === undefined) return undefined;
  try {
    return decodeLedger(got.bytes);
  } catch (error) {
    if (!isCorruption(error)) throw error;
    const object = { role: 'sidecar' as const, path, id: idText(version), sealed: false, size: got.size };
    throw locate(error, { object, during: 'check' });
  }
}

// ---- bytes

/** The bytes of one version. */
export function encodeLedger(entries: readonly LedgerEntry[]): Uint8Array {
  return encodeSidecar(KIND, 1, {
    entries: entries.map(({ keys, seqs, ...rest }) => ({
      ...rest,
      keys: keys.map(({ gte, lte }) => ({ gte: toBase64Url(gte), lte: toBase64Url(lte) })),
      seqs: seqs.map(({ min, max }) => ({ min: String(min), max: String(max) })),
    })),
  });
}

/** Throws damage like `decodeSidecar`, and `MALFORMED` for entries that are incomplete; unknown members are ignored. */
export function decodeLedger(bytes: Uint8Array): LedgerEntry[] {
  const { value } = decodeSidecar(bytes, KIND);
  const { entries } = (value ?? {}) as { entries?: unknown };
  const list = Array.isArray(entries) ? entries.map(decodeEntry) : [undefined];
  if (list.includes(undefined)) {
    const at = { unit: 'object', offset: 0, length: bytes.length } as const;
    throw damage('MALFORMED', at, 'An entry of the ledger is incomplete');
  }
  return list as LedgerEntry[];
}

const LEVELS: readonly unknown[] = ['wal', 'l0', 'run'];
const STATES: readonly unknown[] = ['open', 'acknowledged', 'restored'];

function decodeEntry(value: unknown): LedgerEntry | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { id, repairId, object, level, at, keys, seqs, rows, exact, state, note } = value as Record<string, unknown>;
  const texts = [id, repairId, object, at];
  const ranges = decodeList(keys, decodeKeys);
  const numbers = decodeList(seqs, decodeSeqs);
  const isWhole = texts.every((text) => typeof text === 'string') && ranges !== undefined && numbers !== undefined;
  if (!isWhole || !LEVELS.includes(level) || !STATES.includes(state) || typeof exact !== 'boolean') return undefined;
  return {
    id: id as string,
    repairId: repairId as string,
    object: object as string,
    level: level as LedgerEntry['level'],
    at: at as string,
    keys: ranges,
    seqs: numbers,
    ...(Number.isSafeInteger(rows) && { rows: rows as number }),
    exact,
    state: state as LedgerEntry['state'],
    ...(typeof note === 'string' && { note }),
  };
}

function decodeList<T>(value: unknown, decode: (item: Record<string, unknown>) => T | undefined): T[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const items = value.map((item) => (typeof item === 'object' && item !== null ? decode(item) : undefined));
  return items.includes(undefined) ? undefined : (items as T[]);
}

function decodeKeys({ gte, lte }: Record<string, unknown>): KeyRange | undefined {
  if (typeof gte !== 'string' || typeof lte !== 'string') return undefined;
  return { gte: fromBase64Url(gte), lte: fromBase64Url(lte) };
}

const U64_TEXT = /^[0-9]{1,20}$/;

function decodeSeqs({ min, max }: Record<string, unknown>): SeqRange | undefined {
  if (typeof min !== 'string' || typeof max !== 'string' || !U64_TEXT.test(min) || !U64_TEXT.test(max))
    return undefined;
  return { min: BigInt(min), max: BigInt(max) };
}
