/**
 * The ledger: losses that are known and not yet acknowledged or restored, so that what is gone never reads as "was never
 * there".
 *
 * Objects `shale/damage/<id>`, ids ascending from 1, each a complete snapshot made by create-if-absent, so a version is
 * never changed and two who append at once cannot lose each other's entries. None is ever deleted by us: a stalled tool could
 * take the free id, and its loss would never be read.
 *
 * 1. The seal of a manifest names the version that its tables need; newer ones add acknowledgements, and losses of repairs that
 *    do not count yet. So the newest version that can be read counts if it is not older than that one. Where no seal names
 *    one, the newest version that exists must be readable.
 * 2. If it is older, or none can be read, losses are unknown, not none: an open entry without known keys stands for all that the
 *    unreadable versions may say (`isUnknownLoss`), every version appended from then on keeps it, and acknowledging it ends it.
 * 3. One flipped bit is undone: the checksum must confirm the bit as the only one, and the result must be, byte for byte, what
 *    this program writes.
 * 4. A range without an upper end is stored with the key that stands for one (key-range.ts), also in versions of older programs: they
 *    and this one read each other's.
 */

import { LIST_LOSSES, makeHint } from '../../common/advice.ts';
import { assertThat } from '../../common/assert.ts';
import { equalBytes, fromBase64Url, toBase64Url } from '../../common/bytes.ts';
import { type Clock, isoTime } from '../../common/clock.ts';
import { damage, locate } from '../../common/damage.ts';
import { CorruptionError, isCorruption, UnavailableError } from '../../common/errors.ts';
import { type FindingObject, makeFinding, WHOLE_OBJECT } from '../../common/finding.ts';
import { fromStoredRange, type KeyRange, toStoredRange } from '../../common/key-range.ts';
import type { Random } from '../../common/random.ts';
import type { SeqRange } from '../../common/seq-range.ts';
import { makeUlid } from '../../common/ulid.ts';
import { idText, LEDGER_PREFIX, ledgerPath, parseLedgerPath, REPAIRS_PREFIX } from '../../format/object-names.ts';
import { decodeSidecar, encodeSidecar, healSidecar } from '../../format/sidecar.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { LoadedManifest } from '../manifest/manifest-store.ts';
import { readTwice } from '../table/verified-read.ts';

const KIND = 'damage';
/** Appends that find their id taken start over; so many lost races in a row are no accident. */
const MAX_APPENDS = 20;

/** A loss that is known and not yet acknowledged or restored. */
export interface LedgerEntry {
  /** That of the finding; one of its own where nothing is wrong with the object that was dropped. */
  id: string;
  /** Empty for a loss that is unknown. */
  repairId: string;
  /** Path of the object that was lost or damaged. */
  object: string;
  /** `unknown`: what versions of the ledger that cannot be read may say; `object` is the newest of them, and no repair made it. */
  level: 'wal' | 'l0' | 'run' | 'unknown';
  /** When it was recorded, ISO 8601; empty for a loss that is unknown and not yet written down. */
  at: string;
  /** Empty if unknown, as for rows of the log. */
  keys: KeyRange[];
  /** Sequence numbers of the lost rows, or bounds of them. */
  seqs: SeqRange[];
  /** How many rows are lost, at least; absent: nothing says it. */
  rows?: number;
  /** Whether `rows`, `keys` and `seqs` are known and not bounds. */
  exact: boolean;
  /** `open`: reads count with it. `acknowledged`: an operator accepted it. `restored`: the rows are back. */
  state: 'open' | 'acknowledged' | 'restored';
  /** Why it was acknowledged. */
  note?: string;
}

export interface Ledger {
  /** The newest version that exists or that the manifest names, readable or not; 0: there is none. */
  version: number;
  /** Those of the newest version that can be read; and one for what the versions that count may say and cannot be read. */
  entries: readonly LedgerEntry[];
  /**
   * What is wrong with versions newer than the one that was read, newest first. `error`: losses are unknown because of it;
   * `warning`: open losses are, and nothing is missing from them; `note`: nothing depends on it any more.
   */
  damage: readonly CorruptionError[];
}

/** Whether an entry stands for losses that are not known, because versions of the ledger cannot be read. */
export function isUnknownLoss({ level }: LedgerEntry): boolean {
  return level === 'unknown';
}

/**
 * The ledger as it counts for a manifest; without one, as it does where it is unknown which version is needed. One LIST and,
 * where there is one, one GET; two more for each version that cannot be read.
 */
export async function readLedger(store: ObjectStore, manifest?: LoadedManifest): Promise<Ledger> {
  const listed = await listVersions(store);
  const newest = listed[listed.length - 1] ?? 0;
  const named = manifest?.seal === undefined ? undefined : (manifest.seal.manifest?.ledgerVersion ?? 0);
  const version = Math.max(newest, named ?? 0);
  const broken: CorruptionError[] = [];
  if (version > newest) broken.push(missing(version));
  let read: { version: number; entries: LedgerEntry[] } = { version: 0, entries: [] };
  for (const candidate of [...listed].reverse()) {
    const found = await readVersion(store, candidate);
    if (found.damage !== undefined) broken.push(found.damage);
    if (found.entries === undefined) continue;
    read = { version: candidate, entries: found.entries };
    break;
  }
  const isKnown = read.version >= (named ?? version);
  const entries = isKnown ? read.entries : [...read.entries, unknownLoss(version, manifest)];
  const isOpen = entries.some((e) => e.state === 'open');
  assertThat(isKnown || isOpen, 'while losses are unknown, an open entry says so (damage-ledger 2)');
  const severity = !isKnown ? 'error' : isOpen ? 'warning' : 'note';
  return { version, entries, damage: broken.map((error) => withSeverity(error, severity)) };
}

