/**
 * Options of a writer: those of `open` beside the shared ones (options.ts, whose points hold here) and those of the roles that run beside
 * a writer (upkeep-roles.ts), what is used where nothing is set, and the check that reports every fault of an options object at once.
 */
import {
  bool,
  type ChecksOf,
  filledText,
  MAX_MS,
  oneOf,
  whole,
  wholeBigint,
  writerEpoch,
} from '../common/option-checks.ts';
import { CODECS, type Codec } from '../format/table-info.ts';
import { DEFAULT_TIMEOUT_MS } from '../lsm/manifest/database-stores.ts';
import { MAX_LOSS_CHECK, type MaxLoss } from '../recovery/repair-report.ts';
import {
  completeParts,
  completeShared,
  MAX_OPTION_BYTES,
  type PartName,
  type ResolvedOptions,
  SHARED_CHECKS,
  type SharedOptions,
} from './options.ts';
import { TTL_CHECK } from './write-options.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** From which SlateDB on all can open what is written; `auto`: from 0.12 on, and the forms that an existing database has are kept. */
export type Compatibility = 'auto' | 'slatedb-0.12' | 'slatedb-0.17';

/** Options of `open` for reading and writing. Each is optional. */
export interface WriterOptions extends SharedOptions {
  /** Create the database where there is none. Default true. */
  createIfMissing?: boolean;
  /** Reject if a database exists. Default false. */
  errorIfExists?: boolean;
  /** Whether writes wait until they are durable unless they say otherwise. Default true. False: a crash loses what the last `flushIntervalMs` brought. */
  awaitDurable?: boolean;
  /** How long a row that no call awaits may stay in memory only, ms; 1 to 3,600,000, default 100. Higher: fewer requests, but a crash loses more. */
  flushIntervalMs?: number;
  /** Least time between the starts of two WAL PUTs, ms; 0 to 60,000, default 0. Higher: fewer requests for many small durable writes, each waits longer. */
  minWalPutIntervalMs?: number;
  /** Size at which a memtable becomes an L0 table, bytes; at least 4 KiB, default the least of 64 MiB and an eighth of the budget. Higher: fewer, larger tables and a longer replay. */
  l0SstSizeBytes?: number;
  /** Log objects that are in no table yet at which the memtable becomes an L0 table, however small it is; 1 to 1,000,000, default 4,096. They are what an opening and the first load of a reader read, one GET each; objects that were replayed count, fences too. Higher: fewer, larger tables and a longer replay. While flushing pauses (`l0MaxSsts`) the log grows beyond it. */
  maxWalFlushesBeforeL0Flush?: number;
  /** Unflushed bytes at which writers have to wait; above `l0SstSizeBytes`, default half of the budget. */
  maxUnflushedBytes?: number;
  /** How long a write waits to be admitted, ms; default 60,000. Then `OVERLOADED`, not applied. */
  writeTimeoutMs?: number;
  /** Tables of level 0 at which flushing pauses until some are merged; 1 to 1,000,000, default 8, as in SlateDB, and 1,000 without a compactor (option `compactor`). Higher: writers wait later, reads look into more tables. */
  l0MaxSsts?: number;
  /** Target size of a block, bytes; 1,024 to 65,536, default 4,096. Higher: better compression and fewer requests in scans, more bytes per cold get. */
  sstBlockSizeBytes?: number;
  /** Codec of new tables and WAL objects: none, snappy, zlib, lz4 or zstd. Default none. */
  compressionCodec?: Codec;
  /** Rows from which a table gets a filter; default 1,000. */
  minFilterKeys?: number;
  /** Bits per key of new filters; 1 to 64, default 10 (0.9 % false positives). */
  filterBitsPerKey?: number;
  /** Write a write-ahead log. Default true. False: durable means in a table. */
  walEnabled?: boolean;
  /** Time to live of writes that name none, ms, by the clock of this machine. Default: never expires, as with `Infinity`. */
  defaultTtlMs?: number;
  /** How often a database that writes lists the manifests of other writers, ms; 10 to 60,000, default 1,000. An idle one polls nothing. */
  manifestPollIntervalMs?: number;
  /** Which SlateDB versions must be able to open what is written. Default auto. */
  compatibility?: Compatibility;
  /** Repair a damaged log by itself (`walRepair`, mode recover): `open` resolves before, reads and writes wait for the end, `db.ready()` has the report. Each damage, each repair and each loss is a line in the log. Default false. */
  walAutoRecovery?: boolean;
  /** Upper bound on what `walAutoRecovery` may discard, compared with the most that can be lost: where nothing bounds a loss it exceeds every limit. Beyond it `ready()` rejects with `WalCorruptionError` and nothing is changed. Default: no limit, `walAutoRecovery` itself is the consent. */
  maxLoss?: MaxLoss;
  /** After opening, verify that every table exists (`refs`: three LISTs) and that its own info equals the manifest's (`tails`: one GET for each as well); findings are events. Default: off, the opening then costs no further request. */
  verifyOnOpen?: 'off' | 'refs' | 'tails';
  /** Refuse to open a database whose greatest sequence number is lower (`RollbackError`): one that the caller has seen. Default: any is taken. */
  expectAtLeast?: bigint;
  /** Take over from exactly this writer epoch, which the caller has seen, and from no other: any other one that is stored is a `FencedError` before anything is written, and a running writer is not disturbed. The database then has the epoch after it; of two openings with one expectation one wins. A whole number from 1; `manifestInspect` shows the stored one. Default: whatever is there is taken over. */
  expectedEpoch?: number | bigint;
  /** How long `close` may take, ms; default 10,000. */
  closeTimeoutMs?: number;
  /** Close on SIGTERM and SIGINT; the process ends by the signal when all databases that asked for it have closed, at a second signal at once. Default false. */
  handleSignals?: boolean;
  /** Who this process is in fences and errors; default `host:pid`. */
  owner?: string;
}

