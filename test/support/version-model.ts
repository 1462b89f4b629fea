/**
 * What a compaction leaves of the versions of one key, written for clearness: a list that is filtered. The model against which rows of
 * merges are compared; the rules have their numbers in `lsm/rows/visibility`.
 */
import { compareBytes } from '../../src/common/bytes.ts';
import { inRange, type KeyRange } from '../../src/common/key-range.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_TS } from '../../src/format/row-flags.ts';

export interface ModelVersion {
  key: string;
  seq: number;
  kind: 'put' | 'del' | 'merge';
  value: string;
  /** ms; undefined: never. */
  expires: number | undefined;
  created: number | undefined;
}

export interface ModelRules {
  barrier: number;
  tickMs: number | undefined;
  isBottom: boolean;
  keptWhole: readonly KeyRange[];
  keptTombstones: readonly KeyRange[];
  fold: ((key: string, older: string, newer: string) => string) | undefined;
  filter: ((key: string, value: string) => 'keep' | 'drop' | { replace: string }) | undefined;
}

const bytes = (s: string) => new TextEncoder().encode(s);
const text = (b: Uint8Array) => new TextDecoder().decode(b);

function deleted(v: ModelVersion): ModelVersion {
  return { ...v, kind: 'del', value: '', expires: undefined };
}

/** The versions of one key that are left of `versions`, newest first; of two with one number the first counts. */
function leftOf(versions: readonly ModelVersion[], rules: ModelRules): ModelVersion[] {
  const { barrier, tickMs, isBottom, fold, filter } = rules;
  const isIn = (ranges: readonly KeyRange[]) => ranges.some((range) => inRange(bytes(versions[0].key), range));
  const unique = versions.filter((v, i) => i === 0 || v.seq !== versions[i - 1].seq); // V8
  if (isIn(rules.keptWhole)) return unique; // V12
  const base = unique.findIndex((v) => v.seq <= barrier && v.kind !== 'merge'); // V6
  const seen = base < 0 ? unique : unique.slice(0, base + 1);
  const hasExpired = (v: ModelVersion) => tickMs !== undefined && v.expires !== undefined && v.expires <= tickMs;
  let left = seen.flatMap((v) => (!hasExpired(v) ? [v] : v.kind === 'merge' ? [] : [deleted(v)])); // V7
  for (let i = left.length - 2; i >= 0 && fold !== undefined; i--) {
    const [newer, older] = [left[i], left[i + 1]]; // V9
    if (newer.kind !== 'merge' || newer.seq > barrier || newer.expires !== older.expires) continue;
    left.splice(i, 2, joined(newer, older, fold));
  }
  left = left.map((v) => {
    if (filter === undefined || v.kind !== 'put' || v.seq > barrier) return v; // V11
    const verdict = filter(v.key, v.value);
    return verdict === 'keep' ? v : verdict === 'drop' ? deleted(v) : { ...v, value: verdict.replace };
  });
  while (isBottom && !isIn(rules.keptTombstones) && left.at(-1)?.kind === 'del') left.pop(); // V10
  return left;
}

function joined(newer: ModelVersion, older: ModelVersion, fold: NonNullable<ModelRules['fold']>): ModelVersion {
  if (older.kind === 'del') return { ...newer, kind: 'put' };
  const times = [newer.created, older.created].filter((t) => t !== undefined);
  const created = times.length === 0 ? undefined : Math.max(...times);
  return { ...newer, kind: older.kind, value: fold(newer.key, older.value, newer.value), created };
}

/** What is left of the versions of all keys in several sources, newest source first. */
export function mergedModel(sources: readonly (readonly ModelVersion[])[], rules: ModelRules): ModelVersion[] {
  const keys = [...new Set(sources.flat().map((v) => v.key))].sort((a, b) => compareBytes(bytes(a), bytes(b)));
  return keys.flatMap((key) => {
    const all = sources.flat().filter((v) => v.key === key);
    return leftOf(
      // Stable: the newer source first.
      all.sort((a, b) => b.seq - a.seq),
      rules,
    );
  });
}

function flagsOfModel({ kind, expires, created }: ModelVersion): number {
  const type = kind === 'put' ? 0 : kind === 'del' ? FLAG_TOMBSTONE : FLAG_MERGE;
  return type | (expires === undefined ? 0 : FLAG_EXPIRE) | (created === undefined ? 0 : FLAG_CREATE);
}

export interface ModelRow {
  key: Uint8Array;
  value: Uint8Array;
  seq: number;
  flags: number;
  createTs: number;
  expireTs: number;
}

export function rowOfModel(v: ModelVersion): ModelRow {
  return {
    key: bytes(v.key),
    value: bytes(v.value),
    seq: v.seq,
    flags: flagsOfModel(v),
    createTs: v.created ?? NO_TS,
    expireTs: v.expires ?? NO_TS,
  };
}

export function modelOfRow({ key, value, seq, flags, createTs, expireTs }: ModelRow): ModelVersion {
  return {
    key: text(key),
    seq,
    kind: (flags & FLAG_TOMBSTONE) !== 0 ? 'del' : (flags & FLAG_MERGE) !== 0 ? 'merge' : 'put',
    value: text(value),
    expires: (flags & FLAG_EXPIRE) === 0 ? undefined : expireTs,
    created: (flags & FLAG_CREATE) === 0 ? undefined : createTs,
  };
}

export const APPENDING = {
  merge: (_: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array) =>
    bytes((existing === undefined ? '' : text(existing)) + text(operand)),
};
