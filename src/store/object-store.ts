/**
 * The one interface between the database and storage: bytes at a path.
 *
 * Contract, checked by the suite in `store-contract.ts` on every store and wrapper:
 * - paths have no leading or trailing slash and no empty segment; an object becomes visible whole or not at all;
 * - a `put` resolves for every outcome that a protocol step must decide on and rejects for the rest, with an error made by
 *   `storeError`; absence is `undefined`, never an error; where no object can be put, because something lies there that is none (in a
 *   directory: a folder, a link that leads nowhere), no call but a list and a delete says absent: each rejects as `unsupported`;
 * - a range that reaches past the end is cut there; one that starts at or behind the end yields no bytes;
 * - reads after a write, delete or list see it; lists are in byte order of the path;
 * - `metadata` holds what `put` stored: at least the put id under `PUT_ID_METADATA`, where the store keeps metadata at all;
 * - results belong to the caller; inputs are not kept after the promise settled, except by a put that ended `unknown` or
 *   `afterUnknown`: its bytes may still be on their way and must not change any more. Otherwise the memory is used again, if `conformance`
 *   is `known`.
 */
export interface ObjectStore {
  /** For messages, e.g. `s3://bucket` or `file:///data`. Never holds credentials. */
  readonly name: string;
  /** `known`: this store is known to fulfil the contract and needs no start-up probe. */
  readonly conformance?: 'known';
  get(path: string, options?: GetOptions): Promise<GetResult | undefined>;
  head(path: string, options?: CallOptions): Promise<ObjectHead | undefined>;
  put(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome>;
  /** All objects whose path starts with `prefix` (a plain text prefix), in byte order, after `startAfter`. */
  list(prefix: string, options?: ListOptions): AsyncIterable<ListedObject>;
  /** Deletes what is there; absent paths are no error. */
  delete(paths: string[], options?: CallOptions): Promise<void>;
  /** Releases connections and file handles. Wrappers do not pass it on: whoever made a store closes it. */
  close?(): Promise<void>;
}

export interface CallOptions {
  signal?: AbortSignal;
}

/** `suffix`: that many bytes from the end. */
export type ByteRange = { offset: number; length: number } | { suffix: number };

export interface GetOptions extends CallOptions {
  range?: ByteRange;
}

export interface ListOptions extends CallOptions {
  /** Only paths greater than this one. */
  startAfter?: string;
}

export interface PutOptions extends CallOptions {
  /** `if-absent` creates; `ifMatch` overwrites the object that has this ETag; `any` always writes. */
  condition: PutCondition;
  /** ULID of this logical write, the same for all its attempts; kept as metadata so that a lost answer can be settled. */
  putId: string;
  /** An earlier call with the same bytes and put id ended in doubt: a refusal may be due to ourselves and must be settled. */
  resumed?: boolean;
  /**
   * A refusal would end this writer: the retry wrapper looks once, at the price of a HEAD, whether the object in the place is
   * this very put, which a proxy on the way sent twice. For puts that expect refusals it would only cost.
   */
  proveRefusal?: boolean;
}

export type PutCondition = 'any' | 'if-absent' | { ifMatch: string };

export interface GetResult {
  bytes: Uint8Array;
  /** Size of the whole object in bytes. */
  size: number;
  etag: string;
  /** The store's clock when it answered, ms since the epoch. */
  storeTimeMs: number;
  metadata: Readonly<Record<string, string>>;
}

export interface ObjectHead {
  size: number;
  etag: string;
  lastModifiedMs: number;
  storeTimeMs: number;
  metadata: Readonly<Record<string, string>>;
}

export interface ListedObject {
  path: string;
  size: number;
  etag: string;
  lastModifiedMs: number;
  /**
   * The store's clock in the answer that named the object, ms since the epoch; absent or 0 where answers do not tell. By it a
   * writer dates the list that shows that it is still the owner: without it an opening lists the manifests twice more.
   */
  storeTimeMs?: number;
}

export type PutOutcome =
  /**
   * `earlier`: an earlier attempt of this same put had been applied although its answer was lost. `afterUnknown`: some attempt
   * of this put had no answer. `placeWasGone`: where this store had put objects before nothing was left, not even the place, which
   * was made again: somebody may have removed the database. Only stores with places of their own, such as directories, can say so.
   */
  | {
      outcome: 'applied';
      attempt: 'now' | 'earlier';
      etag: string;
      storeTimeMs: number;
      afterUnknown?: boolean;
      placeWasGone?: boolean;
    }
  /** The condition does not hold. `afterUnknown`: an earlier attempt of this put had no answer. */
  | { outcome: 'refused'; afterUnknown?: boolean }
  /** Nobody said whether it was applied; it may still be. */
  | { outcome: 'unknown'; cause: unknown };

/** Metadata key of the put id; over S3 `x-amz-meta-slatedbputid`, the one SlateDB uses. */
export const PUT_ID_METADATA = 'slatedbputid';