/** Settings that have no value where none is given. */
type Unset = 'defaultTtlMs' | 'expectAtLeast' | 'expectedEpoch' | 'maxLoss';

/** Settings of a writer: plain data. */
export interface WriterSettings extends Readonly<Required<Omit<WriterOptions, PartName | Unset>>> {
  readonly defaultTtlMs: number | undefined;
  readonly expectAtLeast: bigint | undefined;
  readonly expectedEpoch: number | undefined;
  readonly maxLoss: Readonly<MaxLoss> | undefined;
}

export const WRITER_CHECKS: ChecksOf<WriterOptions> = {
  ...SHARED_CHECKS,
  createIfMissing: bool,
  errorIfExists: bool,
  awaitDurable: bool,
  flushIntervalMs: whole(1, 3_600_000),
  minWalPutIntervalMs: whole(0, 60_000),
  l0SstSizeBytes: whole(4 * KIB, 2 ** 31),
  maxWalFlushesBeforeL0Flush: whole(1, 1_000_000),
  maxUnflushedBytes: whole(8 * KIB, MAX_OPTION_BYTES),
  writeTimeoutMs: whole(1, MAX_MS),
  l0MaxSsts: whole(1, 1_000_000),
  sstBlockSizeBytes: whole(1024, 65_536),
  compressionCodec: oneOf(CODECS),
  minFilterKeys: whole(0, MAX_MS),
  filterBitsPerKey: whole(1, 64),
  walEnabled: bool,
  defaultTtlMs: TTL_CHECK,
  manifestPollIntervalMs: whole(10, 60_000),
  compatibility: oneOf(['auto', 'slatedb-0.12', 'slatedb-0.17']),
  walAutoRecovery: bool,
  maxLoss: MAX_LOSS_CHECK,
  verifyOnOpen: oneOf(['off', 'refs', 'tails']),
  expectAtLeast: wholeBigint,
  expectedEpoch: writerEpoch,
  closeTimeoutMs: whole(1, MAX_MS),
  handleSignals: bool,
  owner: filledText,
};

/** What follows from the roles that run beside a writer. */
export interface WriterSurroundings {
  l0MaxSsts: number;
  /** What they take of the memory, in parts of the budget. */
  compactionPart: number;
}

/**
 * Completes options of a writer that were checked one by one.
 * @param owner who this process is where the options do not say
 * @param faults what is wrong with options together is added to these
 */
export function completeWriter(
  o: WriterOptions & WriterSurroundings,
  owner: string,
  faults: string[],
): ResolvedOptions<WriterSettings> {
  const shared = completeShared(o);
  const { memoryBytes } = shared;
  const l0SstSizeBytes = o.l0SstSizeBytes ?? Math.min(64 * MIB, Math.floor(memoryBytes / 8));
  const maxUnflushedBytes = o.maxUnflushedBytes ?? Math.floor(memoryBytes / 2);
  if (maxUnflushedBytes <= l0SstSizeBytes) {
    faults.push(`maxUnflushedBytes (${maxUnflushedBytes}) must exceed l0SstSizeBytes (${l0SstSizeBytes})`);
  }
  if (maxUnflushedBytes > memoryBytes)
    faults.push(`maxUnflushedBytes (${maxUnflushedBytes}) must not exceed memoryBytes (${memoryBytes})`);
  if (o.expectedEpoch !== undefined && o.errorIfExists === true)
    faults.push('expectedEpoch names a database that exists, errorIfExists forbids one');
  const settings: WriterSettings = {
    ...shared,
    createIfMissing: o.createIfMissing ?? true,
    errorIfExists: o.errorIfExists ?? false,
    awaitDurable: o.awaitDurable ?? true,
    flushIntervalMs: o.flushIntervalMs ?? 100,
    minWalPutIntervalMs: o.minWalPutIntervalMs ?? 0,
    l0SstSizeBytes,
    maxWalFlushesBeforeL0Flush: o.maxWalFlushesBeforeL0Flush ?? 4096,
    maxUnflushedBytes,
    writeTimeoutMs: o.writeTimeoutMs ?? DEFAULT_TIMEOUT_MS,
    l0MaxSsts: o.l0MaxSsts,
    sstBlockSizeBytes: o.sstBlockSizeBytes ?? 4096,
    compressionCodec: o.compressionCodec ?? 'none',
    minFilterKeys: o.minFilterKeys ?? 1000,
    filterBitsPerKey: o.filterBitsPerKey ?? 10,
    walEnabled: o.walEnabled ?? true,
    defaultTtlMs: o.defaultTtlMs,
    manifestPollIntervalMs: o.manifestPollIntervalMs ?? 1000,
    compatibility: o.compatibility ?? 'auto',
    walAutoRecovery: o.walAutoRecovery ?? false,
    maxLoss: o.maxLoss,
    verifyOnOpen: o.verifyOnOpen ?? 'off',
    expectAtLeast: o.expectAtLeast,
    expectedEpoch: o.expectedEpoch === undefined ? undefined : Number(o.expectedEpoch),
    closeTimeoutMs: o.closeTimeoutMs ?? 10_000,
    handleSignals: o.handleSignals ?? false,
    owner: o.owner ?? owner,
  };
  return { settings, parts: completeParts(o, memoryBytes, maxUnflushedBytes, o.compactionPart) };
}
