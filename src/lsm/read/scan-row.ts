/**
 * A row as a scan hands it out.
 *
 * A class only for its prototype, which holds `toJSON`: JSON has neither bigints nor bytes, and a row costs no more for it. All else of a
 * row is plain members of its own, so `structuredClone` and `postMessage` take it.
 */
import { type OwnBytes, toBase64Url } from '../../common/bytes.ts';

/** A row of a scan; its bytes belong to the caller. */
export interface ScanRow<K = OwnBytes, V = OwnBytes> {
  /** An array of its own, or what the key encoding made of it. */
  key: K;
  /** An array of its own, or what the value encoding made of it; merge operands are folded. */
  value: V;
  /** Sequence number of the newest write that went into the value. */
  seq: bigint;
  /** When it expires, ms since the epoch. Absent on rows that never do. */
  expireTs?: number;
  /** A newer version, or a deletion, may be in a damaged stretch, or be lost with rows of the log. Absent on all other rows. */
  possiblyStale?: true;
  /** For `JSON.stringify`: bytes as base64url, `seq` as a decimal string, all else as it is. */
  toJSON(): ScanRowJson;
}

/** A row for JSON. */
export interface ScanRowJson {
  /** Bytes as base64url; a key of another encoding as it is, bytes within an array as base64url. */
  key: unknown;
  /** Like `key`. */
  value: unknown;
  /** The sequence number in decimal digits. */
  seq: string;
  /** When it expires, ms since the epoch; absent: never. */
  expireTs?: number;
  /** As in the row. */
  possiblyStale?: true;
}

export class Row<K = OwnBytes, V = OwnBytes> implements ScanRow<K, V> {
  key: K;
  value: V;
  seq: bigint;
  declare expireTs?: number;
  declare possiblyStale?: true;

  constructor(key: K, value: V, seq: bigint) {
    this.key = key;
    this.value = value;
    this.seq = seq;
  }

  toJSON(): ScanRowJson {
    const { key, value, seq, expireTs, possiblyStale } = this;
    return {
      key: forJson(key),
      value: forJson(value),
      seq: String(seq),
      ...(expireTs !== undefined && { expireTs }),
      ...(possiblyStale && { possiblyStale }),
    };
  }
}

/** Bytes as text, also where they are elements of an array. */
export function forJson(value: unknown): unknown {
  if (value instanceof Uint8Array) return toBase64Url(value);
  return Array.isArray(value) ? value.map(forJson) : value;
}