/** Where keys and repairs are not known, only the sequence numbers given out until then bound what may be lost. */
function unknownLoss(version: number, manifest: LoadedManifest | undefined): LedgerEntry {
  const object = objectOf(version);
  const last = Math.max(manifest?.manifest.lastL0Seq ?? 0, manifest?.seal?.manifest?.walTail.lastSeq ?? 0);
  return {
    id: makeFinding({ code: 'LOST_DATA', object, at: WHOLE_OBJECT }).id,
    repairId: '',
    object: object.path,
    level: 'unknown',
    at: '',
    keys: [],
    seqs: manifest === undefined ? [] : [{ min: 0n, max: BigInt(last) }],
    exact: false,
    state: 'open',
  };
}

function objectOf(version: number, size?: number): FindingObject {
  const path = ledgerPath(version);
  return { role: 'sidecar', path, id: idText(version), sealed: false, ...(size !== undefined && { size }) };
}

function missing(version: number): CorruptionError {
  const expected = 'the list of losses that the newest manifest names';
  const object = objectOf(version);
  const finding = makeFinding({ code: 'MISSING_OBJECT', object, at: WHOLE_OBJECT, expected, during: 'check' });
  return new CorruptionError(`${object.path} is gone: ${expected}`, [finding]);
}

const SUMMARIES: Record<'error' | 'warning' | 'note', string> = {
  error: `Which rows earlier repairs lost is not known: reads answer as after a loss of unknown keys. Put this object back from a backup; or look at the reports of repairs under ${REPAIRS_PREFIX}, write again what you have elsewhere, and acknowledge the unknown loss.`,
  warning: 'All losses are known. The next entry or acknowledgement writes the ledger again, under a new number.',
  note: 'All losses are known and acknowledged, and nothing depends on this version.',
};

function withSeverity(error: CorruptionError, severity: 'error' | 'warning' | 'note'): CorruptionError {
  const hint = makeHint(SUMMARIES[severity], 'none', severity === 'note' ? [] : [LIST_LOSSES]);
  return new CorruptionError(
    error.message,
    error.findings.map((f) => ({ ...f, severity, hint })),
    { details: { ...error.details } },
  );
}

/**
 * Writes the next version with what `change` makes of the entries; undefined: nothing is to be changed. Resolves with the
 * version that then counts. `manifest`: the newest, if it can be read. A LIST, a GET and a PUT; the same again for each version
 * of others that came first.
 */
export async function appendLedger(
  store: ObjectStore,
  change: (entries: readonly LedgerEntry[]) => readonly LedgerEntry[] | undefined,
  { clock, random }: { clock: Clock; random: Random },
  manifest?: LoadedManifest,
): Promise<number> {
  for (let round = 0; round < MAX_APPENDS; round++) {
    const ledger = await readLedger(store, manifest);
    const at = isoTime(clock.nowMs());
    const entries = change(ledger.entries)?.map((e) => (isUnknownLoss(e) && e.at === '' ? { ...e, at } : e));
    if (entries === undefined) return ledger.version;
    const version = ledger.version + 1;
    const bytes = encodeLedger(entries);
    assertThat(
      decodeLedger(bytes).length === entries.length,
      'a ledger reads back with every entry before it is stored',
    );
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
    const version = parseLedgerPath(path);
    if (version !== undefined) versions.push(version);
  }
  return versions.sort((a, b) => a - b);
}

/** Entries that a bit had to be flipped back for come with what was wrong. */
async function readVersion(
  store: ObjectStore,
  version: number,
): Promise<{ entries?: LedgerEntry[]; damage?: CorruptionError }> {
  let stored: Uint8Array | undefined;
  try {
    const entries = await readTwice(store, ledgerPath(version), ({ bytes }) => {
      stored = bytes;
      return decodeLedger(bytes);
    });
    return entries === undefined ? { damage: missing(version) } : { entries };
  } catch (error) {
    if (!isCorruption(error) || stored === undefined) throw error;
    const reads = { attempts: 2, identical: true, pastCaches: true };
    const located = locate(error, { object: objectOf(version, stored.length), during: 'check', reads });
    const whole = healSidecar(stored, KIND, isAsWritten);
    return whole === undefined ? { damage: located } : { entries: decodeLedger(whole), damage: located };
  }
}

/** Whether these are, byte for byte, what this program writes for the entries that they hold. */
function isAsWritten(bytes: Uint8Array): boolean {
  try {
    return equalBytes(encodeLedger(decodeLedger(bytes)), bytes);
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return false;
  }
}

// ---- bytes

/** The bytes of one version: the same for the same entries, in whatever order their members are. */
export function encodeLedger(entries: readonly LedgerEntry[]): Uint8Array {
  return encodeSidecar(KIND, 1, {
    entries: entries.map(({ id, repairId, object, level, at, keys, seqs, rows, exact, state, note }) => ({
      id,
      repairId,
      object,
      level,
      at,
      keys: keys.map(toStoredRange).map(({ gte, lte }) => ({ gte: toBase64Url(gte), lte: toBase64Url(lte) })),
      seqs: seqs.map(({ min, max }) => ({ min: String(min), max: String(max) })),
      rows,
      exact,
      state,
      note,
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

const LEVELS: readonly unknown[] = ['wal', 'l0', 'run', 'unknown'];
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
  return fromStoredRange({ gte: fromBase64Url(gte), lte: fromBase64Url(lte) });
}

const U64_TEXT = /^[0-9]{1,20}$/;

function decodeSeqs({ min, max }: Record<string, unknown>): SeqRange | undefined {
  if (typeof min !== 'string' || typeof max !== 'string' || !U64_TEXT.test(min) || !U64_TEXT.test(max))
    return undefined;
  return { min: BigInt(min), max: BigInt(max) };
}
