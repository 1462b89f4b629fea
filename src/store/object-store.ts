/**
 * The one interface between the database and storage: bytes at a path.
 *
 * Contract, checked by the suite in `store-contract.ts` on every store and wrapper:
 * - paths have no leading or trailing slash and no empty segment; an object becomes visible whole or not at all;
 * - a `put` resolves for every outcome that a protocol step must decide on and rejects for the rest, with an error made by
 *   `storeError`; absence is `undefined`, never an error; where no object can be put, because something else is stored there (in a
 *   directory: a folder, a link that leads nowhere), no call but a list and a delete says absent: each rejects as `unsupported`;
 * - a range that reaches past the end is cut there; one that starts at or after the end yields no bytes;
 * - reads after a write, delete or list see it; lists are in byte order of the path;
 * - `metadata` holds what `put` stored: at least the put id under `PUT_ID_METADATA`, where the store keeps metadata at all;
 * - results belong to the caller; inputs are not kept after the promise settled, except by a put that ended `unknown` or
 *   `afterUnknown`: its bytes may still be on their way and must not change any more. Otherwise the memory is used again, if `conformance`
 *   is `known`;
 * - an `upload` makes nothing visible before its `complete`, which then does what a put of all its bytes would do.
 */
export interface ObjectStore {
  /** For messages, e.g. `s3://bucket` or `file:///data`. Never holds credentials. */
  readonly name: string;
  /** `known`: this store is known to fulfil the contract and needs no start-up probe. */
  readonly conformance?: 'known';
  /** The object, or a range of its bytes; undefined if there is none. */
  get(path: string, options?: GetOptions): Promise<GetResult | undefined>;
  /** Size, ETag and metadata without the bytes; undefined if there is no object. */
  head(path: string, options?: CallOptions): Promise<ObjectHead | undefined>;
  /** Stores an object whole, if the condition holds. */
  put(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome>;
  /** All objects whose path starts with `prefix` (a plain text prefix), in byte order, after `startAfter`. */
  list(prefix: string, options?: ListOptions): AsyncIterable<ListedObject>;
  /** Deletes what is there; absent paths are no error. */
  delete(paths: string[], options?: CallOptions): Promise<void>;
  /**
   * Begins an object whose bytes come in parts, so that nothing has to hold it whole. Sends nothing yet. Optional: `openUpload`
   * collects the parts for stores without it.
   */
  upload?(path: string, options: UploadOptions): ObjectUpload;
  /**
   * Uploads that were begun and are neither completed nor aborted, of paths that start with `prefix`: those under way and those
   * that a process left when it died. In byte order of the path, at most 10,000. Optional: without it, say in the bucket's
   * lifecycle rule when such parts are removed.
   */
  listUploads?(prefix: string, options?: CallOptions): Promise<UnfinishedUpload[]>;
  /** Removes the parts of an upload that `listUploads` named; one that has ended in the meantime is no error. */
  abortUpload?(upload: Pick<UnfinishedUpload, 'path' | 'uploadId'>, options?: CallOptions): Promise<void>;
  /**
   * Free space where objects go whose path begins with `prefix`, as the user of this process may use it. Optional: for stores whose space
   * can run out. Undefined where the system does not say it.
   */
  space?(prefix: string): Promise<StoreSpace | undefined>;
  /** Files that are kept open. Optional. */
  openFiles?(): number;
  /** Releases connections and file handles. Wrappers do not pass it on: the caller that made a store closes it. */
  close?(): Promise<void>;
}

/** Space of the file system that a store is in. */
export interface StoreSpace {
  /** Bytes that are free. */
  freeBytes: number;
  /** Bytes in all. */
  sizeBytes: number;
}

/** Options of every call of a store. */
export interface CallOptions {
  /** Aborting ends the call with an `AbortError`; what was sent may be carried out all the same. */
  signal?: AbortSignal;
}

/** Which bytes of an object. */
export type ByteRange =
  | {
      /** The first byte, from 0. */
      offset: number;
      /** How many bytes, from there on. */
      length: number;
    }
  | {
      /** How many bytes, at the end. */
      suffix: number;
    };

/** Options of `get`. */
export interface GetOptions extends CallOptions {
  /** Default: all bytes. */
  range?: ByteRange;
}

/** Options of `list`. */
export interface ListOptions extends CallOptions {
  /** Only paths greater than this one. */
  startAfter?: string;
}

/** What a `put` and an `upload` have in common. */
export interface ObjectWriteOptions extends CallOptions {
  /** `if-absent` creates; `ifMatch` overwrites the object that has this ETag; `any` always writes. */
  condition: PutCondition;
  /** ULID of this logical write, the same for all its attempts; kept as metadata so that a lost answer can be settled. */
  putId: string;
  /**
   * For counting what is billed: called when a request is sent, with the bytes of its body. Only stores that may need several
   * requests for one write call it, and then for each; a call without a word is one request.
   */
  onRequest?: (kind: 'put' | 'head' | 'list' | 'delete', bytesOut: number) => void;
  /**
   * For a limit on the requests that are under way: called before each request, which is sent when this has resolved; what it resolves with is
   * called once the request has ended. Must not reject. Only uploads with `partBytes` call it; any other call is one request.
   */
  beforeRequest?: () => Promise<() => void>;
}

/** Options of `put`. */
export interface PutOptions extends ObjectWriteOptions {
  /** An earlier call with the same bytes and put id ended in doubt: a refusal may be due to ourselves and must be settled. */
  resumed?: boolean;
  /**
   * A refusal would end this writer: the retry wrapper checks once, at the price of a HEAD, whether the object in the place is
   * this very put, which a proxy on the way sent twice. For puts that expect refusals it would only cost.
   */
  proveRefusal?: boolean;
}

/** Options of `upload`. */
export interface UploadOptions extends ObjectWriteOptions {
  /** About how large the object becomes: a store whose number of parts is limited takes larger ones for it. */
  expectedBytes?: number;
  /** The most that it should hold of what was written, bytes: a store that sends parts takes smaller ones for it, as far as it can. */
  holdBytes?: number;
}

/**
 * An object that is being stored in parts.
 *
 * One call at a time; a call while another one runs is refused (`BAD_ARGUMENT`), one after the end too (`CLOSED`). A call that
 * rejects for another reason ends the upload: its parts are removed, which `abort` waits for, and later calls reject with the same
 * error. The signal of the options ends it in the same way. Until it has ended it may hold memory, a file or parts in the store.
 */
export interface ObjectUpload {
  /**
   * Size of the parts that the store sends. Digests save it the work where each `write` has exactly so many bytes, but for the
   * last. Absent: they are of no use.
   */
  readonly partBytes?: number;
  /**
   * Adds bytes at the end. Takes them over: the caller must not change them afterwards. Resolves when there is room for more; what
   * is held until then is a few parts. Of any size, 0 included.
   */
  write(part: Uint8Array, digests?: PartDigests): Promise<void>;
  /**
   * Makes the object visible, whole and under the condition, and resolves as a `put` does; an upload without bytes makes an empty
   * object. `applied` `earlier`: the object in the place has this put id already. If the outcome is `unknown`, and also after an error
   * of `complete`, use another path for the next attempt: a request under way may still arrive.
   */
  complete(): Promise<PutOutcome>;
  /**
   * Ends the upload and removes its parts; a `write` that waits rejects. No effect once `complete` was called, but waits until that
   * has ended, nor after the end. Rejects if the parts could not be removed, and may then be called again.
   */
  abort(): Promise<void>;
}

/** Digests of the bytes of one `write`, made where the bytes were. A store may rely on them, so that wrong ones are refused. */
export interface PartDigests {
  /** 32 bytes. */
  sha256?: Uint8Array;
  /** CRC-32/IEEE, unsigned. */
  crc32?: number;
}

/** An upload without an end so far. */
export interface UnfinishedUpload {
  /** Of the object that it would become. */
  path: string;
  /** Names it among the uploads of this path. */
  uploadId: string;
  /** When it was begun, or a part was last written, by the store's clock, ms since the epoch; 0 if the store does not say it. */
  startedMs: number;
  /** The store's clock in the answer, ms since the epoch: by it the age is known; 0 if the store does not say it. */
  storeTimeMs: number;
}

/** When a `put` may write. */
export type PutCondition =
  | 'any'
  | 'if-absent'
  | {
      /** ETag of the object that is overwritten, as a call returned it. */
      ifMatch: string;
    };

/** What `get` found. */
export interface GetResult {
  /** The object, or of the range what is there. */
  bytes: Uint8Array;
  /** Size of the whole object in bytes. */
  size: number;
  /** Changes with the content. */
  etag: string;
  /** The store's clock when it answered, ms since the epoch. */
  storeTimeMs: number;
  /** What `put` stored beside the bytes, such as the put id; empty where the store keeps none. */
  metadata: Readonly<Record<string, string>>;
}

/** What `head` found. */
export interface ObjectHead {
  /** In bytes. */
  size: number;
  /** Changes with the content. */
  etag: string;
  /** When it was written, by the store's clock, ms since the epoch; 0 if the store does not say it. */
  lastModifiedMs: number;
  /** The store's clock when it answered, ms since the epoch; 0 if the store does not say it. */
  storeTimeMs: number;
  /** What `put` stored beside the bytes, such as the put id; empty where the store keeps none. */
  metadata: Readonly<Record<string, string>>;
}

/** An object as a list shows it. */
export interface ListedObject {
  /** Its whole path, with the prefix. */
  path: string;
  /** In bytes. */
  size: number;
  /** Changes with the content; empty where lists do not say it. */
  etag: string;
  /** When it was written, by the store's clock, ms since the epoch; 0 if the store does not say it. */
  lastModifiedMs: number;
  /**
   * The store's clock in the answer that named the object, ms since the epoch; absent or 0 where answers have no time. By it a
   * writer dates the list that shows that it is still the owner: without it an opening lists the manifests twice more.
   */
  storeTimeMs?: number;
}

/** How a `put` ended. */
export type PutOutcome =
  | {
      outcome: 'applied';
      /** `earlier`: an earlier attempt of this same put had been applied although its answer was lost. */
      attempt: 'now' | 'earlier';
      /** Of the object that was stored. */
      etag: string;
      /** The store's clock when it answered, ms since the epoch; 0 if the store does not say it. */
      storeTimeMs: number;
      /** Some attempt of this put had no answer: its bytes may still be on their way. */
      afterUnknown?: boolean;
      /**
       * Where this store had put objects before nothing was left, not even the place, which was made again: another process may
       * have removed the database. Only stores with places of their own, such as directories, can say so.
       */
      placeWasGone?: boolean;
    }
  /** The condition does not hold. */
  | {
      outcome: 'refused';
      /** An earlier attempt of this put had no answer: its bytes may still be on their way. */
      afterUnknown?: boolean;
    }
  /** No answer says whether it was applied; it may still be. */
  | {
      outcome: 'unknown';
      /** Why there was no answer. */
      cause: unknown;
    };

/** Metadata key of the put id; over S3 `x-amz-meta-slatedbputid`, the one SlateDB uses. */
export const PUT_ID_METADATA = 'slatedbputid';
