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
import type { EncodingOptions } from './encoding.ts';
import {
  completeParts,
  completeShared,
  MAX_OPTION_BYTES,
  type PartName,
  type ResolvedOptions,
  SHARED_CHECKS,
  type SharedOptions,
  type SharedSettings,
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
  /** Whether writes wait until they are durable; each call can override it. Default true. False: a crash loses the writes of about the last `flushIntervalMs`. */
  awaitDurable?: boolean;
  /** Longest time a row that no call awaits stays in memory only, ms; 1 to 3,600,000, default 100. Higher: fewer requests, but a crash loses more. */
  flushIntervalMs?: number;
  /** Minimum time between the starts of two WAL PUTs, ms; 0 to 60,000, default 0. Higher: fewer requests for many small durable writes, but each waits longer. */
  minWalPutIntervalMs?: number;
  /**
   * Size in bytes at which a memtable becomes an L0 table; at least 4 KiB, default 64 MiB or an eighth of the budget, whichever is smaller.
   * Higher: fewer, larger tables, and a longer replay.
   */
  l0SstSizeBytes?: number;
  /**
   * Number of log objects not yet in any table at which the memtable becomes an L0 table, however small it is; 1 to 1,000,000, default 4,096.
   * Opening the database or a reader costs one GET for each. Replayed objects and fences count. Higher: fewer, larger tables, and a longer
   * replay. While flushing is paused (`l0MaxSsts`), the log grows beyond this number.
   */
  maxWalFlushesBeforeL0Flush?: number;
  /** Unflushed bytes at which writes have to wait; more than `l0SstSizeBytes`, default half of the budget. */
  maxUnflushedBytes?: number;
  /** Longest time a write waits to be admitted, ms; default 60,000. After that it rejects with `OVERLOADED` and was not applied. */
  writeTimeoutMs?: number;
  /**
   * Number of level-0 tables at which flushing pauses until some are merged; 1 to 1,000,000, default 8, as in SlateDB, or 1,000 with
   * `compactor: false`. Higher: writes wait later, but reads search more tables.
   */
  l0MaxSsts?: number;
  /** Target size of a block, bytes; 1,024 to 65,536, default 4,096. Higher: better compression and fewer requests in scans, more bytes per cold get. */
  sstBlockSizeBytes?: number;
  /** Codec of new tables and WAL objects: none, snappy, zlib, lz4 or zstd. Default none. */
  compressionCodec?: Codec;
  /** Number of rows from which on a table gets a filter; default 1,000. */
  minFilterKeys?: number;
  /** Bits per key of new filters; 1 to 64, default 10 (0.9 % false positives). */
  filterBitsPerKey?: number;
  /** Write a write-ahead log. Default true. False: durable means stored in a table. */
  walEnabled?: boolean;
  /** Time to live of writes that specify none, ms, by the clock of this machine. Default: never expires, as with `Infinity`. */
  defaultTtlMs?: number;
  /** How often a database with writes checks for manifests of other writers, ms; 10 to 60,000, default 1,000; one LIST each. An idle database does not poll. */
  manifestPollIntervalMs?: number;
  /** Which SlateDB versions must be able to open what is written. Default auto. */
  compatibility?: Compatibility;
  /**
   * Repair a damaged log automatically (`walRepair`, mode `recover`): `open` resolves at once, reads and writes wait for the repair, and
   * `db.ready()` resolves to its report. Every damage, repair and loss is logged. Default false.
   */
  walAutoRecovery?: boolean;
  /**
   * Upper bound on what `walAutoRecovery` may discard, compared with the largest possible loss; a loss without a known bound exceeds every
   * limit. Beyond it, `ready()` rejects with `WalCorruptionError` and nothing is changed. Default: no limit.
   */
  maxLoss?: MaxLoss;
  /**
   * After opening, verify that every table exists (`refs`: three LISTs) or also that its metadata matches the manifest (`tails`: one more GET
   * for each table); findings are events. Default `off`: no further request.
   */
  verifyOnOpen?: 'off' | 'refs' | 'tails';
  /** Refuse to open a database whose highest sequence number is lower than this one (`RollbackError`): pass one that you have seen. Default: not checked. */
  expectAtLeast?: bigint;
  /**
   * Take over only from the writer with this epoch; if another epoch is stored, the opening rejects with `FencedError` before anything is
   * written, and a running writer is not disturbed. The database then has the next epoch; of several openings that expect the same one, one
   * wins. A whole number from 1; `manifestInspect` shows the stored one. Default: take over from any writer.
   */
  expectedEpoch?: number | bigint;
  /** Longest time `close` may take, ms; default 10,000. */
  closeTimeoutMs?: number;
  /** Close on SIGTERM and SIGINT. The process ends by the signal once all databases with this option have closed; a second signal ends it at once. Default false. */
  handleSignals?: boolean;
  /** Name of this process in fences and errors; default `host:pid`. */
  owner?: string;
}

/** Settings that have no value where none is given. */
type Unset = 'defaultTtlMs' | 'expectAtLeast' | 'expectedEpoch' | 'maxLoss';

/** Settings of a writer: plain data. */
export interface WriterSettings extends SharedSettings, Readonly<Required<Omit<WriterOptions, PartName | Unset>>> {
  readonly defaultTtlMs: number | undefined;
  readonly expectAtLeast: bigint | undefined;
  readonly expectedEpoch: number | undefined;
  readonly maxLoss: Readonly<MaxLoss> | undefined;
}

export const WRITER_CHECKS: ChecksOf<WriterOptions & EncodingOptions> = {
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
  o: WriterOptions & EncodingOptions & WriterSurroundings,
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
