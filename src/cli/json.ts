/**
 * The plain form of reports for `--json`: the same as that of `errorToJson`, so that findings look alike wherever they come
 * from. A bigint is `{ "$bigint": "42" }`, bytes are `{ "$bytes": "<base64url>" }` or, redacted, `{ "$redacted": <length> }`.
 *
 * Every document, and every line of a stream, has `schemaVersion` and `type`.
 */
import { type DbError, errorToJson } from '../index.ts';

export const SCHEMA_VERSION = 1;

export type DocumentType =
  | 'wal-object'
  | 'wal-summary'
  | 'wal-row'
  | 'finding'
  | 'summary'
  | 'table'
  | 'table-row'
  | 'manifest'
  | 'manifest-list'
  | 'manifest-diff'
  | 'repair'
  | 'verify'
  | 'damage-list'
  | 'damage-ack'
  | 'quarantine-list'
  | 'probe'
  | 'gc'
  | 'gc-object'
  | 'compact'
  | 'tree'
  | 'stats'
  | 'get'
  | 'row'
  | 'write'
  | 'objects'
  | 'completion'
  | 'dump'
  | 'load'
  | 'repair-all'
  | 'error';

/** How the values of one call are written. */
export interface Writing {
  redactKeys: boolean;
  /** Commands to run next as they can be run: with the location of this call. */
  command(command: string): string;
}

export function document(type: DocumentType, value: object, how: Writing): string {
  return JSON.stringify({ schemaVersion: SCHEMA_VERSION, type, ...(plain(value, how) as object) });
}

export function errorDocument(error: DbError, how: Writing): string {
  const json = plain(errorToJson(error, { redactKeys: how.redactKeys }), how);
  return JSON.stringify({ schemaVersion: SCHEMA_VERSION, type: 'error', error: json });
}

/** Members that hold commands to run next, besides sentences. */
const COMMANDS: readonly string[] = ['commands', 'nextSteps'];

/** Rows of a report come as lines of their own: whatever is iterated asynchronously is left out. */
function plain(value: unknown, how: Writing): unknown {
  if (typeof value === 'bigint') return { $bigint: value.toString() };
  if (value instanceof Uint8Array) {
    return how.redactKeys ? { $redacted: value.length } : { $bytes: Buffer.from(value).toString('base64url') };
  }
  if (Array.isArray(value)) return value.map((v) => plain(v, how));
  if (ArrayBuffer.isView(value)) return Array.from(value as Uint32Array | Float64Array);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, v]) => v !== undefined && !(typeof v === 'object' && v !== null && Symbol.asyncIterator in v))
      .map(([k, v]) => [k, COMMANDS.includes(k) && Array.isArray(v) ? v.map((c) => step(c, how)) : plain(v, how)]),
  );
}

function step(value: unknown, how: Writing): unknown {
  return typeof value === 'string' && value.startsWith('shaledb ') ? how.command(value) : plain(value, how);
}
