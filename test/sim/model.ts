/**
 * What the database must contain: every commit in order, and for each key its versions. Sequence numbers count commits from 1,
 * so a sequence number is a prefix of the commit order.
 *
 * Time to live is judged with tolerance: a row whose expiry is between the reader's time and the latest time any clock has
 * shown may be seen or not (a clock can jump back; a flush judges expiry once for all). It counts from the writer's wall clock.
 */
export interface RowOp {
  kind: 'put' | 'delete' | 'merge';
  key: string;
  value: string;
  /** From the commit on. */
  ttlMs?: number;
}

/** Versions of one key that may be gone, of which all combinations are tried. */
const MAX_UNSURE = 10;

interface Version {
  seq: number;
  kind: RowOp['kind'];
  value: string;
  expireMs: number;
  /** A compaction may take it for deleted. */
  mayGo: boolean;
}

export interface Commit {
  seq: number;
  ops: readonly RowOp[];
  state: 'submitted' | 'acknowledged' | 'unknown' | 'not-applied';
}

export class Model {
  readonly commits: Commit[] = [];
  readonly #keys = new Map<string, Version[]>();
  /** Sequence number up to which everything was acknowledged as durable. */
  acknowledgedSeq = 0;
  /** Latest time of any clock. */
  latestMs = 0;
  readonly #isDropped: (value: string) => boolean;

  /** `isDropped`: values that a compaction filter takes for deleted, whenever it meets them. */
  constructor(isDropped: (value: string) => boolean = () => false) {
    this.#isDropped = isDropped;
  }

  get lastSeq(): number {
    return this.commits.length;
  }

  submit(ops: readonly RowOp[], nowMs: number): Commit {
    const seq = this.commits.length + 1;
    const commit: Commit = { seq, ops, state: 'submitted' };
    this.commits.push(commit);
    this.latestMs = Math.max(this.latestMs, nowMs);
    for (const op of ops) {
      const versions = this.#keys.get(op.key) ?? [];
      if (versions.length === 0) this.#keys.set(op.key, versions);
      const expireMs = op.ttlMs === undefined ? Number.POSITIVE_INFINITY : nowMs + op.ttlMs;
      const mayGo = op.kind === 'put' && this.#isDropped(op.value);
      versions.push({ seq, kind: op.kind, value: op.value, expireMs, mayGo });
    }
    return commit;
  }

  acknowledge(seq: number): void {
    if (seq > this.acknowledgedSeq) this.acknowledgedSeq = seq;
  }

  /** A crash or a takeover: only the first `seq` commits exist. */
  cut(seq: number): void {
    this.commits.length = seq;
    for (const [key, versions] of this.#keys) {
      while (versions.length > 0 && versions[versions.length - 1].seq > seq) versions.pop();
      if (versions.length === 0) this.#keys.delete(key);
    }
    this.acknowledgedSeq = seq;
  }

  /** All values of `key` that are right at `seq` for a reader whose clock shows `nowMs`; usually one. */
  read(key: string, seq: number, nowMs: number): (string | undefined)[] {
    return this.readRows(key, seq, nowMs).map((row) => row?.value);
  }

  /** The same with the sequence number that each is shown with. */
  readRows(key: string, seq: number, nowMs: number): (SeenRow | undefined)[] {
    const versions = this.#keys.get(key);
    if (versions === undefined) return [undefined];
    let end = versions.length;
    while (end > 0 && versions[end - 1].seq > seq) end--;
    this.latestMs = Math.max(this.latestMs, nowMs);
    const { latestMs } = this;
    let isUnsure = false;
    for (let i = end - 1; i >= 0; i--) {
      const v = versions[i];
      if (isUnsureAt(v, nowMs, latestMs)) isUnsure = true;
      if (v.kind !== 'merge') break;
    }
    const now = fold(versions, end, nowMs);
    return isUnsure ? unsureFolds(versions, end, nowMs, latestMs) : [now];
  }

  /** Commits that are gone for good: what they wrote counts no more. Sequence numbers stay what they are. */
  lose(isLost: (seq: number) => boolean): void {
    for (const [key, versions] of this.#keys) {
      const kept = versions.filter((v) => !isLost(v.seq));
      this.#keys.set(key, kept);
    }
  }

  /** Values of `key` that are right if any of the commits that `mayBeGone` are gone; for runs without times to live. */
  readUnsure(key: string, mayBeGone: (seq: number) => boolean): Set<string | undefined> {
    const versions = this.#keys.get(key) ?? [];
    const unsure = versions.filter((v) => mayBeGone(v.seq)).slice(-MAX_UNSURE);
    const values = new Set<string | undefined>();
    for (let mask = 0; mask < 1 << unsure.length; mask++) {
      const gone = new Set(unsure.filter((_, bit) => (mask & (1 << bit)) !== 0));
      const kept = versions.filter((v) => !gone.has(v));
      values.add(fold(kept, kept.length, 0)?.value);
    }
    return values;
  }

  /** Every value that `key` ever had, for what may be stale. */
  history(key: string): Set<string | undefined> {
    const versions = this.#keys.get(key) ?? [];
    return new Set(versions.map((_, i) => fold(versions, i + 1, 0)?.value));
  }

  /** All rows at the end, for runs without times to live. */
  rows(): Map<string, string> {
    const rows = new Map<string, string>();
    for (const key of this.keys()) {
      const [value] = this.read(key, this.lastSeq, 0);
      if (value !== undefined) rows.set(key, value);
    }
    return rows;
  }

  /** The row of a key where one is right, whatever expires soon or is dropped; undefined: there are more. */
  settledRow(key: string, nowMs: number): { row: SeenRow | undefined } | undefined {
    const versions = this.#keys.get(key) ?? [];
    this.latestMs = Math.max(this.latestMs, nowMs);
    for (let i = versions.length - 1; i >= 0; i--) {
      const { mayGo, expireMs, kind } = versions[i];
      if (mayGo || (expireMs > nowMs && expireMs !== Number.POSITIVE_INFINITY)) return undefined;
      if (kind !== 'merge') break;
    }
    return { row: fold(versions, versions.length, nowMs) };
  }

  /** Keys of a range that have a row; undefined if one has an unsettled row, or one that has expired and may be stored or not. */
  storedKeys(from: string, to: string, nowMs: number): string[] | undefined {
    const keys: string[] = [];
    for (const key of this.keys()) {
      if (key < from || key >= to || this.#keys.get(key)?.at(-1)?.kind === 'delete') continue;
      if (this.settledRow(key, nowMs)?.row === undefined) return undefined;
      keys.push(key);
    }
    return keys;
  }

  /** The last commit was never given a number. */
  withdraw(commit: Commit): void {
    if (this.commits.at(-1) !== commit) return;
    const { acknowledgedSeq } = this;
    this.cut(commit.seq - 1);
    this.acknowledgedSeq = acknowledgedSeq;
  }

  keys(): string[] {
    return [...this.#keys.keys()].sort();
  }
}

/** What a reader sees of a key; the sequence number is that of its newest part. */
export interface SeenRow {
  value: string;
  seq: number;
}

function fold(versions: readonly Version[], end: number, nowMs: number): SeenRow | undefined {
  const parts: Version[] = [];
  for (let i = end - 1; i >= 0; i--) {
    const v = versions[i];
    const isLive = v.expireMs > nowMs;
    if (isLive && v.kind !== 'delete') parts.push(v);
    if (v.kind !== 'merge') break;
  }
  if (parts.length === 0) return undefined;
  const { seq } = parts[0];
  return {
    value: parts
      .map((v) => v.value)
      .reverse()
      .join(''),
    seq,
  };
}

/** Whether it may be seen or not. */
function isUnsureAt({ expireMs, mayGo }: Version, nowMs: number, latestMs: number): boolean {
  return expireMs > nowMs && (mayGo || expireMs <= latestMs);
}

/** Every combination of unsure versions being there or not; runs keep them few. */
function unsureFolds(
  versions: readonly Version[],
  end: number,
  nowMs: number,
  latestMs: number,
): (SeenRow | undefined)[] {
  const unsure: number[] = [];
  for (let i = end - 1; i >= 0; i--) {
    const v = versions[i];
    if (isUnsureAt(v, nowMs, latestMs) && unsure.length < 8) unsure.push(i);
    if (v.kind !== 'merge') break;
  }
  const folds: (SeenRow | undefined)[] = [];
  for (let mask = 0; mask < 1 << unsure.length; mask++) {
    const gone = new Set(unsure.filter((_, bit) => (mask & (1 << bit)) !== 0));
    const altered = versions.map((v, i) => (gone.has(i) ? { ...v, expireMs: 0 } : v));
    folds.push(fold(altered, end, nowMs));
  }
  return folds;
}
